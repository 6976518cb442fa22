//! The committer: one thread through which every change of the database goes.
//!
//! It takes all the jobs that are waiting as one group, judges each against the database and the group's own earlier
//! changes, merges those that hold into one write, syncs it once, and answers all. So commits need no locks, are
//! linearizable, and share the cost of a sync. A job that does not hold is left out of the write, and answered behind it: who is
//! told of a conflict finds what it is with.
//!
//! If the write fails, nothing of the group counts. The runs it would have adopted are kept *in doubt* until a later
//! write has succeeded: should the process die before that, the log may yet turn out to hold the group, and then its
//! runs must be there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread;

use bytes::Bytes;
use rocksdb::{ColumnFamily, WriteBatch, WriteOptions};
use tokio::sync::oneshot;

use super::mark::Mark;
use super::meta::{Family, Meta, Reach, Read, failure, full_key};
use super::records::{
    Extent, NEXT_KEY, OwnerRecord, RunRecord, SegmentId, SegmentRecord, SegmentState, encode_next, encode_queued,
    owner_key, queue_key, segment_key,
};
use super::space::{Space, Task};
use super::tuning;
use crate::store::{Batch, Expectation, Mutation, Outcome, Partition, RunId, SealedRun, StoreError, Tally};

/// A group takes no more jobs once it writes this many bytes.
const GROUP_BYTES: usize = 4 << 20;
/// A group takes no more jobs than this.
const GROUP_JOBS: usize = 1024;

/// A change of the backend's own records.
#[derive(Debug)]
pub(super) enum Change {
    /// A segment comes into being; the number after it is the next.
    Open(SegmentId, SegmentRecord, SegmentId),
    /// A segment takes no more writes, is claimed by nobody, and has this length.
    Settle(SegmentId, u64),
    /// A segment's file is gone.
    Forget(SegmentId),
    /// A run's bytes were copied. Holds only if the run still has the old extent.
    Move(RunId, Extent, Vec<Extent>),
    /// These were given back.
    Dequeue(Vec<Extent>),
}

/// What the committer is asked.
enum Job {
    Commit(Partition, Batch, oneshot::Sender<Result<Outcome, StoreError>>),
    Change(Change, Option<oneshot::Sender<Result<Outcome, StoreError>>>),
    Stop,
}

/// The way to the committer.
#[derive(Clone)]
pub(super) struct Committer(Sender<Job>);

/// The committer's end of it.
pub(super) struct Jobs(Receiver<Job>);

impl Committer {
    pub(super) fn channel() -> (Self, Jobs) {
        let (sender, receiver) = std::sync::mpsc::channel();
        (Self(sender), Jobs(receiver))
    }

    /// Commits a caller's batch.
    pub(super) async fn commit(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Job::Commit(partition, batch, reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Makes a change and waits for it. Blocks.
    pub(super) fn change_blocking(&self, change: Change) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Job::Change(change, Some(reply))).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }

    /// Makes a change some time soon. Its loss in a crash is made good at the next start.
    pub(super) fn change_later(&self, change: Change) {
        let _ = self.0.send(Job::Change(change, None));
    }

    /// Lets the committer end once it has done what was asked before.
    pub(super) fn stop(&self) {
        let _ = self.0.send(Job::Stop);
    }
}

/// The committer's thread: returns when told to stop.
pub(super) fn run(jobs: &Jobs, meta: &Meta, space: &Space, mark: &Mark) -> Result<(), StoreError> {
    let handles = Handles {
        index: meta.family(Family::Index)?,
        data: meta.family(Family::Data)?,
        runs: meta.family(Family::Runs)?,
        space: meta.family(Family::Space)?,
    };
    let mut log = Log { synced: tuning::synced(), unsynced: tuning::unsynced(), mark, in_doubt: Vec::new() };
    let mut open = true;
    while open {
        let Ok(first) = jobs.0.recv() else { break };
        let mut group = Group::new(meta, space, &handles);
        open = group.take(first);
        // Where the processors are busy, those who are about to ask for a commit run first, and share this one's sync.
        thread::yield_now();
        while open && group.has_room() {
            match jobs.0.try_recv() {
                Ok(job) => open = group.take(job),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => open = false,
            }
        }
        group.finish(&mut log);
    }
    Ok(())
}

/// How groups are written, and what is known of those that were.
struct Log<'m> {
    synced: WriteOptions,
    unsynced: WriteOptions,
    mark: &'m Mark,
    /// Runs of groups that could not be written, since the last that could.
    in_doubt: Vec<SealedRun>,
}

