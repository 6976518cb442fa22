//! Documents that identities are to be given, judged when they are put: in IAM's order, which looks at the whole document for
//! one kind of fault after the other, and in its words. What was stored before these rules were is read by [`Policy::parse`],
//! which has fewer.
//! (IAM user guide, "Grammar of the IAM JSON policy language" and "IAM JSON policy elements".)
//!
//! | faults | answer |
//! |---|---|
//! | elements, their types, operators | `Syntax errors in policy.` |
//! | version, of a managed policy | `Policy document must be version …` |
//! | case of effects, values of conditions, fields of ARNs | `The policy failed legacy parsing` |
//! | principals | `Policy document should not specify a principal.` |
//! | names of statements | `Statement IDs (SID) …` |
//! | no actions, no resources | `Policy statement must contain …` |
//! | resources | by the ARN's field |
//! | actions | by the action's part |

use serde_json::{Map, Value};

use super::condition::{self, Malformed};
use super::document::{ELEMENTS, Kind, MalformedPolicy, Policy, STATEMENT_ELEMENTS, VERSION, VERSIONS, strings};
use super::json;

type Result = std::result::Result<(), String>;
type Statement = Map<String, Value>;

/// A check of a whole document.
type Check = fn(&[&Statement]) -> Result;

/// In the order in which they are made, after those of syntax and version.
const CHECKS: &[Check] = &[check_legacy, check_principals, check_sids, check_presence, check_resources, check_actions];

const SYNTAX: &str = "Syntax errors in policy.";
const LEGACY: &str = "The policy failed legacy parsing";
const PARTITIONS: &[&str] = &["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-eusc"];
/// How paths of IAM's own resources begin.
const PATHS: &str = "user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, \
                     saml-provider/, oidc-provider/, report/, access-report/";

/// Judges a document that an identity is to have; one that is managed must be in the language's latest version.
///
/// # Errors
/// [`MalformedPolicy`].
pub fn check_identity(text: &str, is_managed: bool) -> std::result::Result<(), MalformedPolicy> {
    let document = json::read(text).filter(|_| text.starts_with('{'));
    let document = document.as_ref().and_then(Value::as_object).filter(|document| is_document(document));
    let document = document.ok_or_else(|| MalformedPolicy(SYNTAX.to_owned()))?;
    if is_managed && document.get("Version").and_then(Value::as_str) != Some(VERSION) {
        return Err(MalformedPolicy(format!("Policy document must be version {VERSION} or greater.")));
    }
    let statements: Vec<&Statement> = listed(&document["Statement"]).iter().filter_map(Value::as_object).collect();
    CHECKS.iter().try_for_each(|check| check(&statements)).map_err(MalformedPolicy)?;
    Policy::parse(text, Kind::Identity).map(drop)
}

fn listed(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn is_document(document: &Map<String, Value>) -> bool {
    let version = |value: &Value| value.as_str().is_some_and(|version| VERSIONS.contains(&version));
    let statements = |value: &Value| !listed(value).is_empty() && listed(value).iter().all(is_statement);
    document.keys().all(|key| ELEMENTS.contains(&key.as_str()))
        && document.get("Version").is_none_or(version)
        && document.get("Id").is_none_or(Value::is_string)
        && document.get("Statement").is_some_and(statements)
}

fn is_statement(statement: &Value) -> bool {
    let Some(statement) = statement.as_object() else { return false };
    let texts = |value: &Value| listed(value).iter().all(Value::is_string);
    let one_of = |one: &str, other: &str| {
        let both = statement.contains_key(one) && statement.contains_key(other);
        !both && [one, other].iter().all(|name| statement.get(*name).is_none_or(texts))
    };
    let effect = statement.get("Effect").and_then(Value::as_str);
    statement.keys().all(|key| STATEMENT_ELEMENTS.contains(&key.as_str()))
        && effect.is_some_and(|effect| ["allow", "deny"].contains(&effect.to_ascii_lowercase().as_str()))
        && statement.get("Sid").is_none_or(Value::is_string)
        && one_of("Action", "NotAction")
        && one_of("Resource", "NotResource")
        && statement.get("Condition").is_none_or(|block| conditions(block, &|error| *error != Malformed::Operator))
}

/// Whether a block of conditions is one, and nothing in it is at fault but what `forgiven` forgives.
fn conditions(block: &Value, forgiven: &dyn Fn(&Malformed) -> bool) -> bool {
    let Some(block) = block.as_object() else { return false };
    block.iter().all(|(operator, keys)| {
        let Some(keys) = keys.as_object() else { return false };
        keys.iter().all(|(key, values)| {
            let Some(values) = strings(values) else { return false };
            condition::Condition::new(operator, key, &values, true).err().as_ref().is_none_or(forgiven)
        })
    })
}

/// The values of an element or of its negation.
fn values<'s>(statement: &'s Statement, name: &str) -> Option<Vec<&'s str>> {
    let value = statement.get(name).or_else(|| statement.get(&format!("Not{name}")))?;
    Some(listed(value).iter().filter_map(Value::as_str).collect())
}

