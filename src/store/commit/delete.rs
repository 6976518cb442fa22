//! Deletions: of a key, which may leave its versions, and of versions.

use super::head::Head;
use super::tell::{Change, Tell};
use super::{Place, WriteError, count_replacement, live_batch, read_versioning, release_body};
use crate::store::schema::{
    Claim, MarkerRecord, ObjectRecord, Others, Record as _, Table, Version, VersionId, Versioning, escape,
    noncurrent_key,
};
use crate::store::{Batch, KeyRange, MetaStore, Outcome, Partition, StoreError};

/// What a deletion of a key came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deletion {
    /// There was nothing.
    Nothing,
    /// The object is gone.
    Removed,
    /// The object is noncurrent, or there was none; this delete marker is current.
    Marked(VersionId),
}

/// Deletes the place's key: in a bucket that keeps versions, `marker` is put upon it; in any other, it goes. Absence is no
/// error, and is told of as a removal is. `admit` judges what is current now.
///
/// # Errors
/// [`WriteError`]; nothing is changed.
pub async fn delete_object<E>(
    store: &dyn MetaStore,
    place: Place<'_>,
    marker: &MarkerRecord,
    admit: impl Fn(Option<&ObjectRecord>) -> Result<(), E>,
) -> Result<Deletion, WriteError<E>> {
    let Place { bucket, mut versioning, key, tell } = place;
    loop {
        let head = Head::read(store, bucket, key, versioning).await?;
        admit(head.object()).map_err(WriteError::Refused)?;
        let batch = live_batch(versioning);
        let (batch, deletion) = if versioning.keeps_versions() {
            let (batch, id) = head.replace(store, versioning, Version::Marker(marker.clone()), batch).await?;
            (tell.tell(batch, Change::Marked(id)), Deletion::Marked(id))
        } else {
            let batch = head.expected(batch);
            let (batch, deletion) = match head.object() {
                Some(old) => {
                    let batch = count_replacement(head.put(batch, None), Some(old), None);
                    (release_body(store, bucket, old, batch).await?, Deletion::Removed)
                }
                None => (batch, Deletion::Nothing),
            };
            // Of what was not there, too. (Recorded on AWS, `test_delete_objects`, of notifications to queues.)
            let batch = tell.tell(batch, Change::Removed(None));
            if deletion == Deletion::Nothing && batch.mutations.is_empty() {
                // A commit would have said that versions are kept by now.
                let present = read_versioning(store, bucket).await?.ok_or(WriteError::NoBucket)?;
                if !present.keeps_versions() {
                    return Ok(deletion);
                }
                versioning = present;
                continue;
            }
            (batch, deletion)
        };
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok(deletion),
            Outcome::Conflict { expectation: 0, .. } => {
                versioning = read_versioning(store, bucket).await?.ok_or(WriteError::NoBucket)?;
            }
            Outcome::Conflict { .. } => {}
        }
    }
}

/// How a version stands among those of its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It is the only one.
    Alone,
    /// It is the current one, and there are others.
    Current,
    /// Another is current.
    Noncurrent,
}

