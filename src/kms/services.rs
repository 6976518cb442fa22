//! All key services as one: the embedded one and those of the configuration, each with its keys.
//!
//! **Which key a name means:**
//!
//! | the client says | means |
//! |---|---|
//! | `SERVICE/KEY` | key `KEY` of the service of that name; `embedded/KEY` of the embedded one |
//! | `arn:aws:kms:REGION:ACCOUNT:key/SERVICE/KEY` | the same: the ARN of keys that have none of their own (transit) |
//! | any other ARN | the embedded service's, if it has it; else that of the AWS KMS for the ARN's region and account |
//! | an id, `alias/NAME` | of the default service |
//! | nothing, `alias/aws/s3` | the default service's default key |
//!
//! So the ARN alone, which is what stands in an envelope and in a response, says who wrapped a data key. A service that answers
//! with an ARN by which its key would be looked for elsewhere (an AWS KMS of another account than the configuration says) does
//! not get to wrap anything: nobody could open it again.
//!
//! `ReEncrypt` between services decrypts at one and encrypts at the other: so objects move from one to another.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::KmsErrorKind;
use super::local::LocalKms;
use super::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, KmsError, Knowledge,
    SharedKms, WrappedKey,
};
use crate::crypto::Secret;

/// The name of the embedded service.
pub const EMBEDDED: &str = "embedded";

/// A key service of the configuration.
pub struct Service {
    /// Its name.
    pub name: String,
    /// Itself.
    pub kms: SharedKms,
    /// Which ARNs are its own beside those that name it.
    pub home: Option<Home>,
}

/// Where an AWS KMS is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Home {
    /// The region.
    pub region: String,
    /// The account, if not all that use it from there.
    pub account: Option<String>,
}

/// All key services.
pub struct KeyServices {
    local: Arc<LocalKms>,
    embedded: Service,
    remote: Vec<Service>,
    /// The default one's name.
    default: String,
}

impl KeyServices {
    /// The embedded service `local`, which is asked through `entrance`, and the others; `default` names one of them.
    pub fn new(local: Arc<LocalKms>, entrance: SharedKms, remote: Vec<Service>, default: String) -> Self {
        let embedded = Service { name: EMBEDDED.to_owned(), kms: entrance, home: None };
        Self { local, embedded, remote, default }
    }

    fn named(&self, name: &str) -> Option<&Service> {
        std::iter::once(&self.embedded).chain(&self.remote).find(|service| service.name == name)
    }

    fn default(&self) -> &Service {
        self.named(&self.default).unwrap_or(&self.embedded)
    }

    /// The service that `key` belongs to, and what it is called there if that is something else.
    fn route(&self, key: &KeyRef) -> Result<(&Service, Option<KeyRef>), KmsError> {
        match key {
            KeyRef::Id(text) => {
                let within = text.split_once('/').and_then(|(name, key)| Some((self.named(name)?, KeyRef::parse(key))));
                Ok(within.map_or((self.default(), None), |(service, key)| (service, Some(key))))
            }
            KeyRef::Alias(_) => Ok((self.default(), None)),
            KeyRef::KeyArn(arn) if arn.id().contains('/') => {
                let name = arn.id().split_once('/').map_or("", |(name, _)| name);
                let service = self.named(name).ok_or_else(|| {
                    let message = format!("Key '{key}' is of the key service '{name}', which is not configured");
                    KmsErrorKind::NotFound.with(message)
                })?;
                Ok((service, None))
            }
            KeyRef::KeyArn(arn) => Ok((self.of_arn(key, arn.region(), arn.account()), None)),
            KeyRef::AliasArn { region, account, .. } => Ok((self.of_arn(key, region, account), None)),
        }
    }

    /// The service of a key or alias that is named by an ARN for this region and account.
    fn of_arn(&self, key: &KeyRef, region: &str, account: &str) -> &Service {
        let is_home = |home: &Home| home.region == region && home.account.as_ref().is_none_or(|own| own == account);
        let away = self.remote.iter().find(|service| service.home.as_ref().is_some_and(is_home));
        away.filter(|_| !self.local.holds(key)).unwrap_or(&self.embedded)
    }