struct Handles<'m> {
    index: &'m ColumnFamily,
    data: &'m ColumnFamily,
    runs: &'m ColumnFamily,
    space: &'m ColumnFamily,
}

/// Jobs that are written together, and what the world looks like after them.
struct Group<'m> {
    meta: &'m Meta,
    space: &'m Space,
    handles: &'m Handles<'m>,
    batch: WriteBatch,
    jobs: usize,
    /// Whether anyone was promised durability.
    durable: bool,
    values: HashMap<Vec<u8>, Option<Bytes>>,
    /// The tallies that change, by their full keys: written once for all the jobs.
    tallies: HashMap<Vec<u8>, Tally>,
    /// Where runs lie that were asked for, or changed.
    runs: HashMap<RunId, Option<RunRecord>>,
    /// Those of `runs` that change: written once for all the jobs.
    changed_runs: HashSet<RunId>,
    segments: BTreeMap<SegmentId, Option<SegmentRecord>>,
    adopted: Vec<SealedRun>,
    released: Vec<Extent>,
    replies: Vec<oneshot::Sender<Result<Outcome, StoreError>>>,
    /// Jobs that did not hold, perhaps for what the group writes.
    refused: Vec<(Outcome, oneshot::Sender<Result<Outcome, StoreError>>)>,
    growth_left: Option<u64>,
}

impl<'m> Group<'m> {
    fn new(meta: &'m Meta, space: &'m Space, handles: &'m Handles<'m>) -> Self {
        Self {
            meta,
            space,
            handles,
            batch: WriteBatch::default(),
            jobs: 0,
            durable: false,
            values: HashMap::new(),
            tallies: HashMap::new(),
            runs: HashMap::new(),
            changed_runs: HashSet::new(),
            segments: BTreeMap::new(),
            adopted: Vec::new(),
            released: Vec::new(),
            replies: Vec::new(),
            refused: Vec::new(),
            growth_left: None,
        }
    }

    fn has_room(&self) -> bool {
        self.jobs < GROUP_JOBS && self.batch.size_in_bytes() < GROUP_BYTES
    }

    /// Adds a job, or answers it if it does not hold by what is written already. False means that it was the last one.
    fn take(&mut self, job: Job) -> bool {
        self.jobs += 1;
        let (outcome, reply) = match job {
            Job::Commit(partition, batch, reply) => (self.commit(partition, batch), Some(reply)),
            Job::Change(change, reply) => {
                self.durable |= reply.is_some();
                (self.change(change), reply)
            }
            Job::Stop => return false,
        };
        match (outcome, reply) {
            (Ok(Outcome::Applied), Some(reply)) => {
                self.durable = true;
                self.replies.push(reply);
            }
            (Ok(conflict), Some(reply)) if !self.replies.is_empty() => self.refused.push((conflict, reply)),
            // Whoever no longer waits does not mind.
            (outcome, Some(reply)) => drop(reply.send(outcome)),
            (Err(error), None) => tracing::warn!(%error, "the store's own records could not be changed"),
            (Ok(_), None) => {}
        }
        true
    }

    /// Judges a caller's batch; only if it holds is anything added to the group.
    fn commit(&mut self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        if self.growth_left()? == 0 && batch.grows(|key| self.length(partition, key))? {
            return Err(StoreError::NoSpace);
        }
        for (index, expectation) in batch.expectations.iter().enumerate() {
            let holds = match expectation {
                Expectation::Absent(key) => self.value(partition, key)?.is_none(),
                Expectation::Equals(key, value) => self.value(partition, key)?.as_ref() == Some(value),
            };
            if !holds {
                return Ok(Outcome::Conflict { expectation: index, adopted: batch.adopted });
            }
        }
        let adopted = batch.adopted.iter().map(|run| RunRecord::decode(&run.locator)).collect::<Result<Vec<_>, _>>()?;
        for (index, run) in batch.shared.iter().enumerate() {
            self.load_run(*run)?;
            if !matches!(self.runs.get(run), Some(Some(_))) {
                let expectation = batch.expectations.len() + index;
                return Ok(Outcome::Conflict { expectation, adopted: batch.adopted });
            }
        }
        for run in &batch.released {
            self.load_run(*run)?;
        }
        for mutation in &batch.mutations {
            if let Mutation::Count(key, _) = mutation {
                self.load_tally(partition, key)?;
            }
        }
        for mutation in batch.mutations {
            self.mutate(partition, mutation);
        }
        for (run, record) in batch.adopted.into_iter().zip(adopted) {
            self.adopt(run.id, record);
            self.adopted.push(run);
        }
        for run in batch.shared {
            self.share(run);
        }
        for run in batch.released {
            self.release(run);
        }
        Ok(Outcome::Applied)
    }

