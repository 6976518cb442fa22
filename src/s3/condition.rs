//! Conditional requests and ranges (RFC 9110 sections 13 and 14), as S3 words their refusals.

use std::borrow::Cow;

use http::header::{
    AsHeaderName, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};

use super::error::{ErrorCode, Result, S3Error};
use super::headers::text;
use crate::clock::{Timestamp, from_millis, parse_http_date};

/// The conditions of one request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_field_names, reason = "they are the headers' names")]
pub struct Preconditions {
    if_match: Option<TagList>,
    if_none_match: Option<TagList>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
    if_modified_at: Option<Timestamp>,
    if_size: Option<u64>,
}

/// What a condition is judged against: an object that exists.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// Without quotes.
    pub etag: &'a str,
    /// Milliseconds since the Unix epoch.
    pub modified: i64,
    /// Bytes.
    pub size: u64,
}

/// What an object is judged for: whether "not modified" is an answer or a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// GET and HEAD: 304.
    Read,
    /// The source of a copy: 412, naming the header of the copy.
    CopySource,
}

impl Preconditions {
    /// The conditions on what a read names. A list that names nothing is none.
    pub fn of_request(headers: &HeaderMap) -> Self {
        let all = Self::of_names(headers);
        let named = |tags: &TagList| !tags.tags.is_empty();
        Self { if_match: all.if_match.filter(named), if_none_match: all.if_none_match.filter(named), ..all }
    }

    /// The conditions on the source of a copy.
    pub fn of_copy_source(headers: &HeaderMap) -> Self {
        let name = HeaderName::from_static;
        Self::read(
            headers,
            [
                name("x-amz-copy-source-if-match"),
                name("x-amz-copy-source-if-none-match"),
                name("x-amz-copy-source-if-modified-since"),
                name("x-amz-copy-source-if-unmodified-since"),
            ],
        )
    }

    /// The conditions that writes know: `If-Match` and `If-None-Match: *`.
    ///
    /// # Errors
    /// `NotImplemented` for both at once, for `If-None-Match` with anything but `*`, and for `If-Match` with it or with
    /// nothing, as AWS answers.
    pub fn of_write(headers: &HeaderMap) -> Result<Self> {
        let Self { if_match, if_none_match, .. } = Self::of_names(headers);
        let refused = |header: &str, why: &str| {
            Err(ErrorCode::NotImplemented.with("Header", header).with("additionalMessage", why))
        };
        if if_match.is_some() && if_none_match.is_some() {
            return refused("If-Match,If-None-Match", "Multiple conditional request headers present in the request");
        }
        if if_none_match.as_ref().is_some_and(|tags| !tags.any) {
            let why = "We don't accept the provided value of If-None-Match header for this API";
            return refused("If-None-Match", why);
        }
        if if_match.as_ref().is_some_and(|tags| tags.any || tags.tags.is_empty()) {
            return refused("If-Match", "We don't accept the provided value of If-Match header for this API");
        }
        Ok(Self { if_match, if_none_match, ..Self::default() })
    }

