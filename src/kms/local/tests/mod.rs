//! The embedded key service: the common suite, and what is its own (durability, states over time, owners, failures).

use std::collections::HashSet;

use async_trait::async_trait;

mod grants;
mod import;
mod reseal;
mod rotation;
mod specs;

use super::records::KeyRecord;
use super::*;
use crate::clock::{Clock as _, ManualClock, from_millis};
use crate::crypto::random::SystemEntropy;
use crate::kms::conformance::{self, Subject};
use crate::kms::{EncryptionContext, Kms};
use crate::store::StoreError;
use crate::store::memory::MemoryStore;

const REGION: &str = "eu-test-1";
const OWNER: &str = "111122223333";
const OTHER: &str = "444455556666";
const DAY: i64 = 86_400;
const DESCRIBE: &str = "kms:DescribeKey";

conformance::suite!(async { Some(Fixture::new().await) });

/// A service and everything that outlives it.
struct Fixture {
    kms: LocalKms,
    store: Arc<MemoryStore>,
    root: Arc<RootKey>,
    clock: Arc<ManualClock>,
}

impl Fixture {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemEntropy::new())));
        let (root, clock) = (root(1), Arc::new(ManualClock::new(from_millis(1_700_000_000_000))));
        let kms = open(&store, &root, &clock).await.unwrap();
        Self { kms, store, root, clock }
    }

    /// The service as it would come up from the store.
    async fn reopened(&self) -> LocalKms {
        open(&self.store, &self.root, &self.clock).await.unwrap()
    }

    async fn key(&self) -> KeyArn {
        self.kms.create_key(&direct(OWNER), NewKey::default()).await.unwrap().arn
    }
}

#[async_trait]
impl Subject for Fixture {
    fn kms(&self) -> &dyn Kms {
        &self.kms
    }

    fn caller(&self) -> Caller {
        direct(OWNER)
    }

    async fn make_key(&self) -> KeyArn {
        self.key().await
    }

    async fn set_alias(&self, alias: &str, key: &KeyArn) -> bool {
        self.kms.create_alias(&direct(OWNER), alias, &key.into()).await.unwrap();
        true
    }

    async fn set_enabled(&self, key: &KeyArn, enabled: bool) {
        self.kms.set_enabled(&direct(OWNER), &key.into(), enabled).await.unwrap();
    }

    fn names_no_key(&self, blob: &[u8]) -> bool {
        let header = blob::BlobHeader::read(blob).filter(|_| blob.len() <= 6144);
        header.is_some_and(|header| self.kms.ring().by_raw_id(&header.key).is_none())
    }
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let tags = vec![("team".to_owned(), "red".to_owned())];
    let new = NewKey { description: "red".to_owned(), tags, ..NewKey::default() };
    let made = kms.create_key(&caller, new).await.unwrap();
    let (disabled, pending) = (fixture.key().await, fixture.key().await);
    kms.set_enabled(&caller, &(&disabled).into(), false).await.unwrap();
    kms.schedule_deletion(&caller, &(&pending).into(), 7).await.unwrap();
    kms.create_alias(&caller, "alias/red", &(&made.arn).into()).await.unwrap();
    let blob = kms.encrypt(&caller, &KeyRef::parse("alias/red"), b"secret", &context()).await.unwrap().blob;
    let managed = kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.unwrap();

    let reopened = fixture.reopened().await;
    assert_eq!(reopened.decrypt(&caller, &blob, None, &context()).await.unwrap().plaintext.expose(), b"secret");
    let opened = reopened.decrypt(&via_s3(OWNER), &managed.wrapped.blob, None, &context()).await.unwrap();
    assert_eq!(opened.plaintext.expose(), managed.key.expose().expose());
    for key in kms.list_keys(OWNER, "", 100) {
        let name = KeyRef::from(&key);
        let (before, after) =
            (kms.metadata(&caller, &name, DESCRIBE).unwrap(), reopened.metadata(&caller, &name, DESCRIBE).unwrap());
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
    let aliases = |kms: &LocalKms| format!("{:?}", kms.list_aliases(OWNER, None, "", 100));
    assert_eq!(aliases(kms), aliases(&reopened));
    assert_eq!(kms.list_keys(OWNER, "", 100), reopened.list_keys(OWNER, "", 100));
    assert_eq!(reopened.list_keys(OWNER, "", 100).len(), 4);
}

#[tokio::test]
async fn a_wrong_root_key_is_told_from_damage() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let wrong = open(&fixture.store, &root(2), &fixture.clock).await.err().unwrap();
    assert!(matches!(wrong, OpenError::Root(RootKeyError::WrongKey)), "{wrong:?}");

