"""Signatures: what is let in, what is not, and what is said to whom."""

import base64
import hashlib
import re
import time
from datetime import datetime, timedelta, timezone
from email.utils import formatdate

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from support.calls import body_of, keys_of
from support.data import checksum, content
from support.requests import UNSIGNED, Response, Signer, head_bytes, raw_socket, seed_signature, send, signed, target

SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
DATA = content(200_000, "sigv4")
# A time as errors tell it.
TO_THE_SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def now(**shift):
    return datetime.now(timezone.utc) + timedelta(**shift)


@pytest.fixture
def stored(s3, bucket):
    """The path of an object that holds DATA."""
    s3.put_object(Bucket=bucket, Key="stored", Body=DATA)
    return f"/{bucket}/stored"


# --- curl ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl(server, curl, bucket, tmp_path, version):
    source = tmp_path / "source"
    source.write_bytes(DATA)
    url = f"{server.url}/{bucket}/curl"
    put = curl(version, "--upload-file", source, "--header", "x-amz-server-side-encryption: aws:kms", "-i", url)
    heads = [line.strip() for line in put.stdout.splitlines() if line.startswith("HTTP/")]
    assert heads[-1] == ("HTTP/1.1 200 OK" if version == "--http1.1" else "HTTP/2 200")
    assert "x-amz-server-side-encryption: aws:kms" in put.stdout
    assert curl(version, url, text=False, check=True).stdout == DATA
    listing = curl(version, f"{server.url}/{bucket}?list-type=2&prefix=cu").stdout
    assert "<Key>curl</Key>" in listing
    part = curl(version, "--range", "100-199", url, text=False)
    assert part.stdout == DATA[100:200]
    gone = curl(version, "-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", url)
    assert gone.stdout == "204"


def test_curl_on_kms(server, curl):
    done = curl(
        "--header", "x-amz-target: TrentService.ListKeys", "--header", "content-type: application/x-amz-json-1.1",
        "--data", "{}", server.url, service="kms",
    )  # fmt: skip
    assert '"Keys"' in done.stdout, done.stdout


# --- signatures that do not hold -------------------------------------------------------------------------------------


def test_a_wrong_secret_is_told_what_was_signed(server, stored):
    signer = Signer.of(server)
    signer.secret_key += "x"
    made = signer.headers("GET", stored, [("response-content-type", "a b")])
    answer = send(server, "GET", target(stored, [("response-content-type", "a b")]), made)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    error = answer.error
    assert error["Message"] == (
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method."
    )
    canonical = signer.canonical_request(
        "GET",
        stored,
        [("response-content-type", "a b")],
        {name: made[name] for name in ("host", "x-amz-content-sha256", "x-amz-date")},
        made["x-amz-content-sha256"],
    )
    assert error["CanonicalRequest"] == canonical
    assert error["StringToSign"] == signer.string_to_sign(canonical)
    assert error["SignatureProvided"] == seed_signature(made)
    assert error["AWSAccessKeyId"] == server.access_key
    assert error["StringToSignBytes"] == error["StringToSign"].encode().hex(" ")
    assert error["CanonicalRequestBytes"] == canonical.encode().hex(" ")
    assert server.secret_key.encode() not in answer.body


@pytest.mark.parametrize("part", ["method", "path", "query", "header", "host"])
def test_every_part_is_signed(server, bucket, stored, part):
    made = Signer.of(server).headers("GET", stored, [("versionId", "null")], {"x-amz-meta-a": "b"})
    sent = {"method": "GET", "path": target(stored, [("versionId", "null")]), "headers": made}
    changes = {
        "method": {"method": "DELETE"},
        "path": {"path": target(f"/{bucket}/other", [("versionId", "null")])},
        "query": {"path": target(stored, [("versionId", "x")])},
        "header": {"headers": made | {"x-amz-meta-a": "c"}},
        "host": {"headers": made | {"host": "localhost:1"}},
    }
    sent |= changes[part]
    answer = send(server, sent["method"], sent["path"], sent["headers"])
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


