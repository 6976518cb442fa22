//! Whether the caller may do what it asks: the action, the resource's ARN, and what conditions may ask besides.
//! (Service authorization reference, "Actions, resources, and condition keys for AWS IAM", "... for AWS STS".)

use std::collections::BTreeMap;

use super::Call;
use super::failure::{Result, access_denied, unknown_client};
use super::handlers::{Handler, name_of_url};
use super::operation::{On, Operation, Service};
use super::params::Params;
use crate::iam::store::AccountState;
use crate::iam::{self, Circumstances, Identity, Permit, Question, arn};
use crate::policy::{Context, Found, SubjectKind};

/// Condition keys, in lower case, and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ContextKeys(BTreeMap<String, Vec<String>>);

impl ContextKeys {
    /// Adds a key. Its case is that of ASCII alone, as where policies ask for it.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into().to_ascii_lowercase()).or_default().push(value.into());
    }

    /// Adds the tags of the resource.
    pub fn add_tags(&mut self, tags: &[(String, String)]) {
        for (key, value) in tags {
            self.add(format!("aws:resourcetag/{key}"), value);
            self.add(format!("iam:resourcetag/{key}"), value);
        }
    }

    /// What is known of a resource with these tags.
    fn of_tags(tags: &[(String, String)]) -> Self {
        let mut keys = Self::default();
        keys.add_tags(tags);
        keys
    }

    /// What is known of a user or role with these tags and this boundary.
    fn of_resource(operation: &Operation, tags: &[(String, String)], boundary: Option<&str>) -> Self {
        let mut keys = Self::of_tags(tags);
        if let Some(boundary) = boundary.filter(|_| TO_THE_BOUNDED.contains(&operation.name)) {
            keys.add("iam:permissionsboundary", boundary);
        }
        keys
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

impl Context for ContextKeys {
    fn find(&self, key: &str) -> Found<'_> {
        Found::of_values(self.0.get(key).into_iter().flatten().map(Into::into))
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
/// (Service authorization reference, "Actions defined by AWS IAM": dependent actions; IAM user guide, "Pass session tags in AWS STS".)
const TAGGED_AT_BIRTH: &[(&str, &str)] = &[
    ("CreateInstanceProfile", "iam:TagInstanceProfile"),
    ("CreateOpenIDConnectProvider", "iam:TagOpenIDConnectProvider"),
    ("CreatePolicy", "iam:TagPolicy"),
    ("CreateRole", "iam:TagRole"),
    ("CreateUser", "iam:TagUser"),
    ("GetFederationToken", "sts:TagSession"),
];

/// Whether the caller may.
pub(super) fn authorize(call: &Call<'_>, operation: &'static Operation) -> Result<Permit> {
    let Some(identity) = call.identity else {
        // Whoever brings a web identity: the role's own document decides.
        return if operation.on == On::Trust { Ok(Permit::of_anybody()) } else { Err(unknown_client()) };
    };
    check_session(identity, operation)?;
    let state = call.state();
    let Some(asked) = access_request(operation, call.params, &state, identity) else { return Ok(Permit::of_anybody()) };
    let ask = |action, resource: &str, keys: &ContextKeys| {
        let context = circumstances(call, keys);
        let question = Question::new(Some(identity), action, resource, None);
        let judged = iam::authorize(&Question { context: &context, ..question });
        if let Some(explanation) = iam::explanation(&judged) {
            call.witness.see(|| explanation.clone());
        }
        judged
    };
    let permit = ask(operation.action, &asked.resource, &asked.keys)?;
    if let Some(moved) = &asked.moved {
        ask(operation.action, moved, &asked.keys)?;
    }
    if let Some(action) = asked.tagging {
        ask(action, &asked.resource, &asked.keys)?;
    }
    if let Some((role, keys)) = &asked.passed {
        ask("iam:PassRole", role, keys)?;
    }
    Ok(permit)
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
struct AccessRequest {
    /// The ARN of what it is asked of.
    resource: String,
    /// The ARN that this will have.
    moved: Option<String>,
    /// What else must be allowed, as tags are given.
    tagging: Option<&'static str>,
    /// The role that is passed to a service, which must be allowed as well, and what is known of it.
    passed: Option<(String, ContextKeys)>,
    keys: ContextKeys,
}

/// What is asked for, by the members that the operation has, whatever others there may be; `None`: nothing need be allowed.
fn access_request(
    operation: &Operation,
    params: &Params,
    state: &AccountState,
    identity: &Identity,
) -> Option<AccessRequest> {
    let (resource, mut keys) = resource(operation, params, state, identity)?;
    for (key, values) in requested(operation, params).0 {
        keys.0.entry(key).or_default().extend(values);
    }
    let tagging = TAGGED_AT_BIRTH.iter().find(|(made, _)| *made == operation.name).map(|(_, action)| *action);
    let tagging = tagging.filter(|_| keys.has("aws:tagkeys"));
    let account = identity.account.id.as_str();
    let (moved, passed) = (moved(operation, params, state, account), passed(operation, params, state, account));
    Some(AccessRequest { resource, moved, tagging, passed, keys })
}

/// The role that the request passes to instances. (API reference, AddRoleToInstanceProfile: the caller "must be granted the PassRole
/// permission on the IAM role", and a policy's `iam:AssociatedResourceArn` is that of all instances of the account.)
fn passed(
    operation: &Operation,
    params: &Params,
    state: &AccountState,
    account: &str,
) -> Option<(String, ContextKeys)> {
    let name = params.text("RoleName").filter(|_| operation.name == "AddRoleToInstanceProfile")?;
    let (arn, mut keys) = role(operation, state, account, name);
    keys.add("iam:passedtoservice", "ec2.amazonaws.com");
    keys.add("iam:associatedresourcearn", format!("arn:aws:ec2:*:{account}:instance/*"));
    Some((arn, keys))
}

/// The ARN that a user or a group will have that gets another name or path. (API reference, UpdateUser and UpdateGroup: "the entity
/// making the request must have appropriate permissions on both the source object and the target object".)
fn moved(operation: &Operation, params: &Params, state: &AccountState, account: &str) -> Option<String> {
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

/// What the request itself says, of those keys that the operation has.
fn requested(operation: &Operation, params: &Params) -> ContextKeys {
    let (name, mut keys) = (operation.name, ContextKeys::default());
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let makes_tagged = TAGGED_AT_BIRTH.iter().any(|(made, _)| *made == name);
    if makes_tagged || begins(&["Tag"]) {
        // Tags that are not well-formed are refused by the handler.
        for (key, value) in params.tags("Tags").unwrap_or_default() {
            keys.add(format!("aws:requesttag/{key}"), value);
            keys.add("aws:tagkeys", key);
        }
    }
    if begins(&["Untag"]) {
        params.tag_keys("TagKeys").unwrap_or_default().into_iter().for_each(|key| keys.add("aws:tagkeys", key));
    }
    let sets_boundary = ["CreateRole", "CreateUser"].contains(&name) || name.ends_with("PermissionsBoundary");
    if let Some(boundary) = params.text("PermissionsBoundary").filter(|_| sets_boundary && !begins(&["Delete"])) {
        keys.add("iam:permissionsboundary", boundary);
    }
    if let Some(policy) = params.text("PolicyArn").filter(|_| begins(&["Attach", "Detach"])) {
        keys.add("iam:policyarn", policy);
    }
    keys
}

/// Temporary credentials of a user's or root's own may not call IAM, nor most of STS.
/// (IAM user guide, "Compare AWS STS credentials".)
fn check_session(identity: &Identity, operation: &Operation) -> Result<()> {
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

/// The ARN of what is asked of, and what conditions may ask of it; `None`: nothing need be allowed.
fn resource(
    operation: &Operation,
    params: &Params,
    state: &AccountState,
    identity: &Identity,
) -> Option<(String, ContextKeys)> {
    let account = identity.account.id.as_str();
    let text = |member: &str| params.text(member).unwrap_or_default();
    let path = || params.text("Path").unwrap_or("/");
    let prefix = || params.text("PathPrefix").unwrap_or("/");
    let plain = |arn: String| (arn, ContextKeys::default());
    Some(match operation.on {
        On::Anybody | On::Trust => return None,
        On::All => plain("*".to_owned()),
        On::FederatedUser => plain(arn::federated(account, text("Name"))),
        On::Groups => plain(arn::group(account, prefix(), "")),
        On::Policies => plain(format!("policy path {}", prefix())),
        On::Roles => plain(arn::role(account, prefix(), "")),
        On::Users => plain(arn::user(account, prefix(), "")),
        On::InstanceProfile => instance_profile(state, account, text("InstanceProfileName")),
        On::InstanceProfiles => plain(arn::instance_profile(account, prefix(), "")),
        On::NewInstanceProfile => plain(arn::instance_profile(account, path(), text("InstanceProfileName"))),
        On::NewGroup => plain(arn::group(account, path(), text("GroupName"))),
        On::NewPolicy => plain(arn::policy(account, path(), text("PolicyName"))),
        On::NewProvider => {
            let url = text("Url");
            plain(arn::provider(account, &name_of_url(url).unwrap_or_else(|_| url.to_owned())))
        }
        On::NewRole => plain(arn::role(account, path(), text("RoleName"))),
        On::NewUser => plain(arn::user(account, path(), text("UserName"))),
        On::Group => {
            let name = text("GroupName");
            let found = state.groups.get(name);
            plain(found.map_or_else(|| arn::group(account, "/", name), |of| arn::group(account, &of.path, &of.name)))
        }
        On::User => match params.text("UserName").or(identity.subject.name.as_deref()) {
            Some(name) => user(operation, state, account, name),
            None => plain(identity.arn.clone()),
        },
        On::UserOfKey => match state.keys.get(text("AccessKeyId")) {
            Some(key) => user(operation, state, account, &key.user),
            None => plain("*".to_owned()),
        },
        On::Role => role(operation, state, account, text("RoleName")),
        On::Policy => policy(state, account, text("PolicyArn")),
        On::Provider => provider(state, account, text("OpenIDConnectProviderArn")),
        On::Source => source(state, account, params.text("PolicySourceArn").unwrap_or("*")),
    })
}

fn user(operation: &Operation, state: &AccountState, account: &str, name: &str) -> (String, ContextKeys) {
    let Some(user) = state.users.get(name) else { return (arn::user(account, "/", name), ContextKeys::default()) };
    let keys = ContextKeys::of_resource(operation, &user.tags, user.boundary.as_deref());
    (arn::user(account, &user.path, &user.name), keys)
}

fn role(operation: &Operation, state: &AccountState, account: &str, name: &str) -> (String, ContextKeys) {
    let Some(role) = state.roles.get(name) else { return (arn::role(account, "/", name), ContextKeys::default()) };
    let keys = ContextKeys::of_resource(operation, &role.tags, role.boundary.as_deref());
    (arn::role(account, &role.path, &role.name), keys)
}

fn instance_profile(state: &AccountState, account: &str, name: &str) -> (String, ContextKeys) {
    let Some(profile) = state.profiles.get(name) else {
        return (arn::instance_profile(account, "/", name), ContextKeys::default());
    };
    (arn::instance_profile(account, &profile.path, &profile.name), ContextKeys::of_tags(&profile.tags))
}

fn policy(state: &AccountState, account: &str, policy_arn: &str) -> (String, ContextKeys) {
    let tags = super::policies::find(account, state, policy_arn).map(|policy| &policy.tags[..]);
    (policy_arn.to_owned(), ContextKeys::of_tags(tags.unwrap_or_default()))
}

fn provider(state: &AccountState, account: &str, provider_arn: &str) -> (String, ContextKeys) {
    // Names have no case where they are looked up, and have one in policies: it is who is found that is judged.
    let name = arn::split(provider_arn).and_then(|(_, resource)| resource.strip_prefix("oidc-provider/"));
    match name.and_then(|name| state.providers.get(name)) {
        Some(provider) => (arn::provider(account, &provider.name), ContextKeys::of_tags(&provider.tags)),
        None => (provider_arn.to_owned(), ContextKeys::default()),
    }
}

fn source(state: &AccountState, account: &str, source_arn: &str) -> (String, ContextKeys) {
    let name = arn::name_of(source_arn);
    let user = state.users.get(name).filter(|user| arn::user(account, &user.path, &user.name) == source_arn);
    let role = state.roles.get(name).filter(|role| arn::role(account, &role.path, &role.name) == source_arn);
    let tags = user.map(|user| &user.tags[..]).or(role.map(|role| &role.tags[..]));
    (source_arn.to_owned(), ContextKeys::of_tags(tags.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::operation::OPERATIONS;
    use super::*;
    use crate::iam::Account;
    use crate::iam::store::records::{
        Grants, GroupRecord, InstanceProfileRecord, KeyRecord, PolicyRecord, ProviderRecord, RoleRecord, UserRecord,
    };
    use crate::policy::Subject;

    const ACCOUNT: &str = "111122223333";
    /// The id of the access key that there is.
    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

    /// One of each kind, all called `dev`, with a tag.
    fn state() -> AccountState {
        let (id, name, path) = (String::new(), "dev".to_owned(), "/dev/".to_owned());
        let (grants, tags) = (Grants::default(), vec![("own".to_owned(), "yes".to_owned())]);
        let boundary = Some(arn::policy(ACCOUNT, "/dev/", "dev"));
        let mut state = AccountState::default();
        state.users.insert(UserRecord {
            id: id.clone(),
            name: name.clone(),
            path: path.clone(),
            created: 0,
            grants: grants.clone(),
            groups: Vec::new(),
            boundary: boundary.clone(),
            tags: tags.clone(),
        });
        state.groups.insert(GroupRecord {
            id: id.clone(),
            name: name.clone(),
            path: path.clone(),
            created: 0,
            grants: grants.clone(),
        });
        state.roles.insert(RoleRecord {
            id: id.clone(),
            name: name.clone(),
            path: path.clone(),
            created: 0,
            grants,
            trust: String::new(),
            boundary,
            tags: tags.clone(),
            description: None,
            max_session: 3600,
        });
        state.profiles.insert(InstanceProfileRecord {
            id: id.clone(),
            name: name.clone(),
            path: path.clone(),
            created: 0,
            role: None,
            tags: tags.clone(),
        });
        state.policies.insert(PolicyRecord {
            id,
            name: name.clone(),
            path,
            created: 0,
            updated: 0,
            description: None,
            versions: Vec::new(),
            default: 1,
            last: 1,
            tags: tags.clone(),
        });
        let sealed = Vec::new().into();
        state.keys.insert(KeyRecord { id: KEY.to_owned(), user: name, sealed, active: true, created: 0 });
        let name = "dev.example.com".to_owned();
        state.providers.insert(ProviderRecord { name, clients: Vec::new(), thumbprints: Vec::new(), created: 0, tags });
        state
    }

    fn asker() -> Identity {
        let account = Account {
            id: ACCOUNT.to_owned(),
            canonical_id: "c".repeat(64),
            display_name: "root".to_owned(),
            email: String::new(),
        };
        let mut subject = Subject::new(SubjectKind::User, ACCOUNT, arn::user(ACCOUNT, "/", "me"), "AIDA");
        subject.name = Some("me".to_owned());
        Identity::new(&Arc::new(account), &Arc::new(subject), KEY)
    }

    fn asked_by(operation: &Operation, form: &str) -> Option<AccessRequest> {
        access_request(operation, &Params::parse(form).unwrap(), &state(), &asker())
    }

    /// How a form gives a member.
    fn given(member: &str) -> String {
        let value = match member {
            "UserName" | "GroupName" | "InstanceProfileName" | "RoleName" => "dev",
            "PolicyArn" | "PermissionsBoundary" => "arn:aws:iam::111122223333:policy/dev/dev",
            "OpenIDConnectProviderArn" => "arn:aws:iam::111122223333:oidc-provider/dev.example.com",
            "PolicySourceArn" => "arn:aws:iam::111122223333:user/dev/dev",
            "AccessKeyId" => KEY,
            "Path" | "PathPrefix" | "NewPath" => "/other/",
            "Url" => "https://other.example.com",
            "Tags" => return "Tags.member.1.Key=k&Tags.member.1.Value=v".to_owned(),
            "TagKeys" => return "TagKeys.member.1=k".to_owned(),
            _ => "other",
        };
        format!("{member}={value}")
    }

    #[test]
    fn members_that_an_operation_does_not_have_change_nothing() {
        let all: BTreeSet<&str> = OPERATIONS.iter().flat_map(|operation| operation.members).copied().collect();
        for operation in OPERATIONS.iter().filter(|operation| operation.handler.is_some()) {
            // With all members that it has, and with all but one of them.
            for left_out in operation.members.iter().map(Some).chain([None]) {
                let members = operation.members.iter().filter(|member| Some(*member) != left_out);
                let form = members.map(|member| given(member)).collect::<Vec<_>>().join("&");
                let expected = asked_by(operation, &form);
                for other in all.iter().filter(|member| !operation.members.contains(member)) {
                    let more = asked_by(operation, &format!("{form}&{}", given(other)));
                    assert_eq!(more, expected, "{} {form} {other}", operation.name);
                }
            }
        }
    }

    #[test]
    fn what_is_asked_of_is_told_by_the_operation() {
        for (name, form, expected) in [
            ("CreatePolicy", "PolicyName=x&Path=/a/&PolicyArn=arn:aws:iam::111122223333:policy/dev/dev", "policy/a/x"),
            ("CreateUser", "UserName=dev&Path=/a/", "user/a/dev"),
            ("CreateGroup", "GroupName=dev", "group/dev"),
            ("CreateRole", "RoleName=DEV&Path=/a/", "role/a/DEV"),
            (
                "CreateOpenIDConnectProvider",
                "Url=https://x.example.com&OpenIDConnectProviderArn=arn:aws:iam::111122223333:oidc-provider/dev.example.com",
                "oidc-provider/x.example.com",
            ),
            ("ListRoles", "RoleName=dev", "role/"),
            ("ListGroups", "GroupName=dev&PathPrefix=/a/", "group/a/"),
            ("ListUsers", "UserName=dev&PathPrefix=/a", "user/a"),
            ("GetUser", "UserName=DEV", "user/dev/dev"),
            ("GetUser", "UserName=nobody&Path=/dev/", "user/nobody"),
            ("GetUser", "", "user/me"),
            ("GetGroup", "GroupName=Dev", "group/dev/dev"),
            ("GetRole", "RoleName=Dev", "role/dev/dev"),
            ("CreateInstanceProfile", "InstanceProfileName=dev&Path=/a/", "instance-profile/a/dev"),
            ("GetInstanceProfile", "InstanceProfileName=Dev", "instance-profile/dev/dev"),
            ("AddRoleToInstanceProfile", "InstanceProfileName=Dev&RoleName=x", "instance-profile/dev/dev"),
            ("ListInstanceProfiles", "InstanceProfileName=dev&PathPrefix=/a/", "instance-profile/a/"),
            ("ListInstanceProfilesForRole", "RoleName=Dev", "role/dev/dev"),
            ("GetAccessKeyLastUsed", "AccessKeyId=AKIAIOSFODNN7EXAMPLE", "user/dev/dev"),
            (
                "GetOpenIDConnectProvider",
                "OpenIDConnectProviderArn=arn:aws:iam::111122223333:oidc-provider/DEV.example.com",
                "oidc-provider/dev.example.com",
            ),
        ] {
            let asked = asked_by(Operation::by_name(name).unwrap(), form).unwrap();
            assert_eq!(asked.resource, format!("arn:aws:iam::{ACCOUNT}:{expected}"), "{name} {form}");
        }
        let asked = asked_by(Operation::by_name("GetFederationToken").unwrap(), "Name=bob").unwrap();
        assert_eq!((&*asked.resource, asked.tagging), ("arn:aws:sts::111122223333:federated-user/bob", None));
    }

    #[test]
    fn a_role_is_passed_to_instances_by_who_puts_it_into_a_profile() {
        let form = "InstanceProfileName=dev&RoleName=DEV";
        let passed = |name: &str| asked_by(Operation::by_name(name).unwrap(), form).unwrap().passed;
        let (role, keys) = passed("AddRoleToInstanceProfile").unwrap();
        assert_eq!(role, "arn:aws:iam::111122223333:role/dev/dev");
        for (key, value) in [
            ("iam:passedtoservice", "ec2.amazonaws.com"),
            ("iam:associatedresourcearn", "arn:aws:ec2:*:111122223333:instance/*"),
            ("iam:resourcetag/own", "yes"),
        ] {
            assert_eq!(keys.find(key), Found::One(value.into()), "{key}");
        }
        assert_eq!(passed("RemoveRoleFromInstanceProfile"), None);
    }

    #[test]
    fn giving_tags_is_asked_for_too() {
        for (name, expected) in TAGGED_AT_BIRTH {
            let operation = Operation::by_name(name).unwrap();
            let form = given("Tags");
            let asked = asked_by(operation, &form).unwrap();
            assert_eq!(asked.tagging, Some(*expected));
            assert_eq!(asked.keys.find("aws:requesttag/k"), Found::One("v".into()));
        }
    }

    #[test]
    fn keys_are_found_whatever_their_case_in_ascii() {
        let mut keys = ContextKeys::default();
        keys.add("aws:TagKeys", "a");
        keys.add("aws:TagKeys", "b");
        keys.add("iam:PolicyARN", "arn");
        keys.add("aws:RequestTag/\u{c4}B", "x");
        assert_eq!(keys.find("iam:policyarn"), Found::One("arn".into()));
        assert_eq!(keys.find("aws:tagkeys"), Found::Many(vec!["a".into(), "b".into()]));
        assert_eq!(keys.find("aws:requesttag/\u{c4}b"), Found::One("x".into()));
        assert_eq!(keys.find("other"), Found::None);
    }
}
