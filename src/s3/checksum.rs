//! Checksums of objects (AWS: "Checking object integrity in Amazon S3"): algorithms, their headers, and how the parts of
//! an upload make the checksum of the whole.
//!
//! The stored form, which `sse` seals before it reaches the disk:
//!
//! ```text
//! version 1 | parts (u16, big-endian; 0: over the full object) | per checksum: algorithm (u8), digest
//! ```

mod headers;
pub mod render;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;

use crate::crypto::digest::{Digest as _, Sha1, Sha256};

pub use headers::{announced, declared, declared_of_object, requested, requested_of_upload};

/// A checksum algorithm.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (iSCSI).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// `CRC32`: in headers, bodies and error texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// `x-amz-checksum-crc32`: the header that carries the value.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// `ChecksumCRC32`: the XML element that carries the value.
    pub const fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// The algorithm of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The algorithm whose header this is, in any case.
    pub fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// The kind that a multipart upload has if it names none.
    pub const fn default_kind(self) -> Kind {
        match self {
            Self::Crc64Nvme => Kind::FullObject,
            Self::Crc32 | Self::Crc32c | Self::Sha1 | Self::Sha256 => Kind::Composite,
        }
    }

    /// Whether a multipart upload may have this kind: only CRCs can be combined, and CRC64NVME only so.
    pub const fn allows(self, kind: Kind) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c => true,
            Self::Crc64Nvme => matches!(kind, Kind::FullObject),
            Self::Sha1 | Self::Sha256 => matches!(kind, Kind::Composite),
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Crc32 => 1,
            Self::Crc32c => 2,
            Self::Crc64Nvme => 3,
            Self::Sha1 => 4,
            Self::Sha256 => 5,
        }
    }

    const fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a checksum covers: `x-amz-checksum-type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The checksums of the parts, one after the other.
    Composite,
    /// The bytes.
    FullObject,
}

impl Kind {
    /// `COMPOSITE` or `FULL_OBJECT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }

    /// The kind of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Composite, Self::FullObject].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }
}

/// A digest and its algorithm. Shown in base64, as on the wire.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// The first `algorithm.length()` bytes; the others are zero.
    digest: [u8; 32],
}

impl Checksum {
    /// Of bytes at hand.
    pub fn of(algorithm: Algorithm, data: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// From a digest; `None` if it has not the algorithm's length.
    pub fn from_digest(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        let mut padded = [0; 32];
        padded.get_mut(..digest.len())?.copy_from_slice(digest);
        (digest.len() == algorithm.length()).then_some(Self { algorithm, digest: padded })
    }

    /// From base64; `None` if that is not well-formed or has not the algorithm's length.
    pub fn parse(algorithm: Algorithm, base64: &str) -> Option<Self> {
        Self::from_digest(algorithm, &STANDARD.decode(base64).ok()?)
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest.
    pub fn digest(&self) -> &[u8] {
        &self.digest[..self.algorithm.length()]
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.digest()))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

/// A checksum in the making.
pub struct Hasher(Algorithm, State);

enum State {
    Crc(crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Crc32 => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc32c => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Crc64Nvme => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
        };
        Self(algorithm, state)
    }

    /// Goes on with `data`.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.1 {
            State::Crc(crc) => crc.update(data),
            State::Sha1(sha1) => sha1.update(data),
            State::Sha256(sha256) => sha256.update(data),
        }
    }

    /// The checksum of all that came.
    pub fn finish(self) -> Checksum {
        let Self(algorithm, state) = self;
        let mut digest = [0; 32];
        match state {
            State::Crc(crc) => return crc_checksum(algorithm, crc.finalize()),
            State::Sha1(sha1) => digest[..20].copy_from_slice(&sha1.finalize()),
            State::Sha256(sha256) => digest.copy_from_slice(&sha256.finalize()),
        }
        Checksum { algorithm, digest }
    }
}

fn crc_checksum(algorithm: Algorithm, value: u64) -> Checksum {
    let length = algorithm.length();
    let mut digest = [0; 32];
    digest[..length].copy_from_slice(&value.to_be_bytes()[8 - length..]);
    Checksum { algorithm, digest }
}

