//! Authenticated encryption: AES-256-GCM (NIST SP 800-38D) and AES-256-GCM-SIV (RFC 8452).

use aws_lc_rs::aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use super::{Secret, Unauthentic};

/// Bytes of an AES-256 key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;

/// AES-256-GCM. A nonce must **never** be used twice with one key: callers use counters under a key of their own.
pub struct Aes256Gcm(LessSafeKey);

impl Aes256Gcm {
    /// Expands `key`.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        Self(expand(&AES_256_GCM, key))
    }

    /// Encrypts `data` in place and returns its tag.
    ///
    /// # Panics
    /// If `data` exceeds the cipher's 64 GiB; no caller comes near.
    pub fn seal_in_place(&self, nonce: [u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        seal(&self.0, nonce, aad, data)
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
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed).map_err(|_| Unauthentic)
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
        let opened =
            self.0.open_separate_gather(Nonce::assume_unique_for_key(nonce), Aad::from(aad), ciphertext, tag, out);
        opened.map_err(|_| {
            out.fill(0);
            Unauthentic
        })
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
    LessSafeKey::new(UnboundKey::new(algorithm, key.expose()).expect("the key has the algorithm's length"))
}

fn seal(key: &LessSafeKey, nonce: [u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), data)
        .expect("the data is shorter than the cipher's limit");
    tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gcm_agrees_with_ring() {
        let key = Secret::new([3; 32]);
        let mut data = b"some plaintext".to_vec();
        let tag = Aes256Gcm::new(&key).seal_in_place([9; 12], b"aad", &mut data);
        data.extend_from_slice(&tag);
        let ring_key =
            ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key.expose()).unwrap());
        let nonce = ring::aead::Nonce::assume_unique_for_key([9; 12]);
        let opened = ring_key.open_in_place(nonce, ring::aead::Aad::from(b"aad"), &mut data.clone()).unwrap().to_vec();
        assert_eq!(opened, b"some plaintext");
        let mut out = [0; 14];
        Aes256Gcm::new(&key).open_into([9; 12], b"aad", &data, &mut out).unwrap();
        assert_eq!(&out, b"some plaintext");
        assert_eq!(Aes256Gcm::new(&key).open_in_place([9; 12], b"other", &mut data), Err(Unauthentic));
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
