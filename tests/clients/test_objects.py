"""Objects: storing, reading, conditions, metadata, deletion, and what errors say."""

import hashlib
import time
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from support.calls import body_of, headers_of, in_parallel, keys_of, refused, status_of
from support.data import base64_text, content, md5
from support.requests import Signer, connect, send, signed

DATA = content(300_000, "objects")
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def stored(s3, bucket):
    """An object `k` of 300 000 bytes; its ETag."""
    return s3.put_object(Bucket=bucket, Key="k", Body=DATA)["ETag"]


@pytest.mark.parametrize("size", [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 1_048_576, 9_000_001])
def test_put_get_head_delete(s3, bucket, size):
    data = content(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data)
    assert put["ETag"] == f'"{md5(data)}"'
    assert put["ServerSideEncryption"] == "AES256"
    before = datetime.now(timezone.utc)
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert body_of(answer) == data
    assert answer["ContentLength"] == size
    assert answer["ETag"] == put["ETag"]
    assert answer["AcceptRanges"] == "bytes"
    assert answer["ContentType"] == "binary/octet-stream"
    assert abs(answer["LastModified"] - before) < timedelta(seconds=30)
    head = s3.head_object(Bucket=bucket, Key="k")
    for name in ("ContentLength", "ETag", "LastModified", "ContentType", "ServerSideEncryption"):
        assert head[name] == answer[name], name
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert status_of(gone) == 204
    with refused("NoSuchKey", 404, "The specified key does not exist.") as refusal:
        s3.get_object(Bucket=bucket, Key="k")
    assert refusal.error["Key"] == "k"
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key="k")
    assert status_of(s3.delete_object(Bucket=bucket, Key="k")) == 204


def test_overwriting_replaces_all(s3, bucket, stored):
    s3.put_object(Bucket=bucket, Key="k", Body=b"short", Metadata={"a": "b"}, ContentType="text/plain")
    s3.put_object(Bucket=bucket, Key="k", Body=b"third")
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert body_of(answer) == b"third"
    assert answer["Metadata"] == {}
    assert answer["ContentType"] == "binary/octet-stream"


RANGES = {
    "first byte": ("bytes=0-0", 0, 1),
    "first": ("bytes=0-9", 0, 10),
    "middle": ("bytes=1000-1999", 1000, 2000),
    "over a frame's border": ("bytes=65530-65545", 65_530, 65_546),
    "whole frames": ("bytes=65536-196607", 65_536, 196_608),
    "suffix": ("bytes=-17", 299_983, 300_000),
    "open end": ("bytes=299990-", 299_990, 300_000),
    "last byte": ("bytes=299999-299999", 299_999, 300_000),
    "beyond the end": ("bytes=299000-999999999", 299_000, 300_000),
    "beyond all numbers": ("bytes=0-99999999999999999999999", 0, 300_000),
    "suffix longer than all": ("bytes=-999999999", 0, 300_000),
    "everything": ("bytes=0-", 0, 300_000),
}


@pytest.mark.parametrize("name", RANGES)
def test_ranges(s3, bucket, stored, name):
    header, first, end = RANGES[name]
    answer = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert status_of(answer) == 206
    assert body_of(answer) == DATA[first:end]
    assert answer["ContentRange"] == f"bytes {first}-{end - 1}/300000"
    assert answer["ContentLength"] == end - first
    head = s3.head_object(Bucket=bucket, Key="k", Range=header)
    assert status_of(head) == 206
    assert head["ContentLength"] == end - first
    assert head["ContentRange"] == answer["ContentRange"]


@pytest.mark.parametrize("header", ["bytes=300000-", "bytes=300000-300001", "bytes=-0"])
def test_an_unsatisfiable_range(s3, bucket, stored, header):
    with refused("InvalidRange", 416, "The requested range is not satisfiable") as refusal:
        s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert refusal.error["ActualObjectSize"] == "300000"
    assert refusal.error["RangeRequested"] == header
    with refused("416", 416):
        s3.head_object(Bucket=bucket, Key="k", Range=header)


