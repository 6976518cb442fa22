//! One account's identities, whole and in memory: what every decision goes by, and what a change works on.
//!
//! A change is made to a copy; the commit is what the two differ in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::records::{
    AccountRecord, Entity, Grants, GroupRecord, InstanceProfileRecord, KeyRecord, PolicyRecord, ProviderRecord,
    RoleRecord, TableId, UserRecord, entity_key, single_key, to_value,
};
use crate::store::Batch;

/// An account's users, or groups, or the like: by name, whatever its case.
#[derive(Clone, Debug)]
pub struct Table<R>(BTreeMap<String, Arc<R>>);

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Entity> Table<R> {
    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<R>> {
        self.0.get(&name.to_lowercase())
    }

    /// The one of this name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut R> {
        self.0.get_mut(&name.to_lowercase()).map(Arc::make_mut)
    }

    /// Adds one, or puts it in the place of the one of its name.
    pub fn insert(&mut self, record: R) {
        self.0.insert(record.name().to_lowercase(), Arc::new(record));
    }

    /// Removes the one of this name.
    pub fn remove(&mut self, name: &str) -> Option<Arc<R>> {
        self.0.remove(&name.to_lowercase())
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing but records that are the same stands in both.
    pub fn is_same(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.0.iter().zip(&other.0).all(|((a, one), (b, two))| a == b && Arc::ptr_eq(one, two))
    }

    /// Adds what leads from `old` to this.
    fn difference(&self, account: &str, old: &Self, mut batch: Batch) -> Batch {
        for (name, record) in &self.0 {
            if !old.0.get(name).is_some_and(|was| Arc::ptr_eq(was, record)) {
                batch = batch.put(entity_key(R::TABLE, account, name), to_value(&**record));
            }
        }
        for name in old.0.keys().filter(|name| !self.0.contains_key(*name)) {
            batch = batch.delete(entity_key(R::TABLE, account, name));
        }
        batch
    }
}

/// An account's identities.
#[derive(Clone, Debug, Default)]
pub struct AccountState {
    /// The account's own record.
    pub record: AccountRecord,
    /// Its users.
    pub users: Table<UserRecord>,
    /// Its groups.
    pub groups: Table<GroupRecord>,
    /// Its roles.
    pub roles: Table<RoleRecord>,
    /// Its managed policies.
    pub policies: Table<PolicyRecord>,
    /// Its users' access keys.
    pub keys: Table<KeyRecord>,
    /// Its OpenID Connect providers.
    pub providers: Table<ProviderRecord>,
    /// Its instance profiles.
    pub profiles: Table<InstanceProfileRecord>,
}

/// What has policies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Holder {
    /// A user.
    User,
    /// A group.
    Group,
    /// A role.
    Role,
}

impl AccountState {
    /// The policies of a user, group or role.
    pub fn grants(&self, holder: Holder, name: &str) -> Option<&Grants> {
        match holder {
            Holder::User => self.users.get(name).map(|user| &user.grants),
            Holder::Group => self.groups.get(name).map(|group| &group.grants),
            Holder::Role => self.roles.get(name).map(|role| &role.grants),
        }
    }

    /// The policies of a user, group or role, to be changed.
    pub fn grants_mut(&mut self, holder: Holder, name: &str) -> Option<&mut Grants> {
        match holder {
            Holder::User => self.users.get_mut(name).map(|user| &mut user.grants),
            Holder::Group => self.groups.get_mut(name).map(|group| &mut group.grants),
            Holder::Role => self.roles.get_mut(name).map(|role| &mut role.grants),
        }
    }

    /// What leads from `old` to this, expecting that `old` still stands; `None` if nothing does. Counts the change.
    pub(super) fn commit_from(&mut self, account: &str, old: &Self) -> Option<Batch> {
        let mut batch = Batch::new();
        batch = self.users.difference(account, &old.users, batch);
        batch = self.groups.difference(account, &old.groups, batch);
        batch = self.roles.difference(account, &old.roles, batch);
        batch = self.policies.difference(account, &old.policies, batch);
        batch = self.keys.difference(account, &old.keys, batch);
        batch = self.providers.difference(account, &old.providers, batch);
        batch = self.profiles.difference(account, &old.profiles, batch);
        if batch.mutations.is_empty() && self.record == old.record {
            return None;
        }
        let key = single_key(TableId::Account, account);
        // An account is not written down before its first change.
        let expected = (old.record.generation > 0).then(|| to_value(&old.record).into());
        self.record.generation = old.record.generation + 1;
        Some(batch.expect(key.clone(), expected).put(key, to_value(&self.record)))
    }
}
