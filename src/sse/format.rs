#![doc = include_str!("FORMAT.md")]

use std::fmt;

use super::{ObjectKey, SseError};
use crate::crypto::aead::{Aes256Gcm, NONCE_LEN, TAG_LEN};
use crate::crypto::digest::HmacSha256;
use crate::crypto::{Entropy, Secret, constant_time_eq, kdf, random};

/// Plaintext bytes of every frame but the last.
pub const FRAME_LEN: u64 = 64 * 1024;
/// The most frames of one run.
pub const MAX_FRAMES: u64 = 1 << 30;
/// The most plaintext bytes of one run: 64 TiB.
pub const MAX_RUN_LEN: u64 = MAX_FRAMES * FRAME_LEN;

/// [`FRAME_LEN`], where memory is meant.
pub(super) const FRAME_SIZE: usize = 64 * 1024;
const TAG_LEN_U64: u64 = 16;
const VERSION: u8 = 1;
const ID_LEN: usize = 16;
const SALT_LEN: usize = 32;
const COMMITMENT_LEN: usize = 32;
/// Bytes of an encoded [`RunHeader`].
pub const HEADER_LEN: usize = 2 + ID_LEN + SALT_LEN + COMMITMENT_LEN + 8;

/// Frames of a run of `plaintext_len` bytes: an empty run has one, empty.
pub(super) const fn frame_count(plaintext_len: u64) -> u64 {
    if plaintext_len == 0 { 1 } else { plaintext_len.div_ceil(FRAME_LEN) }
}

/// The algorithms a run is sealed with. A closed set: a stored byte, never renumbered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Suite {
    /// HKDF-SHA256, AES-256-GCM in 64 KiB frames, HMAC-SHA256 key commitment.
    Aes256Gcm,
    /// The same with every frame sealed twice, under keys of two independent data keys: DSSE-KMS.
    DoubleAes256Gcm,
}

impl Suite {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::DoubleAes256Gcm => 2,
        }
    }

    pub(super) const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::DoubleAes256Gcm),
            _ => None,
        }
    }

    /// How often each frame is sealed.
    const fn layers(self) -> usize {
        match self {
            Self::Aes256Gcm => 1,
            Self::DoubleAes256Gcm => 2,
        }
    }

    /// Bytes that sealing adds to a frame.
    pub(super) const fn tags_size(self) -> usize {
        self.layers() * TAG_LEN
    }

    /// [`Self::tags_size`], where the run is meant.
    const fn tags_len(self) -> u64 {
        match self {
            Self::Aes256Gcm => TAG_LEN_U64,
            Self::DoubleAes256Gcm => 2 * TAG_LEN_U64,
        }
    }

    /// Stored bytes of every frame but the last.
    pub(super) const fn sealed_frame_size(self) -> usize {
        FRAME_SIZE + self.tags_size()
    }

    /// [`Self::sealed_frame_size`], where the run is meant.
    pub(super) const fn sealed_frame_len(self) -> u64 {
        FRAME_LEN + self.tags_len()
    }

    /// Stored bytes of a run of `plaintext_len` bytes.
    pub const fn sealed_len(self, plaintext_len: u64) -> u64 {
        plaintext_len.saturating_add(frame_count(plaintext_len) * self.tags_len())
    }
}

/// A frame's nonce. One key seals each frame number once, and one of them as the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FrameNonce([u8; NONCE_LEN]);

impl FrameNonce {
    /// Of frame number `frame`: 88-bit counter, then 1 for the last frame.
    pub(super) fn of(frame: u64, last: bool) -> Self {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..NONCE_LEN - 1].copy_from_slice(&frame.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(last);
        Self(nonce)
    }

    pub(super) fn bytes(self) -> [u8; NONCE_LEN] {
        self.0
    }
}

/// The nonces of a run in the making: middle frames in order, then one last frame, which ends it.
#[derive(Debug, Default)]
pub(super) struct NonceSequence {
    next: u64,
}

impl NonceSequence {
    /// For the next frame, which is not the last.
    pub(super) fn middle(&mut self) -> Result<FrameNonce, SseError> {
        // One number is kept for the last frame.
        if self.next == MAX_FRAMES - 1 {
            return Err(SseError::RunTooLong);
        }
        let nonce = FrameNonce::of(self.next, false);
        self.next += 1;
        Ok(nonce)
    }

    /// For the last frame, and how many frames came before it.
    pub(super) fn last(self) -> (FrameNonce, u64) {
        (FrameNonce::of(self.next, true), self.next)
    }
}

/// What tells one run from every other: all that its keys are derived from beside the data key.
#[derive(Clone, Copy)]
pub(super) struct RunIdentity {
    suite: Suite,
    id: [u8; ID_LEN],
    salt: [u8; SALT_LEN],
    part: u16,
}

impl RunIdentity {
    /// A fresh identity. Its salt is random, so that sealing the same part again never repeats a key.
    pub(super) fn draw(suite: Suite, part: u16, entropy: &dyn Entropy) -> Self {
        Self { suite, id: random::identifier(entropy), salt: random::bytes(entropy), part }
    }

    pub(super) fn inner_cipher(&self, key: &ObjectKey) -> Aes256Gcm {
        Aes256Gcm::new(&self.derive(key.secret().expose(), b"strongroom/run/content"))
    }

    pub(super) fn outer_cipher(&self, key: &ObjectKey) -> Option<Aes256Gcm> {
        let outer = key.outer_secret()?;
        Some(Aes256Gcm::new(&self.derive(outer.expose(), b"strongroom/run/outer-content")))
    }

    pub(super) fn commitment_key(&self, key: &ObjectKey) -> CommitmentKey {
        CommitmentKey(self.derive(key.whole().expose(), b"strongroom/run/commitment"))
    }

