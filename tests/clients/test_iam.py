"""IAM: users, access keys, groups, roles, policies, as boto3 and the AWS command line drive them."""

import datetime
import json

import pytest
from botocore.config import Config

from support.calls import body_of, refused, status_of
from support.identities import allow, document, trust

DATA = b"identities"


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam")


@pytest.fixture
def user(identities):
    return identities.user()


def test_a_user_comes_and_goes(iam, account):
    made = iam.create_user(UserName="Alice", Path="/staff/", Tags=[{"Key": "team", "Value": "blue"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{account}:user/staff/Alice"
    assert made["UserId"].startswith("AIDA") and len(made["UserId"]) == 21
    assert abs(made["CreateDate"] - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    assert iam.get_user(UserName="alice")["User"] == made, "names have no case"
    with refused("EntityAlreadyExists", 409, "User with name aLiCe already exists."):
        iam.create_user(UserName="aLiCe")
    assert "Alice" in [user["UserName"] for user in iam.list_users(PathPrefix="/staff/")["Users"]]
    iam.update_user(UserName="Alice", NewUserName="Bob", NewPath="/")
    assert iam.get_user(UserName="Bob")["User"]["Arn"] == f"arn:aws:iam::{account}:user/Bob"
    with refused("NoSuchEntity", 404, "The user with name Alice cannot be found."):
        iam.get_user(UserName="Alice")
    iam.delete_user(UserName="Bob")
    with refused("NoSuchEntity", 404):
        iam.delete_user(UserName="Bob")


@pytest.mark.parametrize(
    "name, code, text",
    [
        ("a b", "ValidationError", "The specified value for userName is invalid."),
        ("x" * 65, "ValidationError", "Member must have length less than or equal to 64"),
    ],
)
def test_bad_names_are_refused(iam, name, code, text):
    with refused(code, 400) as refusal:
        iam.create_user(UserName=name)
    assert text in refusal.message


def test_keys_speak_for_their_user(server, iam, identities, user, bucket):
    s3 = identities.client("s3", user)
    text = (
        f"User: {user.arn} is not authorized to perform: s3:PutObject on resource: \"arn:aws:s3:::{bucket}/k\" because no "
        "identity-based policy allows the s3:PutObject action"
    )
    with refused("AccessDenied", 403, text):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    iam.put_user_policy(
        UserName=user.name,
        PolicyName="objects",
        PolicyDocument=document(allow(["s3:PutObject", "s3:GetObject"], f"arn:aws:s3:::{bucket}/${{aws:username}}/*")),
    )
    s3.put_object(Bucket=bucket, Key=f"{user.name}/k", Body=DATA)
    assert body_of(s3.get_object(Bucket=bucket, Key=f"{user.name}/k")) == DATA
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="other/k", Body=DATA)
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)
    who = identities.client("sts", user).get_caller_identity()
    assert (who["Arn"], who["UserId"]) == (user.arn, user.id)
    iam.delete_user_policy(UserName=user.name, PolicyName="objects")
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=bucket, Key=f"{user.name}/k")


def test_two_keys_and_what_becomes_of_them(server, iam, identities, user, bucket):
    second = iam.create_access_key(UserName=user.name)["AccessKey"]
    assert second["AccessKeyId"].startswith("AKIA") and len(second["SecretAccessKey"]) == 40
    with refused("LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2"):
        iam.create_access_key(UserName=user.name)
    listed = iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]
    assert {key["AccessKeyId"] for key in listed} == {user.key, second["AccessKeyId"]}
    assert "SecretAccessKey" not in listed[0]
    assert iam.get_access_key_last_used(AccessKeyId=second["AccessKeyId"])["AccessKeyLastUsed"]["ServiceName"] == "N/A"
    sts = server.client(
        "sts", aws_access_key_id=second["AccessKeyId"], aws_secret_access_key=second["SecretAccessKey"]
    )
    assert sts.get_caller_identity()["Arn"] == user.arn
    last = iam.get_access_key_last_used(AccessKeyId=second["AccessKeyId"])
    assert (last["UserName"], last["AccessKeyLastUsed"]["ServiceName"]) == (user.name, "sts")
    iam.update_access_key(UserName=user.name, AccessKeyId=second["AccessKeyId"], Status="Inactive")
    with refused("InvalidClientTokenId", 403):
        sts.get_caller_identity()
    iam.update_access_key(UserName=user.name, AccessKeyId=second["AccessKeyId"], Status="Active")
    assert sts.get_caller_identity()["Arn"] == user.arn
    with refused("DeleteConflict", 409, "Cannot delete entity, must delete access keys first."):
        iam.delete_user(UserName=user.name)
    iam.delete_access_key(UserName=user.name, AccessKeyId=second["AccessKeyId"])
    with refused("InvalidClientTokenId", 403):
        sts.get_caller_identity()
    gone = server.client(
        "s3", aws_access_key_id=second["AccessKeyId"], aws_secret_access_key=second["SecretAccessKey"]
    )
    with refused("InvalidAccessKeyId", 403):
        gone.list_objects_v2(Bucket=bucket)


def test_groups_give_their_members_what_they_have(iam, identities, user, bucket):
    group = identities.group()
    iam.attach_group_policy(GroupName=group, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    s3 = identities.client("s3", user)
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    s3.list_objects_v2(Bucket=bucket)
    assert [member["UserName"] for member in iam.get_group(GroupName=group)["Users"]] == [user.name]
    assert [of["GroupName"] for of in iam.list_groups_for_user(UserName=user.name)["Groups"]] == [group]
    with refused("DeleteConflict", 409):
        iam.delete_group(GroupName=group)
    iam.update_group(GroupName=group, NewGroupName=group + "x")
    s3.list_objects_v2(Bucket=bucket)
    iam.update_group(GroupName=group + "x", NewGroupName=group)
    iam.remove_user_from_group(GroupName=group, UserName=user.name)
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)


