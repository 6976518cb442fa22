"""`strongroom verify`: every stored run is read, opened where its key is at hand, and reported by key and kind."""

import base64
import os

import pytest

from support.calls import multipart
from support.data import content

BIG = content(300_000, "verify")
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}


@pytest.fixture
def filled(fresh_server):
    """A stopped server whose bucket has objects of every kind, small and large; `.arn` is the KMS key of some."""
    s3, kms = fresh_server.client("s3"), fresh_server.client("kms")
    arn = fresh_server.arn = kms.create_key()["KeyMetadata"]["Arn"]
    fresh_server.kms = kms
    s3.create_bucket(Bucket="box")
    blocked = {"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket="box", ServerSideEncryptionConfiguration={"Rules": [default | blocked]})
    kinds = {
        "s3": {},
        "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn},
        "bucket-key": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn, "BucketKeyEnabled": True},
        "dsse": {"ServerSideEncryption": "aws:kms:dsse", "SSEKMSKeyId": arn},
        "c": CUSTOMER,
    }
    for name, options in kinds.items():
        for size, body in {"big": BIG, "small": b"small", "empty": b""}.items():
            s3.put_object(Bucket="box", Key=f"{name}/{size}", Body=body, **options)
    multipart(s3, "box", "parts", [content(5 * 2**20, "one"), b"two"], **kinds["kms"])
    s3.copy_object(Bucket="box", Key="shared", CopySource="box/parts", ServerSideEncryption="aws:kms", SSEKMSKeyId=arn)
    upload = s3.create_multipart_upload(Bucket="box", Key="open")["UploadId"]
    s3.upload_part(Bucket="box", Key="open", UploadId=upload, PartNumber=7, Body=BIG)
    fresh_server.stop()
    return fresh_server


def verify(server, *more, check=True):
    done = server.strongroom("verify", "--json", *more, check=check)
    return done, {(p["encryption"], p["key"]): p for p in done.json["buckets"][0]["protections"]}


def test_all_that_can_be_opened_is_opened(filled):
    _, found = verify(filled)
    expected = {
        ("SSE-S3", None): (4, 4, 0, 2 * len(BIG) + 5),
        ("SSE-KMS", filled.arn): (8, 8, 0, 2 * (len(BIG) + 5) + 2 * (5 * 2**20 + 3)),
        ("DSSE-KMS", filled.arn): (3, 3, 0, len(BIG) + 5),
        ("SSE-C", None): (3, 0, 3, len(BIG) + 5),
    }
    assert {k: tuple(p[n] for n in ("objects", "opened", "checked", "bytes")) for k, p in found.items()} == expected
    table = filled.strongroom("verify", "--bucket", "box").stdout.splitlines()
    assert table[0].split() == "BUCKET ENCRYPTION KEY OBJECTS BYTES OPENED CHECKED DAMAGED".split()
    assert len(table) == 5


def test_keys_that_are_not_at_hand(filled):
    filled.start()
    filled.client("kms").disable_key(KeyId=filled.arn)
    filled.stop()
    done, found = verify(filled, check=False)
    assert done.returncode == 4
    kms = found[("SSE-KMS", filled.arn)]
    assert (kms["opened"], kms["checked"], kms["damaged"]) == (0, 8, 0)
    assert "is disabled" in done.json["buckets"][0]["unavailable"][filled.arn]
    _, found = verify(filled, "--structure-only")
    assert all(p["opened"] == 0 and p["checked"] == p["objects"] for p in found.values())

    (filled.data / "root.key").rename(filled.data / "elsewhere")
    done, found = verify(filled, check=False)
    assert done.returncode == 4 and "Without the root key" in done.stderr
    assert not (filled.data / "root.key").exists(), "none is made up"
    assert all(p["opened"] == 0 and p["damaged"] == 0 for p in found.values())
    # Another one is as good as none.
    filled.extra_environment = {"STRONGROOM_ROOT_KEY": base64.b64encode(bytes(32)).decode()}
    done, found = verify(filled, check=False)
    assert done.returncode == 4 and "not the one that sealed this store" in done.stderr, done.stderr
    assert all(p["opened"] == 0 and p["damaged"] == 0 and p["checked"] == p["objects"] for p in found.values())


def test_a_flipped_bit_is_found_and_named(filled):
    segments = [path for path in (filled.data / "store").rglob("*") if path.is_file() and path.stat().st_size > 5 * 2**20]
    assert segments, "the big runs are in a file of their own"
    damaged = 0
    for path in segments:
        if "db" in path.parts or path.suffix in (".sst", ".log"):
            continue
        with path.open("r+b") as file:
            # Every 64 KiB, so that some run is hit wherever it lies.
            size = path.stat().st_size
            for at in range(40_000, size, 65_536):
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 1]))
            damaged += 1
    assert damaged
    done, _ = verify(filled, check=False)
    assert done.returncode == 3
    named = {damage["what"] for damage in done.json["buckets"][0]["damages"]}
    assert {"kms/big", "s3/big", "dsse/big", "parts", "shared"} <= named
    assert not {name for name in named if name.endswith(("small", "empty"))}
    table = filled.strongroom("verify", check=False)
    assert table.returncode == 3 and "damaged: box/kms/big: " in table.stdout


def test_what_cannot_be_verified(fresh_server, tmp_path):
    running = fresh_server.strongroom("verify", check=False)
    assert running.returncode == 1 and "in use by a strongroom server" in running.stderr
    fresh_server.stop()
    missing = fresh_server.strongroom("verify", "--bucket", "none", check=False)
    assert missing.returncode == 2 and "there is no bucket none" in missing.stderr
    nowhere = fresh_server.strongroom("verify", "--data-dir", tmp_path / "none", check=False)
    assert nowhere.returncode == 1 and "there is no store" in nowhere.stderr
    assert not (tmp_path / "none").exists()
    assert fresh_server.strongroom("verify", "--json").json == {"buckets": []}
