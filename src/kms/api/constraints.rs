//! What the model asks of the members of a request: that they are there, their lengths, values and patterns. All that a
//! request breaks is told at once, before any key is looked up.

use super::Failure;
use super::fields::{Fields, refuse};
use crate::kms::error::{KmsErrorKind, MAX_PLAINTEXT};
use crate::kms::spec::GrantOperation;
use crate::policy::is_account_id;
use crate::wire::validation::{NOT_NULL, fault, lower_first, told};

/// Most bytes of a ciphertext blob, a signature, a tag.
const MAX_BLOB: usize = 6144;
/// Most bytes of a message to sign or authenticate.
const MAX_MESSAGE: usize = 4096;
/// Most bytes of a public key.
const MAX_PUBLIC_KEY: usize = 8192;
/// Grant tokens of one request.
const MAX_TOKENS: usize = 10;

/// A pattern as AWS words it, and what it takes.
#[derive(Clone, Copy)]
struct Pattern(&'static str, fn(&str) -> bool);

/// What a member must be.
#[derive(Clone, Copy)]
enum Rule {
    /// A text of so many characters.
    Text(usize, usize, Option<Pattern>),
    /// One of the first; refusals name the second.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// At most so many bytes, which refusals do not repeat.
    Blob(usize),
    /// The same, of which not even is told that there is none.
    Secret(usize),
    /// A number within bounds.
    Number(i64, i64),
    /// At most so many texts, each of 1 to so many characters.
    Texts(usize, usize),
    /// Some of these.
    Choices(fn() -> Vec<&'static str>),
    /// Tags.
    Tags,
    /// The constraints of a grant.
    Constraints,
}

/// The members of each operation that anything is asked of; `!` stands behind those that must be there.
const MEMBERS: &[(&str, &str)] = &[
    ("CancelKeyDeletion", "KeyId!"),
    ("ConnectCustomKeyStore", "CustomKeyStoreId!"),
    ("CreateAlias", "AliasName! TargetKeyId!"),
    (
        "CreateGrant",
        "KeyId! GranteePrincipal RetiringPrincipal Operations! Constraints GrantTokens Name GranteeServicePrincipal \
         RetiringServicePrincipal",
    ),
    ("CreateKey", "Policy Description KeyUsage CustomerMasterKeySpec KeySpec Origin CustomKeyStoreId Tags"),
    ("Decapsulate", "KeyId! SharedSecretCiphertextBlob! EncapsulationAlgorithm! GrantTokens"),
    ("Decrypt", "CiphertextBlob GrantTokens KeyId EncryptionAlgorithm DryRunModifiers"),
    ("DeleteAlias", "AliasName!"),
    ("DeleteCustomKeyStore", "CustomKeyStoreId!"),
    ("DeleteImportedKeyMaterial", "KeyId! KeyMaterialId"),
    ("DeriveSharedSecret", "KeyId! KeyAgreementAlgorithm! PublicKey! GrantTokens"),
    ("DescribeCustomKeyStores", "CustomKeyStoreId CustomKeyStoreName Limit Marker"),
    ("DescribeKey", "KeyId! GrantTokens"),
    ("DisableKey", "KeyId!"),
    ("DisableKeyRotation", "KeyId!"),
    ("DisconnectCustomKeyStore", "CustomKeyStoreId!"),
    ("EnableKey", "KeyId!"),
    ("EnableKeyRotation", "KeyId! RotationPeriodInDays"),
    ("Encapsulate", "KeyId! EncapsulationAlgorithm! GrantTokens"),
    ("Encrypt", "KeyId! Plaintext! GrantTokens EncryptionAlgorithm"),
    ("GenerateDataKey", "KeyId! NumberOfBytes KeySpec GrantTokens"),
    ("GenerateDataKeyPair", "KeyId! KeyPairSpec! GrantTokens"),
    ("GenerateDataKeyPairWithoutPlaintext", "KeyId! KeyPairSpec! GrantTokens"),
    ("GenerateDataKeyWithoutPlaintext", "KeyId! KeySpec NumberOfBytes GrantTokens"),
    ("GenerateMac", "Message! KeyId! MacAlgorithm! GrantTokens"),
    ("GenerateRandom", "NumberOfBytes CustomKeyStoreId"),
    ("GetKeyLastUsage", "KeyId!"),
    ("GetKeyPolicy", "KeyId! PolicyName"),
    ("GetKeyRotationStatus", "KeyId!"),
    ("GetParametersForImport", "KeyId! WrappingAlgorithm! WrappingKeySpec!"),
    ("GetPublicKey", "KeyId! GrantTokens"),
    (
        "ImportKeyMaterial",
        "KeyId! ImportToken! EncryptedKeyMaterial! ExpirationModel ImportType KeyMaterialDescription KeyMaterialId",
    ),
    ("ListAliases", "KeyId Limit Marker"),
    ("ListGrants", "Limit Marker KeyId! GrantId GranteePrincipal GranteeServicePrincipal"),
    ("ListKeyPolicies", "KeyId! Limit Marker"),
    ("ListKeyRotations", "KeyId! IncludeKeyMaterial Limit Marker"),
    ("ListKeys", "Limit Marker ResourceOwners"),
    ("ListResourceTags", "KeyId! Limit Marker"),
    ("ListRetirableGrants", "Limit Marker RetiringPrincipal RetiringServicePrincipal"),
    ("PutKeyPolicy", "KeyId! PolicyName Policy!"),
    (
        "ReEncrypt",
        "CiphertextBlob SourceKeyId DestinationKeyId! SourceEncryptionAlgorithm DestinationEncryptionAlgorithm \
         GrantTokens DryRunModifiers",
    ),
    ("ReplicateKey", "KeyId! ReplicaRegion! Policy Description Tags"),
    ("RetireGrant", "GrantToken KeyId GrantId"),
    ("RevokeGrant", "KeyId! GrantId!"),
    ("RotateKeyOnDemand", "KeyId!"),
    ("ScheduleKeyDeletion", "KeyId! PendingWindowInDays"),
    ("Sign", "KeyId! Message! MessageType GrantTokens SigningAlgorithm!"),
    ("TagResource", "KeyId! Tags!"),
    ("UntagResource", "KeyId! TagKeys!"),
    ("UpdateAlias", "AliasName! TargetKeyId!"),
    ("UpdateCustomKeyStore", "CustomKeyStoreId!"),
    ("UpdateKeyDescription", "KeyId! Description!"),
    ("UpdatePrimaryRegion", "KeyId! PrimaryRegion!"),
    ("Verify", "KeyId! Message! MessageType Signature! SigningAlgorithm! GrantTokens"),
    ("VerifyMac", "Message! KeyId! MacAlgorithm! Mac! GrantTokens"),
];

/// Every spec that AWS knows, ours or not. (Orders of values are as recorded on AWS: LocalStack's and floci's tests of KMS.)
const SPECS: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "ECC_NIST_EDWARDS25519",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
/// The specs that GenerateDataKeyPair knows, ours or not.
const PAIR_SPECS: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
/// Every usage that AWS knows, ours or not.
const USAGES: &[&str] =
    &["SIGN_VERIFY", "ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE"];
const ENCRYPTION_ALGORITHMS: &[&str] = &["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE", "SYMMETRIC_DEFAULT"];
const MAC_ALGORITHMS: &[&str] = &["HMAC_SHA_384", "HMAC_SHA_256", "HMAC_SHA_224", "HMAC_SHA_512"];
const SIGNING_ALGORITHMS: &[&str] = &[
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "ECDSA_SHA_256",
    "ECDSA_SHA_384",
    "ECDSA_SHA_512",
    "ED25519_SHA_512",
    "ED25519_PH_SHA_512",
    "SM2DSA",
    "ML_DSA_SHAKE_256",
];
const WRAPPING_ALGORITHMS: &[&str] = &[
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_256",
    "SM2PKE",
];

/// Refuses what breaks the model, all of it at once.
pub(super) fn check(operation: &str, fields: Fields<'_>) -> Result<(), Failure> {
    let members = MEMBERS.iter().find(|(name, _)| *name == operation).map_or("", |(_, members)| members);
    let mut faults = Vec::new();
    for member in members.split_whitespace() {
        let name = member.trim_end_matches('!');
        let rule = rule(operation, name);
        if fields.has(name) {
            faults.extend(rule.faults(name, fields)?.into_iter().map(|fault| (bucket(name), fault)));
        } else if member.ends_with('!') {
            let value = if matches!(rule, Rule::Secret(_)) { None } else { Some("null") };
            faults.push((bucket(name), fault(value, name, NOT_NULL)));
        }
    }
    faults.sort_by_key(|(bucket, _)| *bucket);
    let faults: Vec<String> = faults.into_iter().map(|(_, fault)| fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(refuse(KmsErrorKind::Validation, told(&faults))) }
}

/// Where Java's `HashMap` keeps a member: AWS's front end goes through them in that order, by all that was recorded of its
/// services (IAM's `clientIDList`, `thumbprintList`, `url`; DynamoDB's `writeCapacityUnits`, `readCapacityUnits`; Cognito's
/// `confirmationCode`, `password`).
fn bucket(member: &str) -> u32 {
    let hash = lower_first(member).bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    (hash ^ (hash >> 16)) & 15
}

fn rule(operation: &str, member: &str) -> Rule {
    let text = |least, most| Rule::Text(least, most, None);
    let shaped = |least, most, pattern, takes| Rule::Text(least, most, Some(Pattern(pattern, takes)));
    let choice = |values| Rule::Choice(values, values);
    match member {
        // Recorded on AWS by floci's operationsValidateTheKeyIdMember.
        "KeyId" | "TargetKeyId" | "SourceKeyId" | "DestinationKeyId" => {
            shaped(1, 2048, r"^\p{ASCII}+$", |text| !text.is_empty() && text.is_ascii())
        }
        "AliasName" | "Name" => shaped(1, 256, "^[a-zA-Z0-9:/_-]+$", is_name),
        "GranteePrincipal" | "RetiringPrincipal" => shaped(1, 256, r"^[\w+=,.@:/-]+$", is_principal),
        "GranteeServicePrincipal" | "RetiringServicePrincipal" => {
            shaped(1, 128, r"^([A-Za-z0-9\-]+)\.([A-Za-z0-9\-]+)(\.[A-Za-z0-9\-]+)+$", is_service)
        }
        "Policy" => shaped(1, 131_072, r"[\u0009\u000A\u000D\u0020-\u00FF]+", is_document),
        "PolicyName" => shaped(1, 128, r"[\w]+", |text| !text.is_empty() && text.bytes().all(is_word)),
        "Marker" => shaped(1, 1024, r"[\u0020-\u00FF]*", |text| text.chars().all(|c| matches!(c, ' '..='\u{ff}'))),
        "KeyMaterialId" => {
            shaped(64, 64, "^[a-f0-9]+$", |text| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        }
        "KeyMaterialDescription" => shaped(0, 256, r"^[a-zA-Z0-9:/_\s.-]+$", |text| {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b":/_.-".contains(&b))
        }),
        "ReplicaRegion" | "PrimaryRegion" => shaped(1, 32, r"^([a-z]+-){2,3}\d+$", is_region),
        "CustomKeyStoreId" => text(1, 64),
        "CustomKeyStoreName" => text(1, 256),
        "Description" => text(0, 8192),
        "GrantId" => text(1, 128),
        "GrantToken" => text(1, 8192),
        "Plaintext" => Rule::Secret(MAX_PLAINTEXT),
        "Message" => Rule::Secret(MAX_MESSAGE),
        "PublicKey" => Rule::Blob(MAX_PUBLIC_KEY),
        "CiphertextBlob"
        | "SharedSecretCiphertextBlob"
        | "Signature"
        | "Mac"
        | "ImportToken"
        | "EncryptedKeyMaterial" => Rule::Blob(MAX_BLOB),
        "NumberOfBytes" => Rule::Number(1, 1024),
        // "Its value must be between 1 and 50, inclusive" (API reference, ListResourceTags).
        "Limit" => Rule::Number(1, if operation == "ListResourceTags" { 50 } else { 1000 }),
        "PendingWindowInDays" => Rule::Number(7, 30),
        "RotationPeriodInDays" => Rule::Number(90, 2560),
        "GrantTokens" => Rule::Texts(MAX_TOKENS, 8192),
        "TagKeys" => Rule::Texts(usize::MAX, 128),
        "Tags" => Rule::Tags,
        "Constraints" => Rule::Constraints,
        "Operations" => Rule::Choices(|| GrantOperation::ALL.iter().map(|operation| operation.as_str()).collect()),
        "ResourceOwners" => Rule::Choices(|| vec!["SELF", "OTHER_ACCOUNTS_VIA_RAM"]),
        "DryRunModifiers" => Rule::Choices(|| vec!["IGNORE_CIPHERTEXT"]),
        // Of data keys, refusals name the specs of KMS keys all the same. (Recorded on AWS: boto/boto3 issue 3428.)
        "KeySpec" if operation != "CreateKey" => Rule::Choice(&["AES_256", "AES_128"], SPECS),
        "KeySpec" | "CustomerMasterKeySpec" => choice(SPECS),
        "KeyPairSpec" => choice(PAIR_SPECS),
        "KeyUsage" => choice(USAGES),
        "Origin" => choice(&["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]),
        "EncryptionAlgorithm" | "SourceEncryptionAlgorithm" | "DestinationEncryptionAlgorithm" => {
            choice(ENCRYPTION_ALGORITHMS)
        }
        "MacAlgorithm" => choice(MAC_ALGORITHMS),
        "MessageType" => choice(&["RAW", "DIGEST", "EXTERNAL_MU"]),
        "SigningAlgorithm" => choice(SIGNING_ALGORITHMS),
        "KeyAgreementAlgorithm" => choice(&["ECDH"]),
        "EncapsulationAlgorithm" => choice(&["ML_KEM"]),
        "WrappingAlgorithm" => choice(WRAPPING_ALGORITHMS),
        "WrappingKeySpec" => choice(&["RSA_2048", "RSA_3072", "RSA_4096", "SM2"]),
        "ExpirationModel" => choice(&["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"]),
        "ImportType" => choice(&["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"]),
        "IncludeKeyMaterial" => choice(&["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"]),
        _ => text(0, usize::MAX),
    }
}

impl Rule {
    /// What the member called `name`, which is there, breaks.
    fn faults(self, name: &str, fields: Fields<'_>) -> Result<Vec<String>, Failure> {
        let shown = |value: &str, constraint: &str| fault(Some(&format!("'{value}'")), name, constraint);
        Ok(match self {
            Self::Text(least, most, pattern) => {
                let value = fields.text(name)?.unwrap_or_default();
                text_faults(name, value, (least, most), pattern)
            }
            Self::Choice(taken, told) => {
                let value = fields.text(name)?.unwrap_or_default();
                let is_taken = taken.contains(&value);
                (!is_taken).then(|| shown(value, &one_of(told))).into_iter().collect()
            }
            Self::Blob(most) | Self::Secret(most) => {
                let length = zeroize::Zeroizing::new(fields.required_blob(name)?).len();
                bounds(length, (1, most)).map(|bound| fault(None, name, &bound)).into_iter().collect()
            }
            Self::Number(least, most) => match fields.number(name)?.unwrap_or(least) {
                number if number < least => {
                    vec![shown(&number.to_string(), &format!("have value greater than or equal to {least}"))]
                }
                number if number > most => {
                    vec![shown(&number.to_string(), &format!("have value less than or equal to {most}"))]
                }
                _ => Vec::new(),
            },
            Self::Texts(most, characters) => {
                let texts = fields.texts(name)?;
                let mut faults = Vec::new();
                if !texts.iter().all(|text| (1..=characters).contains(&text.chars().count())) {
                    let constraint = format!(
                        "satisfy constraint: [Member must have length less than or equal to {characters}, Member must \
                         have length greater than or equal to 1]"
                    );
                    faults.push(shown(&listed(&texts), &constraint));
                }
                if texts.len() > most {
                    faults.push(fault(None, name, &format!("have length less than or equal to {most}")));
                }
                faults
            }
            Self::Choices(values) => {
                let (texts, values) = (fields.texts(name)?, values());
                let constraint = format!("satisfy constraint: [Member must {}]", one_of(&values));
                let are_taken = texts.iter().all(|text| values.contains(text));
                (!are_taken).then(|| shown(&listed(&texts), &constraint)).into_iter().collect()
            }
            Self::Tags => {
                let mut faults = Vec::new();
                for (at, item) in (1..).zip(fields.objects(name)?) {
                    for (member, lengths) in [("tagKey", (1, 128)), ("tagValue", (0, 256))] {
                        let path = format!("tags.{at}.member.{member}");
                        match item.text(if member == "tagKey" { "TagKey" } else { "TagValue" })? {
                            Some(value) => faults.extend(text_faults(&path, value, lengths, None)),
                            None => faults.push(fault(Some("null"), &path, NOT_NULL)),
                        }
                    }
                }
                faults
            }
            Self::Constraints => {
                let arn = fields.object(name)?.map(|constraints| constraints.text("SourceArn")).transpose()?.flatten();
                let pattern = Pattern("^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$", is_source);
                arn.map(|arn| text_faults("constraints.sourceArn", arn, (20, 512), Some(pattern))).unwrap_or_default()
            }
        })
    }
}

/// What a text breaks: its length before its pattern. (Recorded on AWS by floci's operationsValidateTheKeyIdMember.)
fn text_faults(path: &str, value: &str, lengths: (usize, usize), pattern: Option<Pattern>) -> Vec<String> {
    let unlike = pattern.filter(|Pattern(_, takes)| !takes(value));
    let unlike = unlike.map(|Pattern(pattern, _)| format!("satisfy regular expression pattern: {pattern}"));
    let broken_rules = bounds(value.chars().count(), lengths).into_iter().chain(unlike);
    broken_rules.map(|constraint| fault(Some(&format!("'{value}'")), path, &constraint)).collect()
}

fn bounds(length: usize, (least, most): (usize, usize)) -> Option<String> {
    if length < least {
        Some(format!("have length greater than or equal to {least}"))
    } else if length > most {
        Some(format!("have length less than or equal to {most}"))
    } else {
        None
    }
}

fn one_of(values: &[&str]) -> String {
    format!("satisfy enum value set: [{}]", values.join(", "))
}

fn listed(texts: &[&str]) -> String {
    format!("[{}]", texts.join(", "))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b))
}

fn is_principal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| is_word(b) || b"+=,.@:/-".contains(&b))
}

