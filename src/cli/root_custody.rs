//! Where the root key is kept, as the configuration and the environment have it.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::key_services::Remote;
use crate::config::{Config, RootKeyProtection};
use crate::crypto::{SecretBytes, SharedEntropy};
use crate::kms::root::custody::{Custody, Given, PlainFile, RootKeys};
use crate::kms::root::outer::{self, OuterKey};
use crate::kms::root::passphrase::{NAME as PASSPHRASE, Passphrase};
use crate::kms::root::sealed::{Protection, SealedFile, protection_of};
use crate::kms::root::{RootKey, RootKeyError};

/// The environment variable that may hold the root key, as base64 of 32 bytes.
const ROOT_KEY_VARIABLE: &str = "STRONGROOM_ROOT_KEY";
/// The environment variable that may hold the passphrase.
const PASSPHRASE_VARIABLE: &str = "STRONGROOM_ROOT_KEY_PASSPHRASE";
/// The environment variable that may hold the passphrase to take the place of the present one.
const NEW_PASSPHRASE_VARIABLE: &str = "STRONGROOM_NEW_ROOT_KEY_PASSPHRASE";
/// The root key in clear, if the operator says nothing.
const PLAIN_FILE: &str = "root.key";
/// The root key where it is sealed, if the operator names no file.
const SEALED_FILE: &str = "root.key.sealed";

/// The option that may name a file with the passphrase.
const PASSPHRASE_FILE_OPTION: &str = "kms.root_key_passphrase_file";

/// There is no root key to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CustodyError {
    #[error(transparent)]
    Key(#[from] RootKeyError),
    /// What the operator gives is not as it must be. Its value is not shown.
    #[error("{option}: {problem}")]
    Option { option: &'static str, problem: String },
    /// No passphrase is given.
    #[error(
        "the root key is sealed by a passphrase, and there is none: set {} or {}",
        PASSPHRASE_VARIABLE,
        PASSPHRASE_FILE_OPTION
    )]
    NoPassphrase,
    /// No other passphrase is given.
    #[error("there is no new passphrase: set {}", NEW_PASSPHRASE_VARIABLE)]
    NoNewPassphrase,
    /// It is there in clear, where it should be sealed.
    #[error(
        "the root key in {} is in clear, and kms.root_key_protection wants it sealed: {}, and the next start of the server \
         seals it",
        path.display(),
        if path == adopted { "set no kms.root_key_file".to_owned() } else { format!("move it to {}", adopted.display()) }
    )]
    Unsealed { path: PathBuf, adopted: PathBuf },
    /// There is no passphrase that could be changed.
    #[error(
        "the root key is kept in {} without a passphrase; {}set kms.root_key_protection = \"passphrase\" and start the \
         server once",
        path.display(),
        move_to.as_ref().map_or_else(String::new, |to| format!("move it to {}, ", to.display()))
    )]
    InClear { path: PathBuf, move_to: Option<PathBuf> },
}

impl CustodyError {
    /// Whether the configuration, or what was asked for, is wrong.
    pub(super) fn is_of_asking(&self) -> bool {
        !matches!(self, Self::Key(_))
    }
}

/// The place that keeps the root key.
pub(super) async fn custody(
    config: &Config,
    data_dir: &Path,
    entropy: &SharedEntropy,
    services: &[Remote],
) -> Result<Arc<dyn Custody>, CustodyError> {
    if let Some(given) = given()? {
        return Ok(Arc::new(given));
    }
    let plain = data_dir.join(PLAIN_FILE);
    let sealed = config.kms.root_key_file.clone().unwrap_or_else(|| data_dir.join(SEALED_FILE));
    match config.kms.root_key_protection {
        RootKeyProtection::None => {
            let file = config.kms.root_key_file.clone().unwrap_or(plain);
            if config.kms.root_key_file.is_none() && !file.exists() && sealed.exists() {
                let protection = protection_of(&sealed)?.unwrap_or_else(|| "something".to_owned());
                return Err(RootKeyError::OtherProtection { path: sealed, protection }.into());
            }
            Ok(Arc::new(PlainFile(file)))
        }
        wanted @ (RootKeyProtection::Passphrase | RootKeyProtection::Kms) => {
            let kept = sealed_by(&sealed, &plain).await?;
            let former = kept.filter(|kept| Some(kept.as_str()) != name_of(wanted));
            let is_new = former.is_some() || !sealed.exists() && !plain.exists();
            // The former one first: who is asked for two passphrases knows which comes first.
            let former = match former {
                Some(name) => {
                    let unknown = || RootKeyError::OtherProtection { path: sealed.clone(), protection: name.clone() };
                    let kind = kind_of(&name).ok_or_else(unknown)?;
                    Some(protection(config, kind, false, entropy, services)?)
                }
                None => None,
            };
            let sealed =
                SealedFile { path: sealed, protection: protection(config, wanted, is_new, entropy, services)? };
            let file = sealed.path.display().to_string();
            if let Some(former) = former {
                let from = former.name();
                sealed.take_over(former).await?;
                info!(file, from, to = sealed.protection.name(), "the root key is now sealed in another way");
            } else if sealed.renew().await? {
                let by = config.kms.root_key_kms_key.as_deref();
                info!(file, by, "the root key is now sealed by another key");
            }
            Ok(adopt(sealed, plain).await?)
        }
    }
}

