"""Access control lists and object ownership: what lists say, whom they let in, whose objects are, and when none of it counts."""

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from support.calls import body_of, completed, empty, multipart, refused, status_of
from support.data import content
from support.requests import signed
from support.server import OTHER_ACCOUNT as OTHER
from support.server import OTHER_EMAIL
from test_bucket_policy import OPEN, document
from test_post_object import post, sign

DATA = content(10_000, "acl")
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
NOBODY = "65a011a29cdf8ec533ec3d1ccaae921c"


@pytest.fixture(scope="module")
def server(two_account_server):
    """A server with a second account."""
    return two_account_server()


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def stranger(server):
    """The other account's client."""
    return server.other.client("s3")


@pytest.fixture(scope="module")
def anonymous(server):
    return server.client("s3", config=Config(signature_version=UNSIGNED))


@pytest.fixture(scope="module")
def owner(s3):
    """The canonical id of the first account."""
    return s3.list_buckets()["Owner"]["ID"]


@pytest.fixture(scope="module")
def other(stranger):
    """The canonical id of the other account."""
    return stranger.list_buckets()["Owner"]["ID"]


def make(s3, name, ownership="ObjectWriter", public=True):
    s3.create_bucket(Bucket=name, ObjectOwnership=ownership)
    if public:
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=OPEN)
    return name


@pytest.fixture
def shared(s3, bucket_names):
    """A bucket whose lists count, and where public access is not blocked."""
    name = make(s3, next(bucket_names))
    yield name
    s3.delete_bucket_policy(Bucket=name)
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def grants_of(answer):
    """The grants of an answer: (grantee, permission) in order."""
    return [(g["Grantee"].get("ID") or g["Grantee"]["URI"], g["Permission"]) for g in answer["Grants"]]


# --- where lists do not count -----------------------------------------------------------------------------------------------


def test_new_buckets_have_no_lists(s3, bucket, owner):
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    answer = s3.get_bucket_acl(Bucket=bucket)
    assert grants_of(answer) == [(owner, "FULL_CONTROL")]
    assert answer["Owner"] == {"ID": owner, "DisplayName": "root"}
    refusal = "The bucket does not allow ACLs"
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    for acl in ("private", "public-read"):
        with refused("AccessControlListNotSupported", 400, refusal):
            s3.put_bucket_acl(Bucket=bucket, ACL=acl)
        with refused("AccessControlListNotSupported", 400, refusal):
            s3.put_object_acl(Bucket=bucket, Key="k", ACL=acl)
    # What is wrong with a list is told first.
    for options, code in (
        ({"GrantRead": "uri=http://acs.amazonaws.com/groups/s3/FakeGroup"}, "InvalidArgument"),
        ({"GrantRead": "id=wrong-id"}, "InvalidArgument"),
        ({"ACL": "fake-acl"}, "InvalidArgument"),
        ({"AccessControlPolicy": {}}, "MalformedACLError"),
        ({}, "MissingSecurityHeader"),
        ({"ACL": "private", "AccessControlPolicy": {"Owner": {"ID": owner}, "Grants": []}}, "UnexpectedContent"),
    ):
        for call, name in ((s3.put_bucket_acl, {}), (s3.put_object_acl, {"Key": "k"})):
            with refused(code, 400):
                call(Bucket=bucket, **name, **options)
    for options in ({"ACL": "public-read"}, {"ACL": "bucket-owner-read"}, {"GrantRead": f"uri={ALL_USERS}"}):
        with refused("AccessControlListNotSupported", 400, refusal):
            s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)
        with refused("AccessControlListNotSupported", 400, refusal):
            s3.copy_object(Bucket=bucket, Key="l", CopySource=f"{bucket}/k", **options)
        with refused("AccessControlListNotSupported", 400, refusal):
            s3.create_multipart_upload(Bucket=bucket, Key="l", **options)
    for options in ({"ACL": "bucket-owner-full-control"}, {"GrantFullControl": f"id={owner}"}):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA, **options)
    assert grants_of(s3.get_object_acl(Bucket=bucket, Key="k")) == [(owner, "FULL_CONTROL")]


