//! The re-wrap job at work.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Bench, JobId, JobRecord, JobState, Order, Report, Wish, job_key};
use crate::crypto::random;
use crate::kms::{Caller, KeyRef};
use crate::sse::{Envelope, KmsProtection, ObjectName, Reprotection, SseError};
use crate::store::commit::{self, After, WriteError};
use crate::store::schema::{ObjectRecord, Record as _, SseKind, Version};
use crate::store::tally::read_tallies;
use crate::store::{Batch, Partition, Store, StoreError};

/// Objects between two checkpoints.
const PAGE: usize = 512;
/// Objects re-wrapped at once: their commits share a sync.
const AT_ONCE: usize = 128;
/// How often an object that changes under the job is looked at again.
const TRIES: usize = 16;

/// How long it is waited before a key service that is away, or a store that failed, is asked again, and how often.
const WAIT: Duration = Duration::from_secs(1);
const WAITS: u32 = 120;

/// Objects in the bucket, where all of them are concerned.
pub(super) async fn total(store: &dyn Store, order: &Order) -> Result<Option<u64>, StoreError> {
    if !order.prefix.is_empty() {
        return Ok(None);
    }
    let tallies = read_tallies(store, Partition(order.bucket_id)).await?;
    Ok(Some(tallies.iter().map(|(_, tally)| u64::try_from(tally.objects).unwrap_or(0)).sum()))
}

/// Works on the job until it ends or is wished to rest.
pub(super) async fn run(bench: Bench, id: JobId, record: JobRecord, mut wished: watch::Receiver<Wish>) {
    let mut job = Job { bench, id, kept: record.clone(), record };
    match job.work(&mut wished).await {
        Ok(JobState::Running) => {}
        Ok(state) => job.end(state, &wished).await,
        Err(error) => {
            job.record.report.error = Some(error.to_string());
            job.end(JobState::Failed, &wished).await;
        }
    }
}

struct Job {
    bench: Bench,
    id: JobId,
    record: JobRecord,
    /// As it is stored.
    kept: JobRecord,
}

/// What became of one object.
enum Seen {
    /// It does not depend on the key, or is gone.
    Unconcerned,
    /// It was re-wrapped (in a dry run: would be).
    Rewrapped { bytes: u64 },
    /// It could not be.
    Failed { key: String, reason: String },
}

/// Why one object was not re-wrapped.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Sse(#[from] SseError),
    #[error("the bucket was deleted")]
    NoBucket,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it changed again and again while it was re-wrapped")]
    Restless,
}

impl Job {
    /// Page after page. [`JobState::Running`] if it was interrupted.
    async fn work(&mut self, wished: &mut watch::Receiver<Wish>) -> Result<JobState, StoreError> {
        let mut pace = self.record.order.rate.map(pace);
        loop {
            match *wished.borrow() {
                Wish::Work => {}
                Wish::Cancel => return Ok(JobState::Cancelled),
                Wish::Rest => return Ok(JobState::Running),
            }
            let order = &self.record.order;
            match commit::read_bucket(&*self.bench.store, &order.bucket).await? {
                Some(bucket) if bucket.id == order.bucket_id => {}
                _ => return Err(StoreError::Corrupt("the bucket does not exist any more".to_owned())),
            }
            let size = order.rate.map_or(PAGE, |rate| PAGE.min(usize::try_from(rate).unwrap_or(PAGE)));
            let (store, partition) = (&*self.bench.store, Partition(order.bucket_id));
            let page = commit::read_versions(store, partition, &order.prefix, self.after().as_ref(), size).await?;
            let Some(last) = page.last() else { return Ok(JobState::Completed) };
            let last = (last.key.clone(), last.version.order());
            let objects = page.into_iter().filter_map(|found| match found.version {
                Version::Object(object) => Some((found.key, *object)),
                Version::Marker(_) => None,
            });
            let page = objects.collect();
            let seen = self.rewrap_page(page, pace.as_mut(), wished).await;
            let Some(seen) = seen else { continue };
            for seen in seen {
                self.count(seen);
            }
            (self.record.cursor, self.record.cursor_order) = (last.0, Some(last.1));
            if let Err(error) = self.checkpoint().await {
                // The next one is as good: what is looked at twice is passed by.
                tracing::warn!(job = hex::encode(self.id), %error, "how far a job is could not be recorded");
            }
        }
    }

