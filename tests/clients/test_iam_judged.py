"""What IAM and STS judge a request by: members that the operation has, and no others; the tags that it gives; what it may cost."""

import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config

from support.calls import refused
from support.identities import allow, document, trust

# Requests as they are, whatever the client's model asks for.
UNCHECKED = Config(parameter_validation=False)


@pytest.fixture(scope="module")
def server(two_account_server):
    return two_account_server()


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam", config=UNCHECKED)


def with_more(client, **members):
    """`client`, which adds these members to all of its requests."""
    client.meta.events.register("before-call", lambda params, **_: params["body"].update(members))
    return client


def test_members_of_other_operations_change_nothing(server, iam, account, identities, user_with):
    base, name = f"arn:aws:iam::{account}", identities.name("approved")
    group, role = identities.group(), identities.role(trust({"AWS": account}))["RoleName"]
    user = user_with(
        allow("iam:CreatePolicy", f"{base}:policy/dev/*"),
        allow("iam:CreateOpenIDConnectProvider", f"{base}:oidc-provider/dev.example.com"),
        allow("iam:ListGroups", f"{base}:group/{group}"),
        allow("iam:ListRoles", f"{base}:role/{role}"),
    )
    text = document(allow("s3:*", "*"))
    for more, call, told in (
        (
            {"PolicyArn": f"{base}:policy/dev/x"},
            lambda iam: iam.create_policy(PolicyName=name, Path="/approved/", PolicyDocument=text),
            f"{base}:policy/approved/{name}",
        ),
        (
            {"OpenIDConnectProviderArn": f"{base}:oidc-provider/dev.example.com"},
            lambda iam: iam.create_open_id_connect_provider(Url="https://evil.example.com", ClientIDList=["a"]),
            f"{base}:oidc-provider/evil.example.com",
        ),
        ({"GroupName": group}, lambda iam: iam.list_groups(), f"{base}:group/"),
        ({"RoleName": role}, lambda iam: iam.list_roles(), f"{base}:role/"),
    ):
        with refused("AccessDenied", 403) as refusal:
            call(with_more(user("iam"), **more))
        assert f"on resource: {told} because" in refusal.message
    # Nor do they where the permission is there.
    made = with_more(user("iam"), PolicyArn=f"{base}:policy/approved/{name}").create_policy(
        PolicyName=name, Path="/dev/", PolicyDocument=text
    )["Policy"]["Arn"]
    identities.policies.append(made)
    assert made == f"{base}:policy/dev/{name}"


def test_names_without_end_are_refused(server):
    """By a client without credentials."""
    form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&PolicyArns" + ".a" * 400_000
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = requests.post(server.url, data=f"{form}=x", headers=headers, verify=server.ca, timeout=60)
    assert answer.status_code == 400 and "<Code>MalformedQueryString</Code>" in answer.text
    server.client("sts").get_caller_identity()


def test_what_is_too_long_is_not_judged(account, user_with):
    policies = f"arn:aws:iam::{account}:policy/"
    user = user_with(allow("iam:*", policies + "*" + "a" * 1000 + "b"))("iam")
    with refused("ValidationError", 400) as refusal:
        user.get_policy(PolicyArn=policies + "a" * 900_000)
    told = "at 'policyArn' failed to satisfy constraint: Member must have length less than or equal to 2048"
    assert refusal.message.endswith(told)
    with refused("AccessDenied", 403):
        user.get_policy(PolicyArn=policies + "a" * 2000)


def test_tag_keys_have_the_case_of_ascii_alone(iam, identities, user_with):
    wanted = {"StringEquals": {"aws:RequestTag/\u00c4": "x"}}
    held = {"StringEquals": {"aws:ResourceTag/\u00c4": "x", "iam:ResourceTag/\u00c4": "x"}}
    user = user_with(allow("iam:TagUser", "*", Condition=wanted), allow("iam:ListUserTags", "*", Condition=held))("iam")
    name = identities.user(keys=False).name
    with refused("AccessDenied", 403):
        user.tag_user(UserName=name, Tags=[{"Key": "\u00c4", "Value": "y"}])
    with refused("AccessDenied", 403):
        user.list_user_tags(UserName=name)
    user.tag_user(UserName=name, Tags=[{"Key": "\u00c4", "Value": "x"}])
    assert user.list_user_tags(UserName=name)["Tags"] == [{"Key": "\u00c4", "Value": "x"}]


def test_tags_have_the_characters_of_tags(iam, identities):
    name = identities.user(keys=False).name
    for key, value in (("a*", "x"), ("a", "b*"), ("a", "b\n"), ("a\t", "x")):
        with refused("ValidationError", 400):
            iam.tag_user(UserName=name, Tags=[{"Key": key, "Value": value}])
    iam.tag_user(UserName=name, Tags=[{"Key": "\u00fc b_.:/=+-@1", "Value": "\u00fc b_.:/=+-@1"}])


