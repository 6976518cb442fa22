"""KMS keys that authenticate, sign, agree and encrypt asymmetrically: what they make is verified by openssl and Python."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

from support.calls import refused
from support.data import content
from support.ed25519 import ed25519ph_verifies

MESSAGE = b"a message to sign"
HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the other side")


@pytest.fixture(scope="module")
def make(kms):
    """A key of this spec and usage, made once."""
    made = {}

    def make(spec, usage):
        if (spec, usage) not in made:
            made[spec, usage] = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
        return made[spec, usage]

    return make


@pytest.fixture
def openssl(tmp_path):
    """Runs openssl in a directory of its own; `files` are written there first."""

    def run(*arguments, check=True, **files):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        return subprocess.run(
            ["openssl", *arguments], cwd=tmp_path, capture_output=True, check=check, timeout=60
        )

    run.path = tmp_path
    return run


# --- HMAC ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", ["224", "256", "384", "512"])
def test_macs(kms, make, bits):
    key = make(f"HMAC_{bits}", "GENERATE_VERIFY_MAC")
    algorithm = f"HMAC_SHA_{bits}"
    assert key["MacAlgorithms"] == [algorithm]
    assert (key["KeySpec"], key["CustomerMasterKeySpec"]) == (f"HMAC_{bits}", f"HMAC_{bits}")
    assert "CurrentKeyMaterialId" not in key
    asked = {"KeyId": key["KeyId"], "Message": MESSAGE, "MacAlgorithm": algorithm}
    answer = kms.generate_mac(**asked)
    assert (answer["KeyId"], answer["MacAlgorithm"]) == (key["Arn"], algorithm)
    assert len(answer["Mac"]) == int(bits) // 8
    assert kms.generate_mac(**asked)["Mac"] == answer["Mac"]
    verified = kms.verify_mac(**asked, Mac=answer["Mac"])
    assert (verified["MacValid"], verified["KeyId"]) == (True, key["Arn"])
    for wrong in (answer["Mac"][:-1], bytes(len(answer["Mac"]))):
        with refused("KMSInvalidMacException", 400, ""):
            kms.verify_mac(**asked, Mac=wrong)
    with refused("KMSInvalidMacException", 400, ""):
        kms.verify_mac(**(asked | {"Message": MESSAGE + b"!"}), Mac=answer["Mac"])
    with refused("DryRunOperationException", 400, "The request would have succeeded, but the DryRun option is set."):
        kms.generate_mac(**asked, DryRun=True)
    other = "HMAC_SHA_256" if bits != "256" else "HMAC_SHA_512"
    with refused("InvalidKeyUsageException", 400):
        kms.generate_mac(**(asked | {"MacAlgorithm": other}))


def test_an_imported_hmac_key_gives_the_known_tag(kms, openssl):
    key = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC", Origin="EXTERNAL")["KeyMetadata"]
    material = content(32)
    import_material(kms, openssl, key, material)
    mac = kms.generate_mac(KeyId=key["KeyId"], Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")["Mac"]
    assert mac == hmac.new(material, MESSAGE, hashlib.sha256).digest()


# --- signatures ------------------------------------------------------------------------------------------------------


RSA = [f"RSASSA_{padding}_SHA_{bits}" for padding in ("PSS", "PKCS1_V1_5") for bits in HASHES]
SIGNERS = [("RSA_2048", algorithm) for algorithm in RSA] + [
    ("RSA_3072", "RSASSA_PSS_SHA_384"),
    ("RSA_4096", "RSASSA_PKCS1_V1_5_SHA_512"),
    ("ECC_NIST_P256", "ECDSA_SHA_256"),
    ("ECC_NIST_P384", "ECDSA_SHA_384"),
    ("ECC_NIST_P521", "ECDSA_SHA_512"),
    ("ECC_SECG_P256K1", "ECDSA_SHA_256"),
]


@pytest.mark.parametrize("kind", ["RAW", "DIGEST"])
@pytest.mark.parametrize(("spec", "algorithm"), SIGNERS)
def test_openssl_verifies_signatures(kms, make, openssl, spec, algorithm, kind):
    key = make(spec, "SIGN_VERIFY")
    assert algorithm in key["SigningAlgorithms"]
    digest = HASHES[algorithm[-3:]](MESSAGE).digest()
    asked = {
        "KeyId": key["KeyId"],
        "Message": MESSAGE if kind == "RAW" else digest,
        "MessageType": kind,
        "SigningAlgorithm": algorithm,
    }
    answer = kms.sign(**asked)
    assert (answer["KeyId"], answer["SigningAlgorithm"]) == (key["Arn"], algorithm)
    public = kms.get_public_key(KeyId=key["KeyId"])
    assert (public["KeySpec"], public["KeyUsage"], public["KeyId"]) == (spec, "SIGN_VERIFY", key["Arn"])
    assert public["SigningAlgorithms"] == key["SigningAlgorithms"]
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if "PSS" in algorithm else []
    openssl(
        *("dgst", f"-sha{algorithm[-3:]}", "-verify", "public", "-keyform", "DER", *options),
        *("-signature", "signature", "message"),
        public=public["PublicKey"],
        signature=answer["Signature"],
        message=MESSAGE,
    )
    # A signature of the message is one of its digest, and the other way round.
    for message, name in ((MESSAGE, "RAW"), (digest, "DIGEST")):
        told = kms.verify(**(asked | {"Message": message, "MessageType": name}), Signature=answer["Signature"])
        assert (told["SignatureValid"], told["KeyId"]) == (True, key["Arn"])
    bad = bytearray(answer["Signature"])
    bad[-1] ^= 1
    with refused("KMSInvalidSignatureException", 400, ""):
        kms.verify(**asked, Signature=bytes(bad))
    with refused("KMSInvalidSignatureException", 400, ""):
        kms.verify(**(asked | {"Message": MESSAGE + b"!", "MessageType": "RAW"}), Signature=answer["Signature"])


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "RSA_2048"])
def test_openssl_signs_and_kms_verifies(kms, openssl, spec):
    """An imported private key verifies what its owner signed before."""
    generate = {"ECC_NIST_P256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA_2048": ["RSA"]}[spec]
    openssl("genpkey", "-algorithm", *generate, "-outform", "DER", "-out", "private")
    openssl("pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-in", "private", "-outform", "DER", "-out", "pkcs8")
    openssl("dgst", "-sha256", "-sign", "pkcs8", "-keyform", "DER", "-out", "signature", "message", message=MESSAGE)
    key = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY", Origin="EXTERNAL")["KeyMetadata"]
    assert (key["KeyState"], key["Origin"], key["Enabled"]) == ("PendingImport", "EXTERNAL", False)
    import_material(kms, openssl, key, (openssl.path / "pkcs8").read_bytes(), by_aes=True)
    algorithm = "ECDSA_SHA_256" if spec.startswith("ECC") else "RSASSA_PKCS1_V1_5_SHA_256"
    signature = (openssl.path / "signature").read_bytes()
    told = kms.verify(KeyId=key["KeyId"], Message=MESSAGE, Signature=signature, SigningAlgorithm=algorithm)
    assert told["SignatureValid"] is True


def test_ed25519(kms, make, openssl):
    key = make("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    assert key["SigningAlgorithms"] == ["ED25519_SHA_512", "ED25519_PH_SHA_512"]
    asked = {"KeyId": key["KeyId"], "Message": MESSAGE, "SigningAlgorithm": "ED25519_SHA_512"}
    signature = kms.sign(**asked)["Signature"]
    openssl(
        *("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "public", "-rawin"),
        *("-in", "message", "-sigfile", "signature"),
        public=kms.get_public_key(KeyId=key["KeyId"])["PublicKey"],
        signature=signature,
        message=MESSAGE,
    )
    assert kms.verify(**asked, Signature=signature)["SignatureValid"] is True
    with refused("ValidationException", 400):
        kms.sign(**asked, MessageType="DIGEST")


def test_ed25519_of_digests(kms, make):
    key = make("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    algorithm = "ED25519_PH_SHA_512"
    digest = {"Message": hashlib.sha512(MESSAGE).digest(), "MessageType": "DIGEST"}
    asked = {"KeyId": key["KeyId"], "SigningAlgorithm": algorithm}
    signed = kms.sign(**asked, **digest)
    assert (signed["SigningAlgorithm"], len(signed["Signature"])) == (algorithm, 64)
    assert kms.verify(**asked, **digest, Signature=signed["Signature"])["SignatureValid"] is True
    # "The input is hashed twice: once by you and once by KMS": what is signed is the digest as a message.
    public = kms.get_public_key(KeyId=key["KeyId"])["PublicKey"][-32:]
    assert ed25519ph_verifies(public, digest["Message"], signed["Signature"])
    assert not ed25519ph_verifies(public, MESSAGE, signed["Signature"])
    with refused("KMSInvalidSignatureException", 400, ""):
        kms.verify(**asked, **(digest | {"Message": bytes(64)}), Signature=signed["Signature"])
    with refused("KMSInvalidSignatureException", 400, ""):
        pure = {"KeyId": key["KeyId"], "SigningAlgorithm": "ED25519_SHA_512"}
        kms.verify(**pure, Message=digest["Message"], Signature=signed["Signature"])
    with refused("ValidationException", 400, f"Message type RAW is incompatible with algorithm {algorithm}."):
        kms.sign(**asked, Message=MESSAGE)
    with refused("ValidationException", 400, f"Digest is invalid length for algorithm {algorithm}."):
        kms.sign(**asked, **(digest | {"Message": bytes(32)}))


@pytest.mark.parametrize(
    ("spec", "length", "public_length"),
    [("ML_DSA_44", 2420, 1312), ("ML_DSA_65", 3309, 1952), ("ML_DSA_87", 4627, 2592)],
)
def test_ml_dsa(kms, make, spec, length, public_length):
    key = make(spec, "SIGN_VERIFY")
    asked = {"KeyId": key["KeyId"], "Message": MESSAGE, "SigningAlgorithm": "ML_DSA_SHAKE_256"}
    signature = kms.sign(**asked)["Signature"]
    assert len(signature) == length
    assert kms.verify(**asked, Signature=signature)["SignatureValid"] is True
    with refused("KMSInvalidSignatureException", 400, ""):
        kms.verify(**(asked | {"Message": b"other"}), Signature=signature)
    # FIPS 204, section 6.2: with an empty context. The key itself ends its SubjectPublicKeyInfo.
    public = kms.get_public_key(KeyId=key["KeyId"])["PublicKey"][-public_length:]
    mu = hashlib.shake_256(hashlib.shake_256(public).digest(64) + b"\0\0" + MESSAGE).digest(64)
    by_mu = asked | {"Message": mu, "MessageType": "EXTERNAL_MU"}
    assert kms.verify(**by_mu, Signature=signature)["SignatureValid"] is True
    signature = kms.sign(**by_mu)["Signature"]
    assert kms.verify(**asked, Signature=signature)["SignatureValid"] is True
    with refused("KMSInvalidSignatureException", 400, ""):
        kms.verify(**(by_mu | {"Message": bytes(64)}), Signature=signature)
    with refused("ValidationException", 400, "Digest is invalid length for algorithm ML_DSA_SHAKE_256."):
        kms.sign(**(by_mu | {"Message": bytes(63)}))
    with refused("ValidationException", 400):
        kms.sign(**asked, MessageType="DIGEST")


@pytest.mark.parametrize(("spec", "length"), [("ML_KEM_512", 768), ("ML_KEM_768", 1088), ("ML_KEM_1024", 1568)])
def test_ml_kem(kms, make, spec, length):
    metadata = make(spec, "ENCAPSULATE_DECAPSULATE")
    key = metadata["KeyId"]
    assert metadata["EncapsulationAlgorithms"] == ["ML_KEM"] and "CustomerMasterKeySpec" not in metadata
    name = {"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"}
    made = kms.encapsulate(**name)
    blob = made["SharedSecretCiphertextBlob"]
    assert (len(blob), len(made["SharedSecret"]), made["KeyId"]) == (length, 32, metadata["Arn"])
    assert kms.decapsulate(**name, SharedSecretCiphertextBlob=blob)["SharedSecret"] == made["SharedSecret"]
    # Implicit rejection: another key's ciphertext, or an altered one, gives bytes that nobody knows.
    other = kms.decapsulate(**name, SharedSecretCiphertextBlob=bytes([blob[0] ^ 1]) + blob[1:])["SharedSecret"]
    assert len(other) == 32 and other != made["SharedSecret"]
    with refused("InvalidCiphertextException", 400):
        kms.decapsulate(**name, SharedSecretCiphertextBlob=blob[1:])
    public = kms.get_public_key(KeyId=key)
    assert public["EncapsulationAlgorithms"] == ["ML_KEM"] and public["KeyUsage"] == "ENCAPSULATE_DECAPSULATE"
    if spec != "ML_KEM_512":  # which the other implementation does not know
        loaded = serialization.load_der_public_key(public["PublicKey"])
        secret, ciphertext = loaded.encapsulate()
        assert kms.decapsulate(**name, SharedSecretCiphertextBlob=ciphertext)["SharedSecret"] == secret
    with refused("InvalidKeyUsageException", 400):
        kms.sign(KeyId=key, Message=b"x", SigningAlgorithm="ML_DSA_SHAKE_256")


@pytest.mark.parametrize("spec", ["ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"])
def test_data_key_pairs_of_ml_kem(kms, shared_key, spec):
    pair = kms.generate_data_key_pair(KeyId=shared_key["KeyId"], KeyPairSpec=spec)
    assert (pair["KeyId"], pair["KeyPairSpec"]) == (shared_key["Arn"], spec)
    assert kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"])["Plaintext"] == pair["PrivateKeyPlaintext"]
    # "The DER-encoded PKCS8 PrivateKeyInfo contains the private key in seed format": [0] of 64 bytes, and nothing else.
    assert pair["PrivateKeyPlaintext"][-68:-64] == bytes.fromhex("04428040")
    if spec != "ML_KEM_512":  # which the other implementation does not know
        private = serialization.load_der_private_key(pair["PrivateKeyPlaintext"], None)
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert public == pair["PublicKey"]
        secret, ciphertext = serialization.load_der_public_key(pair["PublicKey"]).encapsulate()
        assert private.decapsulate(ciphertext) == secret
    bare = kms.generate_data_key_pair_without_plaintext(KeyId=shared_key["KeyId"], KeyPairSpec=spec)
    assert "PrivateKeyPlaintext" not in bare and bare["PublicKey"] != pair["PublicKey"]


def test_a_digest_of_the_wrong_length(kms, make):
    key = make("ECC_NIST_P384", "SIGN_VERIFY")
    with refused("ValidationException", 400, "Digest is invalid length for algorithm ECDSA_SHA_384."):
        kms.sign(KeyId=key["KeyId"], Message=bytes(32), MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_384")
    text = "Algorithm ECDSA_SHA_256 is incompatible with key spec ECC_NIST_P384."
    with refused("InvalidKeyUsageException", 400, text):
        kms.sign(KeyId=key["KeyId"], Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_256")


# --- encryption, agreement, data key pairs -----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"])
def test_openssl_encrypts_to_a_kms_key(kms, make, openssl, algorithm, shared_key):
    key = make("RSA_2048", "ENCRYPT_DECRYPT")
    assert key["EncryptionAlgorithms"] == ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
    digest = "sha1" if algorithm.endswith("_1") else "sha256"
    openssl(
        *("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public", "-in", "plain", "-out", "sealed"),
        *("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", f"rsa_oaep_md:{digest}"),
        public=kms.get_public_key(KeyId=key["KeyId"])["PublicKey"],
        plain=b"from outside",
    )
    blob = (openssl.path / "sealed").read_bytes()
    asked = {"CiphertextBlob": blob, "KeyId": key["KeyId"], "EncryptionAlgorithm": algorithm}
    opened = kms.decrypt(**asked)
    assert (opened["Plaintext"], opened["EncryptionAlgorithm"]) == (b"from outside", algorithm)
    assert "KeyMaterialId" not in opened
    moved = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceKeyId=key["KeyId"],
        SourceEncryptionAlgorithm=algorithm,
        DestinationKeyId=shared_key["KeyId"],
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key["Arn"], shared_key["Arn"])
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"from outside"
    with refused("InvalidCiphertextException", 400, ""):
        kms.decrypt(**(asked | {"CiphertextBlob": blob[:-1] + bytes([blob[-1] ^ 1])}))
    most = 214 if algorithm.endswith("_1") else 190
    held = {"KeyId": key["KeyId"], "EncryptionAlgorithm": algorithm}
    kms.encrypt(**held, Plaintext=bytes(most))
    text = f"Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {most} bytes."
    with refused("ValidationException", 400, text):
        kms.encrypt(**held, Plaintext=bytes(most + 1))
    text = "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."
    with refused("InvalidKeyUsageException", 400, text):
        kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")


@pytest.mark.parametrize(("spec", "curve"), [("ECC_NIST_P256", "P-256"), ("ECC_NIST_P384", "P-384"), ("ECC_NIST_P521", "P-521")])
def test_openssl_agrees_on_the_same_secret(kms, make, openssl, spec, curve):
    key = make(spec, "KEY_AGREEMENT")
    assert key["KeyAgreementAlgorithms"] == ["ECDH"]
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", "own")
    openssl("pkey", "-in", "own", "-pubout", "-outform", "DER", "-out", "own.pub")
    answer = kms.derive_shared_secret(
        KeyId=key["KeyId"], KeyAgreementAlgorithm="ECDH", PublicKey=(openssl.path / "own.pub").read_bytes()
    )
    assert (answer["KeyId"], answer["KeyOrigin"], answer["KeyAgreementAlgorithm"]) == (key["Arn"], "AWS_KMS", "ECDH")
    openssl(
        *("pkeyutl", "-derive", "-inkey", "own", "-peerkey", "peer", "-peerform", "DER", "-out", "secret"),
        peer=kms.get_public_key(KeyId=key["KeyId"])["PublicKey"],
    )
    assert answer["SharedSecret"] == (openssl.path / "secret").read_bytes()
    with refused("ValidationException", 400, ""):
        kms.derive_shared_secret(KeyId=key["KeyId"], KeyAgreementAlgorithm="ECDH", PublicKey=b"no key")


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P256", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"])
def test_data_key_pairs(kms, shared_key, openssl, spec):
    context = {"purpose": "pair"}
    pair = kms.generate_data_key_pair(KeyId=shared_key["KeyId"], KeyPairSpec=spec, EncryptionContext=context)
    assert (pair["KeyId"], pair["KeyPairSpec"]) == (shared_key["Arn"], spec)
    opened = kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext=context)
    assert opened["Plaintext"] == pair["PrivateKeyPlaintext"]
    openssl("pkey", "-inform", "DER", "-in", "private", "-pubout", "-outform", "DER", "-out", "public",
            private=pair["PrivateKeyPlaintext"])
    assert (openssl.path / "public").read_bytes() == pair["PublicKey"]
    bare = kms.generate_data_key_pair_without_plaintext(KeyId=shared_key["KeyId"], KeyPairSpec=spec)
    assert "PrivateKeyPlaintext" not in bare
    assert bare["PublicKey"] != pair["PublicKey"]


# --- what keys are not for ---------------------------------------------------------------------------------------------


def test_operations_that_a_key_is_not_for(kms, make, shared_key):
    symmetric = {"KeyId": shared_key["KeyId"]}
    mac = {"KeyId": make("HMAC_256", "GENERATE_VERIFY_MAC")["KeyId"]}
    signer = {"KeyId": make("ECC_NIST_P256", "SIGN_VERIFY")["KeyId"]}
    agreement = {"KeyId": make("ECC_NIST_P256", "KEY_AGREEMENT")["KeyId"]}
    cases = [
        (kms.generate_mac, symmetric, {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}, "GenerateMac"),
        (kms.verify_mac, signer, {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256", "Mac": b"m"}, "VerifyMac"),
        (kms.sign, mac, {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}, "Sign"),
        (kms.verify, agreement, {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256", "Signature": b"s"}, "Verify"),
        (kms.encrypt, mac, {"Plaintext": b"p"}, "Encrypt"),
        (kms.generate_data_key, signer, {"KeySpec": "AES_256"}, "GenerateDataKey"),
        (kms.generate_data_key_pair, mac, {"KeyPairSpec": "ECC_NIST_P256"}, "GenerateDataKeyPair"),
    ]
    for operation, key, members, name in cases:
        metadata = kms.describe_key(**key)["KeyMetadata"]
        text = f"{metadata['Arn']} key usage is {metadata['KeyUsage']} which is not valid for {name}."
        with refused("InvalidKeyUsageException", 400, text):
            operation(**key, **members)
    for key in (symmetric, mac):
        with refused("UnsupportedOperationException", 400, ""):
            kms.get_public_key(**key)
    # Recorded on AWS: a ciphertext of another key is told of before what the key named is for.
    blob = kms.encrypt(**symmetric, Plaintext=b"p")["CiphertextBlob"]
    text = "The key ID in the request does not identify a CMK that can perform this operation."
    for key in (mac, signer):
        with refused("IncorrectKeyException", 400, text):
            kms.decrypt(**key, CiphertextBlob=blob)
        with refused("IncorrectKeyException", 400, text):
            kms.re_encrypt(CiphertextBlob=blob, SourceKeyId=key["KeyId"], DestinationKeyId=symmetric["KeyId"])


def test_s3_tells_that_a_key_is_not_for_it(s3, bucket, make):
    for spec, usage in (("HMAC_256", "GENERATE_VERIFY_MAC"), ("ECC_NIST_P256", "SIGN_VERIFY")):
        arn = make(spec, usage)["Arn"]
        text = f"{arn} key usage is {usage} which is not valid for GenerateDataKey."
        with refused("KMS.InvalidKeyUsageException", 400, text):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=arn)
    # AWS: Secrets Manager user guide, "Troubleshooting".
    arn, text = make("RSA_2048", "ENCRYPT_DECRYPT")["Arn"], "You cannot generate a data key with an asymmetric CMK"
    with refused("KMS.InvalidKeyUsageException", 400, text):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=arn)


def test_usages_that_a_spec_does_not_have(kms):
    for spec, usage in (("HMAC_256", "SIGN_VERIFY"), ("ECC_SECG_P256K1", "KEY_AGREEMENT"), ("ML_DSA_44", "ENCRYPT_DECRYPT")):
        with refused("ValidationException", 400, f"KeyUsage {usage} is not compatible with KeySpec {spec}"):
            kms.create_key(KeySpec=spec, KeyUsage=usage)


def test_keys_of_every_kind_survive_a_crash(new_server):
    server = new_server()
    kms = server.client("kms")
    mac = kms.create_key(KeySpec="HMAC_512", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    signer = kms.create_key(KeySpec="ECC_NIST_P384", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    symmetric = kms.create_key()["KeyMetadata"]["KeyId"]
    tag = kms.generate_mac(KeyId=mac, Message=MESSAGE, MacAlgorithm="HMAC_SHA_512")["Mac"]
    signature = kms.sign(KeyId=signer, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_384")["Signature"]
    blob = kms.encrypt(KeyId=symmetric, Plaintext=b"old")["CiphertextBlob"]
    kms.rotate_key_on_demand(KeyId=symmetric)
    kms.enable_key_rotation(KeyId=symmetric, RotationPeriodInDays=90)
    grant = kms.create_grant(
        KeyId=symmetric, GranteePrincipal="arn:aws:iam::111122223333:role/r", Operations=["Decrypt"]
    )["GrantId"]
    server.kill()
    server.start()
    kms = server.client("kms")
    assert kms.verify_mac(KeyId=mac, Message=MESSAGE, MacAlgorithm="HMAC_SHA_512", Mac=tag)["MacValid"]
    kms.verify(KeyId=signer, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_384", Signature=signature)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"old"
    assert kms.get_key_rotation_status(KeyId=symmetric)["RotationPeriodInDays"] == 90
    assert len(kms.list_key_rotations(KeyId=symmetric)["Rotations"]) == 1
    assert [entry["GrantId"] for entry in kms.list_grants(KeyId=symmetric)["Grants"]] == [grant]


def test_the_command_line(aws, tmp_path):
    def run(*arguments):
        return json.loads(aws("kms", *arguments, "--output", "json").stdout)

    (tmp_path / "message").write_bytes(MESSAGE)
    message = f"fileb://{tmp_path}/message"
    mac = run("create-key", "--key-spec", "HMAC_256", "--key-usage", "GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    asked = ["--key-id", mac, "--message", message, "--mac-algorithm", "HMAC_SHA_256"]
    (tmp_path / "mac").write_bytes(base64.b64decode(run("generate-mac", *asked)["Mac"]))
    assert run("verify-mac", *asked, "--mac", f"fileb://{tmp_path}/mac")["MacValid"] is True
    pair = run("create-key", "--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    asked = ["--key-id", pair, "--message", message, "--signing-algorithm", "ECDSA_SHA_256"]
    (tmp_path / "signature").write_bytes(base64.b64decode(run("sign", *asked)["Signature"]))
    assert run("verify", *asked, "--signature", f"fileb://{tmp_path}/signature")["SignatureValid"] is True
    (tmp_path / "message").write_bytes(b"other")
    refusal = aws("kms", "verify", *asked, "--signature", f"fileb://{tmp_path}/signature", check=False)
    assert "KMSInvalidSignatureException" in refusal.stderr


def import_material(kms, openssl, key, material, *, by_aes=False):
    """Imports as AWS's guide says, with openssl."""
    algorithm = "RSA_AES_KEY_WRAP_SHA_256" if by_aes else "RSAES_OAEP_SHA_256"
    parameters = kms.get_parameters_for_import(
        KeyId=key["KeyId"], WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048"
    )
    secret = bytes(range(32)) if by_aes else material
    openssl(
        *("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "wrapping", "-in", "secret", "-out", "wrapped"),
        *("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"),
        wrapping=parameters["PublicKey"],
        secret=secret,
    )
    wrapped = (openssl.path / "wrapped").read_bytes()
    if by_aes:
        openssl(
            *("enc", "-id-aes256-wrap-pad", "-K", secret.hex(), "-iv", "A65959A6", "-in", "material", "-out", "kwp"),
            material=material,
        )
        wrapped += (openssl.path / "kwp").read_bytes()
    return kms.import_key_material(
        KeyId=key["KeyId"],
        ImportToken=parameters["ImportToken"],
        EncryptedKeyMaterial=wrapped,
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )


def test_two_specs_are_one_too_many(kms):
    with refused("ValidationException", 400) as refusal:
        kms.create_key(KeySpec="SYMMETRIC_DEFAULT", CustomerMasterKeySpec="SYMMETRIC_DEFAULT")
    assert refusal.message.startswith("You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")
