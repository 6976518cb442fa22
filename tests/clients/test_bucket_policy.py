"""Bucket policies: put, read back, evaluated on every request; and the public-access block above them."""

import hashlib
import json

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from support.calls import body_of, completed, refused, status_of
from support.data import content
from support.identities import Identities, allow
from support.identities import document as policy
from support.requests import Signer, head_bytes, raw_socket, send
from support.server import OTHER_ACCOUNT as OTHER

SSE = "s3:x-amz-server-side-encryption"
KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
DATA = content(10_000, "policy")
OPEN = {name: False for name in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")}
CLOSED = {name: True for name in OPEN}


@pytest.fixture(scope="module")
def server(two_account_server):
    """A server with a second account, and plain HTTP beside TLS; its own, as policies lock buckets."""
    return two_account_server(http=True)


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def kms(server):
    return server.client("kms")


@pytest.fixture(scope="module")
def stranger(server):
    """The other account's client."""
    return server.other.client("s3")


@pytest.fixture(scope="module")
def anonymous(server):
    return server.client("s3", config=Config(signature_version=UNSIGNED))


def document(bucket, **statement):
    default = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    made = {name: value for name, value in (default | statement).items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [made]})


@pytest.fixture
def put(s3, bucket):
    """put(Effect=..., ...): a policy of one statement on the test's bucket, public access being open."""

    def call(**statement):
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN)
        s3.put_bucket_policy(Bucket=bucket, Policy=document(bucket, **statement))

    yield call
    s3.delete_bucket_policy(Bucket=bucket)


def test_a_policy_comes_back_as_it_was_put(s3, bucket):
    with refused("NoSuchBucketPolicy", 404, "The bucket policy does not exist"):
        s3.get_bucket_policy(Bucket=bucket)
    policy = document(bucket, Principal={"AWS": OTHER}).replace(",", " ,\n")
    assert status_of(s3.put_bucket_policy(Bucket=bucket, Policy=policy)) == 204
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    for _ in range(2):
        assert status_of(s3.delete_bucket_policy(Bucket=bucket)) == 204
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy_status(Bucket=bucket)


def conditional(key):
    """Adds a condition on `key` to a policy."""
    return lambda d: d.replace('"Effect"', json.dumps({"Condition": {"StringEquals": {key: "x"}}})[1:-1] + ', "Effect"', 1)


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda d: "", "Policies must be valid JSON and the first byte must be '{'"),
        (lambda d: "x" + d, "Policies must be valid JSON and the first byte must be '{'"),
        (lambda d: d.replace('"Allow"', '"Maybe"'), "Invalid effect: Maybe"),
        (lambda d: d.replace("s3:GetObject", "s3:Get0bject"), "Policy has invalid action"),
        (lambda d: d.replace('"Principal": "*"', '"Principal": {"AWS": "nobody"}'), "Invalid principal in policy"),
        (lambda d: d.replace("arn:aws:s3:::", "arn:aws:s3:::x"), "Policy has invalid resource"),
        (lambda d: d.replace("/*", ""), "Action does not apply to any resource(s) in statement"),
        (lambda d: d.replace("s3:GetObject", "s3:ListAllMyBuckets"), "Action does not apply to any resource(s) in statement"),
        (conditional("s3:x-amz-colour"), "Policy has an invalid condition key"),
        (conditional("aws:PrincipalOrg"), "Policy has an invalid condition key"),
        (conditional("s3:prefix"), "Conditions do not apply to combination of actions and resources in statement"),
    ],
)
def test_malformed_policies_are_refused(s3, bucket, change, text):
    with refused("MalformedPolicy", 400, text):
        s3.put_bucket_policy(Bucket=bucket, Policy=change(document(bucket)))


