//! The command line: what `strongroom` can be asked to do, and how it ends.
//!
//! Exit codes: 0 on success, 1 when it could not start or stop well, 2 when it was asked wrongly, by the configuration too. Some
//! commands have more to say: 3 is damage (`verify`), a log that is not as it was written (`audit verify`) or objects that
//! could not be re-wrapped (`rewrap`), 4 what could not be opened for want of a key (`verify`), 130 an interrupted watch of a
//! job; `policy explain` ends with 1 for what is not allowed.

pub mod accounts;
pub mod metering;

mod actions;
mod audit;
mod audit_log;
mod authority;
mod banner;
mod credentials;
mod data_dir;
mod graph;
mod key_services;
mod memory;
mod operate;
mod outbox;
mod root_custody;
mod serve;
mod settings;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "strongroom", version, about, long_about = None, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve S3 and the KMS API until told to stop (SIGTERM or SIGINT).
    Serve(settings::ServeArgs),
    /// Read every stored run of a stopped server, open what can be opened, and report.
    ///
    /// Exits with 0 if all is in order, with 1 if it could not be verified, with 2 if it was asked wrongly, with 3 if something is
    /// damaged, and with 4 if nothing is, but a key was not at hand.
    Verify(verify::VerifyArgs),
    /// Verify, follow and search the audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Wrap the data keys of a bucket's objects under another KMS key. No object data is read.
    ///
    /// Exits with 0 if all were re-wrapped, with 1 if it could not be done, with 2 if it was asked wrongly, with 3 if some objects
    /// could not be re-wrapped, and with 130 if it was interrupted: the job goes on.
    Rewrap(operate::RewrapArgs),
    /// See and end jobs on a running server.
    #[command(subcommand)]
    Jobs(operate::JobsCommand),
    /// Make, see, change and delete keys, and see what depends on which.
    #[command(subcommand)]
    Keys(operate::KeysCommand),
    /// See how the root key is kept, and rotate it.
    #[command(subcommand)]
    RootKey(operate::RootKeyCommand),
    /// Make, see, change and delete users, groups, roles, policies and access keys.
    #[command(subcommand)]
    Iam(operate::IamCommand),
    /// Ask what policies would decide.
    #[command(subcommand)]
    Policy(operate::PolicyCommand),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    crate::http::install_provider();
    let ended = match parse().command {
        Command::Serve(arguments) => serve::run(arguments).map(|()| ExitCode::SUCCESS).map_err(|error| {
            let asked_wrongly = error.is_of_asking();
            (error.to_string(), asked_wrongly)
        }),
        Command::Verify(arguments) => verify::run(arguments).map_err(|error| {
            let asked_wrongly = error.is_of_asking();
            (error.to_string(), asked_wrongly)
        }),
        Command::Audit(command) => {
            audit::run(command).map_err(|error| (error.to_string(), matches!(error, audit::AuditError::Settings(_))))
        }
        Command::Rewrap(arguments) => operate(operate::Command::Rewrap(arguments)),
        Command::Jobs(command) => operate(operate::Command::Jobs(command)),
        Command::Keys(command) => operate(operate::Command::Keys(command)),
        Command::RootKey(command) => operate(operate::Command::RootKey(command)),
        Command::Iam(command) => operate(operate::Command::Iam(command)),
        // 1 is a decision there.
        Command::Policy(command) => operate(operate::Command::Policy(command)).map_err(|(error, _)| (error, true)),
    };
    ended.unwrap_or_else(|(error, asked_wrongly)| {
        // Nothing more can be done where even standard error is gone.
        let _ = writeln!(io::stderr(), "strongroom: {error}");
        if asked_wrongly { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// What the command line says. An empty variable counts as absent, as compose files and unit files leave them.
fn parse() -> Cli {
    let matches = without_empty_variables(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

/// What a command ended as, or why it was not done and whether it was asked wrongly.
fn operate(command: operate::Command) -> Result<ExitCode, (String, bool)> {
    operate::run(command).map_err(|error| (error.to_string(), error.is_of_asking()))
}
