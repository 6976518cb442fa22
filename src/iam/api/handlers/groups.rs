//! Groups, and who is in them.

use serde_json::{Value, json};

use super::{paged, users};
use crate::iam::api::failure::{Failure, Result, already_exists, delete_conflict, limit_exceeded, no_such_entity};
use crate::iam::api::{Call, policies, time};
use crate::iam::arn;
use crate::iam::store::AccountState;
use crate::iam::store::records::{Grants, GroupRecord};

/// Most groups of an account, and of a user. (AWS: "IAM and AWS STS quotas".)
const MOST_GROUPS: usize = 300;
const MOST_OF_USER: usize = 10;
const MAX_NAME: usize = 128;

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("GroupName", MAX_NAME)?;
    let group = GroupRecord {
        id: call.directory().draw_id::<17>("AGPA"),
        name: name.to_owned(),
        path: call.params.path("Path")?.to_owned(),
        created: call.now.as_millisecond(),
        grants: Grants::default(),
    };
    call.change(|state| {
        if state.groups.get(name).is_some() {
            return Err(already_exists(format!("Group with name {name} already exists.")));
        }
        if state.groups.len() >= MOST_GROUPS {
            return Err(limit_exceeded(format!("Cannot exceed quota for GroupsPerAccount: {MOST_GROUPS}")));
        }
        state.groups.insert(group.clone());
        Ok(())
    })
    .await?;
    Ok(json!({"Group": shown(call.account(), &group)}))
}

pub(super) async fn get(call: &Call<'_>) -> Result<Value> {
    let (state, name) = (call.state(), call.params.name("GroupName", MAX_NAME)?);
    let group = find(&state, name)?;
    let members = state.users.iter().filter(|user| is_member(&user.groups, name));
    let members = members.map(|user| (user.name.to_lowercase(), users::shown(call.account(), user, false)));
    let mut answer = paged(call, "Users", members)?;
    answer["Group"] = shown(call.account(), group);
    Ok(answer)
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let (state, prefix) = (call.state(), call.params.text("PathPrefix").unwrap_or("/"));
    let groups = state.groups.iter().filter(|group| group.path.starts_with(prefix));
    paged(call, "Groups", groups.map(|group| (group.name.to_lowercase(), shown(call.account(), group))))
}

pub(super) async fn list_of_user(call: &Call<'_>) -> Result<Value> {
    let (state, name) = (call.state(), users::name(call)?);
    let user = users::find(&state, &name)?;
    let mut groups: Vec<_> = user.groups.iter().filter_map(|group| state.groups.get(group)).collect();
    groups.sort_by_key(|group| group.name.to_lowercase());
    let groups = groups.into_iter().map(|group| (group.name.to_lowercase(), shown(call.account(), group)));
    paged(call, "Groups", groups)
}

pub(super) async fn update(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("GroupName", MAX_NAME)?;
    let new_name = call.params.optional_name("NewGroupName", MAX_NAME)?;
    let path = call.params.text("NewPath").map(|_| call.params.path("NewPath")).transpose()?;
    call.change(|state| {
        let mut group = GroupRecord::clone(find(state, name)?);
        if let Some(path) = path {
            path.clone_into(&mut group.path);
        }
        if let Some(new_name) = new_name {
            if !new_name.eq_ignore_ascii_case(name) && state.groups.get(new_name).is_some() {
                return Err(already_exists(format!("Group with name {new_name} already exists.")));
            }
            state.groups.remove(name);
            new_name.clone_into(&mut group.name);
            let members = state.users.iter().filter(|user| is_member(&user.groups, name));
            for member in members.map(|user| user.name.clone()).collect::<Vec<_>>() {
                let Some(user) = state.users.get_mut(&member) else { continue };
                for of in user.groups.iter_mut().filter(|of| of.eq_ignore_ascii_case(name)) {
                    new_name.clone_into(of);
                }
            }
        }
        state.groups.insert(group);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let name = call.params.name("GroupName", MAX_NAME)?;
    call.change(|state| {
        let group = find(state, name)?;
        let first = if state.users.iter().any(|user| is_member(&user.groups, name)) {
            Some("remove users from group")
        } else {
            policies::first_to_go(&group.grants)
        };
        if let Some(first) = first {
            return Err(delete_conflict(format!("Cannot delete entity, must {first} first.")));
        }
        state.groups.remove(name);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn add_user(call: &Call<'_>) -> Result<Value> {
    let (name, user) = (call.params.name("GroupName", MAX_NAME)?, call.params.name("UserName", 128)?);
    call.change(|state| {
        let group = find(state, name)?.name.clone();
        let found = users::find(state, user)?;
        if is_member(&found.groups, name) {
            return Ok(Value::Null);
        }
        if found.groups.len() >= MOST_OF_USER {
            return Err(limit_exceeded(format!("Cannot exceed quota for GroupsPerUser: {MOST_OF_USER}")));
        }
        state.users.get_mut(user).ok_or_else(|| users::missing(user))?.groups.push(group);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn remove_user(call: &Call<'_>) -> Result<Value> {
    let (name, user) = (call.params.name("GroupName", MAX_NAME)?, call.params.name("UserName", 128)?);
    call.change(|state| {
        // Of both that are not there, the user is told. (Recorded on AWS: LocalStack's test_remove_user_from_unknown_group.)
        let is_in = is_member(&users::find(state, user)?.groups, name);
        find(state, name)?;
        if is_in {
            let found = state.users.get_mut(user).ok_or_else(|| users::missing(user))?;
            found.groups.retain(|group| !group.eq_ignore_ascii_case(name));
        }
        Ok(Value::Null)
    })
    .await
}

/// Whether the group of this name is among those of a user.
pub(super) fn is_member(groups: &[String], name: &str) -> bool {
    groups.iter().any(|group| group.eq_ignore_ascii_case(name))
}

pub(super) fn find<'s>(state: &'s AccountState, name: &str) -> Result<&'s std::sync::Arc<GroupRecord>> {
    state.groups.get(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Failure {
    no_such_entity(format!("The group with name {name} cannot be found."))
}

pub(super) fn shown(account: &str, group: &GroupRecord) -> Value {
    json!({
        "Path": group.path,
        "GroupName": group.name,
        "GroupId": group.id,
        "Arn": arn::group(account, &group.path, &group.name),
        "CreateDate": time(group.created),
    })
}
