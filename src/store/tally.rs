//! Tallies: how much each bucket keeps under each key, counted by the commits themselves.
//!
//! A commit that adds or removes objects carries the difference ([`super::Mutation::Count`]), and the store adds it up in
//! the same atomic step: the tallies are always those of a full scan, and nobody has to make one. Differences are
//! commutative, so that writers of one bucket do not conflict over them.

use super::schema::{Protection, SseKind, Table, key_of};
use super::{KeyRange, MetaStore, Partition, StoreError};

/// The version byte of every tally written today.
const FORMAT: u8 = 1;
/// The version byte and four numbers.
const LENGTH: usize = 1 + 4 * 8;

/// A number of things, or a difference of such numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Objects.
    pub objects: i64,
    /// Their plaintext bytes.
    pub bytes: i64,
    /// Open multipart uploads.
    pub uploads: i64,
    /// The plaintext bytes of their parts.
    pub part_bytes: i64,
}

impl Tally {
    /// One object of `size` bytes.
    pub fn object(size: u64) -> Self {
        Self { objects: 1, bytes: signed(size), ..Self::default() }
    }

    /// One upload without parts.
    pub fn upload() -> Self {
        Self { uploads: 1, ..Self::default() }
    }

    /// A part of `size` bytes.
    pub fn part(size: u64) -> Self {
        Self { part_bytes: signed(size), ..Self::default() }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
            uploads: self.uploads.saturating_add(other.uploads),
            part_bytes: self.part_bytes.saturating_add(other.part_bytes),
        }
    }

    /// Its removal.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            objects: self.objects.saturating_neg(),
            bytes: self.bytes.saturating_neg(),
            uploads: self.uploads.saturating_neg(),
            part_bytes: self.part_bytes.saturating_neg(),
        }
    }

    /// Whether there is nothing in it. Such a tally has no value in the store.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The stored form: the version byte and the four numbers, big-endian.
    pub fn to_value(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(LENGTH);
        value.push(FORMAT);
        for number in [self.objects, self.bytes, self.uploads, self.part_bytes] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value
    }

    /// Reads a stored form.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn from_value(value: &[u8]) -> Result<Self, StoreError> {
        let [FORMAT, numbers @ ..] = value else { return Err(damaged()) };
        let (numbers, []) = numbers.as_chunks::<8>() else { return Err(damaged()) };
        let &[objects, bytes, uploads, part_bytes] = numbers else { return Err(damaged()) };
        let [objects, bytes, uploads, part_bytes] = [objects, bytes, uploads, part_bytes].map(i64::from_be_bytes);
        Ok(Self { objects, bytes, uploads, part_bytes })
    }
}

/// Where the tally of `protection` stands: the kind's byte, and the key's ARN.
pub fn tally_key(protection: &Protection) -> Vec<u8> {
    let mut key = key_of(Table::Tally, &[protection.kind.tag()]);
    key.extend_from_slice(protection.key.as_deref().unwrap_or_default().as_bytes());
    key
}

/// What the bucket keeps, by protection. What it keeps nothing under is left out.
///
/// # Errors
/// As [`MetaStore::scan`].
pub async fn read_tallies(store: &dyn MetaStore, bucket: Partition) -> Result<Vec<(Protection, Tally)>, StoreError> {
    let pairs = store.scan(bucket, &KeyRange::prefix(&[Table::Tally as u8]), usize::MAX).await?;
    pairs.iter().map(|(key, value)| Ok((read_key(key)?, Tally::from_value(value)?))).collect()
}

fn read_key(key: &[u8]) -> Result<Protection, StoreError> {
    let [_, tag, arn @ ..] = key else { return Err(damaged()) };
    let kind = SseKind::of_tag(*tag).ok_or_else(damaged)?;
    let arn = std::str::from_utf8(arn).map_err(|_| damaged())?;
    Ok(Protection { kind, key: (!arn.is_empty()).then(|| arn.to_owned()) })
}

fn damaged() -> StoreError {
    StoreError::Corrupt("tally".to_owned())
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_forms_do_not_change() {
        let tally = Tally { objects: 3, bytes: 1 << 40, uploads: 1, part_bytes: -2 };
        let value = tally.to_value();
        assert_eq!(
            hex::encode(&value),
            "010000000000000003000001000000000000000000000000 01fffffffffffffffe".replace(' ', "")
        );
        assert_eq!(Tally::from_value(&value).unwrap(), tally);
        for damaged in [&value[1..], &value[..LENGTH - 1], b"", b"\x02", &[value.as_slice(), &[0; 8]].concat()] {
            assert!(matches!(Tally::from_value(damaged), Err(StoreError::Corrupt(_))));
        }
    }

    #[test]
    fn keys_tell_their_protection() {
        let arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let kms = Protection { kind: SseKind::Kms, key: Some(arn.to_owned()) };
        assert_eq!(tally_key(&kms), [b"K\x01", arn.as_bytes()].concat());
        assert_eq!(tally_key(&Protection { kind: SseKind::S3, key: None }), b"K\x00");
        for kind in SseKind::ALL {
            let protection = Protection { kind, ..kms.clone() };
            assert_eq!(read_key(&tally_key(&protection)).unwrap(), protection);
        }
        assert!(read_key(b"K").is_err());
        assert!(read_key(b"K\x09").is_err());
    }
}
