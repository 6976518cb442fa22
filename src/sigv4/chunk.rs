//! The chain of signatures over a body sent in chunks (AWS: "Signature calculations for the Authorization header:
//! transferring payload in multiple chunks", and the same "with trailing headers").
//!
//! Each signature covers the one before it, the first of them that of the request's head; so chunks can be neither
//! reordered nor dropped nor taken from another request.

use super::{AmzDate, EMPTY_SHA256, Scope, SigningKey};
use crate::crypto::constant_time_eq;

/// Where in the chain a body stands.
#[derive(Clone, Debug)]
pub struct ChunkSignatures {
    key: SigningKey,
    date: AmzDate,
    scope: Scope,
    previous: String,
}

/// A chunk's signature is not the one expected.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("the chunk's signature does not match")]
pub struct ChunkMismatch {
    /// What would have had to be signed.
    pub string_to_sign: String,
}

impl ChunkSignatures {
    /// The chain that begins with `seed`, the signature of the request's head.
    pub(super) fn new(key: SigningKey, date: AmzDate, scope: Scope, seed: String) -> Self {
        Self { key, date, scope, previous: seed }
    }

    /// Signs the next chunk.
    pub fn sign_chunk(&mut self, chunk_sha256: [u8; 32]) -> &str {
        self.advance(&self.chunk_to_sign(chunk_sha256))
    }

    /// Signs the trailer: `name:value\n` for each trailing header.
    pub fn sign_trailer(&mut self, trailer_sha256: [u8; 32]) -> &str {
        self.advance(&self.trailer_to_sign(trailer_sha256))
    }

    /// Holds the next chunk's signature against the chain.
    ///
    /// # Errors
    /// [`ChunkMismatch`].
    pub fn verify_chunk(&mut self, chunk_sha256: [u8; 32], signature: &str) -> Result<(), ChunkMismatch> {
        let string_to_sign = self.chunk_to_sign(chunk_sha256);
        self.verify(string_to_sign, signature)
    }

    /// Holds the trailer's signature against the chain.
    ///
    /// # Errors
    /// [`ChunkMismatch`].
    pub fn verify_trailer(&mut self, trailer_sha256: [u8; 32], signature: &str) -> Result<(), ChunkMismatch> {
        let string_to_sign = self.trailer_to_sign(trailer_sha256);
        self.verify(string_to_sign, signature)
    }

    fn chunk_to_sign(&self, chunk_sha256: [u8; 32]) -> String {
        let Self { date, scope, previous, .. } = self;
        let hash = hex::encode(chunk_sha256);
        format!("AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{EMPTY_SHA256}\n{hash}")
    }

    fn trailer_to_sign(&self, trailer_sha256: [u8; 32]) -> String {
        let Self { date, scope, previous, .. } = self;
        format!("AWS4-HMAC-SHA256-TRAILER\n{date}\n{scope}\n{previous}\n{}", hex::encode(trailer_sha256))
    }

    fn verify(&mut self, string_to_sign: String, signature: &str) -> Result<(), ChunkMismatch> {
        let expected = self.advance(&string_to_sign);
        if constant_time_eq(expected.as_bytes(), signature.as_bytes()) {
            Ok(())
        } else {
            Err(ChunkMismatch { string_to_sign })
        }
    }

    fn advance(&mut self, string_to_sign: &str) -> &str {
        self.previous = self.key.sign(string_to_sign);
        &self.previous
    }
}
