//! The reclaimer: one thread that gives space back.
//!
//! It punches holes where runs were, settles segments that nobody writes to any more, unlinks those in which nothing
//! lives, and sweeps at the start the segments that were open when the last process ended. Where holes cannot be
//! punched it has sparse segments rewritten ([`super::rewrite`]). What fails is tried again once a minute, however much there is
//! to do meanwhile. Everything it does can be done twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::allocator::Allocator;
use super::committer::{Change, Committer};
use super::meta::{Family, Meta};
use super::reader::Reader;
use super::records::{
    BLOCK, Extent, OwnerRecord, SegmentId, SegmentState, decode_queued, owner_key, queue_key, split_extent_key,
};
use super::segment::{io_failure, punch};
use super::space::{Space, Task};
use crate::store::StoreError;

/// Between two tries of what failed.
const PAUSE: Duration = Duration::from_secs(60);
/// Tasks done together, and records read at once.
const AT_ONCE: usize = 1024;

/// The reclaimer.
pub(super) struct Reclaimer {
    pub(super) meta: Arc<Meta>,
    pub(super) space: Arc<Space>,
    pub(super) committer: Committer,
    pub(super) allocator: Arc<Allocator>,
    pub(super) reader: Arc<Reader>,
}

impl Reclaimer {
    /// The thread's whole life: the work that the last process left, then `tasks` until told to stop.
    pub(super) fn run(&self, tasks: &Receiver<Task>) {
        self.take_in_ballast();
        let mut again = Vec::new();
        self.recover(&mut again);
        let mut rounds = Rounds::new(PAUSE);
        loop {
            let Some(Round { tasks: mut now, retry }) = rounds.next(tasks) else { return };
            if retry {
                now.append(&mut again);
                self.take_in_ballast();
                self.rewrite_sparse();
            }
            let stop = now.iter().any(|task| matches!(task, Task::Stop));
            self.work(now, &mut again);
            if stop {
                return;
            }
        }
    }

    /// Does `tasks`; those that fail are added to `again`.
    fn work(&self, tasks: Vec<Task>, again: &mut Vec<Task>) {
        let (mut released, mut discarded, mut trimmed, mut touched) = (vec![], vec![], vec![], BTreeSet::new());
        for task in tasks {
            match task {
                Task::Released(extents) => released.extend(extents),
                Task::Discarded(extents) => discarded.extend(extents),
                Task::Trimmed(extent) => trimmed.push(extent),
                Task::Idle(segment) => drop(touched.insert(segment)),
                Task::Stop => {}
            }
        }
        // What a reader holds waits for it; its pin tells of it again.
        self.space.pins.set_aside(&mut released);
        self.space.next_epoch();
        // Before any segment is settled: a settled segment has nothing more to be found by a sweep.
        if self.give_back(&trimmed).is_err() {
            again.extend(trimmed.into_iter().map(Task::Trimmed));
        }
        if self.give_back(&discarded).is_ok() {
            for extent in discarded {
                self.space.unclaim(extent.segment);
            }
        } else {
            again.push(Task::Discarded(discarded));
        }
        touched.extend(released.iter().map(|extent| extent.segment));
        for segment in touched {
            if let Err(error) = self.settle(segment).and_then(|()| self.bury(segment)) {
                tracing::warn!(segment = segment.0, %error, "a segment could not be settled");
                again.push(Task::Idle(segment));
            }
        }
        released.retain(|extent| self.space.record(extent.segment).is_some());
        if released.is_empty() {
            return;
        }
        if self.give_back(&released).is_ok() {
            self.committer.change_later(Change::Dequeue(released));
        } else {
            again.push(Task::Released(released));
        }
        self.rewrite_sparse();
    }

