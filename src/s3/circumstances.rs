//! What conditions may ask of a request: the global keys, and S3's own. (Service authorization reference, "Condition keys for
//! Amazon S3".)
//!
//! They are asked of what is judged, which need not be what the request's line and headers name: an entry of a document, or
//! the source of a copy. What bounds a listing or names a copy's source says nothing of other operations.

use std::borrow::Cow;

use http::header::{HeaderName, REFERER, USER_AGENT};

use super::access::{About, AskedEncryption, AskedLock, Creation};
use super::call::{Bucket, Call};
use super::copy::CopySource;
use super::operation::Operation;
use super::tags::Tags;
use crate::clock::{Timestamp, iso8601};
use crate::policy::{Context, Found};
use crate::sigv4;

/// Which KMS key an upload is going to be under: the full ARN, whatever the request names it by.
pub(super) const EFFECTIVE_KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
pub(super) const METHOD: &str = "s3:x-amz-server-side-encryption";
/// The values of the tags that the request gives, and that the object has.
const REQUEST_TAG: &str = "s3:requestobjecttag/";
pub(super) const EXISTING_TAG: &str = "s3:existingobjecttag/";
/// The tags of the bucket, where it is under attribute-based access control.
pub(super) const BUCKET_TAG: &str = "s3:buckettag/";
pub(super) const RESOURCE_TAG: &str = "aws:resourcetag/";
/// The tags that a request gives a bucket.
const REQUEST_BUCKET_TAG: &str = "aws:requesttag/";

/// The circumstances of a request.
pub(super) struct Circumstances<'r> {
    pub call: &'r Call<'r>,
    pub region: &'r str,
    pub now: Timestamp,
    /// `None`: it is about to be made.
    pub bucket: Option<&'r Bucket>,
    /// How a bucket is to be made.
    pub creation: Option<&'r Creation>,
    /// What is judged.
    pub about: About<'r>,
    pub encryption: AskedEncryption,
    pub lock: AskedLock,
    /// What the request gives.
    pub request_tags: Tags,
    /// What the object has.
    pub existing_tags: Tags,
    /// Whether the bucket's tags count.
    pub by_tags: bool,
}

impl<'r> Circumstances<'r> {
    /// Those of a request of which nothing but itself is known.
    pub fn new(call: &'r Call<'r>, region: &'r str, now: Timestamp, bucket: Option<&'r Bucket>) -> Self {
        let (encryption, lock) = (AskedEncryption::default(), AskedLock::default());
        let (request_tags, existing_tags) = (Tags::new(), Tags::new());
        let (creation, about, by_tags) = (None, About::default(), false);
        Self { call, region, now, bucket, creation, about, encryption, lock, request_tags, existing_tags, by_tags }
    }

