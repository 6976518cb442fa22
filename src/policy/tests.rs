//! The language, case by case; and whole decisions.

use proptest::prelude::*;
use serde_json::json;

use super::condition::{Condition, Malformed};
use super::pattern::{Pattern, Syntax};
use super::*;

const OWNER: &str = "111122223333";
const OTHER: &str = "444455556666";
const ROOT: Principal<'_> = Principal::Root { account: OWNER, arn: "arn:aws:iam::111122223333:root" };
const STRANGER: Principal<'_> = Principal::Root { account: OTHER, arn: "arn:aws:iam::444455556666:root" };
const USER: Principal<'_> = Principal::User { account: OWNER, arn: "arn:aws:iam::111122223333:user/alice" };
const FOREIGN_USER: Principal<'_> = Principal::User { account: OTHER, arn: "arn:aws:iam::444455556666:user/bob" };
const SESSION: Principal<'_> = Principal::Session {
    account: OWNER,
    arn: "arn:aws:sts::111122223333:assumed-role/reader/s1",
    role: "arn:aws:iam::111122223333:role/reader",
};
const BUCKET: Kind<'_> = Kind::Bucket("arn:aws:s3:::b");

fn syntax(wildcards: bool, fold: bool) -> Syntax {
    Syntax { wildcards, variables: true, fold }
}

#[test]
fn wildcards() {
    let matches = |pattern: &str, text: &str| Pattern::new(pattern, syntax(true, false)).matches(text, &());
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "anything", true),
        ("", "", true),
        ("", "x", false),
        ("?", "", false),
        ("?", "x", true),
        ("?", "ü", true),
        ("?", "xy", false),
        ("a*c", "ac", true),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("*a*", "bab", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxcyyb", false),
        ("a?c*", "abcd", true),
        ("s3:Get*", "s3:GetObject", true),
        ("s3:Get*", "s3:PutObject", false),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b", true),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
        ("arn:aws:s3:::b*", "arn:aws:s3:::b", true),
        ("A", "a", false),
        ("${*}", "*", true),
        ("${*}", "x", false),
        ("a${?}", "a?", true),
        ("${$}", "$", true),
        ("$x", "$x", true),
        ("${unclosed", "${unclosed", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
    assert!(Pattern::new("S3:getobject", syntax(true, true)).matches("s3:GetObject", &()));
    assert!(!Pattern::new("a*", syntax(false, false)).matches("ab", &()));
    assert!(Pattern::new("a*", syntax(false, false)).matches("a*", &()));
}

#[test]
fn arns_are_matched_by_segments() {
    let matches = |pattern: &str, text: &str| Pattern::new(pattern, syntax(true, false)).matches_arn(text, &());
    let key = "arn:aws:kms:us-east-1:111122223333:key/1";
    for (pattern, expected) in [
        (key, true),
        ("arn:aws:kms:*:111122223333:key/*", true),
        ("arn:*:kms:*:*:*", true),
        ("arn:*", false),
        ("*", false),
        ("arn:aws:kms:*:key/1", false),
        ("arn:aws:kms:us-east-1:111122223333:key/2", false),
    ] {
        assert_eq!(matches(pattern, key), expected, "{pattern}");
    }
    assert!(matches("arn:aws:sns:*:*:a:*", "arn:aws:sns:r:1:a:b:c"), "the last segment takes the rest");
}

#[test]
fn variables() {
    let context: &[(&str, &str)] = &[("aws:username", "al*ce"), ("many", "a"), ("many", "b")];
    let matches = |pattern: &str, text: &str| Pattern::new(pattern, syntax(true, false)).matches(text, &context);
    assert!(matches("home/${aws:username}/*", "home/al*ce/x"));
    assert!(matches("home/${AWS:UserName}/*", "home/al*ce/x"));
    assert!(!matches("home/${aws:username}/*", "home/alice/x"), "a value's wildcards are characters");
    assert!(!matches("home/${aws:userid}/*", "home//x"), "no value matches nothing");
    assert!(matches("home/${aws:userid, 'nobody'}/*", "home/nobody/x"));
    assert!(!matches("${many}", "a"), "several values have no one text");
    let old = Syntax { variables: false, ..syntax(true, false) };
    assert!(Pattern::new("${aws:username}", old).matches("${aws:username}", &context));
}

impl Context for &[(&str, &str)] {
    fn find(&self, key: &str) -> Found<'_> {
        (**self).find(key)
    }
}

