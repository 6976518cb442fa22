//! Strongroom: an S3-compatible object store whose heart is SSE-KMS.
//!
//! The modules in layer order; each may use only those below it (`tests/architecture.rs` holds it, `ARCHITECTURE.md`
//! explains it):
//!
//! | layer | modules |
//! |---|---|
//! | commands | [`cli`] |
//! | front end | [`http`] |
//! | protocols | [`s3`], [`kms::api`], [`audit::api`], [`iam::api`], [`admin`] |
//! | work on whole buckets | [`jobs`] |
//! | the outbox's carriers, event notifications | [`events`] |
//! | envelope encryption | [`sse`] |
//! | identities | [`iam`] |
//! | keys | [`kms`] |
//! | durable state, signatures, policies, the audit | [`store`], [`sigv4`], [`policy`], [`audit`] |
//! | the ground | [`config`], [`telemetry`], [`wire`] |
//! | | [`crypto`], [`clock`] |

pub mod admin;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod events;
pub mod http;
pub mod iam;
pub mod jobs;
pub mod kms;
pub mod policy;
pub mod s3;
pub mod sigv4;
pub mod sse;
pub mod store;
pub mod telemetry;
pub mod wire;
