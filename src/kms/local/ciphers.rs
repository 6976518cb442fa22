//! What keys that encrypt do: ciphertext blobs under symmetric keys, RSA-OAEP under asymmetric ones.

use std::sync::Arc;

use async_trait::async_trait;

use super::blob::{self, BlobHeader};
use super::default_policy;
use super::keyring::{Key, raw_id};
use super::material::{Material, MaterialSecret};
use super::policy::KeyUse;
use super::{KeyState, LocalKms, Need, check_usage, incompatible, no_material, off_thread};
use crate::crypto::pair::oaep::OaepHash;
use crate::crypto::pair::{KeyPair, PairKind};
use crate::crypto::{Secret, SecretBytes, digest};
use crate::kms::error::{KmsError, KmsErrorKind, check_plaintext};
use crate::kms::spec::{EncryptionAlgorithm, MaterialKind};
use crate::kms::{
    Caller, DataKey, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, KeySpec, KeyUsage,
    Kms, Knowledge, WrappedKey,
};

/// Most bytes of a ciphertext blob. (AWS: API reference, Decrypt.)
const MAX_BLOB: usize = 6144;

/// How one side of a ciphertext is made or opened.
#[derive(Clone, Copy, Debug)]
pub struct Cipher<'r> {
    /// By which algorithm.
    pub algorithm: EncryptionAlgorithm,
    /// Bound to what. Empty with asymmetric keys.
    pub context: &'r EncryptionContext,
}

impl<'r> Cipher<'r> {
    /// That of symmetric keys.
    const fn symmetric(context: &'r EncryptionContext) -> Self {
        Self { algorithm: EncryptionAlgorithm::SymmetricDefault, context }
    }
}

