"""Other clients that people have: s5cmd, rclone, s3cmd, restic, minio-py, DuckDB, pyarrow, smart_open, and Rust's
`object_store`. Their buckets' default is SSE-KMS."""

import io
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import certifi
import duckdb
import duckdb_extension_httpfs
import obstore
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
import urllib3
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.sseconfig import Rule, SSEConfig

from support.calls import body_of, keys_of, missing
from support.data import content
from support.server import tool

SIZES = {"small.txt": 20, "with space.bin": 70_000, "deep/er/large.bin": 20_000_000}


def wanted(name):
    """The path of a command. Where it is missing, `make test` fails; who runs this file by hand is told where to get it."""
    path = tool(name)
    if path is None:
        missing(f"{name} is not installed (pip install -r tests/clients/requirements.txt)")
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


KMS = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}


@pytest.fixture
def bucket(s3, bucket):
    """A bucket whose default is SSE-KMS. What a client leaves there is under it, asked for or not."""
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [KMS]})
    yield bucket
    for key in keys_of(s3, bucket):
        assert s3.head_object(Bucket=bucket, Key=key)["ServerSideEncryption"] == "aws:kms", key


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
    # It copies lists with objects unless it is told not to, which buckets without lists refuse, here as on AWS.
    run([*command, "cp", "--acl-private", f"s3://{bucket}/t/small.txt", f"s3://{bucket}/copy.txt"], environment)
    assert body_of(s3.get_object(Bucket=bucket, Key="copy.txt")) == content(20, "small.txt")
    assert "Location" in run([*command, "info", f"s3://{bucket}"], environment)
    run([*command, "del", "--recursive", "--force", f"s3://{bucket}"], environment)
    assert keys_of(s3, bucket) == []


@pytest.mark.slow
def test_restic(server, bucket, tree, tmp_path):
    """A backup, made, checked, thinned out and restored."""
    restic = wanted("restic")
    environment = server.environment() | {
        "RESTIC_REPOSITORY": f"s3:{server.url}/{bucket}/backups",
        "RESTIC_PASSWORD": "secret",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }
    # Older ones do not know RESTIC_CACERT.
    restic = [restic, *(["--cacert", server.ca] if server.ca else [])]
    run([*restic, "init"], environment)
    run([*restic, "backup", tree], environment)
    (tree / "small.txt").write_bytes(b"changed")
    run([*restic, "backup", tree], environment)
    run([*restic, "check", "--read-data"], environment)
    run([*restic, "forget", "--keep-last", "1", "--prune"], environment)
    run([*restic, "restore", "latest", "--target", tmp_path / "back"], environment)
    assert files(tmp_path / "back" / str(tree).lstrip("/")) == files(tree)


def minio_client(server):
    http = urllib3.PoolManager(ca_certs=server.ca or certifi.where())
    return Minio(
        server.host,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=server.tls,
        http_client=http,
    )


def test_minio_py(server, bucket_names):
    client, bucket = minio_client(server), next(bucket_names)
    client.make_bucket(bucket)
    client.set_bucket_encryption(bucket, SSEConfig(Rule.new_sse_kms_rule()))
    assert client.bucket_exists(bucket) and not client.bucket_exists(bucket + "-none")
    data = content(11 << 20, "minio")
    client.put_object(bucket, "a/small é", io.BytesIO(b"hello"), 5, metadata={"color": "red"})
    client.put_object(bucket, "a/large", io.BytesIO(data), -1, part_size=5 << 20)
    metadata = client.stat_object(bucket, "a/small é").metadata
    assert metadata["x-amz-meta-color"] == "red" and metadata["x-amz-server-side-encryption"] == "aws:kms"
    assert client.get_object(bucket, "a/large").read() == data
    assert client.get_object(bucket, "a/large", offset=7, length=9).read() == data[7:16]
    listed = {found.object_name: found.size for found in client.list_objects(bucket, "a/", recursive=True)}
    assert listed == {"a/small é": 5, "a/large": len(data)}
    client.copy_object(bucket, "copy", CopySource(bucket, "a/large"))
    client.compose_object(bucket, "both", [ComposeSource(bucket, "a/large"), ComposeSource(bucket, "a/small é")])
    assert client.get_object(bucket, "both").read() == data + b"hello"
    tags = Tags.new_object_tags()
    tags["k"] = "v"
    client.set_object_tags(bucket, "copy", tags)
    assert client.get_object_tags(bucket, "copy") == {"k": "v"}
    url = client.presigned_get_object(bucket, "a/small é")
    assert urllib3.PoolManager(ca_certs=server.ca).request("GET", url).data == b"hello"
    with pytest.raises(S3Error, match="NoSuchKey"):
        client.get_object(bucket, "none")
    names = [found.object_name for found in client.list_objects(bucket, recursive=True)]
    assert list(client.remove_objects(bucket, [DeleteObject(name) for name in names])) == []
    client.remove_bucket(bucket)


def table(rows=100_000):
    return pyarrow.table({"n": range(rows), "even": [n % 2 == 0 for n in range(rows)], "text": [f"row {n}" for n in range(rows)]})


