//! What each operation does, and what it answers.

mod absent;
mod account;
mod entities;
mod exclusions;
mod groups;
mod instance_profiles;
mod keys;
mod managed;
mod policies;
mod providers;
mod roles;
mod simulate;
mod tags;
mod users;

use std::fmt;
use std::ops::Range;

use serde_json::{Value, json};

use super::Call;
use super::failure::{Failure, Result};
use super::params::Params;
use super::sts;
use crate::crypto::digest::sha256;
use crate::iam::Permit;

macro_rules! handlers {
    ($($name:ident $function:path;)*) => {
        /// The operations that are served.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(missing_docs, reason = "each is an operation of AWS's model")]
        pub enum Handler { $($name,)* }

        /// Does what `handler` stands for. Operations that answer nothing answer [`Value::Null`].
        pub(super) async fn perform(handler: Handler, call: &Call<'_>, _permit: Permit) -> Result<Value> {
            match handler { $(Handler::$name => $function(call).await,)* }
        }
    };
}

handlers! {
    AddClientIDToOpenIDConnectProvider providers::add_client;
    AddRoleToInstanceProfile instance_profiles::add_role;
    AddUserToGroup groups::add_user;
    AssumeRole sts::assume::assume_role;
    AssumeRoleWithWebIdentity sts::web_identity::assume_role;
    AttachGroupPolicy managed::attach_to_group;
    AttachRolePolicy managed::attach_to_role;
    AttachUserPolicy managed::attach_to_user;
    CreateAccessKey keys::create;
    CreateAccountAlias account::create_alias;
    CreateGroup groups::create;
    CreateInstanceProfile instance_profiles::create;
    CreateOpenIDConnectProvider providers::create;
    CreatePolicy managed::create;
    CreatePolicyVersion managed::create_version;
    CreateRole roles::create;
    CreateUser users::create;
    DeleteAccessKey keys::delete;
    DeleteAccountAlias account::delete_alias;
    DeleteAccountPasswordPolicy absent::password_policy_to_delete;
    DeleteGroup groups::delete;
    DeleteGroupPolicy policies::delete_of_group;
    DeleteInstanceProfile instance_profiles::delete;
    DeleteLoginProfile absent::login_profile;
    DeleteOpenIDConnectProvider providers::delete;
    DeletePolicy managed::delete;
    DeletePolicyVersion managed::delete_version;
    DeleteRole roles::delete;
    DeleteRolePermissionsBoundary policies::unbound_role;
    DeleteRolePolicy policies::delete_of_role;
    DeleteUser users::delete;
    DeleteUserPermissionsBoundary policies::unbound_user;
    DeleteUserPolicy policies::delete_of_user;
    DetachGroupPolicy managed::detach_from_group;
    DetachRolePolicy managed::detach_from_role;
    DetachUserPolicy managed::detach_from_user;
    GetAccessKeyInfo sts::identity::access_key_info;
    GetAccessKeyLastUsed keys::last_used;
    GetAccountAuthorizationDetails account::authorization_details;
    GetAccountPasswordPolicy absent::password_policy;
    GetAccountSummary account::summary;
    GetCallerIdentity sts::identity::caller_identity;
    GetContextKeysForCustomPolicy simulate::context_keys_of_custom;
    GetContextKeysForPrincipalPolicy simulate::context_keys_of_principal;
    GetFederationToken sts::federation::federation_token;
    GetGroup groups::get;
    GetGroupPolicy policies::get_of_group;
    GetInstanceProfile instance_profiles::get;
    GetLoginProfile absent::login_profile;
    GetOpenIDConnectProvider providers::get;
    GetPolicy managed::get;
    GetPolicyVersion managed::get_version;
    GetRole roles::get;
    GetRolePolicy policies::get_of_role;
    GetSessionToken sts::federation::session_token;
    GetUser users::get;
    GetUserPolicy policies::get_of_user;
    ListAccessKeys keys::list;
    ListAccountAliases account::list_aliases;
    ListAttachedGroupPolicies managed::list_of_group;
    ListAttachedRolePolicies managed::list_of_role;
    ListAttachedUserPolicies managed::list_of_user;
    ListEntitiesForPolicy entities::list;
    ListGroupPolicies policies::list_of_group;
    ListGroups groups::list;
    ListGroupsForUser groups::list_of_user;
    ListInstanceProfileTags tags::list_of_instance_profile;
    ListInstanceProfiles instance_profiles::list;
    ListInstanceProfilesForRole instance_profiles::list_of_role;
    ListMFADevices absent::mfa_devices;
    ListOpenIDConnectProviderTags tags::list_of_provider;
    ListOpenIDConnectProviders providers::list;
    ListPolicies managed::list;
    ListPolicyTags tags::list_of_policy;
    ListPolicyVersions managed::list_versions;
    ListRolePolicies policies::list_of_role;
    ListRoleTags tags::list_of_role;
    ListRoles roles::list;
    ListSAMLProviders absent::saml_providers;
    ListSSHPublicKeys absent::ssh_keys;
    ListServerCertificates absent::server_certificates;
    ListServiceSpecificCredentials absent::service_credentials;
    ListSigningCertificates absent::signing_certificates;
    ListUserPolicies policies::list_of_user;
    ListUserTags tags::list_of_user;
    ListUsers users::list;
    ListVirtualMFADevices absent::virtual_mfa_devices;
    PutGroupPolicy policies::put_to_group;
    PutRolePermissionsBoundary policies::bound_role;
    PutRolePolicy policies::put_to_role;
    PutUserPermissionsBoundary policies::bound_user;
    PutUserPolicy policies::put_to_user;
    RemoveClientIDFromOpenIDConnectProvider providers::remove_client;
    RemoveRoleFromInstanceProfile instance_profiles::remove_role;
    RemoveUserFromGroup groups::remove_user;
    SetDefaultPolicyVersion managed::set_default_version;
    SimulateCustomPolicy simulate::custom;
    SimulatePrincipalPolicy simulate::principal;
    TagInstanceProfile tags::add_to_instance_profile;
    TagOpenIDConnectProvider tags::add_to_provider;
    TagPolicy tags::add_to_policy;
    TagRole tags::add_to_role;
    TagUser tags::add_to_user;
    UntagInstanceProfile tags::remove_from_instance_profile;
    UntagOpenIDConnectProvider tags::remove_from_provider;
    UntagPolicy tags::remove_from_policy;
    UntagRole tags::remove_from_role;
    UntagUser tags::remove_from_user;
    UpdateAccessKey keys::update;
    UpdateAssumeRolePolicy roles::update_trust;
    UpdateGroup groups::update;
    UpdateOpenIDConnectProviderThumbprint providers::update_thumbprints;
    UpdateRole roles::update;
    UpdateRoleDescription roles::update_description;
    UpdateUser users::update;
}

