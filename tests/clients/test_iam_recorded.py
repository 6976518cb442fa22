"""What AWS's IAM and STS answered when LocalStack's tests were recorded on it (tests/aws/services/iam and sts, of 2025 and 2026): its
words, and the members of its answers. Each test names those it follows."""

import contextlib

import pytest
from botocore.config import Config

from support.calls import refused
from support.identities import Identities, allow, document, trust

# Requests as they are, whatever the client's model asks for.
UNCHECKED = Config(parameter_validation=False)
BROKEN = "failed to satisfy constraint: Member must"
TRUSTED = trust({"Service": "s3.amazonaws.com"})


@pytest.fixture(scope="module")
def server(two_account_server):
    return two_account_server()


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam", config=UNCHECKED)


@pytest.fixture
def provider(iam):
    arn = iam.create_open_id_connect_provider(Url="https://recorded.example.com")["OpenIDConnectProviderArn"]
    yield arn
    with contextlib.suppress(iam.exceptions.NoSuchEntityException):
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def tag(key, value="x"):
    return {"Key": key, "Value": value}


def test_a_role_keeps_what_an_update_does_not_name(iam, identities):
    """test_update_role."""
    role = identities.role(TRUSTED, Description="initial", MaxSessionDuration=7200)["RoleName"]

    def told():
        role_now = iam.get_role(RoleName=role)["Role"]
        return role_now.get("Description"), role_now["MaxSessionDuration"]

    assert told() == ("initial", 7200)
    iam.update_role(RoleName=role)
    assert told() == ("initial", 7200)
    iam.update_role(RoleName=role, Description="what it is for")
    assert told() == ("what it is for", 7200)
    iam.update_role(RoleName=role, MaxSessionDuration=3600)
    assert told() == ("what it is for", 3600)
    iam.update_role(RoleName=role, Description="")
    assert told() == (None, 3600)


def test_what_a_role_is_for_is_told_where_it_is_read(iam, identities):
    """test_create_role_defaults, test_role_permissions_boundary_lifecycle, test_update_role."""
    made = identities.role(TRUSTED, Description="initial", MaxSessionDuration=7200)
    base = {"Arn", "AssumeRolePolicyDocument", "CreateDate", "Path", "RoleId", "RoleName"}
    assert made.keys() == base
    read = base | {"Description", "MaxSessionDuration"}
    assert iam.get_role(RoleName=made["RoleName"])["Role"].keys() == read | {"RoleLastUsed"}
    pages = iam.get_paginator("list_roles").paginate()
    [listed] = [role for page in pages for role in page["Roles"] if role["Arn"] == made["Arn"]]
    assert listed.keys() == read
    described = iam.update_role_description(RoleName=made["RoleName"], Description="other")["Role"]
    assert described.keys() == base | {"Description"} and described["Description"] == "other"


def test_boundaries(iam, account, identities):
    """test_role_permissions_boundary_lifecycle, test_role_permissions_boundary_errors."""
    role, user = identities.role(TRUSTED)["RoleName"], identities.user(keys=False).name
    policy = identities.policy(document(allow("s3:*", "*")))
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=policy)
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=policy)
    shown = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": policy}
    details = iam.get_account_authorization_details(Filter=["Role", "User"], MaxItems=1000)
    assert iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"] == shown
    assert iam.get_user(UserName=user)["User"]["PermissionsBoundary"] == shown
    for kind, name in (("Role", role), ("User", user)):
        [detail] = [detail for detail in details[f"{kind}DetailList"] if detail[f"{kind}Name"] == name]
        assert detail["PermissionsBoundary"] == shown
    absent, no_policy = f"arn:aws:iam::{account}:policy/none", f"arn:aws:iam::{account}:not_a_policy/invalid"
    made = {"RoleName": identities.name(), "AssumeRolePolicyDocument": TRUSTED}
    for bound in (
        lambda arn: iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn),
        lambda arn: iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=arn),
        lambda arn: iam.create_role(**made, PermissionsBoundary=arn),
        lambda arn: iam.create_user(UserName=identities.name(), PermissionsBoundary=arn),
    ):
        with refused("NoSuchEntity", 404, f"Scope ARN: {absent} does not exist or is not attachable."):
            bound(absent)
        with refused("InvalidInput", 400, f"ARN {no_policy} is not valid."):
            bound(no_policy)
    iam.delete_role_permissions_boundary(RoleName=role)
    iam.delete_user_permissions_boundary(UserName=user)


