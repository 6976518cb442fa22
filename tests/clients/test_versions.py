"""Versioning: what is kept, how it is named, listed, read, copied and deleted."""

import time
import xml.etree.ElementTree as ET

import pytest
import requests
from botocore.config import Config

from support.calls import (
    body_of,
    headers_of,
    in_parallel,
    keys_of,
    multipart,
    refused,
    status_of,
    upload_parts,
    versions_of,
)
from support.data import content
from support.requests import signed

NOT_EMPTY = "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
NO_VERSION = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def versioned(s3, bucket):
    """A bucket that keeps versions."""
    keep(s3, bucket, "Enabled")
    return bucket


def keep(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def put(s3, bucket, key, body):
    """Writes an object; its version id."""
    return s3.put_object(Bucket=bucket, Key=key, Body=body).get("VersionId")


def test_the_state_of_a_bucket(s3, bucket):
    state = lambda: s3.get_bucket_versioning(Bucket=bucket)
    assert "Status" not in state()
    keep(s3, bucket, "Enabled")
    assert state()["Status"] == "Enabled"
    keep(s3, bucket, "Suspended")
    assert state()["Status"] == "Suspended"
    with refused("MalformedXML", 400):
        keep(s3, bucket, "enabled")
    with refused("IllegalVersioningConfigurationException", 400, "The Versioning element must be specified"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={})
    with refused("NotImplemented", 501) as refusal:
        s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"}, MFA="arn 123456"
        )
    assert "MFA delete" in refusal.message
    assert state()["Status"] == "Suspended"


def test_every_write_is_a_version(s3, versioned):
    ids = [put(s3, versioned, "k", f"v{n}") for n in range(5)]
    assert len(set(ids)) == 5
    assert all(len(id) == 32 and not id.startswith("-") for id in ids)
    current = s3.get_object(Bucket=versioned, Key="k")
    assert (body_of(current), current["VersionId"]) == (b"v4", ids[4])
    for n, id in enumerate(ids):
        answer = s3.get_object(Bucket=versioned, Key="k", VersionId=id)
        assert (body_of(answer), answer["VersionId"]) == (f"v{n}".encode(), id)
        head = s3.head_object(Bucket=versioned, Key="k", VersionId=id)
        assert (head["VersionId"], head["ETag"]) == (id, answer["ETag"])
        attributes = s3.get_object_attributes(
            Bucket=versioned, Key="k", VersionId=id, ObjectAttributes=["ObjectSize", "ETag"]
        )
        assert (attributes["VersionId"], attributes["ObjectSize"]) == (id, 2)
    assert [entry[1] for entry in versions_of(s3, versioned)] == ids[::-1]
    assert keys_of(s3, versioned) == ["k"]


def test_what_was_there_before_is_the_null_version(s3, bucket):
    assert put(s3, bucket, "k", b"before") is None
    assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k")
    assert versions_of(s3, bucket) == [("k", "null", True, False)]
    keep(s3, bucket, "Enabled")
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    id = put(s3, bucket, "k", b"after")
    assert versions_of(s3, bucket) == [("k", id, True, False), ("k", "null", False, False)]
    assert body_of(s3.get_object(Bucket=bucket, Key="k", VersionId="null")) == b"before"


def test_suspended_writes_replace_the_null_version(s3, versioned):
    first = put(s3, versioned, "k", b"1")
    keep(s3, versioned, "Suspended")
    assert put(s3, versioned, "k", b"2") is None
    # A copy tells of it, unlike a PutObject.
    assert s3.copy_object(Bucket=versioned, Key="k", CopySource=f"{versioned}/k?versionId={first}")["VersionId"] == "null"
    assert versions_of(s3, versioned) == [("k", "null", True, False), ("k", first, False, False)]
    put(s3, versioned, "k", b"3")
    assert len(versions_of(s3, versioned)) == 2
    keep(s3, versioned, "Enabled")
    second = put(s3, versioned, "k", b"4")
    assert [entry[1] for entry in versions_of(s3, versioned)] == [second, "null", first]
    keep(s3, versioned, "Suspended")
    put(s3, versioned, "k", b"5")
    assert [entry[1] for entry in versions_of(s3, versioned)] == ["null", second, first]
    assert body_of(s3.get_object(Bucket=versioned, Key="k", VersionId="null")) == b"5"
    answer = s3.delete_object(Bucket=versioned, Key="k")
    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, "null")
    found = {entry[1]: entry for entry in versions_of(s3, versioned)}
    assert found["null"] == ("k", "null", True, True)
    assert set(found) == {"null", second, first}


