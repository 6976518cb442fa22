//! Who may use a key: its policy, and its grants. (AWS: developer guide, "Key policies in AWS KMS".)
//!
//! A key's policy is all: not even the root of the key's account may do what it does not allow. The default policy hands
//! the decision to that account. A denial in the policy wins over every grant.

use serde_json::json;

use super::keyring::Key;
use super::records::KeyRecord;
use super::{LocalKms, Need};
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, EncryptionContext, KeyRef};
use crate::policy::{Context, Decision, Found, Kind, MalformedPolicy, Policies, Policy, Principal, Request, decide};

/// Longest policy, in bytes. (AWS: "Resource quotas", key policy document size.)
pub const MAX_POLICY: usize = 32 * 1024;

/// What is done to a key: the IAM action, and the encryption context of those that have one.
#[derive(Clone, Copy)]
pub(super) struct Deed<'r> {
    pub action: &'static str,
    context: Option<&'r EncryptionContext>,
}

impl From<&'static str> for Deed<'static> {
    fn from(action: &'static str) -> Self {
        Self { action, context: None }
    }
}

impl<'r> From<(&'static str, &'r EncryptionContext)> for Deed<'r> {
    fn from((action, context): (&'static str, &'r EncryptionContext)) -> Self {
        Self { action, context: Some(context) }
    }
}

/// The policy that a key has if nobody gave it one.
pub fn default_policy(account: &str) -> String {
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

/// The compiled policy of a key.
pub(super) fn compile(record: &KeyRecord) -> Result<Policy, MalformedPolicy> {
    match &record.policy {
        Some(text) => Policy::parse(text, Kind::Key),
        None => Policy::parse(&default_policy(&record.account), Kind::Key),
    }
}

impl LocalKms {
    /// Gives a key another policy (`PutKeyPolicy`).
    ///
    /// # Errors
    /// `MalformedPolicyDocumentException` if it is none, or would lock `caller` out and `may_lock_out` does not say so; and
    /// as the key's present policy says.
    pub async fn put_policy(
        &self,
        caller: &Caller,
        name: &KeyRef,
        text: &str,
        may_lock_out: bool,
    ) -> Result<(), KmsError> {
        let policy = read(text)?;
        let change = |key: &Key, record: &mut KeyRecord| {
            check_lockout(caller, key.record.account.as_str(), &policy, may_lock_out)?;
            record.policy = Some(text.to_owned());
            Ok(())
        };
        self.try_change(caller, name, "kms:PutKeyPolicy", Need::Any, change).await.map(drop)
    }

    /// Whether `caller` may do `deed` to the key. An AWS managed key may be used by its account through its service alone.
    pub(super) fn permit<'r>(&self, caller: &Caller, key: &Key, deed: impl Into<Deed<'r>>) -> Result<(), KmsError> {
        let deed = deed.into();
        if key.record.aws_managed {
            let own = key.record.account == caller.account && caller.via_service.is_some();
            return if own { Ok(()) } else { Err(denied(caller, key, deed.action)) };
        }
        let circumstances = Circumstances { caller, key: Some(key), context: deed.context };
        let decision = judge(caller, &key.record.account, key.arn.as_str(), &key.policy, deed.action, &circumstances);
        match decision {
            Decision::Allowed(_) => Ok(()),
            Decision::NotAllowed(_) if self.is_granted(caller, key, deed) => Ok(()),
            decision => Err(refused(caller, key, deed.action, decision)),
        }
    }

    /// Whether a grant lets `caller` do `deed`.
    fn is_granted(&self, caller: &Caller, key: &Key, deed: Deed<'_>) -> bool {
        let operation = deed.action.strip_prefix("kms:").unwrap_or(deed.action);
        self.grants_to(key, &caller.principal).iter().any(|grant| {
            let terms = &grant.terms;
            let constraints = &terms.constraints;
            let pairs = |context: &EncryptionContext| context.pairs().clone();
            let given = deed.context.map(pairs).unwrap_or_default();
            let subset = constraints
                .subset
                .as_ref()
                .is_none_or(|subset| subset.pairs().iter().all(|(name, value)| given.get(name) == Some(value)));
            let equals = constraints.equals.as_ref().is_none_or(|equals| *equals.pairs() == given);
            terms.operations.iter().any(|granted| granted.as_str() == operation)
                && subset
                && equals
                && constraints.source_arn.is_none()
        })
    }
}

