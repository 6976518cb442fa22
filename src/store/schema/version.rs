//! Versions: how a bucket's are named and ordered, and what is kept of an object that was deleted.
//!
//! Each version has an *order*, in which it comes later than every version that its key had before: microseconds since
//! the Unix epoch where the clock allows, and one more than the last where it does not. A version's id is its order and
//! its generation, so that an id leads to its record by one look-up, and none is given twice.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};

use super::{DELETING, LIVE, ObjectRecord, Record};

/// Whether a bucket keeps what is overwritten and deleted.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum Versioning {
    /// It never has.
    #[default]
    #[n(0)]
    Never,
    /// Each write is a version with an id of its own.
    #[n(1)]
    Enabled,
    /// What was kept stays; each write replaces the null version.
    #[n(2)]
    Suspended,
}

impl Versioning {
    /// The value of the bucket's [`super::Table::Live`] key, which says the same in the partition of its objects.
    pub fn live_value(self) -> &'static [u8] {
        match self {
            Self::Never => LIVE,
            Self::Enabled => b"live enabled",
            Self::Suspended => b"live suspended",
        }
    }

    /// What [`Self::live_value`] returned; `None` for a bucket that takes no writes.
    pub fn of_live(value: &[u8]) -> Option<Self> {
        [Self::Never, Self::Enabled, Self::Suspended]
            .into_iter()
            .find(|versioning| value != DELETING && versioning.live_value() == value)
    }

    /// Whether there can be more than one version of a key.
    pub fn keeps_versions(self) -> bool {
        self != Self::Never
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as the derivation calls it")]
    pub(super) fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// Names a version of a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VersionId {
    /// The version that was written while the bucket gave no ids.
    Null,
    /// Any other.
    Own {
        /// Where it stands among the versions of its key.
        order: u64,
        /// What tells it from every other write.
        generation: [u8; 16],
    },
}

/// `null`, or 32 characters that need no escaping in a URL, of which the first is never a hyphen.
impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Own { order, generation } => {
                let mut bytes = [0; 24];
                bytes[..8].copy_from_slice(&order.to_be_bytes());
                bytes[8..].copy_from_slice(generation);
                f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
            }
        }
    }
}

/// A text that is no version's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no version id has this form")]
pub struct NoVersionId;

impl FromStr for VersionId {
    type Err = NoVersionId;

    fn from_str(text: &str) -> Result<Self, NoVersionId> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let bytes: [u8; 24] =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NoVersionId)?;
        let (order, generation) = bytes.split_first_chunk::<8>().ok_or(NoVersionId)?;
        let order = u64::from_be_bytes(*order);
        // No clock of ours is past the year 8900: what says so was never an id.
        if order > LATEST {
            return Err(NoVersionId);
        }
        Ok(Self::Own { order, generation: generation.try_into().map_err(|_| NoVersionId)? })
    }
}

/// The highest order that is taken for one.
const LATEST: u64 = u64::MAX >> 6;

/// A delete marker: that an object was deleted, and when.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct MarkerRecord {
    /// Milliseconds since the Unix epoch.
    #[n(0)]
    pub modified: i64,
    /// Distinguishes it from every other version.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub generation: [u8; 16],
    /// Where it stands among the versions of its key.
    #[n(2)]
    pub order: u64,
    /// Whether it has an id of its own; else it is the null version.
    #[n(3)]
    pub has_id: bool,
    /// As [`ObjectRecord::null_at`].
    #[n(4)]
    pub null_at: Option<u64>,
    /// As [`ObjectRecord::late`].
    #[n(5)]
    pub late: Option<u64>,
}

impl MarkerRecord {
    /// A marker that is to be put on a key; where it stands, the commit decides.
    pub fn new(modified: i64, generation: [u8; 16]) -> Self {
        Self { modified, generation, order: 0, has_id: false, null_at: None, late: None }
    }
}

