//! Carriers: what takes entries out of the outbox, lane by lane, until they are carried out. Steps 3 to 6 of the protocol of
//! [`crate::store::outbox`].
//!
//! Every lane with entries has one task. It reads on as soon as there is room, carries the entries of different object keys out
//! side by side and those of one key in order, and removes what was carried out when it was: an entry that takes long holds up
//! nothing but its key. Where an entry is not carried out, its key rests for a while, and what waits behind it under other keys
//! is gone on with: one message that its receiver never takes holds up no other. Only where nothing of a page's worth is carried
//! out, the lane rests: its receiver is down.
//!
//! What all lanes carry out at once is bounded, and goes round: a lane with little to do waits for no lane with much. A lane's
//! memory is bounded by the entries that it holds and the keys that may rest, whatever waits in the store.

mod rests;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use rests::{Rests, Turn};
use rows::Rows;

use crate::clock::SharedClock;
use crate::store::outbox::{self, Entry, Lane, Sequencer, Waiting, WatchRecord};
use crate::store::schema::Table;
use crate::store::{Batch, Partition, SharedStore, StoreError};
use crate::telemetry::metrics::CarriedLabels;
use crate::telemetry::{Metrics, outlive};

/// Entries that are read at once; keys of which as many fail, and nothing is carried out, are a receiver that is down.
const PAGE: usize = 128;
/// How often all watched buckets are looked through.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a lane rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_millis(500);
/// How long it rests at most. It may be that many are refused in a row and others are not.
const LONGEST_REST: Duration = Duration::from_secs(15);
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
    /// Lanes that may carry as much at once as they want: more share that.
    pub lanes: usize,
    /// Entries of one lane that are carried at once.
    pub at_once: usize,
    /// How long an entry is tried, at least: it is as old, and nothing of its key was carried out for as long.
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
    /// One for each key that is at work, in the order in which they ask.
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
            permits: Semaphore::new(limits.lanes.saturating_mul(limits.at_once).clamp(1, Semaphore::MAX_PERMITS)),
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
                round = outlive(C::KIND, self.carry_lane(bucket, lane, &mut rests, wake)) => round,
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

    /// Carries out what is in a lane and does not rest, as long as there is something.
    async fn carry_lane(
        &self,
        bucket: Partition,
        lane: Lane,
        rests: &mut Rests,
        wake: &Notify,
    ) -> Result<Round, StoreError> {
        let (mut rows, mut running) = (Rows::default(), FuturesUnordered::new());
        let (mut pass, mut paused, mut called) = (Pass::begin(), None, false);
        let (mut watch, mut crowded, mut round) = (None, false, Tried::default());
        loop {
            while !pass.is_over && !rows.is_ready() && running.len() < self.limits.at_once {
                let page = outbox::read_lane::<C::Entry>(&*self.store, bucket, lane, pass.after, PAGE).await?;
                pass.is_over = page.len() < PAGE;
                if let Some(last) = page.last().map(|last| last.sequence) {
                    self.sequencer.pass(last);
                    (pass.after, round.met) = (Some(last), true);
                    crowded = self.is_crowded(bucket).await?;
                    watch = Some(self.read_watch(bucket, watch).await?);
                }
                for waiting in page {
                    let key = waiting.entry.object().to_owned();
                    let Some(waiting) = rows.join(&key, waiting) else { continue };
                    if let Some(is_fresh) = pass.take(&key, rests) {
                        rows.begin(key, is_fresh, waiting);
                    }
                }
                if pass.is_over && pass.retries > 0 {
                    rests.drop_gone(pass.begun, rows.keys());
                }
                pass.is_over |= pass.is_full;
            }
            while running.len() < self.limits.at_once
                && let Some(watch) = &watch
                && let Some((key, is_fresh, entries)) = rows.next()
            {
                let since = rests.since(&key);
                let carry = self.carry_row(bucket, Arc::clone(watch), entries, crowded, since);
                running.push(async move { (key, is_fresh, carry.await) });
            }
            if running.len() < self.limits.at_once && !pass.is_over {
                continue;
            }
            if running.is_empty() {
                break;
            }
            let mut ended = Vec::new();
            if pass.is_over {
                // What takes long is waited for; what is new meanwhile, or has rested, goes on.
                let soonest = paused.unwrap_or(pass.begun);
                let next = if called {
                    soonest
                } else {
                    let rested = rests.first().map_or(pass.begun + SWEEP, |until| until.max(pass.begun + FIRST_REST));
                    rested.max(soonest)
                };
                tokio::select! {
                    Some(end) = running.next() => ended.push(end),
                    () = wake.notified(), if !called => called = true,
                    () = tokio::time::sleep_until(next) => {
                        if std::mem::take(&mut round.mended) {
                            rests.wake(Instant::now());
                        }
                        (pass, paused, called, round.failed) = (Pass::begin(), None, false, 0);
                        rows.reread();
                    }
                }
            } else {
                ended.extend(running.next().await);
            }
            while let Some(Some(end)) = running.next().now_or_never() {
                ended.push(end);
            }
            called |= self.settle(bucket, ended, &mut rows, rests, &mut round).await?;
            if round.failed >= PAGE {
                rows.drop_ready();
                pass.is_over = true;
                paused.get_or_insert_with(|| Instant::now() + CALLED_REST);
            }
        }
        if round.mended {
            rests.wake(Instant::now());
        }
        if called {
            // It was heard of, and not seen to.
            wake.notify_one();
        }
        Ok(round.outcome(rests.first()))
    }

    /// Removes what was carried out or given up, and notes what rests. Whether something that was left is to be read again.
    async fn settle(
        &self,
        bucket: Partition,
        ended: Vec<(String, bool, RowEnd<C::Entry>)>,
        rows: &mut Rows<C::Entry>,
        rests: &mut Rests,
        round: &mut Tried,
    ) -> Result<bool, StoreError> {
        let (mut removed, mut ends) = (Vec::new(), Vec::with_capacity(ended.len()));
        for (key, is_fresh, RowEnd { done, is_carried, failure }) in ended {
            ends.push((key, is_fresh, !done.is_empty(), is_carried, failure));
            removed.extend(done);
        }
        // Before their keys may be met again.
        if !removed.is_empty() {
            let _ = self.store.commit(bucket, outbox::remove(Batch::new(), &removed)).await?;
        }
        let mut left = false;
        for (key, is_fresh, is_done, is_carried, failure) in ends {
            left |= rows.end(&key, failure.is_none());
            if is_done {
                (round.carried, round.failed, round.failure) = (true, 0, None);
            }
            if is_carried || failure.is_none() {
                rests.forget(&key);
                round.mended |= !is_fresh;
            }
            let Some(why) = failure else { continue };
            rests.put_off(&key, Instant::now());
            // That what failed before fails again says nothing of what is behind it.
            if !is_fresh && !is_done {
                tracing::debug!(kind = C::KIND, why, "an entry of the outbox was not carried out again");
                continue;
            }
            round.failed += 1;
            if round.failure.is_none() {
                tracing::warn!(kind = C::KIND, why, "an entry of the outbox was not carried out");
                round.failure = Some(why);
            }
        }
        Ok(left)
    }

    /// Whether so much waits in the bucket that what fails is given up.
    async fn is_crowded(&self, bucket: Partition) -> Result<bool, StoreError> {
        let waiting = outbox::read_waiting(&*self.store, bucket, <C::Entry as Entry>::TABLE).await?;
        Ok(waiting.objects.unsigned_abs() > self.limits.max_waiting)
    }

    /// Who is watched: `known`, if it was read before.
    async fn read_watch(
        &self,
        bucket: Partition,
        known: Option<Arc<WatchRecord>>,
    ) -> Result<Arc<WatchRecord>, StoreError> {
        if let Some(known) = known {
            return Ok(known);
        }
        let watch = outbox::read_watch(&*self.store, bucket).await?;
        watch.map(Arc::new).ok_or_else(|| StoreError::Corrupt("an outbox that nobody watches".to_owned()))
    }

    /// Carries the entries of one object key out, in order, until one is not; `since`: since when they were not.
    async fn carry_row(
        &self,
        bucket: Partition,
        watch: Arc<WatchRecord>,
        row: Vec<Waiting<C::Entry>>,
        crowded: bool,
        since: Option<Instant>,
    ) -> RowEnd<C::Entry> {
        let mut end = RowEnd { done: Vec::with_capacity(row.len()), is_carried: false, failure: None };
        // They are never closed.
        let Ok(_permit) = self.permits.acquire().await else { return end };
        for waiting in row {
            let carried = outlive(C::KIND, self.carrier.carry(bucket, &watch, &waiting)).await;
            let outcome = match carried.unwrap_or_else(|| Carried::Later(PANICKED.to_owned())) {
                Carried::Done => {
                    end.is_carried = true;
                    "ok"
                }
                Carried::Never(why) => {
                    end.is_carried = true;
                    Self::tell_loss(&watch, &waiting, &why);
                    "failed"
                }
                Carried::Later(why) => {
                    self.count("retried");
                    let tried = since.filter(|_| !end.is_carried).map_or(Duration::ZERO, |since| since.elapsed());
                    if !crowded && (tried < self.limits.max_age || self.age(&waiting) < self.limits.max_age) {
                        end.failure = Some(why);
                        return end;
                    }
                    self.carrier.give_up(bucket, &watch, &waiting, &why).await;
                    Self::tell_loss(&watch, &waiting, &why);
                    "failed"
                }
            };
            self.count(outcome);
            end.done.push(waiting);
        }
        end
    }

    /// How long ago it was entered.
    fn age(&self, waiting: &Waiting<C::Entry>) -> Duration {
        let age = self.clock.now().as_millisecond().saturating_sub(waiting.entry.at());
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
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

/// Once through a lane, from its first entry. Whose turn it is not is passed by to its end: the later entries of a key must not
/// come before the earlier ones.
struct Pass {
    begun: Instant,
    /// The last entry that was read.
    after: Option<u64>,
    /// Whether nothing more is to be read.
    is_over: bool,
    /// How many that failed before may be tried again.
    retries: usize,
    /// Whether something was passed by that does not rest itself.
    is_full: bool,
}

impl Pass {
    fn begin() -> Self {
        Self { begun: Instant::now(), after: None, is_over: false, retries: PAGE, is_full: false }
    }

    /// Whether it is the turn of `key`; and then, whether it did not fail before.
    fn take(&mut self, key: &str, rests: &Rests) -> Option<bool> {
        match rests.turn(key, self.begun) {
            Turn::First => Some(true),
            Turn::Again => {
                self.retries = self.retries.checked_sub(1)?;
                Some(false)
            }
            Turn::Rests => None,
            Turn::Full => {
                self.is_full = true;
                None
            }
        }
    }
}

/// What became of a row.
struct RowEnd<E> {
    /// The entries that are done with.
    done: Vec<Waiting<E>>,
    /// Whether the carrier did with one what it had to.
    is_carried: bool,
    /// Why the next was not carried out.
    failure: Option<String>,
}

/// How the work on a lane goes.
#[derive(Default)]
struct Tried {
    /// Whether there was anything.
    met: bool,
    /// Whether anything is done with.
    carried: bool,
    /// Whether something that failed before was carried out.
    mended: bool,
    /// Keys that failed for the first time since something was last done with,
    failed: usize,
    /// and why the first of them did.
    failure: Option<String>,
}

impl Tried {
    fn outcome(self, rested: Option<Instant>) -> Round {
        match (self.failure, rested) {
            _ if !self.met => Round::Empty,
            (Some(why), _) if !self.carried || self.failed >= PAGE => Round::Failed(why),
            (_, Some(until)) if !self.carried => Round::Resting(until),
            _ => Round::Carried,
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
    /// As many as a page has, or all, were not carried out: why.
    Failed(String),
}