@pytest.mark.parametrize("header", ["bytes=9-3", "bytes=abc", "lines=0-1", "bytes=0-1,5-6"])
def test_what_is_no_single_range_is_ignored(s3, bucket, stored, header):
    answer = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert status_of(answer) == 200
    assert body_of(answer) == DATA


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_range_of_one_version(server, s3, bucket, stored, method):
    """Who goes on with a download by If-Range gets another version whole."""
    head = headers_of(s3.head_object(Bucket=bucket, Key="k"))
    ask = lambda validator: signed(server, method, f"/{bucket}/k", headers={"range": "bytes=10-19", "if-range": validator})
    for same in (head["etag"], head["last-modified"]):
        answer = ask(same)
        assert (answer.status, answer.headers["content-range"]) == (206, "bytes 10-19/300000")
    for other in ('"0123456789abcdef0123456789abcdef"', f"W/{head['etag']}", "Mon, 01 Jan 2001 00:00:00 GMT"):
        answer = ask(other)
        assert (answer.status, answer.headers["content-length"]) == (200, "300000"), other
        assert "content-range" not in answer.headers


def test_what_has_not_changed_says_how_long_it_may_be_kept(s3, bucket):
    expires = "Wed, 02 Jan 2030 03:04:05 GMT"
    etag = s3.put_object(Bucket=bucket, Key="k", Body=DATA, CacheControl="max-age=60", Expires=expires)["ETag"]
    for read in (s3.get_object, s3.head_object):
        with refused("304", 304) as refusal:
            read(Bucket=bucket, Key="k", IfNoneMatch=etag)
        assert (refusal.headers["cache-control"], refusal.headers["expires"]) == ("max-age=60", expires)
        assert "content-type" not in refusal.headers


