//! The S3 protocol.

pub mod condition;
pub mod error;
pub mod headers;
pub mod operation;
pub mod render;
pub mod request;
pub mod xml;
