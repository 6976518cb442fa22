//! Who signed a request to the operators' API.

use http::StatusCode;

use super::Admin;
use super::error::Failure;
use crate::crypto::digest;
use crate::iam::Identity;
use crate::sigv4::{self, Head, Presented, Service, Verifier};

/// The identity behind a request with this head and body. The signature covers the body.
pub(super) fn authenticate(admin: &Admin, head: &Head<'_>, body: &[u8]) -> Result<Identity, Failure> {
    let denied = |message: &str| Failure::new(StatusCode::FORBIDDEN, "AccessDenied", message);
    let presented = Presented::from_head(head)?.ok_or_else(|| denied("The request is not signed."))?;
    let verifier = Verifier {
        secrets: &*admin.directory,
        region: &admin.region,
        service: Service::S3,
        now: admin.clock.now(),
        keys: &admin.keys,
    };
    let signed = presented.verify(head, &verifier, &hex::encode(digest::sha256(body)))?;
    let key = admin.directory.access_key(signed.access_key_id());
    key.map(|key| key.identity.clone()).ok_or_else(|| denied("The access key is not known."))
}

impl From<sigv4::Error> for Failure {
    fn from(error: sigv4::Error) -> Self {
        let code = match &error {
            sigv4::Error::InvalidAccessKeyId { .. } => "InvalidAccessKeyId",
            sigv4::Error::SignatureDoesNotMatch(_) => "SignatureDoesNotMatch",
            sigv4::Error::RequestTimeTooSkewed { .. } => "RequestTimeTooSkewed",
            _ => "AccessDenied",
        };
        Self::new(StatusCode::FORBIDDEN, code, error.to_string())
    }
}
