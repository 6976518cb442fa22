//! Where the cursors of work on a bucket lie.

use super::keys::{Table, key_of};

/// A kind of work on a bucket. A closed set: stored bytes, never renumbered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum CursorKind {
    /// Its life cycle.
    Lifecycle = 1,
    /// Its inventory reports, by the id of the configuration.
    Inventory = 2,
}

impl CursorKind {
    /// The key of the cursor `id`; of a kind without ids, that is empty.
    pub fn key(self, id: &str) -> Vec<u8> {
        let mut key = key_of(Table::Cursor, &[self as u8]);
        key.extend_from_slice(id.as_bytes());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_change() {
        assert_eq!(CursorKind::Lifecycle.key(""), b"Y\x01");
        assert_eq!(CursorKind::Inventory.key("daily"), b"Y\x02daily");
    }
}
