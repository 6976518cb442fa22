//! What the audit learns of a KMS request: its members as CloudTrail names them, without data, secrets and tokens.
//! (AWS: "AWS KMS log entries", KMS developer guide.)

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::operation::Operation;
use super::{Failure, KmsApi};
use crate::audit::{Category, Event, Resource, ServiceOperation};
use crate::clock::{Timestamp, cloudtrail_date};
use crate::iam::Identity;
use crate::kms::audited::{EVENT_SOURCE, event_code, key_resource, keys_seen};
use crate::kms::error::KmsErrorKind;
use crate::kms::spec::EncryptionAlgorithm;
use crate::kms::{KeyArn, KeyRef, resource_arn};
use crate::policy::Decisions;
use crate::wire::validation::lower_first;
use crate::wire::{RequestContext, Said};

/// Members that never reach the log: data, secrets, and what is as good as a permission.
const WITHHELD: &[&str] = &[
    "CiphertextBlob",
    "CiphertextForRecipient",
    "EncryptedKeyMaterial",
    "GrantToken",
    "GrantTokens",
    "ImportToken",
    "Mac",
    "Message",
    "Plaintext",
    "PrivateKeyCiphertextBlob",
    "PrivateKeyPlaintext",
    "PublicKey",
    "Recipient",
    "SharedSecret",
    "SharedSecretCiphertextBlob",
    "Signature",
];

/// Operations that use a key, or tell of one, and change none.
fn is_read_only(name: &str) -> bool {
    const READING: &[&str] = &[
        "Decapsulate",
        "Decrypt",
        "DeriveSharedSecret",
        "Encapsulate",
        "Encrypt",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    ];
    ["Describe", "Generate", "Get", "List"].iter().any(|prefix| name.starts_with(prefix)) || READING.contains(&name)
}

/// Members that events have though a request leaves them to their default.
/// ("The CloudTrail log entry for a `Decrypt` operation always includes the `encryptionAlgorithm` … even if the encryption algorithm
/// wasn't specified in the request": KMS developer guide, "Decrypt"; so do the examples of Encrypt and ReEncrypt.)
const DEFAULTS: &[(&str, &str)] = &[
    ("Decrypt", "encryptionAlgorithm"),
    ("Encrypt", "encryptionAlgorithm"),
    ("ReEncrypt", "sourceEncryptionAlgorithm"),
    ("ReEncrypt", "destinationEncryptionAlgorithm"),
];
/// Members of the answers to uses of keys that events have beside the answer, which they do not show. (The same guide, "Decrypt",
/// "ReEncrypt".)
const BESIDE: &[&str] = &["KeyMaterialId", "SourceKeyMaterialId", "DestinationKeyMaterialId"];
/// Members that are times.
const TIMES: &[&str] = &["CreationDate", "DeletionDate", "ParametersValidTo", "ValidTo"];

