//! What requests say about checksums in their headers, with AWS's answers to what makes no sense.

use http::{HeaderMap, HeaderValue};

use super::{Algorithm, Checksum, Checksums, Kind};
use crate::s3::error::{ErrorCode, Result, S3Error};

const ALGORITHM: &str = "x-amz-checksum-algorithm";
const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";
const TRAILER: &str = "x-amz-trailer";
const TYPE: &str = "x-amz-checksum-type";

/// The checksum of the body that stands in a header.
///
/// # Errors
/// `InvalidRequest` for a malformed value, an unknown algorithm, or more than one checksum.
pub fn declared(headers: &HeaderMap) -> Result<Option<Checksum>> {
    let declared = single(headers)?
        .map(|(algorithm, text)| Checksum::parse(algorithm, text).ok_or_else(|| invalid_value(algorithm.header())));
    let declared = declared.transpose()?;
    if let (Some(named), Some(checksum)) = (sdk_algorithm(headers)?, declared)
        && named != checksum.algorithm()
    {
        return Err(invalid_value(SDK_ALGORITHM));
    }
    Ok(declared)
}

/// The checksum of a whole object that stands in a header of `CompleteMultipartUpload`: perhaps a composite.
///
/// # Errors
/// As [`declared`]; `InvalidRequest` if `x-amz-checksum-type` says another kind than the value.
pub fn declared_of_object(headers: &HeaderMap) -> Result<Option<Checksums>> {
    let Some((algorithm, text)) = single(headers)? else {
        return Ok(None);
    };
    let declared = Checksums::parse(algorithm, text).ok_or_else(|| invalid_value(algorithm.header()))?;
    match kind(headers)? {
        Some(Kind::FullObject) if declared.kind() == Kind::Composite => Err(invalid_value(algorithm.header())),
        _ => Ok(Some(declared)),
    }
}

/// The algorithm whose checksum follows the body as a trailer.
///
/// # Errors
/// `InvalidRequest` for a trailer that is not supported, for more than one checksum, or if
/// `x-amz-sdk-checksum-algorithm` names an algorithm for which neither header nor trailer is there.
pub fn announced(headers: &HeaderMap) -> Result<Option<Algorithm>> {
    let mut announced = None;
    let lists = headers.get_all(TRAILER).iter().map(|value| text(value).unwrap_or("?"));
    for name in lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        let algorithm = Algorithm::from_header(name).ok_or_else(|| {
            S3Error::new(ErrorCode::InvalidRequest, "The value specified in the x-amz-trailer header is not supported")
        })?;
        if announced.replace(algorithm).is_some() {
            return Err(more_than_one());
        }
    }
    let in_header = single(headers)?.map(|(algorithm, _)| algorithm);
    if announced.is_some() && in_header.is_some() {
        return Err(more_than_one());
    }
    match (sdk_algorithm(headers)?, announced.or(in_header)) {
        (Some(_), None) => Err(S3Error::new(
            ErrorCode::InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
             were found.",
        )),
        (Some(named), Some(found)) if named != found => Err(invalid_value(SDK_ALGORITHM)),
        _ => Ok(announced),
    }
}

/// The algorithm that the server is asked to compute with, as in `CopyObject`: `x-amz-checksum-algorithm`.
///
/// # Errors
/// `InvalidRequest` for an unknown algorithm.
pub fn requested(headers: &HeaderMap) -> Result<Option<Algorithm>> {
    non_empty(headers, ALGORITHM).map(|name| Algorithm::from_name(name).ok_or_else(unsupported)).transpose()
}

/// The algorithm and kind of a multipart upload: `x-amz-checksum-algorithm` and `x-amz-checksum-type`.
///
/// # Errors
/// `InvalidRequest` for an unknown algorithm or type, a type without an algorithm, or two that do not go together.
pub fn requested_of_upload(headers: &HeaderMap) -> Result<Option<(Algorithm, Kind)>> {
    match (requested(headers)?, kind(headers)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(S3Error::new(
            ErrorCode::InvalidRequest,
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(algorithm), None) => Ok(Some((algorithm, algorithm.default_kind()))),
        (Some(algorithm), Some(kind)) if algorithm.allows(kind) => Ok(Some((algorithm, kind))),
        (Some(algorithm), Some(kind)) => Err(S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind.as_str(),
                algorithm.name().to_ascii_lowercase()
            ),
        )),
    }
}

/// The one `x-amz-checksum-*` header that carries a value. An algorithm that there is not is refused before a second one.
fn single(headers: &HeaderMap) -> Result<Option<(Algorithm, &str)>> {
    let mut single = None;
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-checksum-") || matches!(name, ALGORITHM | TYPE | "x-amz-checksum-mode") {
            continue;
        }
        let algorithm = Algorithm::from_header(name).ok_or_else(|| {
            let message = "The algorithm type you specified in x-amz-checksum- header is invalid.";
            S3Error::new(ErrorCode::InvalidRequest, message)
        })?;
        single = match single {
            None => Some(Ok((algorithm, value))),
            Some(_) => Some(Err(more_than_one())),
        };
    }
    let Some((algorithm, value)) = single.transpose()? else { return Ok(None) };
    Ok(Some((algorithm, text(value).ok_or_else(|| invalid_value(algorithm.header()))?)))
}