    /// Whether the request itself makes an object, which an upload's beginning and its parts do not.
    fn creates_object(&self) -> Option<&'static str> {
        match self.call.row.operation {
            Operation::PutObject
            | Operation::PostObject
            | Operation::CopyObject
            | Operation::CompleteMultipartUpload => Some("true"),
            Operation::CreateMultipartUpload | Operation::UploadPart | Operation::UploadPartCopy => Some("false"),
            _ => None,
        }
    }

    /// Whether the tags of the request are a bucket's.
    fn changes_tags_of_bucket(&self) -> bool {
        matches!(self.call.row.operation, Operation::TagResource | Operation::UntagResource)
    }

    fn tags_of_new_bucket(&self) -> &[(String, String)] {
        self.creation.map(|creation| &creation.tags[..]).unwrap_or_default()
    }

    fn of_bucket_tag(&self, key: &str) -> Found<'_> {
        match self.bucket {
            Some(bucket) if self.by_tags => Found::of_tag(&bucket.record.tags, key),
            _ => Found::None,
        }
    }

    /// What bounds a listing: of anything else the parameter says nothing.
    fn of_listing(&self, parameter: &str) -> Found<'_> {
        match self.call.row.operation {
            Operation::ListObjects
            | Operation::ListObjectsV2
            | Operation::ListObjectVersions
            | Operation::ListMultipartUploads => Found::of(self.call.query.value(parameter)),
            _ => Found::None,
        }
    }

    /// The entity tag that must match: of a batch of deletions, what its entry says, and no header.
    /// (S3 user guide, "Enforce conditional deletes on Amazon S3 buckets".)
    fn if_match(&self) -> Option<&str> {
        match self.call.row.operation {
            Operation::DeleteObjects => self.about.etag,
            _ => self.call.header("if-match"),
        }
    }

    fn copies(&self) -> bool {
        matches!(self.call.row.operation, Operation::CopyObject | Operation::UploadPartCopy)
    }

    /// The source of a copy as the operation reads it, not as it was sent. Policies write it with a slash before it or without,
    /// and now and then with the version: it has each of these values. Of several values any may match a condition, and of a
    /// negated condition none may, so that each way of writing it names the source to an Allow and to a Deny alike.
    fn copy_source(&self) -> Found<'_> {
        let sent = self.call.header("x-amz-copy-source").filter(|_| self.copies());
        let Some(source) = sent.and_then(|text| CopySource::parse(text).ok()) else { return Found::None };
        let plain = format!("{}/{}", source.bucket, source.key.as_str());
        let versioned = source.version.map(|version| format!("{plain}?versionId={version}"));
        let forms = std::iter::once(plain).chain(versioned);
        Found::Many(forms.flat_map(|form| [format!("/{form}"), form]).map(Cow::Owned).collect())
    }

    /// What stands for the body's hash, as it was signed: a presigned URL needs no header to say that it signs no body.
    fn payload_hash(&self) -> Option<&str> {
        match &self.call.signed {
            Some(signed) => Some(signed.payload_hash()),
            None => self.call.header("x-amz-content-sha256"),
        }
    }

    fn inventory_fields(&self) -> Found<'_> {
        match self.about.inventory_fields {
            [] => Found::None,
            fields => Found::Many(fields.iter().map(|field| Cow::Borrowed(field.as_str())).collect()),
        }
    }

    fn of_principal(&self, key: &str) -> Found<'_> {
        match (&self.call.identity, key) {
            (Some(identity), key) => identity.subject.find(key),
            (None, "aws:principaltype") => Found::of(Some("Anonymous")),
            (None, "aws:userid") => Found::of(Some("anonymous")),
            (None, _) => Found::None,
        }
    }

    fn of_signature(&self, key: &str) -> Found<'_> {
        let signed = self.call.signed.as_ref();
        match key {
            "s3:signatureversion" => Found::of(signed.map(|_| sigv4::ALGORITHM)),
            "s3:authtype" => Found::of(signed.map(|signed| match signed.kind() {
                _ if self.call.row.operation == Operation::PostObject => "POST",
                sigv4::Kind::Header => "REST-HEADER",
                sigv4::Kind::Presigned { .. } => "REST-QUERY-STRING",
            })),
            "s3:signatureage" => Found::of(signed.map(|signed| {
                let age = self.now.as_millisecond() - signed.date().timestamp().as_millisecond();
                age.max(0).to_string()
            })),
            _ => Found::None,
        }
    }
}

