"""The bulk re-wrap job and the inventory by key: the commands, and the operators' API beneath them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.calls import body_of, headers_of, multipart
from support.data import content
from support.peers import every_key_service
from support.requests import signed
from support.server import two_accounts

KEY_ID = "x-amz-server-side-encryption-aws-kms-key-id"
DATA = content(100_000, "rewrap")


class Own:
    """A server of the test's own, so that its tallies and jobs are; a bucket and two keys."""

    def __init__(self, server):
        self.server = server
        self.s3, self.kms = server.client("s3"), server.keys()
        self.s3.create_bucket(Bucket="box")
        self.old, self.new = (self.kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))

    def put(self, key, arn=None, body=DATA, **more):
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn} if arn else {}
        self.s3.put_object(Bucket="box", Key=key, Body=body, **(encryption | more))

    def rewrap(self, *more, check=True):
        arguments = ("rewrap", "--bucket", "box", "--from", self.old, "--to", self.new, *more)
        return self.server.strongroom(*arguments, check=check)

    def usage(self, *more):
        """(encryption, key) -> bucket -> (objects, bytes, uploads, bytes of parts)."""
        numbers = ("objects", "bytes", "uploads", "partBytes")
        rows = self.server.strongroom("keys", "usage", "--json", *more).json
        return {
            (row["encryption"], row["key"]): {b["bucket"]: tuple(b[n] for n in numbers) for b in row["buckets"]}
            for row in rows
        }

    def key_of(self, key):
        return headers_of(self.s3.head_object(Bucket="box", Key=key)).get(KEY_ID)


def ask(server, method, path, body=None):
    """The answer of the operators' API to a request signed by hand: its status and its JSON."""
    document = json.dumps(body).encode() if body is not None else b""
    answer = signed(server, method, path, body=document)
    return answer.status, json.loads(answer.body)


@pytest.fixture
def own(fresh_server):
    return Own(fresh_server)


@every_key_service
def test_a_bucket_is_put_under_another_key(own):
    for n in range(30):
        own.put(f"kms/{n}", own.old)
        own.put(f"bucket-key/{n}", own.old, BucketKeyEnabled=True)
    own.put("dsse", own.old, ServerSideEncryption="aws:kms:dsse")
    own.put("context", own.old, SSEKMSEncryptionContext="eyJhIjoiYiJ9")
    own.put("plain")
    own.put("other", own.new)
    multipart(own.s3, "box", "parts", [content(5 * 2**20, "one"), b"two"], ServerSideEncryption="aws:kms", SSEKMSKeyId=own.old)
    before = {k: own.s3.head_object(Bucket="box", Key=k) for k in ("kms/1", "dsse", "parts")}

    report = own.rewrap("--json").json
    assert (report["state"], report["rewrapped"], report["failed"]) == ("completed", 63, 0)
    assert (report["examined"], report["total"]) == (65, 65)
    # Nothing needs the old key any more, and nothing else has changed.
    own.kms.disable_key(KeyId=own.old.split(":key/")[1])
    for key, size in (("kms/7", DATA), ("bucket-key/7", DATA), ("dsse", DATA), ("context", DATA)):
        assert body_of(own.s3.get_object(Bucket="box", Key=key)) == size
        assert own.key_of(key) == own.new
    assert body_of(own.s3.get_object(Bucket="box", Key="parts"))[-3:] == b"two"
    assert own.key_of("plain") is None
    for key, head in before.items():
        after = own.s3.head_object(Bucket="box", Key=key)
        for kept in ("ETag", "LastModified", "ServerSideEncryption", "ContentLength"):
            assert after[kept] == head[kept]
    assert headers_of(own.s3.head_object(Bucket="box", Key="bucket-key/1"))["x-amz-server-side-encryption-bucket-key-enabled"] == "true"


