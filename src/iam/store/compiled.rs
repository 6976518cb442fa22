//! An account's identities as authorisation takes them: policies compiled, groups and attachments resolved.

use std::collections::HashMap;
use std::sync::Arc;

use super::records::{Grants, RoleRecord, UserRecord};
use super::state::{AccountState, Holder};
use crate::iam::arn;
use crate::iam::managed;
use crate::policy::{Attached, Kind, Policy, Subject, SubjectKind};

/// An account's identities, compiled.
#[derive(Debug, Default)]
pub struct Compiled {
    /// What they were compiled from.
    pub state: Arc<AccountState>,
    /// The users, by name in lower case.
    users: HashMap<String, Arc<Subject>>,
    /// The roles, by name in lower case.
    roles: HashMap<String, Arc<RoleView>>,
    /// Inline policies of each holder.
    inline: HashMap<(Holder, String), Arc<[Attached]>>,
    /// The default version of each managed policy, by name in lower case.
    managed: HashMap<String, Arc<Policy>>,
    /// The users, by unique id.
    users_by_id: HashMap<String, Arc<UserRecord>>,
    /// The roles, by unique id.
    roles_by_id: HashMap<String, Arc<RoleRecord>>,
}

/// A role, compiled.
#[derive(Debug)]
pub struct RoleView {
    /// Its ARN.
    pub arn: String,
    /// Who may assume it.
    pub trust: Arc<Policy>,
    /// What its sessions may do.
    pub policies: Vec<Attached>,
    /// What bounds them.
    pub boundary: Option<Attached>,
}

