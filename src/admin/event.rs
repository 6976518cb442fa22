//! What the audit learns of the operators' API: who asked the server itself for what.

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::error::Failure;
use super::{Admin, Operation, Row, query_value};
use crate::audit::{Category, Event, Resource, ServiceOperation};
use crate::iam::Identity;
use crate::wire::{RequestContext, Said};

/// The service that events about the server itself come from.
const EVENT_SOURCE: &str = "strongroom.amazonaws.com";

/// A request before it is carried out.
pub(super) fn begin(
    admin: &Admin,
    (row, operation): (&Row, Operation),
    cx: &RequestContext,
    (parts, body): (&Parts, &[u8]),
    identity: &Identity,
) -> Event {
    let asked = ServiceOperation {
        source: EVENT_SOURCE,
        name: row.name(),
        read_only: row.method == Method::GET || operation == Operation::ExplainPolicy,
        category: Category::Management,
        region: &admin.region,
        entropy: &*admin.entropy,
    };
    let mut event = Event::of_request(asked, cx, Said::of(&parts.headers), identity.audited());
    let mut parameters: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    if let Operation::GetJob(id) | Operation::CancelJob(id) = operation {
        parameters.insert("jobId".to_owned(), hex::encode(id).into());
    }
    if let Some(key) = query_value(parts.uri.query().unwrap_or_default(), "key") {
        parameters.insert("key".to_owned(), key.into());
    }
    if let Some(bucket) = parameters.get("bucket").and_then(Value::as_str) {
        let arn = format!("arn:aws:s3:::{bucket}");
        event.resources.push(Resource { account_id: None, kind: "AWS::S3::Bucket", arn });
    }
    if !parameters.is_empty() {
        event.request_parameters = parameters.into();
    }
    event
}

/// Adds how the request was answered.
pub(super) fn end(event: &mut Event, result: &Result<(StatusCode, Value), Failure>) {
    match result {
        Ok((_, document)) if !event.read_only => event.response_elements = document.clone(),
        Ok(_) => {}
        Err(failure) => event.fail(failure.code, failure.message()),
    }
}
