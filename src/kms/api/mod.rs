//! The KMS API: TrentService over JSON 1.1, as AWS's clients speak it.
//!
//! A request is `POST /` with `X-Amz-Target: TrentService.<Operation>` and a JSON document; a success is 200 with one,
//! and every error a status with `{"__type": …, "message": …}`. [`OPERATIONS`] is the table of what is served.

mod conditions;
mod constraints;
mod event;
mod fields;
mod handlers;
mod operation;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use self::fields::Fields;
use super::error::{KmsError, KmsErrorKind};
use super::local::LocalKms;
use super::{Caller, resource_arn};
use crate::audit::{Category, Event, SharedAudit};
use crate::clock::SharedClock;
use crate::crypto::SharedEntropy;
use crate::iam::{self, Circumstances, Directory, Identity, Permit, Question, json::authenticate};
use crate::policy::{Context, DecisionRecorder};
use crate::sigv4::{Head, Service, SigningKeys, Verifier};
use crate::wire::body::{ReadError, read_whole};
use crate::wire::{Answered, Protocol, RequestBody, RequestContext, ResponseBody, Said};

pub use operation::{OPERATIONS, Offer, Operation, Subject};

/// Longest request that is read, in bytes: far above any that can succeed.
const MAX_REQUEST: usize = 1 << 20;

/// The KMS API over the embedded service.
pub struct KmsApi {
    kms: Arc<LocalKms>,
    directory: Arc<Directory>,
    keys: Arc<SigningKeys>,
    audit: SharedAudit,
    clock: SharedClock,
    entropy: SharedEntropy,
    /// How long a request's body may take.
    body_timeout: Duration,
}

/// A failure as the JSON protocol shows it.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// For the log alone.
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl From<KmsError> for Failure {
    fn from(error: KmsError) -> Self {
        // AWS answers 400 to everything that is the client's doing, AccessDenied included.
        let status = match error.kind {
            KmsErrorKind::Internal
            | KmsErrorKind::KeyUnavailable
            | KmsErrorKind::Unavailable
            | KmsErrorKind::DependencyTimeout => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, kind: error.kind.code(), message: error.message, source: error.source }
    }
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), source: None }
    }
}

impl KmsApi {
    /// The API over `kms`, for the access keys of `directory`.
    pub fn new(
        kms: Arc<LocalKms>,
        directory: Arc<Directory>,
        keys: Arc<SigningKeys>,
        audit: SharedAudit,
        (clock, entropy): (SharedClock, SharedEntropy),
        body_timeout: Duration,
    ) -> Self {
        Self { kms, directory, keys, audit, clock, entropy, body_timeout }
    }

