"""The unwrap cache: it answers for the KMS, to nobody whom the KMS would not answer, and forgets at once."""

import json

import pytest

from support.calls import body_of, refused
from support.metrics import samples
from support.server import OTHER_ACCOUNT as OTHER
from support.server import two_accounts

DATA = b"cached"


def figures(server):
    names = {}
    for sample in samples(server):
        if sample.name.startswith("strongroom_kms_unwrap_cache_"):
            names[sample.name.removeprefix("strongroom_kms_unwrap_cache_").removesuffix("_total")] = int(sample.value)
        if sample.name == "strongroom_kms_requests_total" and sample.labels == {"operation": "Decrypt", "outcome": "ok"}:
            names["asked"] = int(sample.value)
    return names


@pytest.fixture
def cached(new_server, tmp_path):
    config = tmp_path / "cache.toml"
    config.write_text("[kms]\nunwrap_cache_entries = 100\nunwrap_cache_uses = 5\n")
    return new_server(arguments=["--config", str(config)])


@pytest.fixture
def objects(cached):
    s3, kms = cached.client("s3"), cached.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket="vault")
    s3.put_object(Bucket="vault", Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    return s3, kms, key


def test_hits_and_misses(cached, objects):
    s3, _, _ = objects
    before = figures(cached)
    for _ in range(4):
        assert body_of(s3.get_object(Bucket="vault", Key="k")) == DATA
    after = figures(cached)
    assert (after["hits"] - before["hits"], after["misses"] - before["misses"]) == (3, 1)
    assert after["asked"] - before.get("asked", 0) == 1 and after["entries"] == 1
    for _ in range(2):
        assert body_of(s3.get_object(Bucket="vault", Key="k")) == DATA
    assert figures(cached)["asked"] - before.get("asked", 0) == 2, "five uses, and no more"
    # The audit tells every use all the same.
    done = cached.strongroom("audit", "search", "--event-name", "Decrypt", "--json")
    assert len(done.stdout.splitlines()) == 6


def test_whatever_changes_a_keys_use_bites_at_once(cached, objects):
    s3, kms, key = objects

    def read():
        return body_of(s3.get_object(Bucket="vault", Key="k"))

    assert read() == DATA
    kms.disable_key(KeyId=key)
    with refused("KMS.DisabledException", 400):
        read()
    kms.enable_key(KeyId=key)
    assert read() == DATA
    policy = json.loads(kms.get_key_policy(KeyId=key)["Policy"])
    deny = {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    kms.put_key_policy(KeyId=key, Policy=json.dumps(policy | {"Statement": [*policy["Statement"], deny]}))
    with refused("AccessDenied", 403):
        read()
    kms.put_key_policy(KeyId=key, Policy=json.dumps(policy))
    assert read() == DATA
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    with refused("KMS.KMSInvalidStateException", 400):
        read()
    assert figures(cached)["evictions"] >= 3


def test_one_principals_answer_is_not_anothers(tmp_path):
    server = two_accounts(tmp_path)
    try:
        server.stop()
        config = tmp_path / "strongroom.toml"
        config.write_text("[kms]\nunwrap_cache_entries = 100\n" + config.read_text())
        server.start()
        theirs = type(server.other)(server.url, server.other.access_key, server.other.secret_key, server.ca).client("s3")
        s3, kms = server.client("s3"), server.client("kms")
        key = kms.create_key()["KeyMetadata"]["Arn"]
        s3.create_bucket(Bucket="vault")
        s3.put_public_access_block(Bucket="vault", PublicAccessBlockConfiguration={"BlockPublicPolicy": False})
        allow = {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::vault/*"}
        s3.put_bucket_policy(Bucket="vault", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
        s3.put_object(Bucket="vault", Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
        assert body_of(s3.get_object(Bucket="vault", Key="k")) == DATA
        with refused("AccessDenied", 403):
            theirs.get_object(Bucket="vault", Key="k")
        kms.create_grant(KeyId=key, GranteePrincipal=f"arn:aws:iam::{OTHER}:root", Operations=["Decrypt"])
        assert body_of(theirs.get_object(Bucket="vault", Key="k")) == DATA
    finally:
        server.destroy()


def test_it_is_off_unless_wanted(fresh_server):
    s3 = fresh_server.client("s3")
    s3.create_bucket(Bucket="vault")
    s3.put_object(Bucket="vault", Key="k", Body=DATA, ServerSideEncryption="aws:kms")
    for _ in range(2):
        s3.get_object(Bucket="vault", Key="k")
    found = figures(fresh_server)
    assert found["hits"] == found["misses"] == 0 and found["asked"] == 2
