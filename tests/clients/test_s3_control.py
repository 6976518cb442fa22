"""S3 Control: the tags of buckets by their ARN, and what an account blocks of public access."""

import json
import re
import socket

import pytest

from support.calls import body_of, control_of, refused, status_of
from support.requests import send, signed
from support.server import OTHER_ACCOUNT as OTHER

ACCOUNT = "000000000000"
ALL = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
NONE = dict.fromkeys(ALL, False)


@pytest.fixture(scope="module")
def server(two_account_server):
    return two_account_server(more="[audit]\ndata_events = true\n")


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def control(server):
    return control_of(server)


@pytest.fixture(autouse=True)
def no_block(control):
    yield
    control.delete_public_access_block(AccountId=ACCOUNT)


def arn(bucket):
    return f"arn:aws:s3:::{bucket}"


def tags(**pairs):
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def tags_of(control, bucket):
    return control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn=arn(bucket))["Tags"]


def test_tags_are_the_buckets(s3, control, bucket):
    assert tags_of(control, bucket) == []
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags(team="blue", stage="dev")})
    assert tags_of(control, bucket) == tags(team="blue", stage="dev")
    of = {"AccountId": ACCOUNT, "ResourceArn": arn(bucket)}
    assert status_of(control.tag_resource(**of, Tags=tags(stage="prod", owner="é"))) == 204
    assert tags_of(control, bucket) == tags(team="blue", stage="prod", owner="é")
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags(team="blue", stage="prod", owner="é")
    assert status_of(control.untag_resource(**of, TagKeys=["team", "owner", "none"])) == 204
    assert tags_of(control, bucket) == tags(stage="prod")
    control.untag_resource(**of, TagKeys=["stage"])
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)


def test_what_may_be_a_tag(control, bucket):
    of = {"AccountId": ACCOUNT, "ResourceArn": arn(bucket)}
    invalid = (
        "This request contains a tag key or value that isn't valid. Valid characters include the following: "
        "[a-zA-Z+-=._:/]. Tag keys can contain up to 128 characters. Tag values can contain up to 256 characters."
    )
    for pair in ({"k" * 129: "v"}, {"k": "v" * 257}, {"": "v"}, {"k,": "v"}):
        with refused("InvalidTag", 400, invalid):
            control.tag_resource(**of, Tags=tags(**pair))
    system = (
        "User-defined tag keys can't start with \"aws:\". This prefix is reserved for system tags. Remove \"aws:\" from your "
        "tag keys and try again."
    )
    with refused("InvalidTag", 400, system):
        control.tag_resource(**of, Tags=tags(**{"aws:a": "b"}))
    twice = "There are duplicate tag keys in your request. Remove the duplicate tag keys and try again."
    with refused("InvalidTag", 400, twice):
        control.tag_resource(**of, Tags=tags(a="1") * 2)
    control.tag_resource(**of, Tags=tags(**{f"k{n}": "v" for n in range(50)}))
    with refused("BadRequest", 400):
        control.tag_resource(**of, Tags=tags(more="v"))
    control.tag_resource(**of, Tags=tags(k0="w"))
    assert len(tags_of(control, bucket)) == 50


def test_what_there_is_not(server, control, bucket):
    of = {"AccountId": ACCOUNT, "ResourceArn": arn("no-such-bucket-here")}
    for call in (
        lambda: control.list_tags_for_resource(**of),
        lambda: control.tag_resource(**of, Tags=tags(a="b")),
        lambda: control.untag_resource(**of, TagKeys=["a"]),
    ):
        with refused("NoSuchResource", 404, "The specified resource doesn't exist."):
            call()
    with refused("NotImplemented", 501):
        control.list_tags_for_resource(
            AccountId=ACCOUNT, ResourceArn=f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/point"
        )
    with refused("InvalidArgument", 400):
        control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn="arn:aws:sns:us-east-1:000000000000:topic")
    for call in (lambda: control.list_jobs(AccountId=ACCOUNT), lambda: control.list_access_points(AccountId=ACCOUNT)):
        with refused("MethodNotAllowed", 405):
            call()
    # Go's SDK, with which Terraform asks, looks for the code inside an ErrorResponse.
    answer = signed(server, "GET", "/v20180820/jobs", headers={"x-amz-account-id": ACCOUNT})
    assert re.search(rb"<ErrorResponse><Error><Code>MethodNotAllowed</Code>", answer.body), answer.body


