//! Key pairs: RSA (PKCS #1), ECDSA and ECDH on the NIST curves, ECDSA on secp256k1, Ed25519 (RFC 8032), ML-DSA (FIPS 204)
//! and ML-KEM (FIPS 203). Private keys travel as PKCS #8, public ones as SubjectPublicKeyInfo (RFC 5280), both DER.
//!
//! Pairs are made by aws-lc's own generator: its API takes no other source of randomness. It cleanses what it frees.

mod ffi;
pub mod kem;
pub mod oaep;

use aws_lc_rs::agreement;
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair, PqdsaSigningAlgorithm,
    RsaKeyPair, RsaSignatureEncoding, UnparsedPublicKey, VerificationAlgorithm,
};

use self::ffi::NativeKey;
use self::kem::{KemKey, MlKemSet};
use self::oaep::OaepKey;
use super::SecretBytes;

/// What kind of pair it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PairKind {
    /// RSA with a public exponent of 65 537.
    Rsa(RsaSize),
    /// An elliptic curve's.
    Ec(Curve),
    /// Ed25519.
    Ed25519,
    /// ML-DSA.
    MlDsa(MlDsaSet),
    /// ML-KEM. Its private key is the decapsulation key of FIPS 203, and PKCS #8 only where it is somebody else's.
    MlKem(MlKemSet),
}

/// Bits of an RSA modulus.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RsaSize {
    /// 2 048.
    Bits2048,
    /// 3 072.
    Bits3072,
    /// 4 096.
    Bits4096,
}

/// An elliptic curve.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// SEC secp256k1.
    K256,
}

/// An ML-DSA parameter set.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MlDsaSet {
    /// ML-DSA-44.
    Set44,
    /// ML-DSA-65.
    Set65,
    /// ML-DSA-87.
    Set87,
}

/// What a pair is opened for: one thing, as NIST SP 800-57 asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To sign and verify.
    Sign,
    /// To encrypt and decrypt (RSA alone).
    Encrypt,
    /// To agree on secrets (NIST curves alone).
    Agree,
    /// To encapsulate secrets (ML-KEM alone).
    Encapsulate,
}

/// A digest that signatures are made over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a signature is made. ECDSA signatures are DER (ANSI X9.62), PSS salts as long as the digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// RSASSA-PSS.
    RsaPss(Hash),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// Ed25519, not prehashed.
    Ed25519,
    /// Ed25519ph, with an empty context.
    Ed25519ph,
    /// ML-DSA, pure, with an empty context.
    MlDsa,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub enum Message<'m> {
    /// The message itself.
    Raw(&'m [u8]),
    /// Its digest, made by whoever asks.
    Digest(&'m [u8]),
    /// Of ML-DSA, its representative mu, made by whoever asks from the message and the public key (FIPS 204, section 6.2).
    Mu(&'m [u8]),
}

/// Why a pair does not do as asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PairError {
    /// The bytes are no key of that kind.
    #[error("not a key of the kind expected")]
    Malformed,
    /// Keys of this kind are not for that, or not by that scheme.
    #[error("the key is not for this")]
    Unsuited,
    /// The digest has not its algorithm's length.
    #[error("the digest has the wrong length")]
    DigestLength,
    /// The signature is not the message's.
    #[error("the signature is not valid")]
    BadSignature,
    /// The operation failed: a ciphertext does not open, a public key is not on the curve.
    #[error("the operation failed")]
    Failed,
}

/// An opened pair.
pub struct KeyPair {
    kind: PairKind,
    opened: Opened,
    public: Vec<u8>,
}

enum Opened {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair, NativeKey),
    MlDsa(PqdsaKeyPair, NativeKey),
    Oaep(OaepKey),
    Ecdh(agreement::PrivateKey),
    Kem(KemKey),
}

impl PairKind {
    /// A fresh private key, as PKCS #8. RSA takes up to seconds: not for an async thread.
    ///
    /// # Errors
    /// [`PairError::Failed`] if aws-lc fails.
    pub fn generate(self) -> Result<SecretBytes, PairError> {
        let failed = |_| PairError::Failed;
        let pkcs8 = match self {
            Self::Rsa(size) => {
                let pair = RsaKeyPair::generate(size.key_size()).map_err(failed)?;
                return pair.as_der().map(|der| SecretBytes::new(der.as_ref().to_vec())).map_err(failed);
            }
            Self::Ec(curve) => EcdsaKeyPair::generate(curve.signing()).and_then(|pair| pair.to_pkcs8v1()),
            Self::Ed25519 => Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()),
            Self::MlDsa(set) => PqdsaKeyPair::generate(set.signing()).and_then(|pair| pair.to_pkcs8v1()),
            Self::MlKem(set) => return set.generate(),
        };
        pkcs8.map(|document| SecretBytes::new(document.as_ref().to_vec())).map_err(failed)
    }

    /// A fresh pair for somebody else: the private key as PKCS #8, and the public key's SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_pair(self) -> Result<(SecretBytes, Vec<u8>), PairError> {
        if let Self::MlKem(set) = self {
            return set.generate_pair();
        }
        let private = self.generate()?;
        let public = KeyPair::open(self, Purpose::Sign, private.expose())?.public().to_vec();
        Ok((private, public))
    }
}