    let stored = fixture.store.get(Partition::KMS, &records::key_key(key.id())).await.unwrap().unwrap();
    let mut record: KeyRecord = records::from_value(&stored).unwrap();
    let last = record.materials[0].sealed.len() - 1;
    record.materials[0].sealed[last] ^= 1;
    overwrite(&fixture, &key, records::to_value(&record)).await;
    let damaged = open(&fixture.store, &fixture.root, &fixture.clock).await.err().unwrap();
    assert!(matches!(damaged, OpenError::Root(RootKeyError::Damaged)), "{damaged:?}");

    overwrite(&fixture, &key, b"\x01no CBOR".to_vec()).await;
    let unreadable = open(&fixture.store, &fixture.root, &fixture.clock).await.err().unwrap();
    assert!(matches!(unreadable, OpenError::Store(StoreError::Corrupt(_))), "{unreadable:?}");
}

#[tokio::test]
async fn material_is_bound_to_its_key() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.key().await, fixture.key().await);
    let record = |id: &str| {
        let key = records::key_key(id);
        let store = Arc::clone(&fixture.store);
        async move { records::from_value::<KeyRecord>(&store.get(Partition::KMS, &key).await.unwrap().unwrap()).unwrap() }
    };
    let mut swapped = record(one.id()).await;
    swapped.materials = record(other.id()).await.materials;
    overwrite(&fixture, &one, records::to_value(&swapped)).await;
    let error = open(&fixture.store, &fixture.root, &fixture.clock).await.err().unwrap();
    assert!(matches!(error, OpenError::Root(RootKeyError::Damaged)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_managed_key_is_made_once() {
    let fixture = Fixture::new().await;
    let kms = Arc::new(fixture.kms);
    let uses = (0..50).map(|_| {
        let kms = Arc::clone(&kms);
        tokio::spawn(async move {
            kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.unwrap().wrapped.key_arn
        })
    });
    let mut arns = HashSet::new();
    for used in uses.collect::<Vec<_>>() {
        arns.insert(used.await.unwrap());
    }
    assert_eq!(arns.len(), 1);
    assert_eq!(kms.list_keys(OWNER, "", 100).len(), 1);
    let other = kms.generate_data_key(&via_s3(OTHER), &KeyRef::aws_s3(), &context()).await.unwrap();
    assert!(!arns.contains(&other.wrapped.key_arn), "each account has its own");
}

#[tokio::test]
async fn the_managed_key_is_made_by_its_alias_arn_too() {
    let fixture = Fixture::new().await;
    let arn = |account: &str| KeyRef::parse(&format!("arn:aws:kms:{REGION}:{account}:alias/aws/s3"));
    let used = fixture.kms.generate_data_key(&via_s3(OWNER), &arn(OWNER), &context()).await.unwrap();
    let again = fixture.kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.unwrap();
    assert_eq!(used.wrapped.key_arn, again.wrapped.key_arn);
    let error = fixture.kms.generate_data_key(&via_s3(OWNER), &arn(OTHER), &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::AccessDenied, "nobody makes another account's key");
}

#[tokio::test]
async fn whoever_may_not_look_at_the_managed_key_does_not_make_it() {
    use crate::policy::{Subject as Principal, SubjectKind};
    let fixture = Fixture::new().await;
    let user = Principal::new(SubjectKind::User, OWNER, format!("arn:aws:iam::{OWNER}:user/u"), "AIDAU");
    let user = Caller::new(&Arc::new(user), None, "R");
    let error = fixture.kms.describe(&user, &KeyRef::aws_s3()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::AccessDenied);
    assert!(fixture.kms.list_keys(OWNER, "", 10).is_empty());
    assert!(fixture.kms.describe(&direct(OWNER), &KeyRef::aws_s3()).await.unwrap().aws_managed);
    assert_eq!(fixture.kms.describe(&user, &KeyRef::aws_s3()).await.unwrap_err().kind, KmsErrorKind::AccessDenied);
}

#[tokio::test]
async fn the_managed_key_serves_s3_alone() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let error = kms.generate_data_key(&caller, &KeyRef::aws_s3(), &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::NotFound, "a direct use does not make it");
    let wrapped = kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.unwrap().wrapped;
    let name = KeyRef::from(&wrapped.key_arn);
    let described = kms.describe(&caller, &name).await.unwrap();
    assert!(described.aws_managed && described.enabled);

    let mut refusals = vec![
        kms.generate_data_key(&caller, &KeyRef::aws_s3(), &context()).await.map(drop),
        kms.generate_data_key(&caller, &name, &context()).await.map(drop),
        kms.encrypt(&caller, &name, b"p", &context()).await.map(drop),
        kms.decrypt(&caller, &wrapped.blob, None, &context()).await.map(drop),
        kms.re_encrypt(&caller, &wrapped.blob, (None, &context()), (&name, &context())).await.map(drop),
    ];
    for asking in [caller.clone(), via_s3(OWNER)] {
        refusals.push(kms.set_enabled(&asking, &name, false).await);
        refusals.push(kms.schedule_deletion(&asking, &name, 7).await.map(drop));
        refusals.push(kms.cancel_deletion(&asking, &name).await.map(drop));
        refusals.push(kms.create_alias(&asking, "alias/mine", &name).await);
    }
    for refused in refusals {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::AccessDenied);
    }
    kms.decrypt(&via_s3(OWNER), &wrapped.blob, None, &context()).await.unwrap();
}

