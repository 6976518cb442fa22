"""Event notifications: their configuration, and what reaches a webhook over HTTPS."""

import hashlib
import hmac
import json
import time
from datetime import datetime, timezone

import pytest
from botocore.config import Config

from support.calls import multipart, refused
from support.data import content
from support.receiver import Receiver
from support.server import OTHER_ACCOUNT, Endpoint, Server

ACCOUNT = "000000000000"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:uploads"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:work"
BUS = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
TOKEN, SECRET = "bearer-token-of-the-hook", "signing-key-of-the-hook"


def target(receiver, arn, more=""):
    return f'[[notifications.targets]]\narn = "{arn}"\nurl = "{receiver.url}"\nca = "{receiver.pem}"\n{more}\n'


class Told:
    """A server whose targets are receivers of the test's own."""

    def __init__(self, directory):
        self.topic, self.queue, self.bus = (Receiver(directory, name) for name in ("topic", "queue", "bus"))
        config = directory / "strongroom.toml"
        config.write_text(
            target(self.topic, TOPIC, f'token = "{TOKEN}"\nsecret = "{SECRET}"')
            + target(self.queue, QUEUE)
            + target(self.bus, BUS)
            + "[lifecycle]\ninterval_seconds = 1\n"
        )
        self.server = Server(arguments=["--config", str(config)]).start()
        self.connect()
        self.buckets = 0

    def connect(self):
        self.s3 = self.server.client("s3")

    def bucket(self, versioned=False):
        self.buckets += 1
        name = f"told-{self.buckets}"
        self.s3.create_bucket(Bucket=name)
        if versioned:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def configure(self, bucket, **configuration):
        self.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)

    def tell_topic(self, bucket, *events, **more):
        """Has the topic told of `events`; its test event is passed over."""
        events = list(events) or ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
        self.configure(bucket, TopicConfigurations=[{"Id": "t", "TopicArn": TOPIC, "Events": events} | more])
        assert self.topic.message()["Event"] == "s3:TestEvent"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    told = Told(tmp_path_factory.mktemp("told"))
    yield told
    told.server.destroy()
    for receiver in (told.topic, told.queue, told.bus):
        receiver.close()


