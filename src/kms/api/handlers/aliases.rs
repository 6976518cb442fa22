//! Aliases.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{marker, paged, seconds, small_page};
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{AliasEntry, LocalKms};
use crate::kms::{Caller, resource_arn};

pub(super) fn list(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let limit = small_page(fields)?;
    let after = marker(fields, |marker| marker.starts_with("alias/"))?;
    let of = match fields.optional_key("KeyId")? {
        Some(key) => Some(kms.own_key(caller, &key, "kms:ListAliases")?.id().to_owned()),
        None => None,
    };
    let mut aliases = kms.list_aliases(&caller.account, of.as_deref(), after, limit + 1);
    let truncated = aliases.len() > limit;
    aliases.truncate(limit);
    let next = aliases.last().filter(|_| truncated).map(|alias| alias.name.clone());
    let arn = |alias: &AliasEntry| resource_arn(kms.region(), &caller.account, &alias.name);
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

pub(super) async fn create(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let alias = fresh_name(fields)?;
    Ok(kms.create_alias(caller, alias, &fields.key("TargetKeyId")?).await.map(|()| Value::Null)?)
}

pub(super) async fn update(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let alias = name(fields)?;
    Ok(kms.update_alias(caller, alias, &fields.key("TargetKeyId")?).await.map(|()| Value::Null)?)
}

pub(super) async fn delete(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    Ok(kms.delete_alias(caller, name(fields)?).await.map(|()| Value::Null)?)
}

/// The alias that a request makes. The pattern lets a colon pass, which KMS does not take all the same.
fn fresh_name(fields: Fields<'_>) -> Result<&str, Failure> {
    let alias = name(fields)?;
    if alias.contains(':') {
        let message = format!("{alias} contains invalid characters for an alias");
        return Err(refuse(KmsErrorKind::Validation, message));
    }
    Ok(alias)
}

/// The alias that a request is about.
fn name(fields: Fields<'_>) -> Result<&str, Failure> {
    let alias = fields.required_text("AliasName")?;
    let Some(name) = alias.strip_prefix("alias/") else {
        return Err(refuse(
            KmsErrorKind::Validation,
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ));
    };
    if name.is_empty() {
        let message = "Alias must have a name behind the prefix \"alias/\".";
        return Err(refuse(KmsErrorKind::InvalidAliasName, message));
    }
    if name.starts_with("aws/") || name == "aws" {
        return Err(refuse(KmsErrorKind::NotAuthorized, "Alias names beginning with alias/aws/ are reserved"));
    }
    Ok(alias)
}
