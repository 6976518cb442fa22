//! Managed policies, their versions, and to whom they are attached.

use serde_json::{Value, json};

use super::policies::{grants, grants_mut, name_of};
use super::{encoded, optional_tags, paged};
use crate::iam::api::failure::{
    Failure, Result, access_denied, already_exists, delete_conflict, limit_exceeded, no_such_entity,
};
use crate::iam::api::{Call, policies, time};
use crate::iam::arn;
use crate::iam::managed::{self, MANAGED, Managed};
use crate::iam::store::records::{PolicyRecord, VersionRecord};
use crate::iam::store::{AccountState, Holder};

/// Limits of an account, a policy, and a user, group or role. (AWS: "IAM and AWS STS quotas".)
const MOST_POLICIES: usize = 1500;
const MOST_VERSIONS: usize = 5;
const MOST_ATTACHED: usize = 10;
const MAX_DOCUMENT: usize = 6144;
const MAX_NAME: usize = 128;

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("PolicyName", MAX_NAME)?;
    let description = call.params.text("Description");
    let created = call.now.as_millisecond();
    let policy = PolicyRecord {
        id: call.directory().draw_id::<17>("ANPA"),
        name: name.to_owned(),
        path: call.params.path("Path")?.to_owned(),
        created,
        updated: created,
        description: description.map(str::to_owned),
        versions: vec![VersionRecord { number: 1, document: document(call)?, created }],
        default: 1,
        last: 1,
        tags: call.params.tags("Tags")?,
    };
    call.change(|state| {
        if state.policies.get(name).is_some() {
            let message = format!("A policy called {name} already exists. Duplicate names are not allowed.");
            return Err(already_exists(message));
        }
        if state.policies.len() >= MOST_POLICIES {
            return Err(limit_exceeded(format!("Cannot exceed quota for PoliciesPerAccount: {MOST_POLICIES}")));
        }
        state.policies.insert(policy.clone());
        Ok(())
    })
    .await?;
    let mut shown = shown(call, &call.state(), &policy);
    shown["Tags"] = optional_tags(&policy.tags);
    Ok(json!({"Policy": shown}))
}