def test_a_range_of_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with refused("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="empty", Range="bytes=0-")


def test_part_1_of_an_object_without_parts(s3, bucket, stored):
    answer = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert status_of(answer) == 206
    assert body_of(answer) == DATA
    assert answer["ContentRange"] == "bytes 0-299999/300000"
    with refused("InvalidPartNumber", 416):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    with refused("InvalidRequest", 400, "Cannot specify both Range header and partNumber query parameter"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")


def test_response_overrides(s3, bucket, stored):
    answer = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseCacheControl="no-store",
        ResponseContentDisposition='attachment; filename="a b.bin"',
        ResponseContentEncoding="x-none",
        ResponseContentLanguage="de, en",
        ResponseContentType="text/x-override",
        ResponseExpires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    )
    assert answer["CacheControl"] == "no-store"
    assert answer["ContentDisposition"] == 'attachment; filename="a b.bin"'
    assert answer["ContentEncoding"] == "x-none"
    assert answer["ContentLanguage"] == "de, en"
    assert answer["ContentType"] == "text/x-override"
    assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"


def test_response_overrides_that_are_none(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, WebsiteRedirectLocation="/kept")
    path = f"/{bucket}/k"
    for name in ("response-foo", "response-x-amz-website-redirect-location"):
        answer = signed(server, "GET", path, [(name, "/x")])
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert answer.error["Message"] == (
            f"{name} is not in the set of overridable response headers. Please refer to the S3 API documentation for a "
            "complete list of overridable response headers."
        )
        assert (answer.error["ArgumentName"], answer.error["ArgumentValue"]) == (name, "/x")
        assert signed(server, "HEAD", path, [(name, "/x")]).status == 400
    answer = signed(server, "GET", path, [("response-cache-control", "non-ascii—é")])
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"] == "Header value cannot be represented using ISO-8859-1."
    assert answer.error["ArgumentName"] == "response-cache-control"
    for control in ("a\nb", "a\r\nset-cookie: b", "\x7f"):
        answer = signed(server, "GET", path, [("response-content-type", control)])
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert answer.error["Message"] == "Header value cannot contain control characters."
        assert signed(server, "HEAD", path, [("response-content-type", control)]).status == 400
    answer = signed(server, "GET", path, [("response-content-disposition", 'filename="é.pdf"')])
    assert (answer.status, answer.headers["Content-Disposition"]) == (200, 'filename="é.pdf"')
    assert answer.headers["x-amz-website-redirect-location"] == "/kept"


def conditions(etag, modified):
    """(conditions, status) pairs: each header alone, and the combinations that RFC 9110 orders."""
    other, later = '"0123456789abcdef0123456789abcdef"', modified + timedelta(seconds=1)
    return [
        ({"IfMatch": etag}, 200),
        ({"IfMatch": etag.strip('"')}, 200),
        ({"IfMatch": "*"}, 200),
        ({"IfMatch": f"{other}, {etag}"}, 200),
        ({"IfMatch": other}, 412),
        ({"IfNoneMatch": other}, 200),
        ({"IfNoneMatch": etag}, 304),
        ({"IfNoneMatch": "*"}, 304),
        ({"IfModifiedSince": LONG_AGO}, 200),
        ({"IfModifiedSince": modified}, 304),
        ({"IfModifiedSince": later + timedelta(days=1)}, 200),
        ({"IfUnmodifiedSince": later}, 200),
        ({"IfUnmodifiedSince": modified}, 200),
        ({"IfUnmodifiedSince": LONG_AGO}, 412),
        ({"IfMatch": etag, "IfUnmodifiedSince": LONG_AGO}, 200),
        ({"IfNoneMatch": etag, "IfModifiedSince": LONG_AGO}, 304),
        ({"IfNoneMatch": other, "IfModifiedSince": modified}, 200),
    ]


@pytest.mark.parametrize("method", ["get_object", "head_object"])
def test_conditional_reads(s3, bucket, stored, method):
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    for condition, expected in conditions(stored, modified):
        try:
            answer = getattr(s3, method)(Bucket=bucket, Key="k", **condition)
        except ClientError as error:
            answer = error.response
        assert status_of(answer) == expected, condition
        if expected == 304:
            assert headers_of(answer)["etag"] == stored, condition
        if expected == 412 and method == "get_object":
            assert answer["Error"]["Code"] == "PreconditionFailed"
            assert answer["Error"]["Message"] == "At least one of the pre-conditions you specified did not hold"
            header = {"IfMatch": "If-Match", "IfUnmodifiedSince": "If-Unmodified-Since"}[next(iter(condition))]
            assert answer["Error"]["Condition"] == header


def test_conditional_writes(s3, bucket):
    first = s3.put_object(Bucket=bucket, Key="c", Body=b"one", IfNoneMatch="*")["ETag"]
    with refused("PreconditionFailed", 412) as refusal:
        s3.put_object(Bucket=bucket, Key="c", Body=b"two", IfNoneMatch="*")
    assert refusal.error["Condition"] == "If-None-Match"
    assert body_of(s3.get_object(Bucket=bucket, Key="c")) == b"one"
    second = s3.put_object(Bucket=bucket, Key="c", Body=b"two", IfMatch=first)["ETag"]
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="c", Body=b"three", IfMatch=first)
    assert s3.head_object(Bucket=bucket, Key="c")["ETag"] == second
    with refused("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="missing", Body=b"x", IfMatch=first)
    with refused("NotImplemented", 501):
        s3.put_object(Bucket=bucket, Key="c", Body=b"x", IfNoneMatch=first)


def test_one_of_many_conditional_writers_wins(s3, bucket):
    def write(number):
        try:
            s3.put_object(Bucket=bucket, Key="c", Body=str(number).encode() * 1000, IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            return None
        return number

    for _ in range(5):
        winners = [number for number in in_parallel(write, range(16)) if number is not None]
        assert len(winners) == 1
        assert body_of(s3.get_object(Bucket=bucket, Key="c")) == str(winners[0]).encode() * 1000
        s3.delete_object(Bucket=bucket, Key="c")


def test_readers_see_one_version_whole(s3, bucket):
    """Overwriting and reading at once: every answer is one of the versions, with its own ETag and length."""
    versions = [content(size, "versions") for size in (10, 70_000, 400_000)]
    etags = {f'"{md5(data)}"': data for data in versions}
    s3.put_object(Bucket=bucket, Key="v", Body=versions[0])

    def act(number):
        if number % 2:
            s3.put_object(Bucket=bucket, Key="v", Body=versions[number % 3])
        else:
            answer = s3.get_object(Bucket=bucket, Key="v")
            assert body_of(answer) == etags[answer["ETag"]]

    in_parallel(act, range(120))


@pytest.mark.parametrize("change", ["deleted", "overwritten"])
def test_a_reader_under_way_keeps_its_object(s3, bucket, change):
    """Space is given back only when nobody reads it any more."""
    data = content(48 * 2**20, "long read")
    s3.put_object(Bucket=bucket, Key="long", Body=data)
    stream = s3.get_object(Bucket=bucket, Key="long")["Body"]
    received = stream.read(1_000_000)
    if change == "deleted":
        s3.delete_object(Bucket=bucket, Key="long")
    else:
        s3.put_object(Bucket=bucket, Key="long", Body=content(48 * 2**20, "another"))
    time.sleep(2)
    for n in range(8):
        s3.put_object(Bucket=bucket, Key=f"other-{n}", Body=content(4 * 2**20, n))
    assert received + stream.read() == data


def test_metadata_and_content_headers(s3, bucket):
    sent = {
        "CacheControl": "max-age=60, private",
        "ContentDisposition": "inline",
        "ContentEncoding": "gzip",
        "ContentLanguage": "en-GB",
        "ContentType": "application/x-test; charset=utf-8",
        "Metadata": {"colour": "blue", "mixed-case": "Kept As It Is", "with-spaces": "a  b"},
        "WebsiteRedirectLocation": "/elsewhere",
    }
    s3.put_object(Bucket=bucket, Key="m", Body=b"x", Expires="Wed, 02 Jan 2030 03:04:05 GMT", **sent)
    for answer in (s3.head_object(Bucket=bucket, Key="m"), s3.get_object(Bucket=bucket, Key="m")):
        for name, value in sent.items():
            assert answer[name] == value, name
        assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"


def test_metadata_beyond_ascii_are_encoded_words(server, s3, bucket):
    """As RFC 2047 has them: they are read before they are stored, and written when they are given back."""
    shown = "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="
    for sent, back in (
        (shown, shown),
        ("=?UTF-8?B?w4RNw4Raw5XDkSBTMw==?=", shown),
        ("=?UTF-8?Q?actually-ascii?=", "actually-ascii"),
        ("=?UTF-8?B?YWJj?=", "abc"),
        ("=?UTF-8?B?AAECAw==?=", "=?UTF-8?B?AAECAw==?="),
        ("=?UTF-8?B?77+9?=", "=?UTF-8?B?77+9?="),
        ("=?UTF-8?B?=GGG?=", "=?UTF-8?B?77+9Ye+/vQ==?="),
        ("=?none", "=?none"),
    ):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"m": sent})
        assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"m": back}
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
        assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"m": back}


