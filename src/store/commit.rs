//! The write protocols of the S3 index: each is one atomic commit, prepared by reads that the commit then expects.
//!
//! What a commit adds and removes, it counts in the same step ([`super::tally`]): no crash leaves a tally wrong.
//!
//! **Write** (PUT, COPY, and a part):
//! 1. the bytes are sealed into a run, or kept in memory if they are few. *Crash: the run was never adopted; the sweep
//!    takes its space back.*
//! 2. the present record of the key is read, and the caller judges it (`If-Match`, `If-None-Match`).
//! 3. one commit expects the bucket to be live and the key as read; it writes the new record, adopts its run and releases
//!    the old record's runs. *Crash before: as after 1. Crash after: the write is whole, acknowledged or not.*
//!
//!    If another writer came between, nothing has changed: back to 2 with the same run.
//!
//! **Copy by sharing** (a copy that takes over its source's runs): as a write, where 1 is to read the source's records and
//! inline runs, and the commit, instead of adopting a run, gives each of the source's runs one more reference. It fails if one
//! of them is gone, for then the source was replaced. *Crash before: the source alone has them. Crash after: both have them,
//! and the runs live until both have let go.*
//!
//! **Delete**: as a write, without 1.
//!
//! **Replacement of an envelope**: one commit expects the key as read and writes its changed record; no run is touched.
//!
//! **Complete**: the parts stay where they are. One commit expects the bucket live, the upload open, its parts (their count,
//! and each) and the key as read; it writes the object record, removes the upload, and releases the parts that were not named and what
//! the key had before. *Crash before: the upload is open as it was. Crash after: the object is whole.*
//!
//! **Abort**: one commit expects the upload open and its parts as read; it removes and releases all of them. A part that is
//! uploaded meanwhile changes their count: none is left behind.
//!
//! **Bucket deletion** (the name's record is in another partition than its keys):
//! 1. the `L` key goes from live to deleting: from here on no write to the bucket commits. *Crash: step 4 at the next
//!    start, or at the next delete, decides again.*
//! 2. if an object is left, `L` goes back to live, and the bucket is not empty.
//! 3. open uploads are aborted.
//! 4. the name's record is removed. *Crash before: the bucket has neither objects nor uploads and takes no writes;
//!    [`revive_bucket`] at start makes it live again. Crash after: it is gone; nothing is left in its partition but `L`.*

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::schema::{
    self, BucketRecord, DELETING, LIVE, ObjectRecord, PartRecord, Protection, Record, RunRef, Table, UploadRecord,
    escape, key_of,
};
use super::tally::tally_key;
use super::{Batch, KeyRange, MetaStore, Outcome, Partition, RunId, SealedRun, StoreError, Tally};

/// The sealed bytes of a write, wherever they wait.
#[derive(Debug)]
pub enum NewRun {
    /// In memory: they become a value beside their record.
    Inline([u8; 16], Bytes),
    /// In the blob store, waiting to be adopted.
    Run(SealedRun),
    /// Those of another object, of which the new one gets references of its own.
    Shared(SharedRuns),
}

/// What a copy takes over from its source.
#[derive(Clone, Debug, Default)]
pub struct SharedRuns {
    /// Runs of the blob store.
    pub runs: Vec<RunId>,
    /// Values under keys of the copy's own: its inline runs, and the records of its parts.
    pub values: Vec<(Vec<u8>, Bytes)>,
}

/// Why a protocol did not commit.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The caller's own judgement of what was there.
    #[error("refused")]
    Refused(E),
    /// The bucket is gone or going.
    #[error("the bucket does not exist")]
    NoBucket,
    /// The upload was completed or aborted.
    #[error("the upload does not exist")]
    NoUpload,
    /// Parts were uploaded since they were read.
    #[error("the upload's parts have changed")]
    PartsChanged,
    /// The source of a copy was replaced or deleted.
    #[error("the source does not exist any more")]
    NoSource(RunId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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

/// The current version of `key`.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_object(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
) -> Result<Option<ObjectRecord>, StoreError> {
    let value = store.get(bucket, &escape(Table::Object, key)).await?;
    value.map(|value| ObjectRecord::from_value(&value)).transpose()
}

