//! Replication to buckets of other servers, over S3's own API: PutObject, or a multipart upload of which each part is tried by
//! itself: of what was uploaded in parts, in the same parts, so that the replica has its source's entity tag and checksum, and
//! of what is large.
//!
//! What only AWS's inside can do, this cannot: the replica has a version id of its own there, which is kept, so that later
//! changes find it. To a Strongroom it tells the
//! source's id and time in a header ([`ORIGIN`]), which is believed of callers that may `s3:ReplicateObject`; other servers pass
//! over it.

mod layout;
mod target;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use reqwest::{Body, Client, redirect};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::super::checksum::Kind;
use super::super::encoded_word;
use super::super::error::S3Error;
use super::super::markings::{BYPASS, HOLD, MODE, UNTIL, name_of, status_of};
use super::super::object_lock::{legal_hold_document, retention_document};
use super::super::reader::ObjectReader;
use super::super::service::S3;
use super::super::tags;
use super::reason::Reason;
use super::{Errand, Ledger};
use crate::clock::{SharedClock, from_millis, iso8601};
use crate::config::{ArnPattern, ReplicationDestination, SecretKey};
use crate::crypto::digest::{Digest as _, Md5, md5};
use crate::sse::{self, SseKind};
use crate::store::StoreError;
use crate::store::schema::{Facet, ObjectRecord, Retention, VersionId};
use crate::wire::BoxError;
use crate::wire::error::chain;
use crate::wire::percent::percent_encode;
use crate::wire::trust;

use self::layout::is_in_parts;
use self::target::Target;

/// The header in which one Strongroom tells another which version a replica is of, and of when:
/// `VERSION-ID;MILLISECONDS`.
pub(in crate::s3) const ORIGIN: &str = "x-strongroom-replica-of";
/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer, or the next of its bytes, may take.
const READ_PATIENCE: Duration = Duration::from_secs(120);

/// Another server, and the buckets that are reached there.
pub struct Remote {
    buckets: ArnPattern,
    endpoint: String,
    region: String,
    access_key_id: String,
    secret: SecretKey,
    client: Client,
    /// Bytes of a part.
    part: u64,
    pace: Arc<Pace>,
}

/// Why a destination cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("replication.destinations: {bucket}: {problem}")]
pub struct Unusable {
    bucket: String,
    problem: String,
}

/// Why another server did not take what it was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("the destination could not be reached: {0}")]
    Unreachable(String),
    #[error("the destination answered {status} {code}")]
    Refused { status: StatusCode, code: String, step: Reason },
    #[error("a key with '.' or '..' between slashes cannot be sent to another server")]
    Unsendable,
    #[error("the header {0} cannot be sent to another server")]
    UnsendableHeader(String),
    #[error(transparent)]
    Source(#[from] S3Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RemoteError {
    /// Whether it will be the same another time.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Store(_) => false,
            Self::Unsendable | Self::UnsendableHeader(_) => true,
            Self::Source(error) => !error.is_vanished() && !error.code.status().is_server_error(),
            Self::Refused { status, code, .. } => {
                let passing =
                    ["RequestTimeout", "SlowDown", "RequestTimeTooSkewed", "NoSuchUpload", "OperationAborted"];
                // What the other server cannot do, it cannot do tomorrow.
                *status == StatusCode::NOT_IMPLEMENTED
                    || status.is_client_error()
                        && *status != StatusCode::TOO_MANY_REQUESTS
                        && !passing.contains(&code.as_str())
            }
        }
    }

    fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// As events tell of it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { code, step, .. } => Reason::of_answer(code, *step),
            Self::Source(error) => Reason::of_source(error),
            Self::Unsendable | Self::UnsendableHeader(_) => Reason::SrcObjectNotEligible,
            Self::Unreachable(_) | Self::Store(_) => Reason::DstPutObjectNotPermitted,
        }
    }
}

/// Holds all that is sent to other servers together to a rate.
pub struct Pace {
    bytes_per_second: u64,
    /// When the next byte may go.
    next: Mutex<Instant>,
}

impl Pace {
    /// At most so many MiB each second; 0: as many as go.
    pub fn new(mib_per_second: u32) -> Self {
        Self { bytes_per_second: u64::from(mib_per_second) << 20, next: Mutex::new(Instant::now()) }
    }