def test_tags_of_policies_and_providers_have_a_case(iam, identities, provider):
    """TestPolicyTags; of providers: IAM user guide, "Tags for AWS Identity and Access Management resources"."""
    policy = identities.policy(document(allow("s3:*", "*")))
    for named, kind in (({"PolicyArn": policy}, "policy"), ({"OpenIDConnectProviderArn": provider}, "open_id_connect_provider")):
        of_kind = lambda deed, more=(): getattr(iam, f"{deed}_{kind}")(**named, **dict(more))
        listed = lambda: getattr(iam, f"list_{kind}_tags")(**named)["Tags"]
        of_kind("tag", {"Tags": [tag("a", "lower"), tag("A", "upper")]})
        assert listed() == [tag("A", "upper"), tag("a", "lower")]
        of_kind("tag", {"Tags": [tag("A", "other")]})
        assert listed() == [tag("A", "other"), tag("a", "lower")]
        of_kind("untag", {"TagKeys": ["a"]})
        assert listed() == [tag("A", "other")]
        with refused("InvalidInput", 400, "Duplicate tag keys found."):
            of_kind("tag", {"Tags": [tag("0"), tag("0")]})
    role = identities.role(TRUSTED)["RoleName"]
    text = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    for other in ("a", "A"):
        with refused("InvalidInput", 400, text):
            iam.tag_role(RoleName=role, Tags=[tag("a"), tag(other)])


def test_conditions_see_both_of_two_tags_that_differ_in_case(iam, identities, user_with):
    """A condition on one of them is not got round by the other."""
    policy = identities.policy(document(allow("s3:*", "*")))
    asked = {"StringEquals": {"aws:RequestTag/team": "red"}}
    barred = user_with(allow("iam:*", "*"), allow("iam:TagPolicy", "*", Condition=asked) | {"Effect": "Deny"})("iam")
    for keys in (("team", "Team"), ("Team", "team")):
        with refused("AccessDenied", 403):
            barred.tag_policy(PolicyArn=policy, Tags=[tag(keys[0], "blue"), tag(keys[1], "red")])
    barred.tag_policy(PolicyArn=policy, Tags=[tag("team", "blue"), tag("Team", "green")])
    held = {"StringEquals": {"aws:ResourceTag/team": "green"}}
    with refused("AccessDenied", 403):
        user_with(allow("iam:*", "*"), allow("iam:GetPolicy", "*", Condition=held) | {"Effect": "Deny"})("iam").get_policy(
            PolicyArn=policy
        )


def test_tags_of_a_policy_are_listed_by_their_lengths(iam, identities):
    """test_policy_tag_order."""
    policy = identities.policy(document(allow("s3:*", "*")))
    iam.tag_policy(PolicyArn=policy, Tags=[tag(key) for key in ("abc", "b", "z", "a")])
    pages = iam.get_paginator("list_policy_tags").paginate(PolicyArn=policy, PaginationConfig={"PageSize": 2})
    assert [[entry["Key"] for entry in page["Tags"]] for page in pages] == [["a", "b"], ["z", "abc"]]
    assert [entry["Key"] for entry in iam.get_policy(PolicyArn=policy)["Policy"]["Tags"]] == ["abc", "b", "z", "a"]


def test_keys_of_tags_to_remove_are_keys_of_tags(iam, identities, provider):
    """test_role_tag_errors, test_policy_tag_update_errors."""
    role, user = identities.role(TRUSTED)["RoleName"], identities.user(keys=False).name
    policy = identities.policy(document(allow("s3:*", "*")))
    text = (
        rf"1 validation error detected: Value at 'tagKeys' {BROKEN} satisfy constraint: [Member must have length less than or "
        r"equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: "
        r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+, Member must not be null]"
    )
    for untag in (
        lambda keys: iam.untag_role(RoleName=role, TagKeys=keys),
        lambda keys: iam.untag_user(UserName=user, TagKeys=keys),
        lambda keys: iam.untag_policy(PolicyArn=policy, TagKeys=keys),
        lambda keys: iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=provider, TagKeys=keys),
    ):
        for bad in ("k" * 129, "", "a*"):
            with refused("ValidationError", 400, text):
                untag(["a", bad])
        with refused("ValidationError", 400, f"1 validation error detected: Value at 'tagKeys' {BROKEN} have length less than or equal to 50"):
            untag([str(at) for at in range(51)])


