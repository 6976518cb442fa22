//! The unwrap cache: data keys that were unwrapped a moment ago, so that reading an object again asks no KMS.
//!
//! It answers whoever the KMS has answered, for the same ciphertext, key and encryption context: a key of the cache is
//! [`Principal`], service, ciphertext, named key and context. Refusals are never kept. What bounds it is in [`super::held`]. Calls of
//! the KMS API do not come through here, and the audit stands above it: a use is recorded whether or not the KMS was asked.
//!
//! Off by default. The embedded key service answers in microseconds (`benches/README.md`), and a KMS elsewhere shall see each
//! use in its own audit, unless its operator wants otherwise; then its gate goes on judging each use.

use std::sync::Arc;

use async_trait::async_trait;

use super::held::{Figures, Held, Limits, Now, Principal};
use super::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyDescription, KeyRef, Kms, KmsError, Knowledge, SharedKms,
    WrappedKey,
};
use crate::clock::SharedClock;
use crate::crypto::{Secret, SecretBytes};

/// The longest that a key is held where the KMS cannot tell of changes, in milliseconds: below the five seconds after which
/// a disabled key must bite.
pub const BLIND_LIFETIME: i64 = 4 * 1000;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Scope {
    principal: Principal,
    key: Option<KeyRef>,
    blob: Vec<u8>,
    context: Vec<u8>,
}

/// A key service whose answers to Decrypt are kept for a while.
pub struct CachedKms {
    inner: SharedKms,
    held: Held<Scope, Decrypted, KmsError>,
    clock: SharedClock,
}

impl CachedKms {
    /// Keeps answers of `inner`.
    pub fn new(inner: SharedKms, limits: Limits, clock: SharedClock) -> Self {
        Self { inner, held: Held::new(limits), clock }
    }

    /// Lets go, and zeroizes, what is not to be used any more; to be called every second or so.
    pub fn sweep(&self) {
        self.held.sweep(|scope| self.now(scope.key.as_ref()));
    }

    /// How often the KMS was not asked.
    pub fn figures(&self) -> Figures {
        self.held.figures()
    }

    /// What decides of a ciphertext of `key`. Of several key services, some can tell of changes and others cannot; where no key
    /// is named, it might be any of theirs.
    fn now(&self, key: Option<&KeyRef>) -> Now {
        let generation = key.and_then(|key| self.inner.knowledge().generation_of(key));
        Now { millis: self.clock.now().as_millisecond(), generation }
    }
}

#[async_trait]
impl Kms for CachedKms {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        self.inner.generate_data_key(caller, key, context).await
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        // Where the request itself counts, the next one need not be answered alike.
        if caller.conditions.is_some() {
            return self.inner.decrypt(caller, blob, key, context).await;
        }
        let principal = Principal::of(caller);
        let scope = Scope { principal, key: key.cloned(), blob: blob.to_vec(), context: context.to_aad() };
        let now = self.now(key);
        let ask = async || self.inner.decrypt(caller, blob, key, context).await;
        let opened: Arc<Decrypted> = self.held.take(scope, now, ask).await?;
        Ok(Decrypted {
            plaintext: SecretBytes::new(opened.plaintext.expose().to_vec()),
            key_arn: opened.key_arn.clone(),
            material_id: opened.material_id.clone(),
        })
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.inner.encrypt(caller, key, plaintext, context).await
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.inner.wrap_data_key(caller, key, data_key, context).await
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        self.inner.re_encrypt(caller, blob, from, to).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        self.inner.describe(caller, key).await
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self.inner.knowledge()
    }
}

