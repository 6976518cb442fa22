//! Every option of the server: its name, type, meaning and default, in one table per section.
//!
//! A [`Config`] comes from a TOML file or from nothing; `cli` lays the environment and the flags over it. What the file
//! says is parsed into types here, so that nothing downstream checks a string again. A key that is not in these tables,
//! or a value of another type, is refused with its file and line. `config/strongroom.example.toml` shows every option; a
//! test holds it to these tables.

mod delivery;
mod reader;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

pub use delivery::{ArnPattern, NotificationTarget, ReplicationDestination, SaslMechanism};
pub use values::{
    AccessKeyId, AccountId, CanonicalId, CertificateName, Credential, Domain, InvalidValue, Region, SecretKey,
    SecretText, ServiceAddress, ServiceName, SyslogAddress, WebhookUrl, listen_address,
};

/// Defines a section: each option with its documentation, type and default.
macro_rules! options {
    ($(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        #[cfg(test)]
        impl $name {
            pub(super) const OPTIONS: &'static [&'static str] = &[$( stringify!($field) ),*];
        }
    };
}

mod key_services;

pub use key_services::{AwsService, RemoteCalls, TransitLogin, TransitService};

options! {
    /// The whole configuration.
    Config {
        /// Where everything durable lives; made if absent.
        data_dir: PathBuf = PathBuf::from("strongroom-data"),
        /// The address of the HTTPS endpoint.
        #[serde(deserialize_with = "values::address")]
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
        /// The address of a plain HTTP endpoint, for use behind a proxy that ends TLS and alone can reach it: what KMS, IAM and STS
        /// answer that is secret is answered there in clear. None by default.
        #[serde(deserialize_with = "values::some_address")]
        http_listen: Option<SocketAddr> = None,
        /// Proxies that end TLS in front of the plain HTTP endpoint: what their `X-Forwarded-Proto` and `X-Forwarded-For` say
        /// is believed.
        #[serde(deserialize_with = "values::networks")]
        trusted_proxies: Vec<IpNet> = Vec::new(),
        /// The AWS region that the server says it is.
        region: Region = Region::default(),
        /// Domains under which buckets are addressed virtual-host style, beside `localhost` and AWS's own.
        base_domains: Vec<Domain> = Vec::new(),
        /// The first account and its root access key.
        root: Root = Root::default(),
        /// Further accounts.
        accounts: Vec<Account> = Vec::new(),
        /// The certificate.
        tls: Tls = Tls::default(),
        /// The key services.
        kms: Kms = Kms::default(),
        /// Where everything durable lives.
        store: Store = Store::default(),
        /// The object store.
        s3: S3 = S3::default(),
        /// Temporary credentials.
        sts: Sts = Sts::default(),
        /// Life cycles.
        lifecycle: Lifecycle = Lifecycle::default(),
        /// Inventory reports.
        inventory: Inventory = Inventory::default(),
        /// Event notifications.
        notifications: Notifications = Notifications::default(),
        /// Replication.
        replication: Replication = Replication::default(),
        /// The audit.
        audit: Audit = Audit::default(),
        /// What one client, or all of them, may use.
        limits: Limits = Limits::default(),
        /// The log.
        log: Log = Log::default(),
    }
}

options! {
    /// `[root]`: the first account and its root access key.
    Root {
        /// The account's id: twelve digits.
        account_id: AccountId = AccountId::default(),
        /// The canonical user id that S3 shows as owner: 64 hexadecimal digits; by default derived from the account's id.
        canonical_id: Option<CanonicalId> = None,
        /// Shown beside the canonical id.
        display_name: String = "root".to_owned(),
        /// Of the account's root.
        email: String = String::new(),
        /// The access key; without one, the first start makes a pair and keeps it in `DATA_DIR/credentials`.
        access_key_id: Option<AccessKeyId> = None,
        /// The secret of the access key.
        secret_access_key: Option<SecretKey> = None,
    }
}

options! {
    /// `[tls]`: the certificate of the HTTPS endpoint.
    Tls {
        /// A PEM file with the certificate and its chain; by default the server's own authority issues one.
        certificate: Option<PathBuf> = None,
        /// A PEM file with the certificate's private key.
        key: Option<PathBuf> = None,
        /// Further names (or IP addresses) for the certificate that the server's own authority issues.
        names: Vec<CertificateName> = Vec::new(),
    }
}

