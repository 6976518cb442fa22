"""AWS's models as an oracle: no operation of IAM and STS is forgotten, and none of any service is open to a user without a
policy."""

import functools
import json
import re
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.calls import empty, status_of
from support.identities import Identities, allow, document, trust
from support.server import Endpoint
from test_model import KNOWN as KNOWN_TO_S3
from test_model import OF_OTHER_SERVICES, minimal
from test_model import operations as s3_operations

# What a user may do who may do nothing, and what has no signature.
OPEN = {"GetCallerIdentity", "GetSessionToken"}
UNSIGNED = {"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"}

SERVED = {
    "iam": """
        AddClientIDToOpenIDConnectProvider AddRoleToInstanceProfile AddUserToGroup AttachGroupPolicy AttachRolePolicy
        AttachUserPolicy CreateAccessKey CreateAccountAlias CreateGroup CreateInstanceProfile
        CreateOpenIDConnectProvider CreatePolicy CreatePolicyVersion CreateRole CreateUser DeleteAccessKey
        DeleteAccountAlias DeleteAccountPasswordPolicy DeleteGroup DeleteGroupPolicy DeleteInstanceProfile
        DeleteLoginProfile DeleteOpenIDConnectProvider DeletePolicy DeletePolicyVersion DeleteRole
        DeleteRolePermissionsBoundary DeleteRolePolicy DeleteUser DeleteUserPermissionsBoundary DeleteUserPolicy
        DetachGroupPolicy DetachRolePolicy DetachUserPolicy GetAccessKeyLastUsed GetAccountAuthorizationDetails
        GetAccountPasswordPolicy GetAccountSummary GetContextKeysForCustomPolicy GetContextKeysForPrincipalPolicy
        GetGroup GetGroupPolicy GetInstanceProfile GetLoginProfile GetOpenIDConnectProvider GetPolicy GetPolicyVersion
        GetRole GetRolePolicy GetUser GetUserPolicy ListAccessKeys ListAccountAliases ListAttachedGroupPolicies
        ListAttachedRolePolicies ListAttachedUserPolicies ListEntitiesForPolicy ListGroupPolicies ListGroups
        ListGroupsForUser ListInstanceProfileTags ListInstanceProfiles ListInstanceProfilesForRole ListMFADevices
        ListOpenIDConnectProviderTags ListOpenIDConnectProviders ListPolicies ListPolicyTags ListPolicyVersions
        ListRolePolicies ListRoleTags ListRoles ListSAMLProviders ListSSHPublicKeys ListServerCertificates
        ListServiceSpecificCredentials ListSigningCertificates ListUserPolicies ListUserTags ListUsers
        ListVirtualMFADevices PutGroupPolicy PutRolePermissionsBoundary PutRolePolicy PutUserPermissionsBoundary
        PutUserPolicy RemoveClientIDFromOpenIDConnectProvider RemoveRoleFromInstanceProfile RemoveUserFromGroup
        SetDefaultPolicyVersion SimulateCustomPolicy SimulatePrincipalPolicy TagInstanceProfile
        TagOpenIDConnectProvider TagPolicy TagRole TagUser UntagInstanceProfile UntagOpenIDConnectProvider UntagPolicy
        UntagRole UntagUser UpdateAccessKey UpdateAssumeRolePolicy UpdateGroup UpdateOpenIDConnectProviderThumbprint
        UpdateRole UpdateRoleDescription UpdateUser
    """.split(),
    "sts": """
        AssumeRole AssumeRoleWithWebIdentity GetAccessKeyInfo GetCallerIdentity GetFederationToken GetSessionToken
    """.split(),
}


def operations(service):
    client = Endpoint("http://127.0.0.1:1", "x", "x").client(service)
    return sorted(client.meta.service_model.operation_names)


def call(client, name, known):
    operation = client.meta.service_model.operation_model(name)
    parameters = minimal(operation.input_shape, known) if operation.input_shape else {}
    if operation.has_streaming_input:
        parameters[operation.input_shape.serialization["payload"]] = b"x"
    try:
        return client._make_api_call(name, parameters)
    except ClientError as error:
        return error.response
    except BotoCoreError as error:
        pytest.fail(f"{name} was not answered in a way that botocore reads: {error!r}")


