//! Grants: kept, found, listed, ended.

use super::*;
use crate::kms::spec::GrantOperation;
use crate::policy::{Subject as Principal, SubjectKind};

fn role(name: &str) -> Grantee {
    Grantee::Principal(format!("arn:aws:iam::{OTHER}:role/{name}"))
}

fn terms(name: Option<&str>) -> GrantTerms {
    GrantTerms {
        grantee: role("worker"),
        retiring: Some(role("keeper")),
        operations: vec![GrantOperation::Encrypt, GrantOperation::Decrypt],
        constraints: GrantConstraints { subset: Some(context()), ..GrantConstraints::default() },
        name: name.map(str::to_owned),
    }
}

fn as_role(name: &str) -> Caller {
    Caller::new(&Arc::new(session_of(name)), None, "R")
}

fn session_of(name: &str) -> Principal {
    let role = format!("arn:aws:iam::{OTHER}:role/{name}");
    let session = format!("arn:aws:sts::{OTHER}:assumed-role/{name}/session");
    Principal::new(SubjectKind::Role(role), OTHER, session, "AROA:session")
}

/// A policy that allows `action`.
fn allowing(action: &str) -> crate::policy::Attached {
    let text = format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}}}"#);
    let policy = crate::policy::Policy::parse(&text, crate::policy::Kind::Identity).unwrap();
    crate::policy::Attached { id: "p".to_owned(), policy: Arc::new(policy) }
}

/// The same subject, whose session's policies allow `action`.
fn narrowed(subject: Principal, action: &str) -> Principal {
    subject.in_session(crate::policy::Session {
        policies: Some(vec![allowing(action)]),
        issued: from_millis(0),
        source_identity: None,
        provider: None,
    })
}

fn bounded(subject: Principal, action: &str) -> Principal {
    Principal { boundary: Some(allowing(action)), ..subject }
}

#[tokio::test]
async fn what_a_role_is_granted_is_bounded_and_what_a_session_is_granted_is_not() {
    let fixture = Fixture::new().await;
    let (kms, owner, name) = (&fixture.kms, direct(OWNER), KeyRef::from(&fixture.key().await));
    let may = async |subject: Principal| {
        let caller = Caller::new(&Arc::new(subject), None, "R");
        kms.encrypt(&caller, &name, b"x", &context()).await.is_ok()
    };
    kms.create_grant(&owner, &name, terms(None), false).await.unwrap();
    let session = || session_of("worker");
    assert!(may(session()).await);
    assert!(may(bounded(session(), "kms:*")).await && may(narrowed(session(), "kms:*")).await);
    assert!(!may(bounded(session(), "s3:*")).await && !may(narrowed(session(), "s3:*")).await);

    let by_itself = GrantTerms { grantee: Grantee::principal(&session().arn), ..terms(None) };
    let (_, token) = kms.create_grant(&owner, &name, by_itself, false).await.unwrap();
    assert!(may(bounded(session(), "s3:*")).await && may(narrowed(session(), "s3:*")).await);

    let retire = async |subject: Principal| {
        let caller = Caller::new(&Arc::new(subject), None, "R");
        kms.retire_grant(&caller, &GrantRef::Token(token.clone()), true).await.is_ok()
    };
    let keeper = || session_of("keeper");
    assert!(retire(keeper()).await && retire(narrowed(keeper(), "kms:*")).await);
    assert!(!retire(bounded(keeper(), "s3:*")).await && !retire(narrowed(keeper(), "s3:*")).await);
}

