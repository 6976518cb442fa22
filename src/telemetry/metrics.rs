//! The metrics: one table of families, exposed as OpenMetrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The media type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the duration histograms, in seconds.
const DURATIONS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Upper bounds of the delay of replication, in seconds.
const DELAYS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0];

/// Labels of an answered request.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RequestLabels {
    /// `s3`, `kms`, `query` (IAM and STS), `cloudtrail`, `admin`, `internal`.
    pub protocol: &'static str,
    /// The operation, as AWS names it.
    pub operation: &'static str,
    /// `2xx`, `4xx`, ...; `aborted` if the client left first.
    pub status: &'static str,
}

/// Labels of what is counted by operation alone.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OperationLabels {
    /// `s3`, `kms`, `query` (IAM and STS), `cloudtrail`, `admin`, `internal`.
    pub protocol: &'static str,
    /// The operation, as AWS names it.
    pub operation: &'static str,
}

/// Labels of a call of the key service.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct KmsLabels {
    /// The operation, as AWS names it.
    pub operation: &'static str,
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// Labels of a call of one key service.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ServiceCallLabels {
    /// `embedded`, or the name that the configuration gives it.
    pub service: String,
    /// The operation, as AWS names it.
    pub operation: &'static str,
    /// `ok`, or the error's code.
    pub outcome: &'static str,
}

/// Labels of what takes time in one key service.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ServiceOperationLabels {
    /// `embedded`, or the name that the configuration gives it.
    pub service: String,
    /// The operation, as AWS names it.
    pub operation: &'static str,
}

/// A key service.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ServiceLabel {
    /// The name that the configuration gives it.
    pub service: String,
}

/// Labels of what a life cycle does.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct LifecycleLabels {
    /// `expire_current`, `expire_noncurrent`, `remove_marker`, `abort_upload`, `transition`.
    pub action: &'static str,
    /// `done`, `changed` (it was replaced meanwhile), `locked`, `failed`.
    pub outcome: &'static str,
}

/// Labels of an entry of the outbox that was carried.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CarriedLabels {
    /// `event` or `replication`.
    pub kind: &'static str,
    /// `ok`, `retried` or `failed`.
    pub outcome: &'static str,
}

/// A kind of outbox entry.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct KindLabel {
    /// `event` or `replication`.
    pub kind: &'static str,
}

/// A label with one of a few values.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OutcomeLabel {
    /// `ok`, `failed`, `timeout`.
    pub outcome: &'static str,
}

/// A transport.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct TransportLabel {
    /// `https` or `http`.
    pub transport: &'static str,
}

/// Which destination of the audit's events.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct SinkLabel {
    /// `syslog`, `webhook`.
    pub sink: &'static str,
}

/// Labels of the running version.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct BuildLabels {
    /// The version of Strongroom.
    pub version: &'static str,
}

