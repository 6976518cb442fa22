//! Whole decisions: who may, by which policies.

use serde_json::json;

use super::{FOREIGN_USER, OTHER, OWNER, ROOT, SESSION, STRANGER, USER, bucket_policy};
use crate::policy::*;

fn judge(policies: &Policies<'_, '_>, principal: Principal<'_>, context: &dyn Context) -> bool {
    let request = Request { principal, action: "s3:GetObject", resource: "arn:aws:s3:::b/k", owner: OWNER, context };
    decide(policies, &request).is_allowed()
}

/// Who asks, which policies there are, and whether they let. What each is called stands in [`who_may`].
const WHO_MAY: &str = "
    # No policy at all.
    owner => allow
    stranger => refuse
    alice => refuse
    bob => refuse
    anonymous => refuse
    # Everybody is let in. Across accounts, the user's own account must agree, and so must the owner.
    owner resource=world => allow
    stranger resource=world => allow
    alice resource=world => allow
    session resource=world => allow
    anonymous resource=world => allow
    service resource=world => allow
    bob resource=world => refuse
    bob resource=world identity=all => allow
    bob identity=all => refuse
    alice identity=all => allow
    # One account is let in.
    stranger resource=other => allow
    anonymous resource=other => refuse
    alice resource=other => refuse
    stranger resource=other-root => allow
    # Denied, even the owner's root.
    owner resource=closed identity=all => refuse
    owner resource=not-other => allow
    owner resource=but-owner => allow
    bob resource=but-owner identity=all => refuse
    # Who has a boundary is never excepted from a denial.
    alice resource=but-alice identity=all => allow
    alice resource=but-alice identity=all boundary=all => refuse
    # By name: boundaries and sessions do not bound what the resource itself gives.
    alice resource=alice boundary=quiet => allow
    alice resource=world boundary=quiet => refuse
    alice identity=all boundary=quiet => refuse
    alice identity=all boundary=all => allow
    session identity=all session=quiet => refuse
    session identity=all session=all => allow
    session resource=role => allow
    alice resource=role => refuse
    # A role's ARN gives within the bounds; its session's, whatever they are.
    session resource=role boundary=quiet => refuse
    session resource=role session=quiet => refuse
    session resource=session boundary=quiet => allow
    session resource=session session=quiet => allow
    # An account's name hands the decision to the account, the owner's own account too.
    owner resource=own => allow
    alice resource=own => refuse
    alice resource=own identity=all => allow
";

#[test]
fn who_may() {
    let identity = |action: &str| {
        let text = json!({"Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}}).to_string();
        Policy::parse(&text, Kind::Identity).unwrap()
    };
    let allows = |principal| bucket_policy(json!({"Principal": principal}));
    let denies = |principal| bucket_policy(json!({"Principal": principal, "Effect": "Deny"}));
    let denies_all_but =
        |principal| bucket_policy(json!({"Principal": null, "NotPrincipal": principal, "Effect": "Deny"}));
    let policies = [
        ("all", identity("s3:*")),
        ("quiet", identity("s3:PutObject")),
        ("world", allows(json!("*"))),
        ("other", allows(json!({"AWS": OTHER}))),
        ("other-root", allows(json!({"AWS": format!("arn:aws:iam::{OTHER}:root")}))),
        ("alice", allows(json!({"AWS": USER.arn()}))),
        ("role", allows(json!({"AWS": "arn:aws:iam::111122223333:role/reader"}))),
        ("session", allows(json!({"AWS": SESSION.arn()}))),
        ("own", allows(json!({"AWS": OWNER}))),
        ("closed", denies(json!("*"))),
        ("not-other", denies(json!({"AWS": OTHER}))),
        ("but-owner", denies_all_but(json!({"AWS": OWNER}))),
        ("but-alice", denies_all_but(json!({"AWS": [OWNER, USER.arn()]}))),
    ];
    let principals = [
        ("owner", ROOT),
        ("stranger", STRANGER),
        ("alice", USER),
        ("bob", FOREIGN_USER),
        ("session", SESSION),
        ("anonymous", Principal::Anonymous),
        ("service", Principal::Service("x.amazonaws.com")),
    ];
    let cases = WHO_MAY.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for case in cases {
        let (request, expected) = case.split_once(" => ").unwrap_or_else(|| panic!("{case}"));
        let mut words = request.split(' ');
        let name = words.next().unwrap();
        let (_, principal) = principals.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{case}"));
        let given: Vec<_> = words.map(|word| word.split_once('=').unwrap_or_else(|| panic!("{case}"))).collect();
        let policy = |place: &str| {
            let (_, name) = given.iter().find(|(other, _)| *other == place)?;
            policies.iter().find(|(other, _)| other == name).map(|(_, policy)| policy)
        };
        let found = ["resource", "identity", "boundary", "session"].map(policy);
        assert_eq!(found.iter().flatten().count(), given.len(), "{case}");
        let [resource, identity, boundary, session] = found;
        let (identity, session) = (identity.as_slice(), session.as_ref().map(std::slice::from_ref));
        let policies = Policies {
            resource,
            identity: List::Plain(identity),
            boundary,
            session: session.map(List::Plain),
            ..Policies::default()
        };
        let decision = if judge(&policies, *principal, &()) { "allow" } else { "refuse" };
        assert_eq!(decision, expected, "{case}");
    }
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
        assert_eq!(judge(&list(Grant::Initiator), principal, &()), by_everybody, "{principal:?}");
    }
    for acl in [Grant::Account, Grant::Everybody, Grant::Initiator] {
        assert!(judge(&Policies { identity: List::Plain(&mine), ..list(acl) }, FOREIGN_USER, &()));
    }
    let closed = bucket_policy(json!({"Effect": "Deny"}));
    for acl in [Grant::Everybody, Grant::Initiator] {
        assert!(!judge(&Policies { resource: Some(&closed), ..list(acl) }, STRANGER, &()));
    }
    // What an upload's initiator has is its own, as what a policy gives to a user by its name.
    let nothing =
        Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "x:y", "Resource": "*"}}"#, Kind::Identity);
    let nothing = nothing.unwrap();
    assert!(judge(&Policies { boundary: Some(&nothing), ..list(Grant::Initiator) }, USER, &()));
    assert!(!judge(&Policies { boundary: Some(&nothing), ..list(Grant::Everybody) }, USER, &()));
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