    /// Where the next page begins.
    fn after(&self) -> Option<After> {
        let JobRecord { cursor, cursor_order, .. } = &self.record;
        match cursor_order {
            Some(order) => Some(After::Version(cursor.clone(), *order)),
            None if cursor.is_empty() => None,
            None => Some(After::Key(cursor.clone())),
        }
    }

    /// `None` if it was interrupted: the page is looked at again, if at all.
    async fn rewrap_page(
        &self,
        page: Vec<(String, ObjectRecord)>,
        pace: Option<&mut Interval>,
        wished: &mut watch::Receiver<Wish>,
    ) -> Option<Vec<Seen>> {
        let interrupted = wished.wait_for(|wish| *wish != Wish::Work);
        let worker = self.worker();
        // Dropped, it takes its tasks along: each leaves its object as it was, or re-wrapped.
        tokio::select! {
            seen = worker.look_at_all(page, pace) => Some(seen),
            _ = interrupted => None,
        }
    }

    fn worker(&self) -> Worker {
        let Bench { entropy, region, .. } = &self.bench;
        // As the principal stands now: whoever lost a permission has lost it for the rest of the job.
        let subject = self.bench.directory.subject_of_arn(&self.record.principal);
        let via_service = Some(format!("s3.{region}.amazonaws.com"));
        let caller = Caller::new(&subject, via_service, hex::encode_upper(random::bytes::<8>(&**entropy)));
        Worker { bench: self.bench.clone(), order: Arc::new(self.record.order.clone()), caller }
    }

    fn count(&mut self, seen: Seen) {
        let report = &mut self.record.report;
        report.examined += 1;
        match seen {
            Seen::Unconcerned => {}
            Seen::Rewrapped { bytes } => {
                report.rewrapped += 1;
                report.bytes = report.bytes.saturating_add(bytes);
            }
            Seen::Failed { key, reason } => report.fail(key, reason),
        }
    }

    async fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.put(&self.record).await?;
        self.kept = self.record.clone();
        Ok(())
    }

    async fn put(&self, record: &JobRecord) -> Result<(), StoreError> {
        let batch = Batch::new().put(job_key(self.id), record.to_value());
        self.bench.store.commit(Partition::GLOBAL, batch).await.map(drop)
    }

    /// Records that it ended, as often as it takes, unless something else is wished of it.
    async fn end(&mut self, state: JobState, wished: &watch::Receiver<Wish>) {
        self.record.state = state;
        self.record.ended = Some(self.bench.clock.now().as_millisecond());
        let job = hex::encode(self.id);
        let mut waits = WAITS;
        let result = loop {
            match self.record_end().await {
                Err(error) if waits > 0 && *wished.borrow() == Wish::Work => {
                    tracing::warn!(job, %error, "the end of a job could not be recorded yet");
                    waits -= 1;
                }
                done => break done,
            }
            tokio::time::sleep(WAIT).await;
        };
        let report = &self.record.report;
        match result {
            Ok(()) => tracing::info!(
                job,
                state = state.as_str(),
                examined = report.examined,
                rewrapped = report.rewrapped,
                failed = report.failed,
                error = report.error,
                "a re-wrap job ended"
            ),
            // It goes on where its last checkpoint is, at the next start, unless it is cancelled.
            Err(error) => tracing::error!(job, %error, "the end of a job could not be recorded"),
        }
    }

    async fn record_end(&mut self) -> Result<(), StoreError> {
        let order = &self.record.order;
        let tallies = read_tallies(&*self.bench.store, Partition(order.bucket_id)).await?;
        let uploads = tallies.iter().filter(|(protection, _)| protection.key == order.from.key);
        self.record.report.uploads_left = uploads.map(|(_, tally)| u64::try_from(tally.uploads).unwrap_or(0)).sum();
        match self.checkpoint().await {
            // A full store takes a record that is as long as the one it has.
            Err(StoreError::NoSpace) => self.put(&self.shortened()).await,
            done => done,
        }
    }

    /// The record with no more texts than are stored of it.
    fn shortened(&self) -> JobRecord {
        let (record, kept) = (self.record.clone(), self.kept.clone());
        let report = Report { failures: kept.report.failures, error: kept.report.error, ..record.report };
        JobRecord { report, cursor: kept.cursor, cursor_order: kept.cursor_order, ..record }
    }
}

