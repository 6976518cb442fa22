//! A tiny key service: one key, real wrapping, context as associated data.

use async_trait::async_trait;

use crate::crypto::aead::{Aes256Gcm, NONCE_LEN};
use crate::crypto::{Secret, SecretBytes, SharedEntropy, random};
use crate::kms::error::KmsErrorKind;
use crate::kms::{
    Caller, DataKey, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, KmsError,
    WrappedKey,
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
}

pub(super) fn caller() -> Caller {
    Caller {
        account: "000000000000".to_owned(),
        principal: "arn:aws:iam::000000000000:root".to_owned(),
        via_service: Some("s3.us-east-1.amazonaws.com".to_owned()),
        request_id: "r".to_owned(),
    }
}

#[async_trait]
impl Kms for OneKeyKms {
    async fn generate_data_key(
        &self,
        _: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        if *key != KeyRef::aws_s3() && *key != KeyRef::from(&Self::arn()) {
            return Err(KmsErrorKind::NotFound.with("Invalid keyId"));
        }
        let data_key = Secret::<32>::filled(|out| self.entropy.fill(out));
        let nonce = random::bytes::<NONCE_LEN>(&*self.entropy);
        let mut ciphertext = *data_key.expose();
        let tag = self.cipher.seal_in_place(nonce, &context.to_aad(), &mut ciphertext);
        let blob = [&nonce[..], &ciphertext, &tag].concat();
        let wrapped = WrappedKey { blob, key_arn: Self::arn(), material_id: Some("material".to_owned()) };
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

    async fn encrypt(&self, _: &Caller, _: &KeyRef, _: &[u8], _: &EncryptionContext) -> Result<WrappedKey, KmsError> {
        Err(KmsErrorKind::UnsupportedOperation.with(""))
    }

    async fn re_encrypt(
        &self,
        _: &Caller,
        _: &[u8],
        _: (Option<&KeyRef>, &EncryptionContext),
        _: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        Err(KmsErrorKind::UnsupportedOperation.with(""))
    }

    async fn describe(&self, _: &Caller, _: &KeyRef) -> Result<KeyDescription, KmsError> {
        Ok(KeyDescription { arn: Self::arn(), enabled: true, aws_managed: true })
    }
}