def test_an_empty_type_is_none(server, s3, bucket):
    assert signed(server, "PUT", f"/{bucket}/k", headers={"content-type": ""}, body=b"x").status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "binary/octet-stream"


def test_metadata_names_are_lower_case(server, s3, bucket):
    answer = signed(server, "PUT", f"/{bucket}/m", headers={"X-Amz-Meta-Shouted": "Yes"}, body=b"x")
    assert answer.status == 200, answer.body
    assert s3.head_object(Bucket=bucket, Key="m")["Metadata"] == {"shouted": "Yes"}


def test_too_much_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="m", Body=b"x", Metadata={"a": "b" * 2047})
    with refused("MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size"):
        s3.put_object(Bucket=bucket, Key="m2", Body=b"x", Metadata={"a": "b" * 2048})


def test_aws_chunked_is_not_kept_as_content_encoding(s3, bucket):
    s3.put_object(Bucket=bucket, Key="m", Body=b"x")
    assert "ContentEncoding" not in s3.head_object(Bucket=bucket, Key="m")


def test_storage_class(s3, bucket):
    s3.put_object(Bucket=bucket, Key="ia", Body=b"x", StorageClass="STANDARD_IA")
    s3.put_object(Bucket=bucket, Key="standard", Body=b"x", StorageClass="STANDARD")
    assert s3.head_object(Bucket=bucket, Key="ia")["StorageClass"] == "STANDARD_IA"
    assert "x-amz-storage-class" not in headers_of(s3.head_object(Bucket=bucket, Key="standard"))
    listed = {e["Key"]: e["StorageClass"] for e in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed == {"ia": "STANDARD_IA", "standard": "STANDARD"}
    with refused("InvalidStorageClass", 400, "The storage class you specified is not valid"):
        s3.put_object(Bucket=bucket, Key="x", Body=b"x", StorageClass="TAPE")


def test_content_md5(plain_s3, bucket):
    good = base64_text(hashlib.md5(b"hello").digest())
    plain_s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5=good)
    with refused("BadDigest", 400, "The Content-MD5 you specified did not match what we received.") as refusal:
        plain_s3.put_object(Bucket=bucket, Key="k", Body=b"other", ContentMD5=good)
    assert refusal.error["ExpectedDigest"] == hashlib.md5(b"hello").hexdigest()
    assert refusal.error["CalculatedDigest"] == base64_text(hashlib.md5(b"other").digest())
    with refused("InvalidDigest", 400, "The Content-MD5 you specified was invalid."):
        plain_s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5="bm90IGFuIG1kNQ==")
    assert body_of(plain_s3.get_object(Bucket=bucket, Key="k")) == b"hello"


