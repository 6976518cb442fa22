"""The AWS model that botocore carries, as an oracle: no operation of S3 is forgotten."""

import contextlib

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.calls import body_of, empty, status_of
from support.requests import signed
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
    "MissingRequestBodyError",
    "MissingSecurityHeader",
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


# The same, where an optional member is looked at.
VALUES = {
    "BucketNamespace": "account-regional",
    "IfNoneMatch": "*",
    "ObjectLockMode": "GOVERNANCE",
    "ObjectLockRetainUntilDate": "2030-01-01T00:00:00Z",
    "ObjectLockEventHoldDurationDays": 1,
    "ObjectLockEventHoldDurationYears": 1,
    "WriteOffsetBytes": 1,
    "Role": "{role}",
}


# What must stand beside an optional member so that it is looked at.
BESIDE = {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}


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


# --- optional members -------------------------------------------------------------------------------------------------------

# What an operation that is served refuses of its optional members (headers and parameters by their names, elements by the
# structure that holds them), always with an error, and never by forgetting it.
REFUSED = {
    "CreateBucketConfiguration.Bucket": "directory buckets",
    "CreateBucketConfiguration.Location": "directory buckets",
    "DefaultRetention.DefaultEventHold": "event holds",
    "ObjectLockRetention.EventHold": "event holds",
    "ObjectLockRetention.EventHoldDuration": "event holds",
    "VersioningConfiguration.MFADelete": "codes of devices",
    "x-amz-object-lock-event-hold": "event holds",
    "x-amz-object-lock-event-hold-duration-days": "event holds",
    "x-amz-object-lock-event-hold-duration-years": "event holds",
    "x-amz-write-offset-bytes": "appending, of directory buckets",
}
# Nothing follows from these, here as on AWS: why.
WITHOUT_EFFECT = {
    "CloudFunctionConfiguration.InvocationRole": "functions are invoked by their target, which the operator configures",
    "EventHoldDuration.Days": "inside what is refused",
    "EventHoldDuration.Years": "inside what is refused",
    "BucketInfo.DataRedundancy": "inside what is refused",
    "BucketInfo.Type": "inside what is refused",
    "Grantee.DisplayName": "AWS looks at the id",
    "LocationInfo.Name": "inside what is refused",
    "LocationInfo.Type": "inside what is refused",
    "Owner.DisplayName": "AWS looks at the id",
    "x-amz-bucket-object-lock-token": "Object Lock can be switched on without one",
    "x-amz-confirm-remove-self-bucket-access": "the bucket owner's root can always mend the policy",
    "x-amz-mfa": "MFA delete is refused, so that nothing asks for a code",
    "x-amz-object-annotation-directive": "objects have no annotations to copy or to exclude",
    "x-amz-optional-object-attributes": "objects are never restored from an archive",
}


