//! Who may use a key: its policy, and its grants. (AWS: developer guide, "Key policies in AWS KMS".)
//!
//! A key's policy is all: not even the root of the key's account may do what it does not allow. The default policy hands
//! the decision to that account. A denial in the policy wins over every grant.

use serde_json::json;

use super::circumstances::Circumstances;
use super::grants::MatchedAs;
use super::keyring::Key;
use super::records::KeyRecord;
use super::{KeyMetadata, LocalKms, Need};
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, EncryptionContext, KeyArn, KeyRef, resource_arn};
use crate::policy::{
    Ask, Context, Decision, Explanation, Grant as Given, Kind, MalformedPolicy, Policy, Source, admit, show,
};

/// Longest policy, in bytes. (AWS: "Resource quotas", key policy document size.)
pub const MAX_POLICY: usize = 32 * 1024;

/// What is done to a key: the IAM action, and the encryption context of those that have one.
#[derive(Clone, Copy)]
pub(super) struct KeyUse<'r> {
    pub action: &'static str,
    pub context: Option<&'r EncryptionContext>,
    /// Whether a ciphertext stays under its key, of `ReEncrypt`.
    pub same_key: Option<bool>,
}

impl From<&'static str> for KeyUse<'static> {
    fn from(action: &'static str) -> Self {
        Self { action, context: None, same_key: None }
    }
}

impl<'r> From<(&'static str, &'r EncryptionContext)> for KeyUse<'r> {
    fn from((action, context): (&'static str, &'r EncryptionContext)) -> Self {
        Self { action, context: Some(context), same_key: None }
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

/// The policy of the key that S3 manages for an account: its principals may use it by way of S3, and may look at it as their own
/// policies say. (AWS: developer guide, "AWS managed keys".)
fn managed_policy(account: &str, region: &str) -> String {
    let policy = json!({
        "Version": "2012-10-17",
        "Id": "auto-s3-2",
        "Statement": [
            {
                "Sid": "Allow access through S3 for all principals in the account that are authorized to use S3",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": {"StringEquals": {
                    "kms:CallerAccount": account,
                    "kms:ViaService": format!("s3.{region}.amazonaws.com"),
                }},
            },
            {
                "Sid": "Allow direct access to key metadata to the account",
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
                "Action": ["kms:Describe*", "kms:Get*", "kms:List*"],
                "Resource": "*",
            },
        ],
    });
    policy.to_string()
}

/// The compiled policy of a key of `region`.
pub(super) fn compile(record: &KeyRecord, region: &str) -> Result<Policy, MalformedPolicy> {
    match &record.policy {
        _ if record.aws_managed => Policy::parse(&managed_policy(&record.account, region), Kind::Key),
        Some(text) => Policy::parse(text, Kind::Key),
        None => Policy::parse(&default_policy(&record.account), Kind::Key),
    }
}

