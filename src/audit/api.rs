//! CloudTrail's `LookupEvents` over JSON 1.1, as `aws cloudtrail lookup-events` speaks it. An account sees the management
//! events of its own resources. (AWS: CloudTrail API reference, LookupEvents.)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::search::{ATTRIBUTES, Filter, Page, resources, search, username};
use super::{Category, Event, ServiceOperation, SharedAudit};
use crate::clock::{SharedClock, Timestamp, from_millis};
use crate::crypto::{SharedEntropy, digest};
use crate::iam::{self, Circumstances, Denied, Directory, Explanation, Identity, Permit, Question, json::authenticate};
use crate::sigv4::{Head, Service, SigningKeys, Verifier};
use crate::wire::body::read_whole;
use crate::wire::{Answered, Protocol, RequestBody, RequestContext, ResponseBody, Said};

/// Longest request that is read, in bytes.
const MAX_REQUEST: usize = 64 * 1024;
/// Most events of one page, and how many if the client names no number.
const MAX_RESULTS: i64 = 50;
/// The action that looking up takes.
pub const LOOK_UP: &str = "cloudtrail:LookupEvents";
/// Most characters of an attribute's value. (API reference, LookupAttribute.)
const MAX_VALUE: usize = 2000;
const TARGET: &str = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.";

/// CloudTrail's API.
pub struct CloudTrail {
    /// The log that is searched.
    pub audit: SharedAudit,
    /// Whose requests are taken.
    pub directory: Arc<Directory>,
    /// Signing keys in use.
    pub keys: Arc<SigningKeys>,
    /// The time.
    pub clock: SharedClock,
    /// Where the ids of its own events come from.
    pub entropy: SharedEntropy,
    /// The region that signatures name.
    pub region: String,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

/// An exception's name and text.
#[derive(Debug, Eq, PartialEq)]
struct Failure(StatusCode, &'static str, String);

fn refuse(kind: &'static str, message: impl Into<String>) -> Failure {
    Failure(StatusCode::BAD_REQUEST, kind, message.into())
}

/// What is looked up.
#[derive(Debug)]
struct Query {
    filter: Filter,
    before: Option<u64>,
    limit: usize,
    /// What the tokens of its pages have in common, and those of no other query.
    mark: String,
}

impl CloudTrail {
    async fn answer(
        &self,
        cx: &RequestContext,
        request: Request<RequestBody>,
        answered: &mut Answered,
        event: &mut Option<Event>,
    ) -> Result<Value, Failure> {
        let (parts, body) = request.into_parts();
        let body = read_whole(body, MAX_REQUEST, self.body_timeout)
            .await
            .map_err(|error| refuse("SerializationException", error.to_string()))?;
        let head = Head::of_parts(&parts);
        let identity = self.authenticate(cx, &head, &body)?;
        answered.access_key_id = Some(identity.access_key_id.clone());
        let operation = header(&parts, "x-amz-target").and_then(|target| target.strip_prefix(TARGET));
        if operation != Some("LookupEvents") {
            let message = "This server's CloudTrail knows LookupEvents alone.";
            return Err(refuse("UnsupportedOperationException", message));
        }
        answered.operation = "LookupEvents";
        let document: Value = match serde_json::from_slice(&body) {
            _ if body.is_empty() => json!({}),
            Ok(document @ Value::Object(_)) => document,
            _ => return Err(refuse("SerializationException", "The request is not a JSON object")),
        };
        *event = self.audit.wants(Category::Management).then(|| self.event(cx, &parts, &identity));
        let judged = self.authorize(cx, &parts, &identity);
        if let Some(event) = event {
            event.judge(iam::explanation(&judged).map(Explanation::told));
        }
        let judged = judged.map_err(|denied| refuse("AccessDeniedException", denied.sentence()));
        let result = match judged {
            Ok(permit) => self.look_up(&identity, &document, permit).await,
            Err(denied) => Err(denied),
        };
        if let (Some(event), Err(Failure(_, kind, message))) = (event, &result) {
            event.fail(*kind, message.as_str());
        }
        result
    }

    fn authenticate(&self, cx: &RequestContext, head: &Head<'_>, body: &[u8]) -> Result<Identity, Failure> {
        let verifier = Verifier {
            secrets: &*self.directory,
            region: &self.region,
            service: Service::CLOUDTRAIL,
            now: self.clock.now(),
            keys: &self.keys,
        };
        authenticate(cx.client, head, body, &verifier, &self.directory)
            .map_err(|refusal| refuse(refusal.kind, refusal.message))
    }

    fn event(&self, cx: &RequestContext, parts: &Parts, identity: &Identity) -> Event {
        let operation = ServiceOperation {
            source: "cloudtrail.amazonaws.com",
            name: "LookupEvents",
            read_only: true,
            category: Category::Management,
            region: &self.region,
            entropy: &*self.entropy,
        };
        let said = Said::of(&parts.headers);
        Event::of_request(operation, cx, said, identity.audited())
    }

    /// Whether the caller may look events up.
    fn authorize(&self, cx: &RequestContext, parts: &Parts, identity: &Identity) -> Result<Permit, Denied> {
        let circumstances = Circumstances {
            cx,
            identity: Some(identity),
            region: &self.region,
            now: self.clock.now(),
            user_agent: header(parts, USER_AGENT.as_str()),
            more: &(),
        };
        let question = Question::new(Some(identity), LOOK_UP, "*", None);
        iam::authorize(&Question { context: &circumstances, ..question })
    }

    async fn look_up(&self, identity: &Identity, document: &Value, _permit: Permit) -> Result<Value, Failure> {
        let Query { filter, before, limit, mark } = parse(document, &identity.account.id)?;
        let Some(dir) = self.audit.dir().filter(|_| document["EventCategory"].is_null()) else {
            return Ok(json!({"Events": []}));
        };
        // What was answered before is found.
        self.audit.flush().await;
        let dir = dir.to_owned();
        let found = tokio::task::spawn_blocking(move || search(&dir, &filter, before, limit)).await;
        let failed = || {
            let message = "The audit log cannot be read.".to_owned();
            Failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", message)
        };
        match found {
            Ok(Ok(page)) => Ok(shown(&page, &mark)),
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit log cannot be read");
                Err(failed())
            }
            Err(_) => Err(failed()),
        }
    }
}

fn header<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name)?.to_str().ok()
}

