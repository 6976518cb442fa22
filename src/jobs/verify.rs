//! Verification: every stored run of every version in every bucket is read, and opened where its key is at hand.
//!
//! | | reads every run | authenticates every byte |
//! |---|---|---|
//! | *opened* | yes | yes: AEAD, under the object's data key |
//! | *checked*: SSE-C, a KMS key that is disabled or gone, or no root key | yes | no: lengths, headers and records only |
//! | *damaged* | | neither holds, or the record contradicts itself |
//!
//! The tallies are held against what was found. Nothing is changed. The store must have no other user, so that what is
//! read is one state.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::kms::Caller;
use crate::kms::error::KmsErrorKind;
use crate::sse::{Envelope, ObjectKey, ObjectName, Opener, RunHeader, Sse, SseError};
use crate::store::commit::{self, After, Part, Upload};
use crate::store::schema::{
    Body, BucketRecord, ObjectRecord, PartSpan, Protection, RunRef, SseKind, Version, VersionId,
};
use crate::store::tally::read_tallies;
use crate::store::{SharedStore, StoreError, Tally};

/// Frames of 64 KiB read and opened at once.
const FRAMES: NonZeroU64 = NonZeroU64::new(16).unwrap();
/// Bytes read at once of what is not opened.
const READ: u64 = 1 << 20;
/// Objects verified at once.
const AT_ONCE: usize = 4;
/// Objects read from the index at once.
const PAGE: usize = 1000;

/// What verifies.
#[derive(Clone)]
pub struct Verification {
    /// The store.
    pub store: SharedStore,
    /// What opens data keys; `None` to check structure alone.
    pub sse: Option<Arc<Sse>>,
    /// The region that the KMS is told it is asked from.
    pub region: String,
}

/// What was found in a bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BucketFindings {
    /// By kind and key.
    pub protections: BTreeMap<Protection, VerifiedCount>,
    /// What is wrong: the key (of an upload, with its id), and how.
    pub damages: Vec<Finding>,
    /// Keys that could not be used, and what the KMS said.
    pub unavailable: BTreeMap<String, String>,
}

/// A count of objects, open uploads included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VerifiedCount {
    /// Objects and open uploads.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Those of which every byte was authenticated.
    pub opened: u64,
    /// Those of which only the structure could be checked.
    pub checked: u64,
    /// Those that are damaged.
    pub damaged: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The object's key, or what else it is about.
    pub what: String,
    /// What is wrong with it.
    pub problem: String,
}

/// One thing to verify.
struct Item {
    /// For people.
    what: String,
    key: String,
    envelope: Vec<u8>,
    protection: Protection,
    size: u64,
    runs: Vec<Piece>,
}

/// A run, and what its record says of it.
struct Piece {
    part: u16,
    size: u64,
    run: RunRef,
}

/// How an item was verified.
enum Verdict {
    Opened,
    Checked { unavailable: Option<(String, String)> },
    Damaged(String),
}

