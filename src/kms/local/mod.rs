//! The embedded key service: keys in the [`MetaStore`], sealed under the root key, held ready in memory.
//!
//! Reads (encrypt, decrypt, generate) touch memory alone, so that a disabled key bites on the next request and a data key
//! costs microseconds. Changes are serialised by one lock: the record is committed with the former one expected, and only
//! then does memory change. *A crash between the two leaves the change done: memory is read from the store at start.*

mod administration;
mod aliases;
mod asymmetric;
mod blob;
mod ciphers;
mod circumstances;
mod encapsulation;
mod grants;
mod import;
mod keyring;
mod mac;
mod material;
mod policy;
mod records;
mod reseal;
mod rotation;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;
mod usage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::keyring::{Key, Keyring, is_multi_region, raw_id};
use self::material::open_key;
use self::policy::{KeyUse, denied};
use self::records::{ALIAS_TABLE, AliasRecord, GRANT_TABLE, GrantRecord, KEY_TABLE, USAGE_TABLE};
use self::usage::{LastUses, Written};
use super::error::{KmsError, KmsErrorKind};
use super::root::{RootKey, RootKeyError};
use super::{Caller, KeyArn, KeyRef, KeyUsage, resource_arn};
use crate::clock::SharedClock;
use crate::crypto::pair::PairError;
use crate::crypto::{SecretBytes, SharedEntropy};
use crate::policy::Registry;
use crate::store::{KeyRange, MetaStore, Partition, StoreError};

pub use administration::{KeyMetadata, MAX_TAGS, NewKey};
pub use aliases::AliasEntry;
pub use asymmetric::{GeneratedPair, PublicKey, Signable, data_pair};
pub use ciphers::Cipher;
pub use grants::{Grant, GrantConstraints, GrantRef, GrantTerms, Grantee};
pub use import::{Import, ImportParameters, Wrapping};
pub use policy::{Beside, MAX_POLICY, RemoteKeyUse, default_policy, untold};
pub use rotation::{DEFAULT_PERIOD, ImportEntry, MaterialEntry, MaterialState, RotationStatus};
pub use state::{KeyState, Need};
pub use upkeep::Tended;
pub use usage::{KeyLastUsage, LastUse};

/// Key pairs that are made at once.
const MAKERS: usize = 2;
const MILLIS_PER_DAY: i64 = 86_400_000;
/// Pairs read at once at start.
const PAGE: usize = 1000;

/// The embedded key service of one region.
pub struct LocalKms {
    store: Arc<dyn MetaStore>,
    root: Arc<RootKey>,
    clock: SharedClock,
    entropy: SharedEntropy,
    region: String,
    keyring: RwLock<Keyring>,
    last_uses: LastUses,
    /// Whether some of them are not written down yet.
    unwritten_uses: AtomicBool,
    /// Counts the changes to the keyring.
    generation: AtomicU64,
    /// When imported material expires next: a change that nobody makes. Milliseconds since the Unix epoch.
    next_expiry: AtomicI64,
    /// Bounds how many key pairs are made at once: each takes a processor for up to seconds.
    makers: tokio::sync::Semaphore,
    /// Held while a change is committed.
    changing: tokio::sync::Mutex<()>,
    /// Whom key policies may name; until it is known, anybody.
    registry: OnceLock<Arc<dyn Registry>>,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The records could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The materials could not be opened.
    #[error(transparent)]
    Root(#[from] RootKeyError),
}

impl LocalKms {
    /// Whether `store` holds keys that some root key has sealed.
    ///
    /// # Errors
    /// As [`MetaStore::scan`].
    pub async fn has_keys(store: &dyn MetaStore) -> Result<bool, StoreError> {
        Ok(!store.scan(Partition::KMS, &KeyRange::prefix(&[KEY_TABLE]), 1).await?.is_empty())
    }

