"""Life cycles: their configurations, what responses tell of them, and that what is over goes."""

import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from support.calls import body_of, headers_of, in_parallel, keys_of, multipart, refused
from support.data import content
from support.requests import signed
from support.server import Server

MIDNIGHT = timedelta(days=1)


def put(client, bucket, *rules, **options):
    return client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **options
    )


def rule(name="r", **parts):
    parts.setdefault("Filter", {"Prefix": ""})
    if parts["Filter"] is None:
        del parts["Filter"]
    return {"ID": name, "Status": "Enabled"} | parts


def expire(days, name="r", **parts):
    return rule(name, Expiration={"Days": days}, **parts)


def due(modified, days):
    """The midnight at which what was made at `modified` is over."""
    return (modified + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0) + MIDNIGHT


def test_a_configuration_comes_back_as_it_went_in(s3, bucket):
    with refused("NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    rules = [
        rule(
            "and",
            Filter={
                "And": {
                    "Prefix": "logs/",
                    "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
                    "ObjectSizeGreaterThan": 500,
                    "ObjectSizeLessThan": 64000,
                }
            },
            Expiration={"Days": 30},
            NoncurrentVersionExpiration={"NoncurrentDays": 7, "NewerNoncurrentVersions": 3},
        ),
        rule("tag", Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Days": 1}),
        rule("size", Filter={"ObjectSizeGreaterThan": 0}, Expiration={"Days": 1}) | {"Status": "Disabled"},
        rule("date", Expiration={"Date": datetime(2030, 1, 1, tzinfo=timezone.utc)}),
        rule(
            "markers",
            Filter={},
            Expiration={"ExpiredObjectDeleteMarker": True},
            AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7},
        ),
    ]
    answer = put(s3, bucket, *rules)
    assert answer["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    old = [rule("old", Filter=None, Prefix="a/", Expiration={"Days": 3})]
    put(s3, bucket, *old, TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    answer = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert answer["Rules"] == old
    assert answer["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    with refused("InvalidRequest", 400, "Invalid TransitionDefaultMinimumObjectSize found: value"):
        put(s3, bucket, *old, TransitionDefaultMinimumObjectSize="value")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with refused("NoSuchLifecycleConfiguration", 404):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


def test_a_rule_without_an_id_gets_one(s3, bucket):
    unnamed = [expire(1), expire(2)]
    for one in unnamed:
        del one["ID"]
    put(s3, bucket, *unnamed)
    ids = [one["ID"] for one in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]]
    assert len(set(ids)) == 2 and all(len(name) == 48 for name in ids)
    again = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [one["ID"] for one in again] == ids


TAG = {"Tag": {"Key": "k", "Value": "v"}}
SIZE = {"ObjectSizeGreaterThan": 1}


@pytest.mark.parametrize(
    "rules, code, message",
    [
        ([expire(0)], "InvalidArgument", "'Days' for Expiration action must be a positive integer"),
        (
            [rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})],
            "InvalidArgument",
            "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
        ),
        (
            [rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})],
            "InvalidArgument",
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
        ),
        (
            [rule(Expiration={"Date": datetime(2030, 1, 1, 12, tzinfo=timezone.utc)})],
            "InvalidArgument",
            "'Date' must be at midnight GMT",
        ),
        (
            [expire(1, "a"), expire(2, "a")],
            "InvalidArgument",
            "Rule ID must be unique. Found same ID for more than one rule",
        ),
        ([expire(1, "a" * 256)], "InvalidArgument", "ID length should not exceed allowed limit of 255"),
        ([rule()], "InvalidRequest", "At least one action needs to be specified in a rule"),
        (
            [rule(Filter=TAG, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})],
            "InvalidRequest",
            "AbortIncompleteMultipartUpload cannot be specified with Tags.",
        ),
        (
            [rule(Filter=TAG, Expiration={"ExpiredObjectDeleteMarker": True})],
            "InvalidRequest",
            "ExpiredObjectDeleteMarker cannot be specified with Tags.",
        ),
        (
            [rule(Filter=SIZE, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})],
            "InvalidRequest",
            "AbortIncompleteMultipartUpload cannot be specified with Object Size.",
        ),
        ([expire(1) | {"Status": "enabled"}], "MalformedXML", None),
        ([expire(1, str(n)) for n in range(1001)], "MalformedXML", None),
        ([rule(Expiration={"Days": 1, "Date": datetime(2030, 1, 1, tzinfo=timezone.utc)})], "MalformedXML", None),
        ([rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True})], "MalformedXML", None),
        ([expire(1, Filter=TAG | SIZE)], "MalformedXML", None),
        ([expire(1, Filter=None)], "MalformedXML", None),
        (
            [expire(1, "a", Filter=None, Prefix="a"), expire(1, "b")],
            "InvalidRequest",
            "Filter element can only be used in Lifecycle V2.",
        ),
        (
            [expire(1, "a"), expire(1, "b", Filter=None, Prefix="a")],
            "InvalidRequest",
            "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.",
        ),
    ],
)
def test_what_aws_refuses_is_refused(s3, bucket, rules, code, message):
    with refused(code, 400, message):
        put(s3, bucket, *rules)
    with refused("NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


def to(days, storage_class, **more):
    return {"Days": days, "StorageClass": storage_class} | more


def test_transitions_come_back_as_they_went_in(s3, bucket):
    rules = [
        rule("days", Transitions=[to(30, "STANDARD_IA"), to(60, "GLACIER"), to(180, "DEEP_ARCHIVE")]),
        rule(
            "noncurrent",
            Filter={"Prefix": "a/"},
            NoncurrentVersionTransitions=[
                {"NoncurrentDays": 30, "NewerNoncurrentVersions": 3, "StorageClass": "ONEZONE_IA"},
            ],
            NoncurrentVersionExpiration={"NoncurrentDays": 90},
        ),
        rule(
            "date",
            Transitions=[{"Date": datetime(2030, 1, 1, tzinfo=timezone.utc), "StorageClass": "INTELLIGENT_TIERING"}],
        ),
    ]
    put(s3, bucket, *rules)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules


@pytest.mark.parametrize(
    "actions, code, message",
    [
        (
            {"Transitions": [to(29, "STANDARD_IA")]},
            "InvalidArgument",
            "'Days' in Transition action must be greater than or equal to 30 for storageClass 'STANDARD_IA'",
        ),
        (
            {"Transitions": [to(30, "STANDARD_IA")], "Expiration": {"Days": 30}},
            "InvalidArgument",
            "'Days' in the Expiration action for filter '(prefix=)' must be greater than 'Days' in the Transition action",
        ),
        (
            {"Transitions": [to(1, "GLACIER"), to(2, "GLACIER")]},
            "InvalidRequest",
            "'StorageClass' must be different for 'Transition' actions in same 'Rule' with filter '(prefix=)'",
        ),
        ({"Transitions": [to(1, "STANDARD")]}, "MalformedXML", None),
        ({"Transitions": [to(1, "GLACIER", Date=datetime(2030, 1, 1, tzinfo=timezone.utc))]}, "MalformedXML", None),
    ],
)
def test_transitions_that_aws_refuses(s3, bucket, actions, code, message):
    with refused(code, 400, message):
        put(s3, bucket, rule(**actions))


@pytest.mark.parametrize(
    "filter, code",
    [
        ({"Tag": {"Key": "", "Value": "v"}}, "InvalidTag"),
        ({"Tag": {"Key": "k" * 129, "Value": "v"}}, "InvalidTag"),
        ({"Tag": {"Key": "k", "Value": "v" * 257}}, "InvalidTag"),
        ({"And": {"Prefix": "p", "Tags": [{"Key": "aws:k", "Value": "v"}]}}, "InvalidTag"),
        ({"Prefix": "p" * 1025}, "InvalidRequest"),
    ],
)
def test_filters_of_what_there_cannot_be(server, bucket, filter, code):
    from botocore.config import Config

    lax = server.client("s3", config=Config(parameter_validation=False))
    with refused(code, 400):
        put(lax, bucket, expire(1, Filter=filter))


def test_a_configuration_needs_a_digest(server, bucket):
    body = (
        b"<LifecycleConfiguration><Rule><ID>r</ID><Filter/><Status>Enabled</Status>"
        b"<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
    )
    response = signed(server, "PUT", f"/{bucket}", [("lifecycle", "")], body=body)
    assert (response.status, response.code) == (400, "InvalidRequest")
    assert response.error["Message"] == "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"


def test_responses_tell_when_an_object_expires(s3, bucket):
    put(s3, bucket, expire(3, "late"), expire(1, "a b/é", Filter={"Prefix": "a/"}))

    def told(answer):
        text = headers_of(answer)["x-amz-expiration"]
        date, name = text.split(", rule-id=")
        return parsedate_to_datetime(date.removeprefix('expiry-date="').removesuffix('"')), name.strip('"')

    answers = [s3.put_object(Bucket=bucket, Key="a/k", Body=b"x")]
    answers.append(s3.head_object(Bucket=bucket, Key="a/k"))
    answers.append(s3.get_object(Bucket=bucket, Key="a/k"))
    answers.append(s3.copy_object(Bucket=bucket, Key="a/copy", CopySource=f"{bucket}/a/k"))
    answers.append(multipart(s3, bucket, "a/parts", [content(5)]))
    expected = due(s3.head_object(Bucket=bucket, Key="a/k")["LastModified"], 1)
    for answer in answers:
        assert told(answer) == (expected, "a%20b/%C3%A9")
    assert told(s3.put_object(Bucket=bucket, Key="b", Body=b"x"))[1] == "late"
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert "x-amz-expiration" not in headers_of(s3.head_object(Bucket=bucket, Key="a/k"))


def test_uploads_tell_when_they_are_aborted(s3, bucket):
    put(s3, bucket, rule("go away", Filter={"Prefix": "a"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")
    assert upload["AbortRuleId"] == "go%20away"
    parts = s3.list_parts(Bucket=bucket, Key="a", UploadId=upload["UploadId"])
    assert (parts["AbortDate"], parts["AbortRuleId"]) == (upload["AbortDate"], "go%20away")
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]
    assert upload["AbortDate"] == due(listed["Initiated"], 2)
    assert "AbortDate" not in s3.create_multipart_upload(Bucket=bucket, Key="b")


# From here on: days of two seconds.

DAY = 2


def short_days(directory, **options):
    options = {"day_seconds": DAY, "interval_seconds": 1} | options
    config = Path(directory) / "short-days.toml"
    config.write_text("[lifecycle]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    return ["--config", str(config)]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    server = Server(arguments=short_days(tmp_path_factory.mktemp("hasty"))).start()
    yield server
    server.destroy()


@pytest.fixture
def quick(hasty):
    return hasty.client("s3")


@pytest.fixture
def room(quick, bucket_names):
    name = next(bucket_names)
    quick.create_bucket(Bucket=name)
    return name


def wait_until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.2)


def test_what_is_over_goes_and_the_rest_stays(quick, room):
    old_date = datetime(2020, 1, 1, tzinfo=timezone.utc)
    for key, size in {"days/a": 1, "dated/b": 1, "big/c": 5000, "big/d": 5, "kept": 1}.items():
        quick.put_object(Bucket=room, Key=key, Body=b"x" * size)
    for key, color in {"tags/red": "red", "tags/blue": "blue"}.items():
        quick.put_object(Bucket=room, Key=key, Body=b"x", Tagging=f"color={color}")
    put(
        quick,
        room,
        expire(1, "days", Filter={"Prefix": "days/"}),
        rule("date", Filter={"Prefix": "dated/"}, Expiration={"Date": old_date}),
        expire(1, "size", Filter={"And": {"Prefix": "big/", "ObjectSizeGreaterThan": 100}}),
        expire(1, "tag", Filter={"Tag": {"Key": "color", "Value": "red"}}),
        expire(1, "off", Filter={"Prefix": "kept"}) | {"Status": "Disabled"},
    )
    wait_until(lambda: keys_of(quick, room) == ["big/d", "kept", "tags/blue"])
    time.sleep(2 * DAY)
    assert keys_of(quick, room) == ["big/d", "kept", "tags/blue"]


def test_an_object_does_not_die_before_its_time(quick, room):
    put(quick, room, expire(1))
    made = time.time()
    quick.put_object(Bucket=room, Key="k", Body=b"x")

    def gone():
        return keys_of(quick, room) == []

    while not gone():
        assert time.time() < made + 30
    # At the earliest at the second midnight behind it.
    assert time.time() >= made + DAY


def test_a_new_object_does_not_die_for_its_predecessor(quick, room):
    put(quick, room, expire(1))
    deadline, number = time.monotonic() + 5 * DAY, 0
    while time.monotonic() < deadline:
        number += 1
        quick.put_object(Bucket=room, Key="k", Body=str(number).encode())
        assert body_of(quick.get_object(Bucket=room, Key="k")) == str(number).encode()
    wait_until(lambda: keys_of(quick, room) == [])


def test_objects_come_to_other_classes(quick, room):
    sizes = {"large": 128 << 10, "small": 10, "any/small": 10}
    tags = {key: quick.put_object(Bucket=room, Key=key, Body=b"x" * size)["ETag"] for key, size in sizes.items()}
    put(
        quick,
        room,
        rule("far", Transitions=[to(30, "STANDARD_IA")]),
        rule("now", Transitions=[to(0, "GLACIER_IR")]),
        rule("any", Filter={"And": {"Prefix": "any/", "ObjectSizeGreaterThan": 1}}, Transitions=[to(1, "GLACIER")]),
    )
    classes = lambda: {o["Key"]: o["StorageClass"] for o in quick.list_objects_v2(Bucket=room)["Contents"]}
    wait_until(lambda: classes() == {"large": "GLACIER_IR", "small": "STANDARD", "any/small": "GLACIER"})
    for key, size in sizes.items():
        found = quick.get_object(Bucket=room, Key=key)
        assert body_of(found) == b"x" * size and found["ETag"] == tags[key], "nothing need be restored"
    assert quick.head_object(Bucket=room, Key="large")["StorageClass"] == "GLACIER_IR"
    put(quick, room, rule("cold", Transitions=[to(0, "DEEP_ARCHIVE")]), TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    wait_until(lambda: set(classes().values()) == {"DEEP_ARCHIVE"})


def test_noncurrent_versions_come_to_other_classes(quick, room):
    enable_versions(quick, room)
    ids = [quick.put_object(Bucket=room, Key="k", Body=bytes(128 << 10))["VersionId"] for _ in range(4)]
    noncurrent = {"NoncurrentDays": 0, "NewerNoncurrentVersions": 1, "StorageClass": "GLACIER"}
    put(quick, room, rule(NoncurrentVersionTransitions=[noncurrent]))
    listed = lambda: quick.list_object_versions(Bucket=room)["Versions"]
    classes = lambda: {version["VersionId"]: version["StorageClass"] for version in listed()}
    wait_until(lambda: [classes()[id] for id in ids] == ["GLACIER", "GLACIER", "STANDARD", "STANDARD"])


def test_old_uploads_are_aborted(quick, room):
    put(quick, room, rule(Filter={"Prefix": "a/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    for key in ("a/1", "a/2", "b"):
        upload = quick.create_multipart_upload(Bucket=room, Key=key)["UploadId"]
        quick.upload_part(Bucket=room, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    uploads = lambda: [upload["Key"] for upload in quick.list_multipart_uploads(Bucket=room).get("Uploads", [])]
    assert uploads() == ["a/1", "a/2", "b"]
    wait_until(lambda: uploads() == ["b"])


def versions_of(client, bucket):
    listing = client.list_object_versions(Bucket=bucket)
    versions = [(v["Key"], v["VersionId"]) for v in listing.get("Versions", [])]
    return versions, [(m["Key"], m["VersionId"]) for m in listing.get("DeleteMarkers", [])]


def enable_versions(client, bucket):
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def test_in_a_bucket_with_versions_the_current_one_gets_a_marker(quick, room):
    enable_versions(quick, room)
    version = quick.put_object(Bucket=room, Key="k", Body=b"x")["VersionId"]
    put(quick, room, expire(1))
    wait_until(lambda: versions_of(quick, room)[1] != [])
    time.sleep(2 * DAY)
    versions, markers = versions_of(quick, room)
    assert versions == [("k", version)] and len(markers) == 1
    assert body_of(quick.get_object(Bucket=room, Key="k", VersionId=version)) == b"x"


def test_a_transition_goes_before_a_delete_marker(quick, room):
    enable_versions(quick, room)
    version = quick.put_object(Bucket=room, Key="k", Body=bytes(128 << 10))["VersionId"]
    put(quick, room, expire(1, "e"), rule("t", Transitions=[to(1, "GLACIER")]))
    wait_until(lambda: versions_of(quick, room)[1] != [])
    [found] = quick.list_object_versions(Bucket=room)["Versions"]
    assert (found["VersionId"], found["StorageClass"], found["IsLatest"]) == (version, "GLACIER", False)


def test_a_configuration_that_is_deleted_stops_the_pass_that_goes_by_it(new_server, tmp_path):
    # A page of a thousand takes five seconds.
    server = new_server(arguments=short_days(tmp_path, objects_per_second=200, deletions_per_second=1_000_000))
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    in_parallel(lambda n: s3.put_object(Bucket="bucket", Key=f"k{n:05}", Body=b"x"), range(3000))
    time.sleep(2 * DAY)
    put(s3, "bucket", expire(1))
    count = lambda: sum(page["KeyCount"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="bucket"))
    wait_until(lambda: count() < 3000)
    s3.delete_bucket_lifecycle(Bucket="bucket")
    time.sleep(7)
    assert count() >= 1000


def test_noncurrent_versions_go_but_the_newest(quick, room):
    enable_versions(quick, room)
    ids = [quick.put_object(Bucket=room, Key="k", Body=str(n).encode())["VersionId"] for n in range(6)]
    noncurrent = {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}
    put(quick, room, rule(NoncurrentVersionExpiration=noncurrent))
    kept = [("k", version) for version in reversed(ids[3:])]
    wait_until(lambda: versions_of(quick, room)[0] == kept)
    time.sleep(2 * DAY)
    assert versions_of(quick, room) == (kept, [])


def test_lone_delete_markers_go(quick, room):
    enable_versions(quick, room)
    for key in ("a/lone", "a/covering", "b"):
        version = quick.put_object(Bucket=room, Key=key, Body=b"x")["VersionId"]
        quick.delete_object(Bucket=room, Key=key)
        if key != "a/covering":
            quick.delete_object(Bucket=room, Key=key, VersionId=version)
    put(quick, room, rule(Filter={"Prefix": "a/"}, Expiration={"ExpiredObjectDeleteMarker": True}))
    left = lambda: [key for key, _ in versions_of(quick, room)[1]]
    wait_until(lambda: left() == ["a/covering", "b"])
    time.sleep(2 * DAY)
    assert left() == ["a/covering", "b"]


def test_locked_versions_stay(quick, bucket_names):
    bucket = next(bucket_names)
    quick.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    until = datetime.now(timezone.utc) + timedelta(days=1)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    retained = quick.put_object(Bucket=bucket, Key="k", Body=b"1", **lock)["VersionId"]
    held = quick.put_object(Bucket=bucket, Key="k", Body=b"2", ObjectLockLegalHoldStatus="ON")["VersionId"]
    loose = quick.put_object(Bucket=bucket, Key="k", Body=b"3")["VersionId"]
    current = quick.put_object(Bucket=bucket, Key="k", Body=b"4")["VersionId"]
    put(quick, bucket, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    versions = lambda: [version for _, version in versions_of(quick, bucket)[0]]
    assert versions() == [current, loose, held, retained]
    wait_until(lambda: versions() == [current, held, retained])
    time.sleep(2 * DAY)
    assert versions() == [current, held, retained]


@pytest.mark.slow
def test_a_pass_goes_on_after_a_crash_and_keeps_to_its_rate(new_server, tmp_path):
    # 3 000 objects, 250 of which may go each second: a kill -9 comes in between.
    server = new_server(arguments=short_days(tmp_path, day_seconds=3, deletions_per_second=250))
    client = server.client("s3")
    client.create_bucket(Bucket="bucket")
    in_parallel(lambda n: client.put_object(Bucket="bucket", Key=f"{n:04}", Body=b"x"), range(3000))
    client.put_object(Bucket="bucket", Key="kept", Body=b"x")
    put(client, "bucket", expire(1, Filter={"Prefix": "0"}), expire(1, "s", Filter={"Prefix": "1"}), expire(1, "t", Filter={"Prefix": "2"}))
    count = lambda: len(keys_of(server.client("s3"), "bucket"))
    wait_until(lambda: count() <= 2750, 60)
    begun, left = time.monotonic(), count()
    assert left > 500, "it went faster than it may"
    server.kill()
    server.start()
    wait_until(lambda: count() == 1, 60)
    assert time.monotonic() - begun >= (left - 1) / 250 - 3
    assert keys_of(server.client("s3"), "bucket") == ["kept"]
    metrics = server.get("/_/metrics").read().decode()
    assert 'strongroom_lifecycle_actions_total{action="expire_current",outcome="done"}' in metrics
