"""Copies that share their source's sealed bytes: fast, small, and independent of what becomes of the source."""

import time

import pytest

from support.calls import body_of, headers_of, in_parallel, multipart, refused
from support.data import checksum, content, md5
from support.metrics import samples
from support.peers import every_key_service

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
LARGE = content(300_000, "shared")
SMALL = content(1000, "shared")
PARTS = [content(5 * 2**20, "one"), content(6 * 2**20, "two"), content(100, "three")]


@pytest.fixture
def own(fresh_server):
    """A server of the test's own, so that its metrics are."""
    server = fresh_server
    s3 = server.client("s3")
    s3.create_bucket(Bucket="from-here")
    s3.create_bucket(Bucket="to-there")
    return server, s3, [server.keys().create_key()["KeyMetadata"]["Arn"] for _ in range(2)]


def run_bytes(server):
    """Bytes of runs in segment files."""
    (value,) = (sample.value for sample in samples(server) if sample.name == "strongroom_store_runs_bytes")
    return int(value)


def kms(arn, **more):
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn} | more


def copy(s3, key="k", to="c", **options):
    return s3.copy_object(Bucket="to-there", Key=to, CopySource=f"from-here/{key}", **options)


@every_key_service
@pytest.mark.parametrize("data", [LARGE, SMALL], ids=["a run", "inline"])
@pytest.mark.parametrize("source", ["SSE-S3", "SSE-KMS", "bucket key"])
@pytest.mark.parametrize("target", ["SSE-S3", "SSE-KMS", "bucket key"])
def test_every_pair_of_kinds(own, data, source, target):
    server, s3, keys = own
    kinds = {"SSE-S3": {}, "SSE-KMS": kms(keys[0]), "bucket key": kms(keys[1], BucketKeyEnabled=True)}
    put = s3.put_object(Bucket="from-here", Key="k", Body=data, Metadata={"a": "b"}, **kinds[source])
    before = run_bytes(server)
    copied = copy(s3, **kinds[target])
    moved = target == "SSE-S3" and source != "SSE-S3"  # An MD5 takes the plaintext.
    assert run_bytes(server) - before == (pytest.approx(len(data), rel=0.1) if moved and data is LARGE else 0)
    assert copied["CopyObjectResult"]["ChecksumCRC32"] == checksum("CRC32", data)
    etag = copied["CopyObjectResult"]["ETag"]
    assert (etag == f'"{md5(data)}"') == (target == "SSE-S3")
    if target != "SSE-S3":
        assert etag != put["ETag"]
        assert headers_of(copied)[KEY_ID] == kinds[target]["SSEKMSKeyId"]
    read = s3.get_object(Bucket="to-there", Key="c", ChecksumMode="ENABLED")
    assert (body_of(read), read["ETag"], read["Metadata"]) == (data, etag, {"a": "b"})
    assert read["ChecksumCRC32"] == checksum("CRC32", data)
    assert s3.list_objects_v2(Bucket="to-there")["Contents"][0]["ETag"] == etag


@pytest.mark.parametrize("first", ["source", "copy"])
@pytest.mark.parametrize("how", ["delete", "overwrite"])
def test_either_end_may_go_first(own, first, how):
    server, s3, keys = own
    empty = run_bytes(server)
    s3.put_object(Bucket="from-here", Key="k", Body=LARGE)
    copy(s3, **kms(keys[0]))
    ends = [("from-here", "k"), ("to-there", "c")]
    (gone, kept) = ends if first == "source" else reversed(ends)
    if how == "delete":
        s3.delete_object(Bucket=gone[0], Key=gone[1])
    else:
        s3.put_object(Bucket=gone[0], Key=gone[1], Body=b"other")
    assert body_of(s3.get_object(Bucket=kept[0], Key=kept[1])) == LARGE
    copy_again = s3.copy_object(Bucket="to-there", Key="again", CopySource="/".join(kept))
    assert copy_again["CopyObjectResult"]["ETag"] == f'"{md5(LARGE)}"'
    for bucket in ("from-here", "to-there"):
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
    assert run_bytes(server) == empty