    /// The associated data of every frame.
    pub(super) fn aad(&self) -> [u8; 2 + ID_LEN] {
        let mut aad = [0; 2 + ID_LEN];
        aad[0] = VERSION;
        aad[1] = self.suite.id();
        aad[2..].copy_from_slice(&self.id);
        aad
    }

    pub(super) fn header(&self, commitment: [u8; COMMITMENT_LEN], plaintext_len: u64) -> RunHeader {
        RunHeader { suite: self.suite, id: self.id, salt: self.salt, commitment, plaintext_len }
    }

    fn derive(&self, key: &[u8], label: &[u8]) -> Secret<32> {
        let fields = [VERSION, self.suite.id()];
        kdf::derive(key, &self.salt, &[label, &fields, &self.id, &self.part.to_be_bytes()])
    }
}

/// Makes the value that ties a run's header to its data key.
pub(super) struct CommitmentKey(Secret<32>);

impl CommitmentKey {
    pub(super) fn commit(&self, plaintext_len: u64) -> [u8; COMMITMENT_LEN] {
        HmacSha256::new(self.0.expose()).tag(&plaintext_len.to_be_bytes())
    }
}

/// What must be kept beside a run to open it: stored in the record that names the run.
#[derive(Clone, Eq, PartialEq)]
pub struct RunHeader {
    suite: Suite,
    id: [u8; ID_LEN],
    salt: [u8; SALT_LEN],
    commitment: [u8; COMMITMENT_LEN],
    plaintext_len: u64,
}

impl RunHeader {
    /// The algorithms that the run is sealed with.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Plaintext bytes. Authentic only once an [`super::Opener`] has been made from this header.
    pub fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// Whether `key` is the data key that sealed the run as part `part`, with this very header.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if it is not.
    pub(super) fn authenticate(&self, key: &ObjectKey, part: u16) -> Result<RunIdentity, SseError> {
        let identity = RunIdentity { suite: self.suite, id: self.id, salt: self.salt, part };
        let expected = identity.commitment_key(key).commit(self.plaintext_len);
        if self.suite != key.suite() || !constant_time_eq(&expected, &self.commitment) {
            return Err(SseError::corrupt("the run header does not belong to this data key and part"));
        }
        Ok(identity)
    }

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.suite.id();
        bytes[2..18].copy_from_slice(&self.id);
        bytes[18..50].copy_from_slice(&self.salt);
        bytes[50..82].copy_from_slice(&self.commitment);
        bytes[82..].copy_from_slice(&self.plaintext_len.to_be_bytes());
        bytes
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if the version or suite is unknown, or the bytes are no run header.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SseError> {
        let malformed = || SseError::corrupt("run header: malformed");
        let ([version, suite], rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        if *version != VERSION {
            return Err(SseError::corrupt("run header: unknown version"));
        }
        let suite = Suite::from_id(*suite).ok_or_else(|| SseError::corrupt("run header: unknown suite"))?;
        let (id, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let (salt, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let plaintext_len = u64::from_be_bytes(rest.try_into().map_err(|_| malformed())?);
        if plaintext_len > MAX_RUN_LEN {
            return Err(malformed());
        }
        Ok(Self { suite, id: *id, salt: *salt, commitment: *commitment, plaintext_len })
    }
}

impl fmt::Debug for RunHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHeader")
            .field("suite", &self.suite)
            .field("id", &hex::encode(self.id))
            .field("plaintext_len", &self.plaintext_len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_a_tag_for_each_frame() {
        let rows = [(0, 16), (1, 17), (65_536, 65_552), (65_537, 65_569), (131_072, 131_104)];
        for (plaintext, sealed) in rows {
            assert_eq!(Suite::Aes256Gcm.sealed_len(plaintext), sealed);
            let tags = sealed - plaintext;
            assert_eq!(Suite::DoubleAes256Gcm.sealed_len(plaintext), sealed + tags);
        }
        assert_eq!(Suite::Aes256Gcm.sealed_len(u64::MAX), u64::MAX);
    }

    #[test]
    fn overhead_is_at_most_a_two_thousandth() {
        let header = u64::try_from(HEADER_LEN).unwrap();
        for plaintext in [1 << 20, (1 << 20) + 1, 100 << 20, 5 << 40] {
            let overhead = Suite::Aes256Gcm.sealed_len(plaintext) + header - plaintext;
            assert!(overhead * 2000 <= plaintext, "{overhead} for {plaintext}");
        }
    }

    #[test]
    fn nonces_never_repeat_nor_wrap() {
        let mut sequence = NonceSequence::default();
        assert_eq!(sequence.middle().unwrap().bytes(), [0; 12]);
        assert_eq!(sequence.middle().unwrap().bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(sequence.last().0.bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        let mut sequence = NonceSequence { next: MAX_FRAMES - 1 };
        assert!(matches!(sequence.middle(), Err(SseError::RunTooLong)));
        let (nonce, before) = sequence.last();
        assert_eq!((nonce, before), (FrameNonce::of(MAX_FRAMES - 1, true), MAX_FRAMES - 1));
    }

    #[test]
    fn run_headers_survive_being_stored() {
        let entropy = random::SeededEntropy::new(7);
        let header = RunIdentity::draw(Suite::Aes256Gcm, 3, &entropy).header([9; 32], 12_345);
        let bytes = header.to_bytes();
        assert_eq!(RunHeader::from_bytes(&bytes).unwrap(), header);
        for length in 0..bytes.len() {
            assert!(RunHeader::from_bytes(&bytes[..length]).is_err());
        }
        assert!(RunHeader::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        for at in [0, 1, 82] {
            let mut other = bytes;
            other[at] ^= 0x80;
            assert!(RunHeader::from_bytes(&other).is_err(), "byte {at}");
        }
    }
}
