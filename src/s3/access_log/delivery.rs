//! Lines on their way to the bucket that gets them.
//!
//! Lines of one bucket wait together until there are [`FULL`] bytes of them, or until the interval is over; then they become
//! an object. All that waits is bounded by [`MOST`] bytes: what comes beyond is lost, and counted. What cannot be delivered for
//! the store's sake is tried again at the next interval, [`TRIES`] times; what the target bucket does not let in is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use tokio::sync::Notify;

use super::rules::{Day, Layout, Logging};
use crate::clock::{Timestamp, iso8601};
use crate::crypto::random;
use crate::events::EventName;
use crate::iam::{self, Permit};
use crate::kms::Caller;
use crate::policy::{Context, Grant};
use crate::s3::acl::lets_logs_in;
use crate::s3::checksum::Algorithm;
use crate::s3::condition::Preconditions;
use crate::s3::consequences::Cause;
use crate::s3::error::{ErrorCode, Result};
use crate::s3::headers::STANDARD_CLASS;
use crate::s3::markings::Markings;
use crate::s3::payload::PayloadPlan;
use crate::s3::put::NewObject;
use crate::s3::request::ObjectKey;
use crate::s3::service::{Bucket, S3, no_such_bucket};
use crate::sse::{ObjectName, Plan, SseRequest};
use crate::store::schema::Attributes;
use crate::telemetry::outlive;
use crate::wire::RequestId;

/// Bytes of lines that are delivered at once, whatever the time.
const FULL: usize = 4 << 20;
/// Bytes of lines that may wait, of all buckets together.
const MOST: usize = 64 << 20;
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

#[derive(Debug, Default)]
struct Batch {
    text: String,
    lines: u64,
    tries: u32,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: HashMap<Way, Batch>,
    bytes: usize,
    figures: Figures,
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
        if waiting.bytes + line.len() > MOST {
            waiting.figures.lost += 1;
            return;
        }
        waiting.bytes += line.len();
        let batch = match waiting.batches.get_mut(way) {
            Some(batch) => batch,
            None => waiting.batches.entry(way.clone()).or_default(),
        };
        batch.text.push_str(line);
        batch.lines += 1;
        if batch.text.len() >= FULL {
            self.full.notify_one();
        }
    }

    /// Takes out what is to be delivered: all, or what is full.
    fn due(&self, all: bool) -> Vec<(Way, Batch)> {
        let mut waiting = self.waiting();
        let due: Vec<Way> = waiting
            .batches
            .iter()
            .filter(|(_, batch)| all || (batch.text.len() >= FULL && batch.tries == 0))
            .map(|(way, _)| way.clone())
            .collect();
        let due: Vec<(Way, Batch)> =
            due.into_iter().filter_map(|way| Some((way.clone(), waiting.batches.remove(&way)?))).collect();
        waiting.bytes -= due.iter().map(|(_, batch)| batch.text.len()).sum::<usize>();
        due
    }

    /// Takes back what could not be delivered, before what has come since.
    fn put_back(&self, way: Way, mut batch: Batch) {
        batch.tries += 1;
        let mut waiting = self.waiting();
        if batch.tries >= TRIES || waiting.bytes + batch.text.len() > MOST {
            waiting.figures.lost += batch.lines;
            return;
        }
        waiting.bytes += batch.text.len();
        let since = waiting.batches.entry(way).or_default();
        batch.text.push_str(&since.text);
        batch.lines += since.lines;
        *since = batch;
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
        match self.deliver(&way, &batch.text).await {
            Ok(()) => self.access_logs.count(batch.lines, 0),
            Err(error) if matches!(error.code, ErrorCode::AccessDenied | ErrorCode::NoSuchBucket) => {
                tracing::warn!(source = way.source, target = way.target, %error, "an access log was not let in");
                self.access_logs.count(0, batch.lines);
            }
            Err(error) => {
                tracing::error!(source = way.source, target = way.target, %error, "an access log was not delivered");
                self.access_logs.put_back(way, batch);
            }
        }
    }

    async fn deliver(&self, way: &Way, text: &str) -> Result<()> {
        let bucket = self.find_bucket(&way.target).await?.ok_or_else(|| no_such_bucket(&way.target))?;
        let key = ObjectKey::parse(&self.log_key(way))?;
        let _permit = self.authorize_delivery(way, &bucket, &key)?;
        let plan = Plan::decide(SseRequest::Default { bucket_key: None }, bucket.default_encryption().as_ref());
        // Where the bucket's default asks a KMS for a key, it is asked in the name of the bucket's owner.
        let via_service = format!("s3.{}.amazonaws.com", self.settings.region);
        let request_id = RequestId::draw(&*self.entropy).id;
        let caller = Caller::root_of(&bucket.record.account, Some(via_service), request_id);
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&plan, &caller, name).await?;
        let required = self.data_requirements(envelope.shows_md5(), Algorithm::Crc64Nvme);
        let payload = PayloadPlan::internal(text.len() as u64, &required);
        let body = Full::from(text.to_owned()).map_err(|never| match never {}).boxed_unsync();
        let (sealed, verified) = self.receive(payload, body, &object_key, 0).await?;
        let attributes = Attributes {
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            metadata: Vec::new(),
            storage_class: STANDARD_CLASS.to_owned(),
        };
        let deleted = (EventName::ObjectRemovedDelete, EventName::ObjectRemovedDeleteMarkerCreated);
        let cause = Cause::of_service(SERVICE, deleted);
        let consequences = self.consequences_of(cause, &bucket, key.as_str()).await?;
        let new = NewObject {
            attributes,
            // The bucket may have got Object Lock after it was made a target.
            markings: Markings { retention: self.retention_of_upload(&bucket, None).await?, ..Markings::default() },
            access: self.access_of_logs(&way.source, &bucket).await?,
            envelope: &envelope,
            object_key: &object_key,
            sealed,
            verified: &verified,
            consequences: &consequences,
            origin: None,
        };
        self.store_object(&bucket, &key, new, &Preconditions::default()).await?;
        Ok(())
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
        let context: &dyn Context = &Circumstances(&circumstances);
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