def test_delete_markers(s3, versioned):
    id = put(s3, versioned, "k", b"data")
    deletion = s3.delete_object(Bucket=versioned, Key="k")
    marker = deletion["VersionId"]
    assert (status_of(deletion), deletion["DeleteMarker"]) == (204, True)
    assert keys_of(s3, versioned) == []
    with refused("NoSuchKey", 404) as refusal:
        s3.get_object(Bucket=versioned, Key="k")
    assert refusal.headers["x-amz-delete-marker"] == "true"
    assert refusal.headers["x-amz-version-id"] == marker
    with refused("404", 404) as refusal:
        s3.head_object(Bucket=versioned, Key="k")
    assert refusal.headers["x-amz-delete-marker"] == "true"
    with refused("MethodNotAllowed", 405) as refusal:
        s3.get_object(Bucket=versioned, Key="k", VersionId=marker)
    assert refusal.error["ResourceType"] == "DeleteMarker"
    headers = refusal.headers
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"], headers["allow"]) == ("true", marker, "DELETE")
    assert "last-modified" in headers
    with refused("405", 405):
        s3.head_object(Bucket=versioned, Key="k", VersionId=marker)
    assert body_of(s3.get_object(Bucket=versioned, Key="k", VersionId=id)) == b"data"

    # Deleted again, there are two; each is one of its own.
    second = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    assert {(e[1], e[2]) for e in versions_of(s3, versioned) if e[3]} == {(marker, False), (second, True)}
    answer = s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, second)
    # The last marker gone, the object is back.
    s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    answer = s3.get_object(Bucket=versioned, Key="k")
    assert (body_of(answer), answer["VersionId"]) == (b"data", id)

    # What never was can be marked too.
    assert s3.delete_object(Bucket=versioned, Key="never")["DeleteMarker"] is True


def test_the_next_version_becomes_current(s3, versioned):
    ids = [put(s3, versioned, "k", f"v{n}") for n in range(4)]
    answer = s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[1])
    assert answer["VersionId"] == ids[1]
    assert "DeleteMarker" not in answer
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"v3"
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[3])
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"v2"
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[2])
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"v0"
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[0])
    with refused("NoSuchKey", 404) as refusal:
        s3.get_object(Bucket=versioned, Key="k")
    assert "x-amz-delete-marker" not in refusal.headers
    assert versions_of(s3, versioned) == []
    # Gone already: no error.
    assert status_of(s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[0])) == 204


def test_versions_that_are_not_there(s3, versioned):
    put(s3, versioned, "k", b"x")
    with refused("NoSuchVersion", 404) as refusal:
        s3.get_object(Bucket=versioned, Key="k", VersionId=NO_VERSION)
    assert (refusal.error["Key"], refusal.error["VersionId"]) == ("k", NO_VERSION)
    with refused("NoSuchVersion", 404):
        s3.get_object(Bucket=versioned, Key="k", VersionId="null")
    for bad in ("HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD", "x"):
        with refused("InvalidArgument", 400, "Invalid version id specified") as refusal:
            s3.get_object(Bucket=versioned, Key="k", VersionId=bad)
        assert (refusal.error["ArgumentName"], refusal.error["ArgumentValue"]) == ("versionId", bad)
        with refused("InvalidArgument", 400):
            s3.delete_object(Bucket=versioned, Key="k", VersionId=bad)


def test_one_version_is_not_anothers(s3, versioned):
    """An id leads to the version of its own key alone."""
    a, b = put(s3, versioned, "a", b"a"), put(s3, versioned, "b", b"b")
    with refused("NoSuchVersion", 404):
        s3.get_object(Bucket=versioned, Key="a", VersionId=b)
    s3.delete_object(Bucket=versioned, Key="a", VersionId=b)
    assert {entry[1] for entry in versions_of(s3, versioned)} == {a, b}