/// The current versions of the objects whose keys begin with `prefix` and come after `after`, in order, at most `limit`.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_objects(
    store: &dyn MetaStore,
    bucket: Partition,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, ObjectRecord)>, StoreError> {
    let mut range = KeyRange::prefix(&schema::prefix_of(Table::Object, prefix));
    if !after.is_empty() {
        let mut start = escape(Table::Object, after);
        start.push(0);
        range.start = range.start.max(start);
    }
    let pairs = store.scan(bucket, &range, limit).await?;
    let read = |(key, value): (Bytes, Bytes)| {
        let (key, _) = schema::unescape(&key).ok_or_else(|| StoreError::Corrupt("object key".to_owned()))?;
        Ok((key, ObjectRecord::from_value(&value)?))
    };
    pairs.into_iter().map(read).collect()
}

/// Makes `record` the object `key`, its bytes being `run`. `admit` judges what is there now, and may be asked again when
/// another writer was faster.
///
/// # Errors
/// [`WriteError`]; nothing is changed, and the run is discarded.
pub async fn write_object<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    record: &ObjectRecord,
    mut run: NewRun,
    admit: impl Fn(Option<&ObjectRecord>) -> Result<(), E>,
) -> Result<(), WriteError<E>> {
    let index_key = escape(Table::Object, key);
    let value = Bytes::from(record.to_value());
    loop {
        let present = store.get(bucket, &index_key).await?;
        let old = present.as_deref().map(ObjectRecord::from_value).transpose()?;
        admit(old.as_ref()).map_err(WriteError::Refused)?;
        let mut batch = live_batch().expect(index_key.clone(), present).put(index_key.clone(), value.clone());
        batch = count_replacement(batch, old.as_ref(), Some(record));
        if let Some(old) = &old {
            batch = release_body(store, bucket, old, batch).await?;
        }
        let inline = inline_copy(&run);
        match store.commit(bucket, run.add_to(batch)).await? {
            Outcome::Applied => return Ok(()),
            Outcome::Conflict { expectation: 0, .. } => return Err(WriteError::NoBucket),
            Outcome::Conflict { expectation: 1, adopted } => run = take_back(inline, adopted)?,
            Outcome::Conflict { expectation, .. } => {
                let gone = match &inline {
                    Some(NewRun::Shared(shared)) => shared.runs.get(expectation - 2).copied(),
                    _ => None,
                };
                return Err(WriteError::NoSource(gone.unwrap_or(RunId([0; 16]))));
            }
        }
    }
}

/// Removes the object `key`. Absence is no error: `Ok(false)`.
///
/// # Errors
/// [`WriteError`]; nothing is changed.
pub async fn delete_object<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    admit: impl Fn(Option<&ObjectRecord>) -> Result<(), E>,
) -> Result<bool, WriteError<E>> {
    let index_key = escape(Table::Object, key);
    loop {
        let present = store.get(bucket, &index_key).await?;
        let old = present.as_deref().map(ObjectRecord::from_value).transpose()?;
        admit(old.as_ref()).map_err(WriteError::Refused)?;
        let Some(old) = old else { return Ok(false) };
        let batch = Batch::new().expect(index_key.clone(), present).delete(index_key.clone());
        let batch = count_replacement(batch, Some(&old), None);
        let batch = release_body(store, bucket, &old, batch).await?;
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok(true),
            Outcome::Conflict { .. } => {}
        }
    }
}

