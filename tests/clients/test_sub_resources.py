"""Sub-resources: a query key that names one is never taken for a request about the bucket or object itself."""

import hashlib

import pytest

from support.calls import body_of, headers_of, refused
from support.data import base64_text
from support.requests import signed

NONE = "This operation does not accept a version-id."

OF_BUCKETS = {
    "abac": "GET, PUT",
    "accelerate": "GET, PUT",
    "acl": "GET, PUT",
    "analytics": "DELETE, GET, PUT",
    "cors": "DELETE, GET, PUT",
    "delete": "POST",
    "encryption": "DELETE, GET, PUT",
    "intelligent-tiering": "DELETE, GET, PUT",
    "inventory": "DELETE, GET, PUT",
    "lifecycle": "DELETE, GET, PUT",
    "location": "GET",
    "logging": "GET, PUT",
    "metadataAnnotationTable": "PUT",
    "metadataConfiguration": "DELETE, POST, GET",
    "metadataInventoryTable": "PUT",
    "metadataJournalTable": "PUT",
    "metadataTable": "DELETE, POST, GET",
    "metrics": "DELETE, GET, PUT",
    "notification": "GET, PUT",
    "object-lock": "GET, PUT",
    "ownershipControls": "DELETE, GET, PUT",
    "policy": "DELETE, GET, PUT",
    "policyStatus": "GET",
    "publicAccessBlock": "DELETE, GET, PUT",
    "replication": "DELETE, GET, PUT",
    "requestPayment": "GET, PUT",
    "restore": "",
    "tagging": "DELETE, GET, PUT",
    "torrent": "",
    "uploads": "GET",
    "versioning": "GET, PUT",
    "versions": "GET",
    "website": "DELETE, GET, PUT",
}
OF_OBJECTS = {
    "acl": "GET, PUT",
    "annotation": "DELETE, GET, PUT",
    "attributes": "GET",
    "delete": "",
    "encryption": "PUT",
    "legal-hold": "GET, PUT",
    "restore": "POST",
    "retention": "GET, PUT",
    "select": "POST",
    "tagging": "DELETE, GET, PUT",
    "torrent": "GET",
    "uploads": "POST",
}
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH")


def methods(allow):
    return set(allow.split(", ")) - {""}


@pytest.mark.parametrize("key", OF_BUCKETS)
def test_a_bucket_survives_the_methods_that_a_sub_resource_lacks(server, s3, bucket, key):
    for method in METHODS:
        if method in methods(OF_BUCKETS[key]) or (method, key) == ("POST", "restore"):
            continue
        answer = signed(server, method, f"/{bucket}", [(key, "")])
        assert (answer.status, methods(answer.headers["allow"])) == (405, methods(OF_BUCKETS[key])), method
        if method != "HEAD":
            assert (answer.code, answer.error["Method"]) == ("MethodNotAllowed", method)
            assert answer.error["Message"] == "The specified method is not allowed against this resource."
    assert headers_of(s3.head_bucket(Bucket=bucket))["x-amz-bucket-region"] == "us-east-1"


