//! What aws-lc does and aws-lc-rs has no form of: Ed25519ph (RFC 8032), ML-DSA over an external mu (FIPS 204), and private keys
//! in the form that an algorithm itself has.
//!
//! The one module that calls C. With each pointer goes the length of what it points to, or it points to an array of the length
//! that aws-lc's header names; what aws-lc makes is freed when its holder is dropped, and cleansed there.
#![expect(unsafe_code, reason = "calls of aws-lc, whose headers say what must hold")]

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys::{
    CBS_init, ED25519ph_sign_digest, ED25519ph_verify_digest, EVP_PKEY, EVP_PKEY_CTX, EVP_PKEY_CTX_free,
    EVP_PKEY_CTX_new, EVP_PKEY_free, EVP_PKEY_get_raw_private_key, EVP_PKEY_sign, EVP_PKEY_sign_init, EVP_PKEY_verify,
    EVP_PKEY_verify_init, EVP_parse_private_key,
};

use super::PairError;
use crate::crypto::{Secret, SecretBytes};

/// A private key in aws-lc's own form. It is never changed.
pub(super) struct NativeKey(NonNull<EVP_PKEY>);

// SAFETY: "may be used concurrently on multiple threads by non-mutating functions" (openssl/evp.h), and here are no others.
unsafe impl Send for NativeKey {}
// SAFETY: as above.
unsafe impl Sync for NativeKey {}

