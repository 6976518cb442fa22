//! The notification configuration of a bucket: PutBucketNotificationConfiguration and what is read back of it.
//! (S3 API reference, PutBucketNotificationConfiguration; user guide, "Configuring event notifications".)

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::service::S3;
use super::xml::{self, Empty, XmlWriter};
use crate::crypto::random;
use crate::events::message::{self, TEST_EVENT};
use crate::events::{EventPattern, Message, Service, Subscription, Subscriptions, account_of};
use crate::iam::Permit;
use crate::policy::is_account_id;
use crate::store::outbox::{self, EventRecord, WatchRecord};
use crate::store::schema::ConfigurationKind;
use crate::wire::{RequestBody, ResponseBody};

/// The root element.
pub(super) const ROOT: &str = "NotificationConfiguration";
/// Longest document, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Longest value of a filter rule, in bytes.
const MAX_FILTER: usize = 1024;
/// Longest id. (API reference, `NotificationId`.)
const MAX_ID: usize = 255;
/// The members in which a refusal tells of destinations: of so many, and of no more.
const ARGUMENTS: [(&str, &str); 10] = [
    ("ArgumentName1", "ArgumentValue1"),
    ("ArgumentName2", "ArgumentValue2"),
    ("ArgumentName3", "ArgumentValue3"),
    ("ArgumentName4", "ArgumentValue4"),
    ("ArgumentName5", "ArgumentValue5"),
    ("ArgumentName6", "ArgumentValue6"),
    ("ArgumentName7", "ArgumentValue7"),
    ("ArgumentName8", "ArgumentValue8"),
    ("ArgumentName9", "ArgumentValue9"),
    ("ArgumentName10", "ArgumentValue10"),
];
/// How long the targets of a configuration may take in all to answer their test events: clients wait for a minute.
const TEST_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "TopicConfiguration", default)]
    topics: Vec<Configuration>,
    #[serde(rename = "QueueConfiguration", default)]
    queues: Vec<Configuration>,
    #[serde(rename = "CloudFunctionConfiguration", default)]
    functions: Vec<Configuration>,
    #[serde(rename = "EventBridgeConfiguration")]
    event_bridge: Option<Empty>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    id: Option<String>,
    topic: Option<String>,
    queue: Option<String>,
    cloud_function: Option<String>,
    /// Of functions, in the first version of the API. Here their target knows how to invoke them.
    invocation_role: Option<String>,
    #[serde(rename = "Event", default)]
    events: Vec<String>,
    filter: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(rename = "S3Key")]
    key: Option<KeyFilter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFilter {
    #[serde(rename = "FilterRule", default)]
    rules: Vec<FilterRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FilterRule {
    name: String,
    value: String,
}

/// The element that names a target of this kind.
fn element(service: Service) -> &'static str {
    match service {
        Service::Topic => "Topic",
        Service::Queue => "Queue",
        Service::Function => "CloudFunction",
    }
}

impl Configuration {
    /// `region`: the bucket's, where the target must be; `None` if that was judged when it was put.
    fn judge(self, service: Service, region: Option<&str>, fresh_id: impl FnOnce() -> String) -> Result<Subscription> {
        let element = element(service);
        let arn = match (service, self.topic, self.queue, self.cloud_function, self.invocation_role) {
            (Service::Topic, Some(arn), None, None, None)
            | (Service::Queue, None, Some(arn), None, None)
            | (Service::Function, None, None, Some(arn), _)
                if !self.events.is_empty() =>
            {
                arn
            }
            _ => return Err(ErrorCode::MalformedXml.into()),
        };
        judge_arn(service, &arn, region)?;
        let event = |text: &String| {
            let pattern = EventPattern::parse(text);
            pattern.ok_or_else(|| S3Error::argument("Event", text, "The event is not supported for notifications"))
        };
        let events = self.events.iter().map(event).collect::<Result<_>>()?;
        let (mut prefix, mut suffix) = (None, None);
        for FilterRule { name, value } in
            self.filter.and_then(|filter| filter.key).into_iter().flat_map(|key| key.rules)
        {
            let (place, twice) = match name.to_ascii_lowercase().as_str() {
                "prefix" => (&mut prefix, "Cannot specify more than one prefix rule in a filter."),
                "suffix" => (&mut suffix, "Cannot specify more than one suffix rule in a filter."),
                _ => {
                    let message = "filter rule name must be either prefix or suffix";
                    return Err(S3Error::argument("FilterRule.Name", name, message));
                }
            };
            if value.len() > MAX_FILTER {
                let message = "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation";
                return Err(S3Error::argument("FilterRule.Value", value, message));
            }
            if place.is_some() {
                return Err(S3Error::argument("FilterRule.Name", name, twice));
            }
            *place = Some(value);
        }
        let id = self.id.filter(|id| !id.is_empty()).unwrap_or_else(fresh_id);
        if id.len() > MAX_ID {
            return Err(S3Error::argument(element, id, format!("The ID must have at most {MAX_ID} characters")));
        }
        Ok(Subscription { id, service, arn, events, prefix, suffix })
    }
}