def test_the_list_of_a_delete_marker(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    with refused("NoSuchKey", 404):
        s3.get_object_acl(Bucket=bucket, Key="k")
    for options in ({"VersionId": marker}, {"VersionId": marker, "ACL": "private"}, {"ACL": "private"}):
        call = s3.put_object_acl if "ACL" in options else s3.get_object_acl
        with refused("MethodNotAllowed", 405):
            call(Bucket=bucket, Key="k", **options)


def test_what_a_bucket_may_be_created_with(s3, server, bucket_names, owner):
    name = next(bucket_names)
    own = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
    for options in ({}, {"ObjectOwnership": "BucketOwnerEnforced"}):
        for acl in ({"ACL": "public-read"}, {"ACL": "authenticated-read"}, {"GrantRead": f"uri={LOG_DELIVERY}"}):
            with refused("InvalidBucketAclWithObjectOwnership", 400, own):
                s3.create_bucket(Bucket=name, **acl, **options)
    public = "Bucket cannot have public ACLs set with BlockPublicAccess enabled"
    with refused("InvalidBucketAclWithBlockPublicAccessError", 400, public):
        s3.create_bucket(Bucket=name, ACL="public-read", ObjectOwnership="ObjectWriter")
    with refused("InvalidArgument", 400, "Invalid x-amz-object-ownership header: Nobody"):
        s3.create_bucket(Bucket=name, ObjectOwnership="Nobody")
    unset = signed(server, "PUT", f"/{name}", headers={"x-amz-object-ownership": ""})
    assert (unset.status, unset.code) == (400, "InvalidArgument")
    assert unset.error["Message"].strip() == "Invalid x-amz-object-ownership header:"
    assert unset.error["ArgumentName"] == "x-amz-object-ownership"
    with refused("NoSuchBucket", 404):
        s3.get_bucket_acl(Bucket=name)
    s3.create_bucket(Bucket=name, ACL="private")
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred", GrantWrite=f'uri="{LOG_DELIVERY}"')
    assert grants_of(s3.get_bucket_acl(Bucket=name)) == [(LOG_DELIVERY, "WRITE")]
    s3.delete_bucket(Bucket=name)


def test_ownership_controls(server, s3, bucket, other):
    def put(setting):
        return s3.put_bucket_ownership_controls(
            Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": setting}]}
        )

    for setting in ("ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced", "ObjectWriter"):
        assert status_of(put(setting)) == 200
        rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        assert rules == [{"ObjectOwnership": setting}]
    with refused("MalformedXML", 400):
        put("Nobody")
    with refused("MalformedXML", 400):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": []})
    s3.put_bucket_acl(Bucket=bucket, GrantRead=f"id={other}")
    with refused("InvalidBucketAclWithObjectOwnership", 400):
        put("BucketOwnerEnforced")
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Grantee"]["ID"] == other
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    put("BucketOwnerEnforced")
    assert status_of(s3.delete_bucket_ownership_controls(Bucket=bucket)) == 204
    with refused("OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found"):
        s3.get_bucket_ownership_controls(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")


# --- what lists say ---------------------------------------------------------------------------------------------------------

CANNED = {
    "private": [],
    "public-read": [(ALL_USERS, "READ")],
    "public-read-write": [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")],
    "authenticated-read": [(AUTHENTICATED, "READ")],
    "bucket-owner-read": [],
    "bucket-owner-full-control": [],
    "log-delivery-write": [(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")],
    "aws-exec-read": [("6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c", "READ")],
}


@pytest.mark.parametrize("acl", CANNED)
def test_canned_lists(s3, shared, owner, acl):
    expected = [(owner, "FULL_CONTROL"), *CANNED[acl]]
    s3.put_bucket_acl(Bucket=shared, ACL=acl)
    assert grants_of(s3.get_bucket_acl(Bucket=shared)) == expected
    if acl == "log-delivery-write":
        with refused("InvalidArgument", 400):
            s3.put_object(Bucket=shared, Key="k", ACL=acl)
        return
    s3.put_object(Bucket=shared, Key="k", Body=DATA, ACL=acl)
    assert grants_of(s3.get_object_acl(Bucket=shared, Key="k")) == expected
    s3.put_object(Bucket=shared, Key="l", Body=DATA)
    s3.put_object_acl(Bucket=shared, Key="l", ACL=acl)
    answer = s3.get_object_acl(Bucket=shared, Key="l")
    assert (grants_of(answer), answer["Owner"]["ID"]) == (expected, owner)
    assert body_of(s3.get_object(Bucket=shared, Key="l")) == DATA


def test_every_way_to_write_takes_a_list(server, s3, shared, owner):
    """CopyObject does not take over its source's."""
    expected = [(owner, "FULL_CONTROL"), (AUTHENTICATED, "READ")]
    acl = {"ACL": "authenticated-read"}
    s3.put_object(Bucket=shared, Key="source", Body=DATA, ACL="public-read")
    s3.copy_object(Bucket=shared, Key="plain", CopySource=f"{shared}/source")
    assert grants_of(s3.get_object_acl(Bucket=shared, Key="plain")) == [(owner, "FULL_CONTROL")]
    s3.copy_object(Bucket=shared, Key="shared", CopySource=f"{shared}/source", **acl)
    s3.copy_object(
        Bucket=shared, Key="afresh", CopySource=f"{shared}/source", ServerSideEncryption="aws:kms", ChecksumAlgorithm="SHA256", **acl
    )
    multipart(s3, shared, "parts", [DATA], **acl)
    conditions = [{"bucket": shared}, {"key": "form"}, {"acl": "authenticated-read"}]
    fields = {"key": "form", "acl": "authenticated-read"} | sign(server, conditions)
    assert post(server, shared, fields).status == 204
    for key in ("shared", "afresh", "parts", "form"):
        assert grants_of(s3.get_object_acl(Bucket=shared, Key=key)) == expected, key


def test_grants_by_header_and_by_document(s3, shared, owner, other):
    s3.put_bucket_acl(
        Bucket=shared,
        GrantFullControl=f'id="{owner}"',
        GrantRead=f'emailAddress="{OTHER_EMAIL}", uri="{LOG_DELIVERY}"',
        GrantWriteACP=f"id={other}",
    )
    assert grants_of(s3.get_bucket_acl(Bucket=shared)) == [
        (other, "READ"),
        (LOG_DELIVERY, "READ"),
        (other, "WRITE_ACP"),
        (owner, "FULL_CONTROL"),
    ]
    grants = [
        {"Grantee": {"Type": "CanonicalUser", "ID": owner}, "Permission": "FULL_CONTROL"},
        {"Grantee": {"Type": "Group", "URI": ALL_USERS}, "Permission": "READ"},
        {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": OTHER_EMAIL}, "Permission": "WRITE"},
    ]
    policy = {"Owner": {"ID": owner}, "Grants": grants}
    expected = [(owner, "FULL_CONTROL"), (ALL_USERS, "READ"), (other, "WRITE")]
    s3.put_bucket_acl(Bucket=shared, AccessControlPolicy=policy)
    answer = s3.get_bucket_acl(Bucket=shared)
    assert grants_of(answer) == expected
    assert answer["Grants"][2]["Grantee"] == {"Type": "CanonicalUser", "ID": other, "DisplayName": "other"}
    assert answer["Grants"][1]["Grantee"] == {"Type": "Group", "URI": ALL_USERS}
    s3.put_object(Bucket=shared, Key="k")
    s3.put_object_acl(Bucket=shared, Key="k", AccessControlPolicy=policy)
    assert grants_of(s3.get_object_acl(Bucket=shared, Key="k")) == expected
    # What came out goes in again.
    s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={name: answer[name] for name in ("Owner", "Grants")})
    assert grants_of(s3.get_bucket_acl(Bucket=shared)) == expected


@pytest.mark.parametrize(
    "options, code, text",
    [
        ({"GrantRead": "id=0000"}, "InvalidArgument", "Invalid id"),
        ({"GrantRead": "uri=http://example.com/"}, "InvalidArgument", "Invalid group uri"),
        ({"GrantRead": "someone"}, "InvalidArgument", "Argument format not recognized"),
        (
            {"GrantRead": "emailAddress=nobody@example.com"},
            "UnresolvableGrantByEmailAddress",
            "The e-mail address you provided does not match any account on record.",
        ),
        (
            {"ACL": "private", "GrantRead": f"uri={ALL_USERS}"},
            "InvalidRequest",
            "Specifying both Canned ACLs and Header Grants is not allowed",
        ),
        ({"ACL": "wide-open"}, "InvalidArgument", None),
    ],
)
def test_lists_that_are_none(s3, shared, options, code, text):
    s3.put_object(Bucket=shared, Key="k")
    with refused(code, 400, text):
        s3.put_bucket_acl(Bucket=shared, **options)
    with refused(code, 400, text):
        s3.put_object_acl(Bucket=shared, Key="k", **options)
    with refused(code, 400, text):
        s3.put_object(Bucket=shared, Key="k", **options)


def test_documents_that_are_none(server, s3, shared, owner, other):
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "0000"}, "Permission": "READ"}
    with refused("InvalidArgument", 400, "Invalid id"):
        s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={"Owner": {"ID": owner}, "Grants": [grant]})
    with refused("AccessDenied", 403):
        s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={"Owner": {"ID": other}, "Grants": []})
    with refused("InvalidArgument", 400, "Invalid id"):
        s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={"Owner": {"ID": "wrong-id"}, "Grants": []})
    with refused("MalformedACLError", 400):
        s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={"Grants": []})
    with refused("MissingSecurityHeader", 400, "Your request was missing a required header"):
        s3.put_bucket_acl(Bucket=shared)
    with refused("UnexpectedContent", 400):
        s3.put_bucket_acl(Bucket=shared, ACL="private", AccessControlPolicy={"Owner": {"ID": owner}, "Grants": []})
    with refused("NoSuchKey", 404):
        s3.put_object_acl(Bucket=shared, Key="none", ACL="private")


