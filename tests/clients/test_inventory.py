"""Inventory: configurations, and reports in CSV and Parquet that other people's tools read."""

import csv
import gzip
import hashlib
import io
import json
import time
import urllib.parse
from datetime import datetime, timezone

import duckdb
import pyarrow.parquet
import pytest

from support.identities import replication_role
from support.calls import body_of, keys_of, multipart, refused
from support.data import content
from support.server import OTHER_ACCOUNT, Server

EVERY_FIELD = [
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "IntelligentTieringAccessTier",
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectOwner",
    "LifecycleExpirationDate",
]
# Of the sections below: a day of two seconds.
DAY = 2
OTHER_KEY, OTHER_SECRET = "AKIAOTHEROTHEROTHER1", "other" * 8


def configuration(destination, name="daily", kind="CSV", versions="Current", **parts):
    target = {"Bucket": f"arn:aws:s3:::{destination}", "Format": kind} | parts.pop("target", {})
    return {
        "Destination": {"S3BucketDestination": target},
        "IsEnabled": True,
        "Id": name,
        "IncludedObjectVersions": versions,
        "Schedule": {"Frequency": "Daily"},
    } | parts


def put(client, bucket, configuration):
    client.put_bucket_inventory_configuration(
        Bucket=bucket, Id=configuration["Id"], InventoryConfiguration=configuration
    )


def test_configurations_come_back_as_they_went_in(s3, bucket):
    with refused("NoSuchConfiguration", 404):
        s3.get_bucket_inventory_configuration(Bucket=bucket, Id="full")
    full = configuration(
        "reports",
        "full",
        "Parquet",
        "All",
        target={"Prefix": "p", "AccountId": "111122223333", "Encryption": {"SSEKMS": {"KeyId": "some-key"}}},
        Filter={"Prefix": "logs/"},
        OptionalFields=EVERY_FIELD,
        Schedule={"Frequency": "Weekly"},
    )
    least = configuration("reports", "least", target={"Encryption": {"SSES3": {}}})
    for one in (full, least):
        put(s3, bucket, one)
        got = s3.get_bucket_inventory_configuration(Bucket=bucket, Id=one["Id"])
        assert got["InventoryConfiguration"] == one
    listed = s3.list_bucket_inventory_configurations(Bucket=bucket)
    assert (listed["InventoryConfigurationList"], listed["IsTruncated"]) == ([full, least], False)
    s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="full")
    with refused("NoSuchConfiguration", 404):
        s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="full")
    assert [one["Id"] for one in s3.list_bucket_inventory_configurations(Bucket=bucket)["InventoryConfigurationList"]] == [
        "least"
    ]


@pytest.mark.parametrize(
    "change, code",
    [
        ({"Schedule": {"Frequency": "Hourly"}}, "MalformedXML"),
        ({"IncludedObjectVersions": "Some"}, "MalformedXML"),
        ({"OptionalFields": ["Weight"]}, "MalformedXML"),
        ({"OptionalFields": ["ObjectAccessControlList"]}, "NotImplemented"),
        ({"target": {"Format": "ORC"}}, "NotImplemented"),
        ({"target": {"Format": "JSON"}}, "MalformedXML"),
        ({"target": {"Bucket": "reports"}}, "InvalidS3DestinationBucket"),
    ],
)
def test_what_cannot_be_is_refused(s3, bucket, change, code):
    with refused(code):
        put(s3, bucket, configuration("reports", **change))
    assert "InventoryConfigurationList" not in s3.list_bucket_inventory_configurations(Bucket=bucket)


