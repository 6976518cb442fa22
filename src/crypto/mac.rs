//! HMAC (RFC 2104, FIPS 198-1) with the SHA-2 family, under keys of the digest's own length.

use aws_lc_rs::hmac;

/// A digest to key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MacHash {
    /// HMAC-SHA-224.
    Sha224,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA-512.
    Sha512,
}

/// An expanded key, zeroized by aws-lc when dropped.
pub struct MacKey(hmac::Key);

impl MacHash {
    /// Bytes of a tag, and of a key.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha224 => hmac::HMAC_SHA224,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl MacKey {
    /// Expands `key`; `None` if it has not the digest's length.
    pub fn new(hash: MacHash, key: &[u8]) -> Option<Self> {
        (key.len() == hash.length()).then(|| Self(hmac::Key::new(hash.algorithm(), key)))
    }

    /// The tag of `message`.
    pub fn tag(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, message).as_ref().to_vec()
    }

    /// Whether `tag` is that of `message`, in time that does not depend on how much of it is right.
    #[must_use]
    pub fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 keys are not of the digest's length, so the tags are held against another implementation.
    #[test]
    fn tags_agree_with_another_implementation() {
        let key = MacKey::new(MacHash::Sha256, &[0x0b; 32]).unwrap();
        assert_eq!(key.tag(b"Hi There"), super::super::digest::HmacSha256::new(&[0x0b; 32]).tag(b"Hi There"));
        for (hash, ring) in [(MacHash::Sha384, ring::hmac::HMAC_SHA384), (MacHash::Sha512, ring::hmac::HMAC_SHA512)] {
            let secret = vec![7; hash.length()];
            let expected = ring::hmac::sign(&ring::hmac::Key::new(ring, &secret), b"message");
            assert_eq!(MacKey::new(hash, &secret).unwrap().tag(b"message"), expected.as_ref());
        }
    }

    #[test]
    fn only_whole_tags_of_the_message_verify() {
        for hash in [MacHash::Sha224, MacHash::Sha256, MacHash::Sha384, MacHash::Sha512] {
            let key = MacKey::new(hash, &vec![1; hash.length()]).unwrap();
            let tag = key.tag(b"message");
            assert_eq!(tag.len(), hash.length());
            assert!(key.verifies(b"message", &tag));
            assert!(!key.verifies(b"Message", &tag));
            assert!(!key.verifies(b"message", &tag[..tag.len() - 1]));
            assert!(!key.verifies(b"message", &[]));
            assert!(MacKey::new(hash, &[1; 20]).is_none());
            assert_eq!(format!("{key:?}"), "MacKey(redacted)");
        }
    }
}
