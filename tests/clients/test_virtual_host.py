"""Buckets in the host name, and AWS's own names for the services."""

import base64
import hashlib
import re
import socket

import pytest
from botocore.config import Config

from support.calls import body_of
from support.data import content
from support.requests import Signer, send, signed

DATA = content(10_000, "hosts")
DOMAINS = ["localhost", "s3.amazonaws.com", "s3.us-east-1.amazonaws.com"]


@pytest.fixture
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/k", Body=DATA)
    return bucket


def at_host(server, host, method, path, query=(), body=b"", headers=None):
    """A signed request that names `host`."""
    return signed(server, method, path, query, headers, body, signer=_signer(server, host))


def _signer(server, host):
    signer = Signer.of(server)
    signer.host = host
    return signer


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("port", ["", ":9000"])
def test_the_bucket_is_in_the_host(server, stored, domain, port):
    host = f"{stored}.{domain}{port}"
    assert at_host(server, host, "GET", "/a/k").body == DATA
    listing = at_host(server, host, "GET", "/", [("list-type", "2")])
    assert b"<Key>a/k</Key>" in listing.body
    assert f"<Name>{stored}</Name>".encode() in listing.body
    assert at_host(server, host, "HEAD", "/").status == 200
    assert at_host(server, host, "PUT", "/b", body=b"x").status == 200
    missing = at_host(server, host, "GET", "/none")
    assert (missing.status, missing.code) == (404, "NoSuchKey")


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_bare_domain_is_path_style(server, stored, domain):
    assert at_host(server, domain, "GET", f"/{stored}/a/k").body == DATA
    assert b"<ListAllMyBucketsResult" in at_host(server, domain, "GET", "/").body


@pytest.mark.parametrize("style", ["{bucket}.localhost:9000/", "localhost:9000/{bucket}/"])
def test_the_location_of_an_upload_is_in_the_requests_style(server, bucket, style):
    scheme, (host, _, path) = server.url.split(":")[0], style.format(bucket=bucket).partition("/")
    ask = lambda *arguments, **options: at_host(server, host, arguments[0], f"/{path}a/b", *arguments[1:], **options)
    id = re.search(b"<UploadId>(.*)</UploadId>", ask("POST", [("uploads", "")]).body)[1].decode()
    etag = ask("PUT", [("partNumber", "1"), ("uploadId", id)], body=b"x").headers["ETag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    answer = ask("POST", [("uploadId", id)], body=document)
    assert answer.status == 200, answer.body
    assert f"<Location>{scheme}://{host}/{path}a%2Fb</Location>".encode() in answer.body


def test_host_names_are_case_insensitive(server, stored):
    assert at_host(server, f"{stored}.S3.AmazonAWS.com", "GET", "/a/k").body == DATA
    assert at_host(server, f"{stored.upper()}.LOCALHOST:9000", "GET", "/a/k").body == DATA


def test_a_dot_may_end_a_hosts_name(server, s3, stored):
    for host in (f"{stored}.localhost.", f"{stored}.s3.amazonaws.com.:9000"):
        assert at_host(server, host, "GET", "/a/k").body == DATA
        assert at_host(server, host, "PUT", "/_/k", body=b"internal to nobody").status == 200
        assert body_of(s3.get_object(Bucket=stored, Key="_/k")) == b"internal to nobody"
    before = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert at_host(server, f"{stored}.localhost.", "PUT", f"/{stored}-object", body=b"x").status == 200
    assert body_of(s3.get_object(Bucket=stored, Key=f"{stored}-object")) == b"x"
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == before
    assert at_host(server, "localhost.", "GET", f"/{stored}/a/k").body == DATA


def test_a_bucket_with_dots(server, s3, bucket_names):
    name = f"{next(bucket_names)}.with.dots"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"dotted")
    assert at_host(server, f"{name}.s3.amazonaws.com", "GET", "/k").body == b"dotted"
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def test_every_path_of_a_buckets_host_is_a_key(server, stored):
    host = f"{stored}.localhost"
    for key in ("_/k", "_/v1/jobs", "_/metrics", "_/health/ready"):
        assert at_host(server, host, "PUT", f"/{key}", body=key.encode()).status == 200
        assert at_host(server, host, "GET", f"/{key}").body == key.encode()
    assert at_host(server, "localhost", "GET", "/_/health/ready").body == b"ready\n"
    site = send(server, "GET", "/_/metrics", {"host": f"{stored}.s3-website.localhost"})
    assert site.status == 404 and b"strongroom_" not in site.body


