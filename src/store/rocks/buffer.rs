//! Aligned write buffers, as `O_DIRECT` wants them.
//!
//! Full-sized ones lie in huge pages, where the kernel gives any. A disk is told of memory by its contiguous pieces, and in
//! pages of 4 KiB a write of half a megabyte has more than a hundred of them.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use memmap2::{Advice, MmapOptions};

use super::records::{HEADER_LEN, whole_blocks};
use crate::store::run::MAX_ROOM;

/// Where a buffer's bytes start in memory, and blocks on the disk: at multiples of this.
const ALIGNMENT: usize = HEADER_LEN;
/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;
/// Full-sized buffers in a huge page.
const IN_A_PAGE: usize = 3;
/// Bytes of a full-sized buffer, 680 KiB: while it is not full, there is a whole room in it.
const FULL_SIZE: usize = HUGE_PAGE / IN_A_PAGE / ALIGNMENT * ALIGNMENT;
/// A buffer with this many bytes or more is written.
pub(super) const BUFFER_LEN: usize = FULL_SIZE - MAX_ROOM;
/// The least that is worth a buffer of its own, in bytes.
const MIN_LEN: u64 = 16 * 1024;
/// Huge pages of buffers that are filled and written: 32 MiB, of which a process has as much in memory as it ever needed at once.
const PAGES: usize = 16;

/// The full-sized buffers of this process.
static FULL_SIZED: Pool = Pool::new(PAGES);

/// A buffer whose bytes start at a multiple of [`ALIGNMENT`] in memory.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    memory: Memory,
    filled: usize,
}

/// What a buffer's bytes lie in.
#[derive(Debug)]
enum Memory {
    /// A full-sized buffer.
    Pooled(Pooled),
    /// The aligned part of memory that is a little longer, and never grown, so that it never moves.
    Own(Vec<u8>, Range<usize>),
}

/// Lets there be more full-sized buffers in this process, of `bytes` bytes.
pub(super) fn set_aside(bytes: usize) {
    FULL_SIZED.grow(bytes);
}

impl AlignedBuffer {
    /// A buffer for `to_come` bytes, or for the first of them.
    pub(super) fn new(to_come: Option<u64>) -> Self {
        Self::out_of(&FULL_SIZED, to_come)
    }

    fn out_of(pool: &'static Pool, to_come: Option<u64>) -> Self {
        let wanted = whole_blocks(to_come.unwrap_or(u64::MAX).clamp(MIN_LEN, FULL_SIZE as u64));
        let wanted = usize::try_from(wanted).unwrap_or(FULL_SIZE);
        // Fresh memory has to be cleared: from a room's length on that costs more than to lend a buffer which is too long.
        let pooled = if wanted >= MAX_ROOM { pool.take() } else { None };
        let memory = match pooled {
            Some(pooled) => Memory::Pooled(pooled),
            None => Memory::own(if wanted <= BUFFER_LEN { wanted } else { FULL_SIZE }),
        };
        Self { memory, filled: 0 }
    }

    /// Appends as much of `bytes` as fits; returns how much that was.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room_len());
        self.room()[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    /// What is not filled.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let filled = self.filled;
        &mut self.memory.as_mut_slice()[filled..]
    }

    /// Bytes that are not filled.
    pub(super) fn room_len(&self) -> usize {
        self.memory.as_slice().len() - self.filled
    }

    /// The first `length` bytes of the room are filled.
    pub(super) fn advance(&mut self, length: usize) {
        self.filled += length.min(self.room_len());
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
        let whole = self.filled - self.filled % ALIGNMENT;
        next.fill(&self.as_slice()[whole..]);
        self.filled = whole;
    }

    /// Fills the last block up with zeros. The buffer then holds whole blocks only.
    pub(super) fn pad(&mut self) {
        let padding = (self.filled.next_multiple_of(ALIGNMENT) - self.filled).min(self.room_len());
        self.room()[..padding].fill(0);
        self.filled += padding;
    }

    /// The filled bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory.as_slice()[..self.filled]
    }

    /// Whether the pool had none left, and its memory had to be made and cleared.
    pub(super) fn is_makeshift(&self) -> bool {
        matches!(&self.memory, Memory::Own(_, aligned) if aligned.len() == FULL_SIZE)
    }

    /// Forgets the filled bytes.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// The filled bytes for good, in no more memory than they need (a copy, where most of the buffer is empty); and how many bytes
    /// that takes.
    pub(super) fn freeze(self) -> (Bytes, usize) {
        let (filled, length) = (self.filled, self.memory.as_slice().len());
        if filled < length / 2 {
            (Bytes::copy_from_slice(self.as_slice()), filled)
        } else {
            (Bytes::from_owner(self), length)
        }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Memory {
    /// `length` bytes of its own.
    fn own(length: usize) -> Self {
        let memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self::Own(memory, start..start + length)
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Pooled(pooled) => pooled.memory,
            Self::Own(memory, aligned) => &memory[aligned.clone()],
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Pooled(pooled) => pooled.memory,
            Self::Own(memory, aligned) => &mut memory[aligned.clone()],
        }
    }
}

/// Full-sized buffers that wait to be used, the warmest on top. Their memory is the process's for good, and asked for when it is
/// needed.
struct Pool(Mutex<Waiting>);

struct Waiting {
    buffers: Vec<&'static mut [u8]>,
    /// Huge pages that may still be asked for.
    to_map: usize,
}

