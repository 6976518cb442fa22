"""The model of KMS that botocore carries, as an oracle: every operation is served, or refused as is said here, and each takes
the members that the model gives it."""

import base64
import functools

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.calls import refused
from support.server import Endpoint

# Operations that a single-Region key service without hardware refuses, and how.
REFUSED = {
    "ConnectCustomKeyStore": "CustomKeyStoreNotFoundException",
    "CreateCustomKeyStore": "UnsupportedOperationException",
    "DeleteCustomKeyStore": "CustomKeyStoreNotFoundException",
    "DisconnectCustomKeyStore": "CustomKeyStoreNotFoundException",
    "ReplicateKey": "UnsupportedOperationException",
    "UpdateCustomKeyStore": "CustomKeyStoreNotFoundException",
    "UpdatePrimaryRegion": "UnsupportedOperationException",
}
ROLE = "arn:aws:iam::111122223333:role/worker"
DRY = "DryRunOperationException"
DRY_TEXT = "The request would have succeeded, but the DryRun option is set."


@functools.cache
def model():
    return Endpoint("http://127.0.0.1:1", "x", "x").client("kms").meta.service_model


def operations(member=None):
    """The operations of the model, of those with the member if one is given."""
    every = map(model().operation_model, sorted(model().operation_names))
    return [one.name for one in every if member is None or (one.input_shape and member in one.input_shape.members)]


