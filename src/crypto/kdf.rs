//! Key derivation: HKDF with SHA-256 (RFC 5869).

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use super::Secret;

/// A key of `N` bytes derived from `secret`, `salt` and `info` (at most 8 160 bytes).
pub fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 yields at most 255 blocks") };
    let pseudorandom_key = Salt::new(HKDF_SHA256, salt).extract(secret);
    Secret::filled(|out| {
        pseudorandom_key
            .expand(info, Length(N))
            .and_then(|okm| okm.fill(out))
            .expect("the length was checked at compile time");
    })
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_rfc_5869_case_1() {
        let salt = hex::decode("000102030405060708090a0b0c").unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let key: Secret<42> = derive(&[0x0b; 22], &salt, &[&info[..4], &info[4..]]);
        assert_eq!(
            hex::encode(key.expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }
}