fn sdk_algorithm(headers: &HeaderMap) -> Result<Option<Algorithm>> {
    non_empty(headers, SDK_ALGORITHM)
        .map(|name| Algorithm::from_name(name).ok_or_else(|| invalid_value(SDK_ALGORITHM)))
        .transpose()
}

/// What the checksum of a multipart upload is to cover: `x-amz-checksum-type`.
///
/// # Errors
/// `InvalidRequest` for an unknown type.
pub fn kind(headers: &HeaderMap) -> Result<Option<Kind>> {
    non_empty(headers, TYPE).map(|name| Kind::from_name(name).ok_or_else(|| invalid_value(TYPE))).transpose()
}

fn non_empty<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(text(value).unwrap_or("?")).filter(|text| !text.is_empty())
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

fn invalid_value(header: &str) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, format!("Value for {header} header is invalid."))
}

fn more_than_one() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidRequest,
        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )
}

fn unsupported() -> S3Error {
    let names = Algorithm::ALL.map(Algorithm::name);
    S3Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{}]",
            names.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        error.message.into_owned()
    }

    #[test]
    fn a_checksum_is_read_from_its_header() {
        let headers = map(&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", "CRC32")]);
        assert_eq!(declared(&headers).unwrap(), Some(Checksum::of(Algorithm::Crc32, b"123456789")));
        assert_eq!(announced(&headers).unwrap(), None);
        assert_eq!(declared(&map(&[("x-amz-checksum-mode", "ENABLED")])).unwrap(), None);
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for bad in ["y/Q5Jg", "", "rosUhgp5mIg=", "y/Q5Jg==-1"] {
            let headers = map(&[("x-amz-checksum-crc32", bad)]);
            assert_eq!(message(declared(&headers)), "Value for x-amz-checksum-crc32 header is invalid.");
        }
        let two = map(&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-sha1", "")]);
        assert!(message(declared(&two)).starts_with("Expecting a single x-amz-checksum- header."));
        let unknown = map(&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-md4", "")]);
        let invalid = "The algorithm type you specified in x-amz-checksum- header is invalid.";
        assert_eq!(message(declared(&unknown)), invalid);
        let other = map(&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", "SHA1")]);
        assert_eq!(message(declared(&other)), "Value for x-amz-sdk-checksum-algorithm header is invalid.");
    }

    #[test]
    fn trailers_are_announced() {
        let headers = map(&[("x-amz-trailer", "X-Amz-Checksum-CRC32C"), ("x-amz-sdk-checksum-algorithm", "crc32c")]);
        assert_eq!(announced(&headers).unwrap(), Some(Algorithm::Crc32c));
        let unknown = map(&[("x-amz-trailer", "x-amz-meta-a")]);
        assert_eq!(message(announced(&unknown)), "The value specified in the x-amz-trailer header is not supported");
        let two = map(&[("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")]);
        assert!(message(announced(&two)).starts_with("Expecting a single"));
        let both = map(&[("x-amz-trailer", "x-amz-checksum-crc32"), ("x-amz-checksum-crc32", "y/Q5Jg==")]);
        assert!(message(announced(&both)).starts_with("Expecting a single"));
        let neither = map(&[("x-amz-sdk-checksum-algorithm", "CRC32")]);
        assert!(message(announced(&neither)).starts_with("x-amz-sdk-checksum-algorithm specified, but no"));
    }

    #[test]
    fn uploads_name_algorithm_and_kind() {
        let of = |algorithm, kind| {
            requested_of_upload(&map(&[("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)]))
        };
        assert_eq!(of("", "").unwrap(), None);
        assert_eq!(of("SHA256", "").unwrap(), Some((Algorithm::Sha256, Kind::Composite)));
        assert_eq!(of("CRC64NVME", "").unwrap(), Some((Algorithm::Crc64Nvme, Kind::FullObject)));
        assert_eq!(of("CRC32", "FULL_OBJECT").unwrap(), Some((Algorithm::Crc32, Kind::FullObject)));
        assert!(message(of("", "COMPOSITE")).starts_with("The x-amz-checksum-type header can only be used"));
        assert_eq!(
            message(of("SHA1", "FULL_OBJECT")),
            "The FULL_OBJECT checksum type cannot be used with the sha1 checksum algorithm."
        );
        assert_eq!(message(of("CRC32", "PARTIAL")), "Value for x-amz-checksum-type header is invalid.");
        assert!(message(of("MD4", "")).starts_with("Checksum algorithm provided is unsupported."));
    }

    #[test]
    fn whole_objects_may_be_declared_with_composites() {
        let headers = map(&[("x-amz-checksum-crc32", "y/Q5Jg==-3"), ("x-amz-checksum-type", "COMPOSITE")]);
        assert_eq!(declared_of_object(&headers).unwrap().unwrap().kind(), Kind::Composite);
        let headers = map(&[("x-amz-checksum-crc32", "y/Q5Jg==-3"), ("x-amz-checksum-type", "FULL_OBJECT")]);
        assert_eq!(message(declared_of_object(&headers)), "Value for x-amz-checksum-crc32 header is invalid.");
        let headers = map(&[("x-amz-checksum-crc32", "y/Q5Jg==")]);
        assert_eq!(declared_of_object(&headers).unwrap().unwrap().kind(), Kind::FullObject);
    }
}