#[tokio::test]
async fn what_an_account_is_granted_its_own_policies_hand_on() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    for whole in [OTHER.to_owned(), format!("arn:aws:iam::{OTHER}:root")] {
        let name = KeyRef::from(&fixture.key().await);
        // As it is written, and as older grants have it.
        for grantee in [Grantee::principal(&whole), Grantee::Principal(whole.clone())] {
            kms.create_grant(&owner, &name, GrantTerms { grantee, ..terms(None) }, false).await.unwrap();
        }
        let shown = Grantee::Principal(format!("arn:aws:iam::{OTHER}:root"));
        assert!(kms.grants(&owner, &name).unwrap().iter().all(|grant| grant.terms.grantee == shown));
        let may = async |subject: Principal| {
            let caller = Caller::new(&Arc::new(subject), None, "R");
            kms.encrypt(&caller, &name, b"x", &context()).await.is_ok()
        };
        let allowed = |subject: Principal| Principal { policies: vec![allowing("kms:Encrypt")], ..subject };
        let user = |account: &str| {
            Principal::new(SubjectKind::User, account, format!("arn:aws:iam::{account}:user/u"), "AIDAU")
        };
        assert!(may(Principal::root(OTHER)).await);
        assert!(!may(user(OTHER)).await);
        assert!(may(allowed(user(OTHER))).await);
        assert!(may(allowed(session_of("any"))).await);
        assert!(!may(bounded(allowed(session_of("any")), "s3:*")).await);
        assert!(!may(allowed(user("777788889999"))).await);
        assert!(!may(Principal::service("s3.amazonaws.com", OTHER)).await);
    }
}

#[tokio::test]
async fn grants_are_kept_and_listed() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let (one, other) = (fixture.key().await, fixture.key().await);
    let name = KeyRef::from(&one);
    let generation = kms.changes();
    let (id, token) = kms.create_grant(&caller, &name, terms(Some("n")), false).await.unwrap();
    assert!(kms.changes() > generation, "caches of unwrapped keys must learn of it");
    let (again, other_token) = kms.create_grant(&caller, &name, terms(Some("n")), false).await.unwrap();
    assert_eq!(again, id, "the same name and terms are the same grant");
    assert_ne!(token, other_token);
    let mut reordered = terms(Some("n"));
    reordered.operations.reverse();
    assert_ne!(reordered, terms(Some("n")));
    let (again, _) = kms.create_grant(&caller, &name, reordered, false).await.unwrap();
    assert_eq!(again, id, "nor does the order of the operations make another");
    kms.create_grant(&caller, &name, terms(None), false).await.unwrap();
    kms.create_grant(&caller, &name, terms(None), false).await.unwrap();
    kms.create_grant(&caller, &KeyRef::from(&other), terms(Some("n")), false).await.unwrap();
    kms.create_grant(&caller, &name, GrantTerms { retiring: None, ..terms(Some("dry")) }, true).await.unwrap();
    for kms in [kms, &fixture.reopened().await] {
        let listed = kms.grants(&caller, &name).unwrap();
        assert_eq!(listed.len(), 3);
        let found = listed.iter().find(|grant| grant.id == id).unwrap();
        assert_eq!((&found.terms, &found.key, found.issuer.as_str()), (&terms(Some("n")), &one, OWNER));
        assert_eq!(kms.retirable_grants(&direct(OTHER), &role("keeper")).unwrap().len(), 4);
        assert!(kms.retirable_grants(&direct(OTHER), &role("worker")).unwrap().is_empty());
        for hidden in [role("keeper"), Grantee::Service("s3.amazonaws.com".to_owned())] {
            let error = kms.retirable_grants(&caller, &hidden).unwrap_err();
            assert_eq!(error.kind, KmsErrorKind::AccessDenied);
        }
    }
}