def test_a_simulation_costs_what_its_page_costs(server, iam):
    actions = [f"s3:Get{at:03}" for at in range(300)]
    resources = [f"arn:aws:s3:::vault/{at:03}" for at in range(300)]
    asked = {"PolicyInputList": [document(allow("s3:*", "*"))], "ActionNames": actions, "ResourceArns": resources}
    before = server.status("VmHWM")
    first = iam.simulate_custom_policy(MaxItems=1000, **asked)
    assert len(first["EvaluationResults"]) == 1000 and first["IsTruncated"]
    second = iam.simulate_custom_policy(MaxItems=10, Marker=first["Marker"], **asked)
    pairs = [(one["EvalActionName"], one["EvalResourceName"]) for one in second["EvaluationResults"]]
    assert pairs == [(actions[3], resource) for resource in resources[100:110]]
    assert server.status("VmHWM") - before < 60 * 2**20


def test_a_page_of_costly_simulations_is_short(iam):
    policy = document(*[allow("s3:Get*", f"arn:aws:s3:::vault/{at}") for at in range(1000)])
    actions = [f"s3:Get{at:03}" for at in range(100)]
    asked = {"PolicyInputList": [policy], "ActionNames": actions, "ResourceArns": ["arn:aws:s3:::vault/7"]}
    pages = list(iam.get_paginator("simulate_custom_policy").paginate(**asked, PaginationConfig={"PageSize": 1000}))
    results = [result for page in pages for result in page["EvaluationResults"]]
    assert len(pages) > 1 and [result["EvalActionName"] for result in results] == actions
    assert {result["EvalDecision"] for result in results} == {"allowed"}
    for wrong in ({"ActionNames": ["s3:" + "x" * 126]}, {"ResourceArns": ["arn:aws:s3:::vault/" + "x" * 2048]}):
        with refused("ValidationError", 400):
            iam.simulate_custom_policy(**(asked | wrong))


def test_a_page_of_details_costs_what_is_on_it(server, iam, identities):
    """Documents count without their white space, and are told with it."""
    text = "{" + " " * 120_000 + document(allow("s3:*", "*"))[1:]
    for _ in range(25):
        arn = identities.policy(text)
        for _ in range(4):
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=text)
    before = server.status("VmHWM")
    page = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"], MaxItems=1)
    assert len(page["Policies"]) == 1 and len(page["Policies"][0]["PolicyVersionList"]) == 5 and page["IsTruncated"]
    following = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"], MaxItems=1, Marker=page["Marker"])
    assert following["Policies"][0]["Arn"] > page["Policies"][0]["Arn"]
    assert server.status("VmHWM") - before < 20 * 2**20


def test_trust_is_about_assuming_roles(iam, account, identities):
    text = "AssumeRole policy may only specify STS AssumeRole actions."
    for action in ("sts:GetFederationToken", "sts:TagSessions", "sts:Get*"):
        with refused("MalformedPolicyDocument", 400, text):
            identities.role(trust({"AWS": account}, "sts:AssumeRole", action))
    role = identities.role(trust({"AWS": account}, "sts:AssumeRole*", "sts:TagSession", "sts:SetSourceIdentity"))
    with refused("MalformedPolicyDocument", 400, text):
        iam.update_assume_role_policy(
            RoleName=role["RoleName"], PolicyDocument=trust({"AWS": account}, "sts:GetCallerIdentity")
        )


def test_an_alias_is_one_accounts(server, iam, identities):
    alias, other = identities.name("alias"), server.other.client("iam")
    iam.create_account_alias(AccountAlias=alias)
    for client in (iam, other):
        with refused("EntityAlreadyExists", 409, f"The account alias {alias} already exists."):
            client.create_account_alias(AccountAlias=alias)
    assert other.list_account_aliases()["AccountAliases"] == []
    iam.delete_account_alias(AccountAlias=alias)
    other.create_account_alias(AccountAlias=alias)
    other.delete_account_alias(AccountAlias=alias)


def test_members_have_their_limits(server, iam, account):
    name, arn = "x" * 65, "arn:aws:iam::aws:policy/AdministratorAccess"
    text = (
        "1 validation error detected: Value at 'userName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )
    for call in (
        lambda: iam.attach_user_policy(UserName=name, PolicyArn=arn),
        lambda: iam.detach_user_policy(UserName=name, PolicyArn=arn),
        lambda: iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=arn),
        lambda: iam.delete_user_permissions_boundary(UserName=name),
        lambda: iam.list_attached_user_policies(UserName=name),
        lambda: iam.get_login_profile(UserName=name),
        lambda: iam.delete_login_profile(UserName=name),
        lambda: iam.list_ssh_public_keys(UserName=name),
        lambda: iam.list_service_specific_credentials(UserName=name),
    ):
        with refused("ValidationError", 400, text):
            call()
    with refused("NoSuchEntity", 404):
        iam.get_user(UserName=name)
    with refused("ValidationError", 400):
        iam.list_virtual_mfa_devices(AssignmentStatus="zzz")
    with refused("MalformedInput", 400):
        with_more(server.client("iam"), AllUsers="maybe").list_service_specific_credentials()
    for status in ("Assigned", "Unassigned", "Any"):
        assert iam.list_virtual_mfa_devices(AssignmentStatus=status)["VirtualMFADevices"] == []
    # Before anything is looked at that the token says.
    sts = server.client("sts", config=Config(signature_version=UNSIGNED, parameter_validation=False))
    with refused("ValidationError", 400):
        sts.assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{account}:role/nobody",
            RoleSessionName="session",
            WebIdentityToken="none",
            DurationSeconds=899,
        )