def test_pyarrow_writes_and_reads_a_dataset(server, s3, bucket):
    filesystem = pyarrow.fs.S3FileSystem(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint_override=server.host,
        scheme="https" if server.tls else "http",
        region=server.region,
        tls_ca_file_path=server.ca or "",
    )
    pyarrow.parquet.write_to_dataset(table(), f"{bucket}/data", partition_cols=["even"], filesystem=filesystem)
    assert {key.split("/")[1] for key in keys_of(s3, bucket) if not key.endswith("/")} == {"even=false", "even=true"}
    dataset = pyarrow.dataset.dataset(f"{bucket}/data", filesystem=filesystem, partitioning="hive")
    found = dataset.to_table(columns=["n"], filter=pyarrow.dataset.field("n") < 10)
    assert sorted(found["n"].to_pylist()) == list(range(10))
    assert dataset.count_rows() == 100_000


def test_duckdb_writes_and_asks_parquet_where_it_lies(server, s3, bucket):
    connection = duckdb.connect()
    extension = Path(duckdb_extension_httpfs.__file__).parent.glob("extensions/*/httpfs.duckdb_extension")
    connection.load_extension(str(next(extension)))
    if server.ca:
        connection.sql(f"set ca_cert_file = '{server.ca}'")
    connection.sql(
        f"""create secret (type s3, provider config, key_id '{server.access_key}', secret '{server.secret_key}',
            region '{server.region}', endpoint '{server.host}', url_style 'path', use_ssl {str(server.tls).lower()})"""
    )
    connection.sql(f"copy (select range as n, 'row ' || range as t from range(200000)) to 's3://{bucket}/d/1.parquet'")
    connection.sql(f"copy (select range as n, '' as t from range(200000, 200010)) to 's3://{bucket}/d/2.parquet'")
    assert keys_of(s3, bucket) == ["d/1.parquet", "d/2.parquet"]
    query = f"select count(*), sum(n)::bigint from 's3://{bucket}/d/*.parquet' where n >= 199990"
    assert connection.sql(query).fetchall() == [(20, sum(range(199_990, 200_010)))]


def test_smart_open(s3, bucket):
    """Files as streams: written in parts as they come, read by ranges, and given up by aborting the upload."""
    smart_open = pytest.importorskip("smart_open")
    options = {"client": s3, "min_part_size": 5 << 20}
    data, url = content(12 << 20, "smart_open"), f"s3://{bucket}/large"
    with smart_open.open(url, "wb", transport_params=options) as file:
        for start in range(0, len(data), 1 << 20):
            file.write(data[start : start + (1 << 20)])
    with smart_open.open(url, "rb", transport_params={"client": s3}) as file:
        assert file.read(10) == data[:10]
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]
        file.seek(6 << 20)
        assert file.read(100) == data[6 << 20 : (6 << 20) + 100]
    with smart_open.open(f"s3://{bucket}/lines.gz", "w", transport_params=options) as file:
        file.writelines(f"line {number}\n" for number in range(1000))
    with smart_open.open(f"s3://{bucket}/lines.gz", transport_params={"client": s3}) as file:
        assert sum(1 for _ in file) == 1000
    with smart_open.open(f"s3://{bucket}/empty", "wb", transport_params=options):
        pass
    assert s3.head_object(Bucket=bucket, Key="empty")["ContentLength"] == 0
    with pytest.raises(ZeroDivisionError), smart_open.open(f"s3://{bucket}/none", "wb", transport_params=options) as file:
        file.write(data)
        raise ZeroDivisionError
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with pytest.raises(OSError, match="unable to access"):
        smart_open.open(f"s3://{bucket}/none", "rb", transport_params={"client": s3}).read()
    assert keys_of(s3, bucket) == ["empty", "large", "lines.gz"]


def test_object_store(server, bucket):
    """The `object_store` crate, which delta-rs, Polars, DataFusion and others stand on, by its Python binding."""
    store = S3Store(
        bucket,
        endpoint=server.url,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        virtual_hosted_style_request=False,
        conditional_put="etag",
        client_options={"root_certificate": Path(server.ca).read_bytes()} if server.ca else {},
    )
    data = content(12 << 20, "object_store")
    first = obstore.put(store, "a/small é", b"hello", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "a/small é", b"again", mode="create")
    obstore.put(store, "a/small é", b"second", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "a/small é", b"third", mode={"e_tag": first["e_tag"]})
    obstore.put(store, "a/large", data, chunk_size=5 << 20, use_multipart=True)
    assert bytes(obstore.get(store, "a/small é").bytes()) == b"second"
    assert bytes(obstore.get(store, "a/large").bytes()) == data
    ranges = obstore.get_ranges(store, "a/large", starts=[0, 6 << 20], lengths=[5, 7])
    assert [bytes(found) for found in ranges] == [data[:5], data[6 << 20 : (6 << 20) + 7]]
    obstore.copy(store, "a/large", "copy")
    obstore.rename(store, "copy", "renamed")
    listed = {found["path"]: found["size"] for page in obstore.list(store) for found in page}
    assert listed == {"a/small é": 6, "a/large": len(data), "renamed": len(data)}
    folded = obstore.list_with_delimiter(store)
    assert folded["common_prefixes"] == ["a"] and [found["path"] for found in folded["objects"]] == ["renamed"]
    url = obstore.sign(store, "GET", "renamed", timedelta(minutes=1))
    assert urllib3.PoolManager(ca_certs=server.ca).request("GET", url).data == data
    obstore.delete(store, ["a/large", "renamed"])
    with pytest.raises(FileNotFoundError):
        obstore.head(store, "renamed")
