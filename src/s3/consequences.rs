//! What follows from a write: the events that its bucket's configuration asks for, and the replications. They are entries of
//! the outbox, in the write's own commit.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use async_trait::async_trait;

use super::call::{Bucket, Call};
use super::error::Result;
use super::replication::{Candidate, Provenance, Replication, Replicator, Rule};
use super::service::S3;
use super::{notification, operation::Operation};
use crate::clock::SharedClock;
use crate::events::{Announce, Carriers, EventCarrier, EventName, LifecycleOutcome, Subscriptions, Targets, message};
use crate::iam::Identity;
use crate::sse::SseKind;
use crate::store::commit::{Change, Tell};
use crate::store::outbox::{
    self, EventRecord, Lane, ReplicationAction, ReplicationFacts, ReplicationRecord, Sequencer,
};
use crate::store::schema::{
    BucketRecord, ConfigurationKind, DestinationState, Facet, ObjectRecord, ReplicationState, ReplicationStatus, Table,
    VersionId,
};
use crate::store::{Batch, Partition};
use crate::wire::{BoxError, RequestId};

/// The outbox, and who carries out what is in it.
pub struct Outboxes {
    /// The targets of events.
    pub targets: Arc<Targets>,
    /// Numbers the entries.
    pub sequencer: Arc<Sequencer>,
    /// Carries events.
    pub events: Arc<Carriers<EventCarrier>>,
    /// Carries replications, once it is there: it works with the S3 service itself.
    pub replications: OnceLock<Weak<Carriers<Replicator>>>,
}

impl Outboxes {
    /// Has the passes over existing versions looked at that `rules` ask for.
    pub(super) fn call_replications(&self, bucket: Partition, rules: &[Rule]) {
        for rule in rules {
            self.call(bucket, Table::Replication, Lane::to(&format!("existing {}", rule.destination.bucket)));
        }
    }

    /// Has a lane looked at.
    fn call(&self, bucket: Partition, table: Table, lane: Lane) {
        match table {
            Table::Replication => {
                if let Some(carriers) = self.replications.get().and_then(Weak::upgrade) {
                    carriers.call(bucket, lane);
                }
            }
            _ => self.events.call(bucket, lane),
        }
    }
}

/// The outbox, as components share it.
pub type SharedOutboxes = Arc<Outboxes>;

/// Who causes a write, and how.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// The event of a version that is written, or of what is changed of one, if there is an event for it.
    pub written: Option<EventName>,
    /// What is changed of a version.
    pub facet: Option<Facet>,
    /// The event of an object that goes for good.
    pub removed: EventName,
    /// The event of a delete marker.
    pub marked: EventName,
    pub principal: String,
    /// The account of whoever causes it, where `principal` names somebody else of it.
    pub requester: Option<String>,
    pub source: String,
    /// Where there is no request, one is drawn: events have one all the same.
    pub request_id: String,
    pub host_id: String,
}

impl Cause {
    /// A client's request.
    fn of(call: &Call<'_>) -> Self {
        let (written, facet) = match call.row.operation {
            Operation::CopyObject => (Some(EventName::ObjectCreatedCopy), None),
            Operation::PostObject => (Some(EventName::ObjectCreatedPost), None),
            Operation::CompleteMultipartUpload => (Some(EventName::ObjectCreatedCompleteMultipartUpload), None),
            Operation::PutObjectTagging => (Some(EventName::ObjectTaggingPut), Some(Facet::Tags)),
            Operation::DeleteObjectTagging => (Some(EventName::ObjectTaggingDelete), Some(Facet::Tags)),
            Operation::PutObjectAcl => (Some(EventName::ObjectAclPut), Some(Facet::Acl)),
            Operation::PutObjectRetention => (Some(EventName::ObjectRetentionPut), Some(Facet::Retention)),
            Operation::PutObjectLegalHold => (None, Some(Facet::LegalHold)),
            _ => (Some(EventName::ObjectCreatedPut), None),
        };
        Self {
            written,
            facet,
            removed: EventName::ObjectRemovedDelete,
            marked: EventName::ObjectRemovedDeleteMarkerCreated,
            requester: call.identity.as_ref().map(|identity| identity.account.id.clone()),
            principal: call.identity.as_ref().map_or_else(|| "Anonymous".to_owned(), principal_id),
            source: call.cx.client.to_string(),
            request_id: call.cx.id.id.clone(),
            host_id: call.cx.id.extended.clone(),
        }
    }

