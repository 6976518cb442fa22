"""The XML that clients send is held to AWS's schema: what is not understood is refused, for it may be what mattered.

botocore's model says which elements there are. For each operation with a document there are some documents here that have, between
them, every element that the model knows; each of their elements is then written wrongly in every way.
"""

import copy
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.calls import control_of, empty, status_of, versions_of
from support.server import Endpoint

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
CONTROL_NAMESPACE = "http://awss3control.amazonaws.com/doc/2018-08-20/"
ElementTree.register_namespace("xsi", "http://www.w3.org/2001/XMLSchema-instance")

ACCOUNT = "000000000000"
TAG, OTHER_TAG = {"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}
SUMS = "CRC32 CRC32C CRC64NVME SHA1 SHA256 SHA512 MD5 XXHASH64 XXHASH3 XXHASH128".split()
ENABLED, DISABLED = {"Status": "Enabled"}, {"Status": "Disabled"}
FUTURE = "2040-01-01T00:00:00Z"

# Elements that no document here has: why.
LEFT_OUT = {
    "CreateBucketConfiguration.Bucket": "directory buckets are refused, whatever is said of them",
    "CreateBucketConfiguration.Location": "directory buckets are refused, whatever is said of them",
    "DefaultRetention.DefaultEventHold": "event holds are refused, whatever is said of them",
    "ObjectLockRetention.EventHold": "event holds are refused, whatever is said of them",
    "ObjectLockRetention.EventHoldDuration": "event holds are refused, whatever is said of them",
}
# Elements that may stand once in the model of an operation that is no more, and more often in that of its successor.
MAY_REPEAT = {
    "CloudFunctionConfiguration.Event",
    "NotificationConfigurationDeprecated.CloudFunctionConfiguration",
    "NotificationConfigurationDeprecated.QueueConfiguration",
    "NotificationConfigurationDeprecated.TopicConfiguration",
    "QueueConfigurationDeprecated.Event",
    "Rule.NoncurrentVersionTransition",
    "Rule.Transition",
    "TopicConfigurationDeprecated.Event",
}
# Operations with documents that are not served, and answer 501 whatever the document.
NOT_SERVED = {
    "CreateBucketMetadataConfiguration",
    "CreateBucketMetadataTableConfiguration",
    "RestoreObject",
    "SelectObjectContent",
    "UpdateBucketMetadataAnnotationTableConfiguration",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
}
# The code of a document that does not hold, where it is not MalformedXML.
CODES = {"PutBucketAcl": "MalformedACLError", "PutObjectAcl": "MalformedACLError"}
# The code of a request without a document, where AWS's is known.
WITHOUT = {
    "PutBucketNotificationConfiguration": "MissingRequestBodyError",  # aws/aws-sdk-cpp, issue 733
    "PutObjectLegalHold": "MalformedXML",  # versity/versitygw, issue 1191
    "PutObjectLockConfiguration": "MissingRequestBodyError",  # moto, test_put_object_lock_misconfiguration
    "PutObjectRetention": "MalformedXML",  # versity/versitygw, issue 1185
    "PutObjectTagging": "MissingRequestBodyError",  # versity/versitygw, issue 820
}
NEEDS_LOCK = {"PutObjectLockConfiguration", "PutObjectRetention", "PutObjectLegalHold"}


def by_id(**members):
    return {"Id": "i"} | members


def documents(bucket="b", owner="o", arn="arn:aws:s3:::b"):
    """The documents of each operation, and what is answered to each: an error's code, or `None`."""
    grantees = [
        {"Type": "CanonicalUser", "ID": owner, "DisplayName": "owner"},
        {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"},
        {"Type": "AmazonCustomerByEmail", "EmailAddress": "nobody@example.com"},
    ]
    grants = [{"Grantee": grantee, "Permission": "READ"} for grantee in grantees]

    def listed(of, member):
        """Known grantees, and then one that nobody knows."""
        both = [(of(grants[:2]), None), (of(grants), "UnresolvableGrantByEmailAddress")]
        return [({member: value}, code) for value, code in both]

    acl = listed(lambda grants: {"Owner": {"ID": owner, "DisplayName": "owner"}, "Grants": grants}, "AccessControlPolicy")
    logging = {"TargetBucket": bucket, "TargetPrefix": "logs/"}
    by_day = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    both = {"Prefix": "p", "Tags": [TAG, OTHER_TAG]}
    sizes = {"ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 9}
    transitions = {
        "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
        "NoncurrentVersionTransitions": [
            {"NoncurrentDays": 30, "NewerNoncurrentVersions": 2, "StorageClass": "STANDARD_IA"}
        ],
        "NoncurrentVersionExpiration": {"NoncurrentDays": 90, "NewerNoncurrentVersions": 2},
    }
    abort = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
    marker = {"Expiration": {"ExpiredObjectDeleteMarker": True}}

    def life(id, **members):
        return {"ID": id, "Status": "Enabled"} | members

    lifecycle = [
        life("a", Filter={"And": both | sizes}, Expiration={"Days": 365}, **transitions),
        life("b", Filter={"Prefix": "q"}, **marker, **abort),
        life("c", Filter={"Tag": TAG}, Expiration={"Date": FUTURE}),
        life("d", Filter={"ObjectSizeGreaterThan": 1}, Transitions=[{"Date": FUTURE, "StorageClass": "GLACIER_IR"}]),
        life("e", Filter={"ObjectSizeLessThan": 9}, Expiration={"Days": 1}),
    ]
    first_lifecycle = [
        life("a", Prefix="a/", Expiration={"Days": 365}, Transition={"Days": 30, "StorageClass": "STANDARD_IA"}),
        life("b", Prefix="b/", Expiration={"Date": FUTURE}, Transition={"Date": "2039-01-01", "StorageClass": "GLACIER_IR"}),
        life(
            "c",
            Prefix="c/",
            NoncurrentVersionTransition={"NoncurrentDays": 30, "StorageClass": "STANDARD_IA"},
            NoncurrentVersionExpiration={"NoncurrentDays": 90},
            **abort,
            **marker,
        ),
    ]
    keeping = [
        life(
            "a",
            Prefix="a/",
            NoncurrentVersionTransition={
                "NoncurrentDays": 30,
                "NewerNoncurrentVersions": 1,
                "StorageClass": "STANDARD_IA",
            },
            NoncurrentVersionExpiration={"NoncurrentDays": 90, "NewerNoncurrentVersions": 1},
        )
    ]

    def notified(service, id, **members):
        target = {"Topic": "sns", "Queue": "sqs", "CloudFunction": "lambda"}[service]
        name = "function:f" if target == "lambda" else "t"
        return {"Id": id, service: f"arn:aws:{target}:us-east-1:{ACCOUNT}:{name}"} | members

    key_filter = {"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": id} for id in "a"]}}}
    events = {"Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]} | key_filter
    notifications = {
        "TopicConfigurations": [{"TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:t", "Id": "t"} | events],
        "QueueConfigurations": [{"QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", "Id": "q", "Events": ["s3:ObjectAcl:Put"]} | key_filter],
        "LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f", "Id": "f", "Events": ["s3:ObjectTagging:*"]}
            | key_filter
        ],
        "EventBridgeConfiguration": {},
    }
    first_notifications = {
        "TopicConfiguration": notified("Topic", "t", Event="s3:ObjectCreated:Put", Events=["s3:ObjectCreated:Post"]),
        "QueueConfiguration": notified("Queue", "q", Event="s3:ObjectRemoved:Delete", Events=["s3:ObjectAcl:Put"]),
        "CloudFunctionConfiguration": notified(
            "CloudFunction", "f", Event="s3:ObjectTagging:Put", Events=["s3:ObjectTagging:Delete"], InvocationRole="r"
        ),
    }

    destination = {
        "Bucket": arn,
        "Account": ACCOUNT,
        "StorageClass": "STANDARD",
        "AccessControlTranslation": {"Owner": "Destination"},
        "EncryptionConfiguration": {"ReplicaKmsKeyID": "alias/a", "UseSourceMultiRegionKey": DISABLED},
        "ReplicationTime": {"Status": "Enabled", "Time": {"Minutes": 15}},
        "Metrics": {"Status": "Enabled", "EventThreshold": {"Minutes": 15}},
    }
    criteria = {"SseKmsEncryptedObjects": ENABLED, "ReplicaModifications": DISABLED}

    def replicated(id, priority, filter, **members):
        of_rule = {"ID": id, "Priority": priority, "Filter": filter, "DeleteMarkerReplication": DISABLED}
        return of_rule | {"Status": "Enabled", "Destination": {"Bucket": arn}} | members

    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    either = {"Prefixes": ["x", "y"], "Tags": [TAG]}
    replication = [
        replicated(
            "a",
            1,
            {"And": both | {"Not": {"Or": either}}},
            Destination=destination,
            SourceSelectionCriteria=criteria,
            ExistingObjectReplication=ENABLED,
        ),
        replicated("b", 2, {"Prefix": "p"}),
        replicated("c", 3, {"Tag": TAG}),
        replicated("d", 4, {"Not": {"Prefix": "p"}}),
        replicated("e", 5, {"Not": {"Tag": TAG}}),
    ]
    first_replication = [{"ID": "a", "Prefix": "a", "Status": "Enabled", "Destination": {"Bucket": arn}}]

    def filtered(name, **members):
        filters = [{"Prefix": "p"}, {"Tag": TAG}, {"And": both}]
        if name == "MetricsConfiguration":
            point = {"AccessPointArn": f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/a"}
            filters = [*filters, point, {"And": both | point}]
        return [({"Id": "i", name: by_id(Filter=filter, **members)}, None) for filter in filters]

    export = {"Format": "CSV", "BucketAccountId": ACCOUNT, "Bucket": arn, "Prefix": "p"}
    analysis = {"DataExport": {"OutputSchemaVersion": "V_1", "Destination": {"S3BucketDestination": export}}}
    tierings = [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}, {"Days": 180, "AccessTier": "DEEP_ARCHIVE_ACCESS"}]

    def inventory(encryption):
        to = {"AccountId": ACCOUNT, "Bucket": arn, "Format": "CSV", "Prefix": "p", "Encryption": encryption}
        configuration = by_id(
            Destination={"S3BucketDestination": to},
            IsEnabled=False,
            Filter={"Prefix": "p"},
            IncludedObjectVersions="All",
            OptionalFields=["Size", "ETag"],
            Schedule={"Frequency": "Weekly"},
        )
        return {"Id": "i", "InventoryConfiguration": configuration}

    redirect = {"HostName": "h", "HttpRedirectCode": "302", "Protocol": "https"}
    condition = {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "p"}
    website = {
        "IndexDocument": {"Suffix": "i"},
        "ErrorDocument": {"Key": "e"},
        "RoutingRules": [
            {"Condition": condition, "Redirect": redirect | {"ReplaceKeyPrefixWith": "q"}},
            {"Redirect": redirect | {"ReplaceKeyWith": "q"}},
        ],
    }
    cors = {
        "ID": "c",
        "AllowedHeaders": ["a", "b"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["*", "https://example.com"],
        "ExposeHeaders": ["ETag", "x-amz-request-id"],
        "MaxAgeSeconds": 9,
    }
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/a"}
    encryption = {
        "ApplyServerSideEncryptionByDefault": by_default,
        "BucketKeyEnabled": True,
        "BlockedEncryptionTypes": {"EncryptionType": ["NONE"]},
    }
    entry = {"Key": "a", "VersionId": "null", "ETag": "e", "LastModifiedTime": FUTURE, "Size": 1}
    key_arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000"
    part = {"ETag": '"e"'} | {f"Checksum{name}": "AAAA" for name in SUMS}
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")

    def lock(**default):
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE"} | default}
        return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": rule}}, None

    def one(code=None, **members):
        return [(members, code)]

    return {
        "CompleteMultipartUpload": one(
            "InvalidPart", MultipartUpload={"Parts": [{"PartNumber": 1} | part, {"PartNumber": 2, "ETag": "e"}]}
        ),
        "CreateBucket": [
            ({"CreateBucketConfiguration": {"Tags": [TAG, OTHER_TAG]}}, "BucketAlreadyOwnedByYou"),
            ({"CreateBucketConfiguration": {"LocationConstraint": "eu-west-3"}}, "IllegalLocationConstraintException"),
        ],
        "DeleteObjects": one(Delete={"Objects": [entry, {"Key": "b"}], "Quiet": True}),
        "PutBucketAbac": one(AbacStatus=DISABLED),
        "PutBucketAccelerateConfiguration": one(AccelerateConfiguration={"Status": "Suspended"}),
        "PutBucketAcl": acl,
        "PutBucketAnalyticsConfiguration": filtered("AnalyticsConfiguration", StorageClassAnalysis=analysis),
        "PutBucketCors": one(CORSConfiguration={"CORSRules": [cors]}),
        "PutBucketEncryption": one(ServerSideEncryptionConfiguration={"Rules": [encryption]}),
        "PutBucketIntelligentTieringConfiguration": filtered(
            "IntelligentTieringConfiguration", Status="Enabled", Tierings=tierings
        ),
        "PutBucketInventoryConfiguration": [
            (inventory({"SSES3": {}}), None),
            (inventory({"SSEKMS": {"KeyId": key_arn}}), None),
        ],
        "PutBucketLifecycle": [
            ({"LifecycleConfiguration": {"Rules": first_lifecycle}}, None),
            ({"LifecycleConfiguration": {"Rules": keeping}}, "InvalidRequest"),
        ],
        "PutBucketLifecycleConfiguration": [
            ({"LifecycleConfiguration": {"Rules": lifecycle}}, None),
            ({"LifecycleConfiguration": {"Rules": [life("a", Prefix="a", Expiration={"Days": 1})]}}, None),
        ],
        "PutBucketLogging": [
            ({"BucketLoggingStatus": {"LoggingEnabled": logging | {"TargetObjectKeyFormat": layout} | more}}, code)
            for layout, more, code in [
                ({"SimplePrefix": {}}, {}, None),
                (by_day, {"TargetGrants": grants[:2]}, None),
                (by_day, {"TargetGrants": grants}, "UnresolvableGrantByEmailAddress"),
            ]
        ],
        "PutBucketMetricsConfiguration": filtered("MetricsConfiguration"),
        "PutBucketNotification": one("InvalidArgument", NotificationConfiguration=first_notifications),
        "PutBucketNotificationConfiguration": one("InvalidArgument", NotificationConfiguration=notifications),
        "PutBucketOwnershipControls": one(OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}),
        "PutBucketReplication": [
            ({"ReplicationConfiguration": {"Role": role, "Rules": rules}}, "InvalidArgument")
            for rules in (replication, first_replication)
        ],
        "PutBucketRequestPayment": one(RequestPaymentConfiguration={"Payer": "BucketOwner"}),
        "PutBucketTagging": one(Tagging={"TagSet": [TAG, OTHER_TAG]}),
        "PutBucketVersioning": one(VersioningConfiguration={"MFADelete": "Disabled", "Status": "Enabled"}),
        "PutBucketWebsite": [
            ({"WebsiteConfiguration": website}, None),
            ({"WebsiteConfiguration": {"RedirectAllRequestsTo": {"HostName": "h", "Protocol": "https"}}}, None),
        ],
        "PutObjectAcl": acl,
        "PutObjectLegalHold": one(LegalHold={"Status": "OFF"}),
        "PutObjectLockConfiguration": [lock(Days=1), lock(Years=1)],
        "PutObjectRetention": one(Retention={"Mode": "GOVERNANCE", "RetainUntilDate": FUTURE}),
        "PutObjectTagging": one(Tagging={"TagSet": [TAG, OTHER_TAG]}),
        "PutPublicAccessBlock": one(PublicAccessBlockConfiguration=dict.fromkeys(blocks, False)),
        "UpdateObjectEncryption": one(
            "KMS.NotFoundException", ObjectEncryption={"SSEKMS": {"KMSKeyArn": key_arn, "BucketKeyEnabled": True}}
        ),
    }


