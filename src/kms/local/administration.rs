//! Changes to keys.
//!
//! Each is one commit that expects what was there, made while no other change runs; memory follows it. A key's deletion:
//!
//! 1. Its record says when. *Crash: nothing lost.*
//! 2. From that moment it is not found.
//! 3. [`LocalKms::destroy_due`] removes the record, and with it the sealed material, its aliases, its grants and its
//!    last use in one commit. *Crash before: at the next start or tick. After: it is gone for good.*

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::keyring::Key;
use super::material::{self, open_key};
use super::policy;
use super::records::{AliasRecord, KeyRecord, alias_key, grant_key, key_key, to_value, usage_key};
use super::{KeyState, LocalKms, MILLIS_PER_DAY, Need, denied};
use crate::clock::{Timestamp, from_millis};
use crate::crypto::{SecretBytes, random};
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, KeyArn, KeyRef, KeySpec, KeyUsage};
use crate::store::{Batch, Outcome, Partition, StoreError};

/// What AWS says of the key that S3 makes for an account.
const MANAGED_DESCRIPTION: &str = "Default key that protects my S3 objects when no other key is defined";

/// Most tags of a key.
pub const MAX_TAGS: usize = 50;

/// What a new key is to be like.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Its description.
    pub description: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Its policy's JSON; `None` is the default policy.
    pub policy: Option<String>,
    /// Whether the policy may lock out whoever makes the key.
    pub may_lock_out: bool,
    /// What its material is.
    pub spec: KeySpec,
    /// What it is for: one of the spec's usages.
    pub usage: KeyUsage,
    /// Whether its material will be imported rather than made here.
    pub external: bool,
}

/// What the API shows of a key.
#[derive(Clone, Debug)]
pub struct KeyMetadata {
    /// The full ARN.
    pub arn: KeyArn,
    /// The owner's account id.
    pub account: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its description.
    pub description: String,
    /// Its state.
    pub state: KeyState,
    /// When its material is destroyed, if that is pending.
    pub deletion: Option<Timestamp>,
    /// `KeyManager: AWS`.
    pub aws_managed: bool,
    /// What its material is.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
    /// Whether its material is imported.
    pub external: bool,
    /// Whether its imported material is there, and when the first of it expires.
    pub import: Option<Option<Timestamp>>,
    /// `CurrentKeyMaterialId`, of symmetric keys.
    pub material_id: Option<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Its policy, if it is not the default one.
    pub policy: Option<String>,
}

impl LocalKms {
    /// Makes a key that belongs to the caller's account.
    ///
    /// # Errors
    /// [`KmsErrorKind::Unavailable`] if the store fails; `MalformedPolicyDocumentException` as [`Self::put_policy`].
    pub async fn create_key(&self, caller: &Caller, new: NewKey) -> Result<KeyMetadata, KmsError> {
        let policy = new.policy.as_deref().map(policy::read).transpose()?;
        let kept = new.policy.as_deref().map(|text| self.admitted(text)).transpose()?;
        let (new, may_lock_out) = (NewKey { policy: kept, ..new }, new.may_lock_out);
        let plain = if new.external { None } else { Some(self.draw(new.spec).await?) };
        let _changing = self.changing.lock().await;
        let record = self.new_record(caller, new, plain.as_ref(), false);
        if let Some(policy) = policy {
            self.check_lockout(caller, &self.open_record(record.clone())?, &policy, may_lock_out)?;
        }
        let batch = Batch::new().expect(key_key(&record.id), None).put(key_key(&record.id), to_value(&record));
        self.commit(batch).await?;
        Ok(self.shown(&*self.install(record)?))
    }

