//! The envelope: what stands in an object's record and opens its data key again.
//!
//! Stored as a version byte and a CBOR map (`FORMAT.md`, "Envelope"). Nothing in it is secret, and nothing in it is
//! derived from the plaintext.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode};

use super::format::Suite;
use super::{ClientContext, SseError};
use crate::kms::{KeyArn, WrappedKey};

/// The version byte of every envelope written today.
const VERSION: u8 = 1;

/// How an object's data key is protected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// The suite that its runs are sealed with.
    pub(super) suite: Suite,
    pub(super) protection: Protection,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Protection {
    /// SSE-S3: the data key, wrapped by the server key.
    S3 {
        wrapped: Vec<u8>,
    },
    Kms(KmsProtection),
}

/// SSE-KMS: what the KMS wrapped, and under which context.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KmsProtection {
    /// The data key, or the bucket key if there is one, wrapped by the KMS.
    pub wrapped: WrappedKey,
    /// The client's own context, as it was sent.
    pub client_context: Option<ClientContext>,
    /// With a bucket key: the data key, wrapped under it and bound to the object's ARN.
    pub(super) bucket_key: Option<Vec<u8>>,
}

impl KmsProtection {
    /// Whether a bucket key stands between the KMS and the data key.
    pub fn uses_bucket_key(&self) -> bool {
        self.bucket_key.is_some()
    }
}

impl Envelope {
    /// The SSE-KMS part; `None` means SSE-S3.
    pub fn kms(&self) -> Option<&KmsProtection> {
        match &self.protection {
            Protection::Kms(kms) => Some(kms),
            Protection::S3 { .. } => None,
        }
    }

    /// Whether [`super::Sse::reprotect`] applies: the data key is in the server's or a KMS's hands, and single.
    pub fn can_be_reprotected(&self) -> bool {
        matches!(self.protection, Protection::S3 { .. } | Protection::Kms(_))
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = match &self.protection {
            Protection::S3 { wrapped } => Stored {
                kind: Kind::S3,
                suite: self.suite.id(),
                wrapped: wrapped.clone().into(),
                key_arn: None,
                material_id: None,
                client_context: None,
                bucket_key: None,
            },
            Protection::Kms(kms) => Stored {
                kind: Kind::Kms,
                suite: self.suite.id(),
                wrapped: kms.wrapped.blob.clone().into(),
                key_arn: Some(kms.wrapped.key_arn.as_str().to_owned()),
                material_id: kms.wrapped.material_id.clone(),
                client_context: kms.client_context.as_ref().map(|context| context.as_str().to_owned()),
                bucket_key: kms.bucket_key.clone().map(ByteVec::from),
            },
        };
        let mut bytes = vec![VERSION];
        minicbor::encode(stored, &mut bytes).expect("encoding into memory cannot fail");
        bytes
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if the version, kind or suite is unknown, or the bytes are no envelope.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SseError> {
        let [VERSION, cbor @ ..] = bytes else {
            return Err(SseError::corrupt("envelope: unknown version"));
        };
        let mut decoder = Decoder::new(cbor);
        let stored: Stored = decoder.decode().map_err(|e| SseError::corrupt(format!("envelope: {e}")))?;
        if decoder.position() != cbor.len() {
            return Err(SseError::corrupt("envelope: trailing bytes"));
        }
        stored.try_into()
    }
}

#[derive(Decode, Encode)]
#[cbor(map)]
struct Stored {
    #[n(0)]
    kind: Kind,
    #[n(1)]
    suite: u8,
    #[n(2)]
    wrapped: ByteVec,
    #[n(3)]
    key_arn: Option<String>,
    #[n(4)]
    material_id: Option<String>,
    #[n(5)]
    client_context: Option<String>,
    #[n(6)]
    bucket_key: Option<ByteVec>,
}

#[derive(Decode, Encode)]
#[cbor(index_only)]
enum Kind {
    #[n(0)]
    S3,
    #[n(1)]
    Kms,
}

impl TryFrom<Stored> for Envelope {
    type Error = SseError;

