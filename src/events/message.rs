//! The JSON that targets get. (AWS: "Event message structure", user guide; for EventBridge, "EventBridge event message
//! structure".)

use std::net::IpAddr;

use serde::Serialize;
use serde_json::json;

use super::name::EventName;
use crate::clock::{from_millis, iso8601, iso8601_seconds};
use crate::crypto::digest::sha256;
use crate::crypto::random;
use crate::store::outbox::EventRecord;
use crate::wire::percent::url_encode;

/// The name of the event that is sent when a configuration is put.
pub const TEST_EVENT: &str = "TestEvent";
/// The entity tag of a delete marker: that of nothing.
const ETAG_OF_MARKER: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// What ARNs of EventBridge's buses begin with.
const EVENT_BUS: &str = "arn:aws:events:";

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'o> {
    /// The server's region.
    pub region: &'o str,
    /// The bucket's name.
    pub bucket: &'o str,
    /// The bucket owner's account id.
    pub owner: &'o str,
}

/// The ARN of an account's default event bus.
pub fn event_bus(region: &str, account: &str) -> String {
    format!("{EVENT_BUS}{region}:{account}:event-bus/default")
}

/// The message that tells of `event`, which has this sequence number; `etag` is the object's.
pub fn compose(origin: &Origin<'_>, event: &EventRecord, sequence: u64, etag: Option<&str>) -> Vec<u8> {
    if event.name == TEST_EVENT {
        return encode(&TestEvent {
            service: "Amazon S3",
            event: "s3:TestEvent",
            time: iso8601(from_millis(event.at)),
            bucket: origin.bucket,
            request_id: &event.request_id,
            host_id: &event.host_id,
        });
    }
    let name = EventName::parse(&event.name);
    let sequencer = format!("00{sequence:016X}");
    if event.destination.starts_with(EVENT_BUS) {
        return encode(&for_event_bridge(origin, event, name, &sequencer, etag));
    }
    let beside_object = name.is_some_and(EventName::is_beside_object);
    let replication = event.replication.as_ref().map(|facts| ReplicationData {
        replication_rule_id: &facts.rule,
        destination_bucket: &facts.destination,
        s3_operation: &facts.operation,
        request_time: iso8601(from_millis(facts.requested)),
        failure_reason: facts.failure.as_deref(),
        threshold: facts.threshold.map(|minutes| minutes.to_string()),
        replication_time: facts.replicated.map(|at| iso8601(from_millis(at))),
    });
    encode(&Message {
        records: [Record {
            event_version: name.map_or("2.1", EventName::version),
            event_source: "aws:s3",
            aws_region: origin.region,
            event_time: iso8601(from_millis(event.at)),
            event_name: &event.name,
            user_identity: Principal { principal_id: &event.principal },
            request_parameters: RequestParameters { source_ip: &event.source },
            response_elements: ResponseElements { request_id: &event.request_id, host_id: &event.host_id },
            s3: S3 {
                schema_version: "1.0",
                configuration_id: &event.configuration,
                bucket: Bucket {
                    name: origin.bucket,
                    owner: Principal { principal_id: origin.owner },
                    arn: format!("arn:aws:s3:::{}", origin.bucket),
                },
                object: Object {
                    key: url_encode(&event.key),
                    size: event.size.filter(|_| !beside_object),
                    etag: etag.or(etag_of_marker(name)),
                    version_id: event.version.as_deref(),
                    sequencer: (!beside_object).then_some(sequencer.as_str()),
                },
            },
            replication_event_data: replication,
            lifecycle_event_data: event.transitioned.as_deref().map(|class| LifecycleData {
                transition_event_data: TransitionData { destination_storage_class: class },
            }),
        }],
    })
}

/// What stands for the ETag of a delete marker, which has none.
fn etag_of_marker(name: Option<EventName>) -> Option<&'static str> {
    name.is_some_and(EventName::is_of_marker).then_some(ETAG_OF_MARKER)
}

