//! Keys in clear that are held for a while, so that a KMS need not be asked for each use: S3's bucket keys, and the unwrap
//! cache.
//!
//! **When a key is let go**: when it is too old; when it was used too often; when the KMS says that some key, policy or grant
//! has changed ([`super::Knowledge::generation_of`]), so that a disabled key bites at once; where the KMS cannot say, after
//! [`Limits::blind_lifetime`] at most; and when too many are held. Keys are zeroized when the last request using them is done.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::error::Retold;
use super::{Caller, ConditionValues};

/// How long, how often and how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Milliseconds that a key is used.
    pub lifetime: i64,
    /// Milliseconds where the KMS cannot tell of changes.
    pub blind_lifetime: i64,
    /// Uses of one key.
    pub uses: u64,
    /// Keys held at once.
    pub entries: usize,
}

/// Whom the KMS gave a key to: what decides whether it would give it again.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Principal {
    account: String,
    arn: String,
    /// A principal whose policies have changed, or another session of the same name, asks for itself.
    stamp: u64,
    via_service: Option<String>,
    /// What it is on behalf of: a service may have a key for one bucket and not for another.
    conditions: Option<Arc<ConditionValues>>,
}

impl Principal {
    /// That of `caller`.
    pub fn of(caller: &Caller) -> Self {
        Self {
            account: caller.account.clone(),
            arn: caller.principal.clone(),
            stamp: caller.subject.stamp,
            via_service: caller.via_service.clone(),
            conditions: caller.conditions.clone(),
        }
    }
}

/// What decides whether a key is still to be used.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub millis: i64,
    /// The KMS's generation.
    pub generation: Option<u64>,
}

/// How often keys were at hand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Requests whose key was at hand, or being asked for already.
    pub hits: u64,
    /// Requests for which the KMS was asked.
    pub misses: u64,
    /// Keys let go.
    pub evictions: u64,
    /// Keys held now.
    pub held: usize,
}

/// One answer of a KMS for all who ask at once, a refusal (`E`) too: else they would ask one behind the other while it is away,
/// each for as long as a call may take.
#[derive(Debug)]
pub struct Answer<T, E>(OnceCell<Result<T, E>>);

impl<T: Clone, E: Retold> Answer<T, E> {
    /// The answer: that of the first's `ask`, for which the others wait.
    ///
    /// # Errors
    /// Those of `ask`; who asked has it as it was, the others as it is retold.
    pub async fn wait(&self, ask: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut own = None;
        let ask = async || ask().await.map_err(|error| own.insert(error).retold());
        match self.0.get_or_init(ask).await {
            Ok(answer) => Ok(answer.clone()),
            Err(told) => Err(own.unwrap_or_else(|| told.retold())),
        }
    }
}

impl<T, E> Default for Answer<T, E> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

/// Keys by scope. Requests of one scope that come at once wait for one [`Answer`].
#[derive(Debug)]
pub struct Held<S, K, E> {
    limits: Limits,
    entries: Mutex<HashMap<S, Arc<Entry<K, E>>>>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

#[derive(Debug)]
struct Entry<K, E> {
    since: Now,
    uses: AtomicU64,
    answer: Answer<Arc<K>, E>,
}

impl<S: Clone + Eq + Hash, K, E: Retold> Held<S, K, E> {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        let none = AtomicU64::default;
        Self { limits, entries: Mutex::default(), hits: none(), misses: none(), evictions: none() }
    }

    /// The key of `scope`: that which is held, or else what `ask` answers.
    ///
    /// # Errors
    /// Those of `ask`, which are told to those who wait and not kept.
    pub async fn take(&self, scope: S, now: Now, ask: impl AsyncFnOnce() -> Result<K, E>) -> Result<Arc<K>, E> {
        let entry = self.entry(&scope, now);
        let answer = entry.answer.wait(async || ask().await.map(Arc::new)).await;
        if answer.is_err() {
            self.forget(&scope, &entry);
        }
        answer
    }

    /// Lets go of what is not to be used any more; `now` says what decides of the keys of a scope.
    pub fn sweep(&self, now: impl Fn(&S) -> Now) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.keep(&mut entries, |scope, entry| entry.is_usable(now(scope), self.limits));
    }

    /// How often keys were at hand.
    pub fn figures(&self) -> Figures {
        let held = self.entries.lock().unwrap_or_else(PoisonError::into_inner).len();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures { hits: read(&self.hits), misses: read(&self.misses), evictions: read(&self.evictions), held }
    }

    fn entry(&self, scope: &S, now: Now) -> Arc<Entry<K, E>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(scope)
            && entry.is_fresh(now, self.limits)
            && entry.uses.fetch_add(1, Ordering::Relaxed) < self.limits.uses
        {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Arc::clone(entry);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        if entries.len() >= self.limits.entries {
            self.keep(&mut entries, |_, entry| entry.is_usable(now, self.limits));
        }
        if entries.len() >= self.limits.entries {
            // All are in use: the oldest half makes room.
            let mut ages: Vec<i64> = entries.values().map(|entry| entry.since.millis).collect();
            let middle = ages.len() / 2;
            let (_, median, _) = ages.select_nth_unstable(middle);
            let median = *median;
            self.keep(&mut entries, |_, entry| entry.since.millis > median);
        }
        let entry = Arc::new(Entry { since: now, uses: AtomicU64::new(1), answer: Answer::default() });
        if entries.insert(scope.clone(), Arc::clone(&entry)).is_some() {
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        entry
    }

    fn keep(&self, entries: &mut HashMap<S, Arc<Entry<K, E>>>, wanted: impl Fn(&S, &Entry<K, E>) -> bool) {
        let before = entries.len();
        entries.retain(|scope, entry| wanted(scope, entry));
        self.evictions.fetch_add((before - entries.len()) as u64, Ordering::Relaxed);
    }

    /// Takes out an entry whose question the KMS refused, unless another has taken its place.
    fn forget(&self, scope: &S, entry: &Arc<Entry<K, E>>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(scope).is_some_and(|present| Arc::ptr_eq(present, entry)) {
            entries.remove(scope);
        }
    }
}

