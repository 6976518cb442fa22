//! Keys: what they are to be like, and how they are shown.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{PAGE, key_not_alias, marker, page, paged, seconds};
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{KeyMetadata, KeyState, LocalKms, MAX_POLICY, NewKey};
use crate::kms::{Caller, KeySpec, KeyUsage};

/// Days until a key is destroyed, if the client asks for no number.
const DELETION_WINDOW: i64 = 30;

pub(super) async fn create(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = kms.create_key(caller, new(fields)?).await?;
    Ok(json!({"KeyMetadata": metadata(&key)}))
}

pub(super) async fn describe(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = fields.key("KeyId")?;
    // "If you specify a predefined AWS alias … KMS associates the alias with an AWS managed key" (DescribeKey)
    kms.ensure_described_key(caller, &name).await?;
    Ok(json!({"KeyMetadata": metadata(&kms.metadata(caller, &name, "kms:DescribeKey")?)}))
}

pub(super) fn list(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let limit = page(fields, PAGE)?;
    let after = marker(fields, |marker| uuid::Uuid::try_parse(marker).is_ok())?;
    // Nobody shares keys here.
    let own = owners(fields)?;
    let mut keys = if own { kms.list_keys(&caller.account, after, limit + 1) } else { Vec::new() };
    let truncated = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| truncated).map(|arn| arn.id().to_owned());
    let keys: Vec<Value> = keys.iter().map(|arn| json!({"KeyId": arn.id(), "KeyArn": arn.as_str()})).collect();
    Ok(paged(json!({"Keys": keys}), next))
}

pub(super) async fn set_enabled(
    kms: &LocalKms,
    caller: &Caller,
    fields: Fields<'_>,
    enabled: bool,
) -> Result<Value, Failure> {
    Ok(kms.set_enabled(caller, &key_not_alias(fields)?, enabled).await.map(|()| Value::Null)?)
}

pub(super) async fn set_description(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let description = fields.required_text("Description")?;
    Ok(kms.set_description(caller, &name, description.to_owned()).await.map(|()| Value::Null)?)
}

pub(super) async fn schedule_deletion(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let days = fields.number("PendingWindowInDays")?.unwrap_or(DELETION_WINDOW);
    let key = kms.schedule_deletion(caller, &name, days).await?;
    Ok(json!({
        "KeyId": key.arn.as_str(),
        "DeletionDate": key.deletion.map(seconds),
        "KeyState": key.state.as_str(),
        "PendingWindowInDays": days,
    }))
}

pub(super) async fn cancel_deletion(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = kms.cancel_deletion(caller, &key_not_alias(fields)?).await?;
    Ok(json!({"KeyId": key.arn.as_str()}))
}

pub(super) fn last_usage(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let usage = kms.last_usage(caller, &key_not_alias(fields)?)?;
    let mut last = json!({});
    if let Some(used) = usage.last {
        last = json!({"Operation": used.operation, "Timestamp": seconds(used.at), "KmsRequestId": used.request_id});
        if let Some(event) = used.event_id {
            last["CloudTrailEventId"] = event.into();
        }
    }
    Ok(json!({
        "KeyId": usage.arn.as_str(),
        "KeyLastUsage": last,
        "TrackingStartDate": seconds(usage.created),
        "KeyCreationDate": seconds(usage.created),
    }))
}

/// Reads what CreateKey asks for; what is not offered is refused, never ignored.
fn new(fields: Fields<'_>) -> Result<NewKey, Failure> {
    let (spec, usage) = spec_and_usage(fields)?;
    let origin = fields.text("Origin")?;
    super::elsewhere::no_key_store(fields)?;
    if let Some(origin @ ("AWS_CLOUDHSM" | "EXTERNAL_KEY_STORE")) = origin {
        let message = format!("Origin {origin} is not supported by this key service.");
        return Err(refuse(KmsErrorKind::UnsupportedOperation, message));
    }
    let external = origin == Some("EXTERNAL");
    if external && usage == KeyUsage::EncapsulateDecapsulate {
        let message = format!("Origin EXTERNAL is not supported with KeySpec {} by this key service.", spec.as_str());
        return Err(refuse(KmsErrorKind::UnsupportedOperation, message));
    }
    if fields.has("XksKeyId") {
        let message = "XksKeyId is valid for KMS keys in an external key store only.";
        return Err(refuse(KmsErrorKind::Validation, message));
    }
    if fields.flag("MultiRegion")? {
        let message = "Multi-Region keys are not supported by this key service.";
        return Err(refuse(KmsErrorKind::UnsupportedOperation, message));
    }
    let description = fields.text("Description")?.unwrap_or_default();
    let policy = policy(fields)?.map(str::to_owned);
    let may_lock_out = fields.flag("BypassPolicyLockoutSafetyCheck")?;
    let (description, tags) = (description.to_owned(), super::tags::read(fields)?);
    Ok(NewKey { description, tags, policy, may_lock_out, spec, usage, external })
}

/// Whether ListKeys asks for the caller's own keys, beside or rather than those shared with it.
fn owners(fields: Fields<'_>) -> Result<bool, Failure> {
    let owners = fields.texts("ResourceOwners")?;
    Ok(owners.is_empty() || owners.contains(&"SELF"))
}

