//! Where the log's lines are sent as they are written: syslog, or a web hook.
//!
//! Each destination has a place in the log, kept in `cursors/NAME` beside it:
//!
//! 1. lines behind that place are read, some 256 KiB at once;
//! 2. they are delivered, again and again until the destination takes them. *A crash: they are delivered anew after the next
//!    start*;
//! 3. the place is moved behind them, durably. *A crash before: they are delivered twice. Never not at all.*
//!
//! Memory holds one batch, however long a destination is away: the log's files hold the rest. What the log's own limits remove
//! meanwhile is counted as skipped.

pub mod syslog;
pub mod webhook;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::chain::Line;
use super::segment::Follower;
use crate::crypto::{SharedEntropy, random};

/// Bytes of one batch.
const BATCH: usize = 256 * 1024;
/// How long lines gather before they are sent.
const GATHERING: Duration = Duration::from_millis(100);
/// How long after the first failure it is tried again; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why lines were not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The network, or what stands at its end.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The destination did not answer as it should.
    #[error("{0}")]
    Refused(String),
    /// The destination asks for patience.
    #[error("asked to wait {} s", .0.as_secs())]
    Later(Duration),
}

/// Takes the log's lines.
#[async_trait]
pub trait Destination: Send {
    /// Delivers lines, in their order. When it returns well, they have arrived as surely as the protocol can tell.
    ///
    /// # Errors
    /// [`DeliveryError`]: any of them may have arrived; all are delivered again.
    async fn deliver(&mut self, lines: &[Vec<u8>]) -> Result<(), DeliveryError>;
}

/// How a destination fares.
#[derive(Debug)]
pub struct SinkFigures {
    /// `syslog`, `webhook`.
    pub name: &'static str,
    head: watch::Receiver<u64>,
    position: AtomicU64,
    delivered: AtomicU64,
    failures: AtomicU64,
    skipped: AtomicU64,
    failing: AtomicBool,
}

impl SinkFigures {
    /// Events delivered since the start.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Attempts that failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Events that the log's limits removed before they could be delivered.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Events written to the log and not delivered yet.
    pub fn behind(&self) -> u64 {
        self.head.borrow().saturating_sub(self.position.load(Ordering::Relaxed))
    }

    /// Whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

/// Sends the log's lines to one destination.
pub struct Forwarder {
    dir: PathBuf,
    cursor: Cursor,
    destination: Box<dyn Destination>,
    head: watch::Receiver<u64>,
    figures: Arc<SinkFigures>,
    entropy: SharedEntropy,
}

impl Forwarder {
    /// Sends what stands in the log in `dir`, whose end is `head`, to the destination called `name`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(
        dir: &Path,
        name: &'static str,
        destination: Box<dyn Destination>,
        head: watch::Receiver<u64>,
        entropy: SharedEntropy,
    ) -> io::Result<Self> {
        let cursor = Cursor::open(dir, name)?;
        let figures = Arc::new(SinkFigures {
            name,
            head: head.clone(),
            position: AtomicU64::new(cursor.position),
            delivered: AtomicU64::default(),
            failures: AtomicU64::default(),
            skipped: AtomicU64::default(),
            failing: AtomicBool::default(),
        });
        Ok(Self { dir: dir.to_owned(), cursor, destination, head, figures, entropy })
    }

    /// How it fares.
    pub fn figures(&self) -> Arc<SinkFigures> {
        Arc::clone(&self.figures)
    }

    /// Sends until the audit has ended and all is sent.
    pub async fn run(mut self) {
        if self.cursor.position > *self.head.borrow() {
            tracing::warn!(
                sink = self.figures.name,
                "the log is not the one that was sent before: it is sent from its start"
            );
            self.cursor.position = 0;
        }
        let mut follower = Follower::after(&self.dir, self.cursor.position);
        loop {
            // A line that is written from here on wakes us.
            let ended = self.head.has_changed().is_err();
            self.head.mark_unchanged();
            let read = tokio::task::spawn_blocking(move || (follower.read(BATCH), follower)).await;
            let Ok((read, same)) = read else { return };
            follower = same;
            match read {
                Ok(lines) if lines.is_empty() => {
                    if ended {
                        return;
                    }
                    if self.head.changed().await.is_ok() {
                        tokio::time::sleep(GATHERING).await;
                    }
                }
                Ok(lines) => self.send(&lines, follower.position()).await,
                Err(error) => {
                    tracing::error!(sink = self.figures.name, %error, "the audit log cannot be read");
                    tokio::time::sleep(LONGEST_PAUSE).await;
                }
            }
        }
    }

    /// Delivers a batch, however long it takes, and moves the place in the log behind it.
    async fn send(&mut self, lines: &[Vec<u8>], last: u64) {
        let (name, figures) = (self.figures.name, Arc::clone(&self.figures));
        if let Some(first) = lines.first().and_then(|line| Line::parse(line)) {
            let missing = first.sequence.saturating_sub(self.cursor.position + 1);
            if missing > 0 {
                figures.skipped.fetch_add(missing, Ordering::Relaxed);
                tracing::error!(
                    sink = name,
                    missing,
                    "events were removed from the audit log before they could be sent"
                );
            }
        }
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.destination.deliver(lines).await {
            figures.failures.fetch_add(1, Ordering::Relaxed);
            if !figures.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(sink = name, %error, "events cannot be sent; they are kept and tried again");
            }
            let asked = if let DeliveryError::Later(asked) = error { asked } else { Duration::ZERO };
            tokio::time::sleep(self.jittered(pause).max(asked)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if figures.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(sink = name, "events can be sent again");
        }
        figures.delivered.fetch_add(lines.len() as u64, Ordering::Relaxed);
        figures.position.store(last, Ordering::Relaxed);
        if let Err(error) = self.cursor.advance(last) {
            // What was sent is then sent again after a restart.
            tracing::error!(sink = name, %error, "the place in the audit log cannot be kept");
        }
    }

    /// Between three and five quarters of `pause`, so that servers do not come back all at once.
    fn jittered(&self, pause: Duration) -> Duration {
        let [byte] = random::bytes::<1>(&*self.entropy);
        pause.mul_f64(0.75 + f64::from(byte) / 512.0)
    }
}

/// A place in the log that survives the server.
struct Cursor {
    path: PathBuf,
    /// The number of the last line that was delivered.
    position: u64,
}

impl Cursor {
    fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let directory = dir.join("cursors");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = directory.join(name);
        let position = match fs::read_to_string(&path) {
            // One that cannot be read: better everything again than something not at all.
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { path, position })
    }

    fn advance(&mut self, position: u64) -> io::Result<()> {
        self.position = position;
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(format!("{position}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

#[cfg(test)]
mod tests;
