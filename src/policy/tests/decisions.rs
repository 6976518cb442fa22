//! Whole decisions: who may, by which policies.

use serde_json::json;

use super::{FOREIGN_USER, OTHER, OWNER, ROOT, SESSION, STRANGER, USER, bucket_policy};
use crate::policy::*;

fn judge(policies: &Policies<'_, '_>, principal: Principal<'_>, context: &dyn Context) -> bool {
    let request = Request { principal, action: "s3:GetObject", resource: "arn:aws:s3:::b/k", owner: OWNER, context };
    decide(policies, &request).is_allowed()
}

#[test]
fn who_may() {
    let allows = |principal| bucket_policy(json!({"Principal": principal}));
    let denies = |principal| bucket_policy(json!({"Principal": principal, "Effect": "Deny"}));
    let identity = Policy::parse(
        &json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}).to_string(),
        Kind::Identity,
    )
    .unwrap();
    let silent = Policy::parse(
        &json!({"Statement": {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}}).to_string(),
        Kind::Identity,
    )
    .unwrap();
    let resource = |policy| Policies { resource: Some(policy), ..Policies::default() };
    let (mine, quiet) = ([&identity], [&silent]);

    // No policy at all.
    let none = Policies::default();
    for (principal, expected) in
        [(ROOT, true), (STRANGER, false), (USER, false), (FOREIGN_USER, false), (Principal::Anonymous, false)]
    {
        assert_eq!(judge(&none, principal, &()), expected, "{principal:?}");
    }
    // Everybody is let in.
    let world = allows(json!("*"));
    for (principal, expected) in [
        (ROOT, true),
        (STRANGER, true),
        (USER, true),
        (SESSION, true),
        (Principal::Anonymous, true),
        (Principal::Service("x.amazonaws.com"), true),
        // Across accounts, the user's own account must agree.
        (FOREIGN_USER, false),
    ] {
        assert_eq!(judge(&resource(&world), principal, &()), expected, "{principal:?}");
    }
    let agreed = Policies { identity: List::Plain(&mine), ..resource(&world) };
    assert!(judge(&agreed, FOREIGN_USER, &()));
    assert!(!judge(&Policies { identity: List::Plain(&mine), ..none }, FOREIGN_USER, &()), "the owner must agree");
    assert!(judge(&Policies { identity: List::Plain(&mine), ..none }, USER, &()));
    // One account is let in.
    let other = allows(json!({"AWS": OTHER}));
    assert!(judge(&resource(&other), STRANGER, &()));
    assert!(!judge(&resource(&other), Principal::Anonymous, &()));
    assert!(!judge(&resource(&other), USER, &()));
    let root = allows(json!({"AWS": format!("arn:aws:iam::{OTHER}:root")}));
    assert!(judge(&resource(&root), STRANGER, &()));
    // Denied, even the owner's root.
    let closed = denies(json!("*"));
    assert!(!judge(&Policies { identity: List::Plain(&mine), ..resource(&closed) }, ROOT, &()));
    let not_them = denies(json!({"AWS": OTHER}));
    assert!(judge(&resource(&not_them), ROOT, &()));
    let but_root = bucket_policy(json!({"Principal": null, "NotPrincipal": {"AWS": OWNER}, "Effect": "Deny"}));
    assert!(judge(&resource(&but_root), ROOT, &()));
    assert!(!judge(&Policies { identity: List::Plain(&mine), ..resource(&but_root) }, FOREIGN_USER, &()));
    // Who has a boundary is never excepted from a denial.
    let but_alice =
        bucket_policy(json!({"Principal": null, "NotPrincipal": {"AWS": [OWNER, USER.arn()]}, "Effect": "Deny"}));
    let excepted = Policies { identity: List::Plain(&mine), ..resource(&but_alice) };
    assert!(judge(&excepted, USER, &()));
    assert!(!judge(&Policies { boundary: Some(&identity), ..excepted }, USER, &()));
    // By name: boundaries and sessions do not bound what the resource itself gives.
    let alice = allows(json!({"AWS": USER.arn()}));
    let bounded = Policies { boundary: Some(&silent), ..resource(&alice) };
    assert!(judge(&bounded, USER, &()));
    assert!(!judge(&Policies { boundary: Some(&silent), ..resource(&world) }, USER, &()));
    assert!(!judge(&Policies { boundary: Some(&silent), identity: List::Plain(&mine), ..none }, USER, &()));
    assert!(judge(&Policies { boundary: Some(&identity), identity: List::Plain(&mine), ..none }, USER, &()));
    assert!(!judge(
        &Policies { session: Some(List::Plain(&quiet)), identity: List::Plain(&mine), ..none },
        SESSION,
        &()
    ));
    assert!(judge(&Policies { session: Some(List::Plain(&mine)), identity: List::Plain(&mine), ..none }, SESSION, &()));
    let role = allows(json!({"AWS": "arn:aws:iam::111122223333:role/reader"}));
    assert!(judge(&resource(&role), SESSION, &()));
    assert!(!judge(&resource(&role), USER, &()));
    // A role's ARN gives within the bounds; its session's, whatever they are.
    let by_session = allows(json!({"AWS": SESSION.arn()}));
    for bounds in
        [Policies { boundary: Some(&silent), ..none }, Policies { session: Some(List::Plain(&quiet)), ..none }]
    {
        assert!(!judge(&Policies { resource: Some(&role), ..bounds }, SESSION, &()));
        assert!(judge(&Policies { resource: Some(&by_session), ..bounds }, SESSION, &()));
    }
    // An account's name hands the decision to the account, the owner's own account too.
    let own = allows(json!({"AWS": OWNER}));
    assert!(judge(&resource(&own), ROOT, &()));
    assert!(!judge(&resource(&own), USER, &()));
    assert!(judge(&Policies { identity: List::Plain(&mine), ..resource(&own) }, USER, &()));
}

