//! Replicas: versions that another bucket has, under the ids that they have there.

use super::head::Head;
use super::read::locate;
use super::tell::Change;
use super::{NewRun, Place, WriteError, count_replacement, inline_copy, live_batch, take_back};
use crate::store::schema::{Record as _, Version, Versioning, noncurrent_key};
use crate::store::{Batch, MetaStore, Outcome, Partition, RunId};

/// Puts `version`, which has an id, among the versions of the place's key, where its order puts it: as the current one if it
/// is later than that, else among the noncurrent ones. Its bytes are `run`; a delete marker has none. `Ok(false)` if it is
/// there.
///
/// # Errors
/// [`WriteError`]; nothing is changed, and the run is discarded. [`WriteError::NoBucket`] if the bucket gives no ids;
/// [`WriteError::PartsChanged`] if another version has the same order.
pub async fn write_replica<E>(
    store: &dyn MetaStore,
    place: Place<'_>,
    version: Version,
    mut run: Option<NewRun>,
) -> Result<bool, WriteError<E>> {
    let Place { bucket, key, tell, .. } = place;
    let (id, versioning) = (version.id(), Versioning::Enabled);
    loop {
        let head = Head::read(store, bucket, key, versioning).await?;
        if locate(store, bucket, key, Some(id)).await?.is_some() {
            return Ok(false);
        }
        let batch = stand(store, (bucket, key), &head, &version, live_batch(versioning)).await?;
        let batch = match &version {
            Version::Object(record) => tell.tell(batch, Change::Written(record, id)),
            Version::Marker(_) => tell.tell(batch, Change::Marked(id)),
        };
        let expectations = batch.expectations.len();
        let inline = run.as_ref().and_then(inline_copy);
        let has_run = run.is_some();
        let batch = match run.take() {
            Some(run) => run.add_to(batch),
            None => batch,
        };
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok(true),
            Outcome::Conflict { expectation: 0, .. } => return Err(WriteError::NoBucket),
            Outcome::Conflict { expectation, adopted } if expectation < expectations => {
                if has_run {
                    run = Some(take_back(inline, adopted)?);
                }
            }
            Outcome::Conflict { expectation, .. } => {
                let gone = match &inline {
                    Some(NewRun::Shared(shared)) => shared.runs.get(expectation - expectations).copied(),
                    _ => None,
                };
                return Err(WriteError::NoSource(gone.unwrap_or(RunId([0; 16]))));
            }
        }
    }
}