    /// A service of the server's own, such as the life cycle.
    pub fn of_service(name: &str, (removed, marked): (EventName, EventName)) -> Self {
        Self {
            written: Some(EventName::ObjectCreatedPut),
            facet: None,
            removed,
            marked,
            principal: name.to_owned(),
            requester: None,
            source: name.to_owned(),
            request_id: String::new(),
            host_id: String::new(),
        }
    }
}

/// As messages name whoever signed: a root by its account, all others by the ids that IAM gave them.
fn principal_id(identity: &Identity) -> String {
    if identity.subject.is_root() { identity.account.id.clone() } else { ["AWS:", &identity.subject.id].concat() }
}

#[async_trait]
impl Announce for S3 {
    async fn announce(&self, bucket: &BucketRecord, key: &str) -> Result<Box<dyn Tell>, BoxError> {
        let gone = (EventName::LifecycleExpirationDelete, EventName::LifecycleExpirationDeleteMarkerCreated);
        let cause = Cause::of_service("s3.amazonaws.com", gone);
        let cause = Cause { written: Some(EventName::LifecycleTransition), ..cause };
        // Events know the bucket's name by its watch.
        let bucket = self.bucket_of(String::new(), bucket.clone());
        Ok(Box::new(self.consequences_of(cause, &bucket, key).await?))
    }

    async fn log(&self, name: &str, bucket: &BucketRecord, ended: LifecycleOutcome) {
        self.log_ended(&self.bucket_of(name.to_owned(), bucket.clone()), ended).await;
    }
}

/// What follows from one write of a key. When it is dropped, whoever must carry it out is called.
pub(super) struct Consequences {
    outboxes: SharedOutboxes,
    clock: SharedClock,
    bucket: Partition,
    key: String,
    /// The ARN of the owner's event bus.
    event_bus: String,
    cause: Cause,
    subscriptions: Option<Arc<Subscriptions>>,
    replication: Option<Arc<Replication>>,
    /// The lanes that got entries.
    lanes: Mutex<Vec<(Table, Lane)>>,
}

impl S3 {
    /// What follows from `call`'s write of `key`.
    ///
    /// # Errors
    /// As a read of the bucket's configurations.
    pub(super) async fn consequences(&self, call: &Call<'_>, bucket: &Bucket, key: &str) -> Result<Consequences> {
        self.consequences_of(Cause::of(call), bucket, key).await
    }

    /// What follows from a write of `key` with this cause.
    ///
    /// # Errors
    /// As a read of the bucket's configurations.
    pub(super) async fn consequences_of(&self, mut cause: Cause, bucket: &Bucket, key: &str) -> Result<Consequences> {
        let kind = ConfigurationKind::Notification;
        let subscriptions = self.configured(bucket, kind, &self.subscriptions, notification::read).await?;
        let replication = self.replication_of(bucket).await?;
        if subscriptions.is_some() && cause.request_id.is_empty() {
            RequestId { id: cause.request_id, extended: cause.host_id } = RequestId::draw(&*self.entropy);
        }
        Ok(Consequences {
            outboxes: Arc::clone(&self.outboxes),
            clock: Arc::clone(&self.clock),
            bucket: bucket.partition(),
            key: key.to_owned(),
            event_bus: message::event_bus(&self.settings.region, &bucket.record.account),
            cause,
            subscriptions,
            replication,
            lanes: Mutex::default(),
        })
    }

    /// The bucket's replication configuration.
    ///
    /// # Errors
    /// As a read of the bucket's configurations.
    pub(super) async fn replication_of(&self, bucket: &Bucket) -> Result<Option<Arc<Replication>>> {
        self.configured(bucket, ConfigurationKind::Replication, &self.replications, Replication::read).await
    }
}

impl Consequences {
    /// Of a replica: it is told of, and goes no further.
    #[must_use]
    pub fn of_replica(mut self) -> Self {
        self.replication = None;
        self
    }

