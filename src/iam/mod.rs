//! Who asks, and whether they may: accounts, users, roles and their sessions, and the one authorisation function.
//!
//! [`Directory`] knows them all: it finds the secret behind a signature and the [`Identity`] behind an access key, with its
//! policies compiled. [`authorize`] judges a [`Question`] by them and by the resource's own policy, with the one evaluator
//! (`policy`), and is the only maker of a [`Permit`]. `api` serves IAM and STS.

// The query protocol stands in a layer of its own, above `iam`.
pub mod api;

pub mod arn;
pub mod circumstances;
pub mod directory;
pub mod json;
pub mod managed;
pub mod resource;
pub mod session;
pub mod throttle;

mod registry;
mod service;
mod service_role;
mod store;
mod temporary_key;

use std::sync::Arc;

use crate::audit::UserIdentity;
use crate::crypto::SecretBytes;
use crate::kms::audited::user_identity;
use crate::policy::{Ask, Context, Decision, Grant, Policy, Subject};

pub use crate::policy::Explanation;
pub use circumstances::Circumstances;
pub use directory::Directory;
pub use store::OpenError;

pub use service::authorize_service;
pub use service_role::ServiceRole;

/// An account: the owner of buckets and keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// The canonical user id that S3 shows as owner: 64 hexadecimal digits.
    pub canonical_id: String,
    /// Shown beside the canonical id.
    pub display_name: String,
    /// Of the account's root.
    pub email: String,
}

/// An access key of an account's root.
#[derive(Debug)]
pub struct AccessKey {
    /// `AKIA...`; not secret.
    pub id: String,
    /// The secret access key.
    pub secret: Arc<SecretBytes>,
    /// Whom it speaks for.
    pub identity: Identity,
}

/// Whoever signed a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The account the principal belongs to.
    pub account: Arc<Account>,
    /// The principal's ARN; an account's root is `arn:aws:iam::ACCOUNT:root`.
    pub arn: String,
    /// The access key that signed.
    pub access_key_id: String,
    /// The principal, with its policies.
    pub subject: Arc<Subject>,
    /// Whether refusals name it the statement that denies: an account's root always, others if the operator wants it.
    pub is_told_statements: bool,
}

impl Identity {
    /// `subject` of `account`, by one of its access keys.
    pub fn new(account: &Arc<Account>, subject: &Arc<Subject>, access_key_id: impl Into<String>) -> Self {
        Self {
            account: Arc::clone(account),
            arn: subject.arn.clone(),
            access_key_id: access_key_id.into(),
            subject: Arc::clone(subject),
            is_told_statements: subject.is_root(),
        }
    }

    /// As the audit names it.
    pub fn audited(&self) -> UserIdentity {
        user_identity(&self.subject, Some(&self.access_key_id))
    }
}

/// Proof that a request was authorised. Handlers ask for one; only this module makes it.
#[derive(Debug)]
pub struct Permit(Option<Explanation>);

impl Permit {
    /// What it rests on, where a policy decided.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.0.as_ref()
    }
}

impl Permit {
    /// For operations on a KMS key: the key service judges each use itself, by the key's policy, its grants and the policies
    /// of the principal that the call carries.
    pub(crate) fn left_to_the_key_service() -> Self {
        Self(None)
    }

    /// For what AWS lets everybody do who can sign (`sts:GetCallerIdentity`), or whose own document decides (a role's trust
    /// policy).
    pub(in crate::iam) fn of_anybody() -> Self {
        Self(None)
    }
}

/// What is asked: may `identity` do `action` to `resource`?
#[derive(Clone, Copy)]
pub struct Question<'q> {
    /// Who asks; `None`: nobody signed.
    pub identity: Option<&'q Identity>,
    /// The IAM action, such as `s3:GetObject`.
    pub action: &'static str,
    /// The ARN of what it is asked of.
    pub resource: &'q str,
    /// The account that the resource belongs to; `None`: to nobody yet, as a bucket about to be made.
    pub owner: Option<&'q str>,
    /// The resource's own policy.
    pub policy: Option<&'q Policy>,
    /// Whether that policy is another's than the owner's: it can deny then, and not allow.
    pub policy_only_denies: bool,
    /// What the resource's access control list gives to the caller.
    pub acl: Grant,
    /// The request's circumstances, for the policies' conditions.
    pub context: &'q dyn Context,
}

