//! Bucket policies, and the public-access block that bounds them.
//! (S3 API reference: Get-, Put-, DeleteBucketPolicy, GetBucketPolicyStatus, Get-, Put-, DeletePublicAccessBlock.)

use http::{Response, StatusCode};
use serde::Deserialize;

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::service::{S3, no_content};
use super::xml::{self, XmlWriter};
use crate::iam::Permit;
use crate::policy::{self, Kind, Policy};
use crate::store::schema::PublicAccessBlock;
use crate::wire::{RequestBody, ResponseBody};

/// Longest policy, in bytes, white space between its elements not counted. (S3 user guide, "Bucket policies".)
const MAX_POLICY: usize = 20 * 1024;
/// Longest document that is read, in bytes.
const MAX_DOCUMENT: usize = 4 * MAX_POLICY;
/// Longest public-access configuration, in bytes.
const MAX_CONFIGURATION: usize = 16 * 1024;
pub(super) const BLOCK: &str = "PublicAccessBlockConfiguration";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    block_public_acls: Option<bool>,
    ignore_public_acls: Option<bool>,
    block_public_policy: Option<bool>,
    restrict_public_buckets: Option<bool>,
}

/// Reads which public access is to be blocked; `None` of a document that speaks of nothing.
fn read_block(document: &[u8]) -> Result<Option<PublicAccessBlock>> {
    let asked: Configuration = xml::read(document, BLOCK)?;
    let Configuration { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } = asked;
    let any = block_public_acls.or(ignore_public_acls).or(block_public_policy).or(restrict_public_buckets);
    Ok(any.map(|_| PublicAccessBlock {
        block_public_acls: block_public_acls.unwrap_or_default(),
        ignore_public_acls: ignore_public_acls.unwrap_or_default(),
        block_public_policy: block_public_policy.unwrap_or_default(),
        restrict_public_buckets: restrict_public_buckets.unwrap_or_default(),
    }))
}

impl Bucket {
    /// What of public access is blocked: by the bucket or by its owner, whoever blocks more.
    pub(super) fn public_access(&self) -> PublicAccessBlock {
        self.record.public_access.unwrap_or(PublicAccessBlock::NONE).or(self.account_block)
    }
}

impl S3 {
    pub(super) async fn put_bucket_policy(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await;
        let document = document.map_err(|error| match error.code {
            ErrorCode::MaxMessageLengthExceeded => ErrorCode::PolicyTooLarge.into(),
            _ => error,
        })?;
        if document.is_empty() {
            return Err(ErrorCode::MalformedPolicy.into());
        }
        let malformed = |text: String| S3Error::new(ErrorCode::MalformedPolicy, text);
        let text = String::from_utf8(document.to_vec())
            .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'".to_owned()))?;
        let policy = self.read_policy(&bucket.arn(), &text).map_err(|error| malformed(error.0))?;
        let compact: serde_json::Value = serde_json::from_str(&text).map_err(S3Error::internal)?;
        if compact.to_string().len() > MAX_POLICY {
            return Err(ErrorCode::PolicyTooLarge.into());
        }
        let kept = policy::admit(&text, Kind::Bucket(&bucket.arn()), &*self.directory);
        let text = kept.map_err(|error| malformed(error.0))?;
        let (is_public, caller, arn) = (policy.is_public(), &call.identity()?.arn, bucket.arn());
        self.configure_bucket(bucket, |record| {
            // By the block that there is now, which need not be the one that the request found.
            let block = record.public_access.unwrap_or(PublicAccessBlock::NONE).or(bucket.account_block);
            if block.block_public_policy && is_public {
                let message = format!(
                    "User: {caller} is not authorized to perform: s3:PutBucketPolicy on resource: \"{arn}\" because public \
                     policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
                );
                return Err(S3Error::new(ErrorCode::AccessDenied, message));
            }
            record.policy = Some(text.clone());
            Ok(())
        })
        .await?;
        Ok(no_content())
    }

    pub(super) fn bucket_policy(&self, bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        let kept = bucket.record.policy.as_deref().ok_or_else(|| no_policy(bucket))?;
        Ok(render::json(policy::show(kept, &*self.directory)))
    }

    pub(super) async fn delete_bucket_policy(
        &self,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        self.update_bucket(bucket, |record| record.policy = None).await?;
        Ok(no_content())
    }

    pub(super) fn bucket_policy_status(bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        let text = bucket.record.policy.as_deref().ok_or_else(|| no_policy(bucket))?;
        let policy = Policy::parse(text, Kind::Bucket(&bucket.arn())).map_err(S3Error::internal)?;
        Ok(render::document(XmlWriter::document("PolicyStatus", |xml| xml.text("IsPublic", policy.is_public()))))
    }

    pub(super) async fn put_public_access_block(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let block = self.read_public_access_block(call, body).await?.unwrap_or(PublicAccessBlock::NONE);
        self.update_bucket(bucket, |record| record.public_access = Some(block)).await?;
        Ok(render::empty(StatusCode::OK))
    }

    pub(super) fn public_access_block(bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        let missing = || ErrorCode::NoSuchPublicAccessBlockConfiguration.with("BucketName", &bucket.name);
        let block = bucket.record.public_access.ok_or_else(missing)?;
        Ok(render::document(XmlWriter::document(BLOCK, |xml| write_public_access_block(xml, block))))
    }

    /// The block that a request's document asks for, if it speaks of any part of one.
    pub(super) async fn read_public_access_block(
        &self,
        call: &Call<'_>,
        body: RequestBody,
    ) -> Result<Option<PublicAccessBlock>> {
        read_block(&self.read_document(call, &call.headers, body, MAX_CONFIGURATION).await?)
    }

    pub(super) async fn delete_public_access_block(
        &self,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        self.update_bucket(bucket, |record| record.public_access = None).await?;
        Ok(no_content())
    }
}

/// Writes a block, inside its root element.
pub(super) fn write_public_access_block(xml: &mut XmlWriter, block: PublicAccessBlock) {
    xml.text("BlockPublicAcls", block.block_public_acls);
    xml.text("IgnorePublicAcls", block.ignore_public_acls);
    xml.text("BlockPublicPolicy", block.block_public_policy);
    xml.text("RestrictPublicBuckets", block.restrict_public_buckets);
}

fn no_policy(bucket: &Bucket) -> S3Error {
    ErrorCode::NoSuchBucketPolicy.with("BucketName", &bucket.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_says_nothing_is_none() {
        let read = |contents: &str| read_block(format!("<{BLOCK}>{contents}</{BLOCK}>").as_bytes());
        assert_eq!(read("").unwrap(), None);
        let said = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::NONE };
        assert_eq!(read("<BlockPublicPolicy>true</BlockPublicPolicy>").unwrap(), Some(said));
        assert_eq!(read("<IgnorePublicAcls>false</IgnorePublicAcls>").unwrap(), Some(PublicAccessBlock::NONE));
        for malformed in ["<BlockPublicPolicy>perhaps</BlockPublicPolicy>", "<BlockAll>true</BlockAll>"] {
            assert_eq!(read(malformed).unwrap_err().code, ErrorCode::MalformedXml, "{malformed}");
        }
    }
}
