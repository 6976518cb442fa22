//! Multipart uploads as wholes: create, abort, list.

use std::sync::Arc;

use http::Response;
use minicbor::bytes::ByteVec;

use super::call::{Bucket, Call};
use super::checksum;
use super::error::{ErrorCode, Result, S3Error};
use super::headers::insert;
use super::list::{Entry, Listed, Listing, Position, write_common_prefixes};
use super::render;
use super::request::{ObjectKey, virtual_bucket};
use super::service::{S3, no_content};
use super::xml::XmlWriter;
use crate::clock::{from_millis, parse_http_date};
use crate::crypto::{Entropy, random};
use crate::iam::{Account, Permit, arn};
use crate::sse;
use crate::store::commit::{self, Silent, Upload};
use crate::store::schema::{Table, UploadRecord};
use crate::wire::ResponseBody;
use crate::wire::percent::url_encode;

/// When an upload must have been begun to be aborted.
const IF_INITIATED: &str = "x-amz-if-match-initiated-time";

/// Among how many open uploads a listing looks for one that its marker may name by mistake.
const MARKER_LOOKS: usize = 1000;

impl S3 {
    pub(super) async fn create_upload(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let initiator = call.identity()?;
        let checksum = checksum::requested_of_upload(&call.headers)?;
        let markings = self.markings(call, bucket, key).await?;
        let origin = self.origin(call, bucket, key, "s3:ReplicateObject").await?;
        let (plan, attributes, access, envelope, _) = self.begin(call, bucket, key).await?;
        let present = commit::read_object(&*self.store, bucket.partition(), key.as_str()).await?;
        let record = UploadRecord {
            initiated: self.clock.now().as_millisecond(),
            attributes,
            envelope: ByteVec::from(envelope.to_bytes()),
            protection: envelope.summary(),
            checksum_algorithm: checksum.map(|(algorithm, _)| algorithm.name().to_owned()),
            checksum_type: checksum.map(|(_, kind)| kind.as_str().to_owned()),
            account: initiator.account.id.clone(),
            tags: markings.tags,
            retention: markings.retention,
            legal_hold: markings.legal_hold,
            replica_of: origin.map(|origin| (origin.id.to_string(), origin.modified)),
            owner: access.owner,
            acl: access.acl,
            initiator: Some(&initiator.subject).filter(|subject| !subject.is_root()).map(|subject| subject.arn.clone()),
            found_object: present.is_some(),
        };
        let id = new_upload_id(record.initiated, &*self.entropy);
        commit::create_upload(&*self.store, bucket.place(key, &Silent), id, &record).await.map_err(S3Error::from)?;

        let mut response = render::document(XmlWriter::document("InitiateMultipartUploadResult", |xml| {
            xml.text("Bucket", &bucket.name);
            xml.text("Key", key);
            xml.text("UploadId", encode_upload_id(id));
        }));
        let headers = response.headers_mut();
        self.tell_abortion(bucket, key.as_str(), &record, headers).await?;
        headers.extend(sse::headers::echo(&envelope, true, plan.customer_key())?);
        if let Some((algorithm, kind)) = checksum {
            insert(headers, http::HeaderName::from_static("x-amz-checksum-algorithm"), algorithm.name());
            insert(headers, http::HeaderName::from_static("x-amz-checksum-type"), kind.as_str());
        }
        Ok(response)
    }

    pub(super) async fn abort_upload(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let upload = self.upload(call, bucket, key).await?;
        judge_initiated(call.header(IF_INITIATED), upload.record.initiated)?;
        if commit::abort_upload(&*self.store, bucket.partition(), &upload).await? {
            Ok(no_content())
        } else {
            Err(no_such_upload(call))
        }
    }