    /// The conditions that deletions know: `If-Match`, `x-amz-if-match-last-modified-time`, `x-amz-if-match-size`.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn of_delete(headers: &HeaderMap) -> Result<Self> {
        Self::of_deletion(
            given(headers, IF_MATCH).as_deref(),
            given(headers, "x-amz-if-match-last-modified-time").as_deref(),
            given(headers, "x-amz-if-match-size").as_deref(),
        )
    }

    /// The same, of an entity tag, a modification time and a size that a document gives.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn of_deletion(etag: Option<&str>, modified: Option<&str>, size: Option<&str>) -> Result<Self> {
        let no_time = |text| S3Error::argument("x-amz-if-match-last-modified-time", text, "Invalid date");
        let no_size = |text| S3Error::argument("x-amz-if-match-size", text, "Invalid size");
        let time = |text: &str| parse_http_date(text).or_else(|| text.parse().ok());
        Ok(Self {
            if_match: etag.map(TagList::parse),
            if_modified_at: modified.map(|text| time(text).ok_or_else(|| no_time(text))).transpose()?,
            if_size: size.map(|text| text.parse().map_err(|_| no_size(text))).transpose()?,
            ..Self::default()
        })
    }

    /// Whether a write is to replace one entity tag, and no other.
    pub fn is_if_match(&self) -> bool {
        self.if_match.is_some()
    }

    /// Judges them `now` against what exists: its entity tag (without quotes) and modification time in milliseconds.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the condition; `NotModified` for [`Purpose::Read`].
    pub fn judge(&self, etag: &str, modified: i64, purpose: Purpose, now: Timestamp) -> Result<()> {
        // Wire dates have whole seconds; comparing in seconds keeps "since" true for what they came from.
        let modified = from_millis(modified).as_second();
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.matches(etag) => return Err(purpose.failed("If-Match")),
            (None, Some(since)) if modified > since.as_second() => return Err(purpose.failed("If-Unmodified-Since")),
            _ => {}
        }
        let unmodified = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.matches(etag) => Some("If-None-Match"),
            // A time that has not come yet is none that anybody can have seen the object at.
            (None, Some(since)) if since <= now && modified <= since.as_second() => Some("If-Modified-Since"),
            _ => None,
        };
        match (unmodified, purpose) {
            (None, _) => Ok(()),
            (Some(_), Purpose::Read) => Err(ErrorCode::NotModified.into()),
            (Some(condition), Purpose::CopySource) => Err(purpose.failed(condition)),
        }
    }

    /// Judges a write to a key that may not exist yet, or a deletion.
    ///
    /// # Errors
    /// `PreconditionFailed`; `NoSuchKey` for an entity tag of what does not exist, as AWS answers. A size or a time of that is
    /// passed over. (API reference, DeleteObject: "or if the object doesn't exist, the operation returns a 204".)
    pub fn judge_write(&self, present: Option<Present<'_>>, key: &str) -> Result<()> {
        let Some(present) = present else {
            return if self.if_match.is_some() { Err(ErrorCode::NoSuchKey.with("Key", key)) } else { Ok(()) };
        };
        let modified = from_millis(present.modified).as_second();
        if self.if_match.as_ref().is_some_and(|tags| !tags.matches(present.etag)) {
            return Err(failed("If-Match"));
        }
        if self.if_none_match.is_some() {
            return Err(failed("If-None-Match"));
        }
        if self.if_modified_at.is_some_and(|at| at.as_second() != modified) {
            return Err(failed("x-amz-if-match-last-modified-time"));
        }
        if self.if_size.is_some_and(|size| size != present.size) {
            return Err(failed("x-amz-if-match-size"));
        }
        Ok(())
    }

    /// Whether what is there is held against an entity tag: whether it matches tells of its bytes.
    pub fn name_a_tag(&self) -> bool {
        self.if_match.as_ref().is_some_and(|tags| !tags.any && !tags.tags.is_empty())
    }

    /// Whether there are none, so that nobody need know the entity tag.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn of_names(headers: &HeaderMap) -> Self {
        Self::read(headers, [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE])
    }

    fn read(headers: &HeaderMap, [matches, none_match, modified, unmodified]: [HeaderName; 4]) -> Self {
        let date = |name| text(headers, name).and_then(parse_http_date);
        Self {
            if_match: given(headers, matches).map(|list| TagList::parse(&list)),
            if_none_match: given(headers, none_match).map(|list| TagList::parse(&list)),
            if_modified_since: date(modified),
            if_unmodified_since: date(unmodified),
            ..Self::default()
        }
    }
}

/// A list of entity tags. Clients leave the quotes out now and then; AWS takes them all the same.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct TagList {
    any: bool,
    tags: Vec<String>,
}

impl TagList {
    fn parse(list: &str) -> Self {
        let tags: Vec<String> = list
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned())
            .filter(|tag| !tag.is_empty())
            .collect();
        Self { any: tags.iter().any(|tag| tag == "*"), tags }
    }

    fn matches(&self, etag: &str) -> bool {
        self.any || self.tags.iter().any(|tag| tag == etag)
    }
}

