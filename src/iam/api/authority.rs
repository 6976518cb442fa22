//! Whether the caller may do what it asks: the action, the resource's ARN, and what conditions may ask besides.
//! (Service authorization reference, "Actions, resources, and condition keys for AWS IAM", "... for AWS STS".)

use super::Call;
use super::failure::{Result, access_denied, unknown_client};
use super::handlers::Handler;
use super::operation::{On, Operation, Service};
use crate::iam::{self, Circumstances, Permit, Question, arn};
use crate::policy::{Context, Found, SubjectKind};

/// Condition keys, in lower case, and their values; a key that stands there twice has two.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Vec<(String, String)>);

impl Known {
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push((key.into().to_lowercase(), value.into()));
    }

    /// The tags of the resource.
    pub fn add_tags(&mut self, tags: &[(String, String)]) {
        for (key, value) in tags {
            self.add(format!("aws:resourcetag/{key}"), value);
            self.add(format!("iam:resourcetag/{key}"), value);
        }
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }
}

impl Context for Known {
    fn find(&self, key: &str) -> Found<'_> {
        let values: Vec<_> =
            self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str().into()).collect();
        match <[_; 1]>::try_from(values) {
            Ok([value]) => Found::One(value),
            Err(values) if values.is_empty() => Found::None,
            Err(values) => Found::Many(values),
        }
    }
}

/// The circumstances of `call`, with what `more` knows.
pub(super) fn circumstances<'r>(call: &Call<'r>, more: &'r dyn Context) -> Circumstances<'r> {
    Circumstances {
        cx: call.cx,
        identity: call.identity,
        region: &call.api.region,
        now: call.now,
        user_agent: call.user_agent,
        more,
    }
}

/// What is done to a user or role whose boundary, as it is, conditions may ask for; of all else they are asked for the one that
/// the request names. (Service authorization reference, "Actions defined by AWS IAM": `iam:PermissionsBoundary`.)
const TO_THE_BOUNDED: &[&str] = &[
    "AttachRolePolicy",
    "AttachUserPolicy",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "PutRolePolicy",
    "PutUserPolicy",
];
/// What makes something that can have tags, and the permission to give it some.
/// (Service authorization reference, "Actions defined by AWS IAM": dependent actions.)
const TAGGED_AT_BIRTH: &[(&str, &str)] = &[
    ("CreateOpenIDConnectProvider", "iam:TagOpenIDConnectProvider"),
    ("CreatePolicy", "iam:TagPolicy"),
    ("CreateRole", "iam:TagRole"),
    ("CreateUser", "iam:TagUser"),
];

/// Whether the caller may.
pub(super) fn authorize(call: &Call<'_>, operation: &'static Operation) -> Result<Permit> {
    let Some(identity) = call.identity else {
        // Whoever brings a web identity: the role's own document decides.
        return if operation.on == On::Trust { Ok(Permit::of_anybody()) } else { Err(unknown_client()) };
    };
    check_session(identity, operation)?;
    let mut known = Known::default();
    requested(call, operation, &mut known);
    let Some(resource) = resource(call, operation, &mut known) else { return Ok(Permit::of_anybody()) };
    let context = circumstances(call, &known);
    let ask = |action, resource: &str| {
        let question = Question::new(Some(identity), action, resource, None);
        let judged = iam::authorize(&Question { context: &context, ..question });
        if let Some(explanation) = iam::explanation(&judged) {
            call.witness.see(|| explanation.clone());
        }
        judged
    };
    let permit = ask(operation.action, &resource)?;
    if let Some(moved) = moved(call, operation) {
        ask(operation.action, &moved)?;
    }
    let tagging = TAGGED_AT_BIRTH.iter().find(|(made, _)| *made == operation.name);
    if let Some((_, action)) = tagging.filter(|_| known.has("aws:tagkeys")) {
        ask(action, &resource)?;
    }
    Ok(permit)
}

