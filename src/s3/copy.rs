//! CopyObject: the source's sealed bytes are shared where both ends allow it, else opened and sealed again under a data key
//! of the copy's own.

use http::{HeaderMap, HeaderName, Response, StatusCode};

use super::access::{About, REQUEST_CHARGED};
use super::access_log::Aside;
use super::acl::ObjectAccess;
use super::call::{Bucket, Call};
use super::checksum::render::write_xml;
use super::checksum::{self, Algorithm, Checksums};
use super::condition::{Preconditions, Purpose};
use super::consequences::Consequences;
use super::error::{ErrorCode, Result, S3Error};
use super::get::TRIES;
use super::headers::{insert, read_attributes, refuse_not_offered};
use super::lifecycle::insert_expiration;
use super::markings::Markings;
use super::object::{Object, checksum_algorithm};
use super::operation::Operation;
use super::payload::PayloadPlan;
use super::put::{MAX_PUT, NewObject, Origin, Stored, insert_id};
use super::reader::ObjectReader;
use super::render;
use super::request::ObjectKey;
use super::service::{S3, check_expected_owner};
use super::tags::{DIRECTIVE, Tags};
use super::version::{self, Missing, insert_version};
use super::xml::XmlWriter;
use crate::iam::Permit;
use crate::sse::{self, Envelope, ObjectName, Plan, SseKind};
use crate::store::schema::{Attributes, VersionId};
use crate::wire::ResponseBody;
use crate::wire::percent::percent_decode;

/// How often a copy tries to share its source's bytes. Sharing holds on to them in the copy's own commit only, so that of a
/// source under constant overwriting it can miss every version; its bytes are pinned and sealed again after that.
const SHARING_TRIES: usize = 4;

/// What `x-amz-copy-source` names.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct CopySource {
    pub bucket: String,
    pub key: ObjectKey,
    pub version: Option<VersionId>,
}

/// The source of a copy, found, permitted and judged.
pub(super) struct Source {
    pub bucket: Bucket,
    pub key: ObjectKey,
    pub object: Object,
    /// Whether the request named the version.
    pub is_version: bool,
    /// Whether the requester pays for what is read of it.
    pub is_charged: bool,
}

/// A copy that has been decided on.
pub(super) struct Copy {
    pub source: Source,
    pub source_key: sse::ObjectKey,
    pub plan: Plan,
    pub attributes: Attributes,
    pub markings: Markings,
    pub access: ObjectAccess,
    /// Of the checksum that the copy is to have: the one asked for, or the source's.
    pub algorithm: Option<Algorithm>,
    pub conditions: Preconditions,
    pub consequences: Consequences,
    /// Of a replica: what it is of.
    pub origin: Option<Origin>,
}

/// What is told of a copy.
pub(super) struct Copied {
    pub envelope: Envelope,
    pub stored: Stored,
    pub checksums: Checksums,
}

/// Whether a directive says COPY or REPLACE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Directive {
    Copy,
    Replace,
}

impl CopySource {
    /// Reads `/bucket/key?versionId=V`, the leading slash optional, encoded as a form's values are: a plus sign is a space.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        const NAME: &str = "x-amz-copy-source";
        let invalid = |message: &'static str| S3Error::argument(NAME, text, message);
        let (path, version) = match text.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version::parse(NAME, version)?)),
            None => (text, None),
        };
        let path = percent_decode(path, true).ok_or_else(|| invalid("Invalid copy source encoding"))?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(invalid("Invalid copy source bucket name"));
        }
        if key.is_empty() {
            // S3 tells the header's name as its value here.
            return Err(S3Error::argument(NAME, NAME, "Invalid copy source object key"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: ObjectKey::parse(key)?, version })
    }
}

impl Directive {
    fn read(call: &Call<'_>, name: &'static str) -> Result<Self> {
        match call.header(name) {
            None | Some("COPY") => Ok(Self::Copy),
            Some("REPLACE") => Ok(Self::Replace),
            Some(other) => Err(S3Error::argument(name, other, "Unknown metadata directive.")),
        }
    }

    fn read_tagging(call: &Call<'_>) -> Result<Self> {
        match call.header(DIRECTIVE) {
            None | Some("COPY") => Ok(Self::Copy),
            Some("REPLACE") => Ok(Self::Replace),
            Some(other) => Err(S3Error::argument(DIRECTIVE, other, "Unknown tagging directive.")),
        }
    }
}