    /// Gives extents back to the file system, where it takes holes.
    fn give_back(&self, extents: &[Extent]) -> Result<(), StoreError> {
        if !self.space.able.punch || extents.is_empty() {
            return Ok(());
        }
        let mut extents = extents.to_vec();
        extents.sort_unstable_by_key(|extent| (extent.segment, extent.offset));
        for of_segment in extents.chunk_by(|a, b| a.segment == b.segment) {
            let segment = of_segment[0].segment;
            let punched = self.open(segment).and_then(|file| {
                of_segment.chunk_by(|a, b| a.end() == b.offset).try_for_each(|touching| {
                    let (first, last) = (touching[0], touching[touching.len() - 1]);
                    punch(&file, first.offset, last.end() - first.offset)
                })
            });
            match punched {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(segment = segment.0, %error, "space could not be given back");
                    return Err(io_failure(error));
                }
                _ => {}
            }
        }
        self.space.buried(&extents);
        Ok(())
    }

    /// Settles a segment if it takes no more writes and nobody claims any of it.
    fn settle(&self, id: SegmentId) -> Result<(), StoreError> {
        let Some(held) = self.space.held(id) else { return Ok(()) };
        if held.claims > 0 || held.record.state == SegmentState::Settled {
            return Ok(());
        }
        match held.used {
            Some(used) => self.settle_at(id, used),
            // Another process wrote it, and nobody knows how far.
            None => self.sweep(id, held.record.capacity),
        }
    }

    /// Cuts a segment off at `used` and records that it holds nothing but what records name.
    fn settle_at(&self, id: SegmentId, used: u64) -> Result<(), StoreError> {
        match self.open(id).and_then(|file| file.set_len(used)) {
            // Never created, or already unlinked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(io_failure)?,
        }
        self.committer.change_blocking(Change::Settle(id, used)).map(drop)
    }

    /// Unlinks a settled segment in which nothing lives.
    fn bury(&self, id: SegmentId) -> Result<(), StoreError> {
        match self.space.record(id) {
            Some(record) if record.live == 0 && record.state == SegmentState::Settled && !self.space.pins.holds(id) => {
            }
            _ => return Ok(()),
        }
        match std::fs::remove_file(self.space.dir.join(id.file_name())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_failure(error)),
            _ => {}
        }
        let forgotten = self.committer.change_blocking(Change::Forget(id)).map(drop);
        // Not before: until then a reader that has just opened the file may keep it.
        self.reader.close(id);
        forgotten
    }

    /// Finishes what the last process left: open segments, queued extents, segments in which nothing lives. Requests are served
    /// meanwhile. Segments that fail are added to `again`.
    fn recover(&self, again: &mut Vec<Task>) {
        for (id, _) in self.space.all() {
            // What this process has opened meanwhile is claimed.
            if let Err(error) = self.settle(id).and_then(|()| self.bury(id)) {
                tracing::warn!(segment = id.0, %error, "a segment could not be swept; it is tried again");
                again.push(Task::Idle(id));
            }
        }
        if let Err(error) = self.drain_queue() {
            tracing::warn!(%error, "released space could not be given back; the next start tries again");
        }
        self.rewrite_sparse();
    }

    /// Gives back whatever no record names in a segment that was open when its process ended. What is queued stays: a run may have
    /// been released since, and have a reader.
    fn sweep(&self, id: SegmentId, capacity: u64) -> Result<(), StoreError> {
        // In this order: what is released in between is found in the queue.
        let owned = self.owned(id)?.into_iter().map(|(extent, _)| extent);
        let mut named: Vec<_> = owned.chain(self.queued(id)?).collect();
        named.sort_unstable_by_key(|extent| extent.offset);
        let unnamed = gaps(id, &named, capacity);
        tracing::info!(segment = id.0, gaps = unnamed.len(), "sweeping a segment that was open");
        self.space.died(&unnamed);
        if let Err(error) = self.give_back(&unnamed) {
            // They are counted anew when they are tried again.
            self.space.buried(&unnamed);
            return Err(error);
        }
        let last = unnamed.last().filter(|gap| gap.end() == capacity);
        self.settle_at(id, last.map_or(capacity, |gap| gap.offset))
    }

    /// The extents of a segment that are queued.
    fn queued(&self, id: SegmentId) -> Result<Vec<Extent>, StoreError> {
        let (start, end) = (queue_key(id, 0), queue_key(id, u64::MAX));
        let pairs = self.meta.pairs_blocking(Family::Space, &start, end, usize::MAX)?;
        pairs.iter().map(|(key, value)| decode_queued(key, value)).collect()
    }

    /// The extents of a segment that belong to runs, in order.
    pub(super) fn owned(&self, id: SegmentId) -> Result<Vec<(Extent, OwnerRecord)>, StoreError> {
        let end = owner_key(id, u64::MAX);
        let mut owned: Vec<(Extent, OwnerRecord)> = Vec::new();
        loop {
            let start = owner_key(id, owned.last().map_or(0, |(extent, _)| extent.end()));
            let pairs = self.meta.pairs_blocking(Family::Space, &start, end.clone(), AT_ONCE)?;
            let last = pairs.len() < AT_ONCE;
            for (key, value) in pairs {
                let (segment, offset) = split_extent_key(&key)?;
                let owner = OwnerRecord::decode(&value)?;
                owned.push((Extent { segment, offset, length: owner.length }, owner));
            }
            if last {
                return Ok(owned);
            }
        }
    }

    /// Gives back what was queued when the last process ended.
    fn drain_queue(&self) -> Result<(), StoreError> {
        let mut start = queue_key(SegmentId(0), 0);
        let end = queue_key(SegmentId(u32::MAX), u64::MAX);
        loop {
            let pairs = self.meta.pairs_blocking(Family::Space, &start, end.clone(), AT_ONCE)?;
            let Some((last, _)) = pairs.last() else { return Ok(()) };
            start = [last, &[0][..]].concat();
            let mut queued =
                pairs.iter().map(|(key, value)| decode_queued(key, value)).collect::<Result<Vec<_>, _>>()?;
            self.space.died(&queued);
            // Some were queued since the start, and what a reader holds waits for it.
            self.space.pins.set_aside(&mut queued);
            self.space.next_epoch();
            self.give_back(&queued)?;
            self.committer.change_later(Change::Dequeue(queued));
        }
    }

    /// Where holes cannot be punched: moves what lives out of the segments that are mostly dead.
    fn rewrite_sparse(&self) {
        if self.space.able.punch {
            return;
        }
        for (id, held) in self.space.all() {
            let sparse = held.record.live > 0 && held.record.live < held.reclaimable(self.space.able);
            if sparse
                && held.record.state == SegmentState::Settled
                && let Err(error) = self.rewrite(id)
            {
                tracing::warn!(segment = id.0, %error, "a sparse segment could not be rewritten");
            }
        }
    }

    fn take_in_ballast(&self) {
        match self.space.growth_left() {
            Ok(free) => self.space.ballast.take_in(free),
            Err(error) => tracing::warn!(%error, "the free space is not known"),
        }
    }

    fn open(&self, segment: SegmentId) -> io::Result<File> {
        File::options().write(true).open(self.space.dir.join(segment.file_name()))
    }
}

