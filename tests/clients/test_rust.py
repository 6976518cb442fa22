"""The AWS SDK for Rust, on a bucket whose default is SSE-KMS: tests/clients/rust, which `make rust-client` builds."""

import base64
import json
import os
import subprocess
import zlib

import pytest
from support.calls import missing


@pytest.fixture
def client():
    path = os.environ.get("STRONGROOM_RUST_CLIENT")
    if path is None:
        missing("the Rust client is not built (make rust-client), or STRONGROOM_RUST_CLIENT does not say where it is")
    return path


def test_the_sdk(server, s3, bucket, client):
    key = server.keys().create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    environment = server.environment() | {"BUCKET": bucket}
    done = subprocess.run([client], env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "head": [5, "red", base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()],
        "encryption": ["aws:kms", key, True],
        "range": "ell",
        "tags": [["k", "ü"]],
        "large": True,
        "largeEncryption": "aws:kms",
        "missing": [True, True, True],
        "exists": "PreconditionFailed",
        "url": True,
        "keys": ["a/large", "a/small é", "copy"],
        "prefixes": ["a/"],
        "deleted": 3,
        "left": 0,
    }
