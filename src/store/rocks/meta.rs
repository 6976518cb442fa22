//! The database handle: column families, reads, and what RocksDB's errors mean to us.

use std::path::Path;

use bytes::Bytes;
use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions, Snapshot, WriteBatch, WriteOptions};

use super::hot::{Changes, Hot, Look};
use super::mark::Mark;
use super::records::RunRecord;
use super::segment::io_failure;
use super::tuning;
use crate::store::schema::Table;
use crate::store::{KeyRange, Pair, Partition, RunId, Skip, StoreError};

/// The column families. Their names are stored, and never change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Family {
    /// All keys but those of `Data`.
    Index,
    /// Keys of [`Table::Data`]: small runs.
    Data,
    /// Where each adopted run lies.
    Runs,
    /// What the segments hold and what is to be reclaimed.
    Space,
}

impl Family {
    pub(super) const ALL: &[Self] = &[Self::Index, Self::Data, Self::Runs, Self::Space];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Index => "default",
            Self::Data => "data",
            Self::Runs => "runs",
            Self::Space => "space",
        }
    }

    /// Whether its values are kept in memory by their keys. Those of these families never meet: all keys of `Runs` have sixteen
    /// bytes, all others more.
    fn is_read_by_key(self) -> bool {
        self != Self::Space
    }

    /// The family of a caller's key.
    pub(super) fn of_key(key: &[u8]) -> Self {
        if key.first() == Some(&DATA_TAG) { Self::Data } else { Self::Index }
    }
}

const DATA_TAG: u8 = Table::Data as u8;

/// How far a read may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Memtables and the block cache; what is not there is [`Read::Elsewhere`].
    Memory,
    /// The disk too: only where blocking is allowed.
    Disk,
}

/// The answer to a read of limited reach.
#[derive(Debug)]
pub(super) enum Read<T> {
    Done(T),
    /// It takes the disk to tell.
    Elsewhere,
}

/// Where an iterator goes on behind a full key, if not at the next.
type Next<'n> = dyn Fn(&[u8]) -> Option<Vec<u8>> + 'n;

/// The open database.
pub(super) struct Meta {
    db: DB,
    memory_only: ReadOptions,
    anywhere: ReadOptions,
    hot: Hot,
}

impl Meta {
    /// Opens or creates the database in `path`. Half of `cache_bytes` is for values, half for RocksDB's blocks. One that has a
    /// `mark` is there, and reaches it, or is left as it is (see [`super::mark`]).
    pub(super) fn open(path: &Path, cache_bytes: usize, mark: Option<u64>) -> Result<Self, StoreError> {
        if let Some(mark) = mark {
            reaches(path, cache_bytes / 2, mark)?;
        }
        let families = tuning::families(cache_bytes / 2);
        let db = DB::open_cf_descriptors(&tuning::database(), path, families).map_err(failure)?;
        Mark::compare(mark.unwrap_or(0), db.latest_sequence_number())?;
        let hot = Hot::new(cache_bytes / 2);
        Ok(Self { db, memory_only: tuning::memory_only(), anywhere: ReadOptions::default(), hot })
    }

    /// The number of the last change. Whoever has all others wait knows it to be his own.
    pub(super) fn last_change(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Puts what only the log has into tables. Blocks.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        for &family in Family::ALL {
            self.db.flush_cf(self.family(family)?).map_err(failure)?;
        }
        Ok(())
    }

    /// The value of a full key.
    pub(super) fn get(&self, family: Family, key: &[u8], reach: Reach) -> Result<Read<Option<Bytes>>, StoreError> {
        if !family.is_read_by_key() {
            return self.read(family, key, reach);
        }
        let place = match self.hot.look(key) {
            Look::Found(value) => return Ok(Read::Done(value)),
            Look::Missed(place) => Some(place),
            Look::Awaited => None,
        };
        let read = self.read(family, key, reach)?;
        if let (Read::Done(value), Some(place)) = (&read, place) {
            place.keep(key, value.as_ref());
        }
        Ok(read)
    }

    fn read(&self, family: Family, key: &[u8], reach: Reach) -> Result<Read<Option<Bytes>>, StoreError> {
        let options = match reach {
            Reach::Memory => &self.memory_only,
            Reach::Disk => &self.anywhere,
        };
        match self.db.get_pinned_cf_opt(self.family(family)?, key, options) {
            Ok(value) => Ok(Read::Done(value.map(|value| Bytes::copy_from_slice(&value)))),
            Err(error) if reach == Reach::Memory && error.kind() == ErrorKind::Incomplete => Ok(Read::Elsewhere),
            Err(error) => Err(failure(error)),
        }
    }

