//! A key service that is AWS KMS, or something that speaks its API, through AWS's own SDK: with its chain of credentials, its
//! retries (standard mode, with a budget) and its endpoints (FIPS 140 too).
//!
//! Keys are named as in AWS; their ARNs are AWS's own and pass through unchanged. `alias/aws/s3` is S3's alone there: the
//! service's default key stands in for it.

mod error;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::SharedHttpClient;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, KeyManagerType, KeyState};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use self::error::Attempt;
use super::error::{KmsError, KmsErrorKind, check_plaintext};
use super::held::Answer;
use super::{
    Caller, DataKey, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, Knowledge,
    NothingKnown, WrappedKey,
};
use crate::crypto::{Secret, SecretBytes};
use crate::wire::trust;

/// Most bytes of a ciphertext blob. (AWS: API reference, Decrypt.)
const MAX_BLOB: usize = 6144;
/// Until a connection must stand.
const CONNECT: Duration = Duration::from_secs(3);

/// Which AWS KMS, and how it is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The service's name in the configuration.
    pub service: String,
    /// The region.
    pub region: String,
    /// Another address than AWS's own.
    pub endpoint: Option<String>,
    /// A PEM file with the authorities that are trusted; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether to use the endpoints that are validated after FIPS 140.
    pub fips: bool,
    /// The profile of AWS's configuration files that holds the credentials.
    pub profile: Option<String>,
    /// How long one try may take.
    pub attempt: Duration,
    /// Tries of one call, the first included.
    pub attempts: u32,
    /// The key that `alias/aws/s3` is here.
    pub default_key: Option<String>,
    /// Whether that one, an alias, is made with a fresh key if it is not there.
    pub create_default_key: bool,
}

impl Settings {
    /// How long a call may take, with all its tries and the pauses between them.
    fn whole(&self) -> Duration {
        let pauses = Duration::from_secs(1).saturating_mul(self.attempts);
        self.attempt.saturating_mul(self.attempts) + pauses
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with the authorities cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file with the authorities holds none.
    #[error("{0}: it holds no certificates")]
    NoAuthorities(PathBuf),
    /// The TLS settings.
    #[error("the HTTP client cannot be made: {0}")]
    Tls(String),
}

/// A key service that is AWS KMS.
pub struct AwsKms {
    client: Client,
    settings: Settings,
    /// Whether the default key was found or made.
    default_key: Mutex<Arc<Answer<(), KmsError>>>,
}

impl AwsKms {
    /// The service. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn new(settings: Settings) -> Result<Self, ClientError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT.min(settings.attempt))
            .operation_attempt_timeout(settings.attempt)
            .operation_timeout(settings.whole())
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(settings.attempts)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_secs(1));
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .retry_config(retries)
            .timeout_config(timeouts);
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        // Else what AWS's own variables and files say.
        if settings.fips {
            loader = loader.use_fips(true);
        }
        if let Some(path) = &settings.ca_file {
            loader = loader.http_client(http_client(path)?);
        }
        let client = Client::new(&loader.load().await);
        Ok(Self { client, settings, default_key: Mutex::default() })
    }

    /// What AWS is to be told instead of `key`.
    async fn named(&self, caller: &Caller, key: &KeyRef) -> Result<String, KmsError> {
        match key {
            KeyRef::Alias(alias) if alias == KeyRef::AWS_S3 => self.default_key(caller).await,
            key => Ok(key.to_string()),
        }
    }

    /// The key that serves where none is named; made if it may be.
    async fn default_key(&self, caller: &Caller) -> Result<String, KmsError> {
        let Settings { default_key, create_default_key, service, .. } = &self.settings;
        let Some(name) = default_key else {
            let message =
                format!("The key service '{service}' has no default key (default_key): the request must name one.");
            return Err(KmsErrorKind::NotFound.with(message));
        };
        if *create_default_key {
            let within = self.settings.whole();
            tokio::time::timeout(within, self.ensure_once(caller, name)).await.unwrap_or_else(|elapsed| {
                let message = format!("the default key was not found within {} ms", within.as_millis());
                Err(KmsErrorKind::DependencyTimeout.because(message, elapsed))
            })?;
        }
        Ok(name.clone())
    }

    /// As [`Self::ensure`], once; after a failure, once for all who ask at once.
    async fn ensure_once(&self, caller: &Caller, alias: &str) -> Result<(), KmsError> {
        let present = || self.default_key.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = Arc::clone(&present());
        let ensured = answer.wait(async || self.ensure(caller, alias).await).await;
        if ensured.is_err() {
            let mut present = present();
            if Arc::ptr_eq(&present, &answer) {
                *present = Arc::default();
            }
        }
        ensured
    }

    /// Makes a key with this alias, if there is none.
    async fn ensure(&self, caller: &Caller, alias: &str) -> Result<(), KmsError> {
        let attempt = |action| Attempt { caller, action, key: alias };
        match self.client.describe_key().key_id(alias).send().await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let error = attempt("kms:DescribeKey").failed(error);
                if error.kind != KmsErrorKind::NotFound {
                    return Err(error);
                }
            }
        }
        let description = "Protects the objects of a Strongroom server when no other key is named";
        let made = self.client.create_key().description(description).send().await;
        let made = made.map_err(|error| attempt("kms:CreateKey").failed(error))?;
        let id = made.key_metadata().map(|metadata| metadata.key_id().to_owned()).ok_or_else(malformed)?;
        let named = self.client.create_alias().alias_name(alias).target_key_id(&id).send().await;
        match named.map_err(|error| attempt("kms:CreateAlias").failed(error)) {
            // Another server was quicker; its key is the one, ours was never used.
            Err(error) if error.kind == KmsErrorKind::AlreadyExists => {
                tracing::warn!(key = id, "a key was made that nobody needs: its alias was taken in the meantime");
            }
            named => {
                named?;
                tracing::info!(key = id, alias, "made the default key of a key service");
            }
        }
        Ok(())
    }
}

