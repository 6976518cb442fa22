//! The KMS API as its clients meet it: signed requests through [`Protocol`], bodies and errors as AWS's.

use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::audit::Audit;
use crate::clock::{Clock as _, ManualClock, from_millis};
use crate::crypto::SecretBytes;
use crate::crypto::digest::sha256;
use crate::crypto::random::SeededEntropy;
use crate::iam::Account;
use crate::kms::error::MAX_PLAINTEXT;
use crate::kms::root::RootKey;
use crate::kms::{EncryptionContext, KeyRef, Kms as _};
use crate::sigv4::Signer;
use crate::store::memory::MemoryStore;
use crate::wire::RequestId;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const REGION: &str = "eu-test-1";
const ACCOUNT: &str = "111122223333";
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const OTHER_ACCESS_KEY: &str = "AKIAI44QH8DHBEXAMPLE";
const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const ONE_ERROR: &str = "1 validation error detected: ";

struct Fixture {
    api: KmsApi,
    clock: Arc<ManualClock>,
}

impl Fixture {
    async fn new() -> Self {
        let entropy = Arc::new(SeededEntropy::new(1));
        let clock = Arc::new(ManualClock::new(from_millis(1_700_000_000_500)));
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy) as _));
        let root = Arc::new(RootKey::parse(STANDARD.encode([7; 32]).as_bytes()).unwrap());
        let kms = LocalKms::open(store, root, Arc::clone(&clock) as _, entropy, REGION.to_owned()).await.unwrap();
        let mut directory = Directory::default();
        for (id, access_key) in [(ACCOUNT, ACCESS_KEY), ("444455556666", OTHER_ACCESS_KEY)] {
            let account = Account {
                id: id.to_owned(),
                canonical_id: "c".repeat(64),
                display_name: "root".to_owned(),
                email: String::new(),
            };
            directory.add_root(account, access_key.to_owned(), SecretBytes::new(SECRET.to_vec()));
        }
        let keys = Arc::new(SigningKeys::new(16));
        let patience = Duration::from_secs(5);
        let api = {
            let ground = (Arc::clone(&clock) as _, Arc::new(SeededEntropy::new(9)) as _);
            KmsApi::new(Arc::new(kms), Arc::new(directory), keys, Arc::new(Audit::off()), ground, patience)
        };
        Self { api, clock }
    }

    /// The answer to any request: its status and document.
    async fn send(&self, request: Request<Bytes>) -> (StatusCode, Value) {
        let cx = RequestContext {
            id: RequestId::draw(&SeededEntropy::new(2)),
            received: self.clock.now(),
            peer: ([127, 0, 0, 1], 1).into(),
            tls: None,
            client: std::net::IpAddr::from([127, 0, 0, 1]),
            forwarded_over_tls: false,
        };
        let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let response = self.api.call(&cx, request).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-amz-json-1.1");
        assert_eq!(response.headers()["x-amzn-requestid"], cx.id.id);
        let answered = response.extensions().get::<Answered>().unwrap().clone();
        assert_eq!(answered.protocol, "kms");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let document = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        assert_eq!(answered.error_code, document["__type"].as_str());
        assert_eq!(status == StatusCode::OK, answered.error_code.is_none());
        (status, document)
    }

    fn request(operation: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        let target = format!("TrentService.{operation}");
        let request = Request::post("https://kms.example.com/").header("x-amz-target", target);
        request.header(CONTENT_TYPE, "application/x-amz-json-1.1").body(body.into()).unwrap()
    }

    fn signed_by(&self, access_key_id: &str, secret: &[u8], mut request: Request<Bytes>) -> Request<Bytes> {
        let signer = Signer { access_key_id, secret, session_token: None, region: REGION, service: Service::KMS };
        let hash = hex::encode(sha256(request.body()));
        signer.sign(&mut request, &hash, self.clock.now()).unwrap();
        request
    }

    async fn raw(&self, operation: &str, body: impl Into<Bytes>) -> (StatusCode, Value) {
        self.send(self.signed_by(ACCESS_KEY, SECRET, Self::request(operation, body))).await
    }

    /// What a successful operation answers.
    async fn call(&self, operation: &str, members: Value) -> Value {
        let (status, document) = self.raw(operation, members.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{operation}: {document}");
        document
    }

    /// The exception and text of one that is refused with 400.
    async fn refused(&self, operation: &str, members: Value) -> (String, String) {
        refusal(self.raw(operation, members.to_string()).await)
    }

    async fn make_key(&self) -> (String, String) {
        let metadata = self.call("CreateKey", json!({})).await["KeyMetadata"].take();
        (text(&metadata, "KeyId"), text(&metadata, "Arn"))
    }
}

