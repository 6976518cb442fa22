//! The envelope: what stands in an object's record and opens its data key again.
//!
//! Stored as a version byte and a CBOR map (`FORMAT.md`, "Envelope"). Nothing in it is secret, and nothing in it is
//! derived from the plaintext.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::format::Suite;
use super::{ClientContext, SseError};
use crate::kms::{KeyArn, WrappedKey};
use crate::store::schema::{self, SseKind};

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
    Dsse(DsseProtection),
    /// SSE-C: the data key, wrapped under the customer's key.
    Customer {
        wrapped: Vec<u8>,
    },
}

/// DSSE-KMS: the data keys of the two layers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct DsseProtection {
    /// The inner layer's data key, wrapped by the KMS.
    pub inner: WrappedKey,
    /// The outer layer's, wrapped by the same KMS key.
    pub outer: Vec<u8>,
    /// The client's own context, as it was sent.
    pub client_context: Option<ClientContext>,
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
    /// Which kind it is.
    pub fn kind(&self) -> SseKind {
        match &self.protection {
            Protection::S3 { .. } => SseKind::S3,
            Protection::Kms(_) => SseKind::Kms,
            Protection::Dsse(_) => SseKind::Dsse,
            Protection::Customer { .. } => SseKind::Customer,
        }
    }

    /// The KMS key that must be at hand to read the object.
    pub fn key_arn(&self) -> Option<&KeyArn> {
        match &self.protection {
            Protection::Kms(kms) => Some(&kms.wrapped.key_arn),
            Protection::Dsse(dsse) => Some(&dsse.inner.key_arn),
            Protection::S3 { .. } | Protection::Customer { .. } => None,
        }
    }

    /// What its record says of it, for the tallies.
    pub fn summary(&self) -> schema::Protection {
        schema::Protection { kind: self.kind(), key: self.key_arn().map(ToString::to_string) }
    }

    /// Whether a KMS wraps its data key, in one layer or two, so that the transport rules apply.
    pub fn uses_kms(&self) -> bool {
        self.key_arn().is_some()
    }

    /// Whether the entity tag is the MD5 of the plaintext: of SSE-S3 objects alone.
    pub fn shows_md5(&self) -> bool {
        self.kind() == SseKind::S3
    }

    /// The client's encryption context.
    pub(super) fn client_context(&self) -> Option<&ClientContext> {
        match &self.protection {
            Protection::Kms(kms) => kms.client_context.as_ref(),
            Protection::Dsse(dsse) => dsse.client_context.as_ref(),
            Protection::S3 { .. } | Protection::Customer { .. } => None,
        }
    }

    /// The SSE-KMS part, of a single layer.
    pub fn kms(&self) -> Option<&KmsProtection> {
        match &self.protection {
            Protection::Kms(kms) => Some(kms),
            _ => None,
        }
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bare = |kind, wrapped: &[u8]| Stored {
            kind,
            suite: self.suite.id(),
            wrapped: wrapped.to_vec().into(),
            key_arn: None,
            material_id: None,
            client_context: None,
            bucket_key: None,
            outer: None,
        };
        let by_kms = |kind, wrapped: &WrappedKey| Stored {
            key_arn: Some(wrapped.key_arn.as_str().to_owned()),
            material_id: wrapped.material_id.clone(),
            client_context: self.client_context().map(|context| context.as_str().to_owned()),
            ..bare(kind, &wrapped.blob)
        };
        let stored = match &self.protection {
            Protection::S3 { wrapped } => bare(Kind::S3, wrapped),
            Protection::Kms(kms) => {
                Stored { bucket_key: kms.bucket_key.clone().map(ByteVec::from), ..by_kms(Kind::Kms, &kms.wrapped) }
            }
            Protection::Dsse(dsse) => {
                Stored { outer: Some(dsse.outer.clone().into()), ..by_kms(Kind::Dsse, &dsse.inner) }
            }
            Protection::Customer { wrapped } => bare(Kind::Customer, wrapped),
        };
        schema::to_value(&stored)
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`SseError::Corrupt`] if the version, kind or suite is unknown, or the bytes are no envelope.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SseError> {
        let stored: Stored = schema::from_value(bytes, "envelope").map_err(|e| SseError::corrupt(e.to_string()))?;
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
    #[n(7)]
    outer: Option<ByteVec>,
}

#[derive(Decode, Encode)]
#[cbor(index_only)]
enum Kind {
    #[n(0)]
    S3,
    #[n(1)]
    Kms,
    #[n(2)]
    Dsse,
    #[n(3)]
    Customer,
}

impl TryFrom<Stored> for Envelope {
    type Error = SseError;

