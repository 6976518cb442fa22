//! What all object handlers share: finding an object, and reading what only its keys reveal.

use minicbor::bytes::ByteVec;

use super::call::{Bucket, Call};
use super::checksum::{Algorithm, Checksums};
use super::error::{ErrorCode, Result, S3Error};
use super::request::ObjectKey;
use super::service::S3;
use crate::crypto::random;
use crate::sse::{self, CustomerKey, Envelope, EtagOf, EtagScope, ObjectName, Scope};
use crate::store::commit::{Part, WriteError};
use crate::store::schema::{Body, ChecksumKind, ObjectRecord, PartSpan, RunRef, StoredEtag};

/// An object as found: its record, and the envelope read out of it.
#[derive(Clone)]
pub(super) struct Object {
    pub record: ObjectRecord,
    pub envelope: Envelope,
    /// Without quotes.
    pub etag: String,
}

impl Object {
    /// What its checksums are sealed to.
    pub fn scope<'a>(&'a self, header: Option<&'a sse::RunHeader>) -> Scope<'a> {
        match (&self.record.body, header) {
            (Body::Parts { spans, .. }, _) => Scope::Parts { size: self.record.size, spans },
            (Body::Run(_), Some(header)) => Scope::Run { part: 0, header },
            (Body::Run(_), None) => Scope::Parts { size: self.record.size, spans: &[] },
        }
    }
}