impl Purpose {
    /// `PreconditionFailed`, naming the header that held the condition.
    fn failed(self, condition: &str) -> S3Error {
        let prefix = match self {
            Self::Read => "",
            Self::CopySource => "x-amz-copy-source-",
        };
        ErrorCode::PreconditionFailed.with("Condition", format!("{prefix}{condition}"))
    }
}

/// A condition as it was sent. What cannot be read is a condition all the same, and one that nothing meets.
fn given(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes().trim_ascii()))
}

fn failed(condition: &'static str) -> S3Error {
    ErrorCode::PreconditionFailed.with("Condition", condition)
}

impl Present<'_> {
    /// Whether a range is of this very version: `If-Range` names it by its entity tag or, exactly, by its time, or is not there.
    fn is_of_range(&self, headers: &HeaderMap) -> bool {
        let Some(validator) = given(headers, IF_RANGE) else { return true };
        match parse_http_date(&validator) {
            Some(date) => date.as_second() == from_millis(self.modified).as_second(),
            None => validator.trim_matches('"') == self.etag,
        }
    }
}

/// A number of bytes; one that is more than any object has is as good as the largest.
fn position(text: &str) -> Option<u64> {
    let digits = text.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Bytes `start..end` of an object; `start < end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The range that a `Range` header asks of what is there. `None` for no header, one that is not a single byte range, or
    /// one that is of another version by `If-Range`: the whole object is then the answer.
    ///
    /// # Errors
    /// `InvalidRange` if no byte of the object is in it.
    pub fn of_request(headers: &HeaderMap, present: Present<'_>) -> Result<Option<Self>> {
        let size = present.size;
        let Some(asked) = text(headers, RANGE).filter(|_| present.is_of_range(headers)) else {
            return Ok(None);
        };
        let Some(spec) = asked.strip_prefix("bytes=") else {
            return Ok(None);
        };
        let Some((first, last)) = spec.trim().split_once('-') else {
            return Ok(None);
        };
        let range = match (position(first), position(last)) {
            (Some(first), Some(last)) if first <= last => Self { start: first, end: last.saturating_add(1).min(size) },
            (Some(first), None) if last.trim().is_empty() => Self { start: first, end: size },
            (None, Some(suffix)) if first.trim().is_empty() => Self { start: size.saturating_sub(suffix), end: size },
            _ => return Ok(None),
        };
        if range.start < range.end {
            return Ok(Some(range));
        }
        Err(ErrorCode::InvalidRange.with("RangeRequested", asked).with("ActualObjectSize", size.to_string()))
    }

    /// How many bytes.
    pub fn length(self) -> u64 {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn range(text: &str, size: u64) -> Result<Option<(u64, u64)>> {
        let present = Present { etag: "abc", modified: 1_000, size };
        Ok(ByteRange::of_request(&headers(&[("range", text)]), present)?.map(|r| (r.start, r.end)))
    }

    #[test]
    fn ranges() {
        assert_eq!(range("bytes=0-0", 10).unwrap(), Some((0, 1)));
        assert_eq!(range("bytes=2-", 10).unwrap(), Some((2, 10)));
        assert_eq!(range("bytes=-3", 10).unwrap(), Some((7, 10)));
        assert_eq!(range("bytes=-30", 10).unwrap(), Some((0, 10)));
        assert_eq!(range("bytes=5-99999999999999999999", 10).unwrap(), Some((5, 10)));
        assert_eq!(range("bytes=-99999999999999999999", 10).unwrap(), Some((0, 10)));
        assert_eq!(range("bytes=+5-6", 10).unwrap(), None);
        assert_eq!(range("bytes=5-99", 10).unwrap(), Some((5, 10)));
        assert_eq!(range("bytes=0-1,3-4", 10).unwrap(), None);
        assert_eq!(range("lines=1-2", 10).unwrap(), None);
        assert_eq!(range("bytes=3-2", 10).unwrap(), None);
        for unsatisfiable in ["bytes=10-", "bytes=-0", "bytes=11-12", "bytes=99999999999999999999-"] {
            assert_eq!(range(unsatisfiable, 10).unwrap_err().code, ErrorCode::InvalidRange);
        }
        assert_eq!(range("bytes=0-", 0).unwrap_err().code, ErrorCode::InvalidRange);
    }

    #[test]
    fn a_range_may_be_of_one_version() {
        let range = |validator: &str| {
            let present = Present { etag: "abc", modified: 1_138_985_109_500, size: 10 };
            ByteRange::of_request(&headers(&[("range", "bytes=0-0"), ("if-range", validator)]), present).unwrap()
        };
        let first = Some(ByteRange { start: 0, end: 1 });
        for same in ["\"abc\"", "abc", "Fri, 03 Feb 2006 16:45:09 GMT"] {
            assert_eq!(range(same), first, "{same}");
        }
        let others =
            ["\"abd\"", "W/\"abc\"", "*", "", "Fri, 03 Feb 2006 16:45:08 GMT", "Fri, 03 Feb 2006 16:45:10 GMT"];
        for other in others {
            assert_eq!(range(other), None, "{other}");
        }
    }

    #[test]
    fn conditions_that_cannot_be_read_hold_all_the_same() {
        let unreadable = |name: &'static str, value: &[u8]| {
            HeaderMap::from_iter([(HeaderName::from_static(name), http::HeaderValue::from_bytes(value).unwrap())])
        };
        let present = Present { etag: "abc", modified: 1_000, size: 3 };
        let code = |conditions: Result<Preconditions>| {
            conditions.and_then(|conditions| conditions.judge_write(Some(present), "k")).map_err(|error| error.code)
        };
        let not_implemented = Err(ErrorCode::NotImplemented);
        for value in [&b"*\xe9"[..], b"\xff", b"", b" "] {
            assert_eq!(code(Preconditions::of_write(&unreadable("if-none-match", value))), not_implemented);
        }
        assert_eq!(code(Preconditions::of_write(&unreadable("if-match", b""))), not_implemented);
        let failed = Err(ErrorCode::PreconditionFailed);
        assert_eq!(code(Preconditions::of_write(&unreadable("if-match", b"abc\xe9"))), failed);
        for value in [&b"abc\xe9"[..], b""] {
            assert_eq!(code(Preconditions::of_delete(&unreadable("if-match", value))), failed);
            for name in ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"] {
                assert_eq!(code(Preconditions::of_delete(&unreadable(name, value))), Err(ErrorCode::InvalidArgument));
            }
        }
        let source = Preconditions::of_copy_source(&unreadable("x-amz-copy-source-if-match", b"abc\xe9"));
        let judged = source.judge("abc", 1_000, Purpose::CopySource, from_millis(2_000));
        assert_eq!(judged.map_err(|error| error.code), failed);
        // Of a read, an empty list asks for nothing.
        assert!(Preconditions::of_request(&unreadable("if-match", b"")).is_empty());
    }

    #[test]
    fn conditions_follow_the_rfc() {
        const AT: i64 = 1_138_985_109_500;
        let judge = |pairs: &[(&'static str, &str)], purpose| {
            let now = from_millis(AT + 60_000);
            Preconditions::of_request(&headers(pairs)).judge("abc", AT, purpose, now).map_err(|error| error.code)
        };
        let same = "Fri, 03 Feb 2006 16:45:09 GMT";
        let earlier = "Fri, 03 Feb 2006 16:45:08 GMT";
        assert_eq!(judge(&[("if-match", "\"abc\"")], Purpose::Read), Ok(()));
        assert_eq!(judge(&[("if-match", "abc")], Purpose::Read), Ok(()));
        assert_eq!(judge(&[("if-match", "*")], Purpose::Read), Ok(()));
        assert_eq!(judge(&[("if-match", "\"x\", \"y\"")], Purpose::Read), Err(ErrorCode::PreconditionFailed));
        assert_eq!(judge(&[("if-none-match", "\"x\", \"abc\"")], Purpose::Read), Err(ErrorCode::NotModified));
        assert_eq!(judge(&[("if-none-match", "\"abc\"")], Purpose::CopySource), Err(ErrorCode::PreconditionFailed));
        assert_eq!(judge(&[("if-modified-since", same)], Purpose::Read), Err(ErrorCode::NotModified));
        assert_eq!(judge(&[("if-modified-since", earlier)], Purpose::Read), Ok(()));
        let future = "Fri, 03 Feb 2006 17:45:09 GMT";
        assert_eq!(judge(&[("if-modified-since", future)], Purpose::Read), Ok(()));
        assert_eq!(judge(&[("if-modified-since", future)], Purpose::CopySource), Ok(()));
        assert_eq!(judge(&[("if-unmodified-since", same)], Purpose::Read), Ok(()));
        assert_eq!(judge(&[("if-unmodified-since", earlier)], Purpose::Read), Err(ErrorCode::PreconditionFailed));
        // If-Match overrides If-Unmodified-Since, If-None-Match overrides If-Modified-Since.
        assert_eq!(judge(&[("if-match", "abc"), ("if-unmodified-since", earlier)], Purpose::Read), Ok(()));
        assert_eq!(judge(&[("if-none-match", "x"), ("if-modified-since", same)], Purpose::Read), Ok(()));
    }

    #[test]
    fn conditions_of_writes() {
        let judge = |pairs: &[(&'static str, &str)], present: Option<&str>| {
            let conditions = Preconditions::of_write(&headers(pairs)).unwrap();
            let present = present.map(|etag| Present { etag, modified: 1_000, size: 3 });
            conditions.judge_write(present, "k").map_err(|error| error.code)
        };
        assert_eq!(judge(&[("if-none-match", "*")], None), Ok(()));
        assert_eq!(judge(&[("if-none-match", "*")], Some("abc")), Err(ErrorCode::PreconditionFailed));
        assert_eq!(judge(&[("if-match", "abc")], Some("abc")), Ok(()));
        assert_eq!(judge(&[("if-match", "abd")], Some("abc")), Err(ErrorCode::PreconditionFailed));
        assert_eq!(judge(&[("if-match", "abc")], None), Err(ErrorCode::NoSuchKey));
        for refused in
            [&[("if-none-match", "abc")][..], &[("if-match", "*")], &[("if-match", "abc"), ("if-none-match", "*")]]
        {
            assert_eq!(Preconditions::of_write(&headers(refused)).unwrap_err().code, ErrorCode::NotImplemented);
        }
    }

    #[test]
    fn conditions_of_deletions() {
        let judge = |pairs: &[(&'static str, &str)], exists: bool| {
            let conditions = Preconditions::of_delete(&headers(pairs))?;
            conditions.judge_write(exists.then_some(Present { etag: "abc", modified: 1_500, size: 3 }), "k")
        };
        let code = |pairs: &[(&'static str, &str)], exists| judge(pairs, exists).map_err(|error| error.code);
        let (time, size) = ("x-amz-if-match-last-modified-time", "x-amz-if-match-size");
        let names = |tag| Preconditions::of_delete(&headers(&[("if-match", tag)])).unwrap().name_a_tag();
        assert_eq!([names("\"abc\""), names("abc"), names("*"), names("")], [true, true, false, false]);
        assert!(!Preconditions::of_delete(&headers(&[(size, "3")])).unwrap().name_a_tag());
        assert_eq!(code(&[], false), Ok(()));
        assert_eq!(code(&[("if-match", "*")], true), Ok(()));
        assert_eq!(code(&[("if-match", "*")], false), Err(ErrorCode::NoSuchKey));
        assert_eq!(code(&[(time, "Thu, 01 Jan 1970 00:00:01 GMT"), (size, "3")], true), Ok(()));
        assert_eq!(code(&[(time, "1970-01-01T00:00:01Z")], true), Ok(()));
        assert_eq!(code(&[(time, "Thu, 01 Jan 1970 00:00:02 GMT")], true), Err(ErrorCode::PreconditionFailed));
        assert_eq!(code(&[(size, "4")], true), Err(ErrorCode::PreconditionFailed));
        assert_eq!(code(&[(time, "Thu, 01 Jan 1970 00:00:01 GMT"), (size, "3")], false), Ok(()));
        assert_eq!(code(&[("if-match", "abc"), (size, "3")], false), Err(ErrorCode::NoSuchKey));
        assert_eq!(code(&[(size, "x")], true), Err(ErrorCode::InvalidArgument));
        assert_eq!(code(&[(time, "x")], true), Err(ErrorCode::InvalidArgument));
    }
}
