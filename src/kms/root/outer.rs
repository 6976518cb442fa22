//! A key of another key service as the root key's protection: a server that may use it there unseals itself.
//!
//! ```text
//! wrapped = {"by": "SERVICE/KEY", "key": ARN, "ciphertext": BASE64}
//! context = {"strongroom:purpose": "root key"}
//! ```
//!
//! `by` is what the configuration called the key when the file was sealed. As long as its service is configured the file opens,
//! whatever the configuration names now; that one then seals it anew ([`super::sealed::SealedFile::renew`]).
//!
//! A service that has not answered since the start is waited for: both may have been started at once. Later, when the root key
//! is rotated, it is not.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::RootKeyError;
use super::sealed::Protection;
use crate::crypto::SecretBytes;
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::guard::Call;
use crate::kms::{Caller, EncryptionContext, KeyRef, SharedKms};

/// Between two questions to a service that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The name of the protection.
pub const NAME: &str = "kms";

/// A key of another service.
pub struct OuterKey {
    services: Vec<OuterService>,
    by: String,
    caller: Caller,
    patient_until: Instant,
}

struct OuterService {
    name: String,
    kms: SharedKms,
    /// From then on it is not waited for.
    has_answered: AtomicBool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    by: String,
    key: String,
    ciphertext: String,
}

impl OuterKey {
    /// The key `by` (`SERVICE/KEY`) of one of the `services`, used for the server itself, in the name of `account`. A service
    /// that has never answered is waited for until `patient_until`.
    pub fn new(services: Vec<(String, SharedKms)>, by: String, account: &str, patient_until: Instant) -> Self {
        let principal = "Strongroom, for its root key".to_owned();
        let caller = Caller { principal, ..Caller::root_of(account, None, "root key") };
        let service = |(name, kms)| OuterService { name, kms, has_answered: AtomicBool::new(false) };
        Self { services: services.into_iter().map(service).collect(), by, caller, patient_until }
    }