    fn candidate<'c>(&'c self, tags: &'c [(String, String)], encryption: Option<SseKind>) -> Candidate<'c> {
        Candidate { key: &self.key, tags, encryption, provenance: Provenance::Written }
    }

    /// The rules by which the change of a version goes further.
    fn followers(&self, record: &ObjectRecord) -> Vec<&Rule> {
        let (Some(replication), Some(_)) = (&self.replication, self.cause.facet) else { return Vec::new() };
        let candidate = self.candidate(&record.tags, Some(record.protection.kind));
        replication.followers(&candidate, record.replication.as_ref())
    }

    /// Marks in a version that is changed where the change waits to go: there are entries of it in the same commit.
    pub fn mark_change(&self, record: &mut ObjectRecord) {
        let rules = self.followers(record);
        let Some(state) = record.replication.as_mut().filter(|_| !rules.is_empty()) else { return };
        let number = self.outboxes.sequencer.next(self.clock.now());
        for rule in rules {
            state.wait(&rule.destination.bucket, &rule.id, Some(number));
        }
    }

    /// Where a version that is about to be written, and is no replica, will stand in replication.
    pub fn replication_state(&self, tags: &[(String, String)], encryption: SseKind) -> Option<ReplicationState> {
        let replication = self.replication.as_ref()?;
        let candidate = self.candidate(tags, Some(encryption));
        let pending = |rule: &Rule| DestinationState::pending(&rule.destination.bucket, &rule.id);
        let destinations: Vec<DestinationState> = replication.applicable(&candidate).into_iter().map(pending).collect();
        (!destinations.is_empty()).then_some(ReplicationState { is_replica: false, destinations })
    }

    /// Adds the event `name`, of `record` if an object was written. Where its target is not configured any more it waits until it
    /// is again, as long as the operator lets events wait.
    pub fn enter_event(
        &self,
        mut batch: Batch,
        sequence: u64,
        name: EventName,
        (id, record): (Option<VersionId>, Option<&ObjectRecord>),
        facts: Option<&ReplicationFacts>,
    ) -> Batch {
        let Some(subscriptions) = &self.subscriptions else { return batch };
        let to_bus = (subscriptions.event_bridge && name.detail_type().is_some())
            .then_some(("EventBridge", self.event_bus.as_str()));
        let wanting = subscriptions.wanting(name, &self.key);
        let wanting = wanting.map(|subscription| (subscription.id.as_str(), subscription.arn.as_str()));
        for (configuration, arn) in wanting.chain(to_bus) {
            let event = EventRecord {
                name: name.as_str().to_owned(),
                at: self.clock.now().as_millisecond(),
                destination: arn.to_owned(),
                configuration: configuration.to_owned(),
                principal: self.cause.principal.clone(),
                requester: self.cause.requester.clone().filter(|account| *account != self.cause.principal),
                source: self.cause.source.clone(),
                request_id: self.cause.request_id.clone(),
                host_id: self.cause.host_id.clone(),
                key: self.key.clone(),
                version: id.filter(|id| *id != VersionId::Null).map(|id| id.to_string()),
                size: record.map(|record| record.size),
                etag: record.map(|record| record.etag.clone()),
                generation: record.map_or([0; 16], |record| record.generation),
                reason: name.reason().unwrap_or_default().to_owned(),
                replication: facts.cloned(),
                transitioned: record
                    .filter(|_| name == EventName::LifecycleTransition)
                    .map(|record| record.attributes.storage_class.clone()),
            };
            batch = outbox::enter(batch, sequence, &event);
            self.remember(Table::Event, arn);
        }
        batch
    }

    /// That `action` waits to be done with a version, at a destination and by a rule.
    fn entry(&self, action: ReplicationAction, (bucket, rule): (&str, &str), id: VersionId) -> ReplicationRecord {
        let asked = self.replication.as_ref().and_then(|replication| replication.rule_to(bucket, rule));
        ReplicationRecord {
            action,
            at: self.clock.now().as_millisecond(),
            destination: bucket.to_owned(),
            rule: rule.to_owned(),
            key: self.key.clone(),
            version: id.to_string(),
            size: 0,
            progress: None,
            facet: None,
            due: asked.and_then(|rule| rule.destination.threshold()),
        }
    }

