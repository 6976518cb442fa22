//! One request's record, from its head to the end of its response: the access log, the metrics and the audit's event are
//! written when it is dropped, however the exchange ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::field::display;
use tracing::{info, warn};

use super::activity::{Open, Sending};
use crate::audit::{Event, SharedAudit};
use crate::telemetry::Metrics;
use crate::telemetry::log::redact_query;
use crate::telemetry::metrics::EndedRequest;
use crate::wire::{Answered, AtEnd, Ending, RequestContext};

/// Bytes of a request's body, counted where it is read.
#[derive(Clone, Debug)]
pub(super) struct Flow(Arc<Received>);

#[derive(Debug)]
struct Received {
    bytes: AtomicU64,
    began: Instant,
    /// Microseconds from the beginning to the last bytes.
    last: AtomicU64,
}

impl Flow {
    /// The head was read just now.
    pub(super) fn begin() -> Self {
        Self(Arc::new(Received { bytes: AtomicU64::new(0), began: Instant::now(), last: AtomicU64::new(0) }))
    }

    pub(super) fn received(&self, bytes: usize) {
        let now = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.last.store(now, Ordering::Relaxed);
    }

    /// The bytes that were read so far.
    pub(super) fn total(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// How long ago the last of the request came.
    fn since_last(&self) -> Duration {
        self.0.began.elapsed().saturating_sub(Duration::from_micros(self.0.last.load(Ordering::Relaxed)))
    }
}

/// The record.
pub(super) struct Exchange {
    cx: RequestContext,
    method: Method,
    path: String,
    query: Option<String>,
    version: http::Version,
    started: Instant,
    flow: Flow,
    metrics: Arc<Metrics>,
    audit: SharedAudit,
    status: Option<StatusCode>,
    answered: Answered,
    event: Option<Event>,
    at_end: Option<AtEnd>,
    turn_around: Duration,
    sent: u64,
    complete: bool,
    // Dropped in this order: the body's progress, then the request.
    sending: Option<Sending>,
    open: Open,
}

impl Exchange {
    pub(super) fn begin<B>(
        cx: RequestContext,
        request: &http::Request<B>,
        open: Open,
        flow: Flow,
        metrics: Arc<Metrics>,
        audit: SharedAudit,
    ) -> Self {
        metrics.in_flight.inc();
        Self {
            cx,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(redact_query),
            version: request.version(),
            started: Instant::now(),
            flow,
            metrics,
            audit,
            status: None,
            answered: Answered { protocol: "unknown", operation: "Unknown", ..Answered::default() },
            event: None,
            at_end: None,
            turn_around: Duration::ZERO,
            sent: 0,
            complete: false,
            sending: None,
            open,
        }
    }

    /// The path that was asked for.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The response's head is decided.
    pub(super) fn answered(
        &mut self,
        status: StatusCode,
        answered: Answered,
        event: Option<Event>,
        at_end: Option<AtEnd>,
    ) {
        self.status = Some(status);
        self.answered = answered;
        self.event = event;
        self.at_end = at_end;
        self.turn_around = self.flow.since_last();
        self.sending = Some(self.open.sending());
    }

    /// Bytes were given to the connection.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        if let Some(sending) = &self.sending {
            sending.moved();
        }
    }

    /// The response's body has no bytes ready.
    pub(super) fn waits_for_us(&self) {
        if let Some(sending) = &self.sending {
            sending.waits_for_us();
        }
    }

    /// The whole response was given to the connection.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// The response's body failed on our side; the connection is about to be cut.
    pub(super) fn broke(&self, error: &(dyn std::error::Error + Send + Sync)) {
        warn!(request_id = %self.cx.id, %error, "the response broke off");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let received = self.flow.total();
        if let Some(mut event) = self.event.take() {
            event.transferred(received, self.sent);
            self.audit.record(event);
        }
        if let Some(at_end) = self.at_end.take() {
            at_end.act(&Ending { sent: self.sent, total: took, turn_around: self.turn_around });
        }
        let Answered { protocol, operation, access_key_id, error_code } = &self.answered;
        // Whom a trusted proxy speaks for.
        let client = Some(self.cx.client).filter(|client| *client != self.cx.peer.ip()).map(display);
        self.metrics.in_flight.dec();
        self.metrics.request(EndedRequest {
            protocol,
            operation,
            status: self.status.filter(|_| self.complete).map(|status| status.as_u16()),
            took,
            received,
            sent: self.sent,
        });
        info!(
            target: "strongroom::access",
            request_id = self.cx.id.id,
            peer = %self.cx.peer,
            client,
            method = self.method.as_str(),
            path = self.path,
            query = self.query,
            version = ?self.version,
            tls = self.cx.tls.map(|tls| tls.version),
            protocol,
            operation,
            status = self.status.map(|status| status.as_u16()),
            complete = self.complete,
            error_code,
            access_key_id,
            bytes_in = received,
            bytes_out = self.sent,
            duration_ms = milliseconds(took),
            "request"
        );
    }
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}
