//! Bytes on their way out of the store: read ahead, opened frame by frame, across the parts of an object.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::task::JoinHandle;

use super::buffer::{self, BufferPool};
use super::error::{Result, S3Error};
use super::object::run_header;
use super::service::S3;
use crate::sse::{FrameReads, ObjectKey, Opener};
use crate::store::commit::{self, Part};
use crate::store::schema::{Body, PartSpan, RunRef};
use crate::store::{Partition, Pin, RunId, SharedStore, Store, StoreError};
use crate::wire::{BoxError, RequestBody, ResponseBody};

/// Frames of 64 KiB read from the disk and opened at once: 512 KiB.
const FRAMES: NonZeroU64 = NonZeroU64::new(8).unwrap();
/// Frames read from the page cache and opened at once: a buffer's.
const CACHED_FRAMES: NonZeroU64 = NonZeroU64::new(buffer::FRAMES as u64).unwrap();

/// Part records read at once.
const PARTS_AT_ONCE: usize = 1000;

/// Reads plaintext out of an object's runs, in order.
///
/// Opened, it holds all that its range needs: the runs are pinned, so that whoever replaces or deletes the object does
/// not take them from under a reader.
pub(super) struct ObjectReader {
    store: SharedStore,
    key: ObjectKey,
    length: u64,
    pieces: VecDeque<Piece>,
    open: Option<OpenRun>,
    /// Frames that are open and have not been taken.
    frames: VecDeque<Bytes>,
    buffers: Arc<BufferPool>,
    /// Whether the last read had to wait for the disk.
    cold: bool,
    _pin: Pin,
}

/// Bytes of one run.
struct Piece {
    /// The part number, 0 for a whole object.
    part: u16,
    range: Range<u64>,
    run: RunRef,
    /// An inline run's bytes.
    inline: Option<Bytes>,
}

struct OpenRun {
    opener: Opener,
    piece: Piece,
    reads: FrameReads,
}

impl ObjectReader {
    /// A reader of the bytes `range` of the object with this body, whose data key is `key`.
    ///
    /// # Errors
    /// One that [`S3Error::is_vanished`] tells of if the object was replaced meanwhile.
    pub async fn open(s3: &S3, bucket: Partition, body: &Body, key: ObjectKey, range: Range<u64>) -> Result<Self> {
        let store = Arc::clone(&s3.store);
        let length = range.end - range.start;
        let mut pieces = match body {
            Body::Run(run) => VecDeque::from([Piece { part: 0, range, run: run.clone(), inline: None }]),
            Body::Parts { upload, spans } => find_parts(&*store, bucket, *upload, cut(spans, &range)).await?,
        };
        for piece in pieces.iter_mut().filter(|piece| piece.run.inline) {
            let bytes = store.get(bucket, &commit::data_key(piece.run.id)).await?;
            piece.inline = Some(bytes.ok_or_else(|| vanished(piece.run.id))?);
        }
        let runs: Vec<RunId> = pieces.iter().filter(|piece| !piece.run.inline).map(|piece| piece.run.run()).collect();
        let pin = store.pin(&runs).await?;
        Ok(Self {
            store,
            key,
            length,
            pieces,
            open: None,
            frames: VecDeque::new(),
            buffers: Arc::clone(&s3.buffers),
            cold: false,
            _pin: pin,
        })
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.frames.is_empty() {
            match self.next_frames().await? {
                Some(frames) => self.frames = frames.into(),
                None => return Ok(None),
            }
        }
        Ok(self.frames.pop_front())
    }

    /// The frames of the next read.
    async fn next_frames(&mut self) -> Result<Option<Vec<Bytes>>> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(frames) = open.open_cached(&*self.store, &self.buffers)? {
                    self.cold = false;
                    return Ok(Some(frames));
                }
                if let Some(read) = open.reads.next() {
                    self.cold = true;
                    let run = open.piece.run.run();
                    let sealed = self.store.read(run, read.sealed_start(), read.sealed_len()).await?;
                    return Ok(Some(open.opener.open(&read, sealed)?));
                }
                self.open = None;
            }
            let Some(piece) = self.pieces.pop_front() else {
                return Ok(None);
            };
            let opener = Opener::new(&self.key, &run_header(&piece.run)?, piece.part)?;
            let reads = opener.reads(piece.range.clone(), FRAMES)?;
            self.open = Some(OpenRun { opener, piece, reads });
        }
    }

    /// The bytes as a response's body. The first of them are read and authenticated before this returns, so that most
    /// failures still find the response's head unsent.
    pub async fn into_body(mut self) -> Result<ResponseBody> {
        let length = self.length;
        let mut first = self.next_frames().await?.unwrap_or_default();
        if first.len() <= 1 && first.iter().map(Bytes::len).sum::<usize>() as u64 == length {
            return Ok(ResponseBody::from(first.pop().unwrap_or_default()));
        }
        let chunks = stream::once(async { Ok(first) })
            .chain(stream::unfold(Some(Rest::of(Box::new(self))), |rest| async { rest?.next().await }))
            .map_ok(|frames| stream::iter(frames.into_iter().map(Ok)))
            .try_flatten();
        Ok(ResponseBody::Stream { remaining: length, stream: Box::pin(chunks) })
    }

    /// The bytes as the payload of a copy.
    pub fn into_payload(self) -> RequestBody {
        let chunks = stream::try_unfold(self, |mut reader| async {
            let chunk = reader.next().await.map_err(BoxError::from)?;
            Ok(chunk.map(|chunk| (Frame::data(chunk), reader)))
        });
        StreamBody::new(chunks).boxed_unsync()
    }
}

