//! `strongroom keys list`, `create`, `describe`, `rotate`, `enable`, `disable` and `policy`: the life of keys, asked of the
//! server's own KMS API. A key may be named by its id, ARN or alias everywhere.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::server::{Server, ServerArgs};
use super::{OperateError, Outcome, show};
use crate::clock::{from_millis, iso8601};

#[derive(Args)]
pub(in crate::cli) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(in crate::cli) struct CreateArgs {
    /// What the key is for.
    #[arg(long, default_value = "")]
    description: String,
    /// The kind of key, as `KeySpec` of AWS KMS has it.
    #[arg(long, default_value = "SYMMETRIC_DEFAULT")]
    spec: String,
    /// What it may be used for, as `KeyUsage` has it; needed where its kind leaves a choice.
    #[arg(long)]
    usage: Option<String>,
    /// An alias for it, such as `alias/payroll`.
    #[arg(long, value_parser = alias)]
    alias: Option<String>,
    /// Rotate it every so many days, 90 to 2560; only keys of the kind `SYMMETRIC_DEFAULT` can be.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(90..=2560))]
    rotate_every: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(in crate::cli) struct KeyArgs {
    /// The key's id, ARN or alias.
    key: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(in crate::cli) struct PolicyArgs {
    /// The key's id, ARN or alias.
    key: String,
    /// Put the policy in this file in the place of the key's (`-`: standard input).
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn list(arguments: ListArgs) -> Outcome {
    let server = Server::find(arguments.server)?;
    let aliases = all(&server, "ListAliases", "Aliases").await?;
    let mut keys = Vec::new();
    for key in all(&server, "ListKeys", "Keys").await? {
        keys.push(described(&server, &show::text(&key["KeyArn"]), &aliases).await?);
    }
    if arguments.json {
        show::json(&keys.into())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = keys.iter().map(|key| {
        let members = ["KeyId", "KeySpec", "KeyState", "KeyManager"].map(|member| show::text(&key[member]));
        members.into_iter().chain([names(key), show::text(&key["Description"])]).collect()
    });
    let titles = ["KEY", "SPEC", "STATE", "MANAGER", "ALIASES", "DESCRIPTION"];
    show::line(&show::table(&titles, titles.len(), rows.collect()))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn create(arguments: CreateArgs) -> Outcome {
    let CreateArgs { description, spec, usage, alias, rotate_every, json: as_json, server } = arguments;
    if rotate_every.is_some() && spec != "SYMMETRIC_DEFAULT" {
        return Err(OperateError::Impossible(format!("--rotate-every: a key of the kind {spec} is not rotated")));
    }
    let server = Server::find(server)?;
    if let Some(alias) = &alias
        && all(&server, "ListAliases", "Aliases").await?.iter().any(|taken| taken["AliasName"] == alias.as_str())
    {
        return Err(OperateError::Impossible(format!("--alias: {alias} is the name of another key")));
    }
    let mut request = json!({"Description": description, "KeySpec": spec});
    if let Some(usage) = usage {
        request["KeyUsage"] = usage.into();
    }
    let mut made = server.ask_kms("CreateKey", &request).await?;
    let key = show::text(&made["KeyMetadata"]["Arn"]);
    if let Err(error) = complete(&server, &key, alias, rotate_every).await {
        // The shortest wait that there is.
        let undo = json!({"KeyId": key, "PendingWindowInDays": 7});
        let undone = server.ask_kms("ScheduleKeyDeletion", &undo).await.map(drop).map_err(Box::new);
        return Err(OperateError::Incomplete { error: Box::new(error), key, undone });
    }
    if as_json {
        show::json(&made["KeyMetadata"].take())?;
    } else {
        show::line(&key)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives a fresh key what it shall have beside what it is made with.
async fn complete(
    server: &Server,
    key: &str,
    alias: Option<String>,
    rotate_every: Option<u16>,
) -> Result<(), OperateError> {
    if let Some(days) = rotate_every {
        server.ask_kms("EnableKeyRotation", &json!({"KeyId": key, "RotationPeriodInDays": days})).await?;
    }
    if let Some(alias) = alias {
        server.ask_kms("CreateAlias", &json!({"AliasName": alias, "TargetKeyId": key})).await?;
    }
    Ok(())
}

/// An alias that a key can be given: what `CreateAlias` takes.
fn alias(text: &str) -> Result<String, &'static str> {
    let name = text.strip_prefix("alias/").ok_or("it must begin with alias/")?;
    if name.is_empty() || text.len() > 256 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b)) {
        return Err("alias/ is followed by letters, digits, '/', '_' and '-', 256 characters in all");
    }
    if name == "aws" || name.starts_with("aws/") {
        Err("alias/aws/ is for services' keys")
    } else {
        Ok(text.to_owned())
    }
}

pub(super) async fn describe(arguments: KeyArgs) -> Outcome {
    let server = Server::find(arguments.server)?;
    let aliases = all(&server, "ListAliases", "Aliases").await?;
    let mut key = described(&server, &arguments.key, &aliases).await?;
    if key["KeySpec"] == "SYMMETRIC_DEFAULT" && key["KeyState"] != "PendingDeletion" {
        key["Rotation"] = server.ask_kms("GetKeyRotationStatus", &json!({"KeyId": key["Arn"]})).await?;
    }
    if arguments.json {
        show::json(&key)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, member) in [
        ("key", "Arn"),
        ("description", "Description"),
        ("spec", "KeySpec"),
        ("usage", "KeyUsage"),
        ("state", "KeyState"),
        ("manager", "KeyManager"),
        ("origin", "Origin"),
    ] {
        let text = show::text(&key[member]);
        show::line(&format!("{name:<12}{}", if text.is_empty() { "-" } else { &text }))?;
    }
    show::line(&format!("{:<12}{}", "aliases", names(&key)))?;
    show::line(&format!("{:<12}{}", "created", time(&key["CreationDate"])))?;
    if !key["DeletionDate"].is_null() {
        show::line(&format!("{:<12}{}", "destroyed", time(&key["DeletionDate"])))?;
    }
    let rotation = match (&key["Rotation"]["KeyRotationEnabled"], &key["Rotation"]["RotationPeriodInDays"]) {
        (Value::Bool(true), days) => {
            format!("every {} days, next {}", show::count(days), time(&key["Rotation"]["NextRotationDate"]))
        }
        _ => "never by itself".to_owned(),
    };
    show::line(&format!("{:<12}{rotation}", "rotated"))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks `operation` of a key, and shows what it is then.
pub(super) async fn change(operation: &str, arguments: KeyArgs) -> Outcome {
    let server = Server::find(arguments.server)?;
    // These know keys by id and ARN alone.
    let key = described(&server, &arguments.key, &[]).await?["Arn"].take();
    server.ask_kms(operation, &json!({"KeyId": key})).await?;
    let mut key = described(&server, &show::text(&key), &[]).await?;
    if arguments.json {
        show::json(&key.take())?;
    } else {
        let now = match operation {
            "RotateKeyOnDemand" => "has new key material".to_owned(),
            _ => format!("is {}", show::text(&key["KeyState"])),
        };
        show::line(&format!("{} {now}", show::text(&key["Arn"])))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn policy(arguments: PolicyArgs) -> Outcome {
    let PolicyArgs { key, set, server } = arguments;
    let server = Server::find(server)?;
    let key = described(&server, &key, &[]).await?["Arn"].take();
    if let Some(file) = set {
        let policy = read(&file)?;
        server.ask_kms("PutKeyPolicy", &json!({"KeyId": key, "PolicyName": "default", "Policy": policy})).await?;
    }
    let kept = server.ask_kms("GetKeyPolicy", &json!({"KeyId": key, "PolicyName": "default"})).await?;
    let text = show::text(&kept["Policy"]);
    // As the policy language has it, easier to read; a policy is JSON, or it would not have been taken.
    match serde_json::from_str(&text) {
        Ok(document) => show::json(&document)?,
        Err(_) => show::line(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String, OperateError> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(|source| OperateError::File { path: file.to_owned(), source })
}

/// A key's metadata, and the names that it has among `aliases`.
pub(super) async fn described(server: &Server, key: &str, aliases: &[Value]) -> Result<Value, OperateError> {
    let mut key = server.ask_kms("DescribeKey", &json!({"KeyId": key})).await?["KeyMetadata"].take();
    let own = aliases.iter().filter(|alias| !alias["TargetKeyId"].is_null() && alias["TargetKeyId"] == key["KeyId"]);
    key["Aliases"] = own.map(|alias| alias["AliasName"].clone()).collect();
    Ok(key)
}

/// All entries of a listing.
async fn all(server: &Server, operation: &str, member: &str) -> Result<Vec<Value>, OperateError> {
    let (mut entries, mut request) = (Vec::new(), json!({}));
    loop {
        let mut page = server.ask_kms(operation, &request).await?;
        if let Value::Array(more) = page[member].take() {
            entries.extend(more);
        }
        if page["Truncated"] != true {
            return Ok(entries);
        }
        request["Marker"] = page["NextMarker"].take();
    }
}

fn names(key: &Value) -> String {
    let names: Vec<String> = key["Aliases"].as_array().into_iter().flatten().map(show::text).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

/// A time as the KMS API has it: seconds since 1970, perhaps with a fraction.
fn time(value: &Value) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a time to be shown, of our own server")]
    let shown = value.as_f64().map(|seconds| iso8601(from_millis((seconds * 1e3) as i64)));
    shown.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_judged_before_a_key_is_made_for_it() {
        assert_eq!(alias("alias/pay-roll/A_1"), Ok("alias/pay-roll/A_1".to_owned()));
        let long = format!("alias/{}", "x".repeat(251));
        for refused in ["", "payroll", "alias/", "alias/a b", "alias/a:b", "alias/aws/s3", "alias/aws", &long] {
            assert!(alias(refused).is_err(), "{refused}");
        }
    }
}