impl LocalKms {
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
        let key = self.symmetric(caller, name, (action, context))?;
        let plaintext = self.random(length);
        let wrapped = self.wrap(&key, plaintext.expose(), context)?;
        Ok((plaintext, wrapped))
    }

    /// Encrypts up to 4 096 bytes, or what the RSA key holds (`Encrypt`).
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn encrypt_by(
        &self,
        caller: &Caller,
        name: &KeyRef,
        plaintext: &[u8],
        cipher: Cipher<'_>,
    ) -> Result<WrappedKey, KmsError> {
        let key = self.usable(caller, name, ("kms:Encrypt", cipher.context), KeyUsage::EncryptDecrypt)?;
        self.seal(&key, plaintext, cipher)
    }

    /// Opens a ciphertext. Those of asymmetric keys do not name their key: the caller must (`Decrypt`).
    ///
    /// # Errors
    /// [`KmsError`].
    pub async fn decrypt_by(
        &self,
        caller: &Caller,
        blob: &[u8],
        name: Option<&KeyRef>,
        cipher: Cipher<'_>,
    ) -> Result<Decrypted, KmsError> {
        self.open_by(caller, blob, name, cipher, KeyUse::from(("kms:Decrypt", cipher.context))).await
    }

    /// Opens a ciphertext and encrypts it anew; also the key that had made it, and which of its materials (`ReEncrypt`).
    ///
    /// # Errors
    /// [`KmsError`].
    pub async fn re_encrypt_by(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, Cipher<'_>),
        to: (&KeyRef, Cipher<'_>),
    ) -> Result<((KeyArn, Option<String>), WrappedKey), KmsError> {
        let same_key = self.stays_under(caller, blob, from.0, to.0);
        let key_use = KeyUse { same_key, ..KeyUse::from(("kms:ReEncryptTo", to.1.context)) };
        let target = self.usable(caller, to.0, key_use, KeyUsage::EncryptDecrypt)?;
        let key_use = KeyUse { same_key, ..KeyUse::from(("kms:ReEncryptFrom", from.1.context)) };
        let opened = self.open_by(caller, blob, from.0, from.1, key_use).await?;
        let sealed = self.seal(&target, opened.plaintext.expose(), to.1)?;
        Ok(((opened.key_arn, opened.material_id), sealed))
    }

    /// The symmetric key that `caller` names, if it may be used for `action` now.
    pub(super) fn symmetric<'r>(
        &self,
        caller: &Caller,
        name: &KeyRef,
        key_use: impl Into<KeyUse<'r>>,
    ) -> Result<Arc<Key>, KmsError> {
        let key_use = key_use.into();
        let key = self.usable(caller, name, key_use, KeyUsage::EncryptDecrypt)?;
        if key.spec == KeySpec::SymmetricDefault {
            return Ok(key);
        }
        Err(KmsErrorKind::InvalidKeyUsage.with("You cannot generate a data key with an asymmetric CMK"))
    }

    /// Wraps `plaintext` under a symmetric key.
    pub(super) fn wrap(
        &self,
        key: &Key,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let material = key.current().ok_or_else(no_material)?;
        let header = BlobHeader { key: key.raw_id, material: material.id };
        Ok(WrappedKey {
            blob: blob::seal(header, secret(material)?, context, plaintext, &*self.entropy),
            key_arn: key.arn.clone(),
            material_id: Some(digest::hex(&material.id)),
        })
    }

    fn seal(&self, key: &Arc<Key>, plaintext: &[u8], cipher: Cipher<'_>) -> Result<WrappedKey, KmsError> {
        check_plaintext(plaintext)?;
        check_algorithm(key, cipher.algorithm)?;
        let Some(hash) = cipher.algorithm.oaep() else {
            return self.wrap(key, plaintext, cipher.context);
        };
        no_context(cipher.context)?;
        if let MaterialKind::Pair(PairKind::Rsa(size)) = key.spec.material()
            && plaintext.len() > hash.most(size)
        {
            let (algorithm, spec, most) = (cipher.algorithm.as_str(), key.spec.as_str(), hash.most(size));
            return Err(KmsErrorKind::Validation.with(format!(
                "Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {most} bytes."
            )));
        }
        let oaep = pair(key)?.oaep().ok_or_else(no_material)?;
        let failed = |error| KmsErrorKind::Internal.because("encrypting failed", error);
        let blob = oaep.encrypt(hash, plaintext).map_err(failed)?;
        Ok(WrappedKey { blob, key_arn: key.arn.clone(), material_id: None })
    }

    async fn open_by(
        &self,
        caller: &Caller,
        blob: &[u8],
        name: Option<&KeyRef>,
        cipher: Cipher<'_>,
        key_use: KeyUse<'_>,
    ) -> Result<Decrypted, KmsError> {
        let Some(hash) = cipher.algorithm.oaep() else {
            return self.unwrap(caller, blob, name, cipher.context, key_use);
        };
        let name = name.ok_or_else(|| {
            KmsErrorKind::Validation.with("KeyId must be specified to decrypt with an asymmetric KMS key.")
        })?;
        let key = self.usable(caller, name, KeyUse { context: None, ..key_use }, KeyUsage::EncryptDecrypt)?;
        check_algorithm(&key, cipher.algorithm)?;
        no_context(cipher.context)?;
        let key_arn = key.arn.clone();
        let blob = blob.to_vec();
        let plaintext = off_thread(move || open_oaep(&key, hash, &blob)).await??;
        Ok(Decrypted { plaintext, key_arn, material_id: None })
    }

    /// Whether re-encrypting `blob` under `to` leaves it under its key, if both can be found.
    fn stays_under(&self, caller: &Caller, blob: &[u8], from: Option<&KeyRef>, to: &KeyRef) -> Option<bool> {
        let source = match BlobHeader::read(blob) {
            Some(header) => header.key,
            None => self.find(caller, from?, "kms:ReEncryptFrom").ok()?.raw_id,
        };
        Some(self.find(caller, to, "kms:ReEncryptTo").ok()?.raw_id == source)
    }

    /// Whether `caller` might do `action` with the key, whatever the ciphertext: what a dry run asks without one.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn check_use(
        &self,
        caller: &Caller,
        name: &KeyRef,
        cipher: Cipher<'_>,
        action: &'static str,
    ) -> Result<(), KmsError> {
        let key = self.usable(caller, name, (action, cipher.context), KeyUsage::EncryptDecrypt)?;
        check_algorithm(&key, cipher.algorithm)
    }

    fn unwrap(
        &self,
        caller: &Caller,
        blob: &[u8],
        name: Option<&KeyRef>,
        context: &EncryptionContext,
        key_use: KeyUse<'_>,
    ) -> Result<Decrypted, KmsError> {
        let header = BlobHeader::read(blob).filter(|_| blob.len() <= MAX_BLOB);
        let present = header.as_ref().and_then(|header| self.ring().by_raw_id(&header.key).cloned());
        let is_own = present.as_ref().is_some_and(|key| key.record.account == caller.account);
        // "A short key ID is also acceptable when decrypting symmetric ciphertexts": the ciphertext says whose it is.
        let is_repeated = |id: &str| !is_own && header.as_ref().is_some_and(|header| raw_id(id) == Some(header.key));
        let name = name.filter(|name| !matches!(name, KeyRef::Id(id) if is_repeated(id)));
        let named = name.map(|name| self.find(caller, name, key_use.action)).transpose()?;
        if let Some(named) = &named {
            if named.record.account != caller.account {
                // By nothing that is wrong besides is a stranger told that there is the key.
                self.permit(caller, named, key_use)?;
            }
            // That the ciphertext is another key's is told before what the one named is not for. (Recorded on AWS:
            // test_error_messaging_for_invalid_keys.)
            if header.as_ref().is_some_and(|header| header.key != named.raw_id) {
                return Err(KmsErrorKind::IncorrectKey
                    .with("The key ID in the request does not identify a CMK that can perform this operation."));
            }
            check_usage(named, key_use.action, KeyUsage::EncryptDecrypt)?;
        }
        // What is no ciphertext of this kind is told before that the key makes none. (Recorded on AWS by floci's
        // rsaDecryptWithDefaultAlgorithmReturnsInvalidCiphertext.)
        let header = header.ok_or_else(invalid_ciphertext)?;
        let may_know = named.is_some() || is_own;
        // The ciphertext alone has named it: that is no reason to tell a stranger whose it is, or that it is there.
        let unknown = || {
            KmsErrorKind::AccessDenied.with(
                "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or \
                 you are not allowed to access.",
            )
        };
        let key = present.ok_or_else(unknown)?;
        if key.is_due(self.clock.now()) {
            let message = || format!("Key '{}' does not exist", key.arn);
            return Err(if is_own { KmsErrorKind::NotFound.with(message()) } else { unknown() });
        }
        if is_own {
            caller.witness.see_resource(key_use.action, key.arn.as_str());
        }
        self.permit(caller, &key, key_use).map_err(|refusal| if may_know { refusal } else { unknown() })?;
        key.state(self.clock.now()).allow(Need::Use, key.arn.as_str())?;
        let material = key.material(&header.material).filter(|material| !material.pending);
        let material = material.ok_or_else(invalid_ciphertext)?;
        let MaterialSecret::Symmetric(secret) = material.secret.as_ref().ok_or_else(no_material)? else {
            return Err(invalid_ciphertext());
        };
        let plaintext = blob::open(blob, secret, context).map_err(|_| invalid_ciphertext())?;
        Ok(Decrypted { plaintext, key_arn: key.arn.clone(), material_id: Some(digest::hex(&material.id)) })
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
        let key = self.symmetric(caller, name, (caller.wrapping(), context))?;
        let secret = Secret::filled(|bytes: &mut [u8; 32]| self.entropy.fill(bytes));
        let wrapped = self.wrap(&key, secret.expose(), context)?;
        self.used(&key.arn, "GenerateDataKey", caller);
        Ok(GeneratedKey { key: DataKey::new(secret), wrapped })
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        let opened = self.unwrap(caller, blob, key, context, KeyUse::from(("kms:Decrypt", context)))?;
        self.used(&opened.key_arn, "Decrypt", caller);
        Ok(opened)
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
        let wrapped = self.encrypt_by(caller, key, plaintext, Cipher::symmetric(context))?;
        self.used(&wrapped.key_arn, "Encrypt", caller);
        Ok(wrapped)
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        if caller.via_service.is_some() {
            self.ensure_managed_key(caller, key).await?;
        }
        let key = self.symmetric(caller, key, (caller.wrapping(), context))?;
        let wrapped = self.wrap(&key, data_key.expose(), context)?;
        self.used(&key.arn, "GenerateDataKey", caller);
        Ok(wrapped)
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
        let (from, to) = ((from, Cipher::symmetric(from_context)), (to, Cipher::symmetric(to_context)));
        let ((source, _), wrapped) = self.re_encrypt_by(caller, blob, from, to).await?;
        for arn in [&source, &wrapped.key_arn] {
            self.used(arn, "ReEncrypt", caller);
        }
        Ok(wrapped)
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        if caller.via_service.is_some() {
            self.ensure_managed_key(caller, key).await?;
        } else {
            self.ensure_described_key(caller, key).await?;
        }
        // A service that asks to know a key of the caller's account by its ARN tells nobody else.
        let found = self.find(caller, key, "kms:DescribeKey")?;
        let own = caller.via_service.is_some() && found.record.account == caller.account;
        let key = if own { found } else { self.visible(caller, key, "kms:DescribeKey")? };
        let state = key.state(self.clock.now());
        Ok(KeyDescription {
            arn: key.arn.clone(),
            enabled: state == KeyState::Enabled,
            pending: match state {
                KeyState::PendingDeletion => Some("pending deletion"),
                KeyState::PendingImport => Some("pending import"),
                KeyState::Enabled | KeyState::Disabled => None,
            },
            aws_managed: key.record.aws_managed,
        })
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self
    }
}

