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
//! **Bucket keys** stand between a KMS key and the data keys of many objects, to save KMS calls.

mod attributes;
mod bucket_key;
pub mod context;
mod customer;
mod envelope;
mod error;
pub mod format;
pub mod headers;
mod layers;
mod open;
mod plan;
mod seal;
pub mod server_key;
mod wrap;

#[cfg(test)]
mod tests;

use crate::clock::SharedClock;
use crate::crypto::{Secret, SecretBytes, SharedEntropy};
use crate::kms::{Caller, DataKey, EncryptionContext, KeyArn, KeyRef, Kms, SharedKms, WrappedKey};

pub use crate::store::schema::SseKind;
pub use attributes::{Scope, open_checksums, seal_checksums};
pub use context::{ClientContext, ObjectName};
pub use customer::CustomerKey;
pub use envelope::{Envelope, KmsProtection};
pub use error::SseError;
pub use format::{RunHeader, Suite};
pub use headers::SseRequest;
pub use open::{FrameRead, FrameReads, Opener};
pub use plan::{BucketDefault, Plan};
pub use seal::Sealer;
pub use server_key::{EtagOf, EtagScope, ServerKey, StoredServerKeys};

use bucket_key::BucketKeys;
use context::encryption_context;
use envelope::{DsseProtection, Protection};
use plan::Choice;
use wrap::Purpose;

/// An object's data key in clear (of DSSE-KMS: its two). Made by [`Sse::begin`] and [`Sse::unlock`] alone, and asked for by
/// whatever seals or opens the object's bytes.
#[derive(Debug)]
pub struct ObjectKey {
    key: DataKey,
    /// The outer layer's.
    outer: Option<DataKey>,
}

impl ObjectKey {
    fn single(key: DataKey) -> Self {
        Self { key, outer: None }
    }

    /// A second copy, for another holder.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let copy = |key: &DataKey| DataKey::new(key.expose().duplicate());
        Self { key: copy(&self.key), outer: self.outer.as_ref().map(copy) }
    }

    /// What runs are sealed with under it.
    pub fn suite(&self) -> Suite {
        if self.outer.is_some() { Suite::DoubleAes256Gcm } else { Suite::Aes256Gcm }
    }

    pub(in crate::sse) fn secret(&self) -> &Secret<32> {
        self.key.expose()
    }

    pub(in crate::sse) fn outer_secret(&self) -> Option<&Secret<32>> {
        self.outer.as_ref().map(DataKey::expose)
    }

    /// All of it, one data key behind the other: for what is to depend on every layer.
    pub(in crate::sse) fn whole(&self) -> SecretBytes {
        let outer = self.outer_secret().map_or(&[][..], |outer| &outer.expose()[..]);
        SecretBytes::new([&self.secret().expose()[..], outer].concat())
    }
}

/// Makes and opens envelopes.
pub struct Sse {
    kms: SharedKms,
    server_key: ServerKey,
    bucket_keys: BucketKeys,
    entropy: SharedEntropy,
}

/// What an object's data key is to be wrapped under instead. See [`Sse::reprotect`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reprotection {
    /// The KMS key.
    pub key: KeyRef,
    /// Whether a bucket key stands between the KMS key and the data key.
    pub bucket_key: bool,
}

impl Sse {
    /// With the KMS for SSE-KMS and the server key for SSE-S3.
    pub fn new(kms: SharedKms, server_key: ServerKey, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { kms, server_key, bucket_keys: BucketKeys::new(clock), entropy }
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
        let (protection, key) = match &plan.0 {
            Choice::S3 => {
                let (key, wrapped) = self.server_key.generate(&*self.entropy, object);
                (Protection::S3 { wrapped }, ObjectKey::single(key))
            }
            Choice::Kms { key, context, bucket_key: false } => {
                let kms_context = encryption_context(context.as_ref(), object, false)?;
                let generated = self.kms.generate_data_key(caller, key, &kms_context).await?;
                let (wrapped, client_context) = (generated.wrapped, context.clone());
                let protection = KmsProtection { wrapped, client_context, bucket_key: None };
                (Protection::Kms(protection), ObjectKey::single(generated.key))
            }
            Choice::Kms { key, context, bucket_key: true } => {
                let data_key = Secret::filled(|out| self.entropy.fill(out));
                let protection = self.under_bucket_key(&data_key, key, context.clone(), caller, object).await?;
                (Protection::Kms(protection), ObjectKey::single(DataKey::new(data_key)))
            }
            Choice::Dsse { key, context } => {
                let kms_context = encryption_context(context.as_ref(), object, false)?;
                let inner = self.kms.generate_data_key(caller, key, &kms_context).await?;
                // By its ARN, so that both are of one key even if an alias moves in between.
                let key = KeyRef::from(&inner.wrapped.key_arn);
                let outer = self.kms.generate_data_key(caller, &key, &kms_context).await?;
                let protection =
                    DsseProtection { inner: inner.wrapped, outer: outer.wrapped.blob, client_context: context.clone() };
                (Protection::Dsse(protection), ObjectKey { key: inner.key, outer: Some(outer.key) })
            }
            Choice::Customer(customer) => {
                let key = Secret::filled(|out| self.entropy.fill(out));
                let under = customer.secret();
                let wrapped = wrap::wrap(under, Purpose::Customer, &object.arn(), &*self.entropy, &key).to_vec();
                (Protection::Customer { wrapped }, ObjectKey::single(DataKey::new(key)))
            }
        };
        Ok((Envelope { suite: key.suite(), protection }, key))
    }

