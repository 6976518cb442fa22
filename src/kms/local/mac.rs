//! What HMAC keys do.

use super::material::MaterialSecret;
use super::{LocalKms, incompatible, no_material};
use crate::crypto::mac::MacKey;
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::spec::MacAlgorithm;
use crate::kms::{Caller, KeyArn, KeyRef, KeyUsage};

impl LocalKms {
    /// The tag of `message` under an HMAC key (`GenerateMac`).
    ///
    /// # Errors
    /// `InvalidKeyUsageException`, and as the key's state and policy say.
    pub fn generate_mac(
        &self,
        caller: &Caller,
        name: &KeyRef,
        algorithm: MacAlgorithm,
        message: &[u8],
    ) -> Result<(KeyArn, Vec<u8>), KmsError> {
        self.with_mac_key(caller, name, algorithm, "kms:GenerateMac", |key| key.tag(message))
    }

    /// Verifies the tag of `message` (`VerifyMac`).
    ///
    /// # Errors
    /// `KMSInvalidMacException`, and as [`Self::generate_mac`].
    pub fn verify_mac(
        &self,
        caller: &Caller,
        name: &KeyRef,
        algorithm: MacAlgorithm,
        message: &[u8],
        tag: &[u8],
    ) -> Result<KeyArn, KmsError> {
        let verify = |key: &MacKey| key.verifies(message, tag);
        match self.with_mac_key(caller, name, algorithm, "kms:VerifyMac", verify)? {
            (arn, true) => Ok(arn),
            (_, false) => Err(KmsErrorKind::InvalidMac.with("")),
        }
    }

    fn with_mac_key<T>(
        &self,
        caller: &Caller,
        name: &KeyRef,
        algorithm: MacAlgorithm,
        action: &'static str,
        work: impl FnOnce(&MacKey) -> T,
    ) -> Result<(KeyArn, T), KmsError> {
        let key = self.usable(caller, name, action, KeyUsage::GenerateVerifyMac)?;
        if !key.spec.mac_algorithms().contains(&algorithm) {
            return Err(incompatible(&key, algorithm.as_str()));
        }
        match key.current().and_then(|material| material.secret.as_ref()) {
            Some(MaterialSecret::Mac(mac)) => Ok((key.arn.clone(), work(mac))),
            _ => Err(no_material()),
        }
    }
}