#[test]
fn conditions() {
    let context: &[(&str, &str)] = &[
        ("s", "Blue"),
        ("n", "10"),
        ("d", "2026-06-01T12:00:00Z"),
        ("t", "true"),
        ("ip", "10.1.2.3"),
        ("ip6", "2001:db8::1"),
        ("mapped", "::ffff:10.1.2.3"),
        ("arn", "arn:aws:iam::111122223333:user/alice"),
        ("bin", "QmluYXJ5"),
        ("tags", "a"),
        ("tags", "b"),
        ("odd", "no number"),
    ];
    for (operator, key, values, expected) in [
        ("StringEquals", "s", &["Blue"][..], true),
        ("StringEquals", "s", &["blue"], false),
        ("StringEquals", "s", &["red", "Blue"], true),
        ("StringEquals", "S", &["Blue"], true),
        ("StringEquals", "s", &["B*"], false),
        ("StringEquals", "none", &["x"], false),
        ("StringEqualsIfExists", "none", &["x"], true),
        ("StringEqualsIfExists", "s", &["x"], false),
        ("StringNotEquals", "s", &["Blue"], false),
        ("StringNotEquals", "s", &["red", "Blue"], false),
        ("StringNotEquals", "s", &["red"], true),
        ("StringNotEquals", "none", &["red"], true),
        ("StringNotEqualsIfExists", "none", &["red"], true),
        ("StringEqualsIgnoreCase", "s", &["bLUE"], true),
        ("StringNotEqualsIgnoreCase", "s", &["bLUE"], false),
        ("StringLike", "s", &["B?u*"], true),
        ("StringLike", "s", &["b*"], false),
        ("StringNotLike", "s", &["B*"], false),
        ("StringNotLike", "none", &["B*"], true),
        ("NumericEquals", "n", &["10.0"], true),
        ("NumericNotEquals", "n", &["10"], false),
        ("NumericNotEquals", "none", &["10"], true),
        ("NumericLessThan", "n", &["10"], false),
        ("NumericLessThanEquals", "n", &["10"], true),
        ("NumericGreaterThan", "n", &["9.5"], true),
        ("NumericGreaterThanEquals", "n", &["11"], false),
        ("NumericLessThan", "odd", &["11"], false),
        ("DateLessThan", "d", &["2026-06-01T12:00:01Z"], true),
        ("DateGreaterThan", "d", &["2026-06-01"], true),
        ("DateEquals", "d", &["1780315200"], true),
        ("DateNotEquals", "d", &["2026-06-01T12:00:00Z"], false),
        ("DateLessThanEquals", "d", &["2026-06-01T14:00:00+02:00"], true),
        ("DateGreaterThanEquals", "d", &["2027-01-01"], false),
        ("Bool", "t", &["true"], true),
        ("Bool", "t", &["False"], false),
        ("Bool", "none", &["false"], false),
        ("BoolIfExists", "none", &["false"], true),
        ("BinaryEquals", "bin", &["QmluYXJ5"], true),
        ("BinaryEquals", "bin", &["AAAA"], false),
        ("IpAddress", "ip", &["10.0.0.0/8"], true),
        ("IpAddress", "ip", &["10.1.2.3"], true),
        ("IpAddress", "ip", &["10.1.2.4"], false),
        ("IpAddress", "ip", &["2001:db8::/32"], false),
        ("IpAddress", "ip6", &["2001:db8::/32"], true),
        ("IpAddress", "mapped", &["10.0.0.0/8"], true),
        ("NotIpAddress", "ip", &["10.0.0.0/8"], false),
        ("NotIpAddress", "ip", &["192.168.0.0/16"], true),
        ("ArnLike", "arn", &["arn:aws:iam::*:user/*"], true),
        ("ArnEquals", "arn", &["arn:aws:iam::111122223333:user/al?ce"], true),
        ("ArnLike", "arn", &["arn:*"], false),
        ("ArnNotLike", "arn", &["arn:aws:iam::*:user/*"], false),
        ("ArnNotEquals", "none", &["arn:aws:iam::*:user/*"], true),
        ("Null", "s", &["false"], true),
        ("Null", "s", &["true"], false),
        ("Null", "none", &["true"], true),
        ("ForAnyValue:StringEquals", "tags", &["b", "c"], true),
        ("ForAnyValue:StringEquals", "tags", &["c"], false),
        ("ForAnyValue:StringEquals", "none", &["c"], false),
        ("ForAnyValue:StringEquals", "s", &["Blue"], true),
        ("ForAnyValue:StringNotEquals", "tags", &["a"], true),
        ("ForAnyValue:StringNotEquals", "none", &["a"], false),
        ("ForAllValues:StringEquals", "tags", &["a", "b", "c"], true),
        ("ForAllValues:StringEquals", "tags", &["a"], false),
        ("ForAllValues:StringEquals", "none", &["a"], true),
        ("ForAllValues:StringNotEquals", "tags", &["c"], true),
        ("ForAllValues:StringNotEquals", "tags", &["a"], false),
    ] {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let condition = Condition::new(operator, key, &values, true).unwrap();
        assert_eq!(condition.holds(&context), expected, "{operator} {key} {values:?}");
    }
    let error = |operator: &str, value: &str| Condition::new(operator, "k", &[value.to_owned()], true).unwrap_err();
    for operator in ["", "StringMatches", "stringequals", "ForSomeValues:StringEquals", "NullIfExists"] {
        assert_eq!(error(operator, "true"), Malformed::Operator, "{operator}");
    }
    for operator in ["NumericEquals", "DateEquals", "Bool", "IpAddress", "BinaryEquals", "Null"] {
        assert_eq!(error(operator, "no such value!"), Malformed::Value, "{operator}");
    }
}