def test_a_bucket_of_that_name_is_a_bucket(server, s3, control):
    s3.create_bucket(Bucket="v20180820")
    key = "tags/arn:aws:s3:::v20180820"
    s3.put_object(Bucket="v20180820", Key=key, Body=b"object")
    assert body_of(s3.get_object(Bucket="v20180820", Key=key)) == b"object"
    assert tags_of(control, "v20180820") == []
    s3.delete_object(Bucket="v20180820", Key=key)
    s3.delete_bucket(Bucket="v20180820")


def test_the_account_in_front_of_the_host(server, bucket):
    """As aws-cli and SDKs ask of `https://localhost:PORT`; the certificate is for it."""
    host, port = f"{ACCOUNT}.localhost", server.address[1]
    with socket.create_connection(server.address, timeout=10) as plain:
        with server.tls_context().wrap_socket(plain, server_hostname=host):
            pass
    path = f"/v20180820/tags/arn%3Aaws%3As3%3A%3A%3A{bucket}"
    headers = {"x-amz-account-id": ACCOUNT, "host": f"{host}:{port}"}
    answer = signed(server, "GET", path, headers=headers)
    assert answer.status == 200 and b"<Tags></Tags>" in answer.body, answer.body


def test_of_another_account(server, s3, control, bucket):
    other = control_of(server.other)
    for account in (ACCOUNT, OTHER):
        of = {"AccountId": account, "ResourceArn": arn(bucket)}
        for call in (
            lambda: other.list_tags_for_resource(**of),
            lambda: other.tag_resource(**of, Tags=tags(a="b")),
            lambda: other.untag_resource(**of, TagKeys=["a"]),
        ):
            with refused("AccessDenied", 403):
                call()
    for call in (other.get_public_access_block, other.delete_public_access_block):
        with refused("AccessDenied", 403):
            call(AccountId=ACCOUNT)
    with refused("AccessDenied", 403):
        control.list_tags_for_resource(AccountId=OTHER, ResourceArn=arn(bucket))
    with refused("InvalidRequest", 400):
        control.get_public_access_block(AccountId="1")


def user_of(server, policy):
    """A fresh user of the first account with this policy, and its endpoint."""
    iam = server.client("iam")
    name = f"user-{len(iam.list_users()['Users'])}"
    iam.create_user(UserName=name)
    if policy:
        document = {"Version": "2012-10-17", "Statement": policy}
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return type(server.other)(server.url, key["AccessKeyId"], key["SecretAccessKey"], server.ca)


def test_policies_let_in_and_ask_for_the_tags_that_are_given(server, control, bucket):
    nobody = control_of(user_of(server, None))
    of = {"AccountId": ACCOUNT, "ResourceArn": arn(bucket)}
    for call in (
        lambda: nobody.list_tags_for_resource(**of),
        lambda: nobody.tag_resource(**of, Tags=tags(a="b")),
        lambda: nobody.untag_resource(**of, TagKeys=["a"]),
        lambda: nobody.get_public_access_block(AccountId=ACCOUNT),
        lambda: nobody.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=ALL),
        lambda: nobody.delete_public_access_block(AccountId=ACCOUNT),
    ):
        with refused("AccessDenied", 403):
            call()
    blue = {
        "Effect": "Allow",
        "Action": ["s3:TagResource", "s3:UntagResource"],
        "Resource": arn(bucket),
        "Condition": {
            "StringEqualsIfExists": {"aws:RequestTag/team": "blue"},
            "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]},
        },
    }
    block = {"Effect": "Allow", "Action": "s3:*AccountPublicAccessBlock", "Resource": "*"}
    some = control_of(user_of(server, [blue, block]))
    some.tag_resource(**of, Tags=tags(team="blue"))
    for refused_tags in (tags(team="red"), tags(team="blue", other="x")):
        with refused("AccessDenied", 403):
            some.tag_resource(**of, Tags=refused_tags)
    with refused("AccessDenied", 403):
        some.untag_resource(**of, TagKeys=["team", "other"])
    some.untag_resource(**of, TagKeys=["team"])
    some.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=NONE)
    assert some.get_public_access_block(AccountId=ACCOUNT)["PublicAccessBlockConfiguration"] == NONE


