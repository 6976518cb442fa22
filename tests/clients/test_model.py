"""The AWS model that botocore carries, as an oracle: no operation of S3 is forgotten."""

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.calls import body_of, empty, status_of
from support.server import Endpoint

SERVED = {
    "PutBucketLifecycleConfiguration",
    "PutBucketInventoryConfiguration",
    "ListBucketInventoryConfigurations",
    "GetBucketLifecycle",
    "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle",
    "GetBucketInventoryConfiguration",
    "DeleteBucketLifecycle",
    "DeleteBucketInventoryConfiguration",
    "DeleteBucketReplication",
    "GetBucketNotification",
    "GetBucketNotificationConfiguration",
    "GetBucketReplication",
    "PutBucketNotification",
    "PutBucketNotificationConfiguration",
    "PutBucketReplication",
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteBucketAnalyticsConfiguration",
    "DeleteBucketCors",
    "DeleteBucketEncryption",
    "DeleteBucketIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration",
    "DeleteBucketLifecycle",
    "DeleteBucketMetricsConfiguration",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketReplication",
    "DeleteBucketTagging",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "DeletePublicAccessBlock",
    "GetBucketAbac",
    "GetBucketAccelerateConfiguration",
    "GetBucketAcl",
    "GetBucketAnalyticsConfiguration",
    "GetBucketCors",
    "GetBucketEncryption",
    "GetBucketIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetricsConfiguration",
    "GetBucketNotification",
    "GetBucketNotificationConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketReplication",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectLockConfiguration",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetPublicAccessBlock",
    "HeadBucket",
    "HeadObject",
    "ListBucketAnalyticsConfigurations",
    "ListBucketIntelligentTieringConfigurations",
    "ListBucketInventoryConfigurations",
    "ListBucketMetricsConfigurations",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutBucketAbac",
    "PutBucketAccelerateConfiguration",
    "PutBucketAcl",
    "PutBucketAnalyticsConfiguration",
    "PutBucketCors",
    "PutBucketEncryption",
    "PutBucketIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration",
    "PutBucketLifecycleConfiguration",
    "PutBucketLogging",
    "PutBucketMetricsConfiguration",
    "PutBucketNotification",
    "PutBucketNotificationConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketReplication",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutPublicAccessBlock",
    "UpdateObjectEncryption",
    "UploadPart",
    "UploadPartCopy",
}

# Signed for services of their own, which have endpoints of their own: s3-object-lambda and s3express.
OF_OTHER_SERVICES = {"ListDirectoryBuckets", "WriteGetObjectResponse"}

# What an operation may answer to the least that its model takes.
ANSWERS = {
    None,
    "400",
    "AccessControlListNotSupported",
    "BucketNotEmpty",
    "IllegalVersioningConfigurationException",
    "InvalidArgument",
    "InvalidPart",
    "InvalidRequest",
    "InvalidS3DestinationBucket",
    "InvalidTargetBucketForLogging",
    "NoSuchLifecycleConfiguration",
    "MalformedPolicy",
    "MalformedXML",
    "NoSuchBucketPolicy",
    "ReplicationConfigurationNotFoundError",
    "NoSuchCORSConfiguration",
    "NoSuchConfiguration",
    "NoSuchTagSet",
    "NoSuchWebsiteConfiguration",
    "ObjectLockConfigurationNotFoundError",
}

# Values by the name of the member where any string of the right type would not do.
KNOWN = {
    "CopySource": "{bucket}/k",
    "Bucket": "{bucket}",
    "Key": "k",
    "UploadId": "{upload}",
    "PartNumber": 1,
    "ObjectAttributes": ["ETag"],
    "RenameSource": "/{bucket}/k",
    "Id": "id",
    "Days": 1,
}


def minimal(shape, known, depth=0):
    """The least that the model takes for `shape`."""
    if shape.type_name == "structure":
        members = shape.required_members
        if not members and getattr(shape, "is_tagged_union", False):
            members = [next(iter(shape.members))]
        return {name: known.get(name, None) or minimal(shape.members[name], known, depth + 1) for name in members}
    if shape.type_name == "list":
        return [minimal(shape.member, known, depth + 1)]
    if shape.type_name == "map":
        return {}
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "x"
    return {"integer": 1, "long": 1, "boolean": True, "timestamp": "2030-01-01T00:00:00Z", "blob": b"x", "float": 1.0}[
        shape.type_name
    ]


def operations():
    client = Endpoint("http://127.0.0.1:1", "x", "x").client("s3")
    return sorted(client.meta.service_model.operation_names)


@pytest.fixture(scope="module")
def lax_s3(server):
    """A client that sends what it is told, to where it is told."""
    return server.client(
        "s3", config=Config(parameter_validation=False, inject_host_prefix=False, s3={"addressing_style": "path"})
    )


@pytest.fixture
def scratch(s3, bucket_names):
    """A bucket with an object and an upload, that may be gone afterwards."""
    name = next(bucket_names)
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    yield {"bucket": name, "upload": upload}
    try:
        empty(s3, name)
        s3.delete_bucket(Bucket=name)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchBucket"


@pytest.mark.parametrize("name", operations())
def test_every_operation_is_answered(server, lax_s3, s3, scratch, name):
    operation = lax_s3.meta.service_model.operation_model(name)
    known = {k: v.format(**scratch) if isinstance(v, str) else v for k, v in KNOWN.items()}
    parameters = minimal(operation.input_shape, known) if operation.input_shape else {}
    if operation.has_streaming_input:
        parameters[operation.input_shape.serialization["payload"]] = b"x"
    try:
        response = lax_s3._make_api_call(name, parameters)
    except ClientError as error:
        response = error.response
    except BotoCoreError as error:
        pytest.fail(f"{name} was not answered in a way that botocore reads: {error!r}")
    status, code = status_of(response), response.get("Error", {}).get("Code")
    if name in OF_OTHER_SERVICES and code == "AuthorizationHeaderMalformed":
        assert status == 400
    elif name in SERVED:
        assert status < 500, response
        assert code in ANSWERS, response
    else:
        assert (status, code) in ((501, "NotImplemented"), (501, "501")), response
    # What was refused did nothing.
    if name not in SERVED:
        assert body_of(s3.get_object(Bucket=scratch["bucket"], Key="k")) == b"x"


def test_what_is_served_is_in_the_model():
    assert set(operations()) >= SERVED
