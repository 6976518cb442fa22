//! Who asks, with all that is known and allowed of them: made once when they are looked up, judged at every request.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::condition::Condition;
use super::document::{Policy, Statement};
use super::evaluate::{Decision, Grant, List, Policies, Source, decide};
use super::request::{Context, Found, Principal, Request};
use crate::clock::{Timestamp, iso8601};

/// A principal, its policies, and what conditions may ask of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its account's id; empty of nobody.
    pub account: String,
    /// Its ARN; `anonymous` of nobody.
    pub arn: String,
    /// `aws:userid`: the account's id of a root, `AIDA...` of a user, `AROA...:SESSION` of a role's session.
    pub id: String,
    /// What policies name it by, where that is another id: of a federated session, `AIDA...:NAME` of the user who asked for it.
    pub named: Option<String>,
    /// `aws:username`, of users alone.
    pub name: Option<String>,
    /// `aws:PrincipalTag`, of the user, or of role and session together.
    pub tags: Vec<(String, String)>,
    /// The policies attached to it and to its groups.
    pub policies: Vec<Attached>,
    /// Its permissions boundary.
    pub boundary: Option<Attached>,
    /// What temporary credentials add.
    pub session: Option<Session>,
    /// Tells apart what was looked up at different times or for different sessions: caches of decisions go by it.
    pub stamp: u64,
}

impl Default for Subject {
    fn default() -> Self {
        Self::anonymous()
    }
}

/// What a principal is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SubjectKind {
    /// Nobody signed.
    Anonymous,
    /// An account's root.
    Root,
    /// A user.
    User,
    /// A session of the role with this ARN.
    Role(String),
    /// A federated session of the user with this ARN.
    Federated(String),
    /// Somebody for whom the identity provider with this ARN vouches, and who has no credentials here yet.
    WebIdentity(String),
    /// An AWS service of this name, such as `s3.amazonaws.com`, of its own accord. Nobody who signs is one, whatever their name.
    Service(String),
}

/// A policy and what it is known by.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// A managed policy's ARN, or `user_NAME_POLICY` (`group_`, `role_`) of an inline one.
    pub id: String,
    /// The policy, compiled.
    pub policy: Arc<Policy>,
}

/// What temporary credentials know of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Bound what the session may do; `None`: nothing does.
    pub policies: Option<Vec<Attached>>,
    /// `aws:TokenIssueTime`.
    pub issued: Timestamp,
    /// `aws:SourceIdentity`.
    pub source_identity: Option<String>,
    /// `aws:FederatedProvider`: who vouched for a web identity.
    pub provider: Option<String>,
}

/// What is asked of a resource.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The IAM action, such as `s3:GetObject`.
    pub action: &'a str,
    /// The resource's ARN.
    pub resource: &'a str,
    /// The account that it belongs to.
    pub owner: &'a str,
    /// Its own policy.
    pub policy: Option<&'a Policy>,
    /// Whether nothing is allowed that its own policy does not allow, as for KMS keys and roles.
    pub policy_must_allow: bool,
    /// The request's circumstances.
    pub context: &'a dyn Context,
}