@every_key_service
def test_a_dry_run_counts_and_changes_nothing(own):
    for n in range(5):
        own.put(f"a/{n}", own.old)
        own.put(f"b/{n}", own.old)
    done = own.rewrap("--dry-run", "--prefix", "a/")
    assert "completed (dry run)" in done.stdout and "re-wrapped  5 (488.28 KiB)" in done.stdout, done.stdout
    assert own.key_of("a/1") == own.old
    own.rewrap("--prefix", "a/")
    assert (own.key_of("a/1"), own.key_of("b/1")) == (own.new, own.old)


def test_what_cannot_be_re_wrapped_is_told_by_the_exit_code(own):
    own.put("k", own.old)
    own.kms.disable_key(KeyId=own.old.split(":key/")[1])
    done = own.rewrap(check=False)
    assert done.returncode == 3, done.stderr
    assert "failed      1" in done.stdout and "    k: " in done.stdout and "is disabled" in done.stdout


def test_objects_of_the_servers_key_can_be_put_under_a_kms_key(own):
    own.put("k")
    own.server.strongroom("rewrap", "--bucket", "box", "--from", "SSE-S3", "--to", "alias/aws/s3")
    assert own.kms.describe_key(KeyId=own.key_of("k"))["KeyMetadata"]["KeyManager"] == "AWS"
    own.server.strongroom("rewrap", "--bucket", "box", "--from", "alias/aws/s3", "--to", own.new)
    assert own.key_of("k") == own.new
    assert body_of(own.s3.get_object(Bucket="box", Key="k")) == DATA


@pytest.mark.parametrize(
    "change, code, text",
    [
        ({"bucket": "none"}, 404, "NoSuchBucket"),
        ({"to": "none"}, 400, "NotFoundException"),
        ({"from": "alias/none"}, 400, "NotFoundException"),
        ({"rate": 0}, 400, "InvalidRequest"),
        ({"colour": "blue"}, 400, "InvalidRequest"),
        ({"type": "reboot"}, 400, "InvalidRequest"),
    ],
)
def test_wrong_orders_are_refused(own, change, code, text):
    order = {"type": "rewrap", "bucket": "box", "from": own.old, "to": own.new} | change
    status, answer = ask(own.server, "POST", "/_/v1/jobs", order)
    assert (status, answer["code"]) == (code, text), answer


def test_curl_speaks_the_operators_api(own):
    own.put("k", own.old)
    order = json.dumps({"type": "rewrap", "bucket": "box", "from": own.old, "to": own.new, "dryRun": True})
    url = own.server.url + "/_/v1/jobs"
    started = json.loads(own.server.curl("-X", "POST", "-d", order, url, check=True).stdout)
    assert (started["job"]["bucket"], started["job"]["dryRun"]) == ("box", True)
    assert len(json.loads(own.server.curl(url).stdout)["jobs"]) == 1
    unsigned = own.server.curl(url, sign=False)
    assert json.loads(unsigned.stdout)["code"] == "AccessDenied"
    forged = own.server.curl(url, secret_key="x" * 40)
    assert json.loads(forged.stdout)["code"] == "SignatureDoesNotMatch"


def test_other_accounts_see_nothing(tmp_path, request):
    server = two_accounts(tmp_path)
    request.addfinalizer(server.destroy)
    own = Own(server)
    own.put("k", own.old)
    job = own.rewrap("--json").json
    for method in ("GET", "DELETE"):
        assert ask(server.other, method, f"/_/v1/jobs/{job['id']}")[0] == 404
    assert ask(server.other, "GET", "/_/v1/jobs") == (200, {"jobs": []})
    assert ask(server.other, "GET", "/_/v1/keys/usage") == (200, {"usage": []})
    order = {"type": "rewrap", "bucket": "box", "from": own.old, "to": own.new}
    assert ask(server.other, "POST", "/_/v1/jobs", order)[0] == 403


