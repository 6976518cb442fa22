"""What might be mistaken for a permission to use a key: names, members by their older names, constraints that constrain nothing."""

import json

import pytest
from botocore import xform_name as snake

from support.calls import body_of, refused
from support.data import base64_text
from support.identities import Identities, allow, document, trust

SERVICE = "me.amazonaws.com"


@pytest.fixture(scope="module")
def account(server):
    return server.client("sts").get_caller_identity()["Account"]


@pytest.fixture
def identities(server):
    made = Identities(server)
    yield made
    made.clean()


@pytest.fixture
def user(identities):
    """user(statement, ...): a client maker of a user with this policy."""

    def make(*statements):
        user = identities.user()
        identities.iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))
        return lambda service: identities.client(service, user)

    return make


def statement(effect, principal, action, **more):
    return {"Effect": effect, "Principal": {"AWS": principal}, "Action": action, "Resource": "*"} | more


def put_policy(kms, key, account, *statements):
    root = statement("Allow", f"arn:aws:iam::{account}:root", "kms:*")
    kms.put_key_policy(KeyId=key["KeyId"], Policy=document(root, *statements))


@pytest.mark.parametrize("session", ["me", SERVICE])
def test_no_session_is_a_service_by_its_name(server, kms, key, identities, user, account, session):
    role = identities.role(trust({"AWS": account}))
    identities.iam.put_role_policy(
        RoleName=role["RoleName"], PolicyName="p", PolicyDocument=document(allow("kms:*", "*"))
    )
    everybody = statement("Allow", "*", "kms:Encrypt", Condition={"StringEquals": {"kms:CallerAccount": account}})
    put_policy(kms, key, account, everybody, statement("Deny", role["Arn"], "kms:Decrypt"))
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    sts = user(allow("sts:AssumeRole", "*"))("sts")

    def assume(**options):
        credentials = sts.assume_role(RoleArn=role["Arn"], RoleSessionName=session, **options)["Credentials"]
        return server.client(
            "kms",
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    with refused("AccessDeniedException", 400):
        assume().decrypt(CiphertextBlob=blob)
    with refused("AccessDeniedException", 400):
        assume(Policy=document(allow("s3:*", "*"))).encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    # What the account's own policies let it, it may as under any other name.
    assume().generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")


@pytest.mark.parametrize("member", ["KeySpec", "CustomerMasterKeySpec"])
@pytest.mark.parametrize("condition", ["kms:KeySpec", "kms:CustomerMasterKeySpec"])
def test_a_keys_spec_has_two_names(user, member, condition):
    maker = user(allow("kms:CreateKey", "*", Condition={"StringEquals": {condition: "SYMMETRIC_DEFAULT"}}))("kms")
    with refused("AccessDeniedException", 400):
        maker.create_key(KeyUsage="ENCRYPT_DECRYPT", **{member: "RSA_2048"})


def test_a_grant_is_constrained_by_pairs(kms, key, user, account):
    granter = user(
        allow("kms:CreateGrant", "*", Condition={"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}})
    )("kms")
    grant = {"KeyId": key["KeyId"], "GranteePrincipal": f"arn:aws:iam::{account}:root", "Operations": ["Decrypt"]}
    with refused("AccessDeniedException", 400):
        granter.create_grant(**grant, Constraints={})
    for name in ("EncryptionContextSubset", "EncryptionContextEquals"):
        with refused("ValidationException", 400):
            kms.create_grant(**grant, Constraints={name: {}})
    granter.create_grant(**grant, Constraints={"EncryptionContextSubset": {"a": "b"}})


def test_a_context_does_not_pass_for_s3s(s3, bucket, shared_key):
    def put(**context):
        return s3.put_object(
            Bucket=bucket,
            Key="k",
            Body=b"x",
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=shared_key["Arn"],
            SSEKMSEncryptionContext=base64_text(json.dumps(context).encode()),
        )

    with refused("InvalidArgument", 400):
        put(**{"AWS:S3:ARN": "arn:aws:s3:::vault/k"})
    put(**{"aws:s3:arn": f"arn:aws:s3:::{bucket}/k", "Team": "blue"})
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"x"


def test_a_denial_of_retiring_holds(kms, key, identities, account):
    retirer = identities.user()
    grant = kms.create_grant(
        KeyId=key["KeyId"],
        GranteePrincipal=f"arn:aws:iam::{account}:root",
        RetiringPrincipal=retirer.arn,
        Operations=["Decrypt"],
    )
    policy = {"UserName": retirer.name, "PolicyName": "p"}
    deny = {"Effect": "Deny", "Action": "kms:RetireGrant", "Resource": "*"}
    identities.iam.put_user_policy(**policy, PolicyDocument=document(deny))
    retire = identities.client("kms", retirer).retire_grant
    with refused("AccessDeniedException", 400):
        retire(GrantToken=grant["GrantToken"])
    identities.iam.delete_user_policy(**policy)
    # In a key's policy it says nothing.
    put_policy(kms, key, account, statement("Deny", retirer.arn, "kms:RetireGrant"))
    retire(GrantToken=grant["GrantToken"])


def test_the_callers_account_is_known_where_no_key_is_named(kms, key, user, account, bucket_names):
    actions = ["kms:CreateKey", "kms:CreateAlias", "kms:DeleteAlias", "kms:ListKeys"]
    for told, code in ((account, None), ("000000000000", "AccessDeniedException")):
        theirs = user(allow(actions, "*", Condition={"StringEquals": {"kms:CallerAccount": told}}))("kms")
        alias = f"alias/{next(bucket_names)}"
        for name, members in (
            ("ListKeys", {}),
            ("CreateAlias", {"AliasName": alias, "TargetKeyId": key["KeyId"]}),
            ("DeleteAlias", {"AliasName": alias}),
        ):
            if code is None:
                getattr(theirs, snake(name))(**members)
            else:
                with refused(code, 400):
                    getattr(theirs, snake(name))(**members)


def test_tags_that_differ_in_case_alone_are_refused(kms, key, user):
    tagger = user(allow("kms:TagResource", "*", Condition={"StringEquals": {"aws:RequestTag/Team": "blue"}}))("kms")
    with refused("TagException", 400):
        tagger.tag_resource(
            KeyId=key["KeyId"], Tags=[{"TagKey": "Team", "TagValue": "blue"}, {"TagKey": "team", "TagValue": "red"}]
        )
    assert kms.list_resource_tags(KeyId=key["KeyId"])["Tags"] == []
