//! Parts: UploadPart, UploadPartCopy, ListParts.

use http::{HeaderMap, Response, StatusCode};

use super::call::{Bucket, Call};
use super::checksum::render::{write_part_headers, write_part_xml};
use super::checksum::{self, Algorithm, Checksums};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::insert_etag;
use super::markings::require_digest;
use super::multipart::{encode_upload_id, write_people};
use super::object::run_header;
use super::payload::{PayloadPlan, Requirements, Verified};
use super::put::MAX_PUT;
use super::reader::ObjectReader;
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use super::upload::Sealed;
use super::xml::XmlWriter;
use crate::iam::Permit;
use crate::sse::{self, CustomerKey, Envelope, ObjectName, Scope, SseError, SseKind};
use crate::store::commit::{self, Upload};
use crate::store::schema::PartRecord;
use crate::wire::{RequestBody, ResponseBody};

/// The highest part number. (AWS: "Amazon S3 multipart upload limits".)
pub(super) const MAX_PART_NUMBER: u16 = 10_000;
/// What is told of a request without the key that its upload was begun with.
pub(super) const ENCRYPTION_WANTED: &str = "The multipart upload initiate requested encryption. Subsequent part requests \
                                            must include the appropriate encryption parameters.";
/// Of the checksum that an upload's object gets where the upload named no algorithm.
pub(super) const DEFAULT_ALGORITHM: Algorithm = Algorithm::Crc64Nvme;
/// Which bytes of its source a part copies.
const COPY_RANGE: &str = "x-amz-copy-source-range";
/// Most parts in one page of a listing.
const MAX_PARTS: u32 = 1000;

impl S3 {
    pub(super) async fn upload_part(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        Self::refuse_blocked_customer_keys(call, bucket, key)?;
        sse::headers::refuse_on_read(&call.headers)?;
        let customer = sse::headers::key_to_write(&call.headers)?;
        let number = required_part_number(call)?;
        let upload = self.upload(call, bucket, key).await?;
        let envelope = Envelope::from_bytes(&upload.record.envelope)?;
        Self::require_transport(call, &envelope)?;
        if upload.record.retention.is_some() || bucket.record.object_lock.is_some_and(|lock| lock.default.is_some()) {
            require_digest(call, "Put Part")?;
        }
        let algorithm = part_algorithm(&upload);
        check_algorithm(call, algorithm)?;
        let required = self.data_requirements(envelope.shows_md5(), algorithm.unwrap_or(DEFAULT_ALGORITHM));
        // Whatever the parts of an upload bring that named no algorithm, the object gets a checksum of the default one.
        let required = Requirements { also: algorithm.is_none().then_some(DEFAULT_ALGORITHM), ..required };
        let payload = PayloadPlan::parse(&call.headers, call.signed.as_ref(), &required)?;
        let told = payload.algorithm().unwrap_or(DEFAULT_ALGORITHM);
        let object_key = self.unlock_upload(call, bucket, key, &envelope, customer.as_ref()).await?;
        let (sealed, verified) = self.receive(payload, body, &object_key, number).await?;

        let (etag, _) = self.write_part(bucket, &upload, &envelope, &object_key, (number, sealed, &verified)).await?;
        let mut response = render::empty(StatusCode::OK);
        let headers = response.headers_mut();
        insert_etag(headers, &etag);
        headers.extend(sse::headers::echo(&envelope, false, customer.as_ref())?);
        write_part_headers(&verified.checksums.only(told), headers);
        Ok(response)
    }

