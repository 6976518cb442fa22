//! The embedded key service: keys in the [`MetaStore`], sealed under the root key, held ready in memory.
//!
//! Reads (encrypt, decrypt, generate) touch memory alone, so that a disabled key bites on the next request and a data key
//! costs microseconds. Changes are serialised by one lock: the record is committed with the former one expected, and only
//! then does memory change. *A crash between the two leaves the change done: memory is read from the store at start.*

mod administration;
mod blob;
mod keyring;
mod records;
mod state;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use self::blob::BlobHeader;
use self::keyring::{Key, Keyring, Material, raw_id};
use self::records::{ALIAS_TABLE, AliasRecord, KEY_TABLE, KeyRecord, MaterialRecord};
use super::error::{KmsError, KmsErrorKind};
use super::root::{RootKey, RootKeyError};
use super::{
    Caller, DataKey, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, WrappedKey,
};
use crate::clock::SharedClock;
use crate::crypto::{Secret, SecretBytes, SharedEntropy, random};
use crate::store::{KeyRange, MetaStore, Partition, StoreError};

pub use administration::{AliasEntry, KeyMetadata, NewKey};
pub use state::{KeyState, Need};

/// Most bytes that Encrypt takes. (AWS: API reference, Encrypt.)
pub const MAX_PLAINTEXT: usize = 4096;
/// Most bytes of a ciphertext blob. (AWS: API reference, Decrypt.)
const MAX_BLOB: usize = 6144;
/// Pairs read at once at start.
const PAGE: usize = 1000;
/// What the root key seals key materials for.
const MATERIAL_LABEL: &str = "kms/key-material/";

/// The embedded key service of one region.
pub struct LocalKms {
    store: Arc<dyn MetaStore>,
    root: Arc<RootKey>,
    clock: SharedClock,
    entropy: SharedEntropy,
    region: String,
    keyring: RwLock<Keyring>,
    /// Counts the changes to the keyring.
    generation: AtomicU64,
    /// Held while a change is committed.
    changing: tokio::sync::Mutex<()>,
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
        let keyring = RwLock::new(keyring);
        let (generation, changing) = (AtomicU64::new(0), tokio::sync::Mutex::new(()));
        Ok(Self { store, root, clock, entropy, region, keyring, generation, changing })
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

    /// The key that `caller` names, whatever its state.
    fn find(&self, caller: &Caller, name: &KeyRef) -> Result<Arc<Key>, KmsError> {
        let not_found = |text: String| KmsErrorKind::NotFound.with(text);
        let missing = |account: &str, id: &str| {
            not_found(format!("Key '{}' does not exist", KeyArn::new(&self.region, account, id)))
        };
        let here = |region: &str| {
            if region == self.region { Ok(()) } else { Err(not_found(format!("Invalid arn {region}"))) }
        };
        let ring = self.ring();
        let key = match name {
            KeyRef::Id(id) => {
                raw_id(id).ok_or_else(|| not_found(format!("Invalid keyId '{id}'")))?;
                let key = ring.keys.get(id).filter(|key| key.record.account == caller.account);
                key.ok_or_else(|| missing(&caller.account, id))?
            }
            KeyRef::KeyArn { region, account, id } => {
                here(region)?;
                let key = ring.keys.get(id).filter(|key| key.record.account == *account);
                key.ok_or_else(|| missing(account, id))?
            }
            KeyRef::Alias(alias) => {
                let key = ring.by_alias(&caller.account, alias);
                key.ok_or_else(|| not_found(self.no_alias(&caller.account, alias)))?
            }
            KeyRef::AliasArn { region, account, alias } => {
                here(region)?;
                ring.by_alias(account, alias).ok_or_else(|| not_found(self.no_alias(account, alias)))?
            }
        };
        if key.is_due(self.clock.now()) {
            return Err(missing(&key.record.account, &key.record.id));
        }
        Ok(Arc::clone(key))
    }

    fn no_alias(&self, account: &str, alias: &str) -> String {
        format!("Alias arn:aws:kms:{}:{account}:{alias} is not found.", self.region)
    }

