//! S3 Bucket Keys: one data key of the KMS stands, for a short time, between the KMS key and the data keys of many
//! objects, so that writing and reading them costs a handful of KMS calls (S3: userguide/bucket-key).
//!
//! A bucket key belongs to one bucket, KMS key, caller and client context; the KMS wraps it under the bucket's ARN. Who
//! may use a KMS key is thereby still asked of the KMS, once for each caller:
//!
//! | | held for | asked of the KMS |
//! |---|---|---|
//! | to wrap new objects' keys | bucket, key as named, caller, context | `GenerateDataKey` |
//! | to unwrap | wrapped bucket key, caller, context | `Decrypt` |
//!
//! **When a key is let go**: after [`LIFETIME`]; after [`MAX_USES`]; when the KMS says that some key has changed
//! ([`Kms::generation`]), so that a disabled key bites at once; and where the KMS cannot say, after [`BLIND_LIFETIME`].
//! Keys are zeroized when the last request using them is done. At most [`MAX_HELD`] of each sort are held.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::SseError;
use crate::clock::SharedClock;
use crate::crypto::Secret;
use crate::kms::{Caller, EncryptionContext, GeneratedKey, KeyArn, KeyRef, Kms, WrappedKey};

/// How long a bucket key is used, in milliseconds: five minutes.
const LIFETIME: i64 = 5 * 60 * 1000;
/// How long, where the KMS cannot tell of changes: below the five seconds after which a disabled key must bite.
const BLIND_LIFETIME: i64 = 4 * 1000;
/// How many keys one bucket key wraps or unwraps. Each use has a wrapping key of its own (`wrap`), so this bounds the
/// damage of a lost bucket key, not a nonce.
const MAX_USES: u64 = 1 << 20;
/// How many bucket keys of each sort are held.
const MAX_HELD: usize = 4096;

/// The bucket keys in use.
pub(super) struct BucketKeys {
    clock: SharedClock,
    writing: Held<WriteScope, GeneratedKey>,
    reading: Held<ReadScope, Secret<32>>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct WriteScope {
    caller: Principal,
    bucket: String,
    key: KeyRef,
    context: Vec<u8>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct ReadScope {
    caller: Principal,
    key: KeyArn,
    blob: Vec<u8>,
    context: Vec<u8>,
}

/// Whom the KMS gave the key to.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Principal {
    account: String,
    arn: String,
}

impl Principal {
    fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), arn: caller.principal.clone() }
    }
}

impl BucketKeys {
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, writing: Held::default(), reading: Held::default() }
    }

    /// The bucket key to wrap a new object's data key with.
    ///
    /// # Errors
    /// [`SseError::Kms`].
    pub async fn obtain(
        &self,
        kms: &dyn Kms,
        caller: &Caller,
        bucket: &str,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<Arc<GeneratedKey>, SseError> {
        let scope = WriteScope {
            caller: Principal::of(caller),
            bucket: bucket.to_owned(),
            key: key.clone(),
            context: context.to_aad(),
        };
        let now = Now { millis: self.clock.now().as_millisecond(), generation: kms.generation() };
        let ask = async || Ok(kms.generate_data_key(caller, key, context).await?);
        self.writing.take(scope, now, ask).await
    }

    /// The bucket key in `wrapped`.
    ///
    /// # Errors
    /// [`SseError::Kms`]; [`SseError::Corrupt`] if it is no key.
    pub async fn open(
        &self,
        kms: &dyn Kms,
        caller: &Caller,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> Result<Arc<Secret<32>>, SseError> {
        let scope = ReadScope {
            caller: Principal::of(caller),
            key: wrapped.key_arn.clone(),
            blob: wrapped.blob.clone(),
            context: context.to_aad(),
        };
        let now = Now { millis: self.clock.now().as_millisecond(), generation: kms.generation() };
        self.reading.take(scope, now, async || super::decrypt_key(kms, caller, wrapped, context).await).await
    }
}

/// What decides whether a key is still to be used.
#[derive(Clone, Copy)]
struct Now {
    millis: i64,
    generation: Option<u64>,
}

/// Keys by scope. Requests of one scope that come at once wait for one answer of the KMS.
struct Held<S, K>(Mutex<HashMap<S, Arc<Entry<K>>>>);

struct Entry<K> {
    since: Now,
    uses: AtomicU64,
    key: OnceCell<Arc<K>>,
}

impl<S, K> Default for Held<S, K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Clone + Eq + Hash, K> Held<S, K> {
    async fn take(
        &self,
        scope: S,
        now: Now,
        ask: impl AsyncFnOnce() -> Result<K, SseError>,
    ) -> Result<Arc<K>, SseError> {
        let entry = self.entry(&scope, now);
        let key = entry.key.get_or_try_init(async || ask().await.map(Arc::new)).await;
        if key.is_err() {
            self.forget(&scope, &entry);
        }
        key.cloned()
    }

    fn entry(&self, scope: &S, now: Now) -> Arc<Entry<K>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = held.get(scope)
            && entry.serves(now)
        {
            return Arc::clone(entry);
        }
        if held.len() >= MAX_HELD {
            held.retain(|_, entry| entry.is_fresh(now));
        }
        if held.len() >= MAX_HELD {
            // All are in use: the oldest half makes room.
            let mut ages: Vec<i64> = held.values().map(|entry| entry.since.millis).collect();
            let (_, median, _) = ages.select_nth_unstable(MAX_HELD / 2);
            let median = *median;
            held.retain(|_, entry| entry.since.millis > median);
        }
        let entry = Arc::new(Entry { since: now, uses: AtomicU64::new(1), key: OnceCell::new() });
        held.insert(scope.clone(), Arc::clone(&entry));
        entry
    }

    /// Takes out an entry whose question the KMS refused, unless another has taken its place.
    fn forget(&self, scope: &S, entry: &Arc<Entry<K>>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(scope).is_some_and(|present| Arc::ptr_eq(present, entry)) && !entry.key.initialized() {
            held.remove(scope);
        }
    }
}

