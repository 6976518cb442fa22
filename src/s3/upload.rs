//! Bytes on their way into the store: sealed as they come, kept in memory if few, written to a run if many.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use minicbor::bytes::ByteVec;

use super::call::Call;
use super::checksum::Algorithm;
use super::error::{ErrorCode, Result};
use super::payload::{self, PayloadPlan, PayloadStream, Requirements, Verified};
use super::put::MAX_PUT;
use super::service::S3;
use crate::crypto::{SharedEntropy, random};
use crate::sse::{ObjectKey, RunHeader, Sealer};
use crate::store::commit::NewRun;
use crate::store::schema::RunRef;
use crate::store::{RunWriter, SharedStore};
use crate::wire::RequestBody;

/// A run that waits for its commit.
pub(super) struct Sealed {
    pub run: NewRun,
    pub header: RunHeader,
    pub run_ref: RunRef,
}

/// Takes plaintext, makes a sealed run of it.
pub(super) struct RunSink {
    store: SharedStore,
    entropy: SharedEntropy,
    sealer: Sealer,
    target: Target,
    inline_limit: usize,
    /// Sealed bytes to come, if their number is known.
    to_come: Option<u64>,
}

/// Where the sealed frames go.
enum Target {
    /// The only frame, so far.
    Memory(Vec<u8>),
    /// The blob store: each frame is sealed in the buffer that is written.
    Run(Box<dyn RunWriter>),
}

impl RunSink {
    /// A sink for part number `part` (0: the whole object) of the object that `key` belongs to. `length` is the
    /// plaintext's, if it is known: space for it is claimed before the first byte comes.
    pub async fn open(s3: &S3, key: &ObjectKey, part: u16, length: Option<u64>) -> Result<Self> {
        let (store, inline_limit) = (Arc::clone(&s3.store), s3.settings.inline_limit);
        let to_come = length.map(|length| key.suite().sealed_len(length));
        let target = match to_come {
            Some(bytes) if bytes > inline_limit as u64 => Target::Run(store.create(to_come).await?),
            _ => Target::Memory(Vec::new()),
        };
        let sealer = Sealer::new(key, part, &*s3.entropy);
        Ok(Self { store, entropy: Arc::clone(&s3.entropy), sealer, target, inline_limit, to_come })
    }

    /// Adds plaintext to the end.
    pub async fn push(&mut self, mut plaintext: &[u8]) -> Result<()> {
        while !plaintext.is_empty() {
            let frame = self.target.frame(self.sealer.frame_size(), self.to_come).await?;
            let taken = self.sealer.fill(frame, plaintext);
            plaintext = &plaintext[taken..];
            if taken == 0 {
                let sealed = self.sealer.seal(frame)?;
                self.put_away(sealed).await?;
            }
        }
        Ok(())
    }

    /// Ends the run. It is durable (or inline) when this returns, and waits for its commit.
    pub async fn finish(mut self) -> Result<Sealed> {
        let frame = self.target.frame(self.sealer.frame_size(), self.to_come).await?;
        let (length, header) = self.sealer.finish(frame);
        let writer = match self.target {
            Target::Memory(mut bytes) if length <= self.inline_limit => {
                bytes.truncate(length);
                let id = random::identifier(&*self.entropy);
                return Ok(Sealed::new(NewRun::Inline(id, Bytes::from(bytes)), id, header));
            }
            Target::Memory(bytes) => {
                let mut writer = self.store.create(Some(length as u64)).await?;
                writer.append(&bytes[..length]).await?;
                writer
            }
            Target::Run(mut writer) => {
                writer.advance(length).await?;
                writer
            }
        };
        let run = writer.seal().await?;
        let id = run.id.0;
        Ok(Sealed::new(NewRun::Run(run), id, header))
    }

    /// Hands a sealed frame over, which is not the last. Whatever has two is too long to be inline.
    async fn put_away(&mut self, sealed: usize) -> Result<()> {
        match &mut self.target {
            Target::Run(writer) => writer.advance(sealed).await?,
            Target::Memory(frame) => {
                let mut writer = self.store.create(self.to_come).await?;
                writer.append(&frame[..sealed]).await?;
                self.target = Target::Run(writer);
            }
        }
        self.to_come = self.to_come.map(|bytes| bytes.saturating_sub(sealed as u64));
        Ok(())
    }
}

impl Target {
    /// The open frame's memory: of a whole frame, or what is to come if that is less.
    async fn frame(&mut self, frame_size: usize, to_come: Option<u64>) -> Result<&mut [u8]> {
        let length = to_come.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(frame_size).min(frame_size);
        match self {
            Self::Memory(frame) => {
                if frame.len() < length {
                    frame.resize(length, 0);
                }
                Ok(frame)
            }
            Self::Run(writer) => Ok(writer.room(length).await?),
        }
    }
}

impl Sealed {
    fn new(run: NewRun, id: [u8; 16], header: RunHeader) -> Self {
        let inline = matches!(run, NewRun::Inline(..));
        Self { run, run_ref: RunRef { id, header: ByteVec::from(header.to_bytes().to_vec()), inline }, header }
    }
}

impl S3 {
    /// Seals a request's body, and proves that it is what the client meant to send.
    pub(super) async fn receive(
        &self,
        plan: PayloadPlan,
        body: RequestBody,
        key: &ObjectKey,
        part: u16,
    ) -> Result<(Sealed, Verified)> {
        let mut sink = RunSink::open(self, key, part, plan.length()).await?;
        let mut stream = PayloadStream::new(plan, body);
        while let Some(chunk) = stream.next().await {
            sink.push(&chunk?).await?;
        }
        // Only a verified payload is worth a sync.
        let verified = stream.finish().await?;
        Ok((sink.finish().await?, verified))
    }

    /// What a payload of object data must be: `md5` where the entity tag is one, `checksum` where the client sent none.
    pub(super) fn data_requirements(&self, shows_md5: bool, checksum: Algorithm) -> Requirements {
        Requirements {
            max_length: MAX_PUT,
            // Of all but SSE-S3 objects the entity tag is random, and an MD5 would cost five times what encryption does.
            md5: shows_md5,
            tells_hex: false,
            checksum: Some(checksum),
            also: None,
            stall: self.settings.body_timeout,
        }
    }

    /// Reads a small document that there must be, verified, whole.
    ///
    /// # Errors
    /// `MissingRequestBodyError`; as [`Self::read_document`].
    pub(super) async fn read_required_document(
        &self,
        call: &Call<'_>,
        body: RequestBody,
        limit: usize,
    ) -> Result<Bytes> {
        let document = self.read_document(call, &call.headers, body, limit).await?;
        if document.is_empty() { Err(ErrorCode::MissingRequestBody.into()) } else { Ok(document) }
    }

    /// Reads a small document, verified, whole. `headers` are those that tell of it.
    pub(super) async fn read_document(
        &self,
        call: &Call<'_>,
        headers: &HeaderMap,
        body: RequestBody,
        limit: usize,
    ) -> Result<Bytes> {
        let stall = self.settings.body_timeout;
        let max_length = limit as u64;
        let required = Requirements { max_length, md5: false, tells_hex: false, checksum: None, also: None, stall };
        let plan = PayloadPlan::parse(headers, call.signed.as_ref(), &required).map_err(|error| match error.code {
            // A document is no entity that is stored.
            ErrorCode::EntityTooLarge => payload::too_long(limit),
            _ => error,
        })?;
        let (document, _) = payload::read_all(PayloadStream::new(plan, body), limit).await?;
        call.witness.see_document(&document);
        Ok(document)
    }
}
