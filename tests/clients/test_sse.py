"""Server-side encryption, header by header, as AWS answers."""

import hashlib
import json
import re
import time

import pytest

from support.calls import body_of, completed, headers_of, keys_of, multipart, refused, status_of
from support.data import base64_text, content, md5, multipart_etag
from support.peers import every_key_service
from support.requests import Signer, send, signed

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
CONTEXT = f"{SSE}-context"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
DATA = content(100_000, "sse")
PART = content(5 * 2**20, "sse")
UNKNOWN = "12345678-1234-1234-1234-123456789012"
INSECURE = "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."


def encryption(response):
    """The encryption headers of a response."""
    return {name: value for name, value in headers_of(response).items() if name.startswith(SSE)}


@pytest.fixture
def put(s3, bucket):
    """put(Key=..., ...): a small object in the test's bucket."""
    return lambda **options: s3.put_object(**({"Bucket": bucket, "Key": "k", "Body": DATA} | options))


def kms_options(key_id, **more):
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id} | more


# --- the header matrix ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"ServerSideEncryption": "AES256"}], ids=["default", "asked for"])
def test_sse_s3(s3, bucket, put, options):
    expected = {SSE: "AES256"}
    answer = put(**options)
    assert encryption(answer) == expected
    assert answer["ETag"] == f'"{md5(DATA)}"'
    read = s3.get_object(Bucket=bucket, Key="k")
    assert encryption(read) == expected
    assert body_of(read) == DATA
    assert encryption(s3.head_object(Bucket=bucket, Key="k")) == expected
    assert encryption(s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k")) == expected
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", **options)
    assert encryption(created) == expected
    name = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    part = s3.upload_part(PartNumber=1, Body=PART, **name)
    assert encryption(part) == expected
    copied = s3.upload_part_copy(PartNumber=2, CopySource=f"{bucket}/k", **name)
    assert encryption(copied) == expected
    parts = [completed(1, part), completed(2, copied["CopyPartResult"])]
    end = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **name)
    assert encryption(end) == expected


@every_key_service
def test_sse_kms(s3, bucket, put, shared_key):
    expected = {SSE: "aws:kms", KEY_ID: shared_key["Arn"]}
    options = kms_options(shared_key["KeyId"])
    assert encryption(put(**options)) == expected
    read = s3.get_object(Bucket=bucket, Key="k")
    assert encryption(read) == expected
    assert body_of(read) == DATA
    assert encryption(s3.head_object(Bucket=bucket, Key="k")) == expected
    assert encryption(s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **options)) == expected
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", **options)
    assert encryption(created) == expected
    name = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    part = s3.upload_part(PartNumber=1, Body=PART, **name)
    assert encryption(part) == expected
    copied = s3.upload_part_copy(PartNumber=2, CopySource=f"{bucket}/k", **name)
    assert encryption(copied) == expected
    parts = [completed(1, part), completed(2, copied["CopyPartResult"])]
    end = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **name)
    assert encryption(end) == expected
    assert end["ETag"] == multipart_etag([entry["ETag"] for entry in parts])
    assert encryption(s3.head_object(Bucket=bucket, Key="m")) == expected
    assert body_of(s3.get_object(Bucket=bucket, Key="m")) == PART + DATA
    for silent in (
        s3.list_parts(
            **(name | {"UploadId": s3.create_multipart_upload(Bucket=bucket, Key="n")["UploadId"], "Key": "n"})
        ),
        s3.list_objects_v2(Bucket=bucket),
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag"]),
        s3.delete_object(Bucket=bucket, Key="k"),
    ):
        assert encryption(silent) == {}


