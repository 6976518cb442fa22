//! What a request's head says of its body.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};

use crate::s3::checksum::{self, Algorithm, Checksum};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::sigv4::{Signed, UNSIGNED_PAYLOAD};

const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// What the operation asks of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Requirements {
    /// The most bytes it takes.
    pub max_length: u64,
    /// Whether it needs the MD5 even if the client sent none.
    pub md5: bool,
    /// Whether whoever sent another MD5 than the body's is told it in hexadecimal, as by AWS's PutObject, and not in base64, as by
    /// its UploadPart. (Recorded on AWS, `test_s3_invalid_content_md5`.)
    pub tells_hex: bool,
    /// The checksum it needs if the client sent none.
    pub checksum: Option<Algorithm>,
    /// The checksum it needs whatever the client sent.
    pub also: Option<Algorithm>,
    /// How long the client may pause.
    pub stall: Duration,
}

/// How a body is framed, how long it is, and what is known of its content.
#[derive(Debug)]
pub struct PayloadPlan {
    pub(super) framing: Framing,
    pub(super) length: Length,
    /// The SHA-256 that was signed.
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) content_md5: Option<[u8; 16]>,
    pub(super) checksum: PlannedChecksum,
    /// A further checksum to compute.
    pub(super) also: Option<Algorithm>,
    /// Whether to compute an MD5.
    pub(super) md5: bool,
    pub(super) tells_hex: bool,
    pub(super) stall: Duration,
}

/// How the bytes are wrapped.
#[derive(Debug)]
pub(super) enum Framing {
    /// Not at all.
    Identity,
    /// In chunks of aws-chunked.
    Chunked {
        /// Who signed the chunks, if they are signed.
        signed: Option<Box<Signed>>,
        /// Whether a trailer may follow.
        trailer: bool,
    },
}

/// How many bytes there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Length {
    Declared(u64),
    /// So many, at least and at most.
    Within(u64, u64),
    /// Nothing was said, so there must be none.
    Undeclared,
}

/// The checksum that is computed, and where to find what it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PlannedChecksum {
    None,
    Computed(Algorithm),
    Declared(Checksum),
    Announced(Algorithm),
}

impl PayloadPlan {
    /// Reads the head. `signed` is its verified signature, if it has one: what was signed for the body is what the body is
    /// held against.
    ///
    /// # Errors
    /// `InvalidArgument`, `InvalidDigest`, `InvalidRequest`, `MissingContentLength`, `EntityTooLarge`, `NotImplemented`.
    pub fn parse(headers: &HeaderMap, signed: Option<&Signed>, required: &Requirements) -> Result<Self> {
        let (framing, sha256) = framing(headers, signed)?;
        let length = match framing {
            Framing::Chunked { .. } => {
                let name = HeaderName::from_static("x-amz-decoded-content-length");
                Length::Declared(number(headers, &name)?.ok_or(ErrorCode::MissingContentLength)?)
            }
            // S3 takes bodies of unknown length in aws-chunked form alone.
            Framing::Identity if headers.contains_key(TRANSFER_ENCODING) => {
                return Err(ErrorCode::NotImplemented.with("Header", "Transfer-Encoding"));
            }
            Framing::Identity => number(headers, &CONTENT_LENGTH)?.map_or(Length::Undeclared, Length::Declared),
        };
        if let Length::Declared(length) = length
            && length > required.max_length
        {
            return Err(ErrorCode::EntityTooLarge
                .with("ProposedSize", length.to_string())
                .with("MaxSizeAllowed", required.max_length.to_string()));
        }
        let content_md5 = content_md5(headers)?;
        let checksum = planned_checksum(headers, &framing, required)?;
        Ok(Self {
            checksum,
            also: required.also.filter(|also| checksum.algorithm() != Some(*also)),
            framing,
            length,
            sha256,
            content_md5,
            md5: required.md5 || content_md5.is_some(),
            tells_hex: required.tells_hex,
            stall: required.stall,
        })
    }

