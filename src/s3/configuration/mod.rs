//! Bucket configurations: what is put, checked, kept, given back and removed, of every kind, by one table.
//!
//! A kind is a [`Row`]: its operations, its document's root element, how a document is parsed, and what is answered where
//! there is none. A `parse` function judges a document as AWS does and returns the canonical form of what is inside its root
//! element; that is kept (`store::configuration`), given back, and read by whoever acts on it, with [`S3::configured`].

mod kept;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode};

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result};
use super::headers::require_digest;
use super::list::{decode_token, encode_token};
use super::operation::Operation;
use super::render;
use super::service::{S3, no_content, no_such_bucket};
use super::xml::XmlWriter;
use crate::iam::Permit;
use crate::store::configuration::{
    ConfigurationPut, delete_configuration, put_configuration, read_configuration, read_configurations,
};
use crate::store::schema::{ConfigurationKind as Kind, ConfigurationRecord};
use crate::wire::{RequestBody, ResponseBody};

/// Longest document of most kinds, in bytes. (S3 API reference, PutBucketCors.)
pub(super) const MAX_DOCUMENT: usize = 64 * 1024;
/// Most configurations of a kind with ids. (S3 API reference, PutBucketMetricsConfiguration.)
const MAX_CONFIGURATIONS: i64 = 1000;
/// Configurations in one page of a listing. (S3 API reference, ListBucketMetricsConfigurations.)
const PAGE: usize = 100;
/// Longest id.
const MAX_ID: usize = 64;
/// Configurations that are kept parsed, of each kind.
const PARSED: usize = 4096;

/// A document that was put.
pub(super) struct PutDocument<'a> {
    /// The bucket it is for.
    pub bucket: &'a Bucket,
    /// The id that the request names; empty for kinds without ids.
    pub id: &'a str,
    /// As it came.
    pub document: &'a [u8],
}

