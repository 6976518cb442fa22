//! What is no policy, and what each kind of document may not say.

use proptest::prelude::*;
use serde_json::json;

use super::{BUCKET, statement};
use crate::policy::*;

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
fn conditions_that_no_action_has_are_refused() {
    let check = |more: &serde_json::Value| {
        let policy = Policy::parse(&statement(more), BUCKET).unwrap();
        policy.check_conditions("arn:aws:s3:::b").map_err(|error| error.0)
    };
    let (bucket, objects) = ("arn:aws:s3:::b", "arn:aws:s3:::b/*");
    let on = |key: &str, action: serde_json::Value, resource: serde_json::Value| {
        check(&json!({"Action": action, "Resource": resource, "Condition": {"StringLike": {key: "x"}}}))
    };
    for key in [
        "aws:PrincipalOrgID",
        "AWS:principaltag/Team",
        "s3:TLSVersion",
        "s3:authType",
        "saml:aud",
        "s3:ExistingObjectTag/a",
    ] {
        assert_eq!(on(key, json!("s3:GetObject"), json!(objects)), Ok(()), "{key}");
    }
    let unknown = Err("Policy has an invalid condition key".to_owned());
    for key in [
        "aws:PrincipalOrg",
        "aws:PrincipalTag/",
        "aws:PrincipalTag",
        "s3:x-amz-colour",
        "s3:ExistingObjectTag",
        "prefix",
    ] {
        assert_eq!(on(key, json!("s3:GetObject"), json!(objects)), unknown, "{key}");
    }
    let unfit = Err("Conditions do not apply to combination of actions and resources in statement".to_owned());
    for (key, action, resource, expected) in [
        ("s3:prefix", json!("s3:ListBucket"), json!(bucket), Ok(())),
        ("s3:prefix", json!("s3:*"), json!([bucket, objects]), Ok(())),
        ("s3:prefix", json!("s3:*"), json!(objects), unfit.clone()),
        ("s3:prefix", json!(["s3:ListBucket", "s3:GetBucketLocation"]), json!(bucket), unfit.clone()),
        ("s3:x-amz-server-side-encryption", json!("s3:PutObject*"), json!(objects), Ok(())),
        ("s3:x-amz-server-side-encryption", json!(["s3:PutObject", "s3:GetObject"]), json!(objects), unfit.clone()),
        ("s3:VersionId", json!("s3:GetObject"), json!(objects), unfit.clone()),
        ("s3:VersionId", json!("s3:GetObjectVersion"), json!(objects), Ok(())),
        ("s3:x-amz-acl", json!(["s3:PutObject", "s3:PutObjectAcl"]), json!(objects), Ok(())),
    ] {
        assert_eq!(on(key, action.clone(), resource), expected, "{key} {action}");
    }
    let all_but = json!({"Action": null, "NotAction": "s3:GetObject", "Condition": {"StringLike": {"s3:prefix": "x"}}});
    assert_eq!(check(&all_but), Ok(()));
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
    for missing in ["Action", "Resource"] {
        let mut lame: serde_json::Value = serde_json::from_str(&with).unwrap();
        lame["Statement"].as_object_mut().unwrap().remove(missing);
        assert!(Policy::parse(&lame.to_string(), Kind::Key).is_ok(), "{missing}");
        assert!(Policy::parse(&lame.to_string(), BUCKET).is_err(), "{missing}");
    }
    for (text, expected) in [
        ("{", "Syntax errors in policy."),
        ("{}", "Syntax errors in policy."),
        (r#"{"Statement": {"Effect": "Allow", "Resource": "*"}}"#, "Policy statement must contain actions."),
        (r#"{"Statement": {"Effect": "Allow", "Action": "s3:*"}}"#, "Policy statement must contain resources."),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": "GetObject", "Resource": "*"}}"#,
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": "s3:Get:Object", "Resource": "*"}}"#,
            "Actions/Condition can contain only one colon.",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "b/*"}}"#,
            "Resource b/* must be in ARN format or \"*\".",
        ),
        (
            r#"{"Statement": [{"Sid": "a", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
                {"Sid": "a", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}"#,
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (
            r#"{"Statement": {"Sid": "a b", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}}"#,
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ),
    ] {
        assert_eq!(Policy::parse(text, Kind::Identity).unwrap_err().0, expected, "{text}");
    }
    let no_principal =
        r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "me"}, "Action": "kms:*", "Resource": "*"}}"#;
    assert_eq!(
        Policy::parse(no_principal, Kind::Key).unwrap_err().0,
        "Policy contains a statement with one or more invalid principals."
    );
    let vendor = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}}"#;
    assert_eq!(
        Policy::parse(vendor, Kind::Trust).unwrap_err().0,
        "AssumeRole policy may only specify STS AssumeRole actions."
    );
    let trust = json!({"Statement": {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}});
    assert!(Policy::parse(&trust.to_string(), Kind::Trust).is_ok());
    assert_eq!(
        Policy::parse(&with.replace("kms:*", "sts:*"), Kind::Trust).unwrap_err().0,
        "Has prohibited field Resource"
    );
}

