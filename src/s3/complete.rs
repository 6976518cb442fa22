//! CompleteMultipartUpload: the parts that the client names, held against those that there are, become an object.

mod assembled;

use http::Response;
use http::header::HeaderMap;
use serde::{Deserialize, Deserializer};

use self::assembled::begun_with;
use super::call::{Bucket, Call};
use super::checksum::render::write_xml;
use super::checksum::{self, Algorithm, Checksum, Checksums};
use super::condition::Preconditions;
use super::error::{ErrorCode, Result, S3Error};
use super::get::TRIES;
use super::lifecycle::insert_expiration;
use super::multipart::{encode_upload_id, no_such_upload, upload_id};
use super::parts::ENCRYPTION_WANTED;
use super::put::{Origin, insert_id};
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use super::xml::{self, XmlWriter};
use crate::crypto::digest;
use crate::iam::Permit;
use crate::sse::{self, Envelope, Scope};
use crate::store::commit::{self, Upload};
use crate::store::schema::{Body, ObjectRecord, UploadRecord, Version, VersionId};
use crate::wire::{RequestBody, ResponseBody};

/// Longest CompleteMultipartUpload document: 10 000 parts with their checksums.
const MAX_DOCUMENT: usize = 4 << 20;

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
    #[serde(deserialize_with = "part_number")]
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

