//! Replication: what is written to a bucket is written to others too.
//!
//! A write enters what is to be replicated into the outbox, in its own commit (`super::consequences`); a carrier takes it
//! from there ([`Replicator`]). Destinations are buckets of this server (`local`), or of others that the operator has
//! configured (`remote`).
//!
//! **Protocol** of one version and one destination:
//! 1. the write's commit marks the version PENDING and enters it. *Crash: it is taken up at the next start.*
//! 2. the version is written at the destination. A replica of this server has the version id of its source, so that a second
//!    attempt finds it there. A large object goes to another server in parts: which are there is kept in the entry after each.
//!    *Crash: the upload is gone on with.*
//! 3. the version is marked COMPLETED, or FAILED. *Crash: 2 finds the replica, or writes it again, and 3 is done then.*
//! 4. the entry is removed.
//!
//! What is changed of the version later (its tags, list, retention, legal hold) goes the same way, behind it (`change`): 1 marks
//! it PENDING again, 2 gives the replica what the version has by then, and only the last entry's 3 says COMPLETED. What came by
//! replication goes no further, save that rules with `ReplicaModifications` carry on what somebody else changes of a replica.
//!
//! All of it is done by the configuration's role (`role`), which S3 assumes. KMS keys are used on its behalf: `kms:Decrypt` with
//! the source's, `kms:Encrypt` with the replica's. (S3 user guide, "Replicating encrypted objects".)

mod change;
mod configuration;
mod existing;
mod local;
mod remote;
mod role;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode};

pub(in crate::s3) use configuration::{Candidate, Provenance, ROOT, Replication, Rule};
pub(in crate::s3) use remote::ORIGIN;
pub use remote::{Pace, Remote, Unusable};

use self::change::Change;
use self::remote::RemoteError;
use super::consequences::Cause;
use super::error::{ErrorCode, Result, S3Error};
use super::object::Object;
use super::operation::Operation;
use super::render;
use super::request::ObjectKey;
use super::service::{Bucket, Call, S3, Witness};
use crate::crypto::random;
use crate::events::{Carried, Carrier, EventName};
use crate::iam::Permit;
use crate::store::commit::{self, Silent};
use crate::store::outbox::{
    self, ReplicationAction, ReplicationFacts, ReplicationProgress, ReplicationRecord, Waiting, WatchRecord,
};
use crate::store::schema::{
    ConfigurationKind, Ended, Facet, ObjectRecord, Record as _, Version, VersionId, Versioning,
};
use crate::store::{Batch, Partition, StoreError};
use crate::telemetry::Metrics;
use crate::wire::{RequestBody, RequestContext, RequestId, ResponseBody};

/// Longest document, in bytes: a thousand rules.
const MAX_DOCUMENT: usize = 2 << 20;

/// Why a version was not replicated.
#[derive(Debug)]
enum Failure {
    /// It may pass.
    Passing(String),
    /// It will not.
    Lasting(String),
    /// The version is there; what was changed of it is not, and will not be.
    Behind(Vec<Facet>, String),
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        let text = error.to_string();
        if error.is_vanished() || error.code.status().is_server_error() || error.code == ErrorCode::OperationAborted {
            Self::Passing(text)
        } else {
            Self::Lasting(text)
        }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        if error.is_lasting() { Self::Lasting(error.to_string()) } else { Self::Passing(error.to_string()) }
    }
}

/// A version that is being replicated.
struct Errand<'e> {
    /// The bucket that it is in.
    bucket: &'e Bucket,
    key: &'e ObjectKey,
    id: VersionId,
    object: &'e Object,
    rule: &'e Rule,
    /// The ARN of the role that does it.
    role: &'e str,
}

/// Keeps how far the upload of a large object is, in its entry, for the next attempt.
struct Ledger<'l> {
    s3: &'l S3,
    partition: Partition,
    waiting: &'l Waiting<ReplicationRecord>,
}

impl Ledger<'_> {
    fn progress(&self) -> Option<ReplicationProgress> {
        self.waiting.entry.progress.clone()
    }

    async fn keep(&self, progress: ReplicationProgress) -> Result<(), StoreError> {
        let entry = ReplicationRecord { progress: Some(progress), ..self.waiting.entry.clone() };
        let batch = Batch::new().put(self.waiting.key.clone(), entry.to_value());
        self.s3.store.commit(self.partition, batch).await.map(drop)
    }
}

/// Carries replications out.
pub struct Replicator {
    s3: Arc<S3>,
    remotes: Vec<Remote>,
    metrics: Arc<Metrics>,
}