# --- whom lists let in ------------------------------------------------------------------------------------------------------


def test_lists_of_buckets(s3, shared, stranger, anonymous, other):
    s3.put_object(Bucket=shared, Key="k", Body=DATA)
    calls = {
        "READ": lambda client: client.list_objects_v2(Bucket=shared),
        "READ_ACP": lambda client: client.get_bucket_acl(Bucket=shared),
        "WRITE_ACP": lambda client: client.put_bucket_acl(Bucket=shared, GrantFullControl=f"id={other}"),
        "WRITE": lambda client: client.put_object(Bucket=shared, Key="new", Body=DATA),
    }
    for header, given in [
        ("GrantRead", {"READ"}),
        ("GrantWrite", {"WRITE"}),
        ("GrantReadACP", {"READ_ACP"}),
        ("GrantWriteACP", {"WRITE_ACP"}),
        ("GrantFullControl", set(calls)),
    ]:
        s3.put_bucket_acl(Bucket=shared, **{header: f"id={other}"})
        # What replaces the list comes last.
        for permission in ("READ", "READ_ACP", "WRITE", "WRITE_ACP"):
            if permission in given:
                calls[permission](stranger)
            else:
                with refused("AccessDenied", 403, "Access Denied"):
                    calls[permission](stranger)
            with refused("AccessDenied", 403):
                calls[permission](anonymous)
        with refused("AccessDenied", 403):
            stranger.get_object(Bucket=shared, Key="k")
        with refused("AccessDenied", 403):
            stranger.delete_bucket(Bucket=shared)
        with refused("AccessDenied", 403):
            stranger.get_bucket_policy(Bucket=shared)
    stranger.delete_object(Bucket=shared, Key="new")