def test_public_access_is_blocked_until_it_is_opened(s3, bucket, anonymous):
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == CLOSED
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    with refused("AccessDenied", 403) as refusal:
        s3.put_bucket_policy(Bucket=bucket, Policy=document(bucket))
    assert "BlockPublicPolicy" in refusal.message
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN)
    s3.put_bucket_policy(Bucket=bucket, Policy=document(bucket))
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
    assert body_of(anonymous.get_object(Bucket=bucket, Key="k")) == DATA
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN | {"RestrictPublicBuckets": True})
    with refused("AccessDenied", 403):
        anonymous.get_object(Bucket=bucket, Key="k")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    s3.delete_public_access_block(Bucket=bucket)
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        s3.get_public_access_block(Bucket=bucket)
    assert body_of(anonymous.get_object(Bucket=bucket, Key="k")) == DATA
    s3.delete_bucket_policy(Bucket=bucket)


def test_a_block_that_comes_while_a_policy_is_put_counts(server, s3, bucket):
    """The policy is judged by the block that there is when it is kept, not by the one that its request found."""
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=OPEN)
    path, body = f"/{bucket}", document(bucket).encode()
    headers = Signer.of(server).headers("PUT", path, [("policy", "")], {}, hashlib.sha256(body).hexdigest())
    headers |= {"content-length": str(len(body)), "expect": "100-continue", "connection": "close"}
    with raw_socket(server) as connection:
        connection.sendall(head_bytes("PUT", f"{path}?policy=", headers))
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=CLOSED)
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 403 ") and b"BlockPublicPolicy" in answer, answer
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)


def test_an_anonymous_read_of_a_kms_object_in_a_public_bucket(server, s3, bucket, put, anonymous):
    """The policy lets everybody read; the transport rule of SSE-KMS comes first."""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms")
    put()
    text = (
        "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4."
    )
    with refused("InvalidArgument", 400, text) as refusal:
        anonymous.get_object(Bucket=bucket, Key="k")
    assert (refusal.error["ArgumentName"], refusal.error["ArgumentValue"]) == ("Authorization", "null")
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert body_of(anonymous.get_object(Bucket=bucket, Key="k")) == DATA


def test_an_unsigned_write_under_a_customers_key_is_none_under_kms(s3, bucket, put, anonymous):
    """Whatever the bucket's default is: the transport rule of SSE-KMS is about what the object becomes."""
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"},
        "BlockedEncryptionTypes": {"EncryptionType": ["NONE"]},
    }
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    put(Action=["s3:GetObject", "s3:PutObject"])
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    anonymous.put_object(Bucket=bucket, Key="k", Body=DATA, **mine)
    assert body_of(anonymous.get_object(Bucket=bucket, Key="k", **mine)) == DATA
    with refused("InvalidArgument", 400):
        anonymous.put_object(Bucket=bucket, Key="k", Body=DATA)


