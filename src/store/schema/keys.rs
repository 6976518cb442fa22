//! Key encodings: order-preserving, so that a listing is a scan.

use crate::store::prefix_end;

/// The tables, by the first byte of their keys. A closed set: a stored byte, never renumbered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Table {
    /// Bucket names, in the global partition.
    Bucket = b'B',
    /// Configurations of the bucket, by kind and id.
    Configuration = b'C',
    /// How far work on the bucket is, by kind and id.
    Cursor = b'Y',
    /// Small sealed runs, stored as values.
    Data = b'D',
    /// Buckets that are gone and whose partitions are not empty yet, in the global partition.
    Gone = b'G',
    /// Events that wait to be told; in the global partition, the buckets that may have some.
    Event = b'E',
    /// Whether the bucket takes writes.
    Live = b'L',
    /// Jobs, in the global partition.
    Job = b'J',
    /// What is kept under each key.
    Tally = b'K',
    /// The number of parts of each open upload, and of their bytes: a tally.
    PartCount = b'N',
    /// The current version of each object.
    Object = b'O',
    /// Uploaded parts, of open and of completed uploads.
    Part = b'P',
    /// Versions that wait to be replicated.
    Replication = b'R',
    /// The server's own records, in the global partition.
    Server = b'S',
    /// The delete marker that is the current version of a key, if one is: then it has no [`Table::Object`].
    Marker = b'T',
    /// Open multipart uploads.
    Upload = b'U',
    /// Versions that are not current any more, the newest of each key first.
    Noncurrent = b'V',
}

/// The key of `rest` in `table`.
pub fn key_of(table: Table, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(table as u8);
    key.extend_from_slice(rest);
    key
}

/// The prefix that all keys of `table` beginning with the object-key prefix `prefix` share.
pub fn prefix_of(table: Table, prefix: &str) -> Vec<u8> {
    let mut key = vec![table as u8];
    push_escaped(&mut key, prefix.as_bytes());
    key
}

/// The first key behind all those in the table of `key` whose names begin with `prefix`.
pub fn behind_prefix(key: &[u8], prefix: &str) -> Option<Vec<u8>> {
    let mut shared = vec![*key.first()?];
    push_escaped(&mut shared, prefix.as_bytes());
    Some(prefix_end(&shared))
}

/// `table` and the escaped and terminated `name`: `00` becomes `00 ff`, and `00 00` ends it. The order of the encodings
/// is the order of the names, and no encoding is a prefix of another.
pub fn escape(table: Table, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    key.push(table as u8);
    escape_behind(key, name)
}

/// `key`, and behind it the escaped and terminated `name`.
pub(super) fn escape_behind(mut key: Vec<u8>, name: &str) -> Vec<u8> {
    push_escaped(&mut key, name.as_bytes());
    key.extend_from_slice(&[0, 0]);
    key
}

/// The key of the noncurrent version of `name` at `order`: later ones come first.
pub fn noncurrent_key(name: &str, order: u64) -> Vec<u8> {
    let mut key = escape(Table::Noncurrent, name);
    key.extend_from_slice(&(!order).to_be_bytes());
    key
}

/// The name in a key made by [`escape`], and what follows its terminator. `None` if `key` is no such key.
pub fn unescape(key: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key.get(1..)?;
    loop {
        match rest {
            [0, 0, tail @ ..] => return Some((String::from_utf8(name).ok()?, tail)),
            [0, 0xff, tail @ ..] => {
                name.push(0);
                rest = tail;
            }
            [byte, tail @ ..] if *byte != 0 => {
                name.push(*byte);
                rest = tail;
            }
            _ => return None,
        }
    }
}

fn push_escaped(key: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        key.push(byte);
        if byte == 0 {
            key.push(0xff);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaping_keeps_order_and_round_trips(a in "[\u{0}-\u{2}a-c]{0,6}", b in "[\u{0}-\u{2}a-c]{0,6}") {
            let (ka, kb) = (escape(Table::Object, &a), escape(Table::Object, &b));
            prop_assert_eq!(ka.cmp(&kb), a.as_bytes().cmp(b.as_bytes()));
            prop_assert_eq!(unescape(&ka), Some((a.clone(), &[][..])));
            prop_assert_eq!(ka.starts_with(&prefix_of(Table::Object, &b)), a.starts_with(&b));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(unescape(b""), None);
        assert_eq!(unescape(b"Oabc"), None);
        assert_eq!(unescape(b"Oabc\0\x01"), None);
        assert_eq!(unescape(b"Oabc\0\0rest"), Some(("abc".to_owned(), &b"rest"[..])));
    }
}
