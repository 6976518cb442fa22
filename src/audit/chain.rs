//! The chain: each line of the log carries the hash of the line before it, so that no line can be changed, left out or moved
//! without the next one telling.
//!
//! ```text
//! line  = {"sequence":N,"previous":"HEX","hash":"HEX","event":EVENT}\n
//! hash  = SHA-256("strongroom/audit/1\n" || previous (32) || N (8, big-endian) || EVENT)
//! ```
//!
//! The first line has the sequence number 1, and 32 zeros before it.

use std::io::Write as _;

use crate::crypto::digest::{self, Digest as _, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

const DOMAIN: &[u8] = b"strongroom/audit/1\n";
/// Bytes of a line around its event, at most: two hashes, twenty digits, and the names.
const FRAME: usize = 256;

/// The end of the chain as far as it has been followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// The last line's number; 0 before the first.
    pub sequence: u64,
    /// The last line's hash.
    pub hash: Hash,
}

impl Link {
    /// Before the first line.
    pub const START: Self = Self { sequence: 0, hash: [0; 32] };

    /// Writes the line of `event` to `out`, and goes on to it.
    pub fn append(&mut self, out: &mut Vec<u8>, event: &[u8]) {
        let sequence = self.sequence + 1;
        let hash = hash(&self.hash, sequence, event);
        out.reserve(event.len() + FRAME);
        // Writing to memory does not fail.
        let _ = write!(out, r#"{{"sequence":{sequence},"previous":""#);
        out.extend_from_slice(&digest::hex_digits(&self.hash));
        out.extend_from_slice(br#"","hash":""#);
        out.extend_from_slice(&digest::hex_digits(&hash));
        out.extend_from_slice(br#"","event":"#);
        out.extend_from_slice(event);
        out.extend_from_slice(b"}\n");
        *self = Self { sequence, hash };
    }
}

/// A line of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line<'l> {
    /// Its number.
    pub sequence: u64,
    /// What it says the hash of the line before it is.
    pub previous: Hash,
    /// What it says its own hash is.
    pub hash: Hash,
    /// The event, as JSON.
    pub event: &'l [u8],
}

impl<'l> Line<'l> {
    /// Reads a line, with or without its end; `None` if it has not exactly the form that [`Link::append`] gives it.
    pub fn parse(line: &'l [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let rest = line.strip_prefix(br#"{"sequence":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let sequence = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let (previous, rest) = read_hash(rest[digits..].strip_prefix(br#","previous":""#)?)?;
        let (hash, rest) = read_hash(rest.strip_prefix(br#"","hash":""#)?)?;
        let event = rest.strip_prefix(br#"","event":"#)?.strip_suffix(b"}")?;
        Some(Self { sequence, previous, hash, event })
    }

    /// Whether it is as it was written.
    pub fn is_intact(&self) -> bool {
        hash(&self.previous, self.sequence, self.event) == self.hash
    }

    /// The chain's end, if this is its last line.
    pub fn link(&self) -> Link {
        Link { sequence: self.sequence, hash: self.hash }
    }
}

fn read_hash(text: &[u8]) -> Option<(Hash, &[u8])> {
    let (digits, rest) = text.split_at_checked(64)?;
    // Digits have one form only, so that a line has one too.
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some((hash, rest))
}

fn hash(previous: &Hash, sequence: u64, event: &[u8]) -> Hash {
    let hash = Sha256::new().chain_update(DOMAIN).chain_update(previous).chain_update(sequence.to_be_bytes());
    hash.chain_update(event).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let (mut link, mut log) = (Link::START, Vec::new());
        link.append(&mut log, br#"{"eventName":"CreateKey"}"#);
        let first = link;
        link.append(&mut log, b"{}");
        let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 2);
        let line = Line::parse(lines[0]).unwrap();
        assert_eq!((line.sequence, line.previous, line.event), (1, [0; 32], &br#"{"eventName":"CreateKey"}"#[..]));
        assert!(line.is_intact());
        assert_eq!(line.link(), first);
        let next = Line::parse(lines[1]).unwrap();
        assert!(next.is_intact() && next.previous == first.hash && next.sequence == 2);
        assert!(serde_json::from_slice::<serde_json::Value>(lines[0]).unwrap()["event"]["eventName"] == "CreateKey");
    }

    #[test]
    fn any_changed_byte_is_seen() {
        let mut log = Vec::new();
        Link::START.clone().append(&mut log, br#"{"eventName":"Decrypt"}"#);
        for bit in 0..(log.len() - 1) * 8 {
            let mut changed = log.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!Line::parse(&changed).is_some_and(|line| line.is_intact()), "bit {bit}");
        }
    }
}