#[tokio::test]
async fn other_accounts_are_kept_out() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let key = fixture.key().await;
    kms.create_alias(&owner, "alias/red", &(&key).into()).await.unwrap();
    let blob = kms.encrypt(&owner, &(&key).into(), b"secret", &context()).await.unwrap().blob;
    let alias_arn = KeyRef::parse(&format!("arn:aws:kms:{REGION}:{OWNER}:alias/red"));
    // What is not there is refused in the same words.
    let missing = KeyRef::parse(&format!("arn:aws:kms:{REGION}:{OWNER}:key/00000000-0000-4000-8000-000000000000"));
    let missing_alias = KeyRef::parse(&format!("arn:aws:kms:{REGION}:{OWNER}:alias/none"));
    for stranger in [direct(OTHER), via_s3(OTHER)] {
        for name in [KeyRef::from(&key), alias_arn.clone(), missing.clone(), missing_alias.clone()] {
            for refused in [
                kms.generate_data_key(&stranger, &name, &context()).await.map(drop),
                kms.encrypt(&stranger, &name, b"p", &context()).await.map(drop),
                kms.decrypt(&stranger, &blob, Some(&name), &context()).await.map(drop),
                kms.describe(&stranger, &name).await.map(drop),
                kms.metadata(&stranger, &name, DESCRIBE).map(drop),
                kms.set_enabled(&stranger, &name, false).await,
                kms.schedule_deletion(&stranger, &name, 7).await.map(drop),
                kms.create_alias(&stranger, "alias/mine", &KeyRef::from(&key)).await,
            ] {
                let error = refused.unwrap_err();
                assert_eq!(error.kind, KmsErrorKind::AccessDenied, "{error}");
                assert!(
                    error.message.starts_with(&format!("User: {} is not authorized", stranger.principal)),
                    "{error}"
                );
                assert!(
                    error.message.ends_with(
                        "on this resource because the resource does not exist in this Region, no resource-based policies \
                         allow access, or a resource-based policy explicitly denies access"
                    ),
                    "{error}"
                );
            }
        }
        let error = kms.decrypt(&stranger, &blob, None, &context()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::AccessDenied);
        assert!(error.message.starts_with("The ciphertext refers to a customer master key that does not exist"));
        for unseen in [KeyRef::parse(key.id()), KeyRef::parse("alias/red")] {
            assert_eq!(kms.describe(&stranger, &unseen).await.unwrap_err().kind, KmsErrorKind::NotFound);
        }
        assert!(kms.list_keys(OTHER, "", 10).is_empty() && kms.list_aliases(OTHER, None, "", 10).is_empty());
    }
    assert_eq!(kms.delete_alias(&direct(OTHER), "alias/red").await.unwrap_err().kind, KmsErrorKind::NotFound);
    assert!(kms.describe(&owner, &alias_arn).await.unwrap().enabled);
}

