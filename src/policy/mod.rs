//! AWS's policy language: one reader and one evaluator for bucket, key, identity and session policies.
//!
//! ```
//! use strongroom::policy::{Kind, Policies, Policy, Principal, Request, decide};
//!
//! let text = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
//!     "Resource": "arn:aws:s3:::b/*",
//!     "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}}}"#;
//! let policy = Policy::parse(text, Kind::Bucket("arn:aws:s3:::b")).unwrap();
//! let request = Request {
//!     principal: Principal::Root { account: "111122223333", arn: "arn:aws:iam::111122223333:root" },
//!     action: "s3:PutObject",
//!     resource: "arn:aws:s3:::b/k",
//!     owner: "111122223333",
//!     context: &(),
//! };
//! let decision = decide(&Policies { resource: Some(&policy), ..Policies::default() }, &request);
//! assert_eq!(decision.reason(request.action).unwrap(), "with an explicit deny in a resource-based policy");
//! ```
//! Documents are compiled once; a decision allocates only for policy variables. Nothing here knows HTTP, the store or the
//! KMS: what a request's circumstances are is a [`Context`] that its protocol fills.

pub mod actions;

mod condition;
mod date;
mod document;
mod evaluate;
mod explanation;
mod identity;
mod json;
mod keys;
mod naming;
mod pattern;
mod position;
mod principal;
mod public;
mod request;
mod subject;

#[cfg(test)]
mod tests;

pub use document::{Kind, MalformedPolicy, Policy, Statement};
pub use evaluate::{Decision, Grant, Grounds, List, Policies, Source, decide};
pub use explanation::{DecisionRecorder, Decisions, Explanation};
pub use identity::check_identity;
pub use keys::has_existing_tags;
pub use naming::{Registry, admit, show};
pub use position::{Position, Span};
pub use principal::is_account_id;
pub use request::{Context, Found, Principal, Request};
pub use subject::{Ask, Attached, Concerned, Session, Subject, SubjectKind};
