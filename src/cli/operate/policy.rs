//! `strongroom policy explain`: what would be decided, and by which statements.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::server::{Server, ServerArgs};
use super::{Outcome, show};

#[derive(Subcommand)]
pub(in crate::cli) enum PolicyCommand {
    /// Say whether a principal may do something to a resource, and which statements of which policies decide. Exits with 0 if
    /// it may, with 1 if it may not, and with 2 if that could not be decided.
    Explain(#[command(flatten)] ExplainArgs),
}

#[derive(Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The ARN of a user, of a role, or of an account's root; `anonymous` of whoever does not sign.
    #[arg(long, value_name = "ARN")]
    principal: String,
    /// The action, such as `s3:GetObject`.
    #[arg(long)]
    action: String,
    /// The ARN of a bucket, an object, a KMS key or another resource.
    #[arg(long, value_name = "ARN")]
    resource: String,
    /// The value of a condition key; given twice, a key has two.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    context: Vec<(String, String)>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "it is no KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) async fn run(command: PolicyCommand) -> Outcome {
    let PolicyCommand::Explain(ExplainArgs { principal, action, resource, context, json: as_json, server }) = command;
    let body = json!({"principal": principal, "action": action, "resource": resource, "context": values(context)});
    let answer = Server::find(server)?.ask(Method::POST, "/_/v1/policy/explain", Some(&body)).await?;
    if as_json {
        show::json(&answer)?;
    } else {
        show::line(&told(&answer))?;
    }
    Ok(if answer["decision"] == "allowed" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The values of each key.
fn values(context: Vec<(String, String)>) -> Value {
    let mut keys: Map<String, Value> = Map::new();
    for (key, value) in context {
        match keys.get_mut(&key) {
            None => drop(keys.insert(key, value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    Value::Object(keys)
}

fn told(answer: &Value) -> String {
    let verdict = match answer["decision"].as_str() {
        Some("allowed") => "ALLOWED",
        Some("explicitDeny") => "DENIED",
        _ => "NOT ALLOWED",
    };
    let mut told = match (answer["reason"].as_str(), answer["grounds"].as_str()) {
        (Some(reason), _) => format!("{verdict}: {reason}"),
        // The statement is marked below.
        (None, Some(grounds)) if grounds != "statement" => format!("{verdict}: by {grounds}"),
        (None, _) => verdict.to_owned(),
    };
    let rows: Vec<Vec<String>> = answer["statements"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|statement| {
            let place = format!(
                "{}{}",
                statement["statement"],
                statement["sid"].as_str().map_or_else(String::new, |sid| format!(" ({sid})"))
            );
            let decisive = if statement["decisive"] == true { "*" } else { "" };
            vec![
                decisive.to_owned(),
                show::text(&statement["effect"]),
                show::text(&statement["source"]),
                show::text(&statement["policy"]),
                place,
            ]
        })
        .collect();
    if !rows.is_empty() {
        let titles = ["", "EFFECT", "SOURCE", "POLICY", "STATEMENT"];
        told.push('\n');
        told.push_str(&show::table(&titles, titles.len(), rows));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_has_two_values() {
        let given = [("a", "1"), ("b", "2"), ("a", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(values(given.to_vec()), json!({"a": ["1", "3"], "b": "2"}));
        assert_eq!(pair("k=v=w"), Ok(("k".to_owned(), "v=w".to_owned())));
        assert!(pair("k").is_err());
    }

    #[test]
    fn the_decisive_statement_is_marked() {
        let answer = json!({"decision": "explicitDeny", "reason": "with an explicit deny", "statements": [
            {"effect": "Deny", "source": "resource-based policy", "policy": "arn", "statement": 2, "sid": "no", "decisive": true}
        ]});
        let told = told(&answer);
        assert!(told.starts_with("DENIED: with an explicit deny\n"));
        assert!(told.contains("2 (no)") && told.contains('*'));
        let by = |grounds: &str| super::told(&json!({"decision": "allowed", "reason": null, "grounds": grounds}));
        assert_eq!(by("access control list"), "ALLOWED: by access control list");
        assert_eq!(by("statement"), "ALLOWED");
    }
}