    /// What is known of a key, for the operation `action`.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn metadata(&self, caller: &Caller, name: &KeyRef, action: &'static str) -> Result<KeyMetadata, KmsError> {
        Ok(self.shown(&*self.visible(caller, name, action)?))
    }

    /// The ids and ARNs of the account's keys, in the order of their ids, behind `after`.
    pub fn list_keys(&self, account: &str, after: &str, limit: usize) -> Vec<KeyArn> {
        let now = self.clock.now();
        let ring = self.ring();
        let mut keys: Vec<_> = ring
            .keys
            .values()
            .filter(|key| key.record.account == account && key.record.id.as_str() > after && !key.is_due(now))
            .map(|key| key.arn.clone())
            .collect();
        keys.sort();
        keys.truncate(limit);
        keys
    }

    /// Enables or disables a key. It bites on the next request.
    ///
    /// # Errors
    /// As its [`KeyState`] and policy say.
    pub async fn set_enabled(&self, caller: &Caller, name: &KeyRef, enabled: bool) -> Result<(), KmsError> {
        let action = if enabled { "kms:EnableKey" } else { "kms:DisableKey" };
        let state = if enabled { KeyState::Enabled } else { KeyState::Disabled };
        self.change(caller, name, action, Need::Toggle, |record| record.state = state.to_byte()).await.map(drop)
    }

    /// Changes a key's description.
    ///
    /// # Errors
    /// As its [`KeyState`] and policy say.
    pub async fn set_description(&self, caller: &Caller, name: &KeyRef, description: String) -> Result<(), KmsError> {
        let change = |record: &mut KeyRecord| record.description = description;
        self.change(caller, name, "kms:UpdateKeyDescription", Need::Change, change).await.map(drop)
    }

    /// Adds tags to a key, replacing those of the same keys.
    ///
    /// # Errors
    /// `TagException` if it would have too many, and as its [`KeyState`] and policy say.
    pub async fn tag(&self, caller: &Caller, name: &KeyRef, tags: Vec<(String, String)>) -> Result<(), KmsError> {
        let change = |_: &Key, record: &mut KeyRecord| {
            for (key, value) in tags {
                match record.tags.iter_mut().find(|(other, _)| *other == key) {
                    Some(tag) => tag.1 = value,
                    None => record.tags.push((key, value)),
                }
            }
            if record.tags.len() > MAX_TAGS { Err(KmsErrorKind::Tag.with("Too many tags")) } else { Ok(()) }
        };
        self.try_change(caller, name, "kms:TagResource", Need::Change, change).await.map(drop)
    }

    /// Removes the tags of these keys.
    ///
    /// # Errors
    /// As the key's [`KeyState`] and policy say.
    pub async fn untag(&self, caller: &Caller, name: &KeyRef, keys: &[&str]) -> Result<(), KmsError> {
        let change = |record: &mut KeyRecord| record.tags.retain(|(key, _)| !keys.contains(&key.as_str()));
        self.change(caller, name, "kms:UntagResource", Need::Change, change).await.map(drop)
    }

    /// Schedules a key's deletion in `days` days.
    ///
    /// # Errors
    /// As its [`KeyState`] and policy say.
    pub async fn schedule_deletion(&self, caller: &Caller, name: &KeyRef, days: i64) -> Result<KeyMetadata, KmsError> {
        let at = self.clock.now().as_millisecond().saturating_add(days.saturating_mul(MILLIS_PER_DAY));
        let change = |record: &mut KeyRecord| {
            record.state = KeyState::PendingDeletion.to_byte();
            record.deletion = Some(at);
        };
        self.change(caller, name, "kms:ScheduleKeyDeletion", Need::Change, change).await
    }

    /// Cancels a key's deletion; the key is then disabled, as with AWS.
    ///
    /// # Errors
    /// As its [`KeyState`] and policy say.
    pub async fn cancel_deletion(&self, caller: &Caller, name: &KeyRef) -> Result<KeyMetadata, KmsError> {
        let change = |record: &mut KeyRecord| {
            record.state = KeyState::Disabled.to_byte();
            record.deletion = None;
        };
        self.change(caller, name, "kms:CancelKeyDeletion", Need::Cancel, change).await
    }

    /// Destroys the keys whose deletion is due, for good; their ids.
    ///
    /// # Errors
    /// [`KmsErrorKind::Unavailable`] if the store fails.
    pub(super) async fn destroy_due(&self) -> Result<Vec<KeyArn>, KmsError> {
        let _changing = self.changing.lock().await;
        let now = self.clock.now();
        let due: Vec<Arc<Key>> = self.ring().keys.values().filter(|key| key.is_due(now)).cloned().collect();
        for key in &due {
            let id = &key.record.id;
            let mut batch = Batch::new().expect(key_key(id), Some(stored(&key.record))).delete(key_key(id));
            let aliases: Vec<(String, String)> = {
                let ring = self.ring();
                ring.aliases.iter().filter(|(_, alias)| alias.key == *id).map(|(name, _)| name.clone()).collect()
            };
            for (account, alias) in aliases {
                batch = batch.delete(alias_key(&account, &alias));
            }
            for grant in self.ring().grants.keys().filter(|(key, _)| key == id) {
                batch = batch.delete(grant_key(id, &grant.1));
            }
            batch = batch.delete(usage_key(id));
            self.commit(batch).await?;
            self.ring_mut().remove(id);
        }
        Ok(due.iter().map(|key| key.arn.clone()).collect())
    }

    /// The same as [`Self::ensure_managed_key`], for `caller` to look at: of whom that is judged first, as of any key of the
    /// account.
    ///
    /// # Errors
    /// `AccessDeniedException`, and [`KmsErrorKind::Unavailable`] if the store fails.
    pub async fn ensure_described_key(&self, caller: &Caller, name: &KeyRef) -> Result<(), KmsError> {
        if self.lacks_managed_key(caller, name) {
            self.permit_describing_managed(caller)?;
        }
        self.ensure_managed_key(caller, name).await
    }

    /// Whether `name` is that of the AWS managed key of the caller's account for S3, and there is none.
    fn lacks_managed_key(&self, caller: &Caller, name: &KeyRef) -> bool {
        let named = match name {
            KeyRef::Alias(alias) => alias == KeyRef::AWS_S3,
            KeyRef::AliasArn { region, account, alias } => {
                *region == self.region && *account == caller.account && alias == KeyRef::AWS_S3
            }
            KeyRef::Id(_) | KeyRef::KeyArn(_) => false,
        };
        named && self.ring().by_alias(&caller.account, KeyRef::AWS_S3).is_none()
    }

    /// Makes the AWS managed key of the caller's account for S3, if `name` is its alias and it is not there yet.
    ///
    /// # Errors
    /// [`KmsErrorKind::Unavailable`] if the store fails.
    pub async fn ensure_managed_key(&self, caller: &Caller, name: &KeyRef) -> Result<(), KmsError> {
        if !self.lacks_managed_key(caller, name) {
            return Ok(());
        }
        let plain = self.draw(KeySpec::SymmetricDefault).await?;
        let _changing = self.changing.lock().await;
        if self.ring().by_alias(&caller.account, KeyRef::AWS_S3).is_some() {
            return Ok(());
        }
        let new = NewKey { description: MANAGED_DESCRIPTION.to_owned(), ..NewKey::default() };
        let record = self.new_record(caller, new, Some(&plain), true);
        let alias = AliasRecord { key: record.id.clone(), created: record.created, updated: record.created };
        let name = alias_key(&caller.account, KeyRef::AWS_S3);
        let batch = Batch::new()
            .expect(name.clone(), None)
            .put(key_key(&record.id), to_value(&record))
            .put(name, to_value(&alias));
        self.commit(batch).await?;
        self.install(record)?;
        self.ring_mut().aliases.insert((caller.account.clone(), KeyRef::AWS_S3.to_owned()), alias);
        Ok(())
    }

    /// Fresh material of `spec`.
    pub(super) async fn draw(&self, spec: KeySpec) -> Result<SecretBytes, KmsError> {
        let entropy = Arc::clone(&self.entropy);
        if spec.is_asymmetric() {
            return self.make(move || material::draw(spec, &*entropy)).await;
        }
        let failed = |error| KmsErrorKind::Internal.because("the key could not be made", error);
        material::draw(spec, &*entropy).map_err(failed)
    }

    fn new_record(&self, caller: &Caller, new: NewKey, plain: Option<&SecretBytes>, aws_managed: bool) -> KeyRecord {
        let id = random::uuid(random::bytes(&*self.entropy));
        let created = self.clock.now().as_millisecond();
        let seal = |plain| {
            let material_id = material::new_id(&*self.entropy);
            material::seal(&id, material_id, plain, &self.root, &*self.entropy, created)
        };
        KeyRecord {
            materials: plain.map(seal).into_iter().collect(),
            id,
            account: caller.account.clone(),
            created,
            description: new.description,
            state: KeyState::Enabled.to_byte(),
            deletion: None,
            aws_managed,
            tags: new.tags,
            policy: new.policy,
            spec: Some(new.spec.to_byte()),
            usage: Some(new.usage.to_byte()),
            external: new.external.then_some(true),
            rotation: None,
        }
    }

    /// Changes a key's record by `change`, if its policy allows `action` and its state what is needed.
    pub(super) async fn change(
        &self,
        caller: &Caller,
        name: &KeyRef,
        action: &'static str,
        need: Need,
        change: impl FnOnce(&mut KeyRecord),
    ) -> Result<KeyMetadata, KmsError> {
        let change = |_: &Key, record: &mut KeyRecord| {
            change(record);
            Ok(())
        };
        Ok(self.shown(&*self.try_change(caller, name, action, need, change).await?))
    }

    /// As [`Self::change`], by a change that depends on the key and may be refused.
    pub(super) async fn try_change(
        &self,
        caller: &Caller,
        name: &KeyRef,
        action: &'static str,
        need: Need,
        change: impl FnOnce(&Key, &mut KeyRecord) -> Result<(), KmsError>,
    ) -> Result<Arc<Key>, KmsError> {
        let _changing = self.changing.lock().await;
        let key = self.find(caller, name, action)?;
        self.permit_change(caller, &key, action)?;
        key.state(self.clock.now()).allow(need, key.arn.as_str())?;
        let mut record = key.record.clone();
        change(&key, &mut record)?;
        self.replace(&key, record).await
    }

    /// Whether `caller` may change the key: AWS managed keys are changed by their service alone.
    pub(super) fn permit_change(&self, caller: &Caller, key: &Key, action: &'static str) -> Result<(), KmsError> {
        if key.record.aws_managed {
            return Err(denied(caller, key, action));
        }
        self.permit(caller, key, action)
    }

    /// Puts `record` in the place of the key's. The lock on changes must be held.
    pub(super) async fn replace(&self, key: &Key, record: KeyRecord) -> Result<Arc<Key>, KmsError> {
        let stored_key = key_key(&record.id);
        let batch =
            Batch::new().expect(stored_key.clone(), Some(stored(&key.record))).put(stored_key, to_value(&record));
        self.commit(batch).await?;
        self.install(record)
    }

    fn shown(&self, key: &Key) -> KeyMetadata {
        let now = self.clock.now();
        let current = key.current();
        let own = key.materials.iter().filter(|material| !material.pending && material.is_present(now));
        let first_end = own.filter_map(|material| material.valid_to).min();
        KeyMetadata {
            arn: key.arn.clone(),
            account: key.record.account.clone(),
            created: from_millis(key.record.created),
            description: key.record.description.clone(),
            state: key.state(now),
            deletion: key.record.deletion.map(from_millis),
            aws_managed: key.record.aws_managed,
            spec: key.spec,
            usage: key.usage,
            external: key.is_external(),
            import: current.filter(|material| key.is_external() && material.is_present(now)).map(|_| first_end),
            material_id: current
                .filter(|_| key.spec == KeySpec::SymmetricDefault)
                .map(|material| hex::encode(material.id)),
            tags: key.record.tags.clone(),
            policy: key.record.policy.clone(),
        }
    }

    /// Puts a committed record into memory.
    fn install(&self, record: KeyRecord) -> Result<Arc<Key>, KmsError> {
        let key = self.open_record(record)?;
        let mut ring = self.ring_mut();
        let key = ring.insert(key);
        if let Some(end) = key.next_expiry(self.clock.now().as_millisecond()) {
            self.next_expiry.fetch_min(end, Ordering::SeqCst);
        }
        Ok(key)
    }

    fn open_record(&self, record: KeyRecord) -> Result<Key, KmsError> {
        open_key(record, &self.root, &self.region)
            .map_err(|error| KmsErrorKind::Internal.because("the key could not be opened", error))
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<(), KmsError> {
        let unavailable =
            |error: StoreError| KmsErrorKind::Unavailable.because("The key store is not available.", error);
        match self.store.commit(Partition::KMS, batch).await.map_err(unavailable)? {
            Outcome::Applied => Ok(()),
            Outcome::Conflict { .. } => Err(KmsErrorKind::Internal.with("the key store was changed by another server")),
        }
    }
}

fn stored(record: &KeyRecord) -> Bytes {
    Bytes::from(to_value(record))
}
