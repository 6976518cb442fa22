//! What kinds of key there are, what each is for, and by which algorithms. (AWS: API reference, CreateKey, "KeySpec" and
//! "KeyUsage".)
//!
//! The names are AWS's. What is missing here cannot be done with aws-lc: SM2.

use crate::crypto::mac::MacHash;
use crate::crypto::pair::kem::MlKemSet;
use crate::crypto::pair::oaep::OaepHash;
use crate::crypto::pair::{Curve, Hash, MlDsaSet, PairKind, RsaSize, Scheme};

/// A closed set of AWS's names.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$variant_meta:meta])* $variant:ident $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
        pub enum $type {
            $(
                #[doc = concat!("`", $name, "`.")]
                $(#[$variant_meta])*
                $variant,
            )+
        }

        impl $type {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// AWS's name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The one that AWS calls `name`.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }
    };
}

named! {
    /// The kind of a key's material.
    KeySpec {
        #[default]
        SymmetricDefault "SYMMETRIC_DEFAULT",
        Hmac224 "HMAC_224",
        Hmac256 "HMAC_256",
        Hmac384 "HMAC_384",
        Hmac512 "HMAC_512",
        Rsa2048 "RSA_2048",
        Rsa3072 "RSA_3072",
        Rsa4096 "RSA_4096",
        EccNistP256 "ECC_NIST_P256",
        EccNistP384 "ECC_NIST_P384",
        EccNistP521 "ECC_NIST_P521",
        EccSecgP256K1 "ECC_SECG_P256K1",
        EccNistEdwards25519 "ECC_NIST_EDWARDS25519",
        MlDsa44 "ML_DSA_44",
        MlDsa65 "ML_DSA_65",
        MlDsa87 "ML_DSA_87",
        MlKem512 "ML_KEM_512",
        MlKem768 "ML_KEM_768",
        MlKem1024 "ML_KEM_1024",
    }
}

named! {
    /// What a key is for.
    KeyUsage {
        #[default]
        EncryptDecrypt "ENCRYPT_DECRYPT",
        SignVerify "SIGN_VERIFY",
        GenerateVerifyMac "GENERATE_VERIFY_MAC",
        KeyAgreement "KEY_AGREEMENT",
        EncapsulateDecapsulate "ENCAPSULATE_DECAPSULATE",
    }
}

named! {
    /// How Encrypt encrypts.
    EncryptionAlgorithm {
        #[default]
        SymmetricDefault "SYMMETRIC_DEFAULT",
        RsaesOaepSha1 "RSAES_OAEP_SHA_1",
        RsaesOaepSha256 "RSAES_OAEP_SHA_256",
    }
}

named! {
    /// How GenerateMac authenticates.
    MacAlgorithm {
        HmacSha224 "HMAC_SHA_224",
        #[default]
        HmacSha256 "HMAC_SHA_256",
        HmacSha384 "HMAC_SHA_384",
        HmacSha512 "HMAC_SHA_512",
    }
}

named! {
    /// How Sign signs.
    SigningAlgorithm {
        #[default]
        RsassaPssSha256 "RSASSA_PSS_SHA_256",
        RsassaPssSha384 "RSASSA_PSS_SHA_384",
        RsassaPssSha512 "RSASSA_PSS_SHA_512",
        RsassaPkcs1V15Sha256 "RSASSA_PKCS1_V1_5_SHA_256",
        RsassaPkcs1V15Sha384 "RSASSA_PKCS1_V1_5_SHA_384",
        RsassaPkcs1V15Sha512 "RSASSA_PKCS1_V1_5_SHA_512",
        EcdsaSha256 "ECDSA_SHA_256",
        EcdsaSha384 "ECDSA_SHA_384",
        EcdsaSha512 "ECDSA_SHA_512",
        MlDsaShake256 "ML_DSA_SHAKE_256",
        Ed25519Sha512 "ED25519_SHA_512",
        Ed25519PhSha512 "ED25519_PH_SHA_512",
    }
}