def policy_for(destination, source, account, **more):
    """What AWS's documentation has the owner of the destination put."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{destination}/*",
        "Condition": {
            "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source}"},
            "StringEquals": {"aws:SourceAccount": account, "s3:x-amz-acl": "bucket-owner-full-control"},
        },
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | more]})


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    config = tmp_path_factory.mktemp("inventory") / "strongroom.toml"
    config.write_text(
        f'[[accounts]]\nid = "{OTHER_ACCOUNT}"\naccess_key_id = "{OTHER_KEY}"\nsecret_access_key = "{OTHER_SECRET}"\n'
        f"[lifecycle]\nday_seconds = {DAY}\ninterval_seconds = 600\n[inventory]\ninterval_seconds = 1\n"
    )
    server = Server(arguments=["--config", str(config)]).start()
    yield server
    server.destroy()


@pytest.fixture
def quick(hasty):
    return hasty.client("s3")


@pytest.fixture
def pair(quick, bucket_names):
    """A source bucket, and one that takes its reports."""
    source, destination = next(bucket_names), next(bucket_names)
    for name in (source, destination):
        quick.create_bucket(Bucket=name)
    quick.put_bucket_policy(Bucket=destination, Policy=policy_for(destination, source, "000000000000"))
    return source, destination


def manifests(client, destination):
    return [key for key in keys_of(client, destination) if key.endswith("/manifest.checksum")]


def read(client, bucket, key):
    return body_of(client.get_object(Bucket=bucket, Key=key))


def report_of(client, destination, seconds=30):
    """The first whole report: its manifest, and its data files' bytes."""
    deadline = time.monotonic() + seconds
    while not (found := manifests(client, destination)):
        assert time.monotonic() < deadline, "no report came"
        time.sleep(0.2)
    base = found[0].removesuffix("manifest.checksum")
    text = read(client, destination, base + "manifest.json")
    assert hashlib.md5(text).hexdigest().encode() == read(client, destination, found[0])
    manifest = json.loads(text)
    files = []
    for file in manifest["files"]:
        data = read(client, destination, file["key"])
        assert (len(data), hashlib.md5(data).hexdigest()) == (file["size"], file["MD5checksum"])
        files.append(data)
    return base, manifest, files


def fill(client, source, kms_key):
    client.put_object(Bucket=source, Key="plain", Body=b"12345")
    client.put_object(Bucket=source, Key='odd/a b"é,\n', Body=b"")
    client.put_object(
        Bucket=source,
        Key="secret",
        Body=b"x" * 1000,
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=kms_key,
        BucketKeyEnabled=True,
        ChecksumAlgorithm="SHA256",
    )
    multipart(client, source, "parts", [content(5 << 20), content(7)])


def test_a_report_in_csv(hasty, quick, pair):
    source, destination = pair
    key = hasty.client("kms").create_key()["KeyMetadata"]["KeyId"]
    fill(quick, source, key)
    put(
        quick,
        source,
        configuration(destination, target={"Prefix": "reports/all"}, OptionalFields=EVERY_FIELD),
    )
    base, manifest, files = report_of(quick, destination)
    assert base.startswith(f"reports/all/{source}/daily/20") and base.endswith("Z/")
    assert manifest["sourceBucket"] == source
    assert manifest["destinationBucket"] == f"arn:aws:s3:::{destination}"
    assert (manifest["version"], manifest["fileFormat"]) == ("2016-11-30", "CSV")
    begun = datetime.fromtimestamp(int(manifest["creationTimestamp"]) / 1000, timezone.utc)
    assert base.split("/")[-2] == begun.strftime("%Y-%m-%dT%H-%MZ")
    names = manifest["fileSchema"].split(", ")
    assert names[:2] == ["Bucket", "Key"] and set(names[2:]) == set(EVERY_FIELD)
    assert len(files) == 1 and manifest["files"][0]["key"].startswith(f"reports/all/{source}/daily/data/")
    text = gzip.decompress(files[0]).decode()
    assert text.startswith(f'"{source}",')
    rows = {}
    for row in csv.DictReader(io.StringIO(text, newline=""), names):
        rows[urllib.parse.unquote_plus(row["Key"])] = row
    assert set(rows) == set(keys_of(quick, source))
    for name, row in rows.items():
        head = quick.head_object(Bucket=source, Key=name)
        assert (row["Bucket"], int(row["Size"])) == (source, head["ContentLength"])
        assert f'"{row["ETag"]}"' == head["ETag"]
        assert row["LastModifiedDate"] == f"{head['LastModified']:%Y-%m-%dT%H:%M:%S}.000Z"
        assert (row["StorageClass"], row["ReplicationStatus"], row["ObjectLockMode"]) == ("STANDARD", "", "")
        assert row["IsMultipartUploaded"] == ("true" if name == "parts" else "false")
    secret, plain = rows["secret"], rows["plain"]
    assert (secret["EncryptionStatus"], secret["BucketKeyStatus"]) == ("SSE-KMS", "ENABLED")
    assert (plain["EncryptionStatus"], plain["BucketKeyStatus"]) == ("SSE-S3", "")
    assert (secret["ChecksumAlgorithm"], plain["ChecksumAlgorithm"]) == ("SHA256", "CRC32")
    links = read(quick, destination, f"reports/all/{source}/daily/hive/dt={begun:%Y-%m-%d-%H-%M}/symlink.txt")
    assert links.decode().split("\n") == [f"s3://{destination}/{file['key']}" for file in manifest["files"]]


