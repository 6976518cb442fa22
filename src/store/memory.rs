//! The in-memory reference backend: what the contracts mean, in the plainest terms. For tests; nothing survives it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::run::Lease;
use super::{
    Batch, BlobStore, Expectation, KeyRange, MetaStore, Mutation, Outcome, Pair, Partition, Pin, RunId, RunWriter,
    SealedRun, Skip, Store, StoreError, Tally, Usage,
};
use crate::crypto::{SharedEntropy, random};

/// A store in memory.
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    /// Bytes of runs that are written or sealed and not adopted.
    unadopted: Arc<AtomicU64>,
    full: Arc<AtomicBool>,
    entropy: SharedEntropy,
}

#[derive(Default)]
struct Contents {
    partitions: HashMap<Partition, BTreeMap<Vec<u8>, Bytes>>,
    /// Adopted runs, and their references.
    runs: HashMap<RunId, (Bytes, usize)>,
    /// Pinned runs, and how often.
    pinned: HashMap<RunId, (Bytes, usize)>,
}

impl MemoryStore {
    /// An empty store that draws the names of its runs from `entropy`.
    pub fn new(entropy: SharedEntropy) -> Self {
        Self { contents: Arc::default(), unadopted: Arc::default(), full: Arc::default(), entropy }
    }

    /// Makes the store behave as on a full disk, or no longer.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn scan(&self, partition: Partition, range: &KeyRange, skip: Option<&Skip>, limit: usize) -> Vec<Pair> {
        let Some(keys) = self.partitions.get(&partition).filter(|_| range.start < range.end) else {
            return Vec::new();
        };
        let (mut pairs, mut start) = (Vec::new(), range.start.clone());
        for (key, value) in keys.range(range.start.clone()..range.end.clone()) {
            if pairs.len() == limit {
                break;
            }
            if *key >= start {
                pairs.push((Bytes::copy_from_slice(key), value.clone()));
                start = skip.and_then(|skip| skip(key)).unwrap_or(start);
            }
        }
        pairs
    }
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.contents().partitions.get(&partition).and_then(|keys| keys.get(key)).cloned())
    }

    async fn scan(&self, partition: Partition, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, StoreError> {
        Ok(self.contents().scan(partition, range, None, limit))
    }

    async fn scan_all(
        &self,
        partition: Partition,
        ranges: &[KeyRange],
        skip: Option<&Skip>,
        limit: usize,
    ) -> Result<Vec<Vec<Pair>>, StoreError> {
        let contents = self.contents();
        Ok(ranges.iter().map(|range| contents.scan(partition, range, skip, limit)).collect())
    }

    async fn commit(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        let mut contents = self.contents();
        let Contents { partitions, runs, .. } = &mut *contents;
        let keys = partitions.entry(partition).or_default();
        let length = |key: &[u8]| Ok::<_, StoreError>(keys.get(key).map_or(0, Bytes::len));
        if self.full.load(Ordering::SeqCst) && batch.grows(length)? {
            return Err(StoreError::NoSpace);
        }
        let failed = batch.expectations.iter().position(|expectation| match expectation {
            Expectation::Absent(key) => keys.contains_key(key),
            Expectation::Equals(key, value) => keys.get(key) != Some(value),
        });
        if let Some(index) = failed {
            return Ok(Outcome::Conflict { expectation: index, adopted: batch.adopted });
        }
        if let Some(index) = batch.shared.iter().position(|run| !runs.contains_key(run)) {
            return Ok(Outcome::Conflict { expectation: batch.expectations.len() + index, adopted: batch.adopted });
        }
        for mutation in batch.mutations {
            match mutation {
                Mutation::Put(key, value) => drop(keys.insert(key, value)),
                Mutation::Delete(key) => drop(keys.remove(&key)),
                Mutation::Count(key, difference) => {
                    let present = keys.remove(&key).map(|value| Tally::from_value(&value)).transpose()?;
                    let sum = present.unwrap_or_default().plus(difference);
                    if !sum.is_zero() {
                        keys.insert(key, sum.to_value().into());
                    }
                }
            }
        }
        for run in batch.adopted {
            runs.insert(run.id, (run.locator.clone(), 1));
            run.adopted();
        }
        for run in batch.shared {
            if let Some((_, references)) = runs.get_mut(&run) {
                *references += 1;
            }
        }
        for run in batch.released {
            if let Some((_, references)) = runs.get_mut(&run) {
                *references = references.saturating_sub(1);
            }
        }
        runs.retain(|_, (_, references)| *references > 0);
        Ok(Outcome::Applied)
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn create(&self, size_hint: Option<u64>) -> Result<Box<dyn RunWriter>, StoreError> {
        if self.full.load(Ordering::SeqCst) && size_hint != Some(0) {
            return Err(StoreError::NoSpace);
        }
        Ok(Box::new(MemoryWriter {
            id: RunId(random::identifier(&*self.entropy)),
            bytes: Vec::new(),
            room: Vec::new(),
            full: Arc::clone(&self.full),
            claim: Claim { length: 0, unadopted: Arc::clone(&self.unadopted) },
        }))
    }

    async fn pin(&self, runs: &[RunId]) -> Result<Pin, StoreError> {
        let mut pinned = MemoryPin { contents: Arc::clone(&self.contents), runs: Vec::new() };
        for &run in runs {
            pinned.add(run)?;
        }
        Ok(Pin::new(pinned))
    }

    fn read_cached(&self, run: RunId, start: u64, into: &mut [u8]) -> Result<bool, StoreError> {
        into.copy_from_slice(&self.slice(run, start, into.len())?);
        Ok(true)
    }

    async fn read(&self, run: RunId, start: u64, length: usize) -> Result<Bytes, StoreError> {
        self.slice(run, start, length)
    }
}

impl MemoryStore {
    fn slice(&self, run: RunId, start: u64, length: usize) -> Result<Bytes, StoreError> {
        let bytes = {
            let contents = self.contents();
            let pinned = contents.pinned.get(&run).map(|(bytes, _)| bytes);
            contents.runs.get(&run).map(|(bytes, _)| bytes).or(pinned).cloned().ok_or(StoreError::RunNotFound(run))?
        };
        let range = usize::try_from(start).ok().and_then(|start| Some(start..start.checked_add(length)?));
        match range {
            Some(range) if range.end <= bytes.len() => Ok(bytes.slice(range)),
            _ => Err(StoreError::Corrupt("a run is shorter than its record says".to_owned())),
        }
    }
}

impl Store for MemoryStore {
    fn takes_writes(&self) -> bool {
        true
    }

    fn usage(&self) -> Usage {
        let run_bytes = self.contents().runs.values().map(|(bytes, _)| length_of(bytes)).sum();
        let free_bytes = if self.full.load(Ordering::SeqCst) { 0 } else { u64::MAX };
        Usage { run_bytes, free_bytes, reclaimable_bytes: self.unadopted.load(Ordering::SeqCst), recent_bytes: 0 }
    }
}

/// Runs pinned together.
struct MemoryPin {
    contents: Arc<Mutex<Contents>>,
    runs: Vec<RunId>,
}

impl MemoryPin {
    fn add(&mut self, run: RunId) -> Result<(), StoreError> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, _) = contents.runs.get(&run).cloned().ok_or(StoreError::RunNotFound(run))?;
        contents.pinned.entry(run).or_insert((bytes, 0)).1 += 1;
        self.runs.push(run);
        Ok(())
    }
}

