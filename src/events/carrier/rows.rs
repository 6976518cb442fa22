//! The entries of a lane that are held in memory: of each object key a row, which is carried out in order.

use std::collections::{HashMap, VecDeque};

use crate::store::outbox::Waiting;

/// Entries of one key that are held behind those that are being carried out; what is behind these is read again later.
const LONGEST: usize = 64;

/// The rows that are held, by their keys.
pub(super) struct Rows<E> {
    rows: HashMap<String, Row<E>>,
    /// The keys whose entries may be begun with, in the order in which they were read.
    ready: VecDeque<String>,
}

/// The entries of one key.
struct Row<E> {
    /// What is not yet begun.
    waiting: Vec<Waiting<E>>,
    /// The number of the last entry that was taken in: those up to it are carried out, or wait here.
    last: u64,
    /// Whether nothing of the key failed before.
    is_fresh: bool,
    /// Whether an entry was left where it is. Those behind it are, too.
    is_full: bool,
    /// Whether all that was taken in is carried out, and the row stands for what was left alone.
    is_idle: bool,
}

impl<E> Default for Rows<E> {
    fn default() -> Self {
        Self { rows: HashMap::new(), ready: VecDeque::new() }
    }
}

impl<E> Rows<E> {
    /// Whether there is something that may be begun.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The keys of which entries are held.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// Takes an entry in behind those of its key that are held, if some are: otherwise it is given back.
    pub fn join(&mut self, key: &str, entry: Waiting<E>) -> Option<Waiting<E>> {
        let Some(row) = self.rows.get_mut(key) else { return Some(entry) };
        if entry.sequence > row.last && !row.is_full {
            if row.waiting.len() < LONGEST {
                row.last = entry.sequence;
                row.waiting.push(entry);
            } else {
                row.is_full = true;
            }
        }
        None
    }

    /// Begins a row with an entry whose key has none.
    pub fn begin(&mut self, key: String, is_fresh: bool, entry: Waiting<E>) {
        let last = entry.sequence;
        self.ready.push_back(key.clone());
        self.rows.insert(key, Row { waiting: vec![entry], last, is_fresh, is_full: false, is_idle: false });
    }

    /// The entries to be carried out next, and whether nothing of their key failed before.
    pub fn next(&mut self) -> Option<(String, bool, Vec<Waiting<E>>)> {
        let key = self.ready.pop_front()?;
        let row = self.rows.get_mut(&key)?;
        Some((key, row.is_fresh, std::mem::take(&mut row.waiting)))
    }

    /// What was begun of `key` has ended. Where it was carried out, what waits behind it is next. Whether something of it was
    /// left where it is.
    pub fn end(&mut self, key: &str, carried: bool) -> bool {
        let Some(row) = self.rows.get_mut(key) else { return false };
        let is_full = row.is_full;
        if carried && !row.waiting.is_empty() {
            row.is_fresh = true;
            self.ready.push_back(key.to_owned());
        } else if carried && is_full {
            row.is_idle = true;
        } else {
            self.rows.remove(key);
        }
        is_full
    }

    /// Lets go of what is not begun.
    pub fn drop_ready(&mut self) {
        for key in self.ready.drain(..) {
            self.rows.remove(&key);
        }
    }

    /// The lane is read from its first entry again: what was left is met again before what is behind it.
    pub fn reread(&mut self) {
        self.rows.retain(|_, row| !row.is_idle);
        self.rows.values_mut().for_each(|row| row.is_full = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64) -> Waiting<()> {
        Waiting { key: Vec::new(), sequence, entry: () }
    }

    /// Rows of which one, whose first entry is being carried out, has two more behind it than it takes.
    fn overfull() -> Rows<()> {
        let mut rows = Rows::default();
        rows.begin("a".to_owned(), true, entry(0));
        let _ = rows.next();
        for sequence in 1..=LONGEST as u64 + 2 {
            assert!(rows.join("a", entry(sequence)).is_none());
        }
        rows
    }

    fn holds(rows: &Rows<()>, key: &str) -> bool {
        rows.keys().any(|held| held == key)
    }

    fn next(rows: &mut Rows<()>) -> Option<(String, Vec<u64>)> {
        let (key, _, entries) = rows.next()?;
        Some((key, entries.iter().map(|entry| entry.sequence).collect()))
    }

    #[test]
    fn entries_wait_behind_those_of_their_key() {
        let mut rows = Rows::default();
        assert!(rows.join("a", entry(1)).is_some());
        rows.begin("a".to_owned(), true, entry(1));
        rows.begin("b".to_owned(), true, entry(2));
        assert!(rows.join("a", entry(3)).is_none());
        assert_eq!(next(&mut rows), Some(("a".to_owned(), vec![1, 3])));
        // It is read again while it is carried out.
        for sequence in [1, 3, 4] {
            assert!(rows.join("a", entry(sequence)).is_none());
        }
        assert_eq!(next(&mut rows), Some(("b".to_owned(), vec![2])));
        assert_eq!(next(&mut rows), None);
        assert!(!rows.end("b", true) && !holds(&rows, "b"));
        rows.end("a", true);
        assert_eq!(next(&mut rows), Some(("a".to_owned(), vec![4])));
        assert!(rows.join("a", entry(5)).is_none());
        rows.end("a", false);
        assert!(!holds(&rows, "a"), "what waits behind a failure is read again");
    }

    #[test]
    fn what_is_left_is_not_overtaken() {
        let last = LONGEST as u64;
        let mut rows = overfull();
        assert!(rows.end("a", true), "something was left");
        assert_eq!(next(&mut rows), Some(("a".to_owned(), (1..=last).collect())));
        assert!(rows.join("a", entry(last + 3)).is_none());
        assert_eq!(rows.rows["a"].last, last, "it is behind what was left");
        assert!(rows.end("a", true), "so it is also when the others are done");
        assert!(rows.join("a", entry(last + 4)).is_none());
        assert_eq!(next(&mut rows), None);
        rows.reread();
        assert!(rows.join("a", entry(last + 1)).is_some(), "it is begun with what was left");
    }

    #[test]
    fn what_was_left_is_taken_in_when_it_is_met_again() {
        let last = LONGEST as u64;
        let mut rows = overfull();
        rows.end("a", true);
        assert_eq!(next(&mut rows), Some(("a".to_owned(), (1..=last).collect())));
        rows.reread();
        for sequence in 0..=last + 3 {
            assert!(rows.join("a", entry(sequence)).is_none());
        }
        rows.end("a", true);
        assert_eq!(next(&mut rows), Some(("a".to_owned(), vec![last + 1, last + 2, last + 3])));
    }

    #[test]
    fn what_is_not_begun_can_be_let_go_of() {
        let mut rows = Rows::default();
        rows.begin("a".to_owned(), true, entry(1));
        rows.begin("b".to_owned(), true, entry(2));
        let _ = rows.next();
        rows.drop_ready();
        assert!(holds(&rows, "a") && !holds(&rows, "b") && !rows.is_ready());
    }
}
