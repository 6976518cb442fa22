//! The object graph: which component holds which, from the configuration to the protocols. The only place that knows all
//! of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::accounts;
use super::actions;
use super::audit_log::{self, AuditLogError};
use super::credentials::RootCredentials;
use super::key_services::{Remote, ServiceError, Surroundings};
use super::memory;
use super::metering::{watch_access_logs, watch_audit, watch_sinks, watch_store};
use super::outbox::{self, Outbox, OutboxError};
use super::root_custody::{self, CustodyError};
use crate::admin::Admin;
use crate::audit::api::CloudTrail;
use crate::audit::sink::Forwarder;
use crate::audit::{Category, Event, ServiceOperation, SharedAudit};
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::crypto::SharedEntropy;
use crate::events::Announce;
use crate::http::Protocols;
use crate::iam::api::{IssuerError, Issuers, QueryApi};
use crate::iam::resource::Buckets;
use crate::iam::{self, Directory};
use crate::jobs::Jobs;
use crate::jobs::lifecycle::{Calendar, Lifecycle, Rates};
use crate::kms::api::KmsApi;
use crate::kms::audited::{AuditedKms, EVENT_SOURCE, key_resource};
use crate::kms::cache::CachedKms;
use crate::kms::local::{LocalKms, OpenError};
use crate::kms::root::rotation::{Reseal, Rotation};
use crate::kms::root::{RootKey, RootKeyError};
use crate::kms::services::EMBEDDED;
use crate::kms::{KeyArn, SharedKms};
use crate::s3::{S3, Settings, kept_rules};
use crate::sigv4::SigningKeys;
use crate::sse::{ServerKey, Sse, SseError, StoredServerKeys};
use crate::store::rocks::{DirectIo, Options, RocksStore};
use crate::store::{MetaStore, SharedStore, StoreError};
use crate::telemetry::{Metrics, outlive};
use crate::wire::Protocol;
use crate::wire::error::chain;

/// Objects whose sealed form has at most this many bytes are values in RocksDB (`benches/README.md` has the measurement).
const INLINE_LIMIT: usize = 32 * 1024;
/// How often the key service does what has become due: deletions, rotations, expiries.
const KEY_UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How often it writes down when keys were last used, and zeroizes unwrapped keys that are not to be used any more.
const USES_INTERVAL: Duration = Duration::from_secs(1);

/// How long the last access logs may take to be delivered.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last events may take to be printed and sent.
const FOLLOWERS_PATIENCE: Duration = Duration::from_secs(5);

/// What the graph is built from.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) root: &'a RootCredentials,
    pub(super) data_dir: PathBuf,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: SharedClock,
    pub(super) entropy: SharedEntropy,
}

/// The graph.
pub(super) struct Graph {
    pub(super) protocols: Protocols,
    pub(super) audit: SharedAudit,
    /// It closes with the last of its holders.
    pub(super) store: Weak<RocksStore>,
    jobs: Arc<Jobs>,
    keys: Arc<LocalKms>,
    directory: Arc<Directory>,
    key_upkeep: JoinHandle<()>,
    /// Life cycles, inventory reports, rotations of the root key that are taken up: they may be broken off anywhere.
    upkeep: Vec<JoinHandle<()>>,
    s3: Arc<S3>,
    access_logs: JoinHandle<()>,
    outbox: Outbox,
    /// What prints events, and sends them elsewhere.
    followers: Vec<JoinHandle<()>>,
}

