//! Checksums in responses.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Checksums;
use crate::s3::xml::XmlWriter;

/// Sets the headers of an object's checksums, and what they cover.
pub fn write_headers(checksums: &Checksums, headers: &mut HeaderMap) {
    write_part_headers(checksums, headers);
    if !checksums.is_empty() {
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(checksums.kind().as_str()));
    }
}

/// Sets the headers of a part's checksums, which need no word on what they cover.
pub fn write_part_headers(checksums: &Checksums, headers: &mut HeaderMap) {
    for (algorithm, value) in checksums.values() {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(algorithm.header()), value);
        }
    }
}

/// Writes the elements of an object's checksums, and what they cover.
pub fn write_xml(checksums: &Checksums, xml: &mut XmlWriter) {
    write_part_xml(checksums, xml);
    if !checksums.is_empty() {
        xml.text("ChecksumType", checksums.kind().as_str());
    }
}

/// Writes the elements of a part's checksums.
pub fn write_part_xml(checksums: &Checksums, xml: &mut XmlWriter) {
    for (algorithm, value) in checksums.values() {
        xml.text(algorithm.element(), value);
    }
}
