"""The audit: CloudTrail's events of what clients did, in a log that cannot be changed unseen."""

import base64
import contextlib
import datetime
import hashlib
import json
import os
import time
import urllib.request

import botocore.exceptions
import pytest
from botocore.config import Config
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from support.disk import mounted
from support.server import Server, two_accounts

ROOT = "arn:aws:iam::000000000000:root"
BODY = b"payroll " * 1000


def configured(directory, audit):
    """A running server with this `[audit]` section."""
    config = directory / "strongroom.toml"
    config.write_text(f"[audit]\n{audit}\n")
    server = Server(arguments=["--config", str(config)]).start()
    server.config = config
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = configured(tmp_path_factory.mktemp("audit"), "data_events = true")
    yield server
    assert server.stop() == 0
    server.destroy()


@pytest.fixture(scope="module")
def s3(server):
    s3 = server.client("s3")
    s3.create_bucket(Bucket="audited")
    return s3


@pytest.fixture(scope="module")
def kms(server):
    return server.client("kms")


@pytest.fixture(scope="module")
def trail(server):
    return server.client("cloudtrail")


def events(server):
    """All events of the log, oldest first."""
    server.client("cloudtrail").lookup_events(MaxResults=1)  # what was answered before is written
    lines = []
    for path in sorted((server.data / "audit").glob("events-*.jsonl")):
        lines += path.read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def last(server, name, **where):
    found = [event for event in events(server) if event["eventName"] == name]
    for key, value in where.items():
        found = [event for event in found if (event["requestParameters"] or {}).get(key) == value]
    assert found, name
    return found[-1]


def test_a_kms_call_has_its_event(server, kms):
    key = kms.create_key(Description="audited")["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"top secret", EncryptionContext={"Department": "pay"})["CiphertextBlob"]
    event = last(server, "Encrypt")
    assert event["eventSource"] == "kms.amazonaws.com"
    assert event["userIdentity"]["type"] == "Root"
    assert event["userIdentity"]["arn"] == ROOT
    assert event["userIdentity"]["accessKeyId"] == server.access_key
    assert event["sourceIPAddress"] == "127.0.0.1"
    assert "Boto3" in event["userAgent"]
    assert event["requestParameters"] == {
        "keyId": key,
        "encryptionContext": {"Department": "pay"},
        "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }
    assert event["responseElements"] is None and event["readOnly"] is True
    assert event["resources"] == [{"ARN": key, "accountId": "000000000000", "type": "AWS::KMS::Key"}]
    assert event["managementEvent"] is True and event["eventCategory"] == "Management"
    assert event["tlsDetails"]["tlsVersion"].startswith("TLSv1.")
    assert event["eventType"] == "AwsApiCall" and event["recipientAccountId"] == "000000000000"

    created = last(server, "CreateKey", description="audited")
    assert created["readOnly"] is False
    assert created["responseElements"]["keyMetadata"]["arn"] == key
    assert created["resources"][0]["ARN"] == key

    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"Department": "pay"})
    decrypted = last(server, "Decrypt")
    assert decrypted["resources"][0]["ARN"] == key
    for used in (event, decrypted):
        assert used["additionalEventData"]["keyMaterialId"] == opened["KeyMaterialId"]
        assert used["requestParameters"]["encryptionAlgorithm"] == "SYMMETRIC_DEFAULT"


