//! What carries replications out: the steps of the protocol behind the write's own commit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::call::AuditNotes;
use super::super::consequences::Cause;
use super::super::error::{Result, S3Error};
use super::super::operation::Operation;
use super::super::request::ObjectKey;
use super::super::service::S3;
use super::change::Change;
use super::configuration::BUCKET_ARN;
use super::reason::Reason;
use super::remote::Remote;
use super::{Candidate, Errand, Failure, Provenance, Rule, replica_id};
use crate::events::{Carried, Carrier, EventName};
use crate::store::commit::{self, Silent};
use crate::store::outbox::{
    ReplicationAction, ReplicationFacts, ReplicationProgress, ReplicationRecord, Waiting, WatchRecord,
};
use crate::store::schema::{Ended, Facet, ObjectRecord, Record as _, ReplicationStatus, Version, VersionId};
use crate::store::{Batch, Outcome, Partition, StoreError};
use crate::telemetry::Metrics;

/// Carries replications out.
pub struct Replicator {
    pub(super) s3: Arc<S3>,
    remotes: Vec<Remote>,
    metrics: Arc<Metrics>,
}

/// What became of an entry that did not fail.
enum Ending {
    /// The version, or what was changed of it, is there: under this version id, if it has one of its own.
    There(Option<String>),
    /// It was there before, and the version says so.
    Before,
    /// There is nothing any more that would be replicated.
    Gone,
}

/// How a replication failed for good.
#[derive(Clone, Copy)]
struct Failed<'f> {
    /// What stays behind of a version that is there.
    behind: &'f [Facet],
    reason: Reason,
}

/// What an event about a replication tells.
pub(super) struct Told {
    pub name: EventName,
    pub failure: Option<Reason>,
    /// In minutes.
    pub threshold: Option<u32>,
    /// When the replica was there, in milliseconds since the Unix epoch.
    pub replicated: Option<i64>,
}

impl Told {
    pub const fn of(name: EventName) -> Self {
        Self { name, failure: None, threshold: None, replicated: None }
    }
}

/// Keeps how far the upload of a large object is, in its entry, for the next attempt.
pub(super) struct Ledger<'l> {
    s3: &'l S3,
    partition: Partition,
    waiting: &'l Waiting<ReplicationRecord>,
}

impl Ledger<'_> {
    pub fn progress(&self) -> Option<ReplicationProgress> {
        self.waiting.entry.progress.clone()
    }

    pub async fn keep(&self, progress: ReplicationProgress) -> Result<(), StoreError> {
        change_entry(self.s3, self.partition, &self.waiting.key, |entry| entry.progress = Some(progress.clone())).await
    }
}

/// Changes an entry as it is by now: whoever carries it out is not alone in that.
async fn change_entry(
    s3: &S3,
    partition: Partition,
    key: &[u8],
    change: impl Fn(&mut ReplicationRecord) + Send + Sync,
) -> Result<(), StoreError> {
    loop {
        let Some(present) = s3.store.get(partition, key).await? else { return Ok(()) };
        let mut entry = ReplicationRecord::from_value(&present)?;
        change(&mut entry);
        let batch = Batch::new().expect(key.to_vec(), Some(present)).put(key.to_vec(), entry.to_value());
        if let Outcome::Applied = s3.store.commit(partition, batch).await? {
            return Ok(());
        }
    }
}

impl Replicator {
    /// Replicates for `s3`, to its own buckets and to those of `remotes`.
    pub fn new(s3: Arc<S3>, remotes: Vec<Remote>, metrics: Arc<Metrics>) -> Self {
        Self { s3, remotes, metrics }
    }

