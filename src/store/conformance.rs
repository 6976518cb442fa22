//! One suite for every backend: the contracts of [`super`], as tests. A backend's tests say
//! `conformance::suite!(factory)`, where the expression yields a [`Kept`] store, empty and fresh at each evaluation.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Batch, Expectation, KeyRange, Mutation, Outcome, Pair, Partition, RunId, SharedStore, Skip, Store, StoreError,
    Tally,
};

/// A partition of the tests' own.
pub(super) const P: Partition = Partition([7; 16]);

/// A store, and what must outlive it (its directory).
pub(super) struct Kept {
    pub(super) store: SharedStore,
    slack: Option<u64>,
    _guard: Box<dyn Any>,
}

impl Kept {
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
            scans_cross_tables scans_see_one_state scans_pass_by_what_they_are_told_to runs_live_from_adoption_to_release conflicts_discard_runs dropped_runs_leave_nothing
            ranges_are_exact rooms_keep_what_is_put_there long_runs_come_back hints_are_only_hints empty_runs_exist runs_interleave
            releases_race_with_reads releasing_nothing_is_no_error pinned_runs_outlive_their_release
            pins_race_with_releases shared_runs_live_until_the_last_release
            what_is_gone_cannot_be_shared shares_race_with_releases
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

/// Checks that a full store takes nothing new, still reads, and still deletes `key` and the run it names.
pub(super) async fn assert_full(store: &dyn Store, key: &str) {
    let named = store.get(P, key.as_bytes()).await.unwrap().expect("the key is there");
    let run = RunId(named[..].try_into().unwrap());
    assert!(matches!(store.create(Some(1 << 20)).await, Err(StoreError::NoSpace)));
    let growing = Batch::new().put(b"new".to_vec(), vec![1; 4096]);
    assert!(matches!(store.commit(P, growing).await, Err(StoreError::NoSpace)));
    assert_eq!(store.get(P, b"new").await.unwrap(), None);
    assert_eq!(store.read(run, 0, 4096).await.unwrap(), pattern(9, 4096));
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

pub(super) async fn commits_are_compare_and_swap(kept: &Kept) {
    let store = &kept.store;
    let key = b"k".to_vec();
    assert_eq!(store.get(P, &key).await.unwrap(), None);
    let create = || Batch::new().expect(key.clone(), None).put(key.clone(), &b"1"[..]);
    assert_eq!(commit(store, create()).await, Outcome::Applied);
    assert_eq!(store.get(P, &key).await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(commit(store, create()).await, Outcome::conflict(0));
    let swap = |from: &'static [u8], to: &'static [u8]| {
        let first = Batch::new().expect(b"other".to_vec(), None);
        first.expect(key.clone(), Some(Bytes::from_static(from))).put(key.clone(), to).put(b"side".to_vec(), to)
    };
    assert_eq!(commit(store, swap(b"0", b"2")).await, Outcome::conflict(1));
    assert_eq!(store.get(P, b"side").await.unwrap(), None, "a batch that does not hold changes nothing");
    assert_eq!(commit(store, swap(b"1", b"2")).await, Outcome::Applied);
    assert_eq!(store.get(P, b"side").await.unwrap().as_deref(), Some(&b"2"[..]));
    let empty = Batch::new().expect(b"empty".to_vec(), None).put(b"empty".to_vec(), Bytes::new());
    assert_eq!(commit(store, empty).await, Outcome::Applied);
    assert_eq!(store.get(P, b"empty").await.unwrap(), Some(Bytes::new()), "an empty value is a value");
    assert_eq!(commit(store, Batch::new().expect(b"empty".to_vec(), None)).await, Outcome::conflict(0));
}

pub(super) async fn mutations_apply_in_order(kept: &Kept) {
    let store = &kept.store;
    let key = b"k".to_vec();
    let batch = Batch::new().put(key.clone(), &b"1"[..]).delete(key.clone()).put(key.clone(), &b"2"[..]);
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    assert_eq!(store.get(P, &key).await.unwrap().as_deref(), Some(&b"2"[..]));
    let batch = Batch::new().put(key.clone(), &b"3"[..]).delete(key.clone());
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    assert_eq!(store.get(P, &key).await.unwrap(), None);
}

pub(super) async fn one_of_many_wins(kept: &Kept) {
    let store = &kept.store;
    for round in 0..3_u8 {
        let mut tasks = Vec::new();
        for contender in 0..100_u8 {
            let store = Arc::clone(store);
            tasks.push(tokio::spawn(async move {
                let batch = Batch::new().expect(vec![round], None).put(vec![round], vec![contender]);
                (contender, store.commit(P, batch).await.unwrap())
            }));
        }
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (contender, Outcome::Applied) => winners.push(contender),
                (_, conflict) => assert_eq!(conflict.failed(), Some(0)),
            }
        }
        assert_eq!(winners.len(), 1, "exactly one applies");
        assert_eq!(store.get(P, &[round]).await.unwrap().unwrap(), winners);
    }
}

pub(super) async fn concurrent_increments_are_all_counted(kept: &Kept) {
    let store = &kept.store;
    let key = b"counter".to_vec();
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let (store, key) = (Arc::clone(store), key.clone());
        tasks.push(tokio::spawn(async move {
            let mut applied = 0;
            while applied < 20 {
                let old = store.get(P, &key).await.unwrap();
                let count = old.as_ref().map_or(0, |v| u32::from_be_bytes(v[..].try_into().unwrap()));
                let batch = Batch::new().expect(key.clone(), old).put(key.clone(), (count + 1).to_be_bytes().to_vec());
                if store.commit(P, batch).await.unwrap() == Outcome::Applied {
                    applied += 1;
                    let seen = store.get(P, &key).await.unwrap().unwrap();
                    assert!(u32::from_be_bytes(seen[..].try_into().unwrap()) > count, "an acknowledged commit is seen");
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.get(P, &key).await.unwrap().unwrap(), 320_u32.to_be_bytes().to_vec());
}

pub(super) async fn counts_add_up(kept: &Kept) {
    let store = &kept.store;
    let count = |key: &str, difference| Batch::new().count(key.as_bytes().to_vec(), difference);
    let mut tasks = Vec::new();
    for n in 0..16_u64 {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                assert_eq!(commit(&store, count("Ka", Tally::object(n))).await, Outcome::Applied);
            }
            // Differences of one batch add up, and those of a batch that fails do not count.
            let both = count("Ka", Tally::part(n)).count(b"Ka".to_vec(), Tally::part(n).negated());
            assert_eq!(commit(&store, both.count(b"Kb".to_vec(), Tally::upload())).await, Outcome::Applied);
            let refused = count("Ka", Tally::object(7)).expect(b"none".to_vec(), Some(Bytes::from_static(b"x")));
            assert_eq!(commit(&store, refused).await, Outcome::conflict(0));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let tally = async |key: &[u8]| store.get(P, key).await.unwrap().map(|value| Tally::from_value(&value).unwrap());
    assert_eq!(tally(b"Ka").await, Some(Tally { objects: 320, bytes: 20 * 120, ..Tally::default() }));
    assert_eq!(tally(b"Kb").await, Some(Tally { uploads: 16, ..Tally::default() }));
    let all = Tally { uploads: 16, ..Tally::default() };
    let expecting = |tally: Tally| Batch::new().expect(b"Kb".to_vec(), Some(tally.to_value().into()));
    assert_eq!(commit(store, expecting(Tally::upload())).await, Outcome::conflict(0), "counts can be expected");
    assert_eq!(commit(store, expecting(all)).await, Outcome::Applied);
    assert_eq!(commit(store, count("Kb", all.negated())).await, Outcome::Applied);
    assert_eq!(tally(b"Kb").await, None, "nothing has no value");
}

pub(super) async fn partitions_are_apart(kept: &Kept) {
    let store = &kept.store;
    let others = [Partition([6; 16]), Partition([8; 16])];
    for partition in others {
        let batch = Batch::new().put(b"a".to_vec(), partition.0.to_vec()).put(b"Da".to_vec(), partition.0.to_vec());
        assert_eq!(store.commit(partition, batch).await.unwrap(), Outcome::Applied);
    }
    assert_eq!(store.get(P, b"a").await.unwrap(), None);
    let everything = KeyRange { start: Vec::new(), end: vec![0xff; 20] };
    assert_eq!(store.scan(P, &everything, 10).await.unwrap(), []);
    for partition in others {
        let pairs = store.scan(partition, &everything, 10).await.unwrap();
        assert_eq!(pairs.len(), 2);
        assert!(pairs.iter().all(|(_, value)| *value == partition.0[..]));
    }
}

pub(super) async fn scans_keep_their_bounds(kept: &Kept) {
    let store = &kept.store;
    let mut batch = Batch::new();
    for key in [&b"Oa"[..], b"Oa\0", b"Ob", b"Ob\xff", b"Oc", b"P"] {
        batch = batch.put(key.to_vec(), key.to_vec());
    }
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    let keys = async |start: &[u8], end: &[u8], limit: usize| {
        let range = KeyRange { start: start.to_vec(), end: end.to_vec() };
        let pairs: Vec<Pair> = store.scan(P, &range, limit).await.unwrap();
        assert!(pairs.iter().all(|(key, value)| key == value));
        pairs.into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(keys(b"Oa", b"Ob", 9).await, [&b"Oa"[..], b"Oa\0"]);
    assert_eq!(keys(b"Oa\0", b"Oc", 9).await, [&b"Oa\0"[..], b"Ob", b"Ob\xff"]);
    assert_eq!(keys(b"Oa", b"Oc", 2).await, [&b"Oa"[..], b"Oa\0"]);
    assert_eq!(keys(b"Oa", b"Oc", 1000).await.len(), 4, "limits for which scans take another way");
    assert_eq!(keys(b"", b"Z", 9).await.len(), 6);
    assert_eq!(keys(b"Oa", b"Oc", 0).await, [b""; 0]);
    assert_eq!(keys(b"Ob", b"Ob", 9).await, [b""; 0]);
    assert_eq!(keys(b"Oc", b"Oa", 9).await, [b""; 0]);
    let prefix = KeyRange::prefix(b"Ob");
    assert_eq!(store.scan(P, &prefix, 9).await.unwrap().len(), 2);
    assert_eq!(commit(store, Batch::new().delete(b"Ob".to_vec())).await, Outcome::Applied);
    assert_eq!(store.scan(P, &prefix, 9).await.unwrap().len(), 1);
}

pub(super) async fn scans_cross_tables(kept: &Kept) {
    let store = &kept.store;
    let keys: Vec<Vec<u8>> = [&b"C"[..], b"D", b"D1", b"D2", b"D\xff\xff", b"E", b"F"].map(<[u8]>::to_vec).to_vec();
    let batch = keys.iter().rev().fold(Batch::new(), |batch, key| batch.put(key.clone(), key.clone()));
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    for from in 0..keys.len() {
        for limit in 0..=keys.len() {
            let range = KeyRange { start: keys[from].clone(), end: b"F".to_vec() };
            let pairs = store.scan(P, &range, limit).await.unwrap();
            let found: Vec<_> = pairs.iter().map(|(key, _)| key.to_vec()).collect();
            let until = (from + limit).min(keys.len() - 1).max(from);
            assert_eq!(found, keys[from..until], "from {from}, limit {limit}");
        }
    }
}

/// A pair that moves from one range to the other and back is always found in exactly one.
pub(super) async fn scans_see_one_state(kept: &Kept) {
    let here = |at: u8| vec![b'a' + at, 0];
    assert_eq!(commit(&kept.store, Batch::new().put(here(0), vec![1])).await, Outcome::Applied);
    let store = Arc::clone(&kept.store);
    let mover = tokio::spawn(async move {
        for step in 0..400_u16 {
            let (from, to) = if step.is_multiple_of(2) { (0, 1) } else { (1, 0) };
            let batch = Batch::new().delete(here(from)).put(here(to), vec![1]);
            assert_eq!(commit(&store, batch).await, Outcome::Applied);
        }
    });
    let ranges = [KeyRange::prefix(b"a"), KeyRange::prefix(b"b"), KeyRange::prefix(b"c")];
    while !mover.is_finished() {
        let found = kept.store.scan_all(P, &ranges, None, 10).await.unwrap();
        assert_eq!(found.iter().map(Vec::len).sum::<usize>(), 1);
    }
    mover.await.unwrap();
    let some: Batch = (0..5_u8).fold(Batch::new(), |batch, n| batch.put(vec![b'c', n], vec![n]));
    assert_eq!(commit(&kept.store, some).await, Outcome::Applied);
    let found = kept.store.scan_all(P, &ranges, None, 2).await.unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 2]);
}

pub(super) async fn scans_pass_by_what_they_are_told_to(kept: &Kept) {
    let keys = ["a", "b/1", "b/2", "b/3", "c", "d/1", "e", "f/1", "f/2"];
    let some: Batch = keys.iter().fold(Batch::new(), |batch, key| batch.put(key.as_bytes().to_vec(), *key));
    assert_eq!(commit(&kept.store, some).await, Outcome::Applied);
    let found = async |skip: Option<Skip>, range: (&str, &str), limit| {
        let range = KeyRange { start: range.0.into(), end: range.1.into() };
        let found = kept.store.scan_all(P, &[range], skip.as_ref(), limit).await.unwrap().remove(0);
        found.iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    // Behind the first key of what is before a slash, the scan goes on behind them all.
    let groups: Skip = Arc::new(|key: &[u8]| key.get(1).map(|_| vec![key[0] + 1]));
    assert_eq!(found(None, ("a", "z"), 100).await, keys);
    assert_eq!(found(Some(Arc::clone(&groups)), ("a", "z"), 100).await, ["a", "b/1", "c", "d/1", "e", "f/1"]);
    assert_eq!(found(Some(Arc::clone(&groups)), ("b/2", "f"), 3).await, ["b/2", "c", "d/1"]);
    assert_eq!(found(Some(Arc::clone(&groups)), ("b/2", "b/9"), 3).await, ["b/2"]);
    let ranges = [KeyRange { start: b"f".to_vec(), end: b"g".to_vec() }, KeyRange::prefix(b"d")];
    let all = kept.store.scan_all(P, &ranges, Some(&groups), 10).await.unwrap();
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    // What is no later key cannot hold a scan up.
    assert_eq!(found(Some(Arc::new(|_: &[u8]| Some(Vec::new()))), ("a", "z"), 100).await, keys);
}

pub(super) async fn runs_live_from_adoption_to_release(kept: &Kept) {
    let store = &kept.store;
    let before = store.usage();
    let bytes = pattern(1, 100_000);
    let mut writer = store.create(Some(100_000)).await.unwrap();
    writer.append(&bytes).await.unwrap();
    let sealed = writer.seal().await.unwrap();
    let id = sealed.id;
    assert!(is_gone(&store.read(id, 0, 1).await, id), "a run that is not adopted does not exist");
    assert_eq!(commit(store, Batch::new().put(b"k".to_vec(), &b"v"[..]).adopt(sealed)).await, Outcome::Applied);
    assert_eq!(store.read(id, 0, bytes.len()).await.unwrap(), bytes);
    assert!(store.usage().run_bytes >= before.run_bytes + 100_000);
    assert_eq!(commit(store, Batch::new().delete(b"k".to_vec()).release(id)).await, Outcome::Applied);
    assert!(is_gone(&store.read(id, 0, 1).await, id));
    kept.assert_reclaimed().await;
    assert_eq!(store.usage().run_bytes, before.run_bytes);
}

pub(super) async fn shared_runs_live_until_the_last_release(kept: &Kept) {
    let store = &kept.store;
    let (before, bytes) = (store.usage().run_bytes, pattern(1, 100_000));
    let run = put_run(&**store, "k", &bytes, None, 100_000).await;
    let held = store.usage().run_bytes;
    // A second and a third reference, from another partition and twice in one commit with a release.
    assert_eq!(store.commit(Partition([8; 16]), Batch::new().share(run)).await.unwrap(), Outcome::Applied);
    assert_eq!(commit(store, Batch::new().share(run).share(run).release(run)).await, Outcome::Applied);
    assert_eq!(store.usage().run_bytes, held, "shared bytes are stored once");
    for _ in 0..2 {
        assert_eq!(commit(store, Batch::new().release(run)).await, Outcome::Applied);
        assert_eq!(store.read(run, 0, bytes.len()).await.unwrap(), bytes);
    }
    assert_eq!(store.commit(Partition([8; 16]), Batch::new().release(run)).await.unwrap(), Outcome::Applied);
    assert!(is_gone(&store.read(run, 0, 1).await, run));
    kept.assert_reclaimed().await;
    assert_eq!(store.usage().run_bytes, before);
}

pub(super) async fn what_is_gone_cannot_be_shared(kept: &Kept) {
    let store = &kept.store;
    let run = put_run(&**store, "k", &pattern(1, 50_000), None, 50_000).await;
    let alive = put_run(&**store, "l", &pattern(2, 50_000), None, 50_000).await;
    assert_eq!(commit(store, Batch::new().release(run)).await, Outcome::Applied);
    let batch = Batch::new().expect(b"m".to_vec(), None).put(b"m".to_vec(), &b"v"[..]).share(alive).share(run);
    assert_eq!(commit(store, batch).await, Outcome::conflict(2));
    assert_eq!(store.get(P, b"m").await.unwrap(), None, "nothing was changed");
    assert_eq!(commit(store, Batch::new().release(alive)).await, Outcome::Applied);
    assert!(is_gone(&store.read(alive, 0, 1).await, alive), "it had got no second reference");
    kept.assert_reclaimed().await;
}

pub(super) async fn shares_race_with_releases(kept: &Kept) {
    let store = &kept.store;
    let bytes = pattern(3, 100_000);
    for _ in 0..20 {
        let run = put_run(&**store, "k", &bytes, None, 100_000).await;
        let sharers: Vec<_> = (0..4)
            .map(|_| {
                let (store, bytes) = (Arc::clone(store), bytes.clone());
                tokio::spawn(async move {
                    if store.commit(P, Batch::new().share(run)).await.unwrap() == Outcome::Applied {
                        assert_eq!(store.read(run, 0, bytes.len()).await.unwrap(), bytes);
                        assert_eq!(commit(&store, Batch::new().release(run)).await, Outcome::Applied);
                    }
                })
            })
            .collect();
        assert_eq!(commit(store, Batch::new().release(run)).await, Outcome::Applied);
        for sharer in sharers {
            sharer.await.unwrap();
        }
        assert!(is_gone(&store.read(run, 0, 1).await, run));
    }
    kept.assert_reclaimed().await;
}

pub(super) async fn conflicts_discard_runs(kept: &Kept) {
    let store = &kept.store;
    let first = put_run(&**store, "k", &pattern(1, 50_000), None, 50_000).await;
    let mut writer = store.create(None).await.unwrap();
    writer.append(&pattern(2, 50_000)).await.unwrap();
    let sealed = writer.seal().await.unwrap();
    let id = sealed.id;
    let batch = Batch::new().expect(b"k".to_vec(), None).put(b"k".to_vec(), &b"x"[..]).adopt(sealed).release(first);
    assert_eq!(commit(store, batch).await, Outcome::conflict(0));
    assert!(is_gone(&store.read(id, 0, 1).await, id));
    assert_eq!(store.read(first, 0, 50_000).await.unwrap(), pattern(1, 50_000));
    kept.assert_reclaimed().await;
}

pub(super) async fn pinned_runs_outlive_their_release(kept: &Kept) {
    let store = &kept.store;
    let (one, two) = (pattern(1, 700_000), pattern(2, 90_000));
    let first = put_run(&**store, "a", &one, None, 100_000).await;
    let second = put_run(&**store, "b", &two, Some(90_000), 90_000).await;
    let pin = store.pin(&[first, second]).await.unwrap();
    let again = store.pin(&[first]).await.unwrap();
    assert_eq!(commit(store, Batch::new().release(first).release(second)).await, Outcome::Applied);
    assert!(matches!(store.pin(&[second]).await, Err(StoreError::RunNotFound(gone)) if gone == second));
    // Work that takes space back has its chance to go wrong.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.read(first, 0, one.len()).await.unwrap(), one);
    assert_eq!(store.read(second, 10, 80_000).await.unwrap(), two[10..80_010]);
    drop(pin);
    assert!(is_gone(&store.read(second, 0, 1).await, second));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.read(first, 0, one.len()).await.unwrap(), one);
    drop(again);
    assert!(is_gone(&store.read(first, 0, 1).await, first));
    kept.assert_reclaimed().await;
    let unknown = RunId([9; 16]);
    assert!(matches!(store.pin(&[unknown]).await, Err(StoreError::RunNotFound(gone)) if gone == unknown));
}

pub(super) async fn pins_race_with_releases(kept: &Kept) {
    let store = &kept.store;
    let bytes = pattern(3, 200_000);
    for _ in 0..20 {
        let run = put_run(&**store, "k", &bytes, None, 200_000).await;
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (store, bytes) = (Arc::clone(store), bytes.clone());
                tokio::spawn(async move {
                    match store.pin(&[run]).await {
                        Ok(_pin) => {
                            for _ in 0..4 {
                                tokio::task::yield_now().await;
                                assert_eq!(store.read(run, 0, bytes.len()).await.unwrap(), bytes);
                            }
                        }
                        Err(error) => assert!(matches!(error, StoreError::RunNotFound(gone) if gone == run)),
                    }
                })
            })
            .collect();
        assert_eq!(commit(store, Batch::new().release(run)).await, Outcome::Applied);
        for reader in readers {
            reader.await.unwrap();
        }
    }
    kept.assert_reclaimed().await;
}

pub(super) async fn dropped_runs_leave_nothing(kept: &Kept) {
    let store = &kept.store;
    let before = store.usage().run_bytes;
    let mut writer = store.create(Some(3 << 20)).await.unwrap();
    writer.append(&pattern(1, 2 << 20)).await.unwrap();
    drop(writer);
    let mut writer = store.create(None).await.unwrap();
    writer.append(&pattern(1, 700_000)).await.unwrap();
    drop(writer.seal().await.unwrap());
    drop(store.create(None).await.unwrap());
    kept.assert_reclaimed().await;
    assert_eq!(store.usage().run_bytes, before);
}

/// Runs made in the rooms that their writers lend, a half at a time, whatever their hints said.
pub(super) async fn rooms_keep_what_is_put_there(kept: &Kept) {
    const FRAME: usize = 65_552;
    let store = &kept.store;
    for (number, (length, hint)) in [
        (40_000, Some(40_000)),
        (40_000, Some(100)),
        (FRAME * 9, Some(FRAME as u64 * 9)),
        (FRAME * 9 + 5, None),
        (FRAME * 20 + 1, Some(70_000)),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = pattern(number as u64, length);
        let mut writer = store.create(hint).await.unwrap();
        for frame in bytes.chunks(FRAME) {
            let (now, later) = frame.split_at(frame.len() / 2);
            writer.room(frame.len()).await.unwrap()[..now.len()].copy_from_slice(now);
            let room = writer.room(frame.len()).await.unwrap();
            assert_eq!(&room[..now.len()], now);
            room[now.len()..frame.len()].copy_from_slice(later);
            writer.advance(frame.len()).await.unwrap();
        }
        let run = writer.seal().await.unwrap();
        let id = run.id;
        assert_eq!(run.length, length as u64);
        assert_eq!(store.commit(P, Batch::new().adopt(run)).await.unwrap(), Outcome::Applied);
        assert_eq!(store.read(id, 0, length).await.unwrap(), bytes);
        // Whether or not it has them at hand, they are no others.
        assert_eq!(
            store.read_cached(id, 1, length - 1).unwrap().unwrap_or_else(|| Bytes::copy_from_slice(&bytes[1..])),
            bytes[1..]
        );
    }
}

pub(super) async fn ranges_are_exact(kept: &Kept) {
    let store = &kept.store;
    let bytes = pattern(3, 1_300_001);
    let id = put_run(&**store, "k", &bytes, None, 33_333).await;
    for (start, length) in [
        (0, 0),
        (0, 1),
        (1, 4095),
        (4095, 2),
        (65_536, 65_536),
        (524_287, 2),
        (0, bytes.len()),
        (bytes.len() - 1, 1),
        (bytes.len(), 0),
    ] {
        let read = store.read(id, start as u64, length).await.unwrap();
        assert_eq!(read, bytes[start..start + length], "{start}+{length}");
        let again = store.read(id, start as u64, length).await.unwrap();
        assert_eq!(again, read, "once it is in the page cache");
    }
    for (start, length) in [(0, bytes.len() + 1), (bytes.len(), 1), (usize::MAX, 1)] {
        let read = store.read(id, start as u64, length).await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{start}+{length}");
    }
}

pub(super) async fn long_runs_come_back(kept: &Kept) {
    let store = &kept.store;
    let bytes = pattern(4, 21 << 20);
    for (key, hint, step) in [("hinted", Some(21 << 20), 1 << 20), ("unknown", None, 300_000)] {
        let id = put_run(&**store, key, &bytes, hint, step).await;
        let mut at = 0;
        while at < bytes.len() {
            let length = (bytes.len() - at).min(900_001);
            assert_eq!(store.read(id, at as u64, length).await.unwrap(), bytes[at..at + length], "{key} at {at}");
            at += length;
        }
    }
}

pub(super) async fn hints_are_only_hints(kept: &Kept) {
    let store = &kept.store;
    let bytes = pattern(5, 777_777);
    for hint in [0, 1, 4096, 100_000, 777_776, 777_778, 4 << 20] {
        let id = put_run(&**store, "k", &bytes, Some(hint), 200_000).await;
        assert_eq!(store.read(id, 0, bytes.len()).await.unwrap(), bytes, "hint {hint}");
    }
    kept.assert_reclaimed().await;
}

pub(super) async fn empty_runs_exist(kept: &Kept) {
    let store = &kept.store;
    for hint in [None, Some(0), Some(10)] {
        let id = put_run(&**store, "k", b"", hint, 1).await;
        assert_eq!(store.read(id, 0, 0).await.unwrap(), Bytes::new());
        assert!(matches!(store.read(id, 0, 1).await, Err(StoreError::Corrupt(_))));
        assert_eq!(commit(store, Batch::new().release(id)).await, Outcome::Applied);
        assert!(is_gone(&store.read(id, 0, 0).await, id));
    }
}

pub(super) async fn runs_interleave(kept: &Kept) {
    let store = &kept.store;
    let mut tasks = Vec::new();
    for writer in 0..12_u64 {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            for round in 0..6 {
                let seed = writer * 100 + round;
                let length = usize::try_from(seed % 7).unwrap() * 150_000 + 1;
                let hint = seed.is_multiple_of(2).then_some(length as u64);
                let id = put_run(&*store, &format!("{seed}"), &pattern(seed, length), hint, 70_000).await;
                assert_eq!(store.read(id, 0, length).await.unwrap(), pattern(seed, length));
                if seed.is_multiple_of(3) {
                    let released = store.commit(P, Batch::new().release(id)).await.unwrap();
                    assert_eq!(released, Outcome::Applied);
                    assert!(is_gone(&store.read(id, 0, 1).await, id));
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    kept.assert_reclaimed().await;
    let range = KeyRange { start: b"0".to_vec(), end: b"A".to_vec() };
    for (key, value) in store.scan(P, &range, 1000).await.unwrap() {
        let seed: u64 = std::str::from_utf8(&key).unwrap().parse().unwrap();
        let id = RunId(value[..].try_into().unwrap());
        let length = usize::try_from(seed % 7).unwrap() * 150_000 + 1;
        let read = store.read(id, 0, length).await;
        if seed.is_multiple_of(3) {
            assert!(is_gone(&read, id));
        } else {
            assert_eq!(read.unwrap(), pattern(seed, length));
        }
    }
}

pub(super) async fn releases_race_with_reads(kept: &Kept) {
    let store = &kept.store;
    for round in 0..12 {
        let bytes = pattern(round, 400_000);
        let id = put_run(&**store, "k", &bytes, Some(400_000), 400_000).await;
        let mut readers = Vec::new();
        for reader in 0..4 {
            let (store, bytes) = (Arc::clone(store), bytes.clone());
            readers.push(tokio::spawn(async move {
                let mut good = 0;
                loop {
                    let (start, length) = if reader % 2 == 0 { (0, 400_000) } else { (100_000, 100_000) };
                    match store.read(id, start as u64, length).await {
                        Ok(read) => assert_eq!(read, bytes[start..start + length], "never other bytes"),
                        other => {
                            assert!(is_gone(&other, id), "{other:?}");
                            return good;
                        }
                    }
                    good += 1;
                    // A read from memory never waits.
                    tokio::task::yield_now().await;
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(commit(store, Batch::new().release(id)).await, Outcome::Applied);
        for reader in readers {
            reader.await.unwrap();
        }
    }
    kept.assert_reclaimed().await;
}

pub(super) async fn releasing_nothing_is_no_error(kept: &Kept) {
    let store = &kept.store;
    let batch = Batch::new().put(b"k".to_vec(), &b"v"[..]).release(RunId([9; 16]));
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    let mut writer = store.create(None).await.unwrap();
    writer.append(b"bytes").await.unwrap();
    let sealed = writer.seal().await.unwrap();
    let id = sealed.id;
    let batch = Batch::new().adopt(sealed).release(id);
    assert_eq!(commit(store, batch).await, Outcome::Applied, "adopted, then released");
    assert!(is_gone(&store.read(id, 0, 1).await, id));
    let id = put_run(&**store, "k", b"bytes", None, 5).await;
    assert_eq!(commit(store, Batch::new().release(id).release(id)).await, Outcome::Applied);
    kept.assert_reclaimed().await;
    assert_eq!(store.usage().run_bytes, 0);
}

/// A step of the random test: what to expect, what to change.
type Step = (Vec<(u8, Option<u8>)>, Vec<(u8, Option<u8>)>);

/// Applies random batches to a store and to a plain map, and compares.
pub(super) fn random_batches_agree_with_the_model(factory: impl Fn() -> Kept) {
    let key_and_value = || (0..6_u8, proptest::option::of(0..3_u8));
    let lists = (proptest::collection::vec(key_and_value(), 0..3), proptest::collection::vec(key_and_value(), 0..4));
    let steps = proptest::collection::vec(lists, 1..40);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&steps, |steps| {
        let kept = factory();
        runtime.block_on(agree(&kept, steps));
        Ok(())
    });
    result.unwrap();
}

async fn agree(kept: &Kept, steps: Vec<Step>) {
    let store = &kept.store;
    // Keys on both sides of the table of small runs.
    let key = |n: u8| vec![b'C' + n / 2, n];
    let value = |n: u8| Bytes::from(vec![n; usize::from(n)]);
    let mut model: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
    let mut runs: HashMap<RunId, Vec<u8>> = HashMap::new();
    for (at, (expected, changed)) in steps.into_iter().enumerate() {
        let mut batch = Batch::new();
        for (k, v) in expected {
            batch = batch.expect(key(k), v.map(value));
        }
        for (k, v) in changed {
            batch = match v {
                Some(v) => batch.put(key(k), value(v)),
                None => batch.delete(key(k)),
            };
        }
        let bytes = pattern(at as u64, 5_000);
        let mut writer = store.create(None).await.unwrap();
        writer.append(&bytes).await.unwrap();
        let sealed = writer.seal().await.unwrap();
        let (adopted, released) = (sealed.id, runs.keys().next().copied().filter(|_| at % 2 == 0));
        batch = batch.adopt(sealed);
        batch.released.extend(released);

        let failed = batch.expectations.iter().position(|expectation| match expectation {
            Expectation::Absent(key) => model.contains_key(key),
            Expectation::Equals(key, value) => model.get(key) != Some(value),
        });
        if failed.is_none() {
            for mutation in batch.mutations.clone() {
                match mutation {
                    Mutation::Put(key, value) => drop(model.insert(key, value)),
                    Mutation::Delete(key) => drop(model.remove(&key)),
                    Mutation::Count(..) => unreachable!("no step counts"),
                }
            }
            runs.insert(adopted, bytes);
            released.map(|run| runs.remove(&run));
        }
        let expected = failed.map_or(Outcome::Applied, Outcome::conflict);
        assert_eq!(store.commit(P, batch).await.unwrap(), expected);
        if failed.is_some() {
            assert!(is_gone(&store.read(adopted, 0, 1).await, adopted));
        }
    }
    let everything = KeyRange { start: Vec::new(), end: vec![0xff] };
    let pairs = store.scan(P, &everything, 100).await.unwrap();
    let expected: Vec<Pair> = model.into_iter().map(|(key, value)| (Bytes::from(key), value)).collect();
    assert_eq!(pairs, expected);
    for (id, bytes) in runs {
        assert_eq!(store.read(id, 0, bytes.len()).await.unwrap(), bytes);
    }
    kept.assert_reclaimed().await;
}
