//! What lives under `/_/`, which no bucket can be named: health and metrics. Unauthenticated, and so without a word on
//! what is stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::telemetry::{Metrics, metrics};

/// Whether the server should be sent requests: from its start until it drains, for as long as it can write.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Conditions>);

#[derive(Default)]
struct Conditions {
    serving: AtomicBool,
    takes_writes: OnceLock<Check>,
}

type Check = Box<dyn Fn() -> bool + Send + Sync>;

impl Readiness {
    /// Says that requests are served, or no longer.
    pub fn set(&self, serving: bool) {
        self.0.serving.store(serving, Ordering::Release);
    }

    /// Has `takes_writes` asked each time. The first one stays.
    pub fn require(&self, takes_writes: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.0.takes_writes.set(Box::new(takes_writes));
    }
}

/// The routes.
pub(super) fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/_/health/live", get(async || "live\n"))
        .route("/_/health/ready", get(ready).with_state(readiness))
        .route("/_/metrics", get(expose).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    let Conditions { serving, takes_writes } = &*readiness.0;
    if !serving.load(Ordering::Acquire) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if takes_writes.get().is_some_and(|takes_writes| !takes_writes()) {
        (StatusCode::SERVICE_UNAVAILABLE, "failed\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn expose(State(metrics): State<Arc<Metrics>>) -> ([(http::HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_who_serves_and_can_write() {
        let readiness = Readiness::default();
        let answer = async || {
            let (status, text) = ready(State(readiness.clone())).await;
            (status.as_u16(), text)
        };
        assert_eq!(answer().await, (503, "draining\n"));
        readiness.set(true);
        assert_eq!(answer().await, (200, "ready\n"));
        let takes_writes = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&takes_writes);
        readiness.require(move || asked.load(Ordering::SeqCst));
        assert_eq!(answer().await, (200, "ready\n"));
        takes_writes.store(false, Ordering::SeqCst);
        assert_eq!(answer().await, (503, "failed\n"));
        takes_writes.store(true, Ordering::SeqCst);
        assert_eq!(answer().await, (200, "ready\n"));
    }
}
