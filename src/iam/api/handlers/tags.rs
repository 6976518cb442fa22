//! Tags of users, roles, policies, providers and instance profiles.

use serde_json::{Value, json};

use super::{instance_profiles, managed, paged, providers, roles, users};
use crate::iam::api::Call;
use crate::iam::api::failure::{Result, limit_exceeded, missing};
use crate::iam::api::params::check_tag_number;
use crate::iam::managed as of_aws;
use crate::iam::store::AccountState;
use crate::iam::store::records::Tag;

/// What carries tags.
#[derive(Clone, Copy)]
enum Tagged {
    User,
    Role,
    Policy,
    Provider,
    InstanceProfile,
}

macro_rules! each {
    ($($function:ident $of:ident $tagged:ident;)*) => {
        $(pub(super) async fn $function(call: &Call<'_>) -> Result<Value> {
            $of(call, Tagged::$tagged).await
        })*
    };
}

each! {
    add_to_user add User;
    add_to_role add Role;
    add_to_policy add Policy;
    add_to_provider add Provider;
    add_to_instance_profile add InstanceProfile;
    remove_from_user remove User;
    remove_from_role remove Role;
    remove_from_policy remove Policy;
    remove_from_provider remove Provider;
    remove_from_instance_profile remove InstanceProfile;
    list_of_user list User;
    list_of_role list Role;
    list_of_policy list Policy;
    list_of_provider list Provider;
    list_of_instance_profile list InstanceProfile;
}

async fn add(call: &Call<'_>, tagged: Tagged) -> Result<Value> {
    let (new, case) = (call.params.tags("Tags")?, call.params.tag_case());
    // An empty list is one.
    if new.is_empty() && call.params.given("Tags").is_none() {
        return Err(missing("Tags"));
    }
    call.change(|state| {
        let tags = tags_mut(call, state, tagged)?;
        for (key, value) in &new {
            match tags.iter_mut().find(|(other, _)| case.is_same(other, key)) {
                Some(tag) => *tag = (key.clone(), value.clone()),
                None => tags.push((key.clone(), value.clone())),
            }
        }
        match check_tag_number(tags) {
            // Recorded on AWS: LocalStack's test_open_id_connect_provider_tags_limit.
            Err(_) if matches!(tagged, Tagged::Provider) => {
                return Err(limit_exceeded("The number of tags has reached the maximum limit."));
            }
            checked => checked?,
        }
        Ok(Value::Null)
    })
    .await
}

async fn remove(call: &Call<'_>, tagged: Tagged) -> Result<Value> {
    let (keys, case) = (call.params.tag_keys("TagKeys")?, call.params.tag_case());
    call.change(|state| {
        let tags = tags_mut(call, state, tagged)?;
        tags.retain(|(key, _)| !keys.iter().any(|gone| case.is_same(gone, key)));
        Ok(Value::Null)
    })
    .await
}

#[expect(clippy::unused_async, reason = "all handlers are, whether or not they wait for anything")]
async fn list(call: &Call<'_>, tagged: Tagged) -> Result<Value> {
    let state = call.state();
    if matches!(tagged, Tagged::Policy) && of_aws::find(managed::named(call)?).is_some() {
        return Ok(json!({"Tags": [], "IsTruncated": false}));
    }
    let mut tags = tags_mut(call, &mut (*state).clone(), tagged)?.clone();
    // Those of a policy by their keys' lengths first. (Recorded on AWS: LocalStack's test_policy_tag_order.)
    let place = |key: &str| match tagged {
        Tagged::Policy => format!("{:03}{key}", key.chars().count()),
        _ => key.to_owned(),
    };
    tags.sort_by_cached_key(|(key, _)| place(key));
    let shown = tags.iter().map(|(key, value)| (place(key), json!({"Key": key, "Value": value})));
    paged(call, "Tags", shown)
}

fn tags_mut<'s>(call: &Call<'_>, state: &'s mut AccountState, tagged: Tagged) -> Result<&'s mut Vec<Tag>> {
    match tagged {
        Tagged::User => {
            let name = call.params.name("UserName", 128)?;
            state.users.get_mut(name).map(|user| &mut user.tags).ok_or_else(|| users::missing(name))
        }
        Tagged::Role => {
            let name = call.params.name("RoleName", 64)?;
            state.roles.get_mut(name).map(|role| &mut role.tags).ok_or_else(|| roles::missing(name))
        }
        Tagged::Policy => Ok(&mut managed::find_mut(call, state, managed::changeable(call)?)?.tags),
        Tagged::Provider => Ok(&mut providers::find_mut(call, state)?.tags),
        Tagged::InstanceProfile => Ok(&mut instance_profiles::find_mut(call, state)?.tags),
    }
}
