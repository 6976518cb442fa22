//! The decoder of aws-chunked bodies (AWS: "Signature calculations for the Authorization header: transferring payload in
//! multiple chunks" and "including trailing headers").
//!
//! ```text
//! body     = *chunk last-chunk [trailer] CRLF
//! chunk    = size [";chunk-signature=" 64HEXDIG] CRLF data CRLF        size: hexadecimal, data: that many bytes
//! last     = "0"  [";chunk-signature=" 64HEXDIG] CRLF
//! trailer  = 1*( name ":" value [CR] LF ) ["x-amz-trailer-signature:" 64HEXDIG CRLF]
//! ```
//!
//! | state | on | next |
//! |---|---|---|
//! | `Header` | a line with a size above zero | `Data` |
//! | `Header` | a line with the size zero | `Trailer` |
//! | `Data` | its last byte, and the chunk's signature holds | `DataEnd` |
//! | `DataEnd` | CRLF | `Header` |
//! | `Trailer` | a line `name:value` | `Trailer` |
//! | `Trailer` | the trailer's signature, and it holds | `Signed` |
//! | `Trailer`, `Signed` | an empty line | `Done` |
//!
//! Anything else is an error, as is a byte after `Done`. Data goes out as slices of what came in.

use bytes::{Buf as _, Bytes};

use crate::crypto::digest::{Digest as _, Sha256};
use crate::s3::checksum::{Algorithm, Checksum};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::sigv4::{ChunkMismatch, ChunkSignatures, Signed};

/// Fewest bytes of every chunk but the last with data.
const MIN_CHUNK: u64 = 8192;
/// The longest line that begins a chunk, bytes.
const MAX_HEADER: usize = 1024;
/// The longest trailer, bytes.
const MAX_TRAILER: usize = 16 * 1024;

/// Takes an aws-chunked body apart.
pub(super) struct Decoder {
    state: State,
    /// Chunks with data so far.
    chunks: u64,
    /// Bytes of the last of them.
    last_size: u64,
    /// What has come of a line whose end has not.
    line: Vec<u8>,
    trailer: Trailer,
    signatures: Option<Signatures>,
}

enum State {
    Header,
    Data { left: u64 },
    DataEnd,
    Trailer,
    Signed,
    Done,
}

/// The trailing headers.
struct Trailer {
    allowed: bool,
    /// The checksum that the head announces.
    announced: Option<Algorithm>,
    checksum: Option<Checksum>,
    /// Bytes so far, as they came.
    length: usize,
    /// What its signature covers: `name:value\n` for each.
    canonical: Vec<u8>,
}

struct Signatures {
    access_key_id: String,
    chain: ChunkSignatures,
    /// That of the chunk being read.
    provided: String,
    hash: Sha256,
}

impl Decoder {
    pub(super) fn new(signed: Option<Box<Signed>>, trailer: bool, announced: Option<Algorithm>) -> Self {
        Self {
            state: State::Header,
            chunks: 0,
            last_size: 0,
            line: Vec::new(),
            trailer: Trailer { allowed: trailer, announced, checksum: None, length: 0, canonical: Vec::new() },
            signatures: signed.map(|signed| Signatures {
                access_key_id: signed.access_key_id().to_owned(),
                chain: signed.chunks(),
                provided: String::new(),
                hash: Sha256::new(),
            }),
        }
    }

    /// The next data in `input`, of which it takes what it has used; `None` once all of it is used.
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>> {
        while !input.is_empty() {
            match self.state {
                State::Data { left } => return self.data(input, left).map(Some),
                State::Done => return Err(malformed()),
                State::Header | State::DataEnd | State::Trailer | State::Signed => {
                    let Some(line) = self.take_line(input)? else { break };
                    self.state = self.after(&line)?;
                }
            }
        }
        Ok(None)
    }

    /// The trailing checksum, once the body has ended where it should.
    pub(super) fn finish(&mut self) -> Result<Option<Checksum>> {
        match self.state {
            // A signed trailer cannot have been cut short, whether or not its empty line came.
            State::Signed | State::Done if self.line.is_empty() => Ok(self.trailer.checksum.take()),
            _ => Err(malformed()),
        }
    }

    fn data(&mut self, input: &mut Bytes, left: u64) -> Result<Bytes> {
        let data = input.split_to(usize::try_from(left).map_or(input.len(), |left| left.min(input.len())));
        let left = left - data.len() as u64;
        if let Some(signatures) = &mut self.signatures {
            signatures.hash.update(&data);
            if left == 0 {
                signatures.verify_chunk()?;
            }
        }
        self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
        Ok(data)
    }

