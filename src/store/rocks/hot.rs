//! Values that almost every request reads and almost none changes: the records of buckets, whether they take writes, and
//! their configurations. They are kept in memory as they were read.
//!
//! They are what the database would say, at any time:
//! 1. a reader that finds nothing here notes the generation, reads the database, and leaves the value here only if the
//!    generation is still the same and no change is under way;
//! 2. the committer takes the keys out that its group changes, before it writes it: from here on, whoever reads them reads
//!    the database, and leaves nothing here;
//! 3. when the group is written, or could not be, it begins a new generation. What was read before the write cannot come
//!    back.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use crate::store::schema::Table;

/// The tables whose values are kept.
const TABLES: &[u8] = &[Table::Bucket as u8, Table::Live as u8, Table::Configuration as u8];
/// Bytes of keys and values beyond which it starts anew: a few thousand buckets' worth.
const MOST: usize = 8 << 20;
/// Bytes that an entry takes besides its key and value, about.
const OVERHEAD: usize = 128;

/// The values.
#[derive(Debug, Default)]
pub(super) struct Hot(RwLock<Kept>);

/// What the world looked like when a reader found nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Generation(u64);

#[derive(Debug, Default)]
struct Kept {
    generation: Generation,
    /// Whether the committer is about to write some of them.
    changing: bool,
    values: HashMap<Vec<u8>, Option<Bytes>>,
    bytes: usize,
}

impl Hot {
    /// Whether the value of this full key, of the index, is kept.
    pub(super) fn wants(key: &[u8]) -> bool {
        key.get(16).is_some_and(|table| TABLES.contains(table))
    }

    /// The value of `key`, perhaps that there is none.
    ///
    /// # Errors
    /// It is not here; [`keep`](Self::keep) wants to know what was said.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Generation> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.values.get(key).cloned().ok_or(kept.generation)
    }

    /// Keeps what was read since `generation`, unless something was changed meanwhile.
    pub(super) fn keep(&self, generation: Generation, key: &[u8], value: Option<&Bytes>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.changing || kept.generation != generation {
            return;
        }
        let bytes = entry_bytes(key, value);
        if kept.bytes + bytes > MOST {
            kept.values.clear();
            kept.bytes = 0;
        }
        if kept.values.insert(key.to_vec(), value.cloned()).is_none() {
            kept.bytes += bytes;
        }
    }

    /// The values of `keys`, among others, change as long as what this returns lives. One change at a time.
    pub(super) fn change<'k>(&self, keys: impl Iterator<Item = &'k Vec<u8>>) -> Option<Changing<'_>> {
        let mut keys = keys.filter(|key| Self::wants(key)).peekable();
        keys.peek()?;
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.changing = true;
        for key in keys {
            if let Some(value) = kept.values.remove(key) {
                kept.bytes -= entry_bytes(key, value.as_ref());
            }
        }
        Some(Changing(self))
    }
}

/// Values are being changed.
#[derive(Debug)]
pub(super) struct Changing<'h>(&'h Hot);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let mut kept = self.0.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.generation.0 += 1;
        kept.changing = false;
    }
}

fn entry_bytes(key: &[u8], value: Option<&Bytes>) -> usize {
    OVERHEAD + key.len() + value.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: Table, name: &str) -> Vec<u8> {
        [&[0; 16][..], &[table as u8], name.as_bytes()].concat()
    }

    fn missed(hot: &Hot, key: &[u8]) -> Generation {
        hot.get(key).unwrap_err()
    }

    #[test]
    fn only_what_buckets_are_is_kept() {
        assert!(Hot::wants(&key(Table::Bucket, "b")));
        assert!(Hot::wants(&key(Table::Live, "")));
        assert!(Hot::wants(&key(Table::Configuration, "c")));
        assert!(!Hot::wants(&key(Table::Object, "b")));
        assert!(!Hot::wants(&[0; 16]));
    }

    #[test]
    fn a_value_stays_until_it_is_changed() {
        let (hot, bucket, other) = (Hot::default(), key(Table::Bucket, "b"), key(Table::Bucket, "none"));
        let value = Bytes::from_static(b"v");
        hot.keep(missed(&hot, &bucket), &bucket, Some(&value));
        hot.keep(missed(&hot, &other), &other, None);
        assert_eq!(hot.get(&bucket), Ok(Some(value)));
        assert_eq!(hot.get(&other), Ok(None));
        assert!(hot.change([&key(Table::Object, "k")].into_iter()).is_none());
        assert!(hot.get(&bucket).is_ok());
        drop(hot.change([&bucket].into_iter()).unwrap());
        missed(&hot, &bucket);
        assert_eq!(hot.get(&other), Ok(None));
    }

    #[test]
    fn what_was_read_before_or_during_a_change_does_not_come_back() {
        let (hot, bucket) = (Hot::default(), key(Table::Bucket, "b"));
        let old = Bytes::from_static(b"old");
        let before = missed(&hot, &bucket);
        let change = hot.change([&key(Table::Bucket, "another")].into_iter()).unwrap();
        hot.keep(before, &bucket, Some(&old));
        let during = missed(&hot, &bucket);
        hot.keep(during, &bucket, Some(&old));
        drop(change);
        for generation in [before, during] {
            hot.keep(generation, &bucket, Some(&old));
            missed(&hot, &bucket);
        }
    }

    #[test]
    fn its_memory_is_bounded() {
        let hot = Hot::default();
        let value = Bytes::from(vec![0; 64 << 10]);
        for number in 0..1000 {
            let bucket = key(Table::Configuration, &number.to_string());
            hot.keep(missed(&hot, &bucket), &bucket, Some(&value));
            let kept = hot.0.read().unwrap();
            assert!(kept.bytes <= MOST && kept.values.len() <= 1 + MOST / value.len());
        }
        let last = key(Table::Configuration, "999");
        assert!(hot.get(&last).is_ok());
        let keys: Vec<_> = hot.0.read().unwrap().values.keys().cloned().collect();
        drop(hot.change(keys.iter()).unwrap());
        assert_eq!(hot.0.read().unwrap().bytes, 0);
    }
}
