//! Sealing a run: plaintext in, frames out, one copy.

use super::format::{CommitmentKey, FRAME_LEN, FRAME_SIZE, FrameNonce, NonceSequence, RunHeader, RunIdentity};
use super::layers::FrameCipher;
use super::{ObjectKey, SseError};
use crate::crypto::Entropy;

/// Seals one run: an object, or one upload of one part. Every sealer has a salt of its own, so that no two runs share a
/// key, whatever their data key and part.
///
/// The memory is the caller's: that where the sealed frames are wanted. Plaintext is copied there once, and encrypted where it
/// lies. The frame that is being filled, the *open* one, stays open until more comes, for it may turn out to be the last; of
/// its memory nothing may go anywhere before [`Self::seal`] or [`Self::finish`] has said how much is sealed.
pub struct Sealer {
    identity: RunIdentity,
    cipher: FrameCipher,
    tags: usize,
    commitment_key: CommitmentKey,
    nonces: NonceSequence,
    /// Bytes of plaintext in the open frame.
    open: usize,
}

impl Sealer {
    /// Begins a run of the object that `key` belongs to: part number `part`, or 0 for a whole object.
    pub fn new(key: &ObjectKey, part: u16, entropy: &dyn Entropy) -> Self {
        let identity = RunIdentity::draw(key.suite(), part, entropy);
        Self {
            cipher: FrameCipher::new(&identity, key),
            tags: key.suite().tags_size(),
            commitment_key: identity.commitment_key(key),
            identity,
            nonces: NonceSequence::default(),
            open: 0,
        }
    }

    /// Bytes of a sealed frame. The last of a run may be shorter.
    pub fn frame_size(&self) -> usize {
        FRAME_SIZE + self.tags
    }

    /// Adds plaintext to the open frame, as much as it has room for; returns how much that was. `frame` is the open frame's
    /// memory, the same until it is sealed: [`Self::frame_size`] bytes, or as many as the run will have if they are fewer.
    pub fn fill(&mut self, frame: &mut [u8], plaintext: &[u8]) -> usize {
        let room = frame.len().saturating_sub(self.tags).min(FRAME_SIZE);
        let taken = room.saturating_sub(self.open).min(plaintext.len());
        frame[self.open..self.open + taken].copy_from_slice(&plaintext[..taken]);
        self.open += taken;
        taken
    }

    /// Seals the open frame, because it is full and more comes. Returns its sealed length; the next frame is open then.
    ///
    /// # Errors
    /// [`SseError::RunTooLong`], also if the frame is not full: more came than its memory was made for. The run is then lost.
    pub fn seal(&mut self, frame: &mut [u8]) -> Result<usize, SseError> {
        if self.open != FRAME_SIZE {
            return Err(SseError::RunTooLong);
        }
        let nonce = self.nonces.middle()?;
        Ok(self.seal_frame(nonce, frame))
    }

    /// Ends the run with the open frame. Returns its sealed length, and the run's header.
    pub fn finish(mut self, frame: &mut [u8]) -> (usize, RunHeader) {
        let (nonce, frames_before) = std::mem::take(&mut self.nonces).last();
        let last_len = u64::try_from(self.open).expect("a frame is 64 KiB at most");
        let plaintext_len = frames_before * FRAME_LEN + last_len;
        let sealed = self.seal_frame(nonce, frame);
        (sealed, self.identity.header(self.commitment_key.commit(plaintext_len), plaintext_len))
    }

    fn seal_frame(&mut self, nonce: FrameNonce, frame: &mut [u8]) -> usize {
        self.cipher.seal(nonce, &self.identity.aad(), frame, std::mem::take(&mut self.open))
    }
}
