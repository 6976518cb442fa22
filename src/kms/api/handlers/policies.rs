//! Key policies.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{PAGE, key_not_alias, keys, marker, page};
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::LocalKms;
use crate::wire::validation::{fault, told};

pub(super) fn show(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = kms.metadata(caller, &key_not_alias(fields)?, "kms:GetKeyPolicy")?;
    // "The only valid policy name is default" (GetKeyPolicy): of another name there is none.
    if fields.text("PolicyName")?.is_some_and(|name| name != "default") {
        return Err(refuse(KmsErrorKind::NotFound, "No such policy exists"));
    }
    Ok(json!({"Policy": kms.shown_policy(&key), "PolicyName": "default"}))
}

pub(super) async fn put(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = key_not_alias(fields)?;
    if let Some(name) = fields.text("PolicyName")?.filter(|name| *name != "default") {
        let unknown = fault(Some(&format!("'{name}'")), "PolicyName", "satisfy enum value set: [default]");
        return Err(refuse(KmsErrorKind::Validation, told(&[unknown])));
    }
    let policy = keys::policy(fields)?.unwrap_or_default();
    let may_lock_out = fields.flag("BypassPolicyLockoutSafetyCheck")?;
    Ok(kms.put_policy(caller, &key, policy, may_lock_out).await.map(|()| Value::Null)?)
}

pub(super) fn list(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    kms.metadata(caller, &key_not_alias(fields)?, "kms:ListKeyPolicies")?;
    page(fields, PAGE)?;
    marker(fields, |_| false)?;
    Ok(json!({"PolicyNames": ["default"], "Truncated": false}))
}
