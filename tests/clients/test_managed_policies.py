"""The policies that AWS manages."""

import pytest

from support.calls import refused


@pytest.fixture
def iam(server):
    return server.client("iam")


@pytest.mark.parametrize(
    "arn, version",
    [
        ("AWSCloudTrail_FullAccess", "v3"),
        ("AWSDenyAll", "v2"),
        ("ReadOnlyAccess", "v190"),
        ("SecurityAudit", "v94"),
        ("job-function/ViewOnlyAccess", "v46"),
    ],
)
def test_policies_are_those_of_aws(iam, arn, version):
    """In full, however long, and by the versions that AWS counts. (AWS managed policy reference guide.)"""
    arn = f"arn:aws:iam::aws:policy/{arn}"
    shown = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (shown["DefaultVersionId"], shown["IsAttachable"]) == (version, True)
    assert shown["CreateDate"] < shown["UpdateDate"]
    (listed,) = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert (listed["VersionId"], listed["IsDefaultVersion"]) == (version, True)
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    assert document["Version"] == "2012-10-17"
    with refused("NoSuchEntity", 404):
        iam.get_policy_version(PolicyArn=arn, VersionId="v1")


def test_who_may_read_all_reads_all(server, iam, identities):
    """By a policy of thousands of actions."""
    user = identities.user()
    iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    own = identities.client("iam", user)
    assert user.name in [of["UserName"] for of in own.list_users()["Users"]]
    identities.client("s3", user).list_buckets()
    identities.client("kms", user).list_keys()
    identities.client("cloudtrail", user).lookup_events(MaxResults=1)
    with refused("AccessDenied", 403):
        own.create_user(UserName="x")
