//! Versions that were there before a rule: a pass over the bucket enters those that the rule is for. It is an entry of the
//! outbox itself, so that a crash only interrupts it, and it has a lane of its own, so that it holds up nothing that is
//! written meanwhile. What failed before is tried again by it.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::super::call::Bucket;
use super::super::consequences::{Cause, Consequences};
use super::super::error::{Result, S3Error};
use super::super::service::S3;
use super::{Candidate, Failure, Provenance, Replication, Rule};
use crate::events::EventName;
use crate::store::commit::{self, After, Change, FoundVersion, Tell};
use crate::store::outbox::{self, ReplicationAction, ReplicationRecord, Waiting};
use crate::store::schema::{ObjectRecord, Record as _, ReplicationState, ReplicationStatus, Version};
use crate::store::{Batch, StoreError};

/// Versions looked at between two checkpoints.
const PAGE: usize = 500;
/// Versions entered at once: their commits share a sync.
const AT_ONCE: usize = 64;

/// Enters replications, and tells nobody.
struct Requeue<'c>(&'c Consequences);

impl Tell for Requeue<'_> {
    fn tell(&self, batch: Batch, change: Change<'_>) -> Batch {
        match change {
            Change::Changed(record, id) => self.0.replicate(batch, record, id),
            _ => batch,
        }
    }
}

impl S3 {
    /// Begins the passes that the rules ask for.
    pub(super) async fn begin_passes(&self, bucket: &Bucket, replication: &Replication) -> Result<()> {
        let now = self.clock.now();
        let wanted = replication.rules.iter().filter(|rule| rule.wants_existing());
        let batch = wanted.fold(Batch::new(), |batch, rule| {
            let pass = ReplicationRecord {
                action: ReplicationAction::Existing,
                at: now.as_millisecond(),
                destination: rule.destination.bucket.clone(),
                rule: rule.id.clone(),
                key: String::new(),
                version: String::new(),
                size: 0,
                progress: None,
                facet: None,
                due: None,
            };
            outbox::enter(batch, self.outboxes.sequencer.next(now), &pass)
        });
        if !batch.mutations.is_empty() {
            let _ = self.store.commit(bucket.partition(), batch).await?;
            self.outboxes.call_replications(bucket.partition(), &replication.rules);
        }
        Ok(())
    }

    /// Goes on with a pass, to its end.
    pub(super) async fn pass(
        &self,
        bucket: &Bucket,
        rule: &Rule,
        replication: &Replication,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<(), Failure> {
        let (store, partition) = (&*self.store, bucket.partition());
        let mut entry = waiting.entry.clone();
        loop {
            let order = entry.version.parse().ok();
            let after = order.map(|order| After::Version(entry.key.clone(), order));
            let page =
                commit::read_versions(store, partition, "", after.as_ref(), PAGE).await.map_err(S3Error::from)?;
            let Some(last) = page.last() else { return Ok(()) };
            (entry.key, entry.version) = (last.key.clone(), last.version.order().to_string());
            let entering: Vec<_> =
                page.into_iter().map(|found| self.enter_existing(bucket, rule, replication, found).boxed()).collect();
            stream::iter(entering).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            let checkpoint = Batch::new().put(waiting.key.clone(), entry.to_value());
            let _ = self.store.commit(partition, checkpoint).await.map_err(S3Error::from)?;
        }
    }

    /// Enters a version, if the rule is for it and it neither is nor will be at the destination.
    async fn enter_existing(
        &self,
        bucket: &Bucket,
        rule: &Rule,
        replication: &Replication,
        found: FoundVersion,
    ) -> Result<()> {
        let Version::Object(record) = &found.version else { return Ok(()) };
        if !wants(replication, rule, &found.key, record) {
            return Ok(());
        }
        let deleted = (EventName::ObjectRemovedDelete, EventName::ObjectRemovedDeleteMarkerCreated);
        let cause = Cause::of_service("s3.amazonaws.com", deleted);
        let consequences = self.consequences_of(cause, bucket, &found.key).await?;
        let change = |record: &mut ObjectRecord| -> Result<()> {
            if wants(replication, rule, &found.key, record) {
                set_pending(record, rule);
            }
            Ok(())
        };
        let (store, id) = (&*self.store, Some(record.version_id()));
        let tell = Requeue(&consequences);
        commit::update_version(store, bucket.partition(), &found.key, id, &tell, change).await?;
        Ok(())
    }
}

/// Whether a version is to be entered for the rule.
fn wants(replication: &Replication, rule: &Rule, key: &str, record: &ObjectRecord) -> bool {
    let state = record.replication.as_ref();
    let is_replica = state.is_some_and(|state| state.is_replica);
    let provenance = if is_replica { Provenance::Replica } else { Provenance::Written };
    let status = state.and_then(|state| state.status(&rule.destination.bucket));
    let candidate = Candidate { key, tags: &record.tags, encryption: Some(record.protection.kind), provenance };
    !matches!(status, Some(ReplicationStatus::Pending | ReplicationStatus::Completed))
        && replication.applicable(&candidate).iter().any(|applicable| applicable.id == rule.id)
}

fn set_pending(record: &mut ObjectRecord, rule: &Rule) {
    let fresh = ReplicationState { is_replica: false, destinations: Vec::new() };
    let state = record.replication.get_or_insert(fresh);
    state.wait(&rule.destination.bucket, &rule.id, None);
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        S3Error::from(error).into()
    }
}
