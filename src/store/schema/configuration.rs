//! The configurations of a bucket: which kinds there are, under which key each lies, and its record.

use minicbor::{Decode, Encode};

use super::keys::{Table, escape_behind, key_of};
use super::records::Record;

/// A kind of bucket configuration. A closed set: stored bytes (and bits of [`ConfigurationKinds`]), never renumbered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum ConfigurationKind {
    /// Cross-origin resource sharing.
    Cors = 1,
    /// Life cycle.
    Lifecycle = 2,
    /// Static website.
    Website = 3,
    /// Server access logging.
    Logging = 4,
    /// Event notifications.
    Notification = 5,
    /// Replication.
    Replication = 6,
    /// Transfer acceleration.
    Accelerate = 8,
    /// Who pays for requests.
    RequestPayment = 9,
    /// Attribute-based access control.
    Abac = 10,
    /// Storage class analysis, by id.
    Analytics = 11,
    /// Request metrics, by id.
    Metrics = 12,
    /// Intelligent tiering, by id.
    IntelligentTiering = 13,
    /// Inventory reports, by id.
    Inventory = 14,
}

impl ConfigurationKind {
    /// The key of a kind of which a bucket has one.
    pub fn key(self) -> Vec<u8> {
        key_of(Table::Configuration, &[self as u8])
    }

    /// The key of the configuration `id`, of a kind of which a bucket has several.
    pub fn key_of_id(self, id: &str) -> Vec<u8> {
        escape_behind(self.key(), id)
    }

    /// Where the number of configurations of a kind with ids stands. No kind is zero.
    pub fn count_key(self) -> Vec<u8> {
        key_of(Table::Configuration, &[0, self as u8])
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(transparent)]
pub struct ConfigurationKinds(#[n(0)] u64);

impl ConfigurationKinds {
    /// Whether `kind` is in it.
    pub fn contains(self, kind: ConfigurationKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// This set and `kind`.
    #[must_use]
    pub fn with(self, kind: ConfigurationKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }
}

/// A configuration.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ConfigurationRecord {
    /// The contents of its document's root element, in canonical form.
    #[n(0)]
    pub document: String,
    /// When it was put, in milliseconds since the Unix epoch.
    #[n(1)]
    pub modified: i64,
}

impl Record for ConfigurationRecord {
    const NAME: &'static str = "configuration record";
}

#[cfg(test)]
mod tests {
    use super::super::records::hold;
    use super::*;

    #[test]
    fn the_stored_form_does_not_change() {
        let document = "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>";
        hold("configuration.bin", &ConfigurationRecord { document: document.to_owned(), modified: 1_700_000_000_123 });
        assert_eq!(ConfigurationKind::Cors.key(), b"C\x01");
        assert_eq!(ConfigurationKind::Metrics.key_of_id("a"), b"C\x0ca\0\0");
        assert_eq!(ConfigurationKind::Metrics.count_key(), b"C\0\x0c");
    }

    #[test]
    fn sets_of_kinds() {
        let kinds = ConfigurationKinds::default().with(ConfigurationKind::Inventory);
        assert!(kinds.contains(ConfigurationKind::Inventory));
        assert!(!kinds.contains(ConfigurationKind::Cors));
    }
}