/// What lies between `named` extents of a segment, which are in order, and after them.
fn gaps(segment: SegmentId, named: &[Extent], capacity: u64) -> Vec<Extent> {
    let (mut used, mut gaps) = (BLOCK, Vec::new());
    for (offset, end) in named.iter().map(|extent| (extent.offset, extent.end())).chain([(capacity, capacity)]) {
        if offset > used {
            gaps.push(Extent { segment, offset: used, length: offset - used });
        }
        used = used.max(end);
    }
    gaps
}

/// When what failed is tried again: not later for what there is to do meanwhile.
struct Rounds {
    pause: Duration,
    due: Instant,
}

/// Tasks to be done together.
struct Round {
    tasks: Vec<Task>,
    /// Whether it is time to try again what failed.
    retry: bool,
}

impl Rounds {
    fn new(pause: Duration) -> Self {
        Self { pause, due: Instant::now() + pause }
    }

    /// Waits for tasks, or until it is time to try again; `None` when nobody can send any more.
    fn next(&mut self, tasks: &Receiver<Task>) -> Option<Round> {
        let mut now = Vec::new();
        match tasks.recv_timeout(self.due.saturating_duration_since(Instant::now())) {
            Ok(task) => now.push(task),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        while now.len() < AT_ONCE
            && let Ok(task) = tasks.try_recv()
        {
            now.push(task);
        }
        let retry = Instant::now() >= self.due;
        if retry {
            self.due = Instant::now() + self.pause;
        }
        Some(Round { tasks: now, retry })
    }
}

#[cfg(test)]
mod tests;
