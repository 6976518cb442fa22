//! Who signed a request of AWS's JSON protocols (KMS, CloudTrail), and how a bad signature is answered there.
//! (AWS: "Common error types", KMS API reference.)

use std::net::IpAddr;

use super::{Directory, Identity};
use crate::crypto::digest;
use crate::sigv4::{self, Head, Presented, Verifier};

/// The request was not signed as it should be: an exception's name and text. The status is 400.
#[derive(Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The exception's name.
    pub kind: &'static str,
    /// The text.
    pub message: String,
}

/// The identity behind a request with this head and body, from this client.
///
/// # Errors
/// [`Refusal`].
pub fn authenticate(
    client: IpAddr,
    head: &Head<'_>,
    body: &[u8],
    verifier: &Verifier<'_>,
    directory: &Directory,
) -> Result<Identity, Refusal> {
    let presented = Presented::from_head(head)
        .map_err(|error| refusal(&error))?
        .ok_or_else(|| told("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
    // The signature covers the body that came: clients need send no hash of it.
    let (key, hash) = (presented.access_key_id().to_owned(), hex::encode(digest::sha256(body)));
    let signed = directory.attempt(client, &key, verifier.now, || presented.verify(head, verifier, &hash));
    directory.identify(&signed.map_err(|error| refusal(&error))?).ok_or_else(unknown_client)
}

fn told(kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into() }
}

fn unknown_client() -> Refusal {
    told("UnrecognizedClientException", "The security token included in the request is invalid.")
}

fn refusal(error: &sigv4::Error) -> Refusal {
    use sigv4::Error as E;
    let text = error.to_string();
    match error {
        E::InvalidAccessKeyId { .. } | E::InvalidToken => unknown_client(),
        E::ExpiredToken => told("ExpiredTokenException", "The security token included in the request is expired"),
        E::TooManyFailures => told("ThrottlingException", "Rate exceeded"),
        E::SignatureDoesNotMatch(_) => told(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
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
