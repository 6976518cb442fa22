"""Names and bounds: what a bucket and a key may be called, and how much a request may bring."""

import http.client
import threading
import xml.etree.ElementTree as ElementTree

import pytest
from support.calls import body_of, in_parallel, keys_of, refused
from support.requests import Signer, quote, send, signed

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"

ODD_KEYS = {
    "longest in ASCII": "k" * 1024,
    "longest in 2-byte characters": "é" * 512,
    "longest in 4-byte characters": "😀" * 256,
    "leading slashes": "///a",
    "trailing slashes": "a///",
    "dots": "a/../b/./c/..",
    "only dots": "...",
    "a percent sign": "100%",
    "what looks like an escape": "a%2Fb%00",
    "a plus and a space": "a+b c",
    "what a query begins with": "a?b#c&d=e",
    "markup": "<a href=\"x\">&amp;'</a>",
    "control characters": "a\x01\x1f\x7fb",
    "NUL": "a\0b",
    "tab, newline and return": "a\tb\nc\rd",
    "noncharacters": "a\ufffeb\uffff",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
    "right to left": "\u202eabc\u0627",
    "zero width": "\ufeffa\u200b",
    "private use": "\ue000\U0010fffd",
    "a backslash": "a\\b",
    "an emoji of several": "👩‍👩‍👧",
}


def names_in(document, tag="Key"):
    return [element.text or "" for element in ElementTree.fromstring(document).iter(f"{NAMESPACE}{tag}")]


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "a.-b",
        "a-.b",
        "192.168.5.4",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-abc",
        "abc-s3alias",
        "abc--ol-s3",
        "abc--x-s3",
        "abc--table-s3",
        "abc.mrap",
        "ümlaut",
        "sp%20ace",
    ],
)
def test_bucket_names_that_are_refused(server, name):
    answer = signed(server, "PUT", "/" + quote(name, safe="-_.~%"))
    assert (answer.status, answer.code) == (400, "InvalidBucketName")
    assert answer.error["Message"] == "The specified bucket is not valid."


def test_bucket_names_that_are_allowed(s3, bucket_names):
    stem = next(bucket_names)
    for name in (stem.ljust(63, "x"), f"{stem}.with.dots", f"{stem}--double", f"1.{stem}", f"{stem}.1.2.3.4"):
        s3.create_bucket(Bucket=name)
        s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("name", ODD_KEYS)
@pytest.mark.parametrize("style", ["path", "host"])
def test_odd_keys(server, s3, bucket, name, style):
    key = ODD_KEYS[name]
    signer = Signer.of(server)
    path = "/" + quote(key, safe="-_.~/")
    if style == "host":
        signer.host = f"{bucket}.localhost"
    else:
        path = f"/{bucket}{path}"
    assert signed(server, "PUT", path, body=b"odd", signer=signer).status == 200
    assert signed(server, "GET", path, signer=signer).body == b"odd"
    assert keys_of(s3, bucket) == [key]
    assert body_of(s3.get_object(Bucket=bucket, Key=key)) == b"odd"
    # Every kind of listing, with what XML 1.0 cannot say asked for in escapes.
    listing = signed(server, "GET", f"/{bucket}", [("list-type", "2"), ("encoding-type", "url"), ("prefix", key)])
    assert names_in(listing.body) == [quote(key, safe="-_.~/").replace("%20", "+")]
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert copied["CopyObjectResult"]["ETag"]
    if any(c < " " and c not in "\t\n\r" or c in "\ufffe\uffff" for c in key):
        # No document can name it, neither one that a client sends nor one that it reads: a path can.
        assert signed(server, "DELETE", path, signer=signer).status == 204
    else:
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        [listed] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert (listed["Key"], listed["UploadId"]) == (key, upload)
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})["Deleted"]
        assert [entry["Key"] for entry in deleted] == [key]
    assert keys_of(s3, bucket) == ["copy"]