def control_documents(arn):
    """The same, of S3 Control."""
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    return {
        "PutPublicAccessBlock": [({"PublicAccessBlockConfiguration": dict.fromkeys(blocks, False)}, None)],
        "TagResource": [({"ResourceArn": arn, "Tags": [TAG, OTHER_TAG]}, None)],
    }


# --- what is in a document --------------------------------------------------------------------------------------------------


def document_of(operation):
    """The shape of the document that an operation takes, if it takes one."""
    shape = operation.input_shape
    if shape is None:
        return None
    if payload := shape.serialization.get("payload"):
        return shape.members[payload] if shape.members[payload].type_name == "structure" else None
    inside = [member for member in shape.members.values() if "location" not in member.serialization]
    return shape if inside else None


def elements_of(shape):
    """(name, tag, shape) of what may be inside an element of a structure; attributes and headers are not."""
    for name, member in shape.members.items():
        if "location" not in member.serialization and not member.serialization.get("xmlAttribute"):
            yield name, member.serialization.get("name", name), member


def known_members(shape, seen=()):
    """The name of every element that the model knows in a document, but for what is in those that are left out."""
    for name, _, member in elements_of(shape):
        known = f"{shape.name}.{name}"
        yield known
        while member.type_name == "list":
            member = member.member
        if member.type_name == "structure" and member.name not in seen and known not in LEFT_OUT:
            yield from known_members(member, (*seen, member.name))


