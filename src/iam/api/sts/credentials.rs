//! Making temporary credentials, and what they may be bound by.

use serde_json::{Value, json};

use super::super::failure::{Result, access_denied, constraint, packed_policy_too_large, validation};
use super::super::{Call, policies, time};
use crate::iam::session::{Bounds, SessionPrincipal, SessionRecord};

/// Longest session policy, in characters, and most managed ones. (AWS: "IAM and AWS STS quotas".)
const MAX_POLICY: usize = 2048;
const MOST_ARNS: usize = 10;

/// Refuses who brings a second factor: nobody has one here, so that none can be right. (AWS's texts for a device that is not the
/// caller's, and for half of what it takes.)
pub(super) fn check_second_factor(call: &Call<'_>) -> Result<()> {
    let (serial, code) = (call.params.text("SerialNumber"), call.params.text("TokenCode"));
    match (serial, code) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(access_denied(
            "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and \
             associated with this user.",
        )),
        _ => Err(access_denied(
            "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
        )),
    }
}

/// Session policies that the request gives: a document, and managed policies by ARN.
pub(super) fn bounds(call: &Call<'_>, account: &str) -> Result<Option<Bounds>> {
    let document =
        call.params.text("Policy").map(|_| policies::identity_document(call, "Policy", false)).transpose()?;
    let mut arns = Vec::new();
    for member in call.params.members("PolicyArns") {
        let arn = policies::check_arn(call.params.required(&format!("{member}.arn"))?)?;
        if call.directory().compiled(account).managed(account, arn).is_none() {
            return Err(validation(format!("The policy {arn} does not exist in the account {account}.")));
        }
        arns.push(arn.to_owned());
    }
    if arns.len() > MOST_ARNS {
        return Err(constraint("PolicyArns", &format!("have length less than or equal to {MOST_ARNS}")));
    }
    Ok((document.is_some() || !arns.is_empty()).then_some(Bounds { document, arns }))
}

/// How much of what a session may carry these are, in percent.
///
/// # Errors
/// `PackedPolicyTooLarge`.
pub(super) fn packed_size(bounds: Option<&Bounds>, tags: &[(String, String)]) -> Result<Value> {
    let of_bounds = bounds.map_or(0, |bounds| {
        bounds.document.as_ref().map_or(0, |text| policies::weight(text))
            + bounds.arns.iter().map(String::len).sum::<usize>()
    });
    let size = of_bounds + tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if size == 0 {
        return Ok(Value::Null);
    }
    let percent = (size * 100).div_ceil(2 * MAX_POLICY);
    if percent > 100 {
        return Err(packed_policy_too_large(format!(
            "Packed policy consumes {percent}% of allotted space, please use smaller policy."
        )));
    }
    Ok(percent.into())
}

/// Fresh credentials for `who`, good for so many seconds, as answers carry them; `fill` adds what else they know.
pub(super) fn issue(
    call: &Call<'_>,
    account: &str,
    who: SessionPrincipal,
    seconds: i64,
    fill: impl FnOnce(&mut SessionRecord),
) -> Value {
    let directory = call.directory();
    let (id, secret) = (directory.draw_temporary_id(account), directory.draw_secret());
    // To the second, as clients see it.
    let issued = call.now.as_second() * 1000;
    let mut record = SessionRecord {
        secret: String::from_utf8_lossy(secret.expose()).into_owned(),
        issued,
        expires: issued + seconds * 1000,
        account: account.to_owned(),
        who,
        bounds: None,
        tags: Vec::new(),
        transitive: Vec::new(),
        source_identity: None,
        provider: None,
    };
    fill(&mut record);
    json!({
        "AccessKeyId": id,
        "SecretAccessKey": record.secret,
        "SessionToken": directory.seal_session(&id, &record),
        "Expiration": time(record.expires),
    })
}