    async fn take(&self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let slot = {
            let mut next = self.next.lock().await;
            let slot = (*next).max(Instant::now());
            let nanoseconds = (bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second;
            *next = slot + Duration::from_nanos(nanoseconds);
            slot
        };
        sleep_until(slot).await;
    }
}

impl Remote {
    /// As `options` say; larger objects that are in one piece go in parts of `part_mib` MiB.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(options: &ReplicationDestination, part_mib: u32, pace: Arc<Pace>) -> Result<Self, Unusable> {
        let unusable = |problem: String| Unusable { bucket: options.bucket.to_string(), problem };
        let mut client = Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .read_timeout(READ_PATIENCE)
            .redirect(redirect::Policy::none());
        if let Some(path) = &options.ca {
            let failed = |error: &dyn std::fmt::Display| unusable(format!("{}: {error}", path.display()));
            let pem = std::fs::read(path).map_err(|error| failed(&error))?;
            client = client.tls_certs_only(trust::authorities(&pem).map_err(|error| failed(&error))?);
        }
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(unusable("the endpoint must begin with https:// or http://".to_owned()));
        }
        Ok(Self {
            buckets: options.bucket.clone(),
            endpoint,
            region: options.region.to_string(),
            access_key_id: options.access_key_id.to_string(),
            secret: options.secret_access_key.clone(),
            client: client.build().map_err(|error| unusable(chain(&error)))?,
            part: u64::from(part_mib) << 20,
            pace,
        })
    }

    /// Whether the bucket with this ARN is reached there.
    pub fn serves(&self, bucket_arn: &str) -> bool {
        self.buckets.matches(bucket_arn)
    }

    /// Sends an object, with these of its tags; `ledger` keeps how far its upload is. The version id that it has there, if the
    /// other server gives ids.
    pub(super) async fn put(
        &self,
        s3: &S3,
        errand: &Errand<'_>,
        tags: &[(String, String)],
        source_key: sse::ObjectKey,
        ledger: &Ledger<'_>,
    ) -> Result<Option<String>, RemoteError> {
        let path = path_of(errand.rule.destination.bucket_name(), errand.key.as_str());
        let path = path.ok_or(RemoteError::Unsendable)?;
        let target = Target { remote: self, clock: &s3.clock, path };
        let record = &errand.object.record;
        let lock = lock_headers(record, s3.lock_time().await?);
        let must_bring_digest = !lock.is_empty() || errand.bucket.record.object_lock.is_some();
        let mut headers = headers_of(errand, tags);
        headers.extend(lock);
        // What was begun in parts is gone on with in parts, also where it would be sent whole by now.
        if record.size <= self.part && !is_in_parts(record) && ledger.progress().is_none() {
            // What arrives is held against what was once written here.
            let checksums = S3::object_checksums(&source_key, errand.object)?;
            if checksums.kind() == Kind::FullObject && !checksums.is_empty() {
                headers.extend(checksums.values().map(|(algorithm, value)| (algorithm.header().to_owned(), value)));
            } else if must_bring_digest {
                headers.push(self.digest(s3, errand, &source_key, 0..record.size).await?);
            }
            let body = self.body(s3, errand, &source_key, 0..record.size).await?;
            let step = Reason::DstPutObjectNotPermitted;
            return Ok(target.send(step, Method::PUT, "", &headers, body, record.size).await?.version);
        }
        target.upload(s3, errand, &source_key, (headers.as_slice(), must_bring_digest), ledger).await
    }

    /// Ends the upload of an object that is not sent any more.
    pub(super) async fn abort(&self, (bucket, key): (&str, &str), upload: &str, clock: &SharedClock) {
        if let Some(path) = path_of(bucket, key) {
            Target { remote: self, clock, path }.try_abort(upload).await;
        }
    }

    /// Sets a delete marker.
    pub(super) async fn delete(
        &self,
        (bucket, key): (&str, &str),
        (id, modified): (VersionId, i64),
        clock: &SharedClock,
    ) -> Result<(), RemoteError> {
        let path = path_of(bucket, key).ok_or(RemoteError::Unsendable)?;
        let target = Target { remote: self, clock, path };
        let headers = [(ORIGIN.to_owned(), format!("{id};{modified}"))];
        target.send(Reason::DstDelObjNotPermitted, Method::DELETE, "", &headers, Body::default(), 0).await.map(drop)
    }

    /// Gives the version `version` there what `record` has of `facet`; `id` is the record's own. Lists stay behind: they name the
    /// accounts of this server, and what they are of belongs to somebody of the other.
    pub(super) async fn change(
        &self,
        (bucket, key, version): (&str, &str, &str),
        (id, record): (VersionId, &ObjectRecord),
        facet: Facet,
        clock: &SharedClock,
    ) -> Result<(), RemoteError> {
        let (resource, document) = match facet {
            Facet::Acl => return Ok(()),
            Facet::Tags => ("tagging", tags::document(&record.tags)),
            Facet::Retention => ("retention", retention_document(record.retention)),
            Facet::LegalHold => ("legal-hold", legal_hold_document(record.legal_hold == Some(true))),
        };
        let path = path_of(bucket, key).ok_or(RemoteError::Unsendable)?;
        let target = Target { remote: self, clock, path };
        let (query, length) = (format!("{resource}=&versionId={}", encode(version)), document.len() as u64);
        let mut headers = vec![
            ("content-md5".to_owned(), STANDARD.encode(md5(document.as_bytes()))),
            ("content-type".to_owned(), "application/xml".to_owned()),
            (ORIGIN.to_owned(), format!("{id};{}", record.modified)),
        ];
        let (step, body) = (Reason::of_change(facet), Body::from(document.clone()));
        match target.send(step, Method::PUT, &query, &headers, body, length).await {
            // What makes a retention weaker is done by those alone who say that they may.
            Err(error) if facet == Facet::Retention && error.is("AccessDenied") => {
                headers.push((BYPASS.to_owned(), "true".to_owned()));
                target.send(step, Method::PUT, &query, &headers, Body::from(document), length).await.map(drop)
            }
            sent => sent.map(drop),
        }
    }

    /// `Content-MD5` of some of the object's bytes: no locked object is taken without a digest. (AWS: "Object Lock considerations".)
    async fn digest(
        &self,
        s3: &S3,
        errand: &Errand<'_>,
        source_key: &sse::ObjectKey,
        range: std::ops::Range<u64>,
    ) -> Result<(String, String), RemoteError> {
        let body = &errand.object.record.body;
        let mut reader = ObjectReader::open(s3, errand.bucket.partition(), body, source_key.duplicate(), range).await?;
        let mut md5 = Md5::new();
        while let Some(chunk) = reader.next().await? {
            md5.update(&chunk);
        }
        Ok(("content-md5".to_owned(), STANDARD.encode(md5.finalize())))
    }

    /// Some of the object's bytes, in clear, at the pace.
    async fn body(
        &self,
        s3: &S3,
        errand: &Errand<'_>,
        source_key: &sse::ObjectKey,
        range: std::ops::Range<u64>,
    ) -> Result<Body, RemoteError> {
        let record = &errand.object.record;
        let reader =
            ObjectReader::open(s3, errand.bucket.partition(), &record.body, source_key.duplicate(), range).await?;
        let chunks = stream::try_unfold((reader, Arc::clone(&self.pace)), |(mut reader, pace)| async move {
            let Some(chunk): Option<Bytes> = reader.next().await.map_err(BoxError::from)? else { return Ok(None) };
            pace.take(chunk.len()).await;
            Ok::<_, BoxError>(Some((chunk, (reader, pace))))
        });
        Ok(Body::wrap_stream(chunks))
    }
}