    async fn answer(
        &self,
        cx: &RequestContext,
        request: Request<RequestBody>,
        answered: &mut Answered,
        event: &mut Option<Event>,
    ) -> Result<Value, Failure> {
        let (parts, body) = request.into_parts();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let operation = target.strip_prefix("TrentService.").and_then(Operation::by_name);
        answered.operation = operation.map_or("Unknown", |operation| operation.name);
        let body = self.read(body).await?;
        let head = Head::of_parts(&parts);
        let identity = self.authenticate(cx, &head, &body)?;
        answered.access_key_id = Some(identity.access_key_id.clone());
        let Some(operation) = operation.filter(|_| parts.method == Method::POST) else {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "UnknownOperationException", ""));
        };
        let document = if body.is_empty() { json!({}) } else { parse(&body)? };
        if self.audit.wants(Category::Management) {
            *event = Some(event::begin(self, operation, (cx, Said::of(&parts.headers)), &identity, &document));
        }
        let conditions = conditions::values(cx, &parts.headers, &identity.account.id, (operation.action, &document));
        let caller = Caller {
            conditions: Some(conditions),
            is_told_statements: identity.is_told_statements,
            event_id: event.as_ref().map(|event| event.id().to_owned()),
            witness: DecisionRecorder::watching(),
            ..Caller::new(&identity.subject, None, cx.id.id.as_str())
        };
        let result = self.perform(cx, operation, &identity, &document, &caller).await;
        if let Some(event) = event {
            event::end(self, event, &document, &result, (&identity, caller.witness.decisions()));
        }
        result
    }

    fn authenticate(&self, cx: &RequestContext, head: &Head<'_>, body: &[u8]) -> Result<Identity, Failure> {
        let verifier = Verifier {
            secrets: &*self.directory,
            region: self.kms.region(),
            service: Service::KMS,
            now: self.clock.now(),
            keys: &self.keys,
        };
        authenticate(cx.client, head, body, &verifier, &self.directory)
            .map_err(|refusal| Failure::new(StatusCode::BAD_REQUEST, refusal.kind, refusal.message))
    }

    async fn perform(
        &self,
        cx: &RequestContext,
        operation: &'static Operation,
        identity: &Identity,
        document: &Value,
        caller: &Caller,
    ) -> Result<Value, Failure> {
        let permit = self.authorize(cx, operation, identity, (document, caller))?;
        let Offer::Served(handler) = &operation.offer else {
            let message = format!("{} is not supported by this key service.", operation.name);
            return Err(KmsErrorKind::UnsupportedOperation.with(message).into());
        };
        let fields = Fields::new(document)?;
        handlers::perform(*handler, &self.kms, caller, &fields, permit).await
    }

    /// Whether the caller may do what is no key's affair alone; the rest the key service judges by the key.
    fn authorize(
        &self,
        cx: &RequestContext,
        operation: &'static Operation,
        identity: &Identity,
        (document, caller): (&Value, &Caller),
    ) -> Result<Permit, Failure> {
        let arn = |name: &str| resource_arn(self.kms.region(), &identity.account.id, name);
        let resource = match operation.subject {
            Subject::Key => return Ok(Permit::left_to_the_key_service()),
            Subject::Alias => arn(document["AliasName"].as_str().unwrap_or("alias/")),
            Subject::Account => "*".to_owned(),
        };
        let ask = |action: &'static str, resource: &str| {
            let conditions = caller.conditions.as_ref().map(|conditions| conditions.of(action));
            let circumstances = Circumstances {
                cx,
                identity: Some(identity),
                region: self.kms.region(),
                now: self.clock.now(),
                user_agent: None,
                more: conditions.as_ref().map_or(&(), |conditions| conditions as &dyn Context),
            };
            let question = Question::new(Some(identity), action, resource, None);
            let judged = iam::authorize(&Question { context: &circumstances, ..question });
            if let Some(explanation) = iam::explanation(&judged) {
                caller.witness.see(|| explanation.clone());
            }
            judged.map_err(|denied| Failure::from(KmsErrorKind::AccessDenied.with(denied.sentence())))
        };
        let permit = ask(operation.action, &resource)?;
        // "Required permissions: kms:CreateKey, kms:TagResource to use the Tags parameter" (API reference, CreateKey). There is
        // no key yet: it may be any.
        if operation.action == "kms:CreateKey" && document["Tags"].as_array().is_some_and(|tags| !tags.is_empty()) {
            ask("kms:TagResource", &arn("key/*"))?;
        }
        Ok(permit)
    }

    async fn read(&self, body: RequestBody) -> Result<Bytes, Failure> {
        read_whole(body, MAX_REQUEST, self.body_timeout).await.map_err(|error| match error {
            ReadError::TooLong => {
                Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", "Request is too large")
            }
            ReadError::Ended => serialization("The request body ended early"),
            ReadError::TimedOut => Failure::new(
                StatusCode::BAD_REQUEST,
                "RequestTimeoutException",
                "The request body did not arrive in time",
            ),
        })
    }
}

#[async_trait]
impl Protocol for KmsApi {
    async fn call(&self, cx: &RequestContext, request: Request<RequestBody>) -> Response<ResponseBody> {
        let mut answered = Answered { protocol: "kms", operation: "Unknown", access_key_id: None, error_code: None };
        let mut event = None;
        let (status, document) = match self.answer(cx, request, &mut answered, &mut event).await {
            Ok(document) => (StatusCode::OK, document),
            Err(failure) => {
                answered.error_code = Some(failure.kind);
                if failure.status.is_server_error() {
                    let cause = failure.source.as_deref().map(tracing::field::debug);
                    tracing::error!(request_id = %cx.id, operation = answered.operation, code = failure.kind, cause, "request failed");
                }
                // What has no text has no such member. (Recorded on AWS: LocalStack's test_key_rotations_encryption_decryption.)
                let mut document = json!({"__type": failure.kind});
                if !failure.message.is_empty() {
                    document["message"] = failure.message.into();
                }
                (failure.status, document)
            }
        };
        let body = if document.is_null() { ResponseBody::empty() } else { ResponseBody::from(document.to_string()) };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        if let Ok(id) = HeaderValue::try_from(cx.id.id.as_str()) {
            headers.insert("x-amzn-requestid", id);
        }
        response.extensions_mut().insert(answered);
        if let Some(event) = event {
            response.extensions_mut().insert(event);
        }
        response
    }
}

fn parse(body: &[u8]) -> Result<Value, Failure> {
    match serde_json::from_slice(body) {
        Ok(document @ Value::Object(_)) => Ok(document),
        _ => Err(serialization("The request is not a JSON object")),
    }
}

fn serialization(message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "SerializationException", message)
}
