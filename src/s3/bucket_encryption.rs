//! The default encryption of a bucket: GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption.
//!
//! Every bucket has a default: SSE-S3 where none was configured. The KMS key is kept as it was named and given back
//! verbatim; whether it exists is found out when an object is written. (S3: userguide/bucket-encryption.)

use http::{Response, StatusCode};
use serde::Deserialize;

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::service::{S3, no_content};
use super::xml::{self, XmlWriter};
use crate::iam::Permit;
use crate::sse::BucketDefault;
use crate::store::commit;
use crate::store::schema::{BucketRecord, DefaultAlgorithm, DefaultEncryption};
use crate::wire::{RequestBody, ResponseBody};

/// Longest document, in bytes.
const MAX_DOCUMENT: usize = 16 * 1024;
/// The root element.
const ROOT: &str = "ServerSideEncryptionConfiguration";

/// `ServerSideEncryptionConfiguration`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Rule", default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    apply_server_side_encryption_by_default: Option<ByDefault>,
    bucket_key_enabled: Option<bool>,
    blocked_encryption_types: Option<BlockedTypes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByDefault {
    #[serde(rename = "SSEAlgorithm")]
    algorithm: Algorithm,
    #[serde(rename = "KMSMasterKeyID")]
    key: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum Algorithm {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    Kms,
    #[serde(rename = "aws:kms:dsse")]
    KmsDsse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockedTypes {
    #[serde(rename = "EncryptionType", default)]
    types: Vec<BlockedTypeElement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockedTypeElement {
    #[serde(rename = "$text")]
    text: BlockedType,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
enum BlockedType {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "SSE-C")]
    CustomerKeys,
}

/// What a document asks for.
#[derive(Debug, Eq, PartialEq)]
struct Configuration {
    encryption: DefaultEncryption,
    /// `None` leaves it as it is: "omitting" the element does not clear a block.
    allows_customer_keys: Option<bool>,
}

impl Configuration {
    /// # Errors
    /// `MalformedXML` for anything but one rule; `InvalidArgument` for a key without a method that uses it.
    fn parse(document: &[u8]) -> Result<Self> {
        let document: Document = xml::read(document, ROOT)?;
        let [rule] = <[Rule; 1]>::try_from(document.rules).map_err(|_| ErrorCode::MalformedXml)?;
        let (algorithm, key) = match rule.apply_server_side_encryption_by_default {
            Some(ByDefault { algorithm, key }) => (algorithm, key),
            None => (Algorithm::Aes256, None),
        };
        // AWS puts no ArgumentValue beside the name.
        let refused = |message: &'static str| {
            let error = S3Error::new(ErrorCode::InvalidArgument, message);
            Err(error.with("ArgumentName", "ApplyServerSideEncryptionByDefault"))
        };
        if key.is_some() && matches!(algorithm, Algorithm::Aes256) {
            return refused(
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
            );
        }
        // (As reported of AWS, ansible/ansible#61687.)
        if key.as_deref() == Some("") {
            return refused(
                "if the default sse algorithm is aws:kms and a KMSMasterKeyID is specified, it must be non-empty",
            );
        }
        let allows_customer_keys = match rule.blocked_encryption_types.as_ref().map(|blocked| &blocked.types[..]) {
            None => None,
            Some([blocked]) => Some(blocked.text == BlockedType::None),
            Some(_) => return Err(ErrorCode::MalformedXml.into()),
        };
        let algorithm = match algorithm {
            Algorithm::Aes256 => DefaultAlgorithm::S3,
            Algorithm::Kms => DefaultAlgorithm::Kms,
            Algorithm::KmsDsse => DefaultAlgorithm::KmsDsse,
        };
        let bucket_key = rule.bucket_key_enabled.unwrap_or(false);
        Ok(Self { encryption: DefaultEncryption { algorithm, key, bucket_key }, allows_customer_keys })
    }
}

impl S3 {
    pub(super) fn bucket_encryption(bucket: &Bucket, _permit: Permit) -> Response<ResponseBody> {
        render::document(render_configuration(&bucket.record))
    }

    pub(super) async fn put_bucket_encryption(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await?;
        let Configuration { encryption, allows_customer_keys } = Configuration::parse(&document)?;
        let change = |record: &mut BucketRecord| {
            record.encryption = Some(encryption.clone());
            record.allows_customer_keys = allows_customer_keys.unwrap_or(record.allows_customer_keys);
        };
        self.update_bucket(bucket, change).await?;
        Ok(render::empty(StatusCode::OK))
    }

    pub(super) async fn delete_bucket_encryption(
        &self,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        self.update_bucket(bucket, |record| record.encryption = None).await?;
        Ok(no_content())
    }

    pub(super) async fn update_bucket(&self, bucket: &Bucket, change: impl Fn(&mut BucketRecord) + Send) -> Result<()> {
        if commit::update_bucket(&*self.store, &bucket.name, change).await? {
            Ok(())
        } else {
            Err(super::service::no_such_bucket(&bucket.name))
        }
    }
}

impl Bucket {
    /// Its default encryption, if one was configured.
    pub(super) fn default_encryption(&self) -> Option<BucketDefault> {
        let DefaultEncryption { algorithm, key, bucket_key } = self.record.encryption.clone()?;
        Some(match algorithm {
            DefaultAlgorithm::S3 => BucketDefault::S3,
            DefaultAlgorithm::Kms => BucketDefault::Kms { key, bucket_key },
            DefaultAlgorithm::KmsDsse => BucketDefault::Dsse { key },
        })
    }
}

fn render_configuration(record: &BucketRecord) -> String {
    let configured = record.encryption.as_ref();
    XmlWriter::document(ROOT, |xml| {
        xml.element("Rule", |xml| {
            xml.element("ApplyServerSideEncryptionByDefault", |xml| {
                let algorithm = match configured.map(|encryption| encryption.algorithm) {
                    None | Some(DefaultAlgorithm::S3) => "AES256",
                    Some(DefaultAlgorithm::Kms) => "aws:kms",
                    Some(DefaultAlgorithm::KmsDsse) => "aws:kms:dsse",
                };
                xml.text("SSEAlgorithm", algorithm);
                xml.optional("KMSMasterKeyID", configured.and_then(|encryption| encryption.key.as_deref()));
            });
            xml.text("BucketKeyEnabled", configured.is_some_and(|encryption| encryption.bucket_key));
            xml.element("BlockedEncryptionTypes", |xml| {
                xml.text("EncryptionType", if record.allows_customer_keys { "NONE" } else { "SSE-C" });
            });
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rules: &str) -> Result<Configuration> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</{ROOT}>");
        Configuration::parse(document.as_bytes())
    }

    fn rule(method: &str, rest: &str) -> String {
        format!("<Rule><ApplyServerSideEncryptionByDefault>{method}</ApplyServerSideEncryptionByDefault>{rest}</Rule>")
    }

    #[test]
    fn a_configuration_comes_back_as_it_went_in() {
        let kms = "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>1234-bare</KMSMasterKeyID>";
        let blocked = "<BucketKeyEnabled>true</BucketKeyEnabled>\
            <BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>";
        let parsed = parse(&rule(kms, blocked)).unwrap();
        assert_eq!(parsed.allows_customer_keys, Some(true));
        let record = BucketRecord {
            encryption: Some(parsed.encryption),
            allows_customer_keys: true,
            ..BucketRecord::new([0; 16], "", 0, "")
        };
        assert!(render_configuration(&record).contains(&rule(kms, blocked)));
        let fresh = BucketRecord { encryption: None, allows_customer_keys: false, ..record };
        let default = rule(
            "<SSEAlgorithm>AES256</SSEAlgorithm>",
            "<BucketKeyEnabled>false</BucketKeyEnabled>\
             <BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>",
        );
        assert!(render_configuration(&fresh).contains(&default));
    }

    #[test]
    fn exactly_one_rule_of_known_words() {
        let aes = rule("<SSEAlgorithm>AES256</SSEAlgorithm>", "");
        assert!(parse(&aes).is_ok());
        assert_eq!(parse(&aes).unwrap().allows_customer_keys, None);
        assert!(parse("<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>").is_ok());
        let twice = aes.repeat(2);
        for bad in [
            "",
            &twice,
            &rule("<SSEAlgorithm>aes</SSEAlgorithm>", ""),
            &rule("", ""),
            &rule("<SSEAlgorithm>aws:kms</SSEAlgorithm>", "<BucketKeyEnabled>yes</BucketKeyEnabled>"),
            &rule(
                "<SSEAlgorithm>AES256</SSEAlgorithm>",
                "<BlockedEncryptionTypes><EncryptionType>SSE-S3</EncryptionType></BlockedEncryptionTypes>",
            ),
        ] {
            assert_eq!(parse(bad).unwrap_err().code, ErrorCode::MalformedXml, "{bad}");
        }
        for (algorithm, key, end) in [("AES256", "k", "aws:kms or aws:kms:dsse"), ("aws:kms", "", "must be non-empty")]
        {
            let method = format!("<SSEAlgorithm>{algorithm}</SSEAlgorithm><KMSMasterKeyID>{key}</KMSMasterKeyID>");
            let error = parse(&rule(&method, "")).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.message.ends_with(end), "{}", error.message);
            assert_eq!(error.detail, [("ArgumentName", "ApplyServerSideEncryptionByDefault".to_owned())]);
        }
    }
}