#[test]
fn access_control_lists() {
    let identity = json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}).to_string();
    let identity = Policy::parse(&identity, Kind::Identity).unwrap();
    let mine = [&identity];
    let list = |acl| Policies { acl, ..Policies::default() };
    for (principal, by_account, by_everybody) in [
        (STRANGER, true, true),
        (Principal::Anonymous, true, true),
        (USER, false, true),
        // Across accounts, the user's own account must agree.
        (FOREIGN_USER, false, false),
    ] {
        assert!(!judge(&list(Grant::None), principal, &()), "{principal:?}");
        assert_eq!(judge(&list(Grant::Account), principal, &()), by_account, "{principal:?}");
        assert_eq!(judge(&list(Grant::Everybody), principal, &()), by_everybody, "{principal:?}");
    }
    for acl in [Grant::Account, Grant::Everybody] {
        assert!(judge(&Policies { identity: List::Plain(&mine), ..list(acl) }, FOREIGN_USER, &()));
    }
    let closed = bucket_policy(json!({"Effect": "Deny"}));
    assert!(!judge(&Policies { resource: Some(&closed), ..list(Grant::Everybody) }, STRANGER, &()));
    // Over what belongs to somebody else, the policy denies and does not allow.
    let open = bucket_policy(json!({}));
    let foreign = |policy| Policies { resource: Some(policy), resource_only_denies: true, ..Policies::default() };
    assert!(!judge(&foreign(&open), STRANGER, &()));
    assert!(judge(&foreign(&open), ROOT, &()), "it is the owner's");
    assert!(!judge(&foreign(&closed), ROOT, &()));
    assert!(judge(&Policies { acl: Grant::Account, ..foreign(&open) }, STRANGER, &()));
    let request = Request {
        principal: STRANGER,
        action: "s3:GetObject",
        resource: "arn:aws:s3:::b/k",
        owner: OWNER,
        context: &(),
    };
    assert_eq!(decide(&list(Grant::Account), &request), Decision::Allowed(Grounds::AccessControlList));
}

#[test]
fn canonical_ids_stand_for_accounts() {
    let mut policy = bucket_policy(json!({"Principal": {"CanonicalUser": ["cafe", "dead"]}}));
    let lets_in = |policy: &Policy| judge(&Policies { resource: Some(policy), ..Policies::default() }, STRANGER, &());
    assert!(!lets_in(&policy));
    let error = policy.resolve(|id| (id == "cafe").then(|| OTHER.to_owned())).unwrap_err();
    assert_eq!(error.0, "Invalid principal in policy");
    assert!(lets_in(&policy), "whom it knows, it lets in");
    assert!(policy.resolve(|_| Some(OTHER.to_owned())).is_ok());
}