    /// The key that `caller` names, if it may be used for `action` now.
    fn usable(&self, caller: &Caller, name: &KeyRef, action: &'static str) -> Result<Arc<Key>, KmsError> {
        let key = self.find(caller, name)?;
        permit(caller, &key, action)?;
        key.state.allow(Need::Use, key.arn.as_str())?;
        Ok(key)
    }

    /// The key that `caller` names, if it may be looked at: by its account, be it managed by AWS or not.
    fn visible(&self, caller: &Caller, name: &KeyRef, action: &'static str) -> Result<Arc<Key>, KmsError> {
        let key = self.find(caller, name)?;
        if key.record.account == caller.account { Ok(key) } else { Err(denied(caller, &key, action)) }
    }

    fn wrap(&self, key: &Key, plaintext: &[u8], context: &EncryptionContext) -> Result<WrappedKey, KmsError> {
        let material = key.current().ok_or_else(|| KmsErrorKind::Internal.with("the key has no material"))?;
        let header = BlobHeader { key: key.raw_id, material: material.id };
        Ok(WrappedKey {
            blob: blob::seal(header, &material.secret, context, plaintext, &*self.entropy),
            key_arn: key.arn.clone(),
            material_id: Some(hex::encode(material.id)),
        })
    }

    fn unwrap(
        &self,
        caller: &Caller,
        blob: &[u8],
        name: Option<&KeyRef>,
        context: &EncryptionContext,
        action: &'static str,
    ) -> Result<Decrypted, KmsError> {
        // AWS answers InvalidCiphertextException without a text.
        let invalid = || KmsErrorKind::InvalidCiphertext.with("");
        let header = BlobHeader::read(blob).filter(|_| blob.len() <= MAX_BLOB).ok_or_else(invalid)?;
        let named = name.map(|name| self.find(caller, name)).transpose()?;
        let key = self.ring().by_raw_id(&header.key).cloned().ok_or_else(invalid)?;
        if key.is_due(self.clock.now()) {
            return Err(KmsErrorKind::NotFound.with(format!("Key '{}' does not exist", key.arn)));
        }
        if named.is_some_and(|named| named.raw_id != key.raw_id) {
            return Err(KmsErrorKind::IncorrectKey
                .with("The key ID in the request does not identify a CMK that can perform this operation."));
        }
        permit_decrypt(caller, &key, action)?;
        key.state.allow(Need::Use, key.arn.as_str())?;
        let material = key.material(&header.material).ok_or_else(invalid)?;
        let plaintext = blob::open(blob, &material.secret, context).map_err(|_| invalid())?;
        Ok(Decrypted { plaintext, key_arn: key.arn.clone(), material_id: Some(hex::encode(material.id)) })
    }

    /// A data key of `length` bytes in clear and wrapped.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn generate(
        &self,
        caller: &Caller,
        name: &KeyRef,
        context: &EncryptionContext,
        length: usize,
        action: &'static str,
    ) -> Result<(SecretBytes, WrappedKey), KmsError> {
        let key = self.usable(caller, name, action)?;
        let mut plaintext = vec![0; length];
        self.entropy.fill(&mut plaintext);
        let plaintext = SecretBytes::new(plaintext);
        let wrapped = self.wrap(&key, plaintext.expose(), context)?;
        Ok((plaintext, wrapped))
    }

    /// The key and material that made a blob of the caller's, without opening it.
    ///
    /// # Errors
    /// `InvalidCiphertextException` if it is no blob of this service.
    pub fn origin(&self, caller: &Caller, blob: &[u8]) -> Result<(KeyArn, String), KmsError> {
        let invalid = || KmsErrorKind::InvalidCiphertext.with("");
        let header = BlobHeader::read(blob).ok_or_else(invalid)?;
        let key = self.ring().by_raw_id(&header.key).cloned().ok_or_else(invalid)?;
        permit_decrypt(caller, &key, "kms:ReEncryptFrom")?;
        Ok((key.arn.clone(), hex::encode(header.material)))
    }

    /// Random bytes.
    pub fn random(&self, length: usize) -> SecretBytes {
        let mut bytes = vec![0; length];
        self.entropy.fill(&mut bytes);
        SecretBytes::new(bytes)
    }
}

