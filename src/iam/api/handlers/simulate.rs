//! What policies would say: SimulatePrincipalPolicy and SimulateCustomPolicy, by the evaluator that judges every request;
//! and which condition keys policies ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::numbered;
use crate::iam::api::Call;
use crate::iam::api::authority::ContextKeys;
use crate::iam::api::failure::{Result, constraint, invalid_input, missing, no_such_entity};
use crate::iam::arn;
use crate::policy::{
    Ask, Attached, Concerned, Context, Decision, Found, Kind, Policy, Position, Source, Span, Statement, Subject,
    SubjectKind,
};

pub(super) async fn custom(call: &Call<'_>) -> Result<Value> {
    let account = call.account();
    let nobody =
        || Subject::new(SubjectKind::User, account, format!("arn:aws:iam::{account}:user/simulated"), "simulated");
    let caller = caller(call)?;
    if caller.is_none() && call.params.text("ResourcePolicy").is_some() {
        return Err(invalid_input("CallerArn must be provided when a ResourcePolicy is provided."));
    }
    if call.params.list("PolicyInputList").is_empty() {
        return Err(missing("PolicyInputList"));
    }
    let subject = caller.unwrap_or_else(nobody);
    simulate(call, Subject { policies: Vec::new(), boundary: None, ..subject }).await
}

pub(super) async fn principal(call: &Call<'_>) -> Result<Value> {
    let source = super::exclusions::apply(call, source(call)?)?;
    let subject = match caller(call)? {
        // As if the one had the other's policies.
        Some(caller) => Subject { policies: source.policies, boundary: source.boundary, ..caller },
        None => source,
    };
    simulate(call, subject).await
}

/// The user, group or role who is supposed to ask, if the request names one. Of other accounts' nothing is known but the name: what
/// they are is not this account's to ask.
fn caller(call: &Call<'_>) -> Result<Option<Subject>> {
    let Some(caller) = call.params.text("CallerArn") else { return Ok(None) };
    let split = arn::split(caller).and_then(|(account, resource)| Some((account, resource.split_once('/')?.0)));
    let (account, kind) = match split {
        Some((account, "user" | "group")) => (account, SubjectKind::User),
        Some((account, "role")) => (account, SubjectKind::Role(caller.to_owned())),
        _ => {
            let message = format!("Invalid CallerArn: {caller} is not the ARN of an IAM user, group or role.");
            return Err(invalid_input(message));
        }
    };
    if account == call.account() && call.directory().knows(caller) {
        return Ok(Some((*call.directory().subject_of_arn(caller)).clone()));
    }
    Ok(Some(Subject::new(kind, account, caller, "simulated")))
}

