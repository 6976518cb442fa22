//! The audit log of a data directory: where it is, the key that signs its digests, and the mark of the last of them.
//!
//! Both lie in files that are sealed under the root key. The key is first sealed as one that has no mark, and anew as one that
//! has when there is one: from then on a mark that is gone shows.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;
use tracing::error;

use crate::audit::digest::PUBLIC_KEY_FILE;
use crate::audit::mark::{KeepMark, KeptMark, Mark};
use crate::audit::segment::Follower;
use crate::audit::sink::syslog::{Address, Syslog};
use crate::audit::sink::webhook::{Webhook, WebhookOptions};
use crate::audit::sink::{DeliveryError, Destination, Forwarder};
use crate::audit::{Audit, LogError, LogOptions, Options};
use crate::clock::SharedClock;
use crate::config::{self, Config, SyslogAddress};
use crate::crypto::pair::{KeyPair, PairError, PairKind, Purpose};
use crate::crypto::{SecretBytes, SharedEntropy};
use crate::kms::root::rotation::{Reseal, ResealError};
use crate::kms::root::{RootKey, RootKeyError};

const SIGNING_KEY_FILE: &str = "signing.key";
const MARK_FILE: &str = "mark";
/// Bytes that are read from the log at once, to be printed.
const PRINTED_AT_ONCE: usize = 1 << 20;
/// The signing key of a log that has no mark yet.
const UNMARKED: &str = "strongroom/audit/signing-key";
/// That of a log that has one.
const MARKED: &str = "strongroom/audit/signing-key/marked";
const MARK: &str = "strongroom/audit/mark";

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
    #[error(
        "{} is missing, though public.pem beside it says that there was one: restore it from a backup, or move the whole \
         directory aside to begin another log; what was signed stays to be verified with the public.pem of its own",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error("audit.webhook cannot be used: {0}")]
    Webhook(#[from] DeliveryError),
    #[error("{option}: {}: {source}", path.display())]
    Option { option: &'static str, path: PathBuf, source: io::Error },
}

impl AuditLogError {
    /// Whether the configuration is wrong.
    pub(super) fn is_of_asking(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Option { .. })
    }
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The directory of the audit log.
pub(super) fn directory(config: &Config) -> PathBuf {
    config.audit.dir.clone().unwrap_or_else(|| config.data_dir.join("audit"))
}

/// Opens the audit, or none if the operator wants none.
pub(super) fn open(config: &Config, sealed: &Arc<Sealed>, clock: &SharedClock) -> Result<Audit, AuditLogError> {
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
    if let Some(dir) = &config.audit.dir {
        let failed = |source| AuditLogError::Option { option: "audit.dir", path: dir.clone(), source };
        make(dir).map_err(failed)?;
    }
    let key = sealed.signing_key()?;
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
    let audit = Audit::open(options, key, Arc::clone(sealed) as Arc<dyn KeepMark>, SharedClock::clone(clock))?;
    sealed.expect_mark()?;
    Ok(audit)
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
        // Of the kernel, not of a file: /proc/sys is hidden where ProcSubset=pid is.
        let host = nix::unistd::gethostname().unwrap_or_default();
        destinations.push(("syslog", Box::new(Syslog::new(address, *syslog_facility, &host.to_string_lossy()))));
    }
    if let Some(url) = webhook {
        let failed =
            |path: &PathBuf, source| AuditLogError::Option { option: "audit.webhook_ca", path: path.clone(), source };
        let read = |path: &PathBuf| fs::read(path).map_err(|source| failed(path, source));
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

/// The files that are sealed under the root key: the key that signs digests, and the mark.
pub(super) struct Sealed {
    dir: PathBuf,
    root_key: Arc<RootKey>,
    entropy: SharedEntropy,
    /// One writes at a time: the log a mark, the rotation of the root key everything.
    turn: Mutex<()>,
}

impl Sealed {
    /// Those of `config`'s audit.
    pub(super) fn new(config: &Config, root_key: Arc<RootKey>, entropy: SharedEntropy) -> Self {
        Self { dir: directory(config), root_key, entropy, turn: Mutex::new(()) }
    }

    /// The Ed25519 key, made on the first start; its public half is laid beside it for auditors.
    fn signing_key(&self) -> Result<KeyPair, AuditLogError> {
        let path = self.dir.join(SIGNING_KEY_FILE);
        let public = self.dir.join(PUBLIC_KEY_FILE);
        let failed = |source| AuditLogError::Io { path: path.clone(), source };
        make(&self.dir).map_err(failed)?;
        let pkcs8 = match read(&path).map_err(failed)? {
            Some(sealed) => {
                let opened = self.open_signing_key(&sealed);
                opened.map_err(|source| AuditLogError::Sealed { path: path.clone(), source })?.0
            }
            // Another key would sign a log that no longer verifies as a whole.
            None if public.exists() => return Err(AuditLogError::NoKey(path)),
            None => {
                let pkcs8 = PairKind::Ed25519.generate()?;
                write(&path, &self.root_key.seal(&*self.entropy, UNMARKED, pkcs8.expose())).map_err(failed)?;
                pkcs8
            }
        };
        let key = KeyPair::open(PairKind::Ed25519, Purpose::Sign, pkcs8.expose())?;
        // 44 bytes: one line.
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(key.public()));
        if !public.exists() {
            write(&public, pem.as_bytes()).map_err(|source| AuditLogError::Io { path: public, source })?;
        }
        Ok(key)
    }

    /// The key, and whether its log has a mark.
    fn open_signing_key(&self, sealed: &[u8]) -> Result<(SecretBytes, bool), RootKeyError> {
        match self.root_key.open(MARKED, sealed) {
            Err(RootKeyError::Damaged) => self.root_key.open(UNMARKED, sealed).map(|key| (key, false)),
            opened => opened.map(|key| (key, true)),
        }
    }

    /// From now on there must be a mark.
    fn expect_mark(&self) -> Result<(), AuditLogError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(SIGNING_KEY_FILE);
        let failed = |source| AuditLogError::Io { path: path.clone(), source };
        let sealed = read(&path).map_err(failed)?.unwrap_or_default();
        let opened = self.open_signing_key(&sealed);
        let (pkcs8, is_marked) = opened.map_err(|source| AuditLogError::Sealed { path: path.clone(), source })?;
        if is_marked {
            return Ok(());
        }
        write(&path, &self.root_key.seal(&*self.entropy, MARKED, pkcs8.expose())).map_err(failed)
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl KeepMark for Sealed {
    fn read(&self) -> io::Result<KeptMark> {
        // The key first: once it says that there is a mark, there is one.
        let key = read(&self.dir.join(SIGNING_KEY_FILE))?.map(|sealed| self.open_signing_key(&sealed));
        let sealed = read(&self.dir.join(MARK_FILE))?;
        let mark = sealed.and_then(|sealed| Mark::from_bytes(self.root_key.open(MARK, &sealed).ok()?.expose()));
        Ok(match (mark, key) {
            (Some(mark), _) => KeptMark::At(mark),
            (None, Some(Ok((_, false)))) => KeptMark::Never,
            (None, _) => KeptMark::Lost,
        })
    }

    fn write(&self, mark: Mark) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write(&self.dir.join(MARK_FILE), &self.root_key.seal(&*self.entropy, MARK, &mark.to_bytes()))
    }
}

#[async_trait]
impl Reseal for Sealed {
    fn name(&self) -> &'static str {
        "audit signing keys"
    }

    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (file, labels) in [(SIGNING_KEY_FILE, &[MARKED, UNMARKED][..]), (MARK_FILE, &[MARK])] {
            let path = self.dir.join(file);
            let failed = |error: &dyn std::error::Error| ResealError::new(path.display().to_string(), error);
            // Without an audit there is neither.
            let Some(sealed) = read(&path).map_err(|error| failed(&error))? else { continue };
            let mut resealed = Err(RootKeyError::Damaged);
            for label in labels {
                if matches!(resealed, Err(RootKeyError::Damaged)) {
                    resealed = root.reseal(&*self.entropy, label, &sealed);
                }
            }
            let resealed = match resealed {
                // A mark that is no mark is told of at the start and by every verification; the key must not be lost for it.
                Err(RootKeyError::Damaged | RootKeyError::WrongKey) if file == MARK_FILE => None,
                resealed => resealed.map_err(|error| failed(&error))?,
            };
            if let Some(fresh) = resealed {
                write(&path, &fresh).map_err(|error| failed(&error))?;
                count += usize::from(file == SIGNING_KEY_FILE);
            }
        }
        Ok(count)
    }
}

