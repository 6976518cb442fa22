//! Reading runs: whole bytes or an error, never the zeros of a hole.
//!
//! A reader takes the space's epoch, looks the run up, reads, and takes the epoch again. If it is the same, nothing was
//! given back meanwhile. If it is not, the run is looked up again: when it still lies where it lay, its bytes were there
//! all the time (extents are released before they are given back, and never used twice); when it has moved, it is read
//! anew; when it is gone, so is what was read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use super::meta::{Meta, Reach, Read};
use super::pins::PinnedRuns;
use super::records::{HEADER_LEN, RunRecord, SegmentId};
use super::segment::{io_failure, locked};
use super::space::Space;
use crate::store::{RunId, StoreError};

/// Files kept open.
const OPEN_FILES: usize = 256;
/// The kernel reads ahead in an extent of this many bytes or more, and by about as much as has been read of it. In a shorter one
/// it would mostly read its neighbours.
const LONG_EXTENT: u64 = 4 << 20;
/// Whoever asks for less than this many bytes at once, three frames, reads here and there.
const LONG_READ: usize = 3 * 64 * 1024;
/// Up to this many runs are pinned without leaving the caller's thread, if memory knows them.
const INLINE_PINS: usize = 16;
/// A run that moves this often while being read is not being moved, but damaged.
const TRIES: usize = 16;

/// Reads runs.
pub(super) struct Reader {
    meta: Arc<Meta>,
    space: Arc<Space>,
    files: Files,
}

/// A part of a read.
#[derive(Clone, Copy, Debug)]
struct Piece {
    segment: SegmentId,
    ahead: ReadAhead,
    offset: u64,
    length: usize,
}

/// What the kernel may do with the pages behind those that are asked for.
///
/// What it reads ahead lies in the page cache in large pieces, which cost less to put there and less to read than pages of
/// 4 KiB do, and is there before it is asked for. It may be a neighbour that is still being written past the page cache: the
/// kernel drops from the cache what such a write passed by (`kiocb_invalidate_post_direct_write`), before anybody is told of the run.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum ReadAhead {
    /// Nothing.
    Never,
    /// Read them too, when somebody reads on and on.
    Sequential,
}

impl Reader {
    pub(super) fn new(meta: Arc<Meta>, space: Arc<Space>) -> Self {
        let files = Files { space: Arc::clone(&space), open: Mutex::default() };
        Self { meta, space, files }
    }