@every_key_service
def test_a_bucket_key_is_told_wherever_the_key_is(s3, bucket, put, shared_key):
    expected = {SSE: "aws:kms", KEY_ID: shared_key["Arn"], BUCKET_KEY: "true"}
    options = kms_options(shared_key["KeyId"], BucketKeyEnabled=True)
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", **options)
    name = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    answers = [
        put(**options),
        s3.get_object(Bucket=bucket, Key="k"),
        s3.head_object(Bucket=bucket, Key="k"),
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **options),
        created,
        part := s3.upload_part(PartNumber=1, Body=PART, **name),
        copied := s3.upload_part_copy(PartNumber=2, CopySource=f"{bucket}/k", **name),
    ]
    silent = [s3.list_parts(**name), s3.list_objects(Bucket=bucket), s3.list_object_versions(Bucket=bucket)]
    parts = [completed(1, part), completed(2, copied["CopyPartResult"])]
    answers.append(s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **name))
    answers.append(s3.head_object(Bucket=bucket, Key="m"))
    silent.append(s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c"}]}))
    for answer in answers:
        assert encryption(answer) == expected, answer
    for answer in silent:
        assert encryption(answer) == {}, answer


@every_key_service
def test_the_context_is_echoed_where_aws_does(s3, bucket, put, shared_key):
    text = base64_text(b'{ "project":"blue",  "\\u00fc":"1" }')
    options = kms_options(shared_key["KeyId"], SSEKMSEncryptionContext=text)
    assert encryption(put(**options))[CONTEXT] == text
    assert encryption(s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **options))[CONTEXT] == text
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", **options)
    assert encryption(created)[CONTEXT] == text
    name = {"Bucket": bucket, "Key": "m", "UploadId": created["UploadId"]}
    part = s3.upload_part(PartNumber=1, Body=b"x", **name)
    end = s3.complete_multipart_upload(MultipartUpload={"Parts": [completed(1, part)]}, **name)
    for silent in (
        part,
        end,
        s3.get_object(Bucket=bucket, Key="k"),
        s3.head_object(Bucket=bucket, Key="k"),
        s3.get_object(Bucket=bucket, Key="m"),
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **kms_options(shared_key["KeyId"])),
    ):
        assert CONTEXT not in encryption(silent)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    assert body_of(s3.get_object(Bucket=bucket, Key="m")) == b"x"


@pytest.mark.key_services("aws")
@pytest.mark.parametrize("form", ["id", "arn", "alias", "alias arn"])
def test_the_key_id_is_always_an_arn(s3, kms, bucket, put, shared_key, form):
    alias = f"alias/{bucket}"
    kms.create_alias(AliasName=alias, TargetKeyId=shared_key["KeyId"])
    arn = shared_key["Arn"]
    named = {
        "id": shared_key["KeyId"],
        "arn": arn,
        "alias": alias,
        "alias arn": arn.split(":key/")[0] + ":" + alias,
    }[form]
    assert put(**kms_options(named))["SSEKMSKeyId"] == arn
    kms.delete_alias(AliasName=alias)
    read = s3.get_object(Bucket=bucket, Key="k")
    assert read["SSEKMSKeyId"] == arn
    assert body_of(read) == DATA


def test_the_managed_key_is_made_on_first_use(fresh_server):
    s3, kms = fresh_server.client("s3"), fresh_server.client("kms")
    assert kms.list_keys()["Keys"] == []
    s3.create_bucket(Bucket="first")
    s3.put_object(Bucket="first", Key="plain", Body=b"x")
    assert kms.list_keys()["Keys"] == []
    arn = s3.put_object(Bucket="first", Key="k", Body=DATA, ServerSideEncryption="aws:kms")["SSEKMSKeyId"]
    described = kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]
    assert described["Arn"] == arn
    assert described["KeyManager"] == "AWS"
    assert described["Description"] == "Default key that protects my S3 objects when no other key is defined"
    assert [key["KeyArn"] for key in kms.list_keys()["Keys"]] == [arn]
    s3.create_bucket(Bucket="second")
    for named in ({}, {"SSEKMSKeyId": "alias/aws/s3"}, {"SSEKMSKeyId": arn}):
        answer = s3.put_object(Bucket="second", Key="k", Body=DATA, ServerSideEncryption="aws:kms", **named)
        assert answer["SSEKMSKeyId"] == arn
    for change in (
        lambda: kms.disable_key(KeyId=arn),
        lambda: kms.schedule_key_deletion(KeyId=arn),
    ):
        with refused("AccessDeniedException", 400):
            change()
    assert body_of(s3.get_object(Bucket="second", Key="k")) == DATA