impl Subject {
    /// A principal of which nothing is known but what it is; the rest is to be filled in.
    pub fn new(kind: SubjectKind, account: impl Into<String>, arn: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind,
            account: account.into(),
            arn: arn.into(),
            id: id.into(),
            named: None,
            name: None,
            tags: Vec::new(),
            policies: Vec::new(),
            boundary: None,
            session: None,
            stamp: next_stamp(),
        }
    }

    /// The same principal by temporary credentials, which know this of themselves.
    #[must_use]
    pub fn in_session(self, session: Session) -> Self {
        Self { session: Some(session), stamp: next_stamp(), ..self }
    }

    /// Nobody.
    pub fn anonymous() -> Self {
        Self { stamp: 0, ..Self::new(SubjectKind::Anonymous, "", "anonymous", "anonymous") }
    }

    /// The root of `account`. All of them are the same, whoever asks.
    pub fn root(account: &str) -> Self {
        Self { stamp: 0, ..Self::new(SubjectKind::Root, account, format!("arn:aws:iam::{account}:root"), account) }
    }

    /// The service `name`, at work for `account`, to which it does not belong. All of one name are the same.
    pub fn service(name: &str, account: &str) -> Self {
        Self { stamp: 0, ..Self::new(SubjectKind::Service(name.to_owned()), account, name, name) }
    }

    /// Whether it is an account's root.
    pub fn is_root(&self) -> bool {
        self.kind == SubjectKind::Root
    }

    /// Whether this is its unique id, or that of the role whose session it is.
    pub fn has_id(&self, id: &str) -> bool {
        let of_role = || self.id.strip_prefix(id).is_some_and(|rest| rest.starts_with(':'));
        self.id == id || (matches!(self.kind, SubjectKind::Role(_)) && of_role())
    }

    /// As policies name it.
    pub fn principal(&self) -> Principal<'_> {
        let (account, arn) = (self.account.as_str(), self.arn.as_str());
        let id = self.named.as_ref().unwrap_or(&self.id);
        match &self.kind {
            SubjectKind::Anonymous => Principal::Anonymous,
            SubjectKind::Root => Principal::Root { account, arn },
            SubjectKind::User => Principal::User { account, arn, id },
            SubjectKind::Role(role) => Principal::Session { account, arn, role, id },
            SubjectKind::Federated(user) => Principal::Session { account, arn, role: user, id },
            SubjectKind::WebIdentity(provider) => Principal::Federated(provider),
            SubjectKind::Service(name) => Principal::Service(name),
        }
    }

    /// Every policy of its own: identity, boundary and session policies.
    pub fn all_policies(&self) -> impl Iterator<Item = &Attached> {
        let session = self.session.as_ref().and_then(|session| session.policies.as_ref());
        self.policies.iter().chain(&self.boundary).chain(session.into_iter().flatten())
    }

    /// Whether something in its policies asks for a key (in lower case) that is `wanted`.
    pub fn asks_for_some(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.all_policies().any(|attached| attached.policy.asks_for_some(&wanted))
    }

    /// Whether it may do what `ask` says: the one place where identity, boundary, session and resource policies meet. `tests/architecture.rs` has the
    /// list of those who may ask, as of all that decides beside `iam::authorize`.
    pub fn judge_ask<'p>(&'p self, ask: &Ask<'p>) -> Decision<'p> {
        self.judge_beside(ask, Grant::None, false)
    }

    /// The same, where an access control list gives something beside, and the resource's policy may be another's than its
    /// owner's: [`Policies::resource_only_denies`].
    pub(crate) fn judge_beside<'p>(&'p self, ask: &Ask<'p>, acl: Grant, policy_only_denies: bool) -> Decision<'p> {
        let session = self.session.as_ref().and_then(|session| session.policies.as_deref());
        let policies = Policies {
            resource: ask.policy,
            resource_only_denies: policy_only_denies,
            acl,
            resource_must_allow: ask.policy_must_allow,
            identity: List::Attached(&self.policies),
            boundary: self.boundary.as_ref().map(|boundary| &*boundary.policy),
            session: session.map(List::Attached),
        };
        let Ask { action, resource, owner, context, .. } = *ask;
        decide(&policies, &Request { principal: self.principal(), action, resource, owner, context })
    }
}

impl Statement {
    /// The condition keys that it asks for, in lower case.
    pub fn condition_keys(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().map(Condition::key)
    }
}

/// A number that no subject has had.
fn next_stamp() -> u64 {
    static STAMPS: AtomicU64 = AtomicU64::new(1);
    STAMPS.fetch_add(1, Ordering::Relaxed)
}

/// A statement that is about what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Concerned<'p> {
    /// Which kind of policy it stands in.
    pub source: Source,
    /// What the policy is known by; `None`: it is the resource's own.
    pub policy: Option<&'p str>,
    /// Its place in the policy, from 1.
    pub number: usize,
    /// The statement.
    pub statement: &'p Statement,
}

impl Subject {
    /// All statements that are about `ask`, whether or not they decided.
    pub fn concerned<'p>(&'p self, ask: &Ask<'p>) -> Vec<Concerned<'p>> {
        let Ask { action, resource, owner, context, .. } = *ask;
        let request = Request { principal: self.principal(), action, resource, owner, context };
        let session = self.session.as_ref().and_then(|session| session.policies.as_deref()).unwrap_or_default();
        let of = |source, attached: &'p [Attached]| {
            attached.iter().map(move |attached| (source, Some(attached.id.as_str()), &*attached.policy))
        };
        let all = ask
            .policy
            .map(|policy| (Source::Resource, None, policy))
            .into_iter()
            .chain(of(Source::Identity, &self.policies))
            .chain(of(Source::Boundary, self.boundary.as_slice()))
            .chain(of(Source::Session, session));
        let bounded = self.boundary.is_some();
        let mut concerned = Vec::new();
        for (source, policy, document) in all {
            let statements = document.statements().iter().enumerate();
            concerned.extend(
                statements
                    .filter(|(_, statement)| statement.concerns(&request, bounded))
                    .map(|(index, statement)| Concerned { source, policy, number: index + 1, statement }),
            );
        }
        concerned
    }
}

