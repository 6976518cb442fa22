//! `AssumeRole`: becoming a role, if its trust policy and one's own policies say so.
//!
//! 1. The role is found; one that is not there is refused like one that may not be assumed.
//! 2. The trust policy and the caller's own are judged together, for each thing that is done: `sts:AssumeRole`, and
//!    `sts:TagSession` and `sts:SetSourceIdentity` where tags or a source identity are given or inherited.
//! 3. The credentials are issued; nothing of them is kept.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Call;
use super::super::authority::{ContextKeys, circumstances};
use super::super::failure::{Failure, Result, access_denied, invalid_parameter, validation};
use super::credentials::{bounds, check_second_factor, issue, packed_size};
use crate::iam::arn;
use crate::iam::session::SessionPrincipal;
use crate::iam::store::records::{RoleRecord, Tag};
use crate::iam::store::{Compiled, RoleView};
use crate::policy::{Ask, Explanation, Subject, SubjectKind};

/// Least and most seconds of a session, the default, and the most of one that a session asks for.
pub(in super::super) const LEAST: i64 = 900;
pub(in super::super) const MOST: i64 = 43_200;
pub(super) const DEFAULT: i64 = 3600;
const MOST_CHAINED: i64 = 3600;

/// A role that was found.
pub(super) struct Role {
    pub account: String,
    pub record: Arc<RoleRecord>,
    pub view: Arc<RoleView>,
}

impl Role {
    /// The role with this ARN, if there is one.
    pub fn find(call: &Call<'_>, role_arn: &str) -> Option<Self> {
        let (account, resource) = arn::split(role_arn)?;
        let name = resource.strip_prefix("role/").map(|_| arn::name_of(role_arn))?;
        call.directory().account(account)?;
        let compiled: Arc<Compiled> = call.directory().compiled(account);
        let (record, view) = (compiled.state.roles.get(name)?, compiled.role(name)?);
        (view.arn == role_arn).then(|| Self {
            account: account.to_owned(),
            record: Arc::clone(record),
            view: Arc::clone(view),
        })
    }

    /// Whether `subject` may do `action` to it.
    ///
    /// # Errors
    /// What is told of the statement that denies it, if there is one and the caller is to be told.
    pub fn allows(
        &self,
        call: &Call<'_>,
        subject: &Subject,
        action: &'static str,
        known: &ContextKeys,
    ) -> Result<(), String> {
        // It is the role that is asked of: its account and its tags.
        let mut known = known.clone();
        known.add("aws:resourceaccount", self.account.as_str());
        known.add_tags(&self.record.tags);
        let known = &known;
        let context = circumstances(call, known);
        let ask = Ask {
            action,
            resource: &self.view.arn,
            owner: &self.account,
            policy: Some(&self.view.trust),
            policy_must_allow: true,
            context: &context,
        };
        let decision = subject.judge_ask(&ask);
        let explanation = Explanation::of(decision, action);
        call.witness.see(|| explanation.clone());
        if decision.is_allowed() {
            return Ok(());
        }
        let is_told = self.account == subject.account && call.identity.is_some_and(|caller| caller.is_told_statements);
        let reason = decision.reason(action).filter(|_| is_told && explanation.statement.is_some());
        Err(reason.map(|reason| format!(" {reason}{}", explanation.suffix())).unwrap_or_default())
    }

    /// Whose the credentials of a session of this name are.
    pub fn who(&self, session: &str) -> SessionPrincipal {
        SessionPrincipal::Role {
            name: self.record.name.clone(),
            id: self.record.id.clone(),
            session: session.to_owned(),
        }
    }

    /// `AssumedRoleUser`.
    pub fn user(&self, session: &str) -> Value {
        json!({
            "AssumedRoleId": format!("{}:{session}", self.record.id),
            "Arn": arn::session(&self.account, &self.record.name, session),
        })
    }

