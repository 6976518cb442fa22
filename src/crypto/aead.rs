//! Authenticated encryption: AES-256-GCM (NIST SP 800-38D) and AES-256-GCM-SIV (RFC 8452).

use aws_lc_rs::aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use super::provider::Provider;
use super::{Secret, Unauthentic};

/// Bytes of an AES-256 key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;

const RIGHT_LENGTH: &str = "the key has the algorithm's length";
const SHORT_ENOUGH: &str = "the data is shorter than the cipher's limit";

/// AES-256-GCM. A nonce must **never** be used twice with one key: callers use counters under a key of their own.
pub struct Aes256Gcm(Gcm);

/// The key as the implementation wants it that is the fastest here.
#[expect(
    clippy::large_enum_variant,
    reason = "ring's tables stand in it; a box would be one more allocation for each run"
)]
enum Gcm {
    AwsLc(LessSafeKey),
    Ring(ring::aead::LessSafeKey),
}

impl Aes256Gcm {
    /// Expands `key`.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        Self(Gcm::new(key, Provider::fastest()))
    }

    /// Encrypts `data` in place and returns its tag.
    ///
    /// # Panics
    /// If `data` exceeds the cipher's 64 GiB; no caller comes near.
    pub fn seal_in_place(&self, nonce: [u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        match &self.0 {
            Gcm::AwsLc(key) => seal(key, nonce, aad, data),
            Gcm::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), data).expect(SHORT_ENOUGH);
                tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
            }
        }
    }

    /// Decrypts `sealed` (ciphertext, then tag) in place and returns the plaintext.
    ///
    /// # Errors
    /// [`Unauthentic`]; what is left in `sealed` is then no plaintext.
    pub fn open_in_place<'d>(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: &'d mut [u8],
    ) -> Result<&'d mut [u8], Unauthentic> {
        match &self.0 {
            Gcm::AwsLc(key) => {
                key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed).map_err(|_| Unauthentic)
            }
            Gcm::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring::aead::Aad::from(aad), sealed).map_err(|_| Unauthentic)
            }
        }
    }

    /// Decrypts `sealed` (ciphertext, then tag) into `out`, which must have the plaintext's length.
    ///
    /// # Errors
    /// [`Unauthentic`]; `out` then holds nothing of the plaintext.
    pub fn open_into(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), Unauthentic> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Unauthentic)?;
        if ciphertext.len() != out.len() {
            return Err(Unauthentic);
        }
        let opened = match &self.0 {
            Gcm::AwsLc(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, out).is_ok()
            }
            Gcm::Ring(key) => {
                out.copy_from_slice(ciphertext);
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), (*tag).into(), out, 0..).is_ok()
            }
        };
        if opened {
            return Ok(());
        }
        out.fill(0);
        Err(Unauthentic)
    }
}

impl Gcm {
    fn new(key: &Secret<KEY_LEN>, provider: Provider) -> Self {
        match provider {
            Provider::AwsLc => Self::AwsLc(expand(&AES_256_GCM, key)),
            Provider::Ring => {
                let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key.expose());
                Self::Ring(ring::aead::LessSafeKey::new(key.expect(RIGHT_LENGTH)))
            }
        }
    }
}

/// AES-256-GCM-SIV: for small secrets sealed under long-lived keys with random nonces, where a repeated nonce must not
/// be fatal.
pub struct Aes256GcmSiv(LessSafeKey);

impl Aes256GcmSiv {
    /// Expands `key`.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        Self(expand(&AES_256_GCM_SIV, key))
    }

    /// `nonce || ciphertext || tag` of `plaintext`.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = seal(&self.0, nonce, aad, &mut sealed[NONCE_LEN..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// The plaintext of what [`Self::seal`] returned.
    ///
    /// # Errors
    /// [`Unauthentic`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<super::SecretBytes, Unauthentic> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unauthentic)?;
        let mut buffer = sealed.to_vec();
        let length = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer)
            .map_err(|_| Unauthentic)?
            .len();
        buffer.truncate(length);
        Ok(super::SecretBytes::new(buffer))
    }
}

fn expand(algorithm: &'static Algorithm, key: &Secret<KEY_LEN>) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, key.expose()).expect(RIGHT_LENGTH))
}

fn seal(key: &LessSafeKey, nonce: [u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let tag =
        key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), data).expect(SHORT_ENOUGH);
    tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Each of the two is the other's oracle.
        #[test]
        fn the_providers_agree(key: [u8; KEY_LEN], nonce: [u8; NONCE_LEN], aad: Vec<u8>, plaintext: Vec<u8>, at: usize) {
            let both = [Provider::AwsLc, Provider::Ring].map(|provider| Aes256Gcm(Gcm::new(&Secret::new(key), provider)));
            let [one, other] = both.each_ref().map(|cipher| {
                let mut data = plaintext.clone();
                let tag = cipher.seal_in_place(nonce, &aad, &mut data);
                data.extend_from_slice(&tag);
                data
            });
            assert_eq!(one, other);
            for cipher in &both {
                assert_eq!(cipher.open_in_place(nonce, &aad, &mut one.clone()).unwrap(), &plaintext);
                let mut out = vec![1; plaintext.len()];
                cipher.open_into(nonce, &aad, &one, &mut out).unwrap();
                assert_eq!(out, plaintext);

                let mut altered = one.clone();
                let at = at % altered.len();
                altered[at] ^= 1;
                assert_eq!(cipher.open_into(nonce, &aad, &altered, &mut out), Err(Unauthentic));
                assert!(out.iter().all(|byte| *byte == 0));
                assert_eq!(cipher.open_in_place(nonce, &aad, &mut altered), Err(Unauthentic));
                assert_eq!(cipher.open_into(nonce, &aad, &one, &mut vec![0; plaintext.len() + 1]), Err(Unauthentic));
                assert_eq!(cipher.open_into(nonce, &aad, &one[..TAG_LEN - 1], &mut []), Err(Unauthentic));
            }
        }
    }

    #[test]
    fn siv_opens_only_what_it_sealed() {
        let cipher = Aes256GcmSiv::new(&Secret::new([1; 32]));
        let mut sealed = cipher.seal([2; 12], b"aad", b"etag");
        assert_eq!(cipher.open(b"aad", &sealed).unwrap().expose(), b"etag");
        assert!(cipher.open(b"other", &sealed).is_err());
        sealed[13] ^= 1;
        assert!(cipher.open(b"aad", &sealed).is_err());
        assert!(cipher.open(b"aad", &[0; 5]).is_err());
    }
}
