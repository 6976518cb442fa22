"""The AWS command line, as a user types it."""

import base64
import hashlib
import json
import os
import pty
import subprocess
import time

import pytest

from support.data import content
from support.server import binary, clean_environment, free_port, tool


@pytest.fixture
def file(tmp_path):
    """A file of 1 MiB and a bit."""
    path = tmp_path / "file.bin"
    path.write_bytes(content(1_100_000))
    return path


def test_bucket_life(aws, bucket_names, file):
    name = next(bucket_names)
    assert f"make_bucket: {name}" in aws("s3", "mb", f"s3://{name}").stdout
    assert name in aws("s3", "ls").stdout
    aws("s3", "cp", file, f"s3://{name}/a/file.bin")
    assert "file.bin" in aws("s3", "ls", f"s3://{name}/a/").stdout
    assert "PRE a/" in aws("s3", "ls", f"s3://{name}").stdout
    refusal = aws("s3", "rb", f"s3://{name}", check=False)
    assert refusal.returncode == 1
    assert "BucketNotEmpty" in refusal.stderr
    assert "delete: " in aws("s3", "rm", "--recursive", f"s3://{name}").stdout
    assert f"remove_bucket: {name}" in aws("s3", "rb", f"s3://{name}").stdout
    gone = aws("s3", "ls", f"s3://{name}", check=False)
    assert "NoSuchBucket" in gone.stderr


def test_copy_up_and_to_standard_output(aws, bucket, file):
    aws("s3", "cp", file, f"s3://{bucket}/up")
    assert aws("s3", "cp", f"s3://{bucket}/up", "-", text=False).stdout == file.read_bytes()


def test_copy_from_standard_input(aws, bucket):
    aws("s3", "cp", "-", f"s3://{bucket}/in", stdin="from a pipe")
    assert aws("s3", "cp", f"s3://{bucket}/in", "-").stdout == "from a pipe"


@pytest.mark.parametrize("form", ["none", "id", "arn", "alias"])
def test_copy_with_kms(aws, kms, bucket, file, shared_key, form):
    if form == "none":
        option, expected = [], kms_arn_of_default(aws)
    else:
        expected = shared_key["Arn"]
        alias = f"alias/cli-{bucket}"
        kms.create_alias(AliasName=alias, TargetKeyId=shared_key["KeyId"])
        option = ["--sse-kms-key-id", {"id": shared_key["KeyId"], "arn": expected, "alias": alias}[form]]
    aws("s3", "cp", file, f"s3://{bucket}/", "--sse", "aws:kms", *option)
    head = aws("s3api", "head-object", "--bucket", bucket, "--key", file.name).json
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["ContentLength"] == file.stat().st_size
    if expected:
        assert head["SSEKMSKeyId"] == expected
    assert aws("s3", "cp", f"s3://{bucket}/{file.name}", "-", text=False).stdout == file.read_bytes()


def kms_arn_of_default(aws):
    """The ARN behind alias/aws/s3, if the managed key has been made already."""
    aliases = aws("kms", "list-aliases").json["Aliases"]
    target = next((a.get("TargetKeyId") for a in aliases if a["AliasName"] == "alias/aws/s3"), None)
    return target and aws("kms", "describe-key", "--key-id", target).json["KeyMetadata"]["Arn"]


