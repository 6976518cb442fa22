//! Copies that share their source's sealed bytes: the data key is wrapped anew for the copy, the runs get one more reference,
//! and no byte is moved.
//!
//! It is done where everything that clients see of the copy can be had without its plaintext:
//!
//! | | |
//! |---|---|
//! | encryption | one layer under the server's or a KMS key, on both ends |
//! | entity tag | a random one; or the source's own MD5, if both are SSE-S3 and the source is one run |
//! | checksum | the source's own over the full object, or what the checksums of its parts come to |
//!
//! `SECURITY.md` says why sharing is sound, and `share_on_copy = false` turns it off.

use bytes::Bytes;
use minicbor::bytes::ByteVec;

use super::call::{Bucket, Call};
use super::checksum::{Algorithm, Checksums, Kind};
use super::copy::{Copied, Copy, Source};
use super::error::Result;
use super::object::{part_count, run_header};
use super::put::Stored;
use super::request::ObjectKey;
use super::service::S3;
use crate::crypto::random;
use crate::sse::{ObjectName, Scope};
use crate::store::commit::{self, NewRun, Part, SharedRuns, data_key, part_key};
use crate::store::schema::{Body, ObjectRecord, PartRecord, Record as _, RunRef, StoredEtag};
use crate::store::{Partition, StoreError};

impl S3 {
    /// Copies by sharing; `None` where that cannot be done.
    ///
    /// # Errors
    /// As a write. [`super::error::S3Error::is_vanished`] if the source was replaced meanwhile.
    pub(super) async fn share(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        copy: &Copy,
    ) -> Result<Option<Copied>> {
        let source = &copy.source.object;
        let one_run = matches!(source.record.body, Body::Run(_));
        let md5_at_hand = source.envelope.shows_md5() && one_run;
        let origin = copy.origin.as_ref();
        let etag_at_hand = md5_at_hand || origin.is_some_and(|origin| origin.etag.is_some());
        if !self.settings.share_on_copy || (copy.plan.shows_md5() && !etag_at_hand) {
            return Ok(None);
        }
        let parts = self.parts_of(&copy.source).await?;
        let checksums = match origin {
            Some(_) => Some(Self::object_checksums(&copy.source_key, source)?),
            None => Self::full_checksums(copy, &parts)?,
        };
        let Some(checksums) = checksums else { return Ok(None) };
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let wrapped = self.sse.rewrap(&copy.source_key, &copy.plan, &self.kms_caller(call), name).await?;
        let Some(envelope) = wrapped else { return Ok(None) };

        let (body, shared) = self.take_over(&copy.source, parts).await?;
        let generation = self.generation(origin);
        let md5 = if envelope.shows_md5() {
            hex::decode(&source.etag).ok().and_then(|md5| md5.try_into().ok())
        } else {
            None
        };
        let etag_scope = bucket.etag_of_object(key.as_str(), &generation);
        let (stored_etag, etag) = match origin.and_then(|origin| origin.etag.clone()) {
            Some(etag) => self.store_etag(&envelope, etag_scope, etag),
            None => self.make_etag(&envelope, etag_scope, md5),
        };
        let modified = self.clock.now().as_millisecond();
        let header = match &body {
            Body::Run(run) => Some(run_header(run)?),
            Body::Parts { .. } => None,
        };
        // Runs and spans are the source's, so what its checksums are sealed to is the copy's as well.
        let scope = source.scope(header.as_ref());
        let under = (ByteVec::from(envelope.to_bytes()), envelope.summary());
        let mut record = ObjectRecord {
            attributes: copy.attributes.clone(),
            checksums: self.seal_checksums(&copy.source_key, scope, &checksums),
            checksum_kind: Self::checksum_kind(&checksums),
            whole: if origin.is_some() { source.record.whole } else { !one_run },
            tags: copy.markings.tags.clone(),
            retention: copy.markings.retention,
            legal_hold: copy.markings.legal_hold,
            owner: copy.access.owner.clone(),
            acl: copy.access.acl.clone(),
            ..ObjectRecord::new(modified, (source.record.size, stored_etag), under, body, generation)
        };
        let admit = |present: Option<&ObjectRecord>| self.judge_present(bucket, key, &copy.conditions, present);
        let run = NewRun::Shared(shared);
        let at = (bucket, key, &copy.consequences);
        let (version, modified) = self.commit_object(at, &mut record, run, origin, admit).await?;
        let expires = self.expires(bucket, key.as_str(), &record).await?;
        Ok(Some(Copied { envelope, stored: Stored { etag, modified, version, expires }, checksums }))
    }

