//! Reports: made file by file, delivered to the destination bucket, and told of by a manifest.
//!
//! 1. the report's record is committed. *Crash: it is taken up again.*
//! 2. versions are read in order until a data file is full; it is delivered as an object. *Crash: it is delivered again, to the
//!    same key.*
//! 3. the record gets the file, and the last version in it.
//! 4. when nothing is left, the list for Hive, the manifest and, last of all, its checksum are delivered. *Crash: again.*
//! 5. the record gets the report's end. One that failed is gone on with later; one that is begun in its place, on another day,
//!    goes by its names, so that no files are left of it that no manifest tells of.
//!
//! A report that is not done after a while ([`SLICE`]) is gone on with when the other buckets have had their turn.

use std::time::Duration;

use tokio::time::Instant;

use super::columns::{Column, Value};
use super::document::{Format, Inventory};
use super::manifest::{DataFile, Places, manifest, symlinks};
use super::record::{End, Mark, Next, Report, next};
use super::{csv, deliver, parquet};
use crate::clock::from_millis;
use crate::crypto::{digest, random};
use crate::jobs::lifecycle::{Rules, Subject};
use crate::s3::call::Bucket;
use crate::s3::error::{Result, S3Error};
use crate::s3::service::S3;
use crate::sse::{Envelope, KmsProtection};
use crate::store::StoreError;
use crate::store::commit::{self, After, FoundVersion};
use crate::store::configuration::read_configurations;
use crate::store::cursor::{cursor_ids, delete_cursor, put_cursor, read_cursor};
use crate::store::schema::{
    Body, ConfigurationKind, CursorKind, ObjectRecord, ReplicationState, RetentionMode, SseKind, Version, VersionId,
};
use crate::telemetry::metrics::OutcomeLabel;
use crate::telemetry::{Metrics, outlive};

/// Most rows of a data file.
const ROWS: usize = 50_000;
/// Bytes of text after which a data file is full.
const BYTES: usize = 16 << 20;
/// Versions read from the index at once.
const PAGE: usize = 1000;
/// Buckets read from the index at once.
const BUCKETS: usize = 256;
/// How long a bucket has its turn where others may wait.
const SLICE: Duration = Duration::from_secs(30);
/// Configurations of a bucket: no more can be put.
const CONFIGURATIONS: usize = 1000;

/// A report being made.
struct Making<'m> {
    source: &'m Bucket,
    inventory: &'m Inventory,
    columns: Vec<Column>,
    /// For the dates at which objects expire.
    rules: Option<std::sync::Arc<Rules>>,
    places: Places,
}

impl S3 {
    /// Makes, or goes on with, every report that is due, looking at `rate` versions each second. It may be dropped at any time.
    ///
    /// # Errors
    /// [`StoreError`], if the buckets cannot be read. What goes wrong with one report is logged, and kept with it.
    pub async fn make_reports(&self, rate: u32, metrics: &Metrics) -> Result<(), StoreError> {
        while self.take_report_turns(rate, metrics).await? {}
        Ok(())
    }

    /// Gives every bucket its turn; whether one needs another.
    async fn take_report_turns(&self, rate: u32, metrics: &Metrics) -> Result<bool, StoreError> {
        let (mut after, mut unfinished) = (String::new(), false);
        loop {
            let page = commit::read_buckets(&*self.store, &after, BUCKETS).await?;
            let Some((last, _)) = page.last() else { return Ok(unfinished) };
            after.clone_from(last);
            for (name, record) in page {
                if !record.may_have(ConfigurationKind::Inventory) {
                    continue;
                }
                let bucket = self.bucket_of(name, record);
                match outlive("inventory", self.make_reports_of(&bucket, rate, metrics)).await {
                    Some(Ok(done)) => unfinished |= !done,
                    Some(Err(error)) => {
                        tracing::error!(bucket = bucket.name, %error, "inventory reports could not be made");
                    }
                    None => {}
                }
            }
        }
    }

