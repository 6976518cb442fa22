//! The accounts that the configuration declares, as `iam` knows them.

use crate::config::{AccessKeyId, AccountId, CanonicalId, Config, SecretKey};
use crate::crypto::SecretBytes;
use crate::iam::{Account, Directory};

/// All accounts: the root's, with its access key, and the further ones.
pub fn directory(config: &Config, id: &AccessKeyId, secret: &SecretKey) -> Directory {
    let mut directory = Directory::default();
    let root = &config.root;
    let account = account(&root.account_id, root.canonical_id.as_ref(), &root.display_name, &root.email);
    directory.add_root(account, id.to_string(), SecretBytes::new(secret.expose().to_vec()));
    for other in &config.accounts {
        let account = self::account(&other.id, other.canonical_id.as_ref(), &other.display_name, &other.email);
        let secret = SecretBytes::new(other.secret_access_key.expose().to_vec());
        directory.add_root(account, other.access_key_id.to_string(), secret);
    }
    directory
}

fn account(id: &AccountId, canonical_id: Option<&CanonicalId>, display_name: &str, email: &str) -> Account {
    Account {
        id: id.to_string(),
        canonical_id: canonical_id.cloned().unwrap_or_else(|| id.canonical_id()).to_string(),
        display_name: display_name.to_owned(),
        email: email.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn every_declared_account_has_its_key() {
        let text = |text: &str| text.to_owned();
        let mut config = Config::default();
        config.accounts.push(config::Account {
            id: text("111122223333").try_into().unwrap(),
            canonical_id: None,
            display_name: text("analytics"),
            email: text("a@example.com"),
            access_key_id: text("AKIAI44QH8DHBEXAMPLE").try_into().unwrap(),
            secret_access_key: text("the-secret-of-analytics").try_into().unwrap(),
        });
        let root = text("AKIAIOSFODNN7EXAMPLE").try_into().unwrap();
        let directory = directory(&config, &root, &text("the-secret-of-the-root").try_into().unwrap());
        assert_eq!(directory.access_key("AKIAIOSFODNN7EXAMPLE").unwrap().secret.expose(), b"the-secret-of-the-root");
        let other = directory.access_key("AKIAI44QH8DHBEXAMPLE").unwrap();
        assert_eq!(other.identity.account.id, "111122223333");
        assert_eq!(other.identity.account.display_name, "analytics");
        let ids = ["000000000000", "111122223333"].map(|id| directory.account(id).unwrap().canonical_id.clone());
        assert!(ids[0].len() == 64 && ids[0] != ids[1]);
    }
}
