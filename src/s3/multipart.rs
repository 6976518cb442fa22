//! Multipart uploads as wholes: create, complete, abort, list.

use http::Response;
use http::header::HeaderMap;
use minicbor::bytes::ByteVec;
use serde::Deserialize;

use super::checksum::render::write_xml;
use super::checksum::{self, Algorithm, Checksum, Checksums, Kind};
use super::condition::Preconditions;
use super::error::{ErrorCode, Result, S3Error};
use super::get::TRIES;
use super::headers::{insert, text};
use super::lifecycle::insert_expiration;
use super::list::{Entry, Listed, Listing, Position, write_common_prefixes};
use super::put::Origin;
use super::put::insert_id;
use super::render;
use super::request::ObjectKey;
use super::service::{Bucket, Call, S3, no_content};
use super::xml::{self, XmlWriter};
use crate::clock::{from_millis, iso8601, parse_http_date};
use crate::crypto::{digest, random};
use crate::iam::{Account, Permit};
use crate::sse::{self, Envelope, Scope};
use crate::store::commit::{self, Part, Silent, Upload};
use crate::store::schema::{Body, ObjectRecord, PartSpan, Table, UploadRecord, VersionId};
use crate::wire::{RequestBody, ResponseBody};

/// Fewest bytes of every part but the last: 5 MiB. (AWS: "Amazon S3 multipart upload limits".)
const MIN_PART: u64 = 5 << 20;
/// Most bytes of an object: 5 TiB.
const MAX_OBJECT: u64 = 5 << 40;
/// Longest CompleteMultipartUpload document: 10 000 parts with their checksums.
const MAX_DOCUMENT: usize = 4 << 20;

/// When an upload must have been begun to be aborted.
const IF_INITIATED: &str = "x-amz-if-match-initiated-time";

/// What is told to whoever did not sign, however open the bucket is.
const ANONYMOUS_UPLOAD: &str = "Anonymous users cannot initiate multipart uploads.  Please authenticate.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteMultipartUpload {
    #[serde(rename = "Part", default)]
    parts: Vec<NamedPart>,
}

/// A part as the client names it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NamedPart {
    part_number: u16,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC32")]
    crc32: Option<String>,
    #[serde(rename = "ChecksumCRC32C")]
    crc32c: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA1")]
    sha1: Option<String>,
    #[serde(rename = "ChecksumSHA256")]
    sha256: Option<String>,
    #[serde(rename = "ChecksumSHA512")]
    sha512: Option<String>,
    #[serde(rename = "ChecksumMD5")]
    md5: Option<String>,
    #[serde(rename = "ChecksumXXHASH64")]
    xxhash64: Option<String>,
    #[serde(rename = "ChecksumXXHASH3")]
    xxhash3: Option<String>,
    #[serde(rename = "ChecksumXXHASH128")]
    xxhash128: Option<String>,
}

impl NamedPart {
    /// The checksum that the client gives for `algorithm`.
    fn checksum(&self, algorithm: Algorithm) -> Option<&str> {
        let given = match algorithm {
            Algorithm::Crc32 => &self.crc32,
            Algorithm::Crc32c => &self.crc32c,
            Algorithm::Crc64Nvme => &self.crc64nvme,
            Algorithm::Sha1 => &self.sha1,
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
            Algorithm::Md5 => &self.md5,
            Algorithm::Xxh64 => &self.xxhash64,
            Algorithm::Xxh3 => &self.xxhash3,
            Algorithm::Xxh128 => &self.xxhash128,
        };
        given.as_deref()
    }

    /// Whether what the client gives is what was stored.
    fn agrees(&self, stored: &Checksums) -> bool {
        Algorithm::ALL.into_iter().all(|algorithm| match self.checksum(algorithm) {
            None => true,
            Some(given) => {
                Checksum::parse(algorithm, given).is_some_and(|given| stored.by_algorithm(algorithm) == Some(given))
            }
        })
    }
}

impl S3 {
    pub(super) async fn create_upload(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let initiator =
            call.identity.as_ref().ok_or_else(|| S3Error::new(ErrorCode::AccessDenied, ANONYMOUS_UPLOAD))?;
        let checksum = checksum::requested_of_upload(&call.headers)?;
        let markings = self.markings(call, bucket, key).await?;
        let origin = self.origin(call, bucket, key, "s3:ReplicateObject").await?;
        let (plan, attributes, access, envelope, _) = self.begin(call, bucket, key).await?;
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
        };
        let id = random::bytes(&*self.entropy);
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

