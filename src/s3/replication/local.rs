//! Replication to a bucket of this server: a copy that has its source's version id, time and, where it can, entity tag and
//! sealed bytes.

use super::super::access::{About, AskedEncryption, method_of};
use super::super::call::{AuditNotes, Bucket, Call};
use super::super::condition::Preconditions;
use super::super::copy::{Copy, Source};
use super::super::error::{ErrorCode, Result, S3Error};
use super::super::markings::{Markings, no_lock};
use super::super::operation::Operation;
use super::super::put::Origin;
use super::super::request::ObjectKey;
use super::super::service::{S3, no_such_bucket};
use super::super::{checksum::Algorithm, object::Object};
use super::reason::Reason;
use super::{Errand, Failure, Rule, UNVERSIONED};
use crate::s3::acl::ObjectAccess;
use crate::sse::{Plan, SseKind, SseRequest};
use crate::store::commit;
use crate::store::schema::{Claim, MarkerRecord, Version, Versioning};

impl S3 {
    /// Writes a replica of a version to the bucket that the rule names, unless it is there.
    pub(super) async fn replicate_locally(&self, errand: &Errand<'_>) -> Result<(), Failure> {
        let Errand { bucket, key, id, object, rule, role } = *errand;
        let cx = self.own_request();
        let witness = AuditNotes::default();
        let call = self.call_of_role(&cx, bucket, role, Operation::PutObject, &witness)?;
        let record = &object.record;
        let mut tags = self.authorize_source(&call, bucket, key, record).await?;
        let ineligible = |error: S3Error| Failure::of(&error, Reason::SrcObjectNotEligible);
        let encryption = replica_encryption(object, rule).map_err(ineligible)?;
        let mut asked = AskedEncryption { method: method_of(object.envelope.kind()), key: None };
        if object.envelope.uses_kms() {
            asked.key = self.effective_key(&call, rule.destination.replica_key()).await;
        }
        let writing = ("s3:ReplicateObject", Reason::DstPutObjectNotPermitted);
        let target = self.replica_bucket(&call, rule, key, writing, Some(&asked)).await?;
        let hands_over = rule.destination.hands_over();
        if hands_over && target.record.account != bucket.record.account {
            self.authorize(&call, "s3:ObjectOwnerOverrideToBucketOwner", &target, Some(key)).await?;
        }
        let about = About { key: Some(key), ..About::default() };
        if !tags.is_empty() && !self.role_may(&call, "s3:ReplicateTags", &target, about).await? {
            tags.clear();
        }
        let present = commit::read_version(&*self.store, target.partition(), key.as_str(), Some(id)).await?;
        if present.is_some() {
            return Ok(());
        }
        let plan = Plan::decide(encryption, target.default_encryption().as_ref());
        let mut attributes = record.attributes.clone();
        if let Some(class) = &rule.destination.storage_class {
            attributes.storage_class.clone_from(class);
        }
        let markings = match target.record.object_lock {
            // "If retention isn't configured on the source objects, and default retention is configured on the destination
            // bucket, the destination bucket's default retention period is applied to your object replicas." (S3 user guide,
            // "Using S3 Object Lock with S3 Replication".)
            Some(_) => {
                let retention = self.retention_of_upload(&target, record.retention).await?;
                Markings { tags, retention, legal_hold: record.legal_hold }
            }
            // What is held must not come to be where nothing can be held.
            None if record.is_locked(Claim { now: self.lock_time().await?, bypass: false }) => {
                return Err(Failure::of(&no_lock(), Reason::DstBucketObjectLockConfigMissing));
            }
            None => Markings { tags, ..Markings::default() },
        };
        // A replica keeps its owner and its list, where lists count and the rule does not say otherwise.
        let access = if target.has_acls() && !hands_over {
            let owner = Some(bucket.owner_of_object(record.owner.as_deref()).to_owned());
            let acl = record.acl.clone().filter(|_| bucket.has_acls());
            ObjectAccess { owner: owner.filter(|owner| *owner != target.record.account), acl }
        } else {
            ObjectAccess::default()
        };
        let algorithm = record.checksum_kind.as_ref().and_then(|kind| Algorithm::from_name(&kind.algorithm));
        let source_key = self.unlock(&call, &bucket.name, key, &object.envelope, None).await;
        let source_key = source_key.map_err(|error| Failure::of_source(&error))?;
        let consequences = self.consequences(&call, &target, key.as_str()).await?;
        let origin = Origin { id, modified: record.modified, etag: Some(object.etag.clone()) };
        let copy = Copy {
            source: Source {
                bucket: bucket.clone(),
                key: key.clone(),
                object: object.clone(),
                is_version: true,
                is_charged: false,
            },
            source_key,
            plan,
            attributes,
            markings,
            access,
            algorithm,
            conditions: Preconditions::default(),
            consequences,
            origin: Some(origin),
        };
        if self.share(&call, &target, key, &copy).await?.is_none() {
            self.encrypt_afresh(&call, &target, key, &copy).await?;
        }
        Ok(())
    }

