//! What would be decided, and by what: the principal's own policies, the resource's, its access control list, a key's grants.
//!
//! What a bucket or an object brings is found by the code that judges requests for them (`iam::resource`), and so is what a key
//! has beside its policy. The operator's account may ask about everybody and everything; others about their own principals, and
//! about nobody, and about their own resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::error::{Failure, bad_request, not_found};
use crate::iam::resource::Brought;
use crate::iam::{self, Identity, Question, arn};
use crate::kms::local::Beside;
use crate::kms::{Caller, EncryptionContext, KeyArn};
use crate::policy::{Ask, Context, Decision, Found, Grant, Grounds, Kind, Policy, Subject};
use crate::store::commit;

/// How nobody is named, who has no ARN.
const NOBODY: &[&str] = &["anonymous", "*"];

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionBody {
    principal: String,
    action: String,
    resource: String,
    #[serde(default)]
    context: BTreeMap<String, Values>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

/// What is asked of, and what it brings to the decision.
struct Resource {
    brought: Brought,
    /// Of a key, which has a policy always.
    key: Option<KeyArn>,
}

impl Resource {
    /// What has no policy of its own, of `account`.
    fn plain(account: &str) -> Self {
        let (owner, policy, acl) = (account.to_owned(), None, Grant::None);
        Self { brought: Brought { owner, policy, policy_only_denies: false, acl, is_barred: false }, key: None }
    }
}

/// The circumstances that are supposed.
struct Supposed<'s> {
    given: BTreeMap<String, Values>,
    subject: &'s Subject,
}

impl Supposed<'_> {
    fn one(&self, key: &str) -> Option<String> {
        match self.given.get(key)? {
            Values::One(value) => Some(value.clone()),
            Values::Many(values) => values.first().cloned(),
        }
    }

    /// What `kms:EncryptionContext:` keys say, by which grants may be bound.
    fn encryption_context(&self) -> EncryptionContext {
        const PREFIX: &str = "kms:encryptioncontext:";
        let pairs = self.given.keys().filter_map(|key| Some((key.strip_prefix(PREFIX)?, self.one(key)?)));
        pairs.fold(EncryptionContext::new(), |context, (key, value)| context.with(key, value))
    }
}

impl Context for Supposed<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        match self.given.get(key) {
            Some(Values::One(value)) => Found::One(value.as_str().into()),
            Some(Values::Many(values)) => Found::Many(values.iter().map(|value| value.as_str().into()).collect()),
            None => self.subject.find(key),
        }
    }
}

/// Who is supposed to ask: a principal that there is, or nobody.
fn supposed(admin: &Admin, asker: &Identity, principal: &str) -> Result<Option<Identity>, Failure> {
    if NOBODY.contains(&principal) {
        return Ok(None);
    }
    let account = arn::split(principal).map(|(account, _)| account).unwrap_or_default();
    let may_ask = account == asker.account.id || asker.account.id == admin.operator;
    match admin.directory.account(account) {
        Some(account) if may_ask && admin.directory.knows(principal) => {
            let subject = admin.directory.subject_of_arn(principal);
            Ok(Some(Identity::new(account, &subject, "")))
        }
        _ if asker.account.id == admin.operator => {
            Err(not_found("NoSuchPrincipal", format!("there is no principal {principal}")))
        }
        _ => Err(not_found("NoSuchPrincipal", format!("there is no principal {principal} in this account"))),
    }
}