impl<K> Entry<K> {
    /// Whether the key may be used once more; counts the use.
    fn serves(&self, now: Now) -> bool {
        self.is_fresh(now) && self.uses.fetch_add(1, Ordering::Relaxed) < MAX_USES
    }

    fn is_fresh(&self, now: Now) -> bool {
        let lifetime = if now.generation.is_some() { LIFETIME } else { BLIND_LIFETIME };
        // A clock that was turned back makes no key older than it is.
        now.generation == self.since.generation && (0..lifetime).contains(&(now.millis - self.since.millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64, generation: Option<u64>) -> Now {
        Now { millis, generation }
    }

    /// Takes the key of `scope`; whether the KMS was asked.
    async fn asks(held: &Held<u32, u32>, scope: u32, now: Now) -> bool {
        let mut asked = false;
        let ask = async || {
            asked = true;
            Ok(7)
        };
        assert_eq!(*held.take(scope, now, ask).await.unwrap(), 7);
        asked
    }

    #[tokio::test]
    async fn one_answer_serves_until_it_is_old_or_a_key_changed() {
        let held = Held::default();
        assert!(asks(&held, 1, at(0, Some(1))).await);
        assert!(!asks(&held, 1, at(LIFETIME - 1, Some(1))).await);
        assert!(asks(&held, 2, at(0, Some(1))).await, "another scope");
        assert!(asks(&held, 1, at(LIFETIME, Some(1))).await, "too old");
        assert!(asks(&held, 1, at(LIFETIME, Some(2))).await, "a key changed");
        assert!(asks(&held, 1, at(LIFETIME - 1, Some(2))).await, "the clock was turned back");
    }

    #[tokio::test]
    async fn where_changes_cannot_be_seen_a_key_is_asked_for_again_soon() {
        let held = Held::default();
        assert!(asks(&held, 1, at(0, None)).await);
        assert!(!asks(&held, 1, at(BLIND_LIFETIME - 1, None)).await);
        assert!(asks(&held, 1, at(BLIND_LIFETIME, None)).await);
    }

    #[tokio::test]
    async fn uses_are_bounded() {
        let held = Held::default();
        assert!(asks(&held, 1, at(0, Some(1))).await);
        held.0.lock().unwrap()[&1].uses.store(MAX_USES - 1, Ordering::Relaxed);
        assert!(!asks(&held, 1, at(0, Some(1))).await);
        assert!(asks(&held, 1, at(0, Some(1))).await);
    }

    #[tokio::test]
    async fn refusals_are_not_kept() {
        let held: Held<u32, u32> = Held::default();
        let refusal = held.take(1, at(0, Some(1)), async || Err(SseError::corrupt("no"))).await;
        assert!(refusal.is_err());
        assert!(held.0.lock().unwrap().is_empty());
        assert!(asks(&held, 1, at(0, Some(1))).await);
    }

    #[tokio::test]
    async fn few_are_held() {
        let held = Held::default();
        for scope in 0..u32::try_from(MAX_HELD).unwrap() + 10 {
            asks(&held, scope, at(i64::from(scope), Some(1))).await;
        }
        let count = held.0.lock().unwrap().len();
        assert!((MAX_HELD / 4..=MAX_HELD).contains(&count), "{count}");
        assert!(!asks(&held, u32::try_from(MAX_HELD).unwrap() + 9, at(LIFETIME - 1, Some(1))).await, "the newest stay");
    }
}
