//! Envelope encryption: from the request's headers to the sealed stream and back.
//!
//! ```text
//! HeaderMap --headers--> SseRequest --plan--> Plan --Sse::begin--> Envelope (stored) + ObjectKey (in memory)
//! plaintext --Sealer(ObjectKey)--> frames (stored) + RunHeader (stored)
//! Envelope --Sse::unlock--> ObjectKey;  frames --Opener(ObjectKey, RunHeader)--> plaintext
//! ```
//! Every object has a 256-bit data key of its own, wrapped by a KMS key (SSE-KMS) or by the server key (SSE-S3), in both
//! cases bound to the object's name. Every run has keys of its own, derived from the data key and a random salt. The
//! layouts and derivations are in [`mod@format`]. Telling how an object is encrypted (HEAD, LIST) takes its [`Envelope`]
//! alone and no key.
//!
//! **Bucket keys.** For now the flag changes what is stored, sent and echoed as on AWS (the KMS wraps a bucket key under
//! the bucket's ARN, the bucket key wraps the data key), but each object gets a bucket key of its own, so it saves no
//! KMS calls yet. Sharing one among objects needs no change of format.

mod attributes;
pub mod context;
mod envelope;
mod error;
pub mod format;
pub mod headers;
mod open;
mod plan;
mod seal;
pub mod server_key;
mod wrap;

#[cfg(test)]
mod tests;

use crate::crypto::{Secret, SharedEntropy};
use crate::kms::{Caller, DataKey, KeyRef, SharedKms};

pub use attributes::{Scope, open_checksums, seal_checksums};
pub use context::{ClientContext, ObjectName};
pub use envelope::{Envelope, KmsProtection};
pub use error::SseError;
pub use format::{RunHeader, Suite, sealed_len};
pub use headers::SseRequest;
pub use open::{FrameRead, FrameReads, Opener};
pub use plan::{BucketDefault, Plan};
pub use seal::Sealer;
pub use server_key::{EtagOf, EtagScope, ServerKey};

use context::encryption_context;
use envelope::Protection;
use plan::Choice;
use wrap::Purpose;

/// An object's data key in clear. Made by [`Sse::begin`] and [`Sse::unlock`] alone, and asked for by whatever seals or
/// opens the object's bytes.
#[derive(Debug)]
pub struct ObjectKey {
    key: DataKey,
    suite: Suite,
}

impl ObjectKey {
    pub(in crate::sse) fn secret(&self) -> &Secret<32> {
        self.key.expose()
    }

    pub(in crate::sse) fn suite(&self) -> Suite {
        self.suite
    }
}

/// Makes and opens envelopes.
pub struct Sse {
    kms: SharedKms,
    server_key: ServerKey,
    entropy: SharedEntropy,
}

impl Sse {
    /// With the KMS for SSE-KMS and the server key for SSE-S3.
    pub fn new(kms: SharedKms, server_key: ServerKey, entropy: SharedEntropy) -> Self {
        Self { kms, server_key, entropy }
    }

    /// Seals the entity tag of an SSE-S3 object or part, bound to where it is stored.
    pub fn seal_etag(&self, scope: EtagScope<'_>, etag: &str) -> Vec<u8> {
        self.server_key.seal_etag(&*self.entropy, scope, etag)
    }

    /// Opens what [`Self::seal_etag`] returned for the same scope. Needs no KMS, so that LIST and HEAD always work.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if it was altered or belongs elsewhere.
    pub fn open_etag(&self, scope: EtagScope<'_>, sealed: &[u8]) -> Result<String, SseError> {
        self.server_key.open_etag(scope, sealed)
    }

    /// A fresh data key for `object`, and the envelope to store. SSE-KMS asks the KMS for it on behalf of `caller`
    /// (`kms:GenerateDataKey`).
    ///
    /// # Errors
    /// [`SseError::Kms`] as the KMS answers, [`SseError::InvalidArgument`] for a wrong `aws:s3:arn` in the context.
    pub async fn begin(
        &self,
        plan: &Plan,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<(Envelope, ObjectKey), SseError> {
        let suite = Suite::Aes256Gcm;
        let (protection, key) = match &plan.0 {
            Choice::S3 => {
                let (key, wrapped) = self.server_key.generate(&*self.entropy, object);
                (Protection::S3 { wrapped }, key)
            }
            Choice::Kms { key, context, bucket_key } => {
                let kms_context = encryption_context(context.as_ref(), object, *bucket_key)?;
                let generated = self.kms.generate_data_key(caller, key, &kms_context).await?;
                let (bucket_key, key) = if *bucket_key {
                    let (wrapped, key) = self.under_bucket_key(&generated.key, object);
                    (Some(wrapped), key)
                } else {
                    (None, generated.key)
                };
                let protection =
                    KmsProtection { wrapped: generated.wrapped, client_context: context.clone(), bucket_key };
                (Protection::Kms(protection), key)
            }
        };
        Ok((Envelope { suite, protection }, ObjectKey { key, suite }))
    }

    /// The data key of `object`, from its stored envelope. SSE-KMS asks the KMS for it on behalf of `caller`
    /// (`kms:Decrypt`).
    ///
    /// # Errors
    /// [`SseError::Kms`] as the KMS answers, [`SseError::Corrupt`] if the envelope was altered or is of another object.
    pub async fn unlock(
        &self,
        envelope: &Envelope,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<ObjectKey, SseError> {
        let key = match &envelope.protection {
            Protection::S3 { wrapped } => self.server_key.unwrap(wrapped, object)?,
            Protection::Kms(kms) => self.unlock_kms(kms, caller, object).await?,
        };
        Ok(ObjectKey { key, suite: envelope.suite })
    }

    async fn unlock_kms(
        &self,
        kms: &KmsProtection,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<DataKey, SseError> {
        let context = encryption_context(kms.client_context.as_ref(), object, kms.uses_bucket_key())
            .map_err(|_| SseError::corrupt("the envelope's encryption context is of another object"))?;
        let named = KeyRef::from(&kms.wrapped.key_arn);
        let decrypted = self.kms.decrypt(caller, &kms.wrapped.blob, Some(&named), &context).await?;
        let key = Secret::from_slice(decrypted.plaintext.expose())
            .ok_or_else(|| SseError::corrupt("the KMS unwrapped something that is not a 256-bit key"))?;
        let Some(wrapped) = &kms.bucket_key else {
            return Ok(DataKey::new(key));
        };
        wrap::unwrap(&key, Purpose::BucketKey, &object.arn(), wrapped)
            .map(DataKey::new)
            .map_err(|_| SseError::corrupt("a data key wrapped by a bucket key did not authenticate"))
    }

    fn under_bucket_key(&self, bucket_key: &DataKey, object: ObjectName<'_>) -> (Vec<u8>, DataKey) {
        let key = Secret::filled(|out| self.entropy.fill(out));
        let wrapped = wrap::wrap(bucket_key.expose(), Purpose::BucketKey, &object.arn(), &*self.entropy, &key);
        (wrapped.to_vec(), DataKey::new(key))
    }
}