named! {
    /// What a grant may allow.
    GrantOperation {
        #[default]
        Decrypt "Decrypt",
        Encrypt "Encrypt",
        GenerateDataKey "GenerateDataKey",
        GenerateDataKeyWithoutPlaintext "GenerateDataKeyWithoutPlaintext",
        ReEncryptFrom "ReEncryptFrom",
        ReEncryptTo "ReEncryptTo",
        Sign "Sign",
        Verify "Verify",
        GetPublicKey "GetPublicKey",
        CreateGrant "CreateGrant",
        RetireGrant "RetireGrant",
        DescribeKey "DescribeKey",
        GenerateDataKeyPair "GenerateDataKeyPair",
        GenerateDataKeyPairWithoutPlaintext "GenerateDataKeyPairWithoutPlaintext",
        GenerateMac "GenerateMac",
        VerifyMac "VerifyMac",
        DeriveSharedSecret "DeriveSharedSecret",
        Encapsulate "Encapsulate",
        Decapsulate "Decapsulate",
    }
}

/// The bytes that are stored for the members of such a set. They never change.
macro_rules! stored {
    ($type:ident { $($variant:ident = $byte:literal),+ $(,)? }) => {
        impl $type {
            pub(in crate::kms) const fn to_byte(self) -> u8 {
                match self {
                    $(Self::$variant => $byte,)+
                }
            }

            pub(in crate::kms) const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

stored! {
    KeySpec {
        SymmetricDefault = 0,
        Hmac224 = 1,
        Hmac256 = 2,
        Hmac384 = 3,
        Hmac512 = 4,
        Rsa2048 = 5,
        Rsa3072 = 6,
        Rsa4096 = 7,
        EccNistP256 = 8,
        EccNistP384 = 9,
        EccNistP521 = 10,
        EccSecgP256K1 = 11,
        EccNistEdwards25519 = 12,
        MlDsa44 = 13,
        MlDsa65 = 14,
        MlDsa87 = 15,
        MlKem512 = 16,
        MlKem768 = 17,
        MlKem1024 = 18,
    }
}

stored! {
    KeyUsage {
        EncryptDecrypt = 0,
        SignVerify = 1,
        GenerateVerifyMac = 2,
        KeyAgreement = 3,
        EncapsulateDecapsulate = 4,
    }
}

/// What a key's material is, for the cryptography.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MaterialKind {
    /// 256 bits, for AES.
    Symmetric,
    /// For HMAC.
    Mac(MacHash),
    /// A private key.
    Pair(PairKind),
}

impl KeySpec {
    /// What its material is.
    pub const fn material(self) -> MaterialKind {
        match self {
            Self::SymmetricDefault => MaterialKind::Symmetric,
            Self::Hmac224 => MaterialKind::Mac(MacHash::Sha224),
            Self::Hmac256 => MaterialKind::Mac(MacHash::Sha256),
            Self::Hmac384 => MaterialKind::Mac(MacHash::Sha384),
            Self::Hmac512 => MaterialKind::Mac(MacHash::Sha512),
            Self::Rsa2048 => MaterialKind::Pair(PairKind::Rsa(RsaSize::Bits2048)),
            Self::Rsa3072 => MaterialKind::Pair(PairKind::Rsa(RsaSize::Bits3072)),
            Self::Rsa4096 => MaterialKind::Pair(PairKind::Rsa(RsaSize::Bits4096)),
            Self::EccNistP256 => MaterialKind::Pair(PairKind::Ec(Curve::P256)),
            Self::EccNistP384 => MaterialKind::Pair(PairKind::Ec(Curve::P384)),
            Self::EccNistP521 => MaterialKind::Pair(PairKind::Ec(Curve::P521)),
            Self::EccSecgP256K1 => MaterialKind::Pair(PairKind::Ec(Curve::K256)),
            Self::EccNistEdwards25519 => MaterialKind::Pair(PairKind::Ed25519),
            Self::MlDsa44 => MaterialKind::Pair(PairKind::MlDsa(MlDsaSet::Set44)),
            Self::MlDsa65 => MaterialKind::Pair(PairKind::MlDsa(MlDsaSet::Set65)),
            Self::MlDsa87 => MaterialKind::Pair(PairKind::MlDsa(MlDsaSet::Set87)),
            Self::MlKem512 => MaterialKind::Pair(PairKind::MlKem(MlKemSet::Set512)),
            Self::MlKem768 => MaterialKind::Pair(PairKind::MlKem(MlKemSet::Set768)),
            Self::MlKem1024 => MaterialKind::Pair(PairKind::MlKem(MlKemSet::Set1024)),
        }
    }

    /// What its keys may be for. (AWS: developer guide, "Key spec reference".)
    pub const fn usages(self) -> &'static [KeyUsage] {
        match self.material() {
            MaterialKind::Symmetric => &[KeyUsage::EncryptDecrypt],
            MaterialKind::Mac(_) => &[KeyUsage::GenerateVerifyMac],
            MaterialKind::Pair(PairKind::Rsa(_)) => &[KeyUsage::EncryptDecrypt, KeyUsage::SignVerify],
            MaterialKind::Pair(PairKind::Ec(Curve::P256 | Curve::P384 | Curve::P521)) => {
                &[KeyUsage::SignVerify, KeyUsage::KeyAgreement]
            }
            MaterialKind::Pair(PairKind::Ec(Curve::K256) | PairKind::Ed25519 | PairKind::MlDsa(_)) => {
                &[KeyUsage::SignVerify]
            }
            MaterialKind::Pair(PairKind::MlKem(_)) => &[KeyUsage::EncapsulateDecapsulate],
        }
    }

    /// How its keys encrypt, if that is what they are for.
    pub const fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        match self.material() {
            MaterialKind::Symmetric => &[EncryptionAlgorithm::SymmetricDefault],
            MaterialKind::Pair(PairKind::Rsa(_)) => {
                &[EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256]
            }
            MaterialKind::Mac(_) | MaterialKind::Pair(_) => &[],
        }
    }

    /// How its keys authenticate, if that is what they are for.
    pub const fn mac_algorithms(self) -> &'static [MacAlgorithm] {
        match self.material() {
            MaterialKind::Mac(MacHash::Sha224) => &[MacAlgorithm::HmacSha224],
            MaterialKind::Mac(MacHash::Sha256) => &[MacAlgorithm::HmacSha256],
            MaterialKind::Mac(MacHash::Sha384) => &[MacAlgorithm::HmacSha384],
            MaterialKind::Mac(MacHash::Sha512) => &[MacAlgorithm::HmacSha512],
            MaterialKind::Symmetric | MaterialKind::Pair(_) => &[],
        }
    }

    /// How its keys sign, if that is what they are for.
    pub const fn signing_algorithms(self) -> &'static [SigningAlgorithm] {
        use SigningAlgorithm as S;
        match self.material() {
            MaterialKind::Pair(PairKind::Rsa(_)) => &[
                S::RsassaPkcs1V15Sha256,
                S::RsassaPkcs1V15Sha384,
                S::RsassaPkcs1V15Sha512,
                S::RsassaPssSha256,
                S::RsassaPssSha384,
                S::RsassaPssSha512,
            ],
            MaterialKind::Pair(PairKind::Ec(curve)) => match curve.hash() {
                Hash::Sha256 => &[S::EcdsaSha256],
                Hash::Sha384 => &[S::EcdsaSha384],
                Hash::Sha512 => &[S::EcdsaSha512],
            },
            MaterialKind::Pair(PairKind::Ed25519) => &[S::Ed25519Sha512, S::Ed25519PhSha512],
            MaterialKind::Pair(PairKind::MlDsa(_)) => &[S::MlDsaShake256],
            MaterialKind::Pair(PairKind::MlKem(_)) | MaterialKind::Symmetric | MaterialKind::Mac(_) => &[],
        }
    }

    /// Whether its keys are pairs.
    pub const fn is_asymmetric(self) -> bool {
        matches!(self.material(), MaterialKind::Pair(_))
    }
}