impl Context for Circumstances<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        let call = self.call;
        let header = |name: &str| Found::of(call.header(name));
        // Of a browser's own affairs, texts that are no ASCII have no value.
        let text = |name: HeaderName| Found::of(call.headers.get(name).and_then(|value| value.to_str().ok()));
        match key {
            "aws:securetransport" => Found::of(Some(if call.cx.is_secure() { "true" } else { "false" })),
            "aws:sourceip" => Found::of(Some(call.cx.client.to_string())),
            "aws:useragent" => text(USER_AGENT),
            "aws:referer" => text(REFERER),
            "aws:currenttime" => Found::of(Some(iso8601(self.now))),
            "aws:epochtime" => Found::of(Some(self.now.as_second().to_string())),
            "aws:requestedregion" => Found::of(Some(self.region)),
            "aws:viaawsservice" => Found::of(Some("false")),
            "aws:resourceaccount" | "s3:resourceaccount" => {
                Found::of(self.bucket.map(|bucket| bucket.record.account.as_str()))
            }
            "s3:tlsversion" => Found::of(call.cx.tls.map(|tls| tls.version.trim_start_matches("TLSv"))),
            METHOD => Found::of(self.encryption.method.as_deref()),
            EFFECTIVE_KEY => Found::of(self.encryption.key.as_deref()),
            "s3:prefix" | "s3:delimiter" | "s3:max-keys" => self.of_listing(key.trim_start_matches("s3:")),
            "s3:versionid" => Found::of(self.about.version.map(|version| version.to_string())),
            "s3:locationconstraint" => Found::of(self.creation.and_then(|creation| creation.location.as_deref())),
            "s3:objectcreationoperation" => Found::of(self.creates_object()),
            "s3:object-lock-remaining-retention-days" => {
                Found::of(self.lock.remaining_days(self.now).map(|days| days.to_string()))
            }
            "s3:object-lock-mode" => Found::of(self.lock.mode.as_deref()),
            "s3:object-lock-retain-until-date" => Found::of(self.lock.shown_until()),
            "s3:object-lock-legal-hold" => Found::of(self.lock.hold.as_deref()),
            "s3:if-match" => Found::of(self.if_match()),
            "s3:inventoryaccessibleoptionalfields" => self.inventory_fields(),
            "s3:x-amz-content-sha256" => Found::of(self.payload_hash()),
            "s3:x-amz-copy-source" => self.copy_source(),
            "s3:x-amz-metadata-directive" if !self.copies() => Found::None,
            "s3:if-none-match"
            | "s3:x-amz-acl"
            | "s3:x-amz-bucket-namespace"
            | "s3:x-amz-grant-full-control"
            | "s3:x-amz-grant-read"
            | "s3:x-amz-grant-read-acp"
            | "s3:x-amz-grant-write"
            | "s3:x-amz-grant-write-acp"
            | "s3:x-amz-metadata-directive"
            | "s3:x-amz-object-ownership"
            | "s3:x-amz-server-side-encryption-customer-algorithm"
            | "s3:x-amz-storage-class"
            | "s3:x-amz-website-redirect-location" => header(key.trim_start_matches("s3:")),
            "s3:requestobjecttagkeys" => all_keys(&self.request_tags),
            "aws:tagkeys" if self.changes_tags_of_bucket() => all_keys(&self.request_tags),
            "aws:tagkeys" => all_keys(self.tags_of_new_bucket()),
            _ if key.starts_with(REQUEST_BUCKET_TAG) && call.row.operation == Operation::TagResource => {
                Found::of_tag(&self.request_tags, &key[REQUEST_BUCKET_TAG.len()..])
            }
            _ if key.starts_with(REQUEST_BUCKET_TAG) => {
                Found::of_tag(self.tags_of_new_bucket(), &key[REQUEST_BUCKET_TAG.len()..])
            }
            _ if key.starts_with(REQUEST_TAG) => Found::of_tag(&self.request_tags, &key[REQUEST_TAG.len()..]),
            _ if key.starts_with(EXISTING_TAG) => Found::of_tag(&self.existing_tags, &key[EXISTING_TAG.len()..]),
            _ if key.starts_with(BUCKET_TAG) => self.of_bucket_tag(&key[BUCKET_TAG.len()..]),
            _ if key.starts_with(RESOURCE_TAG) => self.of_bucket_tag(&key[RESOURCE_TAG.len()..]),
            _ if key.starts_with("s3:") => self.of_signature(key),
            _ => self.of_principal(key),
        }
    }
}

