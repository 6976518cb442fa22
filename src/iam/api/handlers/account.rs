//! The account as a whole: its alias, its summary, and everything in it.

use serde_json::{Map, Value, json};

use super::{encoded, groups, instance_profiles, managed, optional_tags, paged, roles, shown_boundary, users};
use crate::iam::api::Call;
use crate::iam::api::failure::{Result, already_exists, constraint, no_such_entity};
use crate::iam::api::render::ENTRIES;
use crate::iam::managed::{MANAGED, Managed};
use crate::iam::store::AccountState;
use crate::iam::store::records::{Grants, GroupRecord, PolicyRecord, RoleRecord, UserRecord};

pub(super) async fn create_alias(call: &Call<'_>) -> Result<Value> {
    let alias = alias(call)?;
    call.change(|state| {
        // One account changes at a time: no two take an alias at once.
        if call.directory().is_alias(alias) {
            return Err(already_exists(format!("The account alias {alias} already exists.")));
        }
        state.record.alias = Some(alias.to_owned());
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn delete_alias(call: &Call<'_>) -> Result<Value> {
    let alias = alias(call)?;
    call.change(|state| {
        if state.record.alias.as_deref() != Some(alias) {
            return Err(no_such_entity(format!("The account alias {alias} cannot be found.")));
        }
        state.record.alias = None;
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn list_aliases(call: &Call<'_>) -> Result<Value> {
    let alias = call.state().record.alias.clone();
    paged(call, "AccountAliases", alias.into_iter().map(|alias| (alias.clone(), alias.into())))
}

fn alias<'c>(call: &'c Call<'_>) -> Result<&'c str> {
    let alias = call.params.required("AccountAlias")?;
    let well_formed = (3..=63).contains(&alias.len())
        && alias.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !alias.starts_with('-')
        && !alias.ends_with('-')
        && !alias.contains("--");
    if !well_formed {
        let pattern = "satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$";
        return Err(constraint("AccountAlias", pattern));
    }
    Ok(alias)
}

pub(super) async fn summary(call: &Call<'_>) -> Result<Value> {
    let state = call.state();
    let in_use = state.policies.iter().map(|policy| policy.versions.len()).sum::<usize>();
    let entries = [
        ("AccessKeysPerUserQuota", 2),
        ("AccountAccessKeysPresent", 1),
        ("AccountMFAEnabled", 0),
        ("AccountPasswordPresent", 0),
        ("AccountSigningCertificatesPresent", 0),
        ("AssumeRolePolicySizeQuota", 2048),
        ("AttachedPoliciesPerGroupQuota", 10),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("AttachedPoliciesPerUserQuota", 10),
        // Tokens hold in every region.
        ("GlobalEndpointTokenVersion", 2),
        ("GroupPolicySizeQuota", 5120),
        ("Groups", state.groups.len()),
        ("GroupsPerUserQuota", 10),
        ("GroupsQuota", 300),
        ("InstanceProfiles", state.profiles.len()),
        ("InstanceProfilesQuota", instance_profiles::MOST_PROFILES),
        ("MFADevices", 0),
        ("MFADevicesInUse", 0),
        ("Policies", state.policies.len()),
        ("PoliciesQuota", 1500),
        ("PolicySizeQuota", 6144),
        ("PolicyVersionsInUse", in_use),
        ("PolicyVersionsInUseQuota", 10_000),
        ("Providers", state.providers.len()),
        ("RolePolicySizeQuota", 10_240),
        ("Roles", state.roles.len()),
        ("RolesQuota", 1000),
        ("ServerCertificates", 0),
        ("ServerCertificatesQuota", 0),
        ("SigningCertificatesPerUserQuota", 0),
        ("UserPolicySizeQuota", 2048),
        ("Users", state.users.len()),
        ("UsersQuota", 5000),
        ("VersionsPerPolicyQuota", 5),
    ];
    let entries: Map<String, Value> = entries.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    Ok(json!({"SummaryMap": {ENTRIES: entries}}))
}

pub(super) async fn authorization_details(call: &Call<'_>) -> Result<Value> {
    const KINDS: &[&str] = &["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"];
    let state = call.state();
    let filter = call.params.list("Filter");
    if filter.iter().any(|kind| !KINDS.contains(kind)) {
        return Err(constraint("Filter", "satisfy constraint: [Member must satisfy enum value set]"));
    }
    let wants = |kind: &str| filter.is_empty() || filter.contains(&kind);
    let users = state.users.iter().filter(|_| wants("User")).map(|user| (user.name.to_lowercase(), Detail::User(user)));
    let groups = state.groups.iter().filter(|_| wants("Group"));
    let groups = groups.map(|group| (group.name.to_lowercase(), Detail::Group(group)));
    let roles = state.roles.iter().filter(|_| wants("Role")).map(|role| (role.name.to_lowercase(), Detail::Role(role)));
    let policies = state.policies.iter().filter(|_| wants("LocalManagedPolicy"));
    let policies = policies.map(|policy| (policy.name.to_lowercase(), Detail::Policy(policy)));
    // As AWS does, only those in use.
    let is_used = |of_aws: &&Managed| managed::usage(&state, &of_aws.arn()) != (0, 0);
    let of_aws = MANAGED.iter().filter(|_| wants("AWSManagedPolicy")).filter(is_used);
    let of_aws = of_aws.map(|of_aws| (format!("~{}", of_aws.name), Detail::OfAws(of_aws)));
    let all = users.chain(groups).chain(roles).chain(policies).chain(of_aws);
    let mut all: Vec<(String, Detail<'_>)> =
        all.map(|(name, detail)| (format!("{}/{name}", detail.member()), detail)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let numbers = all.iter().enumerate().map(|(at, (name, _))| (name.clone(), at.into()));
    let mut answer = paged(call, "All", numbers)?;
    // What is not on the page costs nothing: documents are long.
    let page = answer["All"].take();
    let page = page.as_array().into_iter().flatten().filter_map(|at| usize::try_from(at.as_u64()?).ok());
    let page: Vec<Detail<'_>> = page.filter_map(|at| all.get(at)).map(|(_, detail)| *detail).collect();
    for member in ["UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"] {
        let of_member = page.iter().filter(|detail| detail.member() == member);
        answer[member] = of_member.map(|detail| detail.shown(call, &state)).collect();
    }
    Ok(answer)
}

/// One of what an account is made of.
#[derive(Clone, Copy)]
enum Detail<'s> {
    User(&'s UserRecord),
    Group(&'s GroupRecord),
    Role(&'s RoleRecord),
    Policy(&'s PolicyRecord),
    OfAws(&'static Managed),
}

impl Detail<'_> {
    /// The list that it stands in.
    const fn member(self) -> &'static str {
        match self {
            Self::User(_) => "UserDetailList",
            Self::Group(_) => "GroupDetailList",
            Self::Role(_) => "RoleDetailList",
            Self::Policy(_) | Self::OfAws(_) => "Policies",
        }
    }

    /// As answers carry it.
    fn shown(self, call: &Call<'_>, state: &AccountState) -> Value {
        match self {
            Self::User(user) => {
                let mut shown = users::shown(call.account(), user, false);
                shown["GroupList"] = json!(user.groups);
                shown["PermissionsBoundary"] = shown_boundary(user.boundary.as_deref());
                shown["Tags"] = optional_tags(&user.tags);
                with_policies(&mut shown, "UserPolicyList", &user.grants);
                shown
            }
            Self::Group(group) => {
                let mut shown = groups::shown(call.account(), group);
                with_policies(&mut shown, "GroupPolicyList", &group.grants);
                shown
            }
            Self::Role(role) => {
                let mut shown = roles::shown(call, role, true);
                let profiles = instance_profiles::of_role(state, &role.name);
                shown["InstanceProfileList"] =
                    profiles.map(|profile| instance_profiles::shown(call, state, profile)).collect();
                shown["RoleLastUsed"] = roles::last_used(call, role);
                with_policies(&mut shown, "RolePolicyList", &role.grants);
                shown
            }
            Self::Policy(policy) => {
                let mut shown = managed::shown(call, state, policy);
                let versions = policy.versions.iter().rev().map(|version| {
                    let mut shown = managed::shown_version(policy, version);
                    shown["Document"] = encoded(&version.document).into();
                    shown
                });
                shown["PolicyVersionList"] = versions.collect();
                shown
            }
            Self::OfAws(of_aws) => {
                let mut shown = managed::shown_of_aws(state, of_aws);
                shown["PolicyVersionList"] = json!([managed::version_of_aws(of_aws)]);
                shown
            }
        }
    }
}

fn with_policies(shown: &mut Value, member: &str, grants: &Grants) {
    let inline = grants.inline.iter();
    shown[member] =
        inline.map(|(name, document)| json!({"PolicyName": name, "PolicyDocument": encoded(document)})).collect();
    shown["AttachedManagedPolicies"] = grants.attached.iter().map(|arn| managed::shown_attached(arn)).collect();
}
