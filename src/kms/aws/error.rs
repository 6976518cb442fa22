//! What AWS KMS answers is what S3's clients are told; what concerns Strongroom's own access to it is not.

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use crate::kms::Caller;
use crate::kms::error::{KmsError, KmsErrorKind as Kind};

/// What was tried.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'r> {
    pub caller: &'r Caller,
    /// The IAM action.
    pub action: &'static str,
    /// The key, as AWS was told.
    pub key: &'r str,
}

/// AWS's codes. (API reference of each operation, "Errors", and "Common errors".)
const CODES: &[(&str, Kind)] = &[
    ("AlreadyExistsException", Kind::AlreadyExists),
    ("DependencyTimeoutException", Kind::DependencyTimeout),
    ("DisabledException", Kind::Disabled),
    ("IncorrectKeyException", Kind::IncorrectKey),
    ("InvalidArnException", Kind::InvalidArn),
    ("InvalidCiphertextException", Kind::InvalidCiphertext),
    ("InvalidKeyUsageException", Kind::InvalidKeyUsage),
    ("KMSInvalidStateException", Kind::InvalidState),
    ("KeyUnavailableException", Kind::KeyUnavailable),
    ("KMSInternalException", Kind::Internal),
    ("LimitExceededException", Kind::LimitExceeded),
    ("NotFoundException", Kind::NotFound),
    ("ThrottlingException", Kind::Throttling),
    ("Throttling", Kind::Throttling),
    ("RequestThrottledException", Kind::Throttling),
    ("TooManyRequestsException", Kind::Throttling),
    ("UnsupportedOperationException", Kind::UnsupportedOperation),
    ("ValidationException", Kind::Validation),
    // The server's own credentials: not the client's affair, and the operator's to mend.
    ("ExpiredTokenException", Kind::Unavailable),
    ("ExpiredToken", Kind::Unavailable),
    ("IncompleteSignature", Kind::Unavailable),
    ("InvalidClientTokenId", Kind::Unavailable),
    ("InvalidSignatureException", Kind::Unavailable),
    ("MissingAuthenticationToken", Kind::Unavailable),
    ("MissingAuthenticationTokenException", Kind::Unavailable),
    ("NotAuthorized", Kind::Unavailable),
    ("OptInRequired", Kind::Unavailable),
    ("SignatureDoesNotMatch", Kind::Unavailable),
    ("UnrecognizedClientException", Kind::Unavailable),
];

impl Attempt<'_> {
    /// The error for `error`.
    pub fn failed<E>(&self, error: SdkError<E, HttpResponse>) -> KmsError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (kind, message) = match &error {
            SdkError::ServiceError(service) => {
                let (code, message) = (service.err().code().unwrap_or_default(), service.err().message());
                self.told(code, message.unwrap_or_default(), service.raw().status().as_u16())
            }
            SdkError::TimeoutError(_) => (Kind::DependencyTimeout, "the key service did not answer in time".to_owned()),
            _ => (Kind::Unavailable, "the key service cannot be reached".to_owned()),
        };
        KmsError { kind, message, source: Some(Box::new(error)) }
    }

    /// The same, where a blob was to be opened: of a key that was `named`, or of whichever it names.
    pub fn failed_to_open<E>(&self, error: SdkError<E, HttpResponse>, named: bool) -> KmsError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let denied = match &error {
            SdkError::ServiceError(service) => service.err().code() == Some("AccessDeniedException"),
            _ => false,
        };
        // A key that is not there and one that may not be used are told apart by nothing; the blob alone has named it.
        if denied && !named {
            return Kind::InvalidCiphertext.because("", error);
        }
        self.failed(error)
    }

    fn told(&self, code: &str, message: &str, status: u16) -> (Kind, String) {
        if code == "AccessDeniedException" || code == "AccessDenied" {
            // AWS names Strongroom's own principal, which is nobody's business.
            let Self { caller, action, key } = self;
            let message = format!(
                "User: {} is not authorized to perform: {action} on resource: {key} because no resource-based policy \
                 allows the {action} action",
                caller.principal
            );
            return (Kind::AccessDenied, message);
        }
        let kind = CODES.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind);
        let kind = kind.unwrap_or(match status {
            429 => Kind::Throttling,
            500..=599 => Kind::Unavailable,
            // It is there, and does not do this.
            _ => Kind::KeyUnavailable,
        });
        let message = match kind {
            Kind::InvalidCiphertext => "",
            Kind::KeyUnavailable | Kind::Unavailable | Kind::Internal => "the key service does not answer now",
            _ => message,
        };
        (kind, message.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let caller = Caller {
            principal: "arn:aws:iam::000000000000:user/alice".to_owned(),
            ..Caller::root_of("000000000000", None, "r")
        };
        let attempt = Attempt { caller: &caller, action: "kms:Decrypt", key: "k" };
        assert_eq!(
            attempt.told("DisabledException", "k is disabled.", 400),
            (Kind::Disabled, "k is disabled.".to_owned())
        );
        assert_eq!(attempt.told("ThrottlingException", "Rate exceeded", 400).0, Kind::Throttling);
        assert_eq!(attempt.told("InvalidCiphertextException", "odd", 400), (Kind::InvalidCiphertext, String::new()));
        for (code, status, kind) in
            [("", 503, Kind::Unavailable), ("", 429, Kind::Throttling), ("X", 400, Kind::KeyUnavailable)]
        {
            assert_eq!(attempt.told(code, "", status).0, kind, "{code} {status}");
        }
        assert_eq!(attempt.told("KeyUnavailableException", "", 500).0, Kind::KeyUnavailable);
        let own = "User: arn:aws:sts::1:assumed-role/strongroom/i is not authorized to perform: kms:Decrypt";
        let (kind, message) = attempt.told("AccessDeniedException", own, 400);
        assert_eq!(kind, Kind::AccessDenied);
        assert!(message.starts_with("User: arn:aws:iam::000000000000:user/alice is not authorized"), "{message}");
        assert_eq!(attempt.told("UnrecognizedClientException", "", 400).0, Kind::Unavailable);
    }
}