def test_a_configuration_comes_back_and_is_tested(told):
    bucket = told.bucket()
    assert "TopicConfigurations" not in told.s3.get_bucket_notification_configuration(Bucket=bucket)
    rules = [{"Name": "prefix", "Value": "images/"}, {"Name": "suffix", "Value": ".jpg"}]
    queue = {"QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
    topic = {"Id": "mine", "TopicArn": TOPIC, "Events": ["s3:ObjectRemoved:Delete"]}
    told.configure(bucket, TopicConfigurations=[topic], QueueConfigurations=[queue], EventBridgeConfiguration={})
    kept = told.s3.get_bucket_notification_configuration(Bucket=bucket)
    assert kept["TopicConfigurations"] == [topic]
    (kept_queue,) = kept["QueueConfigurations"]
    assert len(kept_queue.pop("Id")) > 20
    assert kept_queue["Filter"]["Key"]["FilterRules"] == [
        {"Name": "Prefix", "Value": "images/"},
        {"Name": "Suffix", "Value": ".jpg"},
    ]
    assert kept["EventBridgeConfiguration"] == {}
    for receiver in (told.topic, told.queue):
        test = receiver.message()
        assert (test["Service"], test["Event"], test["Bucket"]) == ("Amazon S3", "s3:TestEvent", bucket)
        assert len(test["RequestId"]) == 16 and test["HostId"] and test["Time"].endswith("Z")
    told.configure(bucket)
    assert "QueueConfigurations" not in told.s3.get_bucket_notification_configuration(Bucket=bucket)


def test_what_aws_refuses_is_refused(told):
    bucket = told.bucket()

    def queue(*events, arn=QUEUE, rules=(), **more):
        filters = {"Filter": {"Key": {"FilterRules": [{"Name": n, "Value": v} for n, v in rules]}}} if rules else {}
        return {"QueueArn": arn, "Events": list(events) or ["s3:ObjectCreated:*"]} | filters | more

    def refuse(message, *configurations):
        with refused("InvalidArgument", 400, message) as refusal:
            told.configure(bucket, QueueConfigurations=list(configurations))
        return refusal

    refusal = refuse("The event is not supported for notifications", queue("s3:Nothing"))
    assert (refusal.error["ArgumentName"], refusal.error["ArgumentValue"]) == ("Event", "s3:Nothing")
    refuse("The ARN is not well formed", queue(arn="arn:aws:sqs:us-east-1:1:x"))
    refuse(
        "The notification destination service region is not valid for the bucket location constraint",
        queue(arn=QUEUE.replace("us-east-1", "eu-west-1")),
    )
    overlap = "Configurations overlap. Configurations on the same bucket cannot share a common event type."
    refuse(overlap, queue(), queue("s3:ObjectCreated:Put"))
    refuse(
        "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are "
        "overlapping for the same event type.",
        queue(rules=[("prefix", "a")]),
        queue(rules=[("prefix", "ab")]),
    )
    refuse("Cannot specify more than one prefix rule in a filter.", queue(rules=[("prefix", "a"), ("Prefix", "b")]))
    unknown = QUEUE.replace("work", "unknown")
    refusal = refuse("Unable to validate the following destination configurations", queue(arn=unknown))
    assert refusal.error["ArgumentName1"] == unknown
    assert refusal.error["ArgumentValue1"] == "The destination queue does not exist"
    # Of several, each is told of; of functions, in other words.
    function = "arn:aws:lambda:us-east-1:000000000000:function:unknown"
    with refused("InvalidArgument", 400, "Unable to validate the following destination configurations") as refusal:
        told.configure(
            bucket,
            QueueConfigurations=[queue(), queue("s3:ObjectRemoved:*", arn=unknown)],
            LambdaFunctionConfigurations=[{"LambdaFunctionArn": function, "Events": ["s3:ObjectAcl:Put"]}],
        )
    assert {name: value for name, value in refusal.error.items() if name.startswith("Argument")} == {
        "ArgumentName1": unknown,
        "ArgumentValue1": "The destination queue does not exist",
        "ArgumentName2": f"{function}, null",
        "ArgumentValue2": f"Not authorized to invoke function [{function}]",
    }
    assert told.queue.is_silent(), "no test event where a destination is not there"
    told.queue.failing = True
    try:
        refuse("Unable to validate the following destination configurations", queue())
        told.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={"QueueConfigurations": [queue(arn=unknown)]},
            SkipDestinationValidation=True,
        )
    finally:
        told.queue.failing = False
    kept = told.s3.get_bucket_notification_configuration(Bucket=bucket)
    assert kept["QueueConfigurations"][0]["QueueArn"] == unknown


