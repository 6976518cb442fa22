"""Other clients that people have: s5cmd, rclone, s3cmd."""

import os
import subprocess
from pathlib import Path

import pytest

from support.calls import body_of, keys_of
from support.data import content
from support.server import tool

SIZES = {"small.txt": 20, "with space.bin": 70_000, "deep/er/large.bin": 20_000_000}


def wanted(name):
    """The path of a command, or a skip that says where to get it."""
    path = tool(name)
    if path is None:
        pytest.skip(f"{name} is not installed (pip install -r tests/clients/requirements.txt)")
    return path


def run(command, environment, **options):
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=150, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def tree(tmp_path):
    """A directory with a few files."""
    root = tmp_path / "tree"
    for name, size in SIZES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(size, name))
    return root


def files(root):
    root = Path(root)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_s5cmd(server, s3, bucket, tree, tmp_path):
    s5cmd = wanted("s5cmd")
    environment = server.environment() | {"S3_ENDPOINT_URL": server.url}
    if server.ca:
        environment["AWS_CA_BUNDLE"] = environment["SSL_CERT_FILE"] = server.ca
    run([s5cmd, "cp", "--sse", "aws:kms", f"{tree}/", f"s3://{bucket}/t/"], environment)
    assert keys_of(s3, bucket) == sorted(f"t/{name}" for name in SIZES)
    assert s3.head_object(Bucket=bucket, Key="t/small.txt")["ServerSideEncryption"] == "aws:kms"
    assert "small.txt" in run([s5cmd, "ls", f"s3://{bucket}/t/*"], environment)
    run([s5cmd, "cp", f"s3://{bucket}/t/*", f"{tmp_path}/back/"], environment)
    assert files(tmp_path / "back") == files(tree)
    shown = subprocess.run(
        [s5cmd, "cat", f"s3://{bucket}/t/small.txt"], env=environment, capture_output=True, timeout=60
    )
    assert shown.stdout == content(20, "small.txt")
    run([s5cmd, "cp", f"s3://{bucket}/t/small.txt", f"s3://{bucket}/copy.txt"], environment)
    assert body_of(s3.get_object(Bucket=bucket, Key="copy.txt")) == content(20, "small.txt")
    run([s5cmd, "rm", f"s3://{bucket}/*"], environment)
    assert keys_of(s3, bucket) == []


@pytest.mark.slow
def test_rclone(server, s3, bucket, tree, tmp_path):
    rclone = wanted("rclone")
    environment = server.environment() | {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_ROOM_TYPE": "s3",
        "RCLONE_CONFIG_ROOM_PROVIDER": "Other",
        "RCLONE_CONFIG_ROOM_ENV_AUTH": "true",
        "RCLONE_CONFIG_ROOM_ENDPOINT": server.url,
        "RCLONE_CONFIG_ROOM_REGION": server.region,
        "RCLONE_CONFIG_ROOM_FORCE_PATH_STYLE": "true",
        "RCLONE_CONFIG_ROOM_SERVER_SIDE_ENCRYPTION": "aws:kms",
        "RCLONE_CONFIG_ROOM_UPLOAD_CUTOFF": "8M",
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
    }
    if server.ca:
        environment["RCLONE_CA_CERT"] = server.ca
    run([rclone, "copy", tree, f"room:{bucket}/t"], environment)
    assert keys_of(s3, bucket) == sorted(f"t/{name}" for name in SIZES)
    assert s3.head_object(Bucket=bucket, Key="t/deep/er/large.bin")["ServerSideEncryption"] == "aws:kms"
    run([rclone, "check", "--download", tree, f"room:{bucket}/t"], environment)
    run([rclone, "sync", f"room:{bucket}/t", tmp_path / "back"], environment)
    assert files(tmp_path / "back") == files(tree)
    run([rclone, "moveto", f"room:{bucket}/t/small.txt", f"room:{bucket}/env:=/small,@.txt"], environment)
    assert body_of(s3.get_object(Bucket=bucket, Key="env:=/small,@.txt")) == content(20, "small.txt")
    listing = run([rclone, "lsf", "-R", "--files-only", f"room:{bucket}"], environment)
    assert set(listing.split("\n")) - {""} == {"env:=/small,@.txt", "t/with space.bin", "t/deep/er/large.bin"}
    run([rclone, "purge", f"room:{bucket}/t"], environment)
    assert keys_of(s3, bucket) == ["env:=/small,@.txt"]


@pytest.mark.slow
def test_s3cmd(server, s3, bucket, tree, tmp_path):
    s3cmd = wanted("s3cmd")
    config = tmp_path / "s3cfg"
    config.write_text(
        f"[default]\naccess_key = {server.access_key}\nsecret_key = {server.secret_key}\n"
        f"host_base = {server.host}\nhost_bucket = {server.host}\nbucket_location = {server.region}\n"
        f"use_https = {server.tls}\nca_certs_file = {server.ca or ''}\nsignature_v2 = False\n"
        "multipart_chunk_size_mb = 6\n"
    )
    command, environment = [s3cmd, "--config", config], server.environment()
    run(
        [
            *command,
            "put",
            "--recursive",
            "--server-side-encryption-kms-id=alias/aws/s3",
            f"{tree}/",
            f"s3://{bucket}/t/",
        ],
        environment,
    )
    assert keys_of(s3, bucket) == sorted(f"t/{name}" for name in SIZES)
    assert s3.head_object(Bucket=bucket, Key="t/small.txt")["ServerSideEncryption"] == "aws:kms"
    back = tmp_path / "back"
    back.mkdir()
    run([*command, "get", "--recursive", f"s3://{bucket}/t/", f"{back}/"], environment)
    assert files(back) == files(tree)
    assert "small.txt" in run([*command, "ls", f"s3://{bucket}/t/"], environment)
    run([*command, "cp", f"s3://{bucket}/t/small.txt", f"s3://{bucket}/copy.txt"], environment)
    assert body_of(s3.get_object(Bucket=bucket, Key="copy.txt")) == content(20, "small.txt")
    assert "Location" in run([*command, "info", f"s3://{bucket}"], environment)
    run([*command, "del", "--recursive", "--force", f"s3://{bucket}"], environment)
    assert keys_of(s3, bucket) == []
