//! How the errors of lower layers look to an S3 client: each map an exhaustive match.

use super::{ErrorCode, S3Error};
use crate::clock::iso8601_seconds;
use crate::iam::Denied;
use crate::kms::{KmsError, error::KmsErrorKind};
use crate::s3::bucket::BUCKET_REGION;
use crate::sigv4::{self, Mismatch};
use crate::sse::SseError;
use crate::sse::headers::METHOD;
use crate::store::StoreError;

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSpace => ErrorCode::InsufficientStorage,
            StoreError::RunNotFound(_) | StoreError::Corrupt(_) | StoreError::Engine(_) => ErrorCode::InternalError,
        };
        Self::from(code).because(error)
    }
}

impl From<Denied> for S3Error {
    fn from(denied: Denied) -> Self {
        let error = match &denied.reason {
            Some(reason) => {
                let Denied { principal, action, resource, .. } = &denied;
                let message = format!(
                    "User: {principal} is not authorized to perform: {action} on resource: \"{resource}\" {reason}"
                );
                Self::new(ErrorCode::AccessDenied, message)
            }
            None => Self::from(ErrorCode::AccessDenied),
        };
        error.because(denied)
    }
}

impl From<KmsError> for S3Error {
    fn from(error: KmsError) -> Self {
        use KmsErrorKind as Kind;
        let told = |code| Self::new(code, error.message.clone());
        let mapped = match error.kind {
            Kind::NotFound | Kind::InvalidArn => told(ErrorCode::KmsNotFound),
            Kind::Disabled => told(ErrorCode::KmsDisabled),
            Kind::InvalidState => told(ErrorCode::KmsInvalidState),
            Kind::InvalidKeyUsage => told(ErrorCode::KmsInvalidKeyUsage),
            Kind::AccessDenied => told(ErrorCode::AccessDenied),
            Kind::Throttling | Kind::LimitExceeded => {
                Self::new(ErrorCode::SlowDown, "Please reduce your request rate for operations involving AWS KMS.")
            }
            Kind::KeyUnavailable | Kind::Unavailable | Kind::DependencyTimeout | Kind::Internal => Self::new(
                ErrorCode::ServiceUnavailable,
                "The key management service is not available. Please try again.",
            ),
            Kind::Validation | Kind::UnsupportedOperation => told(ErrorCode::InvalidArgument),
            // The server's own ciphertexts and calls: none of these is the S3 client's doing.
            Kind::InvalidCiphertext
            | Kind::IncorrectKey
            | Kind::AlreadyExists
            | Kind::DryRunOperation
            | Kind::ExpiredImportToken
            | Kind::IncorrectKeyMaterial
            | Kind::InvalidGrantId
            | Kind::InvalidGrantToken
            | Kind::InvalidImportToken
            | Kind::InvalidMac
            | Kind::InvalidSignature
            | Kind::InvalidAliasName
            | Kind::InvalidMarker
            | Kind::MalformedPolicyDocument
            | Kind::NotAuthorized
            | Kind::CustomKeyStoreNotFound
            | Kind::Tag => Self::from(ErrorCode::InternalError),
        };
        mapped.because(error)
    }
}

impl From<SseError> for S3Error {
    fn from(error: SseError) -> Self {
        match error {
            SseError::InvalidArgument { message, name, value } => {
                Self::argument(name, value.unwrap_or_else(|| "null".to_owned()), message)
            }
            SseError::InvalidAlgorithm { value } => {
                ErrorCode::InvalidEncryptionAlgorithm.with("ArgumentName", METHOD).with("ArgumentValue", value)
            }
            SseError::CustomerKeyRequired => Self::new(
                ErrorCode::InvalidRequest,
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided \
                 to retrieve the object.",
            ),
            SseError::CustomerKeyNotApplicable => {
                Self::new(ErrorCode::InvalidRequest, "The encryption parameters are not applicable to this object.")
            }
            SseError::WrongCustomerKey => Self::new(ErrorCode::AccessDenied, error.to_string()),
            SseError::Kms(error) => error.into(),
            SseError::Store(error) => error.into(),
            error @ (SseError::RunTooLong | SseError::Corrupt(_) | SseError::WrongRootKey) => Self::internal(error),
        }
    }
}

