//! The table of S3 operations: routing, IAM action, audit name, metric label and body policy all read it.
//!
//! `tests/clients/test_model.py` holds it against the model that AWS publishes with botocore: every operation there is
//! in this table, served or refused (501 `NotImplemented`), or listed by that test with the reason why it has no row.

use http::{HeaderMap, Method};

use super::error::Result;
use super::request::{Query, TargetKind};
use super::sub_resource::{SubResource, SubResources, check_version};

/// What picks a row among those of one method and target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Selector {
    /// The query has this key (`"uploads"`), with this value if one is given (`"list-type=2"`).
    Query(&'static str),
    /// The query has a value for this key.
    Value(&'static str),
    /// The request has this header.
    Header(&'static str),
}

/// Whether an operation is offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// It is.
    Served,
    /// It answers 501 `NotImplemented`.
    Refused,
}

/// What an operation does with the request's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyKind {
    /// It has none; bytes sent all the same are ignored, as AWS does.
    Empty,
    /// A small document, read whole.
    Xml,
    /// Object data.
    Stream,
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// Its name in AWS's model.
    pub name: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// What the path names.
    pub target: TargetKind,
    /// Whether it is offered.
    pub offer: Offer,
    /// What it reads.
    pub body: BodyKind,
    /// The IAM action that must be allowed.
    pub action: &'static str,
    /// The one that must be allowed instead where the request names a version.
    pub version_action: Option<&'static str>,
    /// What must be present for the row to apply. Rows with more selectors stand first.
    pub selectors: &'static [Selector],
}