/// One of them; dropping it gives it back.
struct Pooled {
    pool: &'static Pool,
    memory: &'static mut [u8],
}

impl Pool {
    /// A pool of `pages` huge pages at most.
    const fn new(pages: usize) -> Self {
        Self(Mutex::new(Waiting { buffers: Vec::new(), to_map: pages }))
    }

    /// One that waits; `None` if there is none and no memory for more.
    fn take(&'static self) -> Option<Pooled> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.buffers.is_empty() && waiting.to_map > 0 {
            let pages = waiting.to_map.min(PAGES);
            waiting.to_map -= pages;
            waiting.buffers = map(pages);
        }
        let memory = waiting.buffers.pop()?;
        Some(Pooled { pool: self, memory })
    }

    /// Lets the pool grow by as many huge pages as hold `bytes`.
    fn grow(&self, bytes: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).to_map += bytes.div_ceil(IN_A_PAGE * FULL_SIZE);
    }
}

/// The buffers of so many huge pages, none of which takes room before it is used; none if there is no memory.
fn map(pages: usize) -> Vec<&'static mut [u8]> {
    let Ok(map) = MmapOptions::new().len((pages + 1) * HUGE_PAGE).map_anon() else {
        return Vec::new();
    };
    // Buffers in small pages do as well.
    let _ = map.advise(Advice::HugePage);
    let memory = Box::leak(Box::new(map)).as_mut();
    let start = memory.as_ptr().align_offset(HUGE_PAGE);
    let huge_pages = memory[start..].chunks_exact_mut(HUGE_PAGE).take(pages);
    let mut buffers: Vec<_> = huge_pages.flat_map(|page| page.chunks_exact_mut(FULL_SIZE)).collect();
    buffers.reverse();
    buffers
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).buffers.push(memory);
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(pages: usize) -> &'static Pool {
        Box::leak(Box::new(Pool::new(pages)))
    }

    #[test]
    fn buffers_are_aligned_sized_and_padded() {
        let (full, none) = (pool(1), pool(0));
        for (pool, to_come, capacity) in [
            (full, None, FULL_SIZE),
            (none, None, FULL_SIZE),
            (full, Some(1), 16_384),
            (full, Some(20_000), 20_480),
            (full, Some(100_000), FULL_SIZE),
            (none, Some(100_000), 102_400),
            (none, Some(u64::MAX), FULL_SIZE),
        ] {
            let mut buffer = AlignedBuffer::out_of(pool, to_come);
            let bytes = vec![7; FULL_SIZE + 1];
            assert_eq!(buffer.fill(&bytes[..5]), 5);
            buffer.pad();
            assert_eq!(buffer.as_slice().len(), 4096);
            assert_eq!(&buffer.as_slice()[..6], &[7, 7, 7, 7, 7, 0]);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(4096), 0);
            assert_eq!(buffer.room_len(), capacity - 4096);
            buffer.room()[..10].fill(8);
            buffer.advance(10);
            let mut next = AlignedBuffer::out_of(pool, to_come);
            buffer.carry_into(&mut next);
            assert_eq!((buffer.filled(), next.as_slice()), (4096, &[8; 10][..]));
            assert_eq!(buffer.fill(&bytes), capacity - 4096);
            assert_eq!((buffer.room_len(), buffer.is_full()), (0, capacity == FULL_SIZE));
        }
    }

    #[test]
    fn frozen_bytes_take_no_more_memory_than_they_need() {
        for (length, footprint) in [(10, 10), (FULL_SIZE / 2, FULL_SIZE), (FULL_SIZE, FULL_SIZE)] {
            let mut buffer = AlignedBuffer::out_of(pool(1), None);
            buffer.fill(&vec![7; length]);
            let (bytes, taken) = buffer.freeze();
            assert_eq!((bytes.as_ref(), taken), (&vec![7; length][..], footprint));
        }
    }

    #[test]
    fn a_pool_grows_only_as_far_as_it_may() {
        let pool = pool(0);
        assert!(pool.take().is_none());
        pool.grow(HUGE_PAGE + 1);
        for _ in 0..2 {
            let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
            assert_eq!(taken.len(), 2 * IN_A_PAGE);
        }
    }

    #[test]
    fn full_sized_buffers_are_lent_and_come_back() {
        let pool = pool(2);
        let pooled = |buffer: &AlignedBuffer| matches!(buffer.memory, Memory::Pooled(_));
        let mut taken: Vec<_> = (0..7).map(|_| AlignedBuffer::out_of(pool, None)).collect();
        assert_eq!(taken.iter().map(pooled).collect::<Vec<_>>(), [true, true, true, true, true, true, false]);
        // No two of them share any memory.
        for (number, buffer) in (0_u8..).zip(&mut taken) {
            buffer.fill(&vec![number; FULL_SIZE]);
        }
        for (number, buffer) in (0_u8..).zip(&taken) {
            assert!(buffer.as_slice().iter().all(|byte| *byte == number));
        }
        assert_eq!(
            taken.iter().map(AlignedBuffer::is_makeshift).collect::<Vec<_>>(),
            taken.iter().map(|b| !pooled(b)).collect::<Vec<_>>()
        );
        taken.remove(3);
        assert!(pooled(&AlignedBuffer::out_of(pool, None)));
        drop(taken);
        assert_eq!(pool.0.lock().unwrap().buffers.len(), 6);
    }
}
