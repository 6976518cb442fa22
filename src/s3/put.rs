//! PutObject.

use http::header::HeaderName;
use http::{Response, StatusCode};
use minicbor::bytes::ByteVec;

use super::checksum::Algorithm;
use super::checksum::render::write_headers;
use super::condition::{Preconditions, Present};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, insert_etag, read_attributes};
use super::lifecycle::insert_expiration;
use super::markings::Markings;
use super::payload::{PayloadPlan, Verified};
use super::render;
use super::request::ObjectKey;
use super::service::{Bucket, Call, S3};
use super::upload::Sealed;
use super::version::VERSION_ID;
use crate::crypto::random;
use crate::iam::Permit;
use crate::sse::{self, Envelope, ObjectName, Plan, Scope, SseRequest};
use crate::store::commit;
use crate::store::schema::{Attributes, Body, ObjectRecord, VersionId};
use crate::wire::{RequestBody, ResponseBody};

/// Most bytes of one PUT: 5 GiB.
pub(super) const MAX_PUT: u64 = 5 << 30;

/// An object that waits for its commit.
pub(super) struct NewObject<'n> {
    pub attributes: Attributes,
    pub markings: Markings,
    pub envelope: &'n Envelope,
    pub object_key: &'n sse::ObjectKey,
    pub sealed: Sealed,
    pub verified: &'n Verified,
}

/// What a write came to.
pub(super) struct Stored {
    /// Without quotes.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified: i64,
    /// The id, if the bucket gives ids.
    pub version: Option<VersionId>,
    /// When it is going to expire, if it is: the value of `x-amz-expiration`.
    pub expires: Option<String>,
}

impl S3 {
    pub(super) async fn put_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let plan = Self::plan(call, bucket, key)?;
        let attributes = read_attributes(&call.headers)?;
        let markings = self.markings(call, bucket, key).await?;
        let conditions = Preconditions::of_write(&call.headers)?;
        let required = self.data_requirements(plan.shows_md5(), Algorithm::Crc64Nvme);
        let payload = PayloadPlan::parse(&call.headers, call.signed.as_ref(), &required)?;
        self.judge_write(bucket, key, &conditions).await?;

        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&plan, &self.kms_caller(call), name).await?;
        let (sealed, verified) = self.receive(payload, body, &object_key, 0).await?;

        let (envelope, object_key) = (&envelope, &object_key);
        let new = NewObject { attributes, markings, envelope, object_key, sealed, verified: &verified };
        let stored = self.store_object(bucket, key, new, &conditions).await?;

        let mut response = render::empty(StatusCode::OK);
        let headers = response.headers_mut();
        insert_etag(headers, &stored.etag);
        insert_id(headers, stored.version);
        insert_expiration(headers, stored.expires.as_deref());
        headers.extend(sse::headers::echo(envelope, true, plan.customer_key())?);
        write_headers(&verified.checksums, headers);
        Ok(response)
    }

    /// The one decision on how a new object is encrypted.
    ///
    /// # Errors
    /// `AccessDenied` where the bucket takes no customer-provided keys, before anything is said about the key.
    pub(super) fn plan(call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<Plan> {
        if sse::headers::asks_for_customer_key(&call.headers) && !bucket.record.allows_customer_keys {
            let message = format!(
                "User: {} is not authorized to perform: {} on resource: \"{}/{key}\" because this bucket has blocked \
                 upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify \
                 a different server-side encryption type",
                call.identity()?.arn,
                call.action(),
                bucket.arn()
            );
            return Err(S3Error::new(ErrorCode::AccessDenied, message));
        }
        Ok(Plan::decide(SseRequest::parse(&call.headers)?, bucket.default_encryption().as_ref()))
    }

    /// Judges a write's conditions before its body is asked for. The commit judges again.
    pub(super) async fn judge_write(&self, bucket: &Bucket, key: &ObjectKey, conditions: &Preconditions) -> Result<()> {
        if conditions.is_empty() {
            return Ok(());
        }
        let present = commit::read_object(&*self.store, bucket.partition(), key.as_str()).await?;
        self.judge_present(bucket, key, conditions, present.as_ref())
    }

    /// Commits a new object whose bytes are in one run.
    pub(super) async fn store_object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        new: NewObject<'_>,
        conditions: &Preconditions,
    ) -> Result<Stored> {
        let NewObject { attributes, markings, envelope, object_key, sealed, verified } = new;
        let generation = random::bytes(&*self.entropy);
        let etag_scope = bucket.etag_of_object(key.as_str(), &generation);
        let (stored_etag, etag) = self.make_etag(envelope, etag_scope, verified.md5);
        let modified = self.clock.now().as_millisecond();
        let scope = Scope::Run { part: 0, header: &sealed.header };
        let record = ObjectRecord {
            modified,
            size: verified.length,
            etag: stored_etag,
            attributes,
            envelope: ByteVec::from(envelope.to_bytes()),
            protection: envelope.summary(),
            checksums: self.seal_checksums(object_key, scope, &verified.checksums),
            body: Body::Run(sealed.run_ref),
            generation,
            checksum_kind: Self::checksum_kind(&verified.checksums),
            whole: false,
            order: None,
            has_id: false,
            null_at: None,
            tags: markings.tags,
            retention: markings.retention,
            legal_hold: markings.legal_hold,
        };
        let admit = |present: Option<&ObjectRecord>| self.judge_present(bucket, key, conditions, present);
        let version = commit::write_object(&*self.store, bucket.place(key), &record, sealed.run, admit).await?;
        let expires = self.expires(bucket, key.as_str(), &record).await?;
        Ok(Stored { etag, modified, version, expires })
    }

    /// Judges a write's conditions against what is there.
    pub(super) fn judge_present(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &Preconditions,
        present: Option<&ObjectRecord>,
    ) -> Result<(), S3Error> {
        if conditions.is_empty() {
            return Ok(());
        }
        let Some(record) = present else { return conditions.judge_write(None, key.as_str()) };
        let etag = self.object_etag(bucket, key.as_str(), record)?;
        let present = Present { etag: &etag, modified: record.modified, size: record.size };
        conditions.judge_write(Some(present), key.as_str())
    }

    /// What a new upload will be like: its plan and attributes, and its envelope with the key that opens it.
    pub(super) async fn begin(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<(Plan, Attributes, Envelope, sse::ObjectKey)> {
        let plan = Self::plan(call, bucket, key)?;
        let attributes = read_attributes(&call.headers)?;
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&plan, &self.kms_caller(call), name).await?;
        Ok((plan, attributes, envelope, object_key))
    }
}

/// Sets `x-amz-version-id` to the id that a write got.
pub(super) fn insert_id(headers: &mut http::HeaderMap, version: Option<VersionId>) {
    if let Some(id) = version {
        insert(headers, HeaderName::from_static(VERSION_ID), &id.to_string());
    }
}

/// Sets `x-amz-mp-parts-count` and its like.
pub(super) fn insert_number(headers: &mut http::HeaderMap, name: &'static str, number: impl std::fmt::Display) {
    insert(headers, HeaderName::from_static(name), &number.to_string());
}