def test_names_are_not_normalised(s3, bucket):
    for key in ("\u00e9", "e\u0301", "E\u0301", "a", "A", "a/", "a//"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ("\u00e9", "e\u0301", "E\u0301", "a", "A", "a/", "a//"):
        assert body_of(s3.get_object(Bucket=bucket, Key=key)) == key.encode()
    # In the order of their UTF-8.
    assert keys_of(s3, bucket) == sorted(keys_of(s3, bucket), key=str.encode)


def test_control_characters_in_plain_listings(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a\x01b\uffff\rc", Body=b"")
    listing = signed(server, "GET", f"/{bucket}", [("list-type", "2")])
    assert b"<Key>a&#x1;b&#xffff;&#13;c</Key>" in listing.body


@pytest.mark.parametrize("key", ["k" * 1025, "é" * 513])
def test_keys_that_are_too_long(server, bucket, key):
    for host, path in ((server.host, f"/{bucket}/"), (f"{bucket}.localhost", "/")):
        signer = Signer.of(server)
        signer.host = host
        answer = signed(server, "PUT", path + quote(key), body=b"x", signer=signer)
        assert (answer.status, answer.code) == (400, "KeyTooLongError")
        assert (answer.error["Size"], answer.error["MaxSizeAllowed"]) == (str(len(key.encode())), "1024")


@pytest.mark.parametrize("path", ["%ff", "a%", "a%2", "%zz", "%c3%28"])
def test_paths_that_are_no_text(server, bucket, path):
    answer = send(server, "GET", f"/{bucket}/{path}", {"host": server.host})
    assert (answer.status, answer.code) == (400, "InvalidURI")


def test_headers_of_eight_kib(server, bucket):
    def put(size):
        return signed(server, "PUT", f"/{bucket}/k", headers={"x-amz-date-of-nothing": "x" * size}, body=b"x")

    assert put(7 * 1024).status == 200
    answer = put(8 * 1024)
    assert (answer.status, answer.code, answer.error["MaxSizeAllowed"]) == (400, "RequestHeaderSectionTooLarge", "8192")


def test_queries_count_as_headers_do(server, bucket):
    def list_of(size):
        return signed(server, "GET", f"/{bucket}", [("prefix", "x" * size)])

    assert list_of(6 * 1024).status == 200
    answer = list_of(8 * 1024)
    assert (answer.status, answer.code) == (400, "RequestHeaderSectionTooLarge")


def test_metadata_of_many_entries(server, s3, bucket, monkeypatch):
    """As many as fit into 8 KiB of headers, over HTTP/1.1."""
    # Python's client reads a hundred headers of an answer, unless it is told otherwise.
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)
    small = {f"{n:02}": "v" for n in range(90)}
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata=small)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == small
    # Each name stands in the signature's list of headers as well.
    many = {f"x-amz-meta-{n:02x}": "" for n in range(240)}
    assert signed(server, "PUT", f"/{bucket}/k", headers=many, body=b"x").status == 200
    assert len(s3.head_object(Bucket=bucket, Key="k")["Metadata"]) == 240


def test_more_headers_than_are_taken(server, bucket):
    """What is beyond S3's bounds is refused in S3's words, as far as the parser of HTTP goes."""
    headers = {f"x-{n:x}": "y" * 8 for n in range(1000)}
    answer = signed(server, "PUT", f"/{bucket}/k", unsigned=headers, body=b"x")
    assert (answer.status, answer.code) == (400, "RequestHeaderSectionTooLarge")
    answer = signed(server, "GET", f"/{bucket}", [("prefix", "x" * 60_000)])
    assert (answer.status, answer.code) == (400, "RequestHeaderSectionTooLarge")
    # Beyond it, HTTP answers for itself.
    answer = signed(server, "GET", f"/{bucket}", [("prefix", "x" * 70_000)])
    assert answer.status in (414, 431)


def test_metadata_of_two_kib(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 1023, "b": "y" * 1023})
    with refused("MetadataTooLarge", 400) as refusal:
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 1023, "b": "y" * 1024})
    assert (refusal.error["MaxSizeAllowed"], refusal.error["Size"]) == ("2048", "2049")


def test_listing_while_others_write_and_delete(s3, bucket):
    """Every key that nobody touches is listed exactly once, whatever happens between two pages."""
    untouched = sorted(f"{n:04}/{'x' * (n % 7)}" for n in range(0, 1200, 2))
    in_parallel(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), untouched)
    stop = threading.Event()

    def disturb(lane):
        n = lane
        while not stop.is_set():
            key = f"{n % 1200:04}"
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
            s3.delete_object(Bucket=bucket, Key=key)
            n += 4

    others = [threading.Thread(target=disturb, args=(lane,)) for lane in (1, 3)]
    for other in others:
        other.start()
    try:
        for options in ({}, {"Delimiter": "/"}):
            for call, field in (("list_objects_v2", "NextContinuationToken"), ("list_objects", "NextMarker")):
                seen, position = [], None
                while True:
                    name = "ContinuationToken" if call == "list_objects_v2" else "Marker"
                    page = getattr(s3, call)(Bucket=bucket, MaxKeys=37, **options, **({name: position} if position else {}))
                    seen += [entry["Key"] for entry in page.get("Contents", []) if "/" in entry["Key"]]
                    seen += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
                    if not page["IsTruncated"]:
                        break
                    position = page.get(field) or page["Contents"][-1]["Key"]
                expected = untouched if not options else sorted({key.split("/")[0] + "/" for key in untouched})
                assert seen == expected, (call, options)
    finally:
        stop.set()
        for other in others:
            other.join()