    pub(super) async fn complete_upload(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let conditions = Preconditions::of_write(&call.headers)?;
        // A checksum in the headers is the object's to be, not the document's.
        let mut headers = call.headers.clone();
        for algorithm in Algorithm::ALL {
            headers.remove(algorithm.header());
        }
        let document = self.read_document(call, &headers, body, MAX_DOCUMENT).await?;
        let named: CompleteMultipartUpload = xml::read(&document, "CompleteMultipartUpload")?;
        if named.parts.is_empty() {
            return Err(ErrorCode::MalformedXml.into());
        }
        let Some(upload) = self.find_upload(call, bucket, key).await? else {
            return self.completed_before(call, bucket, key).await;
        };
        if !named.parts.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(ErrorCode::InvalidPartOrder.with("UploadId", encode_upload_id(upload.id)));
        }
        for _ in 1..TRIES {
            match self.try_complete(call, bucket, key, &upload, &named.parts, &conditions).await {
                // A part came in between: which parts there are is looked at anew.
                Err(error) if error.code == ErrorCode::OperationAborted => {}
                answer => return answer,
            }
        }
        self.try_complete(call, bucket, key, &upload, &named.parts, &conditions).await
    }

    async fn try_complete(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &Upload,
        named: &[NamedPart],
        conditions: &Preconditions,
    ) -> Result<Response<ResponseBody>> {
        let envelope = Envelope::from_bytes(&upload.record.envelope)?;
        let object_key = self.unlock_listed(call, bucket, key, &envelope).await?;
        let parts = commit::read_parts(&*self.store, bucket.partition(), upload.id, 0, usize::MAX).await?;
        let assembled = self.assemble(bucket, object_key.as_ref(), upload, named, &parts)?;
        assembled.check(&call.headers)?;

        let tag = format!("{}-{}", hex::encode(digest::md5(&assembled.tags)), named.len());
        let origin = upload.record.replica_of.as_ref().map(|(id, modified)| Origin::read(id, *modified)).transpose()?;
        let generation = self.generation(origin.as_ref());
        let (etag, tag) = self.store_etag(&envelope, bucket.etag_of_object(key.as_str(), &generation), tag);
        let scope = Scope::Parts { size: assembled.size, spans: &assembled.spans };
        let mut record = ObjectRecord {
            modified: self.clock.now().as_millisecond(),
            size: assembled.size,
            etag,
            attributes: upload.record.attributes.clone(),
            envelope: upload.record.envelope.clone(),
            protection: upload.record.protection.clone(),
            checksums: object_key.and_then(|key| self.seal_checksums(&key, scope, &assembled.checksums)),
            body: Body::Parts { upload: upload.id, spans: assembled.spans },
            generation,
            checksum_kind: Self::checksum_kind(&assembled.checksums),
            whole: false,
            order: None,
            has_id: false,
            null_at: None,
            tags: upload.record.tags.clone(),
            retention: self.retention_of_upload(bucket, upload.record.retention).await?,
            legal_hold: upload.record.legal_hold,
            replication: None,
            owner: upload.record.owner.clone(),
            acl: upload.record.acl.clone(),
        };
        let consequences = self.consequences(call, bucket, key.as_str()).await?;
        match &origin {
            Some(origin) => origin.mark(&mut record),
            None => record.replication = consequences.replication_state(&record.tags, record.protection.kind),
        }
        let chosen = |number: u16| named.binary_search_by_key(&number, |part| part.part_number).is_ok();
        let admit = |present: Option<&ObjectRecord>| {
            self.judge_present(bucket, key, conditions, present)?;
            // What was written while the upload was open is not what its maker had seen.
            if conditions.is_if_match() && present.is_some_and(|object| object.modified > upload.record.initiated) {
                let conflict = ErrorCode::ConditionalRequestConflict.with("Condition", "If-Match");
                return Err(conflict.with("Key", key.as_str()));
            }
            Ok(())
        };
        let place = bucket.place(key, &consequences);
        let version = commit::complete_upload(&*self.store, place, upload, &parts, chosen, &record, admit).await?;
        let mut response = completed(call, bucket, key, (&tag, version), &envelope, &assembled.checksums)?;
        let expires = self.expires(bucket, key.as_str(), &record).await?;
        insert_expiration(response.headers_mut(), expires.as_deref());
        Ok(response)
    }

    /// A client that did not hear of its success asks again: it gets the same answer as long as the object is there.
    async fn completed_before(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Response<ResponseBody>> {
        let id = upload_id(call)?;
        match self.object(call, bucket, key).await {
            Ok(object) if matches!(&object.record.body, Body::Parts { upload, .. } if *upload == id) => {
                let checksums = match self.unlock_listed(call, bucket, key, &object.envelope).await? {
                    Some(object_key) => Self::object_checksums(&object_key, &object)?,
                    None => Checksums::default(),
                };
                let id = object.record.version_id();
                let version = (id != VersionId::Null).then_some(id);
                completed(call, bucket, key, (&object.etag, version), &object.envelope, &checksums)
            }
            Ok(_) => Err(no_such_upload(call)),
            Err(error) if error.code == ErrorCode::NoSuchKey => Err(no_such_upload(call)),
            Err(error) => Err(error),
        }
    }

    /// Holds the parts that the client names against those that there are. Without the key, which a customer need not bring
    /// to complete an upload, the checksums stay unread and the object gets none.
    fn assemble(
        &self,
        bucket: &Bucket,
        key: Option<&sse::ObjectKey>,
        upload: &Upload,
        named: &[NamedPart],
        parts: &[Part],
    ) -> Result<Assembled> {
        // Uploads that named no algorithm get what AWS computes by itself: CRC-64/NVME over the full object.
        let algorithm = upload.record.checksum_algorithm.as_deref().and_then(Algorithm::from_name);
        let algorithm = algorithm.unwrap_or(Algorithm::Crc64Nvme);
        let kind = upload.record.checksum_type.as_deref().and_then(Kind::from_name).unwrap_or(Kind::FullObject);
        let mut of_parts = Vec::with_capacity(named.len());
        let mut assembled = Assembled::default();
        for (index, name) in named.iter().enumerate() {
            let invalid = || {
                ErrorCode::InvalidPart
                    .with("UploadId", encode_upload_id(upload.id))
                    .with("PartNumber", name.part_number.to_string())
                    .with("ETag", name.etag.trim_matches('"'))
            };
            let found = parts.binary_search_by_key(&name.part_number, |part| part.number).map_err(|_| invalid())?;
            let etag = self.part_etag(bucket, &upload.id, &parts[found])?;
            let part = &parts[found].record;
            if name.etag.trim_matches('"') != etag {
                return Err(invalid());
            }
            if part.size < MIN_PART && index + 1 < named.len() {
                return Err(ErrorCode::EntityTooSmall
                    .with("ProposedSize", part.size.to_string())
                    .with("MinSizeAllowed", MIN_PART.to_string())
                    .with("PartNumber", name.part_number.to_string())
                    .with("ETag", etag));
            }
            let header = super::object::run_header(&part.run)?;
            let scope = Scope::Run { part: name.part_number, header: &header };
            let checksums = match key {
                Some(key) => Self::open_checksums(key, scope, part.checksums.as_ref())?,
                None => Checksums::default(),
            };
            if key.is_some() && !name.agrees(&checksums) {
                return Err(invalid());
            }
            if kind == Kind::Composite && name.checksum(algorithm).is_none() {
                let message = format!(
                    "The upload was created using a {} checksum. The complete request must include the checksum for \
                     each part. It was missing for part {} in the request.",
                    algorithm.name().to_ascii_lowercase(),
                    name.part_number
                );
                return Err(S3Error::new(ErrorCode::InvalidRequest, message));
            }
            of_parts.extend(checksums.by_algorithm(algorithm).map(|checksum| (checksum, part.size)));
            assembled.add(name.part_number, part.size, &hex::decode(&etag).map_err(S3Error::internal)?);
        }
        if assembled.size > MAX_OBJECT {
            return Err(ErrorCode::EntityTooLarge
                .with("ProposedSize", assembled.size.to_string())
                .with("MaxSizeAllowed", MAX_OBJECT.to_string()));
        }
        if of_parts.len() == named.len() {
            assembled.checksums = Checksums::of_parts(kind, &of_parts).unwrap_or_default();
        }
        Ok(assembled)
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
            (name, "") => Some(Position::behind(name)),
            (name, id) => {
                let invalid = || S3Error::argument("upload-id-marker", id, "Invalid uploadId marker");
                Some(Position { name: name.to_owned(), tail: decode_upload_id(id).ok_or_else(invalid)?.to_vec() })
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
            xml.text("UploadIdMarker", id_marker);
            if page.truncated {
                xml.optional("NextKeyMarker", page.last().map(|name| listing.show(name)));
                if let Some(Entry::Key(_, (id, _))) = page.entries.last() {
                    xml.text("NextUploadIdMarker", encode_upload_id(*id));
                }
            }
            xml.text("Prefix", listing.show(listing.prefix));
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
                        write_people(xml, self.account(&record.account), owner);
                        xml.text("StorageClass", &record.attributes.storage_class);
                        xml.text("Initiated", iso8601(from_millis(record.initiated)));
                        xml.optional("ChecksumAlgorithm", record.checksum_algorithm.as_deref());
                        xml.optional("ChecksumType", record.checksum_type.as_deref());
                    });
                }
            }
            write_common_prefixes(xml, &listing, &page.entries);
        })))
    }

    /// The open upload that the query names.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub(super) async fn upload(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<Upload> {
        self.find_upload(call, bucket, key).await?.ok_or_else(|| no_such_upload(call))
    }

    async fn find_upload(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Upload>> {
        let id = upload_id(call)?;
        Ok(commit::read_upload(&*self.store, bucket.partition(), key.as_str(), id).await?)
    }
}