@pytest.mark.parametrize("key", OF_OBJECTS)
def test_an_object_survives_the_methods_that_a_sub_resource_lacks(server, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for method in METHODS:
        if method in methods(OF_OBJECTS[key]) or (method, key) == ("GET", "uploads"):
            continue
        answer = signed(server, method, f"/{bucket}/k", [(key, "")], body=b"" if method in ("GET", "HEAD") else b"new")
        assert (answer.status, methods(answer.headers["allow"])) == (405, methods(OF_OBJECTS[key])), method
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"kept"


@pytest.mark.parametrize(
    ("method", "path", "query", "resource_type"),
    [
        ("DELETE", "/{b}", [("versioning", "")], "VERSIONING"),
        ("PUT", "/{b}", [("uploads", "")], "UPLOADS"),
        ("PUT", "/{b}", [("policyStatus", "")], "POLICY_STATUS"),
        ("DELETE", "/{b}", [("retention", "")], "OBJECT_LOCK_RETENTION"),
        ("DELETE", "/{b}/k", [("retention", "")], "OBJECT_LOCK_RETENTION"),
        ("PUT", "/{b}/k", [("uploadId", "x")], "UPLOAD"),
        ("DELETE", "/{b}/k", [("partNumber", "1"), ("uploadId", "x")], "PART"),
        ("GET", "/{b}/k", [("restore", "")], "RESTORE"),
        ("DELETE", "/{b}/k", [("lifecycle", "")], "LIFECYCLE"),
        ("DELETE", "/{b}/k", [("metrics", "")], "METRICS"),
        ("PUT", "/{b}/k", [("session", "")], "SESSION"),
        ("PATCH", "/{b}", [], "BUCKET"),
        ("POST", "/{b}/k", [], "OBJECT"),
        ("DELETE", "/", [], "SERVICE"),
        ("PUT", "/", [("acl", "")], "SERVICE"),
    ],
)
def test_refusals_name_the_resource(server, s3, bucket, method, path, query, resource_type):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    answer = signed(server, method, path.format(b=bucket), query)
    assert (answer.status, answer.code, answer.error["ResourceType"]) == (405, "MethodNotAllowed", resource_type)
    assert "allow" in answer.headers
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"kept"


def test_two_of_them_conflict(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for method, path, query, names in [
        ("GET", f"/{bucket}", [("versioning", ""), ("acl", "")], "acl, versioning"),
        ("DELETE", f"/{bucket}", [("cors", ""), ("policy", "")], "cors, policy"),
        ("PUT", f"/{bucket}/k", [("tagging", ""), ("acl", "")], "acl, tagging"),
        ("GET", f"/{bucket}/k", [("partNumber", "1"), ("tagging", "")], "partNumber, tagging"),
    ]:
        answer = signed(server, method, path, query)
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert answer.error["Message"] == f"Conflicting query string parameters: {names}"
        assert (answer.error["ArgumentName"], answer.error["ArgumentValue"]) == ("ResourceType", names.split(",")[0])
    head = signed(server, "HEAD", f"/{bucket}/k", [("acl", ""), ("tagging", "")])
    assert (head.status, head.body) == (400, b"")


def test_versions_of_what_has_none(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for method, path, query in [
        ("GET", f"/{bucket}", []),
        ("DELETE", f"/{bucket}", []),
        ("GET", f"/{bucket}", [("versioning", "")]),
        ("PUT", f"/{bucket}/k", []),
        ("POST", f"/{bucket}/k", [("uploads", "")]),
    ]:
        answer = signed(server, method, path, [*query, ("versionId", "null")])
        assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", NONE), (method, path)
        assert (answer.error["ArgumentName"], answer.error["ArgumentValue"]) == ("versionId", "null")
    assert body_of(s3.get_object(Bucket=bucket, Key="k", VersionId="null")) == b"kept"


def test_a_copy_to_a_sub_resource_is_no_copy(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    s3.put_object(Bucket=bucket, Key="other", Body=b"other")
    copy = {"x-amz-copy-source": f"{bucket}/other"}
    for key, value in (("uploads", ""), ("torrent", ""), ("partNumber", "1"), ("versionId", "null"), ("uploadId", "x")):
        assert signed(server, "PUT", f"/{bucket}/k", [(key, value)], copy).status in (400, 405), key
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"kept"


def test_parts_without_an_upload(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for method in ("PUT", "DELETE"):
        answer = signed(server, method, f"/{bucket}/k", [("partNumber", "1")])
        assert (answer.status, answer.error["Message"]) == (
            400,
            "This operation does not accept partNumber without uploadId",
        )
    for method in ("GET", "PUT", "DELETE"):
        answer = signed(server, method, f"/{bucket}", [("partNumber", "1")])
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        assert answer.error["Message"] == "Object must have a valid key name."
    part = signed(server, "GET", f"/{bucket}/k", [("partNumber", "1")])
    assert (part.status, part.body) == (206, b"kept")


def test_what_belongs_to_a_key_says_so(server, bucket):
    restore = signed(server, "POST", f"/{bucket}", [("restore", "")])
    assert (restore.status, restore.code) == (400, "UserKeyMustBeSpecified")
    upload = signed(server, "DELETE", f"/{bucket}", [("uploadId", "x")])
    assert (upload.status, upload.code, upload.error["Message"]) == (400, "InvalidRequest", "A key must be specified")
    uploads = signed(server, "GET", f"/{bucket}/k", [("uploads", "")])
    assert (uploads.status, uploads.error["Message"]) == (
        400,
        "Key is not expected for the GET method ?uploads subresource",
    )
    website = signed(server, "PUT", f"/{bucket}", [("website", "x")])
    assert (website.status, website.error["Message"]) == (400, "The website parameter must not have a value")


def test_a_bucket_is_read_at_a_keys_path(server, s3, bucket):
    of_key = signed(server, "GET", f"/{bucket}/any", [("location", "")])
    assert (of_key.status, of_key.body) == (200, signed(server, "GET", f"/{bucket}", [("location", "")]).body)
    missing = signed(server, "GET", f"/{bucket}/any", [("policy", "")])
    assert (missing.status, missing.code) == (404, "NoSuchBucketPolicy")
    logging = signed(server, "GET", f"/{bucket}/any", [("logging", "")])
    assert (logging.status, logging.code) == (400, "NoLoggingStatusForKey")
    versions = signed(server, "GET", f"/{bucket}/any", [("versions", "")])
    assert (versions.status, versions.code) == (400, "InvalidRequest")


def test_what_aws_does_not_know_is_passed_by(server, s3, bucket):
    for query in ([("foo", "")], [("x-id", "PutObject")], [("Versioning", "")], [("id", "x")]):
        assert signed(server, "PUT", f"/{bucket}/k", query, body=b"x").status == 200
        read = signed(server, "GET", f"/{bucket}/k", query)
        assert (read.status, read.body) == (200, b"x")
        assert signed(server, "GET", f"/{bucket}", query).status == 200
        assert signed(server, "DELETE", f"/{bucket}/k", query).status == 204
    # Of a bucket, and so nothing to a key's reader.
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert signed(server, "GET", f"/{bucket}/k", [("metrics", "")]).body == b"x"


def test_configurations_without_an_id(server, s3, bucket):
    for key in ("analytics", "inventory", "metrics", "intelligent-tiering"):
        answer = signed(server, "DELETE", f"/{bucket}", [(key, "")])
        assert (answer.status, answer.code) == (400, "InvalidConfigurationId")
        listed = signed(server, "GET", f"/{bucket}", [(key, ""), ("id", "")])
        assert listed.status == 200
        assert b"<IsTruncated>false</IsTruncated>" in listed.body
    s3.head_bucket(Bucket=bucket)


def test_keys_to_delete_are_all_named(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")

    def delete(contents):
        body = f"<Delete xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{contents}</Delete>".encode()
        digest = {"x-amz-checksum-sha512": base64_text(hashlib.sha512(body).digest())}
        return signed(server, "POST", f"/{bucket}", [("delete", "")], digest, body)

    kept = "<Object><Key>k</Key></Object>"
    for empty in ("<Object><Key></Key></Object>", "<Object><Key/></Object>"):
        answer = delete(kept + empty)
        assert (answer.status, answer.code) == (400, "UserKeyMustBeSpecified")
    for bad in ("<Foo/>", "<Object><Key>k</Key><Foo/></Object>", "<Object/>", "<Quiet>true</Quiet><Quiet>true</Quiet>"):
        answer = delete(kept + bad)
        assert (answer.status, answer.code) == (400, "MalformedXML"), bad
    with refused("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": []})
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"kept"
    assert b"<Deleted><Key>k</Key></Deleted>" in delete(kept + "<Quiet>perhaps</Quiet>").body
