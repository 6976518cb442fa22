//! The cipher of a run's frames: one layer of AES-256-GCM, or two under independent keys (DSSE-KMS).

use super::format::RunIdentity;
use super::{ObjectKey, format::FrameNonce};
use crate::crypto::Unauthentic;
use crate::crypto::aead::Aes256Gcm;

/// Seals and opens single frames.
pub(super) struct FrameCipher {
    inner: Aes256Gcm,
    outer: Option<Aes256Gcm>,
}

impl FrameCipher {
    pub fn new(identity: &RunIdentity, key: &ObjectKey) -> Self {
        Self { inner: identity.inner_cipher(key), outer: identity.outer_cipher(key) }
    }

    /// Seals the `length` bytes of plaintext that `frame` begins with, in place; the tags follow it. Returns the sealed length.
    pub fn seal(&self, nonce: FrameNonce, aad: &[u8], frame: &mut [u8], length: usize) -> usize {
        let mut sealed = length;
        for cipher in std::iter::once(&self.inner).chain(&self.outer) {
            let tag = cipher.seal_in_place(nonce.bytes(), aad, &mut frame[..sealed]);
            frame[sealed..sealed + tag.len()].copy_from_slice(&tag);
            sealed += tag.len();
        }
        sealed
    }

    /// Opens a sealed frame in place: its plaintext is what it then begins with, where the tags do not stand.
    ///
    /// # Errors
    /// [`Unauthentic`]; what is left in `frame` is then no plaintext.
    pub fn open_in_place(&self, nonce: FrameNonce, aad: &[u8], mut frame: &mut [u8]) -> Result<(), Unauthentic> {
        for cipher in self.outer.iter().chain(std::iter::once(&self.inner)) {
            frame = cipher.open_in_place(nonce.bytes(), aad, frame)?;
        }
        Ok(())
    }
}
