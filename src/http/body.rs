//! Bodies on the wire: counted, timed, and never read before a handler asks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::edge::Origin;
use super::exchange::{Exchange, Flow};
use crate::wire::{BoxError, ResponseBody};

/// How long to go on taking what the sender of a refused request sends, so that it reads the answer: a connection that is
/// closed, or a stream that is reset, while its client still sends may lose the answer that says why.
pub(super) const LINGER: Duration = Duration::from_secs(3);

/// A request's body. It is read only when a handler polls it: hyper answers `Expect: 100-continue` at the first poll, so
/// a request that is refused by its headers is refused before its body is sent.
///
/// Its errors are [`io::Error`]s: `TimedOut` when nothing came for the allowed time, `UnexpectedEof` when the client left
/// or sent less than it announced, `InvalidData` when what came is no HTTP.
pub(super) struct Inbound {
    /// `None` once it has ended.
    inner: Option<Incoming>,
    flow: Flow,
    origin: Arc<Origin>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(inner: Incoming, flow: Flow, origin: Arc<Origin>) -> Self {
        Self { inner: Some(inner).filter(|inner| !inner.is_end_stream()), flow, origin, timer: None }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let Some(mut rest) = self.inner.take() else { return };
        if !self.origin.activity.is_multiplexed() {
            // The socket lingers; reading on would also send the 100 that was withheld.
            self.origin.activity.leave_unread();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let discard = async move { while let Some(Ok(_)) = rest.frame().await {} };
            runtime.spawn(tokio::time::timeout(LINGER, discard));
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
                if !matches!(frame, Some(Ok(_))) || inner.is_end_stream() {
                    this.inner = None;
                }
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => {
                        this.flow.received(frame.data_ref().map_or(0, Bytes::len));
                        Ok(frame)
                    }
                    Err(error) => Err(lost(error).into()),
                }))
            }
            Poll::Pending => {
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.origin.stall)));
                timer.as_mut().poll(cx).map(|()| Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

fn lost(error: hyper::Error) -> io::Error {
    let kind = if error.is_parse() { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
    io::Error::new(kind, error)
}

/// A response's body failed on our side; the connection is cut, so that the client sees it is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off: {0}")]
pub(super) struct Broken(BoxError);

/// A response's body, and with it the record of the exchange: both end together.
pub(super) struct Outbound {
    inner: ResponseBody,
    exchange: Exchange,
}

impl Outbound {
    pub(super) fn new(inner: ResponseBody, mut exchange: Exchange) -> Self {
        if inner.is_end_stream() {
            exchange.complete();
        }
        Self { inner, exchange }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Pending => this.exchange.waits_for_us(),
            Poll::Ready(None) => this.exchange.complete(),
            Poll::Ready(Some(Ok(frame))) => {
                this.exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                if this.inner.is_end_stream() {
                    this.exchange.complete();
                }
            }
            Poll::Ready(Some(Err(error))) => this.exchange.broke(error.as_ref()),
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
