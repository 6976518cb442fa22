//! A pass over one bucket at work.

use std::sync::Weak;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::Instant;

use super::cursor::{Pass, Stage};
use super::judge::{Action, Judge};
use super::rules::Rules;
use super::transition::TransitionClass;
use super::{Checkpoint, Lifecycle, Worked};
use crate::crypto::random;
use crate::events::{End, LifecycleOutcome};
use crate::store::commit::{
    self, After, Deletion, Place, Silent, Standing, Tell, Upload, WriteError, read_upload_pair,
};
use crate::store::configuration::read_configuration;
use crate::store::schema::{
    BucketRecord, Claim, ConfigurationKind, MarkerRecord, ObjectRecord, Table, Version, escape, prefix_of,
};
use crate::store::{KeyRange, StoreError, prefix_end};
use crate::telemetry::metrics::LifecycleLabels;
use crate::wire::BoxError;

/// Versions, or uploads, between two checkpoints.
const PAGE: usize = 1000;
/// Deletions at once: their commits share a sync.
const AT_ONCE: usize = 64;

/// What a pass did since it was begun or taken up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub examined: u64,
    pub removed: u64,
    pub transitioned: u64,
    pub locked: u64,
    pub failed: u64,
}

/// What became of one action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Done,
    /// Done, and what was judged is still there.
    Transitioned,
    /// What was judged is not there any more.
    Changed,
    Locked,
    Failed,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Done | Self::Transitioned => "done",
            Self::Changed => "changed",
            Self::Locked => "locked",
            Self::Failed => "failed",
        }
    }
}

pub(super) struct Sweep<'l> {
    life: &'l Lifecycle,
    name: &'l str,
    bucket: &'l BucketRecord,
    rules: &'l Rules,
    pass: Pass,
    now: i64,
    counts: Counts,
    /// When its turn is over.
    until: Instant,
}

impl<'l> Sweep<'l> {
    pub fn new(life: &'l Lifecycle, (name, bucket): (&'l str, &'l BucketRecord), rules: &'l Rules, pass: Pass) -> Self {
        let (now, until) = (life.clock.now().as_millisecond(), Instant::now() + life.slice);
        Self { now, life, name, bucket, rules, pass, counts: Counts::default(), until }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Goes on to the end, or until its turn is over.
    pub async fn work(&mut self) -> Result<Worked, StoreError> {
        while self.pass.stage != Stage::Done {
            for prefix in self.rules.prefixes() {
                let swept = match self.pass.stage {
                    Stage::Versions if self.rules.concern_objects() => self.sweep_versions(prefix).await?,
                    Stage::Uploads if self.rules.abort_uploads() => self.sweep_uploads(prefix).await?,
                    _ => Worked::Done,
                };
                if swept != Worked::Done {
                    return Ok(swept);
                }
            }
            self.pass.advance();
            if let Checkpoint::Gone = self.checkpoint().await? {
                return Ok(Worked::Gone);
            }
        }
        Ok(Worked::Done)
    }

    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.life.keep(self.bucket, &self.pass).await
    }

    /// All keys up to `done` are done with. `None` to go on: a turn ends only where the next one can begin.
    async fn advance(&mut self, done: Option<String>) -> Result<Option<Worked>, StoreError> {
        let Some(done) = done else { return Ok(None) };
        self.pass.after = done;
        Ok(match self.checkpoint().await? {
            Checkpoint::Gone => Some(Worked::Gone),
            Checkpoint::Yes if Instant::now() >= self.until => Some(Worked::Paused),
            Checkpoint::Yes | Checkpoint::NoSpace => None,
        })
    }

    /// Whether the bucket still has the configuration that the pass goes by: what is deleted or replaced has no effect any more,
    /// not on what is due already either.
    async fn is_configured(&self) -> Result<bool, StoreError> {
        let kept = read_configuration(&*self.life.store, self.bucket, ConfigurationKind::Lifecycle, None).await?;
        Ok(kept.is_some_and(|kept| kept.modified == self.pass.configured))
    }

