//! What would be decided, and by which statements: the principal's own policies, and the resource's.
//!
//! Grants of KMS keys and access control lists are not looked at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::error::{Failure, bad_request, not_found};
use crate::iam::{self, Identity, Question, arn};
use crate::kms::KeyArn;
use crate::policy::{Ask, Context, Decision, Found, Kind, Policy, Subject};
use crate::store::commit;

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
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

/// The resource's own policy, and whose it is.
struct Resource {
    owner: String,
    policy: Option<Policy>,
    must_allow: bool,
}

/// The circumstances that are supposed.
struct Supposed<'s> {
    given: BTreeMap<String, Values>,
    subject: &'s Subject,
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

pub(super) async fn explain(admin: &Admin, identity: &Identity, body: &[u8]) -> Result<Value, Failure> {
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|error| bad_request("InvalidRequest", format!("not a question: {error}")))?;
    let Asked { principal, action, resource, context } = asked;
    iam::authorize(&Question::new(Some(identity), "strongroom:ExplainPolicy", &principal, None))?;
    let own = arn::split(&principal).is_some_and(|(account, _)| account == identity.account.id);
    if !own || !admin.directory.knows(&principal) {
        return Err(not_found("NoSuchPrincipal", format!("there is no principal {principal} in this account")));
    }
    let subject = admin.directory.subject_of_arn(&principal);
    let Resource { owner, policy, must_allow } = find(admin, &identity.account.id, &resource).await?;
    let given = context.into_iter().map(|(key, values)| (key.to_lowercase(), values)).collect();
    let context = Supposed { given, subject: &subject };
    let ask = Ask {
        action: &action,
        resource: &resource,
        owner: &owner,
        policy: policy.as_ref(),
        policy_must_allow: must_allow,
        context: &context,
    };
    let decision = subject.judge(&ask);
    let verdict = match decision {
        Decision::Allowed(_) => "allowed",
        Decision::Denied(..) => "explicitDeny",
        Decision::NotAllowed(_) => "implicitDeny",
    };
    let statements = subject.concerned(&ask).into_iter().map(|concerned| {
        json!({
            "effect": if concerned.statement.is_allowance() { "Allow" } else { "Deny" },
            "source": concerned.source.as_str(),
            "policy": concerned.policy.unwrap_or(&resource),
            "statement": concerned.number,
            "sid": concerned.statement.sid,
            "decisive": decision.statement().is_some_and(|decisive| std::ptr::eq(decisive, concerned.statement)),
        })
    });
    Ok(json!({
        "principal": principal,
        "action": action,
        "resource": resource,
        "decision": verdict,
        "reason": decision.reason(&action),
        "statements": statements.collect::<Vec<_>>(),
    }))
}

/// What is known of the resource: a bucket or an object in it, a KMS key, or something else without a policy of its own.
async fn find(admin: &Admin, account: &str, resource: &str) -> Result<Resource, Failure> {
    let damaged = |_| bad_request("InvalidRequest", "the resource's policy cannot be read");
    if let Some(rest) = resource.strip_prefix("arn:aws:s3:::") {
        let bucket = rest.split('/').next().unwrap_or_default();
        let Some(record) = commit::read_bucket(&*admin.store, bucket).await? else {
            return Ok(Resource { owner: account.to_owned(), policy: None, must_allow: false });
        };
        if record.account != account {
            return Err(not_found("NoSuchBucket", format!("there is no bucket {bucket} of this account")));
        }
        let arn = format!("arn:aws:s3:::{bucket}");
        let policy = record.policy.as_deref().map(|text| Policy::parse(text, Kind::Bucket(&arn))).transpose();
        return Ok(Resource { owner: record.account, policy: policy.map_err(damaged)?, must_allow: false });
    }
    if let Some(key) = resource.parse::<KeyArn>().ok().filter(|key| key.account() == account) {
        let text = admin.kms.knowledge().policy_of(&key);
        let text = text.ok_or_else(|| not_found("NoSuchKey", format!("there is no key {resource} of this account")))?;
        let policy = Policy::parse(&text, Kind::Key).map_err(damaged)?;
        return Ok(Resource { owner: account.to_owned(), policy: Some(policy), must_allow: true });
    }
    Ok(Resource { owner: account.to_owned(), policy: None, must_allow: false })
}