def test_an_unknown_key_id(server, stored):
    signer = Signer.of(server)
    signer.access_key = "AKIAUNKNOWNUNKNOWN00"
    answer = signed(server, "GET", stored, signer=signer)
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    assert answer.error["Message"] == "The AWS Access Key Id you provided does not exist in our records."
    assert answer.error["AWSAccessKeyId"] == "AKIAUNKNOWNUNKNOWN00"


@pytest.mark.parametrize("minutes", [-16, 16, -600])
def test_a_skewed_clock(server, stored, minutes):
    signer = Signer.of(server, when=now(minutes=minutes))
    answer = signed(server, "GET", stored, signer=signer)
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")
    error = answer.error
    assert error["Message"] == "The difference between the request time and the current time is too large."
    assert error["RequestTime"] == signer.timestamp
    assert error["MaxAllowedSkewMilliseconds"] == "900000"
    assert re.fullmatch(TO_THE_SECOND, error["ServerTime"])


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_within_a_quarter_of_an_hour(server, stored, minutes):
    assert signed(server, "GET", stored, signer=Signer.of(server, when=now(minutes=minutes))).status == 200


def test_a_date_header_is_as_good_as_x_amz_date(server, stored):
    # As botocore signs where an application sets the header.
    request = AWSRequest("GET", server.url + stored, headers={"date": "", "x-amz-content-sha256": UNSIGNED})
    S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", server.region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert "x-amz-date" not in headers and headers["date"].endswith(" -0000")
    response = send(server, "GET", stored, headers | {"host": server.host})
    assert (response.status, response.body) == (200, DATA)
    # Another hour of the same day, for the scope names the day.
    hour = 3600 if now().hour > 0 else -3600
    headers["date"] = formatdate(time.time() - hour)
    assert send(server, "GET", stored, headers | {"host": server.host}).status == 403


def test_the_scope_s_date_must_be_the_request_s(server, stored):
    yesterday = Signer.of(server, when=now(days=-1))
    made = yesterday.headers("GET", stored)
    made["x-amz-date"] = Signer.of(server).timestamp
    answer = send(server, "GET", stored, made)
    assert answer.status in (400, 403)
    assert answer.code in ("AuthorizationHeaderMalformed", "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("option", "value"), [("region", "eu-central-1"), ("service", "kms"), ("service", "sts"), ("region", "")]
)
def test_a_foreign_scope(server, stored, option, value):
    answer = signed(server, "GET", stored, signer=Signer.of(server, **{option: value}))
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")
    if value == "eu-central-1":
        assert answer.error["Region"] == "us-east-1"
        assert answer.error["Message"] == (
            "The authorization header is malformed; the region 'eu-central-1' is wrong; expecting 'us-east-1'"
        )


@pytest.mark.parametrize(
    "text",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=x",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=zz",
        "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/s3/aws4_request, Signature=00",
        "AWS4-HMAC-SHA256 nonsense",
        "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=",
    ],
)
def test_malformed_authorization(server, stored, text):
    headers = {"host": server.host, "x-amz-date": Signer.of(server).timestamp, "x-amz-content-sha256": UNSIGNED}
    answer = send(server, "GET", stored, headers | {"authorization": text})
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("text", ["Bearer abcdef", "Basic dTpw", "", "nonsense"])
def test_other_schemes(server, stored, text):
    answer = send(server, "GET", stored, {"host": server.host, "authorization": text})
    assert answer.status in (400, 403)
    assert answer.code in ("InvalidArgument", "AccessDenied")


