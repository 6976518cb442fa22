//! The mark: the last digest's number and hash, kept where only the server can have written it. It tells a file of digests
//! that was cut short, or is gone, from one that ends where it should: what was signed last cannot be passed over.
//!
//! ```text
//! mark = N (8, big-endian) || SHA-256 of the digest's line (32)
//! ```
//!
//! A digest is on stable storage before its mark, so that a crash leaves a mark that is one digest behind, never one ahead.

use std::fmt::{self, Debug, Display};
use std::io;
use std::str::FromStr;

use super::chain::Hash;
use super::digest::LastDigest;

const LEN: usize = 40;

/// Which digest was the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The digest's number.
    pub number: u64,
    /// The hash of its line.
    pub hash: Hash,
}

/// What is kept of the mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeptMark {
    /// Nothing yet: the log is new, or from before there were marks.
    Never,
    /// This one.
    At(Mark),
    /// There was one, and it is gone or not what was written.
    Lost,
}

/// Where the mark is kept, out of reach of those who can only write to the disk.
pub trait KeepMark: Debug + Send + Sync {
    /// What is kept.
    ///
    /// # Errors
    /// What the file system says.
    fn read(&self) -> io::Result<KeptMark>;

    /// Keeps `mark` from now on: durably, and whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    fn write(&self, mark: Mark) -> io::Result<()>;
}

impl Mark {
    pub(super) fn of(last: &LastDigest) -> Self {
        Self { number: last.number, hash: last.line_hash }
    }

    /// Its stored form.
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.hash);
        bytes
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, hash) = bytes.split_first_chunk::<8>()?;
        Some(Self { number: u64::from_be_bytes(*number), hash: hash.try_into().ok()? })
    }
}

/// `NUMBER:HASH`, as auditors note it down.
impl Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hex::encode(self.hash))
    }
}

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (number, digits) = text.split_once(':')?;
            let mut hash = [0; 32];
            hex::decode_to_slice(digits, &mut hash).ok()?;
            Some(Self { number: number.parse().ok().filter(|number| *number > 0)?, hash })
        };
        read().ok_or("must be NUMBER:HASH, as `strongroom audit verify` shows the last digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_were_written() {
        let mark = Mark { number: 57, hash: [0xab; 32] };
        assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
        assert_eq!(hex::encode(mark.to_bytes()), format!("0000000000000039{}", "ab".repeat(32)));
        assert_eq!(mark.to_string(), format!("57:{}", "ab".repeat(32)));
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for none in ["", "57", "57:ab", &format!("0:{}", "ab".repeat(32)), &format!("x:{}", "ab".repeat(32))] {
            assert!(none.parse::<Mark>().is_err(), "{none}");
        }
        assert_eq!(Mark::from_bytes(&[0; 39]), None);
        assert_eq!(Mark::from_bytes(&[0; 41]), None);
    }
}
