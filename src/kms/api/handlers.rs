//! What each operation does with its members, and what it answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Failure;
use super::fields::{Fields, invalid, refuse};
use crate::clock::Timestamp;
use crate::iam::Permit;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{AliasEntry, KeyMetadata, KeyState, LocalKms, MAX_PLAINTEXT, NewKey};
use crate::kms::{Caller, KeyRef, Kms as _};

/// The one algorithm of symmetric keys.
const SYMMETRIC: &str = "SYMMETRIC_DEFAULT";
/// Most bytes of a ciphertext blob.
const MAX_BLOB: usize = 6144;
/// Entries in one page, if the client asks for no number.
const PAGE: i64 = 100;
/// Days until a key is destroyed, if the client asks for no number.
const DELETION_WINDOW: i64 = 30;
/// Most tags of a key.
const MAX_TAGS: usize = 50;

/// The operations that are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handler {
    CancelKeyDeletion,
    CreateAlias,
    CreateKey,
    Decrypt,
    DeleteAlias,
    DescribeKey,
    DisableKey,
    EnableKey,
    Encrypt,
    GenerateDataKey,
    GenerateDataKeyWithoutPlaintext,
    GenerateRandom,
    GetKeyPolicy,
    GetKeyRotationStatus,
    ListAliases,
    ListKeyPolicies,
    ListKeys,
    ListResourceTags,
    ReEncrypt,
    ScheduleKeyDeletion,
    UpdateAlias,
}

/// Does what `handler` stands for. Operations that answer nothing answer [`Value::Null`].
pub(super) async fn perform(
    handler: Handler,
    kms: &LocalKms,
    caller: &Caller,
    fields: &Fields<'_>,
    _permit: Permit,
) -> Result<Value, Failure> {
    let fields = *fields;
    match handler {
        Handler::CancelKeyDeletion => {
            let key = kms.cancel_deletion(caller, &fields.key("KeyId")?).await?;
            Ok(json!({"KeyId": key.arn.as_str()}))
        }
        Handler::CreateAlias => {
            let alias = alias_name(fields)?;
            Ok(kms.create_alias(caller, alias, &fields.key("TargetKeyId")?).await.map(|()| Value::Null)?)
        }
        Handler::CreateKey => {
            let key = kms.create_key(caller, new_key(fields)?).await?;
            Ok(json!({"KeyMetadata": metadata(&key)}))
        }
        Handler::Decrypt => decrypt(kms, caller, fields).await,
        Handler::DeleteAlias => Ok(kms.delete_alias(caller, alias_name(fields)?).await.map(|()| Value::Null)?),
        Handler::DescribeKey => {
            let name = fields.key("KeyId")?;
            // "If you specify a predefined AWS alias … KMS associates the alias with an AWS managed key" (DescribeKey)
            kms.ensure_managed_key(caller, &name).await?;
            Ok(json!({"KeyMetadata": metadata(&kms.metadata(caller, &name, "kms:DescribeKey")?)}))
        }
        Handler::DisableKey => {
            Ok(kms.set_enabled(caller, &key_not_alias(fields)?, false).await.map(|()| Value::Null)?)
        }
        Handler::EnableKey => Ok(kms.set_enabled(caller, &key_not_alias(fields)?, true).await.map(|()| Value::Null)?),
        Handler::Encrypt => encrypt(kms, caller, fields).await,
        Handler::GenerateDataKey => generate(kms, caller, fields, true),
        Handler::GenerateDataKeyWithoutPlaintext => generate(kms, caller, fields, false),
        Handler::GenerateRandom => {
            let length = fields.bounded("NumberOfBytes", 1, 1024)?;
            let length = length.ok_or_else(|| refuse(KmsErrorKind::Validation, "NumberOfBytes is required."))?;
            let length = usize::try_from(length).unwrap_or_default();
            Ok(json!({"Plaintext": STANDARD.encode(kms.random(length).expose())}))
        }
        Handler::GetKeyPolicy => {
            let key = kms.metadata(caller, &key_not_alias(fields)?, "kms:GetKeyPolicy")?;
            fields.choice("PolicyName", &["default"])?;
            let policy = key.policy.clone().unwrap_or_else(|| default_policy(&key.account));
            Ok(json!({"Policy": policy, "PolicyName": "default"}))
        }
        Handler::GetKeyRotationStatus => {
            let key = kms.metadata(caller, &key_not_alias(fields)?, "kms:GetKeyRotationStatus")?;
            Ok(json!({"KeyRotationEnabled": false, "KeyId": key.arn.as_str()}))
        }
        Handler::ListAliases => list_aliases(kms, caller, fields),
        Handler::ListKeyPolicies => {
            kms.metadata(caller, &key_not_alias(fields)?, "kms:ListKeyPolicies")?;
            Ok(json!({"PolicyNames": ["default"], "Truncated": false}))
        }
        Handler::ListKeys => {
            let limit = page(fields)?;
            let after = marker(fields, |marker| uuid::Uuid::try_parse(marker).is_ok())?;
            let mut keys = kms.list_keys(&caller.account, after, limit + 1);
            let truncated = keys.len() > limit;
            keys.truncate(limit);
            let next = keys.last().filter(|_| truncated).map(|arn| arn.id().to_owned());
            let keys: Vec<Value> = keys.iter().map(|arn| json!({"KeyId": arn.id(), "KeyArn": arn.as_str()})).collect();
            Ok(paged(json!({"Keys": keys}), next))
        }
        Handler::ListResourceTags => {
            let key = kms.metadata(caller, &key_not_alias(fields)?, "kms:ListResourceTags")?;
            let tags: Vec<Value> =
                key.tags.iter().map(|(key, value)| json!({"TagKey": key, "TagValue": value})).collect();
            Ok(json!({"Tags": tags, "Truncated": false}))
        }
        Handler::ReEncrypt => re_encrypt(kms, caller, fields).await,
        Handler::ScheduleKeyDeletion => {
            let name = key_not_alias(fields)?;
            let days = fields.bounded("PendingWindowInDays", 7, 30)?.unwrap_or(DELETION_WINDOW);
            let key = kms.schedule_deletion(caller, &name, days).await?;
            Ok(json!({
                "KeyId": key.arn.as_str(),
                "DeletionDate": key.deletion.map(seconds),
                "KeyState": key.state.as_str(),
                "PendingWindowInDays": days,
            }))
        }
        Handler::UpdateAlias => {
            let alias = alias_name(fields)?;
            Ok(kms.update_alias(caller, alias, &fields.key("TargetKeyId")?).await.map(|()| Value::Null)?)
        }
    }
}