# Everything else is served: each has its tests where its operation has them.
SERVED_MEMBERS = """
AbacStatus.Status AbortIncompleteMultipartUpload.DaysAfterInitiation AccelerateConfiguration.Status
AccessControlPolicy.Grants AccessControlPolicy.Owner AnalyticsAndOperator.Prefix AnalyticsAndOperator.Tags
AnalyticsConfiguration.Filter AnalyticsFilter.And AnalyticsFilter.Prefix AnalyticsFilter.Tag
AnalyticsS3BucketDestination.BucketAccountId AnalyticsS3BucketDestination.Prefix BlockedEncryptionTypes.EncryptionType
BucketLoggingStatus.LoggingEnabled CORSRule.AllowedHeaders CORSRule.ExposeHeaders CORSRule.ID CORSRule.MaxAgeSeconds
Cache-Control CloudFunctionConfiguration.CloudFunction CloudFunctionConfiguration.Event
CloudFunctionConfiguration.Events CloudFunctionConfiguration.Id CompleteMultipartUploadRequest.MultipartUpload
CompletedMultipartUpload.Parts CompletedPart.ChecksumCRC32 CompletedPart.ChecksumCRC32C
CompletedPart.ChecksumCRC64NVME CompletedPart.ChecksumMD5 CompletedPart.ChecksumSHA1 CompletedPart.ChecksumSHA256
CompletedPart.ChecksumSHA512 CompletedPart.ChecksumXXHASH128 CompletedPart.ChecksumXXHASH3
CompletedPart.ChecksumXXHASH64 CompletedPart.ETag
CompletedPart.PartNumber Condition.HttpErrorCodeReturnedEquals Condition.KeyPrefixEquals Content-Disposition
Content-Encoding Content-Language Content-Length Content-MD5 Content-Type CreateBucketConfiguration.LocationConstraint
CreateBucketConfiguration.Tags CreateBucketRequest.CreateBucketConfiguration DefaultRetention.Days
DefaultRetention.Mode DefaultRetention.Years Delete.Quiet DeleteMarkerReplication.Status
Destination.AccessControlTranslation Destination.Account Destination.EncryptionConfiguration Destination.Metrics
Destination.ReplicationTime Destination.StorageClass EncryptionConfiguration.ReplicaKmsKeyID
EncryptionConfiguration.UseSourceMultiRegionKey Expires FilterRule.Name FilterRule.Value Grant.Grantee
Grant.Permission Grantee.EmailAddress Grantee.ID Grantee.URI If-Match If-Modified-Since If-None-Match
If-Unmodified-Since IntelligentTieringAndOperator.Prefix IntelligentTieringAndOperator.Tags
IntelligentTieringConfiguration.Filter IntelligentTieringFilter.And IntelligentTieringFilter.Prefix
IntelligentTieringFilter.Tag InventoryConfiguration.Filter InventoryConfiguration.OptionalFields
InventoryEncryption.SSEKMS InventoryEncryption.SSES3 InventoryS3BucketDestination.AccountId
InventoryS3BucketDestination.Encryption InventoryS3BucketDestination.Prefix LambdaFunctionConfiguration.Filter
LambdaFunctionConfiguration.Id LifecycleExpiration.Date LifecycleExpiration.Days
LifecycleExpiration.ExpiredObjectDeleteMarker LifecycleRule.AbortIncompleteMultipartUpload LifecycleRule.Expiration
LifecycleRule.Filter LifecycleRule.ID LifecycleRule.NoncurrentVersionExpiration
LifecycleRule.NoncurrentVersionTransitions LifecycleRule.Prefix LifecycleRule.Transitions
LifecycleRuleAndOperator.ObjectSizeGreaterThan LifecycleRuleAndOperator.ObjectSizeLessThan
LifecycleRuleAndOperator.Prefix LifecycleRuleAndOperator.Tags LifecycleRuleFilter.And
LifecycleRuleFilter.ObjectSizeGreaterThan LifecycleRuleFilter.ObjectSizeLessThan LifecycleRuleFilter.Prefix
LifecycleRuleFilter.Tag LoggingEnabled.TargetGrants LoggingEnabled.TargetObjectKeyFormat Metrics.EventThreshold
MetricsAndOperator.AccessPointArn MetricsAndOperator.Prefix MetricsAndOperator.Tags MetricsConfiguration.Filter
MetricsFilter.AccessPointArn MetricsFilter.And MetricsFilter.Prefix MetricsFilter.Tag
NoncurrentVersionExpiration.NewerNoncurrentVersions NoncurrentVersionExpiration.NoncurrentDays
NoncurrentVersionTransition.NewerNoncurrentVersions NoncurrentVersionTransition.NoncurrentDays
NoncurrentVersionTransition.StorageClass NotificationConfiguration.EventBridgeConfiguration
NotificationConfiguration.LambdaFunctionConfigurations NotificationConfiguration.QueueConfigurations
NotificationConfiguration.TopicConfigurations NotificationConfigurationDeprecated.CloudFunctionConfiguration
NotificationConfigurationDeprecated.QueueConfiguration NotificationConfigurationDeprecated.TopicConfiguration
NotificationConfigurationFilter.Key ObjectEncryption.SSEKMS ObjectIdentifier.ETag ObjectIdentifier.LastModifiedTime
ObjectIdentifier.Size ObjectIdentifier.VersionId ObjectLockConfiguration.ObjectLockEnabled
ObjectLockConfiguration.Rule ObjectLockLegalHold.Status ObjectLockRetention.Mode ObjectLockRetention.RetainUntilDate
ObjectLockRule.DefaultRetention Owner.ID PartitionedPrefix.PartitionDateSource
PublicAccessBlockConfiguration.BlockPublicAcls PublicAccessBlockConfiguration.BlockPublicPolicy
PublicAccessBlockConfiguration.IgnorePublicAcls PublicAccessBlockConfiguration.RestrictPublicBuckets
PutBucketAclRequest.AccessControlPolicy PutBucketLifecycleConfigurationRequest.LifecycleConfiguration
PutBucketLifecycleRequest.LifecycleConfiguration PutObjectAclRequest.AccessControlPolicy
PutObjectLegalHoldRequest.LegalHold PutObjectLockConfigurationRequest.ObjectLockConfiguration PutObjectRequest.Body
PutObjectRetentionRequest.Retention QueueConfiguration.Filter QueueConfiguration.Id QueueConfigurationDeprecated.Event
QueueConfigurationDeprecated.Events QueueConfigurationDeprecated.Id QueueConfigurationDeprecated.Queue Range
Redirect.HostName Redirect.HttpRedirectCode Redirect.Protocol Redirect.ReplaceKeyPrefixWith Redirect.ReplaceKeyWith
RedirectAllRequestsTo.Protocol ReplicationRule.DeleteMarkerReplication ReplicationRule.ExistingObjectReplication
ReplicationRule.Filter ReplicationRule.ID ReplicationRule.Prefix ReplicationRule.Priority
ReplicationRule.SourceSelectionCriteria ReplicationRuleAndOperator.Not ReplicationRuleAndOperator.Prefix
ReplicationRuleAndOperator.Tags ReplicationRuleFilter.And ReplicationRuleFilter.Not ReplicationRuleFilter.Prefix
ReplicationRuleFilter.Tag ReplicationRuleNotOperator.Or ReplicationRuleNotOperator.Prefix
ReplicationRuleNotOperator.Tag ReplicationRuleOrOperator.Prefixes ReplicationRuleOrOperator.Tags
ReplicationTimeValue.Minutes RoutingRule.Condition Rule.AbortIncompleteMultipartUpload Rule.Expiration Rule.ID
Rule.NoncurrentVersionExpiration Rule.NoncurrentVersionTransition Rule.Transition S3KeyFilter.FilterRules
SSEKMSEncryption.BucketKeyEnabled ServerSideEncryptionByDefault.KMSMasterKeyID
ServerSideEncryptionRule.ApplyServerSideEncryptionByDefault ServerSideEncryptionRule.BlockedEncryptionTypes
ServerSideEncryptionRule.BucketKeyEnabled SourceSelectionCriteria.ReplicaModifications
SourceSelectionCriteria.SseKmsEncryptedObjects
StorageClassAnalysis.DataExport TargetGrant.Grantee TargetGrant.Permission TargetObjectKeyFormat.PartitionedPrefix
TargetObjectKeyFormat.SimplePrefix TopicConfiguration.Filter TopicConfiguration.Id TopicConfigurationDeprecated.Event
TopicConfigurationDeprecated.Events TopicConfigurationDeprecated.Id TopicConfigurationDeprecated.Topic Transition.Date
Transition.Days Transition.StorageClass UploadPartRequest.Body
VersioningConfiguration.Status WebsiteConfiguration.ErrorDocument WebsiteConfiguration.IndexDocument
WebsiteConfiguration.RedirectAllRequestsTo WebsiteConfiguration.RoutingRules bucket-region continuation-token
delimiter encoding-type fetch-owner key-marker marker max-buckets max-keys max-parts max-uploads part-number-marker
partNumber prefix response-cache-control response-content-disposition response-content-encoding
response-content-language response-content-type response-expires start-after upload-id-marker version-id-marker
versionId x-amz-acl x-amz-bucket-object-lock-enabled x-amz-bypass-governance-retention x-amz-checksum-algorithm
x-amz-checksum-crc32 x-amz-checksum-crc32c x-amz-checksum-crc64nvme x-amz-checksum-mode x-amz-checksum-sha1
x-amz-bucket-namespace x-amz-checksum-md5 x-amz-checksum-sha256 x-amz-checksum-sha512 x-amz-checksum-type
x-amz-checksum-xxhash128 x-amz-checksum-xxhash3 x-amz-checksum-xxhash64 x-amz-copy-source-if-match x-amz-copy-source-if-modified-since
x-amz-copy-source-if-none-match x-amz-copy-source-if-unmodified-since x-amz-copy-source-range
x-amz-copy-source-server-side-encryption-customer-algorithm x-amz-copy-source-server-side-encryption-customer-key
x-amz-copy-source-server-side-encryption-customer-key-MD5 x-amz-expected-bucket-owner x-amz-grant-full-control
x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp x-amz-if-match-initiated-time
x-amz-if-match-last-modified-time x-amz-if-match-size x-amz-max-parts x-amz-metadata-directive x-amz-mp-object-size
x-amz-object-lock-legal-hold x-amz-object-lock-mode x-amz-object-lock-retain-until-date x-amz-object-ownership
x-amz-part-number-marker x-amz-request-payer x-amz-sdk-checksum-algorithm x-amz-server-side-encryption
x-amz-server-side-encryption-aws-kms-key-id x-amz-server-side-encryption-bucket-key-enabled
x-amz-server-side-encryption-context x-amz-server-side-encryption-customer-algorithm
x-amz-server-side-encryption-customer-key x-amz-server-side-encryption-customer-key-MD5
x-amz-skip-destination-validation x-amz-source-expected-bucket-owner x-amz-storage-class x-amz-tagging
x-amz-tagging-directive x-amz-transition-default-minimum-object-size x-amz-website-redirect-location
""".split()


