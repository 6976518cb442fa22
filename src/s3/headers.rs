//! Headers that S3 keeps and gives back: content headers, user metadata, storage class.

use http::header::{AsHeaderName, HeaderMap, HeaderName, HeaderValue};

use super::checksum::Algorithm;
use super::encoded_word;
use super::error::{ErrorCode, Result, S3Error};
use super::request::Query;
use crate::store::schema::Attributes;

/// Most bytes of user metadata, names and values together. (AWS: "Working with object metadata".)
const MAX_METADATA_BYTES: usize = 2048;
/// Most bytes of a request's headers and query, names and values together. (AWS: "Error responses", RequestHeaderSectionTooLarge.)
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Longest redirect location, in bytes.
const MAX_REDIRECT_BYTES: usize = 2048;
/// What user metadata begins with.
const METADATA_PREFIX: &str = "x-amz-meta-";
/// The type of an object whose client named none.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
/// The storage class of an object whose client named none, which responses leave out.
pub const STANDARD_CLASS: &str = "STANDARD";

/// The headers that are kept as they come.
const KEPT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
];

/// The headers that a GET or HEAD may ask for other values of, by `response-` parameters. (API reference, GetObject.)
const OVERRIDABLE: &[&str] =
    &["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
/// What the names of these parameters begin with.
const OVERRIDE_PREFIX: &str = "response-";

/// The classes that are accepted and echoed; all are stored alike.
const STORAGE_CLASSES: &[&str] = &[
    STANDARD_CLASS,
    "DEEP_ARCHIVE",
    "GLACIER",
    "GLACIER_IR",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
];

/// Request headers whose meaning is not offered, and the values that change nothing. Ignoring another would promise what is not
/// kept, so it answers 501.
const NOT_OFFERED: &[(&str, &[&str])] = &[
    ("x-amz-object-lock-event-hold", &[]),
    ("x-amz-object-lock-event-hold-duration-days", &[]),
    ("x-amz-object-lock-event-hold-duration-years", &[]),
    ("x-amz-write-offset-bytes", &[]),
];

/// Refuses a request whose headers and query are more than S3 takes.
///
/// # Errors
/// `RequestHeaderSectionTooLarge`.
pub fn check_size(headers: &HeaderMap, query: &str) -> Result<()> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size + query.len() <= MAX_HEADER_BYTES {
        return Ok(());
    }
    Err(ErrorCode::RequestHeaderSectionTooLarge.with("MaxSizeAllowed", MAX_HEADER_BYTES.to_string()))
}

/// A header's value, if it is there, is text, and is not empty.
pub fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// Reads what a write says about its object.
///
/// # Errors
/// `MetadataTooLarge`, `InvalidStorageClass`; `NotImplemented` for headers that would promise what is not offered.
pub fn read_attributes(headers: &HeaderMap) -> Result<Attributes> {
    read(headers, |metadata| encoded_word::decode(&metadata))
}

/// The same, of a form's fields, in which there are no encoded words.
///
/// # Errors
/// As [`read_attributes`].
pub fn read_form_attributes(fields: &HeaderMap) -> Result<Attributes> {
    read(fields, |metadata| metadata)
}

fn read(headers: &HeaderMap, as_text: impl Fn(String) -> String) -> Result<Attributes> {
    refuse_not_offered(headers)?;
    let mut attributes = Attributes { storage_class: storage_class(headers)?, ..Attributes::default() };
    for &name in KEPT {
        let value = headers.get(name).map(|value| decoded(value.as_bytes()));
        let value = if name == "content-encoding" { value.map(|value| without_chunked(&value)) } else { value };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            attributes.headers.push((name.to_owned(), value));
        }
    }
    check_redirect(headers)?;
    if !attributes.headers.iter().any(|(name, _)| name == "content-type") {
        attributes.headers.push(("content-type".to_owned(), DEFAULT_CONTENT_TYPE.to_owned()));
    }
    let mut size = 0;
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(METADATA_PREFIX) else {
            continue;
        };
        // A repeated header is one value, its parts joined by commas. (RFC 9110, section 5.2)
        let values: Vec<String> = headers.get_all(name).iter().map(|value| decoded(value.as_bytes())).collect();
        let value = as_text(values.join(","));
        size += short.len() + value.len();
        attributes.metadata.push((short.to_owned(), value));
    }
    if size > MAX_METADATA_BYTES {
        return Err(ErrorCode::MetadataTooLarge
            .with("Size", size.to_string())
            .with("MaxSizeAllowed", MAX_METADATA_BYTES.to_string()));
    }
    Ok(attributes)
}