async fn encrypt(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    algorithm(fields, "EncryptionAlgorithm")?;
    let plaintext = zeroize::Zeroizing::new(fields.required_blob("Plaintext", MAX_PLAINTEXT)?);
    let wrapped = kms.encrypt(caller, &fields.key("KeyId")?, &plaintext, &fields.context("EncryptionContext")?).await?;
    unless_dry(fields)?;
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(&wrapped.blob),
        "KeyId": wrapped.key_arn.as_str(),
        "EncryptionAlgorithm": SYMMETRIC,
    }))
}

async fn decrypt(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    algorithm(fields, "EncryptionAlgorithm")?;
    no_recipient(fields)?;
    let blob = fields.required_blob("CiphertextBlob", MAX_BLOB)?;
    let key = fields.optional_key("KeyId")?;
    let opened = kms.decrypt(caller, &blob, key.as_ref(), &fields.context("EncryptionContext")?).await?;
    unless_dry(fields)?;
    Ok(json!({
        "Plaintext": STANDARD.encode(opened.plaintext.expose()),
        "KeyId": opened.key_arn.as_str(),
        "EncryptionAlgorithm": SYMMETRIC,
        "KeyMaterialId": opened.material_id,
    }))
}

async fn re_encrypt(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    algorithm(fields, "SourceEncryptionAlgorithm")?;
    algorithm(fields, "DestinationEncryptionAlgorithm")?;
    let blob = fields.required_blob("CiphertextBlob", MAX_BLOB)?;
    let source = fields.optional_key("SourceKeyId")?;
    let from = fields.context("SourceEncryptionContext")?;
    let target = fields.key("DestinationKeyId")?;
    let to = fields.context("DestinationEncryptionContext")?;
    let opened = kms.origin(caller, &blob)?;
    let wrapped = kms.re_encrypt(caller, &blob, (source.as_ref(), &from), (&target, &to)).await?;
    unless_dry(fields)?;
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(&wrapped.blob),
        "SourceKeyId": opened.0.as_str(),
        "KeyId": wrapped.key_arn.as_str(),
        "SourceEncryptionAlgorithm": SYMMETRIC,
        "DestinationEncryptionAlgorithm": SYMMETRIC,
        "SourceKeyMaterialId": opened.1,
        "DestinationKeyMaterialId": wrapped.material_id,
    }))
}