def test_the_audit_tells_what_operators_asked(own):
    own.put("k", own.old)
    job = own.rewrap("--json").json["id"]
    order = {"type": "rewrap", "bucket": "box", "from": "alias/nothing", "to": own.new}
    assert ask(own.server, "POST", "/_/v1/jobs", order)[0] == 400
    assert ask(own.server, "GET", f"/_/v1/jobs/{'0' * 32}")[0] == 404
    source = [{"AttributeKey": "EventSource", "AttributeValue": "strongroom.amazonaws.com"}]
    found = own.server.client("cloudtrail").lookup_events(LookupAttributes=source)["Events"]
    told = [json.loads(event["CloudTrailEvent"]) for event in reversed(found)]
    started, refused = [event for event in told if event["eventName"] == "CreateJob"]
    assert started["requestParameters"].items() >= (order | {"from": own.old}).items()
    assert started["responseElements"]["job"]["id"] == job and started["readOnly"] is False
    assert started["resources"] == [{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::box"}]
    assert started["userIdentity"]["type"] == "Root" and started["eventCategory"] == "Management"
    assert (refused["errorCode"], refused["responseElements"]) == ("NotFoundException", None)
    assert told[-1]["eventName"] == "GetJob" and told[-1]["errorCode"] == "NoSuchJob"
    assert told[-1]["requestParameters"] == {"jobId": "0" * 32} and told[-1]["readOnly"] is True


@every_key_service
def test_a_job_survives_a_kill(own):
    for n in range(60):
        own.put(f"{n:02}", own.old, body=b"x")
    job = own.rewrap("--rate", "20", "--detach").stdout.strip()
    time.sleep(1.3)
    own.server.kill()
    own.server.start()
    own.s3 = own.server.client("s3")
    deadline = time.monotonic() + 30
    while (report := own.server.strongroom("jobs", "show", job, "--json").json)["state"] == "running":
        assert time.monotonic() < deadline, report
        time.sleep(0.2)
    assert (report["state"], report["failed"], report["examined"]) == ("completed", 0, 60)
    assert own.usage()[("SSE-KMS", own.new)] == {"box": (60, 60, 0, 0)}
    assert job in own.server.strongroom("jobs", "list").stdout


def test_a_job_can_be_cancelled(own):
    for n in range(10):
        own.put(str(n), own.old, body=b"x")
    job = own.rewrap("--rate", "1", "--detach").stdout.strip()
    assert own.server.strongroom("jobs", "cancel", job, "--json").json["state"] == "cancelled"
    assert own.usage()[("SSE-KMS", own.old)]["box"][0] >= 8
    again = own.server.strongroom("jobs", "cancel", job)
    assert "had ended before" in again.stderr and "cancelled" in again.stdout


def test_no_job_puts_objects_under_a_key_that_is_to_be_destroyed(own):
    own.put("k", own.old)
    own.kms.schedule_key_deletion(KeyId=own.new, PendingWindowInDays=7)
    done = own.rewrap(check=False)
    told = f"KMS.KMSInvalidStateException: {own.new} is pending deletion."
    assert done.returncode == 1 and told in done.stderr, done.stderr


def test_the_inventory_follows_every_change(own):
    old, new, plain = ("SSE-KMS", own.old), ("SSE-KMS", own.new), ("SSE-S3", None)
    own.put("a", own.old, body=b"12345")
    own.put("b", own.old, body=b"123")
    own.put("c", body=b"1")
    assert own.usage() == {old: {"box": (2, 8, 0, 0)}, plain: {"box": (1, 1, 0, 0)}}
    own.put("a", own.new, body=b"1234567")
    own.s3.delete_object(Bucket="box", Key="c")
    assert own.usage() == {old: {"box": (1, 3, 0, 0)}, new: {"box": (1, 7, 0, 0)}}
    own.s3.copy_object(Bucket="box", Key="d", CopySource="box/a")
    assert own.usage()[plain] == {"box": (1, 7, 0, 0)}
    own.s3.update_object_encryption(Bucket="box", Key="d", ObjectEncryption={"SSEKMS": {"KMSKeyArn": own.old}})
    assert own.usage() == {old: {"box": (2, 10, 0, 0)}, new: {"box": (1, 7, 0, 0)}}

    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": own.new}
    upload = own.s3.create_multipart_upload(Bucket="box", Key="e", **options)["UploadId"]
    part = own.s3.upload_part(Bucket="box", Key="e", UploadId=upload, PartNumber=1, Body=b"four")["ETag"]
    own.s3.upload_part(Bucket="box", Key="e", UploadId=upload, PartNumber=2, Body=b"unused")
    assert own.usage("--key", own.new) == {new: {"box": (1, 7, 1, 10)}}
    named = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    own.s3.complete_multipart_upload(Bucket="box", Key="e", UploadId=upload, MultipartUpload=named)
    assert own.usage("--key", own.new) == {new: {"box": (2, 11, 0, 0)}}
    upload = own.s3.create_multipart_upload(Bucket="box", Key="f", **options)["UploadId"]
    own.s3.upload_part(Bucket="box", Key="f", UploadId=upload, PartNumber=1, Body=b"four")
    own.s3.abort_multipart_upload(Bucket="box", Key="f", UploadId=upload)
    assert own.usage("--key", own.new) == {new: {"box": (2, 11, 0, 0)}}

    own.server.kill()
    own.server.start()
    s3 = own.server.client("s3")
    assert own.usage()[new] == {"box": (2, 11, 0, 0)}
    for key in "abde":
        s3.delete_object(Bucket="box", Key=key)
    assert own.usage() == {}


def test_the_inventory_is_shown_before_a_key_is_deleted(own):
    own.put("k", own.old)
    done = own.server.strongroom("keys", "delete", own.old, "--days", "7", check=False)
    assert done.returncode == 1 and "Nothing was changed" in done.stderr
    assert own.old in done.stderr and "97.66 KiB" in done.stderr
    assert own.kms.describe_key(KeyId=own.old)["KeyMetadata"]["KeyState"] == "Enabled"
    assert "strongroom rewrap" in done.stderr
    done = own.server.strongroom("keys", "delete", own.old, "--days", "7", "--yes")
    assert "strongroom rewrap" not in done.stderr, "it is too late for that"
    assert own.kms.describe_key(KeyId=own.old)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    done = own.server.strongroom("keys", "delete", own.new, "--yes")
    assert "Nothing in the store depends on" in done.stderr


@pytest.mark.parametrize("name", ["arn", "id", "alias"])
def test_a_buckets_default_key_is_told_of_before_it_is_deleted(own, name):
    own.kms.create_alias(AliasName="alias/default", TargetKeyId=own.old)
    named = {"arn": own.old, "id": own.old.split(":key/")[1], "alias": "alias/default"}[name]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": named}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    own.s3.put_bucket_encryption(Bucket="box", ServerSideEncryptionConfiguration=rules)
    done = own.server.strongroom("keys", "delete", own.old, check=False)
    assert done.returncode == 1 and "is the default encryption key of: box." in done.stderr, done.stderr
    assert "Nothing in the store depends on" not in done.stderr
    done = own.server.strongroom("keys", "delete", own.new, check=False)
    assert "Nothing in the store depends on" in done.stderr, done.stderr


def test_a_table_for_people(own):
    own.put("k", own.old)
    lines = [line.split() for line in own.server.strongroom("keys", "usage").stdout.splitlines()]
    assert lines[0] == "ENCRYPTION KEY BUCKET OBJECTS BYTES OPEN UPLOADS".split()
    assert lines[1] == ["SSE-KMS", own.old, "box", "1", "97.66", "KiB", "0"]


@pytest.mark.slow
def test_ten_thousand_objects_in_ten_seconds(own):
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda n: own.put(f"{n:05}", own.old, body=b"x" * 1000), range(10_000)))
    began = time.monotonic()
    report = own.rewrap("--json").json
    took = time.monotonic() - began
    assert (report["rewrapped"], report["failed"]) == (10_000, 0)
    print(f"10 000 objects in {took:.2f} s")
    assert took < 10
    assert own.usage() == {("SSE-KMS", own.new): {"box": (10_000, 10_000_000, 0, 0)}}