/// The policy that `text` is.
pub(super) fn read(text: &str) -> Result<Policy, KmsError> {
    Policy::parse(text, Kind::Key).map_err(|error| KmsErrorKind::MalformedPolicyDocument.with(error.0))
}

/// Refuses a policy under which `caller` could not put another one. (AWS: API reference, PutKeyPolicy.)
pub(super) fn check_lockout(
    caller: &Caller,
    account: &str,
    policy: &Policy,
    may_lock_out: bool,
) -> Result<(), KmsError> {
    let circumstances = Circumstances { caller, key: None, context: None };
    if may_lock_out || judge(caller, account, "*", policy, "kms:PutKeyPolicy", &circumstances).is_allowed() {
        return Ok(());
    }
    let message = "The new key policy will not allow you to update the key policy in the future.";
    Err(KmsErrorKind::MalformedPolicyDocument.with(message))
}

pub(super) fn denied(caller: &Caller, key: &Key, action: &'static str) -> KmsError {
    KmsErrorKind::AccessDenied.with(format!(
        "User: {} is not authorized to perform: {action} on resource: {} because no resource-based policy allows the \
         {action} action",
        caller.principal, key.arn
    ))
}

fn refused(caller: &Caller, key: &Key, action: &'static str, decision: Decision<'_>) -> KmsError {
    let reason = decision.reason(action).unwrap_or_default();
    KmsErrorKind::AccessDenied.with(format!(
        "User: {} is not authorized to perform: {action} on resource: {} {reason}",
        caller.principal, key.arn
    ))
}

fn judge<'p>(
    caller: &Caller,
    account: &str,
    arn: &str,
    policy: &'p Policy,
    action: &str,
    context: &dyn Context,
) -> Decision<'p> {
    // The callers that there are: accounts' roots, and whoever did not sign.
    let principal = if caller.principal.ends_with(":root") {
        Principal::Root { account: &caller.account, arn: &caller.principal }
    } else if caller.principal.starts_with("arn:") {
        Principal::User { account: &caller.account, arn: &caller.principal }
    } else {
        Principal::Anonymous
    };
    let policies = Policies { resource: Some(policy), resource_must_allow: true, ..Policies::default() };
    decide(&policies, &Request { principal, action, resource: arn, owner: account, context })
}

/// The circumstances of a use of a key. (Service authorization reference, "Condition keys for AWS KMS".)
struct Circumstances<'r> {
    caller: &'r Caller,
    key: Option<&'r Key>,
    context: Option<&'r EncryptionContext>,
}

impl Context for Circumstances<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        let caller = self.caller;
        match key {
            "aws:principalarn" => Found::of(Some(caller.principal.as_str())),
            "aws:principalaccount" | "kms:calleraccount" => Found::of(Some(caller.account.as_str())),
            "kms:viaservice" => Found::of(caller.via_service.as_deref()),
            "kms:encryptioncontextkeys" => match self.context {
                Some(context) if !context.pairs().is_empty() => {
                    Found::Many(context.pairs().keys().map(|name| name.as_str().into()).collect())
                }
                _ => Found::None,
            },
            "kms:keyspec" | "kms:customermasterkeyspec" => Found::of(self.key.map(|key| key.spec.as_str())),
            "kms:keyusage" | "kms:customermasterkeyusage" => Found::of(self.key.map(|key| key.usage.as_str())),
            "kms:keyorigin" => Found::of(self.key.map(|key| if key.is_external() { "EXTERNAL" } else { "AWS_KMS" })),
            "kms:multiregion" => Found::of(Some("false")),
            _ => match (key.strip_prefix("kms:encryptioncontext:"), self.context) {
                // Condition keys have no case; of the context's keys that differ in case alone, all count.
                (Some(name), Some(context)) => {
                    let of_name = context.pairs().iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                    let values: Vec<_> = of_name.map(|(_, value)| value.as_str().into()).collect();
                    if values.is_empty() { Found::None } else { Found::Many(values) }
                }
                _ => Found::None,
            },
        }
    }
}
