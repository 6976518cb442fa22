"""What KMS answers to requests that are wrong in some way, and what it tells of first, as recorded on AWS (floci's tests of KMS)."""

import pytest
from botocore.config import Config

from support.calls import refused

BROKEN = "failed to satisfy constraint: Member must"


@pytest.fixture(scope="module")
def lax(server):
    return server.client("kms", config=Config(parameter_validation=False))


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
