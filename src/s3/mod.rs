//! The S3 protocol.

pub mod checksum;
pub mod condition;
pub mod error;
pub mod headers;
pub mod operation;
pub mod payload;
pub mod render;
pub mod request;
pub mod xml;
