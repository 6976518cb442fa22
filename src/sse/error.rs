//! Why a request's encryption cannot be done as asked, or stored data cannot be opened.

use std::borrow::Cow;

use crate::kms::KmsError;
use crate::kms::error::Retold;
use crate::store::StoreError;

/// A refusal or failure of this layer. Those above `RunTooLong` are the client's doing and carry what AWS answers.
#[derive(Debug, thiserror::Error)]
pub enum SseError {
    /// `400 InvalidArgument`, with `ArgumentName` and `ArgumentValue`.
    #[error("{message}")]
    InvalidArgument {
        /// AWS's text.
        message: Cow<'static, str>,
        /// The header at fault, as AWS names it.
        name: &'static str,
        /// What the header said; AWS writes `null` for an absent one.
        value: Option<String>,
    },
    /// `400 InvalidEncryptionAlgorithmError`: SSE-C knows AES256 alone.
    #[error("The Encryption request you specified is not valid. Supported value: AES256.")]
    InvalidAlgorithm {
        /// What the header said.
        value: String,
    },
    /// The object is encrypted under a customer's key, and none was brought.
    #[error("the object is encrypted under a customer's key")]
    CustomerKeyRequired,
    /// A customer's key was brought for an object that is not encrypted under one.
    #[error("the object is not encrypted under a customer's key")]
    CustomerKeyNotApplicable,
    /// `403 AccessDenied`: the key is not the one that the object is encrypted under.
    #[error(
        "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
    )]
    WrongCustomerKey,
    /// One run holds at most [`super::format::MAX_RUN_LEN`] bytes; S3's own limits are far below.
    #[error("a sealed run cannot be that long")]
    RunTooLong,
    /// The KMS refused or failed; for the client under AWS's `KMS.` codes.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// What is stored is not what was sealed, or belongs elsewhere. Never retried; the operator must look.
    #[error("sealed data is damaged or misplaced: {0}")]
    Corrupt(Cow<'static, str>),
    /// The server key was sealed under another root key.
    #[error("the root key is not the one that sealed this store")]
    WrongRootKey,
    /// The store failed while the server key was loaded.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SseError {
    pub(super) fn argument(message: impl Into<Cow<'static, str>>, name: &'static str, value: Option<String>) -> Self {
        Self::InvalidArgument { message: message.into(), name, value }
    }

    pub(super) fn corrupt(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl Retold for SseError {
    fn retold(&self) -> Self {
        match self {
            Self::Kms(error) => Self::Kms(error.retold()),
            other => Self::corrupt(other.to_string()),
        }
    }
}
