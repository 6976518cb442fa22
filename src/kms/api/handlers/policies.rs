//! Key policies.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, check_length, refuse};
use super::{PAGE, key_not_alias, keys, marker, page};
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::LocalKms;

pub(super) fn show(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = kms.metadata(caller, &key_not_alias(fields)?, "kms:GetKeyPolicy")?;
    // "The only valid policy name is default" (GetKeyPolicy): of another name there is none.
    let name = fields.text("PolicyName")?;
    if let Some(name) = name {
        check_length("PolicyName", name, name.chars().count(), 1, 128)?;
    }
    if name.is_some_and(|name| name != "default") {
        return Err(refuse(KmsErrorKind::NotFound, "No such policy exists"));
    }
    Ok(json!({"Policy": kms.shown_policy(&key), "PolicyName": "default"}))
}

pub(super) async fn put(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = key_not_alias(fields)?;
    fields.choice("PolicyName", &["default"])?;
    fields.required("Policy")?;
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
