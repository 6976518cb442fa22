//! Aliases: names of keys, one account's each.

use std::sync::Arc;

use bytes::Bytes;

use super::keyring::Key;
use super::records::{AliasRecord, alias_key, to_value};
use super::{LocalKms, Need, denied};
use crate::clock::{Timestamp, from_millis};
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, KeyArn, KeyRef, resource_arn};
use crate::store::Batch;

/// Most aliases of one key. (AWS: "Resource quotas".)
const MOST_ALIASES: usize = 50;

/// What the API shows of an alias.
#[derive(Clone, Debug)]
pub struct AliasEntry {
    /// With its `alias/`.
    pub name: String,
    /// The id of the key that it names.
    pub key: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last given a key.
    pub updated: Timestamp,
}

impl LocalKms {
    /// The account's aliases in order behind `after`, only those of the key `of` if one is given.
    pub fn list_aliases(&self, account: &str, of: Option<&str>, after: &str, limit: usize) -> Vec<AliasEntry> {
        let now = self.clock.now();
        let ring = self.ring();
        let start = (account.to_owned(), after.to_owned());
        ring.aliases
            .range(start..)
            .take_while(|((owner, _), _)| owner == account)
            .filter(|((_, name), alias)| name != after && of.is_none_or(|key| key == alias.key))
            .filter(|(_, alias)| ring.keys.get(&alias.key).is_some_and(|key| !key.is_due(now)))
            .take(limit)
            .map(|((_, name), alias)| AliasEntry {
                name: name.clone(),
                key: alias.key.clone(),
                created: from_millis(alias.created),
                updated: from_millis(alias.updated),
            })
            .collect()
    }

    /// The ARN of a key of the caller's account, for what is allowed by the caller's own policies alone: "Required permissions:
    /// kms:ListAliases (IAM policy)" (API reference, `ListAliases`).
    ///
    /// # Errors
    /// `NotFoundException`, and `AccessDeniedException` for keys of other accounts.
    pub fn own_key(&self, caller: &Caller, name: &KeyRef, action: &'static str) -> Result<KeyArn, KmsError> {
        let key = self.find(caller, name, action)?;
        if key.record.account == caller.account { Ok(key.arn.clone()) } else { Err(denied(caller, &key, action)) }
    }

    /// Gives a key an alias.
    ///
    /// # Errors
    /// `AlreadyExistsException`, and as the key's state and policy say.
    pub async fn create_alias(&self, caller: &Caller, alias: &str, target: &KeyRef) -> Result<(), KmsError> {
        let _changing = self.changing.lock().await;
        let key = self.alias_target(caller, target, "kms:CreateAlias")?;
        let name = (caller.account.clone(), alias.to_owned());
        if self.ring().aliases.contains_key(&name) {
            let arn = resource_arn(&self.region, &caller.account, alias);
            return Err(KmsErrorKind::AlreadyExists.with(format!("An alias with the name {arn} already exists")));
        }
        self.check_alias_number(&key)?;
        let now = self.clock.now().as_millisecond();
        let record = AliasRecord { key: key.record.id.clone(), created: now, updated: now };
        let stored_key = alias_key(&caller.account, alias);
        self.commit(Batch::new().expect(stored_key.clone(), None).put(stored_key, to_value(&record))).await?;
        self.ring_mut().aliases.insert(name, record);
        Ok(())
    }

    /// Gives an alias to another key.
    ///
    /// # Errors
    /// `NotFoundException`, and as the keys' states and policies say.
    pub async fn update_alias(&self, caller: &Caller, alias: &str, target: &KeyRef) -> Result<(), KmsError> {
        let _changing = self.changing.lock().await;
        let old = self.own_alias(caller, alias)?;
        self.permit_present(caller, &old, "kms:UpdateAlias")?;
        let key = self.alias_target(caller, target, "kms:UpdateAlias")?;
        let former = self.ring().keys.get(&old.key).map(|key| (key.spec.is_asymmetric(), key.usage));
        // "The current and new KMS key must be the same type … and they must have the same key usage." (UpdateAlias)
        if former.is_some_and(|former| former != (key.spec.is_asymmetric(), key.usage)) {
            return Err(KmsErrorKind::Validation.with(
                "The current and new KMS key of an alias must be of the same type and have the same key usage.",
            ));
        }
        if old.key != key.record.id {
            self.check_alias_number(&key)?;
        }
        let updated = self.clock.now().as_millisecond();
        let record = AliasRecord { key: key.record.id.clone(), created: old.created, updated };
        let stored_key = alias_key(&caller.account, alias);
        let expected = Bytes::from(to_value(&old));
        self.commit(Batch::new().expect(stored_key.clone(), Some(expected)).put(stored_key, to_value(&record))).await?;
        self.ring_mut().aliases.insert((caller.account.clone(), alias.to_owned()), record);
        Ok(())
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// `NotFoundException`, and as the key's policy says.
    pub async fn delete_alias(&self, caller: &Caller, alias: &str) -> Result<(), KmsError> {
        let _changing = self.changing.lock().await;
        let old = self.own_alias(caller, alias)?;
        self.permit_present(caller, &old, "kms:DeleteAlias")?;
        let stored_key = alias_key(&caller.account, alias);
        let expected = Bytes::from(to_value(&old));
        self.commit(Batch::new().expect(stored_key.clone(), Some(expected)).delete(stored_key)).await?;
        self.ring_mut().aliases.remove(&(caller.account.clone(), alias.to_owned()));
        Ok(())
    }

    /// Refuses another alias of a key that has as many as it may have.
    fn check_alias_number(&self, key: &Key) -> Result<(), KmsError> {
        let has = self.ring().aliases.values().filter(|alias| alias.key == key.record.id).count();
        if has >= MOST_ALIASES {
            let message = format!("The key {} has the most aliases that a key may have: {MOST_ALIASES}.", key.arn);
            return Err(KmsErrorKind::LimitExceeded.with(message));
        }
        Ok(())
    }

    fn own_alias(&self, caller: &Caller, alias: &str) -> Result<AliasRecord, KmsError> {
        let name = (caller.account.clone(), alias.to_owned());
        let record = self.ring().aliases.get(&name).cloned();
        record.ok_or_else(|| KmsErrorKind::NotFound.with(self.no_alias(&caller.account, alias)))
    }

    /// Whether `caller` may do `action` to the key that the alias names now, beside the alias itself. (AWS: API reference,
    /// UpdateAlias and DeleteAlias, "Required permissions".)
    fn permit_present(&self, caller: &Caller, alias: &AliasRecord, action: &'static str) -> Result<(), KmsError> {
        let key = self.ring().keys.get(&alias.key).cloned();
        key.map_or(Ok(()), |key| self.permit_change(caller, &key, action))
    }

    fn alias_target(&self, caller: &Caller, target: &KeyRef, action: &'static str) -> Result<Arc<Key>, KmsError> {
        if matches!(target, KeyRef::Alias(_) | KeyRef::AliasArn { .. }) {
            return Err(KmsErrorKind::Validation.with("Aliases must refer to keys. Not aliases"));
        }
        let key = self.find(caller, target, action)?;
        self.permit_change(caller, &key, action)?;
        key.state(self.clock.now()).allow(Need::Change, key.arn.as_str())?;
        Ok(key)
    }
}
