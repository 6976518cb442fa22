//! SessionPrincipal asks, and whose an access key is.

use serde_json::{Value, json};

use super::super::Call;
use super::super::failure::{Result, validation};

pub(in super::super) async fn caller_identity(call: &Call<'_>) -> Result<Value> {
    let identity = call.identity()?;
    Ok(json!({"UserId": identity.subject.id, "Account": identity.account.id, "Arn": identity.arn}))
}

pub(in super::super) async fn access_key_info(call: &Call<'_>) -> Result<Value> {
    let id = call.params.required("AccessKeyId")?;
    let unknown = || validation(format!("Access key id {id} is not one of this server's."));
    let account = call.directory().account_of_key(id).ok_or_else(unknown)?;
    Ok(json!({"Account": account.id}))
}
