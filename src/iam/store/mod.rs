//! Identities at rest and in memory.
//!
//! All of them are in memory, compiled ([`Compiled`]): authorisation neither reads the store nor parses a policy. A change:
//!
//! 1. is made to a copy of its account's state, by a function that may refuse;
//! 2. is committed as what the copy differs in, expecting the account's generation to be what it was: no two changes ever
//!    meet, and every rule that holds in the copy holds in the store;
//! 3. is compiled and put in the place of the old state, and only then acknowledged.
//!
//! A crash before 2 is durable leaves nothing; one after it leaves what the next start reads. Once begun, 2 and 3 are done
//! whether or not the client still waits for them.

pub mod compiled;
pub mod records;
pub mod state;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

pub use self::compiled::{Compiled, RoleView};
use self::records::{
    AccountRecord, Entity, KeyRecord, LastUseRecord, TableId, from_value, single_key, split_key, to_value,
};
pub use self::state::{AccountState, Holder, Table};
use crate::crypto::{Entropy, Secret, SecretBytes};
use crate::kms::root::rotation::ResealError;
use crate::kms::root::{RootKey, RootKeyError};
use crate::store::{Batch, KeyRange, MetaStore, Outcome, Partition, StoreError};

/// Pairs read at once at start.
const PAGE: usize = 1000;
/// How often a change is tried again that another process got ahead of.
const ATTEMPTS: usize = 3;
/// The name of the key that seals session tokens, among the server's own records.
const TOKEN_KEY: &str = "session-token-key";
const TOKEN_KEY_LABEL: &str = "strongroom/iam/session-token-key";

/// The identities cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is sealed in them.
    #[error(transparent)]
    Root(#[from] RootKeyError),
}

/// A user's access key, ready for use.
#[derive(Clone, Debug)]
pub struct UserKey {
    /// The account.
    pub account: String,
    /// The user's name, in lower case.
    pub user: String,
    /// Whether it may sign.
    pub active: bool,
    /// The secret.
    pub secret: Arc<SecretBytes>,
}

#[derive(Default)]
struct View {
    accounts: HashMap<String, Arc<Compiled>>,
    keys: HashMap<String, UserKey>,
}

/// The identities of all accounts.
pub struct IdentityStore {
    shared: Arc<Shared>,
    /// Held while a change is made.
    changing: Arc<tokio::sync::Mutex<()>>,
}

struct Shared {
    meta: Arc<dyn MetaStore>,
    root: Arc<RootKey>,
    view: RwLock<View>,
}

