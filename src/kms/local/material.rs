//! Key material: how it is made, how it lies in the store, and what it is in memory.
//!
//! At rest it is sealed under the root key, bound to its key's id. In memory it is opened once, into what its spec and
//! usage ask for, and zeroized when the last user lets go of it.

use super::blob::{KeyId, MaterialId};
use super::keyring::{Key, raw_id};
use super::records::{KeyRecord, MaterialRecord};
use super::{KeyState, OpenError};
use crate::clock::{Timestamp, from_millis};
use crate::crypto::mac::MacKey;
use crate::crypto::pair::{KeyPair, PairError, Purpose};
use crate::crypto::{Entropy, Secret, SecretBytes, random};
use crate::kms::root::RootKey;
use crate::kms::spec::MaterialKind;
use crate::kms::{KeyArn, KeySpec, KeyUsage};
use crate::store::StoreError;

/// What the root key seals key materials for.
const LABEL: &str = "kms/key-material/";

/// A key's material.
#[derive(Debug)]
pub(super) struct Material {
    pub id: MaterialId,
    /// `None` if it was imported and deleted since.
    pub secret: Option<MaterialSecret>,
    /// When it expires, if it was imported with an end.
    pub valid_to: Option<Timestamp>,
    /// It was imported and waits for a rotation.
    pub pending: bool,
}

/// Material in clear.
#[derive(Debug)]
pub(super) enum MaterialSecret {
    Symmetric(Secret<32>),
    Mac(Box<MacKey>),
    Pair(KeyPair),
}

impl Material {
    /// Whether it can be used at `now`.
    pub fn is_present(&self, now: Timestamp) -> bool {
        self.secret.is_some() && self.valid_to.is_none_or(|end| now < end)
    }
}

impl MaterialSecret {
    /// Opens material in its plain form.
    ///
    /// # Errors
    /// [`PairError::Malformed`] if it is none of the spec's.
    pub fn open(spec: KeySpec, usage: KeyUsage, plain: &[u8]) -> Result<Self, PairError> {
        match spec.material() {
            MaterialKind::Symmetric => Secret::from_slice(plain).map(Self::Symmetric).ok_or(PairError::Malformed),
            MaterialKind::Mac(hash) => {
                MacKey::new(hash, plain).map(|key| Self::Mac(Box::new(key))).ok_or(PairError::Malformed)
            }
            MaterialKind::Pair(kind) => {
                let purpose = match usage {
                    KeyUsage::EncryptDecrypt => Purpose::Encrypt,
                    KeyUsage::KeyAgreement => Purpose::Agree,
                    KeyUsage::EncapsulateDecapsulate => Purpose::Encapsulate,
                    KeyUsage::SignVerify | KeyUsage::GenerateVerifyMac => Purpose::Sign,
                };
                KeyPair::open(kind, purpose, plain).map(Self::Pair)
            }
        }
    }
}

/// Fresh material of `spec` in its plain form. Pairs take time: not for an async thread.
pub(super) fn draw(spec: KeySpec, entropy: &dyn Entropy) -> Result<SecretBytes, PairError> {
    let random = |length| {
        let mut bytes = vec![0; length];
        entropy.fill(&mut bytes);
        SecretBytes::new(bytes)
    };
    match spec.material() {
        MaterialKind::Symmetric => Ok(random(32)),
        MaterialKind::Mac(hash) => Ok(random(hash.length())),
        MaterialKind::Pair(kind) => kind.generate(),
    }
}

/// `plain` as the store keeps it, as a material of the key `key`.
pub(super) fn seal(
    key: &str,
    id: MaterialId,
    plain: &SecretBytes,
    root: &RootKey,
    entropy: &dyn Entropy,
    now: i64,
) -> MaterialRecord {
    let sealed = root.seal(entropy, &label(key), plain.expose());
    MaterialRecord { id, sealed: sealed.into(), created: now, rotated: None, imported: None }
}

/// A random id for material that is made here.
pub(super) fn new_id(entropy: &dyn Entropy) -> MaterialId {
    random::bytes(entropy)
}

/// Brings a stored key into its ready form.
pub(super) fn open_key(record: KeyRecord, root: &RootKey, region: &str) -> Result<Key, OpenError> {
    let damaged = || StoreError::Corrupt(format!("KMS key {}", record.id));
    let raw_id: KeyId = raw_id(&record.id).ok_or_else(damaged)?;
    let stored_state = KeyState::from_byte(record.state).ok_or_else(damaged)?;
    let spec = KeySpec::from_byte(record.spec.unwrap_or_default()).ok_or_else(damaged)?;
    let usage = KeyUsage::from_byte(record.usage.unwrap_or_default()).ok_or_else(damaged)?;
    let mut materials = Vec::with_capacity(record.materials.len());
    for material in &record.materials {
        let secret = if material.sealed.is_empty() && material.imported.is_some() {
            None
        } else {
            let plain = root.open(&label(&record.id), &material.sealed)?;
            Some(MaterialSecret::open(spec, usage, plain.expose()).map_err(|_| damaged())?)
        };
        let imported = material.imported.as_ref();
        materials.push(Material {
            id: material.id,
            secret,
            valid_to: imported.and_then(|imported| imported.valid_to).map(from_millis),
            pending: imported.is_some_and(|imported| imported.pending),
        });
    }
    let arn = KeyArn::new(region, &record.account, &record.id);
    let policy = super::policy::compile(&record, region).map_err(|_| damaged())?;
    Ok(Key { arn, raw_id, spec, usage, stored_state, record, policy, materials })
}

/// What the root key binds the materials of a key to.
pub(super) fn label(key: &str) -> String {
    format!("{LABEL}{key}")
}
