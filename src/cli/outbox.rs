//! The outbox's carriers, from the configuration: where events go, and what is replicated to.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::SharedClock;
use crate::config::Config;
use crate::events::{Carriers, EventCarrier, Limits, Targets, target};
use crate::s3::S3;
use crate::s3::replication::{self, Pace, Remote, Replicator};
use crate::s3::{Outboxes, SharedOutboxes};
use crate::sse::Sse;
use crate::store::outbox::Sequencer;
use crate::store::{SharedStore, StoreError};
use crate::telemetry::Metrics;

/// Events that are sent at once: so many of each lane, and of all together as many as so many lanes may.
const EVENTS_AT_ONCE: (usize, usize) = (32, 8);
/// Destinations that may have as many objects under way as `replication.at_once` says: more share that.
const DESTINATIONS_AT_ONCE: usize = 16;

/// Something that is configured cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboxError {
    #[error(transparent)]
    Target(#[from] target::Unusable),
    #[error(transparent)]
    Destination(#[from] replication::Unusable),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The carriers at work.
pub(super) struct Outbox {
    events: Arc<Carriers<EventCarrier>>,
    replications: Arc<Carriers<Replicator>>,
    sweeps: [JoinHandle<()>; 2],
    /// Tells of replications that wait for too long.
    thresholds: JoinHandle<()>,
}

/// What the carriers are made of.
pub(super) struct Parts<'p> {
    pub config: &'p Config,
    pub store: SharedStore,
    pub sse: Arc<Sse>,
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
}

fn hours(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3600)
}

/// What S3 enters into, and the carriers of events behind it.
pub(super) async fn open(parts: &Parts<'_>) -> Result<SharedOutboxes, OutboxError> {
    let options = &parts.config.notifications;
    let mut targets = Targets::default();
    for option in &options.targets {
        let accounts = option.accounts.iter().map(ToString::to_string).collect();
        targets.add(&option.arn, accounts, target::open(option)?);
    }
    let (targets, sequencer) = (Arc::new(targets), Arc::new(Sequencer::default()));
    sequencer.recover(&*parts.store).await?;
    let region = parts.config.region.to_string();
    let carrier = EventCarrier { targets: Arc::clone(&targets), sse: Arc::clone(&parts.sse), region };
    let limits = Limits {
        lanes: EVENTS_AT_ONCE.0,
        at_once: EVENTS_AT_ONCE.1,
        max_age: hours(options.max_age_hours),
        max_waiting: options.max_waiting.into(),
    };
    let (store, clock) = (Arc::clone(&parts.store), Arc::clone(&parts.clock));
    let events = Carriers::new(carrier, store, clock, Arc::clone(&sequencer), Arc::clone(&parts.metrics), limits);
    Ok(Arc::new(Outboxes { targets, sequencer, events, replications: OnceLock::new() }))
}

impl Outbox {
    /// Starts the carriers: those of replications work with `s3` itself.
    pub fn start(parts: &Parts<'_>, outboxes: &SharedOutboxes, s3: Arc<S3>) -> Result<Self, OutboxError> {
        let options = &parts.config.replication;
        let pace = Arc::new(Pace::new(options.max_mib_per_second));
        let remotes = options.destinations.iter();
        let remotes = remotes.map(|remote| Remote::new(remote, options.part_mib, Arc::clone(&pace)));
        let carrier = Replicator::new(s3, remotes.collect::<Result<_, _>>()?, Arc::clone(&parts.metrics));
        let limits = Limits {
            lanes: DESTINATIONS_AT_ONCE,
            at_once: usize::try_from(options.at_once).unwrap_or(usize::MAX),
            max_age: hours(options.max_age_hours),
            max_waiting: u64::MAX,
        };
        let (store, clock) = (Arc::clone(&parts.store), Arc::clone(&parts.clock));
        let sequencer = Arc::clone(&outboxes.sequencer);
        let replications = Carriers::new(carrier, store, clock, sequencer, Arc::clone(&parts.metrics), limits);
        // Set once: the graph is built once.
        let _ = outboxes.replications.set(Arc::downgrade(&replications));
        let events = Arc::clone(&outboxes.events);
        let sweeps = [events.start(), replications.start()];
        let watching = Arc::clone(&replications);
        let thresholds = tokio::spawn(async move { watching.carrier().watch_thresholds().await });
        Ok(Self { events, replications, sweeps, thresholds })
    }

    /// Lets every carrier come to rest. What waits, waits for the next start.
    pub async fn close(self) {
        // What it does is one commit, or another time's.
        self.thresholds.abort();
        drop(self.thresholds.await);
        self.events.close().await;
        self.replications.close().await;
        for sweep in self.sweeps {
            drop(sweep.await);
        }
    }
}