def test_sync_both_ways(aws, bucket, tmp_path):
    source, copy = tmp_path / "source", tmp_path / "copy"
    for name in ("a.txt", "deep/er/b.txt", "with space+plus.txt", "ünïcode.txt"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    first = aws("s3", "sync", source, f"s3://{bucket}/tree")
    assert first.stdout.count("upload: ") == 4
    assert aws("s3", "sync", source, f"s3://{bucket}/tree").stdout == ""
    aws("s3", "sync", f"s3://{bucket}/tree", copy)
    found = {str(p.relative_to(copy)): p.read_text() for p in copy.rglob("*") if p.is_file()}
    assert found == {str(p.relative_to(source)): p.read_text() for p in source.rglob("*") if p.is_file()}
    (copy / "a.txt").unlink()
    assert aws("s3", "sync", copy, f"s3://{bucket}/tree", "--delete").stdout.count("delete: ") == 1


def test_a_presigned_url_is_fetched_with_curl(aws, curl, bucket, file):
    aws("s3", "cp", file, f"s3://{bucket}/p", "--sse", "aws:kms")
    url = aws("s3", "presign", f"s3://{bucket}/p", "--expires-in", "600").stdout.strip()
    assert "X-Amz-Expires=600" in url
    assert curl(url, sign=False, text=False, check=True).stdout == file.read_bytes()
    assert "SignatureDoesNotMatch" in curl(url.replace("/p?", "/q?"), sign=False).stdout


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--sse", "aws:kms"]], ids=["sse-s3", "sse-kms"])
def test_100_mb_in_parts(aws, s3, bucket, tmp_path, options):
    source, copy = tmp_path / "large", tmp_path / "copy"
    source.write_bytes(content(100_000_000))
    aws("s3", "cp", source, f"s3://{bucket}/large", *options)
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ContentLength"] == 100_000_000
    assert head["ETag"].endswith('-12"')
    aws("s3", "cp", f"s3://{bucket}/large", copy)
    with source.open("rb") as a, copy.open("rb") as b:
        assert hashlib.file_digest(a, "sha256").digest() == hashlib.file_digest(b, "sha256").digest()


def test_move_and_server_side_copy(aws, bucket, file):
    aws("s3", "cp", file, f"s3://{bucket}/one")
    aws("s3", "cp", f"s3://{bucket}/one", f"s3://{bucket}/two", "--sse", "aws:kms")
    aws("s3", "mv", f"s3://{bucket}/two", f"s3://{bucket}/three")
    listing = aws("s3api", "list-objects-v2", "--bucket", bucket).json
    assert [entry["Key"] for entry in listing["Contents"]] == ["one", "three"]
    assert aws("s3", "cp", f"s3://{bucket}/three", "-", text=False).stdout == file.read_bytes()


def test_s3api(aws, bucket, file):
    put = aws(
        "s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", file,
        "--metadata", "colour=blue", "--content-type", "text/x-test",
    ).json  # fmt: skip
    head = aws("s3api", "head-object", "--bucket", bucket, "--key", "k").json
    assert head["ETag"] == put["ETag"] == f'"{hashlib.md5(file.read_bytes()).hexdigest()}"'
    assert head["Metadata"] == {"colour": "blue"}
    assert head["ContentType"] == "text/x-test"
    assert head["ServerSideEncryption"] == "AES256"
    missing = aws("s3api", "head-object", "--bucket", bucket, "--key", "none", check=False)
    assert missing.returncode in (254, 255)
    assert "(404)" in missing.stderr
    out = file.parent / "out"
    part = aws("s3api", "get-object", "--bucket", bucket, "--key", "k", "--range", "bytes=10-19", out).json
    assert part["ContentRange"] == f"bytes 10-19/{file.stat().st_size}"
    assert out.read_bytes() == file.read_bytes()[10:20]
    assert aws("s3api", "get-bucket-location", "--bucket", bucket).json == {"LocationConstraint": None}
    attributes = aws(
        "s3api", "get-object-attributes", "--bucket", bucket, "--key", "k",
        "--object-attributes", "ETag", "ObjectSize",
    ).json  # fmt: skip
    assert attributes["ObjectSize"] == file.stat().st_size


def test_kms_commands(aws, tmp_path):
    metadata = aws("kms", "create-key", "--description", "by hand").json["KeyMetadata"]
    key = metadata["KeyId"]
    assert metadata["KeyState"] == "Enabled"
    assert metadata["KeySpec"] == "SYMMETRIC_DEFAULT"
    listed = aws("kms", "list-keys").json["Keys"]
    assert {"KeyId": key, "KeyArn": metadata["Arn"]} in listed

    alias = f"alias/by-hand-{key}"
    aws("kms", "create-alias", "--alias-name", alias, "--target-key-id", key)
    described = aws("kms", "describe-key", "--key-id", alias).json["KeyMetadata"]
    assert described["Arn"] == metadata["Arn"]
    assert described["Description"] == "by hand"

    secret, sealed = tmp_path / "secret", tmp_path / "sealed"
    secret.write_bytes(b"what I know")
    blob = aws(
        "kms", "encrypt", "--key-id", alias, "--plaintext", f"fileb://{secret}",
        "--encryption-context", "purpose=test", "--query", "CiphertextBlob", "--output", "text",
    ).stdout  # fmt: skip
    sealed.write_bytes(base64.b64decode(blob))
    opened = aws(
        "kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}", "--encryption-context", "purpose=test"
    ).json
    assert base64.b64decode(opened["Plaintext"]) == b"what I know"
    assert opened["KeyId"] == metadata["Arn"]
    wrong = aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}", check=False)
    assert "InvalidCiphertextException" in wrong.stderr

    data_key = aws("kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256").json
    assert len(base64.b64decode(data_key["Plaintext"])) == 32

    aws("kms", "disable-key", "--key-id", key)
    assert (
        "DisabledException"
        in aws("kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256", check=False).stderr
    )
    aws("kms", "enable-key", "--key-id", key)
    aws("kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256")

    aws("kms", "delete-alias", "--alias-name", alias)
    deletion = aws("kms", "schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7").json
    assert deletion["KeyState"] == "PendingDeletion"
    aws("kms", "cancel-key-deletion", "--key-id", key)
    assert aws("kms", "describe-key", "--key-id", key).json["KeyMetadata"]["KeyState"] == "Disabled"