def test_what_a_new_bucket_is_made_with_takes_permissions_of_its_own(server, s3, bucket_names):
    creating = {"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*"}
    some = user_of(server, [creating]).client("s3")
    name = next(bucket_names)
    tagged = {"CreateBucketConfiguration": {"Tags": tags(team="blue")}}
    for options in (tagged, {"ObjectLockEnabledForBucket": True}):
        with refused("AccessDenied", 403):
            some.create_bucket(Bucket=name, **options)
    some.create_bucket(Bucket=name)
    more = ["s3:TagResource", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"]
    other = user_of(server, [creating | {"Action": ["s3:CreateBucket", *more]}]).client("s3")
    other.create_bucket(Bucket=f"{name}-tagged", ObjectLockEnabledForBucket=True, **tagged)
    assert s3.get_bucket_tagging(Bucket=f"{name}-tagged")["TagSet"] == tags(team="blue")


def test_abac_leaves_tags_to_tag_resource(s3, control, bucket):
    """API reference, PutBucketAbac: PutBucketTagging and DeleteBucketTagging can be used no longer."""
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags(team="blue")})
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Enabled"})
    with refused("InvalidRequest", 400):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags(team="red")})
    with refused("InvalidRequest", 400):
        s3.delete_bucket_tagging(Bucket=bucket)
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags(team="blue")
    control.tag_resource(AccountId=ACCOUNT, ResourceArn=arn(bucket), Tags=tags(team="red"))
    assert tags_of(control, bucket) == tags(team="red")
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Disabled"})
    s3.delete_bucket_tagging(Bucket=bucket)


# --- public access ----------------------------------------------------------------------------------------------------------


def block(control, **parts):
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=NONE | parts)


def world_reads(bucket):
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn(bucket)}/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def is_open(server, bucket):
    return send(server, "GET", f"/{bucket}/k", {"host": server.host}).status == 200


def test_a_block_is_kept_given_back_and_removed(control):
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        control.get_public_access_block(AccountId=ACCOUNT)
    with refused("InvalidRequest", 400, "Must specify at least one configuration."):
        control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration={})
    some = NONE | {"IgnorePublicAcls": True}
    assert status_of(control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=some)) == 200
    found = control.get_public_access_block(AccountId=ACCOUNT)["PublicAccessBlockConfiguration"]
    assert found == some
    assert status_of(control.delete_public_access_block(AccountId=ACCOUNT)) == 204
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        control.get_public_access_block(AccountId=ACCOUNT)


def test_what_the_account_blocks_is_blocked_in_each_bucket(server, s3, control, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=NONE)
    s3.put_bucket_policy(Bucket=bucket, Policy=world_reads(bucket))
    assert is_open(server, bucket)
    block(control, RestrictPublicBuckets=True)
    assert not is_open(server, bucket)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == NONE, "the bucket's own"
    block(control)
    assert is_open(server, bucket)
    block(control, BlockPublicPolicy=True)
    assert is_open(server, bucket), "what was put before stays"
    with refused("AccessDenied", 403):
        s3.put_bucket_policy(Bucket=bucket, Policy=world_reads(bucket))
    # And the bucket's own block counts where the account has none.
    control.delete_public_access_block(AccountId=ACCOUNT)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=NONE | {"RestrictPublicBuckets": True})
    assert not is_open(server, bucket)


def test_public_lists(server, s3, control, bucket):
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=NONE)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert is_open(server, bucket)
    block(control, IgnorePublicAcls=True)
    assert not is_open(server, bucket)
    block(control, BlockPublicAcls=True)
    assert is_open(server, bucket)
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="l", Body=b"x", ACL="public-read")


def test_it_outlives_a_restart(new_server):
    server = new_server()
    control = control_of(server)
    block(control, BlockPublicAcls=True)
    server.kill()
    server.start()
    found = control_of(server).get_public_access_block(AccountId=ACCOUNT)["PublicAccessBlockConfiguration"]
    assert found == NONE | {"BlockPublicAcls": True}


def test_the_audit_tells_of_it(server, control, bucket):
    control.tag_resource(AccountId=ACCOUNT, ResourceArn=arn(bucket), Tags=tags(a="b"))
    block(control, BlockPublicAcls=True)
    events = server.client("cloudtrail").lookup_events(MaxResults=20)["Events"]
    by_name = {event["EventName"]: json.loads(event["CloudTrailEvent"]) for event in reversed(events)}
    tagged = by_name["TagResource"]
    assert tagged["eventSource"] == "s3.amazonaws.com" and not tagged["readOnly"]
    assert tagged["requestParameters"]["bucketName"] == bucket
    assert {resource["ARN"] for resource in tagged["resources"]} == {arn(bucket)}
    assert by_name["PutAccountPublicAccessBlock"]["requestParameters"]["x-amz-account-id"] == ACCOUNT
