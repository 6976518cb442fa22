//! What KMS offers beyond one Region's own key store: custom key stores and multi-Region keys. There are none here, and each
//! operation answers as AWS's does in an account that has none.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{PAGE, key_not_alias, marker, page};
use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{LocalKms, Need};

/// DescribeCustomKeyStores: none, unless one is named.
pub(super) fn key_stores(fields: Fields<'_>) -> Result<Value, Failure> {
    page(fields, PAGE)?;
    marker(fields, |_| false)?;
    let (id, name) = (fields.text("CustomKeyStoreId")?, fields.text("CustomKeyStoreName")?);
    match (id, name) {
        (None, None) => Ok(json!({"CustomKeyStores": [], "Truncated": false})),
        (Some(_), Some(_)) => {
            let message = "CustomKeyStoreId and CustomKeyStoreName must not both be specified.";
            Err(refuse(KmsErrorKind::Validation, message))
        }
        (Some(named), None) | (None, Some(named)) => Err(not_found(named)),
    }
}

/// An operation on the custom key store that the request names.
pub(super) fn key_store(fields: Fields<'_>) -> Result<Value, Failure> {
    Err(not_found(fields.required_text("CustomKeyStoreId")?))
}

/// Refuses a request that names a custom key store.
pub(super) fn no_key_store(fields: Fields<'_>) -> Result<(), Failure> {
    match fields.text("CustomKeyStoreId")? {
        None => Ok(()),
        Some(id) => Err(not_found(id)),
    }
}

/// ReplicateKey: no key here is a multi-Region primary key. (Recorded on AWS: test_replicate_replica_key_should_fail.)
pub(super) fn replicate(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    single_region(kms, caller, fields, ("kms:ReplicateKey", "multi-region primary key"))
}

/// UpdatePrimaryRegion: no key here is a multi-Region key.
pub(super) fn update_primary(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    single_region(kms, caller, fields, ("kms:UpdatePrimaryRegion", "multi-Region key"))
}

fn single_region(
    kms: &LocalKms,
    caller: &Caller,
    fields: Fields<'_>,
    (action, what): (&'static str, &str),
) -> Result<Value, Failure> {
    let name = key_not_alias(fields)?;
    let key = kms.metadata(caller, &name, action)?;
    key.state.allow(Need::Use, key.arn.as_str())?;
    let message = format!("{} is not a {what}.", key.arn);
    Err(refuse(KmsErrorKind::UnsupportedOperation, message))
}

fn not_found(named: &str) -> Failure {
    refuse(KmsErrorKind::CustomKeyStoreNotFound, format!("Custom key store {named} is not found."))
}
