//! The commands that ask a running server: `rewrap`, `jobs`, `keys`, `root-key`, `iam`, `policy`.
//!
//! The server is found as `serve` was started: by the same config file, environment and data directory, which holds the
//! authority and the root's access key. `--endpoint` and `--ca` name another.
//!
//! Exit codes: 0 when it was done, 1 when it was not, 2 when it was asked wrongly, 3 when some objects could not be
//! re-wrapped, 130 when it was interrupted (a job goes on without its watcher). `policy explain` ends with 0 only for what
//! is allowed, with 1 for what is not, and with 2 whenever there is no decision.

mod iam;
mod jobs;
mod key_life;
mod keys;
mod policy;
mod query;
mod rewrap;
mod root_key;
mod server;
pub(super) mod show;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) use iam::IamCommand;
pub(super) use jobs::JobsCommand;
pub(super) use keys::KeysCommand;
pub(super) use policy::PolicyCommand;
pub(super) use rewrap::RewrapArgs;
pub(super) use root_key::RootKeyCommand;

use super::credentials::CredentialsError;
use super::data_dir::DataDirError;
use super::root_custody::CustodyError;
use super::settings::SettingsError;
use crate::http::ClientError;
use crate::sigv4::SignError;

/// A command could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperateError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(
        "no access key: {0} does not exist; was the server ever started there? If it was given its root's access key, give \
         it here too: STRONGROOM_ROOT_ACCESS_KEY_ID and STRONGROOM_ROOT_SECRET_ACCESS_KEY, or the config file"
    )]
    NoCredentials(String),
    #[error("--endpoint: {0} is not the URL of an HTTPS endpoint")]
    Endpoint(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the request cannot be signed: {0}")]
    Sign(#[from] SignError),
    #[error("the server refused: {code}: {message}")]
    Refused { code: String, message: String },
    #[error("the server's answer was not understood: {0}")]
    Answer(#[from] serde_json::Error),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    RootKey(#[from] CustodyError),
    #[error("{0}")]
    Impossible(String),
    #[error("{error}\n{}", left(key, undone))]
    Incomplete { error: Box<Self>, key: String, undone: Result<(), Box<Self>> },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

impl OperateError {
    /// Whether the command was asked wrongly.
    pub(super) fn is_of_asking(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Impossible(_) | Self::Endpoint(_) => true,
            Self::RootKey(error) => error.is_of_asking(),
            Self::DataDir(error) => error.is_of_asking(),
            _ => false,
        }
    }
}

/// What became of a key that could not be given all that it was to have.
fn left(key: &str, undone: &Result<(), Box<OperateError>>) -> String {
    match undone {
        Ok(()) => format!("{key}, which was made for this, is not kept: it will be destroyed in 7 days"),
        Err(error) => format!("{key}, which was made for this, is still there: {error}"),
    }
}

/// What a command can end as.
pub(super) type Outcome = Result<ExitCode, OperateError>;

/// A command that asks a server.
pub(super) enum Command {
    Rewrap(RewrapArgs),
    Jobs(JobsCommand),
    Keys(KeysCommand),
    RootKey(RootKeyCommand),
    Iam(IamCommand),
    Policy(PolicyCommand),
}

/// Does `command`.
pub(super) fn run(command: Command) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Rewrap(arguments) => rewrap::run(arguments).await,
            Command::Jobs(command) => jobs::run(command).await,
            Command::Keys(command) => keys::run(command).await,
            Command::RootKey(command) => root_key::run(command).await,
            Command::Iam(command) => iam::run(command).await,
            Command::Policy(command) => policy::run(command).await,
        }
    })
}

/// Asks a yes-or-no question; without a terminal nobody can answer, and the answer is no.
fn confirm(question: &str) -> io::Result<bool> {
    use std::io::Write as _;
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