def test_many_are_deleted_at_once(s3, versioned):
    one, two = put(s3, versioned, "k", b"1"), put(s3, versioned, "k", b"2")
    other = put(s3, versioned, "other", b"3")
    delete = lambda *objects: s3.delete_objects(Bucket=versioned, Delete={"Objects": list(objects)})
    answer = delete({"Key": "other"}, {"Key": "k", "VersionId": one}, {"Key": "k", "VersionId": "bad"})
    deleted = {entry["Key"]: entry for entry in answer["Deleted"]}
    marker = deleted["other"]["DeleteMarkerVersionId"]
    assert deleted["other"] == {"Key": "other", "DeleteMarker": True, "DeleteMarkerVersionId": marker}
    assert deleted["k"] == {"Key": "k", "VersionId": one}
    [error] = answer["Errors"]
    assert (error["Code"], error["VersionId"]) == ("NoSuchVersion", "bad")
    answer = delete({"Key": "other", "VersionId": marker})
    expected = {"Key": "other", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}
    assert answer["Deleted"] == [expected]
    assert {entry[1] for entry in versions_of(s3, versioned)} == {two, other}


def test_copies_name_their_versions(s3, versioned):
    old, new = put(s3, versioned, "k", b"old"), put(s3, versioned, "k", b"new")
    copy = s3.copy_object(Bucket=versioned, Key="copy", CopySource={"Bucket": versioned, "Key": "k"})
    assert copy["CopySourceVersionId"] == new
    assert s3.get_object(Bucket=versioned, Key="copy")["VersionId"] == copy["VersionId"]
    # An older version is made the current one by a copy onto its own key.
    source = {"Bucket": versioned, "Key": "k", "VersionId": old}
    restored = s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
    assert restored["CopySourceVersionId"] == old
    answer = s3.get_object(Bucket=versioned, Key="k")
    assert (body_of(answer), answer["VersionId"]) == (b"old", restored["VersionId"])
    assert len(versions_of(s3, versioned, Prefix="k")) == 3
    # The copies' bytes are theirs, whatever becomes of the source.
    for id in (old, new):
        s3.delete_object(Bucket=versioned, Key="k", VersionId=id)
    assert body_of(s3.get_object(Bucket=versioned, Key="copy")) == b"new"
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"old"
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=versioned, Key="x", CopySource={"Bucket": versioned, "Key": "k"})
    message = "The source of a copy request may not specifically refer to a delete marker by version id."
    with refused("InvalidRequest", 400, message):
        s3.copy_object(Bucket=versioned, Key="x", CopySource={"Bucket": versioned, "Key": "k", "VersionId": marker})


