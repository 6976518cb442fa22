//! Replication: what is written to a bucket is written to others too.
//!
//! A write enters what is to be replicated into the outbox, in its own commit (`super::consequences`); a carrier takes it
//! from there ([`Replicator`]). Destinations are buckets of this server (`local`), or of others that the operator has
//! configured (`remote`).
//!
//! **Protocol** of one version and one destination:
//! 1. the write's commit marks the version PENDING and enters it. *Crash: it is taken up at the next start.*
//! 2. the version is written at the destination. A replica of this server has the version id of its source, so that a second
//!    attempt finds it there. An object that is large, or was uploaded in parts, goes to another server in parts: which are
//!    there is kept in the entry after each. *Crash: the upload is gone on with.*
//! 3. the version is marked COMPLETED, or FAILED. *Crash before: 2 finds the replica, or writes it again, and 3 is done then.
//!    Crash after: what is marked COMPLETED is not sent again.*
//! 4. where there will be no replica, an upload that was begun is aborted. *Crash: it is aborted again.*
//! 5. the entry is removed.
//!
//! What is changed of the version later (its tags, list, retention, legal hold) goes the same way, behind it (`change`): 1 marks
//! it PENDING again, 2 gives the replica what the version has by then, and only the last entry's 3 says COMPLETED. What came by
//! replication goes no further, save that rules with `ReplicaModifications` carry on what somebody else changes of a replica.
//!
//! What waits for longer than its rule wants is told of meanwhile (`overdue`); what failed, by one of AWS's reasons (`reason`).
//!
//! All of it is done by the configuration's role (`role`), which S3 assumes. KMS keys are used on its behalf: `kms:Decrypt` with
//! the source's, `kms:Encrypt` with the replica's. (S3 user guide, "Replicating encrypted objects".)

mod change;
mod configuration;
mod existing;
mod local;
mod overdue;
mod reason;
mod remote;
mod replicator;
mod role;

use http::{Response, StatusCode};

pub(in crate::s3) use configuration::{Candidate, Provenance, ROOT, Replication, Rule};
pub(in crate::s3) use remote::ORIGIN;
pub use remote::{Pace, Remote, Unusable};
pub use replicator::Replicator;

use self::reason::Reason;
use self::remote::RemoteError;
use self::replicator::Ledger;
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::object::Object;
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use crate::crypto::random;
use crate::iam::Permit;
use crate::store::outbox::{self, WatchRecord};
use crate::store::schema::{ConfigurationKind, Facet, ObjectRecord, VersionId, Versioning};
use crate::wire::{RequestBody, RequestContext, RequestId, ResponseBody};

/// Longest document, in bytes: a thousand rules.
const MAX_DOCUMENT: usize = 2 << 20;
/// What is told of a destination that keeps no versions.
pub(in crate::s3) const UNVERSIONED: &str = "Destination bucket must have versioning enabled.";

/// Why a version was not replicated.
#[derive(Debug)]
enum Failure {
    /// It may pass.
    Passing(String),
    /// It will not: how events tell of it, and how the log does.
    Lasting(Reason, String),
    /// The version is there; what was changed of it is not, and will not be.
    Behind(Vec<Facet>, Reason, String),
}

impl Failure {
    /// `error`, of which events tell as of `reason`.
    fn of(error: &S3Error, reason: Reason) -> Self {
        let text = error.to_string();
        if error.is_vanished() || error.code.status().is_server_error() || error.code == ErrorCode::OperationAborted {
            Self::Passing(text)
        } else {
            Self::Lasting(reason, text)
        }
    }

    /// An error of reading or opening the source.
    fn of_source(error: &S3Error) -> Self {
        Self::of(error, Reason::of_source(error))
    }

    /// The destination's error, where `step` was refused.
    fn at(step: Reason) -> impl Fn(S3Error) -> Self {
        move |error| Self::of(&error, Reason::of_answer(error.code.as_str(), step))
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Self::at(Reason::DstPutObjectNotPermitted)(error)
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let text = error.to_string();
        if error.is_lasting() { Self::Lasting(error.reason(), text) } else { Self::Passing(text) }
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
            let fresh = || random::uuid(random::bytes(&*self.entropy));
            kept.unwrap_or_else(fresh)
        };
        let replication = Replication::parse(&document, id_of)?;
        self.authorize_passing(call, bucket, &replication.role)?;
        let refuse = |message: &'static str| S3Error::new(ErrorCode::InvalidRequest, message);
        if bucket.record.versioning != Versioning::Enabled {
            return Err(refuse("Versioning must be 'Enabled' on the bucket to apply a replication configuration"));
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
                return Err(refuse(UNVERSIONED));
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

/// The id of a version's replica. The null version has none; its replica gets the one that it would have.
fn replica_id(record: &ObjectRecord) -> VersionId {
    VersionId::Own { order: record.order(), generation: record.generation }
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