impl Drop for NativeKey {
    fn drop(&mut self) {
        // SAFETY: the key is this holder's, and nobody's from now on; contexts have references of their own.
        unsafe { EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// What a key is used in, once.
struct UseContext(NonNull<EVP_PKEY_CTX>);

impl UseContext {
    fn of(key: &NativeKey) -> Result<Self, PairError> {
        // SAFETY: the key is alive, and making a context of it does not change it; no engine is named.
        let context = unsafe { EVP_PKEY_CTX_new(key.0.as_ptr(), ptr::null_mut()) };
        NonNull::new(context).map(Self).ok_or(PairError::Failed)
    }
}

impl Drop for UseContext {
    fn drop(&mut self) {
        // SAFETY: the context is this holder's, and nobody's from now on.
        unsafe { EVP_PKEY_CTX_free(self.0.as_ptr()) }
    }
}

impl NativeKey {
    /// Opens a private key.
    ///
    /// # Errors
    /// [`PairError::Malformed`].
    pub fn parse(pkcs8: &[u8]) -> Result<Self, PairError> {
        let mut bytes = MaybeUninit::uninit();
        // SAFETY: `CBS_init` writes all of it; it then borrows `pkcs8`, which outlives it, and the key copies what it needs.
        let key = unsafe {
            CBS_init(bytes.as_mut_ptr(), pkcs8.as_ptr(), pkcs8.len());
            EVP_parse_private_key(bytes.as_mut_ptr())
        };
        NonNull::new(key).map(Self).ok_or(PairError::Malformed)
    }

    /// The private key as its algorithm has it, `length` bytes: an Ed25519 seed, a decapsulation key of FIPS 203.
    ///
    /// # Errors
    /// [`PairError::Failed`] if it has another length.
    pub fn raw_private(&self, length: usize) -> Result<SecretBytes, PairError> {
        let (mut raw, mut written) = (vec![0; length], length);
        // SAFETY: there is room for as many bytes as `written` says, and no more are written.
        let done = unsafe { EVP_PKEY_get_raw_private_key(self.0.as_ptr(), raw.as_mut_ptr(), &raw mut written) };
        let raw = SecretBytes::new(raw);
        if done == 1 && written == length { Ok(raw) } else { Err(PairError::Failed) }
    }

    /// Signs `mu` by ML-DSA, in `length` bytes.
    ///
    /// # Errors
    /// [`PairError::Failed`] if the key is of another kind.
    pub fn sign_mu(&self, mu: &[u8; 64], length: usize) -> Result<Vec<u8>, PairError> {
        let context = UseContext::of(self)?;
        let (mut signature, mut written) = (vec![0; length], length);
        // SAFETY: the context is this call's alone; there is room for as many bytes as `written` says, and no more are written.
        let done = unsafe {
            EVP_PKEY_sign_init(context.0.as_ptr()) == 1
                && EVP_PKEY_sign(context.0.as_ptr(), signature.as_mut_ptr(), &raw mut written, mu.as_ptr(), mu.len())
                    == 1
        };
        if done && written == length { Ok(signature) } else { Err(PairError::Failed) }
    }

    /// Verifies an ML-DSA signature of `mu`.
    ///
    /// # Errors
    /// [`PairError::BadSignature`]; [`PairError::Failed`] if memory is short.
    pub fn verify_mu(&self, mu: &[u8; 64], signature: &[u8]) -> Result<(), PairError> {
        let context = UseContext::of(self)?;
        // SAFETY: the context is this call's alone; what is read has the lengths that are told.
        let verified = unsafe {
            EVP_PKEY_verify_init(context.0.as_ptr()) == 1
                && EVP_PKEY_verify(context.0.as_ptr(), signature.as_ptr(), signature.len(), mu.as_ptr(), mu.len()) == 1
        };
        if verified { Ok(()) } else { Err(PairError::BadSignature) }
    }
}

/// Signs a SHA-512 digest by Ed25519ph, with an empty context.
///
/// # Errors
/// [`PairError::Failed`].
pub(super) fn ed25519ph_sign(key: &NativeKey, public: &[u8], digest: &[u8; 64]) -> Result<Vec<u8>, PairError> {
    let seed = key.raw_private(32)?;
    if public.len() != 32 {
        return Err(PairError::Failed);
    }
    // aws-lc's private key is the seed and, behind it, the public key (openssl/curve25519.h).
    let private = Secret::<64>::filled(|private| {
        private[..32].copy_from_slice(seed.expose());
        private[32..].copy_from_slice(public);
    });
    let mut signature = [0; 64];
    // SAFETY: each array has the length that the header names; the context is empty, and may be null then.
    let done = unsafe {
        ED25519ph_sign_digest(signature.as_mut_ptr(), digest.as_ptr(), private.expose().as_ptr(), ptr::null(), 0)
    };
    if done == 1 { Ok(signature.to_vec()) } else { Err(PairError::Failed) }
}

/// Verifies an Ed25519ph signature of a SHA-512 digest, with an empty context.
///
/// # Errors
/// [`PairError::BadSignature`].
pub(super) fn ed25519ph_verify(public: &[u8], digest: &[u8; 64], signature: &[u8]) -> Result<(), PairError> {
    let (Ok(public), Ok(signature)) = (<&[u8; 32]>::try_from(public), <&[u8; 64]>::try_from(signature)) else {
        return Err(PairError::BadSignature);
    };
    // SAFETY: each array has the length that the header names; the context is empty, and may be null then.
    let verified =
        unsafe { ED25519ph_verify_digest(digest.as_ptr(), signature.as_ptr(), public.as_ptr(), ptr::null(), 0) };
    if verified == 1 { Ok(()) } else { Err(PairError::BadSignature) }
}

#[cfg(test)]
pub(super) mod testing {
    use aws_lc_sys::{
        EVP_DigestFinalXOF, EVP_DigestInit_ex, EVP_DigestUpdate, EVP_MD_CTX_free, EVP_MD_CTX_new, EVP_shake256,
    };

    use super::*;

    /// 64 bytes of SHAKE256.
    pub(in crate::crypto::pair) fn shake256(parts: &[&[u8]]) -> [u8; 64] {
        let mut digest = [0; 64];
        // SAFETY: the context is this call's alone, and what is read and written has the lengths that are told.
        unsafe {
            let context = EVP_MD_CTX_new();
            assert_eq!(EVP_DigestInit_ex(context, EVP_shake256(), ptr::null_mut()), 1);
            for part in parts {
                assert_eq!(EVP_DigestUpdate(context, part.as_ptr().cast(), part.len()), 1);
            }
            assert_eq!(EVP_DigestFinalXOF(context, digest.as_mut_ptr(), digest.len()), 1);
            EVP_MD_CTX_free(context);
        }
        digest
    }
}