def test_lists_of_objects(s3, shared, stranger, anonymous, other):
    s3.put_object(Bucket=shared, Key="k", Body=DATA)
    key = {"Bucket": shared, "Key": "k"}
    calls = {
        "READ": lambda client: client.get_object(**key),
        "READ_ACP": lambda client: client.get_object_acl(**key),
        "WRITE_ACP": lambda client: client.put_object_acl(GrantFullControl=f"id={other}", **key),
    }
    for header, given in [
        ("GrantRead", {"READ"}),
        ("GrantReadACP", {"READ_ACP"}),
        ("GrantWriteACP", {"WRITE_ACP"}),
        ("GrantFullControl", set(calls)),
    ]:
        s3.put_object_acl(**key, **{header: f"id={other}"})
        for permission in ("READ", "READ_ACP", "WRITE_ACP"):
            if permission in given:
                calls[permission](stranger)
            else:
                with refused("AccessDenied", 403, "Access Denied"):
                    calls[permission](stranger)
            with refused("AccessDenied", 403):
                calls[permission](anonymous)
        for refusal in (stranger.put_object, stranger.delete_object):
            with refused("AccessDenied", 403):
                refusal(**key)
    # A denial in the bucket's policy wins over every list.
    s3.put_bucket_policy(Bucket=shared, Policy=document(shared, Effect="Deny", Principal={"AWS": OTHER}))
    with refused("AccessDenied", 403):
        stranger.get_object(**key)


def test_groups(s3, shared, stranger, anonymous):
    s3.put_object(Bucket=shared, Key="all", Body=DATA, ACL="public-read")
    s3.put_object(Bucket=shared, Key="signed", Body=DATA, ACL="authenticated-read")
    assert body_of(anonymous.get_object(Bucket=shared, Key="all")) == DATA
    assert body_of(stranger.get_object(Bucket=shared, Key="all")) == DATA
    assert body_of(stranger.get_object(Bucket=shared, Key="signed")) == DATA
    with refused("AccessDenied", 403):
        anonymous.get_object(Bucket=shared, Key="signed")
    with refused("AccessDenied", 403):
        anonymous.list_objects_v2(Bucket=shared)
    s3.put_bucket_acl(Bucket=shared, ACL="public-read")
    assert [entry["Key"] for entry in anonymous.list_objects_v2(Bucket=shared)["Contents"]] == ["all", "signed"]
    with refused("NoSuchKey", 404):
        anonymous.get_object(Bucket=shared, Key="none")


