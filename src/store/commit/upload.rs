//! Uploads: begun, written part by part, completed or aborted.

use bytes::Bytes;

use super::head::Head;
use super::read::locate;
use super::replica::stand;
use super::tell::Change;
use super::{NewRun, Place, WriteError, inline_copy, live_batch, read_versioning, release_run, take_back};
use crate::store::schema::{
    self, ObjectRecord, PartRecord, Record as _, Table, UploadRecord, Version, VersionId, Versioning, escape, key_of,
    noncurrent_key,
};
use crate::store::tally::tally_key;
use crate::store::{Batch, KeyRange, MetaStore, Outcome, Partition, StoreError, Tally};

/// An upload: where it is and what its record says.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The object it is to become.
    pub key: String,
    /// Its id.
    pub id: [u8; 16],
    /// The record as stored, which commits expect.
    value: Bytes,
    /// The record.
    pub record: UploadRecord,
}

/// A part as read: what a commit expects of it.
#[derive(Clone, Debug)]
pub struct Part {
    /// 1 to 10 000.
    pub number: u16,
    value: Bytes,
    /// The record.
    pub record: PartRecord,
}

/// Opens an upload.
///
/// # Errors
/// [`WriteError`].
pub async fn create_upload<E>(
    store: &dyn MetaStore,
    place: Place<'_>,
    id: [u8; 16],
    record: &UploadRecord,
) -> Result<(), WriteError<E>> {
    let Place { bucket, mut versioning, key, .. } = place;
    loop {
        let batch = live_batch(versioning).put(upload_key(key, id), record.to_value());
        let batch = batch.count(tally_key(&record.protection), Tally::upload());
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok(()),
            Outcome::Conflict { .. } => {
                versioning = read_versioning(store, bucket).await?.ok_or(WriteError::NoBucket)?;
            }
        }
    }
}

/// The open upload `id` of `key`.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_upload(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    id: [u8; 16],
) -> Result<Option<Upload>, StoreError> {
    let Some(value) = store.get(bucket, &upload_key(key, id)).await? else {
        return Ok(None);
    };
    let record = UploadRecord::from_value(&value)?;
    Ok(Some(Upload { key: key.to_owned(), id, value, record }))
}

/// The first open uploads of the bucket, at most `limit`.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_uploads(store: &dyn MetaStore, bucket: Partition, limit: usize) -> Result<Vec<Upload>, StoreError> {
    let pairs = store.scan(bucket, &KeyRange::prefix(&[Table::Upload as u8]), limit).await?;
    pairs.into_iter().map(|(key, value)| read_upload_pair(&key, value)).collect()
}

/// Makes `record` the part `number` of `upload`, in place of one uploaded before.
///
/// # Errors
/// [`WriteError`]; nothing is changed, and the run is discarded.
pub async fn write_part<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    upload: &Upload,
    number: u16,
    record: &PartRecord,
    mut run: NewRun,
) -> Result<(), WriteError<E>> {
    let key = part_key(upload.id, number);
    let value = Bytes::from(record.to_value());
    loop {
        let present = store.get(bucket, &key).await?;
        let old = present.as_deref().map(PartRecord::from_value).transpose()?;
        let mut batch = upload.expected(Batch::new()).expect(key.clone(), present).put(key.clone(), value.clone());
        let (mut difference, mut count) = (Tally::part(record.size), Tally::object(record.size));
        if let Some(old) = &old {
            batch = release_run(&old.run, batch);
            difference = difference.plus(Tally::part(old.size).negated());
            count = count.plus(Tally::object(old.size).negated());
        }
        batch = batch.count(upload.tally_key(), difference).count(part_count_key(upload.id), count);
        let inline = inline_copy(&run);
        match store.commit(bucket, run.add_to(batch)).await? {
            Outcome::Applied => return Ok(()),
            Outcome::Conflict { expectation: 0, .. } => return Err(WriteError::NoUpload),
            Outcome::Conflict { adopted, .. } => run = take_back(inline, adopted)?,
        }
    }
}

