//! The contract of runs: what they hold, how long they live, who may read them meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{OwnedStore, P, commit, is_gone, pattern, put_run};
use crate::store::{Batch, KeyRange, Outcome, Partition, RunId, SharedStore, StoreError};

pub(in crate::store) async fn runs_live_from_adoption_to_release(kept: &OwnedStore) {
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

pub(in crate::store) async fn shared_runs_live_until_the_last_release(kept: &OwnedStore) {
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

pub(in crate::store) async fn what_is_gone_cannot_be_shared(kept: &OwnedStore) {
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

pub(in crate::store) async fn shares_race_with_releases(kept: &OwnedStore) {
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

pub(in crate::store) async fn conflicts_discard_runs(kept: &OwnedStore) {
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

pub(in crate::store) async fn pinned_runs_outlive_their_release(kept: &OwnedStore) {
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

/// Releases `run` while `readers` read it, and waits until they end well.
async fn release_beside<T>(store: &SharedStore, run: RunId, readers: Vec<JoinHandle<T>>) {
    assert_eq!(commit(store, Batch::new().release(run)).await, Outcome::Applied);
    for reader in readers {
        reader.await.unwrap();
    }
}

pub(in crate::store) async fn pins_race_with_releases(kept: &OwnedStore) {
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
        release_beside(store, run, readers).await;
    }
    kept.assert_reclaimed().await;
}

pub(in crate::store) async fn dropped_runs_leave_nothing(kept: &OwnedStore) {
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
pub(in crate::store) async fn rooms_keep_what_is_put_there(kept: &OwnedStore) {
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
        let mut cached = vec![0; length - 1];
        if store.read_cached(id, 1, &mut cached).unwrap() {
            assert!(cached == bytes[1..]);
        }
    }
}

pub(in crate::store) async fn ranges_are_exact(kept: &OwnedStore) {
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

pub(in crate::store) async fn long_runs_come_back(kept: &OwnedStore) {
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

pub(in crate::store) async fn hints_are_only_hints(kept: &OwnedStore) {
    let store = &kept.store;
    let bytes = pattern(5, 777_777);
    for hint in [0, 1, 4096, 100_000, 777_776, 777_778, 4 << 20] {
        let id = put_run(&**store, "k", &bytes, Some(hint), 200_000).await;
        assert_eq!(store.read(id, 0, bytes.len()).await.unwrap(), bytes, "hint {hint}");
    }
    kept.assert_reclaimed().await;
}

pub(in crate::store) async fn empty_runs_exist(kept: &OwnedStore) {
    let store = &kept.store;
    for hint in [None, Some(0), Some(10)] {
        let id = put_run(&**store, "k", b"", hint, 1).await;
        assert_eq!(store.read(id, 0, 0).await.unwrap(), Bytes::new());
        assert!(matches!(store.read(id, 0, 1).await, Err(StoreError::Corrupt(_))));
        assert_eq!(commit(store, Batch::new().release(id)).await, Outcome::Applied);
        assert!(is_gone(&store.read(id, 0, 0).await, id));
    }
}

pub(in crate::store) async fn runs_interleave(kept: &OwnedStore) {
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

pub(in crate::store) async fn releases_race_with_reads(kept: &OwnedStore) {
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
        release_beside(store, id, readers).await;
    }
    kept.assert_reclaimed().await;
}

pub(in crate::store) async fn releasing_nothing_is_no_error(kept: &OwnedStore) {
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