impl OpenRun {
    /// The frames of the next read, if they are there to be had.
    fn open_cached(&mut self, store: &dyn Store, buffers: &Arc<BufferPool>) -> Result<Option<Vec<Bytes>>> {
        let mut reads = self.reads.clone().at_once(CACHED_FRAMES);
        let Some(read) = reads.next() else { return Ok(None) };
        let frames = if let Some(bytes) = &mut self.piece.inline {
            self.opener.open(&read, take_inline(bytes, read.sealed_start(), read.sealed_len())?)?
        } else {
            let mut buffer = buffers.take(read.sealed_len());
            if !store.read_cached(self.piece.run.run(), read.sealed_start(), buffer.as_mut_slice())? {
                return Ok(None);
            }
            let frames = self.opener.open_in_place(&read, buffer.as_mut_slice())?;
            let buffer = buffer.into_bytes();
            frames.into_iter().map(|frame| buffer.slice(frame)).collect()
        };
        self.reads = reads.at_once(FRAMES);
        Ok(Some(frames))
    }
}

/// What is still to be read of a response's body.
enum Rest {
    /// It is read when it is asked for, as long as the page cache has it: it then goes through one processor's cache only.
    Here(Box<ObjectReader>),
    /// It comes from the disk, and is read while that before it is sent.
    Ahead(JoinHandle<Read>),
}

/// A reader, and what it has read.
type Read = (Box<ObjectReader>, Result<Option<Vec<Bytes>>>);

impl Rest {
    fn of(mut reader: Box<ObjectReader>) -> Self {
        if !reader.cold {
            return Self::Here(reader);
        }
        Self::Ahead(tokio::spawn(async move {
            let frames = reader.next_frames().await;
            (reader, frames)
        }))
    }

    /// The next frames, and what then is left; `None` at the end.
    async fn next(self) -> Option<(Result<Vec<Bytes>, BoxError>, Option<Self>)> {
        let (reader, frames) = match self {
            Self::Here(mut reader) => {
                let frames = reader.next_frames().await;
                (reader, frames)
            }
            Self::Ahead(read) => match read.await {
                Ok(read) => read,
                Err(error) => return Some((Err(error.into()), None)),
            },
        };
        match frames {
            Ok(frames) => frames.map(|frames| (Ok(frames), Some(Self::of(reader)))),
            Err(error) => {
                let cause = error.source.as_deref().map(tracing::field::debug);
                tracing::error!(cause, %error, "a read failed midway");
                Some((Err(error.into()), None))
            }
        }
    }
}

/// The pieces of an object made of parts: `wanted` numbers and ranges, with their runs.
async fn find_parts(
    store: &dyn Store,
    bucket: Partition,
    upload: [u8; 16],
    wanted: Vec<(u16, Range<u64>)>,
) -> Result<VecDeque<Piece>> {
    let mut pieces = VecDeque::with_capacity(wanted.len());
    let mut found = VecDeque::new();
    for (number, range) in wanted {
        while found.front().is_none_or(|part: &Part| part.number < number) {
            if found.pop_front().is_none() {
                found = commit::read_parts(store, bucket, upload, number - 1, PARTS_AT_ONCE).await?.into();
                if found.is_empty() {
                    return Err(vanished(upload));
                }
            }
        }
        match found.front() {
            Some(part) if part.number == number => {
                pieces.push_back(Piece { part: number, range, run: part.record.run.clone(), inline: None });
            }
            _ => return Err(vanished(upload)),
        }
    }
    Ok(pieces)
}

/// The object was overwritten or deleted while it was read.
fn vanished(run: [u8; 16]) -> S3Error {
    StoreError::RunNotFound(RunId(run)).into()
}

/// A part of an inline run; all of it is given away, so that it can be opened where it lies.
fn take_inline(bytes: &mut Bytes, start: u64, length: usize) -> Result<Bytes> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    match start.checked_add(length) {
        Some(end) if start == 0 && end == bytes.len() => Ok(std::mem::take(bytes)),
        Some(end) if end <= bytes.len() => Ok(bytes.slice(start..end)),
        _ => Err(StoreError::Corrupt("an inline run is too short".to_owned()).into()),
    }
}

/// The numbers of the parts that the bytes `range` of an object touch, and which bytes of each. Empty parts have none.
fn cut(spans: &[PartSpan], range: &Range<u64>) -> Vec<(u16, Range<u64>)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for span in spans {
        for part in span.first..span.first.saturating_add(span.count) {
            let (start, end) = (at.max(range.start), (at + span.size).min(range.end));
            if start < end {
                pieces.push((part, start - at..end - at));
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
    fn inline_runs_give_what_they_have() {
        let mut bytes = Bytes::from(vec![7; 10]);
        assert_eq!(take_inline(&mut bytes, 2, 3).unwrap().len(), 3);
        assert!(take_inline(&mut bytes, 2, 9).is_err());
        assert!(take_inline(&mut bytes, u64::MAX, 9).is_err());
        assert_eq!(take_inline(&mut bytes, 0, 10).unwrap().len(), 10);
        assert!(take_inline(&mut bytes, 0, 10).is_err());
    }

    #[test]
    fn a_range_is_cut_at_the_borders_of_parts() {
        let spans = [PartSpan { first: 1, count: 2, size: 5 }, PartSpan { first: 4, count: 1, size: 3 }];
        let cut = |range: Range<u64>| cut(&spans, &range);
        assert_eq!(cut(0..13), vec![(1, 0..5), (2, 0..5), (4, 0..3)]);
        assert_eq!(cut(4..11), vec![(1, 4..5), (2, 0..5), (4, 0..1)]);
        assert_eq!(cut(5..6), vec![(2, 0..1)]);
        assert_eq!(cut(0..0), vec![]);
    }
}
