//! What a request's members say to the conditions of policies: one table. (Service authorization reference, "Actions,
//! resources, and condition keys for AWS Key Management Service".)

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{REFERER, USER_AGENT};
use serde_json::Value;

use crate::kms::{ConditionValues, KeyRef};
use crate::wire::RequestContext;

/// A condition key, the actions that have it, the member that it is the value of (behind a slash, one within that), if there is
/// any, and what it is without one.
type Row = (&'static str, &'static [&'static str], Option<&'static str>, Option<&'static str>);

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
        Some("BypassPolicyLockoutSafetyCheck"),
        Some("false"),
    ),
    (
        "kms:datakeypairspec",
        &["kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext"],
        Some("KeyPairSpec"),
        None,
    ),
    ("kms:encryptionalgorithm", &["kms:Decrypt", "kms:Encrypt"], Some("EncryptionAlgorithm"), SYMMETRIC),
    ("kms:encryptionalgorithm", &["kms:ReEncryptFrom"], Some("SourceEncryptionAlgorithm"), SYMMETRIC),
    ("kms:encryptionalgorithm", &["kms:ReEncryptTo"], Some("DestinationEncryptionAlgorithm"), SYMMETRIC),
    ("kms:encryptionalgorithm", DATA_KEYS, None, SYMMETRIC),
    ("kms:expirationmodel", &["kms:ImportKeyMaterial"], Some("ExpirationModel"), Some("KEY_MATERIAL_EXPIRES")),
    ("kms:grantconstraintsourcearn", &["kms:CreateGrant"], Some("Constraints/SourceArn"), None),
    ("kms:grantconstrainttype", &["kms:CreateGrant"], Some("Constraints"), None),
    ("kms:granteeprincipal", &["kms:CreateGrant"], Some("GranteePrincipal"), None),
    ("kms:granteeserviceprincipal", &["kms:CreateGrant"], Some("GranteeServicePrincipal"), None),
    ("kms:grantoperations", &["kms:CreateGrant"], Some("Operations"), None),
    ("kms:keyagreementalgorithm", &["kms:DeriveSharedSecret"], Some("KeyAgreementAlgorithm"), None),
    ("kms:keyorigin", &["kms:CreateKey"], Some("Origin"), Some("AWS_KMS")),
    ("kms:keyspec", &["kms:CreateKey"], Some(KEY_SPEC), SYMMETRIC),
    ("kms:customermasterkeyspec", &["kms:CreateKey"], Some(KEY_SPEC), SYMMETRIC),
    ("kms:keyusage", &["kms:CreateKey"], Some("KeyUsage"), Some("ENCRYPT_DECRYPT")),
    ("kms:customermasterkeyusage", &["kms:CreateKey"], Some("KeyUsage"), Some("ENCRYPT_DECRYPT")),
    ("kms:macalgorithm", &["kms:GenerateMac", "kms:VerifyMac"], Some("MacAlgorithm"), None),
    ("kms:messagetype", &["kms:Sign", "kms:Verify"], Some("MessageType"), Some("RAW")),
    ("kms:multiregion", &["kms:CreateKey"], Some("MultiRegion"), Some("false")),
    // "If the request doesn't include PolicyName, the value of kms:PolicyName is default." (Developer guide, condition keys)
    ("kms:policyname", &["kms:GetKeyPolicy", "kms:PutKeyPolicy"], Some("PolicyName"), Some("default")),
    ("kms:primaryregion", &["kms:UpdatePrimaryRegion"], Some("PrimaryRegion"), None),
    ("kms:replicaregion", &["kms:ReplicateKey"], Some("ReplicaRegion"), None),
    ("kms:retiringprincipal", &["kms:CreateGrant"], Some("RetiringPrincipal"), None),
    ("kms:retiringserviceprincipal", &["kms:CreateGrant"], Some("RetiringServicePrincipal"), None),
    ("kms:rotationperiodindays", &["kms:EnableKeyRotation"], Some("RotationPeriodInDays"), Some("365")),
    (
        "kms:schedulekeydeletionpendingwindowindays",
        &["kms:ScheduleKeyDeletion"],
        Some("PendingWindowInDays"),
        Some("30"),
    ),
    ("kms:signingalgorithm", &["kms:Sign", "kms:Verify"], Some("SigningAlgorithm"), None),
    ("kms:validto", &["kms:ImportKeyMaterial"], Some("ValidTo"), None),
    ("kms:wrappingalgorithm", &["kms:GetParametersForImport"], Some("WrappingAlgorithm"), None),
    ("kms:wrappingkeyspec", &["kms:GetParametersForImport"], Some("WrappingKeySpec"), None),
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
            let given =
                member.map_or(&Value::Null, |path| path.split('/').fold(document, |within, name| &within[name]));
            let member = match given {
                Value::Null if *member == Some(KEY_SPEC) => &document[KEY_SPEC_ONCE],
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
    // Condition keys have no case, and tags have: all that differ in it alone count.
    let mut of_keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for tag in list("Tags", TAGGING) {
        if let (Some(key), Some(value)) = (tag["TagKey"].as_str(), tag["TagValue"].as_str()) {
            of_keys.entry(format!("aws:requesttag/{}", key.to_ascii_lowercase())).or_default().push(value.to_owned());
            keys.push(key.to_owned());
        }
    }
    for (key, mut given) in of_keys {
        match given.pop() {
            Some(value) if given.is_empty() => values.insert(None, key, value),
            last => values.insert_all(None, key, given.into_iter().chain(last).collect()),
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
        let tag = |key: &str, value: &str| json!({"TagKey": key, "TagValue": value});
        let cased = of("kms:TagResource", &json!({"Tags": [tag("Team", "x"), tag("team", "secret")]}));
        assert_eq!(cased.find("kms:TagResource", "aws:requesttag/team"), many(&["x", "secret"]));
        let import = of("kms:ImportKeyMaterial", &json!({"ValidTo": 1_800_000_000.5}));
        assert_eq!(import.find("kms:ImportKeyMaterial", "kms:validto"), one("1800000000"));
    }

    #[test]
    fn whom_a_grant_serves_and_which_policy_is_meant_are_found() {
        let one = |text: &'static str| Found::One(text.into());
        let grant = json!({
            "GranteeServicePrincipal": "g.example.com", "RetiringServicePrincipal": "r.example.com",
            "Constraints": {"SourceArn": "arn:aws:s3:us-east-1:111122223333:b"},
        });
        let grant = of("kms:CreateGrant", &grant);
        for (key, expected) in [
            ("kms:granteeserviceprincipal", one("g.example.com")),
            ("kms:retiringserviceprincipal", one("r.example.com")),
            ("kms:grantconstraintsourcearn", one("arn:aws:s3:us-east-1:111122223333:b")),
            ("kms:granteeprincipal", Found::None),
        ] {
            assert_eq!(grant.find("kms:CreateGrant", key), expected, "{key}");
        }
        for action in ["kms:GetKeyPolicy", "kms:PutKeyPolicy"] {
            assert_eq!(of(action, &json!({})).find(action, "kms:policyname"), one("default"));
            assert_eq!(of(action, &json!({"PolicyName": "p"})).find(action, "kms:policyname"), one("p"));
        }
    }

    #[test]
    fn nothing_that_a_client_says_stands_for_the_algorithm_of_data_keys() {
        let said = of("kms:GenerateDataKey", &json!({"": "RSAES_OAEP_SHA_256"}));
        assert_eq!(said.find("kms:GenerateDataKey", "kms:encryptionalgorithm"), Found::One("SYMMETRIC_DEFAULT".into()));
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
