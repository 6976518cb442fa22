"""S3's condition keys: conditions are asked of what is judged, whatever a request's line and headers say beside it."""

import base64
import hashlib
import itertools
import threading
from datetime import datetime, timedelta, timezone

import pytest

from support.calls import body_of, empty, in_parallel, keys_of, refused
from support.identities import allow, document
from support.requests import UNSIGNED, Signer, connect, send, signed
from test_post_object import post, sign

ALL = allow("s3:*", "*")
OTHER_TAG = '"0123456789abcdef0123456789abcdef"'


def deny(action, **condition):
    return {"Effect": "Deny", "Action": action, "Resource": "*", "Condition": condition}


class Caller:
    """A user with a policy: boto3's client, and what signs requests that no SDK sends."""

    def __init__(self, server, identities, statements):
        user = identities.user()
        identities.iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))
        self.server = server
        self.client = identities.client("s3", user)
        self.signer = Signer(user.key, user.secret, server.host)

    def send(self, method, path, query=(), headers=None, body=b"", **options):
        answer = signed(self.server, method, path, query, headers, body, signer=self.signer, **options)
        return answer.status


@pytest.fixture
def caller(server, identities):
    """caller(statement, ...): a user with this policy."""
    return lambda *statements: Caller(server, identities, statements)


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def locked(s3, bucket_names):
    """A bucket with Object Lock."""
    name = next(bucket_names)
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def codes(answer):
    """Of a batch of deletions: what was deleted, and the codes of what was not, by key and version."""
    name = lambda entry: (entry["Key"], entry.get("VersionId"))
    return [name(entry) for entry in answer.get("Deleted", [])], {
        name(entry): entry["Code"] for entry in answer.get("Errors", [])
    }


# --- versions ---------------------------------------------------------------------------------------------------------------


def test_a_version_is_the_same_wherever_it_is_named(s3, versioned, caller):
    """In the query, in a copy's source, in the entry of a batch."""
    old, new = (s3.put_object(Bucket=versioned, Key="k", Body=body)["VersionId"] for body in (b"old", b"new"))
    theirs, others = ({"Bucket": versioned, "Key": "k", "VersionId": id} for id in (old, new))
    batch = {"Objects": [{"Key": "k", "VersionId": old}, {"Key": "k", "VersionId": new}]}
    copy = {"Bucket": versioned, "Key": "copy"}
    is_old = {"StringEquals": {"s3:VersionId": old}}

    barred = caller(ALL, deny(["s3:GetObjectVersion", "s3:DeleteObjectVersion"], **is_old)).client
    upload = barred.create_multipart_upload(**copy)["UploadId"]
    for read in (
        lambda source: barred.get_object(**source),
        lambda source: barred.copy_object(CopySource=source, **copy),
        lambda source: barred.upload_part_copy(CopySource=source, UploadId=upload, PartNumber=1, **copy),
    ):
        with refused("AccessDenied", 403):
            read(theirs)
        read(others)
    assert codes(barred.delete_objects(Bucket=versioned, Delete={"Objects": batch["Objects"][:1]})) == (
        [],
        {("k", old): "AccessDenied"},
    )

    reading = ["s3:GetObjectVersion", "s3:DeleteObjectVersion"]
    permitted = caller(allow("s3:PutObject", "*"), allow(reading, "*", Condition=is_old)).client
    permitted.copy_object(CopySource=theirs, **copy)
    with refused("AccessDenied", 403):
        permitted.copy_object(CopySource=others, **copy)
    assert codes(permitted.delete_objects(Bucket=versioned, Delete=batch)) == (
        [("k", old)],
        {("k", new): "AccessDenied"},
    )


