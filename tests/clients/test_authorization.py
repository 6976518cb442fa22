"""Authorisation as a whole: no operation is reachable without it, it explains itself, and every way in obeys it."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from support.calls import body_of, refused
from support.data import content
from support.requests import send, signed, target
from support.server import OTHER_ACCOUNT as OTHER
from test_bucket_policy import KEY, KMS, OPEN, SSE, document
from test_post_object import post, sign

DATA = content(10_000, "authorization")
TABLE = Path(__file__).resolve().parents[2] / "src" / "s3" / "operation.rs"
ROW = re.compile(r'^ {4}(\w+)\s+(\w+)\s+(Service|Bucket|Object|ResourceTags|AccountBlock)\s+(?:Served|Refused)\s+\w+\s+"([^"]+)"\s+\[(.*?)\](?: version "[^"]+")?;$')


def rows():
    """The rows of the table of operations: name, method, target, and what selects them."""
    found = [match.groups() for match in map(ROW.match, TABLE.read_text().splitlines()) if match]
    return [(name, method, kind, re.findall(r'(query|header) "([^"]+)"', selectors)) for name, method, kind, _, selectors in found]


@pytest.fixture(scope="module")
def server(two_account_server):
    """A server with a second account, that audits all and names the statements that deny."""
    return two_account_server(more="[audit]\ndata_events = true\n[s3]\nexplain_denials = true\n")


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def kms(server):
    return server.client("kms")


@pytest.fixture(scope="module")
def locked(s3):
    """A bucket with everything in it that an operation may name."""
    s3.create_bucket(Bucket="locked")
    s3.put_object(Bucket="locked", Key="k", Body=DATA)
    return "locked", s3.create_multipart_upload(Bucket="locked", Key="k")["UploadId"]


def test_the_table_is_read_whole():
    assert len(rows()) > 100
    assert {"ListBuckets", "PutObject", "CopyObject", "PutBucketPolicy", "DeleteObjects", "TagResource"} <= {row[0] for row in rows()}


@pytest.mark.parametrize("who", ["nobody", "another account"])
@pytest.mark.parametrize("name, method, kind, selectors", rows())
def test_no_operation_is_open_to_strangers(server, locked, who, name, method, kind, selectors):
    """A caller whom no policy lets in gets AccessDenied from every operation, or what AWS tells earlier."""
    bucket, upload = locked
    control = "/v20180820"
    path = {
        "Service": "/",
        "Bucket": f"/{bucket}",
        "Object": f"/{bucket}/k",
        "ResourceTags": f"{control}/tags/arn%3Aaws%3As3%3A%3A%3A{bucket}",
        "AccountBlock": f"{control}/configuration/publicAccessBlock",
    }[kind]
    known = {"uploadId": upload, "partNumber": "1"}
    query = [tuple(text.split("=")) if "=" in text else (text, known.get(text, "")) for of, text in selectors if of == "query"]
    headers = {"x-amz-copy-source": f"/{bucket}/k"} if ("header", "x-amz-copy-source") in selectors else {}
    if path.startswith(control):
        headers["x-amz-account-id"] = "000000000000"
    body = b""
    if name == "DeleteObjects":
        body = b"<Delete><Object><Key>k</Key></Object></Delete>"
        headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    if who == "nobody":
        answer = send(server, method, target(path, query), headers | {"host": server.host}, body)
    else:
        answer = signed(server.other, method, path, query, headers, body)
    if method == "HEAD":
        assert answer.status == 403
        return
    told = (answer.status, re.search(rb"<Code>(\w+)</Code>", answer.body))
    told = (told[0], told[1] and told[1][1].decode())
    if name == "PostObject":
        assert told == (412, "PreconditionFailed"), "it is no form"
    elif who == "another account" and name == "CreateBucket":
        assert told == (409, "BucketAlreadyExists")
    elif who == "another account" and name == "ListBuckets":
        assert answer.status == 200 and bucket.encode() not in answer.body
    elif who == "nobody" and name in ("UpdateObjectEncryption", "PutBucketEncryption"):
        assert told == (400, "InvalidRequest"), "Signature Version 4 is asked for before anything else"
    else:
        assert told == (403, "AccessDenied"), answer.body


def test_what_strangers_asked_for_was_not_done(s3, locked):
    bucket, upload = locked
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    assert s3.list_parts(Bucket=bucket, Key="k", UploadId=upload).get("Parts", []) == []
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)


def test_a_form_of_nobodys_is_refused(server, locked):
    answer = post(server, locked[0], {"key": "k"})
    assert (answer.status, answer.code) == (403, "AccessDenied")


@pytest.fixture
def put(s3, bucket):
    """put(statement, ...): a policy on the test's bucket, public access being open."""

    def call(*statements):
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN)
        documents = [json.loads(document(bucket, **statement))["Statement"][0] for statement in statements]
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": documents}))

    yield call
    s3.delete_bucket_policy(Bucket=bucket)