def optional_members():
    """(name, operation, path, whether what it stands in is refused) of every optional member of what is served."""
    model = Endpoint("http://127.0.0.1:1", "x", "x").client("s3").meta.service_model

    def name_of(shape, member):
        serialization = shape.members[member].serialization
        named = serialization.get("location") in ("header", "querystring")
        return serialization["name"] if named else f"{shape.name}.{member}"

    def walk(operation, shape, path, seen, refused=False):
        for member, inner in shape.members.items():
            location = inner.serialization.get("location")
            at = (*path, member)
            if location not in ("uri", "headers"):
                name = name_of(shape, member)
                if member not in shape.required_members:
                    yield name, operation, at, refused
            while inner.type_name == "list":
                inner = inner.member
            if inner.type_name == "structure" and inner.name not in seen:
                within = refused or name_of(shape, member) in REFUSED
                yield from walk(operation, inner, at, seen | {inner.name}, within)

    for operation in sorted(SERVED):
        if shape := model.operation_model(operation).input_shape:
            yield from walk(operation, shape, (), {shape.name})


def with_member(shape, path, known):
    """The least that the model takes for `shape`, and the member at `path`."""
    while shape.type_name == "list":
        return [with_member(shape.member, path, known)]
    if not path:
        return minimal(shape, known)
    value, inner = minimal(shape, known) | BESIDE.get(shape.name, {}), shape.members[path[0]]
    plain = len(path) == 1 and path[0] in known and inner.type_name != "structure"
    value[path[0]] = known[path[0]] if plain else with_member(inner, path[1:], known)
    return value