impl S3 {
    /// The version of the object `key` that the request names, or the current one.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`; `MethodNotAllowed` for a delete marker that is named.
    pub(super) async fn object(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<Object> {
        let record = self.find(bucket, key, call.version()?).await.map_err(|missing| missing.tell(call, key))?;
        self.open_record(bucket, key, record)
    }

    /// An object, of its record.
    pub(super) fn open_record(&self, bucket: &Bucket, key: &ObjectKey, record: ObjectRecord) -> Result<Object> {
        let envelope = Envelope::from_bytes(&record.envelope)?;
        let etag = self.object_etag(bucket, key.as_str(), &record)?;
        Ok(Object { record, envelope, etag })
    }

    /// The data key of an object with this envelope; `customer` is the key that the request brought.
    pub(super) async fn unlock(
        &self,
        call: &Call<'_>,
        bucket: &str,
        key: &ObjectKey,
        envelope: &Envelope,
        customer: Option<&CustomerKey>,
    ) -> Result<sse::ObjectKey> {
        let name = ObjectName { bucket, key: key.as_str() };
        Ok(self.sse.unlock(envelope, &self.kms_caller(call), name, customer).await?)
    }

    /// The entity tag of an object whose plaintext had this MD5: for SSE-S3 the MD5 itself; otherwise a random one, since
    /// nothing that is derived from the plaintext may be stored in clear.
    pub(super) fn make_etag(
        &self,
        envelope: &Envelope,
        scope: EtagScope<'_>,
        md5: Option<[u8; 16]>,
    ) -> (StoredEtag, String) {
        let tag = match md5 {
            Some(md5) if envelope.shows_md5() => md5,
            _ => random::identifier(&*self.entropy),
        };
        self.store_etag(envelope, scope, hex::encode(tag))
    }

    /// The stored form of an entity tag, beside the tag.
    pub(super) fn store_etag(&self, envelope: &Envelope, scope: EtagScope<'_>, tag: String) -> (StoredEtag, String) {
        let stored = if envelope.shows_md5() {
            StoredEtag::Sealed(ByteVec::from(self.sse.seal_etag(scope, &tag)))
        } else {
            StoredEtag::Clear(tag.clone())
        };
        (stored, tag)
    }

    /// The entity tag that was stored.
    pub(super) fn reveal_etag(&self, scope: EtagScope<'_>, etag: &StoredEtag) -> Result<String> {
        match etag {
            StoredEtag::Clear(tag) => Ok(tag.clone()),
            StoredEtag::Sealed(sealed) => Ok(self.sse.open_etag(scope, sealed)?),
        }
    }

    /// The entity tag of the object `key`.
    pub(super) fn object_etag(&self, bucket: &Bucket, key: &str, record: &ObjectRecord) -> Result<String> {
        self.reveal_etag(bucket.etag_of_object(key, &record.generation), &record.etag)
    }

    /// The entity tag of a part of `upload`.
    pub(super) fn part_etag(&self, bucket: &Bucket, upload: &[u8; 16], part: &Part) -> Result<String> {
        self.reveal_etag(bucket.etag_of_part(upload, part.number, &part.record.run.id), &part.record.etag)
    }

    /// Seals checksums to what they are of.
    pub(super) fn seal_checksums(
        &self,
        key: &sse::ObjectKey,
        scope: Scope<'_>,
        checksums: &Checksums,
    ) -> Option<ByteVec> {
        if checksums.is_empty() {
            return None;
        }
        Some(ByteVec::from(sse::seal_checksums(key, &*self.entropy, scope, &checksums.encode())))
    }

    /// What listings may show of checksums.
    pub(super) fn checksum_kind(checksums: &Checksums) -> Option<ChecksumKind> {
        let (algorithm, _) = checksums.values().next()?;
        let covers = checksums.kind().as_str().to_owned();
        Some(ChecksumKind { algorithm: algorithm.name().to_owned(), covers, by_default: None })
    }

    /// Opens what [`Self::seal_checksums`] returned.
    pub(super) fn open_checksums(
        key: &sse::ObjectKey,
        scope: Scope<'_>,
        sealed: Option<&ByteVec>,
    ) -> Result<Checksums> {
        let Some(sealed) = sealed else {
            return Ok(Checksums::default());
        };
        let opened = sse::open_checksums(key, scope, sealed)?;
        Checksums::decode(opened.expose()).map_err(S3Error::internal)
    }

    /// An object's checksums.
    pub(super) fn object_checksums(key: &sse::ObjectKey, object: &Object) -> Result<Checksums> {
        let header = match &object.record.body {
            Body::Run(run) => Some(run_header(run)?),
            Body::Parts { .. } => None,
        };
        Self::open_checksums(key, object.scope(header.as_ref()), object.record.checksums.as_ref())
    }
}

impl S3 {
    /// The checksum of a part of an object: that of the object's own algorithm, if the object has a checksum.
    pub(super) fn part_checksums(key: &sse::ObjectKey, object: &ObjectRecord, part: &Part) -> Result<Checksums> {
        let Some(algorithm) = checksum_algorithm(object) else { return Ok(Checksums::default()) };
        let header = run_header(&part.record.run)?;
        let scope = Scope::Run { part: part.number, header: &header };
        Ok(Self::open_checksums(key, scope, part.record.checksums.as_ref())?.only(algorithm))
    }
}

impl Bucket {
    /// What the sealed entity tag of an object is bound to.
    pub(super) fn etag_of_object<'a>(&'a self, key: &'a str, generation: &'a [u8; 16]) -> EtagScope<'a> {
        EtagScope { bucket: &self.record.id, of: EtagOf::Object(key), write: generation }
    }

    /// What the sealed entity tag of a part is bound to.
    pub(super) fn etag_of_part<'a>(&'a self, upload: &'a [u8; 16], number: u16, run: &'a [u8; 16]) -> EtagScope<'a> {
        EtagScope { bucket: &self.record.id, of: EtagOf::Part { upload, number }, write: run }
    }
}

/// Of the checksum that an object has.
pub(super) fn checksum_algorithm(object: &ObjectRecord) -> Option<Algorithm> {
    object.checksum_kind.as_ref().and_then(|kind| Algorithm::from_name(&kind.algorithm))
}

/// The header of a stored run.
pub(super) fn run_header(run: &RunRef) -> Result<sse::RunHeader> {
    Ok(sse::RunHeader::from_bytes(&run.header)?)
}

/// How many parts `spans` describe.
pub(super) fn part_count(spans: &[PartSpan]) -> u32 {
    spans.iter().map(|span| u32::from(span.count)).sum()
}

impl From<WriteError<Self>> for S3Error {
    fn from(error: WriteError<Self>) -> Self {
        match error {
            WriteError::Refused(error) => error,
            WriteError::NoBucket => ErrorCode::NoSuchBucket.into(),
            WriteError::NoUpload => ErrorCode::NoSuchUpload.into(),
            WriteError::PartsChanged => ErrorCode::OperationAborted.into(),
            WriteError::Locked => {
                Self::new(ErrorCode::AccessDenied, "Access Denied because object protected by object lock.")
            }
            WriteError::NoSource(run) => crate::store::StoreError::RunNotFound(run).into(),
            WriteError::Store(error) => error.into(),
        }
    }
}
