//! The edge: what happens to every request, whatever its protocol.
//!
//! 1. the protocol is chosen, a request id of its form drawn, and the exchange's record begun;
//! 2. the protocol is called; a panic in it is answered with the protocol's own internal error;
//! 3. a response that must have no body loses it, and gets `Server`, and `x-amz-request-id` and `x-amz-id-2` where those
//!    name it (hyper adds `Date`).
//!
//! What was begun is finished, and recorded, also if the client does not wait for it ([`super::detach`]).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, CONTENT_LENGTH, SERVER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::activity::Activity;
use super::body::{Inbound, Outbound};
use super::detach::DetachOnDrop;
use super::exchange::{Exchange, Flow};
use super::failure::Failure;
use super::internal::{self, Readiness};
use super::proxy::TrustedProxies;
use super::route::Route;
use super::server::ConnectionSlot;
use crate::audit::{Event, SharedAudit};
use crate::clock::SharedClock;
use crate::crypto::SharedEntropy;
use crate::telemetry::Metrics;
use crate::wire::{Answered, AtEnd, Protocol, RequestBody, RequestContext, RequestId, ResponseBody, TlsInfo};

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const X_AMZ_ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
/// Longest answer that can wait for its event, in bytes: what is longer streams.
const MAX_HELD: u64 = 64 * 1024;

/// The protocols that the endpoint speaks.
#[derive(Clone)]
pub struct Protocols {
    /// S3.
    pub s3: Arc<dyn Protocol>,
    /// The KMS API.
    pub kms: Arc<dyn Protocol>,
    /// CloudTrail's: looking up events.
    pub cloudtrail: Arc<dyn Protocol>,
    /// IAM and STS.
    pub query: Arc<dyn Protocol>,
    /// The operators' API.
    pub admin: Arc<dyn Protocol>,
}

/// What every request passes.
pub struct Edge {
    protocols: Protocols,
    internal: Router,
    readiness: Readiness,
    proxies: TrustedProxies,
    audit: SharedAudit,
    metrics: Arc<Metrics>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

/// A connection, as its requests know it.
pub(super) struct Origin {
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<TlsInfo>,
    pub(super) activity: Arc<Activity>,
    pub(super) stall: Duration,
    /// For as many requests as may be handled at once, those among them whose streams the client has reset.
    pub(super) handlers: Arc<Semaphore>,
    /// The connection's place among those that are open and are waited for when draining, kept until its last handler has ended.
    pub(super) _place: ConnectionSlot,
}

impl Edge {
    /// An edge in front of `protocols`.
    pub fn new(
        protocols: Protocols,
        proxies: TrustedProxies,
        audit: SharedAudit,
        metrics: Arc<Metrics>,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        let readiness = Readiness::default();
        let internal = internal::router(Arc::clone(&metrics), readiness.clone());
        Self { protocols, internal, readiness, proxies, audit, metrics, clock, entropy }
    }

    /// Whether `/_/health/ready` says so.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers one request of a connection.
    pub(super) async fn answer(
        self: Arc<Self>,
        origin: Arc<Origin>,
        request: Request<Incoming>,
    ) -> Result<Response<Outbound>, Infallible> {
        // Never closed. Only streams that were reset while they were handled can have taken all of them.
        let turn = Arc::clone(&origin.handlers).acquire_owned().await;
        let handling = async move {
            let response = self.handle(Arc::clone(&origin), request).await;
            drop((turn, origin));
            response
        };
        Ok(DetachOnDrop::new(handling).await)
    }

