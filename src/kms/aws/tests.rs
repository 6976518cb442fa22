//! The common suite against moto's server. (It checks contexts, but neither signatures, nor disabled keys, nor the source key
//! of ReEncrypt; those are tested in tests/clients against Strongroom's own KMS API.)

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::crypto::SharedEntropy;
use crate::crypto::random::SystemEntropy;
use crate::kms::conformance::{self, Subject, UNKNOWN};
use crate::kms::peers;

const REGION: &str = "eu-west-1";
/// moto's.
const ACCOUNT: &str = "123456789012";

conformance::suite!(Fixture::new());

struct Fixture {
    kms: AwsKms,
    entropy: SharedEntropy,
}

fn caller() -> Caller {
    Caller::root_of(ACCOUNT, Some(format!("s3.{REGION}.amazonaws.com")), "r")
}

fn settings(endpoint: &str) -> Settings {
    Settings {
        service: "aws".to_owned(),
        region: REGION.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        ca_file: None,
        fips: false,
        profile: None,
        attempt: Duration::from_secs(20),
        attempts: 1,
        default_key: Some("alias/strongroom".to_owned()),
        create_default_key: true,
    }
}

impl Fixture {
    async fn new() -> Option<Self> {
        let address = peers::moto().await?;
        let kms = AwsKms::with_credentials(settings(address)).await;
        Some(Self { kms, entropy: Arc::new(SystemEntropy::new()) })
    }
}

impl AwsKms {
    /// With credentials that nobody checks.
    async fn with_credentials(settings: Settings) -> Self {
        let made = Self::new(settings).await.unwrap();
        let credentials = aws_sdk_kms::config::Credentials::new("AKIDTEST", "secret", None, None, "tests");
        let config = made.client.config().to_builder().credentials_provider(credentials).build();
        Self { client: Client::from_conf(config), ..made }
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
        let made = self.kms.client.create_key().send().await.unwrap();
        made.key_metadata().unwrap().arn().unwrap().parse().unwrap()
    }

    async fn set_alias(&self, alias: &str, key: &KeyArn) -> bool {
        self.kms.client.create_alias().alias_name(alias).target_key_id(key.id()).send().await.unwrap();
        true
    }

    fn fresh_alias(&self) -> String {
        let mut bytes = [0; 6];
        self.entropy.fill(&mut bytes);
        format!("alias/team/{}", hex::encode(bytes))
    }

    async fn set_enabled(&self, _: &KeyArn, _: bool) {}

    fn disabled(&self, _: &KeyArn) -> Option<(KmsErrorKind, String)> {
        None
    }

    fn checks_named_keys(&self) -> bool {
        false
    }

    fn unknown_names(&self, key: &KeyArn) -> Vec<(String, String)> {
        let arn = key.as_str().replace(key.id(), UNKNOWN);
        vec![
            ("fake-key-id".to_owned(), "Invalid keyId fake-key-id".to_owned()),
            (UNKNOWN.to_owned(), format!("Key '{arn}' does not exist")),
            (arn.clone(), format!("Key '{arn}' does not exist")),
        ]
    }
}

#[tokio::test]
async fn the_default_key_is_made_once() {
    let Some(fixture) = Fixture::new().await else { return };
    let alias = fixture.fresh_alias();
    let address = peers::moto().await.unwrap();
    let with = async |create_default_key| {
        let settings = Settings { default_key: Some(alias.clone()), create_default_key, ..settings(address) };
        AwsKms::with_credentials(settings).await
    };
    let context = EncryptionContext::new();
    let error = with(false).await.generate_data_key(&caller(), &KeyRef::aws_s3(), &context).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::NotFound);
    let first = with(true).await.describe(&caller(), &KeyRef::aws_s3()).await.unwrap();
    let second = with(true).await.generate_data_key(&caller(), &KeyRef::aws_s3(), &context).await.unwrap();
    assert_eq!(first.arn, second.wrapped.key_arn);
    let none = AwsKms::with_credentials(Settings { default_key: None, ..settings(address) }).await;
    let error = none.describe(&caller(), &KeyRef::aws_s3()).await.unwrap_err();
    assert!(error.message.contains("has no default key"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_gone_is_told_as_such() {
    let kms = AwsKms::with_credentials(settings("http://127.0.0.1:9")).await;
    let error = kms.describe(&caller(), &KeyRef::Id(UNKNOWN.to_owned())).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Unavailable, "{error}");
}

/// While it hangs, nobody waits for more than one failure.
#[tokio::test]
async fn who_waits_for_the_default_key_learns_of_the_first_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            kept.push(socket);
        }
    });
    let settings = Settings { attempt: Duration::from_millis(500), ..settings(&address) };
    let kms = Arc::new(AwsKms::with_credentials(settings).await);
    let began = tokio::time::Instant::now();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let kms = Arc::clone(&kms);
            tokio::spawn(async move { kms.describe(&caller(), &KeyRef::aws_s3()).await.unwrap_err().kind })
        })
        .collect();
    for call in calls {
        let kind = call.await.unwrap();
        assert!(matches!(kind, KmsErrorKind::DependencyTimeout | KmsErrorKind::Unavailable), "{kind:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn authorities_must_be_some() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let with =
        async |path: PathBuf| AwsKms::new(Settings { ca_file: Some(path), ..settings("https://kms") }).await.err();
    assert!(matches!(with(file.path().to_owned()).await, Some(ClientError::NoAuthorities(_))));
    assert!(matches!(with(PathBuf::from("/none")).await, Some(ClientError::Unreadable { .. })));
}
