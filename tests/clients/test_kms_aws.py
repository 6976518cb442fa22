"""S3 on AWS KMS: on moto's, on Strongroom's own KMS API (which checks signatures and keys' states), and on one in trouble."""

import base64
import json
import time

import pytest

from support.calls import body_of, headers_of, keys_of, refused
from support.data import content
from support.peers import AWS_ENVIRONMENT, Moto, Stub, aws_config, server_with, table, transit_config

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
DATA = content(100_000, "aws")
AWAY = "The key management service is not available. Please try again."
SLOW_DOWN = "Please reduce your request rate for operations involving AWS KMS."
QUICK = table("[kms.remote]", {"attempt_ms": 1000, "attempts": 2, "breaker_failures": 3, "breaker_seconds": 1})


@pytest.fixture
def serve(request):
    """Makes running servers of one configuration each, with a bucket."""

    def make(config, environment=AWS_ENVIRONMENT, **options):
        server = server_with(QUICK + config, environment=environment, **options)
        request.addfinalizer(server.destroy)
        server.start()
        server.s3 = server.client("s3")
        server.s3.create_bucket(Bucket="box")
        return server

    return make


@pytest.fixture
def moto(tmp_path):
    moto = Moto(tmp_path / "moto").start()
    yield moto
    moto.stop()


def put(server, key="k", arn=None, **more):
    options = {"ServerSideEncryption": "aws:kms"} | ({"SSEKMSKeyId": arn} if arn else {}) | more
    return server.s3.put_object(Bucket="box", Key=key, Body=DATA, **options)


def get(server, key="k"):
    return body_of(server.s3.get_object(Bucket="box", Key=key))


def test_arns_pass_through_unchanged(serve, moto):
    server, kms = serve(aws_config(moto.url)), moto.client()
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/payroll", TargetKeyId=key["KeyId"])
    alias_arn = key["Arn"].split(":key/")[0] + ":alias/payroll"
    for form in (key["Arn"], key["KeyId"], f"aws/{key['KeyId']}", "aws/alias/payroll", "alias/payroll", alias_arn):
        assert put(server, arn=form)["SSEKMSKeyId"] == key["Arn"], form
        assert get(server) == DATA
    with refused("KMS.NotFoundException", 400):
        put(server, "none", arn="aws/alias/none")


def test_the_default_key_is_made_or_asked_for(serve, moto):
    kms = moto.client()
    without = serve(aws_config(moto.url, create_default_key=False))
    with refused("KMS.NotFoundException", 400):
        put(without)
    made = put(serve(aws_config(moto.url)))["SSEKMSKeyId"]
    assert kms.describe_key(KeyId="alias/strongroom")["KeyMetadata"]["Arn"] == made
    assert put(without)["SSEKMSKeyId"] == made
    nameless = "[kms]\ndefault_service = \"aws\"\n" + table("[[kms.aws]]", {"name": "aws", "endpoint": moto.url})
    with refused("KMS.NotFoundException", 400) as refusal:
        put(serve(nameless))
    assert "default_key" in refusal.message


def test_nothing_is_encrypted_under_keys_of_another_account_than_is_configured(serve, moto):
    """What is wrapped is opened again by the key's ARN, which would be looked for elsewhere."""
    server = serve(aws_config(moto.url, account_id="111122223333"))
    key = moto.client().create_key()["KeyMetadata"]
    for form in (key["KeyId"], f"aws/{key['Arn']}"):
        with refused("KMS.NotFoundException", 400) as refusal:
            put(server, arn=form)
        assert key["Arn"] in refusal.message and "configured for the key service 'aws'" in refusal.message
    assert keys_of(server.s3, "box") == []


def test_moto_goes_and_comes_back(serve, moto):
    server = serve(aws_config(moto.url))
    put(server)
    server.s3.put_object(Bucket="box", Key="plain", Body=b"plain")
    moto.stop()
    for call in (lambda: get(server), lambda: put(server, "new")):
        began = time.monotonic()
        with refused("ServiceUnavailable", 503, AWAY):
            call()
        assert time.monotonic() - began < 8
    assert server.s3.head_object(Bucket="box", Key="k")["ServerSideEncryption"] == "aws:kms"
    assert keys_of(server.s3, "box") == ["k", "plain"]
    assert body_of(server.s3.get_object(Bucket="box", Key="plain")) == b"plain"
    moto.start()  # It has forgotten its keys.
    key = moto.client().create_key()["KeyMetadata"]["Arn"]
    deadline = time.monotonic() + 20
    while True:
        try:
            put(server, "new", arn=key)
            break
        except server.s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "ServiceUnavailable", error.response
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert get(server, "new") == DATA


