//! S3 Control: the tags of resources by their ARN, and the public access that an account blocks in all of its buckets.
//! (API reference, "Amazon S3 Control": ListTagsForResource, TagResource, UntagResource, Get-, Put-, DeletePublicAccessBlock.)
//!
//! Its paths begin with its version, and each of its requests says by `x-amz-account-id` which account is meant, also in front of
//! the host's name (`ACCOUNT.s3-control.REGION.amazonaws.com`). The version might be a bucket's name as well: it is the header,
//! which no request to a bucket has, that tells them apart.

use http::{HeaderMap, Response, StatusCode};

use super::access::About;
use super::bucket_policy::{BLOCK, write_public_access_block};
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::operation::Operation;
use super::render;
use super::request::Target;
use super::service::{S3, no_content};
use super::tags::{self, MAX_DOCUMENT, Tags};
use super::xml::XmlWriter;
use crate::policy::is_account_id;
use crate::wire::percent::percent_decode;
use crate::wire::{RequestBody, ResponseBody};

/// What its paths begin with.
const VERSION: &str = "/v20180820/";
/// Whose account is meant.
const ACCOUNT: &str = "x-amz-account-id";
/// What the ARNs of buckets begin with.
const BUCKET_ARN: &str = "arn:aws:s3:::";

/// Whether a request for `path` is one to S3 Control.
pub(super) fn is_asked(path: &str, headers: &HeaderMap) -> bool {
    path.starts_with(VERSION) && headers.contains_key(ACCOUNT)
}

/// What a request for the raw `path` names of S3 Control; `None` if it is none of its.
pub(super) fn target(path: &str, headers: &HeaderMap) -> Option<Result<Target>> {
    if !is_asked(path, headers) {
        return None;
    }
    let path = path.strip_prefix(VERSION)?;
    if path == "configuration/publicAccessBlock" {
        return Some(Ok(Target::AccountBlock));
    }
    let Some(arn) = path.strip_prefix("tags/") else { return Some(Ok(Target::Control)) };
    let arn = percent_decode(arn, false).ok_or_else(|| S3Error::from(ErrorCode::InvalidUri));
    Some(arn.map(Target::ResourceTags))
}

/// The name of the bucket whose ARN this is.
pub(super) fn bucket_of_arn(arn: &str) -> Option<&str> {
    arn.strip_prefix(BUCKET_ARN).filter(|name| !name.is_empty() && !name.contains(['/', ':']))
}

impl S3 {
    /// Carries out an operation on the tags of the resource `arn`.
    pub(super) async fn on_resource_tags(
        &self,
        call: &Call<'_>,
        arn: &str,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let Some(name) = bucket_of_arn(arn) else {
            if arn.starts_with("arn:aws:s3:") {
                let message = "Resources other than buckets are not implemented by this server.";
                return Err(S3Error::new(ErrorCode::NotImplemented, message));
            }
            return Err(S3Error::argument("resourceArn", arn, "The ARN of the resource is not valid"));
        };
        let bucket = self.find_bucket(name).await?.ok_or(ErrorCode::NoSuchResource)?;
        match call.row.operation {
            Operation::ListTagsForResource => {
                let _permit = self.authorize(call, call.action(), &bucket, None).await?;
                check_account(call, &bucket.record.account)?;
                Ok(render::document(XmlWriter::bare_document("ListTagsForResourceResult", |xml| {
                    tags::write_set(xml, "Tags", &bucket.record.tags);
                })))
            }
            Operation::TagResource => self.tag_bucket(call, &bucket, body).await,
            _ => self.untag_bucket(call, &bucket).await,
        }
    }

    /// Permitted here, as a policy may ask which tags are given.
    async fn tag_bucket(&self, call: &Call<'_>, bucket: &Bucket, body: RequestBody) -> Result<Response<ResponseBody>> {
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await;
        let given = document.and_then(|document| tags::read_resource_tags(&document));
        let asked = given.as_deref().unwrap_or_default();
        // Who may not at all is not told what is wrong with the document.
        let about = About { tags: Some(asked), ..About::default() };
        let _permit = self.authorize_about(call, call.action(), bucket, about).await?;
        check_account(call, &bucket.record.account)?;
        let given = given?;
        self.configure_bucket(bucket, |record| {
            record.tags = tags::merge(&record.tags, &given)?;
            Ok(())
        })
        .await?;
        Ok(no_content())
    }

