//! What a commit tells of itself: entries of the outbox, in the same step. See [`crate::store::outbox`].

use crate::store::Batch;
use crate::store::schema::{ObjectRecord, VersionId};

/// What a commit does to a key.
#[derive(Clone, Copy, Debug)]
pub enum Change<'d> {
    /// A version is written.
    Written(&'d ObjectRecord, VersionId),
    /// A delete marker is set.
    Marked(VersionId),
    /// The object goes, or was not there: its id, if the bucket gives ids.
    Removed(Option<VersionId>),
    /// A version's tags, access, lock or storage class are changed.
    Changed(&'d ObjectRecord, VersionId),
}

/// Adds to commits what is to be told of them. Asked in every attempt, after what the key has now was read.
pub trait Tell: Send + Sync {
    /// `batch`, with what there is to tell of `change`.
    fn tell(&self, batch: Batch, change: Change<'_>) -> Batch;
}

/// Tells nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Tell for Silent {
    fn tell(&self, batch: Batch, _change: Change<'_>) -> Batch {
        batch
    }
}

impl std::fmt::Debug for dyn Tell + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}