# --- Strongroom's own KMS API ----------------------------------------------------------------------------------------


@pytest.fixture
def upstream(fresh_server):
    """A server that keeps the keys of others."""
    return fresh_server


@pytest.fixture
def downstream(serve, upstream):
    environment = AWS_ENVIRONMENT | {
        "AWS_ACCESS_KEY_ID": upstream.access_key,
        "AWS_SECRET_ACCESS_KEY": upstream.secret_key,
    }
    return serve(aws_config(upstream.url, ca_file=upstream.ca), environment)


def test_the_states_of_keys_are_told_as_aws_tells_them(upstream, downstream):
    kms = upstream.client("kms")
    key = kms.create_key()["KeyMetadata"]
    put(downstream, arn=key["Arn"])
    put(downstream, "two-layers", arn=key["Arn"], ServerSideEncryption="aws:kms:dsse")
    kms.disable_key(KeyId=key["KeyId"])
    for call in (lambda: get(downstream), lambda: get(downstream, "two-layers"), lambda: put(downstream, arn=key["Arn"])):
        with refused("KMS.DisabledException", 400, f"{key['Arn']} is disabled."):
            call()
    assert headers_of(downstream.s3.head_object(Bucket="box", Key="k"))[KEY_ID] == key["Arn"]
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    with refused("KMS.KMSInvalidStateException", 400, f"{key['Arn']} is pending deletion."):
        get(downstream)
    kms.cancel_key_deletion(KeyId=key["KeyId"])
    kms.enable_key(KeyId=key["KeyId"])
    assert get(downstream) == get(downstream, "two-layers") == DATA
    signing = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    with refused("KMS.InvalidKeyUsageException", 400):
        put(downstream, "none", arn=signing)


def test_both_may_have_the_same_account_and_region(upstream, downstream):
    theirs = upstream.client("kms").create_key()["KeyMetadata"]["Arn"]
    ours = downstream.client("kms").create_key()["KeyMetadata"]["Arn"]
    assert put(downstream, "theirs", arn=theirs)["SSEKMSKeyId"] == theirs
    assert put(downstream, "ours", arn=ours)["SSEKMSKeyId"] == ours
    rows = downstream.strongroom("keys", "usage", "--json").json
    assert {row["key"]: row["service"] for row in rows} == {theirs: "aws", ours: "embedded"}
    downstream.strongroom("rewrap", "--bucket", "box", "--from", ours, "--to", theirs)
    upstream.stop()
    with refused("ServiceUnavailable", 503, AWAY):
        get(downstream, "ours")


def test_credentials_that_are_not_taken_are_the_operators_affair(serve, upstream):
    server = serve(aws_config(upstream.url, ca_file=upstream.ca))
    with refused("ServiceUnavailable", 503, AWAY):
        put(server)
    assert "UnrecognizedClientException" in server.log_text() or "InvalidClientTokenId" in server.log_text()


def test_an_authority_that_is_not_trusted(serve, upstream):
    server = serve(aws_config(upstream.url))
    with refused("ServiceUnavailable", 503, AWAY):
        put(server)


# --- a KMS in trouble ------------------------------------------------------------------------------------------------


@pytest.fixture
def stub(request):
    def make(*arguments, **options):
        stub = Stub(*arguments, **options)
        request.addfinalizer(stub.stop)
        return stub

    return make


