//! What the parts that a client names come to.

use http::header::HeaderMap;

use super::NamedPart;
use crate::s3::call::Bucket;
use crate::s3::checksum::{self, Algorithm, Checksums, Kind};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::headers::text;
use crate::s3::multipart::encode_upload_id;
use crate::s3::object::run_header;
use crate::s3::parts::DEFAULT_ALGORITHM;
use crate::s3::service::S3;
use crate::sse::{self, Scope};
use crate::store::commit::{Part, Upload};
use crate::store::schema::{PartSpan, UploadRecord};

/// Fewest bytes of every part but the last: 5 MiB. (AWS: "Amazon S3 multipart upload limits".)
const MIN_PART: u64 = 5 << 20;
/// Most bytes of an object: 5 TiB.
const MAX_OBJECT: u64 = 5 << 40;
/// How large a client says that the object is.
const OBJECT_SIZE: &str = "x-amz-mp-object-size";

/// What the named parts come to.
#[derive(Default)]
pub(super) struct Assembled {
    pub size: u64,
    pub spans: Vec<PartSpan>,
    /// The parts' entity tags in binary, one behind the other.
    pub tags: Vec<u8>,
    pub checksums: Checksums,
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

    /// Holds what the client says of the whole object against it, which the upload became that was begun with this algorithm and
    /// kind of checksum.
    pub fn check(&self, headers: &HeaderMap, begun: Option<(Algorithm, Kind)>) -> Result<()> {
        if let Some(size) = text(headers, OBJECT_SIZE) {
            let refused = |message: String| Err(S3Error::new(ErrorCode::InvalidRequest, message));
            match size.parse::<i64>() {
                Err(_) => return refused(format!("Value for {OBJECT_SIZE} header is invalid: '{size}'")),
                Ok(..0) => return refused(format!("Value for {OBJECT_SIZE} header is less than zero: '{size}'")),
                Ok(said) if u64::try_from(said) == Ok(self.size) => {}
                Ok(_) => {
                    return refused(format!(
                        "The provided '{OBJECT_SIZE}' header value {size} does not match what was computed: {}",
                        self.size
                    ));
                }
            }
        }
        let Some(declared) = checksum::declared_of_object(headers)? else {
            return Ok(());
        };
        // A checksum of no said type is one of the parts' checksums, which CRC-64/NVME alone cannot be. (Recorded on AWS,
        // `test_multipart_parts_checksum_exceptions_full_object`.)
        let kind = begun.map(|(_, kind)| kind);
        let is_of_object = kind != Some(Kind::FullObject) || checksum::kind(headers)?.is_some();
        // Where the upload named no algorithm, another than the default one is not looked at. (`…_checksum_default`.)
        let is_ignored = |algorithm| begun.is_none() && algorithm != DEFAULT_ALGORITHM;
        let agrees = declared.values().all(|(algorithm, value)| {
            is_ignored(algorithm)
                || (is_of_object || algorithm == DEFAULT_ALGORITHM)
                    && self
                        .checksums
                        .values()
                        .any(|(ours, computed)| ours == algorithm && may_be_said_as(&computed, &value))
        });
        if agrees {
            return Ok(());
        }
        // Whichever it was, the upload's is named. (`…_exceptions_full_object`.)
        let name = begun.map_or(DEFAULT_ALGORITHM, |(algorithm, _)| algorithm).name().to_ascii_lowercase();
        let message = format!("The {name} you specified did not match the calculated checksum.");
        Err(S3Error::new(ErrorCode::BadDigest, message))
    }
}

/// Whether a client may say a checksum so: as it is shown, or, of a composite, without the number of its parts, as minio-go
/// says it, whose uploads in parts AWS takes.
fn may_be_said_as(computed: &str, said: &str) -> bool {
    computed == said || computed.split_once('-').is_some_and(|(digest, _)| digest == said)
}

/// Which checksum an upload's object is to have, and what that covers, as it was said when the upload was begun.
pub(super) fn begun_with(upload: &UploadRecord) -> Option<(Algorithm, Kind)> {
    let algorithm = upload.checksum_algorithm.as_deref().and_then(Algorithm::from_name)?;
    let kind = upload.checksum_type.as_deref().and_then(Kind::from_name);
    Some((algorithm, kind.unwrap_or(Kind::FullObject)))
}

