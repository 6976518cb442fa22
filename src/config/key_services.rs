//! The options of key services across the network.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::{AccountId, ConfigError, Kms, Region, RootKeyProtection, ServiceAddress, ServiceName};

options! {
    /// `[kms.remote]`: how services across the network are asked.
    RemoteCalls {
        /// How long one try may take, in milliseconds.
        attempt_ms: u32 = 2000,
        /// Tries of one call, the first included.
        attempts: u32 = 3,
        /// Consecutive failures after which the breaker opens.
        breaker_failures: u32 = 5,
        /// For how many seconds it stays open.
        breaker_seconds: u32 = 5,
    }
}

/// `[[kms.transit]]`: a transit engine. Its name, its address and, but for tokens, the role must be given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitService {
    /// Its name: its keys are `NAME/KEY`.
    pub name: ServiceName,
    /// The server's address.
    pub address: ServiceAddress,
    /// A PEM file with the authorities that are trusted; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// The namespace.
    pub namespace: Option<String>,
    /// Where the engine is mounted; by default `transit`.
    pub mount: Option<String>,
    /// How to log in.
    #[serde(default)]
    pub login: TransitLogin,
    /// With `token`: a file with the token; by default `BAO_TOKEN` or `VAULT_TOKEN` of the environment.
    pub token_file: Option<PathBuf>,
    /// Where the login method is mounted below `auth/`; by default its own name.
    pub login_mount: Option<String>,
    /// With `approle`: the role's id; with `kubernetes`: the role.
    pub role: Option<String>,
    /// With `approle`: a file with the secret id.
    pub secret_id_file: Option<PathBuf>,
    /// With `kubernetes`: the file with the service account's token; by default where Kubernetes puts it.
    pub jwt_file: Option<PathBuf>,
    /// The key that is used where none is named.
    pub default_key: Option<String>,
    /// Whether that one is made if it is not there.
    #[serde(default)]
    pub create_default_key: bool,
    /// A file with the key policy for all of its keys; by default the first account decides.
    pub policy_file: Option<PathBuf>,
    /// Whether the unwrap cache may answer for it, so that it does not see every use of its keys.
    #[serde(default)]
    pub unwrap_cache: bool,
}

/// How Strongroom logs in at a transit engine's server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum TransitLogin {
    /// `token`.
    #[default]
    Token,
    /// `approle`.
    AppRole,
    /// `kubernetes`.
    Kubernetes,
}

/// `[[kms.aws]]`: AWS KMS, or what speaks its API. Its name must be given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsService {
    /// Its name: its keys are `NAME/KEY`, besides their own ARNs.
    pub name: ServiceName,
    /// The region; by default the server's own.
    pub region: Option<Region>,
    /// The account whose keys these are; by default all that can be used from there.
    pub account_id: Option<AccountId>,
    /// Another address than AWS's own.
    pub endpoint: Option<ServiceAddress>,
    /// A PEM file with the authorities that are trusted; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether to use the endpoints that are validated after FIPS 140.
    #[serde(default)]
    pub fips: bool,
    /// The profile of AWS's configuration files that holds the credentials.
    pub profile: Option<String>,
    /// The key that is used where none is named.
    pub default_key: Option<String>,
    /// Whether that one, an alias, is made with a fresh key if it is not there.
    #[serde(default)]
    pub create_default_key: bool,
    /// A file with the key policy for all of its keys; by default the first account decides.
    pub policy_file: Option<PathBuf>,
    /// Whether the unwrap cache may answer for it, so that it does not see every use of its keys.
    #[serde(default)]
    pub unwrap_cache: bool,
}