def test_delete_objects(s3, bucket):
    for name in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "missing"}, {"Key": "b"}]})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["a", "missing", "b"]
    assert "Errors" not in answer
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert keys_of(s3, bucket) == []


def test_a_version_without_a_name_is_none(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": ""}]})
    assert (answer["Deleted"], keys_of(s3, bucket)) == ([{"Key": "k"}], [])


def test_delete_1000_objects_and_no_more(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key-0999", Body=b"x")
    objects = [{"Key": f"key-{n:04}"} for n in range(1001)]
    with refused("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert keys_of(s3, bucket) == ["key-0999"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects[:1000]})
    assert len(answer["Deleted"]) == 1000
    assert keys_of(s3, bucket) == []


def test_delete_objects_wants_a_digest_and_checks_it(server, bucket):
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    bare = signed(server, "POST", f"/{bucket}", [("delete", "")], body=body)
    assert (bare.status, bare.code) == (400, "InvalidRequest")
    # What names an algorithm, or a kind of checksum, is none.
    for header in ({"x-amz-checksum-algorithm": "CRC32"}, {"x-amz-checksum-type": "FULL_OBJECT"}):
        named = signed(server, "POST", f"/{bucket}", [("delete", "")], header, body)
        assert (named.status, named.code) == (400, "InvalidRequest")
        assert named.error["Message"] == "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
    wrong = signed(
        server, "POST", f"/{bucket}", [("delete", "")],
        {"content-md5": base64_text(hashlib.md5(b"other").digest())}, body,
    )  # fmt: skip
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    right = signed(
        server, "POST", f"/{bucket}", [("delete", "")],
        {"content-md5": base64_text(hashlib.md5(body).digest())}, body,
    )  # fmt: skip
    assert right.status == 200
    assert b"<Deleted><Key>a</Key></Deleted>" in right.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<Delete></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object>",
        b"<Other/>",
        b'<!DOCTYPE d [<!ENTITY e "x">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    ],
)
def test_malformed_delete_objects(server, bucket, body):
    digest = {"content-md5": base64_text(hashlib.md5(body).digest())}
    answer = signed(server, "POST", f"/{bucket}", [("delete", "")], digest, body)
    assert answer.status == 400
    assert answer.code in ("MalformedXML", "MissingRequestBodyError")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
def test_documents_in_either_encoding_of_xml(server, s3, bucket, encoding):
    s3.put_object(Bucket=bucket, Key="schlüssel/鍵", Body=b"x")
    text = '<?xml version="1.0" encoding="%s"?><Delete><Object><Key>schlüssel/鍵</Key></Object></Delete>'
    body = (text % encoding.removesuffix("-sig").upper()).encode(encoding)
    digest = {"content-md5": base64_text(hashlib.md5(body).digest())}
    answer = signed(server, "POST", f"/{bucket}", [("delete", "")], digest, body)
    assert (answer.status, keys_of(s3, bucket)) == (200, []), answer.body


ODD_KEYS = [
    "plain",
    "with space",
    " leading and trailing ",
    "plus+plus",
    "per%cent",
    "%2F",
    "a%2Fb",
    "slash//slash",
    "/leading",
    "trailing/",
    "ünïcödé",
    "ключ/鍵/🔑",
    "cafe\u0301",
    "caf\u00e9",
    "quote'\"quote",
    "<xml>&amp;</xml>",
    "back\\slash",
    "question?mark",
    "hash#mark",
    "semi;colon=equals&and",
    "~tilde*star(paren)!",
    "[bracket]{brace}|pipe^caret`tick",
    "a:b@c,d$e",
    "..hidden",
    "...",
    "control\x01\x1f",
    "new\nline\ttab\r",
    "\x7fdelete",
    "x" * 1024,
    "ü" * 512,
]


@pytest.mark.parametrize("name", ODD_KEYS, ids=[f"{i}" for i in range(len(ODD_KEYS))])
def test_odd_keys(s3, bucket, name):
    data = name.encode() + b" is my name"
    s3.put_object(Bucket=bucket, Key=name, Body=data)
    assert body_of(s3.get_object(Bucket=bucket, Key=name)) == data
    assert s3.head_object(Bucket=bucket, Key=name)["ContentLength"] == len(data)
    assert keys_of(s3, bucket) == [name]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": name})
    assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == data
    s3.delete_object(Bucket=bucket, Key="copy")
    if any(ord(character) < 32 for character in name):
        # Control characters are not XML 1.0: boto3 cannot read what AWS answers here.
        s3.delete_object(Bucket=bucket, Key=name)
    else:
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}]})
        assert "Errors" not in answer
    assert keys_of(s3, bucket) == []