/// Holds an ARN to its form: `arn:aws:SERVICE:REGION:ACCOUNT:NAME`, in the bucket's region.
fn judge_arn(service: Service, arn: &str, region: Option<&str>) -> Result<()> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [scheme, partition, named, of_region, account, name] = parts[..] else {
        return Err(S3Error::argument(element(service), arn, "The ARN could not be parsed"));
    };
    let well_formed = scheme == "arn"
        && partition.starts_with("aws")
        && named == service.as_str()
        && is_account_id(account)
        && !name.is_empty();
    if !well_formed {
        return Err(S3Error::argument(element(service), arn, "The ARN is not well formed"));
    }
    if region.is_some_and(|region| of_region != region) {
        let message = "The notification destination service region is not valid for the bucket location constraint";
        return Err(S3Error::argument(element(service), arn, message));
    }
    Ok(())
}

/// Reads a document as AWS judges it. Configurations without an id get one of `fresh_id`.
fn parse(document: &[u8], region: &str, mut fresh_id: impl FnMut() -> String) -> Result<Subscriptions> {
    let Document { topics, queues, functions, event_bridge } = xml::read(document, ROOT)?;
    let mut list: Vec<Subscription> = Vec::new();
    for (service, configurations) in
        [(Service::Topic, topics), (Service::Queue, queues), (Service::Function, functions)]
    {
        for configuration in configurations {
            let subscription = configuration.judge(service, Some(region), &mut fresh_id)?;
            if list.iter().any(|other| other.id == subscription.id) {
                let message = "Same ID used for multiple configurations. IDs must be unique";
                return Err(S3Error::argument("Id", subscription.id, message));
            }
            if let Some(other) = list.iter().find(|other| other.overlaps(&subscription)) {
                let filtered = [other, &subscription].iter().any(|s| s.prefix.is_some() || s.suffix.is_some());
                return Err(S3Error::new(ErrorCode::InvalidArgument, if filtered { AMBIGUOUS } else { OVERLAPPING }));
            }
            list.push(subscription);
        }
    }
    Ok(Subscriptions { list, event_bridge: event_bridge.is_some() })
}

const OVERLAPPING: &str = "Configurations overlap. Configurations on the same bucket cannot share a common event type.";
const AMBIGUOUS: &str = "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the \
    prefixes are overlapping for the same event type.";

/// The canonical form, inside its root element; empty for a configuration that tells nobody anything.
fn canonical(subscriptions: &Subscriptions) -> String {
    XmlWriter::fragment(|xml| {
        for subscription in &subscriptions.list {
            let name = element(subscription.service);
            xml.element(&format!("{name}Configuration"), |xml| {
                xml.text("Id", &subscription.id);
                xml.text(name, &subscription.arn);
                for event in &subscription.events {
                    xml.text("Event", event);
                }
                let rules = [("Prefix", &subscription.prefix), ("Suffix", &subscription.suffix)];
                if rules.iter().all(|(_, value)| value.is_none()) {
                    return;
                }
                xml.element("Filter", |xml| {
                    xml.element("S3Key", |xml| {
                        for (name, value) in rules {
                            if let Some(value) = value {
                                xml.element("FilterRule", |xml| {
                                    xml.text("Name", name);
                                    xml.text("Value", value);
                                });
                            }
                        }
                    });
                });
            });
        }
        if subscriptions.event_bridge {
            xml.element("EventBridgeConfiguration", |_| {});
        }
    })
}