/// A caller's log names a key of its own however the call ended, and others' once it is let in.
#[tokio::test]
async fn a_callers_log_names_no_key_that_it_may_not_know_of() {
    let fixture = Fixture::new().await;
    let (kms, key) = (&fixture.kms, fixture.key().await);
    let blob = kms.encrypt(&direct(OWNER), &KeyRef::from(&key), b"p", &context()).await.unwrap().blob;
    let seen = |caller: &Caller| caller.witness.decisions().resources;
    let owner = direct(OWNER).watched();
    kms.decrypt(&owner, &blob, None, &EncryptionContext::new()).await.unwrap_err();
    assert_eq!(seen(&owner), [("kms:Decrypt", key.to_string())]);
    let stranger = direct(OTHER).watched();
    kms.decrypt(&stranger, &blob, None, &context()).await.unwrap_err();
    kms.encrypt(&stranger, &KeyRef::from(&key), b"p", &context()).await.unwrap_err();
    assert_eq!(seen(&stranger), []);
}

/// By no ciphertext, whoever it names beside, does a stranger learn which keys there are.
#[tokio::test]
async fn ciphertexts_of_keys_that_are_there_and_of_others_are_refused_alike() {
    let fixture = Fixture::new().await;
    let (kms, owner, stranger) = (&fixture.kms, direct(OWNER), direct(OTHER));
    let key = fixture.key().await;
    let blob = kms.encrypt(&owner, &(&key).into(), b"secret", &context()).await.unwrap().blob;
    let mut absent = blob.clone();
    absent[1..17].copy_from_slice(&[7; 16]);
    let absent_id = uuid::Uuid::from_bytes([7; 16]).to_string();
    let own = KeyRef::from(&kms.create_key(&stranger, NewKey::default()).await.unwrap().arn);
    let told = async |blob: &[u8], name: Option<KeyRef>| {
        let error = kms.decrypt(&stranger, blob, name.as_ref(), &context()).await.unwrap_err();
        (error.kind, error.message)
    };
    let by_id = |id: &str| Some(KeyRef::Id(id.to_owned()));
    for (there, not_there, kind) in [
        (None, None, KmsErrorKind::AccessDenied),
        (Some(own.clone()), Some(own), KmsErrorKind::IncorrectKey),
        (by_id(key.id()), by_id(&absent_id), KmsErrorKind::AccessDenied),
    ] {
        let refused = told(&blob, there).await;
        assert_eq!(refused.0, kind);
        assert_eq!(refused, told(&absent, not_there).await);
    }
}

/// "A short key ID is also acceptable when decrypting symmetric ciphertexts", whosever key it is. (Developer guide, "Allowing
/// users in other accounts to use a KMS key")
#[tokio::test]
async fn another_accounts_key_may_be_named_by_its_id_beside_its_ciphertext() {
    let fixture = Fixture::new().await;
    let (kms, owner, other) = (&fixture.kms, direct(OWNER), direct(OTHER));
    let key = fixture.key().await;
    let text = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": ["{OWNER}", "{OTHER}"]}}, "Action": "kms:*", "Resource": "*"}}}}"#
    );
    kms.put_policy(&owner, &(&key).into(), &text, false).await.unwrap();
    let blob = kms.encrypt(&owner, &(&key).into(), b"secret", &context()).await.unwrap().blob;
    let id = KeyRef::Id(key.id().to_owned());
    let opened = kms.decrypt(&other, &blob, Some(&id), &context()).await.unwrap();
    assert_eq!((opened.plaintext.expose(), opened.key_arn), (&b"secret"[..], key));
    let own = KeyRef::from(&kms.create_key(&other, NewKey::default()).await.unwrap().arn);
    let moved = kms.re_encrypt(&other, &blob, (Some(&id), &context()), (&own, &context())).await.unwrap();
    kms.decrypt(&other, &moved.blob, Some(&own), &context()).await.unwrap();
    assert_eq!(kms.encrypt(&other, &id, b"x", &context()).await.unwrap_err().kind, KmsErrorKind::NotFound);
}

