"""POST Object: uploads by a browser's form, with policies as boto3 signs them and as an attacker would bend them."""

import base64
import hashlib
import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from botocore.config import Config

from support.calls import body_of, headers_of, keys_of
from support.data import content, md5
from support.requests import Signer, connect, send

SSE = "x-amz-server-side-encryption"
DATA = content(200_000, "form")
NOW = datetime.now(timezone.utc)


def form(fields, data=DATA, filename="photo.jpg", late=()):
    """A multipart/form-data body; its content type and its bytes."""
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields]
    if data is not None:
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'Content-Disposition: form-data; name="file"{named}\r\nContent-Type: image/jpeg\r\n\r\n'
        parts.append(f"--{boundary}\r\n{head}".encode() + data + b"\r\n")
    parts += [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in late]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts) + f"--{boundary}--\r\n".encode()


def post(server, bucket, fields, data=DATA, url=None, **options):
    fields = list(fields.items()) if isinstance(fields, dict) else fields
    content_type, body = form(fields, data, **options)
    host = (url or server.url).split("//")[1]
    return send(server, "POST", f"/{bucket}", {"host": host, "content-type": content_type}, body, url=url)


def sign(server, conditions, expires=timedelta(hours=1), signer=None):
    """The fields of a signed policy with these conditions (and those for the signing fields themselves)."""
    signer = signer or Signer.of(server, when=NOW)
    signing = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{signer.access_key}/{signer.scope}",
        "x-amz-date": signer.timestamp,
    }
    expiration = (datetime.now(timezone.utc) + expires).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    document = {"expiration": expiration, "conditions": [*conditions, *({k: v} for k, v in signing.items())]}
    policy = base64.b64encode(json.dumps(document).encode()).decode()
    return signing | {"policy": policy, "x-amz-signature": signer.sign(policy)}


def denied(answer, text):
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert answer.error["Message"] == f"Invalid according to Policy: {text}"


# --- what works -----------------------------------------------------------------------------------------------------------


def test_a_form_as_boto3_presigns_it(server, s3, bucket):
    # boto3 still presigns with Signature Version 2 unless told otherwise.
    client = server.client("s3", config=Config(signature_version="s3v4"))
    made = client.generate_presigned_post(bucket, "dir/${filename}", Conditions=[["content-length-range", 1, 10**6]])
    answer = post(server, bucket, made["fields"])
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["ETag"] == f'"{md5(DATA)}"'
    assert answer.headers["Location"] == f"{server.url}/{bucket}/dir%2Fphoto.jpg"
    assert answer.headers[SSE] == "AES256"
    assert body_of(s3.get_object(Bucket=bucket, Key="dir/photo.jpg")) == DATA


def test_fields_are_kept_with_the_object(server, s3, bucket):
    kept = {
        "Content-Type": "image/png",
        "Cache-Control": "no-store",
        "Content-Disposition": "inline",
        "x-amz-meta-colour": "blue",
        "x-amz-storage-class": "STANDARD_IA",
    }
    conditions = [{"bucket": bucket}, {"key": "k"}, *({name: value} for name, value in kept.items())]
    answer = post(server, bucket, {"key": "k"} | kept | sign(server, conditions))
    assert answer.status == 204, answer.body
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentType"], head["CacheControl"], head["ContentDisposition"]) == ("image/png", "no-store", "inline")
    assert (head["Metadata"], head["StorageClass"]) == ({"colour": "blue"}, "STANDARD_IA")


def test_metadata_beyond_ascii(server, s3, bucket):
    """A form's text is what it is: encoded words are for headers, in which it is given back."""
    kept = {"x-amz-meta-a": "ÄMÄZÕÑ S3", "x-amz-meta-b": "=?UTF-8?B?YWJj?="}
    conditions = [{"bucket": bucket}, {"key": "k"}, *({name: value} for name, value in kept.items())]
    assert post(server, bucket, {"key": "k"} | kept | sign(server, conditions)).status == 204
    shown = {"a": "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?=", "b": "=?UTF-8?B?YWJj?="}
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == shown


@pytest.mark.parametrize(("asked", "status"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)])
def test_the_status_that_was_asked_for(server, bucket, asked, status):
    conditions = [{"bucket": bucket}, {"key": "a b"}, ["starts-with", "$success_action_status", ""]]
    answer = post(server, bucket, {"key": "a b", "success_action_status": asked} | sign(server, conditions))
    assert answer.status == status
    if status != 201:
        assert answer.body == b""
        return
    etag = f'"{md5(DATA)}"'.replace('"', "&quot;")
    expected = (
        f"<PostResponse><Location>{server.url}/{bucket}/a+b</Location><Bucket>{bucket}</Bucket>"
        f"<Key>a b</Key><ETag>{etag}</ETag></PostResponse>"
    )
    assert expected in answer.body.decode()


