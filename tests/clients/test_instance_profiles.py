"""Instance profiles, which tools that set accounts up make with roles."""

import pytest

from support.calls import refused
from support.identities import allow, trust

TRUST = trust({"Service": "ec2.amazonaws.com"})


@pytest.fixture
def iam(server):
    return server.client("iam")


@pytest.fixture
def profile(iam, identities):
    """The name of one with a path and a tag."""
    name = identities.name("profile")
    iam.create_instance_profile(InstanceProfileName=name, Path="/web/", Tags=[{"Key": "team", "Value": "blue"}])
    yield name
    for role in iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=name)


def test_a_profile_hands_one_role_on(iam, account, identities, profile):
    role, other = identities.role(TRUST)["RoleName"], identities.role(TRUST)["RoleName"]
    named = {"InstanceProfileName": profile}
    shown = iam.get_instance_profile(**named)["InstanceProfile"]
    assert shown["InstanceProfileId"].startswith("AIPA") and len(shown["InstanceProfileId"]) == 21
    assert shown["Arn"] == f"arn:aws:iam::{account}:instance-profile/web/{profile}"
    assert (shown["Path"], shown["Roles"], shown["Tags"]) == ("/web/", [], [{"Key": "team", "Value": "blue"}])
    with refused("EntityAlreadyExists", 409, f"Instance Profile {profile.upper()} already exists."):
        iam.create_instance_profile(InstanceProfileName=profile.upper())
    with refused("NoSuchEntity", 404, "The role with name nobody cannot be found."):
        iam.add_role_to_instance_profile(**named, RoleName="nobody")
    iam.add_role_to_instance_profile(**named, RoleName=role)
    # Recorded on AWS: getmoto/moto#6404; of the role that is in it already, coreos/mantle#1058.
    for another in (other, role):
        with refused("LimitExceeded", 409, "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"):
            iam.add_role_to_instance_profile(**named, RoleName=another)
    roles = iam.get_instance_profile(**named)["InstanceProfile"]["Roles"]
    assert [(of["RoleName"], of["AssumeRolePolicyDocument"]["Version"]) for of in roles] == [(role, "2012-10-17")]
    of_role = iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]
    assert [(of["InstanceProfileName"], of["Roles"][0]["RoleName"], "Tags" in of) for of in of_role] == [
        (profile, role, False)
    ]
    assert iam.list_instance_profiles_for_role(RoleName=other)["InstanceProfiles"] == []
    details = iam.get_paginator("get_account_authorization_details").paginate(Filter=["Role"])
    told = next(of for page in details for of in page["RoleDetailList"] if of["RoleName"] == role)
    assert [of["InstanceProfileName"] for of in told["InstanceProfileList"]] == [profile]
    # Recorded on AWS: 99designs/iamy#47 and #68.
    first = "Cannot delete entity, must remove roles from instance profile first."
    for delete in (lambda: iam.delete_role(RoleName=role), lambda: iam.delete_instance_profile(**named)):
        with refused("DeleteConflict", 409, first):
            delete()
    with refused("NoSuchEntity", 404, f"The role with name {other} cannot be found."):
        iam.remove_role_from_instance_profile(**named, RoleName=other)
    iam.remove_role_from_instance_profile(**named, RoleName=role)
    iam.delete_role(RoleName=role)
    identities.roles.remove(role)


def test_profiles_that_are_not_there(iam, identities):
    named = {"InstanceProfileName": "nothing"}
    role = identities.role(TRUST)["RoleName"]
    for call in (
        lambda: iam.get_instance_profile(**named),
        lambda: iam.delete_instance_profile(**named),
        lambda: iam.add_role_to_instance_profile(**named, RoleName=role),
        lambda: iam.remove_role_from_instance_profile(**named, RoleName=role),
        lambda: iam.tag_instance_profile(**named, Tags=[{"Key": "a", "Value": "b"}]),
        lambda: iam.untag_instance_profile(**named, TagKeys=["a"]),
        lambda: iam.list_instance_profile_tags(**named),
    ):
        with refused("NoSuchEntity", 404, "Instance Profile nothing cannot be found."):
            call()


