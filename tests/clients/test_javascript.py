"""The JavaScript clients of S3: AWS's SDK v3 and minio-js, each of them on a bucket whose default is SSE-KMS."""

import base64
import zlib

from support import node

KMS = {"SSEAlgorithm": "aws:kms"}


def test_the_sdk(server, s3, bucket):
    key = server.keys().create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": KMS | {"KMSMasterKeyID": key}, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    found = node.run(server, "s3.cjs", BUCKET=bucket)
    refusals = {name: found.pop(name) for name in ("exists", "missing", "missingHead", "missingBucket")}
    assert {name: (refusal["name"], refusal["status"]) for name, refusal in refusals.items()} == {
        "exists": ("PreconditionFailed", 412),
        "missing": ("NoSuchKey", 404),
        "missingHead": ("NotFound", 404),
        "missingBucket": ("NoSuchBucket", 404),
    }
    assert all(refusal["typed"] for refusal in refusals.values())
    crc = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()
    assert found == {
        "progress": True,
        "head": [5, "red", crc, True],
        "encryption": ["aws:kms", key, True],
        "large": True,
        "largeEncryption": "aws:kms",
        "range": True,
        "parts": 3,
        "tags": [{"Key": "k", "Value": "ü"}],
        "keys": ["a/large", "a/small é", "copy"],
        "prefixes": ["a/"],
        "presignedGet": "hello",
        "presignedPut": 200,
        "presigned": ["by url", "aws:kms"],
        "deleted": 4,
        "left": 0,
    }


def test_minio_js(server, bucket_names):
    key = server.keys().create_key()["KeyMetadata"]["Arn"]
    found = node.run(server, "minio.cjs", BUCKET=next(bucket_names), KEY=key)
    assert found.pop("sealed") in (None, "aws:kms"), "it keeps some headers to itself"
    assert found == {
        "exists": [True, False],
        "encryption": "aws:kms",
        "stat": [5, "red", True],
        "large": True,
        "partial": True,
        "both": True,
        "tags": [{"Key": "k", "Value": "v"}],
        "listed": ["a/large", "a/small é", "both", "copy", "tail"],
        "below": ["a/large", "a/small é"],
        "presigned": "hello",
        "presignedPut": 200,
        "posted": 204,
        "versioning": "Enabled",
        "missing": "NoSuchKey",
        "notEmpty": "BucketNotEmpty",
        "gone": True,
    }