/// Why an item is not in order.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Sse(#[from] SseError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Verification {
    /// Verifies the bucket `name`. `seen` is told the plaintext bytes of each object that is done. Whatever is wrong is in the
    /// findings, also where the index itself cannot be read: then what lies behind is not looked at.
    pub async fn verify_bucket(&self, name: &str, record: &BucketRecord, seen: impl Fn(u64)) -> BucketFindings {
        let mut findings = BucketFindings::default();
        let mut counted: BTreeMap<Protection, Tally> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let (bucket, name) = (Arc::new(record.clone()), Arc::<str>::from(name));
        let mut heads = Heads::default();
        let mut after = None;
        let mut is_complete = true;
        loop {
            let page = match self.read_page(record, after.as_ref()).await {
                Ok(page) => page,
                Err(error) => {
                    is_complete = false;
                    let problem = match &after {
                        Some(After::Version(key, _)) => format!("it cannot be read behind {key}: {error}"),
                        _ => format!("it cannot be read: {error}"),
                    };
                    findings.damages.push(Finding { what: "the index of objects".to_owned(), problem });
                    break;
                }
            };
            let Some(last) = page.last() else { break };
            after = Some(After::Version(last.key.clone(), last.version.order()));
            for found in page {
                findings.damages.extend(heads.judge(&found));
                let commit::FoundVersion { key, version, is_current } = found;
                let Version::Object(object) = version else { continue };
                let what = if is_current { key.clone() } else { format!("{key} (version {})", object.version_id()) };
                add(&mut counted, &object.protection, Tally::object(object.size));
                let this = self.clone();
                let (name, bucket) = (Arc::clone(&name), Arc::clone(&bucket));
                tasks.spawn(async move { this.verify_object(&name, &bucket, (what, key), *object).await });
                if tasks.len() >= AT_ONCE {
                    findings.take(tasks.join_next().await, &seen);
                }
            }
        }
        if is_complete {
            findings.damages.extend(heads.end());
        }
        while let Some(task) = tasks.join_next().await {
            findings.take(Some(task), &seen);
        }
        match self.verify_uploads(&name, record, &mut findings, &seen).await {
            Ok(uploads) => uploads.iter().for_each(|(protection, tally)| add(&mut counted, protection, *tally)),
            Err(error) => {
                is_complete = false;
                let problem = format!("it cannot be read: {error}");
                findings.damages.push(Finding { what: "the index of open uploads".to_owned(), problem });
            }
        }
        let problem = match read_tallies(&*self.store, record.partition()).await {
            // Of what cannot be read nobody knows how much it is.
            Ok(_) if !is_complete => None,
            Ok(tallies) => {
                let tallies: BTreeMap<_, _> = tallies.into_iter().collect();
                (tallies != counted).then(|| "what the tallies say is not what is there".to_owned())
            }
            Err(error) => Some(format!("it cannot be read: {error}")),
        };
        let what = "the inventory by key".to_owned();
        findings.damages.extend(problem.map(|problem| Finding { what, problem }));
        findings
    }

    /// Versions behind `after`: fewer than there are in a page, where more cannot be read.
    async fn read_page(
        &self,
        bucket: &BucketRecord,
        after: Option<&After>,
    ) -> Result<Vec<commit::FoundVersion>, StoreError> {
        let mut limit = PAGE;
        loop {
            match commit::read_versions(&*self.store, bucket.partition(), "", after, limit).await {
                Err(_) if limit > 1 => limit /= 2,
                done => return done,
            }
        }
    }

    /// Verifies the open uploads; what there is of them, by kind and key.
    async fn verify_uploads(
        &self,
        name: &str,
        bucket: &BucketRecord,
        findings: &mut BucketFindings,
        seen: &impl Fn(u64),
    ) -> Result<Vec<(Protection, Tally)>, StoreError> {
        let mut found = Vec::new();
        for upload in commit::read_uploads(&*self.store, bucket.partition(), usize::MAX).await? {
            let parts = commit::read_parts(&*self.store, bucket.partition(), upload.id, 0, usize::MAX).await?;
            let tally = parts.iter().map(|part| Tally::part(part.record.size)).fold(Tally::upload(), Tally::plus);
            found.push((upload.record.protection.clone(), tally));
            let item = Item::of_upload(upload, parts);
            let verdict = self.verify_item(name, bucket, &item).await;
            findings.count(&item, verdict, seen);
        }
        Ok(found)
    }

    async fn verify_object(
        &self,
        name: &str,
        bucket: &BucketRecord,
        (what, key): (String, String),
        object: ObjectRecord,
    ) -> (Item, Verdict) {
        let mut item = Item::of_object(what, key, &object);
        let verdict = match self.find_runs(bucket, &object).await {
            Ok(runs) => {
                item.runs = runs;
                self.verify_item(name, bucket, &item).await
            }
            Err(problem) => Verdict::Damaged(problem.to_string()),
        };
        (item, verdict)
    }

    async fn find_runs(&self, bucket: &BucketRecord, object: &ObjectRecord) -> Result<Vec<Piece>, Problem> {
        let (upload, spans) = match &object.body {
            Body::Run(run) => return Ok(vec![Piece { part: 0, size: object.size, run: run.clone() }]),
            Body::Parts { upload, spans } => (*upload, spans),
        };
        let parts = commit::read_parts(&*self.store, bucket.partition(), upload, 0, usize::MAX).await?;
        let named: Vec<(u16, u64)> = spans.iter().flat_map(numbers_and_sizes).collect();
        let stored: Vec<(u16, u64)> = parts.iter().map(|part| (part.number, part.record.size)).collect();
        if named != stored {
            return Err(Problem::Contradiction("its parts are not those that its record names"));
        }
        if named.iter().map(|(_, size)| size).sum::<u64>() != object.size {
            return Err(Problem::Contradiction("its parts are not as long as its record says"));
        }
        Ok(parts.into_iter().map(Piece::from).collect())
    }

    async fn verify_item(&self, name: &str, bucket: &BucketRecord, item: &Item) -> Verdict {
        match self.try_item(name, bucket, item).await {
            Ok(verdict) => verdict,
            Err(problem) => Verdict::Damaged(problem.to_string()),
        }
    }

    async fn try_item(&self, name: &str, bucket: &BucketRecord, item: &Item) -> Result<Verdict, Problem> {
        let envelope = Envelope::from_bytes(&item.envelope)?;
        if envelope.summary() != item.protection {
            return Err(Problem::Contradiction("its envelope is not of the kind or key that its record says"));
        }
        let (key, verdict) = match self.unlock(name, bucket, item, &envelope).await {
            Ok(Some(key)) => (Some(key), Verdict::Opened),
            Ok(None) => (None, Verdict::Checked { unavailable: None }),
            Err(SseError::Kms(error)) if is_about_the_ciphertext(error.kind) => return Err(SseError::Kms(error).into()),
            Err(SseError::Kms(error)) => {
                let key = item.protection.key.clone().unwrap_or_default();
                let unavailable = Some((key, format!("{}: {}", error.kind.code(), error.message)));
                (None, Verdict::Checked { unavailable })
            }
            Err(error) => return Err(error.into()),
        };
        for piece in &item.runs {
            self.verify_run(bucket, piece, key.as_ref()).await?;
        }
        Ok(verdict)
    }

    /// The data key; `None` where nobody here can have it.
    async fn unlock(
        &self,
        name: &str,
        bucket: &BucketRecord,
        item: &Item,
        envelope: &Envelope,
    ) -> Result<Option<ObjectKey>, SseError> {
        let Some(sse) = self.sse.as_ref().filter(|_| envelope.kind() != SseKind::Customer) else { return Ok(None) };
        let via_service = Some(format!("s3.{}.amazonaws.com", self.region));
        let caller = Caller::root_of(&bucket.account, via_service, "verify");
        sse.unlock(envelope, &caller, ObjectName { bucket: name, key: &item.key }, None).await.map(Some)
    }

    async fn verify_run(&self, bucket: &BucketRecord, piece: &Piece, key: Option<&ObjectKey>) -> Result<(), Problem> {
        let header = RunHeader::from_bytes(&piece.run.header)?;
        if header.plaintext_len() != piece.size {
            return Err(Problem::Contradiction("a run is not as long as its record says"));
        }
        let sealed = Sealed::find(self, bucket, &piece.run, header.suite().sealed_len(piece.size)).await?;
        let Some(key) = key else { return sealed.read_all().await };
        let opener = Opener::new(key, &header, piece.part)?;
        for read in opener.reads(0..piece.size, FRAMES)? {
            let bytes = sealed.read(read.sealed_start(), read.sealed_len()).await?;
            opener.open(&read, bytes)?;
        }
        Ok(())
    }
}

