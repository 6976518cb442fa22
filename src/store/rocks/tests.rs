//! The conformance suite in every mode, and what only a durable backend can be asked: reopening, crashes, a full disk.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::conformance::{OwnedStore, P, fill, pattern, put_run};
use super::*;
use crate::crypto::SystemEntropy;

const MIB: usize = 1 << 20;

fn options(dir: &Path) -> Options {
    Options { segment_size: 4 << 20, reserve_bytes: 1 << 20, ..Options::new(dir.join("store")) }
}

fn open(options: &Options) -> Arc<RocksStore> {
    RocksStore::open(options, Arc::new(SystemEntropy::new())).unwrap()
}

fn fresh(adapt: impl Fn(Options) -> Options) -> OwnedStore {
    let dir = TempDir::new().unwrap();
    OwnedStore::new(open(&adapt(options(dir.path()))), dir)
}

mod direct {
    crate::store::conformance::suite!(super::fresh(|options| options));
}

mod buffered {
    use super::super::{DirectIo, Options};
    crate::store::conformance::suite!(super::fresh(|options| Options { direct_io: DirectIo::Never, ..options }));
}

mod without_holes {
    use super::super::{HolePunching, Options};
    crate::store::conformance::suite!(
        // The active segment, and one that is not mostly dead.
        super::fresh(|options| Options { hole_punching: HolePunching::Never, ..options }).with_slack(8 << 20)
    );
}

/// Bytes that the segment files occupy. The file system counts its own bookkeeping of a file's extents too.
fn occupied(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("store/segments")).unwrap();
    files.map(|file| (file.unwrap().metadata().unwrap().blocks() * 512).saturating_sub(BOOKKEEPING)).sum()
}

/// The most that the file system's bookkeeping of one segment takes in these tests, in bytes.
const BOOKKEEPING: u64 = 32 * 1024;

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn release(store: &RocksStore, run: RunId) {
    assert_eq!(store.commit(P, Batch::new().release(run)).await.unwrap(), Outcome::Applied);
}

#[tokio::test]
async fn a_closed_store_opens_again_as_it_was() {
    let dir = TempDir::new().unwrap();
    let bytes = pattern(1, 9 * MIB);
    let store = open(&options(dir.path()));
    let kept = put_run(&*store, "kept", &bytes, None, MIB).await;
    let gone = put_run(&*store, "gone", &bytes, Some(9 << 20), MIB).await;
    release(&store, gone).await;
    let usage = store.usage();
    drop(store);
    let store = open(&options(dir.path()));
    assert_eq!(store.usage().run_bytes, usage.run_bytes);
    assert_eq!(store.read(kept, 0, bytes.len()).await.unwrap(), bytes);
    assert!(matches!(store.read(gone, 0, 1).await, Err(StoreError::RunNotFound(_))));
    assert_eq!(store.get(P, b"kept").await.unwrap().unwrap(), kept.0[..]);
    wait_until("only the run and the headers take space", || occupied(dir.path()) < 10 << 20).await;
    release(&store, kept).await;
    wait_until("dead segments are unlinked", || occupied(dir.path()) == 0).await;
    assert_eq!(store.usage().run_bytes, 0);
}