    /// `Ok(false)` if the bucket's turn was over before all of its reports were made.
    async fn make_reports_of(&self, source: &Bucket, rate: u32, metrics: &Metrics) -> Result<bool> {
        let until = Instant::now() + SLICE;
        let (store, kind) = (&*self.store, ConfigurationKind::Inventory);
        let kept = read_configurations(store, &source.record, kind, "", CONFIGURATIONS).await?;
        for id in cursor_ids(store, &source.record, CursorKind::Inventory).await? {
            if !kept.iter().any(|(kept, _)| *kept == id) {
                delete_cursor(store, &source.record, CursorKind::Inventory, &id).await?;
            }
        }
        for (id, kept) in kept {
            let inventory = Inventory::read_kept(&kept.document, &id)?;
            if !inventory.enabled {
                continue;
            }
            let now = self.clock.now().as_millisecond();
            let last = read_cursor(store, &source.record, CursorKind::Inventory, &id).await?;
            let mut report = match next(last, inventory.frequency, kept.modified, now, self.settings.calendar) {
                Next::Wait => continue,
                Next::Resume(report) => report,
                Next::Begin => Report::begin(now, kept.modified, random::bytes(&*self.entropy)),
            };
            if !self.keep_report(source, &id, &report).await? {
                return Ok(true);
            }
            let made = self.make_report(source, &inventory, &mut report, (rate, until)).await;
            let error = match made {
                Ok(true) => None,
                Ok(false) => return Ok(false),
                Err(error) => Some(error.to_string()),
            };
            let outcome = if error.is_none() { "ok" } else { "failed" };
            metrics.inventory_reports.get_or_create(&OutcomeLabel { outcome }).inc();
            if let Some(error) = &error {
                tracing::warn!(bucket = source.name, id, error, "an inventory report failed");
            } else {
                tracing::info!(bucket = source.name, id, files = report.files.len(), "made an inventory report");
            }
            report.end = Some(End { at: self.clock.now().as_millisecond(), error });
            self.keep_report(source, &id, &report).await?;
        }
        Ok(true)
    }

    /// `Ok(false)` if the bucket is gone or going.
    async fn keep_report(&self, source: &Bucket, id: &str, report: &Report) -> Result<bool, StoreError> {
        put_cursor(&*self.store, &source.record, CursorKind::Inventory, id, report).await
    }

