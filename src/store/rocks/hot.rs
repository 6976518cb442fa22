//! Values that were read or written of late, by their full keys, in memory and as they are stored: records of buckets and objects,
//! small runs (sealed), and where large runs lie. A value here takes its own length; a block of RocksDB's cache takes its
//! neighbours' too, which have nothing to do with it.
//!
//! Values here are what the database would say, at any time:
//! 1. the committer notes down the keys that its group changes, and takes them out, before it writes the group;
//! 2. a reader that finds nothing takes a guard of the key's place, reads the database, and leaves the value here only if the
//!    key is not noted down, and the guard still holds: not if the key was taken out or its value was left meanwhile;
//! 3. when the group is written, the committer leaves its values here, which breaks the guards of whoever read before, and
//!    strikes its notes out, in one step. If the group could not be written, it only breaks them.
//!
//! So nobody finds here what somebody else has seen changed.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

/// Bytes that an entry takes besides its key and value, about.
const OVERHEAD: u64 = 200;
/// Bytes of an entry, about: how many places there are follows from it.
const USUAL: usize = 1024;

/// What a key has: perhaps nothing.
pub(super) type Value = Option<Bytes>;
/// What keys have from now on.
pub(super) type Changes = HashMap<Vec<u8>, Value>;

/// The values.
pub(super) struct Hot {
    kept: Cache<Vec<u8>, Value, Weight>,
    /// What the group being written changes.
    changing: RwLock<Changes>,
}

/// What is known of a key.
pub(super) enum Look<'h> {
    /// Its value.
    Found(Value),
    /// Nothing. What is read now may be left here.
    Missed(Place<'h>),
    /// Nothing, and somebody else is about to know.
    Awaited,
}

/// Where a reader may leave what it reads.
pub(super) struct Place<'h> {
    hot: &'h Hot,
    guard: PlaceholderGuard<'h, Vec<u8>, Value, Weight, DefaultHashBuilder, DefaultLifecycle<Vec<u8>, Value>>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Vec<u8>, Value> for Weight {
    fn weight(&self, key: &Vec<u8>, value: &Value) -> u64 {
        OVERHEAD + (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64
    }
}

impl Hot {
    /// Room for `bytes` of keys, values and what it takes to keep them.
    pub(super) fn new(bytes: usize) -> Self {
        Self { kept: Cache::with_weighter(bytes / USUAL, bytes as u64, Weight), changing: RwLock::default() }
    }

    /// What is known of `key`.
    pub(super) fn look(&self, key: &[u8]) -> Look<'_> {
        match self.kept.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(value) => Look::Found(value),
            GuardResult::Guard(guard) => Look::Missed(Place { hot: self, guard }),
            GuardResult::Timeout => Look::Awaited,
        }
    }

    /// The value of `key`, if it is known, for one who will not leave it here if it is not.
    pub(super) fn get(&self, key: &[u8]) -> Option<Value> {
        self.kept.get(key)
    }

    /// Values change as long as what this returns lives. One change at a time.
    pub(super) fn change(&self, changes: Changes) -> Changing<'_> {
        let mut changing = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        *changing = changes;
        for key in changing.keys() {
            self.kept.remove(key);
        }
        Changing(self)
    }
}

impl Place<'_> {
    /// Leaves what was read of `key` since it was looked for.
    pub(super) fn keep(self, key: &[u8], value: Option<&Bytes>) {
        if self.hot.changing.read().unwrap_or_else(PoisonError::into_inner).contains_key(key) {
            return;
        }
        // Too late if the guard is broken.
        let _ = self.guard.insert(value.cloned());
    }
}

/// Values are being changed; if they could not be, nothing is known of them afterwards.
pub(super) struct Changing<'h>(&'h Hot);