@functools.cache
def lax(server, service):
    """A client that sends what it is told."""
    return server.client(service, config=Config(parameter_validation=False, inject_host_prefix=False))


def code_of(response):
    return response.get("Error", {}).get("Code")


@pytest.fixture(scope="module")
def nobody(server):
    """A user without a policy, and what there is that they might want."""
    identities = Identities(server)
    user = identities.user()
    s3, kms = server.client("s3"), server.client("kms")
    name = identities.name("wanted")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    alias = f"alias/{name}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    role = identities.role(trust({"AWS": server.client("sts").get_caller_identity()["Account"]}))
    nobody = {
        "user": user,
        "role": role,
        "bucket": name,
        "upload": s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"],
        "key": key,
        "alias": alias,
        "blob": kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"],
        "grant": kms.create_grant(KeyId=key, GranteePrincipal=user.arn, Operations=["DescribeKey"])["GrantId"],
    }
    config = Config(parameter_validation=False, inject_host_prefix=False, s3={"addressing_style": "path"})
    nobody["client"] = functools.cache(lambda service: identities.client(service, user, config=config))
    yield nobody
    empty(s3, name)
    s3.delete_bucket(Bucket=name)
    kms.delete_alias(AliasName=alias)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    identities.clean()


@pytest.mark.parametrize("service", ["iam", "sts"])
def test_what_is_served_is_in_the_model(service):
    assert set(operations(service)) >= set(SERVED[service])


TABLE = Path(__file__).resolve().parents[2] / "src" / "iam" / "api" / "operation.rs"
ROW = re.compile(r"^ {8}\w+ (\w+) \[([\w\s]*)\];$", re.MULTILINE)
# Members that AWS has documented and botocore's models do not have.
NEWER = {
    "CreateOpenIDConnectProvider": {"ContextProvider", "IdentityCenterInstanceArn"},
    "CreateRole": {"MaxSigninSessionDuration"},
    "UpdateRole": {"MaxSigninSessionDuration", "ResetMaxSigninSessionDuration"},
}


@pytest.mark.parametrize("service", ["iam", "sts"])
def test_the_table_has_the_models_members(service):
    """None but these are read."""
    rows = {name: set(members.split()) for name, members in ROW.findall(TABLE.read_text())}
    assert set(rows) == {*SERVED["iam"], *SERVED["sts"]}
    model = Endpoint("http://127.0.0.1:1", "x", "x").client(service).meta.service_model
    for name in SERVED[service]:
        shape = model.operation_model(name).input_shape
        members = set(shape.members if shape else ())
        assert rows[name] - NEWER.get(name, set()) == members - NEWER.get(name, set()), name


@pytest.mark.parametrize("service, name", [(s, name) for s in ("iam", "sts") for name in operations(s)])
def test_every_operation_is_answered(server, service, name):
    client = lax(server, service)
    known = {"PolicyArn": "arn:aws:iam::000000000000:policy/none", "UserName": "nobody-of-that-name"}
    response = call(client, name, known)
    if name in SERVED[service]:
        assert status_of(response) < 500 and code_of(response) != "InvalidAction", response
    else:
        assert (status_of(response), code_of(response)) == (400, "InvalidAction"), response


@pytest.mark.parametrize("name", s3_operations())
def test_nobody_may_do_anything_to_s3(nobody, name):
    if name in OF_OTHER_SERVICES:
        pytest.skip("of another service")
    known = {k: v.format(**nobody) if isinstance(v, str) else v for k, v in KNOWN_TO_S3.items()}
    response = call(nobody["client"]("s3"), name, known)
    if name == "DeleteObjects":
        # Each key is judged by itself.
        assert [error["Code"] for error in response["Errors"]] == ["AccessDenied"] and "Deleted" not in response
        return
    assert status_of(response) == 403 and code_of(response) in ("AccessDenied", "403"), response


KNOWN_TO_KMS = {
    "PrimaryRegion": "eu-west-1",
    "ReplicaRegion": "eu-west-1",
    "KeySpec": "AES_256",
    "Operations": ["Decrypt"],
    "RetiringPrincipal": "arn:aws:iam::000000000000:root",
    "Policy": document(allow("kms:*", "*", Principal="*")),
    "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
    "WrappingKeySpec": "RSA_2048",
    "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    "PendingWindowInDays": 7,
    "KeyAgreementAlgorithm": "ECDH",
}


