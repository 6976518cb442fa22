//! The keys and aliases in memory: what every operation looks up, without touching the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::blob::{KeyId, MaterialId};
use super::material::Material;
use super::records::{AliasRecord, GrantRecord, KeyRecord};
use super::state::KeyState;
use crate::clock::{Timestamp, from_millis};
use crate::kms::{KeyArn, KeySpec, KeyUsage};
use crate::policy::Policy;

/// A key, ready for use.
#[derive(Debug)]
pub(super) struct Key {
    pub arn: KeyArn,
    pub raw_id: KeyId,
    pub spec: KeySpec,
    pub usage: KeyUsage,
    /// The state that is stored: what the materials say comes on top.
    pub stored_state: KeyState,
    pub record: KeyRecord,
    /// The record's policy, or the default one.
    pub policy: Policy,
    /// In the order of the record; the newest last.
    pub materials: Vec<Material>,
}

impl Key {
    /// The material that new ciphertexts, signatures and tags use.
    pub fn current(&self) -> Option<&Material> {
        self.materials.iter().rev().find(|material| !material.pending)
    }

    /// The material that an old ciphertext names.
    pub fn material(&self, id: &MaterialId) -> Option<&Material> {
        self.materials.iter().find(|material| material.id == *id)
    }

    /// Its state: a key lacks its material if any that it ever used is gone or expired.
    pub fn state(&self, now: Timestamp) -> KeyState {
        let lacks = || {
            let mut used = self.materials.iter().filter(|material| !material.pending).peekable();
            used.peek().is_none() || used.any(|material| !material.is_present(now))
        };
        if self.stored_state != KeyState::PendingDeletion && self.is_external() && lacks() {
            KeyState::PendingImport
        } else {
            self.stored_state
        }
    }

    /// When the next of its materials expires, behind `now`.
    pub fn next_expiry(&self, now: i64) -> Option<i64> {
        let ends = self.materials.iter().filter_map(|material| material.valid_to).map(Timestamp::as_millisecond);
        ends.filter(|end| *end > now).min()
    }

    /// Whether its material is imported.
    pub fn is_external(&self) -> bool {
        self.record.external == Some(true)
    }

    /// Whether its pending deletion is due: it is then as good as gone.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.stored_state == KeyState::PendingDeletion && self.record.deletion.is_some_and(|at| from_millis(at) <= now)
    }
}

/// All keys and aliases.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    pub keys: HashMap<String, Arc<Key>>,
    by_raw_id: HashMap<KeyId, String>,
    /// By account and alias.
    pub aliases: BTreeMap<(String, String), AliasRecord>,
    /// By the ids of key and grant.
    pub grants: BTreeMap<(String, String), GrantRecord>,
}

impl Keyring {
    /// Adds a key, or puts it in the place of its earlier form.
    pub fn insert(&mut self, key: Key) -> Arc<Key> {
        let key = Arc::new(key);
        self.by_raw_id.insert(key.raw_id, key.record.id.clone());
        self.keys.insert(key.record.id.clone(), Arc::clone(&key));
        key
    }

    /// Forgets a key, the aliases that name it, and its grants.
    pub fn remove(&mut self, id: &str) {
        if let Some(key) = self.keys.remove(id) {
            self.by_raw_id.remove(&key.raw_id);
        }
        self.aliases.retain(|_, alias| alias.key != id);
        self.grants.retain(|(key, _), _| key != id);
    }

    /// The key that a ciphertext names.
    pub fn by_raw_id(&self, id: &KeyId) -> Option<&Arc<Key>> {
        self.keys.get(self.by_raw_id.get(id)?)
    }

    /// The key that an alias of `account` names.
    pub fn by_alias(&self, account: &str, alias: &str) -> Option<&Arc<Key>> {
        let record = self.aliases.get(&(account.to_owned(), alias.to_owned()))?;
        self.keys.get(&record.key)
    }
}

/// The bytes of a key id, which is a UUID.
pub(super) fn raw_id(id: &str) -> Option<KeyId> {
    // Uuid also reads forms without dashes, in braces and as URNs; a key id has one form.
    let well_formed = id.len() == 36 && [8, 13, 18, 23].iter().all(|&at| id.as_bytes()[at] == b'-');
    well_formed.then(|| uuid::Uuid::try_parse(id).ok()).flatten().map(uuid::Uuid::into_bytes)
}

/// Whether it is the id of a multi-Region key. There are none here, but what has the form of one is not malformed. (AWS:
/// developer guide, "Multi-Region keys in AWS KMS": `mrk-` and 32 hex digits.)
pub(super) fn is_multi_region(id: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    id.strip_prefix("mrk-").is_some_and(|digits| digits.len() == 32 && digits.bytes().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dashed_uuids_are_key_ids() {
        assert!(raw_id("00000000-0000-4000-8000-000000000001").is_some());
        for bad in
            ["fake-key-id", "00000000000040008000000000000001", "mrk-fake", "", "{0000000-0000-4000-8000-000000000001}"]
        {
            assert!(raw_id(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn ids_of_multi_region_keys_have_one_form() {
        assert!(is_multi_region("mrk-0123456789abcdef0123456789abcdef"));
        for bad in ["mrk-fake", "mrk-", "0123456789abcdef0123456789abcdef", "mrk-0123456789abcdef0123456789abcdeg"] {
            assert!(!is_multi_region(bad), "{bad}");
        }
    }
}
