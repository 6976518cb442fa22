//! What a request's members say to the conditions of policies: one table. (Service authorization reference, "Actions,
//! resources, and condition keys for AWS Key Management Service".)

use std::sync::Arc;

use http::HeaderMap;
use http::header::{REFERER, USER_AGENT};
use serde_json::Value;

use crate::kms::{ConditionValues, KeyRef};
use crate::wire::RequestContext;

/// A condition key, the actions that have it, the member that it is the value of, and what it is without one.
type Row = (&'static str, &'static [&'static str], &'static str, Option<&'static str>);

const DATA_KEYS: &[&str] = &[
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:GenerateDataKeyWithoutPlaintext",
];
const SYMMETRIC: Option<&str> = Some("SYMMETRIC_DEFAULT");

/// A member that has an older name: either says it, and both condition keys ask for it.
const KEY_SPEC: &str = "KeySpec";
const KEY_SPEC_ONCE: &str = "CustomerMasterKeySpec";

const ROWS: &[Row] = &[
    (
        "kms:bypasspolicylockoutsafetycheck",
        &["kms:CreateKey", "kms:PutKeyPolicy"],
        "BypassPolicyLockoutSafetyCheck",
        Some("false"),
    ),
    (
        "kms:datakeypairspec",
        &["kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext"],
        "KeyPairSpec",
        None,
    ),
    ("kms:encryptionalgorithm", &["kms:Decrypt", "kms:Encrypt"], "EncryptionAlgorithm", SYMMETRIC),
    ("kms:encryptionalgorithm", &["kms:ReEncryptFrom"], "SourceEncryptionAlgorithm", SYMMETRIC),
    ("kms:encryptionalgorithm", &["kms:ReEncryptTo"], "DestinationEncryptionAlgorithm", SYMMETRIC),
    ("kms:encryptionalgorithm", DATA_KEYS, "", SYMMETRIC),
    ("kms:expirationmodel", &["kms:ImportKeyMaterial"], "ExpirationModel", Some("KEY_MATERIAL_EXPIRES")),
    ("kms:grantconstrainttype", &["kms:CreateGrant"], "Constraints", None),
    ("kms:granteeprincipal", &["kms:CreateGrant"], "GranteePrincipal", None),
    ("kms:grantoperations", &["kms:CreateGrant"], "Operations", None),
    ("kms:keyagreementalgorithm", &["kms:DeriveSharedSecret"], "KeyAgreementAlgorithm", None),
    ("kms:keyorigin", &["kms:CreateKey"], "Origin", Some("AWS_KMS")),
    ("kms:keyspec", &["kms:CreateKey"], KEY_SPEC, SYMMETRIC),
    ("kms:customermasterkeyspec", &["kms:CreateKey"], KEY_SPEC, SYMMETRIC),
    ("kms:keyusage", &["kms:CreateKey"], "KeyUsage", Some("ENCRYPT_DECRYPT")),
    ("kms:customermasterkeyusage", &["kms:CreateKey"], "KeyUsage", Some("ENCRYPT_DECRYPT")),
    ("kms:macalgorithm", &["kms:GenerateMac", "kms:VerifyMac"], "MacAlgorithm", None),
    ("kms:messagetype", &["kms:Sign", "kms:Verify"], "MessageType", Some("RAW")),
    ("kms:multiregion", &["kms:CreateKey"], "MultiRegion", Some("false")),
    ("kms:primaryregion", &["kms:UpdatePrimaryRegion"], "PrimaryRegion", None),
    ("kms:replicaregion", &["kms:ReplicateKey"], "ReplicaRegion", None),
    ("kms:retiringprincipal", &["kms:CreateGrant"], "RetiringPrincipal", None),
    ("kms:rotationperiodindays", &["kms:EnableKeyRotation"], "RotationPeriodInDays", Some("365")),
    ("kms:schedulekeydeletionpendingwindowindays", &["kms:ScheduleKeyDeletion"], "PendingWindowInDays", Some("30")),
    ("kms:signingalgorithm", &["kms:Sign", "kms:Verify"], "SigningAlgorithm", None),
    ("kms:validto", &["kms:ImportKeyMaterial"], "ValidTo", None),
    ("kms:wrappingalgorithm", &["kms:GetParametersForImport"], "WrappingAlgorithm", None),
    ("kms:wrappingkeyspec", &["kms:GetParametersForImport"], "WrappingKeySpec", None),
];

/// The actions that ReEncrypt is judged as.
const RE_ENCRYPT: [(&str, &str); 2] = [("kms:ReEncryptFrom", "SourceKeyId"), ("kms:ReEncryptTo", "DestinationKeyId")];

/// What the request `document` of a principal of `account`, for `action` (`kms:Sign`), brings.
pub(super) fn values(
    cx: &RequestContext,
    headers: &HeaderMap,
    account: &str,
    (action, document): (&'static str, &Value),
) -> Arc<ConditionValues> {
    let mut values = ConditionValues::default();
    values.insert(None, "kms:calleraccount", account.to_owned());
    values.insert(None, "aws:sourceip", cx.client.to_string());
    values.insert(None, "aws:securetransport", cx.is_secure().to_string());
    for (name, key) in [(USER_AGENT, "aws:useragent"), (REFERER, "aws:referer")] {
        if let Some(text) = headers.get(name).and_then(|value| value.to_str().ok()) {
            values.insert(None, key, text.to_owned());
        }
    }
    for (key, actions, member, default) in ROWS {
        let re_encrypts = action == "kms:ReEncrypt" && actions[0].starts_with(action);
        if re_encrypts || actions.contains(&action) {
            let member = match &document[*member] {
                Value::Null if *member == KEY_SPEC => &document[KEY_SPEC_ONCE],
                given => given,
            };
            insert(&mut values, if re_encrypts { actions[0] } else { action }, key, member, *default);
        }
    }
    let aliases = if action == "kms:ReEncrypt" { &RE_ENCRYPT[..] } else { &[(action, "KeyId")] };
    for (action, member) in aliases {
        if let Some(KeyRef::Alias(alias) | KeyRef::AliasArn { alias, .. }) =
            document[*member].as_str().map(KeyRef::parse)
        {
            values.insert(Some(*action), "kms:requestalias", alias);
        }
    }
    tags(&mut values, action, document);
    Arc::new(values)
}

fn insert(
    values: &mut ConditionValues,
    action: &'static str,
    key: &'static str,
    member: &Value,
    default: Option<&'static str>,
) {
    let list = |items: &mut dyn Iterator<Item = &str>| items.map(str::to_owned).collect::<Vec<_>>();
    match member {
        Value::String(text) => values.insert(Some(action), key, text.clone()),
        Value::Bool(truth) => values.insert(Some(action), key, truth.to_string()),
        // Seconds since the epoch may have a fraction, which no condition is about.
        Value::Number(number) => {
            let text = number.to_string();
            values.insert(Some(action), key, text.split('.').next().unwrap_or_default().to_owned());
        }
        Value::Array(items) => {
            values.insert_all(Some(action), key, list(&mut items.iter().filter_map(Value::as_str)));
        }
        // Of a grant's constraints, which there are: one at most. What has no pairs constrains nothing.
        Value::Object(members) => {
            let is_one = |(name, pairs): &(&String, &Value)| {
                name.starts_with("EncryptionContext") && pairs.as_object().is_some_and(|pairs| !pairs.is_empty())
            };
            if let Some((name, _)) = members.iter().find(is_one) {
                values.insert(Some(action), key, name.clone());
            }
        }
        Value::Null => {
            if let Some(default) = default {
                values.insert(Some(action), key, default.to_owned());
            }
        }
    }
}

/// The actions whose requests give tags, and that whose requests name some: no others' members are condition keys.
const TAGGING: &[&str] = &["kms:CreateKey", "kms:ReplicateKey", "kms:TagResource"];
const UNTAGGING: &[&str] = &["kms:UntagResource"];

/// `aws:RequestTag/KEY` and `aws:TagKeys`.
fn tags(values: &mut ConditionValues, action: &str, document: &Value) {
    let list = |member: &str, actions: &[&str]| {
        let items = document[member].as_array().filter(|_| actions.contains(&action));
        items.map(Vec::as_slice).unwrap_or_default()
    };
    let mut keys: Vec<String> =
        list("TagKeys", UNTAGGING).iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
    for tag in list("Tags", TAGGING) {
        if let (Some(key), Some(value)) = (tag["TagKey"].as_str(), tag["TagValue"].as_str()) {
            values.insert(None, format!("aws:requesttag/{}", key.to_ascii_lowercase()), value.to_owned());
            keys.push(key.to_owned());
        }
    }
    if !keys.is_empty() {
        values.insert_all(None, "aws:tagkeys", keys);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::policy::Found;
    use crate::wire::RequestId;

    fn of(action: &'static str, document: &Value) -> Arc<ConditionValues> {
        let peer = "192.0.2.1:1".parse().unwrap();
        let cx = RequestContext {
            id: RequestId::draw(&SeededEntropy::new(1)),
            received: crate::clock::from_millis(0),
            peer,
            client: peer.ip(),
            tls: None,
            forwarded_over_tls: true,
        };
        values(&cx, &HeaderMap::new(), "111122223333", (action, document))
    }

    #[test]
    fn members_and_their_defaults_are_found() {
        let one = |text: &'static str| Found::One(text.into());
        let many = |texts: &[&'static str]| Found::Many(texts.iter().map(|&text| text.into()).collect());
        let sign = of("kms:Sign", &json!({"KeyId": "alias/a", "SigningAlgorithm": "ECDSA_SHA_256"}));
        for (key, expected) in [
            ("kms:signingalgorithm", one("ECDSA_SHA_256")),
            ("kms:messagetype", one("RAW")),
            ("kms:requestalias", one("alias/a")),
            ("kms:macalgorithm", Found::None),
            ("kms:calleraccount", one("111122223333")),
            ("aws:sourceip", one("192.0.2.1")),
            ("aws:securetransport", one("true")),
            ("aws:useragent", Found::None),
        ] {
            assert_eq!(sign.find("kms:Sign", key), expected, "{key}");
        }
        let moved = of(
            "kms:ReEncrypt",
            &json!({"SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_1", "DestinationKeyId": "alias/b"}),
        );
        assert_eq!(moved.find("kms:ReEncryptFrom", "kms:encryptionalgorithm"), one("RSAES_OAEP_SHA_1"));
        assert_eq!(moved.find("kms:ReEncryptTo", "kms:encryptionalgorithm"), one("SYMMETRIC_DEFAULT"));
        assert_eq!(moved.find("kms:ReEncryptTo", "kms:requestalias"), one("alias/b"));
        assert_eq!(moved.find("kms:ReEncryptFrom", "kms:requestalias"), Found::None);
        let grant = json!({
            "Operations": ["Encrypt", "Decrypt"], "GranteePrincipal": "g",
            "Constraints": {"SourceArn": "a", "EncryptionContextSubset": {"a": "b"}},
        });
        let grant = of("kms:CreateGrant", &grant);
        assert_eq!(grant.find("kms:CreateGrant", "kms:grantoperations"), many(&["Encrypt", "Decrypt"]));
        assert_eq!(grant.find("kms:CreateGrant", "kms:grantconstrainttype"), one("EncryptionContextSubset"));
        assert_eq!(grant.find("kms:CreateGrant", "kms:retiringprincipal"), Found::None);
        let tags = of("kms:TagResource", &json!({"Tags": [{"TagKey": "Team", "TagValue": "x"}]}));
        assert_eq!(tags.find("kms:TagResource", "aws:requesttag/team"), one("x"));
        assert_eq!(tags.find("kms:TagResource", "aws:tagkeys"), many(&["Team"]));
        let import = of("kms:ImportKeyMaterial", &json!({"ValidTo": 1_800_000_000.5}));
        assert_eq!(import.find("kms:ImportKeyMaterial", "kms:validto"), one("1800000000"));
    }

    #[test]
    fn either_name_of_a_keys_spec_says_it() {
        let said = |document: &Value| {
            let values = of("kms:CreateKey", document);
            ["kms:keyspec", "kms:customermasterkeyspec"].map(|key| match values.find("kms:CreateKey", key) {
                Found::One(spec) => spec.into_owned(),
                found => panic!("{key}: {found:?}"),
            })
        };
        assert_eq!(said(&json!({"KeySpec": "RSA_2048"})), ["RSA_2048"; 2]);
        assert_eq!(said(&json!({"CustomerMasterKeySpec": "RSA_2048"})), ["RSA_2048"; 2]);
        assert_eq!(said(&json!({"KeySpec": null, "CustomerMasterKeySpec": "RSA_2048"})), ["RSA_2048"; 2]);
        assert_eq!(said(&json!({})), ["SYMMETRIC_DEFAULT"; 2]);
    }

    #[test]
    fn a_constraint_without_pairs_is_none() {
        for constraints in [json!({"EncryptionContextSubset": null}), json!({"EncryptionContextEquals": {}}), json!({})]
        {
            let grant = of("kms:CreateGrant", &json!({"Constraints": constraints}));
            assert_eq!(grant.find("kms:CreateGrant", "kms:grantconstrainttype"), Found::None, "{constraints}");
        }
    }

    #[test]
    fn every_row_is_about_operations_that_there_are() {
        use super::super::operation::OPERATIONS;
        for (key, actions, ..) in ROWS {
            assert_eq!(*key, key.to_ascii_lowercase());
            for action in *actions {
                let named = |operation: &super::super::operation::Operation| {
                    operation.action == *action
                        || (operation.name == "ReEncrypt" && action.starts_with("kms:ReEncrypt"))
                };
                assert!(OPERATIONS.iter().any(named), "{action}");
            }
        }
    }
}
