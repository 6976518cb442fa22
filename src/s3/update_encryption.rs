//! UpdateObjectEncryption: an object's data key is wrapped under another KMS key, or by way of a bucket key. Its bytes,
//! entity tag, modification time and checksums stay as they are.
//!
//! From SSE-S3 and SSE-KMS, to SSE-KMS alone, for those who may write the object besides. (AWS: API reference,
//! UpdateObjectEncryption, whose texts these are.)

use http::{Response, StatusCode};
use serde::Deserialize;

use super::access::{About, AskedEncryption};
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use super::xml;
use crate::kms::KeyRef;
use crate::kms::services::EMBEDDED;
use crate::sse::{ObjectName, Reprotection, SseKind};
use crate::store::commit;
use crate::store::schema::Claim;
use crate::wire::{RequestBody, ResponseBody};

/// Longest document, in bytes.
const MAX_DOCUMENT: usize = 16 * 1024;

const OTHER_TYPE: &str = "The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or \
                          SSE-C. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.";
const NO_TYPE: &str = "Requests that modify an object encryption configuration require a valid new encryption type. Valid \
                       values are SSEKMS. Modify the request to specify SSE-KMS for the updated encryption type, and then \
                       try again.";
const NO_KEY: &str = "Requests that modify an object's encryption type to SSE-KMS require an Amazon Web Services KMS key \
                      Amazon Resource Name (ARN). Modify the request to specify a KMS key ARN, and then try again.";
const BAD_KEY: &str = "Requests that modify an object's encryption type to SSE-KMS require a valid Amazon Web Services KMS \
                       key Amazon Resource Name (ARN). Confirm that you have a correctly formatted KMS key ARN in your \
                       request, and then try again.";
const BAD_BUCKET_KEY: &str = "The BucketKeyEnabled value isn't valid. Valid values are true or false. Modify the request to \
                              specify a valid value, and then try again.";
const OTHER_SOURCE: &str = "The UpdateObjectEncryption operation doesn't support source objects with the encryption type \
                            DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are supported.";
const OTHER_ACCOUNT: &str = "The Amazon Web Services KMS key in the request must be owned by the same account as the bucket. \
                             Modify the request to specify a KMS key from the same account, and then try again.";
const LOCKED: &str = "The encryption type for the specified object can't be updated because that object is protected by S3 \
                      Object Lock. If the object has a governance-mode retention period or a legal hold, you must first \
                      remove the Object Lock status on the object before you issue your UpdateObjectEncryption request. You \
                      can't use the UpdateObjectEncryption operation with objects that have an Object Lock compliance mode \
                      retention period applied to them.";

/// `ObjectEncryption`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// No type that is offered.
    #[serde(rename = "SSE-S3")]
    _managed: Option<serde::de::IgnoredAny>,
    #[serde(rename = "SSE-KMS")]
    kms: Option<Kms>,
    #[serde(rename = "DSSE-KMS")]
    dsse: Option<serde::de::IgnoredAny>,
    #[serde(rename = "SSE-C")]
    customer: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kms {
    #[serde(rename = "KMSKeyArn")]
    key: Option<String>,
    #[serde(rename = "BucketKeyEnabled")]
    bucket_key: Option<String>,
}

/// The protection that a document asks for, by a key of the account `owner`, or of a key service that `is_remote`: its keys
/// are of accounts elsewhere, and its own policy says who may use them.
fn parse(document: &[u8], owner: &str, is_remote: impl Fn(&KeyRef) -> bool) -> Result<Reprotection> {
    let invalid = |text: &'static str| S3Error::new(ErrorCode::InvalidRequest, text);
    let document: Document = xml::read(document, "ObjectEncryption")?;
    let Kms { key, bucket_key } = match document {
        Document { kms: Some(kms), dsse: None, customer: None, .. } => kms,
        Document { kms: None, dsse: None, customer: None, .. } => return Err(invalid(NO_TYPE)),
        _ => return Err(invalid(OTHER_TYPE)),
    };
    let bucket_key = match bucket_key.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid(BAD_BUCKET_KEY)),
    };
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| invalid(NO_KEY))?;
    let key = KeyRef::parse(&key);
    match &key {
        KeyRef::KeyArn(arn) if arn.account() != owner && !is_remote(&key) => {
            Err(S3Error::new(ErrorCode::AccessDenied, OTHER_ACCOUNT))
        }
        KeyRef::KeyArn(_) => Ok(Reprotection { key, bucket_key }),
        _ => Err(invalid(BAD_KEY)),
    }
}