fn parse(document: &Value, account: &str) -> Result<Query, Failure> {
    let mut filter = Filter { account: Some(account.to_owned()), management: true, ..Filter::default() };
    let attributes = document["LookupAttributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if attributes.len() > 1 {
        return Err(refuse("InvalidLookupAttributesException", "You can only specify one attribute key."));
    }
    for attribute in attributes {
        let (key, value) = (attribute["AttributeKey"].as_str(), attribute["AttributeValue"].as_str());
        let known = ATTRIBUTES.iter().find(|(name, _)| Some(*name) == key);
        match (known, value) {
            (Some((_, attribute)), Some(value)) if (1..=MAX_VALUE).contains(&value.chars().count()) => {
                filter.attributes.push((*attribute, value.to_owned()));
            }
            _ => return Err(refuse("InvalidLookupAttributesException", "Specify a valid attribute key and value.")),
        }
    }
    (filter.from, filter.until) = (time(&document["StartTime"])?, time(&document["EndTime"])?);
    if let (Some(from), Some(until)) = (filter.from, filter.until)
        && from > until
    {
        return Err(refuse("InvalidTimeRangeException", "Start time must be earlier than end time."));
    }
    let limit = match &document["MaxResults"] {
        Value::Null => MAX_RESULTS,
        number => number.as_i64().filter(|number| (1..=MAX_RESULTS).contains(number)).ok_or_else(|| {
            refuse("InvalidMaxResultsException", format!("The MaxResults value must be between 1 and {MAX_RESULTS}."))
        })?,
    };
    if !matches!(document["EventCategory"].as_str(), None | Some("insight")) {
        return Err(refuse("InvalidEventCategoryException", "The event category is not valid."));
    }
    let mark = mark(document, account);
    let before = match &document["NextToken"] {
        Value::Null => None,
        token => {
            let of_query = token.as_str().and_then(|token| token.strip_suffix(&mark)?.strip_suffix('-'));
            let sequence = of_query.and_then(|sequence| sequence.parse().ok());
            Some(sequence.ok_or_else(|| {
                // (API reference, LookupEvents: InvalidNextTokenException.)
                let message = "Invalid token or token that was previously used in a request with different parameters.";
                refuse("InvalidNextTokenException", message)
            })?)
        }
    };
    Ok(Query { filter, before, limit: usize::try_from(limit).unwrap_or_default(), mark })
}

/// What tells a query of `account` from others: all that it asks for but where and how many.
fn mark(document: &Value, account: &str) -> String {
    let asked = ["LookupAttributes", "StartTime", "EndTime", "EventCategory"].map(|member| &document[member]);
    hex::encode(&digest::sha256(json!([account, asked]).to_string().as_bytes())[..8])
}

/// A time as the JSON protocol has it: seconds since 1970, perhaps with a fraction.
fn time(value: &Value) -> Result<Option<Timestamp>, Failure> {
    if value.is_null() {
        return Ok(None);
    }
    let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e11);
    let seconds = seconds.ok_or_else(|| refuse("InvalidTimeRangeException", "The time is not valid."))?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above, and the fraction of a millisecond is let go")]
    let millis = (seconds * 1e3) as i64;
    Ok(Some(from_millis(millis)))
}

fn shown(page: &Page, mark: &str) -> Value {
    let events: Vec<Value> = page.events.iter().map(|(event, text)| shown_event(event, text)).collect();
    let mut answer = json!({"Events": events});
    if let Some(next) = page.next {
        answer["NextToken"] = format!("{next}-{mark}").into();
    }
    answer
}