/// What seals the root key in `path`, if it is there; a key in clear is sealed where it is found in `plain`.
async fn sealed_by(path: &Path, plain: &Path) -> Result<Option<String>, CustodyError> {
    match protection_of(path) {
        Err(RootKeyError::DamagedFile(_)) if matches!(PlainFile(path.to_owned()).load().await, Ok(Some(_))) => {
            Err(CustodyError::Unsealed { path: path.to_owned(), adopted: plain.to_owned() })
        }
        protection => Ok(protection?),
    }
}

/// The root key that the environment gives.
fn given() -> Result<Option<Given>, CustodyError> {
    let Some(text) = variable(ROOT_KEY_VARIABLE) else { return Ok(None) };
    match RootKeys::parse(text.expose()) {
        Ok(_) => Ok(Some(Given(text))),
        Err(_) => Err(wrong(ROOT_KEY_VARIABLE, "expected base64 of 32 bytes")),
    }
}

fn wrong(option: &'static str, problem: impl Into<String>) -> CustodyError {
    CustodyError::Option { option, problem: problem.into() }
}

/// The root key as it is kept, for who only reads: nobody is asked for anything, nothing is made or changed.
///
/// # Errors
/// [`CustodyError`].
pub(super) async fn at_hand(
    config: &Config,
    entropy: &SharedEntropy,
    services: &[Remote],
) -> Result<RootKey, CustodyError> {
    let in_dir = |name: &str| config.kms.root_key_file.clone().unwrap_or_else(|| config.data_dir.join(name));
    let custody: Arc<dyn Custody> = if let Some(given) = given()? {
        Arc::new(given)
    } else if config.kms.root_key_protection == RootKeyProtection::None {
        Arc::new(PlainFile(in_dir(PLAIN_FILE)))
    } else {
        let path = in_dir(SEALED_FILE);
        let name = sealed_by(&path, &config.data_dir.join(PLAIN_FILE))
            .await?
            .ok_or_else(|| RootKeyError::Missing(path.clone()))?;
        let unknown = || RootKeyError::OtherProtection { path: path.clone(), protection: name.clone() };
        let kind = kind_of(&name).ok_or_else(unknown)?;
        let is_told = variable(PASSPHRASE_VARIABLE).is_some() || config.kms.root_key_passphrase_file.is_some();
        if kind == RootKeyProtection::Passphrase && !is_told {
            return Err(CustodyError::NoPassphrase);
        }
        Arc::new(SealedFile { protection: protection(config, kind, false, entropy, services)?, path })
    };
    Ok(RootKey::load(custody, false, &**entropy).await?)
}

/// How a sealed file names a protection.
const fn name_of(protection: RootKeyProtection) -> Option<&'static str> {
    match protection {
        RootKeyProtection::None => None,
        RootKeyProtection::Passphrase => Some(PASSPHRASE),
        RootKeyProtection::Kms => Some(outer::NAME),
    }
}

/// The kind of protection that a sealed file calls `name`.
fn kind_of(name: &str) -> Option<RootKeyProtection> {
    [RootKeyProtection::Passphrase, RootKeyProtection::Kms].into_iter().find(|kind| name_of(*kind) == Some(name))
}

/// The means of a kind of protection; a passphrase that `is_new` is asked for twice.
fn protection(
    config: &Config,
    kind: RootKeyProtection,
    is_new: bool,
    entropy: &SharedEntropy,
    services: &[Remote],
) -> Result<Arc<dyn Protection>, CustodyError> {
    Ok(match kind {
        RootKeyProtection::Kms => Arc::new(outer_key(config, services)),
        _ => Arc::new(passphrase(config, is_new, entropy)?),
    })
}

/// The key of another service that seals the root key. It is used for the server itself: no client's principal is judged.
fn outer_key(config: &Config, services: &[Remote]) -> OuterKey {
    let services = services.iter().map(|Remote { service, .. }| (service.name.clone(), Arc::clone(&service.kms)));
    let name = config.kms.root_key_kms_key.clone().unwrap_or_default();
    let wait = Duration::from_secs(config.kms.root_key_kms_wait_seconds.into());
    OuterKey::new(services.collect(), name, config.root.account_id.as_str(), Instant::now() + wait)
}

/// Seals a root key that is there in clear: from before it was to be protected. The sealed file is on stable storage before the
/// other goes; a crash between leaves both, and the next start removes the one in clear.
async fn adopt(sealed: SealedFile, plain: PathBuf) -> Result<Arc<dyn Custody>, RootKeyError> {
    let failed = |source| RootKeyError::Io { path: plain.clone(), source };
    if !plain.exists() || sealed.path == plain {
        return Ok(Arc::new(sealed));
    }
    let in_clear = PlainFile(plain.clone()).load().await?;
    let kept = sealed.load().await?;
    match (&in_clear, &kept) {
        (Some(keys), None) => sealed.keep(keys).await?,
        (Some(keys), Some(kept)) if keys.0[0].expose() != kept.0[0].expose() => {
            // Two keys that have nothing to do with each other: it is not ours to choose.
            return Err(RootKeyError::OtherProtection { path: plain, protection: "nothing".to_owned() });
        }
        _ => {}
    }
    fs::remove_file(&plain).map_err(failed)?;
    plain.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all()).map_err(failed)?;
    warn!(
        file = %plain.display(),
        "the root key is now sealed, and its file in clear removed; the medium may still hold it: rotate the root key"
    );
    Ok(Arc::new(sealed))
}

