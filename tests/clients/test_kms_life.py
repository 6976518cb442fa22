"""A KMS key's life: rotation, tags, imported material, grants, last uses; pages and refusals."""

import json
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest
from botocore.config import Config

from support.calls import refused
from support.data import content

ROLE = "arn:aws:iam::111122223333:role/worker"


def test_rotation(server, kms, key):
    name = {"KeyId": key["KeyId"]}
    assert kms.get_key_rotation_status(**name)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(**name)
    status = kms.get_key_rotation_status(**name)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 365)
    expected = datetime.now(timezone.utc) + timedelta(days=365)
    assert abs(status["NextRotationDate"] - expected) < timedelta(minutes=1)
    kms.enable_key_rotation(**name, RotationPeriodInDays=90)
    assert kms.get_key_rotation_status(**name)["RotationPeriodInDays"] == 90
    lax = server.client("kms", config=Config(parameter_validation=False))
    for days, bound in ((89, "greater than or equal to 90"), (2561, "less than or equal to 2560")):
        with refused("ValidationException", 400) as refusal:
            lax.enable_key_rotation(**name, RotationPeriodInDays=days)
        assert f"Value '{days}' at 'rotationPeriodInDays'" in refusal.message
        assert refusal.message.endswith(f"Member must have value {bound}")
    kms.disable_key_rotation(**name)
    assert kms.get_key_rotation_status(**name)["KeyRotationEnabled"] is False


def test_rotation_on_demand(kms, key):
    name = {"KeyId": key["KeyId"]}
    first = kms.describe_key(**name)["KeyMetadata"]["CurrentKeyMaterialId"]
    old = kms.encrypt(**name, Plaintext=b"old")["CiphertextBlob"]
    for _ in range(3):
        assert kms.rotate_key_on_demand(**name)["KeyId"] == key["Arn"]
    current = kms.describe_key(**name)["KeyMetadata"]["CurrentKeyMaterialId"]
    opened = kms.decrypt(CiphertextBlob=old)
    assert (opened["Plaintext"], opened["KeyMaterialId"]) == (b"old", first)
    new = kms.encrypt(**name, Plaintext=b"new")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=new)["KeyMaterialId"] == current
    rotations = kms.list_key_rotations(**name)["Rotations"]
    assert [entry["RotationType"] for entry in rotations] == ["ON_DEMAND"] * 3
    assert rotations[-1]["KeyMaterialId"] == current
    assert all(entry["KeyId"] == key["KeyId"] and entry["RotationDate"] for entry in rotations)
    paginator = kms.get_paginator("list_key_rotations")
    pages = paginator.paginate(**name, IncludeKeyMaterial="ALL_KEY_MATERIAL", PaginationConfig={"PageSize": 3})
    found = [entry for page in pages for entry in page["Rotations"]]
    assert [entry["KeyMaterialState"] for entry in found] == ["NON_CURRENT"] * 3 + ["CURRENT"]
    assert (found[0]["KeyMaterialId"], "RotationDate" in found[0]) == (first, False)
    with refused("InvalidMarkerException", 400):
        kms.list_key_rotations(**name, Marker="nonsense")
    kms.disable_key(**name)
    with refused("DisabledException", 400, f"{key['Arn']} is disabled."):
        kms.rotate_key_on_demand(**name)


def test_asymmetric_keys_do_not_rotate(kms):
    name = {"KeyId": kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]}
    for operation in (kms.enable_key_rotation, kms.get_key_rotation_status, kms.rotate_key_on_demand):
        with refused("UnsupportedOperationException", 400, ""):
            operation(**name)


def test_tags_and_description(kms, key):
    name = {"KeyId": key["KeyId"]}
    kms.tag_resource(**name, Tags=[{"TagKey": f"k{n}", "TagValue": str(n)} for n in range(5)])
    kms.tag_resource(**name, Tags=[{"TagKey": "k1", "TagValue": "changed"}, {"TagKey": "empty", "TagValue": ""}])
    kms.untag_resource(**name, TagKeys=["k0", "missing"])
    pages = kms.get_paginator("list_resource_tags").paginate(**name, PaginationConfig={"PageSize": 2})
    tags = {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}
    assert tags == {"k1": "changed", "k2": "2", "k3": "3", "k4": "4", "empty": ""}
    with refused("TagException", 400, "Tags beginning with aws: are reserved"):
        kms.tag_resource(**name, Tags=[{"TagKey": "aws:x", "TagValue": ""}])
    with refused("TagException", 400, "Too many tags"):
        kms.tag_resource(**name, Tags=[{"TagKey": f"m{n}", "TagValue": ""} for n in range(46)])
    kms.update_key_description(**name, Description="another")
    assert kms.describe_key(**name)["KeyMetadata"]["Description"] == "another"
    kms.schedule_key_deletion(**name, PendingWindowInDays=7)
    text = f"{key['Arn']} is pending deletion."
    for operation, members in (
        (kms.tag_resource, {"Tags": [{"TagKey": "x", "TagValue": ""}]}),
        (kms.untag_resource, {"TagKeys": ["k1"]}),
        (kms.update_key_description, {"Description": ""}),
        (kms.rotate_key_on_demand, {}),
        (kms.create_grant, {"GranteePrincipal": ROLE, "Operations": ["Decrypt"]}),
    ):
        with refused("KMSInvalidStateException", 400, text):
            operation(**name, **members)


