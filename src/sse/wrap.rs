//! Wrapping one 256-bit key under another, locally: AES-256-GCM under a key derived for this one call.
//!
//! ```text
//! blob          = salt (32) || ciphertext (32) || tag (16)
//! wrapping key  = HKDF-SHA256(key = the wrapping party's, salt, info = purpose)
//! nonce         = 0, for the key seals once
//! AAD           = object ARN
//! ```
//! The salt makes the key fresh for each call, so there is no limit on the calls; the ARN keeps a wrapped key from being
//! moved to another object.

use crate::crypto::aead::{Aes256Gcm, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::crypto::{Entropy, Secret, Unauthentic, kdf, random};

const SALT_LEN: usize = 32;

/// Bytes of a blob.
pub(super) const WRAPPED_LEN: usize = SALT_LEN + KEY_LEN + TAG_LEN;

/// Whose key wraps: a key for one purpose opens nothing of the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A data key under a bucket key.
    Bucket,
    /// A data key under the SSE-S3 server key.
    Server,
    /// A data key under a key that a customer brings along.
    Customer,
}

/// Wraps `key` under `under`, bound to `object_arn`.
pub(super) fn wrap(
    under: &Secret<KEY_LEN>,
    purpose: Purpose,
    object_arn: &str,
    entropy: &dyn Entropy,
    key: &Secret<KEY_LEN>,
) -> [u8; WRAPPED_LEN] {
    let salt = random::bytes::<SALT_LEN>(entropy);
    let mut blob = [0; WRAPPED_LEN];
    blob[..SALT_LEN].copy_from_slice(&salt);
    let (ciphertext, tag) = blob[SALT_LEN..].split_at_mut(KEY_LEN);
    ciphertext.copy_from_slice(key.expose());
    let sealed = cipher(under, purpose, &salt).seal_in_place([0; NONCE_LEN], object_arn.as_bytes(), ciphertext);
    tag.copy_from_slice(&sealed);
    blob
}

/// The key in a blob that [`wrap`] returned.
///
/// # Errors
/// [`Unauthentic`] if the blob was altered, or wrapped under another key, for another purpose or for another object.
pub(super) fn unwrap(
    under: &Secret<KEY_LEN>,
    purpose: Purpose,
    object_arn: &str,
    blob: &[u8],
) -> Result<Secret<KEY_LEN>, Unauthentic> {
    let (salt, sealed) = blob.split_first_chunk::<SALT_LEN>().ok_or(Unauthentic)?;
    if blob.len() != WRAPPED_LEN {
        return Err(Unauthentic);
    }
    let cipher = cipher(under, purpose, salt);
    let mut opened = Ok(());
    let key = Secret::filled(|out: &mut [u8; KEY_LEN]| {
        opened = cipher.open_into([0; NONCE_LEN], object_arn.as_bytes(), sealed, out);
    });
    opened.map(|()| key)
}

fn cipher(under: &Secret<KEY_LEN>, purpose: Purpose, salt: &[u8; SALT_LEN]) -> Aes256Gcm {
    let info: &[u8] = match purpose {
        Purpose::Bucket => b"strongroom/wrap/bucket-key",
        Purpose::Server => b"strongroom/wrap/server-key",
        Purpose::Customer => b"strongroom/wrap/customer-key",
    };
    Aes256Gcm::new(&kdf::derive(under.expose(), salt, &[info]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SeededEntropy;

    #[test]
    fn a_wrapped_key_opens_only_where_it_belongs() {
        let (under, key) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let entropy = SeededEntropy::new(1);
        let blob = wrap(&under, Purpose::Server, "arn:a", &entropy, &key);
        assert_eq!(unwrap(&under, Purpose::Server, "arn:a", &blob).unwrap().expose(), key.expose());
        assert_ne!(blob, wrap(&under, Purpose::Server, "arn:a", &entropy, &key));
        assert!(unwrap(&under, Purpose::Bucket, "arn:a", &blob).is_err());
        assert!(unwrap(&under, Purpose::Server, "arn:b", &blob).is_err());
        assert!(unwrap(&key, Purpose::Server, "arn:a", &blob).is_err());
        for length in 0..WRAPPED_LEN {
            assert!(unwrap(&under, Purpose::Server, "arn:a", &blob[..length]).is_err());
        }
        for at in 0..WRAPPED_LEN {
            let mut flipped = blob;
            flipped[at] ^= 1;
            assert!(unwrap(&under, Purpose::Server, "arn:a", &flipped).is_err(), "byte {at}");
        }
    }
}
