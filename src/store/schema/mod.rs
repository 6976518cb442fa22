//! What is written under which key: the S3 index's tables, key encodings and records.
//!
//! ```text
//! partition            key                                             value
//! GLOBAL               B name                                          BucketRecord
//! GLOBAL               E bucket-id                                     outbox::WatchRecord
//! GLOBAL               G bucket-id                                     "gone": its partition is being emptied
//! GLOBAL               J job-id                                        jobs::JobRecord
//! GLOBAL               S name                                          a record of the server's own (server key)
//! <bucket id>          L                                               "live" | "live enabled" | "live suspended" | "deleting"
//! <bucket id>          C kind(u8) [escaped-id 00 00]                   ConfigurationRecord
//! <bucket id>          C 00 kind(u8)                                   Tally: how many of a kind that has ids
//! <bucket id>          O escaped-key                                   ObjectRecord (the current version)
//! <bucket id>          T escaped-key                                   MarkerRecord (the current version, where it is one)
//! <bucket id>          V escaped-key !order(u64 BE)                    Version (a noncurrent one)
//! <bucket id>          Y kind(u8) id                                   how far work on the bucket is: a record of the work's own
//! <bucket id>          D run-id                                        a small sealed run, inline
//! <bucket id>          E                                               Tally: events that wait
//! <bucket id>          E lane(8) sequence(u64 BE)                      outbox::EventRecord
//! <bucket id>          K kind(u8) key-arn                              Tally: what is kept under that key
//! <bucket id>          N upload-id                                     Tally: an open upload's parts
//! <bucket id>          R                                               Tally: replications that wait
//! <bucket id>          R lane(8) sequence(u64 BE)                      outbox::ReplicationRecord
//! <bucket id>          U escaped-key 00 00 upload-id                   UploadRecord
//! <bucket id>          P upload-id part-number(u16 BE)                 PartRecord
//! ```
//! The first byte of every key is its [`Table`]; the first byte of every record its format version, then CBOR with
//! numbered fields, so that later versions add fields and older readers skip them. Nothing here knows the wire.

mod acl;
mod configuration;
mod cursor;
mod keys;
mod records;
mod replication;
mod stored;
mod version;

pub use acl::{AclGrant, Grantee, Group, Ownership, Permission};
pub use configuration::{ConfigurationKind, ConfigurationKinds, ConfigurationRecord};
pub use cursor::CursorKind;
pub use keys::{Table, behind_prefix, escape, key_of, noncurrent_key, prefix_of, unescape};
pub use records::{
    Attributes, Body, BucketRecord, ChecksumKind, DefaultAlgorithm, DefaultEncryption, ObjectRecord, PartRecord,
    PartSpan, Protection, PublicAccessBlock, Record, RunRef, SseKind, StoredEtag, UploadRecord,
};
pub use replication::{DestinationState, Ended, Facet, ReplicationState, ReplicationStatus};
pub use stored::{from_value, to_value};
pub use version::{
    Claim, DefaultRetention, MarkerRecord, NoVersionId, ObjectLock, Others, Period, Retention, RetentionMode, Version,
    VersionId, Versioning,
};

/// The value of the [`Table::Live`] key of a live bucket that never had versions: every write to the bucket expects it, or
/// what says that the bucket has versions ([`Versioning::live_value`]).
pub const LIVE: &[u8] = b"live";
/// The value while the bucket is being deleted.
pub const DELETING: &[u8] = b"deleting";
/// The value of a [`Table::Gone`] key.
pub const GONE: &[u8] = b"gone";
