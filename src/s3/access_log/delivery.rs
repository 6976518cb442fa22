//! Lines on their way to the bucket that gets them.
//!
//! Lines of one bucket wait together until there are [`FULL`] bytes of them, or until the interval is over; then they become
//! an object. What waits is bounded, in all ([`MOST`]), for one target ([`MOST_OF_TARGET`]) and for one way
//! ([`MOST_OF_WAY`]), so that a target that fails leaves room for the others: what comes beyond is lost, and counted. What cannot
//! be delivered for the store's sake is tried again at the next interval, [`TRIES`] times, and what has come since counts its
//! own tries; what the target bucket does not let in is lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::rules::{Day, Layout, Logging};
use crate::clock::{Timestamp, iso8601};
use crate::crypto::random;
use crate::iam::{self, Permit};
use crate::kms::Caller;
use crate::policy::{Context, Grant};
use crate::s3::acl::lets_logs_in;
use crate::s3::call::Bucket;
use crate::s3::delivery::ServiceWrite;
use crate::s3::error::{ErrorCode, Result};
use crate::s3::request::ObjectKey;
use crate::s3::service::{S3, no_such_bucket};
use crate::sse::{Plan, SseRequest};
use crate::telemetry::outlive;
use crate::wire::RequestId;

/// Bytes of lines that are delivered at once, whatever the time.
const FULL: usize = 4 << 20;
/// Bytes of lines that may wait, of all buckets together.
const MOST: usize = 64 << 20;
/// Those that may wait for one target bucket.
const MOST_OF_TARGET: usize = 32 << 20;
/// Those that may wait of one way.
const MOST_OF_WAY: usize = 16 << 20;
/// How often a delivery is tried.
const TRIES: u32 = 5;
/// Who delivers. (S3 user guide, "Permissions for log delivery".)
const SERVICE: &str = "logging.s3.amazonaws.com";

/// From where to where lines go, and under which day.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Way {
    source: String,
    account: String,
    target: String,
    prefix: String,
    layout: Layout,
    /// That of the requests, where an object tells of one day's. Midnight.
    day: Option<Timestamp>,
}

impl Way {
    /// The way of a line about a request to `bucket`, which was received then.
    pub(super) fn of(bucket: &Bucket, logging: &Logging, received: Timestamp) -> Self {
        let midnight = |at: Timestamp| {
            let seconds = at.as_second();
            Timestamp::from_second(seconds - seconds.rem_euclid(86_400)).unwrap_or(at)
        };
        Self {
            source: bucket.name.clone(),
            account: bucket.record.account.clone(),
            target: logging.target.clone(),
            prefix: logging.prefix.clone(),
            layout: logging.layout,
            day: (logging.layout == Layout::Partitioned(Day::Event)).then(|| midnight(received)),
        }
    }
}

/// Lines of one way that are delivered together.
#[derive(Debug)]
struct Batch {
    text: Bytes,
    lines: u64,
    tries: u32,
}

/// What waits of one way.
#[derive(Debug, Default)]
struct Queue {
    /// What could not be delivered, the oldest first.
    failed: VecDeque<Batch>,
    /// What has come since.
    text: String,
    lines: u64,
    bytes: usize,
}

impl Queue {
    /// Whether it is delivered at once. While deliveries fail, that is left to the interval.
    fn is_full(&self) -> bool {
        self.text.len() >= FULL && self.failed.is_empty()
    }

    /// Everything, the oldest first.
    fn into_batches(self) -> impl Iterator<Item = Batch> {
        let gathered = (self.lines > 0).then(|| Batch { text: self.text.into(), lines: self.lines, tries: 0 });
        self.failed.into_iter().chain(gathered)
    }
}

#[derive(Debug, Default)]
struct Waiting {
    queues: HashMap<Way, Queue>,
    bytes: usize,
    /// By target bucket.
    bytes_of_targets: HashMap<String, usize>,
    figures: Figures,
}