/// Whoever re-wraps objects: one, or many at once.
#[derive(Clone)]
struct Worker {
    bench: Bench,
    order: Arc<Order>,
    caller: Caller,
}

impl Worker {
    async fn look_at_all(&self, page: Vec<(String, ObjectRecord)>, mut pace: Option<&mut Interval>) -> Vec<Seen> {
        let mut seen = Vec::with_capacity(page.len());
        let mut tasks = JoinSet::new();
        for (key, record) in page {
            if !self.is_concerned(&record) {
                seen.push(Seen::Unconcerned);
                continue;
            }
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            if tasks.len() >= AT_ONCE {
                seen.extend(tasks.join_next().await.map(joined));
            }
            let worker = self.clone();
            tasks.spawn(async move { worker.look_at(key, record).await });
        }
        while let Some(task) = tasks.join_next().await {
            seen.push(joined(task));
        }
        seen
    }

    async fn look_at(&self, key: String, record: ObjectRecord) -> Seen {
        match self.rewrap(&key, record).await {
            Ok(Some(bytes)) => Seen::Rewrapped { bytes },
            Ok(None) => Seen::Unconcerned,
            Err(trouble) => Seen::Failed { key, reason: trouble.to_string() },
        }
    }

    /// Re-wraps the object, if it depends on the key: its bytes then.
    async fn rewrap(&self, key: &str, mut record: ObjectRecord) -> Result<Option<u64>, Trouble> {
        let (Bench { store, .. }, order) = (&self.bench, &*self.order);
        let partition = Partition(order.bucket_id);
        for _ in 0..TRIES {
            if !self.is_concerned(&record) {
                return Ok(None);
            }
            if order.dry_run {
                return Ok(Some(record.size));
            }
            let envelope = Envelope::from_bytes(&record.envelope)?;
            let bucket_key = envelope.kms().is_some_and(KmsProtection::uses_bucket_key);
            let to = Reprotection { key: KeyRef::parse(&order.to), bucket_key };
            let name = ObjectName { bucket: &order.bucket, key };
            let envelope = self.reprotect(&envelope, name, &to).await?;
            let (bytes, protection) = (envelope.to_bytes(), envelope.summary());
            match commit::replace_envelope::<Infallible>(&**store, partition, key, &record, bytes, protection).await {
                Ok(true) => return Ok(Some(record.size)),
                Ok(false) => {}
                Err(WriteError::NoBucket) => return Err(Trouble::NoBucket),
                Err(WriteError::Store(error)) => return Err(error.into()),
                Err(WriteError::Refused(never)) => match never {},
                Err(WriteError::NoUpload | WriteError::PartsChanged | WriteError::NoSource(_) | WriteError::Locked) => {
                    return Err(Trouble::Restless);
                }
            }
            match commit::read_version(&**store, partition, key, Some(record.version_id())).await? {
                Some(Version::Object(present)) => record = *present,
                Some(Version::Marker(_)) | None => return Ok(None),
            }
        }
        Err(Trouble::Restless)
    }

    /// Waits for a key service that is away: a migration is not given up because of an outage.
    async fn reprotect(
        &self,
        envelope: &Envelope,
        name: ObjectName<'_>,
        to: &Reprotection,
    ) -> Result<Envelope, SseError> {
        let mut waits = WAITS;
        loop {
            match self.bench.sse.reprotect(envelope, &self.caller, name, to).await {
                Err(SseError::Kms(error)) if error.kind.is_transient() && waits > 0 => waits -= 1,
                done => return done,
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    fn is_concerned(&self, record: &ObjectRecord) -> bool {
        let (from, protection) = (&self.order.from, &record.protection);
        let alike = from.kind == protection.kind || (from.kind, protection.kind) == (SseKind::Kms, SseKind::Dsse);
        alike && from.key == protection.key
    }
}

/// What a task saw; that it panicked is a failure as any other.
fn joined(task: Result<Seen, JoinError>) -> Seen {
    task.unwrap_or_else(|error| Seen::Failed { key: String::new(), reason: error.to_string() })
}

/// Ticks `rate` times a second; what was missed is caught up on.
fn pace(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    pace
}