def test_what_changes_a_key_names_it(server, kms):
    """Though the operation does not answer with its ARN. (KMS developer guide, "AWS KMS log entries".)"""
    key = kms.create_key()["KeyMetadata"]["Arn"]
    name = {"KeyId": key.split("/")[1]}
    kms.create_alias(AliasName="alias/named", TargetKeyId=name["KeyId"])
    kms.disable_key(**name)
    kms.enable_key(**name)
    kms.tag_resource(**name, Tags=[{"TagKey": "a", "TagValue": "b"}])
    grant = kms.create_grant(**name, GranteePrincipal=ROOT, Operations=["Encrypt"])
    kms.retire_grant(GrantToken=grant["GrantToken"])
    kms.delete_alias(AliasName="alias/named")
    scheduled = kms.schedule_key_deletion(**name, PendingWindowInDays=7)
    alias = key.replace("key/" + name["KeyId"], "alias/named")
    for event_name, more in [
        ("CreateAlias", {}),
        ("DisableKey", {}),
        ("EnableKey", {}),
        ("TagResource", {}),
        ("CreateGrant", {"grantId": grant["GrantId"]}),
        ("RetireGrant", {}),
        ("DeleteAlias", {}),
    ]:
        event = last(server, event_name)
        assert event["responseElements"] == {"keyId": key} | more, event_name
        arns = [resource["ARN"] for resource in event["resources"]]
        assert arns == ([key, alias] if "Alias" in event_name else [key]), event_name
    assert last(server, "RetireGrant")["additionalEventData"]["grantId"] == grant["GrantId"]
    elements = last(server, "ScheduleKeyDeletion")["responseElements"]
    date = scheduled["DeletionDate"].astimezone(datetime.UTC)
    hour = date.strftime("%I").lstrip("0")
    shown = date.strftime(f"%b {date.day}, %Y, {hour}:%M:%S %p")
    assert (elements["keyId"], elements["deletionDate"]) == (key, shown)


def test_re_encrypting_names_both_keys(server, kms, s3):
    old, new = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    blob = kms.encrypt(KeyId=old, Plaintext=b"x")["CiphertextBlob"]
    moved = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=new)
    event = last(server, "ReEncrypt")
    assert [resource["ARN"] for resource in event["resources"]] == [old, new]
    assert event["requestParameters"] == {
        "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "destinationKeyId": new,
    }
    beside = event["additionalEventData"]
    assert beside["sourceKeyMaterialId"] == moved["SourceKeyMaterialId"]
    assert beside["destinationKeyMaterialId"] == moved["DestinationKeyMaterialId"]
    # What S3 asks when an object is put under another key.
    s3.put_object(Bucket="audited", Key="moved", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=old)
    s3.update_object_encryption(Bucket="audited", Key="moved", ObjectEncryption={"SSEKMS": {"KMSKeyArn": new}})
    event = last(server, "ReEncrypt", destinationKeyId=new)
    assert event["userIdentity"]["invokedBy"] == "AWS Internal"
    assert [resource["ARN"] for resource in event["resources"]] == [old, new]


def test_a_refusal_has_its_event(server, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.disable_key(KeyId=key)
    with pytest.raises(botocore.exceptions.ClientError):
        kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    event = last(server, "GenerateDataKey", keyId=key)
    assert event["errorCode"] == "DisabledException"
    assert event["errorMessage"] == f"{key} is disabled."
    assert event["resources"][0]["ARN"] == key


def test_a_refusal_names_the_key_that_was_found(server, kms):
    """By an alias or by the ciphertext, though the request names none."""
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/refused", TargetKeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]

    def refused(call, **arguments):
        with pytest.raises(botocore.exceptions.ClientError):
            call(**arguments)
        event = [event for event in events(server) if event["eventSource"] == "kms.amazonaws.com"][-1]
        assert [resource["ARN"] for resource in event["resources"]] == [key], event
        return event["errorCode"]

    assert refused(kms.decrypt, CiphertextBlob=blob) == "InvalidCiphertextException"
    kms.disable_key(KeyId=key)
    assert refused(kms.encrypt, KeyId="alias/refused", Plaintext=b"x") == "DisabledException"
    assert refused(kms.decrypt, CiphertextBlob=blob, EncryptionContext={"a": "b"}) == "DisabledException"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}
    allow = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
    assert refused(kms.encrypt, KeyId="alias/refused", Plaintext=b"x") == "AccessDenied"