impl S3 {
    /// Judges a replication configuration, also against the buckets that it names, and keeps it.
    pub(super) async fn put_replication(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await?;
        // What waits names its rule: a document that is put again keeps the ids that its rules were given.
        let present = self.replication_of(bucket).await?;
        let id_of = |rule: &Rule| {
            let kept = present.as_ref().and_then(|present| present.same_rule(rule)).map(|kept| kept.id.clone());
            let fresh = || uuid::Builder::from_random_bytes(random::bytes(&*self.entropy)).into_uuid().to_string();
            kept.unwrap_or_else(fresh)
        };
        let replication = Replication::parse(&document, id_of)?;
        self.authorize_passing(call, bucket, &replication.role)?;
        let refuse = |message: &'static str| S3Error::new(ErrorCode::InvalidRequest, message);
        if bucket.record.versioning != Versioning::Enabled {
            return Err(refuse("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
                .with("BucketName", &bucket.name));
        }
        for rule in &replication.rules {
            let destination = &rule.destination;
            if self.settings.remote_destinations.iter().any(|pattern| pattern.matches(&destination.bucket)) {
                continue;
            }
            if destination.bucket_name() == bucket.name {
                return Err(refuse("Destination bucket cannot be the same as the source bucket."));
            }
            let found = self.find_bucket(destination.bucket_name()).await?;
            let found = found.ok_or_else(|| refuse("Destination bucket must exist."))?;
            if found.record.versioning != Versioning::Enabled {
                return Err(refuse("Destination bucket must have versioning enabled."));
            }
            // "To replicate objects from a source bucket with Object Lock enabled the destination must also have Object Lock
            // enabled." (S3 user guide, "Amazon S3 replication failure reasons".)
            if bucket.record.object_lock.is_some() && found.record.object_lock.is_none() {
                return Err(refuse("Destination bucket must have Object Lock enabled."));
            }
        }
        let watch = WatchRecord { bucket: bucket.name.clone(), account: bucket.record.account.clone() };
        outbox::watch(&*self.store, bucket.partition(), &watch).await?;
        self.keep_configuration(bucket, ConfigurationKind::Replication, None, replication.canonical()).await?;
        self.begin_passes(bucket, &replication).await?;
        Ok(render::empty(StatusCode::OK))
    }
}

impl Replicator {
    /// Replicates for `s3`, to its own buckets and to those of `remotes`.
    pub fn new(s3: Arc<S3>, remotes: Vec<Remote>, metrics: Arc<Metrics>) -> Self {
        Self { s3, remotes, metrics }
    }

    /// Carries one entry out. The replica's version id, if it was written and has one of its own.
    async fn replicate(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<Option<String>, Failure> {
        let entry = &waiting.entry;
        let bucket = self.s3.find_bucket(&watch.bucket).await?;
        // A bucket that is gone has no versions to be replicated; neither has one of the same name made later.
        let Some(bucket) = bucket.filter(|bucket| bucket.partition() == partition) else { return Ok(None) };
        let replication = self.s3.replication_of(&bucket).await?;
        let found = replication.as_ref().and_then(|replication| {
            let rule = replication.rule(&entry.rule)?;
            (rule.destination.bucket == entry.destination).then_some((replication, rule))
        });
        let gone = || Failure::Lasting("the rule is not there any more".to_owned());
        let (replication, rule) = found.ok_or_else(gone)?;
        if entry.action == ReplicationAction::Existing {
            return self.s3.pass(&bucket, rule, replication, waiting).await.map(|()| None);
        }
        let role = replication.role.as_str();
        let key = ObjectKey::parse(&entry.key)?;
        let id: VersionId = entry.version.parse().map_err(|_| Failure::Lasting("no such version".to_owned()))?;
        let version = commit::read_version(&*self.s3.store, partition, key.as_str(), Some(id)).await;
        // What was deleted meanwhile is not replicated.
        let Some(version) = version.map_err(S3Error::from)? else { return Ok(None) };
        let mut replica = None;
        let remote = self.remotes.iter().find(|remote| remote.serves(&entry.destination));
        match (version, entry.action) {
            (Version::Object(record), ReplicationAction::Put) => {
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
                    let (cx, witness) = (self.s3.own_request(), Witness::default());
                    let call = self.s3.call_of_role(&cx, &bucket, role, Operation::GetObject, &witness)?;
                    self.s3.authorize_source_of_marker(&call, &bucket).await?;
                    let named = (rule.destination.bucket_name(), key.as_str());
                    remote.delete(named, (id, marker.modified), &self.s3.clock).await?;
                }
                None => self.s3.mark_locally(&bucket, &key, marker, (rule, role)).await?,
            },
            _ => {}
        }
        let late = rule.destination.threshold().map(|minutes| i64::from(minutes) * 60_000);
        if late.is_some_and(|late| self.s3.clock.now().as_millisecond().saturating_sub(entry.at) > late) {
            self.tell(partition, watch, waiting, EventName::ReplicationReplicatedAfterThreshold, None).await?;
        }
        Ok(replica)
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
        let witness = Witness::default();
        let call = self.s3.call_of_role(&cx, errand.bucket, errand.role, Operation::GetObject, &witness)?;
        let object = errand.object;
        let tags = self.s3.authorize_source(&call, errand.bucket, errand.key, &object.record).await?;
        let source_key = self.s3.unlock(&call, &errand.bucket.name, errand.key, &object.envelope, None).await?;
        let ledger = Ledger { s3: &self.s3, partition, waiting };
        Ok(remote.put(&self.s3, errand, &tags, source_key, &ledger).await?)
    }