/// What stands twice is refused, lest the last one count and nobody notice.
#[test]
fn nothing_may_be_said_twice() {
    let once = statement(&json!({"Condition": {"StringEquals": {"aws:username": "a"}}}));
    assert!(Policy::parse(&once, BUCKET).is_ok());
    for (piece, twice) in [
        (r#""Effect":"Allow""#, r#""Effect":"Deny","Effect":"Allow""#),
        (r#""StringEquals":{"#, r#""StringEquals":{"aws:userid":"b"},"StringEquals":{"#),
        (r#""aws:username":"a""#, r#""aws:username":"b","aws:username":"a""#),
        (r#""Version":"#, r#""Version":"2008-10-17","Version":"#),
    ] {
        let text = once.replace(piece, twice);
        assert_ne!(text, once, "{piece}");
        let error = Policy::parse(&text, BUCKET).unwrap_err();
        assert_eq!(error.0, "Policies must be valid JSON and the first byte must be '{'", "{piece}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", more in "[{}\\[\\]\",:a-zA-Z0-9*$ ]{0,200}") {
        for kind in [BUCKET, Kind::Key, Kind::Identity, Kind::Trust] {
            let _ = Policy::parse(&text, kind);
            let _ = Policy::parse(&format!("{{{more}"), kind);
        }
    }
}

/// What was kept before it was refused is still read.
#[test]
fn trust_is_about_assuming_roles_alone() {
    let of = |action: &str| {
        let statement =
            json!({"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": ["sts:AssumeRole", action]});
        let policy = Policy::parse(&json!({"Statement": statement}).to_string(), Kind::Trust).unwrap();
        policy.check_actions(Kind::Trust).map_err(|error| error.0)
    };
    for action in
        ["sts:assumerole", "sts:AssumeRoleWith*", "sts:TagSession", "sts:SetSourceIdentity", "sts:SetContext", "sts:*"]
    {
        assert_eq!(of(action), Ok(()), "{action}");
    }
    for action in ["sts:GetFederationToken", "sts:TagSessions", "sts:Get*", "sts:GetSessionToken"] {
        assert_eq!(of(action).unwrap_err(), "AssumeRole policy may only specify STS AssumeRole actions.", "{action}");
    }
    let elsewhere = Policy::parse(&statement(&json!({})), BUCKET).unwrap();
    assert_eq!(elsewhere.check_actions(BUCKET), Ok(()));
}

/// What was kept before it was refused is still read.
#[test]
fn all_but_some_can_only_be_denied_and_never_be_trusted() {
    let of = |effect: &str, action: &str, kind: Kind<'_>| {
        let mut statement = json!({"Effect": effect, "NotPrincipal": {"AWS": "111122223333"}, "Action": action, "Resource": "arn:aws:s3:::b/*"});
        if kind == Kind::Trust {
            statement.as_object_mut().unwrap().remove("Resource");
        }
        let policy = Policy::parse(&json!({"Statement": statement}).to_string(), kind).unwrap();
        policy.check_principals(kind).map_err(|error| error.0)
    };
    for (action, kind) in [("s3:GetObject", BUCKET), ("kms:*", Kind::Key)] {
        assert_eq!(of("Allow", action, kind).unwrap_err(), "Allow with NotPrincipal is not allowed.");
        assert_eq!(of("Deny", action, kind), Ok(()));
    }
    for effect in ["Allow", "Deny"] {
        assert_eq!(of(effect, "sts:AssumeRole", Kind::Trust).unwrap_err(), "Has prohibited field NotPrincipal");
    }
}
