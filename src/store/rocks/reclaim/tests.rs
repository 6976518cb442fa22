use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::crypto::SystemEntropy;
use crate::store::conformance::{P, pattern, put_run};
use crate::store::rocks::{Options, RocksStore};
use crate::store::{Batch, BlobStore as _, MetaStore as _, Outcome, RunId, Store as _};

const MIB: usize = 1 << 20;

fn open(dir: &Path) -> Arc<RocksStore> {
    let options = Options { segment_size: 4 << 20, reserve_bytes: 1 << 20, ..Options::new(dir) };
    RocksStore::open(&options, Arc::new(SystemEntropy::new())).unwrap()
}

/// A second reclaimer of a store, to be led by hand.
fn reclaimer(store: &RocksStore) -> Reclaimer {
    Reclaimer {
        meta: Arc::clone(&store.meta),
        space: Arc::clone(&store.space),
        committer: store.committer.clone(),
        allocator: Arc::clone(&store.allocator),
        reader: Arc::clone(&store.reader),
    }
}

async fn release(store: &RocksStore, run: RunId) {
    assert_eq!(store.commit(P, Batch::new().release(run)).await.unwrap(), Outcome::Applied);
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_a_reader_holds_is_not_taken_from_the_queue() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let bytes = pattern(1, MIB);
    let run = put_run(&*store, "k", &bytes, Some(1 << 20), MIB).await;
    let pin = store.pin(&[run]).await.unwrap();
    release(&store, run).await;
    reclaimer(&store).drain_queue().unwrap();
    assert_eq!(store.read(run, 0, MIB).await.unwrap(), bytes);
    drop(pin);
    wait_until("the run is given back", || store.usage().reclaimable_bytes == 0).await;
}

#[tokio::test]
async fn what_a_reader_holds_is_not_swept() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let bytes = pattern(1, MIB);
    let run = put_run(&*store, "k", &bytes, Some(1 << 20), MIB).await;
    let pin = store.pin(&[run]).await.unwrap();
    release(&store, run).await;
    store.allocator.retire();
    let (id, held) = store.space.all()[0];
    let settled = || store.space.record(id).is_some_and(|record| record.state == SegmentState::Settled);
    wait_until("the segment takes no more writes", settled).await;
    // As after a start that found the segment open, and served a reader and a delete before it came to it.
    let reclaimer = reclaimer(&store);
    let swept = tokio::task::spawn_blocking(move || reclaimer.sweep(id, held.record.capacity)).await;
    swept.unwrap().unwrap();
    assert_eq!(store.read(run, 0, MIB).await.unwrap(), bytes);
    drop(pin);
    wait_until("the segment is unlinked", || store.space.record(id).is_none()).await;
}

#[tokio::test]
async fn a_sweep_that_failed_is_made_good() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let bytes = pattern(1, MIB);
    let run = put_run(&*store, "k", &bytes, Some(1 << 20), MIB).await;
    let mut unsealed = store.create(Some(2 << 20)).await.unwrap();
    unsealed.append(&pattern(2, 2 * MIB)).await.unwrap();
    let crashed = TempDir::new().unwrap();
    let copied = Command::new("cp").arg("-a").arg(dir.path().join(".")).arg(crashed.path()).status().unwrap();
    assert!(copied.success());
    std::fs::remove_file(crashed.path().join("index/LOCK")).unwrap();

    // What lies in the file's place cannot be opened for writing.
    let file = crashed.path().join("segments").join(SegmentId(1).file_name());
    let aside = crashed.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    let found = open(crashed.path());
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    found.space.tell(Task::Idle(SegmentId(1)));
    let settled = || found.space.record(SegmentId(1)).is_some_and(|record| record.state == SegmentState::Settled);
    wait_until("the segment is settled", settled).await;
    assert_eq!(file.metadata().unwrap().len(), BLOCK + (1 << 20), "nothing is left of what no record names");
    assert_eq!(found.read(run, 0, MIB).await.unwrap(), bytes);
}

#[test]
fn what_failed_is_tried_again_however_much_there_is_to_do() {
    let (tell, tasks) = std::sync::mpsc::channel();
    let busy = std::thread::spawn(move || {
        while tell.send(Task::Idle(SegmentId(1))).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut rounds = Rounds::new(Duration::from_millis(50));
    for _ in 0..3 {
        let began = Instant::now();
        while !rounds.next(&tasks).unwrap().retry {
            assert!(began.elapsed() < Duration::from_secs(20), "never tried again");
        }
    }
    drop(tasks);
    busy.join().unwrap();
    let (tell, tasks) = std::sync::mpsc::channel();
    let round = rounds.next(&tasks).unwrap();
    assert!(round.retry && round.tasks.is_empty(), "and when there is nothing");
    drop(tell);
    assert!(rounds.next(&tasks).is_none());
}

#[test]
fn gaps_are_what_no_extent_covers() {
    let extent = |offset, length| Extent { segment: SegmentId(1), offset: offset * BLOCK, length };
    let of = |named: &[Extent], blocks| {
        let gaps = gaps(SegmentId(1), named, blocks * BLOCK);
        gaps.iter().map(|gap| (gap.offset / BLOCK, gap.length / BLOCK)).collect::<Vec<_>>()
    };
    assert_eq!(of(&[], 8), [(1, 7)]);
    assert_eq!(of(&[extent(1, 1), extent(2, 2 * BLOCK)], 8), [(4, 4)]);
    assert_eq!(of(&[extent(2, BLOCK + 1), extent(6, 2 * BLOCK)], 8), [(1, 1), (4, 2)]);
    assert_eq!(of(&[extent(1, 7 * BLOCK)], 8), []);
    // Released between the two looks: named twice.
    assert_eq!(of(&[extent(1, BLOCK), extent(1, BLOCK), extent(3, BLOCK)], 4), [(2, 1)]);
}
