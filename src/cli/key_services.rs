//! The key services of the configuration: each behind its guards, its meter and its gate.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::metering::{MeteredKms, ServiceMeter, tell_of_no_cache, watch_breaker, watch_cache};
use crate::clock::SharedClock;
use crate::config::{self, AwsService, Config, RemoteCalls, TransitLogin, TransitService};
use crate::crypto::{SecretBytes, SharedEntropy};
use crate::kms::SharedKms;
use crate::kms::aws;
use crate::kms::cache::CachedKms;
use crate::kms::error::KmsError;
use crate::kms::gate::Gated;
use crate::kms::guard::{Breaker, Deadline, Guarded, Retry};
use crate::kms::held::Limits;
use crate::kms::local::LocalKms;
use crate::kms::services::{Home, KeyServices, Service};
use crate::kms::transit::{ClientError, Login, Server, Settings, TokenSource, TransitKms};
use crate::telemetry::Metrics;

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// The environment's variables that may hold a token.
const TOKEN_VARIABLES: [&str; 2] = ["BAO_TOKEN", "VAULT_TOKEN"];

/// A key service cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    /// The client of a transit engine.
    #[error("the key service '{name}': {source}")]
    Transit {
        /// Which service.
        name: String,
        /// Why.
        source: ClientError,
    },
    /// The client of an AWS KMS.
    #[error("the key service '{name}': {source}")]
    Aws {
        /// Which service.
        name: String,
        /// Why.
        source: aws::ClientError,
    },
    /// No token is to be had.
    #[error("the key service '{0}': there is no token: give token_file, or BAO_TOKEN in the environment")]
    NoToken(String),
    /// The policy cannot be read.
    #[error("{path}: {source}")]
    PolicyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The policy is none.
    #[error("{path}: {error}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KmsError,
    },
}

/// A service across the network, before its gate: for the server's own use.
pub(super) struct Remote {
    pub(super) service: Service,
    /// The file with the policy for its keys.
    policy_file: Option<PathBuf>,
    /// Whether the unwrap cache may answer for it.
    is_cached: bool,
}

/// What stands around every service.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a Config,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) entropy: &'a SharedEntropy,
}

