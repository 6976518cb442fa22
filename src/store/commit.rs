//! The write protocols of the S3 index: each is one atomic commit, prepared by reads that the commit then expects.
//!
//! What a commit adds and removes, it counts in the same step ([`super::tally`]): no crash leaves a tally wrong. A key's
//! versions are where `head` says; the *head* is the current one.
//!
//! **Write** (PUT, COPY, and a part):
//! 1. the bytes are sealed into a run, or kept in memory if they are few. *Crash: the run was never adopted; the sweep
//!    takes its space back.*
//! 2. the head of the key is read, and the caller judges it (`If-Match`, `If-None-Match`).
//! 3. one commit expects the bucket to be live, in the versioning state that the writer means, and the head as read; it
//!    makes the new record the head and adopts its run. Of what was the head, in the same commit:
//!
//!    | bucket | the old head |
//!    |---|---|
//!    | never versioned | is gone, its runs released |
//!    | enabled | is the newest noncurrent version |
//!    | suspended | is gone if it is the null version; else it is the newest noncurrent one, and a noncurrent null version is gone |
//!
//!    *Crash before: as after 1. Crash after: the write is whole, acknowledged or not.*
//!
//!    If another writer came between, nothing has changed: back to 2 with the same run. If the bucket's versioning was
//!    changed, back to 2 in its new state: after a change is acknowledged, no write goes by what was before.
//!
//! **Copy by sharing** (a copy that takes over its source's runs): as a write, where 1 is to read the source's records and
//! inline runs, and the commit, instead of adopting a run, gives each of the source's runs one more reference. It fails if one
//! of them is gone, for then the source was replaced. *Crash before: the source alone has them. Crash after: both have them,
//! and the runs live until both have let go.* Versions of one key share runs as any other objects do.
//!
//! **Replica** (of another bucket's version, under the id that it has there): as a write or a copy by sharing, save that it
//! keeps its order; where a later version is current already, it comes among the noncurrent ones, at a key that the commit
//! expects to be absent, and is counted in the head, which the commit expects as read: a deletion of the head that did not
//! see it conflicts. A replica that comes in parts is completed so, too.
//!
//! **What is told** of a write, a deletion or a change ([`Tell`]) is part of its commit: see [`super::outbox`].
//!
//! **Deletion of a key**: in a bucket that never had versions, as a write, without 1 and without a new record. In any other,
//! a write whose new record is a delete marker, also where there is nothing to delete.
//!
//! **Deletion of a version**: the lock on it is judged. One that is not current: one commit expects it as read and removes it,
//! and releases its runs; if it is the null version, the head as read forgets where it was. The current one: one commit
//! expects the head and the newest noncurrent version as read, and makes that the head, or leaves none. *Crash before: all is
//! as it was. Crash after: the version is gone, and exactly one of those left is current.*
//!
//! **Change of a version in place** (its envelope, tags, retention): one commit expects its record as read, wherever it is, and
//! writes the changed one; no run is touched.
//!
//! **Complete**: the parts stay where they are. One commit expects the bucket live, the upload open, its parts (their count,
//! and each) and the head as read; it writes the object record as a write does, removes the upload, and releases the parts
//! that were not named. *Crash before: the upload is open as it was. Crash after: the object is whole.*
//!
//! **Abort**: one commit expects the upload open and its parts as read; it removes and releases all of them. A part that is
//! uploaded meanwhile changes their count: none is left behind.
//!
//! **Change of versioning** (the bucket's record is in another partition than its keys):
//! 1. the record says the new state. *Crash: at the next start, [`revive_bucket`] does 2.*
//! 2. the `L` key is made to say what the record does, as often as the two differ: from here on, writes in the old state do
//!    not commit. *Crash after: all is done.*
//!
//! **Bucket deletion**:
//! 1. the `L` key goes from live to deleting: from here on no write to the bucket commits. *Crash: [`revive_bucket`] at the
//!    next start makes it live, as its record says.*
//! 2. if an object or any version is left, `L` goes back to live, and the bucket is not empty.
//! 3. open uploads are aborted.
//! 4. one commit removes the name's record and marks the partition as gone (`G`). *Crash before: the bucket has neither objects
//!    nor uploads and takes no writes; [`revive_bucket`] makes it live again. Crash after: it is gone; [`empty_gone`] at start
//!    does step 5.*
//! 5. what is left in the partition is removed (its configurations, `L`), and then the mark.

mod bucket;
mod delete;
mod head;
mod read;
mod replica;
mod tell;
#[cfg(test)]
mod tests;
mod time;
mod upload;
mod write;

use bytes::Bytes;

use super::schema::{self, ObjectRecord, RunRef, Table, Versioning, key_of};
use super::tally::tally_key;
use super::{Batch, MetaStore, Partition, RunId, SealedRun, StoreError, Tally};

pub use bucket::{
    BucketDeletion, configure_bucket, create_bucket, delete_bucket, empty_gone, read_bucket, read_buckets,
    revive_bucket, update_bucket,
};
pub use delete::{Deletion, Standing, delete_object, delete_version};
pub use read::{After, FoundVersion, read_groups, read_marker, read_object, read_objects, read_version, read_versions};
pub use replica::write_replica;
pub use tell::{Change, Silent, Tell};
pub use time::read_lock_time;
pub use upload::{
    Part, Upload, abort_upload, complete_upload, create_upload, part_key, read_part, read_parts, read_upload,
    read_upload_pair, read_uploads, upload_key, write_part,
};
pub use write::{replace_envelope, update_version, write_object};

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'k> {
    /// The bucket's partition.
    pub bucket: Partition,
    /// Whether it kept versions when it was looked at. The commit finds out if that has changed.
    pub versioning: Versioning,
    /// The object's key.
    pub key: &'k str,
    /// What is to be told of the write.
    pub tell: &'k dyn Tell,
}

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
    /// A retention or a legal hold is on the version.
    #[error("the version is locked")]
    Locked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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

/// Expects the bucket to take writes, and to keep versions or not as the writer means it.
pub(super) fn live_batch(versioning: Versioning) -> Batch {
    Batch::new().expect(live_key(), Some(Bytes::from_static(versioning.live_value())))
}

/// Whether the bucket keeps versions, as its writers must; `None` if it takes no writes.
pub(super) async fn read_versioning(
    store: &dyn MetaStore,
    bucket: Partition,
) -> Result<Option<Versioning>, StoreError> {
    Ok(store.get(bucket, &live_key()).await?.as_deref().and_then(Versioning::of_live))
}

fn live_key() -> Vec<u8> {
    vec![Table::Live as u8]
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
