//! Another root key, while the server runs.
//!
//! 1. A fresh key is drawn, and kept together with the present one: durably, the fresh one first. *Crash before: nothing has
//!    happened. After: the next start finds two keys and goes on at 2.*
//! 2. From now on the fresh key seals; both open.
//! 3. Each holder of sealed things seals them anew under the fresh key, one atomic change each. *Crash: some are under the
//!    one key and some under the other, and the next start has both and goes on here.*
//! 4. The holders are gone through again, until one pass finds nothing that the old key sealed: what was being sealed while
//!    the key changed is caught too.
//! 5. The fresh key is kept alone. *Crash before: the next start goes through 3 and 4, finds nothing, and does this. After:
//!    the old key is no longer needed for anything that the server holds.*
//! 6. The old key is forgotten, and its memory zeroized.
//!
//! Copies of the data directory from before still need the old key. Import tokens that are on their way end with it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{RootKey, RootKeyError};
use crate::crypto::SharedEntropy;

/// Passes that may find something, before it is said that something is wrong.
const MOST_PASSES: usize = 100;

/// A holder of things that the root key has sealed.
#[async_trait]
pub trait Reseal: Send + Sync {
    /// What it holds, in the plural, as reports name it.
    fn name(&self) -> &'static str;

    /// Seals under `root`'s current key whatever it holds that another key has sealed ([`RootKey::is_current`]), and tells
    /// how much that was. What somebody was sealing when the key changed must be found by one of two calls: both are made
    /// after the change.
    ///
    /// # Errors
    /// [`ResealError`]: nothing is lost, the rest stays under the old key, and the rotation can be taken up again.
    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError>;
}

/// Something could not be sealed anew.
#[derive(Debug, thiserror::Error)]
#[error("{what} could not be sealed anew: {why}")]
pub struct ResealError {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl ResealError {
    /// That of `what`, for what `error` says.
    pub fn new(what: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self { what: what.into(), why: error.to_string() }
    }
}

/// Why the root key was not rotated, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The keys could not be kept.
    #[error(transparent)]
    Root(#[from] RootKeyError),
    /// A holder failed. The rotation is taken up again soon, by the next one, or at the next start.
    #[error(transparent)]
    Reseal(#[from] ResealError),
    /// Something goes on sealing under the old key.
    #[error("{0} are still sealed under the old root key")]
    Unending(&'static str),
    /// A test ends here.
    #[cfg(test)]
    #[error("stopped")]
    Stopped,
}

/// What a rotation has done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The id of the key that is now current.
    pub current: String,
    /// How much of what was sealed anew.
    pub resealed: Vec<(&'static str, usize)>,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// 1: both keys are kept.
    BothKept,
    /// 2: the fresh key seals.
    Installed,
    /// 3: so many holders have been gone through once.
    Resealed(usize),
    /// 4: nothing is left under the old key.
    Checked,
    /// 5: the fresh key is kept alone.
    OneKept,
}

/// The rotation of a server's root key.
pub struct Rotation {
    root: Arc<RootKey>,
    holders: Vec<Arc<dyn Reseal>>,
    entropy: SharedEntropy,
    /// One at a time.
    turn: Mutex<()>,
}

impl Rotation {
    /// The rotation of `root`, under which `holders` keep everything that is sealed.
    pub fn new(root: Arc<RootKey>, holders: Vec<Arc<dyn Reseal>>, entropy: SharedEntropy) -> Self {
        Self { root, holders, entropy, turn: Mutex::new(()) }
    }

    /// The root key.
    pub fn root(&self) -> &RootKey {
        &self.root
    }

    /// Takes up a rotation that a crash or a failure has interrupted, if one was.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn resume(&self) -> Result<Option<Report>, RotationError> {
        let _turn = self.turn.lock().await;
        if !self.root.is_rotating() {
            return Ok(None);
        }
        self.go_on(&|_| Ok(())).await.map(Some)
    }

    /// Rotates the root key.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn rotate(&self) -> Result<Report, RotationError> {
        self.run(&|_| Ok(())).await
    }

    /// Rotates; `reached` is told of each step, and may end it there as a crash would.
    async fn run(&self, reached: &Reached<'_>) -> Result<Report, RotationError> {
        let _turn = self.turn.lock().await;
        // What was interrupted comes first: there are never three keys.
        if self.root.is_rotating() {
            self.go_on(reached).await?;
        }
        let fresh = self.root.keep_fresh(&*self.entropy).await?;
        reached(Step::BothKept)?;
        self.root.install(fresh);
        reached(Step::Installed)?;
        self.go_on(reached).await
    }

    async fn go_on(&self, reached: &Reached<'_>) -> Result<Report, RotationError> {
        let mut resealed: Vec<_> = self.holders.iter().map(|holder| (holder.name(), 0)).collect();
        for pass in 0..MOST_PASSES {
            let mut found = None;
            for (at, holder) in self.holders.iter().enumerate() {
                let count = holder.reseal(&self.root).await?;
                resealed[at].1 += count;
                if count > 0 {
                    found = Some(holder.name());
                }
                if pass == 0 {
                    reached(Step::Resealed(at + 1))?;
                }
            }
            match found {
                // The first pass may have been too early for what was under way.
                None if pass > 0 || self.holders.is_empty() => break,
                Some(name) if pass + 1 == MOST_PASSES => return Err(RotationError::Unending(name)),
                _ => {}
            }
        }
        reached(Step::Checked)?;
        self.root.keep_current().await?;
        reached(Step::OneKept)?;
        self.root.forget_former();
        Ok(Report { current: self.root.id(), resealed })
    }
}

type Reached<'r> = dyn Fn(Step) -> Result<(), RotationError> + Send + Sync + 'r;

#[cfg(test)]
mod tests;