def test_a_null_version_is_not_named_as_a_source(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for status in ("Enabled", "Suspended"):
        keep(s3, bucket, status)
        for named in ({}, {"VersionId": "null"}):
            source = {"Bucket": bucket, "Key": "k", **named}
            copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
            assert ("CopySourceVersionId" in copy, "VersionId" in copy) == (False, True)
            upload = s3.create_multipart_upload(Bucket=bucket, Key="part")["UploadId"]
            part = s3.upload_part_copy(Bucket=bucket, Key="part", UploadId=upload, PartNumber=1, CopySource=source)
            assert "CopySourceVersionId" not in part


def test_large_versions_share_and_release_their_bytes(s3, versioned):
    """Copies of versions with runs of their own, each deleted in turn: the rest stays whole."""
    bodies = [content(300_000, f"large{n}") for n in range(3)]
    ids = [put(s3, versioned, "k", body) for body in bodies]
    for n, id in enumerate(ids):
        source = {"Bucket": versioned, "Key": "k", "VersionId": id}
        s3.copy_object(Bucket=versioned, Key=f"copy{n}", CopySource=source)
    for n, id in enumerate(ids):
        s3.delete_object(Bucket=versioned, Key="k", VersionId=id)
        for m in range(3):
            assert body_of(s3.get_object(Bucket=versioned, Key=f"copy{m}")) == bodies[m]
    for n in range(3):
        source = {"Bucket": versioned, "Key": f"copy{n}"}
        s3.copy_object(Bucket=versioned, Key=f"copy{n}", CopySource=source, MetadataDirective="REPLACE")
        assert len(versions_of(s3, versioned, Prefix=f"copy{n}")) == 2


def test_multipart_uploads_are_versions(s3, versioned):
    before = put(s3, versioned, "k", b"before")
    parts = [content(5 << 20, "part"), b"tail"]
    upload, done = upload_parts(s3, versioned, "k", parts)
    arguments = dict(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload={"Parts": done})
    answer = s3.complete_multipart_upload(**arguments)
    assert s3.complete_multipart_upload(**arguments)["VersionId"] == answer["VersionId"], "asked again"
    assert [e[1] for e in versions_of(s3, versioned)] == [answer["VersionId"], before]
    second = multipart(s3, versioned, "k", [content(5 << 20, "other"), b"end"])["VersionId"]
    first = s3.get_object(Bucket=versioned, Key="k", VersionId=answer["VersionId"])
    assert body_of(first) == b"".join(parts)
    part = s3.get_object(Bucket=versioned, Key="k", VersionId=answer["VersionId"], PartNumber=2)
    assert (body_of(part), part["PartsCount"]) == (b"tail", 2)
    s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"".join(parts)
    upload = s3.create_multipart_upload(Bucket=versioned, Key="copied")["UploadId"]
    source = {"Bucket": versioned, "Key": "k", "VersionId": before}
    copied = s3.upload_part_copy(Bucket=versioned, Key="copied", UploadId=upload, PartNumber=1, CopySource=source)
    assert copied["CopySourceVersionId"] == before


def test_what_was_begun_last_is_current(s3, versioned):
    """Completed in another order than they were begun in, uploads stand by their beginning."""
    first, first_done = upload_parts(s3, versioned, "k", [b"first"])
    time.sleep(0.01)
    second, second_done = upload_parts(s3, versioned, "k", [b"second"])
    time.sleep(0.01)

    def complete(upload, done):
        parts = {"Parts": done}
        return s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=parts)["VersionId"]

    second = complete(second, second_done)
    first = complete(first, first_done)
    assert versions_of(s3, versioned) == [("k", second, True, False), ("k", first, False, False)]
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"second"
    assert body_of(s3.get_object(Bucket=versioned, Key="k", VersionId=first)) == b"first"
    third, third_done = upload_parts(s3, versioned, "k", [b"third"])
    time.sleep(0.01)
    between = put(s3, versioned, "k", b"between")
    third = complete(third, third_done)
    assert [entry[1] for entry in versions_of(s3, versioned)] == [between, third, second, first]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=between)
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"third"


def test_forms_are_versions(s3, versioned, server):
    signer = server.client("s3", config=Config(signature_version="s3v4"))
    form = signer.generate_presigned_post(versioned, "form", Conditions=[], ExpiresIn=600)

    def post():
        return requests.post(form["url"], data=form["fields"], files={"file": b"x"}, verify=server.ca, timeout=30)

    ids = {post().headers["x-amz-version-id"] for _ in range(2)}
    assert {entry[1] for entry in versions_of(s3, versioned)} == ids and len(ids) == 2


def listing(s3, bucket, **options):
    """One page: ((key, id) of versions, of markers, prefixes, answer)."""
    page = s3.list_object_versions(Bucket=bucket, **options)
    pairs = lambda name: [(entry["Key"], entry["VersionId"]) for entry in page.get(name, [])]
    return pairs("Versions"), pairs("DeleteMarkers"), [p["Prefix"] for p in page.get("CommonPrefixes", [])], page


def test_listings_are_by_key_and_the_newest_first(s3, versioned, server):
    a = [put(s3, versioned, "a", str(n)) for n in range(3)]
    marker = s3.delete_object(Bucket=versioned, Key="a")["VersionId"]
    b = put(s3, versioned, "b é&", b"x")
    answer = signed(server, "GET", f"/{versioned}", [("versions", "")])
    root = ET.fromstring(answer.body)
    assert root.tag.endswith("}ListVersionsResult")
    local = lambda element: element.tag.split("}")[1]
    entries = [(local(e), {local(c): c.text for c in e}) for e in root if local(e) in ("Version", "DeleteMarker")]
    expected = [("DeleteMarker", marker, "true"), *(("Version", id, "false") for id in reversed(a)), ("Version", b, "true")]
    assert [(name, e["VersionId"], e["IsLatest"]) for name, e in entries] == expected, "interleaved, as they stand"
    assert set(entries[0][1]) == {"Key", "VersionId", "IsLatest", "LastModified", "Owner"}
    assert entries[1][1]["Size"] == "1" and entries[1][1]["StorageClass"] == "STANDARD"
    assert entries[-1][1]["Key"] == "b é&"