/// Reads what [`canonical`] wrote.
pub(super) fn read(contents: &str) -> Result<Subscriptions> {
    let Document { topics, queues, functions, event_bridge } = xml::read_fragment(contents, ROOT)?;
    let kinds = [(Service::Topic, topics), (Service::Queue, queues), (Service::Function, functions)];
    let mut list = Vec::new();
    for (service, configurations) in kinds {
        for configuration in configurations {
            list.push(configuration.judge(service, None, String::new)?);
        }
    }
    Ok(Subscriptions { list, event_bridge: event_bridge.is_some() })
}

impl S3 {
    /// Judges a configuration, has every new target prove that it takes messages, and keeps it.
    pub(super) async fn put_notification(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await?;
        let fresh_id = || random::uuid(random::bytes(&*self.entropy));
        let subscriptions = parse(&document, &self.settings.region, fresh_id)?;
        self.find_event_bus(bucket, &subscriptions)?;
        let skips = call.header("x-amz-skip-destination-validation").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if !skips {
            self.test_targets(call, bucket, &subscriptions).await?;
        }
        if !subscriptions.is_empty() {
            let watch = WatchRecord { bucket: bucket.name.clone(), account: bucket.record.account.clone() };
            outbox::watch(&*self.store, bucket.partition(), &watch).await?;
        }
        let contents = canonical(&subscriptions);
        self.keep_configuration(bucket, ConfigurationKind::Notification, None, contents).await?;
        Ok(render::empty(StatusCode::OK))
    }

    /// Whether the events that a configuration wants on the owner's event bus get there.
    fn find_event_bus(&self, bucket: &Bucket, subscriptions: &Subscriptions) -> Result<()> {
        let bus = message::event_bus(&self.settings.region, &bucket.record.account);
        if !subscriptions.event_bridge || self.outboxes.targets.has(&bus, &bucket.record.account) {
            return Ok(());
        }
        refuse_destinations([(bus, "The destination event bus does not exist".to_owned())])
    }

    /// Sends the test event to every topic and queue, as AWS does, once all are known to be there; functions need only be there.
    async fn test_targets(&self, call: &Call<'_>, bucket: &Bucket, subscriptions: &Subscriptions) -> Result<()> {
        let (targets, account) = (&self.outboxes.targets, bucket.record.account.as_str());
        let missing = subscriptions.list.iter().filter(|Subscription { arn, .. }| !targets.has(arn, account));
        refuse_destinations(missing.map(|Subscription { service, arn, .. }| absence(*service, arn, account)))?;
        let deadline = Instant::now() + TEST_PATIENCE;
        let mut refused = Vec::new();
        for Subscription { service, arn, .. } in &subscriptions.list {
            if *service == Service::Function {
                continue;
            }
            let event = self.test_event(call, arn);
            let origin =
                message::Origin { region: &self.settings.region, bucket: &bucket.name, owner: &bucket.record.account };
            let body = message::compose(&origin, &event, 0, None);
            let message = Message { bucket: &bucket.name, key: "", at: event.at, body };
            match timeout_at(deadline, targets.send(arn, account, message)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(arn, %error, "a target did not take the test event");
                    refused.push((arn.clone(), "Not able to send the test message to the destination".to_owned()));
                }
                Err(_) => {
                    let why = "Not able to send the test message to the destination in time";
                    refused.push((arn.clone(), why.to_owned()));
                }
            }
        }
        refuse_destinations(refused)
    }

    fn test_event(&self, call: &Call<'_>, arn: &str) -> EventRecord {
        EventRecord {
            name: TEST_EVENT.to_owned(),
            at: self.clock.now().as_millisecond(),
            destination: arn.to_owned(),
            configuration: String::new(),
            principal: String::new(),
            requester: None,
            source: String::new(),
            request_id: call.cx.id.id.clone(),
            host_id: call.cx.id.extended.clone(),
            key: String::new(),
            version: None,
            size: None,
            etag: None,
            generation: [0; 16],
            reason: String::new(),
            replication: None,
            transitioned: None,
        }
    }
}