#[tokio::test]
async fn what_decides_is_seen_and_told_to_the_root() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let key = fixture.key().await;
    let name = KeyRef::from(&key);
    let decided = |caller: &Caller, is_refused| caller.witness.decisions().decisive(is_refused).unwrap().told();
    let told = |decision, kind, statement: Option<&str>| {
        let mut told = serde_json::json!({"action": "kms:Encrypt", "decision": decision, "policyType": kind});
        if let Some(statement) = statement {
            told["statement"] = statement.into();
        }
        told
    };
    let encrypt = async |caller: &Caller| kms.encrypt(caller, &name, b"x", &context()).await;
    let worker = as_role("worker").watched();
    assert_eq!(encrypt(&worker).await.unwrap_err().kind, KmsErrorKind::AccessDenied);
    assert_eq!(decided(&worker, true), told("ImplicitDeny", "resource-based policy", None));
    let (grant, _) = kms.create_grant(&owner, &name, terms(None), false).await.unwrap();
    let worker = worker.watched();
    encrypt(&worker).await.unwrap();
    assert_eq!(decided(&worker, false), told("Allow", "grant", Some(&grant)));
    assert_eq!(
        kms.beside_policy(&worker, &key, "kms:Encrypt", Some(&context())),
        Some(Beside::Grant(grant)),
        "and it is what those are told who ask"
    );
    let without = EncryptionContext::new();
    assert_eq!(kms.beside_policy(&worker, &key, "kms:Encrypt", Some(&without)), Some(Beside::Nothing));

    let root = owner.watched();
    encrypt(&root).await.unwrap();
    let enabled = Some("Enable IAM User Permissions");
    assert_eq!(decided(&root, false), told("Allow", "resource-based policy", enabled));
    let mut policy: serde_json::Value = serde_json::from_str(&default_policy(OWNER)).unwrap();
    let deny =
        serde_json::json!({"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"});
    policy["Statement"].as_array_mut().unwrap().push(deny);
    kms.put_policy(&owner, &name, &policy.to_string(), false).await.unwrap();
    let root = root.watched();
    let error = encrypt(&root).await.unwrap_err();
    let named = "with an explicit deny in a resource-based policy (statement: No)";
    assert!(error.message.ends_with(named), "{}", error.message);
    assert_eq!(decided(&root, true), told("Deny", "resource-based policy", Some("No")));
    let error = encrypt(&as_role("worker")).await.unwrap_err();
    assert!(!error.message.contains("statement:"), "another account's principal is not told: {}", error.message);

    let managed = kms.describe(&via_s3(OWNER), &KeyRef::aws_s3()).await.unwrap().arn;
    let beside = |caller: &Caller| kms.beside_policy(caller, &managed, "kms:Decrypt", None);
    assert_eq!((beside(&via_s3(OWNER)), beside(&owner)), (Some(Beside::Service(true)), Some(Beside::Service(false))));
}

#[tokio::test]
async fn grants_end_by_whoever_may_end_them() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    let make = async |terms| kms.create_grant(&owner, &name, terms, false).await.unwrap();
    let (id, token) = make(terms(None)).await;
    let by_token = GrantRef::Token(token);
    let error = kms.retire_grant(&as_role("worker"), &by_token, false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::AccessDenied, "the grant does not say that its grantee may retire it");
    kms.retire_grant(&as_role("keeper"), &by_token, true).await.unwrap();
    assert_eq!(kms.grants(&owner, &name).unwrap().len(), 1, "dry");
    kms.retire_grant(&as_role("keeper"), &by_token, false).await.unwrap();
    assert!(kms.grants(&owner, &name).unwrap().is_empty());
    let error = kms.retire_grant(&as_role("keeper"), &by_token, false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidGrantToken);
    for garbage in ["", "AQ", "not a token"] {
        let error = kms.retire_grant(&owner, &GrantRef::Token(garbage.to_owned()), false).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::InvalidGrantToken);
    }
    let retirable = GrantTerms { operations: vec![GrantOperation::RetireGrant], ..terms(None) };
    let (_, token) = make(retirable).await;
    kms.retire_grant(&as_role("worker"), &GrantRef::Token(token), false).await.unwrap();
    let (by_id, _) = make(terms(None)).await;
    kms.retire_grant(&owner, &GrantRef::Id(name.clone(), by_id), false).await.unwrap();
    let (revoked, _) = make(terms(None)).await;
    let error = kms.revoke_grant(&as_role("keeper"), &name, &revoked, false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::AccessDenied);
    kms.set_enabled(&owner, &name, false).await.unwrap();
    kms.revoke_grant(&owner, &name, &revoked, false).await.unwrap();
    let error = kms.revoke_grant(&owner, &name, &id, false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidGrantId);
    let error = kms.create_grant(&owner, &name, terms(None), false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Disabled);
    assert!(fixture.reopened().await.grants(&owner, &name).unwrap().is_empty());
}