def test_dots_are_not_resolved(server, s3, bucket):
    """Keys are names, not paths: nothing is above them, and nothing is the same as another."""
    names = ["a/b", "a/./b", "a/../b", "a//b"]
    for name in names:
        assert signed(server, "PUT", f"/{bucket}/{name}", body=name.encode()).status == 200, name
    assert keys_of(s3, bucket) == sorted(names)
    for name in names:
        assert signed(server, "GET", f"/{bucket}/{name}").body == name.encode()


def test_a_key_that_is_too_long(s3, bucket):
    for name in ("x" * 1025, "ü" * 513):
        with refused("KeyTooLongError", 400, "Your key is too long") as refusal:
            s3.put_object(Bucket=bucket, Key=name, Body=b"x")
        assert refusal.error["MaxSizeAllowed"] == "1024"
        assert refusal.error["Size"] == str(len(name.encode()))


def test_a_key_that_is_not_utf8(server, bucket):
    answer = signed(server, "PUT", f"/{bucket}/%ff%fe", body=b"x")
    assert answer.status == 400, answer.body


def test_error_bodies(server, bucket):
    answer = signed(server, "GET", f"/{bucket}/none")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/xml"
    assert answer.body.startswith(b"<?xml version=")
    error = answer.error
    assert error["Code"] == "NoSuchKey"
    assert error["Message"] == "The specified key does not exist."
    assert error["Key"] == "none"
    assert error["RequestId"] == answer.headers["x-amz-request-id"]
    assert error["HostId"] == answer.headers["x-amz-id-2"]
    missing = signed(server, "GET", "/no-such-bucket-at-all/k")
    assert missing.status == 404
    assert missing.error["Code"] == "NoSuchBucket"
    assert missing.error["Message"] == "The specified bucket does not exist"
    assert missing.error["BucketName"] == "no-such-bucket-at-all"


def test_head_errors_have_no_body(server, bucket):
    answer = signed(server, "HEAD", f"/{bucket}/none")
    assert answer.status == 404
    assert answer.body == b""
    assert answer.headers["x-amz-request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/{b}/k"), ("PATCH", "/{b}/k"), ("DELETE", "/"), ("PUT", "/"), ("POST", "/")],
)
def test_a_method_that_is_not_allowed(server, bucket, method, path):
    answer = signed(server, method, path.format(b=bucket))
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    assert answer.error["Method"] == method


def test_transfer_encoding_is_not_taken(server, bucket):
    """AWS wants a Content-Length, and says so in this odd way."""
    made = Signer.of(server).headers("PUT", f"/{bucket}/k", payload="UNSIGNED-PAYLOAD")
    answer = send(server, "PUT", f"/{bucket}/k", made | {"transfer-encoding": "chunked"}, b"1\r\nx\r\n0\r\n\r\n")
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert answer.error["Message"] == "A header you provided implies functionality that is not implemented"
    assert answer.error["Header"] == "Transfer-Encoding"


def test_an_entity_that_is_too_large(server, bucket):
    length = {"content-length": str(5 * 2**30 + 1), "expect": "100-continue"}
    made = Signer.of(server).headers("PUT", f"/{bucket}/k", headers=length, payload="UNSIGNED-PAYLOAD")
    answer = send(server, "PUT", f"/{bucket}/k", made)
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    assert answer.error["MaxSizeAllowed"] == str(5 * 2**30)


def test_a_document_that_is_too_long(server, bucket):
    length = {"content-length": str(256 * 2**10 + 1), "expect": "100-continue"}
    made = Signer.of(server).headers("PUT", f"/{bucket}", [("tagging", "")], length, "UNSIGNED-PAYLOAD")
    answer = send(server, "PUT", f"/{bucket}?tagging=", made)
    assert (answer.status, answer.code) == (400, "MaxMessageLengthExceeded")
    assert answer.error["MaxMessageLengthBytes"] == str(256 * 2**10)


def test_an_empty_put_without_content_length(server, s3, bucket):
    """Proxies and some clients leave it out where there is no body."""
    connection = connect(server)
    connection.putrequest("PUT", f"/{bucket}/empty", skip_host=True, skip_accept_encoding=True)
    for name, value in Signer.of(server).headers("PUT", f"/{bucket}/empty").items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 200
    connection.close()
    assert s3.head_object(Bucket=bucket, Key="empty")["ContentLength"] == 0