#[tokio::test]
async fn a_key_lives_its_life() {
    let fixture = Fixture::new().await;
    let members =
        json!({"Description": "d", "Tags": [{"TagKey": "team", "TagValue": "red"}], "KeySpec": "SYMMETRIC_DEFAULT"});
    let made = fixture.call("CreateKey", members).await["KeyMetadata"].take();
    let (id, arn) = (text(&made, "KeyId"), text(&made, "Arn"));
    assert_eq!(arn, format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}"));
    let material = text(&made, "CurrentKeyMaterialId");
    assert_eq!(material.len(), 64);
    let expected = json!({
        "AWSAccountId": ACCOUNT, "KeyId": id, "Arn": arn, "CreationDate": 1_700_000_000.5, "Enabled": true,
        "Description": "d", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled", "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": false, "CurrentKeyMaterialId": material,
    });
    assert_eq!(made, expected);
    assert_eq!(fixture.call("DescribeKey", json!({"KeyId": arn})).await, json!({"KeyMetadata": expected}));
    let tags = fixture.call("ListResourceTags", json!({"KeyId": id})).await;
    assert_eq!(tags, json!({"Tags": [{"TagKey": "team", "TagValue": "red"}], "Truncated": false}));
    let policy = fixture.call("GetKeyPolicy", json!({"KeyId": id, "PolicyName": "default"})).await;
    assert_eq!(policy["PolicyName"], "default");
    let policy: Value = serde_json::from_str(policy["Policy"].as_str().unwrap()).unwrap();
    assert_eq!(policy["Statement"][0]["Principal"]["AWS"], format!("arn:aws:iam::{ACCOUNT}:root"));
    let policies = fixture.call("ListKeyPolicies", json!({"KeyId": id})).await;
    assert_eq!(policies, json!({"PolicyNames": ["default"], "Truncated": false}));
    let rotation = fixture.call("GetKeyRotationStatus", json!({"KeyId": id})).await;
    assert_eq!(rotation, json!({"KeyRotationEnabled": false, "KeyId": arn}));

    let state = async || text(&fixture.call("DescribeKey", json!({"KeyId": id})).await["KeyMetadata"], "KeyState");
    assert_eq!(fixture.call("DisableKey", json!({"KeyId": id})).await, Value::Null);
    assert_eq!(state().await, "Disabled");
    let told = fixture.refused("GenerateDataKey", json!({"KeyId": id, "KeySpec": "AES_256"})).await;
    assert_eq!(told, ("DisabledException".to_owned(), format!("{arn} is disabled.")));
    assert_eq!(fixture.call("EnableKey", json!({"KeyId": arn})).await, Value::Null);
    assert_eq!(state().await, "Enabled");
    let pending = fixture.call("ScheduleKeyDeletion", json!({"KeyId": id, "PendingWindowInDays": 7})).await;
    let date = 1_700_000_000.5 + 7.0 * 86_400.0;
    let expected = json!({"KeyId": arn, "DeletionDate": date, "KeyState": "PendingDeletion", "PendingWindowInDays": 7});
    assert_eq!(pending, expected);
    let told = fixture.refused("EnableKey", json!({"KeyId": id})).await;
    assert_eq!(told, ("KMSInvalidStateException".to_owned(), format!("{arn} is pending deletion.")));
    let described = fixture.call("DescribeKey", json!({"KeyId": id})).await["KeyMetadata"].take();
    assert_eq!((&described["DeletionDate"], &described["Enabled"]), (&json!(date), &json!(false)));
    assert_eq!(fixture.call("CancelKeyDeletion", json!({"KeyId": id})).await, json!({"KeyId": arn}));
    assert_eq!(state().await, "Disabled");
    let unbounded = fixture.call("ScheduleKeyDeletion", json!({"KeyId": id})).await;
    assert_eq!(unbounded["PendingWindowInDays"], 30);
}

