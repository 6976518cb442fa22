"""Server access logs: who gets them, what stands in them, and what of them survives."""

import json
import re
import shlex
import time

import pytest
from support.calls import body_of, in_parallel, keys_of, multipart, refused
from support.requests import Signer, send

ACCOUNT = "000000000000"
OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
# Days of two seconds.
HASTE = "[lifecycle]\nday_seconds = 2\ninterval_seconds = 1\n"
FIELDS = [
    "owner", "bucket", "time", "client", "requester", "request_id", "operation", "key", "request", "status", "error",
    "bytes", "size", "total", "turn_around", "referer", "agent", "version", "host_id", "signature", "cipher",
    "authentication", "host", "tls", "access_point", "acl_required", "region",
]  # fmt: skip


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A server that delivers its logs each second."""
    from support.server import Server

    config = tmp_path_factory.mktemp("logs") / "strongroom.toml"
    config.write_text(f'[root]\ncanonical_id = "{OWNER}"\n[s3]\naccess_log_seconds = 1\n{HASTE}')
    server = Server(http=True, arguments=["--config", str(config)]).start()
    yield server
    server.destroy()


@pytest.fixture
def client(logged):
    return logged.client("s3")


def let_in(client, target, source="*", account=ACCOUNT, **conditions):
    """The policy that AWS's console puts on a bucket that is to get logs."""
    statement = {
        "Sid": "S3ServerAccessLogsPolicy",
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": ["s3:PutObject"],
        "Resource": f"arn:aws:s3:::{target}/*",
        "Condition": {
            "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source}"},
            "StringEquals": {"aws:SourceAccount": account},
        }
        | conditions,
    }
    client.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def enable(client, source, target, prefix="", **more):
    enabled = {"TargetBucket": target, "TargetPrefix": prefix} | more
    client.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": enabled})


@pytest.fixture
def buckets(client, bucket_names):
    """Two buckets: the second gets the first's logs, below `logs/`."""
    source, target = next(bucket_names), next(bucket_names)
    for name in (source, target):
        client.create_bucket(Bucket=name)
    let_in(client, target, source)
    enable(client, source, target, "logs/")
    return source, target


def lines(client, target, prefix=""):
    """Every line that was delivered, its fields by name."""
    found = []
    for key in keys_of(client, target, Prefix=prefix):
        for line in body_of(client.get_object(Bucket=target, Key=key)).decode().splitlines():
            when = re.search(r"\[[^]]*\]", line).group()
            fields = shlex.split(line.replace(when, when.replace(" ", "_")))
            assert len(fields) == len(FIELDS), line
            found.append(dict(zip(FIELDS, fields)))
    return found


