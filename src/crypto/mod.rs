//! Cryptographic primitives: the only module that names aws-lc-rs, and ring beside it (see [`provider`]).
//!
//! Everything above speaks in the types of this module, so that the provider (or its FIPS build) can change in one
//! place, and so that secrets have one home: [`Secret`] zeroizes on drop and shows nothing in `Debug`.

pub mod aead;
pub mod digest;
pub mod kdf;
pub mod mac;
pub mod pair;
pub mod password;
pub mod provider;
pub mod random;
pub mod secret;

pub use random::{Entropy, SharedEntropy, SystemEntropy};
pub use secret::{Secret, SecretBytes};

/// The data did not authenticate: it was altered, or the key, nonce or associated data is not the one it was sealed with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the data did not authenticate")]
pub struct Unauthentic;

/// Compares two byte strings in time that depends on their lengths alone.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
