//! A form's body on its way to the parser. The parser takes all that is there for it: so, up to the file, it is offered a
//! little at a time and only where it cannot go on without. What it was given is then what it needed, preamble, boundaries
//! and the parts' own headers included, and a bound on that is a bound on the memory of whoever may send anything at all.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body as _;

use super::form::malformed;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::wire::{BoxError, RequestBody};

/// Most bytes before the file. (AWS: "POST Object", `MaxPostPreDataLengthExceeded`.)
pub const MAX_FIELDS: usize = 20 * 1024;
/// Most bytes offered at once.
const PIECE: usize = 1024;

/// A body, offered piece by piece until it is opened.
pub struct Feed(Arc<Mutex<State>>);

struct State {
    body: RequestBody,
    /// What has come of the body and was not offered.
    rest: Bytes,
    /// What the parser may take.
    offer: Bytes,
    given: usize,
    is_open: bool,
    has_ended: bool,
}

impl Feed {
    pub fn new(body: RequestBody) -> Self {
        let (rest, offer) = (Bytes::new(), Bytes::new());
        Self(Arc::new(Mutex::new(State { body, rest, offer, given: 0, is_open: false, has_ended: false })))
    }

    /// What the parser reads.
    pub fn stream(&self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<> {
        Offered(Arc::clone(&self.0))
    }

    /// Polls the parser, which is offered more where it waits for it.
    ///
    /// # Errors
    /// Those of the parser; `MaxPostPreDataLengthExceeded`.
    pub async fn parse<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<multer::Result<Option<T>>>,
    ) -> Result<Option<T>> {
        poll_fn(|cx| {
            loop {
                match poll(cx) {
                    Poll::Ready(parsed) => return Poll::Ready(parsed.map_err(malformed)),
                    Poll::Pending => ready!(lock(&self.0).poll_offer(cx))?,
                }
            }
        })
        .await
    }

    /// From now on all that comes is offered.
    pub fn open(&self) {
        lock(&self.0).is_open = true;
    }
}

impl State {
    /// Makes the next piece ready to be taken.
    fn poll_offer(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.has_ended {
            return Poll::Ready(Err(ErrorCode::MalformedPostRequest.into()));
        }
        if self.given == MAX_FIELDS {
            return Poll::Ready(Err(ErrorCode::MaxPostPreDataLengthExceeded.into()));
        }
        if self.rest.is_empty() {
            match ready!(self.poll_body(cx)) {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Err(S3Error::broke_off(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let piece = self.rest.len().min(PIECE).min(MAX_FIELDS - self.given);
        self.offer = self.rest.split_to(piece);
        self.given += piece;
        Poll::Ready(Ok(()))
    }

    /// The next bytes of the body, never none.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        while !self.has_ended {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.into_data().ok().filter(|bytes| !bytes.is_empty()) {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.has_ended = true,
            }
        }
        Poll::Ready(None)
    }
}

struct Offered(Arc<Mutex<State>>);

impl Stream for Offered {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = lock(&self.0);
        if !state.offer.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut state.offer))));
        }
        match (state.is_open, state.has_ended) {
            (true, _) if !state.rest.is_empty() => Poll::Ready(Some(Ok(std::mem::take(&mut state.rest)))),
            (true, _) => state.poll_body(cx),
            (false, true) => Poll::Ready(None),
            // Whoever polls the parser has the next piece fetched.
            (false, false) => Poll::Pending,
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