def test_managed_policies_and_their_versions(iam, identities, user, bucket):
    reading = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    writing = allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/*")
    policy = identities.policy(document(reading))
    iam.attach_user_policy(UserName=user.name, PolicyArn=policy)
    s3 = identities.client("s3", user)
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    version = iam.create_policy_version(PolicyArn=policy, PolicyDocument=document(writing))["PolicyVersion"]
    assert (version["VersionId"], version["IsDefaultVersion"]) == ("v2", False)
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    iam.set_default_policy_version(PolicyArn=policy, VersionId="v2")
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert iam.get_policy_version(PolicyArn=policy, VersionId="v2")["PolicyVersion"]["Document"] == json.loads(
        document(writing)
    )
    shown = iam.get_policy(PolicyArn=policy)["Policy"]
    assert (shown["DefaultVersionId"], shown["AttachmentCount"]) == ("v2", 1)
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=policy)["Versions"]] == ["v2", "v1"]
    with refused("DeleteConflict", 409, "Cannot delete the default version of a policy."):
        iam.delete_policy_version(PolicyArn=policy, VersionId="v2")
    with refused("DeleteConflict", 409, "Cannot delete a policy attached to entities."):
        iam.delete_policy(PolicyArn=policy)
    assert iam.list_entities_for_policy(PolicyArn=policy)["PolicyUsers"] == [{"UserName": user.name, "UserId": user.id}]
    attached = iam.list_attached_user_policies(UserName=user.name)["AttachedPolicies"]
    assert [entry["PolicyArn"] for entry in attached] == [policy]
    for _ in range(3):
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=document(reading))
    with refused("LimitExceeded", 409):
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=document(reading))
    iam.detach_user_policy(UserName=user.name, PolicyArn=policy)
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    with refused("NoSuchEntity", 404):
        iam.detach_user_policy(UserName=user.name, PolicyArn=policy)


def test_aws_manages_some(iam, user):
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    shown = iam.get_policy(PolicyArn=arn)["Policy"]
    assert shown["Description"] == "Provides full access to AWS services and resources."
    statement = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]["Statement"][0]
    assert statement == {"Effect": "Allow", "Action": "*", "Resource": "*"}
    assert arn in [policy["Arn"] for policy in iam.list_policies(Scope="AWS")["Policies"]]
    assert arn not in [policy["Arn"] for policy in iam.list_policies(Scope="Local")["Policies"]]
    with refused("AccessDenied", 403):
        iam.delete_policy(PolicyArn=arn)
    with refused("NoSuchEntity", 404):
        iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/MadeUp")


def test_a_boundary_bounds(iam, identities, user, bucket):
    iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    s3 = identities.client("s3", user)
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    iam.put_user_permissions_boundary(
        UserName=user.name, PermissionsBoundary="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    )
    with refused("AccessDenied", 403) as refusal:
        s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert refusal.message.endswith("because no permissions boundary allows the s3:PutObject action")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == DATA
    shown = iam.get_user(UserName=user.name)["User"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"].endswith("AmazonS3ReadOnlyAccess")
    assert shown["PermissionsBoundaryType"] == "Policy"
    iam.delete_user_permissions_boundary(UserName=user.name)
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)


def test_conditions_on_the_boundary_that_a_user_or_role_has(iam, identities, user):
    """AWS's example of an administrator to whom users are delegated, who must give them a boundary and not take it away.
    (IAM user guide, "Permissions boundaries for IAM entities".)"""
    bound, other = (f"arn:aws:iam::aws:policy/AmazonS3{name}Access" for name in ("ReadOnly", "Full"))
    bounded, free = identities.user(keys=False, PermissionsBoundary=bound), identities.user(keys=False)
    role = identities.role(trust({"Service": "s3.amazonaws.com"}), PermissionsBoundary=bound)["RoleName"]
    delegated = identities.client("iam", user)
    p = {"PolicyName": "p", "PolicyDocument": document(allow("s3:*", "*"))}

    def give(*statements):
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))

    with_it = {"StringEquals": {"iam:PermissionsBoundary": bound}}
    give(
        allow(["iam:CreateUser", "iam:Put*Policy", "iam:Delete*Policy", "iam:Attach*", "iam:Detach*"], "*", Condition=with_it),
        allow(["iam:PutUserPermissionsBoundary", "iam:DeleteUserPermissionsBoundary"], "*", Condition=with_it),
    )
    delegated.put_user_policy(UserName=bounded.name, **p)
    delegated.delete_user_policy(UserName=bounded.name, PolicyName="p")
    delegated.attach_user_policy(UserName=bounded.name, PolicyArn=other)
    delegated.detach_user_policy(UserName=bounded.name, PolicyArn=other)
    delegated.put_role_policy(RoleName=role, **p)
    delegated.delete_role_policy(RoleName=role, PolicyName="p")
    delegated.put_user_permissions_boundary(UserName=bounded.name, PermissionsBoundary=bound)
    for call in (
        lambda: delegated.put_user_policy(UserName=free.name, **p),
        lambda: delegated.attach_user_policy(UserName=free.name, PolicyArn=other),
        lambda: delegated.create_user(UserName=identities.name()),
        lambda: delegated.create_user(UserName=identities.name(), PermissionsBoundary=other),
        lambda: delegated.put_user_permissions_boundary(UserName=bounded.name, PermissionsBoundary=other),
    ):
        with refused("AccessDenied", 403):
            call()
    # A parameter that the operation does not have says nothing.
    forged = identities.client("iam", user)
    add = lambda params, **_: params["body"].update(PermissionsBoundary=bound)
    forged.meta.events.register("before-call.iam.PutUserPolicy", add)
    with refused("AccessDenied", 403):
        forged.put_user_policy(UserName=free.name, **p)
    give(allow("iam:*", "*"), allow(["iam:Delete*Boundary", "iam:PutUserPolicy"], "*", Condition=with_it) | {"Effect": "Deny"})
    for call in (
        lambda: delegated.put_user_policy(UserName=bounded.name, **p),
        lambda: delegated.delete_user_permissions_boundary(UserName=bounded.name),
        lambda: delegated.delete_role_permissions_boundary(RoleName=role),
    ):
        with refused("AccessDenied", 403):
            call()
    delegated.put_user_policy(UserName=free.name, **p)


def test_what_is_made_with_tags_needs_the_permission_to_tag(iam, identities, user, account):
    delegated = identities.client("iam", user)
    tags = [{"Key": "team", "Value": "x"}]
    name = identities.name()
    trusting = trust({"Service": "s3.amazonaws.com"})
    makes = {
        "User": lambda **more: delegated.create_user(UserName=name, **more),
        "Role": lambda **more: delegated.create_role(RoleName=name, AssumeRolePolicyDocument=trusting, **more),
        "Policy": lambda **more: delegated.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:*", "*")), **more),
        "OpenIDConnectProvider": lambda **more: delegated.create_open_id_connect_provider(Url=f"https://{name}.example.com", **more),
    }
    for kind, make in makes.items():
        policy = document(allow(f"iam:Create{kind}", "*"))
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=policy)
        with refused("AccessDenied", 403) as refusal:
            make(Tags=tags)
        assert f"is not authorized to perform: iam:Tag{kind} on resource: arn:aws:iam::{account}:" in refusal.message
        tagged = allow(f"iam:Tag{kind}", "*", Condition={"StringEquals": {"aws:RequestTag/team": "x"}})
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(allow(f"iam:Create{kind}", "*"), tagged))
        with refused("AccessDenied", 403):
            make(Tags=[{"Key": "team", "Value": "y"}])
        make(Tags=tags)
    provider = f"arn:aws:iam::{account}:oidc-provider/{name}.example.com"
    # What has tags can be told by them, and by its account.
    for condition, wanted in [
        ({"aws:ResourceTag/team": "x"}, True),
        ({"iam:ResourceTag/team": "x", "aws:ResourceAccount": account}, True),
        ({"aws:ResourceTag/team": "y"}, False),
        ({"aws:ResourceAccount": "999999999999"}, False),
    ]:
        actions = ["iam:GetOpenIDConnectProvider", "iam:GetUser", "iam:GetRole", "iam:GetPolicy"]
        policy = document(allow(actions, "*", Condition={"StringEquals": condition}))
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=policy)
        for call in (
            lambda: delegated.get_open_id_connect_provider(OpenIDConnectProviderArn=provider),
            lambda: delegated.get_user(UserName=name),
            lambda: delegated.get_role(RoleName=name),
            lambda: delegated.get_policy(PolicyArn=f"arn:aws:iam::{account}:policy/{name}"),
        ):
            if wanted:
                call()
            else:
                with refused("AccessDenied", 403):
                    call()
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)
    iam.delete_user(UserName=name)
    iam.delete_role(RoleName=name)
    iam.delete_policy(PolicyArn=f"arn:aws:iam::{account}:policy/{name}")


def test_buckets_and_keys_made_with_tags_or_a_lock_need_more(s3, kms, iam, identities, user):
    theirs, keys = identities.client("s3", user), identities.client("kms", user)
    tagged = {"CreateBucketConfiguration": {"Tags": [{"Key": "team", "Value": "x"}]}}

    def give(*statements):
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))

    def refuse(action, call):
        code = "AccessDeniedException" if action.startswith("kms:") else "AccessDenied"
        with refused(code) as refusal:
            call()
        assert f"is not authorized to perform: {action} on resource" in refusal.message

    names = [f"made-{identities.name()}" for _ in range(3)]
    create, tag = allow("s3:CreateBucket", "*"), allow("s3:TagResource", "*")
    give(create)
    refuse("s3:TagResource", lambda: theirs.create_bucket(Bucket=names[0], **tagged))
    refuse("s3:PutBucketObjectLockConfiguration", lambda: theirs.create_bucket(Bucket=names[1], ObjectLockEnabledForBucket=True))
    give(create, allow("s3:PutBucketObjectLockConfiguration", "*"))
    refuse("s3:PutBucketVersioning", lambda: theirs.create_bucket(Bucket=names[1], ObjectLockEnabledForBucket=True))
    give(create, allow(["s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"], "*"))
    theirs.create_bucket(Bucket=names[1], ObjectLockEnabledForBucket=True)
    asked = {"StringEquals": {"aws:RequestTag/team": "x"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    give(allow("s3:CreateBucket", "*", Condition=asked), tag)
    refuse("s3:CreateBucket", lambda: theirs.create_bucket(Bucket=names[2]))
    more = {"CreateBucketConfiguration": {"Tags": [{"Key": "team", "Value": "x"}, {"Key": "more", "Value": "x"}]}}
    refuse("s3:CreateBucket", lambda: theirs.create_bucket(Bucket=names[2], **more))
    theirs.create_bucket(Bucket=names[2], **tagged)
    give(allow("kms:CreateKey", "*"))
    keys.create_key()
    refuse("kms:TagResource", lambda: keys.create_key(Tags=[{"TagKey": "team", "TagValue": "x"}]))
    give(allow(["kms:CreateKey", "kms:TagResource"], "*"))
    keys.create_key(Tags=[{"TagKey": "team", "TagValue": "x"}])
    for name in names[1:]:
        s3.delete_bucket(Bucket=name)


def test_tags_and_what_they_permit(iam, identities, user, bucket):
    tagged = allow("s3:*", "*", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(tagged))
    s3 = identities.client("s3", user)
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)
    iam.tag_user(UserName=user.name, Tags=[{"Key": "team", "Value": "blue"}])
    s3.list_objects_v2(Bucket=bucket)
    assert iam.list_user_tags(UserName=user.name)["Tags"] == [{"Key": "team", "Value": "blue"}]
    iam.untag_user(UserName=user.name, TagKeys=["team"])
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)
    with refused("InvalidInput", 400):
        iam.tag_user(UserName=user.name, Tags=[{"Key": "aws:x", "Value": "y"}])


@pytest.mark.parametrize("text", ["{}", "x", '{"Statement": []}', document(allow("GetObject", "*")), document(allow("*", "*", Principal="*"))])
def test_malformed_documents_are_refused(iam, user, text):
    with refused("MalformedPolicyDocument", 400):
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=text)


def test_long_documents_are_refused(iam, user):
    long = document(allow("s3:GetObject", ["arn:aws:s3:::" + "b" * 60 + "/*"] * 40))
    with refused("LimitExceeded", 409, f"Maximum policy size of 2048 bytes exceeded for user {user.name}"):
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=long)


def test_pages(iam, identities):
    names = sorted(identities.user(keys=False).name for _ in range(5))
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}))
    listed = [user["UserName"] for page in pages for user in page["Users"]]
    assert all(len(page["Users"]) <= 2 for page in pages)
    assert sorted(listed) == listed and set(names) <= set(listed)
    with refused("ValidationError", 400):
        iam.list_users(Marker="!")


def test_users_of_iam_itself(iam, identities, user, account):
    """A user administers as far as it is let: conditions on what it gives, and on whom."""
    own = identities.client("iam", user)
    with refused("AccessDenied", 403) as refusal:
        own.get_user()
    assert refusal.message == (
        f"User: {user.arn} is not authorized to perform: iam:GetUser on resource: {user.arn} because no identity-based "
        "policy allows the iam:GetUser action"
    )
    readonly = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    statements = [
        allow(["iam:GetUser", "iam:*AccessKey*"], f"arn:aws:iam::{account}:user/${{aws:username}}"),
        allow("iam:AttachUserPolicy", "*", Condition={"ArnEquals": {"iam:PolicyARN": readonly}}),
        allow(["iam:CreateUser", "iam:TagUser"], "*", Condition={"StringEquals": {"aws:RequestTag/team": "blue"}}),
    ]
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))
    assert own.get_user()["User"]["UserName"] == user.name
    assert own.list_access_keys()["AccessKeyMetadata"][0]["AccessKeyId"] == user.key
    other = identities.user(keys=False)
    with refused("AccessDenied", 403):
        own.get_user(UserName=other.name)
    own.attach_user_policy(UserName=other.name, PolicyArn=readonly)
    with refused("AccessDenied", 403):
        own.attach_user_policy(UserName=other.name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    with refused("AccessDenied", 403):
        own.create_user(UserName=other.name + "x")
    own.create_user(UserName=other.name + "x", Tags=[{"Key": "team", "Value": "blue"}])
    iam.delete_user(UserName=other.name + "x")


def test_users_and_keys(server, kms, identities, user, iam):
    """The default key policy hands the decision to the account, and so to identity policies."""
    key = kms.create_key()["KeyMetadata"]
    own = identities.client("kms", user)
    for call in (
        lambda: own.encrypt(KeyId=key["KeyId"], Plaintext=b"x"),
        lambda: own.describe_key(KeyId=key["KeyId"]),
        own.create_key,
        own.list_keys,
    ):
        with refused("AccessDeniedException", 400):
            call()
    with refused("AccessDeniedException", 400) as refusal:
        own.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    assert refusal.message.endswith("because no identity-based policy allows the kms:Encrypt action")
    give = [allow(["kms:Encrypt", "kms:Decrypt"], key["Arn"])]
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*give))
    blob = own.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert own.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    other = kms.create_key()["KeyMetadata"]
    with refused("AccessDeniedException", 400):
        own.encrypt(KeyId=other["KeyId"], Plaintext=b"x")


def test_s3_asks_for_the_key_on_the_users_behalf(kms, s3, identities, user, iam, bucket):
    key = kms.create_key()["KeyMetadata"]
    objects = allow("s3:*", "*")
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(objects))
    own = identities.client("s3", user)
    options = {"Bucket": bucket, "Key": "k", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key["Arn"]}
    for bucket_key in (False, True):
        with refused("AccessDenied", 403):
            own.put_object(Body=DATA, BucketKeyEnabled=bucket_key, **options)
    via = allow(["kms:GenerateDataKey", "kms:Decrypt"], key["Arn"], Condition={"StringLike": {"kms:ViaService": "s3.*"}})
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(objects, via))
    for bucket_key in (False, True):
        own.put_object(Body=DATA, BucketKeyEnabled=bucket_key, **options)
        assert body_of(own.get_object(Bucket=bucket, Key="k")) == DATA
    direct = identities.client("kms", user)
    with refused("AccessDeniedException", 400):
        direct.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")
    # The bucket key at hand was another policy's.
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(objects))
    with refused("AccessDenied", 403):
        own.get_object(Bucket=bucket, Key="k")


def test_a_bucket_policy_names_a_user(s3, identities, user, bucket):
    own = identities.client("s3", user)
    named = allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Principal={"AWS": user.arn})
    s3.put_bucket_policy(Bucket=bucket, Policy=document(named))
    own.list_objects_v2(Bucket=bucket)
    named["Effect"] = "Deny"
    s3.put_bucket_policy(Bucket=bucket, Policy=document(named))
    with refused("AccessDenied", 403):
        own.list_objects_v2(Bucket=bucket)


def test_a_policy_names_this_user_or_role_and_none_of_the_same_name_later(server, s3, kms, iam, identities, account, bucket):
    """AWS keeps principals by their unique ids, and shows the bare id of one that is gone.
    (IAM user guide, "AWS JSON policy elements: Principal".)"""
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    resource = f"arn:aws:s3:::{bucket}/*"
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    role = identities.role(trust({"AWS": account}))["RoleName"]
    name = identities.name("named")
    arn = f"arn:aws:iam::{account}:user/{name}"
    own = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "kms:*", "Resource": "*"}

    def policies(principal):
        named = {"Effect": "Allow", "Principal": {"AWS": principal}}
        equal = {"ArnEquals": {"aws:PrincipalArn": arn}}
        return (
            document(named | {"Action": "s3:GetObject", "Resource": resource, "Condition": equal}),
            document(own, named | {"Action": "kms:Encrypt", "Resource": "*"}),
            trust({"AWS": principal}),
        )

    def put(principal):
        of_bucket, of_key, of_role = policies(principal)
        s3.put_bucket_policy(Bucket=bucket, Policy=of_bucket)
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=of_key)
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=of_role)

    def shown():
        return (
            s3.get_bucket_policy(Bucket=bucket)["Policy"],
            kms.get_key_policy(KeyId=key)["Policy"],
            json.dumps(iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]),
        )

    def make():
        id = iam.create_user(UserName=name)["User"]["UserId"]
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return id, dict(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

    def delete():
        for made in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=made["AccessKeyId"])
        iam.delete_user(UserName=name)

    def may(credentials):
        done = []
        for service, call in (
            ("s3", lambda client: client.get_object(Bucket=bucket, Key="k")),
            ("kms", lambda client: client.encrypt(KeyId=key, Plaintext=b"x")),
            ("sts", lambda client: client.assume_role(RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="by-name")),
        ):
            client = server.client(service, **credentials)
            try:
                call(client)
                done.append(True)
            except client.exceptions.ClientError:
                done.append(False)
        return done

    for put_refused in (
        lambda: s3.put_bucket_policy(Bucket=bucket, Policy=policies(arn)[0]),
        lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policies(arn)[1]),
        lambda: iam.update_assume_role_policy(RoleName=role, PolicyDocument=policies(arn)[2]),
    ):
        with pytest.raises(s3.exceptions.ClientError, match="[Ii]nvalid principal"):
            put_refused()
    first, credentials = make()
    put(arn)
    assert shown() == policies(arn) and may(credentials) == [True] * 3
    delete()
    gone = policies(first)
    assert shown() == gone
    second, credentials = make()
    assert second != first and shown() == gone and may(credentials) == [False] * 3
    with refused("MalformedPolicy", 400, "Invalid principal in policy"):
        s3.put_bucket_policy(Bucket=bucket, Policy=gone[0])
    # An id is taken as an ARN is.
    put(second)
    assert shown() == policies(arn) and may(credentials) == [True] * 3
    # Under another name it is the same user.
    iam.update_user(UserName=name, NewUserName=f"{name}-2")
    assert shown()[2] == trust({"AWS": f"{arn}-2"}) and may(credentials)[1:] == [True, True]
    name = f"{name}-2"
    delete()
    s3.delete_bucket_policy(Bucket=bucket)


def test_principals_that_are_none_are_refused(s3, iam, identities, account, bucket):
    role = identities.role(trust({"AWS": account}))["RoleName"]
    resource = f"arn:aws:s3:::{bucket}/*"
    statement = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": resource}
    for principal in (
        {"AWS": "999999999999"},
        {"AWS": f"arn:aws:iam::{account}:group/g"},
        {"AWS": f"arn:aws:iam::{account}:policy/p"},
        {"AWS": f"arn:aws:iam::{account}:foo"},
        {"AWS": "AIDAAAAAAAAAAAAAAAAAA"},
        {"AWS": f"arn:aws:sts::{account}:assumed-role/nobody/s"},
        {"Service": "foo"},
        {"Service": "*"},
        {"Federated": "foo"},
        {"CanonicalUser": "0" * 64},
    ):
        with refused("MalformedPolicy", 400, "Invalid principal in policy"):
            s3.put_bucket_policy(Bucket=bucket, Policy=document(statement | {"Principal": principal}))
        with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
            iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust(principal))
    session = f"arn:aws:sts::{account}:assumed-role/{role}/s"
    for principal in ({"AWS": session}, {"Service": "logging.s3.amazonaws.com"}, {"AWS": ["*", account]}):
        text = document(statement | {"Principal": principal})
        s3.put_bucket_policy(Bucket=bucket, Policy=text)
        assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    s3.delete_bucket_policy(Bucket=bucket)


def test_the_account(iam, identities, user):
    summary = iam.get_account_summary()["SummaryMap"]
    assert summary["Users"] >= 1 and summary["UsersQuota"] == 5000
    details = iam.get_account_authorization_details(Filter=["User"])
    assert user.name in [entry["UserName"] for entry in details["UserDetailList"]]
    assert details["RoleDetailList"] == []
    assert iam.list_account_aliases()["AccountAliases"] == []
    iam.create_account_alias(AccountAlias="vault")
    assert iam.list_account_aliases()["AccountAliases"] == ["vault"]
    iam.delete_account_alias(AccountAlias="vault")


def test_the_command_line(server, identities):
    name = identities.name("cli")
    made = server.aws("iam", "create-user", "--user-name", name).json["User"]
    assert server.aws("iam", "get-user", "--user-name", name).json["User"]["UserId"] == made["UserId"]
    refusal = server.aws("iam", "create-user", "--user-name", name, check=False)
    assert refusal.returncode != 0 and "(EntityAlreadyExists)" in refusal.stderr
    server.aws("iam", "delete-user", "--user-name", name)
    assert server.aws("sts", "get-caller-identity").json["Arn"].endswith(":root")


def test_unknown_and_unsigned_requests(server, iam):
    done = server.curl("--data", "Action=MakeCoffee&Version=2010-05-08", server.url, service="iam")
    assert "<Code>InvalidAction</Code>" in done.stdout
    assert "Could not find operation MakeCoffee for version 2010-05-08" in done.stdout
    for version, named in (("", "NO_VERSION_SPECIFIED"), ("&Version=2011-06-15", "2011-06-15")):
        done = server.curl("--data", f"Action=ListUsers{version}", server.url, service="iam")
        assert f"Could not find operation ListUsers for version {named}" in done.stdout, done.stdout
    done = server.curl("--data", "Action=GetCallerIdentity&Version=2010-05-08", server.url, service="sts")
    assert "Could not find operation GetCallerIdentity for version 2010-05-08" in done.stdout
    done = server.curl("--data", "Action=ListUsers&Version=2010-05-08", server.url, sign=False)
    assert "<Code>MissingAuthenticationToken</Code>" in done.stdout
    with refused("InvalidAction", 400):
        iam.create_virtual_mfa_device(VirtualMFADeviceName="x")
    with refused("SignatureDoesNotMatch", 403):
        server.client("iam", aws_secret_access_key="wrong").list_users()
    with refused("InvalidClientTokenId", 403):
        server.client("iam", aws_access_key_id="AKIAUNKNOWNUNKNOWN12").list_users()


AT_LEAST = "failed to satisfy constraint: Member must have length greater than or equal to"


def test_parameters_are_held_to_the_model(server, iam, identities, user):
    lax = server.client("iam", config=Config(parameter_validation=False))
    with refused("ValidationError", 400, "ARN longpolicynamebutnoarn is not valid."):
        iam.attach_user_policy(UserName=user.name, PolicyArn="longpolicynamebutnoarn")
    with refused("InvalidInput", 400):
        iam.attach_user_policy(UserName=user.name, PolicyArn=user.arn)
    missing = f"{user.arn.split(':user')[0]}:policy/none"
    with refused("NoSuchEntity", 404, f"Policy {missing} does not exist or is not attachable."):
        iam.attach_user_policy(UserName=user.name, PolicyArn=missing)
    with refused("ValidationError", 400, f"1 validation error detected: Value at 'policyArn' {AT_LEAST} 20"):
        lax.attach_user_policy(UserName=user.name, PolicyArn="x")
    with refused("ValidationError", 400, f"1 validation error detected: Value at 'userName' {AT_LEAST} 1"):
        lax.list_access_keys(UserName="")
    with refused("ValidationError", 400, f"1 validation error detected: Value at 'accessKeyId' {AT_LEAST} 16"):
        lax.get_access_key_last_used(AccessKeyId="AKIA")
    text = r"1 validation error detected: Value at 'pathPrefix' failed to satisfy constraint: Member must satisfy regular expression pattern: \u002F[\u0021-\u007F]*"
    with refused("ValidationError", 400, text):
        iam.list_users(PathPrefix="x")
    text = "1 validation error detected: Value at 'tags.2.member.value' failed to satisfy constraint: Member must not be null"
    with refused("ValidationError", 400, text):
        lax.tag_user(UserName=user.name, Tags=[{"Key": "a", "Value": ""}, {"Key": "b"}])
    for broken in ("{", "x", '{"Statement": []} x'):
        with refused("MalformedPolicyDocument", 400, "This policy contains invalid Json"):
            iam.create_role(RoleName=identities.name("role"), AssumeRolePolicyDocument=broken)


def test_identities_survive_a_kill(new_server):
    server = new_server()
    iam = server.client("iam")
    iam.create_user(UserName="alice")
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    iam.attach_user_policy(UserName="alice", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    server.kill()
    secret = key["SecretAccessKey"].encode()
    assert not any(secret in path.read_bytes() for path in server.files()), "secrets are sealed"
    server.start()
    s3 = server.client("s3", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert status_of(s3.create_bucket(Bucket="of-alice")) == 200
    assert key["SecretAccessKey"] not in server.log_text()


def test_the_audit_names_the_user(server, iam, identities, user):
    cloudtrail = server.client("cloudtrail")
    own = identities.client("cloudtrail", user)
    with refused("AccessDeniedException", 400):
        own.lookup_events()
    look = [{"AttributeKey": "AccessKeyId", "AttributeValue": user.key}]
    event = json.loads(cloudtrail.lookup_events(LookupAttributes=look)["Events"][0]["CloudTrailEvent"])
    identity = event["userIdentity"]
    assert (identity["type"], identity["arn"], identity["userName"]) == ("IAMUser", user.arn, user.name)
    assert identity["principalId"] == user.id and event["errorCode"] == "AccessDeniedException"
    look = [{"AttributeKey": "EventName", "AttributeValue": "CreateAccessKey"}]
    made = json.loads(cloudtrail.lookup_events(LookupAttributes=look)["Events"][0]["CloudTrailEvent"])
    assert made["eventSource"] == "iam.amazonaws.com" and made["requestParameters"] == {"userName": user.name}
    shown = made["responseElements"]["accessKey"]
    assert shown["accessKeyId"] == user.key and "secretAccessKey" not in shown


def test_who_guesses_is_slowed_down(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text("[limits]\nfailed_signatures = 5\n")
    server = new_server(arguments=["--config", str(config)])
    wrong = server.client("s3", aws_secret_access_key="wrong")
    for _ in range(5):
        with refused("SignatureDoesNotMatch", 403):
            wrong.list_buckets()
    with refused("SlowDown", 503):
        wrong.list_buckets()
    with refused("ThrottlingException", 400):
        server.client("kms", aws_secret_access_key="wrong").list_keys()
    with refused("Throttling", 400):
        server.client("sts", aws_access_key_id="AKIAUNKNOWNUNKNOWN12").get_caller_identity()


def test_the_servers_own_command(server, tmp_path, identities):
    name, group, role = identities.name("own"), identities.name("own"), identities.name("own")
    strongroom = server.strongroom
    arn = strongroom("iam", "user", "create", name).stdout.strip()
    assert arn.endswith(f":user/{name}") and name in strongroom("iam", "user", "list").stdout
    strongroom("iam", "policy", "attach", "AmazonS3ReadOnlyAccess", "--user", name)
    lines = dict(line.split(" = ") for line in strongroom("iam", "key", "create", name).stdout.splitlines())
    key = lines["aws_access_key_id"]
    s3 = server.client("s3", aws_access_key_id=key, aws_secret_access_key=lines["aws_secret_access_key"])
    s3.list_buckets()
    strongroom("iam", "key", "disable", name, key)
    with refused("InvalidAccessKeyId", 403):
        s3.list_buckets()
    assert "Inactive" in strongroom("iam", "key", "list", name).stdout
    strongroom("iam", "key", "delete", name, key)
    strongroom("iam", "group", "create", group)
    strongroom("iam", "group", "add", group, name)
    assert name in strongroom("iam", "group", "show", group).stdout
    strongroom("iam", "group", "remove", group, name)
    strongroom("iam", "group", "delete", group)
    file = tmp_path / "policy.json"
    file.write_text(document(allow("s3:*", "*")))
    strongroom("iam", "policy", "put", "--user", name, "inline", file)
    policy = strongroom("iam", "policy", "create", identities.name("own"), file).stdout.strip()
    assert json.loads(strongroom("iam", "policy", "show", policy).stdout) == json.loads(file.read_text())
    second = document(allow("s3:PutObject", "*"))
    identities.iam.create_policy_version(PolicyArn=policy, PolicyDocument=second, SetAsDefault=True)
    assert json.loads(strongroom("iam", "policy", "show", policy).stdout) == json.loads(second), "its default version"
    first = strongroom("iam", "policy", "show", policy, "--version", "v1").stdout
    assert json.loads(first) == json.loads(file.read_text())
    identities.iam.delete_policy_version(PolicyArn=policy, VersionId="v1")
    strongroom("iam", "policy", "delete", policy)
    listed = strongroom("iam", "policy", "list", "--user", name).stdout
    assert "inline" in listed and "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess" in listed
    inline = strongroom("iam", "policy", "show", "inline", "--user", name).stdout
    assert json.loads(inline) == json.loads(file.read_text())
    strongroom("iam", "policy", "delete", "inline", "--user", name)
    assert "(inline)" not in strongroom("iam", "policy", "list", "--user", name).stdout
    trusted = tmp_path / "trust.json"
    trusted.write_text(trust({"AWS": arn}))
    assert strongroom("iam", "role", "create", role, "--trust", trusted).stdout.strip().endswith(f":role/{role}")
    assert strongroom("iam", "role", "show", role, "--json").json["Role"]["RoleName"] == role
    strongroom("iam", "role", "delete", role)
    refusal = strongroom("iam", "user", "delete", name, check=False)
    assert refusal.returncode == 1 and "DeleteConflict: Cannot delete entity, must detach all policies first." in refusal.stderr
    strongroom("iam", "policy", "detach", "AmazonS3ReadOnlyAccess", "--user", name)
    strongroom("iam", "user", "delete", name)


def test_what_policies_would_say(iam, identities, user, account):
    listing = allow("s3:ListBucket", "arn:aws:s3:::vault", Condition={"StringLike": {"s3:prefix": "public/*"}})
    never = {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(listing, never))
    iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    names = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    results = iam.simulate_principal_policy(
        PolicySourceArn=user.arn, ActionNames=names, ResourceArns=["arn:aws:s3:::vault/k"]
    )["EvaluationResults"]
    assert [result["EvalDecision"] for result in results] == ["allowed", "implicitDeny", "explicitDeny"]
    assert [result["EvalActionName"] for result in results] == names
    assert results[0]["MatchedStatements"][0]["SourcePolicyId"] == "AmazonS3ReadOnlyAccess"
    assert results[2]["MatchedStatements"][0]["SourcePolicyId"] == f"user_{user.name}_p"
    assert results[0]["ResourceSpecificResults"][0]["MissingContextValues"] == ["s3:prefix"]
    asked = {"PolicyInputList": [document(listing)], "ActionNames": ["s3:ListBucket"], "ResourceArns": ["arn:aws:s3:::vault"]}
    entry = {"ContextKeyName": "s3:prefix", "ContextKeyType": "string"}
    for prefix, decision in (("public/x", "allowed"), ("secret/x", "implicitDeny")):
        entries = [entry | {"ContextKeyValues": [prefix]}]
        result = iam.simulate_custom_policy(ContextEntries=entries, **asked)["EvaluationResults"][0]
        assert result["EvalDecision"] == decision
    bounded = iam.simulate_custom_policy(
        PermissionsBoundaryPolicyInputList=[document(allow("kms:*", "*"))],
        ContextEntries=[entry | {"ContextKeyValues": ["public/x"]}],
        **asked,
    )["EvaluationResults"][0]
    assert bounded["EvalDecision"] == "implicitDeny"
    assert bounded["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    keys = iam.get_context_keys_for_principal_policy(PolicySourceArn=user.arn)["ContextKeyNames"]
    assert keys == ["s3:prefix"]
    with refused("NoSuchEntity", 404):
        iam.simulate_principal_policy(PolicySourceArn=f"arn:aws:iam::{account}:user/nobody", ActionNames=names)
    with refused("InvalidInput", 400):
        iam.simulate_custom_policy(PolicyInputList=["{}"], ActionNames=names)


def test_the_root_is_an_identity_of_the_account(server, iam):
    """With a date, and with its use; its key is the operator's to make."""
    root = iam.get_user()["User"]
    assert root["CreateDate"] <= datetime.datetime.now(datetime.UTC)
    key = iam.list_access_keys()["AccessKeyMetadata"][0]
    assert (key["AccessKeyId"], key["CreateDate"]) == (server.access_key, root["CreateDate"])
    used = iam.get_access_key_last_used(AccessKeyId=server.access_key)["AccessKeyLastUsed"]
    assert used["ServiceName"] == "iam" and "LastUsedDate" in used
    for call in (
        iam.create_access_key,
        lambda: iam.delete_access_key(AccessKeyId=server.access_key),
        lambda: iam.update_access_key(AccessKeyId=server.access_key, Status="Inactive"),
    ):
        with refused("InvalidInput", 400) as refusal:
            call()
        assert "operator" in refusal.message


def test_what_there_is_none_of_is_answered(iam, account, user):
    """Reads and clean-up calls of clients such as Terraform, as AWS answers where there is nothing."""
    for name, member, parameters in (
        ("list_ssh_public_keys", "SSHPublicKeys", {"UserName": user.name}),
        ("list_signing_certificates", "Certificates", {"UserName": user.name}),
        ("list_service_specific_credentials", "ServiceSpecificCredentials", {"UserName": user.name}),
        ("list_mfa_devices", "MFADevices", {"UserName": user.name}),
        ("list_virtual_mfa_devices", "VirtualMFADevices", {}),
        ("list_saml_providers", "SAMLProviderList", {}),
        ("list_server_certificates", "ServerCertificateMetadataList", {}),
        ("list_account_aliases", "AccountAliases", {}),
    ):
        assert getattr(iam, name)(**parameters)[member] == [], name
        if parameters:
            with refused("NoSuchEntity", 404, "The user with name nobody cannot be found."):
                getattr(iam, name)(UserName="nobody")
    for call in (iam.get_login_profile, iam.delete_login_profile):
        with refused("NoSuchEntity", 404, f"Login Profile for User {user.name} cannot be found."):
            call(UserName=user.name)
    with refused("NoSuchEntity", 404, f"The Password Policy with domain name {account} cannot be found."):
        iam.get_account_password_policy()
    with refused("NoSuchEntity", 404, "The account policy with name PasswordPolicy cannot be found."):
        iam.delete_account_password_policy()


MANAGED = "Policy document must be version 2012-10-17 or greater."


@pytest.mark.parametrize(
    "change, text",
    [
        ({"Version": "2008-10-17"}, MANAGED),
        ({"Statement": []}, "Syntax errors in policy."),
        ({"Statement": allow("s3:*", "*", NotAction="s3:Get*")}, "Syntax errors in policy."),
        ({"Statement": allow("s3:*", "*") | {"Effect": "allow"}}, "The policy failed legacy parsing"),
        ({"Statement": allow([], "*")}, "Policy statement must contain actions."),
        ({"Statement": allow("my s3:*", "*")}, "Vendor my s3 is not valid"),
        ({"Statement": allow("s3:*", "arn:aws:*:*:*:b")}, "Resource vendor must be fully qualified and cannot contain regexes."),
        ({"Statement": allow("s3:*", "arn:mars:s3:::b")}, 'Partition "mars" is not valid for resource "arn:mars:s3:::b".'),
    ],
)
def test_documents_are_refused_in_iams_words(iam, identities, user, change, text):
    malformed = json.dumps({"Version": "2012-10-17", "Statement": allow("s3:*", "*")} | change)
    with refused("MalformedPolicyDocument", 400, text):
        iam.create_policy(PolicyName=identities.name(), PolicyDocument=malformed)
    if text == MANAGED:
        iam.put_user_policy(UserName=user.name, PolicyName="old", PolicyDocument=malformed)
        return
    with refused("MalformedPolicyDocument", 400, text):
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=malformed)


def test_a_simulation_has_its_caller(iam, account, identities):
    """As if the caller had the source's policies; a resource's policy needs somebody to name."""
    caller, group = identities.user(keys=False), identities.group()
    named = {"Effect": "Allow", "Principal": {"AWS": caller.arn}, "Action": "s3:GetObject"}
    policy = document(named | {"Resource": "arn:aws:s3:::vault/*"})
    asked = {"ActionNames": ["s3:GetObject"], "ResourceArns": ["arn:aws:s3:::vault/k"], "ResourcePolicy": policy}
    source = {"PolicySourceArn": f"arn:aws:iam::{account}:group/{group}"}

    def decision(call, **more):
        return call(**asked, **more)["EvaluationResults"][0]["EvalDecision"]

    custom = {"PolicyInputList": [document(allow("s3:ListBucket", "*"))]}
    assert decision(iam.simulate_principal_policy, CallerArn=caller.arn, **source) == "allowed"
    assert decision(iam.simulate_custom_policy, CallerArn=caller.arn, **custom) == "allowed"
    assert decision(iam.simulate_principal_policy, PolicySourceArn=caller.arn) == "allowed"
    assert decision(iam.simulate_principal_policy, CallerArn=caller.arn + "x", **source) == "implicitDeny"
    assert decision(iam.simulate_principal_policy, **source) == "implicitDeny", "a group is a caller, whom nothing names"
    with refused("InvalidInput", 400):
        iam.simulate_custom_policy(**asked, **custom)
    for call, given in ((iam.simulate_principal_policy, source), (iam.simulate_custom_policy, custom)):
        assert decision(call, CallerArn=f"arn:aws:iam::{account}:role/r", **given) == "implicitDeny"
        with refused("InvalidInput", 400):
            call(CallerArn=f"arn:aws:sts::{account}:assumed-role/r/s", **asked, **given)
        for action in ("s3:*", "s3:Get?bject", "GetObject"):
            with refused("InvalidInput", 400):
                call(ActionNames=[action], **given)


def test_a_simulation_tells_where_and_what_for(iam):
    """The places of statements as AWS's own examples have them, and keys as the policies write them."""
    condition = {"DateGreaterThan": {"aws:CurrentTime": "2018-08-16T12:00:00Z"}}
    statement = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*", "Condition": condition}
    text = json.dumps({"Version": "2012-10-17", "Statement": statement}, separators=(",", ":"))
    entry = {"ContextKeyName": "aws:CurrentTime", "ContextKeyValues": ["2019-04-25T11:00:00Z"], "ContextKeyType": "date"}
    result = iam.simulate_custom_policy(
        PolicyInputList=[text], ActionNames=["dynamodb:CreateBackup"], ContextEntries=[entry]
    )["EvaluationResults"][0]
    matched = result["MatchedStatements"][0]
    assert (matched["StartPosition"], matched["EndPosition"]) == ({"Line": 1, "Column": 38}, {"Line": 1, "Column": 167})
    home = "arn:aws:s3:::b/${aws:username}/${aws:PrincipalTag/Site, 'x'}"
    like = {"StringLike": {"s3:Prefix": "${aws:PrincipalTag/Team}", "aws:UserName": "*"}}
    policies = [document(allow("s3:*", home, Condition=like))]
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=policies)["ContextKeyNames"]
    assert sorted(keys, key=str.lower) == ["aws:PrincipalTag/Site", "aws:PrincipalTag/Team", "aws:UserName", "s3:Prefix"]
    missing = iam.simulate_custom_policy(PolicyInputList=policies, ActionNames=["s3:GetObject"])["EvaluationResults"][0]
    wanted = ["aws:PrincipalTag/Team", "aws:UserName", "s3:Prefix"]
    assert sorted(missing["MissingContextValues"], key=str.lower) == wanted


def test_a_decision_is_explained(server, s3, kms, iam, identities, user, bucket):
    """`strongroom policy explain`: the user's, the bucket's and the key's policies together."""
    iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    method = "s3:x-amz-server-side-encryption"
    deny = {"Sid": "encrypted", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject"}
    deny |= {"Resource": f"arn:aws:s3:::{bucket}/*", "Condition": {"StringNotEquals": {method: "aws:kms"}}}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(deny))

    def explain(action, resource, *more, json=True):
        arguments = ["--principal", user.arn, "--action", action, "--resource", resource, *more]
        return server.strongroom("policy", "explain", *arguments, *(["--json"] if json else []), check=False)

    put = ("s3:PutObject", f"arn:aws:s3:::{bucket}/k")
    answer = explain(*put)
    assert (answer.returncode, answer.json["decision"]) == (1, "explicitDeny")
    assert answer.json["reason"] == "with an explicit deny in a resource-based policy"
    decisive = [statement for statement in answer.json["statements"] if statement["decisive"]]
    assert [(s["effect"], s["sid"]) for s in decisive] == [("Deny", "encrypted")]
    answer = explain(*put, "--context", f"{method}=aws:kms")
    assert (answer.returncode, answer.json["decision"]) == (0, "allowed")
    assert answer.json["statements"][0]["policy"].endswith("AmazonS3FullAccess")
    text = explain(*put, json=False).stdout
    assert text.startswith("DENIED: with an explicit deny in a resource-based policy") and "(encrypted)" in text
    key = kms.create_key()["KeyMetadata"]["Arn"]
    assert explain("kms:Decrypt", key).json["reason"] == "because no identity-based policy allows the kms:Decrypt action"
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(allow("kms:Decrypt", key)))
    assert explain("kms:Decrypt", key).json["decision"] == "allowed"
    nobody = server.strongroom(
        "policy", "explain", "--principal", user.arn + "x", "--action", "s3:GetObject", "--resource", "*", check=False
    )
    # No decision is not a refusal.
    assert nobody.returncode == 2 and "NoSuchPrincipal" in nobody.stderr
    for action in ("s3:GetObjekt", "s3:*", "GetObject", "kms:ReEncrypt", "ec2:RunInstances"):
        answer = explain(action, "*")
        assert answer.returncode == 2 and f"NoSuchAction: there is no action {action}" in answer.stderr
    for resource in ("garbage", "arn:aws:s3", f"{bucket}/k"):
        answer = explain("s3:GetObject", resource)
        assert answer.returncode == 2 and "is not the ARN of a resource" in answer.stderr
    for action in ("kms:reencryptfrom", "iam:PassRole", "sts:AssumeRole", "cloudtrail:LookupEvents"):
        assert explain(action, "*").json["decision"] == "implicitDeny"
    assert explain("strongroom:ExplainPolicy", "*").returncode == 1
