//! Who has a managed policy.

use serde_json::{Value, json};

use super::managed;
use crate::iam::api::failure::Result;
use crate::iam::api::{Call, policies};
use crate::iam::managed as of_aws;
use crate::iam::store::records::Grants;

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    const FILTERS: &[&str] = &["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"];
    let (state, arn) = (call.state(), managed::named(call)?);
    if of_aws::find(arn).is_none() && policies::find(call.account(), &state, arn).is_none() {
        return Err(policies::not_attachable(arn));
    }
    let filter = call.params.choice("EntityFilter", FILTERS)?;
    let usage = call.params.choice("PolicyUsageFilter", &["PermissionsPolicy", "PermissionsBoundary"])?;
    let prefix = call.params.text("PathPrefix").unwrap_or("/");
    let wanted = |kind: &str, path: &str, grants: &Grants, boundary: Option<&str>| {
        let attached = usage != Some("PermissionsBoundary") && grants.attached.iter().any(|other| other == arn);
        let bounded = usage != Some("PermissionsPolicy") && boundary == Some(arn);
        filter.is_none_or(|filter| filter == kind) && path.starts_with(prefix) && (attached || bounded)
    };
    let groups = state.groups.iter().filter(|group| wanted("Group", &group.path, &group.grants, None));
    let groups = groups.map(|group| json!({"GroupName": group.name, "GroupId": group.id}));
    let users = state.users.iter();
    let users = users.filter(|user| wanted("User", &user.path, &user.grants, user.boundary.as_deref()));
    let users = users.map(|user| json!({"UserName": user.name, "UserId": user.id}));
    let roles = state.roles.iter();
    let roles = roles.filter(|role| wanted("Role", &role.path, &role.grants, role.boundary.as_deref()));
    let roles = roles.map(|role| json!({"RoleName": role.name, "RoleId": role.id}));
    // One sequence of pages over all three.
    let tagged = |kind: char, member: &'static str, list: Vec<Value>| {
        list.into_iter().enumerate().map(move |(index, value)| (format!("{kind}{index:08}"), json!([member, value])))
    };
    let all = tagged('1', "PolicyGroups", groups.collect())
        .chain(tagged('2', "PolicyUsers", users.collect()))
        .chain(tagged('3', "PolicyRoles", roles.collect()));
    let mut answer = super::paged(call, "All", all)?;
    let page = answer["All"].take();
    for member in ["PolicyGroups", "PolicyUsers", "PolicyRoles"] {
        let of_member = page.as_array().into_iter().flatten().filter(|entry| entry[0] == member);
        answer[member] = of_member.map(|entry| entry[1].clone()).collect();
    }
    Ok(answer)
}