/// `/bucket/key`, encoded; `None` if URLs cannot have it.
fn path_of(bucket: &str, key: &str) -> Option<String> {
    let sendable = key.split('/').all(|segment| segment != "." && segment != "..");
    sendable.then(|| format!("/{bucket}/{}", percent_encode(key)))
}

/// What is said of the object beside its bytes.
fn headers_of(errand: &Errand<'_>, tags: &[(String, String)]) -> Vec<(String, String)> {
    let Errand { object, rule, id, .. } = errand;
    let record = &object.record;
    let mut headers = record.attributes.headers.clone();
    let metadata = record.attributes.metadata.iter();
    headers
        .extend(metadata.map(|(name, value)| (format!("x-amz-meta-{name}"), encoded_word::encode(value).into_owned())));
    let class = rule.destination.storage_class.as_ref().unwrap_or(&record.attributes.storage_class);
    headers.push(("x-amz-storage-class".to_owned(), class.clone()));
    if !tags.is_empty() {
        let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        headers.push(("x-amz-tagging".to_owned(), tags.join("&")));
    }
    headers.extend(encryption_headers(object.envelope.kind(), rule.destination.replica_key()));
    headers.push((ORIGIN.to_owned(), format!("{id};{}", record.modified)));
    headers
}

/// A replica is encrypted as its source is, whatever its bucket's default; under `key`, where a KMS key does it. (S3 user guide,
/// "Replicating encrypted objects".)
fn encryption_headers(kind: SseKind, key: Option<&str>) -> Vec<(String, String)> {
    let (method, key) = match kind {
        SseKind::S3 => ("AES256", None),
        SseKind::Kms => ("aws:kms", key),
        SseKind::Dsse => ("aws:kms:dsse", key),
        // It cannot be opened, and is not sent.
        SseKind::Customer => return Vec::new(),
    };
    let mut headers = vec![("x-amz-server-side-encryption".to_owned(), method.to_owned())];
    headers.extend(key.map(|key| ("x-amz-server-side-encryption-aws-kms-key-id".to_owned(), key.to_owned())));
    headers
}

