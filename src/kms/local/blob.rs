//! The ciphertext blob: what the embedded KMS returns from wrapping and encrypting.
//!
//! ```text
//! offset  bytes
//!  0       1     version = 1
//!  1      16     key id (the UUID's bytes)
//! 17      32     key material id
//! 49      32     salt, random for each blob
//! 81       n     ciphertext
//! 81 + n  16     tag
//!
//! blob key = HKDF-SHA256(key material, salt, "strongroom/kms/blob")     nonce = 0: the key seals once
//! AAD      = bytes 0..81 || encryption context, in its canonical form
//! ```
//! The salt gives each blob a key of its own, so that there is no bound on the number of blobs under one key material
//! (the design of AWS KMS: "AWS KMS Cryptographic Details", symmetric encryption). The blob names its key by itself.

use crate::crypto::aead::{Aes256Gcm, TAG_LEN};
use crate::crypto::{Entropy, Secret, SecretBytes, Unauthentic, kdf, random};
use crate::kms::EncryptionContext;

const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + 16 + 32 + SALT_LEN;
const SALT_LEN: usize = 32;

/// The key id within a blob.
pub(super) type KeyId = [u8; 16];
/// The id of a key's material.
pub(super) type MaterialId = [u8; 32];

/// What a blob says of itself. Nothing of it is trusted until [`open`] has succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BlobHeader {
    pub key: KeyId,
    pub material: MaterialId,
}

impl BlobHeader {
    /// Reads a blob's header; `None` if it is no blob of ours.
    pub fn read(blob: &[u8]) -> Option<Self> {
        let ([VERSION], rest) = blob.split_first_chunk::<1>()? else {
            return None;
        };
        let (key, rest) = rest.split_first_chunk()?;
        let (material, rest) = rest.split_first_chunk()?;
        (rest.len() >= SALT_LEN + TAG_LEN).then_some(Self { key: *key, material: *material })
    }
}

/// Seals `plaintext` under `material`, bound to `context`.
pub(super) fn seal(
    header: BlobHeader,
    material: &Secret<32>,
    context: &EncryptionContext,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let salt = random::bytes::<SALT_LEN>(entropy);
    let mut blob = Vec::with_capacity(HEADER_LEN + plaintext.len() + TAG_LEN);
    blob.push(VERSION);
    blob.extend_from_slice(&header.key);
    blob.extend_from_slice(&header.material);
    blob.extend_from_slice(&salt);
    let aad = aad(&blob, context);
    blob.extend_from_slice(plaintext);
    let tag = cipher(material, &salt).seal_in_place([0; 12], &aad, &mut blob[HEADER_LEN..]);
    blob.extend_from_slice(&tag);
    blob
}

/// Opens a blob that [`seal`] made under `material` with the same context.
pub(super) fn open(
    blob: &[u8],
    material: &Secret<32>,
    context: &EncryptionContext,
) -> Result<SecretBytes, Unauthentic> {
    let (header, sealed) = blob.split_at_checked(HEADER_LEN).ok_or(Unauthentic)?;
    let length = sealed.len().checked_sub(TAG_LEN).ok_or(Unauthentic)?;
    let salt = header.last_chunk::<SALT_LEN>().ok_or(Unauthentic)?;
    let mut plaintext = zeroize::Zeroizing::new(vec![0; length]);
    cipher(material, salt).open_into([0; 12], &aad(header, context), sealed, &mut plaintext)?;
    Ok(SecretBytes::new(std::mem::take(&mut *plaintext)))
}

fn aad(header: &[u8], context: &EncryptionContext) -> Vec<u8> {
    [header, &context.to_aad()].concat()
}

fn cipher(material: &Secret<32>, salt: &[u8; SALT_LEN]) -> Aes256Gcm {
    Aes256Gcm::new(&kdf::derive(material.expose(), salt, &[b"strongroom/kms/blob"]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::random::SeededEntropy;

    const HEADER: BlobHeader = BlobHeader { key: [1; 16], material: [2; 32] };

    fn context() -> EncryptionContext {
        EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::b/k")
    }

    #[test]
    fn blobs_open_only_whole_and_in_their_context() {
        let (material, entropy) = (Secret::new([7; 32]), SeededEntropy::new(1));
        let blob = seal(HEADER, &material, &context(), b"data key", &entropy);
        assert_eq!(BlobHeader::read(&blob), Some(HEADER));
        assert_eq!(open(&blob, &material, &context()).unwrap().expose(), b"data key");
        assert!(open(&blob, &material, &EncryptionContext::new()).is_err());
        assert!(open(&blob, &Secret::new([8; 32]), &context()).is_err());
        for at in 0..blob.len() {
            let mut flipped = blob.clone();
            flipped[at] ^= 1;
            assert!(open(&flipped, &material, &context()).is_err(), "byte {at}");
            assert!(open(&blob[..at], &material, &context()).is_err(), "{at} bytes");
        }
        assert!(seal(HEADER, &material, &context(), &[0; 4096], &entropy).len() <= 6144);
    }

    #[test]
    fn the_format_does_not_change() {
        let blob = seal(HEADER, &Secret::new([7; 32]), &context(), b"data key", &SeededEntropy::new(1));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/kms/blob.bin");
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::write(path, &blob).unwrap();
        }
        assert_eq!(std::fs::read(path).unwrap(), blob);
    }

    /// An independent reader, written from the layout above with another library.
    #[test]
    fn ring_opens_a_blob() {
        struct Len(usize);
        impl ring::hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        let blob = seal(HEADER, &Secret::new([7; 32]), &context(), b"data key", &SeededEntropy::new(1));
        let mut key = [0; 32];
        let salt = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &blob[49..81]);
        let prk = salt.extract(&[7; 32]);
        prk.expand(&[b"strongroom/kms/blob"], Len(32)).unwrap().fill(&mut key).unwrap();
        let key = ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &key).unwrap());
        let aad = [&blob[..81], b"\0\0\0\x0aaws:s3:arn\0\0\0\x10arn:aws:s3:::b/k"].concat();
        let nonce = ring::aead::Nonce::assume_unique_for_key([0; 12]);
        let mut sealed = blob[81..].to_vec();
        assert_eq!(key.open_in_place(nonce, ring::aead::Aad::from(aad), &mut sealed).unwrap(), b"data key");
    }

    proptest! {
        #[test]
        fn garbage_is_no_blob(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), ours: bool) {
            if let Some(version) = bytes.first_mut().filter(|_| ours) {
                *version = VERSION;
            }
            let header = BlobHeader::read(&bytes);
            prop_assert_eq!(header.is_some(), bytes.len() >= HEADER_LEN + TAG_LEN && bytes[0] == VERSION);
            prop_assert!(open(&bytes, &Secret::new([7; 32]), &context()).is_err());
        }

        #[test]
        fn whatever_is_sealed_opens(plaintext in proptest::collection::vec(any::<u8>(), 0..4096), pairs: Vec<(String, String)>) {
            let (material, context) = (Secret::new([7; 32]), EncryptionContext::from_iter(pairs));
            let blob = seal(HEADER, &material, &context, &plaintext, &SeededEntropy::new(1));
            let opened = open(&blob, &material, &context).unwrap();
            prop_assert_eq!(opened.expose(), &plaintext[..]);
        }
    }
}