def test_block_public_access(s3, shared, stranger, anonymous, other):
    s3.put_object(Bucket=shared, Key="k", Body=DATA, ACL="public-read")
    s3.put_bucket_acl(Bucket=shared, ACL="public-read")
    s3.put_public_access_block(Bucket=shared, PublicAccessBlockConfiguration=OPEN | {"BlockPublicAcls": True})
    assert body_of(anonymous.get_object(Bucket=shared, Key="k")) == DATA, "what is there stays"
    for acl in ({"ACL": "public-read"}, {"ACL": "authenticated-read"}, {"GrantRead": f"uri={ALL_USERS}"}):
        with refused("AccessDenied", 403) as refusal:
            s3.put_object(Bucket=shared, Key="l", Body=DATA, **acl)
        assert "perform: s3:PutObject on resource" in refusal.message and "BlockPublicAcls" in refusal.message
        with refused("AccessDenied", 403) as refusal:
            s3.copy_object(Bucket=shared, Key="l", CopySource=f"{shared}/k", **acl)
        # (S3 user guide, "Troubleshoot access denied (403 Forbidden) errors in Amazon S3".)
        assert "perform: s3:CopyObject on resource" in refusal.message and "BlockPublicAcls" in refusal.message
        with refused("AccessDenied", 403):
            s3.put_object_acl(Bucket=shared, Key="k", **acl)
        with refused("AccessDenied", 403):
            s3.put_bucket_acl(Bucket=shared, **acl)
        with refused("AccessDenied", 403):
            s3.create_multipart_upload(Bucket=shared, Key="l", **acl)
    s3.put_object_acl(Bucket=shared, Key="k", GrantRead=f"uri={LOG_DELIVERY}, id={other}")
    s3.put_public_access_block(Bucket=shared, PublicAccessBlockConfiguration=OPEN)
    s3.put_object_acl(Bucket=shared, Key="k", ACL="public-read")
    s3.put_public_access_block(Bucket=shared, PublicAccessBlockConfiguration=OPEN | {"IgnorePublicAcls": True})
    for client in (anonymous, stranger):
        with refused("AccessDenied", 403):
            client.get_object(Bucket=shared, Key="k")
        with refused("AccessDenied", 403):
            client.list_objects_v2(Bucket=shared)
    assert body_of(s3.get_object(Bucket=shared, Key="k")) == DATA
    assert (ALL_USERS, "READ") in grants_of(s3.get_object_acl(Bucket=shared, Key="k")), "shown, and ignored"
    s3.delete_public_access_block(Bucket=shared)
    assert body_of(anonymous.get_object(Bucket=shared, Key="k")) == DATA


# --- whose objects are ------------------------------------------------------------------------------------------------------


def owners(client, bucket):
    return {entry["Key"]: entry["Owner"]["ID"] for entry in client.list_objects(Bucket=bucket)["Contents"]}


def test_objects_belong_to_their_writers(s3, shared, stranger, owner, other):
    s3.put_bucket_acl(Bucket=shared, GrantFullControl=f"id={owner}", GrantWrite=f"id={other}")
    s3.put_object(Bucket=shared, Key="ours", Body=DATA)
    stranger.put_object(Bucket=shared, Key="theirs", Body=DATA)
    multipart(stranger, shared, "parts", [DATA])
    assert owners(s3, shared) == {"ours": owner, "parts": other, "theirs": other}
    listed = s3.list_objects_v2(Bucket=shared, FetchOwner=True)["Contents"]
    assert listed[2]["Owner"] == {"ID": other, "DisplayName": "other"}
    key = {"Bucket": shared, "Key": "theirs"}
    # The bucket's owner may delete what it may not read.
    for call in (s3.get_object, s3.get_object_acl, s3.head_object):
        with refused("403" if call == s3.head_object else "AccessDenied", 403):
            call(**key)
    with refused("AccessDenied", 403):
        s3.put_object_acl(ACL="private", **key)
    with refused("AccessDenied", 403):
        s3.get_object_attributes(ObjectAttributes=["ETag"], **key)
    with refused("AccessDenied", 403):
        s3.copy_object(Bucket=shared, Key="copy", CopySource=key)
    # Nor by its own policy.
    s3.put_bucket_policy(Bucket=shared, Policy=document(shared, Principal="*"))
    with refused("AccessDenied", 403):
        s3.get_object(**key)
    assert body_of(stranger.get_object(Bucket=shared, Key="ours")) == DATA
    s3.delete_bucket_policy(Bucket=shared)
    assert body_of(stranger.get_object(**key)) == DATA
    assert grants_of(stranger.get_object_acl(**key)) == [(other, "FULL_CONTROL")]
    stranger.put_object_acl(ACL="bucket-owner-read", **key)
    assert body_of(s3.get_object(**key)) == DATA
    answer = stranger.get_object_acl(**key)
    assert (answer["Owner"]["ID"], grants_of(answer)) == (other, [(other, "FULL_CONTROL"), (owner, "READ")])
    # Who may write replaces and deletes what is its own, and nobody else's.
    stranger.put_object(Bucket=shared, Key="theirs", Body=b"again")
    for call in (stranger.put_object, stranger.delete_object):
        with refused("AccessDenied", 403):
            call(Bucket=shared, Key="ours")
    answer = stranger.delete_objects(Bucket=shared, Delete={"Objects": [{"Key": "ours"}, {"Key": "theirs"}]})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["theirs"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("ours", "AccessDenied")]
    s3.delete_object(Bucket=shared, Key="parts")
    assert owners(s3, shared) == {"ours": owner}