@every_key_service
def test_copy_ignores_how_the_source_is_encrypted(s3, bucket, put, shared_key):
    text = base64_text(b'{"a":"b"}')
    put(**kms_options(shared_key["KeyId"], SSEKMSEncryptionContext=text))
    plain = s3.copy_object(Bucket=bucket, Key="plain", CopySource=f"{bucket}/k")
    assert encryption(plain) == {SSE: "AES256"}
    assert plain["CopyObjectResult"]["ETag"] == f'"{md5(DATA)}"'
    back = s3.copy_object(Bucket=bucket, Key="back", CopySource=f"{bucket}/plain", **kms_options(shared_key["Arn"]))
    assert back["CopyObjectResult"]["ETag"] != f'"{md5(DATA)}"'
    for name in ("plain", "back"):
        assert body_of(s3.get_object(Bucket=bucket, Key=name)) == DATA


# --- ETags -----------------------------------------------------------------------------------------------------------


@every_key_service
def test_etags_of_kms_objects_tell_nothing(s3, bucket, put):
    etags = {put(Key=f"k{n}", ServerSideEncryption="aws:kms")["ETag"] for n in range(4)}
    etags.add(put(Key="k0", ServerSideEncryption="aws:kms")["ETag"])
    assert len(etags) == 5
    assert f'"{md5(DATA)}"' not in etags
    assert all(re.fullmatch('"[0-9a-f]{32}"', etag) for etag in etags)
    one, two = (multipart(s3, bucket, "m", [DATA], ServerSideEncryption="aws:kms")["ETag"] for _ in range(2))
    assert one != two
    assert one.endswith('-1"')


@every_key_service
def test_content_md5_is_checked_all_the_same(s3, plain_s3, bucket):
    digest = base64_text(hashlib.md5(DATA).digest())
    kms = {"Bucket": bucket, "Key": "k", "ServerSideEncryption": "aws:kms", "ContentMD5": digest}
    answer = plain_s3.put_object(Body=DATA, **kms)
    assert answer["ETag"] != f'"{md5(DATA)}"'
    with refused("BadDigest", 400):
        plain_s3.put_object(Body=DATA + b"x", **kms)
    assert body_of(plain_s3.get_object(Bucket=bucket, Key="k")) == DATA


# --- keys that cannot be used ----------------------------------------------------------------------------------------


def test_keys_that_do_not_exist(s3, bucket, put, shared_key):
    prefix = shared_key["Arn"].split(":key/")[0]
    elsewhere = shared_key["Arn"].replace(":us-east-1:", ":us-west-2:")
    texts = {
        "fake-key-id": "Invalid keyId 'fake-key-id'",
        UNKNOWN: f"Key '{prefix}:key/{UNKNOWN}' does not exist",
        f"{prefix}:key/{UNKNOWN}": f"Key '{prefix}:key/{UNKNOWN}' does not exist",
        elsewhere: "Invalid arn us-west-2",
        "alias/none": f"Alias {prefix}:alias/none is not found.",
    }
    for key_id, message in texts.items():
        with refused("KMS.NotFoundException", 400, message):
            put(**kms_options(key_id))
        with refused("KMS.NotFoundException", 400, message):
            s3.create_multipart_upload(Bucket=bucket, Key="m", **kms_options(key_id))
    assert keys_of(s3, bucket) == []


def test_a_disabled_key_bites_on_the_next_request(s3, kms, bucket, put, key):
    options = kms_options(key["KeyId"])
    put(**options)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **options)["UploadId"]
    name = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    part = s3.upload_part(PartNumber=1, Body=DATA, **name)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    kms.disable_key(KeyId=key["KeyId"])
    text = f"{key['Arn']} is disabled."
    for call in (
        lambda: s3.get_object(Bucket=bucket, Key="k"),
        lambda: s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-0"),
        lambda: put(**options),
        lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k"),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key="m2", **options),
        lambda: s3.upload_part(PartNumber=2, Body=DATA, **name),
        lambda: s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"]),
    ):
        with refused("KMS.DisabledException", 400, text):
            call()
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["SSEKMSKeyId"] == key["Arn"]
    assert keys_of(s3, bucket) == ["k"]
    with refused("400", 400):
        s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    kms.enable_key(KeyId=key["KeyId"])
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    s3.complete_multipart_upload(MultipartUpload={"Parts": [completed(1, part)]}, **name)
    assert body_of(s3.get_object(Bucket=bucket, Key="m")) == DATA
    kms.disable_key(KeyId=key["KeyId"])
    s3.delete_object(Bucket=bucket, Key="k")
    assert keys_of(s3, bucket) == ["m"]


