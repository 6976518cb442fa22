//! The transport rules: a customer's key passes only over TLS, and what concerns a KMS object passes only over TLS and only signed with Signature Version
//! 4, whoever asks, so the rules are judged before authorisation. (S3: userguide/UsingKMSEncryption.)

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::operation::Operation;
use super::request::{ObjectKey, Target};
use super::service::S3;
use super::version::Missing;
use crate::sse::{self, Envelope};
use crate::store::schema::VersionId;

/// (AWS: API reference, UpdateObjectEncryption.)
const CONFIGURING_TAKES_SIGV4: &str = "Requests that modify an object encryption configuration require Amazon Web Services \
                                       Signature Version 4. Modify the request to use Amazon Web Services Signature \
                                       Version 4, and then try again.";

impl S3 {
    /// Refuses a request that concerns a KMS object and is not protected as it must be.
    ///
    /// # Errors
    /// `InvalidArgument`, in AWS's words.
    pub(super) async fn judge_transport(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
    ) -> Result<()> {
        let (tls, sigv4) = (call.cx.is_secure(), call.signed.is_some());
        if !sigv4 && matches!(call.row.operation, Operation::UpdateObjectEncryption | Operation::PutBucketEncryption) {
            return Err(S3Error::new(ErrorCode::InvalidRequest, CONFIGURING_TAKES_SIGV4));
        }
        if sse::headers::brings_customer_key(&call.headers) {
            sse::headers::require_transport_for_customer_key(tls)?;
        }
        if (tls && sigv4) || !self.concerns_kms(call, bucket, key).await? {
            return Ok(());
        }
        Ok(sse::headers::require_transport_for_kms(tls, sigv4)?)
    }

    /// The same for the source of a copy.
    ///
    /// # Errors
    /// `InvalidArgument`, in AWS's words.
    pub(super) async fn judge_source_transport(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<()> {
        let (tls, sigv4) = (call.cx.is_secure(), call.signed.is_some());
        if (tls && sigv4) || !self.is_kms_object(bucket, key, version).await? {
            return Ok(());
        }
        Ok(sse::headers::require_transport_for_kms(tls, sigv4)?)
    }

    /// What a request signed by an older mechanism is told: about KMS objects the same as one that is not signed at all,
    /// about all else that the mechanism is not supported.
    pub(super) async fn refuse_mechanism(&self, call: &Call<'_>, target: &Target, refusal: S3Error) -> S3Error {
        let (name, key) = match target {
            Target::Service | Target::ResourceTags(_) | Target::AccountBlock | Target::Control => return refusal,
            Target::Bucket(name) => (name, None),
            Target::Object(name, key) => (name, Some(key)),
        };
        let Ok(bucket) = self.bucket(call, name.clone()).await else { return refusal };
        match self.judge_transport(call, &bucket, key).await {
            Err(about_kms) => about_kms,
            Ok(()) => refusal,
        }
    }

    /// Whether what is read is a KMS object, or what is written will be one.
    async fn concerns_kms(&self, call: &Call<'_>, bucket: &Bucket, key: Option<&ObjectKey>) -> Result<bool> {
        if sse::headers::asks_for_kms(&call.headers) {
            return Ok(true);
        }
        let Some(key) = key else { return Ok(false) };
        match call.row.operation {
            Operation::PutObject | Operation::PostObject | Operation::CopyObject | Operation::CreateMultipartUpload => {
                let by_default = bucket.default_encryption().is_some_and(|default| default.is_kms());
                let asks = call.headers.contains_key(sse::headers::METHOD)
                    || sse::headers::asks_for_customer_key(&call.headers);
                Ok(by_default && !asks)
            }
            // Whatever it was, a KMS object is what it becomes.
            Operation::UpdateObjectEncryption => Ok(true),
            Operation::GetObject | Operation::HeadObject | Operation::GetObjectAttributes => {
                self.is_kms_object(bucket, key, call.version().ok().flatten()).await
            }
            Operation::UploadPart | Operation::UploadPartCopy | Operation::CompleteMultipartUpload => {
                let Ok(upload) = self.upload(call, bucket, key).await else { return Ok(false) };
                Ok(Envelope::from_bytes(&upload.record.envelope)?.uses_kms())
            }
            _ => Ok(false),
        }
    }

    /// Whether the version of `key` is there and encrypted by a KMS.
    async fn is_kms_object(&self, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<bool> {
        match self.find(bucket, key, version).await {
            Ok(record) => Ok(Envelope::from_bytes(&record.envelope)?.uses_kms()),
            Err(Missing::Failed(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}