def test_an_upload_is_its_initiators(s3, shared, stranger, owner, other):
    s3.put_bucket_acl(Bucket=shared, GrantFullControl=f"id={owner}", GrantWrite=f"id={other}")
    name = {"Bucket": shared, "Key": "k"}
    theirs = stranger.create_multipart_upload(**name)["UploadId"]
    ours = s3.create_multipart_upload(**name)["UploadId"]
    part = stranger.upload_part(UploadId=theirs, PartNumber=1, Body=DATA, **name)
    listed = {upload["UploadId"]: upload for upload in s3.list_multipart_uploads(Bucket=shared)["Uploads"]}
    assert (listed[theirs]["Initiator"]["ID"], listed[theirs]["Owner"]["ID"]) == (other, other)
    assert (listed[ours]["Initiator"]["ID"], listed[ours]["Owner"]["ID"]) == (owner, owner)
    assert stranger.list_parts(UploadId=theirs, **name)["Owner"]["ID"] == other
    with refused("AccessDenied", 403):
        stranger.list_parts(UploadId=ours, **name)
    with refused("AccessDenied", 403):
        stranger.abort_multipart_upload(UploadId=ours, **name)
    stranger.complete_multipart_upload(UploadId=theirs, MultipartUpload={"Parts": [completed(1, part)]}, **name)
    assert owners(s3, shared) == {"k": other}
    stranger.delete_object(**name)


def test_the_bucket_owner_preferred(s3, bucket_names, stranger, owner, other):
    name = make(s3, next(bucket_names), "BucketOwnerPreferred")
    statement = {"Principal": {"AWS": OTHER}, "Action": ["s3:PutObject", "s3:GetObject"]}
    s3.put_bucket_policy(Bucket=name, Policy=document(name, **statement))
    stranger.put_object(Bucket=name, Key="handed", Body=DATA, ACL="bucket-owner-full-control")
    stranger.put_object(Bucket=name, Key="kept", Body=DATA)
    assert owners(s3, name) == {"handed": owner, "kept": other}
    assert body_of(s3.get_object(Bucket=name, Key="handed")) == DATA
    assert grants_of(s3.get_object_acl(Bucket=name, Key="handed")) == [(owner, "FULL_CONTROL")]
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=name, Key="kept")
    with refused("AccessDenied", 403):
        stranger.get_object_acl(Bucket=name, Key="handed")
    # Handed over by a copy and in parts as well.
    acl = {"ACL": "bucket-owner-full-control"}
    stranger.copy_object(Bucket=name, Key="copied", CopySource=f"{name}/kept", **acl)
    multipart(stranger, name, "parts", [DATA], **acl)
    assert {owners(s3, name)[key] for key in ("copied", "parts")} == {owner}
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def test_enforcing_ownership_takes_all_objects_over_and_gives_them_back(s3, shared, stranger, owner, other):
    statement = {"Principal": {"AWS": OTHER}, "Action": ["s3:PutObject", "s3:PutObjectAcl"]}
    s3.put_bucket_policy(Bucket=shared, Policy=document(shared, **statement))
    stranger.put_object(Bucket=shared, Key="k", Body=DATA, ACL="public-read")
    with refused("AccessDenied", 403):
        s3.get_object_acl(Bucket=shared, Key="k")

    def own(setting):
        s3.put_bucket_ownership_controls(Bucket=shared, OwnershipControls={"Rules": [{"ObjectOwnership": setting}]})

    own("BucketOwnerEnforced")
    assert body_of(s3.get_object(Bucket=shared, Key="k")) == DATA
    assert owners(s3, shared) == {"k": owner}
    assert grants_of(s3.get_object_acl(Bucket=shared, Key="k")) == [(owner, "FULL_CONTROL")]
    with refused("AccessDenied", 403):
        stranger.get_object(Bucket=shared, Key="k")
    own("ObjectWriter")
    assert owners(s3, shared) == {"k": other}
    assert (ALL_USERS, "READ") in grants_of(stranger.get_object_acl(Bucket=shared, Key="k"))