/// Gives the object `key`, if it still is as `judged`, another envelope; all else stays as it is. `Ok(false)` if it was
/// replaced, deleted or given another envelope meanwhile.
///
/// # Errors
/// [`WriteError::NoBucket`] and [`WriteError::Store`]; nothing is changed.
pub async fn replace_envelope<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    judged: &ObjectRecord,
    envelope: Vec<u8>,
    protection: Protection,
) -> Result<bool, WriteError<E>> {
    let index_key = escape(Table::Object, key);
    let Some(present) = store.get(bucket, &index_key).await? else { return Ok(false) };
    if ObjectRecord::from_value(&present)? != *judged {
        return Ok(false);
    }
    let new = ObjectRecord { envelope: envelope.into(), protection, ..judged.clone() };
    let batch = live_batch().expect(index_key.clone(), Some(present)).put(index_key, new.to_value());
    let batch = count_replacement(batch, Some(judged), Some(&new));
    match store.commit(bucket, batch).await? {
        Outcome::Applied => Ok(true),
        Outcome::Conflict { expectation: 0, .. } => Err(WriteError::NoBucket),
        Outcome::Conflict { .. } => Ok(false),
    }
}

/// Opens an upload.
///
/// # Errors
/// [`WriteError`].
pub async fn create_upload<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    id: [u8; 16],
    record: &UploadRecord,
) -> Result<(), WriteError<E>> {
    let batch = live_batch().put(upload_key(key, id), record.to_value());
    let batch = batch.count(tally_key(&record.protection), Tally::upload());
    match store.commit(bucket, batch).await? {
        Outcome::Applied => Ok(()),
        Outcome::Conflict { .. } => Err(WriteError::NoBucket),
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
        let mut batch = upload.expected(live_batch()).expect(key.clone(), present).put(key.clone(), value.clone());
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
            Outcome::Conflict { expectation: 0, .. } => return Err(WriteError::NoBucket),
            Outcome::Conflict { expectation: 1, .. } => return Err(WriteError::NoUpload),
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

/// Makes `record` of the `chosen` parts of `upload`. `parts` are all parts as they were read.
///
/// # Errors
/// [`WriteError`]; nothing is changed.
pub async fn complete_upload<E>(
    store: &dyn MetaStore,
    bucket: Partition,
    upload: &Upload,
    parts: &[Part],
    chosen: impl Fn(u16) -> bool,
    record: &ObjectRecord,
    admit: impl Fn(Option<&ObjectRecord>) -> Result<(), E>,
) -> Result<(), WriteError<E>> {
    let index_key = escape(Table::Object, &upload.key);
    loop {
        let present = store.get(bucket, &index_key).await?;
        let old = present.as_deref().map(ObjectRecord::from_value).transpose()?;
        admit(old.as_ref()).map_err(WriteError::Refused)?;
        let mut batch = upload.end(parts, upload.expected(live_batch()).expect(index_key.clone(), present));
        batch = batch.put(index_key.clone(), record.to_value()).delete(upload_key(&upload.key, upload.id));
        batch = count_replacement(batch, old.as_ref(), Some(record));
        for part in parts {
            let key = part_key(upload.id, part.number);
            batch = batch.expect(key.clone(), Some(part.value.clone()));
            if !chosen(part.number) {
                batch = release_run(&part.record.run, batch.delete(key));
            }
        }
        if let Some(old) = &old {
            batch = release_body(store, bucket, old, batch).await?;
        }
        match store.commit(bucket, batch).await? {
            Outcome::Applied => return Ok(()),
            Outcome::Conflict { expectation: 0, .. } => return Err(WriteError::NoBucket),
            Outcome::Conflict { expectation: 1, .. } => return Err(WriteError::NoUpload),
            Outcome::Conflict { expectation: 2, .. } => {}
            Outcome::Conflict { .. } => return Err(WriteError::PartsChanged),
        }
    }
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

/// Makes a bucket. `Ok(Some(existing))` if the name is taken.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn create_bucket(
    store: &dyn MetaStore,
    name: &str,
    record: &BucketRecord,
) -> Result<Option<BucketRecord>, StoreError> {
    let _ = store.commit(record.partition(), Batch::new().put(live_key(), LIVE)).await?;
    let key = key_of(Table::Bucket, name.as_bytes());
    let batch = Batch::new().expect(key.clone(), None).put(key, record.to_value());
    match store.commit(Partition::GLOBAL, batch).await? {
        Outcome::Applied => Ok(None),
        Outcome::Conflict { .. } => {
            let _ = store.commit(record.partition(), Batch::new().delete(live_key())).await?;
            read_bucket(store, name).await
        }
    }
}

/// The bucket `name`.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_bucket(store: &dyn MetaStore, name: &str) -> Result<Option<BucketRecord>, StoreError> {
    let value = store.get(Partition::GLOBAL, &key_of(Table::Bucket, name.as_bytes())).await?;
    value.map(|value| BucketRecord::from_value(&value)).transpose()
}

/// Changes the record of the bucket `name`; `Ok(false)` if there is no such bucket.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn update_bucket(
    store: &dyn MetaStore,
    name: &str,
    change: impl Fn(&mut BucketRecord),
) -> Result<bool, StoreError> {
    let key = key_of(Table::Bucket, name.as_bytes());
    loop {
        let Some(present) = store.get(Partition::GLOBAL, &key).await? else { return Ok(false) };
        let mut record = BucketRecord::from_value(&present)?;
        change(&mut record);
        let batch = Batch::new().expect(key.clone(), Some(present)).put(key.clone(), record.to_value());
        if let Outcome::Applied = store.commit(Partition::GLOBAL, batch).await? {
            return Ok(true);
        }
    }
}

