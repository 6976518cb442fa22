//! Documents: JSON text to a compiled policy, refused as AWS refuses it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::condition::{Condition, Malformed};
use super::pattern::{Pattern, Syntax};
use super::position::{self, Span};
use super::principal::{self, Principals};
use super::{actions, json};

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
    /// What explanations call it: its name, or `statement 2`, counted from 1.
    pub label: Arc<str>,
    /// Where it stands in the document.
    pub span: Option<Span>,
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

/// What is wrong with a document.
pub(super) enum Fault {
    /// It is no JSON object, or says one thing twice.
    NotJson,
    /// An element is of another type than it must be.
    Syntax,
    UnknownField(String),
    MissingField(&'static str),
    Version,
    NoStatement,
    Effect(String),
    /// Two elements that exclude each other.
    Both(&'static str, &'static str),
    Principal,
    /// An allowance for all but some.
    AllowNotPrincipal,
    /// What this kind of document must not have.
    Prohibited(&'static str),
    Action,
    /// An action has more than a vendor and a name.
    Colons,
    Resource(String),
    /// No action of a statement can apply to any of its resources.
    Mismatch,
    ConditionType(String),
    ConditionValue(String, String),
    Sid,
    SidTwice,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    /// AWS's text: S3's for bucket policies, IAM's for what identities have, KMS's where it differs from S3's.
    pub(super) fn text(self, kind: Kind<'_>) -> String {
        let of_iam = matches!(kind, Kind::Identity | Kind::Trust);
        match self {
            Self::NotJson if kind == Kind::Trust => "This policy contains invalid Json".to_owned(),
            Self::NotJson
            | Self::Syntax
            | Self::UnknownField(_)
            | Self::MissingField("Statement" | "Effect")
            | Self::Version
            | Self::NoStatement
            | Self::Effect(_)
            | Self::Both(..)
            | Self::ConditionType(_)
                if of_iam =>
            {
                "Syntax errors in policy.".to_owned()
            }
            Self::ConditionValue(..) if of_iam => "The policy failed legacy parsing".to_owned(),
            Self::MissingField("Action") if of_iam => "Policy statement must contain actions.".to_owned(),
            Self::MissingField("Resource") if of_iam => "Policy statement must contain resources.".to_owned(),
            Self::MissingField(field) if of_iam => format!("Missing required field {field} cannot be empty!"),
            Self::Action if kind == Kind::Identity => {
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.".to_owned()
            }
            Self::Action if kind == Kind::Trust => {
                "AssumeRole policy may only specify STS AssumeRole actions.".to_owned()
            }
            Self::Principal if kind == Kind::Key => {
                "Policy contains a statement with one or more invalid principals.".to_owned()
            }
            Self::AllowNotPrincipal => "Allow with NotPrincipal is not allowed.".to_owned(),
            Self::Prohibited("Principal") => "Policy document should not specify a principal.".to_owned(),
            Self::Resource(resource) if kind == Kind::Identity => {
                format!("Resource {resource} must be in ARN format or \"*\".")
            }
            Self::NotJson => "Policies must be valid JSON and the first byte must be '{'".to_owned(),
            Self::Syntax => "Invalid policy syntax.".to_owned(),
            Self::UnknownField(field) => format!("Unknown field {field}"),
            Self::MissingField(field) => format!("Missing required field {field}"),
            Self::Version => "The policy must contain a valid version string".to_owned(),
            Self::NoStatement => "Could not parse the policy: Statement is empty!".to_owned(),
            Self::Effect(effect) => format!("Invalid effect: {effect}"),
            Self::Both(one, other) => format!("Policy cannot contain both {one} and {other}"),
            Self::Principal => "Invalid principal in policy".to_owned(),
            Self::Prohibited(field) => format!("Has prohibited field {field}"),
            Self::Colons => "Actions/Condition can contain only one colon.".to_owned(),
            Self::Action => "Policy has invalid action".to_owned(),
            Self::Resource(_) => "Policy has invalid resource".to_owned(),
            Self::Mismatch => "Action does not apply to any resource(s) in statement".to_owned(),
            Self::ConditionType(operator) => format!("Invalid Condition type : {operator}"),
            Self::ConditionValue(operator, key) => format!("Invalid value for condition {operator} on {key}"),
            Self::Sid => "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular \
                          expression [0-9A-Za-z]*"
                .to_owned(),
            Self::SidTwice => "Statement IDs (SID) in a single policy must be unique.".to_owned(),
        }
    }
}

/// The version that has policy variables, and all that there are.
pub(super) const VERSION: &str = "2012-10-17";
pub(super) const VERSIONS: &[&str] = &["2008-10-17", VERSION];
/// Elements of a document.
pub(super) const ELEMENTS: &[&str] = &["Version", "Id", "Statement"];
/// Elements of a statement.
pub(super) const STATEMENT_ELEMENTS: &[&str] =
    &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

/// What is done to roles by whom they trust. (Service authorization reference, "Actions defined by AWS STS": role.)
const ACTIONS_ON_ROLES: &[&str] = &[
    "sts:AssumeRole",
    "sts:AssumeRoleWithSAML",
    "sts:AssumeRoleWithWebIdentity",
    "sts:SetContext",
    "sts:SetSourceIdentity",
    "sts:TagSession",
];

impl Policy {
    /// Reads a document of `kind`.
    ///
    /// # Errors
    /// [`MalformedPolicy`].
    pub fn parse(text: &str, kind: Kind<'_>) -> Result<Self, MalformedPolicy> {
        Self::read(text, kind).map_err(|fault| MalformedPolicy(fault.text(kind)))
    }

    fn read(text: &str, kind: Kind<'_>) -> Result<Self> {
        if !text.starts_with('{') {
            return Err(Fault::NotJson);
        }
        let document = json::read(text).ok_or(Fault::NotJson)?;
        let document = document.as_object().ok_or(Fault::NotJson)?;
        only(document, ELEMENTS)?;
        let variables = match document.get("Version").map(Value::as_str) {
            None => false,
            Some(Some(version)) if VERSIONS.contains(&version) => version == VERSION,
            Some(_) => return Err(Fault::Version),
        };
        if document.get("Id").is_some_and(|id| !id.is_string()) {
            return Err(Fault::Syntax);
        }
        let statements = document.get("Statement").ok_or(Fault::MissingField("Statement"))?;
        let statements = statements.as_array().map_or(std::slice::from_ref(statements), Vec::as_slice);
        if statements.is_empty() {
            return Err(Fault::NoStatement);
        }
        let spans = position::spans(text);
        let read = |(index, statement)| {
            let span = spans.get(index).copied();
            Ok(Statement { span, ..Statement::read(index + 1, statement, kind, variables)? })
        };
        let statements = statements.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
        if matches!(kind, Kind::Identity | Kind::Trust) {
            check_sids(statements.iter().filter_map(|statement| statement.sid.as_deref()))?;
        }
        Ok(Self { statements })
    }

    /// Its statements, in order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// How much there is to judge: its statements, and what they list.
    pub fn extent(&self) -> usize {
        self.statements.iter().map(Statement::extent).sum()
    }

    /// Whether something in it, a condition or a variable, asks for a key (in lower case) that is `wanted`: what is costly to
    /// know need not be found out if not.
    pub fn asks_for_some(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.statements.iter().flat_map(Statement::asked).any(wanted)
    }

    /// Judges the principals of a policy of `kind` that is to be kept. Kept policies are read without: what was once taken keeps
    /// its meaning.
    ///
    /// # Errors
    /// [`MalformedPolicy`], if it allows something to all but some, or trusts all but some.
    /// (IAM user guide, "AWS JSON policy elements: NotPrincipal".)
    pub fn check_principals(&self, kind: Kind<'_>) -> Result<(), MalformedPolicy> {
        let mut all_but = self.statements.iter().filter(|of| matches!(of.principals, Principals::AllBut(_)));
        let fault = match kind {
            Kind::Trust => all_but.next().map(|_| Fault::Prohibited("NotPrincipal")),
            _ => all_but.any(|statement| statement.allows).then_some(Fault::AllowNotPrincipal),
        };
        fault.map_or(Ok(()), |fault| Err(MalformedPolicy(fault.text(kind))))
    }

    /// Judges the actions of a policy of `kind` that is to be kept, as [`Self::check_principals`] its principals.
    ///
    /// # Errors
    /// [`MalformedPolicy`], if it lets do what nobody does to a role.
    pub fn check_actions(&self, kind: Kind<'_>) -> Result<(), MalformedPolicy> {
        let is_of_roles = |statement: &Statement| statement.each_action_covers_one_of(ACTIONS_ON_ROLES);
        match kind {
            Kind::Trust if !self.statements.iter().all(is_of_roles) => Err(MalformedPolicy(Fault::Action.text(kind))),
            _ => Ok(()),
        }
    }

    /// Puts accounts in the place of the canonical ids that the policy names as principals.
    ///
    /// # Errors
    /// [`MalformedPolicy`], if one of them is no account's; it stands for nobody then.
    pub fn resolve(&mut self, account: impl Fn(&str) -> Option<String>) -> Result<(), MalformedPolicy> {
        let unknown = self.statements.iter_mut().filter_map(|statement| statement.principals.resolve(&account).err());
        match unknown.count() {
            0 => Ok(()),
            _ => Err(MalformedPolicy(Fault::Principal.text(Kind::Bucket("")))),
        }
    }
}

impl Statement {
    fn read(number: usize, statement: &Value, kind: Kind<'_>, variables: bool) -> Result<Self> {
        let statement = statement.as_object().ok_or(Fault::Syntax)?;
        only(statement, STATEMENT_ELEMENTS)?;
        let allows = match statement.get("Effect").map(Value::as_str) {
            Some(Some("Allow")) => true,
            Some(Some("Deny")) => false,
            Some(Some(effect)) => return Err(Fault::Effect(effect.to_owned())),
            Some(None) => return Err(Fault::Syntax),
            None => return Err(Fault::MissingField("Effect")),
        };
        let sid = match statement.get("Sid") {
            None => None,
            Some(Value::String(sid)) => Some(sid.clone()),
            Some(_) => return Err(Fault::Syntax),
        };
        let label = match &sid {
            Some(sid) if !sid.is_empty() => Arc::from(sid.as_str()),
            _ => Arc::from(format!("statement {number}")),
        };
        let principals = principals(statement, kind)?;
        let actions = actions_of(statement, kind, variables)?;
        let resources = resources(statement, kind, variables)?;
        if let (Kind::Bucket(bucket), Some(resources)) = (kind, &resources) {
            check_actions_against_resources(bucket, &actions, resources)?;
        }
        let conditions = conditions(statement, variables)?;
        Ok(Self { sid, label, span: None, allows, principals, actions, resources, conditions })
    }
}

/// What identities have names its statements by letters and digits, and each differently.
pub(super) fn check_sids<'s>(sids: impl Iterator<Item = &'s str>) -> Result<()> {
    let mut seen = Vec::new();
    for sid in sids.filter(|sid| !sid.is_empty()) {
        if !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Fault::Sid);
        }
        if seen.contains(&sid) {
            return Err(Fault::SidTwice);
        }
        seen.push(sid);
    }
    Ok(())
}

