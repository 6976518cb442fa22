//! Changes: kept whole, refused whole, and seen at once.

use std::sync::Arc;

use super::records::{Grants, GroupRecord, KeyRecord, PolicyRecord, RoleRecord, UserRecord, VersionRecord};
use super::*;
use crate::crypto::random::SeededEntropy;
use crate::policy::{Ask, Subject};
use crate::store::memory::MemoryStore;

const ACCOUNT: &str = "111122223333";
const S3_ALL: &str = r#"{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}"#;

struct Fixture {
    meta: Arc<MemoryStore>,
    entropy: Arc<SeededEntropy>,
    store: IdentityStore,
}

fn root(text: &[u8]) -> Arc<RootKey> {
    Arc::new(RootKey::parse(text).unwrap())
}

impl Fixture {
    const ROOT: &[u8] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    async fn new() -> Self {
        let entropy = Arc::new(SeededEntropy::new(1));
        let meta = Arc::new(MemoryStore::new(Arc::clone(&entropy) as _));
        let (store, ..) = IdentityStore::open(Arc::clone(&meta) as _, root(Self::ROOT), &*entropy).await.unwrap();
        Self { meta, entropy, store }
    }

    async fn reopened(&self) -> IdentityStore {
        IdentityStore::open(Arc::clone(&self.meta) as _, root(Self::ROOT), &*self.entropy).await.unwrap().0
    }

    async fn change(&self, change: impl Fn(&mut AccountState)) {
        let done = self.store.change(ACCOUNT, |state| {
            change(state);
            Ok::<_, StoreError>(())
        });
        done.await.unwrap();
    }
}

fn user(name: &str) -> UserRecord {
    UserRecord {
        id: format!("AIDA{name}"),
        name: name.to_owned(),
        path: "/".to_owned(),
        created: 1,
        grants: Grants::default(),
        groups: Vec::new(),
        boundary: None,
        tags: Vec::new(),
    }
}

fn inline(text: &str) -> Grants {
    Grants { inline: vec![("p".to_owned(), text.to_owned())], attached: Vec::new() }
}

fn may(subject: &Subject, action: &str) -> bool {
    let ask = Ask {
        action,
        resource: "arn:aws:s3:::b/k",
        owner: ACCOUNT,
        policy: None,
        policy_must_allow: false,
        context: subject,
    };
    subject.judge_ask(&ask).is_allowed()
}

#[tokio::test]
async fn what_was_changed_is_seen_at_once_and_after_a_start() {
    let fixture = Fixture::new().await;
    let sealed = fixture.store.seal(&*fixture.entropy, "AKIAONE", b"the secret");
    fixture
        .change(|state| {
            state.users.insert(UserRecord { grants: inline(S3_ALL), ..user("Alice") });
            let (id, user) = ("AKIAONE".to_owned(), "alice".to_owned());
            state.keys.insert(KeyRecord { id, user, sealed: sealed.clone().into(), active: true, created: 1 });
        })
        .await;
    for store in [&fixture.store, &fixture.reopened().await] {
        let key = store.key("AKIAONE").unwrap();
        assert_eq!((key.secret.expose(), key.active), (&b"the secret"[..], true));
        let account = store.account(ACCOUNT);
        let alice = account.user(&key.user).unwrap();
        assert_eq!(alice.arn, format!("arn:aws:iam::{ACCOUNT}:user/Alice"));
        assert!(may(alice, "s3:GetObject") && !may(alice, "kms:Decrypt"));
    }
    fixture.change(|state| state.keys.get_mut("AKIAONE").unwrap().active = false).await;
    assert!(!fixture.store.key("AKIAONE").unwrap().active);
    fixture.change(|state| drop(state.keys.remove("AKIAONE"))).await;
    assert!(fixture.store.key("AKIAONE").is_none());
    assert!(fixture.reopened().await.key("AKIAONE").is_none());
}

