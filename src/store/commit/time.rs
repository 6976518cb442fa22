//! The time by which locks are judged: it never goes back, whatever the clock does.
//!
//! The latest time that was judged by is kept in the global partition, a minute behind at most. So a server whose clock was
//! set back, or that starts on another machine with a slow one, neither dates a retention earlier than it would have been nor
//! takes one that has ended for one that lasts.

use bytes::Bytes;

use crate::store::schema::{Table, key_of};
use crate::store::{Batch, MetaStore, Partition, StoreError};

/// How far the time that is kept may be behind, in milliseconds.
const STEP: i64 = 60_000;
/// The version byte of the stored form.
const FORMAT: u8 = 1;

/// `now`, or the latest time that was kept if that is later; in milliseconds since the Unix epoch.
///
/// # Errors
/// As [`MetaStore::commit`]; [`StoreError::Corrupt`].
pub async fn read_lock_time(store: &dyn MetaStore, now: i64) -> Result<i64, StoreError> {
    let key = key_of(Table::Server, b"lock-time");
    loop {
        let present = store.get(Partition::GLOBAL, &key).await?;
        let kept = present.as_deref().map(decode).transpose()?;
        if let Some(kept) = kept.filter(|kept| now < kept.saturating_add(STEP)) {
            return Ok(now.max(kept));
        }
        let mut value = vec![FORMAT];
        value.extend_from_slice(&now.to_be_bytes());
        let batch = Batch::new().expect(key.clone(), present).put(key.clone(), Bytes::from(value));
        // Another may have kept a later time just now: then that counts.
        if let crate::store::Outcome::Applied = store.commit(Partition::GLOBAL, batch).await? {
            return Ok(now);
        }
    }
}

fn decode(value: &[u8]) -> Result<i64, StoreError> {
    match value {
        [FORMAT, rest @ ..] => rest.try_into().map(i64::from_be_bytes).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("lock time".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn time_does_not_go_back() {
        let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
        let read = async |now| read_lock_time(&store, now).await.unwrap();
        assert_eq!(read(1_000_000).await, 1_000_000);
        assert_eq!(read(10).await, 1_000_000);
        assert_eq!(read(1_000_001).await, 1_000_001);
        assert_eq!(read(10).await, 1_000_000, "within a minute it is not kept anew");
        assert_eq!(read(1_000_000 + STEP).await, 1_000_000 + STEP);
        assert_eq!(read(-5).await, 1_000_000 + STEP);
        let value = store.get(Partition::GLOBAL, b"Slock-time").await.unwrap().unwrap();
        assert_eq!(hex::encode(&value), "01000000000010 2ca0".replace(' ', ""));
        assert!(decode(&value[1..]).is_err());
        assert!(decode(b"").is_err());
    }
}
