//! What each operation does with its members, and what it answers.

mod aliases;
mod ciphertexts;
mod elsewhere;
mod grants;
mod import;
mod keys;
mod macs;
mod pairs;
mod rotation;
mod tags;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Failure;
use super::fields::{Fields, check_length, refuse};
use crate::clock::Timestamp;
use crate::iam::Permit;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::LocalKms;
use crate::kms::{Caller, KeyRef};

/// Most bytes of a ciphertext blob, a signature, a tag.
const MAX_BLOB: usize = 6144;
/// Most bytes of a message to sign or authenticate.
const MAX_MESSAGE: usize = 4096;
/// Entries in one page, if the client asks for no number.
const PAGE: usize = 100;
/// Days until a key is destroyed, if the client asks for no number.
const DELETION_WINDOW: i64 = 30;

/// The operations that are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handler {
    CancelKeyDeletion,
    ConnectCustomKeyStore,
    CreateAlias,
    CreateGrant,
    CreateKey,
    Decapsulate,
    Decrypt,
    DeleteAlias,
    DeleteCustomKeyStore,
    DeleteImportedKeyMaterial,
    DeriveSharedSecret,
    DescribeCustomKeyStores,
    DescribeKey,
    DisableKey,
    DisableKeyRotation,
    DisconnectCustomKeyStore,
    EnableKey,
    EnableKeyRotation,
    Encapsulate,
    Encrypt,
    GenerateDataKey,
    GenerateDataKeyPair,
    GenerateDataKeyPairWithoutPlaintext,
    GenerateDataKeyWithoutPlaintext,
    GenerateMac,
    GenerateRandom,
    GetKeyLastUsage,
    GetKeyPolicy,
    GetKeyRotationStatus,
    GetParametersForImport,
    GetPublicKey,
    ImportKeyMaterial,
    ListAliases,
    ListGrants,
    ListKeyPolicies,
    ListKeyRotations,
    ListKeys,
    ListResourceTags,
    ListRetirableGrants,
    PutKeyPolicy,
    ReEncrypt,
    ReplicateKey,
    RetireGrant,
    RevokeGrant,
    RotateKeyOnDemand,
    ScheduleKeyDeletion,
    Sign,
    TagResource,
    UntagResource,
    UpdateAlias,
    UpdateCustomKeyStore,
    UpdateKeyDescription,
    UpdatePrimaryRegion,
    Verify,
    VerifyMac,
}

/// Does what `handler` stands for. Operations that answer nothing answer [`Value::Null`].
pub(super) async fn perform(
    handler: Handler,
    kms: &LocalKms,
    caller: &Caller,
    fields: &Fields<'_>,
    _permit: Permit,
) -> Result<Value, Failure> {
    if handler.takes_grant_tokens() {
        kms.check_grant_tokens(&fields.grant_tokens()?)?;
    }
    let answer = dispatch(handler, kms, caller, *fields).await?;
    if let Some(operation) = handler.use_of_key() {
        // Those answer with the ARNs of the keys that they used.
        let arns = ["SourceKeyId", "KeyId"].iter().filter_map(|name| answer[*name].as_str()?.parse().ok());
        arns.for_each(|arn| kms.used(&arn, operation, caller));
    }
    Ok(answer)
}

impl Handler {
    /// Whether the operation takes GrantTokens.
    const fn takes_grant_tokens(self) -> bool {
        self.use_of_key().is_some() || matches!(self, Self::CreateGrant | Self::DescribeKey | Self::GetPublicKey)
    }

    /// The operation's name as GetKeyLastUsage tells it, if it uses key material.
    const fn use_of_key(self) -> Option<&'static str> {
        Some(match self {
            Self::Decapsulate => "Decapsulate",
            Self::Decrypt => "Decrypt",
            Self::DeriveSharedSecret => "DeriveSharedSecret",
            Self::Encapsulate => "Encapsulate",
            Self::Encrypt => "Encrypt",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GenerateDataKeyPair => "GenerateDataKeyPair",
            Self::GenerateDataKeyPairWithoutPlaintext => "GenerateDataKeyPairWithoutPlaintext",
            Self::GenerateDataKeyWithoutPlaintext => "GenerateDataKeyWithoutPlaintext",
            Self::GenerateMac => "GenerateMac",
            Self::ReEncrypt => "ReEncrypt",
            Self::Sign => "Sign",
            Self::Verify => "Verify",
            Self::VerifyMac => "VerifyMac",
            _ => return None,
        })
    }
}