#[tokio::test]
async fn nobody_is_a_service_by_its_name() {
    use crate::policy::{Subject as Principal, SubjectKind};
    const SERVICE: &str = "s3.amazonaws.com";
    let fixture = Fixture::new().await;
    let (kms, name) = (&fixture.kms, KeyRef::from(&fixture.key().await));
    let role = SubjectKind::Role(format!("arn:aws:iam::{OWNER}:role/r"));
    let session = format!("arn:aws:sts::{OWNER}:assumed-role/r/{SERVICE}");
    let user = format!("arn:aws:iam::{OWNER}:user/{SERVICE}");
    let named = [
        Principal::new(role, OWNER, session, format!("AROA:{SERVICE}")),
        Principal::new(SubjectKind::User, OWNER, user, "AIDA"),
        Principal::new(SubjectKind::User, OWNER, SERVICE, "AIDA"),
    ];
    let service = Caller::new(&Arc::new(Principal::service(SERVICE, OWNER)), None, "R");
    let may = async |caller: &Caller| kms.encrypt(caller, &name, b"x", &context()).await.is_ok();
    let root =
        format!(r#"{{"Effect": "Allow", "Principal": {{"AWS": "{OWNER}"}}, "Action": "kms:*", "Resource": "*"}}"#);
    let of = |principal: &str| {
        format!(r#"{{"Effect": "Allow", "Principal": {principal}, "Action": "kms:Encrypt", "Resource": "*"}}"#)
    };
    let by_service = of(&format!(r#"{{"Service": "{SERVICE}"}}"#));
    let by_key = r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*",
        "Condition": {"Bool": {"aws:PrincipalIsAWSService": "true"}}}"#;
    for (statement, is_let_in) in [(None, false), (Some(by_service.as_str()), true), (Some(by_key), true)] {
        let statements = statement.iter().copied().chain([root.as_str()]).collect::<Vec<_>>().join(",");
        kms.put_policy(&direct(OWNER), &name, &format!(r#"{{"Statement": [{statements}]}}"#), false).await.unwrap();
        assert_eq!(may(&service).await, is_let_in, "{statements}");
        for subject in &named {
            assert!(!may(&Caller::new(&Arc::new(subject.clone()), None, "R")).await, "{} {statements}", subject.arn);
        }
    }
}

/// Condition keys have no case, and encryption contexts do.
#[tokio::test]
async fn what_s3_binds_a_key_to_is_its_own_pair() {
    let fixture = Fixture::new().await;
    let (kms, name) = (&fixture.kms, KeyRef::from(&fixture.key().await));
    let text = format!(
        r#"{{"Statement": [
            {{"Effect": "Allow", "Principal": {{"AWS": "{OWNER}"}}, "Action": "kms:PutKeyPolicy", "Resource": "*"}},
            {{"Effect": "Allow", "Principal": {{"AWS": "{OWNER}"}}, "Action": "kms:Encrypt", "Resource": "*",
              "Condition": {{"StringLike": {{"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::vault/*"}}}}}}]}}"#
    );
    kms.put_policy(&direct(OWNER), &name, &text, false).await.unwrap();
    let mimicked = context().with("AWS:S3:ARN", "arn:aws:s3:::vault/k");
    assert!(kms.encrypt(&via_s3(OWNER), &name, b"x", &mimicked).await.is_err());
    let right = EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::vault/k");
    assert!(kms.encrypt(&via_s3(OWNER), &name, b"x", &right).await.is_ok());
}

/// Condition keys have no case, and tags have.
#[tokio::test]
async fn tags_that_differ_in_case_alone_all_count() {
    let fixture = Fixture::new().await;
    let (kms, owner, name) = (&fixture.kms, direct(OWNER), KeyRef::from(&fixture.key().await));
    let text = format!(
        r#"{{"Statement": [
            {{"Effect": "Allow", "Principal": {{"AWS": "{OWNER}"}}, "Action": "kms:*", "Resource": "*"}},
            {{"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*",
              "Condition": {{"StringEquals": {{"aws:ResourceTag/team": "secret"}}}}}}]}}"#
    );
    kms.put_policy(&owner, &name, &text, false).await.unwrap();
    let tag = async |key: &str, value: &str| {
        kms.tag(&owner, &name, vec![(key.to_owned(), value.to_owned())]).await.unwrap();
        kms.encrypt(&owner, &name, b"x", &context()).await.is_ok()
    };
    assert!(tag("Team", "a").await);
    assert!(!tag("team", "secret").await);
    assert!(tag("team", "b").await);
    assert!(!tag("Team", "secret").await);
    assert_eq!(kms.metadata(&owner, &name, DESCRIBE).unwrap().tags.len(), 2);
}

