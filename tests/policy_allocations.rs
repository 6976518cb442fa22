//! A decision allocates nothing, as long as no policy variable stands in what it looks at.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use strongroom::clock::Timestamp;
use strongroom::policy::{
    Ask, Attached, Context, Found, Grant, Kind, List, Policies, Policy, Principal, Request, Session, Subject,
    SubjectKind, decide,
};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

struct Circumstances;

impl Context for Circumstances {
    fn find(&self, key: &str) -> Found<'_> {
        Found::of(match key {
            "aws:sourceip" => Some("198.51.100.7"),
            "aws:securetransport" => Some("true"),
            "aws:currenttime" => Some("2026-06-01T12:00:00Z"),
            "aws:principalarn" => Some("arn:aws:iam::111122223333:user/alice"),
            "aws:username" => Some("alice"),
            "s3:max-keys" => Some("10"),
            "s3:prefix" => Some("home/alice/"),
            "s3:x-amz-server-side-encryption" => Some("aws:kms"),
            _ => None,
        })
    }
}

#[test]
fn decisions_do_not_allocate() {
    let counted = allocations(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(counted, 1, "the count works");

    let bucket = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*", "Condition": {
            "StringNotEquals": {"s3:x-amz-server-side-encryption": ["aws:kms", "aws:kms:dsse"]}}},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*", "Condition": {
            "StringNotLike": {"s3:prefix": "home/*"}, "StringEqualsIgnoreCase": {"aws:username": "BOB"},
            "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}}},
        {"Effect": "Deny", "NotPrincipal": {"AWS": ["444455556666", "111122223333"]}, "NotAction": "s3:List*",
            "NotResource": "arn:aws:s3:::b/public/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*", "Condition": {
            "NumericGreaterThan": {"s3:max-keys": 100}, "DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"},
            "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}, "Null": {"s3:versionid": "true"}}},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*", "Condition": {
            "Bool": {"aws:SecureTransport": "false"}, "ForAnyValue:StringLike": {"s3:prefix": "*"}}},
        {"Effect": "Allow", "Principal": {"AWS": ["444455556666", "arn:aws:iam::111122223333:user/alice"]},
            "Action": "s3:Put*", "Resource": "arn:aws:s3:::b/home/*"}]}"#;
    let bucket = Policy::parse(bucket, Kind::Bucket("arn:aws:s3:::b")).unwrap();
    let identity = r#"{"Statement": {"Effect": "Allow", "Action": ["s3:*", "kms:*"], "Resource": "*"}}"#;
    let identity = Policy::parse(identity, Kind::Identity).unwrap();
    let all = [&identity, &identity];
    let policies = Policies {
        resource: Some(&bucket),
        identity: List::Plain(&all),
        boundary: Some(&identity),
        session: Some(List::Plain(&all)),
        acl: Grant::Account,
        ..Policies::default()
    };
    let alice =
        Principal::User { account: "111122223333", arn: "arn:aws:iam::111122223333:user/alice", id: "AIDAALICE" };
    let bob = Principal::User { account: "111122223333", arn: "arn:aws:iam::111122223333:user/bob", id: "AIDABOB" };
    let other = Principal::Root { account: "444455556666", arn: "arn:aws:iam::444455556666:root" };
    let session = Principal::Session {
        account: "111122223333",
        arn: "arn:aws:sts::111122223333:assumed-role/r/s",
        role: "arn:aws:iam::111122223333:role/r",
        id: "AROAR:s1",
    };
    for principal in [alice, bob, other, session, Principal::Anonymous] {
        for action in ["s3:PutObject", "s3:GetObject", "s3:ListBucket"] {
            let resource = "arn:aws:s3:::b/home/alice/report.parquet";
            let request = Request { principal, action, resource, owner: "111122223333", context: &Circumstances };
            let mut decided = None;
            let count = allocations(|| decided = Some(decide(&policies, &request)));
            assert_eq!(count, 0, "{principal:?} {action}: {decided:?}");
        }
    }
}

/// Nor does all that is known of a session, with its policies.
#[test]
fn judging_a_session_does_not_allocate() {
    let reading = |id: &str| {
        let text =
            r#"{"Statement": {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "arn:aws:s3:::b/*"}}"#;
        Attached { id: id.to_owned(), policy: Arc::new(Policy::parse(text, Kind::Identity).unwrap()) }
    };
    let role = SubjectKind::Role("arn:aws:iam::111122223333:role/r".to_owned());
    let mut session = Subject::new(role, "111122223333", "arn:aws:sts::111122223333:assumed-role/r/s", "AROA:s");
    session.policies = (0..10).map(|number| reading(&format!("role_r_{number}"))).collect();
    session.boundary = Some(reading("boundary"));
    session.session = Some(Session {
        policies: Some(vec![reading("session")]),
        issued: Timestamp::UNIX_EPOCH,
        source_identity: None,
        provider: None,
    });
    for (action, expected) in [("s3:GetObject", true), ("s3:PutObject", false)] {
        let ask = Ask {
            action,
            resource: "arn:aws:s3:::b/k",
            owner: "111122223333",
            policy: None,
            policy_must_allow: false,
            context: &session,
        };
        let mut allowed = None;
        let count = allocations(|| allowed = Some(session.judge_ask(&ask).is_allowed()));
        assert_eq!((count, allowed), (0, Some(expected)), "{action}");
    }
}