impl KeyPair {
    /// Opens a private key for `purpose`.
    ///
    /// # Errors
    /// [`PairError::Malformed`], [`PairError::Unsuited`].
    pub fn open(kind: PairKind, purpose: Purpose, pkcs8: &[u8]) -> Result<Self, PairError> {
        let malformed = |_| PairError::Malformed;
        let opened = match (kind, purpose) {
            (PairKind::Rsa(size), Purpose::Sign) => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(malformed)?;
                if pair.public_modulus_len() != size.bytes() {
                    return Err(PairError::Malformed);
                }
                Opened::Rsa(pair)
            }
            (PairKind::Rsa(size), Purpose::Encrypt) => Opened::Oaep(OaepKey::open(size, pkcs8)?),
            (PairKind::Ec(curve), Purpose::Sign) => {
                Opened::Ecdsa(EcdsaKeyPair::from_pkcs8(curve.signing(), pkcs8).map_err(malformed)?)
            }
            (PairKind::Ec(curve), Purpose::Agree) => {
                let algorithm = curve.agreement().ok_or(PairError::Unsuited)?;
                Opened::Ecdh(agreement::PrivateKey::from_private_key_der(algorithm, pkcs8).map_err(malformed)?)
            }
            (PairKind::Ed25519, Purpose::Sign) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(malformed)?;
                Opened::Ed25519(pair, NativeKey::parse(pkcs8)?)
            }
            (PairKind::MlDsa(set), Purpose::Sign) => {
                let pair = PqdsaKeyPair::from_pkcs8(set.signing(), pkcs8).map_err(malformed)?;
                Opened::MlDsa(pair, NativeKey::parse(pkcs8)?)
            }
            (PairKind::MlKem(set), Purpose::Encapsulate) => Opened::Kem(KemKey::open(set, pkcs8)?),
            (PairKind::Rsa(_), Purpose::Agree | Purpose::Encapsulate)
            | (PairKind::Ec(_), Purpose::Encrypt | Purpose::Encapsulate)
            | (PairKind::Ed25519 | PairKind::MlDsa(_), Purpose::Encrypt | Purpose::Agree | Purpose::Encapsulate)
            | (PairKind::MlKem(_), Purpose::Sign | Purpose::Encrypt | Purpose::Agree) => {
                return Err(PairError::Unsuited);
            }
        };
        let public = opened.public_der()?;
        Ok(Self { kind, opened, public })
    }

    /// The public key's SubjectPublicKeyInfo.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// [`PairError::Unsuited`], [`PairError::DigestLength`], [`PairError::Failed`].
    pub fn sign(&self, scheme: Scheme, message: Message<'_>) -> Result<Vec<u8>, PairError> {
        let failed = |_| PairError::Failed;
        match (&self.opened, scheme) {
            (Opened::Rsa(pair), Scheme::RsaPss(hash) | Scheme::RsaPkcs1(hash)) => {
                let encoding = rsa_encoding(scheme).ok_or(PairError::Unsuited)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                match message {
                    Message::Raw(message) => pair.sign(encoding, &SystemRandom::new(), message, &mut signature),
                    Message::Digest(digest) => pair.sign_digest(encoding, &import(hash, digest)?, &mut signature),
                    Message::Mu(_) => return Err(PairError::Unsuited),
                }
                .map_err(failed)?;
                Ok(signature)
            }
            (Opened::Ecdsa(pair), Scheme::Ecdsa(hash)) if self.curve_hash() == Some(hash) => {
                let signature = match message {
                    Message::Raw(message) => pair.sign(&SystemRandom::new(), message),
                    Message::Digest(digest) => pair.sign_digest(&import(hash, digest)?),
                    Message::Mu(_) => return Err(PairError::Unsuited),
                };
                signature.map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
            (Opened::Ed25519(pair, _), Scheme::Ed25519) => {
                pair.try_sign(raw(message)?).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
            (Opened::Ed25519(pair, native), Scheme::Ed25519ph) => {
                ffi::ed25519ph_sign(native, pair.public_key().as_ref(), &sha512(message)?)
            }
            (Opened::MlDsa(pair, native), Scheme::MlDsa) => {
                if let Message::Mu(mu) = message {
                    return native.sign_mu(exactly_64(mu)?, pair.algorithm().signature_len());
                }
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(raw(message)?, &mut signature).map_err(failed)?;
                signature.truncate(length);
                Ok(signature)
            }
            _ => Err(PairError::Unsuited),
        }
    }

    /// Verifies a signature of `message`.
    ///
    /// # Errors
    /// [`PairError::BadSignature`], [`PairError::Unsuited`], [`PairError::DigestLength`].
    pub fn verify(&self, scheme: Scheme, message: Message<'_>, signature: &[u8]) -> Result<(), PairError> {
        let verified = match (&self.opened, scheme) {
            (Opened::Rsa(_), Scheme::RsaPss(hash) | Scheme::RsaPkcs1(hash)) => {
                let key = UnparsedPublicKey::new(rsa_verification(scheme).ok_or(PairError::Unsuited)?, &self.public);
                verify(&key, hash, message, signature)?
            }
            (Opened::Ecdsa(pair), Scheme::Ecdsa(hash)) if self.curve_hash() == Some(hash) => {
                // The signing algorithm derefs to the one that verifies.
                let algorithm: &'static signature::EcdsaVerificationAlgorithm = pair.algorithm();
                verify(&UnparsedPublicKey::new(algorithm, &self.public), hash, message, signature)?
            }
            (Opened::Ed25519(pair, _), Scheme::Ed25519ph) => {
                return ffi::ed25519ph_verify(pair.public_key().as_ref(), &sha512(message)?, signature);
            }
            (Opened::Ed25519(pair, _), Scheme::Ed25519) => {
                UnparsedPublicKey::new(&signature::ED25519, pair.public_key()).verify(raw(message)?, signature)
            }
            (Opened::MlDsa(_, native), Scheme::MlDsa) => {
                if let Message::Mu(mu) = message {
                    return native.verify_mu(exactly_64(mu)?, signature);
                }
                let PairKind::MlDsa(set) = self.kind else { return Err(PairError::Unsuited) };
                UnparsedPublicKey::new(set.verification(), &self.public).verify(raw(message)?, signature)
            }
            _ => return Err(PairError::Unsuited),
        };
        verified.map_err(|_| PairError::BadSignature)
    }

    /// The key that encrypts and decrypts, if the pair was opened for that.
    pub fn oaep(&self) -> Option<&OaepKey> {
        if let Opened::Oaep(key) = &self.opened { Some(key) } else { None }
    }

    /// The key that encapsulates and decapsulates, if the pair was opened for that.
    pub fn kem(&self) -> Option<&KemKey> {
        if let Opened::Kem(key) = &self.opened { Some(key) } else { None }
    }

    /// The secret shared with the holder of `peer`, a SubjectPublicKeyInfo: the x coordinate (NIST SP 800-56A, ECC CDH).
    ///
    /// # Errors
    /// [`PairError::Unsuited`]; [`PairError::Failed`] if `peer` is no public key of the same curve.
    pub fn agree(&self, peer: &[u8]) -> Result<SecretBytes, PairError> {
        let Opened::Ecdh(key) = &self.opened else { return Err(PairError::Unsuited) };
        let peer = agreement::UnparsedPublicKey::new(key.algorithm(), peer);
        agreement::agree(key, peer, PairError::Failed, |secret| Ok(SecretBytes::new(secret.to_vec())))
    }

    fn curve_hash(&self) -> Option<Hash> {
        if let PairKind::Ec(curve) = self.kind { Some(curve.hash()) } else { None }
    }
}

/// The public half of an Ed25519 pair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ed25519Public([u8; 32]);

/// What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410, section 4).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl Ed25519Public {
    /// The key in a SubjectPublicKeyInfo; `None` if it is no Ed25519 key's.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        der.strip_prefix(&ED25519_PREFIX)?.try_into().ok().map(Self)
    }

    /// Whether `signature` is the one of `message` by this key's private half.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({:?}, redacted)", self.kind)
    }
}