fn for_event_bridge(
    origin: &Origin<'_>,
    event: &EventRecord,
    name: Option<EventName>,
    sequencer: &str,
    etag: Option<&str>,
) -> serde_json::Value {
    let beside_object = name.is_some_and(EventName::is_beside_object);
    let mut object = json!({"key": event.key});
    let member = |object: &mut serde_json::Value, name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            object[name] = value;
        }
    };
    member(&mut object, "size", event.size.filter(|_| !beside_object).map(Into::into));
    member(&mut object, "etag", etag.or(etag_of_marker(name)).map(Into::into));
    member(&mut object, "version-id", event.version.as_deref().map(Into::into));
    member(&mut object, "sequencer", (!beside_object).then_some(sequencer.into()));
    let mut detail = json!({
        "version": "0",
        "bucket": {"name": origin.bucket},
        "object": object,
        "request-id": event.request_id,
        // "AWS account ID or AWS service principal of requester"; "Source IP address of S3 request. Only present for events that
        // are triggered by an S3 request." (User guide, "Event message detail field".)
        "requester": event.requester.as_ref().unwrap_or(&event.principal),
    });
    let is_requested = event.source.parse::<IpAddr>().is_ok();
    member(&mut detail, "source-ip-address", is_requested.then_some(event.source.as_str().into()));
    member(&mut detail, "reason", (!event.reason.is_empty()).then_some(event.reason.as_str().into()));
    let deletion = match name {
        Some(EventName::ObjectRemovedDelete | EventName::LifecycleExpirationDelete) => Some("Permanently Deleted"),
        Some(name) if name.is_of_marker() => Some("Delete Marker Created"),
        _ => None,
    };
    member(&mut detail, "deletion-type", deletion.map(Into::into));
    member(&mut detail, "destination-storage-class", event.transitioned.as_deref().map(Into::into));
    // The same event has the same id, however often it is sent.
    let mut id = [0; 16];
    id.copy_from_slice(&sha256(format!("{}{sequencer}{}", origin.bucket, event.request_id).as_bytes())[..16]);
    json!({
        "version": "0",
        "id": random::uuid(id),
        "detail-type": name.and_then(EventName::detail_type).unwrap_or_default(),
        "source": "aws.s3",
        "account": origin.owner,
        "time": iso8601_seconds(from_millis(event.at)),
        "region": origin.region,
        "resources": [format!("arn:aws:s3:::{}", origin.bucket)],
        "detail": detail,
    })
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    // Strings and numbers: what cannot fail.
    serde_json::to_vec(message).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TestEvent<'m> {
    service: &'m str,
    event: &'m str,
    time: String,
    bucket: &'m str,
    request_id: &'m str,
    host_id: &'m str,
}