impl S3 {
    /// Permitted here, as a policy may ask which key the object is to be under.
    pub(super) async fn update_encryption(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let is_remote = |key: &KeyRef| self.sse.service_of(key).is_some_and(|service| service != EMBEDDED);
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await;
        let to = document.and_then(|document| {
            if document.is_empty() {
                return Err(ErrorCode::MissingRequestBody.into());
            }
            parse(&document, &bucket.record.account, is_remote)
        });
        // Who may not at all is not told what is wrong with the document.
        let asked = to.as_ref().ok().map(|to| to.key.to_string());
        let asked = AskedEncryption { method: asked.is_some().then(|| "aws:kms".to_owned()), key: asked };
        let about = About { encryption: Some(&asked), ..About::named(call, key)? };
        self.authorize_about(call, call.action(), bucket, about).await?;
        self.authorize_about(call, "s3:PutObject", bucket, about).await?;
        let to = to?;
        let (caller, name) = (self.kms_caller(call), ObjectName { bucket: &bucket.name, key: key.as_str() });
        loop {
            let object = self.object(call, bucket, key).await?;
            self.authorize_record(call, call.action(), bucket, about, &object.record).await?;
            Self::require_transport(call, &object.envelope)?;
            if !matches!(object.envelope.kind(), SseKind::S3 | SseKind::Kms) {
                return Err(S3Error::new(ErrorCode::InvalidRequest, OTHER_SOURCE));
            }
            let may_be_locked = object.record.retention.is_some() || object.record.legal_hold.is_some();
            if may_be_locked && object.record.is_locked(Claim { now: self.lock_time().await?, bypass: false }) {
                return Err(S3Error::new(ErrorCode::AccessDenied, LOCKED));
            }
            let envelope = self.sse.reprotect(&object.envelope, &caller, name, &to).await?;
            // Only the object that was judged is changed: another write, or another update, is looked at anew.
            let (store, partition, bytes) = (&*self.store, bucket.partition(), envelope.to_bytes());
            let replaced = commit::replace_envelope::<S3Error>(
                store,
                partition,
                key.as_str(),
                &object.record,
                bytes,
                envelope.summary(),
            );
            if replaced.await? {
                return Ok(render::empty(StatusCode::OK));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn read(inner: &str) -> Result<Reprotection> {
        parse(format!("<ObjectEncryption>{inner}</ObjectEncryption>").as_bytes(), "111122223333", |_| false)
    }

    #[test]
    fn a_key_is_named_by_its_full_arn() {
        let kms = |inner: &str| read(&format!("<SSE-KMS>{inner}</SSE-KMS>"));
        let arn = format!("<KMSKeyArn>{ARN}</KMSKeyArn>");
        let expected = |bucket_key| Reprotection { key: KeyRef::parse(ARN), bucket_key };
        assert_eq!(kms(&arn).unwrap(), expected(false));
        assert_eq!(kms(&format!("{arn}<BucketKeyEnabled>true</BucketKeyEnabled>")).unwrap(), expected(true));
        let text = |result: Result<Reprotection>| result.unwrap_err().message.into_owned();
        assert_eq!(text(kms("")), NO_KEY);
        assert_eq!(text(kms("<KMSKeyArn></KMSKeyArn>")), NO_KEY);
        for name in ["1234abcd-12ab-34cd-56ef-1234567890ab", "alias/a", "arn:aws:kms:us-east-1:111122223333:alias/a"] {
            assert_eq!(text(kms(&format!("<KMSKeyArn>{name}</KMSKeyArn>"))), BAD_KEY, "{name}");
        }
        assert_eq!(text(kms(&format!("{arn}<BucketKeyEnabled>yes</BucketKeyEnabled>"))), BAD_BUCKET_KEY);
        let foreign = arn.replace("111122223333", "444455556666");
        assert_eq!(kms(&foreign).unwrap_err().code, ErrorCode::AccessDenied);
    }

    #[test]
    fn only_sse_kms_can_be_asked_for() {
        let text = |inner: &str| read(inner).unwrap_err().message.into_owned();
        assert_eq!(text(""), NO_TYPE);
        assert_eq!(text("<SSE-S3></SSE-S3>"), NO_TYPE);
        assert_eq!(text("<DSSE-KMS></DSSE-KMS>"), OTHER_TYPE);
        assert_eq!(text("<SSE-C></SSE-C>"), OTHER_TYPE);
        assert_eq!(parse(b"<nonsense", "1", |_| false).unwrap_err().code, ErrorCode::MalformedXml);
    }
}