    /// The bytes `start..start + length` of `run`.
    pub(super) async fn read(self: &Arc<Self>, run: RunId, start: u64, length: usize) -> Result<Bytes, StoreError> {
        let reader = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || reader.read_blocking(run, start, length));
        read.await.map_err(|error| StoreError::Engine(Box::new(error)))?
    }

    /// Keeps `runs` readable as long as what this returns lives.
    pub(super) async fn pin(self: &Arc<Self>, runs: &[RunId]) -> Result<PinnedRuns, StoreError> {
        if runs.len() <= INLINE_PINS
            && let Some(pinned) = self.pin_within(runs, Reach::Memory)?
        {
            return Ok(pinned);
        }
        let (reader, runs) = (Arc::clone(self), runs.to_vec());
        let pinned = tokio::task::spawn_blocking(move || reader.pin_within(&runs, Reach::Disk)).await;
        let pinned = pinned.map_err(|error| StoreError::Engine(Box::new(error)))??;
        pinned.ok_or_else(|| StoreError::Engine("a read went nowhere".into()))
    }

    /// `None` if that takes a longer reach.
    fn pin_within(&self, runs: &[RunId], reach: Reach) -> Result<Option<PinnedRuns>, StoreError> {
        let mut pinned = PinnedRuns::new(Arc::clone(&self.space));
        for &run in runs {
            let mut known: Option<RunRecord> = None;
            loop {
                let Read::Done(found) = self.meta.run(run, reach)? else { return Ok(None) };
                let found = found.ok_or(StoreError::RunNotFound(run))?;
                if known.as_ref() == Some(&found) {
                    break;
                }
                // Once more: if it is still there, whoever releases or moves it from now on finds the pin.
                pinned.add(run, found.clone());
                known = Some(found);
            }
        }
        Ok(Some(pinned))
    }

    /// Lets go of the file of a segment that is forgotten.
    pub(super) fn close(&self, segment: SegmentId) {
        let mut open = locked(&self.files.open);
        for ahead in [ReadAhead::Never, ReadAhead::Sequential] {
            open.remove(&(segment, ahead));
        }
    }

    /// Reads without waiting for the disk; false if that cannot be done.
    pub(super) fn read_cached(&self, run: RunId, start: u64, into: &mut [u8]) -> Result<bool, StoreError> {
        let epoch = self.space.epoch();
        let pinned = self.space.pins.record(run);
        let pieces = if let Some(record) = &pinned {
            pieces(record, start, into.len())?
        } else {
            let Read::Done(record) = self.meta.run(run, Reach::Memory)? else {
                return Ok(false);
            };
            pieces(&record.ok_or(StoreError::RunNotFound(run))?, start, into.len())?
        };
        let mut rest = into;
        for piece in pieces {
            let (into, after) = rest.split_at_mut(piece.length);
            rest = after;
            let is_read = self.space.recent.read(piece.segment, piece.offset, into)
                || self.files.opened(&piece).is_some_and(|file| read_cached(&file, piece.offset, into));
            if !is_read {
                return Ok(false);
            }
        }
        Ok(pinned.is_some() || self.space.epoch() == epoch)
    }

    fn read_blocking(&self, run: RunId, start: u64, length: usize) -> Result<Bytes, StoreError> {
        if let Some(record) = self.space.pins.record(run) {
            return self.read_pieces(&pieces(&record, start, length)?).map_err(|error| unreadable(run, error));
        }
        let mut known = self.look_up(run)?;
        let mut failed = None;
        for _ in 0..TRIES {
            let (epoch, record) = known;
            let read = self.read_pieces(&pieces(&record, start, length)?);
            if read.is_ok() && self.space.epoch() == epoch {
                return read.map_err(io_failure);
            }
            known = self.look_up(run)?;
            match read {
                Ok(bytes) if known.1 == record => return Ok(bytes),
                // The record stands and its bytes do not.
                Err(error) if known.1 == record => return Err(unreadable(run, error)),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        Err(unreadable(run, failed.unwrap_or_else(|| io::Error::other("it never stays in one place"))))
    }

    fn look_up(&self, run: RunId) -> Result<(u64, RunRecord), StoreError> {
        let epoch = self.space.epoch();
        match self.meta.run(run, Reach::Disk)? {
            Read::Done(Some(record)) => Ok((epoch, record)),
            Read::Done(None) | Read::Elsewhere => Err(StoreError::RunNotFound(run)),
        }
    }

    fn read_pieces(&self, pieces: &[Piece]) -> io::Result<Bytes> {
        if let [piece] = pieces {
            let file = self.files.open(piece)?;
            return read_whole(&file, piece).map(Bytes::from);
        }
        let mut bytes = vec![0; pieces.iter().map(|piece| piece.length).sum()];
        let mut rest = bytes.as_mut_slice();
        for piece in pieces {
            let (into, after) = rest.split_at_mut(piece.length);
            rest = after;
            self.files.open(piece)?.read_exact_at(into, piece.offset)?;
        }
        Ok(Bytes::from(bytes))
    }
}

/// Segment files, open for reading.
struct Files {
    space: Arc<Space>,
    open: Mutex<HashMap<(SegmentId, ReadAhead), Arc<File>>>,
}

impl Files {
    /// The file of `piece`, if it is open.
    fn opened(&self, piece: &Piece) -> Option<Arc<File>> {
        locked(&self.open).get(&(piece.segment, piece.ahead)).map(Arc::clone)
    }

    /// The file of `piece`, opened if need be.
    fn open(&self, piece: &Piece) -> io::Result<Arc<File>> {
        if let Some(file) = self.opened(piece) {
            return Ok(file);
        }
        let file = File::open(self.space.dir.join(piece.segment.file_name()))?;
        let mut header = [0; HEADER_LEN];
        file.read_exact_at(&mut header, 0)?;
        if header != piece.segment.header() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a segment file has the wrong header"));
        }
        let advice = match piece.ahead {
            ReadAhead::Never => Advice::Random,
            ReadAhead::Sequential => Advice::Normal,
        };
        rustix::fs::fadvise(&file, 0, None, advice)?;
        let file = Arc::new(file);
        let mut open = locked(&self.open);
        // One that was unlinked meanwhile would keep its space for as long as it is kept.
        if self.space.record(piece.segment).is_none() {
            return Ok(file);
        }
        if open.len() >= OPEN_FILES
            && let Some(evicted) = open.keys().next().copied()
        {
            open.remove(&evicted);
        }
        open.insert((piece.segment, piece.ahead), Arc::clone(&file));
        Ok(file)
    }
}