options! {
    /// `[kms]`: the embedded key service, and others.
    Kms {
        /// A file with the root key; by default one that the first start makes in the data directory.
        root_key_file: Option<PathBuf> = None,
        /// What seals the root key in its file.
        root_key_protection: RootKeyProtection = RootKeyProtection::None,
        /// A file with the passphrase that seals the root key; by default it is asked for on the terminal.
        root_key_passphrase_file: Option<PathBuf> = None,
        /// The key of another key service that seals the root key: `SERVICE/KEY`.
        root_key_kms_key: Option<String> = None,
        /// For how many seconds that service is waited for at the start.
        root_key_kms_wait_seconds: u32 = 60,
        /// How many unwrapped data keys are held, so that reading an object again asks no KMS; 0: none.
        unwrap_cache_entries: u32 = 0,
        /// Seconds that one is held.
        unwrap_cache_seconds: u32 = 300,
        /// How often one is used.
        unwrap_cache_uses: u32 = 10_000,
        /// The service whose keys SSE-KMS uses where the name of a key does not say: `embedded`, or that of another one.
        default_service: ServiceName = ServiceName::embedded(),
        /// How services across the network are asked.
        remote: RemoteCalls = RemoteCalls::default(),
        /// Transit engines of OpenBao or Vault servers.
        transit: Vec<TransitService> = Vec::new(),
        /// AWS KMS, or what speaks its API.
        aws: Vec<AwsService> = Vec::new(),
    }
}

/// What seals the root key in its file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum RootKeyProtection {
    /// `none`: the file's permissions alone.
    None,
    /// `passphrase`: a key that Argon2id makes of a passphrase.
    Passphrase,
    /// `kms`: a key of a key service across the network.
    Kms,
}

/// The canonical user id of Amazon EC2, which the canned list `aws-exec-read` lets in: no account may have it.
pub const EC2_CANONICAL_ID: &str = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c";

/// With less of a cache, in MiB, each read would be one of the disk's.
const LEAST_CACHE_MIB: u32 = 4;
/// A tebibyte: more is a slip.
const MOST_CACHE_MIB: u32 = 1 << 20;

options! {
    /// `[store]`: where everything durable lives.
    Store {
        /// Memory for the cache of recently read and written index blocks and small objects, in MiB; by default a sixteenth
        /// of the memory that the server may use, but at least 64 and at most 1024.
        cache_mib: Option<u32> = None,
        /// Memory for the cache of large objects that were recently written past the page cache, as they lie on the disk, in
        /// MiB.
        recent_mib: u32 = 32,
        /// Whether large objects are written past the page cache, where the file system can; if not, they are kept there.
        direct_io: bool = true,
    }
}

options! {
    /// `[s3]`: the object store.
    S3 {
        /// Whether a copy may take over its source's sealed bytes, its data key being wrapped anew; if not, every copy is
        /// encrypted afresh.
        share_on_copy: bool = true,
        /// Seconds that lines of server access logs gather before they are delivered.
        access_log_seconds: u32 = 60,
        /// Whether a refusal, of whichever service, names the policy statement that denies to all callers of the account that
        /// owns the resource; its root is told in any case.
        explain_denials: bool = false,
    }
}

options! {
    /// `[sts]`: temporary credentials.
    Sts {
        /// A PEM file with the authorities that vouch for OpenID Connect issuers, from which `AssumeRoleWithWebIdentity` fetches
        /// keys; by default the system's own.
        issuer_authorities: Option<PathBuf> = None,
    }
}

options! {
    /// `[lifecycle]`: how the life cycles of buckets are carried out.
    Lifecycle {
        /// Seconds between two looks at which buckets are due.
        interval_seconds: u32 = 60,
        /// Seconds of a day: 86 400, unless a test cannot wait that long. Inventory reports go by it too.
        day_seconds: u32 = 86_400,
        /// Versions and uploads that are looked at each second, at most.
        objects_per_second: u32 = 20_000,
        /// Versions and uploads that are removed each second, at most.
        deletions_per_second: u32 = 1_000,
    }
}