fn check_legacy(statements: &[&Statement]) -> Result {
    let passes = |statement: &&Statement| {
        let effect = statement.get("Effect").and_then(Value::as_str);
        matches!(effect, Some("Allow" | "Deny"))
            && statement.get("Condition").is_none_or(|block| conditions(block, &|_| false))
            && values(statement, "Resource").unwrap_or_default().into_iter().all(has_whole_fields)
    };
    if statements.iter().all(passes) { Ok(()) } else { Err(LEGACY.to_owned()) }
}

/// Whether an ARN has a vendor and, where it leaves its last fields out, leaves none in front of those empty.
fn has_whole_fields(resource: &str) -> bool {
    let fields: Vec<&str> = resource.splitn(6, ':').collect();
    let [_, partition, more @ ..] = fields.as_slice() else { return true };
    !is_partition(partition)
        || more.is_empty()
        || (!more[0].is_empty() && (more.len() == 4 || more.iter().all(|field| !field.is_empty())))
}

fn is_partition(text: &str) -> bool {
    PARTITIONS.contains(&text) || has_wildcards(text)
}

fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '$'])
}

fn check_principals(statements: &[&Statement]) -> Result {
    let names = |statement: &&Statement| statement.contains_key("Principal") || statement.contains_key("NotPrincipal");
    if statements.iter().any(names) {
        return Err("Policy document should not specify a principal.".to_owned());
    }
    Ok(())
}

fn check_sids(statements: &[&Statement]) -> Result {
    let sids = statements.iter().filter_map(|statement| statement.get("Sid")?.as_str());
    super::document::check_sids(sids).map_err(|fault| fault.text(Kind::Identity))
}

fn check_presence(statements: &[&Statement]) -> Result {
    for statement in statements {
        for (name, plural) in [("Action", "actions"), ("Resource", "resources")] {
            if values(statement, name).is_none_or(|values| values.is_empty()) {
                return Err(format!("Policy statement must contain {plural}."));
            }
        }
    }
    Ok(())
}

fn check_resources(statements: &[&Statement]) -> Result {
    let all = statements.iter().filter_map(|statement| values(statement, "Resource")).flatten();
    all.filter(|resource| *resource != "*").try_for_each(check_resource)
}

fn check_resource(resource: &str) -> Result {
    let mut fields: Vec<&str> = resource.splitn(6, ':').collect();
    let (Some(partition), given) = (fields.get(1).copied(), fields.len()) else {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    };
    // What an ARN leaves out may be anything.
    fields.resize(6, "*");
    let [_, _, vendor, region, account, path] = fields[..] else { return Ok(()) };
    if !is_partition(partition) {
        let rest = fields[2..].join(":");
        return Err(format!("Partition \"{partition}\" is not valid for resource \"arn:{partition}:{rest}\"."));
    }
    if given < 3 || has_wildcards(vendor) {
        return Err("Resource vendor must be fully qualified and cannot contain regexes.".to_owned());
    }
    let has_region = !region.is_empty() && !has_wildcards(region);
    match vendor {
        "iam" if has_region => Err(format!("IAM resource {resource} cannot contain region information.")),
        "iam" if !matches!(path, "*" | "root") && !PATHS.split(", ").any(|start| path.starts_with(start)) => {
            // Recorded on AWS: LocalStack's test_create_policy_invalid_document.
            Err(format!("IAM resource path must either be \"*\", root, or start with {PATHS}."))
        }
        // Access points have regions and accounts; buckets have neither.
        "s3" if has_region && account.is_empty() => {
            Err(format!("Resource {resource} can not contain region information."))
        }
        _ => Ok(()),
    }
}

fn check_actions(statements: &[&Statement]) -> Result {
    let all = statements.iter().filter_map(|statement| values(statement, "Action")).flatten();
    all.filter(|action| *action != "*").try_for_each(check_action)
}

fn check_action(action: &str) -> Result {
    let Some((vendor, name)) = action.split_once(':').filter(|(vendor, _)| !vendor.is_empty()) else {
        return Err("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.".to_owned());
    };
    if name.contains(':') {
        return Err("Actions/Condition can contain only one colon.".to_owned());
    }
    let is_vendor = vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_vendor { Ok(()) } else { Err(format!("Vendor {vendor} is not valid")) }
}