    /// How long a session is to be, if it may be as long as was asked for.
    pub fn seconds(&self, asked: Option<i64>) -> Result<i64> {
        if asked.is_some_and(|seconds| seconds > i64::from(self.record.max_session)) {
            return Err(validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role."));
        }
        Ok(asked.unwrap_or(DEFAULT))
    }
}

/// How long a session is asked for, in seconds: less than a quarter of an hour and more than half a day no role takes.
pub(super) fn seconds_asked(call: &Call<'_>) -> Result<Option<i64>> {
    call.params.number("DurationSeconds", LEAST, MOST)
}

pub(in super::super) async fn assume_role(call: &Call<'_>) -> Result<Value> {
    let identity = call.identity()?;
    let role_arn = call.params.required("RoleArn")?;
    let session = call.params.required("RoleSessionName")?;
    let seconds = seconds_asked(call)?;
    let (source_identity, external_id) = (call.params.text("SourceIdentity"), call.params.text("ExternalId"));
    check_second_factor(call)?;
    let chained = matches!(identity.subject.kind, SubjectKind::Role(_));
    let inherited = call.signed.and_then(|signed| call.directory().session(signed)).filter(|_| chained);
    let inherited = inherited.as_deref().map(|opened| &opened.record);
    let source_identity = source_identity.or_else(|| inherited?.source_identity.as_deref());
    if let Some(before) = inherited.and_then(|record| record.source_identity.as_deref())
        && source_identity != Some(before)
    {
        return Err(access_denied("The SourceIdentity of a session cannot be changed."));
    }
    let (tags, transitive) = session_tags(call, inherited.map(|record| (&record.tags[..], &record.transitive[..])))?;

    if identity.subject.is_root() {
        return Err(access_denied("Roles may not be assumed by root accounts."));
    }
    check_role_arn(role_arn)?;
    let refused = |action: &str, reason: &str| not_authorized(&identity.arn, action, role_arn, reason);
    let role = Role::find(call, role_arn).ok_or_else(|| refused("sts:AssumeRole", ""))?;
    let mut known = ContextKeys::default();
    known.add("sts:rolesessionname", session);
    if let Some(id) = external_id {
        known.add("sts:externalid", id);
    }
    if let Some(identity) = source_identity {
        known.add("sts:sourceidentity", identity);
    }
    for (key, value) in &tags {
        known.add(format!("aws:requesttag/{key}"), value);
        known.add("aws:tagkeys", key);
    }
    for key in &transitive {
        known.add("sts:transitivetagkeys", key);
    }
    let deeds = [
        ("sts:AssumeRole", true),
        ("sts:TagSession", !tags.is_empty()),
        ("sts:SetSourceIdentity", source_identity.is_some()),
    ];
    for (action, _) in deeds.into_iter().filter(|(_, done)| *done) {
        let allowed = role.allows(call, &identity.subject, action, &known);
        allowed.map_err(|reason| refused(action, &reason))?;
    }

    let seconds = role.seconds(seconds)?;
    if chained && seconds > MOST_CHAINED {
        return Err(validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    let bounds = bounds(call, &role.account)?;
    let packed = packed_size(bounds.as_ref(), &tags)?;
    let credentials = issue(call, &role.account, role.who(session), seconds, |record| {
        record.bounds = bounds;
        record.tags = tags;
        record.transitive = transitive;
        record.source_identity = source_identity.map(str::to_owned);
    });
    Ok(json!({
        "Credentials": credentials,
        "AssumedRoleUser": role.user(session),
        "PackedPolicySize": packed,
        "SourceIdentity": source_identity,
    }))
}

/// Refuses what cannot be a role's ARN. One of a number that is too short for an account's is refused only as that of a role that is
/// not there. (As AWS answers the integration test `sts_assume_role` of Ansible's collection `amazon.aws`.)
fn check_role_arn(role_arn: &str) -> Result<()> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match role_arn.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", "aws", "iam", "", account, resource] if is_number(account) && !resource.is_empty() => {
            if resource.starts_with("role/") { Ok(()) } else { Err(validation("Request ARN is invalid")) }
        }
        _ => Err(validation(format!("{role_arn} is invalid"))),
    }
}

/// The session's tags, and the keys of those that go on to the next role: given, and inherited.
fn session_tags(call: &Call<'_>, inherited: Option<(&[Tag], &[String])>) -> Result<(Vec<Tag>, Vec<String>)> {
    let mut tags = call.params.tags_without("Tags", invalid_parameter)?;
    let mut transitive: Vec<String> = call.params.list("TransitiveTagKeys").into_iter().map(str::to_owned).collect();
    let has = |tags: &[Tag], key: &str| tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(key));
    if transitive.iter().any(|key| !has(&tags, key)) {
        return Err(invalid_parameter("The specified transitive tag key must be included in the requested tags."));
    }
    let (own, keys) = inherited.unwrap_or_default();
    for key in keys {
        if has(&tags, key) {
            return Err(invalid_parameter(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session.",
            ));
        }
        tags.extend(own.iter().filter(|(other, _)| other.eq_ignore_ascii_case(key)).cloned());
        transitive.push(key.clone());
    }
    Ok((tags, transitive))
}

fn not_authorized(principal: &str, action: &str, role_arn: &str, reason: &str) -> Failure {
    access_denied(format!("User: {principal} is not authorized to perform: {action} on resource: {role_arn}{reason}"))
}