# --- explanations -----------------------------------------------------------------------------------------------------------


def judged(server, name, key):
    """What the audit tells of how the last such request was judged."""
    server.client("cloudtrail").lookup_events(MaxResults=1)  # what was answered before is written
    found = []
    for path in sorted((server.data / "audit").glob("events-*.jsonl")):
        for event in (json.loads(line)["event"] for line in path.read_text().splitlines()):
            if event["eventName"] == name and (event["requestParameters"] or {}).get("key") == key:
                found.append(event)
    return found[-1]["additionalEventData"]["authorization"]


def test_a_refusal_names_its_statement(server, s3, bucket, put):
    put({"Sid": "reading", "Principal": {"AWS": OTHER}}, {"Sid": "NoWrites", "Effect": "Deny", "Action": "s3:PutObject"})
    with refused("AccessDenied", 403) as refusal:
        s3.put_object(Bucket=bucket, Key="written", Body=DATA)
    assert refusal.message.endswith("with an explicit deny in a resource-based policy (statement: NoWrites)")
    denied = {"action": "s3:PutObject", "decision": "Deny", "policyType": "resource-based policy", "statement": "NoWrites"}
    assert judged(server, "PutObject", "written") == denied
    other = server.other.client("s3")
    with refused("AccessDenied", 403, "Access Denied"):
        other.put_object(Bucket=bucket, Key="written", Body=DATA)
    assert judged(server, "PutObject", "written") == denied, "strangers are not told; the audit is"
    with refused("AccessDenied", 403):
        other.get_object(Bucket=bucket, Key="none")
    assert judged(server, "GetObject", "none")["decision"] == "ImplicitDeny"
    assert judged(server, "GetObject", "none")["action"] == "s3:ListBucket"


def test_the_audit_tells_what_allowed(server, s3, bucket, put):
    s3.put_object(Bucket=bucket, Key="read", Body=DATA)
    assert judged(server, "PutObject", "read") == {"action": "s3:PutObject", "decision": "Allow", "policyType": "ownership"}
    put({"Principal": {"AWS": OTHER}})
    server.other.client("s3").get_object(Bucket=bucket, Key="read")
    allowed = {"action": "s3:GetObject", "decision": "Allow", "policyType": "resource-based policy", "statement": "statement 1"}
    assert judged(server, "GetObject", "read") == allowed


# --- the two policies of SSE-KMS, on every way to write ---------------------------------------------------------------------


def ways(server, s3, bucket):
    """Each way to write an object, as a function of the encryption options."""

    def form(**options):
        names = {"ServerSideEncryption": SSE, "SSEKMSKeyId": KEY}
        extra = {names[name].removeprefix("s3:"): value for name, value in options.items()}
        fields = {"key": "form"} | extra
        answer = post(server, bucket, fields | sign(server, [{"bucket": bucket}, *({k: v} for k, v in fields.items())]))
        if answer.status != 204:
            assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
        return answer.status == 204

    def call(function, **arguments):
        def attempt(**options):
            try:
                function(Bucket=bucket, **arguments, **options)
            except s3.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == "AccessDenied", error
                return False
            return True

        return attempt

    return {
        "PUT": call(s3.put_object, Key="put", Body=DATA),
        "POST": form,
        "COPY": call(s3.copy_object, Key="copy", CopySource=f"{bucket}/source"),
        "multipart": call(s3.create_multipart_upload, Key="parts"),
    }