def test_another_account(s3, bucket, put, stranger):
    s3.put_object(Bucket=bucket, Key="a/k", Body=DATA)
    s3.put_object(Bucket=bucket, Key="b/k", Body=DATA)
    with refused("AccessDenied", 403, "Access Denied"):
        stranger.get_object(Bucket=bucket, Key="a/k")
    put(Principal={"AWS": f"arn:aws:iam::{OTHER}:root"}, Resource=f"arn:aws:s3:::{bucket}/a/*")
    assert body_of(stranger.get_object(Bucket=bucket, Key="a/k")) == DATA
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=bucket, Key="b/k")
    with refused("AccessDenied", 403):
        stranger.put_object(Bucket=bucket, Key="a/k", Body=b"")
    # Whether a key exists is told to those who may list.
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=bucket, Key="a/none")
    put(Principal={"AWS": OTHER}, Action=["s3:GetObject", "s3:ListBucket"], Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
    with refused("NoSuchKey", 404):
        stranger.get_object(Bucket=bucket, Key="a/none")
    assert [entry["Key"] for entry in stranger.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/k", "b/k"]


def test_no_other_account_sees_or_changes_the_policy(s3, bucket, put, stranger):
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    with refused("AccessDenied", 403):
        stranger.get_bucket_policy(Bucket=bucket)
    put(Principal={"AWS": OTHER}, Action="s3:*", Resource=resources)
    before = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    stranger.list_objects_v2(Bucket=bucket)
    for call in (
        lambda: stranger.get_bucket_policy(Bucket=bucket),
        lambda: stranger.put_bucket_policy(Bucket=bucket, Policy=before),
        lambda: stranger.delete_bucket_policy(Bucket=bucket),
    ):
        with refused("MethodNotAllowed", 405, "The specified method is not allowed against this resource."):
            call()
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == before


def test_all_but_some_are_denied(server, s3, bucket, put):
    identities = Identities(server)
    try:
        bob, alice = identities.user(), identities.user()
        for user in (bob, alice):
            server.client("iam").put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=policy(allow("s3:*", "*")))
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
        account = bob.arn.split(":")[4]

        def deny_all_but(*principals):
            statement = {"Effect": "Deny", "NotPrincipal": {"AWS": list(principals)}, "Action": "s3:GetObject"}
            statement["Resource"] = f"arn:aws:s3:::{bucket}/*"
            s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))

        def gets(user):
            client = identities.client("s3", user) if user else s3
            try:
                client.get_object(Bucket=bucket, Key="k")
                return True
            except client.exceptions.ClientError:
                return False

        deny_all_but(bob.arn, f"arn:aws:iam::{account}:root")
        assert (gets(bob), gets(alice), gets(None)) == (True, False, True)
        # A user is a part of its account: both must be named.
        deny_all_but(bob.arn)
        assert (gets(bob), gets(alice), gets(None)) == (False, False, False)
        deny_all_but(account)
        assert (gets(bob), gets(alice), gets(None)) == (False, False, True)
        deny_all_but(bob.arn, account)
        assert gets(bob)
        boundary = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
        server.client("iam").put_user_permissions_boundary(UserName=bob.name, PermissionsBoundary=boundary)
        assert not gets(bob), "who has a boundary is never excepted"
        with refused("MalformedPolicy", 400, "Allow with NotPrincipal is not allowed."):
            put(Principal=None, NotPrincipal={"AWS": bob.arn})
        s3.delete_bucket_policy(Bucket=bucket)
    finally:
        identities.clean()


def test_another_account_needs_the_key_as_well(s3, kms, bucket, put, stranger):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    put(Principal={"AWS": OTHER})
    assert stranger.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == key
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=bucket, Key="k")


def test_a_denial_binds_the_owners_root_and_tells_why(s3, bucket, put):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    put(Effect="Deny", Action="s3:*", Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
    with refused("AccessDenied", 403) as refusal:
        s3.get_object(Bucket=bucket, Key="k")
    assert refusal.message.endswith(
        f'is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::{bucket}/k" '
        "with an explicit deny in a resource-based policy (statement: statement 1)"
    )
    # The root can always mend its own bucket's policy.
    assert "Deny" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


KMS = {"ServerSideEncryption": "aws:kms"}


def test_a_policy_that_demands_kms_on_every_upload(s3, bucket, put):
    """The condition is on the request's header: the bucket's default is none of it."""
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [default]})
    put(Effect="Deny", Action="s3:PutObject", Condition={"StringNotEquals": {SSE: "aws:kms"}})
    s3.put_object(Bucket=bucket, Key="source", Body=DATA, **KMS)
    for options in ({}, {"ServerSideEncryption": "AES256"}):
        with refused("AccessDenied", 403):
            s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)
        with refused("AccessDenied", 403):
            s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/source", **options)
        with refused("AccessDenied", 403):
            s3.create_multipart_upload(Bucket=bucket, Key="k", **options)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/source", **KMS)
    # Parts take no such headers: they are what their upload is.
    name = {"Bucket": bucket, "Key": "m"}
    name["UploadId"] = s3.create_multipart_upload(**name, **KMS)["UploadId"]
    part = s3.upload_part(PartNumber=1, Body=DATA, **name)
    s3.complete_multipart_upload(MultipartUpload={"Parts": [completed(1, part)]}, **name)
    assert {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]} == {"source", "copy", "m"}


