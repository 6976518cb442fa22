//! How IAM and STS refuse: AWS's codes, statuses and texts. (AWS: IAM and STS API references, "Errors" of each operation,
//! "Common error types".)

use std::borrow::Cow;

use http::StatusCode;

use crate::iam::Denied;
use crate::policy::MalformedPolicy;
use crate::sigv4;
use crate::store::StoreError;
use crate::wire::validation::{NOT_NULL, fault, told};

/// A refusal.
#[derive(Debug)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: Cow<'static, str>,
    /// For the log alone.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), source: None }
    }
}

/// What want of permission is called.
pub(super) const ACCESS_DENIED: &str = "AccessDenied";

macro_rules! kinds {
    ($($function:ident $code:literal $status:ident;)*) => {
        $(pub(super) fn $function(message: impl Into<Cow<'static, str>>) -> Failure {
            Failure::new(StatusCode::$status, $code, message)
        })*
    };
}

kinds! {
    access_denied "AccessDenied" FORBIDDEN;
    already_exists "EntityAlreadyExists" CONFLICT;
    delete_conflict "DeleteConflict" CONFLICT;
    expired_identity_token "ExpiredTokenException" BAD_REQUEST;
    idp_communication "IDPCommunicationError" BAD_REQUEST;
    idp_rejected "IDPRejectedClaim" FORBIDDEN;
    invalid_action "InvalidAction" BAD_REQUEST;
    invalid_client_token "InvalidClientTokenId" FORBIDDEN;
    invalid_identity_token "InvalidIdentityToken" BAD_REQUEST;
    invalid_input "InvalidInput" BAD_REQUEST;
    invalid_parameter "InvalidParameterValue" BAD_REQUEST;
    limit_exceeded "LimitExceeded" CONFLICT;
    malformed_policy "MalformedPolicyDocument" BAD_REQUEST;
    no_such_entity "NoSuchEntity" NOT_FOUND;
    packed_policy_too_large "PackedPolicyTooLarge" BAD_REQUEST;
    validation "ValidationError" BAD_REQUEST;
}

/// `2 validation errors detected: …`: all that a request breaks, if it breaks anything.
pub(super) fn check_faults(faults: &[String]) -> Result<()> {
    if faults.is_empty() { Ok(()) } else { Err(validation(told(faults))) }
}

/// What IAM says of a member that breaks a rule: it does not repeat the value. (Recorded on AWS: `LocalStack`'s `test_role_tag_errors`.)
pub(super) fn constraint(member: &str, rule: &str) -> Failure {
    validation(told(&[fault(None, member, rule)]))
}

/// What IAM says of a member that must be given and is not.
pub(super) fn missing(member: &str) -> Failure {
    constraint(member, NOT_NULL)
}

impl From<MalformedPolicy> for Failure {
    fn from(error: MalformedPolicy) -> Self {
        malformed_policy(error.0)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        access_denied(denied.sentence())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = "The request processing has failed because of an unknown error, exception or failure.";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { source: Some(error.into()), ..Self::new(status, "ServiceFailure", message) }
    }
}

impl From<sigv4::Error> for Failure {
    fn from(error: sigv4::Error) -> Self {
        use sigv4::Error as E;
        let mismatch = |message| Self::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message);
        match &error {
            E::InvalidAccessKeyId { .. } | E::InvalidToken => unknown_client(),
            E::ExpiredToken => Self::new(
                StatusCode::FORBIDDEN,
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            E::SignatureDoesNotMatch(_) => mismatch(Cow::Borrowed(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            )),
            E::RequestTimeTooSkewed { request_time, server_time, .. } => mismatch(Cow::Owned(format!(
                "Signature expired: {} is too far from the server's time ({})",
                request_time.as_str(),
                server_time.strftime("%Y%m%dT%H%M%SZ")
            ))),
            E::Expired(_) | E::NotYetValid(_) | E::HeadersNotSigned { .. } => mismatch(Cow::Owned(error.to_string())),
            E::TooManyFailures => Self::new(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded"),
            // Signed for another service or region.
            E::AuthorizationHeaderMalformed { message, .. } if message.contains("expecting") => {
                mismatch(Cow::Owned(format!("Credential should be scoped to a valid region or service: {message}")))
            }
            _ => Self::new(StatusCode::BAD_REQUEST, "IncompleteSignature", error.to_string()),
        }
    }
}

pub(super) fn unknown_client() -> Failure {
    invalid_client_token("The security token included in the request is invalid.")
}