#[async_trait]
impl Kms for LocalKms {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        name: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        if caller.via_service.is_some() {
            self.ensure_managed_key(caller, name).await?;
        }
        let key = self.usable(caller, name, "kms:GenerateDataKey")?;
        let secret = Secret::filled(|bytes: &mut [u8; 32]| self.entropy.fill(bytes));
        let wrapped = self.wrap(&key, secret.expose(), context)?;
        Ok(GeneratedKey { key: DataKey::new(secret), wrapped })
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        self.unwrap(caller, blob, key, context, "kms:Decrypt")
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        if caller.via_service.is_some() {
            self.ensure_managed_key(caller, key).await?;
        }
        let key = self.usable(caller, key, "kms:Encrypt")?;
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(KmsErrorKind::Validation.with(
                "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have \
                 length less than or equal to 4096",
            ));
        }
        self.wrap(&key, plaintext, context)
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        (from, from_context): (Option<&KeyRef>, &EncryptionContext),
        (to, to_context): (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        if caller.via_service.is_some() {
            self.ensure_managed_key(caller, to).await?;
        }
        let target = self.usable(caller, to, "kms:ReEncryptTo")?;
        let opened = self.unwrap(caller, blob, from, from_context, "kms:ReEncryptFrom")?;
        self.wrap(&target, opened.plaintext.expose(), to_context)
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        let key = self.visible(caller, key, "kms:DescribeKey")?;
        Ok(KeyDescription {
            arn: key.arn.clone(),
            enabled: key.state == KeyState::Enabled,
            aws_managed: key.record.aws_managed,
        })
    }

    fn generation(&self) -> Option<u64> {
        Some(self.generation.load(Ordering::SeqCst))
    }
}

/// Whether the key's policy lets `caller` do `action`: the default policy of a customer's key lets its account do
/// everything; that of an AWS managed key lets the account use it through its service alone.
fn permit(caller: &Caller, key: &Key, action: &'static str) -> Result<(), KmsError> {
    let own = key.record.account == caller.account;
    if own && (!key.record.aws_managed || caller.via_service.is_some()) {
        return Ok(());
    }
    Err(denied(caller, key, action))
}

fn denied(caller: &Caller, key: &Key, action: &'static str) -> KmsError {
    KmsErrorKind::AccessDenied.with(format!(
        "User: {} is not authorized to perform: {action} on resource: {} because no resource-based policy allows the \
         {action} action",
        caller.principal, key.arn
    ))
}

/// As [`permit`]; a caller who names no key is not told whether it exists.
fn permit_decrypt(caller: &Caller, key: &Key, action: &'static str) -> Result<(), KmsError> {
    permit(caller, key, action).map_err(|_| {
        KmsErrorKind::AccessDenied.with(
            "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you \
             are not allowed to access.",
        )
    })
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

/// Brings a stored key into its ready form.
fn open_key(record: KeyRecord, root: &RootKey, region: &str) -> Result<Key, OpenError> {
    let damaged = || StoreError::Corrupt(format!("KMS key {}", record.id));
    let raw_id = raw_id(&record.id).ok_or_else(damaged)?;
    let state = KeyState::from_byte(record.state).ok_or_else(damaged)?;
    let mut materials = Vec::with_capacity(record.materials.len());
    for material in &record.materials {
        let secret = root.open(&format!("{MATERIAL_LABEL}{}", record.id), &material.sealed)?;
        let secret = Secret::from_slice(secret.expose()).ok_or_else(damaged)?;
        materials.push(Material { id: material.id, secret });
    }
    Ok(Key { arn: KeyArn::new(region, &record.account, &record.id), raw_id, state, record, materials })
}

/// Fresh material for the key `id`.
fn new_material(id: &str, root: &RootKey, entropy: &dyn crate::crypto::Entropy, now: i64) -> MaterialRecord {
    let secret = Secret::filled(|bytes: &mut [u8; 32]| entropy.fill(bytes));
    let sealed = root.seal(entropy, &format!("{MATERIAL_LABEL}{id}"), secret.expose());
    MaterialRecord { id: random::bytes(entropy), sealed: sealed.into(), created: now }
}
