//! The common suite against a real server, and what is transit's own.

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::crypto::random::{self, SystemEntropy};
use crate::kms::conformance::{self, Subject, UNKNOWN};
use crate::kms::peers;

const REGION: &str = "eu-test-1";
const ACCOUNT: &str = "111122223333";
const SERVICE: &str = "bao";

conformance::suite!(Fixture::new());

struct Fixture {
    kms: TransitKms,
    mount: String,
    entropy: SharedEntropy,
}

fn caller() -> Caller {
    Caller::root_of(ACCOUNT, Some(format!("s3.{REGION}.amazonaws.com")), "r")
}

fn server(address: &str, login: Login) -> Server {
    Server { address: address.to_owned(), namespace: None, ca_file: None, login }
}

fn root_token() -> Login {
    Login::Token(TokenSource::Given(SecretBytes::new(peers::BAO_TOKEN.as_bytes().to_vec())))
}

fn settings(mount: &str) -> Settings {
    Settings {
        mount: mount.to_owned(),
        service: SERVICE.to_owned(),
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        default_key: Some("default".to_owned()),
        create_default_key: true,
    }
}

impl Fixture {
    /// An engine of its own on the real server.
    async fn new() -> Option<Self> {
        let address = peers::bao().await?;
        let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
        let mount = format!("transit-{}", hex::encode(random::bytes::<6>(&*entropy)));
        let kms = TransitKms::new(server(address, root_token()), settings(&mount), Arc::clone(&entropy)).unwrap();
        let fixture = Self { kms, mount, entropy };
        fixture.post(&format!("sys/mounts/{}", fixture.mount), r#"{"type":"transit"}"#).await;
        Some(fixture)
    }

    async fn post(&self, path: &str, body: &str) -> Vec<u8> {
        let body = Some(Zeroizing::new(body.as_bytes().to_vec()));
        self.kms.client.ask(Method::POST, path, body).await.unwrap().to_vec()
    }

    async fn make(&self, name: &str, body: &str) -> KeyArn {
        self.post(&format!("{}/keys/{name}", self.mount), body).await;
        self.kms.arn(name)
    }

    /// The same engine for somebody else.
    fn with(&self, login: Login) -> TransitKms {
        let server = server(&self.kms.client.address(), login);
        TransitKms::new(server, settings(&self.mount), Arc::clone(&self.entropy)).unwrap()
    }

    async fn token(&self, body: &str) -> String {
        let answer: serde_json::Value = serde_json::from_slice(&self.post("auth/token/create", body).await).unwrap();
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Lets `name` use the engine's keys, and nothing else.
    async fn policy(&self, name: &str) {
        let mount = &self.mount;
        let rules = format!(
            r#"path "{mount}/encrypt/+" {{ capabilities = ["update"] }} path "{mount}/decrypt/+" {{ capabilities = ["update"] }} path "{mount}/keys/+" {{ capabilities = ["read"] }}"#
        );
        self.post(&format!("sys/policies/acl/{name}"), &serde_json::json!({"policy": rules}).to_string()).await;
    }
}

#[async_trait]
impl Subject for Fixture {
    fn kms(&self) -> &dyn Kms {
        &self.kms
    }

    fn caller(&self) -> Caller {
        caller()
    }

    async fn make_key(&self) -> KeyArn {
        let name = format!("k{}", hex::encode(random::bytes::<6>(&*self.entropy)));
        self.make(&name, "{}").await
    }

    async fn set_alias(&self, _: &str, _: &KeyArn) -> bool {
        false
    }

    async fn set_enabled(&self, key: &KeyArn, enabled: bool) {
        let name = key.id().trim_start_matches("bao/");
        let (method, path) =
            if enabled { (Method::POST, "soft-delete-restore") } else { (Method::DELETE, "soft-delete") };
        self.kms.client.ask(method, &format!("{}/keys/{name}/{path}", self.mount), None).await.unwrap();
    }

    fn id_of(&self, key: &KeyArn) -> String {
        key.id().trim_start_matches("bao/").to_owned()
    }

    fn disabled(&self, key: &KeyArn) -> Option<(KmsErrorKind, String)> {
        Some((KmsErrorKind::InvalidState, format!("{key} is pending deletion.")))
    }

    fn unknown_names(&self, key: &KeyArn) -> Vec<(String, String)> {
        let alias = format!("arn:aws:kms:{REGION}:{ACCOUNT}:alias/missing");
        let arn = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/bao/{UNKNOWN}");
        let missing = |arn: &str| format!("Key '{arn}' does not exist");
        let foreign = key.as_str().replace("key/bao/", "key/other/");
        let climbing = key.as_str().replace("key/bao/", "key/bao/../");
        vec![
            (UNKNOWN.to_owned(), missing(&arn)),
            (arn.clone(), missing(&arn)),
            ("../sys".to_owned(), "Invalid keyId '../sys'".to_owned()),
            (foreign.clone(), missing(&foreign)),
            (climbing.clone(), missing(&climbing)),
            ("alias/missing".to_owned(), format!("Alias {alias} is not found.")),
            (alias.clone(), format!("Alias {alias} is not found.")),
            (key.as_str().replace(REGION, "xx-test-9"), "Invalid arn xx-test-9".to_owned()),
        ]
    }
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/key")
}

#[tokio::test]
async fn a_rotated_key_decrypts_what_it_had_encrypted() {
    let Some(fixture) = Fixture::new().await else { return };
    let (kms, caller) = (&fixture.kms, caller());
    let arn = fixture.make("rotating", "{}").await;
    let key = KeyRef::from(&arn);
    let old = kms.generate_data_key(&caller, &key, &context()).await.unwrap();
    fixture.post(&format!("{}/keys/rotating/rotate", fixture.mount), "{}").await;
    let new = kms.generate_data_key(&caller, &key, &context()).await.unwrap();
    assert_eq!((old.wrapped.material_id.as_deref(), new.wrapped.material_id.as_deref()), (Some("v1"), Some("v2")));
    for generated in [&old, &new] {
        let opened = kms.decrypt(&caller, &generated.wrapped.blob, Some(&key), &context()).await.unwrap();
        assert_eq!(opened.plaintext.expose(), generated.key.expose().expose());
    }
    // The operator retires the first version.
    fixture.post(&format!("{}/keys/rotating/config", fixture.mount), r#"{"min_decryption_version":2}"#).await;
    let error = kms.decrypt(&caller, &old.wrapped.blob, Some(&key), &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidState, "{error}");
    kms.decrypt(&caller, &new.wrapped.blob, Some(&key), &context()).await.unwrap();
}

#[tokio::test]
async fn keys_that_bind_no_context_are_refused() {
    let Some(fixture) = Fixture::new().await else { return };
    for (name, body) in [("rsa", r#"{"type":"rsa-2048"}"#), ("derived", r#"{"derived":true}"#)] {
        let arn = fixture.make(name, body).await;
        for context in [EncryptionContext::new(), context()] {
            let error = fixture.kms.encrypt(&caller(), &KeyRef::from(&arn), b"p", &context).await.unwrap_err();
            assert_eq!(error.kind, KmsErrorKind::InvalidKeyUsage, "{name}: {error}");
        }
    }
    let arn = fixture.make("chacha", r#"{"type":"chacha20-poly1305"}"#).await;
    fixture.kms.encrypt(&caller(), &KeyRef::from(&arn), b"p", &context()).await.unwrap();
}

#[tokio::test]
async fn no_key_is_made_by_using_it_but_the_default_one() {
    let Some(fixture) = Fixture::new().await else { return };
    let (kms, caller) = (&fixture.kms, caller());
    for _ in 0..2 {
        let error = kms.encrypt(&caller, &KeyRef::Id("missing".to_owned()), b"p", &context()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::NotFound);
    }
    let made = kms.generate_data_key(&caller, &KeyRef::aws_s3(), &context()).await.unwrap();
    assert_eq!(made.wrapped.key_arn.id(), "bao/default");
    assert_eq!(kms.describe(&caller, &KeyRef::aws_s3()).await.unwrap().arn, made.wrapped.key_arn);
    let none = Settings { default_key: None, create_default_key: false, ..settings(&fixture.mount) };
    let none =
        TransitKms::new(server(&kms.client.address(), root_token()), none, Arc::clone(&fixture.entropy)).unwrap();
    let error = none.generate_data_key(&caller, &KeyRef::aws_s3(), &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::NotFound);
    assert!(error.message.contains("has no default key"), "{error}");
}

#[tokio::test]
async fn what_the_token_may_not_do_is_told_from_a_token_that_has_ended() {
    let Some(fixture) = Fixture::new().await else { return };
    let name = fixture.mount.clone();
    fixture.policy(&name).await;
    let arn = fixture.make("k", "{}").await;
    let key = KeyRef::from(&arn);
    let token = fixture.token(&format!(r#"{{"policies":["{name}"]}}"#)).await;
    let login = |token: &str| Login::Token(TokenSource::Given(SecretBytes::new(token.as_bytes().to_vec())));
    let kms = fixture.with(login(&token));
    let blob = kms.generate_data_key(&caller(), &key, &context()).await.unwrap().wrapped.blob;
    kms.decrypt(&caller(), &blob, Some(&key), &context()).await.unwrap();
    let idle = fixture.token(r#"{"policies":["default"]}"#).await;
    let error = fixture.with(login(&idle)).decrypt(&caller(), &blob, Some(&key), &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::AccessDenied, "{error}");
    assert!(error.message.contains(&format!("not authorized to perform: kms:Decrypt on resource: {arn}")), "{error}");
    fixture.post("auth/token/revoke", &format!(r#"{{"token":"{token}"}}"#)).await;
    for _ in 0..3 {
        let error = kms.decrypt(&caller(), &blob, Some(&key), &context()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::Unavailable, "{error}");
        assert!(!format!("{error:?}").contains(&token), "the token is not told");
    }
}

#[tokio::test]
async fn a_token_that_cannot_look_itself_up_is_not_taken_for_one_that_has_ended() {
    let Some(fixture) = Fixture::new().await else { return };
    let name = fixture.mount.clone();
    let rules = format!(r#"path "{name}/encrypt/mine" {{ capabilities = ["update"] }}"#);
    fixture.post(&format!("sys/policies/acl/{name}"), &serde_json::json!({"policy": rules}).to_string()).await;
    let (mine, other) = (fixture.make("mine", "{}").await, fixture.make("other", "{}").await);
    let token = fixture.token(&format!(r#"{{"policies":["{name}"],"no_default_policy":true}}"#)).await;
    let kms = fixture.with(Login::Token(TokenSource::Given(SecretBytes::new(token.into_bytes()))));
    for _ in 0..2 {
        let error = kms.encrypt(&caller(), &KeyRef::from(&other), b"p", &context()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::AccessDenied, "{error}");
        kms.encrypt(&caller(), &KeyRef::from(&mine), b"p", &context()).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_make_nobody_log_in_again() {
    use std::sync::atomic::{AtomicU32, Ordering};
    for may_look_up in [true, false] {
        let logins = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&logins);
        let address = fake(move |path| {
            let denied = (403, r#"{"errors":["permission denied"]}"#.to_owned());
            if path.ends_with("/login") {
                counted.fetch_add(1, Ordering::SeqCst);
                let granted = r#"{"auth":{"client_token":"t","lease_duration":3600,"renewable":true}}"#;
                (200, granted.to_owned())
            } else if path.ends_with("/lookup-self") && may_look_up {
                (200, r#"{"data":{"ttl":3600,"renewable":true}}"#.to_owned())
            } else {
                denied
            }
        })
        .await;
        let login = Login::AppRole { mount: "approle".to_owned(), role_id: "r".to_owned(), secret_id_file: None };
        let kms =
            TransitKms::new(server(&address, login), settings("transit"), Arc::new(SystemEntropy::new())).unwrap();
        for _ in 0..3 {
            let key = KeyRef::Id("k".to_owned());
            let error = kms.encrypt(&caller(), &key, b"p", &context()).await.unwrap_err();
            assert_eq!(error.kind, KmsErrorKind::AccessDenied, "{error}");
        }
        assert_eq!(logins.load(Ordering::SeqCst), 1, "{may_look_up}");
    }
}

#[tokio::test]
async fn an_approle_logs_in_again_when_its_token_has_ended() {
    let Some(fixture) = Fixture::new().await else { return };
    let name = fixture.mount.clone();
    fixture.policy(&name).await;
    fixture.post(&format!("sys/auth/{name}"), r#"{"type":"approle"}"#).await;
    fixture.post(&format!("auth/{name}/role/strongroom"), &format!(r#"{{"token_policies":["{name}"]}}"#)).await;
    let ask = async |method, path: &str| -> serde_json::Value {
        let answer = fixture.kms.client.ask(method, path, None).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    };
    let role = ask(Method::GET, &format!("auth/{name}/role/strongroom/role-id")).await;
    let secret = ask(Method::POST, &format!("auth/{name}/role/strongroom/secret-id")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret["data"]["secret_id"].as_str().unwrap()).unwrap();
    let kms = fixture.with(Login::AppRole {
        mount: name.clone(),
        role_id: role["data"]["role_id"].as_str().unwrap().to_owned(),
        secret_id_file: Some(file.path().to_owned()),
    });
    let key = KeyRef::from(&fixture.make("k", "{}").await);
    kms.generate_data_key(&caller(), &key, &context()).await.unwrap();
    // Every token of the method ends at once.
    fixture.post(&format!("sys/leases/revoke-prefix/auth/{name}/login"), "{}").await;
    kms.generate_data_key(&caller(), &key, &context()).await.unwrap();
    std::fs::write(file.path(), "wrong").unwrap();
    fixture.post(&format!("sys/leases/revoke-prefix/auth/{name}/login"), "{}").await;
    let error = kms.generate_data_key(&caller(), &key, &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Unavailable, "{error}");
}

/// Answers each request by its path's second part: `keys`, `encrypt`, `decrypt`.
async fn fake(answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let length = socket.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = answers(&path);
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    address
}

fn of_fake(address: &str) -> TransitKms {
    TransitKms::new(server(address, root_token()), settings("transit"), Arc::new(SystemEntropy::new())).unwrap()
}

#[tokio::test]
async fn a_server_that_ignores_associated_data_is_not_used() {
    let address = fake(|path| {
        let body = match path.split('/').nth(3) {
            Some("keys") => r#"{"data":{"type":"aes256-gcm96"}}"#,
            Some("encrypt") => r#"{"data":{"ciphertext":"vault:v1:AAECAwQFBgcICQoLDA0ODw=="}}"#,
            Some("decrypt") => r#"{"data":{"plaintext":"cA=="}}"#,
            _ => r#"{"data":{"ttl":0,"renewable":false}}"#,
        };
        (200, body.to_owned())
    })
    .await;
    let error = of_fake(&address).encrypt(&caller(), &KeyRef::Id("k".to_owned()), b"p", &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Internal);
    assert!(error.message.contains("does not bind the encryption context"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_sealed_gone_or_overrun_is_told_as_such() {
    for (status, text, kind) in [
        (503, "Vault is sealed", KmsErrorKind::Unavailable),
        (429, "request path \"x\": rate limit quota exceeded", KmsErrorKind::Throttling),
        (500, "internal error", KmsErrorKind::Unavailable),
    ] {
        let address = fake(move |_| (status, format!(r#"{{"errors":[{text:?}]}}"#))).await;
        let error = of_fake(&address).describe(&caller(), &KeyRef::Id("k".to_owned())).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
    let gone = of_fake("http://127.0.0.1:9");
    let error = gone.describe(&caller(), &KeyRef::Id("k".to_owned())).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Unavailable);
}
