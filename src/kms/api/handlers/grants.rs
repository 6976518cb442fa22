//! Grants.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::{Fields, refuse};
use super::{key_not_alias, marker, paged, seconds, small_page, unless_dry};
use crate::kms::error::KmsErrorKind;
use crate::kms::local::{Grant, GrantConstraints, GrantRef, GrantTerms, Grantee, LocalKms};
use crate::kms::spec::GrantOperation;
use crate::kms::{Caller, EncryptionContext};
use crate::policy::is_account_id;

/// Pairs of a constraint's encryption context.
const MOST_PAIRS: usize = 8;
/// Characters of a constraint's encryption context.
const MOST_CHARACTERS: usize = 384;

pub(super) async fn create(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = key_not_alias(fields)?;
    let terms = terms(fields)?;
    let (id, token) = kms.create_grant(caller, &key, terms, fields.flag("DryRun")?).await?;
    unless_dry(fields)?;
    Ok(json!({"GrantId": id, "GrantToken": token}))
}

pub(super) fn list(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = key_not_alias(fields)?;
    let id = fields.text("GrantId")?;
    let grantee = grantee(fields, "Grantee")?;
    let mut grants = kms.grants(caller, &key)?;
    grants.retain(|grant| id.is_none_or(|id| grant.id == id));
    grants.retain(|grant| grantee.as_ref().is_none_or(|grantee| grant.terms.grantee == *grantee));
    listed(fields, grants)
}

pub(super) fn list_retirable(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let principal = grantee(fields, "Retiring")?.ok_or_else(|| {
        let message = "Either RetiringPrincipal or RetiringServicePrincipal must be specified.";
        refuse(KmsErrorKind::Validation, message)
    })?;
    listed(fields, kms.retirable_grants(caller, &principal)?)
}

pub(super) async fn retire(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let grant = match (fields.text("GrantToken")?, fields.has("KeyId"), fields.text("GrantId")?) {
        (Some(token), false, None) => GrantRef::Token(token.to_owned()),
        (None, true, Some(id)) => GrantRef::Id(key_not_alias(fields)?, id.to_owned()),
        _ => {
            let message = "Specify either a grant token, or a key ID and a grant ID.";
            return Err(refuse(KmsErrorKind::Validation, message));
        }
    };
    kms.retire_grant(caller, &grant, fields.flag("DryRun")?).await?;
    unless_dry(fields)?;
    Ok(Value::Null)
}

pub(super) async fn revoke(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let key = key_not_alias(fields)?;
    let id = fields.required_text("GrantId")?;
    kms.revoke_grant(caller, &key, id, fields.flag("DryRun")?).await?;
    unless_dry(fields)?;
    Ok(Value::Null)
}

fn terms(fields: Fields<'_>) -> Result<GrantTerms, Failure> {
    let wrong = |message: &str| refuse(KmsErrorKind::Validation, message);
    let grantee = grantee(fields, "Grantee")?
        .ok_or_else(|| wrong("Either GranteePrincipal or GranteeServicePrincipal must be specified."))?;
    let retiring = self::grantee(fields, "Retiring")?;
    let mut operations = Vec::new();
    for name in fields.texts("Operations")? {
        if let Some(operation) = GrantOperation::parse(name).filter(|operation| !operations.contains(operation)) {
            operations.push(operation);
        }
    }
    if operations.is_empty() {
        return Err(wrong("At least one operation must be specified."));
    }
    let constraints = constraints(fields)?;
    if matches!(grantee, Grantee::Service(_)) && (constraints.source_arn.is_none() || retiring.is_none()) {
        return Err(wrong(
            "A grant for a service principal must have a SourceArn constraint and a retiring principal.",
        ));
    }
    let name = fields.text("Name")?.map(str::to_owned);
    Ok(GrantTerms { grantee, retiring, operations, constraints, name })
}