@pytest.mark.parametrize("name", ["success_action_redirect", "redirect"])
def test_a_redirect(server, bucket, name):
    conditions = [{"bucket": bucket}, {"key": "a/b"}, ["starts-with", f"${name}", ""]]
    for target, separator in (("https://example.com/done", "?"), ("https://example.com/?a=b", "&")):
        answer = post(server, bucket, {"key": "a/b", name: target} | sign(server, conditions))
        assert answer.status == 303
        etag = f"%22{md5(DATA)}%22"
        assert answer.headers["Location"] == f"{target}{separator}bucket={bucket}&key=a%2Fb&etag={etag}"
    target = "https://example.com/done?a=b#part"
    answer = post(server, bucket, {"key": "a/b", name: target} | sign(server, conditions))
    added = f"bucket={bucket}&key=a%2Fb&etag=%22{md5(DATA)}%22"
    assert answer.headers["Location"] == f"https://example.com/done?a=b&{added}#part"
    answer = post(server, bucket, {"key": "a/b", name: "not an address"} | sign(server, conditions))
    assert answer.status == 204


def test_a_file_without_a_name_leaves_the_key_as_it_is(server, s3, bucket):
    signed = sign(server, [{"bucket": bucket}, ["starts-with", "$key", "u/"]])
    assert post(server, bucket, {"key": "u/${filename}"} | signed, filename=None).status == 204
    assert keys_of(s3, bucket) == ["u/${filename}"]


def test_fields_behind_the_file_are_ignored(server, s3, bucket):
    signed = sign(server, [{"bucket": bucket}, {"key": "k"}])
    assert post(server, bucket, {"key": "k"} | signed, late=[("acl", "public-read")]).status == 204
    assert keys_of(s3, bucket) == ["k"]


@pytest.mark.parametrize("size", [0, 1, 65_536, 20 * 2**20])
def test_files_of_all_sizes(server, s3, bucket, size):
    data = content(size, "size")
    signed = sign(server, [{"bucket": bucket}, {"key": "k"}])
    assert post(server, bucket, {"key": "k"} | signed, data).status == 204
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == data


def test_a_file_that_looks_like_a_form(server, s3, bucket):
    data = b"\r\n--" * 1000 + b"--\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nevil\r\n" * 100
    signed = sign(server, [{"bucket": bucket}, {"key": "k"}])
    assert post(server, bucket, {"key": "k"} | signed, data).status == 204
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == data


# --- encryption ------------------------------------------------------------------------------------


