//! Temporary credentials of one's own (`GetSessionToken`), and for somebody one vouches for (`GetFederationToken`).

use serde_json::{Value, json};

use super::super::Call;
use super::super::failure::{Result, access_denied, invalid_parameter};
use super::credentials::{bounds, check_second_factor, issue, packed_size};
use crate::iam::arn;
use crate::iam::session::{Bounds, SessionPrincipal};
use crate::policy::SubjectKind;

/// Seconds: the least, the most, what is meant if none are named, and the most of a root's.
pub(in super::super) const LEAST: i64 = 900;
pub(in super::super) const MOST: i64 = 129_600;
const DEFAULT: i64 = 43_200;
const MOST_OF_ROOT: i64 = 3600;

pub(in super::super) async fn session_token(call: &Call<'_>) -> Result<Value> {
    let identity = call.identity()?;
    let seconds = seconds(call)?;
    let who = match identity.subject.kind {
        _ if identity.subject.session.is_some() => {
            return Err(access_denied("Cannot call GetSessionToken with session credentials"));
        }
        SubjectKind::Root => SessionPrincipal::Root,
        _ => {
            let name = identity.subject.name.clone().unwrap_or_default();
            SessionPrincipal::User { name, id: identity.subject.id.clone() }
        }
    };
    check_second_factor(call)?;
    Ok(json!({"Credentials": issue(call, call.account(), who, seconds, |_| {})}))
}

pub(in super::super) async fn federation_token(call: &Call<'_>) -> Result<Value> {
    let identity = call.identity()?;
    if identity.subject.session.is_some() {
        return Err(access_denied("Cannot call GetFederationToken with session credentials"));
    }
    let name = call.params.required("Name")?;
    let account = call.account();
    let (bounds, tags, seconds) =
        (bounds(call, account)?, call.params.tags_without("Tags", invalid_parameter)?, seconds(call)?);
    let packed = packed_size(bounds.as_ref(), &tags)?;
    let user = identity.subject.name.clone().map(|user| (user, identity.subject.id.clone()));
    let who = SessionPrincipal::Federated { name: name.to_owned(), user };
    let credentials = issue(call, account, who, seconds, |record| {
        // Without a policy the session may do nothing but what resources' own policies give.
        record.bounds = Some(bounds.unwrap_or_else(Bounds::default));
        record.tags = tags;
    });
    Ok(json!({
        "Credentials": credentials,
        "FederatedUser": {"FederatedUserId": format!("{account}:{name}"), "Arn": arn::federated(account, name)},
        // Of nothing too. (Recorded on AWS: LocalStack's test_get_federation_token.)
        "PackedPolicySize": packed.as_u64().unwrap_or(0),
    }))
}

fn seconds(call: &Call<'_>) -> Result<i64> {
    let most = if call.identity()?.subject.is_root() { MOST_OF_ROOT } else { MOST };
    // The root's sessions are shorter, whatever it asks for.
    Ok(call.params.number("DurationSeconds", LEAST, MOST)?.unwrap_or(DEFAULT).min(most))
}
