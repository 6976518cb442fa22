"""Bucket default encryption: GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption, and who wins."""

import json

import pytest

from support.calls import body_of, headers_of, refused, status_of, upload_parts
from support.data import md5
from support.requests import send, signed

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
DATA = b"default encryption" * 100
UNKNOWN = "12345678-1234-1234-1234-123456789012"
MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
INSECURE = "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."
SIGV4 = "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4."
FRESH = {
    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
    "BucketKeyEnabled": False,
    "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
}


def rule(algorithm="aws:kms", key=None, **more):
    default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default} | more]}


def configure(s3, bucket, *arguments, **options):
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rule(*arguments, **options))


def configuration(s3, bucket):
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert len(rules) == 1
    return rules[0]


def put_xml(server, bucket, xml, **options):
    return signed(server, "PUT", f"/{bucket}", [("encryption", "")], body=xml.encode(), **options)


# --- the configuration -------------------------------------------------------------------------------------------------


def test_a_fresh_bucket_has_sse_s3(s3, bucket):
    assert configuration(s3, bucket) == FRESH


def test_delete_resets_and_is_idempotent(s3, bucket):
    configure(s3, bucket, "aws:kms", BucketKeyEnabled=True)
    for _ in range(2):
        assert status_of(s3.delete_bucket_encryption(Bucket=bucket)) == 204
        assert configuration(s3, bucket) == FRESH
    assert headers_of(s3.put_object(Bucket=bucket, Key="k", Body=DATA))[SSE] == "AES256"


@pytest.mark.parametrize("form", ["KeyId", "Arn", "alias/never-made", UNKNOWN, "fake-key-id"])
def test_the_key_is_echoed_verbatim_and_not_looked_up(s3, bucket, shared_key, form):
    key = shared_key.get(form, form)
    configure(s3, bucket, "aws:kms", key)
    assert configuration(s3, bucket)["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": key,
    }


def test_a_key_that_does_not_exist_is_found_out_when_an_object_is_written(s3, bucket):
    configure(s3, bucket, "aws:kms", UNKNOWN)
    with refused("KMS.NotFoundException", 400, f"Key 'arn:aws:kms:us-east-1:000000000000:key/{UNKNOWN}' does not exist"):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    configure(s3, bucket, "aws:kms", "aws/s3")
    with refused("KMS.NotFoundException", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)


RULE = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{}</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>"


@pytest.mark.parametrize("rules", ["", RULE.format("AES256") * 2, RULE.format("AES512"), RULE.format("")])
def test_anything_but_one_rule_is_malformed(server, s3, bucket, rules):
    xml = f"<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>"
    answer = put_xml(server, bucket, xml)
    assert (answer.status, answer.code, answer.error["Message"]) == (400, "MalformedXML", MALFORMED)
    assert configuration(s3, bucket) == FRESH


def test_the_bucket_is_looked_for_before_the_document_is_read(server):
    answer = put_xml(server, "no-such-bucket-here", "<nonsense")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")


def test_a_key_without_kms_is_refused(s3, bucket):
    message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
    with refused("InvalidArgument", 400, message) as refusal:
        configure(s3, bucket, "AES256", UNKNOWN)
    assert refusal.error["ArgumentName"] == "ApplyServerSideEncryptionByDefault"


def test_a_block_survives_a_configuration_that_does_not_name_it(s3, bucket):
    configure(s3, bucket, "AES256")
    assert configuration(s3, bucket)["BlockedEncryptionTypes"] == {"EncryptionType": ["SSE-C"]}
    configure(s3, bucket, "AES256", BlockedEncryptionTypes={"EncryptionType": ["NONE"]})
    assert configuration(s3, bucket)["BlockedEncryptionTypes"] == {"EncryptionType": ["NONE"]}
    configure(s3, bucket, "aws:kms")
    assert configuration(s3, bucket)["BlockedEncryptionTypes"] == {"EncryptionType": ["NONE"]}


def test_a_blocked_write_with_a_customers_key(s3, bucket):
    """Refused before the key is looked at."""
    for key in ("k" * 32, "too short"):
        with refused("AccessDenied", 403) as refusal:
            s3.put_object(Bucket=bucket, Key="k", Body=DATA, SSECustomerAlgorithm="AES256", SSECustomerKey=key)
        assert refusal.message == (
            "User: arn:aws:iam::000000000000:root is not authorized to perform: s3:PutObject on resource: "
            f'"arn:aws:s3:::{bucket}/k" because this bucket has blocked upload requests that specify Server Side '
            "Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type"
        )
    s3.put_object(Bucket=bucket, Key="source", Body=DATA)
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    with refused("AccessDenied", 403) as refusal:
        s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/source", **key)
    # (As reported of AWS, DataDog/stratus-red-team#946.)
    assert "is not authorized to perform: s3:CopyObject on resource" in refusal.message
    with refused("AccessDenied", 403):
        s3.create_multipart_upload(Bucket=bucket, Key="k", **key)


def test_parts_of_an_upload_that_was_begun_before_the_block(s3, bucket):
    customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    configure(s3, bucket, "AES256", BlockedEncryptionTypes={"EncryptionType": ["NONE"]})
    s3.put_object(Bucket=bucket, Key="source", Body=DATA)
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", **customer)["UploadId"]
    upload = {"Bucket": bucket, "Key": "k", "UploadId": begun, "PartNumber": 1, **customer}
    s3.upload_part(Body=DATA, **upload)
    configure(s3, bucket, "AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-C"]})
    with refused("AccessDenied", 403):
        s3.upload_part(Body=DATA, **upload)
    with refused("AccessDenied", 403):
        s3.upload_part_copy(CopySource={"Bucket": bucket, "Key": "source"}, **upload)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=begun)