def test_a_bypass_is_of_the_version_that_an_entry_names(s3, locked, caller):
    until = datetime.now(timezone.utc) + timedelta(days=1)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    held = s3.put_object(Bucket=locked, Key="k", Body=b"x", Tagging="keep=yes", **lock)["VersionId"]
    s3.put_object(Bucket=locked, Key="k", Body=b"y")
    keeping = deny("s3:BypassGovernanceRetention", StringEquals={"s3:ExistingObjectTag/keep": "yes"})
    user, bypass = caller(ALL, keeping).client, {"BypassGovernanceRetention": True}
    with refused("AccessDenied", 403):
        user.delete_object(Bucket=locked, Key="k", VersionId=held, **bypass)
    batch = {"Objects": [{"Key": "k", "VersionId": held}]}
    assert codes(user.delete_objects(Bucket=locked, Delete=batch, **bypass)) == ([], {("k", held): "AccessDenied"})
    s3.delete_object(Bucket=locked, Key="k", VersionId=held, **bypass)
    empty(s3, locked)
    s3.delete_bucket(Bucket=locked)


def test_a_copied_versions_tags_are_read_by_their_own(s3, versioned, caller):
    old = s3.put_object(Bucket=versioned, Key="k", Body=b"x", Tagging="secret=yes")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"y")
    reading = ["s3:GetObjectTagging", "s3:GetObjectVersionTagging"]
    user = caller(ALL, deny(reading, StringEquals={"s3:ExistingObjectTag/secret": "yes"})).client
    source = {"Bucket": versioned, "Key": "k"}
    user.copy_object(Bucket=versioned, Key="copy", CopySource=source)
    with refused("AccessDenied", 403):
        user.copy_object(Bucket=versioned, Key="copy", CopySource=source | {"VersionId": old})


# --- deletions --------------------------------------------------------------------------------------------------------------


def test_each_entry_of_a_batch_must_match(s3, bucket, caller):
    """(S3 user guide, "Enforce conditional deletes on Amazon S3 buckets".)"""
    tags = {key: s3.put_object(Bucket=bucket, Key=key, Body=b"x")["ETag"] for key in ("a", "b")}
    user = caller(ALL, deny("s3:DeleteObject", Null={"s3:if-match": "true"}))
    batch = {"Objects": [{"Key": "a", "ETag": tags["a"]}, {"Key": "b"}]}
    assert codes(user.client.delete_objects(Bucket=bucket, Delete=batch)) == (
        [("a", None)],
        {("b", None): "AccessDenied"},
    )
    # A batch has no such header.
    body = b"<Delete><Object><Key>b</Key></Object></Delete>"
    headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode(), "if-match": OTHER_TAG}
    assert user.send("POST", f"/{bucket}", [("delete", "")], headers, body) == 200
    assert keys_of(s3, bucket) == ["b"]
    user.client.delete_object(Bucket=bucket, Key="b", IfMatch=tags["b"])


def test_to_match_an_entity_tag_takes_the_permission_to_read(s3, bucket, caller):
    """Who may only delete does not learn what is there by guessing. (S3 user guide, "How to perform conditional deletes".)"""
    objects = f"arn:aws:s3:::{bucket}/*"
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    user = caller(allow("s3:DeleteObject", objects)).client
    for guess in (tag, OTHER_TAG):
        with refused("AccessDenied", 403):
            user.delete_object(Bucket=bucket, Key="k", IfMatch=guess)
        batch = {"Objects": [{"Key": "k", "ETag": guess}]}
        assert codes(user.delete_objects(Bucket=bucket, Delete=batch)) == ([], {("k", None): "AccessDenied"})
    user.delete_object(Bucket=bucket, Key="k", IfMatch="*")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    reader = caller(allow(["s3:DeleteObject", "s3:GetObject"], objects)).client
    with refused("PreconditionFailed", 412):
        reader.delete_object(Bucket=bucket, Key="k", IfMatch=OTHER_TAG)
    reader.delete_object(Bucket=bucket, Key="k", IfMatch=tag)
    assert keys_of(s3, bucket) == []


# --- bodies, copies, listings -----------------------------------------------------------------------------------------------


