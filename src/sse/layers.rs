//! The cipher of a run's frames: one layer of AES-256-GCM, or two under independent keys (DSSE-KMS).

use super::format::RunIdentity;
use super::{ObjectKey, format::FrameNonce};
use crate::crypto::Unauthentic;
use crate::crypto::aead::{Aes256Gcm, TAG_LEN};

/// Seals and opens single frames.
pub(super) struct FrameCipher {
    inner: Aes256Gcm,
    outer: Option<Aes256Gcm>,
}

impl FrameCipher {
    pub fn new(identity: &RunIdentity, key: &ObjectKey) -> Self {
        Self { inner: identity.inner_cipher(key), outer: identity.outer_cipher(key) }
    }

    /// Seals the plaintext that `buffer` ends with, from `start` on, in place; the tags follow it.
    pub fn seal(&self, nonce: FrameNonce, aad: &[u8], buffer: &mut Vec<u8>, start: usize) {
        for cipher in std::iter::once(&self.inner).chain(&self.outer) {
            let tag = cipher.seal_in_place(nonce.bytes(), aad, &mut buffer[start..]);
            buffer.extend_from_slice(&tag);
        }
    }

    /// Opens a sealed frame into `out`, which is as long as its plaintext.
    ///
    /// # Errors
    /// [`Unauthentic`]; `out` then holds no plaintext that was not sealed there.
    pub fn open(&self, nonce: FrameNonce, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), Unauthentic> {
        let Some(outer) = &self.outer else {
            return self.inner.open_into(nonce.bytes(), aad, sealed, out);
        };
        let mut frame = vec![0; sealed.len().checked_sub(TAG_LEN).ok_or(Unauthentic)?];
        outer.open_into(nonce.bytes(), aad, sealed, &mut frame)?;
        self.inner.open_into(nonce.bytes(), aad, &frame, out)
    }
}
