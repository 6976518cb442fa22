"""Event notifications through brokers: NATS with and without JetStream, MQTT, AMQP and Kafka."""

import base64
import json
import time
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from support.brokers import Mosquitto, Nats, RabbitMQ
from support.kafka import Cluster, GuardedBroker
from support.peers import authority
from support.server import Server


def arn(name):
    return f"arn:aws:sqs:us-east-1:000000000000:{name}"


def target(name, url, **options):
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"arn": arn(name), "url": url, **options}.items()]
    return "[[notifications.targets]]\n" + "\n".join(lines) + "\n"


@pytest.fixture
def serve(tmp_path):
    """Starts a server with targets, and has a bucket tell one of them."""
    started = []

    def serve(*targets):
        config = tmp_path / "strongroom.toml"
        config.write_text("".join(targets))
        server = Server(arguments=["--config", str(config)]).start()
        started.append(server)
        return server.client("s3")

    yield serve
    for server in started:
        server.destroy()


def tell(s3, bucket, name, skip=False):
    s3.create_bucket(Bucket=bucket)
    queue = {"Id": "q", "QueueArn": arn(name), "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}, SkipDestinationValidation=skip
    )


def record_of(message):
    (record,) = json.loads(message)["Records"]
    return record["eventName"], record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]


def test_nats_and_jetstream(serve, tmp_path):
    nats = Nats(tmp_path)
    try:
        url = f"nats://127.0.0.1:{nats.port}"
        s3 = serve(target("core", url, subject="s3.core"), target("stream", url, subject="s3.kept", jetstream=True))
        messages = nats.subscribe("s3.core")
        tell(s3, "core", "core")
        assert json.loads(messages.get(timeout=20))["Event"] == "s3:TestEvent"
        for key in ("a", "b"):
            s3.put_object(Bucket="core", Key=key, Body=b"x")
        told = {record_of(messages.get(timeout=20)) for _ in range(2)}
        assert told == {("ObjectCreated:Put", "core", "a"), ("ObjectCreated:Put", "core", "b")}

        made = nats.request("$JS.API.STREAM.CREATE.kept", {"name": "kept", "subjects": ["s3.kept"], "storage": "file"})
        assert "error" not in made, made
        tell(s3, "stream", "stream")
        s3.put_object(Bucket="stream", Key="before", Body=b"x")
        # What is told while the broker is down waits for it.
        kept = nats.subscribe("s3.kept")
        s3.put_object(Bucket="stream", Key="during-1", Body=b"x")
        kept.get(timeout=20)
        nats.stop()
        s3.put_object(Bucket="stream", Key="during-2", Body=b"x")
        nats.start()
        deadline = time.monotonic() + 60
        while (state := nats.request("$JS.API.STREAM.INFO.kept", {})["state"])["messages"] < 4:
            assert time.monotonic() < deadline, state
            time.sleep(0.5)
        last = nats.request("$JS.API.STREAM.MSG.GET.kept", {"seq": state["last_seq"]})["message"]["data"]
        assert record_of(base64.b64decode(last))[2] == "during-2"
    finally:
        nats.stop()


def test_mqtt(serve, tmp_path):
    broker = Mosquitto(tmp_path)
    try:
        credentials = {"username": broker.USER, "password": broker.PASSWORD}
        s3 = serve(target("mqtt", f"mqtt://127.0.0.1:{broker.port}", subject="s3/events", **credentials))
        messages = broker.subscribe("s3/events")
        tell(s3, "box", "mqtt")
        assert json.loads(messages.get(timeout=20))["Event"] == "s3:TestEvent"
        s3.put_object(Bucket="box", Key="a", Body=b"x")
        assert record_of(messages.get(timeout=20)) == ("ObjectCreated:Put", "box", "a")
        broker.stop()
        s3.put_object(Bucket="box", Key="late", Body=b"x")
        broker.start()
        messages = broker.subscribe("s3/events")
        assert record_of(messages.get(timeout=60)) == ("ObjectCreated:Put", "box", "late")
    finally:
        broker.stop()