    /// The value of a full key, from the disk if need be, for one who is about to change it.
    pub(super) fn get_blocking(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if family.is_read_by_key()
            && let Some(value) = self.hot.get(key)
        {
            return Ok(value);
        }
        match self.read(family, key, Reach::Disk)? {
            Read::Done(value) => Ok(value),
            Read::Elsewhere => Ok(None),
        }
    }

    /// Where an adopted run lies.
    pub(super) fn run(&self, run: RunId, reach: Reach) -> Result<Read<Option<RunRecord>>, StoreError> {
        Ok(match self.get(Family::Runs, &run.0, reach)? {
            Read::Done(value) => Read::Done(value.map(|value| RunRecord::decode(&value)).transpose()?),
            Read::Elsewhere => Read::Elsewhere,
        })
    }

    /// The first `limit` pairs of `range`, which may cross from the index into the small runs and back.
    pub(super) fn scan(
        &self,
        partition: Partition,
        range: &KeyRange,
        limit: usize,
        reach: Reach,
    ) -> Result<Read<Vec<Pair>>, StoreError> {
        self.scan_at(None, partition, range, None, limit, reach)
    }

    /// The first `limit` pairs of each of `ranges` that `skip` does not pass by, out of one state.
    pub(super) fn scan_all(
        &self,
        partition: Partition,
        ranges: &[KeyRange],
        skip: Option<&Skip>,
        limit: usize,
        reach: Reach,
    ) -> Result<Read<Vec<Vec<Pair>>>, StoreError> {
        let snapshot = self.db.snapshot();
        let mut found = Vec::with_capacity(ranges.len());
        for range in ranges {
            match self.scan_at(Some(&snapshot), partition, range, skip, limit, reach)? {
                Read::Done(pairs) => found.push(pairs),
                Read::Elsewhere => return Ok(Read::Elsewhere),
            }
        }
        Ok(Read::Done(found))
    }

