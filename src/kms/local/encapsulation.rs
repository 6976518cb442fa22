//! What ML-KEM keys do.

use super::ciphers::pair;
use super::{LocalKms, no_material};
use crate::crypto::SecretBytes;
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, KeyArn, KeyRef, KeyUsage};

impl LocalKms {
    /// A fresh shared secret, and the ciphertext that holds it (`Encapsulate`).
    ///
    /// # Errors
    /// `InvalidKeyUsageException`, and as the key's state and policy say.
    pub fn encapsulate(&self, caller: &Caller, name: &KeyRef) -> Result<(KeyArn, Vec<u8>, SecretBytes), KmsError> {
        let key = self.usable(caller, name, "kms:Encapsulate", KeyUsage::EncapsulateDecapsulate)?;
        let failed = |error| KmsErrorKind::Internal.because("encapsulating failed", error);
        let (ciphertext, secret) = pair(&key)?.kem().ok_or_else(no_material)?.encapsulate().map_err(failed)?;
        Ok((key.arn.clone(), ciphertext, secret))
    }

    /// The shared secret in a ciphertext; of one that was not made for this key, bytes that nobody knows (`Decapsulate`).
    ///
    /// # Errors
    /// `InvalidCiphertextException` if it has not the length that the key's spec gives, and as [`Self::encapsulate`].
    pub fn decapsulate(
        &self,
        caller: &Caller,
        name: &KeyRef,
        ciphertext: &[u8],
    ) -> Result<(KeyArn, SecretBytes), KmsError> {
        let key = self.usable(caller, name, "kms:Decapsulate", KeyUsage::EncapsulateDecapsulate)?;
        let opened = pair(&key)?.kem().ok_or_else(no_material)?.decapsulate(ciphertext);
        let secret = opened.map_err(|_| KmsErrorKind::InvalidCiphertext.with(""))?;
        Ok((key.arn.clone(), secret))
    }
}