def test_a_put_is_told_of_as_by_aws(told):
    bucket = told.bucket(versioned=True)
    told.tell_topic(bucket)
    put = told.s3.put_object(Bucket=bucket, Key="a b/ü+", Body=b"hello")
    path, headers, body = told.topic.next()
    assert path == "/hook"
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-strongroom-signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    (record,) = json.loads(body)["Records"]
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["userIdentity"] == {"principalId": ACCOUNT}
    assert record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert record["responseElements"]["x-amz-request-id"] == put["ResponseMetadata"]["RequestId"]
    assert record["responseElements"]["x-amz-id-2"] == put["ResponseMetadata"]["HostId"]
    assert record["s3"]["configurationId"] == "t" and record["s3"]["s3SchemaVersion"] == "1.0"
    assert record["s3"]["bucket"]["name"] == bucket and record["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    entry = record["s3"]["object"]
    assert (entry["key"], entry["size"]) == ("a+b/%C3%BC%2B", 5)
    assert f'"{entry["eTag"]}"' == put["ETag"] and entry["versionId"] == put["VersionId"]
    assert int(entry["sequencer"], 16) > 0


def test_every_way_of_writing_and_deleting_is_told_of(told):
    bucket = told.bucket()
    told.tell_topic(bucket)
    s3 = told.s3
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    multipart(s3, bucket, "parts", [content(5 << 20, "p1"), b"p2"])
    form = told.server.client("s3", config=Config(signature_version="s3v4")).generate_presigned_post(bucket, "posted")
    fields = [part for name, value in form["fields"].items() for part in ("--form", f"{name}={value}")]
    told.server.curl(*fields, "--form", "file=posted;type=text/plain", form["url"], sign=False, check=True)
    s3.delete_object(Bucket=bucket, Key="copy")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "never"}]})
    s3.delete_object(Bucket=bucket, Key="nowhere")
    seen = {(record["eventName"], record["s3"]["object"]["key"]): record for record in told.topic.records(8)}
    assert set(seen) == {
        ("ObjectCreated:Put", "k"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Post", "posted"),
        ("ObjectRemoved:Delete", "copy"),
        ("ObjectRemoved:Delete", "k"),
        # What was not there is told of as well. (Recorded on AWS, `test_delete_objects`.)
        ("ObjectRemoved:Delete", "never"),
        ("ObjectRemoved:Delete", "nowhere"),
    }
    assert seen["ObjectCreated:CompleteMultipartUpload", "parts"]["s3"]["object"]["size"] == (5 << 20) + 2
    assert "size" not in seen["ObjectRemoved:Delete", "k"]["s3"]["object"]
    assert set(seen["ObjectRemoved:Delete", "nowhere"]["s3"]["object"]) == {"key", "sequencer"}
    assert told.topic.is_silent()


def test_versions_and_markers_are_told_of(told):
    bucket = told.bucket(versioned=True)
    told.tell_topic(bucket, "s3:ObjectRemoved:*")
    first = told.s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    marker = told.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    told.s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    marked, removed = told.topic.records(2)
    assert (marked["eventName"], marked["s3"]["object"]["versionId"]) == ("ObjectRemoved:DeleteMarkerCreated", marker)
    assert marked["s3"]["object"]["eTag"] == "d41d8cd98f00b204e9800998ecf8427e"
    assert (removed["eventName"], removed["s3"]["object"]["versionId"]) == ("ObjectRemoved:Delete", first)


LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("versioned", [False, True])
def test_what_the_life_cycle_ends_is_told_of(told, versioned):
    bucket = told.bucket(versioned)
    told.tell_topic(bucket, "s3:LifecycleExpiration:*", "s3:ObjectRemoved:*")
    written = told.s3.put_object(Bucket=bucket, Key="old/k", Body=b"1").get("VersionId")
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Date": LONG_AGO}}
    told.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    record = told.topic.record()
    assert record["eventVersion"] == "2.3"
    assert record["userIdentity"] == {"principalId": "s3.amazonaws.com"}
    assert record["requestParameters"] == {"sourceIPAddress": "s3.amazonaws.com"}
    assert len(record["responseElements"]["x-amz-request-id"]) == 16 and record["responseElements"]["x-amz-id-2"]
    assert record["s3"]["object"]["key"] == "old/k" and "size" not in record["s3"]["object"]
    if versioned:
        assert record["eventName"] == "LifecycleExpiration:DeleteMarkerCreated"
        listed = told.s3.list_object_versions(Bucket=bucket)
        assert [marker["VersionId"] for marker in listed["DeleteMarkers"]] == [record["s3"]["object"]["versionId"]]
        assert [version["VersionId"] for version in listed["Versions"]] == [written]
    else:
        assert record["eventName"] == "LifecycleExpiration:Delete"
        assert "Contents" not in told.s3.list_objects_v2(Bucket=bucket)
    assert told.topic.is_silent(), "it is told of once, and not as a removal"


def test_transitions_are_told_of(told):
    bucket = told.bucket()
    told.configure(
        bucket,
        TopicConfigurations=[{"Id": "t", "TopicArn": TOPIC, "Events": ["s3:LifecycleTransition"]}],
        EventBridgeConfiguration={},
    )
    assert told.topic.message()["Event"] == "s3:TestEvent"
    told.s3.put_object(Bucket=bucket, Key="k", Body=bytes(128 << 10))
    assert told.bus.message()["detail-type"] == "Object Created"
    transition = {"Date": LONG_AGO, "StorageClass": "GLACIER_IR"}
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "Transitions": [transition]}
    told.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    record = told.topic.record()
    assert (record["eventName"], record["eventVersion"]) == ("LifecycleTransition", "2.3")
    assert record["lifecycleEventData"] == {"transitionEventData": {"destinationStorageClass": "GLACIER_IR"}}
    event = told.bus.message()
    assert event["detail-type"] == "Object Storage Class Changed"
    assert event["detail"]["destination-storage-class"] == "GLACIER_IR"