impl Waiting {
    /// The queue of `way`, where so many bytes more may wait: they are counted.
    fn room(&mut self, way: &Way, bytes: usize) -> Option<&mut Queue> {
        let of_target = self.bytes_of_targets.get(&way.target).copied().unwrap_or(0);
        let of_way = self.queues.get(way).map_or(0, |queue| queue.bytes);
        let has_room =
            self.bytes + bytes <= MOST && of_target + bytes <= MOST_OF_TARGET && of_way + bytes <= MOST_OF_WAY;
        if !has_room {
            return None;
        }
        self.bytes += bytes;
        match self.bytes_of_targets.get_mut(&way.target) {
            Some(of_target) => *of_target += bytes,
            None => drop(self.bytes_of_targets.insert(way.target.clone(), bytes)),
        }
        // Most lines find their queue, and need no way of their own.
        if !self.queues.contains_key(way) {
            self.queues.insert(way.clone(), Queue::default());
        }
        let queue = self.queues.get_mut(way)?;
        queue.bytes += bytes;
        Some(queue)
    }

    /// Takes the queue of `way` out.
    fn take(&mut self, way: &Way) -> Option<Queue> {
        let queue = self.queues.remove(way)?;
        self.bytes -= queue.bytes;
        if let Some(of_target) = self.bytes_of_targets.get_mut(&way.target) {
            *of_target -= queue.bytes;
            if *of_target == 0 {
                self.bytes_of_targets.remove(&way.target);
            }
        }
        Some(queue)
    }
}

/// How the logs fare, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Lines delivered.
    pub delivered: u64,
    /// Lines lost.
    pub lost: u64,
}

/// Lines that wait to be delivered.
#[derive(Debug, Default)]
pub(in crate::s3) struct AccessLogs {
    waiting: Mutex<Waiting>,
    full: Notify,
    stop: Notify,
}

impl AccessLogs {
    /// Takes a line.
    pub(super) fn take(&self, way: &Way, line: &str) {
        let mut waiting = self.waiting();
        let Some(queue) = waiting.room(way, line.len()) else {
            waiting.figures.lost += 1;
            return;
        };
        queue.text.push_str(line);
        queue.lines += 1;
        if queue.is_full() {
            self.full.notify_one();
        }
    }

    /// Takes out what is to be delivered: all, or what is full.
    fn due(&self, all: bool) -> Vec<(Way, Batch)> {
        let mut waiting = self.waiting();
        let due = waiting.queues.iter().filter(|(_, queue)| all || queue.is_full());
        let due: Vec<Way> = due.map(|(way, _)| way.clone()).collect();
        let mut batches = Vec::new();
        for way in due {
            let queue = waiting.take(&way).unwrap_or_default();
            batches.extend(queue.into_batches().map(|batch| (way.clone(), batch)));
        }
        batches
    }

    /// Takes back what could not be delivered.
    fn put_back(&self, way: &Way, mut batch: Batch) {
        batch.tries += 1;
        let mut waiting = self.waiting();
        let room = if batch.tries < TRIES { waiting.room(way, batch.text.len()) } else { None };
        match room {
            Some(queue) => queue.failed.push_back(batch),
            None => waiting.figures.lost += batch.lines,
        }
    }