    pub(super) async fn list_uploads(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let query = &call.query;
        let key_marker = query.value("key-marker").unwrap_or_default();
        let id_marker = query.value("upload-id-marker").unwrap_or_default();
        // "If key-marker is not specified, the upload-id-marker parameter is ignored." (ListMultipartUploads)
        let after = match (key_marker, id_marker) {
            ("", _) => None,
            (name, "") => Some(Position::behind_marker(name)),
            (name, id) => {
                let invalid = || S3Error::argument("upload-id-marker", id, "Invalid uploadId marker");
                let marked = decode_upload_id(id).ok_or_else(invalid)?;
                if self.is_upload_of_other(bucket, name, marked).await? {
                    return Err(invalid());
                }
                Some(Position { tail: marked.to_vec(), ..Position::behind_marker(name) })
            }
        };
        let listing = Listing::read(query, Listed::Uploads, after)?;
        let read = |id: &[u8], value: bytes::Bytes| {
            let id: [u8; 16] = id.try_into().map_err(|_| S3Error::internal("an upload's key is damaged"))?;
            Ok((id, <UploadRecord as crate::store::schema::Record>::from_value(&value)?))
        };
        let page = listing.walk(&*self.store, bucket.partition(), Table::Upload, read).await?;
        Ok(render::document(XmlWriter::document("ListMultipartUploadsResult", |xml| {
            xml.text("Bucket", &bucket.name);
            xml.text("KeyMarker", listing.show(key_marker));
            // (Recorded on AWS without a key's marker, `test_list_multiparts_next_marker`.)
            xml.text("UploadIdMarker", if key_marker.is_empty() { "" } else { id_marker });
            // The last upload is told of also where nothing is behind it; a common prefix only where something is.
            let (next_key, next_id) = match page.entries.last() {
                Some(Entry::Key(name, (id, _))) => (listing.show(name), encode_upload_id(*id)),
                Some(Entry::CommonPrefix(name)) if page.truncated => (listing.show(name), String::new()),
                _ => Default::default(),
            };
            xml.text("NextKeyMarker", next_key);
            xml.text("NextUploadIdMarker", next_id);
            xml.optional("Prefix", query.value("prefix").map(|prefix| listing.show(prefix)));
            xml.optional("Delimiter", listing.delimiter.map(|delimiter| listing.show(delimiter)));
            xml.optional("EncodingType", listing.encoding);
            xml.text("MaxUploads", listing.limit);
            xml.text("IsTruncated", page.truncated);
            for entry in &page.entries {
                if let Entry::Key(name, (id, record)) = entry {
                    xml.element("Upload", |xml| {
                        xml.text("Key", listing.show(name));
                        xml.text("UploadId", encode_upload_id(*id));
                        let owner = self.object_owner(bucket, record.owner.as_deref());
                        write_people(xml, self.initiator(record), owner);
                        xml.text("StorageClass", &record.attributes.storage_class);
                        xml.time("Initiated", record.initiated);
                        xml.optional("ChecksumAlgorithm", record.checksum_algorithm.as_deref());
                        xml.optional("ChecksumType", record.checksum_type.as_deref());
                    });
                }
            }
            write_common_prefixes(xml, &listing, &page.entries);
        })))
    }

    /// Whether the upload `id` is known to be of another key than `key`. Of one that has ended meanwhile nothing is known, and
    /// neither of one behind the bucket's first page of uploads: listings go on there. (The refusal as recorded on AWS,
    /// `test_list_multiparts_next_marker`.)
    async fn is_upload_of_other(&self, bucket: &Bucket, key: &str, id: [u8; 16]) -> Result<bool> {
        if commit::read_upload(&*self.store, bucket.partition(), key, id).await?.is_some() {
            return Ok(false);
        }
        let uploads = commit::read_uploads(&*self.store, bucket.partition(), MARKER_LOOKS).await?;
        Ok(uploads.iter().any(|upload| upload.id == id))
    }

    /// The open upload that the query names.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub(super) async fn upload(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<Upload> {
        self.find_upload(call, bucket, key).await?.ok_or_else(|| no_such_upload(call))
    }

    /// Where an object can be found, by the way that the request came.
    pub(super) fn location(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> String {
        let scheme = if call.cx.is_secure() { "https" } else { "http" };
        let host = call.host.as_deref().unwrap_or("localhost");
        format!("{scheme}://{}", place(host, &self.settings.base_domains, &bucket.name, key.as_str()))
    }

    /// Who began an upload: an account, or one of its users or roles by ARN. (API reference, ListParts.)
    pub(super) fn initiator<'a>(&'a self, upload: &'a UploadRecord) -> Option<Initiator<'a>> {
        if let Some(arn) = &upload.initiator {
            return Some(Initiator { id: arn, display_name: arn::display_name(arn) });
        }
        let account = self.account(&upload.account)?;
        Some(Initiator { id: &account.canonical_id, display_name: &account.display_name })
    }

    pub(super) async fn find_upload(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<Upload>> {
        let id = upload_id(call)?;
        Ok(commit::read_upload(&*self.store, bucket.partition(), key.as_str(), id).await?)
    }
}

/// Where an object is on `host`, which may name the bucket. S3 writes the key as one segment here, encoded as a form's values
/// are.
fn place(host: &str, bases: &[String], bucket: &str, key: &str) -> String {
    let key = url_encode(key).replace('/', "%2F");
    match virtual_bucket(host, bases) {
        Some(_) => format!("{host}/{key}"),
        None => format!("{host}/{bucket}/{key}"),
    }
}

/// Who began an upload, as listings show it.
pub(super) struct Initiator<'a> {
    id: &'a str,
    display_name: &'a str,
}

