"""Users of AWS KMS that are not ours, unchanged against the endpoint: the AWS Encryption SDK for Python with both its key
providers, the JavaScript SDK v3, and the AWS command line."""

import base64
import os

import boto3
import pytest

from support import node
from support.data import content

DATA = content(100_000, "encryption sdk")


@pytest.fixture(scope="module")
def of_environment(server):
    """The environment of an application that uses the endpoint."""
    before = dict(os.environ)
    os.environ.update(server.environment())
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def keys(server):
    kms = server.client("kms")
    return [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]


# --- the AWS Encryption SDK ------------------------------------------------------------------------------------------------


def test_a_strict_provider(of_environment, kms, keys):
    sdk = pytest.importorskip("aws_encryption_sdk")
    client = sdk.EncryptionSDKClient(commitment_policy=sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    provider = sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys)
    context = {"department": "payroll"}
    sealed, header = client.encrypt(source=DATA, key_provider=provider, encryption_context=context)
    assert {key.key_provider.key_info.decode() for key in header.encrypted_data_keys} == set(keys)
    opened, header = client.decrypt(source=sealed, key_provider=provider)
    assert opened == DATA and context.items() <= header.encryption_context.items()
    # Either key opens it: GenerateDataKey of the one, Encrypt of the other.
    for key in keys:
        alone = sdk.StrictAwsKmsMasterKeyProvider(key_ids=[key])
        assert client.decrypt(source=sealed, key_provider=alone)[0] == DATA
    discovery = sdk.DiscoveryAwsKmsMasterKeyProvider()
    assert client.decrypt(source=sealed, key_provider=discovery)[0] == DATA

    foreign = sdk.StrictAwsKmsMasterKeyProvider(key_ids=[kms.create_key()["KeyMetadata"]["Arn"]])
    with pytest.raises(sdk.exceptions.DecryptKeyError):
        client.decrypt(source=sealed, key_provider=foreign)
    kms.disable_key(KeyId=keys[0])
    try:
        with pytest.raises(sdk.exceptions.DecryptKeyError):
            client.decrypt(source=sealed, key_provider=sdk.StrictAwsKmsMasterKeyProvider(key_ids=[keys[0]]))
        assert client.decrypt(source=sealed, key_provider=provider)[0] == DATA
    finally:
        kms.enable_key(KeyId=keys[0])


def test_a_caching_materials_manager(of_environment, kms, keys):
    sdk = pytest.importorskip("aws_encryption_sdk")
    client = sdk.EncryptionSDKClient()
    provider = sdk.StrictAwsKmsMasterKeyProvider(key_ids=[keys[0]])
    manager = sdk.CachingCryptoMaterialsManager(
        master_key_provider=provider, cache=sdk.LocalCryptoMaterialsCache(10), max_age=60.0, max_messages_encrypted=10
    )
    sealed = [client.encrypt(source=b"one", materials_manager=manager)[0] for _ in range(3)]
    for one in sealed:
        assert client.decrypt(source=one, materials_manager=manager)[0] == b"one"


