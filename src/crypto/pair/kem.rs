//! ML-KEM (FIPS 203): a secret is made together with the ciphertext that gives it to the holder of the private key.
//!
//! The private key is the decapsulation key of FIPS 203, which has the encapsulation key in it; of pairs that are made for
//! others it is a PKCS #8 of the seed. The public one travels as a SubjectPublicKeyInfo like all others.

use aws_lc_rs::kem::{self, Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey};
use aws_lc_rs::rand;

use super::PairError;
use super::ffi::NativeKey;
use crate::crypto::SecretBytes;

/// An ML-KEM parameter set.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MlKemSet {
    /// ML-KEM-512.
    Set512,
    /// ML-KEM-768.
    Set768,
    /// ML-KEM-1024.
    Set1024,
}

/// What stands before the 64 bytes of a seed in a PKCS #8: the version, the algorithm, `[0]` in an octet string (RFC 9935,
/// section 6).
const PKCS8_HEAD: [u8; 22] = [
    0x30, 0x54, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x00, 0x04,
    0x42, 0x80, 0x40,
];
/// Where in it the last byte of the object identifier is.
const PKCS8_ARC: usize = 17;
const SEED_LENGTH: usize = 64;

/// A pair that is opened.
pub struct KemKey {
    private: DecapsulationKey,
    public: EncapsulationKey,
    der: Vec<u8>,
    ciphertext: usize,
}

impl MlKemSet {
    /// A fresh private key.
    pub(super) fn generate(self) -> Result<SecretBytes, PairError> {
        let key = DecapsulationKey::generate(self.algorithm()).and_then(|key| key.key_bytes());
        key.map(|bytes| SecretBytes::new(bytes.as_ref().to_vec())).map_err(|_| PairError::Failed)
    }

    /// A fresh pair for somebody else: the private key as PKCS #8 with its seed alone (RFC 9935, section 6), and the public
    /// key's SubjectPublicKeyInfo.
    pub(super) fn generate_pair(self) -> Result<(SecretBytes, Vec<u8>), PairError> {
        let mut document = Vec::with_capacity(PKCS8_HEAD.len() + SEED_LENGTH);
        document.extend(PKCS8_HEAD);
        document[PKCS8_ARC] = self.arc();
        document.resize(PKCS8_HEAD.len() + SEED_LENGTH, 0);
        rand::fill(&mut document[PKCS8_HEAD.len()..]).map_err(|_| PairError::Failed)?;
        let private = SecretBytes::new(document);
        let public = KemKey::open_pkcs8(self, private.expose())?.public().to_vec();
        Ok((private, public))
    }

    const fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Set512 => &kem::ML_KEM_512,
            Self::Set768 => &kem::ML_KEM_768,
            Self::Set1024 => &kem::ML_KEM_1024,
        }
    }

    /// The rank of the module: FIPS 203, table 2.
    const fn rank(self) -> usize {
        match self {
            Self::Set512 => 2,
            Self::Set768 => 3,
            Self::Set1024 => 4,
        }
    }

    /// Bytes of a decapsulation key: FIPS 203, table 3.
    const fn private(self) -> usize {
        768 * self.rank() + 96
    }

    /// The last byte of the object identifier (2.16.840.1.101.3.4.4.N).
    const fn arc(self) -> u8 {
        match self {
            Self::Set512 => 1,
            Self::Set768 => 2,
            Self::Set1024 => 3,
        }
    }

    /// Bytes of a ciphertext: FIPS 203, table 3.
    const fn ciphertext(self) -> usize {
        match self {
            Self::Set512 => 768,
            Self::Set768 => 1088,
            Self::Set1024 => 1568,
        }
    }
}

impl KemKey {
    /// Opens a private key.
    ///
    /// # Errors
    /// [`PairError::Malformed`].
    pub fn open(set: MlKemSet, private: &[u8]) -> Result<Self, PairError> {
        let malformed = |_| PairError::Malformed;
        // dk = the decryption key (384 k bytes), the encapsulation key (384 k + 32), its hash (32), a secret (32).
        let length = 384 * set.rank();
        let public = private.get(length..2 * length + 32).ok_or(PairError::Malformed)?;
        let der = public_der(set, public);
        Ok(Self {
            private: DecapsulationKey::new(set.algorithm(), private).map_err(malformed)?,
            public: EncapsulationKey::new(set.algorithm(), public).map_err(malformed)?,
            der,
            ciphertext: set.ciphertext(),
        })
    }