impl Opened {
    fn public_der(&self) -> Result<Vec<u8>, PairError> {
        let der = match self {
            Self::Rsa(pair) => pair.public_key().as_der(),
            Self::Ecdsa(pair) => pair.public_key().as_der(),
            Self::Ed25519(pair, _) => pair.public_key().as_der(),
            Self::MlDsa(pair, _) => pair.public_key().as_der(),
            Self::Oaep(key) => return Ok(key.public().to_vec()),
            Self::Kem(key) => return Ok(key.public().to_vec()),
            Self::Ecdh(key) => key.compute_public_key().and_then(|public| public.as_der()),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| PairError::Failed)
    }
}

impl RsaSize {
    /// Bytes of the modulus.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bits2048 => 256,
            Self::Bits3072 => 384,
            Self::Bits4096 => 512,
        }
    }

    const fn key_size(self) -> KeySize {
        match self {
            Self::Bits2048 => KeySize::Rsa2048,
            Self::Bits3072 => KeySize::Rsa3072,
            Self::Bits4096 => KeySize::Rsa4096,
        }
    }
}

impl Curve {
    /// The digest that goes with the curve.
    pub const fn hash(self) -> Hash {
        match self {
            Self::P256 | Self::K256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }

    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
            Self::K256 => &signature::ECDSA_P256K1_SHA256_ASN1_SIGNING,
        }
    }

    const fn agreement(self) -> Option<&'static agreement::Algorithm> {
        match self {
            Self::P256 => Some(&agreement::ECDH_P256),
            Self::P384 => Some(&agreement::ECDH_P384),
            Self::P521 => Some(&agreement::ECDH_P521),
            Self::K256 => None,
        }
    }
}