    /// The service in `by`, and what the key is called there.
    fn service<'b>(&self, by: &'b str) -> Result<(&OuterService, &'b str), RootKeyError> {
        let found = by.split_once('/').and_then(|(name, key)| {
            let service = self.services.iter().find(|service| service.name == name)?;
            Some((service, key))
        });
        found.ok_or_else(|| {
            unsealing(format!(
                "it is sealed by {by}, and no key service of that name is configured (kms.transit, kms.aws)"
            ))
        })
    }

    /// Asks `service` for something to be done by the key `by` until there is an answer, or patience ends.
    async fn ask<T>(&self, service: &OuterService, by: &str, call: Call<'_, T>) -> Result<T, RootKeyError> {
        loop {
            let error = match call().await {
                Ok(done) => {
                    service.has_answered.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let is_patient =
                !service.has_answered.load(Ordering::Relaxed) && Instant::now() + PAUSE <= self.patient_until;
            match error.kind {
                // The file is whole: its checksum holds.
                KmsErrorKind::InvalidCiphertext | KmsErrorKind::IncorrectKey => {
                    return Err(RootKeyError::Locked("key of the key service"));
                }
                kind if kind.is_transient() && is_patient => {
                    tracing::warn!(key = by, reason = chain(&error), "the root key cannot be unsealed yet");
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return Err(unsealing(format!("{by}: {}", chain(&error)))),
            }
        }
    }
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("strongroom:purpose", "root key")
}

fn unsealing(reason: String) -> RootKeyError {
    RootKeyError::Unsealing { protection: NAME, reason }
}

/// The error and all that lies beneath it: it is the operator who reads it.
fn chain(error: &KmsError) -> String {
    let mut text = format!("{}: {}", error.kind.code(), error.message);
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

impl fmt::Debug for OuterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OuterKey").field("by", &self.by).finish_non_exhaustive()
    }
}

#[async_trait]
impl Protection for OuterKey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_current(&self, wrapped: &Value) -> bool {
        wrapped["by"] == self.by.as_str()
    }

    async fn wrap(&self, plain: &SecretBytes) -> Result<Value, RootKeyError> {
        let (service, key) = self.service(&self.by)?;
        let (key, context) = (KeyRef::parse(key), context());
        let sealed =
            self.ask(service, &self.by, &|| service.kms.encrypt(&self.caller, &key, plain.expose(), &context)).await?;
        let ciphertext = STANDARD.encode(&sealed.blob);
        let wrapped = Wrapped { by: self.by.clone(), key: sealed.key_arn.to_string(), ciphertext };
        serde_json::to_value(wrapped).map_err(|_| RootKeyError::Malformed)
    }

    async fn unwrap(&self, wrapped: &Value) -> Result<SecretBytes, RootKeyError> {
        let Wrapped { by, key, ciphertext } = Wrapped::deserialize(wrapped).map_err(|_| RootKeyError::Malformed)?;
        let blob = STANDARD.decode(ciphertext).map_err(|_| RootKeyError::Malformed)?;
        let (service, _) = self.service(&by)?;
        let (key, context) = (KeyRef::parse(&key), context());
        let opened = self.ask(service, &by, &|| service.kms.decrypt(&self.caller, &blob, Some(&key), &context)).await?;
        Ok(opened.plaintext)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::crypto::random::SystemEntropy;
    use crate::crypto::{Secret, SharedEntropy};
    use crate::kms::local::{LocalKms, NewKey};
    use crate::kms::root::RootKey;
    use crate::kms::root::custody::{Custody as _, RootKeys};
    use crate::kms::root::sealed::SealedFile;
    use crate::kms::transit::{Login, Server, Settings, TokenSource, TransitKms};
    use crate::kms::{KeyArn, Kms as _, guard};
    use crate::store::memory::MemoryStore;

    const OWNER: &str = "111122223333";

    /// A key service to be the outer one.
    async fn local() -> Arc<LocalKms> {
        let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy)));
        let root = Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap());
        Arc::new(LocalKms::open(store, root, Arc::new(SystemClock), entropy, "us-east-1".to_owned()).await.unwrap())
    }

    fn owner() -> Caller {
        Caller::root_of(OWNER, None, "r")
    }

    async fn create(kms: &LocalKms) -> KeyArn {
        kms.create_key(&owner(), NewKey::default()).await.unwrap().arn
    }

    fn outer(kms: &[(&str, &Arc<LocalKms>)], by: &str) -> OuterKey {
        let services = kms.iter().map(|(name, kms)| ((*name).to_owned(), Arc::clone(kms) as SharedKms)).collect();
        OuterKey::new(services, by.to_owned(), OWNER, Instant::now())
    }

    fn secret() -> SecretBytes {
        SecretBytes::new(b"the root key".to_vec())
    }

    #[tokio::test]
    async fn the_outer_key_opens_what_it_sealed_alone() {
        let kms = local().await;
        let (key, other) = (create(&kms).await, create(&kms).await);
        let sealing = outer(&[("a", &kms)], &format!("a/{}", key.id()));
        let wrapped = sealing.wrap(&secret()).await.unwrap();
        assert_eq!((&wrapped["by"], &wrapped["key"]), (&format!("a/{}", key.id()).into(), &key.as_str().into()));
        assert!(!wrapped.to_string().contains("the root key") && !format!("{sealing:?}").contains("Caller"));
        assert_eq!(sealing.unwrap(&wrapped).await.unwrap().expose(), b"the root key");
        assert!(sealing.is_current(&wrapped));

        // Another key may be configured by now: the one that sealed it is named.
        let moved = outer(&[("a", &kms)], &format!("a/{}", other.id()));
        assert_eq!(moved.unwrap(&wrapped).await.unwrap().expose(), b"the root key");
        assert!(!moved.is_current(&wrapped));

        let mut forged = wrapped.clone();
        forged["key"] = other.as_str().into();
        assert!(matches!(sealing.unwrap(&forged).await, Err(RootKeyError::Locked(_))));
        let mut malformed = wrapped.clone();
        malformed["ciphertext"] = "not base64".into();
        assert!(matches!(sealing.unwrap(&malformed).await, Err(RootKeyError::Malformed)));

        // What is encrypted for something else, by the same key, is not taken for a root key.
        let other_purpose = EncryptionContext::new().with("strongroom:purpose", "something else");
        let elsewhere = kms.encrypt(&owner(), &KeyRef::from(&key), b"x", &other_purpose).await.unwrap();
        let mut foreign = wrapped.clone();
        foreign["ciphertext"] = STANDARD.encode(elsewhere.blob).into();
        assert!(matches!(sealing.unwrap(&foreign).await, Err(RootKeyError::Locked(_))));

        kms.set_enabled(&owner(), &KeyRef::from(&key), false).await.unwrap();
        let refused = sealing.unwrap(&wrapped).await.unwrap_err().to_string();
        assert!(refused.contains("DisabledException") && refused.contains(key.as_str()), "{refused}");
        let gone = outer(&[("b", &kms)], "b/x").unwrap(&wrapped).await.unwrap_err().to_string();
        assert!(gone.contains("no key service of that name is configured"), "{gone}");
    }

    #[tokio::test]
    async fn a_file_follows_the_configuration_to_another_service() {
        let (one, two) = (local().await, local().await);
        let (first, second) = (create(&one).await, create(&two).await);
        let dir = tempfile::tempdir().unwrap();
        let file = |outer| SealedFile { path: dir.path().join("root.key.sealed"), protection: Arc::new(outer) };
        let keys = RootKeys(vec![Secret::new([7; 32])]);
        let before = file(outer(&[("a", &one)], &format!("a/{}", first.id())));
        assert!(!before.renew().await.unwrap(), "there is no file yet");
        before.keep(&keys).await.unwrap();
        assert!(!before.renew().await.unwrap());
        let after = file(outer(&[("a", &one), ("b", &two)], &format!("b/{}", second.id())));
        assert!(after.renew().await.unwrap());
        assert!(!after.renew().await.unwrap());
        one.set_enabled(&owner(), &KeyRef::from(&first), false).await.unwrap();
        assert_eq!(after.load().await.unwrap().unwrap().0[0].expose(), &[7; 32]);
        // A move that fails leaves the file as it was.
        let nowhere = file(outer(&[("a", &one), ("b", &two)], "a/00000000-0000-4000-8000-000000000000"));
        assert!(nowhere.renew().await.is_err());
        assert!(after.load().await.unwrap().is_some());
    }

    /// Nobody listens there.
    fn away(by: &str, patient_until: Instant) -> OuterKey {
        let token = Login::Token(TokenSource::Given(SecretBytes::new(b"t".to_vec())));
        let server = Server { address: "http://127.0.0.1:1".to_owned(), namespace: None, ca_file: None, login: token };
        let settings = Settings {
            mount: "transit".to_owned(),
            service: "bao".to_owned(),
            region: "us-east-1".to_owned(),
            account: OWNER.to_owned(),
            default_key: None,
            create_default_key: false,
        };
        let kms: SharedKms = Arc::new(TransitKms::new(server, settings, Arc::new(SystemEntropy::new())).unwrap());
        let kms = guard::Guarded::shared(kms, guard::Deadline(Duration::from_secs(2)));
        OuterKey::new(vec![("bao".to_owned(), kms)], by.to_owned(), OWNER, patient_until)
    }

    #[tokio::test]
    async fn a_service_that_is_away_is_waited_for_so_long_and_no_longer() {
        let began = Instant::now();
        let refused = away("bao/k", began + Duration::from_millis(2500)).wrap(&secret()).await.unwrap_err();
        assert!((2..30).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        let text = refused.to_string();
        assert!(
            text.starts_with("the root key cannot be sealed or unsealed by kms: bao/k: KeyUnavailableException"),
            "{text}"
        );
        let began = Instant::now();
        away("bao/k", began).wrap(&secret()).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }

    /// The file's form: what was written by this version is read by every later one.
    #[tokio::test]
    async fn the_sealed_file_keeps_its_form() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms/root.key.kms.sealed");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key.sealed");
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            let kms = local().await;
            let protection = Arc::new(outer(&[("there", &kms)], &format!("there/{}", create(&kms).await.id())));
            let file = SealedFile { path: path.clone(), protection };
            file.keep(&RootKeys(vec![Secret::new([7; 32])])).await.unwrap();
            std::fs::copy(&path, &golden).unwrap();
        }
        std::fs::copy(&golden, &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let file = SealedFile { path, protection: Arc::new(outer(&[], "there/another")) };
        assert!(
            matches!(file.load().await, Err(RootKeyError::Unsealing { .. })),
            "it is whole, and its service is away"
        );
        let written = std::fs::read(&golden).unwrap();
        let Wrapped { by, key, ciphertext } =
            Wrapped::deserialize(&serde_json::from_slice::<Value>(&written).unwrap()["wrapped"]).unwrap();
        let arn: KeyArn = key.parse().unwrap();
        assert_eq!(by, format!("there/{}", arn.id()));
        assert!(STANDARD.decode(ciphertext).is_ok());
    }
}