def test_what_nobody_signed_for(server, s3, shared, anonymous, stranger, owner):
    s3.put_bucket_acl(Bucket=shared, ACL="public-read-write")
    anonymous.put_object(Bucket=shared, Key="k", Body=DATA)
    assert owners(s3, shared) == {"k": NOBODY}
    assert body_of(anonymous.get_object(Bucket=shared, Key="k")) == DATA
    for client in (s3, stranger):
        with refused("AccessDenied", 403):
            client.get_object(Bucket=shared, Key="k")
    anonymous.put_object(Bucket=shared, Key="k", Body=DATA, ACL="public-read")
    assert body_of(s3.get_object(Bucket=shared, Key="k")) == DATA
    assert post(server, shared, {"key": "form"}).status == 204
    assert owners(s3, shared)["form"] == NOBODY
    anonymous.delete_object(Bucket=shared, Key="form")


def test_what_takes_a_signature(s3, shared, anonymous):
    """Whatever lists and policies give."""
    s3.put_object(Bucket=shared, Key="k", Body=DATA)
    every = {"Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{shared}", f"arn:aws:s3:::{shared}/*"]}
    s3.put_bucket_policy(Bucket=shared, Policy=document(shared, **every))
    ownership = {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}
    bucket, name = {"Bucket": shared}, {"Bucket": shared, "Key": "k"}
    assert body_of(anonymous.get_object(**name)) == DATA
    for call, options, message in (
        (anonymous.copy_object, name | {"CopySource": f"{shared}/k"}, "users cannot copy objects.  Please authenticate."),
        (anonymous.create_multipart_upload, name, "users cannot initiate multipart uploads.  Please authenticate."),
        (anonymous.put_bucket_acl, bucket | {"ACL": "private"}, "users cannot invoke this API. Please authenticate."),
        (anonymous.put_object_acl, name | {"ACL": "private"}, "users cannot invoke this API. Please authenticate."),
        (anonymous.create_bucket, {"Bucket": "nobodys"}, "users cannot invoke this API. Please authenticate."),
    ):
        with refused("AccessDenied", 403, f"Anonymous {message}"):
            call(**options)
    for call, options, action in (
        (anonymous.get_bucket_ownership_controls, bucket, "GetBucketOwnershipControls"),
        (anonymous.put_bucket_ownership_controls, bucket | ownership, "PutBucketOwnershipControls"),
        (anonymous.delete_bucket_ownership_controls, bucket, "PutBucketOwnershipControls"),
    ):
        with refused("AccessDenied", 403, f"s3:{action} does not support Anonymous requests!"):
            call(**options)
    assert anonymous.list_objects_v2(**bucket)["KeyCount"] == 1


# --- together with policies -------------------------------------------------------------------------------------------------


def test_a_policy_on_the_list_of_an_upload(s3, shared, stranger):
    """Cross-account uploads that must give the bucket's owner full control. (S3 user guide, bucket policy examples.)"""
    condition = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
    policy = document(shared, Principal={"AWS": OTHER}, Action="s3:PutObject", Condition=condition)
    s3.put_bucket_policy(Bucket=shared, Policy=policy)
    key = {"Bucket": shared, "Key": "k", "Body": DATA}
    stranger.put_object(ACL="bucket-owner-full-control", **key)
    assert body_of(s3.get_object(Bucket=shared, Key="k")) == DATA
    for acl in ({}, {"ACL": "private"}, {"ACL": "public-read"}):
        with refused("AccessDenied", 403):
            stranger.put_object(**acl, **key)
    condition = {"StringLike": {"s3:x-amz-grant-full-control": "id=*"}}
    policy = document(shared, Principal={"AWS": OTHER}, Action="s3:PutObject", Condition=condition)
    s3.put_bucket_policy(Bucket=shared, Policy=policy)
    with refused("AccessDenied", 403):
        stranger.put_object(ACL="bucket-owner-full-control", **key)
    stranger.put_object(GrantFullControl=f"id={s3.list_buckets()['Owner']['ID']}", **key)


def test_giving_a_list_is_an_action_of_its_own(s3, shared):
    s3.put_bucket_policy(Bucket=shared, Policy=document(shared, Effect="Deny", Action="s3:PutObjectAcl"))
    key = {"Bucket": shared, "Key": "k", "Body": DATA}
    for acl in ({}, {"ACL": "private"}, {"ACL": "bucket-owner-full-control"}):
        s3.put_object(**acl, **key)
    with refused("AccessDenied", 403) as refusal:
        s3.put_object(ACL="public-read", **key)
    assert "s3:PutObjectAcl" in refusal.message
    with refused("AccessDenied", 403):
        s3.put_object_acl(Bucket=shared, Key="k", ACL="private")


