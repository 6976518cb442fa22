//! Bytes on their way into the store: sealed as they come, kept in memory if few, written to a run if many.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use minicbor::bytes::ByteVec;

use super::checksum::Algorithm;
use super::error::{ErrorCode, Result};

use super::payload::{self, PayloadPlan, PayloadStream, Requirements, Verified};
use super::put::MAX_PUT;
use super::service::{Call, S3};
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
    writer: Option<Box<dyn RunWriter>>,
    inline_limit: usize,
    /// Of the sealed bytes, if their number is known.
    size_hint: Option<u64>,
}

impl RunSink {
    /// A sink for part number `part` (0: the whole object) of the object that `key` belongs to. `length` is the
    /// plaintext's, if it is known: space for it is claimed before the first byte comes.
    pub async fn open(s3: &S3, key: &ObjectKey, part: u16, length: Option<u64>) -> Result<Self> {
        let mut sink = Self {
            store: Arc::clone(&s3.store),
            entropy: Arc::clone(&s3.entropy),
            sealer: Sealer::new(key, part, &*s3.entropy),
            writer: None,
            inline_limit: s3.settings.inline_limit,
            size_hint: length.map(|length| key.suite().sealed_len(length)),
        };
        if sink.size_hint.is_some_and(|hint| hint > sink.inline_limit as u64) {
            sink.writer().await?;
        }
        Ok(sink)
    }

    /// Adds plaintext to the end.
    pub async fn push(&mut self, plaintext: &[u8]) -> Result<()> {
        self.sealer.push(plaintext)?;
        // A sealed frame is longer than the inline limit: whatever has one goes to the blob store.
        if self.sealer.sealed().is_empty() {
            return Ok(());
        }
        self.writer().await?;
        if let Some(writer) = &mut self.writer {
            writer.append(self.sealer.sealed()).await?;
        }
        self.sealer.discard_sealed();
        Ok(())
    }

    /// Ends the run. It is durable (or inline) when this returns, and waits for its commit.
    pub async fn finish(mut self) -> Result<Sealed> {
        if self.writer.is_none() {
            let (bytes, header) = self.sealer.finish();
            if bytes.len() <= self.inline_limit {
                let id = random::bytes(&*self.entropy);
                return Ok(Sealed::new(NewRun::Inline(id, Bytes::from(bytes)), id, header));
            }
            let mut writer = self.store.create(Some(bytes.len() as u64)).await?;
            writer.append(&bytes).await?;
            let run = writer.seal().await?;
            let id = run.id.0;
            return Ok(Sealed::new(NewRun::Run(run), id, header));
        }
        let (bytes, header) = self.sealer.finish();
        let Some(mut writer) = self.writer.take() else {
            return Err(ErrorCode::InternalError.into());
        };
        writer.append(&bytes).await?;
        let run = writer.seal().await?;
        let id = run.id.0;
        Ok(Sealed::new(NewRun::Run(run), id, header))
    }

    async fn writer(&mut self) -> Result<()> {
        if self.writer.is_none() {
            self.writer = Some(self.store.create(self.size_hint).await?);
        }
        Ok(())
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
            checksum: Some(checksum),
            stall: self.settings.body_timeout,
        }
    }

    /// Reads a small document, verified, whole. `headers` are those that tell of it.
    pub(super) async fn read_document(
        &self,
        call: &Call<'_>,
        headers: &HeaderMap,
        body: RequestBody,
        limit: usize,
    ) -> Result<Bytes> {
        let required =
            Requirements { max_length: limit as u64, md5: false, checksum: None, stall: self.settings.body_timeout };
        let plan = PayloadPlan::parse(headers, call.signed.as_ref(), &required)?;
        let (document, _) = payload::read_all(PayloadStream::new(plan, body), limit).await?;
        Ok(document)
    }
}
