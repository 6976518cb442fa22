//! The columns of an inventory report: their names in configurations, in CSV and in Parquet, and what kind of value each has.
//! (S3 user guide, "Amazon S3 Inventory list" and "Locating your inventory list".)

use std::borrow::Cow;

/// What a column holds. In Parquet, all but text are typed; in CSV everything is text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    Time,
}

/// A value of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    Null,
    Text(Cow<'static, str>),
    Number(i64),
    Flag(bool),
    /// Milliseconds since the Unix epoch.
    Time(i64),
}

macro_rules! columns {
    ($($name:ident $parquet:literal $kind:ident;)*) => {
        /// A column, in the order in which reports have them.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub(super) enum Column { $($name,)* }

        impl Column {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in configurations and in the schema of CSV reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Its name in Parquet.
            pub const fn parquet(self) -> &'static str {
                match self { $(Self::$name => $parquet,)* }
            }

            /// What it holds.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

#[rustfmt::skip]
columns! {
//  name                          in Parquet                       kind
    Bucket                        "bucket"                         Text;
    Key                           "key"                            Text;
    VersionId                     "version_id"                     Text;
    IsLatest                      "is_latest"                      Flag;
    IsDeleteMarker                "is_delete_marker"               Flag;
    Size                          "size"                           Number;
    LastModifiedDate              "last_modified_date"             Time;
    ETag                          "e_tag"                          Text;
    StorageClass                  "storage_class"                  Text;
    IsMultipartUploaded           "is_multipart_uploaded"          Flag;
    ReplicationStatus             "replication_status"             Text;
    EncryptionStatus              "encryption_status"              Text;
    ObjectLockRetainUntilDate     "object_lock_retain_until_date"  Time;
    ObjectLockMode                "object_lock_mode"               Text;
    ObjectLockLegalHoldStatus     "object_lock_legal_hold_status"  Text;
    IntelligentTieringAccessTier  "intelligent_tiering_access_tier" Text;
    BucketKeyStatus               "bucket_key_status"              Text;
    ChecksumAlgorithm             "checksum_algorithm"             Text;
    ObjectOwner                   "object_owner"                   Text;
    LifecycleExpirationDate       "lifecycle_expiration_date"      Time;
}

/// Optional fields that AWS has and no report here can have.
pub(super) const NOT_OFFERED: &[&str] = &[
    "IntelligentTieringReferenceDate",
    "ObjectAccessControlList",
    "ObjectLockEventHoldDuration",
    "ObjectLockEventHoldStatus",
];

impl Column {
    /// The optional field of this name.
    pub fn optional(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.is_optional() && column.name() == name)
    }

    /// Whether it is there if a configuration asks for it, rather than always or with all versions.
    pub fn is_optional(self) -> bool {
        self > Self::IsDeleteMarker
    }

    /// The columns of a report with these optional ones.
    pub fn of_report(all_versions: bool, optional: &[Self]) -> Vec<Self> {
        let wanted = |column: &Self| match column {
            Self::Bucket | Self::Key => true,
            Self::VersionId | Self::IsLatest | Self::IsDeleteMarker => all_versions,
            column => optional.contains(column),
        };
        Self::ALL.iter().copied().filter(wanted).collect()
    }
}

impl Value {
    /// Text, if there is any.
    pub fn text(text: Option<impl Into<Cow<'static, str>>>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.into()))
    }

    /// A time, if there is one.
    pub fn time(millis: Option<i64>) -> Self {
        millis.map_or(Self::Null, Self::Time)
    }

    /// Bytes of memory that it takes beside itself.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(Cow::Owned(text)) => text.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_have_the_columns_asked_for_in_one_order() {
        let names = |all, optional: &[Column]| {
            Column::of_report(all, optional).into_iter().map(Column::name).collect::<Vec<_>>()
        };
        assert_eq!(names(false, &[]), ["Bucket", "Key"]);
        assert_eq!(
            names(true, &[Column::ETag, Column::Size]),
            ["Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "ETag"]
        );
        assert_eq!(Column::optional("Size"), Some(Column::Size));
        assert_eq!(
            (Column::optional("Key"), Column::optional("IsLatest"), Column::optional("size")),
            (None, None, None)
        );
    }
}