def test_a_disabled_key_stops_the_command_line(aws, key, bucket, file):
    aws("s3", "cp", file, f"s3://{bucket}/locked", "--sse", "aws:kms", "--sse-kms-key-id", key["KeyId"])
    aws("kms", "disable-key", "--key-id", key["KeyId"])
    refusal = aws("s3", "cp", f"s3://{bucket}/locked", "-", check=False)
    assert refusal.returncode != 0
    assert "KMS.DisabledException" in refusal.stderr
    aws("kms", "enable-key", "--key-id", key["KeyId"])
    assert aws("s3", "cp", f"s3://{bucket}/locked", "-", text=False).stdout == file.read_bytes()


def test_the_banner_on_a_terminal_makes_aws_work(new_server, tmp_path):
    """What the start prints on a terminal is pasted into a shell, and `aws` works there."""
    port = free_port()
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [str(binary()), "serve", "--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{port}"],
        env=clean_environment(), stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    shown = ""
    try:
        deadline = time.monotonic() + 30
        while shown.count("export ") < 4 and time.monotonic() < deadline:
            shown += os.read(leader, 65536).decode()
        exports = [line.strip() for line in shown.splitlines() if line.strip().startswith("export ")]
        assert len(exports) == 4, shown
        assert any(line.startswith(f"export AWS_ENDPOINT_URL=https://127.0.0.1:{port}") for line in exports)
        script = "\n".join([*exports, f"exec {tool('aws')} s3 mb s3://pasted"])
        done = subprocess.run(
            ["bash", "-c", script], env=clean_environment(), capture_output=True, text=True, timeout=60
        )
        assert done.stdout == "make_bucket: pasted\n", done.stderr
    finally:
        process.terminate()
        process.wait(30)
        os.close(leader)


def test_json_error_output(aws):
    refusal = aws("kms", "describe-key", "--key-id", "fake-key-id", check=False)
    assert refusal.returncode in (254, 255)
    assert "(NotFoundException)" in refusal.stderr
    assert "Invalid keyId 'fake-key-id'" in refusal.stderr
    assert json.loads(aws("kms", "list-aliases").stdout)["Aliases"] is not None