impl<'q> Question<'q> {
    /// A question about a resource without a policy, of which only the principal is known.
    pub fn new(
        identity: Option<&'q Identity>,
        action: &'static str,
        resource: &'q str,
        owner: Option<&'q str>,
    ) -> Self {
        let context: &'q dyn Context = match identity {
            Some(identity) => &*identity.subject,
            None => &(),
        };
        let (policy, policy_only_denies, acl) = (None, false, Grant::None);
        Self { identity, action, resource, owner, policy, policy_only_denies, acl, context }
    }

    /// Whether the root of the owner's account asks.
    pub fn is_owners_root(&self) -> bool {
        self.identity
            .is_some_and(|identity| identity.subject.is_root() && self.owner == Some(identity.account.id.as_str()))
    }
}

/// The request was not authorised.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{principal} is not authorized to perform: {action} on resource: {resource}")]
pub struct Denied {
    /// Who asked: an ARN, or `anonymous`.
    pub principal: String,
    /// The IAM action, such as `s3:GetObject`.
    pub action: &'static str,
    /// The ARN of what it was asked of.
    pub resource: String,
    /// Why, as AWS ends its sentence, and by which statement; told to callers of the owner's account alone.
    pub reason: Option<String>,
    /// What decided.
    pub explanation: Box<Explanation>,
}

impl Denied {
    /// AWS's sentence, as IAM, KMS and CloudTrail tell it.
    pub fn sentence(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(" {reason}")).unwrap_or_default();
        format!("User: {self}{reason}")
    }
}

/// Answers `question`, by the one evaluator of policies.
///
/// # Errors
/// [`Denied`], if a policy denies it or nothing allows it.
pub fn authorize(question: &Question<'_>) -> Result<Permit, Denied> {
    put(question, |subject, owner, decision| {
        let explanation = Explanation::of(decision, question.action);
        if decision.is_allowed() {
            return Ok(Permit(Some(explanation)));
        }
        let is_of_owner = question.identity.is_some() && subject.account == owner;
        let is_told = question.identity.is_some_and(|identity| identity.is_told_statements);
        let suffix = if is_told { explanation.suffix() } else { String::new() };
        Err(Denied {
            principal: subject.arn.clone(),
            action: question.action,
            resource: question.resource.to_owned(),
            reason: decision.reason(question.action).filter(|_| is_of_owner).map(|reason| reason + &suffix),
            explanation: Box::new(explanation),
        })
    })
}

/// What decided, whichever way it went; `None` of what nothing need be decided on.
pub fn explanation(judged: &Result<Permit, Denied>) -> Option<&Explanation> {
    match judged {
        Ok(permit) => permit.explanation(),
        Err(denied) => Some(&denied.explanation),
    }
}

/// What `explain` makes of the decision on `question`.
pub fn explain<T>(question: &Question<'_>, explain: impl FnOnce(&Subject, Decision<'_>) -> T) -> T {
    put(question, |subject, _, decision| explain(subject, decision))
}

