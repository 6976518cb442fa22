//! The log on disk: appending, segments, digests, retention.
//!
//! Writing lines:
//! 1. they are appended to the last segment. A crash may leave a part of them, the last one torn: the next start cuts the torn
//!    one off;
//! 2. if disk is asked for, the file is synced. Only now are they acknowledged;
//! 3. a full segment gets a digest, and the next line begins another one. A crash between the two: the next start finds lines
//!    that no digest covers, and makes one;
//! 4. a digest is on stable storage before the mark that says which is the last ([`super::mark`]). A crash between the two: the
//!    next start finds the mark's digest and one more, and moves the mark on.
//!
//! A failed write is undone by cutting the file back, so that a line is there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Line, Link};
use super::digest::{self, LastDigest, Occasion, Signed};
use super::mark::{KeepMark, KeptMark, Mark};
use super::segment::Segment;
use crate::clock::{SharedClock, Timestamp};
use crate::crypto::pair::KeyPair;

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The directory; made if absent.
    pub dir: PathBuf,
    /// Whether lines are on stable storage before they are acknowledged.
    pub sync: bool,
    /// Bytes after which a segment is full.
    pub segment_bytes: u64,
    /// How long a segment is kept after its last line; `None`: for ever.
    pub retention: Option<Duration>,
    /// Bytes of all segments beyond which the oldest go, whatever their age; `None`: the disk is the limit.
    pub max_bytes: Option<u64>,
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be read or made.
    #[error("the audit log in {}: {source}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The last line is not one.
    #[error("{} ends with something that is no line of an audit log: move it aside", .0.display())]
    Damaged(PathBuf),
}

/// The log.
pub(super) struct Log {
    options: LogOptions,
    key: KeyPair,
    clock: SharedClock,
    head: Link,
    digested: LastDigest,
    keeper: Arc<dyn KeepMark>,
    marked: Option<Mark>,
    segment: Option<Open>,
}

struct Open {
    segment: Segment,
    file: File,
    length: u64,
}

