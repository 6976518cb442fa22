//! The SSE-C headers: `x-amz-server-side-encryption-customer-*`, and their like for the source of a copy.
//!
//! Errors carry AWS's texts, and name `x-amz-server-side-encryption` as the argument whatever header is at fault.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{METHOD, value_of};
use crate::sse::customer::BadKey;
use crate::sse::{CustomerKey, SseError};

/// The three headers that bring a key.
struct Names {
    algorithm: HeaderName,
    key: HeaderName,
    md5: HeaderName,
}

static OBJECT: Names = Names {
    algorithm: HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm"),
    key: HeaderName::from_static("x-amz-server-side-encryption-customer-key"),
    md5: HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5"),
};

static COPY_SOURCE: Names = Names {
    algorithm: HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-algorithm"),
    key: HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key"),
    md5: HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key-md5"),
};

/// Whether the headers ask for SSE-C, well or badly: known before the key is looked at.
pub fn asks_for_customer_key(headers: &HeaderMap) -> bool {
    OBJECT.any(headers)
}

/// Whether any header brings a customer's key, for the object or for the source of a copy.
pub fn brings_customer_key(headers: &HeaderMap) -> bool {
    OBJECT.any(headers) || COPY_SOURCE.any(headers)
}

/// The key to write with: `PutObject`, `CopyObject`, `CreateMultipartUpload`, `UploadPart`, `UploadPartCopy`.
///
/// # Errors
/// [`SseError::InvalidArgument`] and [`SseError::InvalidAlgorithm`], as AWS answers them.
pub fn key_to_write(headers: &HeaderMap) -> Result<Option<CustomerKey>, SseError> {
    read(headers, &OBJECT, malformed)
}

/// The key to read with: `GetObject`, `HeadObject`, `GetObjectAttributes`, `ListParts`, `CompleteMultipartUpload`.
///
/// # Errors
/// As [`key_to_write`], but [`SseError::WrongCustomerKey`] for what is no key of the algorithm, which no object can be encrypted
/// under, and for a key without its MD5. (Recorded on AWS, `test_object_retrieval_sse_c`, whose client sends, where it is given
/// no MD5, the base64 of the key as the key, with the MD5 of that.)
pub fn key_to_read(headers: &HeaderMap) -> Result<Option<CustomerKey>, SseError> {
    read(headers, &OBJECT, || SseError::WrongCustomerKey)
}

/// The key to read the source of a copy with.
///
/// # Errors
/// As [`key_to_read`].
pub fn key_of_copy_source(headers: &HeaderMap) -> Result<Option<CustomerKey>, SseError> {
    read(headers, &COPY_SOURCE, || SseError::WrongCustomerKey)
}

/// SSE-C takes TLS: the key itself is on the wire. (S3: userguide/ServerSideEncryptionCustomerKeys.)
///
/// # Errors
/// [`SseError::InvalidArgument`].
pub fn require_transport_for_customer_key(tls: bool) -> Result<(), SseError> {
    if tls {
        return Ok(());
    }
    let message = "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure \
                   connection.";
    Err(SseError::argument(message, METHOD, None))
}

/// What responses say of the key.
pub(super) fn echo(key: &CustomerKey) -> Result<Vec<(HeaderName, HeaderValue)>, SseError> {
    Ok(vec![
        (OBJECT.algorithm.clone(), HeaderValue::from_static("AES256")),
        (OBJECT.md5.clone(), super::stored_value(key.md5())?),
    ])
}

impl Names {
    fn any(&self, headers: &HeaderMap) -> bool {
        [&self.algorithm, &self.key, &self.md5].into_iter().any(|name| headers.contains_key(name))
    }
}

fn read(headers: &HeaderMap, names: &Names, unfit: impl Fn() -> SseError) -> Result<Option<CustomerKey>, SseError> {
    if !names.any(headers) {
        return Ok(None);
    }
    let refused = |message: &'static str| SseError::argument(message, METHOD, None);
    match value_of(headers, &names.algorithm).as_deref() {
        Some("AES256") => {}
        None => {
            return Err(refused(
                "Requests specifying Server Side Encryption with Customer provided keys must provide a valid \
                 encryption algorithm.",
            ));
        }
        Some(other) => return Err(SseError::InvalidAlgorithm { value: other.to_owned() }),
    }
    let Some(key) = value_of(headers, &names.key) else {
        return Err(refused(
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret \
             key.",
        ));
    };
    let md5 = value_of(headers, &names.md5).ok_or_else(&unfit)?;
    CustomerKey::parse(&key, &md5).map(Some).map_err(|bad| match bad {
        BadKey::Malformed => unfit(),
        BadKey::Mismatch => refused("The calculated MD5 hash of the key did not match the hash that was provided."),
    })
}

fn malformed() -> SseError {
    SseError::argument("The secret key was invalid for the specified algorithm.", METHOD, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const MD5: &str = "z1pMFqXJA5jX6xnI1bE1wQ==";

    fn md5() -> String {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        engine.encode(crate::crypto::digest::md5(&engine.decode(KEY).unwrap()))
    }

    fn headers(values: [Option<&str>; 3]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [&OBJECT.algorithm, &OBJECT.key, &OBJECT.md5].into_iter().zip(values) {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    fn refusal(values: [Option<&str>; 3]) -> String {
        match key_to_write(&headers(values)).unwrap_err() {
            SseError::InvalidArgument { message, name: METHOD, value: None } => message.into_owned(),
            other => other.to_string(),
        }
    }

    #[test]
    fn each_row_of_the_table() {
        let md5 = md5();
        let (aes, key, sum) = (Some("AES256"), Some(KEY), Some(md5.as_str()));
        assert_eq!(key_to_write(&headers([None; 3])).unwrap(), None);
        assert_eq!(key_to_write(&headers([aes, key, sum])).unwrap().unwrap().md5(), md5);
        assert!(refusal([None, key, sum]).ends_with("must provide a valid encryption algorithm."));
        assert!(matches!(
            key_to_write(&headers([Some("AES128"), key, sum])),
            Err(SseError::InvalidAlgorithm { value }) if value == "AES128"
        ));
        assert!(refusal([aes, None, sum]).ends_with("must provide an appropriate secret key."));
        assert_eq!(refusal([aes, key, None]), "The secret key was invalid for the specified algorithm.");
        let short = [aes, Some("c2hvcnQ="), Some("TwnaqdlbyxZqMCQHoOC6vg==")];
        assert_eq!(refusal(short), "The secret key was invalid for the specified algorithm.");
        for mismatched in [[aes, key, Some(MD5)], [aes, Some("c2hvcnQ="), sum]] {
            let message = "The calculated MD5 hash of the key did not match the hash that was provided.";
            assert_eq!(refusal(mismatched), message);
        }
        for unfit in [[aes, key, None], short, [aes, Some("?"), sum]] {
            assert!(matches!(key_to_read(&headers(unfit)), Err(SseError::WrongCustomerKey)), "{unfit:?}");
        }
        let mismatched = key_to_read(&headers([aes, key, Some(MD5)]));
        assert!(matches!(mismatched, Err(SseError::InvalidArgument { .. })));
        assert!(asks_for_customer_key(&headers([None, None, sum])));
        assert!(!asks_for_customer_key(&headers([None; 3])));
    }
}