    fn remote(&self, destination: &str) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.serves(destination))
    }

    /// Carries one entry out.
    async fn replicate(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<Ending, Failure> {
        let entry = &waiting.entry;
        let bucket = self.s3.find_bucket(&watch.bucket).await?;
        // A bucket that is gone has no versions to be replicated; neither has one of the same name made later.
        let Some(bucket) = bucket.filter(|bucket| bucket.partition() == partition) else { return Ok(Ending::Gone) };
        let lasting = |reason, why: &str| Failure::Lasting(reason, why.to_owned());
        let unconfigured =
            || lasting(Reason::SrcBucketReplicationConfigMissing, "there is no replication configuration any more");
        let replication = self.s3.replication_of(&bucket).await?.ok_or_else(unconfigured)?;
        let named = replication.rule(&entry.rule).filter(|rule| rule.destination.bucket == entry.destination);
        let gone = || lasting(Reason::SrcObjectNotEligible, "the rule is not there any more");
        if entry.action == ReplicationAction::Existing {
            let rule = named.ok_or_else(gone)?;
            return self.s3.pass(&bucket, rule, &replication, waiting).await.map(|()| Ending::There(None));
        }
        let role = replication.role.as_str();
        let key = ObjectKey::parse(&entry.key)?;
        let id: VersionId =
            entry.version.parse().map_err(|_| lasting(Reason::SrcVersionNotFound, "no such version"))?;
        let version = commit::read_version(&*self.s3.store, partition, key.as_str(), Some(id)).await;
        // What was deleted meanwhile is not replicated.
        let Some(version) = version.map_err(S3Error::from)? else { return Ok(Ending::Gone) };
        // Where the rule has another name by now, or another one is in its place, that is followed.
        let following = || replication.following(&entry.destination, &entry.rule, &candidate(&key, &version));
        let rule = named.or_else(following).ok_or_else(gone)?;
        let mut replica = None;
        let remote = self.remote(&entry.destination);
        match (version, entry.action) {
            (Version::Object(record), ReplicationAction::Put) => {
                if is_there(&record, &entry.destination) {
                    return Ok(Ending::Before);
                }
                let object = self.s3.open_record(&bucket, &key, *record)?;
                let record = &object.record;
                let errand = Errand { bucket: &bucket, key: &key, id: replica_id(record), object: &object, rule, role };
                match remote {
                    Some(remote) => {
                        let there = self.send(remote, &errand, partition, waiting).await?;
                        // Whose id is null may be another one tomorrow.
                        replica = there.filter(|there| *there != errand.id.to_string() && there != "null");
                    }
                    None => self.s3.replicate_locally(&errand).await?,
                }
                // Where it was already, it may be without what was changed and given up.
                if replica.is_none() {
                    let change = Change { bucket: &bucket, key: &key, named: id, rule, role, remote, replica: None };
                    self.carry_changes(&change, &lapsed(record, &entry.destination), record).await?;
                }
                self.metrics.replicated.inc_by(object.record.size);
            }
            (Version::Object(record), ReplicationAction::Change) => {
                // What is new goes before what was given up.
                let mut facets: Vec<Facet> = entry.facet.into_iter().collect();
                facets.extend(lapsed(&record, &entry.destination).iter().filter(|facet| Some(**facet) != entry.facet));
                let state = record.replication.as_ref();
                let destination = state.and_then(|state| state.destination(&entry.destination));
                let replica = destination.and_then(|destination| destination.replica.as_deref());
                let change = Change { bucket: &bucket, key: &key, named: id, rule, role, remote, replica };
                self.carry_changes(&change, &facets, &record).await?;
            }
            (Version::Marker(marker), ReplicationAction::DeleteMarker) => match remote {
                Some(remote) => {
                    let (cx, witness) = (self.s3.own_request(), AuditNotes::default());
                    let call = self.s3.call_of_role(&cx, &bucket, role, Operation::GetObject, &witness)?;
                    self.s3.authorize_source_of_marker(&call, &bucket).await?;
                    let named = (rule.destination.bucket_name(), key.as_str());
                    remote.delete(named, (id, marker.modified), &self.s3.clock).await?;
                }
                None => self.s3.mark_locally(&bucket, &key, marker, (rule, role)).await?,
            },
            _ => return Ok(Ending::Gone),
        }
        self.tell_if_late(partition, watch, entry, rule).await?;
        Ok(Ending::There(replica))
    }

    /// Sends an object to another server. Its version id there, if it has one.
    async fn send(
        &self,
        remote: &Remote,
        errand: &Errand<'_>,
        partition: Partition,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<Option<String>, Failure> {
        let cx = self.s3.own_request();
        let witness = AuditNotes::default();
        let call = self.s3.call_of_role(&cx, errand.bucket, errand.role, Operation::GetObject, &witness)?;
        let object = errand.object;
        let tags = self.s3.authorize_source(&call, errand.bucket, errand.key, &object.record).await?;
        let source_key = self.s3.unlock(&call, &errand.bucket.name, errand.key, &object.envelope, None).await;
        let source_key = source_key.map_err(|error| Failure::of_source(&error))?;
        let ledger = Ledger { s3: &self.s3, partition, waiting };
        Ok(remote.put(&self.s3, errand, &tags, source_key, &ledger).await?)
    }

    /// Notes in the version how its replication ended (with the replica's version id, or what of it stays behind), and tells
    /// those who want to know of failures.
    async fn note(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
        outcome: Result<Option<&str>, Failed<'_>>,
    ) -> Result<()> {
        let entry = &waiting.entry;
        let ended = match (entry.action, outcome) {
            (ReplicationAction::Existing, _) => return Ok(()),
            (ReplicationAction::Change, Ok(_)) => Ended::Changed(&[]),
            (_, Ok(replica)) => Ended::Written(replica),
            (_, Err(Failed { behind: behind @ [_, ..], .. })) => Ended::Changed(behind),
            (ReplicationAction::Change, Err(_)) => entry.facet.map_or(Ended::NotWritten, Ended::NotChanged),
            (_, Err(_)) => Ended::NotWritten,
        };
        let Ok(id) = entry.version.parse::<VersionId>() else { return Ok(()) };
        let change = |record: &mut ObjectRecord| -> Result<()> {
            if let Some(state) = &mut record.replication {
                state.note(&entry.destination, waiting.sequence, ended);
            }
            Ok(())
        };
        commit::update_version(&*self.s3.store, partition, &entry.key, Some(id), &Silent, change).await?;
        if let Err(Failed { reason, .. }) = outcome {
            let told = Told { failure: Some(reason), ..Told::of(EventName::ReplicationFailed) };
            let _ = self.tell(partition, watch, entry, told, Batch::new()).await?;
        }
        Ok(())
    }

    /// Tells of a version that came later than its rule wants.
    async fn tell_if_late(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        entry: &ReplicationRecord,
        rule: &Rule,
    ) -> Result<()> {
        let now = self.s3.clock.now().as_millisecond();
        let Some(threshold) = rule.destination.threshold().filter(|minutes| is_late(entry.at, *minutes, now)) else {
            return Ok(());
        };
        let (threshold, replicated) = (Some(threshold), Some(now));
        let told = Told { threshold, replicated, ..Told::of(EventName::ReplicationReplicatedAfterThreshold) };
        self.tell(partition, watch, entry, told, Batch::new()).await.map(drop)
    }

    /// Enters an event about a replication, in one commit with what `batch` does.
    pub(super) async fn tell(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        entry: &ReplicationRecord,
        told: Told,
        mut batch: Batch,
    ) -> Result<Outcome> {
        let bucket = self.s3.find_bucket(&watch.bucket).await?.filter(|bucket| bucket.partition() == partition);
        // Who is called by it stands until the commit.
        let mut consequences = None;
        if let Some(bucket) = &bucket {
            let deleted = (EventName::ObjectRemovedDelete, EventName::ObjectRemovedDeleteMarkerCreated);
            let cause = Cause::of_service("s3.amazonaws.com", deleted);
            let found = consequences.insert(self.s3.consequences_of(cause, bucket, &entry.key).await?);
            let measured = self.s3.replication_of(bucket).await?.is_some_and(|replication| {
                let rule = replication.rule_to(&entry.destination, &entry.rule);
                rule.is_some_and(|rule| rule.destination.measures())
            });
            // "To receive replication failure event notifications, you must enable S3 Replication metrics on your replication
            // rule." (S3 user guide, "Receiving replication failure events".) What was to be told of before is not tracked then.
            let untracked = || entry.due.map(|_| Told::of(EventName::ReplicationNotTracked));
            let told = if measured { Some(told) } else { untracked() };
            if let Some(told) = told {
                let facts = ReplicationFacts {
                    rule: entry.rule.clone(),
                    destination: entry.destination.clone(),
                    operation: operation_of(entry).to_owned(),
                    requested: entry.at,
                    failure: told.failure.map(|reason| reason.as_str().to_owned()),
                    threshold: told.threshold,
                    replicated: told.replicated,
                };
                let sequence = self.s3.outboxes.sequencer.next(self.s3.clock.now());
                // The object is told of with its size and entity tag. (User guide, "Receiving replication failure events".)
                let id = entry.version.parse().ok();
                let version = match id {
                    Some(id) => commit::read_version(&*self.s3.store, partition, &entry.key, Some(id)).await?,
                    None => None,
                };
                let object = version.as_ref().and_then(Version::object);
                batch = found.enter_event(batch, sequence, told.name, (id, object), Some(&facts));
            }
        }
        if batch.mutations.is_empty() {
            return Ok(Outcome::Applied);
        }
        Ok(self.s3.store.commit(partition, batch).await?)
    }

    /// Ends the upload that was begun at another server for an entry that goes without its replica.
    async fn abandon(&self, partition: Partition, waiting: &Waiting<ReplicationRecord>) {
        let entry = &waiting.entry;
        let Some(remote) = self.remote(&entry.destination) else { return };
        let present = self.s3.store.get(partition, &waiting.key).await.ok().flatten();
        let present = present.and_then(|value| ReplicationRecord::from_value(&value).ok());
        // The attempt that has just failed may have begun it.
        let Some(progress) = present.as_ref().unwrap_or(entry).progress.as_ref() else { return };
        let bucket = entry.destination.strip_prefix(BUCKET_ARN).unwrap_or_default();
        remote.abort((bucket, &entry.key), &progress.upload, &self.s3.clock).await;
    }
}

#[async_trait]
impl Carrier for Replicator {
    type Entry = ReplicationRecord;

    const KIND: &'static str = "replication";

    async fn carry(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<ReplicationRecord>) -> Carried {
        let (behind, reason, why) = match self.replicate(bucket, watch, waiting).await {
            Ok(Ending::There(replica)) => {
                if let Err(error) = self.note(bucket, watch, waiting, Ok(replica.as_deref())).await {
                    return Carried::Later(error.to_string());
                }
                if waiting.entry.action != ReplicationAction::Existing {
                    let took = self.s3.clock.now().as_millisecond().saturating_sub(waiting.entry.at).max(0);
                    let took = Duration::from_millis(took.unsigned_abs());
                    self.metrics.replication_delay.observe(took.as_secs_f64());
                }
                return Carried::Done;
            }
            Ok(Ending::Before) => return Carried::Done,
            Ok(Ending::Gone) => {
                self.abandon(bucket, waiting).await;
                return Carried::Done;
            }
            Err(Failure::Passing(why)) => return Carried::Later(why),
            Err(Failure::Lasting(reason, why)) => (Vec::new(), reason, why),
            Err(Failure::Behind(behind, reason, why)) => (behind, reason, why),
        };
        if let Err(error) = self.note(bucket, watch, waiting, Err(Failed { behind: &behind, reason })).await {
            return Carried::Later(error.to_string());
        }
        // A version that is there with something left behind has no upload any more.
        if behind.is_empty() {
            self.abandon(bucket, waiting).await;
        }
        Carried::Never(why)
    }

    async fn give_up(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<ReplicationRecord>, _why: &str) {
        let entry = &waiting.entry;
        let failed = Failed { behind: &[], reason: Reason::of_action(entry.action, entry.facet) };
        if let Err(error) = self.note(bucket, watch, waiting, Err(failed)).await {
            tracing::error!(%error, key = entry.key, "a failed replication could not be noted");
        }
        self.abandon(bucket, waiting).await;
    }
}

/// Whether what was entered at `at` is late by `now`, both in milliseconds since the Unix epoch.
pub(super) fn is_late(at: i64, minutes: u32, now: i64) -> bool {
    now.saturating_sub(at) > i64::from(minutes) * 60_000
}

/// What rules look at of a version that waits.
fn candidate<'c>(key: &'c ObjectKey, version: &'c Version) -> Candidate<'c> {
    let key = key.as_str();
    match version {
        Version::Object(record) => {
            let is_replica = record.replication.as_ref().is_some_and(|state| state.is_replica);
            let provenance = if is_replica { Provenance::ChangedReplica } else { Provenance::Written };
            Candidate { key, tags: &record.tags, encryption: Some(record.protection.kind), provenance }
        }
        Version::Marker(_) => Candidate { key, tags: &[], encryption: None, provenance: Provenance::Written },
    }
}

/// Whether the version was found to be at the destination, with all that was changed of it, and nobody has asked for it since.
fn is_there(record: &ObjectRecord, destination: &str) -> bool {
    let state = record.replication.as_ref().and_then(|state| state.destination(destination));
    state.is_some_and(|state| state.status == ReplicationStatus::Completed && state.lapsed.is_empty())
}

/// What was changed of a version, and not carried to a destination.
fn lapsed(record: &ObjectRecord, destination: &str) -> Vec<Facet> {
    let state = record.replication.as_ref().and_then(|state| state.destination(destination));
    state.map(|state| state.lapsed.clone()).unwrap_or_default()
}

/// As events name what is replicated.
fn operation_of(entry: &ReplicationRecord) -> &'static str {
    match entry.action {
        ReplicationAction::Put | ReplicationAction::Existing => "OBJECT_PUT",
        ReplicationAction::DeleteMarker => "OBJECT_DELETE_MARKER_CREATED",
        ReplicationAction::Change => match entry.facet {
            Some(Facet::Acl) => "OBJECT_ACL_PUT",
            Some(Facet::Retention) => "OBJECT_RETENTION_PUT",
            Some(Facet::LegalHold) => "OBJECT_LEGAL_HOLD_PUT",
            Some(Facet::Tags) | None => "OBJECT_TAGGING_PUT",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::{DestinationState, ReplicationState};

    const COPIES: &str = "arn:aws:s3:::copies";

    fn record(status: ReplicationStatus, lapsed: Vec<Facet>) -> ObjectRecord {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema/object-run.bin");
        let record = ObjectRecord::from_value(&std::fs::read(path).unwrap()).unwrap();
        let state = DestinationState { status, lapsed, ..DestinationState::pending(COPIES, "r") };
        let replication = Some(ReplicationState { is_replica: false, destinations: vec![state] });
        ObjectRecord { replication, ..record }
    }

    #[test]
    fn what_is_noted_as_completed_is_not_sent_again() {
        let there = |status, lapsed| is_there(&record(status, lapsed), COPIES);
        assert!(there(ReplicationStatus::Completed, Vec::new()));
        assert!(!there(ReplicationStatus::Completed, vec![Facet::Tags]), "something of it was given up");
        assert!(!there(ReplicationStatus::Pending, Vec::new()));
        assert!(!there(ReplicationStatus::Failed, Vec::new()));
        assert!(!is_there(&record(ReplicationStatus::Completed, Vec::new()), "arn:aws:s3:::elsewhere"));
    }

    #[test]
    fn what_is_late_is_told_by_the_minute() {
        assert!(!is_late(1_000, 15, 901_000));
        assert!(is_late(1_000, 15, 901_001));
        assert!(!is_late(1_000, 15, 0), "a clock that was put back makes nothing late");
    }
}
