//! S3 Bucket Keys: one data key of the KMS stands, for a short time, between the KMS key and the data keys of many
//! objects, so that writing and reading them costs a handful of KMS calls (S3: userguide/bucket-key).
//!
//! A bucket key belongs to one bucket, KMS key, caller and client context; the KMS wraps it under the bucket's ARN. Who
//! may use a KMS key is thereby still asked of the KMS, once for each caller:
//!
//! | | held for | asked of the KMS |
//! |---|---|---|
//! | to wrap new objects' keys | bucket, key as named, caller, context | `GenerateDataKey` |
//! | to unwrap | wrapped bucket key, caller, context | `Decrypt` |
//!
//! When a key is let go is in [`crate::kms::held`]; how long, how often and how many here.

use std::sync::Arc;

use super::SseError;
use crate::clock::SharedClock;
use crate::crypto::Secret;
use crate::kms::held::{Held, Limits, Now, Principal};
use crate::kms::{Caller, EncryptionContext, GeneratedKey, KeyArn, KeyRef, Kms, WrappedKey};

const LIMITS: Limits = Limits {
    // Five minutes.
    lifetime: 5 * 60 * 1000,
    // Below the five seconds after which a disabled key must bite.
    blind_lifetime: 4 * 1000,
    // Each use has a wrapping key of its own (`wrap`), so this bounds the damage of a lost bucket key, not a nonce.
    uses: 1 << 20,
    // Of each sort.
    entries: 4096,
};

/// The bucket keys in use.
pub(super) struct BucketKeys {
    clock: SharedClock,
    writing: Held<WriteScope, GeneratedKey, SseError>,
    reading: Held<ReadScope, Secret<32>, SseError>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct WriteScope {
    caller: Principal,
    bucket: String,
    key: KeyRef,
    context: Vec<u8>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct ReadScope {
    caller: Principal,
    key: KeyArn,
    blob: Vec<u8>,
    context: Vec<u8>,
}

impl BucketKeys {
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, writing: Held::new(LIMITS), reading: Held::new(LIMITS) }
    }

    /// The bucket key to wrap a new object's data key with.
    ///
    /// # Errors
    /// [`SseError::Kms`].
    pub async fn obtain(
        &self,
        kms: &dyn Kms,
        caller: &Caller,
        bucket: &str,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<Arc<GeneratedKey>, SseError> {
        let scope = WriteScope {
            caller: Principal::of(caller),
            bucket: bucket.to_owned(),
            key: key.clone(),
            context: context.to_aad(),
        };
        let now = Now { millis: self.clock.now().as_millisecond(), generation: kms.knowledge().generation_of(key) };
        let ask = async || Ok(kms.generate_data_key(caller, key, context).await?);
        self.writing.take(scope, now, ask).await
    }

    /// The bucket key in `wrapped`.
    ///
    /// # Errors
    /// [`SseError::Kms`]; [`SseError::Corrupt`] if it is no key.
    pub async fn open(
        &self,
        kms: &dyn Kms,
        caller: &Caller,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> Result<Arc<Secret<32>>, SseError> {
        let scope = ReadScope {
            caller: Principal::of(caller),
            key: wrapped.key_arn.clone(),
            blob: wrapped.blob.clone(),
            context: context.to_aad(),
        };
        let generation = kms.knowledge().generation_of(&KeyRef::from(&wrapped.key_arn));
        let now = Now { millis: self.clock.now().as_millisecond(), generation };
        self.reading.take(scope, now, async || super::decrypt_key(kms, caller, wrapped, context).await).await
    }
}
