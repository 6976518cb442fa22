//! What the audit learns of IAM and STS requests: their parameters as CloudTrail names them, without secrets and tokens.
//! (AWS: "Logging IAM and AWS STS API calls with AWS CloudTrail", IAM user guide.)

use serde_json::{Map, Value, json};

use super::Call;
use super::failure::{ACCESS_DENIED, Result};
use super::operation::Operation;
use super::params::Params;
use crate::audit::{Category, Event, Resource, ServiceOperation, UserIdentity};
use crate::clock::cloudtrail_date;
use crate::iam::arn;
use crate::wire::Said;
use crate::wire::validation::lower_first;

/// Members that never reach the log.
const WITHHELD: &[&str] = &["SecretAccessKey", "SessionToken", "WebIdentityToken", "TokenCode"];

/// A request before it is carried out.
pub(super) fn begin(call: &Call<'_>, operation: &'static Operation, said: Said<'_>) -> Event {
    let user = match call.identity {
        _ if operation.is_by_token() => UserIdentity::web_identity(None),
        Some(identity) => identity.audited(),
        None => UserIdentity::anonymous(),
    };
    let operation = ServiceOperation {
        source: operation.service.event_source(),
        name: operation.name,
        read_only: operation.is_read_only(),
        category: Category::Management,
        region: &call.api.region,
        entropy: &*call.api.entropy,
    };
    let mut event = Event::of_request(operation, call.cx, said, user);
    event.request_parameters = parameters(call.params);
    event
}

/// Adds how the request was answered, and what decided on it.
pub(super) fn end(event: &mut Event, call: &Call<'_>, result: &Result<Value>) {
    let witness = &call.witness;
    let is_refused = result.as_ref().is_err_and(|failure| failure.code == ACCESS_DENIED);
    event.judge(witness.decisions().decisive(is_refused).map(|decided| decided.told()));
    match result {
        // CloudTrail tells what STS answers, though it changes nothing.
        Ok(answer) if !event.read_only || answer["Credentials"].is_object() => {
            event.response_elements = if answer.is_null() { Value::Null } else { shown(answer) };
        }
        Ok(_) => {}
        Err(failure) => event.fail(failure.code, failure.message.as_ref()),
    }
    if let Some(role) = call.params.text("RoleArn").filter(|_| event.event_name.starts_with("AssumeRole"))
        && let Some((account, _)) = arn::split(role).filter(|(_, resource)| resource.starts_with("role/"))
    {
        let account_id = Some(account.to_owned());
        event.resources.push(Resource { account_id, kind: "AWS::IAM::Role", arn: role.to_owned() });
        if let Some(proven) = call.web_identity.get() {
            event.user_identity = proven.clone();
        }
        if event.user_identity.is_of_nobody() {
            // Who comes with a token has no log: what becomes of it is in the role's, refused or not. (re:Post, "How do I troubleshoot
            // an OIDC provider and IRSA in Amazon EKS?", looks for refusals there.)
            if call.directory().account(account).is_some() {
                account.clone_into(&mut event.recipient_account_id);
            }
        } else if result.is_ok() {
            // Whoever is refused has nothing to say in another account's log.
            event.tell_owners(&*call.api.entropy);
        }
    }
}

/// The parameters as a tree; null if there are none.
fn parameters(params: &Params) -> Value {
    let mut tree = json!({});
    for (name, value) in
        params.iter().filter(|(name, _)| !matches!(*name, "Action" | "Version") && !name.starts_with("X-Amz-"))
    {
        let mut path = name.split('.').filter(|step| *step != "member").peekable();
        if path.clone().any(|step| WITHHELD.contains(&step)) {
            continue;
        }
        let mut at = &mut tree;
        while let Some(step) = path.next() {
            let Value::Object(members) = at else { break };
            let fresh = if path.peek().is_some() { Value::Object(Map::new()) } else { value.into() };
            at = members.entry(lower_first(step)).or_insert(fresh);
        }
    }
    match lists(tree) {
        Value::Object(members) if members.is_empty() => Value::Null,
        tree => tree,
    }
}

/// Turns objects whose members are numbers into lists.
fn lists(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let numbered = !members.is_empty() && members.keys().all(|key| key.parse::<u32>().is_ok());
    if numbered {
        let mut items: Vec<(u32, Value)> =
            members.into_iter().filter_map(|(key, value)| Some((key.parse().ok()?, lists(value)))).collect();
        items.sort_by_key(|(number, _)| *number);
        return items.into_iter().map(|(_, value)| value).collect();
    }
    Value::Object(members.into_iter().map(|(key, value)| (key, lists(value))).collect())
}

/// An answer as CloudTrail shows it.
fn shown(answer: &Value) -> Value {
    match answer {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, value)| !WITHHELD.contains(&name.as_str()) && !value.is_null());
            Value::Object(members.map(|(name, value)| (lower_first(name), shown_member(name, value))).collect())
        }
        Value::Array(values) => values.iter().map(shown).collect(),
        other => other.clone(),
    }
}

/// A member of an answer as CloudTrail shows it: times in its own way.
fn shown_member(name: &str, value: &Value) -> Value {
    let time = value.as_str().filter(|_| name == "Expiration" || name.ends_with("Date"));
    time.and_then(|text| text.parse().ok()).map_or_else(|| shown(value), |time| cloudtrail_date(time).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_a_tree_without_secrets() {
        let text = "Action=AssumeRole&Version=2&RoleArn=a&Tags.member.1.Key=k&Tags.member.1.Value=v&TransitiveTagKeys.member.1=k&WebIdentityToken=secret";
        let params = Params::parse(text).unwrap();
        let expected = json!({"roleArn": "a", "tags": [{"key": "k", "value": "v"}], "transitiveTagKeys": ["k"]});
        assert_eq!(parameters(&params), expected);
        assert_eq!(parameters(&Params::parse("Action=ListUsers").unwrap()), Value::Null);
        let answer = json!({"AccessKey": {"AccessKeyId": "AKIA", "SecretAccessKey": "secret"}});
        assert_eq!(shown(&answer), json!({"accessKey": {"accessKeyId": "AKIA"}}));
        let answer = json!({"Credentials": {"Expiration": "2021-01-22T12:46:28Z"}, "CreateDate": "soon"});
        let told = json!({"credentials": {"expiration": "Jan 22, 2021, 12:46:28 PM"}, "createDate": "soon"});
        assert_eq!(shown(&answer), told);
    }
}
