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
from support.identities import Identities, allow, trust
from support.identities import document as document_of
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
    elif who == "nobody" and name == "ListBuckets":
        assert (answer.status, answer.headers["location"]) == (307, "https://aws.amazon.com/s3/")
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
    """What the bucket owner's log tells of how the last such request was judged."""
    owner = server.client("sts").get_caller_identity()["Account"]
    server.client("cloudtrail").lookup_events(MaxResults=1)  # what was answered before is written
    found = []
    for path in sorted((server.data / "audit").glob("events-*.jsonl")):
        for event in (json.loads(line)["event"] for line in path.read_text().splitlines()):
            asked = (event["eventName"], (event["requestParameters"] or {}).get("key"), event["recipientAccountId"])
            if asked == (name, key, owner):
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


def decision(server, who, name, **parameters):
    """What the audit tells of the last request `name` of the user `who` with these request parameters."""
    server.client("cloudtrail").lookup_events(MaxResults=1)  # what was answered before is written
    found = []
    for path in sorted((server.data / "audit").glob("events-*.jsonl")):
        for event in (json.loads(line)["event"] for line in path.read_text().splitlines()):
            given = event["requestParameters"] or {}
            if event["eventName"] == name and event["userIdentity"].get("userName") == who:
                if all(given.get(key) == value for key, value in parameters.items()):
                    found.append(event)
    return (found[-1].get("additionalEventData") or {}).get("authorization")


