"""Object Lock: configurations, retention, legal hold, and what they hold."""

import base64
import hashlib
import time
from datetime import datetime, timedelta, timezone

import pytest

from support.calls import body_of, refused, upload_parts, versions_of
from support.data import checksum
from support.requests import signed

LOCKED = "Access Denied because object protected by object lock."
NO_LOCK = "Bucket is missing Object Lock Configuration"
FUTURE = "The retain until date must be in the future!"


def soon(**delta):
    """A time from now, in whole seconds as it is sent."""
    return (datetime.now(timezone.utc) + timedelta(**delta)).replace(microsecond=0)


@pytest.fixture
def locked(s3, bucket_names):
    """A bucket with Object Lock; what is held in governance mode or by a legal hold is let go at the end."""
    name = next(bucket_names)
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    for key, version, _, is_marker in versions_of(s3, name):
        if not is_marker:
            s3.put_object_legal_hold(Bucket=name, Key=key, VersionId=version, LegalHold={"Status": "OFF"})
        s3.delete_object(Bucket=name, Key=key, VersionId=version, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=name)


def put(s3, bucket, key="k", body=b"x", **options):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **options)["VersionId"]


def governance(until):
    return {"Mode": "GOVERNANCE", "RetainUntilDate": until}


def test_a_bucket_that_is_made_with_a_lock(s3, locked):
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    configuration = lambda: s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]
    assert configuration() == {"ObjectLockEnabled": "Enabled"}
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    with_rule = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=with_rule)
    assert configuration() == with_rule
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    assert configuration() == {"ObjectLockEnabled": "Enabled"}
    message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
    with refused("InvalidBucketState", 409, message):
        s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Suspended"})
    s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Enabled"})


def test_a_lock_on_a_bucket_that_is_there(s3, bucket):
    enable = lambda: s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
    with refused("ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket"):
        s3.get_object_lock_configuration(Bucket=bucket)
    with refused("InvalidBucketState", 409, message):
        enable()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    with refused("InvalidBucketState", 409, message):
        enable()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    enable()
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        ({"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}, "MalformedXML"),
        ({}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {}}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE"}}}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "x", "Days": 1}}}, "MalformedXML"),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}}},
            "MalformedXML",
        ),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 0}}},
            "InvalidRetentionPeriod",
        ),
    ],
)
def test_configurations_that_are_none(s3, locked, configuration, code):
    with refused(code, 400):
        s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=configuration)


def test_a_configuration_wants_a_digest(server, locked):
    document = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
    answer = signed(server, "PUT", f"/{locked}", [("object-lock", "")], body=document)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.error["Message"] == "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
    headers = {"x-amz-checksum-crc32": checksum("CRC32", document)}
    assert signed(server, "PUT", f"/{locked}", [("object-lock", "")], headers=headers, body=document).status == 200


