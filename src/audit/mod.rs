//! The audit: who did what to which key, bucket or object, in a log that nobody can change unseen.
//!
//! Protocols make an [`Event`] of each request, the key service's decorator (`kms::audited`) of each call that S3 makes on a
//! client's behalf; [`Audit`] numbers, chains and writes them (`chain`, `log`) in a thread of its own. `digest` signs how far
//! the log goes, `mark` keeps which digest was the last, `verify` checks it all, `search` answers questions from it.
//!
//! Events are about management, and written always, or about objects' data, and written if the operator wants it. Where the
//! operator says that the audit is required, a request is refused while events cannot be written, and a data key or a short
//! answer leaves the server only when its event is on stable storage.

// The LookupEvents API stands in a layer of its own, above `iam`.
pub mod api;

pub mod chain;
pub mod digest;
pub mod event;
mod log;
pub mod mark;
pub mod search;
pub mod segment;
pub mod sink;
pub mod verify;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::digest::Occasion;
use self::log::Log;
use self::mark::KeepMark;
use crate::clock::SharedClock;
use crate::crypto::pair::KeyPair;

pub use self::event::{
    Category, Event, Resource, ServiceOperation, SessionAttributes, SessionContext, SessionIssuer, UserIdentity,
    WebIdFederationData,
};
pub use self::log::{LogError, LogOptions};

/// Events that may wait to be written; beyond, requests wait, and events of those under way are lost.
const MAX_WAITING: usize = 10_000;
/// Events that are written at once.
const MAX_BATCH: usize = 512;
/// How long events gather before they are written, where nobody waits for one: a wake-up costs more than an event.
const GATHERING: Duration = Duration::from_millis(2);
/// How long a failing disk is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How the audit is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log.
    pub log: LogOptions,
    /// Whether events about objects' data are wanted.
    pub data_events: bool,
    /// Whether nothing may be done without its event.
    pub required: bool,
    /// How often a digest is made while there are events.
    pub digest_interval: Duration,
}

/// Takes events. Dropping the last holder ends the log well.
#[derive(Debug)]
pub struct Audit(Option<Running>);

/// The audit, as components share it.
pub type SharedAudit = Arc<Audit>;

#[derive(Debug)]
struct Running {
    queue: Option<mpsc::UnboundedSender<Job>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    dir: PathBuf,
    data_events: bool,
    required: bool,
}

#[derive(Debug)]
struct State {
    waiting: AtomicUsize,
    failing: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
    /// The number of the last line, for those who follow the log.
    head: watch::Sender<u64>,
}

#[derive(Debug)]
enum Job {
    /// An event as it is written: JSON, once for each account that it is told to.
    Event(Vec<Vec<u8>>, Option<oneshot::Sender<()>>),
    Flush(oneshot::Sender<()>),
}

/// An event could not be written, and the audit is required.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unavailable;

/// How the audit fares.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Events written since the start.
    pub written: u64,
    /// Events lost since the start, because the log could not be written.
    pub lost: u64,
    /// Events that wait to be written.
    pub waiting: usize,
    /// Whether the last write failed.
    pub failing: bool,
}

impl Audit {
    /// No audit: events are dropped.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the log; `key` (Ed25519) signs its digests, and `keeper` keeps which was the last.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(
        options: Options,
        key: KeyPair,
        keeper: Arc<dyn KeepMark>,
        clock: SharedClock,
    ) -> Result<Self, LogError> {
        let Options { log, data_events, required, digest_interval } = options;
        let dir = log.dir.clone();
        let failed = |source| LogError::Io { dir: dir.clone(), source };
        let log = Log::open(log, (key, keeper), clock)?;
        let state = Arc::new(State {
            waiting: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            head: watch::Sender::new(log.sequence()),
        });
        let (queue, jobs) = mpsc::unbounded_channel();
        let writer = Writer { log, jobs, state: Arc::clone(&state), digest_interval };
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(|| writer.run()).map_err(failed)?;
        Ok(Self(Some(Running { queue: Some(queue), state, thread: Some(thread), dir, data_events, required })))
    }

    /// Whether events of `category` are wanted. Those about data cost a line for each object that is read or written.
    pub fn wants(&self, category: Category) -> bool {
        self.0.as_ref().is_some_and(|running| category == Category::Management || running.data_events)
    }

    /// Before a request: waits while too many events do, and refuses if the audit is required and fails.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn admit(&self) -> Result<(), Unavailable> {
        let Some(running) = &self.0 else { return Ok(()) };
        while running.state.waiting.load(Ordering::Relaxed) >= MAX_WAITING && !running.state.is_failing() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if running.required && running.state.is_failing() { Err(Unavailable) } else { Ok(()) }
    }

    /// Whether an answer must wait for its event.
    pub fn is_required(&self) -> bool {
        self.0.as_ref().is_some_and(|running| running.required)
    }

    /// Takes an event, to be written soon.
    pub fn record(&self, event: Event) {
        if let Some(running) = &self.0 {
            running.send(event, None);
        }
    }

    /// Takes an event, and, if the audit is required, waits until it is written.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn record_surely(&self, event: Event) -> Result<(), Unavailable> {
        let Some(running) = &self.0 else { return Ok(()) };
        if !running.required {
            running.send(event, None);
            return Ok(());
        }
        let (written, done) = oneshot::channel();
        running.send(event, Some(written));
        done.await.map_err(|_| Unavailable)
    }

    /// Waits until all that was taken so far is written, or cannot be.
    pub async fn flush(&self) {
        let (written, done) = oneshot::channel();
        if let Some(queue) = self.0.as_ref().and_then(|running| running.queue.as_ref())
            && queue.send(Job::Flush(written)).is_ok()
        {
            let _ = done.await;
        }
    }

    /// Where the log is; `None` if there is no audit.
    pub fn dir(&self) -> Option<&Path> {
        self.0.as_ref().map(|running| running.dir.as_path())
    }

    /// The number of the last line, as it grows.
    pub fn head(&self) -> Option<watch::Receiver<u64>> {
        self.0.as_ref().map(|running| running.state.head.subscribe())
    }

    /// How it fares.
    pub fn figures(&self) -> Figures {
        self.0.as_ref().map_or_else(Figures::default, |Running { state, .. }| Figures {
            written: state.written.load(Ordering::Relaxed),
            lost: state.lost.load(Ordering::Relaxed),
            waiting: state.waiting.load(Ordering::Relaxed),
            failing: state.is_failing(),
        })
    }
}