#[tokio::test]
async fn a_pending_deletion_can_be_cancelled() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let key = fixture.key().await;
    let name = KeyRef::from(&key);
    let blob = kms.encrypt(&caller, &name, b"secret", &context()).await.unwrap().blob;
    let scheduled = kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    assert_eq!(scheduled.state, KeyState::PendingDeletion);
    assert_eq!(scheduled.deletion.unwrap().as_millisecond(), fixture.clock.now().as_millisecond() + 7 * DAY * 1000);
    for refused in [
        kms.generate_data_key(&caller, &name, &context()).await.map(drop),
        kms.decrypt(&caller, &blob, None, &context()).await.map(drop),
        kms.set_enabled(&caller, &name, true).await,
        kms.set_enabled(&caller, &name, false).await,
        kms.schedule_deletion(&caller, &name, 30).await.map(drop),
        kms.create_alias(&caller, "alias/late", &name).await,
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind, error.message), (KmsErrorKind::InvalidState, format!("{key} is pending deletion.")));
    }
    fixture.clock.advance(7 * DAY - 1);
    assert!(kms.destroy_due().await.unwrap().is_empty());
    let cancelled = kms.cancel_deletion(&caller, &name).await.unwrap();
    assert_eq!((cancelled.state, cancelled.deletion), (KeyState::Disabled, None));
    assert_eq!(kms.decrypt(&caller, &blob, None, &context()).await.unwrap_err().kind, KmsErrorKind::Disabled);
    fixture.clock.advance(30 * DAY);
    assert!(kms.destroy_due().await.unwrap().is_empty());
    kms.set_enabled(&caller, &name, true).await.unwrap();
    assert_eq!(kms.decrypt(&caller, &blob, None, &context()).await.unwrap().plaintext.expose(), b"secret");
    let error = kms.cancel_deletion(&caller, &name).await.unwrap_err();
    assert_eq!((error.kind, error.message), (KmsErrorKind::InvalidState, format!("{key} is not pending deletion.")));
}

#[tokio::test]
async fn a_due_key_is_gone_and_then_destroyed() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let (key, kept) = (fixture.key().await, fixture.key().await);
    let name = KeyRef::from(&key);
    kms.create_alias(&caller, "alias/doomed", &name).await.unwrap();
    kms.create_alias(&caller, "alias/kept", &(&kept).into()).await.unwrap();
    let blob = kms.encrypt(&caller, &name, b"secret", &context()).await.unwrap().blob;
    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    fixture.clock.advance(7 * DAY);
    for gone in [
        kms.generate_data_key(&caller, &name, &context()).await.map(drop),
        kms.encrypt(&caller, &KeyRef::parse("alias/doomed"), b"p", &context()).await.map(drop),
        kms.decrypt(&caller, &blob, None, &context()).await.map(drop),
        kms.describe(&caller, &name).await.map(drop),
        kms.cancel_deletion(&caller, &name).await.map(drop),
        kms.set_enabled(&caller, &name, true).await,
    ] {
        let error = gone.unwrap_err();
        assert_eq!((error.kind, error.message), (KmsErrorKind::NotFound, format!("Key '{key}' does not exist")));
    }
    let names = || kms.list_aliases(OWNER, None, "", 10).into_iter().map(|alias| alias.name).collect::<Vec<_>>();
    assert_eq!(kms.list_keys(OWNER, "", 10), std::slice::from_ref(&kept));
    assert_eq!(names(), ["alias/kept"]);

    assert_eq!(kms.destroy_due().await.unwrap(), std::slice::from_ref(&key));
    assert!(kms.destroy_due().await.unwrap().is_empty());
    let everything =
        fixture.store.scan(Partition::KMS, &KeyRange { start: vec![], end: vec![0xff] }, 100).await.unwrap();
    assert_eq!(everything.len(), 2, "the other key and its alias");
    let stored = fixture.store.get(Partition::KMS, &records::key_key(key.id())).await.unwrap();
    assert_eq!(stored, None);
    fixture.clock.advance(-7 * DAY);
    for kms in [kms, &fixture.reopened().await] {
        let error = kms.decrypt(&caller, &blob, None, &context()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::AccessDenied, "nothing tells of the key any more");
        assert!(error.message.starts_with("The ciphertext refers to a customer master key that does not exist"));
        assert_eq!(kms.describe(&caller, &name).await.unwrap_err().kind, KmsErrorKind::NotFound);
        assert_eq!(kms.list_keys(OWNER, "", 10).len(), 1);
    }
    kms.create_alias(&caller, "alias/doomed", &(&kept).into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_that_race_leave_memory_as_the_store() {
    let fixture = Arc::new(Fixture::new().await);
    let key = fixture.key().await;
    let racing: Vec<_> = (0..40)
        .map(|n| {
            let (fixture, name) = (Arc::clone(&fixture), KeyRef::from(&key));
            tokio::spawn(async move { fixture.kms.set_enabled(&direct(OWNER), &name, n % 2 == 0).await })
        })
        .collect();
    for change in racing {
        change.await.unwrap().unwrap();
    }
    let makers: Vec<_> = (0..10)
        .map(|_| {
            let (fixture, name) = (Arc::clone(&fixture), KeyRef::from(&key));
            tokio::spawn(async move { fixture.kms.create_alias(&direct(OWNER), "alias/one", &name).await.is_ok() })
        })
        .collect();
    let mut made = 0;
    for maker in makers {
        made += usize::from(maker.await.unwrap());
    }
    assert_eq!(made, 1);
    let seen = |kms: &LocalKms| format!("{:?}", kms.metadata(&direct(OWNER), &KeyRef::from(&key), DESCRIBE).unwrap());
    assert_eq!(seen(&fixture.kms), seen(&fixture.reopened().await));
}

#[tokio::test]
async fn what_another_server_changed_is_not_overwritten() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let behind = fixture.reopened().await;
    fixture.kms.set_enabled(&direct(OWNER), &(&key).into(), false).await.unwrap();
    let error = behind.schedule_deletion(&direct(OWNER), &(&key).into(), 7).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Internal);
    assert_eq!(
        fixture.reopened().await.metadata(&direct(OWNER), &(&key).into(), DESCRIBE).unwrap().state,
        KeyState::Disabled
    );
}

