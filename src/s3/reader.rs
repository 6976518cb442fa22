//! Bytes on their way out of the store: read ahead, opened frame by frame, across the parts of an object.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;

use super::error::{Result, S3Error};
use super::object::run_header;
use super::service::S3;
use crate::sse::{FrameReads, ObjectKey, Opener};
use crate::store::schema::{Body, PartSpan, RunRef};
use crate::store::{Partition, RunId, SharedStore, StoreError, commit};
use crate::wire::{BoxError, RequestBody, ResponseBody};

/// Frames of 64 KiB read and opened at once: 512 KiB.
const FRAMES: NonZeroU64 = NonZeroU64::new(8).unwrap();

/// Reads plaintext out of an object's runs, in order.
pub(super) struct ObjectReader {
    store: SharedStore,
    bucket: Partition,
    key: ObjectKey,
    body: Body,
    pieces: VecDeque<Piece>,
    open: Option<OpenRun>,
}

/// Bytes of one run.
struct Piece {
    /// The part number, 0 for a whole object.
    part: u16,
    range: Range<u64>,
}

struct OpenRun {
    opener: Opener,
    run: RunRef,
    /// An inline run's bytes, which come all at once.
    inline: Option<Bytes>,
    reads: FrameReads,
}

impl ObjectReader {
    /// A reader of the object with this body, whose data key is `key`.
    pub fn new(s3: &S3, bucket: Partition, body: &Body, key: ObjectKey) -> Self {
        Self { store: Arc::clone(&s3.store), bucket, key, body: body.clone(), pieces: VecDeque::new(), open: None }
    }

    /// Chooses the bytes that [`Self::next`] yields.
    pub fn seek(&mut self, range: Range<u64>) {
        self.open = None;
        self.pieces = match &self.body {
            Body::Run(_) => VecDeque::from([Piece { part: 0, range }]),
            Body::Parts { spans, .. } => pieces(spans, &range),
        };
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(read) = open.reads.next() {
                    let sealed = match &open.inline {
                        Some(bytes) => inline_slice(bytes, read.sealed_start(), read.sealed_len())?,
                        None => self.store.read(open.run.run(), read.sealed_start(), read.sealed_len()).await?,
                    };
                    return Ok(Some(open.opener.open(&read, &sealed)?));
                }
                self.open = None;
            }
            let Some(piece) = self.pieces.pop_front() else {
                return Ok(None);
            };
            self.open = Some(self.open_run(piece).await?);
        }
    }

    /// The chosen bytes as a response's body. Its first bytes are read and authenticated before this returns, so that
    /// most failures still find the response's head unsent.
    pub async fn into_body(mut self, range: Range<u64>) -> Result<ResponseBody> {
        let length = range.end - range.start;
        self.seek(range);
        let first = self.next().await?.unwrap_or_default();
        if first.len() as u64 == length {
            return Ok(ResponseBody::from(first));
        }
        // One chunk waits in the channel while the next is read: reading, opening and sending overlap.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let chunk = match self.next().await {
                    Ok(Some(chunk)) => Ok(chunk),
                    Ok(None) => return,
                    Err(error) => {
                        tracing::error!(cause = error.source.as_deref().map(tracing::field::debug), %error, "a read failed midway");
                        Err(BoxError::from(error))
                    }
                };
                let failed = chunk.is_err();
                if sender.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        let rest =
            stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|chunk| (chunk, receiver)) });
        let chunks = futures_util::StreamExt::chain(stream::once(async { Ok(first) }), rest);
        Ok(ResponseBody::Stream { remaining: length, stream: Box::pin(chunks) })
    }

    /// The chosen bytes as the payload of a copy.
    pub fn into_payload(mut self, range: Range<u64>) -> RequestBody {
        self.seek(range);
        let chunks = stream::try_unfold(self, |mut reader| async {
            let chunk = reader.next().await.map_err(BoxError::from)?;
            Ok(chunk.map(|chunk| (Frame::data(chunk), reader)))
        });
        StreamBody::new(chunks).boxed_unsync()
    }

    async fn open_run(&self, piece: Piece) -> Result<OpenRun> {
        let run = match &self.body {
            Body::Run(run) => run.clone(),
            Body::Parts { upload, .. } => {
                let part = commit::read_part(&*self.store, self.bucket, *upload, piece.part).await?;
                part.ok_or_else(|| vanished(*upload))?.record.run
            }
        };
        let inline = if run.inline {
            Some(self.store.get(self.bucket, &commit::data_key(run.id)).await?.ok_or_else(|| vanished(run.id))?)
        } else {
            None
        };
        let opener = Opener::new(&self.key, &run_header(&run)?, piece.part)?;
        let reads = opener.reads(piece.range, FRAMES)?;
        Ok(OpenRun { opener, run, inline, reads })
    }
}

/// The object was overwritten or deleted while it was read.
fn vanished(run: [u8; 16]) -> S3Error {
    StoreError::RunNotFound(RunId(run)).into()
}

fn inline_slice(bytes: &Bytes, start: u64, length: usize) -> Result<Bytes> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    match start.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(bytes.slice(start..end)),
        _ => Err(StoreError::Corrupt("an inline run is too short".to_owned()).into()),
    }
}

/// The pieces of an object's bytes `range`. Empty parts have no piece.
fn pieces(spans: &[PartSpan], range: &Range<u64>) -> VecDeque<Piece> {
    let mut pieces = VecDeque::new();
    let mut at = 0;
    for span in spans {
        for part in span.first..span.first.saturating_add(span.count) {
            let (start, end) = (at.max(range.start), (at + span.size).min(range.end));
            if start < end {
                pieces.push_back(Piece { part, range: start - at..end - at });
            }
            at += span.size;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_borders_of_parts() {
        let spans = [PartSpan { first: 1, count: 2, size: 5 }, PartSpan { first: 4, count: 1, size: 3 }];
        let cut =
            |range: Range<u64>| -> Vec<_> { pieces(&spans, &range).into_iter().map(|p| (p.part, p.range)).collect() };
        assert_eq!(cut(0..13), vec![(1, 0..5), (2, 0..5), (4, 0..3)]);
        assert_eq!(cut(4..11), vec![(1, 4..5), (2, 0..5), (4, 0..1)]);
        assert_eq!(cut(5..6), vec![(2, 0..1)]);
        assert_eq!(cut(0..0), vec![]);
    }
}
