//! `strongroom rewrap`: starts a re-wrap job, watches it, and reports.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::server::{Server, ServerArgs};
use super::{OperateError, Outcome, jobs, show};

/// How often a job is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// Some objects could not be re-wrapped.
const SOME_FAILED: u8 = 3;
/// As a shell reports an interrupted command.
const INTERRUPTED: u8 = 130;

#[derive(Args)]
pub(in crate::cli) struct RewrapArgs {
    /// The bucket.
    #[arg(long)]
    bucket: String,
    /// Only objects whose keys begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Objects under this KMS key (id, ARN or alias), or `SSE-S3`.
    #[arg(long, value_name = "KEY")]
    from: String,
    /// The KMS key that they are to be under.
    #[arg(long, value_name = "KEY")]
    to: String,
    /// Re-wrap at most so many objects each second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Count what would be re-wrapped, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Start the job, print its id, and do not wait for it.
    #[arg(long)]
    detach: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(arguments: RewrapArgs) -> Outcome {
    let RewrapArgs { bucket, prefix, from, to, rate, dry_run, detach, json, server } = arguments;
    let server = Server::find(server)?;
    let order = json!({
        "type": "rewrap", "bucket": bucket, "prefix": prefix, "from": from, "to": to, "rate": rate, "dryRun": dry_run,
    });
    let started = server.ask(Method::POST, "/_/v1/jobs", Some(&order)).await?;
    let id = show::text(&started["job"]["id"]);
    if detach {
        if json {
            show::json(&started["job"])?;
        } else {
            show::line(&id)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let job = tokio::select! {
        job = watch(&server, &id) => job?,
        _ = tokio::signal::ctrl_c() => {
            writeln!(io::stderr(), "the job goes on; see it with: strongroom jobs show {id}")?;
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if json {
        show::json(&job)?;
    } else {
        show::line(&jobs::report(&job))?;
    }
    Ok(match (job["state"].as_str(), job["failed"].as_u64()) {
        (Some("completed"), Some(0)) => ExitCode::SUCCESS,
        (Some("completed"), _) => ExitCode::from(SOME_FAILED),
        _ => ExitCode::FAILURE,
    })
}

/// The job when it has ended. A terminal sees how far it is.
async fn watch(server: &Server, id: &str) -> Result<Value, OperateError> {
    let bar = ProgressBar::no_length();
    bar.set_draw_target(if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    let path = format!("/_/v1/jobs/{id}");
    loop {
        let mut answer = server.ask(Method::GET, &path, None).await?;
        let job = answer["job"].take();
        if let (None, Some(total)) = (bar.length(), job["total"].as_u64()) {
            bar.set_length(total);
        }
        bar.set_style(style(bar.length().is_some()));
        bar.set_position(job["examined"].as_u64().unwrap_or(0));
        bar.set_message(format!("{} re-wrapped", show::count(&job["rewrapped"])));
        if job["state"] != "running" {
            bar.finish_and_clear();
            return Ok(job);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn style(bounded: bool) -> ProgressStyle {
    let template = if bounded {
        "{bar:30} {human_pos}/{human_len} objects ({per_sec}, {eta} left), {msg}"
    } else {
        "{spinner} {human_pos} objects ({per_sec}), {msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