    /// Notes in the version how its replication ended (with the replica's version id, or what of it stays behind and why), and
    /// tells those who want to know of failures.
    async fn note(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
        outcome: Result<Option<&str>, (&[Facet], &str)>,
    ) -> Result<()> {
        let entry = &waiting.entry;
        let ended = match (entry.action, outcome) {
            (ReplicationAction::Existing, _) => return Ok(()),
            (ReplicationAction::Change, Ok(_)) => Ended::Changed(&[]),
            (_, Ok(replica)) => Ended::Written(replica),
            (_, Err((behind @ [_, ..], _))) => Ended::Changed(behind),
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
        if let Err((_, failure)) = outcome {
            self.tell(partition, watch, waiting, EventName::ReplicationFailed, Some(failure)).await?;
        }
        Ok(())
    }

    /// Enters an event about a replication.
    async fn tell(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
        name: EventName,
        failure: Option<&str>,
    ) -> Result<()> {
        let entry = &waiting.entry;
        let Some(bucket) = self.s3.find_bucket(&watch.bucket).await? else { return Ok(()) };
        let deleted = (EventName::ObjectRemovedDelete, EventName::ObjectRemovedDeleteMarkerCreated);
        let cause = Cause::of_service("s3.amazonaws.com", "Replication", deleted);
        let consequences = self.s3.consequences_of(cause, &bucket, &entry.key).await?;
        let operation = match entry.action {
            ReplicationAction::Put | ReplicationAction::Existing => "OBJECT_PUT",
            ReplicationAction::DeleteMarker => "OBJECT_DELETE_MARKER_CREATED",
            ReplicationAction::Change => match entry.facet {
                Some(Facet::Acl) => "OBJECT_ACL_PUT",
                Some(Facet::Retention) => "OBJECT_RETENTION_PUT",
                Some(Facet::LegalHold) => "OBJECT_LEGAL_HOLD_PUT",
                Some(Facet::Tags) | None => "OBJECT_TAGGING_PUT",
            },
        };
        let facts = ReplicationFacts {
            rule: entry.rule.clone(),
            destination: entry.destination.clone(),
            operation: operation.to_owned(),
            requested: entry.at,
            failure: failure.map(str::to_owned),
        };
        let sequence = self.s3.outboxes.sequencer.next(self.s3.clock.now());
        let id = entry.version.parse().ok();
        let batch = consequences.enter_event(Batch::new(), sequence, name, (id, None), Some(&facts));
        if !batch.mutations.is_empty() {
            let _ = self.s3.store.commit(partition, batch).await?;
        }
        Ok(())
    }
}

/// The id of a version's replica. The null version has none; its replica gets the one that it would have.
fn replica_id(record: &ObjectRecord) -> VersionId {
    VersionId::Own { order: record.order(), generation: record.generation }
}

/// What was changed of a version, and not carried to a destination.
fn lapsed(record: &ObjectRecord, destination: &str) -> Vec<Facet> {
    let state = record.replication.as_ref().and_then(|state| state.destination(destination));
    state.map(|state| state.lapsed.clone()).unwrap_or_default()
}

#[async_trait]
impl Carrier for Replicator {
    type Entry = ReplicationRecord;

    const KIND: &'static str = "replication";

    async fn carry(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<ReplicationRecord>) -> Carried {
        let outcome = match self.replicate(bucket, watch, waiting).await {
            Ok(replica) => Ok(replica),
            Err(Failure::Passing(why)) => return Carried::Later(why),
            Err(Failure::Lasting(why)) => Err((Vec::new(), why)),
            Err(Failure::Behind(facets, why)) => Err((facets, why)),
        };
        let noted = outcome.as_ref().map(Option::as_deref).map_err(|(behind, why)| (&behind[..], why.as_str()));
        if let Err(error) = self.note(bucket, watch, waiting, noted).await {
            return Carried::Later(error.to_string());
        }
        match outcome {
            Err((_, why)) => Carried::Never(why),
            Ok(_) if waiting.entry.action == ReplicationAction::Existing => Carried::Done,
            Ok(_) => {
                let took = self.s3.clock.now().as_millisecond().saturating_sub(waiting.entry.at).max(0);
                self.metrics
                    .replication_delay
                    .observe(std::time::Duration::from_millis(took.unsigned_abs()).as_secs_f64());
                Carried::Done
            }
        }
    }

    async fn give_up(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<ReplicationRecord>, why: &str) {
        if let Err(error) = self.note(bucket, watch, waiting, Err((&[], why))).await {
            tracing::error!(%error, key = waiting.entry.key, "a failed replication could not be noted");
        }
    }
}

impl S3 {
    /// The circumstances of what the server asks of itself.
    fn own_request(&self) -> RequestContext {
        let peer = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        RequestContext {
            id: RequestId::draw(&*self.entropy),
            received: self.clock.now(),
            peer,
            client: peer.ip(),
            tls: None,
            // It does not leave the process.
            forwarded_over_tls: true,
        }
    }
}