    pub(super) async fn upload_part_copy(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        Self::refuse_blocked_customer_keys(call, bucket, key)?;
        sse::headers::refuse_on_read(&call.headers)?;
        refuse_directive(&call.headers)?;
        let customer = sse::headers::key_to_write(&call.headers)?;
        let number = required_part_number(call)?;
        let upload = self.upload(call, bucket, key).await?;
        let envelope = Envelope::from_bytes(&upload.record.envelope)?;
        Self::require_transport(call, &envelope)?;
        let source = self.copy_source(call).await?;
        let range = copy_range(call.header(COPY_RANGE), source.object.record.size)?;
        let object_key = self.unlock_upload(call, bucket, key, &envelope, customer.as_ref()).await?;
        let source_key = self.unlock_source(call, &source).await?;
        let algorithm = part_algorithm(&upload);
        let required = self.data_requirements(envelope.shows_md5(), algorithm.unwrap_or(DEFAULT_ALGORITHM));
        let plan = PayloadPlan::internal(range.end - range.start, &required);
        let body = &source.object.record.body;
        let reader = ObjectReader::open(self, source.bucket.partition(), body, source_key, range).await?;
        let (sealed, verified) = self.receive(plan, reader.into_payload(), &object_key, number).await?;

        let part = (number, sealed, &verified);
        let (etag, modified) = self.write_part(bucket, &upload, &envelope, &object_key, part).await?;
        let mut response = render::document(XmlWriter::document("CopyPartResult", |xml| {
            xml.time("LastModified", modified);
            xml.text("ETag", format_args!("\"{etag}\""));
            // As AWS, only where the upload named an algorithm. (Recorded on AWS, `test_upload_part_copy_range`.)
            if algorithm.is_some() {
                write_part_xml(&verified.checksums, xml);
            }
        }));
        response.headers_mut().extend(sse::headers::echo(&envelope, false, customer.as_ref())?);
        source.tell(response.headers_mut());
        Ok(response)
    }

    /// The data key of an upload's object, for a part that must be encrypted as the upload was begun.
    async fn unlock_upload(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        envelope: &Envelope,
        customer: Option<&CustomerKey>,
    ) -> Result<sse::ObjectKey> {
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        self.sse.unlock(envelope, &self.kms_caller(call), name, customer).await.map_err(|error| match error {
            SseError::CustomerKeyRequired | SseError::CustomerKeyNotApplicable => {
                S3Error::new(ErrorCode::InvalidRequest, ENCRYPTION_WANTED)
            }
            SseError::WrongCustomerKey => S3Error::new(
                ErrorCode::InvalidRequest,
                "The provided encryption parameters did not match the ones used originally.",
            ),
            other => other.into(),
        })
    }

    /// The data key of an upload's object, where it takes a customer's key that the request may do without: `ListParts` and
    /// `CompleteMultipartUpload` then show no checksums.
    pub(super) async fn unlock_listed(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        envelope: &Envelope,
    ) -> Result<Option<sse::ObjectKey>> {
        let customer = sse::headers::key_to_read(&call.headers)?;
        if envelope.kind() == SseKind::Customer && customer.is_none() {
            return Ok(None);
        }
        self.unlock_upload(call, bucket, key, envelope, customer.as_ref()).await.map(Some)
    }

    /// Commits a part; its entity tag and modification time.
    async fn write_part(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        envelope: &Envelope,
        object_key: &sse::ObjectKey,
        (number, sealed, verified): (u16, Sealed, &Verified),
    ) -> Result<(String, i64)> {
        let etag_scope = bucket.etag_of_part(&upload.id, number, &sealed.run_ref.id);
        let (stored_etag, etag) = self.make_etag(envelope, etag_scope, verified.md5);
        let modified = self.clock.now().as_millisecond();
        let scope = Scope::Run { part: number, header: &sealed.header };
        let record = PartRecord {
            modified,
            size: verified.length,
            etag: stored_etag,
            checksums: self.seal_checksums(object_key, scope, &verified.checksums),
            run: sealed.run_ref,
        };
        let written = commit::write_part(&*self.store, bucket.partition(), upload, number, &record, sealed.run);
        written.await.map_err(S3Error::from)?;
        Ok((etag, modified))
    }