def test_values_are_not_repeated(iam, identities):
    """test_role_tag_errors, test_virtual_mfa_device_errors, test_invalid_update_parameters, test_list_virtual_mfa_devices."""
    one, user = "1 validation error detected: Value at", identities.user().name
    key = iam.list_access_keys(UserName=user)["AccessKeyMetadata"][0]["AccessKeyId"]
    role = {"RoleName": identities.name(), "AssumeRolePolicyDocument": TRUSTED}
    pattern = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+"
    for tags, told in (
        ([tag(str(at)) for at in range(51)], f"{one} 'tags' {BROKEN} have length less than or equal to 50"),
        ([tag("k" * 129)], f"{one} 'tags.1.member.key' {BROKEN} have length less than or equal to 128"),
        ([tag("a", "v" * 257)], f"{one} 'tags.1.member.value' {BROKEN} have length less than or equal to 256"),
        ([tag("a*")], f"{one} 'tags.1.member.key' {BROKEN} {pattern}"),
    ):
        with refused("ValidationError", 400, told):
            iam.create_role(**role, Tags=tags)
    with refused("ValidationError", 400, f"{one} 'path' {BROKEN} have length less than or equal to 512"):
        iam.create_role(**role, Path=f"/{'p' * 511}/")
    with refused("ValidationError", 400, f"{one} 'status' {BROKEN} satisfy enum value set"):
        iam.update_access_key(UserName=user, AccessKeyId=key, Status="Invalid")
    with refused("ValidationError", 400, "Invalid Marker."):
        iam.list_virtual_mfa_devices(Marker="invalid-marker-value")


def test_policies_that_are_not_there(iam, account, identities):
    """test_policy_version_errors, test_list_entities_for_policy_errors, test_policy_tag_update_errors."""
    absent, policy = f"arn:aws:iam::{account}:policy/TestNonExistingPolicy", identities.policy(document(allow("s3:*", "*")))
    for arn, version in ((absent, "v1"), (policy, "v9"), (policy, "v1.a-b"), (policy, "v99999999999")):
        text = f"Policy {arn} version {version} does not exist or is not attachable."
        with refused("NoSuchEntity", 404, text):
            iam.get_policy_version(PolicyArn=arn, VersionId=version)
        with refused("NoSuchEntity", 404, text):
            iam.set_default_policy_version(PolicyArn=arn, VersionId=version)
    with refused("NoSuchEntity", 404, f"Policy {policy} version v9 does not exist or is not attachable."):
        iam.delete_policy_version(PolicyArn=policy, VersionId="v9")
    pattern = r"satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?"
    with refused("ValidationError", 400, f"1 validation error detected: Value at 'versionId' {BROKEN} {pattern}"):
        iam.set_default_policy_version(PolicyArn=policy, VersionId="invalid")
    with refused("NoSuchEntity", 404, f"Policy {absent} does not exist or is not attachable."):
        iam.list_entities_for_policy(PolicyArn=absent)
    for call in (
        lambda: iam.tag_policy(PolicyArn=absent, Tags=[tag("a")]),
        lambda: iam.untag_policy(PolicyArn=absent, TagKeys=["a"]),
        lambda: iam.get_policy(PolicyArn=absent),
    ):
        with refused("NoSuchEntity", 404, f"Policy {absent} was not found."):
            call()


