//! `strongroom keys`: its commands; what depends on a key, and the end of a key.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::key_life::{self, CreateArgs, KeyArgs, ListArgs, PolicyArgs};
use super::server::{Server, ServerArgs};
use super::{OperateError, Outcome, confirm, show};
use crate::wire::percent::percent_encode;

#[derive(Subcommand)]
pub(in crate::cli) enum KeysCommand {
    /// List the keys of the account.
    List(#[command(flatten)] ListArgs),
    /// Make a key, and print its ARN.
    Create(#[command(flatten)] CreateArgs),
    /// Show a key, its aliases and its rotation.
    Describe(#[command(flatten)] KeyArgs),
    /// Give a key new material now; what the old one encrypted stays readable.
    Rotate(#[command(flatten)] KeyArgs),
    /// Let a disabled key be used again.
    Enable(#[command(flatten)] KeyArgs),
    /// Let a key not be used: what depends on it cannot be read until it is enabled.
    Disable(#[command(flatten)] KeyArgs),
    /// Show a key's policy, or replace it.
    Policy(#[command(flatten)] PolicyArgs),
    /// Show which buckets keep how much under which key.
    Usage(#[command(flatten)] UsageArgs),
    /// Schedule the deletion of a KMS key, having shown what would be lost with it.
    Delete(#[command(flatten)] DeleteArgs),
}

#[derive(Args)]
pub(in crate::cli) struct UsageArgs {
    /// Only what depends on this KMS key (id, ARN or alias), or `SSE-S3`.
    #[arg(long)]
    key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(in crate::cli) struct DeleteArgs {
    /// The key's id, ARN or alias.
    key: String,
    /// Days until its material is destroyed, 7 to 30.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u8).range(7..=30))]
    days: u8,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: KeysCommand) -> Outcome {
    match command {
        KeysCommand::List(arguments) => key_life::list(arguments).await,
        KeysCommand::Create(arguments) => key_life::create(arguments).await,
        KeysCommand::Describe(arguments) => key_life::describe(arguments).await,
        KeysCommand::Rotate(arguments) => key_life::change("RotateKeyOnDemand", arguments).await,
        KeysCommand::Enable(arguments) => key_life::change("EnableKey", arguments).await,
        KeysCommand::Disable(arguments) => key_life::change("DisableKey", arguments).await,
        KeysCommand::Policy(arguments) => key_life::policy(arguments).await,
        KeysCommand::Usage(UsageArgs { key, json, server }) => {
            let (usage, _) = usage(&Server::find(server)?, key.as_deref()).await?;
            if json {
                show::json(&usage)?;
            } else {
                show::line(&table(&usage))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        KeysCommand::Delete(arguments) => delete(arguments).await,
    }
}

/// What depends on which key, and which buckets have `key` as their default.
async fn usage(server: &Server, key: Option<&str>) -> Result<(Value, Vec<String>), OperateError> {
    let query = key.map(|key| format!("?key={}", percent_encode(key).replace('/', "%2F"))).unwrap_or_default();
    let mut answer = server.ask(Method::GET, &format!("/_/v1/keys/usage{query}"), None).await?;
    let defaults = answer["defaults"].as_array().into_iter().flatten().map(show::text).collect();
    Ok((answer["usage"].take(), defaults))
}

async fn delete(arguments: DeleteArgs) -> Outcome {
    let DeleteArgs { key, days, yes, json: as_json, server } = arguments;
    let server = Server::find(server)?;
    let key = show::text(&key_life::described(&server, &key, &[]).await?["Arn"]);
    let (usage, defaults) = usage(&server, Some(&key)).await?;
    let keeps_nothing = usage.as_array().is_none_or(Vec::is_empty);
    if keeps_nothing && defaults.is_empty() {
        writeln!(io::stderr(), "Nothing in the store depends on {key}.")?;
    }
    if !keeps_nothing {
        writeln!(io::stderr(), "{}\nAll of this is lost for good when {key} is destroyed.", table(&usage))?;
        // Which it no longer does once the deletion is scheduled.
        if !yes {
            writeln!(io::stderr(), "(strongroom rewrap puts it under another key.)")?;
        }
    }
    if !defaults.is_empty() {
        let buckets = defaults.join(", ");
        writeln!(
            io::stderr(),
            "{key} is the default encryption key of: {buckets}. Writes that name no other will fail."
        )?;
    }
    if !yes && !confirm(&format!("Destroy {key} in {days} days?"))? {
        writeln!(io::stderr(), "Nothing was changed.")?;
        return Ok(ExitCode::FAILURE);
    }
    let answer = server.ask_kms("ScheduleKeyDeletion", &json!({"KeyId": key, "PendingWindowInDays": days})).await?;
    if as_json {
        show::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    show::line(&format!(
        "{} will be destroyed in {days} days. Until then `aws kms cancel-key-deletion` keeps it.",
        show::text(&answer["KeyId"])
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn table(usage: &Value) -> String {
    // Where there are several key services, it is said which one a key belongs to.
    let with_service = usage.as_array().into_iter().flatten().any(|entry| entry["service"].is_string());
    let mut rows = Vec::new();
    for entry in usage.as_array().into_iter().flatten() {
        for bucket in entry["buckets"].as_array().into_iter().flatten() {
            let mut row = vec![show::text(&entry["encryption"]), show::text(&entry["key"])];
            row.extend(with_service.then(|| show::text(&entry["service"])));
            row.extend([
                show::text(&bucket["bucket"]),
                show::count(&bucket["objects"]),
                show::bytes(&bucket["bytes"]),
                show::count(&bucket["uploads"]),
            ]);
            rows.push(row);
        }
    }
    let mut titles = vec!["ENCRYPTION", "KEY"];
    titles.extend(with_service.then_some("SERVICE"));
    let texts = titles.len() + 1;
    titles.extend(["BUCKET", "OBJECTS", "BYTES", "OPEN UPLOADS"]);
    show::table(&titles, texts, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_key_and_bucket() {
        let row =
            |bucket: &str| json!({"bucket": bucket, "objects": 1234, "bytes": 3072, "uploads": 0, "partBytes": 0});
        let usage = json!([
            {"encryption": "SSE-KMS", "key": "arn:k", "buckets": [row("a"), row("b")]},
            {"encryption": "SSE-S3", "key": null, "buckets": [row("a")]},
        ]);
        let table = table(&usage);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], ["SSE-KMS", "arn:k", "b", "1,234", "3.00", "KiB", "0"]);
        assert_eq!(lines[3][..3], ["SSE-S3", "-", "a"]);
    }

    #[test]
    fn where_there_are_several_the_service_is_shown() {
        let row = json!({"bucket": "a", "objects": 1, "bytes": 1, "uploads": 0, "partBytes": 0});
        let usage = json!([{"encryption": "SSE-KMS", "key": "arn:k", "service": "bao", "buckets": [row]}]);
        let table = table(&usage);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..4], ["ENCRYPTION", "KEY", "SERVICE", "BUCKET"]);
        assert_eq!(lines[1][..4], ["SSE-KMS", "arn:k", "bao", "a"]);
    }
}
