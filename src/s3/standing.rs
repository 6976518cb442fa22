//! In buckets whose access control lists count: whom that belongs to which a request asks of, and what its list gives the caller.
//! (S3 user guide, "How Amazon S3 authorizes a request", and "Mapping of ACL permissions and access policy permissions".)
//!
//! The bucket's policy speaks for the bucket's owner. Over an object of another account it can deny, but it cannot allow: that
//! the object's owner alone can, by the object's list.

use async_trait::async_trait;

use super::access::About;
use super::acl::{ANONYMOUS, granted};
use super::call::{Bucket, Call};
use super::error::{Result, S3Error};
use super::request::ObjectKey;
use super::service::S3;
use super::version::Missing;
use crate::iam::Identity;
use crate::iam::resource::{Brought, Buckets};
use crate::policy::Grant;
use crate::store::StoreError;
use crate::store::schema::{ObjectRecord, Permission, UploadRecord, VersionId};

/// Whom what is asked of belongs to, and what its list gives to the caller.
pub(super) struct Standing {
    /// The account's id, or `anonymous`; `None`: the bucket's.
    pub owner: Option<String>,
    pub acl: Grant,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) enum Asker<'r> {
    /// By a request.
    Request(&'r Call<'r>),
    /// As it is supposed.
    Supposed(Option<&'r Identity>),
}

impl<'r> Asker<'r> {
    fn identity(self) -> Option<&'r Identity> {
        match self {
            Self::Request(call) => call.identity.as_ref(),
            Self::Supposed(identity) => identity,
        }
    }
}

impl Standing {
    /// Of what belongs to the bucket's owner, by no list.
    pub const PLAIN: Self = Self { owner: None, acl: Grant::None };
}

/// Whose list an action goes by, and which of its permissions gives it.
#[derive(Clone, Copy)]
enum List {
    Bucket(Permission),
    /// Without a permission it is the object owner's own, and no list gives it.
    Object(Option<Permission>),
}

