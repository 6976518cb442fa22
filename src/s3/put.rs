//! PutObject.

use http::header::HeaderName;
use http::{Response, StatusCode};
use minicbor::bytes::ByteVec;

use super::acl::ObjectAccess;
use super::call::{Bucket, Call};
use super::checksum::Algorithm;
use super::checksum::render::write_headers;
use super::condition::{Preconditions, Present};
use super::consequences::Consequences;
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, insert_etag, read_attributes};
use super::lifecycle::insert_expiration;
use super::markings::Markings;
use super::payload::{PayloadPlan, Requirements, Verified};
use super::render;
use super::replication::{ORIGIN, UNVERSIONED};
use super::request::ObjectKey;
use super::service::S3;
use super::upload::Sealed;
use super::version::{self, VERSION_ID};
use crate::crypto::random;
use crate::iam::Permit;
use crate::sse::{self, Envelope, ObjectName, Plan, Scope, SseRequest};
use crate::store::commit;
use crate::store::schema::{
    Attributes, Body, MarkerRecord, ObjectRecord, ReplicationState, Version, VersionId, Versioning,
};
use crate::wire::{RequestBody, ResponseBody};

/// Most bytes of one PUT: 5 GiB.
pub(super) const MAX_PUT: u64 = 5 << 30;

/// How far the clock of another server may be ahead: a day, in milliseconds.
const AHEAD: i64 = 86_400_000;

/// An object that waits for its commit.
pub(super) struct NewObject<'n> {
    pub attributes: Attributes,
    pub markings: Markings,
    pub access: ObjectAccess,
    pub envelope: &'n Envelope,
    pub object_key: &'n sse::ObjectKey,
    pub sealed: Sealed,
    pub verified: &'n Verified,
    pub consequences: &'n Consequences,
    /// Of a replica: what it is of.
    pub origin: Option<Origin>,
}

/// What a replica is of.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub id: VersionId,
    /// Milliseconds since the Unix epoch.
    pub modified: i64,
    /// Its entity tag, if it is known: the replica has the same.
    pub etag: Option<String>,
}

impl Origin {
    fn generation(&self) -> Option<[u8; 16]> {
        match self.id {
            VersionId::Own { generation, .. } => Some(generation),
            VersionId::Null => None,
        }
    }