/// How AWS names a destination that is not there, and what it tells of it. (Recorded on AWS, `test_invalid_sqs_arn` and
/// `test_invalid_lambda_arn`.)
fn absence(service: Service, arn: &str, account: &str) -> (String, String) {
    let what = match service {
        Service::Topic => "topic",
        Service::Queue => "queue",
        Service::Function => return (format!("{arn}, null"), format!("Not authorized to invoke function [{arn}]")),
    };
    // Whether another account has such a target is not told.
    let why = if account_of(arn) == Some(account) {
        format!("The destination {what} does not exist")
    } else {
        format!("Permissions on the destination {what} do not allow S3 to publish notifications from this bucket")
    };
    (arn.to_owned(), why)
}

/// Refuses the destinations that are named with the reason why. (Recorded on AWS, `test_multiple_invalid_sqs_arns`.)
fn refuse_destinations(refused: impl IntoIterator<Item = (String, String)>) -> Result<()> {
    let mut refused = refused.into_iter().peekable();
    if refused.peek().is_none() {
        return Ok(());
    }
    let message = "Unable to validate the following destination configurations";
    let error = S3Error::new(ErrorCode::InvalidArgument, message);
    Err(ARGUMENTS
        .iter()
        .zip(refused)
        .fold(error, |error, ((name, value), (destination, why))| error.with(name, destination).with(value, why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn parsed(contents: &str) -> Result<Subscriptions> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</{ROOT}>");
        parse(document.as_bytes(), "us-east-1", || "fresh".to_owned())
    }

    fn queue(id: &str, event: &str, filter: &str) -> String {
        let id = if id.is_empty() { String::new() } else { format!("<Id>{id}</Id>") };
        format!("<QueueConfiguration>{id}<Queue>{QUEUE}</Queue><Event>{event}</Event>{filter}</QueueConfiguration>")
    }

    fn filter(rules: &[(&str, &str)]) -> String {
        let rule = |(name, value): &(&str, &str)| {
            format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>")
        };
        format!("<Filter><S3Key>{}</S3Key></Filter>", rules.iter().map(rule).collect::<String>())
    }

    #[test]
    fn a_configuration_comes_back_as_it_went_in() {
        let topic = "<TopicConfiguration><Id>t</Id><Topic>arn:aws:sns:us-east-1:000000000000:t</Topic>\
                     <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:Delete</Event></TopicConfiguration>";
        let filtered = queue("q", "s3:ObjectTagging:*", &filter(&[("Prefix", "a&amp;/"), ("Suffix", ".jpg")]));
        let function = "<CloudFunctionConfiguration><Id>f</Id>\
                        <CloudFunction>arn:aws:lambda:us-east-1:000000000000:function:f</CloudFunction>\
                        <Event>s3:ObjectAcl:Put</Event></CloudFunctionConfiguration>";
        let contents = format!("{topic}{filtered}{function}<EventBridgeConfiguration></EventBridgeConfiguration>");
        let subscriptions = parsed(&contents).unwrap();
        assert_eq!(canonical(&subscriptions), contents);
        assert_eq!(read(&contents).unwrap(), subscriptions);
        assert!(subscriptions.event_bridge && !subscriptions.is_empty());
        let lower = queue("q", "s3:ObjectTagging:*", &filter(&[("prefix", "a&amp;/"), ("suffix", ".jpg")]));
        assert_eq!(canonical(&parsed(&lower).unwrap()), filtered);
    }

    #[test]
    fn ids_are_given_and_nothing_is_empty() {
        assert_eq!(parsed(&queue("", "s3:ObjectAcl:Put", "")).unwrap().list[0].id, "fresh");
        assert_eq!(canonical(&parsed("").unwrap()), "");
        assert!(parsed("<EventBridgeConfiguration/>").unwrap().event_bridge);
    }

    #[test]
    fn what_aws_refuses_is_refused() {
        let refused = |contents: &str| {
            let error = parsed(contents).unwrap_err();
            (error.code, error.message.into_owned())
        };
        let put = "s3:ObjectCreated:Put";
        let argument = |message: &str| (ErrorCode::InvalidArgument, message.to_owned());
        assert_eq!(refused(&queue("q", "s3:Nothing", "")), argument("The event is not supported for notifications"));
        assert_eq!(
            refused(&queue("q", put, &filter(&[("middle", "x")]))),
            argument("filter rule name must be either prefix or suffix")
        );
        // (Recorded on AWS, `test_bucket_notification_with_missing_values_in_rule`.)
        for partial in ["", "<Name>prefix</Name>", "<Value>x</Value>"] {
            let filter = format!("<Filter><S3Key><FilterRule>{partial}</FilterRule></S3Key></Filter>");
            assert_eq!(refused(&queue("q", put, &filter)).0, ErrorCode::MalformedXml, "{partial}");
        }
        let empty = queue("q", put, &filter(&[("Suffix", "")]));
        assert_eq!(read(&canonical(&parsed(&empty).unwrap())).unwrap().list[0].suffix.as_deref(), Some(""));
        assert_eq!(
            refused(&queue("q", put, &filter(&[("prefix", "x"), ("Prefix", "y")]))),
            argument("Cannot specify more than one prefix rule in a filter.")
        );
        assert_eq!(
            refused(&queue("q", put, &filter(&[("suffix", &"x".repeat(1025))]))),
            argument("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation")
        );
        let two =
            |filter_a: &str, filter_b: &str| queue("a", put, filter_a) + &queue("b", "s3:ObjectCreated:*", filter_b);
        assert_eq!(refused(&two("", "")), argument(OVERLAPPING));
        assert_eq!(refused(&two(&filter(&[("prefix", "x")]), "")), argument(AMBIGUOUS));
        assert!(parsed(&two(&filter(&[("prefix", "x")]), &filter(&[("prefix", "y")]))).is_ok());
        let twice = queue("a", put, "") + &queue("a", "s3:ObjectRemoved:*", "");
        assert_eq!(refused(&twice), argument("Same ID used for multiple configurations. IDs must be unique"));
        for (arn, message) in [
            ("nonsense", "The ARN could not be parsed"),
            ("arn:aws:sns:us-east-1:000000000000:t", "The ARN is not well formed"),
            ("arn:aws:sqs:us-east-1:1:q", "The ARN is not well formed"),
            (
                "arn:aws:sqs:eu-west-1:000000000000:q",
                "The notification destination service region is not valid for the bucket location constraint",
            ),
        ] {
            assert_eq!(refused(&queue("q", put, "").replace(QUEUE, arn)), argument(message), "{arn}");
        }
        let no_event = format!("<QueueConfiguration><Queue>{QUEUE}</Queue></QueueConfiguration>");
        let queue = queue("q", put, "");
        for malformed in [
            no_event,
            queue.replace("<Queue>", "<Topic>").replace("</Queue>", "</Topic>"),
            queue.replace("</Queue>", "</Queue><Topic>arn:aws:sns:us-east-1:000000000000:t</Topic>"),
            queue.replace("</Queue>", "</Queue><InvocationRole>r</InvocationRole>"),
            queue.replace("</Queue>", "</Queue><Filtre/>"),
            "<EventBridgeConfiguration><Bus>b</Bus></EventBridgeConfiguration>".to_owned(),
        ] {
            assert_eq!(parsed(&malformed).unwrap_err().code, ErrorCode::MalformedXml, "{malformed}");
        }
    }

    #[test]
    fn every_destination_that_is_refused_is_told_of() {
        let refused = |list: &[(Service, &str)]| {
            let list = list.iter().map(|(service, arn)| absence(*service, arn, "000000000000"));
            refuse_destinations(list).map_err(|error| error.detail)
        };
        assert_eq!(refused(&[]), Ok(()));
        let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
        let told = [
            ("ArgumentName1", QUEUE.to_owned()),
            ("ArgumentValue1", "The destination queue does not exist".to_owned()),
            ("ArgumentName2", format!("{function}, null")),
            ("ArgumentValue2", format!("Not authorized to invoke function [{function}]")),
        ];
        assert_eq!(refused(&[(Service::Queue, QUEUE), (Service::Function, function)]), Err(told.to_vec()));
        assert_eq!(refused(&[(Service::Queue, QUEUE); 11]).unwrap_err().len(), 20);
    }
}