impl S3 {
    pub(super) async fn copy_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        // A source that is replaced between its record and its bytes is read anew, as by GET.
        for attempt in 1..TRIES {
            match self.try_copy(call, bucket, key, attempt <= SHARING_TRIES, &permit).await {
                Err(error) if error.is_vanished() => {}
                answer => return answer,
            }
        }
        self.try_copy(call, bucket, key, false, &permit).await
    }

    async fn try_copy(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        may_share: bool,
        _permit: &Permit,
    ) -> Result<Response<ResponseBody>> {
        refuse_not_offered(&call.headers)?;
        let directive = Directive::read(call, "x-amz-metadata-directive")?;
        let tagging = Directive::read_tagging(call)?;
        let conditions = Preconditions::of_write(&call.headers)?;
        let source = self.copy_source(call).await?;
        if source.object.record.size > MAX_PUT {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
                ),
            ));
        }
        // Of what is not SSE-S3, the encryption changes even where none is asked for: it becomes the bucket's default. Where a
        // default is configured, AWS lets any object be copied onto itself.
        let changes = directive == Directive::Replace
            || source.object.envelope.kind() != SseKind::S3
            || bucket.record.encryption.is_some()
            || sse::headers::asks_for_customer_key(&call.headers)
            || ["x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-website-redirect-location"]
                .iter()
                .any(|name| call.headers.contains_key(*name));
        // An older version becomes the current one by being copied onto its own key.
        if !changes && !source.is_version && source.bucket.name == bucket.name && source.key == *key {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let plan = Self::plan(call, bucket, key)?;
        let mut attributes = read_attributes(&call.headers)?;
        if directive == Directive::Copy {
            attributes = inherit(&source.object.record.attributes, &attributes, call);
        }
        let mut markings = self.markings(call, bucket, key).await?;
        if tagging == Directive::Copy {
            markings.tags = self.inherit_tags(call, bucket, key, &source).await?;
        }
        let access = self.access_of_new(call, bucket, key).await?;
        self.judge_write(bucket, key, &conditions).await?;
        let consequences = self.consequences(call, bucket, key.as_str()).await?;

        let source_key = self.unlock_source(call, &source).await?;
        // "If you don't specify an algorithm, S3 copies with the source's" (CopyObject): a fresh one of the same kind.
        let algorithm = checksum::requested(&call.headers)?.or(checksum_algorithm(&source.object.record));
        let origin = None;
        let copy = Copy {
            source,
            source_key,
            plan,
            attributes,
            markings,
            access,
            algorithm,
            conditions,
            consequences,
            origin,
        };
        let shared = if may_share { self.share(call, bucket, key, &copy).await? } else { None };
        let Copied { envelope, stored, checksums } = match shared {
            Some(copied) => copied,
            None => self.encrypt_afresh(call, bucket, key, &copy).await?,
        };

        let mut response = render::document(XmlWriter::document("CopyObjectResult", |xml| {
            xml.time("LastModified", stored.modified);
            xml.text("ETag", format_args!("\"{}\"", stored.etag));
            write_xml(&checksums, xml);
        }));
        let headers = response.headers_mut();
        headers.extend(sse::headers::echo(&envelope, true, copy.plan.customer_key())?);
        // In a bucket whose versioning is suspended this is "null", of which a PutObject tells nothing. (Recorded on AWS,
        // `test_s3_copy_object_in_place_suspended_only`.)
        let null = bucket.record.versioning.keeps_versions().then_some(VersionId::Null);
        insert_id(headers, stored.version.or(null));
        insert_expiration(headers, stored.expires.as_deref());
        copy.source.tell(headers);
        Ok(response)
    }

    /// Copies by opening the source's bytes and sealing them under a data key of the copy's own.
    pub(super) async fn encrypt_afresh(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        copy: &Copy,
    ) -> Result<Copied> {
        // First of all, as it pins what is to be read.
        let Source { bucket: from, object, .. } = &copy.source;
        let whole = 0..object.record.size;
        let source_key = copy.source_key.duplicate();
        let reader = ObjectReader::open(self, from.partition(), &object.record.body, source_key, whole).await?;

        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&copy.plan, &self.kms_caller(call), name).await?;
        let required = self.data_requirements(envelope.shows_md5(), copy.algorithm.unwrap_or(Algorithm::Crc64Nvme));
        let payload = PayloadPlan::internal(object.record.size, &required);
        let (sealed, verified) = self.receive(payload, reader.into_payload(), &object_key, 0).await?;
        let new = NewObject {
            attributes: copy.attributes.clone(),
            markings: copy.markings.clone(),
            access: copy.access.clone(),
            envelope: &envelope,
            object_key: &object_key,
            sealed,
            verified: &verified,
            consequences: &copy.consequences,
            origin: copy.origin.clone(),
        };
        let stored = self.store_object(bucket, key, new, &copy.conditions).await?;
        Ok(Copied { envelope, stored, checksums: verified.checksums })
    }

    /// The source's tags, if the caller may read them there and give them here.
    async fn inherit_tags(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey, source: &Source) -> Result<Tags> {
        let tags = source.object.record.tags.clone();
        if !tags.is_empty() {
            let record = &source.object.record;
            let read = if source.is_version { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
            let version = source.is_version.then(|| record.version_id());
            let about = About { key: Some(&source.key), version, record: Some(record), ..About::default() };
            self.authorize_about(call, read, &source.bucket, about).await?;
            self.authorize_tagging(call, "s3:PutObjectTagging", bucket, key, &tags).await?;
        }
        Ok(tags)
    }

    /// The data key of a copy's source.
    pub(super) async fn unlock_source(&self, call: &Call<'_>, source: &Source) -> Result<sse::ObjectKey> {
        let customer = sse::headers::key_of_copy_source(&call.headers)?;
        self.unlock(call, &source.bucket.name, &source.key, &source.object.envelope, customer.as_ref()).await
    }

    /// Finds, permits and judges the source that `x-amz-copy-source` names.
    pub(super) async fn copy_source(&self, call: &Call<'_>) -> Result<Source> {
        let named = CopySource::parse(call.header("x-amz-copy-source").unwrap_or_default())?;
        let bucket = self.find_bucket(&named.bucket).await?;
        let bucket = bucket.ok_or_else(|| super::service::no_such_bucket(&named.bucket))?;
        check_expected_owner(call, "x-amz-source-expected-bucket-owner", &bucket.record.account)?;
        let is_charged = self.judge_payment(call, &bucket).await?;
        self.judge_source_transport(call, &bucket, &named.key, named.version).await?;
        let action = if named.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        let about = About { key: Some(&named.key), version: named.version, ..About::default() };
        self.authorize_about(call, action, &bucket, about).await?;
        let found = self.find(&bucket, &named.key, named.version).await.map_err(|missing| match missing {
            Missing::Marker(_) => S3Error::new(
                ErrorCode::InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ),
            other => other.tell(call, &named.key),
        });
        let record = self.hide_absence(call, &bucket, found).await?;
        self.authorize_record(call, action, &bucket, about, &record).await?;
        let object = self.open_record(&bucket, &named.key, record)?;
        Self::require_transport(call, &object.envelope)?;
        let (modified, now) = (object.record.modified, self.clock.now());
        Preconditions::of_copy_source(&call.headers).judge(&object.etag, modified, Purpose::CopySource, now)?;
        call.witness.see_aside(|| Aside {
            operation: match call.row.operation {
                Operation::UploadPartCopy => "REST.COPY.PART_GET",
                _ => "REST.COPY.OBJECT_GET",
            },
            bucket: Some(bucket.clone()),
            key: named.key.as_str().to_owned(),
            version: named.version.map(|version| version.to_string()),
            status: StatusCode::OK,
            error: None,
            size: Some(object.record.size),
        });
        Ok(Source { bucket, key: named.key, object, is_version: named.version.is_some(), is_charged })
    }
}

