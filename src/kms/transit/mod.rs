//! A key service that is the transit engine of an OpenBao or HashiCorp Vault server.
//!
//! Data keys are drawn here and wrapped by `transit/encrypt`, with the encryption context as `associated_data`: transit's own
//! `context` is for derived keys, and silently ignored by all others. Associated data never is empty, so that a key that
//! cannot bind it refuses (an RSA key); and since a server that does not know the parameter at all would ignore it, each key
//! is tried once before its first use: what it encrypts must not decrypt under other associated data.
//!
//! ```text
//! associated data = "strongroom/transit/1" || encryption context, in its canonical form
//! ```
//! **Names.** A transit key has a name and no ARN. Here it is `arn:aws:kms:REGION:ACCOUNT:key/SERVICE/NAME`, `SERVICE` being
//! the name that the configuration gives the engine. Aliases there are none.
//!
//! **What of AWS's it cannot do.** Transit has no disabled keys. OpenBao's soft deletion takes their place, and shows as
//! pending deletion. `ReEncrypt` opens here what it encrypts again.
//!
//! **What the token must be allowed**, for each key: `update` on `transit/encrypt/NAME` and `transit/decrypt/NAME`, `read` on
//! `transit/keys/NAME` (without which keys that do not exist show as forbidden); and it should have the `default` policy, to look
//! itself up. *Not* `create` on `transit/encrypt/NAME`:
//! transit then makes a key of any name that is asked for.

mod blob;
mod client;
mod error;
mod login;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::blob::{Blob, is_name};
use self::client::{Client, Failure, parse};
use self::error::{Attempt, deleted, wrong_usage};
use self::login::json;
use super::error::{KmsError, KmsErrorKind};
use super::{
    Caller, DataKey, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, Knowledge,
    WrappedKey,
};
use crate::crypto::{Secret, SecretBytes, SharedEntropy};

pub use client::{ClientError, Server};
pub use login::{Login, TokenSource};

/// What associated data begins with.
const DOMAIN: &[u8] = b"strongroom/transit/1";
/// How long it is believed that a key is there and can be used. Its use tells at once if it cannot.
const FACTS_LAST: Duration = Duration::from_secs(30);
/// Keys of which something is remembered.
const MAX_FACTS: usize = 4096;
/// The types of keys that bind associated data.
const AEAD_TYPES: [&str; 4] = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

/// A transit engine, and how its keys are called here.
#[derive(Debug)]
pub struct Settings {
    /// Where the engine is mounted.
    pub mount: String,
    /// The service's name in the configuration, and in its keys' ARNs.
    pub service: String,
    /// The region in its keys' ARNs.
    pub region: String,
    /// The account in its keys' ARNs.
    pub account: String,
    /// The key that `alias/aws/s3` is here.
    pub default_key: Option<String>,
    /// Whether that one is made if it is not there.
    pub create_default_key: bool,
}

/// A key service in a transit engine.
pub struct TransitKms {
    client: Arc<Client>,
    settings: Settings,
    entropy: SharedEntropy,
    known: Mutex<HashMap<String, Known>>,
}

/// What is remembered of a key.
struct Known {
    facts: Facts,
    until: Instant,
    /// Whether it was seen to bind associated data.
    binds: bool,
}

/// What the server says of a key.
#[derive(Clone, Debug, Deserialize)]
struct Facts {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    soft_deleted: bool,
}

impl Facts {
    /// Where the server does not tell us: its use will.
    fn presumed() -> Self {
        Self { kind: AEAD_TYPES[1].to_owned(), derived: false, soft_deleted: false }
    }
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    ciphertext: &'a str,
}

#[derive(Deserialize)]
struct Opened<'a> {
    plaintext: &'a str,
}

#[derive(Serialize)]
struct ToEncrypt<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
}

#[derive(Serialize)]
struct ToDecrypt<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
}

