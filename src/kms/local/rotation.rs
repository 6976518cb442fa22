//! Rotation: a symmetric key gets new material, and keeps the old for what it has encrypted.
//!
//! By the calendar, every 90 to 2 560 days, or on demand, 25 times. AWS managed keys rotate every year. A key that is not
//! enabled when its rotation is due rotates once it is enabled again. (AWS: developer guide, "Rotate AWS KMS keys".)

use std::sync::Arc;

use super::keyring::Key;
use super::material;
use super::records::{KeyRecord, RotatedRecord, RotationRecord};
use super::{KeyState, LocalKms, MILLIS_PER_DAY, Need};
use crate::clock::{Timestamp, from_millis};
use crate::crypto::SecretBytes;
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, KeyArn, KeyRef, KeySpec};

/// Days between automatic rotations, if the client asks for no number; and of AWS managed keys.
pub const DEFAULT_PERIOD: u32 = 365;
/// Most rotations on demand of one key.
const MOST_ON_DEMAND: usize = 25;

/// A key's automatic rotation.
#[derive(Clone, Debug)]
pub struct RotationStatus {
    /// The key's full ARN.
    pub arn: KeyArn,
    /// Days between rotations, and when the next is due, if it is on.
    pub schedule: Option<(u32, Timestamp)>,
}

/// One of a key's materials, as ListKeyRotations shows it.
#[derive(Clone, Debug)]
pub struct MaterialEntry {
    /// `KeyMaterialId`.
    pub id: String,
    /// When it became the current one, and whether on demand; `None` of the first, or while it waits.
    pub rotated: Option<(Timestamp, bool)>,
    /// `KeyMaterialState`.
    pub state: MaterialState,
    /// What only imported material has.
    pub import: Option<ImportEntry>,
}

/// What a material is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MaterialState {
    /// For everything.
    Current,
    /// For decrypting.
    NonCurrent,
    /// For nothing, until it is rotated to.
    PendingRotation,
}

/// What the API shows of imported material.
#[derive(Clone, Debug)]
pub struct ImportEntry {
    /// Whether it is there.
    pub present: bool,
    /// When it expires.
    pub valid_to: Option<Timestamp>,
    /// Its description.
    pub description: Option<String>,
}

impl LocalKms {
    /// Turns automatic rotation on, or changes its period; the first rotation is a period away.
    ///
    /// # Errors
    /// `UnsupportedOperationException` of keys that do not rotate, and as the key's state and policy say.
    pub async fn enable_rotation(&self, caller: &Caller, name: &KeyRef, period: u32) -> Result<(), KmsError> {
        let now = self.clock.now().as_millisecond();
        let change = |_: &Key, record: &mut KeyRecord| {
            record.rotation = Some(RotationRecord { period, next: later(now, period) });
            Ok(())
        };
        self.change_rotation(caller, name, "kms:EnableKeyRotation", rotates_by_itself, change).await.map(drop)
    }

    /// Turns automatic rotation off.
    ///
    /// # Errors
    /// As [`Self::enable_rotation`].
    pub async fn disable_rotation(&self, caller: &Caller, name: &KeyRef) -> Result<(), KmsError> {
        // It is off already of keys that do not rotate. (Recorded on AWS by floci's
        // disableKeyRotationAcceptsAKeySpecThatDoesNotRotate.)
        let change = |_: &Key, record: &mut KeyRecord| {
            record.rotation = None;
            Ok(())
        };
        self.change_rotation(caller, name, "kms:DisableKeyRotation", is_not_external, change).await.map(drop)
    }

    /// A key's automatic rotation.
    ///
    /// # Errors
    /// `UnsupportedOperationException` of keys that do not rotate, and as the key's policy says.
    pub fn rotation_status(&self, caller: &Caller, name: &KeyRef) -> Result<RotationStatus, KmsError> {
        let key = self.visible(caller, name, "kms:GetKeyRotationStatus")?;
        is_symmetric(&key)?;
        // "While the key is pending deletion, the rotation status is false … If you cancel the deletion, the original key rotation
        // status returns" (API reference, GetKeyRotationStatus).
        let is_pending = key.state(self.clock.now()) == KeyState::PendingDeletion;
        let schedule = schedule(&key.record).filter(|_| !is_pending);
        let schedule = schedule.map(|rotation| (rotation.period, from_millis(rotation.next)));
        Ok(RotationStatus { arn: key.arn.clone(), schedule })
    }

    /// Gives a key new material now; one whose material is imported takes that which was imported for it.
    ///
    /// # Errors
    /// `LimitExceededException`, `KMSInvalidStateException` if nothing was imported, and as
    /// [`Self::enable_rotation`].
    pub async fn rotate_on_demand(&self, caller: &Caller, name: &KeyRef) -> Result<KeyArn, KmsError> {
        let plain = self.draw(KeySpec::SymmetricDefault).await?;
        let now = self.clock.now();
        let change = |key: &Key, record: &mut KeyRecord| {
            let on_demand = |rotated: &Option<RotatedRecord>| rotated.is_some_and(|rotated| rotated.on_demand);
            if record.materials.iter().filter(|material| on_demand(&material.rotated)).count() >= MOST_ON_DEMAND {
                return Err(KmsErrorKind::LimitExceeded.with(format!(
                    "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations \
                     can be performed for this key: {}",
                    key.arn
                )));
            }
            if !key.is_external() {
                self.add_material(record, &plain, now.as_millisecond(), true);
                return Ok(());
            }
            let present = key.materials.iter().position(|material| material.pending && material.is_present(now));
            let waiting = present.and_then(|at| record.materials.get_mut(at)).ok_or_else(|| {
                let message = format!("No available key material pending rotation for the key: {}.", key.arn);
                KmsErrorKind::InvalidState.with(message)
            })?;
            waiting.rotated = Some(RotatedRecord { at: now.as_millisecond(), on_demand: true });
            if let Some(imported) = &mut waiting.imported {
                imported.pending = false;
            }
            Ok(())
        };
        let key = self.change_rotation(caller, name, "kms:RotateKeyOnDemand", is_symmetric, change).await?;
        Ok(key.arn.clone())
    }