@pytest.fixture(scope="module")
def world(server, bucket_names):
    """Keys of each kind, and the members with which every operation succeeds."""
    kms = server.client("kms")
    make = lambda **members: kms.create_key(**members)["KeyMetadata"]["KeyId"]  # noqa: E731
    key = make()
    mac = make(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    signer = make(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    agreeing = make(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
    kem = {"KeyId": make(KeySpec="ML_KEM_768", KeyUsage="ENCAPSULATE_DECAPSULATE"), "EncapsulationAlgorithm": "ML_KEM"}
    external = make(Origin="EXTERNAL")
    waiting = make()
    kms.schedule_key_deletion(KeyId=waiting, PendingWindowInDays=7)
    alias = f"alias/{next(bucket_names)}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    sign = {"KeyId": signer, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    tag = {"KeyId": mac, "Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
    blob = kms.encrypt(KeyId=key, Plaintext=b"p")["CiphertextBlob"]
    grant = {"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Decrypt"]}
    grants = [kms.create_grant(**grant) for _ in range(3)]
    return kms, grants[2]["GrantToken"], {
        "CancelKeyDeletion": {"KeyId": waiting},
        "ConnectCustomKeyStore": {"CustomKeyStoreId": "cks-1"},
        "CreateAlias": {"AliasName": alias + "-2", "TargetKeyId": key},
        "CreateCustomKeyStore": {"CustomKeyStoreName": "s"},
        "CreateGrant": grant,
        "CreateKey": {},
        "Decapsulate": {**kem, "SharedSecretCiphertextBlob": kms.encapsulate(**kem)["SharedSecretCiphertextBlob"]},
        "Decrypt": {"CiphertextBlob": blob},
        "DeleteAlias": {"AliasName": alias},
        "DeleteCustomKeyStore": {"CustomKeyStoreId": "cks-1"},
        "DeleteImportedKeyMaterial": {"KeyId": external},
        "DeriveSharedSecret": {
            "KeyId": agreeing,
            "KeyAgreementAlgorithm": "ECDH",
            "PublicKey": kms.get_public_key(KeyId=agreeing)["PublicKey"],
        },
        "DescribeCustomKeyStores": {},
        "DescribeKey": {"KeyId": key},
        "DisableKey": {"KeyId": external},
        "DisableKeyRotation": {"KeyId": key},
        "DisconnectCustomKeyStore": {"CustomKeyStoreId": "cks-1"},
        "EnableKey": {"KeyId": key},
        "EnableKeyRotation": {"KeyId": key},
        "Encapsulate": kem,
        "Encrypt": {"KeyId": key, "Plaintext": b"p"},
        "GenerateDataKey": {"KeyId": key, "KeySpec": "AES_256"},
        "GenerateDataKeyPair": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
        "GenerateDataKeyPairWithoutPlaintext": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
        "GenerateDataKeyWithoutPlaintext": {"KeyId": key, "KeySpec": "AES_128"},
        "GenerateMac": tag,
        "GenerateRandom": {"NumberOfBytes": 8},
        "GetKeyLastUsage": {"KeyId": key},
        "GetKeyPolicy": {"KeyId": key},
        "GetKeyRotationStatus": {"KeyId": key},
        "GetParametersForImport": {
            "KeyId": external,
            "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
            "WrappingKeySpec": "RSA_2048",
        },
        "GetPublicKey": {"KeyId": signer},
        "ImportKeyMaterial": {"KeyId": external, "ImportToken": b"x", "EncryptedKeyMaterial": b"x", "ValidTo": 1_900_000_000},
        "ListAliases": {},
        "ListGrants": {"KeyId": key},
        "ListKeyPolicies": {"KeyId": key},
        "ListKeyRotations": {"KeyId": key},
        "ListKeys": {"ResourceOwners": ["SELF"]},
        "ListResourceTags": {"KeyId": key},
        "ListRetirableGrants": {"RetiringPrincipal": f"arn:aws:iam::{_account(kms, key)}:role/keeper"},
        "PutKeyPolicy": {"KeyId": key, "Policy": kms.get_key_policy(KeyId=key)["Policy"]},
        "ReEncrypt": {"CiphertextBlob": blob, "DestinationKeyId": key},
        "ReplicateKey": {"KeyId": key, "ReplicaRegion": "us-west-2"},
        "RetireGrant": {"GrantToken": grants[0]["GrantToken"]},
        "RevokeGrant": {"KeyId": key, "GrantId": grants[1]["GrantId"]},
        "RotateKeyOnDemand": {"KeyId": key},
        "ScheduleKeyDeletion": {"KeyId": make(), "PendingWindowInDays": 7},
        "Sign": sign,
        "TagResource": {"KeyId": key, "Tags": [{"TagKey": "k", "TagValue": "v"}]},
        "UntagResource": {"KeyId": key, "TagKeys": ["k"]},
        "UpdateAlias": {"AliasName": alias, "TargetKeyId": key},
        "UpdateCustomKeyStore": {"CustomKeyStoreId": "cks-1"},
        "UpdateKeyDescription": {"KeyId": key, "Description": "d"},
        "UpdatePrimaryRegion": {"KeyId": key, "PrimaryRegion": "us-west-2"},
        "Verify": {**sign, "Signature": kms.sign(**sign)["Signature"]},
        "VerifyMac": {**tag, "Mac": kms.generate_mac(**tag)["Mac"]},
    }


def _account(kms, key):
    return kms.describe_key(KeyId=key)["KeyMetadata"]["AWSAccountId"]


# What succeeds with the members above only after a step that they cannot take.
NOT_YET = {
    "DisableKey": ("KMSInvalidStateException", "is pending import."),
    "ImportKeyMaterial": ("ValidationException", "The validTo date"),
}


def test_no_operation_is_forgotten(world):
    assert set(world[2]) == set(operations())


@pytest.mark.xdist_group("kms-model")
@pytest.mark.parametrize("name", operations("DryRun"))
def test_a_dry_run_does_nothing(world, name):
    kms, _, members = world
    expected = (REFUSED[name], None) if name in REFUSED else (DRY, DRY_TEXT)
    with refused(expected[0], 400, expected[1]):
        kms._make_api_call(name, {**members[name], "DryRun": True})


@pytest.mark.parametrize("name", ["Decrypt", "ReEncrypt"])
def test_a_dry_run_needs_no_ciphertext(world, name):
    kms, _, members = world
    key = {"Decrypt": "KeyId", "ReEncrypt": "SourceKeyId"}[name]
    members = {k: v for k, v in members[name].items() if k != "CiphertextBlob"}
    ask = {**members, "DryRun": True, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}
    named = world[2]["Encrypt"]["KeyId"]
    with refused(DRY, 400, DRY_TEXT):
        kms._make_api_call(name, {**ask, key: named})
    with refused("ValidationException", 400):
        kms._make_api_call(name, ask)
    with refused("NotFoundException", 400):
        kms._make_api_call(name, {**ask, key: "12345678-1234-1234-1234-123456789012"})
    with refused("ValidationException", 400):
        kms._make_api_call(name, {**members, key: named, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]})


@pytest.mark.parametrize("name", operations("GrantTokens"))
def test_grant_tokens_are_taken_and_wrong_ones_refused(world, name):
    kms, token, members = world
    if name in REFUSED:
        pytest.skip("the operation is refused")
    kms._make_api_call(name, {**members[name], "GrantTokens": [token, token]})
    for wrong in ("x", base64.urlsafe_b64encode(bytes(65)).decode().rstrip("=")):
        with refused("InvalidGrantTokenException", 400):
            kms._make_api_call(name, {**members[name], "GrantTokens": [token, wrong]})
    with refused("ValidationException", 400):
        kms._make_api_call(name, {**members[name], "GrantTokens": [token] * 11})


@pytest.mark.parametrize("name", operations("Marker"))
def test_limits_and_markers(world, server, name):
    _, _, members = world
    lax = server.client("kms", config=Config(parameter_validation=False))
    for limit in (0, 1001):
        with refused("ValidationException", 400):
            lax._make_api_call(name, {**members[name], "Limit": limit})
    lax._make_api_call(name, {**members[name], "Limit": 1})
    with refused("InvalidMarkerException", 400):
        lax._make_api_call(name, {**members[name], "Marker": "///"})


def _takes_aliases(name, member="KeyId"):
    """Whether the model says so. GenerateMac and VerifyMac take them, as every use of a key does, and do not say."""
    text = model().operation_model(name).input_shape.members[member].documentation
    return "lias name:" in text or name in ("GenerateMac", "VerifyMac")


@pytest.mark.parametrize("name", [name for name in operations("KeyId") if name not in ("ListAliases", "RetireGrant")])
def test_aliases_name_keys_where_the_model_says_so(world, bucket_names, name):
    kms, _, members = world
    if name in REFUSED:
        pytest.skip("the operation is refused")
    key = members[name].get("KeyId") if name != "CancelKeyDeletion" else None
    key = key or members["Encrypt"]["KeyId"]
    alias = f"alias/{next(bucket_names)}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    try:
        arn = f"arn:aws:kms:us-east-1:{_account(kms, key)}:{alias}"
        for form in (alias, arn):
            if _takes_aliases(name):
                kms._make_api_call(name, {**members[name], "KeyId": form})
            else:
                with refused("InvalidArnException", 400, "Key Aliases are not supported for this operation."):
                    kms._make_api_call(name, {**members[name], "KeyId": form})
    finally:
        kms.delete_alias(AliasName=alias)


def test_every_operation_is_served_or_refused_as_listed(world):
    """In one go: some undo what others did."""
    kms, _, members = world
    order = sorted(members, key=lambda name: (name in ("UntagResource", "DisableKeyRotation", "DeleteAlias"), name))
    for name in order:
        try:
            answer = kms._make_api_call(name, members[name])
        except ClientError as error:
            code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if name in NOT_YET:
                assert (code, NOT_YET[name][1] in text) == (NOT_YET[name][0], True), (name, code, text)
            else:
                assert code == REFUSED.get(name), (name, code, text)
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
            continue
        assert name not in REFUSED and name not in NOT_YET, name
        shape = model().operation_model(name).output_shape
        for required in shape.required_members if shape else []:
            assert required in answer, (name, required)


def test_the_least_that_an_operation_takes(server):
    """Without its required members every operation says which are missing, all of them."""
    lax = server.client("kms", config=Config(parameter_validation=False))
    for name in operations():
        shape = model().operation_model(name).input_shape
        if not (shape and shape.required_members) or name == "CreateCustomKeyStore":
            continue
        with refused("ValidationException", 400) as refusal:
            lax._make_api_call(name, {})
        count = len(shape.required_members)
        said = "1 validation error" if count == 1 else f"{count} validation errors"
        assert refusal.message.startswith(f"{said} detected: Value"), (name, refusal.message)
        assert refusal.message.count("Member must not be null") == count, (name, refusal.message)
        for member in shape.required_members:
            assert f"at '{member[0].lower()}{member[1:]}' failed" in refusal.message, (name, refusal.message)