def wait_for(client, target, wanted, prefix="", patience=15):
    """The lines once `wanted` holds of them."""
    deadline = time.monotonic() + patience
    while not wanted(found := lines(client, target, prefix)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def by_operation(found, operation):
    return [line for line in found if line["operation"] == operation]


def test_a_configuration_is_kept_given_back_and_switched_off(client, buckets):
    source, target = buckets
    day = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    for more in ({}, {"TargetObjectKeyFormat": day}, {"TargetObjectKeyFormat": {"SimplePrefix": {}}}):
        enable(client, source, target, "p/", **more)
        expected = {"TargetBucket": target, "TargetPrefix": "p/"} | more
        assert client.get_bucket_logging(Bucket=source)["LoggingEnabled"] == expected
    client.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    assert "LoggingEnabled" not in client.get_bucket_logging(Bucket=source)


def test_a_policy_may_ask_when_logs_come(client, buckets):
    source, target = buckets
    let_in(client, target, source, DateGreaterThan={"aws:CurrentTime": "2020-01-01T00:00:00Z"})
    client.put_object(Bucket=source, Key="k", Body=b"x")
    wait_for(client, target, lambda found: by_operation(found, "REST.PUT.OBJECT"))


def test_targets_that_are_refused(client, buckets):
    source, target = buckets
    with refused("InvalidTargetBucketForLogging", 400, "The target bucket for logging does not exist"):
        enable(client, source, "no-such-bucket-here")
    locked = f"{target}-locked"
    client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    with refused("InvalidTargetBucketForLogging", 400, "The target bucket for logging must not have Object Lock enabled"):
        enable(client, source, locked)
    client.delete_bucket(Bucket=locked)
    client.put_bucket_request_payment(Bucket=target, RequestPaymentConfiguration={"Payer": "Requester"})
    with refused("InvalidTargetBucketForLogging", 400, "The target bucket for logging must not be a Requester Pays bucket"):
        enable(client, source, target)
    client.put_bucket_request_payment(Bucket=target, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    grantee = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
    with refused("AccessControlListNotSupported", 400):
        enable(client, source, target, TargetGrants=[{"Grantee": grantee, "Permission": "READ"}])
    with refused("MalformedXML", 400):
        enable(client, source, target, TargetObjectKeyFormat={"SimplePrefix": {}, "PartitionedPrefix": {}})


def test_target_grants(logged, client, buckets):
    """They are the log objects' lists, where the target's ownership lets lists count."""
    source, target = buckets
    group = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}
    owner = {"Type": "CanonicalUser", "ID": OWNER}
    grants = [
        {"Grantee": owner, "Permission": "READ"},
        {"Grantee": group, "Permission": "READ"},
        # No `BucketLogsPermission`, and taken. (Recorded on AWS, `test_put_bucket_logging_accept_wrong_grants`.)
        {"Grantee": owner, "Permission": "READ_ACP"},
    ]
    with refused("AccessControlListNotSupported", 400):
        enable(client, source, target, "logs/", TargetGrants=grants)
    client.put_bucket_ownership_controls(
        Bucket=target, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    with refused("InvalidBucketAclWithBlockPublicAccessError", 400):
        enable(client, source, target, "logs/", TargetGrants=grants)
    client.delete_public_access_block(Bucket=target)
    with refused("InvalidArgument", 400):
        enable(client, source, target, TargetGrants=[{"Grantee": owner | {"ID": "f" * 64}, "Permission": "READ"}])
    enable(client, source, target, "logs/", TargetGrants=grants)
    kept = client.get_bucket_logging(Bucket=source)["LoggingEnabled"]["TargetGrants"]
    assert [grant["Grantee"]["Type"] for grant in kept] == ["CanonicalUser", "Group", "CanonicalUser"]
    assert [grant["Permission"] for grant in kept] == ["READ", "READ", "READ_ACP"]
    client.put_object(Bucket=source, Key="k", Body=b"x")
    wait_for(client, target, lambda found: by_operation(found, "REST.PUT.OBJECT"), "logs/")
    [key, *_] = keys_of(client, target, Prefix="logs/")[-1:]
    list_of = client.get_object_acl(Bucket=target, Key=key)
    assert [(g["Grantee"].get("URI", g["Grantee"].get("ID")), g["Permission"]) for g in list_of["Grants"]] == [
        (OWNER, "FULL_CONTROL"),
        (OWNER, "READ"),
        (group["URI"], "READ"),
        (OWNER, "READ_ACP"),
    ]


def test_transitions_have_their_lines(logged, client, buckets):
    source, target = buckets
    client.put_object(Bucket=source, Key="k", Body=bytes(128 << 10))
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 0, "StorageClass": "GLACIER_IR"}]}
    client.put_bucket_lifecycle_configuration(Bucket=source, LifecycleConfiguration={"Rules": [rule]})
    found = wait_for(client, target, lambda found: by_operation(found, "S3.TRANSITION_GIR.OBJECT"), "logs/", 30)
    [line] = by_operation(found, "S3.TRANSITION_GIR.OBJECT")
    assert (line["key"], line["size"], line["requester"]) == ("k", str(128 << 10), "AmazonS3")
    assert line["version"] == "-"