    pub(super) async fn list_parts(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let marker = call.query.number("part-number-marker")?.unwrap_or(0);
        let limit = call.query.number("max-parts")?.unwrap_or(MAX_PARTS).min(MAX_PARTS);
        let upload = self.upload(call, bucket, key).await?;
        let (after, count) = (u16::try_from(marker).unwrap_or(u16::MAX), usize::try_from(limit).unwrap_or(usize::MAX));
        let mut parts = commit::read_parts(&*self.store, bucket.partition(), upload.id, after, count + 1).await?;
        // A page of none has nothing to go on behind.
        let truncated = count > 0 && parts.len() > count;
        parts.truncate(count);

        // Only a client that asked for checksums is shown them, so that no other listing needs the KMS.
        let object_key = match &upload.record.checksum_algorithm {
            Some(_) => {
                let envelope = Envelope::from_bytes(&upload.record.envelope)?;
                self.unlock_listed(call, bucket, key, &envelope).await?
            }
            None => None,
        };
        let mut shown = Vec::with_capacity(parts.len());
        for part in &parts {
            let checksums = match &object_key {
                Some(object_key) => {
                    let header = run_header(&part.record.run)?;
                    let scope = Scope::Run { part: part.number, header: &header };
                    Self::open_checksums(object_key, scope, part.record.checksums.as_ref())?
                }
                None => Checksums::default(),
            };
            shown.push((part, self.part_etag(bucket, &upload.id, part)?, checksums));
        }
        let mut response = render::document(XmlWriter::document("ListPartsResult", |xml| {
            xml.text("Bucket", &bucket.name);
            xml.text("Key", key);
            xml.text("UploadId", encode_upload_id(upload.id));
            let owner = self.object_owner(bucket, upload.record.owner.as_deref());
            write_people(xml, self.initiator(&upload.record), owner);
            xml.text("StorageClass", &upload.record.attributes.storage_class);
            xml.text("PartNumberMarker", marker);
            xml.text("NextPartNumberMarker", parts.last().map_or(0, |part| part.number));
            xml.text("MaxParts", limit);
            xml.text("IsTruncated", truncated);
            for (part, etag, checksums) in &shown {
                xml.element("Part", |xml| {
                    xml.text("PartNumber", part.number);
                    xml.time("LastModified", part.record.modified);
                    xml.text("ETag", format_args!("\"{etag}\""));
                    xml.text("Size", part.record.size);
                    write_part_xml(checksums, xml);
                });
            }
            xml.optional("ChecksumAlgorithm", upload.record.checksum_algorithm.as_deref());
            xml.optional("ChecksumType", upload.record.checksum_type.as_deref());
        }));
        self.tell_abortion(bucket, key.as_str(), &upload.record, response.headers_mut()).await?;
        Ok(response)
    }
}

/// The algorithm that the upload was begun with.
fn part_algorithm(upload: &Upload) -> Option<Algorithm> {
    upload.record.checksum_algorithm.as_deref().and_then(Algorithm::from_name)
}

/// Refuses a part whose checksum is of another algorithm than the upload's.
fn check_algorithm(call: &Call<'_>, expected: Option<Algorithm>) -> Result<()> {
    let declared = checksum::declared(&call.headers)?.map(|checksum| checksum.algorithm());
    let actual = match declared {
        Some(algorithm) => Some(algorithm),
        None => checksum::announced(&call.headers)?,
    };
    match (expected, actual) {
        (Some(expected), Some(actual)) if expected != actual => Err(S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                expected.name().to_ascii_lowercase(),
                actual.name().to_ascii_lowercase()
            ),
        )),
        _ => Ok(()),
    }
}

fn required_part_number(call: &Call<'_>) -> Result<u16> {
    super::get::part_number(call)?.ok_or_else(|| S3Error::argument("partNumber", "", "Part number must be given"))
}

/// Refuses what only a copy of a whole object takes: the metadata is the upload's.
fn refuse_directive(headers: &HeaderMap) -> Result<()> {
    let name = "x-amz-metadata-directive";
    let Some(asked) = headers.get(name) else { return Ok(()) };
    let asked = String::from_utf8_lossy(asked.as_bytes());
    Err(S3Error::argument(name, asked, "The specified header is not valid in this context"))
}