def test_a_disabled_key_bites_at_once_under_load(s3, kms, bucket, put, key):
    """No cache of opened keys outlives the key's state."""
    put(**kms_options(key["KeyId"]))
    for _ in range(5):
        for _ in range(10):
            assert status_of(s3.get_object(Bucket=bucket, Key="k")) == 200
        kms.disable_key(KeyId=key["KeyId"])
        with refused("KMS.DisabledException", 400):
            s3.get_object(Bucket=bucket, Key="k")
        kms.enable_key(KeyId=key["KeyId"])


def test_a_key_pending_deletion(s3, kms, bucket, put, key):
    put(**kms_options(key["KeyId"]))
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    text = f"{key['Arn']} is pending deletion."
    with refused("KMS.KMSInvalidStateException", 400, text):
        s3.get_object(Bucket=bucket, Key="k")
    with refused("KMS.KMSInvalidStateException", 400, text):
        put(**kms_options(key["KeyId"]))
    assert encryption(s3.head_object(Bucket=bucket, Key="k"))[KEY_ID] == key["Arn"]
    kms.cancel_key_deletion(KeyId=key["KeyId"])
    kms.enable_key(KeyId=key["KeyId"])
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


# --- headers that make no sense --------------------------------------------------------------------------------------


def argument(refusal):
    return refusal.error.get("ArgumentName"), refusal.error.get("ArgumentValue")


@pytest.mark.parametrize("sse", [{}, {"ServerSideEncryption": "AES256"}], ids=["alone", "with AES256"])
def test_a_key_id_without_kms(s3, bucket, put, shared_key, sse):
    text = "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
    with refused("InvalidArgument", 400, text) as refusal:
        put(SSEKMSKeyId=shared_key["KeyId"], **sse)
    assert argument(refusal)[0] == SSE
    with refused("InvalidArgument", 400, text):
        s3.create_multipart_upload(Bucket=bucket, Key="m", SSEKMSKeyId=shared_key["KeyId"], **sse)
    assert keys_of(s3, bucket) == []


@pytest.mark.parametrize("value", ["", "aws:KMS", "AES-256", "aes256", "rot13"])
def test_an_unknown_encryption_is_refused(server, s3, bucket, value):
    answer = signed(server, "PUT", f"/{bucket}/k", headers={SSE: value}, body=DATA)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"] == "The encryption method specified is not supported"
    assert (answer.error["ArgumentName"], answer.error["ArgumentValue"]) == (SSE, value)
    assert keys_of(s3, bucket) == []


@pytest.mark.parametrize(
    "text",
    ["not base64!", base64_text(b"not json"), base64_text(b"[]"), base64_text(b'{"a":1}'), base64_text(b"\xff\xfe")],
)
def test_a_bad_context_is_refused(s3, bucket, put, text):
    message = (
        "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which "
        "represents a string-string map"
    )
    with refused("InvalidArgument", 400, message) as refusal:
        put(ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=text)
    assert argument(refusal)[0] == CONTEXT
    assert keys_of(s3, bucket) == []


@every_key_service
def test_a_context_may_name_the_object_and_no_other(s3, bucket, put):
    right = base64_text(json.dumps({"aws:s3:arn": f"arn:aws:s3:::{bucket}/k"}).encode())
    put(ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=right)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    wrong = base64_text(json.dumps({"aws:s3:arn": f"arn:aws:s3:::{bucket}/other"}).encode())
    with refused("InvalidArgument") as refusal:
        put(Key="k2", ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=wrong)
    assert refusal.status in (400, 403)
    assert keys_of(s3, bucket) == ["k"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "header", [{SSE: "AES256"}, {SSE: "aws:kms"}, {KEY_ID: UNKNOWN}, {CONTEXT: "e30="}, {BUCKET_KEY: "true"}]
)
def test_encryption_headers_on_reads_are_refused(server, bucket, put, method, header):
    put()
    answer = signed(server, method, f"/{bucket}/k", headers=header)
    assert answer.status == 400
    if method == "GET":
        assert answer.code in ("InvalidArgument", "InvalidRequest")