@pytest.mark.parametrize("form", ["header", "query"])
def test_signature_version_2_is_refused(server, stored, form):
    headers, path = {"host": server.host, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, stored
    if form == "header":
        headers["authorization"] = f"AWS {server.access_key}:frJIUN8DYpKDtOLCwo//yllqDzg="
    else:
        path += f"?AWSAccessKeyId={server.access_key}&Expires=1999999999&Signature=frJIUN8DYpKDtOLCwo%2F%2FyllqDzg%3D"
    answer = send(server, "GET", path, headers)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.error["Message"] == (
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    )


def test_two_ways_of_signing_at_once(server, stored):
    path = Signer.of(server).presign("GET", stored)
    answer = send(server, "GET", path, Signer.of(server).headers("GET", stored))
    assert (answer.status, answer.code) == (400, "InvalidArgument")


# --- headers that are not signed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["x-amz-copy-source", "x-amz-server-side-encryption", "x-amz-meta-a", "x-amz-storage-class"]
)
@pytest.mark.parametrize("way", ["header", "presigned"])
def test_an_unsigned_x_amz_header(server, s3, bucket, way, header):
    path, extra = f"/{bucket}/k", {header: "aws:kms"}
    if way == "header":
        answer = signed(server, "PUT", path, body=b"x", unsigned=extra)
    else:
        answer = send(server, "PUT", Signer.of(server).presign("PUT", path), {"host": server.host} | extra, b"x")
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert answer.error["Message"] == "There were headers present in the request which were not signed"
    assert answer.error["HeadersNotSigned"] == header
    assert keys_of(s3, bucket) == []


def test_host_must_be_signed(server, stored):
    signer = Signer.of(server)
    headers = {"x-amz-content-sha256": UNSIGNED, "x-amz-date": signer.timestamp}
    canonical = signer.canonical_request("GET", stored, [], headers, UNSIGNED)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.access_key}/{signer.scope}, "
        f"SignedHeaders=x-amz-content-sha256;x-amz-date, Signature={signer.sign(signer.string_to_sign(canonical))}"
    )
    answer = send(server, "GET", stored, headers | {"host": server.host})
    assert answer.status in (400, 403)


def test_two_host_headers(server, stored):
    made = list(Signer.of(server).headers("GET", stored).items())
    for second in (server.host, "localhost"):
        answer = send(server, "GET", stored, [*made, ("host", second)])
        assert answer.status == 400


def test_header_values_are_trimmed_and_folded(server, s3, bucket):
    """The canonical form has single spaces; what is stored is what came."""
    made = Signer.of(server).headers("PUT", f"/{bucket}/k", headers={"x-amz-meta-a": "one   two"}, payload=UNSIGNED)
    assert send(server, "PUT", f"/{bucket}/k", made, b"x").status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"]["a"] == "one   two"


def test_anonymous(server, bucket, stored):
    for method, path in (("GET", stored), ("GET", f"/{bucket}"), ("PUT", stored), ("DELETE", stored)):
        answer = send(server, method, path, {"host": server.host})
        assert (answer.status, answer.code) == (403, "AccessDenied"), (method, path)
    # Whoever asks for the list of buckets is sent to AWS's product page.
    assert send(server, "GET", "/", {"host": server.host}).status == 307
    assert signed(server, "GET", stored).body == DATA


def test_paths_that_are_not_encoded(server, s3, bucket):
    """Terraform, rclone and others leave reserved characters as they are and sign the path so."""
    path = f"/{bucket}/env:/a=b,c@d"
    answer = signed(server, "PUT", path, body=b"x")
    assert answer.status == 200, answer.body
    assert keys_of(s3, bucket) == ["env:/a=b,c@d"]


# --- presigned URLs --------------------------------------------------------------------------------------------------


def test_presigned(server, s3, bucket, stored):
    signer = Signer.of(server)
    assert send(server, "GET", signer.presign("GET", stored), {"host": server.host}).body == DATA
    put = signer.presign("PUT", f"/{bucket}/up", headers={"x-amz-server-side-encryption": "aws:kms"})
    answer = send(server, "PUT", put, {"host": server.host, "x-amz-server-side-encryption": "aws:kms"}, b"up")
    assert answer.status == 200
    assert s3.head_object(Bucket=bucket, Key="up")["ServerSideEncryption"] == "aws:kms"
    head = send(server, "HEAD", signer.presign("GET", stored), {"host": server.host})
    assert head.status == 403
    week = signer.presign("GET", stored, expires=604_800)
    assert send(server, "GET", week, {"host": server.host}).status == 200
    override = signer.presign("GET", stored, [("response-content-type", "text/x-test")])
    assert send(server, "GET", override, {"host": server.host}).headers["Content-Type"] == "text/x-test"


