//! The operators' API below `/_/v1/`: what has no counterpart in AWS's.
//!
//! | request | does |
//! |---|---|
//! | `GET /_/v1/keys/usage[?key=KEY]` | tells which buckets keep how much under which key; of a KMS key also, as `defaults`, which have it as their default |
//! | `POST /_/v1/jobs` | starts a re-wrap job: `{"type": "rewrap", "bucket", "prefix", "from", "to", "rate", "dryRun"}` |
//! | `GET /_/v1/jobs` | lists jobs |
//! | `GET /_/v1/jobs/ID` | shows a job |
//! | `DELETE /_/v1/jobs/ID` | cancels a job; `hadEnded` tells of one that was none to cancel |
//! | `POST /_/v1/policy/explain` | tells what would be decided, and why: `{"principal", "action", "resource", "context"}` |
//! | `GET /_/v1/root-key` | tells the root key's id and how it is kept |
//! | `POST /_/v1/root-key/rotate` | puts another root key in its place, and answers when all is sealed anew |
//!
//! JSON in and out; requests are signed as for S3 (service `s3`), so that
//! `curl --aws-sigv4` speaks it. An error is `{"code": …, "message": …, "requestId": …}`. An account sees its own buckets,
//! keys and jobs; the root key is the affair of the server's own account, the one that `[root]` declares.

mod auth;
mod error;
mod event;
mod explain;
mod root_key;
mod usage;
mod view;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use self::error::{Failure, bad_request, not_found};
use crate::audit::{Category, Event, SharedAudit};
use crate::clock::SharedClock;
use crate::crypto::SharedEntropy;
use crate::iam::resource::Buckets;
use crate::iam::{self, Directory, Identity, Question};
use crate::jobs::{JobId, Jobs, Order};
use crate::kms::local::LocalKms;
use crate::kms::root::rotation::Rotation;
use crate::kms::{Caller, KeyRef, SharedKms};
use crate::policy::SubjectKind;
use crate::sigv4::{Head, SigningKeys};
use crate::store::schema::{Protection, SseKind};
use crate::store::{SharedStore, commit};
use crate::wire::body::read_whole;
use crate::wire::percent::percent_decode;
use crate::wire::{Answered, Protocol, RequestBody, RequestContext, ResponseBody};

/// Longest request that is read, in bytes.
const MAX_REQUEST: usize = 64 * 1024;
/// The name of the server's own key where a KMS key can be named.
const SERVER_KEY: &str = "SSE-S3";

/// The operators' API.
pub struct Admin {
    /// What it is over.
    pub store: SharedStore,
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// The keys.
    pub kms: SharedKms,
    /// The embedded key service, whose grants decide beside policies.
    pub local_kms: Arc<LocalKms>,
    /// Who keeps the buckets.
    pub buckets: Arc<dyn Buckets>,
    /// The root key and its rotation.
    pub root_key: Arc<Rotation>,
    /// The account that the server belongs to.
    pub operator: String,
    /// The actions that policies can be asked about, beside this API's own.
    pub actions: Vec<&'static str>,
    /// Where it is told what was asked.
    pub audit: SharedAudit,
    /// Whose requests are taken.
    pub directory: Arc<Directory>,
    /// Signing keys in use.
    pub keys: Arc<SigningKeys>,
    /// The time.
    pub clock: SharedClock,
    /// Ids of events.
    pub entropy: SharedEntropy,
    /// The region that signatures name.
    pub region: String,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    CancelJob(JobId),
    CreateJob,
    ExplainPolicy,
    GetJob(JobId),
    GetKeyUsage,
    GetRootKey,
    ListJobs,
    RotateRootKey,
}

/// A row of the table of operations.
struct Row {
    method: Method,
    /// Below `/_/v1/`; `ID` stands for a job's.
    path: &'static str,
    /// What must be allowed.
    action: &'static str,
    operation: fn(JobId) -> Operation,
}