fn principals(statement: &Map<String, Value>, kind: Kind<'_>) -> Result<Principals> {
    let read = |value| principal::read(value).ok_or(Fault::Principal);
    let found = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(_), Some(_)) => return Err(Fault::Both("Principal", "NotPrincipal")),
        (Some(value), None) => Principals::These(read(value)?),
        (None, Some(value)) => Principals::AllBut(read(value)?),
        (None, None) => Principals::Unsaid,
    };
    match (kind, &found) {
        (Kind::Identity, Principals::Unsaid) => Ok(found),
        (Kind::Identity, _) => Err(Fault::Prohibited("Principal")),
        (_, Principals::Unsaid) => Err(Fault::MissingField("Principal")),
        _ => Ok(found),
    }
}

fn actions_of(statement: &Map<String, Value>, kind: Kind<'_>, variables: bool) -> Result<Listed> {
    let Some((negated, values)) = either(statement, "Action", "NotAction")? else {
        return if kind == Kind::Key { Ok(Listed::nothing()) } else { Err(Fault::MissingField("Action")) };
    };
    let service = match kind {
        Kind::Bucket(_) => Some("s3:"),
        Kind::Key => Some("kms:"),
        Kind::Trust => Some("sts:"),
        Kind::Identity => None,
    };
    for action in &values {
        if kind == Kind::Identity && action.matches(':').count() > 1 {
            return Err(Fault::Colons);
        }
        let of_service = service
            .is_none_or(|service| action.get(..service.len()).is_some_and(|head| head.eq_ignore_ascii_case(service)));
        let known = !matches!(kind, Kind::Bucket(_)) || actions::is_s3(action);
        if action != "*" && !(of_service && known && action.contains(':')) {
            return Err(Fault::Action);
        }
    }
    let syntax = Syntax { wildcards: true, variables, fold: true };
    Ok(Listed { negated, patterns: values.iter().map(|action| Pattern::new(action, syntax)).collect() })
}

