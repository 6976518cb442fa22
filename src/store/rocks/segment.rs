//! Segment files: what the file system under them can do, their creation, writing and syncing.
//!
//! A segment is written by many writers at once, each into extents of its own, and only ever at its end: what has been
//! handed out once is not handed out again. The one exception is the tail of the last extent, given back unwritten.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use tokio::sync::oneshot;

use super::buffer::AlignedBuffer;
use super::records::{BLOCK, Extent, HEADER_LEN, SegmentId, whole_blocks};
use super::{DirectIo, HolePunching};
use crate::store::StoreError;

/// What the file system can do, found out by trying.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Abilities {
    /// Writes past the page cache.
    pub(super) direct: bool,
    /// Giving space back inside a file.
    pub(super) punch: bool,
}

impl Abilities {
    /// Tries both on a file of its own in `dir`.
    pub(super) fn probe(dir: &Path, direct_io: DirectIo, hole_punching: HolePunching) -> Result<Self, StoreError> {
        let path = dir.join("probe");
        let able = Self {
            direct: direct_io == DirectIo::Auto && try_direct(&path).map_err(io_failure)?,
            punch: hole_punching == HolePunching::Auto && try_punch(&path).map_err(io_failure)?,
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure(error)),
            _ => Ok(able),
        }
    }
}

/// A segment file that takes writes.
pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// The file's length in bytes.
    capacity: u64,
    file: File,
    end: Mutex<End>,
    queue: Mutex<SyncQueue>,
    /// A sync failed: what the disk holds is unknown, and no later sync can tell.
    failed: AtomicBool,
}

/// How far a segment has been handed out.
struct End {
    offset: u64,
    retired: bool,
}

#[derive(Default)]
struct SyncQueue {
    waiting: Vec<oneshot::Sender<bool>>,
    running: bool,
}

impl Segment {
    /// Creates the file, with its space set aside, its header and its directory entry on stable storage.
    pub(super) fn create(dir: &Path, id: SegmentId, capacity: u64, able: Abilities) -> Result<Self, StoreError> {
        let path = dir.join(id.file_name());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let flags = if able.direct { flags | OFlags::DIRECT } else { flags };
        let file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(errno)?);
        let prepared = prepare(&file, id, capacity).and_then(|()| File::open(dir)?.sync_all());
        if let Err(error) = prepared {
            // The number is not used again, so that nothing is lost if this fails as well.
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(segment = id.0, %error, "an unfinished segment file was left behind");
            }
            return Err(io_failure(error));
        }
        Ok(Self {
            id,
            capacity,
            file,
            end: Mutex::new(End { offset: BLOCK, retired: false }),
            queue: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Hands out an extent of `wanted` bytes, or of what is left if that is at least `least`.
    pub(super) fn take(&self, wanted: u64, least: u64) -> Option<Extent> {
        let mut end = locked(&self.end);
        let left = self.capacity - end.offset;
        if end.retired || left == 0 || left < least || self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let extent = Extent { segment: self.id, offset: end.offset, length: whole_blocks(wanted).min(left) };
        end.offset = extent.end();
        Some(extent)
    }

    /// Takes back the bytes from `unused` on if they are the last handed out; else they stay the caller's to discard.
    pub(super) fn give_back(&self, extent: &Extent, unused: u64) -> bool {
        let mut end = locked(&self.end);
        let last = !end.retired && end.offset == extent.end();
        if last {
            end.offset = unused;
        }
        last
    }

    /// Hands out nothing from now on; returns how far it was handed out.
    pub(super) fn retire(&self) -> u64 {
        let mut end = locked(&self.end);
        end.retired = true;
        end.offset
    }

    /// Bytes not yet handed out.
    pub(super) fn left(&self) -> u64 {
        self.capacity - locked(&self.end).offset
    }

    /// Writes whole blocks into an extent. Blocks.
    pub(super) fn write(&self, offset: u64, blocks: &[u8]) -> Result<(), StoreError> {
        self.file.write_all_at(blocks, offset).map_err(io_failure)
    }

    /// Waits until everything written before the call is on stable storage. All that wait at once share one sync.
    pub(super) async fn sync(self: &Arc<Self>) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let idle = {
            let mut queue = locked(&self.queue);
            queue.waiting.push(done);
            !std::mem::replace(&mut queue.running, true)
        };
        if idle {
            let segment = Arc::clone(self);
            tokio::task::spawn_blocking(move || segment.sync_waiting());
        }
        match wait.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(io_failure(io::Error::other("a segment file could not be synced"))),
        }
    }

    /// As [`Segment::sync`], for threads that may block.
    pub(super) fn sync_blocking(&self) -> Result<(), StoreError> {
        if self.sync_once() { Ok(()) } else { Err(io_failure(io::Error::other("a segment file could not be synced"))) }
    }

    fn sync_waiting(&self) {
        loop {
            let waiting = {
                let mut queue = locked(&self.queue);
                if queue.waiting.is_empty() {
                    queue.running = false;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let synced = self.sync_once();
            for waiter in waiting {
                // Whoever no longer waits has dropped the run.
                let _ = waiter.send(synced);
            }
        }
    }

    fn sync_once(&self) -> bool {
        if let Err(error) = self.file.sync_data() {
            tracing::error!(segment = self.id.0, %error, "syncing a segment file failed; it takes no more writes");
            self.failed.store(true, Ordering::Relaxed);
        }
        !self.failed.load(Ordering::Relaxed)
    }
}

/// Gives the blocks `offset..offset + length` back to the file system.
pub(super) fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length)?)
}

/// Bytes that the file system offers to us.
pub(super) fn free_bytes(dir: &Path) -> Result<u64, StoreError> {
    let figures = rustix::fs::statvfs(dir).map_err(errno)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// What an error of the file system means.
pub(super) fn io_failure(error: io::Error) -> StoreError {
    if is_full(&error) { StoreError::NoSpace } else { StoreError::Engine(Box::new(error)) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A lock whose holder never panics half way through a change.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(error: rustix::io::Errno) -> StoreError {
    io_failure(error.into())
}

fn prepare(file: &File, id: SegmentId, capacity: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, capacity) {
        // Without preallocation a full disk shows at the writes.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(capacity)?,
        other => other?,
    }
    write_header(file, &id.header())?;
    file.sync_all()
}

fn write_header(file: &File, header: &[u8; HEADER_LEN]) -> io::Result<()> {
    let mut buffer = AlignedBuffer::new(Some(BLOCK));
    buffer.fill(header);
    file.write_all_at(buffer.as_slice(), 0)
}

fn try_direct(path: &Path) -> io::Result<bool> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT;
    let tried = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        .and_then(|file| write_header(&File::from(file), &[0; HEADER_LEN]));
    match tried {
        Ok(()) => Ok(true),
        // A full disk says nothing of what the file system can do.
        Err(error) if is_full(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

fn try_punch(path: &Path) -> io::Result<bool> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    write_header(&file, &[0; HEADER_LEN])?;
    match punch(&file, 0, BLOCK) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(false),
        Err(error) => Err(error),
    }
}