/// A component cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum GraphError {
    /// The store.
    #[error("the store cannot be opened: {}", chain(.0))]
    Store(#[from] StoreError),
    /// The root key.
    #[error("{}", chain(.0))]
    Root(#[from] CustodyError),
    /// A key service across the network.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The key service.
    #[error("the key service cannot be opened: {}", chain(.0))]
    Kms(#[from] OpenError),
    /// Users, roles and their like.
    #[error("identities cannot be opened: {}", chain(.0))]
    Identities(#[from] iam::OpenError),
    /// Those who vouch for web identities.
    #[error("sts.issuer_authorities: {}", chain(.0))]
    Issuers(#[from] IssuerError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// Targets of events, destinations of replications.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The server key.
    #[error("the server key cannot be opened: {}", chain(.0))]
    ServerKey(#[from] SseError),
}

impl GraphError {
    /// Whether the configuration is wrong, though nobody could tell before it was used.
    pub(super) fn is_of_asking(&self) -> bool {
        match self {
            Self::Service(_) | Self::Issuers(_) | Self::Outbox(_) => true,
            Self::Root(error) => error.is_of_asking(),
            Self::Audit(error) => error.is_of_asking(),
            _ => false,
        }
    }

    /// Whether the root key that sealed the store is not at hand: there is none, or another.
    pub(super) fn lacks_the_root_key(&self) -> bool {
        matches!(
            self,
            Self::Root(_)
                | Self::Kms(OpenError::Root(RootKeyError::WrongKey))
                | Self::ServerKey(SseError::WrongRootKey)
        )
    }
}

impl Graph {
    /// Opens and joins all components.
    pub(super) async fn build(ground: Ground<'_>) -> Result<Self, GraphError> {
        let Ground { config, root, data_dir, metrics, clock, entropy } = ground;
        let signing_keys = Arc::new(SigningKeys::default());
        let body_timeout = Duration::from_secs(config.limits.stall_seconds.into());
        let region = config.region.to_string();
        let calendar = Calendar::of_days(config.lifecycle.day_seconds);

        let store = open_store(&data_dir, &config.store, &entropy)?;
        watch_store(&metrics, Arc::clone(&store));
        // A fresh root key would open nothing of a store that another one sealed.
        let is_new = !ServerKey::exists(&*store).await? && !LocalKms::has_keys(&*store).await?;
        let surroundings = Surroundings { config, metrics: &metrics, entropy: &entropy };
        let remote = surroundings.remote_services().await?;
        let root_key = load_root_key(config, &data_dir, is_new, &entropy, &remote).await?;
        let directory = Arc::new(
            open_directory(config, root, &store, &root_key, (Arc::clone(&clock), Arc::clone(&entropy))).await?,
        );
        let audit_files = Arc::new(audit_log::Sealed::new(config, Arc::clone(&root_key), Arc::clone(&entropy)));
        let audit: SharedAudit = Arc::new(audit_log::open(config, &audit_files, &clock)?);
        watch_audit(&metrics, &audit);
        let printed = audit.head().zip(audit.dir()).filter(|_| config.audit.stdout);
        let mut followers: Vec<JoinHandle<()>> =
            printed.map(|(head, dir)| tokio::spawn(audit_log::print(dir.to_owned(), head))).into_iter().collect();
        let forwarders = audit_log::forwarders(config, &audit, &entropy)?;
        watch_sinks(&metrics, forwarders.iter().map(Forwarder::figures).collect());
        followers.extend(forwarders.into_iter().map(|forwarder| tokio::spawn(forwarder.run())));
        let (kms, server_key) = open_keys(config, Arc::clone(&root_key), &store, &clock, &entropy).await?;
        kms.know(Arc::clone(&directory) as _);
        let holders: Vec<Arc<dyn Reseal>> = vec![
            Arc::clone(&kms) as _,
            Arc::new(StoredServerKeys::new(Arc::clone(&store) as _, Arc::clone(&entropy))),
            Arc::clone(&directory) as _,
            audit_files,
        ];
        let root_key = Arc::new(Rotation::new(root_key, holders, Arc::clone(&entropy)));
        take_up_rotation(&root_key).await;
        let metered = surroundings.metered(EMBEDDED, Arc::clone(&kms) as SharedKms);
        let (remote, mut caches) = surroundings.cached(remote, &clock);
        let cache = surroundings.cache(EMBEDDED, &metered, &clock);
        caches.extend(cache.clone());
        let entrance = cache.map_or(metered, |cache| cache as SharedKms);
        let services = surroundings.join(&kms, entrance, remote)?;
        let key_upkeep = KeyUpkeep {
            audit: Arc::clone(&audit),
            caches,
            directory: Arc::clone(&directory),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let key_upkeep = tokio::spawn(key_upkeep.run(Arc::clone(&kms)));
        let metered: SharedKms = Arc::new(AuditedKms::new(
            Arc::new(services),
            Arc::clone(&audit),
            region.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        ));
        let sse = Arc::new(Sse::new(Arc::clone(&metered), server_key, Arc::clone(&clock), Arc::clone(&entropy)));
        let opened = Arc::downgrade(&store);
        let shared: SharedStore = store;
        let ground = (Arc::clone(&clock), Arc::clone(&entropy));
        let jobs = Jobs::new(Arc::clone(&shared), Arc::clone(&sse), Arc::clone(&directory), ground, region.clone());
        let jobs = Arc::new(jobs);
        let cloudtrail = CloudTrail {
            audit: Arc::clone(&audit),
            directory: Arc::clone(&directory),
            keys: Arc::clone(&signing_keys),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            region: region.clone(),
            body_timeout,
        };
        let query = QueryApi {
            directory: Arc::clone(&directory),
            keys: Arc::clone(&signing_keys),
            audit: Arc::clone(&audit),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            region: region.clone(),
            issuers: Issuers::new(config.sts.issuer_authorities.as_deref())?,
            body_timeout,
        };
        let admin_region = region.clone();
        let settings = Settings {
            base_domains: config.virtual_host_domains(),
            website_domains: config.website_domains(),
            region,
            inline_limit: INLINE_LIMIT,
            share_on_copy: config.s3.share_on_copy,
            body_timeout,
            calendar,
            remote_destinations: config.replication.destinations.iter().map(|remote| remote.bucket.clone()).collect(),
        };
        let lifecycle = Lifecycle::new(
            Arc::clone(&shared),
            (Arc::clone(&clock), Arc::clone(&entropy)),
            Arc::clone(&metrics),
            kept_rules,
            calendar,
            Rates {
                examined_per_second: config.lifecycle.objects_per_second,
                removed_per_second: config.lifecycle.deletions_per_second,
            },
        );
        let parts = outbox::Parts {
            config,
            store: Arc::clone(&shared),
            sse: Arc::clone(&sse),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let outboxes = outbox::open(&parts).await?;
        let admin_store = Arc::clone(&shared);
        let s3 = S3::new(
            settings,
            shared,
            sse,
            Arc::clone(&directory),
            Arc::clone(&signing_keys),
            (Arc::clone(&audit), Arc::clone(&outboxes)),
            (Arc::clone(&clock), Arc::clone(&entropy)),
        );
        s3.recover().await?;
        let s3 = Arc::new(s3);
        watch_access_logs(&metrics, &s3);
        let announcer: Weak<dyn Announce> = Arc::downgrade(&(Arc::clone(&s3) as Arc<dyn Announce>));
        let outbox = Outbox::start(&parts, &outboxes, Arc::clone(&s3))?;
        let interval = Duration::from_secs(config.s3.access_log_seconds.into());
        let access_logs = tokio::spawn(Arc::clone(&s3).deliver_access_logs(interval));
        jobs.resume().await?;
        let keys = Arc::clone(&kms);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let upkeep = vec![
            tokio::spawn(lifecycle.announced_by(announcer).run(seconds(config.lifecycle.interval_seconds))),
            tokio::spawn(report(
                Arc::clone(&s3),
                metrics,
                seconds(config.inventory.interval_seconds),
                config.inventory.objects_per_second,
            )),
            tokio::spawn(take_up_rotations(Arc::clone(&root_key))),
        ];
        let admin = Admin {
            store: admin_store,
            jobs: Arc::clone(&jobs),
            kms: metered,
            local_kms: Arc::clone(&kms),
            buckets: Arc::clone(&s3) as Arc<dyn Buckets>,
            root_key,
            operator: config.root.account_id.to_string(),
            actions: actions::all(),
            audit: Arc::clone(&audit),
            directory: Arc::clone(&directory),
            keys: Arc::clone(&signing_keys),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            region: admin_region,
            body_timeout,
        };
        let kms_api =
            KmsApi::new(kms, Arc::clone(&directory), signing_keys, Arc::clone(&audit), (clock, entropy), body_timeout);
        let protocols = Protocols {
            s3: Arc::clone(&s3) as Arc<dyn Protocol>,
            kms: Arc::new(kms_api),
            cloudtrail: Arc::new(cloudtrail),
            query: Arc::new(query),
            admin: Arc::new(admin),
        };
        Ok(Self {
            protocols,
            audit,
            store: opened,
            jobs,
            keys,
            directory,
            key_upkeep,
            upkeep,
            s3,
            access_logs,
            outbox,
            followers,
        })
    }

    /// Closes what must be closed, when no request is open any more.
    pub(super) async fn close(self) {
        self.jobs.close().await;
        for task in self.upkeep {
            task.abort();
            // Ends when the task has let go of what it works with, so that the store closes with the last of its holders.
            drop(task.await);
        }
        self.outbox.close().await;
        self.s3.stop_access_logs();
        if tokio::time::timeout(LOG_PATIENCE, self.access_logs).await.is_err() {
            error!("access logs could not be delivered in time");
        }
        drop(self.s3);
        self.key_upkeep.abort();
        // Ends when the task has let go of the key service, so that the store closes with the last of its holders.
        drop(self.key_upkeep.await);
        write_uses(&self.keys, &self.directory).await;
        drop((self.protocols, self.keys, self.directory));
        // The last holder ends the log with a digest.
        drop((self.jobs, self.audit));
        // A reader that does not read, a receiver that is away, must not hold up the end.
        let end = tokio::time::Instant::now() + FOLLOWERS_PATIENCE;
        for mut follower in self.followers {
            if tokio::time::timeout_at(end, &mut follower).await.is_err() {
                follower.abort();
            }
        }
    }
}

/// The store in a data directory.
pub(super) fn open_store(
    data_dir: &Path,
    store: &config::Store,
    entropy: &SharedEntropy,
) -> Result<Arc<RocksStore>, GraphError> {
    let options = Options {
        cache_bytes: memory::cache_bytes(store),
        recent_bytes: memory::recent_bytes(store),
        direct_io: if store.direct_io { DirectIo::Auto } else { DirectIo::Never },
        ..Options::new(data_dir.join("store"))
    };
    Ok(RocksStore::open(&options, Arc::clone(entropy))?)
}

/// The root key, which is made if there is none and `is_new` says so.
pub(super) async fn load_root_key(
    config: &Config,
    data_dir: &Path,
    is_new: bool,
    entropy: &SharedEntropy,
    services: &[Remote],
) -> Result<Arc<RootKey>, GraphError> {
    let custody = root_custody::custody(config, data_dir, entropy, services).await?;
    Ok(Arc::new(RootKey::load(custody, is_new, &**entropy).await.map_err(CustodyError::from)?))
}

/// The accounts of the configuration, and their users and roles in a store.
async fn open_directory(
    config: &Config,
    root: &RootCredentials,
    store: &Arc<RocksStore>,
    root_key: &Arc<RootKey>,
    (clock, entropy): (SharedClock, SharedEntropy),
) -> Result<Directory, GraphError> {
    let mut directory = accounts::directory(config, &root.id, &root.secret);
    directory.limit_failures(config.limits.failed_signatures);
    directory.explain_denials(config.s3.explain_denials);
    directory.open(Arc::clone(store) as Arc<dyn MetaStore>, Arc::clone(root_key), clock, entropy).await?;
    directory.date_accounts().await?;
    Ok(directory)
}

/// The key service and the server key of a store, under the root key.
pub(super) async fn open_keys(
    config: &Config,
    root_key: Arc<RootKey>,
    store: &Arc<RocksStore>,
    clock: &SharedClock,
    entropy: &SharedEntropy,
) -> Result<(Arc<LocalKms>, ServerKey), GraphError> {
    let server_key = ServerKey::load_or_create(&**store, &*root_key, &**entropy).await?;
    let (meta, region) = (Arc::clone(store) as Arc<dyn MetaStore>, config.region.to_string());
    let kms = LocalKms::open(meta, root_key, Arc::clone(clock), Arc::clone(entropy), region).await?;
    Ok((Arc::new(kms), server_key))
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

/// Ends a rotation of the root key that was interrupted. Until it is ended, both keys are at hand: nothing else waits for it.
async fn take_up_rotation(root_key: &Rotation) {
    match root_key.resume().await {
        Ok(None) => {}
        Ok(Some(report)) => {
            info!(root_key = %report.current, "took up the rotation of the root key; the old key is no longer needed");
        }
        Err(error) => {
            error!(error = %chain(&error), "the rotation of the root key is not at its end; it is tried again");
        }
    }
}

/// Takes up, for ever, rotations that a failure interrupted.
async fn take_up_rotations(root_key: Arc<Rotation>) {
    loop {
        tokio::time::sleep(KEY_UPKEEP_INTERVAL).await;
        take_up_rotation(&root_key).await;
    }
}

/// Runs key maintenance and records what it did.
struct KeyUpkeep {
    audit: SharedAudit,
    caches: Vec<Arc<CachedKms>>,
    directory: Arc<Directory>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl KeyUpkeep {
    async fn run(self, kms: Arc<LocalKms>) {
        let mut ticks = tokio::time::interval(KEY_UPKEEP_INTERVAL);
        let mut uses = tokio::time::interval(USES_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tend(&kms).await,
                _ = uses.tick() => {
                    self.caches.iter().for_each(|cache| cache.sweep());
                    write_uses(&kms, &self.directory).await;
                }
            }
        }
    }

    async fn tend(&self, kms: &LocalKms) {
        match kms.tend().await {
            Ok(tended) => {
                for key in tended.destroyed {
                    info!(key_id = key.id(), "destroyed a key whose deletion was due");
                    self.record("DeleteKey", kms.region(), &key);
                }
                for key in tended.rotated {
                    info!(key_id = key.id(), "rotated a key whose rotation was due");
                    self.record("RotateKey", kms.region(), &key);
                }
                for key in tended.expired {
                    info!(key_id = key.id(), "removed imported key material that had expired");
                    self.record("DeleteExpiredKeyMaterial", kms.region(), &key);
                }
            }
            Err(error) => error!(%error, "keys could not be tended"),
        }
    }

    /// The event of what the key service did of its own accord. (AWS: "RotateKey", "DeleteKey" in "AWS KMS log entries".)
    fn record(&self, name: &'static str, region: &str, key: &KeyArn) {
        let operation = ServiceOperation {
            source: EVENT_SOURCE,
            name,
            read_only: false,
            category: Category::Management,
            region,
            entropy: &*self.entropy,
        };
        let mut event = Event::of_service(operation, self.clock.now(), key.account());
        event.resources.push(key_resource(key));
        event.service_event_details = Some(serde_json::json!({"keyId": key.id()}));
        self.audit.record(event);
    }
}

async fn write_uses(kms: &LocalKms, directory: &Directory) {
    if let Err(error) = directory.write_uses().await {
        error!(%error, "the last uses of access keys could not be written down");
    }
    if let Err(error) = kms.write_uses().await {
        error!(%error, "the last uses of keys could not be written down");
    }
}