options! {
    /// `[notifications]`: where buckets' events go.
    Notifications {
        /// Hours that an event is tried to be delivered, at least.
        max_age_hours: u32 = 24,
        /// Events of one bucket that may wait while their target fails; beyond, the oldest are given up.
        max_waiting: u32 = 1_000_000,
        /// The targets, by the ARNs that clients name.
        targets: Vec<NotificationTarget> = Vec::new(),
    }
}

options! {
    /// `[inventory]`: how inventory reports are made.
    Inventory {
        /// Seconds between two looks at which reports are due.
        interval_seconds: u32 = 60,
        /// Versions that are read each second, at most.
        objects_per_second: u32 = 20_000,
    }
}

options! {
    /// `[replication]`: how objects get to other buckets.
    Replication {
        /// Objects that are replicated at once.
        at_once: u32 = 16,
        /// MiB that are sent to other servers each second; 0: as many as go.
        max_mib_per_second: u32 = 0,
        /// MiB of the parts in which larger objects are sent to other servers.
        part_mib: u32 = 64,
        /// Hours that an object is tried to be replicated, before its status is FAILED, where what fails may pass.
        max_age_hours: u32 = 336,
        /// How buckets of other servers are reached; all others are this server's own.
        destinations: Vec<ReplicationDestination> = Vec::new(),
    }
}

options! {
    /// `[audit]`: who did what, in CloudTrail's events.
    Audit {
        /// Whether events are written: those of the KMS API, of S3's uses of keys, of identities and of buckets' management.
        enabled: bool = true,
        /// Where; by default `DATA_DIR/audit`.
        dir: Option<PathBuf> = None,
        /// Whether reading and writing objects are events too.
        data_events: bool = false,
        /// Whether nothing may be done without its event: requests are refused while the log cannot be written, and every
        /// event is on stable storage before what it tells of leaves the server.
        required: bool = false,
        /// Whether each event is on stable storage before the next is taken.
        sync: bool = false,
        /// Whether events are printed on standard output too, a line each as in the log, for whoever collects it.
        stdout: bool = false,
        /// Where events are sent as syslog messages too (RFC 5424): `udp://`, `tcp://` or `unix://`.
        syslog: Option<SyslogAddress> = None,
        /// Their facility, by its number: 13 is `log audit`.
        syslog_facility: u32 = 13,
        /// A URL that events are posted to, as `{"Records": [...]}`: CloudTrail's form.
        webhook: Option<WebhookUrl> = None,
        /// The value of the Authorization header of those requests.
        webhook_authorization: Option<Credential> = None,
        /// A PEM file with the certificates that vouch for the URL's server; by default the system's.
        webhook_ca: Option<PathBuf> = None,
        /// Size of the log's files, MiB.
        segment_mib: u32 = 16,
        /// Days that events are kept; 0: for ever.
        retention_days: u32 = 90,
        /// MiB of the whole log beyond which its oldest files go, whatever their age; 0: the disk is the limit.
        max_mib: u32 = 16 * 1024,
        /// Seconds between the digests that sign how far the log goes.
        digest_seconds: u32 = 300,
    }
}

options! {
    /// `[limits]`: what one client, or all of them, may use. Times are in seconds.
    Limits {
        /// Connections at once; more wait in the listen queue. Never more than the limit on open files leaves.
        connections: u32 = 8192,
        /// Streams at once on one HTTP/2 connection; 0: HTTP/2 is not offered.
        streams: u32 = 128,
        /// Bytes of a request's line and headers.
        header_bytes: u32 = 64 * 1024,
        /// Until a TLS handshake must be complete.
        handshake_seconds: u32 = 10,
        /// Until a request's line and headers, once begun, must be complete.
        header_seconds: u32 = 30,
        /// How long a connection may stay open without a request.
        idle_seconds: u32 = 75,
        /// How long a request's or a response's body may make no progress for the client's sake.
        stall_seconds: u32 = 60,
        /// How long requests may go on after the signal to stop.
        drain_seconds: u32 = 30,
        /// Wrong signatures, of a client address (of IPv6: its network of 64 bits), each minute; 0: any number.
        failed_signatures: u32 = 600,
    }
}