def test_amqp(serve, tmp_path):
    broker = RabbitMQ(tmp_path)
    try:
        url = f"amqp://127.0.0.1:{broker.port}"
        s3 = serve(
            target("direct", url, subject="events", username="guest", password="guest"),
            target("routed", url, subject="created", exchange="s3"),
        )
        channel = broker.channel()
        # A message that no queue takes is not lost: it waits.
        tell(s3, "direct", "direct", skip=True)
        s3.put_object(Bucket="direct", Key="early", Body=b"x")
        channel.queue_declare("events", durable=True)
        properties, body = broker.take(channel, "events", wait=60)
        assert record_of(body) == ("ObjectCreated:Put", "direct", "early")
        assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)

        channel.exchange_declare("s3", "direct", durable=True)
        channel.queue_declare("mine", durable=True)
        channel.queue_bind("mine", "s3", "created")
        tell(s3, "routed", "routed")
        assert json.loads(broker.take(channel, "mine")[1])["Event"] == "s3:TestEvent"
        broker.stop()
        s3.put_object(Bucket="routed", Key="late", Body=b"x")
        broker.start()
        channel = broker.channel()
        assert record_of(broker.take(channel, "mine", wait=90)[1]) == ("ObjectCreated:Put", "routed", "late")
    finally:
        broker.stop()


def test_kafka(serve):
    cluster = Cluster()
    s3 = serve(target("kafka", f"kafka://{cluster.brokers}", subject="s3.events"))
    # What cannot be told yet, as there is no such topic, waits for it.
    tell(s3, "box", "kafka", skip=True)
    keys = ["early", "a", "b/c", "ü", "a"]
    s3.put_object(Bucket="box", Key=keys[0], Body=b"x")
    time.sleep(2)
    assert cluster.create("s3.events") > 1
    for key in keys[1:]:
        s3.put_object(Bucket="box", Key=key, Body=b"x")
    records = cluster.consume("s3.events", len(keys))
    assert {key for key, _, _, _ in records} == {f"box/{key}".encode() for key in keys}
    for key, partition, headers, value in records:
        assert partition == cluster.partition_of(key)
        assert headers == {"content-type": b"application/json"}
        event, bucket, told = record_of(value)
        assert (event, bucket) == ("ObjectCreated:Put", "box")
        assert told == urllib.parse.quote_plus(key.decode().removeprefix("box/"), safe="/")
    # What is told of one object comes in its order.
    sequencers = [json.loads(value)["Records"][0]["s3"]["object"]["sequencer"] for key, *_, value in records if key == b"box/a"]
    assert sequencers == sorted(sequencers) and len(sequencers) == 2
    # The test event is about no object.
    tell(s3, "tested", "kafka")
    assert None in [key for key, *_ in cluster.consume("s3.events", len(keys) + 1)]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_kafka_over_tls_with_a_password(serve, tmp_path, mechanism):
    ca, certificate, key = authority(tmp_path)
    broker = GuardedBroker(mechanism, certificate, key)
    try:
        url = f"kafka+tls://127.0.0.1:{broker.port}"
        options = {"subject": broker.TOPIC, "ca": str(ca), "username": broker.USER, "mechanism": mechanism}
        s3 = serve(
            target("known", url, password=broker.PASSWORD, **options),
            target("unknown", url, password="another password", **options),
            target("untrusting", url, **options | {"ca": str(stranger(tmp_path))}, password=broker.PASSWORD),
        )
        tell(s3, "box", "known")
        assert broker.values.get(timeout=20)["Event"] == "s3:TestEvent"
        s3.put_object(Bucket="box", Key="a", Body=b"x")
        assert record_of(json.dumps(broker.values.get(timeout=20))) == ("ObjectCreated:Put", "box", "a")
        for name in ("unknown", "untrusting"):
            with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
                tell(s3, name, name)
        assert broker.values.empty()
    finally:
        broker.stop()


def stranger(directory):
    """The certificate of an authority that has certified nobody here."""
    other = directory / "stranger"
    other.mkdir()
    return authority(other)[0]
