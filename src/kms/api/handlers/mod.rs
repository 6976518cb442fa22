//! What each operation does with its members, and what it answers.

mod aliases;
mod ciphertexts;
mod elsewhere;
mod grants;
mod import;
mod keys;
mod macs;
mod pairs;
mod policies;
mod rotation;
mod tags;

use serde_json::Value;

use super::Failure;
use super::constraints;
use super::fields::{Fields, refuse};
use crate::clock::Timestamp;
use crate::iam::Permit;
use crate::kms::error::KmsErrorKind;
use crate::kms::local::LocalKms;
use crate::kms::{Caller, KeyRef};

/// Entries in one page, if the client asks for no number.
const PAGE: usize = 100;

/// What an operation does with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KeyRole {
    /// It uses its material: GetKeyLastUsage tells of it, and it takes GrantTokens.
    Use,
    /// None of that, but it takes GrantTokens.
    Granted,
    /// Neither.
    Other,
}

macro_rules! handlers {
    (($kms:ident, $caller:ident, $fields:ident) $($name:ident $key_role:ident $does:expr;)*) => {
        /// The operations that are served.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Handler { $($name,)* }

        impl Handler {
            const fn key_role(self) -> (&'static str, KeyRole) {
                match self { $(Self::$name => (stringify!($name), KeyRole::$key_role),)* }
            }
        }

        async fn dispatch(
            handler: Handler,
            $kms: &LocalKms,
            $caller: &Caller,
            $fields: Fields<'_>,
        ) -> Result<Value, Failure> {
            match handler { $(Handler::$name => $does,)* }
        }
    };
}

handlers! { (kms, caller, fields)
    CancelKeyDeletion Other keys::cancel_deletion(kms, caller, fields).await;
    ConnectCustomKeyStore Other elsewhere::key_store(fields);
    CreateAlias Other aliases::create(kms, caller, fields).await;
    CreateGrant Granted grants::create(kms, caller, fields).await;
    CreateKey Other keys::create(kms, caller, fields).await;
    Decapsulate Use pairs::decapsulate(kms, caller, fields);
    Decrypt Use ciphertexts::decrypt(kms, caller, fields).await;
    DeleteAlias Other aliases::delete(kms, caller, fields).await;
    DeleteCustomKeyStore Other elsewhere::key_store(fields);
    DeleteImportedKeyMaterial Other import::delete(kms, caller, fields).await;
    DeriveSharedSecret Use pairs::derive_shared_secret(kms, caller, fields).await;
    DescribeCustomKeyStores Other elsewhere::key_stores(fields);
    DescribeKey Granted keys::describe(kms, caller, fields).await;
    DisableKey Other keys::set_enabled(kms, caller, fields, false).await;
    DisableKeyRotation Other rotation::disable(kms, caller, fields).await;
    DisconnectCustomKeyStore Other elsewhere::key_store(fields);
    EnableKey Other keys::set_enabled(kms, caller, fields, true).await;
    EnableKeyRotation Other rotation::enable(kms, caller, fields).await;
    Encapsulate Use pairs::encapsulate(kms, caller, fields);
    Encrypt Use ciphertexts::encrypt(kms, caller, fields);
    GenerateDataKey Use ciphertexts::generate(kms, caller, fields, true);
    GenerateDataKeyPair Use pairs::generate(kms, caller, fields, true).await;
    GenerateDataKeyPairWithoutPlaintext Use pairs::generate(kms, caller, fields, false).await;
    GenerateDataKeyWithoutPlaintext Use ciphertexts::generate(kms, caller, fields, false);
    GenerateMac Use macs::generate(kms, caller, fields);
    GenerateRandom Other ciphertexts::random(kms, fields);
    GetKeyLastUsage Other keys::last_usage(kms, caller, fields);
    GetKeyPolicy Other policies::show(kms, caller, fields);
    GetKeyRotationStatus Other rotation::status(kms, caller, fields);
    GetParametersForImport Other import::parameters(kms, caller, fields).await;
    GetPublicKey Granted pairs::public_key(kms, caller, fields);
    ImportKeyMaterial Other import::import(kms, caller, fields).await;
    ListAliases Other aliases::list(kms, caller, fields);
    ListGrants Other grants::list(kms, caller, fields);
    ListKeyPolicies Other policies::list(kms, caller, fields);
    ListKeyRotations Other rotation::list(kms, caller, fields);
    ListKeys Other keys::list(kms, caller, fields);
    ListResourceTags Other tags::list(kms, caller, fields);
    ListRetirableGrants Other grants::list_retirable(kms, caller, fields);
    PutKeyPolicy Other policies::put(kms, caller, fields).await;
    ReEncrypt Use ciphertexts::re_encrypt(kms, caller, fields).await;
    ReplicateKey Other elsewhere::replicate(kms, caller, fields);
    RetireGrant Other grants::retire(kms, caller, fields).await;
    RevokeGrant Other grants::revoke(kms, caller, fields).await;
    RotateKeyOnDemand Other rotation::on_demand(kms, caller, fields).await;
    ScheduleKeyDeletion Other keys::schedule_deletion(kms, caller, fields).await;
    Sign Use pairs::sign(kms, caller, fields).await;
    TagResource Other tags::add(kms, caller, fields).await;
    UntagResource Other tags::remove(kms, caller, fields).await;
    UpdateAlias Other aliases::update(kms, caller, fields).await;
    UpdateCustomKeyStore Other elsewhere::key_store(fields);
    UpdateKeyDescription Other keys::set_description(kms, caller, fields).await;
    UpdatePrimaryRegion Other elsewhere::update_primary(kms, caller, fields);
    Verify Use pairs::verify(kms, caller, fields).await;
    VerifyMac Use macs::verify(kms, caller, fields);
}

/// Does what `handler` stands for. Operations that answer nothing answer [`Value::Null`].
pub(super) async fn perform(
    handler: Handler,
    kms: &LocalKms,
    caller: &Caller,
    fields: &Fields<'_>,
    _permit: Permit,
) -> Result<Value, Failure> {
    let (name, key_role) = handler.key_role();
    constraints::check(name, *fields)?;
    if key_role != KeyRole::Other {
        kms.check_grant_tokens(&fields.texts("GrantTokens")?)?;
    }
    let answer = dispatch(handler, kms, caller, *fields).await?;
    if key_role == KeyRole::Use {
        // Those answer with the ARNs of the keys that they used.
        let arns = ["SourceKeyId", "KeyId"].iter().filter_map(|name| answer[*name].as_str()?.parse().ok());
        arns.for_each(|arn| kms.used(&arn, name, caller));
    }
    Ok(answer)
}

/// The key of an operation that takes no aliases.
fn key_not_alias(fields: Fields<'_>) -> Result<KeyRef, Failure> {
    match fields.key("KeyId")? {
        // Recorded on AWS by floci's keyOnlyOperationsRejectAnAliasBeforeLookingItUp.
        KeyRef::Alias(_) | KeyRef::AliasArn { .. } => {
            Err(refuse(KmsErrorKind::InvalidArn, "Key Aliases are not supported for this operation."))
        }
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
    Ok(fields.number("Limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usual))
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