/// What may be allowed to other accounts than the key's. (AWS: API reference, "Cross-account use" of each operation.)
const ACROSS_ACCOUNTS: &[&str] = &[
    "kms:CreateGrant",
    "kms:Decapsulate",
    "kms:Decrypt",
    "kms:DeriveSharedSecret",
    "kms:DescribeKey",
    "kms:Encapsulate",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateMac",
    "kms:GetKeyRotationStatus",
    "kms:GetPublicKey",
    "kms:ListGrants",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:Sign",
    "kms:Verify",
    "kms:VerifyMac",
];

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
            self.check_lockout(caller, key, &policy, may_lock_out)?;
            record.policy = Some(self.admitted(text)?);
            Ok(())
        };
        self.try_change(caller, name, "kms:PutKeyPolicy", Need::Any, change).await.map(drop)
    }

    /// Whether the key's policy, its grants and the caller's own policies let `caller` do `key_use`; another account administers no
    /// key, whatever they say.
    pub(super) fn permit<'r>(
        &self,
        caller: &Caller,
        key: &Key,
        key_use: impl Into<KeyUse<'r>>,
    ) -> Result<(), KmsError> {
        let key_use = key_use.into();
        if key.record.account != caller.account && !ACROSS_ACCOUNTS.contains(&key_use.action) {
            return Err(denied(caller, key, key_use.action));
        }
        let circumstances = Circumstances { kms: self, caller, key: Some(key), key_use };
        let decision = judge_key(caller, key, key_use.action, &circumstances);
        if let Decision::NotAllowed(_) = decision
            && let Some(grant) = self.grant_for((caller, key), key_use.action, key_use.context, &circumstances)
        {
            caller.witness.see(|| Explanation::by_grant(key_use.action, &grant));
            caller.witness.see_resource(key_use.action, key.arn.as_str());
            return Ok(());
        }
        settle(caller, (key.arn.as_str(), &key.record.account), key_use.action, decision)
    }

    /// Whether `caller` may retire a grant of `key`: by the grant that names it (its id, and how), or as one of an account that
    /// leaves it to its own (`is_delegate`). Key policies have no say, and no principal may what a policy of its own denies.
    /// (AWS: developer guide, "Retiring and revoking grants": "To prevent principals from retiring a grant … use a deny effect with
    /// the kms:RetireGrant permission in an IAM policy".)
    pub(super) fn permit_retiring(
        &self,
        caller: &Caller,
        key: &Key,
        named_by: Option<(&str, MatchedAs)>,
        is_delegate: bool,
    ) -> Result<(), KmsError> {
        const ACTION: &str = "kms:RetireGrant";
        let circumstances = Circumstances { kms: self, caller, key: Some(key), key_use: ACTION.into() };
        let ask = Ask {
            action: ACTION,
            resource: key.arn.as_str(),
            owner: &caller.account,
            policy: None,
            policy_must_allow: false,
            context: &circumstances,
        };
        let decision = caller.subject.judge_ask(&ask);
        match (decision, named_by) {
            (Decision::NotAllowed(_), Some((grant, named)))
                if takes_effect(caller, named, (key.arn.as_str(), ACTION), &circumstances) =>
            {
                caller.witness.see(|| Explanation::by_grant(ACTION, grant));
                Ok(())
            }
            (Decision::Allowed(_) | Decision::NotAllowed(_), None) if !is_delegate => Err(denied(caller, key, ACTION)),
            _ => settle(caller, (key.arn.as_str(), &key.record.account), ACTION, decision),
        }
    }

    /// What decides on a use beside the key's policy: for those who ask what would be decided of what nothing there denies.
    /// `None` if there is no such key here.
    pub fn beside_policy(
        &self,
        caller: &Caller,
        arn: &KeyArn,
        action: &str,
        context: Option<&EncryptionContext>,
    ) -> Option<Beside> {
        let key = self.find(caller, &KeyRef::from(arn), "kms:DescribeKey").ok()?;
        let key_use = KeyUse { context, ..KeyUse::from("kms:DescribeKey") };
        let circumstances = Circumstances { kms: self, caller, key: Some(&key), key_use };
        if key.record.aws_managed {
            return Some(Beside::Service(judge_key(caller, &key, action, &circumstances).is_allowed()));
        }
        let grant = self.grant_for((caller, &key), action, context, &circumstances);
        Some(grant.map_or(Beside::Nothing, Beside::Grant))
    }

    /// Whether the key's policy by itself, or what it hands the decision to, lets `caller` do `key_use`.
    pub(super) fn is_allowed_by_policy(&self, caller: &Caller, key: &Key, key_use: KeyUse<'_>) -> bool {
        let circumstances = Circumstances { kms: self, caller, key: Some(key), key_use };
        judge_key(caller, key, key_use.action, &circumstances).is_allowed()
    }

    /// Whether `caller` may look at the key that S3 manages for its account, which is not there yet: it may be any.
    pub(super) fn permit_describing_managed(&self, caller: &Caller) -> Result<(), KmsError> {
        let account = caller.account.as_str();
        let policy = Policy::parse(&managed_policy(account, self.region()), Kind::Key);
        let policy = policy.map_err(|error| KmsErrorKind::MalformedPolicyDocument.with(error.0))?;
        let arn = resource_arn(self.region(), account, "key/*");
        let key_use = RemoteKeyUse { caller, account, arn: &arn, action: "kms:DescribeKey", context: None };
        self.judge_remote(&policy, &key_use)
    }

    /// The policy that `text` is, as it is kept.
    pub(super) fn admitted(&self, text: &str) -> Result<String, KmsError> {
        let Some(registry) = self.registry.get() else { return Ok(text.to_owned()) };
        admit(text, Kind::Key, &**registry).map_err(|error| KmsErrorKind::MalformedPolicyDocument.with(error.0))
    }

    /// A key's policy as it is shown; `None` of what is kept: the default one.
    pub fn shown_policy(&self, key: &KeyMetadata) -> String {
        if key.aws_managed {
            return managed_policy(&key.account, key.arn.region());
        }
        let text = key.policy.clone().unwrap_or_else(|| default_policy(&key.account));
        self.registry.get().map_or(text.clone(), |registry| show(&text, &**registry))
    }

    /// Refuses a policy of `key` under which `caller` could not put another one. (AWS: API reference, PutKeyPolicy.)
    pub(super) fn check_lockout(
        &self,
        caller: &Caller,
        key: &Key,
        policy: &Policy,
        may_lock_out: bool,
    ) -> Result<(), KmsError> {
        const ACTION: &str = "kms:PutKeyPolicy";
        let circumstances = Circumstances { kms: self, caller, key: Some(key), key_use: ACTION.into() };
        let (account, arn) = (&key.record.account, key.arn.as_str());
        if may_lock_out || judge(caller, account, arn, policy, ACTION, &circumstances).is_allowed() {
            return Ok(());
        }
        let message = "The new key policy will not allow you to update the key policy in the future.";
        Err(KmsErrorKind::MalformedPolicyDocument.with(message))
    }
}