    /// As an upload's record keeps it.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn read(id: &str, modified: i64) -> Result<Self> {
        let id = version::parse(ORIGIN, id)?;
        if id == VersionId::Null {
            return Err(S3Error::argument(ORIGIN, "null", "A replica is of a version with an id"));
        }
        Ok(Self { id, modified, etag: None })
    }

    /// The delete marker that it is.
    pub fn marker(&self) -> MarkerRecord {
        let (order, generation) = (self.order().unwrap_or(0), self.generation().unwrap_or_default());
        MarkerRecord { modified: self.modified, generation, order, has_id: true, null_at: None, late: None }
    }

    /// Makes `record` a replica's.
    pub fn mark(&self, record: &mut ObjectRecord) {
        record.modified = self.modified;
        (record.order, record.has_id) = (self.order(), true);
        record.replication = Some(ReplicationState::REPLICA);
    }

    /// Whether there can be such a version at `now`: times and orders that are taken as they are given must be such as clocks
    /// give, for all later versions of the key are ordered behind them.
    fn is_plausible(&self, now: i64) -> bool {
        let latest = now.saturating_add(AHEAD);
        let order = self.order().unwrap_or(0);
        (0..=latest).contains(&self.modified)
            && u64::try_from(latest).is_ok_and(|latest| order <= latest.saturating_mul(1000))
    }

    fn order(&self) -> Option<u64> {
        match self.id {
            VersionId::Own { order, .. } => Some(order),
            VersionId::Null => None,
        }
    }
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
        let access = self.access_of_new(call, bucket, key).await?;
        let conditions = Preconditions::of_write(&call.headers)?;
        let required = self.data_requirements(plan.shows_md5(), Algorithm::Crc64Nvme);
        let required = Requirements { tells_hex: true, ..required };
        let payload = PayloadPlan::parse(&call.headers, call.signed.as_ref(), &required)?;
        self.judge_write(bucket, key, &conditions).await?;
        let consequences = self.consequences(call, bucket, key.as_str()).await?;
        let origin = self.origin(call, bucket, key, "s3:ReplicateObject").await?;

        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&plan, &self.kms_caller(call), name).await?;
        let (sealed, verified) = self.receive(payload, body, &object_key, 0).await?;

        let (envelope, object_key) = (&envelope, &object_key);
        let consequences = &consequences;
        let verified = &verified;
        let new =
            NewObject { attributes, markings, access, envelope, object_key, sealed, verified, consequences, origin };
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
        Self::refuse_blocked_customer_keys(call, bucket, key)?;
        Ok(Plan::decide(SseRequest::parse(&call.headers)?, bucket.default_encryption().as_ref()))
    }

    /// Refuses new data under customer-provided keys where the bucket takes none, parts of uploads that were begun before too.
    /// (API reference, UploadPart, UploadPartCopy: "Server-side encryption".)
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn refuse_blocked_customer_keys(call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        if sse::headers::asks_for_customer_key(&call.headers) && !bucket.record.allows_customer_keys {
            let message = format!(
                "User: {} is not authorized to perform: {} on resource: \"{}\" because this bucket has blocked \
                 upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify \
                 a different server-side encryption type",
                call.identity()?.arn,
                call.operation(),
                bucket.arn_of(key)
            );
            return Err(S3Error::new(ErrorCode::AccessDenied, message));
        }
        Ok(())
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
        let NewObject { attributes, markings, access, envelope, object_key, sealed, verified, consequences, origin } =
            new;
        let generation = self.generation(origin.as_ref());
        let etag_scope = bucket.etag_of_object(key.as_str(), &generation);
        let (stored_etag, etag) = match origin.as_ref().and_then(|origin| origin.etag.clone()) {
            Some(etag) => self.store_etag(envelope, etag_scope, etag),
            None => self.make_etag(envelope, etag_scope, verified.md5),
        };
        let modified = self.clock.now().as_millisecond();
        let scope = Scope::Run { part: 0, header: &sealed.header };
        let under = (ByteVec::from(envelope.to_bytes()), envelope.summary());
        let body = Body::Run(sealed.run_ref);
        let mut record = ObjectRecord {
            attributes,
            checksums: self.seal_checksums(object_key, scope, &verified.checksums),
            checksum_kind: Self::checksum_kind(&verified.checksums),
            tags: markings.tags,
            retention: markings.retention,
            legal_hold: markings.legal_hold,
            owner: access.owner,
            acl: access.acl,
            ..ObjectRecord::new(modified, (verified.length, stored_etag), under, body, generation)
        };
        let admit = |present: Option<&ObjectRecord>| self.judge_present(bucket, key, conditions, present);
        let at = (bucket, key, consequences);
        let (version, modified) = self.commit_object(at, &mut record, sealed.run, origin.as_ref(), admit).await?;
        let expires = self.expires(bucket, key.as_str(), &record).await?;
        Ok(Stored { etag, modified, version, expires })
    }

    /// What the request's object is a replica of, if another Strongroom says so and may.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`; `InvalidRequest` if the bucket gives no ids.
    pub(super) async fn origin(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        action: &'static str,
    ) -> Result<Option<Origin>> {
        let Some(text) = call.header(ORIGIN) else { return Ok(None) };
        if !call.signed.as_ref().is_some_and(|signed| signed.signs(ORIGIN)) {
            return Err(ErrorCode::AccessDenied.into());
        }
        self.authorize(call, action, bucket, Some(key)).await?;
        if bucket.record.versioning != Versioning::Enabled {
            return Err(S3Error::new(ErrorCode::InvalidRequest, UNVERSIONED));
        }
        let invalid = || S3Error::argument(ORIGIN, text, "Expected VERSION-ID;MILLISECONDS");
        let (id, modified) = text.split_once(';').ok_or_else(invalid)?;
        let origin = Origin::read(id, modified.parse().map_err(|_| invalid())?)?;
        if !origin.is_plausible(self.clock.now().as_millisecond()) {
            return Err(S3Error::argument(ORIGIN, text, "No version of now or before has this time or id"));
        }
        Ok(Some(origin))
    }

    /// What tells a version from all others: its own, or that of the version that it is a replica of.
    pub(super) fn generation(&self, origin: Option<&Origin>) -> [u8; 16] {
        origin.and_then(Origin::generation).unwrap_or_else(|| random::identifier(&*self.entropy))
    }

    /// Commits a record as the current version of its key, or as the replica that it is; its id and modification time.
    pub(super) async fn commit_object(
        &self,
        (bucket, key, consequences): (&Bucket, &ObjectKey, &Consequences),
        record: &mut ObjectRecord,
        run: commit::NewRun,
        origin: Option<&Origin>,
        admit: impl Fn(Option<&ObjectRecord>) -> Result<()>,
    ) -> Result<(Option<VersionId>, i64)> {
        let place = bucket.place(key, consequences);
        let Some(origin) = origin else {
            record.replication = consequences.replication_state(&record.tags, record.protection.kind);
            let version = commit::write_object(&*self.store, place, record, run, admit).await?;
            return Ok((version, record.modified));
        };
        origin.mark(record);
        let version = Version::Object(Box::new(record.clone()));
        commit::write_replica(&*self.store, place, version, Some(run)).await.map_err(S3Error::from)?;
        Ok((Some(origin.id), origin.modified))
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

    /// What a new upload will be like: its plan, its attributes and whom it belongs to, and its envelope with the key that opens it.
    pub(super) async fn begin(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<(Plan, Attributes, ObjectAccess, Envelope, sse::ObjectKey)> {
        let plan = Self::plan(call, bucket, key)?;
        let attributes = read_attributes(&call.headers)?;
        let access = self.access_of_new(call, bucket, key).await?;
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&plan, &self.kms_caller(call), name).await?;
        Ok((plan, attributes, access, envelope, object_key))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_of_versions_that_there_can_be() {
        const NOW: i64 = 1_700_000_000_000;
        let of = |order: u64, modified| {
            let id = VersionId::Own { order, generation: [7; 16] };
            Origin { id, modified, etag: None }.is_plausible(NOW)
        };
        let latest = (NOW + AHEAD).unsigned_abs() * 1000;
        assert!(of(0, 0) && of(latest, NOW + AHEAD) && of(1_600_000_000_000_000, 1_600_000_000_000));
        for modified in [i64::MIN, -1, NOW + AHEAD + 1, 253_402_300_800_000, i64::MAX] {
            assert!(!of(1000, modified), "{modified}");
        }
        for order in [latest + 1, u64::MAX >> 6, u64::MAX] {
            assert!(!of(order, NOW), "{order}");
        }
    }
}
