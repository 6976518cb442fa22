//! Imported key material.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, check_length, invalid, refuse};
use super::{MAX_BLOB, key_not_alias, seconds};
use crate::crypto::pair::RsaSize;
use crate::crypto::pair::oaep::OaepHash;
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{Import, LocalKms, Wrapping};

const WRAPPING_ALGORITHMS: &[&str] = &[
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_256",
    "SM2PKE",
];
const WRAPPING_SPECS: &[&str] = &["RSA_2048", "RSA_3072", "RSA_4096", "SM2"];
/// Digits of a key material's id.
const MATERIAL_ID: usize = 64;

pub(super) async fn parameters(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let algorithm = fields.required_choice("WrappingAlgorithm", WRAPPING_ALGORITHMS)?;
    let spec = fields.required_choice("WrappingKeySpec", WRAPPING_SPECS)?;
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
    let token = fields.required_blob("ImportToken", MAX_BLOB)?;
    let wrapped = fields.required_blob("EncryptedKeyMaterial", MAX_BLOB)?;
    let valid_to = fields.timestamp("ValidTo")?;
    let model = fields.choice("ExpirationModel", &["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"])?;
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
    let kind = fields.choice("ImportType", &["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"])?;
    let is_new = kind.map(|kind| kind == "NEW_KEY_MATERIAL");
    let id = material_id(fields)?;
    if is_new == Some(true) && id.is_some() {
        return wrong("KeyMaterialId must not be set if the ImportType is NEW_KEY_MATERIAL");
    }
    let description = fields.text("KeyMaterialDescription")?;
    if let Some(description) = description {
        let name = "KeyMaterialDescription";
        check_length(name, description, description.chars().count(), 0, 256)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b":/_.-".contains(&b);
        if !description.bytes().all(plain) {
            let constraint = "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_\\s.-]+$";
            return Err(invalid(name, description, constraint));
        }
    }
    let (description, id) = (description.map(str::to_owned), id.map(str::to_owned));
    let import = Import { token, wrapped, valid_to, is_new, description, id };
    let (arn, material) = kms.import(caller, &name, import).await?;
    Ok(json!({"KeyId": arn.as_str(), "KeyMaterialId": material}))
}

pub(super) async fn delete(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let (arn, material) = kms.delete_imported(caller, &name, material_id(fields)?).await?;
    let mut answer = json!({"KeyId": arn.as_str()});
    if let Some(id) = material {
        answer["KeyMaterialId"] = id.into();
    }
    Ok(answer)
}

fn material_id(fields: Fields<'_>) -> Result<Option<&str>, Failure> {
    let id = fields.text("KeyMaterialId")?;
    if let Some(id) = id {
        check_length("KeyMaterialId", id, id.chars().count(), MATERIAL_ID, MATERIAL_ID)?;
        if !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let constraint = "Member must satisfy regular expression pattern: ^[a-f0-9]+$";
            return Err(invalid("KeyMaterialId", id, constraint));
        }
    }
    Ok(id)
}
