//! A request on its way to its handler: what is known of it, of its bucket, and what the audit learns meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use super::access_log::{self, Aside};
use super::error::{ErrorCode, Result};
use super::operation::Row;
use super::request::{ObjectKey, Query, Target};
use super::{event, headers, version};
use crate::audit::Event;
use crate::iam::{Explanation, Identity};
use crate::policy::Decisions;
use crate::sigv4::Signed;
use crate::store::Partition;
use crate::store::commit::{Place, Tell};
use crate::store::schema::{BucketRecord, PublicAccessBlock, VersionId};
use crate::wire::RequestContext;

/// A request that has passed authentication.
pub(super) struct Call<'r> {
    pub cx: &'r RequestContext,
    pub row: &'static Row,
    pub query: Query,
    /// Those that came, and what the query of a presigned request says in the place of headers.
    pub headers: HeaderMap,
    /// The host that it names, in whichever way.
    pub host: Option<String>,
    pub identity: Option<Identity>,
    pub signed: Option<Signed>,
    pub witness: &'r AuditNotes,
    /// Whether it is replication that asks, for its role.
    pub replicates: bool,
    /// Whether some policy by which it was judged asks for tags that objects have: what is read or changed after that is judged
    /// anew, by its own.
    pub asks_for_tags: AtomicBool,
}

/// What the audit learns while a request is carried out.
#[derive(Default)]
pub(super) struct AuditNotes(Mutex<Seen>);

/// What was learnt so far.
#[derive(Default)]
pub(super) struct Seen {
    pub event: Option<Event>,
    /// The name of the bucket that the request is about, which may not exist.
    pub name: Option<String>,
    /// The bucket, if it was looked for and exists.
    pub bucket: Option<Bucket>,
    pub asked: Option<access_log::LoggedRequest>,
    pub asides: Vec<Aside>,
    pub decisions: Decisions,
}

impl AuditNotes {
    fn note<T>(&self, note: impl FnOnce(&mut Seen) -> T) -> T {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who asks for what is known now, perhaps better than before.
    pub fn see(&self, event: Option<Event>) {
        self.note(|seen| seen.event = event);
    }

    /// The request brings this document.
    pub fn see_document(&self, document: &[u8]) {
        self.note(|seen| {
            if let Some(event) = &mut seen.event {
                event::show_document(event, document);
            }
        });
    }

    /// This is asked of `target`, by somebody.
    pub fn see_request(&self, row: &'static Row, query: &Query, target: &Target) {
        self.note(|seen| {
            seen.name = target.bucket().map(str::to_owned);
            seen.asked = Some(access_log::LoggedRequest::new(row, query, target));
        });
    }

    /// How the request was judged.
    pub fn see_decision(&self, decision: &Explanation) {
        self.note(|seen| seen.decisions.see(decision.clone()));
    }

    /// It is `identity` who asks, and signed so.
    pub fn see_caller(&self, identity: Option<&Identity>, signed: Option<&Signed>) {
        self.note(|seen| {
            if let Some(asked) = &mut seen.asked {
                asked.by(identity, signed);
            }
        });
    }

    /// The request is about `bucket`, if it was about none before.
    pub fn see_bucket(&self, bucket: &Bucket) {
        self.note(|seen| {
            seen.bucket.get_or_insert_with(|| bucket.clone());
        });
    }

    /// Something that has a line of its own in access logs.
    pub fn see_aside(&self, aside: impl FnOnce() -> Aside) {
        self.note(|seen| seen.asides.push(aside()));
    }

    /// All of it, at the end.
    pub fn into_seen(self) -> Seen {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bucket that exists.
#[derive(Clone)]
pub(super) struct Bucket {
    pub name: String,
    pub record: Arc<BucketRecord>,
    /// Which public access its owner blocks in all buckets.
    pub account_block: PublicAccessBlock,
}

impl Bucket {
    pub fn partition(&self) -> Partition {
        self.record.partition()
    }

    /// Where a write of `key` goes.
    pub fn place<'k>(&self, key: &'k ObjectKey, tell: &'k dyn Tell) -> Place<'k> {
        Place { bucket: self.partition(), versioning: self.record.versioning, key: key.as_str(), tell }
    }

    pub fn arn(&self) -> String {
        ["arn:aws:s3:::", &self.name].concat()
    }

    /// The ARN of the object with that key.
    pub fn arn_of(&self, key: &ObjectKey) -> String {
        ["arn:aws:s3:::", &self.name, "/", key.as_str()].concat()
    }
}

impl<'r> Call<'r> {
    /// A request that nobody has signed.
    pub fn anonymous(
        cx: &'r RequestContext,
        row: &'static Row,
        query: Query,
        headers: HeaderMap,
        witness: &'r AuditNotes,
    ) -> Self {
        let (host, identity, signed, asks_for_tags) = (None, None, None, AtomicBool::new(false));
        Self { cx, row, query, headers, host, identity, signed, witness, replicates: false, asks_for_tags }
    }

    /// Who asks. Handlers run only with a permit, and anonymous callers get none.
    pub fn identity(&self) -> Result<&Identity> {
        self.identity.as_ref().ok_or_else(|| ErrorCode::AccessDenied.into())
    }

    /// Whether tags that objects have were asked for.
    pub fn asks_for_tags(&self) -> bool {
        self.asks_for_tags.load(Ordering::Relaxed)
    }

    /// The IAM action that must be allowed.
    pub fn action(&self) -> &'static str {
        self.row.version_action.filter(|_| self.query.has("versionId")).unwrap_or(self.row.action)
    }

    /// The operation, as refusals by a bucket's settings name it, whether or not there is an IAM action of that name.
    /// (S3 user guide, "Troubleshoot access denied (403 Forbidden) errors in Amazon S3": `s3:CopyObject`.)
    pub fn operation(&self) -> String {
        ["s3:", self.row.name].concat()
    }

    /// The version that the request names.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn version(&self) -> Result<Option<VersionId>> {
        self.query.value("versionId").map(|text| version::parse("versionId", text)).transpose()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::text(&self.headers, name)
    }
}
