//! The evaluator decides as the slow and obvious one does, of any policies and any request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::reference::{self, Asked, Documents};
use super::{BUCKET, FOREIGN_USER, OTHER, OWNER, ROOT, SESSION, STRANGER, USER};
use crate::policy::*;

const PRINCIPALS: &[Principal<'_>] =
    &[ROOT, STRANGER, USER, FOREIGN_USER, SESSION, Principal::Anonymous, Principal::Service("s3.amazonaws.com")];
const ACTIONS: &[&str] = &["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"];
const RESOURCES: &[&str] = &["arn:aws:s3:::b", "arn:aws:s3:::b/k", "arn:aws:s3:::b/alice/k", "arn:aws:s3:::b/a*c"];
const ACTION_PATTERNS: &[&str] =
    &["*", "s3:*", "s3:Get*", "S3:getobject", "s3:?utObject", "s3:PutObject", "s3:DeleteObject", "s3:*Object"];
/// The first two stand in every statement of a bucket's policy, so that each action has something to apply to.
const RESOURCE_PATTERNS: &[&str] = &[
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/nothing",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b*",
    "arn:aws:s3:::b/${aws:username}/*",
    "arn:aws:s3:::b/${aws:userid, 'k'}",
    "arn:aws:s3:::b/a${*}c",
    "arn:aws:s3:::b/?",
];
const KEYS: &[&str] =
    &["aws:username", "aws:userid", "S3:Prefix", "aws:SourceIp", "aws:currenttime", "a:tags", "a:number"];
/// Values that a request may have of any key, and that conditions hold them against where their operator takes them.
const VALUES: &[&str] = &[
    "alice",
    "a*c",
    "Alice",
    "",
    "true",
    "False",
    "7",
    "7.0",
    "-2",
    "10.1.2.3",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "2001:db8::1",
    "2001:db8::/32",
    "2026-06-01",
    "2026-06-01T00:00:00Z",
    "1780272000",
    "QUJD",
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:iam::*:user/*",
    "${aws:username}",
    "${aws:userid, 'alice'}",
    "*",
];
const OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnNotEquals",
    "ArnLike",
    "ArnNotLike",
    "Null",
];

fn condition() -> impl Strategy<Value = (String, String, Vec<String>)> {
    let values = prop::collection::vec(select(VALUES), 1..4);
    let set = select(vec!["", "", "ForAnyValue:", "ForAllValues:"]);
    (set, select(OPERATORS), any::<bool>(), select(KEYS), values).prop_map(|(set, operator, if_exists, key, values)| {
        let taken = |value: &&&str| {
            super::super::condition::Condition::new(operator, "k", &[(**value).to_owned()], true).is_ok()
        };
        let mut values: Vec<String> = values.iter().filter(taken).map(ToString::to_string).collect();
        if values.is_empty() || operator == "Null" {
            values = VALUES.iter().filter(taken).map(ToString::to_string).take(1).collect();
        }
        let suffix = if if_exists && operator != "Null" { "IfExists" } else { "" };
        (format!("{set}{operator}{suffix}"), key.to_owned(), values)
    })
}

fn principal() -> impl Strategy<Value = Value> {
    let names = [
        OWNER,
        OTHER,
        "arn:aws:iam::444455556666:root",
        "*",
        USER.arn(),
        FOREIGN_USER.arn(),
        SESSION.arn(),
        "AIDAALICE",
        "AROAREADER",
        "AROAREADER:s1",
    ];
    let role = "arn:aws:iam::111122223333:role/reader";
    let names: Vec<String> = names.into_iter().chain([role]).map(str::to_owned).collect();
    let of_aws = subsequence(names, 1..3).prop_map(|names| json!({"AWS": names}));
    prop_oneof![
        1 => Just(json!("*")),
        4 => of_aws.clone(),
        1 => of_aws.prop_map(|mut principal| {
            principal["Service"] = json!("s3.amazonaws.com");
            principal
        }),
    ]
}

/// A statement; of a bucket's policy with a principal.
fn statement(of_bucket: bool) -> impl Strategy<Value = Value> {
    let actions = subsequence(ACTION_PATTERNS, 1..3);
    let resources = subsequence(&RESOURCE_PATTERNS[2..], 1..4);
    let conditions = prop::collection::vec(condition(), 0..3);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (flags, prop::bool::weighted(0.2), principal(), actions, resources, conditions).prop_map(
        move |(
            (allows, with_bucket, not_action, not_resource),
            not_principal,
            principal,
            actions,
            resources,
            conditions,
        )| {
            let mut resources: Vec<&str> = resources;
            if with_bucket || of_bucket {
                resources.extend(&RESOURCE_PATTERNS[..2]);
            }
            let mut statement = json!({"Effect": if allows { "Allow" } else { "Deny" }});
            statement[if not_action { "NotAction" } else { "Action" }] = json!(actions);
            statement[if not_resource { "NotResource" } else { "Resource" }] = json!(resources);
            if of_bucket {
                statement[if not_principal { "NotPrincipal" } else { "Principal" }] = principal;
            }
            for (operator, key, values) in conditions {
                statement["Condition"][operator][key] = json!(values);
            }
            statement
        },
    )
}

fn document(of_bucket: bool) -> impl Strategy<Value = Value> {
    let version = select(vec!["2012-10-17", "2012-10-17", "2008-10-17"]);
    (version, prop::collection::vec(statement(of_bucket), 1..4))
        .prop_map(|(version, statements)| json!({"Version": version, "Statement": statements}))
}

fn documents() -> impl Strategy<Value = Documents> {
    let few = || prop::collection::vec(document(false), 0..3);
    let acl = select(vec![Grant::None, Grant::None, Grant::Account, Grant::Everybody, Grant::Initiator]);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3), acl);
    let bounds = (prop::option::weighted(0.3, document(false)), prop::option::weighted(0.3, few()));
    (flags, prop::option::weighted(0.8, document(true)), few(), bounds).prop_map(
        |((resource_only_denies, resource_must_allow, acl), resource, identity, (boundary, session))| Documents {
            resource,
            resource_only_denies,
            resource_must_allow,
            acl,
            identity,
            boundary,
            session,
        },
    )
}

fn context() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let values = prop::collection::vec(select(VALUES).prop_map(str::to_owned), 0..3);
    prop::collection::btree_map(select(KEYS).prop_map(str::to_ascii_lowercase), values, 0..6)
}

/// A context as the reference has it.
struct Pairs<'c>(&'c BTreeMap<String, Vec<String>>);

impl Context for Pairs<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        match self.0.get(key).map(Vec::as_slice) {
            None => Found::None,
            Some([one]) => Found::One(Cow::Borrowed(one)),
            Some(many) => Found::Many(many.iter().map(|value| Cow::Borrowed(value.as_str())).collect()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn decisions_are_the_references(
        documents in documents(),
        context in context(),
        principal in select(PRINCIPALS),
        action in select(ACTIONS),
        resource in select(RESOURCES),
    ) {
        let compile = |document: &Value, kind| Policy::parse(&document.to_string(), kind).unwrap();
        let all = |list: &[Value]| list.iter().map(|document| compile(document, Kind::Identity)).collect::<Vec<_>>();
        let resource_policy = documents.resource.as_ref().map(|document| compile(document, BUCKET));
        let (identity, boundary) = (all(&documents.identity), documents.boundary.as_ref());
        let boundary = boundary.map(|document| compile(document, Kind::Identity));
        let session = documents.session.as_deref().map(all);
        let identity: Vec<&Policy> = identity.iter().collect();
        let session: Option<Vec<&Policy>> = session.as_ref().map(|session| session.iter().collect());
        let policies = Policies {
            resource: resource_policy.as_ref(),
            resource_only_denies: documents.resource_only_denies,
            acl: documents.acl,
            resource_must_allow: documents.resource_must_allow,
            identity: List::Plain(&identity),
            boundary: boundary.as_ref(),
            session: session.as_deref().map(List::Plain),
        };
        let circumstances = Pairs(&context);
        let request = Request { principal, action, resource, owner: OWNER, context: &circumstances };
        let decided = match decide(&policies, &request) {
            Decision::Allowed(_) => "allow",
            Decision::Denied(..) => "deny",
            Decision::NotAllowed(_) => "none",
        };
        let asked = Asked { principal, action, resource, owner: OWNER, context: &context };
        prop_assert_eq!(decided, reference::decide(&documents, &asked));
    }
}
