//! Imported key material. (AWS: developer guide, "Importing key material for AWS KMS keys".)
//!
//! 1. The client asks for a wrapping key. It is made for this import, and kept nowhere: the import token holds it, sealed
//!    under the root key and bound to the id of the KMS key. *Crash: nothing is lost, the token serves until it expires.*
//! 2. The client sends its material, wrapped, and the token. Both are opened and the material is sealed like any other.
//! 3. It expires when the client said, or is deleted. From that moment the key is pending import; the sealed bytes are
//!    removed at once on deletion, and by [`LocalKms::tend`] on expiry. *Crash before: at the next start or tick.*
//!
//! A material's id is derived from it and from its key's id, one way, so that the same material is known again after it
//! is gone.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::blob::MaterialId;
use super::keyring::Key;
use super::material::{self, MaterialSecret};
use super::records::{ImportedRecord, KeyRecord, from_value, to_value};
use super::{KeyState, LocalKms, MILLIS_PER_DAY, Need, off_thread};
use crate::clock::{Timestamp, from_millis};
use crate::crypto::pair::oaep::{OaepHash, OaepKey};
use crate::crypto::pair::{PairKind, RsaSize};
use crate::crypto::{SecretBytes, kdf};
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, KeyArn, KeyRef, KeySpec};

/// What the root key seals import tokens for.
const TOKEN_LABEL: &str = "kms/import-token/";

/// How material is wrapped on its way here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wrapping {
    /// Bits of the wrapping key.
    pub size: RsaSize,
    /// The padding's digest.
    pub hash: OaepHash,
    /// Under an AES key that is itself wrapped (RSA_AES_KEY_WRAP) rather than directly.
    pub by_aes: bool,
}

/// What GetParametersForImport answers.
#[derive(Clone, Debug)]
pub struct ImportParameters {
    /// The key's full ARN.
    pub arn: KeyArn,
    /// The wrapping key's SubjectPublicKeyInfo.
    pub public: Vec<u8>,
    /// The import token.
    pub token: Vec<u8>,
    /// Until when both serve.
    pub valid_to: Timestamp,
}

/// Which material is imported.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The token of GetParametersForImport.
    pub token: Vec<u8>,
    /// The wrapped material.
    pub wrapped: Vec<u8>,
    /// When it expires, if ever.
    pub valid_to: Option<Timestamp>,
    /// Whether it must be new to the key, or must not; `None` is as AWS's default.
    pub is_new: Option<bool>,
    /// Its description; `None` keeps the one it had.
    pub description: Option<String>,
    /// Which it must be, in hex.
    pub id: Option<String>,
}

/// What an import token holds.
#[derive(Decode, Encode)]
#[cbor(map)]
struct Token {
    #[cbor(n(0), with = "minicbor::bytes")]
    private: Vec<u8>,
    /// Bytes of the modulus.
    #[n(1)]
    size: u16,
    #[n(2)]
    sha256: bool,
    #[n(3)]
    by_aes: bool,
    /// Milliseconds since the Unix epoch.
    #[n(4)]
    valid_to: i64,
}

impl Drop for Token {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.private);
    }
}

impl LocalKms {
    /// A wrapping key and an import token, both for a day.
    ///
    /// # Errors
    /// `UnsupportedOperationException` of keys whose material is not imported, and as the key's state and policy say.
    pub async fn import_parameters(
        &self,
        caller: &Caller,
        name: &KeyRef,
        wrapping: Wrapping,
    ) -> Result<ImportParameters, KmsError> {
        let key = self.find(caller, name, "kms:GetParametersForImport")?;
        self.permit(caller, &key, "kms:GetParametersForImport")?;
        is_external(&key)?;
        key.state(self.clock.now()).allow(Need::Change, key.arn.as_str())?;
        let size = wrapping.size;
        let made = self.make(move || {
            let private = PairKind::Rsa(size).generate()?;
            let public = OaepKey::open(size, private.expose())?.public().to_vec();
            Ok((private, public))
        });
        let (private, public) = made.await?;
        let valid_to = self.clock.now().as_millisecond().saturating_add(MILLIS_PER_DAY);
        let token = Token {
            private: private.expose().to_vec(),
            size: u16::try_from(size.bytes()).unwrap_or_default(),
            sha256: wrapping.hash == OaepHash::Sha256,
            by_aes: wrapping.by_aes,
            valid_to,
        };
        let plain = SecretBytes::new(to_value(&token));
        let token = self.root.seal(&*self.entropy, &token_label(&key), plain.expose());
        Ok(ImportParameters { arn: key.arn.clone(), public, token, valid_to: from_millis(valid_to) })
    }

