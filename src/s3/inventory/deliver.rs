//! The files of reports, written by the service that bucket policies know S3 by.

use std::sync::Arc;

use super::document::{Destination, Encryption};
use crate::clock::iso8601;
use crate::iam::{self, Permit};
use crate::kms::{Caller, ConditionValues, KeyRef};
use crate::policy::{Context, Found, Grant, Subject};
use crate::s3::acl::ObjectAccess;
use crate::s3::call::Bucket;
use crate::s3::circumstances::{EFFECTIVE_KEY, METHOD};
use crate::s3::delivery::ServiceWrite;
use crate::s3::error::{ErrorCode, Result};
use crate::s3::request::ObjectKey;
use crate::s3::service::{S3, no_such_bucket};
use crate::sse::{Plan, SseRequest};

/// As which reports are delivered. (S3 user guide, "Creating a destination bucket policy".)
const SERVICE: &str = "s3.amazonaws.com";

/// What all files say that they are, be they data or lists of it.
const CONTENT_TYPE: &str = "application/octet-stream";

/// A file on its way.
pub(super) struct Delivery<'d> {
    /// The bucket that it tells of.
    pub source: &'d Bucket,
    pub destination: &'d Destination,
    pub key: &'d str,
}

/// The condition keys of a delivery, and their values.
struct ConditionKeys<'c>(Vec<(&'static str, &'c str)>);

impl Context for ConditionKeys<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        self.0.as_slice().find(key)
    }
}

/// What the configuration has the destination asked for of encryption; without a word of it, the bucket's default is none of the
/// asking.
struct RequestedEncryption {
    method: &'static str,
    /// The key's ARN.
    key: Option<String>,
}

/// What a key's policy may ask of a delivery: for which bucket it is. (S3 user guide, "Configuring Amazon S3 Inventory": the policy of
/// a key that encrypts reports. Who asks, the service itself says.)
fn on_behalf_of(source: &Bucket) -> ConditionValues {
    let mut values = ConditionValues::default();
    values.insert(None, "aws:sourceaccount", source.record.account.clone());
    values.insert(None, "aws:sourcearn", source.arn());
    values
}

impl S3 {
    /// Writes `bytes` as an object, if the destination bucket's policy lets the service.
    pub(super) async fn deliver_as_service(&self, delivery: &Delivery<'_>, bytes: Vec<u8>) -> Result<()> {
        let Delivery { source, destination, key } = *delivery;
        let name = &destination.bucket;
        let bucket = self.find_bucket(name).await?.ok_or_else(|| no_such_bucket(name))?;
        if destination.account.as_ref().is_some_and(|expected| *expected != bucket.record.account) {
            return Err(ErrorCode::AccessDenied.into());
        }
        let key = ObjectKey::parse(key)?;
        // It looks for its key in the account of the bucket that it writes to.
        let subject = Arc::new(Subject::service(SERVICE, &bucket.record.account));
        let via_service = format!("s3.{}.amazonaws.com", self.settings.region);
        let conditions = Some(Arc::new(on_behalf_of(source)));
        let caller = Caller { conditions, ..Caller::new(&subject, Some(via_service), "inventory") };
        let asked = self.asked_of(destination, &caller).await;
        let permit = self.permit_service(source, &bucket, &key, asked.as_ref())?;
        let request = match &destination.encryption {
            None => SseRequest::Default { bucket_key: None },
            Some(Encryption::S3) => SseRequest::S3,
            Some(Encryption::Kms(key)) => SseRequest::Kms { key: Some(key.clone()), context: None, bucket_key: None },
        };
        let plan = Plan::decide(request, bucket.default_encryption().as_ref());
        let access = ObjectAccess::default();
        let write = ServiceWrite { service: SERVICE, content_type: CONTENT_TYPE, plan: &plan, caller: &caller, access };
        self.write_as_service((&bucket, &key), permit, write, bytes.into()).await
    }

    /// What conditions see of the encryption that reports are to have: the method, and the key by its ARN, as of any upload.
    async fn asked_of(&self, destination: &Destination, caller: &Caller) -> Option<RequestedEncryption> {
        Some(match destination.encryption.as_ref()? {
            Encryption::S3 => RequestedEncryption { method: "AES256", key: None },
            Encryption::Kms(named) => {
                // What cannot be found is what it was named; to write under it fails later.
                let arn = self.sse.key_arn(caller, &KeyRef::parse(named)).await;
                RequestedEncryption {
                    method: "aws:kms",
                    key: Some(arn.map_or_else(|_| named.clone(), |arn| arn.to_string())),
                }
            }
        })
    }

    /// Judges the delivery by the destination bucket's policy alone: a service belongs to no account.
    fn permit_service(
        &self,
        source: &Bucket,
        bucket: &Bucket,
        key: &ObjectKey,
        asked: Option<&RequestedEncryption>,
    ) -> Result<Permit> {
        let policy = self.policy_of(bucket)?.ok_or(ErrorCode::AccessDenied)?;
        let (arn, resource, now) = (source.arn(), bucket.arn_of(key), iso8601(self.clock.now()));
        let mut circumstances = vec![
            ("aws:currenttime", now.as_str()),
            ("aws:principalisawsservice", "true"),
            ("aws:principalservicename", SERVICE),
            ("aws:securetransport", "true"),
            ("aws:sourceaccount", source.record.account.as_str()),
            ("aws:sourcearn", arn.as_str()),
            // What AWS writes reports with.
            ("s3:x-amz-acl", "bucket-owner-full-control"),
        ];
        circumstances.extend(asked.map(|asked| (METHOD, asked.method)));
        circumstances.extend(asked.and_then(|asked| Some((EFFECTIVE_KEY, asked.key.as_deref()?))));
        let circumstances = ConditionKeys(circumstances);
        let at = (resource.as_str(), bucket.record.account.as_str());
        Ok(iam::authorize_service(SERVICE, "s3:PutObject", at, (Some(&policy), Grant::None), &circumstances)?)
    }
}