impl IdentityStore {
    /// Reads all identities of `meta`, whose secrets `root` opens; and the key that seals session tokens, which is made if
    /// there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        meta: Arc<dyn MetaStore>,
        root: Arc<RootKey>,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Secret<32>, HashMap<String, LastUseRecord>), OpenError> {
        let token_key = token_key(&*meta, &root, entropy).await?;
        let shared = Arc::new(Shared { meta, root, view: RwLock::default() });
        let accounts = read_all(&*shared.meta, TableId::Account, "").await?;
        for (key, _) in &accounts {
            let (account, _) = split_key(key).ok_or_else(|| StoreError::Corrupt("the key of an account".to_owned()))?;
            shared.reload(account).await?;
        }
        let mut uses = HashMap::new();
        for (key, value) in read_all(&*shared.meta, TableId::LastUse, "").await? {
            if let Some((id, _)) = split_key(&key) {
                uses.insert(id.to_owned(), from_value(&value)?);
            }
        }
        Ok((Self { shared, changing: Arc::default() }, token_key, uses))
    }

    /// The account's identities, compiled.
    pub fn account(&self, account: &str) -> Arc<Compiled> {
        self.shared.account(account)
    }

    /// The access key with this id.
    pub fn key(&self, id: &str) -> Option<UserKey> {
        self.shared.view.read().unwrap_or_else(PoisonError::into_inner).keys.get(id).cloned()
    }

    /// Seals a secret access key for storage.
    pub fn seal(&self, entropy: &dyn Entropy, access_key_id: &str, secret: &[u8]) -> Vec<u8> {
        self.shared.root.seal(entropy, &secret_label(access_key_id), secret)
    }

    /// Changes the account's identities; what `change` answers, when it is on stable storage and in force. If `change`
    /// refuses, or changes nothing, nothing is.
    ///
    /// # Errors
    /// What `change` refuses with; [`StoreError`].
    pub async fn change<T, E: From<StoreError>>(
        &self,
        account: &str,
        change: impl Fn(&mut AccountState) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut turn = Arc::clone(&self.changing).lock_owned().await;
        for _ in 0..ATTEMPTS {
            let old = self.account(account);
            let mut state = (*old.state).clone();
            let answer = change(&mut state)?;
            let Some(batch) = state.commit_from(account, &old.state) else { return Ok(answer) };
            let (shared, name) = (Arc::clone(&self.shared), account.to_owned());
            // Whoever waits may go away; the change is done or not, and seen if it is.
            let work = tokio::spawn(async move {
                let committed = shared.commit(&name, batch, state).await;
                (turn, committed)
            });
            let committed;
            (turn, committed) = work.await.map_err(|error| StoreError::Engine(error.into()))?;
            if committed? {
                return Ok(answer);
            }
        }
        Err(StoreError::Engine("another process changes the account's identities again and again".into()).into())
    }

    /// Seals under `root`'s current key what another root key has sealed, and tells how much that was.
    ///
    /// # Errors
    /// [`ResealError`].
    pub async fn reseal(&self, root: &RootKey, entropy: &dyn Entropy) -> Result<usize, ResealError> {
        let failed = |error: &dyn std::error::Error| ResealError::new("the session token key", error);
        let (meta, at) = (&*self.shared.meta, single_key(TableId::Server, TOKEN_KEY));
        let mut count = 0;
        // It is drawn once: nothing but a rotation changes it.
        if let Some(sealed) = meta.get(Partition::IAM, &at).await.map_err(|error| failed(&error))?
            && let Some(fresh) = root.reseal(entropy, TOKEN_KEY_LABEL, &sealed).map_err(|error| failed(&error))?
        {
            let batch = Batch::new().expect(at.clone(), Some(sealed)).put(at, fresh);
            let outcome = meta.commit(Partition::IAM, batch).await.map_err(|error| failed(&error))?;
            count += usize::from(matches!(outcome, Outcome::Applied));
        }
        let accounts: Vec<String> = {
            let view = self.shared.view.read().unwrap_or_else(PoisonError::into_inner);
            view.accounts.keys().cloned().collect()
        };
        for account in accounts {
            let resealed = self.change(&account, |state| {
                let ids: Vec<String> = state.keys.iter().map(|key| key.id.clone()).collect();
                let mut count = 0;
                for key in ids.iter().filter_map(|id| state.keys.get(id).cloned()).collect::<Vec<_>>() {
                    let fresh = root.reseal(entropy, &secret_label(&key.id), &key.sealed)?;
                    if let (Some(fresh), Some(key)) = (fresh, state.keys.get_mut(&key.id)) {
                        key.sealed = fresh.into();
                        count += 1;
                    }
                }
                Ok::<_, OpenError>(count)
            });
            count += resealed.await.map_err(|error| ResealError::new(format!("access keys of {account}"), &error))?;
        }
        Ok(count)
    }

    /// Writes down when keys were last used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write_uses(&self, uses: &[(String, LastUseRecord)]) -> Result<(), StoreError> {
        for page in uses.chunks(PAGE) {
            let batch = page.iter().fold(Batch::new(), |batch, (id, record)| {
                batch.put(single_key(TableId::LastUse, id), to_value(record))
            });
            self.shared.meta.commit(Partition::IAM, batch).await.map(drop)?;
        }
        Ok(())
    }
}