def test_headers_in_a_presigned_query(server, s3, bucket, stored):
    """Whoever presigns may move `x-amz-` headers into the URL: they say there what they say as headers."""
    signer, host = Signer.of(server), {"host": server.host}
    said = [("x-amz-meta-a", "é"), ("X-Amz-Meta-B", "2"), ("x-amz-storage-class", "STANDARD_IA"), ("x-amz-tagging", "t=1")]
    assert send(server, "PUT", signer.presign("PUT", f"/{bucket}/up", said), host, b"up").status == 200
    head = s3.head_object(Bucket=bucket, Key="up")
    assert head["Metadata"] == {"a": "=?UTF-8?Q?=C3=A9?=", "b": "2"}
    assert (head["StorageClass"], head["TagCount"]) == ("STANDARD_IA", 1)
    copy = signer.presign("PUT", f"/{bucket}/copy", [("x-amz-copy-source", f"{bucket}/up")])
    assert send(server, "PUT", copy, host).status == 200
    assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == b"up"
    for owner, status in (("111122223333", 403), (server.client("sts").get_caller_identity()["Account"], 200)):
        url = signer.presign("GET", stored, [("x-amz-expected-bucket-owner", owner)])
        assert send(server, "GET", url, host).status == status
    mode = send(server, "GET", signer.presign("GET", f"/{bucket}/up", [("x-amz-checksum-mode", "ENABLED")]), host)
    assert mode.headers["x-amz-checksum-crc64nvme"] == checksum("CRC64NVME", b"up")


def test_what_a_presigned_query_cannot_say(server, s3, bucket):
    """SDKs sign the checksum of an empty body into URLs."""
    said = [
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ]
    url = Signer.of(server).presign("PUT", f"/{bucket}/k", said)
    assert send(server, "PUT", url, {"host": server.host}, b"data").status == 200
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"data"
    # What the query says may not be said otherwise by who holds the URL.
    other = send(server, "PUT", Signer.of(server).presign("PUT", f"/{bucket}/l", [("x-amz-acl", "private")]),
                 {"host": server.host, "x-amz-acl": "public-read"}, b"data")  # fmt: skip
    assert (other.status, other.code, other.error["HeadersNotSigned"]) == (403, "AccessDenied", "x-amz-acl")


def test_boto3_presigns(server, stored, bucket):
    client = server.client("s3", config=Config(signature_version="s3v4"))
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "stored"}, ExpiresIn=60)
    assert send(server, "GET", url.removeprefix(server.url), {"host": server.host}).body == DATA


def test_an_expired_url(server, stored):
    signer = Signer.of(server, when=now(seconds=-10))
    answer = send(server, "GET", signer.presign("GET", stored, expires=5), {"host": server.host})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert answer.error["Message"] == "Request has expired"
    assert answer.error["X-Amz-Expires"] == "5"
    for name in ("Expires", "ServerTime"):
        assert re.fullmatch(TO_THE_SECOND, answer.error[name]), name


def test_an_old_url_that_is_still_good(server, stored):
    signer = Signer.of(server, when=now(hours=-2))
    assert send(server, "GET", signer.presign("GET", stored, expires=10_000), {"host": server.host}).status == 200


def test_a_url_that_is_not_yet_good(server, stored):
    signer = Signer.of(server, when=now(hours=2))
    answer = send(server, "GET", signer.presign("GET", stored), {"host": server.host})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert answer.error["Message"] == "Request is not valid yet"


@pytest.mark.parametrize("expires", ["604801", "-1", "abc", ""])
def test_lifetimes_that_are_refused(server, stored, expires):
    answer = send(server, "GET", Signer.of(server).presign("GET", stored, expires=expires), {"host": server.host})
    assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError")
    if expires == "604801":
        assert answer.error["Message"] == (
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            "604800 seconds"
        )


def test_a_url_that_was_changed(server, bucket, stored):
    url = Signer.of(server).presign("GET", stored)
    for changed in (url.replace("stored", "other"), url + "&versionId=x", url[:-1] + ("0" if url[-1] != "0" else "1")):
        answer = send(server, "GET", changed, {"host": server.host})
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
        assert answer.error["StringToSign"]