    /// The source's parts, if it is made of parts.
    async fn parts_of(&self, source: &Source) -> Result<Vec<Part>> {
        let Body::Parts { upload, spans } = &source.object.record.body else { return Ok(Vec::new()) };
        let parts = commit::read_parts(&*self.store, source.bucket.partition(), *upload, 0, usize::MAX).await?;
        if u32::try_from(parts.len()).ok() == Some(part_count(spans)) { Ok(parts) } else { Err(vanished(*upload)) }
    }

    /// The checksum over the full object that the copy is to have, if it can be told without the plaintext: the source's own,
    /// or the one that its parts' come to.
    fn full_checksums(copy: &Copy, parts: &[Part]) -> Result<Option<Checksums>> {
        let object = &copy.source.object;
        if parts.is_empty() {
            let stored = Self::object_checksums(&copy.source_key, object)?;
            let wanted = copy.algorithm.and_then(|algorithm| stored.by_algorithm(algorithm));
            return Ok(wanted.map(|checksum| Checksums::over_bytes([checksum])));
        }
        let mut of_parts = Vec::with_capacity(parts.len());
        for part in parts {
            let header = run_header(&part.record.run)?;
            let scope = Scope::Run { part: part.number, header: &header };
            let stored = Self::open_checksums(&copy.source_key, scope, part.record.checksums.as_ref())?;
            // An object without a checksum gets what its parts have.
            let checksum = match copy.algorithm {
                Some(algorithm) => stored.by_algorithm(algorithm),
                None => Algorithm::ALL.into_iter().find_map(|algorithm| stored.by_algorithm(algorithm)),
            };
            let Some(checksum) = checksum else { return Ok(None) };
            of_parts.push((checksum, part.record.size));
        }
        Ok(Checksums::of_parts(Kind::FullObject, &of_parts))
    }

    /// The source's body under names of the copy's own, and what of it the copy shares.
    async fn take_over(&self, source: &Source, parts: Vec<Part>) -> Result<(Body, SharedRuns)> {
        let from = source.bucket.partition();
        let mut shared = SharedRuns::default();
        match &source.object.record.body {
            Body::Run(run) => Ok((Body::Run(self.take_run(from, run, &mut shared).await?), shared)),
            Body::Parts { spans, .. } => {
                let copied = random::bytes(&*self.entropy);
                for part in parts {
                    let run = self.take_run(from, &part.record.run, &mut shared).await?;
                    // Nobody asks for the entity tag of a part whose upload is complete.
                    let etag = StoredEtag::Clear(hex::encode(random::bytes::<16>(&*self.entropy)));
                    let record = PartRecord { etag, run, ..part.record };
                    shared.values.push((part_key(copied, part.number), Bytes::from(record.to_value())));
                }
                Ok((Body::Parts { upload: copied, spans: spans.clone() }, shared))
            }
        }
    }

    async fn take_run(&self, from: Partition, run: &RunRef, shared: &mut SharedRuns) -> Result<RunRef> {
        if !run.inline {
            shared.runs.push(run.run());
            return Ok(run.clone());
        }
        let sealed = self.store.get(from, &data_key(run.id)).await?.ok_or_else(|| vanished(run.id))?;
        let id = random::bytes(&*self.entropy);
        shared.values.push((data_key(id), sealed));
        Ok(RunRef { id, ..run.clone() })
    }
}

/// The source was replaced or deleted while it was copied.
fn vanished(id: [u8; 16]) -> super::error::S3Error {
    StoreError::RunNotFound(crate::store::RunId(id)).into()
}
