//! What the query of a presigned request says in the place of headers: whoever presigns may move `x-amz-` headers, and the
//! conditions by entity tag, into the URL, so that its user need not know of them. (AWS: "Authenticating Requests: Using Query
//! Parameters"; the conditions as recorded on AWS, `test_pre_signed_url_if_none_match`.)

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::checksum::Algorithm;
use super::error::{Result, S3Error};
use super::request::Query;

/// What such parameters begin with, in any case.
const PREFIX: &str = "x-amz-";

/// The conditions that a query can make.
const CONDITIONS: &[&str] = &["if-match", "if-none-match"];

/// Parameters that are the signature's own.
const OF_THE_SIGNATURE: &[&str] = &[
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// What tells of the body, which whoever presigns does not know: SDKs sign the checksum of nothing.
const OF_THE_BODY: &[&str] = &["x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm", "x-amz-trailer"];

/// The headers with what the query adds to them; `None` if it adds nothing. A header that came is not changed.
///
/// # Errors
/// `InvalidArgument` for what no header can hold.
pub fn with_parameters(headers: &HeaderMap, query: &Query) -> Result<Option<HeaderMap>> {
    if !query.has("X-Amz-Signature") {
        return Ok(None);
    }
    let mut extended: Option<HeaderMap> = None;
    for (name, value) in query.pairs() {
        let name = name.to_ascii_lowercase();
        if !stands_for_header(&name) || headers.contains_key(&name) {
            continue;
        }
        let refused = || S3Error::argument(&name, value, "The value cannot be that of a header.");
        let header = HeaderName::try_from(&name).map_err(|_| refused())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?;
        extended.get_or_insert_with(|| headers.clone()).append(header, value);
    }
    Ok(extended)
}

/// Whether the parameter called `name`, in lower case, is a header in another place.
fn stands_for_header(name: &str) -> bool {
    let is_of_amz = name.starts_with(PREFIX)
        && !OF_THE_SIGNATURE.contains(&name)
        && !OF_THE_BODY.contains(&name)
        && Algorithm::from_header(name).is_none();
    is_of_amz || CONDITIONS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(headers: &[(&'static str, &'static str)], query: &str) -> Result<Vec<(String, String)>, String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let query = Query::parse(query).unwrap();
        let extended = with_parameters(&headers, &query).map_err(|error| error.message.into_owned())?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(extended.unwrap_or_default().iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    #[test]
    fn parameters_of_presigned_requests_are_headers() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let signed = |query: &str| format!("X-Amz-Signature=00&{query}");
        assert_eq!(
            added(&[], &signed("x-amz-acl=private&X-Amz-Meta-A=%C3%A9&x-amz-meta-a=2")),
            pairs(&[("x-amz-acl", "private"), ("x-amz-meta-a", "é"), ("x-amz-meta-a", "2")])
        );
        assert_eq!(added(&[], "x-amz-acl=private"), pairs(&[]));
        assert_eq!(added(&[("x-amz-acl", "public-read")], &signed("x-amz-acl=private")), pairs(&[]));
        assert_eq!(
            added(&[], &signed("If-None-Match=%2A&if-match=%22e%22")),
            pairs(&[("if-none-match", "*"), ("if-match", "\"e\"")])
        );
        assert_eq!(added(&[], "If-None-Match=*"), pairs(&[]));
        assert_eq!(added(&[("if-match", "a")], &signed("If-Match=b")), pairs(&[]));
        // Encryption that was asked for is never left out.
        for name in [
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-server-side-encryption-customer-key",
            "x-amz-copy-source-server-side-encryption-customer-algorithm",
        ] {
            assert_eq!(added(&[], &signed(&format!("{name}=v"))), pairs(&[(name, "v")]));
        }
        assert_eq!(added(&[], &signed("x-amz-checksum-mode=ENABLED")), pairs(&[("x-amz-checksum-mode", "ENABLED")]));
        assert_eq!(added(&[], &signed("x-amz-acl=a%0Ab")), Err("The value cannot be that of a header.".to_owned()));
    }

    #[test]
    fn what_only_headers_can_say_is_passed_over() {
        for query in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=1&X-Amz-SignedHeaders=host&\
             X-Amz-Security-Token=t&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD",
            "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32",
            "x-amz-trailer=x-amz-checksum-crc32&x-amz-decoded-content-length=1",
            "versionId=x&response-content-type=y&amz-acl=z",
        ] {
            assert_eq!(added(&[], &format!("X-Amz-Signature=00&{query}")), Ok(Vec::new()), "{query}");
        }
    }
}
