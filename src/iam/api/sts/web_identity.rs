//! `AssumeRoleWithWebIdentity`: becoming a role by an OpenID Connect token, if the role's trust policy says so.
//! (AWS: STS API reference; OpenID Connect Core 1.0, section 3.1.3.7.)
//!
//! 1. The token is read, and its issuer found among the providers of the role's account; its audience must be one of theirs.
//! 2. The issuer's keys are fetched, or are at hand, and the signature and the times held against the token.
//! 3. The trust policy is judged, with what the token claims as condition keys.

use std::collections::BTreeMap;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Call;
use super::super::authority::ContextKeys;
use super::super::constraints::is_name;
use super::super::failure::{
    Failure, Result, access_denied, expired_identity_token, idp_communication, idp_rejected, invalid_identity_token,
};
use super::super::handlers::name_of_url;
use super::super::params::{is_reserved_tag_key, is_tag_text};
use super::assume::{Role, seconds_asked};
use super::credentials::{bounds, issue, packed_size};
use crate::audit::UserIdentity;
use crate::iam::arn;
use crate::iam::store::records::Tag;
use crate::policy::{Subject, SubjectKind};

/// How far an issuer's clock may be from ours, in seconds.
const LEEWAY: i64 = 300;
/// Algorithms that are taken: those with public keys.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What a token claims.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    amr: Vec<String>,
    #[serde(default, rename = "https://aws.amazon.com/tags")]
    tags: TagClaims,
    #[serde(default, rename = "https://aws.amazon.com/source_identity")]
    source_identity: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct TagClaims {
    #[serde(default)]
    principal_tags: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    transitive_tag_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

pub(in super::super) async fn assume_role(call: &Call<'_>) -> Result<Value> {
    let role_arn = call.params.required("RoleArn")?;
    let session = call.params.required("RoleSessionName")?;
    let token = call.params.required("WebIdentityToken")?;
    let seconds = seconds_asked(call)?;
    let refused = || access_denied("Not authorized to perform sts:AssumeRoleWithWebIdentity");
    // An issuer is an account's affair: without the role there is none.
    let role = Role::find(call, role_arn).ok_or_else(refused)?;
    let (claims, provider, audience) = verified(call, &role, token).await?;

    let provider_arn = arn::provider(&role.account, &provider);
    let _ = call.web_identity.set(UserIdentity::web_identity(Some((&provider_arn, &audience, &claims.sub))));
    let tags = tags(&claims)?;
    check_source_identity(&claims)?;
    let mut known = ContextKeys::default();
    known.add("sts:rolesessionname", session);
    known.add(format!("{provider}:aud"), audience.as_str());
    known.add(format!("{provider}:sub"), claims.sub.as_str());
    known.add("aws:federatedprovider", provider_arn.as_str());
    for method in &claims.amr {
        known.add(format!("{provider}:amr"), method);
    }
    for (key, value) in &tags {
        known.add(format!("aws:requesttag/{key}"), value);
        known.add("aws:tagkeys", key);
    }
    for key in &claims.tags.transitive_tag_keys {
        known.add("sts:transitivetagkeys", key);
    }
    if let Some(identity) = &claims.source_identity {
        known.add("sts:sourceidentity", identity);
    }
    let vouched = SubjectKind::WebIdentity(provider_arn.clone());
    let subject = Subject::new(vouched, "", provider_arn.as_str(), claims.sub.as_str());
    let deeds = [
        ("sts:AssumeRoleWithWebIdentity", true),
        ("sts:TagSession", !tags.is_empty()),
        ("sts:SetSourceIdentity", claims.source_identity.is_some()),
    ];
    if deeds.into_iter().any(|(action, done)| done && role.allows(call, &subject, action, &known).is_err()) {
        return Err(refused());
    }

    let seconds = role.seconds(seconds)?;
    let bounds = bounds(call, &role.account)?;
    let packed = packed_size(bounds.as_ref(), &tags)?;
    let credentials = issue(call, &role.account, role.who(session), seconds, |record| {
        record.bounds = bounds;
        record.tags = tags;
        record.transitive.clone_from(&claims.tags.transitive_tag_keys);
        record.source_identity.clone_from(&claims.source_identity);
        record.provider = Some(provider_arn);
    });
    Ok(json!({
        "Credentials": credentials,
        "SubjectFromWebIdentityToken": claims.sub,
        "AssumedRoleUser": role.user(session),
        "PackedPolicySize": packed,
        "Provider": claims.iss,
        "Audience": audience,
        "SourceIdentity": claims.source_identity,
    }))
}

/// What the token claims, the provider's name, and which of its audiences is meant.
async fn verified(call: &Call<'_>, role: &Role, token: &str) -> Result<(Claims, String, String)> {
    let malformed = |_| {
        invalid_identity_token(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
        )
    };
    let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
    // Believed when the signature has been held against it, and used until then to know whose keys to ask for.
    let unproven: Claims = jsonwebtoken::dangerous::insecure_decode(token).map_err(malformed)?.claims;
    let provider = name_of_url(&unproven.iss).map_err(|_| no_provider(&unproven.iss))?;
    let state = std::sync::Arc::clone(&call.directory().compiled(&role.account).state);
    // Whoever may add a provider of that name in another case has not been let vouch for this one's subjects.
    let record = state.providers.get(&provider).filter(|record| record.name == provider);
    let record = record.ok_or_else(|| no_provider(&unproven.iss))?;
    let audiences = unproven.aud.values();
    // Of several audiences, the authorized party is the one.
    let audience = unproven.azp.as_ref().filter(|_| audiences.len() > 1).or_else(|| audiences.first());
    let audience = audience.filter(|audience| record.clients.contains(audience));
    let audience = audience.ok_or_else(|| invalid_identity_token("Incorrect token audience"))?.clone();

    if !ALGORITHMS.contains(&header.alg) {
        return Err(invalid_identity_token("The signature's algorithm is not one that is taken."));
    }
    let unreachable = |error| {
        let cause = tracing::field::debug(&error);
        tracing::warn!(issuer = %unproven.iss, cause, "the keys of an identity provider cannot be fetched");
        idp_communication(
            "Couldn't retrieve verification key from your identity provider, please reference \
             AssumeRoleWithWebIdentity documentation for requirements",
        )
    };
    let keys = call.api.issuers.keys(&unproven.iss, header.kid.as_deref(), call.now).await.map_err(unreachable)?;
    let mut candidates =
        keys.keys.iter().filter(|key| header.kid.is_none() || key.common.key_id.as_deref() == header.kid.as_deref());
    let claims = candidates.find_map(|key| proven(key, header.alg, token));
    let claims = claims.ok_or_else(|| {
        invalid_identity_token("Couldn't verify the signature of the token by any of its issuer's keys.")
    })?;

    let now = call.now.as_second();
    if claims.exp <= now {
        return Err(expired_identity_token(format!(
            "Token expired: current date/time {now} must be before the expiration date/time {}",
            claims.exp
        )));
    }
    if claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY) {
        return Err(invalid_identity_token("The token is not valid yet."));
    }
    Ok((claims, provider, audience))
}