impl Compiled {
    /// Compiles `state`; what it has in common with `old` is taken over.
    pub fn new(account: &str, state: AccountState, old: &Self) -> Self {
        let mut new = Self { state: Arc::new(state), ..Self::default() };
        let state = Arc::clone(&new.state);
        for policy in state.policies.iter() {
            let same = old.state.policies.get(&policy.name).is_some_and(|was| Arc::ptr_eq(was, policy));
            let key = policy.name.to_lowercase();
            let kept = old.managed.get(&key).filter(|_| same).cloned();
            let document = policy.versions.iter().find(|version| version.number == policy.default);
            let compiled =
                kept.unwrap_or_else(|| compile(document.map_or("", |version| &version.document), Kind::Identity));
            new.managed.insert(key, compiled);
        }
        for group in state.groups.iter() {
            let same = old.state.groups.get(&group.name).is_some_and(|was| Arc::ptr_eq(was, group));
            new.compile_inline(Holder::Group, &group.name, &group.grants, Some(old).filter(|_| same));
        }
        let same_ground = state.groups.is_same(&old.state.groups) && state.policies.is_same(&old.state.policies);
        for user in state.users.iter() {
            let same = old.state.users.get(&user.name).is_some_and(|was| Arc::ptr_eq(was, user));
            new.compile_inline(Holder::User, &user.name, &user.grants, Some(old).filter(|_| same));
            let key = user.name.to_lowercase();
            let kept = old.users.get(&key).filter(|_| same && same_ground).cloned();
            let subject = kept.unwrap_or_else(|| Arc::new(new.compile_user(account, user)));
            new.users.insert(key, subject);
            new.users_by_id.insert(user.id.clone(), Arc::clone(user));
        }
        for role in state.roles.iter() {
            let same = old.state.roles.get(&role.name).is_some_and(|was| Arc::ptr_eq(was, role));
            new.compile_inline(Holder::Role, &role.name, &role.grants, Some(old).filter(|_| same));
            let key = role.name.to_lowercase();
            let kept = old.roles.get(&key).filter(|_| same && same_ground).cloned();
            let view = kept.unwrap_or_else(|| {
                let policies = new.policies_of(account, Holder::Role, &role.name, &role.grants);
                let boundary = role.boundary.as_deref().map(|arn| new.bound_by(account, arn));
                let arn = arn::role(account, &role.path, &role.name);
                Arc::new(RoleView { arn, trust: compile(&role.trust, Kind::Trust), policies, boundary })
            });
            new.roles.insert(key, view);
            new.roles_by_id.insert(role.id.clone(), Arc::clone(role));
        }
        new
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&Arc<Subject>> {
        self.users.get(&name.to_lowercase())
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Arc<RoleView>> {
        self.roles.get(&name.to_lowercase())
    }

    /// The user with this unique id.
    pub fn user_by_id(&self, id: &str) -> Option<&Arc<UserRecord>> {
        self.users_by_id.get(id)
    }

    /// The role with this unique id.
    pub fn role_by_id(&self, id: &str) -> Option<&Arc<RoleRecord>> {
        self.roles_by_id.get(id)
    }

    /// The managed policy with this ARN, AWS's or one of `account`'s.
    pub fn managed(&self, account: &str, policy_arn: &str) -> Option<Arc<Policy>> {
        if let Some(of_aws) = managed::find(policy_arn) {
            return Some(Arc::clone(of_aws.policy()));
        }
        let record = self.state.policies.get(arn::name_of(policy_arn))?;
        (arn::policy(account, &record.path, &record.name) == policy_arn).then_some(())?;
        self.managed.get(&record.name.to_lowercase()).cloned()
    }

    /// The policies of a group.
    pub fn policies_of_group(&self, account: &str, name: &str) -> Vec<Attached> {
        let group = self.state.groups.get(name);
        group.map(|group| self.policies_of(account, Holder::Group, &group.name, &group.grants)).unwrap_or_default()
    }

    fn compile_inline(&mut self, holder: Holder, name: &str, grants: &Grants, old: Option<&Self>) {
        let key = (holder, name.to_lowercase());
        let kept = old.and_then(|old| old.inline.get(&key)).cloned();
        let inline = kept.unwrap_or_else(|| {
            let compiled = grants.inline.iter().map(|(policy, text)| Attached {
                id: format!("{}_{name}_{policy}", holder.as_str()),
                policy: compile(text, Kind::Identity),
            });
            compiled.collect()
        });
        self.inline.insert(key, inline);
    }

    fn compile_user(&self, account: &str, user: &UserRecord) -> Subject {
        let arn = arn::user(account, &user.path, &user.name);
        let mut subject = Subject::new(SubjectKind::User, account, arn, user.id.as_str());
        subject.name = Some(user.name.clone());
        subject.tags.clone_from(&user.tags);
        subject.policies = self.policies_of(account, Holder::User, &user.name, &user.grants);
        for group in user.groups.iter().filter_map(|group| self.state.groups.get(group)) {
            subject.policies.extend(self.policies_of(account, Holder::Group, &group.name, &group.grants));
        }
        subject.boundary = user.boundary.as_deref().map(|arn| self.bound_by(account, arn));
        subject
    }

    fn policies_of(&self, account: &str, holder: Holder, name: &str, grants: &Grants) -> Vec<Attached> {
        let inline = self.inline.get(&(holder, name.to_lowercase()));
        let mut policies: Vec<Attached> = inline.map(|inline| inline.to_vec()).unwrap_or_default();
        for arn in &grants.attached {
            let policy = self.managed(account, arn).unwrap_or_else(deny_all);
            policies.push(Attached { id: arn.clone(), policy });
        }
        policies
    }

    fn bound_by(&self, account: &str, arn: &str) -> Attached {
        Attached { id: arn.to_owned(), policy: self.managed(account, arn).unwrap_or_else(deny_all) }
    }
}

impl Holder {
    /// As ids of inline policies begin.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
        }
    }
}

/// Documents were read before they were stored; one that cannot be read any more allows nothing, and lets nothing be
/// allowed, for it may have been a denial.
fn compile(text: &str, kind: Kind<'_>) -> Arc<Policy> {
    let unread = |error| {
        tracing::error!(%error, "a stored policy cannot be read; it counts as one that denies everything");
        deny_all()
    };
    Policy::parse(text, kind).map_or_else(unread, Arc::new)
}

fn deny_all() -> Arc<Policy> {
    const TEXT: &str = r#"{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#;
    Arc::new(Policy::parse(TEXT, Kind::Identity).expect("it is a policy"))
}
