"""Listings, version 1 and 2, held against a model in Python."""

import pytest

from support.calls import in_parallel, keys_of, refused
from support.requests import signed

KEYS = ["a", "a/1", "a/2", "a/b/1", "a/b/2", "b/1", "b/2", "c", "d//x", "d/x", "e-f/1", "e-f/2", "ü/1", "z"]


class Model:
    """What a listing must say of `keys`, by the definition of each parameter."""

    def __init__(self, keys):
        self.keys = sorted(keys, key=lambda key: key.encode())

    def list(self, prefix="", delimiter="", after=""):
        """The entries in order: ("key", name) or ("prefix", name)."""
        entries = []
        for key in self.keys:
            if not key.startswith(prefix) or key.encode() <= after.encode():
                continue
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            entry = ("key", key) if cut < 0 else ("prefix", key[: cut + len(delimiter)])
            if not entries or entries[-1] != entry:
                entries.append(entry)
        return entries


def entries_of(answer):
    """A listing's entries as the model has them."""
    found = [("key", entry["Key"]) for entry in answer.get("Contents", [])]
    found += [("prefix", entry["Prefix"]) for entry in answer.get("CommonPrefixes", [])]
    return sorted(found, key=lambda entry: entry[1].encode())


def all_pages(s3, call, bucket, **options):
    """Follows the continuation by hand; (entries, number of pages)."""
    entries, pages, more = [], 0, {}
    while True:
        answer = getattr(s3, call)(Bucket=bucket, **options, **more)
        found = entries_of(answer)
        assert len(found) <= options.get("MaxKeys", 1000)
        entries += found
        pages += 1
        if not answer["IsTruncated"]:
            return entries, pages
        assert found
        if call == "list_objects_v2":
            assert answer["KeyCount"] == len(found)
            more = {"ContinuationToken": answer["NextContinuationToken"]}
        elif "Delimiter" in options:
            more = {"Marker": answer["NextMarker"]}
        else:
            assert "NextMarker" not in answer
            more = {"Marker": found[-1][1]}


@pytest.fixture(scope="module")
def tree(s3, bucket_names):
    """A bucket with KEYS that no test writes to."""
    name = next(bucket_names)
    s3.create_bucket(Bucket=name)
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    yield name
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in KEYS]})
    s3.delete_bucket(Bucket=name)


CASES = [
    {},
    {"Prefix": "a"},
    {"Prefix": "a/"},
    {"Prefix": "none"},
    {"Delimiter": "/"},
    {"Prefix": "a/", "Delimiter": "/"},
    {"Prefix": "d/", "Delimiter": "/"},
    {"Prefix": "a", "Delimiter": "/"},
    {"Delimiter": "-f/"},
    {"Delimiter": "b/"},
    {"Delimiter": "//"},
    {"Delimiter": "none"},
    {"Delimiter": "ü"},
]