/// The passphrase: from the environment, a file, or the terminal, where a new one is asked for twice.
fn passphrase(config: &Config, is_new: bool, entropy: &SharedEntropy) -> Result<Passphrase, CustodyError> {
    if let Some(text) = variable(PASSPHRASE_VARIABLE) {
        return given_passphrase(PASSPHRASE_VARIABLE, &text, entropy);
    }
    if let Some(path) = &config.kms.root_key_passphrase_file {
        let text = fs::read(path).map(SecretBytes::new);
        let text = text.map_err(|error| wrong(PASSPHRASE_FILE_OPTION, format!("{}: {error}", path.display())))?;
        return given_passphrase(PASSPHRASE_FILE_OPTION, &text, entropy);
    }
    if !is_attended() {
        return Err(CustodyError::NoPassphrase);
    }
    let asked = |source| RootKeyError::Io { path: "the terminal".into(), source };
    let question = "Passphrase of the root key: ";
    let text = if is_new { ask_twice(question)? } else { ask(question).map_err(asked)? };
    Ok(Passphrase::new(&text, Arc::clone(entropy))?)
}

/// The passphrase that an option gives.
fn given_passphrase(
    option: &'static str,
    text: &SecretBytes,
    entropy: &SharedEntropy,
) -> Result<Passphrase, CustodyError> {
    Passphrase::new(text, Arc::clone(entropy)).map_err(|error| wrong(option, error.to_string()))
}

/// Seals the root key of a stopped server by another passphrase.
///
/// # Errors
/// [`CustodyError`].
pub(super) async fn change_passphrase(
    config: &Config,
    data_dir: &Path,
    entropy: &SharedEntropy,
) -> Result<PathBuf, CustodyError> {
    let path = config.kms.root_key_file.clone().unwrap_or_else(|| data_dir.join(SEALED_FILE));
    without_passphrase(config, data_dir, &path).await?;
    let sealed_by = |passphrase: Passphrase| SealedFile { path: path.clone(), protection: Arc::new(passphrase) };
    let missing = || RootKeyError::Missing(path.clone());
    let keys = sealed_by(passphrase(config, false, entropy)?).load().await?.ok_or_else(missing)?;
    let new = match variable(NEW_PASSPHRASE_VARIABLE) {
        Some(text) => given_passphrase(NEW_PASSPHRASE_VARIABLE, &text, entropy)?,
        None if is_attended() => Passphrase::new(&ask_twice("New passphrase of the root key: ")?, Arc::clone(entropy))?,
        None => return Err(CustodyError::NoNewPassphrase),
    };
    sealed_by(new).keep(&keys).await?;
    Ok(path)
}

/// Refuses where the root key is kept, but not sealed in `sealed`.
async fn without_passphrase(config: &Config, data_dir: &Path, sealed: &Path) -> Result<(), CustodyError> {
    let adopted = data_dir.join(PLAIN_FILE);
    let path = config.kms.root_key_file.clone().unwrap_or_else(|| adopted.clone());
    if path == sealed || !sealed.exists() {
        if let Ok(Some(_)) = PlainFile(path.clone()).load().await {
            // Only from there does a server take a key in clear to be sealed.
            let move_to = (path != adopted).then_some(adopted);
            return Err(CustodyError::InClear { path, move_to });
        }
        if variable(ROOT_KEY_VARIABLE).is_some() && !sealed.exists() {
            return Err(wrong(ROOT_KEY_VARIABLE, "the root key is kept there, and no passphrase seals it"));
        }
    }
    Ok(())
}

/// Whether somebody can be asked: the question goes to standard error, and the answer comes from standard input.
fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a new passphrase, and once more.
fn ask_twice(question: &str) -> Result<SecretBytes, RootKeyError> {
    let asked = |source| RootKeyError::Io { path: "the terminal".into(), source };
    let text = ask(question).map_err(asked)?;
    if ask("The same once more: ").map_err(asked)?.expose() != text.expose() {
        return Err(RootKeyError::Unsealing { protection: "passphrase", reason: "the two differ".to_owned() });
    }
    Ok(text)
}

/// Asks on the terminal, without showing what is typed.
fn ask(question: &str) -> io::Result<SecretBytes> {
    let terminal = console::Term::stderr();
    terminal.write_str(question)?;
    terminal.read_secure_line().map(|line| SecretBytes::new(line.into_bytes()))
}

fn variable(name: &str) -> Option<SecretBytes> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| SecretBytes::new(text.into_bytes()))
}
