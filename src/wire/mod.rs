//! What the front end and every protocol share: who is connected and what they say of themselves, request ids, and bodies;
//! what is said of members that break a model; and whom clients of other servers trust.

pub mod body;
pub mod error;
pub mod percent;
pub mod trust;
pub mod validation;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HOST, HeaderMap, USER_AGENT};

use crate::clock::Timestamp;
use crate::crypto::random::{self, Entropy};

pub use body::{BoxError, RequestBody, ResponseBody};

/// What is known of a request before it is read.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Names the request in its response, the logs and the audit.
    pub id: RequestId,
    /// When its head had been read.
    pub received: Timestamp,
    /// Who sent it.
    pub peer: SocketAddr,
    /// For whom: the peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// How it is protected; `None` over plain HTTP.
    pub tls: Option<TlsInfo>,
    /// Whether a trusted proxy says that it took the request over TLS.
    pub forwarded_over_tls: bool,
}

impl RequestContext {
    /// Whether the client's request was protected on its way.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some() || self.forwarded_over_tls
    }
}

/// The protection of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The negotiated suite, by its IANA name.
    pub cipher_suite: &'static str,
}

/// What a client says of itself, in headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'s> {
    /// `User-Agent`.
    pub user_agent: Option<&'s str>,
    /// `Host`.
    pub host: Option<&'s str>,
}

impl<'s> Said<'s> {
    /// What these headers say.
    pub fn of(headers: &'s HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self { user_agent: text(USER_AGENT), host: text(HOST) }
    }
}

/// What a request is called: by S3 in `x-amz-request-id` and `x-amz-id-2`, by AWS's other services in `x-amzn-RequestId`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId {
    /// Sixteen upper-case letters and digits, as S3's, or a UUID.
    pub id: String,
    /// The extended id, which only S3 has: base64 of 56 random bytes.
    pub extended: String,
}

impl RequestId {
    /// A fresh pair.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let bytes = random::identifier::<72>(entropy);
        let id = bytes[..16].iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect();
        Self { id, extended: STANDARD.encode(&bytes[16..]) }
    }

    /// A fresh UUID, as the JSON and query protocols have it.
    pub fn draw_uuid(entropy: &dyn Entropy) -> Self {
        Self { id: random::uuid(random::identifier(entropy)), extended: String::new() }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// A protocol spoken on the endpoint (S3, the KMS API): a whole request in, a whole response out. Implementations answer
/// every error themselves, in their protocol's own form.
#[async_trait::async_trait]
pub trait Protocol: Send + Sync + 'static {
    /// Answers one request. The response carries an [`Answered`] extension.
    async fn call(&self, cx: &RequestContext, request: http::Request<RequestBody>) -> http::Response<ResponseBody>;

    /// Whether `host` names something of this protocol's own, such as a bucket: then whatever its paths are is the protocol's.
    fn owns_host(&self, _host: &str) -> bool {
        false
    }
}

/// What a protocol reports of a request it answered, for metrics and the access log: a response extension.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// The protocol: `s3`, `kms`.
    pub protocol: &'static str,
    /// The operation's name (`PutObject`), or `Unknown`.
    pub operation: &'static str,
    /// The access key that signed, if any did.
    pub access_key_id: Option<String>,
    /// The error's code, if one was answered.
    pub error_code: Option<&'static str>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ending {
    /// Bytes of the response's body that were sent.
    pub sent: u64,
    /// From the request's head to the end of the response.
    pub total: Duration,
    /// From the last of the request to the head of the response.
    pub turn_around: Duration,
}

/// What a protocol does when the response has been sent, or cannot be: a response extension. It must not block.
#[derive(Clone)]
pub struct AtEnd(Arc<dyn Fn(&Ending) + Send + Sync>);

impl AtEnd {
    /// `act`, at the end.
    pub fn new(act: impl Fn(&Ending) + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    /// The end has come.
    pub fn act(&self, ending: &Ending) {
        (self.0)(ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_look_like_those_of_s3() {
        let id = RequestId::draw(&crate::crypto::random::SeededEntropy::new(1));
        assert_eq!(id.id.len(), 16);
        assert!(id.id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
        assert_eq!(id.extended.len(), 76);
    }

    #[test]
    fn request_ids_of_the_other_services_are_uuids() {
        let entropy = crate::crypto::random::SeededEntropy::new(1);
        let id = RequestId::draw_uuid(&entropy);
        assert_eq!(uuid::Uuid::try_parse(&id.id).unwrap().get_version_num(), 4);
        assert_eq!((id.id.len(), id.extended.as_str()), (36, ""));
        assert_ne!(RequestId::draw_uuid(&entropy), id);
    }
}