    /// Imports material; the key's ARN and the material's id.
    ///
    /// # Errors
    /// `InvalidImportTokenException`, `ExpiredImportTokenException`, `InvalidCiphertextException`,
    /// `IncorrectKeyMaterialException`, and as [`Self::import_parameters`].
    pub async fn import(&self, caller: &Caller, name: &KeyRef, import: Import) -> Result<(KeyArn, String), KmsError> {
        let action = "kms:ImportKeyMaterial";
        let key = self.find(caller, name, action)?;
        self.permit(caller, &key, action)?;
        is_external(&key)?;
        key.state(self.clock.now()).allow(Need::Change, key.arn.as_str())?;
        let now = self.clock.now().as_millisecond();
        check_end(import.valid_to, now)?;
        let named = import.is_new.is_some() || import.description.is_some() || import.id.is_some();
        if named && key.spec != KeySpec::SymmetricDefault {
            let message = "ImportType, KeyMaterialDescription and KeyMaterialId are valid for symmetric encryption KMS keys only.";
            return Err(KmsErrorKind::Validation.with(message));
        }
        let token = self.open_token(&key, &import.token)?;
        let wrapped = import.wrapped.clone();
        let plain = off_thread(move || unwrap(&token, &wrapped)).await??;
        let id = identify(&key, &plain)?;
        if import.id.as_ref().is_some_and(|expected| *expected != hex::encode(id)) {
            return Err(incorrect());
        }
        let change = |key: &Key, record: &mut KeyRecord| {
            let mut sealed = material::seal(&record.id, id, &plain, &self.root, &*self.entropy, now);
            let known = record.materials.iter().position(|material| material.id == id);
            let is_new = import.is_new.unwrap_or(record.materials.is_empty());
            let description = import.description;
            let valid_to = import.valid_to.map(Timestamp::as_millisecond);
            match (known, is_new) {
                (Some(at), false) => {
                    let former = &mut record.materials[at];
                    let imported = former.imported.take().unwrap_or_default();
                    let description = description.or(imported.description);
                    former.imported = Some(ImportedRecord { valid_to, description, ..imported });
                    former.sealed = sealed.sealed;
                }
                (None, true) if record.materials.is_empty() || key.spec == KeySpec::SymmetricDefault => {
                    if let Some(pending) = key.materials.iter().find(|material| material.pending) {
                        let (id, pending) = (hex::encode(id), hex::encode(pending.id));
                        return Err(KmsErrorKind::InvalidState.with(format!(
                            "New key material (id: {id}) cannot be imported into KMS key {}, because another key \
                             material (id: {pending}) is pending rotation.",
                            key.arn
                        )));
                    }
                    let pending = !record.materials.is_empty();
                    sealed.imported = Some(ImportedRecord { valid_to, description, pending });
                    record.materials.push(sealed);
                }
                (Some(_), true) | (None, _) => return Err(incorrect()),
            }
            // "When this operation is successful, the state of the KMS key changes to Enabled" (ImportKeyMaterial): whatever it
            // was before its material was gone.
            if key.state(from_millis(now)) == KeyState::PendingImport {
                record.state = KeyState::Enabled.to_byte();
            }
            Ok(())
        };
        let key = self.try_change(caller, name, action, Need::Change, change).await?;
        Ok((key.arn.clone(), hex::encode(id)))
    }

    /// Deletes imported material, the current one if none is named; the key's ARN and the material's id.
    ///
    /// # Errors
    /// `NotFoundException` if the key has no such material, and as [`Self::import_parameters`].
    pub async fn delete_imported(
        &self,
        caller: &Caller,
        name: &KeyRef,
        id: Option<&str>,
    ) -> Result<(KeyArn, Option<String>), KmsError> {
        let mut deleted = None;
        let change = |key: &Key, record: &mut KeyRecord| {
            is_external(key)?;
            let named = |other: &MaterialId| id.is_some_and(|id| hex::encode(other) == id);
            let at = match id {
                Some(_) => {
                    key.materials.iter().position(|material| named(&material.id)).map(Some).ok_or_else(|| {
                        KmsErrorKind::NotFound.with(format!("Key material '{}' does not exist", id.unwrap_or_default()))
                    })?
                }
                None => key.materials.iter().rposition(|material| !material.pending),
            };
            let Some(at) = at else { return Ok(()) };
            deleted = Some(hex::encode(record.materials[at].id));
            if key.materials[at].pending {
                // Nothing was ever encrypted with it.
                record.materials.remove(at);
            } else {
                forget(record, at);
            }
            Ok(())
        };
        let key = self.try_change(caller, name, "kms:DeleteImportedKeyMaterial", Need::Any, change).await?;
        Ok((key.arn.clone(), deleted))
    }