def test_governance(s3, locked):
    until = soon(days=1)
    id = put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    for answer in (s3.get_object(Bucket=locked, Key="k"), s3.head_object(Bucket=locked, Key="k", VersionId=id)):
        assert (answer["ObjectLockMode"], answer["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == governance(until)
    with refused("AccessDenied", 403, LOCKED):
        s3.delete_object(Bucket=locked, Key="k", VersionId=id)
    deletion = {"Objects": [{"Key": "k", "VersionId": id}]}
    [error] = s3.delete_objects(Bucket=locked, Delete=deletion)["Errors"]
    assert (error["Code"], error["Message"], error["VersionId"]) == ("AccessDenied", LOCKED, id)
    # A delete marker hides it, and takes nothing away.
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    s3.delete_object(Bucket=locked, Key="k", VersionId=marker)

    retain = lambda retention, **options: s3.put_object_retention(
        Bucket=locked, Key="k", VersionId=id, Retention=retention, **options
    )
    later = soon(days=2)
    retain(governance(later))
    for weaker in (governance(until), {"Mode": "COMPLIANCE", "RetainUntilDate": later}, {}):
        with refused("AccessDenied", 403, LOCKED):
            retain(weaker)
    retain(governance(until), BypassGovernanceRetention=True)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == governance(until)
    retain({}, BypassGovernanceRetention=True)
    with refused("NoSuchObjectLockConfiguration", 404, "The specified object does not have a ObjectLock configuration"):
        s3.get_object_retention(Bucket=locked, Key="k")
    retain(governance(until))
    s3.delete_object(Bucket=locked, Key="k", VersionId=id, BypassGovernanceRetention=True)
    assert versions_of(s3, locked) == []


def test_compliance_is_ended_by_nobody_and_ends_by_itself(s3, locked):
    until = soon(seconds=6)
    id = put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    retain = lambda retention: s3.put_object_retention(
        Bucket=locked, Key="k", Retention=retention, BypassGovernanceRetention=True
    )
    compliance = lambda until: {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    for weaker in (compliance(soon(seconds=3)), governance(soon(days=1)), {}):
        with refused("AccessDenied", 403, LOCKED):
            retain(weaker)
    with refused("AccessDenied", 403, LOCKED):
        s3.delete_object(Bucket=locked, Key="k", VersionId=id, BypassGovernanceRetention=True)
    later = soon(seconds=8)
    retain(compliance(later))
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == compliance(later)
    while datetime.now(timezone.utc) <= later:
        time.sleep(0.2)
    s3.delete_object(Bucket=locked, Key="k", VersionId=id)
    assert versions_of(s3, locked) == []


def test_legal_hold(s3, locked, bucket):
    id = put(s3, locked)
    hold = lambda status: s3.put_object_legal_hold(Bucket=locked, Key="k", VersionId=id, LegalHold={"Status": status})
    with refused("NoSuchObjectLockConfiguration", 404):
        s3.get_object_legal_hold(Bucket=locked, Key="k")
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=locked, Key="k")
    hold("ON")
    assert s3.get_object_legal_hold(Bucket=locked, Key="k")["LegalHold"] == {"Status": "ON"}
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    with refused("AccessDenied", 403, LOCKED):
        s3.delete_object(Bucket=locked, Key="k", VersionId=id, BypassGovernanceRetention=True)
    put(s3, locked)
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=locked, Key="k"), "a version's own"
    hold("OFF")
    assert s3.head_object(Bucket=locked, Key="k", VersionId=id)["ObjectLockLegalHoldStatus"] == "OFF"
    with refused("MalformedXML", 400):
        hold("on")
    with refused("MalformedXML", 400):
        s3.put_object_legal_hold(Bucket=locked, Key="k", LegalHold={})
    # A document that says nothing is refused also where there are no locks.
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for hold, code in (({}, "MalformedXML"), ({"LegalHold": {"Status": "ON"}}, "InvalidRequest")):
        with refused(code, 400):
            s3.put_object_legal_hold(Bucket=bucket, Key="k", **hold)
    s3.delete_object(Bucket=locked, Key="k", VersionId=id)


def test_the_default_of_a_bucket(s3, locked):
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 1}}
    s3.put_object_lock_configuration(
        Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    put(s3, locked)
    head = s3.head_object(Bucket=locked, Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    left = head["ObjectLockRetainUntilDate"] - datetime.now(timezone.utc)
    assert timedelta(days=364) < left < timedelta(days=367)
    # The request's own comes first.
    until = soon(days=3)
    put(s3, locked, "own", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    assert s3.head_object(Bucket=locked, Key="own")["ObjectLockRetainUntilDate"] == until
    s3.copy_object(Bucket=locked, Key="copy", CopySource={"Bucket": locked, "Key": "own"})
    assert s3.head_object(Bucket=locked, Key="copy")["ObjectLockRetainUntilDate"] > soon(days=300), "not the source's"
    upload, done = upload_parts(s3, locked, "parts", [b"x"])
    s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload={"Parts": done})
    assert s3.head_object(Bucket=locked, Key="parts")["ObjectLockRetainUntilDate"] > soon(days=300)
    upload, done = upload_parts(
        s3, locked, "parts", [b"x"], ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until,
        ObjectLockLegalHoldStatus="ON",
    )
    s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload={"Parts": done})
    head = s3.head_object(Bucket=locked, Key="parts")
    assert (head["ObjectLockRetainUntilDate"], head["ObjectLockLegalHoldStatus"]) == (until, "ON")


def test_copies_take_a_lock_of_their_own(s3, locked):
    source = {"Bucket": locked, "Key": "k"}
    put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(days=1), ObjectLockLegalHoldStatus="ON")
    s3.copy_object(Bucket=locked, Key="copy", CopySource=source)
    head = s3.head_object(Bucket=locked, Key="copy")
    assert "ObjectLockMode" not in head and "ObjectLockLegalHoldStatus" not in head
    until = soon(days=2)
    s3.copy_object(
        Bucket=locked, Key="copy", CopySource=source, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until
    )
    assert s3.head_object(Bucket=locked, Key="copy")["ObjectLockRetainUntilDate"] == until


