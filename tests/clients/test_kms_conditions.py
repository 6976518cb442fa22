"""The condition keys of KMS in key policies: each denies what it names and nothing else."""

import json

import pytest
from botocore.config import Config

from support.calls import refused

ROLE = "arn:aws:iam::111122223333:role/worker"


@pytest.fixture
def guarded(kms):
    """guarded(action, operator, condition key, values, **of the key): a key whose policy denies the action under a
    condition."""
    made = []

    def make(action, operator, condition, values, **members):
        key = kms.create_key(**members)["KeyMetadata"]
        made.append(key["KeyId"])
        root = {"AWS": f"arn:aws:iam::{key['AWSAccountId']}:root"}
        deny = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"},
                {**deny, "Condition": {operator: {condition: values}}},
            ],
        }
        kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))
        return key["KeyId"]

    yield make
    for key in made:
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=30)


ECC = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
RSA = {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}
MAC = {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
GRANT = {"GranteePrincipal": ROLE, "Operations": ["Decrypt"]}
OPEN = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}'
SOURCE = "arn:aws:s3:us-east-1:111122223333:thing"
SUBSET = {"EncryptionContextSubset": {"team": "red"}}

# (action, operator, condition key, value, of the key, operation, members that are denied, members that are not)
CASES = {
    "EncryptionAlgorithm": (
        "kms:Encrypt", "StringEquals", "kms:EncryptionAlgorithm", "RSAES_OAEP_SHA_1", RSA, "Encrypt",
        {"Plaintext": b"x", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"},
        {"Plaintext": b"x", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
    ),
    "EncryptionAlgorithm of data keys": (
        "kms:GenerateDataKey", "StringNotEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", {}, "GenerateDataKey",
        None, {"KeySpec": "AES_256"},
    ),
    "SigningAlgorithm": (
        "kms:Sign", "StringEquals", "kms:SigningAlgorithm", "ECDSA_SHA_256", ECC, "Sign",
        {"Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}, None,
    ),
    "MessageType": (
        "kms:Sign", "StringEquals", "kms:MessageType", "RAW", ECC, "Sign",
        {"Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"},
        {"Message": bytes(32), "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "DIGEST"},
    ),
    "MacAlgorithm": (
        "kms:GenerateMac", "StringEquals", "kms:MacAlgorithm", "HMAC_SHA_256", MAC, "GenerateMac",
        {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}, None,
    ),
    "DataKeyPairSpec": (
        "kms:GenerateDataKeyPair*", "StringLike", "kms:DataKeyPairSpec", "ECC_NIST_P256", {}, "GenerateDataKeyPair",
        {"KeyPairSpec": "ECC_NIST_P256"}, {"KeyPairSpec": "ECC_NIST_P384"},
    ),
    "ScheduleKeyDeletionPendingWindowInDays": (
        "kms:ScheduleKeyDeletion", "NumericLessThan", "kms:ScheduleKeyDeletionPendingWindowInDays", "21", {},
        "ScheduleKeyDeletion", {"PendingWindowInDays": 7}, None,
    ),
    "RotationPeriodInDays": (
        "kms:EnableKeyRotation", "NumericGreaterThan", "kms:RotationPeriodInDays", "180", {}, "EnableKeyRotation",
        {}, {"RotationPeriodInDays": 180},
    ),
    "BypassPolicyLockoutSafetyCheck": (
        "kms:PutKeyPolicy", "Bool", "kms:BypassPolicyLockoutSafetyCheck", "true", {}, "PutKeyPolicy",
        {"Policy": OPEN, "BypassPolicyLockoutSafetyCheck": True}, {"Policy": OPEN},
    ),
    "GrantOperations": (
        "kms:CreateGrant", "ForAnyValue:StringEquals", "kms:GrantOperations", ["Encrypt"], {}, "CreateGrant",
        {**GRANT, "Operations": ["Decrypt", "Encrypt"]}, GRANT,
    ),
    "GranteePrincipal": (
        "kms:CreateGrant", "StringEquals", "kms:GranteePrincipal", ROLE, {}, "CreateGrant",
        GRANT, {**GRANT, "GranteePrincipal": ROLE + "2"},
    ),
    "RetiringPrincipal": (
        "kms:CreateGrant", "StringEquals", "kms:RetiringPrincipal", ROLE, {}, "CreateGrant",
        {**GRANT, "RetiringPrincipal": ROLE}, GRANT,
    ),
    "RetiringServicePrincipal": (
        "kms:CreateGrant", "StringEquals", "kms:RetiringServicePrincipal", "r.example.com", {}, "CreateGrant",
        {**GRANT, "RetiringServicePrincipal": "r.example.com"}, GRANT,
    ),
    "GrantConstraintSourceArn": (
        "kms:CreateGrant", "StringEquals", "kms:GrantConstraintSourceArn", SOURCE, {}, "CreateGrant",
        {**GRANT, "Constraints": {"SourceArn": SOURCE}}, GRANT,
    ),
    "PolicyName": (
        "kms:GetKeyPolicy", "StringEquals", "kms:PolicyName", "default", {}, "GetKeyPolicy", {}, None,
    ),
    "GrantConstraintType": (
        "kms:CreateGrant", "Null", "kms:GrantConstraintType", "true", {}, "CreateGrant",
        GRANT, {**GRANT, "Constraints": SUBSET},
    ),
    "GrantIsForAWSResource": (
        "kms:CreateGrant", "Bool", "kms:GrantIsForAWSResource", "false", {}, "CreateGrant", GRANT, None,
    ),
    "EncryptionContext of grants": (
        "kms:CreateGrant", "StringEquals", "kms:EncryptionContext:team", "red", {}, "CreateGrant",
        {**GRANT, "Constraints": SUBSET}, GRANT,
    ),
    "EncryptionContext has no case in its key": (
        "kms:Encrypt", "StringEquals", "kms:EncryptionContext:TEAM", "red", {}, "Encrypt",
        {"Plaintext": b"x", "EncryptionContext": {"Team": "red"}},
        {"Plaintext": b"x", "EncryptionContext": {"Team": "RED"}},
    ),
    "EncryptionContextKeys have": (
        "kms:Encrypt", "ForAnyValue:StringEquals", "kms:EncryptionContextKeys", ["Team"], {}, "Encrypt",
        {"Plaintext": b"x", "EncryptionContext": {"Team": "red"}},
        {"Plaintext": b"x", "EncryptionContext": {"team": "red"}},
    ),
    "RequestTag": (
        "kms:TagResource", "StringEquals", "aws:RequestTag/Stage", "prod", {}, "TagResource",
        {"Tags": [{"TagKey": "Stage", "TagValue": "prod"}]}, {"Tags": [{"TagKey": "Stage", "TagValue": "test"}]},
    ),
    "TagKeys": (
        "kms:UntagResource", "ForAnyValue:StringEquals", "aws:TagKeys", ["Stage"], {}, "UntagResource",
        {"TagKeys": ["Stage", "x"]}, {"TagKeys": ["x"]},
    ),
    "WrappingKeySpec": (
        "kms:GetParametersForImport", "StringEquals", "kms:WrappingKeySpec", "RSA_2048", {"Origin": "EXTERNAL"},
        "GetParametersForImport", {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, None,
    ),
    "SourceIp": (
        "kms:Encrypt", "IpAddress", "aws:SourceIp", "127.0.0.0/8", {}, "Encrypt", {"Plaintext": b"x"}, None,
    ),
    "SourceIp of others": (
        "kms:Encrypt", "NotIpAddress", "aws:SourceIp", "127.0.0.0/8", {}, "Encrypt", None, {"Plaintext": b"x"},
    ),
    "SecureTransport": (
        "kms:Encrypt", "Bool", "aws:SecureTransport", "false", {}, "Encrypt", None, {"Plaintext": b"x"},
    ),
    "CurrentTime": (
        "kms:Encrypt", "DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z", {}, "Encrypt", {"Plaintext": b"x"}, None,
    ),
    "RequestedRegion": (
        "kms:Encrypt", "StringEquals", "aws:RequestedRegion", "us-east-1", {}, "Encrypt", {"Plaintext": b"x"}, None,
    ),
    "UserAgent": (
        "kms:Encrypt", "StringLike", "aws:UserAgent", "*Botocore*", {}, "Encrypt", {"Plaintext": b"x"}, None,
    ),
    "ViaAWSService": (
        "kms:Encrypt", "Bool", "aws:ViaAWSService", "true", {}, "Encrypt", None, {"Plaintext": b"x"},
    ),
    "ReEncryptOnSameKey": (
        "kms:ReEncrypt*", "Bool", "kms:ReEncryptOnSameKey", "true", {}, "ReEncrypt", "same key", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_condition_key(kms, guarded, case):
    action, operator, condition, values, of_key, operation, denied, allowed = CASES[case]
    key = guarded(action, operator, condition, values, **of_key)
    if denied == "same key":
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        with refused("AccessDeniedException", 400):
            kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key)
        kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
        return
    if denied is not None:
        with refused("AccessDeniedException", 400) as refusal:
            kms._make_api_call(operation, {"KeyId": key, **denied})
        assert "with an explicit deny" in refusal.message
    if allowed is not None:
        kms._make_api_call(operation, {"KeyId": key, **allowed})


def test_aliases(kms, guarded, bucket_names):
    by_alias = guarded("kms:Encrypt", "StringLike", "kms:RequestAlias", "alias/*-denied")
    alias = f"alias/{next(bucket_names)}"
    for name in (alias, alias + "-denied"):
        kms.create_alias(AliasName=name, TargetKeyId=by_alias)
    kms.encrypt(KeyId=by_alias, Plaintext=b"x")
    kms.encrypt(KeyId=alias, Plaintext=b"x")
    with refused("AccessDeniedException", 400):
        kms.encrypt(KeyId=alias + "-denied", Plaintext=b"x")
    named = guarded("kms:Encrypt", "ForAnyValue:StringEquals", "kms:ResourceAliases", [alias + "-secret"])
    kms.encrypt(KeyId=named, Plaintext=b"x")
    kms.create_alias(AliasName=alias + "-secret", TargetKeyId=named)
    with refused("AccessDeniedException", 400):
        kms.encrypt(KeyId=named, Plaintext=b"x")
    for name in (alias, alias + "-denied", alias + "-secret"):
        kms.delete_alias(AliasName=name)


def test_tags_of_the_key(kms, guarded):
    key = guarded("kms:Encrypt", "StringEquals", "aws:ResourceTag/Stage", "prod")
    kms.encrypt(KeyId=key, Plaintext=b"x")
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "Stage", "TagValue": "prod"}])
    with refused("AccessDeniedException", 400):
        kms.encrypt(KeyId=key, Plaintext=b"x")
    # Of tags whose keys differ in case alone, given one by one, all count.
    cased = [{"TagKey": "Stage", "TagValue": "dev"}, {"TagKey": "stage", "TagValue": "prod"}]
    key = guarded("kms:Encrypt", "StringEquals", "aws:ResourceTag/Stage", "prod")
    for tag in cased:
        kms.tag_resource(KeyId=key, Tags=[tag])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == cased
    with refused("AccessDeniedException", 400):
        kms.encrypt(KeyId=key, Plaintext=b"x")


def test_the_first_service_that_asks(server, s3, kms, bucket, guarded):
    """What S3 does on a client's behalf has the service's name, and no address of the client's."""
    for operator, condition, value in (
        ("StringEquals", "aws:CalledViaFirst", "s3.amazonaws.com"),
        ("Bool", "aws:ViaAWSService", "true"),
        ("NotIpAddress", "aws:SourceIp", "127.0.0.0/8"),
    ):
        key = guarded("kms:GenerateDataKey", operator, condition, value)
        kms.generate_data_key(KeyId=key, KeySpec="AES_256")
        with refused("AccessDenied", 403):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)


def test_over_plain_http(server, kms, guarded):
    """KMS itself takes plain HTTP where the operator opens it; a policy may forbid it."""
    if not server.http_url:
        pytest.skip("no plain HTTP endpoint")
    key = guarded("kms:Encrypt", "Bool", "aws:SecureTransport", "false")
    kms.encrypt(KeyId=key, Plaintext=b"x")
    plain = server.client("kms", endpoint_url=server.http_url, config=Config())
    with refused("AccessDeniedException", 400):
        plain.encrypt(KeyId=key, Plaintext=b"x")
