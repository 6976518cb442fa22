//! Documents that identities are to be given: which are taken, and what is said of the others.

#![expect(clippy::needless_pass_by_value, reason = "callers write the value in place")]

use serde_json::{Value, json};

use crate::policy::check_identity;

const SYNTAX: &str = "Syntax errors in policy.";
const LEGACY: &str = "The policy failed legacy parsing";
const VERSION: &str = "Policy document must be version 2012-10-17 or greater.";
const NO_ACTIONS: &str = "Policy statement must contain actions.";
const NO_RESOURCES: &str = "Policy statement must contain resources.";
const VENDOR: &str = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
const COLONS: &str = "Actions/Condition can contain only one colon.";
const UNQUALIFIED: &str = "Resource vendor must be fully qualified and cannot contain regexes.";
const TWICE: &str = "Statement IDs (SID) in a single policy must be unique.";
const PATHS: &str = "IAM resource path must either be \"*\", root, or start with user/, federated-user/, role/, group/, \
                     instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, \
                     report/, access-report/.";

/// `more` over a statement that allows something; null takes a member away.
fn with(more: Value) -> Value {
    let mut statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"});
    for (name, value) in more.as_object().unwrap() {
        statement[name] = value.clone();
    }
    statement.as_object_mut().unwrap().retain(|_, value| *value != "none");
    statement
}

fn of(statements: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn told(text: &str) -> String {
    check_identity(text, true).map_or_else(|error| error.0, |()| "taken".to_owned())
}

fn one(more: Value) -> String {
    told(&of(with(more)))
}

#[test]
fn what_is_no_document_has_errors_of_syntax() {
    let good = with(json!({}));
    for text in [
        "no JSON".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        json!({"Version": "2012-10-17"}).to_string(),
        json!({"Version": "2020-01-01", "Statement": good}).to_string(),
        json!({"Version": 2012, "Statement": good}).to_string(),
        json!({"Version": "2012-10-17", "Statement": good, "Comment": "mine"}).to_string(),
        json!({"Version": "2012-10-17", "Statement": good, "Id": ["a"]}).to_string(),
        json!({"Version": "2012-10-17", "Statement": good, "Id": {}}).to_string(),
        of(json!([])),
        of(json!(["Allow"])),
        of(json!([good, 7])),
        r#"{"Version": "2012-10-17", "Statement": [], "Statement": []}"#.to_owned(),
    ] {
        assert_eq!(told(&text), SYNTAX, "{text}");
    }
    for more in [
        json!({"Colour": "blue"}),
        json!({"Effect": "Permit"}),
        json!({"Effect": "none"}),
        json!({"Effect": ["Allow"]}),
        json!({"Sid": 7}),
        json!({"Sid": ["a"]}),
        json!({"Action": {"s3": "GetObject"}}),
        json!({"Action": [["s3:GetObject"]]}),
        json!({"Action": 7}),
        json!({"NotAction": "s3:PutObject"}),
        json!({"NotAction": []}),
        json!({"NotResource": "*"}),
        json!({"NotResource": []}),
        json!({"Resource": {"arn": "*"}}),
        json!({"Resource": ["somewhere", {}]}),
        json!({"Condition": []}),
        json!({"Condition": "always"}),
        json!({"Condition": {"StringLike": "a"}}),
        json!({"Condition": {"StringLike": []}}),
        json!({"Condition": {"StringLike": {"aws:username": {}}}}),
        json!({"Condition": {"Resembles": {"aws:username": "a"}}}),
        json!({"Condition": {"ForAnyValue::StringLike": {"aws:username": "a"}}}),
        json!({"Condition": {"NullIfExists": {"aws:username": "true"}}}),
        json!({"Condition": [{"StringLike": {"aws:username": "a"}}]}),
        json!({"Action": "none", "Condition": {"DateLessThan": {"a": {}}}}),
    ] {
        assert_eq!(one(more.clone()), SYNTAX, "{more}");
    }
}

#[test]
fn managed_policies_have_the_latest_version() {
    for version in [json!("none"), json!("2008-10-17")] {
        for statement in [with(json!({})), with(json!({"Effect": "alloW"})), with(json!({"Action": "none"}))] {
            let mut document = json!({"Version": version, "Statement": statement});
            document.as_object_mut().unwrap().retain(|_, value| *value != "none");
            assert_eq!(told(&document.to_string()), VERSION, "{document}");
        }
        let mut document = json!({"Version": version, "Statement": with(json!({}))});
        document.as_object_mut().unwrap().retain(|_, value| *value != "none");
        check_identity(&document.to_string(), false).expect("others may be in the one before");
    }
}

#[test]
fn what_the_oldest_reader_refuses() {
    let before = |at: &str| json!({"DateLessThan": {"aws:CurrentTime": at}});
    for more in [
        json!({"Effect": "allow"}),
        json!({"Effect": "DENY"}),
        json!({"Effect": "allow", "Action": "none", "Resource": "arn:aws:s3:eu-west-1::photos"}),
        json!({"Condition": before("tomorrow")}),
        json!({"Condition": before("tomorrow"), "Action": "none", "Resource": "none"}),
        json!({"Condition": before("tomorrow"), "Resource": "arn:mars:s3:::photos"}),
        json!({"Condition": before("2026-13")}),
        json!({"Condition": before("2026-11-26T1:00:00.5+1")}),
        json!({"Condition": before("2026-11-26T1:00:00.1234567891+10:00")}),
        json!({"Condition": before("9223372036854775808")}),
        json!({"Condition": {"NumericEquals": {"s3:max-keys": "many"}}}),
        json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}),
        json!({"Resource": "arn:aws:s3::photos"}),
        json!({"Resource": "none", "NotResource": "arn:aws:s3::photos"}),
        json!({"Resource": "arn:aws:s3::photos", "Action": "none"}),
        json!({"Resource": "arn:aws::::photos"}),
        json!({"Resource": "arn:aws::photos"}),
    ] {
        assert_eq!(one(more.clone()), LEGACY, "{more}");
    }
    let twice = json!([with(json!({"Sid": "a", "Effect": "aLLOW"})), with(json!({"Sid": "a"}))]);
    assert_eq!(told(&of(twice)), LEGACY);
}

