//! The outbox: what a write has to tell (event notifications) and what it has others do (replication), in the commit of the
//! write itself.
//!
//! An entry stands in the table [`Table::Event`] or [`Table::Replication`] of its bucket's partition, under its **lane** (what
//! it is for: a target, a destination bucket) and a **sequence number**. Buckets without such a configuration have no entries,
//! and their writes cost nothing.
//!
//! **Protocol**
//! 1. Before a bucket gets its first such configuration, its [`WatchRecord`] is committed in the global partition. *Crash: the
//!    bucket is watched, and has nothing to tell.*
//! 2. A write of a configured bucket draws its sequence number after it has read what the key has now, and adds an entry per
//!    lane to its own commit. The commit expects the key as read, so that the entries of one object key stand in the order of
//!    its writes. *Crash before: neither the write nor its entry is there. Crash after: both are.*
//! 3. The lane's carrier is called. *Crash, or a caller that is gone: carriers look through the watched buckets at start, and
//!    now and then.*
//! 4. The carrier reads a page of the lane and carries each entry out, those of one object key one after the other. *Crash: what
//!    was carried out is carried out again. Receivers know it by its sequencer, or its version.*
//!    Where one is not, the others of its key wait behind it, and those of other keys are gone on with.
//! 5. One commit removes what was carried out. *Crash before: as after 4. Crash after: it is done.*
//! 6. When a watched bucket is gone and its lanes are empty, its watch is removed. No write commits to a bucket that is gone,
//!    so nothing is left behind.

mod sequencer;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use super::schema::{Facet, Record, StoredEtag, Table, key_of};
use super::{Batch, KeyRange, MetaStore, Partition, StoreError, Tally};
use crate::crypto::digest::sha256;

pub use sequencer::Sequencer;

/// What entries are for, by name: a target's ARN, a destination bucket's.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lane(pub [u8; 8]);

impl Lane {
    /// The lane to `destination`.
    pub fn to(destination: &str) -> Self {
        let digest = sha256(destination.as_bytes());
        let mut lane = [0; 8];
        lane.copy_from_slice(&digest[..8]);
        Self(lane)
    }
}

/// A bucket that may have entries.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct WatchRecord {
    /// Its name.
    #[n(0)]
    pub bucket: String,
    /// The owner's 12-digit account id.
    #[n(1)]
    pub account: String,
}

/// An event that waits to be told to one target.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct EventRecord {
    /// Without `s3:`, as in `ObjectCreated:Put`.
    #[n(0)]
    pub name: String,
    /// When it happened, in milliseconds since the Unix epoch.
    #[n(1)]
    pub at: i64,
    /// The ARN of the target.
    #[n(2)]
    pub destination: String,
    /// The id of the notification configuration that asks for it.
    #[n(3)]
    pub configuration: String,
    /// Who caused it.
    #[n(4)]
    pub principal: String,
    /// From which address, or on which service's behalf.
    #[n(5)]
    pub source: String,
    /// By which request.
    #[n(6)]
    pub request_id: String,
    /// The request's extended id.
    #[n(7)]
    pub host_id: String,
    /// The object's key; empty for a test event.
    #[n(8)]
    pub key: String,
    /// The version, in versioned buckets.
    #[n(9)]
    pub version: Option<String>,
    /// Plaintext bytes, where an object was written.
    #[n(10)]
    pub size: Option<u64>,
    /// The entity tag, where an object was written.
    #[n(11)]
    pub etag: Option<StoredEtag>,
    /// The object's generation, to which a sealed entity tag is bound.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub generation: [u8; 16],
    /// Why an object was created or deleted, as EventBridge tells it: `PutObject`.
    #[n(13)]
    pub reason: String,
    /// What an event about a replication tells beside.
    #[n(14)]
    pub replication: Option<ReplicationFacts>,
    /// The storage class that a transition led to.
    #[n(15)]
    pub transitioned: Option<String>,
    /// The account of whoever caused it, where `principal` names somebody else of it.
    #[n(16)]
    pub requester: Option<String>,
}

/// What an event about a replication tells. (AWS: "Event message structure", `replicationEventData`.)
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ReplicationFacts {
    /// The rule.
    #[n(0)]
    pub rule: String,
    /// The destination bucket's ARN.
    #[n(1)]
    pub destination: String,
    /// `OBJECT_PUT`, `OBJECT_TAGGING_PUT` and so on.
    #[n(2)]
    pub operation: String,
    /// When the write was made, in milliseconds since the Unix epoch.
    #[n(3)]
    pub requested: i64,
    /// Why it failed.
    #[n(4)]
    pub failure: Option<String>,
    /// After how many minutes it is late, where it was.
    #[n(5)]
    pub threshold: Option<u32>,
    /// When the replica was there, in milliseconds since the Unix epoch, where that was late.
    #[n(6)]
    pub replicated: Option<i64>,
}

