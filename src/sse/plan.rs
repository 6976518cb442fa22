//! The one decision on encryption.
//!
//! S3: "Default encryption priority": the request's headers, then the bucket's default, then SSE-S3.
//!
//! | request | bucket default | plan | key | bucket key |
//! |---|---|---|---|---|
//! | none | none, or SSE-S3 | SSE-S3 | | |
//! | none | SSE-KMS | SSE-KMS | the default's, or `aws/s3` | the request's, or the default's |
//! | SSE-S3 | any | SSE-S3 | | |
//! | SSE-KMS | none, or SSE-S3 | SSE-KMS | the request's, or `aws/s3` | the request's, or none |
//! | SSE-KMS | SSE-KMS | SSE-KMS | the request's, or `aws/s3` | the request's, or the default's |

use super::{ClientContext, SseRequest};
use crate::kms::KeyRef;

/// A bucket's default encryption, where it has one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BucketDefault {
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms {
        /// The key as it was configured; `None` is the AWS managed key.
        key: Option<String>,
        /// `BucketKeyEnabled`.
        bucket_key: bool,
    },
    /// DSSE-KMS.
    Dsse {
        /// The key as it was configured; `None` is the AWS managed key.
        key: Option<String>,
    },
}

impl BucketDefault {
    /// Whether it asks a KMS for keys, so that the transport rules apply.
    pub fn is_kms(&self) -> bool {
        matches!(self, Self::Kms { .. } | Self::Dsse { .. })
    }
}

/// How an object is going to be encrypted. Made by [`Plan::decide`] alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan(pub(super) Choice);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Choice {
    S3,
    Kms { key: KeyRef, context: Option<ClientContext>, bucket_key: bool },
}

impl Plan {
    /// The plan for `request` in a bucket with this default.
    pub fn decide(request: SseRequest, bucket: Option<&BucketDefault>) -> Self {
        let bucket_default = match bucket {
            Some(BucketDefault::Kms { key, bucket_key }) => Some((key.as_deref(), *bucket_key)),
            Some(BucketDefault::S3 | BucketDefault::Dsse { .. }) | None => None,
        };
        Self(match (request, bucket_default) {
            (SseRequest::S3, _) | (SseRequest::Default { .. }, None) => Choice::S3,
            (SseRequest::Default { bucket_key }, Some((key, default))) => {
                Choice::Kms { key: key_ref(key), context: None, bucket_key: bucket_key.unwrap_or(default) }
            }
            (SseRequest::Kms { key, context, bucket_key }, default) => Choice::Kms {
                key: key_ref(key.as_deref()),
                context,
                bucket_key: bucket_key.unwrap_or(default.is_some_and(|(_, enabled)| enabled)),
            },
        })
    }

    /// Whether it is SSE-KMS, to which the transport rules and `kms:` permissions apply.
    pub fn is_kms(&self) -> bool {
        matches!(self.0, Choice::Kms { .. })
    }
}

fn key_ref(key: Option<&str>) -> KeyRef {
    key.map_or_else(KeyRef::aws_s3, KeyRef::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kms(key: Option<&str>, bucket_key: Option<bool>) -> SseRequest {
        SseRequest::Kms { key: key.map(str::to_owned), context: None, bucket_key }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the table's column is an option")]
    fn default(key: Option<&str>, bucket_key: bool) -> Option<BucketDefault> {
        Some(BucketDefault::Kms { key: key.map(str::to_owned), bucket_key })
    }

    #[test]
    fn the_table_holds() {
        const NONE: SseRequest = SseRequest::Default { bucket_key: None };
        let s3 = Some(BucketDefault::S3);
        let ours = "alias/aws/s3";
        // (request, bucket default, key and bucket key of the plan; None is SSE-S3)
        let rows = [
            (NONE, None, None),
            (NONE, s3.clone(), None),
            (NONE, default(None, false), Some((ours, false))),
            (NONE, default(Some("alias/d"), true), Some(("alias/d", true))),
            (SseRequest::Default { bucket_key: Some(false) }, default(None, true), Some((ours, false))),
            (SseRequest::Default { bucket_key: Some(true) }, s3.clone(), None),
            (SseRequest::S3, None, None),
            (SseRequest::S3, default(None, true), None),
            (kms(None, None), None, Some((ours, false))),
            (kms(Some("alias/r"), Some(true)), s3, Some(("alias/r", true))),
            (kms(Some("alias/r"), None), default(Some("alias/d"), true), Some(("alias/r", true))),
            (kms(None, None), default(Some("alias/d"), true), Some((ours, true))),
            (kms(None, Some(false)), default(None, true), Some((ours, false))),
        ];
        for (request, bucket, expected) in rows {
            let plan = Plan::decide(request.clone(), bucket.as_ref());
            let expected = expected.map_or(Choice::S3, |(key, bucket_key)| Choice::Kms {
                key: KeyRef::parse(key),
                context: None,
                bucket_key,
            });
            assert_eq!(plan.0, expected, "{request:?} in {bucket:?}");
            assert_eq!(plan.is_kms(), expected != Choice::S3);
        }
    }
}
