//! The S3 protocol.

pub mod error;
