//! Work on whole buckets: jobs, which go on while nobody waits, survive the server's end, and report; and verification
//! ([`verify`]), which somebody waits for.
//!
//! There is one kind of job, the **re-wrap**: every object of a bucket, and every version of it, that depends on one KMS key
//! gets its data key wrapped under another. No byte of object data is read.
//!
//! **Life of a job**: 1. its record is committed, `running`. *Crash: taken up at the next start.* 2. objects are re-wrapped,
//! page by page; each object is one atomic commit. 3. after each page the record gets the cursor and the counts. *Crash
//! between 2 and 3: the page is looked at again; what was re-wrapped already no longer depends on the old key and is passed
//! over. So too where the store is too full to take the cursor.* 4. the record gets its end and its report; where the store is
//! full, without what would make the record longer.

pub mod lifecycle;
mod record;
mod rewrap;
pub mod verify;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use record::{Failure, JobRecord, JobState, Order, Report};

use crate::clock::SharedClock;
use crate::crypto::{SharedEntropy, random};
use crate::iam::Directory;
use crate::sse::Sse;
use crate::store::schema::{Record as _, Table, key_of};
use crate::store::{Batch, KeyRange, Outcome, Partition, SharedStore, StoreError};

/// Names a job.
pub type JobId = [u8; 16];

/// Ended jobs that are kept; older ones are forgotten.
const ENDED_KEPT: usize = 200;

/// All jobs of the server.
pub struct Jobs {
    bench: Bench,
    running: Mutex<HashMap<JobId, Running>>,
}

/// What jobs work with.
#[derive(Clone)]
struct Bench {
    store: SharedStore,
    sse: Arc<Sse>,
    /// Who those are that jobs work for.
    directory: Arc<Directory>,
    clock: SharedClock,
    entropy: SharedEntropy,
    /// The region that the KMS is told it is asked from.
    region: String,
}

/// A job at work.
struct Running {
    wish: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

/// What is wished of a job at work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    /// To go on.
    Work,
    /// To end, for good.
    Cancel,
    /// To stop, and to go on at the server's next start.
    Rest,
}

impl Jobs {
    /// The jobs on `store`. None runs before [`Self::resume`].
    pub fn new(
        store: SharedStore,
        sse: Arc<Sse>,
        directory: Arc<Directory>,
        (clock, entropy): (SharedClock, SharedEntropy),
        region: String,
    ) -> Self {
        Self { bench: Bench { store, sse, directory, clock, entropy, region }, running: Mutex::default() }
    }

    /// At start: takes up the jobs that the server's end interrupted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume(&self) -> Result<(), StoreError> {
        for (id, record) in self.list().await? {
            if record.state == JobState::Running {
                tracing::info!(job = %hex::encode(id), "taking up an interrupted job");
                self.run(id, record);
            }
        }
        Ok(())
    }

    /// Starts a job for `principal` of `account`.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was started.
    pub async fn start(&self, order: Order, account: String, principal: String) -> Result<JobId, StoreError> {
        let Bench { store, clock, entropy, .. } = &self.bench;
        self.forget_oldest().await?;
        let id = random::bytes(&**entropy);
        let record = JobRecord {
            report: Report { total: rewrap::total(&**store, &order).await?, ..Report::default() },
            order,
            account,
            principal,
            state: JobState::Running,
            started: clock.now().as_millisecond(),
            ended: None,
            cursor: String::new(),
            cursor_order: None,
        };
        let batch = Batch::new().expect(job_key(id), None).put(job_key(id), record.to_value());
        match store.commit(Partition::GLOBAL, batch).await? {
            Outcome::Applied => {}
            Outcome::Conflict { .. } => return Err(StoreError::Corrupt("a random job id came twice".to_owned())),
        }
        self.run(id, record);
        Ok(id)
    }

    /// All jobs, running and ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<(JobId, JobRecord)>, StoreError> {
        let range = KeyRange::prefix(&[Table::Job as u8]);
        let pairs = self.bench.store.scan(Partition::GLOBAL, &range, usize::MAX).await?;
        let read = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            let id = key.get(1..).and_then(|id| id.try_into().ok());
            let id = id.ok_or_else(|| StoreError::Corrupt("job key".to_owned()))?;
            Ok((id, JobRecord::from_value(&value)?))
        };
        pairs.into_iter().map(read).collect()
    }

    /// The job `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        let value = self.bench.store.get(Partition::GLOBAL, &job_key(id)).await?;
        value.map(|value| JobRecord::from_value(&value)).transpose()
    }

    /// Has the job `id` end, if it has not, and waits until it has. What is re-wrapped stays re-wrapped.
    ///
    /// # Errors
    /// [`StoreError`]: its end is not recorded.
    pub async fn cancel(&self, id: JobId) -> Result<(), StoreError> {
        let running = self.running().remove(&id);
        if let Some(running) = running {
            running.end(Wish::Cancel).await;
        }
        // Nobody is at work on it any more, and it may not have been able to record its end.
        let store = &*self.bench.store;
        let Some(value) = store.get(Partition::GLOBAL, &job_key(id)).await? else { return Ok(()) };
        let record = JobRecord::from_value(&value)?;
        if record.state != JobState::Running {
            return Ok(());
        }
        let ended = Some(self.bench.clock.now().as_millisecond());
        let cancelled = JobRecord { state: JobState::Cancelled, ended, ..record };
        let batch = Batch::new().expect(job_key(id), Some(value)).put(job_key(id), cancelled.to_value());
        // A conflict is another's word on the same job.
        store.commit(Partition::GLOBAL, batch).await.map(drop)
    }

    /// At the server's end: lets every job come to rest between two pages.
    pub async fn close(&self) {
        let running: Vec<Running> = self.running().drain().map(|(_, running)| running).collect();
        for job in running {
            job.end(Wish::Rest).await;
        }
    }

    fn run(&self, id: JobId, record: JobRecord) {
        let (wish, wished) = watch::channel(Wish::Work);
        let task = tokio::spawn(rewrap::run(self.bench.clone(), id, record, wished));
        let mut running = self.running();
        running.retain(|_, job| !job.task.is_finished());
        running.insert(id, Running { wish, task });
    }

    /// Makes room for one more job.
    async fn forget_oldest(&self) -> Result<(), StoreError> {
        let mut ended = self.list().await?;
        ended.retain(|(_, record)| record.state != JobState::Running);
        ended.sort_by_key(|(_, record)| record.started);
        let surplus = ended.len().saturating_sub(ENDED_KEPT - 1);
        let forget = ended.iter().take(surplus).fold(Batch::new(), |batch, (id, _)| batch.delete(job_key(*id)));
        self.bench.store.commit(Partition::GLOBAL, forget).await.map(drop)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    async fn end(self, wish: Wish) {
        // A job that has ended hears nothing, and need not.
        let _ = self.wish.send(wish);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a job did not end well");
        }
    }
}

fn job_key(id: JobId) -> Vec<u8> {
    key_of(Table::Job, &id)
}

#[cfg(test)]
mod tests;
