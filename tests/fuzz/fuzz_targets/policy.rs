//! The reader of policies is given any bytes; what it takes for a policy is judged of many requests, and decided as by the slow
//! and obvious evaluator (`src/policy/tests/reference.rs`).
#![no_main]
#![allow(dead_code, reason = "the modules are taken in whole, and the target uses a part")]

#[path = "../../../src/clock.rs"]
mod clock;
#[path = "../../../src/policy/mod.rs"]
mod policy;
#[path = "../../../src/policy/tests/reference.rs"]
mod reference;

use std::borrow::Cow;
use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use policy::{Context, Decision, Found, Kind, List, Policies, Policy, Principal, Request, check_identity, decide};
use reference::{Asked, Documents};

const OWNER: &str = "111122223333";
const PRINCIPALS: &[Principal<'_>] = &[
    Principal::Root { account: OWNER, arn: "arn:aws:iam::111122223333:root" },
    Principal::Root { account: "444455556666", arn: "arn:aws:iam::444455556666:root" },
    Principal::User { account: OWNER, arn: "arn:aws:iam::111122223333:user/alice", id: "AIDAALICE" },
    Principal::User { account: "444455556666", arn: "arn:aws:iam::444455556666:user/bob", id: "AIDABOB" },
    Principal::Session {
        account: OWNER,
        arn: "arn:aws:sts::111122223333:assumed-role/reader/s1",
        role: "arn:aws:iam::111122223333:role/reader",
        id: "AROAREADER:s1",
    },
    Principal::Service("s3.amazonaws.com"),
    Principal::Anonymous,
];
const ACTIONS: &[&str] = &["s3:GetObject", "s3:PutObject", "s3:ListBucket", "kms:Decrypt", "sts:AssumeRole"];
const RESOURCES: &[&str] = &["arn:aws:s3:::b", "arn:aws:s3:::b/k", "arn:aws:s3:::b/alice/k"];
/// More stars than this would keep the slow evaluator busy for ever.
const STARS: usize = 10;

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

fn contexts() -> [BTreeMap<String, Vec<String>>; 2] {
    let of = |pairs: &[(&str, &[&str])]| {
        let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        pairs.iter().map(|(key, values)| (key.to_string(), owned(values))).collect()
    };
    [
        BTreeMap::new(),
        of(&[
            ("aws:username", &["alice"]),
            ("aws:sourceip", &["10.1.2.3"]),
            ("aws:securetransport", &["true"]),
            ("aws:currenttime", &["2026-06-01T12:00:00Z"]),
            ("aws:principalarn", &["arn:aws:iam::111122223333:user/alice"]),
            ("s3:prefix", &["home/*"]),
            ("s3:max-keys", &["10"]),
            ("a:tags", &["a", "b"]),
        ]),
    ]
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for is_managed in [true, false] {
        if check_identity(text, is_managed).is_ok() {
            Policy::parse(text, Kind::Identity).expect("what may be put can be read");
        }
    }
    for kind in [Kind::Bucket("arn:aws:s3:::b"), Kind::Key, Kind::Identity, Kind::Trust] {
        let Ok(policy) = Policy::parse(text, kind) else { continue };
        let _ = policy.is_public();
        assert!(policy.statements().iter().all(|statement| statement.span.is_some()), "each stands somewhere");
        if text.matches('*').count() > STARS {
            continue;
        }
        let document = Some(serde_json::from_str(text).expect("a policy is JSON"));
        let list = [&policy];
        let must_allow = matches!(kind, Kind::Key | Kind::Trust);
        let (policies, documents) = if kind == Kind::Identity {
            let identity = document.into_iter().collect();
            (Policies { identity: List::Plain(&list), ..Policies::default() }, Documents { identity, ..Documents::default() })
        } else {
            (
                Policies { resource: Some(&policy), resource_must_allow: must_allow, ..Policies::default() },
                Documents { resource: document, resource_must_allow: must_allow, ..Documents::default() },
            )
        };
        for context in &contexts() {
            let circumstances = Pairs(context);
            for &principal in PRINCIPALS {
                for &action in ACTIONS {
                    for &resource in RESOURCES {
                        let request = Request { principal, action, resource, owner: OWNER, context: &circumstances };
                        let decided = match decide(&policies, &request) {
                            Decision::Allowed(_) => "allow",
                            Decision::Denied(..) => "deny",
                            Decision::NotAllowed(_) => "none",
                        };
                        let asked = Asked { principal, action, resource, owner: OWNER, context };
                        assert_eq!(decided, reference::decide(&documents, &asked), "{kind:?} {principal:?} {action} {resource}");
                    }
                }
            }
        }
    }
});
