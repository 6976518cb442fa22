//! The S3 protocol: request to operation, to identity, to permit, to handler, to response.
//!
//! **Order of checks**, which decides what a request wrong in two ways is told (`service` keeps it):
//! host and URI; operation; shape of the auth header; signature; clock; bucket exists; transport rules of SSE-KMS;
//! policy; header validity and SSE plan; conditional headers; body.
//!
//! | module | what |
//! |---|---|
//! | [`operation`] | the table: routing, IAM actions, which operations are served |
//! | `service` | the way of a request through the checks to its handler |
//! | [`request`], `presigned`, [`headers`], [`condition`], [`xml`] | parsing into types |
//! | [`payload`], [`checksum`] | bodies that prove their length and digests |
//! | `bucket`, `put`, `get`, `copy`, `complete`, `delete`, `list`, `list_versions`, `multipart`, `object_lock`, `parts`, `tagging`, `versioning` | the handlers |
//! | `configuration` | the kinds of bucket configuration, by one table |
//! | `control` | S3 Control: tags of resources by their ARN, and what an account blocks of public access |
//! | `access_log` | server access logs |
//! | `cors`, `website` | cross-origin requests; buckets shown to browsers |
//! | `access`, `circumstances`, `standing`, `acl`, `ownership` | what a request is judged by, and what conditions may ask of it; access control lists; to whom objects belong |
//! | [`error`], [`render`] | the error type, and the only place that writes it |

mod access;
mod access_log;
mod acl;
mod attributes;
mod bucket;
mod bucket_encryption;
mod bucket_policy;
mod buffer;
mod call;
pub mod checksum;
mod circumstances;
mod complete;
pub mod condition;
mod configuration;
mod consequences;
mod control;
mod copy;
mod cors;
mod delete;
mod delivery;
mod encoded_word;
pub mod error;
mod event;
mod get;
pub mod headers;
mod inventory;
mod lifecycle;
mod list;
mod list_versions;
mod markings;
mod multipart;
mod notification;
mod object;
mod object_lock;
pub mod operation;
mod ownership;
mod parts;
pub mod payload;
mod post;
mod presigned;
mod put;
mod reader;
pub mod render;
pub mod replication;
pub mod request;
mod service;
mod share;
mod standing;
mod sub_resource;
mod tagging;
mod tags;
mod transport;
mod update_encryption;
mod upload;
mod version;
mod versioning;
mod website;
pub mod xml;
mod xml_json;

pub use access_log::Figures as AccessLogFigures;
pub use consequences::{Outboxes, SharedOutboxes};
pub use lifecycle::kept_rules;
pub use service::{S3, Settings};
