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
//! | none | DSSE-KMS | DSSE-KMS | the default's, or `aws/s3` | never |
//! | DSSE-KMS | any | DSSE-KMS | the request's, or `aws/s3` | never |
//! | SSE-C | any | SSE-C | the request's | |

use super::{ClientContext, CustomerKey, SseRequest};
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
    Dsse { key: KeyRef, context: Option<ClientContext> },
    Customer(CustomerKey),
}

impl Plan {
    /// The plan for `request` in a bucket with this default.
    pub fn decide(request: SseRequest, bucket: Option<&BucketDefault>) -> Self {
        let default_flag = matches!(bucket, Some(BucketDefault::Kms { bucket_key: true, .. }));
        Self(match (request, bucket) {
            (SseRequest::S3, _) | (SseRequest::Default { .. }, None | Some(BucketDefault::S3)) => Choice::S3,
            (SseRequest::Default { bucket_key }, Some(BucketDefault::Kms { key, .. })) => Choice::Kms {
                key: key_ref(key.as_deref()),
                context: None,
                bucket_key: bucket_key.unwrap_or(default_flag),
            },
            (SseRequest::Default { .. }, Some(BucketDefault::Dsse { key })) => {
                Choice::Dsse { key: key_ref(key.as_deref()), context: None }
            }
            (SseRequest::Kms { key, context, bucket_key }, _) => {
                Choice::Kms { key: key_ref(key.as_deref()), context, bucket_key: bucket_key.unwrap_or(default_flag) }
            }
            (SseRequest::Dsse { key, context }, _) => Choice::Dsse { key: key_ref(key.as_deref()), context },
            (SseRequest::Customer(key), _) => Choice::Customer(key),
        })
    }

    /// The customer's key, if it is SSE-C.
    pub fn customer_key(&self) -> Option<&CustomerKey> {
        match &self.0 {
            Choice::Customer(key) => Some(key),
            _ => None,
        }
    }

    /// Whether the entity tag is the MD5 of the plaintext: of SSE-S3 objects alone.
    pub fn shows_md5(&self) -> bool {
        matches!(self.0, Choice::S3)
    }
}

fn key_ref(key: Option<&str>) -> KeyRef {
    key.map_or_else(KeyRef::aws_s3, KeyRef::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::customer::tests::customer_key;

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
            assert_eq!(plan.shows_md5(), expected == Choice::S3);
        }
    }

    #[test]
    fn two_layers_and_customers_keys_are_chosen_as_asked() {
        let dsse = |key: Option<&str>| SseRequest::Dsse { key: key.map(str::to_owned), context: None };
        let by_default = BucketDefault::Dsse { key: Some("alias/d".to_owned()) };
        let choice = |key| Choice::Dsse { key: KeyRef::parse(key), context: None };
        let kms_default = default(Some("alias/k"), true);
        assert_eq!(Plan::decide(dsse(None), kms_default.as_ref()).0, choice("alias/aws/s3"));
        assert_eq!(Plan::decide(dsse(Some("alias/r")), Some(&by_default)).0, choice("alias/r"));
        let none = SseRequest::Default { bucket_key: Some(true) };
        assert_eq!(Plan::decide(none, Some(&by_default)).0, choice("alias/d"));
        let plan = Plan::decide(SseRequest::Customer(customer_key(1)), Some(&by_default));
        assert_eq!(plan.customer_key(), Some(&customer_key(1)));
        assert!(!plan.shows_md5());
    }
}
