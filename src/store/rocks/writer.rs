//! Writing a run: two buffers, one being filled while the other is written.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::allocator::{Allocator, LONGEST, Taken};
use super::buffer::AlignedBuffer;
use super::records::{BLOCK, Extent, RunRecord, whole_blocks};
use super::segment::Segment;
use super::space::{Claim, ClaimLease, Space, Task};
use crate::store::{RunId, RunWriter, SealedRun, StoreError};

/// The first extent of a run of unknown length, in bytes; each further one is twice as long as the last.
const FIRST_GUESS: u64 = 1 << 20;

/// A run being written to segments.
pub(super) struct SegmentWriter {
    id: RunId,
    space: Arc<Space>,
    allocator: Arc<Allocator>,
    claim: Arc<Claim>,
    size_hint: Option<u64>,
    /// Bytes of the hint that are not yet taken.
    hinted: u64,
    /// Those of them that were promised.
    promised: u64,
    next_guess: u64,
    length: u64,
    /// The extents so far; the last one is still being filled.
    taken: Vec<Taken>,
    /// Bytes of the last extent that are spoken for.
    used: u64,
    filling: Option<AlignedBuffer>,
    writing: Option<JoinHandle<Result<Option<AlignedBuffer>, StoreError>>>,
}

/// A part of a buffer and where it goes.
struct Piece {
    segment: Arc<Segment>,
    offset: u64,
    from: usize,
    to: usize,
}

impl SegmentWriter {
    /// Starts a run, seeing first that its bytes will find room.
    pub(super) fn start(
        id: RunId,
        size_hint: Option<u64>,
        space: Arc<Space>,
        allocator: Arc<Allocator>,
    ) -> Result<Self, StoreError> {
        let hinted = size_hint.map_or(0, |hint| whole_blocks(hint.min(i64::MAX.unsigned_abs())));
        let promised = allocator.promise(hinted)?;
        let claim = Arc::new(Claim::new(Arc::clone(&space)));
        Ok(Self {
            id,
            space,
            allocator,
            claim,
            size_hint,
            hinted,
            promised,
            next_guess: FIRST_GUESS,
            length: 0,
            taken: Vec::new(),
            used: 0,
            filling: None,
            writing: None,
        })
    }