impl<K, E> Entry<K, E> {
    fn is_fresh(&self, now: Now, limits: Limits) -> bool {
        let lifetime = if now.generation.is_some() { limits.lifetime } else { limits.blind_lifetime };
        // A clock that was turned back makes no key older than it is.
        now.generation == self.since.generation && (0..lifetime).contains(&(now.millis - self.since.millis))
    }

    fn is_usable(&self, now: Now, limits: Limits) -> bool {
        self.is_fresh(now, limits) && self.uses.load(Ordering::Relaxed) < limits.uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { lifetime: 1000, blind_lifetime: 100, uses: 10, entries: 64 };

    type Refusal = &'static str;

    impl Retold for Refusal {
        fn retold(&self) -> Self {
            self
        }
    }

    fn at(millis: i64, generation: Option<u64>) -> Now {
        Now { millis, generation }
    }

    /// Takes the key of `scope`; whether the KMS was asked.
    async fn asks(held: &Held<u32, u32, Refusal>, scope: u32, now: Now) -> bool {
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
        let held = Held::new(LIMITS);
        assert!(asks(&held, 1, at(0, Some(1))).await);
        assert!(!asks(&held, 1, at(999, Some(1))).await);
        assert!(asks(&held, 2, at(0, Some(1))).await, "another scope");
        assert!(asks(&held, 1, at(1000, Some(1))).await, "too old");
        assert!(asks(&held, 1, at(1000, Some(2))).await, "a key changed");
        assert!(asks(&held, 1, at(999, Some(2))).await, "the clock was turned back");
        assert_eq!(held.figures(), Figures { hits: 1, misses: 5, evictions: 3, held: 2 });
    }

    #[test]
    fn a_service_is_told_apart_by_what_it_works_for() {
        let of = |source: &str| {
            let mut values = ConditionValues::default();
            values.insert(None, "aws:sourcearn", source.to_owned());
            let service = Arc::new(crate::policy::Subject::service("s3.amazonaws.com", "111122223333"));
            let caller = Caller { conditions: Some(Arc::new(values)), ..Caller::new(&service, None, "r") };
            Principal::of(&caller)
        };
        assert_eq!(of("arn:aws:s3:::a"), of("arn:aws:s3:::a"));
        assert_ne!(of("arn:aws:s3:::a"), of("arn:aws:s3:::b"));
    }

    #[tokio::test]
    async fn where_changes_cannot_be_seen_a_key_is_asked_for_again_soon() {
        let held = Held::new(LIMITS);
        assert!(asks(&held, 1, at(0, None)).await);
        assert!(!asks(&held, 1, at(99, None)).await);
        assert!(asks(&held, 1, at(100, None)).await);
    }

    #[tokio::test]
    async fn uses_are_bounded() {
        let held = Held::new(LIMITS);
        assert!(asks(&held, 1, at(0, Some(1))).await);
        for _ in 1..LIMITS.uses {
            assert!(!asks(&held, 1, at(0, Some(1))).await);
        }
        assert!(asks(&held, 1, at(0, Some(1))).await);
    }

    #[tokio::test]
    async fn refusals_are_not_kept() {
        let held: Held<u32, u32, Refusal> = Held::new(LIMITS);
        assert_eq!(held.take(1, at(0, Some(1)), async || Err("no")).await.unwrap_err(), "no");
        assert_eq!(held.figures().held, 0);
        assert!(asks(&held, 1, at(0, Some(1))).await);
    }

    #[tokio::test]
    async fn few_are_held() {
        let held = Held::new(Limits { lifetime: i64::MAX, ..LIMITS });
        for scope in 0..100 {
            asks(&held, scope, at(i64::from(scope), Some(1))).await;
        }
        let count = held.figures().held;
        assert!((LIMITS.entries / 4..=LIMITS.entries).contains(&count), "{count}");
        assert!(!asks(&held, 99, at(100, Some(1))).await, "the newest stay");
    }

    /// What is let go is dropped then and there, not at the next request for it.
    #[tokio::test]
    async fn a_sweep_drops_what_is_not_to_be_used() {
        let held: Held<u32, Vec<u8>, Refusal> = Held::new(LIMITS);
        let key = held.take(1, at(0, Some(1)), async || Ok(vec![7])).await.unwrap();
        let watched = Arc::downgrade(&key);
        drop(key);
        held.sweep(|_| at(999, Some(1)));
        assert!(watched.upgrade().is_some());
        held.sweep(|_| at(0, Some(2)));
        assert!(watched.upgrade().is_none(), "a key changed");
        assert_eq!(held.figures().held, 0);
    }

    #[tokio::test]
    async fn requests_that_come_at_once_ask_once_however_it_is_answered() {
        for answer in [Ok(1), Err("away")] {
            let held = Arc::new(Held::<u32, u32, Refusal>::new(LIMITS));
            let asked = Arc::new(AtomicU64::new(0));
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (held, asked) = (Arc::clone(&held), Arc::clone(&asked));
                    tokio::spawn(async move {
                        let ask = async || {
                            asked.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                            answer
                        };
                        held.take(1, at(0, Some(1)), ask).await.map(|key| *key)
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), answer);
            }
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            assert_eq!(held.figures().held, usize::from(answer.is_ok()));
        }
    }
}