impl Running {
    fn send(&self, event: Event, written: Option<oneshot::Sender<()>>) {
        // Without an answer, the one who waits learns that the event is lost.
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) >= 2 * MAX_WAITING {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            self.state.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // While the log fails nobody is kept waiting for it.
        let written = written.filter(|_| !self.state.is_failing());
        if let Some(queue) = &self.queue {
            // Rendered here, where all its pieces are in the processor's cache; the writer's processor would have to fetch each.
            let _ = queue.send(Job::Event(event.into_json(), written));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

/// The thread's side.
struct Writer {
    log: Log,
    jobs: mpsc::UnboundedReceiver<Job>,
    state: Arc<State>,
    digest_interval: Duration,
}

impl Writer {
    fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else {
            tracing::error!("the audit has no timer");
            return;
        };
        self.tend();
        let mut batch = Vec::new();
        let mut interval = runtime.block_on(async { tokio::time::interval(self.digest_interval) });
        // An interval begins with a tick, which has just been.
        interval.reset();
        loop {
            let taken = runtime.block_on(async {
                tokio::select! {
                    biased;
                    taken = self.jobs.recv_many(&mut batch, MAX_BATCH) => Some(taken),
                    _ = interval.tick() => None,
                }
            });
            match taken {
                Some(0) => break,
                Some(_) => {
                    let awaited = self.write(&mut batch);
                    if !awaited && self.jobs.len() < MAX_BATCH {
                        thread::sleep(GATHERING);
                    }
                }
                None => self.tend(),
            }
        }
        if let Err(error) = self.log.sign(Occasion::Stop) {
            tracing::error!(%error, "the audit log's end could not be signed");
        }
    }

    /// Writes a batch, and says whether somebody waited for it.
    fn write(&mut self, batch: &mut Vec<Job>) -> bool {
        let (mut events, mut waiters) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut count = 0;
        for job in batch.drain(..) {
            match job {
                Job::Event(texts, written) => {
                    count += 1;
                    events.extend(texts);
                    waiters.extend(written);
                }
                Job::Flush(flushed) => waiters.push(flushed),
            }
        }
        let awaited = !waiters.is_empty();
        if count > 0 && !self.append(&events, &mut waiters) {
            self.state.lost.fetch_add(count as u64, Ordering::Relaxed);
            self.state.waiting.fetch_sub(count, Ordering::Relaxed);
            return awaited;
        }
        self.state.written.fetch_add(count as u64, Ordering::Relaxed);
        self.state.waiting.fetch_sub(count, Ordering::Relaxed);
        self.state.head.send_replace(self.log.sequence());
        for waiter in waiters {
            let _ = waiter.send(());
        }
        awaited
    }

    /// Tries until it is written, or nobody is left who would send more. At the first failure those who wait are let go
    /// without an answer, which tells them.
    fn append(&mut self, events: &[Vec<u8>], waiters: &mut Vec<oneshot::Sender<()>>) -> bool {
        loop {
            let Err(error) = self.log.append(events) else {
                if self.state.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the audit log can be written again");
                }
                return true;
            };
            if !self.state.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "the audit log cannot be written");
            }
            waiters.clear();
            if self.jobs.is_closed() {
                return false;
            }
            thread::sleep(RETRY_AFTER);
        }
    }

    fn tend(&mut self) {
        if let Err(error) = self.log.sign(Occasion::Interval).and_then(|()| self.log.prune()) {
            tracing::error!(%error, "the audit log could not be tended");
        }
    }
}
