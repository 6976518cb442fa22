//! ML-KEM (FIPS 203): a secret is made together with the ciphertext that gives it to the holder of the private key.
//!
//! The private key is the decapsulation key of FIPS 203, which has the encapsulation key in it; aws-lc writes no PKCS #8 of
//! it. The public one travels as a SubjectPublicKeyInfo like all others.

use aws_lc_rs::kem::{self, Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey};

use super::PairError;
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
}