/// The checksums of one object, at most one per algorithm, all of one kind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Checksums {
    /// By algorithm.
    set: Vec<Checksum>,
    /// How many parts a composite is of; zero for checksums over the full object.
    parts: u16,
}

/// Stored bytes are no checksums.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stored checksums are malformed")]
pub struct Malformed;

const VERSION: u8 = 1;

impl Checksums {
    /// Over the bytes of one object or part. A later checksum of the same algorithm replaces an earlier one.
    pub fn over_bytes(checksums: impl IntoIterator<Item = Checksum>) -> Self {
        let mut all = Self::default();
        for checksum in checksums {
            all.insert(checksum);
        }
        all
    }

    /// Of an object from the checksums and lengths of its parts, in order. `None` if there are no parts or more than
    /// 65 535, if their algorithms differ, or if the algorithm does not allow `kind`.
    pub fn of_parts(kind: Kind, parts: &[(Checksum, u64)]) -> Option<Self> {
        let (first, rest) = parts.split_first()?;
        let algorithm = first.0.algorithm;
        if !algorithm.allows(kind) || rest.iter().any(|(checksum, _)| checksum.algorithm != algorithm) {
            return None;
        }
        match kind {
            Kind::Composite => {
                let mut hasher = Hasher::new(algorithm);
                for (checksum, _) in parts {
                    hasher.update(checksum.digest());
                }
                Some(Self { set: vec![hasher.finish()], parts: u16::try_from(parts.len()).ok()? })
            }
            Kind::FullObject => {
                let crc = algorithm.crc()?;
                let value = |checksum: &Checksum| {
                    checksum.digest().iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
                };
                let combined = rest.iter().fold(value(&first.0), |sum, (checksum, length)| {
                    crc_fast::checksum_combine(crc, sum, value(checksum), *length)
                });
                Some(Self::over_bytes([crc_checksum(algorithm, combined)]))
            }
        }
    }

    /// Reads a value as headers and bodies give it: base64, and `-N` behind it for a composite of `N` parts.
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        let (base64, parts) = match text.split_once('-') {
            Some((base64, parts)) => (base64, parts.parse().ok().filter(|parts| *parts > 0)?),
            None => (text, 0),
        };
        Some(Self { set: vec![Checksum::parse(algorithm, base64)?], parts })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// What they cover.
    pub fn kind(&self) -> Kind {
        if self.parts == 0 { Kind::FullObject } else { Kind::Composite }
    }

    /// The checksum of this algorithm.
    pub fn by_algorithm(&self, algorithm: Algorithm) -> Option<Checksum> {
        self.set.iter().find(|checksum| checksum.algorithm == algorithm).copied()
    }

