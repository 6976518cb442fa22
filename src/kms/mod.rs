//! The key management service: the trait that the rest of the server uses, and its backends.
//!
//! A backend keeps symmetric keys and wraps data keys under them, with the encryption context as associated data; the
//! embedded one keeps keys of the other specs (`spec`) too. Every call carries its [`Caller`], so that key policies and the
//! audit see what AWS's would. All backends pass one conformance suite (`conformance`).
//!
//! | module | is |
//! |---|---|
//! | [`local`] | the embedded key service |
//! | [`aws`] | AWS KMS, or what speaks its API |
//! | [`transit`] | the transit engine of an OpenBao or Vault server |
//! | [`services`] | all of them as one [`Kms`]: which key belongs to which |
//! | [`guard`] | what makes a remote one bearable: time limits, retries, a circuit breaker |
//! | [`gate`] | who may use a remote one's keys |

pub mod arn;
pub mod audited;
pub mod aws;
pub mod cache;
pub mod conditions;
pub mod context;
pub mod error;
pub mod gate;
pub mod guard;
pub mod held;
pub mod local;
pub mod root;
pub mod services;
pub mod spec;
pub mod transit;

// The JSON protocol stands in a layer of its own, above `iam`.
pub mod api;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod peers;

use std::sync::Arc;

use async_trait::async_trait;

use crate::crypto::{Secret, SecretBytes};
use crate::policy::{DecisionRecorder, Subject};

pub use arn::{KeyArn, KeyRef, resource_arn};
pub use conditions::ConditionValues;
pub use context::EncryptionContext;
pub use error::KmsError;
pub use spec::{KeySpec, KeyUsage};

/// On whose behalf a key is used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    /// The 12-digit id of the account that asks.
    pub account: String,
    /// The ARN of the principal that asks.
    pub principal: String,
    /// The principal, with its own policies and tags: what key policies leave to the account, they decide.
    pub subject: Arc<Subject>,
    /// The service that asks for it (`s3.us-east-1.amazonaws.com`), `None` on direct KMS calls: `kms:ViaService`.
    pub via_service: Option<String>,
    /// The request that caused the call, for the audit.
    pub request_id: String,
    /// The event of the call, if the audit takes one.
    pub event_id: Option<String>,
    /// What the request itself brings to the conditions of policies; `None` of calls that services make for somebody. Of those that
    /// they make of their own accord: on behalf of what.
    pub conditions: Option<Arc<ConditionValues>>,
    /// Whether a refusal names it the statement that denies, if the key is its account's.
    pub is_told_statements: bool,
    /// What sees how it is judged.
    pub witness: DecisionRecorder,
    /// Whether a service writes the replica of an object for it. The data key is the source's then, for which `kms:Encrypt` must
    /// be allowed, and not `kms:GenerateDataKey`. (S3 user guide, "Replicating encrypted objects".)
    pub replicates: bool,
}

impl Caller {
    /// `subject`, asking by way of a service or directly.
    pub fn new(subject: &Arc<Subject>, via_service: Option<String>, request_id: impl Into<String>) -> Self {
        // Nobody has no account; what would name one names nobody.
        let account = if subject.account.is_empty() { &subject.arn } else { &subject.account };
        Self {
            account: account.clone(),
            principal: subject.arn.clone(),
            subject: Arc::clone(subject),
            via_service,
            request_id: request_id.into(),
            event_id: None,
            conditions: None,
            is_told_statements: subject.is_root(),
            witness: DecisionRecorder::default(),
            replicates: false,
        }
    }

    /// What must be allowed for it to have a data key wrapped, new or not.
    pub const fn wrapping(&self) -> &'static str {
        if self.replicates { "kms:Encrypt" } else { "kms:GenerateDataKey" }
    }

    /// The same, with a witness of its own.
    #[must_use]
    pub fn watched(&self) -> Self {
        Self { witness: DecisionRecorder::watching(), ..self.clone() }
    }

    /// The root of `account`, asking by way of a service or directly.
    pub fn root_of(account: &str, via_service: Option<String>, request_id: impl Into<String>) -> Self {
        Self::new(&Arc::new(Subject::root(account)), via_service, request_id)
    }
}

/// A 256-bit data key in clear. Made by a [`Kms`] (or, for SSE-S3, by the server key) and nowhere else.
#[derive(Debug)]
pub struct DataKey(Secret<32>);

impl DataKey {
    /// For the modules that are allowed to make one: KMS backends and `sse::server_key`.
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The key. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &Secret<32> {
        &self.0
    }
}

