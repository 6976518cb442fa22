//! What the audit learns of an S3 request: CloudTrail's event for it.
//! (AWS: "Logging Amazon S3 API calls using AWS CloudTrail" and "Amazon S3 CloudTrail events", S3 user guide.)

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::call::Call;
use super::control;
use super::error::S3Error;
use super::headers::text;
use super::operation::{Operation, Row};
use super::request::Target;
use super::service::S3;
use super::xml_json;
use crate::audit::{Category, Event, Resource, ServiceOperation, UserIdentity};
use crate::crypto::Entropy;
use crate::iam::{Explanation, Identity};
use crate::sigv4::Kind;
use crate::wire::Said;

/// The service that events about buckets and objects come from.
const EVENT_SOURCE: &str = "s3.amazonaws.com";
const SSE: &str = "x-amz-server-side-encryption";
const SSE_CUSTOMER: &str = "x-amz-server-side-encryption-customer-algorithm";

/// Request headers that are shown as they are, beside those that begin with [`SSE`]. What holds a customer's key is not
/// among them.
const SHOWN: &[&str] = &[
    "x-amz-account-id",
    "x-amz-acl",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-ownership",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-website-redirect-location",
];
/// Response headers that are shown of what wrote something.
const CHANGED: &[&str] =
    &["x-amz-expiration", "x-amz-version-id", "x-amz-delete-marker", "x-amz-copy-source-version-id"];

/// The names that CloudTrail has for operations whose names in the model are others.
const NAMES: &[(Operation, &str)] = &[
    (Operation::DeletePublicAccessBlock, "DeleteBucketPublicAccessBlock"),
    (Operation::GetBucketLifecycleConfiguration, "GetBucketLifecycle"),
    (Operation::GetBucketNotificationConfiguration, "GetBucketNotification"),
    (Operation::GetObjectLockConfiguration, "GetBucketObjectLockConfiguration"),
    (Operation::GetPublicAccessBlock, "GetBucketPublicAccessBlock"),
    (Operation::ListObjectsV2, "ListObjects"),
    (Operation::PutBucketLifecycleConfiguration, "PutBucketLifecycle"),
    (Operation::PutBucketNotificationConfiguration, "PutBucketNotification"),
    (Operation::PutObjectLockConfiguration, "PutBucketObjectLockConfiguration"),
    (Operation::PutPublicAccessBlock, "PutBucketPublicAccessBlock"),
];

/// Whether an operation is about a bucket or about data.
fn category(row: &Row, target: &Target) -> Category {
    let on_data = matches!(
        row.operation,
        Operation::DeleteObjects
            | Operation::HeadBucket
            | Operation::ListMultipartUploads
            | Operation::ListObjects
            | Operation::ListObjectsV2
            | Operation::ListObjectVersions
            | Operation::PostObject
    );
    if on_data || matches!(target, Target::Object(..)) { Category::Data } else { Category::Management }
}

impl S3 {
    /// The event of `call`, which has not been carried out yet; `None` if it is not wanted.
    pub(super) fn event_of(&self, call: &Call<'_>, target: &Target) -> Option<Event> {
        let category = category(call.row, target);
        if !self.audit.wants(category) {
            return None;
        }
        let name = NAMES.iter().find(|(operation, _)| *operation == call.row.operation).map(|(_, name)| *name);
        let operation = ServiceOperation {
            source: EVENT_SOURCE,
            name: name.unwrap_or(call.row.name),
            read_only: matches!(call.row.method, Method::GET | Method::HEAD),
            category,
            region: &self.settings.region,
            entropy: &*self.entropy,
        };
        let identity = call.identity.as_ref().map_or_else(UserIdentity::anonymous, Identity::audited);
        let said = Said::of(&call.headers);
        let mut event = Event::of_request(operation, call.cx, said, identity);
        let mut parameters = parameters(call);
        let mut member = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                parameters.insert(name.to_owned(), value.into());
            }
        };
        member("Host", said.host);
        let bucket = match target {
            Target::Service | Target::AccountBlock | Target::Control => None,
            Target::ResourceTags(arn) => {
                member("resourceArn", Some(arn));
                control::bucket_of_arn(arn).map(|bucket| (bucket, None))
            }
            Target::Bucket(bucket) => Some((bucket.as_str(), None)),
            Target::Object(bucket, key) => Some((bucket.as_str(), Some(key.as_str()))),
        };
        if let Some((bucket, key)) = bucket {
            member("bucketName", Some(bucket));
            member("key", key);
            let arn = format!("arn:aws:s3:::{bucket}");
            if let Some(key) = key {
                event.resources.push(Resource {
                    account_id: None,
                    kind: "AWS::S3::Object",
                    arn: format!("{arn}/{key}"),
                });
            }
            event.resources.push(Resource { account_id: None, kind: "AWS::S3::Bucket", arn });
        }
        event.tells_bytes = true;
        event.request_parameters = Value::Object(parameters);
        event.add("x-amz-id-2", call.cx.id.extended.as_str());
        if let Some(tls) = call.cx.tls {
            event.add("CipherSuite", tls.cipher_suite);
        }
        if let Some(signed) = &call.signed {
            event.add("SignatureVersion", "SigV4");
            let by_query = matches!(signed.kind(), Kind::Presigned { .. });
            event.add("AuthenticationMethod", if by_query { "QueryString" } else { "AuthHeader" });
        }
        Some(event)
    }
}