fn constraints(fields: Fields<'_>) -> Result<GrantConstraints, Failure> {
    let Some(fields) = fields.object("Constraints")? else { return Ok(GrantConstraints::default()) };
    let context = |name: &str| fields.has(name).then(|| fields.context(name)).transpose();
    let (subset, equals) = (context("EncryptionContextSubset")?, context("EncryptionContextEquals")?);
    // "Each constraint value can include up to 8 encryption context pairs. The encryption context value in each constraint
    // cannot exceed 384 characters." (CreateGrant)
    let characters = |context: &EncryptionContext| -> usize {
        context.pairs().iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum()
    };
    for context in subset.iter().chain(&equals) {
        // It would look like a constraint and be none.
        if context.pairs().is_empty() {
            let message = "A grant constraint must have at least one encryption context pair.";
            return Err(refuse(KmsErrorKind::Validation, message));
        }
        if context.pairs().len() > MOST_PAIRS || characters(context) > MOST_CHARACTERS {
            let message = "A grant constraint can have up to 8 encryption context pairs of 384 characters in all.";
            return Err(refuse(KmsErrorKind::Validation, message));
        }
    }
    if subset.is_some() && equals.is_some() {
        let message = "EncryptionContextEquals and EncryptionContextSubset must not both be specified.";
        return Err(refuse(KmsErrorKind::Validation, message));
    }
    let source_arn = fields.text("SourceArn")?.map(str::to_owned);
    Ok(GrantConstraints { subset, equals, source_arn })
}

/// `{role}Principal` or `{role}ServicePrincipal`, not both.
fn grantee(fields: Fields<'_>, role: &str) -> Result<Option<Grantee>, Failure> {
    let (principal, service) = (format!("{role}Principal"), format!("{role}ServicePrincipal"));
    match (fields.text(&principal)?, fields.text(&service)?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let message = format!("{principal} and {service} must not both be specified.");
            Err(refuse(KmsErrorKind::Validation, message))
        }
        (Some(name), None) => {
            if !is_principal(name) {
                let message = format!("ARN does not refer to a valid principal: {name}");
                return Err(refuse(KmsErrorKind::InvalidArn, message));
            }
            Ok(Some(Grantee::principal(name)))
        }
        (None, Some(name)) => Ok(Some(Grantee::Service(name.to_owned()))),
    }
}

/// An account's id, or the ARN of an account, a user, a role or a session.
fn is_principal(name: &str) -> bool {
    let fields: Vec<&str> = name.splitn(6, ':').collect();
    match fields[..] {
        [account] => is_account_id(account),
        ["arn", "aws", "iam" | "sts", "", account, resource] => is_account_id(account) && !resource.is_empty(),
        _ => false,
    }
}

fn listed(fields: Fields<'_>, mut grants: Vec<Grant>) -> Result<Value, Failure> {
    let limit = small_page(fields)?;
    let after = marker(fields, |marker| marker.len() == 64 && marker.bytes().all(|b| b.is_ascii_hexdigit()))?;
    grants.retain(|grant| grant.id.as_str() > after);
    let truncated = grants.len() > limit;
    grants.truncate(limit);
    let next = grants.last().filter(|_| truncated).map(|grant| grant.id.clone());
    let grants: Vec<Value> = grants.iter().map(entry).collect();
    Ok(paged(json!({"Grants": grants}), next))
}

fn entry(grant: &Grant) -> Value {
    let terms = &grant.terms;
    let operations: Vec<&str> = terms.operations.iter().map(|operation| operation.as_str()).collect();
    let mut entry = json!({
        "KeyId": grant.key.as_str(),
        "GrantId": grant.id,
        "CreationDate": seconds(grant.created),
        "IssuingAccount": format!("arn:aws:iam::{}:root", grant.issuer),
        "Operations": operations,
    });
    let principal = |grantee: &Grantee, role: &str| match grantee {
        Grantee::Principal(name) => (format!("{role}Principal"), Value::from(name.as_str())),
        Grantee::Service(name) => (format!("{role}ServicePrincipal"), Value::from(name.as_str())),
    };
    let retiring = terms.retiring.as_ref().map(|retiring| principal(retiring, "Retiring"));
    for (name, value) in retiring.into_iter().chain([principal(&terms.grantee, "Grantee")]) {
        entry[name] = value;
    }
    if let Some(name) = &terms.name {
        entry["Name"] = name.as_str().into();
    }
    let pairs = |context: &EncryptionContext| json!(context.pairs());
    let constraints = [
        ("EncryptionContextSubset", terms.constraints.subset.as_ref().map(pairs)),
        ("EncryptionContextEquals", terms.constraints.equals.as_ref().map(pairs)),
        ("SourceArn", terms.constraints.source_arn.as_deref().map(Value::from)),
    ];
    for (name, value) in constraints {
        if let Some(value) = value {
            entry["Constraints"][name] = value;
        }
    }
    entry
}