/// What a KMS returns from wrapping: enough, by itself, to unwrap again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrappedKey {
    /// The ciphertext blob, in the backend's own format (at most 6 144 bytes, as AWS's).
    pub blob: Vec<u8>,
    /// The full ARN of the key that wrapped it.
    pub key_arn: KeyArn,
    /// Which of the key's materials wrapped it, if the backend says (`KeyMaterialId`).
    pub material_id: Option<String>,
}

/// A data key and its wrapped form.
#[derive(Debug)]
pub struct GeneratedKey {
    /// To seal with, now.
    pub key: DataKey,
    /// To keep.
    pub wrapped: WrappedKey,
}

/// Decrypted bytes and the key that had encrypted them.
#[derive(Debug)]
pub struct Decrypted {
    /// The bytes.
    pub plaintext: SecretBytes,
    /// The full ARN of the key.
    pub key_arn: KeyArn,
    /// Which of its materials.
    pub material_id: Option<String>,
}

/// What a caller may know of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyDescription {
    /// The full ARN.
    pub arn: KeyArn,
    /// Whether it can be used now.
    pub enabled: bool,
    /// What it waits for where it can not, and is not merely disabled: `pending deletion`, `pending import`.
    pub pending: Option<&'static str>,
    /// Whether it belongs to the service rather than the customer (`KeyManager: AWS`).
    pub aws_managed: bool,
}

/// A key management service, as S3 needs it. Errors are [`KmsError`]s with AWS's own codes and texts.
#[async_trait]
pub trait Kms: Send + Sync + 'static {
    /// A fresh 256-bit data key, wrapped under `key` with `context` as associated data (`GenerateDataKey`, `AES_256`).
    /// `alias/aws/s3` makes the caller account's managed key on first use, here and wherever a key encrypts, when S3 is the
    /// service that asks.
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError>;

    /// Opens what this KMS wrapped or encrypted, if `context` is the same. The blob alone names its key; if `key` is
    /// given it must be that one (`Decrypt`).
    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError>;

    /// Encrypts up to 4 096 bytes under `key` (`Encrypt`).
    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError>;

    /// Wraps a data key that exists already as [`Self::generate_data_key`] wraps a fresh one, and for whoever may do that
    /// (`kms:GenerateDataKey`): what S3 asks of a copy's key, whether or not the copy is sealed anew. A backend that knows
    /// no such thing encrypts it.
    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError>;

    /// Opens `blob` and encrypts it under `to`, the plaintext never leaving the KMS (`ReEncrypt`).
    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError>;

    /// What is known of `key` (`DescribeKey`). Naming `alias/aws/s3` makes it.
    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError>;

    /// What it can tell of its keys at once. What stands before a key service hands on its word, or has its own; a backend
    /// that can tell nothing says so with [`NothingKnown`].
    fn knowledge(&self) -> &dyn Knowledge;
}

/// What a key service can tell of its keys at once, nobody being asked and nobody's permission being needed: for the server's
/// own use. There are no defaults: what lies in between cannot forget to hand on what it does not mention.
pub trait Knowledge: Send + Sync {
    /// The policy by which uses of the key with this ARN are judged; `None` if it has none or there is no such key.
    fn policy_of(&self, arn: &KeyArn) -> Option<String>;

    /// A number that changes whenever the state, material, alias or policy of `key` does, so that what is held of it in clear
    /// can be let go at once; `None` if that cannot be told.
    fn generation_of(&self, key: &KeyRef) -> Option<u64>;

    /// The name of the key service that `key` belongs to, where there may be several.
    fn service_of(&self, key: &KeyRef) -> Option<&str>;

    /// The ARN of `key`, where it follows from what it is called, whether or not there is such a key.
    fn arn_of(&self, key: &KeyRef) -> Option<KeyArn>;
}

/// The knowledge of a backend that can tell nothing.
pub struct NothingKnown;

impl Knowledge for NothingKnown {
    fn policy_of(&self, _: &KeyArn) -> Option<String> {
        None
    }

    fn generation_of(&self, _: &KeyRef) -> Option<u64> {
        None
    }

    fn service_of(&self, _: &KeyRef) -> Option<&str> {
        None
    }

    fn arn_of(&self, _: &KeyRef) -> Option<KeyArn> {
        None
    }
}

/// A KMS, as components share it.
pub type SharedKms = Arc<dyn Kms>;
