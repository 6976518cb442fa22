"""Key policies and grants: who may use a key, directly and through S3."""

import json

import pytest
from botocore import xform_name as snake

from support.calls import body_of, refused
from support.data import base64_text, content
from support.server import OTHER_ACCOUNT as OTHER

DATA = content(10_000, "key policy")


@pytest.fixture(scope="module")
def server(two_account_server):
    """A server with a second account; its own, as its accounts are."""
    return two_account_server()


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def kms(server):
    return server.client("kms")


@pytest.fixture(scope="module")
def other(server):
    """The other account's endpoint."""
    return server.other


@pytest.fixture(scope="module")
def account(kms):
    return kms.create_key()["KeyMetadata"]["AWSAccountId"]


@pytest.fixture
def policy(account):
    """policy(statement, ...): a document whose first statement lets the account do everything."""

    def make(*statements):
        own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*", "Resource": "*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [own, *statements]})

    return make


def allow(principal, *actions, **more):
    actions = list(actions) or ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"]
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions, "Resource": "*"} | more


def deny(action, **more):
    return {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"} | more


def test_a_policy_comes_back_as_it_was_put(kms, key, policy):
    default = json.loads(kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    assert default["Id"] == "key-default-1"
    text = policy(allow(OTHER)).replace(",", " ,\n")
    kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=text)
    assert kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == text
    made = kms.create_key(Policy=text)["KeyMetadata"]["KeyId"]
    assert kms.get_key_policy(KeyId=made)["Policy"] == text


@pytest.mark.parametrize("text", ["{}", "x", '{"Statement": []}', '{"Statement": {"Effect": "Allow"}}'])
def test_malformed_policies_are_refused(kms, key, text):
    with refused("MalformedPolicyDocumentException", 400):
        kms.put_key_policy(KeyId=key["KeyId"], Policy=text)
    with refused("MalformedPolicyDocumentException", 400):
        kms.create_key(Policy=text)


def test_nobody_locks_themselves_out_by_mistake(kms, key):
    shut = json.dumps({"Statement": [allow(OTHER, "kms:*")]})
    text = "The new key policy will not allow you to update the key policy in the future."
    with refused("MalformedPolicyDocumentException", 400, text):
        kms.put_key_policy(KeyId=key["KeyId"], Policy=shut)
    with refused("MalformedPolicyDocumentException", 400, text):
        kms.create_key(Policy=shut)
    made = kms.create_key(Policy=shut, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["KeyId"]
    for call in (kms.get_key_policy, kms.describe_key, kms.disable_key):
        with refused("AccessDeniedException", 400):
            call(KeyId=made)


def test_another_account_by_policy(server, s3, kms, key, policy, other):
    theirs_kms, theirs = other.client("kms"), other.client("s3")
    with refused("AccessDeniedException", 400) as refusal:
        theirs_kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    assert refusal.message.endswith("no resource-based policies allow access, or a resource-based policy explicitly denies access")
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(allow(OTHER)))
    blob = theirs_kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    with refused("AccessDeniedException", 400):
        theirs_kms.disable_key(KeyId=key["Arn"])
    theirs.create_bucket(Bucket="theirs")
    theirs.put_object(Bucket="theirs", Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    assert body_of(theirs.get_object(Bucket="theirs", Key="k")) == DATA
    # Taken away, it is gone at once.
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy())
    with refused("AccessDenied", 403):
        theirs.get_object(Bucket="theirs", Key="k")
    assert theirs.head_object(Bucket="theirs", Key="k")["SSEKMSKeyId"] == key["Arn"]


def test_a_stranger_is_not_told_whether_there_is_a_key(kms, key, policy, other, account):
    """One text for a key that one may not use and for one that is not there, whatever else is wrong."""
    theirs, key = other.client("kms"), key["KeyId"]
    stranger = f"arn:aws:iam::{OTHER}:root"
    alias = f"alias/{key}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    present = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    absent = f"{present[:-12]}{'0' * 12}"
    named = [present, absent, signing, present.replace(f"key/{key}", alias), present.replace(f"key/{key}", "alias/none")]
    for action, call in (
        ("kms:Encrypt", lambda name: theirs.encrypt(KeyId=name, Plaintext=b"x")),
        ("kms:Decrypt", lambda name: theirs.decrypt(KeyId=name, CiphertextBlob=b"no ciphertext")),
        ("kms:DescribeKey", lambda name: theirs.describe_key(KeyId=name)),
        ("kms:Sign", lambda name: theirs.sign(KeyId=name, Message=b"x", SigningAlgorithm="ECDSA_SHA_256")),
        ("kms:GetKeyPolicy", lambda name: theirs.get_key_policy(KeyId=name)),
        ("kms:DisableKey", lambda name: theirs.disable_key(KeyId=name)),
        ("kms:ListGrants", lambda name: theirs.list_grants(KeyId=name)),
        ("kms:RetireGrant", lambda name: theirs.retire_grant(KeyId=name, GrantId="0" * 64)),
    ):
        takes_aliases = action in ("kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:Sign")
        for name in named if takes_aliases else named[:3]:
            with refused("AccessDeniedException", 400) as refusal:
                call(name)
            assert refusal.message == (
                f"User: {stranger} is not authorized to perform: {action} on this resource because the resource does not exist "
                "in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
            ), (action, name)
    # Its own account is told, and so are those whom the policy lets in.
    with refused("NotFoundException", 400):
        kms.describe_key(KeyId=absent)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(allow(stranger)))
    theirs.encrypt(KeyId=present, Plaintext=b"x")