def test_an_object_of_parts_becomes_one_piece(own):
    server, s3, keys = own
    multipart(s3, "from-here", "k", PARTS, ChecksumAlgorithm="CRC32")
    before = run_bytes(server)
    copied = copy(s3, **kms(keys[0]))
    assert run_bytes(server) == before
    assert copied["CopyObjectResult"]["ChecksumCRC32"] == checksum("CRC32", b"".join(PARTS))
    assert copied["CopyObjectResult"]["ChecksumType"] == "FULL_OBJECT"
    assert "-" not in copied["CopyObjectResult"]["ETag"]
    name = {"Bucket": "to-there", "Key": "c"}
    assert "PartsCount" not in s3.head_object(PartNumber=1, **name)
    with refused("416", 416):
        s3.head_object(PartNumber=2, **name)
    attributes = s3.get_object_attributes(ObjectAttributes=["ObjectParts", "ObjectSize"], **name)
    assert "ObjectParts" not in attributes
    s3.delete_object(Bucket="from-here", Key="k")
    assert body_of(s3.get_object(**name)) == b"".join(PARTS)
    start = len(PARTS[0]) - 5
    assert body_of(s3.get_object(Range=f"bytes={start}-{start + 9}", **name)) == PARTS[0][-5:] + PARTS[1][:5]
    s3.delete_object(**name)
    deadline = time.monotonic() + 5
    while run_bytes(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run_bytes(server) == 0


def test_a_copy_needs_its_own_key_alone(own):
    server, s3, keys = own
    s3.put_object(Bucket="from-here", Key="k", Body=LARGE, **kms(keys[0]))
    copy(s3, **kms(keys[1]))
    server.client("kms").disable_key(KeyId=keys[0])
    assert body_of(s3.get_object(Bucket="to-there", Key="c")) == LARGE
    with refused("KMS.DisabledException", 400, f"{keys[0]} is disabled."):
        copy(s3, to="d")


def test_copies_onto_itself(own):
    server, s3, keys = own
    s3.put_object(Bucket="from-here", Key="k", Body=LARGE)
    before = run_bytes(server)
    for options in (kms(keys[0]), kms(keys[1], BucketKeyEnabled=True), kms(keys[0])):
        s3.copy_object(Bucket="from-here", Key="k", CopySource="from-here/k", **options)
        assert body_of(s3.get_object(Bucket="from-here", Key="k")) == LARGE
    assert run_bytes(server) == before


def test_copies_while_the_source_changes(own):
    """Every copy is one version of the source, whole."""
    server, s3, keys = own
    versions = [content(100_000, n) for n in range(4)]
    s3.put_object(Bucket="from-here", Key="k", Body=versions[0])

    def act(n):
        if n % 3 == 0:
            s3.put_object(Bucket="from-here", Key="k", Body=versions[n % 4])
        else:
            copy(s3, to=str(n), **kms(keys[n % 2]))

    in_parallel(act, range(200))
    for entry in s3.list_objects_v2(Bucket="to-there")["Contents"]:
        assert body_of(s3.get_object(Bucket="to-there", Key=entry["Key"])) in versions


def test_a_crash_keeps_what_was_copied(own):
    server, s3, keys = own
    s3.put_object(Bucket="from-here", Key="k", Body=LARGE)
    for n in range(3):
        copy(s3, to=str(n), **kms(keys[0]))
    s3.delete_object(Bucket="from-here", Key="k")
    s3.delete_object(Bucket="to-there", Key="0")
    server.kill()
    server.start()
    s3 = server.client("s3")
    for n in (1, 2):
        assert body_of(s3.get_object(Bucket="to-there", Key=str(n))) == LARGE
        s3.delete_object(Bucket="to-there", Key=str(n))
    assert run_bytes(server) == 0


def test_operators_can_turn_it_off(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text("[s3]\nshare_on_copy = false\n")
    server = new_server(arguments=["--config", config])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="from-here")
    s3.create_bucket(Bucket="to-there")
    s3.put_object(Bucket="from-here", Key="k", Body=LARGE)
    before = run_bytes(server)
    copy(s3)
    assert run_bytes(server) - before == pytest.approx(len(LARGE), rel=0.1)
    assert body_of(s3.get_object(Bucket="to-there", Key="c")) == LARGE


@pytest.mark.slow
def test_copying_a_gibibyte_takes_milliseconds(own):
    server, s3, keys = own
    part = content(64 * 2**20, "gibibyte")
    multipart(s3, "from-here", "k", [part] * 16)
    before = run_bytes(server)
    began = time.monotonic()
    copy(s3, **kms(keys[0]))
    assert time.monotonic() - began < 0.5
    assert run_bytes(server) == before
    assert s3.head_object(Bucket="to-there", Key="c")["ContentLength"] == 2**30
