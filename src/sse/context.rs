//! The encryption context: what a KMS binds to an object's wrapped key as associated data.
//!
//! It consists of the client's pairs and S3's own `aws:s3:arn`. S3: "the additional context is the object ARN"; with a
//! bucket key "the bucket ARN is used as the encryption context instead" (userguide/UsingKMSEncryption,
//! userguide/bucket-key). Contexts stand in clear in audit logs: they are no place for secrets, and are not logged here.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SseError;
use super::headers::CONTEXT;
use crate::kms::EncryptionContext;

/// Longest text of a client's context, in bytes: what all headers of a PUT may have together (S3 API reference, PutObject:
/// "the maximum request header size is 8 KB").
const MAX_CONTEXT: usize = 8 * 1024;
/// The pair that S3 adds.
const S3_ARN: &str = EncryptionContext::S3_ARN;

/// Which object: the name that wrapped keys are bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObjectName<'a> {
    /// The bucket's name.
    pub bucket: &'a str,
    /// The object's key, as it is stored.
    pub key: &'a str,
}

impl ObjectName<'_> {
    /// `arn:aws:s3:::bucket/key`.
    pub fn arn(&self) -> String {
        ["arn:aws:s3:::", self.bucket, "/", self.key].concat()
    }

    /// `arn:aws:s3:::bucket`.
    pub fn bucket_arn(&self) -> String {
        ["arn:aws:s3:::", self.bucket].concat()
    }
}

/// A client's context: its pairs, and the header's text to give back byte for byte.
#[derive(Clone, Eq, PartialEq)]
pub struct ClientContext {
    text: String,
    pairs: BTreeMap<String, String>,
}

impl ClientContext {
    /// Reads base64 of UTF-8 JSON that maps strings to strings, of at most 8 KiB, none of them empty: KMS
    /// takes no others. `None` if `text` is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CONTEXT {
            return None;
        }
        let pairs: BTreeMap<String, String> = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
        let full = pairs.iter().all(|(name, value)| !name.is_empty() && !value.is_empty());
        full.then(|| Self { text: text.to_owned(), pairs })
    }

    /// Whether it has S3's pair in another case. Condition keys have none, so that a key's policy would take it for S3's.
    pub fn mimics_s3(&self) -> bool {
        self.pairs.keys().any(|name| name.eq_ignore_ascii_case(S3_ARN) && name != S3_ARN)
    }

    /// The header's text as the client sent it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientContext(redacted)")
    }
}

/// The context for the KMS: the client's pairs and `aws:s3:arn`, which is the object's ARN, or the bucket's if a bucket
/// key is used.
///
/// # Errors
/// [`SseError::InvalidArgument`] if the client sent an `aws:s3:arn` of its own that is neither the object's ARN nor the
/// value that will be used.
pub fn encryption_context(
    client: Option<&ClientContext>,
    object: ObjectName<'_>,
    bucket_key: bool,
) -> Result<EncryptionContext, SseError> {
    let arn = if bucket_key { object.bucket_arn() } else { object.arn() };
    let Some(client) = client else {
        return Ok(EncryptionContext::new().with(S3_ARN, arn));
    };
    if client.pairs.get(S3_ARN).is_some_and(|sent| *sent != object.arn() && *sent != arn) {
        // AWS documents the check and not its text.
        let message = "The value of 'aws:s3:arn' in the encryption context does not match the ARN of the object";
        return Err(SseError::argument(message, CONTEXT, Some(client.text.clone())));
    }
    Ok(client.pairs.clone().into_iter().collect::<EncryptionContext>().with(S3_ARN, arn))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: ObjectName<'_> = ObjectName { bucket: "b", key: "a/k ey" };

    fn client(json: &str) -> Option<ClientContext> {
        ClientContext::parse(&STANDARD.encode(json))
    }

    fn context(json: &str, bucket_key: bool) -> Result<EncryptionContext, SseError> {
        encryption_context(Some(&client(json).unwrap()), OBJECT, bucket_key)
    }

    #[test]
    fn only_string_maps_are_contexts() {
        assert!(client(r#"{"a":"b","c":"d"}"#).is_some());
        assert!(client(r#"{"a":"b","c":""}"#).is_none());
        assert!(client(r#"{"":"b"}"#).is_none());
        let long = |length: usize| client(&format!(r#"{{"a":"{}"}}"#, "x".repeat(length)));
        assert!(long(6000).is_some());
        assert!(long(6200).is_none());
        assert!(client("{}").is_some());
        for bad in ["", "[]", r#"{"a":1}"#, r#"{"a":{"b":"c"}}"#, r#"{"a":"b"} x"#, r#"{"a":null}"#, "\"a\""] {
            assert!(client(bad).is_none(), "{bad}");
        }
        assert!(ClientContext::parse("not base64!").is_none());
        assert!(ClientContext::parse(&STANDARD.encode(b"{\"a\":\"\xff\"}")).is_none());
        assert_eq!(format!("{:?}", client(r#"{"a":"b"}"#).unwrap()), "ClientContext(redacted)");
    }

    #[test]
    fn the_arn_in_another_case_is_told() {
        for name in ["AWS:S3:ARN", "aws:s3:Arn"] {
            assert!(client(&format!(r#"{{"{name}":"arn:aws:s3:::c/k"}}"#)).unwrap().mimics_s3(), "{name}");
        }
        for name in ["aws:s3:arn", "aws:s3:arns"] {
            assert!(!client(&format!(r#"{{"{name}":"arn:aws:s3:::c/k"}}"#)).unwrap().mimics_s3(), "{name}");
        }
    }

    #[test]
    fn the_arn_is_added_once_and_must_be_right() {
        let arn = "arn:aws:s3:::b/a/k ey";
        let expected = EncryptionContext::new().with("aws:s3:arn", arn);
        assert_eq!(encryption_context(None, OBJECT, false).unwrap(), expected);
        assert_eq!(context(&format!(r#"{{"aws:s3:arn":"{arn}"}}"#), false).unwrap(), expected);
        assert_eq!(context(r#"{"x":"y"}"#, false).unwrap(), expected.with("x", "y"));
        for wrong in ["arn:aws:s3:::b", "arn:aws:s3:::b/other"] {
            let error = context(&format!(r#"{{"aws:s3:arn":"{wrong}"}}"#), false).unwrap_err();
            assert!(matches!(error, SseError::InvalidArgument { name: CONTEXT, .. }), "{wrong}");
        }
    }

    #[test]
    fn a_bucket_key_takes_the_bucket_arn() {
        let expected = EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::b");
        assert_eq!(encryption_context(None, OBJECT, true).unwrap(), expected);
        assert_eq!(context(r#"{"aws:s3:arn":"arn:aws:s3:::b/a/k ey"}"#, true).unwrap(), expected);
        assert_eq!(context(r#"{"aws:s3:arn":"arn:aws:s3:::b"}"#, true).unwrap(), expected);
        assert!(context(r#"{"aws:s3:arn":"arn:aws:s3:::c"}"#, true).is_err());
    }
}
