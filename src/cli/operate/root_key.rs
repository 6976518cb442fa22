//! `strongroom root-key`: how the root key is kept, and another in its place.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use http::Method;

use super::super::data_dir::DataDir;
use super::super::root_custody;
use super::super::settings::{self, ServeArgs};
use super::server::{Server, ServerArgs};
use super::{Outcome, show};
use crate::crypto::{SharedEntropy, SystemEntropy};

#[derive(Subcommand)]
pub(in crate::cli) enum RootKeyCommand {
    /// Show the id of the root key and how it is kept.
    Show(#[command(flatten)] Common),
    /// Give the running server a new root key: everything that the old one sealed is sealed anew.
    Rotate(#[command(flatten)] Common),
    /// Seal the root key of a stopped server by another passphrase. Who has the old one and a copy of the file still has the
    /// root key: rotate it too. Both are asked for on the terminal, unless STRONGROOM_ROOT_KEY_PASSPHRASE (or
    /// `kms.root_key_passphrase_file`) says the old one and STRONGROOM_NEW_ROOT_KEY_PASSPHRASE the new one.
    Passphrase(#[command(flatten)] Place),
}

#[derive(Args)]
pub(in crate::cli) struct Place {
    /// The server's config file.
    #[arg(long, env = "STRONGROOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory [default: strongroom-data].
    #[arg(long, env = "STRONGROOM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(in crate::cli) struct Common {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: RootKeyCommand) -> Outcome {
    match command {
        RootKeyCommand::Show(Common { json, server }) => {
            let root = Server::find(server)?.ask(Method::GET, "/_/v1/root-key", None).await?;
            if json {
                show::json(&root)?;
                return Ok(ExitCode::SUCCESS);
            }
            let rotating = if root["rotating"] == true { ", being rotated" } else { "" };
            show::line(&format!("{}  kept by {}{rotating}", show::text(&root["id"]), show::text(&root["protection"])))?;
        }
        RootKeyCommand::Rotate(Common { json, server }) => {
            let report = Server::find(server)?.ask(Method::POST, "/_/v1/root-key/rotate", None).await?;
            if json {
                show::json(&report)?;
                return Ok(ExitCode::SUCCESS);
            }
            show::line(&format!("The root key is now {}. Sealed anew:", show::text(&report["id"])))?;
            for entry in report["resealed"].as_array().into_iter().flatten() {
                show::line(&format!("{:>8}  {}", show::count(&entry["count"]), show::text(&entry["what"])))?;
            }
            show::line("The old key is needed for nothing but copies of the data directory from before.")?;
        }
        RootKeyCommand::Passphrase(Place { config, data_dir }) => {
            let as_served = ServeArgs { config, data_dir, ..ServeArgs::default() };
            let config = settings::settle(as_served, |name| std::env::var(name).ok())?;
            // Held, so that no server runs meanwhile.
            let directory = DataDir::open(&config.data_dir)?;
            let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
            let path = root_custody::change_passphrase(&config, directory.path(), &entropy).await?;
            show::line(&format!("{} is sealed by the new passphrase.", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