    fn count(&self, delivered: u64, lost: u64) {
        let figures = &mut self.waiting().figures;
        figures.delivered += delivered;
        figures.lost += lost;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl S3 {
    /// How access logs fare.
    pub fn access_log_figures(&self) -> Figures {
        self.access_logs.waiting().figures
    }

    /// Delivers access logs, every `interval`, until [`Self::stop_access_logs`]; then what waits, once more.
    pub async fn deliver_access_logs(self: Arc<Self>, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        loop {
            let (all, last) = tokio::select! {
                () = self.access_logs.full.notified() => (false, false),
                _ = ticks.tick() => (true, false),
                () = self.access_logs.stop.notified() => (true, true),
            };
            for (way, batch) in self.access_logs.due(all) {
                let lines = batch.lines;
                if outlive("access logs", self.deliver_batch(way, batch)).await.is_none() {
                    self.access_logs.count(0, lines);
                }
            }
            if last {
                return;
            }
        }
    }

    /// Has [`Self::deliver_access_logs`] end.
    pub fn stop_access_logs(&self) {
        self.access_logs.stop.notify_one();
    }

    async fn deliver_batch(&self, way: Way, batch: Batch) {
        match self.deliver(&way, batch.text.clone()).await {
            Ok(()) => self.access_logs.count(batch.lines, 0),
            Err(error) if matches!(error.code, ErrorCode::AccessDenied | ErrorCode::NoSuchBucket) => {
                tracing::warn!(source = way.source, target = way.target, %error, "an access log was not let in");
                self.access_logs.count(0, batch.lines);
            }
            Err(error) => {
                tracing::error!(source = way.source, target = way.target, %error, "an access log was not delivered");
                self.access_logs.put_back(&way, batch);
            }
        }
    }

    async fn deliver(&self, way: &Way, text: Bytes) -> Result<()> {
        let bucket = self.find_bucket(&way.target).await?.ok_or_else(|| no_such_bucket(&way.target))?;
        let key = ObjectKey::parse(&self.log_key(way))?;
        let permit = self.authorize_delivery(way, &bucket, &key)?;
        let plan = Plan::decide(SseRequest::Default { bucket_key: None }, bucket.default_encryption().as_ref());
        // Where the bucket's default asks a KMS for a key, it is asked in the name of the bucket's owner.
        let via_service = format!("s3.{}.amazonaws.com", self.settings.region);
        let request_id = RequestId::draw(&*self.entropy).id;
        let caller = Caller::root_of(&bucket.record.account, Some(via_service), request_id);
        let access = self.access_of_logs(&way.source, &bucket).await?;
        let write = ServiceWrite { service: SERVICE, content_type: "text/plain", plan: &plan, caller: &caller, access };
        self.write_as_service((&bucket, &key), permit, write, text).await
    }

    /// Whether the target's policy, or its access control list, lets the log delivery service write, on behalf of the source.
    /// (S3 user guide, "Permissions for log delivery".)
    fn authorize_delivery(&self, way: &Way, bucket: &Bucket, key: &ObjectKey) -> Result<Permit> {
        if bucket.record.account != way.account {
            return Err(ErrorCode::AccessDenied.into());
        }
        let by_list = bucket.acl().is_some_and(lets_logs_in);
        let gives = (self.policy_of(bucket)?, if by_list { Grant::Everybody } else { Grant::None });
        let resource = bucket.arn_of(key);
        let (source, now) = (format!("arn:aws:s3:::{}", way.source), iso8601(self.clock.now()));
        let circumstances = [
            ("aws:currenttime", now.as_str()),
            ("aws:securetransport", "true"),
            ("aws:sourceaccount", way.account.as_str()),
            ("aws:sourcearn", source.as_str()),
            ("aws:principalisawsservice", "true"),
            ("aws:principalservicename", SERVICE),
        ];
        let context: &dyn Context = &ConditionKeys(&circumstances);
        let (at, gives) = ((resource.as_str(), bucket.record.account.as_str()), (gives.0.as_deref(), gives.1));
        Ok(iam::authorize_service(SERVICE, "s3:PutObject", at, gives, context)?)
    }

    /// A fresh key for a log object. (S3 user guide, "Log object key format".)
    fn log_key(&self, way: &Way) -> String {
        let now = self.clock.now();
        let unique = hex::encode_upper(random::bytes::<8>(&*self.entropy));
        let Way { source, account, prefix, layout, day, .. } = way;
        match layout {
            Layout::Simple => format!("{prefix}{}-{unique}", now.strftime("%Y-%m-%d-%H-%M-%S")),
            Layout::Partitioned(_) => {
                let at = day.unwrap_or(now);
                let region = &self.settings.region;
                let at = at.strftime("%Y/%m/%d/%Y-%m-%d-%H-%M-%S");
                format!("{prefix}{account}/{region}/{source}/{at}-{unique}")
            }
        }
    }
}

/// Condition keys and their values.
struct ConditionKeys<'c>(&'c [(&'c str, &'c str)]);

impl Context for ConditionKeys<'_> {
    fn find(&self, key: &str) -> crate::policy::Found<'_> {
        self.0.find(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(source: &str) -> Way {
        Way {
            source: source.to_owned(),
            account: "1".to_owned(),
            target: "t".to_owned(),
            prefix: String::new(),
            layout: Layout::Simple,
            day: None,
        }
    }

    fn texts(due: &[(Way, Batch)]) -> Vec<&str> {
        due.iter().map(|(_, batch)| std::str::from_utf8(&batch.text).unwrap()).collect()
    }

    #[test]
    fn lines_wait_by_their_way_and_in_their_order() {
        let logs = AccessLogs::default();
        for (source, line) in [("a", "1\n"), ("b", "2\n"), ("a", "3\n")] {
            logs.take(&way(source), line);
        }
        assert!(logs.due(false).is_empty(), "nothing is full");
        let mut due = logs.due(true);
        due.sort_by(|(a, _), (b, _)| a.source.cmp(&b.source));
        assert_eq!(texts(&due), ["1\n3\n", "2\n"]);
        assert_eq!(logs.waiting().bytes, 0);
        assert!(logs.waiting().bytes_of_targets.is_empty());
        let (way, batch) = due.swap_remove(0);
        logs.take(&way, "4\n");
        logs.put_back(&way, batch);
        assert_eq!(texts(&logs.due(true)), ["1\n3\n", "4\n"]);
    }

    #[test]
    fn what_fails_for_long_is_let_go_and_takes_nothing_along() {
        let logs = AccessLogs::default();
        logs.take(&way("a"), "old\n");
        for tried in 1..TRIES {
            let due = logs.due(true);
            assert_eq!(texts(&due)[0], "old\n");
            if tried == TRIES - 1 {
                logs.take(&way("a"), "new\n");
            }
            for (way, batch) in due {
                logs.put_back(&way, batch);
            }
        }
        let due = logs.due(true);
        assert_eq!(texts(&due), ["old\n", "new\n"]);
        for (way, batch) in due {
            logs.put_back(&way, batch);
        }
        assert_eq!(logs.waiting().figures.lost, 1);
        assert_eq!(texts(&logs.due(true)), ["new\n"]);
    }

    #[test]
    fn what_waits_is_bounded_and_leaves_room_for_others() {
        let logs = AccessLogs::default();
        let line = "x".repeat(FULL);
        for source in ["a", "b", "c"] {
            for _ in 0..=MOST_OF_WAY / FULL {
                logs.take(&way(source), &line);
            }
        }
        assert_eq!(logs.waiting().bytes, MOST_OF_TARGET, "for one target");
        assert_eq!(logs.waiting().figures.lost, 1 + 1 + 5);
        let elsewhere = |source: &str| Way { target: "u".to_owned(), ..way(source) };
        for source in ["d", "e"] {
            for _ in 0..MOST_OF_WAY / FULL {
                logs.take(&elsewhere(source), &line);
            }
        }
        assert_eq!(logs.waiting().bytes, MOST);
        assert_eq!(logs.waiting().figures.lost, 7);
        logs.take(&Way { target: "v".to_owned(), ..way("f") }, "y");
        assert_eq!(logs.waiting().figures.lost, 8, "there is no more memory");
        assert_eq!(logs.due(false).len(), 4);
        assert_eq!(logs.waiting().bytes, 0);
    }

    #[test]
    fn while_deliveries_fail_they_are_tried_at_the_interval_alone() {
        let logs = AccessLogs::default();
        logs.take(&way("a"), "1\n");
        let (way, batch) = logs.due(true).remove(0);
        logs.put_back(&way, batch);
        logs.take(&way, &"x".repeat(FULL));
        assert!(logs.due(false).is_empty());
        assert_eq!(logs.due(true).len(), 2);
    }
}