/// Judges where a website is to send visitors of the object. (S3 user guide, "Configuring a webpage redirect".)
fn check_redirect(headers: &HeaderMap) -> Result<()> {
    let Some(location) = text(headers, "x-amz-website-redirect-location") else { return Ok(()) };
    if location.len() > MAX_REDIRECT_BYTES {
        let message = "The length of website redirect location cannot exceed 2,048 characters.";
        return Err(S3Error::new(ErrorCode::InvalidRedirectLocation, message));
    }
    if ["/", "http://", "https://"].iter().any(|prefix| location.starts_with(prefix)) {
        return Ok(());
    }
    Err(ErrorCode::InvalidRedirectLocation.into())
}

/// Whether a request brings a digest of its body, in a header or behind the body. What only names an algorithm or a kind of
/// checksum is none.
pub fn has_digest(headers: &HeaderMap) -> bool {
    let is_checksum = |name: &str| Algorithm::from_header(name.trim()).is_some();
    let trailers = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
    headers.contains_key("content-md5")
        || headers.keys().any(|name| is_checksum(name.as_str()))
        || trailers.flat_map(|names| names.split(',')).any(is_checksum)
}

/// Refuses a request that brings no digest of its document, where one is wanted.
///
/// # Errors
/// `InvalidRequest`.
pub fn require_digest(headers: &HeaderMap) -> Result<()> {
    if has_digest(headers) {
        return Ok(());
    }
    let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    Err(S3Error::new(ErrorCode::InvalidRequest, message))
}

/// Refuses headers whose meaning is not offered, on any operation that writes.
///
/// # Errors
/// `NotImplemented`, naming the header.
pub fn refuse_not_offered(headers: &HeaderMap) -> Result<()> {
    let is_refused = |(name, harmless): &&(&str, &[&str])| {
        headers.get_all(*name).iter().any(|value| !harmless.iter().any(|harmless| value == harmless))
    };
    match NOT_OFFERED.iter().find(is_refused) {
        Some((name, _)) => Err(ErrorCode::NotImplemented.with("Header", *name)),
        None => Ok(()),
    }
}

