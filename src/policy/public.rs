//! Whether a policy opens its bucket to the world. (S3 user guide, "Blocking public access to your Amazon S3 storage", The
//! meaning of "public".)

use super::condition::Condition;
use super::document::{Policy, Statement};

/// The keys that can say who may: a statement for everybody is not public if a condition holds one of them to fixed values.
const FIXING: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:vpcsourceip",
    "s3:accessgrantsinstancearn",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];
/// An access point's ARN may leave its name open, as long as it fixes the account.
const ACCESS_POINT: &str = "s3:dataaccesspointarn";

impl Policy {
    /// Whether the policy is public.
    pub fn is_public(&self) -> bool {
        self.statements().iter().any(Statement::is_public)
    }
}

impl Statement {
    /// Whether it allows everybody, and no condition fixes who that is.
    fn is_public(&self) -> bool {
        self.allows && self.principals.is_everybody() && !self.conditions.iter().any(fixes)
    }
}

fn fixes(condition: &Condition) -> bool {
    match condition.key() {
        ACCESS_POINT => condition.fixes_values() || condition.fixes_accounts(),
        key => FIXING.contains(&key) && condition.fixes_values(),
    }
}
