//! The canonical request (AWS: "Create a canonical request") and the string to sign.
//!
//! Percent-encoding is undone and redone, so that `%7E` and `~` are the same; in queries `+` is a space, as S3 reads it.

use http::HeaderValue;
use http::header::HOST;

use super::{ALGORITHM, AmzDate, Error, Head, PathRule, Scope, TERMINATOR};
use crate::crypto::digest;

/// Where the path of a canonical request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathForm {
    /// Encoded by the service's rule.
    Encoded(PathRule),
    /// As it is on the wire, for clients that sign reserved characters without encoding them.
    Raw,
}

/// The canonical request. `signed_headers` is the list as the client gives it; `payload_hash` stands for the body.
pub(super) fn request(
    head: &Head<'_>,
    path: PathForm,
    signed_headers: &str,
    payload_hash: &str,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b'\n');
    match path {
        PathForm::Raw => out.extend_from_slice(head.path.as_bytes()),
        PathForm::Encoded(rule) => append_path(&mut out, head.path, rule),
    }
    out.push(b'\n');
    append_query(&mut out, head.query);
    out.push(b'\n');
    for name in signed_headers.split(';') {
        append_header(&mut out, head, name)?;
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
    Ok(out)
}

/// The string whose HMAC is the signature.
pub(super) fn string_to_sign(date: &AmzDate, scope: &Scope, canonical_request: &[u8]) -> String {
    let Scope { date: day, region, service } = scope;
    let hash = digest::hex(&digest::sha256(canonical_request));
    let scope = [day, "/", region, "/", service, "/", TERMINATOR].concat();
    [ALGORITHM, date.as_str(), &scope, &hash].join("\n")
}

/// Whether the path has characters that its canonical form encodes and the wire form does not.
pub(super) fn has_unencoded_reserved(path: &str) -> bool {
    path.bytes().any(|byte| !is_unreserved(byte) && byte != b'/' && byte != b'%')
}

/// Percent-encodes everything but RFC 3986's unreserved characters and, if `keep_slash`, the slash.
pub(super) fn append_encoded(out: &mut Vec<u8>, bytes: impl IntoIterator<Item = u8>, keep_slash: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if is_unreserved(byte) || (keep_slash && byte == b'/') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// Undoes percent-encoding; what is no valid escape stands for itself. `plus` is what a `+` stands for.
pub(super) fn decoded(text: &str, plus: u8) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        Some(escaped.unwrap_or(if first == b'+' { plus } else { first }))
    })
}

fn append_path(out: &mut Vec<u8>, path: &str, rule: PathRule) {
    match rule {
        PathRule::AsSent if path.is_empty() => out.push(b'/'),
        PathRule::AsSent => append_encoded(out, decoded(path, b'+'), true),
        PathRule::NormalisedTwice => {
            let mut segments = Vec::new();
            for segment in path.split('/') {
                match segment {
                    "" | "." => {}
                    ".." => {
                        segments.pop();
                    }
                    segment => segments.push(segment),
                }
            }
            for segment in &segments {
                out.push(b'/');
                append_encoded(out, segment.bytes(), false);
            }
            let open_end = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
            if segments.is_empty() || open_end {
                out.push(b'/');
            }
        }
    }
}

fn append_query(out: &mut Vec<u8>, query: &str) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| *key != "X-Amz-Signature")
        .map(|(key, value)| (encoded_query(key), encoded_query(value)))
        .collect();
    pairs.sort_unstable();
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn encoded_query(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    append_encoded(&mut out, decoded(text, b' '), false);
    out
}

/// `name:value\n`: repeated values joined by commas, white space at their ends dropped and within them reduced to one
/// space. A header that is named but not there has an empty value.
fn append_header(out: &mut Vec<u8>, head: &Head<'_>, name: &str) -> Result<(), Error> {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if name.eq_ignore_ascii_case(HOST.as_str()) {
        append_trimmed(out, head.host()?.unwrap_or_default());
    } else {
        for (index, value) in head.headers.get_all(name).iter().map(HeaderValue::as_bytes).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            append_trimmed(out, value);
        }
    }
    out.push(b'\n');
    Ok(())
}

fn append_trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::*;

    fn path(path: &str, rule: PathRule) -> String {
        let mut out = Vec::new();
        append_path(&mut out, path, rule);
        String::from_utf8(out).unwrap()
    }

    fn query(query: &str) -> String {
        let mut out = Vec::new();
        append_query(&mut out, query);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn s3_paths_are_encoded_once_and_left_in_peace() {
        let s3 = |text| path(text, PathRule::AsSent);
        assert_eq!(s3("/b/a//../c"), "/b/a//../c");
        assert_eq!(s3("/b/a%20b%2fc%7e"), "/b/a%20b/c~");
        assert_eq!(s3("/b/env:/x+y"), "/b/env%3A/x%2By");
        assert_eq!(s3("/b/%zz%"), "/b/%25zz%25");
        assert_eq!(s3(""), "/");
    }

    #[test]
    fn other_paths_are_normalised_and_encoded_twice() {
        let other = |text| path(text, PathRule::NormalisedTwice);
        assert_eq!(other("/a/./b/../../c/"), "/c/");
        assert_eq!(other("/a%20b"), "/a%2520b");
        assert_eq!(other("//"), "/");
    }

    #[test]
    fn queries_are_sorted_by_their_encoded_form() {
        assert_eq!(query("uploads"), "uploads=");
        assert_eq!(query("b=2&a=2&a=1&a-=3&&A"), "A=&a=1&a=2&a-=3&b=2");
        assert_eq!(query("prefix=a+b%2Bc/d&x=1=2"), "prefix=a%20b%2Bc%2Fd&x=1%3D2");
        assert_eq!(query("X-Amz-Signature=00&X-Amz-Date=1"), "X-Amz-Date=1");
    }

    #[test]
    fn header_values_are_trimmed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", HeaderValue::from_static("  one \t two  "));
        headers.append("x-amz-meta-a", HeaderValue::from_static("three"));
        let head = Head { method: &Method::GET, path: "/", query: "", headers: &headers, authority: Some("h") };
        let mut out = Vec::new();
        for name in ["host", "x-amz-meta-a", "absent"] {
            append_header(&mut out, &head, name).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "host:h\nx-amz-meta-a:one two,three\nabsent:\n");
    }

    #[test]
    fn edge_case_6_values_that_are_not_utf8_are_signed_as_bytes() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-a", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let head = Head { method: &Method::GET, path: "/", query: "", headers: &headers, authority: Some("h") };
        let canonical = request(&head, PathForm::Raw, "host;x-amz-meta-a", "p").unwrap();
        assert!(canonical.windows(5).any(|window| window == b"caf\xe9\n"));
        let unsigned = request(&head, PathForm::Raw, "host", "p").unwrap();
        assert!(unsigned.is_ascii());
    }

    proptest! {
        #[test]
        fn canonical_queries_are_fixed_points(text in "[ -~]{0,60}") {
            let once = query(&text);
            prop_assert_eq!(query(&once), once);
        }

        #[test]
        fn canonical_s3_paths_are_fixed_points(text in "/[ -~]{0,60}") {
            let once = path(&text, PathRule::AsSent);
            prop_assert_eq!(path(&once, PathRule::AsSent), once);
        }
    }
}