#[tokio::test]
async fn what_was_written_of_late_needs_no_disk() {
    for recent_bytes in [0, 1 << 20, 32 << 20] {
        let dir = TempDir::new().unwrap();
        let store = open(&Options { recent_bytes, ..options(dir.path()) });
        let bytes = pattern(1, 9 * MIB);
        let run = put_run(&*store, "k", &bytes, Some(9 << 20), MIB).await;
        // Segments are being settled meanwhile, at which a reader without a pin would have to look twice.
        let _pin = store.pin(&[run]).await.unwrap();
        let cached = |start: usize, length: usize| {
            let mut read = vec![0; length];
            let is_read = store.read_cached(run, start as u64, &mut read).unwrap();
            assert!(!is_read || read == bytes[start..start + length]);
            is_read
        };
        // No file is open yet: it can only come from memory. The run lies in three segments of 4 MiB.
        let read = [(0, 4), (3 * MIB, 2 * MIB), (9 * MIB - 7, 7)].map(|(start, length)| cached(start, length));
        let direct = store.space.able.direct;
        assert_eq!(read, [recent_bytes > MIB, recent_bytes > MIB, recent_bytes > 0].map(|kept| kept && direct));
        assert_eq!(store.read(run, 0, bytes.len()).await.unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_kept_in_memory_is_never_older_than_what_anybody_saw() {
    let dir = TempDir::new().unwrap();
    let store = open(&options(dir.path()));
    for key in ["Bucket", "Object", "Drun"] {
        never_goes_back(&store, key).await;
    }
}

/// Counts the value of `key` up, while readers look it up and scan for it in turns.
async fn never_goes_back(store: &Arc<RocksStore>, key: &'static str) {
    let number = |value: Option<Bytes>| value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
    let (seen, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, seen, reads) = (Arc::clone(store), Arc::clone(&seen), Arc::clone(&reads));
            tokio::spawn(async move {
                let mut scans = false;
                while seen.load(Ordering::SeqCst) < 300 {
                    let before = seen.load(Ordering::SeqCst);
                    let read = if scans {
                        let pairs = store.scan(P, &KeyRange::prefix(key.as_bytes()), 1).await.unwrap();
                        number(pairs.into_iter().next().map(|(_, value)| value))
                    } else {
                        number(store.get(P, key.as_bytes()).await.unwrap())
                    };
                    assert!(read >= before, "{read} was read after {before}");
                    seen.fetch_max(read, Ordering::SeqCst);
                    reads.fetch_add(1, Ordering::SeqCst);
                    scans = !scans;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for value in 1..=300_u64 {
        let batch = Batch::new().put(key.as_bytes().to_vec(), value.to_be_bytes().to_vec());
        assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
        seen.fetch_max(value, Ordering::SeqCst);
        assert_eq!(number(store.get(P, key.as_bytes()).await.unwrap()), value);
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::SeqCst) > 300);
    assert_eq!(store.commit(P, Batch::new().delete(key.as_bytes().to_vec())).await.unwrap(), Outcome::Applied);
    assert_eq!(store.get(P, key.as_bytes()).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_read_ahead_is_not_taken_for_the_run_that_was_written_there() {
    let dir = TempDir::new().unwrap();
    let store = open(&Options { segment_size: 64 << 20, ..options(dir.path()) });
    let (first, second) = (pattern(1, 8 * MIB), pattern(2, 8 * MIB));
    let run = put_run(&*store, "first", &first, Some(8 << 20), MIB).await;
    let mut writer = store.create(Some(8 << 20)).await.unwrap();
    writer.append(&second[..3 * MIB]).await.unwrap();
    // On and on, so that the kernel reads further than it is asked to.
    for (start, bytes) in (0..).step_by(MIB / 4).zip(first.chunks(MIB / 4)) {
        assert_eq!(store.read(run, start, bytes.len()).await.unwrap(), bytes);
    }
    writer.append(&second[3 * MIB..]).await.unwrap();
    let sealed = writer.seal().await.unwrap();
    let next = sealed.id;
    assert_eq!(store.commit(P, Batch::new().adopt(sealed)).await.unwrap(), Outcome::Applied);
    assert_eq!(store.read(next, 0, second.len()).await.unwrap(), second);
}

#[tokio::test]
async fn a_directory_has_one_store_at_a_time() {
    let dir = TempDir::new().unwrap();
    let _first = open(&options(dir.path()));
    let second = RocksStore::open(&options(dir.path()), Arc::new(SystemEntropy::new()));
    assert!(matches!(second.map(drop), Err(StoreError::Engine(_))));
}

#[tokio::test]
async fn space_comes_back_while_neighbours_stay() {
    let dir = TempDir::new().unwrap();
    let store = open(&Options { segment_size: 64 << 20, ..options(dir.path()) });
    let bytes = pattern(2, MIB);
    let mut runs = Vec::new();
    for n in 0..16 {
        runs.push(put_run(&*store, &format!("{n}"), &bytes, Some(1 << 20), MIB).await);
    }
    let before = occupied(dir.path());
    for run in runs.iter().step_by(2) {
        release(&store, *run).await;
    }
    wait_until("eight MiB are given back", || occupied(dir.path()) + (8 << 20) <= before + BOOKKEEPING).await;
    for run in runs.iter().skip(1).step_by(2) {
        assert_eq!(store.read(*run, 0, MIB).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn without_holes_live_runs_move_and_stay_readable() {
    let dir = TempDir::new().unwrap();
    let options = Options { hole_punching: HolePunching::Never, ..options(dir.path()) };
    let store = open(&options);
    let mut runs = Vec::new();
    for n in 0..32_u64 {
        let bytes = pattern(n, 900_000);
        runs.push((put_run(&*store, &format!("{n}"), &bytes, None, MIB).await, bytes));
    }
    let before = occupied(dir.path());
    let reader = {
        let (store, (run, bytes)) = (Arc::clone(&store), runs[0].clone());
        tokio::spawn(async move {
            for _ in 0..300 {
                assert_eq!(store.read(run, 0, bytes.len()).await.unwrap(), bytes);
            }
        })
    };
    for (n, (run, _)) in runs.iter().enumerate() {
        if n % 8 != 0 {
            release(&store, *run).await;
        }
    }
    wait_until("sparse segments are rewritten and unlinked", || occupied(dir.path()) < before / 2).await;
    reader.await.unwrap();
    for (run, bytes) in runs.iter().step_by(8) {
        assert_eq!(store.read(*run, 0, bytes.len()).await.unwrap(), *bytes);
    }
    drop(store);
    let store = open(&options);
    for (run, bytes) in runs.iter().step_by(8) {
        assert_eq!(store.read(*run, 0, bytes.len()).await.unwrap(), *bytes);
    }
}

#[test]
fn a_new_segment_gives_to_whoever_made_it_first() {
    let dir = TempDir::new().unwrap();
    let store = open(&Options { segment_size: 64 << 10, ..options(dir.path()) });
    // All that a segment has.
    let wanted = 60 << 10;
    let is_done = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                drop(store.allocator.take(wanted));
            }
        });
        let refused = (0..50).filter(|_| store.allocator.take_blocking(wanted).is_err()).count();
        is_done.store(true, Ordering::SeqCst);
        refused
    });
    assert_eq!(refused, 0, "there is space");
}

#[tokio::test]
async fn a_crash_leaves_nothing_unnamed() {
    let dir = TempDir::new().unwrap();
    let store = open(&options(dir.path()));
    let bytes = pattern(3, 3 * MIB);
    let kept = put_run(&*store, "kept", &bytes, None, MIB).await;
    let mut unsealed = store.create(Some(8 << 20)).await.unwrap();
    unsealed.append(&pattern(4, 5 * MIB)).await.unwrap();
    let mut writer = store.create(None).await.unwrap();
    writer.append(&pattern(5, 2 * MIB)).await.unwrap();
    let unadopted = writer.seal().await.unwrap();

    // What a crash at this point leaves: the files as they are, nothing closed.
    let crashed = TempDir::new().unwrap();
    let copied = Command::new("cp").arg("-a").arg(dir.path().join("store")).arg(crashed.path()).status().unwrap();
    assert!(copied.success());
    std::fs::remove_file(crashed.path().join("store/index/LOCK")).unwrap();
    let found = open(&options(crashed.path()));
    assert_eq!(found.read(kept, 0, bytes.len()).await.unwrap(), bytes);
    wait_until("the sweep gives back what no record names", || occupied(crashed.path()) < 4 << 20).await;
    assert_eq!(found.read(kept, 0, bytes.len()).await.unwrap(), bytes);
    assert_eq!(found.usage().run_bytes, 3 << 20);

    // And the process that lived on has lost nothing.
    let batch = Batch::new().adopt(unadopted);
    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
    drop(unsealed.seal().await.unwrap());
}

/// Run in a process of its own by [`a_killed_process_loses_nothing_acknowledged`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn writes_until_killed() {
    let Some(dir) = std::env::var_os("STRONGROOM_TEST_CHILD") else {
        return;
    };
    let store = open(&options(Path::new(&dir)));
    let acknowledged = std::fs::File::options().append(true).create(true).open(Path::new(&dir).join("log")).unwrap();
    let first = std::fs::read_to_string(Path::new(&dir).join("log")).unwrap_or_default().lines().count() as u64 + 10;
    let mut tasks = Vec::new();
    for writer in 0..8_u64 {
        let (store, acknowledged) = (Arc::clone(&store), acknowledged.try_clone().unwrap());
        tasks.push(tokio::spawn(async move {
            for round in first.. {
                let seed = writer * 1_000_000 + round;
                let length = 40_000 + usize::try_from(seed % 5).unwrap() * 300_000;
                let run = put_run(&*store, &format!("{seed}"), &pattern(seed, length), None, 100_000).await;
                if seed.is_multiple_of(3) {
                    let batch = Batch::new().delete(format!("{seed}").into_bytes()).release(run);
                    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
                }
                io::Write::write_all(&mut &acknowledged, format!("{seed}\n").as_bytes()).unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    let dir = TempDir::new().unwrap();
    for kill in 1..=3_u32 {
        let mut child = child("writes_until_killed", dir.path()).spawn().unwrap();
        let log = dir.path().join("log");
        let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        let before = lines();
        wait_until("the child writes", || lines() > before + 40).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let store = open(&options(dir.path()));
        let (mut named, mut bytes) = (0, 0);
        for seed in std::fs::read_to_string(&log).unwrap().lines() {
            let seed: u64 = seed.parse().unwrap();
            let value = store.get(P, seed.to_string().as_bytes()).await.unwrap();
            assert_eq!(value.is_none(), seed.is_multiple_of(3), "acknowledged {seed}, kill {kill}");
        }
        let range = KeyRange { start: b"0".to_vec(), end: b"A".to_vec() };
        for (key, value) in store.scan(P, &range, usize::MAX).await.unwrap() {
            let seed: u64 = std::str::from_utf8(&key).unwrap().parse().unwrap();
            let length = 40_000 + usize::try_from(seed % 5).unwrap() * 300_000;
            let run = RunId(value[..].try_into().unwrap());
            assert_eq!(store.read(run, 0, length).await.unwrap(), pattern(seed, length), "{seed}, kill {kill}");
            named += 1;
            bytes += records::whole_blocks(length as u64);
        }
        assert!(named > 0);
        assert_eq!(store.usage().run_bytes, bytes, "what lives is what the keys name");
        wait_until("nothing else takes space", || occupied(dir.path()) <= bytes).await;
    }
}

/// Run by [`a_full_disk_loses_nothing_and_recovers`], on a small disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn fills_a_small_disk() {
    let Some(dir) = std::env::var_os("STRONGROOM_TEST_CHILD") else {
        return;
    };
    let dir = Path::new(&dir);
    let store = open(&options(dir));
    fill(&*store, "k", 64).await;

    // Runs until the reserve is reached; each was refused or is there whole.
    let mut runs = Vec::new();
    loop {
        assert!(runs.len() < 200, "the disk is small");
        let bytes = pattern(runs.len() as u64, MIB);
        let mut writer = match store.create(None).await {
            Ok(writer) => writer,
            Err(error) => break assert!(matches!(error, StoreError::NoSpace), "{error:?}"),
        };
        if let Err(error) = writer.append(&bytes).await {
            break assert!(matches!(error, StoreError::NoSpace), "{error:?}");
        }
        let sealed = match writer.seal().await {
            Ok(sealed) => sealed,
            Err(error) => break assert!(matches!(error, StoreError::NoSpace), "{error:?}"),
        };
        let id = sealed.id;
        match store.commit(P, Batch::new().adopt(sealed)).await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
            Err(error) => break assert!(matches!(error, StoreError::NoSpace), "{error:?}"),
        }
        runs.push(id);
    }
    assert!(runs.len() > 10, "{}", runs.len());

    // Somebody else takes the rest, to the last byte: RocksDB itself fails.
    let others = dir.join("others");
    let mut file = std::fs::File::create(&others).unwrap();
    while io::Write::write(&mut file, &[1; 4096]).is_ok_and(|written| written > 0) {}
    drop(file);
    let mut refused = 0;
    for n in 0..2000_u32 {
        // Replacing a value passes the floor, and meets the full disk.
        let key = n.to_be_bytes().to_vec();
        let batch = Batch::new().put(key.clone(), pattern(1, 60_000)).delete(b"nothing".to_vec());
        match store.commit(P, batch).await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
            Err(error) => {
                assert!(matches!(error, StoreError::NoSpace), "{error:?}");
                assert_eq!(store.get(P, &key).await.unwrap(), None, "a failed commit is not seen");
                refused += 1;
                if refused == 3 {
                    break;
                }
            }
        }
    }
    assert_eq!(refused, 3, "the disk was full");
    for (n, run) in runs.iter().enumerate() {
        assert_eq!(store.read(*run, 0, MIB).await.unwrap(), pattern(n as u64, MIB), "reads go on");
    }

    // The store gives up its ballast, and then deletes work although the disk is still full.
    recovers(&store, Batch::new().release(runs.pop().unwrap())).await;
    assert!(matches!(store.create(Some(1 << 20)).await.map(drop), Err(StoreError::NoSpace)));

    // Space returns, and with it the store.
    std::fs::remove_file(others).unwrap();
    for run in runs.drain(..runs.len() / 2) {
        release(&store, run).await;
    }
    wait_until("deletes give space back", || store.usage().reclaimable_bytes == 0).await;
    let run = fill(&*store, "k2", 1024).await;
    drop(store);
    let store = open(&options(dir));
    assert_eq!(store.read(run, 0, MIB).await.unwrap(), pattern(9, MIB));
    assert_eq!(store.get(P, b"k2").await.unwrap().unwrap(), run.0[..]);
}

/// Waits until commits work again, then commits `batch`.
async fn recovers(store: &RocksStore, batch: Batch) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.commit(P, Batch::new().delete(b"x".to_vec())).await.is_err() {
        assert!(Instant::now() < deadline, "the store recovers");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.commit(P, batch).await.unwrap(), Outcome::Applied);
}

/// Run by [`a_store_opens_on_a_disk_that_others_have_filled`], on a small disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn opens_on_a_full_disk() {
    let Some(dir) = std::env::var_os("STRONGROOM_TEST_CHILD") else {
        return;
    };
    let dir = Path::new(&dir);
    let store = open(&options(dir));
    let run = fill(&*store, "k", 1024).await;
    let able = store.space.able;
    let ballast = || dir.join("store/ballast").metadata().unwrap().len();
    wait_until("the ballast is taken in", || ballast() >= tuning::LEAST_RESERVE).await;
    drop(store);

    let others = std::fs::File::create(dir.join("others")).unwrap();
    while io::Write::write(&mut &others, &[1; 4096]).is_ok_and(|written| written > 0) {}
    if able.direct {
        // It cannot be told what the file system can do.
        let probed = Abilities::probe(&dir.join("store/segments"), DirectIo::Auto, HolePunching::Never);
        assert!(matches!(probed, Err(StoreError::NoSpace)), "{probed:?}");
    }
    for _ in 0..2 {
        let store = open(&options(dir));
        assert_eq!(store.space.able, able);
        assert_eq!(ballast(), 0, "it has given way");
        assert_eq!(store.read(run, 0, MIB).await.unwrap(), pattern(9, MIB));
    }
    let store = open(&options(dir));
    recovers(&store, Batch::new().delete(b"k".to_vec()).release(run)).await;
    wait_until("deletes give space back", || store.usage().reclaimable_bytes == 0).await;
}

#[test]
fn a_store_opens_on_a_disk_that_others_have_filled() {
    on_a_small_disk("opens_on_a_full_disk");
}

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    on_a_small_disk("fills_a_small_disk");
}

/// Run by [`a_disk_that_fails_is_told_of`], where no file may be longer than 8 MiB: to RocksDB a failure as any other.
#[tokio::test]
#[ignore = "the child of another test"]
async fn meets_the_longest_file() {
    let Some(dir) = std::env::var_os("STRONGROOM_TEST_CHILD") else {
        return;
    };
    let dir = Path::new(&dir);
    let store = open(&options(dir));
    let mut acknowledged = 0_u64;
    let put = |number: u64| Batch::new().put(number.to_be_bytes().to_vec(), pattern(number, 60_000));
    let failed = loop {
        assert!(store.takes_writes() && acknowledged < 1000);
        match store.commit(P, put(acknowledged)).await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
            Err(error) => break error,
        }
        acknowledged += 1;
    };
    assert!(matches!(failed, StoreError::Engine(_)), "{failed:?}");
    assert!(!store.takes_writes());
    assert!(store.commit(P, put(acknowledged)).await.is_err());
    assert_eq!(store.get(P, &0_u64.to_be_bytes()).await.unwrap().unwrap(), pattern(0, 60_000));
    std::fs::write(dir.join("acknowledged"), acknowledged.to_string()).unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_is_told_of() {
    let dir = TempDir::new().unwrap();
    // In units of 512 bytes; what exceeds it is an error to whoever ignores the signal.
    let script = r#"trap "" XFSZ && ulimit -f 16384 && exec "$0" "$@""#;
    passes(&["sh", "-c", script], "meets_the_longest_file", dir.path());
    let acknowledged: u64 = std::fs::read_to_string(dir.path().join("acknowledged")).unwrap().parse().unwrap();
    assert!(acknowledged > 50, "{acknowledged}");
    // The next start finds all that was acknowledged, and takes more.
    let store = open(&options(dir.path()));
    for number in 0..acknowledged {
        assert_eq!(store.get(P, &number.to_be_bytes()).await.unwrap().unwrap(), pattern(number, 60_000));
    }
    assert!(store.takes_writes());
    fill(&*store, "k", 64).await;
}

/// Runs a test in a mount namespace of its own with a file system of 256 MiB.
fn on_a_small_disk(test: &str) {
    let dir = TempDir::new().unwrap();
    let script = r#"mount -t tmpfs -o size=256m none "$STRONGROOM_TEST_CHILD" && exec "$0" "$@""#;
    passes(&["unshare", "--map-root-user", "--mount", "sh", "-c", script], test, dir.path());
}

/// Runs one of the ignored tests on `dir` by a command that runs another.
fn passes(command: &[&str], test: &str, dir: &Path) {
    let test = child(test, dir);
    let mut running = Command::new(command[0]);
    running.args(&command[1..]).arg(test.get_program()).args(test.get_args()).env("STRONGROOM_TEST_CHILD", dir);
    let output = running.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// This test program, to run one of its ignored tests on `dir`.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    command.args(["--exact", &name, "--ignored", "--nocapture"]).env("STRONGROOM_TEST_CHILD", dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}