pub(super) async fn context_keys_of_custom(call: &Call<'_>) -> Result<Value> {
    let policies = inputs(call, "PolicyInputList")?;
    if policies.is_empty() {
        return Err(missing("PolicyInputList"));
    }
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
    let unknown = || no_such_entity(format!("The entity with ARN {source} cannot be found."));
    let (account, resource) = arn::split(source).ok_or_else(invalid)?;
    if account != call.account() {
        return Err(unknown());
    }
    let (kind, _) = resource.split_once('/').ok_or_else(invalid)?;
    let (state, name) = (call.state(), arn::name_of(source));
    match kind {
        "user" | "role" if call.directory().knows(source) => Ok((*call.directory().subject_of_arn(source)).clone()),
        "group"
            if state.groups.get(name).is_some_and(|group| arn::group(account, &group.path, &group.name) == source) =>
        {
            let mut subject = Subject::new(SubjectKind::User, account, source, "group");
            subject.policies = call.directory().compiled(account).policies_of_group(account, name);
            Ok(subject)
        }
        "user" | "role" | "group" => Err(unknown()),
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

/// How much a page of results may cost, by [`cost`]: a page has fewer results than it might where each costs much.
/// (API reference, SimulatePrincipalPolicy: "IAM might return fewer than the MaxItems number of results".)
const MOST_PER_PAGE: usize = 100_000;

async fn simulate(call: &Call<'_>, mut subject: Subject) -> Result<Value> {
    subject.policies.extend(inputs(call, "PolicyInputList")?);
    if let Some(boundary) = inputs(call, "PermissionsBoundaryPolicyInputList")?.into_iter().next() {
        subject.boundary = Some(boundary);
    }
    let organization = organization(call)?;
    let actions = call.params.list("ActionNames");
    if actions.is_empty() {
        return Err(missing("ActionNames"));
    }
    if let Some(action) = actions.iter().find(|action| !action.contains(':') || action.contains(['*', '?'])) {
        return Err(invalid_input(format!("Invalid action name: {action}")));
    }
    let mut resources = call.params.list("ResourceArns");
    if resources.is_empty() {
        resources.push("*");
    }
    check_handling(call, &resources)?;
    let given = entries(call)?;
    let of_resource = call.params.text("ResourcePolicy").map(|text| {
        let kind = resource_kind(resources[0]);
        Policy::parse(text.trim(), kind).map_err(|error| invalid_input(format!("ResourcePolicy is not valid: {error}")))
    });
    let of_resource = of_resource.transpose()?;
    let owner = call.params.text("ResourceOwner").map(|owner| arn::split(owner).map_or(owner, |(account, _)| account));
    let owner = owner.unwrap_or(&subject.account);
    let context = Simulated { given: &given, subject: &subject };
    let missing_keys = missing_keys(&subject, of_resource.as_ref(), &context);
    let bounded = subject.boundary.clone().map(|boundary| Subject {
        policies: vec![boundary],
        boundary: None,
        ..subject.clone()
    });
    let most = MOST_PER_PAGE / cost(&subject, &organization, of_resource.as_ref(), &missing_keys);
    let count = actions.len().saturating_mul(resources.len());
    let (page, marker) = numbered(call.params, count, most.max(1))?;
    let mut results = Vec::new();
    for at in page {
        let (action, resource) = (actions[at / resources.len()], resources[at % resources.len()]);
        let ask = Ask {
            action,
            resource,
            owner,
            policy: of_resource.as_ref(),
            policy_must_allow: resource.starts_with("arn:aws:kms:") && of_resource.is_some(),
            context: &context,
        };
        // What the organization's levels say comes first: each must allow.
        let own = Ask { policy: None, policy_must_allow: false, owner: &subject.account, ..ask };
        let refused_by = organization.iter().find(|level| !level.judge_ask(&own).is_allowed());
        let judge = refused_by.unwrap_or(&subject);
        let decision = if refused_by.is_some() { judge.judge_ask(&own) } else { judge.judge_ask(&ask) };
        let mut result = json!({
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": verdict(&decision),
            "MatchedStatements": matched(judge, &ask, &decision),
            "MissingContextValues": missing_keys,
        });
        if let Some(bounded) = &bounded {
            let allowed = bounded.judge_ask(&Ask { owner, ..own }).is_allowed();
            result["PermissionsBoundaryDecisionDetail"] = json!({"AllowedByPermissionsBoundary": allowed});
        }
        if resource != "*" {
            specify(&mut result);
            if refused_by.is_none() && owner == subject.account {
                result["EvalDecisionDetails"] = json!({});
            }
        }
        if !organization.is_empty() {
            result["OrganizationsDecisionDetail"] = json!({"AllowedByOrganizations": refused_by.is_none()});
        }
        results.push(result);
        // Others wait for this thread.
        tokio::task::yield_now().await;
    }
    let mut answer = json!({"IsTruncated": marker.is_some()});
    answer["EvaluationResults"] = results.into();
    if let Some(marker) = marker {
        answer["Marker"] = marker.into();
    }
    Ok(answer)
}

/// Tells of the resource that is named what is told of the action, and of it alone which keys are missing. (API reference,
/// EvaluationResult: `EvalDecisionDetails`, `MissingContextValues`; recorded on AWS: `LocalStack`'s `test_simulate_principle_policy`.)
fn specify(result: &mut Value) {
    let mut specific = json!({"EvalResourceDecision": result["EvalDecision"], "MissingContextValues": []});
    for member in ["EvalResourceName", "MatchedStatements", "PermissionsBoundaryDecisionDetail"] {
        specific[member] = result[member].clone();
    }
    std::mem::swap(&mut specific["MissingContextValues"], &mut result["MissingContextValues"]);
    result["ResourceSpecificResults"] = json!([specific]);
}

/// What one result costs: how much is judged for it, and how much it tells.
fn cost(subject: &Subject, organization: &[Subject], of_resource: Option<&Policy>, missing_keys: &[String]) -> usize {
    let of = |subject: &Subject| subject.all_policies().map(|attached| attached.policy.extent()).sum::<usize>();
    let judged = organization.iter().map(of).sum::<usize>() + of_resource.map_or(0, Policy::extent);
    1 + of(subject) + judged + missing_keys.len()
}

/// The levels of a supposed organization, from its root down to the account: the principal as if each level's policies were its own.
fn organization(call: &Call<'_>) -> Result<Vec<Subject>> {
    const LIST: &str = "OrderedOrganizationPolicyInputList";
    let members = call.params.members(LIST);
    if members.len() > 7 {
        return Err(constraint(LIST, "have length less than or equal to 7"));
    }
    let account = call.account();
    let level = |member: String| {
        let arn = format!("arn:aws:iam::{account}:user/simulated");
        let mut subject = Subject::new(SubjectKind::User, account, arn, "simulated");
        subject.policies = inputs(call, &format!("{member}.ServiceControlPolicyInputList"))?;
        Ok(subject)
    };
    members.into_iter().map(level).collect()
}

/// What each kind of simulation must have among its resources. (API reference, SimulatePrincipalPolicy: ResourceHandlingOption.)
const HANDLING: &[(&str, &[&str])] = &[
    ("EC2-VPC-InstanceStore", &["instance", "image", "security-group", "network-interface"]),
    ("EC2-VPC-InstanceStore-Subnet", &["instance", "image", "security-group", "network-interface", "subnet"]),
    ("EC2-VPC-EBS", &["instance", "image", "security-group", "network-interface", "volume"]),
    ("EC2-VPC-EBS-Subnet", &["instance", "image", "security-group", "network-interface", "subnet", "volume"]),
];

fn check_handling(call: &Call<'_>, resources: &[&str]) -> Result<()> {
    let Some(option) = call.params.text("ResourceHandlingOption") else { return Ok(()) };
    let Some((_, kinds)) = HANDLING.iter().find(|(name, _)| *name == option) else {
        return Err(invalid_input(format!("Invalid ResourceHandlingOption: {option}")));
    };
    let is_there = |kind: &str| {
        let of_kind = format!("{kind}/");
        resources.iter().any(|arn| arn.splitn(6, ':').nth(5).is_some_and(|rest| rest.starts_with(&of_kind)))
    };
    match kinds.iter().find(|kind| !is_there(kind)) {
        Some(kind) => Err(invalid_input(format!("ResourceHandlingOption {option} needs a resource of type {kind}."))),
        None => Ok(()),
    }
}

/// As IAM names a decision.
fn verdict(decision: &Decision<'_>) -> &'static str {
    match decision {
        Decision::Allowed(_) => "allowed",
        Decision::Denied(..) => "explicitDeny",
        Decision::NotAllowed(_) => "implicitDeny",
    }
}

/// The statements that decided, and whose policies they stand in: of a denial the one that denies, else all that allow.
fn matched(subject: &Subject, ask: &Ask<'_>, decision: &Decision<'_>) -> Value {
    let by = match decision {
        Decision::NotAllowed(_) => return json!([]),
        Decision::Denied(..) => decision.statement(),
        Decision::Allowed(_) => None,
    };
    let concerned = subject.concerned(ask);
    let decided = |concerned: &&Concerned<'_>| match by {
        Some(statement) => std::ptr::eq(concerned.statement, statement),
        None => concerned.statement.is_allowance() && matches!(concerned.source, Source::Resource | Source::Identity),
    };
    concerned.iter().filter(decided).map(shown_statement).collect()
}

fn shown_statement(concerned: &Concerned<'_>) -> Value {
    let place = |Position { line, column }: Position| json!({"Line": line, "Column": column});
    let positions = concerned.statement.span.map(|Span { start, end }| (place(start), place(end)));
    let (start, end) = positions.unwrap_or_default();
    // Identities' policies are all of one type. (Recorded on AWS: LocalStack's test_simulate_principle_policy.)
    let (id, kind) = match concerned.policy {
        None => ("ResourcePolicy", "resource"),
        Some(id) => (arn::name_of(id), "IAM Policy"),
    };
    json!({"SourcePolicyId": id, "SourcePolicyType": kind, "StartPosition": start, "EndPosition": end})
}

/// Context entries of the request.
fn entries(call: &Call<'_>) -> Result<ContextKeys> {
    let mut known = ContextKeys::default();
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
    given: &'s ContextKeys,
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
