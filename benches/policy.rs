//! What a decision costs: a bucket policy of ten statements of which the last decides, and an identity's with a variable.
//!
//! cargo bench --locked --bench policy

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use strongroom::policy::{Kind, List, Policies, Policy, Principal, Request, decide};

/// Ten statements, each of which must be looked at: nine denials on other conditions, and an allowance.
fn ten_statements() -> Policy {
    let mut statements: Vec<Value> = (0..9)
        .map(|index| {
            json!({
                "Sid": format!("deny{index}"),
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:PutObject", "s3:GetObject"],
                "Resource": "arn:aws:s3:::b/*",
                "Condition": {
                    "StringNotEquals": {"s3:x-amz-server-side-encryption": ["aws:kms", "aws:kms:dsse"]},
                    "ArnNotLike": {"aws:PrincipalArn": format!("arn:aws:iam::111122223333:role/team-{index}-*")},
                    "NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]},
                },
            })
        })
        .collect();
    statements.push(json!({
        "Effect": "Allow",
        "Principal": {"AWS": ["444455556666", "arn:aws:iam::111122223333:user/alice"]},
        "Action": "s3:Put*",
        "Resource": "arn:aws:s3:::b/home/*",
    }));
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::parse(&document, Kind::Bucket("arn:aws:s3:::b")).expect("the policy is one")
}

fn decisions(criterion: &mut Criterion) {
    let context: &[(&str, &str)] = &[
        ("aws:principalarn", "arn:aws:iam::111122223333:user/alice"),
        ("aws:sourceip", "198.51.100.7"),
        ("aws:username", "alice"),
        ("s3:x-amz-server-side-encryption", "aws:kms"),
    ];
    let principal =
        Principal::User { account: "111122223333", arn: "arn:aws:iam::111122223333:user/alice", id: "AIDAALICE" };
    let request = Request {
        principal,
        action: "s3:PutObject",
        resource: "arn:aws:s3:::b/home/alice/2026/11/report.parquet",
        owner: "111122223333",
        context: &context,
    };
    let ten = ten_statements();
    let policies = Policies { resource: Some(&ten), ..Policies::default() };
    assert!(decide(&policies, &request).is_allowed());
    criterion
        .bench_function("ten statements", |bench| bench.iter(|| decide(black_box(&policies), black_box(&request))));

    let home = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*",
        "Resource": "arn:aws:s3:::b/home/${aws:username}/*"}}"#;
    let home = Policy::parse(home, Kind::Identity).expect("the policy is one");
    let identity = [&home];
    let policies = Policies { identity: List::Plain(&identity), ..Policies::default() };
    assert!(decide(&policies, &request).is_allowed());
    criterion.bench_function("a variable", |bench| bench.iter(|| decide(black_box(&policies), black_box(&request))));
}

criterion_group!(benches, decisions);
criterion_main!(benches);