/// Up to `limit` parts of the upload `id` with numbers above `after`, in order.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_parts(
    store: &dyn MetaStore,
    bucket: Partition,
    id: [u8; 16],
    after: u16,
    limit: usize,
) -> Result<Vec<Part>, StoreError> {
    let mut range = KeyRange::prefix(&key_of(Table::Part, &id));
    range.start = part_key(id, after.saturating_add(1));
    let pairs = store.scan(bucket, &range, limit).await?;
    pairs.into_iter().map(|(key, value)| read_part_pair(&key, value)).collect()
}

/// The part `number` of the upload `id`.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_part(
    store: &dyn MetaStore,
    bucket: Partition,
    id: [u8; 16],
    number: u16,
) -> Result<Option<Part>, StoreError> {
    let Some(value) = store.get(bucket, &part_key(id, number)).await? else {
        return Ok(None);
    };
    let record = PartRecord::from_value(&value)?;
    Ok(Some(Part { number, value, record }))
}

/// Makes `record` of the `chosen` parts of `upload`. `parts` are all parts as they were read; `versioning` is what the bucket
/// was when it was looked at. Where the bucket gives ids, the record stands by the time that it names, the upload's beginning,
/// among the versions of its key. A record that has an id, a replica's, comes where its order puts it, as
/// [`super::write_replica`] has it; if that version is there, the upload ends without another. The id of the version, if the
/// bucket gives ids.
///
/// # Errors
/// [`WriteError`]; nothing is changed. [`WriteError::NoBucket`] for a replica if the bucket gives no ids.
pub async fn complete_upload<E>(
    store: &dyn MetaStore,
    place: Place<'_>,
    upload: &Upload,
    parts: &[Part],
    chosen: impl Fn(u16) -> bool,
    record: &ObjectRecord,
    admit: impl Fn(Option<&Version>) -> Result<(), E>,
) -> Result<Option<VersionId>, WriteError<E>> {
    let Place { bucket, mut versioning, tell, .. } = place;
    let replica = record.has_id.then(|| record.version_id());
    if replica.is_some() {
        versioning = Versioning::Enabled;
    }
    loop {
        let head = Head::read(store, bucket, &upload.key, versioning).await?;
        admit(head.version.as_ref()).map_err(WriteError::Refused)?;
        let new = Version::Object(Box::new(record.clone()));
        let batch = upload.expected(live_batch(versioning));
        let (batch, id) = match replica {
            None => stand_by_time(store, (bucket, &upload.key), &head, versioning, new, batch).await?,
            Some(id) => {
                if locate(store, bucket, &upload.key, Some(id)).await?.is_some() {
                    abort_upload(store, bucket, upload).await?;
                    return Ok(Some(id));
                }
                (stand(store, (bucket, &upload.key), &head, &new, batch).await?, id)
            }
        };
        let batch = tell.tell(batch, Change::Written(record, id));
        let of_the_key = batch.expectations.len();
        let mut batch = upload.end(parts, batch).delete(upload_key(&upload.key, upload.id));
        for part in parts {
            let key = part_key(upload.id, part.number);
            batch = batch.expect(key.clone(), Some(part.value.clone()));
            if !chosen(part.number) {
                batch = release_run(&part.record.run, batch.delete(key));
            }
        }
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok((id != VersionId::Null).then_some(id)),
            Outcome::Conflict { expectation: 0, .. } if replica.is_some() => return Err(WriteError::NoBucket),
            Outcome::Conflict { expectation: 0, .. } => {
                versioning = read_versioning(store, bucket).await?.ok_or(WriteError::NoBucket)?;
            }
            Outcome::Conflict { expectation: 1, .. } => return Err(WriteError::NoUpload),
            Outcome::Conflict { expectation, .. } if expectation < of_the_key => {}
            Outcome::Conflict { .. } => return Err(WriteError::PartsChanged),
        }
    }
}