    async fn untag_bucket(&self, call: &Call<'_>, bucket: &Bucket) -> Result<Response<ResponseBody>> {
        let keys = call.query.pairs().filter(|(name, _)| *name == "tagKeys");
        let keys: Tags = keys.map(|(_, key)| (key.to_owned(), String::new())).collect();
        let about = About { tags: Some(&keys), ..About::default() };
        let _permit = self.authorize_about(call, call.action(), bucket, about).await?;
        check_account(call, &bucket.record.account)?;
        self.configure_bucket(bucket, |record| {
            record.tags.retain(|(key, _)| !keys.iter().any(|(gone, _)| gone == key));
            Ok(())
        })
        .await?;
        Ok(no_content())
    }

    /// Carries out an operation on the public access that the caller's account blocks.
    pub(super) async fn on_account_block(&self, call: &Call<'_>, body: RequestBody) -> Result<Response<ResponseBody>> {
        let _permit = self.authorize_in_account(call, "*")?;
        let account = call.identity()?.account.id.as_str();
        check_account(call, account)?;
        match call.row.operation {
            Operation::GetAccountPublicAccessBlock => {
                let missing = || ErrorCode::NoSuchPublicAccessBlockConfiguration.with("AccountId", account);
                let block = self.directory.public_access(account).ok_or_else(missing)?;
                let document = XmlWriter::bare_document(BLOCK, |xml| write_public_access_block(xml, block));
                Ok(render::document(document))
            }
            Operation::PutAccountPublicAccessBlock => {
                let nothing = || S3Error::new(ErrorCode::InvalidRequest, "Must specify at least one configuration.");
                let block = self.read_public_access_block(call, body).await?.ok_or_else(nothing)?;
                self.directory.set_public_access(account, Some(block)).await?;
                Ok(render::empty(StatusCode::OK))
            }
            _ => {
                self.directory.set_public_access(account, None).await?;
                Ok(no_content())
            }
        }
    }
}

/// Refuses requests that mean another account than the one whose resource they name.
fn check_account(call: &Call<'_>, account: &str) -> Result<()> {
    match call.header(ACCOUNT) {
        Some(asked) if asked == account => Ok(()),
        Some(asked) if !is_account_id(asked) => {
            let message = "The account id must have 12 digits";
            Err(S3Error::new(ErrorCode::InvalidRequest, message).with("AccountId", asked))
        }
        _ => Err(ErrorCode::AccessDenied.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> Option<Result<Target>> {
        let mut headers = HeaderMap::new();
        assert!(target(path, &headers).is_none(), "without the header it is a bucket's");
        headers.insert(ACCOUNT, "000000000000".parse().unwrap());
        target(path, &headers)
    }

    #[test]
    fn paths_and_the_header_tell_what_is_meant() {
        let tags = |path| match named(path) {
            Some(Ok(Target::ResourceTags(arn))) => arn,
            other => panic!("{other:?}"),
        };
        assert_eq!(tags("/v20180820/tags/arn%3Aaws%3As3%3A%3A%3Ab"), "arn:aws:s3:::b");
        assert_eq!(tags("/v20180820/tags/arn:aws:s3:::b"), "arn:aws:s3:::b");
        let block = named("/v20180820/configuration/publicAccessBlock").unwrap().unwrap();
        assert_eq!(block, Target::AccountBlock);
        assert_eq!(named("/v20180820/jobs").unwrap().unwrap(), Target::Control);
        assert_eq!(named("/v20180820/tags/%zz").unwrap().unwrap_err().code, ErrorCode::InvalidUri);
        assert!(named("/v20180820").is_none() && named("/v20180820x/tags/a").is_none());
    }

    #[test]
    fn arns_of_buckets() {
        assert_eq!(bucket_of_arn("arn:aws:s3:::b"), Some("b"));
        for other in ["b", "arn:aws:s3:::", "arn:aws:s3:::b/k", "arn:aws:s3:us-east-1:000000000000:accesspoint/a"] {
            assert_eq!(bucket_of_arn(other), None, "{other}");
        }
    }
}
