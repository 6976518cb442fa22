//! What makes a key service across the network bearable. Each [`Guard`] looks at calls from outside, whatever they do:
//!
//! ```text
//! caller -> Breaker -> Retry -> Deadline -> the backend
//! ```
//! [`Deadline`] bounds each try, [`Retry`] tries again what may pass, within a budget, and [`Breaker`] spares a service that
//! is away, and those who would wait for it. The AWS SDK tries again by itself: its backend has no `Retry`.

mod breaker;
mod deadline;
mod retry;

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

pub use breaker::{Breaker, BreakerState};
pub use deadline::Deadline;
pub use retry::Retry;

use super::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyDescription, KeyRef, Kms, KmsError, Knowledge, SharedKms,
    WrappedKey,
};
use crate::crypto::Secret;

/// The answer of a call that was begun.
pub type Answer<'c, T> = Pin<Box<dyn Future<Output = Result<T, KmsError>> + Send + 'c>>;
/// Begins a call; each time anew.
pub type Call<'c, T> = &'c (dyn Fn() -> Answer<'c, T> + Sync);

/// What stands between callers and a key service.
#[async_trait]
pub trait Guard: Send + Sync + 'static {
    /// Makes the call of `operation` (as AWS names it), perhaps more than once or not at all.
    async fn run<T: Send>(&self, operation: &'static str, call: Call<'_, T>) -> Result<T, KmsError>;
}

/// A key service behind a guard.
pub struct Guarded<G> {
    inner: SharedKms,
    guard: G,
}

impl<G: Guard> Guarded<G> {
    /// Puts `guard` before `inner`.
    pub fn shared(inner: SharedKms, guard: G) -> SharedKms {
        Arc::new(Self { inner, guard })
    }
}

#[async_trait]
impl<G: Guard> Guard for Arc<G> {
    async fn run<T: Send>(&self, operation: &'static str, call: Call<'_, T>) -> Result<T, KmsError> {
        (**self).run(operation, call).await
    }
}

#[async_trait]
impl<G: Guard> Kms for Guarded<G> {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        self.guard.run("GenerateDataKey", &|| self.inner.generate_data_key(caller, key, context)).await
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        self.guard.run("Decrypt", &|| self.inner.decrypt(caller, blob, key, context)).await
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.guard.run("Encrypt", &|| self.inner.encrypt(caller, key, plaintext, context)).await
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        self.guard.run("WrapDataKey", &|| self.inner.wrap_data_key(caller, key, data_key, context)).await
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        self.guard.run("ReEncrypt", &|| self.inner.re_encrypt(caller, blob, from, to)).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        self.guard.run("DescribeKey", &|| self.inner.describe(caller, key)).await
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self.inner.knowledge()
    }
}
