//! Sealing a run: plaintext in, frames out, one copy.

use super::format::{CommitmentKey, FRAME_LEN, FRAME_SIZE, FrameNonce, NonceSequence, RunHeader, RunIdentity};
use super::layers::FrameCipher;
use super::{ObjectKey, SseError};
use crate::crypto::Entropy;

/// Seals one run: an object, or one upload of one part. Every sealer has a salt of its own, so that no two runs share a
/// key, whatever their data key and part.
///
/// Plaintext is copied once, into the buffer where it is then encrypted; only encrypted bytes can be taken out. The
/// latest frame is held back, for it may turn out to be the last. The buffer grows with what is pushed: take
/// [`Self::sealed`] away and [`Self::discard_sealed`] often enough to bound it.
pub struct Sealer {
    identity: RunIdentity,
    cipher: FrameCipher,
    tags: usize,
    commitment_key: CommitmentKey,
    nonces: NonceSequence,
    /// Sealed frames, then the plaintext of the open frame.
    buffer: Vec<u8>,
    /// Where in the buffer the open frame begins.
    open_frame: usize,
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
            buffer: Vec::new(),
            open_frame: 0,
        }
    }

    /// Adds plaintext to the end.
    ///
    /// # Errors
    /// [`SseError::RunTooLong`]; the run is then lost.
    pub fn push(&mut self, mut plaintext: &[u8]) -> Result<(), SseError> {
        self.buffer.reserve(plaintext.len() + (plaintext.len() / FRAME_SIZE + 2) * self.tags);
        while !plaintext.is_empty() {
            let room = FRAME_SIZE - (self.buffer.len() - self.open_frame);
            if room == 0 {
                let nonce = self.nonces.middle()?;
                self.seal_frame(nonce);
                continue;
            }
            let (now, later) = plaintext.split_at(room.min(plaintext.len()));
            self.buffer.extend_from_slice(now);
            plaintext = later;
        }
        Ok(())
    }

    /// The sealed frames that have not been discarded yet.
    pub fn sealed(&self) -> &[u8] {
        &self.buffer[..self.open_frame]
    }

    /// Forgets [`Self::sealed`], which the caller has put away.
    pub fn discard_sealed(&mut self) {
        self.buffer.drain(..self.open_frame);
        self.open_frame = 0;
    }

    /// Ends the run: what is left of it, to follow all that was discarded, and its header.
    pub fn finish(mut self) -> (Vec<u8>, RunHeader) {
        let (nonce, frames_before) = std::mem::take(&mut self.nonces).last();
        let last_len = self.buffer.len() - self.open_frame;
        let plaintext_len = frames_before * FRAME_LEN + u64::try_from(last_len).expect("a frame is 64 KiB at most");
        self.seal_frame(nonce);
        let header = self.identity.header(self.commitment_key.commit(plaintext_len), plaintext_len);
        (self.buffer, header)
    }

    fn seal_frame(&mut self, nonce: FrameNonce) {
        self.cipher.seal(nonce, &self.identity.aad(), &mut self.buffer, self.open_frame);
        self.open_frame = self.buffer.len();
    }
}
