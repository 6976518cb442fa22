//! What was written to segments of late, in the buffers that it was written from.
//!
//! Runs are written past the page cache, so that their first reader would have to wait for the disk. Until newer writes need the
//! memory, they are read from here. Nothing here is ever out of date: a place in a segment is written once and never used again.
//! What is released stays readable until it is pushed out, as sealed as on the disk, for whoever still has its record.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::buffer::{self, AlignedBuffer};
use super::records::SegmentId;

/// A place in a segment, by its offset in bytes.
pub(super) type Place = (SegmentId, u64);

/// The writes.
pub(super) struct Recent {
    /// Bytes of memory that they may take.
    limit: usize,
    kept: RwLock<RecentWrites>,
}

#[derive(Default)]
struct RecentWrites {
    writes: BTreeMap<Place, Bytes>,
    /// Where each is, the oldest first, and how many bytes of memory it takes.
    order: VecDeque<(Place, usize)>,
    /// Bytes of memory that they take.
    footprint: usize,
}

impl Recent {
    /// Room for `limit` bytes; none, and what is written is forgotten.
    pub(super) fn new(limit: usize) -> Self {
        buffer::set_aside(limit);
        Self { limit, kept: RwLock::default() }
    }

    /// Keeps a buffer whose parts were written to `places`, for as long as there is room. Gives it back, to be filled again, where
    /// nothing is kept, or where buffers are short: another one would have to be cleared first.
    pub(super) fn keep(
        &self,
        mut buffer: AlignedBuffer,
        places: impl Iterator<Item = (Place, Range<usize>)>,
    ) -> Option<AlignedBuffer> {
        if self.limit == 0 || buffer.is_makeshift() {
            buffer.clear();
            return Some(buffer);
        }
        let (bytes, mut footprint) = buffer.freeze();
        // Dropped after the lock.
        let mut pushed_out = Vec::new();
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        for (place, part) in places {
            // The first part counts for all: they are pushed out together.
            let footprint = std::mem::take(&mut footprint);
            kept.footprint += footprint;
            kept.order.push_back((place, footprint));
            kept.writes.insert(place, bytes.slice(part));
        }
        while kept.footprint > self.limit
            && let Some((oldest, footprint)) = kept.order.pop_front()
        {
            kept.footprint -= footprint;
            pushed_out.extend(kept.writes.remove(&oldest));
        }
        None
    }

    /// Fills `into` with the bytes at `offset` of `segment`; false if not all of them are here.
    pub(super) fn read(&self, segment: SegmentId, mut offset: u64, mut into: &mut [u8]) -> bool {
        while !into.is_empty() {
            let Some((start, bytes)) = self.find(segment, offset) else { return false };
            let written = usize::try_from(offset - start).ok().and_then(|skip| bytes.get(skip..));
            let Some(written) = written.filter(|written| !written.is_empty()) else { return false };
            let length = written.len().min(into.len());
            into[..length].copy_from_slice(&written[..length]);
            into = &mut into[length..];
            offset += length as u64;
        }
        true
    }

    /// Bytes of memory that the writes take.
    pub(super) fn footprint(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).footprint
    }

    /// The last write to `segment` that begins at `offset` or before it, and where it begins.
    fn find(&self, segment: SegmentId, offset: u64) -> Option<(u64, Bytes)> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let ((_, start), bytes) = kept.writes.range((segment, 0)..=(segment, offset)).next_back()?;
        Some((*start, bytes.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rocks::buffer::BUFFER_LEN;

    const A: SegmentId = SegmentId(1);
    const B: SegmentId = SegmentId(2);

    /// A buffer with `length` bytes that are all `byte`.
    fn buffer(byte: u8, length: usize) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::new(None);
        assert_eq!(buffer.fill(&vec![byte; length]), length);
        buffer
    }

    fn keep(recent: &Recent, segment: SegmentId, offset: u64, buffer: AlignedBuffer) {
        let all = 0..buffer.filled();
        recent.keep(buffer, std::iter::once(((segment, offset), all)));
    }

    fn read(recent: &Recent, segment: SegmentId, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        recent.read(segment, offset, &mut bytes).then_some(bytes)
    }

    #[test]
    fn what_was_written_is_read_across_writes_and_not_beyond_them() {
        let recent = Recent::new(8 << 20);
        keep(&recent, A, 4096, buffer(1, 4096));
        keep(&recent, A, 8192, buffer(2, BUFFER_LEN));
        keep(&recent, B, 4096, buffer(3, 4096));
        let end = 8192 + BUFFER_LEN as u64;
        assert_eq!(read(&recent, A, 4096, 4096), Some(vec![1; 4096]));
        assert_eq!(read(&recent, A, 8190, 4), Some(vec![1, 1, 2, 2]));
        assert_eq!(read(&recent, A, end - 3, 3), Some(vec![2; 3]));
        assert_eq!(read(&recent, B, 5000, 2), Some(vec![3; 2]));
        for (segment, offset, length) in [(A, 4095, 2), (A, end - 3, 4), (A, end, 1), (B, 8192, 1), (B, 8191, 2)] {
            assert_eq!(read(&recent, segment, offset, length), None, "{segment:?} {offset} {length}");
        }
        assert_eq!(read(&recent, SegmentId(3), 4096, 1), None);
    }

    #[test]
    fn a_buffer_may_lie_in_two_places() {
        let recent = Recent::new(8 << 20);
        let mut halves = buffer(1, BUFFER_LEN);
        let (half, rest) = (BUFFER_LEN, halves.fill(&[2; 4096]));
        recent.keep(halves, [((A, 8192), 0..half), ((B, 4096), half..half + rest)].into_iter());
        assert_eq!(read(&recent, A, 8192, half), Some(vec![1; half]));
        assert_eq!(read(&recent, A, 8192, half + 1), None);
        assert_eq!(read(&recent, B, 4096, 4096), Some(vec![2; 4096]));
        assert_eq!(read(&recent, B, 4095, 1), None);
    }

    #[test]
    fn the_oldest_give_way_and_short_ones_take_little() {
        let recent = Recent::new(4 << 20);
        // There is room for six full ones, but not with six short ones beside them.
        for number in 0..100_u8 {
            let offset = u64::from(number) << 20;
            keep(&recent, A, offset, buffer(number, BUFFER_LEN));
            keep(&recent, B, offset, buffer(number, 4096));
            assert!((1..=4 << 20).contains(&recent.footprint()));
        }
        let kept = |segment| (0..100).filter(|n| read(&recent, segment, *n << 20, 1).is_some()).collect::<Vec<_>>();
        assert_eq!(kept(A), [95, 96, 97, 98, 99]);
        assert_eq!(kept(B), [94, 95, 96, 97, 98, 99]);
        assert_eq!(read(&recent, A, 99 << 20, BUFFER_LEN), Some(vec![99; BUFFER_LEN]));
    }

    #[test]
    fn without_room_nothing_is_kept() {
        for limit in [0, 1] {
            let recent = Recent::new(limit);
            keep(&recent, A, 4096, buffer(1, 4096));
            assert_eq!(read(&recent, A, 4096, 1), None);
            assert!(recent.kept.read().unwrap().writes.is_empty());
        }
    }
}