    /// The service over the keys that `store` holds.
    ///
    /// # Errors
    /// [`OpenError`]: a wrong root key is told from damage.
    pub async fn open(
        store: Arc<dyn MetaStore>,
        root: Arc<RootKey>,
        clock: SharedClock,
        entropy: SharedEntropy,
        region: String,
    ) -> Result<Self, OpenError> {
        let mut keyring = Keyring::default();
        for (_, value) in read_all(&*store, KEY_TABLE).await? {
            keyring.insert(open_key(records::from_value(&value)?, &root, &region)?);
        }
        for (key, value) in read_all(&*store, ALIAS_TABLE).await? {
            let (account, alias) = records::split_alias_key(&key)
                .ok_or_else(|| StoreError::Corrupt("the key of a KMS alias".to_owned()))?;
            keyring.aliases.insert((account.to_owned(), alias.to_owned()), records::from_value::<AliasRecord>(&value)?);
        }
        for (key, value) in read_all(&*store, GRANT_TABLE).await? {
            let id = records::subject(&key).ok_or_else(|| StoreError::Corrupt("the key of a KMS grant".to_owned()))?;
            let grant: GrantRecord = records::from_value(&value)?;
            keyring.grants.insert((id.to_owned(), grant.id.clone()), grant);
        }
        let mut last_uses = HashMap::new();
        for (key, value) in read_all(&*store, USAGE_TABLE).await? {
            let id = records::subject(&key)
                .ok_or_else(|| StoreError::Corrupt("the key of a KMS key's last use".to_owned()))?;
            last_uses.insert(id.to_owned(), (records::from_value(&value)?, Written::Yes));
        }
        let (keyring, last_uses) = (RwLock::new(keyring), LastUses::new(last_uses));
        let (generation, changing) = (AtomicU64::new(0), tokio::sync::Mutex::new(()));
        let makers = tokio::sync::Semaphore::new(MAKERS);
        let unwritten_uses = AtomicBool::new(false);
        Ok(Self {
            store,
            root,
            clock,
            entropy,
            region,
            keyring,
            last_uses,
            unwritten_uses,
            generation,
            next_expiry: AtomicI64::new(i64::MIN),
            makers,
            changing,
            registry: OnceLock::new(),
        })
    }

    /// Whether it has the key or alias of this full name, whatever its state.
    pub fn holds(&self, name: &KeyRef) -> bool {
        let ring = self.ring();
        match name {
            KeyRef::KeyArn(arn) => {
                let key = ring.keys.get(arn.id()).filter(|_| arn.region() == self.region);
                key.is_some_and(|key| key.record.account == arn.account())
            }
            KeyRef::AliasArn { region, account, alias } => {
                *region == self.region && ring.by_alias(account, alias).is_some()
            }
            KeyRef::Id(_) | KeyRef::Alias(_) => false,
        }
    }

    /// How often the keyring has changed, material that has expired since included.
    fn changes(&self) -> u64 {
        let now = self.clock.now().as_millisecond();
        if now >= self.next_expiry.load(Ordering::SeqCst) {
            let ring = self.ring_mut();
            let ends = ring.keys.values().filter_map(|key| key.next_expiry(now)).min();
            self.next_expiry.store(ends.unwrap_or(i64::MAX), Ordering::SeqCst);
        }
        self.generation.load(Ordering::SeqCst)
    }

    /// From now on key policies may name those alone whom `registry` knows, and are kept by unique ids.
    pub fn know(&self, registry: Arc<dyn Registry>) {
        // The first one stays.
        let _ = self.registry.set(registry);
    }

    /// The region of its keys.
    pub fn region(&self) -> &str {
        &self.region
    }

    fn ring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keyring, to be changed. Whoever reads the new generation waits for the change before using a key.
    fn ring_mut(&self) -> RwLockWriteGuard<'_, Keyring> {
        let ring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        ring
    }

    /// The key that `caller` names, for `action`, whatever its state. What another account does not have is refused like what
    /// it has and does not let use.
    fn find(&self, caller: &Caller, name: &KeyRef, action: &'static str) -> Result<Arc<Key>, KmsError> {
        let not_found = |text: String| KmsErrorKind::NotFound.with(text);
        let absent = |account: &str, text: String| {
            if account == caller.account { not_found(text) } else { untold(caller, action) }
        };
        let missing = |account: &str, id: &str| {
            absent(account, format!("Key '{}' does not exist", KeyArn::new(&self.region, account, id)))
        };
        let here = |region: &str| {
            if region == self.region { Ok(()) } else { Err(not_found(format!("Invalid arn {region}"))) }
        };
        let ring = self.ring();
        let key = match name {
            KeyRef::Id(id) => {
                if raw_id(id).is_none() && !is_multi_region(id) {
                    return Err(not_found(format!("Invalid keyId '{id}'")));
                }
                let key = ring.keys.get(id).filter(|key| key.record.account == caller.account);
                key.ok_or_else(|| missing(&caller.account, id))?
            }
            KeyRef::KeyArn(arn) => {
                here(arn.region())?;
                if raw_id(arn.id()).is_none() && !is_multi_region(arn.id()) {
                    return Err(absent(arn.account(), format!("Invalid keyId {}", arn.id())));
                }
                let key = ring.keys.get(arn.id()).filter(|key| key.record.account == arn.account());
                key.ok_or_else(|| missing(arn.account(), arn.id()))?
            }
            KeyRef::Alias(alias) => {
                let key = ring.by_alias(&caller.account, alias);
                key.ok_or_else(|| not_found(self.no_alias(&caller.account, alias)))?
            }
            KeyRef::AliasArn { region, account, alias } => {
                here(region)?;
                ring.by_alias(account, alias).ok_or_else(|| absent(account, self.no_alias(account, alias)))?
            }
        };
        if key.is_due(self.clock.now()) {
            return Err(missing(&key.record.account, &key.record.id));
        }
        // Of another account's key its caller's log tells nothing before it is let in.
        if key.record.account == caller.account {
            caller.witness.see_resource(action, key.arn.as_str());
        }
        Ok(Arc::clone(key))
    }