impl Drop for MemoryPin {
    fn drop(&mut self) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        for run in &self.runs {
            if let Some((_, count)) = contents.pinned.get_mut(run) {
                *count -= 1;
            }
        }
        contents.pinned.retain(|_, (_, count)| *count > 0);
    }
}

/// A run that collects its bytes.
struct MemoryWriter {
    id: RunId,
    bytes: Vec<u8>,
    room: Vec<u8>,
    full: Arc<AtomicBool>,
    claim: Claim,
}

#[async_trait]
impl RunWriter for MemoryWriter {
    async fn room(&mut self, length: usize) -> Result<&mut [u8], StoreError> {
        if self.room.len() < length {
            self.room.resize(length, 0);
        }
        Ok(&mut self.room)
    }

    async fn advance(&mut self, length: usize) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::NoSpace);
        }
        self.bytes.extend_from_slice(&self.room[..length]);
        self.claim.grow(length);
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<SealedRun, StoreError> {
        let locator = Bytes::from(self.bytes);
        Ok(SealedRun { id: self.id, length: length_of(&locator), locator, lease: Some(Box::new(self.claim)) })
    }
}

/// The bytes of one unadopted run; dropping it takes them back.
struct Claim {
    length: u64,
    unadopted: Arc<AtomicU64>,
}

impl Claim {
    fn grow(&mut self, by: usize) {
        let by = u64::try_from(by).unwrap_or(u64::MAX);
        self.length += by;
        self.unadopted.fetch_add(by, Ordering::SeqCst);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.unadopted.fetch_sub(self.length, Ordering::SeqCst);
    }
}

impl Lease for Claim {
    /// The bytes are accounted for by the run itself from now on, which is what dropping the claim says.
    fn keep(self: Box<Self>) {}
}

fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::crypto::random::SeededEntropy;

    fn memory() -> MemoryStore {
        MemoryStore::new(Arc::new(SeededEntropy::new(1)))
    }

    conformance::suite!(conformance::OwnedStore::new(Arc::new(super::tests::memory()), ()));

    #[tokio::test]
    async fn a_full_store_refuses_to_grow_and_recovers() {
        let store = memory();
        conformance::fill(&store, "k", 8).await;
        conformance::fill_replaceable(&store).await;
        store.set_full(true);
        conformance::assert_full(&store, "k").await;
        store.set_full(false);
        conformance::fill(&store, "k2", 8).await;
        assert_eq!(store.usage().reclaimable_bytes, 0);
    }
}