    /// What `service` has wrapped, if the ARN of its key leads back there.
    fn kept(&self, service: &Service, wrapped: WrappedKey) -> Result<WrappedKey, KmsError> {
        let arn = &wrapped.key_arn;
        if self.route(&KeyRef::from(arn)).is_ok_and(|(found, _)| std::ptr::eq(found, service)) {
            return Ok(wrapped);
        }
        tracing::error!(
            service = service.name,
            key = %arn,
            "a key is not one of its service's by the configuration (region, account_id): nothing is wrapped under it"
        );
        Err(KmsErrorKind::NotFound.with(format!(
            "Key '{arn}' is not of the region and account that are configured for the key service '{}'",
            service.name
        )))
    }

    /// The service of a blob: the key's, if it is named. (S3 always names it.)
    fn opener(&self, key: Option<&KeyRef>) -> Result<(&Service, Option<KeyRef>), KmsError> {
        key.map_or(Ok((self.default(), None)), |key| {
            let (service, within) = self.route(key)?;
            Ok((service, Some(within.unwrap_or_else(|| key.clone()))))
        })
    }
}

#[async_trait]
impl Kms for KeyServices {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        let (service, within) = self.route(key)?;
        let generated = service.kms.generate_data_key(caller, within.as_ref().unwrap_or(key), context).await?;
        Ok(GeneratedKey { wrapped: self.kept(service, generated.wrapped)?, ..generated })
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        let (service, key) = self.opener(key)?;
        service.kms.decrypt(caller, blob, key.as_ref(), context).await
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let (service, within) = self.route(key)?;
        let wrapped = service.kms.encrypt(caller, within.as_ref().unwrap_or(key), plaintext, context).await?;
        self.kept(service, wrapped)
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let (service, within) = self.route(key)?;
        let wrapped = service.kms.wrap_data_key(caller, within.as_ref().unwrap_or(key), data_key, context).await?;
        self.kept(service, wrapped)
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        let (source, source_key) = self.opener(from.0)?;
        let (target, within) = self.route(to.0)?;
        let (source_key, target_key) = (source_key.as_ref(), within.as_ref().unwrap_or(to.0));
        if std::ptr::eq(source, target) {
            let moved = source.kms.re_encrypt(caller, blob, (source_key, from.1), (target_key, to.1)).await?;
            return self.kept(target, moved);
        }
        let opened = source.kms.decrypt(caller, blob, source_key, from.1).await?;
        let moved = target.kms.encrypt(caller, target_key, opened.plaintext.expose(), to.1).await?;
        self.kept(target, moved)
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        let (service, within) = self.route(key)?;
        service.kms.describe(caller, within.as_ref().unwrap_or(key)).await
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self
    }
}

impl Knowledge for KeyServices {
    fn policy_of(&self, arn: &KeyArn) -> Option<String> {
        let (service, _) = self.route(&KeyRef::from(arn)).ok()?;
        service.kms.knowledge().policy_of(arn)
    }

    fn generation_of(&self, key: &KeyRef) -> Option<u64> {
        let (service, within) = self.route(key).ok()?;
        service.kms.knowledge().generation_of(within.as_ref().unwrap_or(key))
    }

    fn service_of(&self, key: &KeyRef) -> Option<&str> {
        if self.remote.is_empty() {
            return None;
        }
        self.route(key).ok().map(|(service, _)| service.name.as_str())
    }

