"""The KMS API: states, contexts, aliases, pages and the texts of its errors."""

import hashlib
import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from botocore.config import Config

from support.calls import refused
from support.data import content
from support.requests import Signer, send

UNKNOWN = "12345678-1234-1234-1234-123456789012"
CONTEXT = {"purpose": "test", "Owner": "me"}


@pytest.fixture
def prefix(shared_key):
    """`arn:aws:kms:REGION:ACCOUNT`."""
    return shared_key["Arn"].split(":key/")[0]


@pytest.fixture
def alias(kms, shared_key, bucket_names):
    name = f"alias/{next(bucket_names)}"
    kms.create_alias(AliasName=name, TargetKeyId=shared_key["KeyId"])
    yield name
    kms.delete_alias(AliasName=name)


@pytest.fixture(scope="session")
def lax_kms(server):
    """A client that sends what the model forbids."""
    return server.client("kms", config=Config(parameter_validation=False))


def call(server, operation, body, *, content_type="application/x-amz-json-1.1", signer=None, target=None):
    """A call by hand, signed as SDKs sign for KMS: without x-amz-content-sha256."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    signer = signer or Signer.of(server, service="kms")
    headers = {"content-type": content_type}
    if target != "":
        headers["x-amz-target"] = target or f"TrentService.{operation}"
    signed = {**headers, "host": server.host, "x-amz-date": signer.timestamp}
    canonical = signer.canonical_request("POST", "/", [], signed, hashlib.sha256(data).hexdigest())
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.access_key}/{signer.scope}, "
        f"SignedHeaders={';'.join(sorted(signed))}, Signature={signer.sign(signer.string_to_sign(canonical))}"
    )
    return send(server, "POST", "/", signed, data)


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_new_key(kms):
    metadata = kms.create_key(Description="mine")["KeyMetadata"]
    assert metadata["Arn"].endswith(f":key/{metadata['KeyId']}")
    assert metadata["AWSAccountId"] == metadata["Arn"].split(":")[4]
    assert abs(metadata["CreationDate"] - datetime.now(timezone.utc)) < timedelta(seconds=30)
    expected = {
        "Enabled": True,
        "Description": "mine",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
    }
    assert {name: metadata.get(name) for name in expected} == expected
    for name in (metadata["KeyId"], metadata["Arn"]):
        assert kms.describe_key(KeyId=name)["KeyMetadata"] == metadata


def test_states(kms, key):
    def state():
        return kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]

    kms.disable_key(KeyId=key["Arn"])
    kms.disable_key(KeyId=key["KeyId"])
    assert (state()["KeyState"], state()["Enabled"]) == ("Disabled", False)
    kms.enable_key(KeyId=key["KeyId"])
    assert (state()["KeyState"], state()["Enabled"]) == ("Enabled", True)
    answer = kms.schedule_key_deletion(KeyId=key["KeyId"])
    assert answer["KeyId"] == key["Arn"]
    assert answer["PendingWindowInDays"] == 30
    assert abs(answer["DeletionDate"] - datetime.now(timezone.utc) - timedelta(days=30)) < timedelta(minutes=1)
    assert state()["KeyState"] == "PendingDeletion"
    assert state()["DeletionDate"] == answer["DeletionDate"]
    text = f"{key['Arn']} is pending deletion."
    for change in (kms.enable_key, kms.disable_key, kms.schedule_key_deletion):
        with refused("KMSInvalidStateException", 400, text):
            change(KeyId=key["KeyId"])
    assert kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    assert state()["KeyState"] == "Disabled"
    assert "DeletionDate" not in state()
    with refused("KMSInvalidStateException", 400, f"{key['Arn']} is not pending deletion."):
        kms.cancel_key_deletion(KeyId=key["KeyId"])


def test_a_key_that_cannot_be_used(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]

    def uses():
        return (
            lambda: kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x"),
            lambda: kms.decrypt(CiphertextBlob=blob),
            lambda: kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256"),
            lambda: kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], KeySpec="AES_256"),
            lambda: kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key["KeyId"]),
        )

    kms.disable_key(KeyId=key["KeyId"])
    for use in uses():
        with refused("DisabledException", 400, f"{key['Arn']} is disabled."):
            use()
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    for use in uses():
        with refused("KMSInvalidStateException", 400, f"{key['Arn']} is pending deletion."):
            use()


@pytest.mark.parametrize("days", [6, 31])
def test_a_deletion_window_out_of_bounds(kms, shared_key, days):
    with refused("ValidationException", 400):
        kms.schedule_key_deletion(KeyId=shared_key["KeyId"], PendingWindowInDays=days)
    assert kms.describe_key(KeyId=shared_key["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled"


def test_kinds_of_key_that_are_not_offered(kms):
    text = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
    with refused("ValidationException", 400, text):
        kms.create_key(KeySpec="RSA_2048")
    with refused("UnsupportedOperationException", 400):
        kms.create_key(KeySpec="SM2", KeyUsage="SIGN_VERIFY")


def test_names_that_name_no_key(kms, prefix):
    texts = {
        "fake-key-id": "Invalid keyId 'fake-key-id'",
        UNKNOWN.replace("-", ""): f"Invalid keyId '{UNKNOWN.replace('-', '')}'",
        UNKNOWN: f"Key '{prefix}:key/{UNKNOWN}' does not exist",
        "mrk-fake-key-id": "Invalid keyId 'mrk-fake-key-id'",
        f"mrk-{UNKNOWN.replace('-', '')}": f"Key '{prefix}:key/mrk-{UNKNOWN.replace('-', '')}' does not exist",
        f"{prefix}:key/{UNKNOWN}": f"Key '{prefix}:key/{UNKNOWN}' does not exist",
        f"{prefix}:key/{UNKNOWN}".replace("us-east-1", "us-west-2"): "Invalid arn us-west-2",
        "alias/none": f"Alias {prefix}:alias/none is not found.",
        f"{prefix}:alias/none": f"Alias {prefix}:alias/none is not found.",
    }
    for name, message in texts.items():
        with refused("NotFoundException", 400, message):
            kms.describe_key(KeyId=name)
        with refused("NotFoundException", 400, message):
            kms.encrypt(KeyId=name, Plaintext=b"x")
        with refused("NotFoundException", 400, message):
            kms.generate_data_key(KeyId=name, KeySpec="AES_256")


def test_list_keys_in_pages(kms):
    made = {kms.create_key()["KeyMetadata"]["Arn"] for _ in range(3)}
    found, more = [], {}
    while True:
        page = kms.list_keys(Limit=2, **more)
        assert len(page["Keys"]) <= 2
        found += [entry["KeyArn"] for entry in page["Keys"]]
        if not page["Truncated"]:
            assert "NextMarker" not in page
            break
        more = {"Marker": page["NextMarker"]}
    assert made <= set(found)
    assert len(found) == len(set(found))
    with refused("InvalidMarkerException", 400):
        kms.list_keys(Marker="nonsense!")
    with refused("ValidationException", 400):
        kms.list_keys(Limit=1001)


# --- aliases ---------------------------------------------------------------------------------------------------------


def test_aliases(kms, prefix, shared_key, alias, key):
    listed = [entry for page in kms.get_paginator("list_aliases").paginate() for entry in page["Aliases"]]
    entry = next(entry for entry in listed if entry["AliasName"] == alias)
    assert entry["AliasArn"] == f"{prefix}:{alias}"
    assert entry["TargetKeyId"] == shared_key["KeyId"]
    assert entry["CreationDate"] and entry["LastUpdatedDate"]
    for name in (alias, entry["AliasArn"]):
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == shared_key["Arn"]
    of_key = kms.list_aliases(KeyId=shared_key["KeyId"])["Aliases"]
    assert alias in [entry["AliasName"] for entry in of_key]
    with refused("AlreadyExistsException", 400, f"An alias with the name {prefix}:{alias} already exists"):
        kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    blob = kms.encrypt(KeyId=alias, Plaintext=b"before")["CiphertextBlob"]
    kms.update_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"] == key["Arn"]
    assert kms.decrypt(CiphertextBlob=blob)["KeyId"] == shared_key["Arn"]


def test_alias_names_that_are_refused(kms, shared_key):
    text = (
        'Alias must start with the prefix "alias/". Please see '
        "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    )
    with refused("ValidationException", 400, text):
        kms.create_alias(AliasName="mine", TargetKeyId=shared_key["KeyId"])
    with refused("NotAuthorizedException", 400):
        kms.create_alias(AliasName="alias/aws/mine", TargetKeyId=shared_key["KeyId"])
    for name in ("alias/with space", "alias/" + "x" * 251):
        with refused("ValidationException", 400):
            kms.create_alias(AliasName=name, TargetKeyId=shared_key["KeyId"])


def test_aliases_that_are_not_there(kms, prefix, shared_key):
    text = f"Alias {prefix}:alias/none is not found."
    with refused("NotFoundException", 400, text):
        kms.delete_alias(AliasName="alias/none")
    with refused("NotFoundException", 400, text):
        kms.update_alias(AliasName="alias/none", TargetKeyId=shared_key["KeyId"])
    with refused("NotFoundException", 400):
        kms.create_alias(AliasName="alias/new", TargetKeyId=UNKNOWN)


# --- encryption ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 32, 4096])
def test_encrypt_and_decrypt(kms, shared_key, size):
    data = content(size)
    sealed = kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=data, EncryptionContext=CONTEXT)
    assert sealed["KeyId"] == shared_key["Arn"]
    assert sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    # A single byte is found in any ciphertext now and then.
    assert size < 16 or data not in sealed["CiphertextBlob"]
    assert len(sealed["CiphertextBlob"]) <= 6144
    again = kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=data, EncryptionContext=CONTEXT)
    assert again["CiphertextBlob"] != sealed["CiphertextBlob"]
    for named in ({}, {"KeyId": shared_key["KeyId"]}, {"KeyId": shared_key["Arn"]}):
        reordered = dict(reversed(CONTEXT.items()))
        opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=reordered, **named)
        assert opened["Plaintext"] == data
        assert opened["KeyId"] == shared_key["Arn"]
        assert opened["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"


def test_what_cannot_be_decrypted(kms, shared_key, key):
    blob = kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    for context in ({}, {"purpose": "test"}, CONTEXT | {"more": "x"}, {"Purpose": "test", "Owner": "me"}):
        with refused("InvalidCiphertextException", 400, ""):
            kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    unknown = (
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not "
        "allowed to access."
    )
    for position in range(0, len(blob), 7):
        bad = bytearray(blob)
        bad[position] ^= 1
        # Bytes 1 to 16 name the key.
        expected = ("AccessDeniedException", 400, unknown) if 1 <= position <= 16 else ("InvalidCiphertextException", 400, "")
        with refused(*expected):
            kms.decrypt(CiphertextBlob=bytes(bad), EncryptionContext=CONTEXT)
    for bad in (b"x", blob[:-1], blob + b"x", content(200)):
        with refused("InvalidCiphertextException", 400, ""):
            kms.decrypt(CiphertextBlob=bad, EncryptionContext=CONTEXT)
    text = "The key ID in the request does not identify a CMK that can perform this operation."
    with refused("IncorrectKeyException", 400, text):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, KeyId=key["KeyId"])


def test_plaintext_that_is_too_long(kms, shared_key):
    text = (
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less "
        "than or equal to 4096"
    )
    with refused("ValidationException", 400, text):
        kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=b"x" * 4097)


def test_data_keys(kms, shared_key):
    for arguments, length in (({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 77}, 77)):
        made = kms.generate_data_key(KeyId=shared_key["KeyId"], EncryptionContext=CONTEXT, **arguments)
        assert len(made["Plaintext"]) == length
        assert made["KeyId"] == shared_key["Arn"]
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert opened["Plaintext"] == made["Plaintext"]
        sealed = kms.generate_data_key_without_plaintext(
            KeyId=shared_key["KeyId"], EncryptionContext=CONTEXT, **arguments
        )
        assert "Plaintext" not in sealed
        opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert len(opened["Plaintext"]) == length


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"KeySpec": "AES_256", "NumberOfBytes": 32},
        {"NumberOfBytes": 0},
        {"NumberOfBytes": 1025},
        {"KeySpec": "AES"},
    ],
)
def test_data_keys_that_are_refused(lax_kms, shared_key, arguments):
    with refused("ValidationException", 400):
        lax_kms.generate_data_key(KeyId=shared_key["KeyId"], **arguments)


def test_re_encrypt(kms, shared_key, key):
    blob = kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
    answer = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=key["KeyId"],
        DestinationEncryptionContext={"new": "context"},
    )
    assert answer["SourceKeyId"] == shared_key["Arn"]
    assert answer["KeyId"] == key["Arn"]
    opened = kms.decrypt(CiphertextBlob=answer["CiphertextBlob"], EncryptionContext={"new": "context"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"secret", key["Arn"])
    with refused("InvalidCiphertextException", 400, ""):
        kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key["KeyId"])
    with refused("IncorrectKeyException", 400):
        kms.re_encrypt(
            CiphertextBlob=blob,
            SourceEncryptionContext=CONTEXT,
            SourceKeyId=key["KeyId"],
            DestinationKeyId=key["KeyId"],
        )


def test_dry_run(kms, shared_key):
    text = "The request would have succeeded, but the DryRun option is set."
    blob = kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    for dry in (
        lambda: kms.encrypt(KeyId=shared_key["KeyId"], Plaintext=b"x", DryRun=True),
        lambda: kms.decrypt(CiphertextBlob=blob, DryRun=True),
        lambda: kms.generate_data_key(KeyId=shared_key["KeyId"], KeySpec="AES_256", DryRun=True),
        lambda: kms.generate_data_key_without_plaintext(KeyId=shared_key["KeyId"], KeySpec="AES_256", DryRun=True),
        lambda: kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=shared_key["KeyId"], DryRun=True),
    ):
        with refused("DryRunOperationException", 400, text):
            dry()
    with refused("NotFoundException", 400):
        kms.encrypt(KeyId=UNKNOWN, Plaintext=b"x", DryRun=True)


def test_generate_random(kms, lax_kms):
    draws = {kms.generate_random(NumberOfBytes=1024)["Plaintext"] for _ in range(3)}
    assert len(draws) == 3
    assert all(len(draw) == 1024 for draw in draws)
    with refused("ValidationException", 400, "NumberOfBytes is required."):
        kms.generate_random()
    for number, bound in ((0, "greater than or equal to 1"), (1025, "less than or equal to 1024")):
        text = (
            f"1 validation error detected: Value '{number}' at 'numberOfBytes' failed to satisfy constraint: Member "
            f"must have value {bound}"
        )
        with refused("ValidationException", 400, text):
            lax_kms.generate_random(NumberOfBytes=number)


def test_keys_survive_a_kill(fresh_server):
    kms = fresh_server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/durable", TargetKeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=other)
    fresh_server.kill()
    kms = fresh_server.start().client("kms")
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    assert kms.describe_key(KeyId="alias/durable")["KeyMetadata"]["KeyId"] == key
    assert kms.describe_key(KeyId=other)["KeyMetadata"]["KeyState"] == "Disabled"


# --- the wire --------------------------------------------------------------------------------------------------------


def test_the_form_of_answers(server):
    answer = call(server, "ListKeys", {"Limit": 1})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert uuid.UUID(answer.headers["x-amzn-RequestId"]).version == 4
    assert not {"x-amz-request-id", "x-amz-id-2"} & {name.lower() for name in answer.headers}
    assert "Keys" in json.loads(answer.body)
    answer = call(server, "DescribeKey", {"KeyId": "fake-key-id"})
    assert answer.status == 400
    error = json.loads(answer.body)
    assert error["__type"].endswith("NotFoundException")
    assert error["message"] == "Invalid keyId 'fake-key-id'"


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"KeyId": 7}', b'{"KeyId": "a"', b"\xff"])
def test_bodies_that_are_no_request(server, body):
    answer = call(server, "DescribeKey", body)
    assert answer.status == 400
    assert json.loads(answer.body)["__type"].split("#")[-1] in ("SerializationException", "ValidationException")


def test_operations_that_are_not_known(server):
    for target in ("TrentService.MakeCoffee", ""):  # the latter: no such header
        answer = call(server, None, {}, target=target)
        assert answer.status == 400
        assert json.loads(answer.body)["__type"].endswith("UnknownOperationException")


def test_signatures(server):
    wrong = Signer.of(server, service="kms")
    wrong.secret_key += "x"
    answer = call(server, "ListKeys", {}, signer=wrong)
    assert answer.status == 400
    assert json.loads(answer.body)["__type"].endswith("InvalidSignatureException")
    unknown = Signer.of(server, service="kms")
    unknown.access_key = "AKIAUNKNOWNUNKNOWN00"
    answer = call(server, "ListKeys", {}, signer=unknown)
    assert answer.status == 400
    error = json.loads(answer.body)
    assert error["__type"].endswith("UnrecognizedClientException")
    assert error["message"] == "The security token included in the request is invalid."
    old = Signer.of(server, service="kms", when=datetime.now(timezone.utc) - timedelta(hours=1))
    answer = call(server, "ListKeys", {}, signer=old)
    assert json.loads(answer.body)["__type"].endswith("InvalidSignatureException")
    elsewhere = call(server, "ListKeys", {}, signer=Signer.of(server, service="s3"))
    assert elsewhere.status == 400
    anonymous = send(server, "POST", "/", {"host": server.host, "x-amz-target": "TrentService.ListKeys"}, b"{}")
    assert anonymous.status == 400
    assert json.loads(anonymous.body)["__type"].endswith("MissingAuthenticationTokenException")


def test_the_body_is_signed(server):
    """A body that is not the one that was signed is refused."""
    signer = Signer.of(server, service="kms")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "TrentService.CreateKey",
        "host": server.host,
        "x-amz-date": signer.timestamp,
    }
    canonical = signer.canonical_request("POST", "/", [], headers, hashlib.sha256(b"{}").hexdigest())
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.access_key}/{signer.scope}, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={signer.sign(signer.string_to_sign(canonical))}"
    )
    answer = send(server, "POST", "/", headers, b'{"Description":"forged"}')
    assert answer.status == 400
    assert json.loads(answer.body)["__type"].endswith("InvalidSignatureException")
