//! What the metrics know of the key service and the store: both stand below the telemetry's users, and are watched from
//! here.

use std::sync::Arc;

use async_trait::async_trait;

use crate::kms::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyDescription, KeyRef, Kms, KmsError, SharedKms, WrappedKey,
};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::KmsLabels;

/// Has the store's figures read before each exposition.
pub fn watch_store<S: Store + ?Sized>(metrics: &Metrics, store: Arc<S>) {
    metrics.refresh_with(move |metrics| {
        let usage = store.usage();
        metrics.store_runs.set(usage.run_bytes);
        metrics.store_free.set(usage.free_bytes);
        metrics.store_reclaimable.set(usage.reclaimable_bytes);
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
}
