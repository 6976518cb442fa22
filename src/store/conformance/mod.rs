//! One suite for every backend: the contracts of [`super`], as tests, those of keys (`keys`) and of runs (`runs`), and random
//! batches beside a plain map (`model`). A backend's tests say
//! `conformance::suite!(factory)`, where the expression yields a [`OwnedStore`] store, empty and fresh at each evaluation.

mod keys;
mod model;
mod runs;

use std::any::Any;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Batch, Outcome, Partition, RunId, SharedStore, Store, StoreError};

pub(super) use self::keys::*;
pub(super) use self::model::random_batches_agree_with_the_model;
pub(super) use self::runs::*;

/// A partition of the tests' own.
pub(super) const P: Partition = Partition([7; 16]);

/// A store, and what must outlive it (its directory).
pub(super) struct OwnedStore {
    pub(super) store: SharedStore,
    slack: Option<u64>,
    _guard: Box<dyn Any>,
}

impl OwnedStore {
    /// A store that gives back every byte.
    pub(super) fn new(store: SharedStore, guard: impl Any) -> Self {
        Self { store, slack: None, _guard: Box::new(guard) }
    }

    /// A store that may keep `slack` bytes, and one dead byte for each live one.
    pub(super) fn with_slack(self, slack: u64) -> Self {
        Self { slack: Some(slack), ..self }
    }

    /// Waits until what can be given back has been.
    pub(super) async fn assert_reclaimed(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let usage = self.store.usage();
            if usage.reclaimable_bytes <= self.slack.map_or(0, |slack| slack + usage.run_bytes) {
                return;
            }
            assert!(Instant::now() < deadline, "never given back: {usage:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Instantiates the suite as tests of the surrounding module.
macro_rules! suite {
    ($factory:expr) => {
        $crate::store::conformance::suite!(@ $factory;
            commits_are_compare_and_swap mutations_apply_in_order one_of_many_wins
            concurrent_increments_are_all_counted counts_add_up partitions_are_apart scans_keep_their_bounds
            scans_cross_tables scans_see_one_state scans_pass_by_what_they_are_told_to

            runs_live_from_adoption_to_release conflicts_discard_runs dropped_runs_leave_nothing ranges_are_exact
            rooms_keep_what_is_put_there long_runs_come_back hints_are_only_hints empty_runs_exist runs_interleave
            releases_race_with_reads releasing_nothing_is_no_error pinned_runs_outlive_their_release
            pins_race_with_releases shared_runs_live_until_the_last_release what_is_gone_cannot_be_shared
            shares_race_with_releases
        );

        #[test]
        fn random_batches_agree_with_the_model() {
            $crate::store::conformance::random_batches_agree_with_the_model(|| $factory);
        }
    };
    (@ $factory:expr; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let kept = $factory;
                $crate::store::conformance::$name(&kept).await;
            }
        )*
    };
}
pub(super) use suite;

/// `length` bytes that no other seed gives.
pub(super) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes a run in pieces of `step` bytes and commits it under `key`.
pub(super) async fn put_run(store: &dyn Store, key: &str, bytes: &[u8], hint: Option<u64>, step: usize) -> RunId {
    let mut writer = store.create(hint).await.unwrap();
    for piece in bytes.chunks(step.max(1)) {
        writer.append(piece).await.unwrap();
    }
    let run = writer.seal().await.unwrap();
    assert_eq!(run.length, bytes.len() as u64);
    let id = run.id;
    let batch = Batch::new().put(key.into(), id.0.to_vec()).adopt(run);
    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
    id
}

/// Commits a small value and a run of `kib` KiB under `key`.
pub(super) async fn fill(store: &dyn Store, key: &str, kib: usize) -> RunId {
    put_run(store, key, &pattern(9, kib * 1024), Some(kib as u64 * 1024), 64 * 1024).await
}

/// Commits a value that [`assert_full`] replaces.
pub(super) async fn fill_replaceable(store: &dyn Store) {
    let batch = Batch::new().put(b"replaceable".to_vec(), vec![1; 4096]);
    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
}

/// Checks that a full store takes nothing new, still reads, still replaces values by others of their length, and still
/// deletes `key` and the run it names. [`fill_replaceable`] was called before.
pub(super) async fn assert_full(store: &dyn Store, key: &str) {
    let named = store.get(P, key.as_bytes()).await.unwrap().expect("the key is there");
    let run = RunId(named[..].try_into().unwrap());
    assert!(matches!(store.create(Some(1 << 20)).await, Err(StoreError::NoSpace)));
    let growing = Batch::new().put(b"new".to_vec(), vec![1; 4096]);
    assert!(matches!(store.commit(P, growing).await, Err(StoreError::NoSpace)));
    assert_eq!(store.get(P, b"new").await.unwrap(), None);
    assert_eq!(store.read(run, 0, 4096).await.unwrap(), pattern(9, 4096));
    let replacing = |length| Batch::new().put(b"replaceable".to_vec(), vec![2; length]);
    assert!(matches!(store.commit(P, replacing(8192)).await, Err(StoreError::NoSpace)));
    for length in [4096, 2048] {
        assert_eq!(store.commit(P, replacing(length)).await.unwrap(), Outcome::Applied);
        assert_eq!(store.get(P, b"replaceable").await.unwrap().unwrap(), vec![2; length]);
    }
    let batch = Batch::new().expect(key.into(), Some(named)).delete(key.into()).release(run);
    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
    assert!(matches!(store.read(run, 0, 1).await, Err(StoreError::RunNotFound(_))));
}

fn is_gone(result: &Result<Bytes, StoreError>, run: RunId) -> bool {
    matches!(result, Err(StoreError::RunNotFound(gone)) if *gone == run)
}

async fn commit(store: &SharedStore, batch: Batch) -> Outcome {
    store.commit(P, batch).await.unwrap()
}
