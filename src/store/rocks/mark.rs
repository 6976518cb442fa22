//! The mark: how far the index's log was synced, so that it shows when the end of it is missing.
//!
//! RocksDB's recovery ends at the first record of its log that is not whole, as it must: a power cut tears the last one. A
//! damaged byte, a log that was cut and one that is gone look no different to it. It would drop all that was acknowledged
//! after that place without a word, and the sweep would give back the bytes of it. The mark tells the one from the other.
//!
//! ```text
//! <path>/mark    0      1              9                      25
//!                | 0x01 | sequence u64 | SHA-256 of the above, 16 bytes |
//! ```
//!
//! 1. **Sync.** The committer's write is on stable storage. RocksDB has numbered its changes in sequence.
//!    *Crash:* nobody was told; the log has it or not.
//! 2. **Reach.** The committer notes the last number down, in memory. Only then is anybody told.
//!    *Crash:* the file is behind. That is harmless: what lies behind it is in the log, but not watched over.
//! 3. **Write.** Once a second, if there is anything new, a thread of its own writes the number to `mark.new` and syncs that.
//!    *Crash, full disk:* the file is behind; the next write begins anew.
//! 4. **Replace.** `mark.new` becomes `mark`. *Crash:* it is the old one or the new one, whole, and neither is ahead.
//! 5. **Close.** What only the log has is flushed to tables, whose blocks have checksums and whose names are in the
//!    manifest; then 3 and 4. *Crash:* as after 4; a log is let go only when tables have all of it.
//! 6. **Compare.** At the next start the index is opened for reading alone, before anything is changed: that replays the log as
//!    opening it for writing does. If it ends before the mark, the store is damaged, and left as it is.
//!    *Crash:* nothing was changed.
//! 7. **Open.** The index is opened for writing, and compared once more. RocksDB puts what it recovered into tables before
//!    it says so, so that the mark may begin there.
//!
//! Of two logs in use the manifest tells which the older one is and how long (`tuning`), so that none is missed in the middle.
//!
//! Without a mark nothing is compared, and the log says so: a store of a version that knew none gets one at its first start. A
//! snapshot of the whole directory has a mark that is no further than its index; so has a copy of a closed store.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::crypto::digest::sha256;
use crate::store::StoreError;

/// The least time between two writes of the file.
const INTERVAL: Duration = Duration::from_secs(1);
const FORMAT: u8 = 1;
const NUMBER_LEN: usize = 9;
const CHECK_LEN: usize = 16;

/// The mark of an open store.
pub(super) struct Mark {
    path: PathBuf,
    reached: AtomicU64,
}

impl Mark {
    /// The mark of the store in `dir`, if it has one.
    pub(super) fn read(dir: &Path) -> Result<Option<u64>, StoreError> {
        let path = path(dir);
        match fs::read(&path) {
            Ok(stored) => decode(&stored).map(Some).ok_or_else(|| {
                StoreError::Corrupt(format!(
                    "{}: wrong shape, so that nobody knows whether the index is whole",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Engine(Box::new(error))),
        }
    }

    /// Whether an index that ends at `found` has all that is below the mark.
    pub(super) fn compare(mark: u64, found: u64) -> Result<(), StoreError> {
        if found >= mark {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!(
            "the index ends at change {found}, but changes up to {mark} were on stable storage: its log is damaged, cut or gone; \
             nothing was touched"
        )))
    }

    /// The mark of a store in `dir` whose changes up to `reached` are on stable storage.
    pub(super) fn new(dir: &Path, reached: u64) -> Self {
        Self { path: path(dir), reached: AtomicU64::new(reached) }
    }

    /// Changes up to `sequence` are on stable storage. Never call it before they are.
    pub(super) fn reach(&self, sequence: u64) {
        self.reached.fetch_max(sequence, Ordering::SeqCst);
    }

    /// The thread's whole life: keeps the file until `closing` is.
    pub(super) fn run(&self, closing: &Receiver<()>) {
        let (mut written, mut is_failing, mut is_closing) = (None, false, false);
        loop {
            let reached = self.reached.load(Ordering::SeqCst);
            if written != Some(reached) {
                match self.write(reached) {
                    Ok(()) => (written, is_failing) = (Some(reached), false),
                    Err(error) if !is_failing => {
                        tracing::warn!(%error, "the mark of what was synced could not be written; it stays behind until it can");
                        is_failing = true;
                    }
                    Err(_) => {}
                }
            }
            if is_closing {
                return;
            }
            is_closing = closing.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
        }
    }

    /// Replaces the file. Should the new name be lost in a crash, the file is behind.
    fn write(&self, reached: u64) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&encode(reached))?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("mark")
}

fn encode(sequence: u64) -> Vec<u8> {
    let number = [&[FORMAT][..], &sequence.to_be_bytes()].concat();
    let check = sha256(&number);
    [&number, &check[..CHECK_LEN]].concat()
}

fn decode(stored: &[u8]) -> Option<u64> {
    let (number, _) = stored.split_at_checked(NUMBER_LEN)?;
    let (_, sequence) = number.split_first_chunk::<1>()?;
    let sequence = u64::from_be_bytes(sequence.try_into().ok()?);
    (stored == encode(sequence)).then_some(sequence)
}

#[cfg(test)]
mod tests;