/// The text of a key policy, if one is given.
pub(super) fn policy(fields: Fields<'_>) -> Result<Option<&str>, Failure> {
    let policy = fields.text("Policy")?;
    if policy.is_some_and(|policy| policy.len() > MAX_POLICY) {
        let message = format!("The key policy is longer than {MAX_POLICY} bytes.");
        return Err(refuse(KmsErrorKind::LimitExceeded, message));
    }
    Ok(policy)
}

fn spec_and_usage(fields: Fields<'_>) -> Result<(KeySpec, KeyUsage), Failure> {
    if fields.has("KeySpec") && fields.has("CustomerMasterKeySpec") {
        let message = "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is \
                       deprecated.";
        return Err(refuse(KmsErrorKind::Validation, message));
    }
    let name = if fields.has("KeySpec") { "KeySpec" } else { "CustomerMasterKeySpec" };
    let named = fields.text(name)?;
    let usage = fields.text("KeyUsage")?;
    let unsupported = |name: &str| {
        let message = format!("KeySpec {name} is not supported in this Region");
        refuse(KmsErrorKind::UnsupportedOperation, message)
    };
    let parsed = named.map(|name| KeySpec::parse(name).ok_or_else(|| unsupported(name))).transpose()?;
    let spec = parsed.unwrap_or_default();
    let Some(name) = usage else {
        if spec == KeySpec::SymmetricDefault {
            return Ok((spec, KeyUsage::EncryptDecrypt));
        }
        let message = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.";
        return Err(refuse(KmsErrorKind::Validation, message));
    };
    match KeyUsage::parse(name) {
        Some(usage) if spec.usages().contains(&usage) => Ok((spec, usage)),
        _ => {
            let message = format!("KeyUsage {name} is not compatible with KeySpec {}", spec.as_str());
            Err(refuse(KmsErrorKind::Validation, message))
        }
    }
}

/// `KeyMetadata`.
fn metadata(key: &KeyMetadata) -> Value {
    let mut metadata = json!({
        "AWSAccountId": key.account,
        "KeyId": key.arn.id(),
        "Arn": key.arn.as_str(),
        "CreationDate": seconds(key.created),
        "Enabled": key.state == KeyState::Enabled,
        "Description": key.description,
        "KeyUsage": key.usage.as_str(),
        "KeyState": key.state.as_str(),
        "Origin": if key.external { "EXTERNAL" } else { "AWS_KMS" },
        "KeyManager": if key.aws_managed { "AWS" } else { "CUSTOMER" },
        "KeySpec": key.spec.as_str(),
        "MultiRegion": false,
    });
    if has_older_name(key.spec) {
        metadata["CustomerMasterKeySpec"] = key.spec.as_str().into();
    }
    let (name, algorithms) = algorithms(key.spec, key.usage);
    metadata[name] = algorithms;
    if let Some(id) = &key.material_id {
        metadata["CurrentKeyMaterialId"] = id.as_str().into();
    }
    if let Some(at) = key.deletion {
        metadata["DeletionDate"] = seconds(at).into();
    }
    match key.import {
        None => {}
        Some(None) => metadata["ExpirationModel"] = "KEY_MATERIAL_DOES_NOT_EXPIRE".into(),
        Some(Some(end)) => {
            metadata["ExpirationModel"] = "KEY_MATERIAL_EXPIRES".into();
            metadata["ValidTo"] = seconds(end).into();
        }
    }
    metadata
}

/// Whether the older member, CustomerMasterKeySpec, knows `spec` too.
pub(super) const fn has_older_name(spec: KeySpec) -> bool {
    use KeySpec::{EccNistEdwards25519, MlDsa44, MlDsa65, MlDsa87, MlKem512, MlKem768, MlKem1024};
    !matches!(spec, EccNistEdwards25519 | MlDsa44 | MlDsa65 | MlDsa87 | MlKem512 | MlKem768 | MlKem1024)
}

/// The member that lists a key's algorithms, and the list.
pub(super) fn algorithms(spec: KeySpec, usage: KeyUsage) -> (&'static str, Value) {
    match usage {
        KeyUsage::EncryptDecrypt => {
            let names: Vec<&str> = spec.encryption_algorithms().iter().map(|one| one.as_str()).collect();
            ("EncryptionAlgorithms", json!(names))
        }
        KeyUsage::SignVerify => {
            let names: Vec<&str> = spec.signing_algorithms().iter().map(|one| one.as_str()).collect();
            ("SigningAlgorithms", json!(names))
        }
        KeyUsage::GenerateVerifyMac => {
            let names: Vec<&str> = spec.mac_algorithms().iter().map(|one| one.as_str()).collect();
            ("MacAlgorithms", json!(names))
        }
        KeyUsage::KeyAgreement => ("KeyAgreementAlgorithms", json!(["ECDH"])),
        KeyUsage::EncapsulateDecapsulate => ("EncapsulationAlgorithms", json!(["ML_KEM"])),
    }
}
