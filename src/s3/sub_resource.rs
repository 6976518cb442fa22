//! Sub-resources: the query keys that pick an operation, whatever their value, and what is answered where a request names
//! one that its method does not have.
//!
//! The table is closed, so that a request which names a sub-resource is never taken for one about the bucket or object
//! itself: `DELETE /bucket?logging` must not delete the bucket. What AWS does not know (`?x-id`, `?foo`) it passes by.

use std::sync::LazyLock;

use http::Method;

use super::error::{ErrorCode, Result, S3Error};
use super::operation::{Operation, Row, TABLE};
use super::request::{Query, TargetKind};

/// What a sub-resource is at a bucket's or a key's path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    /// The target's own; refusals call it so (`ResourceType`).
    Own(&'static str),
    /// The bucket's, which can be read at a key's path as well.
    OfBucket,
    /// Nothing. AWS passes it by; so do reads here, while no write is made of a request that means something else.
    Nothing,
}

/// A row of the table.
#[derive(Debug)]
pub struct SubResource {
    /// The query's key.
    pub key: &'static str,
    at_bucket: At,
    at_object: At,
}

macro_rules! sub_resources {
    ($($key:literal $bucket:ident$(($bucket_type:literal))? $object:ident$(($object_type:literal))?;)*) => {
        /// Every sub-resource of S3, by key.
        pub static SUB_RESOURCES: &[SubResource] = &[$(SubResource {
            key: $key,
            at_bucket: At::$bucket$(($bucket_type))?,
            at_object: At::$object$(($object_type))?,
        },)*];
    };
}

#[rustfmt::skip]
sub_resources! {
//  key                       at a bucket's path                                        at a key's path
    "abac"                    Own("BUCKET_ABAC")                                        Nothing;
    "accelerate"              Own("ACCELERATE")                                         OfBucket;
    "acl"                     Own("ACL")                                                Own("ACL");
    "analytics"               Own("ANALYTICS")                                          Nothing;
    "annotation"              Nothing                                                   Own("OBJECT_ANNOTATIONS");
    "attributes"              Nothing                                                   Own("OBJECT_ATTRIBUTES");
    "cors"                    Own("CORS")                                               OfBucket;
    "delete"                  Own("MULTI_OBJECT_DELETE")                                Own("MULTI_OBJECT_DELETE");
    "encryption"              Own("ENCRYPTION")                                         Own("OBJECT_ENCRYPTION");
    "intelligent-tiering"     Own("INTELLIGENT_TIERING")                                Nothing;
    "inventory"               Own("INVENTORY")                                          OfBucket;
    "legal-hold"              Nothing                                                   Own("OBJECT_LOCK_LEGALHOLD");
    "lifecycle"               Own("LIFECYCLE")                                          OfBucket;
    "location"                Own("LOCATION")                                           OfBucket;
    "logging"                 Own("LOGGING_STATUS")                                     OfBucket;
    "metadataAnnotationTable" Own("BUCKET_METADATA_ANNOTATION_TABLE_CONFIGURATION")     Nothing;
    "metadataConfiguration"   Own("BUCKET_METADATA_CONFIGURATION")                      Nothing;
    "metadataInventoryTable"  Own("BUCKET_METADATA_INVENTORY_TABLE_CONFIGURATION")      Nothing;
    "metadataJournalTable"    Own("BUCKET_METADATA_JOURNAL_TABLE_CONFIGURATION")        Nothing;
    "metadataTable"           Own("BUCKET_METADATA_TABLE_CONFIGURATION")                Nothing;
    "metrics"                 Own("METRICS")                                            Nothing;
    "notification"            Own("NOTIFICATION")                                       OfBucket;
    "object-lock"             Own("OBJECT_LOCK_CONFIGURATION")                          Nothing;
    "ownershipControls"       Own("OWNERSHIP_CONTROLS")                                 Nothing;
    "partNumber"              Own("PART")                                               Own("PART");
    "policy"                  Own("BUCKETPOLICY")                                       OfBucket;
    "policyStatus"            Own("POLICY_STATUS")                                      Nothing;
    "publicAccessBlock"       Own("PUBLIC_ACCESS_BLOCK")                                Nothing;
    "renameObject"            Nothing                                                   Own("RENAME_OBJECT");
    "replication"             Own("REPLICATION")                                        OfBucket;
    "requestPayment"          Own("REQUEST_PAYMENT")                                    OfBucket;
    "restore"                 Own("RESTORE")                                            Own("RESTORE");
    "retention"               Nothing                                                   Own("OBJECT_LOCK_RETENTION");
    "select"                  Nothing                                                   Own("SELECT");
    "session"                 Own("SESSION")                                            Nothing;
    "tagging"                 Own("TAGGING")                                            Own("OBJECT_TAGGING");
    "torrent"                 Own("TORRENT")                                            Own("TORRENT");
    "uploadId"                Own("UPLOAD")                                             Own("UPLOAD");
    "uploads"                 Own("UPLOADS")                                            Own("UPLOADS");
    "versioning"              Own("VERSIONING")                                         OfBucket;
    "versions"                Own("BUCKETVERSIONS")                                     OfBucket;
    "website"                 Own("WEBSITE")                                            OfBucket;
}