#[test]
fn statements_and_their_parts() {
    for (more, expected) in [
        (json!({"Principal": "*"}), "Policy document should not specify a principal."),
        (json!({"Action": "none"}), NO_ACTIONS),
        (json!({"Action": []}), NO_ACTIONS),
        (json!({"Action": "none", "Resource": "none"}), NO_ACTIONS),
        (json!({"Resource": "none"}), NO_RESOURCES),
        (json!({"Resource": []}), NO_RESOURCES),
        (json!({"Resource": "none", "Action": "GetObject"}), NO_RESOURCES),
        (json!({"Action": "GetObject"}), VENDOR),
        (json!({"Action": ":GetObject"}), VENDOR),
        (json!({"Action": "none", "NotAction": ""}), VENDOR),
        (json!({"Action": "my s3:GetObject"}), "Vendor my s3 is not valid"),
        (json!({"Action": "s*:GetObject"}), "Vendor s* is not valid"),
        (json!({"Action": "s3:Get:Object"}), COLONS),
        (json!({"Action": "s3:Get:Object", "Resource": "photos"}), "Resource photos must be in ARN format or \"*\"."),
        (json!({"Resource": ""}), "Resource  must be in ARN format or \"*\"."),
        (json!({"Resource": ["*", "my photos"]}), "Resource my photos must be in ARN format or \"*\"."),
        (json!({"Resource": "x:mars"}), "Partition \"mars\" is not valid for resource \"arn:mars:*:*:*:*\"."),
        (json!({"Resource": "x:mars:s3"}), "Partition \"mars\" is not valid for resource \"arn:mars:s3:*:*:*\"."),
        (json!({"Resource": "aws:s3:::photos"}), "Partition \"s3\" is not valid for resource \"arn:s3:::photos:*\"."),
        (
            json!({"Resource": "arn:mars:a:b:c:d:e:f"}),
            "Partition \"mars\" is not valid for resource \"arn:mars:a:b:c:d:e:f\".",
        ),
        (
            json!({"Resource": ["arn:mars:s3:::photos", "arn:mars:s3::photos"]}),
            "Partition \"mars\" is not valid for resource \"arn:mars:s3:::photos\".",
        ),
        (json!({"Resource": "arn:aws"}), UNQUALIFIED),
        (json!({"Resource": "arn:aws:*:*:*:photos"}), UNQUALIFIED),
        (json!({"Resource": "arn:aws:iam:::photos"}), PATHS),
        (json!({"Resource": "arn:aws:iam::111122223333:roots"}), PATHS),
        (
            json!({"Resource": "arn:aws:iam:eu-west-1::user/a"}),
            "IAM resource arn:aws:iam:eu-west-1::user/a cannot contain region information.",
        ),
        (
            json!({"Resource": "arn:aws:s3:eu-west-1::photos"}),
            "Resource arn:aws:s3:eu-west-1::photos can not contain region information.",
        ),
    ] {
        assert_eq!(one(more.clone()), expected, "{more}");
    }
    for (statements, expected) in [
        (json!([{"Sid": "a", "Effect": "Allow"}, with(json!({"Sid": "a"}))]), TWICE),
        (json!([with(json!({})), {"Effect": "Deny"}]), NO_ACTIONS),
        (json!([with(json!({"Action": "s3s:Get"})), with(json!({"Action": "s:3:Get"}))]), COLONS),
    ] {
        assert_eq!(told(&of(statements.clone())), expected, "{statements}");
    }
}