    /// Sets the delete marker that the source has.
    pub(super) async fn mark_locally(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        marker: MarkerRecord,
        (rule, role): (&Rule, &str),
    ) -> Result<(), Failure> {
        let cx = self.own_request();
        let witness = AuditNotes::default();
        let call = self.call_of_role(&cx, bucket, role, Operation::DeleteObject, &witness)?;
        self.authorize_source_of_marker(&call, bucket).await?;
        let marking = ("s3:ReplicateDelete", Reason::DstDelObjNotPermitted);
        let target = self.replica_bucket(&call, rule, key, marking, None).await?;
        let consequences = self.consequences(&call, &target, key.as_str()).await?.of_replica();
        let place = target.place(key, &consequences);
        commit::write_replica(&*self.store, place, Version::Marker(marker), None).await.map_err(S3Error::from)?;
        Ok(())
    }

    /// The bucket that the rule names, if the role may write replicas to it.
    async fn replica_bucket(
        &self,
        call: &Call<'_>,
        rule: &Rule,
        key: &ObjectKey,
        (action, refused): (&'static str, Reason),
        encryption: Option<&AskedEncryption>,
    ) -> Result<Bucket, Failure> {
        let target = self.find_replica_bucket(rule).await?;
        let about = About { key: Some(key), encryption, ..About::default() };
        self.authorize_about(call, action, &target, about).await.map_err(Failure::at(refused))?;
        Ok(target)
    }

    /// The bucket that the rule names, if it can take replicas.
    pub(super) async fn find_replica_bucket(&self, rule: &Rule) -> Result<Bucket, Failure> {
        let name = rule.destination.bucket_name();
        let target = self.find_bucket(name).await?.ok_or_else(|| no_such_bucket(name))?;
        if rule.destination.account.as_ref().is_some_and(|account| *account != target.record.account) {
            return Err(S3Error::from(ErrorCode::AccessDenied).into());
        }
        if target.record.versioning != Versioning::Enabled {
            return Err(Failure::Lasting(Reason::DstBucketUnversioned, UNVERSIONED.to_owned()));
        }
        Ok(target)
    }
}

/// How a replica is to be encrypted. (S3 user guide, "Replicating encrypted objects".)
fn replica_encryption(object: &Object, rule: &Rule) -> Result<SseRequest> {
    let key = || rule.destination.replica_key().map(str::to_owned);
    Ok(match object.envelope.kind() {
        SseKind::S3 => SseRequest::S3,
        SseKind::Kms => SseRequest::Kms { key: key(), context: None, bucket_key: None },
        SseKind::Dsse => SseRequest::Dsse { key: key(), context: None },
        SseKind::Customer => {
            let message = "An object under a customer-provided key cannot be replicated: only its owner has the key.";
            return Err(S3Error::new(ErrorCode::InvalidRequest, message));
        }
    })
}
