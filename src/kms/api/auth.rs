//! Who signed a KMS request, and how a bad signature is answered: the exceptions of AWS's JSON services.
//! (AWS: "Common error types", KMS API reference.)

use http::StatusCode;

use super::{Failure, KmsApi};
use crate::crypto::digest;
use crate::iam::Identity;
use crate::sigv4::{self, Head, Presented, Service, Verifier};

/// The identity behind a request with this head and body.
pub(super) fn authenticate(api: &KmsApi, head: &Head<'_>, body: &[u8]) -> Result<Identity, Failure> {
    let presented = Presented::from_head(head).map_err(|error| refusal(&error))?.ok_or_else(|| {
        Failure::new(StatusCode::BAD_REQUEST, "MissingAuthenticationTokenException", "Missing Authentication Token")
    })?;
    let verifier = Verifier {
        secrets: &*api.directory,
        region: api.kms.region(),
        service: Service::KMS,
        now: api.clock.now(),
        keys: &api.keys,
    };
    // The signature covers the body that came: clients need send no hash of it.
    let signed =
        presented.verify(head, &verifier, &hex::encode(digest::sha256(body))).map_err(|error| refusal(&error))?;
    let key = api.directory.access_key(signed.access_key_id());
    key.map(|key| key.identity.clone()).ok_or_else(unknown_client)
}

fn unknown_client() -> Failure {
    let message = "The security token included in the request is invalid.";
    Failure::new(StatusCode::BAD_REQUEST, "UnrecognizedClientException", message)
}

fn refusal(error: &sigv4::Error) -> Failure {
    use sigv4::Error as E;
    let told = |kind: &'static str, message: String| Failure::new(StatusCode::BAD_REQUEST, kind, message);
    let text = error.to_string();
    match error {
        E::InvalidAccessKeyId { .. } | E::InvalidToken => unknown_client(),
        E::SignatureDoesNotMatch(_) => told(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details."
                .to_owned(),
        ),
        E::RequestTimeTooSkewed { request_time, .. } => told(
            "InvalidSignatureException",
            format!(
                "Signature expired or not yet current: {} is too far from the server's time",
                request_time.as_str()
            ),
        ),
        E::Expired(_) | E::NotYetValid(_) | E::HeadersNotSigned { .. } => told("InvalidSignatureException", text),
        E::AmbiguousHost
        | E::AuthorizationHeaderMalformed { .. }
        | E::AuthorizationQueryParametersError { .. }
        | E::MissingContentSha256
        | E::MissingDate
        | E::OneMechanismOnly { .. }
        | E::SigV4aNotImplemented
        | E::UnsupportedMechanism
        | E::UnsupportedType { .. } => told("IncompleteSignatureException", text),
    }
}
