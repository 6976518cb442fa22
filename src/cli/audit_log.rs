//! The audit log of a data directory: where it is, and the key that signs its digests.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;
use tracing::error;

use crate::audit::digest::PUBLIC_KEY_FILE;
use crate::audit::segment::Follower;
use crate::audit::sink::syslog::{Address, Syslog};
use crate::audit::sink::webhook::{Webhook, WebhookOptions};
use crate::audit::sink::{DeliveryError, Destination, Forwarder};
use crate::audit::{Audit, LogError, LogOptions, Options};
use crate::clock::SharedClock;
use crate::config::{self, Config, SyslogAddress};
use crate::crypto::pair::{KeyPair, PairError, PairKind, Purpose};
use crate::crypto::{Entropy, SharedEntropy};
use crate::kms::root::rotation::{Reseal, ResealError};
use crate::kms::root::{RootKey, RootKeyError};

const SIGNING_KEY_FILE: &str = "signing.key";
/// Bytes that are read from the log at once, to be printed.
const PRINTED_AT_ONCE: usize = 1 << 20;
const LABEL: &str = "strongroom/audit/signing-key";

/// The audit log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditLogError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Sealed { path: PathBuf, source: RootKeyError },
    #[error("the audit's signing key cannot be used: {0}")]
    Key(#[from] PairError),
    #[error("audit.webhook cannot be used: {0}")]
    Webhook(#[from] DeliveryError),
}

/// The directory of the audit log.
pub(super) fn directory(config: &Config) -> PathBuf {
    config.audit.dir.clone().unwrap_or_else(|| config.data_dir.join("audit"))
}

/// Opens the audit, or none if the operator wants none.
pub(super) fn open(
    config: &Config,
    root_key: &RootKey,
    clock: &SharedClock,
    entropy: &dyn Entropy,
) -> Result<Audit, AuditLogError> {
    let config::Audit {
        enabled,
        data_events,
        required,
        sync,
        segment_mib,
        retention_days,
        max_mib,
        digest_seconds,
        ..
    } = config.audit;
    if !enabled {
        return Ok(Audit::off());
    }
    let dir = directory(config);
    let key = signing_key(&dir, root_key, entropy)?;
    let days = u64::from(retention_days);
    let options = Options {
        log: LogOptions {
            dir,
            sync: sync || required,
            segment_bytes: u64::from(segment_mib) << 20,
            max_bytes: (max_mib > 0).then(|| u64::from(max_mib) << 20),
            retention: (days > 0).then(|| Duration::from_secs(days * 86_400)),
        },
        data_events,
        required,
        digest_interval: Duration::from_secs(digest_seconds.into()),
    };
    Ok(Audit::open(options, key, SharedClock::clone(clock))?)
}

/// What sends the log's lines elsewhere, as the configuration wants it.
///
/// # Errors
/// [`AuditLogError`].
pub(super) fn forwarders(
    config: &Config,
    audit: &Audit,
    entropy: &SharedEntropy,
) -> Result<Vec<Forwarder>, AuditLogError> {
    let (Some(head), Some(dir)) = (audit.head(), audit.dir()) else { return Ok(Vec::new()) };
    let config::Audit { syslog, syslog_facility, webhook, webhook_authorization, webhook_ca, .. } = &config.audit;
    let mut destinations: Vec<(&'static str, Box<dyn Destination>)> = Vec::new();
    if let Some(address) = syslog {
        let address = match address {
            SyslogAddress::Udp(address) => Address::Udp(address.clone()),
            SyslogAddress::Tcp(address) => Address::Tcp(address.clone()),
            SyslogAddress::Unix(path) => Address::Unix(path.clone()),
        };
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        destinations.push(("syslog", Box::new(Syslog::new(address, *syslog_facility, &host))));
    }
    if let Some(url) = webhook {
        let read = |path: &PathBuf| fs::read(path).map_err(|source| AuditLogError::Io { path: path.clone(), source });
        let options = WebhookOptions {
            url: url.to_string(),
            authorization: webhook_authorization.as_ref().map(|value| value.expose().to_vec()),
            ca: webhook_ca.as_ref().map(read).transpose()?,
        };
        destinations.push(("webhook", Box::new(Webhook::new(options)?)));
    }
    let forward = |(name, destination)| {
        Forwarder::new(dir, name, destination, head.clone(), SharedEntropy::clone(entropy))
            .map_err(|source| AuditLogError::Io { path: dir.to_owned(), source })
    };
    destinations.into_iter().map(forward).collect()
}

/// Prints the lines that are added to the audit's log, until the audit ends.
pub(super) async fn print(dir: PathBuf, mut head: watch::Receiver<u64>) {
    let mut follower = Follower::after(&dir, *head.borrow_and_update());
    loop {
        let ended = head.changed().await.is_err();
        let printed = tokio::task::spawn_blocking(move || print_new(&mut follower).map(|()| follower)).await;
        match printed {
            Ok(Ok(same)) => follower = same,
            Ok(Err(error)) => return error!(%error, "events cannot be printed any more"),
            Err(_) => return,
        }
        if ended {
            return;
        }
    }
}

fn print_new(follower: &mut Follower) -> io::Result<()> {
    let mut out = io::stdout().lock();
    loop {
        let lines = follower.read(PRINTED_AT_ONCE)?;
        if lines.is_empty() {
            return out.flush();
        }
        lines.iter().try_for_each(|line| out.write_all(line))?;
    }
}

/// The file with the key that signs digests, for the rotation of the root key.
pub(super) struct SigningKeyFile {
    path: PathBuf,
    entropy: SharedEntropy,
}

impl SigningKeyFile {
    /// That of `config`'s audit.
    pub(super) fn new(config: &Config, entropy: SharedEntropy) -> Self {
        Self { path: directory(config).join(SIGNING_KEY_FILE), entropy }
    }
}

#[async_trait]
impl Reseal for SigningKeyFile {
    fn name(&self) -> &'static str {
        "audit signing keys"
    }

    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError> {
        let failed = |error: &dyn std::error::Error| ResealError::new(self.path.display().to_string(), error);
        let sealed = match fs::read(&self.path) {
            Ok(sealed) => sealed,
            // Without an audit there is no key.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(&error)),
        };
        match root.reseal(&*self.entropy, LABEL, &sealed).map_err(|error| failed(&error))? {
            None => Ok(0),
            Some(fresh) => write(&self.path, &fresh).map(|()| 1).map_err(|error| failed(&error)),
        }
    }
}

/// The Ed25519 key, made on the first start; its public half is laid beside it for auditors.
fn signing_key(dir: &Path, root_key: &RootKey, entropy: &dyn Entropy) -> Result<KeyPair, AuditLogError> {
    let path = dir.join(SIGNING_KEY_FILE);
    let failed = |source| AuditLogError::Io { path: path.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let pkcs8 = match fs::read(&path) {
        Ok(sealed) => {
            root_key.open(LABEL, &sealed).map_err(|source| AuditLogError::Sealed { path: path.clone(), source })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pkcs8 = PairKind::Ed25519.generate()?;
            write(&path, &root_key.seal(entropy, LABEL, pkcs8.expose())).map_err(failed)?;
            pkcs8
        }
        Err(error) => return Err(failed(error)),
    };
    let key = KeyPair::open(PairKind::Ed25519, Purpose::Sign, pkcs8.expose())?;
    let public = dir.join(PUBLIC_KEY_FILE);
    // 44 bytes: one line.
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(key.public()));
    if !public.exists() {
        write(&public, pem.as_bytes()).map_err(|source| AuditLogError::Io { path: public, source })?;
    }
    Ok(key)
}

/// Writes a file whole or not at all, for the owner alone.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}