    fn growth_left(&mut self) -> Result<u64, StoreError> {
        let left = match self.growth_left {
            Some(left) => left,
            None => self.space.growth_left()?,
        };
        self.growth_left = Some(left);
        Ok(left)
    }

    fn value(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let full = full_key(partition, key);
        if let Some(tally) = self.tallies.get(&full) {
            return Ok((!tally.is_zero()).then(|| tally.to_value().into()));
        }
        match self.values.get(&full) {
            Some(value) => Ok(value.clone()),
            None => self.meta.get_blocking(Family::of_key(key), &full),
        }
    }

    fn length(&self, partition: Partition, key: &[u8]) -> Result<usize, StoreError> {
        Ok(self.value(partition, key)?.map_or(0, |value| value.len()))
    }

    fn mutate(&mut self, partition: Partition, mutation: Mutation) {
        match mutation {
            Mutation::Put(key, value) => {
                let full = full_key(partition, &key);
                self.batch.put_cf(self.family_of(&key), &full, &value);
                self.values.insert(full, Some(value));
            }
            Mutation::Delete(key) => {
                let full = full_key(partition, &key);
                self.batch.delete_cf(self.family_of(&key), &full);
                self.values.insert(full, None);
            }
            Mutation::Count(key, difference) => {
                let tally = self.tallies.entry(full_key(partition, &key)).or_default();
                *tally = tally.plus(difference);
            }
        }
    }

    /// Makes sure that `tallies` has the tally at `key`.
    fn load_tally(&mut self, partition: Partition, key: &[u8]) -> Result<(), StoreError> {
        let full = full_key(partition, key);
        if !self.tallies.contains_key(&full) {
            let value = self.meta.get_blocking(Family::of_key(key), &full)?;
            let tally = value.map(|value| Tally::from_value(&value)).transpose()?;
            self.tallies.insert(full, tally.unwrap_or_default());
        }
        Ok(())
    }

