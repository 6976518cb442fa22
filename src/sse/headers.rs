//! The `x-amz-server-side-encryption*` headers: read into types, and written from the stored envelope.
//!
//! Nothing downstream reads a header. Values are judged as they stand: an empty value is a value, and a repeated header
//! counts as its values joined by commas (RFC 9110 section 5.3), as the signature sees it.

mod customer;

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ClientContext, CustomerKey, Envelope, SseError, SseKind};

pub use customer::{
    asks_for_customer_key, brings_customer_key, key_of_copy_source, key_to_read, key_to_write,
    require_transport_for_customer_key,
};

/// The method: `AES256`, `aws:kms` or `aws:kms:dsse`.
pub const METHOD: &str = "x-amz-server-side-encryption";
/// The KMS key: id, ARN or alias in requests, always the full key ARN in responses.
pub const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
/// The client's encryption context.
pub const CONTEXT: &str = "x-amz-server-side-encryption-context";
/// Whether a bucket key is used.
pub const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SseRequest {
    /// No method: the bucket's default decides.
    Default {
        /// Whether to use a bucket key, if the default turns out to be SSE-KMS; `None` leaves it to the bucket.
        bucket_key: Option<bool>,
    },
    /// SSE-S3 (`AES256`).
    S3,
    /// SSE-KMS (`aws:kms`).
    Kms {
        /// The key as the client names it; `None` is the AWS managed key.
        key: Option<String>,
        /// The client's encryption context.
        context: Option<ClientContext>,
        /// Whether to use a bucket key; `None` leaves it to the bucket.
        bucket_key: Option<bool>,
    },
    /// DSSE-KMS (`aws:kms:dsse`), which knows no bucket keys.
    Dsse {
        /// The key as the client names it; `None` is the AWS managed key.
        key: Option<String>,
        /// The client's encryption context.
        context: Option<ClientContext>,
    },
    /// SSE-C.
    Customer(CustomerKey),
}

impl SseRequest {
    /// What the headers of `PutObject`, `CopyObject` and `CreateMultipartUpload` ask for.
    ///
    /// # Errors
    /// [`SseError::InvalidArgument`] and [`SseError::InvalidAlgorithm`], as AWS answers them.
    pub fn parse(headers: &HeaderMap) -> Result<Self, SseError> {
        let method = value_of(headers, METHOD);
        if asks_for_customer_key(headers) {
            if method.is_some() {
                let message = "Server Side Encryption with Customer provided key is incompatible with the encryption \
                               method specified";
                return Err(SseError::argument(message, METHOD, method));
            }
            refuse_kms_settings(headers, None)?;
            if let Some(key) = key_to_write(headers)? {
                return Ok(Self::Customer(key));
            }
        }
        match method.as_deref() {
            Some("aws:kms") => Ok(Self::Kms {
                key: value_of(headers, KEY_ID),
                context: client_context(headers)?,
                bucket_key: bucket_key(headers)?,
            }),
            Some("AES256") => {
                refuse_kms_settings(headers, method)?;
                match bucket_key(headers)? {
                    Some(true) => Err(kms_required(Some("AES256".to_owned()))),
                    Some(false) | None => Ok(Self::S3),
                }
            }
            None => {
                refuse_kms_settings(headers, None)?;
                Ok(Self::Default { bucket_key: bucket_key(headers)? })
            }
            Some("aws:kms:dsse") => match bucket_key(headers)? {
                // AWS documents that there are none; its text is not known.
                Some(true) => {
                    let message = "S3 Bucket Keys are not supported for DSSE-KMS";
                    Err(SseError::argument(message, BUCKET_KEY, Some("true".to_owned())))
                }
                Some(false) | None => {
                    Ok(Self::Dsse { key: value_of(headers, KEY_ID), context: client_context(headers)? })
                }
            },
            Some(_) => Err(SseError::argument("The encryption method specified is not supported", METHOD, method)),
        }
    }
}

/// Refuses encryption headers where the encryption is settled already: `GetObject`, `HeadObject`, `UploadPart`,
/// `UploadPartCopy`, `CompleteMultipartUpload`.
///
/// # Errors
/// [`SseError::InvalidArgument`] naming the first such header.
pub fn refuse_on_read(headers: &HeaderMap) -> Result<(), SseError> {
    for name in [METHOD, KEY_ID, CONTEXT, BUCKET_KEY] {
        if let Some(value) = value_of(headers, name) {
            let message = format!("{name} header is not supported for this operation.");
            return Err(SseError::argument(message, name, Some(value)));
        }
    }
    Ok(())
}

/// Whether the headers themselves ask for SSE-KMS, of either kind: known before the bucket is.
pub fn asks_for_kms(headers: &HeaderMap) -> bool {
    value_of(headers, METHOD).is_some_and(|method| matches!(method.as_str(), "aws:kms" | "aws:kms:dsse"))
}