/// Every bucket whose name is greater than `after`, in order, at most `limit`.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_buckets(
    store: &dyn MetaStore,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, BucketRecord)>, StoreError> {
    let mut range = KeyRange::prefix(&[Table::Bucket as u8]);
    if !after.is_empty() {
        range.start = key_of(Table::Bucket, after.as_bytes());
        range.start.push(0);
    }
    let pairs = store.scan(Partition::GLOBAL, &range, limit).await?;
    pairs
        .into_iter()
        .map(|(key, value)| {
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            Ok((name, BucketRecord::from_value(&value)?))
        })
        .collect()
}

/// What became of a bucket's deletion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BucketDeletion {
    /// It is gone.
    Deleted,
    /// Objects are left; nothing was changed.
    NotEmpty,
    /// Another deletion is under way or was faster.
    Busy,
}

/// Deletes the bucket `name` if it has no objects. See the module's protocol.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn delete_bucket(
    store: &dyn MetaStore,
    name: &str,
    record: &BucketRecord,
) -> Result<BucketDeletion, StoreError> {
    let bucket = record.partition();
    let closing = Batch::new().expect(live_key(), Some(Bytes::from_static(LIVE))).put(live_key(), DELETING);
    if let Outcome::Conflict { .. } = store.commit(bucket, closing).await? {
        return Ok(BucketDeletion::Busy);
    }
    let left = store.scan(bucket, &KeyRange::prefix(&[Table::Object as u8]), 1).await;
    if !matches!(&left, Ok(pairs) if pairs.is_empty()) {
        let _ = store.commit(bucket, Batch::new().put(live_key(), LIVE)).await?;
        return left.map(|_| BucketDeletion::NotEmpty);
    }
    loop {
        let uploads = read_uploads(store, bucket, 100).await?;
        if uploads.is_empty() {
            break;
        }
        for upload in &uploads {
            abort_upload(store, bucket, upload).await?;
        }
    }
    let key = key_of(Table::Bucket, name.as_bytes());
    let present = store.get(Partition::GLOBAL, &key).await?;
    let unchanged = present.as_deref().map(BucketRecord::from_value).transpose()?.is_some_and(|now| now == *record);
    let batch = Batch::new().expect(key.clone(), present.filter(|_| unchanged)).delete(key);
    if let Outcome::Conflict { .. } = store.commit(Partition::GLOBAL, batch).await? {
        // The bucket was configured meanwhile: it lives on.
        let _ = store.commit(bucket, Batch::new().put(live_key(), LIVE)).await?;
        return Ok(BucketDeletion::Busy);
    }
    let _ = store.commit(bucket, Batch::new().delete(live_key())).await?;
    Ok(BucketDeletion::Deleted)
}

