//! RSA-OAEP (RFC 8017), and AES key wrap with padding (RFC 5649) behind it: how secrets travel to whoever holds an RSA
//! key.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded as _};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey,
};
use zeroize::Zeroizing;

use super::{PairError, RsaSize};
use crate::crypto::SecretBytes;

/// The digest of the padding and of its mask (MGF1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OaepHash {
    /// SHA-1, which is sound here: OAEP asks for no collision resistance.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// An RSA pair that encrypts and decrypts.
pub struct OaepKey {
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
    der: Vec<u8>,
}

impl OaepHash {
    /// Most bytes that one ciphertext holds under a key of `size`.
    pub const fn most(self, size: RsaSize) -> usize {
        let digest = match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        size.bytes() - 2 * digest - 2
    }

    const fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha1 => &OAEP_SHA1_MGF1SHA1,
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
        }
    }
}

impl OaepKey {
    /// Opens a PKCS #8 private key.
    ///
    /// # Errors
    /// [`PairError::Malformed`] if it is none, or not of `size`.
    pub fn open(size: RsaSize, pkcs8: &[u8]) -> Result<Self, PairError> {
        let private = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| PairError::Malformed)?;
        if private.key_size_bytes() != size.bytes() {
            return Err(PairError::Malformed);
        }
        let public = private.public_key();
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(&public).map_err(|_| PairError::Failed)?.as_ref().to_vec();
        let failed = |_| PairError::Failed;
        let private = OaepPrivateDecryptingKey::new(private).map_err(failed)?;
        Ok(Self { private, public: OaepPublicEncryptingKey::new(public).map_err(failed)?, der })
    }

    /// Encrypts `plaintext`, with no label.
    ///
    /// # Errors
    /// [`PairError::Failed`] if it is longer than [`OaepHash::most`].
    pub fn encrypt(&self, hash: OaepHash, plaintext: &[u8]) -> Result<Vec<u8>, PairError> {
        let mut ciphertext = vec![0; self.public.ciphertext_size()];
        let sealed = self.public.encrypt(hash.algorithm(), plaintext, &mut ciphertext, None);
        let length = sealed.map_err(|_| PairError::Failed)?.len();
        ciphertext.truncate(length);
        Ok(ciphertext)
    }

    /// Decrypts what was encrypted to this key with no label.
    ///
    /// # Errors
    /// [`PairError::Failed`], whatever the reason.
    pub fn decrypt(&self, hash: OaepHash, ciphertext: &[u8]) -> Result<SecretBytes, PairError> {
        let mut plaintext = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let opened = self.private.decrypt(hash.algorithm(), ciphertext, &mut plaintext, None);
        let length = opened.map_err(|_| PairError::Failed)?.len();
        Ok(SecretBytes::new(plaintext[..length].to_vec()))
    }

    /// Opens `RSA-OAEP(AES key) || AES-KWP(secret)`, PKCS #11's CKM_RSA_AES_KEY_WRAP.
    ///
    /// # Errors
    /// [`PairError::Failed`], whatever the reason.
    pub fn unwrap(&self, hash: OaepHash, wrapped: &[u8]) -> Result<SecretBytes, PairError> {
        let (sealed, wrapped) = wrapped.split_at_checked(self.private.key_size_bytes()).ok_or(PairError::Failed)?;
        let key = self.decrypt(hash, sealed)?;
        let failed = |_| PairError::Failed;
        let kek = match key.expose().len() {
            16 => AesKek::new(&AES_128, key.expose()),
            32 => AesKek::new(&AES_256, key.expose()),
            _ => return Err(PairError::Failed),
        };
        let mut secret = Zeroizing::new(vec![0; wrapped.len()]);
        let length = kek.map_err(failed)?.unwrap_with_padding(wrapped, &mut secret).map_err(failed)?.len();
        Ok(SecretBytes::new(secret[..length].to_vec()))
    }

    /// The public key's SubjectPublicKeyInfo.
    pub fn public(&self) -> &[u8] {
        &self.der
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use aws_lc_rs::rsa::PublicEncryptingKey;

    /// What a client does with a public key it was given, and [`OaepKey::decrypt`] undoes.
    pub(crate) fn encrypt_to(public: &[u8], hash: OaepHash, plaintext: &[u8]) -> Vec<u8> {
        let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(public).unwrap()).unwrap();
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(hash.algorithm(), plaintext, &mut ciphertext, None).unwrap().to_vec()
    }

    /// What [`OaepKey::unwrap`] undoes.
    pub(crate) fn wrap_to(public: &[u8], hash: OaepHash, secret: &[u8]) -> Vec<u8> {
        let mut wrapped = vec![0; secret.len() + 16];
        let kek = AesKek::new(&AES_256, &[7; 32]).unwrap();
        let wrapped = kek.wrap_with_padding(secret, &mut wrapped).unwrap();
        [&encrypt_to(public, hash, &[7; 32])[..], wrapped].concat()
    }
}
