"""Rules of IAM and STS that are easily got round or forgotten: new names, letter case, other accounts, members that nothing serves."""

import pytest
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


def deny(action, resource):
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def test_a_new_name_is_asked_for_too(iam, account, identities, user_with):
    base = f"arn:aws:iam::{account}"
    name, group = identities.user(keys=False, Path="/team/").name, identities.name("group")
    iam.create_group(GroupName=group, Path="/team/")
    identities.groups.append(group)
    team = user_with(allow(["iam:UpdateUser", "iam:UpdateGroup"], [f"{base}:user/team/*", f"{base}:group/team/*"]))("iam")
    taken = [f"{base}:{kind}/{name}" for kind in ("user", "group") for name in ("admin/*", "team/boss")]
    barred = user_with(allow("iam:*", "*"), deny("iam:*", taken))("iam")
    with refused("AccessDenied", 403) as refusal:
        team.update_user(UserName=name, NewUserName="boss", NewPath="/admin/")
    assert f"{base}:user/admin/boss" in refusal.message
    for client, change in ((team, {"NewPath": "/"}), (barred, {"NewPath": "/admin/"}), (barred, {"NewUserName": "boss"})):
        with refused("AccessDenied", 403):
            client.update_user(UserName=name, **change)
    for client, change in ((team, {"NewPath": "/"}), (barred, {"NewGroupName": "boss"})):
        with refused("AccessDenied", 403):
            client.update_group(GroupName=group, **change)
    team.update_user(UserName=name, NewPath="/team/red/")
    team.update_group(GroupName=group, NewPath="/team/red/")
    assert iam.get_user(UserName=name)["User"]["Path"] == iam.get_group(GroupName=group)["Group"]["Path"] == "/team/red/"


def test_a_providers_case_does_not_matter_to_policies(iam, account, user_with):
    arn = iam.create_open_id_connect_provider(Url="https://idp.example.com", ClientIDList=["a"])["OpenIDConnectProviderArn"]
    barred = user_with(allow("iam:*", "*"), deny("iam:*", arn))("iam")
    for name in (arn, arn.replace("idp", "IDP")):
        with refused("AccessDenied", 403):
            barred.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=name, ClientID="b")
        with refused("AccessDenied", 403):
            barred.delete_open_id_connect_provider(OpenIDConnectProviderArn=name)
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["a"]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_another_accounts_users_are_not_told_of(server, iam, account, identities):
    user = identities.user(keys=False, Tags=[{"Key": "team", "Value": "blue"}])
    tagged = allow("s3:GetObject", "*", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})

    def result(client, caller):
        asked = {"PolicyInputList": [document(tagged)], "ActionNames": ["s3:GetObject"], "CallerArn": caller}
        return client.simulate_custom_policy(**asked)["EvaluationResults"][0]

    assert result(iam, user.arn)["EvalDecision"] == "allowed"
    theirs = server.other.client("iam")
    assert result(theirs, user.arn) == result(theirs, user.arn + "x")
    assert result(theirs, user.arn)["EvalDecision"] == "implicitDeny"


def test_a_simulations_source_is_named_exactly(iam, account, identities):
    user, role = identities.user(keys=False), identities.role(trust({"AWS": account}))
    for arn in (
        user.arn.replace("user/", "user/wrong/"),
        role["Arn"].replace("role/", "role/wrong/"),
        role["Arn"].replace(role["RoleName"], role["RoleName"].swapcase()),
    ):
        with refused("NoSuchEntity", 404):
            iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject"])
        with refused("NoSuchEntity", 404):
            iam.get_context_keys_for_principal_policy(PolicySourceArn=arn)
    for arn in (user.arn, role["Arn"]):
        iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject"])


def test_a_simulation_leaves_out_and_adds(server, account, identities):
    """Policies that are left out, and those of a supposed organization."""
    iam = server.client("iam")
    user = identities.user(keys=False)
    read = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    iam.attach_user_policy(UserName=user.name, PolicyArn=read)
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(allow("s3:GetObject", "*")))

    # Older clients do not know these members: they are added to the form.
    def simulate(name, form=None, **members):
        def add(params, **_):
            params["body"].update(form or {})

        client = server.client("iam")
        client.meta.events.register("before-call.iam", add)
        return getattr(client, name)(ActionNames=["s3:GetObject"], **members)["EvaluationResults"][0]

    def decision(*exclusions):
        form = {
            f"PolicyExclusionList.member.{at}.{part}": value
            for at, exclusion in enumerate(exclusions, 1)
            for part, value in exclusion.items()
        }
        return simulate("simulate_principal_policy", form, PolicySourceArn=user.arn)["EvalDecision"]

    inline = {
        "InlinePolicyIdentifier.PolicyName": "p",
        "InlinePolicyIdentifier.AttachmentType": "user",
        "InlinePolicyIdentifier.AttachmentName": user.name[:3] + "*",
    }
    matched = simulate("simulate_principal_policy", PolicySourceArn=user.arn)["MatchedStatements"]
    assert {one["SourcePolicyId"] for one in matched} == {"AmazonS3ReadOnlyAccess", f"user_{user.name}_p"}
    assert decision({"PolicyType": "inline"}) == decision({"PolicyType": "aws-managed"}) == "allowed"
    assert decision(inline, {"PolicyArn": read[:-3] + "*"}) == "implicitDeny"
    assert decision({"PolicyType": "inline"}, {"PolicyType": "aws-managed"}) == "implicitDeny"
    for wrong in ({"PolicyType": "inline", "PolicyArn": read}, {"PolicyArn": "arn:aws:iam::*:policy/x-and-more"}):
        with refused("InvalidInput", 400):
            decision(wrong)

    def organized(*levels):
        form = {
            f"OrderedOrganizationPolicyInputList.member.{at}.ServiceControlPolicyInputList.member.1": level
            for at, level in enumerate(levels, 1)
        }
        result = simulate("simulate_custom_policy", form, PolicyInputList=[document(allow("s3:*", "*"))])
        return result["EvalDecision"], result["OrganizationsDecisionDetail"]["AllowedByOrganizations"]

    everything, nothing = document(allow("*", "*")), document(deny("s3:Get*", "*"))
    assert organized(everything, everything) == ("allowed", True)
    assert organized(everything, document(allow("kms:*", "*"))) == ("implicitDeny", False)
    assert organized(nothing, everything) == ("explicitDeny", False)
    with refused("InvalidInput", 400):
        simulate("simulate_custom_policy", {"ResourceHandlingOption": "nonsense"}, PolicyInputList=[everything])


