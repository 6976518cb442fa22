//! Carriers: what takes entries out of the outbox, lane by lane, until they are carried out. Steps 3 to 6 of the protocol of
//! [`crate::store::outbox`].
//!
//! Every lane with entries has one task. It reads page by page, carries the entries of different object keys out side by side and
//! those of one key in order, and removes what was carried out. Where an entry is not, its key rests for a while, and what waits
//! behind it under other keys is gone on with: one message that its receiver never takes holds up no other. Only where nothing
//! of a page is carried out, the lane rests: its receiver is down. Memory is bounded by the number of pages that may be at work
//! at once and of keys that may rest, whatever waits in the store.

mod rests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use rests::{Rests, Turn};

use crate::clock::SharedClock;
use crate::store::outbox::{self, Entry, Lane, Sequencer, Waiting, WatchRecord};
use crate::store::schema::Table;
use crate::store::{Batch, Partition, SharedStore, StoreError};
use crate::telemetry::metrics::CarriedLabels;
use crate::telemetry::{Metrics, outlive};

/// Entries of a page.
const PAGE: usize = 128;
/// How often all watched buckets are looked through.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a lane rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_millis(500);
/// How long it rests at most.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How long it rests where something new waits: that may be carried out where what is older was not.
const CALLED_REST: Duration = Duration::from_secs(2);
/// What is told of an entry whose carrier panicked.
const PANICKED: &str = "its carrier panicked";

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
    /// Has it look before its rest is over.
    wake: Arc<Notify>,
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
                if let Some(Err(error)) = outlive(C::KIND, carriers.sweep()).await {
                    tracing::error!(kind = C::KIND, %error, "the outbox could not be looked through");
                }
                tokio::select! {
                    () = tokio::time::sleep(SWEEP) => {}
                    _ = closed.wait_for(|closed| *closed) => return,
                }
            }
        })
    }

    /// Has the lane looked at: something new waits there.
    pub fn call(self: &Arc<Self>, bucket: Partition, lane: Lane) {
        self.look_at(bucket, lane, true);
    }

    /// Has the lane looked at, if it is resting too, where `is_new`.
    fn look_at(self: &Arc<Self>, bucket: Partition, lane: Lane, is_new: bool) {
        if *self.closed.borrow() {
            return;
        }
        let mut lanes = self.lanes();
        if let Some(task) = lanes.get_mut(&(bucket, lane)) {
            task.called = true;
            if is_new {
                task.wake.notify_one();
            }
            return;
        }
        let (carriers, wake) = (Arc::clone(self), Arc::new(Notify::new()));
        let woken = Arc::clone(&wake);
        let task = tokio::spawn(async move { carriers.work(bucket, lane, &woken).await });
        lanes.insert((bucket, lane), LaneTask { called: false, wake, task });
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
        let watches = outbox::read_watches(&*self.store).await?;
        if !watches.is_empty()
            && let Err(error) = self.sequencer.keep(&*self.store, self.clock.now()).await
        {
            tracing::error!(kind = C::KIND, %error, "how far the outbox is numbered could not be kept");
        }
        for (bucket, _) in watches {
            let waiting = outbox::read_waiting(&*self.store, bucket, <C::Entry as Entry>::TABLE).await?;
            entries += waiting.objects;
            bytes += waiting.bytes;
            if waiting.objects > 0 {
                for lane in outbox::read_lanes(&*self.store, bucket, <C::Entry as Entry>::TABLE).await? {
                    self.look_at(bucket, lane, false);
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
    async fn work(self: Arc<Self>, bucket: Partition, lane: Lane, wake: &Notify) {
        let mut closed = self.closed.subscribe();
        let (mut rest, mut rests) = (FIRST_REST, Rests::default());
        loop {
            // A lane that is interrupted leaves its entries where they are.
            let round = tokio::select! {
                round = outlive(C::KIND, self.carry_lane(bucket, lane, &mut rests)) => round,
                _ = closed.wait_for(|closed| *closed) => return,
            };
            let why = match round {
                Some(Ok(Round::Empty)) => {
                    rests.clear();
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
                Some(Ok(Round::Carried)) => {
                    rest = FIRST_REST;
                    continue;
                }
                Some(Ok(Round::Resting(until))) => {
                    let until = until.max(Instant::now() + FIRST_REST);
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = wake.notified() => {}
                        _ = closed.wait_for(|closed| *closed) => return,
                    }
                    continue;
                }
                Some(Ok(Round::Failed(why))) => why,
                Some(Err(error)) => error.to_string(),
                None => PANICKED.to_owned(),
            };
            tracing::warn!(kind = C::KIND, why, rest_ms = rest.as_millis(), "a lane of the outbox rests");
            let soonest = Instant::now() + rest.min(CALLED_REST);
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = async {
                    wake.notified().await;
                    tokio::time::sleep_until(soonest).await;
                } => {}
                _ = closed.wait_for(|closed| *closed) => return,
            }
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    /// Carries out what is in a lane and does not rest, page by page from the first entry.
    async fn carry_lane(&self, bucket: Partition, lane: Lane, rests: &mut Rests) -> Result<Round, StoreError> {
        let mut turns = Turns { rests, now: Instant::now(), retries: PAGE, mended: false, full: false };
        let (mut after, mut carried) = (None, false);
        loop {
            let Ok(_permit) = self.permits.acquire().await else { return Ok(Round::Empty) };
            let page = outbox::read_lane::<C::Entry>(&*self.store, bucket, lane, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            let Some(last) = page.last().map(|last| last.sequence) else { break };
            self.sequencer.pass(last);
            after = Some(last);
            let done = self.carry_page(bucket, page, &mut turns).await?;
            carried |= done.carried;
            if let Some(why) = done.failure.filter(|_| !done.carried) {
                return Ok(Round::Failed(why));
            }
            if is_last && turns.retries > 0 {
                turns.rests.drop_gone(turns.now);
            }
            if is_last || turns.full {
                break;
            }
        }
        if turns.mended {
            rests.wake(Instant::now());
        }
        Ok(match (after, rests.first()) {
            (None, _) => Round::Empty,
            (Some(_), Some(until)) if !carried => Round::Resting(until),
            _ => Round::Carried,
        })
    }

    /// Carries out what does not rest of a page.
    async fn carry_page(
        &self,
        bucket: Partition,
        page: Vec<Waiting<C::Entry>>,
        turns: &mut Turns<'_>,
    ) -> Result<Done, StoreError> {
        let watch = outbox::read_watch(&*self.store, bucket).await?;
        let watch = watch.ok_or_else(|| StoreError::Corrupt("an outbox that nobody watches".to_owned()))?;

        let crowded =
            outbox::read_waiting(&*self.store, bucket, <C::Entry as Entry>::TABLE).await?.objects.unsigned_abs()
                > self.limits.max_waiting;
        let mut by_key: BTreeMap<String, Vec<Waiting<C::Entry>>> = BTreeMap::new();
        for waiting in page {
            by_key.entry(waiting.entry.object().to_owned()).or_default().push(waiting);
        }
        let mut rows = Vec::with_capacity(by_key.len());
        for (key, row) in by_key {
            let Some(is_fresh) = turns.take(&key) else { continue };
            let carry = self.carry_row(bucket, &watch, row, crowded);
            rows.push(async move { (key, is_fresh, carry.await) }.boxed());
        }
        let (mut removed, mut failed) = (Vec::new(), 0_usize);
        let mut done = Done::default();
        let mut rows = stream::iter(rows).buffer_unordered(self.limits.at_once);
        while let Some((key, is_fresh, (carried, failure))) = rows.next().await {
            done.carried |= !carried.is_empty();
            removed.extend(carried);
            let Some(why) = failure else {
                turns.rests.forget(&key);
                turns.mended |= !is_fresh;
                continue;
            };
            failed += 1;
            turns.rests.put_off(key, Instant::now());
            // That what failed before fails again says nothing of what is behind it.
            if is_fresh {
                done.failure.get_or_insert(why);
            } else {
                tracing::debug!(kind = C::KIND, why, "an entry of the outbox was not carried out again");
            }
        }
        drop(rows);
        if let Some(why) = &done.failure {
            tracing::warn!(kind = C::KIND, why, failed, "an entry of the outbox was not carried out");
        }
        if !removed.is_empty() {
            let _ = self.store.commit(bucket, outbox::remove(Batch::new(), &removed)).await?;
        }
        Ok(done)
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
            let carried = outlive(C::KIND, self.carrier.carry(bucket, watch, &waiting)).await;
            let outcome = match carried.unwrap_or_else(|| Carried::Later(PANICKED.to_owned())) {
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

/// Whose turn it is in one round through a lane. What is passed by once is passed by to the round's end: its later entries must
/// not come before the earlier ones.
struct Turns<'r> {
    rests: &'r mut Rests,
    /// When the round was begun.
    now: Instant,
    /// How many that failed before may be tried again.
    retries: usize,
    /// Whether something that failed before was carried out.
    mended: bool,
    /// Whether something was passed by that does not rest itself.
    full: bool,
}

impl Turns<'_> {
    /// Whether it is the turn of `key`; and then, whether it did not fail before.
    fn take(&mut self, key: &str) -> Option<bool> {
        match self.rests.turn(key, self.now) {
            Turn::First => Some(true),
            Turn::Again => {
                self.retries = self.retries.checked_sub(1)?;
                Some(false)
            }
            Turn::Rests => None,
            Turn::Full => {
                self.full = true;
                None
            }
        }
    }
}

/// What became of the entries of a lane.
enum Round {
    /// Nothing waited.
    Empty,
    /// Some were carried out, or all that were there.
    Carried,
    /// None was carried out: those that are there rest, the first of them until then.
    Resting(Instant),
    /// A page of which none was carried out: why.
    Failed(String),
}

/// What became of a page.
#[derive(Default)]
struct Done {
    /// Whether anything was carried out.
    carried: bool,
    /// Why something was not that had not failed before.
    failure: Option<String>,
}