def test_a_line_has_every_field(logged, client, buckets):
    source, target = buckets
    client.put_object(Bucket=source, Key="a b/é", Body=b"x" * 4096)
    # Over plain sockets, so that every header is the test's.
    path = f"/{source}/a%20b/%C3%A9"
    headers = {"range": "bytes=0-99", "user-agent": 'say "hi"', "referer": "http://www.example.com/page"}
    answer = send(logged, "GET", path, Signer.of(logged).headers("GET", path, headers=headers))
    assert answer.status == 206
    found = wait_for(client, target, lambda found: by_operation(found, "REST.GET.OBJECT"), "logs/")
    [line] = by_operation(found, "REST.GET.OBJECT")
    total, turn_around = line.pop("total"), line.pop("turn_around")
    assert 0 <= int(turn_around) <= int(total) < 5000
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d_\+0000\]", line.pop("time"))
    assert re.fullmatch(r"TLS_AES_\d+_GCM_SHA\d+", line.pop("cipher"))
    assert line == {
        "owner": OWNER,
        "bucket": source,
        "client": "127.0.0.1",
        "requester": OWNER,
        "request_id": answer.headers["x-amz-request-id"],
        "operation": "REST.GET.OBJECT",
        "key": "a%20b/%C3%A9",
        "request": f"GET {path} HTTP/1.1",
        "status": "206",
        "error": "-",
        "bytes": "100",
        "size": "4096",
        "referer": "http://www.example.com/page",
        "agent": "say %22hi%22",
        "version": "-",
        "host_id": answer.headers["x-amz-id-2"],
        "signature": "SigV4",
        "authentication": "AuthHeader",
        "host": logged.host,
        "tls": "TLSv1.3",
        "access_point": "-",
        "acl_required": "-",
        "region": "-",
    }
    [put] = by_operation(found, "REST.PUT.OBJECT")
    assert (put["status"], put["size"], put["bytes"]) == ("200", "4096", "-")


def test_refused_and_anonymous_requests(logged, client, buckets):
    source, target = buckets
    send(logged, "GET", f"/{source}/k", {"host": logged.host}, url=logged.http_url)
    signer = Signer.of(logged)
    signer.secret_key = "wrong"
    send(logged, "GET", f"/{source}/k", signer.headers("GET", f"/{source}/k"))
    with refused("404"):
        client.head_object(Bucket=source, Key="nothing")
    found = wait_for(client, target, lambda found: len(found) >= 3, "logs/")
    anonymous = next(line for line in found if line["tls"] == "-")
    assert anonymous["requester"] == anonymous["signature"] == anonymous["cipher"] == anonymous["authentication"] == "-"
    assert (anonymous["status"], anonymous["error"]) == ("403", "AccessDenied")
    assert any((line["status"], line["error"]) == ("403", "SignatureDoesNotMatch") for line in found)
    [head] = by_operation(found, "REST.HEAD.OBJECT")
    assert (head["status"], head["error"], head["bytes"]) == ("404", "NoSuchKey", "-")


def test_a_presigned_request_without_its_signature(logged, client, buckets):
    source, target = buckets
    client.put_object(Bucket=source, Key="k", Body=b"x")
    location = Signer.of(logged).presign("GET", f"/{source}/k")
    assert send(logged, "GET", location, {"host": logged.host}).status == 200
    found = wait_for(client, target, lambda found: by_operation(found, "REST.GET.OBJECT"), "logs/")
    [line] = by_operation(found, "REST.GET.OBJECT")
    assert line["authentication"] == "QueryString"
    assert "X-Amz-Signature=REDACTED" in line["request"] and "X-Amz-Expires=300" in line["request"]


