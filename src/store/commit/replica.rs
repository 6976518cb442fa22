//! Replicas: versions that another bucket has, under the ids that they have there.

use super::head::Head;
use super::read::locate;
use super::tell::Deed;
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
            Version::Object(record) => tell.tell(batch, Deed::Written(record, id)),
            Version::Marker(_) => tell.tell(batch, Deed::Marked(id)),
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
/// among the noncurrent versions. It is counted.
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
    if head.version.as_ref().is_none_or(|current| current.order() < version.order()) {
        return Ok(head.replace(store, Versioning::Enabled, version.clone(), batch).await?.0);
    }
    let at = noncurrent_key(key, version.order());
    if store.get(bucket, &at).await?.is_some() {
        return Err(WriteError::PartsChanged);
    }
    let batch = head.expected(batch).expect(at.clone(), None).put(at, version.to_value());
    Ok(count_replacement(batch, None, version.object()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::store::commit::{Silent, read_version};
    use crate::store::memory::MemoryStore;
    use crate::store::schema::{MarkerRecord, VersionId};

    const BUCKET: Partition = Partition([9; 16]);

    fn marker(order: u64) -> Version {
        Version::Marker(MarkerRecord {
            modified: 1_700_000_000_000,
            generation: [u8::try_from(order % 251).unwrap(); 16],
            order,
            has_id: true,
            null_at: None,
        })
    }

    #[tokio::test]
    async fn a_replica_keeps_its_id_and_stands_where_its_order_puts_it() {
        let store = MemoryStore::new(std::sync::Arc::new(crate::crypto::random::SeededEntropy::new(1)));
        let live = Batch::new().put(super::super::live_key(), Versioning::Enabled.live_value());
        assert_eq!(store.commit(BUCKET, live).await.unwrap(), Outcome::Applied);
        let place = Place { bucket: BUCKET, versioning: Versioning::Enabled, key: "k", tell: &Silent };
        let write = |version: Version| write_replica::<Infallible>(&store, place, version, None);
        let current = async || read_version(&store, BUCKET, "k", None).await.unwrap().map(|version| version.order());
        assert!(write(marker(20)).await.unwrap());
        assert!(!write(marker(20)).await.unwrap(), "it is there");
        assert!(write(marker(30)).await.unwrap());
        assert_eq!(current().await, Some(30));
        assert!(write(marker(10)).await.unwrap(), "an older one comes late");
        assert_eq!(current().await, Some(30));
        for order in [10, 20, 30] {
            let id = marker(order).id();
            assert!(matches!(id, VersionId::Own { .. }));
            assert_eq!(read_version(&store, BUCKET, "k", Some(id)).await.unwrap().unwrap().id(), id);
        }
    }
}
