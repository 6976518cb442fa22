//! Whether the caller may do what it asks: the action, the resource's ARN, and what conditions may ask besides.
//! (Service authorization reference, "Actions, resources, and condition keys for AWS IAM", "... for AWS STS".)

use super::Call;
use super::failure::{Result, access_denied, unknown_client};
use super::handlers::Handler;
use super::operation::{On, Operation, Service};
use crate::iam::{self, Circumstances, Permit, Question, arn};
use crate::policy::{Context, Found, SubjectKind};

/// Condition keys, in lower case, and their values; a key that stands there twice has two.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<(String, String)>);

impl Known {
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push((key.into().to_lowercase(), value.into()));
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

/// Whether the caller may.
pub(super) fn authorize(call: &Call<'_>, operation: &'static Operation) -> Result<Permit> {
    let Some(identity) = call.identity else {
        // Whoever brings a web identity: the role's own document decides.
        return if operation.on == On::Trust { Ok(Permit::of_anybody()) } else { Err(unknown_client()) };
    };
    check_session(identity, operation)?;
    let mut known = Known::default();
    // Tags that are not well-formed are refused by the handler.
    for (key, value) in call.params.tags("Tags").unwrap_or_default() {
        known.add(format!("aws:requesttag/{key}"), value);
        known.add("aws:tagkeys", key);
    }
    for key in call.params.list("TagKeys") {
        known.add("aws:tagkeys", key);
    }
    if let Some(boundary) = call.params.text("PermissionsBoundary") {
        known.add("iam:permissionsboundary", boundary);
    }
    if let Some(policy) = call.params.text("PolicyArn") {
        known.add("iam:policyarn", policy);
    }
    let Some(resource) = resource(call, operation, &mut known) else { return Ok(Permit::of_anybody()) };
    let context = circumstances(call, &known);
    let question = Question::new(Some(identity), operation.action, &resource, None);
    let judged = iam::authorize(&Question { context: &context, ..question });
    if let Some(explanation) = iam::explanation(&judged) {
        call.witness.see(|| explanation.clone());
    }
    Ok(judged?)
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
    let mut tagged = |tags: &[(String, String)]| {
        for (key, value) in tags {
            known.add(format!("aws:resourcetag/{key}"), value);
            known.add(format!("iam:resourcetag/{key}"), value);
        }
    };
    let mut user = |name: Option<&str>| {
        let own = call.identity.and_then(|identity| identity.subject.name.as_deref());
        let Some(name) = name.or(own) else { return call.identity.map(|identity| identity.arn.clone()) };
        let found = state.users.get(name);
        if let Some(user) = found {
            tagged(&user.tags);
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
                tagged(&role.tags);
            }
            Some(arn::role(account, found.map_or(path, |role| &role.path), found.map_or(name, |role| &role.name)))
        }
        On::Policy => Some(match params.text("PolicyArn") {
            Some(arn) => {
                if let Some(policy) = super::policies::find(account, &state, arn) {
                    tagged(&policy.tags);
                }
                arn.to_owned()
            }
            None => arn::policy(account, path, params.text("PolicyName").unwrap_or_default()),
        }),
        On::Provider => {
            let url = params.text("Url").unwrap_or_default();
            let new = || arn::provider(account, url.trim_start_matches("https://").trim_end_matches('/'));
            Some(params.text("OpenIDConnectProviderArn").map_or_else(new, str::to_owned))
        }
        On::Source => Some(params.text("PolicySourceArn").unwrap_or("*").to_owned()),
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
