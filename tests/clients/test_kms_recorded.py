"""What KMS answers to requests that are wrong in some way, and what it tells of first, as recorded on AWS (floci's tests of KMS)."""

import json

import pytest
from botocore.config import Config

from support.calls import refused

BROKEN = "failed to satisfy constraint: Member must"
ALGORITHMS = {"Sign": "RSASSA_PSS_SHA_256", "Encrypt": "RSAES_OAEP_SHA_256"}


@pytest.fixture(scope="module")
def lax(server):
    return server.client("kms", config=Config(parameter_validation=False))


@pytest.fixture
def make(kms):
    def make(spec, usage, **members):
        return kms.create_key(KeySpec=spec, KeyUsage=usage, **members)["KeyMetadata"]["Arn"]

    return make


def test_all_that_members_break_is_told_at_once(lax):
    lengths = f"Value '' at 'keyId' {BROKEN} have length greater than or equal to 1"
    pattern = rf"Value '' at 'keyId' {BROKEN} satisfy regular expression pattern: ^\p{{ASCII}}+$"
    with refused("ValidationException", 400, f"2 validation errors detected: {lengths}; {pattern}"):
        lax.get_public_key(KeyId="")
    pattern = rf"Value 'キー' at 'keyId' {BROKEN} satisfy regular expression pattern: ^\p{{ASCII}}+$"
    with refused("ValidationException", 400, f"1 validation error detected: {pattern}"):
        lax.describe_key(KeyId="キー")
    nothing = f"Value at 'message' {BROKEN} not be null"
    with refused("ValidationException", 400, f"1 validation error detected: {nothing}"):
        lax.generate_mac(KeyId="x", MacAlgorithm="HMAC_SHA_256")


def test_specs_of_data_keys(lax):
    """Those that are named are those of KMS keys. (boto/boto3 issue 3428.)"""
    for operation in (lax.generate_data_key, lax.generate_data_key_without_plaintext):
        with refused("ValidationException", 400) as refusal:
            operation(KeyId="x", KeySpec="AES-256")
        assert "Member must satisfy enum value set: [RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, " in refusal.message


def test_what_a_key_is_for_is_told_before_its_state(kms, make):
    for spec, usage, operation in (("HMAC_256", "GENERATE_VERIFY_MAC", "Sign"), ("RSA_2048", "SIGN_VERIFY", "Encrypt")):
        arn = make(spec, usage)
        text = f"{arn} key usage is {usage} which is not valid for {operation}."
        use = {"Sign": lambda: kms.sign(KeyId=arn, Message=b"m", SigningAlgorithm=ALGORITHMS["Sign"])}
        use["Encrypt"] = lambda: kms.encrypt(KeyId=arn, Plaintext=b"m", EncryptionAlgorithm=ALGORITHMS["Encrypt"])
        for change in (lambda: kms.disable_key(KeyId=arn), lambda: kms.schedule_key_deletion(KeyId=arn)):
            change()
            with refused("InvalidKeyUsageException", 400, text):
                use[operation]()


def test_public_keys_and_states(kms, make):
    pair, mac = make("ECC_NIST_P256", "SIGN_VERIFY"), make("HMAC_256", "GENERATE_VERIFY_MAC")
    kms.disable_key(KeyId=pair)
    assert kms.get_public_key(KeyId=pair)["KeyId"] == pair
    for arn in (pair, mac):
        kms.schedule_key_deletion(KeyId=arn)
        with refused("KMSInvalidStateException", 400, f"{arn} is pending deletion."):
            kms.get_public_key(KeyId=arn)
    waiting = make("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", Origin="EXTERNAL")
    with refused("KMSInvalidStateException", 400, f"{waiting} is pending import."):
        kms.get_public_key(KeyId=waiting)


def test_rotation_of_keys_that_do_not_rotate(kms, make):
    arn = make("HMAC_256", "GENERATE_VERIFY_MAC")
    kms.disable_key_rotation(KeyId=arn)
    kms.disable_key(KeyId=arn)
    operations = (kms.enable_key_rotation, kms.disable_key_rotation, kms.rotate_key_on_demand)
    for operation in operations:
        with refused("DisabledException", 400, f"{arn} is disabled."):
            operation(KeyId=arn)
    kms.schedule_key_deletion(KeyId=arn)
    for operation in operations:
        with refused("KMSInvalidStateException", 400, f"{arn} is pending deletion."):
            operation(KeyId=arn)


def test_what_is_no_ciphertext_of_the_key(kms, make):
    arn = make("RSA_2048", "ENCRYPT_DECRYPT")
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionAlgorithm=ALGORITHMS["Encrypt"])["CiphertextBlob"]
    with refused("InvalidCiphertextException", 400, "") as refusal:
        kms.decrypt(KeyId=arn, CiphertextBlob=blob)
    assert "message" not in refusal.response, json.dumps(refusal.response, default=str)


def test_names_that_are_no_keys(kms, make):
    arn = make("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    with refused("NotFoundException", 400, "Invalid keyId foo"):
        kms.describe_key(KeyId=arn.rsplit("/", 1)[0] + "/foo")
    for alias in ("alias/none", arn.rsplit(":", 1)[0] + ":alias/none"):
        with refused("InvalidArnException", 400, "Key Aliases are not supported for this operation."):
            kms.get_key_policy(KeyId=alias)
