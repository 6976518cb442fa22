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
//! All of it is done by the configuration's role (`role`), which S3 assumes. KMS keys are used on its behalf: `kms:Decrypt` with
//! the source's, `kms:Encrypt` with the replica's. (S3 user guide, "Replicating encrypted objects".)

mod configuration;
mod existing;
mod local;
mod remote;
mod role;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode};

pub(in crate::s3) use configuration::{Candidate, ROOT, Replication, Rule};
pub(in crate::s3) use remote::ORIGIN;
pub use remote::{Pace, Remote, Unusable};

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
use crate::store::schema::{ConfigurationKind, Record as _, ReplicationStatus, Version, VersionId, Versioning};
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
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await?;
        if document.is_empty() {
            return Err(ErrorCode::MissingRequestBody.into());
        }
        let fresh_id = || uuid::Builder::from_random_bytes(random::bytes(&*self.entropy)).into_uuid().to_string();
        let replication = Replication::parse(&document, fresh_id)?;
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

    /// Carries one entry out, and says so in the version.
    async fn replicate(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<(), Failure> {
        let entry = &waiting.entry;
        let bucket = self.s3.find_bucket(&watch.bucket).await?;
        // A bucket that is gone has no versions to be replicated; neither has one of the same name made later.
        let Some(bucket) = bucket.filter(|bucket| bucket.partition() == partition) else { return Ok(()) };
        let replication = self.s3.replication_of(&bucket).await?;
        let found = replication.as_ref().and_then(|replication| {
            let rule = replication.rule(&entry.rule)?;
            (rule.destination.bucket == entry.destination).then_some((replication, rule))
        });
        let gone = || Failure::Lasting("the rule is not there any more".to_owned());
        let (replication, rule) = found.ok_or_else(gone)?;
        if entry.action == ReplicationAction::Existing {
            return self.s3.pass(&bucket, rule, replication, waiting).await;
        }
        let role = replication.role.as_str();
        let key = ObjectKey::parse(&entry.key)?;
        let id: VersionId = entry.version.parse().map_err(|_| Failure::Lasting("no such version".to_owned()))?;
        let version = commit::read_version(&*self.s3.store, partition, key.as_str(), Some(id)).await;
        // What was deleted meanwhile is not replicated.
        let Some(version) = version.map_err(S3Error::from)? else { return Ok(()) };
        let remote = self.remotes.iter().find(|remote| remote.serves(&entry.destination));
        match (version, entry.action) {
            (Version::Object(record), ReplicationAction::Put) => {
                let object = self.s3.open_record(&bucket, &key, *record)?;
                let record = &object.record;
                // The null version has no id; its replica gets the one that it would have.
                let id = VersionId::Own { order: record.order(), generation: record.generation };
                let errand = Errand { bucket: &bucket, key: &key, id, object: &object, rule, role };
                match remote {
                    Some(remote) => self.send(remote, &errand, partition, waiting).await?,
                    None => self.s3.replicate_locally(&errand).await?,
                }
                self.metrics.replicated.inc_by(object.record.size);
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
        Ok(())
    }

    /// Sends an object to another server.
    async fn send(
        &self,
        remote: &Remote,
        errand: &Errand<'_>,
        partition: Partition,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<(), Failure> {
        let cx = self.s3.own_request();
        let witness = Witness::default();
        let call = self.s3.call_of_role(&cx, errand.bucket, errand.role, Operation::GetObject, &witness)?;
        let object = errand.object;
        let tags = self.s3.authorize_source(&call, errand.bucket, errand.key, &object.record).await?;
        let source_key = self.s3.unlock(&call, &errand.bucket.name, errand.key, &object.envelope, None).await?;
        let ledger = Ledger { s3: &self.s3, partition, waiting };
        remote.put(&self.s3, errand, &tags, source_key, &ledger).await?;
        Ok(())
    }

    /// Notes in the version how its replication ended, and tells those who want to know of failures.
    async fn note(
        &self,
        partition: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
        failure: Option<&str>,
    ) -> Result<()> {
        let entry = &waiting.entry;
        if entry.action == ReplicationAction::Existing {
            return Ok(());
        }
        let status = if failure.is_some() { ReplicationStatus::Failed } else { ReplicationStatus::Completed };
        let Ok(id) = entry.version.parse::<VersionId>() else { return Ok(()) };
        let change = |record: &mut crate::store::schema::ObjectRecord| -> Result<()> {
            if let Some(state) = &mut record.replication {
                state.note(&entry.destination, status);
            }
            Ok(())
        };
        commit::update_version(&*self.s3.store, partition, &entry.key, Some(id), &Silent, change).await?;
        if let Some(failure) = failure {
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

#[async_trait]
impl Carrier for Replicator {
    type Entry = ReplicationRecord;

    const KIND: &'static str = "replication";

    async fn carry(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<ReplicationRecord>) -> Carried {
        let ended = self.replicate(bucket, watch, waiting).await;
        let failure = match ended {
            Ok(()) => None,
            Err(Failure::Passing(why)) => return Carried::Later(why),
            Err(Failure::Lasting(why)) => Some(why),
        };
        if let Err(error) = self.note(bucket, watch, waiting, failure.as_deref()).await {
            return Carried::Later(error.to_string());
        }
        match failure {
            Some(why) => Carried::Never(why),
            None if waiting.entry.action == ReplicationAction::Existing => Carried::Done,
            None => {
                let took = self.s3.clock.now().as_millisecond().saturating_sub(waiting.entry.at).max(0);
                self.metrics
                    .replication_delay
                    .observe(std::time::Duration::from_millis(took.unsigned_abs()).as_secs_f64());
                Carried::Done
            }
        }
    }

    async fn give_up(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<ReplicationRecord>, why: &str) {
        if let Err(error) = self.note(bucket, watch, waiting, Some(why)).await {
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
