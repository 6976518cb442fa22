//! What policies would say: SimulatePrincipalPolicy and SimulateCustomPolicy, by the evaluator that judges every request;
//! and which condition keys policies ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::paged;
use crate::iam::api::Call;
use crate::iam::api::authority::Known;
use crate::iam::api::failure::{Result, invalid_input, no_such_entity};
use crate::iam::arn;
use crate::policy::{
    Ask, Attached, Context, Decision, Found, Kind, Policy, Position, Span, Statement, Subject, SubjectKind,
};

pub(super) async fn custom(call: &Call<'_>) -> Result<Value> {
    let account = call.account();
    let nobody =
        || Subject::new(SubjectKind::User, account, format!("arn:aws:iam::{account}:user/simulated"), "simulated");
    let subject = caller(call, false)?.unwrap_or_else(nobody);
    simulate(call, Subject { policies: Vec::new(), boundary: None, ..subject })
}

pub(super) async fn principal(call: &Call<'_>) -> Result<Value> {
    let source = source(call)?;
    let is_user = arn::split(&source.arn).is_some_and(|(_, resource)| resource.starts_with("user/"));
    let subject = match caller(call, is_user)? {
        // As if the one had the other's policies.
        Some(caller) => Subject { policies: source.policies, boundary: source.boundary, ..caller },
        None => source,
    };
    simulate(call, subject)
}

/// The user who is supposed to ask, if the request names one: it must where a resource's policy is to name somebody, and whose
/// policies are asked about `is_user` not.
fn caller(call: &Call<'_>, is_user: bool) -> Result<Option<Subject>> {
    let Some(caller) = call.params.text("CallerArn") else {
        return match call.params.text("ResourcePolicy") {
            Some(_) if !is_user => Err(invalid_input("CallerArn must be provided when a ResourcePolicy is provided.")),
            _ => Ok(None),
        };
    };
    match arn::split(caller) {
        Some((_, resource)) if resource.starts_with("user/") => {
            Ok(Some((*call.directory().subject_of_arn(caller)).clone()))
        }
        _ => Err(invalid_input(format!("Invalid CallerArn: {caller} is not the ARN of an IAM user."))),
    }
}

pub(super) async fn context_keys_of_custom(call: &Call<'_>) -> Result<Value> {
    let policies = inputs(call, "PolicyInputList")?;
    Ok(json!({"ContextKeyNames": keys(policies.iter().map(|attached| &*attached.policy), true)}))
}

pub(super) async fn context_keys_of_principal(call: &Call<'_>) -> Result<Value> {
    let subject = source(call)?;
    let given = inputs(call, "PolicyInputList")?;
    let all = subject.policies.iter().chain(&given).map(|attached| &*attached.policy);
    Ok(json!({"ContextKeyNames": keys(all, true)}))
}

/// The user, group or role whose policies are asked about.
fn source(call: &Call<'_>) -> Result<Subject> {
    let source = call.params.required("PolicySourceArn")?;
    let invalid =
        || invalid_input(format!("Invalid Entity Arn: {source} does not clearly define entity type and name."));
    let missing = || no_such_entity(format!("The entity with ARN {source} cannot be found."));
    let (account, resource) = arn::split(source).ok_or_else(invalid)?;
    if account != call.account() {
        return Err(missing());
    }
    let (kind, _) = resource.split_once('/').ok_or_else(invalid)?;
    let (state, name) = (call.state(), arn::name_of(source));
    match kind {
        "user" if state.users.get(name).is_some() => Ok((*call.directory().subject_of_arn(source)).clone()),
        "role" if state.roles.get(name).is_some() => Ok((*call.directory().subject_of_arn(source)).clone()),
        "group" if state.groups.get(name).is_some() => {
            let mut subject = Subject::new(SubjectKind::User, account, source, "group");
            subject.policies = call.directory().compiled(account).policies_of_group(account, name);
            Ok(subject)
        }
        "user" | "role" | "group" => Err(missing()),
        _ => Err(invalid()),
    }
}

/// Policies that the request brings.
fn inputs(call: &Call<'_>, member: &str) -> Result<Vec<Attached>> {
    let read = |(index, text): (usize, &str)| {
        let policy = Policy::parse(text.trim(), Kind::Identity);
        let policy = policy.map_err(|error| invalid_input(format!("Policy document is not valid: {error}")))?;
        Ok(Attached { id: format!("{member}.{}", index + 1), policy: Arc::new(policy) })
    };
    call.params.list(member).into_iter().enumerate().map(read).collect()
}