/// The stored bytes of a run.
struct Sealed<'v> {
    store: &'v SharedStore,
    run: &'v RunRef,
    length: u64,
    inline: Option<Bytes>,
}

impl<'v> Sealed<'v> {
    async fn find(
        verification: &'v Verification,
        bucket: &BucketRecord,
        run: &'v RunRef,
        length: u64,
    ) -> Result<Self, Problem> {
        let store = &verification.store;
        let mut inline = None;
        if run.inline {
            let bytes = store.get(bucket.partition(), &commit::data_key(run.id)).await?;
            let bytes = bytes.ok_or(Problem::Contradiction("an inline run is missing"))?;
            if u64::try_from(bytes.len()).ok() != Some(length) {
                return Err(Problem::Contradiction("an inline run is not as long as its header says"));
            }
            inline = Some(bytes);
        }
        Ok(Self { store, run, length, inline })
    }

    async fn read(&self, start: u64, length: usize) -> Result<Bytes, Problem> {
        let Some(bytes) = &self.inline else { return Ok(self.store.read(self.run.run(), start, length).await?) };
        let range = usize::try_from(start).ok().and_then(|start| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| range.end <= bytes.len());
        Ok(bytes.slice(range.ok_or(Problem::Contradiction("an inline run is too short"))?))
    }