/// Whether the services go together.
pub(super) fn check(kms: &Kms, own_region: &Region) -> Result<(), ConfigError> {
    let contradiction = |text: String| Err(ConfigError::Contradiction(text));
    let remote = &kms.remote;
    for (name, value) in [
        ("attempt_ms", remote.attempt_ms),
        ("attempts", remote.attempts),
        ("breaker_failures", remote.breaker_failures),
        ("breaker_seconds", remote.breaker_seconds),
    ] {
        if value == 0 {
            return contradiction(format!("kms.remote.{name} must be at least 1"));
        }
    }
    let mut names = HashSet::from([ServiceName::embedded().to_string()]);
    let transit = kms.transit.iter().map(|service| (&service.name, &service.default_key, service.create_default_key));
    let aws = kms.aws.iter().map(|service| (&service.name, &service.default_key, service.create_default_key));
    for (name, default_key, create) in transit.chain(aws) {
        if !names.insert(name.to_string()) {
            return contradiction(format!(
                "the key service '{name}' is declared twice, or bears the embedded one's name"
            ));
        }
        if create && default_key.is_none() {
            return contradiction(format!("the key service '{name}': create_default_key needs default_key"));
        }
    }
    let cached = |cached: bool, name: &ServiceName| cached.then(|| name.to_string());
    let transit = kms.transit.iter().find_map(|service| cached(service.unwrap_cache, &service.name));
    let cached = transit.or_else(|| kms.aws.iter().find_map(|service| cached(service.unwrap_cache, &service.name)));
    if let Some(name) = cached.filter(|_| kms.unwrap_cache_entries == 0) {
        return contradiction(format!("the key service '{name}': unwrap_cache needs kms.unwrap_cache_entries"));
    }
    for (at, service) in kms.aws.iter().enumerate() {
        let creates_other = service.create_default_key
            && service
                .default_key
                .as_ref()
                .is_none_or(|key| !key.starts_with("alias/") || key.starts_with("alias/aws/"));
        if creates_other {
            let text = "create_default_key needs an alias (not AWS's own) as default_key";
            return contradiction(format!("kms.aws '{}': {text}", service.name));
        }
        // An ARN must tell whose it is.
        let like = |other: &&AwsService| {
            let region = |service: &AwsService| service.region.clone().unwrap_or_else(|| own_region.clone());
            region(other) == region(service)
                && (other.account_id.is_none()
                    || service.account_id.is_none()
                    || other.account_id == service.account_id)
        };
        if let Some(other) = kms.aws[..at].iter().find(like) {
            let (one, other) = (&other.name, &service.name);
            return contradiction(format!("kms.aws '{one}' and '{other}' are of one region: give each its account_id"));
        }
    }
    if !names.contains(kms.default_service.as_str()) {
        return contradiction(format!("kms.default_service: there is no key service '{}'", kms.default_service));
    }
    let outer = kms.root_key_kms_key.as_deref().and_then(|key| key.split_once('/')).filter(|(_, key)| !key.is_empty());
    let idle = [
        ("root_key_kms_key", kms.root_key_kms_key.is_some()),
        ("root_key_passphrase_file", kms.root_key_passphrase_file.is_some()),
    ];
    match (kms.root_key_protection, outer) {
        // Who gives the means to seal the root key must not be left with one in clear.
        (RootKeyProtection::None, _) => {
            if let Some((name, _)) = idle.iter().find(|(_, is_given)| *is_given) {
                return contradiction(format!(
                    "kms.{name} is given, but kms.root_key_protection is \"none\": nothing would be sealed by it"
                ));
            }
        }
        (RootKeyProtection::Kms, Some((service, _)))
            if service == ServiceName::embedded().as_str() || !names.contains(service) =>
        {
            return contradiction(format!(
                "kms.root_key_kms_key: there is no key service '{service}' across the network"
            ));
        }
        (RootKeyProtection::Kms, None) => {
            return contradiction("root_key_protection \"kms\" needs root_key_kms_key, as SERVICE/KEY".to_owned());
        }
        _ => {}
    }
    for service in &kms.transit {
        let needs = |what| contradiction(format!("kms.transit '{}': {what}", service.name));
        match service.login {
            TransitLogin::Token if service.role.is_some() => return needs("role goes with another login than token"),
            TransitLogin::AppRole if service.role.is_none() => return needs("login approle needs role, the role's id"),
            TransitLogin::Kubernetes if service.role.is_none() => return needs("login kubernetes needs role"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
impl TransitService {
    pub(super) const OPTIONS: &'static [&'static str] = &[
        "name",
        "address",
        "ca_file",
        "namespace",
        "mount",
        "login",
        "token_file",
        "login_mount",
        "role",
        "secret_id_file",
        "jwt_file",
        "default_key",
        "create_default_key",
        "policy_file",
        "unwrap_cache",
    ];
}

#[cfg(test)]
impl AwsService {
    pub(super) const OPTIONS: &'static [&'static str] = &[
        "name",
        "region",
        "account_id",
        "endpoint",
        "ca_file",
        "fips",
        "profile",
        "default_key",
        "create_default_key",
        "policy_file",
        "unwrap_cache",
    ];
}