@pytest.mark.parametrize("way", ["PUT", "POST", "COPY", "multipart"])
def test_uploads_that_do_not_ask_for_kms_are_denied(server, s3, bucket, put, way):
    s3.put_object(Bucket=bucket, Key="source", Body=DATA)
    put({"Effect": "Deny", "Action": "s3:PutObject", "Condition": {"StringNotEquals": {SSE: "aws:kms"}}})
    write = ways(server, s3, bucket)[way]
    assert write(**KMS)
    assert not write()
    assert not write(ServerSideEncryption="AES256")
    # The bucket's default is none of the request's asking.
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [default]})
    assert not write()


@pytest.mark.parametrize("way", ["PUT", "POST", "COPY", "multipart"])
def test_uploads_under_another_key_are_denied(server, s3, kms, bucket, put, way):
    """Without a key it is the AWS managed one, and denied; the right one passes by whatever name."""
    s3.put_object(Bucket=bucket, Key="source", Body=DATA)
    right, wrong = (kms.create_key()["KeyMetadata"] for _ in range(2))
    kms.create_alias(AliasName=f"alias/{bucket}", TargetKeyId=right["KeyId"])
    put({"Effect": "Deny", "Action": "s3:PutObject", "Condition": {"ArnNotEqualsIfExists": {KEY: right["Arn"]}}})
    write = ways(server, s3, bucket)[way]
    for name in (right["Arn"], right["KeyId"], f"alias/{bucket}"):
        assert write(SSEKMSKeyId=name, **KMS), name
    assert not write(SSEKMSKeyId=wrong["Arn"], **KMS)
    assert not write(**KMS), "no key named means the AWS managed one"
    assert not write()
    assert not write(ServerSideEncryption="AES256")
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": right["Arn"]}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    assert not write(), "the bucket's default is none of the request's asking"


# --- S3's condition keys ----------------------------------------------------------------------------------------------------


def test_conditional_writes_can_be_enforced(s3, bucket, put):
    """(S3 user guide, "Enforce conditional writes on Amazon S3 buckets".)"""
    both = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    put({"Effect": "Deny", "Action": "s3:PutObject", "Condition": both})
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, IfNoneMatch="*")
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="l", Body=DATA)
    name = {"Bucket": bucket, "Key": "m"}
    name["UploadId"] = s3.create_multipart_upload(**name)["UploadId"]
    part = s3.upload_part(PartNumber=1, Body=DATA, **name)
    parts = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}}
    with refused("AccessDenied", 403):
        s3.complete_multipart_upload(**parts, **name)
    s3.complete_multipart_upload(IfNoneMatch="*", **parts, **name)


def test_conditions_on_a_copy(s3, bucket, put):
    s3.put_object(Bucket=bucket, Key="public/k", Body=DATA)
    s3.put_object(Bucket=bucket, Key="secret/k", Body=DATA)
    put(
        {
            "Effect": "Deny",
            "Action": "s3:PutObject",
            "Condition": {"StringNotLike": {"s3:x-amz-copy-source": f"{bucket}/public/*"}},
        },
        {
            "Effect": "Deny",
            "Action": "s3:PutObject",
            "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-metadata-directive": "COPY"}},
        },
    )
    with refused("AccessDenied", 403):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/secret/k", MetadataDirective="COPY")
    with refused("AccessDenied", 403):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/public/k", MetadataDirective="REPLACE")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/public/k", MetadataDirective="COPY")


def test_conditions_on_tags_where_lists_count(server, s3, bucket, put):
    """What is judged a second time, by the very version, is judged by what the request gives."""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    controls = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
    given = {"StringEquals": {"s3:RequestObjectTag/team": "blue"}}
    put({"Principal": {"AWS": OTHER}, "Action": "s3:PutObjectTagging", "Condition": given})
    other = server.other.client("s3")
    for value in ("blue", "red"):
        tagging = {"TagSet": [{"Key": "team", "Value": value}]}
        if value == "blue":
            other.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging)
        else:
            with refused("AccessDenied", 403):
                other.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging)
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "team", "Value": "blue"}]


