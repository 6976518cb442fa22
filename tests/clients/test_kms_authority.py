"""What might be mistaken for a permission to use a key: names, members by their older names, constraints that constrain nothing."""

import json

import pytest
from botocore import xform_name as snake

from support.calls import body_of, refused
from support.data import base64_text
from support.identities import allow, document, trust

SERVICE = "me.amazonaws.com"


def statement(effect, principal, action, **more):
    return {"Effect": effect, "Principal": {"AWS": principal}, "Action": action, "Resource": "*"} | more


def put_policy(kms, key, account, *statements):
    root = statement("Allow", f"arn:aws:iam::{account}:root", "kms:*")
    kms.put_key_policy(KeyId=key["KeyId"], Policy=document(root, *statements))


@pytest.mark.parametrize("session", ["me", SERVICE])
def test_no_session_is_a_service_by_its_name(server, kms, key, identities, user_with, account, session):
    role = identities.role(trust({"AWS": account}))
    identities.iam.put_role_policy(
        RoleName=role["RoleName"], PolicyName="p", PolicyDocument=document(allow("kms:*", "*"))
    )
    everybody = statement("Allow", "*", "kms:Encrypt", Condition={"StringEquals": {"kms:CallerAccount": account}})
    put_policy(kms, key, account, everybody, statement("Deny", role["Arn"], "kms:Decrypt"))
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    sts = user_with(allow("sts:AssumeRole", "*"))("sts")

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
def test_a_keys_spec_has_two_names(user_with, member, condition):
    maker = user_with(allow("kms:CreateKey", "*", Condition={"StringEquals": {condition: "SYMMETRIC_DEFAULT"}}))("kms")
    with refused("AccessDeniedException", 400):
        maker.create_key(KeyUsage="ENCRYPT_DECRYPT", **{member: "RSA_2048"})


def test_a_grant_is_constrained_by_pairs(kms, key, user_with, account):
    granter = user_with(
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


def test_the_callers_account_is_known_where_no_key_is_named(kms, key, user_with, account, bucket_names):
    actions = ["kms:CreateKey", "kms:CreateAlias", "kms:DeleteAlias", "kms:ListKeys"]
    for told, code in ((account, None), ("111122223333", "AccessDeniedException")):
        theirs = user_with(allow(actions, "*", Condition={"StringEquals": {"kms:CallerAccount": told}}))("kms")
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


def test_tags_that_differ_in_case_alone_are_refused(kms, key, user_with):
    tagger = user_with(allow("kms:TagResource", "*", Condition={"StringEquals": {"aws:RequestTag/Team": "blue"}}))("kms")
    with refused("TagException", 400):
        tagger.tag_resource(
            KeyId=key["KeyId"], Tags=[{"TagKey": "Team", "TagValue": "blue"}, {"TagKey": "team", "TagValue": "red"}]
        )
    assert kms.list_resource_tags(KeyId=key["KeyId"])["Tags"] == []


def test_a_policy_is_judged_by_its_key(kms, key, account):
    """Whoever could not change it again is known by the key's own ARN, spec and tags; what has no effect is taken."""
    root = f"arn:aws:iam::{account}:root"
    own = statement("Allow", root, "kms:*") | {"Resource": key["Arn"]}
    kms.put_key_policy(KeyId=key["KeyId"], Policy=document(own))
    spec = statement("Allow", root, "kms:*", Condition={"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=document(spec))
    other = statement("Allow", root, "kms:*", Condition={"StringEquals": {"kms:KeySpec": "RSA_2048"}})
    with refused("MalformedPolicyDocumentException", 400):
        kms.put_key_policy(KeyId=key["KeyId"], Policy=document(other))
    with refused("MalformedPolicyDocumentException", 400):
        kms.create_key(Policy=document(other))
    made = kms.create_key(Policy=document(spec))["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=7)
    for missing in ("Action", "Resource"):
        lame = {name: value for name, value in statement("Deny", root, "kms:DescribeKey").items() if name != missing}
        put_policy(kms, key, account, lame)
        kms.describe_key(KeyId=key["KeyId"])


def test_a_policy_has_its_length_and_its_characters(kms, key, account):
    root = statement("Allow", f"arn:aws:iam::{account}:root", "kms:*")

    def policy(name):
        return json.dumps({"Version": "2012-10-17", "Id": name, "Statement": [root]}, ensure_ascii=False)

    for text, code in ((policy("x" * 33_000), "LimitExceededException"), (policy("\u4e2d"), "ValidationException")):
        with refused(code, 400):
            kms.put_key_policy(KeyId=key["KeyId"], Policy=text)
        with refused(code, 400):
            kms.create_key(Policy=text)
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy("\u00fc" * 100))
    with refused("NotFoundException", 400):
        kms.get_key_policy(KeyId=key["KeyId"], PolicyName="foo")


def test_a_key_that_will_be_deleted_does_not_rotate(kms):
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=100)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    status = kms.get_key_rotation_status(KeyId=key)
    assert not status["KeyRotationEnabled"] and "NextRotationDate" not in status
    kms.cancel_key_deletion(KeyId=key)
    status = kms.get_key_rotation_status(KeyId=key)
    assert status["KeyRotationEnabled"] and status["RotationPeriodInDays"] == 100
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)


def test_a_key_has_fifty_aliases(kms, bucket_names):
    key, more = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    name = f"alias/{next(bucket_names)}"
    for number in range(50):
        kms.create_alias(AliasName=f"{name}-{number}", TargetKeyId=key)
    kms.create_alias(AliasName=name, TargetKeyId=more)
    with refused("LimitExceededException", 400):
        kms.create_alias(AliasName=f"{name}-50", TargetKeyId=key)
    with refused("LimitExceededException", 400):
        kms.update_alias(AliasName=name, TargetKeyId=key)
    kms.update_alias(AliasName=f"{name}-0", TargetKeyId=key)
    for alias in [name, *(f"{name}-{number}" for number in range(50))]:
        kms.delete_alias(AliasName=alias)
    for one in (key, more):
        kms.schedule_key_deletion(KeyId=one, PendingWindowInDays=7)


def test_aliases_are_listed_by_ones_own_policies(kms, key, identities, user_with, account, bucket_names):
    alias = f"alias/{next(bucket_names)}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    others = identities.user(keys=False).arn
    shut = statement("Allow", others, "kms:*")
    keep = statement("Allow", f"arn:aws:iam::{account}:root", ["kms:PutKeyPolicy", "kms:Describe*", "kms:Schedule*"])
    kms.put_key_policy(KeyId=key["KeyId"], Policy=document(keep, shut))
    listed = user_with(allow("kms:ListAliases", "*"))("kms").list_aliases(KeyId=key["KeyId"])["Aliases"]
    assert [one["AliasName"] for one in listed] == [alias]
    with refused("AccessDeniedException", 400):
        user_with(allow("kms:ListKeys", "*"))("kms").list_aliases(KeyId=key["KeyId"])


def test_tags_are_listed_by_pages_and_their_markers(kms, key):
    keys = sorted(["a", "b", "\u4e2d" * 40, "z"])
    kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": name, "TagValue": "x"} for name in keys])
    listed, more = [], {}
    while True:
        page = kms.list_resource_tags(KeyId=key["KeyId"], Limit=1, **more)
        listed += [tag["TagKey"] for tag in page["Tags"]]
        if not page["Truncated"]:
            break
        more = {"Marker": page["NextMarker"]}
    assert listed == keys
    with refused("InvalidMarkerException", 400):
        kms.list_resource_tags(KeyId=key["KeyId"], Marker="nonsense")