impl SigningAlgorithm {
    /// The scheme behind the name.
    pub const fn scheme(self) -> Scheme {
        match self {
            Self::RsassaPssSha256 => Scheme::RsaPss(Hash::Sha256),
            Self::RsassaPssSha384 => Scheme::RsaPss(Hash::Sha384),
            Self::RsassaPssSha512 => Scheme::RsaPss(Hash::Sha512),
            Self::RsassaPkcs1V15Sha256 => Scheme::RsaPkcs1(Hash::Sha256),
            Self::RsassaPkcs1V15Sha384 => Scheme::RsaPkcs1(Hash::Sha384),
            Self::RsassaPkcs1V15Sha512 => Scheme::RsaPkcs1(Hash::Sha512),
            Self::EcdsaSha256 => Scheme::Ecdsa(Hash::Sha256),
            Self::EcdsaSha384 => Scheme::Ecdsa(Hash::Sha384),
            Self::EcdsaSha512 => Scheme::Ecdsa(Hash::Sha512),
            Self::MlDsaShake256 => Scheme::MlDsa,
            Self::Ed25519Sha512 => Scheme::Ed25519,
            Self::Ed25519PhSha512 => Scheme::Ed25519ph,
        }
    }
}

impl GrantOperation {
    /// Whether keys of that spec and usage do this. (AWS: developer guide, "Grant operations".)
    pub const fn suits(self, spec: KeySpec, usage: KeyUsage) -> bool {
        match self {
            Self::CreateGrant | Self::RetireGrant | Self::DescribeKey => true,
            Self::GetPublicKey => spec.is_asymmetric(),
            Self::Encrypt | Self::Decrypt | Self::ReEncryptFrom | Self::ReEncryptTo => {
                matches!(usage, KeyUsage::EncryptDecrypt)
            }
            Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext => matches!(spec, KeySpec::SymmetricDefault),
            Self::Sign | Self::Verify => matches!(usage, KeyUsage::SignVerify),
            Self::GenerateMac | Self::VerifyMac => matches!(usage, KeyUsage::GenerateVerifyMac),
            Self::DeriveSharedSecret => matches!(usage, KeyUsage::KeyAgreement),
            Self::Encapsulate | Self::Decapsulate => matches!(usage, KeyUsage::EncapsulateDecapsulate),
        }
    }
}