/// A user of `account`, with a policy of its own that has this effect on `kms:RetireGrant`.
fn who_retires(account: &str, name: &str, effect: Option<&str>) -> Caller {
    let arn = format!("arn:aws:iam::{account}:user/{name}");
    let mut user = Principal::new(SubjectKind::User, account, arn, format!("AIDA{name}"));
    user.policies = effect
        .map(|effect| {
            let text =
                format!(r#"{{"Statement": {{"Effect": "{effect}", "Action": "kms:RetireGrant", "Resource": "*"}}}}"#);
            let policy = crate::policy::Policy::parse(&text, crate::policy::Kind::Identity).unwrap();
            crate::policy::Attached { id: "p".to_owned(), policy: Arc::new(policy) }
        })
        .into_iter()
        .collect();
    Caller::new(&Arc::new(user), None, "R")
}

#[tokio::test]
async fn who_retires_is_judged_by_its_own_policies_alone() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    let keeper = |account: &str| Grantee::Principal(format!("arn:aws:iam::{account}:user/keeper"));
    let retire = async |retiring: Grantee, caller: &Caller| {
        let terms = GrantTerms { retiring: Some(retiring), ..terms(None) };
        let (_, token) = kms.create_grant(&owner, &name, terms, false).await.unwrap();
        let retired = kms.retire_grant(caller, &GrantRef::Token(token), true).await;
        retired.map_err(|error| assert_eq!(error.kind, KmsErrorKind::AccessDenied)).is_ok()
    };
    // Whom the grant names needs no allowance, and heeds a denial.
    assert!(retire(keeper(OWNER), &who_retires(OWNER, "keeper", None)).await);
    assert!(!retire(keeper(OWNER), &who_retires(OWNER, "keeper", Some("Deny"))).await);
    assert!(!retire(keeper(OTHER), &who_retires(OTHER, "keeper", Some("Deny"))).await);
    // The key's account may leave it to others, and so may an account that is to retire it.
    let whole = |account: &str| Grantee::Principal(format!("arn:aws:iam::{account}:root"));
    assert!(retire(keeper(OWNER), &who_retires(OWNER, "other", Some("Allow"))).await);
    assert!(!retire(keeper(OWNER), &who_retires(OWNER, "other", None)).await);
    assert!(retire(whole(OTHER), &who_retires(OTHER, "other", Some("Allow"))).await);
    assert!(retire(Grantee::Principal(OTHER.to_owned()), &who_retires(OTHER, "other", Some("Allow"))).await);
    assert!(!retire(whole(OTHER), &who_retires(OTHER, "other", None)).await);
    assert!(!retire(keeper(OTHER), &who_retires(OTHER, "other", Some("Allow"))).await);
    assert!(!retire(whole(OTHER), &who_retires("777788889999", "other", Some("Allow"))).await);

    // The key's policy gives nothing and takes nothing.
    let statement = |effect: &str, user: &str| {
        format!(
            r#"{{"Effect": "{effect}", "Principal": {{"AWS": "arn:aws:iam::{OWNER}:user/{user}"}},
                "Action": "kms:RetireGrant", "Resource": "*"}}"#
        )
    };
    let all =
        format!(r#"{{"Effect": "Allow", "Principal": {{"AWS": "{OWNER}"}}, "Action": "kms:*", "Resource": "*"}}"#);
    let text = [all, statement("Deny", "keeper"), statement("Allow", "other")].join(",");
    kms.put_policy(&owner, &name, &format!(r#"{{"Statement": [{text}]}}"#), false).await.unwrap();
    assert!(retire(keeper(OWNER), &who_retires(OWNER, "keeper", None)).await);
    assert!(!retire(keeper(OTHER), &who_retires(OWNER, "other", None)).await);
}

#[tokio::test]
async fn grants_go_with_their_key_and_fit_it() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    let sign = GrantTerms { operations: vec![GrantOperation::Sign], ..terms(None) };
    let error = kms.create_grant(&caller, &name, sign.clone(), false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Validation);
    let new = NewKey { spec: crate::kms::KeySpec::EccNistP256, usage: KeyUsage::SignVerify, ..NewKey::default() };
    let pair = KeyRef::from(&kms.create_key(&caller, new).await.unwrap().arn);
    let error = kms.create_grant(&caller, &pair, sign.clone(), false).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Validation, "it has an encryption context");
    let sign = GrantTerms { constraints: GrantConstraints::default(), ..sign };
    kms.create_grant(&caller, &pair, sign, false).await.unwrap();
    kms.create_grant(&caller, &name, terms(None), false).await.unwrap();
    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    fixture.clock.advance(7 * DAY);
    kms.tend().await.unwrap();
    for kms in [kms, &fixture.reopened().await] {
        assert!(
            kms.retirable_grants(&direct(OTHER), &role("keeper"))
                .unwrap()
                .iter()
                .all(|grant| KeyRef::from(&grant.key) == pair)
        );
    }
}