    /// Algorithms and values as headers and bodies show them, in the order of [`Algorithm::ALL`].
    pub fn values(&self) -> impl Iterator<Item = (Algorithm, String)> + '_ {
        self.set.iter().map(|checksum| {
            let value = match self.parts {
                0 => checksum.to_string(),
                parts => format!("{checksum}-{parts}"),
            };
            (checksum.algorithm, value)
        })
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.parts.to_be_bytes());
        for checksum in &self.set {
            out.push(checksum.algorithm.code());
            out.extend_from_slice(checksum.digest());
        }
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let [VERSION, high, low, rest @ ..] = bytes else {
            return Err(Malformed);
        };
        let mut all = Self { set: Vec::new(), parts: u16::from_be_bytes([*high, *low]) };
        let mut rest = rest;
        while let Some((code, tail)) = rest.split_first() {
            let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.code() == *code).ok_or(Malformed)?;
            let (digest, tail) = tail.split_at_checked(algorithm.length()).ok_or(Malformed)?;
            all.insert(Checksum::from_digest(algorithm, digest).ok_or(Malformed)?);
            rest = tail;
        }
        Ok(all)
    }

    fn insert(&mut self, checksum: Checksum) {
        self.set.retain(|other| other.algorithm != checksum.algorithm);
        self.set.push(checksum);
        self.set.sort_unstable_by_key(Checksum::algorithm);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_values_of_the_algorithms() {
        let checks = [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (algorithm, digest) in checks {
            let checksum = Checksum::of(algorithm, b"123456789");
            assert_eq!(hex::encode(checksum.digest()), digest, "{algorithm}");
            assert_eq!(Checksum::parse(algorithm, &checksum.to_string()), Some(checksum));
        }
        assert_eq!(Checksum::of(Algorithm::Crc32, b"123456789").to_string(), "y/Q5Jg==");
        assert_eq!(Checksum::parse(Algorithm::Crc64Nvme, "y/Q5Jg=="), None);
        assert_eq!(Checksum::parse(Algorithm::Crc32, "y/Q5J"), None);
    }

    #[test]
    fn the_stored_form_is_stable() {
        let both = Checksums::over_bytes([
            Checksum::of(Algorithm::Sha1, b"123456789"),
            Checksum::of(Algorithm::Crc32, b"123456789"),
        ]);
        let golden = "01000001cbf4392604f7c3bc1d808e04732adf679965ccc34ca7ae3441";
        assert_eq!(hex::encode(both.encode()), golden);
        assert_eq!(Checksums::decode(&hex::decode(golden).unwrap()), Ok(both));
        let composite = Checksums::parse(Algorithm::Crc64Nvme, "rosUhgp5mIg=-10000").unwrap();
        let golden = "01271003ae8b14860a799888";
        assert_eq!(hex::encode(composite.encode()), golden);
        assert_eq!(Checksums::decode(&hex::decode(golden).unwrap()), Ok(composite));
        for bad in ["", "02", "020000", "01000001cbf439", "01000009cbf43926", "0100"] {
            assert_eq!(Checksums::decode(&hex::decode(bad).unwrap()), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn composites_are_checksums_of_checksums() {
        // AWS: "Checking object integrity", the tutorial's two-part SHA-256 form: SHA256(SHA256(a) || SHA256(b))-2.
        let parts = [Checksum::of(Algorithm::Sha256, b"a"), Checksum::of(Algorithm::Sha256, b"b")];
        let whole = Checksum::of(Algorithm::Sha256, &[parts[0].digest(), parts[1].digest()].concat());
        let composite = Checksums::of_parts(Kind::Composite, &parts.map(|part| (part, 1))).unwrap();
        assert_eq!(composite.values().collect::<Vec<_>>(), [(Algorithm::Sha256, format!("{whole}-2"))]);
        assert_eq!(composite.kind(), Kind::Composite);
        assert_eq!(Checksums::parse(Algorithm::Sha256, &format!("{whole}-2")), Some(composite));
    }

    #[test]
    fn parts_that_do_not_fit_together_make_no_checksum() {
        let part = |algorithm| (Checksum::of(algorithm, b"a"), 1);
        let (crc32, crc64, sha1) = (part(Algorithm::Crc32), part(Algorithm::Crc64Nvme), part(Algorithm::Sha1));
        assert_eq!(Checksums::of_parts(Kind::Composite, &[]), None);
        assert_eq!(Checksums::of_parts(Kind::Composite, &[crc32, sha1]), None);
        assert_eq!(Checksums::of_parts(Kind::Composite, &[crc64]), None);
        assert_eq!(Checksums::of_parts(Kind::FullObject, &[sha1]), None);
        assert_eq!(Checksums::parse(Algorithm::Crc32, "y/Q5Jg==-0"), None);
    }

    proptest! {
        #[test]
        fn full_object_crcs_combine(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let sums: Vec<_> = parts.iter().map(|p| (Checksum::of(algorithm, p), p.len() as u64)).collect();
                let whole = Checksums::over_bytes([Checksum::of(algorithm, &parts.concat())]);
                prop_assert_eq!(Checksums::of_parts(Kind::FullObject, &sums), Some(whole));
            }
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(checksums) = Checksums::decode(&bytes) {
                prop_assert_eq!(Checksums::decode(&checksums.encode()), Ok(checksums));
            }
        }
    }
}
