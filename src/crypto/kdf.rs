//! Key derivation: HKDF with SHA-256 (RFC 5869).

use hkdf::Hkdf;
use zeroize::Zeroize as _;

use super::Secret;
use super::digest::Sha256;

/// A key of `N` bytes derived from `secret`, `salt` and `info` (at most 8 160 bytes).
///
/// AWS-LC's HKDF sets up a context of its own for every one of its HMACs; this takes a third of its instructions.
pub fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 yields at most 255 blocks") };
    let (mut pseudorandom_key, expansion) = Hkdf::<Sha256>::extract(Some(salt), secret);
    pseudorandom_key.as_mut_slice().zeroize();
    Secret::filled(|out| {
        expansion.expand_multi_info(info, out).expect("the length was checked at compile time");
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
    use proptest::prelude::*;

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

    struct Length;

    impl KeyType for Length {
        fn len(&self) -> usize {
            80
        }
    }

    proptest! {
        #[test]
        fn agrees_with_aws_lc(secret: Vec<u8>, salt: Vec<u8>, info: Vec<Vec<u8>>) {
            let info: Vec<&[u8]> = info.iter().map(Vec::as_slice).collect();
            let mut expected = [0; 80];
            let extracted = Salt::new(HKDF_SHA256, &salt).extract(&secret);
            extracted.expand(&info, Length).unwrap().fill(&mut expected).unwrap();
            let derived = derive::<80>(&secret, &salt, &info);
            prop_assert_eq!(derived.expose(), &expected);
        }
    }
}
