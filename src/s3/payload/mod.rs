//! The bytes that a request brings: unframed, counted, hashed, and held against everything the client said about them.
//!
//! A [`PayloadPlan`] is what the head says of the body; a [`PayloadStream`] gives the bytes out while they come (they stay
//! invisible until commit, so nothing is held back) and ends in [`Verified`], the proof that commit asks for.
//!
//! Framing (AWS: "Authenticating requests", `x-amz-content-sha256`):
//!
//! | `x-amz-content-sha256` | body |
//! |---|---|
//! | 64 hexadecimal digits | the bytes, whose SHA-256 that is |
//! | `UNSIGNED-PAYLOAD`, or none in anonymous and presigned requests | the bytes |
//! | `STREAMING-AWS4-HMAC-SHA256-PAYLOAD[-TRAILER]` | signed chunks [and a signed trailer] |
//! | `STREAMING-UNSIGNED-PAYLOAD-TRAILER` | chunks and a trailer |

mod chunked;
mod digests;
mod plan;
mod stream;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use super::checksum::Checksums;
use super::error::{ErrorCode, Result, S3Error};

pub use plan::{PayloadPlan, Requirements};
pub use stream::PayloadStream;

/// Proof that a payload came whole and is what its sender said. Only [`PayloadStream::finish`] makes it.
#[derive(Debug)]
#[expect(clippy::manual_non_exhaustive, reason = "this must hold within the crate too")]
pub struct Verified {
    /// Its bytes.
    pub length: u64,
    /// Its MD5, if the client sent one or the caller asked for it.
    pub md5: Option<[u8; 16]>,
    /// The checksum that the client sent or the caller asked for in its place, and what the caller asked for besides.
    pub checksums: Checksums,
    _proof: (),
}

/// Reads a payload of at most `limit` bytes whole.
///
/// # Errors
/// `MaxMessageLengthExceeded`, and what [`PayloadStream`] finds.
pub async fn read_all(mut stream: PayloadStream, limit: usize) -> Result<(Bytes, Verified)> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        if first.len() + rest.len() + bytes.len() > limit {
            return Err(too_long(limit));
        }
        if first.is_empty() {
            first = bytes;
        } else {
            rest.extend_from_slice(&bytes);
        }
    }
    let verified = stream.finish().await?;
    let whole = if rest.is_empty() { first } else { [first, rest.freeze()].concat().into() };
    Ok((whole, verified))
}

/// `MaxMessageLengthExceeded`, for a document of more than `limit` bytes.
pub(super) fn too_long(limit: usize) -> S3Error {
    ErrorCode::MaxMessageLengthExceeded.with("MaxMessageLengthBytes", limit.to_string())
}
