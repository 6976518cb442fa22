//! Where a read is made that memory may not answer: by the task that asks, as long as reads have not had to wait, else by a
//! thread that may.
//!
//! To hand a read to another thread and to be woken by it costs tens of microseconds of CPU, several times what RocksDB
//! takes to read a block that the page cache has. A read that waits for the disk, though, holds up every task of its
//! worker. So the mean of what the last few hundred reads waited decides: where it is below what handing over costs, nothing
//! is lost by waiting, and a disk that is slow, or data that is cold, soon lifts it above.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// Up to this mean, reads are made where they are asked for.
const QUICK: Duration = Duration::from_micros(25);
/// A read that took no longer than this did not wait for a disk.
const COPY: Duration = Duration::from_micros(50);
/// Each read weighs this part of the mean.
const WEIGHT: u64 = 256;
/// A read is not counted for more: one hiccup of a disk is not to keep reads away for seconds.
const LONGEST: Duration = Duration::from_millis(50);

/// How long reads wait of late.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Nanoseconds. Readers at once may overwrite each other's; it is a mean all the same.
    mean: AtomicU64,
}

impl Pace {
    /// Whether a read is made sooner where it is asked for.
    pub(super) fn is_quick(&self) -> bool {
        self.mean.load(Ordering::Relaxed) <= nanoseconds(QUICK)
    }

    /// Makes a read, and minds how long it waited.
    pub(super) fn measure<T>(&self, read: impl FnOnce() -> T) -> T {
        let (waits, began) = (waits(), Instant::now());
        let done = read();
        let took = began.elapsed();
        // A thread that lost its processor meanwhile took long too, and waited for nothing.
        let has_waited = took > COPY && self::waits() != waits;
        self.waited(if has_waited { took } else { Duration::ZERO });
        done
    }

    fn waited(&self, waited: Duration) {
        let mean = self.mean.load(Ordering::Relaxed);
        let moved = mean - mean / WEIGHT + nanoseconds(waited.min(LONGEST)) / WEIGHT;
        self.mean.store(moved, Ordering::Relaxed);
    }
}

/// How often this thread has given up its processor of its own accord, to wait for something.
fn waits() -> Option<i64> {
    getrusage(UsageWho::RUSAGE_THREAD).ok().map(|usage| usage.voluntary_context_switches())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(waits: impl IntoIterator<Item = u64>) -> Pace {
        let pace = Pace::default();
        waits.into_iter().for_each(|micros| pace.waited(Duration::from_micros(micros)));
        pace
    }

    #[test]
    fn reads_that_wait_for_nothing_stay_where_they_are_asked_for() {
        assert!(after([]).is_quick());
        let pace = Pace::default();
        for _ in 0..1000 {
            // Long, and busy all the time.
            pace.measure(|| {
                let began = Instant::now();
                while began.elapsed() < 2 * COPY {}
            });
        }
        assert!(pace.is_quick());
        // One in a thousand is a read of a fast disk.
        assert!(after((0..10_000).map(|n| if n % 1000 == 0 { 100 } else { 0 })).is_quick());
    }

    #[test]
    fn a_disk_that_makes_readers_wait_sends_them_away() {
        let pace = Pace::default();
        for _ in 0..3 {
            pace.measure(|| std::thread::sleep(Duration::from_millis(5)));
        }
        assert!(!pace.is_quick());
        assert!(!after(vec![100; 1000]).is_quick());
        // One in a hundred is a seek.
        assert!(!after((0..10_000).map(|n| if n % 100 == 99 { 10_000 } else { 0 })).is_quick());
    }

    #[test]
    fn they_come_back_once_it_is_quick_again() {
        let pace = after([10_000; 50]);
        assert!(!pace.is_quick());
        (0..1500).for_each(|_| pace.waited(Duration::ZERO));
        assert!(pace.is_quick());
        // However long a single one took.
        let pace = after([60_000_000]);
        assert!(!pace.is_quick());
        (0..600).for_each(|_| pace.waited(Duration::ZERO));
        assert!(pace.is_quick());
    }
}