#[test]
fn what_is_taken() {
    let after = |at: &str| json!({"Condition": {"DateGreaterThan": {"aws:CurrentTime": at}}});
    for more in [
        json!({}),
        json!({"Action": "*"}),
        json!({"Action": ["s3:Get*", "iam:what ever it be"]}),
        json!({"Action": "no-service.of-mine:Do"}),
        json!({"Action": "none", "NotAction": "s3:GetObject"}),
        json!({"Resource": "none", "NotResource": ["arn:aws:s3:::photos", "*"]}),
        json!({"Resource": ["arn:aws:s3:::photos/${aws:username}/*", "*"]}),
        json!({"Resource": "arn:aws:iam::111122223333:user/a"}),
        json!({"Resource": ["arn:aws:iam:::role/r", "arn:aws:iam::*:*", "arn:aws-cn:s3:::b", "arn:*:s3:::b"]}),
        json!({"Resource": "arn:aws:iam::111122223333:root"}),
        json!({"Resource": ["arn:aws:sqs:eu-west-1::queue", "arn:aws:unheard-of:eu-west-1:a:b", "arn:aws:unheard-of"]}),
        json!({"Resource": "arn:aws:s3:eu-west-1:111122223333:accesspoint/a/object/*"}),
        json!({"Sid": ""}),
        json!({"Condition": {}}),
        json!({"Condition": {"Resembles": {}, "StringLike": {}}}),
        json!({"Condition": {"DateLessThan": {"aws:CurrentTime": []}}}),
        json!({"Condition": {"ForAnyValue:StringLikeIfExists": {"aws:TagKeys": ["a", "b"]}}}),
        after("2026-11-26T01:02:03Z"),
        after("2026-11-26t1:02:03.593194+23"),
        after("12T"),
        after("-292275054"),
        after("2026"),
    ] {
        assert_eq!(one(more.clone()), "taken", "{more}");
    }
    let unnamed = json!([with(json!({"Sid": ""})), with(json!({"Sid": ""})), with(json!({"Sid": "a"}))]);
    assert_eq!(told(&of(unnamed)), "taken");
    let named = json!({"Version": "2012-10-17", "Id": "mine", "Statement": with(json!({}))});
    assert_eq!(told(&named.to_string()), "taken");
}