def places(element, shape, path=""):
    """(path, element, shape, [(member, child)], members) of every element of a document, with what of it may stand once, and
    which members it has."""
    path = f"{path}/{element.tag.rpartition('}')[2]}"
    below, singles, members = {}, [], []
    if shape.type_name == "structure":
        for name, tag, member in elements_of(shape):
            children = [child for child in element if child.tag.rpartition("}")[2] == tag]
            members += [f"{shape.name}.{name}"] * bool(children)
            flattened = member.type_name == "list" and member.serialization.get("flattened")
            below |= {child: member.member if flattened else member for child in children}
            singles += [] if flattened else [(f"{shape.name}.{name}", child) for child in children]
    elif shape.type_name == "list":
        below = {child: shape.member for child in element}
    assert len(below) == len(element), f"{path} has elements that the model does not know"
    yield path, element, shape, singles, members
    for child, of in below.items():
        yield from places(child, of, path)


def wrong(root, shape, namespace):
    """(what, document) for each way in which each element of a document may be wrong."""
    for number, (path, _, of, singles, _) in enumerate(places(root, shape)):

        def changed(change, number=number):
            document = copy.deepcopy(root)
            element, its = [(element, its) for _, element, _, its, _ in places(document, shape)][number]
            change(element, its)
            return ElementTree.tostring(document)

        def unknown(element, _):
            ElementTree.SubElement(element, f"{{{namespace}}}Unknown")

        def text(element, _):
            element.text = "text"

        def tail(element, _):
            element[-1].tail = "text"

        yield f"{path} with an unknown element", changed(unknown)
        if of.type_name in ("structure", "list"):
            yield f"{path} with text", changed(text)
            if singles:
                yield f"{path} with text behind its elements", changed(tail)
        for index, (member, child) in enumerate(singles):

            def repeat(element, its, index=index):
                element.append(copy.deepcopy(its[index][1]))

            if member not in MAY_REPEAT:
                yield f"{path} with two of {child.tag.rpartition('}')[2]}", changed(repeat)


