//! Transitions: after which time an object is counted among which storage class.
//! (S3 user guide, "Transitioning objects using Amazon S3 Lifecycle".)
//!
//! Storage classes are labels here: nothing is moved, and nothing need be restored to be read.

/// Smallest object that transitions unless a rule says otherwise, in bytes.
const MINIMUM_SIZE: u64 = 128 << 10;

/// A class that objects may transition to. In this order: from each to those behind it, save from One Zone to Instant Retrieval.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TransitionClass {
    /// Infrequent access.
    StandardIa,
    /// Tiers by access.
    IntelligentTiering,
    /// Infrequent access, in one zone.
    OneZoneIa,
    /// Glacier Instant Retrieval.
    GlacierIr,
    /// Glacier Flexible Retrieval.
    Glacier,
    /// Glacier Deep Archive.
    DeepArchive,
}

impl TransitionClass {
    /// All, in their order.
    pub const ALL: [Self; 6] = [
        Self::StandardIa,
        Self::IntelligentTiering,
        Self::OneZoneIa,
        Self::GlacierIr,
        Self::Glacier,
        Self::DeepArchive,
    ];

    /// The class called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// As AWS calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StandardIa => "STANDARD_IA",
            Self::IntelligentTiering => "INTELLIGENT_TIERING",
            Self::OneZoneIa => "ONEZONE_IA",
            Self::GlacierIr => "GLACIER_IR",
            Self::Glacier => "GLACIER",
            Self::DeepArchive => "DEEP_ARCHIVE",
        }
    }

    /// Whether an object may come to this class from `class`.
    pub fn may_follow(self, class: Self) -> bool {
        self > class && (class, self) != (Self::OneZoneIa, Self::GlacierIr)
    }

    /// Whether an object may come to this class from the one called `name`; from `STANDARD` and `REDUCED_REDUNDANCY` to all.
    pub fn may_follow_named(self, name: &str) -> bool {
        Self::parse(name).is_none_or(|class| self.may_follow(class))
    }

    /// Whether an object of `size` bytes comes here by a rule that says nothing of sizes.
    pub fn takes(self, size: u64, varies_by_storage_class: bool) -> bool {
        size >= MINIMUM_SIZE || (varies_by_storage_class && matches!(self, Self::Glacier | Self::DeepArchive))
    }
}

/// When current versions transition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// So many days after they were written.
    Days(u32),
    /// At a midnight, in milliseconds since the Unix epoch.
    Date(i64),
}

/// A transition of current versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transition {
    /// When.
    pub when: When,
    /// Where to.
    pub class: TransitionClass,
}

/// A transition of noncurrent versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoncurrentTransition {
    /// So many days after they became noncurrent.
    pub days: u32,
    /// So many of the newest of them stay whatever their age.
    pub keep: Option<u32>,
    /// Where to.
    pub class: TransitionClass,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_as_water_falls() {
        use TransitionClass::{DeepArchive, Glacier, GlacierIr, OneZoneIa, StandardIa};
        for class in TransitionClass::ALL {
            assert_eq!(TransitionClass::parse(class.as_str()), Some(class));
            assert!(class.may_follow_named("STANDARD") && class.may_follow_named("REDUCED_REDUNDANCY"));
            assert!(!class.may_follow(class));
            assert_eq!(DeepArchive.may_follow(class), class != DeepArchive);
        }
        assert!(OneZoneIa.may_follow(StandardIa) && !StandardIa.may_follow(OneZoneIa));
        assert!(!GlacierIr.may_follow(OneZoneIa) && Glacier.may_follow(OneZoneIa) && Glacier.may_follow(GlacierIr));
        assert_eq!(TransitionClass::parse("STANDARD"), None);
    }

    #[test]
    fn small_objects_stay_or_go_by_class() {
        use TransitionClass::{DeepArchive, GlacierIr};
        assert!(GlacierIr.takes(MINIMUM_SIZE, false) && !GlacierIr.takes(MINIMUM_SIZE - 1, true));
        assert!(DeepArchive.takes(1, true) && !DeepArchive.takes(1, false));
    }
}
