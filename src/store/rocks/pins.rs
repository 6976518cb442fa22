//! Pins: what keeps a released run readable until its last reader has finished.
//!
//! A pin remembers where its runs lie. Extents that a pin covers are neither given back nor, with their segment,
//! unlinked; the reclaimer sets them aside, and takes them up again when the last pin is dropped. A pin registers its
//! extents *before* it looks the run up a second time: if the run is still there, every later release finds the pin; if
//! it is gone, the pin is undone. A crash forgets all pins, and the queue is worked off at the next start as ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::records::{Extent, RunRecord, SegmentId};
use super::segment::locked;
use super::space::{Space, Task};
use crate::store::RunId;

/// What is pinned.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<Pinned>);

#[derive(Debug, Default)]
struct Pinned {
    runs: HashMap<RunId, Vec<Hold>>,
    /// How many holds cover an extent, by its place.
    extents: HashMap<(SegmentId, u64), usize>,
    /// How many holds cover any extent of a segment.
    segments: HashMap<SegmentId, usize>,
    /// Released extents that wait for their pins.
    aside: Vec<Extent>,
}

/// A place where a pinned run lies. A run that is moved may lie in two while its pins differ.
#[derive(Debug)]
struct Hold {
    record: Arc<RunRecord>,
    count: usize,
}

impl Pins {
    /// Where a pinned run lies.
    pub(super) fn record(&self, run: RunId) -> Option<Arc<RunRecord>> {
        locked(&self.0).runs.get(&run)?.first().map(|hold| Arc::clone(&hold.record))
    }

    /// Pins `run` where `record` says it lies.
    pub(super) fn add(&self, run: RunId, record: RunRecord) -> Arc<RunRecord> {
        let mut pinned = locked(&self.0);
        let holds = pinned.runs.entry(run).or_default();
        if let Some(hold) = holds.iter_mut().find(|hold| *hold.record == record) {
            hold.count += 1;
            return Arc::clone(&hold.record);
        }
        let record = Arc::new(record);
        holds.push(Hold { record: Arc::clone(&record), count: 1 });
        for extent in &record.extents {
            *pinned.extents.entry((extent.segment, extent.offset)).or_default() += 1;
            *pinned.segments.entry(extent.segment).or_default() += 1;
        }
        record
    }

    /// Undoes one [`Self::add`]; the extents that may now be given back, and the segments that may be unlinked.
    fn remove(&self, run: RunId, record: &Arc<RunRecord>) -> (Vec<Extent>, Vec<SegmentId>) {
        let mut pinned = locked(&self.0);
        let Some(holds) = pinned.runs.get_mut(&run) else { return (Vec::new(), Vec::new()) };
        let Some(at) = holds.iter().position(|hold| Arc::ptr_eq(&hold.record, record)) else {
            return (Vec::new(), Vec::new());
        };
        holds[at].count -= 1;
        if holds[at].count > 0 {
            return (Vec::new(), Vec::new());
        }
        holds.remove(at);
        if holds.is_empty() {
            pinned.runs.remove(&run);
        }
        let mut segments = Vec::new();
        for extent in &record.extents {
            decrease(&mut pinned.extents, (extent.segment, extent.offset));
            if decrease(&mut pinned.segments, extent.segment) {
                segments.push(extent.segment);
            }
        }
        let aside = std::mem::take(&mut pinned.aside);
        let (kept, free) = aside.into_iter().partition(|extent| pinned.covers(extent));
        pinned.aside = kept;
        (free, segments)
    }

    /// Sets aside those of the released `extents` that are pinned, and leaves the others.
    pub(super) fn set_aside(&self, extents: &mut Vec<Extent>) {
        let mut pinned = locked(&self.0);
        let (held, free) = std::mem::take(extents).into_iter().partition(|extent| pinned.covers(extent));
        *extents = free;
        pinned.aside.extend::<Vec<Extent>>(held);
    }

    /// Whether anything in `segment` is pinned.
    pub(super) fn holds(&self, segment: SegmentId) -> bool {
        locked(&self.0).segments.contains_key(&segment)
    }
}

impl Pinned {
    fn covers(&self, extent: &Extent) -> bool {
        self.extents.contains_key(&(extent.segment, extent.offset))
    }
}

/// Takes one off a count; whether none is left.
fn decrease<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) -> bool {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
            return true;
        }
    }
    false
}

/// Runs pinned together; dropping it unpins them.
pub(super) struct PinnedRuns {
    space: Arc<Space>,
    runs: Vec<(RunId, Arc<RunRecord>)>,
}

impl PinnedRuns {
    pub(super) fn new(space: Arc<Space>) -> Self {
        Self { space, runs: Vec::new() }
    }

    /// Pins one more run.
    pub(super) fn add(&mut self, run: RunId, record: RunRecord) {
        let record = self.space.pins.add(run, record);
        self.runs.push((run, record));
    }
}

impl Drop for PinnedRuns {
    fn drop(&mut self) {
        let (mut free, mut segments) = (Vec::new(), Vec::new());
        for (run, record) in &self.runs {
            let (more, idle) = self.space.pins.remove(*run, record);
            free.extend(more);
            segments.extend(idle);
        }
        if !free.is_empty() {
            self.space.tell(Task::Released(free));
            for segment in segments {
                self.space.tell(Task::Idle(segment));
            }
        }
    }
}