    async fn handle(self: Arc<Self>, origin: Arc<Origin>, request: Request<Incoming>) -> Response<Outbound> {
        let route = Route::of(&request, |host| self.protocols.s3.owns_host(host));
        let draw = if route.is_rpc() { RequestId::draw_uuid } else { RequestId::draw };
        let cx = RequestContext {
            id: draw(self.entropy.as_ref()),
            received: self.clock.now(),
            peer: origin.peer,
            client: self.proxies.client(origin.peer, request.headers()),
            tls: origin.tls,
            forwarded_over_tls: self.proxies.say_tls(origin.peer, request.headers()),
        };
        let flow = Flow::begin();
        let open = origin.activity.begin();
        let mut exchange = Exchange::begin(
            cx.clone(),
            &request,
            open,
            flow.clone(),
            Arc::clone(&self.metrics),
            Arc::clone(&self.audit),
        );
        let head = request.method() == Method::HEAD;
        let activity = Arc::clone(&origin.activity);
        let request = request.map(|body| Inbound::new(body, flow.clone(), origin).boxed_unsync());
        // What a handler holds when it panics is dropped; the stores keep their invariants by atomic commits alone.
        let mut response =
            AssertUnwindSafe(self.audited(route, &cx, request, &flow)).catch_unwind().await.unwrap_or_else(|_| {
                self.metrics.panics.inc();
                tracing::error!(request_id = %cx.id, path = exchange.path(), "a handler panicked");
                Failure::Internal.answer(route, &cx.id)
            });
        if head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            strip_body(&mut response, head);
        }
        let headers = response.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static("Strongroom"));
        if !activity.is_multiplexed() && activity.has_unread() {
            // What the client may still send can not be told from its next request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // The handlers of the other protocols name the request in their own way.
        let ids = [(X_AMZ_REQUEST_ID, &cx.id.id), (X_AMZ_ID_2, &cx.id.extended)];
        for (name, value) in ids.into_iter().filter(|_| !route.is_rpc()) {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        let answered = response.extensions_mut().remove::<Answered>().unwrap_or_else(|| Answered {
            protocol: route.name(),
            operation: "Unknown",
            ..Answered::default()
        });
        let (event, at_end) =
            (response.extensions_mut().remove::<Event>(), response.extensions_mut().remove::<AtEnd>());
        exchange.answered(response.status(), answered, event, at_end);
        response.map(|body| Outbound::new(body, exchange))
    }

    /// Dispatches a request, if the audit can take its event. Where the audit is required, an answer that is at hand waits
    /// until its event is written; of one that streams, the event is written at its end.
    async fn audited(
        &self,
        route: Route,
        cx: &RequestContext,
        request: Request<RequestBody>,
        flow: &Flow,
    ) -> Response<ResponseBody> {
        if route != Route::Internal && self.audit.admit().await.is_err() {
            return Failure::Unavailable.answer(route, &cx.id);
        }
        let mut response = self.dispatch(route, cx, request).await;
        let length = response.body().size_hint().exact().filter(|length| *length <= MAX_HELD);
        if self.audit.is_required()
            && let Some(length) = length
            && let Some(mut event) = response.extensions_mut().remove::<Event>()
        {
            event.transferred(flow.total(), length);
            if self.audit.record_surely(event).await.is_err() {
                return Failure::Unavailable.answer(route, &cx.id);
            }
        }
        response
    }

    async fn dispatch(
        &self,
        route: Route,
        cx: &RequestContext,
        request: Request<RequestBody>,
    ) -> Response<ResponseBody> {
        match route {
            Route::Admin => self.protocols.admin.call(cx, request).await,
            Route::Internal => self.internal(request).await,
            Route::CloudTrail => self.protocols.cloudtrail.call(cx, request).await,
            Route::Kms => self.protocols.kms.call(cx, request).await,
            Route::S3 => self.protocols.s3.call(cx, request).await,
            Route::Query => self.protocols.query.call(cx, request).await,
        }
    }

    async fn internal(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let operation = match request.uri().path() {
            "/_/metrics" => "Metrics",
            "/_/health/live" | "/_/health/ready" => "Health",
            _ => "Unknown",
        };
        let request = request.map(|_| axum::body::Body::empty());
        let Ok(response) = TowerToHyperService::new(self.internal.clone()).call(request).await;
        let (mut parts, body) = response.into_parts();
        // All of these answers are short texts, at hand.
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        parts.extensions.insert(Answered { protocol: Route::Internal.name(), operation, ..Answered::default() });
        Response::from_parts(parts, ResponseBody::from(bytes))
    }
}

impl Route {
    /// The protocol's name in the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::CloudTrail => "cloudtrail",
            Self::Internal => "internal",
            Self::Kms => "kms",
            Self::Query => "query",
            Self::S3 => "s3",
        }
    }
}

/// RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5: these have no body. A HEAD says how long it would have been.
fn strip_body(response: &mut Response<ResponseBody>, head: bool) {
    let body = std::mem::replace(response.body_mut(), ResponseBody::empty());
    let length = body.size_hint().exact().filter(|length| head && *length > 0);
    if let Some(length) = length
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}