# Members that the model does not require, and the service does.
NEEDED = {
    "CreateGrant": ["GranteePrincipal", "Operations"],
    "Decrypt": ["CiphertextBlob"],
    "GenerateDataKey": ["KeySpec"],
    "GenerateDataKeyWithoutPlaintext": ["KeySpec"],
    "ImportKeyMaterial": ["ExpirationModel"],
    "ReEncrypt": ["CiphertextBlob"],
    "RetireGrant": ["KeyId", "GrantId"],
}


@pytest.mark.parametrize("name", operations("kms"))
def test_nobody_may_do_anything_to_keys(nobody, name):
    known = KNOWN_TO_KMS | {
        "KeyId": nobody["key"],
        "TargetKeyId": nobody["key"],
        "DestinationKeyId": nobody["key"],
        "CiphertextBlob": nobody["blob"],
        "AliasName": nobody["alias"],
        "GrantId": nobody["grant"],
        "GranteePrincipal": nobody["user"].arn,
    }
    client = nobody["client"]("kms")
    operation = client.meta.service_model.operation_model(name)
    members = operation.input_shape.members if operation.input_shape else {}
    if name == "DescribeKey":
        pytest.skip("the grant's")
    parameters = minimal(operation.input_shape, known) if members else {}
    parameters |= {member: known[member] for member in NEEDED.get(name, [])}
    with pytest.raises(ClientError) as caught:
        client._make_api_call(name, parameters)
    assert code_of(caught.value.response) == "AccessDeniedException", caught.value.response


@pytest.mark.parametrize("service, name", [(s, name) for s in ("iam", "sts") for name in SERVED[s]])
def test_nobody_may_do_anything_to_identities(nobody, service, name):
    if name in UNSIGNED:
        pytest.skip("it has no signature")
    known = {
        "RoleArn": nobody["role"]["Arn"],
        "RoleSessionName": "session",
        "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess",
        "UserName": nobody["user"].name,
    }
    response = call(nobody["client"](service), name, known)
    if name in OPEN:
        assert status_of(response) == 200
    else:
        assert (status_of(response), code_of(response)) == (403, "AccessDenied"), response


def test_nobody_may_look_up_events(nobody):
    with pytest.raises(ClientError) as caught:
        nobody["client"]("cloudtrail").lookup_events()
    assert code_of(caught.value.response) == "AccessDeniedException"


OPERATORS_TABLE = Path(__file__).resolve().parents[2] / "src" / "admin" / "mod.rs"
OPERATORS_ROW = re.compile(r'^    (GET|POST|DELETE) +"([^"]+)" +(\w+)(?:\(id\))?;$', re.MULTILINE)


def test_the_operators_table_is_read_whole():
    names = [name for _, _, name in OPERATORS_ROW.findall(OPERATORS_TABLE.read_text())]
    assert len(names) == 8 and {"CreateJob", "CancelJob", "RotateRootKey", "ExplainPolicy"} < set(names)


@pytest.mark.parametrize("method, path, name", OPERATORS_ROW.findall(OPERATORS_TABLE.read_text()))
def test_nobody_may_operate(server, nobody, method, path, name):
    job = {"type": "rewrap", "bucket": nobody["bucket"], "from": "SSE-S3", "to": nobody["key"], "dryRun": True}
    question = {"principal": nobody["user"].arn, "action": "s3:GetObject", "resource": "*"}
    body = {"CreateJob": job, "ExplainPolicy": question}.get(name)
    # One that there is, and that may be seen by those who may.
    made = server.curl(
        "--data-binary", json.dumps(job), "-H", "content-type: application/json", f"{server.url}/_/v1/jobs"
    )
    path = path.replace("ID", json.loads(made.stdout)["job"]["id"])
    user = nobody["user"]
    arguments = ["-X", method, *(["--data-binary", json.dumps(body)] if body else []), f"{server.url}/_/v1/{path}"]
    answer = json.loads(Endpoint(server.url, user.key, user.secret, server.ca).curl(*arguments).stdout)
    assert answer["code"] == "AccessDenied", answer
    text = f"User: {user.arn} is not authorized to perform: strongroom:{name} on resource: "
    assert answer["message"].startswith(text), answer
    assert answer["message"].endswith(f"because no identity-based policy allows the strongroom:{name} action"), answer
