"""Buckets: names, making, finding and deleting them."""

import re

import pytest

from support.calls import empty, headers_of, keys_of, refused, status_of
from support.requests import Signer, send, signed


def test_life(s3, bucket_names):
    name = next(bucket_names)
    made = s3.create_bucket(Bucket=name)
    assert headers_of(made)["location"] == f"/{name}"
    head = s3.head_bucket(Bucket=name)
    assert head["BucketRegion"] == "us-east-1"
    assert headers_of(head)["content-type"] == "application/xml"
    assert name in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert status_of(s3.delete_bucket(Bucket=name)) == 204
    with refused("404", 404):
        s3.head_bucket(Bucket=name)
    with refused("NoSuchBucket", 404, "The specified bucket does not exist") as refusal:
        s3.delete_bucket(Bucket=name)
    assert refusal.error["BucketName"] == name
    assert name not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]


def test_list_buckets_is_sorted_and_names_the_owner(s3, bucket_names):
    names = [next(bucket_names) for _ in range(3)]
    for name in reversed(names):
        s3.create_bucket(Bucket=name)
    answer = s3.list_buckets()
    listed = [entry["Name"] for entry in answer["Buckets"]]
    assert listed == sorted(listed)
    assert set(names) <= set(listed)
    assert re.fullmatch("[0-9a-f]{64}", answer["Owner"]["ID"])
    for name in names:
        s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("call", ["list_objects", "list_objects_v2", "get_bucket_location", "list_multipart_uploads"])
def test_no_such_bucket(s3, call):
    with refused("NoSuchBucket", 404):
        getattr(s3, call)(Bucket="no-such-bucket-at-all")


def test_no_such_bucket_for_objects(s3):
    absent = {"Bucket": "no-such-bucket-at-all", "Key": "k"}
    with refused("NoSuchBucket", 404):
        s3.put_object(Body=b"x", **absent)
    with refused("NoSuchBucket", 404):
        s3.get_object(**absent)
    with refused("NoSuchBucket", 404):
        s3.delete_object(**absent)
    with refused("NoSuchBucket", 404):
        s3.create_multipart_upload(**absent)


BAD_NAMES = [
    "ab",
    "a" * 64,
    "Upper",
    "under_score",
    "-hyphen",
    "hyphen-",
    ".dot",
    "dot.",
    "two..dots",
    "192.168.5.4",
    "xn--puny",
    "sthree-x",
    "amzn-s3-demo-x",
    "x-s3alias",
    "x--ol-s3",
    "x.mrap",
    "x--x-s3",
    "x--table-s3",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_refused(server, name):
    answer = signed(server, "PUT", f"/{name}")
    assert (answer.status, answer.code) == (400, "InvalidBucketName")
    assert answer.error["Message"] == "The specified bucket is not valid."
    assert answer.error["BucketName"] == name


@pytest.mark.parametrize("name", ["a", "ab", "a" * 256])
def test_names_that_no_bucket_has_are_refused_by_every_operation(server, name):
    for method, path, query in [
        ("GET", f"/{name}", []),
        ("GET", f"/{name}", [("list-type", "2")]),
        ("DELETE", f"/{name}", []),
        ("GET", f"/{name}/k", []),
        ("PUT", f"/{name}/k", []),
        ("POST", f"/{name}/k", [("uploads", "")]),
    ]:
        answer = signed(server, method, path, query)
        assert (answer.status, answer.code) == (400, "InvalidBucketName"), (method, path)
        assert answer.error["Message"] == "The specified bucket is not valid."
        assert answer.error["BucketName"] == name
    assert signed(server, "HEAD", f"/{name}").status == 400


@pytest.mark.parametrize("name", ["Upper", "under_score", "two..dots", "a" * 64])
def test_names_that_old_buckets_could_have_are_only_absent(server, name):
    answer = signed(server, "GET", f"/{name}", [("list-type", "2")])
    assert (answer.status, answer.code, answer.error["BucketName"]) == (404, "NoSuchBucket", name)


@pytest.mark.parametrize("call", ["list_objects", "list_objects_v2", "head_bucket"])
def test_who_looks_into_a_bucket_is_told_the_region(s3, bucket, call):
    assert headers_of(getattr(s3, call)(Bucket=bucket))["x-amz-bucket-region"] == "us-east-1"


@pytest.mark.parametrize("name", ["a0-{n}", "0.a.b-{n}", "x" * 50 + "{n}"])
def test_names_that_are_allowed(s3, bucket_names, name):
    name = name.format(n=next(bucket_names).replace("test-", "")[:13])
    s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket=name)


def test_making_it_again_in_us_east_1_is_no_error(s3, bucket):
    s3.put_object(Bucket=bucket, Key="kept", Body=b"x")
    assert status_of(s3.create_bucket(Bucket=bucket)) == 200
    assert keys_of(s3, bucket) == ["kept"]


@pytest.mark.parametrize("constraint", ["us-east-1", "aws-global", "nonsense"])
def test_location_constraints_that_are_refused(s3, bucket_names, constraint):
    with refused("InvalidLocationConstraint", 400, "The specified location-constraint is not valid") as refusal:
        s3.create_bucket(Bucket=next(bucket_names), CreateBucketConfiguration={"LocationConstraint": constraint})
    assert refusal.error["LocationConstraint"] == constraint


def test_a_malformed_configuration(server, bucket_names):
    for body in (b"<CreateBucketConfiguration>", b"nonsense", b"<Other/>"):
        name = next(bucket_names)
        answer = signed(server, "PUT", f"/{name}", body=body)
        assert (answer.status, answer.code) == (400, "MalformedXML")
        assert signed(server, "HEAD", f"/{name}").status == 404


