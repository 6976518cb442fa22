//! Bodies: what a request brings and a response carries, as frames of `Bytes`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error, where only its text and its source matter.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, from whichever HTTP version.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why a body could not be read whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// It is longer than it may be.
    #[error("the body is too long")]
    TooLong,
    /// It ended before its end.
    #[error("the body ended early")]
    Ended,
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TimedOut,
}

/// Reads `body` whole: at most `limit` bytes, within `timeout`.
///
/// # Errors
/// [`ReadError`].
pub async fn read_whole(mut body: RequestBody, limit: usize, timeout: Duration) -> Result<Bytes, ReadError> {
    let whole = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| ReadError::Ended)?.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(ReadError::TooLong);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(timeout, whole).await.unwrap_or(Err(ReadError::TimedOut))
}

/// A response's body.
pub enum ResponseBody {
    /// Bytes at hand; often none.
    Full(Option<Bytes>),
    /// Bytes to come, of a known total. A stream that ends early or fails aborts the connection, so that no client takes
    /// a part for the whole.
    Stream {
        /// Bytes still to come.
        remaining: u64,
        /// Where they come from.
        stream: Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>,
    },
    /// Bytes to come, of an unknown total: a response that is composed while it is sent.
    Chunked(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
}

impl ResponseBody {
    /// No bytes.
    pub const fn empty() -> Self {
        Self::Full(None)
    }
}

impl<T: Into<Bytes>> From<T> for ResponseBody {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self::Full(if bytes.is_empty() { None } else { Some(bytes) })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Chunked(stream) => stream.as_mut().poll_next(cx).map(|item| item.map(|chunk| chunk.map(Frame::data))),
            Self::Stream { remaining: 0, .. } => Poll::Ready(None),
            Self::Stream { remaining, stream } => stream.as_mut().poll_next(cx).map(|item| match item {
                Some(Ok(chunk)) => match remaining.checked_sub(chunk.len() as u64) {
                    Some(left) => {
                        *remaining = left;
                        Some(Ok(Frame::data(chunk)))
                    }
                    None => Some(Err("the body is longer than was announced".into())),
                },
                Some(Err(error)) => Some(Err(error)),
                None => Some(Err("the body is shorter than was announced".into())),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(None) | Self::Stream { remaining: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream { remaining, .. } => SizeHint::with_exact(*remaining),
            Self::Chunked(_) => SizeHint::default(),
        }
    }
}