impl S3 {
    /// Holds the parts that the client names against those that there are. Without the key, which a customer need not bring
    /// where nobody speaks of checksums, these stay unread and the object gets none.
    pub(super) fn assemble(
        &self,
        bucket: &Bucket,
        key: Option<&sse::ObjectKey>,
        upload: &Upload,
        named: &[NamedPart],
        parts: &[Part],
    ) -> Result<Assembled> {
        // Uploads that named no algorithm get what AWS computes by itself: CRC-64/NVME over the full object.
        let begun = begun_with(&upload.record);
        let (algorithm, kind) = begun.unwrap_or((DEFAULT_ALGORITHM, Kind::FullObject));
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
            let header = run_header(&part.run)?;
            let scope = Scope::Run { part: name.part_number, header: &header };
            let checksums = match key {
                Some(key) => Self::open_checksums(key, scope, part.checksums.as_ref())?,
                None => Checksums::default(),
            };
            match begun {
                Some((begun, _)) => name.check_algorithm(begun)?,
                // A part has no checksum then, whatever was told when it came. (Recorded on AWS,
                // `test_complete_multipart_parts_checksum_default`.)
                None if name.has_checksum() => return Err(invalid()),
                None => {}
            }
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
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::s3::checksum::Checksum;

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
    fn a_full_objects_checksum_is_said_with_its_type() {
        let check = |algorithm: Algorithm, kind: Option<Kind>, typed: bool| {
            let computed = Checksums::over_bytes([Checksum::of(algorithm, b"data")]);
            let value = HeaderValue::try_from(Checksum::of(algorithm, b"data").to_string()).unwrap();
            let mut headers = HeaderMap::from_iter([(HeaderName::from_static(algorithm.header()), value)]);
            if typed {
                headers.insert("x-amz-checksum-type", HeaderValue::from_static("FULL_OBJECT"));
            }
            let assembled = Assembled { checksums: computed, ..Assembled::default() };
            assembled
                .check(&headers, kind.map(|kind| (algorithm, kind)))
                .map_err(|error| (error.code, error.message.into_owned()))
        };
        let full = Some(Kind::FullObject);
        let message = "The crc32c you specified did not match the calculated checksum.".to_owned();
        assert_eq!(check(Algorithm::Crc32c, full, false), Err((ErrorCode::BadDigest, message)));
        assert_eq!(check(Algorithm::Crc32c, full, true), Ok(()));
        assert_eq!(check(Algorithm::Crc64Nvme, full, false), Ok(()));
        assert_eq!(check(Algorithm::Crc64Nvme, None, false), Ok(()));
    }

    #[test]
    fn a_checksum_that_does_not_agree_is_called_the_uploads() {
        let check = |name: &'static str, of: &[u8], begun| {
            let algorithm = Algorithm::from_name(name).unwrap();
            let value = HeaderValue::try_from(Checksum::of(algorithm, of).to_string()).unwrap();
            let headers = HeaderMap::from_iter([(HeaderName::from_static(algorithm.header()), value)]);
            let checksums = Checksums::over_bytes([Checksum::of(DEFAULT_ALGORITHM, b"data")]);
            let assembled = Assembled { checksums, ..Assembled::default() };
            assembled.check(&headers, begun).map_err(|error| error.message.into_owned())
        };
        let refused = |name: &str| Err(format!("The {name} you specified did not match the calculated checksum."));
        let begun = Some((Algorithm::Crc32c, Kind::FullObject));
        assert_eq!(check("CRC64NVME", b"other", begun), refused("crc32c"));
        assert_eq!(check("CRC32", b"data", begun), refused("crc32c"));
        assert_eq!(check("CRC64NVME", b"other", None), refused("crc64nvme"));
        assert_eq!(check("CRC32", b"other", None), Ok(()));
    }

    #[test]
    fn a_composite_may_be_said_without_the_number_of_its_parts() {
        let parts = [b"one", b"two"].map(|part| (Checksum::of(Algorithm::Crc32c, part), 3));
        let checksums = Checksums::of_parts(Kind::Composite, &parts).unwrap();
        let assembled = Assembled { checksums: checksums.clone(), ..Assembled::default() };
        let check = |value: &str| {
            let header = (HeaderName::from_static("x-amz-checksum-crc32c"), HeaderValue::try_from(value).unwrap());
            assembled.check(&HeaderMap::from_iter([header]), Some((Algorithm::Crc32c, Kind::Composite)))
        };
        let digest = checksums.by_algorithm(Algorithm::Crc32c).unwrap().to_string();
        assert!(check(&digest).is_ok() && check(&format!("{digest}-2")).is_ok());
        let whole = Checksum::of(Algorithm::Crc32c, b"onetwo").to_string();
        for value in [format!("{digest}-3"), whole.clone(), format!("{whole}-2")] {
            assert_eq!(check(&value).unwrap_err().code, ErrorCode::BadDigest);
        }
    }

    #[test]
    fn the_size_that_is_said_is_the_objects() {
        let assembled = Assembled { size: 4, ..Assembled::default() };
        let check = |size: &'static str| {
            let header = (HeaderName::from_static(OBJECT_SIZE), HeaderValue::from_static(size));
            assembled.check(&HeaderMap::from_iter([header]), None).map_err(|error| error.message.into_owned())
        };
        assert_eq!(check("4"), Ok(()));
        assert_eq!(check("size"), Err("Value for x-amz-mp-object-size header is invalid: 'size'".to_owned()));
        assert_eq!(check("-4"), Err("Value for x-amz-mp-object-size header is less than zero: '-4'".to_owned()));
        let message = "The provided 'x-amz-mp-object-size' header value 5 does not match what was computed: 4";
        assert_eq!(check("5"), Err(message.to_owned()));
    }
}