def test_pages_of_every_size_come_to_the_same(s3, versioned):
    for n in range(4):
        for key in ("a/1", "a/2", "b", "c/d/e", "c/d/f", "é"):
            put(s3, versioned, key, str(n))
            if n == 2 and key in ("a/2", "c/d/e"):
                s3.delete_object(Bucket=versioned, Key=key)
    s3.delete_object(Bucket=versioned, Key="b")
    whole = versions_of(s3, versioned)
    assert len(whole) == 27
    for size in (1, 2, 3, 5, 26, 27, 28):
        paged = versions_of(s3, versioned, PaginationConfig={"PageSize": size})
        assert sorted(paged) == sorted(whole), size
    for delimiter, prefix in (("/", ""), ("/", "c/"), ("", "a")):
        def pages(size):
            found, options = [], {}
            while True:
                versions, markers, prefixes, page = listing(
                    s3, versioned, Delimiter=delimiter, Prefix=prefix, MaxKeys=size, **options
                )
                found += versions + markers + prefixes
                assert len(versions) + len(markers) + len(prefixes) <= size
                if not page["IsTruncated"]:
                    return sorted(found, key=str)
                options = {"KeyMarker": page["NextKeyMarker"]}
                if "NextVersionIdMarker" in page:
                    options["VersionIdMarker"] = page["NextVersionIdMarker"]

        whole = pages(1000)
        assert all(pages(size) == whole for size in (1, 2, 3)), (delimiter, prefix)
    _, _, prefixes, _ = listing(s3, versioned, Delimiter="/")
    assert prefixes == ["a/", "c/"]


def test_markers_of_a_listing(s3, versioned):
    ids = [put(s3, versioned, "k", str(n)) for n in range(3)]
    last = put(s3, versioned, "l", b"x")
    after = lambda **options: listing(s3, versioned, **options)[0]
    assert after(KeyMarker="k") == [("l", last)]
    assert after(KeyMarker="k", VersionIdMarker=ids[1]) == [("k", ids[0]), ("l", last)]
    with refused("InvalidArgument", 400, "A version-id marker cannot be specified without a key marker.") as refusal:
        after(VersionIdMarker=ids[1])
    assert refusal.error["ArgumentName"] == "version-id-marker"
    with refused("InvalidArgument", 400, "Invalid version id specified"):
        after(KeyMarker="k", VersionIdMarker="x")
    with refused("InvalidArgument", 400, "A version-id marker cannot be empty."):
        after(KeyMarker="k", VersionIdMarker="")
    # The version of the marker may be gone by now, as when all are deleted page by page.
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[1])
    assert after(KeyMarker="k", VersionIdMarker=ids[1]) == [("k", ids[0]), ("l", last)]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[2])
    _, _, _, page = listing(s3, versioned, KeyMarker="k", VersionIdMarker=ids[2])
    assert [(v["VersionId"], v["IsLatest"]) for v in page["Versions"]] == [(ids[0], True), (last, True)]
    keep(s3, versioned, "Suspended")
    put(s3, versioned, "k", b"null")
    assert after(KeyMarker="k", VersionIdMarker="null") == [("k", ids[0]), ("l", last)]


def test_a_bucket_with_versions_is_not_empty(s3, bucket_names):
    name = next(bucket_names)
    s3.create_bucket(Bucket=name)
    keep(s3, name, "Enabled")
    id = put(s3, name, "k", b"x")
    marker = s3.delete_object(Bucket=name, Key="k")["VersionId"]
    for gone in (id, marker):
        with refused("BucketNotEmpty", 409, NOT_EMPTY):
            s3.delete_bucket(Bucket=name)
        s3.delete_object(Bucket=name, Key="k", VersionId=gone)
    s3.delete_bucket(Bucket=name)


def test_no_version_is_lost_under_many_writers(s3, versioned):
    ids = in_parallel(lambda n: put(s3, versioned, "k", str(n)), range(60))
    assert len(set(ids)) == 60
    found = versions_of(s3, versioned)
    assert {entry[1] for entry in found} == set(ids)
    assert [entry[2] for entry in found] == [True] + [False] * 59
    in_parallel(lambda id: s3.delete_object(Bucket=versioned, Key="k", VersionId=id), ids[:59])
    assert versions_of(s3, versioned) == [("k", ids[59], True, False)]
    assert body_of(s3.get_object(Bucket=versioned, Key="k")) == b"59"