    /// Removes the sealed bytes of imported material that has expired; the ids of the keys.
    ///
    /// # Errors
    /// [`KmsErrorKind::Unavailable`] if the store fails.
    pub(super) async fn expire_due(&self) -> Result<Vec<KeyArn>, KmsError> {
        let _changing = self.changing.lock().await;
        let now = self.clock.now();
        let expired = |key: &Key| -> Vec<usize> {
            let materials = key.materials.iter().enumerate();
            let gone = materials.filter(|(_, material)| material.secret.is_some() && !material.is_present(now));
            gone.map(|(at, _)| at).collect()
        };
        let due: Vec<(Arc<Key>, Vec<usize>)> = {
            let ring = self.ring();
            let keys = ring.keys.values().map(|key| (Arc::clone(key), expired(key)));
            keys.filter(|(_, expired)| !expired.is_empty()).collect()
        };
        for (key, expired) in &due {
            let mut record = key.record.clone();
            for &at in expired {
                forget(&mut record, at);
            }
            self.replace(key, record).await?;
        }
        Ok(due.iter().map(|(key, _)| key.arn.clone()).collect())
    }

    fn open_token(&self, key: &Key, token: &[u8]) -> Result<Token, KmsError> {
        let invalid = || KmsErrorKind::InvalidImportToken.with("");
        let plain = self.root.open(&token_label(key), token).map_err(|_| invalid())?;
        let token: Token = from_value(plain.expose()).map_err(|_| invalid())?;
        if from_millis(token.valid_to) <= self.clock.now() {
            return Err(KmsErrorKind::ExpiredImportToken.with(""));
        }
        Ok(token)
    }
}

/// Removes the sealed bytes of a material, and keeps what lets it be known again.
fn forget(record: &mut KeyRecord, at: usize) {
    if let Some(material) = record.materials.get_mut(at) {
        material.sealed = Vec::new().into();
        material.imported.get_or_insert_default().valid_to = None;
    }
}

/// "The value of this parameter must be a future date and time. The maximum value is 365 days from the request date."
/// (ImportKeyMaterial)
fn check_end(valid_to: Option<Timestamp>, now: i64) -> Result<(), KmsError> {
    let most = now.saturating_add(365 * MILLIS_PER_DAY);
    match valid_to.map(Timestamp::as_millisecond) {
        Some(end) if end <= now || end > most => {
            Err(KmsErrorKind::Validation.with("The validTo date must be in the future, at most 365 days from now."))
        }
        _ => Ok(()),
    }
}

fn unwrap(token: &Token, wrapped: &[u8]) -> Result<SecretBytes, KmsError> {
    let invalid = |_| KmsErrorKind::InvalidCiphertext.with("");
    let size = match token.size {
        256 => RsaSize::Bits2048,
        384 => RsaSize::Bits3072,
        _ => RsaSize::Bits4096,
    };
    let key = OaepKey::open(size, &token.private).map_err(invalid)?;
    let hash = if token.sha256 { OaepHash::Sha256 } else { OaepHash::Sha1 };
    if token.by_aes { key.unwrap(hash, wrapped) } else { key.decrypt(hash, wrapped) }.map_err(invalid)
}

/// The id of material that is the key's kind. Of a pair it is that of the public half: PKCS #8 has many forms.
fn identify(key: &Key, plain: &SecretBytes) -> Result<MaterialId, KmsError> {
    let derive = |from: &[u8]| *kdf::derive::<32>(from, &key.raw_id, &[b"strongroom/kms/material-id"]).expose();
    match MaterialSecret::open(key.spec, key.usage, plain.expose()).map_err(|_| incorrect())? {
        MaterialSecret::Pair(pair) => Ok(derive(pair.public())),
        MaterialSecret::Symmetric(_) | MaterialSecret::Mac(_) => Ok(derive(plain.expose())),
    }
}

fn is_external(key: &Key) -> Result<(), KmsError> {
    if key.is_external() {
        return Ok(());
    }
    let message = format!("{} origin is AWS_KMS which is not valid for this operation.", key.arn);
    Err(KmsErrorKind::UnsupportedOperation.with(message))
}

fn incorrect() -> KmsError {
    KmsErrorKind::IncorrectKeyMaterial.with("")
}

fn token_label(key: &Key) -> String {
    format!("{TOKEN_LABEL}{}", key.record.id)
}
