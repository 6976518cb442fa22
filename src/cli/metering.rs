//! What the metrics know of the key service and the store: both stand below the telemetry's users, and are watched from
//! here.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use crate::audit::SharedAudit;
use crate::audit::sink::SinkFigures;
use crate::crypto::Secret;
use crate::kms::cache::CachedKms;
use crate::kms::guard::{Breaker, BreakerState, Call, Guard};
use crate::kms::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyDescription, KeyRef, Kms, KmsError, Knowledge, SharedKms,
    WrappedKey,
};
use crate::s3::S3;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{
    KmsLabels, ServiceCallLabels, ServiceLabel, ServiceOperationLabels, SinkLabel, show_count,
};

/// Has the store's figures read before each exposition.
pub fn watch_store<S: Store + ?Sized>(metrics: &Metrics, store: Arc<S>) {
    metrics.refresh_with(move |metrics| {
        let usage = store.usage();
        metrics.store_runs.set(usage.run_bytes);
        metrics.store_free.set(usage.free_bytes);
        metrics.store_reclaimable.set(usage.reclaimable_bytes);
        metrics.store_recent.set(usage.recent_bytes);
    });
}

/// Has the audit's figures read before each exposition.
pub fn watch_audit(metrics: &Metrics, audit: &SharedAudit) {
    // The metrics outlive the graph; the audit ends with it.
    let audit = Arc::downgrade(audit);
    metrics.refresh_with(move |metrics| {
        let Some(audit) = audit.upgrade() else { return };
        let figures = audit.figures();
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        show_count(&metrics.audit_written, figures.written);
        show_count(&metrics.audit_lost, figures.lost);
        metrics.audit_waiting.set(gauge(figures.waiting as u64));
        metrics.audit_failing.set(i64::from(figures.failing));
    });
}

/// Has the figures of a service's unwrap cache read before each exposition.
pub fn watch_cache(metrics: &Metrics, service: String, cache: &Arc<CachedKms>) {
    let label = ServiceLabel { service };
    // The metrics outlive the graph; keys must not.
    let cache = Arc::downgrade(cache);
    metrics.refresh_with(move |metrics| {
        let Some(cache) = cache.upgrade() else { return };
        let figures = cache.figures();
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        show_count(&metrics.unwrap_hits.get_or_create(&label), figures.hits);
        show_count(&metrics.unwrap_misses.get_or_create(&label), figures.misses);
        show_count(&metrics.unwrap_evictions.get_or_create(&label), figures.evictions);
        metrics.unwrap_held.get_or_create(&label).set(gauge(figures.held as u64));
    });
}

/// Tells of a service without an unwrap cache that nothing was at hand.
pub fn tell_of_no_cache(metrics: &Metrics, service: String) {
    let label = ServiceLabel { service };
    for count in [&metrics.unwrap_hits, &metrics.unwrap_misses, &metrics.unwrap_evictions] {
        show_count(&count.get_or_create(&label), 0);
    }
    metrics.unwrap_held.get_or_create(&label).set(0);
}

/// Has the figures of what sends events elsewhere read before each exposition.
pub fn watch_sinks(metrics: &Metrics, sinks: Vec<Arc<SinkFigures>>) {
    metrics.refresh_with(move |metrics| {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for sink in &sinks {
            let label = SinkLabel { sink: sink.name };
            show_count(&metrics.sink_delivered.get_or_create(&label), sink.delivered());
            show_count(&metrics.sink_failures.get_or_create(&label), sink.failures());
            show_count(&metrics.sink_skipped.get_or_create(&label), sink.skipped());
            metrics.sink_behind.get_or_create(&label).set(gauge(sink.behind()));
            metrics.sink_failing.get_or_create(&label).set(i64::from(sink.is_failing()));
        }
    });
}