def test_policies_of_aws_are_not_the_accounts_to_change(iam):
    """test_aws_managed_policy_errors."""
    of_aws = {"PolicyArn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}
    with refused("AccessDenied", 403, "Cannot delete policies outside your own account."):
        iam.delete_policy(**of_aws)
    with refused("AccessDenied", 403, "Cannot delete policy versions for policies outside your own account."):
        iam.delete_policy_version(**of_aws, VersionId="v2")
    with refused("AccessDenied", 403, "Cannot update policies outside your own account."):
        iam.set_default_policy_version(**of_aws, VersionId="v2")


def test_keys_that_are_not_the_accounts(server, iam, account):
    """test_access_key_errors."""
    stranger = Identities(server.other)
    for key in ("AKIAIOSFODNN7EXAMPLE", stranger.user().key):
        text = (
            f"User: arn:aws:iam::{account}:root is not authorized to perform iam:GetAccessKeyLastUsed on resource: "
            f"access key {key}"
        )
        with refused("AccessDenied", 403, text):
            iam.get_access_key_last_used(AccessKeyId=key)
    stranger.clean()


def test_of_a_user_and_a_group_that_are_not_there_the_user_is_told(iam, identities):
    """test_remove_user_from_unknown_group, test_user_group_errors."""
    with refused("NoSuchEntity", 404, "The user with name any-user cannot be found."):
        iam.remove_user_from_group(GroupName="nonexistent-group", UserName="any-user")
    with refused("NoSuchEntity", 404, "The group with name nonexistent-group cannot be found."):
        iam.remove_user_from_group(GroupName="nonexistent-group", UserName=identities.user(keys=False).name)


def test_identity_providers(iam, provider):
    """test_create_open_id_connect_provider_validation_errors, test_open_id_connect_provider_tags_limit,
    test_delete_open_id_connect_provider."""

    def lengths(most, least):
        return (
            f"satisfy constraint: [Member must have length less than or equal to {most}, Member must have length greater than "
            f"or equal to {least}]"
        )

    text = (
        f"3 validation errors detected: Value at 'clientIDList' {BROKEN} {lengths(255, 1)}; Value at 'thumbprintList' {BROKEN} "
        f"{lengths(40, 40)}; Value at 'url' {BROKEN} have length less than or equal to 255"
    )
    with refused("ValidationError", 400, text):
        iam.create_open_id_connect_provider(Url="a" * 256, ThumbprintList=["a" * 41], ClientIDList=["a" * 256])
    named = {"OpenIDConnectProviderArn": provider}
    iam.tag_open_id_connect_provider(**named, Tags=[tag(str(at)) for at in range(50)])
    with refused("LimitExceeded", 409, "The number of tags has reached the maximum limit."):
        iam.tag_open_id_connect_provider(**named, Tags=[tag("more")])
    iam.delete_open_id_connect_provider(**named)
    with refused("NoSuchEntity", 404, f"OpenIDConnect Provider not found for arn {provider}"):
        iam.get_open_id_connect_provider(**named)
    with refused("NoSuchEntity", 404, f"OpenId connect Provider {provider} cannot be found."):
        iam.delete_open_id_connect_provider(**named)


def test_a_simulation_tells_of_each_resource(iam, identities):
    """test_simulate_principle_policy; of all resources, and of keys that are missing: API reference, EvaluationResult."""
    user = identities.user(keys=False)
    statement = allow("s3:PutObject", "*", Condition={"StringLike": {"s3:prefix": "*"}})
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(allow("s3:PutObject", "*"), statement))
    iam.attach_user_policy(UserName=user.name, PolicyArn=identities.policy(document(allow("s3:PutObject", "*"))))
    asked = {"PolicySourceArn": user.arn, "ActionNames": ["s3:PutObject", "s3:GetObjectVersion"]}
    bucket = "arn:aws:s3:::bucket"
    for result in iam.simulate_principal_policy(**asked, ResourceArns=[bucket])["EvaluationResults"]:
        is_allowed = result["EvalActionName"] == "s3:PutObject"
        assert (result["EvalDecision"], result["EvalDecisionDetails"]) == ("allowed" if is_allowed else "implicitDeny", {})
        assert {matched["SourcePolicyType"] for matched in result["MatchedStatements"]} == ({"IAM Policy"} if is_allowed else set())
        assert result["MissingContextValues"] == []
        assert result["ResourceSpecificResults"] == [
            {
                "EvalResourceName": bucket,
                "EvalResourceDecision": result["EvalDecision"],
                "MatchedStatements": result["MatchedStatements"],
                "MissingContextValues": ["s3:prefix"],
            }
        ]
    for result in iam.simulate_principal_policy(**asked)["EvaluationResults"]:
        assert "EvalDecisionDetails" not in result and "ResourceSpecificResults" not in result
        assert result["MissingContextValues"] == ["s3:prefix"]


def test_sts_repeats_values_and_tells_all_at_once(server, account):
    """test_federation_token_policy_too_long, test_assume_role_session_name_too_long, test_get_federation_token."""
    sts = server.client("sts", config=UNCHECKED)
    policy = document(*[allow("s3:GetObject", f"arn:aws:s3:::bucket/folder-{at}/*") for at in range(30)])
    text = f"1 validation error detected: Value '{policy}' at 'policy' {BROKEN} have length less than or equal to 2048"
    with refused("ValidationError", 400, text):
        sts.get_federation_token(Name="TestUser", DurationSeconds=900, Policy=policy)
    name = "s" * 65
    text = (
        f"2 validation errors detected: Value '{name}' at 'roleSessionName' {BROKEN} have length less than or equal to 64; "
        f"Value '899' at 'durationSeconds' {BROKEN} have value greater than or equal to 900"
    )
    with refused("ValidationError", 400, text):
        sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/none", RoleSessionName=name, DurationSeconds=899)
    assert sts.get_federation_token(Name="TestUser")["PackedPolicySize"] == 0
