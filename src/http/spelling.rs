//! How HTTP/1.1 spells the names of a response's headers: as AWS does, `ETag` and `x-amz-request-id`.
//!
//! Names have no case (RFC 9110 section 5.1), and hyper writes them small. But clients in use look for them as AWS spells
//! them: htslib, xbcloud and fluent-bit for `ETag: ` in the answer to `UploadPart`, without which they give the upload up, and
//! so do the first versions of the SDK for Java. HTTP/2 spells all names small.

use std::cell::RefCell;
use std::convert::Infallible;
use std::mem;
use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Extensions, HeaderName, Request, Response};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

/// The names of nearly every response that are not small throughout.
const USUAL: &[&str] =
    &["Accept-Ranges", "Connection", "Content-Length", "Content-Type", "Date", "ETag", "Last-Modified", "Server"];
/// Those of others.
const FURTHER: &[&str] = &[
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Allow",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Range",
    "Expires",
    "Location",
    "Retry-After",
    "Transfer-Encoding",
    "Vary",
    "x-amzn-RequestId",
];

/// How the usual names are spelled: every response has a copy of its own, of as few as will do.
static OF_USUAL: LazyLock<Extensions> = LazyLock::new(|| learn(USUAL));
/// How all of them are.
static OF_ALL: LazyLock<Extensions> = LazyLock::new(|| learn(&[USUAL, FURTHER].concat()));

/// What makes hyper spell a response's names so. It is a type of hyper's own, which only parsing a head makes.
fn learn(names: &[&str]) -> Extensions {
    let head = format!("GET / HTTP/1.1\r\n{}\r\n", names.iter().map(|name| line(name)).collect::<String>());
    let (mut near, far) = tokio::io::duplex(4 * head.len());
    let parsed = RefCell::new(Extensions::new());
    let service = service_fn(|mut request: Request<Incoming>| {
        parsed.replace(mem::take(request.extensions_mut()));
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    // All of it is in memory: neither ever waits for what the other has done already.
    let _ = near.write_all(head.as_bytes()).now_or_never();
    let _ = http1::Builder::new()
        .preserve_header_case(true)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(far), service)
        .now_or_never();
    parsed.into_inner()
}

/// A header of that name, with a value that a request may have.
fn line(name: &str) -> String {
    let value = match name {
        "Connection" => "keep-alive",
        "Content-Length" => "0",
        "Transfer-Encoding" => "chunked",
        _ => "",
    };
    format!("{name}: {value}\r\n")
}

/// Has the response's names spelled as AWS spells them, over HTTP/1.1.
pub(super) fn spell<B: Body>(mut response: Response<B>) -> Response<B> {
    let is_usual = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-amz-") || USUAL.iter().any(|usual| usual.eq_ignore_ascii_case(name))
    };
    // A body of unknown length goes in chunks.
    let is_plain = response.body().size_hint().exact().is_some() && response.headers().keys().all(is_usual);
    let spelling = if is_plain { &OF_USUAL } else { &OF_ALL };
    response.extensions_mut().extend(LazyLock::force(spelling).clone());
    response
}
