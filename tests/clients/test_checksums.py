"""The checksums that clients send, in headers and in trailers, and that they are told again."""

import pytest

from support.calls import body_of, refused
from support.data import CHECKSUMS, checksum, content
from support.requests import signed

DATA = content(150_000, "checksums")
ALGORITHMS = list(CHECKSUMS)


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_as_a_header(plain_s3, bucket, algorithm, sse):
    name, value = f"Checksum{algorithm}", checksum(algorithm, DATA)
    put = plain_s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption=sse, **{name: value})
    assert put[name] == value
    assert put["ChecksumType"] == "FULL_OBJECT"
    for read in (plain_s3.head_object, plain_s3.get_object):
        silent = read(Bucket=bucket, Key="k")
        assert name not in silent
        asked = read(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert asked[name] == value
        assert asked["ChecksumType"] == "FULL_OBJECT"
    assert body_of(plain_s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")) == DATA


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "MD5"])
def test_as_a_trailer(s3, bucket, algorithm):
    name, value = f"Checksum{algorithm}", checksum(algorithm, DATA)
    put = s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm=algorithm)
    assert put[name] == value
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert answer[name] == value
    assert body_of(answer) == DATA


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_as_a_trailer_by_hand(server, s3, bucket, algorithm):
    """botocore sends no trailer with an MD5."""

    def put(value):
        name = f"x-amz-checksum-{algorithm.lower()}"
        headers = {"x-amz-trailer": name, "x-amz-decoded-content-length": str(len(DATA)), "content-encoding": "aws-chunked"}
        body = f"{len(DATA):x}\r\n".encode() + DATA + f"\r\n0\r\n{name}:{value}\r\n\r\n".encode()
        return signed(server, "PUT", f"/{bucket}/k", (), headers, body, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")

    wrong = put(checksum(algorithm, b"other"))
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    assert put(checksum(algorithm, DATA)).status == 200
    read = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
    assert read["Checksum"][f"Checksum{algorithm}"] == checksum(algorithm, DATA)


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wrong_one_stores_nothing(plain_s3, bucket, algorithm, sse):
    wrong = {f"Checksum{algorithm}": checksum(algorithm, b"other")}
    message = f"The {algorithm} you specified did not match the calculated checksum."
    with refused("BadDigest", 400, message):
        plain_s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption=sse, **wrong)
    with refused("NoSuchKey", 404):
        plain_s3.get_object(Bucket=bucket, Key="k")


def test_a_wrong_one_keeps_the_old_object(plain_s3, bucket):
    plain_s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    with refused("BadDigest", 400):
        plain_s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumSHA256=checksum("SHA256", b"other"))
    assert body_of(plain_s3.get_object(Bucket=bucket, Key="k")) == b"old"


def test_one_that_is_no_checksum(plain_s3, bucket):
    for value in ("", "AAAA", "not base64!"):
        with refused("InvalidRequest", 400, "Value for x-amz-checksum-crc32 header is invalid."):
            plain_s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumCRC32=value)


def test_two_at_once(plain_s3, bucket):
    with refused("InvalidRequest", 400):
        plain_s3.put_object(
            Bucket=bucket,
            Key="k",
            Body=DATA,
            ChecksumCRC32=checksum("CRC32", DATA),
            ChecksumSHA1=checksum("SHA1", DATA),
        )


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
def test_without_one_s3_computes_crc64nvme(plain_s3, bucket, sse):
    value = checksum("CRC64NVME", DATA)
    put = plain_s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption=sse)
    assert put["ChecksumCRC64NVME"] == value
    head = plain_s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == value
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_none_for_a_range(plain_s3, bucket):
    plain_s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumCRC32=checksum("CRC32", DATA))
    answer = plain_s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-9")
    assert "ChecksumCRC32" not in answer
    assert body_of(answer) == DATA[:10]


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
def test_object_attributes(s3, bucket, sse):
    put = s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm="SHA1", ServerSideEncryption=sse)
    everything = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    answer = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=everything)
    assert answer["ETag"] == put["ETag"].strip('"')
    assert answer["Checksum"] == {"ChecksumSHA1": checksum("SHA1", DATA), "ChecksumType": "FULL_OBJECT"}
    assert answer["StorageClass"] == "STANDARD"
    assert answer["ObjectSize"] == len(DATA)
    assert "ObjectParts" not in answer
    assert answer["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    some = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    assert {"ETag", "Checksum", "StorageClass"}.isdisjoint(some)
    with refused("InvalidArgument", 400):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Colour"])
    with refused("NoSuchKey", 404):
        s3.get_object_attributes(Bucket=bucket, Key="none", ObjectAttributes=["ETag"])


def test_list_names_the_algorithm(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm="SHA256")
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert entry["ChecksumAlgorithm"] == ["SHA256"]
    assert entry["ChecksumType"] == "FULL_OBJECT"


def test_a_mode_that_there_is_not(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    for mode in ("foo", ""):
        for method in ("GET", "HEAD"):
            answer = signed(server, method, f"/{bucket}/k", headers={"x-amz-checksum-mode": mode})
            assert answer.status == 400
            if method == "GET":
                message = "Value for x-amz-checksum-mode header is invalid."
                assert (answer.code, answer.error["Message"]) == ("InvalidRequest", message)
    assert signed(server, "GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "enabled"}).body == DATA


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_copy_is_computed_anew(plain_s3, bucket, algorithm):
    name = f"Checksum{algorithm}"
    plain_s3.put_object(Bucket=bucket, Key="source", Body=DATA)
    source = {"Bucket": bucket, "Key": "source"}
    copied = plain_s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ChecksumAlgorithm=algorithm)
    assert copied["CopyObjectResult"][name] == checksum(algorithm, DATA)
    # A copy without a word on it has its source's.
    plain_s3.copy_object(Bucket=bucket, Key="again", CopySource={"Bucket": bucket, "Key": "copy"})
    read = plain_s3.get_object_attributes(Bucket=bucket, Key="again", ObjectAttributes=["Checksum"])
    assert read["Checksum"] == {name: checksum(algorithm, DATA), "ChecksumType": "FULL_OBJECT"}


def test_algorithms_that_there_are_not(server, bucket):
    answer = signed(server, "PUT", f"/{bucket}/k", headers={"x-amz-checksum-md4": "x"}, body=b"x")
    message = "The algorithm type you specified in x-amz-checksum- header is invalid."
    assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidRequest", message)
    created = signed(server, "POST", f"/{bucket}/k", [("uploads", "")], {"x-amz-checksum-algorithm": "MD4"})
    assert (created.status, created.code) == (400, "InvalidRequest")