def test_other_regions(new_server):
    """Outside us-east-1 the constraint is wanted, and making a bucket again is an error."""
    server = new_server(region="eu-west-1")
    s3 = server.client("s3")
    here = {"LocationConstraint": "eu-west-1"}
    made = s3.create_bucket(Bucket="abroad", CreateBucketConfiguration=here)
    # Where the host's name is no base of buckets' names, nothing is below it.
    assert made["Location"] in ("/abroad", f"http://abroad.{server.host}/")
    assert s3.get_bucket_location(Bucket="abroad")["LocationConstraint"] == "eu-west-1"
    assert s3.head_bucket(Bucket="abroad")["BucketRegion"] == "eu-west-1"
    message = "Your previous request to create the named bucket succeeded and you already own it."
    with refused("BucketAlreadyOwnedByYou", 409, message):
        s3.create_bucket(Bucket="abroad", CreateBucketConfiguration=here)
    with refused("IllegalLocationConstraintException", 400) as refusal:
        signed_without = server.client("s3")
        signed_without.meta.events.unregister("before-parameter-build.s3.CreateBucket")
        signed_without.create_bucket(Bucket="unspecified")
    assert refusal.message == (
        "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to."
    )
    for constraint in ("eu-west-2", "us-east-1", "aws-global", "bar"):
        with refused("IllegalLocationConstraintException", 400) as refusal:
            s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": constraint})
        assert refusal.message == (
            f"The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."
        )
    s3.create_bucket(Bucket="in-europe", CreateBucketConfiguration={"LocationConstraint": "EU"})
    assert s3.get_bucket_location(Bucket="in-europe")["LocationConstraint"] == "EU"
    assert s3.head_bucket(Bucket="in-europe")["BucketRegion"] == "eu-west-1"
    wrong = signed(server, "GET", "/abroad", signer=Signer.of(server, region="us-east-1"))
    assert (wrong.status, wrong.code) == (400, "AuthorizationHeaderMalformed")
    assert wrong.error["Region"] == "eu-west-1"
    # What boto3 makes of that: it asks again in the right region.
    assert server.client("s3", region_name="us-east-1").list_objects_v2(Bucket="abroad")["KeyCount"] == 0


def test_who_is_refused_is_told_the_region(server, s3, bucket):
    """A HEAD's answer has no body: clients learn from this header where to ask."""
    wrong = Signer.of(server, region="eu-west-1")
    for method in ("HEAD", "GET"):
        answer = signed(server, method, f"/{bucket}", signer=wrong)
        assert (answer.status, answer.headers["x-amz-bucket-region"]) == (400, "us-east-1")
    nobody = send(server, "HEAD", f"/{bucket}", {"host": server.host})
    assert (nobody.status, nobody.headers["x-amz-bucket-region"]) == (403, "us-east-1")
    missing = send(server, "HEAD", f"/{bucket}-not", {"host": server.host})
    assert (missing.status, missing.headers.get("x-amz-bucket-region")) == (404, None)
    elsewhere = server.client("s3", region_name="eu-west-1")
    assert elsewhere.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    elsewhere.put_object(Bucket=bucket, Key="k", Body=b"data")
    assert elsewhere.head_object(Bucket=bucket, Key="k")["ContentLength"] == 4


def test_another_account_cannot_see_or_take_a_bucket(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text(
        '[[accounts]]\nid = "210987654321"\naccess_key_id = "AKIAANOTHERACCOUNT00"\n'
        'secret_access_key = "another/account/with/a/long/secret/key00"\n'
    )
    server = new_server(arguments=["--config", config])
    owner = server.client("s3")
    owner.create_bucket(Bucket="owned")
    owner.put_object(Bucket="owned", Key="k", Body=b"x")
    stranger = server.client(
        "s3",
        aws_access_key_id="AKIAANOTHERACCOUNT00",
        aws_secret_access_key="another/account/with/a/long/secret/key00",
    )
    assert stranger.list_buckets()["Buckets"] == []
    with refused("BucketAlreadyExists", 409):
        stranger.create_bucket(Bucket="owned")
    for call in (
        lambda: stranger.get_object(Bucket="owned", Key="k"),
        lambda: stranger.list_objects_v2(Bucket="owned"),
        lambda: stranger.put_object(Bucket="owned", Key="k", Body=b"y"),
        lambda: stranger.delete_bucket(Bucket="owned"),
    ):
        with refused("AccessDenied", 403):
            call()
    with refused("403", 403):
        stranger.head_bucket(Bucket="owned")
    key = server.client("kms").create_key()["KeyMetadata"]["Arn"]
    stranger.create_bucket(Bucket="theirs")
    with refused("AccessDenied", 403):
        stranger.put_object(Bucket="theirs", Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)


def test_a_bucket_that_is_not_empty(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("BucketNotEmpty", 409, "The bucket you tried to delete is not empty") as refusal:
        s3.delete_bucket(Bucket=bucket)
    assert refusal.error["BucketName"] == bucket
    empty(s3, bucket)


def test_a_bucket_made_anew_sees_nothing_of_the_old(s3, bucket_names):
    name = next(bucket_names)
    s3.create_bucket(Bucket=name)
    upload = s3.create_multipart_upload(Bucket=name, Key="large")["UploadId"]
    s3.put_object(Bucket=name, Key="k", Body=b"old")
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    assert keys_of(s3, name) == []
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
    with refused("NoSuchUpload", 404):
        s3.upload_part(Bucket=name, Key="large", UploadId=upload, PartNumber=1, Body=b"x")
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def test_a_service_is_not_where_a_bucket_is_asked_for(server):
    """`GET //` is what some browsers' clients send for ListBuckets."""
    answer = signed(server, "GET", "//")
    assert answer.status == 200
    assert b"<ListAllMyBucketsResult" in answer.body