/// What a replication does at the destination. A closed set: a stored number.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum ReplicationAction {
    /// The version is written.
    #[n(0)]
    Put,
    /// A delete marker is set.
    #[n(1)]
    DeleteMarker,
    /// Nothing yet: versions that were there before the rule are looked for, behind the entry's key and, as its version, the
    /// order of one of that key's.
    #[n(2)]
    Existing,
    /// The replica is given what was changed of the version after it was written.
    #[n(3)]
    Change,
}

/// A version that waits to be replicated to one destination.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ReplicationRecord {
    /// What is to be done.
    #[n(0)]
    pub action: ReplicationAction,
    /// When the write was made, in milliseconds since the Unix epoch.
    #[n(1)]
    pub at: i64,
    /// The ARN of the destination bucket.
    #[n(2)]
    pub destination: String,
    /// The id of the rule that asks for it.
    #[n(3)]
    pub rule: String,
    /// The object's key.
    #[n(4)]
    pub key: String,
    /// The version, as clients know it.
    #[n(5)]
    pub version: String,
    /// Plaintext bytes.
    #[n(6)]
    pub size: u64,
    /// How far a large object's upload is.
    #[n(7)]
    pub progress: Option<ReplicationProgress>,
    /// Of a change: what was changed.
    #[n(8)]
    pub facet: Option<Facet>,
    /// After how many minutes it is told of that it still waits, if that is to be told and was not yet.
    #[n(9)]
    pub due: Option<u32>,
}

/// The multipart upload of a large object at another server.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ReplicationProgress {
    /// The upload's id there.
    #[n(0)]
    pub upload: String,
    /// The entity tags of the parts that are there, from part 1.
    #[n(1)]
    pub parts: Vec<String>,
    /// Bytes of each of them, whatever is configured by now. Of an upload that was begun before this was kept, nobody knows.
    #[n(2)]
    pub part: Option<u64>,
    /// Whether they are the parts in which the object was uploaded here.
    #[n(3)]
    #[cbor(skip_if = "std::ops::Not::not")]
    pub as_source: bool,
}

impl Record for WatchRecord {
    const NAME: &'static str = "outbox watch record";
}
impl Record for EventRecord {
    const NAME: &'static str = "event record";
}
impl Record for ReplicationRecord {
    const NAME: &'static str = "replication record";
}

/// A record that waits in the outbox.
pub trait Entry: Record + Clone + Send + Sync + 'static {
    /// Its table.
    const TABLE: Table;

    /// The object's key: entries of one key are carried out one after the other.
    fn object(&self) -> &str;

    /// When it happened, in milliseconds since the Unix epoch.
    fn at(&self) -> i64;

    /// What it is for: the name that its lane is of.
    fn destination(&self) -> &str;

    /// Plaintext bytes that it is about.
    fn bytes(&self) -> u64;

    /// The lane that it stands in.
    fn lane(&self) -> Lane {
        Lane::to(self.destination())
    }
}

impl Entry for EventRecord {
    const TABLE: Table = Table::Event;

    fn object(&self) -> &str {
        &self.key
    }

    fn at(&self) -> i64 {
        self.at
    }

    fn destination(&self) -> &str {
        &self.destination
    }

    fn bytes(&self) -> u64 {
        self.size.unwrap_or(0)
    }
}

impl Entry for ReplicationRecord {
    const TABLE: Table = Table::Replication;

    fn object(&self) -> &str {
        &self.key
    }

    fn at(&self) -> i64 {
        self.at
    }

    fn destination(&self) -> &str {
        &self.destination
    }

    fn bytes(&self) -> u64 {
        self.size
    }

    /// A search for versions holds up nothing that is written meanwhile.
    fn lane(&self) -> Lane {
        match self.action {
            ReplicationAction::Put | ReplicationAction::DeleteMarker | ReplicationAction::Change => {
                Lane::to(&self.destination)
            }
            ReplicationAction::Existing => Lane::to(&format!("existing {}", self.destination)),
        }
    }
}

/// An entry as read.
#[derive(Clone, Debug)]
pub struct Waiting<E> {
    /// Its key in the partition.
    pub key: Vec<u8>,
    /// The sequence number in it.
    pub sequence: u64,
    /// The record.
    pub entry: E,
}

/// Adds `entry` to the commit of the write that causes it.
#[must_use]
pub fn enter<E: Entry>(batch: Batch, sequence: u64, entry: &E) -> Batch {
    let key = entry_key(E::TABLE, entry.lane(), sequence);
    batch.put(key, entry.to_value()).count(waiting_key(E::TABLE), Tally::object(entry.bytes()))
}