def test_a_url_with_a_part_missing(server, stored):
    url = Signer.of(server).presign("GET", stored)
    for name in ("X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Credential"):
        path, query = url.split("?")
        left = "&".join(pair for pair in query.split("&") if not pair.startswith(name + "="))
        answer = send(server, "GET", f"{path}?{left}", {"host": server.host})
        assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError"), name


# --- payloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
@pytest.mark.parametrize("payload", ["sha256", UNSIGNED])
def test_plain_payloads(server, s3, bucket, payload, sse):
    payload = hashlib.sha256(DATA).hexdigest() if payload == "sha256" else payload
    headers = {"x-amz-server-side-encryption": sse}
    assert signed(server, "PUT", f"/{bucket}/k", headers=headers, body=DATA, payload=payload).status == 200
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
def test_a_wrong_digest_keeps_the_old_object(server, s3, bucket, sse):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old", ServerSideEncryption=sse)
    headers = {"x-amz-server-side-encryption": sse}
    claimed = hashlib.sha256(b"other").hexdigest()
    answer = signed(server, "PUT", f"/{bucket}/k", headers=headers, body=DATA, payload=claimed)
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert answer.error["Message"] == "The provided 'x-amz-content-sha256' header does not match what was computed."
    assert answer.error["ClientComputedContentSHA256"] == claimed
    assert answer.error["S3ComputedContentSHA256"] == hashlib.sha256(DATA).hexdigest()
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"old"
    answer = signed(server, "PUT", f"/{bucket}/new", headers=headers, body=DATA, payload=claimed)
    assert answer.code == "XAmzContentSHA256Mismatch"
    assert keys_of(s3, bucket) == ["k"]