def test_enabling_holds_for_writes_that_are_under_way(s3, bucket):
    """From the moment that versioning is on, no write takes the place of another."""
    written = []

    def work(n):
        if n == 20:
            keep(s3, bucket, "Enabled")
        written.append(s3.put_object(Bucket=bucket, Key="k", Body=str(n)).get("VersionId"))

    in_parallel(work, range(60))
    given = {id for id in written if id}
    assert given <= {entry[1] for entry in versions_of(s3, bucket)}
    assert len(given) >= 20


def test_versions_survive_a_crash(new_server):
    server = new_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="crash")
    keep(s3, "crash", "Enabled")
    ids = [put(s3, "crash", "k", content(100_000, str(n))) for n in range(4)]
    marker = s3.delete_object(Bucket="crash", Key="k")["VersionId"]
    s3.delete_object(Bucket="crash", Key="k", VersionId=ids[2])
    server.kill()
    server.start()
    s3 = server.client("s3")
    assert s3.get_bucket_versioning(Bucket="crash")["Status"] == "Enabled"
    found = sorted(versions_of(s3, "crash"))
    assert found == sorted([("k", marker, True, True)] + [("k", ids[n], False, False) for n in (3, 1, 0)])
    assert body_of(s3.get_object(Bucket="crash", Key="k", VersionId=ids[1])) == content(100_000, "1")
    put(s3, "crash", "k", b"again")
    assert server.stop() == 0
    assert server.strongroom("verify").returncode == 0


def test_encryption_is_each_versions_own(s3, kms, versioned, server):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    plain = put(s3, versioned, "k", b"plain")
    sealed = s3.put_object(
        Bucket=versioned, Key="k", Body=b"sealed", ServerSideEncryption="aws:kms", SSEKMSKeyId=key
    )["VersionId"]
    encryption = {"SSEKMS": {"KMSKeyArn": key}}
    s3.update_object_encryption(Bucket=versioned, Key="k", VersionId=plain, ObjectEncryption=encryption)
    for id, body in ((plain, b"plain"), (sealed, b"sealed")):
        answer = s3.get_object(Bucket=versioned, Key="k", VersionId=id)
        assert (body_of(answer), answer["SSEKMSKeyId"]) == (body, key)
    other = kms.create_key()["KeyMetadata"]["Arn"]
    done = server.strongroom("rewrap", "--bucket", versioned, "--from", key, "--to", other)
    assert done.returncode == 0, done.stderr
    for id in (plain, sealed):
        assert s3.head_object(Bucket=versioned, Key="k", VersionId=id)["SSEKMSKeyId"] == other
    assert [entry[1] for entry in versions_of(s3, versioned)] == [sealed, plain]


def test_the_command_line(aws, s3, bucket):
    aws("s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
    status = aws("s3api", "get-bucket-versioning", "--bucket", bucket, "--query", "Status", "--output", "text")
    assert status.stdout.strip() == "Enabled"
    first, _ = put(s3, bucket, "k", b"1"), put(s3, bucket, "k", b"2")
    aws("s3", "rm", f"s3://{bucket}/k")
    listed = aws("s3api", "list-object-versions", "--bucket", bucket).json
    assert len(listed["Versions"]) == 2 and len(listed["DeleteMarkers"]) == 1
    aws("s3api", "delete-object", "--bucket", bucket, "--key", "k", "--version-id", listed["DeleteMarkers"][0]["VersionId"])
    shown = aws("s3api", "get-object", "--bucket", bucket, "--key", "k", "--version-id", first, "/dev/null").json
    assert shown["VersionId"] == first
    head = aws("s3api", "head-object", "--bucket", bucket, "--key", "k").json
    assert head["VersionId"] == listed["Versions"][0]["VersionId"]


def test_headers_of_unversioned_buckets_say_nothing(s3, bucket):
    for answer in (
        s3.put_object(Bucket=bucket, Key="k", Body=b"x"),
        s3.get_object(Bucket=bucket, Key="k"),
        s3.get_object(Bucket=bucket, Key="k", VersionId="null"),
        s3.delete_object(Bucket=bucket, Key="k"),
    ):
        assert not {"x-amz-version-id", "x-amz-delete-marker"} & set(headers_of(answer))