def test_a_policy_on_customers_keys(s3, bucket, put):
    """Whether a customer's key is asked for is a condition too, and so is its absence."""
    rule = {"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"0123456789abcdef0123456789abcdef"}
    name = {"Bucket": bucket, "Key": "k", "Body": DATA}
    put(Effect="Deny", Action="s3:PutObject", Condition={"Null": {f"{SSE}-customer-algorithm": "false"}})
    with refused("AccessDenied", 403):
        s3.put_object(**name, **mine)
    s3.put_object(**name)
    put(Effect="Deny", Action="s3:PutObject", Condition={"StringNotEquals": {f"{SSE}-customer-algorithm": "AES256"}})
    with refused("AccessDenied", 403):
        s3.put_object(**name)
    s3.put_object(**name, **mine)


def test_a_policy_that_demands_one_key(s3, kms, bucket, put):
    """Compared is the effective key's ARN, whatever it was named by; without a key it is the AWS managed one."""
    right, wrong = (kms.create_key()["KeyMetadata"] for _ in range(2))
    alias = f"alias/{bucket}"
    kms.create_alias(AliasName=alias, TargetKeyId=right["KeyId"])
    put(Effect="Deny", Action="s3:PutObject", Condition={"ArnNotEqualsIfExists": {KEY: right["Arn"]}})
    for name in (right["Arn"], right["KeyId"], alias):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA, SSEKMSKeyId=name, **KMS)
    for options in ({"SSEKMSKeyId": wrong["Arn"], **KMS}, KMS, {}, {"ServerSideEncryption": "AES256"}):
        with refused("AccessDenied", 403):
            s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)


def test_conditions_on_the_transport(server, s3, bucket, put):
    http = server.client("s3", endpoint_url=server.http_url, verify=True)
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert body_of(http.get_object(Bucket=bucket, Key="k")) == DATA
    put(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})
    with refused("AccessDenied", 403):
        http.get_object(Bucket=bucket, Key="k")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    put(Effect="Deny", Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}})
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    put(Effect="Deny", Condition={"NumericLessThan": {"s3:TlsVersion": "1.4"}})
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=bucket, Key="k")


def test_conditions_on_the_signature(server, s3, bucket, put):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    presigned = server.client("s3", config=Config(signature_version="s3v4")).generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "k"}
    )
    fetch = lambda: send(server, "GET", presigned.removeprefix(server.url), {"host": server.host})
    put(Effect="Deny", Condition={"StringNotEquals": {"s3:authType": "REST-HEADER"}})
    assert fetch().status == 403
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    put(Effect="Deny", Condition={"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}})
    assert fetch().status == 200
    put(Effect="Deny", Condition={"NumericGreaterThan": {"s3:signatureAge": "600000"}})
    assert fetch().status == 200


def test_conditions_on_the_address_and_the_listing(s3, bucket, put):
    s3.put_object(Bucket=bucket, Key="a/k", Body=DATA)
    put(Effect="Deny", Condition={"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}})
    assert body_of(s3.get_object(Bucket=bucket, Key="a/k")) == DATA
    put(Effect="Deny", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.1"}})
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=bucket, Key="a/k")
    listing = {"Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    put(Effect="Deny", Condition={"StringNotLike": {"s3:prefix": "a/*"}}, **listing)
    assert len(s3.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]) == 1
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)


def test_every_key_of_a_deletion_is_judged(s3, bucket, put):
    for key in ("keep/1", "go/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    put(Effect="Deny", Action="s3:DeleteObject", Resource=f"arn:aws:s3:::{bucket}/keep/*")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "keep/1"}, {"Key": "go/1"}]})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["go/1"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("keep/1", "AccessDenied")]


def test_policies_survive_a_restart(new_server):
    server = new_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept")
    policy = document("kept", Effect="Deny")
    s3.put_bucket_policy(Bucket="kept", Policy=policy)
    s3.put_object(Bucket="kept", Key="k", Body=b"")
    server.kill()
    server.start()
    s3 = server.client("s3")
    assert s3.get_bucket_policy(Bucket="kept")["Policy"] == policy
    with refused("AccessDenied", 403):
        s3.get_object(Bucket="kept", Key="k")


def test_the_command_line(server, bucket):
    policy = document(bucket, Principal={"AWS": OTHER})
    server.aws("s3api", "put-bucket-policy", "--bucket", bucket, "--policy", policy)
    assert json.loads(server.aws("s3api", "get-bucket-policy", "--bucket", bucket).json["Policy"]) == json.loads(policy)
    assert server.aws("s3api", "get-bucket-policy-status", "--bucket", bucket).json["PolicyStatus"]["IsPublic"] is False