@pytest.mark.parametrize("call", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("max_keys", [1, 2, 3, 1000])
def test_against_the_model(s3, tree, call, max_keys):
    model = Model(KEYS)
    for case in CASES:
        expected = model.list(case.get("Prefix", ""), case.get("Delimiter", ""))
        found, pages = all_pages(s3, call, tree, MaxKeys=max_keys, **case)
        assert found == expected, case
        assert pages == max(1, -(-len(expected) // max_keys)), case


@pytest.mark.parametrize("after", ["", "a", "a/1", "a/b", "a/zzz", "b", "z", "zz", "\u00fc"])
def test_start_after_and_marker(s3, tree, after):
    expected = Model(KEYS).list(after=after)
    assert entries_of(s3.list_objects_v2(Bucket=tree, StartAfter=after)) == expected
    assert entries_of(s3.list_objects(Bucket=tree, Marker=after)) == expected


def test_a_marker_that_is_a_common_prefix_skips_it(s3, tree):
    answer = s3.list_objects(Bucket=tree, Delimiter="/", Marker="a/")
    assert entries_of(answer)[0] == ("prefix", "b/")
    inside = s3.list_objects_v2(Bucket=tree, Delimiter="/", StartAfter="a/1")
    assert entries_of(inside)[0] in (("prefix", "a/"), ("prefix", "b/"))


def test_a_marker_within_a_common_prefix_skips_it(s3, bucket):
    for key in ("folder/a/1", "folder/a/2", "folder/file1", "folder/file2"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    within = {"Bucket": bucket, "Prefix": "folder/", "Delimiter": "/"}
    page = s3.list_objects(Marker="folder/a/1", MaxKeys=1, **within)
    assert entries_of(page) == [("key", "folder/file1")]
    assert (page["IsTruncated"], page["NextMarker"]) == (True, "folder/file1")
    page = s3.list_multipart_uploads(KeyMarker="folder/a/1", MaxUploads=1, **within)
    assert ([upload["Key"] for upload in page["Uploads"]], page["IsTruncated"]) == (["folder/file1"], True)
    assert "CommonPrefixes" not in page


def test_what_is_echoed(s3, tree):
    two = s3.list_objects_v2(Bucket=tree, Prefix="a/", Delimiter="/", MaxKeys=7, StartAfter="a")
    assert (two["Name"], two["Prefix"], two["Delimiter"], two["MaxKeys"]) == (tree, "a/", "/", 7)
    assert two["StartAfter"] == "a"
    first = s3.list_objects_v2(Bucket=tree, MaxKeys=1, StartAfter="a")
    rest = s3.list_objects_v2(Bucket=tree, StartAfter="a", ContinuationToken=first["NextContinuationToken"])
    assert rest["StartAfter"] == "a"
    # What the token's listing cannot have begun behind is not told.
    first = s3.list_objects_v2(Bucket=tree, MaxKeys=1)
    rest = s3.list_objects_v2(Bucket=tree, StartAfter="c", ContinuationToken=first["NextContinuationToken"])
    assert rest["Contents"][0]["Key"] > first["Contents"][0]["Key"] and "StartAfter" not in rest
    assert two["KeyCount"] == 3
    assert two["IsTruncated"] is False
    assert "NextContinuationToken" not in two
    one = s3.list_objects(Bucket=tree, Prefix="a/", Delimiter="/", MaxKeys=7, Marker="a")
    assert (one["Name"], one["Prefix"], one["Delimiter"], one["MaxKeys"]) == (tree, "a/", "/", 7)
    assert one["Marker"] == "a"


def test_entries(s3, tree):
    entry = s3.list_objects_v2(Bucket=tree, Prefix="a/1")["Contents"][0]
    head = s3.head_object(Bucket=tree, Key="a/1")
    assert entry["Size"] == 3
    assert entry["ETag"] == head["ETag"]
    assert entry["StorageClass"] == "STANDARD"
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]
    assert "Owner" not in entry
    owned = s3.list_objects_v2(Bucket=tree, Prefix="a/1", FetchOwner=True)["Contents"][0]
    assert owned["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]
    assert s3.list_objects(Bucket=tree, Prefix="a/1")["Contents"][0]["Owner"] == owned["Owner"]


def test_the_etag_of_an_encrypted_object_is_that_of_head(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == s3.head_object(Bucket=bucket, Key="k")["ETag"]


def test_max_keys(s3, server, tree):
    none = s3.list_objects_v2(Bucket=tree, MaxKeys=0)
    assert none["KeyCount"] == 0
    assert none["IsTruncated"] is False
    assert "Contents" not in none
    assert s3.list_objects_v2(Bucket=tree, MaxKeys=5000)["MaxKeys"] == 5000
    for text in ("-1", "abc", "99999999999999"):
        answer = signed(server, "GET", f"/{tree}", [("list-type", "2"), ("max-keys", text)])
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert answer.error["ArgumentName"] in ("max-keys", "maxKeys")
        assert answer.error["ArgumentValue"] == text


def test_a_continuation_token_that_is_none(s3, tree):
    with refused("InvalidArgument", 400, "The continuation token provided is incorrect"):
        s3.list_objects_v2(Bucket=tree, ContinuationToken="nonsense")


def test_more_keys_than_a_page_has(server, tree):
    for query in ([], [("list-type", "2")], [("versions", "")]):
        answer = signed(server, "GET", f"/{tree}", [*query, ("max-keys", "1001")])
        assert (answer.status, b"<MaxKeys>1001</MaxKeys>" in answer.body) == (200, True), query
    uploads = signed(server, "GET", f"/{tree}", [("uploads", ""), ("max-uploads", "1001")])
    assert b"<MaxUploads>1000</MaxUploads>" in uploads.body


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ([("start-after", "a")], "start-after", "startAfter only supported in REST.GET.BUCKET with list-type=2"),
        (
            [("continuation-token", "a"), ("start-after", "a")],
            "continuation-token",
            "continuation-token only supported in REST.GET.BUCKET with list-type=2",
        ),
        (
            [("list-type", "2"), ("marker", "a")],
            "marker",
            "Marker unsupported with REST.GET.BUCKET in list-type=2",
        ),
        ([("versions", ""), ("max-keys", "-1")], "max-keys", "max-keys cannot be negative"),
    ],
)
def test_parameters_of_another_listing(server, tree, query, name, message):
    answer = signed(server, "GET", f"/{tree}", query)
    assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", message)
    assert answer.error["ArgumentName"] == name
    assert "ArgumentValue" not in answer.error


def test_a_versions_marker_beside_an_empty_key(server, tree):
    answer = signed(server, "GET", f"/{tree}", [("versions", ""), ("key-marker", ""), ("version-id-marker", "null")])
    assert answer.status == 200
    assert b"<Version>" not in answer.body and b"<IsTruncated>false</IsTruncated>" in answer.body
    alone = signed(server, "GET", f"/{tree}", [("versions", ""), ("version-id-marker", "null")])
    assert (alone.status, alone.code) == (400, "InvalidArgument")


def test_the_encoding_type_has_no_case(server, tree):
    answer = signed(server, "GET", f"/{tree}", [("encoding-type", "URL")])
    assert answer.status == 200
    assert b"<EncodingType>URL</EncodingType>" in answer.body


def test_encoding_type(server, s3, bucket):
    name = "a b+c/\u00fc&\x02"
    s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    query = [("list-type", "2"), ("encoding-type", "url"), ("delimiter", "/"), ("prefix", "a b")]
    answer = signed(server, "GET", f"/{bucket}", query)
    assert b"<EncodingType>url</EncodingType>" in answer.body
    # AWS writes a space as a plus sign; a client reads %20 the same.
    assert b"<Prefix>a+b%2Bc/</Prefix>" in answer.body.replace(b"%20", b"+")
    whole = signed(server, "GET", f"/{bucket}", [("encoding-type", "url")])
    assert b"<Key>a+b%2Bc/%C3%BC%26%02</Key>" in whole.body.replace(b"%20", b"+")
    assert keys_of(s3, bucket) == [name]
    wrong = signed(server, "GET", f"/{bucket}", [("encoding-type", "base64")])
    assert (wrong.status, wrong.code) == (400, "InvalidArgument")
    assert wrong.error["Message"] == "Invalid Encoding Method specified in Request"


def test_markup_in_keys_is_escaped(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="<k>&\"'", Body=b"x")
    answer = signed(server, "GET", f"/{bucket}", [("list-type", "2")])
    assert b"<Key>&lt;k&gt;&amp;" in answer.body


def test_namespace_and_content_type(server, tree):
    for query in ([("list-type", "2")], [("list-type", "1")], []):
        answer = signed(server, "GET", f"/{tree}", query)
        if query == [("list-type", "1")] and answer.status == 400:
            continue
        assert answer.headers["Content-Type"] == "application/xml"
        assert b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' in answer.body


@pytest.mark.slow
def test_3000_keys(s3, bucket_names):
    name = next(bucket_names)
    s3.create_bucket(Bucket=name)
    keys = [f"{n % 7}/{n % 11}/key-{n:05}" for n in range(3000)]
    in_parallel(lambda key: s3.put_object(Bucket=name, Key=key, Body=b""), keys)
    model = Model(keys)
    for call in ("list_objects", "list_objects_v2"):
        found, pages = all_pages(s3, call, name)
        assert found == model.list()
        assert pages == 3
        assert all_pages(s3, call, name, Delimiter="/")[0] == model.list(delimiter="/")
        assert all_pages(s3, call, name, Prefix="3/", Delimiter="/", MaxKeys=4)[0] == model.list("3/", "/")
        assert all_pages(s3, call, name, Prefix="5/", MaxKeys=100)[0] == model.list("5/")
    for start in range(0, 3000, 1000):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys[start : start + 1000]]})
    assert keys_of(s3, name) == []
    s3.delete_bucket(Bucket=name)
