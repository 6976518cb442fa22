//! Changes of a version after it was replicated: of its tags, access control list, retention and legal hold.
//! (S3 user guide, "What does Amazon S3 replicate?" and "Replicating metadata changes with replica modification sync".)
//!
//! An entry says what was changed, not into what: whoever carries it reads what the version has, and gives the replica that.
//! So an entry that is carried twice, or behind a later change, ends as it should.
//!
//! Where two buckets replicate each other's changes, both may be changed at once, and what comes from the other side enters
//! nothing. So the version is read again after its replica was changed, until it still has what was sent: both end alike. One of
//! the two lets the other go first, or they might swap what they have for ever.

use std::time::Duration;

use super::super::access::About;
use super::super::call::{AuditNotes, Bucket};
use super::super::error::{ErrorCode, Result, S3Error};
use super::super::markings::no_lock;
use super::super::object_lock::may_replace;
use super::super::operation::Operation;
use super::super::request::ObjectKey;
use super::super::service::S3;
use super::reason::Reason;
use super::remote::Remote;
use super::{Failure, Replicator, Rule, replica_id};
use crate::store::commit;
use crate::store::schema::{Claim, Facet, ObjectRecord, Version, VersionId};

/// How often a version is read again, before the rest is left to another attempt.
const ROUNDS: usize = 8;
/// How long the bucket whose name comes later lets the other one end what it does to the same version.
const OTHERS_TURN: Duration = Duration::from_millis(20);

/// A version that was changed, and one of its destinations.
pub(super) struct Change<'c> {
    /// The bucket that the version is in.
    pub bucket: &'c Bucket,
    pub key: &'c ObjectKey,
    /// The version, as the bucket has it.
    pub named: VersionId,
    pub rule: &'c Rule,
    /// The ARN of the role that does it.
    pub role: &'c str,
    /// The other server, if the destination is not here.
    pub remote: Option<&'c Remote>,
    /// The version id that the replica has there, if it is not the version's.
    pub replica: Option<&'c str>,
}

impl Replicator {
    /// Gives the replica what its version has of `facets`, the version being `record` as it was just read. What fails does not
    /// hold up the others.
    pub(super) async fn carry_changes(
        &self,
        change: &Change<'_>,
        facets: &[Facet],
        record: &ObjectRecord,
    ) -> Result<(), Failure> {
        let (mut behind, mut reason) = (Vec::new(), None);
        for facet in facets {
            match self.carry_change(change, *facet, record.clone()).await {
                Err(Failure::Lasting(why, text)) => {
                    behind.push(*facet);
                    reason.get_or_insert((why, text));
                }
                carried => carried?,
            }
        }
        reason.map_or(Ok(()), |(why, text)| Err(Failure::Behind(behind, why, text)))
    }

    async fn carry_change(&self, change: &Change<'_>, facet: Facet, mut record: ObjectRecord) -> Result<(), Failure> {
        let (store, partition, key) = (&*self.s3.store, change.bucket.partition(), change.key.as_str());
        // Of two buckets that change each other's version at once, each would undo what the other did, time and again.
        let gives_way = *change.bucket.name > *change.rule.destination.bucket_name();
        for _ in 0..ROUNDS {
            match change.remote {
                Some(remote) => self.send_change(remote, change, facet, &record).await?,
                None => self.s3.change_replica(change, facet, &record).await?,
            }
            let read = || commit::read_version(store, partition, key, Some(change.named));
            let mut present = read().await?;
            if matches!(&present, Some(Version::Object(present)) if !is_same(facet, &record, present)) && gives_way {
                tokio::time::sleep(OTHERS_TURN).await;
                present = read().await?;
            }
            let Some(Version::Object(present)) = present else { return Ok(()) };
            if is_same(facet, &record, &present) {
                return Ok(());
            }
            record = *present;
        }
        Err(Failure::Passing("the version was changed again and again".to_owned()))
    }

    /// Changes a replica at another server.
    async fn send_change(
        &self,
        remote: &Remote,
        change: &Change<'_>,
        facet: Facet,
        record: &ObjectRecord,
    ) -> Result<(), Failure> {
        let Change { bucket, key, rule, role, .. } = *change;
        let (cx, witness) = (self.s3.own_request(), AuditNotes::default());
        let call = self.s3.call_of_role(&cx, bucket, role, Operation::GetObject, &witness)?;
        self.s3.authorize_source_of_change(&call, bucket, key, (record, facet)).await?;
        let id = replica_id(record);
        let own = id.to_string();
        let named = (rule.destination.bucket_name(), key.as_str(), change.replica.unwrap_or(&own));
        Ok(remote.change(named, (id, record), facet, &self.s3.clock).await?)
    }
}

