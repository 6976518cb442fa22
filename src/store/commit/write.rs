//! Writes and changes of versions.

use bytes::Bytes;

use super::head::Head;
use super::read::locate;
use super::tell::{Change, Tell};
use super::{NewRun, Place, WriteError, count_replacement, inline_copy, live_batch, read_versioning, take_back};
use crate::store::schema::{ObjectRecord, Protection, Version, VersionId};
use crate::store::{Batch, MetaStore, Outcome, Partition, RunId};

/// Makes `record` the current version of the place's key, its bytes being `run`. `admit` judges what is current now, and
/// may be asked again when another writer was faster. The id of the version, if the bucket gives ids.
///
/// # Errors
/// [`WriteError`]; nothing is changed, and the run is discarded.
pub async fn write_object<E>(
    store: &dyn MetaStore,
    place: Place<'_>,
    record: &ObjectRecord,
    mut run: NewRun,
    admit: impl Fn(Option<&ObjectRecord>) -> Result<(), E>,
) -> Result<Option<VersionId>, WriteError<E>> {
    let Place { bucket, mut versioning, key, tell } = place;
    loop {
        let head = Head::read(store, bucket, key, versioning).await?;
        admit(head.object()).map_err(WriteError::Refused)?;
        let new = Version::Object(Box::new(record.clone()));
        let (batch, id) = head.replace(store, versioning, new, live_batch(versioning)).await?;
        let batch = tell.tell(batch, Change::Written(record, id));
        let expectations = batch.expectations.len();
        let inline = inline_copy(&run);
        match store.commit(bucket, run.add_to(batch)).await? {
            Outcome::Applied => return Ok((id != VersionId::Null).then_some(id)),
            Outcome::Conflict { expectation, adopted } if expectation < expectations => {
                if expectation == 0 {
                    versioning = read_versioning(store, bucket).await?.ok_or(WriteError::NoBucket)?;
                }
                run = take_back(inline, adopted)?;
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

/// Changes the record of the version `id` of `key`, or of its current one, where it is. `change` may be asked again; it
/// leaves alone what the version's place and bytes are. What it has become; a delete marker is left as it is. `None` if
/// there is no such version.
///
/// # Errors
/// [`WriteError::Refused`] and [`WriteError::Store`]; nothing is changed.
pub async fn update_version<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    id: Option<VersionId>,
    tell: &dyn Tell,
    change: impl Fn(&mut ObjectRecord) -> Result<(), E>,
) -> Result<Option<Version>, WriteError<E>> {
    loop {
        let Some(found) = locate(store, bucket, key, id).await? else { return Ok(None) };
        let Some(old) = found.version.object() else { return Ok(Some(found.version)) };
        let mut new = old.clone();
        change(&mut new).map_err(WriteError::Refused)?;
        let batch = Batch::new().expect(found.key.clone(), Some(found.value.clone()));
        let batch = batch.put(found.key.clone(), Bytes::from(found.encode(new.clone())));
        let batch = count_replacement(batch, Some(old), Some(&new));
        let batch = tell.tell(batch, Change::Changed(&new, new.version_id()));
        if let Outcome::Applied = store.commit(bucket, batch).await? {
            return Ok(Some(Version::Object(Box::new(new))));
        }
    }
}

/// Gives the version that `judged` is of `key`, if it still is so, another envelope; all else stays as it is. `Ok(false)`
/// if it was replaced, deleted or changed meanwhile.
///
/// # Errors
/// [`WriteError::Store`]; nothing is changed.
pub async fn replace_envelope<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    judged: &ObjectRecord,
    envelope: Vec<u8>,
    protection: Protection,
) -> Result<bool, WriteError<E>> {
    let Some(found) = locate(store, bucket, key, Some(judged.version_id())).await? else { return Ok(false) };
    let Some(present) = found.version.object() else { return Ok(false) };
    if !present.is_same(judged) {
        return Ok(false);
    }
    let new = ObjectRecord { envelope: envelope.into(), protection, ..present.clone() };
    let batch = Batch::new().expect(found.key.clone(), Some(found.value.clone()));
    let batch = count_replacement(batch.put(found.key.clone(), found.encode(new.clone())), Some(present), Some(&new));
    Ok(matches!(store.commit(bucket, batch).await?, Outcome::Applied))
}