fn simulate(call: &Call<'_>, mut subject: Subject) -> Result<Value> {
    subject.policies.extend(inputs(call, "PolicyInputList")?);
    if let Some(boundary) = inputs(call, "PermissionsBoundaryPolicyInputList")?.into_iter().next() {
        subject.boundary = Some(boundary);
    }
    let actions = call.params.list("ActionNames");
    if actions.is_empty() {
        return Err(super::super::failure::missing("ActionNames"));
    }
    if let Some(action) = actions.iter().find(|action| !action.contains(':') || action.contains(['*', '?'])) {
        return Err(invalid_input(format!("Invalid action name: {action}")));
    }
    let mut resources = call.params.list("ResourceArns");
    if resources.is_empty() {
        resources.push("*");
    }
    let given = entries(call)?;
    let of_resource = call.params.text("ResourcePolicy").map(|text| {
        let kind = resource_kind(resources[0]);
        Policy::parse(text.trim(), kind).map_err(|error| invalid_input(format!("ResourcePolicy is not valid: {error}")))
    });
    let of_resource = of_resource.transpose()?;
    let owner = call.params.text("ResourceOwner").map(|owner| arn::split(owner).map_or(owner, |(account, _)| account));
    let owner = owner.unwrap_or(&subject.account);
    let context = Simulated { given: &given, subject: &subject };
    let missing = missing_keys(&subject, of_resource.as_ref(), &context);
    let mut results = Vec::new();
    for (index, (action, resource)) in
        actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource))).enumerate()
    {
        let ask = Ask {
            action,
            resource,
            owner,
            policy: of_resource.as_ref(),
            policy_must_allow: resource.starts_with("arn:aws:kms:") && of_resource.is_some(),
            context: &context,
        };
        let decision = subject.judge_ask(&ask);
        let mut result = json!({
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": verdict(&decision),
            "MatchedStatements": matched(&subject, of_resource.as_ref(), &decision),
            "MissingContextValues": missing,
        });
        if let Some(boundary) = &subject.boundary {
            let bounded = Subject { policies: vec![boundary.clone()], boundary: None, ..subject.clone() };
            let allowed = bounded.judge_ask(&Ask { policy: None, policy_must_allow: false, ..ask }).is_allowed();
            result["PermissionsBoundaryDecisionDetail"] = json!({"AllowedByPermissionsBoundary": allowed});
        }
        results.push((format!("{index:08}"), result));
    }
    paged(call, "EvaluationResults", results.into_iter())
}

/// As IAM names a decision.
fn verdict(decision: &Decision<'_>) -> &'static str {
    match decision {
        Decision::Allowed(_) => "allowed",
        Decision::Denied(..) => "explicitDeny",
        Decision::NotAllowed(_) => "implicitDeny",
    }
}

/// The statement that decided, and whose policy it stands in.
fn matched(subject: &Subject, of_resource: Option<&Policy>, decision: &Decision<'_>) -> Value {
    let Some(statement) = decision.statement() else { return json!([]) };
    let place = |Position { line, column }: Position| json!({"Line": line, "Column": column});
    let positions = statement.span.map(|Span { start, end }| (place(start), place(end)));
    let (start, end) = positions.unwrap_or_default();
    let stands_in = |policy: &Policy| policy.statements().iter().any(|other| std::ptr::eq(other, statement));
    if of_resource.is_some_and(stands_in) {
        return json!([{
            "SourcePolicyId": "ResourcePolicy", "SourcePolicyType": "resource",
            "StartPosition": start, "EndPosition": end,
        }]);
    }
    let found = subject.all_policies().find(|attached| stands_in(&attached.policy));
    let shown = |attached: &Attached| {
        let kind = match attached.id.split(['_', ':']).next() {
            Some(kind @ ("user" | "group" | "role")) => kind,
            Some("arn") if attached.id.starts_with("arn:aws:iam::aws:") => "aws-managed",
            Some("arn") => "user-managed",
            _ => "none",
        };
        json!({
            "SourcePolicyId": arn::name_of(&attached.id), "SourcePolicyType": kind,
            "StartPosition": start, "EndPosition": end,
        })
    };
    found.map(shown).into_iter().collect()
}

/// Context entries of the request.
fn entries(call: &Call<'_>) -> Result<Known> {
    let mut known = Known::default();
    for member in call.params.members("ContextEntries") {
        let key = call.params.required(&format!("{member}.ContextKeyName"))?;
        for value in call.params.list(&format!("{member}.ContextKeyValues")) {
            known.add(key, value);
        }
    }
    Ok(known)
}

/// What a simulated request's circumstances are.
struct Simulated<'s> {
    given: &'s Known,
    subject: &'s Subject,
}

impl Context for Simulated<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        match self.given.find(key) {
            Found::None => self.subject.find(key),
            found => found,
        }
    }
}

/// The keys that policies ask for, as they write them; those alone that requests must have, if that is wanted.
fn keys<'p>(policies: impl Iterator<Item = &'p Policy>, all: bool) -> Vec<String> {
    let asked = policies.flat_map(Policy::statements).flat_map(Statement::context_keys);
    // Keys have no case: the first way of writing one stands for it.
    let mut keys = BTreeMap::new();
    for (key, _) in asked.filter(|(_, is_needed)| all || *is_needed) {
        keys.entry(key.to_ascii_lowercase()).or_insert_with(|| key.to_owned());
    }
    keys.into_values().collect()
}

fn missing_keys(subject: &Subject, of_resource: Option<&Policy>, context: &dyn Context) -> Vec<String> {
    let all = subject.all_policies().map(|attached| &*attached.policy).chain(of_resource);
    keys(all, false).into_iter().filter(|key| context.find(&key.to_ascii_lowercase()) == Found::None).collect()
}

/// The rules that a resource's policy is under.
fn resource_kind(resource: &str) -> Kind<'_> {
    match resource.strip_prefix("arn:aws:s3:::") {
        Some(rest) => {
            let bucket = rest.split('/').next().unwrap_or_default();
            Kind::Bucket(&resource[..resource.len() - rest.len() + bucket.len()])
        }
        None => Kind::Key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resources_policy_is_read_as_its_kind() {
        assert_eq!(resource_kind("arn:aws:s3:::b/k/x"), Kind::Bucket("arn:aws:s3:::b"));
        assert_eq!(resource_kind("arn:aws:s3:::b"), Kind::Bucket("arn:aws:s3:::b"));
        assert_eq!(resource_kind("arn:aws:kms:us-east-1:1:key/x"), Kind::Key);
    }
}
