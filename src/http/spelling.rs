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
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

/// The names that are not small throughout, in the head of a request.
const HEAD: &[u8] = b"GET / HTTP/1.1\r\n\
    Accept-Ranges: \r\n\
    Access-Control-Allow-Credentials: \r\n\
    Access-Control-Allow-Headers: \r\n\
    Access-Control-Allow-Methods: \r\n\
    Access-Control-Allow-Origin: \r\n\
    Access-Control-Expose-Headers: \r\n\
    Access-Control-Max-Age: \r\n\
    Allow: \r\n\
    Cache-Control: \r\n\
    Connection: keep-alive\r\n\
    Content-Disposition: \r\n\
    Content-Encoding: \r\n\
    Content-Language: \r\n\
    Content-Length: 0\r\n\
    Content-Range: \r\n\
    Content-Type: \r\n\
    Date: \r\n\
    ETag: \r\n\
    Expires: \r\n\
    Last-Modified: \r\n\
    Location: \r\n\
    Retry-After: \r\n\
    Server: \r\n\
    Transfer-Encoding: chunked\r\n\
    Vary: \r\n\
    x-amzn-RequestId: \r\n\
    \r\n";

/// What makes hyper spell a response's names so. It is a type of hyper's own, which only parsing a head makes.
static SPELLING: LazyLock<Extensions> = LazyLock::new(|| {
    let (mut near, far) = tokio::io::duplex(4 * HEAD.len());
    let parsed = RefCell::new(Extensions::new());
    let service = service_fn(|mut request: Request<Incoming>| {
        parsed.replace(mem::take(request.extensions_mut()));
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    // All of it is in memory: neither ever waits for what the other has done already.
    let _ = near.write_all(HEAD).now_or_never();
    let _ = http1::Builder::new()
        .preserve_header_case(true)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(far), service)
        .now_or_never();
    parsed.into_inner()
});

/// Has the response's names spelled as AWS spells them, over HTTP/1.1.
pub(super) fn spell<B>(mut response: Response<B>) -> Response<B> {
    response.extensions_mut().extend(SPELLING.clone());
    response
}