/// Has a breaker's state read before each exposition.
pub fn watch_breaker(metrics: &Metrics, service: String, breaker: Arc<Breaker>) {
    let label = ServiceLabel { service };
    metrics.refresh_with(move |metrics| {
        let state = match breaker.state() {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        metrics.service_breaker.get_or_create(&label).set(state);
        show_count(&metrics.service_breaker_opened.get_or_create(&label), breaker.opened());
    });
}

/// Counts and times the calls of one key service.
pub struct ServiceMeter {
    service: String,
    metrics: Arc<Metrics>,
}

impl ServiceMeter {
    /// For the service of this name.
    pub fn new(service: String, metrics: Arc<Metrics>) -> Self {
        Self { service, metrics }
    }
}

#[async_trait]
impl Guard for ServiceMeter {
    async fn run<T: Send>(&self, operation: &'static str, call: Call<'_, T>) -> Result<T, KmsError> {
        let began = Instant::now();
        let result = call().await;
        let service = || self.service.clone();
        let labels = ServiceOperationLabels { service: service(), operation };
        self.metrics.service_duration.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
        let outcome = result.as_ref().err().map_or("ok", |error| error.kind.code());
        let labels = ServiceCallLabels { service: service(), operation, outcome };
        self.metrics.service_calls.get_or_create(&labels).inc();
        result
    }
}

/// Has the figures of access logs read before each exposition.
pub fn watch_access_logs(metrics: &Metrics, s3: &Arc<S3>) {
    let s3 = Arc::downgrade(s3);
    metrics.refresh_with(move |metrics| {
        let Some(s3) = s3.upgrade() else { return };
        let figures = s3.access_log_figures();
        show_count(&metrics.access_log_delivered, figures.delivered);
        show_count(&metrics.access_log_lost, figures.lost);
    });
}

/// A key service whose calls are counted.
pub struct MeteredKms {
    inner: SharedKms,
    metrics: Arc<Metrics>,
}

impl MeteredKms {
    /// Counts the calls of `inner`.
    pub fn new(inner: SharedKms, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn count<T>(&self, operation: &'static str, result: Result<T, KmsError>) -> Result<T, KmsError> {
        let outcome = if result.is_ok() { "ok" } else { "error" };
        self.metrics.kms_requests.get_or_create(&KmsLabels { operation, outcome }).inc();
        result
    }
}

#[async_trait]
impl Kms for MeteredKms {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        self.count("GenerateDataKey", self.inner.generate_data_key(caller, key, context).await)
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        self.count("Decrypt", self.inner.decrypt(caller, blob, key, context).await)
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.count("Encrypt", self.inner.encrypt(caller, key, plaintext, context).await)
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.count("WrapDataKey", self.inner.wrap_data_key(caller, key, data_key, context).await)
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        self.count("ReEncrypt", self.inner.re_encrypt(caller, blob, from, to).await)
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        self.count("DescribeKey", self.inner.describe(caller, key).await)
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self.inner.knowledge()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::{KeyArn, NothingKnown, error::KmsErrorKind};

    /// Describes every key and does nothing else.
    struct Describing;

    fn refusal<T>() -> Result<T, KmsError> {
        Err(KmsError { kind: KmsErrorKind::UnsupportedOperation, message: String::new(), source: None })
    }

    #[async_trait]
    impl Kms for Describing {
        async fn generate_data_key(
            &self,
            _: &Caller,
            _: &KeyRef,
            _: &EncryptionContext,
        ) -> Result<GeneratedKey, KmsError> {
            refusal()
        }

        async fn decrypt(
            &self,
            _: &Caller,
            _: &[u8],
            _: Option<&KeyRef>,
            _: &EncryptionContext,
        ) -> Result<Decrypted, KmsError> {
            refusal()
        }

        async fn encrypt(
            &self,
            _: &Caller,
            _: &KeyRef,
            _: &[u8],
            _: &EncryptionContext,
        ) -> Result<WrappedKey, KmsError> {
            refusal()
        }

        async fn wrap_data_key(
            &self,
            _: &Caller,
            _: &KeyRef,
            _: &Secret<32>,
            _: &EncryptionContext,
        ) -> Result<WrappedKey, KmsError> {
            refusal()
        }

        async fn re_encrypt(
            &self,
            _: &Caller,
            _: &[u8],
            _: (Option<&KeyRef>, &EncryptionContext),
            _: (&KeyRef, &EncryptionContext),
        ) -> Result<WrappedKey, KmsError> {
            refusal()
        }

        async fn describe(&self, _: &Caller, _: &KeyRef) -> Result<KeyDescription, KmsError> {
            let arn = KeyArn::new("us-east-1", "000000000000", "1234abcd-12ab-34cd-56ef-1234567890ab");
            Ok(KeyDescription { arn, enabled: true, pending: None, aws_managed: false })
        }

        fn knowledge(&self) -> &dyn Knowledge {
            &NothingKnown
        }
    }

    #[tokio::test]
    async fn every_call_is_counted_by_its_outcome() {
        let metrics = Arc::new(Metrics::default());
        let kms = MeteredKms::new(Arc::new(Describing), Arc::clone(&metrics));
        let caller = Caller::root_of("000000000000", None, "");
        let (key, context) = (KeyRef::aws_s3(), EncryptionContext::new());
        assert!(kms.describe(&caller, &key).await.unwrap().enabled);
        assert!(kms.generate_data_key(&caller, &key, &context).await.is_err());
        assert!(kms.decrypt(&caller, b"", None, &context).await.is_err());
        assert!(kms.encrypt(&caller, &key, b"", &context).await.is_err());
        assert!(kms.re_encrypt(&caller, b"", (None, &context), (&key, &context)).await.is_err());
        let text = metrics.encode();
        assert!(text.contains("strongroom_kms_requests_total{operation=\"DescribeKey\",outcome=\"ok\"} 1"));
        for operation in ["GenerateDataKey", "Decrypt", "Encrypt", "ReEncrypt"] {
            let line = format!("strongroom_kms_requests_total{{operation=\"{operation}\",outcome=\"error\"}} 1");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