/// The two keys that name one thing together: a part of an upload.
const PART: [&str; 2] = ["partNumber", "uploadId"];
/// The order in which `Allow` names methods.
static METHODS: [Method; 5] = [Method::HEAD, Method::DELETE, Method::POST, Method::GET, Method::PUT];

impl SubResource {
    /// The sub-resource of this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        SUB_RESOURCES.binary_search_by_key(&key, |row| row.key).ok().map(|index| &SUB_RESOURCES[index])
    }

    const fn at(&self, target: TargetKind) -> At {
        match target {
            TargetKind::Service | TargetKind::ResourceTags | TargetKind::AccountBlock | TargetKind::Control => {
                At::Nothing
            }
            TargetKind::Bucket => self.at_bucket,
            TargetKind::Object => self.at_object,
        }
    }

    /// What refusals and access logs call it at `target`, or where it has its place.
    pub fn resource_type(&self, target: TargetKind) -> &'static str {
        match (self.at(target), self.at_bucket, self.at_object) {
            (At::Own(name), ..) | (_, At::Own(name), _) | (_, _, At::Own(name)) => name,
            _ => "OBJECT",
        }
    }
}

/// The sub-resources that a request names, by key.
pub struct SubResources {
    target: TargetKind,
    /// Those that mean something at the target.
    own: Vec<&'static SubResource>,
    /// The first of the others.
    other: Option<&'static SubResource>,
}

impl SubResources {
    /// Reads them off a query.
    ///
    /// # Errors
    /// `InvalidArgument` for two that do not go together, a version where the bucket is meant, and a website's value;
    /// `InvalidRequest` for a part number that belongs to nothing.
    pub fn read(method: &Method, target: TargetKind, query: &Query) -> Result<Self> {
        let mut named = Self { target, own: Vec::new(), other: None };
        for (key, _) in query.pairs() {
            match SubResource::find(key) {
                Some(found) if found.at(target) == At::Nothing => named.other = named.other.or(Some(found)),
                Some(found) => named.own.push(found),
                None => {}
            }
        }
        named.own.sort_unstable_by_key(|row| row.key);
        named.own.dedup_by_key(|row| row.key);
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if target == TargetKind::Object && reads && named.is(&["partNumber"]) {
            // The part of an object that is read.
            named.own.clear();
        }
        named.judge(query, method)?;
        Ok(named)
    }

    /// Whether it is exactly these.
    pub fn is(&self, keys: &[&str]) -> bool {
        self.own.iter().map(|row| row.key).eq(keys.iter().copied())
    }

