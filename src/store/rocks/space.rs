//! What this process knows of the segments: a mirror of their records, and the claims that no record holds yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::Sender;

use super::ballast::Ballast;
use super::pins::Pins;
use super::recent::Recent;
use super::records::{BLOCK, Extent, SegmentId, SegmentRecord, SegmentState};
use super::segment::{Abilities, free_bytes, locked};
use crate::store::run::Lease;
use crate::store::{StoreError, Usage};

/// What the reclaimer is told.
#[derive(Debug)]
pub(super) enum Task {
    /// A commit released these, and queued them.
    Released(Vec<Extent>),
    /// These were claimed and never adopted; their claims end when they are given back.
    Discarded(Vec<Extent>),
    /// The unwritten end of an extent whose beginning lives on.
    Trimmed(Extent),
    /// Nobody claims anything of this segment any more, and it takes no more writes.
    Idle(SegmentId),
    /// The store is closing.
    Stop,
}

/// The segments, shared by everything that writes, reads or reclaims.
pub(super) struct Space {
    /// Where the segment files are.
    pub(super) dir: PathBuf,
    pub(super) able: Abilities,
    pub(super) ballast: Ballast,
    /// Whether the last commit could be written, or failed for want of space alone.
    pub(super) takes_writes: AtomicBool,
    /// Free bytes below which the store does not grow.
    reserve: u64,
    segments: Mutex<BTreeMap<SegmentId, Held>>,
    /// How often bytes were about to be given back; see [`Space::epoch`].
    epoch: AtomicU64,
    pub(super) pins: Pins,
    pub(super) recent: Recent,
    tasks: Sender<Task>,
}

/// A segment, as this process sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) record: SegmentRecord,
    /// Extents handed out and neither adopted nor given back, and one more while the segment takes writes.
    pub(super) claims: u64,
    /// How far it was handed out, once it takes no more writes; unknown of those that another process left open.
    pub(super) used: Option<u64>,
    /// Bytes to be given back.
    pub(super) dead: u64,
}

impl Space {
    pub(super) fn new(
        dir: PathBuf,
        able: Abilities,
        ballast: Ballast,
        reserve: u64,
        recent: Recent,
        tasks: Sender<Task>,
    ) -> Self {
        Self {
            dir,
            able,
            ballast,
            takes_writes: AtomicBool::new(true),
            reserve,
            segments: Mutex::default(),
            epoch: AtomicU64::new(0),
            pins: Pins::default(),
            recent,
            tasks,
        }
    }

    /// The record of a segment.
    pub(super) fn record(&self, id: SegmentId) -> Option<SegmentRecord> {
        locked(&self.segments).get(&id).map(|held| held.record)
    }

    /// A segment, as it is now.
    pub(super) fn held(&self, id: SegmentId) -> Option<Held> {
        locked(&self.segments).get(&id).copied()
    }

    /// All segments, as they are now.
    pub(super) fn all(&self) -> Vec<(SegmentId, Held)> {
        locked(&self.segments).iter().map(|(id, held)| (*id, *held)).collect()
    }

    /// Mirrors a record that was written. A segment not known before starts with `claims`.
    pub(super) fn mirror(&self, id: SegmentId, record: SegmentRecord, claims: u64) {
        let new = Held { record, claims, used: None, dead: 0 };
        locked(&self.segments).entry(id).or_insert(new).record = record;
    }

    /// Mirrors that a segment's record was deleted.
    pub(super) fn forget(&self, id: SegmentId) {
        locked(&self.segments).remove(&id);
    }

    /// Counts one more claim on a segment.
    pub(super) fn claim(&self, id: SegmentId) {
        if let Some(held) = locked(&self.segments).get_mut(&id) {
            held.claims += 1;
        }
    }

    /// Ends one claim on a segment.
    pub(super) fn unclaim(&self, id: SegmentId) {
        let idle = match locked(&self.segments).get_mut(&id) {
            Some(held) => {
                held.claims = held.claims.saturating_sub(1);
                held.claims == 0
            }
            None => false,
        };
        if idle {
            self.tell(Task::Idle(id));
        }
    }

