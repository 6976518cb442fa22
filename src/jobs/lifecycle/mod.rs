//! Life cycles: what a bucket's rules say is over goes, and what is to be of another storage class becomes so, in the background.
//!
//! All that can become due becomes so at midnight, or by a configuration. So a **pass** over a bucket is begun when its last one
//! was begun before the last midnight (or after now, by a clock that was set back since), or by another configuration:
//! 1. its record is committed. *Crash: it is taken up again.*
//! 2. versions are looked at, page by page in the order of their keys; what is due goes, each in one atomic commit that expects
//!    what was judged: an object that is written meanwhile does not die for its predecessor, nor a version that became current
//!    again for having been noncurrent, and what is locked stays. A transition changes the record's storage class alone, in such
//!    a commit. What is not replicated yet is left for another day. Before each page, the configuration is looked at again: if it
//!    was deleted or replaced, the pass is over.
//! 3. after each page the record gets the last key that is done with. *Crash between 2 and 3, or a store that is too full for the
//!    longer record: the page is looked at again; what is gone is gone.*
//! 4. open uploads, likewise.
//! 5. the record says that the pass is done.
//!
//! Objects are looked at and removed at bounded rates ([`Rates`]), in one bucket after another: a pass that is not done after a
//! while (`SLICE`) is gone on with when the other buckets have had their turn.

mod calendar;
mod cursor;
mod judge;
mod rules;
mod sweep;
mod transition;

use std::sync::{Arc, Weak};
use std::time::Duration;

pub use calendar::Calendar;
pub use rules::{Due, Expiration, Filter, Form, Noncurrent, Rule, Rules, Subject};
pub use transition::{NoncurrentTransition, Transition, TransitionClass, When};

use cursor::{Pass, Stage};

use crate::clock::SharedClock;
use crate::crypto::SharedEntropy;
use crate::events::Announce;
use crate::store::configuration::read_configuration;
use crate::store::cursor::{put_cursor, read_cursor};
use crate::store::schema::{BucketRecord, ConfigurationKind, CursorKind};
use crate::store::{SharedStore, StoreError, commit};
use crate::telemetry::{Metrics, outlive};

/// Buckets read from the index at once.
const BUCKETS: usize = 256;

/// How long a bucket has its turn where others may wait.
const SLICE: Duration = Duration::from_secs(30);

/// Reads the rules of a kept configuration; `None` if it is none.
pub type ReadRules = fn(&str) -> Option<Rules>;

/// How much may be done.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Versions and uploads looked at each second.
    pub examined_per_second: u32,
    /// Versions and uploads removed each second.
    pub removed_per_second: u32,
}

/// The life cycles of all buckets.
pub struct Lifecycle {
    store: SharedStore,
    clock: SharedClock,
    entropy: SharedEntropy,
    metrics: Arc<Metrics>,
    read_rules: ReadRules,
    calendar: Calendar,
    rates: Rates,
    slice: Duration,
    /// Who says what is to be told of what goes; nobody, in tests.
    announcer: Option<Weak<dyn Announce>>,
}

impl Lifecycle {
    /// The life cycles on `store`, by days of `calendar`.
    pub fn new(
        store: SharedStore,
        (clock, entropy): (SharedClock, SharedEntropy),
        metrics: Arc<Metrics>,
        read_rules: ReadRules,
        calendar: Calendar,
        rates: Rates,
    ) -> Self {
        Self { store, clock, entropy, metrics, read_rules, calendar, rates, slice: SLICE, announcer: None }
    }

    /// With `announcer`, who says what is to be told of what goes.
    #[must_use]
    pub fn announced_by(self, announcer: Weak<dyn Announce>) -> Self {
        Self { announcer: Some(announcer), ..self }
    }

    /// Tends all buckets every `interval`, for ever. It may be dropped at any time.
    pub async fn run(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(Err(error)) = outlive("lifecycle", self.tend()).await {
                tracing::error!(%error, "life cycles could not be tended");
            }
        }
    }

    /// Makes, or goes on with, the pass of every bucket that needs one.
    ///
    /// # Errors
    /// [`StoreError`], if the buckets cannot be read. What goes wrong in one of them is logged.
    pub async fn tend(&self) -> Result<(), StoreError> {
        while self.take_turns().await? {}
        Ok(())
    }

    /// Gives every bucket its turn; whether one needs another.
    async fn take_turns(&self) -> Result<bool, StoreError> {
        let (mut after, mut unfinished) = (String::new(), false);
        loop {
            let page = commit::read_buckets(&*self.store, &after, BUCKETS).await?;
            let Some((last, _)) = page.last() else { return Ok(unfinished) };
            after.clone_from(last);
            for (name, bucket) in page {
                match outlive(&name, self.tend_bucket(&name, &bucket)).await {
                    Some(Ok(worked)) => unfinished |= worked == Worked::Paused,
                    Some(Err(error)) => tracing::error!(bucket = name, %error, "a life cycle was interrupted"),
                    None => {}
                }
            }
        }
    }

    async fn tend_bucket(&self, name: &str, bucket: &BucketRecord) -> Result<Worked, StoreError> {
        let kept = read_configuration(&*self.store, bucket, ConfigurationKind::Lifecycle, None).await?;
        let Some(kept) = kept else { return Ok(Worked::Done) };
        let now = self.clock.now().as_millisecond();
        let begun: Option<Pass> = read_cursor(&*self.store, bucket, CursorKind::Lifecycle, "").await?;
        let pass = match begun.filter(|pass| pass.configured == kept.modified) {
            Some(pass) if pass.stage != Stage::Done => pass,
            // A pass that was begun when the clock was ahead says nothing of today.
            Some(pass) if (self.calendar.midnight_before(now)..=now).contains(&pass.begun) => return Ok(Worked::Done),
            _ => Pass::begin(now, kept.modified),
        };
        let Some(rules) = (self.read_rules)(&kept.document) else {
            return Err(StoreError::Corrupt("life-cycle configuration".to_owned()));
        };
        let mut sweep = sweep::Sweep::new(self, (name, bucket), &rules, pass);
        if let Checkpoint::Gone = sweep.checkpoint().await? {
            return Ok(Worked::Gone);
        }
        let worked = sweep.work().await?;
        let counts = sweep.counts();
        if counts.removed > 0 || counts.transitioned > 0 || counts.failed > 0 || counts.locked > 0 {
            tracing::info!(
                bucket = name,
                done = worked == Worked::Done,
                examined = counts.examined,
                removed = counts.removed,
                transitioned = counts.transitioned,
                locked = counts.locked,
                failed = counts.failed,
                "a life cycle was tended"
            );
        }
        Ok(worked)
    }

    async fn keep(&self, bucket: &BucketRecord, pass: &Pass) -> Result<Checkpoint, StoreError> {
        match put_cursor(&*self.store, bucket, CursorKind::Lifecycle, "", pass).await {
            Ok(true) => Ok(Checkpoint::Yes),
            Ok(false) => Ok(Checkpoint::Gone),
            // What is removed makes the room that the record needs.
            Err(StoreError::NoSpace) => Ok(Checkpoint::NoSpace),
            Err(error) => Err(error),
        }
    }
}

/// How far a pass came in its turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Worked {
    /// There is nothing left to do today.
    Done,
    /// Its time was over.
    Paused,
    /// The bucket is gone or going, or the configuration is not what it was: there is nothing left to do.
    Gone,
}

/// Whether it is recorded how far a pass is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Checkpoint {
    Yes,
    /// The store is full.
    NoSpace,
    /// The bucket is gone or going.
    Gone,
}

#[cfg(test)]
mod tests;
