//! Who signed a request to the operators' API.

use std::net::IpAddr;

use http::StatusCode;

use super::Admin;
use super::error::{Failure, bad_request};
use crate::crypto::digest;
use crate::iam::Identity;
use crate::sigv4::{self, Head, Presented, Service, UNSIGNED_PAYLOAD, Verifier};

/// The identity behind a request with this head and body. The body's hash is signed, unless the client leaves the body to
/// TLS, as it may in S3.
pub(super) fn authenticate(admin: &Admin, client: IpAddr, head: &Head<'_>, body: &[u8]) -> Result<Identity, Failure> {
    let denied = |message: &str| Failure::new(StatusCode::FORBIDDEN, "AccessDenied", message);
    let presented = Presented::from_head(head)?.ok_or_else(|| denied("The request is not signed."))?;
    let verifier = Verifier {
        secrets: &*admin.directory,
        region: &admin.region,
        service: Service::S3,
        now: admin.clock.now(),
        keys: &admin.keys,
    };
    let key = presented.access_key_id().to_owned();
    let verify = || presented.s3_payload_hash(head).and_then(|hash| presented.verify(head, &verifier, &hash));
    let signed = admin.directory.attempt(client, &key, verifier.now, verify)?;
    let hash = signed.payload_hash();
    if hash != UNSIGNED_PAYLOAD && hash != hex::encode(digest::sha256(body)) {
        return Err(bad_request(
            "XAmzContentSHA256Mismatch",
            "The body is not the one that x-amz-content-sha256 names.",
        ));
    }
    admin.directory.identify(&signed).ok_or_else(|| denied("The access key is not known."))
}

impl From<sigv4::Error> for Failure {
    fn from(error: sigv4::Error) -> Self {
        let code = match &error {
            sigv4::Error::InvalidAccessKeyId { .. } => "InvalidAccessKeyId",
            sigv4::Error::SignatureDoesNotMatch(_) => "SignatureDoesNotMatch",
            sigv4::Error::ExpiredToken => "ExpiredToken",
            sigv4::Error::InvalidToken => "InvalidToken",
            sigv4::Error::TooManyFailures => "SlowDown",
            sigv4::Error::RequestTimeTooSkewed { .. } => "RequestTimeTooSkewed",
            _ => "AccessDenied",
        };
        Self::new(StatusCode::FORBIDDEN, code, error.to_string())
    }
}