def written(root, namespace):
    """A document in ways in which clients write it."""

    def changed(change):
        document = copy.deepcopy(root)
        change(document)
        return document

    def comment(document):
        for element in list(document.iter()):
            if len(element):
                element.insert(0, ElementTree.Comment(" <Unknown> "))
        ElementTree.indent(document)

    def attribute(document):
        for element in document.iter():
            element.set("{urn:x}type", "y")
            element.set("nothing", "'>'")

    tostring = ElementTree.tostring
    plain = tostring(root)
    bare = tostring(changed(lambda document: [setattr(e, "tag", e.tag.rpartition("}")[2]) for e in document.iter()]))
    yield "as it is", plain
    yield "without a namespace", bare
    yield "with a declaration", tostring(root, encoding="UTF-8", xml_declaration=True) + b"\r\n<!-- the end -->\n"
    yield "with a byte order mark", b"\xef\xbb\xbf" + bare
    yield "indented", tostring(changed(ElementTree.indent))
    yield "with comments", tostring(changed(comment))
    yield "with the namespace as the default", bare.replace(b">", f' xmlns="{namespace}">'.encode(), 1)
    if not any("Grantee" in element.tag for element in root.iter()):
        yield "with attributes", tostring(changed(attribute))


# --- what is asked of the server --------------------------------------------------------------------------------------------


