//! Imported key material.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{key_not_alias, seconds};
use crate::crypto::pair::RsaSize;
use crate::crypto::pair::oaep::OaepHash;
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{Import, LocalKms, Wrapping};

pub(super) async fn parameters(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let algorithm = fields.required_text("WrappingAlgorithm")?;
    let spec = fields.required_text("WrappingKeySpec")?;
    let unsupported = |member: &str, value: &str| {
        let message = format!("{member} {value} is not supported by this key service.");
        refuse(KmsErrorKind::UnsupportedOperation, message)
    };
    let (hash, by_aes) = match algorithm {
        "RSAES_OAEP_SHA_1" => (OaepHash::Sha1, false),
        "RSAES_OAEP_SHA_256" => (OaepHash::Sha256, false),
        "RSA_AES_KEY_WRAP_SHA_1" => (OaepHash::Sha1, true),
        "RSA_AES_KEY_WRAP_SHA_256" => (OaepHash::Sha256, true),
        other => return Err(unsupported("WrappingAlgorithm", other)),
    };
    let size = match spec {
        "RSA_2048" => RsaSize::Bits2048,
        "RSA_3072" => RsaSize::Bits3072,
        "RSA_4096" => RsaSize::Bits4096,
        other => return Err(unsupported("WrappingKeySpec", other)),
    };
    let parameters = kms.import_parameters(caller, &name, Wrapping { size, hash, by_aes }).await?;
    Ok(json!({
        "KeyId": parameters.arn.as_str(),
        "ImportToken": STANDARD.encode(&parameters.token),
        "PublicKey": STANDARD.encode(&parameters.public),
        "ParametersValidTo": seconds(parameters.valid_to),
    }))
}

pub(super) async fn import(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let token = fields.required_blob("ImportToken")?;
    let wrapped = fields.required_blob("EncryptedKeyMaterial")?;
    let valid_to = fields.timestamp("ValidTo")?;
    let model = fields.text("ExpirationModel")?;
    let wrong = |message: &str| Err(refuse(KmsErrorKind::Validation, message));
    match (model, valid_to) {
        (Some("KEY_MATERIAL_DOES_NOT_EXPIRE"), Some(_)) => {
            return wrong("A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE");
        }
        (None | Some("KEY_MATERIAL_EXPIRES"), None) => {
            return wrong("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES");
        }
        _ => {}
    }
    let is_new = fields.text("ImportType")?.map(|kind| kind == "NEW_KEY_MATERIAL");
    let id = fields.text("KeyMaterialId")?;
    if is_new == Some(true) && id.is_some() {
        return wrong("KeyMaterialId must not be set if the ImportType is NEW_KEY_MATERIAL");
    }
    let (description, id) = (fields.text("KeyMaterialDescription")?.map(str::to_owned), id.map(str::to_owned));
    let import = Import { token, wrapped, valid_to, is_new, description, id };
    let (arn, material) = kms.import(caller, &name, import).await?;
    Ok(json!({"KeyId": arn.as_str(), "KeyMaterialId": material}))
}

pub(super) async fn delete(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let (arn, material) = kms.delete_imported(caller, &name, fields.text("KeyMaterialId")?).await?;
    let mut answer = json!({"KeyId": arn.as_str()});
    if let Some(id) = material {
        answer["KeyMaterialId"] = id.into();
    }
    Ok(answer)
}