    /// `Ok(false)` if it was not done `until` then, and can be gone on with.
    async fn make_report(
        &self,
        source: &Bucket,
        inventory: &Inventory,
        report: &mut Report,
        (rate, until): (u32, Instant),
    ) -> Result<bool> {
        let making = Making {
            source,
            inventory,
            columns: Column::of_report(inventory.all_versions, &inventory.optional),
            rules: self.rules(source).await?,
            places: Places::new(&source.name, inventory, from_millis(report.begun)),
        };
        let format = inventory.destination.format;
        loop {
            let (rows, after) = self.gather(&making, report.after.clone(), rate).await?;
            if rows.is_empty() {
                break;
            }
            let file = match format {
                Format::Csv => csv::write(&making.columns, &rows).map_err(S3Error::internal)?,
                Format::Parquet => parquet::write(&making.columns, &rows).map_err(S3Error::internal)?,
            };
            drop(rows);
            let key = making.places.data(&report.next_name(), format.suffix());
            let md5 = hex::encode(digest::md5(&file));
            let size = u64::try_from(file.len()).unwrap_or(u64::MAX);
            self.deliver_report(&making, &key, file).await?;
            report.files.push(DataFile { key, size, md5 });
            report.after = after;
            if !self.keep_report(source, &inventory.id, report).await? {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
        let schema = match format {
            Format::Csv => csv::schema(&making.columns),
            Format::Parquet => parquet::schema(&making.columns),
        };
        let manifest = manifest(&source.name, inventory, &schema, from_millis(report.begun), &report.files);
        let checksum = hex::encode(digest::md5(manifest.as_bytes()));
        let links = symlinks(&inventory.destination, &report.files);
        self.deliver_report(&making, &making.places.symlinks(), links.into_bytes()).await?;
        self.deliver_report(&making, &making.places.manifest(), manifest.into_bytes()).await?;
        self.deliver_report(&making, &making.places.checksum(), checksum.into_bytes()).await?;
        Ok(true)
    }

    async fn deliver_report(&self, making: &Making<'_>, key: &str, bytes: Vec<u8>) -> Result<()> {
        let Making { source, inventory, .. } = making;
        let delivery = deliver::Delivery { source, destination: &inventory.destination, key };
        self.deliver_as_service(&delivery, bytes).await
    }

    /// The rows of the next data file, and the last version in it; none if nothing is left.
    async fn gather(
        &self,
        making: &Making<'_>,
        mut after: Option<Mark>,
        rate: u32,
    ) -> Result<(Vec<Vec<Value>>, Option<Mark>)> {
        let (mut rows, mut weight) = (Vec::new(), 0);
        let prefix = making.inventory.prefix.as_deref().unwrap_or_default();
        let partition = making.source.partition();
        while rows.len() < ROWS && weight < BYTES {
            let page = if making.inventory.all_versions {
                let from = after.as_ref().map(|Mark { key, order }| match order {
                    Some(order) => After::Version(key.clone(), *order),
                    None => After::Key(key.clone()),
                });
                commit::read_versions(&*self.store, partition, prefix, from.as_ref(), PAGE).await?
            } else {
                let from = after.as_ref().map_or("", |mark| mark.key.as_str());
                let objects = commit::read_objects(&*self.store, partition, prefix, from, PAGE).await?;
                let found =
                    |(key, object)| FoundVersion { key, version: Version::Object(Box::new(object)), is_current: true };
                objects.into_iter().map(found).collect()
            };
            let (count, is_last) = (page.len(), page.len() < PAGE);
            for found in page {
                let row = self.row(making, &found)?;
                weight += row.iter().map(Value::weight).sum::<usize>();
                rows.push(row);
                after = Some(Mark { order: Some(found.version.order()), key: found.key });
            }
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            tokio::time::sleep(Duration::from_secs(1).mul_f64(f64::from(count) / f64::from(rate.max(1)))).await;
            if is_last {
                break;
            }
        }
        Ok((rows, after))
    }

    fn row(&self, making: &Making<'_>, found: &FoundVersion) -> Result<Vec<Value>> {
        making.columns.iter().map(|column| self.value(making, found, *column)).collect()
    }

    fn value(&self, making: &Making<'_>, found: &FoundVersion, column: Column) -> Result<Value> {
        let FoundVersion { key, version, is_current } = found;
        let object = version.object();
        let of_object = |value: fn(&ObjectRecord) -> Value| object.map_or(Value::Null, value);
        Ok(match column {
            Column::Bucket => Value::Text(making.source.name.clone().into()),
            Column::Key => Value::Text(key.clone().into()),
            // "Reports that include all versions mark any null-versioned objects with empty strings in the version ID field."
            // (S3 user guide, "Converting empty version ID strings in Amazon S3 Inventory reports to null strings".)
            Column::VersionId => Value::Text(match version.id() {
                VersionId::Null => "".into(),
                id @ VersionId::Own { .. } => id.to_string().into(),
            }),
            Column::IsLatest => Value::Flag(*is_current),
            Column::IsDeleteMarker => Value::Flag(object.is_none()),
            Column::Size => of_object(|object| Value::Number(i64::try_from(object.size).unwrap_or(i64::MAX))),
            // To the second, as wherever else it is shown.
            Column::LastModifiedDate => Value::Time(version.modified().div_euclid(1000).saturating_mul(1000)),
            Column::ETag => match object {
                Some(object) => Value::Text(self.object_etag(making.source, key, object)?.into()),
                None => Value::Null,
            },
            Column::StorageClass => of_object(|object| Value::Text(object.attributes.storage_class.clone().into())),
            Column::IsMultipartUploaded => {
                of_object(|object| Value::Flag(matches!(object.body, Body::Parts { .. }) && !object.whole))
            }
            Column::ReplicationStatus => {
                of_object(|object| Value::text(object.replication.as_ref().map(ReplicationState::as_str)))
            }
            // Nothing is tiered here.
            Column::IntelligentTieringAccessTier => Value::Null,
            Column::EncryptionStatus => of_object(|object| Value::Text(object.protection.kind.as_str().into())),
            Column::ObjectLockRetainUntilDate => {
                Value::time(object.and_then(|object| object.retention).map(|retention| retention.until))
            }
            Column::ObjectLockMode => {
                Value::text(object.and_then(|object| object.retention).map(|retention| match retention.mode {
                    RetentionMode::Governance => "GOVERNANCE",
                    RetentionMode::Compliance => "COMPLIANCE",
                }))
            }
            Column::ObjectLockLegalHoldStatus => {
                Value::text(object.and_then(|object| object.legal_hold).map(|held| if held { "ON" } else { "OFF" }))
            }
            Column::BucketKeyStatus => match object.filter(|object| object.protection.kind == SseKind::Kms) {
                Some(object) => {
                    let envelope = Envelope::from_bytes(&object.envelope)?;
                    let uses = envelope.kms().is_some_and(KmsProtection::uses_bucket_key);
                    Value::Text(if uses { "ENABLED" } else { "DISABLED" }.into())
                }
                None => Value::Null,
            },
            Column::ChecksumAlgorithm => {
                of_object(|object| Value::text(object.checksum_kind.as_ref().map(|kind| kind.algorithm.clone())))
            }
            Column::ObjectOwner => {
                let owner = self.object_owner(making.source, object.and_then(|object| object.owner.as_deref()));
                Value::text(owner.map(|account| account.canonical_id.clone()))
            }
            Column::LifecycleExpirationDate => Value::time(match (object, &making.rules) {
                (Some(object), Some(rules)) if *is_current => {
                    let subject = Subject { key, size: Some(object.size), tags: &object.tags };
                    rules.expiry(&subject, object.modified, self.settings.calendar).map(|due| due.at)
                }
                _ => None,
            }),
        })
    }
}