#[tokio::test]
async fn groups_policies_and_boundaries_reach_their_users() {
    let fixture = Fixture::new().await;
    let arn = format!("arn:aws:iam::{ACCOUNT}:policy/reading");
    let reading = r#"{"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}"#;
    let version = |number, document: &str| VersionRecord { number, document: document.to_owned(), created: 1 };
    fixture
        .change(|state| {
            state.policies.insert(PolicyRecord {
                id: "ANPA".to_owned(),
                name: "reading".to_owned(),
                path: "/".to_owned(),
                created: 1,
                updated: 1,
                description: None,
                versions: vec![version(1, reading), version(2, S3_ALL)],
                default: 1,
                last: 2,
                tags: Vec::new(),
            });
            let grants = Grants { inline: Vec::new(), attached: vec![arn.clone()] };
            let (id, name, path) = ("AGPA".to_owned(), "Readers".to_owned(), "/".to_owned());
            state.groups.insert(GroupRecord { id, name, path, created: 1, grants });
            state.users.insert(UserRecord { groups: vec!["readers".to_owned()], ..user("a") });
            state.users.insert(user("b"));
        })
        .await;
    let of = |name: &str| Arc::clone(fixture.store.account(ACCOUNT).user(name).unwrap());
    let (a, b) = (of("a"), of("b"));
    assert!(may(&a, "s3:GetObject") && !may(&a, "s3:PutObject") && !may(&b, "s3:GetObject"));
    fixture.change(|state| state.users.get_mut("b").unwrap().tags.push(("k".to_owned(), "v".to_owned()))).await;
    assert_eq!(of("a").stamp, a.stamp, "who is not concerned stays as they are");
    assert_ne!(of("b").stamp, b.stamp);
    fixture.change(|state| state.policies.get_mut("reading").unwrap().default = 2).await;
    assert!(may(&of("a"), "s3:PutObject"));
    let aws = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".to_owned();
    fixture.change(|state| state.users.get_mut("a").unwrap().boundary = Some(aws.clone())).await;
    assert!(!may(&of("a"), "s3:PutObject") && may(&of("a"), "s3:GetObject"));
    assert!(!may(&a, "s3:PutObject"), "what was looked up before is as it was");
}

#[tokio::test]
async fn a_refused_change_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.change(|state| state.users.insert(user("a"))).await;
    let before = fixture.store.account(ACCOUNT).state.record.generation;
    let refused = fixture
        .store
        .change(ACCOUNT, |state| {
            state.users.remove("a");
            Err::<(), _>(StoreError::NoSpace)
        })
        .await;
    assert!(matches!(refused, Err(StoreError::NoSpace)));
    fixture.change(|_| {}).await;
    let account = fixture.store.account(ACCOUNT);
    assert!(account.user("A").is_some());
    assert_eq!(account.state.record.generation, before, "what changes nothing is not written");
}

/// Another process's change is not overwritten: the second one sees it.
#[tokio::test]
async fn changes_never_meet() {
    let fixture = Fixture::new().await;
    let other = fixture.reopened().await;
    fixture.change(|state| state.users.insert(user("a"))).await;
    let count = other.change(ACCOUNT, |state| {
        state.users.insert(user("b"));
        Ok::<_, StoreError>(state.users.len())
    });
    assert_eq!(count.await.unwrap(), 2);
    assert!(fixture.reopened().await.account(ACCOUNT).user("a").is_some());
    let many = (0..20).map(|number| {
        let store = &fixture.store;
        async move {
            store
                .change("444455556666", |state| {
                    state.users.insert(user(&number.to_string()));
                    Ok::<_, StoreError>(())
                })
                .await
        }
    });
    for done in futures_util::future::join_all(many).await {
        done.unwrap();
    }
    assert_eq!(fixture.reopened().await.account("444455556666").state.users.len(), 20);
}

#[tokio::test]
async fn another_root_key_opens_nothing() {
    let fixture = Fixture::new().await;
    let other = root(b"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    let opened = IdentityStore::open(Arc::clone(&fixture.meta) as _, other, &*fixture.entropy).await;
    assert!(matches!(opened.err(), Some(OpenError::Root(RootKeyError::WrongKey))));
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_denies() {
    let fixture = Fixture::new().await;
    fixture
        .change(|state| {
            let mut grants = inline(S3_ALL);
            grants.inline.push(("broken".to_owned(), "{".to_owned()));
            state.users.insert(UserRecord { grants, ..user("a") });
            state.roles.insert(RoleRecord {
                id: "AROA".to_owned(),
                name: "r".to_owned(),
                path: "/".to_owned(),
                created: 1,
                grants: Grants::default(),
                trust: "{".to_owned(),
                boundary: None,
                tags: Vec::new(),
                description: None,
                max_session: 3600,
            });
        })
        .await;
    let account = fixture.store.account(ACCOUNT);
    assert!(!may(account.user("a").unwrap(), "s3:GetObject"));
    assert!(account.role("R").is_some());
}

#[tokio::test]
async fn ids_lead_to_who_has_them_now() {
    let fixture = Fixture::new().await;
    fixture.change(|state| state.users.insert(user("Ann"))).await;
    fixture
        .change(|state| {
            state.users.remove("Ann");
            state.users.insert(UserRecord { name: "Bea".to_owned(), ..user("Ann") });
        })
        .await;
    for store in [&fixture.store, &fixture.reopened().await] {
        assert_eq!(store.account(ACCOUNT).user_by_id("AIDAAnn").unwrap().name, "Bea");
        assert!(store.account(ACCOUNT).role_by_id("AIDAAnn").is_none());
    }
    fixture.change(|state| drop(state.users.remove("Bea"))).await;
    assert!(fixture.store.account(ACCOUNT).user_by_id("AIDAAnn").is_none());
}