def test_a_token_whose_key_is_gone(s3, bucket):
    for key in "abcdef":
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=3)
    for key in "bcd":
        s3.delete_object(Bucket=bucket, Key=key)
    s3.put_object(Bucket=bucket, Key="bb", Body=b"")
    rest = s3.list_objects_v2(Bucket=bucket, ContinuationToken=page["NextContinuationToken"])
    assert [entry["Key"] for entry in rest["Contents"]] == ["e", "f"]


def test_buckets_in_pages(server, s3, bucket_names):
    stem = f"{next(bucket_names)}-page"
    names = [f"{stem}-{n}" for n in range(7)]
    for name in names:
        s3.create_bucket(Bucket=name)
    seen, token, pages = [], None, 0
    while True:
        page = s3.list_buckets(Prefix=stem, MaxBuckets=3, **({"ContinuationToken": token} if token else {}))
        assert page["Prefix"] == stem
        seen += [entry["Name"] for entry in page["Buckets"]]
        pages += 1
        # One that comes and one that goes between two pages.
        if pages == 1:
            s3.delete_bucket(Bucket=names[0])
            s3.create_bucket(Bucket=f"{stem}-00")
        token = page.get("ContinuationToken")
        if not token:
            break
    assert (seen, pages) == (names, 3)
    assert [entry["Name"] for entry in s3.list_buckets(Prefix=stem, BucketRegion="us-east-1")["Buckets"]] == [f"{stem}-00", *names[1:]]
    for region, message in (
        ("eu-west-1", "Requests with bucket-region specified must be made to the corresponding regional endpoint"),
        ("nowhere", "Argument value nowhere is not a valid AWS Region"),
        ("eu-east-1", "Argument value eu-east-1 is not a valid AWS Region"),
    ):
        answer = signed(server, "GET", "/", [("bucket-region", region)])
        assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", message)
        assert answer.error["ArgumentName"] == "bucket-region"
    answer = signed(server, "GET", "/", [("continuation-token", "zz")])
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"] == "The continuation token provided is incorrect"
    assert signed(server, "GET", "/", [("continuation-token", "")]).status == 200
    for number in ("0", "10001", "-1", "x"):
        answer = signed(server, "GET", "/", [("max-buckets", number)])
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    for name in [f"{stem}-00", *names[1:]]:
        s3.delete_bucket(Bucket=name)


def test_the_namespaces_of_bucket_names(server, s3, bucket_names):
    """Names that end with an account, a region and `-an` are that account's alone."""
    stem = next(bucket_names)
    account = server.client("sts").get_caller_identity()["Account"]
    own = f"{stem}-{account}-us-east-1-an"

    def create(name, **namespace):
        return signed(server, "PUT", f"/{name}", headers={f"x-amz-bucket-{k}": v for k, v in namespace.items()})

    missing = create(own)
    assert (missing.status, missing.code) == (400, "MissingNamespaceHeader")
    for name, namespace in [
        (own, "global"),
        (stem, "account-regional"),
        (f"{stem}-999999999999-us-east-1-an", "account-regional"),
        (f"{stem}-{account}-eu-west-1-an", "account-regional"),
    ]:
        answer = create(name, namespace=namespace)
        assert (answer.status, answer.code) == (400, "InvalidBucketNamespace"), (name, namespace)
    unknown = create(stem, namespace="zzz")
    assert (unknown.status, unknown.code, unknown.error["ArgumentValue"]) == (400, "InvalidArgument", "zzz")
    for name, namespace in ((own, "account-regional"), (stem, "global")):
        s3.create_bucket(Bucket=name, BucketNamespace=namespace)
        s3.put_object(Bucket=name, Key="k", Body=b"x")
        s3.delete_object(Bucket=name, Key="k")
        s3.delete_bucket(Bucket=name)


def test_a_visitor_who_asks_for_the_list_of_buckets(server):
    answer = send(server, "GET", "/", {"host": server.host})
    assert (answer.status, answer.headers["location"], answer.body) == (307, "https://aws.amazon.com/s3/", b"")


def test_an_unknown_element_creates_no_bucket(server, s3, bucket_names):
    name = next(bucket_names)
    body = b"<CreateBucketConfiguration><Promise>kept</Promise></CreateBucketConfiguration>"
    answer = signed(server, "PUT", f"/{name}", body=body)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    with refused("404", 404):
        s3.head_bucket(Bucket=name)


@pytest.mark.parametrize("key", ["..", "../a", "a/../../b", "a/%2e%2e/../b"])
def test_keys_that_climb_out_of_the_bucket(server, bucket, key):
    for method in ("PUT", "GET"):
        answer = signed(server, method, f"/{bucket}/{key}", body=b"x" if method == "PUT" else b"")
        assert (answer.status, answer.code) == (400, "InvalidURI")
        assert answer.error["Message"] == "Couldn't parse the specified URI."
