//! Users.

use serde_json::{Value, json};

use super::{optional_tags, paged, shown_boundary};
use crate::iam::api::failure::{Result, already_exists, delete_conflict, limit_exceeded, no_such_entity, validation};
use crate::iam::api::{Call, policies, time};
use crate::iam::arn;
use crate::iam::store::AccountState;
use crate::iam::store::records::{Grants, UserRecord};

/// Most users of an account. (AWS: "IAM and AWS STS quotas".)
const MOST_USERS: usize = 5000;
/// Longest name of a user.
pub(super) const MAX_NAME: usize = 64;

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("UserName", MAX_NAME)?;
    let user = UserRecord {
        id: call.directory().draw_id::<17>("AIDA"),
        name: name.to_owned(),
        path: call.params.path("Path")?.to_owned(),
        created: call.now.as_millisecond(),
        grants: Grants::default(),
        groups: Vec::new(),
        boundary: policies::boundary(call, "PermissionsBoundary")?,
        tags: call.params.tags("Tags")?,
    };
    call.change(|state| {
        if state.users.get(name).is_some() {
            return Err(already_exists(format!("User with name {name} already exists.")));
        }
        if state.users.len() >= MOST_USERS {
            return Err(limit_exceeded(format!("Cannot exceed quota for UsersPerAccount: {MOST_USERS}")));
        }
        policies::check_boundary(call, state, user.boundary.as_deref())?;
        state.users.insert(user.clone());
        Ok(())
    })
    .await?;
    Ok(json!({"User": shown(call.account(), &user, true)}))
}

pub(super) async fn get(call: &Call<'_>) -> Result<Value> {
    let state = call.state();
    if call.params.text("UserName").is_none() && call.identity()?.subject.is_root() {
        let identity = call.identity()?;
        let created = state.record.created.map(time);
        let root = json!({"Path": "/", "UserId": identity.account.id, "Arn": identity.arn, "CreateDate": created});
        return Ok(json!({"User": root}));
    }
    let user = find(&state, &name(call)?)?;
    Ok(json!({"User": shown(call.account(), user, true)}))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let (state, prefix) = (call.state(), call.params.text("PathPrefix").unwrap_or("/"));
    let users = state.users.iter().filter(|user| user.path.starts_with(prefix));
    paged(call, "Users", users.map(|user| (user.name.to_lowercase(), shown(call.account(), user, false))))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("UserName", MAX_NAME)?;
    let new_name = call.params.optional_name("NewUserName", MAX_NAME)?;
    let path = call.params.text("NewPath").map(|_| call.params.path("NewPath")).transpose()?;
    call.change(|state| {
        let mut user = UserRecord::clone(find(state, name)?);
        if let Some(path) = path {
            path.clone_into(&mut user.path);
        }
        if let Some(new_name) = new_name {
            if !new_name.eq_ignore_ascii_case(name) && state.users.get(new_name).is_some() {
                return Err(already_exists(format!("User with name {new_name} already exists.")));
            }
            state.users.remove(name);
            new_name.clone_into(&mut user.name);
            let (old, new) = (name.to_lowercase(), new_name.to_lowercase());
            let keys: Vec<String> = keys_of(state, &old).collect();
            for key in keys.iter().filter_map(|id| state.keys.get(id).cloned()).collect::<Vec<_>>() {
                let mut key = (*key).clone();
                key.user.clone_from(&new);
                state.keys.insert(key);
            }
        }
        state.users.insert(user);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("UserName", MAX_NAME)?;
    call.change(|state| {
        let user = find(state, name)?;
        let first = if keys_of(state, &name.to_lowercase()).next().is_some() {
            Some("delete access keys")
        } else if !user.groups.is_empty() {
            Some("remove users from group")
        } else {
            policies::first_to_go(&user.grants)
        };
        if let Some(first) = first {
            return Err(delete_conflict(format!("Cannot delete entity, must {first} first.")));
        }
        state.users.remove(name);
        Ok(Value::Null)
    })
    .await
}

/// The user that the request names, or else the one that asks.
pub(in crate::iam::api) fn name(call: &Call<'_>) -> Result<String> {
    if let Some(name) = call.params.optional_name("UserName", 128)? {
        return Ok(name.to_owned());
    }
    call.identity()?
        .subject
        .name
        .clone()
        .ok_or_else(|| validation("Must specify userName when calling with non-User credentials"))
}

pub(super) fn find<'s>(state: &'s AccountState, name: &str) -> Result<&'s std::sync::Arc<UserRecord>> {
    state.users.get(name).ok_or_else(|| missing(name))
}

pub(super) fn missing(name: &str) -> crate::iam::api::failure::Failure {
    no_such_entity(format!("The user with name {name} cannot be found."))
}

/// The ids of a user's access keys; its name in lower case.
pub(super) fn keys_of(state: &AccountState, user: &str) -> impl Iterator<Item = String> {
    state.keys.iter().filter(move |key| key.user == user).map(|key| key.id.clone())
}

/// A user as answers carry it; lists do without tags and boundary.
pub(super) fn shown(account: &str, user: &UserRecord, whole: bool) -> Value {
    let mut shown = json!({
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": arn::user(account, &user.path, &user.name),
        "CreateDate": time(user.created),
    });
    if whole {
        shown["PermissionsBoundary"] = shown_boundary(user.boundary.as_deref());
        shown["Tags"] = optional_tags(&user.tags);
    }
    shown
}