options! {
    /// `[log]`: the log, on standard error.
    Log {
        /// Which events: a level, or directives as `RUST_LOG` has them.
        filter: String = "info".to_owned(),
        /// In which form.
        format: LogFormat = LogFormat::Auto,
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `auto`: for people on a terminal, JSON otherwise.
    Auto,
    /// `human`: for people.
    Human,
    /// `json`: one object a line.
    Json,
}

/// `[[accounts]]`: an account and its root access key. All but the canonical id, the name and the email must be given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Twelve digits.
    pub id: AccountId,
    /// 64 hexadecimal digits; by default derived from the id.
    pub canonical_id: Option<CanonicalId>,
    /// Shown beside the canonical id.
    #[serde(default)]
    pub display_name: String,
    /// Of the account's root.
    #[serde(default)]
    pub email: String,
    /// The root's access key.
    pub access_key_id: AccessKeyId,
    /// Its secret.
    pub secret_access_key: SecretKey,
}

#[cfg(test)]
impl Account {
    const OPTIONS: &'static [&'static str] =
        &["id", "canonical_id", "display_name", "email", "access_key_id", "secret_access_key"];
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in the file.
    #[error("{}:{line}: {problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// Options that contradict each other or make no sense, wherever they came from.
    #[error("{0}")]
    Contradiction(String),
}