pub(super) async fn get(call: &Call<'_>) -> Result<Value> {
    let (state, arn) = (call.state(), named(call)?);
    if let Some(of_aws) = managed::find(arn) {
        let mut answer = shown_of_aws(&state, of_aws);
        answer["Description"] = of_aws.description.into();
        answer["Tags"] = json!([]);
        return Ok(json!({"Policy": answer}));
    }
    let policy = find(call, &state, arn)?;
    let mut answer = shown(call, &state, policy);
    answer["Tags"] = super::shown_tags(&policy.tags);
    answer["Description"] = policy.description.clone().into();
    Ok(json!({"Policy": answer}))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let state = call.state();
    let scope = call.params.choice("Scope", &["All", "AWS", "Local"])?.unwrap_or("All");
    let prefix = call.params.text("PathPrefix").unwrap_or("/");
    let only_attached = call.params.flag("OnlyAttached")?.unwrap_or(false);
    let usage = call.params.choice("PolicyUsageFilter", &["PermissionsPolicy", "PermissionsBoundary"])?;
    let of_aws = MANAGED.iter().filter(|managed| scope != "Local" && managed.path.starts_with(prefix));
    let of_aws = of_aws.map(|managed| (managed.arn(), shown_of_aws(&state, managed)));
    let own = state.policies.iter().filter(|policy| scope != "AWS" && policy.path.starts_with(prefix));
    let own = own.map(|policy| (own_arn(call, policy), shown(call, &state, policy)));
    let wanted = |policy: &Value| {
        let used = |member: &str| policy[member].as_u64().unwrap_or(0) > 0;
        match usage {
            _ if !only_attached && usage.is_none() => true,
            None => used("AttachmentCount") || used("PermissionsBoundaryUsageCount"),
            Some("PermissionsBoundary") => used("PermissionsBoundaryUsageCount"),
            Some(_) => !only_attached || used("AttachmentCount"),
        }
    };
    let mut all: Vec<(String, Value)> = own.chain(of_aws).filter(|(_, policy)| wanted(policy)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    paged(call, "Policies", all.into_iter())
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let arn = own(call, "delete policies")?;
    call.change(|state| {
        let policy = find(call, state, arn)?;
        let (attached, bounding) = usage(state, arn);
        if attached + bounding > 0 {
            return Err(delete_conflict("Cannot delete a policy attached to entities."));
        }
        if policy.versions.len() > 1 {
            return Err(delete_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy.",
            ));
        }
        let name = policy.name.clone();
        state.policies.remove(&name);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn create_version(call: &Call<'_>) -> Result<Value> {
    let (arn, document) = (changeable(call)?, document(call)?);
    let as_default = call.params.flag("SetAsDefault")?.unwrap_or(false);
    let now = call.now.as_millisecond();
    let number = call
        .change(|state| {
            let policy = find_mut(call, state, arn)?;
            if policy.versions.len() >= MOST_VERSIONS {
                return Err(limit_exceeded(format!(
                    "A managed policy can have up to {MOST_VERSIONS} versions. Before you create a new version, you must \
                     delete an existing version."
                )));
            }
            policy.last += 1;
            let number = policy.last;
            policy.versions.push(VersionRecord { number, document: document.clone(), created: now });
            policy.updated = now;
            if as_default {
                policy.default = number;
            }
            Ok(number)
        })
        .await?;
    Ok(json!({"PolicyVersion": {
        "VersionId": format!("v{number}"),
        "IsDefaultVersion": as_default,
        "CreateDate": time(now),
    }}))
}

pub(super) async fn get_version(call: &Call<'_>) -> Result<Value> {
    let (state, arn, number) = (call.state(), named(call)?, version(call)?);
    let shown = match managed::find(arn) {
        Some(of_aws) if number == Some(of_aws.version) => version_of_aws(of_aws),
        Some(_) => return Err(missing_version(call, arn)),
        None => {
            let policy = policies::find(call.account(), &state, arn).ok_or_else(|| missing_version(call, arn))?;
            let found = policy.versions.iter().find(|version| Some(version.number) == number);
            let found = found.ok_or_else(|| missing_version(call, arn))?;
            let mut shown = shown_version(policy, found);
            shown["Document"] = encoded(&found.document).into();
            shown
        }
    };
    Ok(json!({"PolicyVersion": shown}))
}

pub(super) async fn list_versions(call: &Call<'_>) -> Result<Value> {
    let (state, arn) = (call.state(), named(call)?);
    if let Some(of_aws) = managed::find(arn) {
        let mut version = version_of_aws(of_aws);
        version["Document"] = Value::Null;
        return paged(call, "Versions", std::iter::once((of_aws.version.to_string(), version)));
    }
    let policy = find(call, &state, arn)?;
    // The newest first.
    let versions = policy
        .versions
        .iter()
        .rev()
        .map(|version| (format!("{:010}", u32::MAX - version.number), shown_version(policy, version)));
    paged(call, "Versions", versions)
}

pub(super) async fn set_default_version(call: &Call<'_>) -> Result<Value> {
    let (arn, number, now) = (changeable(call)?, version(call)?, call.now.as_millisecond());
    call.change(|state| {
        let policy = find_mut(call, state, arn).map_err(|_| missing_version(call, arn))?;
        let found = policy.versions.iter().find(|version| Some(version.number) == number);
        policy.default = found.ok_or_else(|| missing_version(call, arn))?.number;
        policy.updated = now;
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn delete_version(call: &Call<'_>) -> Result<Value> {
    let (arn, number) = (own(call, "delete policy versions for policies")?, version(call)?);
    call.change(|state| {
        let policy = find_mut(call, state, arn)?;
        if Some(policy.default) == number {
            return Err(delete_conflict("Cannot delete the default version of a policy."));
        }
        let before = policy.versions.len();
        policy.versions.retain(|version| Some(version.number) != number);
        if policy.versions.len() == before {
            return Err(missing_version(call, arn));
        }
        Ok(Value::Null)
    })
    .await
}

macro_rules! each_holder {
    ($($function:ident $of:ident $holder:ident;)*) => {
        $(pub(super) async fn $function(call: &Call<'_>) -> Result<Value> {
            $of(call, Holder::$holder).await
        })*
    };
}

each_holder! {
    attach_to_user attach User;
    attach_to_group attach Group;
    attach_to_role attach Role;
    detach_from_user detach User;
    detach_from_group detach Group;
    detach_from_role detach Role;
    list_of_user list_attached User;
    list_of_group list_attached Group;
    list_of_role list_attached Role;
}

async fn attach(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, arn) = (name_of(call, holder)?, named(call)?);
    call.change(|state| {
        let held = grants(state, holder, name)?;
        if held.attached.iter().any(|attached| attached == arn) {
            return Ok(Value::Null);
        }
        if held.attached.len() >= MOST_ATTACHED {
            let quota = match holder {
                Holder::User => "PoliciesPerUser",
                Holder::Group => "PoliciesPerGroup",
                Holder::Role => "PoliciesPerRole",
            };
            return Err(limit_exceeded(format!("Cannot exceed quota for {quota}: {MOST_ATTACHED}")));
        }
        policies::check_attachable(call, state, arn)?;
        grants_mut(state, holder, name)?.attached.push(arn.to_owned());
        Ok(Value::Null)
    })
    .await
}

async fn detach(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, arn) = (name_of(call, holder)?, named(call)?);
    call.change(|state| {
        let held = grants_mut(state, holder, name)?;
        let before = held.attached.len();
        held.attached.retain(|attached| attached != arn);
        if held.attached.len() == before {
            return Err(no_such_entity(format!("Policy {arn} was not found.")));
        }
        Ok(Value::Null)
    })
    .await
}

#[expect(clippy::unused_async, reason = "all handlers are, whether or not they wait for anything")]
async fn list_attached(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, state) = (name_of(call, holder)?, call.state());
    let prefix = call.params.text("PathPrefix").unwrap_or("/");
    let attached = grants(&state, holder, name)?.attached.iter();
    let mut attached: Vec<&String> = attached.filter(|arn| path_of(arn).starts_with(prefix)).collect();
    attached.sort_unstable();
    paged(call, "AttachedPolicies", attached.into_iter().map(|arn| (arn.clone(), shown_attached(arn))))
}

/// The path of a managed policy: what stands between `policy` and its name.
pub(super) fn path_of(arn: &str) -> &str {
    let resource = arn.splitn(6, ':').nth(5).and_then(|resource| resource.strip_prefix("policy")).unwrap_or("/");
    &resource[..=resource.rfind('/').unwrap_or(0)]
}

pub(super) fn shown_attached(policy: &str) -> Value {
    json!({"PolicyName": arn::name_of(policy), "PolicyArn": policy})
}

/// To how many users, groups and roles the policy is attached, and how many it bounds.
pub(super) fn usage(state: &AccountState, policy: &str) -> (usize, usize) {
    let users = state.users.iter().map(|user| (&user.grants, user.boundary.as_deref()));
    let groups = state.groups.iter().map(|group| (&group.grants, None));
    let roles = state.roles.iter().map(|role| (&role.grants, role.boundary.as_deref()));
    users.chain(groups).chain(roles).fold((0, 0), |(attached, bounding), (grants, boundary)| {
        let attaches = grants.attached.iter().any(|arn| arn == policy);
        (attached + usize::from(attaches), bounding + usize::from(boundary == Some(policy)))
    })
}

pub(super) fn find<'s>(call: &Call<'_>, state: &'s AccountState, arn: &str) -> Result<&'s PolicyRecord> {
    policies::find(call.account(), state, arn).ok_or_else(|| missing(arn))
}

pub(super) fn find_mut<'s>(call: &Call<'_>, state: &'s mut AccountState, policy: &str) -> Result<&'s mut PolicyRecord> {
    find(call, state, policy)?;
    state.policies.get_mut(arn::name_of(policy)).ok_or_else(|| missing(policy))
}

fn missing(arn: &str) -> Failure {
    no_such_entity(format!("Policy {arn} was not found."))
}

/// The version, or the policy itself, is not there. (Recorded on AWS: `LocalStack`'s `test_policy_version_errors`.)
fn missing_version(call: &Call<'_>, arn: &str) -> Failure {
    let version = call.params.text("VersionId").unwrap_or_default();
    no_such_entity(format!("Policy {arn} version {version} does not exist or is not attachable."))
}

/// The policy that the request names.
pub(super) fn named<'c>(call: &'c Call<'_>) -> Result<&'c str> {
    policies::check_arn(call.params.required("PolicyArn")?)
}

/// The same, if the account may change it: AWS's own nobody may.
pub(super) fn changeable<'c>(call: &'c Call<'_>) -> Result<&'c str> {
    own(call, "update policies")
}

/// The same, where something else is done to it. (Recorded on AWS: `LocalStack`'s `test_aws_managed_policy_errors`.)
fn own<'c>(call: &'c Call<'_>, change: &str) -> Result<&'c str> {
    let arn = named(call)?;
    if managed::find(arn).is_some() {
        return Err(access_denied(format!("Cannot {change} outside your own account.")));
    }
    Ok(arn)
}

fn document(call: &Call<'_>) -> Result<String> {
    let text = policies::identity_document(call, "PolicyDocument", true)?;
    if policies::weight(&text) > MAX_DOCUMENT {
        return Err(limit_exceeded(format!("Cannot exceed quota for PolicySize: {MAX_DOCUMENT}")));
    }
    Ok(text)
}

/// The number of the version that the request names, if it is one that there may be.
fn version(call: &Call<'_>) -> Result<Option<u32>> {
    let text = call.params.required("VersionId")?;
    let number = text.strip_prefix('v').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    Ok(number.and_then(|number| number.parse().ok()))
}

fn own_arn(call: &Call<'_>, policy: &PolicyRecord) -> String {
    arn::policy(call.account(), &policy.path, &policy.name)
}

/// A policy as answers carry it.
pub(super) fn shown(call: &Call<'_>, state: &AccountState, policy: &PolicyRecord) -> Value {
    let arn = own_arn(call, policy);
    let (attached, bounding) = usage(state, &arn);
    json!({
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": arn,
        "Path": policy.path,
        "DefaultVersionId": format!("v{}", policy.default),
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounding,
        "IsAttachable": true,
        "CreateDate": time(policy.created),
        "UpdateDate": time(policy.updated),
    })
}

pub(super) fn shown_of_aws(state: &AccountState, managed: &Managed) -> Value {
    let arn = managed.arn();
    let (attached, bounding) = usage(state, &arn);
    json!({
        "PolicyName": managed.name,
        "PolicyId": managed.id,
        "Arn": arn,
        "Path": managed.path,
        "DefaultVersionId": format!("v{}", managed.version),
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounding,
        "IsAttachable": true,
        "CreateDate": managed.created,
        "UpdateDate": managed.updated,
    })
}

pub(super) fn version_of_aws(managed: &Managed) -> Value {
    json!({
        "VersionId": format!("v{}", managed.version),
        "IsDefaultVersion": true,
        "CreateDate": managed.updated,
        "Document": encoded(managed.document),
    })
}

pub(super) fn shown_version(policy: &PolicyRecord, version: &VersionRecord) -> Value {
    json!({
        "VersionId": format!("v{}", version.number),
        "IsDefaultVersion": version.number == policy.default,
        "CreateDate": time(version.created),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_between() {
        assert_eq!(path_of("arn:aws:iam::1:policy/x"), "/");
        assert_eq!(path_of("arn:aws:iam::1:policy/a/b/x"), "/a/b/");
    }
}