@pytest.mark.parametrize(
    ("arguments", "applied"),
    [
        ({}, "Default_SSE_S3"),
        ({"ServerSideEncryption": "AES256"}, "SSE_S3"),
        ({"ServerSideEncryption": "aws:kms"}, "SSE_KMS"),
        ({"ServerSideEncryption": "aws:kms:dsse"}, "DSSE_KMS"),
    ],
)
def test_puts_tell_the_encryption_that_was_applied(server, s3, arguments, applied):
    s3.put_object(Bucket="audited", Key=f"put-{applied}", Body=BODY, **arguments)
    event = last(server, "PutObject", key=f"put-{applied}")
    data = event["additionalEventData"]
    assert data["SSEApplied"] == applied
    assert data["SignatureVersion"] == "SigV4" and data["AuthenticationMethod"] == "AuthHeader"
    assert data["bytesTransferredIn"] >= len(BODY) and data["bytesTransferredOut"] == 0
    assert data["CipherSuite"] and data["x-amz-id-2"]
    assert event["eventCategory"] == "Data" and event["managementEvent"] is False
    assert event["requestParameters"]["bucketName"] == "audited"
    assert {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::audited/put-{applied}"} in event["resources"]
    assert event["responseElements"]["x-amz-server-side-encryption"] == arguments.get("ServerSideEncryption", "AES256")

    s3.get_object(Bucket="audited", Key=f"put-{applied}")["Body"].read()
    event = last(server, "GetObject", key=f"put-{applied}")
    assert event["additionalEventData"]["bytesTransferredOut"] == len(BODY)
    assert event["additionalEventData"]["SSEApplied"] == applied.removeprefix("Default_")


def test_a_buckets_default_and_a_customers_key_are_told_apart(server, s3, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket="audited-default")
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BlockedEncryptionTypes": {"EncryptionType": ["NONE"]},
    }
    s3.put_bucket_encryption(Bucket="audited-default", ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket="audited-default", Key="k", Body=b"x")
    assert last(server, "PutObject", key="k")["additionalEventData"]["SSEApplied"] == "Default_SSE_KMS"
    secret = bytes(range(32))
    s3.put_object(Bucket="audited-default", Key="c", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey=secret)
    event = last(server, "PutObject", key="c")
    assert event["additionalEventData"]["SSEApplied"] == "SSE_C"
    assert base64.b64encode(secret).decode() not in json.dumps(event)


