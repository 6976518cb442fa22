//! The embedded backend: RocksDB for what exists, segment files for the bytes of larger runs.
//!
//! ```text
//! <path>/index/             RocksDB: the callers' keys, small runs, and the records of `records`
//! <path>/segments/N.seg     append-only; extents of many runs side by side, written past the page cache
//! <path>/ballast            space set aside against a full disk
//! <path>/mark               how far the index was synced, so that a damaged end of it shows (`mark`)
//! ```
//!
//! # The life of a run, and what a crash leaves
//!
//! 1. **Open.** A segment is recorded as open, durably; then its file is created and synced, with its directory entry.
//!    *Crash:* a record without a file, or a file with nothing in it. The sweep removes either.
//! 2. **Claim.** The allocator hands an extent of the active segment to a writer. The claim is in memory only.
//! 3. **Write.** The writer fills its extents. *Crash:* bytes that no record names, in a segment recorded as open. The
//!    sweep at the next start gives back whatever the records of that segment do not name, and leaves what is queued to 7; it
//!    reads the records of the open segments only, so that its length does not grow with the store.
//! 4. **Sync.** `seal` waits for an `fdatasync` of each segment written to; all writers waiting share one.
//!    *Crash:* as 3.
//! 5. **Adopt.** One synced write to RocksDB holds the caller's mutations, the run's record, the owners of its extents and
//!    the segment's count of live bytes. *Crash:* all of it is there, or as 3. If the write fails, the run is in doubt and
//!    its space is kept until a later write succeeds (see `committer`).
//! 6. **Release.** One synced write removes the run's record and the owners, lowers the count, and queues the extents.
//!    *Crash:* the queue is worked off at the next start.
//! 7. **Reclaim.** Extents that a reader has pinned wait for it (see `pins`). The reclaimer announces a new epoch (see
//!    `reader`), punches holes where the others were, then
//!    removes them from the queue. *Crash:* they are punched once more, which changes nothing: no extent is used twice.
//! 8. **Settle.** A segment that takes no more writes and is claimed by nobody is cut off at its end and recorded as
//!    settled. *Crash:* it is swept once more.
//! 9. **Bury.** A settled segment in which nothing lives is unlinked, then its record and queue entries are removed.
//!    *Crash:* a record without a file and without live bytes, removed at the next start.
//!
//! A claim that ends without adoption (writer or sealed run dropped, conflict) is given back as in 7, without a queue.
//! Where holes cannot be punched, 7 only empties the queue, and mostly dead segments are rewritten (see `rewrite`).

mod allocator;
mod ballast;
mod buffer;
mod committer;
mod hot;
mod mark;
mod meta;
mod pace;
mod pins;
mod reader;
mod recent;
mod reclaim;
mod records;
mod rewrite;
mod segment;
mod space;
mod tuning;
mod writer;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use self::allocator::Allocator;
use self::ballast::Ballast;
use self::committer::Committer;
use self::mark::Mark;
use self::meta::{Family, Meta, Reach, Read, full_key};
use self::pace::Pace;
use self::reader::Reader;
use self::recent::Recent;
use self::reclaim::Reclaimer;
use self::records::{BLOCK, NEXT_KEY, SegmentId, SegmentRecord, decode_next, segment_key, split_segment_key};
use self::segment::{Abilities, free_bytes, io_failure};
use self::space::{Space, Task};
use self::writer::SegmentWriter;
use super::{
    Batch, BlobStore, KeyRange, MetaStore, Outcome, Pair, Partition, Pin, RunId, RunWriter, Skip, Store, StoreError,
    Usage,
};
use crate::crypto::{SharedEntropy, random};

/// How long the index may take to be flushed when the store closes. Its log has what is not.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);
/// Scans of up to this many pairs are short.
const INLINE_SCAN: usize = 64;

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; created if it is not there.
    pub path: PathBuf,
    /// Bytes of a segment file; less where the disk has little left.
    pub segment_size: u64,
    /// Whether runs are written past the page cache.
    pub direct_io: DirectIo,
    /// Whether space is given back by punching holes.
    pub hole_punching: HolePunching,
    /// Free bytes below which nothing is added, so that there is room to delete. At least 32 MiB.
    pub reserve_bytes: u64,
    /// Bytes of memory for what was read and written of late.
    pub cache_bytes: usize,
    /// Bytes of memory for what was written past the page cache of late.
    pub recent_bytes: usize,
}

impl Options {
    /// The defaults, for a store in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            segment_size: 256 << 20,
            direct_io: DirectIo::Auto,
            hole_punching: HolePunching::Auto,
            reserve_bytes: 256 << 20,
            cache_bytes: 64 << 20,
            recent_bytes: 32 << 20,
        }
    }
}

/// Whether runs are written with `O_DIRECT`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DirectIo {
    /// Where the file system takes it.
    Auto,
    /// Never: through the page cache, then synced.
    Never,
}

