//! How the operators' API refuses.

use http::StatusCode;
use serde_json::{Value, json};

use crate::iam::Denied;
use crate::kms::KmsError;
use crate::store::StoreError;
use crate::wire::RequestContext;

/// A refusal.
#[derive(Debug)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    message: String,
    /// For the log alone.
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), source: None }
    }

    /// A refusal for a reason that is the log's to tell.
    pub fn because(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Self {
        Self { status, code, message: message.into(), source: Some(source) }
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the client gets.
    pub fn document(&self, cx: &RequestContext) -> Value {
        json!({"code": self.code, "message": self.message, "requestId": cx.id.id})
    }

    /// Logs what is the server's own fault.
    pub fn log(&self, cx: &RequestContext, operation: &'static str) {
        if self.status.is_server_error() {
            let cause = self.source.as_deref().map(tracing::field::debug);
            tracing::error!(request_id = %cx.id, operation, code = self.code, cause, "request failed");
        }
    }
}

pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, code, message)
}

pub(super) fn not_found(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, code, message)
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", denied.sentence())
    }
}

impl From<KmsError> for Failure {
    fn from(error: KmsError) -> Self {
        let status = if error.kind.is_transient() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        Self { status, code: error.kind.code(), message: error.message, source: error.source }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (status, code) = match error {
            StoreError::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        };
        Self { status, code, message: "The server could not do it.".to_owned(), source: Some(error.into()) }
    }
}