/// What is in a file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SeededEntropy;

    struct Bench {
        dir: tempfile::TempDir,
        root_key: Arc<RootKey>,
    }

    impl Bench {
        fn new() -> Self {
            let root_key = RootKey::parse(STANDARD.encode([7; 32]).as_bytes()).unwrap();
            Self { dir: tempfile::tempdir().unwrap(), root_key: Arc::new(root_key) }
        }

        fn sealed(&self) -> Sealed {
            let config = Config { data_dir: self.dir.path().to_owned(), ..Config::default() };
            Sealed::new(&config, Arc::clone(&self.root_key), Arc::new(SeededEntropy::new(1)))
        }

        fn file(&self, name: &str) -> PathBuf {
            self.dir.path().join("audit").join(name)
        }
    }

    #[test]
    fn a_mark_that_is_gone_shows_once_there_was_one() {
        let bench = Bench::new();
        let sealed = bench.sealed();
        let public = sealed.signing_key().unwrap().public().to_vec();
        assert_eq!(sealed.read().unwrap(), KeptMark::Never);
        let mark = Mark { number: 3, hash: [9; 32] };
        sealed.write(mark).unwrap();
        assert_eq!(sealed.read().unwrap(), KeptMark::At(mark));
        for _ in 0..2 {
            sealed.expect_mark().unwrap();
            assert_eq!(bench.sealed().read().unwrap(), KeptMark::At(mark));
        }
        let stored = fs::read(bench.file(MARK_FILE)).unwrap();
        for lost in [&b""[..], b"mark", &stored[..stored.len() - 1]] {
            fs::write(bench.file(MARK_FILE), lost).unwrap();
            assert_eq!(sealed.read().unwrap(), KeptMark::Lost);
        }
        fs::remove_file(bench.file(MARK_FILE)).unwrap();
        assert_eq!(sealed.read().unwrap(), KeptMark::Lost);
        assert_eq!(sealed.signing_key().unwrap().public(), public);
    }

    #[test]
    fn a_signing_key_that_was_lost_is_not_replaced() {
        let bench = Bench::new();
        bench.sealed().signing_key().unwrap();
        fs::remove_file(bench.file(SIGNING_KEY_FILE)).unwrap();
        let refusal = bench.sealed().signing_key().unwrap_err().to_string();
        assert!(refusal.contains("restore it from a backup, or move the whole directory aside"), "{refusal}");
        assert!(!bench.file(SIGNING_KEY_FILE).exists());
    }

    #[tokio::test]
    async fn key_and_mark_are_sealed_anew() {
        let bench = Bench::new();
        let sealed = bench.sealed();
        sealed.signing_key().unwrap();
        let mark = Mark { number: 3, hash: [9; 32] };
        sealed.write(mark).unwrap();
        sealed.expect_mark().unwrap();
        let both = format!("{} {}", STANDARD.encode([8; 32]), STANDARD.encode([7; 32]));
        let rotating = Arc::new(RootKey::parse(both.as_bytes()).unwrap());
        assert_eq!(sealed.reseal(&rotating).await.unwrap(), 1);
        assert_eq!(sealed.reseal(&rotating).await.unwrap(), 0);
        let new = RootKey::parse(STANDARD.encode([8; 32]).as_bytes()).unwrap();
        let bench = Bench { root_key: Arc::new(new), ..bench };
        assert_eq!(bench.sealed().read().unwrap(), KeptMark::At(mark));
        assert!(bench.sealed().signing_key().is_ok());
    }
}