@pytest.mark.parametrize("text", ["nonsense", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-X", "A" * 64, "ab" * 31])
def test_payload_hashes_that_are_none(server, bucket, text):
    answer = signed(server, "PUT", f"/{bucket}/k", body=b"x", payload=text)
    assert (answer.status, answer.code) in ((400, "InvalidArgument"), (400, "XAmzContentSHA256Mismatch"))


def test_the_payload_hash_is_wanted(server, stored):
    signer = Signer.of(server)
    made = signer.headers("GET", stored, payload=None)
    answer = send(server, "GET", stored, made)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.error["Message"] == "Missing required header for this request: x-amz-content-sha256"


class Chunked:
    """An upload in signed chunks, every piece of which can be bent before it is sent."""

    def __init__(self, server, path, pieces, mode, trailer=None, headers=None, decoded=None):
        self.server, self.path = server, path
        self.signer = Signer.of(server)
        length = sum(map(len, pieces)) if decoded is None else decoded
        sent = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(length),
            **({"x-amz-trailer": trailer[0]} if trailer else {}),
            **(headers or {}),
        }
        self.headers = self.signer.headers("PUT", path, headers=sent, payload=mode)
        if mode == UNSIGNED_TRAILER:
            body = b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n"
            body += f"{trailer[0]}:{trailer[1]}\r\n\r\n".encode() if trailer else b"\r\n"
        else:
            body, last = self.signer.chunks(seed_signature(self.headers), pieces)
            if trailer:
                line = f"{trailer[0]}:{trailer[1]}\n".encode()
                signature = self.signer.trailer_signature(last, line)
                body = body[:-2] + line[:-1] + f"\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()
        self.body = body

    def send(self, body=None) -> Response:
        return send(self.server, "PUT", self.path, self.headers, self.body if body is None else body)


PIECES = [DATA[:65_536], DATA[65_536:131_072], DATA[131_072:]]
CRC = ("x-amz-checksum-crc32", checksum("CRC32", DATA))
MODES = [(SIGNED_CHUNKS, None), (SIGNED_CHUNKS_TRAILER, CRC), (UNSIGNED_TRAILER, CRC)]
IDS = ["signed", "signed with trailer", "unsigned with trailer"]


@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
@pytest.mark.parametrize(("mode", "trailer"), MODES, ids=IDS)
def test_chunked_payloads(server, s3, bucket, mode, trailer, sse):
    headers = {"x-amz-server-side-encryption": sse}
    answer = Chunked(server, f"/{bucket}/k", PIECES, mode, trailer, headers).send()
    assert answer.status == 200, answer.body
    read = s3.get_object(Bucket=bucket, Key="k")
    assert body_of(read) == DATA
    assert "ContentEncoding" not in read
    if trailer:
        assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == CRC[1]


@pytest.mark.parametrize(("mode", "trailer"), MODES, ids=IDS)
def test_chunked_nothing(server, s3, bucket, mode, trailer):
    trailer = trailer and (trailer[0], checksum("CRC32", b""))
    assert Chunked(server, f"/{bucket}/k", [], mode, trailer).send().status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_a_content_encoding_beside_aws_chunked_is_kept(server, s3, bucket):
    upload = Chunked(server, f"/{bucket}/k", PIECES, SIGNED_CHUNKS, headers={"content-encoding": "aws-chunked,gzip"})
    assert upload.send().status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "gzip"


def bent_bodies(upload):
    """(what is bent, the body) pairs: none may be stored."""
    body = upload.body
    middle = len(body) // 2
    flipped = bytearray(body)
    flipped[middle] ^= 1
    yield "a flipped byte", bytes(flipped)
    first = body.index(b"\r\n") + 2 + 65_536 + 2
    second = first + body[first:].index(b"\r\n") + 2 + 65_536 + 2
    yield "swapped chunks", body[first:second] + body[:first] + body[second:]
    yield "a chunk left out", body[:first] + body[second:]
    yield "a chunk twice", body[:first] + body[:first] + body[first:]
    yield "bytes after the end", body + b"more"


@pytest.mark.parametrize(("mode", "trailer"), MODES, ids=IDS)
def test_bent_chunks_store_nothing(server, s3, bucket, mode, trailer):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    for what, body in bent_bodies(Chunked(server, f"/{bucket}/k", PIECES, mode, trailer)):
        answer = Chunked(server, f"/{bucket}/k", PIECES, mode, trailer).send(body)
        assert 400 <= answer.status < 500, (what, answer.body)
        assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"old", what


def test_a_wrong_chunk_signature(server, s3, bucket):
    upload = Chunked(server, f"/{bucket}/k", PIECES, SIGNED_CHUNKS)
    position = upload.body.rindex(b"chunk-signature=") + len("chunk-signature=")
    bad = bytearray(upload.body)
    bad[position] = ord("0") if bad[position] != ord("0") else ord("1")
    answer = upload.send(bytes(bad))
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert keys_of(s3, bucket) == []


def test_only_the_last_chunk_may_be_small(server, s3, bucket):
    for mode, trailer in MODES:
        answer = Chunked(server, f"/{bucket}/k", [DATA[:8191], DATA[8191:]], mode, trailer).send()
        assert (answer.status, answer.code) == (403, "InvalidChunkSizeError")
        assert answer.error["Message"] == "Only the last chunk is allowed to have a size less than 8192 bytes"
        assert (answer.error["Chunk"], answer.error["BadChunkSize"]) == ("2", "8191")
        assert keys_of(s3, bucket) == []


def test_a_wrong_trailer(server, s3, bucket):
    wrong = (CRC[0], checksum("CRC32", b"other"))
    for mode in (SIGNED_CHUNKS_TRAILER, UNSIGNED_TRAILER):
        answer = Chunked(server, f"/{bucket}/k", PIECES, mode, wrong).send()
        assert (answer.status, answer.code) == (400, "BadDigest")
    upload = Chunked(server, f"/{bucket}/k", PIECES, SIGNED_CHUNKS_TRAILER, CRC)
    position = upload.body.rindex(b"x-amz-trailer-signature:") + len("x-amz-trailer-signature:")
    bad = upload.body[:position] + b"0" * 64 + b"\r\n\r\n"
    answer = upload.send(bad)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    announced = Chunked(server, f"/{bucket}/k", PIECES, UNSIGNED_TRAILER, CRC)
    other = announced.body.replace(b"x-amz-checksum-crc32:", b"x-amz-checksum-sha1:")
    assert 400 <= announced.send(other).status < 500
    assert keys_of(s3, bucket) == []


@pytest.mark.parametrize("decoded", [len(DATA) - 1, len(DATA) + 1, "abc", "-1"])
def test_a_wrong_decoded_length(server, s3, bucket, decoded):
    answer = Chunked(server, f"/{bucket}/k", PIECES, SIGNED_CHUNKS, decoded=decoded).send()
    assert 400 <= answer.status < 500
    assert keys_of(s3, bucket) == []


def test_a_decoded_length_is_wanted(server, bucket):
    made = Signer.of(server).headers("PUT", f"/{bucket}/k", payload=SIGNED_CHUNKS)
    answer = send(server, "PUT", f"/{bucket}/k", made, b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n")
    assert (answer.status, answer.code) == (411, "MissingContentLength")


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n", b"\r\n", b"5\r\nabc", b"ffffffffffffffff\r\n", b"1" * 3000 + b"\r\n", b"-1\r\n\r\n", b"5;\r\nabcdeXX"],
)
def test_malformed_framing(server, s3, bucket, body):
    upload = Chunked(server, f"/{bucket}/k", [b"abcde"], UNSIGNED_TRAILER, (CRC[0], checksum("CRC32", b"abcde")))
    answer = upload.send(body)
    assert 400 <= answer.status < 500, answer.body
    assert keys_of(s3, bucket) == []


# --- Expect: 100-continue --------------------------------------------------------------------------------------------


def first_answer(server, headers, path):
    """The first bytes that come back to a head alone."""
    with raw_socket(server) as connection:
        connection.sendall(head_bytes("PUT", path, headers))
        return connection.recv(65_536)


def test_continue_is_said_to_those_who_may(server, s3, bucket):
    path = f"/{bucket}/k"
    headers = {"content-length": "5", "expect": "100-continue"}
    made = Signer.of(server).headers("PUT", path, headers=headers, payload=UNSIGNED)
    with raw_socket(server) as connection:
        connection.sendall(head_bytes("PUT", path, made))
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"hello"


def test_continue_is_not_said_to_others(server, s3, bucket):
    path = f"/{bucket}/k"
    headers = {"content-length": "5000000", "expect": "100-continue"}
    forged = Signer.of(server)
    forged.secret_key += "x"
    old = Signer.of(server, when=now(hours=-1))
    refusals = {
        "anonymous": (headers | {"host": server.host}, path, 403),
        "forged": (forged.headers("PUT", path, headers=headers, payload=UNSIGNED), path, 403),
        "old": (old.headers("PUT", path, headers=headers, payload=UNSIGNED), path, 403),
        "no bucket": (
            Signer.of(server).headers("PUT", "/no-such-bucket-at-all/k", headers=headers, payload=UNSIGNED),
            "/no-such-bucket-at-all/k",
            404,
        ),
        "no key": (
            Signer.of(server).headers(
                "PUT",
                path,
                headers=headers
                | {
                    "x-amz-server-side-encryption": "aws:kms",
                    "x-amz-server-side-encryption-aws-kms-key-id": "fake-key-id",
                },
                payload=UNSIGNED,
            ),
            path,
            400,
        ),
    }
    for who, (sent, where, status) in refusals.items():
        answer = first_answer(server, sent, where)
        assert answer.startswith(f"HTTP/1.1 {status}".encode()), (who, answer[:300])
    assert keys_of(s3, bucket) == []


# --- bodies that do not come -----------------------------------------------------------------------------------------


def test_a_body_that_ends_early_stores_nothing(server, s3, bucket):
    path = f"/{bucket}/k"
    made = Signer.of(server).headers("PUT", path, headers={"content-length": str(len(DATA))}, payload=UNSIGNED)
    with raw_socket(server) as connection:
        connection.sendall(head_bytes("PUT", path, made) + DATA[:100_000])
    time.sleep(0.3)
    assert keys_of(s3, bucket) == []


def test_the_digest_of_an_xml_body_is_checked(server, s3, bucket):
    """DeleteObjects, whose body decides what goes, is read and checked whole before anything is done."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = signed(
        server,
        "POST",
        f"/{bucket}",
        [("delete", "")],
        {"content-md5": digest},
        body,
        payload=hashlib.sha256(b"").hexdigest(),
    )
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert keys_of(s3, bucket) == ["k"]