    fn scan_at(
        &self,
        snapshot: Option<&Snapshot<'_>>,
        partition: Partition,
        range: &KeyRange,
        skip: Option<&Skip>,
        limit: usize,
        reach: Reach,
    ) -> Result<Read<Vec<Pair>>, StoreError> {
        let next = skip.map(|skip| move |key: &[u8]| skip(&key[16..]).map(|next| full_key(partition, &next)));
        let next = next.as_ref().map(|next| next as &Next<'_>);
        let mut pairs = Vec::new();
        for (family, start, end) in stretches(range) {
            let (start, end) = (full_key(partition, start), full_key(partition, end));
            match self.pairs(snapshot, family, (&start, end), next, limit - pairs.len(), reach)? {
                Read::Done(more) => pairs.extend(more.into_iter().map(|(key, value)| (key.slice(16..), value))),
                Read::Elsewhere => return Ok(Read::Elsewhere),
            }
            if pairs.len() == limit {
                break;
            }
        }
        Ok(Read::Done(pairs))
    }

    /// The first `limit` pairs of a family with `start <= key < end`, from the disk if need be.
    pub(super) fn pairs_blocking(
        &self,
        family: Family,
        start: &[u8],
        end: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        match self.pairs(None, family, (start, end), None, limit, Reach::Disk)? {
            Read::Done(pairs) => Ok(pairs),
            Read::Elsewhere => Ok(Vec::new()),
        }
    }

    fn pairs(
        &self,
        snapshot: Option<&Snapshot<'_>>,
        family: Family,
        (start, end): (&[u8], Vec<u8>),
        next: Option<&Next<'_>>,
        limit: usize,
        reach: Reach,
    ) -> Result<Read<Vec<Pair>>, StoreError> {
        if limit == 0 || start >= end.as_slice() {
            return Ok(Read::Done(Vec::new()));
        }
        let mut options = match reach {
            Reach::Memory => tuning::memory_only(),
            Reach::Disk => ReadOptions::default(),
        };
        options.set_iterate_upper_bound(end);
        if let Some(snapshot) = snapshot {
            options.set_snapshot(snapshot);
        }
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        iterator.seek(start);
        let mut pairs = Vec::with_capacity(limit.min(1000));
        while let Some((key, value)) = iterator.item() {
            pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if pairs.len() == limit {
                return Ok(Read::Done(pairs));
            }
            let further = next.and_then(|next| next(key)).filter(|further| further.as_slice() > key);
            match further {
                Some(further) => iterator.seek(further),
                None => iterator.next(),
            }
        }
        match iterator.status() {
            Ok(()) => Ok(Read::Done(pairs)),
            Err(error) if reach == Reach::Memory && error.kind() == ErrorKind::Incomplete => Ok(Read::Elsewhere),
            Err(error) => Err(failure(error)),
        }
    }

    /// Applies `batch`, whose changes of families that are read by key are `changes`; on an error none of it is visible to
    /// readers.
    pub(super) fn write(
        &self,
        batch: WriteBatch,
        changes: Changes,
        options: &WriteOptions,
    ) -> Result<(), rocksdb::Error> {
        let changing = self.hot.change(changes);
        self.db.write_opt(batch, options)?;
        changing.done();
        Ok(())
    }

    /// The handle of `family`, as write batches want it.
    pub(super) fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::Corrupt(format!("column family {} is missing", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }
}

/// Sees that the database in `path` is there and has all changes up to `mark`, without changing anything.
fn reaches(path: &Path, cache_bytes: usize, mark: u64) -> Result<(), StoreError> {
    if !path.join("CURRENT").try_exists().map_err(io_failure)? {
        return Err(StoreError::Corrupt("the index is gone, and the rest of the store is there".to_owned()));
    }
    let mut options = tuning::database();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let families = tuning::families(cache_bytes);
    let db = DB::open_cf_descriptors_read_only(&options, path, families, false).map_err(failure)?;
    Mark::compare(mark, db.latest_sequence_number())
}

/// A key as it is stored: the partition, then the caller's key.
pub(super) fn full_key(partition: Partition, key: &[u8]) -> Vec<u8> {
    [&partition.0[..], key].concat()
}

/// What a RocksDB error means. RocksDB says of a full disk no more than errno's text.
pub(super) fn failure(error: rocksdb::Error) -> StoreError {
    let text: &str = error.as_ref();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(error.into_string()),
        ErrorKind::IOError if NO_SPACE.iter().any(|phrase| text.contains(phrase)) => StoreError::NoSpace,
        _ => StoreError::Engine(Box::new(error)),
    }
}

const NO_SPACE: &[&str] = &["No space left on device", "Disk quota exceeded"];

/// The parts of `range` by family, in key order.
fn stretches(range: &KeyRange) -> impl Iterator<Item = (Family, &[u8], &[u8])> {
    let (start, end) = (range.start.as_slice(), range.end.as_slice());
    let (data, after) = (&[DATA_TAG][..], &[DATA_TAG + 1][..]);
    [
        (Family::Index, start, end.min(data)),
        (Family::Data, start.max(data), end.min(after)),
        (Family::Index, start.max(after), end),
    ]
    .into_iter()
    .filter(|(_, start, end)| start < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_where_the_small_runs_are() {
        let cut = |start: &[u8], end: &[u8]| {
            let range = KeyRange { start: start.to_vec(), end: end.to_vec() };
            stretches(&range).map(|(f, s, e)| (f, s.to_vec(), e.to_vec())).collect::<Vec<_>>()
        };
        let part = |family, start: &[u8], end: &[u8]| (family, start.to_vec(), end.to_vec());
        assert_eq!(cut(b"A", b"C"), [part(Family::Index, b"A", b"C")]);
        assert_eq!(cut(b"D1", b"D2"), [part(Family::Data, b"D1", b"D2")]);
        assert_eq!(
            cut(b"", b"O"),
            [part(Family::Index, b"", b"D"), part(Family::Data, b"D", b"E"), part(Family::Index, b"E", b"O")]
        );
        assert_eq!(cut(b"E", b"F"), [part(Family::Index, b"E", b"F")]);
        assert_eq!(cut(b"F", b"E"), []);
    }

    #[test]
    fn keys_go_to_the_family_of_their_table() {
        assert_eq!(Family::of_key(b"Drun"), Family::Data);
        assert_eq!(Family::of_key(b"Okey"), Family::Index);
        assert_eq!(Family::of_key(b""), Family::Index);
    }
}
