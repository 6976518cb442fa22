"""S3 Bucket Keys: few KMS calls for many objects, and no less control."""

import time

import pytest

from support.calls import body_of, headers_of, in_parallel, refused
from support.peers import every_key_service

BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled"
DATA = b"under a bucket key"


def options(key, **more):
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"], "BucketKeyEnabled": True} | more


def kms_calls(server):
    """How many requests the key service got from S3, by operation."""
    calls = {}
    for line in server.get("/_/metrics").read().decode().splitlines():
        if line.startswith("strongroom_kms_requests_total{"):
            labels, value = line.split("{")[1].split("} ")
            operation = dict(pair.split("=") for pair in labels.split(","))["operation"].strip('"')
            calls[operation] = calls.get(operation, 0) + int(float(value.split()[0]))
    return calls


def since(server, before):
    return {name: count - before.get(name, 0) for name, count in kms_calls(server).items() if count != before.get(name, 0)}


@pytest.fixture
def own(fresh_server):
    """A server of the test's own, so that the metrics are: its clients, a bucket and a key."""
    server = fresh_server
    s3, kms = server.client("s3"), server.keys()
    s3.create_bucket(Bucket="own")
    return server, s3, kms, kms.create_key()["KeyMetadata"]


def test_a_thousand_writes_cost_a_handful_of_kms_calls(own):
    server, s3, _, key = own
    before = kms_calls(server)
    in_parallel(lambda n: s3.put_object(Bucket="own", Key=str(n), Body=DATA, **options(key)), range(1000))
    assert since(server, before) == {"GenerateDataKey": 1}
    before = kms_calls(server)
    bodies = in_parallel(lambda n: body_of(s3.get_object(Bucket="own", Key=str(n))), range(1000))
    assert set(bodies) == {DATA}
    assert since(server, before) == {"Decrypt": 1}
    before = kms_calls(server)
    for n in range(10):
        s3.put_object(Bucket="own", Key=str(n), Body=DATA, **options(key, BucketKeyEnabled=False))
    assert since(server, before) == {"GenerateDataKey": 10}


@every_key_service
def test_each_bucket_key_and_context_has_a_bucket_key_of_its_own(own):
    server, s3, kms, key = own
    s3.create_bucket(Bucket="other")
    another = kms.create_key()["KeyMetadata"]
    before = kms_calls(server)
    for _ in range(3):
        s3.put_object(Bucket="own", Key="k", Body=DATA, **options(key))
        s3.put_object(Bucket="other", Key="k", Body=DATA, **options(key))
        s3.put_object(Bucket="own", Key="k", Body=DATA, **options(another))
        s3.put_object(Bucket="own", Key="k", Body=DATA, **options(key, SSEKMSEncryptionContext="eyJhIjoiYiJ9"))
    assert since(server, before) == {"GenerateDataKey": 4}


def test_a_disabled_key_bites_within_five_seconds(own):
    _, s3, kms, key = own
    s3.put_object(Bucket="own", Key="k", Body=DATA, **options(key))
    assert body_of(s3.get_object(Bucket="own", Key="k")) == DATA
    kms.disable_key(KeyId=key["KeyId"])
    disabled = time.monotonic()
    with refused("KMS.DisabledException", 400, f"{key['Arn']} is disabled."):
        s3.get_object(Bucket="own", Key="k")
    with refused("KMS.DisabledException", 400, f"{key['Arn']} is disabled."):
        s3.put_object(Bucket="own", Key="k2", Body=DATA, **options(key))
    assert time.monotonic() - disabled < 5
    assert headers_of(s3.head_object(Bucket="own", Key="k"))[BUCKET_KEY] == "true"
    kms.enable_key(KeyId=key["KeyId"])
    assert body_of(s3.get_object(Bucket="own", Key="k")) == DATA


def test_an_alias_that_is_pointed_elsewhere_is_followed(own):
    _, s3, kms, key = own
    another = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/moving", TargetKeyId=key["KeyId"])
    asked = options(key, SSEKMSKeyId="alias/moving")
    assert s3.put_object(Bucket="own", Key="1", Body=DATA, **asked)["SSEKMSKeyId"] == key["Arn"]
    kms.update_alias(AliasName="alias/moving", TargetKeyId=another["KeyId"])
    assert s3.put_object(Bucket="own", Key="2", Body=DATA, **asked)["SSEKMSKeyId"] == another["Arn"]


@every_key_service
def test_bucket_keys_outlive_a_restart(own):
    server, s3, _, key = own
    s3.put_object(Bucket="own", Key="k", Body=DATA, **options(key))
    server.stop()
    server.start()
    s3 = server.client("s3")
    assert body_of(s3.get_object(Bucket="own", Key="k")) == DATA