def test_encryption_fields_must_be_allowed(server, s3, bucket, shared_key):
    asked = {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": shared_key["KeyId"], f"{SSE}-bucket-key-enabled": "true"}
    bare = [{"bucket": bucket}, {"key": "k"}]
    denied(post(server, bucket, {"key": "k"} | asked | sign(server, bare)), f"Extra input fields: {SSE}")
    partly = [*bare, {SSE: "aws:kms"}]
    denied(
        post(server, bucket, {"key": "k"} | asked | sign(server, partly)),
        f"Extra input fields: {SSE}-aws-kms-key-id",
    )
    assert keys_of(s3, bucket) == []
    allowed = [*bare, *({name: value} for name, value in asked.items())]
    answer = post(server, bucket, {"key": "k"} | asked | sign(server, allowed))
    assert answer.status == 204, answer.body
    assert answer.headers[SSE] == "aws:kms"
    assert answer.headers[f"{SSE}-aws-kms-key-id"] == shared_key["Arn"]
    assert answer.headers[f"{SSE}-bucket-key-enabled"] == "true"
    assert answer.headers["ETag"] != f'"{md5(DATA)}"'
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


def test_a_policy_that_demands_kms(server, s3, bucket):
    conditions = [{"bucket": bucket}, {"key": "k"}, {SSE: "aws:kms"}]
    denied(post(server, bucket, {"key": "k"} | sign(server, conditions)), f'Policy Condition failed: ["eq", "${SSE}", "aws:kms"]')
    denied(
        post(server, bucket, {"key": "k", SSE: "AES256"} | sign(server, conditions)),
        f'Policy Condition failed: ["eq", "${SSE}", "aws:kms"]',
    )
    assert post(server, bucket, {"key": "k", SSE: "aws:kms"} | sign(server, conditions)).status == 204


def test_a_context_and_a_customers_key_are_fields_too(server, s3, bucket, shared_key):
    context = base64.b64encode(b'{ "team":"red" }').decode()
    asked = {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": shared_key["Arn"], f"{SSE}-context": context}
    bare = [{"bucket": bucket}, {"key": "k"}]
    denied(
        post(server, bucket, {"key": "k"} | asked | sign(server, [*bare, *({n: asked[n]} for n in list(asked)[:2])])),
        f"Extra input fields: {SSE}-context",
    )
    allowed = sign(server, [*bare, *({name: value} for name, value in asked.items())])
    answer = post(server, bucket, {"key": "k"} | asked | allowed)
    assert (answer.status, answer.headers[f"{SSE}-aws-kms-key-id"]) == (204, shared_key["Arn"]), answer.body
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    bad = base64.b64encode(b'{"a":1}').decode()
    conditions = [*bare, *({name: value} for name, value in asked.items() if "context" not in name), {f"{SSE}-context": bad}]
    answer = post(server, bucket, {"key": "k"} | asked | {f"{SSE}-context": bad} | sign(server, conditions))
    assert (answer.status, answer.code) == (400, "InvalidArgument")

    rule = {"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    secret = b"0123456789abcdef0123456789abcdef"
    digest = base64.b64encode(hashlib.md5(secret).digest()).decode()
    customer = {
        f"{SSE}-customer-algorithm": "AES256",
        f"{SSE}-customer-key": base64.b64encode(secret).decode(),
        f"{SSE}-customer-key-MD5": digest,
    }
    answer = post(server, bucket, {"key": "k"} | customer | sign(server, [*bare, *({n: v} for n, v in customer.items())]))
    assert answer.status == 204, answer.body
    assert answer.headers[f"{SSE}-customer-key-md5"] == digest
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secret}
    assert body_of(s3.get_object(Bucket=bucket, Key="k", **mine)) == DATA


def test_the_buckets_default_applies(server, s3, bucket, shared_key):
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": shared_key["Arn"]}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    fields = {"key": "k"} | sign(server, [{"bucket": bucket}, {"key": "k"}])
    answer = post(server, bucket, fields)
    assert (answer.status, answer.headers[f"{SSE}-aws-kms-key-id"]) == (204, shared_key["Arn"])
    over_http = post(server, bucket, fields, url=server.http_url)
    assert (over_http.status, over_http.code) == (400, "InvalidArgument")
    assert over_http.error["Message"].endswith("must be made over a secure connection.")


# --- what is refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["..", "../a", "a/../../b"])
def test_keys_that_no_path_can_name(server, s3, bucket, key):
    answer = post(server, bucket, {"key": key} | sign(server, [{"bucket": bucket}, {"key": key}]))
    assert (answer.status, answer.code) == (400, "InvalidURI")
    assert keys_of(s3, bucket) == []


def test_conditions_that_fail(server, s3, bucket):
    bare = [{"bucket": bucket}, ["starts-with", "$key", "user/"]]
    denied(
        post(server, bucket, {"key": "other/k"} | sign(server, bare)),
        'Policy Condition failed: ["starts-with", "$key", "user/"]',
    )
    elsewhere = [{"bucket": "elsewhere"}, ["starts-with", "$key", ""]]
    denied(
        post(server, bucket, {"key": "k"} | sign(server, elsewhere)),
        'Policy Condition failed: ["eq", "$bucket", "elsewhere"]',
    )
    denied(
        post(server, bucket, {"key": "user/k", "acl": "private"} | sign(server, bare)), "Extra input fields: acl"
    )
    denied(
        post(server, bucket, {"key": "user/k"} | sign(server, bare, expires=timedelta(seconds=-1))), "Policy expired."
    )
    assert keys_of(s3, bucket) == []


def test_a_policy_names_its_bucket(server, s3, bucket):
    """One that does not would serve every bucket of whoever signed it."""
    denied(post(server, bucket, {"key": "k"} | sign(server, [{"key": "k"}])), "Extra input fields: bucket")
    assert keys_of(s3, bucket) == []
    any_bucket = [["starts-with", "$bucket", bucket[:3]], {"key": "k"}]
    assert post(server, bucket, {"key": "k"} | sign(server, any_bucket)).status == 204


def test_conditions_that_are_none(server, s3, bucket):
    for condition, why in (
        ({"key": "k", "acl": "private"}, "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."),
        ({"key": 1}, "Invalid Simple-Condition: value must be a string."),
        (["like", "$key", "k"], "Invalid Condition: unknown operation 'like'."),
        (["eq", "$key"], "Invalid eq: wrong number of arguments."),
    ):  # fmt: skip
        answer = post(server, bucket, {"key": "k"} | sign(server, [{"bucket": bucket}, condition]))
        assert (answer.status, answer.code) == (400, "InvalidPolicyDocument")
        assert answer.error["Message"] == f"Invalid Policy: {why}"
    assert keys_of(s3, bucket) == []


def test_conditions_that_cannot_be_read_are_not_met(server, s3, bucket):
    for condition in (["eq", "success_action_status", "200"], ["content-length-range", "test", "10"]):
        signed = sign(server, [{"bucket": bucket}, {"key": "k"}, condition])
        answer = post(server, bucket, {"key": "k", "success_action_status": "200"} | signed)
        denied(answer, f"Policy Condition failed: {json.dumps(condition)}")
    assert keys_of(s3, bucket) == []


def test_each_value_of_a_field_is_held_against_the_policy(server, s3, bucket):
    conditions = [{"bucket": bucket}, {"key": "k"}, {"x-amz-meta-a": "1"}]
    fields = [("key", "k"), ("x-amz-meta-a", "1"), ("x-amz-meta-a", "2"), *sign(server, conditions).items()]
    denied(post(server, bucket, fields), 'Policy Condition failed: ["eq", "$x-amz-meta-a", "1"]')
    assert keys_of(s3, bucket) == []


def test_a_policy_is_judged_before_the_file_is_read(server, s3, bucket):
    """The answer is there before the file is; and what was to follow is not waited for."""
    fields = {"key": "other/k"} | sign(server, [{"bucket": bucket}, ["starts-with", "$key", "user/"]])
    content_type, body = form(list(fields.items()), content(50_000_000, "never sent"))
    connection = connect(server)
    connection.putrequest("POST", f"/{bucket}")
    connection.putheader("content-type", content_type)
    connection.putheader("content-length", str(len(body)))
    connection.endheaders()
    connection.send(body[: body.index(b'name="file"') + 200])
    connection.sock.settimeout(10)
    answer = connection.getresponse()
    assert answer.status == 403 and b"Policy Condition failed" in answer.read()
    connection.close()
    assert keys_of(s3, bucket) == []


def test_lengths_are_held(server, s3, bucket):
    conditions = [{"bucket": bucket}, {"key": "k"}, ["content-length-range", 10, 1000]]
    fields = {"key": "k"} | sign(server, conditions)
    large = post(server, bucket, fields, b"x" * 1001)
    assert (large.status, large.code, large.error["MaxSizeAllowed"]) == (400, "EntityTooLarge", "1000")
    small = post(server, bucket, fields, b"x" * 9)
    assert (small.status, small.code, small.error["MinSizeAllowed"]) == (400, "EntityTooSmall", "10")
    assert keys_of(s3, bucket) == []
    assert post(server, bucket, fields, b"x" * 1000).status == 204


def test_signatures_that_do_not_match(server, s3, bucket):
    conditions = [{"bucket": bucket}, {"key": "k"}]
    good = {"key": "k"} | sign(server, conditions)
    wider = base64.b64encode(base64.b64decode(good["policy"]).replace(b'"k"', b'"x"')).decode()
    for change, status, code in (
        ({"policy": wider}, 403, "SignatureDoesNotMatch"),
        ({"x-amz-signature": "0" * 64}, 403, "SignatureDoesNotMatch"),
        ({"x-amz-credential": good["x-amz-credential"].replace(server.access_key, "AKIANOBODYATALL00000")}, 403, "InvalidAccessKeyId"),
        ({"x-amz-credential": good["x-amz-credential"].replace("us-east-1", "eu-west-1")}, 400, "AuthorizationQueryParametersError"),
        ({"x-amz-credential": "nonsense"}, 400, "AuthorizationQueryParametersError"),
        ({"x-amz-date": "yesterday"}, 400, "AuthorizationQueryParametersError"),
        ({"x-amz-algorithm": "AWS4-HMAC-MD5"}, 400, "AuthorizationQueryParametersError"),
    ):
        answer = post(server, bucket, good | change)
        assert (answer.status, answer.code) == (status, code), (change, answer.body)
    assert keys_of(s3, bucket) == []


@pytest.mark.parametrize("missing", ["key", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-algorithm"])
def test_fields_that_are_missing(server, bucket, missing):
    fields = {"key": "k"} | sign(server, [{"bucket": bucket}, {"key": "k"}])
    del fields[missing]
    answer = post(server, bucket, fields)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.error["Message"].startswith("Bucket POST must contain a field named")


def test_a_policy_that_nobody_signed(server, s3, bucket):
    fields = {"key": "k"} | sign(server, [{"bucket": bucket}, {"key": "k"}])
    unsigned = {name: value for name, value in fields.items() if name in ("key", "policy")}
    answer = post(server, bucket, unsigned)
    assert (answer.status, answer.code, answer.error["Message"]) == (403, "AccessDenied", "Access Denied")
    assert keys_of(s3, bucket) == []


def test_signature_version_2_is_not_supported(server, s3, bucket):
    made = server.client("s3", config=Config(signature_version="s3")).generate_presigned_post(bucket, "k")
    answer = post(server, bucket, made["fields"])
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.error["Message"].startswith("The authorization mechanism you have provided is not supported.")
    assert keys_of(s3, bucket) == []


def test_a_form_without_a_policy_comes_from_nobody(server, s3, bucket):
    answer = post(server, bucket, {"key": "k"})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert keys_of(s3, bucket) == []


def test_forms_that_are_none(server, bucket):
    fields = {"key": "k"} | sign(server, [{"bucket": bucket}, {"key": "k"}])
    no_file = post(server, bucket, fields, None)
    assert (no_file.status, no_file.code) == (400, "InvalidArgument")
    assert no_file.error["Message"] == "POST requires exactly one file upload per request."
    for content_type, status, code in (
        ("application/json", 412, "PreconditionFailed"),
        ("multipart/form-data", 400, "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=x", 400, "MalformedPOSTRequest"),
    ):
        answer = send(server, "POST", f"/{bucket}", {"host": server.host, "content-type": content_type}, b"nonsense")
        assert (answer.status, answer.code) == (status, code)
    large = post(server, bucket, [("x-ignore-a", "x" * 21_000), *fields.items()])
    assert (large.status, large.code) == (400, "MaxPostPreDataLengthExceeded")
    bad = post(server, bucket, fields | {"policy": "bm90IGpzb24=", "x-amz-signature": Signer.of(server, when=NOW).sign("bm90IGpzb24=")})
    assert (bad.status, bad.code) == (400, "InvalidPolicyDocument")
    assert post(server, "no-such-bucket-here", fields).code == "NoSuchBucket"


@pytest.mark.parametrize(
    "sent",
    [
        b"y" * 100_000,
        b"--x\r\n" + b"X-Ignore: y\r\n" * 8_000,
        b'--x\r\nContent-Disposition: form-data; name="x-ignore-a"\r\n\r\n\r\n' * 2_000,
    ],
    ids=["preamble", "headers", "fields"],
)
def test_what_comes_before_the_file_is_bounded(server, bucket, sent):
    """Nobody has said yet who sends all this: it is refused, and the rest of it not waited for."""
    connection = connect(server, timeout=10)
    connection.putrequest("POST", f"/{bucket}")
    connection.putheader("content-type", "multipart/form-data; boundary=x")
    connection.putheader("content-length", "150000000")
    connection.endheaders()
    connection.send(sent)
    answer = connection.getresponse()
    assert answer.status == 400 and b"<Code>MaxPostPreDataLengthExceeded</Code>" in answer.read()
    connection.close()


def test_an_upload_that_breaks_off_leaves_nothing(server, s3, bucket):
    fields = {"key": "k"} | sign(server, [{"bucket": bucket}, {"key": "k"}])
    content_type, body = form(list(fields.items()), content(5_000_000, "broken"))
    connection = connect(server)
    connection.putrequest("POST", f"/{bucket}")
    connection.putheader("content-type", content_type)
    connection.putheader("content-length", str(len(body)))
    connection.endheaders()
    connection.send(body[:2_000_000])
    connection.close()
    # One that ends, but without its last boundary.
    cut = send(server, "POST", f"/{bucket}", {"host": server.host, "content-type": content_type}, body[:-30])
    assert cut.status == 400
    assert keys_of(s3, bucket) == []


def test_a_large_file_takes_little_memory(new_server):
    server = new_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="large")
    fields = {"key": "k"} | sign(server, [{"bucket": "large"}, {"key": "k"}])
    data = content(2**20, "large") * 200
    before = server.status("VmHWM")
    assert post(server, "large", fields, data).status == 204
    assert server.status("VmHWM") - before < 60 * 2**20
    assert headers_of(s3.head_object(Bucket="large", Key="k"))["content-length"] == str(len(data))
