//! Documents: JSON text to a compiled policy, refused as AWS refuses it.

use serde_json::{Map, Value};

use super::actions;
use super::condition::{Condition, Malformed};
use super::pattern::{Pattern, Syntax};
use super::principal::{self, Principals};

/// What a document is attached to, and so which rules it is under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind<'k> {
    /// A bucket policy, of the bucket with this ARN.
    Bucket(&'k str),
    /// A KMS key's policy.
    Key,
    /// An identity's policy, or a session's, or a permissions boundary.
    Identity,
    /// Who may assume a role.
    Trust,
}

/// A compiled policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Its name, if it has one.
    pub sid: Option<String>,
    pub(super) allows: bool,
    pub(super) principals: Principals,
    pub(super) actions: Listed,
    /// `None` where the policy is the resource's own and says no more of it.
    pub(super) resources: Option<Listed>,
    pub(super) conditions: Vec<Condition>,
}

/// A list, or all but a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) negated: bool,
    pub(super) patterns: Vec<Pattern>,
}

/// The document is no policy: AWS's text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedPolicy(pub String);

/// Elements of a document.
const ELEMENTS: &[&str] = &["Version", "Id", "Statement"];
/// Elements of a statement.
const STATEMENT_ELEMENTS: &[&str] =
    &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

impl Policy {
    /// Reads a document of `kind`.
    ///
    /// # Errors
    /// [`MalformedPolicy`].
    pub fn parse(text: &str, kind: Kind<'_>) -> Result<Self, MalformedPolicy> {
        const NO_JSON: &str = "Policies must be valid JSON and the first byte must be '{'";
        if !text.starts_with('{') {
            return Err(malformed(NO_JSON));
        }
        let document: Value = serde_json::from_str(text).map_err(|_| malformed(NO_JSON))?;
        let document = document.as_object().ok_or_else(|| malformed(NO_JSON))?;
        only(document, ELEMENTS)?;
        let variables = match document.get("Version").map(Value::as_str) {
            None | Some(Some("2008-10-17")) => false,
            Some(Some("2012-10-17")) => true,
            Some(_) => return Err(malformed("The policy must contain a valid version string")),
        };
        if document.get("Id").is_some_and(|id| !id.is_string()) {
            return Err(malformed("Invalid policy syntax."));
        }
        let statements = document.get("Statement").ok_or_else(|| malformed("Missing required field Statement"))?;
        let statements = statements.as_array().map_or(std::slice::from_ref(statements), Vec::as_slice);
        if statements.is_empty() {
            return Err(malformed("Could not parse the policy: Statement is empty!"));
        }
        let statements = statements.iter().map(|statement| Statement::read(statement, kind, variables));
        Ok(Self { statements: statements.collect::<Result<_, _>>()? })
    }

    /// Its statements, in order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Whether some condition asks for `key` (in lower case): what is costly to know need not be found out if not.
    pub fn asks_for(&self, key: &str) -> bool {
        self.asks_for_some(|asked| asked == key)
    }

    /// Whether some condition asks for a key (in lower case) that is `wanted`.
    pub fn asks_for_some(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.statements.iter().flat_map(|statement| &statement.conditions).any(|condition| wanted(condition.key()))
    }
}

impl Statement {
    fn read(statement: &Value, kind: Kind<'_>, variables: bool) -> Result<Self, MalformedPolicy> {
        let statement = statement.as_object().ok_or_else(|| malformed("Invalid policy syntax."))?;
        only(statement, STATEMENT_ELEMENTS)?;
        let allows = match statement.get("Effect").map(Value::as_str) {
            Some(Some("Allow")) => true,
            Some(Some("Deny")) => false,
            Some(Some(effect)) => return Err(malformed(format!("Invalid effect: {effect}"))),
            Some(None) => return Err(malformed("Invalid policy syntax.")),
            None => return Err(malformed("Missing required field Effect")),
        };
        let sid = match statement.get("Sid") {
            None => None,
            Some(Value::String(sid)) => Some(sid.clone()),
            Some(_) => return Err(malformed("Invalid policy syntax.")),
        };
        let principals = principals(statement, kind)?;
        let actions = actions_of(statement, kind, variables)?;
        let resources = resources(statement, kind, variables)?;
        if let (Kind::Bucket(bucket), Some(resources)) = (kind, &resources) {
            check_actions_against_resources(bucket, &actions, resources)?;
        }
        Ok(Self { sid, allows, principals, actions, resources, conditions: conditions(statement, variables)? })
    }
}

fn principals(statement: &Map<String, Value>, kind: Kind<'_>) -> Result<Principals, MalformedPolicy> {
    let read = |value| principal::read(value).ok_or_else(|| malformed("Invalid principal in policy"));
    let found = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(_), Some(_)) => return Err(malformed("Policy cannot contain both Principal and NotPrincipal")),
        (Some(value), None) => Principals::These(read(value)?),
        (None, Some(value)) => Principals::AllBut(read(value)?),
        (None, None) => Principals::Unsaid,
    };
    match (kind, &found) {
        (Kind::Identity, Principals::Unsaid) => Ok(found),
        (Kind::Identity, _) => Err(malformed("Policy document should not specify a principal.")),
        (_, Principals::Unsaid) => Err(malformed("Missing required field Principal")),
        _ => Ok(found),
    }
}

