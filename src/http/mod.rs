//! The front end: sockets, TLS, HTTP/1.1 and HTTP/2, and the edge that every request passes.
//!
//! - `server`: the accept loops, one task per connection, TLS handshakes off the accept path, draining;
//! - `socket`: what a connection reads and writes, and how it closes;
//! - `activity`: what a connection is doing, so that idle, slow and stalled ones are closed;
//! - `edge`: request ids, the choice of protocol, panics, the headers of every response;
//! - `detach`: handlers that are finished though their client has gone;
//! - `route`: which protocol a request speaks;
//! - `body`: request and response bodies, counted and timed;
//! - `exchange`: one request's record, from its head to the end of its response: the access log and the metrics;
//! - `spelling`: how HTTP/1.1 spells the names of headers;
//! - `proxy`: whose word on a connection's protection is believed;
//! - `internal`: health and metrics, under `/_/`;
//! - `client`: the other side, for the commands that ask a running server.
//!
//! It knows nothing of S3 or the KMS: a protocol is a [`crate::wire::Protocol`].

mod activity;
mod body;
mod client;
mod detach;
mod edge;
mod exchange;
mod failure;
mod internal;
mod proxy;
mod route;
mod server;
mod socket;
mod spelling;
mod tls;

pub use client::{Client, ClientError};
pub use edge::{Edge, Protocols};
pub use internal::Readiness;
pub use proxy::TrustedProxies;
pub use server::{Addresses, BindError, Drained, Server};
pub use tls::{Material, PemError, Tls, TlsError, install_provider};

#[cfg(test)]
mod tests;