class Sender:
    """Calls an operation with a document in place of the one that botocore writes."""

    def __init__(self, client, operation, parameters):
        self.client, self.operation, self.body, self.written = client, operation, None, None
        known = {"Key": "k", "UploadId": parameters.pop("UploadId", None), "AccountId": ACCOUNT}
        model = client.meta.service_model.operation_model(operation)
        self.parameters = {name: known[name] for name in model.input_shape.required_members if name in known} | parameters
        self.event = f"before-call.{model.service_model.service_id.hyphenize()}.{operation}"

    def answer(self, body=None):
        """The code of the answer to `body`, with its status; `None` for one without an error."""

        def swap(params, **_):
            self.written = params["body"]
            params["body"] = self.written if body is None else body

        self.client.meta.events.register(self.event, swap)
        try:
            self.client._make_api_call(self.operation, copy.deepcopy(self.parameters))
        except ClientError as error:
            return error.response["Error"]["Code"], status_of(error.response)
        finally:
            self.client.meta.events.unregister(self.event, swap)
        return None


@pytest.fixture(scope="module")
def lax_s3(server):
    return server.client("s3", config=Config(parameter_validation=False))


@pytest.fixture
def names(s3, bucket_names):
    """names(operation): what the documents name, in a bucket of the operation's own."""
    made = []

    def make(operation):
        bucket, locked = next(bucket_names), operation in NEEDS_LOCK
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locked, ObjectOwnership="BucketOwnerPreferred")
        made.append((bucket, locked))
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
        return {"bucket": bucket, "owner": owner, "arn": f"arn:aws:s3:::{bucket}"}

    yield make
    for name, locked in made:
        if locked:
            for key, version, *_ in versions_of(s3, name):
                s3.delete_object(Bucket=name, Key=key, VersionId=version, BypassGovernanceRetention=True)
        empty(s3, name)
        s3.delete_bucket(Bucket=name)