    fn try_from(stored: Stored) -> Result<Self, SseError> {
        let suite = Suite::from_id(stored.suite).ok_or_else(|| SseError::corrupt("envelope: unknown suite"))?;
        let malformed = || SseError::corrupt("envelope: fields that do not go together");
        let wrapped = Vec::from(stored.wrapped);
        let client_context = stored.client_context.as_deref().map(client_context).transpose()?;
        let by_kms = |blob, arn: Option<String>, material_id| {
            let key_arn = arn.ok_or_else(malformed)?.parse::<KeyArn>();
            let key_arn = key_arn.map_err(|e| SseError::corrupt(format!("envelope: {e}")))?;
            Ok::<_, SseError>(WrappedKey { blob, key_arn, material_id })
        };
        let of_kms = stored.key_arn.is_some() || stored.material_id.is_some() || client_context.is_some();
        let protection = match (stored.kind, suite, stored.bucket_key, stored.outer) {
            (Kind::S3, Suite::Aes256Gcm, None, None) if !of_kms => Protection::S3 { wrapped },
            (Kind::Customer, Suite::Aes256Gcm, None, None) if !of_kms => Protection::Customer { wrapped },
            (Kind::Kms, Suite::Aes256Gcm, bucket_key, None) => Protection::Kms(KmsProtection {
                wrapped: by_kms(wrapped, stored.key_arn, stored.material_id)?,
                client_context,
                bucket_key: bucket_key.map(Vec::from),
            }),
            (Kind::Dsse, Suite::DoubleAes256Gcm, None, Some(outer)) => Protection::Dsse(DsseProtection {
                inner: by_kms(wrapped, stored.key_arn, stored.material_id)?,
                outer: outer.into(),
                client_context,
            }),
            _ => return Err(malformed()),
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

    fn dsse() -> Envelope {
        let inner = WrappedKey { blob: vec![2; 9], key_arn: ARN.parse().unwrap(), material_id: None };
        let client_context = ClientContext::parse("eyJhIjoiYiJ9");
        let protection = Protection::Dsse(DsseProtection { inner, outer: vec![5; 9], client_context });
        Envelope { suite: Suite::DoubleAes256Gcm, protection }
    }

    fn echoed(envelope: &Envelope, with_context: bool) -> Vec<(String, String)> {
        let pair = |(name, value): (http::HeaderName, http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        echo(envelope, with_context, None).unwrap().into_iter().map(pair).collect()
    }

    #[test]
    fn envelopes_survive_being_stored() {
        let customer = Envelope { suite: Suite::Aes256Gcm, protection: Protection::Customer { wrapped: vec![4; 80] } };
        let all = [s3(), kms(None, None), kms(Some("eyJhIjoiYiJ9"), Some(vec![3; 80])), dsse(), customer];
        for envelope in all {
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
            let stored = Stored {
                kind,
                suite,
                wrapped: vec![1].into(),
                key_arn: arn.map(str::to_owned),
                material_id: None,
                client_context: context.map(str::to_owned),
                bucket_key: None,
                outer: None,
            };
            Envelope::from_bytes(&schema::to_value(&stored))
        };
        assert!(encode(Kind::Kms, 1, Some(ARN), Some("e30=")).is_ok());
        assert!(encode(Kind::Kms, 2, Some(ARN), None).is_err());
        assert!(encode(Kind::Dsse, 2, Some(ARN), None).is_err());
        assert!(encode(Kind::Customer, 1, None, None).is_ok());
        assert!(encode(Kind::Customer, 1, Some(ARN), None).is_err());
        assert!(encode(Kind::Kms, 3, Some(ARN), None).is_err());
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
        let two_layers = [method("aws:kms:dsse"), key.clone(), context.clone()];
        assert_eq!(echoed(&dsse(), true), two_layers);
        assert_eq!(echoed(&dsse(), false), two_layers[..2]);
        let full = kms(Some("eyJhIjoiYiJ9"), Some(vec![]));
        assert_eq!(echoed(&full, false), [method("aws:kms"), key.clone(), bucket_key.clone()]);
        assert_eq!(echoed(&full, true), [method("aws:kms"), key, context, bucket_key]);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(mut bytes in prop::collection::vec(any::<u8>(), 0..64), version: bool) {
            if version && !bytes.is_empty() {
                bytes[0] = schema::to_value(&0_u8)[0];
            }
            if let Ok(envelope) = Envelope::from_bytes(&bytes) {
                prop_assert_eq!(Envelope::from_bytes(&envelope.to_bytes()).unwrap(), envelope);
            }
        }
    }
}
