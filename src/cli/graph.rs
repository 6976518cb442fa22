//! The object graph: which component holds which, from the configuration to the protocols. The only place that knows all
//! of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::accounts;
use super::credentials::RootCredentials;
use super::metering::{MeteredKms, watch_store};
use crate::admin::Admin;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crypto::{SecretBytes, SharedEntropy};
use crate::http::Protocols;
use crate::jobs::Jobs;
use crate::kms::SharedKms;
use crate::kms::api::KmsApi;
use crate::kms::local::{LocalKms, OpenError};
use crate::kms::root::{RootKey, RootKeyError, RootKeySource};
use crate::s3::{S3, Settings};
use crate::sigv4::SigningKeys;
use crate::sse::{ServerKey, Sse, SseError};
use crate::store::rocks::{Options, RocksStore};
use crate::store::{MetaStore, SharedStore, StoreError};
use crate::telemetry::Metrics;

/// The environment variable that may hold the root key, as base64 of 32 bytes.
const ROOT_KEY_VARIABLE: &str = "STRONGROOM_ROOT_KEY";
/// Where the root key is kept if the operator says nothing.
const ROOT_KEY_FILE: &str = "root.key";
/// Objects whose sealed form has at most this many bytes are values in RocksDB (`benches/README.md` has the measurement).
const INLINE_LIMIT: usize = 32 * 1024;
/// How often the key service does what has become due: deletions, rotations, expiries.
const KEY_UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

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
    jobs: Arc<Jobs>,
    key_upkeep: JoinHandle<()>,
}

/// A component cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum GraphError {
    /// The store.
    #[error("the store cannot be opened: {}", chain(.0))]
    Store(#[from] StoreError),
    /// The root key.
    #[error("{}", chain(.0))]
    Root(#[from] RootKeyError),
    /// The key service.
    #[error("the key service cannot be opened: {}", chain(.0))]
    Kms(#[from] OpenError),
    /// The server key.
    #[error("the server key cannot be opened: {}", chain(.0))]
    ServerKey(#[from] SseError),
}

impl Graph {
    /// Opens and joins all components.
    pub(super) async fn build(ground: Ground<'_>) -> Result<Self, GraphError> {
        let Ground { config, root, data_dir, metrics, clock, entropy } = ground;
        let directory = Arc::new(accounts::directory(config, &root.id, &root.secret));
        let signing_keys = Arc::new(SigningKeys::default());
        let body_timeout = Duration::from_secs(config.limits.stall_seconds.into());
        let region = config.region.to_string();

        let store = open_store(&data_dir, &entropy)?;
        watch_store(&metrics, Arc::clone(&store));
        // A fresh root key would open nothing of a store that another one sealed.
        let is_new = !ServerKey::exists(&*store).await? && !LocalKms::has_keys(&*store).await?;
        let (kms, server_key) = open_keys(config, &data_dir, &store, is_new, &clock, &entropy).await?;
        let key_upkeep = tokio::spawn(tend_keys(Arc::clone(&kms)));

        let metered: SharedKms = Arc::new(MeteredKms::new(Arc::clone(&kms) as SharedKms, metrics));
        let sse = Arc::new(Sse::new(Arc::clone(&metered), server_key, Arc::clone(&clock), Arc::clone(&entropy)));
        let shared: SharedStore = store;
        let jobs =
            Jobs::new(Arc::clone(&shared), Arc::clone(&sse), Arc::clone(&clock), Arc::clone(&entropy), region.clone());
        let jobs = Arc::new(jobs);
        let admin = Admin {
            store: Arc::clone(&shared),
            jobs: Arc::clone(&jobs),
            kms: metered,
            directory: Arc::clone(&directory),
            keys: Arc::clone(&signing_keys),
            clock: Arc::clone(&clock),
            region: region.clone(),
            body_timeout,
        };
        let settings = Settings {
            base_domains: config.virtual_host_domains(),
            region,
            inline_limit: INLINE_LIMIT,
            share_on_copy: config.s3.share_on_copy,
            body_timeout,
        };
        let s3 = S3::new(
            settings,
            shared,
            sse,
            Arc::clone(&directory),
            Arc::clone(&signing_keys),
            Arc::clone(&clock),
            entropy,
        );
        s3.recover().await?;
        jobs.resume().await?;
        let kms_api = KmsApi::new(kms, directory, signing_keys, clock, body_timeout);
        let protocols = Protocols { s3: Arc::new(s3), kms: Arc::new(kms_api), admin: Arc::new(admin) };
        Ok(Self { protocols, jobs, key_upkeep })
    }

    /// Closes what must be closed, when no request is open any more.
    pub(super) async fn close(self) {
        self.jobs.close().await;
        self.key_upkeep.abort();
        // Ends when the task has let go of the key service, so that the store closes with the last of its holders.
        drop(self.key_upkeep.await);
        drop(self.protocols);
    }
}

/// The store in a data directory.
pub(super) fn open_store(data_dir: &Path, entropy: &SharedEntropy) -> Result<Arc<RocksStore>, GraphError> {
    Ok(RocksStore::open(&Options::new(data_dir.join("store")), Arc::clone(entropy))?)
}

/// The key service and the server key of a store, under the root key, which is made if there is none and `is_new` says so.
pub(super) async fn open_keys(
    config: &Config,
    data_dir: &Path,
    store: &Arc<RocksStore>,
    is_new: bool,
    clock: &SharedClock,
    entropy: &SharedEntropy,
) -> Result<(Arc<LocalKms>, ServerKey), GraphError> {
    let root_key = Arc::new(RootKey::load(&root_key_source(config, data_dir), is_new, &**entropy)?);
    let server_key = ServerKey::load_or_create(&**store, &*root_key, &**entropy).await?;
    let (meta, region) = (Arc::clone(store) as Arc<dyn MetaStore>, config.region.to_string());
    let kms = LocalKms::open(meta, root_key, Arc::clone(clock), Arc::clone(entropy), region).await?;
    Ok((Arc::new(kms), server_key))
}

fn root_key_source(config: &Config, data_dir: &Path) -> RootKeySource {
    if let Ok(text) = std::env::var(ROOT_KEY_VARIABLE)
        && !text.is_empty()
    {
        return RootKeySource::Given(SecretBytes::new(text.into_bytes()));
    }
    let default = || data_dir.join(ROOT_KEY_FILE);
    RootKeySource::File(config.kms.root_key_file.clone().unwrap_or_else(default))
}

async fn tend_keys(kms: Arc<LocalKms>) {
    let mut ticks = tokio::time::interval(KEY_UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        match kms.tend().await {
            Ok(tended) => {
                for key_id in tended.destroyed {
                    info!(%key_id, "destroyed a key whose deletion was due");
                }
                for key_id in tended.rotated {
                    info!(%key_id, "rotated a key whose rotation was due");
                }
                for key_id in tended.expired {
                    info!(%key_id, "removed imported key material that had expired");
                }
            }
            Err(error) => error!(%error, "keys could not be tended"),
        }
    }
}

/// An error and what lies beneath it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