def is_accepted_or(code, answer):
    return answer is None if code is None else answer is not None and answer[0] == code


def check(sender, shape, code, malformed, namespace):
    """That a document is answered with `code` as clients write it, and refused in every other form."""
    assert is_accepted_or(code, sender.answer()), sender.answer()
    root = ElementTree.fromstring(sender.written)
    for how, body in written(root, namespace):
        assert is_accepted_or(code, sender.answer(body)), (how, sender.answer(body), body)
    answers = {what: sender.answer(body) for what, body in wrong(root, shape, namespace)}
    assert {what: answer for what, answer in answers.items() if answer != (malformed, 400)} == {}


@pytest.mark.parametrize("operation", documents())
def test_what_is_not_understood_is_refused(lax_s3, s3, names, operation):
    made = names(operation)
    shape = document_of(lax_s3.meta.service_model.operation_model(operation))
    for parameters, code in documents(**made)[operation]:
        parameters = {"Bucket": made["bucket"]} | parameters
        if operation == "CompleteMultipartUpload":
            parameters["UploadId"] = s3.create_multipart_upload(Bucket=made["bucket"], Key="k")["UploadId"]
        check(Sender(lax_s3, operation, parameters), shape, code, CODES.get(operation, "MalformedXML"), NAMESPACE)


@pytest.mark.parametrize("operation, code", WITHOUT.items())
def test_a_document_that_is_missing(lax_s3, names, operation, code):
    made = names(operation)
    parameters = {"Bucket": made["bucket"]} | documents(**made)[operation][0][0]
    assert Sender(lax_s3, operation, parameters).answer(b"") == (code, 400)


@pytest.mark.parametrize("operation", control_documents(""))
def test_what_is_not_understood_is_refused_by_s3_control(server, names, operation):
    control = control_of(server)
    made = names(operation)
    shape = document_of(control.meta.service_model.operation_model(operation))
    for parameters, code in control_documents(made["arn"])[operation]:
        check(Sender(control, operation, parameters), shape, code, "MalformedXML", CONTROL_NAMESPACE)
    control.delete_public_access_block(AccountId=ACCOUNT)


def test_every_document_of_the_model_is_here():
    """An operation or element that a newer model has is nowhere, until somebody has looked how it is read."""
    client = Endpoint("http://127.0.0.1:1", "x", "x").client("s3", config=Config(parameter_validation=False))
    model = client.meta.service_model
    shapes = {name: document_of(model.operation_model(name)) for name in model.operation_names}
    assert {name for name, shape in shapes.items() if shape} == {*documents(), *NOT_SERVED}
    left_out = set()
    for operation, cases in documents().items():
        present = set()
        for parameters, _ in cases:
            sender = Sender(client, operation, {"Bucket": "b", "UploadId": "u"} | parameters)
            root = ElementTree.fromstring(serialized(client, operation, sender.parameters))
            present |= {member for *_, members in places(root, shapes[operation]) for member in members}
        missing = set(known_members(shapes[operation])) - present
        assert missing <= set(LEFT_OUT), (operation, missing)
        left_out |= missing
    assert left_out == set(LEFT_OUT)


def serialized(client, operation, parameters):
    """The document that botocore writes."""
    made = client._serializer.serialize_to_request(parameters, client.meta.service_model.operation_model(operation))
    return made["body"]