/// Fills `into` from the page cache; false if that cannot be done without waiting.
fn read_cached(file: &File, offset: u64, into: &mut [u8]) -> bool {
    let wanted = into.len();
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT);
    read == Ok(wanted)
}

/// Reads one piece into memory that is not cleared first.
fn read_whole(file: &File, piece: &Piece) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(piece.length);
    while bytes.len() < piece.length {
        let offset = piece.offset + u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let read =
            rustix::io::retry_on_intr(|| rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), offset))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    bytes.truncate(piece.length);
    Ok(bytes)
}

/// Where the bytes `start..start + length` of a run lie.
fn pieces(record: &RunRecord, start: u64, length: usize) -> Result<Vec<Piece>, StoreError> {
    let mut pieces = Vec::with_capacity(1);
    let mut skip = start;
    let mut left = length;
    for extent in &record.extents {
        if left == 0 {
            break;
        }
        if skip >= extent.length {
            skip -= extent.length;
            continue;
        }
        let length = usize::try_from(extent.length - skip).unwrap_or(usize::MAX).min(left);
        let goes_on = extent.length >= LONG_EXTENT && length >= LONG_READ;
        let ahead = if goes_on { ReadAhead::Sequential } else { ReadAhead::Never };
        pieces.push(Piece { segment: extent.segment, ahead, offset: extent.offset + skip, length });
        skip = 0;
        left -= length;
    }
    if left > 0 {
        return Err(StoreError::Corrupt("a run is shorter than its record says".to_owned()));
    }
    Ok(pieces)
}

fn unreadable(run: RunId, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            StoreError::Corrupt(format!("run {run}: {error}"))
        }
        _ => io_failure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::records::Extent;
    use super::super::{Options, RocksStore};
    use super::*;
    use crate::crypto::SystemEntropy;

    #[test]
    fn the_file_of_a_segment_that_is_gone_is_not_kept() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = RocksStore::open(&Options::new(dir.path()), Arc::new(SystemEntropy::new())).unwrap();
        let id = SegmentId(7);
        std::fs::write(store.space.dir.join(id.file_name()), id.header()).unwrap();
        let piece = Piece { segment: id, ahead: ReadAhead::Never, offset: 0, length: 1 };
        // As by a reader that opened it just before it was unlinked.
        store.reader.files.open(&piece).unwrap();
        assert!(store.reader.files.opened(&piece).is_none());
    }

    #[test]
    fn long_reads_of_long_extents_are_read_ahead() {
        let ahead = |extent, read| {
            let extent = Extent { segment: SegmentId(1), offset: 4096, length: extent };
            pieces(&RunRecord { extents: vec![extent], references: 1 }, 1, read).unwrap()[0].ahead
        };
        assert_eq!(ahead(LONG_EXTENT, LONG_READ), ReadAhead::Sequential);
        assert_eq!(ahead(LONG_EXTENT - 1, LONG_READ), ReadAhead::Never);
        assert_eq!(ahead(LONG_EXTENT, LONG_READ - 1), ReadAhead::Never);
    }

    #[test]
    fn ranges_fall_on_the_right_extents() {
        let extent = |segment, length| Extent { segment: SegmentId(segment), offset: 4096, length };
        let record = RunRecord { extents: vec![extent(1, 10), extent(2, 5), extent(3, 1)], references: 1 };
        let of = |start, length| {
            pieces(&record, start, length)
                .map(|pieces| pieces.iter().map(|p| (p.segment.0, p.offset, p.length)).collect::<Vec<_>>())
        };
        assert_eq!(of(0, 10).unwrap(), [(1, 4096, 10)]);
        assert_eq!(of(9, 3).unwrap(), [(1, 4105, 1), (2, 4096, 2)]);
        assert_eq!(of(0, 16).unwrap(), [(1, 4096, 10), (2, 4096, 5), (3, 4096, 1)]);
        assert_eq!(of(16, 0).unwrap(), []);
        assert!(matches!(of(0, 17), Err(StoreError::Corrupt(_))));
        assert!(matches!(of(16, 1), Err(StoreError::Corrupt(_))));
    }
}