fn resources(statement: &Map<String, Value>, kind: Kind<'_>, variables: bool) -> Result<Option<Listed>> {
    let found = either(statement, "Resource", "NotResource")?;
    let Some((negated, values)) = found else {
        return match kind {
            Kind::Trust => Ok(None),
            Kind::Key => Ok(Some(Listed::nothing())),
            Kind::Bucket(_) | Kind::Identity => Err(Fault::MissingField("Resource")),
        };
    };
    if kind == Kind::Trust {
        return Err(Fault::Prohibited(if negated { "NotResource" } else { "Resource" }));
    }
    let syntax = Syntax { wildcards: true, variables, fold: false };
    let patterns: Vec<Pattern> = values.iter().map(|resource| Pattern::new(resource, syntax)).collect();
    let own = |value: &String, pattern: &Pattern| match kind {
        Kind::Bucket(bucket) => {
            value == bucket || value == &format!("{bucket}*") || pattern.stays_within(&format!("{bucket}/"))
        }
        Kind::Identity => value == "*" || value.starts_with("arn:"),
        Kind::Key | Kind::Trust => true,
    };
    if let Some((value, _)) = values.iter().zip(&patterns).find(|(value, pattern)| !own(value, pattern)) {
        return Err(Fault::Resource(value.clone()));
    }
    Ok(Some(Listed { negated, patterns }))
}