macro_rules! operations {
    ($($method:ident $path:literal $name:ident $(($id:ident))?;)*) => {
        /// Every operation. `tests/clients/test_iam_model.py` reads it, and sees that none is open to everybody.
        const OPERATIONS: &[Row] = &[
            $(Row {
                method: Method::$method,
                path: $path,
                action: concat!("strongroom:", stringify!($name)),
                operation: operations!(@make $name $($id)?),
            },)*
        ];
    };
    (@make $name:ident) => { |_| Operation::$name };
    (@make $name:ident $id:ident) => { Operation::$name };
}

operations! {
    GET    "keys/usage"      GetKeyUsage;
    POST   "jobs"            CreateJob;
    GET    "jobs"            ListJobs;
    GET    "jobs/ID"         GetJob(id);
    DELETE "jobs/ID"         CancelJob(id);
    POST   "policy/explain"  ExplainPolicy;
    GET    "root-key"        GetRootKey;
    POST   "root-key/rotate" RotateRootKey;
}

impl Row {
    /// The operation that `method` on `path` asks for.
    ///
    /// # Errors
    /// `NotFound`, `NoSuchJob`, `MethodNotAllowed`.
    fn route(method: &Method, path: &str) -> Result<(&'static Self, Operation), Failure> {
        let segments: Vec<&str> = path.strip_prefix("/_/v1/").unwrap_or_default().split('/').collect();
        let stands_for = |(pattern, segment): (&str, &&str)| pattern == "ID" || pattern == *segment;
        let is_at = |row: &&Self| {
            let count = row.path.split('/').count();
            count == segments.len() && row.path.split('/').zip(&segments).all(stands_for)
        };
        let mut here = OPERATIONS.iter().filter(is_at).peekable();
        if here.peek().is_none() {
            return Err(not_found("NotFound", format!("there is nothing at {path}")));
        }
        let row = here.find(|row| row.method == *method).ok_or_else(|| {
            let message = format!("{method} is not allowed here");
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
        })?;
        let id = if row.path.ends_with("/ID") { job_id(segments[1])? } else { JobId::default() };
        Ok((row, (row.operation)(id)))
    }

    fn name(&self) -> &'static str {
        self.action.trim_start_matches("strongroom:")
    }
}

impl Admin {
    /// Whether there is such an action; their names are not told apart by case.
    fn knows_action(&self, name: &str) -> bool {
        let mut known = OPERATIONS.iter().map(|row| row.action).chain(self.actions.iter().copied());
        known.any(|action| action.eq_ignore_ascii_case(name))
    }

    async fn answer(
        &self,
        cx: &RequestContext,
        request: Request<RequestBody>,
        answered: &mut Answered,
        event: &mut Option<Event>,
    ) -> Result<(StatusCode, Value), Failure> {
        let (parts, body) = request.into_parts();
        let (row, operation) = Row::route(&parts.method, parts.uri.path())?;
        answered.operation = row.name();
        let body = self.read(body).await?;
        let head = Head::of_parts(&parts);
        let identity = auth::authenticate(self, cx.client, &head, &body)?;
        answered.access_key_id = Some(identity.access_key_id.clone());
        if self.audit.wants(Category::Management) {
            *event = Some(event::begin(self, (row, operation), cx, (&parts, &body), &identity));
        }
        let result = self.perform(cx, (row, operation), &identity, (head.query, &body)).await;
        if let Some(event) = event {
            event::end(event, &result);
        }
        result
    }