/// What the named parts come to.
#[derive(Default)]
struct Assembled {
    size: u64,
    spans: Vec<PartSpan>,
    /// The parts' entity tags in binary, one behind the other.
    tags: Vec<u8>,
    checksums: Checksums,
}

impl Assembled {
    fn add(&mut self, number: u16, size: u64, tag: &[u8]) {
        self.size = self.size.saturating_add(size);
        self.tags.extend_from_slice(tag);
        match self.spans.last_mut() {
            Some(span) if span.size == size && span.first + span.count == number => span.count += 1,
            _ => self.spans.push(PartSpan { first: number, count: 1, size }),
        }
    }

    /// Holds what the client says of the whole object against it.
    fn check(&self, headers: &HeaderMap) -> Result<()> {
        if let Some(size) = text(headers, "x-amz-mp-object-size")
            && size.parse() != Ok(self.size)
        {
            let message = format!(
                "The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: {}",
                self.size
            );
            return Err(S3Error::new(ErrorCode::InvalidRequest, message));
        }
        let Some(declared) = checksum::declared_of_object(headers)? else {
            return Ok(());
        };
        let agrees = declared.values().all(|(algorithm, value)| {
            self.checksums.values().any(|(ours, computed)| ours == algorithm && computed == value)
        });
        if agrees {
            return Ok(());
        }
        let name = declared.values().next().map_or("checksum", |(algorithm, _)| algorithm.name());
        Err(S3Error::new(
            ErrorCode::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", name.to_ascii_lowercase()),
        ))
    }
}

