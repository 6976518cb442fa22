//! A tiny key service: one key, real wrapping, context as associated data.

use async_trait::async_trait;

use crate::crypto::aead::{Aes256Gcm, NONCE_LEN};
use crate::crypto::{Secret, SecretBytes, SharedEntropy, random};
use crate::kms::error::KmsErrorKind;
use crate::kms::{
    Caller, DataKey, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, KmsError,
    Knowledge, NothingKnown, WrappedKey,
};

pub(super) struct OneKeyKms {
    cipher: Aes256Gcm,
    entropy: SharedEntropy,
}

impl OneKeyKms {
    pub(super) fn new(key: u8, entropy: SharedEntropy) -> Self {
        Self { cipher: Aes256Gcm::new(&Secret::new([key; 32])), entropy }
    }

    pub(super) fn arn() -> KeyArn {
        KeyArn::new("us-east-1", "000000000000", "11111111-2222-3333-4444-555555555555")
    }

    fn wrap(&self, key: &KeyRef, plaintext: &[u8], context: &EncryptionContext) -> Result<WrappedKey, KmsError> {
        if *key != KeyRef::aws_s3() && *key != KeyRef::from(&Self::arn()) {
            return Err(KmsErrorKind::NotFound.with("Invalid keyId"));
        }
        let nonce = random::bytes::<NONCE_LEN>(&*self.entropy);
        let mut ciphertext = plaintext.to_vec();
        let tag = self.cipher.seal_in_place(nonce, &context.to_aad(), &mut ciphertext);
        let blob = [&nonce[..], &ciphertext, &tag].concat();
        Ok(WrappedKey { blob, key_arn: Self::arn(), material_id: Some("material".to_owned()) })
    }
}

pub(super) fn caller() -> Caller {
    Caller::root_of("000000000000", Some("s3.us-east-1.amazonaws.com".to_owned()), "r")
}

#[async_trait]
impl Kms for OneKeyKms {
    async fn generate_data_key(
        &self,
        _: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        let data_key = Secret::<32>::filled(|out| self.entropy.fill(out));
        let wrapped = self.wrap(key, data_key.expose(), context)?;
        Ok(GeneratedKey { key: DataKey::new(data_key), wrapped })
    }

    async fn decrypt(
        &self,
        _: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        if key != Some(&KeyRef::from(&Self::arn())) {
            return Err(KmsErrorKind::IncorrectKey.with(""));
        }
        let invalid = || KmsErrorKind::InvalidCiphertext.with("");
        let (nonce, sealed) = blob.split_first_chunk::<NONCE_LEN>().ok_or_else(invalid)?;
        let mut sealed = sealed.to_vec();
        let opened = self.cipher.open_in_place(*nonce, &context.to_aad(), &mut sealed).map_err(|_| invalid())?;
        Ok(Decrypted { plaintext: SecretBytes::new(opened.to_vec()), key_arn: Self::arn(), material_id: None })
    }

    async fn encrypt(
        &self,
        _: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.wrap(key, plaintext, context)
    }

    async fn wrap_data_key(
        &self,
        _: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.wrap(key, data_key.expose(), context)
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        let decrypted = self.decrypt(caller, blob, from.0, from.1).await?;
        self.wrap(to.0, decrypted.plaintext.expose(), to.1)
    }

    async fn describe(&self, _: &Caller, _: &KeyRef) -> Result<KeyDescription, KmsError> {
        Ok(KeyDescription { arn: Self::arn(), enabled: true, pending: None, aws_managed: true })
    }

    fn knowledge(&self) -> &dyn Knowledge {
        &NothingKnown
    }
}