/// Whether space inside segments is given back by punching holes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HolePunching {
    /// Where the file system takes it.
    Auto,
    /// Never: sparse segments are rewritten.
    Never,
}

/// The embedded store.
pub struct RocksStore {
    meta: Arc<Meta>,
    pace: Arc<Pace>,
    space: Arc<Space>,
    allocator: Arc<Allocator>,
    reader: Arc<Reader>,
    committer: Committer,
    entropy: SharedEntropy,
    committing: Option<JoinHandle<()>>,
    marking: Option<JoinHandle<()>>,
    /// Dropped when the mark is to be written for the last time.
    marks: Option<Sender<()>>,
    reclaiming: Option<JoinHandle<()>>,
}

impl RocksStore {
    /// Opens the store, creating it if there is none. What a crash left is swept up in the background.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the directory cannot be used or another process has it open,
    /// [`StoreError::NoSpace`], [`StoreError::Corrupt`], as when what was on stable storage is missing: all is left as it is then.
    pub fn open(options: &Options, entropy: SharedEntropy) -> Result<Arc<Self>, StoreError> {
        let (index, segments) = (options.path.join("index"), options.path.join("segments"));
        for dir in [&options.path, &index, &segments] {
            create_dir(dir).map_err(io_failure)?;
        }
        let ballast = Ballast::open(&options.path, tuning::LEAST_RESERVE).map_err(io_failure)?;
        let mark = Mark::read(&options.path)?;
        if mark.is_none() && index.join("CURRENT").exists() {
            tracing::warn!(
                "the store has no mark of what was synced: damage to the end of its index would not show this time"
            );
        }
        let meta = Arc::new(ballast.make_way(|| Meta::open(&index, options.cache_bytes, mark))?);
        let mark = Arc::new(Mark::new(&options.path, meta.last_change()));
        let able = ballast.make_way(|| Abilities::probe(&segments, options.direct_io, options.hole_punching))?;
        if free_bytes(&segments)? < tuning::ROOM_TO_START {
            ballast.drop_overboard();
        }
        tracing::info!(direct_io = able.direct, hole_punching = able.punch, "opened the store");
        let (tell, tasks) = mpsc::channel();
        let reserve = options.reserve_bytes.max(tuning::LEAST_RESERVE);
        // What goes through the page cache is kept there.
        let recent = Recent::new(if able.direct { options.recent_bytes } else { 0 });
        let space = Arc::new(Space::new(segments, able, ballast, reserve, recent, tell));
        let next = load_segments(&meta, &space)?;
        let (committer, jobs) = Committer::channel();
        let segment_size = options.segment_size.max(16 * BLOCK);
        let allocator = Arc::new(Allocator::new(Arc::clone(&space), committer.clone(), segment_size, next));
        let reader = Arc::new(Reader::new(Arc::clone(&meta), Arc::clone(&space)));
        let reclaimer = Reclaimer {
            meta: Arc::clone(&meta),
            space: Arc::clone(&space),
            committer: committer.clone(),
            allocator: Arc::clone(&allocator),
            reader: Arc::clone(&reader),
        };
        let (commit_meta, commit_space, reached) = (Arc::clone(&meta), Arc::clone(&space), Arc::clone(&mark));
        let committing = thread("committer", move || {
            if let Err(error) = committer::run(&jobs, &commit_meta, &commit_space, &reached) {
                tracing::error!(%error, "the committer ended");
            }
        })?;
        let (marks, closing) = mpsc::channel();
        let marking = thread("marker", move || mark.run(&closing))?;
        let reclaiming = thread("reclaimer", move || reclaimer.run(&tasks))?;
        Ok(Arc::new(Self {
            meta,
            pace: Arc::default(),
            space,
            allocator,
            reader,
            committer,
            entropy,
            committing: Some(committing),
            marking: Some(marking),
            marks: Some(marks),
            reclaiming: Some(reclaiming),
        }))
    }

    /// Flushes the index, unless that takes too long.
    fn flush(&self) {
        let (done, wait) = mpsc::channel();
        let meta = Arc::clone(&self.meta);
        let flushing = thread("flusher", move || {
            let flushed = meta.flush();
            // Before it is said to be done: the store closes with its last holder.
            drop(meta);
            let _ = done.send(flushed);
        });
        match flushing.map(|_| wait.recv_timeout(FLUSH_PATIENCE)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) | Err(error) => {
                tracing::warn!(%error, "the index was not flushed; its log has what is missing");
            }
            Ok(Err(_)) => tracing::warn!("the index was not flushed in time; its log has what is missing"),
        }
    }

    /// Runs `read`: a short one where it is asked for, if the disk has been quick or memory has it; else by a thread that
    /// may wait.
    async fn read_meta<T: Send + 'static>(
        &self,
        short: bool,
        read: impl Fn(&Meta, Reach) -> Result<Read<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let found = if short && self.pace.is_quick() {
            self.pace.measure(|| read(&self.meta, Reach::Disk))?
        } else if short && let Read::Done(value) = read(&self.meta, Reach::Memory)? {
            return Ok(value);
        } else {
            let (meta, pace) = (Arc::clone(&self.meta), Arc::clone(&self.pace));
            let work = move || if short { pace.measure(|| read(&meta, Reach::Disk)) } else { read(&meta, Reach::Disk) };
            tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Engine(Box::new(error)))??
        };
        match found {
            Read::Done(value) => Ok(value),
            Read::Elsewhere => Err(StoreError::Engine("a read went nowhere".into())),
        }
    }
}

