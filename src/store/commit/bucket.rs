//! Buckets: made, configured, deleted.

use std::convert::Infallible;

use bytes::Bytes;

use super::{WriteError, abort_upload, live_key, read_uploads};
use crate::store::schema::{BucketRecord, DELETING, GONE, Record as _, Table, Versioning, key_of};
use crate::store::{Batch, KeyRange, MetaStore, Outcome, Partition, StoreError};

/// The tables that a bucket without objects and uploads may have keys in.
const LEFT_BEHIND: &[Table] = &[Table::Configuration, Table::Cursor, Table::Live];
/// Keys that are removed at once.
const PAGE: usize = 1000;

/// Makes a bucket. `Ok(Some(existing))` if the name is taken.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn create_bucket(
    store: &dyn MetaStore,
    name: &str,
    record: &BucketRecord,
) -> Result<Option<BucketRecord>, StoreError> {
    let live = Batch::new().put(live_key(), record.versioning.live_value());
    let _ = store.commit(record.partition(), live).await?;
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
    let changed = configure_bucket(store, name, |record| {
        change(record);
        Ok::<_, Infallible>(())
    });
    match changed.await {
        Ok(found) => Ok(found),
        Err(WriteError::Store(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// As [`update_bucket`], where `change` may refuse. If it changes whether the bucket keeps versions, writes keep to it when
/// this returns.
///
/// # Errors
/// [`WriteError`]: refused, or of the store; [`WriteError::NoBucket`] if the bucket is being deleted.
pub async fn configure_bucket<E>(
    store: &dyn MetaStore,
    name: &str,
    change: impl Fn(&mut BucketRecord) -> Result<(), E>,
) -> Result<bool, WriteError<E>> {
    let key = key_of(Table::Bucket, name.as_bytes());
    loop {
        let Some(present) = store.get(Partition::GLOBAL, &key).await? else { return Ok(false) };
        let old = BucketRecord::from_value(&present)?;
        let mut record = old.clone();
        change(&mut record).map_err(WriteError::Refused)?;
        let batch = Batch::new().expect(key.clone(), Some(present)).put(key.clone(), record.to_value());
        if let Outcome::Applied = store.commit(Partition::GLOBAL, batch).await? {
            // Also where it was so before: whoever said it first may not have come to tell the writers.
            if record.versioning.keeps_versions() && !settle_versioning(store, name, &record).await? {
                return Err(WriteError::NoBucket);
            }
            return Ok(true);
        }
    }
}

/// Makes the `L` key say what the record does. `Ok(false)` if the bucket takes no writes.
async fn settle_versioning(store: &dyn MetaStore, name: &str, known: &BucketRecord) -> Result<bool, StoreError> {
    let bucket = known.partition();
    loop {
        let record = read_bucket(store, name).await?;
        let Some(record) = record.filter(|record| record.id == known.id) else { return Ok(false) };
        let present = store.get(bucket, &live_key()).await?;
        match present.as_deref().and_then(Versioning::of_live) {
            None => return Ok(false),
            Some(versioning) if versioning == record.versioning => return Ok(true),
            Some(_) => {
                let batch = Batch::new().expect(live_key(), present).put(live_key(), record.versioning.live_value());
                let _ = store.commit(bucket, batch).await?;
            }
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

/// Deletes the bucket `name` if it has no objects, nor versions of any. See the module's protocol.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn delete_bucket(
    store: &dyn MetaStore,
    name: &str,
    record: &BucketRecord,
) -> Result<BucketDeletion, StoreError> {
    let bucket = record.partition();
    let present = store.get(bucket, &live_key()).await?;
    if present.as_deref().and_then(Versioning::of_live).is_none() {
        return Ok(BucketDeletion::Busy);
    }
    let closing = Batch::new().expect(live_key(), present).put(live_key(), DELETING);
    if let Outcome::Conflict { .. } = store.commit(bucket, closing).await? {
        return Ok(BucketDeletion::Busy);
    }
    let deletion = delete_closed(store, name, record).await;
    if !matches!(deletion, Ok(BucketDeletion::Deleted)) {
        reopen(store, name, record).await?;
        return deletion;
    }
    empty_partition(store, bucket).await?;
    Ok(BucketDeletion::Deleted)
}

/// Deletes a bucket that takes no writes any more, save for what is left in its partition. If it is not deleted, it is to take
/// writes again.
async fn delete_closed(store: &dyn MetaStore, name: &str, record: &BucketRecord) -> Result<BucketDeletion, StoreError> {
    let bucket = record.partition();
    if !is_empty(store, bucket).await? {
        return Ok(BucketDeletion::NotEmpty);
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
    let batch = Batch::new().expect(key.clone(), present.filter(|_| unchanged)).delete(key).put(gone_key(bucket), GONE);
    match store.commit(Partition::GLOBAL, batch).await? {
        Outcome::Applied => Ok(BucketDeletion::Deleted),
        // The bucket was configured meanwhile: it lives on.
        Outcome::Conflict { .. } => Ok(BucketDeletion::Busy),
    }
}

/// At start: empties the partitions of buckets whose deletion a crash cut off behind the removal of their names.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn empty_gone(store: &dyn MetaStore) -> Result<(), StoreError> {
    loop {
        let marks = store.scan(Partition::GLOBAL, &KeyRange::prefix(&[Table::Gone as u8]), PAGE).await?;
        if marks.is_empty() {
            return Ok(());
        }
        for (key, _) in marks {
            let id = key.get(1..).and_then(|id| id.try_into().ok());
            let id = id.ok_or_else(|| StoreError::Corrupt("the mark of a bucket that is gone".to_owned()))?;
            empty_partition(store, Partition(id)).await?;
        }
    }
}

/// Removes what a bucket without objects and uploads may have left, then the mark that says so.
async fn empty_partition(store: &dyn MetaStore, bucket: Partition) -> Result<(), StoreError> {
    for table in LEFT_BEHIND {
        loop {
            let pairs = store.scan(bucket, &KeyRange::prefix(&[*table as u8]), PAGE).await?;
            if pairs.is_empty() {
                break;
            }
            let batch = pairs.into_iter().fold(Batch::new(), |batch, (key, _)| batch.delete(key.to_vec()));
            let _ = store.commit(bucket, batch).await?;
        }
    }
    let _ = store.commit(Partition::GLOBAL, Batch::new().delete(gone_key(bucket))).await?;
    Ok(())
}

/// Where it is marked that the bucket with this partition is gone.
fn gone_key(bucket: Partition) -> Vec<u8> {
    key_of(Table::Gone, &bucket.0)
}

async fn is_empty(store: &dyn MetaStore, bucket: Partition) -> Result<bool, StoreError> {
    let tables = [Table::Object, Table::Marker, Table::Noncurrent];
    let ranges = tables.map(|table| KeyRange::prefix(&[table as u8]));
    let found = store.scan_all(bucket, &ranges, None, 1).await?;
    Ok(found.iter().all(Vec::is_empty))
}

/// Lets a bucket that was to be deleted take writes again.
async fn reopen(store: &dyn MetaStore, name: &str, known: &BucketRecord) -> Result<(), StoreError> {
    let deleting = Batch::new().expect(live_key(), Some(Bytes::from_static(DELETING)));
    let batch = deleting.put(live_key(), known.versioning.live_value());
    let _ = store.commit(known.partition(), batch).await?;
    settle_versioning(store, name, known).await.map(drop)
}

/// At start: lets every bucket whose deletion or change of versioning a crash cut off take writes again, as its record says.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn revive_bucket(store: &dyn MetaStore, record: &BucketRecord) -> Result<(), StoreError> {
    let (bucket, live) = (record.partition(), record.versioning.live_value());
    let present = store.get(bucket, &live_key()).await?;
    if present.as_deref() == Some(live) || present.is_none() {
        return Ok(());
    }
    store.commit(bucket, Batch::new().expect(live_key(), present).put(live_key(), live)).await.map(drop)
}