    /// The ARN of the KMS key that `caller` calls `key`.
    ///
    /// # Errors
    /// [`SseError::Kms`].
    pub async fn key_arn(&self, caller: &Caller, key: &KeyRef) -> Result<KeyArn, SseError> {
        Ok(self.kms.describe(caller, key).await?.arn)
    }

    /// The name of the key service that `key` belongs to, where there are several.
    pub fn service_of(&self, key: &KeyRef) -> Option<&str> {
        self.kms.knowledge().service_of(key)
    }

    /// The data key of `object`, from its stored envelope. SSE-KMS asks the KMS for it on behalf of `caller`
    /// (`kms:Decrypt`); SSE-C takes the `customer`'s key, and nothing else does.
    ///
    /// # Errors
    /// [`SseError::Kms`] as the KMS answers; the `CustomerKey` errors; [`SseError::Corrupt`] if the envelope was altered or
    /// is of another object.
    pub async fn unlock(
        &self,
        envelope: &Envelope,
        caller: &Caller,
        object: ObjectName<'_>,
        customer: Option<&CustomerKey>,
    ) -> Result<ObjectKey, SseError> {
        match (&envelope.protection, customer) {
            (Protection::S3 { wrapped }, None) => self.server_key.unwrap(wrapped, object).map(ObjectKey::single),
            (Protection::Kms(kms), None) => self.unlock_kms(kms, caller, object).await.map(ObjectKey::single),
            (Protection::Dsse(dsse), None) => self.unlock_dsse(dsse, caller, object).await,
            (Protection::Customer { wrapped }, Some(customer)) => {
                let key = wrap::unwrap(customer.secret(), Purpose::Customer, &object.arn(), wrapped);
                key.map(|key| ObjectKey::single(DataKey::new(key))).map_err(|_| SseError::WrongCustomerKey)
            }
            (Protection::Customer { .. }, None) => Err(SseError::CustomerKeyRequired),
            (_, Some(_)) => Err(SseError::CustomerKeyNotApplicable),
        }
    }