    async fn perform(
        &self,
        cx: &RequestContext,
        (row, operation): (&Row, Operation),
        identity: &Identity,
        (query, body): (&str, &[u8]),
    ) -> Result<(StatusCode, Value), Failure> {
        match operation {
            Operation::GetKeyUsage => {
                iam::authorize(&Question::new(Some(identity), row.action, "*", None))?;
                let key = match query_value(query, "key") {
                    Some(key) => Some(self.resolve(cx, identity, &key).await?),
                    None => None,
                };
                let usage = usage::report(&*self.store, &*self.kms, identity, key.as_ref()).await?;
                let mut document = json!({"usage": usage});
                if let Some(arn) = key.and_then(|key| key.key) {
                    let caller = caller(cx, identity);
                    let defaults = usage::defaults(&*self.store, &*self.kms, &caller, identity, &arn).await?;
                    document["defaults"] = json!(defaults);
                }
                Ok((StatusCode::OK, document))
            }
            Operation::CreateJob => self.create_job(cx, identity, body).await,
            Operation::ExplainPolicy => Ok((StatusCode::OK, explain::explain(self, identity, body).await?)),
            Operation::GetRootKey => root_key::describe(self, identity),
            Operation::RotateRootKey => root_key::rotate(self, identity).await,
            Operation::ListJobs => {
                iam::authorize(&Question::new(Some(identity), row.action, "*", None))?;
                let mut jobs = self.jobs.list().await?;
                jobs.retain(|(_, record)| record.account == identity.account.id);
                jobs.sort_by_key(|(id, record)| (record.started, *id));
                let jobs: Vec<Value> = jobs.iter().map(|(id, record)| view::job(*id, record)).collect();
                Ok((StatusCode::OK, json!({"jobs": jobs})))
            }
            Operation::GetJob(id) => self.show_job(identity, row.action, id).await,
            Operation::CancelJob(id) => {
                let (_, before) = self.show_job(identity, row.action, id).await?;
                self.jobs.cancel(id).await?;
                let (status, mut after) = self.show_job(identity, row.action, id).await?;
                after["hadEnded"] = json!(!before["job"]["ended"].is_null());
                Ok((status, after))
            }
        }
    }

    async fn create_job(
        &self,
        cx: &RequestContext,
        identity: &Identity,
        body: &[u8],
    ) -> Result<(StatusCode, Value), Failure> {
        let new: view::NewJob = serde_json::from_slice(body)
            .map_err(|error| bad_request("InvalidRequest", format!("not the description of a job: {error}")))?;
        let view::NewJob::Rewrap { bucket, prefix, from, to, rate, dry_run } = new;
        if rate == Some(0) {
            return Err(bad_request("InvalidRequest", "a rate of 0 objects a second never ends"));
        }
        let record = commit::read_bucket(&*self.store, &bucket).await?;
        let (arn, owner) = (format!("arn:aws:s3:::{bucket}"), record.as_ref().map(|record| record.account.as_str()));
        iam::authorize(&Question::new(Some(identity), "strongroom:CreateJob", &arn, owner))?;
        let record = record.ok_or_else(|| not_found("NoSuchBucket", "The specified bucket does not exist"))?;
        // A job outlives the request, and goes on as its principal stands: what bounds or tags a session would be forgotten.
        if identity.subject.session.is_some() && !matches!(identity.subject.kind, SubjectKind::Root | SubjectKind::User)
        {
            let message = "A session of a role cannot start a job, which outlives it: let a user do it.";
            return Err(Failure::new(StatusCode::FORBIDDEN, "AccessDenied", message));
        }
        let from = self.resolve(cx, identity, &from).await?;
        let to = self.kms.describe(&caller(cx, identity), &KeyRef::parse(&to)).await?;
        if let Some(pending) = to.pending {
            return Err(bad_request("KMS.KMSInvalidStateException", format!("{} is {pending}.", to.arn)));
        }
        if !to.enabled {
            return Err(bad_request("KMS.DisabledException", format!("{} is disabled.", to.arn)));
        }
        let to = to.arn.to_string();
        if from.key.as_ref() == Some(&to) {
            return Err(bad_request("InvalidRequest", "the objects are under that key already"));
        }
        let order = Order { bucket, bucket_id: record.id, prefix, from, to, rate, dry_run };
        let id = self.jobs.start(order, identity.account.id.clone(), identity.arn.clone()).await?;
        let (_, document) = self.show_job(identity, "strongroom:CreateJob", id).await?;
        Ok((StatusCode::ACCEPTED, document))
    }

    async fn show_job(
        &self,
        identity: &Identity,
        action: &'static str,
        id: JobId,
    ) -> Result<(StatusCode, Value), Failure> {
        iam::authorize(&Question::new(Some(identity), action, &hex::encode(id), None))?;
        let record =
            self.jobs.find(id).await?.filter(|record| record.account == identity.account.id).ok_or_else(no_job)?;
        Ok((StatusCode::OK, json!({"job": view::job(id, &record)})))
    }