#[tokio::test]
async fn ciphertexts_come_and_go() {
    let fixture = Fixture::new().await;
    let ((one, one_arn), (other, other_arn)) = (fixture.make_key().await, fixture.make_key().await);
    let context = json!({"team": "red"});
    let plaintext = STANDARD.encode(b"secret");
    let encrypted =
        fixture.call("Encrypt", json!({"KeyId": one, "Plaintext": plaintext, "EncryptionContext": context})).await;
    assert_eq!(
        (&encrypted["KeyId"], &encrypted["EncryptionAlgorithm"]),
        (&json!(one_arn), &json!("SYMMETRIC_DEFAULT"))
    );
    let blob = text(&encrypted, "CiphertextBlob");
    let opened = fixture.call("Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": context})).await;
    assert_eq!((&opened["Plaintext"], &opened["KeyId"]), (&json!(plaintext), &json!(one_arn)));
    let moved = fixture
        .call(
            "ReEncrypt",
            json!({"CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationKeyId": other}),
        )
        .await;
    assert_eq!((&moved["SourceKeyId"], &moved["KeyId"]), (&json!(one_arn), &json!(other_arn)));
    assert_eq!(moved["SourceKeyMaterialId"], opened["KeyMaterialId"]);
    let reopened = fixture.call("Decrypt", json!({"CiphertextBlob": moved["CiphertextBlob"], "KeyId": other})).await;
    assert_eq!(reopened["Plaintext"], json!(plaintext));
    assert_eq!(reopened["KeyMaterialId"], moved["DestinationKeyMaterialId"]);

    let wrong = fixture.refused("Decrypt", json!({"CiphertextBlob": blob})).await;
    assert_eq!(wrong, ("InvalidCiphertextException".to_owned(), String::new()));
    let members = json!({"CiphertextBlob": blob, "EncryptionContext": context, "KeyId": other});
    let told = "The key ID in the request does not identify a CMK that can perform this operation.";
    assert_eq!(fixture.refused("Decrypt", members).await, ("IncorrectKeyException".to_owned(), told.to_owned()));

    for (members, length) in [
        (json!({"KeySpec": "AES_256"}), 32),
        (json!({"KeySpec": "AES_128"}), 16),
        (json!({"NumberOfBytes": 1024}), 1024),
    ] {
        let mut members = members;
        members["KeyId"] = one.clone().into();
        let generated = fixture.call("GenerateDataKey", members.clone()).await;
        assert_eq!(STANDARD.decode(text(&generated, "Plaintext")).unwrap().len(), length);
        let opened = fixture.call("Decrypt", json!({"CiphertextBlob": generated["CiphertextBlob"]})).await;
        assert_eq!(opened["Plaintext"], generated["Plaintext"]);
        let hidden = fixture.call("GenerateDataKeyWithoutPlaintext", members).await;
        assert!(hidden.get("Plaintext").is_none());
        let opened = fixture.call("Decrypt", json!({"CiphertextBlob": hidden["CiphertextBlob"]})).await;
        assert_eq!(STANDARD.decode(text(&opened, "Plaintext")).unwrap().len(), length);
    }
    let random = |n: usize| json!({"NumberOfBytes": n});
    for length in [1, 1024] {
        let drawn = text(&fixture.call("GenerateRandom", random(length)).await, "Plaintext");
        assert_eq!(STANDARD.decode(drawn).unwrap().len(), length);
    }
}

