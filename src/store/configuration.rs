//! The protocols of bucket configurations: a document by kind and, for some kinds, id, in the bucket's own partition.
//!
//! The bucket's record, which every request reads, says which kinds the bucket may have, so that a request to a bucket without
//! CORS, logging or notifications looks for none. It lies in another partition than the documents:
//!
//! **Put**:
//! 1. the kind is noted in the bucket's record. *Crash: the bucket may have the kind, and has not; readers look, and find
//!    nothing.*
//! 2. one commit expects the bucket to be live; it writes the document and, where the kind has ids and the id is new, counts it.
//!    *Crash before: as after 1. Crash after: the configuration is whole, acknowledged or not.*
//!
//! **Delete**: one commit removes the document, and counts. The note stays: taken away, it might cross a put between its two
//! steps, whose document nobody would then find.
//!
//! With the bucket its configurations go (`commit`, "Bucket deletion", step 5).

use bytes::Bytes;

use super::commit::{live_batch, read_versioning, update_bucket};
use super::schema::{BucketRecord, ConfigurationKind, ConfigurationRecord, Record as _, unescape};
use super::{Batch, KeyRange, MetaStore, Outcome, StoreError, Tally};

/// What became of a put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConfigurationPut {
    /// It is kept.
    Kept,
    /// The bucket is gone or going.
    NoBucket,
    /// The bucket has as many of the kind as it may have.
    TooMany,
}

/// The configuration of this kind (and with this id, where the kind has ids).
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_configuration(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: ConfigurationKind,
    id: Option<&str>,
) -> Result<Option<ConfigurationRecord>, StoreError> {
    if !bucket.may_have(kind) {
        return Ok(None);
    }
    let value = store.get(bucket.partition(), &key(kind, id)).await?;
    value.map(|value| ConfigurationRecord::from_value(&value)).transpose()
}

/// The configurations of a kind with ids whose ids come after `after`, in order, at most `limit`.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_configurations(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: ConfigurationKind,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, ConfigurationRecord)>, StoreError> {
    if !bucket.may_have(kind) {
        return Ok(Vec::new());
    }
    let mut range = KeyRange::prefix(&kind.key());
    if !after.is_empty() {
        range.start = kind.key_of_id(after);
        range.start.push(0);
    }
    let pairs = store.scan(bucket.partition(), &range, limit).await?;
    let read = |(key, value): (Bytes, Bytes)| {
        let (id, _) =
            key.get(1..).and_then(unescape).ok_or_else(|| StoreError::Corrupt("configuration key".to_owned()))?;
        Ok((id, ConfigurationRecord::from_value(&value)?))
    };
    pairs.into_iter().map(read).collect()
}

/// Keeps `record` as the configuration of this kind (and id) of the bucket `name`, in place of one that is there. Of a kind
/// with ids a bucket has `limit` at most. See the module's protocol.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn put_configuration(
    store: &dyn MetaStore,
    (name, bucket): (&str, &BucketRecord),
    kind: ConfigurationKind,
    id: Option<&str>,
    limit: i64,
    record: &ConfigurationRecord,
) -> Result<ConfigurationPut, StoreError> {
    if !bucket.may_have(kind) {
        let note = |record: &mut BucketRecord| {
            record.configured = Some(record.configured.unwrap_or_default().with(kind));
        };
        if !update_bucket(store, name, note).await? {
            return Ok(ConfigurationPut::NoBucket);
        }
    }
    let key = key(kind, id);
    loop {
        let Some(versioning) = read_versioning(store, bucket.partition()).await? else {
            return Ok(ConfigurationPut::NoBucket);
        };
        let mut batch = live_batch(versioning).put(key.clone(), record.to_value());
        if id.is_some() {
            let (count_key, present) = (kind.count_key(), store.get(bucket.partition(), &key).await?);
            batch = batch.expect(key.clone(), present.clone());
            if present.is_none() {
                let count = store.get(bucket.partition(), &count_key).await?;
                if count.as_deref().map(Tally::from_value).transpose()?.unwrap_or_default().objects >= limit {
                    return Ok(ConfigurationPut::TooMany);
                }
                batch = batch.expect(count_key.clone(), count).count(count_key, Tally::object(0));
            }
        }
        match store.commit(bucket.partition(), batch).await? {
            Outcome::Applied => return Ok(ConfigurationPut::Kept),
            Outcome::Conflict { .. } => {}
        }
    }
}

/// Removes the configuration of this kind (and id); `Ok(false)` if there was none.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn delete_configuration(
    store: &dyn MetaStore,
    bucket: &BucketRecord,
    kind: ConfigurationKind,
    id: Option<&str>,
) -> Result<bool, StoreError> {
    let key = key(kind, id);
    loop {
        let Some(present) = store.get(bucket.partition(), &key).await? else { return Ok(false) };
        let mut batch = Batch::new().expect(key.clone(), Some(present)).delete(key.clone());
        if id.is_some() {
            batch = batch.count(kind.count_key(), Tally::object(0).negated());
        }
        if let Outcome::Applied = store.commit(bucket.partition(), batch).await? {
            return Ok(true);
        }
    }
}

