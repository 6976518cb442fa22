//! Inline policies, and permissions boundaries.

use serde_json::{Value, json};

use super::{encoded, paged};
use crate::iam::api::failure::{Failure, Result, no_such_entity};
use crate::iam::api::{Call, policies};
use crate::iam::store::records::Grants;
use crate::iam::store::{AccountState, Holder};

const MAX_NAME: usize = 128;

macro_rules! each_holder {
    ($($function:ident $of:ident $holder:ident;)*) => {
        $(pub(super) async fn $function(call: &Call<'_>) -> Result<Value> {
            $of(call, Holder::$holder).await
        })*
    };
}

each_holder! {
    put_to_user put User;
    put_to_group put Group;
    put_to_role put Role;
    get_of_user get User;
    get_of_group get Group;
    get_of_role get Role;
    list_of_user list User;
    list_of_group list Group;
    list_of_role list Role;
    delete_of_user delete User;
    delete_of_group delete Group;
    delete_of_role delete Role;
    bound_user bound User;
    bound_role bound Role;
    unbound_user unbound User;
    unbound_role unbound Role;
}

async fn put(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, policy) = (name_of(call, holder)?, call.params.name("PolicyName", MAX_NAME)?);
    let document = policies::identity_document(call, "PolicyDocument", false)?;
    call.change(|state| {
        let grants = grants_mut(state, holder, name)?;
        grants.inline.retain(|(other, _)| other != policy);
        grants.inline.push((policy.to_owned(), document.clone()));
        grants.inline.sort();
        policies::check_inline(holder, name, grants)?;
        Ok(Value::Null)
    })
    .await
}

#[expect(clippy::unused_async, reason = "all handlers are, whether or not they wait for anything")]
async fn get(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, policy) = (name_of(call, holder)?, call.params.name("PolicyName", MAX_NAME)?);
    let state = call.state();
    let grants = grants(&state, holder, name)?;
    let found = grants.inline.iter().find(|(other, _)| other == policy);
    let (_, document) = found.ok_or_else(|| missing_policy(holder, policy))?;
    let mut answer = json!({"PolicyName": policy, "PolicyDocument": encoded(document)});
    answer[member(holder)] = name.into();
    Ok(answer)
}

#[expect(clippy::unused_async, reason = "all handlers are, whether or not they wait for anything")]
async fn list(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, state) = (name_of(call, holder)?, call.state());
    let grants = grants(&state, holder, name)?;
    paged(call, "PolicyNames", grants.inline.iter().map(|(policy, _)| (policy.clone(), policy.as_str().into())))
}

async fn delete(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let (name, policy) = (name_of(call, holder)?, call.params.name("PolicyName", MAX_NAME)?);
    call.change(|state| {
        let grants = grants_mut(state, holder, name)?;
        let before = grants.inline.len();
        grants.inline.retain(|(other, _)| other != policy);
        if grants.inline.len() == before { Err(missing_policy(holder, policy)) } else { Ok(Value::Null) }
    })
    .await
}

async fn bound(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let name = name_of(call, holder)?;
    let arn = policies::check_arn(call.params.required("PermissionsBoundary")?)?;
    call.change(|state| {
        policies::check_boundary(call, state, Some(arn))?;
        *boundary_mut(state, holder, name)? = Some(arn.to_owned());
        Ok(Value::Null)
    })
    .await
}

async fn unbound(call: &Call<'_>, holder: Holder) -> Result<Value> {
    let name = name_of(call, holder)?;
    call.change(|state| match boundary_mut(state, holder, name)?.take() {
        Some(_) => Ok(Value::Null),
        None => Err(no_such_entity(format!("{} {name} does not have a permissions boundary.", title(holder)))),
    })
    .await
}

fn boundary_mut<'s>(state: &'s mut AccountState, holder: Holder, name: &str) -> Result<&'s mut Option<String>> {
    let boundary = match holder {
        Holder::User => state.users.get_mut(name).map(|user| &mut user.boundary),
        Holder::Role => state.roles.get_mut(name).map(|role| &mut role.boundary),
        Holder::Group => None,
    };
    boundary.ok_or_else(|| missing(holder, name))
}

/// The user, group or role that the request names.
pub(super) fn name_of<'c>(call: &'c Call<'_>, holder: Holder) -> Result<&'c str> {
    call.params.name(member(holder), if holder == Holder::Role { 64 } else { 128 })
}

pub(super) fn grants<'s>(state: &'s AccountState, holder: Holder, name: &str) -> Result<&'s Grants> {
    state.grants(holder, name).ok_or_else(|| missing(holder, name))
}

pub(super) fn grants_mut<'s>(state: &'s mut AccountState, holder: Holder, name: &str) -> Result<&'s mut Grants> {
    state.grants_mut(holder, name).ok_or_else(|| missing(holder, name))
}

fn missing(holder: Holder, name: &str) -> Failure {
    no_such_entity(format!("The {} with name {name} cannot be found.", holder.as_str()))
}

fn missing_policy(holder: Holder, policy: &str) -> Failure {
    no_such_entity(format!("The {} policy with name {policy} cannot be found.", holder.as_str()))
}

/// The member that names a holder.
pub(super) const fn member(holder: Holder) -> &'static str {
    match holder {
        Holder::User => "UserName",
        Holder::Group => "GroupName",
        Holder::Role => "RoleName",
    }
}

const fn title(holder: Holder) -> &'static str {
    match holder {
        Holder::User => "User",
        Holder::Group => "Group",
        Holder::Role => "Role",
    }
}
