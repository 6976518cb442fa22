"""What policies may ask of versions, tags and locks."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from support.calls import body_of, empty, refused
from support.server import OTHER_ACCOUNT


@pytest.fixture(scope="module")
def server(two_account_server):
    """A server with a second account."""
    return two_account_server()


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def other(server):
    """The other account's client."""
    return server.other.client("s3")


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def allow(s3, bucket):
    """allow(actions, ...): lets the other account do these things to the bucket's objects, and no other."""

    def call(*actions, **statement):
        default = {
            "Effect": "Allow",
            "Principal": {"AWS": OTHER_ACCOUNT},
            "Action": list(actions),
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        s3.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [default | statement]})
        )

    return call


def test_versions_are_permitted_apart(s3, other, versioned, allow):
    """s3:GetObject is of the current version; s3:GetObjectVersion of one that is named."""
    id = s3.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"]
    named = {"Bucket": versioned, "Key": "k", "VersionId": id}
    allow("s3:GetObject", "s3:DeleteObject")
    assert body_of(other.get_object(Bucket=versioned, Key="k")) == b"x"
    with refused("AccessDenied", 403):
        other.get_object(**named)
    with refused("AccessDenied", 403):
        other.delete_object(**named)
    deletion = {"Objects": [{"Key": "k", "VersionId": id}]}
    [error] = other.delete_objects(Bucket=versioned, Delete=deletion).get("Errors") or [None]
    assert error["Code"] == "AccessDenied"
    allow("s3:GetObjectVersion", "s3:DeleteObjectVersion")
    assert body_of(other.get_object(**named)) == b"x"
    with refused("AccessDenied", 403):
        other.get_object(Bucket=versioned, Key="k")
    other.delete_object(**named)


def test_attributes_are_for_those_who_may_read(s3, other, versioned, allow):
    id = s3.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"]
    current = {"Bucket": versioned, "Key": "k", "ObjectAttributes": ["ObjectSize"]}
    named = current | {"VersionId": id}
    for refused_ones in (
        ("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
        ("s3:GetObject", "s3:GetObjectVersion"),
        ("s3:GetObject", "s3:GetObjectVersionAttributes"),
    ):
        allow(*refused_ones)
        for asked in (current, named):
            with refused("AccessDenied", 403):
                other.get_object_attributes(**asked)
    allow("s3:GetObject", "s3:GetObjectAttributes")
    assert other.get_object_attributes(**current)["ObjectSize"] == 1
    allow("s3:GetObjectVersion", "s3:GetObjectVersionAttributes")
    assert other.get_object_attributes(**named)["ObjectSize"] == 1


def test_absence_is_told_to_those_who_may_list_the_source(s3, other, bucket, allow, bucket_names):
    """Whether there is a source is the affair of its own bucket, and of no other."""
    own = next(bucket_names)
    other.create_bucket(Bucket=own)
    source = {"Bucket": bucket, "Key": "none"}

    def upload_part_copy(Bucket, Key, CopySource):
        id = other.create_multipart_upload(Bucket=Bucket, Key=Key)["UploadId"]
        other.upload_part_copy(Bucket=Bucket, Key=Key, UploadId=id, PartNumber=1, CopySource=CopySource)

    for copy in (other.copy_object, upload_part_copy):
        allow("s3:GetObject")
        with refused("AccessDenied", 403):
            copy(Bucket=own, Key="k", CopySource=source)
        allow("s3:GetObject", "s3:ListBucket", Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
        with refused("NoSuchKey", 404):
            copy(Bucket=own, Key="k", CopySource=source)
        allow("s3:PutObject")
        with refused("NoSuchKey", 404):
            copy(Bucket=bucket, Key="k", CopySource={"Bucket": own, "Key": "none"})


def test_absence_is_not_told_by_deletions(s3, other, bucket, allow):
    deletion = {"Objects": [{"Key": "none", "ETag": "0123456789abcdef0123456789abcdef"}]}

    def code():
        [error] = other.delete_objects(Bucket=bucket, Delete=deletion)["Errors"]
        return error["Code"]

    # To hold an entity tag against what is there takes the permission to read it.
    allow("s3:DeleteObject", "s3:GetObject")
    assert code() == "AccessDenied"
    allow("s3:DeleteObject", "s3:GetObject", "s3:ListBucket", Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
    assert code() == "NoSuchKey"


def test_a_policy_on_one_version(s3, other, versioned, allow):
    ids = [s3.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"] for _ in range(2)]
    allow("s3:GetObjectVersion", Condition={"StringEquals": {"s3:VersionId": ids[0]}})
    other.get_object(Bucket=versioned, Key="k", VersionId=ids[0])
    with refused("AccessDenied", 403):
        other.get_object(Bucket=versioned, Key="k", VersionId=ids[1])


def test_tags_that_are_given(s3, other, bucket, allow):
    allow("s3:PutObject", "s3:PutObjectTagging", Condition={"StringEquals": {"s3:RequestObjectTag/Team": "red"}})
    other.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="Team=red&a=b")
    for tagging in ("Team=blue", "a=b"):
        with refused("AccessDenied", 403):
            other.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=tagging)
    tags = lambda value: {"TagSet": [{"Key": "Team", "Value": value}]}
    other.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags("red"))
    with refused("AccessDenied", 403):
        other.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags("blue"))
    allow(
        "s3:PutObject",
        "s3:PutObjectTagging",
        Condition={"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "b"]}},
    )
    other.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=2")
    with refused("AccessDenied", 403):
        other.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&c=2")


def test_giving_tags_takes_a_permission_of_its_own(s3, other, bucket, allow):
    allow("s3:PutObject", "s3:GetObject")
    other.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("AccessDenied", 403):
        other.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=b")
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="a=b")
    with refused("AccessDenied", 403):
        other.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "tagged"})
    # And reading how many there are takes the permission to read them.
    assert "TagCount" not in other.head_object(Bucket=bucket, Key="tagged")
    allow("s3:PutObject", "s3:PutObjectTagging", "s3:GetObject", "s3:GetObjectTagging")
    other.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "tagged"})
    assert other.head_object(Bucket=bucket, Key="tagged")["TagCount"] == 1


