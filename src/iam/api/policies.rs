//! What several operations ask of documents and of managed policies.

use super::Call;
use super::failure::{Failure, Result, invalid_input, limit_exceeded, no_such_entity, validation};
use crate::iam::managed;
use crate::iam::store::records::Grants;
use crate::iam::store::{AccountState, Holder};
use crate::iam::{arn, store::records::PolicyRecord};
use crate::policy::{Kind, Policy, check_identity};

/// A document of `kind`, without the white space around it.
pub(super) fn document(call: &Call<'_>, member: &str, kind: Kind<'_>) -> Result<String> {
    let text = read(call, member)?;
    let policy = Policy::parse(text, kind)?;
    policy.check_principals(kind)?;
    policy.check_actions(kind)?;
    Ok(text.to_owned())
}

/// A document that an identity is to have: by itself, or as a managed policy, of which more is asked.
pub(super) fn identity_document(call: &Call<'_>, member: &str, is_managed: bool) -> Result<String> {
    let text = read(call, member)?;
    check_identity(text, is_managed)?;
    Ok(text.to_owned())
}

fn read<'c>(call: &'c Call<'_>, member: &str) -> Result<&'c str> {
    Ok(call.params.required(member)?.trim())
}

/// How long a document counts as: white space does not. (AWS: "IAM and AWS STS quotas".)
pub(super) fn weight(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// Most characters of all inline policies of a user, group or role.
pub(super) const fn most_inline(holder: Holder) -> usize {
    match holder {
        Holder::User => 2048,
        Holder::Group => 5120,
        Holder::Role => 10_240,
    }
}

/// Refuses inline policies that are too long together.
pub(super) fn check_inline(holder: Holder, name: &str, grants: &Grants) -> Result<()> {
    let most = most_inline(holder);
    if grants.inline.iter().map(|(_, text)| weight(text)).sum::<usize>() > most {
        let holder = holder.as_str();
        return Err(limit_exceeded(format!("Maximum policy size of {most} bytes exceeded for {holder} {name}")));
    }
    Ok(())
}

/// The ARN that a request names as a boundary.
pub(super) fn boundary(call: &Call<'_>, member: &str) -> Result<Option<String>> {
    call.params.text(member).map(|arn| check_arn(arn).map(str::to_owned)).transpose()
}

/// Whether `arn` has the form of a managed policy's.
pub(super) fn check_arn(policy: &str) -> Result<&str> {
    match arn::split(policy) {
        Some((_, resource)) if resource.starts_with("policy/") => Ok(policy),
        // What is no ARN at all is another error of the same words. (Recorded on AWS: LocalStack's test_role_managed_policy_errors
        // and test_role_permissions_boundary_errors.)
        split => {
            let is_arn = split.is_some() || (policy.starts_with("arn:") && policy.split(':').count() >= 6);
            let message = format!("ARN {policy} is not valid.");
            Err(if is_arn { invalid_input(message) } else { validation(message) })
        }
    }
}

/// Refuses to attach a managed policy that is not there.
pub(super) fn check_attachable(call: &Call<'_>, state: &AccountState, policy: &str) -> Result<()> {
    if is_there(call, state, policy) { Ok(()) } else { Err(not_attachable(policy)) }
}

/// Refuses a boundary that is not there. (Recorded on AWS: LocalStack's test_role_permissions_boundary_errors.)
pub(super) fn check_boundary(call: &Call<'_>, state: &AccountState, boundary: Option<&str>) -> Result<()> {
    match boundary.filter(|policy| !is_there(call, state, policy)) {
        Some(policy) => Err(no_such_entity(format!("Scope ARN: {policy} does not exist or is not attachable."))),
        None => Ok(()),
    }
}

fn is_there(call: &Call<'_>, state: &AccountState, policy: &str) -> bool {
    managed::find(policy).is_some() || find(call.account(), state, policy).is_some()
}

/// The policy is not there, or may not be attached.
pub(super) fn not_attachable(policy: &str) -> Failure {
    no_such_entity(format!("Policy {policy} does not exist or is not attachable."))
}

/// The customer managed policy with this ARN.
pub(super) fn find<'s>(account: &str, state: &'s AccountState, policy: &str) -> Option<&'s PolicyRecord> {
    let record = state.policies.get(arn::name_of(policy))?;
    (arn::policy(account, &record.path, &record.name) == policy).then_some(&**record)
}

/// What keeps a user, group or role from being deleted.
pub(super) fn first_to_go(grants: &Grants) -> Option<&'static str> {
    if !grants.attached.is_empty() {
        Some("detach all policies")
    } else if !grants.inline.is_empty() {
        Some("delete policies")
    } else {
        None
    }
}
