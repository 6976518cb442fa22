//! AWS Signature Version 4: one module verifies (S3, KMS, STS, IAM) and signs (tests, administration, other key services).
//!
//! The algorithm (AWS: "Create a signed AWS API request"): a request is brought into a canonical form
//! ([`canonical`](self)), whose SHA-256 is put with time and scope into a string to sign, whose HMAC-SHA256 under a key
//! derived from secret, date, region and service is the signature. A body sent in signed chunks goes on from there as a
//! chain ([`ChunkSignatures`]).
//!
//! Order of checks: shape of what is presented ([`Presented::from_head`]), then its scope, unsigned headers, key id,
//! signature, session token, clock ([`Presented::verify`]). Nothing here knows an HTTP status: [`Error`] says what is
//! wrong and carries what AWS shows; each protocol renders it in its own form.

mod canonical;
mod chunk;
mod error;
mod keys;
mod post;
mod presented;
mod sign;
mod time;
#[cfg(test)]
mod vectors;
mod verify;

use std::fmt;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method};

use crate::clock::Timestamp;
use crate::crypto::SecretBytes;

pub use chunk::{ChunkMismatch, ChunkSignatures};
pub use error::{Error, Mismatch, Window};
pub use keys::{SigningKey, SigningKeys};
pub use post::SignedPolicy;
pub use presented::{Kind, Presented};
pub use sign::{SignError, Signer};
pub use time::AmzDate;
pub use verify::{Signed, Verifier};

/// The one algorithm that is spoken.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What stands for the body's hash where the body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// SHA-256 of nothing, in hexadecimal.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The region of services that are one for all regions. (AWS: "IAM endpoints and quotas".)
const GLOBAL_REGION: &str = "us-east-1";

/// What ends every scope.
const TERMINATOR: &str = "aws4_request";

/// The parts of a request that are signed, as they are on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, still percent-encoded.
    pub path: &'a str,
    /// The query without its question mark, still percent-encoded; empty if there is none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// HTTP/2's `:authority` (or the host of an absolute request target), which stands for `Host`.
    pub authority: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// The head of `request`.
    pub fn of<B>(request: &'a http::Request<B>) -> Self {
        Self::new(request.method(), request.uri(), request.headers())
    }

    /// The head of a request whose body was taken.
    pub fn of_parts(parts: &'a http::request::Parts) -> Self {
        Self::new(&parts.method, &parts.uri, &parts.headers)
    }

    fn new(method: &'a Method, uri: &'a http::Uri, headers: &'a HeaderMap) -> Self {
        Self {
            method,
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
            authority: uri.authority().map(http::uri::Authority::as_str),
        }
    }

    /// The host that the request names, which both the signature and the routing go by.
    ///
    /// # Errors
    /// [`Error::AmbiguousHost`] if it names two, of which the signature could cover one and the routing use the other.
    pub fn host(&self) -> Result<Option<&'a [u8]>, Error> {
        let mut hosts = self.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Error::AmbiguousHost);
        }
        match (self.authority.map(str::as_bytes), host) {
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Error::AmbiguousHost),
            (_, Some(host)) => Ok(Some(host)),
            (authority, None) => Ok(authority),
        }
    }

    /// The first value of a header; a value that is empty or not ASCII counts as absent.
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
    }
}

/// A service that signatures are scoped to, and how it canonicalises paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service {
    name: &'static str,
    path: PathRule,
}

impl Service {
    /// The look-up of events.
    pub const CLOUDTRAIL: Self = Self { name: "cloudtrail", path: PathRule::NormalisedTwice };
    /// AWS Identity and Access Management.
    pub const IAM: Self = Self { name: "iam", path: PathRule::NormalisedTwice };
    /// The key service.
    pub const KMS: Self = Self { name: "kms", path: PathRule::NormalisedTwice };
    /// The object store.
    pub const S3: Self = Self { name: "s3", path: PathRule::AsSent };
    /// The security token service.
    pub const STS: Self = Self { name: "sts", path: PathRule::NormalisedTwice };

    /// Its name in scopes.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Whether it is one service for all regions, whose signatures may name [`GLOBAL_REGION`] everywhere.
    const fn is_global(self) -> bool {
        matches!(self.name.as_bytes(), b"iam" | b"sts")
    }
}

/// How a path enters the canonical request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PathRule {
    /// S3: each byte encoded once, no segment touched, for keys may hold `//` and `..`.
    AsSent,
    /// Everything else: dot segments and doubled slashes removed, and what is encoded on the wire encoded once more.
    NormalisedTwice,
}

/// What a signature is good for: `20150830/us-east-1/s3/aws4_request`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    /// The region.
    pub region: String,
    /// The service's name.
    pub service: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// Where secret access keys are found.
pub trait Secrets {
    /// What is known of `access_key_id`, sent with this session token. Long-term keys have none and may not be sent with
    /// one; temporary keys are not known without theirs.
    fn find(&self, access_key_id: &str, session_token: Option<&str>, now: Timestamp) -> KeyLookup;
}

/// What is known of an access key.
#[derive(Clone, Debug)]
pub enum KeyLookup {
    /// It signs with this secret.
    Secret(Arc<SecretBytes>),
    /// It signed with this secret until its session ended.
    Expired(Arc<SecretBytes>),
    /// There is no such key.
    Unknown,
    /// The session token is not one of this key's.
    InvalidToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Result<Option<&'a [u8]>, Error> {
        Head { method: &Method::GET, path: "/", query: "", headers, authority }.host()
    }

    #[test]
    fn edge_case_1_http2_takes_the_host_from_the_authority() {
        let mut headers = HeaderMap::new();
        assert_eq!(host_of(&headers, Some("b.example.com")).unwrap(), Some(&b"b.example.com"[..]));
        headers.insert(HOST, HeaderValue::from_static("B.example.com"));
        assert_eq!(host_of(&headers, Some("b.example.com")).unwrap(), Some(&b"B.example.com"[..]));
    }

    #[test]
    fn edge_case_2_two_hosts_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("a.example.com"));
        assert!(matches!(host_of(&headers, Some("b.example.com")), Err(Error::AmbiguousHost)));
        headers.append(HOST, HeaderValue::from_static("b.example.com"));
        assert!(matches!(host_of(&headers, None), Err(Error::AmbiguousHost)));
    }
}