    /// The state after a line, which comes without its end.
    fn after(&mut self, line: &[u8]) -> Result<State> {
        match self.state {
            State::Header => self.chunk_header(line.strip_suffix(b"\r").ok_or_else(malformed)?),
            State::DataEnd if line == b"\r" => Ok(State::Header),
            State::Trailer => self.trailer_line(line.strip_suffix(b"\r").unwrap_or(line)),
            State::Signed if line == b"\r" => Ok(State::Done),
            State::DataEnd | State::Signed | State::Data { .. } | State::Done => Err(malformed()),
        }
    }

    fn chunk_header(&mut self, line: &[u8]) -> Result<State> {
        let line = str::from_utf8(line).map_err(|_| malformed())?;
        let (size, extensions) = line.split_once(';').unwrap_or((line, ""));
        if size.is_empty() || size.len() > 16 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let size = u64::from_str_radix(size, 16).map_err(|_| malformed())?;
        if size > 0 {
            self.chunks += 1;
            if self.chunks > 1 && self.last_size < MIN_CHUNK {
                return Err(ErrorCode::InvalidChunkSize
                    .with("Chunk", self.chunks.to_string())
                    .with("BadChunkSize", self.last_size.to_string()));
            }
            self.last_size = size;
        }
        if let Some(signatures) = &mut self.signatures {
            let signature = extensions.split(';').find_map(|extension| extension.strip_prefix("chunk-signature="));
            signature.unwrap_or_default().clone_into(&mut signatures.provided);
            if size == 0 {
                signatures.verify_chunk()?;
            }
        }
        Ok(if size == 0 { State::Trailer } else { State::Data { left: size } })
    }

    fn trailer_line(&mut self, line: &[u8]) -> Result<State> {
        let must_be_signed = self.signatures.is_some() && self.trailer.allowed;
        if line.is_empty() {
            // AWS's own example has an empty line before the signature too.
            return Ok(if must_be_signed { State::Trailer } else { State::Done });
        }
        if !self.trailer.allowed {
            return Err(malformed());
        }
        let line = str::from_utf8(line).map_err(|_| ErrorCode::MalformedTrailer)?;
        let (name, value) = line.split_once(':').ok_or(ErrorCode::MalformedTrailer)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match &mut self.signatures {
            Some(signatures) if name == "x-amz-trailer-signature" => {
                signatures.verify_trailer(&self.trailer.canonical, value)?;
                Ok(State::Signed)
            }
            _ => {
                self.trailer.canonical.extend([name.as_bytes(), b":", value.as_bytes(), b"\n"].concat());
                self.trailer.take(&name, value)?;
                Ok(State::Trailer)
            }
        }
    }

    /// A line of `input` without its line feed, or `None` if that has not come yet.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<Vec<u8>>> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let part = input.split_to(end.unwrap_or(input.len()));
        self.line.extend_from_slice(&part);
        let (length, limit) = match self.state {
            State::Trailer | State::Signed => {
                self.trailer.length += part.len() + usize::from(end.is_some());
                (self.trailer.length, MAX_TRAILER)
            }
            State::Header | State::Data { .. } | State::DataEnd | State::Done => (self.line.len(), MAX_HEADER),
        };
        if length > limit {
            return Err(malformed());
        }
        if end.is_none() {
            return Ok(None);
        }
        input.advance(1);
        Ok(Some(std::mem::take(&mut self.line)))
    }
}

impl Trailer {
    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        if self.announced.is_none_or(|algorithm| algorithm.header() != name) || self.checksum.is_some() {
            return Err(ErrorCode::MalformedTrailer.into());
        }
        let checksum = self.announced.and_then(|algorithm| Checksum::parse(algorithm, value));
        self.checksum = Some(checksum.ok_or_else(|| {
            S3Error::new(ErrorCode::InvalidRequest, format!("Value for {name} trailing header is invalid."))
        })?);
        Ok(())
    }
}

impl Signatures {
    fn verify_chunk(&mut self) -> Result<()> {
        let hash = self.hash.finalize_reset().into();
        self.chain.verify_chunk(hash, &self.provided).map_err(|mismatch| self.mismatch(mismatch, &self.provided))
    }

    fn verify_trailer(&mut self, canonical: &[u8], signature: &str) -> Result<()> {
        let hash = crate::crypto::digest::sha256(canonical);
        self.chain.verify_trailer(hash, signature).map_err(|mismatch| self.mismatch(mismatch, signature))
    }

    fn mismatch(&self, mismatch: ChunkMismatch, provided: &str) -> S3Error {
        ErrorCode::SignatureDoesNotMatch
            .with("AWSAccessKeyId", &self.access_key_id)
            .with("StringToSign", mismatch.string_to_sign)
            .with("SignatureProvided", provided)
    }
}

/// The framing is broken or ends too early.
fn malformed() -> S3Error {
    S3Error::new(ErrorCode::IncompleteBody, "The request body terminated unexpectedly")
}