def test_a_kms_keyring(of_environment, server, kms, keys):
    sdk = pytest.importorskip("aws_encryption_sdk")
    mpl = pytest.importorskip("aws_cryptographic_material_providers.mpl")
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import (
        CreateAwsKmsDiscoveryKeyringInput,
        CreateAwsKmsKeyringInput,
        CreateAwsKmsMultiKeyringInput,
    )

    providers = mpl.AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    of_boto = boto3.client("kms", region_name=server.region)
    keyring = lambda key: providers.create_aws_kms_keyring(  # noqa: E731
        input=CreateAwsKmsKeyringInput(kms_key_id=key, kms_client=of_boto)
    )
    client = sdk.EncryptionSDKClient(commitment_policy=sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    context = {"department": "payroll"}
    sealed, _ = client.encrypt(source=DATA, keyring=keyring(keys[0]), encryption_context=context)
    opened, _ = client.decrypt(source=sealed, keyring=keyring(keys[0]), encryption_context=context)
    assert opened == DATA
    with pytest.raises(Exception, match="(?i)context"):
        client.decrypt(source=sealed, keyring=keyring(keys[0]), encryption_context={"department": "sales"})
    with pytest.raises(Exception, match="(?i)unable to decrypt"):
        client.decrypt(source=sealed, keyring=keyring(keys[1]), encryption_context=context)

    # Re-encryption by the service: the other key opens what the SDK makes with both.
    multi = providers.create_aws_kms_multi_keyring(
        input=CreateAwsKmsMultiKeyringInput(generator=keys[0], kms_key_ids=[keys[1]])
    )
    sealed, _ = client.encrypt(source=DATA, keyring=multi, encryption_context=context)
    assert client.decrypt(source=sealed, keyring=keyring(keys[1]), encryption_context=context)[0] == DATA
    discovery = providers.create_aws_kms_discovery_keyring(input=CreateAwsKmsDiscoveryKeyringInput(kms_client=of_boto))
    assert client.decrypt(source=sealed, keyring=discovery, encryption_context=context)[0] == DATA


# --- the JavaScript SDK ----------------------------------------------------------------------------------------------------


def test_the_javascript_sdk(server, bucket):
    found = node.run(server, "kms.cjs", BUCKET=bucket)

    def is_refused(what, name, message=None):
        refusal = found.pop(what)
        assert (refusal["name"], refusal["status"], refusal["typed"]) == (name, 400, True), refusal
        assert message is None or message in refusal["message"], refusal

    is_refused("wrongContext", "InvalidCiphertextException")
    is_refused("invalid", "KMSInvalidSignatureException")
    is_refused("wrongToken", "InvalidGrantTokenException")
    is_refused("disabled", "DisabledException", " is disabled.")
    is_refused("unknown", "NotFoundException", "does not exist")
    assert found.pop("keys") >= 2
    assert found == {
        "created": True,
        "state": "Enabled",
        "plaintext": "secret",
        "dataKey": True,
        "valid": True,
        "verifiedByNode": True,
        "rotation": 100,
        "object": "object",
        "objectKey": True,
        "ended": "PendingDeletion",
    }


# --- the command line ------------------------------------------------------------------------------------------------------


def test_aws_kms_commands(aws, tmp_path):
    def run(*arguments, **options):
        return aws("kms", *arguments, **options)

    key = run("create-key", "--description", "cli", "--tags", "TagKey=a,TagValue=b").json["KeyMetadata"]["KeyId"]
    alias = f"alias/cli-{key}"
    run("create-alias", "--alias-name", alias, "--target-key-id", key)
    plain, blob = tmp_path / "plain", tmp_path / "blob"
    plain.write_bytes(b"secret of the command line")
    sealed = run(
        "encrypt", "--key-id", alias, "--plaintext", f"fileb://{plain}", "--encryption-context", "a=b,c=d",
        "--query", "CiphertextBlob", "--output", "text",
    )  # fmt: skip
    blob.write_bytes(base64.b64decode(sealed.stdout))
    opened = run("decrypt", "--ciphertext-blob", f"fileb://{blob}", "--encryption-context", "c=d,a=b").json
    assert base64.b64decode(opened["Plaintext"]) == plain.read_bytes()
    done = run("decrypt", "--ciphertext-blob", f"fileb://{blob}", check=False)
    assert done.returncode != 0 and "InvalidCiphertextException" in done.stderr
    moved = run(
        "re-encrypt", "--ciphertext-blob", f"fileb://{blob}", "--source-encryption-context", "a=b,c=d",
        "--destination-key-id", key,
    ).json  # fmt: skip
    assert moved["SourceKeyId"] == moved["KeyId"]

    grant = run(
        "create-grant", "--key-id", key, "--grantee-principal", "arn:aws:iam::111122223333:role/worker",
        "--operations", "Decrypt", "Encrypt", "--constraints", "EncryptionContextSubset={a=b}",
    ).json  # fmt: skip
    run("describe-key", "--key-id", key, "--grant-tokens", grant["GrantToken"])
    done = run("describe-key", "--key-id", key, "--grant-tokens", "no", check=False)
    assert "InvalidGrantTokenException" in done.stderr
    assert [one["GrantId"] for one in run("list-grants", "--key-id", key).json["Grants"]] == [grant["GrantId"]]
    run("retire-grant", "--grant-token", grant["GrantToken"])

    run("enable-key-rotation", "--key-id", key, "--rotation-period-in-days", "180")
    run("rotate-key-on-demand", "--key-id", key)
    rotations = run("list-key-rotations", "--key-id", key, "--include-key-material", "ALL_KEY_MATERIAL").json["Rotations"]
    assert len(rotations) == 2
    dry = run("generate-data-key", "--key-id", key, "--key-spec", "AES_256", "--dry-run", check=False)
    assert "DryRunOperationException" in dry.stderr
    assert run("list-resource-tags", "--key-id", key).json["Tags"] == [{"TagKey": "a", "TagValue": "b"}]
    policy = run("get-key-policy", "--key-id", key, "--policy-name", "default", "--query", "Policy", "--output", "text").stdout
    run("put-key-policy", "--key-id", key, "--policy-name", "default", "--policy", policy)
    assert run("describe-custom-key-stores").json["CustomKeyStores"] == []
    assert run("get-key-last-usage", "--key-id", key).json["KeyLastUsage"]["Operation"] == "ReEncrypt"
    run("delete-alias", "--alias-name", alias)
    ended = run("schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7").json
    assert ended["KeyState"] == "PendingDeletion"
    run("cancel-key-deletion", "--key-id", key)