    /// The envelope that wraps the data key `key` under `plan`, for `object`, whose bytes stay as they are. `None` where the
    /// plan takes bytes of its own: two layers have two keys, and a customer's object shares nothing with the server's.
    /// SSE-KMS asks the KMS on behalf of `caller` (`kms:GenerateDataKey`).
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn rewrap(
        &self,
        key: &ObjectKey,
        plan: &Plan,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<Option<Envelope>, SseError> {
        let protection = match &plan.0 {
            _ if key.outer.is_some() => return Ok(None),
            Choice::Dsse { .. } | Choice::Customer(_) => return Ok(None),
            Choice::S3 => Protection::S3 { wrapped: self.server_key.wrap(&*self.entropy, key.secret(), object) },
            Choice::Kms { key: kms_key, context, bucket_key: true } => {
                Protection::Kms(self.under_bucket_key(key.secret(), kms_key, context.clone(), caller, object).await?)
            }
            Choice::Kms { key: kms_key, context, bucket_key: false } => {
                let kms_context = encryption_context(context.as_ref(), object, false)?;
                let wrapped = self.kms.wrap_data_key(caller, kms_key, key.secret(), &kms_context).await?;
                Protection::Kms(KmsProtection { wrapped, client_context: context.clone(), bucket_key: None })
            }
        };
        Ok(Some(Envelope { suite: key.suite(), protection }))
    }

    /// `envelope`, its data key wrapped under the KMS key of `to`; the client's context is kept, and so are two layers (which
    /// use no bucket key). The object's bytes stay
    /// as they are. Asks the KMS on behalf of `caller` (`kms:Decrypt` and `kms:Encrypt`, or `kms:ReEncrypt*`; with a bucket
    /// key, `kms:GenerateDataKey`).
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::unlock`].
    pub async fn reprotect(
        &self,
        envelope: &Envelope,
        caller: &Caller,
        object: ObjectName<'_>,
        to: &Reprotection,
    ) -> Result<Envelope, SseError> {
        let client_context = envelope.client_context().cloned();
        if let (Some(kms), false) = (envelope.kms().filter(|kms| !kms.uses_bucket_key()), to.bucket_key) {
            // The data key need not leave the KMS.
            let context = stored_context(client_context.as_ref(), object, false)?;
            let from = KeyRef::from(&kms.wrapped.key_arn);
            let from = (Some(&from), &context);
            let wrapped = self.kms.re_encrypt(caller, &kms.wrapped.blob, from, (&to.key, &context)).await?;
            let protection = Protection::Kms(KmsProtection { wrapped, client_context, bucket_key: None });
            return Ok(Envelope { suite: envelope.suite, protection });
        }
        if let Protection::Dsse(dsse) = &envelope.protection {
            let context = stored_context(client_context.as_ref(), object, false)?;
            let from = KeyRef::from(&dsse.inner.key_arn);
            let from = (Some(&from), &context);
            let inner = self.kms.re_encrypt(caller, &dsse.inner.blob, from, (&to.key, &context)).await?;
            let key = KeyRef::from(&inner.key_arn);
            let outer = self.kms.re_encrypt(caller, &dsse.outer, from, (&key, &context)).await?.blob;
            let protection = Protection::Dsse(DsseProtection { inner, outer, client_context });
            return Ok(Envelope { suite: envelope.suite, protection });
        }
        let key = self.unlock(envelope, caller, object, None).await?;
        let protection = self.wrap_kms(key.secret(), &to.key, to.bucket_key, client_context, caller, object).await?;
        Ok(Envelope { suite: envelope.suite, protection: Protection::Kms(protection) })
    }

    /// Wraps a data key that exists already under a KMS key.
    async fn wrap_kms(
        &self,
        data_key: &Secret<32>,
        key: &KeyRef,
        bucket_key: bool,
        context: Option<ClientContext>,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<KmsProtection, SseError> {
        if bucket_key {
            return self.under_bucket_key(data_key, key, context, caller, object).await;
        }
        let kms_context = encryption_context(context.as_ref(), object, false)?;
        let wrapped = self.kms.encrypt(caller, key, data_key.expose(), &kms_context).await?;
        Ok(KmsProtection { wrapped, client_context: context, bucket_key: None })
    }

    /// Wraps a data key under the bucket key of its bucket, KMS key, caller and context.
    async fn under_bucket_key(
        &self,
        data_key: &Secret<32>,
        key: &KeyRef,
        context: Option<ClientContext>,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<KmsProtection, SseError> {
        let kms_context = encryption_context(context.as_ref(), object, true)?;
        let bucket_key = self.bucket_keys.obtain(&*self.kms, caller, object.bucket, key, &kms_context).await?;
        let under = bucket_key.key.expose();
        let wrapped = wrap::wrap(under, Purpose::Bucket, &object.arn(), &*self.entropy, data_key).to_vec();
        Ok(KmsProtection { wrapped: bucket_key.wrapped.clone(), client_context: context, bucket_key: Some(wrapped) })
    }

    async fn unlock_dsse(
        &self,
        dsse: &DsseProtection,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<ObjectKey, SseError> {
        let context = stored_context(dsse.client_context.as_ref(), object, false)?;
        let outer = WrappedKey { blob: dsse.outer.clone(), ..dsse.inner.clone() };
        let inner = decrypt_key(&*self.kms, caller, &dsse.inner, &context).await?;
        let outer = decrypt_key(&*self.kms, caller, &outer, &context).await?;
        Ok(ObjectKey { key: DataKey::new(inner), outer: Some(DataKey::new(outer)) })
    }

    async fn unlock_kms(
        &self,
        kms: &KmsProtection,
        caller: &Caller,
        object: ObjectName<'_>,
    ) -> Result<DataKey, SseError> {
        let context = stored_context(kms.client_context.as_ref(), object, kms.uses_bucket_key())?;
        let Some(wrapped) = &kms.bucket_key else {
            return decrypt_key(&*self.kms, caller, &kms.wrapped, &context).await.map(DataKey::new);
        };
        let bucket_key = self.bucket_keys.open(&*self.kms, caller, &kms.wrapped, &context).await?;
        wrap::unwrap(&bucket_key, Purpose::Bucket, &object.arn(), wrapped)
            .map(DataKey::new)
            .map_err(|_| SseError::corrupt("a data key wrapped by a bucket key did not authenticate"))
    }
}

/// The context that an envelope of `object` was made under.
fn stored_context(
    client: Option<&ClientContext>,
    object: ObjectName<'_>,
    bucket_key: bool,
) -> Result<EncryptionContext, SseError> {
    encryption_context(client, object, bucket_key)
        .map_err(|_| SseError::corrupt("the envelope's encryption context is of another object"))
}

/// The 256-bit key that the KMS had wrapped.
async fn decrypt_key(
    kms: &dyn Kms,
    caller: &Caller,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<Secret<32>, SseError> {
    let named = KeyRef::from(&wrapped.key_arn);
    let decrypted = kms.decrypt(caller, &wrapped.blob, Some(&named), context).await?;
    Secret::from_slice(decrypted.plaintext.expose())
        .ok_or_else(|| SseError::corrupt("the KMS unwrapped something that is not a 256-bit key"))
}