impl MlDsaSet {
    const fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Self::Set44 => &signature::ML_DSA_44_SIGNING,
            Self::Set65 => &signature::ML_DSA_65_SIGNING,
            Self::Set87 => &signature::ML_DSA_87_SIGNING,
        }
    }

    const fn verification(self) -> &'static signature::PqdsaVerificationAlgorithm {
        match self {
            Self::Set44 => &signature::ML_DSA_44,
            Self::Set65 => &signature::ML_DSA_65,
            Self::Set87 => &signature::ML_DSA_87,
        }
    }
}

impl Hash {
    const fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

fn import(hash: Hash, bytes: &[u8]) -> Result<Digest, PairError> {
    Digest::import_less_safe(bytes, hash.algorithm()).map_err(|_| PairError::DigestLength)
}

/// The message of a scheme that digests for itself.
fn raw(message: Message<'_>) -> Result<&[u8], PairError> {
    match message {
        Message::Raw(message) => Ok(message),
        Message::Digest(_) | Message::Mu(_) => Err(PairError::Unsuited),
    }
}

/// What a scheme signs that prehashes by SHA-512.
fn sha512(message: Message<'_>) -> Result<[u8; 64], PairError> {
    match message {
        Message::Raw(message) => exactly_64(digest::digest(&digest::SHA512, message).as_ref()).copied(),
        Message::Digest(digest) => exactly_64(digest).copied(),
        Message::Mu(_) => Err(PairError::Unsuited),
    }
}

fn exactly_64(digest: &[u8]) -> Result<&[u8; 64], PairError> {
    digest.try_into().map_err(|_| PairError::DigestLength)
}

fn verify(
    key: &UnparsedPublicKey<&Vec<u8>>,
    hash: Hash,
    message: Message<'_>,
    signature: &[u8],
) -> Result<Result<(), aws_lc_rs::error::Unspecified>, PairError> {
    Ok(match message {
        Message::Raw(message) => key.verify(message, signature),
        Message::Digest(digest) => key.verify_digest(&import(hash, digest)?, signature),
        Message::Mu(_) => return Err(PairError::Unsuited),
    })
}

fn rsa_encoding(scheme: Scheme) -> Option<&'static RsaSignatureEncoding> {
    Some(match scheme {
        Scheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_SHA256,
        Scheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_SHA384,
        Scheme::RsaPss(Hash::Sha512) => &signature::RSA_PSS_SHA512,
        Scheme::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
        Scheme::RsaPkcs1(Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
        Scheme::RsaPkcs1(Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
        Scheme::Ecdsa(_) | Scheme::Ed25519 | Scheme::Ed25519ph | Scheme::MlDsa => return None,
    })
}

fn rsa_verification(scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match scheme {
        Scheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        Scheme::RsaPss(Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        Scheme::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPkcs1(Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        Scheme::RsaPkcs1(Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        Scheme::Ecdsa(_) | Scheme::Ed25519 | Scheme::Ed25519ph | Scheme::MlDsa => return None,
    })
}

#[cfg(test)]
mod tests;