fn completed(
    call: &Call<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    (etag, version): (&str, Option<VersionId>),
    envelope: &Envelope,
    checksums: &Checksums,
) -> Result<Response<ResponseBody>> {
    let mut response = render::document(XmlWriter::document("CompleteMultipartUploadResult", |xml| {
        xml.text("Location", location(call, bucket, key));
        xml.text("Bucket", &bucket.name);
        xml.text("Key", key);
        xml.text("ETag", format_args!("\"{etag}\""));
        write_xml(checksums, xml);
    }));
    response.headers_mut().extend(sse::headers::echo(envelope, false, None)?);
    insert_id(response.headers_mut(), version);
    Ok(response)
}

/// Where an object can be found.
pub(super) fn location(call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> String {
    let host = call.header("host").unwrap_or("localhost");
    let scheme = if call.cx.is_secure() { "https" } else { "http" };
    format!("{scheme}://{host}/{}/{}", bucket.name, crate::wire::percent::percent_encode(key.as_str()))
}

/// The initiator and the owner of an upload.
pub(super) fn write_people(
    xml: &mut XmlWriter,
    initiator: Option<&std::sync::Arc<Account>>,
    owner: Option<&std::sync::Arc<Account>>,
) {
    for (element, account) in [("Initiator", initiator), ("Owner", owner)] {
        if let Some(account) = account {
            xml.element(element, |xml| {
                xml.text("ID", &account.canonical_id);
                xml.text("DisplayName", &account.display_name);
            });
        }
    }
}

/// The text form of an upload's id.
pub(super) fn encode_upload_id(id: [u8; 16]) -> String {
    hex::encode(id)
}

fn decode_upload_id(text: &str) -> Option<[u8; 16]> {
    hex::decode(text).ok()?.try_into().ok()
}

fn upload_id(call: &Call<'_>) -> Result<[u8; 16]> {
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

fn no_such_upload(call: &Call<'_>) -> S3Error {
    ErrorCode::NoSuchUpload.with("UploadId", call.query.value("uploadId").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_consecutive_parts_become_one_span() {
        let mut assembled = Assembled::default();
        for (number, size) in [(1, 5), (2, 5), (3, 4), (5, 4), (6, 4)] {
            assembled.add(number, size, &[0]);
        }
        let span = |first, count, size| PartSpan { first, count, size };
        assert_eq!(assembled.spans, [span(1, 2, 5), span(3, 1, 4), span(5, 2, 4)]);
        assert_eq!((assembled.size, assembled.tags.len()), (22, 5));
    }

    #[test]
    fn uploads_are_aborted_by_the_second_of_their_beginning() {
        let judge = |asked| judge_initiated(asked, 1_000_999).map_err(|error| error.code);
        assert_eq!(judge(None), Ok(()));
        assert_eq!(judge(Some("Thu, 01 Jan 1970 00:16:40 GMT")), Ok(()));
        assert_eq!(judge(Some("Thu, 01 Jan 1970 00:16:41 GMT")), Err(ErrorCode::PreconditionFailed));
        assert_eq!(judge(Some("then")), Err(ErrorCode::InvalidArgument));
    }

    #[test]
    fn checksums_that_nobody_computed_do_not_agree() {
        let part = |element: &str| -> NamedPart {
            let inner = format!("<PartNumber>1</PartNumber><ETag>e</ETag>{element}");
            xml::read(format!("<Part>{inner}</Part>").as_bytes(), "Part").unwrap()
        };
        assert!(part("").agrees(&Checksums::default()));
        for algorithm in Algorithm::ALL {
            let (name, computed) = (algorithm.element(), Checksum::of(algorithm, b"data"));
            for given in ["AA==".to_owned(), computed.to_string()] {
                assert!(!part(&format!("<{name}>{given}</{name}>")).agrees(&Checksums::default()), "{name}");
            }
            let right = part(&format!("<{name}>{computed}</{name}>"));
            assert!(right.agrees(&Checksums::over_bytes([computed])), "{name}");
        }
    }

    #[test]
    fn parts_say_what_the_model_knows_alone() {
        let read = |part: &str| {
            let document =
                format!("<CompleteMultipartUpload xmlns=\"urn:x\"><Part>{part}</Part></CompleteMultipartUpload>");
            xml::read::<CompleteMultipartUpload>(document.as_bytes(), "CompleteMultipartUpload")
        };
        let whole = "<ETag>&quot;e&quot;</ETag><PartNumber>1</PartNumber>";
        assert_eq!(read(whole).unwrap().parts[0].etag, "\"e\"");
        for more in ["<ChecksumCRC16>AAAA</ChecksumCRC16>", "<PartNumber>2</PartNumber>", "text"] {
            let refused = read(&format!("{whole}{more}")).err().map(|error| error.code);
            assert_eq!(refused, Some(ErrorCode::MalformedXml), "{more}");
        }
    }

    #[test]
    fn upload_ids_round_trip() {
        assert_eq!(decode_upload_id(&encode_upload_id([7; 16])), Some([7; 16]));
        assert_eq!(decode_upload_id("nonsense"), None);
    }
}