/// The ARN that a user or a group will have that gets another name or path. (API reference, UpdateUser and UpdateGroup: "the entity
/// making the request must have appropriate permissions on both the source object and the target object".)
fn moved(call: &Call<'_>, operation: &Operation) -> Option<String> {
    let (account, params, state) = (call.account(), call.params, call.state());
    let path = params.text("NewPath");
    match operation.handler? {
        Handler::UpdateUser => {
            let user = state.users.get(params.text("UserName")?)?;
            let name = params.text("NewUserName");
            path.or(name)?;
            Some(arn::user(account, path.unwrap_or(&user.path), name.unwrap_or(&user.name)))
        }
        Handler::UpdateGroup => {
            let group = state.groups.get(params.text("GroupName")?)?;
            let name = params.text("NewGroupName");
            path.or(name)?;
            Some(arn::group(account, path.unwrap_or(&group.path), name.unwrap_or(&group.name)))
        }
        _ => None,
    }
}

/// What the request itself says, of those keys that the operation has: a parameter that it does not know says nothing.
fn requested(call: &Call<'_>, operation: &Operation, known: &mut Known) {
    let (params, name) = (call.params, operation.name);
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let makes_tagged = TAGGED_AT_BIRTH.iter().any(|(made, _)| *made == name) || name == "GetFederationToken";
    if makes_tagged || begins(&["Tag"]) {
        // Tags that are not well-formed are refused by the handler.
        for (key, value) in params.tags("Tags").unwrap_or_default() {
            known.add(format!("aws:requesttag/{key}"), value);
            known.add("aws:tagkeys", key);
        }
    }
    if begins(&["Untag"]) {
        params.list("TagKeys").into_iter().for_each(|key| known.add("aws:tagkeys", key));
    }
    let sets_boundary = ["CreateRole", "CreateUser"].contains(&name) || name.ends_with("PermissionsBoundary");
    if let Some(boundary) = params.text("PermissionsBoundary").filter(|_| sets_boundary && !begins(&["Delete"])) {
        known.add("iam:permissionsboundary", boundary);
    }
    if let Some(policy) = params.text("PolicyArn").filter(|_| begins(&["Attach", "Detach"])) {
        known.add("iam:policyarn", policy);
    }
}

/// Temporary credentials of a user's or root's own may not call IAM, nor most of STS.
/// (IAM user guide, "Compare AWS STS credentials".)
fn check_session(identity: &iam::Identity, operation: &Operation) -> Result<()> {
    let kind = &identity.subject.kind;
    if identity.subject.session.is_none() || matches!(kind, SubjectKind::Role(_)) {
        return Ok(());
    }
    match (operation.service, operation.name) {
        (Service::Sts, "GetCallerIdentity") => Ok(()),
        (Service::Sts, "AssumeRole") if !matches!(kind, SubjectKind::Federated(_)) => Ok(()),
        (Service::Sts, name) => Err(access_denied(format!("Cannot call {name} with session credentials"))),
        (Service::Iam, _) => Err(unknown_client()),
    }
}