/// A client that trusts the authorities in the file at `path` alone.
fn http_client(path: &PathBuf) -> Result<SharedHttpClient, ClientError> {
    let pem = std::fs::read(path).map_err(|source| ClientError::Unreadable { path: path.clone(), source })?;
    // The SDK takes a malformed file for a bug of ours.
    if trust::authorities(&pem).is_err() {
        return Err(ClientError::NoAuthorities(path.clone()));
    }
    let trusted = TrustStore::empty().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| ClientError::Tls(error.to_string()))?;
    let provider = Provider::Rustls(CryptoMode::AwsLc);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https())
}

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let pairs = context.pairs();
    (!pairs.is_empty()).then(|| pairs.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn arn(text: Option<&str>) -> Result<KeyArn, KmsError> {
    text.and_then(|text| text.parse().ok()).ok_or_else(malformed)
}

fn blob(blob: Option<Blob>) -> Result<Vec<u8>, KmsError> {
    blob.map(Blob::into_inner).ok_or_else(malformed)
}

/// The answer lacks what it must have.
fn malformed() -> KmsError {
    KmsErrorKind::Internal.with("the key service's answer is malformed")
}

/// Whether it can be a blob at all: AWS tells lengths out of bounds by another error.
fn check_blob(blob: &[u8]) -> Result<(), KmsError> {
    if (1..=MAX_BLOB).contains(&blob.len()) { Ok(()) } else { Err(KmsErrorKind::InvalidCiphertext.with("")) }
}

#[async_trait]
impl Kms for AwsKms {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        let name = self.named(caller, key).await?;
        let request = self.client.generate_data_key().key_id(&name).key_spec(DataKeySpec::Aes256);
        let answer = request.set_encryption_context(pairs(context)).send().await;
        let attempt = Attempt { caller, action: "kms:GenerateDataKey", key: &name };
        let answer = answer.map_err(|error| attempt.failed(error))?;
        let (key_arn, material_id) = (arn(answer.key_id())?, answer.key_material_id().map(str::to_owned));
        let plaintext = SecretBytes::new(blob(answer.plaintext)?);
        let key = Secret::from_slice(plaintext.expose()).map(DataKey::new).ok_or_else(malformed)?;
        Ok(GeneratedKey { key, wrapped: WrappedKey { blob: blob(answer.ciphertext_blob)?, key_arn, material_id } })
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        ciphertext: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        check_blob(ciphertext)?;
        let name = match key {
            Some(key) => Some(self.named(caller, key).await?),
            None => None,
        };
        let request = self.client.decrypt().ciphertext_blob(Blob::new(ciphertext)).set_key_id(name.clone());
        let answer = request.set_encryption_context(pairs(context)).send().await;
        let attempt = Attempt { caller, action: "kms:Decrypt", key: name.as_deref().unwrap_or_default() };
        let answer = answer.map_err(|error| attempt.failed_to_open(error, name.is_some()))?;
        let (key_arn, material_id) = (arn(answer.key_id())?, answer.key_material_id().map(str::to_owned));
        Ok(Decrypted { plaintext: SecretBytes::new(blob(answer.plaintext)?), key_arn, material_id })
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        check_plaintext(plaintext)?;
        let name = self.named(caller, key).await?;
        let request = self.client.encrypt().key_id(&name).plaintext(Blob::new(plaintext));
        let answer = request.set_encryption_context(pairs(context)).send().await;
        let attempt = Attempt { caller, action: "kms:Encrypt", key: &name };
        let answer = answer.map_err(|error| attempt.failed(error))?;
        let key_arn = arn(answer.key_id())?;
        Ok(WrappedKey { blob: blob(answer.ciphertext_blob)?, key_arn, material_id: None })
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.encrypt(caller, key, data_key.expose(), context).await
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        ciphertext: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        check_blob(ciphertext)?;
        let source = match from.0 {
            Some(key) => Some(self.named(caller, key).await?),
            None => None,
        };
        let target = self.named(caller, to.0).await?;
        let request = self.client.re_encrypt().ciphertext_blob(Blob::new(ciphertext)).destination_key_id(&target);
        let request = request.set_source_key_id(source.clone()).set_source_encryption_context(pairs(from.1));
        let answer = request.set_destination_encryption_context(pairs(to.1)).send().await;
        let attempt = Attempt { caller, action: "kms:ReEncryptTo", key: &target };
        let answer = answer.map_err(|error| attempt.failed_to_open(error, source.is_some()))?;
        let (key_arn, material_id) = (arn(answer.key_id())?, answer.destination_key_material_id().map(str::to_owned));
        Ok(WrappedKey { blob: blob(answer.ciphertext_blob)?, key_arn, material_id })
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        let name = self.named(caller, key).await?;
        let answer = self.client.describe_key().key_id(&name).send().await;
        let attempt = Attempt { caller, action: "kms:DescribeKey", key: &name };
        let answer = answer.map_err(|error| attempt.failed(error))?;
        let metadata = answer.key_metadata().ok_or_else(malformed)?;
        let aws_managed = metadata.key_manager() == Some(&KeyManagerType::Aws);
        let pending = match metadata.key_state() {
            Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => Some("pending deletion"),
            Some(KeyState::PendingImport) => Some("pending import"),
            _ => None,
        };
        Ok(KeyDescription { arn: arn(metadata.arn())?, enabled: metadata.enabled(), pending, aws_managed })
    }

    fn knowledge(&self) -> &dyn Knowledge {
        &NothingKnown
    }
}