impl Config {
    /// Reads `path`.
    ///
    /// # Errors
    /// [`ConfigError`], whose text names the file, the line and, for an unknown key, the nearest known one.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        reader::read(text).map_err(|refusal| ConfigError::Refused {
            path: path.to_owned(),
            line: refusal.line(text),
            problem: refusal.to_string(),
        })
    }

    /// This configuration, if its parts go together.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`].
    pub fn consistent(self) -> Result<Self, ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return contradiction("tls.certificate and tls.key must be given together");
        }
        if self.root.access_key_id.is_some() != self.root.secret_access_key.is_some() {
            return contradiction("the root's access key id and secret access key must be given together");
        }
        if self.http_listen == Some(self.listen) && self.listen.port() != 0 {
            return contradiction("listen and http_listen must differ");
        }
        let limits = &self.limits;
        for (name, value, least) in [
            ("connections", limits.connections, 1),
            ("header_bytes", limits.header_bytes, 8 * 1024),
            ("handshake_seconds", limits.handshake_seconds, 1),
            ("header_seconds", limits.header_seconds, 1),
            ("idle_seconds", limits.idle_seconds, 1),
            ("stall_seconds", limits.stall_seconds, 1),
        ] {
            if value < least {
                return contradiction(&format!("limits.{name} must be at least {least}"));
            }
        }
        let (lifecycle, inventory) = (&self.lifecycle, &self.inventory);
        for (name, value) in [
            ("lifecycle.interval_seconds", lifecycle.interval_seconds),
            ("lifecycle.day_seconds", lifecycle.day_seconds),
            ("lifecycle.objects_per_second", lifecycle.objects_per_second),
            ("lifecycle.deletions_per_second", lifecycle.deletions_per_second),
            ("inventory.interval_seconds", inventory.interval_seconds),
            ("inventory.objects_per_second", inventory.objects_per_second),
            ("audit.segment_mib", self.audit.segment_mib),
            ("audit.digest_seconds", self.audit.digest_seconds),
            ("s3.access_log_seconds", self.s3.access_log_seconds),
            ("notifications.max_age_hours", self.notifications.max_age_hours),
            ("notifications.max_waiting", self.notifications.max_waiting),
            ("replication.max_age_hours", self.replication.max_age_hours),
            ("replication.at_once", self.replication.at_once),
        ] {
            if value == 0 {
                return contradiction(&format!("{name} must be at least 1"));
            }
        }
        if self.store.cache_mib.is_some_and(|mib| mib < LEAST_CACHE_MIB) {
            return contradiction(&format!("store.cache_mib must be at least {LEAST_CACHE_MIB}"));
        }
        if self.store.cache_mib.unwrap_or_default().max(self.store.recent_mib) > MOST_CACHE_MIB {
            return contradiction(&format!("store.cache_mib and store.recent_mib must be at most {MOST_CACHE_MIB}"));
        }
        if self.audit.required && !self.audit.enabled {
            return contradiction("audit.required needs audit.enabled");
        }
        for (option, is_set) in [
            ("audit.stdout", self.audit.stdout),
            ("audit.syslog", self.audit.syslog.is_some()),
            ("audit.webhook", self.audit.webhook.is_some()),
        ] {
            if is_set && !self.audit.enabled {
                return contradiction(&format!("{option} needs audit.enabled"));
            }
        }
        if self.audit.syslog_facility > 23 {
            return contradiction("audit.syslog_facility must be at most 23");
        }
        key_services::check(&self.kms, &self.region)?;
        let targets = &self.notifications.targets;
        for (index, target) in targets.iter().enumerate() {
            if targets[..index].iter().any(|other| other.arn == target.arn) {
                return contradiction(&format!("the notification target {} is declared twice", target.arn));
            }
            if let Some(option) = target.foreign() {
                let arn = &target.arn;
                return contradiction(&format!(
                    "the notification target {arn}: {option} means nothing with such a url"
                ));
            }
        }
        if !(5..=5 * 1024).contains(&self.replication.part_mib) {
            return contradiction("replication.part_mib must be between 5 and 5120");
        }
        self.check_accounts()?;
        Ok(self)
    }

    /// Whether each account is another's neither by its ids nor by its access key: whose canonical id is another's reads what
    /// access control lists grant to that one.
    fn check_accounts(&self) -> Result<(), ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        let mut ids = vec![&self.root.account_id];
        let mut keys: Vec<&AccessKeyId> = self.root.access_key_id.iter().collect();
        for account in &self.accounts {
            if ids.contains(&&account.id) {
                return contradiction(&format!("the account {} is declared twice", account.id));
            }
            if keys.contains(&&account.access_key_id) {
                return contradiction(&format!("the access key {} is declared twice", account.access_key_id));
            }
            ids.push(&account.id);
            keys.push(&account.access_key_id);
        }
        let given =
            std::iter::once(&self.root.canonical_id).chain(self.accounts.iter().map(|other| &other.canonical_id));
        let mut canonical_ids: Vec<CanonicalId> = Vec::new();
        for (id, given) in ids.into_iter().zip(given) {
            let canonical_id = given.clone().unwrap_or_else(|| id.canonical_id());
            if canonical_id.as_str() == EC2_CANONICAL_ID {
                return contradiction(&format!("the canonical id of the account {id} is that of Amazon EC2"));
            }
            if canonical_ids.contains(&canonical_id) {
                return contradiction(&format!("the canonical id of the account {id} is another account's too"));
            }
            canonical_ids.push(canonical_id);
        }
        Ok(())
    }

    /// The domains under which the first label of the host is a bucket.
    pub fn virtual_host_domains(&self) -> Vec<String> {
        let region = &self.region;
        let own = ["localhost".to_owned(), "s3.localhost".to_owned()];
        let amazon = ["s3.amazonaws.com".to_owned(), format!("s3.{region}.amazonaws.com")];
        own.into_iter().chain(amazon).chain(self.base_domains.iter().map(ToString::to_string)).collect()
    }

    /// The domains under which the first labels of the host are a bucket whose website is meant: `s3-website.DOMAIN`, and as
    /// AWS has it with the region, beside each domain for buckets.
    pub fn website_domains(&self) -> Vec<String> {
        let region = &self.region;
        let amazon = [format!("s3-website-{region}.amazonaws.com"), format!("s3-website.{region}.amazonaws.com")];
        let bases =
            ["localhost"].into_iter().map(str::to_owned).chain(self.base_domains.iter().map(ToString::to_string));
        let beside = bases.flat_map(|base| {
            let parent = base.strip_prefix("s3.").map(|parent| format!("s3-website.{parent}"));
            [Some(format!("s3-website.{base}")), Some(format!("s3-website-{region}.{base}")), parent]
        });
        amazon.into_iter().chain(beside.flatten()).collect()
    }
}

#[cfg(test)]
mod tests;
