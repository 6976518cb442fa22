"""DSSE-KMS: two layers under one KMS key."""

import pytest

from support.calls import body_of, completed, headers_of, refused
from support.data import base64_text, checksum, content, md5
from support.peers import every_key_service
from support.requests import signed

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
CONTEXT = f"{SSE}-context"
DATA = content(150_000, "dsse")
PART = content(5 * 2**20, "dsse part")


def encryption(response):
    return {name: value for name, value in headers_of(response).items() if name.startswith(SSE)}


def options(key, **more):
    return {"ServerSideEncryption": "aws:kms:dsse", "SSEKMSKeyId": key["KeyId"]} | more


@every_key_service
def test_the_header_matrix(s3, bucket, shared_key):
    expected = {SSE: "aws:kms:dsse", KEY_ID: shared_key["Arn"]}
    context = base64_text(b'{"team":"red"}')
    name = {"Bucket": bucket, "Key": "k"}
    put = s3.put_object(Body=DATA, **name, **options(shared_key, SSEKMSEncryptionContext=context))
    assert encryption(put) == expected | {CONTEXT: context}
    assert put["ETag"] != f'"{md5(DATA)}"'
    read = s3.get_object(**name)
    assert (encryption(read), body_of(read)) == (expected, DATA)
    assert body_of(s3.get_object(Range="bytes=65530-65545", **name)) == DATA[65530:65546]
    head = s3.head_object(ChecksumMode="ENABLED", **name)
    assert (encryption(head), head["ChecksumCRC32"]) == (expected, checksum("CRC32", DATA))
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **options(shared_key))
    assert encryption(copied) == expected
    assert body_of(s3.get_object(Bucket=bucket, Key="c")) == DATA
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=f"{bucket}/k", ServerSideEncryption="AES256")
    assert s3.get_object(Bucket=bucket, Key="plain")["ETag"] == f'"{md5(DATA)}"'


@every_key_service
def test_a_multipart_upload(s3, bucket, shared_key):
    expected = {SSE: "aws:kms:dsse", KEY_ID: shared_key["Arn"]}
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", **options(shared_key))
    name = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    parts = [s3.upload_part(PartNumber=n, Body=body, **name) for n, body in ((1, PART), (2, DATA))]
    named = [completed(n, part) for n, part in enumerate(parts, 1)]
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": named}, **name)
    for answer in (created, *parts, done):
        assert encryption(answer) == expected
    assert body_of(s3.get_object(Bucket=bucket, Key="m")) == PART + DATA
    assert body_of(s3.get_object(Bucket=bucket, Key="m", PartNumber=2)) == DATA


def test_bucket_keys_do_not_go_with_two_layers(s3, bucket, shared_key):
    with refused("InvalidArgument", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options(shared_key, BucketKeyEnabled=True))
    default = {"SSEAlgorithm": "aws:kms:dsse", "KMSMasterKeyID": shared_key["KeyId"]}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    put = s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert encryption(put) == {SSE: "aws:kms:dsse", KEY_ID: shared_key["Arn"]}


def test_a_disabled_key_bites(s3, kms, bucket, key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options(key))
    kms.disable_key(KeyId=key["KeyId"])
    with refused("KMS.DisabledException", 400, f"{key['Arn']} is disabled."):
        s3.get_object(Bucket=bucket, Key="k")
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))[SSE] == "aws:kms:dsse"


@pytest.mark.parametrize(("method", "headers"), [("PUT", {SSE: "aws:kms:dsse"}), ("GET", {})])
def test_plain_http_is_refused(server, s3, bucket, shared_key, method, headers):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options(shared_key))
    answer = signed(server, method, f"/{bucket}/k", headers=headers, url=server.http_url)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"].endswith("must be made over a secure connection.")


def test_an_update_of_the_encryption_is_refused(s3, bucket, shared_key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options(shared_key))
    with refused("InvalidRequest", 400) as refusal:
        s3.update_object_encryption(
            Bucket=bucket, Key="k", ObjectEncryption={"SSEKMS": {"KMSKeyArn": shared_key["Arn"]}}
        )
    assert "doesn't support source objects with the encryption type DSSE-KMS or SSE-C" in refusal.message