def test_a_policy_allows_nothing_to_all_but_some(kms, key, policy, account):
    statement = {"Effect": "Allow", "NotPrincipal": {"AWS": account}, "Action": "kms:Decrypt", "Resource": "*"}
    with refused("MalformedPolicyDocumentException", 400, "Allow with NotPrincipal is not allowed."):
        kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=policy(statement))


def test_a_denial_bites_on_the_next_request_and_with_bucket_keys_too(s3, kms, bucket, key, policy):
    for name, more in {"plain": {}, "bucket-key": {"BucketKeyEnabled": True}}.items():
        s3.put_object(Bucket=bucket, Key=name, Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"], **more)
        assert body_of(s3.get_object(Bucket=bucket, Key=name)) == DATA
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:Decrypt")))
    for name in ("plain", "bucket-key"):
        with refused("AccessDenied", 403):
            s3.get_object(Bucket=bucket, Key=name)
    s3.put_object(Bucket=bucket, Key="new", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:GenerateDataKey")))
    assert body_of(s3.get_object(Bucket=bucket, Key="new")) == DATA
    with refused("AccessDenied", 403) as refusal:
        s3.put_object(Bucket=bucket, Key="new", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    assert refusal.message.endswith("with an explicit deny in a resource-based policy (statement: statement 2)")
    assert "kms:GenerateDataKey" in refusal.message


def test_through_s3_alone(server, s3, kms, bucket, key, policy):
    """kms:ViaService"""
    only = deny("kms:Decrypt", Condition={"StringNotEquals": {"kms:ViaService": f"s3.{server.region}.amazonaws.com"}})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(only))
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException", 400):
        kms.decrypt(CiphertextBlob=blob)


def test_for_some_objects_alone(s3, kms, bucket, key, policy):
    """kms:EncryptionContext:aws:s3:arn is the object's ARN; with a bucket key, the bucket's."""
    arn = f"arn:aws:s3:::{bucket}/public/*"
    only = deny("kms:GenerateDataKey", Condition={"ArnNotLike": {"kms:EncryptionContext:aws:s3:arn": arn}})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(only))
    options = {"Bucket": bucket, "Body": DATA, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"]}
    s3.put_object(Key="public/k", **options)
    with refused("AccessDenied", 403):
        s3.put_object(Key="secret/k", **options)
    with refused("AccessDenied", 403):
        s3.put_object(Key="public/k", BucketKeyEnabled=True, **options)


def test_with_some_context_alone(s3, kms, bucket, key, policy):
    only = deny("kms:GenerateDataKey", Condition={"ForAllValues:StringNotEquals": {"kms:EncryptionContextKeys": ["department"]}})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(only))
    options = {"Bucket": bucket, "Key": "k", "Body": DATA, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"]}
    with refused("AccessDenied", 403):
        s3.put_object(**options)
    s3.put_object(SSEKMSEncryptionContext=base64_text(b'{"department":"payroll"}'), **options)


def test_a_copy_needs_the_sources_key(s3, kms, bucket, key, policy):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny(["kms:Decrypt", "kms:ReEncryptFrom"])))
    with refused("AccessDenied", 403):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    with refused("AccessDenied", 403):
        s3.update_object_encryption(Bucket=bucket, Key="k", ObjectEncryption={"SSEKMS": {"KMSKeyArn": key["Arn"]}})
    assert s3.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == key["Arn"], "HEAD needs no key"