fn actions_of(statement: &Map<String, Value>, kind: Kind<'_>, variables: bool) -> Result<Listed, MalformedPolicy> {
    let (negated, values) =
        either(statement, "Action", "NotAction")?.ok_or_else(|| malformed("Missing required field Action"))?;
    let service = match kind {
        Kind::Bucket(_) => Some("s3:"),
        Kind::Key => Some("kms:"),
        Kind::Trust => Some("sts:"),
        Kind::Identity => None,
    };
    for action in &values {
        let of_service = service
            .is_none_or(|service| action.get(..service.len()).is_some_and(|head| head.eq_ignore_ascii_case(service)));
        let known = !matches!(kind, Kind::Bucket(_)) || actions::is_s3(action);
        if action != "*" && !(of_service && known && action.contains(':')) {
            return Err(malformed("Policy has invalid action"));
        }
    }
    let syntax = Syntax { wildcards: true, variables, fold: true };
    Ok(Listed { negated, patterns: values.iter().map(|action| Pattern::new(action, syntax)).collect() })
}

fn resources(
    statement: &Map<String, Value>,
    kind: Kind<'_>,
    variables: bool,
) -> Result<Option<Listed>, MalformedPolicy> {
    let found = either(statement, "Resource", "NotResource")?;
    let Some((negated, values)) = found else {
        return match kind {
            Kind::Trust => Ok(None),
            _ => Err(malformed("Missing required field Resource")),
        };
    };
    if kind == Kind::Trust {
        return Err(malformed("Has prohibited field Resource"));
    }
    let syntax = Syntax { wildcards: true, variables, fold: false };
    let patterns: Vec<Pattern> = values.iter().map(|resource| Pattern::new(resource, syntax)).collect();
    if let Kind::Bucket(bucket) = kind {
        let object_prefix = format!("{bucket}/");
        let own = |(value, pattern): (&String, &Pattern)| {
            value == bucket || value == &format!("{bucket}*") || pattern.stays_within(&object_prefix)
        };
        if !values.iter().zip(&patterns).all(own) {
            return Err(malformed("Policy has invalid resource"));
        }
    }
    Ok(Some(Listed { negated, patterns }))
}

/// S3 refuses statements no action of which can ever apply to any of its resources.
fn check_actions_against_resources(bucket: &str, actions: &Listed, resources: &Listed) -> Result<(), MalformedPolicy> {
    if actions.negated || resources.negated {
        return Ok(());
    }
    let has_bucket = resources.patterns.iter().any(|pattern| pattern.matches(bucket, &()));
    let object_prefix = format!("{bucket}/");
    let has_objects = resources
        .patterns
        .iter()
        .any(|pattern| pattern.stays_within(&object_prefix) || pattern.matches(&object_prefix, &()));
    let applies = |pattern: &Pattern| {
        (has_bucket && actions::ON_BUCKETS.iter().any(|action| pattern.matches(action, &())))
            || (has_objects && actions::ON_OBJECTS.iter().any(|action| pattern.matches(action, &())))
    };
    if actions.patterns.iter().all(applies) {
        Ok(())
    } else {
        Err(malformed("Action does not apply to any resource(s) in statement"))
    }
}

fn conditions(statement: &Map<String, Value>, variables: bool) -> Result<Vec<Condition>, MalformedPolicy> {
    let Some(block) = statement.get("Condition") else { return Ok(Vec::new()) };
    let block = block.as_object().ok_or_else(|| malformed("Invalid policy syntax."))?;
    let mut conditions = Vec::new();
    for (operator, keys) in block {
        let keys = keys.as_object().ok_or_else(|| malformed("Invalid policy syntax."))?;
        for (key, values) in keys {
            let values = strings(values).ok_or_else(|| malformed("Invalid policy syntax."))?;
            let condition = Condition::new(operator, key, &values, variables);
            conditions.push(condition.map_err(|error| match error {
                Malformed::Operator => malformed(format!("Invalid Condition type : {operator}")),
                Malformed::Value => malformed(format!("Invalid value for condition {operator} on {key}")),
            })?);
        }
    }
    Ok(conditions)
}

/// The values of one of two elements that exclude each other; whether it was the negated one.
fn either(
    statement: &Map<String, Value>,
    name: &str,
    negated: &str,
) -> Result<Option<(bool, Vec<String>)>, MalformedPolicy> {
    let (is_negated, value) = match (statement.get(name), statement.get(negated)) {
        (Some(_), Some(_)) => return Err(malformed(format!("Policy cannot contain both {name} and {negated}"))),
        (Some(value), None) => (false, value),
        (None, Some(value)) => (true, value),
        (None, None) => return Ok(None),
    };
    let values =
        strings(value).filter(|values| !values.is_empty()).ok_or_else(|| malformed("Invalid policy syntax."))?;
    Ok(Some((is_negated, values)))
}

/// One value or several; numbers and booleans stand for their texts.
fn strings(value: &Value) -> Option<Vec<String>> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    values.iter().map(text).collect()
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), MalformedPolicy> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(malformed(format!("Unknown field {unknown}"))),
        None => Ok(()),
    }
}

fn malformed(text: impl Into<String>) -> MalformedPolicy {
    MalformedPolicy(text.into())
}