#[tokio::test]
async fn constraints_hold_where_there_is_a_context() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let arn = fixture.key().await;
    let name = KeyRef::from(&arn);
    let grant = GrantTerms {
        operations: vec![GrantOperation::Encrypt, GrantOperation::DescribeKey],
        constraints: GrantConstraints {
            subset: Some(EncryptionContext::new().with("Team", "red")),
            ..GrantConstraints::default()
        },
        ..terms(None)
    };
    kms.create_grant(&owner, &name, grant.clone(), false).await.unwrap();
    let worker = as_role("worker");
    let may = async |context: EncryptionContext| kms.encrypt(&worker, &name, b"p", &context).await.is_ok();
    assert!(may(EncryptionContext::new().with("Team", "red").with("more", "yes")).await);
    assert!(may(EncryptionContext::new().with("TEAM", "red")).await, "keys of constraints have no case");
    assert!(!may(EncryptionContext::new().with("Team", "RED")).await, "their values have");
    assert!(!may(EncryptionContext::new()).await);
    kms.metadata(&worker, &name, DESCRIBE).unwrap();

    let equals = GrantConstraints { subset: None, equals: grant.constraints.subset.clone(), source_arn: None };
    let other = GrantTerms { grantee: role("other"), constraints: equals, ..grant };
    kms.create_grant(&owner, &name, other, false).await.unwrap();
    let other = as_role("other");
    let may = async |context: EncryptionContext| kms.encrypt(&other, &name, b"p", &context).await.is_ok();
    assert!(may(EncryptionContext::new().with("team", "red")).await);
    assert!(!may(EncryptionContext::new().with("Team", "red").with("more", "yes")).await);
}

#[tokio::test]
async fn who_may_grant_by_a_grant_gives_no_more_than_it_has() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    let given = GrantTerms { operations: vec![GrantOperation::CreateGrant, GrantOperation::Decrypt], ..terms(None) };
    kms.create_grant(&owner, &name, given, false).await.unwrap();
    let worker = as_role("worker");
    let make = async |operations: &[GrantOperation], subset: Option<EncryptionContext>| {
        let constraints = GrantConstraints { subset, ..GrantConstraints::default() };
        let terms = GrantTerms { grantee: role("third"), operations: operations.to_vec(), constraints, ..terms(None) };
        kms.create_grant(&worker, &name, terms, true).await.map(drop).map_err(|error| error.kind)
    };
    let denied = Err(KmsErrorKind::AccessDenied);
    assert_eq!(make(&[GrantOperation::Decrypt], Some(context())).await, Ok(()));
    assert_eq!(make(&[GrantOperation::Decrypt], Some(context().with("more", "strict"))).await, Ok(()));
    assert_eq!(make(&[GrantOperation::Decrypt], None).await, denied, "without the constraint");
    assert_eq!(make(&[GrantOperation::Encrypt], Some(context())).await, denied, "more operations");
    assert_eq!(make(&[GrantOperation::Decrypt], Some(EncryptionContext::new())).await, denied);
}