async fn dispatch(handler: Handler, kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    match handler {
        Handler::CancelKeyDeletion => {
            let key = kms.cancel_deletion(caller, &key_not_alias(fields)?).await?;
            Ok(json!({"KeyId": key.arn.as_str()}))
        }
        Handler::ConnectCustomKeyStore
        | Handler::DeleteCustomKeyStore
        | Handler::DisconnectCustomKeyStore
        | Handler::UpdateCustomKeyStore => elsewhere::key_store(fields),
        Handler::DescribeCustomKeyStores => elsewhere::key_stores(fields),
        Handler::ReplicateKey => elsewhere::replicate(kms, caller, fields),
        Handler::UpdatePrimaryRegion => elsewhere::update_primary(kms, caller, fields),
        Handler::CreateAlias => {
            let alias = aliases::fresh_name(fields)?;
            Ok(kms.create_alias(caller, alias, &fields.key("TargetKeyId")?).await.map(|()| Value::Null)?)
        }
        Handler::CreateGrant => grants::create(kms, caller, fields).await,
        Handler::CreateKey => {
            let key = kms.create_key(caller, keys::new(fields)?).await?;
            Ok(json!({"KeyMetadata": keys::metadata(&key)}))
        }
        Handler::Decapsulate => pairs::decapsulate(kms, caller, fields),
        Handler::Decrypt => ciphertexts::decrypt(kms, caller, fields).await,
        Handler::DeleteAlias => Ok(kms.delete_alias(caller, aliases::name(fields)?).await.map(|()| Value::Null)?),
        Handler::DeleteImportedKeyMaterial => import::delete(kms, caller, fields).await,
        Handler::DeriveSharedSecret => pairs::derive_shared_secret(kms, caller, fields).await,
        Handler::DescribeKey => {
            let name = fields.key("KeyId")?;
            // "If you specify a predefined AWS alias … KMS associates the alias with an AWS managed key" (DescribeKey)
            kms.ensure_described_key(caller, &name).await?;
            Ok(json!({"KeyMetadata": keys::metadata(&kms.metadata(caller, &name, "kms:DescribeKey")?)}))
        }
        Handler::DisableKey => {
            Ok(kms.set_enabled(caller, &key_not_alias(fields)?, false).await.map(|()| Value::Null)?)
        }
        Handler::DisableKeyRotation => {
            Ok(kms.disable_rotation(caller, &key_not_alias(fields)?).await.map(|()| Value::Null)?)
        }
        Handler::EnableKey => Ok(kms.set_enabled(caller, &key_not_alias(fields)?, true).await.map(|()| Value::Null)?),
        Handler::EnableKeyRotation => rotation::enable(kms, caller, fields).await,
        Handler::Encapsulate => pairs::encapsulate(kms, caller, fields),
        Handler::Encrypt => ciphertexts::encrypt(kms, caller, fields),
        Handler::GenerateDataKey => ciphertexts::generate(kms, caller, fields, true),
        Handler::GenerateDataKeyPair => pairs::generate(kms, caller, fields, true).await,
        Handler::GenerateDataKeyPairWithoutPlaintext => pairs::generate(kms, caller, fields, false).await,
        Handler::GenerateDataKeyWithoutPlaintext => ciphertexts::generate(kms, caller, fields, false),
        Handler::GenerateMac => macs::generate(kms, caller, fields),
        Handler::GenerateRandom => {
            let length = fields.bounded("NumberOfBytes", 1, 1024)?;
            let length = length.ok_or_else(|| refuse(KmsErrorKind::Validation, "NumberOfBytes is required."))?;
            let length = usize::try_from(length).unwrap_or_default();
            no_recipient(fields)?;
            elsewhere::no_key_store(fields)?;
            Ok(json!({"Plaintext": STANDARD.encode(kms.random(length).expose())}))
        }
        Handler::GetKeyLastUsage => {
            let usage = kms.last_usage(caller, &key_not_alias(fields)?)?;
            let mut last = json!({});
            if let Some((operation, at, request)) = usage.last {
                last = json!({"Operation": operation, "Timestamp": seconds(at), "KmsRequestId": request});
            }
            Ok(json!({
                "KeyId": usage.arn.as_str(),
                "KeyLastUsage": last,
                "TrackingStartDate": seconds(usage.created),
                "KeyCreationDate": seconds(usage.created),
            }))
        }
        Handler::GetKeyPolicy => {
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
        Handler::PutKeyPolicy => {
            let key = key_not_alias(fields)?;
            fields.choice("PolicyName", &["default"])?;
            fields.required("Policy")?;
            let policy = keys::policy(fields)?.unwrap_or_default();
            let may_lock_out = fields.flag("BypassPolicyLockoutSafetyCheck")?;
            Ok(kms.put_policy(caller, &key, policy, may_lock_out).await.map(|()| Value::Null)?)
        }
        Handler::GetKeyRotationStatus => rotation::status(kms, caller, fields),
        Handler::GetParametersForImport => import::parameters(kms, caller, fields).await,
        Handler::GetPublicKey => pairs::public_key(kms, caller, fields),
        Handler::ImportKeyMaterial => import::import(kms, caller, fields).await,
        Handler::ListAliases => aliases::list(kms, caller, fields),
        Handler::ListGrants => grants::list(kms, caller, fields),
        Handler::ListKeyPolicies => {
            kms.metadata(caller, &key_not_alias(fields)?, "kms:ListKeyPolicies")?;
            page(fields, PAGE)?;
            marker(fields, |_| false)?;
            Ok(json!({"PolicyNames": ["default"], "Truncated": false}))
        }
        Handler::ListKeyRotations => rotation::list(kms, caller, fields),
        Handler::ListKeys => {
            let limit = page(fields, PAGE)?;
            let after = marker(fields, |marker| uuid::Uuid::try_parse(marker).is_ok())?;
            // Nobody shares keys here.
            let own = keys::owners(fields)?;
            let mut keys = if own { kms.list_keys(&caller.account, after, limit + 1) } else { Vec::new() };
            let truncated = keys.len() > limit;
            keys.truncate(limit);
            let next = keys.last().filter(|_| truncated).map(|arn| arn.id().to_owned());
            let keys: Vec<Value> = keys.iter().map(|arn| json!({"KeyId": arn.id(), "KeyArn": arn.as_str()})).collect();
            Ok(paged(json!({"Keys": keys}), next))
        }
        Handler::ListResourceTags => tags::list(kms, caller, fields),
        Handler::ListRetirableGrants => grants::list_retirable(kms, caller, fields),
        Handler::ReEncrypt => ciphertexts::re_encrypt(kms, caller, fields).await,
        Handler::RetireGrant => grants::retire(kms, caller, fields).await,
        Handler::RevokeGrant => grants::revoke(kms, caller, fields).await,
        Handler::RotateKeyOnDemand => {
            let arn = kms.rotate_on_demand(caller, &key_not_alias(fields)?).await?;
            Ok(json!({"KeyId": arn.as_str()}))
        }
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
        Handler::Sign => pairs::sign(kms, caller, fields).await,
        Handler::TagResource => tags::add(kms, caller, fields).await,
        Handler::UntagResource => tags::remove(kms, caller, fields).await,
        Handler::UpdateAlias => {
            let alias = aliases::name(fields)?;
            Ok(kms.update_alias(caller, alias, &fields.key("TargetKeyId")?).await.map(|()| Value::Null)?)
        }
        Handler::UpdateKeyDescription => {
            let name = key_not_alias(fields)?;
            let description = keys::description(fields)?;
            fields.required("Description")?;
            Ok(kms.set_description(caller, &name, description.to_owned()).await.map(|()| Value::Null)?)
        }
        Handler::Verify => pairs::verify(kms, caller, fields).await,
        Handler::VerifyMac => macs::verify(kms, caller, fields),
    }
}

/// The key of an operation that takes no aliases.
fn key_not_alias(fields: Fields<'_>) -> Result<KeyRef, Failure> {
    match fields.key("KeyId")? {
        KeyRef::Alias(alias) => Err(refuse(KmsErrorKind::NotFound, format!("Invalid keyId '{alias}'"))),
        arn @ KeyRef::AliasArn { .. } => Err(refuse(KmsErrorKind::InvalidArn, format!("Invalid keyId '{arn}'"))),
        key => Ok(key),
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

/// Entries in one page: what the client asks for, or `usual`.
fn page(fields: Fields<'_>, usual: usize) -> Result<usize, Failure> {
    Ok(fields.bounded("Limit", 1, 1000)?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usual))
}

/// Entries in one page of aliases or grants. "It must be between 1 and 100. If you do not include a value, it defaults to
/// 50." (ListAliases, ListGrants); AWS may answer with fewer than are asked for.
fn small_page(fields: Fields<'_>) -> Result<usize, Failure> {
    Ok(page(fields, 50)?.min(PAGE))
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

/// A time as the JSON protocol has it: seconds since the Unix epoch, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit a double's 53 bits")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