    /// Whether the operation of `row` is about exactly these.
    fn picks(&self, row: &Row, sub_resources: &[&str]) -> bool {
        let target = if self.is_of_bucket() { TargetKind::Bucket } else { self.target };
        row.target == target
            && sub_resources.len() == self.own.len()
            && sub_resources.iter().all(|key| self.own.iter().any(|named| named.key == *key))
    }

    /// The rows of the table that are about exactly these.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        /// The sub-resources of each row.
        static OF_ROWS: LazyLock<Vec<Vec<&'static str>>> =
            LazyLock::new(|| TABLE.iter().map(|row| row.sub_resources().collect()).collect());
        TABLE.iter().zip(&*OF_ROWS).filter(|(row, keys)| self.picks(row, keys)).map(|(row, _)| row)
    }

    /// Whether a bucket's sub-resource is named at a key's path.
    fn is_of_bucket(&self) -> bool {
        matches!(self.own[..], [named] if named.at(self.target) == At::OfBucket)
    }

    /// Whether `method` may be carried out by one of [`Self::rows`], should it have this method.
    pub fn admits(&self, method: &Method) -> bool {
        match self.other {
            // At a key's path, a bucket's sub-resources can be read, and only read.
            _ if self.is_of_bucket() => *method == Method::GET && !self.is(&["logging"]) && !self.is(&["versions"]),
            Some(_) if self.own.is_empty() => matches!(*method, Method::GET | Method::HEAD),
            _ => true,
        }
    }

    fn judge(&self, query: &Query, method: &Method) -> Result<()> {
        let keys: Vec<&str> = self.own.iter().map(|named| named.key).collect();
        if keys.len() > 1 && keys != PART {
            let message = format!("Conflicting query string parameters: {}", keys.join(", "));
            return Err(S3Error::argument("ResourceType", keys[0], message));
        }
        if self.target == TargetKind::Object && query.has("annotationName") && !query.has("annotation") {
            return Err(S3Error::argument("ResourceType", "annotationName", "Unexpected query string parameter"));
        }
        match (self.target, &keys[..]) {
            (TargetKind::Bucket, ["partNumber"]) => {
                Err(S3Error::new(ErrorCode::InvalidRequest, "Object must have a valid key name."))
            }
            (TargetKind::Object, ["partNumber"]) => {
                let message = "This operation does not accept partNumber without uploadId";
                Err(S3Error::argument("partNumber", query.value("partNumber").unwrap_or_default(), message))
            }
            (_, ["website"]) if query.non_empty("website").is_some() => {
                let value = query.value("website").unwrap_or_default();
                Err(S3Error::argument("website", value, "The website parameter must not have a value"))
            }
            // A form's own fields say what it is about.
            (TargetKind::Bucket, []) if *method == Method::POST => Ok(()),
            (TargetKind::Bucket, keys) => match query.value("versionId") {
                Some(id) if keys == ["acl"] && *method != Method::DELETE => {
                    Err(S3Error::argument("versionId", id, "Invalid version id specified"))
                }
                Some(id) => Err(refuse_version(id)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Why there is no operation that `method` could carry out.
    pub fn refuse(&self, method: &Method) -> S3Error {
        match (self.target, self.own.first().map(|named| named.key)) {
            (TargetKind::Object, Some("logging")) if *method == Method::GET => {
                return ErrorCode::NoLoggingStatusForKey.into();
            }
            (TargetKind::Object, Some("versions")) if *method == Method::GET => {
                let message = "There is no such thing as the ?versions sub-resource for a key";
                return S3Error::new(ErrorCode::InvalidRequest, message);
            }
            (TargetKind::Object, Some("uploads")) if *method == Method::GET => {
                let message = "Key is not expected for the GET method ?uploads subresource";
                return S3Error::new(ErrorCode::InvalidRequest, message);
            }
            (TargetKind::Bucket, Some("restore")) if *method == Method::POST => {
                return ErrorCode::UserKeyMustBeSpecified.into();
            }
            (TargetKind::Bucket, Some("uploadId"))
                if matches!(*method, Method::GET | Method::POST | Method::DELETE) =>
            {
                return S3Error::new(ErrorCode::InvalidRequest, "A key must be specified");
            }
            _ => {}
        }
        let resource_type = match (&self.own[..], self.other) {
            ([named, ..], _) => named.resource_type(self.target),
            ([], Some(other)) if matches!(self.target, TargetKind::Bucket | TargetKind::Object) => {
                other.resource_type(self.target)
            }
            ([], _) => self.target.resource_type(),
        };
        let allowed: Vec<&str> = METHODS
            .iter()
            .filter(|method| self.admits(method) && self.rows().any(|row| row.method == **method))
            .map(Method::as_str)
            .collect();
        ErrorCode::MethodNotAllowed
            .with("Method", method.as_str())
            .with("ResourceType", resource_type)
            .with_header("allow", allowed.join(", "))
    }
}

/// Refuses a version of what has none, or of what is always the newest.
fn refuse_version(id: &str) -> S3Error {
    S3Error::argument("versionId", id, "This operation does not accept a version-id.")
}

/// Refuses a version where `operation` takes none. Some say of a version that it is none; those read it themselves.
///
/// # Errors
/// `InvalidArgument`.
pub fn check_version(operation: Operation, query: &Query) -> Result<()> {
    match query.value("versionId") {
        Some(id) if !operation.takes_version() => Err(refuse_version(id)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::s3::operation::Offer;

    const TARGETS: [TargetKind; 3] = [TargetKind::Service, TargetKind::Bucket, TargetKind::Object];

    fn methods() -> [Method; 6] {
        [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE, Method::PATCH]
    }

    fn route(method: &Method, target: TargetKind, query: &str) -> Result<&'static Row> {
        Operation::route(method, target, &Query::parse(query).unwrap(), &HeaderMap::new())
    }

    fn refusal(method: &Method, target: TargetKind, query: &str) -> S3Error {
        route(method, target, query).unwrap_err()
    }

    fn detail<'e>(error: &'e S3Error, name: &str) -> &'e str {
        error.detail.iter().find(|(element, _)| *element == name).map_or("", |(_, value)| value)
    }

    fn allowed(error: &S3Error) -> &str {
        error.headers.iter().find(|(name, _)| *name == "allow").map_or("none", |(_, value)| value)
    }

    #[test]
    fn keys_are_found_and_each_belongs_somewhere() {
        assert!(SUB_RESOURCES.is_sorted_by_key(|row| row.key));
        for row in SUB_RESOURCES {
            assert_eq!(SubResource::find(row.key).unwrap().key, row.key);
            assert!(matches!(row.at_bucket, At::Own(_)) || matches!(row.at_object, At::Own(_)), "{}", row.key);
        }
        assert!(SubResource::find("x-id").is_none());
    }

    #[test]
    fn every_key_that_picks_an_operation_is_a_sub_resource_or_a_parameter_of_one() {
        for row in TABLE {
            assert_eq!(row.sub_resources().next().is_none(), row.is_bare(), "{}", row.name);
        }
    }

    #[test]
    fn no_sub_resource_is_taken_for_the_bucket_or_object_itself() {
        for row in SUB_RESOURCES {
            for target in TARGETS {
                for method in methods() {
                    for query in
                        [row.key.to_owned(), format!("{}=1&x-id=X", row.key), format!("list-type=2&{}", row.key)]
                    {
                        let Ok(routed) = route(&method, target, &query) else { continue };
                        let reads = matches!(method, Method::GET | Method::HEAD);
                        let passed_by = row.at(target) == At::Nothing || row.key == "partNumber";
                        assert!(
                            routed.sub_resources().eq([row.key]) || (reads && passed_by && routed.is_bare()),
                            "{method} {target:?} ?{query} is {}",
                            routed.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_sub_resource_is_overruled_by_a_header() {
        let copy = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amz-copy-source"),
            http::HeaderValue::from_static("b/k"),
        )]);
        for row in SUB_RESOURCES {
            let query = Query::parse(row.key).unwrap();
            let routed = Operation::route(&Method::PUT, TargetKind::Object, &query, &copy);
            assert_ne!(routed.ok().map(|row| row.operation), Some(Operation::CopyObject), "{}", row.key);
        }
        let part = Query::parse("partNumber=1&uploadId=x").unwrap();
        let routed = Operation::route(&Method::PUT, TargetKind::Object, &part, &copy).unwrap();
        assert_eq!(routed.operation, Operation::UploadPartCopy);
    }

    #[test]
    fn every_operation_is_reached_by_what_its_row_says() {
        for row in TABLE {
            let query: Vec<String> =
                row.queries().map(|key| if key.contains('=') { key.into() } else { format!("{key}=x") }).collect();
            let query = Query::parse(&query.join("&").replace("website=x", "website")).unwrap();
            let headers: HeaderMap = row
                .headers()
                .map(|name| (http::HeaderName::from_static(name), http::HeaderValue::from_static("x")))
                .collect();
            let routed = Operation::route(&row.method, row.target, &query, &headers).unwrap();
            assert_eq!(routed.operation, row.operation);
        }
    }

    #[test]
    fn a_method_that_a_sub_resource_lacks_is_not_allowed() {
        use TargetKind::{Bucket, Object, Service};
        for (method, target, query, resource_type, allow) in [
            (Method::DELETE, Bucket, "versioning", "VERSIONING", "GET, PUT"),
            (Method::DELETE, Bucket, "acl", "ACL", "GET, PUT"),
            (Method::PUT, Bucket, "location", "LOCATION", "GET"),
            (Method::HEAD, Bucket, "tagging", "TAGGING", "DELETE, GET, PUT"),
            (Method::PUT, Bucket, "delete", "MULTI_OBJECT_DELETE", "POST"),
            (Method::PUT, Bucket, "partNumber=1&uploadId=x", "PART", ""),
            (Method::DELETE, Object, "retention", "OBJECT_LOCK_RETENTION", "GET, PUT"),
            (Method::PUT, Object, "uploads", "UPLOADS", "POST"),
            (Method::PUT, Object, "uploadId=x", "UPLOAD", "DELETE, POST, GET"),
            (Method::DELETE, Object, "partNumber=1&uploadId=x", "PART", "PUT"),
            (Method::GET, Object, "restore", "RESTORE", "POST"),
            (Method::HEAD, Object, "acl", "ACL", "GET, PUT"),
            (Method::DELETE, Object, "policy", "BUCKETPOLICY", "GET"),
            (Method::DELETE, Object, "metrics", "METRICS", "HEAD, GET"),
            (Method::DELETE, Bucket, "retention", "OBJECT_LOCK_RETENTION", "HEAD, GET"),
            (Method::PATCH, Bucket, "", "BUCKET", "HEAD, DELETE, POST, GET, PUT"),
            (Method::POST, Object, "", "OBJECT", "HEAD, DELETE, GET, PUT"),
            (Method::DELETE, Service, "", "SERVICE", "GET"),
            (Method::PUT, Service, "acl", "SERVICE", "GET"),
        ] {
            let error = refusal(&method, target, query);
            let told = (error.code, detail(&error, "ResourceType"), allowed(&error));
            assert_eq!(told, (ErrorCode::MethodNotAllowed, resource_type, allow), "{method} ?{query}");
            assert_eq!(detail(&error, "Method"), method.as_str());
        }
    }

    #[test]
    fn two_sub_resources_conflict() {
        for (method, target, query, names) in [
            (Method::GET, TargetKind::Bucket, "versioning&acl", "acl, versioning"),
            (Method::DELETE, TargetKind::Bucket, "acl&partNumber=1", "acl, partNumber"),
            (Method::PUT, TargetKind::Object, "tagging&acl&tagging", "acl, tagging"),
            (Method::GET, TargetKind::Object, "partNumber=1&tagging", "partNumber, tagging"),
        ] {
            let error = refusal(&method, target, query);
            assert_eq!(error.message, format!("Conflicting query string parameters: {names}"));
            assert_eq!(detail(&error, "ArgumentName"), "ResourceType");
            assert_eq!(detail(&error, "ArgumentValue"), names.split(',').next().unwrap());
        }
    }

    #[test]
    fn versions_are_refused_where_there_are_none() {
        let none = "This operation does not accept a version-id.";
        for (method, target, query, message) in [
            (Method::GET, TargetKind::Bucket, "versionId=x", none),
            (Method::DELETE, TargetKind::Bucket, "versionId=null", none),
            (Method::PUT, TargetKind::Bucket, "tagging&versionId=x", none),
            (Method::GET, TargetKind::Bucket, "acl&versionId=x", "Invalid version id specified"),
            (Method::PUT, TargetKind::Object, "versionId=null", none),
            (Method::POST, TargetKind::Object, "uploads&versionId=", none),
            (Method::GET, TargetKind::Object, "uploadId=x&versionId=y", none),
        ] {
            assert_eq!(refusal(&method, target, query).message, message, "{method} ?{query}");
        }
        for query in ["versionId=null", "tagging&versionId=null", "acl&versionId=x", "legal-hold&versionId=x"] {
            assert!(route(&Method::GET, TargetKind::Object, query).is_ok(), "{query}");
        }
    }

    #[test]
    fn what_belongs_to_no_key_or_no_upload_says_so() {
        let message = |method, target, query| refusal(&method, target, query).message.into_owned();
        let (bucket, object) = (TargetKind::Bucket, TargetKind::Object);
        assert_eq!(message(Method::DELETE, bucket, "partNumber=1"), "Object must have a valid key name.");
        assert_eq!(message(Method::POST, bucket, "restore"), "User key must be specified.");
        assert_eq!(message(Method::DELETE, bucket, "uploadId=x"), "A key must be specified");
        let no_upload = "This operation does not accept partNumber without uploadId";
        assert_eq!(message(Method::PUT, object, "partNumber=1"), no_upload);
        assert_eq!(message(Method::DELETE, object, "partNumber=1"), no_upload);
        assert_eq!(message(Method::GET, object, "annotationName=x"), "Unexpected query string parameter");
        assert_eq!(message(Method::PUT, bucket, "website=x"), "The website parameter must not have a value");
        assert!(message(Method::GET, object, "uploads").starts_with("Key is not expected for the GET method"));
        assert_eq!(refusal(&Method::GET, object, "logging").code, ErrorCode::NoLoggingStatusForKey);
        assert_eq!(refusal(&Method::GET, object, "versions").code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn a_bucket_can_be_read_at_a_keys_path() {
        let location = route(&Method::GET, TargetKind::Object, "location").unwrap();
        assert_eq!(location.operation, Operation::GetBucketLocation);
        for row in SUB_RESOURCES.iter().filter(|row| row.at_object == At::OfBucket) {
            for method in methods().into_iter().filter(|method| *method != Method::GET) {
                assert!(route(&method, TargetKind::Object, row.key).is_err(), "{method} ?{}", row.key);
            }
        }
    }

    #[test]
    fn configurations_without_an_id_are_their_list_or_nothing() {
        let operation = |method, query| route(&method, TargetKind::Bucket, query).map(|row| row.operation).unwrap();
        assert_eq!(operation(Method::GET, "inventory"), Operation::ListBucketInventoryConfigurations);
        assert_eq!(operation(Method::GET, "inventory&id="), Operation::ListBucketInventoryConfigurations);
        assert_eq!(operation(Method::GET, "inventory&id=x"), Operation::GetBucketInventoryConfiguration);
        assert_eq!(operation(Method::DELETE, "inventory"), Operation::DeleteBucketInventoryConfiguration);
        assert_eq!(operation(Method::PUT, "metrics"), Operation::PutBucketMetricsConfiguration);
        let select = route(&Method::POST, TargetKind::Object, "select").unwrap();
        assert_eq!((select.operation, select.offer), (Operation::SelectObjectContent, Offer::Refused));
    }
}
