//! `strongroom iam`: users, groups, roles, policies and access keys, asked of the server's own IAM API.

mod commands;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::server::{Server, ServerArgs};
use super::{Outcome, show};
pub(in crate::cli) use commands::IamCommand;
use commands::{Answer, Request};

/// Where the server is, and how its answer is shown.
#[derive(clap::Args)]
pub(in crate::cli) struct Common {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: IamCommand) -> Outcome {
    let (requests, answer, common) = command.requests()?;
    let server = Server::find(common.server)?;
    let mut all = json!({});
    for Request { action, mut params, found } in requests {
        params.extend(found.map(|(name, path)| (name, show::text(at(&all, path)))));
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut result = server.ask_iam(action, &params).await?;
        let mut more = result["IsTruncated"] == "true";
        while more {
            let marker = show::text(&result["Marker"]);
            let mut page = server.ask_iam(action, &[&params[..], &[("Marker", marker.as_str())]].concat()).await?;
            more = page["IsTruncated"] == "true";
            append(&mut result, &mut page);
            result["Marker"] = page["Marker"].take();
        }
        if let (Value::Object(all), Value::Object(members)) = (&mut all, result) {
            all.extend(members);
        }
    }
    print(&all, answer, common.json)?;
    Ok(ExitCode::SUCCESS)
}

/// What stands in `answer` at the end of `path`.
fn at<'a>(answer: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(answer, |value, name| &value[*name])
}

/// Adds the lists of `page` to those of `all`.
fn append(all: &mut Value, page: &mut Value) {
    let Some(members) = page.as_object_mut() else { return };
    for (name, value) in members {
        if let (Value::Array(list), Value::Array(more)) = (&mut all[name.as_str()], value) {
            list.append(more);
        }
    }
}

fn print(result: &Value, answer: Answer, as_json: bool) -> std::io::Result<()> {
    if as_json {
        let mut shown = result.clone();
        if let Some(members) = shown.as_object_mut() {
            members.retain(|name, _| !matches!(name.as_str(), "IsTruncated" | "Marker"));
        }
        return show::json(&shown);
    }
    match answer {
        Answer::Nothing => Ok(()),
        Answer::Member(path) => show::line(&show::text(at(result, path))),
        Answer::Key => {
            let key = &result["AccessKey"];
            show::line(&format!("aws_access_key_id = {}", show::text(&key["AccessKeyId"])))?;
            // The one time that it is shown.
            show::line(&format!("aws_secret_access_key = {}", show::text(&key["SecretAccessKey"])))
        }
        Answer::Object(member) => show::json(&result[member]),
        Answer::Document(path) => {
            let text = show::text(at(result, path));
            show::line(&crate::wire::percent::percent_decode(&text, false).unwrap_or(text))
        }
        Answer::Policies => {
            let entries = |member: &str| result[member].as_array().cloned().unwrap_or_default();
            let inline = entries("PolicyNames").into_iter().map(|name| vec![show::text(&name), "(inline)".to_owned()]);
            let attached = entries("AttachedPolicies").into_iter();
            let attached =
                attached.map(|policy| ["PolicyName", "PolicyArn"].map(|name| show::text(&policy[name])).to_vec());
            let titles = ["POLICY", "ARN"];
            show::line(&show::table(&titles, titles.len(), inline.chain(attached).collect()))
        }
        Answer::Table(member, columns) => {
            let rows = result[member].as_array().into_iter().flatten().map(|entry| {
                let cell = |name: &&str| if name.is_empty() { show::text(entry) } else { show::text(&entry[*name]) };
                columns.iter().map(|(_, name)| cell(name)).collect()
            });
            let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
            show::line(&show::table(&titles, titles.len(), rows.collect()))
        }
    }
}