/// The condition keys about the principal. (IAM user guide, "AWS global condition context keys": properties of the
/// principal, and of the role session.)
impl Context for Subject {
    fn find(&self, key: &str) -> Found<'_> {
        let service = if let SubjectKind::Service(name) = &self.kind { Some(name.as_str()) } else { None };
        let known = service.is_none() && !matches!(self.kind, SubjectKind::Anonymous | SubjectKind::WebIdentity(_));
        let session = self.session.as_ref();
        match key {
            // Of a role's session the role is the principal.
            "aws:principalarn" => Found::of(
                Some(match &self.kind {
                    SubjectKind::Role(role) => role.as_str(),
                    _ => self.arn.as_str(),
                })
                .filter(|_| known),
            ),
            "aws:principalaccount" => Found::of(Some(self.account.as_str()).filter(|_| known)),
            "aws:principaltype" => Found::of(match &self.kind {
                SubjectKind::Anonymous => Some("Anonymous"),
                SubjectKind::Root => Some("Account"),
                SubjectKind::User => Some("User"),
                SubjectKind::Role(_) => Some("AssumedRole"),
                SubjectKind::Federated(_) => Some("FederatedUser"),
                SubjectKind::WebIdentity(_) => Some("WebIdentity"),
                SubjectKind::Service(_) => None,
            }),
            "aws:principalisawsservice" => Found::of(service.map(|_| "true").or(Some("false").filter(|_| known))),
            "aws:principalservicename" => Found::of(service),
            "aws:userid" => Found::of(Some(self.id.as_str()).filter(|_| service.is_none())),
            "aws:username" => Found::of(self.name.as_deref()),
            "aws:tokenissuetime" => Found::of(session.map(|session| iso8601(session.issued))),
            // There is no second factor here; long-term keys do not even say so.
            "aws:multifactorauthpresent" => Found::of(session.map(|_| "false")),
            "aws:sourceidentity" => Found::of(session.and_then(|session| session.source_identity.as_deref())),
            "aws:federatedprovider" => Found::of(session.and_then(|session| session.provider.as_deref())),
            _ => {
                let Some(name) = key.strip_prefix("aws:principaltag/") else { return Found::None };
                let tag = self.tags.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(name));
                Found::of(tag.map(|(_, value)| Cow::Borrowed(value.as_str())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Kind;

    fn attached(text: &str) -> Attached {
        Attached { id: "p".to_owned(), policy: Arc::new(Policy::parse(text, Kind::Identity).unwrap()) }
    }

    fn may(subject: &Subject, action: &str, resource: &str) -> bool {
        let ask = Ask { action, resource, owner: "1", policy: None, policy_must_allow: false, context: subject };
        subject.judge_ask(&ask).is_allowed()
    }

    #[test]
    fn tags_and_names_stand_for_variables() {
        let mut alice = Subject::new(SubjectKind::User, "1", "arn:aws:iam::1:user/alice", "AIDA");
        alice.name = Some("alice".to_owned());
        alice.tags = vec![("Team".to_owned(), "blue".to_owned())];
        let text = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/${aws:username}/*",
            "Condition": {"StringEquals": {"aws:PrincipalTag/team": "blue"}, "Null": {"aws:TokenIssueTime": "true"}}}}"#;
        alice.policies = vec![attached(text)];
        assert!(may(&alice, "s3:GetObject", "arn:aws:s3:::b/alice/x"));
        assert!(!may(&alice, "s3:GetObject", "arn:aws:s3:::b/bob/x"));
        alice.tags.clear();
        assert!(!may(&alice, "s3:GetObject", "arn:aws:s3:::b/alice/x"));
    }

    #[test]
    fn sessions_and_boundaries_bound() {
        let all = attached(r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#);
        let reading = attached(r#"{"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}"#);
        let role = SubjectKind::Role("arn:aws:iam::1:role/r".to_owned());
        let mut session = Subject::new(role, "1", "arn:aws:sts::1:assumed-role/r/s", "AROA:s");
        session.policies = vec![all];
        assert!(may(&session, "s3:PutObject", "arn:aws:s3:::b/k"));
        let facts = Session {
            policies: Some(vec![reading.clone()]),
            issued: Timestamp::UNIX_EPOCH,
            source_identity: None,
            provider: None,
        };
        session.session = Some(facts);
        assert!(!may(&session, "s3:PutObject", "arn:aws:s3:::b/k"));
        assert!(may(&session, "s3:GetObject", "arn:aws:s3:::b/k"));
        session.session = None;
        session.boundary = Some(reading);
        assert!(!may(&session, "s3:PutObject", "arn:aws:s3:::b/k"));
        assert_eq!(session.find("aws:principalarn"), Found::One("arn:aws:iam::1:role/r".into()));
        assert_eq!(session.find("aws:username"), Found::None);
    }

    #[test]
    fn a_service_is_one_by_its_kind_and_not_by_its_name() {
        const NAME: &str = "s3.amazonaws.com";
        let service = Subject::service(NAME, "1");
        assert_eq!(service.principal(), Principal::Service(NAME));
        for (key, value) in [("aws:principalisawsservice", "true"), ("aws:principalservicename", NAME)] {
            assert_eq!(service.find(key), Found::One(value.into()));
        }
        for key in ["aws:principalaccount", "aws:principalarn", "aws:principaltype", "aws:userid"] {
            assert_eq!(service.find(key), Found::None, "{key}");
        }
        let user = Subject::new(SubjectKind::User, "1", "arn:aws:iam::1:user/s3.amazonaws.com", "AIDA");
        assert!(matches!(user.principal(), Principal::User { .. }));
        assert_eq!(user.find("aws:principalisawsservice"), Found::One("false".into()));
        assert_eq!(user.find("aws:principalservicename"), Found::None);
    }

    #[test]
    fn two_subjects_are_never_taken_for_one() {
        let user = || Subject::new(SubjectKind::User, "1", "arn:aws:iam::1:user/a", "AIDA");
        assert_ne!(user().stamp, user().stamp);
        assert_eq!(Subject::root("1"), Subject::root("1"));
    }
}
