//! Rotation.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::Fields;
use super::{PAGE, key_not_alias, marker, page, paged, seconds};
use crate::kms::Caller;
use crate::kms::local::{DEFAULT_PERIOD, LocalKms, MaterialEntry, MaterialState};

pub(super) async fn enable(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let period = fields.number("RotationPeriodInDays")?;
    let period = period.map_or(DEFAULT_PERIOD, |days| u32::try_from(days).unwrap_or(DEFAULT_PERIOD));
    Ok(kms.enable_rotation(caller, &name, period).await.map(|()| Value::Null)?)
}

pub(super) async fn disable(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    Ok(kms.disable_rotation(caller, &key_not_alias(fields)?).await.map(|()| Value::Null)?)
}

pub(super) async fn on_demand(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let arn = kms.rotate_on_demand(caller, &key_not_alias(fields)?).await?;
    Ok(json!({"KeyId": arn.as_str()}))
}

pub(super) fn status(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let status = kms.rotation_status(caller, &key_not_alias(fields)?)?;
    let mut answer = json!({"KeyRotationEnabled": status.schedule.is_some(), "KeyId": status.arn.as_str()});
    if let Some((period, next)) = status.schedule {
        answer["RotationPeriodInDays"] = period.into();
        answer["NextRotationDate"] = seconds(next).into();
    }
    Ok(answer)
}

pub(super) fn list(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let all = fields.text("IncludeKeyMaterial")? == Some("ALL_KEY_MATERIAL");
    let limit = page(fields, PAGE)?;
    let mut materials = kms.materials(caller, &name)?;
    let id = kms.metadata(caller, &name, "kms:ListKeyRotations")?.arn;
    materials.retain(|material| all || material.rotated.is_some());
    let after = marker(fields, |marker| materials.iter().any(|material| material.id == marker))?;
    let start = materials.iter().position(|material| material.id == after).map_or(0, |at| at + 1);
    let mut materials = materials.split_off(start);
    let truncated = materials.len() > limit;
    materials.truncate(limit);
    let next = materials.last().filter(|_| truncated).map(|material| material.id.clone());
    let rotations: Vec<Value> = materials.iter().map(|material| entry(id.id(), material)).collect();
    Ok(paged(json!({"Rotations": rotations}), next))
}

fn entry(key: &str, material: &MaterialEntry) -> Value {
    let state = match material.state {
        MaterialState::Current => "CURRENT",
        MaterialState::NonCurrent => "NON_CURRENT",
        MaterialState::PendingRotation => "PENDING_ROTATION",
    };
    let mut entry = json!({"KeyId": key, "KeyMaterialId": material.id, "KeyMaterialState": state});
    if let Some((at, on_demand)) = material.rotated {
        entry["RotationDate"] = seconds(at).into();
        entry["RotationType"] = if on_demand { "ON_DEMAND" } else { "AUTOMATIC" }.into();
    }
    let Some(import) = &material.import else { return entry };
    entry["ImportState"] = if import.present { "IMPORTED" } else { "PENDING_IMPORT" }.into();
    if let Some(description) = &import.description {
        entry["KeyMaterialDescription"] = description.as_str().into();
    }
    entry["ExpirationModel"] = "KEY_MATERIAL_DOES_NOT_EXPIRE".into();
    if let Some(end) = import.valid_to {
        entry["ExpirationModel"] = "KEY_MATERIAL_EXPIRES".into();
        entry["ValidTo"] = seconds(end).into();
    }
    entry
}