impl Surroundings<'_> {
    /// The services across the network. Nothing is asked of them yet.
    pub(super) async fn remote_services(&self) -> Result<Vec<Remote>, ServiceError> {
        let kms = &self.config.kms;
        let mut services = kms.transit.iter().map(|service| self.transit(service)).collect::<Result<Vec<_>, _>>()?;
        for service in &kms.aws {
            services.push(self.aws(service).await?);
        }
        Ok(services)
    }

    /// All services: the embedded one, which is asked through `entrance`, and the others, each behind its gate.
    pub(super) fn join(
        &self,
        local: &Arc<LocalKms>,
        entrance: SharedKms,
        remote: Vec<Remote>,
    ) -> Result<KeyServices, ServiceError> {
        let gated = |Remote { service, policy_file, .. }| {
            let path = policy_file.unwrap_or_default();
            let policy = Some(&path).filter(|path| !path.as_os_str().is_empty()).map(fs::read_to_string).transpose();
            let policy = policy.map_err(|source| ServiceError::PolicyFile { path: path.clone(), source })?;
            let account = self.config.root.account_id.to_string();
            let kms = Gated::shared(Arc::clone(local), service.kms, account, policy.as_deref());
            Ok(Service { kms: kms.map_err(|error| ServiceError::Policy { path, error })?, ..service })
        };
        let remote = remote.into_iter().map(gated).collect::<Result<_, ServiceError>>()?;
        Ok(KeyServices::new(Arc::clone(local), entrance, remote, self.config.kms.default_service.to_string()))
    }

    /// The services, with an unwrap cache before those that are to have one: behind the gate, which goes on judging each use.
    pub(super) fn cached(&self, remote: Vec<Remote>, clock: &SharedClock) -> (Vec<Remote>, Vec<Arc<CachedKms>>) {
        let mut caches = Vec::new();
        let before = |mut remote: Remote| {
            let Service { name, kms, .. } = &mut remote.service;
            if let Some(cache) = remote.is_cached.then(|| self.cache(name, kms, clock)).flatten() {
                *kms = Arc::clone(&cache) as SharedKms;
                caches.push(cache);
            }
            remote
        };
        let remote = remote.into_iter().map(before).collect();
        (remote, caches)
    }

    /// An unwrap cache over `kms`, if the configuration has any.
    pub(super) fn cache(&self, name: &str, kms: &SharedKms, clock: &SharedClock) -> Option<Arc<CachedKms>> {
        let config::Kms { unwrap_cache_entries: entries, unwrap_cache_seconds, unwrap_cache_uses, .. } =
            self.config.kms;
        if entries == 0 {
            tell_of_no_cache(self.metrics, name.to_owned());
            return None;
        }
        let limits = Limits::of_unwrapped(entries, unwrap_cache_seconds, unwrap_cache_uses);
        let cache = Arc::new(CachedKms::new(Arc::clone(kms), limits, Arc::clone(clock)));
        watch_cache(self.metrics, name.to_owned(), &cache);
        Some(cache)
    }

    /// Has the calls of a service counted and timed.
    pub(super) fn metered(&self, name: &str, kms: SharedKms) -> SharedKms {
        let kms = Guarded::shared(kms, ServiceMeter::new(name.to_owned(), Arc::clone(self.metrics)));
        Arc::new(MeteredKms::new(kms, Arc::clone(self.metrics)))
    }

    fn transit(&self, service: &TransitService) -> Result<Remote, ServiceError> {
        let name = service.name.to_string();
        let server = Server {
            address: service.address.to_string(),
            namespace: service.namespace.clone(),
            ca_file: service.ca_file.clone(),
            login: login(service)?,
        };
        let settings = Settings {
            mount: service.mount.clone().unwrap_or_else(|| "transit".to_owned()),
            service: name.clone(),
            region: self.config.region.to_string(),
            account: self.config.root.account_id.to_string(),
            default_key: service.default_key.clone(),
            create_default_key: service.create_default_key,
        };
        let kms = TransitKms::new(server, settings, Arc::clone(self.entropy));
        let kms = kms.map_err(|source| ServiceError::Transit { name: name.clone(), source })?;
        let RemoteCalls { attempt_ms, attempts, .. } = self.config.kms.remote;
        let kms = Guarded::shared(Arc::new(kms), Deadline(Duration::from_millis(attempt_ms.into())));
        let kms = Guarded::shared(kms, Retry::new(attempts, Arc::clone(self.entropy)));
        let (policy_file, is_cached) = (service.policy_file.clone(), service.unwrap_cache);
        Ok(Remote { service: self.finish(name, kms, None), policy_file, is_cached })
    }

    async fn aws(&self, service: &AwsService) -> Result<Remote, ServiceError> {
        let name = service.name.to_string();
        let RemoteCalls { attempt_ms, attempts, .. } = self.config.kms.remote;
        let region = service.region.as_ref().unwrap_or(&self.config.region).to_string();
        let settings = aws::Settings {
            service: name.clone(),
            region: region.clone(),
            endpoint: service.endpoint.as_ref().map(ToString::to_string),
            ca_file: service.ca_file.clone(),
            fips: service.fips,
            profile: service.profile.clone(),
            attempt: Duration::from_millis(attempt_ms.into()),
            attempts,
            default_key: service.default_key.clone(),
            create_default_key: service.create_default_key,
        };
        let kms = aws::AwsKms::new(settings).await;
        let kms = kms.map_err(|source| ServiceError::Aws { name: name.clone(), source })?;
        let home = Home { region, account: service.account_id.as_ref().map(ToString::to_string) };
        let (policy_file, is_cached) = (service.policy_file.clone(), service.unwrap_cache);
        Ok(Remote { service: self.finish(name, Arc::new(kms), Some(home)), policy_file, is_cached })
    }

    /// Puts the breaker and the meter before a service.
    fn finish(&self, name: String, kms: SharedKms, home: Option<Home>) -> Service {
        let RemoteCalls { breaker_failures, breaker_seconds, .. } = self.config.kms.remote;
        let rest = Duration::from_secs(breaker_seconds.into());
        let breaker = Arc::new(Breaker::new(name.clone(), breaker_failures, rest));
        watch_breaker(self.metrics, name.clone(), Arc::clone(&breaker));
        let kms = self.metered(&name, Guarded::shared(kms, breaker));
        Service { name, kms, home }
    }
}

fn login(service: &TransitService) -> Result<Login, ServiceError> {
    let mount = |method: &str| service.login_mount.clone().unwrap_or_else(|| method.to_owned());
    let role = || service.role.clone().unwrap_or_default();
    Ok(match service.login {
        TransitLogin::Token => Login::Token(if let Some(path) = &service.token_file {
            TokenSource::File(path.clone())
        } else {
            let given = TOKEN_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
            let token = given.map(String::into_bytes).find(|token| !token.is_empty());
            let token = token.ok_or_else(|| ServiceError::NoToken(service.name.to_string()))?;
            TokenSource::Given(SecretBytes::new(token))
        }),
        TransitLogin::AppRole => {
            Login::AppRole { mount: mount("approle"), role_id: role(), secret_id_file: service.secret_id_file.clone() }
        }
        TransitLogin::Kubernetes => Login::Kubernetes {
            mount: mount("kubernetes"),
            role: role(),
            jwt_file: service.jwt_file.clone().unwrap_or_else(|| PathBuf::from(SERVICE_ACCOUNT_TOKEN)),
        },
    })
}
