//! The one error type of the S3 protocol: a code from the table, a text, and the details that AWS puts beside it.

mod code;
mod from;

use std::borrow::Cow;
use std::error::Error;
use std::io;

use crate::store::StoreError;
use crate::wire::BoxError;

pub use code::ErrorCode;

/// Why an S3 request failed, as the client will be told.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct S3Error {
    /// The code, which decides the status.
    pub code: ErrorCode,
    /// The text.
    pub message: Cow<'static, str>,
    /// Elements beside Code and Message, in the order in which they are written.
    pub detail: Vec<(&'static str, String)>,
    /// Headers of the response, beside those that all have.
    pub headers: Vec<(&'static str, String)>,
    /// What lies beneath, for the log alone.
    #[source]
    pub source: Option<BoxError>,
    /// Whether the caller was found to be one who may be told.
    pub is_permitted: bool,
}

/// What S3 handlers return.
pub type Result<T, E = S3Error> = std::result::Result<T, E>;

impl S3Error {
    /// `code` with the text that says more than its default.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: Vec::new(),
            headers: Vec::new(),
            source: None,
            is_permitted: false,
        }
    }

    /// `InvalidArgument` with AWS's `ArgumentName` and `ArgumentValue`.
    pub fn argument(name: impl Into<String>, value: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    /// An `InternalError` whose cause goes to the log.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::from(ErrorCode::InternalError).because(source)
    }

    /// What is told of a body that could not be read to its end: `RequestTimeout` if its sender fell silent, else
    /// `IncompleteBody`.
    pub fn broke_off(source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let code = if is_silence(source.as_ref()) { ErrorCode::RequestTimeout } else { ErrorCode::IncompleteBody };
        Self::from(code).because(source)
    }

    /// Whether the bytes of an object were gone when they were to be read: another version may be there by now.
    pub fn is_vanished(&self) -> bool {
        let source = self.source.as_deref().and_then(|source| source.downcast_ref::<StoreError>());
        matches!(source, Some(StoreError::RunNotFound(_)))
    }

    /// Adds an element, such as `BucketName`.
    #[must_use]
    pub fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.detail.push((element, value.into()));
        self
    }

    /// Adds a header to the response, such as `x-amz-delete-marker`.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds what lies beneath.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Whether a time-out lies beneath an error.
fn is_silence(error: &(dyn Error + 'static)) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    error.downcast_ref().is_some_and(timed_out) || error.source().is_some_and(is_silence)
}

impl From<ErrorCode> for S3Error {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.default_message())
    }
}

impl ErrorCode {
    /// This code as an error, with an element such as `Key`.
    pub fn with(self, element: &'static str, value: impl Into<String>) -> S3Error {
        S3Error::from(self).with(element, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_falls_silent_is_told_from_who_leaves() {
        let broken = |kind| io::Error::from(kind);
        assert_eq!(S3Error::broke_off(broken(io::ErrorKind::TimedOut)).code, ErrorCode::RequestTimeout);
        assert_eq!(S3Error::broke_off(broken(io::ErrorKind::UnexpectedEof)).code, ErrorCode::IncompleteBody);
        let within = S3Error::internal(broken(io::ErrorKind::TimedOut));
        assert_eq!(S3Error::broke_off(within).code, ErrorCode::RequestTimeout);
    }
}
