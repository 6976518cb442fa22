"""Encryption where the request is not a plain PUT: presigned URLs with signed headers, operations that take no encryption
headers, keys of other accounts, and contexts at their limits."""

import base64
import hashlib
import json

import pytest
from botocore.config import Config

from support.calls import body_of, headers_of, refused
from support.data import base64_text, content
from support.requests import Signer, send, signed
from support.server import two_accounts

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
CONTEXT = f"{SSE}-context"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
DATA = content(70_000, "forms")


# --- presigned URLs ------------------------------------------------------------------------------------------------


def test_a_presigned_put_with_signed_encryption_headers(server, s3, bucket, shared_key):
    asked = {SSE: "aws:kms", KEY_ID: shared_key["KeyId"], BUCKET_KEY: "true"}
    target = Signer.of(server).presign("PUT", f"/{bucket}/k", headers=asked)
    answer = send(server, "PUT", target, {"host": server.host} | asked, DATA)
    assert answer.status == 200, answer.body
    assert (answer.headers[SSE], answer.headers[KEY_ID], answer.headers[BUCKET_KEY]) == ("aws:kms", shared_key["Arn"], "true")
    head = headers_of(s3.head_object(Bucket=bucket, Key="k"))
    assert head[KEY_ID] == shared_key["Arn"]
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


def test_encryption_that_a_presigned_query_asks_for(server, s3, bucket, shared_key):
    """Some SDKs move every x-amz- header into the URL; what was asked for is not weakened by that."""
    signer, host = Signer.of(server), {"host": server.host}
    said = [(SSE, "aws:kms"), (KEY_ID, shared_key["KeyId"]), (BUCKET_KEY, "true")]
    answer = send(server, "PUT", signer.presign("PUT", f"/{bucket}/k", said), host, DATA)
    assert answer.status == 200, answer.body
    assert (answer.headers[SSE], answer.headers[KEY_ID], answer.headers[BUCKET_KEY]) == ("aws:kms", shared_key["Arn"], "true")
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))[KEY_ID] == shared_key["Arn"]
    rule = {"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    secret = b"0123456789abcdef0123456789abcdef"
    customer = [
        (f"{SSE}-customer-algorithm", "AES256"),
        (f"{SSE}-customer-key", base64.b64encode(secret).decode()),
        (f"{SSE}-customer-key-MD5", base64.b64encode(hashlib.md5(secret).digest()).decode()),
    ]
    answer = send(server, "PUT", signer.presign("PUT", f"/{bucket}/c", customer), host, DATA)
    assert answer.status == 200, answer.body
    assert send(server, "GET", signer.presign("GET", f"/{bucket}/c", customer), host).body == DATA
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secret}
    assert body_of(s3.get_object(Bucket=bucket, Key="c", **mine)) == DATA
    bare = send(server, "GET", signer.presign("GET", f"/{bucket}/c"), host)
    assert (bare.status, bare.code) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    "sent",
    [{}, {SSE: "AES256"}, {SSE: "aws:kms", KEY_ID: "12345678-1234-1234-1234-123456789012"}],
    ids=["left out", "weakened", "another key"],
)
def test_signed_encryption_headers_cannot_be_changed(server, s3, bucket, shared_key, sent):
    asked = {SSE: "aws:kms", KEY_ID: shared_key["KeyId"]}
    target = Signer.of(server).presign("PUT", f"/{bucket}/k", headers=asked)
    answer = send(server, "PUT", target, {"host": server.host} | sent, DATA)
    assert answer.status in (400, 403) and answer.code in ("SignatureDoesNotMatch", "AccessDenied"), answer.body
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_encryption_headers_that_are_not_signed_are_refused(server, s3, bucket, shared_key):
    """S3: every x-amz- header of a request must be signed."""
    target = Signer.of(server).presign("PUT", f"/{bucket}/k")
    answer = send(server, "PUT", target, {"host": server.host, SSE: "aws:kms"}, DATA)
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_boto3_presigns_with_encryption(server, s3, bucket, shared_key):
    client = server.client("s3", config=Config(signature_version="s3v4"))
    parameters = {"Bucket": bucket, "Key": "k", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": shared_key["Arn"]}
    url = client.generate_presigned_url("put_object", parameters)
    sent = ["-X", "PUT", "-d", "data", "-H", f"{SSE}: aws:kms", "-H", f"{KEY_ID}: {shared_key['Arn']}", "-H", "content-type:"]
    done = server.curl(*sent, "-w", "%{http_code}", url, sign=False)
    assert done.stdout.endswith("200"), done.stdout
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))[KEY_ID] == shared_key["Arn"]