/// The ARN of what is asked of, whose tags are added to what is known; `None`: nothing need be allowed.
fn resource(call: &Call<'_>, operation: &Operation, known: &mut Known) -> Option<String> {
    let (account, params, state) = (call.account(), call.params, call.state());
    let listed = |kind: &str| {
        let prefix = params.text("PathPrefix").unwrap_or("/");
        format!("arn:aws:iam::{account}:{kind}{prefix}")
    };
    let path = params.text("Path").unwrap_or("/");
    let is_list = |member: &str| operation.name.starts_with("List") && params.text(member).is_none();
    let known = std::cell::RefCell::new(known);
    let described = |tags: &[(String, String)], boundary: Option<&str>| {
        let mut known = known.borrow_mut();
        known.add_tags(tags);
        if let Some(boundary) = boundary.filter(|_| TO_THE_BOUNDED.contains(&operation.name)) {
            known.add("iam:permissionsboundary", boundary);
        }
    };
    let user = |name: Option<&str>| {
        let own = call.identity.and_then(|identity| identity.subject.name.as_deref());
        let Some(name) = name.or(own) else { return call.identity.map(|identity| identity.arn.clone()) };
        let found = state.users.get(name);
        if let Some(user) = found {
            described(&user.tags, user.boundary.as_deref());
        }
        let path = found.map_or(path, |user| &user.path);
        Some(arn::user(account, path, found.map_or(name, |user| &user.name)))
    };
    match operation.on {
        On::Anybody | On::Trust => None,
        On::All if operation.handler == Some(Handler::GetFederationToken) => {
            Some(arn::federated(account, params.text("Name").unwrap_or_default()))
        }
        On::All => Some("*".to_owned()),
        On::Policies => Some(format!("policy path {}", params.text("PathPrefix").unwrap_or("/"))),
        On::User if operation.handler == Some(Handler::ListUsers) => Some(listed("user")),
        On::User => user(params.text("UserName")),
        On::UserOfKey => {
            let key = state.keys.get(params.text("AccessKeyId").unwrap_or_default());
            let name = key.map(|key| key.user.clone());
            if name.is_some() { user(name.as_deref()) } else { Some("*".to_owned()) }
        }
        On::Group if is_list("GroupName") => Some(listed("group")),
        On::Group => {
            let name = params.text("GroupName").unwrap_or_default();
            let found = state.groups.get(name);
            Some(arn::group(account, found.map_or(path, |group| &group.path), found.map_or(name, |group| &group.name)))
        }
        On::Role if is_list("RoleName") => Some(listed("role")),
        On::Role => {
            let name = params.text("RoleName").unwrap_or_default();
            let found = state.roles.get(name);
            if let Some(role) = found {
                described(&role.tags, role.boundary.as_deref());
            }
            Some(arn::role(account, found.map_or(path, |role| &role.path), found.map_or(name, |role| &role.name)))
        }
        On::Policy => Some(match params.text("PolicyArn") {
            Some(arn) => {
                if let Some(policy) = super::policies::find(account, &state, arn) {
                    described(&policy.tags, None);
                }
                arn.to_owned()
            }
            None => arn::policy(account, path, params.text("PolicyName").unwrap_or_default()),
        }),
        On::Provider => {
            let url = params.text("Url").unwrap_or_default();
            let Some(arn) = params.text("OpenIDConnectProviderArn") else {
                let name = super::handlers::name_of_url(url).unwrap_or_else(|_| url.to_owned());
                return Some(arn::provider(account, &name));
            };
            // Names have no case where they are looked up, and have one in policies: it is who is found that is judged.
            let name = arn::split(arn).and_then(|(_, resource)| resource.strip_prefix("oidc-provider/"));
            let Some(provider) = name.and_then(|name| state.providers.get(name)) else { return Some(arn.to_owned()) };
            described(&provider.tags, None);
            Some(arn::provider(account, &provider.name))
        }
        On::Source => {
            let arn = params.text("PolicySourceArn").unwrap_or("*");
            let name = arn::name_of(arn);
            let user = state.users.get(name).filter(|user| arn::user(account, &user.path, &user.name) == arn);
            let role = state.roles.get(name).filter(|role| arn::role(account, &role.path, &role.name) == arn);
            if let Some(tags) = user.map(|user| &user.tags).or(role.map(|role| &role.tags)) {
                described(tags, None);
            }
            Some(arn.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_found() {
        let mut known = Known::default();
        known.add("aws:TagKeys", "a");
        known.add("aws:TagKeys", "b");
        known.add("iam:PolicyARN", "arn");
        assert_eq!(known.find("iam:policyarn"), Found::One("arn".into()));
        assert_eq!(known.find("aws:tagkeys"), Found::Many(vec!["a".into(), "b".into()]));
        assert_eq!(known.find("other"), Found::None);
    }
}