def test_canonical_ids_are_principals(s3, shared, stranger, other):
    s3.put_object(Bucket=shared, Key="k", Body=DATA)
    s3.put_bucket_policy(Bucket=shared, Policy=document(shared, Principal={"CanonicalUser": other}))
    assert body_of(stranger.get_object(Bucket=shared, Key="k")) == DATA
    with refused("MalformedPolicy", 400, "Invalid principal in policy"):
        s3.put_bucket_policy(Bucket=shared, Policy=document(shared, Principal={"CanonicalUser": "0000"}))


def test_lists_survive_a_kill(new_server):
    server = new_server()
    s3 = server.client("s3")
    make(s3, "kept")
    s3.put_object(Bucket="kept", Key="k", Body=DATA, ACL="public-read")
    s3.put_bucket_acl(Bucket="kept", ACL="public-read")
    server.kill()
    server.start()
    anonymous = server.client("s3", config=Config(signature_version=UNSIGNED))
    assert body_of(anonymous.get_object(Bucket="kept", Key="k")) == DATA
    assert len(anonymous.list_objects_v2(Bucket="kept")["Contents"]) == 1


# --- the bucket's expected owner --------------------------------------------------------------------------------------------


def test_the_expected_owner(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    own = "000000000000"
    key = {"Bucket": bucket, "Key": "k"}
    body_of(s3.get_object(ExpectedBucketOwner=own, **key))
    copy = {"CopySource": f"{bucket}/k", "Bucket": bucket, "Key": "copy"}
    s3.copy_object(ExpectedBucketOwner=own, ExpectedSourceBucketOwner=own, **copy)
    with refused("AccessDenied", 403):
        s3.copy_object(ExpectedSourceBucketOwner=OTHER, **copy)
    upload = s3.create_multipart_upload(**key)["UploadId"]
    with refused("AccessDenied", 403):
        s3.upload_part_copy(UploadId=upload, PartNumber=1, ExpectedSourceBucketOwner=OTHER, CopySource=f"{bucket}/k", **key)
    for call, arguments in [
        (s3.get_object, key),
        (s3.put_object, key),
        (s3.delete_object, key),
        (s3.get_object_acl, key),
        (s3.list_objects_v2, {"Bucket": bucket}),
        (s3.list_multipart_uploads, {"Bucket": bucket}),
        (s3.get_bucket_acl, {"Bucket": bucket}),
        (s3.get_bucket_policy, {"Bucket": bucket}),
        (s3.get_bucket_encryption, {"Bucket": bucket}),
        (s3.copy_object, copy),
        (s3.abort_multipart_upload, key | {"UploadId": upload}),
        (s3.delete_objects, {"Bucket": bucket, "Delete": {"Objects": [{"Key": "k"}]}}),
        (s3.delete_bucket, {"Bucket": bucket}),
    ]:
        with refused("AccessDenied", 403):
            call(ExpectedBucketOwner=OTHER, **arguments)
        message = "The value of the expected bucket owner parameter must be an AWS Account ID... [me]"
        with refused("InvalidBucketOwnerAWSAccountID", 400, message):
            call(ExpectedBucketOwner="me", **arguments)


# --- the command line -------------------------------------------------------------------------------------------------------


def test_the_command_line(server, s3, shared, owner, other, anonymous):
    aws = server.aws
    aws("s3api", "put-bucket-acl", "--bucket", shared, "--grant-full-control", f"id={owner}", "--grant-read", f"emailaddress={OTHER_EMAIL}")
    shown = aws("s3api", "get-bucket-acl", "--bucket", shared).json
    assert [grant["Permission"] for grant in shown["Grants"]] == ["READ", "FULL_CONTROL"]
    aws("s3", "cp", "-", f"s3://{shared}/k", "--acl", "public-read", stdin="hello")
    assert body_of(anonymous.get_object(Bucket=shared, Key="k")) == b"hello"
    aws("s3api", "put-object-acl", "--bucket", shared, "--key", "k", "--acl", "private")
    with refused("AccessDenied", 403):
        anonymous.get_object(Bucket=shared, Key="k")
    controls = "Rules=[{ObjectOwnership=BucketOwnerPreferred}]"
    aws("s3api", "put-bucket-ownership-controls", "--bucket", shared, "--ownership-controls", controls)
    shown = aws("s3api", "get-bucket-ownership-controls", "--bucket", shared).json
    assert shown["OwnershipControls"]["Rules"][0]["ObjectOwnership"] == "BucketOwnerPreferred"