#[tokio::test]
async fn dry_runs_do_nothing() {
    let fixture = Fixture::new().await;
    let (key, arn) = fixture.make_key().await;
    let blob = text(&fixture.call("Encrypt", json!({"KeyId": key, "Plaintext": "cw=="})).await, "CiphertextBlob");
    let runs = [
        ("Encrypt", json!({"KeyId": key, "Plaintext": "cw=="})),
        ("Decrypt", json!({"CiphertextBlob": blob})),
        ("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": key})),
        ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("GenerateDataKeyWithoutPlaintext", json!({"KeyId": key, "KeySpec": "AES_256"})),
    ];
    let told = "The request would have succeeded, but the DryRun option is set.";
    for (operation, mut members) in runs.clone() {
        members["DryRun"] = true.into();
        let expected = ("DryRunOperationException".to_owned(), told.to_owned());
        assert_eq!(fixture.refused(operation, members).await, expected, "{operation}");
    }
    fixture.call("DisableKey", json!({"KeyId": key})).await;
    for (operation, mut members) in runs {
        members["DryRun"] = true.into();
        let expected = ("DisabledException".to_owned(), format!("{arn} is disabled."));
        assert_eq!(fixture.refused(operation, members).await, expected, "{operation} would not have succeeded");
    }
}

#[tokio::test]
async fn aliases_and_listings() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fixture.make_key().await.0);
    }
    for name in ["alias/e", "alias/a", "alias/c/d", "alias/b"] {
        assert_eq!(fixture.call("CreateAlias", json!({"AliasName": name, "TargetKeyId": ids[0]})).await, Value::Null);
    }
    assert_eq!(fixture.call("UpdateAlias", json!({"AliasName": "alias/b", "TargetKeyId": ids[1]})).await, Value::Null);
    let arn = |name: &str| format!("arn:aws:kms:{REGION}:{ACCOUNT}:{name}");
    for (name, id) in [("alias/a", &ids[0]), ("alias/b", &ids[1])] {
        for name in [name.to_owned(), arn(name)] {
            let described = fixture.call("DescribeKey", json!({"KeyId": name})).await;
            assert_eq!(described["KeyMetadata"]["KeyId"], json!(id));
        }
    }
    for limit in [1, 2, 4, 100] {
        let aliases = pages(&fixture, "ListAliases", "Aliases", limit, "AliasName").await;
        assert_eq!(aliases, ["alias/a", "alias/b", "alias/c/d", "alias/e"]);
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(pages(&fixture, "ListKeys", "Keys", limit, "KeyId").await, sorted);
    }
    let of = fixture.call("ListAliases", json!({"KeyId": ids[1]})).await;
    let at = json!(1_700_000_000.5);
    let entry = json!({"AliasName": "alias/b", "AliasArn": arn("alias/b"), "TargetKeyId": ids[1],
        "CreationDate": at, "LastUpdatedDate": at});
    assert_eq!(of, json!({"Aliases": [entry], "Truncated": false}));
    assert_eq!(fixture.call("DeleteAlias", json!({"AliasName": "alias/b"})).await, Value::Null);
    let gone = ("NotFoundException".to_owned(), format!("Alias {} is not found.", arn("alias/b")));
    assert_eq!(fixture.refused("DeleteAlias", json!({"AliasName": "alias/b"})).await, gone);

    let managed = fixture.call("DescribeKey", json!({"KeyId": arn("alias/aws/s3")})).await["KeyMetadata"].take();
    assert_eq!(managed["KeyManager"], "AWS");
    assert_eq!(managed["Description"], "Default key that protects my S3 objects when no other key is defined");
    assert_eq!(fixture.call("DescribeKey", json!({"KeyId": "alias/aws/s3"})).await["KeyMetadata"], managed);
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let fixture = Fixture::new().await;
    let request = || Fixture::request("ListKeys", "{}");
    let refused = async |request| refusal(fixture.send(request).await);
    assert_eq!(refused(request()).await.0, "MissingAuthenticationTokenException");
    let forged = fixture.signed_by(ACCESS_KEY, b"another secret", request());
    let (kind, message) = refused(forged).await;
    assert_eq!(kind, "InvalidSignatureException");
    assert!(message.starts_with("The request signature we calculated does not match"), "{message}");
    let mut changed = fixture.signed_by(ACCESS_KEY, SECRET, request());
    *changed.body_mut() = Bytes::from_static(b"{ }");
    assert_eq!(refused(changed).await.0, "InvalidSignatureException");
    let mut redirected = fixture.signed_by(ACCESS_KEY, SECRET, request());
    redirected.headers_mut().insert("x-amz-target", HeaderValue::from_static("TrentService.CreateKey"));
    assert_eq!(refused(redirected).await.0, "InvalidSignatureException");
    let unknown = fixture.signed_by("AKIAUNKNOWN", SECRET, request());
    let told = "The security token included in the request is invalid.";
    assert_eq!(refused(unknown).await, ("UnrecognizedClientException".to_owned(), told.to_owned()));
    let mut malformed = request();
    malformed.headers_mut().insert("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 nonsense"));
    assert_eq!(refused(malformed).await.0, "IncompleteSignatureException");
    let old = fixture.signed_by(ACCESS_KEY, SECRET, request());
    fixture.clock.advance(3600);
    assert_eq!(refused(old).await.0, "InvalidSignatureException");

    let (key, arn) = fixture.make_key().await;
    let request = Fixture::request("DescribeKey", json!({"KeyId": arn}).to_string());
    let other = fixture.signed_by(OTHER_ACCESS_KEY, SECRET, request);
    assert_eq!(refused(other).await.0, "AccessDeniedException");
    assert!(!fixture.call("ListKeys", json!({})).await["Keys"].as_array().unwrap().is_empty(), "{key}");
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let fixture = Fixture::new().await;
    for operation in ["MadeUp", "", "decrypt"] {
        assert_eq!(refusal(fixture.raw(operation, "{}").await).0, "UnknownOperationException");
    }
    let mut other_service = Fixture::request("ListKeys", "{}");
    other_service.headers_mut().insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.ListTables"));
    let other_service = fixture.signed_by(ACCESS_KEY, SECRET, other_service);
    assert_eq!(refusal(fixture.send(other_service).await).0, "UnknownOperationException");
    let mut got = Fixture::request("ListKeys", "");
    *got.method_mut() = Method::GET;
    let got = fixture.signed_by(ACCESS_KEY, SECRET, got);
    assert_eq!(refusal(fixture.send(got).await).0, "UnknownOperationException");
    for operation in OPERATIONS.iter().filter(|operation| matches!(operation.offer, Offer::Refused)) {
        let (kind, message) = fixture.refused(operation.name, json!({})).await;
        assert_eq!(kind, "UnsupportedOperationException");
        assert_eq!(message, format!("{} is not supported by this key service.", operation.name));
    }
    let deep = "[".repeat(100_000);
    for body in ["{", "[]", "\"text\"", "null", "{\"KeyId\": \"\u{0}\"}", &deep, "{} {}"] {
        assert_eq!(
            refusal(fixture.raw("DescribeKey", body.to_owned()).await).0,
            "SerializationException",
            "{body:.20}"
        );
    }
    let mistyped = [
        ("DescribeKey", json!({"KeyId": 7})),
        ("Decrypt", json!({"CiphertextBlob": "*not base64*"})),
        ("Decrypt", json!({"CiphertextBlob": "AQ==", "EncryptionContext": ["a"]})),
        ("Decrypt", json!({"CiphertextBlob": "AQ==", "EncryptionContext": {"a": 1}})),
        ("GenerateRandom", json!({"NumberOfBytes": "many"})),
        ("GenerateRandom", json!({"NumberOfBytes": 1e300})),
        ("Decrypt", json!({"CiphertextBlob": "AQ==", "DryRun": "yes"})),
        ("CreateKey", json!({"Tags": {"a": "b"}})),
        ("CreateKey", json!({"Tags": ["a"]})),
    ];
    let (key, _) = fixture.make_key().await;
    for (operation, mut members) in mistyped {
        if operation == "Decrypt" && members.get("DryRun").is_some() {
            members["CiphertextBlob"] =
                fixture.call("Encrypt", json!({"KeyId": key, "Plaintext": "cw=="})).await["CiphertextBlob"].take();
        }
        assert_eq!(
            fixture.refused(operation, members.clone()).await.0,
            "SerializationException",
            "{operation} {members}"
        );
    }
    let large = Bytes::from(vec![b' '; MAX_REQUEST + 1]);
    assert_eq!(fixture.raw("ListKeys", large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(fixture.raw("ListKeys", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn refusals_are_worded_as_aws_words_them() {
    const PREFIX: &str = "Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
    const NO_ALIASES: &str = "Key Aliases are not supported for this operation.";
    const NOT_BOTH: &str = "Please specify either number of bytes or key spec";
    let fixture = Fixture::new().await;
    let (key, arn) = fixture.make_key().await;
    let tag = |key: &str| json!({"TagKey": key, "TagValue": "v"});
    let many: Vec<Value> = (0..51).map(|n| tag(&n.to_string())).collect();
    let at = |name: &str, value: &str, constraint: &str| {
        format!("{ONE_ERROR}Value '{value}' at '{name}' failed to satisfy constraint: Member must have {constraint}")
    };
    let long = STANDARD.encode([0; MAX_PLAINTEXT + 1]);
    let alias = |name: &str, target: &str| json!({"AliasName": name, "TargetKeyId": target});
    let cases: Vec<(&str, Value, &str, String)> = vec![
        ("GenerateRandom", json!({}), "ValidationException", "NumberOfBytes is required.".to_owned()),
        (
            "GenerateRandom",
            json!({"NumberOfBytes": 0}),
            "ValidationException",
            at("numberOfBytes", "0", "value greater than or equal to 1"),
        ),
        (
            "GenerateRandom",
            json!({"NumberOfBytes": 1025}),
            "ValidationException",
            at("numberOfBytes", "1025", "value less than or equal to 1024"),
        ),
        (
            "ScheduleKeyDeletion",
            json!({"KeyId": key, "PendingWindowInDays": 6}),
            "ValidationException",
            at("pendingWindowInDays", "6", "value greater than or equal to 7"),
        ),
        (
            "ScheduleKeyDeletion",
            json!({"KeyId": key, "PendingWindowInDays": 31}),
            "ValidationException",
            at("pendingWindowInDays", "31", "value less than or equal to 30"),
        ),
        ("ListKeys", json!({"Limit": 0}), "ValidationException", at("limit", "0", "value greater than or equal to 1")),
        (
            "ListAliases",
            json!({"Limit": 1001}),
            "ValidationException",
            at("limit", "1001", "value less than or equal to 1000"),
        ),
        (
            "Encrypt",
            json!({"KeyId": key, "Plaintext": long}),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"
            ),
        ),
        ("GenerateDataKey", json!({"KeyId": key}), "ValidationException", format!("{NOT_BOTH}.")),
        (
            "GenerateDataKey",
            json!({"KeyId": key, "KeySpec": "AES_256", "NumberOfBytes": 32}),
            "ValidationException",
            format!("{NOT_BOTH}."),
        ),
        ("CreateAlias", alias("red", &key), "ValidationException", PREFIX.to_owned()),
        (
            "CreateAlias",
            alias("alias/r d", &key),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value 'alias/r d' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
            ),
        ),
        (
            "CreateAlias",
            alias("alias/r:d", &key),
            "ValidationException",
            "alias/r:d contains invalid characters for an alias".to_owned(),
        ),
        (
            "CreateAlias",
            alias("alias/red", "alias/blue"),
            "ValidationException",
            "Aliases must refer to keys. Not aliases".to_owned(),
        ),
        (
            "CreateKey",
            json!({"KeySpec": "RSA_2048"}),
            "ValidationException",
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.".to_owned(),
        ),
        (
            "CreateKey",
            json!({"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}),
            "UnsupportedOperationException",
            "KeySpec SM2 is not supported in this Region".to_owned(),
        ),
        (
            "CreateKey",
            json!({"KeyUsage": "SIGN_VERIFY"}),
            "ValidationException",
            "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT".to_owned(),
        ),
        (
            "CreateKey",
            json!({"Origin": "AWS_CLOUDHSM"}),
            "UnsupportedOperationException",
            "Origin AWS_CLOUDHSM is not supported by this key service.".to_owned(),
        ),
        (
            "CreateKey",
            json!({"Policy": "{}"}),
            "MalformedPolicyDocumentException",
            "Missing required field Statement".to_owned(),
        ),
        ("CreateKey", json!({"Tags": [tag("a"), tag("a")]}), "TagException", "Duplicate tag keys".to_owned()),
        ("CreateKey", json!({"Tags": [tag("a"), tag("A")]}), "TagException", "Duplicate tag keys".to_owned()),
        (
            "CreateKey",
            json!({"Tags": [tag("aws:a")]}),
            "TagException",
            "Tags beginning with aws: are reserved".to_owned(),
        ),
        ("CreateKey", json!({"Tags": many}), "TagException", "Too many tags".to_owned()),
        (
            "CreateKey",
            json!({"Tags": [tag("aws:a"), tag("")]}),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value '' at 'tags.2.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1"
            ),
        ),
        (
            "TagResource",
            json!({"KeyId": key, "Tags": [{"TagKey": "a"}]}),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value null at 'tags.1.member.tagValue' failed to satisfy constraint: Member must not be null"
            ),
        ),
        (
            "UntagResource",
            json!({"KeyId": key, "TagKeys": ["a", ""]}),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value '[a, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"
            ),
        ),
        (
            "Encrypt",
            json!({"KeyId": key, "Plaintext": STANDARD.encode([0]), "GrantTokens": [""]}),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value '[]' at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 8192, Member must have length greater than or equal to 1]"
            ),
        ),
        ("DescribeKey", json!({"KeyId": "fake-key-id"}), "NotFoundException", "Invalid keyId 'fake-key-id'".to_owned()),
        (
            "DescribeKey",
            json!({"KeyId": "mrk-0123456789abcdef0123456789abcdef"}),
            "NotFoundException",
            format!("Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/mrk-0123456789abcdef0123456789abcdef' does not exist"),
        ),
        (
            "DescribeKey",
            json!({"KeyId": arn.replace(REGION, "us-west-2")}),
            "NotFoundException",
            "Invalid arn us-west-2".to_owned(),
        ),
        (
            "DescribeKey",
            json!({}),
            "ValidationException",
            format!("{ONE_ERROR}Value null at 'keyId' failed to satisfy constraint: Member must not be null"),
        ),
        ("EnableKey", json!({"KeyId": "alias/red"}), "InvalidArnException", NO_ALIASES.to_owned()),
        (
            "EnableKey",
            json!({"KeyId": arn.replace(&format!("key/{key}"), "alias/red")}),
            "InvalidArnException",
            NO_ALIASES.to_owned(),
        ),
        (
            "DescribeKey",
            json!({"KeyId": arn.replace(&key, "foo")}),
            "NotFoundException",
            "Invalid keyId foo".to_owned(),
        ),
        (
            "CancelKeyDeletion",
            json!({"KeyId": key}),
            "KMSInvalidStateException",
            format!("{arn} is not pending deletion."),
        ),
        (
            "CreateGrant",
            json!({
                "KeyId": key, "GranteePrincipal": "111122223333", "Operations": ["Decrypt"],
                "Constraints": {"SourceArn": "a"},
            }),
            "ValidationException",
            "2 validation errors detected: Value 'a' at 'constraints.sourceArn' failed to satisfy constraint: Member must have length greater than or equal to 20; Value 'a' at 'constraints.sourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: ^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$".to_owned(),
        ),
        (
            "CreateGrant",
            json!({
                "KeyId": key, "GranteePrincipal": "111122223333", "Operations": ["Decrypt"],
                "Constraints": {"SourceArn": "arn:aws:s3:::any-bucket-at-all"},
            }),
            "ValidationException",
            format!(
                "{ONE_ERROR}Value 'arn:aws:s3:::any-bucket-at-all' at 'constraints.sourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: ^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{{12}}:.+$"
            ),
        ),
        ("Decrypt", json!({"CiphertextBlob": STANDARD.encode([2; 200])}), "InvalidCiphertextException", String::new()),
        (
            "Decrypt",
            json!({"CiphertextBlob": STANDARD.encode([1; 200])}),
            "AccessDeniedException",
            "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are \
             not allowed to access."
                .to_owned(),
        ),
    ];
    for (operation, members, kind, message) in cases {
        let told = fixture.refused(operation, members.clone()).await;
        assert_eq!(told, (kind.to_owned(), message), "{operation} {members:.80}");
    }
    for operation in ["CreateAlias", "UpdateAlias", "DeleteAlias"] {
        let told = fixture.refused(operation, alias("alias/aws/s3", &key)).await;
        assert_eq!(told.0, "NotAuthorizedException", "{operation}");
    }
    assert_eq!(fixture.call("ListKeys", json!({})).await["Keys"].as_array().unwrap().len(), 1, "none was made");
    let most: Vec<Value> = (0..50).map(|n| tag(&n.to_string())).collect();
    fixture.call("CreateKey", json!({"Tags": most})).await;
}

