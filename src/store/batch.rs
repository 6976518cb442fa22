//! The one way to change the store: expectations, and the mutations that apply if all of them hold.

use bytes::Bytes;

use super::{RunId, SealedRun, Tally};

/// What a commit expects and does. Built up, then given to [`super::MetaStore::commit`].
#[derive(Debug, Default)]
pub struct Batch {
    /// What must still hold.
    pub expectations: Vec<Expectation>,
    /// What then changes, applied in order.
    pub mutations: Vec<Mutation>,
    /// Runs that come into existence with this commit.
    pub adopted: Vec<SealedRun>,
    /// Adopted runs that get one more reference: each is released once for every adoption and share before it is gone.
    pub shared: Vec<RunId>,
    /// Runs that lose a reference with this commit, and cease to exist with their last. One that does not exist is passed
    /// over. Shares come first.
    pub released: Vec<RunId>,
}

/// A condition on one key, judged against the state just before the commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expectation {
    /// The key has no value.
    Absent(Vec<u8>),
    /// The key has exactly this value.
    Equals(Vec<u8>, Bytes),
}

/// A change to one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mutation {
    /// The key gets this value.
    Put(Vec<u8>, Bytes),
    /// The key loses its value, if it has one.
    Delete(Vec<u8>),
    /// The tally at the key changes by this much; absence is zero, and zero is absence. The key of a tally is changed in no
    /// other way.
    Count(Vec<u8>, Tally),
}

/// So few bytes in all are flags rather than data.
const FLAG_LEN: usize = 64;

/// What became of a batch.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// All of it is on stable storage.
    Applied,
    /// An expectation did not hold, as can be read from now on; nothing was changed.
    Conflict {
        /// The index of the first that failed; beyond the expectations, of the first shared run that does not exist.
        expectation: usize,
        /// The runs that the batch would have adopted, for another attempt. Dropped, they are discarded.
        adopted: Vec<SealedRun>,
    },
}

impl Outcome {
    /// The expectation with this index failed, and no run has to be handed back.
    pub(super) fn conflict(expectation: usize) -> Self {
        Self::Conflict { expectation, adopted: Vec::new() }
    }

    /// The index of the expectation that failed.
    pub fn failed(&self) -> Option<usize> {
        match self {
            Self::Applied => None,
            Self::Conflict { expectation, .. } => Some(*expectation),
        }
    }
}

/// Equal if the same expectation failed, or none.
impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        self.failed() == other.failed()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects `key` to have what was read: `None` for absence.
    #[must_use]
    pub fn expect(mut self, key: Vec<u8>, value: Option<Bytes>) -> Self {
        self.expectations.push(match value {
            Some(value) => Expectation::Equals(key, value),
            None => Expectation::Absent(key),
        });
        self
    }

    /// Writes `value` to `key`.
    #[must_use]
    pub fn put(mut self, key: Vec<u8>, value: impl Into<Bytes>) -> Self {
        self.mutations.push(Mutation::Put(key, value.into()));
        self
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(mut self, key: Vec<u8>) -> Self {
        self.mutations.push(Mutation::Delete(key));
        self
    }

    /// Adds `difference` to the tally at `key`.
    #[must_use]
    pub fn count(mut self, key: Vec<u8>, difference: Tally) -> Self {
        if !difference.is_zero() {
            self.mutations.push(Mutation::Count(key, difference));
        }
        self
    }

    /// Brings `run` into existence.
    #[must_use]
    pub fn adopt(mut self, run: SealedRun) -> Self {
        self.adopted.push(run);
        self
    }

    /// Gives `run`, which must exist, one more reference.
    #[must_use]
    pub fn share(mut self, run: RunId) -> Self {
        self.shared.push(run);
        self
    }

    /// Takes a reference of `run` away.
    #[must_use]
    pub fn release(mut self, run: RunId) -> Self {
        self.released.push(run);
        self
    }

    /// Whether the store is larger after it, so that a full one must refuse; `present` tells how long the value is that a key
    /// has now. What removes anything passes, and so does what replaces values by others of their length, or changes a flag.
    ///
    /// # Errors
    /// As `present`.
    pub(super) fn grows<E>(&self, present: impl Fn(&[u8]) -> Result<usize, E>) -> Result<bool, E> {
        if !self.adopted.is_empty() {
            return Ok(true);
        }
        if !self.released.is_empty() || self.mutations.iter().any(|mutation| matches!(mutation, Mutation::Delete(_))) {
            return Ok(false);
        }
        let mut growth = 0;
        for mutation in &self.mutations {
            if let Mutation::Put(key, value) = mutation {
                growth += value.len().saturating_sub(present(key)?);
            }
        }
        Ok(growth > FLAG_LEN)
    }
}