# --- operations that take no encryption headers ----------------------------------------------------------------------


def test_parts_take_their_uploads_encryption(server, s3, bucket, shared_key):
    """The model gives UploadPart none but SSE-C's headers: KMS's are the upload's affair."""
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": shared_key["Arn"]}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **options)["UploadId"]
    query = [("partNumber", "1"), ("uploadId", upload)]
    plain = signed(server, "PUT", f"/{bucket}/m", query, body=DATA)
    assert (plain.status, plain.headers[KEY_ID]) == (200, shared_key["Arn"])
    assert plain.headers[CONTEXT] is None


# --- keys of others --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """A server with two accounts, and the other's endpoint."""
    server = two_accounts(tmp_path_factory.mktemp("accounts"))
    yield server, server.other
    server.stop()
    server.destroy()


def test_another_accounts_key_may_not_be_used(accounts):
    server, other = accounts
    arn = other.client("kms").create_key()["KeyMetadata"]["Arn"]
    s3 = server.client("s3")
    s3.create_bucket(Bucket="mine")
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn}
    # As of a key that is not there: a stranger does not learn which of the two it is.
    text = (
        "User: arn:aws:iam::000000000000:root is not authorized to perform: kms:GenerateDataKey on this resource because the "
        "resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly "
        "denies access"
    )
    for more in ({}, {"BucketKeyEnabled": True}):
        with refused("AccessDenied", 403, text):
            s3.put_object(Bucket="mine", Key="k", Body=DATA, **options, **more)
    with refused("AccessDenied", 403):
        s3.create_multipart_upload(Bucket="mine", Key="k", **options)
    assert "Contents" not in s3.list_objects_v2(Bucket="mine")


def test_the_managed_key_is_each_accounts_own(accounts):
    server, other = accounts
    keys = set()
    for endpoint, bucket in ((server, "managed-one"), (other, "managed-two")):
        s3 = endpoint.client("s3")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms")
        keys.add(headers_of(s3.head_object(Bucket=bucket, Key="k"))[KEY_ID])
    assert len({arn.split(":")[4] for arn in keys}) == 2
    for arn in keys - {headers_of(server.client("s3").head_object(Bucket="managed-one", Key="k"))[KEY_ID]}:
        with refused("AccessDenied", 403):
            server.client("s3").put_object(
                Bucket="managed-one", Key="x", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId=arn
            )


# --- contexts at their limits ----------------------------------------------------------------------------------------

BAD_CONTEXT = (
    f"The header '{CONTEXT}' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map"
)


@pytest.mark.parametrize(
    "pairs", [{"a": ""}, {"": "a"}], ids=["an empty value", "an empty name"]
)
def test_contexts_that_kms_would_not_take(s3, bucket, shared_key, pairs):
    text = base64_text(json.dumps(pairs).encode())
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": shared_key["Arn"], "SSEKMSEncryptionContext": text}
    with refused("InvalidArgument", 400, BAD_CONTEXT):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)


def test_a_context_is_as_long_as_headers_may_be(s3, bucket, shared_key):
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": shared_key["Arn"]}
    text = base64_text(json.dumps({"a": "x" * 7000}).encode())
    with refused("RequestHeaderSectionTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA, SSEKMSEncryptionContext=text, **options)


def test_a_context_of_many_pairs_in_any_script(s3, bucket, shared_key):
    pairs = {f"clé-{n}": f"значение-{n}" for n in range(60)}
    text = base64.b64encode(json.dumps(pairs, ensure_ascii=False).encode()).decode()
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": shared_key["Arn"], "SSEKMSEncryptionContext": text}
    answer = s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)
    assert headers_of(answer)[CONTEXT] == text
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