    /// Opens a private key that is a PKCS #8 of its seed.
    fn open_pkcs8(set: MlKemSet, pkcs8: &[u8]) -> Result<Self, PairError> {
        Self::open(set, NativeKey::parse(pkcs8)?.raw_private(set.private())?.expose())
    }

    /// The public key's SubjectPublicKeyInfo.
    pub fn public(&self) -> &[u8] {
        &self.der
    }

    /// A fresh secret of 32 bytes, and the ciphertext that holds it.
    ///
    /// # Errors
    /// [`PairError::Failed`].
    pub fn encapsulate(&self) -> Result<(Vec<u8>, SecretBytes), PairError> {
        let (ciphertext, secret) = self.public.encapsulate().map_err(|_| PairError::Failed)?;
        Ok((ciphertext.as_ref().to_vec(), SecretBytes::new(secret.as_ref().to_vec())))
    }

    /// The secret in a ciphertext; of one that was made for another key, 32 bytes that nobody knows (implicit rejection).
    ///
    /// # Errors
    /// [`PairError::Malformed`] if it has not the length of the parameter set's.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes, PairError> {
        if ciphertext.len() != self.ciphertext {
            return Err(PairError::Malformed);
        }
        let secret = self.private.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| PairError::Failed)?;
        Ok(SecretBytes::new(secret.as_ref().to_vec()))
    }
}

/// The SubjectPublicKeyInfo of an encapsulation key. (RFC 9935)
fn public_der(set: MlKemSet, key: &[u8]) -> Vec<u8> {
    let algorithm = [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, set.arc()];
    let long = |tag: u8, length: usize| {
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        [tag, 0x82, high, low]
    };
    let bits = long(0x03, key.len() + 1);
    let head = long(0x30, algorithm.len() + bits.len() + 1 + key.len());
    [&head[..], &algorithm, &bits, &[0], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shared_and_other_ciphertexts_give_none_away() {
        for set in [MlKemSet::Set512, MlKemSet::Set768, MlKemSet::Set1024] {
            let private = set.generate().unwrap();
            let key = KemKey::open(set, private.expose()).unwrap();
            let (ciphertext, secret) = key.encapsulate().unwrap();
            assert_eq!((ciphertext.len(), secret.expose().len()), (set.ciphertext(), 32));
            assert_eq!(key.decapsulate(&ciphertext).unwrap().expose(), secret.expose());
            let mut altered = ciphertext.clone();
            altered[0] ^= 1;
            assert_ne!(key.decapsulate(&altered).unwrap().expose(), secret.expose());
            assert_eq!(key.decapsulate(&ciphertext[1..]).unwrap_err(), PairError::Malformed);
            assert!(KemKey::open(set, &private.expose()[1..]).is_err());
        }
        assert!(KemKey::open(MlKemSet::Set768, MlKemSet::Set512.generate().unwrap().expose()).is_err());
    }

    #[test]
    fn pairs_for_others_come_from_the_seed_in_their_pkcs8() {
        for set in [MlKemSet::Set512, MlKemSet::Set768, MlKemSet::Set1024] {
            let (private, public) = set.generate_pair().unwrap();
            let (head, seed) = private.expose().split_at(PKCS8_HEAD.len());
            assert_eq!((private.expose().len(), seed.len(), head[PKCS8_ARC]), (86, SEED_LENGTH, set.arc()));
            let key = KemKey::open_pkcs8(set, private.expose()).unwrap();
            assert_eq!(key.public(), public);
            let (ciphertext, secret) = key.encapsulate().unwrap();
            assert_eq!(key.decapsulate(&ciphertext).unwrap().expose(), secret.expose());
            let mut other = private.expose().to_vec();
            *other.last_mut().unwrap() ^= 1;
            // The seed's second half is what other ciphertexts are answered from: the public key does not depend on it.
            assert_eq!(KemKey::open_pkcs8(set, &other).unwrap().public(), public);
            other[PKCS8_HEAD.len()] ^= 1;
            assert_ne!(KemKey::open_pkcs8(set, &other).unwrap().public(), public);
            assert_ne!(set.generate_pair().unwrap().1, public);
            assert!(KemKey::open_pkcs8(set, &other[1..]).is_err());
        }
        let (private, _) = MlKemSet::Set512.generate_pair().unwrap();
        assert!(KemKey::open_pkcs8(MlKemSet::Set768, private.expose()).is_err());
    }
}