def test_what_the_life_cycle_ends(client, buckets):
    source, target = buckets
    client.put_object(Bucket=source, Key="a b", Body=b"xyz")
    client.put_bucket_versioning(Bucket=source, VersioningConfiguration={"Status": "Enabled"})
    first = client.put_object(Bucket=source, Key="versioned", Body=b"12345")["VersionId"]
    client.create_multipart_upload(Bucket=source, Key="upload")
    rule = {
        "ID": "r",
        "Status": "Enabled",
        "Filter": {},
        "Expiration": {"Days": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    client.put_bucket_lifecycle_configuration(Bucket=source, LifecycleConfiguration={"Rules": [rule]})

    def of_service(found):
        return [line for line in found if line["requester"] == "AmazonS3"]

    expected = {("a%20b", "null", "3"), ("versioned", first, "5")}
    of_expiry = lambda found: {(line["key"], line["version"], line["size"]) for line in by_operation(found, "S3.EXPIRE.OBJECT")}
    all_told = lambda found: expected <= of_expiry(found) and by_operation(found, "S3.DELETE.UPLOAD")
    found = of_service(wait_for(client, target, all_told, "logs/", 40))
    markers = {line["key"]: line["version"] for line in by_operation(found, "S3.CREATE.DELETEMARKER")}
    assert set(markers) == {"a%20b", "versioned"} and all(len(version) == 32 for version in markers.values())
    # By now the markers may have gone as well, for they have nothing left behind them.
    assert of_expiry(found) - expected <= {(key, version, "-") for key, version in markers.items()}
    [aborted] = by_operation(found, "S3.DELETE.UPLOAD")
    assert (aborted["key"], aborted["owner"], aborted["bucket"]) == ("upload", OWNER, source)
    for name in ("client", "request", "status", "error", "bytes", "total", "agent", "signature", "authentication", "host"):
        assert {line[name] for line in found} == {"-"}, name


def test_one_request_with_many_lines(client, buckets):
    source, target = buckets
    for key in ("a", "b"):
        client.put_object(Bucket=source, Key=key, Body=b"xyz")
    client.copy_object(Bucket=source, Key="c", CopySource=f"{source}/a")
    client.delete_objects(Bucket=source, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
    found = wait_for(client, target, lambda found: by_operation(found, "REST.POST.MULTI_OBJECT_DELETE"), "logs/")
    assert sorted(line["key"] for line in by_operation(found, "BATCH.DELETE.OBJECT")) == ["a", "b"]
    [delete] = by_operation(found, "REST.POST.MULTI_OBJECT_DELETE")
    assert {line["request_id"] for line in by_operation(found, "BATCH.DELETE.OBJECT")} == {delete["request_id"]}
    [copy], [read] = by_operation(found, "REST.COPY.OBJECT"), by_operation(found, "REST.COPY.OBJECT_GET")
    assert (copy["key"], read["key"], read["size"]) == ("c", "a", "3")


def test_operations_have_aws_names(client, buckets):
    source, target = buckets
    multipart(client, source, "m", [b"x"])
    client.list_objects_v2(Bucket=source)
    client.get_bucket_location(Bucket=source)
    client.get_bucket_logging(Bucket=source)
    client.put_bucket_request_payment(Bucket=source, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    client.get_object_acl(Bucket=source, Key="m")
    with refused("ObjectLockConfigurationNotFoundError"):
        client.get_object_lock_configuration(Bucket=source)
    wanted = {
        "REST.GET.ACL",
        "REST.GET.OBJECT_LOCK_CONFIGURATION",
        "REST.POST.UPLOADS",
        "REST.PUT.PART",
        "REST.POST.UPLOAD",
        "REST.GET.BUCKET",
        "REST.GET.LOCATION",
        "REST.GET.LOGGING_STATUS",
        "REST.PUT.REQUEST_PAYMENT",
    }
    wait_for(client, target, lambda found: {line["operation"] for line in found} >= wanted, "logs/")


def test_a_visitor_of_a_website(logged, client, buckets):
    source, target = buckets
    client.put_bucket_website(Bucket=source, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
    send(logged, "GET", "/page", {"host": f"{source}.s3-website.localhost"}, url=logged.http_url)
    found = wait_for(client, target, lambda found: by_operation(found, "WEBSITE.GET.OBJECT"), "logs/")
    [line] = by_operation(found, "WEBSITE.GET.OBJECT")
    assert (line["key"], line["status"], line["error"]) == ("page", "403", "AccessDenied")


def test_keys_of_log_objects(client, buckets):
    source, target = buckets
    client.list_objects_v2(Bucket=source)
    wait_for(client, target, len, "logs/")
    key = keys_of(client, target)[0]
    assert re.fullmatch(r"logs/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", key)
    for day, name in (("DeliveryTime", "d/"), ("EventTime", "e/")):
        enable(client, source, target, name, TargetObjectKeyFormat={"PartitionedPrefix": {"PartitionDateSource": day}})
        client.list_objects_v2(Bucket=source)
        wait_for(client, target, len, name)
        key = keys_of(client, target, Prefix=name)[0]
        pattern = rf"{name}{ACCOUNT}/us-east-1/{source}/(\d{{4}})/(\d\d)/(\d\d)/\1-\2-\3-(\d\d-\d\d-\d\d)-[0-9A-F]{{16}}"
        matched = re.fullmatch(pattern, key)
        assert matched, key
        assert day == "DeliveryTime" or matched[4] == "00-00-00"


def test_logs_are_encrypted_by_the_targets_default(client, logged, buckets):
    source, target = buckets
    key = logged.client("kms").create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    client.put_bucket_encryption(Bucket=target, ServerSideEncryptionConfiguration={"Rules": [rule]})
    client.list_objects_v2(Bucket=source)
    wait_for(client, target, len, "logs/")
    head = client.head_object(Bucket=target, Key=keys_of(client, target)[0])
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)
    assert head["ContentType"] == "text/plain"


def test_logs_are_held_by_the_targets_default(client, buckets):
    source, target = buckets
    client.put_bucket_versioning(Bucket=target, VersioningConfiguration={"Status": "Enabled"})
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    client.put_object_lock_configuration(
        Bucket=target, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    client.list_objects_v2(Bucket=source)
    deadline = time.monotonic() + 15
    modes = lambda: {
        client.head_object(Bucket=target, Key=found["Key"]).get("ObjectLockMode")
        for found in client.list_objects_v2(Bucket=target).get("Contents", [])
    }
    while "GOVERNANCE" not in modes():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("source, account", [("another-bucket", ACCOUNT), ("*", "111122223333")])
def test_a_target_that_lets_others_in_gets_nothing(client, buckets, source, account):
    logged_bucket, target = buckets
    let_in(client, target, source, account)
    client.list_objects_v2(Bucket=logged_bucket)
    time.sleep(2.5)
    assert keys_of(client, target) == []
    let_in(client, target, logged_bucket)
    client.list_objects_v2(Bucket=logged_bucket)
    wait_for(client, target, len)


def test_a_list_lets_logs_in(logged, client, bucket_names):
    """The way of old, where lists count; and a line says whether a list was what let its request in."""
    source, target = next(bucket_names), next(bucket_names)
    for name in (source, target):
        client.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred")
    enable(client, source, target)
    client.list_objects_v2(Bucket=source)
    time.sleep(2.5)
    assert keys_of(client, target) == []
    client.put_bucket_acl(Bucket=target, ACL="log-delivery-write")
    client.delete_public_access_block(Bucket=source)
    client.put_object(Bucket=source, Key="open", Body=b"x", ACL="public-read")
    assert logged.curl(f"{logged.url}/{source}/open", sign=False).stdout == "x"
    found = wait_for(client, target, lambda found: by_operation(found, "REST.GET.OBJECT"))
    assert [line["acl_required"] for line in by_operation(found, "REST.GET.OBJECT")] == ["Yes"]
    assert {line["acl_required"] for line in by_operation(found, "REST.PUT.OBJECT")} == {"-"}
    acl = client.get_object_acl(Bucket=target, Key=keys_of(client, target)[0])
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert acl["Owner"]["ID"] == acl["Grants"][0]["Grantee"]["ID"] == OWNER
    client.put_bucket_ownership_controls(
        Bucket=source, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )


def test_every_request_of_many_has_its_line(client, buckets):
    source, target = buckets
    in_parallel(lambda n: client.put_object(Bucket=source, Key=f"k{n}", Body=b""), range(500))
    found = wait_for(client, target, lambda found: len(by_operation(found, "REST.PUT.OBJECT")) >= 500, "logs/")
    assert sorted(line["key"] for line in by_operation(found, "REST.PUT.OBJECT")) == sorted(f"k{n}" for n in range(500))


def test_what_waits_is_delivered_when_the_server_stops(new_server, tmp_path):
    server = new_server()
    client = server.client("s3")
    for name in ("source", "target"):
        client.create_bucket(Bucket=name)
    let_in(client, "target")
    enable(client, "source", "target")
    client.put_object(Bucket="source", Key="last", Body=b"")
    assert server.stop() == 0
    server.start()
    client = server.client("s3")
    assert [line["key"] for line in by_operation(lines(client, "target"), "REST.PUT.OBJECT")] == ["last"]
    metrics = server.get("/_/metrics").read().decode()
    assert "strongroom_access_log_lines_lost_total 0" in metrics
