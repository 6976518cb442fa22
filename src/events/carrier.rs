//! Carriers: what takes entries out of the outbox, lane by lane, until they are carried out. Steps 3 to 6 of the protocol of
//! [`crate::store::outbox`].
//!
//! Every lane with entries has one task. It reads a page, carries the entries of different object keys out side by side and
//! those of one key in order, removes what was carried out, and rests for a while if something was not. Memory is bounded by
//! the number of pages that may be at work at once, whatever waits in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::clock::SharedClock;
use crate::store::outbox::{self, Entry, Lane, Sequencer, Waiting, WatchRecord};
use crate::store::schema::Table;
use crate::store::{Batch, Partition, SharedStore, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::CarriedLabels;

/// Entries of a page.
const PAGE: usize = 128;
/// How often all watched buckets are looked through.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a lane rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_millis(500);
/// How long it rests at most.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What became of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Carried {
    /// It was carried out.
    Done,
    /// It was not, and will be tried again: why.
    Later(String),
    /// It was not, and never will be; whoever must know has been told: why.
    Never(String),
}

/// Carries entries of one kind out.
#[async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// What it carries.
    type Entry: Entry;

    /// What entries are called in the log and the metrics.
    const KIND: &'static str;

    /// Carries one entry of `bucket` out.
    async fn carry(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<Self::Entry>) -> Carried;

    /// Is told of an entry that was tried for too long and is now removed.
    async fn give_up(&self, _bucket: Partition, _watch: &WatchRecord, _waiting: &Waiting<Self::Entry>, _why: &str) {}
}

/// How much is done at once, and how long what fails is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lanes at work at once.
    pub lanes: usize,
    /// Entries of one lane that are carried at once.
    pub at_once: usize,
    /// How long an entry is tried.
    pub max_age: Duration,
    /// Entries of one bucket beyond which the oldest of a lane that fails are given up.
    pub max_waiting: u64,
}

/// The lanes of one kind, and their tasks.
pub struct Carriers<C: Carrier> {
    carrier: C,
    store: SharedStore,
    clock: SharedClock,
    sequencer: Arc<Sequencer>,
    metrics: Arc<Metrics>,
    limits: Limits,
    permits: Semaphore,
    lanes: Mutex<HashMap<(Partition, Lane), LaneTask>>,
    /// Says when to stop.
    closed: watch::Sender<bool>,
}

/// A lane at work.
struct LaneTask {
    /// Whether it was called since it last looked.
    called: bool,
    task: JoinHandle<()>,
}