fn generate(kms: &LocalKms, caller: &Caller, fields: Fields<'_>, with_plaintext: bool) -> Result<Value, Failure> {
    let key = fields.key("KeyId")?;
    if with_plaintext {
        no_recipient(fields)?;
    }
    let spec = fields.choice("KeySpec", &["AES_256", "AES_128"])?;
    let length = match (spec, fields.bounded("NumberOfBytes", 1, 1024)?) {
        (Some("AES_128"), None) => 16,
        (Some(_), None) => 32,
        (None, Some(length)) => usize::try_from(length).unwrap_or_default(),
        (None, None) => {
            return Err(refuse(KmsErrorKind::Validation, "Please specify either number of bytes or key spec."));
        }
        (Some(_), Some(_)) => {
            return Err(refuse(
                KmsErrorKind::Validation,
                "Please specify either number of bytes or key spec, but not both.",
            ));
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

fn list_aliases(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let limit = page(fields)?;
    let after = marker(fields, |marker| marker.starts_with("alias/"))?;
    let of = match fields.optional_key("KeyId")? {
        Some(key) => Some(kms.metadata(caller, &key, "kms:ListAliases")?.arn.id().to_owned()),
        None => None,
    };
    let mut aliases = kms.list_aliases(&caller.account, of.as_deref(), after, limit + 1);
    let truncated = aliases.len() > limit;
    aliases.truncate(limit);
    let next = aliases.last().filter(|_| truncated).map(|alias| alias.name.clone());
    let arn = |alias: &AliasEntry| format!("arn:aws:kms:{}:{}:{}", kms.region(), caller.account, alias.name);
    let aliases: Vec<Value> = aliases
        .iter()
        .map(|alias| {
            json!({
                "AliasName": alias.name,
                "AliasArn": arn(alias),
                "TargetKeyId": alias.key,
                "CreationDate": seconds(alias.created),
                "LastUpdatedDate": seconds(alias.updated),
            })
        })
        .collect();
    Ok(paged(json!({"Aliases": aliases}), next))
}

/// Reads what CreateKey asks for; what is not offered is refused, never ignored.
fn new_key(fields: Fields<'_>) -> Result<NewKey, Failure> {
    let spec = fields.text("KeySpec")?.or(fields.text("CustomerMasterKeySpec")?);
    let usage = fields.text("KeyUsage")?;
    if spec.is_some_and(|spec| spec != SYMMETRIC) && usage.is_none() {
        return Err(refuse(
            KmsErrorKind::Validation,
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        ));
    }
    if let Some(spec) = spec.filter(|spec| *spec != SYMMETRIC) {
        return Err(refuse(
            KmsErrorKind::UnsupportedOperation,
            format!("KeySpec {spec} is not supported by this key service."),
        ));
    }
    if let Some(usage) = usage.filter(|usage| *usage != "ENCRYPT_DECRYPT") {
        return Err(refuse(
            KmsErrorKind::Validation,
            format!("KeyUsage {usage} is not compatible with KeySpec {SYMMETRIC}"),
        ));
    }
    if let Some(origin) = fields.choice("Origin", &["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"])?
        && origin != "AWS_KMS"
    {
        return Err(refuse(
            KmsErrorKind::UnsupportedOperation,
            format!("Origin {origin} is not supported by this key service."),
        ));
    }
    if fields.flag("MultiRegion")? || fields.has("CustomKeyStoreId") || fields.has("XksKeyId") {
        return Err(refuse(
            KmsErrorKind::UnsupportedOperation,
            "Multi-Region keys and custom key stores are not supported by this key service.",
        ));
    }
    let description = fields.text("Description")?.unwrap_or_default();
    super::fields::check_length("Description", description, description.chars().count(), 0, 8192)?;
    if fields.text("Policy")?.is_some() {
        // A policy that was stored but not evaluated would promise what is not kept.
        return Err(refuse(
            KmsErrorKind::UnsupportedOperation,
            "Key policies are not supported by this key service yet.",
        ));
    }
    Ok(NewKey { description: description.to_owned(), tags: tags(fields)?, policy: None })
}

fn tags(fields: Fields<'_>) -> Result<Vec<(String, String)>, Failure> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for item in fields.objects("Tags")? {
        let key = item.required_text("TagKey", 128)?;
        let value = item.text("TagValue")?.unwrap_or_default();
        super::fields::check_length("TagValue", value, value.chars().count(), 0, 256)?;
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(refuse(KmsErrorKind::Tag, "Tags beginning with aws: are reserved"));
        }
        if tags.iter().any(|(other, _)| other == key) {
            return Err(refuse(KmsErrorKind::Tag, "Duplicate tag keys"));
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    if tags.len() > MAX_TAGS {
        return Err(refuse(KmsErrorKind::Tag, "Too many tags"));
    }
    Ok(tags)
}

/// The alias that a request is about.
fn alias_name(fields: Fields<'_>) -> Result<&str, Failure> {
    let alias = fields.required_text("AliasName", 256)?;
    let Some(name) = alias.strip_prefix("alias/") else {
        return Err(refuse(
            KmsErrorKind::Validation,
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ));
    };
    if name.is_empty() || !alias.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b)) {
        let constraint = "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$";
        return Err(if name.is_empty() {
            refuse(KmsErrorKind::InvalidAliasName, "Alias must have a name behind the prefix \"alias/\".")
        } else {
            invalid("AliasName", alias, constraint)
        });
    }
    if name.starts_with("aws/") || name == "aws" {
        return Err(refuse(KmsErrorKind::NotAuthorized, "Alias names beginning with alias/aws/ are reserved"));
    }
    Ok(alias)
}

/// The key of an operation that takes no aliases.
fn key_not_alias(fields: Fields<'_>) -> Result<KeyRef, Failure> {
    match fields.key("KeyId")? {
        KeyRef::Alias(alias) => Err(refuse(KmsErrorKind::NotFound, format!("Invalid keyId '{alias}'"))),
        KeyRef::AliasArn { region, account, alias } => {
            Err(refuse(KmsErrorKind::InvalidArn, format!("Invalid keyId 'arn:aws:kms:{region}:{account}:{alias}'")))
        }
        key => Ok(key),
    }
}

fn algorithm(fields: Fields<'_>, name: &str) -> Result<(), Failure> {
    match fields.choice(name, &[SYMMETRIC, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"])? {
        None | Some(SYMMETRIC) => Ok(()),
        Some(other) => Err(refuse(
            KmsErrorKind::InvalidKeyUsage,
            format!("Algorithm {other} and key spec {SYMMETRIC} are incompatible."),
        )),
    }
}

fn no_recipient(fields: Fields<'_>) -> Result<(), Failure> {
    if fields.has("Recipient") {
        return Err(refuse(
            KmsErrorKind::UnsupportedOperation,
            "Recipient attestation is not supported by this key service.",
        ));
    }
    Ok(())
}

fn unless_dry(fields: Fields<'_>) -> Result<(), Failure> {
    if fields.flag("DryRun")? {
        return Err(refuse(
            KmsErrorKind::DryRunOperation,
            "The request would have succeeded, but the DryRun option is set.",
        ));
    }
    Ok(())
}

fn page(fields: Fields<'_>) -> Result<usize, Failure> {
    let limit = fields.bounded("Limit", 1, 1000)?.unwrap_or(PAGE);
    Ok(usize::try_from(limit).unwrap_or_default())
}

/// Where a page begins: a marker that an earlier page gave, or nothing.
fn marker(fields: Fields<'_>, is_ours: impl Fn(&str) -> bool) -> Result<&str, Failure> {
    match fields.text("Marker")? {
        Some(marker) if !is_ours(marker) => Err(KmsErrorKind::InvalidMarker.with("The marker is not valid.").into()),
        marker => Ok(marker.unwrap_or_default()),
    }
}

fn paged(mut answer: Value, next: Option<String>) -> Value {
    answer["Truncated"] = next.is_some().into();
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    answer
}

fn metadata(key: &KeyMetadata) -> Value {
    let mut metadata = json!({
        "AWSAccountId": key.account,
        "KeyId": key.arn.id(),
        "Arn": key.arn.as_str(),
        "CreationDate": seconds(key.created),
        "Enabled": key.state == KeyState::Enabled,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state.as_str(),
        "Origin": "AWS_KMS",
        "KeyManager": if key.aws_managed { "AWS" } else { "CUSTOMER" },
        "CustomerMasterKeySpec": SYMMETRIC,
        "KeySpec": SYMMETRIC,
        "EncryptionAlgorithms": [SYMMETRIC],
        "MultiRegion": false,
        "CurrentKeyMaterialId": key.material_id,
    });
    if let Some(at) = key.deletion {
        metadata["DeletionDate"] = seconds(at).into();
    }
    metadata
}

fn default_policy(account: &str) -> String {
    let policy = json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
            "Action": "kms:*",
            "Resource": "*",
        }],
    });
    policy.to_string()
}

/// A time as the JSON protocol has it: seconds since the Unix epoch, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit a double's 53 bits")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