def test_a_report_in_parquet_is_read_by_duckdb_and_pyarrow(hasty, quick, pair, tmp_path):
    source, destination = pair
    key = hasty.client("kms").create_key()["KeyMetadata"]["KeyId"]
    fill(quick, source, key)
    put(quick, source, configuration(destination, "columns", "Parquet", OptionalFields=EVERY_FIELD))
    _, manifest, files = report_of(quick, destination)
    assert manifest["fileFormat"] == "Parquet"
    assert manifest["fileSchema"].startswith(
        "message s3.inventory {  required binary bucket (UTF8);  required binary key (UTF8);  optional int64 size;"
    )
    table = pyarrow.parquet.read_table(io.BytesIO(files[0]))
    assert table.column_names[:3] == ["bucket", "key", "size"]
    assert str(table.schema.field("last_modified_date").type).startswith("timestamp[ms")
    rows = {row["key"]: row for row in table.to_pylist()}
    assert set(rows) == set(keys_of(quick, source)), "keys are not encoded in Parquet"
    head = quick.head_object(Bucket=source, Key="parts")
    assert rows["parts"]["size"] == head["ContentLength"] and rows["parts"]["is_multipart_uploaded"] is True
    assert rows["parts"]["last_modified_date"].replace(tzinfo=timezone.utc) == head["LastModified"]
    path = tmp_path / "report.parquet"
    path.write_bytes(files[0])
    asked = duckdb.sql(
        f"select encryption_status, bucket_key_status, sum(size)::bigint from '{path}' "
        "where object_lock_mode is null group by all order by all"
    ).fetchall()
    assert asked == [("SSE-KMS", "ENABLED", 1000), ("SSE-S3", None, 5 + 0 + (5 << 20) + 7)]