def test_a_presigned_url_signs_no_body(server, bucket, caller):
    user = caller(ALL, deny("s3:PutObject", StringEquals={"s3:x-amz-content-sha256": UNSIGNED}))
    url = user.signer.presign("PUT", f"/{bucket}/k")
    assert send(server, "PUT", url, {"host": server.host}, b"x").status == 403
    assert user.send("PUT", f"/{bucket}/k", body=b"x", payload=UNSIGNED) == 403
    fields = {"key": "k"} | sign(server, [{"bucket": bucket}, {"key": "k"}], signer=user.signer)
    assert post(server, bucket, fields).status == 403
    assert user.send("PUT", f"/{bucket}/k", body=b"x") == 200


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_copys_source_is_the_same_however_it_is_written(s3, bucket, caller, slash):
    for key in ("public/k", "secret/k"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")

    def copies(user, name):
        forms = [f"{bucket}/{name}/k", f"/{bucket}/{name}/k", f"{bucket}/%{ord(name[0]):x}{name[1:]}/k", f"{bucket}%2F{name}%2Fk"]
        return {user.send("PUT", f"/{bucket}/copy", headers={"x-amz-copy-source": form}) for form in forms}

    source = lambda name: {"s3:x-amz-copy-source": f"{slash}{bucket}/{name}/*"}
    for user in (
        caller(ALL, deny("s3:PutObject", StringLike=source("secret"))),
        caller(ALL, deny("s3:PutObject", StringNotLike=source("public"))),
        caller(allow("s3:GetObject", "*"), allow("s3:PutObject", "*", Condition={"StringLike": source("public")})),
    ):
        assert (copies(user, "secret"), copies(user, "public")) == ({403}, {200})


def test_a_form_copies_nothing(server, s3, bucket, caller):
    s3.put_object(Bucket=bucket, Key="public/k", Body=b"x")
    source = {"x-amz-copy-source": f"{bucket}/public/k"}
    copying = {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/public/*"}}
    user = caller(allow("s3:GetObject", "*"), allow("s3:PutObject", "*", Condition=copying))
    fields = {"key": "k"} | source
    conditions = [{"bucket": bucket}, *({name: value} for name, value in fields.items())]
    assert post(server, bucket, fields | sign(server, conditions, signer=user.signer)).status == 403
    user.client.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "public/k"})


def test_a_copy_that_keeps_its_sources_tags_is_given_none(s3, bucket, caller):
    s3.put_object(Bucket=bucket, Key="secret", Body=b"x", Tagging="class=secret")
    public = {"StringEquals": {"s3:RequestObjectTag/class": "public"}}
    rest = allow(["s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging"], "*")
    user = caller(rest, allow("s3:PutObject", "*", Condition=public)).client
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "secret"}, "Tagging": "class=public"}
    for directive in ({}, {"TaggingDirective": "COPY"}):
        with refused("AccessDenied", 403):
            user.copy_object(**copy, **directive)
    user.copy_object(TaggingDirective="REPLACE", **copy)
    tags = s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"]
    assert tags == [{"Key": "class", "Value": "public"}]


def test_only_a_listing_has_a_prefix(bucket, caller):
    listing = allow("s3:ListBucket", "*", Condition={"StringLike": {"s3:prefix": "home/*"}})
    user = caller(allow("s3:GetObject", "*"), listing)
    assert user.client.list_objects_v2(Bucket=bucket, Prefix="home/x")["KeyCount"] == 0
    assert user.send("GET", f"/{bucket}/absent", [("prefix", "home/x")]) == 403
    assert user.send("HEAD", f"/{bucket}", [("prefix", "home/x")]) == 403


# --- locks and tags ---------------------------------------------------------------------------------------------------------


def test_a_date_is_the_same_however_it_is_written(s3, locked, caller):
    late = {"s3:object-lock-retain-until-date": "2027-12-31T00:00:00Z"}
    user = caller(ALL, deny(["s3:PutObject", "s3:PutObjectRetention"], DateGreaterThan=late))
    digest = {"content-md5": base64.b64encode(hashlib.md5(b"x").digest()).decode()}
    id = s3.put_object(Bucket=locked, Key="held", Body=b"x")["VersionId"]
    for until in ("2099-12-01T00:00:00Z", "20991201T000000Z", "2099-12-01 00:00:00Z"):
        lock = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until}
        assert user.send("PUT", f"/{locked}/k", headers=lock | digest, body=b"x") == 403, until
        body = f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>".encode()
        sum = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        query = [("retention", ""), ("versionId", id)]
        assert user.send("PUT", f"/{locked}/held", query, sum, body) == 403, until
    empty(s3, locked)
    s3.delete_bucket(Bucket=locked)


def test_the_case_of_a_tags_key_counts_beyond_ascii_alone(s3, bucket, caller):
    """Tags whose keys differ in case alone are one to a condition, with all their values."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="Team=red&team=blue&%C3%84mter=1")
    for key, value in (("team", "red"), ("TEAM", "blue"), ("Ämter", "1"), ("ÄMTER", "1")):
        user = caller(ALL, deny("s3:GetObject", StringEquals={f"s3:ExistingObjectTag/{key}": value})).client
        with refused("AccessDenied", 403):
            user.get_object(Bucket=bucket, Key="k")
    for key, value in (("team", "green"), ("ämter", "1")):
        user = caller(ALL, deny("s3:GetObject", StringEquals={f"s3:ExistingObjectTag/{key}": value})).client
        assert body_of(user.get_object(Bucket=bucket, Key="k")) == b"x"


def test_nothing_is_deleted_or_replaced_by_its_tags(s3, bucket, caller):
    """(S3 user guide, "Tagging and access control policies".)"""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="class=public")
    public = {"StringEquals": {"s3:ExistingObjectTag/class": "public"}}
    user = caller(allow(["s3:GetObject", "s3:DeleteObject", "s3:PutObject"], "*", Condition=public)).client
    assert body_of(user.get_object(Bucket=bucket, Key="k")) == b"x"
    with refused("AccessDenied", 403):
        user.delete_object(Bucket=bucket, Key="k")
    with refused("AccessDenied", 403):
        user.put_object(Bucket=bucket, Key="k", Body=b"y")


def test_what_is_read_is_what_was_judged(server, bucket, caller):
    """However often it is replaced by what the reader may not see."""
    public = {"StringEquals": {"s3:ExistingObjectTag/class": "public"}}
    user = caller(allow(["s3:GetObject", "s3:GetObjectTagging"], "*", Condition=public))
    path, host = f"/{bucket}/k", {"host": server.host}
    puts = [Signer.of(server).presign("PUT", path, [("x-amz-tagging", f"class={tag}")]) for tag in ("secret", "public")]
    gets = [user.signer.presign("GET", path), user.signer.presign("GET", path, [("tagging", "")])]
    stop, answers = threading.Event(), []

    def repeat(method, targets):
        connection = connect(server)
        for url in itertools.cycle(targets):
            connection.request(method, url, b"secret" if "secret" in url else b"public" if method == "PUT" else None, host)
            answer = connection.getresponse()
            answers.append((method, answer.status, answer.read()))
            if stop.is_set():
                return

    timer = threading.Timer(6, stop.set)
    timer.start()
    tasks = [("PUT", puts), *([("GET", gets)] * 4)]
    in_parallel(lambda task: repeat(*task), tasks)
    assert {status for method, status, _ in answers if method == "PUT"} == {200}
    read = [body for method, status, body in answers if (method, status) == ("GET", 200)]
    assert any(b"public" in body for body in read) and not any(b"secret" in body for body in read)
    assert {status for method, status, _ in answers if method == "GET"} <= {200, 403}


# --- bucket configurations --------------------------------------------------------------------------------------------------


def test_the_optional_fields_of_an_inventory(s3, bucket, caller):
    barred = {"s3:InventoryAccessibleOptionalFields": ["ETag", "ObjectOwner"]}
    user = caller(ALL, deny("s3:PutInventoryConfiguration", **{"ForAnyValue:StringEquals": barred})).client

    def put(*fields):
        inventory = {
            "Destination": {"S3BucketDestination": {"Bucket": f"arn:aws:s3:::{bucket}", "Format": "CSV"}},
            "IsEnabled": False,
            "Id": "i",
            "IncludedObjectVersions": "Current",
            "Schedule": {"Frequency": "Daily"},
        } | ({"OptionalFields": list(fields)} if fields else {})
        user.put_bucket_inventory_configuration(Bucket=bucket, Id="i", InventoryConfiguration=inventory)

    with refused("AccessDenied", 403):
        put("Size", "ETag")
    put("Size")
    put()