/// What holds the version, and is to hold its replica: a retention that is over holds nothing, and would be refused.
fn lock_headers(record: &ObjectRecord, now: i64) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    if let Some(Retention { mode, until }) = record.retention.filter(|retention| retention.until > now) {
        headers.push((MODE.to_owned(), name_of(mode).to_owned()));
        headers.push((UNTIL.to_owned(), iso8601(from_millis(until))));
    }
    if let Some(hold) = record.legal_hold {
        headers.push((HOLD.to_owned(), status_of(hold).to_owned()));
    }
    headers
}

/// Encodes all but unreserved characters.
fn encode(text: &str) -> String {
    percent_encode(text).replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_urls_cannot_have_are_not_sent() {
        assert_eq!(path_of("b", "a b/ü?").as_deref(), Some("/b/a%20b/%C3%BC%3F"));
        assert_eq!(path_of("b", "a//b").as_deref(), Some("/b/a//b"));
        for key in ["../x", "a/./b", ".", "a/.."] {
            assert_eq!(path_of("b", key), None, "{key}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let step = Reason::DstPutObjectNotPermitted;
        let refused = |status, code: &str| RemoteError::Refused { status, code: code.to_owned(), step };
        assert!(refused(StatusCode::FORBIDDEN, "AccessDenied").is_lasting());
        assert!(refused(StatusCode::NOT_FOUND, "NoSuchBucket").is_lasting());
        assert!(!refused(StatusCode::NOT_FOUND, "NoSuchUpload").is_lasting());
        assert!(!refused(StatusCode::SERVICE_UNAVAILABLE, "SlowDown").is_lasting());
        assert!(refused(StatusCode::NOT_IMPLEMENTED, "NotImplemented").is_lasting());
        assert!(!refused(StatusCode::TOO_MANY_REQUESTS, "").is_lasting());
        assert!(!RemoteError::Unreachable(String::new()).is_lasting());
        assert!(refused(StatusCode::FORBIDDEN, "AccessDenied").reason() == step);
        assert!(refused(StatusCode::NOT_FOUND, "NoSuchBucket").reason() == Reason::DstBucketNotFound);
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_a_failure() {
        assert!(target::header("x-amz-meta-a", "b ü").is_ok());
        for (name, value) in [("x-amz-meta-a b", "c"), ("x-amz-meta-a", "b\nc"), ("", "c")] {
            let error = target::header(name, value).unwrap_err();
            assert!(error.is_lasting() && error.reason() == Reason::SrcObjectNotEligible, "{name}: {error}");
        }
    }

    #[test]
    fn a_replica_is_encrypted_as_its_source_is() {
        let said = |kind, key| {
            let headers = encryption_headers(kind, key);
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!(said(SseKind::S3, Some("k")), ["x-amz-server-side-encryption: AES256"]);
        assert_eq!(said(SseKind::Dsse, None), ["x-amz-server-side-encryption: aws:kms:dsse"]);
        let under = ["x-amz-server-side-encryption: aws:kms", "x-amz-server-side-encryption-aws-kms-key-id: k"];
        assert_eq!(said(SseKind::Kms, Some("k")), under);
    }

    #[test]
    fn what_holds_a_version_is_said_of_its_replica() {
        use crate::store::schema::{Record as _, RetentionMode};
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema/object-run.bin");
        let mut record = ObjectRecord::from_value(&std::fs::read(path).unwrap()).unwrap();
        (record.retention, record.legal_hold) = (None, None);
        let said = |record: &ObjectRecord| {
            let headers = lock_headers(record, 1_700_000_000_000);
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert!(said(&record).is_empty());
        record.retention = Some(Retention { mode: RetentionMode::Compliance, until: 1_700_000_000_000 });
        assert!(said(&record).is_empty(), "it is over");
        record.retention = Some(Retention { mode: RetentionMode::Compliance, until: 1_700_000_000_001 });
        record.legal_hold = Some(true);
        let expected = [
            "x-amz-object-lock-mode: COMPLIANCE",
            "x-amz-object-lock-retain-until-date: 2023-11-14T22:13:20.001Z",
            "x-amz-object-lock-legal-hold: ON",
        ];
        assert_eq!(said(&record), expected);
    }

    #[tokio::test]
    async fn the_pace_is_kept() {
        let begun = Instant::now();
        let pace = Pace::new(10);
        for _ in 0..4 {
            pace.take(1 << 20).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
        Pace::new(0).take(usize::MAX).await;
    }
}
