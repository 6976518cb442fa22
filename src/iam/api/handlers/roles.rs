//! Roles, and who may assume them.

use serde_json::{Value, json};

use super::{encoded, instance_profiles, optional_tags, paged, shown_boundary};
use crate::iam::api::failure::{
    Failure, Result, already_exists, delete_conflict, limit_exceeded, missing as required, no_such_entity,
};
use crate::iam::api::{Call, policies, time};
use crate::iam::arn;
use crate::iam::store::AccountState;
use crate::iam::store::records::{Grants, RoleRecord};
use crate::policy::{self, Kind};

/// Most roles of an account. (AWS: "IAM and AWS STS quotas".)
const MOST_ROLES: usize = 1000;
/// Seconds of the longest session, where nothing is said.
const DEFAULT_SESSION: u32 = 3600;
/// Longest trust policy, in characters.
const MAX_TRUST: usize = 2048;
pub(super) const MAX_NAME: usize = 64;

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("RoleName", MAX_NAME)?;
    let role = RoleRecord {
        id: call.directory().draw_id::<17>("AROA"),
        name: name.to_owned(),
        path: call.params.path("Path")?.to_owned(),
        created: call.now.as_millisecond(),
        grants: Grants::default(),
        trust: trust(call, "AssumeRolePolicyDocument")?,
        boundary: policies::boundary(call, "PermissionsBoundary")?,
        tags: call.params.tags("Tags")?,
        description: description(call),
        max_session: max_session(call)?.unwrap_or(DEFAULT_SESSION),
    };
    call.change(|state| {
        if state.roles.get(name).is_some() {
            return Err(already_exists(format!("Role with name {name} already exists.")));
        }
        if state.roles.len() >= MOST_ROLES {
            return Err(limit_exceeded(format!("Cannot exceed quota for RolesPerAccount: {MOST_ROLES}")));
        }
        policies::check_boundary(call, state, role.boundary.as_deref())?;
        state.roles.insert(role.clone());
        Ok(())
    })
    .await?;
    Ok(json!({"Role": shown(call, &role, true)}))
}

pub(super) async fn get(call: &Call<'_>) -> Result<Value> {
    let (state, name) = (call.state(), call.params.name("RoleName", MAX_NAME)?);
    let role = find(&state, name)?;
    let mut shown = shown(call, role, true);
    describe(&mut shown, role);
    shown["RoleLastUsed"] = last_used(call, role);
    Ok(json!({"Role": shown}))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let (state, prefix) = (call.state(), call.params.text("PathPrefix").unwrap_or("/"));
    let roles = state.roles.iter().filter(|role| role.path.starts_with(prefix));
    let described = |role: &RoleRecord| {
        let mut shown = shown(call, role, false);
        describe(&mut shown, role);
        shown
    };
    paged(call, "Roles", roles.map(|role| (role.name.to_lowercase(), described(role))))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("RoleName", MAX_NAME)?;
    let (description, max_session) = (description(call), max_session(call)?);
    call.change(|state| {
        let role = state.roles.get_mut(name).ok_or_else(|| missing(name))?;
        if call.params.given("Description").is_some() {
            role.description.clone_from(&description);
        }
        // What is not given stays, whatever the API reference says. (Recorded on AWS: LocalStack's test_update_role.)
        if let Some(max_session) = max_session {
            role.max_session = max_session;
        }
        Ok(json!({}))
    })
    .await
}

pub(super) async fn update_description(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("RoleName", MAX_NAME)?;
    if call.params.given("Description").is_none() {
        return Err(required("Description"));
    }
    let description = description(call);
    let role = call
        .change(|state| {
            let role = state.roles.get_mut(name).ok_or_else(|| missing(name))?;
            role.description.clone_from(&description);
            Ok(role.clone())
        })
        .await?;
    let mut shown = shown(call, &role, true);
    shown["Description"] = role.description.clone().into();
    Ok(json!({"Role": shown}))
}

pub(super) async fn update_trust(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("RoleName", MAX_NAME)?;
    let trust = trust(call, "PolicyDocument")?;
    call.change(|state| {
        state.roles.get_mut(name).ok_or_else(|| missing(name))?.trust.clone_from(&trust);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("RoleName", MAX_NAME)?;
    call.change(|state| {
        let role = find(state, name)?;
        let is_in_profile = instance_profiles::of_role(state, name).next().is_some();
        let first = is_in_profile.then_some(instance_profiles::REMOVE_ROLES);
        if let Some(first) = first.or_else(|| policies::first_to_go(&role.grants)) {
            return Err(delete_conflict(format!("Cannot delete entity, must {first} first.")));
        }
        state.roles.remove(name);
        Ok(Value::Null)
    })
    .await
}

pub(super) fn find<'s>(state: &'s AccountState, name: &str) -> Result<&'s std::sync::Arc<RoleRecord>> {
    state.roles.get(name).ok_or_else(|| missing(name))
}

pub(super) fn missing(name: &str) -> Failure {
    no_such_entity(format!("The role with name {name} cannot be found."))
}

fn trust(call: &Call<'_>, member: &str) -> Result<String> {
    let text = policies::document(call, member, Kind::Trust)?;
    if policies::weight(&text) > MAX_TRUST {
        return Err(limit_exceeded(format!("Cannot exceed quota for ACLSizePerRole: {MAX_TRUST}")));
    }
    Ok(policy::admit(&text, Kind::Trust, call.directory())?)
}

fn description(call: &Call<'_>) -> Option<String> {
    call.params.text("Description").map(str::to_owned)
}

/// The longest session that the request says, in seconds.
fn max_session(call: &Call<'_>) -> Result<Option<u32>> {
    let seconds = call.params.number("MaxSessionDuration", 3600, 43_200)?;
    Ok(seconds.and_then(|seconds| u32::try_from(seconds).ok()))
}

/// When a role was used last, and where: nothing of one that never was.
pub(super) fn last_used(call: &Call<'_>, role: &RoleRecord) -> Value {
    let last = call.directory().last_use(&role.id);
    last.map_or_else(|| json!({}), |last| json!({"LastUsedDate": time(last.at), "Region": last.region}))
}

/// What a role is for and how long its sessions may be, which the answers that make it do not tell. (Recorded on AWS: LocalStack's
/// `test_create_role_defaults` and `test_update_role`.)
fn describe(shown: &mut Value, role: &RoleRecord) {
    shown["Description"] = role.description.clone().into();
    shown["MaxSessionDuration"] = role.max_session.into();
}

/// A role as answers carry it; lists do without tags and boundary.
pub(super) fn shown(call: &Call<'_>, role: &RoleRecord, whole: bool) -> Value {
    let trust = policy::show(&role.trust, call.directory());
    let mut shown = json!({
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": arn::role(call.account(), &role.path, &role.name),
        "CreateDate": time(role.created),
        "AssumeRolePolicyDocument": encoded(&trust),
    });
    if whole {
        shown["PermissionsBoundary"] = shown_boundary(role.boundary.as_deref());
        shown["Tags"] = optional_tags(&role.tags);
    }
    shown
}
