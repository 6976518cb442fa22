//! IAM and STS, over AWS's query protocol: a form in, XML out. [`OPERATIONS`] is the table of what is served.
//! (AWS: "Making query requests", IAM user guide.)

mod authority;
mod constraints;
mod event;
mod failure;
mod handlers;
mod operation;
mod params;
mod policies;
mod render;
mod sts;
mod unserved;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;

use self::failure::{Failure, Result};
use self::operation::Service;
use self::params::Params;
use super::store::AccountState;
use super::{Directory, Identity};
use crate::audit::{Category, Event, SharedAudit, UserIdentity};
use crate::clock::{SharedClock, Timestamp, from_millis, iso8601_seconds};
use crate::crypto::{SharedEntropy, digest};
use crate::policy::DecisionRecorder;
use crate::sigv4::{Head, Presented, Signed, SigningKeys, Verifier};
use crate::wire::body::{ReadError, read_whole};
use crate::wire::{Answered, Protocol, RequestBody, RequestContext, ResponseBody, Said};

pub use handlers::Handler;
pub use operation::{OPERATIONS, On, Operation};
pub use sts::issuer::{IssuerError, Issuers};

/// Longest request that is read, in bytes: a document of 131 072 characters, each of them encoded.
const MAX_REQUEST: usize = 1 << 20;

/// The IAM and STS APIs.
pub struct QueryApi {
    /// Everybody there is.
    pub directory: Arc<Directory>,
    /// Signing keys in use.
    pub keys: Arc<SigningKeys>,
    /// What is told of requests.
    pub audit: SharedAudit,
    /// The time.
    pub clock: SharedClock,
    /// Where the ids of events come from.
    pub entropy: SharedEntropy,
    /// The region of this server, whose name signatures may give beside `us-east-1`.
    pub region: String,
    /// The keys of those who vouch for web identities.
    pub issuers: Issuers,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

/// A request at hand.
struct Call<'c> {
    api: &'c QueryApi,
    cx: &'c RequestContext,
    identity: Option<&'c Identity>,
    signed: Option<&'c Signed>,
    params: &'c Params,
    user_agent: Option<&'c str>,
    now: Timestamp,
    witness: DecisionRecorder,
    /// Who brought a token, once that is proven.
    web_identity: OnceLock<UserIdentity>,
}

impl<'c> Call<'c> {
    /// Who asks.
    fn identity(&self) -> Result<&'c Identity> {
        self.identity.ok_or_else(failure::unknown_client)
    }

    /// The account of who asks; empty if nobody signed.
    fn account(&self) -> &'c str {
        self.identity.map_or("", |identity| identity.account.id.as_str())
    }

    fn directory(&self) -> &'c Directory {
        &self.api.directory
    }

    /// The identities of the account.
    fn state(&self) -> Arc<AccountState> {
        Arc::clone(&self.directory().compiled(self.account()).state)
    }

    /// Changes the identities of the account.
    async fn change<T>(&self, change: impl Fn(&mut AccountState) -> Result<T>) -> Result<T> {
        self.directory().change(self.account(), change).await
    }
}

/// A time as the query protocol has it, from milliseconds since the Unix epoch.
fn time(millis: i64) -> String {
    iso8601_seconds(from_millis(millis))
}