/// Shows `count`, which somebody else keeps and never counts down.
pub fn show_count(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

/// A gauge of bytes.
pub type BytesGauge = Gauge<u64, AtomicU64>;

type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Defines the families: each with its documentation (which is also its help text), type, unit and name.
macro_rules! families {
    ($( #[doc = $help:literal] $field:ident: $type:ty = $make:expr, $unit:expr, $name:literal; )*) => {
        /// All families and the registry that exposes them.
        pub struct Metrics {
            $( #[doc = $help] pub $field: $type, )*
            registry: Registry,
            refresh: Mutex<Vec<Refresh>>,
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("strongroom");
                $(
                    let $field: $type = $make;
                    let help = $help.trim().trim_end_matches('.');
                    match $unit {
                        Some(unit) => registry.register_with_unit($name, help, unit, $field.clone()),
                        None => registry.register($name, help, $field.clone()),
                    }
                )*
                let version = BuildLabels { version: env!("CARGO_PKG_VERSION") };
                registry.register("build", "The running version", Info::new(version));
                Self { $( $field, )* registry, refresh: Mutex::default() }
            }
        }
    };
}

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

type Durations = Family<OperationLabels, Histogram, fn() -> Histogram>;
type ServiceDurations = Family<ServiceOperationLabels, Histogram, fn() -> Histogram>;

families! {
    /// Requests answered.
    requests: Family<RequestLabels, Counter> = Family::default(), None::<Unit>, "requests";
    /// Time from a request's head to the end of its response.
    duration: Durations = Durations::new_with_constructor(durations), Some(Unit::Seconds), "request_duration";
    /// Bytes of request bodies.
    received: Family<OperationLabels, Counter> = Family::default(), Some(Unit::Bytes), "received";
    /// Bytes of response bodies.
    sent: Family<OperationLabels, Counter> = Family::default(), Some(Unit::Bytes), "sent";
    /// Requests being answered.
    in_flight: Gauge = Gauge::default(), None::<Unit>, "requests_in_flight";
    /// Requests whose handler panicked.
    panics: Counter = Counter::default(), None::<Unit>, "panics";
    /// Connections accepted.
    accepted: Family<TransportLabel, Counter> = Family::default(), None::<Unit>, "connections_accepted";
    /// Connections open.
    connections: Family<TransportLabel, Gauge> = Family::default(), None::<Unit>, "connections";
    /// TLS handshakes.
    handshakes: Family<OutcomeLabel, Counter> = Family::default(), None::<Unit>, "tls_handshakes";
    /// Calls of the key service, from every protocol.
    kms_requests: Family<KmsLabels, Counter> = Family::default(), None::<Unit>, "kms_requests";
    /// Data keys that the unwrap cache of a key service had at hand, since the start.
    unwrap_hits: Family<ServiceLabel, Counter> = Family::default(), None::<Unit>, "kms_unwrap_cache_hits";
    /// Data keys for which a key service with an unwrap cache was asked, since the start.
    unwrap_misses: Family<ServiceLabel, Counter> = Family::default(), None::<Unit>, "kms_unwrap_cache_misses";
    /// Data keys that the unwrap cache of a key service has let go, since the start.
    unwrap_evictions: Family<ServiceLabel, Counter> = Family::default(), None::<Unit>, "kms_unwrap_cache_evictions";
    /// Data keys in the unwrap cache of a key service.
    unwrap_held: Family<ServiceLabel, Gauge> = Family::default(), None::<Unit>, "kms_unwrap_cache_entries";
    /// Calls of each key service.
    service_calls: Family<ServiceCallLabels, Counter> = Family::default(), None::<Unit>, "kms_service_calls";
    /// How long a key service takes to answer, tries and pauses included.
    service_duration: ServiceDurations = ServiceDurations::new_with_constructor(durations), Some(Unit::Seconds), "kms_service_duration";
    /// The circuit breaker of a key service: 0 closed, 1 half-open, 2 open.
    service_breaker: Family<ServiceLabel, Gauge> = Family::default(), None::<Unit>, "kms_service_breaker";
    /// How often the circuit breaker of a key service has opened since the start.
    service_breaker_opened: Family<ServiceLabel, Counter> = Family::default(), None::<Unit>, "kms_service_breaker_openings";
    /// Versions and uploads that life cycles have looked at.
    lifecycle_examined: Counter = Counter::default(), None::<Unit>, "lifecycle_examined";
    /// What life cycles have done: expire_current, expire_noncurrent, remove_marker, abort_upload, transition.
    lifecycle_actions: Family<LifecycleLabels, Counter> = Family::default(), None::<Unit>, "lifecycle_actions";
    /// Inventory reports that were made, or failed.
    inventory_reports: Family<OutcomeLabel, Counter> = Family::default(), None::<Unit>, "inventory_reports";
    /// Tries to carry out what waits in the outbox.
    carried: Family<CarriedLabels, Counter> = Family::default(), None::<Unit>, "outbox_carried";
    /// What waits in the outbox, to be told or replicated.
    waiting: Family<KindLabel, Gauge> = Family::default(), None::<Unit>, "outbox_waiting";
    /// Bytes of the objects that wait in the outbox.
    waiting_bytes: Family<KindLabel, Gauge> = Family::default(), Some(Unit::Bytes), "outbox_waiting";
    /// Time from a write to the end of its replication.
    replication_delay: Histogram = Histogram::new(DELAYS), Some(Unit::Seconds), "replication_delay";
    /// Bytes of objects that were replicated.
    replicated: Counter = Counter::default(), Some(Unit::Bytes), "replicated";
    /// Events that the audit has written since the start.
    audit_written: Counter = Counter::default(), None::<Unit>, "audit_events_written";
    /// Events lost since the start, because the audit log could not be written.
    audit_lost: Counter = Counter::default(), None::<Unit>, "audit_events_lost";
    /// Events that wait to be written to the audit log.
    audit_waiting: Gauge = Gauge::default(), None::<Unit>, "audit_events_waiting";
    /// 1 while the audit log cannot be written.
    audit_failing: Gauge = Gauge::default(), None::<Unit>, "audit_failing";
    /// Events that a destination of the audit has taken since the start.
    sink_delivered: Family<SinkLabel, Counter> = Family::default(), None::<Unit>, "audit_sink_events_delivered";
    /// Attempts to send events that have failed since the start.
    sink_failures: Family<SinkLabel, Counter> = Family::default(), None::<Unit>, "audit_sink_failures";
    /// Events that the log's limits removed before they could be sent, since the start.
    sink_skipped: Family<SinkLabel, Counter> = Family::default(), None::<Unit>, "audit_sink_events_skipped";
    /// Events in the log that are not sent yet.
    sink_behind: Family<SinkLabel, Gauge> = Family::default(), None::<Unit>, "audit_sink_events_behind";
    /// 1 while events cannot be sent.
    sink_failing: Family<SinkLabel, Gauge> = Family::default(), None::<Unit>, "audit_sink_failing";
    /// Lines of server access logs delivered since the start.
    access_log_delivered: Counter = Counter::default(), None::<Unit>, "access_log_lines_delivered";
    /// Lines of server access logs lost since the start: not let in, not deliverable, or too many.
    access_log_lost: Counter = Counter::default(), None::<Unit>, "access_log_lines_lost";
    /// Bytes of objects in segment files.
    store_runs: BytesGauge = Gauge::default(), Some(Unit::Bytes), "store_runs";
    /// Bytes that the data directory's file system still offers.
    store_free: BytesGauge = Gauge::default(), Some(Unit::Bytes), "store_free";
    /// Bytes deleted but not yet given back to the file system.
    store_reclaimable: BytesGauge = Gauge::default(), Some(Unit::Bytes), "store_reclaimable";
    /// Memory held by the cache of recently written segment data.
    store_recent: BytesGauge = Gauge::default(), Some(Unit::Bytes), "store_recent";
}

/// A request that has ended, as the metrics see it.
#[derive(Clone, Copy, Debug)]
pub struct EndedRequest {
    /// `s3`, `kms`, `query` (IAM and STS), `cloudtrail`, `admin`, `internal`.
    pub protocol: &'static str,
    /// The operation, as AWS names it.
    pub operation: &'static str,
    /// The status code; `None` if the client left before one was sent.
    pub status: Option<u16>,
    /// From the request's head to the end of the response.
    pub took: Duration,
    /// Bytes of the request's body that were read.
    pub received: u64,
    /// Bytes of the response's body that were sent.
    pub sent: u64,
}

impl Metrics {
    /// Has `refresh` set, before each exposition, what is read rather than counted.
    pub fn refresh_with(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// Counts a request that has ended.
    pub fn request(&self, ended: EndedRequest) {
        let EndedRequest { protocol, operation, status, took, received, sent } = ended;
        let labels = OperationLabels { protocol, operation };
        let status = match status {
            None => "aborted",
            Some(100..=199) => "1xx",
            Some(200..=299) => "2xx",
            Some(300..=399) => "3xx",
            Some(400..=499) => "4xx",
            Some(_) => "5xx",
        };
        self.requests.get_or_create(&RequestLabels { protocol, operation, status }).inc();
        self.duration.get_or_create(&labels).observe(took.as_secs_f64());
        self.received.get_or_create(&labels).inc_by(received);
        self.sent.get_or_create(&labels).inc_by(sent);
    }

    /// Shows how many entries of a kind wait in the outbox, and of how many bytes they are about.
    pub fn show_waiting(&self, kind: &'static str, entries: i64, bytes: i64) {
        self.waiting.get_or_create(&KindLabel { kind }).set(entries);
        self.waiting_bytes.get_or_create(&KindLabel { kind }).set(bytes);
    }

    /// The exposition, as OpenMetrics text.
    pub fn encode(&self) -> String {
        for refresh in self.refresh.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            refresh(self);
        }
        let mut text = String::new();
        // Writing to a string cannot fail; were it to, a cut exposition lacks its EOF and is refused by its reader.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_exposed_with_its_labels() {
        let metrics = Metrics::default();
        metrics.refresh_with(|metrics| {
            metrics.store_free.set(77);
        });
        metrics.refresh_with(|metrics| {
            show_count(&metrics.audit_written, 8);
        });
        metrics.request(EndedRequest {
            protocol: "s3",
            operation: "PutObject",
            status: Some(200),
            took: Duration::from_millis(3),
            received: 5,
            sent: 7,
        });
        let text = metrics.encode();
        for line in [
            "strongroom_requests_total{protocol=\"s3\",operation=\"PutObject\",status=\"2xx\"} 1",
            "strongroom_request_duration_seconds_bucket{le=\"0.005\",protocol=\"s3\",operation=\"PutObject\"} 1",
            "strongroom_received_bytes_total{protocol=\"s3\",operation=\"PutObject\"} 5",
            "strongroom_sent_bytes_total{protocol=\"s3\",operation=\"PutObject\"} 7",
            "strongroom_store_free_bytes 77",
            "# TYPE strongroom_audit_events_written counter",
            "strongroom_audit_events_written_total 8",
            concat!("strongroom_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