    /// Ends the claim of a segment that takes no more writes and was handed out up to `used`.
    pub(super) fn retired(&self, id: SegmentId, used: u64) {
        if let Some(held) = locked(&self.segments).get_mut(&id) {
            held.used = Some(used);
        }
        self.unclaim(id);
    }

    /// Counts bytes that are to be given back.
    pub(super) fn died(&self, extents: &[Extent]) {
        let mut segments = locked(&self.segments);
        for extent in extents {
            if let Some(held) = segments.get_mut(&extent.segment) {
                held.dead += extent.occupied();
            }
        }
    }

    /// Counts bytes that were given back.
    pub(super) fn buried(&self, extents: &[Extent]) {
        let mut segments = locked(&self.segments);
        for extent in extents {
            if let Some(held) = segments.get_mut(&extent.segment) {
                held.dead = held.dead.saturating_sub(extent.occupied());
            }
        }
    }

    /// Tells the reclaimer. After the store has closed nobody listens, and the next start finds out for itself.
    pub(super) fn tell(&self, task: Task) {
        let _ = self.tasks.send(task);
    }

    /// A number that changes before any bytes are given back. A reader takes it before it looks a run up and again
    /// after it has read the bytes: if it is the same, no byte of a run that existed at the look-up was given back.
    pub(super) fn epoch(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.epoch.load(Ordering::SeqCst)
    }

    /// Announces that bytes of released runs are about to be given back.
    pub(super) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Bytes by which the store may still grow.
    pub(super) fn growth_left(&self) -> Result<u64, StoreError> {
        Ok(free_bytes(&self.dir)?.saturating_sub(self.reserve))
    }

    /// The figures, `unused` being bytes set aside and not handed out.
    pub(super) fn usage(&self, unused: u64) -> Usage {
        let mut usage = Usage {
            free_bytes: free_bytes(&self.dir).unwrap_or(0) + unused,
            recent_bytes: self.recent.footprint() as u64,
            ..Usage::default()
        };
        for held in locked(&self.segments).values() {
            usage.run_bytes += held.record.live;
            usage.reclaimable_bytes += held.reclaimable(self.able);
        }
        usage
    }
}

impl Held {
    /// Bytes that belong to nothing and still take space.
    pub(super) fn reclaimable(&self, able: Abilities) -> u64 {
        match self.record.state {
            // Without holes, what died stays until the segment is rewritten.
            SegmentState::Settled if !able.punch => self.record.capacity.saturating_sub(BLOCK + self.record.live),
            SegmentState::Open | SegmentState::Settled => self.dead,
        }
    }
}

/// The extents of a run that no commit has adopted. Dropping it gives them back.
///
/// A write under way holds it too, so that nothing is written to an extent after it was given back.
pub(super) struct Claim {
    space: Arc<Space>,
    extents: Mutex<Vec<Extent>>,
    adopted: AtomicBool,
}

impl Claim {
    pub(super) fn new(space: Arc<Space>) -> Self {
        Self { space, extents: Mutex::default(), adopted: AtomicBool::new(false) }
    }

    /// Takes over an extent whose claim is already counted.
    pub(super) fn add(&self, extent: Extent) {
        locked(&self.extents).push(extent);
    }

    /// Lets go of the end of the last extent, of which `length` bytes remain.
    pub(super) fn shorten_last(&self, length: u64) {
        if let Some(extent) = locked(&self.extents).last_mut() {
            extent.length = length;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let extents = std::mem::take(&mut *locked(&self.extents));
        if self.adopted.load(Ordering::Acquire) {
            for extent in extents {
                self.space.unclaim(extent.segment);
            }
        } else if !extents.is_empty() {
            self.space.died(&extents);
            self.space.tell(Task::Discarded(extents));
        }
    }
}

/// What a sealed run carries until it is adopted.
pub(super) struct ClaimLease(pub(super) Arc<Claim>);

impl Lease for ClaimLease {
    fn keep(self: Box<Self>) {
        self.0.adopted.store(true, Ordering::Release);
    }
}
