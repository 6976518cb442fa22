"""Calls that many tests make."""

import contextlib
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


class Refusal:
    """What `refused` caught."""

    response = None

    @property
    def status(self):
        return self.response["ResponseMetadata"]["HTTPStatusCode"]

    @property
    def code(self):
        return self.response["Error"]["Code"]

    @property
    def message(self):
        return self.response["Error"].get("Message", "")

    @property
    def error(self):
        return self.response["Error"]

    @property
    def headers(self):
        return self.response["ResponseMetadata"]["HTTPHeaders"]


def missing(what):
    """A client is not there. `make test` and CI fail; who runs a file by hand is told what to install."""
    miss = pytest.fail if os.environ.get("STRONGROOM_ALL_CLIENTS") or os.environ.get("CI") else pytest.skip
    miss(what)


@contextlib.contextmanager
def refused(code, status=None, message=None):
    """The block must end in a ClientError with this code (and status, and message)."""
    refusal = Refusal()
    with pytest.raises(ClientError) as caught:
        yield refusal
    refusal.response = caught.value.response
    assert refusal.code == code, refusal.response
    assert status is None or refusal.status == status, refusal.response
    assert message is None or refusal.message == message, refusal.response


def headers_of(response):
    """The HTTP headers of a boto3 response, by lower-case name."""
    return response["ResponseMetadata"]["HTTPHeaders"]


def status_of(response):
    return response["ResponseMetadata"]["HTTPStatusCode"]


def body_of(response):
    return response["Body"].read()


def keys_of(client, bucket, **options):
    """Every key of the bucket, in the order of the listing."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, **options)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def versions_of(client, bucket, **options):
    """Every version and delete marker of the bucket, as (key, version id, is latest, is marker), in the listing's order."""
    found = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, **options):
        entries = [(e, False) for e in page.get("Versions", [])] + [(e, True) for e in page.get("DeleteMarkers", [])]
        found += [(e["Key"], e["VersionId"], e["IsLatest"], is_marker) for e, is_marker in entries]
    return found


def empty(client, bucket):
    """Deletes every object, with its versions, and every unfinished upload of the bucket."""
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    for upload in uploads:
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    if client.get_bucket_versioning(Bucket=bucket).get("Status"):
        for key, version, _, _ in versions_of(client, bucket):
            client.delete_object(Bucket=bucket, Key=key, VersionId=version)
    keys = keys_of(client, bucket)
    for start in range(0, len(keys), 1000):
        objects = [{"Key": key} for key in keys[start : start + 1000]]
        client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})


def upload_parts(client, bucket, key, parts, **options):
    """Creates a multipart upload and uploads `parts` as 1, 2...; the id, and what Complete wants to be told."""
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    done = []
    for number, part in enumerate(parts, 1):
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part)
        done.append(completed(number, answer, options.get("ChecksumAlgorithm")))
    return upload, done


def completed(number, answer, algorithm=None):
    """A part as CompleteMultipartUpload names it; with a checksum where the upload named an algorithm, and only there."""
    sums = {name: value for name, value in answer.items() if name == f"Checksum{algorithm}"}
    return {"PartNumber": number, "ETag": answer["ETag"]} | sums


def multipart(client, bucket, key, parts, **options):
    """A whole multipart upload; Complete's answer."""
    upload, done = upload_parts(client, bucket, key, parts, **options)
    return client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})


def in_parallel(function, items, workers=16):
    """`function` of each item, on threads; the first exception is raised."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


def control_of(endpoint):
    """A client of S3 Control, whose host's name does not begin with the account: that would not resolve in front of an address."""
    plain = Config(inject_host_prefix=False, parameter_validation=False)
    client = endpoint.client("s3control", config=plain)

    def without_account(request, **_):
        request.url = re.sub(r"//\d+\.(\d+\.\d+\.\d+\.\d+:)", r"//\1", request.url)

    client.meta.events.register("before-sign.s3-control", without_account)
    return client