#[test]
fn a_keys_policy_is_all() {
    let policy = |principal| {
        let text = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "kms:*", "Resource": "*"}});
        Policy::parse(&text.to_string(), Kind::Key).unwrap()
    };
    let identity = Policy::parse(
        &json!({"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}).to_string(),
        Kind::Identity,
    )
    .unwrap();
    let mine = [&identity];
    let decide = |policy, principal, identity: &[&Policy]| {
        let identity = List::Plain(identity);
        let policies = Policies { resource: Some(policy), resource_must_allow: true, identity, ..Policies::default() };
        let request = Request { principal, action: "kms:Decrypt", resource: "arn:key", owner: OWNER, context: &() };
        decide(&policies, &request).is_allowed()
    };
    let default = policy(json!(format!("arn:aws:iam::{OWNER}:root")));
    assert!(decide(&default, ROOT, &[]));
    assert!(!decide(&default, USER, &[]), "the account's root is let, and lets whom it will");
    assert!(decide(&default, USER, &mine));
    assert!(!decide(&default, STRANGER, &[]));
    assert!(!decide(&default, FOREIGN_USER, &mine));
    let alice = policy(json!(USER.arn()));
    assert!(decide(&alice, USER, &[]));
    assert!(!decide(&alice, ROOT, &[]), "not even root, if the key's policy does not say so");
    let (other, world) = (policy(json!(OTHER)), policy(json!("*")));
    assert!(decide(&other, FOREIGN_USER, &mine));
    assert!(decide(&world, USER, &[]));
}

#[test]
fn the_two_policies_of_sse_kms() {
    const METHOD: &str = "s3:x-amz-server-side-encryption";
    const KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    let put = |policy: &Policy, context: &[(&str, &str)]| {
        let policies = Policies { resource: Some(policy), ..Policies::default() };
        let request = Request {
            principal: ROOT,
            action: "s3:PutObject",
            resource: "arn:aws:s3:::b/k",
            owner: OWNER,
            context: &context,
        };
        decide(&policies, &request).is_allowed()
    };
    let deny = |condition| bucket_policy(json!({"Effect": "Deny", "Action": "s3:PutObject", "Condition": condition}));
    let encrypted = deny(json!({"StringNotEquals": {METHOD: "aws:kms"}}));
    assert!(put(&encrypted, &[(METHOD, "aws:kms")]));
    assert!(!put(&encrypted, &[(METHOD, "AES256")]));
    assert!(!put(&encrypted, &[]));
    let one_key = deny(json!({"ArnNotEqualsIfExists": {KEY: "arn:aws:kms:us-east-1:111122223333:key/1"}}));
    assert!(put(&one_key, &[(KEY, "arn:aws:kms:us-east-1:111122223333:key/1")]));
    assert!(!put(&one_key, &[(KEY, "arn:aws:kms:us-east-1:111122223333:key/2")]));
    assert!(!put(&one_key, &[]), "...IfExists is true of an absent key, and so a denial");
    let asks_for = |policy: &Policy, key: &str| policy.asks_for_some(|asked| asked == key);
    assert!(asks_for(&one_key, KEY) && !asks_for(&one_key, METHOD));
    let variable = bucket_policy(json!({
        "Condition": {"StringEquals": {"aws:PrincipalAccount": "${s3:ExistingObjectTag/Owner}"}},
        "Resource": "arn:aws:s3:::b/${aws:username}/*",
    }));
    for key in ["aws:principalaccount", "s3:existingobjecttag/owner", "aws:username"] {
        assert!(asks_for(&variable, key), "{key}");
    }
}

#[test]
fn a_decision_tells_its_reason() {
    let request = |principal| Request {
        principal,
        action: "s3:GetObject",
        resource: "arn:aws:s3:::b/k",
        owner: OWNER,
        context: &(),
    };
    let reason =
        |policies: &Policies<'_, '_>, principal| decide(policies, &request(principal)).reason("s3:GetObject").unwrap();
    let none = Policies::default();
    assert_eq!(reason(&none, USER), "because no identity-based policy allows the s3:GetObject action");
    assert_eq!(reason(&none, STRANGER), "because no resource-based policy allows the s3:GetObject action");
    let closed = bucket_policy(json!({"Effect": "Deny", "Sid": "closed"}));
    let policies = Policies { resource: Some(&closed), ..none };
    assert_eq!(reason(&policies, ROOT), "with an explicit deny in a resource-based policy");
    let decision = decide(&policies, &request(ROOT));
    assert!(
        matches!(decision, Decision::Denied(Source::Resource, statement) if statement.sid.as_deref() == Some("closed"))
    );
}