macro_rules! selector {
    (query $key:literal) => {
        Selector::Query($key)
    };
    (value $key:literal) => {
        Selector::Value($key)
    };
    (header $name:literal) => {
        Selector::Header($name)
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

macro_rules! operations {
    ($($name:ident $method:ident $target:ident $offer:ident $body:ident $action:literal
       [$($kind:ident $selector:literal),*] $(version $version:literal)?;)*) => {
        /// An S3 operation, named as in AWS's model.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[expect(missing_docs, reason = "the names are AWS's own")]
        pub enum Operation { $($name,)* }

        /// Every operation.
        pub static TABLE: &[Row] = &[$(Row {
            operation: Operation::$name,
            name: stringify!($name),
            method: Method::$method,
            target: TargetKind::$target,
            offer: Offer::$offer,
            body: BodyKind::$body,
            action: $action,
            version_action: optional!($($version)?),
            selectors: &[$(selector!($kind $selector)),*],
        },)*];
    };
}

#[rustfmt::skip]
operations! {
//  operation                                       method target  offer   body   IAM action                             selectors
    ListBuckets                                     GET    Service Served  Empty  "s3:ListAllMyBuckets"                    [];
    DeleteAccountPublicAccessBlock                  DELETE AccountBlock Served Empty "s3:PutAccountPublicAccessBlock"      [];
    GetAccountPublicAccessBlock                     GET    AccountBlock Served Empty "s3:GetAccountPublicAccessBlock"      [];
    PutAccountPublicAccessBlock                     PUT    AccountBlock Served Xml   "s3:PutAccountPublicAccessBlock"      [];
    UntagResource                                   DELETE ResourceTags Served Empty "s3:UntagResource"                    [];
    ListTagsForResource                             GET    ResourceTags Served Empty "s3:ListTagsForResource"              [];
    TagResource                                     POST   ResourceTags Served Xml   "s3:TagResource"                      [];
    DeleteBucketAnalyticsConfiguration              DELETE Bucket  Served  Empty  "s3:PutAnalyticsConfiguration"           [query "analytics"];
    DeleteBucketIntelligentTieringConfiguration     DELETE Bucket  Served  Empty  "s3:PutIntelligentTieringConfiguration"  [query "intelligent-tiering"];
    DeleteBucketInventoryConfiguration              DELETE Bucket  Served  Empty  "s3:PutInventoryConfiguration"           [query "inventory"];
    DeleteBucketMetricsConfiguration                DELETE Bucket  Served  Empty  "s3:PutMetricsConfiguration"             [query "metrics"];
    DeleteBucketCors                                DELETE Bucket  Served  Empty  "s3:PutBucketCORS"                       [query "cors"];
    DeleteBucketEncryption                          DELETE Bucket  Served  Empty  "s3:PutEncryptionConfiguration"          [query "encryption"];
    DeleteBucketLifecycle                           DELETE Bucket  Served  Empty  "s3:PutLifecycleConfiguration"           [query "lifecycle"];
    DeleteBucketMetadataConfiguration               DELETE Bucket  Refused Empty  "s3:DeleteBucketMetadataConfiguration"   [query "metadataConfiguration"];
    DeleteBucketMetadataTableConfiguration          DELETE Bucket  Refused Empty  "s3:DeleteBucketMetadataTableConfiguration" [query "metadataTable"];
    DeleteBucketOwnershipControls                   DELETE Bucket  Served  Empty  "s3:PutBucketOwnershipControls"          [query "ownershipControls"];
    DeleteBucketPolicy                              DELETE Bucket  Served  Empty  "s3:DeleteBucketPolicy"                  [query "policy"];
    DeleteBucketReplication                         DELETE Bucket  Served  Empty  "s3:PutReplicationConfiguration"         [query "replication"];
    DeleteBucketTagging                             DELETE Bucket  Served  Empty  "s3:PutBucketTagging"                    [query "tagging"];
    DeleteBucketWebsite                             DELETE Bucket  Served  Empty  "s3:DeleteBucketWebsite"                 [query "website"];
    DeletePublicAccessBlock                         DELETE Bucket  Served  Empty  "s3:PutBucketPublicAccessBlock"          [query "publicAccessBlock"];
    DeleteBucket                                    DELETE Bucket  Served  Empty  "s3:DeleteBucket"                        [];
    GetBucketAnalyticsConfiguration                 GET    Bucket  Served  Empty  "s3:GetAnalyticsConfiguration"           [query "analytics", value "id"];
    GetBucketIntelligentTieringConfiguration        GET    Bucket  Served  Empty  "s3:GetIntelligentTieringConfiguration"  [query "intelligent-tiering", value "id"];
    GetBucketInventoryConfiguration                 GET    Bucket  Served  Empty  "s3:GetInventoryConfiguration"           [query "inventory", value "id"];
    GetBucketMetricsConfiguration                   GET    Bucket  Served  Empty  "s3:GetMetricsConfiguration"             [query "metrics", value "id"];
    CreateSession                                   GET    Bucket  Refused Empty  "s3:CreateSession"                       [query "session"];
    GetBucketAbac                                   GET    Bucket  Served  Empty  "s3:GetBucketAbac"                       [query "abac"];
    GetBucketAccelerateConfiguration                GET    Bucket  Served  Empty  "s3:GetAccelerateConfiguration"          [query "accelerate"];
    GetBucketAcl                                    GET    Bucket  Served  Empty  "s3:GetBucketAcl"                        [query "acl"];
    GetBucketCors                                   GET    Bucket  Served  Empty  "s3:GetBucketCORS"                       [query "cors"];
    GetBucketEncryption                             GET    Bucket  Served  Empty  "s3:GetEncryptionConfiguration"          [query "encryption"];
    GetBucketLifecycleConfiguration                 GET    Bucket  Served  Empty  "s3:GetLifecycleConfiguration"           [query "lifecycle"];
    GetBucketLocation                               GET    Bucket  Served  Empty  "s3:GetBucketLocation"                   [query "location"];
    GetBucketLogging                                GET    Bucket  Served  Empty  "s3:GetBucketLogging"                    [query "logging"];
    GetBucketMetadataConfiguration                  GET    Bucket  Refused Empty  "s3:GetBucketMetadataConfiguration"      [query "metadataConfiguration"];
    GetBucketMetadataTableConfiguration             GET    Bucket  Refused Empty  "s3:GetBucketMetadataTableConfiguration" [query "metadataTable"];
    GetBucketNotificationConfiguration              GET    Bucket  Served  Empty  "s3:GetBucketNotification"               [query "notification"];
    GetBucketOwnershipControls                      GET    Bucket  Served  Empty  "s3:GetBucketOwnershipControls"          [query "ownershipControls"];
    GetBucketPolicy                                 GET    Bucket  Served  Empty  "s3:GetBucketPolicy"                     [query "policy"];
    GetBucketPolicyStatus                           GET    Bucket  Served  Empty  "s3:GetBucketPolicyStatus"               [query "policyStatus"];
    GetBucketReplication                            GET    Bucket  Served  Empty  "s3:GetReplicationConfiguration"         [query "replication"];
    GetBucketRequestPayment                         GET    Bucket  Served  Empty  "s3:GetBucketRequestPayment"             [query "requestPayment"];
    GetBucketTagging                                GET    Bucket  Served  Empty  "s3:GetBucketTagging"                    [query "tagging"];
    GetBucketVersioning                             GET    Bucket  Served  Empty  "s3:GetBucketVersioning"                 [query "versioning"];
    GetBucketWebsite                                GET    Bucket  Served  Empty  "s3:GetBucketWebsite"                    [query "website"];
    GetObjectLockConfiguration                      GET    Bucket  Served  Empty  "s3:GetBucketObjectLockConfiguration"    [query "object-lock"];
    GetPublicAccessBlock                            GET    Bucket  Served  Empty  "s3:GetBucketPublicAccessBlock"          [query "publicAccessBlock"];
    ListBucketAnalyticsConfigurations               GET    Bucket  Served  Empty  "s3:GetAnalyticsConfiguration"           [query "analytics"];
    ListBucketIntelligentTieringConfigurations      GET    Bucket  Served  Empty  "s3:GetIntelligentTieringConfiguration"  [query "intelligent-tiering"];
    ListBucketInventoryConfigurations               GET    Bucket  Served  Empty  "s3:GetInventoryConfiguration"           [query "inventory"];
    ListBucketMetricsConfigurations                 GET    Bucket  Served  Empty  "s3:GetMetricsConfiguration"             [query "metrics"];
    ListMultipartUploads                            GET    Bucket  Served  Empty  "s3:ListBucketMultipartUploads"          [query "uploads"];
    ListObjectVersions                              GET    Bucket  Served  Empty  "s3:ListBucketVersions"                  [query "versions"];
    ListObjectsV2                                   GET    Bucket  Served  Empty  "s3:ListBucket"                          [query "list-type=2"];
    ListObjects                                     GET    Bucket  Served  Empty  "s3:ListBucket"                          [];
    HeadBucket                                      HEAD   Bucket  Served  Empty  "s3:ListBucket"                          [];
    CreateBucketMetadataConfiguration               POST   Bucket  Refused Empty  "s3:CreateBucketMetadataConfiguration"   [query "metadataConfiguration"];
    CreateBucketMetadataTableConfiguration          POST   Bucket  Refused Empty  "s3:CreateBucketMetadataTableConfiguration" [query "metadataTable"];
    DeleteObjects                                   POST   Bucket  Served  Xml    "s3:DeleteObject"                        [query "delete"];
    PostObject                                      POST   Bucket  Served  Stream "s3:PutObject"                           [];
    PutBucketAnalyticsConfiguration                 PUT    Bucket  Served  Xml    "s3:PutAnalyticsConfiguration"           [query "analytics"];
    PutBucketIntelligentTieringConfiguration        PUT    Bucket  Served  Xml    "s3:PutIntelligentTieringConfiguration"  [query "intelligent-tiering"];
    PutBucketInventoryConfiguration                 PUT    Bucket  Served  Xml    "s3:PutInventoryConfiguration"           [query "inventory"];
    PutBucketMetricsConfiguration                   PUT    Bucket  Served  Xml    "s3:PutMetricsConfiguration"             [query "metrics"];
    PutBucketAbac                                   PUT    Bucket  Served  Xml    "s3:PutBucketAbac"                       [query "abac"];
    PutBucketAccelerateConfiguration                PUT    Bucket  Served  Xml    "s3:PutAccelerateConfiguration"          [query "accelerate"];
    PutBucketAcl                                    PUT    Bucket  Served  Xml    "s3:PutBucketAcl"                        [query "acl"];
    PutBucketCors                                   PUT    Bucket  Served  Xml    "s3:PutBucketCORS"                       [query "cors"];
    PutBucketEncryption                             PUT    Bucket  Served  Xml    "s3:PutEncryptionConfiguration"          [query "encryption"];
    PutBucketLifecycleConfiguration                 PUT    Bucket  Served  Xml    "s3:PutLifecycleConfiguration"           [query "lifecycle"];
    PutBucketLogging                                PUT    Bucket  Served  Xml    "s3:PutBucketLogging"                    [query "logging"];
    PutBucketNotificationConfiguration              PUT    Bucket  Served  Xml    "s3:PutBucketNotification"               [query "notification"];
    PutBucketOwnershipControls                      PUT    Bucket  Served  Xml    "s3:PutBucketOwnershipControls"          [query "ownershipControls"];
    PutBucketPolicy                                 PUT    Bucket  Served  Xml    "s3:PutBucketPolicy"                     [query "policy"];
    PutBucketReplication                            PUT    Bucket  Served  Xml    "s3:PutReplicationConfiguration"         [query "replication"];
    PutBucketRequestPayment                         PUT    Bucket  Served  Xml    "s3:PutBucketRequestPayment"             [query "requestPayment"];
    PutBucketTagging                                PUT    Bucket  Served  Xml    "s3:PutBucketTagging"                    [query "tagging"];
    PutBucketVersioning                             PUT    Bucket  Served  Xml    "s3:PutBucketVersioning"                 [query "versioning"];
    PutBucketWebsite                                PUT    Bucket  Served  Xml    "s3:PutBucketWebsite"                    [query "website"];
    PutObjectLockConfiguration                      PUT    Bucket  Served  Xml    "s3:PutBucketObjectLockConfiguration"    [query "object-lock"];
    PutPublicAccessBlock                            PUT    Bucket  Served  Xml    "s3:PutBucketPublicAccessBlock"          [query "publicAccessBlock"];
    UpdateBucketMetadataAnnotationTableConfiguration PUT    Bucket  Refused Empty  "s3:UpdateBucketMetadataAnnotationTableConfiguration" [query "metadataAnnotationTable"];
    UpdateBucketMetadataInventoryTableConfiguration PUT    Bucket  Refused Empty  "s3:UpdateBucketMetadataInventoryTableConfiguration" [query "metadataInventoryTable"];
    UpdateBucketMetadataJournalTableConfiguration   PUT    Bucket  Refused Empty  "s3:UpdateBucketMetadataJournalTableConfiguration" [query "metadataJournalTable"];
    CreateBucket                                    PUT    Bucket  Served  Xml    "s3:CreateBucket"                        [];
    AbortMultipartUpload                            DELETE Object  Served  Empty  "s3:AbortMultipartUpload"                [query "uploadId"];
    DeleteObjectAnnotation                          DELETE Object  Refused Empty  "s3:DeleteObjectAnnotation"              [query "annotation"];
    DeleteObjectTagging                             DELETE Object  Served  Empty  "s3:DeleteObjectTagging"                 [query "tagging"] version "s3:DeleteObjectVersionTagging";
    DeleteObject                                    DELETE Object  Served  Empty  "s3:DeleteObject"                        [] version "s3:DeleteObjectVersion";
    GetObjectAnnotation                             GET    Object  Refused Empty  "s3:GetObjectAnnotation"                 [query "annotation", query "annotationName"];
    GetObjectAcl                                    GET    Object  Served  Empty  "s3:GetObjectAcl"                        [query "acl"] version "s3:GetObjectVersionAcl";
    ListObjectAnnotations                           GET    Object  Refused Empty  "s3:ListObjectAnnotations"               [query "annotation"];
    GetObjectAttributes                             GET    Object  Served  Empty  "s3:GetObjectAttributes"                 [query "attributes"] version "s3:GetObjectVersionAttributes";
    GetObjectLegalHold                              GET    Object  Served  Empty  "s3:GetObjectLegalHold"                  [query "legal-hold"];
    GetObjectRetention                              GET    Object  Served  Empty  "s3:GetObjectRetention"                  [query "retention"];
    GetObjectTagging                                GET    Object  Served  Empty  "s3:GetObjectTagging"                    [query "tagging"] version "s3:GetObjectVersionTagging";
    GetObjectTorrent                                GET    Object  Refused Empty  "s3:GetObjectTorrent"                    [query "torrent"];
    ListParts                                       GET    Object  Served  Empty  "s3:ListMultipartUploadParts"            [query "uploadId"];
    GetObject                                       GET    Object  Served  Empty  "s3:GetObject"                           [] version "s3:GetObjectVersion";
    HeadObject                                      HEAD   Object  Served  Empty  "s3:GetObject"                           [] version "s3:GetObjectVersion";
    SelectObjectContent                             POST   Object  Refused Empty  "s3:GetObject"                           [query "select"];
    CompleteMultipartUpload                         POST   Object  Served  Xml    "s3:PutObject"                           [query "uploadId"];
    CreateMultipartUpload                           POST   Object  Served  Empty  "s3:PutObject"                           [query "uploads"];
    RestoreObject                                   POST   Object  Refused Empty  "s3:RestoreObject"                       [query "restore"];
    UploadPartCopy                                  PUT    Object  Served  Empty  "s3:PutObject"                           [header "x-amz-copy-source", query "partNumber", query "uploadId"];
    UploadPart                                      PUT    Object  Served  Stream "s3:PutObject"                           [query "partNumber", query "uploadId"];
    CopyObject                                      PUT    Object  Served  Empty  "s3:PutObject"                           [header "x-amz-copy-source"];
    PutObjectAnnotation                             PUT    Object  Refused Empty  "s3:PutObjectAnnotation"                 [query "annotation"];
    PutObjectAcl                                    PUT    Object  Served  Xml    "s3:PutObjectAcl"                        [query "acl"] version "s3:PutObjectVersionAcl";
    PutObjectLegalHold                              PUT    Object  Served  Xml    "s3:PutObjectLegalHold"                  [query "legal-hold"];
    PutObjectRetention                              PUT    Object  Served  Xml    "s3:PutObjectRetention"                  [query "retention"];
    PutObjectTagging                                PUT    Object  Served  Xml    "s3:PutObjectTagging"                    [query "tagging"] version "s3:PutObjectVersionTagging";
    RenameObject                                    PUT    Object  Refused Empty  "s3:PutObject"                           [query "renameObject"];
    UpdateObjectEncryption                          PUT    Object  Served  Xml    "s3:UpdateObjectEncryption"              [query "encryption"];
    PutObject                                       PUT    Object  Served  Stream "s3:PutObject"                           [];
}

/// The operations whose request can name a version.
const VERSIONED: &[Operation] = &[
    Operation::DeleteObject,
    Operation::DeleteObjectAnnotation,
    Operation::DeleteObjectTagging,
    Operation::GetObject,
    Operation::GetObjectAcl,
    Operation::GetObjectAnnotation,
    Operation::GetObjectAttributes,
    Operation::GetObjectLegalHold,
    Operation::GetObjectRetention,
    Operation::GetObjectTagging,
    Operation::HeadObject,
    Operation::ListObjectAnnotations,
    Operation::PutObjectAcl,
    Operation::PutObjectAnnotation,
    Operation::PutObjectLegalHold,
    Operation::PutObjectRetention,
    Operation::PutObjectTagging,
    Operation::RestoreObject,
    Operation::UpdateObjectEncryption,
    // Its path is a bucket's, and its form says what it is about.
    Operation::PostObject,
];

impl Operation {
    /// The operation that `method` on a `target` asks for. A bucket's may be asked for at a key's path.
    ///
    /// # Errors
    /// `MethodNotAllowed` if there is none, with what is allowed; `InvalidArgument`, `InvalidRequest` if the query contradicts
    /// itself.
    pub fn route(method: &Method, target: TargetKind, query: &Query, headers: &HeaderMap) -> Result<&'static Row> {
        let named = SubResources::read(method, target, query)?;
        let row = named
            .rows()
            .filter(|row| row.method == *method && named.admits(method))
            .find(|row| row.selectors.iter().all(|selector| selector.applies(query, headers)))
            .ok_or_else(|| named.refuse(method))?;
        check_version(row.operation, query)?;
        Ok(row)
    }

    /// Whether it can be about a version: the model has `versionId` in its query.
    pub fn takes_version(self) -> bool {
        VERSIONED.contains(&self)
    }

    /// The operation's row.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Row {
    /// The query's keys and, behind `=`, values that must be there.
    pub fn queries(&self) -> impl Iterator<Item = &'static str> {
        self.selectors.iter().filter_map(|selector| match selector {
            Selector::Query(key) | Selector::Value(key) => Some(*key),
            Selector::Header(_) => None,
        })
    }

    /// The headers that must be there.
    pub fn headers(&self) -> impl Iterator<Item = &'static str> {
        self.selectors.iter().filter_map(|selector| match selector {
            Selector::Header(name) => Some(*name),
            Selector::Query(_) | Selector::Value(_) => None,
        })
    }

    /// The sub-resources that it is about: none, one, or those of a part.
    pub fn sub_resources(&self) -> impl Iterator<Item = &'static str> {
        self.queries().filter(|key| SubResource::find(key).is_some())
    }

    /// Whether it is about the service, bucket or object itself.
    pub fn is_bare(&self) -> bool {
        self.queries().all(|key| key == "list-type=2")
    }
}