/// What an upload's initiator may do with it.
const OF_INITIATORS: &[&str] = &["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];

/// The actions that lists give, and those that are the object owner's. All others are the bucket owner's.
const BY_LIST: &[(&[&str], List)] = {
    use Permission::{Read, ReadAcp, Write, WriteAcp};
    &[
        (&["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions"], List::Bucket(Read)),
        (
            &[
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            List::Bucket(Write),
        ),
        (&["s3:GetBucketAcl"], List::Bucket(ReadAcp)),
        (&["s3:PutBucketAcl"], List::Bucket(WriteAcp)),
        (
            &["s3:GetObject", "s3:GetObjectTorrent", "s3:GetObjectVersion", "s3:GetObjectVersionForReplication"],
            List::Object(Some(Read)),
        ),
        (&["s3:GetObjectAcl", "s3:GetObjectVersionAcl"], List::Object(Some(ReadAcp))),
        (&["s3:PutObjectAcl", "s3:PutObjectVersionAcl"], List::Object(Some(WriteAcp))),
        (
            &[
                "s3:DeleteObjectTagging",
                "s3:DeleteObjectVersionTagging",
                "s3:GetObjectAttributes",
                "s3:GetObjectTagging",
                "s3:GetObjectVersionAttributes",
                "s3:GetObjectVersionTagging",
                "s3:PutObjectTagging",
                "s3:PutObjectVersionTagging",
                "s3:RestoreObject",
                "s3:UpdateObjectEncryption",
            ],
            List::Object(None),
        ),
    ]
};

impl S3 {
    /// Whom the bucket, or its object `key`, belongs to for `action`, and what its list gives to the caller.
    pub(super) async fn standing(
        &self,
        asker: Asker<'_>,
        action: &str,
        bucket: &Bucket,
        about: About<'_>,
    ) -> Result<Standing> {
        let About { key, version, record, .. } = about;
        let identity = asker.identity();
        match (list_of(action), key) {
            (Some(List::Bucket(permission)), _) => {
                let mut acl = granted(bucket.counts(bucket.acl()), permission, identity);
                if acl != Grant::None
                    && permission == Permission::Write
                    && !self.may_replace(asker, action, bucket, about).await?
                {
                    acl = Grant::None;
                }
                Ok(Standing { owner: None, acl })
            }
            (Some(List::Object(permission)), Some(key)) => {
                if let Some(record) = record {
                    return Ok(of_object(identity, bucket, permission, record));
                }
                Ok(match self.version_of(bucket, key, version).await? {
                    Some(record) => of_object(identity, bucket, permission, &record),
                    // That there is nothing is told to those whom the bucket's list lets see what there is.
                    None if permission.is_some() => {
                        let acl = granted(bucket.counts(bucket.acl()), Permission::Read, identity);
                        Standing { owner: None, acl }
                    }
                    None => Standing::PLAIN,
                })
            }
            _ => Ok(Standing::PLAIN),
        }
    }

    /// Judges anew, where lists count or a policy asks for the object's tags, by the very record that is going to be read: another
    /// may have come in its place since the request was let in.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub(super) async fn authorize_record(
        &self,
        call: &Call<'_>,
        action: &'static str,
        bucket: &Bucket,
        about: About<'_>,
        record: &ObjectRecord,
    ) -> Result<()> {
        let by_list = bucket.has_acls() && matches!(list_of(action), Some(List::Object(_)));
        if !by_list && !call.asks_for_tags() {
            return Ok(());
        }
        self.authorize_about(call, action, bucket, About { record: Some(record), ..about }).await.map(drop)
    }

    /// Whether it is asked to list the parts of an upload, or to abort it, by whoever began it: that is the initiator's, and of a
    /// user its account's, if no policy denies it. (S3 user guide, "Multipart upload API and permissions".)
    pub(super) async fn began_upload(
        &self,
        call: &Call<'_>,
        action: &str,
        bucket: &Bucket,
        about: About<'_>,
    ) -> Result<bool> {
        let (Some(key), Some(caller)) = (about.key, &call.identity) else { return Ok(false) };
        if !OF_INITIATORS.contains(&action) {
            return Ok(false);
        }
        // Of an upload that there is not it is told later, to those who may ask.
        let Ok(Some(upload)) = self.find_upload(call, bucket, key).await else { return Ok(false) };
        let UploadRecord { account, initiator, .. } = &upload.record;
        let subject = &caller.subject;
        Ok(*account == caller.account.id && (subject.is_root() || initiator.as_ref() == Some(&subject.arn)))
    }

    /// Whether what is there, if anything is, is the caller's own: the permission to write into a bucket lets one create what is
    /// not there yet, and replace, delete or abort what is one's own.
    async fn may_replace(&self, asker: Asker<'_>, action: &str, bucket: &Bucket, about: About<'_>) -> Result<bool> {
        let Some(key) = about.key else { return Ok(true) };
        let caller = asker.identity().map_or(ANONYMOUS, |identity| &identity.account.id);
        if OF_INITIATORS.contains(&action) {
            // Which upload is supposed, is not said.
            let Asker::Request(call) = asker else { return Ok(true) };
            return Ok(self.upload(call, bucket, key).await.map_or(true, |upload| upload.record.account == caller));
        }
        let version = about.version.filter(|_| action == "s3:DeleteObjectVersion");
        let present = self.version_of(bucket, key, version).await?;
        Ok(present.is_none_or(|record| bucket.owner_of_object(record.owner.as_deref()) == caller))
    }

    /// The version of `key`, or its current one; `None` if there is none, or it is a delete marker.
    async fn version_of(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Option<ObjectRecord>> {
        match self.find(bucket, key, version).await {
            Ok(record) => Ok(Some(record)),
            Err(Missing::Failed(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

#[async_trait]
impl Buckets for S3 {
    async fn brought(
        &self,
        identity: Option<&Identity>,
        action: &str,
        arn: &str,
    ) -> Result<Option<Brought>, StoreError> {
        let Some(place) = arn.strip_prefix("arn:aws:s3:::") else { return Ok(None) };
        let (name, key) = place.split_once('/').map_or((place, None), |(name, key)| (name, ObjectKey::parse(key).ok()));
        let failed = |error: S3Error| StoreError::Engine(error.into());
        let Some(bucket) = self.find_bucket(name).await.map_err(failed)? else { return Ok(None) };
        let about = About { key: key.as_ref(), ..About::default() };
        let standing = if bucket.has_acls() {
            self.standing(Asker::Supposed(identity), action, &bucket, about).await.map_err(failed)?
        } else {
            Standing::PLAIN
        };
        let policy = self.policy_on(&bucket, action, identity).map_err(failed)?;
        Ok(Some(Brought {
            is_barred: bucket.bars(policy.as_deref(), identity),
            policy_only_denies: standing.owner.is_some(),
            owner: standing.owner.unwrap_or_else(|| bucket.record.account.clone()),
            policy,
            acl: standing.acl,
        }))
    }
}

fn list_of(action: &str) -> Option<List> {
    BY_LIST.iter().find(|(actions, _)| actions.contains(&action)).map(|(_, list)| *list)
}

fn of_object(
    identity: Option<&Identity>,
    bucket: &Bucket,
    permission: Option<Permission>,
    record: &ObjectRecord,
) -> Standing {
    let owner = bucket.owner_of_object(record.owner.as_deref());
    let acl = match permission {
        // What nobody signed for belongs to whoever does not sign, which is to everybody.
        _ if owner == ANONYMOUS && identity.is_none() && !bucket.public_access().ignore_public_acls => Grant::Everybody,
        Some(permission) => granted(bucket.counts(record.acl.as_deref()), permission, identity),
        None => Grant::None,
    };
    Standing { owner: Some(owner.to_owned()).filter(|owner| *owner != bucket.record.account), acl }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::actions::{ON_BUCKETS, ON_OBJECTS};

    #[test]
    fn each_action_is_known_and_stands_once() {
        let all: Vec<&str> = BY_LIST.iter().flat_map(|(actions, _)| actions.iter().copied()).collect();
        for (index, action) in all.iter().enumerate() {
            assert!(ON_OBJECTS.contains(action) || ON_BUCKETS.contains(action), "{action}");
            assert!(!all[..index].contains(action), "{action} stands twice");
        }
        for (actions, list) in BY_LIST {
            let of_objects = matches!(list, List::Object(_) | List::Bucket(Permission::Write));
            let expected = if of_objects { ON_OBJECTS } else { ON_BUCKETS };
            assert!(actions.iter().all(|action| expected.contains(action)), "{actions:?}");
        }
    }
}