impl<C: Carrier> Carriers<C> {
    /// The carriers of the entries in `store`. Nothing is carried before [`Self::start`].
    pub fn new(
        carrier: C,
        store: SharedStore,
        clock: SharedClock,
        sequencer: Arc<Sequencer>,
        metrics: Arc<Metrics>,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            store,
            clock,
            sequencer,
            metrics,
            limits,
            permits: Semaphore::new(limits.lanes),
            lanes: Mutex::default(),
            closed: watch::channel(false).0,
        })
    }

    /// What carries.
    pub fn carrier(&self) -> &C {
        &self.carrier
    }

    /// Starts to look through the watched buckets: at once, and now and then.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let (carriers, mut closed) = (Arc::clone(self), self.closed.subscribe());
        tokio::spawn(async move {
            loop {
                if let Err(error) = carriers.sweep().await {
                    tracing::error!(kind = C::KIND, %error, "the outbox could not be looked through");
                }
                tokio::select! {
                    () = tokio::time::sleep(SWEEP) => {}
                    _ = closed.wait_for(|closed| *closed) => return,
                }
            }
        })
    }

    /// Has the lane looked at: something may wait there.
    pub fn call(self: &Arc<Self>, bucket: Partition, lane: Lane) {
        if *self.closed.borrow() {
            return;
        }
        let mut lanes = self.lanes();
        if let Some(task) = lanes.get_mut(&(bucket, lane)) {
            task.called = true;
            return;
        }
        let carriers = Arc::clone(self);
        let task = tokio::spawn(async move { carriers.work(bucket, lane).await });
        lanes.insert((bucket, lane), LaneTask { called: false, task });
    }

    /// At the server's end: lets every lane come to rest.
    pub async fn close(&self) {
        self.closed.send_replace(true);
        let tasks: Vec<LaneTask> = self.lanes().drain().map(|(_, task)| task).collect();
        for lane in tasks {
            if let Err(error) = lane.task.await {
                tracing::error!(kind = C::KIND, %error, "a lane did not end well");
            }
        }
    }

    /// Calls every lane that has entries, and ends the watch over what is gone and empty.
    async fn sweep(self: &Arc<Self>) -> Result<(), StoreError> {
        let (mut entries, mut bytes) = (0, 0);
        for (bucket, _) in outbox::read_watches(&*self.store).await? {
            let waiting = outbox::read_waiting(&*self.store, bucket, <C::Entry as Entry>::TABLE).await?;
            entries += waiting.objects;
            bytes += waiting.bytes;
            if waiting.objects > 0 {
                for lane in outbox::read_lanes(&*self.store, bucket, <C::Entry as Entry>::TABLE).await? {
                    self.call(bucket, lane);
                }
            } else if self.is_gone(bucket).await? {
                outbox::unwatch(&*self.store, bucket).await?;
            }
        }
        self.metrics.show_waiting(C::KIND, entries, bytes);
        Ok(())
    }

    /// Whether the bucket takes no writes any more, and nothing of any kind waits.
    async fn is_gone(&self, bucket: Partition) -> Result<bool, StoreError> {
        // A bucket that is being deleted may yet come back.
        if self.store.get(bucket, &[Table::Live as u8]).await?.is_some() {
            return Ok(false);
        }
        for table in [Table::Event, Table::Replication] {
            if outbox::read_waiting(&*self.store, bucket, table).await?.objects > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Works on a lane until nothing waits there.
    async fn work(self: Arc<Self>, bucket: Partition, lane: Lane) {
        let mut closed = self.closed.subscribe();
        let mut rest = FIRST_REST;
        loop {
            // A lane that is interrupted leaves its entries where they are.
            let page = tokio::select! {
                page = self.carry_page(bucket, lane) => page,
                _ = closed.wait_for(|closed| *closed) => return,
            };
            let failed = match page {
                Ok(Page::Empty) => {
                    let mut lanes = self.lanes();
                    match lanes.get_mut(&(bucket, lane)) {
                        Some(task) if task.called => task.called = false,
                        _ => {
                            lanes.remove(&(bucket, lane));
                            return;
                        }
                    }
                    continue;
                }
                Ok(Page::Carried) => None,
                Ok(Page::Failed(why)) => Some(why),
                Err(error) => Some(error.to_string()),
            };
            let Some(why) = failed else {
                rest = FIRST_REST;
                continue;
            };
            tracing::warn!(
                kind = C::KIND,
                why,
                rest_ms = rest.as_millis(),
                "an entry of the outbox was not carried out"
            );
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                _ = closed.wait_for(|closed| *closed) => return,
            }
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    /// Carries the first page of a lane out.
    async fn carry_page(self: &Arc<Self>, bucket: Partition, lane: Lane) -> Result<Page, StoreError> {
        let Ok(_permit) = self.permits.acquire().await else { return Ok(Page::Empty) };
        let page = outbox::read_lane::<C::Entry>(&*self.store, bucket, lane, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Page::Empty) };
        self.sequencer.pass(last.sequence);
        let watch = outbox::read_watch(&*self.store, bucket).await?;
        let watch = watch.ok_or_else(|| StoreError::Corrupt("an outbox that nobody watches".to_owned()))?;

        let crowded =
            outbox::read_waiting(&*self.store, bucket, <C::Entry as Entry>::TABLE).await?.objects.unsigned_abs()
                > self.limits.max_waiting;
        let mut by_key: BTreeMap<String, Vec<Waiting<C::Entry>>> = BTreeMap::new();
        for waiting in page {
            by_key.entry(waiting.entry.object().to_owned()).or_default().push(waiting);
        }
        let mut done = Vec::new();
        let mut failure = None;
        let rows: Vec<_> =
            by_key.into_values().map(|row| self.carry_row(bucket, &watch, row, crowded).boxed()).collect();
        let mut rows = stream::iter(rows).buffer_unordered(self.limits.at_once);
        while let Some((carried, failed)) = rows.next().await {
            done.extend(carried);
            failure = failure.or(failed);
        }
        drop(rows);
        if !done.is_empty() {
            let _ = self.store.commit(bucket, outbox::remove(Batch::new(), &done)).await?;
        }
        Ok(failure.map_or(Page::Carried, Page::Failed))
    }

    /// Carries the entries of one object key out, in order: those that are done with, and why the next is not.
    async fn carry_row(
        &self,
        bucket: Partition,
        watch: &WatchRecord,
        row: Vec<Waiting<C::Entry>>,
        crowded: bool,
    ) -> (Vec<Waiting<C::Entry>>, Option<String>) {
        let mut done = Vec::with_capacity(row.len());
        for waiting in row {
            let outcome = match self.carrier.carry(bucket, watch, &waiting).await {
                Carried::Done => "ok",
                Carried::Never(why) => {
                    Self::tell_loss(watch, &waiting, &why);
                    "failed"
                }
                Carried::Later(why) => {
                    self.count("retried");
                    let age = self.clock.now().as_millisecond().saturating_sub(waiting.entry.at());
                    if !crowded && age < i64::try_from(self.limits.max_age.as_millis()).unwrap_or(i64::MAX) {
                        return (done, Some(why));
                    }
                    self.carrier.give_up(bucket, watch, &waiting, &why).await;
                    Self::tell_loss(watch, &waiting, &why);
                    "failed"
                }
            };
            self.count(outcome);
            done.push(waiting);
        }
        (done, None)
    }

    /// The log is where what was given up can be found again.
    fn tell_loss(watch: &WatchRecord, waiting: &Waiting<C::Entry>, why: &str) {
        let entry = &waiting.entry;
        let (bucket, key, destination) = (&watch.bucket, entry.object(), entry.destination());
        tracing::error!(kind = C::KIND, bucket, key, destination, why, "an entry of the outbox was given up");
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.carried.get_or_create(&CarriedLabels { kind: C::KIND, outcome }).inc();
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<(Partition, Lane), LaneTask>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a page.
enum Page {
    /// Nothing waited.
    Empty,
    /// All of it was carried out.
    Carried,
    /// Some of it was not: why.
    Failed(String),
}