impl Log {
    /// Opens the log, or makes one.
    pub(super) fn open(
        options: LogOptions,
        (key, keeper): (KeyPair, Arc<dyn KeepMark>),
        clock: SharedClock,
    ) -> Result<Self, LogError> {
        let dir = options.dir.clone();
        let failed = |source| LogError::Io { dir: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let kept = keeper.read().map_err(failed)?;
        let (digested, has_marked) = last_digest(&options, kept).map_err(failed)?;
        let marked = if let KeptMark::At(mark) = kept { Some(mark) } else { None };
        let mut log = Self { options, key, clock, head: Link::START, digested, keeper, marked, segment: None };
        if let Some(segment) = Segment::list(&dir).map_err(failed)?.pop() {
            log.take_up(segment, failed)?;
        }
        if log.head.sequence == log.digested.link.sequence && log.head.hash != log.digested.link.hash {
            tracing::error!(line = log.head.sequence, "the audit log's last line is not the one that was signed");
            // What follows is chained to the one that was: no digest is ever made of the other.
            log.head = log.digested.link;
        }
        if log.head.sequence < log.digested.link.sequence {
            tracing::error!(
                from = log.head.sequence + 1,
                to = log.digested.link.sequence,
                "lines of the audit log that were written and signed are missing"
            );
            log.head = log.digested.link;
            log.segment = None;
        }
        // A log has a digest before it has a line, so that one without digests has lost them.
        if !has_marked || log.digested.number == 0 && log.head.sequence > 0 {
            tracing::error!(
                found = log.digested.number,
                last = log.marked.map(|mark| mark.number),
                "digests of the audit log that were written are missing: lines may have been changed or removed"
            );
            log.write_digest(Occasion::DigestsLost).map_err(failed)?;
        }
        // Also where there is nothing to sign: a log from before there were marks gets one.
        log.sign(Occasion::Start).map_err(failed)?;
        Ok(log)
    }

    fn take_up(&mut self, segment: Segment, failed: impl Fn(io::Error) -> LogError) -> Result<(), LogError> {
        let text = fs::read(&segment.path).map_err(&failed)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().append(true).open(&segment.path).map_err(&failed)?;
        if whole < text.len() {
            tracing::warn!(segment = %segment.path.display(), bytes = text.len() - whole, "cut off a torn line of the audit log");
            file.set_len(whole as u64).and_then(|()| file.sync_data()).map_err(&failed)?;
        }
        self.head = match text[..whole].split_inclusive(|byte| *byte == b'\n').next_back() {
            Some(line) => Line::parse(line).ok_or_else(|| LogError::Damaged(segment.path.clone()))?.link(),
            // A segment is made with its first line, or that line was torn: then a digest tells what was before it.
            None => self.digested.link,
        };
        let length = whole as u64;
        self.segment = (length < self.options.segment_bytes).then_some(Open { segment, file, length });
        Ok(())
    }

    /// Appends the lines of `events`.
    ///
    /// # Errors
    /// What the file system says; then nothing was appended.
    pub(super) fn append(&mut self, events: &[Vec<u8>]) -> io::Result<()> {
        let (mut head, mut lines) = (self.head, Vec::new());
        for event in events {
            head.append(&mut lines, event);
        }
        let sync = self.options.sync;
        let open = match &mut self.segment {
            Some(open) => open,
            none => none.insert(Open::create(Segment::new(&self.options.dir, self.head.sequence + 1))?),
        };
        let written = open.file.write_all(&lines).and_then(|()| if sync { open.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // If this fails too, the next start finds a torn line, or lines that were never acknowledged.
            let _ = open.file.set_len(open.length);
            return Err(error);
        }
        open.length += lines.len() as u64;
        self.head = head;
        if open.length >= self.options.segment_bytes
            && let Err(error) = self.end_segment()
        {
            // The lines are written; the segment is ended at the next ones.
            tracing::error!(%error, "a segment of the audit log could not be ended");
        }
        Ok(())
    }

    fn end_segment(&mut self) -> io::Result<()> {
        self.sync()?;
        self.sign(Occasion::SegmentFull)?;
        self.segment = None;
        self.prune()
    }

    /// Puts what was written on stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.segment.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    /// Signs how far the log goes, if no digest says so yet.
    pub(super) fn sign(&mut self, occasion: Occasion) -> io::Result<()> {
        if self.head == self.digested.link && self.digested.number > 0 {
            return self.mark();
        }
        self.write_digest(occasion)
    }

    fn write_digest(&mut self, occasion: Occasion) -> io::Result<()> {
        self.sync()?;
        let name = self.segment.as_ref().map(|open| open.segment.name()).unwrap_or_default();
        let mut last = self.digested.clone();
        let line = digest::append(&mut last, &self.key, self.head, (name, occasion, self.clock.now()))?;
        let mut file = create(&digest::path(&self.options.dir))?;
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
            let _ = file.set_len(before);
            return Err(error);
        }
        self.digested = last;
        self.mark()
    }

    /// Keeps which digest is the last, if that is not what is kept.
    fn mark(&mut self) -> io::Result<()> {
        let mark = Mark::of(&self.digested);
        if self.marked != Some(mark) {
            self.keeper.write(mark)?;
            self.marked = Some(mark);
        }
        Ok(())
    }

    /// Removes the oldest segments: those whose time is over, and those for which there is no room. The last one stays.
    pub(super) fn prune(&mut self) -> io::Result<()> {
        let LogOptions { retention, max_bytes, .. } = self.options;
        let now = self.clock.now();
        let mut segments = Vec::new();
        for segment in Segment::list(&self.options.dir)? {
            let metadata = fs::metadata(&segment.path)?;
            let written = Timestamp::try_from(metadata.modified()?).unwrap_or(Timestamp::MAX);
            segments.push((segment, metadata.len(), written));
        }
        let mut total: u64 = segments.iter().map(|(_, length, _)| length).sum();
        segments.pop();
        for (segment, length, written) in segments {
            let is_over = retention
                .is_some_and(|retention| written <= now && now.duration_since(written).unsigned_abs() >= retention);
            if !is_over && max_bytes.is_none_or(|most| total <= most) {
                break;
            }
            fs::remove_file(&segment.path)?;
            total -= length;
            tracing::info!(segment = segment.name(), is_over, "removed the oldest segment of the audit log");
        }
        Ok(())
    }

    /// The number of the last line.
    pub(super) fn sequence(&self) -> u64 {
        self.head.sequence
    }
}

impl Open {
    fn create(segment: Segment) -> io::Result<Self> {
        let file = create(&segment.path)?;
        if let Some(dir) = segment.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        let length = file.metadata()?.len();
        Ok(Self { segment, file, length })
    }
}

fn create(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The last digest that is whole, and whether the one that was marked is among them. What a crash tore is cut off.
fn last_digest(options: &LogOptions, kept: KeptMark) -> io::Result<(LastDigest, bool)> {
    let lines = digest::read_lines(&options.dir)?;
    let mut length = 0;
    let mut last = LastDigest::NONE;
    let mut has_marked = kept == KeptMark::Never;
    for line in &lines {
        let Some(signed) = Signed::parse(line).filter(|_| line.ends_with(b"\n")) else {
            if line.ends_with(b"\n") {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of digests.jsonl is not a digest"));
            }
            OpenOptions::new().write(true).open(digest::path(&options.dir))?.set_len(length)?;
            break;
        };
        length += line.len() as u64;
        last = LastDigest { number: signed.digest.number, line_hash: signed.line_hash, link: signed.digest.link() };
        has_marked |= kept == KeptMark::At(Mark::of(&last));
    }
    Ok((last, has_marked))
}