/// What S3 wrapped under a key of the account can be opened by its owner through the API, and not through a managed key.
#[tokio::test]
async fn what_s3_wraps_the_api_opens() {
    let fixture = Fixture::new().await;
    let (key, _) = fixture.make_key().await;
    let s3 = Caller::root_of(ACCOUNT, Some(format!("s3.{REGION}.amazonaws.com")), "R");
    let context = EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::b/k");
    let open = |blob: &[u8]| json!({"CiphertextBlob": STANDARD.encode(blob), "EncryptionContext": context.pairs()});
    let own = fixture.api.kms.generate_data_key(&s3, &KeyRef::parse(&key), &context).await.unwrap();
    let opened = fixture.call("Decrypt", open(&own.wrapped.blob)).await;
    assert_eq!(text(&opened, "Plaintext"), STANDARD.encode(own.key.expose().expose()));
    let managed = fixture.api.kms.generate_data_key(&s3, &KeyRef::aws_s3(), &context).await.unwrap();
    assert_eq!(fixture.refused("Decrypt", open(&managed.wrapped.blob)).await.0, "AccessDeniedException");
}

proptest! {
    /// Whatever the members hold, every operation answers, in the form of the protocol and without failing itself.
    #[test]
    fn any_members_are_answered(name in 0..OPERATIONS.len(), members in members()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (status, document) = Fixture::new().await.raw(OPERATIONS[name].name, members.to_string()).await;
            assert!(!status.is_server_error(), "{document}");
        });
    }

    #[test]
    fn any_body_is_answered(name in 0..OPERATIONS.len(), body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (status, document) = Fixture::new().await.raw(OPERATIONS[name].name, body).await;
            assert!(!status.is_server_error(), "{document}");
        });
    }
}