# --- precedence ----------------------------------------------------------------------------------------------------------


def test_the_default_applies_where_nothing_is_asked_for(s3, bucket, shared_key):
    configure(s3, bucket, "aws:kms", shared_key["KeyId"], BucketKeyEnabled=True)
    expected = {SSE: "aws:kms", KEY_ID: shared_key["Arn"], BUCKET_KEY: "true"}
    put = s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert put["ETag"] != f'"{md5(DATA)}"'
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k")
    created = s3.create_multipart_upload(Bucket=bucket, Key="m")
    for answer in (put, copied, created, s3.head_object(Bucket=bucket, Key="k")):
        assert {name: headers_of(answer).get(name) for name in expected} == expected
    assert body_of(s3.get_object(Bucket=bucket, Key="c")) == DATA


def test_requests_override_the_default(s3, bucket, shared_key):
    """An explicit header wins, an absent one inherits."""
    configure(s3, bucket, "aws:kms", shared_key["KeyId"], BucketKeyEnabled=True)
    plain = headers_of(s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="AES256"))
    assert plain[SSE] == "AES256" and KEY_ID not in plain and BUCKET_KEY not in plain
    managed = headers_of(s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms"))
    assert managed[KEY_ID] != shared_key["Arn"] and managed[BUCKET_KEY] == "true"
    without = headers_of(s3.put_object(Bucket=bucket, Key="k", Body=DATA, BucketKeyEnabled=False))
    assert without[KEY_ID] == shared_key["Arn"] and BUCKET_KEY not in without


def test_objects_stay_as_they_are_when_the_default_changes(s3, bucket, shared_key):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    upload, done = upload_parts(s3, bucket, "m", [DATA])
    configure(s3, bucket, "aws:kms", shared_key["Arn"])
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": done})
    for key in ("k", "m"):
        assert headers_of(s3.head_object(Bucket=bucket, Key=key))[SSE] == "AES256"


def test_an_in_place_copy_takes_the_default(s3, bucket, shared_key):
    """No SSE header on a copy of a KMS object: it becomes the destination's default."""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=shared_key["Arn"])
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", MetadataDirective="REPLACE")
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))[SSE] == "AES256"
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


# --- the transport, where KMS comes from the default -----------------------------------------------------------------------


@pytest.mark.parametrize("query", [[], [("uploads", "")]], ids=["PutObject", "CreateMultipartUpload"])
def test_a_kms_default_over_plain_http_is_refused(server, s3, bucket, query):
    configure(s3, bucket, "aws:kms")
    method, body = ("POST", b"") if query else ("PUT", DATA)
    answer = signed(server, method, f"/{bucket}/k", query, body=body, url=server.http_url)
    assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", INSECURE)
    asked = signed(server, method, f"/{bucket}/k", query, {SSE: "AES256"}, body=body, url=server.http_url)
    assert asked.status == 200


def test_the_transport_is_judged_before_authorisation(server, s3, bucket):
    """Whoever asks, and however badly."""
    configure(s3, bucket, "aws:kms")
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    host = server.http_url.split("//")[1]
    for method, body in (("GET", b""), ("PUT", DATA)):
        answer = send(server, method, f"/{bucket}/k", {"host": host}, body, url=server.http_url)
        assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", INSECURE)
        answer = send(server, method, f"/{bucket}/k", {"host": server.host}, body)
        assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", SIGV4)
        assert (answer.error["ArgumentName"], answer.error["ArgumentValue"]) == ("Authorization", "null")


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_signature_version_2_is_refused_for_kms_objects(server, s3, bucket, method):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms")
    headers = {"host": server.host, "authorization": f"AWS {server.access_key}:c2lnbmF0dXJl"}
    if method == "PUT":
        headers[SSE] = "aws:kms"
    answer = send(server, method, f"/{bucket}/k", headers)
    assert answer.status == 400
    if method != "HEAD":
        assert (answer.code, answer.error["Message"]) == ("InvalidArgument", SIGV4)
    s3.put_object(Bucket=bucket, Key="plain", Body=DATA)
    answer = send(server, "GET", f"/{bucket}/plain", headers)
    assert (answer.status, answer.code) == (400, "InvalidArgument" if method == "PUT" else "InvalidRequest")


def test_only_a_configured_proxy_may_say_that_it_spoke_tls(new_server, tmp_path):
    for trusted, status in ((["127.0.0.0/8"], 200), (["192.0.2.0/24"], 400)):
        config = tmp_path / f"{status}.toml"
        config.write_text(f"trusted_proxies = {trusted}\n".replace("'", '"'))
        server = new_server(http=True, arguments=["--config", config])
        server.client("s3").create_bucket(Bucket="proxied")
        for proto, expected in (("https", status), ("http", 400)):
            headers = {SSE: "aws:kms", "x-forwarded-proto": proto}
            answer = signed(server, "PUT", "/proxied/k", headers=headers, body=DATA, url=server.http_url)
            assert answer.status == expected, answer.body


def test_a_policy_sees_the_client_behind_a_configured_proxy(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('trusted_proxies = ["127.0.0.0/8"]\n')
    server = new_server(http=True, arguments=["--config", config])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="proxied")
    s3.put_object(Bucket="proxied", Key="k", Body=DATA)
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::proxied/*",
        "Condition": {"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}},
    }
    s3.put_bucket_policy(Bucket="proxied", Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    for told, expected in (("192.0.2.7", 200), ("192.0.2.7, 198.51.100.1", 403), ("198.51.100.1, 192.0.2.7", 200)):
        headers = {"x-forwarded-for": told, "x-forwarded-proto": "https"}
        assert signed(server, "GET", "/proxied/k", headers=headers, url=server.http_url).status == expected, told
