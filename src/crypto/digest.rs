//! Message digests: incremental hashers and one-shot forms.

pub use md5::Md5;
pub use sha1::Sha1;
pub use sha2::{Digest, Sha256, Sha512};

use hmac::{KeyInit, Mac};

/// SHA-256 (FIPS 180-4) of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// The hex digits of a digest.
pub fn hex_digits(digest: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    // Twice as many digits as bytes: it fits.
    let _ = hex::encode_to_slice(digest, &mut digits);
    digits
}

/// The same as text. `hex::encode` puts it together character by character, which is more than the digest of a short text costs.
pub fn hex(digest: &[u8; 32]) -> String {
    String::from_utf8_lossy(&hex_digits(digest)).into_owned()
}

/// MD5 (RFC 1321) of `data`: for `Content-MD5` and the `ETag` of SSE-S3 objects only, never for security.
pub fn md5(data: &[u8]) -> [u8; 16] {
    Md5::digest(data).into()
}

/// A keyed HMAC-SHA256 (RFC 2104), cloned for each message so that the key schedule is done once.
#[derive(Clone)]
pub struct HmacSha256(hmac::Hmac<Sha256>);

impl HmacSha256 {
    /// Keys of any length are allowed.
    pub fn new(key: &[u8]) -> Self {
        Self(<hmac::Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The tag of `message`.
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacSha256(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_rfc_4231_case_2() {
        let tag = HmacSha256::new(b"Jefe").tag(b"what do ya want for nothing?");
        assert_eq!(hex::encode(tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn md5_matches_rfc_1321() {
        assert_eq!(hex(&sha256(b"abc")), hex::encode(sha256(b"abc")));
        assert_eq!(hex::encode(md5(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
    }
}