def test_throttling_is_slow_down(serve, stub):
    throttled = stub(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
    server = serve(aws_config(throttled.url, create_default_key=False))
    for _ in range(5):
        with refused("SlowDown", 503, SLOW_DOWN):
            put(server, arn="alias/x")
    assert throttled.calls >= 10, "it is tried again, and no breaker opens"
    server.s3.put_object(Bucket="box", Key="plain", Body=b"plain")
    assert keys_of(server.s3, "box") == ["plain"]


def test_a_quota_of_transit_is_slow_down(serve, stub):
    limited = stub(429, {"errors": ["request path \"transit/keys/k\": rate limit quota exceeded"]})
    limited.ca = ""
    config = transit_config(limited, create_default_key=False).replace('ca_file = ""\n', "")
    server = serve(config, {"BAO_TOKEN": "x"})
    with refused("SlowDown", 503, SLOW_DOWN):
        put(server, arn="bao/k")


def test_a_kms_that_does_not_answer_is_left_alone(serve, stub):
    silent = stub(200, {}, delay=10)
    server = serve(aws_config(silent.url, create_default_key=False))
    for _ in range(3):
        began = time.monotonic()
        with refused("ServiceUnavailable", 503, AWAY):
            put(server, arn="alias/x")
        assert time.monotonic() - began < 6
    asked = silent.calls
    began = time.monotonic()
    for _ in range(5):
        with refused("ServiceUnavailable", 503, AWAY):
            put(server, arn="alias/x")
        if time.monotonic() - began > 0.8:
            break
    assert silent.calls - asked <= 2, "the breaker is open"


# --- the root key, sealed by a key there -------------------------------------------------------------------------------


def unsealing(url, key, **more):
    root = {"root_key_protection": "kms", "root_key_kms_key": f"aws/{key}", "root_key_kms_wait_seconds": 2}
    return table("[kms]", root) + aws_config(url, default=False, create_default_key=False, **more)


def start_again(server):
    server.start()
    server.s3 = server.client("s3")


def test_a_server_unseals_itself(serve, moto):
    kms = moto.client()
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/root", TargetKeyId=key)
    server = serve(unsealing(moto.url, "alias/root"))
    server.s3.put_object(Bucket="box", Key="k", Body=DATA)
    wrapped = json.loads((server.data / "root.key.sealed").read_text())["wrapped"]
    assert (wrapped["by"], wrapped["key"]) == ("aws/alias/root", key)
    # The context is bound: without it the key's owner opens nothing by accident.
    blob = base64.b64decode(wrapped["ciphertext"])
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=blob)
    text = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"strongroom:purpose": "root key"})["Plaintext"]
    assert len(base64.b64decode(text)) == 32 and text.decode().strip() not in server.log_text()
    shown = server.strongroom("root-key", "rotate", "--json").json
    # The alias names another key by now: the file says which one sealed it.
    kms.update_alias(AliasName="alias/root", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    server.kill()
    start_again(server)
    assert get(server) == DATA
    assert server.strongroom("root-key", "show", "--json").json["id"] == shown["id"]
    server.stop()
    moto.stop()
    with pytest.raises(AssertionError, match="cannot be sealed or unsealed by kms: aws/alias/root: KeyUnavailableException"):
        server.start()
    moto.start()  # It has forgotten its keys.
    with pytest.raises(AssertionError, match="cannot be sealed or unsealed by kms: aws/alias/root: NotFoundException"):
        server.start()


def test_a_key_that_may_not_be_used_keeps_the_server_sealed(serve, upstream):
    kms = upstream.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    environment = AWS_ENVIRONMENT | {
        "AWS_ACCESS_KEY_ID": upstream.access_key,
        "AWS_SECRET_ACCESS_KEY": upstream.secret_key,
    }
    server = serve(unsealing(upstream.url, key, ca_file=upstream.ca), environment)
    server.s3.put_object(Bucket="box", Key="k", Body=DATA)
    kms.disable_key(KeyId=key)
    done = server.strongroom("root-key", "rotate", check=False)
    assert done.returncode == 1 and f"DisabledException: {key} is disabled." in done.stderr, done.stderr
    assert get(server) == DATA
    server.stop()
    with pytest.raises(AssertionError, match="DisabledException"):
        server.start()
    kms.enable_key(KeyId=key)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    owner = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [owner, deny]})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
    with pytest.raises(AssertionError, match="AccessDeniedException"):
        server.start()
    kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": [owner]})
    )
    start_again(server)
    assert get(server) == DATA
    used = upstream.aws("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=Decrypt")
    contexts = [
        json.loads(event["CloudTrailEvent"])["requestParameters"].get("encryptionContext") for event in used.json["Events"]
    ]
    assert {"strongroom:purpose": "root key"} in contexts
