//! What the audit learns of a KMS request: its members as CloudTrail names them, without data, secrets and tokens.
//! (AWS: "AWS KMS log entries", KMS developer guide.)

use serde_json::{Map, Value};

use super::fields::lower_first;
use super::operation::Operation;
use super::{Failure, KmsApi};
use crate::audit::{Category, Event, Resource, Said, ServiceOperation};
use crate::iam::Identity;
use crate::kms::audited::{EVENT_SOURCE, key_resource};
use crate::kms::{KeyArn, KeyRef, resource_arn};
use crate::wire::RequestContext;

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
    event.request_parameters = Some(shown(request)).filter(|shown| *shown != Value::Object(Map::new())).into();
    event
}

/// Adds how the request was answered.
pub(super) fn end(
    api: &KmsApi,
    event: &mut Event,
    request: &Value,
    result: &Result<Value, Failure>,
    identity: &Identity,
) {
    let region = api.kms.region();
    let mut keys: Vec<String> = Vec::new();
    match result {
        Ok(response) => {
            if !event.read_only && !response.is_null() {
                event.response_elements = shown(response);
            }
            keys.extend(arns(response));
            keys.extend(arns(&response["KeyMetadata"]));
        }
        Err(failure) => event.fail(failure.kind, failure.message.as_str()),
    }
    if keys.is_empty() {
        keys.extend(["KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"].iter().filter_map(|member| {
            match KeyRef::parse(request[*member].as_str()?) {
                // What has the form of an id is one of the caller's own account.
                KeyRef::Id(id) if uuid::Uuid::try_parse(&id).is_ok() => {
                    Some(KeyArn::new(region, &identity.account.id, &id).to_string())
                }
                KeyRef::KeyArn(arn) => Some(arn.to_string()),
                _ => None,
            }
        }));
    }
    keys.sort_unstable();
    keys.dedup();
    event.resources = keys.iter().filter_map(|key| key.parse::<KeyArn>().ok()).map(|arn| key_resource(&arn)).collect();
    if let Some(alias) = request["AliasName"].as_str() {
        event.resources.push(Resource {
            account_id: Some(identity.account.id.clone()),
            kind: "AWS::KMS::Alias",
            arn: resource_arn(region, &identity.account.id, alias),
        });
    }
    event.tell_owners(&*api.entropy);
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
                        let value = if name.contains("EncryptionContext") { value.clone() } else { shown(value) };
                        (lower_first(name), value)
                    })
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(shown).collect()),
        other => other.clone(),
    }
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
    fn what_uses_or_tells_is_read_only() {
        for name in ["Decrypt", "GenerateDataKey", "ListKeys", "DescribeKey", "GetKeyPolicy", "Verify"] {
            assert!(is_read_only(name), "{name}");
        }
        for name in ["CreateKey", "DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "TagResource", "RetireGrant"] {
            assert!(!is_read_only(name), "{name}");
        }
    }
}