impl Shared {
    fn account(&self, account: &str) -> Arc<Compiled> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.accounts.get(account).cloned().unwrap_or_default()
    }

    /// Whether the batch was applied; the view then shows it. If it was not, the view shows what stands in the store.
    async fn commit(&self, account: &str, batch: Batch, state: AccountState) -> Result<bool, StoreError> {
        match self.meta.commit(Partition::IAM, batch).await? {
            Outcome::Applied => self.install(account, state).map(|()| true),
            Outcome::Conflict { .. } => {
                self.reload(account).await.map_err(|error| StoreError::Engine(error.into()))?;
                Ok(false)
            }
        }
    }

    /// Puts `state` in the place of the account's.
    fn install(&self, account: &str, state: AccountState) -> Result<(), StoreError> {
        let old = self.account(account);
        let mut keys = Vec::new();
        for key in state.keys.iter().filter(|key| !old.state.keys.get(&key.id).is_some_and(|was| Arc::ptr_eq(was, key)))
        {
            let opened = self.open_key(account, key).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            keys.push((key.id.clone(), opened));
        }
        let gone: Vec<&str> = old.state.keys.iter().map(|key| key.id.as_str()).collect();
        let gone: Vec<&str> = gone.into_iter().filter(|id| state.keys.get(id).is_none()).collect();
        let compiled = Arc::new(Compiled::new(account, state, &old));
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        for id in gone {
            view.keys.remove(id);
        }
        view.keys.extend(keys);
        view.accounts.insert(account.to_owned(), compiled);
        Ok(())
    }

    fn open_key(&self, account: &str, key: &KeyRecord) -> Result<UserKey, RootKeyError> {
        let secret = self.root.open(&secret_label(&key.id), &key.sealed)?;
        Ok(UserKey {
            account: account.to_owned(),
            user: key.user.clone(),
            active: key.active,
            secret: Arc::new(secret),
        })
    }

    /// Reads the account's identities.
    async fn reload(&self, account: &str) -> Result<(), OpenError> {
        let meta = &*self.meta;
        let record = meta.get(Partition::IAM, &single_key(TableId::Account, account)).await?;
        let record = record.map(|value| from_value::<AccountRecord>(&value)).transpose()?.unwrap_or_default();
        let state = AccountState {
            record,
            users: read_table(meta, account).await?,
            groups: read_table(meta, account).await?,
            roles: read_table(meta, account).await?,
            policies: read_table(meta, account).await?,
            keys: read_table(meta, account).await?,
            providers: read_table(meta, account).await?,
            profiles: read_table(meta, account).await?,
        };
        // A wrong root key is told as such, and not as damage.
        for key in state.keys.iter() {
            self.open_key(account, key)?;
        }
        Ok(self.install(account, state)?)
    }
}

fn secret_label(access_key_id: &str) -> String {
    format!("strongroom/iam/access-key/{access_key_id}")
}

/// The key that seals session tokens; a fresh one, written down, if there is none.
async fn token_key(meta: &dyn MetaStore, root: &RootKey, entropy: &dyn Entropy) -> Result<Secret<32>, OpenError> {
    let key = single_key(TableId::Server, TOKEN_KEY);
    let damaged = || StoreError::Corrupt("the session token key is not 256 bits".to_owned());
    if meta.get(Partition::IAM, &key).await?.is_none() {
        let made = Secret::filled(|bytes: &mut [u8; 32]| entropy.fill(bytes));
        let sealed = root.seal(entropy, TOKEN_KEY_LABEL, made.expose());
        // If another process has made one at the same time, that one counts.
        let _ = meta.commit(Partition::IAM, Batch::new().expect(key.clone(), None).put(key.clone(), sealed)).await?;
    }
    let sealed = meta.get(Partition::IAM, &key).await?.ok_or_else(damaged)?;
    Ok(Secret::from_slice(root.open(TOKEN_KEY_LABEL, &sealed)?.expose()).ok_or_else(damaged)?)
}

async fn read_table<R: Entity>(meta: &dyn MetaStore, account: &str) -> Result<Table<R>, StoreError> {
    let mut table = Table::default();
    for (_, value) in read_all(meta, R::TABLE, &format!("{account}/")).await? {
        table.insert(from_value::<R>(&value)?);
    }
    Ok(table)
}

async fn read_all(meta: &dyn MetaStore, table: TableId, prefix: &str) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let mut range = KeyRange::prefix(&single_key(table, prefix));
    let mut all = Vec::new();
    loop {
        let page = meta.scan(Partition::IAM, &range, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        range.start = last.to_vec();
        range.start.push(0);
        all.extend(page);
    }
}

#[cfg(test)]
mod tests;