    /// Hands the whole blocks of the filled buffer over to be written, once the one before it is.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let Some(mut buffer) = self.filling.take() else {
            return Ok(());
        };
        let mut next = match self.written().await? {
            Some(written) => written,
            // And what is carried over.
            None => AlignedBuffer::new(self.to_come().map(|bytes| bytes.saturating_add(BLOCK))),
        };
        buffer.carry_into(&mut next);
        self.filling = Some(next);
        self.write(buffer).await
    }

    /// Begins to write a buffer of whole blocks.
    async fn write(&mut self, buffer: AlignedBuffer) -> Result<(), StoreError> {
        let mut pieces = Vec::with_capacity(1);
        let mut from = 0;
        while from < buffer.filled() {
            let piece = self.place(from, buffer.filled()).await?;
            from = piece.to;
            pieces.push(piece);
        }
        let (claim, space) = (Arc::clone(&self.claim), Arc::clone(&self.space));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            // Held to the end of the write; see `Claim`.
            let _claim = claim;
            for piece in &pieces {
                piece.segment.write(piece.offset, &buffer.as_slice()[piece.from..piece.to])?;
            }
            let places = pieces.into_iter().map(|piece| ((piece.segment.id, piece.offset), piece.from..piece.to));
            Ok(space.recent.keep(buffer, places))
        }));
        Ok(())
    }

    /// Bytes that the hint still promises, if there was one and it has held so far.
    fn to_come(&self) -> Option<u64> {
        self.size_hint.and_then(|hint| hint.checked_sub(self.length)).filter(|to_come| *to_come > 0)
    }

    /// Waits for the write under way; returns its buffer, if it may be filled again.
    async fn written(&mut self) -> Result<Option<AlignedBuffer>, StoreError> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(|error| StoreError::Engine(Box::new(error)))?,
            None => Ok(None),
        }
    }

    /// Finds a place for the bytes `from..to` of a buffer, or for as many of them as an extent has room for.
    async fn place(&mut self, from: usize, to: usize) -> Result<Piece, StoreError> {
        if self.taken.last().is_none_or(|last| self.used == last.extent.length) {
            self.extend().await?;
        }
        let Some(last) = self.taken.last() else {
            return Err(StoreError::NoSpace);
        };
        let room = usize::try_from(last.extent.length - self.used).unwrap_or(usize::MAX);
        let to = to.min(from.saturating_add(room));
        let piece = Piece { segment: Arc::clone(&last.segment), offset: last.extent.offset + self.used, from, to };
        self.used += bytes_of(to - from);
        Ok(piece)
    }

    /// Takes one more extent: of what the hint said, or by a guess that grows with the run.
    async fn extend(&mut self) -> Result<(), StoreError> {
        let wanted = if self.hinted > 0 {
            self.hinted.min(LONGEST)
        } else {
            let guess = self.next_guess;
            self.next_guess = (guess * 2).min(LONGEST);
            guess
        };
        let taken = if let Some(taken) = self.allocator.take(wanted) {
            self.claim.add(taken.extent);
            taken
        } else {
            let (allocator, claim) = (Arc::clone(&self.allocator), Arc::clone(&self.claim));
            // Added to the claim where it is taken: were this future dropped meanwhile, it must not leak.
            let task = tokio::task::spawn_blocking(move || {
                let taken = allocator.take_blocking(wanted)?;
                claim.add(taken.extent);
                Ok::<_, StoreError>(taken)
            });
            task.await.map_err(|error| StoreError::Engine(Box::new(error)))??
        };
        self.hinted = self.hinted.saturating_sub(taken.extent.length);
        let fulfilled = self.promised.min(taken.extent.length);
        self.promised -= fulfilled;
        self.allocator.forgo(fulfilled);
        self.used = 0;
        self.taken.push(taken);
        Ok(())
    }

    /// Returns what the last extent was not needed for.
    fn trim(&mut self) {
        let Some(last) = self.taken.last_mut() else { return };
        let extent = last.extent;
        if self.used < extent.length {
            let unused = Extent { offset: extent.offset + self.used, length: extent.length - self.used, ..extent };
            last.extent.length = self.used;
            self.claim.shorten_last(self.used);
            if !last.segment.give_back(&extent, unused.offset) {
                self.space.died(&[unused]);
                self.space.tell(Task::Trimmed(unused));
            }
        }
    }

    /// Where the run's bytes are, exactly.
    fn record(&self) -> RunRecord {
        let mut left = self.length;
        let exact = self.taken.iter().map(|taken| {
            let length = taken.extent.length.min(left);
            left -= length;
            Extent { length, ..taken.extent }
        });
        RunRecord { extents: exact.collect(), references: 1 }
    }
}

#[async_trait]
impl RunWriter for SegmentWriter {
    async fn room(&mut self, length: usize) -> Result<&mut [u8], StoreError> {
        // Where more comes than the hint said.
        if self.filling.as_ref().is_some_and(|buffer| buffer.room_len() < length) {
            self.flush().await?;
        }
        let mut buffer = self.filling.take().unwrap_or_else(|| AlignedBuffer::new(self.to_come()));
        if buffer.room_len() < length {
            let mut larger = AlignedBuffer::new(None);
            larger.fill(buffer.as_slice());
            buffer = larger;
        }
        Ok(self.filling.insert(buffer).room())
    }

    async fn advance(&mut self, length: usize) -> Result<(), StoreError> {
        let Some(buffer) = &mut self.filling else {
            return Ok(());
        };
        buffer.advance(length);
        self.length += bytes_of(length);
        if buffer.is_full() {
            self.flush().await?;
        }
        Ok(())
    }

    async fn seal(mut self: Box<Self>) -> Result<SealedRun, StoreError> {
        if let Some(mut last) = self.filling.take()
            && last.filled() > 0
        {
            self.written().await?;
            last.pad();
            self.write(last).await?;
        }
        self.written().await?;
        self.trim();
        let mut synced: Option<&Arc<Segment>> = None;
        for taken in &self.taken {
            // Extents of one segment follow each other.
            if synced.is_none_or(|segment| segment.id != taken.segment.id) {
                taken.segment.sync().await?;
                synced = Some(&taken.segment);
            }
        }
        Ok(SealedRun {
            id: self.id,
            length: self.length,
            locator: Bytes::from(self.record().encode()),
            lease: Some(Box::new(ClaimLease(Arc::clone(&self.claim)))),
        })
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.allocator.forgo(self.promised);
    }
}

fn bytes_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