/// Circumstances that are a list.
struct Circumstances<'c>(&'c [(&'c str, &'c str)]);

impl Context for Circumstances<'_> {
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

    #[test]
    fn lines_wait_by_their_way_and_in_their_order() {
        let logs = AccessLogs::default();
        for (source, line) in [("a", "1\n"), ("b", "2\n"), ("a", "3\n")] {
            logs.take(&way(source), line);
        }
        assert!(logs.due(false).is_empty(), "nothing is full");
        let mut due = logs.due(true);
        due.sort_by(|(a, _), (b, _)| a.source.cmp(&b.source));
        assert_eq!(due.iter().map(|(_, batch)| batch.text.as_str()).collect::<Vec<_>>(), ["1\n3\n", "2\n"]);
        assert_eq!(logs.waiting().bytes, 0);
        let (way, batch) = due.swap_remove(0);
        logs.take(&way, "4\n");
        logs.put_back(way, batch);
        assert_eq!(logs.due(true).pop().unwrap().1.text, "1\n3\n4\n");
    }

    #[test]
    fn what_waits_is_bounded_and_what_fails_for_long_is_let_go() {
        let logs = AccessLogs::default();
        let line = "x".repeat(FULL);
        for _ in 0..=MOST / FULL {
            logs.take(&way("a"), &line);
        }
        assert_eq!(logs.waiting().bytes, MOST);
        assert_eq!(logs.waiting().figures.lost, 1);
        assert_eq!(logs.due(false).len(), 1);
        logs.take(&way("a"), "y");
        for _ in 0..TRIES {
            let (way, batch) = logs.due(true).pop().unwrap();
            logs.put_back(way, batch);
        }
        assert!(logs.due(true).is_empty());
        assert_eq!(logs.waiting().figures.lost, 2);
    }
}
