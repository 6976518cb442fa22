//! Cursors of work that goes through a bucket bit by bit: how far it is, so that it goes on there after a crash.
//!
//! A cursor is a record in the bucket's own partition, and goes with the bucket. One commit expects that the bucket takes writes
//! and writes it; of a bucket that is going, none is left behind.

use bytes::Bytes;

use super::commit::{live_batch, read_versioning};
use super::schema::{BucketRecord, CursorKind, Record};
use super::{Batch, KeyRange, MetaStore, Outcome, StoreError};

/// The cursor of this kind (and id, where the kind has ids).
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_cursor<R: Record>(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: CursorKind,
    id: &str,
) -> Result<Option<R>, StoreError> {
    let value = store.get(bucket.partition(), &kind.key(id)).await?;
    value.map(|value| R::from_value(&value)).transpose()
}

/// Writes the cursor of this kind (and id). `Ok(false)` if the bucket is gone or going.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn put_cursor<R: Record>(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: CursorKind,
    id: &str,
    cursor: &R,
) -> Result<bool, StoreError> {
    let value = Bytes::from(cursor.to_value());
    loop {
        let Some(versioning) = read_versioning(store, bucket.partition()).await? else { return Ok(false) };
        let batch = live_batch(versioning).put(kind.key(id), value.clone());
        if let Outcome::Applied = store.commit(bucket.partition(), batch).await? {
            return Ok(true);
        }
    }
}

/// Removes the cursor of this kind (and id), if there is one.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn delete_cursor(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: CursorKind,
    id: &str,
) -> Result<(), StoreError> {
    store.commit(bucket.partition(), Batch::new().delete(kind.key(id))).await.map(drop)
}

/// The ids of all cursors of this kind.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn cursor_ids(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: CursorKind,
) -> Result<Vec<String>, StoreError> {
    let prefix = kind.key("");
    let pairs = store.scan(bucket.partition(), &KeyRange::prefix(&prefix), usize::MAX).await?;
    Ok(pairs.iter().map(|(key, _)| String::from_utf8_lossy(&key[prefix.len()..]).into_owned()).collect())
}