/// The initiator and the owner of an upload.
pub(super) fn write_people(xml: &mut XmlWriter, initiator: Option<Initiator<'_>>, owner: Option<&Arc<Account>>) {
    let owner = owner.map(|account| Initiator { id: &account.canonical_id, display_name: &account.display_name });
    for (element, person) in [("Initiator", initiator), ("Owner", owner)] {
        if let Some(Initiator { id, display_name }) = person {
            xml.element(element, |xml| {
                xml.text("ID", id);
                xml.text("DisplayName", display_name);
            });
        }
    }
}

/// A new upload's id: the time of its beginning, big-endian, and random bytes. So the uploads of a key are listed in the
/// order in which they were begun. (API reference, ListMultipartUploads, "Sorting of multipart uploads in response".)
fn new_upload_id(initiated: i64, entropy: &dyn Entropy) -> [u8; 16] {
    let [_, _, time @ ..] = initiated.to_be_bytes();
    let random: [u8; 10] = random::identifier(entropy);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time);
    id[6..].copy_from_slice(&random);
    id
}

/// The text form of an upload's id.
pub(super) fn encode_upload_id(id: [u8; 16]) -> String {
    hex::encode(id)
}

fn decode_upload_id(text: &str) -> Option<[u8; 16]> {
    hex::decode(text).ok()?.try_into().ok()
}

pub(super) fn upload_id(call: &Call<'_>) -> Result<[u8; 16]> {
    call.query.value("uploadId").and_then(decode_upload_id).ok_or_else(|| no_such_upload(call))
}

/// Whether an upload was begun at the second that a request names. (API reference, AbortMultipartUpload.)
fn judge_initiated(asked: Option<&str>, initiated: i64) -> Result<()> {
    let Some(text) = asked else { return Ok(()) };
    let at = parse_http_date(text).or_else(|| text.parse().ok());
    let at = at.ok_or_else(|| S3Error::argument(IF_INITIATED, text, "Invalid date"))?;
    if at.as_second() == from_millis(initiated).as_second() {
        return Ok(());
    }
    Err(ErrorCode::PreconditionFailed.with("Condition", IF_INITIATED))
}

pub(super) fn no_such_upload(call: &Call<'_>) -> S3Error {
    ErrorCode::NoSuchUpload.with("UploadId", call.query.value("uploadId").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SystemEntropy;

    #[test]
    fn uploads_are_aborted_by_the_second_of_their_beginning() {
        let judge = |asked| judge_initiated(asked, 1_000_999).map_err(|error| error.code);
        assert_eq!(judge(None), Ok(()));
        assert_eq!(judge(Some("Thu, 01 Jan 1970 00:16:40 GMT")), Ok(()));
        assert_eq!(judge(Some("Thu, 01 Jan 1970 00:16:41 GMT")), Err(ErrorCode::PreconditionFailed));
        assert_eq!(judge(Some("then")), Err(ErrorCode::InvalidArgument));
    }

    #[test]
    fn a_bucket_stands_once_in_the_place_of_its_object() {
        let bases = ["localhost".to_owned(), "s3.amazonaws.com".to_owned()];
        let place = |host| place(host, &bases, "b", "a/b c");
        assert_eq!(place("localhost:9000"), "localhost:9000/b/a%2Fb+c");
        assert_eq!(place("b.localhost:9000"), "b.localhost:9000/a%2Fb+c");
        assert_eq!(place("127.0.0.1"), "127.0.0.1/b/a%2Fb+c");
    }

    #[test]
    fn upload_ids_round_trip() {
        assert_eq!(decode_upload_id(&encode_upload_id([7; 16])), Some([7; 16]));
        assert_eq!(decode_upload_id("nonsense"), None);
    }

    #[test]
    fn upload_ids_follow_the_time() {
        let entropy = SystemEntropy::new();
        let ids = [0, 1, 255, 256, 1_700_000_000_000, 1_700_000_000_001].map(|at| new_upload_id(at, &entropy));
        assert!(ids.is_sorted());
        assert_ne!(new_upload_id(7, &entropy), new_upload_id(7, &entropy));
    }
}