#[derive(Serialize)]
struct NewKey {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl TransitKms {
    /// The engine at `server`. Nothing is asked of it yet. To be called within a runtime.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(server: Server, settings: Settings, entropy: SharedEntropy) -> Result<Self, ClientError> {
        Ok(Self { client: Client::new(server)?, settings, entropy, known: Mutex::default() })
    }

    fn arn(&self, name: &str) -> KeyArn {
        let Settings { region, account, service, .. } = &self.settings;
        KeyArn::new(region, account, &format!("{service}/{name}"))
    }

    /// The name that an id or the full ARN of a key here has in it.
    fn name_in<'k>(&self, key: &'k KeyRef) -> Option<&'k str> {
        let Settings { region, account, service, .. } = &self.settings;
        let name = match key {
            KeyRef::Id(name) => Some(name.as_str()),
            KeyRef::KeyArn(arn) if arn.region() == region && arn.account() == account => {
                arn.id().strip_prefix(service.as_str()).and_then(|rest| rest.strip_prefix('/'))
            }
            KeyRef::KeyArn(_) | KeyRef::Alias(_) | KeyRef::AliasArn { .. } => None,
        };
        name.filter(|name| is_name(name))
    }

    /// The name that `key` is here.
    async fn named(&self, caller: &Caller, key: &KeyRef) -> Result<String, KmsError> {
        let Settings { region, account, .. } = &self.settings;
        let not_found = |text: String| Err(KmsErrorKind::NotFound.with(text));
        if let Some(name) = self.name_in(key) {
            return Ok(name.to_owned());
        }
        match key {
            KeyRef::Id(id) => not_found(format!("Invalid keyId '{id}'")),
            KeyRef::KeyArn(arn) if arn.region() != region => not_found(format!("Invalid arn {}", arn.region())),
            KeyRef::AliasArn { region: named, .. } if named != region => not_found(format!("Invalid arn {named}")),
            KeyRef::KeyArn(_) => not_found(format!("Key '{key}' does not exist")),
            KeyRef::Alias(alias) if alias == KeyRef::AWS_S3 => self.default_key(caller).await,
            KeyRef::Alias(alias) => {
                let (region, account, alias) = (region.clone(), account.clone(), alias.clone());
                not_found(format!("Alias {} is not found.", KeyRef::AliasArn { region, account, alias }))
            }
            KeyRef::AliasArn { .. } => not_found(format!("Alias {key} is not found.")),
        }
    }

    /// The key that serves where none is named; made if it may be.
    async fn default_key(&self, caller: &Caller) -> Result<String, KmsError> {
        let Settings { default_key, service, create_default_key, .. } = &self.settings;
        let Some(name) = default_key else {
            let message =
                format!("The key service '{service}' has no default key (default_key): the request must name one.");
            return Err(KmsErrorKind::NotFound.with(message));
        };
        if *create_default_key && self.known().get(name).is_none() {
            let arn = self.arn(name);
            let attempt = Attempt { arn: &arn, caller, action: "kms:CreateKey" };
            match self.look_up(name, &attempt).await {
                Err(error) if error.kind == KmsErrorKind::NotFound => {
                    let body = json(&NewKey { kind: AEAD_TYPES[1] });
                    let path = format!("{}/keys/{name}", self.settings.mount);
                    self.client.ask(Method::POST, &path, Some(body)).await.map_err(|error| attempt.failed(error))?;
                    tracing::info!(key = %arn, "made the default key of a key service");
                }
                known => {
                    known?;
                }
            }
        }
        Ok(name.clone())
    }

    /// What the server says of a key now; `None` if it does not tell us.
    async fn look_up(&self, name: &str, attempt: &Attempt<'_>) -> Result<Option<Facts>, KmsError> {
        let path = format!("{}/keys/{name}", self.settings.mount);
        match self.client.ask(Method::GET, &path, None).await {
            Ok(answer) => {
                let read: Result<Data<Facts>, _> = parse(&answer, "the description of a key");
                Ok(Some(read.map_err(|error| attempt.failed(error))?.data))
            }
            Err(Failure::Refused { status: 403, .. }) => Ok(None),
            Err(failure) => Err(attempt.failed(failure)),
        }
    }

    /// Makes sure that the key is there, and can be used as it must: transit would make one of any name.
    async fn check(&self, name: &str, attempt: &Attempt<'_>) -> Result<(), KmsError> {
        let known =
            self.known().get(name).filter(|known| Instant::now() < known.until).map(|known| known.facts.clone());
        let facts = if let Some(facts) = known {
            facts
        } else {
            let facts = self.look_up(name, attempt).await?.unwrap_or_else(Facts::presumed);
            self.learn(name, facts.clone());
            facts
        };
        if facts.soft_deleted {
            self.known().remove(name);
            return Err(deleted(attempt.arn));
        }
        if facts.derived || !AEAD_TYPES.contains(&facts.kind.as_str()) {
            return Err(wrong_usage(attempt.arn, attempt.action));
        }
        Ok(())
    }

    fn learn(&self, name: &str, facts: Facts) {
        let mut known = self.known();
        if known.len() >= MAX_FACTS {
            known.clear();
        }
        let binds = known.get(name).is_some_and(|known| known.binds);
        known.insert(name.to_owned(), Known { facts, until: Instant::now() + FACTS_LAST, binds });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encrypts under the key of this name.
    async fn wrap(
        &self,
        name: &str,
        plaintext: &[u8],
        context: &EncryptionContext,
        attempt: &Attempt<'_>,
    ) -> Result<WrappedKey, KmsError> {
        self.check(name, attempt).await?;
        let plaintext = Zeroizing::new(STANDARD.encode(plaintext));
        let body = json(&ToEncrypt { plaintext: &plaintext, associated_data: &associated_data(context) });
        let path = format!("{}/encrypt/{name}", self.settings.mount);
        let answer = self.client.ask(Method::POST, &path, Some(body)).await;
        let answer = answer.map_err(|failure| self.forgetting(name, attempt.failed(failure)))?;
        let read = parse(&answer, "a ciphertext").and_then(|Data { data: Encrypted { ciphertext } }| {
            Blob::of_server(name, ciphertext).ok_or(Failure::Malformed("a ciphertext"))
        });
        let blob = read.map_err(|error| attempt.failed(error))?;
        if !self.known().get(name).is_some_and(|known| known.binds) {
            self.prove(&blob, context, attempt).await?;
        }
        let material_id = Some(blob.material_id());
        Ok(WrappedKey { blob: blob.to_bytes(), key_arn: attempt.arn.clone(), material_id })
    }

    /// Makes sure that the server does bind associated data: that other data does not open the blob.
    async fn prove(&self, blob: &Blob, context: &EncryptionContext, attempt: &Attempt<'_>) -> Result<(), KmsError> {
        let other = context.clone().with("strongroom:proof", "another context");
        match self.open(blob, &other, attempt).await {
            Err(error) if error.kind == KmsErrorKind::InvalidCiphertext => {
                if let Some(known) = self.known().get_mut(&blob.key) {
                    known.binds = true;
                }
                Ok(())
            }
            Ok(_) => {
                tracing::error!(key = %attempt.arn, "the transit engine ignores associated_data: it is not used");
                Err(KmsErrorKind::Internal.with("the key service does not bind the encryption context"))
            }
            // Who may encrypt need not be allowed to decrypt: then there is nothing to be read either.
            Err(error) if error.kind == KmsErrorKind::AccessDenied => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn open(
        &self,
        blob: &Blob,
        context: &EncryptionContext,
        attempt: &Attempt<'_>,
    ) -> Result<SecretBytes, KmsError> {
        let body = json(&ToDecrypt { ciphertext: &blob.to_server(), associated_data: &associated_data(context) });
        let path = format!("{}/decrypt/{}", self.settings.mount, blob.key);
        let answer = self.client.ask(Method::POST, &path, Some(body)).await.map_err(|error| attempt.failed(error))?;
        let read = parse(&answer, "a plaintext").and_then(|Data { data: Opened { plaintext } }| {
            STANDARD.decode(plaintext).map(SecretBytes::new).map_err(|_| Failure::Malformed("a plaintext"))
        });
        read.map_err(|error| attempt.failed(error))
    }

    /// What was believed of a key is forgotten when its use fails.
    fn forgetting(&self, name: &str, error: KmsError) -> KmsError {
        if !error.kind.is_transient() {
            self.known().remove(name);
        }
        error
    }
}

/// The associated data that stands for `context`, in base64.
fn associated_data(context: &EncryptionContext) -> String {
    STANDARD.encode([DOMAIN, &context.to_aad()].concat())
}

#[async_trait]
impl Kms for TransitKms {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        let data_key = Secret::filled(|bytes: &mut [u8; 32]| self.entropy.fill(bytes));
        let wrapped = self.wrap_data_key(caller, key, &data_key, context).await?;
        Ok(GeneratedKey { key: DataKey::new(data_key), wrapped })
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        const ACTION: &str = "kms:Decrypt";
        let named = match key {
            Some(key) => Some(self.named(caller, key).await?),
            None => None,
        };
        let blob = Blob::from_bytes(blob).ok_or_else(|| KmsErrorKind::InvalidCiphertext.with(""))?;
        if let Some(named) = named.as_deref().filter(|named| *named != blob.key) {
            let arn = self.arn(named);
            self.check(named, &Attempt { arn: &arn, caller, action: ACTION }).await?;
            return Err(KmsErrorKind::IncorrectKey
                .with("The key ID in the request does not identify a CMK that can perform this operation."));
        }
        let arn = self.arn(&blob.key);
        let opened = self.open(&blob, context, &Attempt { arn: &arn, caller, action: ACTION }).await;
        let plaintext = opened.map_err(|error| match error.kind {
            // The name is the blob's word alone.
            KmsErrorKind::NotFound if named.is_none() => KmsErrorKind::InvalidCiphertext.because("", error),
            _ => self.forgetting(&blob.key, error),
        })?;
        Ok(Decrypted { plaintext, key_arn: arn, material_id: Some(blob.material_id()) })
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        super::error::check_plaintext(plaintext)?;
        let name = self.named(caller, key).await?;
        let arn = self.arn(&name);
        let attempt = Attempt { arn: &arn, caller, action: "kms:Encrypt" };
        self.wrap(&name, plaintext, context, &attempt).await
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let name = self.named(caller, key).await?;
        let arn = self.arn(&name);
        let attempt = Attempt { arn: &arn, caller, action: "kms:GenerateDataKey" };
        self.wrap(&name, data_key.expose(), context, &attempt).await
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        let opened = self.decrypt(caller, blob, from.0, from.1).await?;
        self.encrypt(caller, to.0, opened.plaintext.expose(), to.1).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        let name = self.named(caller, key).await?;
        let arn = self.arn(&name);
        let facts = self.look_up(&name, &Attempt { arn: &arn, caller, action: "kms:DescribeKey" }).await?;
        let enabled = facts.as_ref().is_none_or(|facts| !facts.soft_deleted);
        if let Some(facts) = facts.filter(|_| enabled) {
            self.learn(&name, facts);
        } else {
            self.known().remove(&name);
        }
        let pending = (!enabled).then_some("pending deletion");
        Ok(KeyDescription { arn, enabled, pending, aws_managed: false })
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self
    }
}

/// A key is its name, so that its ARN is known; nothing else is without asking.
impl Knowledge for TransitKms {
    fn policy_of(&self, _: &KeyArn) -> Option<String> {
        None
    }

    fn generation_of(&self, _: &KeyRef) -> Option<u64> {
        None
    }

    fn service_of(&self, _: &KeyRef) -> Option<&str> {
        None
    }

    fn arn_of(&self, key: &KeyRef) -> Option<KeyArn> {
        let name = match key {
            KeyRef::Alias(alias) if alias == KeyRef::AWS_S3 => self.settings.default_key.as_deref(),
            key => self.name_in(key),
        };
        name.map(|name| self.arn(name))
    }
}
