//! What is written under which key: the S3 index's tables, key encodings and records.
//!
//! ```text
//! partition            key                                             value
//! GLOBAL               B name                                          BucketRecord
//! GLOBAL               J job-id                                        jobs::JobRecord
//! GLOBAL               S name                                          a record of the server's own (server key)
//! <bucket id>          L                                               "live" | "deleting"
//! <bucket id>          O escaped-key                                   ObjectRecord (the current version)
//! <bucket id>          D run-id                                        a small sealed run, inline
//! <bucket id>          K kind(u8) key-arn                              Tally: what is kept under that key
//! <bucket id>          N upload-id                                     Tally: an open upload's parts
//! <bucket id>          U escaped-key 00 00 upload-id                   UploadRecord
//! <bucket id>          P upload-id part-number(u16 BE)                 PartRecord
//! ```
//! The first byte of every key is its [`Table`]; the first byte of every record its format version, then CBOR with
//! numbered fields, so that later versions add fields and older readers skip them. Nothing here knows the wire.

mod keys;
mod records;

pub use keys::{Table, escape, key_of, prefix_of, unescape};
pub use records::{
    Attributes, Body, BucketRecord, ChecksumKind, DefaultAlgorithm, DefaultEncryption, ObjectRecord, PartRecord,
    PartSpan, Protection, PublicAccessBlock, Record, RunRef, SseKind, StoredEtag, UploadRecord,
};

/// The value of a live bucket's [`Table::Live`] key: every write to the bucket expects it.
pub const LIVE: &[u8] = b"live";
/// The value while the bucket is being deleted.
pub const DELETING: &[u8] = b"deleting";