# --- imported material -------------------------------------------------------------------------------------------------


@pytest.fixture
def external(kms):
    return kms.create_key(Origin="EXTERNAL")["KeyMetadata"]


@pytest.fixture
def wrap(kms, tmp_path):
    """The members of ImportKeyMaterial that carry `material`, wrapped by openssl."""

    def wrap(key, material):
        parameters = kms.get_parameters_for_import(
            KeyId=key["KeyId"], WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
        )
        assert parameters["KeyId"] == key["Arn"]
        expected = datetime.now(timezone.utc) + timedelta(days=1)
        assert abs(parameters["ParametersValidTo"] - expected) < timedelta(minutes=1)
        (tmp_path / "key").write_bytes(parameters["PublicKey"])
        (tmp_path / "plain").write_bytes(material)
        command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "key", "-in", "plain"]
        command += ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]
        sealed = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout
        return {"KeyId": key["KeyId"], "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": sealed}

    return wrap


FOR_EVER = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}


def test_import(kms, external, wrap):
    name = {"KeyId": external["KeyId"]}
    assert (external["KeyState"], external["Origin"]) == ("PendingImport", "EXTERNAL")
    with refused("KMSInvalidStateException", 400, f"{external['Arn']} is pending import."):
        kms.encrypt(**name, Plaintext=b"x")
    material = content(32)
    answer = kms.import_key_material(**wrap(external, material), **FOR_EVER)
    assert answer["KeyId"] == external["Arn"]
    metadata = kms.describe_key(**name)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["ExpirationModel"]) == ("Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    assert metadata["CurrentKeyMaterialId"] == answer["KeyMaterialId"]
    blob = kms.encrypt(**name, Plaintext=b"secret")["CiphertextBlob"]
    deleted = kms.delete_imported_key_material(**name)
    assert deleted["KeyMaterialId"] == answer["KeyMaterialId"]
    with refused("KMSInvalidStateException", 400, f"{external['Arn']} is pending import."):
        kms.decrypt(CiphertextBlob=blob)
    with refused("IncorrectKeyMaterialException", 400):
        kms.import_key_material(**wrap(external, content(32, seed=9)), **FOR_EVER)
    end = datetime.now(timezone.utc) + timedelta(days=3)
    kms.import_key_material(**wrap(external, material), ValidTo=end, ExpirationModel="KEY_MATERIAL_EXPIRES")
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"
    metadata = kms.describe_key(**name)["KeyMetadata"]
    assert metadata["ExpirationModel"] == "KEY_MATERIAL_EXPIRES"
    assert abs(metadata["ValidTo"] - end) < timedelta(seconds=1)


def test_imported_material_rotates_to_what_was_imported_for_it(kms, external, wrap):
    name = {"KeyId": external["KeyId"]}
    kms.import_key_material(**wrap(external, content(32)), **FOR_EVER, KeyMaterialDescription="first one")
    text = f"No available key material pending rotation for the key: {external['Arn']}."
    with refused("KMSInvalidStateException", 400, text):
        kms.rotate_key_on_demand(**name)
    text = f"{external['Arn']} origin is EXTERNAL which is not valid for this operation."
    with refused("UnsupportedOperationException", 400, text):
        kms.enable_key_rotation(**name)
    old = kms.encrypt(**name, Plaintext=b"old")["CiphertextBlob"]
    new = kms.import_key_material(
        **wrap(external, content(32, seed=5)), **FOR_EVER, ImportType="NEW_KEY_MATERIAL"
    )["KeyMaterialId"]

    def states():
        listed = kms.list_key_rotations(**name, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
        return [(entry["KeyMaterialState"], entry["ImportState"]) for entry in listed]

    assert states() == [("CURRENT", "IMPORTED"), ("PENDING_ROTATION", "IMPORTED")]
    kms.rotate_key_on_demand(**name)
    assert states() == [("NON_CURRENT", "IMPORTED"), ("CURRENT", "IMPORTED")]
    assert kms.describe_key(**name)["KeyMetadata"]["CurrentKeyMaterialId"] == new
    assert kms.decrypt(CiphertextBlob=old)["Plaintext"] == b"old"


def test_imports_that_are_refused(kms, key, external, wrap):
    good = wrap(external, content(32))
    text = f"{key['Arn']} origin is AWS_KMS which is not valid for this operation."
    with refused("UnsupportedOperationException", 400, text):
        kms.import_key_material(**(good | {"KeyId": key["KeyId"]}), **FOR_EVER)
    with refused("UnsupportedOperationException", 400, text):
        wrap(key, content(32))
    with refused("ValidationException", 400, "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"):
        kms.import_key_material(**good)
    with refused("InvalidImportTokenException", 400):
        kms.import_key_material(**(good | {"ImportToken": good["ImportToken"][:-1]}), **FOR_EVER)
    with refused("InvalidCiphertextException", 400):
        kms.import_key_material(**(good | {"EncryptedKeyMaterial": bytes(256)}), **FOR_EVER)
    with refused("IncorrectKeyMaterialException", 400):
        kms.import_key_material(**wrap(external, content(31)), **FOR_EVER)
    with refused("UnsupportedOperationException", 400):
        kms.get_parameters_for_import(
            KeyId=external["KeyId"], WrappingAlgorithm="RSAES_PKCS1_V1_5", WrappingKeySpec="RSA_2048"
        )


# --- grants ------------------------------------------------------------------------------------------------------------


def test_grants(server, kms, key):
    name = {"KeyId": key["KeyId"]}
    keeper = server.client("iam").create_user(UserName=key["KeyId"])["User"]["Arn"]
    terms = {
        "GranteePrincipal": ROLE,
        "RetiringPrincipal": keeper,
        "Operations": ["Decrypt", "Encrypt"],
        "Constraints": {"EncryptionContextSubset": {"team": "red"}},
        "Name": "mine",
    }
    made = kms.create_grant(**name, **terms)
    assert len(made["GrantId"]) == 64
    again = kms.create_grant(**name, **terms)
    assert (again["GrantId"], again["GrantToken"] != made["GrantToken"]) == (made["GrantId"], True)
    (entry,) = kms.list_grants(**name)["Grants"]
    assert {member: entry[member] for member in terms} == terms
    assert (entry["KeyId"], entry["GrantId"]) == (key["Arn"], made["GrantId"])
    assert entry["IssuingAccount"].endswith(":root")
    others = [kms.create_grant(**name, GranteePrincipal=ROLE, Operations=["Decrypt"])["GrantId"] for _ in range(4)]
    pages = kms.get_paginator("list_grants").paginate(**name, PaginationConfig={"PageSize": 2})
    found = [entry["GrantId"] for page in pages for entry in page["Grants"]]
    assert sorted(found) == sorted([made["GrantId"], *others])
    assert [entry["GrantId"] for entry in kms.list_grants(**name, GrantId=others[0])["Grants"]] == others[:1]
    assert kms.list_grants(**name, GranteePrincipal=keeper)["Grants"] == []
    retirable = kms.list_retirable_grants(RetiringPrincipal=keeper)["Grants"]
    assert [entry["GrantId"] for entry in retirable] == [made["GrantId"]]
    with refused("AccessDeniedException", 400):
        kms.list_retirable_grants(RetiringPrincipal=ROLE)
    with refused("DryRunOperationException"):
        kms.retire_grant(GrantToken=made["GrantToken"], DryRun=True)
    kms.retire_grant(GrantToken=again["GrantToken"])
    with refused("InvalidGrantTokenException", 400):
        kms.retire_grant(GrantToken=made["GrantToken"])
    kms.retire_grant(KeyId=key["Arn"], GrantId=others[0])
    kms.revoke_grant(**name, GrantId=others[1])
    with refused("InvalidGrantIdException", 400):
        kms.revoke_grant(**name, GrantId=others[1])
    assert {entry["GrantId"] for entry in kms.list_grants(**name)["Grants"]} == set(others[2:])


def test_grants_that_are_refused(kms, key):
    name = {"KeyId": key["KeyId"]}
    with refused("ValidationException", 400):
        kms.create_grant(**name, GranteePrincipal=ROLE, Operations=["Sign"])
    with refused("ValidationException", 400):
        kms.create_grant(**name, GranteePrincipal=ROLE, Operations=["Fly"])
    with refused("InvalidArnException", 400):
        kms.create_grant(**name, GranteePrincipal="nobody", Operations=["Decrypt"])
    with refused("ValidationException", 400):
        kms.create_grant(**name, Operations=["Decrypt"])
    with refused("DryRunOperationException", 400):
        kms.create_grant(**name, GranteePrincipal=ROLE, Operations=["Decrypt"], DryRun=True)
    assert kms.list_grants(**name)["Grants"] == []


# --- the rest ----------------------------------------------------------------------------------------------------------


def test_last_usage(server, kms, s3, bucket, key):
    name = {"KeyId": key["KeyId"]}
    answer = kms.get_key_last_usage(**name)
    assert (answer["KeyId"], answer["KeyLastUsage"]) == (key["Arn"], {})
    assert answer["KeyCreationDate"] == answer["TrackingStartDate"] == key["CreationDate"]
    with refused("DryRunOperationException"):
        kms.encrypt(**name, Plaintext=b"x", DryRun=True)
    assert kms.get_key_last_usage(**name)["KeyLastUsage"] == {}
    request = kms.encrypt(**name, Plaintext=b"x")["ResponseMetadata"]["RequestId"]
    last = kms.get_key_last_usage(**name)["KeyLastUsage"]
    assert (last["Operation"], last["KmsRequestId"]) == ("Encrypt", request)
    assert abs(last["Timestamp"] - datetime.now(timezone.utc)) < timedelta(minutes=1)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key["Arn"])
    used = kms.get_key_last_usage(**name)["KeyLastUsage"]
    assert used["Operation"] == "GenerateDataKey" and used["CloudTrailEventId"] != last["CloudTrailEventId"]
    for use in (last, used):
        wanted = [{"AttributeKey": "EventId", "AttributeValue": use["CloudTrailEventId"]}]
        [event] = server.client("cloudtrail").lookup_events(LookupAttributes=wanted)["Events"]
        assert event["EventName"] == use["Operation"]
        assert json.loads(event["CloudTrailEvent"])["requestID"] == use["KmsRequestId"]


def test_last_usage_without_an_audit(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text("[audit]\nenabled = false\n")
    kms = new_server(arguments=["--config", config]).client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.encrypt(KeyId=key, Plaintext=b"x")
    assert kms.get_key_last_usage(KeyId=key)["KeyLastUsage"].keys() == {"Operation", "Timestamp", "KmsRequestId"}


def test_objects_outlive_the_rotation_of_their_key(kms, s3, bucket, key):
    put = {"Bucket": bucket, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"]}
    s3.put_object(**put, Key="old", Body=b"old")
    kms.rotate_key_on_demand(KeyId=key["KeyId"])
    s3.put_object(**put, Key="new", Body=b"new")
    for name in ("old", "new"):
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()


def test_an_alias_keeps_its_kind(kms, key, bucket_names):
    alias = f"alias/{next(bucket_names)}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    signer = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    with refused("ValidationException", 400):
        kms.update_alias(AliasName=alias, TargetKeyId=signer)
    kms.delete_alias(AliasName=alias)


def test_what_is_not_offered(kms, key):
    refusals = (
        (kms.create_custom_key_store, {"CustomKeyStoreName": "s"}),
        (kms.replicate_key, {"KeyId": key["KeyId"], "ReplicaRegion": "us-west-2"}),
        (kms.update_primary_region, {"KeyId": key["KeyId"], "PrimaryRegion": "us-west-2"}),
        (kms.create_key, {"MultiRegion": True}),
        (kms.create_key, {"Origin": "AWS_CLOUDHSM"}),
        (kms.create_key, {"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}),
    )
    for operation, members in refusals:
        with refused("UnsupportedOperationException", 400):
            operation(**members)
    with refused("UnsupportedOperationException", 400, f"{key['Arn']} is not a multi-region primary key."):
        kms.replicate_key(KeyId=key["KeyId"], ReplicaRegion="us-west-2")


def test_there_are_no_custom_key_stores(kms):
    """As in an account of AWS's that has none."""
    assert kms.describe_custom_key_stores()["CustomKeyStores"] == []
    named = {"CustomKeyStoreId": "cks-1234567890abcdef0"}
    for operation, members in (
        (kms.describe_custom_key_stores, {}),
        (kms.connect_custom_key_store, {}),
        (kms.disconnect_custom_key_store, {}),
        (kms.update_custom_key_store, {"NewCustomKeyStoreName": "s"}),
        (kms.delete_custom_key_store, {}),
        (kms.create_key, {"Origin": "AWS_CLOUDHSM"}),
        (kms.generate_random, {"NumberOfBytes": 1}),
    ):
        with refused("CustomKeyStoreNotFoundException", 400):
            operation(**named, **members)
    with refused("NotFoundException", 400):
        kms.replicate_key(KeyId="12345678-1234-1234-1234-123456789012", ReplicaRegion="us-west-2")


def test_last_uses_survive_a_kill(new_server):
    """They are written down within a second or two."""
    server = new_server()
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.encrypt(KeyId=key, Plaintext=b"x")
    time.sleep(2.5)
    server.kill()
    server.start()
    kms = server.client("kms")
    assert kms.get_key_last_usage(KeyId=key)["KeyLastUsage"]["Operation"] == "Encrypt"
    # What ends well loses nothing.
    kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    assert server.stop() == 0
    server.start()
    kms = server.client("kms")
    assert kms.get_key_last_usage(KeyId=key)["KeyLastUsage"]["Operation"] == "GenerateDataKey"
