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
use std::hash::Hasher as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use twox_hash::{xxhash3_64, xxhash3_128, xxhash64};

use crate::crypto::digest::{Digest as _, Md5, Sha1, Sha256, Sha512};

pub use headers::{announced, declared, declared_of_object, kind, requested, requested_of_upload};

/// How the checksums of an upload's parts come to that of the whole.
#[derive(Clone, Copy)]
enum Parts {
    /// Combined, where the client wants it: it is a CRC. Else one after the other.
    Either(CrcAlgorithm),
    /// Combined, always.
    Combined(CrcAlgorithm),
    /// One after the other: hashes cannot be combined.
    Chained,
}

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident $name:literal $header:literal $element:literal $length:literal $code:literal
       $parts:expr;)*) => {
        /// A checksum algorithm.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Algorithm { $($(#[$doc])* $variant,)* }

        impl Algorithm {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant,)*];

            /// `CRC32`: in headers, bodies and error texts.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// `x-amz-checksum-crc32`: the header that carries the value.
            pub const fn header(self) -> &'static str {
                match self { $(Self::$variant => $header,)* }
            }

            /// `ChecksumCRC32`: the XML element that carries the value.
            pub const fn element(self) -> &'static str {
                match self { $(Self::$variant => $element,)* }
            }

            /// Of a digest, in bytes.
            const fn length(self) -> usize {
                match self { $(Self::$variant => $length,)* }
            }

            /// In the stored form.
            const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            const fn parts(self) -> Parts {
                match self { $(Self::$variant => $parts,)* }
            }
        }
    };
}

#[rustfmt::skip]
algorithms! {
    /// CRC-32 (ISO-HDLC).
    Crc32     "CRC32"     "x-amz-checksum-crc32"     "ChecksumCRC32"      4  1 Parts::Either(CrcAlgorithm::Crc32IsoHdlc);
    /// CRC-32C (iSCSI).
    Crc32c    "CRC32C"    "x-amz-checksum-crc32c"    "ChecksumCRC32C"     4  2 Parts::Either(CrcAlgorithm::Crc32Iscsi);
    /// CRC-64/NVME.
    Crc64Nvme "CRC64NVME" "x-amz-checksum-crc64nvme" "ChecksumCRC64NVME"  8  3 Parts::Combined(CrcAlgorithm::Crc64Nvme);
    /// SHA-1.
    Sha1      "SHA1"      "x-amz-checksum-sha1"      "ChecksumSHA1"      20  4 Parts::Chained;
    /// SHA-256.
    Sha256    "SHA256"    "x-amz-checksum-sha256"    "ChecksumSHA256"    32  5 Parts::Chained;
    /// SHA-512.
    Sha512    "SHA512"    "x-amz-checksum-sha512"    "ChecksumSHA512"    64  6 Parts::Chained;
    /// MD5.
    Md5       "MD5"       "x-amz-checksum-md5"       "ChecksumMD5"       16  7 Parts::Chained;
    /// XXH64, without a seed.
    Xxh64     "XXHASH64"  "x-amz-checksum-xxhash64"  "ChecksumXXHASH64"   8  8 Parts::Chained;
    /// XXH3 of 64 bits, without a seed.
    Xxh3      "XXHASH3"   "x-amz-checksum-xxhash3"   "ChecksumXXHASH3"    8  9 Parts::Chained;
    /// XXH3 of 128 bits, without a seed.
    Xxh128    "XXHASH128" "x-amz-checksum-xxhash128" "ChecksumXXHASH128" 16 10 Parts::Chained;
}