    fn family_of(&self, key: &[u8]) -> &'m ColumnFamily {
        if Family::of_key(key) == Family::Data { self.handles.data } else { self.handles.index }
    }

    /// Makes sure that `runs` knows where a run lies.
    fn load_run(&mut self, run: RunId) -> Result<(), StoreError> {
        if !self.runs.contains_key(&run) {
            let record = match self.meta.run(run, Reach::Disk)? {
                Read::Done(record) => record,
                Read::Elsewhere => None,
            };
            self.runs.insert(run, record);
        }
        Ok(())
    }

    fn adopt(&mut self, run: RunId, record: RunRecord) {
        for extent in &record.extents {
            self.own(run, extent);
        }
        self.put_run(run, record);
    }

    fn put_run(&mut self, run: RunId, record: RunRecord) {
        self.changed_runs.insert(run);
        self.runs.insert(run, Some(record));
    }

    fn share(&mut self, run: RunId) {
        if let Some(Some(record)) = self.runs.get_mut(&run) {
            record.references += 1;
            self.changed_runs.insert(run);
        }
    }

    fn release(&mut self, run: RunId) {
        if let Some(Some(record)) = self.runs.get_mut(&run)
            && record.references > 1
        {
            record.references -= 1;
            self.changed_runs.insert(run);
            return;
        }
        let Some(record) = self.runs.insert(run, None).flatten() else {
            return;
        };
        self.changed_runs.insert(run);
        for extent in &record.extents {
            self.disown(extent);
        }
        self.released.extend(record.extents);
    }

    fn own(&mut self, run: RunId, extent: &Extent) {
        let owner = OwnerRecord { run, length: extent.length };
        self.batch.put_cf(self.handles.space, owner_key(extent.segment, extent.offset), owner.encode());
        if let Some(segment) = self.segment(extent.segment) {
            segment.live += extent.occupied();
        }
    }

    fn disown(&mut self, extent: &Extent) {
        self.batch.delete_cf(self.handles.space, owner_key(extent.segment, extent.offset));
        let queued = encode_queued(extent.length);
        self.batch.put_cf(self.handles.space, queue_key(extent.segment, extent.offset), queued);
        if let Some(segment) = self.segment(extent.segment) {
            segment.live = segment.live.saturating_sub(extent.occupied());
        }
    }

    /// The record of a segment, to be changed.
    fn segment(&mut self, id: SegmentId) -> Option<&mut SegmentRecord> {
        self.segments.entry(id).or_insert_with(|| self.space.record(id)).as_mut()
    }

    fn change(&mut self, change: Change) -> Result<Outcome, StoreError> {
        match change {
            Change::Open(id, record, next) => {
                self.segments.insert(id, Some(record));
                self.batch.put_cf(self.handles.space, NEXT_KEY, encode_next(next));
            }
            Change::Settle(id, capacity) => {
                if let Some(segment) = self.segment(id) {
                    segment.state = SegmentState::Settled;
                    segment.capacity = capacity;
                }
            }
            Change::Forget(id) => {
                self.segments.insert(id, None);
                let (from, to) = (queue_key(id, 0), queue_key(id, u64::MAX));
                self.batch.delete_range_cf(self.handles.space, from, to);
            }
            Change::Move(run, from, to) => return self.relocate(run, from, to),
            Change::Dequeue(extents) => {
                for extent in extents {
                    self.batch.delete_cf(self.handles.space, queue_key(extent.segment, extent.offset));
                }
            }
        }
        Ok(Outcome::Applied)
    }

    fn relocate(&mut self, run: RunId, from: Extent, to: Vec<Extent>) -> Result<Outcome, StoreError> {
        self.load_run(run)?;
        let Some(Some(mut record)) = self.runs.get(&run).cloned() else {
            return Ok(Outcome::conflict(0));
        };
        let Some(at) = record.extents.iter().position(|extent| *extent == from) else {
            return Ok(Outcome::conflict(0));
        };
        self.disown(&from);
        self.released.push(from);
        for extent in &to {
            self.own(run, extent);
        }
        record.extents.splice(at..=at, to);
        self.put_run(run, record);
        Ok(Outcome::Applied)
    }

    /// Writes the group and answers its jobs.
    fn finish(mut self, log: &mut Log<'_>) {
        let mut changes = self.values;
        for (key, tally) in self.tallies {
            let value = (!tally.is_zero()).then(|| Bytes::from(tally.to_value()));
            put_or_delete(&mut self.batch, self.handles.index, &key, value.as_ref());
            changes.insert(key, value);
        }
        for run in self.changed_runs {
            let record = self.runs.get(&run).and_then(Option::as_ref);
            let value = record.map(|record| Bytes::from(record.encode()));
            put_or_delete(&mut self.batch, self.handles.runs, &run.0, value.as_ref());
            changes.insert(run.0.to_vec(), value);
        }
        for (id, record) in &self.segments {
            let value = record.as_ref().map(SegmentRecord::encode);
            put_or_delete(&mut self.batch, self.handles.space, &segment_key(*id), value.as_ref());
        }
        if self.batch.is_empty() && self.replies.is_empty() {
            return;
        }
        // An empty batch writes nothing, but what it was judged by was durable before.
        let options = if self.durable { &log.synced } else { &log.unsynced };
        let changes_anything = !self.batch.is_empty();
        let written = self.meta.write(self.batch, changes, options);
        if let Err(error) = written {
            log.in_doubt.append(&mut self.adopted);
            if matches!(failure(error.clone()), StoreError::NoSpace) {
                tracing::error!(%error, "a commit could not be written");
                self.space.ballast.drop_overboard();
            } else if self.space.takes_writes.swap(false, Ordering::Relaxed) {
                tracing::error!(%error, "the disk failed a commit: nothing is written any more until the server is restarted");
            }
            for reply in self.replies.into_iter().chain(self.refused.into_iter().map(|(_, reply)| reply)) {
                let _ = reply.send(Err(failure(error.clone())));
            }
            return;
        }
        // The database is writable again: what failed before is not in its log.
        log.in_doubt.clear();
        if changes_anything && !self.space.takes_writes.swap(true, Ordering::Relaxed) {
            tracing::warn!("commits can be written again");
        }
        if self.durable && changes_anything {
            log.mark.reach(self.meta.last_change());
        }
        for (id, record) in self.segments {
            match record {
                Some(record) => self.space.mirror(id, record, 1),
                None => self.space.forget(id),
            }
        }
        for run in self.adopted {
            run.adopted();
        }
        if !self.released.is_empty() {
            self.space.died(&self.released);
            self.space.tell(Task::Released(self.released));
        }
        for reply in self.replies {
            let _ = reply.send(Ok(Outcome::Applied));
        }
        for (conflict, reply) in self.refused {
            let _ = reply.send(Ok(conflict));
        }
    }
}

fn put_or_delete(batch: &mut WriteBatch, family: &ColumnFamily, key: &[u8], value: Option<impl AsRef<[u8]>>) {
    match value {
        Some(value) => batch.put_cf(family, key, value),
        None => batch.delete_cf(family, key),
    }
}

fn closed() -> StoreError {
    StoreError::Engine("the store is closed".into())
}