def test_profiles_are_listed_in_pages_by_path(iam, identities):
    names = sorted(identities.name("listed") for _ in range(5))
    for name in names:
        iam.create_instance_profile(InstanceProfileName=name, Path="/listed/")
    pages = iam.get_paginator("list_instance_profiles").paginate(
        PathPrefix="/listed/", PaginationConfig={"PageSize": 2}
    )
    pages = [[profile["InstanceProfileName"] for profile in page["InstanceProfiles"]] for page in pages]
    assert pages == [names[:2], names[2:4], names[4:]]
    summary = iam.get_account_summary()["SummaryMap"]
    assert summary["InstanceProfiles"] >= 5 and summary["InstanceProfilesQuota"] == 1000
    for name in names:
        iam.delete_instance_profile(InstanceProfileName=name)


def test_profiles_have_tags(iam, profile):
    named = {"InstanceProfileName": profile}
    iam.tag_instance_profile(**named, Tags=[{"Key": "Team", "Value": "red"}, {"Key": "team", "Value": "green"}])
    tags = iam.list_instance_profile_tags(**named)["Tags"]
    assert tags == [{"Key": "Team", "Value": "red"}, {"Key": "team", "Value": "green"}]
    iam.untag_instance_profile(**named, TagKeys=["Team"])
    assert iam.list_instance_profile_tags(**named)["Tags"] == [{"Key": "team", "Value": "green"}]


def test_who_puts_a_role_into_a_profile_must_be_let_pass_it(iam, account, identities, user_with, profile):
    """And is judged by the profile's ARN and tags. (API reference, AddRoleToInstanceProfile.)"""
    role = identities.role(TRUST)
    resource = f"arn:aws:iam::{account}:instance-profile/web/{profile}"
    tagged = {"StringEquals": {"aws:ResourceTag/team": "blue"}}
    to_instances = {
        "StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"},
        "ArnEquals": {"iam:AssociatedResourceArn": f"arn:aws:ec2:*:{account}:instance/*"},
    }
    add = allow("iam:AddRoleToInstanceProfile", resource, Condition=tagged)
    parameters = {"InstanceProfileName": profile, "RoleName": role["RoleName"]}
    with refused("AccessDenied", 403) as refusal:
        user_with(add)("iam").add_role_to_instance_profile(**parameters)
    assert f"iam:PassRole on resource: {role['Arn']}" in refusal.message
    passing = allow("iam:PassRole", role["Arn"], Condition=to_instances)
    with refused("AccessDenied", 403) as refusal:
        user_with(passing)("iam").add_role_to_instance_profile(**parameters)
    assert f"iam:AddRoleToInstanceProfile on resource: {resource}" in refusal.message
    user_with(add, passing)("iam").add_role_to_instance_profile(**parameters)
    with refused("AccessDenied", 403) as refusal:
        user_with(add)("iam").list_instance_profiles()
    assert f"iam:ListInstanceProfiles on resource: arn:aws:iam::{account}:instance-profile/" in refusal.message
    creating = allow("iam:CreateInstanceProfile", "*")
    with refused("AccessDenied", 403):
        user_with(creating)("iam").create_instance_profile(InstanceProfileName="t", Tags=[{"Key": "a", "Value": "b"}])


def test_profiles_outlast_the_server(fresh_server):
    server, iam = fresh_server, fresh_server.client("iam")
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=TRUST)
    iam.create_instance_profile(InstanceProfileName="Web")
    iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
    before = iam.get_instance_profile(InstanceProfileName="WEB")["InstanceProfile"]
    server.stop()
    server.start()
    assert server.client("iam").get_instance_profile(InstanceProfileName="Web")["InstanceProfile"] == before