/// The query and the telling headers. What belongs to the signature is in neither.
fn parameters(call: &Call<'_>) -> Map<String, Value> {
    let query = call.query.pairs().filter(|(key, _)| !key.to_ascii_lowercase().starts_with("x-amz-"));
    let mut parameters: Map<String, Value> = query.map(|(key, value)| (key.to_owned(), value.into())).collect();
    for (name, value) in &call.headers {
        let name = name.as_str();
        let told = name.starts_with(SSE) && !name.contains("-customer-key");
        if let Some(value) = value.to_str().ok().filter(|_| told || SHOWN.contains(&name)) {
            parameters.insert(name.to_owned(), value.into());
        }
    }
    parameters
}

/// Adds the document of a request about a bucket's management: its configuration, as JSON, under the name of the document's root. A
/// bucket's policy has a name of its own, for it is JSON. (CloudTrail's events of `PutBucketPolicy`, `PutBucketLifecycle` and others.)
pub(super) fn show_document(event: &mut Event, document: &[u8]) {
    if event.category() != Category::Management {
        return;
    }
    let shown = match event.event_name {
        "PutBucketPolicy" => serde_json::from_slice(document).ok().map(|policy| ("bucketPolicy".to_owned(), policy)),
        // What is no document of S3's takes no other member's name.
        _ => xml_json::read(document).filter(|(root, _)| root.starts_with(|first: char| first.is_ascii_uppercase())),
    };
    if let (Value::Object(parameters), Some((name, value))) = (&mut event.request_parameters, shown) {
        parameters.entry(name).or_insert(value);
    }
}

/// Adds how the request was answered, by a bucket of `owner`, and what decided on it. Owner and caller are told.
pub(super) fn end(
    event: &mut Event,
    entropy: &dyn Entropy,
    owner: Option<&str>,
    decision: Option<&Explanation>,
    result: Result<&HeaderMap, &S3Error>,
) {
    event.judge(decision.map(Explanation::told));
    if let Some(owner) = owner {
        for resource in event.resources.iter_mut().filter(|resource| resource.kind == "AWS::S3::Bucket") {
            resource.account_id = Some(owner.to_owned());
        }
    }
    event.tell_owners(entropy);
    let headers = match result {
        Ok(headers) => headers,
        Err(error) => return event.fail(error.code.as_str(), error.message.as_ref()),
    };
    let explicit = event.request_parameters.get(SSE).is_some();
    if let Some(applied) = applied(headers, explicit, event.event_name) {
        event.add("SSEApplied", applied);
    }
    if !event.read_only {
        let shown = headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            (name.starts_with(SSE) && !name.contains("-customer-key")) || CHANGED.contains(&name)
        });
        let shown: Map<String, Value> =
            shown.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into()))).collect();
        if !shown.is_empty() {
            event.response_elements = Value::Object(shown);
        }
    }
}

/// The encryption that the response tells of; `Default_` if it was the bucket's choice rather than the request's.
fn applied(headers: &HeaderMap, explicit: bool, event_name: &str) -> Option<&'static str> {
    if headers.contains_key(SSE_CUSTOMER) {
        return Some("SSE_C");
    }
    let chooses = matches!(event_name, "CopyObject" | "CreateMultipartUpload" | "PostObject" | "PutObject");
    match (text(headers, SSE)?, explicit || !chooses) {
        ("AES256", true) => Some("SSE_S3"),
        ("AES256", false) => Some("Default_SSE_S3"),
        ("aws:kms", true) => Some("SSE_KMS"),
        ("aws:kms", false) => Some("Default_SSE_KMS"),
        ("aws:kms:dsse", true) => Some("DSSE_KMS"),
        ("aws:kms:dsse", false) => Some("Default_DSSE_KMS"),
        _ => None,
    }
}
