//! GetObject and HeadObject.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, EXPIRES, HeaderMap, HeaderValue, LAST_MODIFIED,
};
use http::{HeaderName, Response, StatusCode};

use super::access::About;
use super::call::{Bucket, Call};
use super::checksum::Kind;
use super::checksum::render::{write_headers, write_part_headers};
use super::condition::{ByteRange, Preconditions, Present, Purpose};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, insert_etag, write_attributes};
use super::lifecycle::insert_expiration;
use super::object::{Object, part_count};
use super::operation::Operation;
use super::parts::MAX_PART_NUMBER;
use super::put::insert_number;
use super::reader::ObjectReader;
use super::render;
use super::request::{ObjectKey, Query};
use super::service::S3;
use super::version::{VERSION_ID, insert_version};
use crate::clock::{from_millis, http_date};
use crate::iam::Permit;
use crate::sse::{self, CustomerKey, SseKind};
use crate::store::commit;
use crate::store::schema::{Attributes, Body, PartSpan};
use crate::wire::ResponseBody;

/// How often an object that is replaced under the reader is tried.
pub(super) const TRIES: usize = 16;

/// What of an object is asked for.
struct Selection {
    /// The bytes; empty only if the object is.
    start: u64,
    end: u64,
    /// Whether the answer is 206.
    partial: bool,
    /// The number of the part that was asked for, and how many there are.
    part: Option<(u16, u32)>,
}

impl S3 {
    pub(super) async fn get_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        sse::headers::refuse_on_read(&call.headers)?;
        let with_checksums = wants_checksums(&call.headers)?;
        let customer = sse::headers::key_to_read(&call.headers)?;
        // An object that is replaced between its record and its bytes is read anew: its reader sees one version, whole.
        let mut tries = 1;
        loop {
            match self.read_object(call, bucket, key, (customer.as_ref(), with_checksums), &permit).await {
                Err(error) if error.is_vanished() && tries < TRIES => tries += 1,
                answer => return answer,
            }
        }
    }

    async fn read_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        (customer, with_checksums): (Option<&CustomerKey>, bool),
        _permit: &Permit,
    ) -> Result<Response<ResponseBody>> {
        let head_only = call.row.operation == Operation::HeadObject;
        let object = self.object(call, bucket, key).await?;
        self.authorize_record(call, call.action(), bucket, About::named(call, key)?, &object.record).await?;
        Self::require_transport(call, &object.envelope)?;
        if let Some(response) = self.judge_read(call, bucket, &object)? {
            return Ok(response);
        }
        let selection = select(call, &object)?;

        let is_whole = selection.end - selection.start == object.record.size;
        let with_checksums = with_checksums && (is_whole || selection.part.is_some());
        // HEAD needs no KMS, but a customer's object is shown to those alone who have its key.
        let keyless = object.envelope.kind() != SseKind::Customer && customer.is_none();
        let object_key = if head_only && !with_checksums && keyless {
            None
        } else {
            Some(self.unlock(call, &bucket.name, key, &object.envelope, customer).await?)
        };

        let mut response = render::empty(if selection.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        let headers = response.headers_mut();
        write_attributes(&object.record.attributes, &call.query, headers);
        insert_etag(headers, &object.etag);
        insert_modified(headers, object.record.modified);
        insert_version(headers, VERSION_ID, bucket, object.record.version_id());
        if call.query.value("versionId").is_none() {
            insert_expiration(headers, self.expires(bucket, key.as_str(), &object.record).await?.as_deref());
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.extend(sse::headers::echo(&object.envelope, false, customer)?);
        self.tell_markings(call, bucket, key, &object.record, headers).await;
        if let Some(replication) = &object.record.replication {
            insert(headers, HeaderName::from_static("x-amz-replication-status"), replication.as_str());
        }
        if selection.partial {
            let last = selection.end.saturating_sub(1);
            insert(headers, CONTENT_RANGE, &format!("bytes {}-{last}/{}", selection.start, object.record.size));
        }
        if let Some((_, count)) = selection.part {
            insert_number(headers, "x-amz-mp-parts-count", count);
        }
        if let (true, Some(object_key)) = (with_checksums, &object_key) {
            match selection.part {
                Some((number, _)) => self.tell_part(bucket, &object, number, object_key, headers).await?,
                None => write_headers(&Self::object_checksums(object_key, &object)?, headers),
            }
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(selection.end - selection.start));
        if let (false, Some(object_key)) = (head_only, object_key) {
            let range = selection.start..selection.end;
            let reader = ObjectReader::open(self, bucket.partition(), &object.record.body, object_key, range).await?;
            *response.body_mut() = reader.into_body().await?;
        }
        Ok(response)
    }
}

impl S3 {
    /// Judges the conditions of a read: the answer, where they say that there is nothing new.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub(super) fn judge_read(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        object: &Object,
    ) -> Result<Option<Response<ResponseBody>>> {
        let (modified, now) = (object.record.modified, self.clock.now());
        match Preconditions::of_request(&call.headers).judge(&object.etag, modified, Purpose::Read, now) {
            Err(error) if error.code == ErrorCode::NotModified => {
                let mut response = render::empty(StatusCode::NOT_MODIFIED);
                insert_freshness(&object.record.attributes, &call.query, response.headers_mut());
                insert_etag(response.headers_mut(), &object.etag);
                insert_modified(response.headers_mut(), modified);
                insert_version(response.headers_mut(), VERSION_ID, bucket, object.record.version_id());
                Ok(Some(response))
            }
            judged => judged.map(|()| None),
        }
    }

    /// Sets the header of a part's checksum, and what the object's covers, where that is composed of its parts'. Of a full object
    /// AWS shows none. (Recorded on AWS, `test_complete_multipart_parts_checksum_full_object`.)
    async fn tell_part(
        &self,
        bucket: &Bucket,
        object: &Object,
        number: u16,
        object_key: &sse::ObjectKey,
        headers: &mut HeaderMap,
    ) -> Result<()> {
        let Body::Parts { upload, .. } = &object.record.body else { return Ok(()) };
        let covers = object.record.checksum_kind.as_ref().map(|kind| kind.covers.as_str());
        if covers != Some(Kind::Composite.as_str()) {
            return Ok(());
        }
        let found = commit::read_parts(&*self.store, bucket.partition(), *upload, number - 1, 1).await?;
        if let Some(part) = found.first().filter(|part| part.number == number) {
            write_part_headers(&Self::part_checksums(object_key, &object.record, part)?, headers);
            insert(headers, HeaderName::from_static("x-amz-checksum-type"), Kind::Composite.as_str());
        }
        Ok(())
    }
}

