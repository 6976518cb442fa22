//! Digests: signed statements of how far the log goes and what its last line's hash is. They are what tells a log that was
//! written anew, or cut short, from the one that was kept.
//!
//! ```text
//! line      = {"signature":"BASE64","digest":DIGEST}\n            in digests.jsonl
//! DIGEST    = {"number":N,"previous":"HEX","time":"...","occasion":"...","segment":"...","sequence":N,"hash":"HEX"}
//! previous  = SHA-256 of the digest's line before it, or 32 zeros
//! signature = Ed25519 over "strongroom/audit/digest/1\n" || DIGEST
//! ```
//!
//! The first one is made with the log, before it has a line: its segment is empty, its sequence and its hash are zero. So
//! there is no log without digests. Which digest was the last is kept under the root key (`mark`), so that they cannot be cut
//! short either; a server that finds them so says it in a digest (`digestsLost`), which `verify` reports from then on.
//!
//! The private key is sealed under the root key in `signing.key`; the public one stands in `public.pem`. An auditor keeps a
//! copy of the latter elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::chain::{Hash, Link};
use crate::clock::Timestamp;
use crate::crypto::digest::sha256;
use crate::crypto::pair::{Ed25519Public, KeyPair, Message, Scheme};

/// The digests' file.
pub const FILE: &str = "digests.jsonl";
/// The public key's file.
pub const PUBLIC_KEY_FILE: &str = "public.pem";

const DOMAIN: &[u8] = b"strongroom/audit/digest/1\n";

/// Why a digest was made.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Occasion {
    /// Time had passed.
    Interval,
    /// A segment was full.
    SegmentFull,
    /// The server ended.
    Stop,
    /// The server began, and made the log or found lines that no digest covered.
    Start,
    /// The server began, and found that digests which it had written were missing.
    DigestsLost,
}

/// A digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Its number, from 1.
    pub number: u64,
    /// The hash of the digest's line before it.
    #[serde(with = "hex::serde")]
    pub previous: Hash,
    /// When it was made.
    pub time: String,
    /// Why.
    pub occasion: Occasion,
    /// The file that the last line stands in; empty before the first one.
    pub segment: String,
    /// The last line's number.
    pub sequence: u64,
    /// The last line's hash.
    #[serde(with = "hex::serde")]
    pub hash: Hash,
}

impl Digest {
    /// The log's end that it states.
    pub fn link(&self) -> Link {
        Link { sequence: self.sequence, hash: self.hash }
    }
}

/// The last digest, as the next one needs it.
#[derive(Clone, Debug)]
pub(super) struct LastDigest {
    pub(super) number: u64,
    pub(super) line_hash: Hash,
    pub(super) link: Link,
}

impl LastDigest {
    pub(super) const NONE: Self = Self { number: 0, line_hash: [0; 32], link: Link::START };
}

/// Writes the line of the digest that follows `last`, and goes on to it.
pub(super) fn append(
    last: &mut LastDigest,
    key: &KeyPair,
    link: Link,
    (segment, occasion, now): (String, Occasion, Timestamp),
) -> io::Result<Vec<u8>> {
    let digest = Digest {
        number: last.number + 1,
        previous: last.line_hash,
        time: crate::clock::iso8601(now),
        occasion,
        segment,
        sequence: link.sequence,
        hash: link.hash,
    };
    let json = serde_json::to_vec(&digest)?;
    let signature = key.sign(Scheme::Ed25519, Message::Raw(&signed(&json))).map_err(io::Error::other)?;
    let mut line = format!(r#"{{"signature":"{}","digest":"#, STANDARD.encode(signature)).into_bytes();
    line.extend_from_slice(&json);
    line.extend_from_slice(b"}\n");
    *last = LastDigest { number: digest.number, line_hash: sha256(&line), link };
    Ok(line)
}

/// A digest's line that was read.
#[derive(Debug)]
pub struct Signed {
    /// The digest.
    pub digest: Digest,
    /// The hash of the whole line, which the next digest names.
    pub line_hash: Hash,
    json: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Reads a line; `None` if it has not the form that digests have.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let rest = bare.strip_prefix(br#"{"signature":""#)?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let signature = STANDARD.decode(&rest[..end]).ok()?;
        let json = rest[end..].strip_prefix(br#"","digest":"#)?.strip_suffix(b"}")?;
        let digest = serde_json::from_slice(json).ok()?;
        Some(Self { digest, line_hash: sha256(&[bare, b"\n"].concat()), json: json.to_vec(), signature })
    }

    /// Whether the holder of `key` signed it.
    pub fn is_signed_by(&self, key: &Ed25519Public) -> bool {
        key.verifies(&signed(&self.json), &self.signature)
    }
}

/// The lines of the digests in `dir`, with their ends; none if there is no file.
pub fn read_lines(dir: &Path) -> io::Result<Vec<Vec<u8>>> {
    match fs::read(path(dir)) {
        Ok(text) => Ok(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The digests' file in `dir`.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn signed(json: &[u8]) -> Vec<u8> {
    [DOMAIN, json].concat()
}
