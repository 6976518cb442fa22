//! The objects: S3, and what works for it in the background.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::error;

use super::foundation::Foundation;
use super::keys::Keys;
use super::{GraphError, Ground};
use crate::cli::metering::watch_access_logs;
use crate::cli::outbox::{self, Outbox};
use crate::events::Announce;
use crate::jobs::Jobs;
use crate::jobs::lifecycle::{Calendar, Lifecycle, Rates};
use crate::s3::{S3, Settings, kept_rules};
use crate::sigv4::SigningKeys;
use crate::store::SharedStore;
use crate::telemetry::{Metrics, outlive};

/// Objects whose sealed form has at most this many bytes are values in RocksDB (`benches/README.md` has the measurement).
const INLINE_LIMIT: usize = 32 * 1024;

/// S3, and what works for it.
pub(super) struct Objects {
    pub s3: Arc<S3>,
    pub jobs: Arc<Jobs>,
    pub outbox: Outbox,
    pub access_logs: JoinHandle<()>,
    /// Life cycles and inventory reports: they may be broken off anywhere.
    pub upkeep: Vec<JoinHandle<()>>,
}

impl Objects {
    pub async fn open(
        ground: &Ground<'_>,
        foundation: &Foundation,
        keys: &Keys,
        signing_keys: &Arc<SigningKeys>,
    ) -> Result<Self, GraphError> {
        let (config, metrics) = (ground.config, &ground.metrics);
        let store: SharedStore = Arc::clone(&foundation.store) as _;
        let (sse, directory) = (&keys.sse, &foundation.directory);
        let jobs = Jobs::new(
            Arc::clone(&store),
            Arc::clone(sse),
            Arc::clone(directory),
            ground.clock_and_entropy(),
            ground.region(),
        );
        let parts = outbox::Parts {
            config,
            store: Arc::clone(&store),
            sse: Arc::clone(sse),
            clock: Arc::clone(&ground.clock),
            metrics: Arc::clone(metrics),
        };
        let outboxes = outbox::open(&parts).await?;
        let s3 = S3::new(
            settings(ground),
            Arc::clone(&store),
            Arc::clone(sse),
            Arc::clone(directory),
            Arc::clone(signing_keys),
            (Arc::clone(&foundation.audit), Arc::clone(&outboxes)),
            ground.clock_and_entropy(),
        );
        s3.recover().await?;
        let s3 = Arc::new(s3);
        watch_access_logs(metrics, &s3);
        let outbox = Outbox::start(&parts, &outboxes, Arc::clone(&s3))?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let access_logs = tokio::spawn(Arc::clone(&s3).deliver_access_logs(seconds(config.s3.access_log_seconds)));
        jobs.resume().await?;
        let upkeep = vec![
            tokio::spawn(lifecycle(ground, store, &s3).run(seconds(config.lifecycle.interval_seconds))),
            tokio::spawn(report(
                Arc::clone(&s3),
                Arc::clone(metrics),
                seconds(config.inventory.interval_seconds),
                config.inventory.objects_per_second,
            )),
        ];
        Ok(Self { s3, jobs: Arc::new(jobs), outbox, access_logs, upkeep })
    }
}

fn settings(ground: &Ground<'_>) -> Settings {
    let config = ground.config;
    Settings {
        base_domains: config.virtual_host_domains(),
        website_domains: config.website_domains(),
        region: ground.region(),
        inline_limit: INLINE_LIMIT,
        share_on_copy: config.s3.share_on_copy,
        body_timeout: ground.body_timeout(),
        calendar: Calendar::of_days(config.lifecycle.day_seconds),
        remote_destinations: config.replication.destinations.iter().map(|remote| remote.bucket.clone()).collect(),
    }
}

/// The life cycles, whose ends `s3` tells of.
fn lifecycle(ground: &Ground<'_>, store: SharedStore, s3: &Arc<S3>) -> Lifecycle {
    let options = &ground.config.lifecycle;
    let rates =
        Rates { examined_per_second: options.objects_per_second, removed_per_second: options.deletions_per_second };
    let calendar = Calendar::of_days(options.day_seconds);
    let metrics = Arc::clone(&ground.metrics);
    let lifecycle = Lifecycle::new(store, ground.clock_and_entropy(), metrics, kept_rules, calendar, rates);
    let announcer: Weak<dyn Announce> = Arc::downgrade(&(Arc::clone(s3) as Arc<dyn Announce>));
    lifecycle.announced_by(announcer)
}

/// Makes the inventory reports that are due, every `interval`, for ever.
async fn report(s3: Arc<S3>, metrics: Arc<Metrics>, interval: Duration, rate: u32) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(Err(error)) = outlive("inventory", s3.make_reports(rate, &metrics)).await {
            error!(%error, "inventory reports could not be made");
        }
    }
}