impl Selector {
    fn applies(self, query: &Query, headers: &HeaderMap) -> bool {
        match self {
            Self::Header(name) => headers.contains_key(name),
            Self::Value(key) => query.non_empty(key).is_some(),
            Self::Query(key) => match key.split_once('=') {
                Some((key, value)) => query.value(key) == Some(value),
                None => query.has(key),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::actions;

    #[expect(clippy::needless_pass_by_value, reason = "methods are constants here")]
    fn route(method: Method, target: TargetKind, query: &str) -> Option<Operation> {
        let routed = Operation::route(&method, target, &Query::parse(query).unwrap(), &HeaderMap::new());
        routed.ok().map(|row| row.operation)
    }

    #[test]
    fn rows_are_in_the_order_of_the_enum_and_the_most_selective_first() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.operation as usize, index);
            let less_selective_before = TABLE[..index].iter().any(|earlier| {
                earlier.method == row.method
                    && earlier.target == row.target
                    && earlier.selectors.len() < row.selectors.len()
            });
            assert!(!less_selective_before, "{} can never be reached", row.name);
        }
    }

    #[test]
    fn bucket_policies_can_speak_of_each_action() {
        let of_accounts = |row: &&Row| matches!(row.target, TargetKind::Service | TargetKind::AccountBlock);
        for row in TABLE.iter().filter(|row| row.offer == Offer::Served && !of_accounts(row)) {
            let known = |action| actions::ON_BUCKETS.contains(&action) || actions::ON_OBJECTS.contains(&action);
            assert!(known(row.action), "{}", row.action);
            assert!(row.version_action.is_none_or(known), "{}", row.name);
        }
    }

