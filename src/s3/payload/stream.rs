//! A body on its way in.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::Verified;
use super::chunked::Decoder;
use super::digests::Digests;
use super::plan::{Framing, Length, PayloadPlan, PlannedChecksum};
use crate::s3::checksum::Checksum;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::wire::RequestBody;

/// The bytes of a payload, given out as they come and verified as they pass.
pub struct PayloadStream {
    body: RequestBody,
    length: Length,
    stall: Duration,
    /// `None`: the body is the bytes.
    decoder: Option<Decoder>,
    digests: Digests,
    /// What has come and not been decoded.
    pending: Bytes,
    /// Bytes given out.
    passed: u64,
    state: State,
}

enum State {
    Reading,
    /// The body came to its end, perhaps with a checksum in its trailer.
    Ended(Option<Checksum>),
    Failed,
}

impl PayloadStream {
    /// The payload that `body` brings by `plan`.
    pub fn new(plan: PayloadPlan, body: RequestBody) -> Self {
        let digests = Digests::of(&plan);
        let announced = match plan.checksum {
            PlannedChecksum::Announced(algorithm) => Some(algorithm),
            PlannedChecksum::None | PlannedChecksum::Computed(_) | PlannedChecksum::Declared(_) => None,
        };
        let decoder = match plan.framing {
            Framing::Identity => None,
            Framing::Chunked { signed, trailer } => Some(Decoder::new(signed, trailer, announced)),
        };
        Self {
            body,
            length: plan.length,
            stall: plan.stall,
            decoder,
            digests,
            pending: Bytes::new(),
            passed: 0,
            state: State::Reading,
        }
    }

    /// The next bytes, never none; `None` once they have all come. After an error there is nothing more. May be cancelled.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if !matches!(self.state, State::Reading) {
            return None;
        }
        match self.advance().await {
            Ok(Some(bytes)) => Some(Ok(bytes)),
            Ok(None) => None,
            Err(error) => {
                self.state = State::Failed;
                Some(Err(error))
            }
        }
    }

    /// The proof that the payload, which has been read to its end, is what its sender said.
    ///
    /// # Errors
    /// `BadDigest`, `XAmzContentSHA256Mismatch`, `MalformedTrailerError`, `IncompleteBody`.
    pub async fn finish(mut self) -> Result<Verified> {
        // Whoever knows the length may not have asked for the end.
        match self.next().await {
            None => {}
            Some(Ok(_)) => return Err(S3Error::internal("a payload was not read to its end")),
            Some(Err(error)) => return Err(error),
        }
        match self.state {
            State::Ended(trailer) => self.digests.verify(self.passed, trailer),
            State::Reading | State::Failed => Err(S3Error::internal("a payload that failed was to be used")),
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.decode()? {
                self.count(&bytes)?;
                self.digests.update(&bytes);
                return Ok(Some(bytes));
            }
            let Some(frame) = self.frame().await? else {
                self.end()?;
                return Ok(None);
            };
            self.pending = frame;
        }
    }

    fn decode(&mut self) -> Result<Option<Bytes>> {
        match &mut self.decoder {
            Some(decoder) => decoder.decode(&mut self.pending),
            None => Ok(Some(std::mem::take(&mut self.pending)).filter(|bytes| !bytes.is_empty())),
        }
    }

    fn count(&mut self, bytes: &Bytes) -> Result<()> {
        self.passed += bytes.len() as u64;
        match self.length {
            Length::Declared(length) if self.passed <= length => Ok(()),
            Length::Within(_, most) if self.passed <= most => Ok(()),
            Length::Within(_, most) => Err(ErrorCode::EntityTooLarge
                .with("ProposedSize", self.passed.to_string())
                .with("MaxSizeAllowed", most.to_string())),
            Length::Declared(_) => Err(ErrorCode::IncompleteBody.into()),
            Length::Undeclared => Err(ErrorCode::MissingContentLength.into()),
        }
    }

    fn end(&mut self) -> Result<()> {
        let trailer = self.decoder.as_mut().map_or(Ok(None), Decoder::finish)?;
        match self.length {
            Length::Declared(length) if self.passed < length => Err(ErrorCode::IncompleteBody.into()),
            Length::Within(least, _) if self.passed < least => Err(ErrorCode::EntityTooSmall
                .with("ProposedSize", self.passed.to_string())
                .with("MinSizeAllowed", least.to_string())),
            Length::Declared(_) | Length::Within(..) | Length::Undeclared => {
                self.state = State::Ended(trailer);
                Ok(())
            }
        }
    }

    /// The next data frame; HTTP's own trailers carry nothing for S3.
    async fn frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(self.stall, self.body.frame()).await;
            match frame.map_err(|_| ErrorCode::RequestTimeout)? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(S3Error::broke_off(error)),
            }
        }
    }
}
