use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::crypto::SystemEntropy;
use crate::store::conformance::{P, pattern};
use crate::store::rocks::{Options, RocksStore};
use crate::store::{Batch, MetaStore as _, Outcome, StoreError};

/// Values that a store is filled with.
const VALUES: u64 = 200;

fn open(dir: &Path) -> Result<Arc<RocksStore>, StoreError> {
    let options = Options { segment_size: 4 << 20, reserve_bytes: 1 << 20, ..Options::new(dir) };
    RocksStore::open(&options, Arc::new(SystemEntropy::new()))
}

fn refused(dir: &Path) -> String {
    match open(dir).map(drop) {
        Err(StoreError::Corrupt(what)) => what,
        other => panic!("{other:?}"),
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("K{number}").into_bytes()
}

async fn put(store: &RocksStore, number: u64) {
    let batch = Batch::new().put(key(number), pattern(number, 1000));
    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
}

/// How many values are there, all those before the last one included.
async fn values(store: &RocksStore) -> u64 {
    let mut number = 0;
    while let Some(value) = store.get(P, &key(number)).await.unwrap() {
        assert_eq!(value, pattern(number, 1000));
        number += 1;
    }
    for more in number + 1..VALUES {
        assert_eq!(store.get(P, &key(more)).await.unwrap(), None, "{number} is gone and {more} is there");
    }
    number
}

/// Waits until the mark of the open `store` in `dir` is as far as its log was synced.
fn wait_for_mark(store: &RocksStore, dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Mark::read(dir).unwrap() < Some(store.meta.last_change()) {
        assert!(Instant::now() < deadline, "the mark is written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A store whose values are in its log alone, and what a crash leaves of it.
async fn crashed() -> (TempDir, TempDir) {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..VALUES {
        put(&store, number).await;
    }
    wait_for_mark(&store, dir.path());
    let left = after_crash(dir.path());
    drop(store);
    (dir, left)
}

/// The files of a store as they are, nothing closed.
fn after_crash(dir: &Path) -> TempDir {
    let left = TempDir::new().unwrap();
    let copied = Command::new("cp").arg("-a").arg(dir.join(".")).arg(left.path()).status().unwrap();
    assert!(copied.success());
    fs::remove_file(left.path().join("index/LOCK")).unwrap();
    left
}

/// RocksDB's logs, the oldest first, with their lengths.
fn logs(dir: &Path) -> Vec<(PathBuf, u64)> {
    let files = fs::read_dir(dir.join("index")).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    logs.sort();
    logs.into_iter().map(|path| (path.clone(), path.metadata().unwrap().len())).collect()
}

/// The log that has the most.
fn longest(dir: &Path) -> (PathBuf, u64) {
    logs(dir).into_iter().max_by_key(|(_, length)| *length).unwrap()
}

fn cut(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[test]
fn the_format_is_that_of_the_golden_file() {
    let golden = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/store/mark")).unwrap();
    assert_eq!(hex::encode(encode(0x0102_0304_0506)), hex::encode(&golden));
    assert_eq!(decode(&golden), Some(0x0102_0304_0506));
    for damaged in 0..golden.len() {
        let mut stored = golden.clone();
        stored[damaged] ^= 1;
        assert_eq!(decode(&stored), None, "byte {damaged}");
    }
    assert_eq!([decode(&golden[..24]), decode(&[]), decode(&[&golden[..], &[0]].concat())], [None, None, None]);
}

#[tokio::test]
async fn a_damaged_byte_of_the_log_is_noticed_and_nothing_is_touched() {
    let (_closed, left) = crashed().await;
    let (log, length) = longest(left.path());
    assert!(length > VALUES * 1000, "all values are in the log");
    flip(&log, length / 2);
    let damaged = fs::read(&log).unwrap();
    for _ in 0..2 {
        let what = refused(left.path());
        assert!(what.contains("its log is damaged, cut or gone"), "{what}");
        assert_eq!(fs::read(&log).unwrap(), damaged);
    }
    // Whoever can mend it has lost nothing.
    flip(&log, length / 2);
    assert_eq!(values(&open(left.path()).unwrap()).await, VALUES);
}

#[tokio::test]
async fn a_log_that_was_cut_or_is_gone_is_noticed() {
    let (_closed, left) = crashed().await;
    let (log, length) = longest(left.path());
    let whole = fs::read(&log).unwrap();
    for cut_to in [5000, length / 2, 0] {
        cut(&log, cut_to);
        refused(left.path());
        assert_eq!(log.metadata().unwrap().len(), cut_to);
    }
    fs::remove_file(&log).unwrap();
    refused(left.path());
    fs::write(&log, whole).unwrap();
    assert_eq!(values(&open(left.path()).unwrap()).await, VALUES);
}

#[tokio::test]
async fn an_index_that_is_gone_is_noticed() {
    let (_closed, left) = crashed().await;
    fs::remove_dir_all(left.path().join("index")).unwrap();
    assert!(refused(left.path()).contains("the index is gone"));
}

#[tokio::test]
async fn of_two_logs_the_older_one_is_missed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, 0).await;
    // More small runs than a memtable takes: it is flushed, and the log goes on in another file. The value's family is not.
    for number in 0..400 {
        let batch = Batch::new().put(format!("D{number}").into_bytes(), pattern(number, 60_000));
        assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let has_table = || {
        let mut files = fs::read_dir(dir.path().join("index")).unwrap().map(|entry| entry.unwrap().path());
        files.any(|path| path.extension().is_some_and(|ending| ending == "sst"))
    };
    while !has_table() {
        assert!(Instant::now() < deadline, "a memtable is flushed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    put(&store, 1).await;
    wait_for_mark(&store, dir.path());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let harms: [fn(&Path, u64); 2] = [|log, _| fs::remove_file(log).unwrap(), |log, length| cut(log, length / 2)];
    for harm in harms {
        let left = after_crash(dir.path());
        let logs = logs(left.path());
        assert!(logs.len() > 1, "{logs:?}");
        let (oldest, length) = &logs[0];
        harm(oldest, *length);
        refused(left.path());
    }
    let left = after_crash(dir.path());
    assert_eq!(values(&open(left.path()).unwrap()).await, 2);
}

#[tokio::test]
async fn what_a_power_cut_tears_is_nobodys_loss() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..10 {
        put(&store, number).await;
    }
    wait_for_mark(&store, dir.path());
    let mark = fs::read(dir.path().join("mark")).unwrap();
    let (_, before) = longest(dir.path());
    put(&store, 10).await;
    for torn in [1, 10, 900] {
        let left = after_crash(dir.path());
        // Nobody was told of the last one, so that the mark is the one before it.
        fs::write(left.path().join("mark"), &mark).unwrap();
        let (log, length) = longest(left.path());
        assert!(length - torn > before);
        cut(&log, length - torn);
        let store = open(left.path()).unwrap();
        assert_eq!(values(&store).await, 10);
        put(&store, 10).await;
        drop(store);
        assert_eq!(values(&open(left.path()).unwrap()).await, 11);
    }
}

#[tokio::test]
async fn a_closed_store_needs_no_log() {
    let dir = TempDir::new().unwrap();
    for _ in 0..3 {
        let store = open(dir.path()).unwrap();
        for number in 0..VALUES {
            put(&store, number).await;
        }
        // What is written last may leave nothing but a tombstone.
        let batch = Batch::new().delete(key(VALUES - 1));
        assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
        let last = store.meta.last_change();
        drop(store);
        assert!(Mark::read(dir.path()).unwrap() >= Some(last), "the mark is written at the end");
        for (log, _) in logs(dir.path()) {
            fs::remove_file(log).unwrap();
        }
        assert_eq!(values(&open(dir.path()).unwrap()).await, VALUES - 1);
    }
}

#[tokio::test]
async fn a_store_without_a_mark_opens_and_gets_one() {
    let (closed, left) = crashed().await;
    for dir in [closed.path(), left.path()] {
        fs::remove_file(dir.join("mark")).unwrap();
        let store = open(dir).unwrap();
        assert_eq!(values(&store).await, VALUES);
        wait_for_mark(&store, dir);
    }
    // A mark that says nothing is not taken for none.
    flip(&left.path().join("mark"), 5);
    assert!(refused(left.path()).contains("wrong shape"));
}

#[tokio::test]
async fn a_mark_that_cannot_be_written_stays_behind() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("mark.new")).unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, 0).await;
    drop(store);
    assert_eq!(Mark::read(dir.path()).unwrap(), None);
    fs::remove_dir(dir.path().join("mark.new")).unwrap();
    assert_eq!(values(&open(dir.path()).unwrap()).await, 1);
}