#[tokio::test]
async fn tokens_that_name_no_grant_are_refused() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    let (id, token) = kms.create_grant(&owner, &name, terms(None), false).await.unwrap();
    kms.check_grant_tokens(&[&token, &token]).unwrap();
    kms.check_grant_tokens(&[]).unwrap();
    for wrong in ["", "x", &token[1..]] {
        assert_eq!(kms.check_grant_tokens(&[&token, wrong]).unwrap_err().kind, KmsErrorKind::InvalidGrantToken);
    }
    kms.revoke_grant(&owner, &name, &id, false).await.unwrap();
    assert_eq!(kms.check_grant_tokens(&[&token]).unwrap_err().kind, KmsErrorKind::InvalidGrantToken);
}

/// Users of the account [`OTHER`], by name.
#[derive(Default)]
struct Users(std::sync::Mutex<Vec<(String, String)>>);

impl Users {
    fn set(&self, users: &[(&str, &str)]) {
        *self.0.lock().unwrap() = users.iter().map(|(name, id)| (arn_of(name), (*id).to_owned())).collect();
    }
}

impl crate::policy::Registry for Users {
    fn has_account(&self, id: &str) -> bool {
        id == OTHER
    }
    fn has_provider(&self, _: &str) -> bool {
        false
    }
    fn id_of(&self, arn: &str) -> Option<String> {
        self.0.lock().unwrap().iter().find(|(other, _)| other == arn).map(|(_, id)| id.clone())
    }
    fn arn_of(&self, id: &str) -> Option<String> {
        self.0.lock().unwrap().iter().find(|(_, other)| other == id).map(|(arn, _)| arn.clone())
    }
}

fn arn_of(name: &str) -> String {
    format!("arn:aws:iam::{OTHER}:user/{name}")
}

fn as_user(name: &str, id: &str) -> Caller {
    Caller::new(&Arc::new(Principal::new(SubjectKind::User, OTHER, arn_of(name), id)), None, "R")
}

#[tokio::test]
async fn grants_go_by_unique_ids() {
    let fixture = Fixture::new().await;
    let (kms, owner) = (&fixture.kms, direct(OWNER));
    let users = Arc::new(Users::default());
    users.set(&[("alice", "AIDAALICE"), ("bob", "AIDABOB")]);
    kms.know(Arc::clone(&users) as _);
    let key = fixture.key().await;
    let name = KeyRef::from(&key);
    let user = |name: &str| Grantee::Principal(arn_of(name));
    let terms = |grantee, retiring| GrantTerms { grantee, retiring: Some(retiring), ..terms(None) };
    for terms in [terms(user("nobody"), user("bob")), terms(user("alice"), user("nobody"))] {
        let error = kms.create_grant(&owner, &name, terms, false).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::InvalidArn);
    }
    let (id, _) = kms.create_grant(&owner, &name, terms(user("alice"), user("bob")), false).await.unwrap();
    let blob = kms.encrypt(&as_user("alice", "AIDAALICE"), &name, b"x", &context()).await.unwrap().blob;

    // Alice is Alicia now, and somebody else is Alice; Bob has gone, and another one has come.
    users.set(&[("alicia", "AIDAALICE"), ("alice", "AIDAOTHER"), ("bob", "AIDALATER")]);
    kms.decrypt(&as_user("alicia", "AIDAALICE"), &blob, None, &context()).await.unwrap();
    let error = kms.decrypt(&as_user("alice", "AIDAOTHER"), &blob, None, &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::AccessDenied);
    let (grant, later) = (GrantRef::Id(name.clone(), id), as_user("bob", "AIDALATER"));
    assert_eq!(kms.retire_grant(&later, &grant, false).await.unwrap_err().kind, KmsErrorKind::AccessDenied);
    assert!(kms.retirable_grants(&direct(OTHER), &user("bob")).unwrap().is_empty());
    let shown = kms.grants(&owner, &name).unwrap().remove(0).terms;
    let gone = Grantee::Principal("AIDABOB".to_owned());
    assert_eq!((shown.grantee, shown.retiring), (user("alicia"), Some(gone)));
    kms.retire_grant(&as_user("bob", "AIDABOB"), &grant, false).await.unwrap();
}