def test_tags_that_an_object_has(s3, other, bucket, allow):
    s3.put_object(Bucket=bucket, Key="public", Body=b"x", Tagging="Class=public")
    s3.put_object(Bucket=bucket, Key="secret", Body=b"x", Tagging="Class=secret")
    s3.put_object(Bucket=bucket, Key="none", Body=b"x")
    allow("s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/Class": "public"}})
    assert body_of(other.get_object(Bucket=bucket, Key="public")) == b"x"
    for key in ("secret", "none"):
        with refused("AccessDenied", 403):
            other.get_object(Bucket=bucket, Key=key)
    s3.put_object_tagging(Bucket=bucket, Key="none", Tagging={"TagSet": [{"Key": "Class", "Value": "public"}]})
    other.get_object(Bucket=bucket, Key="none")


def test_locks_take_permissions_of_their_own(s3, other, bucket_names):
    name = next(bucket_names)
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.now(timezone.utc) + timedelta(days=1)
    locked = dict(Bucket=name, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)

    def allow(*actions, **more):
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": OTHER_ACCOUNT},
            "Action": list(actions),
            "Resource": f"arn:aws:s3:::{name}/*",
        } | more
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    allow("s3:PutObject", "s3:GetObject", "s3:DeleteObjectVersion")
    with refused("AccessDenied", 403):
        other.put_object(**locked)
    with refused("AccessDenied", 403):
        other.put_object(Bucket=name, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")
    allow("s3:PutObject", "s3:GetObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention")
    id = other.put_object(**locked)["VersionId"]
    assert "ObjectLockMode" not in other.head_object(Bucket=name, Key="k"), "that takes s3:GetObjectRetention"
    # To say that the retention is to be bypassed is not to be permitted to.
    with refused("AccessDenied", 403, "Access Denied because object protected by object lock."):
        other.delete_object(Bucket=name, Key="k", VersionId=id, BypassGovernanceRetention=True)
    # A policy may bound for how long, by header and by document, and how.
    bounded = {"NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": 2}, "StringEquals": {"s3:object-lock-mode": "GOVERNANCE"}}
    allow("s3:PutObject", "s3:PutObjectRetention", Condition=bounded)
    longer = until + timedelta(days=2)
    with refused("AccessDenied", 403):
        other.put_object(**locked | {"ObjectLockRetainUntilDate": longer})
    version = {"Bucket": name, "Key": "k", "VersionId": id}
    with refused("AccessDenied", 403):
        other.put_object_retention(Retention={"Mode": "GOVERNANCE", "RetainUntilDate": longer}, **version)
    with refused("AccessDenied", 403):
        other.put_object_retention(Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until}, **version)
    other.put_object_retention(Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until + timedelta(hours=1)}, **version)
    allow("s3:PutObjectLegalHold", Condition={"StringEquals": {"s3:object-lock-legal-hold": "ON"}})
    other.put_object_legal_hold(LegalHold={"Status": "ON"}, **version)
    with refused("AccessDenied", 403):
        other.put_object_legal_hold(LegalHold={"Status": "OFF"}, **version)
    s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **version)
    allow("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention")
    other.delete_object(Bucket=name, Key="k", VersionId=id, BypassGovernanceRetention=True)
    empty(s3, name)
    s3.delete_bucket(Bucket=name)