/// The claims, if `key` made the signature.
fn proven(key: &Jwk, algorithm: Algorithm, token: &str) -> Option<Claims> {
    let key = DecodingKey::from_jwk(key).ok()?;
    let mut validation = Validation::new(algorithm);
    // Times and audience are judged by whoever asks, by this server's own clock.
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    validation.required_spec_claims.clear();
    jsonwebtoken::decode(token, &key, &validation).ok().map(|data| data.claims)
}

fn no_provider(issuer: &str) -> Failure {
    invalid_identity_token(format!("No OpenIDConnect provider found in your account for {issuer}"))
}

/// Session tags that the issuer gives, which are under the rules of those that requests give.
/// (IAM user guide, "Pass session tags in AWS STS": AssumeRoleWithWebIdentity.)
fn tags(claims: &Claims) -> Result<Vec<Tag>> {
    let mut tags: Vec<Tag> = Vec::new();
    let has = |tags: &[Tag], key: &str| tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(key));
    for (key, values) in &claims.tags.principal_tags {
        let [value] = values.values() else {
            return Err(idp_rejected(format!("The session tag {key} must have one value.")));
        };
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(idp_rejected(format!("The session tag {key} is too long.")));
        }
        if !is_tag_text(key) || !is_tag_text(value) {
            return Err(idp_rejected(format!("The session tag {key} has characters that no tag has.")));
        }
        if is_reserved_tag_key(key) {
            return Err(idp_rejected("Tag keys beginning with 'aws:' are reserved for system use."));
        }
        if has(&tags, key) {
            let message = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(idp_rejected(message));
        }
        tags.push((key.clone(), value.clone()));
    }
    if tags.len() > 50 || !claims.tags.transitive_tag_keys.iter().all(|key| has(&tags, key)) {
        return Err(idp_rejected("The session tags of the token are not well-formed."));
    }
    Ok(tags)
}

/// Refuses a source identity that no request could give. (STS API reference, AssumeRole: SourceIdentity.)
fn check_source_identity(claims: &Claims) -> Result<()> {
    let is_one = |identity: &str| (2..=64).contains(&identity.len()) && is_name(identity);
    match &claims.source_identity {
        Some(identity) if !is_one(identity) => {
            Err(idp_rejected("The source identity of the token is not well-formed."))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(more: &Value) -> Claims {
        let mut claims = json!({"iss": "https://idp.example.com", "sub": "alice", "aud": "a", "exp": 0});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn an_issuers_tags_are_under_the_rules_of_tags() {
        let read = |given: Value, transitive: Value| {
            let given = json!({"principal_tags": given, "transitive_tag_keys": transitive});
            tags(&claims(&json!({"https://aws.amazon.com/tags": given})))
        };
        let team = ("Team".to_owned(), "a b".to_owned());
        assert_eq!(read(json!({"Team": "a b"}), json!([])).unwrap(), std::slice::from_ref(&team));
        assert_eq!(read(json!({"Team": ["a b"]}), json!(["team"])).unwrap(), [team]);
        for (given, transitive) in [
            (json!({"Team": "blue", "team": "red"}), json!([])),
            (json!({"Team": ["blue", "red"]}), json!([])),
            (json!({"": "blue"}), json!([])),
            (json!({"te*m": "blue"}), json!([])),
            (json!({"team": "bl*e"}), json!([])),
            (json!({"AWS:team": "blue"}), json!([])),
            (json!({"team": "x".repeat(257)}), json!([])),
            (json!({"team": "blue"}), json!(["other"])),
        ] {
            assert_eq!(read(given.clone(), transitive).unwrap_err().code, "IDPRejectedClaim", "{given}");
        }
    }

    #[test]
    fn an_issuers_source_identity_is_one_that_could_be_given() {
        let check = |identity: &str| {
            check_source_identity(&claims(&json!({"https://aws.amazon.com/source_identity": identity})))
        };
        assert!(check_source_identity(&claims(&json!({}))).is_ok());
        assert!(check("al").is_ok() && check(&"x".repeat(64)).is_ok());
        for bad in ["", "a", "a b", "a*", &"x".repeat(65)] {
            assert_eq!(check(bad).unwrap_err().code, "IDPRejectedClaim", "{bad}");
        }
    }
}