fn shown_event(event: &Value, text: &str) -> Value {
    let resources: Vec<Value> = resources(event)
        .map(|(kind, name)| {
            // A bucket goes by its name.
            let name = if kind == "AWS::S3::Bucket" { name.rsplit(':').next().unwrap_or(name) } else { name };
            json!({"ResourceType": kind, "ResourceName": name})
        })
        .collect();
    let time = event["eventTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let members = [
        ("EventId", event["eventID"].clone()),
        ("EventName", event["eventName"].clone()),
        ("ReadOnly", event["readOnly"].to_string().into()),
        ("AccessKeyId", event["userIdentity"]["accessKeyId"].clone()),
        ("EventTime", time.map(Timestamp::as_second).into()),
        ("EventSource", event["eventSource"].clone()),
        ("Username", username(event).into()),
        ("Resources", resources.into()),
        ("CloudTrailEvent", text.into()),
    ];
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[async_trait]
impl Protocol for CloudTrail {
    async fn call(&self, cx: &RequestContext, request: Request<RequestBody>) -> Response<ResponseBody> {
        let mut answered = Answered { protocol: "cloudtrail", operation: "Unknown", ..Answered::default() };
        let mut event = None;
        let (status, document) = match self.answer(cx, request, &mut answered, &mut event).await {
            Ok(document) => (StatusCode::OK, document),
            Err(Failure(status, kind, message)) => {
                answered.error_code = Some(kind);
                (status, json!({"__type": kind, "message": message}))
            }
        };
        let mut response = Response::new(ResponseBody::from(document.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        if let Ok(id) = HeaderValue::try_from(cx.id.id.as_str()) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response.extensions_mut().insert(answered);
        if let Some(event) = event {
            response.extensions_mut().insert(event);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `aws cloudtrail lookup-events` shows the events of IAM, STS and S3.
    #[test]
    fn resources_are_shown_by_what_requests_name() {
        let shown = |event: Value| shown_event(&event, "")["Resources"].clone();
        let one = |kind: &str, name: &str| json!({"ResourceType": kind, "ResourceName": name});
        let event = json!({
            "eventSource": "iam.amazonaws.com",
            "requestParameters": {"userName": "alice", "policyName": "p"},
        });
        assert_eq!(shown(event), json!([one("AWS::IAM::User", "alice"), one("AWS::IAM::Policy", "p")]));
        let role = json!({"type": "AWS::IAM::Role", "ARN": "arn:aws:iam::1:role/r"});
        let event = json!({
            "eventSource": "sts.amazonaws.com",
            "resources": [role],
            "responseElements": {"credentials": {"accessKeyId": "ASIA"}},
        });
        let expected = json!([one("AWS::IAM::Role", "arn:aws:iam::1:role/r"), one("AWS::IAM::AccessKey", "ASIA")]);
        assert_eq!(shown(event), expected);
        let event = json!({
            "eventSource": "s3.amazonaws.com",
            "resources": [{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b"}],
            "requestParameters": {"userName": "no user"},
        });
        assert_eq!(shown(event), json!([one("AWS::S3::Bucket", "b")]));
    }

    fn refused(document: &Value) -> &'static str {
        parse(document, "000000000000").unwrap_err().1
    }

    #[test]
    fn what_cannot_be_looked_up_is_refused() {
        let attribute = |key: &str| json!({"AttributeKey": key, "AttributeValue": "x"});
        let two = json!({"LookupAttributes": [attribute("EventName"), attribute("EventId")]});
        assert_eq!(refused(&two), "InvalidLookupAttributesException");
        assert_eq!(refused(&json!({"LookupAttributes": [attribute("Colour")]})), "InvalidLookupAttributesException");
        assert_eq!(refused(&json!({"MaxResults": 51})), "InvalidMaxResultsException");
        assert_eq!(refused(&json!({"MaxResults": 0})), "InvalidMaxResultsException");
        assert_eq!(refused(&json!({"NextToken": "x"})), "InvalidNextTokenException");
        assert_eq!(refused(&json!({"StartTime": 2, "EndTime": 1})), "InvalidTimeRangeException");
        assert_eq!(refused(&json!({"StartTime": "yesterday"})), "InvalidTimeRangeException");
        assert_eq!(refused(&json!({"EventCategory": "management"})), "InvalidEventCategoryException");
        let long = json!([{"AttributeKey": "EventName", "AttributeValue": "x".repeat(2001)}]);
        assert_eq!(refused(&json!({"LookupAttributes": long})), "InvalidLookupAttributesException");
        let asked = |more: Value| {
            let mut asked = json!({"MaxResults": 7, "StartTime": 1.5});
            asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            asked
        };
        let mark = parse(&asked(json!({})), "000000000000").unwrap().mark;
        let token = json!({"NextToken": format!("12-{mark}"), "MaxResults": 3});
        let query = parse(&asked(token.clone()), "000000000000").unwrap();
        assert_eq!((query.limit, query.before, query.filter.from), (3, Some(12), Some(from_millis(1500))));
        // A token is good for the pages of its own query.
        assert_eq!(refused(&token), "InvalidNextTokenException");
        assert_eq!(parse(&asked(token), "111122223333").unwrap_err().1, "InvalidNextTokenException");
        assert!(query.filter.management && query.filter.account.as_deref() == Some("000000000000"));
    }
}