    /// A key's materials, the oldest first.
    ///
    /// # Errors
    /// As [`Self::rotation_status`].
    pub fn materials(&self, caller: &Caller, name: &KeyRef) -> Result<Vec<MaterialEntry>, KmsError> {
        let key = self.visible(caller, name, "kms:ListKeyRotations")?;
        is_symmetric(&key)?;
        let now = self.clock.now();
        let current = key.current().map(|material| material.id);
        let entries = key.materials.iter().zip(&key.record.materials).map(|(material, record)| MaterialEntry {
            id: hex::encode(material.id),
            rotated: record.rotated.map(|rotated| (from_millis(rotated.at), rotated.on_demand)),
            state: match (material.pending, current == Some(material.id)) {
                (true, _) => MaterialState::PendingRotation,
                (false, true) => MaterialState::Current,
                (false, false) => MaterialState::NonCurrent,
            },
            import: record.imported.as_ref().map(|imported| ImportEntry {
                present: material.is_present(now),
                valid_to: material.valid_to,
                description: imported.description.clone(),
            }),
        });
        Ok(entries.collect())
    }

    /// Rotates the keys whose rotation is due; their ids.
    ///
    /// # Errors
    /// [`KmsErrorKind::Unavailable`] if the store fails.
    pub(super) async fn rotate_due(&self) -> Result<Vec<KeyArn>, KmsError> {
        let _changing = self.changing.lock().await;
        let now = self.clock.now();
        let is_due = |key: &Key| {
            key.state(now) == KeyState::Enabled && schedule(&key.record).is_some_and(|at| from_millis(at.next) <= now)
        };
        let due: Vec<Arc<Key>> = self.ring().keys.values().filter(|key| is_due(key)).cloned().collect();
        for key in &due {
            let mut record = key.record.clone();
            let plain = self.draw(KeySpec::SymmetricDefault).await?;
            self.add_material(&mut record, &plain, now.as_millisecond(), false);
            if let Some(rotation) = &mut record.rotation {
                rotation.next = later(now.as_millisecond(), rotation.period);
            }
            self.replace(key, record).await?;
        }
        Ok(due.iter().map(|key| key.arn.clone()).collect())
    }

    async fn change_rotation(
        &self,
        caller: &Caller,
        name: &KeyRef,
        action: &'static str,
        rotates: impl FnOnce(&Key) -> Result<(), KmsError>,
        change: impl FnOnce(&Key, &mut KeyRecord) -> Result<(), KmsError>,
    ) -> Result<Arc<Key>, KmsError> {
        // That a key with imported material never rotates by itself is told before that it does not now (AWS: developer guide,
        // "Key states of AWS KMS keys"); of what its spec does not allow, its state is told first. (Recorded on AWS by floci's
        // rotationRejectsADisabledKey and rotationRejectsAKeyPendingDeletion.)
        let key = self.find(caller, name, action)?;
        self.permit_change(caller, &key, action)?;
        if !key.is_external() {
            key.state(self.clock.now()).allow(Need::Use, key.arn.as_str())?;
        }
        rotates(&key)?;
        self.try_change(caller, name, action, Need::Use, change).await
    }

    fn add_material(&self, record: &mut KeyRecord, plain: &SecretBytes, now: i64, on_demand: bool) {
        let id = material::new_id(&*self.entropy);
        let mut material = material::seal(&record.id, id, plain, &self.root, &*self.entropy, now);
        material.rotated = Some(RotatedRecord { at: now, on_demand });
        record.materials.push(material);
    }
}

/// When and how often a key rotates by itself.
fn schedule(record: &KeyRecord) -> Option<RotationRecord> {
    let managed = || {
        let last = record.materials.last().filter(|_| record.aws_managed)?;
        let since = last.rotated.map_or(last.created, |rotated| rotated.at);
        Some(RotationRecord { period: DEFAULT_PERIOD, next: later(since, DEFAULT_PERIOD) })
    };
    record.rotation.or_else(managed)
}

fn is_symmetric(key: &Key) -> Result<(), KmsError> {
    if key.spec == KeySpec::SymmetricDefault { Ok(()) } else { Err(KmsErrorKind::UnsupportedOperation.with("")) }
}

fn rotates_by_itself(key: &Key) -> Result<(), KmsError> {
    is_symmetric(key)?;
    is_not_external(key)
}

fn is_not_external(key: &Key) -> Result<(), KmsError> {
    if key.is_external() {
        let message = format!("{} origin is EXTERNAL which is not valid for this operation.", key.arn);
        return Err(KmsErrorKind::UnsupportedOperation.with(message));
    }
    Ok(())
}

fn later(millis: i64, days: u32) -> i64 {
    millis.saturating_add(i64::from(days).saturating_mul(MILLIS_PER_DAY))
}
