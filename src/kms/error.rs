//! What a KMS answers when it does not do as asked: AWS's codes and texts.

/// The kinds of refusal, named as AWS names them. All but the last three are the client's doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KmsErrorKind {
    /// The caller may not use the key.
    AccessDenied,
    /// An alias of that name exists.
    AlreadyExists,
    /// No such custom key store: there are none.
    CustomKeyStoreNotFound,
    /// The service cannot reach what it needs. May pass.
    DependencyTimeout,
    /// The key is disabled.
    Disabled,
    /// The request would have succeeded.
    DryRunOperation,
    /// The blob was made by another key than the one named.
    IncorrectKey,
    /// The name of the alias is not allowed.
    InvalidAliasName,
    /// The ARN does not name what it should.
    InvalidArn,
    /// The blob is damaged, foreign, or its context is another.
    InvalidCiphertext,
    /// The key's usage does not allow the operation.
    InvalidKeyUsage,
    /// The marker of a listing is not one we gave.
    InvalidMarker,
    /// The key is in a state that does not allow the operation.
    InvalidState,
    /// A quota is used up.
    LimitExceeded,
    /// The policy document is not valid.
    MalformedPolicyDocument,
    /// The name is reserved.
    NotAuthorized,
    /// No such key or alias.
    NotFound,
    /// A tag is not allowed.
    Tag,
    /// Too many requests. May pass.
    Throttling,
    /// The operation is not offered.
    UnsupportedOperation,
    /// The import token is no longer valid.
    ExpiredImportToken,
    /// The imported material is not the one that the key had.
    IncorrectKeyMaterial,
    /// No such grant.
    InvalidGrantId,
    /// The grant token is not one we gave.
    InvalidGrantToken,
    /// The import token is not one we gave, or not for this key.
    InvalidImportToken,
    /// The MAC is not the message's.
    InvalidMac,
    /// The signature is not the message's.
    InvalidSignature,
    /// A member of the request is out of bounds.
    Validation,
    /// This key cannot be used now, or so; the KMS is there. May pass.
    KeyUnavailable,
    /// The KMS cannot be reached or does not answer. May pass.
    Unavailable,
    /// The KMS failed. May pass.
    Internal,
}

/// A refusal: its kind and AWS's text.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?}: {message}")]
pub struct KmsError {
    /// Which kind.
    pub kind: KmsErrorKind,
    /// The text as AWS words it; sometimes empty.
    pub message: String,
    /// What lies beneath, for the log alone.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl KmsErrorKind {
    /// The exception's name on the wire, as in the KMS API's model.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::AlreadyExists => "AlreadyExistsException",
            Self::CustomKeyStoreNotFound => "CustomKeyStoreNotFoundException",
            Self::DependencyTimeout => "DependencyTimeoutException",
            Self::Disabled => "DisabledException",
            Self::DryRunOperation => "DryRunOperationException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::InvalidAliasName => "InvalidAliasNameException",
            Self::InvalidArn => "InvalidArnException",
            Self::InvalidCiphertext => "InvalidCiphertextException",
            Self::InvalidKeyUsage => "InvalidKeyUsageException",
            Self::InvalidMarker => "InvalidMarkerException",
            Self::InvalidState => "KMSInvalidStateException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MalformedPolicyDocument => "MalformedPolicyDocumentException",
            Self::NotAuthorized => "NotAuthorizedException",
            Self::NotFound => "NotFoundException",
            Self::Tag => "TagException",
            Self::Throttling => "ThrottlingException",
            Self::UnsupportedOperation => "UnsupportedOperationException",
            Self::ExpiredImportToken => "ExpiredImportTokenException",
            Self::IncorrectKeyMaterial => "IncorrectKeyMaterialException",
            Self::InvalidGrantId => "InvalidGrantIdException",
            Self::InvalidGrantToken => "InvalidGrantTokenException",
            Self::InvalidImportToken => "InvalidImportTokenException",
            Self::InvalidMac => "KMSInvalidMacException",
            Self::InvalidSignature => "KMSInvalidSignatureException",
            Self::Validation => "ValidationException",
            Self::KeyUnavailable | Self::Unavailable => "KeyUnavailableException",
            Self::Internal => "KMSInternalException",
        }
    }

    /// Whether the same request may succeed later.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::DependencyTimeout | Self::Throttling | Self::KeyUnavailable | Self::Unavailable | Self::Internal
        )
    }

    /// This kind with AWS's text.
    pub fn with(self, message: impl Into<String>) -> KmsError {
        KmsError { kind: self, message: message.into(), source: None }
    }

    /// This kind with AWS's text, keeping what lies beneath for the log.
    pub fn because(
        self,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> KmsError {
        KmsError { kind: self, message: message.into(), source: Some(Box::new(source)) }
    }
}

/// A refusal that several learn of who waited for one answer.
pub trait Retold {
    /// The same for another one. What lies beneath, whoever asked has.
    #[must_use]
    fn retold(&self) -> Self;
}

impl Retold for KmsError {
    fn retold(&self) -> Self {
        self.kind.with(self.message.as_str())
    }
}

/// Most bytes that Encrypt takes. (AWS: API reference, Encrypt.)
pub const MAX_PLAINTEXT: usize = 4096;

/// Whether Encrypt takes the plaintext.
///
/// # Errors
/// `ValidationException`, in AWS's words.
pub fn check_plaintext(plaintext: &[u8]) -> Result<(), KmsError> {
    if plaintext.len() <= MAX_PLAINTEXT {
        return Ok(());
    }
    Err(KmsErrorKind::Validation.with(format!(
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than \
         or equal to {MAX_PLAINTEXT}"
    )))
}