def test_keys_that_s3_uses_show_s3s_invocation(server, s3, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.put_object(Bucket="audited", Key="invoked", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    s3.get_object(Bucket="audited", Key="invoked")["Body"].read()
    for name, members in [
        ("GenerateDataKey", {"keySpec": "AES_256", "keyId": key}),
        ("Decrypt", {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"}),
    ]:
        event = last(server, name)
        assert event["sourceIPAddress"] == event["userAgent"] == "AWS Internal"
        assert event["userIdentity"]["invokedBy"] == "AWS Internal" and event["userIdentity"]["arn"] == ROOT
        assert members.items() <= event["requestParameters"].items()
        assert event["requestParameters"]["encryptionContext"] == {"aws:s3:arn": "arn:aws:s3:::audited/invoked"}
        assert event["responseElements"] is None
        assert event["resources"] == [{"ARN": key, "accountId": "000000000000", "type": "AWS::KMS::Key"}]


def test_bucket_keys_are_bound_to_the_bucket_and_two_layers_to_the_object(server, s3, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]

    def contexts(name, **options):
        s3.put_object(Bucket="audited", Key=name, Body=b"x", SSEKMSKeyId=key, **options)
        s3.get_object(Bucket="audited", Key=name)["Body"].read()
        of_key = [event for event in events(server) if key in [one["ARN"] for one in event.get("resources", [])]]
        uses = [event for event in of_key if event["eventName"] in ("GenerateDataKey", "Decrypt")]
        return {json.dumps(event["requestParameters"]["encryptionContext"], sort_keys=True) for event in uses}

    bucket = {json.dumps({"aws:s3:arn": "arn:aws:s3:::audited"})}
    assert contexts("by-bucket-key", ServerSideEncryption="aws:kms", BucketKeyEnabled=True) == bucket
    more = base64.b64encode(b'{"team": "red"}').decode()
    with_more = contexts("by-bucket-key-2", ServerSideEncryption="aws:kms", BucketKeyEnabled=True, SSEKMSEncryptionContext=more)
    assert with_more - bucket == {json.dumps({"aws:s3:arn": "arn:aws:s3:::audited", "team": "red"})}
    layers = contexts("two-layers", ServerSideEncryption="aws:kms:dsse") - with_more
    assert layers == {json.dumps({"aws:s3:arn": "arn:aws:s3:::audited/two-layers"})}


def test_what_the_key_service_does_of_its_own_accord(fresh_server, tmp_path):
    """Imported material that expires: an event of the service's, of nobody's request."""
    server = fresh_server
    kms = server.client("kms")
    key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    parameters = kms.get_parameters_for_import(
        KeyId=key["KeyId"], WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
    )
    public = serialization.load_der_public_key(parameters["PublicKey"])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    kms.import_key_material(
        KeyId=key["KeyId"],
        ImportToken=parameters["ImportToken"],
        EncryptedKeyMaterial=public.encrypt(os.urandom(32), oaep),
        ValidTo=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2),
    )
    time.sleep(2.5)
    assert server.stop() == 0
    server.start()  # What is due is done at the start, and each minute.
    deadline = time.monotonic() + 20
    while not (found := [event for event in events(server) if event["eventName"] == "DeleteExpiredKeyMaterial"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    [event] = found
    assert event["eventType"] == "AwsServiceEvent" and event["eventSource"] == "kms.amazonaws.com"
    assert event["userIdentity"] == {"accountId": "000000000000", "invokedBy": "AWS Internal"}
    assert event["sourceIPAddress"] == event["userAgent"] == "AWS Internal"
    assert event["resources"][0]["ARN"] == key["Arn"] and event["readOnly"] is False
    assert server.client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "PendingImport"


def test_s3_management_and_refusals(server, s3):
    s3.create_bucket(Bucket="audited-more")
    event = last(server, "CreateBucket", bucketName="audited-more")
    assert event["readOnly"] is False and event["managementEvent"] is True
    assert event["resources"][0]["ARN"] == "arn:aws:s3:::audited-more"
    with pytest.raises(botocore.exceptions.ClientError):
        s3.get_bucket_policy(Bucket="audited-more")
    event = last(server, "GetBucketPolicy", bucketName="audited-more")
    assert event["errorCode"] == "NoSuchBucketPolicy" and event["readOnly"] is True


def test_a_buckets_configuration_is_told(server, s3):
    """As JSON, under the name of its document's root. (So CloudTrail's records of these have it.)"""
    bucket = {"Bucket": "audited-configured"}
    s3.create_bucket(**bucket)
    namespace = {"xmlns": "http://s3.amazonaws.com/doc/2006-03-01/"}

    def told(name):
        return last(server, name, bucketName="audited-configured")["requestParameters"]

    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "s3:*", "Resource": "arn:aws:s3:::audited-configured"}],
    }
    s3.put_bucket_policy(**bucket, Policy=json.dumps(policy))
    assert told("PutBucketPolicy")["bucketPolicy"] == policy
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    s3.put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration={"Rules": [default]})
    assert told("PutBucketEncryption")["ServerSideEncryptionConfiguration"] == {"Rule": default} | namespace
    s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    assert told("PutBucketVersioning")["VersioningConfiguration"] == {"Status": "Enabled"} | namespace
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "p"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": [rule]})
    assert told("PutBucketLifecycle")["LifecycleConfiguration"] == {"Rule": rule} | namespace
    tags = [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]
    s3.put_bucket_tagging(**bucket, Tagging={"TagSet": tags})
    assert told("PutBucketTagging")["Tagging"] == {"TagSet": {"Tag": tags}} | namespace
    # What objects hold, and which are deleted, is no configuration.
    s3.delete_objects(**bucket, Delete={"Objects": [{"Key": "k"}]})
    assert "Delete" not in told("DeleteObjects")


def test_no_secret_reaches_the_log(server, s3, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    blob = kms.encrypt(KeyId=key, Plaintext=b"launch codes")["CiphertextBlob"]
    s3.put_object(Bucket="audited", Key="presigned", Body=b"x")
    signing = server.client("s3", config=Config(signature_version="s3v4"))
    url = signing.generate_presigned_url("get_object", Params={"Bucket": "audited", "Key": "presigned"})
    urllib.request.urlopen(url, context=server.tls_context(), timeout=5).read()
    assert last(server, "GetObject", key="presigned")["additionalEventData"]["AuthenticationMethod"] == "QueryString"
    log = json.dumps(events(server))
    for secret in [made["Plaintext"], made["CiphertextBlob"], b"launch codes", blob]:
        assert base64.b64encode(secret).decode() not in log
    assert url.split("X-Amz-Signature=")[1][:64] not in log
    assert server.secret_key not in log


def test_lookup_events_by_every_attribute_time_and_page(server, kms, trail):
    key = kms.create_key(Description="looked up")["KeyMetadata"]["Arn"]
    for _ in range(5):
        kms.generate_random(NumberOfBytes=1)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    event = trail.lookup_events(LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": key}])["Events"]
    assert [found["EventName"] for found in event] == ["TagResource", "CreateKey"]
    tagged = event[0]
    assert tagged["Username"] == "root" and tagged["ReadOnly"] == "false"
    assert {"ResourceType": "AWS::KMS::Key", "ResourceName": key} in tagged["Resources"]
    assert json.loads(tagged["CloudTrailEvent"])["eventID"] == tagged["EventId"]
    for attribute, value in [
        ("EventId", tagged["EventId"]),
        ("EventName", "TagResource"),
        ("ReadOnly", "false"),
        ("Username", "root"),
        ("ResourceType", "AWS::KMS::Key"),
        ("EventSource", "kms.amazonaws.com"),
        ("AccessKeyId", tagged["AccessKeyId"]),
    ]:
        attributes = [{"AttributeKey": attribute, "AttributeValue": value}]
        found = trail.lookup_events(LookupAttributes=attributes)["Events"]
        assert tagged["EventId"] in [event["EventId"] for event in found], attribute
    none = trail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "TagResourc"}])
    assert none["Events"] == []

    pages = trail.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateRandom"}],
        PaginationConfig={"PageSize": 2},
    )
    ids = [event["EventId"] for page in pages for event in page["Events"]]
    assert len(ids) >= 5 and len(set(ids)) == len(ids)

    now = datetime.datetime.now(datetime.UTC)
    early = trail.lookup_events(EndTime=now - datetime.timedelta(hours=1))["Events"]
    late = trail.lookup_events(StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(hours=1))
    assert early == [] and late["Events"]
    # Data events are not looked up.
    assert trail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "PutObject"}])[
        "Events"
    ] == []
    with pytest.raises(trail.exceptions.InvalidMaxResultsException):
        trail.lookup_events(MaxResults=51)
    token = trail.lookup_events(MaxResults=2)["NextToken"]
    assert len(trail.lookup_events(MaxResults=3, NextToken=token)["Events"]) == 3
    with pytest.raises(trail.exceptions.InvalidNextTokenException):
        trail.lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateRandom"}], NextToken=token
        )