/// Adds the removal of entries that were carried out.
#[must_use]
pub fn remove<E: Entry>(batch: Batch, done: &[Waiting<E>]) -> Batch {
    let count = done.iter().map(|waiting| Tally::object(waiting.entry.bytes())).fold(Tally::default(), Tally::plus);
    let batch = done.iter().fold(batch, |batch, waiting| batch.delete(waiting.key.clone()));
    batch.count(waiting_key(E::TABLE), count.negated())
}

/// The first `limit` entries of a lane, or of those behind the number `after`.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_lane<E: Entry>(
    store: &dyn MetaStore,
    bucket: Partition,
    lane: Lane,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Waiting<E>>, StoreError> {
    let mut range = KeyRange::prefix(&key_of(E::TABLE, &lane.0));
    if let Some(next) = after.map(|after| after.saturating_add(1)) {
        range.start = entry_key(E::TABLE, lane, next);
    }
    let pairs = store.scan(bucket, &range, limit).await?;
    pairs.into_iter().map(read_entry).collect()
}

/// The lanes of the bucket that have entries.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_lanes(store: &dyn MetaStore, bucket: Partition, table: Table) -> Result<Vec<Lane>, StoreError> {
    let mut lanes = Vec::new();
    let mut range = KeyRange { start: vec![table as u8, 0], ..KeyRange::prefix(&[table as u8]) };
    loop {
        let pairs = store.scan(bucket, &range, 1).await?;
        let Some((key, _)) = pairs.first() else { return Ok(lanes) };
        let (lane, _) = read_key(key)?;
        lanes.push(lane);
        range.start = super::prefix_end(&key_of(table, &lane.0));
    }
}

/// How many entries wait in the bucket, and of how many bytes they are about.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_waiting(store: &dyn MetaStore, bucket: Partition, table: Table) -> Result<Tally, StoreError> {
    let value = store.get(bucket, &waiting_key(table)).await?;
    value.map_or(Ok(Tally::default()), |value| Tally::from_value(&value))
}

/// Has the bucket's lanes looked after, from now on.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn watch(store: &dyn MetaStore, bucket: Partition, record: &WatchRecord) -> Result<(), StoreError> {
    let key = watch_key(bucket);
    if store.get(Partition::GLOBAL, &key).await?.is_some() {
        return Ok(());
    }
    store.commit(Partition::GLOBAL, Batch::new().put(key, record.to_value())).await.map(drop)
}

/// The watched buckets.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_watches(store: &dyn MetaStore) -> Result<Vec<(Partition, WatchRecord)>, StoreError> {
    let pairs = store.scan(Partition::GLOBAL, &KeyRange::prefix(&[Table::Event as u8]), usize::MAX).await?;
    let read = |(key, value): (Bytes, Bytes)| {
        let id = key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
        Ok((Partition(id), WatchRecord::from_value(&value)?))
    };
    pairs.into_iter().map(read).collect()
}

/// Who is watched in the partition `bucket`.
///
/// # Errors
/// As [`MetaStore::get`].
pub async fn read_watch(store: &dyn MetaStore, bucket: Partition) -> Result<Option<WatchRecord>, StoreError> {
    let value = store.get(Partition::GLOBAL, &watch_key(bucket)).await?;
    value.map(|value| WatchRecord::from_value(&value)).transpose()
}

/// Ends the watch over a bucket that is gone.
///
/// # Errors
/// As [`MetaStore::commit`].
pub async fn unwatch(store: &dyn MetaStore, bucket: Partition) -> Result<(), StoreError> {
    store.commit(Partition::GLOBAL, Batch::new().delete(watch_key(bucket))).await.map(drop)
}

fn watch_key(bucket: Partition) -> Vec<u8> {
    key_of(Table::Event, &bucket.0)
}

/// Where the number of waiting entries stands: before all of them.
fn waiting_key(table: Table) -> Vec<u8> {
    vec![table as u8]
}

fn entry_key(table: Table, lane: Lane, sequence: u64) -> Vec<u8> {
    let mut key = key_of(table, &lane.0);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

fn read_key(key: &[u8]) -> Result<(Lane, u64), StoreError> {
    let rest = key.get(1..).ok_or_else(damaged)?;
    let (lane, sequence) = rest.split_at_checked(8).ok_or_else(damaged)?;
    let lane = lane.try_into().map_err(|_| damaged())?;
    let sequence = sequence.try_into().map_err(|_| damaged())?;
    Ok((Lane(lane), u64::from_be_bytes(sequence)))
}

fn read_entry<E: Entry>((key, value): (Bytes, Bytes)) -> Result<Waiting<E>, StoreError> {
    let (_, sequence) = read_key(&key)?;
    Ok(Waiting { key: key.to_vec(), sequence, entry: E::from_value(&value)? })
}

fn damaged() -> StoreError {
    StoreError::Corrupt("outbox key".to_owned())
}

#[cfg(test)]
mod tests;