#[async_trait]
impl MetaStore for RocksStore {
    async fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let (family, key) = (Family::of_key(key), full_key(partition, key));
        self.read_meta(true, move |meta, reach| meta.get(family, &key, reach)).await
    }

    async fn scan(&self, partition: Partition, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let range = range.clone();
        self.read_meta(limit <= INLINE_SCAN, move |meta, reach| meta.scan(partition, &range, limit, reach)).await
    }

    async fn scan_all(
        &self,
        partition: Partition,
        ranges: &[KeyRange],
        skip: Option<&Skip>,
        limit: usize,
    ) -> Result<Vec<Vec<Pair>>, StoreError> {
        let (ranges, skip) = (ranges.to_vec(), skip.cloned());
        let read = move |meta: &Meta, reach| meta.scan_all(partition, &ranges, skip.as_ref(), limit, reach);
        self.read_meta(limit <= INLINE_SCAN, read).await
    }

    async fn commit(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        self.committer.commit(partition, batch).await
    }
}

#[async_trait]
impl BlobStore for RocksStore {
    async fn create(&self, size_hint: Option<u64>) -> Result<Box<dyn RunWriter>, StoreError> {
        let id = RunId(random::identifier(&*self.entropy));
        let (space, allocator) = (Arc::clone(&self.space), Arc::clone(&self.allocator));
        Ok(Box::new(SegmentWriter::start(id, size_hint, space, allocator)?))
    }

    async fn pin(&self, runs: &[RunId]) -> Result<Pin, StoreError> {
        Ok(Pin::new(self.reader.pin(runs).await?))
    }

    fn read_cached(&self, run: RunId, start: u64, into: &mut [u8]) -> Result<bool, StoreError> {
        self.reader.read_cached(run, start, into)
    }

    async fn read(&self, run: RunId, start: u64, length: usize) -> Result<Bytes, StoreError> {
        self.reader.read(run, start, length).await
    }
}

impl Store for RocksStore {
    fn usage(&self) -> Usage {
        self.space.usage(self.allocator.unused())
    }

    fn takes_writes(&self) -> bool {
        self.space.takes_writes.load(Ordering::Relaxed)
    }
}

impl Drop for RocksStore {
    /// Ends the threads in order: what was asked for is done, the active segment is settled if nobody claims it, and what only
    /// the index's log has is put into tables.
    fn drop(&mut self) {
        self.allocator.retire();
        self.space.tell(Task::Stop);
        join(self.reclaiming.take());
        self.committer.stop();
        join(self.committing.take());
        self.flush();
        drop(self.marks.take());
        join(self.marking.take());
    }
}

/// Mirrors the segments' records; returns the number of the next segment.
fn load_segments(meta: &Meta, space: &Space) -> Result<SegmentId, StoreError> {
    let recorded = match meta.get_blocking(Family::Space, NEXT_KEY)? {
        Some(value) => decode_next(&value)?,
        None => SegmentId(1),
    };
    let (start, end) = (segment_key(SegmentId(0)), b"T".to_vec());
    for (key, value) in meta.pairs_blocking(Family::Space, &start, end, usize::MAX)? {
        space.mirror(split_segment_key(&key)?, SegmentRecord::decode(&value)?, 0);
    }
    let mut next = recorded;
    let mut present = Vec::new();
    for entry in std::fs::read_dir(&space.dir).map_err(io_failure)? {
        let name = entry.map_err(io_failure)?.file_name();
        let Some(id) = name.to_str().and_then(SegmentId::from_file_name) else {
            continue;
        };
        present.push(id);
        if space.record(id).is_none() {
            tracing::warn!(segment = id.0, "a segment file that no record names is left alone");
            next = next.max(SegmentId(id.0.saturating_add(1)));
        }
    }
    for (id, held) in space.all() {
        if held.record.live > 0 && !present.contains(&id) {
            tracing::error!(segment = id.0, bytes = held.record.live, "a segment file is missing");
        }
    }
    Ok(next)
}

/// Creates a directory that nobody else may enter, with its entry on stable storage; one that exists is left as it is.
fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(io_failure)
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the store panicked");
    }
}

#[cfg(test)]
mod tests;