#[tokio::test]
async fn a_failing_store_changes_nothing() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let key = fixture.key().await;
    let name = KeyRef::from(&key);
    kms.create_alias(&caller, "alias/red", &name).await.unwrap();
    let state = || {
        let keys = kms.list_keys(OWNER, "", 10);
        let keys: Vec<_> = keys.iter().map(|key| kms.metadata(&caller, &key.into(), DESCRIBE).unwrap()).collect();
        format!("{keys:?} {:?}", kms.list_aliases(OWNER, None, "", 10))
    };
    let before = state();
    fixture.store.set_full(true);
    for refused in [
        kms.create_key(&caller, NewKey::default()).await.map(drop),
        kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::Unavailable);
        assert!(error.source.unwrap().downcast_ref::<StoreError>().is_some());
    }
    assert_eq!(state(), before);
    kms.generate_data_key(&caller, &name, &context()).await.expect("using a key needs no store");
    // What takes a key out of use must not fail for want of space: it replaces a record.
    kms.set_enabled(&caller, &name, false).await.unwrap();
    let disabled = state();
    assert_ne!(disabled, before);
    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    assert_ne!(state(), disabled);
    fixture.store.set_full(false);
    kms.create_key(&caller, NewKey::default()).await.unwrap();
}

#[tokio::test]
async fn aliases_follow_their_key() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let (one, other) = (fixture.key().await, fixture.key().await);
    let alias = KeyRef::parse("alias/red");
    kms.create_alias(&caller, "alias/red", &(&one).into()).await.unwrap();
    let error = kms.create_alias(&caller, "alias/red", &(&other).into()).await.unwrap_err();
    let told = format!("An alias with the name arn:aws:kms:{REGION}:{OWNER}:alias/red already exists");
    assert_eq!((error.kind, error.message), (KmsErrorKind::AlreadyExists, told));
    fixture.clock.advance(60);
    kms.update_alias(&caller, "alias/red", &(&other).into()).await.unwrap();
    assert_eq!(kms.describe(&caller, &alias).await.unwrap().arn, other);
    let entry = kms.list_aliases(OWNER, Some(other.id()), "", 10).remove(0);
    assert_eq!(entry.updated.as_millisecond() - entry.created.as_millisecond(), 60_000);
    assert!(kms.list_aliases(OWNER, Some(one.id()), "", 10).is_empty());
    let via = |alias: &str| KeyRef::parse(&alias.replace("ARN", &format!("arn:aws:kms:{REGION}:{OWNER}")));
    for target in [alias.clone(), via("ARN:alias/red")] {
        for refused in [
            kms.create_alias(&caller, "alias/blue", &target).await,
            kms.update_alias(&caller, "alias/red", &target).await,
        ] {
            let error = refused.unwrap_err();
            let told = (KmsErrorKind::Validation, "Aliases must refer to keys. Not aliases".to_owned());
            assert_eq!((error.kind, error.message), told);
        }
    }
    kms.delete_alias(&caller, "alias/red").await.unwrap();
    let missing = format!("Alias arn:aws:kms:{REGION}:{OWNER}:alias/red is not found.");
    for gone in [
        kms.delete_alias(&caller, "alias/red").await,
        kms.update_alias(&caller, "alias/red", &(&one).into()).await,
        kms.describe(&caller, &alias).await.map(drop),
    ] {
        let error = gone.unwrap_err();
        assert_eq!((error.kind, &error.message), (KmsErrorKind::NotFound, &missing));
    }
}

