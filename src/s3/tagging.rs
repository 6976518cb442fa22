//! Tags of objects and of buckets: Get-, Put- and DeleteObjectTagging, Get-, Put- and DeleteBucketTagging.

use http::{Response, StatusCode};

use super::access::About;
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::require_digest;
use super::operation::Operation;
use super::render;
use super::request::ObjectKey;
use super::service::{S3, no_content};
use super::tags::{self, MAX_DOCUMENT, Tagged, Tags};
use super::version::{Missing, VERSION_ID, insert_version};
use crate::iam::Permit;
use crate::store::commit;
use crate::store::schema::{ObjectRecord, Version, VersionId};
use crate::wire::{RequestBody, ResponseBody};

impl S3 {
    pub(super) async fn object_tagging(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let found = self.find(bucket, key, call.version()?).await;
        let record = found.map_err(|missing| match missing {
            // (Recorded on AWS, `get-no-key-tags`.)
            Missing::Key => ErrorCode::NoSuchKey.with("Key", format!("{}/{}", bucket.name, key.as_str())),
            other => other.tell_of_part(call, key),
        })?;
        self.authorize_record(call, call.action(), bucket, About::named(call, key)?, &record).await?;
        let mut response = render::document(tags::document(&record.tags));
        insert_version(response.headers_mut(), VERSION_ID, bucket, record.version_id());
        Ok(response)
    }

    /// Permitted here, as a policy may ask which tags are given.
    pub(super) async fn put_object_tagging(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await;
        let given = document.and_then(|document| tags::read_document(&document, Tagged::Object));
        let asked = given.as_deref().unwrap_or_default();
        // Who may not at all is not told what is wrong with the document.
        let permit = self.authorize_tagging(call, call.action(), bucket, key, asked).await?;
        let tags = given?;
        let about = About { tags: Some(&tags), ..About::named(call, key)? };
        let id = self.set_tags(call, bucket, key, (about, permit), &tags).await?;
        let mut response = render::empty(StatusCode::OK);
        insert_version(response.headers_mut(), VERSION_ID, bucket, id);
        Ok(response)
    }

    pub(super) async fn delete_object_tagging(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let permitted = (About::named(call, key)?, permit);
        let id = self.set_tags(call, bucket, key, permitted, &Tags::new()).await?;
        let mut response = no_content();
        insert_version(response.headers_mut(), VERSION_ID, bucket, id);
        Ok(response)
    }

    async fn set_tags(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        permitted: (About<'_>, Permit),
        tags: &Tags,
    ) -> Result<VersionId> {
        self.change_version(call, bucket, key, permitted, |record| {
            record.tags.clone_from(tags);
            Ok(())
        })
        .await
    }

    /// Changes the version that the request names, or the current one, as was permitted; its id. Where lists count, or a policy
    /// asks for the object's tags, it is a version with the owner and the tags by which the caller was judged, or none.
    ///
    /// # Errors
    /// `change`'s; `NoSuchKey`, `NoSuchVersion`, `MethodNotAllowed`; `AccessDenied`, `OperationAborted` if another
    /// object came in its place, or other tags.
    pub(super) async fn change_version(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        (about, _permit): (About<'_>, Permit),
        change: impl Fn(&mut ObjectRecord) -> Result<()>,
    ) -> Result<VersionId> {
        let (store, partition, id) = (&*self.store, bucket.partition(), call.version()?);
        let consequences = self.consequences(call, bucket, key.as_str()).await?;
        // What another Strongroom replicates goes no further.
        let replicating = match call.row.operation {
            Operation::PutObjectTagging | Operation::DeleteObjectTagging => "s3:ReplicateTags",
            _ => "s3:ReplicateObject",
        };
        let consequences = match self.origin(call, bucket, key, replicating).await? {
            Some(_) => consequences.of_replica(),
            None => consequences,
        };
        let by_tags = call.asks_for_tags();
        let is_judged = by_tags || bucket.has_acls();
        let judged = if is_judged { self.find(bucket, key, id).await.ok() } else { None };
        if let Some(record) = &judged {
            self.authorize_record(call, call.action(), bucket, about, record).await?;
        }
        let is_as_judged = |record: &ObjectRecord| match &judged {
            Some(judged) => judged.owner == record.owner && (!by_tags || judged.tags == record.tags),
            None => !is_judged,
        };
        let change = |record: &mut ObjectRecord| {
            if !is_as_judged(record) {
                return Err(ErrorCode::OperationAborted.into());
            }
            change(record)?;
            consequences.mark_change(record);
            Ok(())
        };
        match commit::update_version(store, partition, key.as_str(), id, &consequences, change).await? {
            Some(Version::Object(record)) => Ok(record.version_id()),
            Some(Version::Marker(marker)) => Err(Missing::Marker(marker).tell(call, key)),
            None => Err(id.map_or(Missing::Key, Missing::Version).tell(call, key)),
        }
    }

    /// Tags that policies may ask for are changed one by one. (API reference, PutBucketAbac.)
    async fn refuse_under_abac(&self, call: &Call<'_>, bucket: &Bucket) -> Result<()> {
        if !self.is_under_abac(bucket).await? {
            return Ok(());
        }
        let name = call.row.name;
        let message =
            format!("{name} is not available while ABAC is enabled on the bucket. Use TagResource or UntagResource.");
        Err(S3Error::new(ErrorCode::InvalidRequest, message).with("BucketName", &bucket.name))
    }

    pub(super) fn bucket_tagging(bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        match &bucket.record.tags[..] {
            [] => Err(ErrorCode::NoSuchTagSet.with("BucketName", &bucket.name)),
            tags => Ok(render::document(tags::document(tags))),
        }
    }

    pub(super) async fn put_bucket_tagging(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        self.refuse_under_abac(call, bucket).await?;
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await?;
        require_digest(&call.headers)?;
        let tags = tags::read_document(&document, Tagged::Bucket)?;
        self.update_bucket(bucket, |record| record.tags.clone_from(&tags)).await?;
        Ok(no_content())
    }

    pub(super) async fn delete_bucket_tagging(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        self.refuse_under_abac(call, bucket).await?;
        self.update_bucket(bucket, |record| record.tags.clear()).await?;
        Ok(no_content())
    }
}