def test_headers_that_say_no_lock(server, s3, plain_s3, locked, bucket):
    until = soon(days=1)
    both = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
    for options, message, name in (
        ({"ObjectLockMode": "GOVERNANCE"}, both, "x-amz-object-lock-retain-until-date"),
        ({"ObjectLockMode": "x"}, both, "x-amz-object-lock-retain-until-date"),
        ({"ObjectLockRetainUntilDate": until}, both, "x-amz-object-lock-mode"),
        (
            {"ObjectLockMode": "x", "ObjectLockRetainUntilDate": until},
            "Unknown wormMode directive.",
            "x-amz-object-lock-mode",
        ),
        (
            {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon(days=-1)},
            FUTURE,
            "x-amz-object-lock-retain-until-date",
        ),
        (
            {"ObjectLockLegalHoldStatus": "x"},
            "Legal Hold must be either of 'ON' or 'OFF'",
            "x-amz-object-lock-legal-hold",
        ),
    ):
        for call in (s3.put_object, s3.create_multipart_upload):
            with refused("InvalidArgument", 400, message) as refusal:
                call(Bucket=locked, Key="k", **options)
            assert refusal.error["ArgumentName"] == name
    held = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    for options in (held, {"ObjectLockLegalHoldStatus": "ON"}):
        with refused("InvalidRequest", 400, NO_LOCK):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", **options)
    # What is to be kept must be known to be what was sent.
    message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
    with refused("InvalidRequest", 400, message):
        plain_s3.put_object(Bucket=locked, Key="k", Body=b"x", **held)
    lock = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until.isoformat()}
    for named in ({"x-amz-checksum-algorithm": "CRC32"}, {"x-amz-checksum-type": "FULL_OBJECT"}):
        answer = signed(server, "PUT", f"/{locked}/k", headers=lock | named, body=b"x")
        assert (answer.status, answer.error["Message"]) == (400, message)
    assert versions_of(s3, locked) == []
    digest = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    plain_s3.put_object(Bucket=locked, Key="k", Body=b"x", ContentMD5=digest, **held)


def test_what_is_to_be_held_for_ever(server, s3, locked):
    """Clients write it as the last second of the year 9999, which is more than there is here by a day."""
    ever, lock = "9999-12-31T23:59:59Z", {"x-amz-object-lock-mode": "GOVERNANCE"}
    digest = {"x-amz-checksum-crc32": checksum("CRC32", b"x")}
    headers = digest | lock | {"x-amz-object-lock-retain-until-date": ever}
    assert signed(server, "PUT", f"/{locked}/k", headers=headers, body=b"x").status == 200
    retained = lambda key: s3.get_object_retention(Bucket=locked, Key=key)["Retention"]
    assert retained("k")["RetainUntilDate"].strftime("%Y-%m-%d") == "9999-12-30"
    put(s3, locked, "l")
    document = f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{ever}</RetainUntilDate></Retention>".encode()
    answer = signed(server, "PUT", f"/{locked}/l", [("retention", "")], body=document)
    assert (answer.status, retained("l")) == (200, retained("k")), answer.body


def test_event_holds_are_refused_rather_than_forgotten(s3, locked):
    """What releases one, and who may, AWS has not said: none is taken, and nothing is lost for it."""
    hold = {"ObjectLockEventHold": "ON"}
    for options in (hold, hold | {"ObjectLockEventHoldDurationDays": 5}, {"ObjectLockEventHoldDurationYears": 1}):
        with refused("NotImplemented", 501):
            put(s3, locked, **options)
        with refused("NotImplemented", 501):
            s3.create_multipart_upload(Bucket=locked, Key="k", **options)
    until = soon(days=1)
    put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    with refused("NotImplemented", 501):
        s3.copy_object(Bucket=locked, Key="l", CopySource=f"{locked}/k", **hold)
    for retention in (
        {"EventHold": "ON"},
        {"EventHold": "OFF", "EventHoldDuration": {"Days": 5}},
        {"EventHoldDuration": {"Years": 1}},
        governance(until) | {"EventHold": "ON"},
    ):
        with refused("NotImplemented", 501):
            s3.put_object_retention(Bucket=locked, Key="k", Retention=retention, BypassGovernanceRetention=True)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == governance(until)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "DefaultEventHold": {"Days": 1}}}
    for more in ({}, {"Days": 1}):
        asked = {"DefaultRetention": rule["DefaultRetention"] | more}
        with refused("NotImplemented", 501):
            s3.put_object_lock_configuration(
                Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": asked}
            )