pub(super) use providers::name_of_url;

/// A page of `items`, each with the name that the next page begins behind; they are in the order of those names.
pub(super) fn paged(call: &Call<'_>, member: &str, items: impl Iterator<Item = (String, Value)>) -> Result<Value> {
    let most = max_items(call.params)?;
    let after = call.params.text("Marker").map(Marker::read).transpose()?;
    let mut rest: Box<dyn Iterator<Item = (String, Value)> + '_> = match after {
        None => Box::new(items),
        Some(Marker::Name(after)) => Box::new(items.filter(move |(name, _)| *name > after)),
        Some(Marker::Digest(of)) => {
            let mut items = items;
            if !items.any(|(name, _)| sha256(name.as_bytes()) == of) {
                return Err(invalid_marker());
            }
            Box::new(items)
        }
    };
    let page: Vec<(String, Value)> = rest.by_ref().take(most).collect();
    let last = page.last().map(|(name, _)| name.clone()).filter(|_| rest.next().is_some());
    let mut answer = json!({"IsTruncated": last.is_some()});
    answer[member] = page.into_iter().map(|(_, value)| value).collect();
    if let Some(last) = last {
        answer["Marker"] = Marker::after(last).to_string().into();
    }
    Ok(answer)
}

/// A page of `count` things that have numbers for names, of at most `most` even if more are asked for: the numbers of those on it,
/// and the marker of the next page if there is one. What stands before and behind the page costs nothing.
pub(super) fn numbered(params: &Params, count: usize, most: usize) -> Result<(Range<usize>, Option<String>)> {
    let start = match params.text("Marker").map(Marker::read).transpose()? {
        None => 0,
        Some(Marker::Name(last)) => last.parse::<usize>().map_err(|_| invalid_marker())?.saturating_add(1),
        Some(Marker::Digest(_)) => return Err(invalid_marker()),
    };
    let end = count.min(start.saturating_add(most.min(max_items(params)?)));
    let marker = (end < count).then(|| Marker::Name((end - 1).to_string()).to_string());
    Ok((start.min(end)..end, marker))
}

