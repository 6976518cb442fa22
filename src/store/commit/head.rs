//! The head of a key: its current version, through which every change of what is current goes.
//!
//! A key with any version has exactly one current one: an object in [`Table::Object`], or a delete marker in
//! [`Table::Marker`], and it is later than all in [`Table::Noncurrent`]. Whoever changes which one is current expects the
//! head as it was read; so changes of one key come one after the other. A version that comes late, among the noncurrent
//! ones, changes the head too, by counting itself there: whoever meanwhile removes the head, and has read which of the
//! others is the newest, reads again. The head also knows where the null version is, of which a key has one at most.

use bytes::Bytes;

use super::{count_replacement, release_body};
use crate::store::schema::{
    MarkerRecord, ObjectRecord, Others, Record as _, Table, Version, VersionId, Versioning, escape, noncurrent_key,
};
use crate::store::{Batch, MetaStore, Partition, StoreError};

/// The head of a key, as read.
#[derive(Clone)]
pub(super) struct Head<'k> {
    bucket: Partition,
    key: &'k str,
    stored: Stored,
    pub version: Option<Version>,
}

/// What was found.
#[derive(Clone, Eq, PartialEq)]
enum Stored {
    Object(Bytes),
    Marker(Bytes),
    Nothing,
    /// No object; and a marker was not looked for, as the bucket has none.
    NoObject,
}

impl<'k> Head<'k> {
    pub async fn read(
        store: &dyn MetaStore,
        bucket: Partition,
        key: &'k str,
        versioning: Versioning,
    ) -> Result<Self, StoreError> {
        let head = |stored, version| Self { bucket, key, stored, version };
        if let Some(value) = store.get(bucket, &escape(Table::Object, key)).await? {
            let version = Version::Object(Box::new(ObjectRecord::from_value(&value)?));
            return Ok(head(Stored::Object(value), Some(version)));
        }
        if !versioning.keeps_versions() {
            return Ok(head(Stored::NoObject, None));
        }
        let Some(value) = store.get(bucket, &escape(Table::Marker, key)).await? else {
            return Ok(head(Stored::Nothing, None));
        };
        let version = Version::Marker(MarkerRecord::from_value(&value)?);
        Ok(head(Stored::Marker(value), Some(version)))
    }

    /// The object, if it is one.
    pub fn object(&self) -> Option<&ObjectRecord> {
        self.version.as_ref().and_then(Version::object)
    }

    /// Whether what was read is the same.
    pub fn is_as(&self, other: &Self) -> bool {
        self.stored == other.stored
    }

    /// The index key and stored value of the version that is at the head.
    pub fn pair(&self) -> Option<(Vec<u8>, Bytes)> {
        match &self.stored {
            Stored::Object(value) => Some((escape(Table::Object, self.key), value.clone())),
            Stored::Marker(value) => Some((escape(Table::Marker, self.key), value.clone())),
            Stored::Nothing | Stored::NoObject => None,
        }
    }

    /// Adds to `batch` that the head still is what was read.
    pub fn expected(&self, batch: Batch) -> Batch {
        let (object, marker) = (escape(Table::Object, self.key), escape(Table::Marker, self.key));
        match &self.stored {
            Stored::Object(value) => batch.expect(object, Some(value.clone())),
            Stored::Marker(value) => batch.expect(object, None).expect(marker, Some(value.clone())),
            Stored::Nothing => batch.expect(object, None).expect(marker, None),
            Stored::NoObject => batch.expect(object, None),
        }
    }

    /// Adds to `batch` that `new` comes in its place, or nothing. Who was there is not looked after.
    pub fn put(&self, batch: Batch, new: Option<&Version>) -> Batch {
        let new = new.map(|new| match new {
            Version::Object(object) => (escape(Table::Object, self.key), object.to_value()),
            Version::Marker(marker) => (escape(Table::Marker, self.key), marker.to_value()),
        });
        let batch = match self.pair() {
            Some((old, _)) if new.as_ref().is_none_or(|(new, _)| *new != old) => batch.delete(old),
            _ => batch,
        };
        match new {
            Some((key, value)) => batch.put(key, value),
            None => batch,
        }
    }

    /// Adds to `batch` that `new` becomes the current version of a bucket in the state `versioning`, counted, with the end
    /// of what it replaces. The id that it gets.
    pub async fn replace(
        &self,
        store: &dyn MetaStore,
        versioning: Versioning,
        mut new: Version,
        batch: Batch,
    ) -> Result<(Batch, VersionId), StoreError> {
        let mut batch = self.expected(batch);
        let with_id = versioning == Versioning::Enabled;
        let mut replaced = None;
        if versioning.keeps_versions() {
            let mut null_at = None;
            let late = self.version.as_ref().and_then(|old| old.others().late);
            match &self.version {
                Some(old) if old.id() == VersionId::Null && !with_id => replaced = Some(old.clone()),
                Some(old) => {
                    null_at = if old.id() == VersionId::Null { Some(old.order()) } else { old.null_at() };
                    let kept = old.clone().with_others(Others::default());
                    batch = batch.put(noncurrent_key(self.key, old.order()), kept.to_value());
                    if let Some(at) = null_at.filter(|_| !with_id) {
                        null_at = None;
                        let key = noncurrent_key(self.key, at);
                        let value = store.get(self.bucket, &key).await?;
                        replaced = value.as_deref().map(Version::from_value).transpose()?;
                        batch = batch.expect(key.clone(), value).delete(key);
                    }
                }
                None => {}
            }
            let least = self.version.as_ref().map_or(0, |old| old.order().saturating_add(1));
            new.place(least, with_id);
            new = new.with_others(Others { null_at, late });
        } else {
            replaced.clone_from(&self.version);
        }
        let old = replaced.as_ref().and_then(Version::object);
        batch = count_replacement(batch, old, new.object());
        if let Some(old) = old {
            batch = release_body(store, self.bucket, old, batch).await?;
        }
        Ok((self.put(batch, Some(&new)), new.id()))
    }
}