/// Any version of a key.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub enum Version {
    /// An object.
    #[n(0)]
    Object(#[n(0)] Box<ObjectRecord>),
    /// A delete marker.
    #[n(1)]
    Marker(#[n(0)] MarkerRecord),
}

impl Version {
    /// Its id.
    pub fn id(&self) -> VersionId {
        match self {
            Self::Object(object) => object.version_id(),
            Self::Marker(MarkerRecord { has_id: false, .. }) => VersionId::Null,
            Self::Marker(marker) => VersionId::Own { order: marker.order, generation: marker.generation },
        }
    }

    /// Where it stands among the versions of its key.
    pub fn order(&self) -> u64 {
        match self {
            Self::Object(object) => object.order(),
            Self::Marker(marker) => marker.order,
        }
    }

    /// When it was made, in milliseconds since the Unix epoch.
    pub fn modified(&self) -> i64 {
        match self {
            Self::Object(object) => object.modified,
            Self::Marker(marker) => marker.modified,
        }
    }

    /// The object, if it is one.
    pub fn object(&self) -> Option<&ObjectRecord> {
        match self {
            Self::Object(object) => Some(object),
            Self::Marker(_) => None,
        }
    }

    /// As [`ObjectRecord::null_at`].
    pub fn null_at(&self) -> Option<u64> {
        match self {
            Self::Object(object) => object.null_at,
            Self::Marker(marker) => marker.null_at,
        }
    }

    /// What it says of the others of its key.
    pub fn others(&self) -> Others {
        match self {
            Self::Object(object) => Others { null_at: object.null_at, late: object.late },
            Self::Marker(marker) => Others { null_at: marker.null_at, late: marker.late },
        }
    }

    /// Has it say something else of the others of its key.
    #[must_use]
    pub fn with_others(mut self, others: Others) -> Self {
        let (null_at, late) = match &mut self {
            Self::Object(object) => (&mut object.null_at, &mut object.late),
            Self::Marker(marker) => (&mut marker.null_at, &mut marker.late),
        };
        (*null_at, *late) = (others.null_at, others.late);
        self
    }

    /// Whether it is as `other`, whatever either says of the other versions of its key.
    pub fn is_same(&self, other: &Self) -> bool {
        self.clone().with_others(other.others()) == *other
    }

    /// Puts it behind all that its key had: `least` is the lowest order that it may have. One that has an id already, a
    /// replica, keeps its order where it can.
    pub(in crate::store) fn place(&mut self, least: u64, with_id: bool) {
        let given = match self {
            Self::Object(object) => object.order.filter(|_| object.has_id),
            Self::Marker(marker) => marker.has_id.then_some(marker.order),
        };
        let place = given.unwrap_or_else(|| micros(self.modified())).max(least);
        match self {
            Self::Object(object) => (object.order, object.has_id) = (Some(place), with_id),
            Self::Marker(marker) => (marker.order, marker.has_id) = (place, with_id),
        }
    }
}

/// What a current version says of the others of its key. A noncurrent one says nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Others {
    /// As [`ObjectRecord::null_at`].
    pub null_at: Option<u64>,
    /// As [`ObjectRecord::late`].
    pub late: Option<u64>,
}

impl Others {
    /// With one more that came late.
    #[must_use]
    pub fn with_a_late_one(self) -> Self {
        Self { late: Some(self.late.unwrap_or(0).saturating_add(1)), ..self }
    }
}

impl ObjectRecord {
    /// Its version id.
    pub fn version_id(&self) -> VersionId {
        match self.order {
            Some(order) if self.has_id => VersionId::Own { order, generation: self.generation },
            _ => VersionId::Null,
        }
    }

    /// Where it stands among the versions of its key.
    pub fn order(&self) -> u64 {
        self.order.unwrap_or_else(|| micros(self.modified))
    }

    /// Whether it is as `other`, whatever either says of the other versions of its key.
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { null_at: self.null_at, late: self.late, ..other.clone() }
    }

    /// Whether it must stay for now.
    pub fn is_locked(&self, claim: Claim) -> bool {
        let retained = self.retention.is_some_and(|retention| {
            retention.until > claim.now && !(claim.bypass && retention.mode == RetentionMode::Governance)
        });
        retained || self.legal_hold == Some(true)
    }
}

/// What whoever wants a version gone can say against its lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// What time it is, in milliseconds since the Unix epoch: [`crate::store::commit::read_lock_time`].
    pub now: i64,
    /// Whether retention in governance mode is to be, and may be, bypassed.
    pub bypass: bool,
}

impl Record for Version {
    const NAME: &'static str = "version record";
}
impl Record for MarkerRecord {
    const NAME: &'static str = "delete marker";
}

fn micros(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).saturating_mul(1000)
}

/// What holds a version.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Retention {
    /// Who may end it early.
    #[n(0)]
    pub mode: RetentionMode,
    /// Until when, in milliseconds since the Unix epoch.
    #[n(1)]
    pub until: i64,
}

/// Who may end a retention before its time.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum RetentionMode {
    /// Those who are permitted to, if they say so.
    #[n(0)]
    Governance,
    /// Nobody.
    #[n(1)]
    Compliance,
}

/// A bucket's Object Lock.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ObjectLock {
    /// What holds versions whose writer says nothing.
    #[n(0)]
    pub default: Option<DefaultRetention>,
}

/// A bucket's default retention.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct DefaultRetention {
    /// The mode.
    #[n(0)]
    pub mode: RetentionMode,
    /// For how long.
    #[n(1)]
    pub period: Period,
}

/// A length of time by the calendar.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
pub enum Period {
    /// Days of 24 hours.
    #[n(0)]
    Days(#[n(0)] u32),
    /// Years.
    #[n(1)]
    Years(#[n(0)] u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_texts_of_32_characters_that_read_back() {
        let id = VersionId::Own { order: 1_795_000_000_000_000, generation: [0xfb; 16] };
        let text = id.to_string();
        assert_eq!(text.len(), 32);
        assert!(text.starts_with("AAZ"), "{text}");
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(text.parse(), Ok(id));
        assert_eq!("null".parse(), Ok(VersionId::Null));
        assert_eq!(VersionId::Null.to_string(), "null");
        for other in ["", "NULL", "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD", &text[1..], &format!("{text}A"), "a b"] {
            assert_eq!(other.parse::<VersionId>(), Err(NoVersionId), "{other}");
        }
    }

    #[test]
    fn what_a_bucket_is_can_be_told_by_its_live_value() {
        for versioning in [Versioning::Never, Versioning::Enabled, Versioning::Suspended] {
            assert_eq!(Versioning::of_live(versioning.live_value()), Some(versioning));
        }
        assert_eq!(Versioning::of_live(DELETING), None);
        assert_eq!(Versioning::of_live(b""), None);
    }
}
