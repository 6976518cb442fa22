//! The keys: the embedded key service, those across the network, the root key's rotation, and what seals objects.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::foundation::Foundation;
use super::{GraphError, Ground};
use crate::audit::{Category, Event, ServiceOperation, SharedAudit};
use crate::cli::key_services::{Remote, Surroundings};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crypto::SharedEntropy;
use crate::iam::Directory;
use crate::kms::audited::{AuditedKms, EVENT_SOURCE, key_resource};
use crate::kms::cache::CachedKms;
use crate::kms::local::LocalKms;
use crate::kms::root::RootKey;
use crate::kms::root::rotation::{Reseal, Rotation};
use crate::kms::services::EMBEDDED;
use crate::kms::{KeyArn, SharedKms};
use crate::sse::{ServerKey, Sse, StoredServerKeys};
use crate::store::MetaStore;
use crate::store::rocks::RocksStore;
use crate::wire::error::chain;

/// How often the key service does what has become due: deletions, rotations, expiries.
const KEY_UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How often it writes down when keys were last used, and zeroizes unwrapped keys that are not to be used any more.
const USES_INTERVAL: Duration = Duration::from_secs(1);

/// The keys.
pub(super) struct Keys {
    /// The embedded key service.
    pub local: Arc<LocalKms>,
    /// All key services behind one, metered, cached and audited.
    pub services: SharedKms,
    pub sse: Arc<Sse>,
    pub root_key: Arc<Rotation>,
    pub upkeep: JoinHandle<()>,
}

impl Keys {
    pub async fn open(ground: &Ground<'_>, foundation: &Foundation, remote: Vec<Remote>) -> Result<Self, GraphError> {
        let Ground { config, metrics, clock, entropy, .. } = ground;
        let Foundation { store, directory, audit, .. } = foundation;
        let root_key = Arc::clone(&foundation.root_key);
        let (local, server_key) = open_keys(config, Arc::clone(&root_key), store, clock, entropy).await?;
        local.know(Arc::clone(directory) as _);
        let holders: Vec<Arc<dyn Reseal>> = vec![
            Arc::clone(&local) as _,
            Arc::new(StoredServerKeys::new(Arc::clone(store) as _, Arc::clone(entropy))),
            Arc::clone(directory) as _,
            Arc::clone(&foundation.audit_files) as _,
        ];
        let root_key = Arc::new(Rotation::new(root_key, holders, Arc::clone(entropy)));
        take_up_rotation(&root_key).await;

        let surroundings = Surroundings { config, metrics, entropy };
        let metered = surroundings.metered(EMBEDDED, Arc::clone(&local) as SharedKms);
        let (remote, mut caches) = surroundings.cached(remote, clock);
        let cache = surroundings.cache(EMBEDDED, &metered, clock);
        caches.extend(cache.clone());
        let entrance = cache.map_or(metered, |cache| cache as SharedKms);
        let services = Arc::new(surroundings.join(&local, entrance, remote)?);
        let (clock, entropy) = ground.clock_and_entropy();
        let services: SharedKms =
            Arc::new(AuditedKms::new(services, Arc::clone(audit), ground.region(), clock, entropy));

        let (clock, entropy) = ground.clock_and_entropy();
        let upkeep = KeyUpkeep { audit: Arc::clone(audit), caches, directory: Arc::clone(directory), clock, entropy };
        let upkeep = tokio::spawn(upkeep.run(Arc::clone(&local)));
        let (clock, entropy) = ground.clock_and_entropy();
        let sse = Arc::new(Sse::new(Arc::clone(&services), server_key, clock, entropy));
        Ok(Self { local, services, sse, root_key, upkeep })
    }

    /// Starts what takes up rotations of the root key that a failure interrupted.
    pub fn take_up_rotations(&self) -> JoinHandle<()> {
        tokio::spawn(take_up_rotations(Arc::clone(&self.root_key)))
    }
}

/// The key service and the server key of a store, under the root key.
pub(in crate::cli) async fn open_keys(
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

/// Writes down when access keys and KMS keys were last used.
pub(super) async fn write_uses(kms: &LocalKms, directory: &Directory) {
    if let Err(error) = directory.write_uses().await {
        error!(%error, "the last uses of access keys could not be written down");
    }
    if let Err(error) = kms.write_uses().await {
        error!(%error, "the last uses of keys could not be written down");
    }
}
