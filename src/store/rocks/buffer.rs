//! Aligned write buffers, as `O_DIRECT` wants them, and a pool of them.

use std::sync::{Arc, Mutex, PoisonError};

use super::records::{BLOCK, whole_blocks};
use crate::store::run::MAX_ROOM;

/// A buffer with this many bytes or more is written.
pub(super) const BUFFER_LEN: usize = 512 * 1024;
/// Bytes of a full-sized buffer: while it is not full, there is a whole room in it.
const FULL_SIZE: usize = BUFFER_LEN + MAX_ROOM;
/// The least that is worth a buffer of its own, in bytes.
const MIN_LEN: u64 = 16 * 1024;
/// Full-sized buffers kept for reuse: a fresh one costs more than a hundred page faults.
const POOLED: usize = 32;

/// A buffer whose bytes start at a multiple of [`BLOCK`] in memory.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    /// One block longer than the buffer; never grown, so that it never moves.
    memory: Vec<u8>,
    /// Where the aligned bytes begin in `memory`.
    start: usize,
    capacity: usize,
    filled: usize,
    pool: Arc<BufferPool>,
}

impl AlignedBuffer {
    /// Appends as much of `bytes` as fits; returns how much that was.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.capacity - self.filled);
        let at = self.start + self.filled;
        self.memory[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    /// What is not filled.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.start + self.filled..self.start + self.capacity]
    }

    /// Bytes that are not filled.
    pub(super) fn room_len(&self) -> usize {
        self.capacity - self.filled
    }

    /// The first `length` bytes of the room are filled.
    pub(super) fn advance(&mut self, length: usize) {
        self.filled = self.capacity.min(self.filled + length);
    }

    /// Bytes filled so far.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Whether it is time to write it.
    pub(super) fn is_full(&self) -> bool {
        self.filled >= BUFFER_LEN
    }

    /// Moves what is behind the last whole block to the beginning of `next`.
    pub(super) fn carry_into(&mut self, next: &mut Self) {
        let whole = self.filled - self.filled % alignment();
        next.fill(&self.as_slice()[whole..]);
        self.filled = whole;
    }

    /// Fills the last block up with zeros. The buffer then holds whole blocks only.
    pub(super) fn pad(&mut self) {
        let padded = self.filled.next_multiple_of(alignment()).min(self.capacity);
        self.memory[self.start + self.filled..self.start + padded].fill(0);
        self.filled = padded;
    }

    /// The filled bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    /// Forgets the filled bytes.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.capacity == FULL_SIZE {
            let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < POOLED {
                free.push((std::mem::take(&mut self.memory), self.start));
            }
        }
    }
}

/// Where full-sized buffers wait to be used again.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<(Vec<u8>, usize)>>);

impl BufferPool {
    /// A buffer for `to_come` bytes, or for the first of them.
    pub(super) fn take(self: &Arc<Self>, to_come: Option<u64>) -> AlignedBuffer {
        let wanted = to_come.map_or(u64::MAX, |bytes| whole_blocks(bytes.clamp(MIN_LEN, u64::MAX - BLOCK)));
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let capacity = if wanted <= BUFFER_LEN { wanted } else { FULL_SIZE };
        let pooled =
            if capacity == FULL_SIZE { self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() } else { None };
        let (memory, start) = pooled.unwrap_or_else(|| {
            let memory = vec![0; capacity + alignment()];
            let start = memory.as_ptr().align_offset(alignment());
            (memory, start)
        });
        AlignedBuffer { memory, start, capacity, filled: 0, pool: Arc::clone(self) }
    }
}

const fn alignment() -> usize {
    super::records::HEADER_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_sized_and_padded() {
        let pool = Arc::new(BufferPool::default());
        for (to_come, capacity) in
            [(None, FULL_SIZE), (Some(1), 16_384), (Some(20_000), 20_480), (Some(u64::MAX), FULL_SIZE)]
        {
            let mut buffer = pool.take(to_come);
            let bytes = vec![7; FULL_SIZE + 1];
            assert_eq!(buffer.fill(&bytes[..5]), 5);
            buffer.pad();
            assert_eq!(buffer.as_slice().len(), 4096);
            assert_eq!(&buffer.as_slice()[..6], &[7, 7, 7, 7, 7, 0]);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(4096), 0);
            assert_eq!(buffer.room_len(), capacity - 4096);
            buffer.room()[..10].fill(8);
            buffer.advance(10);
            let mut next = pool.take(to_come);
            buffer.carry_into(&mut next);
            assert_eq!((buffer.filled(), next.as_slice()), (4096, &[8; 10][..]));
            assert_eq!(buffer.fill(&bytes), capacity - 4096);
            assert_eq!((buffer.room_len(), buffer.is_full()), (0, capacity == FULL_SIZE));
        }
        let pooled = || pool.0.lock().unwrap().len();
        assert_eq!(pooled(), 2);
        let _buffer = pool.take(None);
        assert_eq!(pooled(), 1);
    }
}