/// The bytes of the source that a request names: `bytes=first-last`, both given, both within, and no more than a part may have.
fn copy_range(asked: Option<&str>, size: u64) -> Result<std::ops::Range<u64>> {
    let bounded = |range: std::ops::Range<u64>| {
        if range.end - range.start <= MAX_PUT {
            return Ok(range);
        }
        let message =
            format!("The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}");
        Err(S3Error::new(ErrorCode::InvalidRequest, message))
    };
    let Some(text) = asked else { return bounded(0..size) };
    let malformed = || {
        let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are \
                       the zero-based offsets of the first and last bytes to copy";
        S3Error::argument(COPY_RANGE, text, message)
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(malformed)?;
    let (first, last): (u64, u64) = (first.parse().map_err(|_| malformed())?, last.parse().map_err(|_| malformed())?);
    if first > last {
        return Err(malformed());
    }
    if first >= size {
        let message = "The specified copy range is invalid for the source object size";
        return Err(S3Error::new(ErrorCode::InvalidRequest, message));
    }
    if last >= size {
        let message = format!("Range specified is not valid for source object of size: {size}");
        return Err(S3Error::argument(COPY_RANGE, text, message));
    }
    bounded(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_ranges_are_within_the_source() {
        let range =
            |text: &str, size| copy_range(Some(text), size).map_err(|error| (error.code, error.message.into_owned()));
        assert_eq!(range("bytes=0-9", 10), Ok(0..10));
        assert_eq!(range("bytes=9-9", 10), Ok(9..10));
        let message = "Range specified is not valid for source object of size: 10".to_owned();
        assert_eq!(range("bytes=9-10", 10), Err((ErrorCode::InvalidArgument, message)));
        let message = "The specified copy range is invalid for the source object size".to_owned();
        assert_eq!(range("bytes=100-200", 10), Err((ErrorCode::InvalidRequest, message.clone())));
        assert_eq!(range("bytes=0-0", 0), Err((ErrorCode::InvalidRequest, message)));
        for malformed in ["0-8", "bytes=1-0", "bytes=0-", "bytes=-2", "bytes=0-1,3-4", "bytes=200-100"] {
            assert_eq!(range(malformed, 10).map_err(|(code, _)| code), Err(ErrorCode::InvalidArgument), "{malformed}");
        }
        assert_eq!(copy_range(None, 10).map_err(|error| error.code), Ok(0..10));
    }

    #[test]
    fn a_copied_part_is_no_longer_than_one_that_is_sent() {
        let size = 3 * MAX_PUT;
        let range = |text: Option<&str>, size| copy_range(text, size).map_err(|error| (error.code, error.message));
        let message =
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
        let too_long = Err((ErrorCode::InvalidRequest, message.into()));
        assert_eq!(range(Some(&format!("bytes=0-{}", MAX_PUT - 1)), size), Ok(0..MAX_PUT));
        assert_eq!(range(Some(&format!("bytes=0-{MAX_PUT}")), size), too_long);
        assert_eq!(range(Some(&format!("bytes=0-{}", size - 1)), size), too_long);
        assert_eq!(range(None, MAX_PUT), Ok(0..MAX_PUT));
        assert_eq!(range(None, MAX_PUT + 1), too_long);
    }

    #[test]
    fn parts_have_no_metadata_of_their_own() {
        let mut headers = HeaderMap::new();
        assert_eq!(refuse_directive(&headers).map_err(|error| error.code), Ok(()));
        headers.insert("x-amz-metadata-directive", http::HeaderValue::from_static("REPLACE"));
        let refused = refuse_directive(&headers).unwrap_err();
        assert_eq!(refused.message, "The specified header is not valid in this context");
        assert_eq!(refused.detail.last(), Some(&("ArgumentValue", "REPLACE".to_owned())));
    }
}