/// A bucket policy of one statement: `more` over an allowance of everything for everybody.
fn statement(more: &serde_json::Value) -> String {
    let mut statement =
        json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"});
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            statement.as_object_mut().unwrap().remove(name);
        } else {
            statement[name] = value.clone();
        }
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the value in place")]
fn bucket_policy(more: serde_json::Value) -> Policy {
    Policy::parse(&statement(&more), BUCKET).unwrap()
}

#[test]
fn malformed_documents_are_refused_as_s3_refuses_them() {
    let refused = |text: &str| Policy::parse(text, BUCKET).unwrap_err().0;
    let no_json = "Policies must be valid JSON and the first byte must be '{'";
    for text in ["", "x", "[]", " {}", "{", "\"{}\""] {
        assert_eq!(refused(text), no_json, "{text}");
    }
    for (text, expected) in [
        (json!({}), "Missing required field Statement"),
        (json!({"Statement": []}), "Could not parse the policy: Statement is empty!"),
        (json!({"Version": "2020-01-01", "Statement": []}), "The policy must contain a valid version string"),
        (json!({"Colour": 1, "Statement": []}), "Unknown field Colour"),
        (json!({"Statement": ["x"]}), "Invalid policy syntax."),
    ] {
        assert_eq!(refused(&text.to_string()), expected);
    }
    for (more, expected) in [
        (json!({"Effect": null}), "Missing required field Effect"),
        (json!({"Effect": "allow"}), "Invalid effect: allow"),
        (json!({"Principal": null}), "Missing required field Principal"),
        (json!({"Principal": "alice"}), "Invalid principal in policy"),
        (json!({"Principal": {"AWS": "alice"}}), "Invalid principal in policy"),
        (json!({"Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}}), "Invalid principal in policy"),
        (json!({"Principal": {"Nobody": "*"}}), "Invalid principal in policy"),
        (json!({"Principal": {}}), "Invalid principal in policy"),
        (json!({"Action": null}), "Missing required field Action"),
        (json!({"Action": "s3:MakeCoffee"}), "Policy has invalid action"),
        (json!({"Action": "kms:Decrypt"}), "Policy has invalid action"),
        (json!({"Action": []}), "Invalid policy syntax."),
        (json!({"Action": 7, "NotAction": 8}), "Policy cannot contain both Action and NotAction"),
        (json!({"Resource": null}), "Missing required field Resource"),
        (json!({"Resource": "arn:aws:s3:::other/*"}), "Policy has invalid resource"),
        (json!({"Resource": "*"}), "Policy has invalid resource"),
        (json!({"Resource": "arn:aws:s3:::b"}), "Action does not apply to any resource(s) in statement"),
        (json!({"Action": "s3:ListBucket"}), "Action does not apply to any resource(s) in statement"),
        (json!({"Condition": {"Equals": {"a": "b"}}}), "Invalid Condition type : Equals"),
        (json!({"Condition": {"NumericEquals": {"a": "b"}}}), "Invalid value for condition NumericEquals on a"),
        (json!({"Condition": []}), "Invalid policy syntax."),
        (json!({"Colour": "blue"}), "Unknown field Colour"),
        (json!({"Sid": 1}), "Invalid policy syntax."),
    ] {
        assert_eq!(refused(&statement(&more)), expected, "{more}");
    }
}

#[test]
fn kinds_have_rules_of_their_own() {
    let with =
        json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}).to_string();
    let without = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}).to_string();
    assert!(Policy::parse(&with, Kind::Key).is_ok());
    assert!(Policy::parse(&without, Kind::Identity).is_ok());
    assert_eq!(Policy::parse(&with, Kind::Identity).unwrap_err().0, "Policy document should not specify a principal.");
    assert_eq!(Policy::parse(&without, Kind::Key).unwrap_err().0, "Missing required field Principal");
    let trust = json!({"Statement": {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}});
    assert!(Policy::parse(&trust.to_string(), Kind::Trust).is_ok());
    assert_eq!(
        Policy::parse(&with.replace("kms:*", "sts:*"), Kind::Trust).unwrap_err().0,
        "Has prohibited field Resource"
    );
}

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
    let agreed = Policies { identity: &mine, ..resource(&world) };
    assert!(judge(&agreed, FOREIGN_USER, &()));
    assert!(!judge(&Policies { identity: &mine, ..none }, FOREIGN_USER, &()), "the owner must agree");
    assert!(judge(&Policies { identity: &mine, ..none }, USER, &()));
    // One account is let in.
    let other = allows(json!({"AWS": OTHER}));
    assert!(judge(&resource(&other), STRANGER, &()));
    assert!(!judge(&resource(&other), Principal::Anonymous, &()));
    assert!(!judge(&resource(&other), USER, &()));
    let root = allows(json!({"AWS": format!("arn:aws:iam::{OTHER}:root")}));
    assert!(judge(&resource(&root), STRANGER, &()));
    // Denied, even the owner's root.
    let closed = denies(json!("*"));
    assert!(!judge(&Policies { identity: &mine, ..resource(&closed) }, ROOT, &()));
    let not_them = denies(json!({"AWS": OTHER}));
    assert!(judge(&resource(&not_them), ROOT, &()));
    let but_root = bucket_policy(json!({"Principal": null, "NotPrincipal": {"AWS": OWNER}, "Effect": "Deny"}));
    assert!(judge(&resource(&but_root), ROOT, &()));
    assert!(!judge(&Policies { identity: &mine, ..resource(&but_root) }, FOREIGN_USER, &()));
    // By name: boundaries and sessions do not bound what the resource itself gives.
    let alice = allows(json!({"AWS": USER.arn()}));
    let bounded = Policies { boundary: Some(&silent), ..resource(&alice) };
    assert!(judge(&bounded, USER, &()));
    assert!(!judge(&Policies { boundary: Some(&silent), ..resource(&world) }, USER, &()));
    assert!(!judge(&Policies { boundary: Some(&silent), identity: &mine, ..none }, USER, &()));
    assert!(judge(&Policies { boundary: Some(&identity), identity: &mine, ..none }, USER, &()));
    assert!(!judge(&Policies { session: Some(&quiet), identity: &mine, ..none }, SESSION, &()));
    assert!(judge(&Policies { session: Some(&mine), identity: &mine, ..none }, SESSION, &()));
    let role = allows(json!({"AWS": "arn:aws:iam::111122223333:role/reader"}));
    assert!(judge(&resource(&role), SESSION, &()));
    assert!(!judge(&resource(&role), USER, &()));
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
    let decide = |policy, principal, identity| {
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
    assert!(one_key.asks_for(KEY) && !one_key.asks_for(METHOD));
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

#[test]
fn what_is_public() {
    for (more, expected) in [
        (json!({}), true),
        (json!({"Principal": {"AWS": "*"}}), true),
        (json!({"Principal": {"AWS": OTHER}}), false),
        (json!({"Effect": "Deny"}), false),
        (json!({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}), false),
        (json!({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}), true),
        (json!({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}), true),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}), true),
        (json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}), true),
        (json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}), false),
    ] {
        assert_eq!(bucket_policy(more.clone()).is_public(), expected, "{more}");
    }
}

/// Matching as its definition says, whatever it costs.
fn slow(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some('*'), _) => slow(&pattern[1..], text) || (!text.is_empty() && slow(pattern, &text[1..])),
        (Some('?'), Some(_)) => slow(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => slow(&pattern[1..], &text[1..]),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_its_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        let (slow_pattern, slow_text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        let fast = Pattern::new(&pattern, syntax(true, false)).matches(&text, &());
        prop_assert_eq!(fast, slow(&slow_pattern, &slow_text));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", more in "[{}\\[\\]\",:a-zA-Z0-9*$ ]{0,200}") {
        for kind in [BUCKET, Kind::Key, Kind::Identity, Kind::Trust] {
            let _ = Policy::parse(&text, kind);
            let _ = Policy::parse(&format!("{{{more}"), kind);
        }
    }
}