/// A request before it is carried out.
pub(super) fn begin(
    api: &KmsApi,
    operation: &'static Operation,
    (cx, said): (&RequestContext, Said<'_>),
    identity: &Identity,
    request: &Value,
) -> Event {
    let operation = ServiceOperation {
        source: EVENT_SOURCE,
        name: operation.name,
        read_only: is_read_only(operation.name),
        category: Category::Management,
        region: api.kms.region(),
        entropy: &*api.entropy,
    };
    let mut event = Event::of_request(operation, cx, said, identity.audited());
    event.request_parameters = parameters(operation.name, request);
    event
}

/// What was asked; null if that is nothing.
fn parameters(operation: &str, request: &Value) -> Value {
    let mut shown = shown(request);
    for (_, member) in DEFAULTS.iter().filter(|(of, _)| *of == operation) {
        if shown[*member].is_null() {
            shown[*member] = EncryptionAlgorithm::default().as_str().into();
        }
    }
    Some(shown).filter(|shown| *shown != Value::Object(Map::new())).into()
}

/// Adds how the request was answered, and what it was found to be about.
pub(super) fn end(
    api: &KmsApi,
    event: &mut Event,
    request: &Value,
    result: &Result<Value, Failure>,
    (identity, seen): (&Identity, Decisions),
) {
    let region = api.kms.region();
    let mut keys = keys_seen(&seen.resources);
    // An alias leaves a key: it is about the one that has it then.
    if result.is_ok() && !request["TargetKeyId"].is_null() {
        keys.drain(..keys.len().saturating_sub(1));
    }
    let is_refused = result.as_ref().is_err_and(|failure| failure.kind == KmsErrorKind::AccessDenied.code());
    match result {
        Ok(response) => {
            for arn in arns(response).chain(arns(&response["KeyMetadata"])).filter_map(|arn| arn.parse().ok()) {
                if !keys.contains(&arn) {
                    keys.push(arn);
                }
            }
            if event.read_only {
                for member in BESIDE {
                    if let Some(id) = response[*member].as_str() {
                        event.add(&lower_first(member), id);
                    }
                }
            } else {
                event.response_elements = elements(response, keys.last());
            }
            for (name, value) in &seen.notes {
                event.add(name, value.as_str());
            }
        }
        Err(failure) => event.fail(event_code(failure.kind), failure.message.as_str()),
    }
    event.resources = keys.iter().map(key_resource).collect();
    if let Some(alias) = request["AliasName"].as_str() {
        event.resources.push(Resource {
            account_id: Some(identity.account.id.clone()),
            kind: "AWS::KMS::Key",
            arn: resource_arn(region, &identity.account.id, alias),
        });
    }
    // "Cross-account AWS KMS requests that are rejected because access is denied are logged only in the caller's account." (KMS
    // developer guide, "Logging AWS KMS API calls with AWS CloudTrail".) Nor has a stranger anything to say in another's log by
    // naming its key.
    if !is_refused {
        event.tell_owners(&*api.entropy);
    }
    if keys.is_empty() {
        event.resources.extend(named(request, region, &identity.account.id).iter().map(key_resource));
    }
    event.judge(seen.decisive(is_refused).map(|decided| decided.told()));
}

/// The keys that a request names in full, whether or not there are any.
fn named(request: &Value, region: &str, account: &str) -> Vec<KeyArn> {
    let names = ["KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"].into_iter();
    let keys = names.filter_map(|member| match KeyRef::parse(request[member].as_str()?) {
        // What has the form of an id is one of the caller's own account.
        KeyRef::Id(id) if uuid::Uuid::try_parse(&id).is_ok() => Some(KeyArn::new(region, account, &id)),
        KeyRef::KeyArn(arn) => Some(arn),
        _ => None,
    });
    keys.collect()
}

/// What changed, with the key that it is about: "log entries … include the key ARN of the affected KMS key in the
/// responseElements.keyId value, even though this operation does not return the key ARN". (KMS developer guide, "DisableKey" and
/// others.)
fn elements(response: &Value, key: Option<&KeyArn>) -> Value {
    let mut shown = if response.is_null() { Value::Object(Map::new()) } else { shown(response) };
    if let (Value::Object(members), Some(key)) = (&mut shown, key)
        && !members.contains_key("keyMetadata")
    {
        members.entry("keyId").or_insert_with(|| key.to_string().into());
    }
    Some(shown).filter(|shown| *shown != Value::Object(Map::new())).into()
}

/// The members of a response that name keys.
fn arns(response: &Value) -> impl Iterator<Item = String> {
    ["KeyId", "SourceKeyId", "Arn"].into_iter().filter_map(|member| response[member].as_str().map(str::to_owned))
}

/// A document as CloudTrail shows it: its members begin with small letters, and what is withheld is not there. The members
/// of an encryption context and of tags are the client's, and stay as they are.
fn shown(document: &Value) -> Value {
    match document {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| !WITHHELD.contains(&name.as_str()));
            Value::Object(
                members
                    .map(|(name, value)| {
                        let value = match value.as_f64().filter(|_| TIMES.contains(&name.as_str())) {
                            Some(seconds) => time(seconds).map_or_else(|| value.clone(), Value::from),
                            None if name.contains("EncryptionContext") => value.clone(),
                            None => shown(value),
                        };
                        (lower_first(name), value)
                    })
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(shown).collect()),
        other => other.clone(),
    }
}

/// A time of the JSON protocol, as CloudTrail shows it.
fn time(seconds: f64) -> Option<String> {
    let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(since).ok().map(cloudtrail_date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_and_data_are_withheld_and_contexts_kept() {
        let request = json!({
            "KeyId": "k", "Plaintext": "c2VjcmV0", "EncryptionContext": {"Department": "pay"},
            "Constraints": {"EncryptionContextSubset": {"A": "b"}}, "Tags": [{"TagKey": "T", "TagValue": "v"}],
            "GrantTokens": ["t"],
        });
        let expected = json!({
            "keyId": "k", "encryptionContext": {"Department": "pay"},
            "constraints": {"encryptionContextSubset": {"A": "b"}}, "tags": [{"tagKey": "T", "tagValue": "v"}],
        });
        assert_eq!(shown(&request), expected);
    }

    #[test]
    fn defaults_and_times_are_shown_as_cloudtrail_has_them() {
        let asked = json!({"encryptionAlgorithm": "SYMMETRIC_DEFAULT"});
        assert_eq!(parameters("Decrypt", &json!({"CiphertextBlob": "eA=="})), asked);
        assert_eq!(parameters("ListKeys", &json!({})), Value::Null);
        let time = shown(&json!({"ValidTo": 1_747_806_465.0, "Other": 1.5}));
        assert_eq!(time, json!({"validTo": "May 21, 2025, 5:47:45 AM", "other": 1.5}));
    }

    #[test]
    fn what_changed_names_its_key() {
        let key = KeyArn::new("us-east-1", "111122223333", "k");
        assert_eq!(elements(&Value::Null, Some(&key)), json!({"keyId": key.as_str()}));
        assert_eq!(elements(&json!({"GrantId": "g"}), Some(&key)), json!({"grantId": "g", "keyId": key.as_str()}));
        let made = json!({"KeyMetadata": {"Arn": key.as_str()}});
        assert_eq!(elements(&made, Some(&key)), json!({"keyMetadata": {"arn": key.as_str()}}));
        assert_eq!(elements(&Value::Null, None), Value::Null);
    }

    #[test]
    fn what_uses_or_tells_is_read_only() {
        for name in ["Decrypt", "GenerateDataKey", "ListKeys", "DescribeKey", "GetKeyPolicy", "Verify"] {
            assert!(is_read_only(name), "{name}");
        }
        for name in ["CreateKey", "DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "TagResource", "RetireGrant"] {
            assert!(!is_read_only(name), "{name}");
        }
    }
}