def test_every_optional_member_is_listed():
    """A member that a newer model has is nowhere, until somebody has looked whether it is served or refused."""
    names = {name for name, *_ in optional_members()}
    for listed in (REFUSED, WITHOUT_EFFECT, SERVED_MEMBERS):
        assert set(listed) <= names, set(listed) - names
    assert names == {*REFUSED, *WITHOUT_EFFECT, *SERVED_MEMBERS}
    assert not set(SERVED_MEMBERS) & {*REFUSED, *WITHOUT_EFFECT}


# Operations whose scratch is gone once they have been carried out.
ONCE = {"DeleteBucket", "AbortMultipartUpload", "CompleteMultipartUpload"}


@pytest.mark.parametrize("operation", sorted({operation for _, operation, *_ in optional_members()}))
def test_no_optional_member_is_forgotten(lax_s3, s3, bucket_names, operation):
    """What is refused answers so, wherever it stands; what is served is not refused."""
    model = lax_s3.meta.service_model.operation_model(operation)
    name, scratch = None, {}

    def renew():
        nonlocal name
        name = next(bucket_names)
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=operation.startswith("PutObject"))
        s3.put_object(Bucket=name, Key="k", Body=b"x")
        upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
        scratch.update(bucket=name, upload=upload, role="arn:aws:iam::000000000000:role/r")

    renew()
    made = [name]
    for member, of, path, within in optional_members():
        if of != operation:
            continue
        known = {k: v.format(**scratch) if isinstance(v, str) else v for k, v in (KNOWN | VALUES).items()}
        parameters = with_member(model.input_shape, path, known)
        if model.has_streaming_input:
            parameters[model.input_shape.serialization["payload"]] = b"x"
        try:
            response = lax_s3._make_api_call(operation, parameters)
        except ClientError as error:
            response = error.response
        except BotoCoreError as error:
            pytest.fail(f"{operation} with {member} was not answered in a way that botocore reads: {error!r}")
        status, code = status_of(response), response.get("Error", {}).get("Code")
        if member in REFUSED:
            assert (status, code) == (501, "NotImplemented"), (member, response)
        elif not within:
            assert status < 500, (member, response)
        if operation in ONCE and status < 300:
            renew()
            made.append(name)
    for name in made:
        with contextlib.suppress(ClientError):
            s3.delete_object(Bucket=name, Key="k", BypassGovernanceRetention=True)