/// At start: lets every bucket whose deletion a crash cut off take writes again.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn revive_bucket(store: &dyn MetaStore, record: &BucketRecord) -> Result<(), StoreError> {
    let deleting = Batch::new().expect(live_key(), Some(Bytes::from_static(DELETING))).put(live_key(), LIVE);
    store.commit(record.partition(), deleting).await.map(drop)
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

/// The key of the inline bytes of a run.
pub fn data_key(run: [u8; 16]) -> Vec<u8> {
    key_of(Table::Data, &run)
}

impl NewRun {
    fn add_to(self, batch: Batch) -> Batch {
        match self {
            Self::Inline(id, bytes) => batch.put(data_key(id), bytes),
            Self::Run(run) => batch.adopt(run),
            Self::Shared(SharedRuns { runs, values }) => {
                let batch = values.into_iter().fold(batch, |batch, (key, value)| batch.put(key, value));
                runs.into_iter().fold(batch, Batch::share)
            }
        }
    }
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

/// What to try again with after a conflict: the inline bytes, or the run that the commit handed back.
fn take_back(inline: Option<NewRun>, mut adopted: Vec<SealedRun>) -> Result<NewRun, StoreError> {
    inline
        .or_else(|| adopted.pop().map(NewRun::Run))
        .ok_or_else(|| StoreError::Corrupt("a conflict did not hand its run back".to_owned()))
}

fn inline_copy(run: &NewRun) -> Option<NewRun> {
    match run {
        NewRun::Inline(id, bytes) => Some(NewRun::Inline(*id, bytes.clone())),
        NewRun::Shared(shared) => Some(NewRun::Shared(shared.clone())),
        NewRun::Run(_) => None,
    }
}

fn sum(parts: &[Part], tally: impl Fn(u64) -> Tally) -> Tally {
    parts.iter().map(|part| tally(part.record.size)).fold(Tally::default(), Tally::plus)
}

/// Counts that `new` takes the place of `old`.
fn count_replacement(batch: Batch, old: Option<&ObjectRecord>, new: Option<&ObjectRecord>) -> Batch {
    let of = |record: &ObjectRecord| (tally_key(&record.protection), Tally::object(record.size));
    match (old.map(of), new.map(of)) {
        (Some((old_key, old)), Some((new_key, new))) if old_key == new_key => {
            batch.count(new_key, new.plus(old.negated()))
        }
        (old, new) => {
            let batch = new.into_iter().fold(batch, |batch, (key, tally)| batch.count(key, tally));
            old.into_iter().fold(batch, |batch, (key, tally)| batch.count(key, tally.negated()))
        }
    }
}

fn live_batch() -> Batch {
    Batch::new().expect(live_key(), Some(Bytes::from_static(LIVE)))
}

fn live_key() -> Vec<u8> {
    vec![Table::Live as u8]
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

fn release_run(run: &RunRef, batch: Batch) -> Batch {
    if run.inline { batch.delete(data_key(run.id)) } else { batch.release(run.run()) }
}

/// Adds to `batch` the removal of everything that `old` alone refers to. Parts of a completed upload never change, so
/// reading them here is safe: the batch expects the record that names them.
async fn release_body(
    store: &dyn MetaStore,
    bucket: Partition,
    old: &ObjectRecord,
    mut batch: Batch,
) -> Result<Batch, StoreError> {
    match &old.body {
        schema::Body::Run(run) => Ok(release_run(run, batch)),
        schema::Body::Parts { upload, .. } => {
            for part in read_parts(store, bucket, *upload, 0, usize::MAX).await? {
                batch = release_run(&part.record.run, batch.delete(part_key(*upload, part.number)));
            }
            Ok(batch)
        }
    }
}