fn key(kind: ConfigurationKind, id: Option<&str>) -> Vec<u8> {
    id.map_or_else(|| kind.key(), |id| kind.key_of_id(id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::store::Partition;
    use crate::store::commit::{BucketDeletion, create_bucket, delete_bucket, empty_gone, read_bucket};
    use crate::store::memory::MemoryStore;
    use crate::store::schema::{GONE, Table, key_of};

    fn record(document: &str) -> ConfigurationRecord {
        ConfigurationRecord { document: document.to_owned(), modified: 1 }
    }

    async fn new_bucket(store: &MemoryStore, id: u8) -> BucketRecord {
        let bucket = BucketRecord::new([id; 16], "1", 0, "us-east-1");
        create_bucket(store, "b", &bucket).await.unwrap();
        bucket
    }

    async fn put(store: &MemoryStore, kind: ConfigurationKind, id: Option<&str>, text: &str) -> ConfigurationPut {
        let bucket = read_bucket(store, "b").await.unwrap().unwrap();
        put_configuration(store, ("b", &bucket), kind, id, 2, &record(text)).await.unwrap()
    }

    #[tokio::test]
    async fn a_configuration_is_kept_replaced_and_removed() {
        let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
        new_bucket(&store, 1).await;
        let kind = ConfigurationKind::Cors;
        let read = async || {
            let bucket = read_bucket(&store, "b").await.unwrap().unwrap();
            read_configuration(&store, &bucket, kind, None).await.unwrap()
        };
        assert_eq!(read().await, None);
        for text in ["one", "two"] {
            assert_eq!(put(&store, kind, None, text).await, ConfigurationPut::Kept);
            assert_eq!(read().await, Some(record(text)));
        }
        let bucket = read_bucket(&store, "b").await.unwrap().unwrap();
        assert!(bucket.may_have(kind) && !bucket.may_have(ConfigurationKind::Website));
        assert!(delete_configuration(&store, &bucket, kind, None).await.unwrap());
        assert!(!delete_configuration(&store, &bucket, kind, None).await.unwrap());
        assert_eq!(read().await, None);
    }

    #[tokio::test]
    async fn a_kind_with_ids_is_listed_in_order_and_bounded() {
        let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
        new_bucket(&store, 1).await;
        let kind = ConfigurationKind::Metrics;
        assert_eq!(put(&store, kind, Some("b"), "b1").await, ConfigurationPut::Kept);
        assert_eq!(put(&store, kind, Some("a"), "a").await, ConfigurationPut::Kept);
        assert_eq!(put(&store, ConfigurationKind::Inventory, Some("c"), "c").await, ConfigurationPut::Kept);
        assert_eq!(put(&store, kind, Some("c"), "c").await, ConfigurationPut::TooMany);
        assert_eq!(put(&store, kind, Some("b"), "b2").await, ConfigurationPut::Kept);
        let bucket = read_bucket(&store, "b").await.unwrap().unwrap();
        let list = async |after: &str| {
            let page = read_configurations(&store, &bucket, kind, after, 9).await.unwrap();
            page.into_iter().map(|(id, record)| (id, record.document)).collect::<Vec<_>>()
        };
        assert_eq!(list("").await, [("a".to_owned(), "a".to_owned()), ("b".to_owned(), "b2".to_owned())]);
        assert_eq!(list("a").await, [("b".to_owned(), "b2".to_owned())]);
        assert!(delete_configuration(&store, &bucket, kind, Some("a")).await.unwrap());
        assert_eq!(put(&store, kind, Some("c"), "c").await, ConfigurationPut::Kept);
    }

    #[tokio::test]
    async fn configurations_go_with_their_bucket_also_after_a_crash() {
        let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
        let bucket = new_bucket(&store, 1).await;
        put(&store, ConfigurationKind::Cors, None, "x").await;
        put(&store, ConfigurationKind::Metrics, Some("m"), "x").await;
        let noted = read_bucket(&store, "b").await.unwrap().unwrap();
        assert_eq!(delete_bucket(&store, "b", &noted).await.unwrap(), BucketDeletion::Deleted);
        let left =
            async || store.scan(bucket.partition(), &KeyRange { start: vec![], end: vec![0xff] }, 9).await.unwrap();
        assert_eq!(left().await, []);
        let late = put_configuration(&store, ("b", &noted), ConfigurationKind::Cors, None, 1, &record("x")).await;
        assert_eq!(late.unwrap(), ConfigurationPut::NoBucket);

        // A crash between the removal of the name and the emptying: the next start takes it up.
        let gone = key_of(Table::Gone, &bucket.id);
        let _ = store.commit(Partition::GLOBAL, Batch::new().put(gone.clone(), GONE)).await.unwrap();
        let leftover = Batch::new().put(ConfigurationKind::Cors.key(), record("x").to_value());
        let _ = store.commit(bucket.partition(), leftover).await.unwrap();
        empty_gone(&store).await.unwrap();
        assert_eq!(left().await, []);
        assert_eq!(store.get(Partition::GLOBAL, &gone).await.unwrap(), None);
    }
}