impl Listed {
    /// "If either of the required Resource or Action elements are missing from a key policy statement, the policy statement has no
    /// effect" (KMS API reference, PutKeyPolicy).
    const fn nothing() -> Self {
        Self { negated: false, patterns: Vec::new() }
    }

    /// Whether a bucket (an ARN) is among these resources, and whether some of its objects are.
    fn reach(&self, bucket: &str) -> (bool, bool) {
        let objects = format!("{bucket}/");
        let some = |is: &dyn Fn(&Pattern) -> bool| self.negated || self.patterns.iter().any(is);
        let has_objects = some(&|pattern| pattern.stays_within(&objects) || pattern.matches(&objects, &()));
        (some(&|pattern| pattern.matches(bucket, &())), has_objects)
    }
}

impl Statement {
    /// Every key that it asks for, as it writes it, and whether a request must have it: of a variable with a default it need not.
    pub fn context_keys(&self) -> impl Iterator<Item = (&str, bool)> {
        let patterns = self.resources.iter().flat_map(|resources| &resources.patterns).chain(&self.actions.patterns);
        self.conditions.iter().flat_map(Condition::context_keys).chain(patterns.flat_map(Pattern::context_keys))
    }

    fn extent(&self) -> usize {
        let patterns = self.actions.patterns.iter().chain(self.resources.iter().flat_map(|listed| &listed.patterns));
        1 + patterns.map(Pattern::extent).chain(self.conditions.iter().map(Condition::extent)).sum::<usize>()
    }