def test_temporary_credentials_outlive_a_new_name(server, iam, identities, account):
    user = identities.user()
    credentials = identities.client("sts", user).get_session_token()["Credentials"]
    new = identities.name("renamed")
    iam.update_user(UserName=user.name, NewUserName=new)
    identities.users[identities.users.index(user.name)] = new
    sts = server.client(
        "sts",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:user/{new}"


def test_long_markers_are_taken_back(iam, identities, account):
    path = f"/{'p' * 400}/"
    made = []
    for _ in range(3):
        policy = iam.create_policy(
            PolicyName=identities.name("policy"), Path=path, PolicyDocument=document(allow("s3:*", "*"))
        )["Policy"]
        identities.policies.append(policy["Arn"])
        made.append(policy["Arn"])
    listed, more = [], {}
    while True:
        page = iam.list_policies(Scope="Local", PathPrefix=path, MaxItems=1, **more)
        listed += [policy["Arn"] for policy in page["Policies"]]
        if not page["IsTruncated"]:
            break
        assert len(page["Marker"]) <= 320
        more = {"Marker": page["Marker"]}
    assert listed == sorted(made)
    with refused("ValidationError", 400):
        iam.list_policies(Marker="-" + "00" * 32)


MANY = [{"Key": f"k{at}", "Value": ""} for at in range(51)]


def test_lists_have_their_lengths(server, iam, identities, account):
    user = identities.user()
    role = identities.role(trust({"AWS": account}, "sts:AssumeRole", "sts:TagSession"))
    sts = identities.client("sts", user, config=UNCHECKED)
    named = {"RoleArn": role["Arn"], "RoleSessionName": "session"}
    for call in (
        lambda: iam.create_user(UserName="many", Tags=MANY),
        lambda: iam.tag_user(UserName=user.name, Tags=MANY),
        lambda: iam.tag_user(UserName=user.name),
        lambda: iam.tag_role(RoleName=role["RoleName"]),
        lambda: iam.untag_user(UserName=user.name),
        lambda: iam.untag_role(RoleName=role["RoleName"], TagKeys=[tag["Key"] for tag in MANY]),
        lambda: iam.update_role_description(RoleName=role["RoleName"]),
        lambda: iam.get_context_keys_for_custom_policy(),
        lambda: iam.simulate_custom_policy(ActionNames=["s3:GetObject"]),
        lambda: iam.list_instance_profiles_for_role(RoleName=role["RoleName"], MaxItems=0),
        lambda: iam.list_groups_for_user(UserName="nobody", MaxItems=1001),
    ):
        with refused("ValidationError", 400):
            call()
    identities.iam.put_user_policy(
        UserName=user.name, PolicyName="p", PolicyDocument=document(allow("sts:*", "*"))
    )
    with refused("ValidationError", 400):
        sts.assume_role(**named, Tags=MANY)
    with refused("ValidationError", 400):
        sts.get_federation_token(Name="bob", Tags=MANY)
    with refused("InvalidParameterValue", 400):
        sts.assume_role(**named, Tags=[{"Key": "aws:x", "Value": "y"}])
    with refused("InvalidParameterValue", 400):
        provided = {"ProviderArn": "arn:aws:iam::aws:contextProvider/IdentityCenter", "ContextAssertion": "abcdefgh"}
        sts.assume_role(**named, ProvidedContexts=[provided])


def test_the_account_tells_what_there_is(iam, identities):
    user, arn = identities.user(keys=False), "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    details = iam.get_account_authorization_details(Filter=["AWSManagedPolicy"])["Policies"]
    told = next(policy for policy in details if policy["Arn"] == arn)
    shown = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (told["CreateDate"], told["UpdateDate"]) == (shown["CreateDate"], shown["UpdateDate"])
    assert told["PolicyVersionList"][0]["CreateDate"] == shown["UpdateDate"]
    assert told["PolicyVersionList"][0]["Document"]["Version"] == "2012-10-17"
    summary = iam.get_account_summary()["SummaryMap"]
    for name in (
        "PolicyVersionsInUseQuota",
        "GlobalEndpointTokenVersion",
        "AccountPasswordPresent",
        "AccountSigningCertificatesPresent",
        "ServerCertificatesQuota",
        "InstanceProfilesQuota",
    ):
        assert name in summary