impl S3 {
    /// Changes a replica in a bucket of this server, in one commit, unless it has all already. What isn't there is not made
    /// again.
    async fn change_replica(&self, change: &Change<'_>, facet: Facet, record: &ObjectRecord) -> Result<(), Failure> {
        let Change { bucket, key, rule, role, .. } = *change;
        let (cx, witness) = (self.own_request(), AuditNotes::default());
        let call = self.call_of_role(&cx, bucket, role, operation_of(facet, record), &witness)?;
        self.authorize_source_of_change(&call, bucket, key, (record, facet)).await?;
        let target = self.find_replica_bucket(rule).await?;
        let about = About { key: Some(key), version: Some(replica_id(record)), ..About::default() };
        let action = if facet == Facet::Tags { "s3:ReplicateTags" } else { "s3:ReplicateObject" };
        let refused = Failure::at(Reason::of_change(facet));
        self.authorize_about(&call, action, &target, about).await.map_err(&refused)?;
        let mut claim = Claim { now: self.lock_time().await?, bypass: false };
        if facet == Facet::Retention {
            claim.bypass = self.role_may(&call, "s3:BypassGovernanceRetention", &target, about).await?;
        }
        let gone = || S3Error::new(ErrorCode::NoSuchVersion, "There is no replica of the version that was changed.");
        let replica = self.replica_of(&target, key, record).await?.ok_or_else(gone)?;
        let hands_over = rule.destination.hands_over();
        let bring = |replica: &mut ObjectRecord| -> Result<()> {
            match facet {
                Facet::Tags => replica.tags.clone_from(&record.tags),
                Facet::Acl => {
                    if !hands_over && have_one_owner((bucket, record), (&target, &*replica)) {
                        replica.acl.clone_from(&record.acl);
                    }
                }
                Facet::Retention => bring_retention(&target, record, replica, claim)?,
                Facet::LegalHold => bring_legal_hold(&target, record, replica)?,
            }
            Ok(())
        };
        let mut wanted = replica.clone();
        bring(&mut wanted).map_err(&refused)?;
        if wanted == replica {
            return Ok(());
        }
        let consequences = self.consequences(&call, &target, key.as_str()).await?.of_replica();
        let (store, partition, id) = (&*self.store, target.partition(), Some(replica.version_id()));
        let changed = commit::update_version(store, partition, key.as_str(), id, &consequences, bring).await;
        match changed.map_err(|error| refused(error.into()))? {
            Some(Version::Object(_)) => Ok(()),
            _ => Err(gone().into()),
        }
    }

    /// The version of `target` that `record` is a replica of, or is replicated as: a version that was written before its bucket
    /// gave ids has none there, and one here.
    async fn replica_of(
        &self,
        target: &Bucket,
        key: &ObjectKey,
        record: &ObjectRecord,
    ) -> Result<Option<ObjectRecord>> {
        let (store, partition) = (&*self.store, target.partition());
        for id in [replica_id(record), VersionId::Null] {
            let found = commit::read_version(store, partition, key.as_str(), Some(id)).await?;
            if let Some(Version::Object(found)) = found
                && replica_id(&found) == replica_id(record)
            {
                return Ok(Some(*found));
            }
        }
        Ok(None)
    }
}

/// The operation by which a client would make the change.
fn operation_of(facet: Facet, record: &ObjectRecord) -> Operation {
    match facet {
        Facet::Tags if record.tags.is_empty() => Operation::DeleteObjectTagging,
        Facet::Tags => Operation::PutObjectTagging,
        Facet::Acl => Operation::PutObjectAcl,
        Facet::Retention => Operation::PutObjectRetention,
        Facet::LegalHold => Operation::PutObjectLegalHold,
    }
}

/// Whether two versions have the same of `facet`.
fn is_same(facet: Facet, one: &ObjectRecord, other: &ObjectRecord) -> bool {
    match facet {
        Facet::Tags => one.tags == other.tags,
        Facet::Acl => one.acl == other.acl,
        Facet::Retention => one.retention == other.retention,
        Facet::LegalHold => one.legal_hold == other.legal_hold,
    }
}

/// Whether lists count in both buckets, and the versions belong to the same account.
fn have_one_owner(source: (&Bucket, &ObjectRecord), replica: (&Bucket, &ObjectRecord)) -> bool {
    let [one, other] = [source, replica].map(|(bucket, record)| bucket.owner_of_object(record.owner.as_deref()));
    source.0.has_acls() && replica.0.has_acls() && one == other
}

/// What holds a replica is weakened by those alone who may do so there.
fn bring_retention(target: &Bucket, record: &ObjectRecord, replica: &mut ObjectRecord, claim: Claim) -> Result<()> {
    if record.retention == replica.retention {
        return Ok(());
    }
    if record.retention.is_some() && target.record.object_lock.is_none() {
        return Err(no_lock());
    }
    if !may_replace(replica.retention, record.retention, claim) {
        let text = "Access Denied because object protected by object lock.";
        return Err(S3Error::new(ErrorCode::AccessDenied, text));
    }
    replica.retention = record.retention;
    Ok(())
}

fn bring_legal_hold(target: &Bucket, record: &ObjectRecord, replica: &mut ObjectRecord) -> Result<()> {
    if record.legal_hold == Some(true) && replica.legal_hold != Some(true) && target.record.object_lock.is_none() {
        return Err(no_lock());
    }
    replica.legal_hold = record.legal_hold;
    Ok(())
}