#[tokio::test]
async fn aliases_have_the_arns_of_their_partition() {
    let Fixture { store, root, clock, .. } = Fixture::new().await;
    let (entropy, region) = (Arc::new(SystemEntropy::new()), "us-gov-west-1".to_owned());
    let kms = LocalKms::open(store as _, root, clock as _, entropy, region).await.unwrap();
    let error = kms.describe(&direct(OWNER), &KeyRef::parse("alias/none")).await.unwrap_err();
    assert_eq!(error.message, format!("Alias arn:aws-us-gov:kms:us-gov-west-1:{OWNER}:alias/none is not found."));
}

#[tokio::test]
async fn nothing_shows_key_material() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let key = fixture.key().await;
    let generated = kms.generate_data_key(&caller, &(&key).into(), &context()).await.unwrap();
    let opened = kms.decrypt(&caller, &generated.wrapped.blob, None, &context()).await.unwrap();
    let (plaintext, _) = kms.generate(&caller, &(&key).into(), &context(), 32, "kms:GenerateDataKey").unwrap();
    let error = kms.decrypt(&caller, &generated.wrapped.blob, None, &EncryptionContext::new()).await.unwrap_err();
    let shown = [
        format!("{:?}", kms.ring()),
        format!("{generated:?}{opened:?}{plaintext:?}{error:?}{:?}", kms.random(32)),
        format!("{:?}{:?}", fixture.root, kms.metadata(&caller, &(&key).into(), DESCRIBE).unwrap()),
    ]
    .concat();
    let ring = kms.ring();
    let Some(material::MaterialSecret::Symmetric(material)) = &ring.keys[key.id()].materials[0].secret else {
        panic!("a symmetric key has symmetric material");
    };
    let material = material.expose();
    for secret in [material, generated.key.expose().expose(), &[1; 32]] {
        for form in [format!("{secret:?}").trim_matches(['[', ']']).to_owned(), hex::encode(secret)] {
            assert!(!shown.contains(&form));
        }
    }
    assert!(shown.contains("Secret(redacted)") && shown.contains("SecretBytes(redacted)"));
}

fn root(seed: u8) -> Arc<RootKey> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode([seed; 32]);
    Arc::new(RootKey::parse(text.as_bytes()).unwrap())
}

async fn open(store: &Arc<MemoryStore>, root: &Arc<RootKey>, clock: &Arc<ManualClock>) -> Result<LocalKms, OpenError> {
    let entropy = Arc::new(SystemEntropy::new());
    LocalKms::open(Arc::clone(store) as _, Arc::clone(root), Arc::clone(clock) as _, entropy, REGION.to_owned()).await
}

async fn overwrite(fixture: &Fixture, key: &KeyArn, value: Vec<u8>) {
    let batch = crate::store::Batch::new().put(records::key_key(key.id()), value);
    assert!(matches!(fixture.store.commit(Partition::KMS, batch).await, Ok(crate::store::Outcome::Applied)));
}

fn direct(account: &str) -> Caller {
    Caller::root_of(account, None, "R")
}

fn via_s3(account: &str) -> Caller {
    Caller { via_service: Some(format!("s3.{REGION}.amazonaws.com")), ..direct(account) }
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/key")
}
