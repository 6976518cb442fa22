//! Hands out extents. One segment takes writes at a time; when it cannot give what is wanted, the next one is created.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::committer::{Change, Committer};
use super::records::{BLOCK, Extent, SegmentId, SegmentRecord, SegmentState};
use super::segment::{Segment, locked};
use super::space::Space;
use crate::store::StoreError;

/// An extent is at most this long, so that a long run does not keep space from others before it needs it.
pub(super) const LONGEST: u64 = 64 << 20;
/// A longer run takes what a segment has left if that is at least this much; a shorter one is never split.
const SHORTEST_PIECE: u64 = 8 << 20;

/// The allocator.
pub(super) struct Allocator {
    space: Arc<Space>,
    committer: Committer,
    segment_size: u64,
    active: Mutex<Option<Arc<Segment>>>,
    /// Held while a segment is created; guards the next number.
    next: Mutex<SegmentId>,
    /// Bytes that writers were promised and have not taken.
    promised: AtomicU64,
}

/// An extent, and the segment that takes its bytes. Its claim is counted.
pub(super) struct Taken {
    pub(super) segment: Arc<Segment>,
    pub(super) extent: Extent,
}

impl Allocator {
    pub(super) fn new(space: Arc<Space>, committer: Committer, segment_size: u64, next: SegmentId) -> Self {
        Self {
            space,
            committer,
            segment_size,
            active: Mutex::default(),
            next: Mutex::new(next),
            promised: AtomicU64::new(0),
        }
    }

    /// Sees that `bytes` more can be taken, and promises the first of them: no more than an extent has, so that nobody keeps
    /// space from others that he may never fill. Returns what is promised, which ends by [`Allocator::forgo`].
    pub(super) fn promise(&self, bytes: u64) -> Result<u64, StoreError> {
        let left = self.space.growth_left()?.saturating_add(self.unused());
        let first = bytes.min(LONGEST);
        let promised = self.promised.fetch_add(first, Ordering::Relaxed);
        if promised.saturating_add(bytes) > left {
            self.forgo(first);
            return Err(StoreError::NoSpace);
        }
        Ok(first)
    }

    /// Ends a promise of `bytes`: they were taken, or are not wanted.
    pub(super) fn forgo(&self, bytes: u64) {
        self.promised.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An extent of up to `wanted` bytes from the active segment, if it has one to give. Does not block.
    pub(super) fn take(&self, wanted: u64) -> Option<Taken> {
        let active = locked(&self.active);
        // Counted while the segment cannot be retired, so that it does not look idle in between.
        self.take_of(active.as_ref()?, wanted)
    }

    /// An extent of up to `wanted` bytes, from a new segment if need be. Blocks.
    pub(super) fn take_blocking(&self, wanted: u64) -> Result<Taken, StoreError> {
        let mut next = locked(&self.next);
        if let Some(taken) = self.take(wanted) {
            return Ok(taken);
        }
        let capacity = self.next_capacity(wanted)?;
        let id = *next;
        *next = SegmentId(id.0.checked_add(1).ok_or(StoreError::NoSpace)?);
        let record = SegmentRecord { state: SegmentState::Open, capacity, live: 0 };
        self.committer.change_blocking(Change::Open(id, record, *next)).map(drop)?;
        let segment = match Segment::create(&self.space.dir, id, capacity, self.space.able) {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                self.space.retired(id, BLOCK);
                return Err(error);
            }
        };
        // Before others may: they could leave too little.
        let taken = self.take_of(&segment, wanted).ok_or(StoreError::NoSpace);
        self.activate(Some(segment));
        taken
    }

    /// An extent of a segment that cannot be retired meanwhile.
    fn take_of(&self, segment: &Arc<Segment>, wanted: u64) -> Option<Taken> {
        let extent = segment.take(wanted, wanted.min(SHORTEST_PIECE))?;
        self.space.claim(extent.segment);
        Some(Taken { segment: Arc::clone(segment), extent })
    }

    /// Lets the active segment take no more writes.
    pub(super) fn retire(&self) {
        self.activate(None);
    }

    /// Bytes set aside and not handed out.
    pub(super) fn unused(&self) -> u64 {
        locked(&self.active).as_ref().map_or(0, |segment| segment.left())
    }

    fn activate(&self, segment: Option<Arc<Segment>>) {
        let mut active = locked(&self.active);
        if let Some(full) = std::mem::replace(&mut *active, segment) {
            self.space.retired(full.id, full.retire());
        }
    }

    /// As long as segments are to be, or less where that would leave others too little.
    fn next_capacity(&self, wanted: u64) -> Result<u64, StoreError> {
        let growth = self.space.growth_left()?;
        let least = BLOCK + wanted.min(SHORTEST_PIECE);
        if growth < least {
            return Err(StoreError::NoSpace);
        }
        Ok(self.segment_size.min(growth / 4).max(least).next_multiple_of(BLOCK))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::SystemEntropy;
    use crate::store::BlobStore as _;
    use crate::store::rocks::{Options, RocksStore};

    #[tokio::test]
    async fn a_long_run_keeps_no_more_from_others_than_it_takes_next() {
        let dir = tempfile::TempDir::new().unwrap();
        let options = Options { reserve_bytes: 1 << 20, ..Options::new(dir.path()) };
        let store = RocksStore::open(&options, Arc::new(SystemEntropy::new())).unwrap();
        let promised = || store.allocator.promised.load(Ordering::Relaxed);
        let long = store.create(Some(LONGEST + 1)).await.unwrap();
        assert_eq!(promised(), LONGEST);
        let short = store.create(Some(5000)).await.unwrap();
        assert_eq!(promised(), LONGEST + 2 * BLOCK);
        drop((long, short));
        assert_eq!(promised(), 0);
        // What can never be met is refused before it begins.
        assert!(matches!(store.create(Some(1 << 60)).await.map(drop), Err(StoreError::NoSpace)));
        assert_eq!(promised(), 0);
    }
}