/// What is answered where there is no configuration.
#[derive(Clone, Copy)]
enum Absent {
    /// This error, naming the bucket.
    Refused(ErrorCode),
    /// A document that holds this.
    Contents(&'static str),
}

/// What an operation does to a configuration.
#[derive(Clone, Copy)]
enum Verb {
    Put,
    Get,
    Delete,
    List(&'static str),
}

/// A kind of configuration.
struct Row {
    kind: Kind,
    root: &'static str,
    parse: fn(&PutDocument<'_>) -> Result<String>,
    put: Operation,
    get: Operation,
    delete: Option<Operation>,
    /// Kinds with ids: the operation that lists them, and the root element of its answer.
    list: Option<(Operation, &'static str)>,
    absent: Absent,
    longest: usize,
    needs_digest: bool,
    put_status: StatusCode,
}

impl Row {
    const fn new(
        kind: Kind,
        root: &'static str,
        (put, get): (Operation, Operation),
        parse: fn(&PutDocument<'_>) -> Result<String>,
    ) -> Self {
        Self {
            kind,
            root,
            parse,
            put,
            get,
            delete: None,
            list: None,
            absent: Absent::Contents(""),
            longest: MAX_DOCUMENT,
            needs_digest: false,
            put_status: StatusCode::OK,
        }
    }

    const fn deleted_by(mut self, operation: Operation) -> Self {
        self.delete = Some(operation);
        self
    }

    /// Of this kind a bucket has several, by id.
    const fn listed_by(mut self, operation: Operation, root: &'static str) -> Self {
        self.list = Some((operation, root));
        self.absent = Absent::Refused(ErrorCode::NoSuchConfiguration);
        self.put_status = StatusCode::NO_CONTENT;
        self
    }

    const fn or_refuse(mut self, code: ErrorCode) -> Self {
        self.absent = Absent::Refused(code);
        self
    }

    const fn or(mut self, contents: &'static str) -> Self {
        self.absent = Absent::Contents(contents);
        self
    }

    /// A put must bring a Content-MD5 or checksum.
    const fn with_digest(mut self) -> Self {
        self.needs_digest = true;
        self
    }

    fn absence(&self, bucket: &Bucket) -> Result<&'static str> {
        match self.absent {
            // Of the kinds that have ids, the bucket is not told. (Recorded on AWS, `test_get_bucket_metrics_configuration_not_exist`.)
            Absent::Refused(code) if self.list.is_some() => Err(code.into()),
            Absent::Refused(code) => Err(code.with("BucketName", &bucket.name)),
            Absent::Contents(contents) => Ok(contents),
        }
    }
}

/// The kinds that are served.
static ROWS: &[Row] = &[
    // What is put of these three is judged against more than itself: see their own modules.
    Row::new(
        Kind::Notification,
        super::notification::ROOT,
        (Operation::PutBucketNotificationConfiguration, Operation::GetBucketNotificationConfiguration),
        elsewhere,
    ),
    Row::new(
        Kind::Replication,
        super::replication::ROOT,
        (Operation::PutBucketReplication, Operation::GetBucketReplication),
        elsewhere,
    )
    .deleted_by(Operation::DeleteBucketReplication)
    .or_refuse(ErrorCode::ReplicationConfigurationNotFound),
    Row::new(
        Kind::Logging,
        super::access_log::ROOT,
        (Operation::PutBucketLogging, Operation::GetBucketLogging),
        elsewhere,
    ),
    Row::new(
        Kind::Website,
        "WebsiteConfiguration",
        (Operation::PutBucketWebsite, Operation::GetBucketWebsite),
        super::website::canonical,
    )
    .deleted_by(Operation::DeleteBucketWebsite)
    .or_refuse(ErrorCode::NoSuchWebsiteConfiguration),
    Row::new(
        Kind::Cors,
        "CORSConfiguration",
        (Operation::PutBucketCors, Operation::GetBucketCors),
        super::cors::canonical,
    )
    .deleted_by(Operation::DeleteBucketCors)
    .with_digest()
    .or_refuse(ErrorCode::NoSuchCorsConfiguration),
    Row::new(
        Kind::Accelerate,
        "AccelerateConfiguration",
        (Operation::PutBucketAccelerateConfiguration, Operation::GetBucketAccelerateConfiguration),
        kept::accelerate,
    ),
    Row::new(
        Kind::RequestPayment,
        "RequestPaymentConfiguration",
        (Operation::PutBucketRequestPayment, Operation::GetBucketRequestPayment),
        kept::request_payment,
    )
    .or("<Payer>BucketOwner</Payer>"),
    Row::new(Kind::Abac, "AbacStatus", (Operation::PutBucketAbac, Operation::GetBucketAbac), kept::abac)
        .or("<Status>Disabled</Status>"),
    Row::new(
        Kind::Analytics,
        "AnalyticsConfiguration",
        (Operation::PutBucketAnalyticsConfiguration, Operation::GetBucketAnalyticsConfiguration),
        kept::analytics,
    )
    .deleted_by(Operation::DeleteBucketAnalyticsConfiguration)
    .listed_by(Operation::ListBucketAnalyticsConfigurations, "ListBucketAnalyticsConfigurationsResult"),
    Row::new(
        Kind::Metrics,
        "MetricsConfiguration",
        (Operation::PutBucketMetricsConfiguration, Operation::GetBucketMetricsConfiguration),
        kept::metrics,
    )
    .deleted_by(Operation::DeleteBucketMetricsConfiguration)
    .listed_by(Operation::ListBucketMetricsConfigurations, "ListMetricsConfigurationsResult"),
    Row::new(
        Kind::Inventory,
        "InventoryConfiguration",
        (Operation::PutBucketInventoryConfiguration, Operation::GetBucketInventoryConfiguration),
        super::inventory::canonical,
    )
    .deleted_by(Operation::DeleteBucketInventoryConfiguration)
    .listed_by(Operation::ListBucketInventoryConfigurations, "ListInventoryConfigurationsResult"),
    Row::new(
        Kind::IntelligentTiering,
        "IntelligentTieringConfiguration",
        (Operation::PutBucketIntelligentTieringConfiguration, Operation::GetBucketIntelligentTieringConfiguration),
        kept::intelligent_tiering,
    )
    .deleted_by(Operation::DeleteBucketIntelligentTieringConfiguration)
    .listed_by(Operation::ListBucketIntelligentTieringConfigurations, "ListIntelligentTieringConfigurationsResult"),
];

/// Stands where a module of its own judges what is put.
fn elsewhere(_: &PutDocument<'_>) -> Result<String> {
    Err(ErrorCode::NotImplemented.into())
}

fn find(operation: Operation) -> Option<(&'static Row, Verb)> {
    ROWS.iter().find_map(|row| {
        let verb = match operation {
            _ if operation == row.put => Verb::Put,
            _ if operation == row.get => Verb::Get,
            _ if row.delete == Some(operation) => Verb::Delete,
            _ => row.list.filter(|(list, _)| *list == operation).map(|(_, root)| Verb::List(root))?,
        };
        Some((row, verb))
    })
}

impl S3 {
    /// Carries out an operation on a configuration.
    ///
    /// # Errors
    /// `NotImplemented` if it is on none.
    pub(super) async fn on_configuration(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let (row, verb) = find(call.row.operation).ok_or(ErrorCode::NotImplemented)?;
        let id = match (row.list, verb) {
            (None, _) | (_, Verb::List(_)) => None,
            (Some(_), _) => Some(configuration_id(call)?),
        };
        match verb {
            Verb::Put => {
                let document = self.read_document(call, &call.headers, body, row.longest).await?;
                self.put_configuration(call, bucket, row, id, &document).await
            }
            Verb::Get => {
                let record = read_configuration(&*self.store, &bucket.record, row.kind, id).await?;
                Ok(render::document(match record {
                    Some(record) => XmlWriter::document_around(row.root, &record.document),
                    None => XmlWriter::document_around(row.root, row.absence(bucket)?),
                }))
            }
            Verb::Delete => {
                let removed = delete_configuration(&*self.store, &bucket.record, row.kind, id).await?;
                if !removed && id.is_some() {
                    row.absence(bucket)?;
                }
                Ok(no_content())
            }
            Verb::List(root) => self.list_configurations(call, bucket, row, root).await,
        }
    }

    /// Puts a configuration whose document has been read, and judged.
    ///
    /// # Errors
    /// What is wrong with it; `NotImplemented` if the operation puts none.
    pub(super) async fn put_document(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        document: &[u8],
    ) -> Result<Response<ResponseBody>> {
        let (row, _) = find(call.row.operation).ok_or(ErrorCode::NotImplemented)?;
        let id = row.list.map(|_| configuration_id(call)).transpose()?;
        self.put_configuration(call, bucket, row, id, document).await
    }

    async fn put_configuration(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        row: &Row,
        id: Option<&str>,
        document: &[u8],
    ) -> Result<Response<ResponseBody>> {
        if row.needs_digest {
            require_digest(&call.headers)?;
        }
        if document.is_empty() {
            return Err(ErrorCode::MissingRequestBody.into());
        }
        let contents = (row.parse)(&PutDocument { bucket, id: id.unwrap_or_default(), document })?;
        self.keep_configuration(bucket, row.kind, id, contents).await?;
        Ok(render::empty(row.put_status))
    }

    /// Keeps `contents`, canonical, as a configuration of the bucket; empty contents are none.
    ///
    /// # Errors
    /// `NoSuchBucket`, `TooManyConfigurations`.
    pub(super) async fn keep_configuration(
        &self,
        bucket: &Bucket,
        kind: Kind,
        id: Option<&str>,
        contents: String,
    ) -> Result<()> {
        if contents.is_empty() {
            delete_configuration(&*self.store, &bucket.record, kind, id).await?;
            return Ok(());
        }
        let record = ConfigurationRecord { document: contents, modified: self.clock.now().as_millisecond() };
        let named = (bucket.name.as_str(), &*bucket.record);
        match put_configuration(&*self.store, named, kind, id, MAX_CONFIGURATIONS, &record).await? {
            ConfigurationPut::Kept => Ok(()),
            ConfigurationPut::NoBucket => Err(no_such_bucket(&bucket.name)),
            ConfigurationPut::TooMany => Err(ErrorCode::TooManyConfigurations.into()),
        }
    }

    async fn list_configurations(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        row: &Row,
        root: &'static str,
    ) -> Result<Response<ResponseBody>> {
        // An empty token is none, and is told again all the same.
        let token = call.query.value("continuation-token");
        let after = match token {
            None | Some("") => String::new(),
            Some(token) => decode_token(token).ok_or(ErrorCode::MalformedContinuationToken)?,
        };
        let mut page = read_configurations(&*self.store, &bucket.record, row.kind, &after, PAGE + 1).await?;
        let truncated = page.len() > PAGE;
        page.truncate(PAGE);
        Ok(render::document(XmlWriter::document(root, |xml| {
            for (_, record) in &page {
                xml.element_around(row.root, &record.document);
            }
            xml.text("IsTruncated", truncated);
            xml.optional("ContinuationToken", token);
            xml.optional("NextContinuationToken", page.last().filter(|_| truncated).map(|(id, _)| encode_token(id)));
        })))
    }

    /// The bucket's configuration of this kind, parsed by `read` unless `parsed` still has it.
    ///
    /// # Errors
    /// Those of `read`, which reads what a `parse` function made.
    pub(super) async fn configured<T>(
        &self,
        bucket: &Bucket,
        kind: Kind,
        parsed: &Parsed<T>,
        read: impl FnOnce(&str) -> Result<T> + Send,
    ) -> Result<Option<Arc<T>>> {
        let record = read_configuration(&*self.store, &bucket.record, kind, None).await?;
        record.map(|record| parsed.obtain(bucket.record.id, record.document, read)).transpose()
    }
}

/// Configurations of one kind, parsed; each as long as its bucket has it.
pub(super) struct Parsed<T>(Mutex<ByBucket<T>>);

/// By the bucket's id: the stored text, and what it was parsed into.
type ByBucket<T> = HashMap<[u8; 16], (String, Arc<T>)>;

impl<T> Default for Parsed<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Parsed<T> {
    fn obtain(&self, bucket: [u8; 16], document: String, read: impl FnOnce(&str) -> Result<T>) -> Result<Arc<T>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, parsed)) = kept.get(&bucket).filter(|(text, _)| *text == document) {
            return Ok(Arc::clone(parsed));
        }
        let parsed = Arc::new(read(&document)?);
        if kept.len() >= PARSED {
            kept.clear();
        }
        kept.insert(bucket, (document, Arc::clone(&parsed)));
        Ok(parsed)
    }
}

/// The id of the configuration that the request is about. (S3 API reference, PutBucketMetricsConfiguration.)
fn configuration_id<'c>(call: &'c Call<'_>) -> Result<&'c str> {
    let id = call.query.value("id").unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(id);
    }
    Err(ErrorCode::InvalidConfigurationId.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::s3::operation::{BodyKind, Offer};

    /// A bucket of this name, without anything.
    pub(in crate::s3) fn bucket(name: &str) -> Bucket {
        let record = crate::store::schema::BucketRecord::new([1; 16], "000000000000", 0, "us-east-1");
        let account_block = crate::store::schema::PublicAccessBlock::NONE;
        Bucket { name: name.to_owned(), record: Arc::new(record), account_block }
    }

    #[test]
    fn every_row_is_offered_by_the_table_of_operations() {
        for row in ROWS {
            let listed = row.list.map(|(operation, _)| operation);
            for operation in [Some(row.put), Some(row.get), row.delete, listed].into_iter().flatten() {
                assert_eq!(operation.row().offer, Offer::Served, "{operation:?}");
                assert_eq!(find(operation).map(|(found, _)| found.kind), Some(row.kind), "{operation:?}");
            }
            assert_eq!(row.put.row().body, BodyKind::Xml, "{:?}", row.put);
        }
        assert!(find(Operation::GetObject).is_none());
    }

    #[test]
    fn a_configuration_is_parsed_once_while_it_stays_the_same() {
        let parsed = Parsed::default();
        let read = |text: &str| Ok(text.len());
        let never = |_: &str| -> Result<usize> { panic!("read again") };
        assert_eq!(*parsed.obtain([1; 16], "abc".to_owned(), read).unwrap(), 3);
        assert_eq!(*parsed.obtain([1; 16], "abc".to_owned(), never).unwrap(), 3);
        assert_eq!(*parsed.obtain([1; 16], "ab".to_owned(), read).unwrap(), 2);
        assert_eq!(*parsed.obtain([2; 16], "ab".to_owned(), read).unwrap(), 2);
    }
}
