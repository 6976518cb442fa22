//! GetObjectAttributes, for those who may read the object besides. (API reference, GetObjectAttributes.)

use http::Response;

use super::access::About;
use super::call::{Bucket, Call};
use super::checksum::Kind;
use super::checksum::render::write_part_xml;
use super::error::{ErrorCode, Result, S3Error};
use super::get::insert_modified;
use super::object::{Object, part_count};
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use super::version::{VERSION_ID, insert_version};
use super::xml::XmlWriter;
use crate::iam::Permit;
use crate::sse::{self, SseKind};
use crate::store::commit;
use crate::store::schema::Body;
use crate::wire::ResponseBody;

/// What can be asked for.
const NAMES: &[&str] = &["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
/// What an object's checksum covers that is made of those of its parts.
const COMPOSITE: &str = Kind::Composite.as_str();
/// Most parts in one answer.
const MAX_PARTS: u32 = 1000;

impl S3 {
    pub(super) async fn object_attributes(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        sse::headers::refuse_on_read(&call.headers)?;
        let customer = sse::headers::key_to_read(&call.headers)?;
        let asked: Vec<&str> = call
            .headers
            .get_all("x-amz-object-attributes")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            .filter(|name| !name.is_empty())
            .collect();
        if asked.is_empty() {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
            ));
        }
        if let Some(unknown) = asked.iter().find(|name| !NAMES.contains(name)) {
            return Err(S3Error::argument("x-amz-object-attributes", *unknown, "Invalid attribute name specified."));
        }
        let wants = |name: &str| asked.contains(&name);
        let about = About::named(call, key)?;
        let read = if about.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        self.authorize_about(call, read, bucket, about).await?;
        let object = self.object(call, bucket, key).await?;
        for action in [call.action(), read] {
            self.authorize_record(call, action, bucket, about, &object.record).await?;
        }
        Self::require_transport(call, &object.envelope)?;
        if let Some(response) = self.judge_read(call, bucket, &object)? {
            return Ok(response);
        }
        // Checksums are sealed under the data key, and AWS asks for kms:Decrypt as well.
        let keyless = object.envelope.kind() != SseKind::Customer && customer.is_none();
        let object_key = if wants("Checksum") || wants("ObjectParts") || !keyless {
            Some(self.unlock(call, &bucket.name, key, &object.envelope, customer.as_ref()).await?)
        } else {
            None
        };
        let checksums = object_key
            .as_ref()
            .filter(|_| wants("Checksum"))
            .map(|key| Self::object_checksums(key, &object))
            .transpose()?;
        let parts = match object_key.filter(|_| wants("ObjectParts")) {
            Some(object_key) => self.part_attributes(call, bucket, &object, &object_key).await?,
            None => None,
        };

        let mut response = render::document(XmlWriter::document("GetObjectAttributesResponse", |xml| {
            if wants("ETag") {
                xml.text("ETag", &object.etag);
            }
            if let Some(checksums) = checksums.filter(|checksums| !checksums.is_empty()) {
                xml.element("Checksum", |xml| {
                    // Unlike everywhere else, S3 shows composites here without their number of parts.
                    for (algorithm, value) in checksums.values() {
                        xml.text(algorithm.element(), value.split('-').next().unwrap_or_default());
                    }
                    xml.text("ChecksumType", checksums.kind().as_str());
                });
            }
            if let Some(write_parts) = parts {
                xml.element("ObjectParts", write_parts);
            }
            if wants("StorageClass") {
                xml.text("StorageClass", &object.record.attributes.storage_class);
            }
            if wants("ObjectSize") {
                xml.text("ObjectSize", object.record.size);
            }
        }));
        insert_modified(response.headers_mut(), object.record.modified);
        insert_version(response.headers_mut(), VERSION_ID, bucket, object.record.version_id());
        Ok(response)
    }

    /// What fills `ObjectParts`; `None` for an object that was not uploaded in parts. The parts themselves are shown of objects
    /// alone whose checksum is made of the parts'.
    async fn part_attributes(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        object: &Object,
        object_key: &sse::ObjectKey,
    ) -> Result<Option<impl FnOnce(&mut XmlWriter) + use<>>> {
        let Body::Parts { upload, spans } = &object.record.body else {
            return Ok(None);
        };
        if object.record.whole {
            return Ok(None);
        }
        let number = |name: &'static str, default: u32| match call.header(name) {
            None => Ok(default),
            Some(text) => text.parse::<u32>().map_err(|_| {
                S3Error::argument(name, text, format!("Provided {name} not an integer or within integer range"))
            }),
        };
        let limit = number("x-amz-max-parts", MAX_PARTS)?.min(MAX_PARTS);
        let marker = number("x-amz-part-number-marker", 0)?;
        let (after, count) = (u16::try_from(marker).unwrap_or(u16::MAX), usize::try_from(limit).unwrap_or(usize::MAX));
        let is_composite = object.record.checksum_kind.as_ref().is_some_and(|kind| kind.covers == COMPOSITE);
        let mut parts = if is_composite {
            commit::read_parts(&*self.store, bucket.partition(), *upload, after, count + 1).await?
        } else {
            Vec::new()
        };
        // A page of none has nothing to go on behind.
        let truncated = count > 0 && parts.len() > count;
        parts.truncate(count);
        let mut shown = Vec::with_capacity(parts.len());
        for part in parts {
            shown.push((part.number, part.record.size, Self::part_checksums(object_key, &object.record, &part)?));
        }
        let total = part_count(spans);
        Ok(Some(move |xml: &mut XmlWriter| {
            xml.text("PartsCount", total);
            if !is_composite {
                return;
            }
            xml.text("PartNumberMarker", marker);
            xml.text("NextPartNumberMarker", shown.last().map_or(0, |(number, ..)| *number));
            xml.text("MaxParts", limit);
            xml.text("IsTruncated", truncated);
            for (number, size, checksums) in &shown {
                xml.element("Part", |xml| {
                    write_part_xml(checksums, xml);
                    xml.text("PartNumber", number);
                    xml.text("Size", size);
                });
            }
        }))
    }
}
