//! `strongroom jobs`: what is at work, and what was.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::server::{Server, ServerArgs};
use super::{Outcome, show};

#[derive(Subcommand)]
pub(in crate::cli) enum JobsCommand {
    /// List running and ended jobs.
    List(#[command(flatten)] Common),
    /// Show a job and its report.
    Show(#[command(flatten)] One),
    /// End a running job. What it re-wrapped stays re-wrapped.
    Cancel(#[command(flatten)] One),
}

#[derive(Args)]
pub(in crate::cli) struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(in crate::cli) struct One {
    /// The job's id.
    id: String,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: JobsCommand) -> Outcome {
    match command {
        JobsCommand::List(common) => {
            let answer = Server::find(common.server)?.ask(Method::GET, "/_/v1/jobs", None).await?;
            if common.json {
                show::json(&answer["jobs"])?;
            } else {
                let jobs = answer["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
                let titles = ["JOB", "STATE", "BUCKET", "STARTED", "EXAMINED", "RE-WRAPPED", "FAILED"];
                show::line(&show::table(&titles, 4, jobs.iter().map(row).collect()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        JobsCommand::Show(one) => ask(Method::GET, one).await,
        JobsCommand::Cancel(one) => ask(Method::DELETE, one).await,
    }
}

async fn ask(method: Method, one: One) -> Outcome {
    let answer = Server::find(one.common.server)?.ask(method, &format!("/_/v1/jobs/{}", one.id), None).await?;
    if answer["hadEnded"] == true {
        writeln!(io::stderr(), "The job had ended before: nothing was cancelled.")?;
    }
    if one.common.json {
        show::json(&answer["job"])?;
    } else {
        show::line(&report(&answer["job"]))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(job: &Value) -> Vec<String> {
    let texts = ["id", "state", "bucket", "started"].map(|name| show::text(&job[name]));
    let counts = ["examined", "rewrapped", "failed"].map(|name| show::count(&job[name]));
    texts.into_iter().chain(counts).collect()
}

/// A job's report for people.
pub(super) fn report(job: &Value) -> String {
    let text = |name: &str| show::text(&job[name]);
    let prefix = job["prefix"].as_str().filter(|prefix| !prefix.is_empty());
    let mut lines = vec![
        format!("job {} {}{}", text("id"), text("state"), if job["dryRun"] == true { " (dry run)" } else { "" }),
        format!(
            "  bucket      {}{}",
            text("bucket"),
            prefix.map(|prefix| format!(", prefix {prefix}")).unwrap_or_default()
        ),
        format!("  from        {}", text("from")),
        format!("  to          {}", text("to")),
        format!("  started     {}", text("started")),
        format!("  ended       {}", text("ended")),
        format!("  examined    {}", show::count(&job["examined"])),
        format!("  re-wrapped  {} ({})", show::count(&job["rewrapped"]), show::bytes(&job["bytes"])),
        format!("  failed      {}", show::count(&job["failed"])),
    ];
    for failure in job["failures"].as_array().into_iter().flatten() {
        lines.push(format!("    {}: {}", show::text(&failure["key"]), show::text(&failure["reason"])));
    }
    if let Some(left) = job["uploadsLeft"].as_u64().filter(|left| *left > 0) {
        lines.push(format!(
            "  {left} open multipart uploads are still under the old key: complete or abort them, and run again"
        ));
    }
    if let Some(error) = job["error"].as_str() {
        lines.push(format!("  error       {error}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_tells_all() {
        let job = json!({
            "id": "ab", "state": "completed", "bucket": "b", "prefix": "p/", "from": "F", "to": "T", "dryRun": true,
            "started": "S", "ended": "E", "examined": 12_000, "rewrapped": 11_999, "bytes": 2048, "failed": 1,
            "failures": [{"key": "p/x", "reason": "R"}], "uploadsLeft": 2, "error": null,
        });
        let report = report(&job);
        for line in [
            "job ab completed (dry run)",
            "  bucket      b, prefix p/",
            "  examined    12,000",
            "  re-wrapped  11,999 (2.00 KiB)",
            "    p/x: R",
        ] {
            assert!(report.lines().any(|l| l == line), "{line} is not in\n{report}");
        }
        assert!(report.contains("2 open multipart uploads"));
    }
}
