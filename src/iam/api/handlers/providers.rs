//! OpenID Connect providers: whose word on who somebody is `AssumeRoleWithWebIdentity` takes.

use serde_json::{Value, json};

use super::{optional_tags, shown_tags};
use crate::iam::api::failure::{
    Failure, Result, already_exists, invalid_input, limit_exceeded, no_such_entity, validation,
};
use crate::iam::api::{Call, time};
use crate::iam::arn;
use crate::iam::store::AccountState;
use crate::iam::store::records::ProviderRecord;

/// Limits of an account and of a provider. (AWS: "IAM and AWS STS quotas".)
const MOST_PROVIDERS: usize = 100;
const MOST_CLIENTS: usize = 100;
const MOST_THUMBPRINTS: usize = 5;

pub(super) async fn create(call: &Call<'_>) -> Result<Value> {
    let name = name_of_url(call.params.required("Url")?)?;
    let provider = ProviderRecord {
        name: name.clone(),
        clients: clients(call.params.list("ClientIDList"))?,
        thumbprints: thumbprints(call)?,
        created: call.now.as_millisecond(),
        tags: call.params.tags("Tags")?,
    };
    call.change(|state| {
        if state.providers.get(&name).is_some() {
            return Err(already_exists(format!("Provider with url https://{name} already exists.")));
        }
        if state.providers.len() >= MOST_PROVIDERS {
            let message = format!("Cannot exceed quota for OpenIdConnectProvidersPerAccount: {MOST_PROVIDERS}");
            return Err(limit_exceeded(message));
        }
        state.providers.insert(provider.clone());
        Ok(())
    })
    .await?;
    let arn = arn::provider(call.account(), &name);
    Ok(json!({"OpenIDConnectProviderArn": arn, "Tags": optional_tags(&provider.tags)}))
}

pub(super) async fn get(call: &Call<'_>) -> Result<Value> {
    let state = call.state();
    let name = named(call)?;
    let provider = state.providers.get(&name).ok_or_else(|| missing(call, &name))?;
    Ok(json!({
        "Url": provider.name,
        "ClientIDList": provider.clients,
        "ThumbprintList": provider.thumbprints,
        "CreateDate": time(provider.created),
        "Tags": shown_tags(&provider.tags),
    }))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value> {
    let state = call.state();
    let providers =
        state.providers.iter().map(|provider| json!({"Arn": arn::provider(call.account(), &provider.name)}));
    Ok(json!({"OpenIDConnectProviderList": providers.collect::<Vec<_>>()}))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value> {
    let name = named(call)?;
    // In other words than where one is read or changed. (Recorded on AWS: LocalStack's test_delete_open_id_connect_provider.)
    let missing = || {
        let arn = arn::provider(call.account(), &name);
        no_such_entity(format!("OpenId connect Provider {arn} cannot be found."))
    };
    call.change(|state| state.providers.remove(&name).map(|_| Value::Null).ok_or_else(missing)).await
}

pub(super) async fn add_client(call: &Call<'_>) -> Result<Value> {
    let client = call.params.required("ClientID")?;
    call.change(|state| {
        let provider = find_mut(call, state)?;
        if !provider.clients.iter().any(|other| other == client) {
            provider.clients.push(client.to_owned());
        }
        clients(provider.clients.iter().map(String::as_str).collect())?;
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn remove_client(call: &Call<'_>) -> Result<Value> {
    let client = call.params.required("ClientID")?;
    call.change(|state| {
        find_mut(call, state)?.clients.retain(|other| other != client);
        Ok(Value::Null)
    })
    .await
}

pub(super) async fn update_thumbprints(call: &Call<'_>) -> Result<Value> {
    let thumbprints = thumbprints(call)?;
    call.change(|state| {
        find_mut(call, state)?.thumbprints.clone_from(&thumbprints);
        Ok(Value::Null)
    })
    .await
}

pub(super) fn find_mut<'s>(call: &Call<'_>, state: &'s mut AccountState) -> Result<&'s mut ProviderRecord> {
    let name = named(call)?;
    state.providers.get_mut(&name).ok_or_else(|| missing(call, &name))
}

/// The provider that the request names.
fn named(call: &Call<'_>) -> Result<String> {
    let arn = call.params.required("OpenIDConnectProviderArn")?;
    let name = match arn::split(arn) {
        Some((account, resource)) if account == call.account() => resource.strip_prefix("oidc-provider/"),
        _ => None,
    };
    name.map(str::to_owned).ok_or_else(|| invalid_input(format!("Invalid ARN: {arn}")))
}

fn missing(call: &Call<'_>, name: &str) -> Failure {
    let arn = arn::provider(call.account(), name);
    no_such_entity(format!("OpenIDConnect Provider not found for arn {arn}"))
}

/// Host and path of an issuer's URL, which must be secure.
pub(in crate::iam::api) fn name_of_url(url: &str) -> Result<String> {
    let rest = url.strip_prefix("https://").ok_or_else(|| validation("Invalid Open ID Connect Provider URL"))?;
    let rest = rest.trim_end_matches('/');
    let uri = url.parse::<http::Uri>().ok().filter(|uri| uri.query().is_none() && uri.host().is_some());
    if uri.is_none() || rest.is_empty() || rest.len() > 255 {
        return Err(validation("Invalid Open ID Connect Provider URL"));
    }
    Ok(rest.to_owned())
}

fn clients(list: Vec<&str>) -> Result<Vec<String>> {
    if list.len() > MOST_CLIENTS {
        return Err(limit_exceeded(format!(
            "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {MOST_CLIENTS}"
        )));
    }
    Ok(list.into_iter().map(str::to_owned).collect())
}

fn thumbprints(call: &Call<'_>) -> Result<Vec<String>> {
    let list = call.params.list("ThumbprintList");
    if list.len() > MOST_THUMBPRINTS {
        return Err(invalid_input("Thumbprint list must contain fewer than 5 entries."));
    }
    if list.iter().any(|thumbprint| hex::decode(thumbprint).is_err()) {
        return Err(validation("A thumbprint has 40 hexadecimal digits."));
    }
    Ok(list.into_iter().map(str::to_owned).collect())
}
