//! Server access logs: a line for each request to a bucket that wants it, delivered as objects of another bucket.
//!
//! A line is made when its answer has been sent, waits in memory with those of the same bucket (`delivery`), and is delivered
//! with them. As on AWS this is done as well as can be and promised to nobody: what waits when the process is killed is lost, and
//! so is what cannot be delivered for long, or what is more than memory is set aside for. The audit log is what promises.
//! (S3 user guide, "Logging requests with server access logging".)

mod delivery;
mod line;
mod rules;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HOST, HeaderMap, HeaderValue, REFERER, USER_AGENT};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, Version};

use super::acl::{Granting, ObjectAccess, full_control, is_public};
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::text;
use super::operation::{BodyKind, Operation, Row};
use super::render;
use super::request::{Query, Target, TargetKind};
use super::service::S3;
use super::xml::XmlWriter;
use crate::events::{End, LifecycleOutcome};
use crate::iam::{Identity, Permit};
use crate::sigv4::{Kind, Signed};
use crate::store::schema::ConfigurationKind;
use crate::telemetry::log::redact_query;
use crate::wire::{AtEnd, Ending, RequestBody, RequestContext, RequestId, ResponseBody};

pub(super) use delivery::AccessLogs;
pub use delivery::Figures;
use delivery::Way;
use line::{Line, Sent};
pub(super) use rules::{Logging, ROOT};

/// Longest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// What a transition to a storage class is called. (S3 user guide, "S3 Lifecycle and logging".)
fn transition_to(class: &str) -> &'static str {
    match class {
        "STANDARD_IA" => "S3.TRANSITION_SIA.OBJECT",
        "ONEZONE_IA" => "S3.TRANSITION_ZIA.OBJECT",
        "INTELLIGENT_TIERING" => "S3.TRANSITION_INT.OBJECT",
        "GLACIER_IR" => "S3.TRANSITION_GIR.OBJECT",
        "DEEP_ARCHIVE" => "S3.TRANSITION_GDA.OBJECT",
        _ => "S3.TRANSITION.OBJECT",
    }
}

/// A request's line and headers, as far as the log tells of them.
pub(super) struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// Bytes of an object that it brings.
    length: Option<u64>,
}

/// A request to a bucket, as the log tells of it.
#[derive(Clone, Copy)]
pub(super) struct Access<'r> {
    pub cx: &'r RequestContext,
    pub head: &'r Head,
    pub bucket: &'r Bucket,
    pub asked: Option<&'r LoggedRequest>,
    /// Whether an access control list let it in.
    pub by_list: bool,
}

/// What was asked, by whom.
pub(super) struct LoggedRequest {
    row: &'static Row,
    identity: Option<Identity>,
    authentication: Option<&'static str>,
    version: Option<String>,
    key: Option<String>,
}

/// Something that a request did beside what it is about, which has a line of its own: one of the objects it deleted, or the
/// object that it copied.
pub(super) struct Aside {
    pub operation: &'static str,
    /// Where; `None`: in the request's bucket.
    pub bucket: Option<Bucket>,
    pub key: String,
    pub version: Option<String>,
    pub status: StatusCode,
    pub error: Option<ErrorCode>,
    pub size: Option<u64>,
}

impl Head {
    pub fn of(parts: &Parts) -> Self {
        let header = |name| parts.headers.get(name).cloned();
        let length = text(&parts.headers, "x-amz-decoded-content-length").or(text(&parts.headers, CONTENT_LENGTH));
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            host: header(HOST),
            referer: header(REFERER),
            user_agent: header(USER_AGENT),
            length: length.and_then(|length| length.parse().ok()),
        }
    }

    /// `GET /bucket/key?query HTTP/1.1`, without what signs the query.
    fn request(&self) -> String {
        let query = self.uri.query().map(|query| format!("?{}", redact_query(query))).unwrap_or_default();
        format!("{} {}{query} {:?}", self.method, self.uri.path(), self.version)
    }

    fn host(&self) -> Option<String> {
        let named = || self.uri.authority().map(|authority| authority.as_str().to_owned());
        self.host.as_ref().map(shown).or_else(named)
    }
}

impl LoggedRequest {
    /// Which operation.
    pub fn operation(&self) -> Operation {
        self.row.operation
    }

    pub fn new(row: &'static Row, query: &Query, target: &Target) -> Self {
        let key = match target {
            Target::Object(_, key) => Some(key.as_str().to_owned()),
            _ => None,
        };
        let version = query.non_empty("versionId").map(str::to_owned);
        Self { row, identity: None, authentication: None, version, key }
    }