    fn arn_of(&self, key: &KeyRef) -> Option<KeyArn> {
        let (service, within) = self.route(key).ok()?;
        service.kms.knowledge().arn_of(within.as_ref().unwrap_or(key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::SystemClock;
    use crate::crypto::random::SystemEntropy;
    use crate::crypto::{SecretBytes, SharedEntropy};
    use crate::kms::local::NewKey;
    use crate::kms::root::RootKey;
    use crate::kms::{DataKey, NothingKnown};
    use crate::store::memory::MemoryStore;

    const REGION: &str = "eu-test-1";
    const OWNER: &str = "111122223333";
    const UUID: &str = "12345678-1234-4234-8234-123456789012";

    /// Notes how keys are called, and keeps what it encrypts in clear.
    struct Noting {
        arn: KeyArn,
        named: Mutex<Vec<String>>,
    }

    impl Noting {
        fn new(arn: &str) -> Arc<Self> {
            Arc::new(Self { arn: arn.parse().unwrap(), named: Mutex::default() })
        }

        fn note(&self, key: &KeyRef) {
            self.named.lock().unwrap().push(key.to_string());
        }

        fn taken(&self) -> Vec<String> {
            std::mem::take(&mut self.named.lock().unwrap())
        }
    }

    #[async_trait]
    impl Kms for Noting {
        async fn generate_data_key(
            &self,
            caller: &Caller,
            key: &KeyRef,
            context: &EncryptionContext,
        ) -> Result<GeneratedKey, KmsError> {
            let data_key = Secret::new([7; 32]);
            let wrapped = self.encrypt(caller, key, data_key.expose(), context).await?;
            Ok(GeneratedKey { key: DataKey::new(data_key), wrapped })
        }

        async fn decrypt(
            &self,
            _: &Caller,
            blob: &[u8],
            key: Option<&KeyRef>,
            _: &EncryptionContext,
        ) -> Result<Decrypted, KmsError> {
            self.note(key.unwrap_or(&KeyRef::Id("none".to_owned())));
            Ok(Decrypted { plaintext: SecretBytes::new(blob.to_vec()), key_arn: self.arn.clone(), material_id: None })
        }

        async fn encrypt(
            &self,
            _: &Caller,
            key: &KeyRef,
            plaintext: &[u8],
            _: &EncryptionContext,
        ) -> Result<WrappedKey, KmsError> {
            self.note(key);
            Ok(WrappedKey { blob: plaintext.to_vec(), key_arn: self.arn.clone(), material_id: None })
        }

        async fn wrap_data_key(
            &self,
            caller: &Caller,
            key: &KeyRef,
            data_key: &Secret<32>,
            context: &EncryptionContext,
        ) -> Result<WrappedKey, KmsError> {
            self.encrypt(caller, key, data_key.expose(), context).await
        }

        async fn re_encrypt(
            &self,
            _: &Caller,
            _: &[u8],
            _: (Option<&KeyRef>, &EncryptionContext),
            to: (&KeyRef, &EncryptionContext),
        ) -> Result<WrappedKey, KmsError> {
            self.note(to.0);
            Ok(WrappedKey { blob: b"moved".to_vec(), key_arn: self.arn.clone(), material_id: None })
        }

        async fn describe(&self, _: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
            self.note(key);
            Ok(KeyDescription { arn: self.arn.clone(), enabled: true, pending: None, aws_managed: false })
        }

        fn knowledge(&self) -> &dyn Knowledge {
            &NothingKnown
        }
    }

    struct Fixture {
        local: Arc<LocalKms>,
        bao: Arc<Noting>,
        aws: Arc<Noting>,
        services: KeyServices,
    }

    async fn fixture(default: &str) -> Fixture {
        let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy)));
        let root = Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap());
        let local = LocalKms::open(store, root, Arc::new(SystemClock), entropy, REGION.to_owned()).await.unwrap();
        let local = Arc::new(local);
        let bao = Noting::new(&format!("arn:aws:kms:{REGION}:{OWNER}:key/bao/k"));
        let aws = Noting::new(&format!("arn:aws:kms:{REGION}:{OWNER}:key/{UUID}"));
        let home = Some(Home { region: REGION.to_owned(), account: Some(OWNER.to_owned()) });
        let remote = vec![
            Service { name: "bao".to_owned(), kms: Arc::clone(&bao) as SharedKms, home: None },
            Service { name: "aws".to_owned(), kms: Arc::clone(&aws) as SharedKms, home },
        ];
        let entrance = Arc::clone(&local) as SharedKms;
        let services = KeyServices::new(Arc::clone(&local), entrance, remote, default.to_owned());
        Fixture { local, bao, aws, services }
    }

    fn caller() -> Caller {
        Caller::root_of(OWNER, Some(format!("s3.{REGION}.amazonaws.com")), "r")
    }

    #[tokio::test]
    async fn each_name_reaches_its_service() {
        let Fixture { local, bao, aws, services } = fixture("bao").await;
        let own = local.create_key(&caller(), NewKey::default()).await.unwrap().arn;
        let (own_arn, own_named) = (own.to_string(), format!("embedded/{}", own.id()));
        let bao_arn = bao.arn.to_string();
        let aws_arn = aws.arn.to_string();
        // (the client says, the service, what it hears)
        let rows = [
            ("payroll", "bao", "payroll"),
            ("alias/aws/s3", "bao", "alias/aws/s3"),
            ("bao/payroll", "bao", "payroll"),
            (&bao_arn, "bao", &bao_arn),
            ("aws/alias/payroll", "aws", "alias/payroll"),
            ("aws/1234", "aws", "1234"),
            (&aws_arn, "aws", &aws_arn),
            (&own_arn, "embedded", ""),
            (&own_named, "embedded", ""),
            ("other/payroll", "bao", "other/payroll"),
        ];
        for (said, service, heard) in rows {
            let key = KeyRef::parse(said);
            assert_eq!(services.knowledge().service_of(&key), Some(service), "{said}");
            let described = services.describe(&caller(), &key).await.unwrap();
            let (bao, aws) = (bao.taken(), aws.taken());
            match service {
                "bao" => assert_eq!((bao, aws), (vec![heard.to_owned()], vec![]), "{said}"),
                "aws" => assert_eq!((bao, aws), (vec![], vec![heard.to_owned()]), "{said}"),
                _ => assert_eq!((bao, aws, described.arn), (vec![], vec![], own.clone()), "{said}"),
            }
        }
        // Changes can be seen in the embedded service alone.
        assert!(services.knowledge().generation_of(&KeyRef::from(&own)).is_some());
        assert_eq!(services.knowledge().generation_of(&KeyRef::from(&bao.arn)), None);
    }

    #[tokio::test]
    async fn a_service_that_is_not_configured_is_named() {
        let services = fixture("embedded").await.services;
        let key = KeyRef::parse("arn:aws:kms:eu-test-1:111122223333:key/gone/k");
        let error = services.decrypt(&caller(), b"", Some(&key), &EncryptionContext::new()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::NotFound);
        assert!(error.message.contains("the key service 'gone', which is not configured"), "{error}");
        // Other regions are nobody's: the embedded service says so as AWS does.
        let elsewhere = KeyRef::parse("arn:aws:kms:xx-test-9:111122223333:key/1234");
        let error = services.describe(&caller(), &elsewhere).await.unwrap_err();
        assert_eq!(error.message, "Invalid arn xx-test-9");
    }

    #[tokio::test]
    async fn nothing_is_wrapped_that_could_not_be_opened_again() {
        let Fixture { local, aws, .. } = fixture("embedded").await;
        // The configuration says another account than the keys have.
        let home = Some(Home { region: REGION.to_owned(), account: Some("444455556666".to_owned()) });
        let remote = vec![Service { name: "aws".to_owned(), kms: aws as SharedKms, home }];
        let entrance = Arc::clone(&local) as SharedKms;
        let services = KeyServices::new(Arc::clone(&local), entrance, remote, "embedded".to_owned());
        let (there, none) = (KeyRef::parse("aws/k"), EncryptionContext::new());
        let own = KeyRef::from(&local.create_key(&caller(), NewKey::default()).await.unwrap().arn);
        let blob = services.encrypt(&caller(), &own, b"x", &none).await.unwrap().blob;
        for refused in [
            services.generate_data_key(&caller(), &there, &none).await.map(drop),
            services.encrypt(&caller(), &there, b"x", &none).await.map(drop),
            services.wrap_data_key(&caller(), &there, &Secret::new([7; 32]), &none).await.map(drop),
            services.re_encrypt(&caller(), &blob, (Some(&own), &none), (&there, &none)).await.map(drop),
            services.re_encrypt(&caller(), b"x", (Some(&there), &none), (&there, &none)).await.map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind, KmsErrorKind::NotFound);
            assert!(error.message.ends_with("configured for the key service 'aws'"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_one_service_wrapped_another_wraps_anew() {
        let Fixture { local, bao, services, .. } = fixture("embedded").await;
        let own = local.create_key(&caller(), NewKey::default()).await.unwrap().arn;
        let (own, there) = (KeyRef::from(&own), KeyRef::from(&bao.arn));
        let (old, new) = (EncryptionContext::new().with("a", "b"), EncryptionContext::new().with("c", "d"));
        let made = services.generate_data_key(&caller(), &own, &old).await.unwrap();
        let moved =
            services.re_encrypt(&caller(), &made.wrapped.blob, (Some(&own), &old), (&there, &new)).await.unwrap();
        assert_eq!((moved.blob.as_slice(), &moved.key_arn), (&made.key.expose().expose()[..], &bao.arn));
        let back = services.re_encrypt(&caller(), &moved.blob, (Some(&there), &new), (&own, &old)).await.unwrap();
        let opened = services.decrypt(&caller(), &back.blob, Some(&own), &old).await.unwrap();
        assert_eq!(opened.plaintext.expose(), made.key.expose().expose());
        // Within one service, it is asked to do it itself.
        let within = services.re_encrypt(&caller(), b"x", (Some(&there), &new), (&there, &old)).await.unwrap();
        assert_eq!(within.blob, b"moved");
    }
}