    /// Makes a key pair where it holds up nobody, when its turn has come.
    async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PairError> + Send + 'static,
    ) -> Result<T, KmsError> {
        let failed = |error| KmsErrorKind::Internal.because("the key pair could not be made", error);
        let _turn = self.makers.acquire().await.map_err(|_| KmsErrorKind::Internal.with("no key pairs are made"))?;
        off_thread(work).await?.map_err(failed)
    }

    fn no_alias(&self, account: &str, alias: &str) -> String {
        format!("Alias {} is not found.", resource_arn(&self.region, account, alias))
    }

    /// The key that `caller` names, if it may be used for `action` now and is meant for that.
    fn usable<'r>(
        &self,
        caller: &Caller,
        name: &KeyRef,
        key_use: impl Into<KeyUse<'r>>,
        usage: KeyUsage,
    ) -> Result<Arc<Key>, KmsError> {
        let key_use = key_use.into();
        let key = self.find(caller, name, key_use.action)?;
        self.permit(caller, &key, key_use)?;
        // That a key is not for this at all is told before that it is not now. (Recorded on AWS by floci's
        // keyUsageIsCheckedBeforeTheKeyState.)
        check_usage(&key, key_use.action, usage)?;
        key.state(self.clock.now()).allow(Need::Use, key.arn.as_str())?;
        Ok(key)
    }

    /// The key that `caller` names, if it may be looked at.
    fn visible(&self, caller: &Caller, name: &KeyRef, action: &'static str) -> Result<Arc<Key>, KmsError> {
        let key = self.find(caller, name, action)?;
        self.permit(caller, &key, action)?;
        Ok(key)
    }

    /// Random bytes.
    pub fn random(&self, length: usize) -> SecretBytes {
        let mut bytes = vec![0; length];
        self.entropy.fill(&mut bytes);
        SecretBytes::new(bytes)
    }
}

/// Whether the key is meant for the operation.
fn check_usage(key: &Key, action: &'static str, usage: KeyUsage) -> Result<(), KmsError> {
    if key.usage == usage {
        return Ok(());
    }
    let usage = key.usage.as_str();
    let message = format!("{} key usage is {usage} which is not valid for {}.", key.arn, operation(action));
    Err(KmsErrorKind::InvalidKeyUsage.with(message))
}

/// The key's spec does not know the algorithm.
fn incompatible(key: &Key, algorithm: &str) -> KmsError {
    let message = format!("Algorithm {algorithm} is incompatible with key spec {}.", key.spec.as_str());
    KmsErrorKind::InvalidKeyUsage.with(message)
}

/// The operation that an IAM action stands for.
fn operation(action: &'static str) -> &'static str {
    match action.strip_prefix("kms:").unwrap_or(action) {
        "ReEncryptFrom" | "ReEncryptTo" => "ReEncrypt",
        operation => operation,
    }
}

/// What the key's material is found to be lacking, though its state says otherwise: a fault of ours.
fn no_material() -> KmsError {
    KmsErrorKind::Internal.with("the key has no material of its kind")
}

/// Does slow cryptography where it holds up nobody.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, KmsError> {
    let failed = |error| KmsErrorKind::Internal.because("the operation did not end", error);
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

async fn read_all(store: &dyn MetaStore, table: u8) -> Result<Vec<crate::store::Pair>, StoreError> {
    let mut range = KeyRange::prefix(&[table]);
    let mut all = Vec::new();
    loop {
        let page = store.scan(Partition::KMS, &range, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        range.start = last.to_vec();
        range.start.push(0);
        all.extend(page);
    }
}