    /// For `length` bytes that come from this server itself, as in a copy.
    pub fn internal(length: u64, required: &Requirements) -> Self {
        Self {
            framing: Framing::Identity,
            length: Length::Declared(length),
            sha256: None,
            content_md5: None,
            checksum: required.checksum.map_or(PlannedChecksum::None, PlannedChecksum::Computed),
            also: required.also.filter(|also| required.checksum != Some(*also)),
            md5: required.md5,
            tells_hex: required.tells_hex,
            stall: required.stall,
        }
    }

    /// For the file of a form, which ends where it ends: as many bytes as `length` allows. `headers` are the form's fields.
    ///
    /// # Errors
    /// `InvalidDigest`, `InvalidRequest`.
    pub fn of_form(headers: &HeaderMap, required: &Requirements, length: RangeInclusive<u64>) -> Result<Self> {
        let content_md5 = content_md5(headers)?;
        Ok(Self {
            checksum: planned_checksum(headers, &Framing::Identity, required)?,
            length: Length::Within(*length.start(), *length.end()),
            content_md5,
            md5: required.md5 || content_md5.is_some(),
            ..Self::internal(0, required)
        })
    }

    /// Of the checksum that the client sends, or that is computed in its place.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.algorithm()
    }

    /// The bytes that must come, neither more nor less; `None` if their number is not known.
    pub fn length(&self) -> Option<u64> {
        match self.length {
            Length::Declared(length) => Some(length),
            Length::Within(..) => None,
            Length::Undeclared => Some(0),
        }
    }
}

fn framing(headers: &HeaderMap, signed: Option<&Signed>) -> Result<(Framing, Option<[u8; 32]>)> {
    let in_header = || headers.get(CONTENT_SHA256).map(|value| value.to_str().map_or("?", str::trim));
    let text = signed.map(Signed::payload_hash).or_else(in_header).filter(|text| !text.is_empty());
    let chunked = |signed: Option<&Signed>, trailer| {
        (Framing::Chunked { signed: signed.map(|signed| Box::new(signed.clone())), trailer }, None)
    };
    Ok(match text {
        None | Some(UNSIGNED_PAYLOAD) => (Framing::Identity, None),
        Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => chunked(None, true),
        Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD") => chunked(Some(signed.ok_or(ErrorCode::AccessDenied)?), false),
        Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => {
            chunked(Some(signed.ok_or(ErrorCode::AccessDenied)?), true)
        }
        Some("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER") => {
            return Err(ErrorCode::NotImplemented.with("Header", CONTENT_SHA256));
        }
        Some(text) => {
            let mut sha256 = [0; 32];
            hex::decode_to_slice(text, &mut sha256).map_err(|_| {
                S3Error::argument(
                    CONTENT_SHA256,
                    text,
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                     STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, \
                     STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a \
                     valid sha256 value.",
                )
            })?;
            (Framing::Identity, Some(sha256))
        }
    })
}

fn planned_checksum(headers: &HeaderMap, framing: &Framing, required: &Requirements) -> Result<PlannedChecksum> {
    let announced = checksum::announced(headers)?;
    let trailer = matches!(framing, Framing::Chunked { trailer: true, .. });
    Ok(match (announced, checksum::declared(headers)?) {
        // Without a framing that has one, the announced trailer cannot come.
        (Some(_), _) if !trailer => return Err(ErrorCode::MalformedTrailer.into()),
        (Some(algorithm), _) => PlannedChecksum::Announced(algorithm),
        (None, Some(checksum)) => PlannedChecksum::Declared(checksum),
        (None, None) => required.checksum.map_or(PlannedChecksum::None, PlannedChecksum::Computed),
    })
}

fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let md5 = STANDARD.decode(text.trim()).ok().and_then(|digest| digest.try_into().ok());
    md5.map(Some).ok_or_else(|| ErrorCode::InvalidDigest.with("Content-MD5", text.as_ref()))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    match text.trim() {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
            .parse()
            .map(Some)
            .map_err(|_| S3Error::argument(name.as_str(), digits, format!("Invalid {name} header value."))),
        other => Err(S3Error::argument(name.as_str(), other, format!("Invalid {name} header value."))),
    }
}