impl Source {
    /// Sets `x-amz-copy-source-version-id`, unless the source is a null version (recorded on AWS,
    /// `test_s3_copy_object_in_place_versioned`), and `x-amz-request-charged`.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let id = self.object.record.version_id();
        if id != VersionId::Null {
            insert_version(headers, "x-amz-copy-source-version-id", &self.bucket, id);
        }
        if self.is_charged {
            insert(headers, HeaderName::from_static(REQUEST_CHARGED), "requester");
        }
    }
}

/// The source's attributes, save for what COPY never carries over: the storage class and the redirect are the request's.
fn inherit(source: &Attributes, request: &Attributes, call: &Call<'_>) -> Attributes {
    const REDIRECT: &str = "x-amz-website-redirect-location";
    let mut attributes = source.clone();
    attributes.storage_class.clone_from(&request.storage_class);
    attributes.headers.retain(|(name, _)| name != REDIRECT);
    if let Some(redirect) = call.header(REDIRECT) {
        attributes.headers.push((REDIRECT.to_owned(), redirect.to_owned()));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_sources() {
        let version = |id: VersionId| id.to_string();
        let parse =
            |text| CopySource::parse(text).map(|s| (s.bucket, s.key.as_str().to_owned(), s.version.map(version)));
        let of = |bucket: &str, key: &str, version: Option<&str>| {
            (bucket.to_owned(), key.to_owned(), version.map(str::to_owned))
        };
        assert_eq!(parse("/b/k").unwrap(), of("b", "k", None));
        assert_eq!(parse("b/a%20b/c%3F?versionId=null").unwrap(), of("b", "a b/c?", Some("null")));
        assert_eq!(parse("b/a+b").unwrap(), of("b", "a b", None));
        assert_eq!(parse("b/a%2Bb").unwrap(), of("b", "a+b", None));
        for (bad, message) in [
            ("", "Invalid copy source bucket name"),
            ("/", "Invalid copy source bucket name"),
            ("//k", "Invalid copy source bucket name"),
            ("b", "Invalid copy source object key"),
            ("b/", "Invalid copy source object key"),
            ("/b/?versionId=null", "Invalid copy source object key"),
            ("b/%ff", "Invalid copy source encoding"),
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!((error.code, &*error.message), (ErrorCode::InvalidArgument, message), "{bad}");
        }
    }
}
