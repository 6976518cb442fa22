//! What all else stands on: the store, the root key, identities, the audit.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{GraphError, Ground};
use crate::audit::SharedAudit;
use crate::audit::sink::Forwarder;
use crate::cli::key_services::{Remote, Surroundings};
use crate::cli::metering::{watch_audit, watch_sinks, watch_store};
use crate::cli::root_custody::{self, CustodyError};
use crate::cli::{accounts, audit_log, memory};
use crate::config::{self, Config};
use crate::crypto::SharedEntropy;
use crate::iam::Directory;
use crate::kms::local::LocalKms;
use crate::kms::root::RootKey;
use crate::sse::ServerKey;
use crate::store::MetaStore;
use crate::store::rocks::{DirectIo, Options, RocksStore};

/// What all else stands on.
pub(super) struct Foundation {
    pub store: Arc<RocksStore>,
    pub root_key: Arc<RootKey>,
    pub directory: Arc<Directory>,
    pub audit: SharedAudit,
    /// What of the audit the root key seals.
    pub audit_files: Arc<audit_log::Sealed>,
    /// What prints events, and sends them elsewhere.
    pub followers: Vec<JoinHandle<()>>,
}

impl Foundation {
    /// The foundation, and the key services across the network, one of which may keep the root key.
    pub async fn open(ground: &Ground<'_>) -> Result<(Self, Vec<Remote>), GraphError> {
        let Ground { config, data_dir, metrics, entropy, .. } = ground;
        let store = open_store(data_dir, &config.store, entropy)?;
        watch_store(metrics, Arc::clone(&store));
        // A fresh root key would open nothing of a store that another one sealed.
        let is_new = !ServerKey::exists(&*store).await? && !LocalKms::has_keys(&*store).await?;
        let remote = Surroundings { config, metrics, entropy }.remote_services().await?;
        let root_key = load_root_key(config, data_dir, is_new, entropy, &remote).await?;
        let directory = Arc::new(open_directory(ground, &store, &root_key).await?);
        let audit_files = Arc::new(audit_log::Sealed::new(config, Arc::clone(&root_key), Arc::clone(entropy)));
        let audit: SharedAudit = Arc::new(audit_log::open(config, &audit_files, &ground.clock)?);
        watch_audit(metrics, &audit);
        let followers = follow(ground, &audit)?;
        Ok((Self { store, root_key, directory, audit, audit_files, followers }, remote))
    }
}

/// The store in a data directory.
pub(in crate::cli) fn open_store(
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
pub(in crate::cli) async fn load_root_key(
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
    ground: &Ground<'_>,
    store: &Arc<RocksStore>,
    root_key: &Arc<RootKey>,
) -> Result<Directory, GraphError> {
    let (config, (clock, entropy)) = (ground.config, ground.clock_and_entropy());
    let mut directory = accounts::directory(config, &ground.root.id, &ground.root.secret);
    directory.limit_failures(config.limits.failed_signatures);
    directory.explain_denials(config.s3.explain_denials);
    directory.open(Arc::clone(store) as Arc<dyn MetaStore>, Arc::clone(root_key), clock, entropy).await?;
    directory.date_accounts().await?;
    Ok(directory)
}

/// Starts what prints the audit's events, and sends them elsewhere.
fn follow(ground: &Ground<'_>, audit: &SharedAudit) -> Result<Vec<JoinHandle<()>>, GraphError> {
    let config = ground.config;
    let printed = audit.head().zip(audit.dir()).filter(|_| config.audit.stdout);
    let printer = printed.map(|(head, dir)| tokio::spawn(audit_log::print(dir.to_owned(), head)));
    let forwarders = audit_log::forwarders(config, audit, &ground.entropy)?;
    watch_sinks(&ground.metrics, forwarders.iter().map(Forwarder::figures).collect());
    let forwarders = forwarders.into_iter().map(|forwarder| tokio::spawn(forwarder.run()));
    Ok(printer.into_iter().chain(forwarders).collect())
}