impl Algorithm {
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
        match self.parts() {
            Parts::Combined(_) => Kind::FullObject,
            Parts::Either(_) | Parts::Chained => Kind::Composite,
        }
    }

    /// Whether a multipart upload may have this kind: only CRCs can be combined, and CRC64NVME only so.
    pub const fn allows(self, kind: Kind) -> bool {
        match self.parts() {
            Parts::Either(_) => true,
            Parts::Combined(_) => matches!(kind, Kind::FullObject),
            Parts::Chained => matches!(kind, Kind::Composite),
        }
    }

    const fn crc(self) -> Option<CrcAlgorithm> {
        match self.parts() {
            Parts::Either(crc) | Parts::Combined(crc) => Some(crc),
            Parts::Chained => None,
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

/// The longest digest, in bytes.
const LONGEST: usize = 64;

/// A digest and its algorithm. Shown in base64, as on the wire.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// The first `algorithm.length()` bytes; the others are zero.
    digest: [u8; LONGEST],
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
        let mut padded = [0; LONGEST];
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
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Xxh64(xxhash64::Hasher),
    // These two hold half a kilobyte of state.
    Xxh3(Box<xxhash3_64::Hasher>),
    Xxh128(Box<xxhash3_128::Hasher>),
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
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Md5 => State::Md5(Md5::new()),
            Algorithm::Xxh64 => State::Xxh64(xxhash64::Hasher::with_seed(0)),
            Algorithm::Xxh3 => State::Xxh3(Box::default()),
            Algorithm::Xxh128 => State::Xxh128(Box::default()),
        };
        Self(algorithm, state)
    }

    /// Goes on with `data`.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.1 {
            State::Crc(crc) => crc.update(data),
            State::Md5(md5) => md5.update(data),
            State::Sha1(sha1) => sha1.update(data),
            State::Sha256(sha256) => sha256.update(data),
            State::Sha512(sha512) => sha512.update(data),
            State::Xxh64(xxh) => xxh.write(data),
            State::Xxh3(xxh) => xxh.write(data),
            State::Xxh128(xxh) => xxh.write(data),
        }
    }

    /// The checksum of all that came.
    pub fn finish(self) -> Checksum {
        let Self(algorithm, state) = self;
        match state {
            State::Crc(crc) => crc_checksum(algorithm, crc.finalize()),
            State::Md5(md5) => padded(algorithm, &md5.finalize()),
            State::Sha1(sha1) => padded(algorithm, &sha1.finalize()),
            State::Sha256(sha256) => padded(algorithm, &sha256.finalize()),
            State::Sha512(sha512) => padded(algorithm, &sha512.finalize()),
            State::Xxh64(xxh) => padded(algorithm, &xxh.finish().to_be_bytes()),
            State::Xxh3(xxh) => padded(algorithm, &xxh.finish().to_be_bytes()),
            State::Xxh128(xxh) => padded(algorithm, &xxh.finish_128().to_be_bytes()),
        }
    }
}

/// A digest that was made by `algorithm`, and so has its length.
fn padded(algorithm: Algorithm, made: &[u8]) -> Checksum {
    let mut digest = [0; LONGEST];
    digest[..algorithm.length()].copy_from_slice(made);
    Checksum { algorithm, digest }
}

fn crc_checksum(algorithm: Algorithm, value: u64) -> Checksum {
    padded(algorithm, &value.to_be_bytes()[8 - algorithm.length()..])
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

    /// The checksum of this algorithm alone, if it is there.
    #[must_use]
    pub fn only(&self, algorithm: Algorithm) -> Self {
        Self { set: self.by_algorithm(algorithm).into_iter().collect(), parts: self.parts }
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
            (
                Algorithm::Sha512,
                "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455\
                 b6b5bb503acf574fba8ffe85",
            ),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Xxh64, "8cb841db40e6ae83"),
            (Algorithm::Xxh3, "72dcb18b67a17dff"),
            (Algorithm::Xxh128, "33119477ede5dcd5e9716427681d5860"),
        ];
        assert_eq!(checks.map(|(algorithm, _)| algorithm), Algorithm::ALL);
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
        let later = Checksums::over_bytes([
            Checksum::of(Algorithm::Xxh3, b"123456789"),
            Checksum::of(Algorithm::Md5, b"123456789"),
        ]);
        let golden = "0100000725f9e794323b453885f5181f1b624d0b0972dcb18b67a17dff";
        assert_eq!(hex::encode(later.encode()), golden);
        assert_eq!(Checksums::decode(&hex::decode(golden).unwrap()), Ok(later));
        let composite = Checksums::parse(Algorithm::Crc64Nvme, "rosUhgp5mIg=-10000").unwrap();
        let golden = "01271003ae8b14860a799888";
        assert_eq!(hex::encode(composite.encode()), golden);
        assert_eq!(Checksums::decode(&hex::decode(golden).unwrap()), Ok(composite));
        for bad in ["", "02", "020000", "01000001cbf439", "01000009cbf43926", "0100000bcbf43926", "0100"] {
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
        fn pieces_come_to_the_same_as_the_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..900), 0..6)) {
            for algorithm in Algorithm::ALL {
                let mut hasher = Hasher::new(algorithm);
                for part in &parts {
                    hasher.update(part);
                }
                prop_assert_eq!(hasher.finish(), Checksum::of(algorithm, &parts.concat()));
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
