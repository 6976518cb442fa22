//! The sequence numbers of the outbox, which only grow, also across restarts and whatever the clock does.
//!
//! A mark that all numbers stay below is kept in the global partition, some time ahead of the clock, and moved on now and then:
//! a server starts above it. So a receiver that tells the newer of two events by their numbers is right also after the clock
//! was set back, and no entry comes to stand before one that waited already.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::store::schema::{Table, key_of};
use crate::store::{Batch, MetaStore, Partition, StoreError};

/// How far the mark is ahead of the clock at least when it was looked after; it is put twice as far. Nobody may look after it
/// for as long.
const AHEAD: Duration = Duration::from_secs(30);
/// How far it is ahead of the last number: more than are drawn in that time, as numbers.
const ROOM: u64 = 1_000_000_000;
/// The version byte of the stored form.
const FORMAT: u8 = 1;

/// Draws sequence numbers: each greater than those before it, and close to the nanoseconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Sequencer(AtomicU64);

impl Sequencer {
    /// The next number, drawn at `now`.
    pub fn next(&self, now: Timestamp) -> u64 {
        let now = nanoseconds(now);
        let step = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).unwrap_or_else(|last| last);
        now.max(last.saturating_add(1))
    }

    /// Has seen `number`: those to come are greater, also if the clock was put back.
    pub fn pass(&self, number: u64) {
        self.0.fetch_max(number, Ordering::SeqCst);
    }

    /// At start: passes what was drawn of `store` before.
    ///
    /// # Errors
    /// As [`MetaStore::get`].
    pub async fn recover(&self, store: &dyn MetaStore) -> Result<(), StoreError> {
        if let Some(mark) = read(store).await?.1 {
            self.pass(mark);
        }
        Ok(())
    }

    /// Sees that the mark is ahead of what will be drawn until it is asked again, which is to be soon.
    ///
    /// # Errors
    /// As [`MetaStore::commit`].
    pub async fn keep(&self, store: &dyn MetaStore, now: Timestamp) -> Result<(), StoreError> {
        let (present, mark) = read(store).await?;
        let (last, now) = (self.0.load(Ordering::SeqCst), nanoseconds(now));
        let ahead = u64::try_from(AHEAD.as_nanos()).unwrap_or(u64::MAX);
        let beyond =
            |times: u64| last.saturating_add(ROOM / 2 * times).max(now.saturating_add(ahead.saturating_mul(times)));
        if mark.is_some_and(|mark| mark >= beyond(1)) {
            return Ok(());
        }
        let mut value = vec![FORMAT];
        value.extend_from_slice(&beyond(2).to_be_bytes());
        let batch = Batch::new().expect(key(), present).put(key(), value);
        // Who was faster has put it as far.
        store.commit(Partition::GLOBAL, batch).await.map(drop)
    }
}

/// The mark, and the value that it was read from.
async fn read(store: &dyn MetaStore) -> Result<(Option<Bytes>, Option<u64>), StoreError> {
    let present = store.get(Partition::GLOBAL, &key()).await?;
    let mark = match present.as_deref() {
        None => None,
        Some([FORMAT, rest @ ..]) => Some(rest.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?),
        Some(_) => return Err(damaged()),
    };
    Ok((present, mark))
}

fn key() -> Vec<u8> {
    key_of(Table::Server, b"sequence")
}

fn nanoseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

fn damaged() -> StoreError {
    StoreError::Corrupt("mark of sequence numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::from_millis;
    use crate::crypto::random::SeededEntropy;
    use crate::store::memory::MemoryStore;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn sequence_numbers_only_grow() {
        let sequencer = Sequencer::default();
        let now = from_millis(1_700_000_000_000);
        let first = sequencer.next(now);
        assert_eq!(first, 1_700_000_000_000_000_000);
        assert_eq!(sequencer.next(now), first + 1);
        assert_eq!(sequencer.next(from_millis(0)), first + 2, "a clock that is put back changes nothing");
        sequencer.pass(first + 100);
        assert_eq!(sequencer.next(now), first + 101);
        sequencer.pass(5);
        assert_eq!(sequencer.next(now), first + 102);
    }

    #[tokio::test]
    async fn they_grow_across_restarts_by_a_clock_that_was_set_back() {
        let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
        let start = async || {
            let sequencer = Sequencer::default();
            sequencer.recover(&store).await.unwrap();
            sequencer
        };
        let mark = async || {
            let value = store.get(Partition::GLOBAL, b"Ssequence").await.unwrap().unwrap();
            assert_eq!((value[0], value.len()), (1, 9));
            u64::from_be_bytes(value[1..].try_into().unwrap())
        };
        let sequencer = start().await;
        sequencer.keep(&store, from_millis(1_000_000)).await.unwrap();
        assert_eq!(mark().await, 1_060 * SECOND);
        // Within half a minute it is not kept anew.
        sequencer.keep(&store, from_millis(1_029_000)).await.unwrap();
        assert_eq!(mark().await, 1_060 * SECOND);
        sequencer.keep(&store, from_millis(1_031_000)).await.unwrap();
        assert_eq!(mark().await, 1_091 * SECOND);
        let drawn = sequencer.next(from_millis(1_041_000));
        for _ in 0..3 {
            let again = start().await;
            assert!(again.next(from_millis(5_000)) > drawn);
            again.keep(&store, from_millis(5_000)).await.unwrap();
        }
        assert!(mark().await <= 1_095 * SECOND, "restarts do not drive it away");
    }

    #[tokio::test]
    async fn a_damaged_mark_is_told_of() {
        let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
        for value in [&b""[..], b"\x01\0\0", b"\x02\0\0\0\0\0\0\0\0"] {
            let _ = store.commit(Partition::GLOBAL, Batch::new().put(key(), value)).await.unwrap();
            assert!(matches!(Sequencer::default().recover(&store).await, Err(StoreError::Corrupt(_))));
        }
    }
}
