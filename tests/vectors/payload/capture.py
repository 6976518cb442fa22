"""Writes what botocore would send, one request a file, without sending it. CRC32C and CRC64NVME need awscrt."""

import io
import pathlib

import boto3
from botocore.config import Config

HERE = pathlib.Path(__file__).parent
DATA = bytes(i % 251 for i in range(10_000))
KEY = {"Bucket": "examplebucket", "Key": "a key+plus/ünïcode"}


class Captured(Exception):
    """The request has been written."""


def capture(name, scheme, operation, **arguments):
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"{scheme}://localhost:9000",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        config=Config(s3={"addressing_style": "path"}),
    )

    def keep(request, **_):
        target = "/" + request.url.split("/", 3)[3]
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.setdefault("host", "localhost:9000")
        del headers["user-agent"]
        lines = [f"{request.method} {target} HTTP/1.1"]
        for header, value in headers.items():
            text = value.decode() if isinstance(value, bytes) else str(value)
            lines.append(f"{header}: {text}")
        body = request.body or b""
        if not isinstance(body, (bytes, bytearray)):
            body = body.read()
        head = "\r\n".join(lines) + "\r\n\r\n"
        (HERE / f"{name}.http").write_bytes(head.encode() + body)
        raise Captured

    client.meta.events.register("before-send.s3", keep)
    try:
        getattr(client, operation)(**arguments)
    except Captured:
        pass


capture("https-crc32", "https", "put_object", Body=DATA, **KEY)
capture("https-crc32c", "https", "put_object", Body=DATA, ChecksumAlgorithm="CRC32C", **KEY)
capture("https-crc64nvme", "https", "put_object", Body=DATA, ChecksumAlgorithm="CRC64NVME", **KEY)
capture("https-sha1", "https", "put_object", Body=DATA, ChecksumAlgorithm="SHA1", **KEY)
capture("https-sha256", "https", "put_object", Body=DATA, ChecksumAlgorithm="SHA256", **KEY)
capture("https-empty", "https", "put_object", **KEY)
capture("https-part", "https", "upload_part", Body=io.BytesIO(DATA), PartNumber=1, UploadId="u", **KEY)
capture("https-md5", "https", "put_object", Body=b"data", ContentMD5="jXd/OF09/siBXSD3SWAm3A==", **KEY)
capture("http-crc32", "http", "put_object", Body=DATA, **KEY)
capture("http-sha256", "http", "put_object", Body=DATA, ChecksumAlgorithm="SHA256", **KEY)
capture("http-delete", "http", "delete_objects", Bucket="examplebucket", Delete={"Objects": [{"Key": "a"}]})