fn all_keys(tags: &[(String, String)]) -> Found<'_> {
    match tags {
        [] => Found::None,
        tags => Found::Many(tags.iter().map(|(key, _)| Cow::Borrowed(key.as_str())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::HeaderValue;

    use super::*;
    use crate::clock::from_millis;
    use crate::crypto::random::SeededEntropy;
    use crate::s3::call::AuditNotes;
    use crate::s3::request::Query;
    use crate::store::schema::VersionId;
    use crate::wire::{RequestContext, RequestId};

    /// What a request that nobody signed is found to have of `key`.
    fn find(
        operation: Operation,
        query: &str,
        headers: &[(&'static str, &str)],
        about: About<'_>,
        key: &str,
    ) -> Vec<String> {
        let peer = "192.0.2.1:1".parse().unwrap();
        let cx = RequestContext {
            id: RequestId::draw(&SeededEntropy::new(1)),
            received: from_millis(0),
            peer,
            client: peer.ip(),
            tls: None,
            forwarded_over_tls: true,
        };
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = headers.iter().map(header).collect();
        let (query, witness) = (Query::parse(query).unwrap(), AuditNotes::default());
        let call = Call::anonymous(&cx, operation.row(), query, headers, &witness);
        let circumstances = Circumstances { about, ..Circumstances::new(&call, "r", from_millis(0), None) };
        match circumstances.find(key) {
            Found::None => Vec::new(),
            Found::One(value) => vec![value.into_owned()],
            Found::Many(values) => values.into_iter().map(Cow::into_owned).collect(),
        }
    }

    #[test]
    fn the_version_is_that_of_what_is_judged() {
        let version: VersionId = "null".parse().unwrap();
        let about = About { version: Some(version), ..About::default() };
        for operation in [Operation::GetObject, Operation::DeleteObjects, Operation::CopyObject] {
            assert_eq!(find(operation, "", &[], about, "s3:versionid"), ["null"]);
            assert_eq!(find(operation, "versionId=null", &[], About::default(), "s3:versionid"), [""; 0]);
        }
    }

    #[test]
    fn what_must_match_in_a_batch_is_what_its_entry_says() {
        let (header, about) = ([("if-match", "\"h\"")], About { etag: Some("e"), ..About::default() });
        let of = |operation, about| find(operation, "", &header, about, "s3:if-match");
        assert_eq!(of(Operation::DeleteObjects, about), ["e"]);
        assert_eq!(of(Operation::DeleteObjects, About::default()), [""; 0]);
        assert_eq!(of(Operation::DeleteObject, About::default()), ["\"h\""]);
    }

    #[test]
    fn a_copys_source_is_what_it_names_however_it_is_written() {
        let of = |operation, text| {
            find(operation, "", &[("x-amz-copy-source", text)], About::default(), "s3:x-amz-copy-source")
        };
        for text in ["b/k", "/b/k", "%62/k", "b%2Fk", "%2fb%2fk"] {
            assert_eq!(of(Operation::CopyObject, text), ["/b/k", "b/k"], "{text}");
        }
        let versioned = ["/b/k", "b/k", "/b/k?versionId=null", "b/k?versionId=null"];
        assert_eq!(of(Operation::UploadPartCopy, "b/k?versionId=null"), versioned);
        assert_eq!(of(Operation::CopyObject, "nonsense"), [""; 0]);
        for other in [Operation::PostObject, Operation::CreateMultipartUpload] {
            assert_eq!(of(other, "b/k"), [""; 0]);
        }
    }

    #[test]
    fn only_listings_have_a_prefix() {
        let of = |operation| find(operation, "prefix=p", &[], About::default(), "s3:prefix");
        for listing in [Operation::ListObjects, Operation::ListObjectsV2, Operation::ListObjectVersions] {
            assert_eq!(of(listing), ["p"]);
        }
        for other in [Operation::GetObject, Operation::HeadBucket] {
            assert_eq!(of(other), [""; 0]);
        }
    }

    #[test]
    fn the_optional_fields_of_an_inventory() {
        let fields = ["Size".to_owned(), "ETag".to_owned()];
        let of = |about| {
            find(Operation::PutBucketInventoryConfiguration, "", &[], about, "s3:inventoryaccessibleoptionalfields")
        };
        assert_eq!(of(About { inventory_fields: &fields, ..About::default() }), ["Size", "ETag"]);
        assert_eq!(of(About::default()), [""; 0]);
    }
}