/// A part's number; zero for all that are below one, which are refused alike.
fn part_number<'de, D: Deserializer<'de>>(text: D) -> Result<u16, D::Error> {
    let number = i32::deserialize(text)?.max(0);
    u16::try_from(number).map_err(serde::de::Error::custom)
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

    /// Whether the client gives a checksum.
    fn has_checksum(&self) -> bool {
        Algorithm::ALL.into_iter().any(|algorithm| self.checksum(algorithm).is_some())
    }

    /// Refuses a checksum of another algorithm than the upload was begun with, which no part of it can have.
    fn check_algorithm(&self, begun: Algorithm) -> Result<()> {
        let foreign = |algorithm: &Algorithm| *algorithm != begun && self.checksum(*algorithm).is_some();
        match Algorithm::ALL.into_iter().find(foreign) {
            Some(foreign) => Err(S3Error::new(
                ErrorCode::BadDigest,
                format!(
                    "The {} you specified for part {} did not match what we received.",
                    foreign.name().to_ascii_lowercase(),
                    self.part_number
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Reads which parts a document names.
fn read(document: &[u8]) -> Result<Vec<NamedPart>> {
    if document.is_empty() {
        return Err(S3Error::new(ErrorCode::InvalidRequest, "You must specify at least one part"));
    }
    let CompleteMultipartUpload { parts } = xml::read(document, "CompleteMultipartUpload")?;
    if parts.is_empty() {
        return Err(ErrorCode::MalformedXml.into());
    }
    if parts.iter().any(|part| part.part_number == 0) {
        return Err(S3Error::new(ErrorCode::InvalidArgument, "PartNumber must be >= 1"));
    }
    Ok(parts)
}

impl S3 {
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
        let named = read(&document);
        let Some(upload) = self.find_upload(call, bucket, key).await? else {
            let answer = self.completed_before(call, bucket, key).await;
            // Of an upload that never was, AWS tells before it reads the parts. (Recorded on AWS, `test_multipart_no_such_upload`.)
            return if answer.is_ok() { named.and(answer) } else { answer };
        };
        let named = named?;
        if !named.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(ErrorCode::InvalidPartOrder.with("UploadId", encode_upload_id(upload.id)));
        }
        let mut tries = 1;
        let answer = loop {
            match self.try_complete(call, bucket, key, &upload, &named, &conditions).await {
                // A part came in between: which parts there are is looked at anew.
                Err(error) if error.code == ErrorCode::OperationAborted && tries < TRIES => tries += 1,
                answer => break answer,
            }
        };
        if answer.is_err() && self.find_upload(call, bucket, key).await?.is_none() {
            // It was ended meanwhile: perhaps by the same request, sent again before it was answered.
            return self.completed_before(call, bucket, key).await;
        }
        answer
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
        if object_key.is_none() && brings_checksums(&upload.record, named, &call.headers)? {
            return Err(S3Error::new(ErrorCode::InvalidRequest, ENCRYPTION_WANTED));
        }
        let parts = commit::read_parts(&*self.store, bucket.partition(), upload.id, 0, usize::MAX).await?;
        check_kind(&call.headers, &upload.record)?;
        let assembled = self.assemble(bucket, object_key.as_ref(), upload, named, &parts)?;
        assembled.check(&call.headers, begun_with(&upload.record))?;

        let tag = format!("{}-{}", hex::encode(digest::md5(&assembled.tags)), named.len());
        let origin = upload.record.replica_of.as_ref().map(|(id, modified)| Origin::read(id, *modified)).transpose()?;
        let generation = self.generation(origin.as_ref());
        let (etag, tag) = self.store_etag(&envelope, bucket.etag_of_object(key.as_str(), &generation), tag);
        let scope = Scope::Parts { size: assembled.size, spans: &assembled.spans };
        let under = (upload.record.envelope.clone(), upload.record.protection.clone());
        let checksums = object_key.and_then(|key| self.seal_checksums(&key, scope, &assembled.checksums));
        let body = Body::Parts { upload: upload.id, spans: assembled.spans };
        // "For multipart uploads, the object creation date is the date of initiation of the multipart upload." (S3 user guide,
        // "Working with object metadata", on Last-Modified.)
        let modified = upload.record.initiated;
        let mut record = ObjectRecord {
            attributes: upload.record.attributes.clone(),
            checksums,
            checksum_kind: Self::checksum_kind(&assembled.checksums),
            tags: upload.record.tags.clone(),
            retention: self.retention_of_upload(bucket, upload.record.retention).await?,
            legal_hold: upload.record.legal_hold,
            owner: upload.record.owner.clone(),
            acl: upload.record.acl.clone(),
            ..ObjectRecord::new(modified, (assembled.size, etag), under, body, generation)
        };
        let consequences = self.consequences(call, bucket, key.as_str()).await?;
        match &origin {
            Some(origin) => origin.mark(&mut record),
            None => record.replication = consequences.replication_state(&record.tags, record.protection.kind),
        }
        let chosen = |number: u16| named.binary_search_by_key(&number, |part| part.part_number).is_ok();
        let admit = |current: Option<&Version>| {
            self.judge_present(bucket, key, conditions, current.and_then(Version::object))?;
            match conflict(conditions, current, &upload.record) {
                Some(condition) => {
                    let conflict = ErrorCode::ConditionalRequestConflict.with("Condition", condition);
                    Err(conflict.with("Key", key.as_str()))
                }
                None => Ok(()),
            }
        };
        let place = bucket.place(key, &consequences);
        let version = commit::complete_upload(&*self.store, place, upload, &parts, chosen, &record, admit).await?;
        let place = self.location(call, bucket, key);
        let mut response = completed(&place, bucket, key, (&tag, version), &envelope, &assembled.checksums)?;
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
                let place = self.location(call, bucket, key);
                completed(&place, bucket, key, (&object.etag, version), &object.envelope, &checksums)
            }
            Ok(_) => Err(no_such_upload(call)),
            Err(error) if error.code == ErrorCode::NoSuchKey => Err(no_such_upload(call)),
            Err(error) => Err(error),
        }
    }
}

/// The condition that holds only because of what was written or deleted while the upload was open, which its maker had not seen.
/// Of a deletion a delete marker tells, or, where it leaves nothing, that there was an object when the upload was begun: one that
/// came and went meanwhile is as if it had never been. (S3 user guide, "Add preconditions to S3 operations with conditional
/// requests"; recorded on AWS, `test_multipart_if_none_match_with_delete`.)
fn conflict(conditions: &Preconditions, current: Option<&Version>, upload: &UploadRecord) -> Option<&'static str> {
    let began = upload.initiated;
    match current {
        Some(Version::Object(object)) if conditions.is_if_match() && object.modified > began => Some("If-Match"),
        Some(Version::Marker(marker)) if !conditions.is_empty() && marker.modified > began => Some("If-None-Match"),
        None if !conditions.is_empty() && upload.found_object => Some("If-None-Match"),
        _ => None,
    }
}

/// Whether there are checksums to be held against those of the parts, which takes the key that these are sealed under.
/// (API reference, CompleteMultipartUpload, `x-amz-server-side-encryption-customer-key`.)
fn brings_checksums(upload: &UploadRecord, named: &[NamedPart], headers: &HeaderMap) -> Result<bool> {
    Ok(upload.checksum_algorithm.is_some()
        || named.iter().any(NamedPart::has_checksum)
        || checksum::declared_of_object(headers)?.is_some())
}

/// Holds what the client says that the object's checksum covers against what it said when the upload was begun.
fn check_kind(headers: &HeaderMap, upload: &UploadRecord) -> Result<()> {
    let Some(asked) = checksum::kind(headers)? else { return Ok(()) };
    let begun = upload.checksum_type.as_deref();
    if begun == Some(asked.as_str()) {
        return Ok(());
    }
    let message = format!(
        "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
        begun.unwrap_or("null")
    );
    Err(S3Error::new(ErrorCode::InvalidRequest, message))
}

fn completed(
    place: &str,
    bucket: &Bucket,
    key: &ObjectKey,
    (etag, version): (&str, Option<VersionId>),
    envelope: &Envelope,
    checksums: &Checksums,
) -> Result<Response<ResponseBody>> {
    let mut response = render::document(XmlWriter::document("CompleteMultipartUploadResult", |xml| {
        xml.text("Location", place);
        xml.text("Bucket", &bucket.name);
        xml.text("Key", key);
        xml.text("ETag", format_args!("\"{etag}\""));
        write_xml(checksums, xml);
    }));
    response.headers_mut().extend(sse::headers::echo(envelope, false, None)?);
    insert_id(response.headers_mut(), version);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::store::schema::{MarkerRecord, Record};

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
    fn at_least_one_part_is_named_by_a_number_that_parts_have() {
        let read = |parts: &str| {
            let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
            read(document.as_bytes()).map(|parts| parts.len()).map_err(|error| (error.code, error.message.into_owned()))
        };
        let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>");
        assert_eq!(read(&[part("1"), part("10000")].concat()), Ok(2));
        let malformed = |parts: &str| read(parts).map_err(|(code, _)| code);
        assert_eq!(malformed(""), Err(ErrorCode::MalformedXml));
        for number in ["", "x", "70000", "1.5"] {
            assert_eq!(malformed(&part(number)), Err(ErrorCode::MalformedXml), "{number}");
        }
        for number in ["0", "-1"] {
            let refused = (ErrorCode::InvalidArgument, "PartNumber must be >= 1".to_owned());
            assert_eq!(read(&[part("1"), part(number)].concat()), Err(refused), "{number}");
        }
        let nothing = super::read(b"").map(drop).map_err(|error| (error.code, error.message.into_owned()));
        assert_eq!(nothing, Err((ErrorCode::InvalidRequest, "You must specify at least one part".to_owned())));
    }

    #[test]
    fn checksums_are_of_the_uploads_algorithm() {
        let part = "<Part><PartNumber>7</PartNumber><ETag>e</ETag><ChecksumSHA256>AA==</ChecksumSHA256></Part>";
        let part: NamedPart = xml::read(part.as_bytes(), "Part").unwrap();
        let check = |begun| part.check_algorithm(begun).map_err(|error| (error.code, error.message.into_owned()));
        assert_eq!(check(Algorithm::Sha256), Ok(()));
        let message = "The sha256 you specified for part 7 did not match what we received.".to_owned();
        assert_eq!(check(Algorithm::Crc32), Err((ErrorCode::BadDigest, message)));
    }

    #[test]
    fn what_happened_while_an_upload_was_open_is_a_conflict() {
        let conditions = |name: HeaderName, value: &'static str| {
            Preconditions::of_write(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))])).unwrap()
        };
        let none_match = conditions(http::header::IF_NONE_MATCH, "*");
        let if_match = conditions(http::header::IF_MATCH, "e");
        let marker = |modified| Version::Marker(MarkerRecord::new(modified, [0; 16]));
        let golden = include_bytes!("../../tests/golden/schema/object-run.bin");
        let written = |modified| {
            let object = <ObjectRecord as Record>::from_value(golden).unwrap();
            Version::Object(Box::new(ObjectRecord { modified, ..object }))
        };
        let golden = include_bytes!("../../tests/golden/schema/upload.bin");
        let upload = |found_object| {
            let upload = <UploadRecord as Record>::from_value(golden).unwrap();
            UploadRecord { initiated: 100, found_object, ..upload }
        };
        let of = |conditions: &Preconditions, current: Option<Version>, found| {
            conflict(conditions, current.as_ref(), &upload(found))
        };
        for found in [false, true] {
            assert_eq!(of(&none_match, Some(marker(101)), found), Some("If-None-Match"));
            assert_eq!(of(&none_match, Some(marker(99)), found), None);
            assert_eq!(of(&if_match, Some(written(101)), found), Some("If-Match"));
            assert_eq!(of(&if_match, Some(written(99)), found), None);
            assert_eq!(of(&Preconditions::default(), Some(marker(101)), found), None);
            assert_eq!(of(&Preconditions::default(), None, found), None);
        }
        assert_eq!(of(&none_match, None, false), None);
        assert_eq!(of(&none_match, None, true), Some("If-None-Match"));
    }

    #[test]
    fn a_customers_key_is_wanted_where_checksums_are_named() {
        let upload = |algorithm: Option<&str>| {
            let golden = include_bytes!("../../tests/golden/schema/upload.bin");
            let record = <UploadRecord as Record>::from_value(golden).unwrap();
            UploadRecord { checksum_algorithm: algorithm.map(str::to_owned), ..record }
        };
        let named = |checksum: &str| -> Vec<NamedPart> {
            let part = format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{checksum}</Part>");
            vec![xml::read(part.as_bytes(), "Part").unwrap()]
        };
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let none = headers(&[]);
        let brings = |upload, named: &[NamedPart], headers| brings_checksums(&upload, named, headers).unwrap();
        assert!(!brings(upload(None), &named(""), &none));
        assert!(brings(upload(Some("CRC32")), &named(""), &none));
        assert!(brings(upload(None), &named("<ChecksumSHA1>AA==</ChecksumSHA1>"), &none));
        assert!(brings(upload(None), &named(""), &headers(&[("x-amz-checksum-crc32", "AAAAAA==")])));
    }

    #[test]
    fn the_kind_is_the_uploads() {
        let golden = include_bytes!("../../tests/golden/schema/upload.bin");
        let upload = <UploadRecord as Record>::from_value(golden).unwrap();
        assert_eq!(upload.checksum_type.as_deref(), Some("COMPOSITE"));
        let asked = |kind: &'static str, upload: &UploadRecord| {
            let header = (HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(kind));
            check_kind(&HeaderMap::from_iter([header]), upload).map_err(|error| error.message.into_owned())
        };
        let refused = |begun: &str| {
            Err(format!(
                "The upload was created using the {begun} checksum mode. The complete request must use the same checksum mode."
            ))
        };
        assert_eq!(asked("composite", &upload), Ok(()));
        assert_eq!(asked("FULL_OBJECT", &upload), refused("COMPOSITE"));
        assert_eq!(asked("FULL_OBJECT", &UploadRecord { checksum_type: None, ..upload.clone() }), refused("null"));
        assert_eq!(asked("HALF", &upload), Err("Value for x-amz-checksum-type header is invalid.".to_owned()));
        assert_eq!(check_kind(&HeaderMap::new(), &upload).map_err(|error| error.code), Ok(()));
    }
}