    /// What `name` names: a KMS key in any of its forms, or the server's own key.
    async fn resolve(&self, cx: &RequestContext, identity: &Identity, name: &str) -> Result<Protection, Failure> {
        if name.eq_ignore_ascii_case(SERVER_KEY) {
            return Ok(Protection { kind: SseKind::S3, key: None });
        }
        let key = self.kms.describe(&caller(cx, identity), &KeyRef::parse(name)).await?;
        Ok(Protection { kind: SseKind::Kms, key: Some(key.arn.to_string()) })
    }

    async fn read(&self, body: RequestBody) -> Result<Bytes, Failure> {
        read_whole(body, MAX_REQUEST, self.body_timeout)
            .await
            .map_err(|error| bad_request("InvalidRequest", error.to_string()))
    }
}

#[async_trait]
impl Protocol for Admin {
    async fn call(&self, cx: &RequestContext, request: Request<RequestBody>) -> Response<ResponseBody> {
        let mut answered = Answered { protocol: "admin", operation: "Unknown", access_key_id: None, error_code: None };
        let mut event = None;
        let (status, document) = match self.answer(cx, request, &mut answered, &mut event).await {
            Ok(answer) => answer,
            Err(failure) => {
                answered.error_code = Some(failure.code);
                failure.log(cx, answered.operation);
                (failure.status, failure.document(cx))
            }
        };
        let mut response = Response::new(ResponseBody::from(format!("{document}\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(answered);
        if let Some(event) = event {
            response.extensions_mut().insert(event);
        }
        response
    }
}

/// Who asks the KMS.
fn caller(cx: &RequestContext, identity: &Identity) -> Caller {
    Caller::new(&identity.subject, None, cx.id.id.as_str())
}

/// The value of `name` in a query.
fn query_value(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode(value, true)
}

fn job_id(text: &str) -> Result<JobId, Failure> {
    let id = hex::decode(text).ok().and_then(|id| id.try_into().ok());
    id.ok_or_else(no_job)
}

/// There is none, or it is another account's.
fn no_job() -> Failure {
    not_found("NoSuchJob", "The specified job does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_one_operation() {
        let route = |method: Method, path: &str| {
            Row::route(&method, path).map(|(_, operation)| operation).map_err(|failure| failure.status)
        };
        let id = [0xab; 16];
        let job = format!("/_/v1/jobs/{}", hex::encode(id));
        assert_eq!(route(Method::GET, "/_/v1/keys/usage"), Ok(Operation::GetKeyUsage));
        assert_eq!(route(Method::POST, "/_/v1/jobs"), Ok(Operation::CreateJob));
        assert_eq!(route(Method::GET, "/_/v1/jobs"), Ok(Operation::ListJobs));
        assert_eq!(route(Method::GET, &job), Ok(Operation::GetJob(id)));
        assert_eq!(route(Method::DELETE, &job), Ok(Operation::CancelJob(id)));
        assert_eq!(route(Method::PUT, &job), Err(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(route(Method::DELETE, "/_/v1/jobs"), Err(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(route(Method::POST, "/_/v1/root-key/rotate"), Ok(Operation::RotateRootKey));
        for row in OPERATIONS {
            let path = format!("/_/v1/{}", row.path.replace("ID", &hex::encode(id)));
            let (found, operation) = Row::route(&row.method, &path).unwrap();
            assert_eq!(found.name(), format!("{operation:?}").split('(').next().unwrap());
        }
        for nothing in ["/_/v1/", "/_/v1/jobs/", "/_/v1/jobs/zz", "/_/v1/jobs/ab/cd", "/_/v2/jobs"] {
            assert_eq!(route(Method::GET, nothing), Err(StatusCode::NOT_FOUND), "{nothing}");
        }
    }

    #[test]
    fn query_values_are_decoded() {
        assert_eq!(query_value("a=1&key=arn%3Aaws", "key").unwrap(), "arn:aws");
        assert_eq!(query_value("keys=1", "key"), None);
    }
}