def test_every_service_tells_what_decided(server, kms, s3, bucket, identities):
    """IAM, STS, KMS, CloudTrail, and S3's uses of keys: what was denied, what nothing allows, and what is allowed."""
    user = identities.user()
    role = identities.role(trust({"AWS": user.arn}))
    key = kms.create_key()["KeyMetadata"]
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    refuse = ["iam:ListUsers", "kms:Decrypt", "kms:ListKeys", "sts:AssumeRole", "cloudtrail:*"]
    deny = {"Sid": "Never", "Effect": "Deny", "Action": refuse, "Resource": "*"}
    server.client("iam").put_user_policy(
        UserName=user.name, PolicyName="p", PolicyDocument=document_of(deny, allow(["s3:*", "kms:*", "sts:*"], "*"))
    )
    iam, sts, cloudtrail = (identities.client(name, user) for name in ("iam", "sts", "cloudtrail"))
    theirs, s3_theirs = identities.client("kms", user), identities.client("s3", user)
    named = " (statement: Never)"
    denied = {"decision": "Deny", "policyType": "identity-based policy", "statement": "Never"}
    encrypted = {"Bucket": bucket, "Key": "secret", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"]}
    s3.put_object(Body=DATA, **encrypted)
    for name, code, action, call in (
        ("ListUsers", "AccessDenied", "iam:ListUsers", iam.list_users),
        ("Decrypt", "AccessDeniedException", "kms:Decrypt", lambda: theirs.decrypt(CiphertextBlob=blob)),
        ("ListKeys", "AccessDeniedException", "kms:ListKeys", theirs.list_keys),
        ("LookupEvents", "AccessDeniedException", "cloudtrail:LookupEvents", cloudtrail.lookup_events),
        (
            "AssumeRole",
            "AccessDenied",
            "sts:AssumeRole",
            lambda: sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session"),
        ),
    ):
        with refused(code) as refusal:
            call()
        assert refusal.message.endswith(f"with an explicit deny in an identity-based policy{named}"), refusal.message
        assert decision(server, user.name, name) == {"action": action} | denied, name
    with refused("AccessDenied") as refusal:
        iam.get_user()
    assert refusal.message.endswith("because no identity-based policy allows the iam:GetUser action")
    implicit = {"action": "iam:GetUser", "decision": "ImplicitDeny", "policyType": "identity-based policy"}
    assert decision(server, user.name, "GetUser") == implicit
    theirs.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    allowed = {"decision": "Allow", "policyType": "identity-based policy", "statement": "statement 2"}
    assert decision(server, user.name, "Encrypt") == {"action": "kms:Encrypt"} | allowed
    # What S3 asks of the key on the user's behalf.
    with refused("AccessDenied", 403) as refusal:
        s3_theirs.get_object(Bucket=bucket, Key="secret")
    assert refusal.message.endswith(f"with an explicit deny in an identity-based policy{named}"), refusal.message
    used = {"encryptionContext": {"aws:s3:arn": f"arn:aws:s3:::{bucket}/secret"}}
    assert decision(server, user.name, "Decrypt", **used) == {"action": "kms:Decrypt"} | denied
    s3_theirs.put_object(Body=DATA, **encrypted)
    assert decision(server, user.name, "GenerateDataKey", **used) == {"action": "kms:GenerateDataKey"} | allowed


def test_a_grant_is_told_as_what_allowed(server, kms, identities):
    user = identities.user()
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    grant = kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Encrypt"])["GrantId"]
    identities.client("kms", user).encrypt(KeyId=kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"], Plaintext=b"x")
    expected = {"action": "kms:Encrypt", "decision": "Allow", "policyType": "grant", "statement": grant}
    assert decision(server, user.name, "Encrypt") == expected


def test_a_grant_ends_with_its_grantee(server, kms, identities):
    """Whoever comes to bear a name later is another."""
    iam, key = server.client("iam"), kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("InvalidArnException", 400):
        kms.create_grant(KeyId=key, GranteePrincipal=iam.get_user()["User"]["Arn"].replace("root", "user/none"), Operations=["Decrypt"])
    user = identities.user()
    kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"])
    assert identities.client("kms", user).decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    renamed = user.name + "-renamed"
    iam.update_user(UserName=user.name, NewUserName=renamed)
    assert identities.client("kms", user).decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    (grant,) = kms.list_grants(KeyId=key)["Grants"]
    assert grant["GranteePrincipal"].endswith(f":user/{renamed}")
    identities.users.append(renamed)
    iam.create_user(UserName=user.name)
    made = iam.create_access_key(UserName=user.name)["AccessKey"]
    other = server.client("kms", aws_access_key_id=made["AccessKeyId"], aws_secret_access_key=made["SecretAccessKey"])
    with refused("AccessDeniedException", 400):
        other.decrypt(CiphertextBlob=blob)


def test_denials_reach_the_key_of_s3(server, s3, identities, bucket):
    """Its policy lets all of the account use it; who is denied it by a policy of their own is denied it all the same."""
    deny = {"Sid": "NoKeys", "Effect": "Deny", "Action": "kms:GenerateDataKey", "Resource": "*"}
    user = identities.user()
    identities.iam.put_user_policy(
        UserName=user.name, PolicyName="p", PolicyDocument=document_of(allow("s3:*", "*"), deny)
    )
    theirs = identities.client("s3", user)
    with refused("AccessDenied", 403) as refusal:
        theirs.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms")
    assert "explicit deny in an identity-based policy" in refusal.message
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms")
    assert body_of(theirs.get_object(Bucket=bucket, Key="k")) == DATA


def test_aliases_are_taken_from_keys_by_leave_of_both(kms, identities):
    first, second = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    name = "alias/" + first[-12:]
    kms.create_alias(AliasName=name, TargetKeyId=first)
    on_key = {"Effect": "Deny", "Action": ["kms:UpdateAlias", "kms:DeleteAlias"], "Resource": first}
    user = identities.user()
    identities.iam.put_user_policy(
        UserName=user.name, PolicyName="p", PolicyDocument=document_of(allow("kms:*", "*"), on_key)
    )
    theirs = identities.client("kms", user)
    with refused("AccessDeniedException", 400):
        theirs.update_alias(AliasName=name, TargetKeyId=second)
    with refused("AccessDeniedException", 400):
        theirs.delete_alias(AliasName=name)
    kms.update_alias(AliasName=name, TargetKeyId=second)
    theirs.delete_alias(AliasName=name)


def test_the_accounts_root_is_told_always(fresh_server):
    """A root that a policy denies has to find the statement; others are told if the operator wants it."""
    s3 = fresh_server.client("s3")
    s3.create_bucket(Bucket="rootless")
    deny = {"Sid": "NoCors", "Effect": "Deny", "Principal": "*", "Action": "s3:GetBucketCORS"}
    s3.put_bucket_policy(Bucket="rootless", Policy=document_of(deny | {"Resource": "arn:aws:s3:::rootless"}))
    with refused("AccessDenied", 403) as refusal:
        s3.get_bucket_cors(Bucket="rootless")
    assert refusal.message.endswith("with an explicit deny in a resource-based policy (statement: NoCors)")
    identities = Identities(fresh_server)
    with refused("AccessDenied", 403) as refusal:
        identities.client("s3", identities.user()).get_bucket_cors(Bucket="rootless")
    assert refusal.message.endswith("with an explicit deny in a resource-based policy")


def s3_account(server):
    return server.client("sts").get_caller_identity()["Account"]


def explain(server, principal, action, resource, *more):
    arguments = ("--principal", principal, "--action", action, "--resource", resource, *more, "--json")
    return server.strongroom("policy", "explain", *arguments, check=False)


def test_decisions_across_accounts_are_explained(server, s3, identities, bucket, put):
    """As they are made: for other accounts' principals, for nobody, by policies and by lists."""
    other, anybody = f"arn:aws:iam::{OTHER}:root", "anonymous"
    arn = f"arn:aws:s3:::{bucket}"
    told = explain(server, other, "s3:GetObject", f"{arn}/k").json
    assert (told["decision"], told["reason"]) == (
        "implicitDeny",
        "because no resource-based policy allows the s3:GetObject action",
    )
    put({"Principal": {"AWS": OTHER}, "Sid": "them"})
    told = explain(server, other, "s3:GetObject", f"{arn}/k").json
    assert (told["decision"], told["grounds"]) == ("allowed", "statement")
    assert [(statement["sid"], statement["decisive"]) for statement in told["statements"]] == [("them", True)]
    assert explain(server, anybody, "s3:GetObject", f"{arn}/k").json["decision"] == "implicitDeny"
    theirs = Identities(server.other)
    try:
        user = theirs.user(keys=False)
        assert explain(server, user.arn, "s3:GetObject", f"{arn}/k").json["reason"].startswith("because no identity-based")
        theirs.iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document_of(allow("s3:*", "*")))
        assert explain(server, user.arn, "s3:GetObject", f"{arn}/k").json["decision"] == "allowed"
    finally:
        theirs.clean()
    put({"Principal": "*"})
    assert explain(server, anybody, "s3:GetObject", f"{arn}/k").json["decision"] == "allowed"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    told = explain(server, anybody, "s3:GetObject", f"{arn}/k").json
    assert told["decision"] == "implicitDeny" and "RestrictPublicBuckets" in told["reason"]


def test_lists_and_grants_are_part_of_an_explanation(server, s3, kms, identities):
    """What lets a request in beside the policies, as it does in life."""
    bucket, other = identities.name("listed"), server.other.client("s3")
    s3.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket=bucket)
    root = f"arn:aws:iam::{OTHER}:root"
    listing = (root, "s3:ListBucket", f"arn:aws:s3:::{bucket}")
    assert explain(server, *listing).json["decision"] == "implicitDeny"
    theirs = f"id={other.list_buckets()['Owner']['ID']}"
    s3.put_bucket_acl(Bucket=bucket, GrantRead=theirs, GrantWrite=theirs)
    told = explain(server, *listing).json
    assert (told["decision"], told["grounds"], told["accessControlList"]) == ("allowed", "access control list", "account")
    other.put_object(Bucket=bucket, Key="theirs", Body=DATA)
    own = f"arn:aws:iam::{s3_account(server)}:root"
    reading = (own, "s3:GetObject", f"arn:aws:s3:::{bucket}/theirs")
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=bucket, Key="theirs")
    told = explain(server, *reading).json
    assert (told["decision"], told["owner"]) == ("implicitDeny", OTHER)
    other.put_object_acl(Bucket=bucket, Key="theirs", ACL="public-read")
    assert explain(server, "anonymous", *reading[1:]).json["accessControlList"] == "everybody"
    user = identities.user()
    key = kms.create_key()["KeyMetadata"]["Arn"]
    using = (user.arn, "kms:Decrypt", key)
    assert explain(server, *using).json["decision"] == "implicitDeny"
    constraints = {"EncryptionContextEquals": {"a": "b"}}
    grant = kms.create_grant(
        KeyId=key, GranteePrincipal=user.arn, Operations=["Decrypt"], Constraints=constraints
    )["GrantId"]
    assert explain(server, *using).json["decision"] == "implicitDeny"
    told = explain(server, *using, "--context", "kms:EncryptionContext:a=b").json
    assert (told["decision"], told["grounds"]) == ("allowed", f"grant {grant}")
    s3.put_object(Bucket=bucket, Key="managed", Body=DATA, ServerSideEncryption="aws:kms")
    managed = s3.head_object(Bucket=bucket, Key="managed")["SSEKMSKeyId"]
    assert explain(server, own, "kms:Decrypt", managed).json["decision"] == "implicitDeny"
    via = ("--context", "kms:ViaService=s3.us-east-1.amazonaws.com")
    assert explain(server, own, "kms:Decrypt", managed, *via).json["decision"] == "allowed"