impl From<sigv4::Error> for S3Error {
    fn from(error: sigv4::Error) -> Self {
        use sigv4::Error as E;
        let text = error.to_string();
        let told = |code| Self::new(code, text.clone());
        match error {
            E::AmbiguousHost => told(ErrorCode::BadRequest),
            E::AuthorizationHeaderMalformed { region, .. } => {
                with_region(told(ErrorCode::AuthorizationHeaderMalformed), region)
            }
            E::AuthorizationQueryParametersError { region, .. } => {
                with_region(told(ErrorCode::AuthorizationQueryParametersError), region)
            }
            E::Expired(window) | E::NotYetValid(window) => told(ErrorCode::AccessDenied)
                .with("X-Amz-Expires", window.lifetime.to_string())
                .with("Expires", iso8601_seconds(window.expires))
                .with("ServerTime", iso8601_seconds(window.server_time)),
            E::HeadersNotSigned { names } => told(ErrorCode::AccessDenied).with("HeadersNotSigned", names.join(", ")),
            E::InvalidAccessKeyId { access_key_id } => {
                told(ErrorCode::InvalidAccessKeyId).with("AWSAccessKeyId", access_key_id)
            }
            E::ExpiredToken => told(ErrorCode::ExpiredToken),
            E::InvalidToken => told(ErrorCode::InvalidToken),
            E::TooManyFailures => told(ErrorCode::SlowDown),
            E::MissingContentSha256 | E::UnsupportedMechanism => told(ErrorCode::InvalidRequest),
            E::MissingDate => told(ErrorCode::AccessDenied),
            E::OneMechanismOnly { authorization } | E::UnsupportedType { authorization } => {
                // The argument's value is a credential's form: AWS shows it back to whoever sent it.
                Self::argument("Authorization", authorization, text)
            }
            E::RequestTimeTooSkewed { request_time, server_time, max_skew_millis } => {
                told(ErrorCode::RequestTimeTooSkewed)
                    .with("RequestTime", request_time.as_str())
                    .with("ServerTime", iso8601_seconds(server_time))
                    .with("MaxAllowedSkewMilliseconds", max_skew_millis.to_string())
            }
            E::SigV4aNotImplemented => told(ErrorCode::NotImplemented),
            E::SignatureDoesNotMatch(mismatch) => mismatched(*mismatch),
        }
    }
}

/// SDKs that learn the right region ask again there.
fn with_region(error: S3Error, region: Option<String>) -> S3Error {
    match region {
        // The answer to a HEAD has no body.
        Some(region) => error.with_header(BUCKET_REGION, &region).with("Region", region),
        None => error,
    }
}

/// `SignatureDoesNotMatch` with all that AWS shows, so that a client's author can see where the two part.
fn mismatched(mismatch: Mismatch) -> S3Error {
    let error = ErrorCode::SignatureDoesNotMatch
        .with("AWSAccessKeyId", mismatch.access_key_id)
        .with("StringToSign", &mismatch.string_to_sign)
        .with("SignatureProvided", mismatch.signature_provided)
        .with("StringToSignBytes", spaced_hex(mismatch.string_to_sign.as_bytes()));
    if mismatch.canonical_request.is_empty() {
        return error;
    }
    error
        .with("CanonicalRequest", String::from_utf8_lossy(&mismatch.canonical_request))
        .with("CanonicalRequestBytes", spaced_hex(&mismatch.canonical_request))
}

/// `47 45 54`: bytes as AWS shows them.
fn spaced_hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;
    use crate::sigv4::Window;

    #[test]
    fn times_are_told_to_the_second() {
        let of = |error: S3Error, name| error.detail.into_iter().find(|(element, _)| *element == name).unwrap().1;
        let (expires, server_time) = (from_millis(1_138_985_109_123), from_millis(1_138_985_110_999));
        let window = || Window { lifetime: 5, expires, server_time };
        for expired in [sigv4::Error::Expired(window()), sigv4::Error::NotYetValid(window())] {
            let text = expired.to_string();
            assert_eq!(of(expired.into(), "ServerTime"), "2006-02-03T16:45:10Z", "{text}");
        }
        assert_eq!(of(sigv4::Error::Expired(window()).into(), "Expires"), "2006-02-03T16:45:09Z");
    }

    #[test]
    fn a_kms_that_fails_is_told_as_s3_tells_it() {
        let mapped = |kind: KmsErrorKind| S3Error::from(kind.with("what the KMS said"));
        let throttled = mapped(KmsErrorKind::Throttling);
        assert_eq!((throttled.code, throttled.code.status().as_u16()), (ErrorCode::SlowDown, 503));
        assert_eq!(throttled.message, "Please reduce your request rate for operations involving AWS KMS.");
        for away in [
            KmsErrorKind::KeyUnavailable,
            KmsErrorKind::Unavailable,
            KmsErrorKind::DependencyTimeout,
            KmsErrorKind::Internal,
        ] {
            let error = mapped(away);
            assert_eq!((error.code, error.code.status().as_u16()), (ErrorCode::ServiceUnavailable, 503));
        }
        for (kind, code) in [
            (KmsErrorKind::NotFound, "KMS.NotFoundException"),
            (KmsErrorKind::Disabled, "KMS.DisabledException"),
            (KmsErrorKind::InvalidState, "KMS.KMSInvalidStateException"),
            (KmsErrorKind::InvalidKeyUsage, "KMS.InvalidKeyUsageException"),
            (KmsErrorKind::AccessDenied, "AccessDenied"),
        ] {
            let error = mapped(kind);
            assert_eq!((error.code.as_str(), error.message.as_ref()), (code, "what the KMS said"));
            assert_eq!(error.code.status().as_u16(), if code == "AccessDenied" { 403 } else { 400 });
        }
    }
}