def test_bucket_keys_are_off_by_default(s3, bucket, put):
    answer = put(ServerSideEncryption="aws:kms")
    assert BUCKET_KEY not in headers_of(answer)
    answer = put(ServerSideEncryption="aws:kms", BucketKeyEnabled=False)
    assert BUCKET_KEY not in headers_of(answer)


# --- the transport ---------------------------------------------------------------------------------------------------


def over_http(server, method, path, query=(), headers=None, body=b"", payload=None):
    if not server.http_url:
        pytest.skip("the endpoint has no plain HTTP listener")
    return signed(server, method, path, query, headers, body, payload, url=server.http_url)


@pytest.mark.parametrize("query", [[], [("uploads", "")]], ids=["PutObject", "CreateMultipartUpload"])
def test_kms_over_plain_http_is_refused(server, s3, bucket, query):
    answer = over_http(
        server, "POST" if query else "PUT", f"/{bucket}/k", query, {SSE: "aws:kms"}, b"" if query else DATA
    )
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"] == INSECURE
    assert keys_of(s3, bucket) == []


def test_a_kms_object_is_not_read_over_plain_http(server, bucket, put):
    put(ServerSideEncryption="aws:kms")
    answer = over_http(server, "GET", f"/{bucket}/k")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"] == INSECURE
    assert DATA[:64] not in answer.body


def test_kms_is_not_copied_over_plain_http(server, s3, bucket, put):
    put()
    answer = over_http(server, "PUT", f"/{bucket}/c", headers={"x-amz-copy-source": f"{bucket}/k", SSE: "aws:kms"})
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"] == INSECURE
    assert keys_of(s3, bucket) == ["k"]


def test_sse_s3_over_plain_http_is_fine(server, bucket):
    assert over_http(server, "PUT", f"/{bucket}/k", headers={SSE: "AES256"}, body=DATA).status == 200
    assert over_http(server, "GET", f"/{bucket}/k").body == DATA


def test_an_anonymous_reader_of_a_kms_object_learns_nothing(server, bucket, put):
    put(ServerSideEncryption="aws:kms")
    answer = send(server, "GET", f"/{bucket}/k", {"host": server.host})
    assert answer.status in (400, 403)
    assert DATA[:64] not in answer.body


@every_key_service
def test_a_presigned_get_of_a_kms_object(server, bucket, put):
    put(ServerSideEncryption="aws:kms")
    target = Signer.of(server).presign("GET", f"/{bucket}/k")
    answer = send(server, "GET", target, {"host": server.host})
    assert answer.status == 200
    assert answer.body == DATA
    assert answer.headers[SSE] == "aws:kms"


# --- what the key service sees ---------------------------------------------------------------------------------------


@pytest.mark.key_services("aws")
def test_an_upload_begun_under_a_key_ends_under_it(s3, kms, bucket, key):
    """The parts of an upload share its key; switching the alias in between changes nothing."""
    alias = f"alias/{bucket}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **kms_options(alias))["UploadId"]
    other = kms.create_key()["KeyMetadata"]
    kms.update_alias(AliasName=alias, TargetKeyId=other["KeyId"])
    name = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    part = s3.upload_part(PartNumber=1, Body=DATA, **name)
    assert part["SSEKMSKeyId"] == key["Arn"]
    s3.complete_multipart_upload(MultipartUpload={"Parts": [completed(1, part)]}, **name)
    assert s3.head_object(Bucket=bucket, Key="m")["SSEKMSKeyId"] == key["Arn"]
    assert body_of(s3.get_object(Bucket=bucket, Key="m")) == DATA
    kms.delete_alias(AliasName=alias)


@every_key_service
def test_a_large_object_read_slowly(s3, bucket, shared_key):
    data = content(20_000_000, "large")
    s3.put_object(Bucket=bucket, Key="large", Body=data, **kms_options(shared_key["KeyId"]))
    stream = s3.get_object(Bucket=bucket, Key="large")["Body"]
    first = stream.read(1_000_000)
    time.sleep(0.5)
    assert first + stream.read() == data