    fn enter_replication(&self, batch: Batch, sequence: u64, record: &ReplicationRecord) -> Batch {
        self.remember(Table::Replication, &record.destination);
        outbox::enter(batch, sequence, record)
    }

    /// Adds that a version is to be replicated to the destinations that it waits for.
    pub fn enter_replications(&self, mut batch: Batch, sequence: u64, record: &ObjectRecord, id: VersionId) -> Batch {
        let waiting = record.replication.iter().flat_map(|state| &state.destinations);
        for destination in waiting.filter(|destination| destination.status == ReplicationStatus::Pending) {
            let to = (destination.bucket.as_str(), destination.rule.as_str());
            let entry = ReplicationRecord { size: record.size, ..self.entry(ReplicationAction::Put, to, id) };
            batch = self.enter_replication(batch, sequence, &entry);
        }
        batch
    }

    /// Adds that what was changed of a version is to be carried to its replicas.
    fn enter_changes(&self, mut batch: Batch, sequence: u64, record: &ObjectRecord, id: VersionId) -> Batch {
        for rule in self.followers(record) {
            let to = (rule.destination.bucket.as_str(), rule.id.as_str());
            let entry = ReplicationRecord { facet: self.cause.facet, ..self.entry(ReplicationAction::Change, to, id) };
            batch = self.enter_replication(batch, sequence, &entry);
        }
        batch
    }

    /// The event of a version that was written or changed, if there is one.
    fn enter_written(&self, batch: Batch, sequence: u64, record: &ObjectRecord, id: VersionId) -> Batch {
        match self.cause.written {
            Some(name) => self.enter_event(batch, sequence, name, (Some(id), Some(record)), None),
            None => batch,
        }
    }

    /// Adds that a version is to be replicated to the destinations that it waits for, with a number of its own.
    pub fn replicate(&self, batch: Batch, record: &ObjectRecord, id: VersionId) -> Batch {
        let sequence = self.outboxes.sequencer.next(self.clock.now());
        self.enter_replications(batch, sequence, record, id)
    }

    fn enter_marker(&self, mut batch: Batch, sequence: u64, id: VersionId) -> Batch {
        let Some(replication) = &self.replication else { return batch };
        // What the life cycle does is not replicated. (User guide, "What isn't replicated".)
        if self.cause.marked != EventName::ObjectRemovedDeleteMarkerCreated {
            return batch;
        }
        let candidate = self.candidate(&[], None);
        for rule in replication.applicable(&candidate) {
            let to = (rule.destination.bucket.as_str(), rule.id.as_str());
            batch = self.enter_replication(batch, sequence, &self.entry(ReplicationAction::DeleteMarker, to, id));
        }
        batch
    }

    fn remember(&self, table: Table, destination: &str) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.push((table, Lane::to(destination)));
    }
}

impl Tell for Consequences {
    fn tell(&self, batch: Batch, change: Change<'_>) -> Batch {
        if self.subscriptions.is_none() && self.replication.is_none() {
            return batch;
        }
        let sequence = self.outboxes.sequencer.next(self.clock.now());
        match change {
            Change::Written(record, id) => {
                let batch = self.enter_written(batch, sequence, record, id);
                self.enter_replications(batch, sequence, record, id)
            }
            Change::Changed(record, id) => {
                let batch = self.enter_written(batch, sequence, record, id);
                self.enter_changes(batch, sequence, record, id)
            }
            Change::Marked(id) => {
                let batch = self.enter_event(batch, sequence, self.cause.marked, (Some(id), None), None);
                self.enter_marker(batch, sequence, id)
            }
            Change::Removed(id) => self.enter_event(batch, sequence, self.cause.removed, (id, None), None),
        }
    }
}

impl Drop for Consequences {
    /// Also where the request was given up: its commit may yet have been applied.
    fn drop(&mut self) {
        let lanes = std::mem::take(self.lanes.get_mut().unwrap_or_else(PoisonError::into_inner));
        for (table, lane) in lanes {
            self.outboxes.call(self.bucket, table, lane);
        }
    }
}
