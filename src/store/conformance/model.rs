//! Random batches, beside a plain map.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use super::{OwnedStore, P, is_gone, pattern};
use crate::store::{Batch, Expectation, KeyRange, Mutation, Outcome, Pair, RunId};

/// A step of the random test: what to expect, what to change.
type Step = (Vec<(u8, Option<u8>)>, Vec<(u8, Option<u8>)>);

/// Applies random batches to a store and to a plain map, and compares.
pub(in crate::store) fn random_batches_agree_with_the_model(factory: impl Fn() -> OwnedStore) {
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

async fn agree(kept: &OwnedStore, steps: Vec<Step>) {
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