impl EncryptionAlgorithm {
    /// The padding's digest, of RSA algorithms.
    pub const fn oaep(self) -> Option<OaepHash> {
        match self {
            Self::SymmetricDefault => None,
            Self::RsaesOaepSha1 => Some(OaepHash::Sha1),
            Self::RsaesOaepSha256 => Some(OaepHash::Sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usage_has_an_algorithm() {
        for &spec in KeySpec::ALL {
            assert_eq!(KeySpec::parse(spec.as_str()), Some(spec));
            assert_eq!(KeySpec::from_byte(spec.to_byte()), Some(spec));
            assert!(!spec.usages().is_empty());
            for usage in spec.usages() {
                let offered = match usage {
                    KeyUsage::EncryptDecrypt => !spec.encryption_algorithms().is_empty(),
                    KeyUsage::SignVerify => !spec.signing_algorithms().is_empty(),
                    KeyUsage::GenerateVerifyMac => spec.mac_algorithms().len() == 1,
                    KeyUsage::KeyAgreement | KeyUsage::EncapsulateDecapsulate => spec.is_asymmetric(),
                };
                assert!(offered, "{spec:?} {usage:?}");
            }
        }
        assert_eq!(KeySpec::parse("SM2"), None);
    }

    #[test]
    fn stored_bytes_are_unique() {
        let bytes: std::collections::HashSet<u8> = KeySpec::ALL.iter().map(|spec| spec.to_byte()).collect();
        assert_eq!(bytes.len(), KeySpec::ALL.len());
        assert_eq!((KeySpec::default().to_byte(), KeyUsage::default().to_byte()), (0, 0));
    }
}
