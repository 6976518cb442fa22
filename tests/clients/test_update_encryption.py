"""UpdateObjectEncryption: the key changes, and nothing else."""

import json

import pytest

from support.calls import body_of, headers_of, multipart, refused, status_of
from support.data import content
from support.peers import every_key_service
from support.requests import send, signed
from support.server import Endpoint

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
DATA = content(200_000, "update")
PARTS = [content(5 * 2**20, "one"), content(100, "two")]


@pytest.fixture
def update(s3, bucket):
    """update(key_arn, ...): changes the encryption of the object `k`."""

    def call(arn, key="k", **more):
        return s3.update_object_encryption(Bucket=bucket, Key=key, ObjectEncryption={"SSEKMS": {"KMSKeyArn": arn} | more})

    return call


def facts(s3, bucket, key="k"):
    """All that must stay as it was."""
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    kept = ("ETag", "LastModified", "ContentLength", "Metadata", "ContentType", "StorageClass")
    return {name: value for name, value in head.items() if name in kept or name.startswith("Checksum")}


def sources(shared_key):
    return {
        "SSE-S3": {},
        "SSE-KMS": {"ServerSideEncryption": "aws:kms"},
        "SSE-KMS with a context": {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "eyJhIjoiYiJ9"},
        "SSE-KMS with a bucket key": {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True},
        "the same key": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": shared_key["Arn"]},
    }


@every_key_service
@pytest.mark.parametrize("bucket_key", [False, True])
@pytest.mark.parametrize("source", sources({"Arn": ""}))
def test_nothing_but_the_key_changes(s3, bucket, update, shared_key, source, bucket_key):
    options = sources(shared_key)[source] | {"Metadata": {"colour": "blue"}, "ChecksumAlgorithm": "SHA256"}
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)
    before = facts(s3, bucket)
    answer = update(shared_key["Arn"], BucketKeyEnabled=bucket_key)
    assert status_of(answer) == 200
    assert facts(s3, bucket) == before
    head = headers_of(s3.head_object(Bucket=bucket, Key="k"))
    assert (head[SSE], head[KEY_ID], head.get(BUCKET_KEY)) == ("aws:kms", shared_key["Arn"], "true" if bucket_key else None)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    assert body_of(s3.get_object(Bucket=bucket, Key="k", Range="bytes=65530-65545")) == DATA[65530:65546]


@every_key_service
@pytest.mark.parametrize("options", [{}, {"ServerSideEncryption": "aws:kms"}], ids=["SSE-S3", "SSE-KMS"])
def test_an_object_made_of_parts(s3, bucket, update, shared_key, options):
    multipart(s3, bucket, "k", PARTS, **options)
    before = facts(s3, bucket)
    update(shared_key["Arn"])
    assert facts(s3, bucket) == before
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"".join(PARTS)
    assert body_of(s3.get_object(Bucket=bucket, Key="k", PartNumber=2)) == PARTS[1]


def test_the_old_key_is_no_longer_needed(s3, kms, bucket, update, key, shared_key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    update(shared_key["Arn"])
    kms.disable_key(KeyId=key["KeyId"])
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


def test_a_policy_on_the_key(s3, bucket, update, key, shared_key):
    """A policy that demands one key speaks of updates too."""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    demanded = {"ArnNotEquals": {f"s3:{KEY_ID}": shared_key["Arn"]}}
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:UpdateObjectEncryption", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": statement | {"Condition": demanded}}))
    with refused("AccessDenied", 403) as refusal:
        update(key["Arn"])
    assert refusal.message.endswith("with an explicit deny in a resource-based policy (statement: statement 1)")
    update(shared_key["Arn"])
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))[KEY_ID] == shared_key["Arn"]