    /// Where among the keys with `prefix` it goes on: `None` if it is behind all of them.
    fn start<'p>(&'p self, prefix: &str) -> Option<&'p str> {
        let after = self.pass.after.as_str();
        if after.starts_with(prefix) {
            return Some(after);
        }
        (after < prefix).then_some("")
    }

    async fn sweep_versions(&mut self, prefix: &str) -> Result<Worked, StoreError> {
        let Some(start) = self.start(prefix) else { return Ok(Worked::Done) };
        let mut after = (!start.is_empty()).then(|| After::Key(start.to_owned()));
        let mut judge = Judge::new(self.rules, self.bucket.versioning, self.life.calendar, self.now);
        loop {
            if !self.is_configured().await? {
                return Ok(Worked::Gone);
            }
            let store = &*self.life.store;
            let page = commit::read_versions(store, self.bucket.partition(), prefix, after.as_ref(), PAGE).await?;
            let (examined, is_last) = (page.len(), page.len() < PAGE);
            if let Some(last) = page.last() {
                after = Some(After::Version(last.key.clone(), last.version.order()));
            }
            let (mut actions, mut done) = (Vec::new(), None);
            for found in page {
                judge.judge(found, &mut actions, &mut done);
            }
            if is_last {
                done = judge.end_of_key(&mut actions).or(done);
            }
            self.carry_out(examined, actions, |this, action| this.carry_out_one(action).boxed()).await;
            let ended = self.advance(done).await?;
            if is_last || ended.is_some() {
                return Ok(ended.unwrap_or(Worked::Done));
            }
        }
    }

    async fn sweep_uploads(&mut self, prefix: &str) -> Result<Worked, StoreError> {
        let Some(start) = self.start(prefix) else { return Ok(Worked::Done) };
        let mut range = KeyRange::prefix(&prefix_of(Table::Upload, prefix));
        if !start.is_empty() {
            range.start = prefix_end(&escape(Table::Upload, start));
        }
        loop {
            if !self.is_configured().await? {
                return Ok(Worked::Gone);
            }
            let pairs = self.life.store.scan(self.bucket.partition(), &range, PAGE).await?;
            let is_last = pairs.len() < PAGE;
            if let Some((last, _)) = pairs.last() {
                range.start = last.to_vec();
                range.start.push(0);
            }
            let mut uploads = pairs
                .into_iter()
                .map(|(key, value)| read_upload_pair(&key, value))
                .collect::<Result<Vec<Upload>, StoreError>>()?;
            let examined = uploads.len();
            // The uploads of one key may go over the page's end: until its last one has come, it is not done with.
            let last = uploads.last().map(|upload| upload.key.clone());
            let done = uploads.iter().rev().map(|upload| &upload.key);
            let done = done.clone().find(|key| is_last || Some(*key) != last.as_ref()).cloned();
            uploads.retain(|upload| {
                let due = self.rules.abortion(&upload.key, upload.record.initiated, self.life.calendar);
                due.is_some_and(|due| due.at <= self.now)
            });
            self.carry_out(examined, uploads, |this, upload| this.abort_one(upload).boxed()).await;
            let ended = self.advance(done).await?;
            if is_last || ended.is_some() {
                return Ok(ended.unwrap_or(Worked::Done));
            }
        }
    }

    /// Does to a page's versions or uploads what is due, and no more of it each second than may be.
    async fn carry_out<T>(
        &mut self,
        examined: usize,
        due: Vec<T>,
        do_one: for<'s> fn(&'s Self, T) -> BoxFuture<'s, Fate>,
    ) {
        let rates = self.life.rates;
        let share = usize::try_from(rates.removed_per_second).unwrap_or(usize::MAX).max(1);
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let this = &*self;
            let tasks: Vec<_> = due.by_ref().take(share).map(|one| do_one(this, one)).collect();
            let asked = tasks.len();
            let fates: Vec<_> = stream::iter(tasks).buffer_unordered(AT_ONCE).collect().await;
            self.count(fates);
            wait_for(asked, rates.removed_per_second).await;
        }
        let count = u64::try_from(examined).unwrap_or(u64::MAX);
        self.counts.examined += count;
        self.life.metrics.lifecycle_examined.inc_by(count);
        wait_for(examined, rates.examined_per_second).await;
    }

    async fn abort_one(&self, upload: Upload) -> Fate {
        let fate = match commit::abort_upload(&*self.life.store, self.bucket.partition(), &upload).await {
            Ok(true) => {
                self.log(LifecycleOutcome { how: End::Aborted, key: upload.key, version: None, size: None }).await;
                Fate::Done
            }
            Ok(false) => Fate::Changed,
            Err(error) => failed(&upload.key, &error),
        };
        self.note("abort_upload", fate)
    }

    async fn carry_out_one(&self, action: Action) -> Fate {
        let name = action.name();
        self.note(name, self.try_one(action).await)
    }

    /// Counts an action in the metrics, as soon as it is done: who no longer finds the object finds it counted.
    fn note(&self, action: &'static str, fate: Fate) -> Fate {
        self.life.metrics.lifecycle_actions.get_or_create(&LifecycleLabels { action, outcome: fate.name() }).inc();
        fate
    }

    async fn try_one(&self, action: Action) -> Fate {
        match action {
            Action::Expire { key, judged } => self.expire(&key, &judged).await,
            Action::Transition { key, judged, class } => self.transition(&key, &judged, class).await,
            Action::Remove { key, judged } => self.remove(key, judged, Standing::Noncurrent).await,
            Action::Forget { key, judged } => self.remove(key, judged, Standing::Alone).await,
        }
    }

    /// The version of `key` goes for good, if it still is `judged` and stands as it stood.
    async fn remove(&self, key: String, judged: Version, stood: Standing) -> Fate {
        let (store, bucket) = (&*self.life.store, self.bucket.partition());
        let claim = match commit::read_lock_time(store, self.now).await {
            Ok(now) => Claim { now, bypass: false },
            Err(error) => return failed(&key, &error),
        };
        let tell = match self.announcement(&key).await {
            Ok(tell) => tell,
            Err(error) => return failed(&key, &*error),
        };
        let id = judged.id();
        let admit = |present: &Version, standing| {
            if standing == stood && present.is_same(&judged) { Ok(()) } else { Err(Fate::Changed) }
        };
        match commit::delete_version(store, bucket, &key, id, claim, &*tell, admit).await {
            Ok(Some(gone)) => {
                let (version, size) = (Some(gone.id()), gone.object().map(|object| object.size));
                self.log(LifecycleOutcome { how: End::Expired, key, version, size }).await;
                Fate::Done
            }
            Ok(None) => Fate::Changed,
            Err(WriteError::Refused(fate)) => fate,
            Err(WriteError::Locked) => Fate::Locked,
            Err(error) => failed(&key, &error),
        }
    }

    /// The current version of `key` goes, if it still is `judged`.
    async fn expire(&self, key: &str, judged: &ObjectRecord) -> Fate {
        let tell = match self.announcement(key).await {
            Ok(tell) => tell,
            Err(error) => return failed(key, &*error),
        };
        let (bucket, versioning) = (self.bucket.partition(), self.bucket.versioning);
        let place = Place { bucket, versioning, key, tell: &*tell };
        let marker = MarkerRecord::new(self.now, random::bytes(&*self.life.entropy));
        let admit = |present: Option<&ObjectRecord>| {
            if present.is_some_and(|present| present.is_same(judged)) { Ok(()) } else { Err(Fate::Changed) }
        };
        match commit::delete_object(&*self.life.store, place, &marker, admit).await {
            Ok(Deletion::Nothing) => Fate::Changed,
            Ok(deletion) => {
                let (how, version) = match deletion {
                    Deletion::Marked(id) => (End::Marked, Some(id)),
                    _ => (End::Expired, None),
                };
                self.log(LifecycleOutcome { how, key: key.to_owned(), version, size: Some(judged.size) }).await;
                Fate::Done
            }
            Err(WriteError::Refused(fate)) => fate,
            Err(WriteError::Locked) => Fate::Locked,
            Err(error) => failed(key, &error),
        }
    }

    /// The version of `key` becomes one of `class`, if it still is as `judged`; all else of it stays as it is.
    async fn transition(&self, key: &str, judged: &ObjectRecord, class: TransitionClass) -> Fate {
        let tell = match self.announcement(key).await {
            Ok(tell) => tell,
            Err(error) => return failed(key, &*error),
        };
        let id = judged.version_id();
        let change = |present: &mut ObjectRecord| {
            if !present.is_same(judged) {
                return Err(Fate::Changed);
            }
            class.as_str().clone_into(&mut present.attributes.storage_class);
            Ok(())
        };
        let bucket = self.bucket.partition();
        match commit::update_version(&*self.life.store, bucket, key, Some(id), &*tell, change).await {
            Ok(Some(Version::Object(object))) => {
                let how = End::Transitioned(class.as_str());
                let version = self.bucket.versioning.keeps_versions().then_some(id);
                let ended = LifecycleOutcome { how, key: key.to_owned(), version, size: Some(object.size) };
                self.log(ended).await;
                Fate::Transitioned
            }
            Ok(_) => Fate::Changed,
            Err(WriteError::Refused(fate)) => fate,
            Err(error) => failed(key, &error),
        }
    }

    /// Whether the version of `key` became one of `class`, as `judged`.
    #[cfg(test)]
    pub async fn transitions(&self, key: &str, judged: &ObjectRecord, class: TransitionClass) -> bool {
        self.transition(key, judged, class).await == Fate::Transitioned
    }

    /// Has the bucket's access log tell of what was ended.
    async fn log(&self, ended: LifecycleOutcome) {
        if let Some(announcer) = self.life.announcer.as_ref().and_then(Weak::upgrade) {
            announcer.log(self.name, self.bucket, ended).await;
        }
    }

    /// What is to be told of the end of `key`.
    async fn announcement(&self, key: &str) -> Result<Box<dyn Tell>, BoxError> {
        match self.life.announcer.as_ref().and_then(Weak::upgrade) {
            Some(announcer) => announcer.announce(self.bucket, key).await,
            None => Ok(Box::new(Silent)),
        }
    }

    /// Whether a version of `key` went for good, as `judged`.
    #[cfg(test)]
    pub async fn removes(&self, key: &str, judged: Version, stood: Standing) -> bool {
        self.remove(key.to_owned(), judged, stood).await == Fate::Done
    }

    /// Whether the current version of `key` went, as `judged`.
    #[cfg(test)]
    pub async fn expires(&self, key: &str, judged: &ObjectRecord) -> bool {
        self.expire(key, judged).await == Fate::Done
    }

    fn count(&mut self, fates: Vec<Fate>) {
        for fate in fates {
            match fate {
                Fate::Done => self.counts.removed += 1,
                Fate::Transitioned => self.counts.transitioned += 1,
                Fate::Locked => self.counts.locked += 1,
                Fate::Failed => self.counts.failed += 1,
                Fate::Changed => {}
            }
        }
    }
}

/// Waits until `count` more may be done, of which a second may see `rate`.
async fn wait_for(count: usize, rate: u32) {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let wait = Duration::from_secs(1).mul_f64(count / f64::from(rate.max(1)));
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn failed(key: &str, error: &dyn std::error::Error) -> Fate {
    tracing::warn!(key, %error, "what is due could not be done");
    Fate::Failed
}