def test_identities_are_looked_up_by_name(server, trail):
    server.client("iam").create_user(UserName="looked-up")
    for attribute, value in [("ResourceName", "looked-up"), ("ResourceType", "AWS::IAM::User")]:
        attributes = [{"AttributeKey": attribute, "AttributeValue": value}]
        [event] = trail.lookup_events(LookupAttributes=attributes)["Events"]
        assert event["EventName"] == "CreateUser"
        assert event["Resources"] == [{"ResourceType": "AWS::IAM::User", "ResourceName": "looked-up"}]


def test_aws_cli_looks_up(server, kms):
    kms.create_alias(AliasName="alias/looked-up", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    shown = server.aws(
        "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=CreateAlias"
    )
    found = shown.json["Events"]
    assert found[0]["EventSource"] == "kms.amazonaws.com"
    # Of this type in CloudTrail too. (KMS developer guide, "CreateAlias" of the log entries.)
    assert {"ResourceType": "AWS::KMS::Key", "ResourceName": "arn:aws:kms:us-east-1:000000000000:alias/looked-up"} in (
        found[0]["Resources"]
    )


def test_the_command_verifies_searches_and_tails(fresh_server):
    server = fresh_server
    kms = server.client("kms")
    for at in range(4):
        kms.create_key(Description=f"key {at}")
    server.client("cloudtrail").lookup_events()
    assert server.strongroom("audit", "verify", "--json").json["lines"] >= 4
    found = lines_of(server.strongroom("audit", "search", "--event-name", "CreateKey", "--json"))
    descriptions = [json.loads(line)["requestParameters"]["description"] for line in found]
    assert descriptions == ["key 3", "key 2", "key 1", "key 0"]
    tail = lines_of(server.strongroom("audit", "tail", "--no-follow", "-n", "2"))
    assert len(tail) == 2 and "root" in tail[0]
    assert server.stop() == 0
    # The server has ended: a digest covers everything.
    report = server.strongroom("audit", "verify", "--json").json
    assert report["count"] == 0 and report["unsigned"] == 0
    [segment] = (server.data / "audit").glob("events-*.jsonl")
    lines = segment.read_text().splitlines(keepends=True)
    for tampered, problem in [
        (lines[:1] + [lines[1].replace("key 1", "key X")] + lines[2:], "line 2 was changed"),
        (lines[:1] + lines[2:], "line 2 is missing"),
        ([lines[0], lines[2], lines[1]] + lines[3:], "line 2 was moved behind line 3"),
        (lines[:-1], f"line {len(lines)} is missing"),
    ]:
        segment.write_text("".join(tampered))
        report = server.strongroom("audit", "verify", check=False)
        assert report.returncode == 3 and problem in report.stdout, report.stdout
    segment.write_text("".join(lines))
    assert server.strongroom("audit", "verify").returncode == 0
    (server.data / "audit" / "digests.jsonl").unlink()
    report = server.strongroom("audit", "verify", check=False)
    assert report.returncode == 3 and "has no digest" in report.stdout, report.stdout


def rewritten(lines):
    """What somebody makes of a log who can write to the disk and has no key: an event gone, another changed."""
    events = [line.split(',"event":', 1)[1].rstrip("\n")[:-1] for line in lines]
    events = [events[0], events[2].replace("key 2", "key X"), *events[3:]]
    made, previous = [], bytes(32)
    for number, event in enumerate(events, 1):
        data = b"strongroom/audit/1\n" + previous + number.to_bytes(8, "big") + event.encode()
        hashed = hashlib.sha256(data).digest()
        chain = f'"previous":"{previous.hex()}","hash":"{hashed.hex()}"'
        made.append(f'{{"sequence":{number},{chain},"event":{event}}}\n')
        previous = hashed
    return made


def test_a_log_that_was_written_anew_without_the_root_key_is_found(fresh_server, tmp_path):
    server = fresh_server
    kms = server.client("kms")
    for at in range(4):
        kms.create_key(Description=f"key {at}")
    server.client("cloudtrail").lookup_events()
    assert server.stop() == 0
    report = server.strongroom("audit", "verify", "--json").json
    assert report["count"] == 0 and report["heldAgainstMark"] is True
    noted = report["lastDigest"]
    assert server.strongroom("audit", "verify", "--expect", noted).returncode == 0
    [segment] = (server.data / "audit").glob("events-*.jsonl")
    digests = server.data / "audit" / "digests.jsonl"
    first = digests.read_text().splitlines(keepends=True)[0]
    segment.write_text("".join(rewritten(segment.read_text().splitlines(keepends=True))))
    digests.write_text(first)
    report = server.strongroom("audit", "verify", check=False)
    assert report.returncode == 3 and "that the server's own mark names is missing" in report.stdout, report.stdout
    # Without the root key a digest that was noted down tells.
    away = tmp_path / "root.key"
    (server.data / "root.key").rename(away)
    report = server.strongroom("audit", "verify", "--expect", noted, check=False)
    assert report.returncode == 3 and "that was noted down is missing" in report.stdout, report.stdout
    assert "was not held against the server's own mark" in report.stdout
    away.rename(server.data / "root.key")
    # A server that is started says for good what it found.
    digests.unlink()
    server.start()
    assert "digests of the audit log that were written are missing" in server.log_text()
    assert server.stop() == 0
    report = server.strongroom("audit", "verify", check=False)
    assert report.returncode == 3 and "the server found earlier ones missing" in report.stdout, report.stdout
    # Nor does it help to take the mark away.
    (server.data / "audit" / "mark").unlink()
    report = server.strongroom("audit", "verify", check=False)
    assert report.returncode == 3 and "the server's mark" in report.stdout, report.stdout


def test_a_lost_signing_key_is_not_replaced(fresh_server):
    server = fresh_server
    assert server.stop() == 0
    key = server.data / "audit" / "signing.key"
    kept = key.read_bytes()
    key.unlink()
    ended = server.strongroom("serve", check=False)
    assert ended.returncode == 1 and "restore it from a backup" in ended.stderr, ended.stderr
    assert not key.exists()
    key.write_bytes(kept)
    server.start()
    assert server.strongroom("audit", "verify").returncode == 0


def test_where_there_is_no_log_there_is_nothing_to_verify(fresh_server, tmp_path):
    server = fresh_server
    # A log is one before its first event.
    assert server.strongroom("audit", "verify").returncode == 0
    empty = tmp_path / "copy"
    (empty / "audit").mkdir(parents=True)
    key = server.data / "audit" / "public.pem"
    report = server.strongroom("audit", "verify", "--data-dir", empty, "--public-key", key, check=False)
    assert report.returncode == 1 and "no audit log" in report.stderr, report.stderr


def test_an_account_sees_its_own_events(tmp_path):
    server = two_accounts(tmp_path)
    try:
        server.client("kms").create_key(Description="ours")
        server.other.client("kms").list_keys()
        names = [event["EventName"] for event in server.other.client("cloudtrail").lookup_events()["Events"]]
        assert "ListKeys" in names and "CreateKey" not in names
    finally:
        server.destroy()


def test_a_use_across_accounts_is_in_both_accounts_logs(tmp_path):
    server = two_accounts(tmp_path)
    try:
        key = server.client("kms").create_key()["KeyMetadata"]["Arn"]
        other = server.other.client("sts").get_caller_identity()["Account"]
        everybody = [{"AWS": ROOT}, {"AWS": f"arn:aws:iam::{other}:root"}]
        statements = [{"Effect": "Allow", "Principal": who, "Action": "kms:*", "Resource": "*"} for who in everybody]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        server.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
        server.other.client("kms").encrypt(KeyId=key, Plaintext=b"x")
        wanted = [{"AttributeKey": "EventName", "AttributeValue": "Encrypt"}]

        def told(endpoint):
            [event] = endpoint.client("cloudtrail").lookup_events(LookupAttributes=wanted)["Events"]
            return json.loads(event["CloudTrailEvent"])

        owners, callers = told(server), told(server.other)
        assert (owners["recipientAccountId"], callers["recipientAccountId"]) == ("000000000000", other)
        assert owners["sharedEventID"] == callers["sharedEventID"] and owners["eventID"] != callers["eventID"]
        assert owners["resources"] == callers["resources"]
        # The other account's principal is its own affair. (CloudTrail user guide, "CloudTrail userIdentity element".)
        assert callers["userIdentity"]["type"] == "Root" and callers["userIdentity"]["accessKeyId"]
        afar = {"type": "AWSAccount", "principalId": other, "accountId": other}
        assert owners["userIdentity"] == afar
        assert "authorization" in owners["additionalEventData"] and "authorization" not in callers["additionalEventData"]

        s3 = server.client("s3")
        s3.create_bucket(Bucket="theirs-too")
        arn, principal = "arn:aws:s3:::theirs-too", {"AWS": f"arn:aws:iam::{other}:root"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:PutBucketTagging", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        s3.put_bucket_policy(Bucket="theirs-too", Policy=policy)
        tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
        server.other.client("s3").put_bucket_tagging(Bucket="theirs-too", Tagging=tags)
        wanted[0]["AttributeValue"] = "PutBucketTagging"
        owners, callers = told(server), told(server.other)
        assert (owners["recipientAccountId"], callers["recipientAccountId"]) == ("000000000000", other)
        assert owners["sharedEventID"] == callers["sharedEventID"] and owners["requestID"] == callers["requestID"]
        assert "authorization" in owners["additionalEventData"] and "authorization" not in callers["additionalEventData"]
        # A refusal is in the log of the bucket's owner too, as AWS's is; one of a key is in the caller's alone. (KMS developer guide,
        # "Logging AWS KMS API calls with AWS CloudTrail".)
        for call in (
            lambda: server.other.client("s3").put_bucket_versioning(
                Bucket="theirs-too", VersioningConfiguration={"Status": "Enabled"}
            ),
            lambda: server.other.client("kms").describe_key(KeyId=server.client("kms").create_key()["KeyMetadata"]["Arn"]),
        ):
            with pytest.raises(botocore.exceptions.ClientError):
                call()
        wanted[0]["AttributeValue"] = "PutBucketVersioning"
        assert told(server)["userIdentity"] == afar and told(server.other)["errorCode"] == "AccessDenied"
        wanted[0]["AttributeValue"] = "DescribeKey"
        refused = told(server.other)
        assert refused["errorCode"] == "AccessDenied" and "sharedEventID" not in refused
        assert server.client("cloudtrail").lookup_events(LookupAttributes=wanted)["Events"] == []
        assert server.strongroom("audit", "verify").returncode == 0
    finally:
        server.destroy()


def test_events_survive_kill_and_the_log_goes_on(fresh_server):
    server = fresh_server
    server.client("kms").create_key(Description="before")
    server.client("cloudtrail").lookup_events()
    server.kill()
    server.start()
    server.client("kms").create_key(Description="after")
    created = [event for event in events(server) if event["eventName"] == "CreateKey"]
    assert [event["requestParameters"]["description"] for event in created] == ["before", "after"]
    server.strongroom("audit", "verify")


def test_events_are_printed_where_that_is_wanted(tmp_path):
    server = configured(tmp_path, "stdout = true")
    try:
        server.client("kms").create_key(Description="printed")
        assert server.stop() == 0
        logged = "".join(path.read_text() for path in (server.data / "audit").glob("events-*")).splitlines()
        printed = [line for line in server.log_text().splitlines() if line.startswith('{"sequence":')]
        assert printed == logged and '"description":"printed"' in logged[-1]
    finally:
        server.destroy()


def test_a_required_audit_that_cannot_be_written_stops_requests(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    with mounted("tmpfs", tmp_path, 1) as point:
        server = configured(tmp_path, f'required = true\ndir = "{point}/audit"')
        try:
            fill_and_recover(server, point)
        finally:
            server.destroy()


def fill_and_recover(server, point):
    kms, s3 = server.client("kms"), server.client("s3")
    s3.create_bucket(Bucket="required")
    kms.create_key(Description="written")
    # The event was on disk before the answer left.
    [segment] = (point / "audit").glob("events-*")
    assert '"description":"written"' in segment.read_text()
    filler = point / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    # What is left of the segment's last page may still take an event or two.
    assert refusal_of(lambda: [kms.create_key(Description="x" * 4000) for _ in range(3)]) == 503
    assert refusal_of(lambda: s3.put_object(Bucket="required", Key="k", Body=b"x")) == 503
    assert server.get("/_/health/live").status == 200
    metrics = server.get("/_/metrics").read().decode()
    assert "strongroom_audit_failing 1" in metrics
    filler.unlink()
    deadline = time.monotonic() + 20
    while refusal_of(lambda: kms.create_key(Description="again")) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    s3.put_object(Bucket="required", Key="k", Body=b"x")
    server.strongroom("audit", "verify", "--config", server.config)


def refusal_of(call):
    """The status that the call is refused with; None if it is not."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def lines_of(done):
    return done.stdout.splitlines()
