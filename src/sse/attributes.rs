//! Checksums of the plaintext: sealed under the object's own data key, so that nothing derived from the plaintext lies
//! in clear.
//!
//! ```text
//! blob  = version (1) || nonce (12) || ciphertext || tag (16)
//! key   = HKDF-SHA256(key = data key, salt = none, info = "strongroom/attributes" || version)
//! AAD   = 01 || part (u16) || run header (90)                                         of one run
//!       | 02 || plaintext bytes (u64) || spans (u32) || (first u16, count u16, size u64)*   of an object of parts
//! ```
//! AES-256-GCM-SIV with random nonces: a data key seals few such blobs (one for each upload of a part), and even a
//! repeated nonce would reveal no more than that two blobs are equal.

use super::format::RunHeader;
use super::{ObjectKey, SseError};
use crate::crypto::aead::Aes256GcmSiv;
use crate::crypto::{Entropy, SecretBytes, kdf, random};
use crate::store::schema::PartSpan;

const VERSION: u8 = 1;

/// What the checksums are of. They open only with the same.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// One run: an object, or one upload of a part.
    Run {
        /// The part number, 0 for a whole object.
        part: u16,
        /// The run's header, which tells it from every other.
        header: &'a RunHeader,
    },
    /// An object made of parts.
    Parts {
        /// Its plaintext bytes.
        size: u64,
        /// Its parts.
        spans: &'a [PartSpan],
    },
}

/// Seals `checksums`, in the caller's own encoding.
pub fn seal_checksums(key: &ObjectKey, entropy: &dyn Entropy, scope: Scope<'_>, checksums: &[u8]) -> Vec<u8> {
    let mut blob = vec![VERSION];
    blob.extend(cipher(key).seal(random::bytes(entropy), &aad(scope), checksums));
    blob
}

/// Opens what [`seal_checksums`] returned.
///
/// # Errors
/// [`SseError::Corrupt`] if it was altered, or is of another object, run or layout.
pub fn open_checksums(key: &ObjectKey, scope: Scope<'_>, blob: &[u8]) -> Result<SecretBytes, SseError> {
    let [VERSION, sealed @ ..] = blob else {
        return Err(SseError::corrupt("checksums: unknown version"));
    };
    cipher(key).open(&aad(scope), sealed).map_err(|_| SseError::corrupt("checksums did not authenticate"))
}

fn cipher(key: &ObjectKey) -> Aes256GcmSiv {
    Aes256GcmSiv::new(&kdf::derive(key.whole().expose(), &[], &[b"strongroom/attributes", &[VERSION]]))
}

fn aad(scope: Scope<'_>) -> Vec<u8> {
    match scope {
        Scope::Run { part, header } => [&[1], &part.to_be_bytes()[..], &header.to_bytes()].concat(),
        Scope::Parts { size, spans } => {
            let count = u32::try_from(spans.len()).expect("an object has at most 10 000 parts");
            let mut aad = [&[2], &size.to_be_bytes()[..], &count.to_be_bytes()].concat();
            for span in spans {
                aad.extend_from_slice(&span.first.to_be_bytes());
                aad.extend_from_slice(&span.count.to_be_bytes());
                aad.extend_from_slice(&span.size.to_be_bytes());
            }
            aad
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::sse::Sealer;
    use crate::sse::tests::object_key;

    #[test]
    fn checksums_open_only_where_they_belong() {
        let entropy = SeededEntropy::new(1);
        let key = object_key(1);
        let header = Sealer::new(&key, 0, &entropy).finish(&mut [0; 16]).1;
        let other = Sealer::new(&key, 0, &entropy).finish(&mut [0; 16]).1;
        let span = |first, count, size| PartSpan { first, count, size };
        let spans = [span(1, 2, 5), span(3, 1, 4)];
        let scopes = [
            Scope::Run { part: 0, header: &header },
            Scope::Run { part: 1, header: &header },
            Scope::Run { part: 0, header: &other },
            Scope::Parts { size: 14, spans: &spans },
            Scope::Parts { size: 15, spans: &spans },
            Scope::Parts { size: 14, spans: &spans[..1] },
            Scope::Parts { size: 14, spans: &[] },
        ];
        for (i, sealed_in) in scopes.into_iter().enumerate() {
            let blob = seal_checksums(&key, &entropy, sealed_in, b"crc");
            for (j, opened_in) in scopes.into_iter().enumerate() {
                let opened = open_checksums(&key, opened_in, &blob);
                assert_eq!(opened.ok().map(|c| c.expose().to_vec()), (i == j).then(|| b"crc".to_vec()));
            }
            assert!(open_checksums(&object_key(2), sealed_in, &blob).is_err());
            for at in 0..blob.len() {
                let mut flipped = blob.clone();
                flipped[at] ^= 1;
                assert!(open_checksums(&key, sealed_in, &flipped).is_err(), "byte {at}");
                assert!(open_checksums(&key, sealed_in, &blob[..at]).is_err(), "cut at {at}");
            }
        }
    }
}