def test_tags_of_the_bucket(server, s3, bucket, put):
    """They count where attribute-based access control is enabled."""
    condition = {"StringEquals": {"aws:ResourceTag/team": "blue"}}
    of_bucket = {"Resource": f"arn:aws:s3:::{bucket}", "Action": "s3:ListBucket", "Condition": condition}
    reading = {"Action": "s3:GetObject", "Condition": {"StringEquals": {"s3:BucketTag/team": "blue"}}}
    put({"Principal": {"AWS": OTHER}} | of_bucket, {"Principal": {"AWS": OTHER}} | reading)
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
    other = server.other.client("s3")
    with refused("AccessDenied", 403):
        other.list_objects_v2(Bucket=bucket)
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Enabled"})
    assert other.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert body_of(other.get_object(Bucket=bucket, Key="k")) == DATA
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Disabled"})
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "red"}]})
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Enabled"})
    with refused("AccessDenied", 403):
        other.get_object(Bucket=bucket, Key="k")


def test_a_tag_of_the_object_in_a_variable(server, s3, bucket, put):
    condition = {"StringEquals": {"aws:PrincipalAccount": "${s3:ExistingObjectTag/owner}"}}
    put({"Principal": {"AWS": OTHER}, "Action": "s3:GetObject", "Condition": condition})
    for key, owner in (("theirs", OTHER), ("ours", "000000000000")):
        s3.put_object(Bucket=bucket, Key=key, Body=DATA, Tagging=f"owner={owner}")
    other = server.other.client("s3")
    assert body_of(other.get_object(Bucket=bucket, Key="theirs")) == DATA
    with refused("AccessDenied", 403):
        other.get_object(Bucket=bucket, Key="ours")


def test_a_batch_of_deletions_by_another_account(server, s3, bucket, put):
    """Each key is judged by itself; that the policy says nothing of the bucket does not matter."""
    for key in ("theirs/1", "ours/1"):
        s3.put_object(Bucket=bucket, Key=key)
    put({"Principal": {"AWS": OTHER}, "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/theirs/*"})
    objects = {"Objects": [{"Key": "theirs/1"}, {"Key": "ours/1"}]}
    answer = server.other.client("s3").delete_objects(Bucket=bucket, Delete=objects)
    assert [entry["Key"] for entry in answer["Deleted"]] == ["theirs/1"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("ours/1", "AccessDenied")]
    anonymous = server.client("s3", config=Config(signature_version=UNSIGNED))
    answer = anonymous.delete_objects(Bucket=bucket, Delete=objects)
    assert {entry["Code"] for entry in answer["Errors"]} == {"AccessDenied"}


def test_requesters_say_that_they_pay(server, s3, bucket, put):
    """Nobody is billed; a bucket whose requesters pay refuses those who do not say so, and nobody's requests."""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    put({"Principal": "*", "Action": ["s3:GetObject", "s3:PutObject"]})
    other, payer = server.other.client("s3"), {"RequestPayer": "requester"}
    key = {"Bucket": bucket, "Key": "k"}
    assert "RequestCharged" not in other.get_object(**payer, **key)
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert body_of(s3.get_object(**key)) == DATA, "the owner pays anyway"
    for call in (other.get_object, other.put_object):
        with refused("AccessDenied", 403):
            call(**key)
    assert other.get_object(**payer, **key)["RequestCharged"] == "requester"
    assert other.put_object(Body=DATA, **payer, **key)["RequestCharged"] == "requester"
    anonymous = server.client("s3", config=Config(signature_version=UNSIGNED))
    with refused("AccessDenied", 403):
        anonymous.get_object(**payer, **key)
    other.create_bucket(Bucket=f"{bucket}-theirs")
    copy = {"Bucket": f"{bucket}-theirs", "Key": "k", "CopySource": key}
    with refused("AccessDenied", 403):
        other.copy_object(**copy)
    other.copy_object(**payer, **copy)
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert body_of(other.get_object(**key)) == DATA