/// The transport rules of SSE-KMS, for writes whose plan and reads whose envelope is SSE-KMS: TLS and Signature
/// Version 4 (S3: userguide/UsingKMSEncryption). The first is checked before authorisation.
///
/// # Errors
/// [`SseError::InvalidArgument`].
pub fn require_transport_for_kms(tls: bool, sigv4: bool) -> Result<(), SseError> {
    if !tls {
        let message = "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a \
                       secure connection.";
        return Err(SseError::argument(message, METHOD, Some("aws:kms".to_owned())));
    }
    if !sigv4 {
        let message = "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature \
                       Version 4.";
        return Err(SseError::argument(message, "Authorization", None));
    }
    Ok(())
}

/// The response headers that tell how an object is encrypted. `with_context` on `PutObject`, `CopyObject` and
/// `CreateMultipartUpload` alone; `customer` is the key that the request brought, of an SSE-C object.
///
/// # Errors
/// [`SseError::Corrupt`] if the stored key ARN or context cannot stand in a header.
pub fn echo(
    envelope: &Envelope,
    with_context: bool,
    customer: Option<&CustomerKey>,
) -> Result<Vec<(HeaderName, HeaderValue)>, SseError> {
    let method = match envelope.kind() {
        SseKind::S3 => "AES256",
        SseKind::Kms => "aws:kms",
        SseKind::Dsse => "aws:kms:dsse",
        SseKind::Customer => return customer.map_or(Ok(Vec::new()), customer::echo),
    };
    let mut headers = vec![(HeaderName::from_static(METHOD), HeaderValue::from_static(method))];
    if let Some(arn) = envelope.key_arn() {
        headers.push((HeaderName::from_static(KEY_ID), stored_value(arn.as_str())?));
    }
    if let (true, Some(context)) = (with_context, envelope.client_context()) {
        headers.push((HeaderName::from_static(CONTEXT), stored_value(context.as_str())?));
    }
    if envelope.kms().is_some_and(super::KmsProtection::uses_bucket_key) {
        headers.push((HeaderName::from_static(BUCKET_KEY), HeaderValue::from_static("true")));
    }
    Ok(headers)
}

/// A key or a context only goes with `aws:kms`.
fn refuse_kms_settings(headers: &HeaderMap, method: Option<String>) -> Result<(), SseError> {
    if headers.contains_key(KEY_ID) || headers.contains_key(CONTEXT) {
        return Err(kms_required(method));
    }
    Ok(())
}

fn kms_required(method: Option<String>) -> SseError {
    let message =
        "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms";
    SseError::argument(message, METHOD, method)
}

fn client_context(headers: &HeaderMap) -> Result<Option<ClientContext>, SseError> {
    let Some(text) = value_of(headers, CONTEXT) else {
        return Ok(None);
    };
    let message = match ClientContext::parse(&text) {
        // What is stored may have it.
        Some(context) if context.mimics_s3() => "The encryption context may have 'aws:s3:arn' in lower case alone",
        Some(context) => return Ok(Some(context)),
        None => {
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which \
             represents a string-string map"
        }
    };
    Err(SseError::argument(message, CONTEXT, Some(text)))
}

fn bucket_key(headers: &HeaderMap) -> Result<Option<bool>, SseError> {
    match value_of(headers, BUCKET_KEY) {
        None => Ok(None),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
        // AWS's text is not known.
        Some(value) => {
            let message = "The header 'x-amz-server-side-encryption-bucket-key-enabled' shall be true or false";
            Err(SseError::argument(message, BUCKET_KEY, Some(value)))
        }
    }
}

/// The header's value, or `None` if it was not sent. Bytes that are not UTF-8 become U+FFFD, which no valid value holds.
fn value_of(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    if values.is_empty() { None } else { Some(values.join(",")) }
}