impl QueryApi {
    async fn answer(
        &self,
        cx: &RequestContext,
        request: Request<RequestBody>,
        answered: &mut Answered,
        event: &mut Option<Event>,
    ) -> (Service, Result<(&'static str, Value)>) {
        let (parts, body) = request.into_parts();
        let mut service = if is_for_iam(&parts) { Service::Iam } else { Service::Sts };
        let body = match read_whole(body, MAX_REQUEST, self.body_timeout).await {
            Ok(body) => body,
            Err(error) => return (service, Err(unread(error))),
        };
        // What is presigned has its parameters in the query, by whichever method it is sent.
        let in_query = parts.method == Method::GET || body.is_empty();
        let form = if in_query { parts.uri.query().unwrap_or_default().as_bytes() } else { &body };
        let Some(params) = std::str::from_utf8(form).ok().and_then(Params::parse) else {
            let message = "The request is not a form of AWS's query protocol.";
            return (service, Err(Failure::new(StatusCode::BAD_REQUEST, "MalformedQueryString", message)));
        };
        let operation = params.text("Action").and_then(Operation::by_name);
        let operation = operation.filter(|operation| params.text("Version") == Some(operation.service.version()));
        service = operation.map_or(service, |operation| operation.service);
        // What an operation does not know can neither be done nor change who may do it.
        let params = params.of(operation);
        answered.operation = operation.map_or("Unknown", |operation| operation.name);
        let said = Said::of(&parts.headers);
        let unsigned = operation.is_some_and(Operation::is_by_token);
        let signed = match self.authenticate(cx, &Head::of_parts(&parts), &body, service) {
            Ok(signed) => signed,
            Err(error) => return (service, Err(error)),
        };
        let identity = match &signed {
            Some(signed) => match self.directory.identify(signed) {
                Some(identity) => Some(identity),
                None => return (service, Err(failure::unknown_client())),
            },
            None if unsigned || operation.is_none_or(|operation| operation.handler.is_none()) => None,
            None => {
                let message = "Request is missing Authentication Token";
                return (service, Err(Failure::new(StatusCode::FORBIDDEN, "MissingAuthenticationToken", message)));
            }
        };
        answered.access_key_id = identity.as_ref().map(|identity| identity.access_key_id.clone());
        let Some((operation, handler)) = operation.and_then(|operation| Some((operation, operation.handler?))) else {
            return (service, Err(unknown(&params)));
        };
        let call = Call {
            api: self,
            cx,
            identity: identity.as_ref(),
            signed: signed.as_ref(),
            params: &params,
            user_agent: said.user_agent,
            now: self.clock.now(),
            witness: DecisionRecorder::watching(),
            web_identity: OnceLock::new(),
        };
        if self.audit.wants(Category::Management) {
            *event = Some(event::begin(&call, operation, said));
        }
        let judged = constraints::check_judged(&params).and_then(|()| authority::authorize(&call, operation));
        let result = match judged {
            Ok(permit) => {
                match constraints::check(operation, &params).and_then(|()| unserved::check(operation, &params)) {
                    Ok(()) => handlers::perform(handler, &call, permit).await,
                    Err(failure) => Err(failure),
                }
            }
            Err(denied) => Err(denied),
        };
        if let Some(event) = event {
            event::end(event, &call, &result);
        }
        (service, result.map(|answer| (operation.name, answer)))
    }

    /// The signature, if there is one.
    fn authenticate(
        &self,
        cx: &RequestContext,
        head: &Head<'_>,
        body: &[u8],
        service: Service,
    ) -> Result<Option<Signed>> {
        let Some(presented) = Presented::from_head(head)? else { return Ok(None) };
        let verifier = Verifier {
            secrets: &*self.directory,
            region: &self.region,
            service: service.signed(),
            now: self.clock.now(),
            keys: &self.keys,
        };
        let (key, hash) = (presented.access_key_id().to_owned(), hex::encode(digest::sha256(body)));
        let verify = || presented.verify(head, &verifier, &hash);
        Ok(Some(self.directory.attempt(cx.client, &key, verifier.now, verify)?))
    }
}

/// Whether a request whose operation nobody knows was meant for IAM: by its host, or by what it was signed for.
fn is_for_iam(parts: &http::request::Parts) -> bool {
    let host = parts.uri.host().or_else(|| parts.headers.get(HOST)?.to_str().ok()).unwrap_or_default();
    let authorization = parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    host.starts_with("iam.") || authorization.is_some_and(|text| text.contains("/iam/aws4_request"))
}

fn unread(error: ReadError) -> Failure {
    match error {
        ReadError::TooLong => {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "The request is too long.")
        }
        ReadError::Ended | ReadError::TimedOut => {
            Failure::new(StatusCode::BAD_REQUEST, "RequestTimeout", "The request did not arrive whole and in time.")
        }
    }
}

/// What IAM answers to operations that it does not have, and what those are told that this server does not offer.
fn unknown(params: &Params) -> Failure {
    let version = params.text("Version").unwrap_or("NO_VERSION_SPECIFIED");
    match params.text("Action") {
        Some(action) if Operation::by_name(action).is_some_and(|known| known.service.version() == version) => {
            failure::invalid_action(format!("The operation {action} is not offered by this server."))
        }
        Some(action) => failure::invalid_action(format!("Could not find operation {action} for version {version}")),
        None => Failure::new(StatusCode::BAD_REQUEST, "MissingAction", "The request is missing an Action parameter."),
    }
}

#[async_trait]
impl Protocol for QueryApi {
    async fn call(&self, cx: &RequestContext, request: Request<RequestBody>) -> Response<ResponseBody> {
        let mut answered = Answered { protocol: "query", operation: "Unknown", ..Answered::default() };
        let mut event = None;
        let (service, result) = self.answer(cx, request, &mut answered, &mut event).await;
        let (status, body) = match result {
            Ok((name, answer)) => (StatusCode::OK, render::success(service, name, &answer, &cx.id.id)),
            Err(failure) => {
                answered.error_code = Some(failure.code);
                if failure.status.is_server_error() {
                    let cause = failure.source.as_deref().map(tracing::field::debug);
                    tracing::error!(request_id = %cx.id, operation = answered.operation, code = failure.code, cause, "request failed");
                }
                (failure.status, render::failure(service, &failure, &cx.id.id))
            }
        };
        let mut response = Response::new(ResponseBody::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
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