def test_a_destination_may_demand_a_key(hasty, quick, pair):
    """As of every other upload: reports that are to be under the key say so."""
    source, destination = pair
    kms, account = hasty.client("kms"), "000000000000"
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*"},
    ]
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))["KeyMetadata"]
    policy = json.loads(policy_for(destination, source, account))
    upload = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{destination}/*"}
    encryption = "s3:x-amz-server-side-encryption"
    policy["Statement"] += [
        upload | {"Condition": {"StringNotEquals": {encryption: "aws:kms"}}},
        upload | {"Condition": {"StringNotEquals": {f"{encryption}-aws-kms-key-id": key["Arn"]}}},
    ]
    quick.put_bucket_policy(Bucket=destination, Policy=json.dumps(policy))
    target = {"Encryption": {"SSEKMS": {"KeyId": key["KeyId"]}}}
    put(quick, source, configuration(destination, target=target))
    base, _, _ = report_of(quick, destination)
    head = quick.head_object(Bucket=destination, Key=base + "manifest.json")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])


def test_all_versions(quick, pair):
    source, destination = pair
    quick.put_object(Bucket=source, Key="logs/k", Body=b"333")
    quick.put_bucket_versioning(Bucket=source, VersioningConfiguration={"Status": "Enabled"})
    old = quick.put_object(Bucket=source, Key="logs/k", Body=b"1")["VersionId"]
    new = quick.put_object(Bucket=source, Key="logs/k", Body=b"22")["VersionId"]
    marker = quick.delete_object(Bucket=source, Key="logs/k")["VersionId"]
    quick.put_object(Bucket=source, Key="other", Body=b"1")
    put(
        quick,
        source,
        configuration(destination, versions="All", Filter={"Prefix": "logs/"}, OptionalFields=["Size", "ETag"]),
    )
    _, manifest, files = report_of(quick, destination)
    assert manifest["fileSchema"] == "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag"
    rows = list(csv.reader(io.StringIO(gzip.decompress(files[0]).decode())))
    assert [row[1:6] for row in rows] == [
        ["logs/k", marker, "true", "true", ""],
        ["logs/k", new, "false", "false", "2"],
        ["logs/k", old, "false", "false", "1"],
        ["logs/k", "", "false", "false", "3"],
    ]


def test_replication_is_told_of(hasty, quick, pair, bucket_names):
    source, destination = pair
    copy = next(bucket_names)
    quick.create_bucket(Bucket=copy)
    for name in (source, copy):
        quick.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    rule = {
        "ID": "r",
        "Priority": 1,
        "Filter": {"Prefix": "far/"},
        "Status": "Enabled",
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{copy}"},
    }
    replication = {"Role": replication_role(hasty), "Rules": [rule]}
    quick.put_bucket_replication(Bucket=source, ReplicationConfiguration=replication)
    for key in ("far/k", "near"):
        quick.put_object(Bucket=source, Key=key, Body=b"x")
    deadline = time.monotonic() + 30
    while quick.head_object(Bucket=source, Key="far/k")["ReplicationStatus"] != "COMPLETED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    quick.put_bucket_policy(Bucket=destination, Policy=policy_for(destination, "*", "000000000000"))

    def told(bucket):
        target = {"Prefix": bucket}
        put(quick, bucket, configuration(destination, target=target, OptionalFields=["ReplicationStatus"]))
        while not any(key.startswith(bucket) for key in manifests(quick, destination)):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        [data] = [key for key in keys_of(quick, destination) if key.startswith(f"{bucket}/{bucket}/daily/data/")][:1]
        text = gzip.decompress(read(quick, destination, data)).decode()
        return {row[1]: row[2] for row in csv.reader(io.StringIO(text))}

    assert told(source) == {"far/k": "COMPLETED", "near": ""}
    assert told(copy) == {"far/k": "REPLICA"}


def test_reports_come_daily(quick, pair):
    source, destination = pair
    put(quick, source, configuration(destination))
    _, manifest, files = report_of(quick, destination)
    assert (manifest["files"], files) == ([], []), "of an empty bucket there is nothing to tell but that"
    quick.put_object(Bucket=source, Key="k", Body=b"x")
    deadline = time.monotonic() + 30
    while not any("/data/" in key for key in keys_of(quick, destination)):
        assert time.monotonic() < deadline, "no second report came"
        time.sleep(0.2)
    quick.delete_bucket_inventory_configuration(Bucket=source, Id="daily")
    time.sleep(2 * DAY)
    before = keys_of(quick, destination)
    time.sleep(2 * DAY)
    assert keys_of(quick, destination) == before


def test_the_destinations_policy_decides(quick, hasty, bucket_names):
    source, destination = next(bucket_names), next(bucket_names)
    for name in (source, destination):
        quick.create_bucket(Bucket=name)
    refusing = [
        None,
        policy_for(destination, "another", "000000000000"),
        policy_for(destination, source, "999999999999"),
        policy_for(destination, source, "000000000000", Principal={"Service": "logging.s3.amazonaws.com"}),
        policy_for(destination, source, "000000000000", Action="s3:PutObjectAcl"),
    ]
    for policy in refusing:
        if policy:
            quick.put_bucket_policy(Bucket=destination, Policy=policy)
        # Put anew, a configuration is tried at once.
        put(quick, source, configuration(destination))
        time.sleep(2.5)
        assert keys_of(quick, destination) == [], policy
    assert "an inventory report failed" in hasty.log_text()
    quick.put_bucket_policy(Bucket=destination, Policy=policy_for(destination, source, "000000000000"))
    put(quick, source, configuration(destination))
    report_of(quick, destination)


def test_a_report_that_fails_is_gone_on_with(quick, bucket_names):
    """No data files are left that no manifest tells of, and no configuration must be put anew."""
    source, destination = next(bucket_names), next(bucket_names)
    for name in (source, destination):
        quick.create_bucket(Bucket=name)
    quick.put_object(Bucket=source, Key="k", Body=b"x")
    data_only = policy_for(destination, source, "000000000000", Resource=f"arn:aws:s3:::{destination}/*/data/*")
    quick.put_bucket_policy(Bucket=destination, Policy=data_only)
    put(quick, source, configuration(destination))
    deadline = time.monotonic() + 30
    while not keys_of(quick, destination):
        assert time.monotonic() < deadline, "no data came"
        time.sleep(0.2)
    time.sleep(4)
    [data] = keys_of(quick, destination)
    quick.put_bucket_policy(Bucket=destination, Policy=policy_for(destination, source, "000000000000"))
    base, manifest, _ = report_of(quick, destination)
    assert [file["key"] for file in manifest["files"]] == [data]
    for key in (data, base + "manifest.json"):
        assert quick.head_object(Bucket=destination, Key=key)["ContentType"] == "application/octet-stream"


def test_reports_are_encrypted_as_asked(hasty, quick, pair):
    source, destination = pair
    kms = hasty.client("kms")
    key = kms.create_key()["KeyMetadata"]
    encryption = {"Encryption": {"SSEKMS": {"KeyId": key["Arn"]}}}
    put(quick, source, configuration(destination, target=encryption))
    time.sleep(2.5)
    assert keys_of(quick, destination) == [], "the key's policy does not let S3 use it"
    statements = json.loads(kms.get_key_policy(KeyId=key["KeyId"])["Policy"])["Statement"]
    statements.append(
        {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "kms:GenerateDataKey",
            "Resource": "*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": key["AWSAccountId"]},
                "ArnLike": {"aws:SourceArn": "arn:aws:s3:::another-bucket"},
                "Bool": {"aws:PrincipalIsAWSService": "true"},
            },
        }
    )
    document = {"Version": "2012-10-17", "Statement": statements}
    kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(document))
    put(quick, source, configuration(destination, target=encryption))
    time.sleep(2.5)
    assert keys_of(quick, destination) == [], "the key is for the reports on another bucket"
    statements[-1]["Condition"]["ArnLike"]["aws:SourceArn"] = f"arn:aws:s3:::{source}"
    kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(document))
    put(quick, source, configuration(destination, target=encryption))
    base, _, _ = report_of(quick, destination)
    head = quick.head_object(Bucket=destination, Key=base + "manifest.json")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])


def test_another_accounts_bucket_may_take_reports(hasty, quick, bucket_names):
    source, destination = next(bucket_names), next(bucket_names)
    theirs = hasty.client("s3", aws_access_key_id=OTHER_KEY, aws_secret_access_key=OTHER_SECRET)
    quick.create_bucket(Bucket=source)
    theirs.create_bucket(Bucket=destination)
    theirs.put_bucket_policy(Bucket=destination, Policy=policy_for(destination, source, "000000000000"))
    put(quick, source, configuration(destination, target={"AccountId": OTHER_ACCOUNT}))
    report_of(theirs, destination)
    with refused("AccessDenied", 403):
        quick.list_objects_v2(Bucket=destination)