impl Changing<'_> {
    /// They are what was noted down.
    pub(super) fn done(self) {
        let mut changes = self.changes();
        for (key, value) in changes.drain() {
            // It may be a piece of something longer.
            self.0.kept.insert(key, value.map(|value| Bytes::copy_from_slice(&value)));
        }
    }

    fn changes(&self) -> RwLockWriteGuard<'_, Changes> {
        self.0.changing.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        for (key, _) in self.changes().drain() {
            self.0.kept.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    /// A value; an empty text stands for none.
    fn value(text: &'static str) -> Value {
        (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()))
    }

    fn changes(changed: &[(&str, Value)]) -> Changes {
        changed.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.clone())).collect()
    }

    fn missed<'h>(hot: &'h Hot, key: &str) -> Place<'h> {
        match hot.look(key.as_bytes()) {
            Look::Missed(place) => place,
            Look::Found(value) => panic!("{key} has {value:?}"),
            Look::Awaited => panic!("{key} is awaited"),
        }
    }

    fn leave(hot: &Hot, key: &str, value: Option<&Bytes>) {
        missed(hot, key).keep(key.as_bytes(), value);
    }

    #[test]
    fn a_value_stays_until_it_is_changed() {
        let hot = Hot::new(ROOM);
        leave(&hot, "a", value("1").as_ref());
        leave(&hot, "none", value("").as_ref());
        assert_eq!(hot.get(b"a"), Some(value("1")));
        assert_eq!(hot.get(b"none"), Some(None));
        hot.change(changes(&[("a", value("2")), ("b", value("3")), ("c", value(""))])).done();
        assert_eq!(
            ["a", "b", "c"].map(|key| hot.get(key.as_bytes())),
            [Some(value("2")), Some(value("3")), Some(None)]
        );
        // Nobody can tell what became of it.
        drop(hot.change(changes(&[("a", value("4"))])));
        assert_eq!(hot.get(b"a"), None);
        leave(&hot, "a", value("2").as_ref());
        assert_eq!(hot.get(b"none"), Some(None));
    }

    #[test]
    fn what_was_read_before_or_during_a_change_does_not_come_back() {
        for is_written in [true, false] {
            let hot = Hot::new(ROOM);
            let old = value("old");
            let (early, late) = (missed(&hot, "a"), missed(&hot, "b"));
            let change = hot.change(changes(&[("a", value("new")), ("b", value("new"))]));
            early.keep(b"a", old.as_ref());
            assert_eq!(hot.get(b"a"), None);
            let (during, afterwards) = (missed(&hot, "a"), missed(&hot, "other"));
            if is_written {
                change.done();
            } else {
                drop(change);
            }
            late.keep(b"b", old.as_ref());
            during.keep(b"a", old.as_ref());
            let known = is_written.then(|| value("new"));
            assert_eq!([hot.get(b"a"), hot.get(b"b")], [known.clone(), known]);
            afterwards.keep(b"other", old.as_ref());
            assert_eq!(hot.get(b"other"), Some(old));
        }
    }

    #[test]
    fn one_of_several_readers_leaves_what_they_read() {
        let hot = Hot::new(ROOM);
        let first = missed(&hot, "a");
        assert!(matches!(hot.look(b"a"), Look::Awaited));
        first.keep(b"a", value("1").as_ref());
        assert!(matches!(hot.look(b"a"), Look::Found(found) if found == value("1")));
        // One that fails leaves the place to the next.
        drop(missed(&hot, "b"));
        leave(&hot, "b", None);
    }

    #[test]
    fn its_memory_is_bounded_and_holds_no_more_than_the_values() {
        let hot = Hot::new(ROOM);
        let long = Bytes::from(vec![7; 64 << 10]);
        for number in 0..200 {
            hot.change(changes(&[(&number.to_string(), Some(long.slice(..16 << 10)))])).done();
            assert!(hot.kept.weight() <= ROOM as u64);
        }
        assert!(long.is_unique());
        assert!(hot.kept.len() > 20, "{} of 60 are left", hot.kept.len());
    }
}