    /// Every key (in lower case) that it asks for.
    fn asked(&self) -> impl Iterator<Item = &str> {
        let patterns = self.resources.iter().flat_map(|resources| &resources.patterns).chain(&self.actions.patterns);
        self.conditions.iter().flat_map(Condition::asked).chain(patterns.flat_map(Pattern::variables))
    }

    /// Whether it is about a bucket (an ARN), and whether about some of its objects.
    pub(super) fn reaches(&self, bucket: &str) -> (bool, bool) {
        self.resources.as_ref().map_or((true, true), |resources| resources.reach(bucket))
    }

    /// Whether each of the actions that it names, wildcards and all, covers one of `actions`; all but some always do.
    pub(super) fn each_action_covers_one_of(&self, actions: &[&str]) -> bool {
        let covers = |pattern: &Pattern| actions.iter().any(|action| pattern.matches(action, &()));
        self.actions.negated || self.actions.patterns.iter().all(covers)
    }
}

/// S3 refuses statements no action of which can ever apply to any of its resources.
fn check_actions_against_resources(bucket: &str, actions: &Listed, resources: &Listed) -> Result<()> {
    if actions.negated || resources.negated {
        return Ok(());
    }
    let (has_bucket, has_objects) = resources.reach(bucket);
    let applies = |pattern: &Pattern| {
        (has_bucket && actions::ON_BUCKETS.iter().any(|action| pattern.matches(action, &())))
            || (has_objects && actions::ON_OBJECTS.iter().any(|action| pattern.matches(action, &())))
    };
    if actions.patterns.iter().all(applies) { Ok(()) } else { Err(Fault::Mismatch) }
}

fn conditions(statement: &Map<String, Value>, variables: bool) -> Result<Vec<Condition>> {
    let Some(block) = statement.get("Condition") else { return Ok(Vec::new()) };
    let block = block.as_object().ok_or(Fault::Syntax)?;
    let mut conditions = Vec::new();
    for (operator, keys) in block {
        for (key, values) in keys.as_object().ok_or(Fault::Syntax)? {
            let values = strings(values).ok_or(Fault::Syntax)?;
            let condition = Condition::new(operator, key, &values, variables);
            conditions.push(condition.map_err(|error| match error {
                Malformed::Operator => Fault::ConditionType(operator.clone()),
                Malformed::Value => Fault::ConditionValue(operator.clone(), key.clone()),
            })?);
        }
    }
    Ok(conditions)
}

/// The values of one of two elements that exclude each other; whether it was the negated one.
fn either(
    statement: &Map<String, Value>,
    name: &'static str,
    negated: &'static str,
) -> Result<Option<(bool, Vec<String>)>> {
    let (is_negated, value) = match (statement.get(name), statement.get(negated)) {
        (Some(_), Some(_)) => return Err(Fault::Both(name, negated)),
        (Some(value), None) => (false, value),
        (None, Some(value)) => (true, value),
        (None, None) => return Ok(None),
    };
    let values = strings(value).filter(|values| !values.is_empty()).ok_or(Fault::Syntax)?;
    Ok(Some((is_negated, values)))
}

/// One value or several; numbers and booleans stand for their texts.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    values.iter().map(text).collect()
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(Fault::UnknownField(unknown.clone())),
        None => Ok(()),
    }
}