def test_who_may_not_write_may_not_update(s3, bucket, update, shared_key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": statement}))
    with refused("AccessDenied", 403) as refusal:
        update(shared_key["Arn"])
    assert "s3:PutObject" in refusal.message


def test_a_refused_update_changes_nothing(s3, kms, bucket, update, key, shared_key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=shared_key["Arn"])
    kms.disable_key(KeyId=key["KeyId"])
    with refused("KMS.DisabledException", 400, f"{key['Arn']} is disabled."):
        update(key["Arn"])
    with refused("KMS.NotFoundException", 400):
        update("arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012")
    with refused("AccessDenied", 403) as refusal:
        update("arn:aws:kms:us-east-1:444455556666:key/12345678-1234-1234-1234-123456789012")
    assert "must be owned by the same account as the bucket" in refusal.message
    for name in ("alias/a-long-enough-one", shared_key["KeyId"], "arn:aws:kms:us-east-1:000000000000:alias/a"):
        with refused("InvalidRequest", 400) as refusal:
            update(name)
        assert "require a valid Amazon Web Services KMS key Amazon Resource Name (ARN)" in refusal.message
    with refused("NoSuchKey", 404):
        update(shared_key["Arn"], key="not-there")
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))[KEY_ID] == shared_key["Arn"]
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("", "require a valid new encryption type"),
        ("<SSE-C/>", "doesn't support updating the encryption type to DSSE-KMS or SSE-C"),
        ("<DSSE-KMS/>", "doesn't support updating the encryption type to DSSE-KMS or SSE-C"),
        ("<SSE-KMS/>", "require an Amazon Web Services KMS key Amazon Resource Name"),
        ("<SSE-KMS><KMSKeyArn>x</KMSKeyArn><BucketKeyEnabled>1</BucketKeyEnabled></SSE-KMS>", "BucketKeyEnabled value"),
    ],
)
def test_documents_that_ask_for_something_else(server, s3, bucket, inner, text):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    body = f"<ObjectEncryption>{inner}</ObjectEncryption>".encode()
    answer = signed(server, "PUT", f"/{bucket}/k", [("encryption", "")], body=body)
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer.body
    assert text in answer.error["Message"]


def told_by_the_model(message):
    """Whether the model's page of the operation has the text, word for word."""
    import html
    import re

    page = Endpoint("http://127.0.0.1:1", "x", "x").client("s3").meta.service_model.operation_model("UpdateObjectEncryption")
    plain = lambda text: re.sub(r"\s", "", html.unescape(re.sub("<[^>]+>", "", text)).replace("\u2019", "'"))  # noqa: E731
    return plain(message) in plain(page.documentation)


def test_refusals_are_in_the_words_of_the_model(server, s3, bucket, update, shared_key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    s3.put_object(Bucket=bucket, Key="dsse", Body=DATA, ServerSideEncryption="aws:kms:dsse")
    told = set()

    def document(inner, path=f"/{bucket}/k"):
        answer = signed(server, "PUT", path, [("encryption", "")], body=f"<ObjectEncryption>{inner}</ObjectEncryption>".encode())
        assert answer.status in (400, 403)
        told.add(answer.error["Message"])

    arn = f"<KMSKeyArn>{shared_key['Arn']}</KMSKeyArn>"
    document("")
    document("<DSSE-KMS/>")
    document("<SSE-KMS/>")
    document("<SSE-KMS><KMSKeyArn>alias/x</KMSKeyArn></SSE-KMS>")
    document(f"<SSE-KMS>{arn}<BucketKeyEnabled>maybe</BucketKeyEnabled></SSE-KMS>")
    document(f"<SSE-KMS>{arn.replace('000000000000', '444455556666')}</SSE-KMS>")
    document(f"<SSE-KMS>{arn}</SSE-KMS>", f"/{bucket}/dsse")
    headers = {"host": server.host, "authorization": f"AWS {server.access_key}:c2lnbmF0dXJl"}
    told.add(send(server, "PUT", f"/{bucket}/k?encryption", headers, b"").error["Message"])
    assert len(told) == 8
    assert [message for message in sorted(told) if not told_by_the_model(message)] == []


def test_signature_version_4_is_required(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    headers = {"host": server.host, "authorization": f"AWS {server.access_key}:c2lnbmF0dXJl"}
    for path in (f"/{bucket}/k?encryption", f"/{bucket}?encryption"):
        answer = send(server, "PUT", path, headers, b"<ObjectEncryption/>")
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        assert "require Amazon Web Services Signature Version 4" in answer.error["Message"]


@every_key_service
def test_updates_and_overwrites_at_once(s3, bucket, update, shared_key):
    """Whoever comes last, the object is whole and opens."""
    from support.calls import in_parallel

    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    in_parallel(
        lambda n: update(shared_key["Arn"]) if n % 2 else s3.put_object(Bucket=bucket, Key="k", Body=DATA), range(60)
    )
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
