//! Instance profiles: what hands a role to a virtual machine. There are no machines here; clients that set roles up for some make
//! profiles all the same, and look them up (Terraform's `aws_iam_instance_profile`, Ansible's `iam_role`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{optional_tags, paged, roles, shown_tags};
use crate::iam::api::failure::{Failure, Result, already_exists, delete_conflict, limit_exceeded, no_such_entity};
use crate::iam::api::{Call, time};
use crate::iam::arn;
use crate::iam::store::AccountState;
use crate::iam::store::records::InstanceProfileRecord;

/// Limits of an account and of a profile. (AWS: "IAM and AWS STS quotas".)
pub(super) const MOST_PROFILES: usize = 1000;
const MOST_ROLES: usize = 1;
const MAX_NAME: usize = 128;

/// What must be done before a profile that has a role, or a role in a profile, can be deleted.
pub(super) const REMOVE_ROLES: &str = "remove roles from instance profile";

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = name(call)?;
    let profile = InstanceProfileRecord {
        id: call.directory().draw_id::<17>("AIPA"),
        name: name.to_owned(),
        path: call.params.path("Path")?.to_owned(),
        created: call.now.as_millisecond(),
        role: None,
        tags: call.params.tags("Tags")?,
    };
    call.change(|state| {
        if state.profiles.get(name).is_some() {
            return Err(already_exists(format!("Instance Profile {name} already exists.")));
        }
        if state.profiles.len() >= MOST_PROFILES {
            return Err(limit_exceeded(format!("Cannot exceed quota for InstanceProfilesPerAccount: {MOST_PROFILES}")));
        }
        state.profiles.insert(profile.clone());
        Ok(())
    })
    .await?;
    let mut shown = shown(call, &call.state(), &profile);
    shown["Tags"] = optional_tags(&profile.tags);
    Ok(json!({"InstanceProfile": shown}))
}

pub(super) async fn get(call: &Call<'_>) -> Result<Value> {
    let (state, name) = (call.state(), name(call)?);
    let profile = find(&state, name)?;
    let mut shown = shown(call, &state, profile);
    shown["Tags"] = shown_tags(&profile.tags);
    Ok(json!({"InstanceProfile": shown}))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let (state, prefix) = (call.state(), call.params.text("PathPrefix").unwrap_or("/"));
    let profiles = state.profiles.iter().filter(|profile| profile.path.starts_with(prefix));
    listed(call, &state, profiles)
}

pub(super) async fn list_of_role(call: &Call<'_>) -> Result<Value> {
    let (state, role) = (call.state(), call.params.name("RoleName", roles::MAX_NAME)?);
    roles::find(&state, role)?;
    listed(call, &state, of_role(&state, role))
}

/// Lists do without tags. (API reference, ListInstanceProfiles.)
fn listed<'s>(
    call: &Call<'_>,
    state: &AccountState,
    profiles: impl Iterator<Item = &'s Arc<InstanceProfileRecord>>,
) -> Result<Value> {
    let profiles = profiles.map(|profile| (profile.name.to_lowercase(), shown(call, state, profile)));
    paged(call, "InstanceProfiles", profiles)
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let name = name(call)?;
    call.change(|state| {
        if find(state, name)?.role.is_some() {
            return Err(delete_conflict(format!("Cannot delete entity, must {REMOVE_ROLES} first.")));
        }
        state.profiles.remove(name);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn add_role(call: &Call<'_>) -> Result<Value> {
    let role = call.params.name("RoleName", roles::MAX_NAME)?;
    call.change(|state| {
        let added = roles::find(state, role)?.name.clone();
        let profile = find_mut(call, state)?;
        // The very role that is in it already is one too many as well.
        if profile.role.is_some() {
            let message = format!("Cannot exceed quota for InstanceSessionsPerInstanceProfile: {MOST_ROLES}");
            return Err(limit_exceeded(message));
        }
        profile.role = Some(added);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn remove_role(call: &Call<'_>) -> Result<Value> {
    let role = call.params.name("RoleName", roles::MAX_NAME)?;
    call.change(|state| {
        let profile = find_mut(call, state)?;
        if !is_in(profile, role) {
            return Err(roles::missing(role));
        }
        profile.role = None;
        Ok(Value::Null)
    })
    .await
}

/// The profiles that a role is in.
pub(super) fn of_role<'s>(state: &'s AccountState, role: &str) -> impl Iterator<Item = &'s Arc<InstanceProfileRecord>> {
    state.profiles.iter().filter(move |profile| is_in(profile, role))
}

fn is_in(profile: &InstanceProfileRecord, role: &str) -> bool {
    profile.role.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(role))
}

/// The profile that the request names, to be changed.
pub(super) fn find_mut<'s>(call: &Call<'_>, state: &'s mut AccountState) -> Result<&'s mut InstanceProfileRecord> {
    let name = name(call)?;
    state.profiles.get_mut(name).ok_or_else(|| missing(name))
}

fn find<'s>(state: &'s AccountState, name: &str) -> Result<&'s Arc<InstanceProfileRecord>> {
    state.profiles.get(name).ok_or_else(|| missing(name))
}

fn name<'c>(call: &'c Call<'_>) -> Result<&'c str> {
    call.params.name("InstanceProfileName", MAX_NAME)
}

fn missing(name: &str) -> Failure {
    no_such_entity(format!("Instance Profile {name} cannot be found."))
}

/// A profile as answers carry it, with its role.
pub(super) fn shown(call: &Call<'_>, state: &AccountState, profile: &InstanceProfileRecord) -> Value {
    let role = profile.role.as_deref().and_then(|role| state.roles.get(role));
    json!({
        "Path": profile.path,
        "InstanceProfileName": profile.name,
        "InstanceProfileId": profile.id,
        "Arn": arn::instance_profile(call.account(), &profile.path, &profile.name),
        "CreateDate": time(profile.created),
        "Roles": role.map(|role| roles::shown(call, role, false)).into_iter().collect::<Vec<_>>(),
    })
}
