//! A file that holds nothing but space, for the day on which others have filled the disk.
//!
//! The floor under our own growth ([`super::Options::reserve_bytes`]) does not bind others. When RocksDB meets a full disk
//! it stops taking writes, deletes too, until some space is free. Then the ballast goes: RocksDB recovers by itself
//! within seconds, and deletes make room. Once there is plenty, the ballast is taken in again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

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

    /// Gives the space up.
    pub(super) fn drop_overboard(&self) {
        if self.aboard.swap(false, Ordering::SeqCst) {
            match self.file.set_len(0) {
                Ok(()) => {
                    tracing::warn!(bytes = self.bytes, "the disk is full; gave up the ballast so that deletes work");
                }
                Err(error) => tracing::error!(%error, "the disk is full, and the ballast could not be given up"),
            }
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
        again.drop_overboard();
        assert_eq!(blocks(), 0);
    }
}