/// How many items a page is to have.
fn max_items(params: &Params) -> Result<usize> {
    let most = params.number("MaxItems", 1, 1000)?.unwrap_or(100);
    Ok(usize::try_from(most).unwrap_or_default())
}

/// Behind what a page begins. A marker has 320 characters at most, and names may be longer, as those of policies with their paths.
#[derive(Debug, Eq, PartialEq)]
enum Marker {
    /// The name: `NAME` in hexadecimal digits.
    Name(String),
    /// What has a name with this digest: `-DIGEST` in such digits.
    Digest([u8; 32]),
}

/// Longest marker, in characters. (AWS: API reference, `markerType`.)
const MAX_MARKER: usize = 320;

impl Marker {
    fn after(name: String) -> Self {
        if 2 * name.len() > MAX_MARKER { Self::Digest(sha256(name.as_bytes())) } else { Self::Name(name) }
    }

    fn read(marker: &str) -> Result<Self> {
        let read = match marker.strip_prefix('-') {
            Some(digest) => {
                let digest = hex::decode(digest).ok().and_then(|digest| digest.try_into().ok());
                digest.map(Self::Digest)
            }
            None => hex::decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Self::Name),
        };
        read.ok_or_else(invalid_marker)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&hex::encode(name)),
            Self::Digest(digest) => write!(f, "-{}", hex::encode(digest)),
        }
    }
}

/// (Recorded on AWS: `LocalStack`'s `test_list_virtual_mfa_devices`.)
fn invalid_marker() -> Failure {
    super::failure::validation("Invalid Marker.")
}

/// A document as answers carry it. (AWS: "Policies returned by this operation are URL-encoded compliant with RFC 3986.")
pub(super) fn encoded(document: &str) -> String {
    crate::wire::percent::percent_encode(document).replace('/', "%2F")
}

/// Tags as answers carry them.
pub(super) fn shown_tags(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// The same, left out where there are none.
pub(super) fn optional_tags(tags: &[(String, String)]) -> Value {
    if tags.is_empty() { Value::Null } else { shown_tags(tags) }
}

/// A boundary as answers carry it: of a type that the API reference does not have. (Recorded on AWS: LocalStack's
/// `test_role_permissions_boundary_lifecycle`.)
pub(super) fn shown_boundary(boundary: Option<&str>) -> Value {
    boundary.map_or(Value::Null, |arn| json!({"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_pages() {
        let page = |form: &str, most| numbered(&Params::parse(form).unwrap(), 250, most);
        let (first, marker) = page("", 1000).unwrap();
        assert_eq!(first, 0..100);
        let (second, marker) = page(&format!("MaxItems=120&Marker={}", marker.unwrap()), 1000).unwrap();
        assert_eq!(second, 100..220);
        assert_eq!(page(&format!("Marker={}", marker.unwrap()), 1000).unwrap(), (220..250, None));
        assert_eq!(page("MaxItems=1000", 7).unwrap().0, 0..7);
        let behind = |last: &str| format!("Marker={}", hex::encode(last));
        assert_eq!(page(&behind("249"), 1000).unwrap(), (250..250, None));
        assert_eq!(page(&behind(&usize::MAX.to_string()), 1000).unwrap(), (250..250, None));
        assert!(page(&behind("x"), 1000).is_err());
        assert_eq!(numbered(&Params::default(), 0, 1000).unwrap(), (0..0, None));
    }

    #[test]
    fn markers_come_back_and_are_short_enough() {
        for name in [
            "alice".to_owned(),
            "x".repeat(160),
            "x".repeat(161),
            format!("arn:{}", "p/".repeat(300)),
            "\u{4e2d}".repeat(128),
        ] {
            let text = Marker::after(name.clone()).to_string();
            assert!(text.len() <= MAX_MARKER, "{name}");
            assert_eq!(Marker::read(&text).unwrap(), Marker::after(name));
        }
        for bad in ["!", "-", "-ab", "a", "ff"] {
            assert!(Marker::read(bad).is_err(), "{bad}");
        }
    }
}