/// Whether a read asks for checksums.
fn wants_checksums(headers: &HeaderMap) -> Result<bool> {
    match headers.get("x-amz-checksum-mode") {
        None => Ok(false),
        Some(mode) if mode.as_bytes().trim_ascii().eq_ignore_ascii_case(b"enabled") => Ok(true),
        Some(_) => Err(S3Error::new(ErrorCode::InvalidRequest, "Value for x-amz-checksum-mode header is invalid.")),
    }
}

/// Sets what tells caches how long they may keep what they have. (RFC 9110, section 15.4.5)
fn insert_freshness(attributes: &Attributes, overrides: &Query, headers: &mut HeaderMap) {
    let mut all = HeaderMap::new();
    write_attributes(attributes, overrides, &mut all);
    for name in [CACHE_CONTROL, EXPIRES] {
        if let Some(value) = all.remove(&name) {
            headers.insert(name, value);
        }
    }
}

/// Sets `Last-Modified`.
pub(super) fn insert_modified(headers: &mut HeaderMap, modified: i64) {
    insert(headers, LAST_MODIFIED, &http_date(from_millis(modified)));
}

/// Which bytes a GET or HEAD asks for.
fn select(call: &Call<'_>, object: &Object) -> Result<Selection> {
    let size = object.record.size;
    let number = part_number(call)?;
    let present = Present { etag: &object.etag, modified: object.record.modified, size };
    let range = ByteRange::of_request(&call.headers, present);
    match (number, range) {
        (Some(_), Ok(Some(_)) | Err(_)) => Err(S3Error::new(
            ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (Some(number), Ok(None)) => select_part(number, object),
        (None, Ok(None)) => Ok(Selection { start: 0, end: size, partial: false, part: None }),
        (None, Ok(Some(range))) => Ok(Selection { start: range.start, end: range.end, partial: true, part: None }),
        (None, Err(error)) => Err(error),
    }
}

fn select_part(number: u16, object: &Object) -> Result<Selection> {
    let size = object.record.size;
    let unsatisfiable =
        || ErrorCode::InvalidPartNumber.with("ActualPartCount", "1").with("PartNumberRequested", number.to_string());
    match &object.record.body {
        Body::Parts { spans, .. } if !object.record.whole => {
            let (start, end) = locate(spans, number).ok_or_else(|| {
                ErrorCode::InvalidPartNumber
                    .with("ActualPartCount", part_count(spans).to_string())
                    .with("PartNumberRequested", number.to_string())
            })?;
            // No Content-Range can name the bytes of an empty part.
            Ok(Selection { start, end, partial: start < end, part: Some((number, part_count(spans))) })
        }
        _ if number == 1 => Ok(Selection { start: 0, end: size, partial: size > 0, part: None }),
        _ => Err(unsatisfiable()),
    }
}

/// The bytes of part `number`.
fn locate(spans: &[PartSpan], number: u16) -> Option<(u64, u64)> {
    let mut start = 0;
    for span in spans {
        if let Some(index) = number.checked_sub(span.first).filter(|index| *index < span.count) {
            let start = start + u64::from(index) * span.size;
            return Some((start, start + span.size));
        }
        start += u64::from(span.count) * span.size;
    }
    None
}

/// The `partNumber` of a read.
pub(super) fn part_number(call: &Call<'_>) -> Result<Option<u16>> {
    let Some(text) = call.query.value("partNumber") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number @ 1..=MAX_PART_NUMBER) => Ok(Some(number)),
        _ => Err(S3Error::argument(
            "partNumber",
            text,
            format!("Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_mode_is_enabled_or_absent() {
        let wants = |mode| {
            let header = (HeaderName::from_static("x-amz-checksum-mode"), HeaderValue::from_static(mode));
            wants_checksums(&HeaderMap::from_iter([header])).map_err(|error| error.code)
        };
        assert_eq!((wants("ENABLED"), wants(" enabled ")), (Ok(true), Ok(true)));
        assert_eq!((wants("foo"), wants("")), (Err(ErrorCode::InvalidRequest), Err(ErrorCode::InvalidRequest)));
        assert_eq!(wants_checksums(&HeaderMap::new()).map_err(|error| error.code), Ok(false));
    }

    #[test]
    fn parts_are_located_by_their_numbers() {
        let span = |first, count, size| PartSpan { first, count, size };
        let spans = [span(1, 2, 5), span(4, 1, 3), span(9, 1, 0)];
        assert_eq!(locate(&spans, 1), Some((0, 5)));
        assert_eq!(locate(&spans, 2), Some((5, 10)));
        assert_eq!(locate(&spans, 3), None);
        assert_eq!(locate(&spans, 4), Some((10, 13)));
        assert_eq!(locate(&spans, 9), Some((13, 13)));
        assert_eq!(locate(&spans, 10), None);
    }
}