    #[test]
    fn queries_select() {
        assert_eq!(route(Method::GET, TargetKind::Bucket, ""), Some(Operation::ListObjects));
        assert_eq!(route(Method::GET, TargetKind::Bucket, "list-type=2&prefix=a"), Some(Operation::ListObjectsV2));
        assert_eq!(route(Method::GET, TargetKind::Bucket, "list-type=3"), Some(Operation::ListObjects));
        assert_eq!(route(Method::GET, TargetKind::Bucket, "uploads"), Some(Operation::ListMultipartUploads));
        assert_eq!(route(Method::PUT, TargetKind::Object, "partNumber=1&uploadId=x"), Some(Operation::UploadPart));
        assert_eq!(route(Method::PUT, TargetKind::Object, "encryption"), Some(Operation::UpdateObjectEncryption));
        assert_eq!(route(Method::GET, TargetKind::Object, "x-id=GetObject"), Some(Operation::GetObject));
        assert_eq!(route(Method::POST, TargetKind::Object, "uploads"), Some(Operation::CreateMultipartUpload));
        assert_eq!(route(Method::POST, TargetKind::Service, ""), None);
        assert_eq!(route(Method::POST, TargetKind::ResourceTags, ""), Some(Operation::TagResource));
        assert_eq!(route(Method::GET, TargetKind::Control, ""), None);
    }
}
