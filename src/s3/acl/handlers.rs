//! GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.

use http::{Response, StatusCode};

use super::read::{GROUPS, PERMISSIONS, read_document};
use super::{EC2, NOBODY, Of, Requested, full_control};
use crate::iam::{Account, Permit};
use crate::s3::access::About;
use crate::s3::call::{Bucket, Call};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::render;
use crate::s3::request::ObjectKey;
use crate::s3::service::S3;
use crate::s3::version::{VERSION_ID, insert_version};
use crate::s3::xml::XmlWriter;
use crate::store::schema::{AclGrant, BucketRecord, Grantee, ObjectRecord};
use crate::wire::{RequestBody, ResponseBody};

/// Longest `AccessControlPolicy`, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;

impl S3 {
    pub(in crate::s3) fn bucket_acl(&self, bucket: &Bucket, _permit: Permit) -> Response<ResponseBody> {
        self.acl_document(self.owner(bucket).map(|account| &**account), bucket.acl())
    }

    pub(in crate::s3) async fn put_bucket_acl(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let owner = self.canonical_id(&bucket.record.account);
        let grants = self.requested_list(call, bucket, owner, Of::Bucket, body).await?;
        Self::refuse_blocked(call, "s3:PutBucketAcl", bucket, None, &grants)?;
        let change = |record: &mut BucketRecord| {
            // The ownership may have changed since it was looked at.
            if record.ownership == bucket.record.ownership {
                record.acl = Some(grants.clone());
                Ok(())
            } else {
                Err(S3Error::from(ErrorCode::OperationAborted))
            }
        };
        self.configure_bucket(bucket, change).await?;
        Ok(render::empty(StatusCode::OK))
    }

    pub(in crate::s3) async fn object_acl(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let found = self.find(bucket, key, call.version()?).await;
        // Of a delete marker it tells as a GET does. (Recorded on AWS, `test_put_object_acl_on_delete_marker`.)
        let record = found.map_err(|missing| missing.tell(call, key))?;
        self.authorize_record(call, call.action(), bucket, About::named(call, key)?, &record).await?;
        let owner = self.object_owner(bucket, record.owner.as_deref());
        let grants = record.acl.as_deref().filter(|_| bucket.has_acls());
        let mut response = self.acl_document(owner.map(|account| &**account), grants);
        insert_version(response.headers_mut(), VERSION_ID, bucket, record.version_id());
        Ok(response)
    }

    pub(in crate::s3) async fn put_object_acl(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let found = self.find(bucket, key, call.version()?).await;
        let judged = found.map_err(|missing| missing.tell_of_part(call, key))?;
        self.authorize_record(call, call.action(), bucket, About::named(call, key)?, &judged).await?;
        let owner = self.canonical_id(bucket.owner_of_object(judged.owner.as_deref()));
        let grants = self.requested_list(call, bucket, owner, Of::Object, body).await?;
        Self::refuse_blocked(call, call.action(), bucket, Some(key), &grants)?;
        let mut response = render::empty(StatusCode::OK);
        // "An event notification isn't generated when a request results in no change to an object's ACL." (S3 user guide,
        // "Supported event types".) So there is nothing to be done.
        let own = [full_control(owner)];
        if is_same_list(judged.acl.as_deref().unwrap_or(&own), &grants) {
            insert_version(response.headers_mut(), VERSION_ID, bucket, judged.version_id());
            return Ok(response);
        }
        let change = |record: &mut ObjectRecord| {
            // What was written in the meantime is another object, whose writer did not ask for this list.
            if record.generation != judged.generation {
                return Err(ErrorCode::OperationAborted.into());
            }
            record.acl = Some(grants.clone());
            Ok(())
        };
        let id = self.change_version(call, bucket, key, (About::named(call, key)?, permit), change).await?;
        insert_version(response.headers_mut(), VERSION_ID, bucket, id);
        Ok(response)
    }

    /// The list that a request asks for, by its headers or its document, of what belongs to `owner` (a canonical id).
    async fn requested_list(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        owner: &str,
        of: Of,
        body: RequestBody,
    ) -> Result<Vec<AclGrant>> {
        let requested = Requested::of_headers(&call.headers, &self.directory)?;
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await?;
        let grants = match requested {
            Some(_) if !document.is_empty() => return Err(ErrorCode::UnexpectedContent.into()),
            Some(requested) => requested.expand(owner, self.canonical_id(&bucket.record.account), of)?,
            None if document.is_empty() => {
                return Err(ErrorCode::MissingSecurityHeader.with("MissingHeaderName", "x-amz-acl"));
            }
            None => read_document(&document, owner, &self.directory)?,
        };
        // Only of a list that is well-formed. (Recorded on AWS, `test_s3_bucket_acl_exceptions`.)
        if bucket.has_acls() { Ok(grants) } else { Err(ErrorCode::AccessControlListNotSupported.into()) }
    }

    fn acl_document(&self, owner: Option<&Account>, grants: Option<&[AclGrant]>) -> Response<ResponseBody> {
        let own: Vec<AclGrant> = owner.iter().map(|owner| full_control(&owner.canonical_id)).collect();
        render::document(XmlWriter::document("AccessControlPolicy", |xml| {
            if let Some(owner) = owner {
                xml.element("Owner", |xml| {
                    xml.text("ID", &owner.canonical_id);
                    xml.text("DisplayName", &owner.display_name);
                });
            }
            xml.element("AccessControlList", |xml| {
                for grant in grants.unwrap_or(&own) {
                    xml.element("Grant", |xml| self.write_grant(grant, xml));
                }
            });
        }))
    }

    pub(in crate::s3) fn write_grant(&self, grant: &AclGrant, xml: &mut XmlWriter) {
        const XSI: &str = " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=";
        match &grant.grantee {
            Grantee::Account(id) => {
                let name = match id.as_str() {
                    EC2 => Some("za-team"),
                    id if id == NOBODY.canonical_id => Some(NOBODY.display_name.as_str()),
                    id => self.directory.account_by_canonical_id(id).map(|account| account.display_name.as_str()),
                };
                xml.element_with("Grantee", &format!("{XSI}\"CanonicalUser\""), |xml| {
                    xml.text("ID", id);
                    xml.optional("DisplayName", name);
                });
            }
            Grantee::Group(group) => xml.element_with("Grantee", &format!("{XSI}\"Group\""), |xml| {
                xml.optional("URI", GROUPS.iter().find(|(_, known)| known == group).map(|(uri, _)| uri));
            }),
        }
        let permission = PERMISSIONS.iter().find(|(_, known)| *known == grant.permission);
        xml.optional("Permission", permission.map(|(name, _)| name));
    }
}

/// Whether two lists give the same, in whatever order.
fn is_same_list(one: &[AclGrant], other: &[AclGrant]) -> bool {
    one.len() == other.len()
        && one.iter().all(|grant| other.contains(grant))
        && other.iter().all(|grant| one.contains(grant))
}