def test_filters_choose_and_sequencers_order(told):
    bucket = told.bucket()
    rules = [{"Name": "prefix", "Value": "images/"}, {"Name": "suffix", "Value": ".jpg"}]
    told.tell_topic(bucket, "s3:ObjectCreated:*", Filter={"Key": {"FilterRules": rules}})
    for key in ("a.jpg", "images/a.png", "images/a.jpg", "images/a.jpg"):
        told.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    first, second = told.topic.records(2)
    assert [record["s3"]["object"]["key"] for record in (first, second)] == ["images/a.jpg"] * 2
    assert first["s3"]["object"]["sequencer"] < second["s3"]["object"]["sequencer"]
    assert told.topic.is_silent()


def test_event_bridge_is_told_in_its_own_form(told):
    bucket = told.bucket()
    told.configure(bucket, EventBridgeConfiguration={})
    put = told.s3.put_object(Bucket=bucket, Key="a b", Body=b"hello")
    event = told.bus.message()
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"] and event["account"] == ACCOUNT
    detail = event["detail"]
    assert detail["object"]["key"] == "a b" and detail["object"]["size"] == 5
    assert f'"{detail["object"]["etag"]}"' == put["ETag"]
    assert detail["reason"] == "PutObject" and detail["request-id"] == put["ResponseMetadata"]["RequestId"]
    assert (detail["requester"], detail["source-ip-address"]) == (ACCOUNT, "127.0.0.1")
    told.s3.put_object_tagging(Bucket=bucket, Key="a b", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    event = told.bus.message()
    assert event["detail-type"] == "Object Tags Added"
    assert set(event["detail"]["object"]) == {"key", "etag"} and "reason" not in event["detail"]


def test_event_bridge_is_told_the_account_of_a_user_and_why_an_object_went(told):
    bucket = told.bucket(versioned=True)
    told.configure(bucket, EventBridgeConfiguration={})
    iam = told.server.client("iam")
    iam.create_user(UserName="writer")
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="writer", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    server = told.server
    s3 = Endpoint(server.url, key["AccessKeyId"], key["SecretAccessKey"], server.ca).client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert told.bus.message()["detail"]["requester"] == ACCOUNT
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
    detail = told.bus.message()["detail"]
    assert (detail["requester"], detail["reason"]) == (ACCOUNT, "DeleteObject")
    assert detail["deletion-type"] == "Delete Marker Created"
    assert detail["object"]["etag"] == hashlib.md5(b"").hexdigest()


def test_a_list_that_is_put_again_is_not_told_of(told):
    bucket = f"told-lists-{told.buckets}"
    told.s3.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
    told.tell_topic(bucket, "s3:ObjectAcl:Put")
    told.s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    told.s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    listed = 'uri="http://acs.amazonaws.com/groups/s3/LogDelivery"'
    for _ in range(2):
        told.s3.put_object_acl(Bucket=bucket, Key="k", GrantRead=listed)
    told.s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    for record in told.topic.records(2):
        assert record["eventName"] == "ObjectAcl:Put"
        assert set(record["s3"]["object"]) == {"key", "eTag"}
    assert told.topic.is_silent()


def test_accounts_send_to_their_own_targets_and_to_those_that_list_them(two_account_server, tmp_path):
    closed, shared = Receiver(tmp_path, "closed"), Receiver(tmp_path, "shared")
    open_queue = QUEUE.replace("work", "open")
    more = target(closed, QUEUE) + target(shared, open_queue, f'accounts = ["{OTHER_ACCOUNT}"]')
    server = two_account_server(more=more)
    other = server.other.client("s3")
    other.create_bucket(Bucket="others-box")

    def configure(arn, **options):
        queue = {"Id": "q", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        configuration = {"QueueConfigurations": [queue]}
        other.put_bucket_notification_configuration(
            Bucket="others-box", NotificationConfiguration=configuration, **options
        )

    answers = set()
    for arn in (QUEUE, QUEUE.replace("work", "unknown")):
        with refused("InvalidArgument", 400, "Unable to validate the following destination configurations") as refusal:
            configure(arn)
        assert refusal.error["ArgumentName1"] == arn
        answers.add(refusal.error["ArgumentValue1"])
    denied = "Permissions on the destination queue do not allow S3 to publish notifications from this bucket"
    assert answers == {denied}, "whether the other account has such a queue is not told"
    # Where the destination is not looked at, nothing gets there all the same.
    configure(QUEUE, SkipDestinationValidation=True)
    other.put_object(Bucket="others-box", Key="k", Body=b"1")
    assert closed.is_silent()
    configure(open_queue)
    assert shared.message()["Event"] == "s3:TestEvent"
    other.put_object(Bucket="others-box", Key="k", Body=b"2")
    assert shared.record()["s3"]["object"]["key"] == "k"
    closed.close()
    shared.close()


def test_a_bus_without_a_target_is_refused(s3, bucket):
    """As a topic is: events that nobody takes are not asked for."""
    with refused("InvalidArgument", 400, "Unable to validate the following destination configurations"):
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
    with refused("InvalidArgument", 400):
        s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={"EventBridgeConfiguration": {}},
            SkipDestinationValidation=True,
        )
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_events_wait_for_a_target_that_comes_back(new_server, tmp_path):
    receiver = Receiver(tmp_path, "gone")
    config = tmp_path / "strongroom.toml"
    with_target, without = target(receiver, TOPIC), "[notifications]\nmax_age_hours = 1\n"
    config.write_text(with_target)
    server = new_server(arguments=["--config", str(config)])
    client = server.client("s3")
    client.create_bucket(Bucket="waiting")
    topic = {"Id": "t", "TopicArn": TOPIC, "Events": ["s3:ObjectCreated:*"]}
    client.put_bucket_notification_configuration(
        Bucket="waiting", NotificationConfiguration={"TopicConfigurations": [topic]}
    )
    assert receiver.message()["Event"] == "s3:TestEvent"
    assert server.stop() == 0
    config.write_text(without)
    server.start()
    server.client("s3").put_object(Bucket="waiting", Key="k", Body=b"x")
    waits = 'strongroom_outbox_waiting{kind="event"} 1'
    deadline = time.monotonic() + 30
    while waits not in server.get("/_/metrics").read().decode():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert server.stop() == 0
    assert "no such target is configured any more" in server.log_text()
    config.write_text(with_target)
    server.start()
    assert receiver.record()["s3"]["object"]["key"] == "k"
    receiver.close()


def test_the_entity_tag_lies_sealed_until_it_is_told(told):
    """The MD5 of an SSE-S3 object is in no file while its event waits."""
    bucket = told.bucket()
    told.tell_topic(bucket)
    told.topic.failing = True
    try:
        put = told.s3.put_object(Bucket=bucket, Key="k", Body=b"secret to be hashed")
        tag = put["ETag"].strip('"').encode()
        assert hashlib.md5(b"secret to be hashed").hexdigest().encode() == tag
        for path in told.server.files():
            data = path.read_bytes()
            assert tag not in data and bytes.fromhex(tag.decode()) not in data, path
    finally:
        told.topic.failing = False
    assert told.topic.record()["s3"]["object"]["eTag"].encode() == tag


def test_events_survive_a_kill_and_a_target_that_fails(told):
    bucket = told.bucket()
    told.tell_topic(bucket)
    told.topic.failing = True
    keys = [f"k{n}" for n in range(20)]
    for key in keys:
        told.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    told.server.kill()
    told.server.start()
    told.connect()
    told.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    told.s3.delete_bucket(Bucket=bucket)
    deadline = time.monotonic() + 30
    while "strongroom_outbox_waiting{kind=\"event\"} 40" not in told.server.get("/_/metrics").read().decode():
        assert time.monotonic() < deadline, told.server.get("/_/metrics").read().decode()
        time.sleep(0.5)
    told.topic.failing = False
    seen = {}
    while len(seen) < 20 or any(len(names) < 2 for names in seen.values()):
        record = told.topic.record(60)
        names = seen.setdefault(record["s3"]["object"]["key"], [])
        if record["eventName"] not in names:
            names.append(record["eventName"])
    assert seen == {key: ["ObjectCreated:Put", "ObjectRemoved:Delete"] for key in keys}, "each key's in order"


def test_buckets_without_a_configuration_tell_nobody(told):
    bucket = told.bucket()
    told.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    told.s3.delete_object(Bucket=bucket, Key="k")
    assert told.topic.is_silent() and told.queue.is_silent(0.1) and told.bus.is_silent(0.1)