#[derive(Serialize)]
struct Message<'m> {
    #[serde(rename = "Records")]
    records: [Record<'m>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'m> {
    event_version: &'m str,
    event_source: &'m str,
    aws_region: &'m str,
    event_time: String,
    event_name: &'m str,
    user_identity: Principal<'m>,
    request_parameters: RequestParameters<'m>,
    response_elements: ResponseElements<'m>,
    s3: S3<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_event_data: Option<ReplicationData<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle_event_data: Option<LifecycleData<'m>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Principal<'m> {
    principal_id: &'m str,
}

#[derive(Serialize)]
struct RequestParameters<'m> {
    #[serde(rename = "sourceIPAddress")]
    source_ip: &'m str,
}

#[derive(Serialize)]
struct ResponseElements<'m> {
    #[serde(rename = "x-amz-request-id")]
    request_id: &'m str,
    #[serde(rename = "x-amz-id-2")]
    host_id: &'m str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct S3<'m> {
    #[serde(rename = "s3SchemaVersion")]
    schema_version: &'m str,
    configuration_id: &'m str,
    bucket: Bucket<'m>,
    object: Object<'m>,
}

#[derive(Serialize)]
struct Bucket<'m> {
    name: &'m str,
    #[serde(rename = "ownerIdentity")]
    owner: Principal<'m>,
    arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'m> {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "eTag", skip_serializing_if = "Option::is_none")]
    etag: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequencer: Option<&'m str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplicationData<'m> {
    replication_rule_id: &'m str,
    destination_bucket: &'m str,
    s3_operation: &'m str,
    request_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_time: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleData<'m> {
    transition_event_data: TransitionData<'m>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransitionData<'m> {
    destination_storage_class: &'m str,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::store::outbox::ReplicationFacts;

    const ORIGIN: Origin<'_> = Origin { region: "us-east-1", bucket: "b", owner: "111122223333" };

    fn event(name: EventName, destination: &str) -> EventRecord {
        EventRecord {
            name: name.as_str().to_owned(),
            at: 1_700_000_000_123,
            destination: destination.to_owned(),
            configuration: "c".to_owned(),
            principal: "111122223333".to_owned(),
            source: "192.0.2.1".to_owned(),
            request_id: "R".to_owned(),
            host_id: "H".to_owned(),
            key: "a b/ü".to_owned(),
            version: Some("v".to_owned()),
            size: Some(7),
            etag: None,
            generation: [0; 16],
            reason: name.reason().unwrap_or_default().to_owned(),
            replication: None,
            transitioned: None,
            requester: None,
        }
    }

    fn parsed(event: &EventRecord) -> Value {
        serde_json::from_slice(&compose(&ORIGIN, event, 0xAB, Some("e"))).unwrap()
    }

    #[test]
    fn a_message_has_the_structure_of_aws() {
        let event = event(EventName::ObjectCreatedPut, "arn:aws:sns:us-east-1:111122223333:t");
        let text = String::from_utf8(compose(&ORIGIN, &event, 0xAB, Some("e"))).unwrap();
        assert_eq!(
            text,
            "{\"Records\":[{\"eventVersion\":\"2.1\",\"eventSource\":\"aws:s3\",\"awsRegion\":\"us-east-1\",\
             \"eventTime\":\"2023-11-14T22:13:20.123Z\",\"eventName\":\"ObjectCreated:Put\",\
             \"userIdentity\":{\"principalId\":\"111122223333\"},\
             \"requestParameters\":{\"sourceIPAddress\":\"192.0.2.1\"},\
             \"responseElements\":{\"x-amz-request-id\":\"R\",\"x-amz-id-2\":\"H\"},\
             \"s3\":{\"s3SchemaVersion\":\"1.0\",\"configurationId\":\"c\",\
             \"bucket\":{\"name\":\"b\",\"ownerIdentity\":{\"principalId\":\"111122223333\"},\"arn\":\"arn:aws:s3:::b\"},\
             \"object\":{\"key\":\"a+b/%C3%BC\",\"size\":7,\"eTag\":\"e\",\"versionId\":\"v\",\
             \"sequencer\":\"0000000000000000AB\"}}}]}"
        );
    }

    #[test]
    fn what_there_is_not_is_left_out() {
        let mut event = event(EventName::ObjectRemovedDelete, "arn:aws:sqs:us-east-1:111122223333:q");
        (event.size, event.version) = (None, None);
        let value: Value = serde_json::from_slice(&compose(&ORIGIN, &event, 1, None)).unwrap();
        let object = value["Records"][0]["s3"]["object"].as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["key", "sequencer"]);
        assert!(value["Records"][0].get("replicationEventData").is_none());
    }

    #[test]
    fn events_about_replications_tell_of_them() {
        let facts = ReplicationFacts {
            rule: "r".to_owned(),
            destination: "arn:aws:s3:::d".to_owned(),
            operation: "OBJECT_PUT".to_owned(),
            requested: 0,
            failure: Some("x".to_owned()),
            threshold: None,
            replicated: None,
        };
        let late = ReplicationFacts { failure: None, threshold: Some(15), replicated: Some(960_000), ..facts.clone() };
        let of = |name: EventName, facts: ReplicationFacts| {
            let replication = Some(facts);
            parsed(&EventRecord { replication, ..event(name, "arn:aws:sqs:us-east-1:111122223333:q") })
        };
        let told = of(EventName::ReplicationReplicatedAfterThreshold, late);
        let told = told["Records"][0]["replicationEventData"].clone();
        assert_eq!((&told["threshold"], &told["replicationTime"]), (&"15".into(), &"1970-01-01T00:16:00.000Z".into()));
        assert!(told.get("failureReason").is_none());
        let record = &of(EventName::ReplicationFailed, facts)["Records"][0];
        assert!(record["replicationEventData"].get("threshold").is_none());
        assert_eq!(record["eventVersion"], "2.2");
        assert_eq!(record["replicationEventData"]["failureReason"], "x");
        assert_eq!(record["replicationEventData"]["requestTime"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn transitions_tell_of_the_class_that_they_led_to() {
        let of = |destination: &str| {
            let transitioned = Some("GLACIER_IR".to_owned());
            parsed(&EventRecord { transitioned, ..event(EventName::LifecycleTransition, destination) })
        };
        let record = &of("arn:aws:sqs:us-east-1:111122223333:q")["Records"][0];
        assert_eq!((&record["eventName"], &record["eventVersion"]), (&"LifecycleTransition".into(), &"2.3".into()));
        let class = &record["lifecycleEventData"]["transitionEventData"]["destinationStorageClass"];
        assert_eq!(class, "GLACIER_IR");
        let event = of(&event_bus("us-east-1", "111122223333"));
        assert_eq!(event["detail-type"], "Object Storage Class Changed");
        assert_eq!(event["detail"]["destination-storage-class"], "GLACIER_IR");
        assert!(event["detail"].get("reason").is_none());
    }

    #[test]
    fn what_is_changed_beside_an_object_has_neither_size_nor_sequencer() {
        for name in [EventName::ObjectTaggingPut, EventName::ObjectTaggingDelete, EventName::ObjectAclPut] {
            let told = parsed(&event(name, "arn:aws:sqs:us-east-1:111122223333:q"));
            let object = told["Records"][0]["s3"]["object"].as_object().unwrap();
            assert_eq!(object.keys().collect::<Vec<_>>(), ["eTag", "key", "versionId"], "{name:?}");
            let detail = parsed(&event(name, &event_bus("us-east-1", "111122223333")))["detail"].take();
            let object = detail["object"].as_object().unwrap();
            assert_eq!(object.keys().collect::<Vec<_>>(), ["etag", "key", "version-id"], "{name:?}");
            assert!(detail.get("reason").is_none() && detail.get("source-ip-address").is_some(), "{name:?}");
        }
    }

    #[test]
    fn event_bridge_is_told_the_account_and_where_a_request_came_from() {
        let bus = event_bus("us-east-1", "111122223333");
        let user = EventRecord {
            principal: "AWS:AIDAEXAMPLE".to_owned(),
            requester: Some("444455556666".to_owned()),
            ..event(EventName::ObjectCreatedPost, &bus)
        };
        let detail = &parsed(&user)["detail"];
        assert_eq!((&detail["requester"], &detail["reason"]), (&"444455556666".into(), &"POST Object".into()));
        assert_eq!(detail["source-ip-address"], "192.0.2.1");
        let service = EventRecord {
            principal: "s3.amazonaws.com".to_owned(),
            source: "s3.amazonaws.com".to_owned(),
            ..event(EventName::LifecycleExpirationDelete, &bus)
        };
        let detail = &parsed(&service)["detail"];
        assert_eq!(
            (&detail["requester"], &detail["reason"]),
            (&"s3.amazonaws.com".into(), &"Lifecycle Expiration".into())
        );
        assert!(detail.get("source-ip-address").is_none());
    }

    #[test]
    fn a_test_event_is_short() {
        let event = EventRecord {
            name: TEST_EVENT.to_owned(),
            ..event(EventName::ObjectCreatedPut, "arn:aws:sns:us-east-1:111122223333:t")
        };
        let value = parsed(&event);
        assert_eq!((&value["Service"], &value["Event"]), (&"Amazon S3".into(), &"s3:TestEvent".into()));
        assert_eq!((&value["Bucket"], &value["RequestId"], &value["HostId"]), (&"b".into(), &"R".into(), &"H".into()));
    }

    #[test]
    fn event_bridge_has_a_form_of_its_own() {
        let bus = event_bus("us-east-1", "111122223333");
        let marked = event(EventName::ObjectRemovedDeleteMarkerCreated, &bus);
        let value: Value = serde_json::from_slice(&compose(&ORIGIN, &marked, 0xAB, None)).unwrap();
        assert_eq!(value["detail"]["object"]["etag"], "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(value["detail"]["reason"], "DeleteObject");
        assert_eq!(value["detail-type"], "Object Deleted");
        assert_eq!(value["detail"]["deletion-type"], "Delete Marker Created");
        assert_eq!(value["detail"]["object"]["key"], "a b/ü");
        assert_eq!(value["time"], "2023-11-14T22:13:20Z");
        assert_eq!(value["id"].as_str().unwrap().len(), 36);
    }
}
