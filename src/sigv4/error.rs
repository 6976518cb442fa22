//! What can be wrong with a signature, with everything AWS tells about it.

use std::fmt;

use super::AmzDate;
use crate::clock::Timestamp;

/// Why a request was not accepted as signed. Each protocol gives it its own code; the texts are S3's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two hosts are named. S3: `BadRequest`.
    #[error("The request names more than one host.")]
    AmbiguousHost,
    /// The `Authorization` header is not well formed or meant for another place. S3: `AuthorizationHeaderMalformed`.
    #[error("The authorization header is malformed; {message}")]
    AuthorizationHeaderMalformed {
        /// What exactly.
        message: String,
        /// The region that is expected, if another was named: SDKs go there.
        region: Option<String>,
    },
    /// The same for a presigned query. S3: `AuthorizationQueryParametersError`.
    #[error("{message}")]
    AuthorizationQueryParametersError {
        /// What exactly.
        message: String,
        /// The region that is expected, if another was named.
        region: Option<String>,
    },
    /// A presigned request came too late. S3: `AccessDenied`.
    #[error("Request has expired")]
    Expired(Window),
    /// The session that the token is of has ended. S3: `ExpiredToken`.
    #[error("The provided token has expired.")]
    ExpiredToken,
    /// Headers that could change the request's meaning are not covered. S3: `AccessDenied`, `HeadersNotSigned`.
    #[error("There were headers present in the request which were not signed")]
    HeadersNotSigned {
        /// Their names, in lower case.
        names: Vec<String>,
    },
    /// No such key. S3: `InvalidAccessKeyId`.
    #[error("The AWS Access Key Id you provided does not exist in our records.")]
    InvalidAccessKeyId {
        /// The key that was named.
        access_key_id: String,
    },
    /// The session token does not belong to the key. S3: `InvalidToken`.
    #[error("The provided token is malformed or otherwise invalid.")]
    InvalidToken,
    /// A request to S3 must say what its body's hash is. S3: `InvalidRequest`.
    #[error("Missing required header for this request: x-amz-content-sha256")]
    MissingContentSha256,
    /// A signed request must say when it was signed. S3: `AccessDenied`.
    #[error("AWS authentication requires a valid Date or x-amz-date header")]
    MissingDate,
    /// A presigned request came too early. S3: `AccessDenied`.
    #[error("Request is not valid yet")]
    NotYetValid(Window),
    /// Both a header and a query are presented. S3: `InvalidArgument`, with the header as its `Authorization` argument.
    #[error(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or \
         the Authorization header should be specified"
    )]
    OneMechanismOnly {
        /// The header.
        authorization: String,
    },
    /// The request was signed too long ago, or in the future. S3: `RequestTimeTooSkewed`.
    #[error("The difference between the request time and the current time is too large.")]
    RequestTimeTooSkewed {
        /// When it was signed.
        request_time: AmzDate,
        /// The time here.
        server_time: Timestamp,
        /// `MaxAllowedSkewMilliseconds`.
        max_skew_millis: i64,
    },
    /// `SigV4A`, the asymmetric variant. S3: `NotImplemented`.
    #[error("A header you provided implies functionality that is not implemented")]
    SigV4aNotImplemented,
    /// The signature is not the one that the key gives. S3: `SignatureDoesNotMatch`.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    SignatureDoesNotMatch(Box<Mismatch>),
    /// So many signatures of this client were wrong that no more are looked at for now. S3: `SlowDown`.
    #[error("Please reduce your request rate.")]
    TooManyFailures,
    /// Signature version 2. S3: `InvalidRequest`.
    #[error("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")]
    UnsupportedMechanism,
    /// Another scheme. S3: `InvalidArgument`, with the header as its `Authorization` argument.
    #[error("Unsupported Authorization Type")]
    UnsupportedType {
        /// The header.
        authorization: String,
    },
}

/// When a presigned request is good, and when it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// `X-Amz-Expires`, seconds.
    pub lifetime: u32,
    /// The end: signing time and lifetime.
    pub expires: Timestamp,
    /// The time here.
    pub server_time: Timestamp,
}

/// What client and server computed, so that the client's author can see where they part.
#[derive(Clone, Eq, PartialEq)]
pub struct Mismatch {
    /// `AWSAccessKeyId`.
    pub access_key_id: String,
    /// `StringToSign`, of which `StringToSignBytes` is the hexadecimal form.
    pub string_to_sign: String,
    /// `CanonicalRequest`, which may hold any bytes. Empty for the signature of a chunk.
    pub canonical_request: Vec<u8>,
    /// `SignatureProvided`.
    pub signature_provided: String,
}

/// Headers may hold what logs must not show, so the canonical request stays out of them.
impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mismatch")
            .field("access_key_id", &self.access_key_id)
            .field("signature_provided", &self.signature_provided)
            .finish_non_exhaustive()
    }
}
