//! Runs: immutable byte strings under random names, from their first byte to their adoption.

use std::any::Any;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;

/// The name of a run: sixteen random bytes, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RunId(pub [u8; 16]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

/// Most bytes of a room that a [`RunWriter`] has to lend.
pub const MAX_ROOM: usize = 68 * 1024;

/// A run being written. Dropping it discards what was written.
#[async_trait]
pub trait RunWriter: Send {
    /// Lends memory to make the run's next bytes in: `length` bytes or more, of [`MAX_ROOM`] at most. They are nobody's until
    /// [`RunWriter::advance`]; asked for again before it, with no greater length, it is the same memory and what was put there.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] and [`StoreError::Engine`]; the writer is then of no more use.
    async fn room(&mut self, length: usize) -> Result<&mut [u8], StoreError>;

    /// Adds the first `length` bytes of the room to the run. May return before they are written; errors then surface in a later
    /// call.
    ///
    /// # Errors
    /// As [`RunWriter::room`].
    async fn advance(&mut self, length: usize) -> Result<(), StoreError>;

    /// Adds a copy of `bytes` to the run.
    ///
    /// # Errors
    /// As [`RunWriter::room`].
    async fn append(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let room = self.room(1).await?;
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            room[..now.len()].copy_from_slice(now);
            self.advance(now.len()).await?;
            bytes = later;
        }
        Ok(())
    }

    /// Waits until every byte is on stable storage and closes the run.
    ///
    /// # Errors
    /// As [`RunWriter::append`].
    async fn seal(self: Box<Self>) -> Result<SealedRun, StoreError>;
}

/// A finished run that waits for a commit to adopt it. Dropped unadopted, it is discarded and its space taken back.
pub struct SealedRun {
    /// Its name.
    pub id: RunId,
    /// Its length in bytes.
    pub length: u64,
    /// Where it lies, in the backend's own terms.
    pub(super) locator: Bytes,
    pub(super) lease: Option<Box<dyn Lease>>,
}

/// Keeps runs readable as long as it lives. See [`super::BlobStore::pin`].
pub struct Pin {
    /// The backend's own, for the sake of its `Drop`.
    _held: Box<dyn Any + Send + Sync>,
}

impl Pin {
    pub(super) fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

/// The backend's claim on an unadopted run's space. Dropping it gives the space back.
pub(super) trait Lease: Send {
    /// The run was adopted: the space is now accounted for by its record.
    fn keep(self: Box<Self>);
}

impl SealedRun {
    /// Ends the lease because a commit has adopted the run.
    pub(super) fn adopted(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.keep();
        }
    }
}

impl fmt::Debug for SealedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedRun").field("id", &self.id).field("length", &self.length).finish_non_exhaustive()
    }
}