def test_accounts_explain_their_own_alone(server, bucket, identities):
    """All but the server's own, which may ask about everybody."""
    user, theirs = identities.user(keys=False), f"arn:aws:iam::{OTHER}:root"
    body = {"action": "s3:GetObject", "resource": "arn:aws:s3:::unheard-of/k", "context": {}}

    def asked(**more):
        return signed(server.other, "POST", "/_/v1/policy/explain", body=json.dumps(body | more).encode())

    assert asked(principal=theirs).status == 200
    assert asked(principal="anonymous").status == 200
    foreign = asked(principal=user.arn)
    assert (foreign.status, json.loads(foreign.body)["code"]) == (404, "NoSuchPrincipal")
    foreign = asked(principal=theirs, resource=f"arn:aws:s3:::{bucket}/k")
    assert (foreign.status, json.loads(foreign.body)["code"]) == (404, "NoSuchBucket")


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


# --- who began an upload -----------------------------------------------------------------------------------------------------


def test_an_uploads_initiator_may_list_and_abort_it(server, s3, bucket, put, identities):
    """(S3 user guide, "Multipart upload API and permissions".)"""
    writers = [identities.user() for _ in range(2)]
    for user in writers:
        only = document_of(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*"))
        identities.iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=only)
    mine, theirs = (identities.client("s3", user) for user in writers)
    name = {"Bucket": bucket, "Key": "k"}
    begun = [mine.create_multipart_upload(**name)["UploadId"] for _ in range(2)]
    mine.upload_part(PartNumber=1, Body=DATA, UploadId=begun[0], **name)
    assert len(mine.list_parts(UploadId=begun[0], **name)["Parts"]) == 1
    for call in (theirs.list_parts, theirs.abort_multipart_upload):
        with refused("AccessDenied", 403):
            call(UploadId=begun[0], **name)
    with refused("AccessDenied", 403):
        mine.list_parts(UploadId="0" * 32, **name)
    mine.abort_multipart_upload(UploadId=begun[0], **name)
    put({"Effect": "Deny", "Action": ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]})
    for call in (mine.list_parts, mine.abort_multipart_upload):
        with refused("AccessDenied", 403):
            call(UploadId=begun[1], **name)


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
    # Whoever pays for the source is told so, though the copy lies in a bucket of theirs.
    assert other.copy_object(**payer, **copy)["RequestCharged"] == "requester"
    name = {"Bucket": f"{bucket}-theirs", "Key": "parts"}
    part = {"UploadId": other.create_multipart_upload(**name)["UploadId"], "PartNumber": 1, "CopySource": key}
    assert other.upload_part_copy(**payer, **name, **part)["RequestCharged"] == "requester"
    assert "RequestCharged" not in other.head_object(**payer, Bucket=f"{bucket}-theirs", Key="k")
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert body_of(other.get_object(**key)) == DATA
