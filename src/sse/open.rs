//! Opening a run: any range of it, reading and decrypting only the frames that hold it.

use std::num::NonZeroU64;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::format::{FRAME_LEN, FrameNonce, RunHeader, RunIdentity, Suite, frame_count};
use super::layers::FrameCipher;
use super::{ObjectKey, SseError};

/// Opens one run. Made only if its header belongs to the data key and the part, so that a wrong key, a swapped part or
/// an altered header is found before any frame is read.
pub struct Opener {
    identity: RunIdentity,
    cipher: FrameCipher,
    suite: Suite,
    plaintext_len: u64,
}

impl Opener {
    /// For the run with this header, which is part `part` (0: the whole object) of the object that `key` belongs to.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if the header does not belong to `key` and `part`.
    pub fn new(key: &ObjectKey, header: &RunHeader, part: u16) -> Result<Self, SseError> {
        let identity = header.authenticate(key, part)?;
        let cipher = FrameCipher::new(&identity, key);
        Ok(Self { cipher, suite: header.suite(), identity, plaintext_len: header.plaintext_len() })
    }

    /// Plaintext bytes of the run.
    pub fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// The reads that yield the plaintext bytes `range`, in order, of at most `frames` frames (of 64 KiB) each. An empty
    /// range takes one read, so that even an empty run is authenticated.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if the run has no such range: whoever asks has been told a wrong length.
    pub fn reads(&self, range: Range<u64>, frames: NonZeroU64) -> Result<FrameReads, SseError> {
        if range.start > range.end || range.end > self.plaintext_len {
            return Err(SseError::corrupt("the run is shorter than its record says"));
        }
        let last_of_run = frame_count(self.plaintext_len) - 1;
        let next = (range.start / FRAME_LEN).min(last_of_run);
        let end = range.end.div_ceil(FRAME_LEN).max(next + 1);
        Ok(FrameReads { suite: self.suite, plaintext_len: self.plaintext_len, range, next, end, frames })
    }

    /// The plaintext that `read` is for, frame by frame, from the stored bytes that it names. They are opened where they lie if
    /// nobody else holds them.
    ///
    /// # Errors
    /// As [`open_in_place`](Self::open_in_place).
    pub fn open(&self, read: &FrameRead, sealed: Bytes) -> Result<Vec<Bytes>, SseError> {
        let mut memory = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let frames = self.open_in_place(read, &mut memory)?;
        let memory = memory.freeze();
        Ok(frames.into_iter().map(|frame| memory.slice(frame)).collect())
    }

    /// Opens the stored bytes that `read` names where they lie, and says where in `memory` the plaintext is that it is for,
    /// frame by frame.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if the bytes are not exactly those that were sealed there. What is left in `memory` is then no
    /// plaintext that may be released.
    pub fn open_in_place(&self, read: &FrameRead, memory: &mut [u8]) -> Result<Vec<Range<usize>>, SseError> {
        let (tags, sealed_frame) = (self.suite.tags_size(), self.suite.sealed_frame_size());
        if memory.len() != read.sealed_len || read.sealed_len < tags {
            return Err(SseError::corrupt("a run is shorter than its header says"));
        }
        let last_of_run = frame_count(self.plaintext_len) - 1;
        let aad = self.identity.aad();
        let mut frames = Vec::with_capacity(memory.len().div_ceil(sealed_frame));
        let (mut start, mut at) = (0, 0);
        for (number, frame) in (read.first_frame..).zip(memory.chunks_mut(sealed_frame)) {
            let opened = self.cipher.open_in_place(FrameNonce::of(number, number == last_of_run), &aad, frame);
            opened.map_err(|_| SseError::corrupt(format!("frame {number} of a run did not authenticate")))?;
            let plaintext = frame.len() - tags;
            // Only the first and the last may hold more than is wanted.
            let wanted = |border: usize| start + border.saturating_sub(at).min(plaintext);
            frames.push(wanted(read.wanted.start)..wanted(read.wanted.end));
            start += frame.len();
            at += plaintext;
        }
        Ok(frames)
    }
}

/// Consecutive frames to read, and what of them is wanted. Made by [`Opener::reads`] alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrameRead {
    first_frame: u64,
    sealed_start: u64,
    sealed_len: usize,
    /// Within the frames' plaintext.
    wanted: Range<usize>,
}

impl FrameRead {
    /// Where in the stored run to start reading.
    pub fn sealed_start(&self) -> u64 {
        self.sealed_start
    }

    /// How many stored bytes to read.
    pub fn sealed_len(&self) -> usize {
        self.sealed_len
    }
}

/// The reads of a range, in order.
#[derive(Clone, Debug)]
pub struct FrameReads {
    suite: Suite,
    plaintext_len: u64,
    range: Range<u64>,
    next: u64,
    end: u64,
    frames: NonZeroU64,
}

impl FrameReads {
    /// From here on, reads of at most `frames` frames each.
    #[must_use]
    pub fn at_once(self, frames: NonZeroU64) -> Self {
        Self { frames, ..self }
    }
}

impl Iterator for FrameReads {
    type Item = FrameRead;

    fn next(&mut self) -> Option<FrameRead> {
        let first = self.next;
        if first >= self.end {
            return None;
        }
        self.next = self.end.min(first.saturating_add(self.frames.get()));
        let plaintext = first * FRAME_LEN..(self.next * FRAME_LEN).min(self.plaintext_len);
        let (frame, whole) = (self.suite.sealed_frame_len(), self.suite.sealed_len(self.plaintext_len));
        let sealed = first * frame..(self.next * frame).min(whole);
        let within = |at: u64| in_memory(at.clamp(plaintext.start, plaintext.end) - plaintext.start);
        Some(FrameRead {
            first_frame: first,
            sealed_start: sealed.start,
            sealed_len: in_memory(sealed.end - sealed.start),
            wanted: within(self.range.start)..within(self.range.end),
        })
    }
}

/// A length that has to fit in memory: the caller chose how many frames to read at once.
fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
