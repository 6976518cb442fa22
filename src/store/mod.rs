//! Where everything durable lives: two traits, their contracts, and the backends behind them.
//!
//! [`MetaStore`] is an ordered key-value space cut into partitions, changed only by compare-and-commit. [`BlobStore`]
//! holds immutable runs of bytes. The two meet in the commit: a [`Batch`] adopts freshly sealed runs and releases old
//! ones in the same atomic, durable step that writes the records naming them. *The records alone decide what exists*: a
//! run that no commit adopted does not exist, and its space is taken back.
//!
//! Contracts, held by `conformance` on every backend:
//! - a `commit` that returned [`Outcome::Applied`] is on stable storage, whole; one that did not is not there at all;
//! - a `get` or `scan` that starts after a commit was acknowledged sees it (linearizable per partition);
//! - expectations and mutations of one batch are one atomic step against every other commit to the partition;
//! - a run that was shared ceases to exist with its last release, whichever partition its references are in;
//! - a run is readable from its adoption to its last release, or to the end of the last [`Pin`] taken before that; a read that
//!   began earlier either completes with the right bytes or fails with [`StoreError::RunNotFound`], never with others.

pub mod batch;
pub mod commit;
pub mod configuration;
pub mod cursor;
pub mod memory;
pub mod outbox;
pub mod rocks;
pub mod run;
pub mod schema;
pub mod tally;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use batch::{Batch, Expectation, Mutation, Outcome};
pub use run::{Pin, RunId, RunWriter, SealedRun};
pub use tally::Tally;

/// A partition: keys of different partitions never share a commit. Sixteen bytes, compared as they stand.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Partition(pub [u8; 16]);

impl Partition {
    /// Accounts' bucket names and the server's own records.
    pub const GLOBAL: Self = Self(*b"strongroom.globl");
    /// Accounts' users, roles, policies and access keys.
    pub const IAM: Self = Self(*b"strongroom.iam..");
    /// The embedded key service's records.
    pub const KMS: Self = Self(*b"strongroom.kms..");
}

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// Which keys a scan visits: `start <= key < end`, in ascending byte order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRange {
    /// The first key visited, if present.
    pub start: Vec<u8>,
    /// The first key not visited.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// All keys that begin with `prefix`, which must not be empty nor all `0xff`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: prefix_end(prefix) }
    }
}

/// The smallest key greater than every key that begins with `prefix`.
///
/// # Panics
/// If no such key exists (an empty prefix, or only `0xff`): all our keys begin with a table tag below `0xff`.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let last = prefix.iter().rposition(|&b| b != 0xff).expect("a prefix begins with a table tag");
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

/// Says of a key where a scan goes on behind it: at a later key, or at the next one. So a listing passes by all that falls under
/// a common prefix but the first.
pub type Skip = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// The ordered key-value space. See the module's contracts.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// The value of `key`, if it has one.
    async fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The first `limit` pairs of `range`. Fewer than `limit` means the range is exhausted.
    async fn scan(&self, partition: Partition, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// The first `limit` pairs of each of `ranges` that `skip` does not pass by, all out of one state of the partition.
    async fn scan_all(
        &self,
        partition: Partition,
        ranges: &[KeyRange],
        skip: Option<&Skip>,
        limit: usize,
    ) -> Result<Vec<Vec<Pair>>, StoreError>;

    /// Applies `batch` atomically and durably if all its expectations hold, else changes nothing and says which failed.
    /// A conflict hands the batch's runs back, for another attempt; an error discards them.
    async fn commit(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError>;
}

/// The runs. Creation and reading are here; adoption and release are part of [`MetaStore::commit`].
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Starts a run. `size_hint` is the number of bytes to come, if known: it saves space, never correctness.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] when the hint cannot be met.
    async fn create(&self, size_hint: Option<u64>) -> Result<Box<dyn RunWriter>, StoreError>;

    /// Keeps adopted runs readable, even if a commit releases them meanwhile, until the pin is dropped.
    ///
    /// # Errors
    /// [`StoreError::RunNotFound`] if one of them is not (or no longer) adopted; none is pinned then.
    async fn pin(&self, runs: &[RunId]) -> Result<Pin, StoreError>;

    /// Fills `into` with what [`BlobStore::read`] would give, if it can be had without waiting for a disk. If not, it says so
    /// and leaves anything there.
    ///
    /// # Errors
    /// As [`BlobStore::read`].
    fn read_cached(&self, run: RunId, start: u64, into: &mut [u8]) -> Result<bool, StoreError>;

    /// The bytes `start..start + length` of an adopted or pinned run.
    ///
    /// # Errors
    /// [`StoreError::RunNotFound`] if it is not (or no longer) adopted, [`StoreError::Corrupt`] if it is shorter.
    async fn read(&self, run: RunId, start: u64, length: usize) -> Result<Bytes, StoreError>;
}

/// One engine that is both; what the layers above hold.
pub trait Store: MetaStore + BlobStore {
    /// Figures for `/_/metrics` and the free-space check.
    fn usage(&self) -> Usage;

    /// Whether commits can be written, as far as is known. They cannot once the disk has failed one, be it not for want of
    /// space: what it holds is unknown then until the store has been opened again.
    fn takes_writes(&self) -> bool;
}

/// A store, as components share it.
pub type SharedStore = Arc<dyn Store>;

/// What a store holds and has left, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Bytes of adopted runs in segment files.
    pub run_bytes: u64,
    /// Bytes that the file system still offers.
    pub free_bytes: u64,
    /// Bytes released or discarded but not yet given back.
    pub reclaimable_bytes: u64,
    /// Bytes of memory that recent writes to segment files take, to be read from there.
    pub recent_bytes: u64,
}

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or about to be. Nothing was changed; it passes when space returns.
    #[error("the store has no space left")]
    NoSpace,
    /// The run was never adopted, or has been released.
    #[error("run {0} does not exist")]
    RunNotFound(RunId),
    /// What is stored is not what was written. Never retried; the operator must look.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// The disk or engine failed. May pass.
    #[error("the storage engine failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}
