//! Life cycles: their configurations, and what responses tell of them.
//! (API reference: Put-, GetBucketLifecycleConfiguration, DeleteBucketLifecycle; the common response header
//! `x-amz-expiration`; CreateMultipartUpload's `x-amz-abort-date`.)
//!
//! The work itself is [`crate::jobs::lifecycle`]'s.

mod document;
mod transitions;

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::call::{Bucket, Call};
use super::configuration::Parsed;
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, require_digest};
use super::render;
use super::service::{S3, no_content};
use crate::clock::{from_millis, http_date};
use crate::crypto::random;
use crate::iam::Permit;
use crate::jobs::lifecycle::{Due, Rules, Subject};
use crate::store::configuration::{delete_configuration, read_configuration};
use crate::store::schema::{ConfigurationKind as Kind, ObjectRecord, UploadRecord};
use crate::wire::percent::percent_encode;
use crate::wire::{RequestBody, ResponseBody};

/// Longest document, in bytes: a thousand rules of any kind.
const MAX_DOCUMENT: usize = 2 << 20;
/// Which objects transitions pass over by default.
const MINIMUM: &str = "x-amz-transition-default-minimum-object-size";
const ALL_CLASSES: &str = "all_storage_classes_128K";
const BY_CLASS: &str = "varies_by_storage_class";
const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");
const ABORT_DATE: HeaderName = HeaderName::from_static("x-amz-abort-date");
const ABORT_RULE: HeaderName = HeaderName::from_static("x-amz-abort-rule-id");

/// The life cycles of buckets, parsed.
pub(super) type ParsedRules = Parsed<Rules>;

/// The rules of a configuration that was kept; `None` if it is damaged.
pub fn kept_rules(contents: &str) -> Option<Rules> {
    document::read_kept(contents).ok()
}

impl S3 {
    pub(super) async fn put_lifecycle(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let minimum = call.header(MINIMUM);
        let by_class = match minimum {
            None | Some(ALL_CLASSES) => false,
            Some(BY_CLASS) => true,
            Some(other) => {
                // (Recorded on AWS, `test_s3_transition_default_minimum_object_size`.)
                let message = format!("Invalid TransitionDefaultMinimumObjectSize found: {other}");
                return Err(S3Error::new(ErrorCode::InvalidRequest, message));
            }
        };
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await?;
        require_digest(&call.headers)?;
        let new_id = || hex::encode(random::bytes::<24>(&*self.entropy));
        let rules = document::read(&document, by_class, new_id)?;
        self.keep_configuration(bucket, Kind::Lifecycle, None, document::canonical(&rules)).await?;
        let mut response = render::empty(StatusCode::OK);
        response.headers_mut().insert(MINIMUM, minimum_of(&rules));
        Ok(response)
    }

    pub(super) async fn lifecycle(&self, bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        let kept = read_configuration(&*self.store, &bucket.record, Kind::Lifecycle, None).await?;
        let missing = || ErrorCode::NoSuchLifecycleConfiguration.with("BucketName", &bucket.name);
        let rules = document::read_kept(&kept.ok_or_else(missing)?.document)?;
        let mut response = render::document(document::write(&rules));
        response.headers_mut().insert(MINIMUM, minimum_of(&rules));
        Ok(response)
    }

    pub(super) async fn delete_lifecycle(&self, bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        delete_configuration(&*self.store, &bucket.record, Kind::Lifecycle, None).await?;
        Ok(no_content())
    }

    /// When the current version `record` of `key` is going to expire, if it is: the value of `x-amz-expiration`.
    pub(super) async fn expires(&self, bucket: &Bucket, key: &str, record: &ObjectRecord) -> Result<Option<String>> {
        let Some(rules) = self.rules(bucket).await? else { return Ok(None) };
        let subject = Subject { key, size: Some(record.size), tags: &record.tags };
        Ok(rules.expiry(&subject, record.modified, self.settings.calendar).map(|Due { at, rule }| {
            format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(from_millis(at)), percent_encode(rule))
        }))
    }

    /// Says when the upload is going to be aborted, if it is.
    pub(super) async fn tell_abortion(
        &self,
        bucket: &Bucket,
        key: &str,
        record: &UploadRecord,
        headers: &mut HeaderMap,
    ) -> Result<()> {
        let Some(rules) = self.rules(bucket).await? else { return Ok(()) };
        if let Some(Due { at, rule }) = rules.abortion(key, record.initiated, self.settings.calendar) {
            insert(headers, ABORT_DATE, &http_date(from_millis(at)));
            insert(headers, ABORT_RULE, &percent_encode(rule));
        }
        Ok(())
    }

    pub(super) async fn rules(&self, bucket: &Bucket) -> Result<Option<Arc<Rules>>> {
        self.configured(bucket, Kind::Lifecycle, &self.lifecycles, document::read_kept).await
    }
}

/// Says when an object is going to expire.
pub(super) fn insert_expiration(headers: &mut HeaderMap, expires: Option<&str>) {
    if let Some(expires) = expires {
        insert(headers, EXPIRATION, expires);
    }
}

fn minimum_of(rules: &Rules) -> HeaderValue {
    HeaderValue::from_static(if rules.varies_by_storage_class { BY_CLASS } else { ALL_CLASSES })
}