fn is_service(text: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.split('.').count() >= 3 && text.split('.').all(is_label)
}

fn is_document(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}'))
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    (2..=3).contains(&words.len())
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Whether it is the ARN of a resource that a request can be on behalf of.
fn is_source(arn: &str) -> bool {
    let is_part = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", partition, service, region, account, resource] => {
            partition.strip_prefix("aws").is_some_and(is_part)
                && !service.is_empty()
                && is_part(service)
                && is_part(region)
                && is_account_id(account)
                && !resource.is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    fn told(operation: &str, document: &Value) -> String {
        check(operation, Fields::new(document).unwrap()).err().map(|failure| failure.message).unwrap_or_default()
    }

    #[test]
    fn refusals_are_worded_as_aws_words_them() {
        let at = "failed to satisfy constraint: Member must";
        let one = |text: &str| format!("1 validation error detected: {text}");
        let long = STANDARD.encode([0; 4097]);
        for (operation, document, expected) in [
            (
                "GenerateRandom",
                json!({"NumberOfBytes": 0}),
                format!("Value '0' at 'numberOfBytes' {at} have value greater than or equal to 1"),
            ),
            (
                "Encrypt",
                json!({"KeyId": "k", "Plaintext": long}),
                format!("Value at 'plaintext' {at} have length less than or equal to 4096"),
            ),
            ("Encrypt", json!({"KeyId": "k"}), format!("Value at 'plaintext' {at} not be null")),
            ("CreateAlias", json!({"AliasName": "alias/x"}), format!("Value null at 'targetKeyId' {at} not be null")),
            (
                "DescribeKey",
                json!({"KeyId": "キー"}),
                format!(r"Value 'キー' at 'keyId' {at} satisfy regular expression pattern: ^\p{{ASCII}}+$"),
            ),
            (
                "GenerateMac",
                json!({"KeyId": "k", "Message": "AA==", "MacAlgorithm": "x"}),
                format!(
                    "Value 'x' at 'macAlgorithm' {at} satisfy enum value set: [HMAC_SHA_384, HMAC_SHA_256, HMAC_SHA_224, HMAC_SHA_512]"
                ),
            ),
        ] {
            assert_eq!(told(operation, &document), one(&expected), "{operation}");
        }
        let told = told("GenerateDataKey", &json!({"KeyId": "k", "KeySpec": "RSA_2048"}));
        assert!(told.contains("enum value set: [RSA_2048, RSA_3072, "), "{told}");
    }

    #[test]
    fn all_that_a_request_breaks_is_told_at_once() {
        let at = "failed to satisfy constraint: Member must";
        // Recorded on AWS by floci's operationsValidateTheKeyIdMember.
        assert_eq!(
            told("GetPublicKey", &json!({"KeyId": ""})),
            format!(
                r"2 validation errors detected: Value '' at 'keyId' {at} have length greater than or equal to 1; Value '' at 'keyId' {at} satisfy regular expression pattern: ^\p{{ASCII}}+$"
            )
        );
        let told = told("VerifyMac", &json!({}));
        assert!(told.starts_with("4 validation errors detected: Value"), "{told}");
        // The orders that were recorded.
        for names in [["clientIDList", "url"], ["thumbprintList", "url"], ["writeCapacityUnits", "readCapacityUnits"]] {
            assert!(bucket(names[0]) < bucket(names[1]), "{names:?}");
        }
    }

    #[test]
    fn each_operation_that_is_served_is_in_the_table() {
        for operation in super::super::OPERATIONS {
            let is_served = matches!(operation.offer, super::super::Offer::Served(_));
            assert_eq!(MEMBERS.iter().any(|(name, _)| *name == operation.name), is_served, "{}", operation.name);
        }
    }
}
