//! Ownership controls: to whom the objects of a bucket belong, and whether access control lists count.
//! (S3 API reference: Get-, Put-, DeleteBucketOwnershipControls; user guide, "Controlling ownership of objects".)

use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;

use super::access::Creation;
use super::acl::{Of, Requested, is_public};
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::service::{S3, no_content};
use super::xml::{self, XmlWriter};
use crate::iam::Permit;
use crate::store::schema::{AclGrant, BucketRecord, Grantee, Ownership};
use crate::wire::{RequestBody, ResponseBody};

/// Longest `OwnershipControls`, in bytes.
const MAX_DOCUMENT: usize = 16 * 1024;
const ROOT: &str = "OwnershipControls";
const HEADER: &str = "x-amz-object-ownership";
/// The settings, by name.
const NAMES: &[(&str, Ownership)] = &[
    ("BucketOwnerEnforced", Ownership::BucketOwnerEnforced),
    ("BucketOwnerPreferred", Ownership::BucketOwnerPreferred),
    ("ObjectWriter", Ownership::ObjectWriter),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnershipControls {
    #[serde(rename = "Rule", default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    object_ownership: String,
}

/// Whether a grant is to the owner (a canonical id).
fn is_owners(grant: &AclGrant, owner: &str) -> bool {
    matches!(&grant.grantee, Grantee::Account(id) if id == owner)
}

/// The setting called `name`.
fn by_name(name: &str) -> Option<Ownership> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, ownership)| *ownership)
}

/// The setting that the headers ask for; an empty one is none that there is.
fn asked(headers: &HeaderMap) -> Result<Option<Ownership>> {
    let Some(asked) = headers.get(HEADER) else { return Ok(None) };
    let asked = String::from_utf8_lossy(asked.as_bytes());
    let asked = asked.trim();
    let invalid = || {
        let message = format!("Invalid {HEADER} header: {asked}");
        S3Error::new(ErrorCode::InvalidArgument, message).with("ArgumentName", HEADER)
    };
    by_name(asked).map(Some).ok_or_else(invalid)
}

impl S3 {
    /// To whom the objects of a bucket about to be made will belong, and the bucket's own list.
    ///
    /// # Errors
    /// `InvalidArgument`; `InvalidBucketAclWithObjectOwnership` for a list that will not count;
    /// `InvalidBucketAclWithBlockPublicAccessError` for a public one, as new buckets block public access; `AccessDenied`, if the
    /// caller may not set one or the other.
    pub(super) fn access_of_new_bucket(
        &self,
        call: &Call<'_>,
        name: &str,
    ) -> Result<(Ownership, Option<Vec<AclGrant>>)> {
        let ownership = match asked(&call.headers)? {
            None => Ownership::BucketOwnerEnforced,
            Some(ownership) => {
                self.authorize_creation(call, "s3:PutBucketOwnershipControls", name, &Creation::default())?;
                ownership
            }
        };
        let owner = call.identity()?.account.canonical_id.as_str();
        let Some(requested) = Requested::of_headers(&call.headers, &self.directory)? else {
            return Ok((ownership, None));
        };
        let grants = requested.expand(owner, owner, Of::Bucket)?;
        let shared = grants.iter().any(|grant| !is_owners(grant, owner));
        if shared && ownership == Ownership::BucketOwnerEnforced {
            return Err(ErrorCode::InvalidBucketAclWithObjectOwnership.with("BucketName", name));
        }
        if is_public(&grants) {
            return Err(ErrorCode::InvalidBucketAclWithBlockPublicAccess.with("BucketName", name));
        }
        if shared {
            self.authorize_creation(call, "s3:PutBucketAcl", name, &Creation::default())?;
        }
        Ok((ownership, Some(grants).filter(|_| shared)))
    }

    pub(super) fn ownership_controls(bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        let ownership = bucket.ownership();
        let (name, _) = NAMES
            .iter()
            .find(|(_, known)| *known == ownership)
            .ok_or_else(|| ErrorCode::OwnershipControlsNotFound.with("BucketName", &bucket.name))?;
        Ok(render::document(XmlWriter::document(ROOT, |xml| {
            xml.element("Rule", |xml| xml.text("ObjectOwnership", name));
        })))
    }

    pub(super) async fn put_ownership_controls(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await?;
        let controls: OwnershipControls = xml::read(&document, ROOT)?;
        let [rule] = &controls.rules[..] else { return Err(ErrorCode::MalformedXml.into()) };
        let ownership = by_name(&rule.object_ownership).ok_or(ErrorCode::MalformedXml)?;
        let owner = self.owner(bucket).map_or("", |owner| &owner.canonical_id);
        let change = |record: &mut BucketRecord| {
            let shared = record.acl.as_ref().is_some_and(|grants| grants.iter().any(|grant| !is_owners(grant, owner)));
            if ownership == Ownership::BucketOwnerEnforced && shared {
                return Err(S3Error::from(ErrorCode::InvalidBucketAclWithObjectOwnership));
            }
            record.ownership = Some(ownership);
            Ok(())
        };
        self.configure_bucket(bucket, change).await?;
        Ok(render::empty(StatusCode::OK))
    }

    /// Without controls objects belong to their writers, as on AWS.
    pub(super) async fn delete_ownership_controls(
        &self,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        self.update_bucket(bucket, |record| record.ownership = Some(Ownership::Deleted)).await?;
        Ok(no_content())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_one_that_there_is_or_no_header() {
        let asked = |value: Option<&'static str>| {
            let headers = value.map(|value| (http::HeaderName::from_static(HEADER), value.parse().unwrap()));
            asked(&headers.into_iter().collect()).map_err(|error| error.message.into_owned())
        };
        assert_eq!(asked(None), Ok(None));
        assert_eq!(asked(Some("ObjectWriter")), Ok(Some(Ownership::ObjectWriter)));
        assert_eq!(asked(Some("")), Err(format!("Invalid {HEADER} header: ")));
        assert_eq!(asked(Some("Nobody")), Err(format!("Invalid {HEADER} header: Nobody")));
    }
}
