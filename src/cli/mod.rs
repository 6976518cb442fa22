//! The command line: what `strongroom` can be asked to do, and how it ends.
//!
//! Exit codes: 0 on success, 1 when it could not start or stop well, 2 when it was asked wrongly.

pub mod accounts;
pub mod metering;

mod authority;
mod banner;
mod credentials;
mod data_dir;
mod graph;
mod serve;
mod settings;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use serve::StartError;

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
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Command::Serve(arguments) = Cli::parse().command;
    match serve::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done where even standard error is gone.
            let _ = writeln!(io::stderr(), "strongroom: {error}");
            match error {
                StartError::Settings(_) | StartError::Log(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