/// Objects with the members that operations read, of any type and value.
fn members() -> impl Strategy<Value = Value> {
    const NAMES: &[&str] = &[
        "AliasName",
        "CiphertextBlob",
        "Description",
        "DestinationKeyId",
        "DryRun",
        "EncryptionContext",
        "KeyId",
        "KeySpec",
        "KeyUsage",
        "Limit",
        "Marker",
        "NumberOfBytes",
        "PendingWindowInDays",
        "Plaintext",
        "Tags",
        "TargetKeyId",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from("alias/aws/s3")),
        Just(Value::from("AES_256")),
        Just(Value::from("arn:aws:kms:eu-test-1:111122223333:key/")),
        proptest::collection::vec(any::<u8>(), 0..120).prop_map(|bytes| STANDARD.encode(bytes).into()),
    ];
    let value = leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z:]{0,8}", inner, 0..4).prop_map(Value::from_iter),
        ]
    });
    proptest::collection::btree_map(proptest::sample::select(NAMES), value, 0..8).prop_map(Value::from_iter)
}

/// The values of `member` in all pages of a listing.
async fn pages(fixture: &Fixture, operation: &str, list: &str, limit: usize, member: &str) -> Vec<String> {
    let (mut all, mut marker) = (Vec::new(), None::<Value>);
    loop {
        let mut page = fixture.call(operation, json!({"Limit": limit, "Marker": marker})).await;
        let items = page[list].take();
        let items = items.as_array().unwrap();
        assert!(items.len() <= limit && !items.is_empty());
        all.extend(items.iter().map(|item| text(item, member)));
        marker = page.get("NextMarker").cloned();
        assert_eq!(page["Truncated"], marker.is_some());
        if marker.is_none() {
            return all;
        }
    }
}

fn refusal((status, document): (StatusCode, Value)) -> (String, String) {
    assert_eq!(status, StatusCode::BAD_REQUEST, "{document}");
    assert_ne!(document["message"], "", "what has no text has no such member");
    (text(&document, "__type"), document["message"].as_str().unwrap_or_default().to_owned())
}

fn text(document: &Value, member: &str) -> String {
    document[member].as_str().unwrap_or_else(|| panic!("{member} in {document}")).to_owned()
}