/// What decides on a use beside a key's policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// The grant with this id lets it happen.
    Grant(String),
    /// The key is a service's: whether it may be used so, by way of that.
    Service(bool),
}

/// The policy that `text` is.
pub(super) fn read(text: &str) -> Result<Policy, KmsError> {
    let read = Policy::parse(text, Kind::Key).and_then(|policy| policy.check_principals(Kind::Key).map(|()| policy));
    read.map_err(|error| KmsErrorKind::MalformedPolicyDocument.with(error.0))
}

/// What a stranger is told of a key that it may not use, and of one that is not there.
pub fn untold(caller: &Caller, action: &'static str) -> KmsError {
    KmsErrorKind::AccessDenied.with(format!(
        "User: {} is not authorized to perform: {action} on this resource because the resource does not exist in this Region, \
         no resource-based policies allow access, or a resource-based policy explicitly denies access",
        caller.principal
    ))
}

pub(super) fn denied(caller: &Caller, key: &Key, action: &'static str) -> KmsError {
    caller.witness.see(|| Explanation::of(Decision::NotAllowed(Source::Resource), action));
    if key.record.account != caller.account {
        return untold(caller, action);
    }
    KmsErrorKind::AccessDenied.with(format!(
        "User: {} is not authorized to perform: {action} on resource: {} because no resource-based policy allows the \
         {action} action",
        caller.principal, key.arn
    ))
}

/// What comes of `decision` on a key of `owner`; the caller's witness sees it.
fn settle(
    caller: &Caller,
    (arn, owner): (&str, &str),
    action: &'static str,
    decision: Decision<'_>,
) -> Result<(), KmsError> {
    let explanation = Explanation::of(decision, action);
    caller.witness.see(|| explanation.clone());
    if owner == caller.account || decision.is_allowed() {
        caller.witness.see_resource(action, arn);
    }
    let Some(reason) = decision.reason(action) else { return Ok(()) };
    // Whom the key's policy lets in may know what is missing still.
    let is_let_in = matches!(decision, Decision::NotAllowed(source) if source != Source::Resource);
    if owner != caller.account && !is_let_in {
        return Err(untold(caller, action));
    }
    let is_told = caller.is_told_statements && caller.account == owner;
    let (principal, suffix) = (&caller.principal, if is_told { explanation.suffix() } else { String::new() });
    Err(KmsErrorKind::AccessDenied
        .with(format!("User: {principal} is not authorized to perform: {action} on resource: {arn} {reason}{suffix}")))
}

/// What the policy of `key`, and what it hands the decision to, decide.
fn judge_key<'p>(caller: &'p Caller, key: &'p Key, action: &'p str, context: &'p dyn Context) -> Decision<'p> {
    judge(caller, &key.record.account, key.arn.as_str(), &key.policy, action, context)
}

fn judge<'p>(
    caller: &'p Caller,
    account: &'p str,
    arn: &'p str,
    policy: &'p Policy,
    action: &'p str,
    context: &'p dyn Context,
) -> Decision<'p> {
    let ask = Ask { action, resource: arn, owner: account, policy: Some(policy), policy_must_allow: true, context };
    caller.subject.judge_ask(&ask)
}

/// Whether a grant that names `caller` so gives it anything, the key's policy denying nothing.
pub(super) fn takes_effect(
    caller: &Caller,
    named: MatchedAs,
    (arn, action): (&str, &str),
    context: &dyn Context,
) -> bool {
    let owner = caller.account.as_str();
    let ask = Ask { action, resource: arn, owner, policy: None, policy_must_allow: false, context };
    match named {
        MatchedAs::Itself => true,
        MatchedAs::Role => caller.subject.judge_beside(&ask, Given::Everybody, false).is_allowed(),
        MatchedAs::Account => caller.subject.judge_ask(&ask).is_allowed(),
    }
}

/// A use of a key that is not kept here.
pub struct RemoteKeyUse<'r> {
    /// Who asks.
    pub caller: &'r Caller,
    /// The account that the key belongs to.
    pub account: &'r str,
    /// The key's ARN.
    pub arn: &'r str,
    /// The IAM action.
    pub action: &'static str,
    /// The encryption context, of actions that have one.
    pub context: Option<&'r EncryptionContext>,
}

impl LocalKms {
    /// Whether `policy` lets it happen, judged as the policies of keys that are kept here.
    ///
    /// # Errors
    /// `AccessDeniedException`, in AWS's words.
    pub fn judge_remote(&self, policy: &Policy, key_use: &RemoteKeyUse<'_>) -> Result<(), KmsError> {
        let RemoteKeyUse { caller, account, arn, action, context } = *key_use;
        let key_use = KeyUse { action, context, same_key: None };
        let circumstances = Circumstances { kms: self, caller, key: None, key_use };
        settle(caller, (arn, account), action, judge(caller, account, arn, policy, action, &circumstances))
    }
}