def test_documents_that_say_no_retention(s3, locked):
    put(s3, locked)
    retain = lambda retention: s3.put_object_retention(Bucket=locked, Key="k", Retention=retention)
    for malformed in ({"Mode": "GOVERNANCE"}, {"RetainUntilDate": soon(days=1)}, {"Mode": "x", "RetainUntilDate": soon(days=1)}):
        with refused("MalformedXML", 400):
            retain(malformed)
    with refused("InvalidArgument", 400, FUTURE) as refusal:
        retain(governance(datetime(2020, 1, 1, tzinfo=timezone.utc)))
    assert refusal.error["ArgumentName"] == "RetainUntilDate"
    assert refusal.error["ArgumentValue"] == "Tue Dec 31 16:00:00 PST 2019"
    with refused("NoSuchKey", 404):
        s3.put_object_retention(Bucket=locked, Key="none", Retention=governance(soon(days=1)))
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    for call in (s3.get_object_retention, s3.get_object_legal_hold):
        with refused("MethodNotAllowed", 405) as refusal:
            call(Bucket=locked, Key="k", VersionId=marker)
        assert refusal.error["ResourceType"] == "DeleteMarker"
    with refused("MethodNotAllowed", 405):
        s3.put_object_retention(Bucket=locked, Key="k", VersionId=marker, Retention=governance(soon(days=1)))


def test_buckets_without_a_lock(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    calls = (
        lambda: s3.get_object_retention(Bucket=bucket, Key="k"),
        lambda: s3.put_object_retention(Bucket=bucket, Key="k", Retention=governance(soon(days=1))),
        lambda: s3.get_object_legal_hold(Bucket=bucket, Key="k"),
        lambda: s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"}),
    )
    for call in calls:
        with refused("InvalidRequest", 400, NO_LOCK):
            call()
    message = "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."
    with refused("InvalidArgument", 400, message) as refusal:
        s3.delete_object(Bucket=bucket, Key="k", BypassGovernanceRetention=True)
    assert refusal.error["ArgumentName"] == "x-amz-bypass-governance-retention"
    # All of a deletion of many is refused.
    with refused("InvalidArgument", 400, message) as refusal:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}, BypassGovernanceRetention=True)
    assert refusal.error["ArgumentName"] == "x-amz-bypass-governance-retention"
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"x"


def test_a_locked_version_survives_everything(s3, locked):
    """Overwrites, markers, tags, other encryptions: the version stays what it was."""
    id = put(s3, locked, body=b"kept", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(days=1))
    put(s3, locked, body=b"over")
    s3.delete_object(Bucket=locked, Key="k")
    s3.put_object_tagging(Bucket=locked, Key="k", VersionId=id, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=locked)
    answer = s3.get_object(Bucket=locked, Key="k", VersionId=id)
    assert (body_of(answer), answer["ObjectLockMode"], answer["TagCount"]) == (b"kept", "GOVERNANCE", 1)


def test_the_command_line(aws, s3, bucket_names):
    name = next(bucket_names)
    aws("s3api", "create-bucket", "--bucket", name, "--object-lock-enabled-for-bucket")
    until = soon(days=1).isoformat()
    id = put(s3, name)
    retention = f"Mode=GOVERNANCE,RetainUntilDate={until}"
    aws("s3api", "put-object-retention", "--bucket", name, "--key", "k", "--retention", retention)
    shown = aws("s3api", "get-object-retention", "--bucket", name, "--key", "k").json
    assert shown["Retention"]["Mode"] == "GOVERNANCE"
    failed = aws("s3api", "delete-object", "--bucket", name, "--key", "k", "--version-id", id, check=False)
    assert "AccessDenied" in failed.stderr
    aws("s3api", "delete-object", "--bucket", name, "--key", "k", "--version-id", id, "--bypass-governance-retention")
    s3.delete_bucket(Bucket=name)


def test_the_encryption_of_what_is_locked_stays(s3, locked, shared_key):
    version = put(s3, locked)
    name = {"Bucket": locked, "Key": "k", "VersionId": version}
    encryption = {"SSEKMS": {"KMSKeyArn": shared_key["Arn"]}}
    text = "The encryption type for the specified object can't be updated because that object is protected by S3 Object Lock."
    s3.put_object_retention(Retention=governance(soon(hours=1)), **name)
    for _ in ("retention", "a legal hold"):
        with refused("AccessDenied", 403) as refusal:
            s3.update_object_encryption(ObjectEncryption=encryption, **name)
        assert refusal.message.startswith(text)
        assert s3.head_object(**name)["ServerSideEncryption"] == "AES256"
        s3.put_object_legal_hold(LegalHold={"Status": "ON"}, **name)
        s3.put_object_retention(Retention={}, BypassGovernanceRetention=True, **name)
    s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **name)
    s3.update_object_encryption(ObjectEncryption=encryption, **name)
    assert s3.head_object(**name)["SSEKMSKeyId"] == shared_key["Arn"]
    assert body_of(s3.get_object(**name)) == b"x"
