//! Access keys of users. The secret is shown once, when the key is made.

use serde_json::{Value, json};

use super::{paged, users};
use crate::iam::api::failure::{Result, access_denied, invalid_input, limit_exceeded, missing, no_such_entity};
use crate::iam::api::{Call, time};
use crate::iam::store::records::KeyRecord;

/// Most access keys of a user. (AWS: "IAM and AWS STS quotas".)
const MOST_KEYS: usize = 2;

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = name(call)?;
    let (id, secret) = (call.directory().draw_id::<16>("AKIA"), call.directory().draw_secret());
    let sealed = call.directory().seal_secret(&id, secret.expose());
    let user = call
        .change(|state| {
            let user = users::find(state, &name)?.name.clone();
            let key = user.to_lowercase();
            if users::keys_of(state, &key).count() >= MOST_KEYS {
                return Err(limit_exceeded(format!("Cannot exceed quota for AccessKeysPerUser: {MOST_KEYS}")));
            }
            state.keys.insert(KeyRecord {
                id: id.clone(),
                user: key,
                sealed: sealed.clone().into(),
                active: true,
                created: call.now.as_millisecond(),
            });
            Ok(user)
        })
        .await?;
    Ok(json!({"AccessKey": {
        "UserName": user,
        "AccessKeyId": id,
        "Status": "Active",
        "SecretAccessKey": String::from_utf8_lossy(secret.expose()),
        "CreateDate": time(call.now.as_millisecond()),
    }}))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let identity = call.identity()?;
    if call.params.text("UserName").is_none() && identity.subject.is_root() {
        // The root's own key is the configuration's.
        let created = call.state().record.created.map(time);
        let key = json!({"AccessKeyId": identity.access_key_id, "Status": "Active", "CreateDate": created});
        let own = Some((String::new(), key)).filter(|_| identity.subject.session.is_none());
        return paged(call, "AccessKeyMetadata", own.into_iter());
    }
    let (state, name) = (call.state(), name(call)?);
    let user = users::find(&state, &name)?;
    let of_user = user.name.to_lowercase();
    let keys = state.keys.iter().filter(|key| key.user == of_user).map(|key| {
        let shown = json!({
            "UserName": user.name,
            "AccessKeyId": key.id,
            "Status": status(key.active),
            "CreateDate": time(key.created),
        });
        (key.id.to_lowercase(), shown)
    });
    paged(call, "AccessKeyMetadata", keys)
}

pub(super) async fn update(call: &Call<'_>) -> Result<Value> {
    let id = call.params.required("AccessKeyId")?;
    let active = call.params.choice("Status", &["Active", "Inactive"])?.ok_or_else(|| missing("Status"))? == "Active";
    let name = name(call)?.to_lowercase();
    call.change(|state| {
        users::find(state, &name)?;
        let key = state.keys.get_mut(id).filter(|key| key.user == name && key.id == id);
        key.ok_or_else(|| missing_key(id))?.active = active;
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let id = call.params.required("AccessKeyId")?;
    let name = name(call)?.to_lowercase();
    call.change(|state| {
        users::find(state, &name)?;
        state.keys.get(id).filter(|key| key.user == name && key.id == id).ok_or_else(|| missing_key(id))?;
        state.keys.remove(id);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn last_used(call: &Call<'_>) -> Result<Value> {
    let id = call.params.required("AccessKeyId")?;
    let last = match call.directory().last_use(id) {
        Some(last) => json!({"LastUsedDate": time(last.at), "ServiceName": last.service, "Region": last.region}),
        None => json!({"ServiceName": "N/A", "Region": "N/A"}),
    };
    let of_root = call.directory().access_key(id).filter(|key| key.identity.account.id == call.account());
    if of_root.is_some() {
        // A root has no name.
        return Ok(json!({"AccessKeyLastUsed": last}));
    }
    let state = call.state();
    // Of keys that are not the account's, nothing is told. (Recorded on AWS: LocalStack's test_access_key_errors.)
    let caller = &call.identity()?.arn;
    let denied = || {
        access_denied(format!(
            "User: {caller} is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key {id}"
        ))
    };
    let key = state.keys.get(id).filter(|key| key.id == id).ok_or_else(denied)?;
    let user = users::find(&state, &key.user)?;
    Ok(json!({"UserName": user.name, "AccessKeyLastUsed": last}))
}

/// The user that the request names, or else the one that asks. The keys of an account's root are none of IAM's.
fn name(call: &Call<'_>) -> Result<String> {
    if call.params.text("UserName").is_none() && call.identity()?.subject.is_root() {
        return Err(invalid_input(
            "The access key of an account's root is set by the operator, in the server's configuration, and cannot be made, \
             changed or deleted here. Name a user by UserName.",
        ));
    }
    users::name(call)
}

fn status(active: bool) -> &'static str {
    if active { "Active" } else { "Inactive" }
}

fn missing_key(id: &str) -> crate::iam::api::failure::Failure {
    no_such_entity(format!("The Access Key with id {id} cannot be found."))
}