impl Limits {
    /// The unwrap cache's: `entries` keys at once, each for `seconds` and `uses` uses at most.
    pub fn of_unwrapped(entries: u32, seconds: u32, uses: u32) -> Self {
        let lifetime = i64::from(seconds) * 1000;
        Self {
            lifetime,
            blind_lifetime: lifetime.min(BLIND_LIFETIME),
            uses: uses.into(),
            entries: usize::try_from(entries).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, from_millis};
    use crate::crypto::random::SystemEntropy;
    use crate::kms::KeyArn;
    use crate::kms::error::KmsErrorKind;
    use crate::kms::local::{LocalKms, NewKey};
    use crate::kms::root::RootKey;
    use crate::store::memory::MemoryStore;

    struct Fixture {
        local: Arc<LocalKms>,
        cached: CachedKms,
        clock: Arc<ManualClock>,
        arn: KeyArn,
        blob: Vec<u8>,
    }

    fn caller(principal: &str) -> Caller {
        let account = "111122223333".to_owned();
        let via_service = Some("s3.us-east-1.amazonaws.com".to_owned());
        let root = Caller::root_of(&account, via_service, "");
        Caller { principal: format!("arn:aws:iam::{account}:{principal}"), ..root }
    }

    fn context() -> EncryptionContext {
        EncryptionContext::new().with("a", "b")
    }

    async fn fixture() -> Fixture {
        let entropy = Arc::new(SystemEntropy::new());
        let clock = Arc::new(ManualClock::new(from_millis(1_700_000_000_000)));
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy) as _));
        let root = Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap());
        let local =
            LocalKms::open(store, root, Arc::clone(&clock) as _, entropy, "us-east-1".to_owned()).await.unwrap();
        let local = Arc::new(local);
        let arn = local.create_key(&caller("root"), NewKey::default()).await.unwrap().arn;
        let made = local.generate_data_key(&caller("root"), &KeyRef::from(&arn), &context()).await.unwrap();
        let limits = Limits::of_unwrapped(10, 60, 3);
        let cached = CachedKms::new(Arc::clone(&local) as _, limits, Arc::clone(&clock) as _);
        Fixture { local, cached, clock, arn, blob: made.wrapped.blob }
    }

    impl Fixture {
        /// Decrypts; whether the KMS was asked.
        async fn asks(&self, caller: &Caller, context: &EncryptionContext) -> Result<bool, KmsErrorKind> {
            let before = self.cached.figures().misses;
            self.cached
                .decrypt(caller, &self.blob, Some(&KeyRef::from(&self.arn)), context)
                .await
                .map_err(|error| error.kind)?;
            Ok(self.cached.figures().misses > before)
        }
    }

    #[tokio::test]
    async fn an_answer_serves_the_same_question_of_the_same_principal_alone() {
        let fixture = fixture().await;
        let root = caller("root");
        assert_eq!(fixture.asks(&root, &context()).await, Ok(true));
        assert_eq!(fixture.asks(&root, &context()).await, Ok(false));
        assert_eq!(fixture.asks(&root, &EncryptionContext::new()).await, Err(KmsErrorKind::InvalidCiphertext));
        let direct = Caller { via_service: None, ..caller("root") };
        assert_eq!(fixture.asks(&direct, &context()).await, Ok(true), "not through the service");
        let stranger = Caller::root_of("444455556666", direct.via_service.clone(), "");
        assert_eq!(fixture.asks(&stranger, &context()).await, Err(KmsErrorKind::AccessDenied));
        assert_eq!(fixture.asks(&root, &context()).await, Ok(false));
        assert_eq!(fixture.asks(&root, &context()).await, Ok(true), "three uses");
        let with_conditions = Caller { conditions: Some(Arc::default()), ..caller("root") };
        let before = fixture.cached.figures();
        assert_eq!(fixture.asks(&with_conditions, &context()).await, Ok(false));
        assert_eq!(fixture.cached.figures(), before, "not even looked at");
    }

    #[tokio::test]
    async fn every_change_is_seen_at_once_and_time_too() {
        let fixture = fixture().await;
        let (root, name) = (caller("root"), KeyRef::from(&fixture.arn));
        assert_eq!(fixture.asks(&root, &context()).await, Ok(true));
        fixture.local.set_enabled(&root, &name, false).await.unwrap();
        assert_eq!(fixture.asks(&root, &context()).await, Err(KmsErrorKind::Disabled));
        fixture.local.set_enabled(&root, &name, true).await.unwrap();
        assert_eq!(fixture.asks(&root, &context()).await, Ok(true));
        let policy = crate::kms::local::default_policy("111122223333");
        fixture.local.put_policy(&root, &name, &policy, false).await.unwrap();
        assert_eq!(fixture.asks(&root, &context()).await, Ok(true));
        fixture.clock.advance(59);
        assert_eq!(fixture.asks(&root, &context()).await, Ok(false));
        fixture.clock.advance(1);
        fixture.cached.sweep();
        assert_eq!(fixture.cached.figures().held, 0, "zeroized without a request");
        assert_eq!(fixture.asks(&root, &context()).await, Ok(true));
    }

    /// Where nobody can tell whether a key has changed, it is asked for again within five seconds.
    #[tokio::test]
    async fn a_ciphertext_whose_key_is_not_known_is_not_held_for_long() {
        let fixture = fixture().await;
        let asks = async || {
            let before = fixture.cached.figures().misses;
            fixture.cached.decrypt(&caller("root"), &fixture.blob, None, &context()).await.unwrap();
            fixture.cached.figures().misses > before
        };
        assert!(asks().await);
        fixture.clock.advance(3);
        assert!(!asks().await);
        fixture.clock.advance(1);
        assert!(asks().await);
    }
}
