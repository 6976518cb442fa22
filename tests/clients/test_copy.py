"""CopyObject: what comes along, what is replaced, and what is refused."""

from datetime import datetime, timedelta, timezone

import pytest

from support.calls import body_of, headers_of, multipart, refused
from support.data import content, md5
from support.requests import signed

DATA = content(200_000, "copy")
ILLEGAL = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
    "metadata, storage class, website redirect location or encryption attributes."
)


@pytest.fixture
def source(s3, bucket):
    """An object with everything set; how CopySource names it."""
    s3.put_object(
        Bucket=bucket, Key="source", Body=DATA, ContentType="text/x-test", CacheControl="no-cache", Metadata={"a": "b"}
    )
    return {"Bucket": bucket, "Key": "source"}


def test_metadata_comes_along(s3, bucket, source):
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert answer["CopyObjectResult"]["ETag"] == f'"{md5(DATA)}"'
    assert abs(answer["CopyObjectResult"]["LastModified"] - datetime.now(timezone.utc)) < timedelta(seconds=30)
    copy = s3.get_object(Bucket=bucket, Key="copy")
    assert body_of(copy) == DATA
    assert copy["Metadata"] == {"a": "b"}
    assert copy["ContentType"] == "text/x-test"
    assert copy["CacheControl"] == "no-cache"


def test_metadata_is_replaced(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"})
    copy = s3.head_object(Bucket=bucket, Key="copy")
    assert copy["Metadata"] == {"c": "d"}
    assert copy["ContentType"] == "binary/octet-stream"
    assert "CacheControl" not in copy


def test_an_unknown_directive_is_refused(s3, bucket, source):
    with refused("InvalidArgument", 400, "Unknown metadata directive."):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, MetadataDirective="MERGE")


def test_onto_itself(s3, bucket, source):
    with refused("InvalidRequest", 400, ILLEGAL):
        s3.copy_object(Bucket=bucket, Key="source", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="source", CopySource=source, MetadataDirective="REPLACE", Metadata={"new": "yes"})
    after = s3.get_object(Bucket=bucket, Key="source")
    assert after["Metadata"] == {"new": "yes"}
    assert body_of(after) == DATA
    s3.copy_object(Bucket=bucket, Key="source", CopySource=source, StorageClass="STANDARD_IA")
    assert s3.head_object(Bucket=bucket, Key="source")["StorageClass"] == "STANDARD_IA"
    s3.copy_object(Bucket=bucket, Key="source", CopySource=source, ServerSideEncryption="aws:kms")
    after = s3.get_object(Bucket=bucket, Key="source")
    assert after["ServerSideEncryption"] == "aws:kms"
    assert body_of(after) == DATA


def test_onto_itself_where_a_default_is_configured(s3, bucket, source):
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    s3.copy_object(Bucket=bucket, Key="source", CopySource=source)
    assert body_of(s3.get_object(Bucket=bucket, Key="source")) == DATA


def test_between_buckets(s3, bucket, source, bucket_names):
    other = next(bucket_names)
    s3.create_bucket(Bucket=other)
    s3.copy_object(Bucket=other, Key="copy", CopySource=source)
    s3.delete_object(**source)
    assert body_of(s3.get_object(Bucket=other, Key="copy")) == DATA
    s3.delete_object(Bucket=other, Key="copy")
    s3.delete_bucket(Bucket=other)


def test_conditions(s3, bucket, source):
    etag = f'"{md5(DATA)}"'
    ago = datetime.now(timezone.utc) - timedelta(days=1)
    ahead = datetime.now(timezone.utc) + timedelta(days=1)
    other = '"0123456789abcdef0123456789abcdef"'
    for condition in (
        {"CopySourceIfMatch": etag},
        {"CopySourceIfNoneMatch": other},
        {"CopySourceIfModifiedSince": ago},
        {"CopySourceIfModifiedSince": ahead},
        {"CopySourceIfUnmodifiedSince": ahead},
        {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": ago},
    ):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, **condition)
    for condition in (
        {"CopySourceIfMatch": other},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfUnmodifiedSince": ago},
        {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": ago},
    ):
        with refused("PreconditionFailed", 412) as refusal:
            s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, **condition)
        assert refusal.error["Condition"].startswith("x-amz-copy-source-If-"), condition


def test_sources_that_are_not_there(s3, bucket, server):
    with refused("NoSuchKey", 404) as refusal:
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/none")
    assert refusal.error["Key"] == "none"
    with refused("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource="no-such-bucket-at-all/none")
    for text, message in {
        "nonsense": "Invalid copy source object key",
        f"{bucket}/": "Invalid copy source object key",
        "": "Invalid copy source bucket name",
        "//k": "Invalid copy source bucket name",
    }.items():
        malformed = signed(server, "PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": text})
        assert (malformed.status, malformed.code, malformed.error["Message"]) == (400, "InvalidArgument", message), text
        assert malformed.error["ArgumentName"] == "x-amz-copy-source"


@pytest.mark.parametrize("form", ["/{b}/source", "{b}/source", "%2F{b}%2Fsource", "{b}/s%6Furce"])
def test_ways_to_write_the_source(server, s3, bucket, source, form):
    answer = signed(server, "PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": form.format(b=bucket)})
    assert answer.status == 200, answer.body
    assert b"<CopyObjectResult" in answer.body
    assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == DATA


def test_a_plus_in_the_source_is_a_space(server, s3, bucket):
    for key in ("a b", "a+b"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for form, copied in (("a+b", b"a b"), ("a%20b", b"a b"), ("a%2Bb", b"a+b")):
        answer = signed(server, "PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": f"{bucket}/{form}"})
        assert answer.status == 200, answer.body
        assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == copied


def test_of_a_multipart_object_is_one_part(s3, bucket):
    parts = [content(5 * 2**20, 1), content(1000, 2)]
    multipart(s3, bucket, "large", parts)
    etag = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/large")["CopyObjectResult"]["ETag"]
    assert etag == f'"{md5(b"".join(parts))}"'
    copy = s3.get_object(Bucket=bucket, Key="copy")
    assert body_of(copy) == b"".join(parts)
    assert "x-amz-mp-parts-count" not in headers_of(copy)


def test_checksums(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=DATA, ChecksumAlgorithm="SHA256")
    original = s3.head_object(Bucket=bucket, Key="source", ChecksumMode="ENABLED")
    kept = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/source")["CopyObjectResult"]
    assert kept["ChecksumSHA256"] == original["ChecksumSHA256"]
    changed = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/source", ChecksumAlgorithm="CRC32C")[
        "CopyObjectResult"
    ]
    assert "ChecksumSHA256" not in changed
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32C"] == changed["ChecksumCRC32C"]