@pytest.mark.parametrize("bucket_key", [False, True])
def test_the_action_that_is_missing_is_named(s3, kms, bucket, key, policy, bucket_key):
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"], "BucketKeyEnabled": bucket_key}
    name = {"Bucket": bucket, "Key": "k"}
    s3.put_object(Body=DATA, ChecksumAlgorithm="CRC32", **name, **options)
    upload = {"Bucket": bucket, "Key": "m"} | {"UploadId": s3.create_multipart_upload(Bucket=bucket, Key="m", **options)["UploadId"]}
    reads = (
        lambda: s3.get_object(**name),
        lambda: s3.get_object(Range="bytes=0-0", **name),
        lambda: s3.get_object_attributes(ObjectAttributes=["Checksum"], **name),
        lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k"),
        lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", ServerSideEncryption="aws:kms"),
        lambda: s3.upload_part(PartNumber=1, Body=b"x", **upload),
    )
    writes = (
        lambda: s3.put_object(Body=DATA, **name, **options),
        lambda: s3.create_multipart_upload(**name, **options),
        lambda: s3.copy_object(**name, CopySource=f"{bucket}/plain", **options),
    )
    s3.put_object(Bucket=bucket, Key="plain", Body=DATA)
    for action, calls in (("kms:Decrypt", reads), ("kms:GenerateDataKey", writes)):
        kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny(action)))
        for call in calls:
            with refused("AccessDenied", 403) as refusal:
                call()
            text = f" is not authorized to perform: {action} on resource: {key['Arn']} with an explicit deny in a resource-based policy"
            text += " (statement: statement 2)"
            assert refusal.message.startswith("User: arn:aws:iam::") and refusal.message.endswith(text), refusal.message
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy())
    assert body_of(s3.get_object(**name)) == DATA


def test_a_copy_takes_what_a_put_takes(s3, kms, bucket, key, policy):
    """Though it shares the source's sealed bytes: GenerateDataKey on the target's key, and no more."""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    options = {"Bucket": bucket, "CopySource": f"{bucket}/k", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"]}
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:Encrypt")))
    s3.copy_object(Key="copy", **options)
    assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == DATA
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:GenerateDataKey")))
    with refused("AccessDenied", 403):
        s3.copy_object(Key="copy", **options)
    with refused("AccessDenied", 403):
        s3.copy_object(Key="copy", BucketKeyEnabled=True, **options)


def test_an_upload_needs_both(s3, kms, bucket, key, policy):
    """CreateMultipartUpload takes GenerateDataKey, its parts take Decrypt."""
    options = {"Bucket": bucket, "Key": "m"}
    upload = s3.create_multipart_upload(ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"], **options)["UploadId"]
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:Decrypt")))
    with refused("AccessDenied", 403):
        s3.upload_part(UploadId=upload, PartNumber=1, Body=DATA, **options)
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:GenerateDataKey")))
    s3.upload_part(UploadId=upload, PartNumber=1, Body=DATA, **options)
    with refused("AccessDenied", 403):
        s3.create_multipart_upload(ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"], **options)


def test_a_grant_gives_what_no_policy_does(kms, key, policy, other):
    theirs = other.client("kms")
    grantee = f"arn:aws:iam::{OTHER}:root"
    grant = kms.create_grant(
        KeyId=key["KeyId"],
        GranteePrincipal=grantee,
        Operations=["Encrypt", "Decrypt"],
        Constraints={"EncryptionContextSubset": {"department": "payroll"}},
    )["GrantId"]
    context = {"department": "payroll", "more": "yes"}
    blob = theirs.encrypt(KeyId=key["Arn"], Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    assert theirs.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    for refused_context in ({}, {"department": "sales"}):
        with refused("AccessDeniedException", 400):
            theirs.encrypt(KeyId=key["Arn"], Plaintext=b"x", EncryptionContext=refused_context)
    with refused("AccessDeniedException", 400):
        theirs.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256", EncryptionContext=context)
    # A denial wins over a grant.
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(deny("kms:Decrypt")))
    with refused("AccessDeniedException", 400):
        theirs.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy())
    kms.revoke_grant(KeyId=key["KeyId"], GrantId=grant)
    with refused("AccessDeniedException", 400):
        theirs.decrypt(CiphertextBlob=blob, EncryptionContext=context)


def test_policies_survive_a_kill(new_server):
    server = new_server()
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]
    root = {"Effect": "Allow", "Principal": {"AWS": key["AWSAccountId"]}, "Action": "kms:*", "Resource": "*"}
    kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps({"Statement": [root, deny("kms:Encrypt")]}))
    server.kill()
    server.start()
    with refused("AccessDeniedException", 400):
        server.client("kms").encrypt(KeyId=key["KeyId"], Plaintext=b"x")