pub(super) async fn explain(admin: &Admin, identity: &Identity, body: &[u8]) -> Result<Value, Failure> {
    let asked: QuestionBody = serde_json::from_slice(body)
        .map_err(|error| bad_request("InvalidRequest", format!("not a question: {error}")))?;
    let QuestionBody { principal, action, resource, context } = asked;
    iam::authorize(&Question::new(Some(identity), "strongroom:ExplainPolicy", &principal, None))?;
    if !admin.knows_action(&action) {
        return Err(bad_request("NoSuchAction", format!("there is no action {action}")));
    }
    let is_arn = resource.starts_with("arn:") && resource.matches(':').count() >= 5;
    if resource != "*" && !is_arn {
        return Err(bad_request("InvalidRequest", format!("{resource} is not the ARN of a resource, nor *")));
    }
    let supposed = supposed(admin, identity, &principal)?;
    let subject = supposed.as_ref().map_or_else(|| Arc::new(Subject::anonymous()), |who| Arc::clone(&who.subject));
    let Resource { brought, key } = find(admin, identity, supposed.as_ref(), &action, &resource).await?;
    let Brought { owner, policy, policy_only_denies, acl, is_barred } = brought;
    let given = context.into_iter().map(|(key, values)| (key.to_ascii_lowercase(), values)).collect();
    let context = Supposed { given, subject: &subject };
    let ask = Ask {
        action: &action,
        resource: &resource,
        owner: &owner,
        policy: policy.as_deref(),
        policy_must_allow: key.is_some(),
        context: &context,
    };
    let decision = subject.judge_beside(&ask, acl, policy_only_denies);
    let beside = key.and_then(|key| {
        let caller = Caller::new(&subject, context.one("kms:viaservice"), "explain");
        admin.local_kms.beside_policy(&caller, &key, &action, Some(&context.encryption_context()))
    });
    let is_of_service = matches!(beside, Some(Beside::Service(_)));
    let grounds = match (decision, beside) {
        (_, Some(Beside::Service(is_used_by_it))) => is_used_by_it.then(|| "service".to_owned()),
        (Decision::Allowed(Grounds::Statement(..)), _) => Some("statement".to_owned()),
        (Decision::Allowed(Grounds::AccessControlList), _) => Some("access control list".to_owned()),
        // Which upload is supposed, nobody can say.
        (Decision::Allowed(Grounds::Initiation), _) => Some("initiation".to_owned()),
        (Decision::Allowed(Grounds::Ownership), _) => Some("ownership".to_owned()),
        (Decision::NotAllowed(_), Some(Beside::Grant(id))) => Some(format!("grant {id}")),
        (Decision::NotAllowed(_) | Decision::Denied(..), _) => None,
    };
    let grounds = grounds.filter(|_| !is_barred);
    let (verdict, reason) = match decision {
        _ if grounds.is_some() => ("allowed", None),
        _ if is_barred => {
            let reason = "because the bucket's RestrictPublicBuckets setting keeps other accounts out";
            ("implicitDeny", Some(reason.to_owned()))
        }
        Decision::Denied(..) => ("explicitDeny", decision.reason(&action)),
        _ if is_of_service => ("implicitDeny", Some("because the key is its service's alone to use".to_owned())),
        Decision::Allowed(_) | Decision::NotAllowed(_) => ("implicitDeny", decision.reason(&action)),
    };
    let decisive = decision.statement().filter(|_| !is_barred);
    let statements = subject.concerned(&ask).into_iter().map(|concerned| {
        json!({
            "effect": if concerned.statement.is_allowance() { "Allow" } else { "Deny" },
            "source": concerned.source.as_str(),
            "policy": concerned.policy.unwrap_or(&resource),
            "statement": concerned.number,
            "sid": concerned.statement.sid,
            "decisive": decisive.is_some_and(|decisive| std::ptr::eq(decisive, concerned.statement)),
        })
    });
    Ok(json!({
        "principal": principal,
        "action": action,
        "resource": resource,
        "owner": owner,
        "decision": verdict,
        "reason": reason,
        "grounds": grounds,
        "accessControlList": match acl {
            Grant::None | Grant::Initiator => "nothing",
            Grant::Account => "account",
            Grant::Everybody => "everybody",
        },
        "statements": statements.collect::<Vec<_>>(),
    }))
}

/// What is known of the resource: a bucket or an object in it, a KMS key, or something else without a policy of its own.
async fn find(
    admin: &Admin,
    asker: &Identity,
    supposed: Option<&Identity>,
    action: &str,
    resource: &str,
) -> Result<Resource, Failure> {
    let own = asker.account.id.as_str();
    // What belongs to nobody yet would be made by whoever asks for it.
    let maker = supposed.map_or(own, |identity| identity.account.id.as_str());
    let may_ask = |owner: &str| owner == own || own == admin.operator;
    if let Some(rest) = resource.strip_prefix("arn:aws:s3:::") {
        let bucket = rest.split('/').next().unwrap_or_default();
        let Some(record) = commit::read_bucket(&*admin.store, bucket).await? else { return Ok(Resource::plain(maker)) };
        if !may_ask(&record.account) {
            return Err(not_found("NoSuchBucket", format!("there is no bucket {bucket} of this account")));
        }
        let brought = admin.buckets.brought(supposed, action, resource).await?;
        return Ok(brought.map_or_else(|| Resource::plain(maker), |brought| Resource { brought, key: None }));
    }
    let Some(key) = resource.parse::<KeyArn>().ok().filter(|key| may_ask(key.account())) else {
        return Ok(Resource::plain(maker));
    };
    let text = admin.kms.knowledge().policy_of(&key);
    let text = text.ok_or_else(|| not_found("NoSuchKey", format!("there is no key {resource} of this account")))?;
    let policy = Policy::parse(&text, Kind::Key)
        .map_err(|_| bad_request("InvalidRequest", "the resource's policy cannot be read"))?;
    let plain = Resource::plain(key.account());
    let brought = Brought { policy: Some(Arc::new(policy)), ..plain.brought };
    Ok(Resource { brought, key: Some(key) })
}
