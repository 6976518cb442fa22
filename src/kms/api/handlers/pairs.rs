//! Key pairs: signatures, public keys, shared secrets, data key pairs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{keys, no_recipient, unless_dry};
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{LocalKms, Signable, data_pair};
use crate::kms::spec::SigningAlgorithm;
use crate::kms::{Caller, KeySpec};

pub(super) async fn sign(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let (message, algorithm) = (message(fields)?, algorithm(fields)?);
    let (arn, signature) = kms.sign(caller, &fields.key("KeyId")?, algorithm, message).await?;
    unless_dry(fields)?;
    Ok(json!({
        "KeyId": arn.as_str(),
        "Signature": STANDARD.encode(signature),
        "SigningAlgorithm": algorithm.as_str(),
    }))
}

pub(super) async fn verify(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let (message, algorithm) = (message(fields)?, algorithm(fields)?);
    let signature = fields.required_blob("Signature")?;
    let arn = kms.verify(caller, &fields.key("KeyId")?, algorithm, message, signature).await?;
    unless_dry(fields)?;
    Ok(json!({"KeyId": arn.as_str(), "SignatureValid": true, "SigningAlgorithm": algorithm.as_str()}))
}

pub(super) fn public_key(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = kms.public_key(caller, &fields.key("KeyId")?)?;
    let mut answer = json!({
        "KeyId": key.arn.as_str(),
        "PublicKey": STANDARD.encode(&key.der),
        "KeySpec": key.spec.as_str(),
        "KeyUsage": key.usage.as_str(),
    });
    if keys::has_older_name(key.spec) {
        answer["CustomerMasterKeySpec"] = key.spec.as_str().into();
    }
    let (name, algorithms) = keys::algorithms(key.spec, key.usage);
    answer[name] = algorithms;
    Ok(answer)
}

pub(super) async fn derive_shared_secret(
    kms: &LocalKms,
    caller: &Caller,
    fields: Fields<'_>,
) -> Result<Value, Failure> {
    let name = fields.key("KeyId")?;
    let peer = fields.required_blob("PublicKey")?;
    no_recipient(fields)?;
    let (arn, secret, external) = kms.shared_secret(caller, &name, peer).await?;
    unless_dry(fields)?;
    Ok(json!({
        "KeyId": arn.as_str(),
        "SharedSecret": STANDARD.encode(secret.expose()),
        "KeyAgreementAlgorithm": "ECDH",
        "KeyOrigin": if external { "EXTERNAL" } else { "AWS_KMS" },
    }))
}

pub(super) fn encapsulate(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = fields.key("KeyId")?;
    let (arn, ciphertext, secret) = kms.encapsulate(caller, &name)?;
    unless_dry(fields)?;
    Ok(json!({
        "KeyId": arn.as_str(),
        "SharedSecret": STANDARD.encode(secret.expose()),
        "SharedSecretCiphertextBlob": STANDARD.encode(ciphertext),
        "EncapsulationAlgorithm": "ML_KEM",
    }))
}

pub(super) fn decapsulate(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = fields.key("KeyId")?;
    let ciphertext = fields.required_blob("SharedSecretCiphertextBlob")?;
    let (arn, secret) = kms.decapsulate(caller, &name, &ciphertext)?;
    unless_dry(fields)?;
    Ok(json!({
        "KeyId": arn.as_str(),
        "SharedSecret": STANDARD.encode(secret.expose()),
        "EncapsulationAlgorithm": "ML_KEM",
    }))
}

pub(super) async fn generate(
    kms: &LocalKms,
    caller: &Caller,
    fields: Fields<'_>,
    with_plaintext: bool,
) -> Result<Value, Failure> {
    let name = fields.key("KeyId")?;
    let spec = fields.required_text("KeyPairSpec")?;
    let context = fields.context("EncryptionContext")?;
    if with_plaintext {
        no_recipient(fields)?;
    }
    let kind = KeySpec::parse(spec).and_then(data_pair).ok_or_else(|| {
        let message = format!("KeyPairSpec {spec} is not supported by this key service.");
        refuse(KmsErrorKind::UnsupportedOperation, message)
    })?;
    let action = if with_plaintext { "kms:GenerateDataKeyPair" } else { "kms:GenerateDataKeyPairWithoutPlaintext" };
    let pair = kms.generate_pair(caller, &name, &context, kind, action).await?;
    unless_dry(fields)?;
    let mut answer = json!({
        "PrivateKeyCiphertextBlob": STANDARD.encode(&pair.wrapped.blob),
        "PublicKey": STANDARD.encode(&pair.public),
        "KeyId": pair.wrapped.key_arn.as_str(),
        "KeyPairSpec": spec,
        "KeyMaterialId": pair.wrapped.material_id,
    });
    if with_plaintext {
        answer["PrivateKeyPlaintext"] = STANDARD.encode(pair.private.expose()).into();
    }
    Ok(answer)
}

fn message(fields: Fields<'_>) -> Result<Signable, Failure> {
    let message = fields.required_blob("Message")?;
    Ok(match fields.text("MessageType")? {
        Some("DIGEST") => Signable::Digest(message),
        Some("EXTERNAL_MU") => Signable::ExternalMu(message),
        _ => Signable::Raw(message),
    })
}

fn algorithm(fields: Fields<'_>) -> Result<SigningAlgorithm, Failure> {
    let name = fields.required_text("SigningAlgorithm")?;
    SigningAlgorithm::parse(name).ok_or_else(|| {
        let message = format!("SigningAlgorithm {name} is not supported by this key service.");
        refuse(KmsErrorKind::UnsupportedOperation, message)
    })
}
