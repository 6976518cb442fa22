//! The object graph: which component holds which, from the configuration to the protocols. The only place that knows all
//! of them.

mod foundation;
mod keys;
mod objects;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::error;

pub(super) use self::foundation::{load_root_key, open_store};
pub(super) use self::keys::open_keys;

use self::foundation::Foundation;
use self::keys::{Keys, write_uses};
use self::objects::Objects;
use super::actions;
use super::audit_log::AuditLogError;
use super::credentials::RootCredentials;
use super::key_services::ServiceError;
use super::outbox::{Outbox, OutboxError};
use super::root_custody::CustodyError;
use crate::admin::Admin;
use crate::audit::SharedAudit;
use crate::audit::api::CloudTrail;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crypto::SharedEntropy;
use crate::http::Protocols;
use crate::iam::api::{IssuerError, Issuers, QueryApi};
use crate::iam::resource::Buckets;
use crate::iam::{self, Directory};
use crate::jobs::Jobs;
use crate::kms::api::KmsApi;
use crate::kms::local::{LocalKms, OpenError};
use crate::kms::root::RootKeyError;
use crate::s3::S3;
use crate::sigv4::SigningKeys;
use crate::sse::SseError;
use crate::store::rocks::RocksStore;
use crate::store::{SharedStore, StoreError};
use crate::telemetry::Metrics;
use crate::wire::Protocol;
use crate::wire::error::chain;

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

impl Ground<'_> {
    fn region(&self) -> String {
        self.config.region.to_string()
    }

    /// How long a request's body may stall.
    fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.config.limits.stall_seconds.into())
    }

    fn clock_and_entropy(&self) -> (SharedClock, SharedEntropy) {
        (Arc::clone(&self.clock), Arc::clone(&self.entropy))
    }
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
    /// Opens and joins all components: what all else stands on, then the keys, then the objects, then what speaks to clients.
    pub(super) async fn build(ground: Ground<'_>) -> Result<Self, GraphError> {
        let (foundation, remote) = Foundation::open(&ground).await?;
        let keys = Keys::open(&ground, &foundation, remote).await?;
        let signing_keys = Arc::new(SigningKeys::default());
        let objects = Objects::open(&ground, &foundation, &keys, &signing_keys).await?;
        let protocols = protocols(&ground, &foundation, &keys, &objects, &signing_keys)?;
        let Foundation { store, directory, audit, followers, .. } = foundation;
        let Objects { s3, jobs, outbox, access_logs, mut upkeep } = objects;
        upkeep.push(keys.take_up_rotations());
        Ok(Self {
            protocols,
            audit,
            store: Arc::downgrade(&store),
            jobs,
            keys: keys.local,
            directory,
            key_upkeep: keys.upkeep,
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

/// What speaks to clients.
fn protocols(
    ground: &Ground<'_>,
    foundation: &Foundation,
    keys: &Keys,
    objects: &Objects,
    signing_keys: &Arc<SigningKeys>,
) -> Result<Protocols, GraphError> {
    let (config, body_timeout) = (ground.config, ground.body_timeout());
    let directory = || Arc::clone(&foundation.directory);
    let audit = || Arc::clone(&foundation.audit);
    let signing_keys = || Arc::clone(signing_keys);
    let (clock, entropy) = (|| Arc::clone(&ground.clock), || Arc::clone(&ground.entropy));
    let kms = KmsApi::new(
        Arc::clone(&keys.local),
        directory(),
        signing_keys(),
        audit(),
        ground.clock_and_entropy(),
        body_timeout,
    );
    let cloudtrail = CloudTrail {
        audit: audit(),
        directory: directory(),
        keys: signing_keys(),
        clock: clock(),
        entropy: entropy(),
        region: ground.region(),
        body_timeout,
    };
    let query = QueryApi {
        directory: directory(),
        keys: signing_keys(),
        audit: audit(),
        clock: clock(),
        entropy: entropy(),
        region: ground.region(),
        issuers: Issuers::new(config.sts.issuer_authorities.as_deref())?,
        body_timeout,
    };
    let admin = Admin {
        store: Arc::clone(&foundation.store) as SharedStore,
        jobs: Arc::clone(&objects.jobs),
        kms: Arc::clone(&keys.services),
        local_kms: Arc::clone(&keys.local),
        buckets: Arc::clone(&objects.s3) as Arc<dyn Buckets>,
        root_key: Arc::clone(&keys.root_key),
        operator: config.root.account_id.to_string(),
        actions: actions::all(),
        audit: audit(),
        directory: directory(),
        keys: signing_keys(),
        clock: clock(),
        entropy: entropy(),
        region: ground.region(),
        body_timeout,
    };
    Ok(Protocols {
        s3: Arc::clone(&objects.s3) as Arc<dyn Protocol>,
        kms: Arc::new(kms),
        cloudtrail: Arc::new(cloudtrail),
        query: Arc::new(query),
        admin: Arc::new(admin),
    })
}