#: Operations on a key that only its own account may do, whatever its policy says, and what they take beside its name.
AT_HOME = {
    "CancelKeyDeletion": {},
    "DeleteImportedKeyMaterial": {},
    "DisableKey": {},
    "DisableKeyRotation": {},
    "EnableKey": {},
    "EnableKeyRotation": {},
    "GetKeyLastUsage": {},
    "GetKeyPolicy": {},
    "GetParametersForImport": {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
    "ListAliases": {},
    "ListKeyPolicies": {},
    "ListKeyRotations": {},
    "ListResourceTags": {},
    "PutKeyPolicy": {"Policy": "{}"},
    "RotateKeyOnDemand": {},
    "ScheduleKeyDeletion": {},
    "TagResource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": {"TagKeys": ["a"]},
    "UpdateKeyDescription": {"Description": "theirs"},
}
#: Such as cannot come so far: they need a token, or are not offered.
ELSEWHERE = {"ImportKeyMaterial", "ReplicateKey", "UpdatePrimaryRegion"}


def test_what_aws_keeps_at_home_is_known(kms):
    model = kms.meta.service_model
    every = [model.operation_model(name) for name in model.operation_names]
    on_keys = [one for one in every if one.input_shape and "KeyId" in one.input_shape.members]
    at_home = {one.name for one in on_keys if "Cross-account use</b>: No" in one.documentation}
    assert at_home == set(AT_HOME) | ELSEWHERE


def test_other_accounts_administer_no_key(kms, key, policy, other):
    theirs = other.client("kms")
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(allow(f"arn:aws:iam::{OTHER}:root", "kms:*")))
    assert theirs.describe_key(KeyId=key["Arn"])["KeyMetadata"]["Arn"] == key["Arn"]
    before = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    for name, members in AT_HOME.items():
        if name == "PutKeyPolicy":
            members = {"Policy": policy()}
        with refused("AccessDeniedException", 400):
            getattr(theirs, snake(name))(KeyId=key["Arn"], **members)
    with refused("AccessDeniedException", 400):
        theirs.create_alias(AliasName="alias/theirs", TargetKeyId=key["Arn"])
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] == before
    assert kms.list_resource_tags(KeyId=key["KeyId"])["Tags"] == []
    assert theirs.encrypt(KeyId=key["Arn"], Plaintext=b"x")["KeyId"] == key["Arn"]


def test_a_rotation_on_demand_names_the_key_in_full(kms, key):
    assert kms.rotate_key_on_demand(KeyId=key["KeyId"])["KeyId"] == key["Arn"]


def test_the_key_of_s3_has_a_policy_of_its_own(s3, kms, bucket, account):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms")
    managed = kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]["Arn"]
    shown = json.loads(kms.get_key_policy(KeyId=managed, PolicyName="default")["Policy"])
    assert shown["Id"] == "auto-s3-2"
    by_s3 = {"kms:CallerAccount": account, "kms:ViaService": "s3.us-east-1.amazonaws.com"}
    assert shown["Statement"][0]["Condition"] == {"StringEquals": by_s3}
    with refused("AccessDeniedException", 400):
        kms.generate_data_key(KeyId=managed, KeySpec="AES_256")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