fn stored_value(text: &str) -> Result<HeaderValue, SseError> {
    HeaderValue::from_str(text).map_err(|_| SseError::corrupt("an envelope's text cannot stand in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KMS_REQUIRED: &str =
        "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn parse(pairs: &[(&'static str, &str)]) -> Result<SseRequest, SseError> {
        SseRequest::parse(&headers(pairs))
    }

    fn argument(result: Result<SseRequest, SseError>) -> (String, &'static str, Option<String>) {
        match result {
            Err(SseError::InvalidArgument { message, name, value }) => (message.into_owned(), name, value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn valid_requests_are_read() {
        assert_eq!(parse(&[]).unwrap(), SseRequest::Default { bucket_key: None });
        assert_eq!(parse(&[(BUCKET_KEY, "true")]).unwrap(), SseRequest::Default { bucket_key: Some(true) });
        assert_eq!(parse(&[(METHOD, "AES256")]).unwrap(), SseRequest::S3);
        assert_eq!(parse(&[(METHOD, "AES256"), (BUCKET_KEY, "false")]).unwrap(), SseRequest::S3);
        let bare = SseRequest::Kms { key: None, context: None, bucket_key: None };
        assert_eq!(parse(&[(METHOD, "aws:kms")]).unwrap(), bare);
        let full = parse(&[(METHOD, "aws:kms"), (KEY_ID, "alias/k"), (CONTEXT, "eyJhIjoiYiJ9"), (BUCKET_KEY, "True")]);
        let SseRequest::Kms { key, context, bucket_key } = full.unwrap() else { panic!("not KMS") };
        assert_eq!((key.as_deref(), bucket_key), (Some("alias/k"), Some(true)));
        assert_eq!(context.unwrap().as_str(), "eyJhIjoiYiJ9");
    }

    #[test]
    fn unknown_methods_are_refused() {
        for value in ["", "aes256", "aws:fsx", "AWS:KMS", " ", "aws:kms,", "\u{e9}"] {
            let (message, name, sent) = argument(parse(&[(METHOD, value)]));
            assert_eq!(message, "The encryption method specified is not supported");
            assert_eq!((name, sent.as_deref()), (METHOD, Some(value)));
        }
        let twice = argument(parse(&[(METHOD, "aws:kms"), (METHOD, "AES256")]));
        assert_eq!(twice.2.as_deref(), Some("aws:kms,AES256"));
    }

    #[test]
    fn kms_settings_need_the_kms_method() {
        for (name, value) in [(KEY_ID, "k"), (KEY_ID, ""), (CONTEXT, "e30=")] {
            assert_eq!(argument(parse(&[(name, value)])), (KMS_REQUIRED.to_owned(), METHOD, None));
            let with_s3 = argument(parse(&[(METHOD, "AES256"), (name, value)]));
            assert_eq!(with_s3, (KMS_REQUIRED.to_owned(), METHOD, Some("AES256".to_owned())));
        }
        assert_eq!(argument(parse(&[(METHOD, "AES256"), (BUCKET_KEY, "true")])).0, KMS_REQUIRED);
    }

    #[test]
    fn bad_contexts_and_flags_are_refused() {
        for value in ["", "eyJhIjoxfQ==", "%%%"] {
            let (message, name, sent) = argument(parse(&[(METHOD, "aws:kms"), (CONTEXT, value)]));
            assert_eq!(
                message,
                "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON \
                 which represents a string-string map"
            );
            assert_eq!((name, sent.as_deref()), (CONTEXT, Some(value)));
        }
        for value in ["", "yes", "1"] {
            assert_eq!(argument(parse(&[(METHOD, "aws:kms"), (BUCKET_KEY, value)])).1, BUCKET_KEY);
        }
    }

    #[test]
    fn dsse_takes_a_key_and_a_context_and_no_bucket_key() {
        let bare = SseRequest::Dsse { key: None, context: None };
        assert_eq!(parse(&[(METHOD, "aws:kms:dsse")]).unwrap(), bare);
        assert_eq!(parse(&[(METHOD, "aws:kms:dsse"), (BUCKET_KEY, "false")]).unwrap(), bare);
        let full = parse(&[(METHOD, "aws:kms:dsse"), (KEY_ID, "k"), (CONTEXT, "eyJhIjoiYiJ9")]).unwrap();
        assert!(matches!(full, SseRequest::Dsse { key: Some(key), context: Some(_) } if key == "k"));
        assert_eq!(argument(parse(&[(METHOD, "aws:kms:dsse"), (BUCKET_KEY, "true")])).1, BUCKET_KEY);
    }

    #[test]
    fn a_customers_key_goes_with_nothing_else() {
        const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
        for method in ["AES256", "aws:kms", "nonsense"] {
            let (message, name, value) = argument(parse(&[(METHOD, method), (ALGORITHM, "AES256")]));
            assert!(message.ends_with("key is incompatible with the encryption method specified"));
            assert_eq!((name, value.as_deref()), (METHOD, Some(method)));
        }
        assert_eq!(argument(parse(&[(KEY_ID, "k"), (ALGORITHM, "AES256")])).0, KMS_REQUIRED);
    }

    #[test]
    fn reads_take_no_encryption_headers() {
        assert!(refuse_on_read(&headers(&[])).is_ok());
        for name in [METHOD, KEY_ID, CONTEXT, BUCKET_KEY] {
            match refuse_on_read(&headers(&[(name, "v")])) {
                Err(SseError::InvalidArgument { message, name: at, value }) => {
                    assert_eq!(message, format!("{name} header is not supported for this operation."));
                    assert_eq!((at, value.as_deref()), (name, Some("v")));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn kms_needs_tls_and_sigv4() {
        assert!(asks_for_kms(&headers(&[(METHOD, "aws:kms")])));
        assert!(asks_for_kms(&headers(&[(METHOD, "aws:kms:dsse")])));
        // No method that there is: it is told so, over whatever transport.
        assert!(!asks_for_kms(&headers(&[(METHOD, "aws:kmsx")])));
        assert!(!asks_for_kms(&headers(&[(METHOD, "AES256")])) && !asks_for_kms(&headers(&[])));
        assert!(require_transport_for_kms(true, true).is_ok());
        let name = |result| match result {
            Err(SseError::InvalidArgument { message, name, value }) => (message, name, value),
            other => panic!("{other:?}"),
        };
        let (message, ..) = name(require_transport_for_kms(false, false));
        assert!(message.ends_with("must be made over a secure connection."));
        let (message, at, value) = name(require_transport_for_kms(true, false));
        assert!(message.ends_with("managed keys require AWS Signature Version 4."));
        assert_eq!((at, value), ("Authorization", None));
    }
}
