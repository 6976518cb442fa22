//! Who asks, and whether they may: identities, accounts, and the one authorisation function.
//!
//! For now each account has its root principal alone, who may do everything with what the account owns, unless the resource's
//! own policy denies it; the types are those that users and roles will go through.

pub mod json;

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::SecretBytes;
use crate::policy::{Context, Policies, Policy, Principal, Request, decide};
use crate::sigv4::Secrets;

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

/// An access key and the principal it speaks for.
#[derive(Debug)]
pub struct AccessKey {
    /// `AKIA...`; not secret.
    pub id: String,
    /// The secret access key.
    pub secret: SecretBytes,
    /// Whom it speaks for.
    pub identity: Identity,
}

/// Whoever signed a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The account the principal belongs to.
    pub account: Arc<Account>,
    /// The principal's ARN; an account's root is `arn:aws:iam::ACCOUNT:root`.
    pub arn: String,
    /// The access key that signed.
    pub access_key_id: String,
}

/// The accounts and access keys that the configuration declares.
#[derive(Debug, Default)]
pub struct Directory {
    accounts: HashMap<String, Arc<Account>>,
    keys: HashMap<String, Arc<AccessKey>>,
}

impl Directory {
    /// Adds `account` and its root's access key.
    pub fn add_root(&mut self, account: Account, access_key_id: String, secret: SecretBytes) {
        let account = Arc::new(account);
        let identity = Identity {
            arn: format!("arn:aws:iam::{}:root", account.id),
            account: Arc::clone(&account),
            access_key_id: access_key_id.clone(),
        };
        self.accounts.insert(account.id.clone(), account);
        self.keys.insert(access_key_id.clone(), Arc::new(AccessKey { id: access_key_id, secret, identity }));
    }

    /// The access key with this id.
    pub fn access_key(&self, id: &str) -> Option<&Arc<AccessKey>> {
        self.keys.get(id)
    }

    /// The account with this id.
    pub fn account(&self, id: &str) -> Option<&Arc<Account>> {
        self.accounts.get(id)
    }
}

impl Secrets for Directory {
    fn secret(&self, access_key_id: &str) -> Option<&[u8]> {
        Some(self.access_key(access_key_id)?.secret.expose())
    }
}

/// Proof that a request was authorised. Handlers ask for one; only [`authorize`] makes it.
#[derive(Debug)]
pub struct Permit(());

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
    /// The request's circumstances, for the policy's conditions.
    pub context: &'q dyn Context,
}

impl<'q> Question<'q> {
    /// A question about a resource without a policy.
    pub fn new(
        identity: Option<&'q Identity>,
        action: &'static str,
        resource: &'q str,
        owner: Option<&'q str>,
    ) -> Self {
        Self { identity, action, resource, owner, policy: None, context: &() }
    }

    /// Whether the root of the owner's account asks.
    pub fn is_owners_root(&self) -> bool {
        self.identity.is_some_and(|identity| self.owner == Some(identity.account.id.as_str()))
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
    /// Why, as AWS ends its sentence; told to callers of the owner's account alone.
    pub reason: Option<String>,
}

/// Answers `question`, by the one evaluator of policies.
///
/// # Errors
/// [`Denied`], if a policy denies it or nothing allows it.
pub fn authorize(question: &Question<'_>) -> Result<Permit, Denied> {
    let Question { identity, action, resource, owner, policy, context } = *question;
    // The keys that there are belong to accounts' roots.
    let principal = identity
        .map_or(Principal::Anonymous, |identity| Principal::Root { account: &identity.account.id, arn: &identity.arn });
    let owner = owner.or(principal.account()).unwrap_or_default();
    let decision = decide(
        &Policies { resource: policy, ..Policies::default() },
        &Request { principal, action, resource, owner, context },
    );
    if decision.is_allowed() {
        return Ok(Permit(()));
    }
    Err(Denied {
        principal: principal.arn().to_owned(),
        action,
        resource: resource.to_owned(),
        reason: decision.reason(action).filter(|_| principal.account() == Some(owner)),
    })
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
        let reason = by_policy(Some(owner)).unwrap_err().reason.unwrap();
        assert_eq!(reason, "with an explicit deny in a resource-based policy");
        assert_eq!(by_policy(None).unwrap_err().reason, None, "strangers are not told why");
        assert_eq!(owner.arn, "arn:aws:iam::111111111111:root");
    }
}