/// Removes the version `id` of `key`, for good; if it was the current one, the newest of the others is current then. What
/// it was; `None` if there is no such version. `admit` judges it and how it stands; its lock, the protocol itself judges by
/// `claim`.
///
/// # Errors
/// [`WriteError`]; nothing is changed.
pub async fn delete_version<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    id: VersionId,
    claim: Claim,
    tell: &dyn Tell,
    admit: impl Fn(&Version, Standing) -> Result<(), E>,
) -> Result<Option<Version>, WriteError<E>> {
    let judge = |version: &Version, standing| match version.object() {
        Some(object) if object.is_locked(claim) => Err(WriteError::Locked),
        _ => admit(version, standing).map_err(WriteError::Refused),
    };
    loop {
        let head = Head::read(store, bucket, key, Versioning::Enabled).await?;
        let Some(current) = &head.version else {
            let Some((batch, gone)) = remove_headless(store, (bucket, key), &head, id).await? else { return Ok(None) };
            judge(&gone, Standing::Noncurrent)?;
            match commit_removal(store, bucket, batch, &gone, tell).await? {
                Outcome::Applied => return Ok(Some(gone)),
                Outcome::Conflict { .. } => continue,
            }
        };
        let (batch, gone) = if current.id() == id {
            let newest = KeyRange::prefix(&escape(Table::Noncurrent, key));
            let next = store.scan(bucket, &newest, 1).await?.pop();
            judge(current, if next.is_some() { Standing::Current } else { Standing::Alone })?;
            let batch = head.expected(Batch::new());
            let batch = match next {
                Some((next_key, value)) => {
                    let next = Version::from_value(&value)?;
                    let Others { null_at, late } = current.others();
                    let null_at = null_at.filter(|_| next.id() != VersionId::Null);
                    let batch = batch.expect(next_key.to_vec(), Some(value)).delete(next_key.to_vec());
                    head.put(batch, Some(&next.with_others(Others { null_at, late })))
                }
                None => head.put(batch, None),
            };
            (batch, current.clone())
        } else {
            let order = match id {
                VersionId::Own { order, .. } => Some(order),
                VersionId::Null => current.null_at(),
            };
            let noncurrent = order.map(|order| noncurrent_key(key, order));
            let value = match &noncurrent {
                Some(noncurrent) => store.get(bucket, noncurrent).await?,
                None => None,
            };
            let version = value.as_deref().map(Version::from_value).transpose()?.filter(|found| found.id() == id);
            let (Some(noncurrent), Some(version)) = (noncurrent, version) else {
                // It may have become current just now.
                if Head::read(store, bucket, key, Versioning::Enabled).await?.is_as(&head) {
                    return Ok(None);
                }
                continue;
            };
            judge(&version, Standing::Noncurrent)?;
            let mut batch = Batch::new().expect(noncurrent.clone(), value).delete(noncurrent);
            if id == VersionId::Null {
                batch = head.put(
                    head.expected(batch),
                    Some(&current.clone().with_others(Others { null_at: None, ..current.others() })),
                );
            }
            (batch, version)
        };
        if let Outcome::Applied = commit_removal(store, bucket, batch, &gone, tell).await? {
            return Ok(Some(gone));
        }
    }
}

/// Commits `batch`, which removes the record of `gone`, with the end of its bytes.
async fn commit_removal(
    store: &dyn MetaStore,
    bucket: Partition,
    batch: Batch,
    gone: &Version,
    tell: &dyn Tell,
) -> Result<Outcome, StoreError> {
    let batch = match gone.object() {
        Some(object) => release_body(store, bucket, object, count_replacement(batch, Some(object), None)).await?,
        None => batch,
    };
    store.commit(bucket, tell.tell(batch, Change::Removed(Some(gone.id())))).await
}

/// The removal of the version `id` of a key that has noncurrent versions and, by `head`, no current one: the newest of the
/// others becomes current. No commit leaves a key so; older ones could.
async fn remove_headless(
    store: &dyn MetaStore,
    (bucket, key): (Partition, &str),
    head: &Head<'_>,
    id: VersionId,
) -> Result<Option<(Batch, Version)>, StoreError> {
    let of_the_key = KeyRange::prefix(&escape(Table::Noncurrent, key));
    let (mut gone, mut left) = (None, Vec::new());
    for (at, value) in store.scan(bucket, &of_the_key, usize::MAX).await? {
        let version = Version::from_value(&value)?;
        let found = (at.to_vec(), value, version);
        if found.2.id() == id { gone = Some(found) } else { left.push(found) }
    }
    let Some((at, value, gone)) = gone else { return Ok(None) };
    let batch = head.expected(Batch::new()).expect(at.clone(), Some(value)).delete(at);
    let mut left = left.into_iter();
    let Some((at, value, newest)) = left.next() else { return Ok(Some((batch, gone))) };
    let null_at = left.find(|(.., version)| version.id() == VersionId::Null).map(|(.., version)| version.order());
    let batch = batch.expect(at.clone(), Some(value)).delete(at);
    let batch = head.put(batch, Some(&newest.with_others(Others { null_at, late: None })));
    Ok(Some((batch, gone)))
}
