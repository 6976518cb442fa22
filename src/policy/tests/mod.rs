//! The language, case by case; AWS's documented examples; and the evaluator against one that is slow and obvious.

mod conditions;
mod decisions;
mod documented;
mod identity;
mod malformed;
mod patterns;
mod properties;
mod public;
mod reference;

use serde_json::json;

use super::{Kind, Policy, Principal};

const OWNER: &str = "111122223333";
const OTHER: &str = "444455556666";
const ROOT: Principal<'_> = Principal::Root { account: OWNER, arn: "arn:aws:iam::111122223333:root" };
const STRANGER: Principal<'_> = Principal::Root { account: OTHER, arn: "arn:aws:iam::444455556666:root" };
const USER: Principal<'_> =
    Principal::User { account: OWNER, arn: "arn:aws:iam::111122223333:user/alice", id: "AIDAALICE" };
const FOREIGN_USER: Principal<'_> =
    Principal::User { account: OTHER, arn: "arn:aws:iam::444455556666:user/bob", id: "AIDABOB" };
const SESSION: Principal<'_> = Principal::Session {
    account: OWNER,
    arn: "arn:aws:sts::111122223333:assumed-role/reader/s1",
    role: "arn:aws:iam::111122223333:role/reader",
    id: "AROAREADER:s1",
};
const BUCKET: Kind<'_> = Kind::Bucket("arn:aws:s3:::b");

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