/// Adds to `batch` that `version`, which has an id and is not there, comes to stand where its order puts it: at the head, or
/// among the noncurrent versions, where the head counts it. Its bytes are counted.
///
/// # Errors
/// [`WriteError::PartsChanged`] if another version has the same order.
pub(super) async fn stand<E>(
    store: &dyn MetaStore,
    (bucket, key): (Partition, &str),
    head: &Head<'_>,
    version: &Version,
    batch: Batch,
) -> Result<Batch, WriteError<E>> {
    let current = match &head.version {
        Some(current) if current.order() >= version.order() => current,
        _ => return Ok(head.replace(store, Versioning::Enabled, version.clone(), batch).await?.0),
    };
    let at = noncurrent_key(key, version.order());
    if current.order() == version.order() || store.get(bucket, &at).await?.is_some() {
        return Err(WriteError::PartsChanged);
    }
    let batch = head.expected(batch).expect(at.clone(), None).put(at, version.to_value());
    let batch = head.put(batch, Some(&current.clone().with_others(current.others().with_a_late_one())));
    Ok(count_replacement(batch, None, version.object()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::store::commit::{Silent, Standing, delete_version, read_version, read_versions};
    use crate::store::memory::MemoryStore;
    use crate::store::schema::{Claim, MarkerRecord, Table, VersionId, escape};

    const BUCKET: Partition = Partition([9; 16]);

    fn marker(order: u64) -> Version {
        Version::Marker(MarkerRecord {
            modified: 1_700_000_000_000,
            generation: [u8::try_from(order % 251).unwrap(); 16],
            order,
            has_id: true,
            null_at: None,
            late: None,
        })
    }

    async fn store_with(orders: impl IntoIterator<Item = u64>) -> MemoryStore {
        let store = MemoryStore::new(std::sync::Arc::new(crate::crypto::random::SeededEntropy::new(1)));
        let live = Batch::new().put(super::super::live_key(), Versioning::Enabled.live_value());
        assert_eq!(store.commit(BUCKET, live).await.unwrap(), Outcome::Applied);
        for order in orders {
            assert!(write(&store, order).await);
        }
        store
    }

    async fn write(store: &MemoryStore, order: u64) -> bool {
        let place = Place { bucket: BUCKET, versioning: Versioning::Enabled, key: "k", tell: &Silent };
        write_replica::<Infallible>(store, place, marker(order), None).await.unwrap()
    }

    /// The orders of the versions, the current one first.
    async fn orders(store: &MemoryStore) -> Vec<u64> {
        let found = read_versions(store, BUCKET, "", None, 10).await.unwrap();
        let of_current = found.iter().map(|found| found.is_current).collect::<Vec<_>>();
        assert_eq!(of_current, (0..found.len()).map(|at| at == 0).collect::<Vec<_>>(), "the newest alone is current");
        found.iter().map(|found| found.version.order()).collect()
    }

    /// Deletes the version of that order; `between` happens after the protocol's reads and before its commit. How the version
    /// stood, each time that it was judged.
    async fn delete(store: &MemoryStore, order: u64, between: impl Fn()) -> Option<Vec<Standing>> {
        let judged = std::sync::Mutex::new(Vec::new());
        let admit = |_: &Version, standing| {
            judged.lock().unwrap().push(standing);
            between();
            Ok::<_, Infallible>(())
        };
        let claim = Claim { now: 0, bypass: false };
        let gone = delete_version(store, BUCKET, "k", marker(order).id(), claim, &Silent, admit).await.unwrap();
        gone.map(|_| judged.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_replica_that_comes_while_the_current_version_goes_is_not_left_behind() {
        for (before, after) in [(vec![20], vec![10]), (vec![5, 20], vec![10, 5])] {
            let store = store_with(before).await;
            let come = std::sync::Once::new();
            // The store in memory answers at once.
            let between = || come.call_once(|| assert_eq!(write(&store, 10).now_or_never(), Some(true)));
            let judged = delete(&store, 20, between).await.unwrap();
            assert_eq!((judged.len(), judged[1]), (2, Standing::Current), "it is judged again");
            assert_eq!(orders(&store).await, after);
        }
    }

    #[tokio::test]
    async fn what_came_late_is_known_to_later_heads_too() {
        let store = store_with([20]).await;
        let come = std::sync::Once::new();
        let between = || {
            come.call_once(|| {
                // The head is as it was but for the count.
                assert_eq!(write(&store, 30).now_or_never(), Some(true));
                assert_eq!(write(&store, 10).now_or_never(), Some(true));
                assert!(delete(&store, 30, || ()).now_or_never().unwrap().is_some());
            });
        };
        assert!(delete(&store, 20, between).await.is_some());
        assert_eq!(orders(&store).await, [10]);
    }

    #[tokio::test]
    async fn versions_without_a_current_one_can_be_deleted() {
        let store = store_with([10, 20, 30, 40]).await;
        let head = Batch::new().delete(escape(Table::Marker, "k"));
        assert_eq!(store.commit(BUCKET, head).await.unwrap(), Outcome::Applied);
        assert_eq!(delete(&store, 40, || ()).await, None);
        assert_eq!(delete(&store, 20, || ()).await, Some(vec![Standing::Noncurrent]));
        assert_eq!(orders(&store).await, [30, 10], "the newest of those left is current");
        assert!(delete(&store, 30, || ()).await.is_some());
        assert!(delete(&store, 10, || ()).await.is_some());
        assert!(orders(&store).await.is_empty());
    }

    #[tokio::test]
    async fn no_two_versions_have_one_order() {
        let store = store_with([10, 20]).await;
        let place = Place { bucket: BUCKET, versioning: Versioning::Enabled, key: "k", tell: &Silent };
        for order in [10, 20] {
            let other = MarkerRecord { order, has_id: true, ..MarkerRecord::new(0, [0xff; 16]) };
            let written = write_replica::<Infallible>(&store, place, Version::Marker(other), None).await;
            assert!(matches!(written, Err(WriteError::PartsChanged)), "{order}");
        }
        assert_eq!(orders(&store).await, [20, 10]);
    }

    #[tokio::test]
    async fn a_replica_keeps_its_id_and_stands_where_its_order_puts_it() {
        let store = store_with([]).await;
        let current = async || read_version(&store, BUCKET, "k", None).await.unwrap().map(|version| version.order());
        assert!(write(&store, 20).await);
        assert!(!write(&store, 20).await, "it is there");
        assert!(write(&store, 30).await);
        assert_eq!(current().await, Some(30));
        assert!(write(&store, 10).await, "an older one comes late");
        assert_eq!(current().await, Some(30));
        for order in [10, 20, 30] {
            let id = marker(order).id();
            assert!(matches!(id, VersionId::Own { .. }));
            assert_eq!(read_version(&store, BUCKET, "k", Some(id)).await.unwrap().unwrap().id(), id);
        }
    }
}