    fn try_from(stored: Stored) -> Result<Self, SseError> {
        let suite = Suite::from_id(stored.suite).ok_or_else(|| SseError::corrupt("envelope: unknown suite"))?;
        let fields = (stored.kind, stored.key_arn, stored.material_id, stored.client_context, stored.bucket_key);
        let protection = match fields {
            (Kind::S3, None, None, None, None) => Protection::S3 { wrapped: stored.wrapped.into() },
            (Kind::Kms, Some(arn), material_id, context, bucket_key) => Protection::Kms(KmsProtection {
                wrapped: WrappedKey {
                    blob: stored.wrapped.into(),
                    key_arn: arn.parse::<KeyArn>().map_err(|e| SseError::corrupt(format!("envelope: {e}")))?,
                    material_id,
                },
                client_context: context.as_deref().map(client_context).transpose()?,
                bucket_key: bucket_key.map(Vec::from),
            }),
            _ => return Err(SseError::corrupt("envelope: fields that do not go together")),
        };
        Ok(Self { suite, protection })
    }
}

fn client_context(text: &str) -> Result<ClientContext, SseError> {
    ClientContext::parse(text).ok_or_else(|| SseError::corrupt("envelope: not an encryption context"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::headers::{self, echo};
    use proptest::prelude::*;

    const ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/1234";

    fn s3() -> Envelope {
        Envelope { suite: Suite::Aes256Gcm, protection: Protection::S3 { wrapped: vec![1; 85] } }
    }

    fn kms(context: Option<&str>, bucket_key: Option<Vec<u8>>) -> Envelope {
        let wrapped = WrappedKey { blob: vec![2; 9], key_arn: ARN.parse().unwrap(), material_id: Some("m".to_owned()) };
        let client_context = context.map(|text| ClientContext::parse(text).unwrap());
        let protection = Protection::Kms(KmsProtection { wrapped, client_context, bucket_key });
        Envelope { suite: Suite::Aes256Gcm, protection }
    }

    fn echoed(envelope: &Envelope, with_context: bool) -> Vec<(String, String)> {
        let pair = |(name, value): (http::HeaderName, http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        echo(envelope, with_context).unwrap().into_iter().map(pair).collect()
    }

    #[test]
    fn envelopes_survive_being_stored() {
        for envelope in [s3(), kms(None, None), kms(Some("eyJhIjoiYiJ9"), Some(vec![3; 80]))] {
            let bytes = envelope.to_bytes();
            assert_eq!(Envelope::from_bytes(&bytes).unwrap(), envelope);
            assert!(Envelope::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "trailing byte");
            assert!(Envelope::from_bytes(&bytes[..bytes.len() - 1]).is_err(), "cut short");
            assert!(Envelope::from_bytes(&[&[2], &bytes[1..]].concat()).is_err(), "unknown version");
        }
        assert!(Envelope::from_bytes(&[]).is_err());
    }

    #[test]
    fn fields_that_do_not_go_together_are_no_envelope() {
        let encode = |kind, suite, arn: Option<&str>, context: Option<&str>| {
            let mut bytes = vec![VERSION];
            let stored = Stored {
                kind,
                suite,
                wrapped: vec![1].into(),
                key_arn: arn.map(str::to_owned),
                material_id: None,
                client_context: context.map(str::to_owned),
                bucket_key: None,
            };
            minicbor::encode(stored, &mut bytes).unwrap();
            Envelope::from_bytes(&bytes)
        };
        assert!(encode(Kind::Kms, 1, Some(ARN), Some("e30=")).is_ok());
        assert!(encode(Kind::Kms, 2, Some(ARN), None).is_err());
        assert!(encode(Kind::Kms, 1, None, None).is_err());
        assert!(encode(Kind::Kms, 1, Some("alias/x"), None).is_err());
        assert!(encode(Kind::Kms, 1, Some(ARN), Some("?")).is_err());
        assert!(encode(Kind::S3, 1, None, None).is_ok());
        assert!(encode(Kind::S3, 1, Some(ARN), None).is_err());
    }

    #[test]
    fn responses_tell_what_aws_tells() {
        let method = |value: &str| (headers::METHOD.to_owned(), value.to_owned());
        let key = (headers::KEY_ID.to_owned(), ARN.to_owned());
        let context = (headers::CONTEXT.to_owned(), "eyJhIjoiYiJ9".to_owned());
        let bucket_key = (headers::BUCKET_KEY.to_owned(), "true".to_owned());
        assert_eq!(echoed(&s3(), true), [method("AES256")]);
        assert_eq!(echoed(&kms(None, None), true), [method("aws:kms"), key.clone()]);
        let full = kms(Some("eyJhIjoiYiJ9"), Some(vec![]));
        assert_eq!(echoed(&full, false), [method("aws:kms"), key.clone(), bucket_key.clone()]);
        assert_eq!(echoed(&full, true), [method("aws:kms"), key, context, bucket_key]);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(mut bytes in prop::collection::vec(any::<u8>(), 0..64), version: bool) {
            if version && !bytes.is_empty() {
                bytes[0] = VERSION;
            }
            if let Ok(envelope) = Envelope::from_bytes(&bytes) {
                prop_assert_eq!(Envelope::from_bytes(&envelope.to_bytes()).unwrap(), envelope);
            }
        }
    }
}
