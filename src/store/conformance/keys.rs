//! The contract of keys: commits, counts, scans.

use std::sync::Arc;

use bytes::Bytes;

use super::{OwnedStore, P, commit};
use crate::store::{Batch, KeyRange, Outcome, Pair, Partition, Skip, Tally};

pub(in crate::store) async fn commits_are_compare_and_swap(kept: &OwnedStore) {
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

pub(in crate::store) async fn mutations_apply_in_order(kept: &OwnedStore) {
    let store = &kept.store;
    let key = b"k".to_vec();
    let batch = Batch::new().put(key.clone(), &b"1"[..]).delete(key.clone()).put(key.clone(), &b"2"[..]);
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    assert_eq!(store.get(P, &key).await.unwrap().as_deref(), Some(&b"2"[..]));
    let batch = Batch::new().put(key.clone(), &b"3"[..]).delete(key.clone());
    assert_eq!(commit(store, batch).await, Outcome::Applied);
    assert_eq!(store.get(P, &key).await.unwrap(), None);
}

pub(in crate::store) async fn one_of_many_wins(kept: &OwnedStore) {
    let store = &kept.store;
    for round in 0..3_u8 {
        let mut tasks = Vec::new();
        for contender in 0..100_u8 {
            let store = Arc::clone(store);
            tasks.push(tokio::spawn(async move {
                let batch = Batch::new().expect(vec![round], None).put(vec![round], vec![contender]);
                let outcome = store.commit(P, batch).await.unwrap();
                assert!(
                    store.get(P, &[round]).await.unwrap().is_some(),
                    "who is told of a conflict finds what it is with"
                );
                (contender, outcome)
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

pub(in crate::store) async fn concurrent_increments_are_all_counted(kept: &OwnedStore) {
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

pub(in crate::store) async fn counts_add_up(kept: &OwnedStore) {
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

pub(in crate::store) async fn partitions_are_apart(kept: &OwnedStore) {
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

pub(in crate::store) async fn scans_keep_their_bounds(kept: &OwnedStore) {
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

pub(in crate::store) async fn scans_cross_tables(kept: &OwnedStore) {
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
pub(in crate::store) async fn scans_see_one_state(kept: &OwnedStore) {
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

pub(in crate::store) async fn scans_pass_by_what_they_are_told_to(kept: &OwnedStore) {
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