/// Adds to `batch` that `new` becomes a version of its key: the current one, unless that is an object of a later time. "The
/// current version of the object is determined by which upload started most recently". (S3 user guide, "Uploading and copying
/// objects using multipart upload".) The id that it gets.
async fn stand_by_time<E>(
    store: &dyn MetaStore,
    (bucket, key): (Partition, &str),
    head: &Head<'_>,
    versioning: Versioning,
    mut new: Version,
    batch: Batch,
) -> Result<(Batch, VersionId), WriteError<E>> {
    let later = head.object().filter(|current| current.modified > new.modified());
    if let Some(current) = later.filter(|_| versioning == Versioning::Enabled) {
        let mut order = new.order();
        // Times are coarser than orders, of which no two versions have the same.
        while store.get(bucket, &noncurrent_key(key, order)).await?.is_some() {
            order = order.saturating_add(1);
        }
        if order < current.order() {
            new.place(order, true);
            let id = new.id();
            return Ok((stand(store, (bucket, key), head, &new, batch).await?, id));
        }
    }
    Ok(head.replace(store, versioning, new, batch).await?)
}

/// Removes `upload` and all its parts. `Ok(false)` if it was completed or aborted meanwhile.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn abort_upload(store: &dyn MetaStore, bucket: Partition, upload: &Upload) -> Result<bool, StoreError> {
    loop {
        let parts = read_parts(store, bucket, upload.id, 0, usize::MAX).await?;
        let mut batch = upload.expected(Batch::new()).delete(upload_key(&upload.key, upload.id));
        batch = upload.end(&parts, batch);
        for part in &parts {
            let key = part_key(upload.id, part.number);
            batch = batch.expect(key.clone(), Some(part.value.clone()));
            batch = release_run(&part.record.run, batch.delete(key));
        }
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok(true),
            Outcome::Conflict { expectation: 0, .. } => return Ok(false),
            Outcome::Conflict { .. } => {}
        }
    }
}

/// Reads an upload out of a scan of [`Table::Upload`].
///
/// # Errors
/// [`StoreError::Corrupt`].
pub fn read_upload_pair(key: &[u8], value: Bytes) -> Result<Upload, StoreError> {
    let (name, id) = schema::unescape(key)
        .and_then(|(name, id)| Some((name, id.try_into().ok()?)))
        .ok_or_else(|| StoreError::Corrupt("upload key".to_owned()))?;
    let record = UploadRecord::from_value(&value)?;
    Ok(Upload { key: name, id, value, record })
}

/// The key of the upload `id` of `key`.
pub fn upload_key(key: &str, id: [u8; 16]) -> Vec<u8> {
    let mut upload = escape(Table::Upload, key);
    upload.extend_from_slice(&id);
    upload
}

impl Upload {
    fn expected(&self, batch: Batch) -> Batch {
        batch.expect(upload_key(&self.key, self.id), Some(self.value.clone()))
    }

    fn tally_key(&self) -> Vec<u8> {
        tally_key(&self.record.protection)
    }

    /// Adds its end to `batch`, with `parts` and no others: one that was uploaded meanwhile would be left behind.
    fn end(&self, parts: &[Part], batch: Batch) -> Batch {
        let (key, count) = (part_count_key(self.id), sum(parts, Tally::object));
        let counted = (!count.is_zero()).then(|| count.to_value().into());
        let rest = sum(parts, Tally::part).plus(Tally::upload());
        batch.expect(key.clone(), counted).count(key, count.negated()).count(self.tally_key(), rest.negated())
    }
}

/// The key of the part `number` of the upload `upload`.
pub fn part_key(upload: [u8; 16], number: u16) -> Vec<u8> {
    let mut key = key_of(Table::Part, &upload);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Where the number of parts of the open upload `upload`, and of their bytes, stands.
fn part_count_key(upload: [u8; 16]) -> Vec<u8> {
    key_of(Table::PartCount, &upload)
}

fn read_part_pair(key: &[u8], value: Bytes) -> Result<Part, StoreError> {
    let number = key.last_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let number = number.ok_or_else(|| StoreError::Corrupt("part key".to_owned()))?;
    let record = PartRecord::from_value(&value)?;
    Ok(Part { number, value, record })
}

fn sum(parts: &[Part], tally: impl Fn(u64) -> Tally) -> Tally {
    parts.iter().map(|part| tally(part.record.size)).fold(Tally::default(), Tally::plus)
}