@pytest.mark.parametrize("name", operations())
def test_versions_are_taken_where_the_model_has_them(server, lax_s3, scratch, name):
    """A version that is named is never passed by."""
    operation = lax_s3.meta.service_model.operation_model(name)
    if name in OF_OTHER_SERVICES | {"ListBuckets"}:
        pytest.skip("it is about no bucket of this service")
    members = {m.serialization.get("name"): m for m in operation.input_shape.members.values() if m.serialization.get("location") == "querystring"}
    path, _, fixed = operation.http["requestUri"].partition("?")
    path = f"/{scratch['bucket']}" + ("/k" if "{Key+}" in path else "")
    query = [(key, value) for key, _, value in (pair.partition("=") for pair in fixed.split("&") if pair)]
    required = {operation.input_shape.members[m].serialization.get("name") for m in operation.input_shape.required_members}
    query += [(key, "1") for key in members if key in required]
    answer = signed(server, operation.http["method"], path, [*query, ("versionId", "x")])
    if operation.http["method"] == "HEAD":
        assert answer.status == 400
        return
    message = answer.error["Message"]
    if "versionId" in members:
        assert message != "This operation does not accept a version-id."
    elif name in ("GetBucketAcl", "PutBucketAcl"):
        assert (answer.status, message) == (400, "Invalid version id specified")
    else:
        assert (answer.status, message) == (400, "This operation does not accept a version-id."), name


def test_what_is_served_is_in_the_model():
    assert set(operations()) >= SERVED