    /// Reads every byte, and no more than that.
    async fn read_all(&self) -> Result<(), Problem> {
        let mut at = 0;
        while at < self.length {
            let length = (self.length - at).min(READ);
            self.read(at, usize::try_from(length).unwrap_or(usize::MAX)).await?;
            at += length;
        }
        Ok(())
    }
}

/// Holds the versions of each key, as they come by, to what its current one says of them.
#[derive(Default)]
struct Heads {
    key: Option<String>,
    /// Where the null version is to come by.
    null_at: Option<u64>,
}

impl Heads {
    fn judge(&mut self, found: &commit::FoundVersion) -> Option<Finding> {
        let finding = |problem: &str| Some(Finding { what: found.key.clone(), problem: problem.to_owned() });
        if self.key.as_ref() != Some(&found.key) {
            let ended = self.end();
            self.key = Some(found.key.clone());
            self.null_at = found.version.null_at();
            return if found.is_current { ended } else { finding("it has versions, and none of them is current") };
        }
        if found.is_current {
            return finding("two versions of it are current");
        }
        if found.version.id() == VersionId::Null && self.null_at.take() != Some(found.version.order()) {
            return finding("its null version is not where its current one says");
        }
        None
    }

    /// No more of the key's versions come.
    fn end(&mut self) -> Option<Finding> {
        let problem = "its null version is missing".to_owned();
        self.null_at.take()?;
        Some(Finding { what: self.key.clone().unwrap_or_default(), problem })
    }
}

impl Item {
    fn of_object(what: String, key: String, object: &ObjectRecord) -> Self {
        Self {
            what,
            key,
            envelope: object.envelope.to_vec(),
            protection: object.protection.clone(),
            size: object.size,
            runs: Vec::new(),
        }
    }

    fn of_upload(upload: Upload, parts: Vec<Part>) -> Self {
        Self {
            what: format!("{} (upload {})", upload.key, hex::encode(upload.id)),
            key: upload.key,
            envelope: upload.record.envelope.to_vec(),
            protection: upload.record.protection,
            size: parts.iter().map(|part| part.record.size).sum(),
            runs: parts.into_iter().map(Piece::from).collect(),
        }
    }
}

impl From<Part> for Piece {
    fn from(part: Part) -> Self {
        Self { part: part.number, size: part.record.size, run: part.record.run }
    }
}

impl BucketFindings {
    fn take(&mut self, task: Option<Result<(Item, Verdict), tokio::task::JoinError>>, seen: &impl Fn(u64)) {
        match task {
            Some(Ok((item, verdict))) => self.count(&item, verdict, seen),
            Some(Err(error)) => {
                self.damages.push(Finding { what: "an object".to_owned(), problem: error.to_string() });
            }
            None => {}
        }
    }

    fn count(&mut self, item: &Item, verdict: Verdict, seen: &impl Fn(u64)) {
        let found = self.protections.entry(item.protection.clone()).or_default();
        found.objects += 1;
        found.bytes += item.size;
        match verdict {
            Verdict::Opened => found.opened += 1,
            Verdict::Checked { unavailable } => {
                found.checked += 1;
                self.unavailable.extend(unavailable);
            }
            Verdict::Damaged(problem) => {
                found.damaged += 1;
                self.damages.push(Finding { what: item.what.clone(), problem });
            }
        }
        seen(item.size);
    }
}

/// Whether the wrapped key itself is wrong, rather than the key that wrapped it out of reach.
fn is_about_the_ciphertext(kind: KmsErrorKind) -> bool {
    matches!(kind, KmsErrorKind::InvalidCiphertext | KmsErrorKind::IncorrectKey)
}

fn add(counted: &mut BTreeMap<Protection, Tally>, protection: &Protection, tally: Tally) {
    let sum = counted.entry(protection.clone()).or_default();
    *sum = sum.plus(tally);
}

fn numbers_and_sizes(span: &PartSpan) -> impl Iterator<Item = (u16, u64)> {
    let size = span.size;
    (span.first..span.first.saturating_add(span.count)).map(move |number| (number, size))
}