impl Knowledge for LocalKms {
    fn policy_of(&self, arn: &KeyArn) -> Option<String> {
        let ring = self.ring();
        let key = ring.keys.get(arn.id()).filter(|key| key.arn == *arn)?;
        Some(key.record.policy.clone().unwrap_or_else(|| default_policy(&key.record.account)))
    }

    fn generation_of(&self, _: &KeyRef) -> Option<u64> {
        Some(self.changes())
    }

    fn service_of(&self, _: &KeyRef) -> Option<&str> {
        None
    }

    /// It judges its callers by itself, whatever they call a key.
    fn arn_of(&self, _: &KeyRef) -> Option<KeyArn> {
        None
    }
}

/// The pair that a key currently is.
pub(super) fn pair(key: &Key) -> Result<&KeyPair, KmsError> {
    match key.current().and_then(|material| material.secret.as_ref()) {
        Some(MaterialSecret::Pair(pair)) => Ok(pair),
        _ => Err(no_material()),
    }
}

fn secret(material: &Material) -> Result<&Secret<32>, KmsError> {
    match &material.secret {
        Some(MaterialSecret::Symmetric(secret)) => Ok(secret),
        _ => Err(no_material()),
    }
}

fn open_oaep(key: &Key, hash: OaepHash, blob: &[u8]) -> Result<SecretBytes, KmsError> {
    let oaep = pair(key)?.oaep().ok_or_else(no_material)?;
    oaep.decrypt(hash, blob).map_err(|_| invalid_ciphertext())
}

fn check_algorithm(key: &Key, algorithm: EncryptionAlgorithm) -> Result<(), KmsError> {
    if key.spec.encryption_algorithms().contains(&algorithm) {
        Ok(())
    } else {
        Err(incompatible(key, algorithm.as_str()))
    }
}

/// "You cannot specify an encryption context when performing cryptographic operations with an asymmetric KMS key." (AWS:
/// API reference, Encrypt)
fn no_context(context: &EncryptionContext) -> Result<(), KmsError> {
    if context.pairs().is_empty() {
        return Ok(());
    }
    let message = "You cannot specify an encryption context when performing cryptographic operations with an asymmetric \
                   KMS key.";
    Err(KmsErrorKind::Validation.with(message))
}

/// AWS answers InvalidCiphertextException without a text.
fn invalid_ciphertext() -> KmsError {
    KmsErrorKind::InvalidCiphertext.with("")
}
