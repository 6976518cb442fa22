//! A file that holds nothing but space, for the day on which others have filled the disk.
//!
//! The floor under our own growth ([`super::Options::reserve_bytes`]) does not bind others. When RocksDB meets a full disk
//! it stops taking writes, deletes too, until some space is free. Then the ballast goes: RocksDB recovers by itself
//! within seconds, and deletes make room. Once there is plenty, the ballast is taken in again. A start on a full disk needs
//! space too, for RocksDB's and the audit's files: it takes the ballast's.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use crate::store::StoreError;

/// The ballast file.
pub(super) struct Ballast {
    file: File,
    bytes: u64,
    aboard: AtomicBool,
}

impl Ballast {
    /// Opens or creates the file in `dir`, without its space.
    pub(super) fn open(dir: &Path, bytes: u64) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(dir.join("ballast"))?;
        let aboard = AtomicBool::new(file.metadata()?.len() >= bytes);
        Ok(Self { file, bytes, aboard })
    }

    /// Takes the space if there is plenty, `free` bytes being what the store may still grow by.
    pub(super) fn take_in(&self, free: u64) {
        if self.aboard.load(Ordering::SeqCst) || free < self.bytes * 4 {
            return;
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => self.aboard.store(true, Ordering::SeqCst),
            Err(error) => tracing::debug!(%error, "no ballast could be taken in"),
        }
    }

    /// Gives the space up; whether there was any.
    pub(super) fn drop_overboard(&self) -> bool {
        if !self.aboard.swap(false, Ordering::SeqCst) {
            return false;
        }
        match self.file.set_len(0) {
            Ok(()) => tracing::warn!(bytes = self.bytes, "the disk is full; gave up the ballast so that deletes work"),
            Err(error) => tracing::error!(%error, "the disk is full, and the ballast could not be given up"),
        }
        true
    }

    /// Does `work`; if there is no space for it, once more without the ballast.
    pub(super) fn make_way<T>(&self, work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match work() {
            Err(StoreError::NoSpace) if self.drop_overboard() => work(),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn ballast_comes_and_goes() {
        let dir = tempfile::TempDir::new().unwrap();
        let blocks = || dir.path().join("ballast").metadata().unwrap().blocks();
        let ballast = Ballast::open(dir.path(), 1 << 20).unwrap();
        ballast.take_in((4 << 20) - 1);
        assert_eq!(blocks(), 0, "not where there is little");
        ballast.take_in(4 << 20);
        assert!(blocks() * 512 >= 1 << 20);
        let again = Ballast::open(dir.path(), 1 << 20).unwrap();
        assert!(again.drop_overboard());
        assert_eq!(blocks(), 0);
        assert!(!again.drop_overboard());
    }

    #[test]
    fn what_finds_no_space_is_tried_again_without_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let ballast = Ballast::open(dir.path(), 1 << 20).unwrap();
        let tries = std::cell::Cell::new(0);
        let work = || {
            tries.set(tries.get() + 1);
            if ballast.file.metadata().unwrap().len() > 0 { Err(StoreError::NoSpace) } else { Ok(()) }
        };
        ballast.take_in(4 << 20);
        ballast.make_way(work).unwrap();
        assert_eq!(tries.get(), 2);
        // Without ballast there is nothing to give, and what fails for other reasons is not for want of space.
        assert!(matches!(ballast.make_way(|| Err::<(), _>(StoreError::NoSpace)), Err(StoreError::NoSpace)));
        ballast.take_in(4 << 20);
        let other = ballast.make_way(|| Err::<(), _>(StoreError::Corrupt(String::new())));
        assert!(matches!(other, Err(StoreError::Corrupt(_))));
        assert!(ballast.drop_overboard(), "it is still aboard");
    }
}
