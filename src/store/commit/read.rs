//! Reads of the index: one version, or versions in order.

use std::sync::Arc;

use bytes::Bytes;

use super::head::Head;
use crate::store::schema::{
    self, MarkerRecord, ObjectRecord, Record as _, Table, Version, VersionId, Versioning, escape, noncurrent_key,
    prefix_of,
};
use crate::store::{KeyRange, MetaStore, Partition, Skip, StoreError, prefix_end};

/// The object that is the current version of `key`.
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

/// The delete marker that is the current version of `key`.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_marker(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
) -> Result<Option<MarkerRecord>, StoreError> {
    let value = store.get(bucket, &escape(Table::Marker, key)).await?;
    value.map(|value| MarkerRecord::from_value(&value)).transpose()
}

/// The version `id` of `key`, or its current one.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_version(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    id: Option<VersionId>,
) -> Result<Option<Version>, StoreError> {
    Ok(locate(store, bucket, key, id).await?.map(|found| found.version))
}

/// A version, and where it is.
pub(super) struct Located {
    /// Its key in the index.
    pub key: Vec<u8>,
    /// Its record as stored, which commits expect.
    pub value: Bytes,
    pub version: Version,
    pub is_current: bool,
}

impl Located {
    /// The stored form of `object` in its place.
    pub fn encode(&self, object: ObjectRecord) -> Vec<u8> {
        if self.is_current { object.to_value() } else { Version::Object(Box::new(object)).to_value() }
    }
}

/// Finds a version. One that becomes current, or ceases to be, while it is looked for is found all the same.
pub(super) async fn locate(
    store: &dyn MetaStore,
    bucket: Partition,
    key: &str,
    id: Option<VersionId>,
) -> Result<Option<Located>, StoreError> {
    let mut head = Head::read(store, bucket, key, Versioning::Enabled).await?;
    loop {
        if let (Some(version), Some((index_key, value))) = (&head.version, head.pair())
            && id.is_none_or(|id| id == version.id())
        {
            return Ok(Some(Located { key: index_key, value, version: version.clone(), is_current: true }));
        }
        let order = match id {
            Some(VersionId::Own { order, .. }) => Some(order),
            Some(VersionId::Null) => head.version.as_ref().and_then(Version::null_at),
            None => None,
        };
        if let Some(order) = order {
            let index_key = noncurrent_key(key, order);
            if let Some(value) = store.get(bucket, &index_key).await? {
                let version = Version::from_value(&value)?;
                if id == Some(version.id()) {
                    return Ok(Some(Located { key: index_key, value, version, is_current: false }));
                }
            }
        }
        let again = Head::read(store, bucket, key, Versioning::Enabled).await?;
        if again.is_as(&head) {
            return Ok(None);
        }
        head = again;
    }
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
    let mut range = KeyRange::prefix(&prefix_of(Table::Object, prefix));
    if !after.is_empty() {
        let mut start = escape(Table::Object, after);
        start.push(0);
        range.start = range.start.max(start);
    }
    let pairs = store.scan(bucket, &range, limit).await?;
    pairs.into_iter().map(|(key, value)| Ok((name_of(&key)?, ObjectRecord::from_value(&value)?))).collect()
}

/// Where a walk over versions begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum After {
    /// Behind all versions of a key.
    Key(String),
    /// Behind all keys with a prefix.
    Prefix(String),
    /// Behind the version of a key at an order, whether or not it is there any more.
    Version(String, u64),
}

/// A version that a walk came by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundVersion {
    /// The object's key.
    pub key: String,
    /// The version.
    pub version: Version,
    /// Whether it is the current one.
    pub is_current: bool,
}

/// All versions, current or not, of the keys that begin with `prefix`: by key, the newest of each first, at most `limit`.
/// Fewer than `limit` means that there are no more. What is returned is one state of the bucket; across calls, a version
/// that is there all the while is come by exactly once, whatever becomes of others.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_versions(
    store: &dyn MetaStore,
    bucket: Partition,
    prefix: &str,
    after: Option<&After>,
    limit: usize,
) -> Result<Vec<FoundVersion>, StoreError> {
    read_groups(store, bucket, (prefix, None), after, limit).await
}

/// As [`read_versions`]; of the versions that `skip` passes by behind others, one to three are read, which stand for all.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_groups(
    store: &dyn MetaStore,
    bucket: Partition,
    (prefix, skip): (&str, Option<&Skip>),
    after: Option<&After>,
    limit: usize,
) -> Result<Vec<FoundVersion>, StoreError> {
    // The head of the key where the walk is may have been come by, and what it would stand for not.
    let skip = match (skip, after) {
        (Some(skip), Some(After::Version(key, _))) => {
            let (skip, heads) = (Arc::clone(skip), [escape(Table::Object, key), escape(Table::Marker, key)]);
            let is_head = move |at: &[u8]| heads.iter().any(|head| head == at);
            Some(Arc::new(move |at: &[u8]| if is_head(at) { None } else { skip(at) }) as Skip)
        }
        (skip, _) => skip.cloned(),
    };
    let range = |table: Table| {
        let mut range = KeyRange::prefix(&prefix_of(table, prefix));
        let start = match after {
            None => Vec::new(),
            Some(After::Key(key)) => prefix_end(&escape(table, key)),
            Some(After::Prefix(prefix)) => prefix_end(&prefix_of(table, prefix)),
            Some(After::Version(key, order)) if table == Table::Noncurrent => {
                let mut start = noncurrent_key(key, *order);
                start.push(0);
                start
            }
            Some(After::Version(key, _)) => escape(table, key),
        };
        range.start = range.start.max(start);
        range
    };
    let ranges = [range(Table::Object), range(Table::Marker), range(Table::Noncurrent)];
    // A head that is later than where the walk is was come by as such: one more is read in its place.
    let tables = store.scan_all(bucket, &ranges, skip.as_ref(), limit.saturating_add(1)).await?;
    let mut found = Vec::new();
    for (table, pairs) in [Table::Object, Table::Marker, Table::Noncurrent].into_iter().zip(tables) {
        for (key, value) in pairs {
            let version = match table {
                Table::Object => Version::Object(Box::new(ObjectRecord::from_value(&value)?)),
                Table::Marker => Version::Marker(MarkerRecord::from_value(&value)?),
                _ => Version::from_value(&value)?,
            };
            found.push(FoundVersion { key: name_of(&key)?, version, is_current: table != Table::Noncurrent });
        }
    }
    if let Some(After::Version(key, order)) = after {
        found.retain(|found| found.key != *key || found.version.order() < *order);
    }
    found.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()).then(b.version.order().cmp(&a.version.order())));
    found.truncate(limit);
    Ok(found)
}

fn name_of(key: &[u8]) -> Result<String, StoreError> {
    schema::unescape(key).map(|(name, _)| name).ok_or_else(|| StoreError::Corrupt("object key".to_owned()))
}