/// Writes what is known of an object into a response's headers; `overrides` are a GET's `response-*` parameters.
pub fn write_attributes(attributes: &Attributes, overrides: &Query, headers: &mut HeaderMap) {
    let has_overrides = has_overrides(overrides);
    for (name, value) in &attributes.headers {
        if let Ok(name) = HeaderName::try_from(name.as_str()) {
            insert(headers, name, value);
        }
    }
    for &name in OVERRIDABLE.iter().filter(|_| has_overrides) {
        let asked = overrides.non_empty(&format!("{OVERRIDE_PREFIX}{name}")).and_then(latin1);
        if let Some(value) = asked.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    for (name, value) in &attributes.metadata {
        if let Ok(name) = HeaderName::try_from(format!("{METADATA_PREFIX}{name}")) {
            insert(headers, name, &encoded_word::encode(value));
        }
    }
    if attributes.storage_class != STANDARD_CLASS {
        insert(headers, HeaderName::from_static("x-amz-storage-class"), &attributes.storage_class);
    }
}

/// Whether the query overrides response headers, which only signed requests may.
pub fn has_overrides(query: &Query) -> bool {
    query.pairs().any(|(key, _)| overridden(key).is_some_and(|name| OVERRIDABLE.contains(&name)))
}

/// Judges what a GET or HEAD asks of the headers of its response.
///
/// # Errors
/// `InvalidArgument` for headers that there is no choice of, and for text that no header can hold.
pub fn check_overrides(query: &Query) -> Result<()> {
    for (key, value) in query.pairs() {
        let Some(name) = overridden(key) else { continue };
        if !OVERRIDABLE.contains(&name) {
            let message = format!(
                "{key} is not in the set of overridable response headers. Please refer to the S3 API documentation for a \
                 complete list of overridable response headers."
            );
            return Err(S3Error::argument(key, value, message));
        }
        let bytes = latin1(value)
            .ok_or_else(|| S3Error::argument(key, value, "Header value cannot be represented using ISO-8859-1."))?;
        if HeaderValue::from_bytes(&bytes).is_err() {
            return Err(S3Error::argument(key, value, "Header value cannot contain control characters."));
        }
    }
    Ok(())
}

/// The header that a parameter of this name would override.
fn overridden(key: &str) -> Option<&str> {
    key.strip_prefix(OVERRIDE_PREFIX)
}

/// Text in ISO 8859-1, if it has nothing but characters of that.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}

/// Sets a header to text; text that no header can hold is left out.
pub fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Sets `ETag`, in quotes.
pub fn insert_etag(headers: &mut HeaderMap, etag: &str) {
    insert(headers, http::header::ETAG, &["\"", etag, "\""].concat());
}

/// Whether objects here may be of this storage class.
pub(super) fn is_storage_class(name: &str) -> bool {
    STORAGE_CLASSES.contains(&name)
}

/// The storage class that a write asks for.
fn storage_class(headers: &HeaderMap) -> Result<String> {
    let class = text(headers, "x-amz-storage-class").unwrap_or(STANDARD_CLASS);
    if is_storage_class(class) {
        return Ok(class.to_owned());
    }
    Err(ErrorCode::InvalidStorageClass.with("StorageClassRequested", class))
}

/// Header bytes as text: UTF-8 where they are, else each byte a character (ISO 8859-1).
fn decoded(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// `Content-Encoding` without `aws-chunked`, which is the transfer's, not the object's.
fn without_chunked(value: &str) -> String {
    let kept: Vec<&str> = value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    kept.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn attributes_come_back_as_they_went_in() {
        let sent = headers(&[
            ("cache-control", "no-cache"),
            ("content-encoding", "aws-chunked,gzip"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-a", "2"),
            ("x-amz-meta-b", "é"),
            ("x-amz-storage-class", "STANDARD_IA"),
        ]);
        let attributes = read_attributes(&sent).unwrap();
        let mut back = HeaderMap::new();
        write_attributes(&attributes, &Query::parse("response-cache-control=private").unwrap(), &mut back);
        let value = |name: &str| back.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(value("cache-control"), Some("private"));
        assert_eq!(value("content-encoding"), Some("gzip"));
        assert_eq!(value("content-type"), Some("binary/octet-stream"));
        assert_eq!(value("x-amz-meta-a"), Some("1,2"));
        assert_eq!(value("x-amz-meta-b"), Some("=?UTF-8?Q?=C3=A9?="));
        assert_eq!(value("x-amz-storage-class"), Some("STANDARD_IA"));
    }

    #[test]
    fn encoded_words_are_read_in_headers_and_not_in_forms() {
        let sent = headers(&[("x-amz-meta-a", "=?UTF-8?B?w4Q=?= b"), ("x-amz-meta-b", "é")]);
        let values = |attributes: Result<Attributes>| {
            let mut metadata = attributes.unwrap().metadata;
            metadata.sort();
            metadata.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(values(read_attributes(&sent)), ["Ä b", "é"]);
        assert_eq!(values(read_form_attributes(&sent)), ["=?UTF-8?B?w4Q=?= b", "é"]);
    }

    #[test]
    fn a_type_that_says_nothing_is_none() {
        for sent in ["", " "] {
            let kept = read_attributes(&headers(&[("content-type", sent)])).unwrap().headers;
            assert_eq!(kept, [("content-type".to_owned(), "binary/octet-stream".to_owned())]);
        }
    }

    #[test]
    fn six_headers_are_overridden_with_what_headers_can_hold() {
        let query = |text: &str| Query::parse(text).unwrap();
        let refused =
            |text: &str| check_overrides(&query(text)).map_err(|error| (error.message.into_owned(), error.detail));
        let argument =
            |name: &str, value: &str| vec![("ArgumentName", name.to_owned()), ("ArgumentValue", value.to_owned())];
        for foreign in ["response-foo", "response-x-amz-website-redirect-location", "response-"] {
            let message = format!(
                "{foreign} is not in the set of overridable response headers. Please refer to the S3 API documentation for \
                 a complete list of overridable response headers."
            );
            assert_eq!(refused(&format!("{foreign}=/x")), Err((message, argument(foreign, "/x"))));
            assert!(!has_overrides(&query(&format!("{foreign}=/x"))), "{foreign}");
        }
        let message = "Header value cannot be represented using ISO-8859-1.".to_owned();
        let name = "response-cache-control";
        assert_eq!(refused(&format!("{name}=%E2%80%94")), Err((message, argument(name, "—"))));
        let message = "Header value cannot contain control characters.".to_owned();
        for (escaped, value) in [("a%0Ab", "a\nb"), ("a%0Db", "a\rb"), ("%00", "\0"), ("%7F", "\u{7f}")] {
            assert_eq!(refused(&format!("{name}={escaped}")), Err((message.clone(), argument(name, value))));
        }
        assert_eq!(refused("response-expires=a%09b"), Ok(()));
        assert_eq!(refused("versionId=x&responsefoo=y&response-expires=&response-content-type=%C3%A9"), Ok(()));

        let kept = Attributes {
            headers: vec![("x-amz-website-redirect-location".to_owned(), "/kept".to_owned())],
            storage_class: STANDARD_CLASS.to_owned(),
            ..Attributes::default()
        };
        let asked = "response-content-disposition=f%C3%A9&response-x-amz-website-redirect-location=/other";
        let mut back = HeaderMap::new();
        write_attributes(&kept, &query(asked), &mut back);
        assert_eq!(back["content-disposition"].as_bytes(), b"f\xe9");
        assert_eq!(back["x-amz-website-redirect-location"], "/kept");
    }

    #[test]
    fn a_digest_is_what_has_the_bytes_of_one() {
        for digest in [
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-trailer", "x-amz-meta-a, X-Amz-Checksum-SHA256"),
        ] {
            assert!(has_digest(&headers(&[digest])), "{digest:?}");
        }
        for none in [
            ("x-amz-checksum-algorithm", "CRC32"),
            ("x-amz-checksum-mode", "ENABLED"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
            ("x-amz-checksum-crc31", "AAAAAA=="),
            ("x-amz-trailer", "x-amz-meta-a"),
            ("x-amz-trailer", ""),
        ] {
            assert!(!has_digest(&headers(&[none])), "{none:?}");
        }
    }

    #[test]
    fn headers_and_query_are_bounded_together() {
        let size = |headers: usize, query: usize| {
            check_size(&self::headers(&[("a", &"x".repeat(headers))]), &"q".repeat(query)).map_err(|error| error.code)
        };
        assert_eq!(size(4095, 4096), Ok(()));
        assert_eq!(size(4095, 4097), Err(ErrorCode::RequestHeaderSectionTooLarge));
        assert_eq!(size(8192, 0), Err(ErrorCode::RequestHeaderSectionTooLarge));
    }

    #[test]
    fn what_is_not_kept_is_refused() {
        let code = |pairs: &[(&str, &str)]| read_attributes(&headers(pairs)).map(drop).map_err(|error| error.code);
        assert_eq!(code(&[("x-amz-meta-a", &"x".repeat(2047))]), Ok(()));
        assert_eq!(code(&[("x-amz-meta-a", &"x".repeat(2048))]), Err(ErrorCode::MetadataTooLarge));
        assert_eq!(code(&[("x-amz-storage-class", "COLD")]), Err(ErrorCode::InvalidStorageClass));
        for (name, harmless) in NOT_OFFERED {
            assert_eq!(code(&[(name, "1")]), Err(ErrorCode::NotImplemented), "{name}");
            assert!(harmless.iter().all(|value| code(&[(name, value)]) == Ok(())), "{name}");
        }
    }
}