    /// Says who asks.
    pub fn by(&mut self, identity: Option<&Identity>, signed: Option<&Signed>) {
        self.identity = identity.cloned();
        self.authentication = signed.map(|signed| match signed.kind() {
            Kind::Header => "AuthHeader",
            Kind::Presigned { .. } => "QueryString",
        });
    }

    /// The size of the object that was read or written.
    fn object_size(&self, head: &Head, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
        if self.row.target != TargetKind::Object || !status.is_success() {
            return None;
        }
        match self.row.operation {
            Operation::GetObject | Operation::HeadObject => match text(headers, CONTENT_RANGE) {
                Some(range) => range.rsplit_once('/')?.1.parse().ok(),
                None => text(headers, CONTENT_LENGTH)?.parse().ok(),
            },
            _ if self.row.body == BodyKind::Stream => head.length,
            _ => None,
        }
    }
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl S3 {
    /// Has the line of a request written when its answer has been sent. `website`: it was a visitor's.
    pub(super) async fn log_access(
        &self,
        access: Access<'_>,
        website: bool,
        error: Option<&S3Error>,
        response: &mut Response<ResponseBody>,
    ) {
        let Access { cx, head, bucket, asked, .. } = access;
        let Some(logging) = self.logging_of(bucket).await else { return };
        let (status, headers) = (response.status(), response.headers());
        let version = text(headers, "x-amz-version-id").map(str::to_owned);
        let line = Line {
            operation: match (asked, website) {
                (_, true) => format!("WEBSITE.{}.OBJECT", head.method),
                (Some(asked), false) => line::operation_name(asked.row),
                (None, false) => "REST.OPTIONS.PREFLIGHT".to_owned(),
            },
            key: asked.and_then(|asked| asked.key.clone()),
            request: head.request(),
            status: Some(status.as_u16()),
            error_code: error.map(|error| error.code.as_str()),
            object_size: asked.and_then(|asked| asked.object_size(head, status, headers)),
            referer: head.referer.as_ref().map(shown),
            user_agent: head.user_agent.as_ref().map(shown),
            version: version.or_else(|| asked.and_then(|asked| asked.version.clone())),
            ..self.line(access)
        };
        let (logs, way) = (Arc::clone(&self.access_logs), Way::of(bucket, &logging, cx.received));
        response.extensions_mut().insert(AtEnd::new(move |ending: &Ending| {
            let Ending { sent, total, turn_around } = *ending;
            logs.take(&way, &line.render(Some(&Sent { bytes: sent, total, turn_around })));
        }));
    }

    /// Writes the lines of what a request did beside what it is about.
    pub(super) async fn log_asides(&self, access: Access<'_>, asides: Vec<Aside>) {
        for aside in asides {
            let access = Access { bucket: aside.bucket.as_ref().unwrap_or(access.bucket), ..access };
            let Some(logging) = self.logging_of(access.bucket).await else { continue };
            let line = Line {
                operation: aside.operation.to_owned(),
                key: Some(aside.key),
                request: "-".to_owned(),
                status: Some(aside.status.as_u16()),
                error_code: aside.error.map(ErrorCode::as_str),
                object_size: aside.size,
                version: aside.version,
                ..self.line(access)
            };
            self.access_logs.take(&Way::of(access.bucket, &logging, access.cx.received), &line.render(None));
        }
    }

    /// Writes the line of what the life cycle has ended in `bucket`. There is no request: most fields are empty.
    /// (S3 user guide, "S3 Lifecycle and logging".)
    pub(super) async fn log_ended(&self, bucket: &Bucket, ended: LifecycleOutcome) {
        let Some(logging) = self.logging_of(bucket).await else { return };
        let (now, id) = (self.clock.now(), RequestId::draw(&*self.entropy));
        let line = Line {
            owner: self.owner(bucket).map(|owner| owner.canonical_id.clone()),
            bucket: bucket.name.clone(),
            received: now,
            client: "-".to_owned(),
            requester: Some("AmazonS3".to_owned()),
            request_id: id.id,
            operation: match ended.how {
                End::Expired => "S3.EXPIRE.OBJECT",
                End::Marked => "S3.CREATE.DELETEMARKER",
                End::Aborted => "S3.DELETE.UPLOAD",
                End::Transitioned(class) => transition_to(class),
            }
            .to_owned(),
            key: Some(ended.key),
            request: "-".to_owned(),
            object_size: ended.size,
            version: ended.version.map(|version| version.to_string()),
            host_id: id.extended,
            ..Line::default()
        };
        self.access_logs.take(&Way::of(bucket, &logging, now), &line.render(None));
    }

    /// What all lines of a request have in common.
    fn line(&self, access: Access<'_>) -> Line {
        let Access { cx, head, bucket, asked, by_list } = access;
        let identity = asked.and_then(|asked| asked.identity.as_ref());
        let authentication = asked.and_then(|asked| asked.authentication);
        let requester = identity.map(|identity| {
            if identity.subject.is_root() { identity.account.canonical_id.clone() } else { identity.arn.clone() }
        });
        Line {
            owner: self.owner(bucket).map(|owner| owner.canonical_id.clone()),
            bucket: bucket.name.clone(),
            received: cx.received,
            client: cx.client.to_string(),
            requester,
            request_id: cx.id.id.clone(),
            host_id: cx.id.extended.clone(),
            signature: authentication.map(|_| "SigV4"),
            cipher_suite: cx.tls.map(|tls| line::openssl_name(tls.cipher_suite)),
            authentication,
            host: head.host(),
            tls: cx.tls.map(|tls| tls.version),
            acl_required: by_list,
            ..Line::default()
        }
    }

    async fn logging_of(&self, bucket: &Bucket) -> Option<Arc<Logging>> {
        let logging = self.configured(bucket, ConfigurationKind::Logging, &self.loggings, Logging::read).await;
        logging.unwrap_or_else(|error| {
            tracing::error!(bucket = bucket.name, %error, "a logging configuration cannot be read");
            None
        })
    }

    /// Has a bucket's requests logged, or logged no longer.
    pub(super) async fn put_logging(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await?;
        let contents = match rules::parse(&document)? {
            Some((logging, asked)) => self.judge_log_target(bucket, &logging, asked).await?,
            None => String::new(),
        };
        self.keep_configuration(bucket, ConfigurationKind::Logging, None, contents).await?;
        Ok(render::empty(StatusCode::OK))
    }

    /// Judges the bucket that is to get logs, and the grants that are asked for; what is kept of both.
    ///
    /// # Errors
    /// `InvalidTargetBucketForLogging`; for grants `MalformedXML`, `InvalidArgument`, `AccessControlListNotSupported` where none
    /// counts, and `InvalidBucketAclWithBlockPublicAccessError` for public ones where those are blocked.
    async fn judge_log_target(&self, bucket: &Bucket, logging: &Logging, asked: Vec<Granting>) -> Result<String> {
        let target = &logging.target;
        let refused = |message: &'static str| {
            Err(S3Error::new(ErrorCode::InvalidTargetBucketForLogging, message).with("TargetBucket", target))
        };
        let target = match self.find_bucket(target).await? {
            None => return refused("The target bucket for logging does not exist"),
            Some(found) if found.record.account != bucket.record.account => {
                return refused("The owner for the bucket to be logged and the target bucket must be the same.");
            }
            // "S3 buckets with Object Lock can't be used as destination buckets for server access logs." (S3 user guide,
            // "Object Lock considerations".)
            Some(found) if found.record.object_lock.is_some() => {
                return refused("The target bucket for logging must not have Object Lock enabled");
            }
            // "Requester Pays buckets do not support [...] Using a Requester Pays bucket as the target bucket for end-user logging".
            // (S3 user guide, "Using Requester Pays general purpose buckets".)
            Some(found) if self.is_requester_pays(&found).await? => {
                return refused("The target bucket for logging must not be a Requester Pays bucket");
            }
            Some(found) => found,
        };
        let resolve = |granting: Granting| granting.resolve(ErrorCode::MalformedXml, &self.directory);
        let grants = rules::resolve_grants(asked, resolve)?;
        if !grants.is_empty() && !target.has_acls() {
            return Err(ErrorCode::AccessControlListNotSupported.with("TargetBucket", &target.name));
        }
        if is_public(&grants) && target.public_access().block_public_acls {
            return Err(ErrorCode::InvalidBucketAclWithBlockPublicAccess.with("TargetBucket", &target.name));
        }
        Ok(logging.canonical(&XmlWriter::fragment(|xml| {
            for grant in &grants {
                xml.element("Grant", |xml| self.write_grant(grant, xml));
            }
        })))
    }

    /// Whom the log objects of `source` in `target` belong to, and their list. Grants that count no longer are left out.
    async fn access_of_logs(&self, source: &str, target: &Bucket) -> Result<ObjectAccess> {
        let Some(source) = self.find_bucket(source).await? else { return Ok(ObjectAccess::default()) };
        let Some(logging) = self.logging_of(&source).await else { return Ok(ObjectAccess::default()) };
        let grants = &logging.grants;
        let blocked = is_public(grants) && target.public_access().block_public_acls;
        if grants.is_empty() || logging.target != target.name || !target.has_acls() || blocked {
            return Ok(ObjectAccess::default());
        }
        let own = self.owner(target).map(|owner| full_control(&owner.canonical_id));
        Ok(ObjectAccess { owner: None, acl: Some(own.into_iter().chain(grants.iter().cloned()).collect()) })
    }
}