/// What `tell` makes of the decision on `question`, about what belongs to an owner.
fn put<T>(question: &Question<'_>, tell: impl FnOnce(&Subject, &str, Decision<'_>) -> T) -> T {
    let Question { identity, action, resource, owner, policy, policy_only_denies, acl, context } = *question;
    let nobody;
    let subject = if let Some(identity) = identity {
        &*identity.subject
    } else {
        nobody = Subject::anonymous();
        &nobody
    };
    let owner = owner.unwrap_or(&subject.account);
    let ask = Ask { action, resource, owner, policy, policy_must_allow: false, context };
    tell(subject, owner, subject.judge_beside(&ask, acl, policy_only_denies))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Kind;

    fn directory() -> Directory {
        let mut directory = Directory::default();
        for id in ["111111111111", "222222222222"] {
            let account = Account {
                id: id.to_owned(),
                canonical_id: "c".repeat(64),
                display_name: "root".to_owned(),
                email: String::new(),
            };
            directory.add_root(account, format!("AKIA{id}"), SecretBytes::new(b"secret".to_vec()));
        }
        directory
    }

    #[test]
    fn owners_may_and_others_may_not() {
        let directory = directory();
        let owner = &directory.access_key("AKIA111111111111").unwrap().identity;
        let other = &directory.access_key("AKIA222222222222").unwrap().identity;
        let question = |who| Question::new(who, "s3:GetObject", "arn:aws:s3:::b/k", Some("111111111111"));
        let ask = |who| authorize(&question(who));
        assert!(ask(Some(owner)).is_ok());
        assert!(ask(Some(other)).is_err());
        assert_eq!(ask(None).unwrap_err().principal, "anonymous");
        assert!(authorize(&Question::new(Some(other), "s3:CreateBucket", "arn:aws:s3:::b", None)).is_ok());
        assert!(authorize(&Question::new(None, "s3:CreateBucket", "arn:aws:s3:::b", None)).is_err());

        let text = r#"{"Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
            {"Effect": "Deny", "Principal": {"AWS": "111111111111"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
        ]}"#;
        let policy = Policy::parse(text, Kind::Bucket("arn:aws:s3:::b")).unwrap();
        let by_policy = |who| authorize(&Question { policy: Some(&policy), ..question(who) });
        assert!(by_policy(Some(other)).is_ok());
        let denied = by_policy(Some(owner)).unwrap_err();
        let told = "with an explicit deny in a resource-based policy (statement: statement 2)";
        assert_eq!(denied.reason.unwrap(), told, "the account's root is told always");
        assert_eq!(denied.explanation.statement.as_deref(), Some("statement 2"));
        assert_eq!((denied.explanation.decision, denied.explanation.source), ("Deny", "resource-based policy"));
        assert_eq!(by_policy(Some(other)).unwrap().explanation().unwrap().statement.as_deref(), Some("statement 1"));
        assert_eq!(ask(Some(owner)).unwrap().explanation().unwrap().source, "ownership");
        assert_eq!(by_policy(None).unwrap_err().reason, None, "strangers are not told why");
        assert_eq!(owner.arn, "arn:aws:iam::111111111111:root");
    }

    #[test]
    fn users_have_what_their_policies_give() {
        let directory = directory();
        let root = &directory.access_key("AKIA111111111111").unwrap().identity;
        let user = crate::policy::SubjectKind::User;
        let alice = Subject::new(user, "111111111111", "arn:aws:iam::111111111111:user/alice", "AIDA");
        let alice = Identity::new(&root.account, &Arc::new(alice), "AKIAALICE");
        let question = Question::new(Some(&alice), "s3:GetObject", "arn:aws:s3:::b/k", Some("111111111111"));
        let denied = authorize(&question).unwrap_err();
        assert_eq!(
            denied.sentence(),
            "User: arn:aws:iam::111111111111:user/alice is not authorized to perform: s3:GetObject on resource: \
             arn:aws:s3:::b/k because no identity-based policy allows the s3:GetObject action"
        );
        assert!(!question.is_owners_root());
        let text = r#"{"Statement": {"Sid": "NoReading", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*"}}"#;
        let policy = Policy::parse(text, Kind::Bucket("arn:aws:s3:::b")).unwrap();
        let reason = |identity: &Identity| {
            let question = Question { identity: Some(identity), policy: Some(&policy), ..question };
            authorize(&question).unwrap_err().reason.unwrap()
        };
        assert_eq!(reason(&alice), "with an explicit deny in a resource-based policy");
        let told = Identity { is_told_statements: true, ..alice.clone() };
        assert_eq!(reason(&told), "with an explicit deny in a resource-based policy (statement: NoReading)");
    }
}
