//! What buckets have to tell: event notifications, from the outbox to their targets.
//!
//! ```text
//! write ──s3──> EventRecord in the outbox, in the write's commit        store::outbox
//!          └──> Carriers::call(bucket, lane)                            [carrier]
//! lane ──page──> message (AWS's JSON) ──> target: webhook, NATS, MQTT, AMQP   [message], [target]
//!   └──> removed from the outbox, or tried again later, or given up
//! ```
//! [`carrier`] is general: replication is carried out of its own table by the same carriers (`s3::replication`).
//! (AWS: "Amazon S3 Event Notifications", user guide.)

pub mod carrier;
pub mod message;
pub mod name;
pub mod subscription;
pub mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use carrier::{Carried, Carrier, Carriers, Limits};
pub use name::{EventName, EventPattern};
pub use subscription::{Service, Subscription, Subscriptions};
pub use target::{Message, Target, TargetError};

use crate::sse::{EtagOf, EtagScope, Sse};
use crate::store::Partition;
use crate::store::commit::Tell;
use crate::store::outbox::{EventRecord, Waiting, WatchRecord};
use crate::store::schema::{BucketRecord, StoredEtag, VersionId};
use crate::wire::BoxError;

/// How a life cycle ends something, or takes it on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// A version, or a delete marker, is gone.
    Expired,
    /// The current version is noncurrent, behind a new delete marker.
    Marked,
    /// An upload is gone.
    Aborted,
    /// A version is of this storage class now.
    Transitioned(&'static str),
}

/// What a life cycle has ended.
#[derive(Clone, Debug)]
pub struct LifecycleOutcome {
    /// How.
    pub how: End,
    /// The key.
    pub key: String,
    /// The version that went or was changed, or the delete marker that came, in a bucket that keeps versions.
    pub version: Option<VersionId>,
    /// The size of the object that went or was changed, in bytes.
    pub size: Option<u64>,
}

/// Says what is to be told of a key's life cycle: what `jobs` asks, which stands below the configurations.
#[async_trait]
pub trait Announce: Send + Sync {
    /// What the commit that ends the life of `key` in `bucket` is to tell.
    async fn announce(&self, bucket: &BucketRecord, key: &str) -> Result<Box<dyn Tell>, BoxError>;

    /// Has the access log of the bucket `name` tell of what was ended.
    async fn log(&self, name: &str, bucket: &BucketRecord, ended: LifecycleOutcome);
}

/// The targets that the operator has configured, by ARN. An account has the use of those whose ARNs are its own, and of others
/// that list it.
#[derive(Default)]
pub struct Targets(BTreeMap<String, Configured>);

struct Configured {
    target: Box<dyn Target>,
    /// Further accounts that may use it.
    accounts: Vec<String>,
}

impl Targets {
    /// Adds a target that `accounts` may use beside its own. `false` if the ARN has one already, which then stays.
    pub fn add(&mut self, arn: &str, accounts: Vec<String>, target: Box<dyn Target>) -> bool {
        if self.0.contains_key(arn) {
            return false;
        }
        self.0.insert(arn.to_owned(), Configured { target, accounts });
        true
    }

    /// Whether there is one with this ARN that `account` may use.
    pub fn has(&self, arn: &str, account: &str) -> bool {
        self.find(arn, account).is_some()
    }

    /// Sends `message` to the target `arn`, for a bucket of `account`.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn send(&self, arn: &str, account: &str, message: Message<'_>) -> Result<(), TargetError> {
        let target = self.find(arn, account);
        target.ok_or_else(|| TargetError::new("no such target is configured any more"))?.send(message).await
    }

    fn find(&self, arn: &str, account: &str) -> Option<&dyn Target> {
        let Configured { target, accounts } = self.0.get(arn)?;
        (account_of(arn) == Some(account) || accounts.iter().any(|listed| listed == account)).then_some(&**target)
    }
}

/// The account that an ARN names.
pub fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

/// Carries events to their targets.
pub struct EventCarrier {
    /// The targets.
    pub targets: Arc<Targets>,
    /// Opens sealed entity tags.
    pub sse: Arc<Sse>,
    /// The server's region.
    pub region: String,
}

impl EventCarrier {
    fn etag(&self, bucket: Partition, event: &EventRecord) -> Option<String> {
        match event.etag.as_ref()? {
            StoredEtag::Clear(etag) => Some(etag.clone()),
            StoredEtag::Sealed(sealed) => {
                let of = EtagOf::Object(&event.key);
                let scope = EtagScope { bucket: &bucket.0, of, write: &event.generation };
                self.sse.open_etag(scope, sealed).ok()
            }
        }
    }
}

#[async_trait]
impl Carrier for EventCarrier {
    type Entry = EventRecord;

    const KIND: &'static str = "event";

    async fn carry(&self, bucket: Partition, watch: &WatchRecord, waiting: &Waiting<EventRecord>) -> Carried {
        let event = &waiting.entry;
        let origin = message::Origin { region: &self.region, bucket: &watch.bucket, owner: &watch.account };
        let etag = self.etag(bucket, event);
        let body = message::compose(&origin, event, waiting.sequence, etag.as_deref());
        let message = Message { bucket: &watch.bucket, key: &event.key, at: event.at, body };
        match self.targets.send(&event.destination, &watch.account, message).await {
            Ok(()) => Carried::Done,
            Err(error) => Carried::Later(error.to_string()),
        }
    }
}
