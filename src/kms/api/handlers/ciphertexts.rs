//! Encrypting, decrypting, data keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::elsewhere::no_key_store;
use super::{no_recipient, unless_dry};
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{Cipher, LocalKms};
use crate::kms::spec::EncryptionAlgorithm;

pub(super) fn encrypt(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let algorithm = algorithm(fields, "EncryptionAlgorithm")?;
    let plaintext = zeroize::Zeroizing::new(fields.required_blob("Plaintext")?);
    let (key, context) = (fields.key("KeyId")?, fields.context("EncryptionContext")?);
    let wrapped = kms.encrypt_by(caller, &key, &plaintext, Cipher { algorithm, context: &context })?;
    unless_dry(fields)?;
    // CloudTrail tells of it, the answer does not. (KMS developer guide, "Encrypt" of the log entries.)
    if let Some(id) = &wrapped.material_id {
        caller.witness.note("keyMaterialId", id.as_str());
    }
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(&wrapped.blob),
        "KeyId": wrapped.key_arn.as_str(),
        "EncryptionAlgorithm": algorithm.as_str(),
    }))
}

pub(super) async fn decrypt(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let algorithm = algorithm(fields, "EncryptionAlgorithm")?;
    no_recipient(fields)?;
    let (key, context) = (fields.optional_key("KeyId")?, fields.context("EncryptionContext")?);
    if ignores_ciphertext(fields)? {
        kms.check_use(caller, &fields.key("KeyId")?, Cipher { algorithm, context: &context }, "kms:Decrypt")?;
        unless_dry(fields)?;
    }
    let blob = fields.required_blob("CiphertextBlob")?;
    let opened = kms.decrypt_by(caller, &blob, key.as_ref(), Cipher { algorithm, context: &context }).await?;
    unless_dry(fields)?;
    let mut answer = json!({
        "Plaintext": STANDARD.encode(opened.plaintext.expose()),
        "KeyId": opened.key_arn.as_str(),
        "EncryptionAlgorithm": algorithm.as_str(),
    });
    member(&mut answer, "KeyMaterialId", opened.material_id);
    Ok(answer)
}

pub(super) async fn re_encrypt(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let from = algorithm(fields, "SourceEncryptionAlgorithm")?;
    let to = algorithm(fields, "DestinationEncryptionAlgorithm")?;
    let source = fields.optional_key("SourceKeyId")?;
    let from_context = fields.context("SourceEncryptionContext")?;
    let target = fields.key("DestinationKeyId")?;
    let to_context = fields.context("DestinationEncryptionContext")?;
    let from_cipher = Cipher { algorithm: from, context: &from_context };
    let to_cipher = Cipher { algorithm: to, context: &to_context };
    if ignores_ciphertext(fields)? {
        kms.check_use(caller, &target, to_cipher, "kms:ReEncryptTo")?;
        kms.check_use(caller, &fields.key("SourceKeyId")?, from_cipher, "kms:ReEncryptFrom")?;
        unless_dry(fields)?;
    }
    let blob = fields.required_blob("CiphertextBlob")?;
    let moved = kms.re_encrypt_by(caller, &blob, (source.as_ref(), from_cipher), (&target, to_cipher)).await?;
    let ((source, source_material), wrapped) = moved;
    unless_dry(fields)?;
    let mut answer = json!({
        "CiphertextBlob": STANDARD.encode(&wrapped.blob),
        "SourceKeyId": source.as_str(),
        "KeyId": wrapped.key_arn.as_str(),
        "SourceEncryptionAlgorithm": from.as_str(),
        "DestinationEncryptionAlgorithm": to.as_str(),
    });
    member(&mut answer, "SourceKeyMaterialId", source_material);
    member(&mut answer, "DestinationKeyMaterialId", wrapped.material_id);
    Ok(answer)
}

pub(super) fn generate(
    kms: &LocalKms,
    caller: &Caller,
    fields: Fields<'_>,
    with_plaintext: bool,
) -> Result<Value, Failure> {
    let key = fields.key("KeyId")?;
    if with_plaintext {
        no_recipient(fields)?;
    }
    let length = match (fields.text("KeySpec")?, fields.number("NumberOfBytes")?) {
        (Some("AES_128"), None) => 16,
        (Some(_), None) => 32,
        (None, Some(length)) => usize::try_from(length).unwrap_or_default(),
        (None, None) | (Some(_), Some(_)) => {
            return Err(refuse(KmsErrorKind::Validation, "Please specify either number of bytes or key spec."));
        }
    };
    let action = if with_plaintext { "kms:GenerateDataKey" } else { "kms:GenerateDataKeyWithoutPlaintext" };
    let context = fields.context("EncryptionContext")?;
    let (plaintext, wrapped) = kms.generate(caller, &key, &context, length, action)?;
    unless_dry(fields)?;
    let mut answer = json!({
        "CiphertextBlob": STANDARD.encode(&wrapped.blob),
        "KeyId": wrapped.key_arn.as_str(),
        "KeyMaterialId": wrapped.material_id,
    });
    if with_plaintext {
        answer["Plaintext"] = STANDARD.encode(plaintext.expose()).into();
    }
    Ok(answer)
}

pub(super) fn random(kms: &LocalKms, fields: Fields<'_>) -> Result<Value, Failure> {
    let length = fields.number("NumberOfBytes")?;
    let length = length.ok_or_else(|| refuse(KmsErrorKind::Validation, "NumberOfBytes is required."))?;
    let length = usize::try_from(length).unwrap_or_default();
    no_recipient(fields)?;
    no_key_store(fields)?;
    Ok(json!({"Plaintext": STANDARD.encode(kms.random(length).expose())}))
}

/// Whether a dry run is to ask for the permission alone (`DryRunModifiers`). They apply to dry runs only.
fn ignores_ciphertext(fields: Fields<'_>) -> Result<bool, Failure> {
    Ok(!fields.texts("DryRunModifiers")?.is_empty() && fields.flag("DryRun")?)
}

fn member(answer: &mut Value, name: &str, value: Option<String>) {
    if let Some(value) = value {
        answer[name] = value.into();
    }
}

fn algorithm(fields: Fields<'_>, name: &str) -> Result<EncryptionAlgorithm, Failure> {
    let Some(named) = fields.text(name)? else { return Ok(EncryptionAlgorithm::default()) };
    EncryptionAlgorithm::parse(named).ok_or_else(|| {
        let message = format!("{name} {named} is not supported by this key service.");
        refuse(KmsErrorKind::UnsupportedOperation, message)
    })
}