def test_a_deletion_of_many_that_says_it_is_a_form(server, stored):
    body = b"<Delete><Object><Key>a/k</Key></Object></Delete>"
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    headers = {"content-md5": digest, "content-type": "application/x-www-form-urlencoded"}
    answer = at_host(server, f"{stored}.localhost", "POST", "/", [("delete", "")], body, headers)
    assert answer.status == 200 and b"<Deleted><Key>a/k</Key></Deleted>" in answer.body, answer.body


@pytest.mark.parametrize("host", ["no-such-bucket-at-all.localhost", "no-such-bucket-at-all.s3.amazonaws.com"])
def test_no_such_bucket(server, host):
    answer = at_host(server, host, "GET", "/k")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")
    assert answer.error["BucketName"] == "no-such-bucket-at-all"


def test_any_other_host_is_path_style(server, stored):
    assert at_host(server, "storage.example.org:8443", "GET", f"/{stored}/a/k").body == DATA


def test_curl_resolves_to_here(server, curl, stored):
    port = server.address[1]
    resolve = ["--resolve", f"{stored}.localhost:{port}:127.0.0.1", "--insecure"]
    done = curl(*resolve, f"https://{stored}.localhost:{port}/a/k", text=False, check=True)
    assert done.stdout == DATA


def test_clients_redirected_from_aws_work_unchanged(server, curl, stored):
    host, port = server.address
    redirect = ["--connect-to", f"::{host}:{port}", "--insecure"]
    done = curl(*redirect, f"https://{stored}.s3.us-east-1.amazonaws.com/a/k", text=False, check=True)
    assert done.stdout == DATA
    done = curl(
        *redirect, "--header", "x-amz-target: TrentService.ListKeys",
        "--header", "content-type: application/x-amz-json-1.1", "--data", "{}",
        "https://kms.us-east-1.amazonaws.com/", service="kms",
    )  # fmt: skip
    assert '"Keys"' in done.stdout, done.stdout


def test_the_kms_host_serves_no_buckets(server, stored):
    answer = at_host(server, "kms.us-east-1.amazonaws.com", "GET", f"/{stored}/a/k")
    assert answer.status in (400, 404)
    assert DATA[:100] not in answer.body


def test_presigned_by_host(server, stored):
    signer = _signer(server, f"{stored}.s3.amazonaws.com")
    answer = send(server, "GET", signer.presign("GET", "/a/k"), {"host": signer.host})
    assert answer.body == DATA


def test_boto3_in_virtual_host_style(server, stored, monkeypatch):
    resolve, here = socket.getaddrinfo, f"{stored}.localhost"
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **named: resolve("127.0.0.1" if host == here else host, *more, **named),
    )
    client = server.client(
        "s3",
        endpoint_url=f"https://localhost:{server.address[1]}",
        verify=False,
        config=Config(s3={"addressing_style": "virtual"}),
    )
    assert body_of(client.get_object(Bucket=stored, Key="a/k")) == DATA


def test_the_certificate_covers_localhost(server):
    context = server.tls_context()
    with socket.create_connection(server.address, timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_base_domains_come_from_the_config(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('base_domains = ["storage.example.org"]\n')
    server = new_server(arguments=["--config", config])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="hosted")
    s3.put_object(Bucket="hosted", Key="k", Body=b"x")
    assert at_host(server, "hosted.storage.example.org", "GET", "/k").body == b"x"
