//! `strongroom serve`: from the settings to a listening server, and from the signal to stop to a closed store.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::authority::{self, Authority, AuthorityError};
use super::banner::Banner;
use super::credentials::{CredentialsError, RootCredentials};
use super::data_dir::{DataDir, DataDirError};
use super::graph::{Graph, GraphError, Ground};
use super::settings::{self, ServeArgs, SettingsError};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, LogFormat};
use crate::crypto::{SharedEntropy, SystemEntropy};
use crate::http::{Addresses, BindError, Drained, Edge, Material, Server, Tls, TlsError, TrustedProxies};
use crate::store::Store as _;
use crate::telemetry::{Metrics, log};

/// How long work that no request waits for may go on when the server stops.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Why the server could not start, or did not stop well.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Log(#[from] log::LogError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The operator's own certificate.
    #[error("tls.certificate, tls.key: {0}")]
    Certificate(TlsError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Whether the configuration is wrong, though nobody could tell before it was used.
    pub(super) fn is_of_asking(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Log(_) | Self::Certificate(_) => true,
            Self::DataDir(error) => error.is_of_asking(),
            Self::Graph(error) => error.is_of_asking(),
            _ => false,
        }
    }
}

/// Serves until told to stop.
pub(super) fn run(arguments: ServeArgs) -> Result<(), StartError> {
    let mut config = settings::settle(arguments, |name| std::env::var(name).ok())?;
    let format = match config.log.format {
        LogFormat::Auto => log::Format::of_stderr(),
        LogFormat::Human => log::Format::Human,
        LogFormat::Json => log::Format::Json,
    };
    let _log = log::start(&config.log.filter, format)?;
    let wanted = config.limits.connections;
    config.limits.connections = connections_within(raise_file_limit(), wanted);
    if config.limits.connections < wanted {
        let connections = config.limits.connections;
        warn!(
            connections,
            wanted, "the limit on open files allows no more connections: raise it (ulimit -n, LimitNOFILE)"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("strongroom").build()?;
    let served = runtime.block_on(serve(config));
    runtime.shutdown_timeout(AFTERMATH);
    served
}

async fn serve(config: Config) -> Result<(), StartError> {
    // From the first moment: whoever sends one early, as `systemctl reload` may, must not end the process.
    let hangup = signal(SignalKind::hangup())?;
    let clock: SharedClock = Arc::new(SystemClock);
    let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
    let metrics = Arc::new(Metrics::default());
    let directory = DataDir::open(&config.data_dir)?;
    let root = RootCredentials::obtain(&config.root, &directory, entropy.as_ref())?;
    let certificate = Certificate::obtain(&config, &directory, &clock)?;
    let tls = Arc::new(
        Tls::new(certificate.material()?, config.limits.streams > 0).map_err(|error| certificate.refused(error))?,
    );
    let graph = Graph::build(Ground {
        config: &config,
        root: &root,
        data_dir: directory.path().to_owned(),
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    })
    .await?;
    let proxies = TrustedProxies::new(config.trusted_proxies.clone());
    let edge = Arc::new(Edge::new(graph.protocols.clone(), proxies, Arc::clone(&graph.audit), metrics, clock, entropy));
    let store = graph.store.clone();
    edge.readiness().require(move || store.upgrade().is_none_or(|store| store.takes_writes()));
    let addresses = Addresses { https: config.listen, http: config.http_listen };
    // From here on a signal is a wish to stop, not the end of the process.
    let stop = stop_signal()?;
    let server = Server::bind(addresses, Arc::clone(&tls), Arc::clone(&edge), config.limits.clone()).await?;
    let addresses = server.addresses()?;
    let renewal = tokio::spawn(renew(tls, certificate, hangup));
    announce(addresses, &config, &root, directory.path())?;
    let drained = server.run(stop).await;
    renewal.abort();
    drop(edge);
    graph.close().await;
    info!(clean = drained == Drained::Clean, "stopped");
    Ok(())
}

/// Where the server's certificate comes from.
enum Certificate {
    /// The operator's files.
    Given { certificate: PathBuf, key: PathBuf, clock: SharedClock },
    /// Our own authority.
    Issued { authority: Box<Authority>, names: Vec<String>, clock: SharedClock },
}

impl Certificate {
    fn obtain(config: &Config, directory: &DataDir, clock: &SharedClock) -> Result<Self, StartError> {
        match (&config.tls.certificate, &config.tls.key) {
            (Some(certificate), Some(key)) => {
                Ok(Self::Given { certificate: certificate.clone(), key: key.clone(), clock: Arc::clone(clock) })
            }
            _ => Ok(Self::Issued {
                authority: Box::new(Authority::obtain(directory, clock.as_ref())?),
                names: authority::names(config),
                clock: Arc::clone(clock),
            }),
        }
    }

    fn material(&self) -> Result<Material, StartError> {
        match self {
            Self::Given { certificate, key, clock } => {
                let material = Material::read(certificate, key).map_err(|error| self.refused(error))?;
                if material.is_marked_as_authority(clock.now()) {
                    warn!(
                        file = %certificate.display(),
                        "the certificate is marked as an authority's (CA:TRUE): strict clients refuse it from a server, the \
                         operators' commands among them; openssl req -x509 takes -addext basicConstraints=critical,CA:FALSE"
                    );
                }
                Ok(material)
            }
            Self::Issued { authority, names, clock } => Ok(authority.issue(names, clock.as_ref())?),
        }
    }

    /// Why it cannot be used: where it is the operator's, the configuration is wrong.
    fn refused(&self, error: TlsError) -> StartError {
        match self {
            Self::Given { .. } => StartError::Certificate(error),
            Self::Issued { .. } => StartError::Tls(error),
        }
    }
}

fn renewed(tls: &Tls, certificate: &Certificate) -> Result<(), StartError> {
    tls.replace(certificate.material()?).map_err(|error| certificate.refused(error))
}

/// Reads or issues the certificate again at every SIGHUP, and now and then.
async fn renew(tls: Arc<Tls>, certificate: Certificate, mut hangup: Signal) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(authority::RENEWAL) => {}
        }
        match renewed(&tls, &certificate) {
            Ok(()) => info!("the certificate was renewed"),
            Err(error) => error!(%error, "the certificate was not renewed; the old one stays"),
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn announce(addresses: Addresses, config: &Config, root: &RootCredentials, data_dir: &Path) -> io::Result<()> {
    info!(
        https = %addresses.https,
        http = addresses.http.map(tracing::field::display),
        data_dir = %data_dir.display(),
        region = %config.region,
        root_access_key_id = %root.id,
        "serving"
    );
    let mut stdout = io::stdout();
    if stdout.is_terminal() {
        let banner = Banner {
            addresses,
            region: &config.region.to_string(),
            authority: config.tls.certificate.is_none().then(|| data_dir.join(authority::CERTIFICATE)),
            credentials: root.kept.then(|| data_dir.join(RootCredentials::FILE)),
        };
        stdout.write_all(banner.render().as_bytes())?;
        stdout.flush()?;
    }
    Ok(())
}

/// Open files beside connections: the store's tables and segments, the audit's log, connections to other servers.
const OTHER_FILES: u64 = 1024;

/// How many of the `wanted` connections may be open where there may be so many open files (`None`: any number), so that
/// the store is never without one.
fn connections_within(files: Option<u64>, wanted: u32) -> u32 {
    let most = files.map_or(u64::MAX, |files| files - (files / 2).min(OTHER_FILES)).max(1);
    wanted.min(u32::try_from(most).unwrap_or(u32::MAX))
}

/// Every connection and every open run is a file descriptor, and the default soft limit is for programs of the 1980s.
/// Returns the limit that is in force; `None` is no limit.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit on open files stays as it is");
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_the_store() {
        assert_eq!(connections_within(None, 8192), 8192);
        assert_eq!(connections_within(Some(65_536), 8192), 8192);
        assert_eq!(connections_within(Some(4096), 8192), 3072);
        assert_eq!(connections_within(Some(120), 8192), 60);
        assert_eq!(connections_within(Some(120), 20), 20);
        assert_eq!(connections_within(Some(0), 8192), 1);
    }
}
