//! Who asks, and whether they may: identities, accounts, and the one authorisation function.
//!
//! For now each account has its root principal alone, and a resource's owner may do everything with it; the types are
//! those that users, roles and policies will go through.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::SecretBytes;
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
}

/// Whether `identity` may do `action` to `resource`, which belongs to the account `owner` (`None`: to nobody yet, as a
/// bucket about to be made).
///
/// # Errors
/// [`Denied`], if nothing allows it: anonymous callers and other accounts have no policy to be allowed by.
pub fn authorize(
    identity: Option<&Identity>,
    action: &'static str,
    resource: &str,
    owner: Option<&str>,
) -> Result<Permit, Denied> {
    match identity {
        Some(identity) if owner.is_none_or(|owner| owner == identity.account.id) => Ok(Permit(())),
        other => Err(Denied {
            principal: other.map_or_else(|| "anonymous".to_owned(), |identity| identity.arn.clone()),
            action,
            resource: resource.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let ask = |who| authorize(who, "s3:GetObject", "arn:aws:s3:::b/k", Some("111111111111"));
        assert!(ask(Some(owner)).is_ok());
        assert!(ask(Some(other)).is_err());
        assert_eq!(ask(None).unwrap_err().principal, "anonymous");
        assert!(authorize(Some(other), "s3:CreateBucket", "arn:aws:s3:::b", None).is_ok());
        assert_eq!(owner.arn, "arn:aws:iam::111111111111:root");
    }
}
