"""STS: temporary credentials, by role, by oneself, by a web identity; and their end."""

import datetime
import json
import time

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric import rsa

from support import clock
from support.calls import body_of, refused
from support.identities import Identities, allow, document, trust
from support.issuer import Issuer
from support.server import OTHER_ACCOUNT

DATA = b"temporary"
SESSION = "session"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def server(two_account_server, issuer):
    """A server with a second account, that trusts the issuer's certificate."""
    options = f'[sts]\nissuer_authorities = "{issuer.certificate}"\n'
    return two_account_server(more=options)


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture(scope="module")
def kms(server):
    return server.client("kms")


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam")


@pytest.fixture
def user(identities):
    """A user that may assume any role."""
    user = identities.user()
    identities.iam.put_user_policy(
        UserName=user.name, PolicyName="assume", PolicyDocument=document(allow(["sts:*"], "*"))
    )
    return user


@pytest.fixture
def role(identities, account):
    """A role of S3's whole, that its account's users may assume."""
    actions = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
    role = identities.role(trust({"AWS": account}, *actions))
    identities.iam.put_role_policy(
        RoleName=role["RoleName"], PolicyName="s3", PolicyDocument=document(allow("s3:*", "*"))
    )
    return role


def by(server, credentials, service, **options):
    """A client with temporary credentials."""
    return server.client(
        service,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        **options,
    )


@pytest.fixture
def assume(server, identities, user, role):
    def assume(**options):
        sts = identities.client("sts", user)
        return sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION, **options)["Credentials"]

    return assume


def test_a_role_is_assumed(server, kms, identities, user, role, account, bucket):
    sts = identities.client("sts", user)
    answer = sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)
    arn = f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{SESSION}"
    assert answer["AssumedRoleUser"] == {"AssumedRoleId": f"{role['RoleId']}:{SESSION}", "Arn": arn}
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    left = credentials["Expiration"] - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=59) < left <= datetime.timedelta(hours=1)
    who = by(server, credentials, "sts").get_caller_identity()
    assert (who["Arn"], who["UserId"], who["Account"]) == (arn, f"{role['RoleId']}:{SESSION}", account)
    own = by(server, credentials, "s3")
    own.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert body_of(own.get_object(Bucket=bucket, Key="k")) == DATA
    with refused("AccessDeniedException", 400) as refusal:
        by(server, credentials, "kms").create_key()
    assert refusal.message.startswith(f"User: {arn} is not authorized to perform: kms:CreateKey")
    with refused("AccessDenied", 403):
        by(server, credentials, "iam").list_users()


def test_a_role_tells_when_it_was_used_last(server, iam, role, assume):
    assert iam.get_role(RoleName=role["RoleName"])["Role"]["RoleLastUsed"] == {}
    credentials = assume()
    assert iam.get_role(RoleName=role["RoleName"])["Role"]["RoleLastUsed"] == {}, "assuming is no use yet"
    by(server, credentials, "s3").list_buckets()
    used = iam.get_role(RoleName=role["RoleName"])["Role"]["RoleLastUsed"]
    assert datetime.datetime.now(datetime.UTC) - used["LastUsedDate"] < datetime.timedelta(minutes=2)
    assert used["Region"] == server.region
    details = iam.get_account_authorization_details(Filter=["Role"])["RoleDetailList"]
    assert [entry["RoleLastUsed"] for entry in details if entry["RoleName"] == role["RoleName"]] == [used]


def test_assuming_a_role_is_in_the_roles_log_and_the_callers(server, iam, identities, user, role):
    stranger = Identities(server.other)
    other = stranger.user()
    assume = document(allow("sts:AssumeRole", "*"))
    stranger.iam.put_user_policy(UserName=other.name, PolicyName="p", PolicyDocument=assume)
    arn = role["Arn"]
    iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=trust({"AWS": [user.arn, other.arn]}))
    for client in (identities.client("sts", user), stranger.client("sts", other)):
        client.assume_role(RoleArn=arn, RoleSessionName=SESSION)
    by_role = [{"AttributeKey": "ResourceName", "AttributeValue": arn}]

    def told(endpoint):
        found = endpoint.client("cloudtrail").lookup_events(LookupAttributes=by_role)["Events"]
        return [json.loads(event["CloudTrailEvent"]) for event in found if event["EventName"] == "AssumeRole"]

    across, own = told(server)
    # Who it was is the other account's affair.
    assert across["userIdentity"] == {"type": "AWSAccount", "principalId": other.id, "accountId": OTHER_ACCOUNT}
    assert own["resources"] == [{"ARN": arn, "accountId": own["recipientAccountId"], "type": "AWS::IAM::Role"}]
    assert "sharedEventID" not in own
    [callers] = told(server.other)
    assert callers["sharedEventID"] == across["sharedEventID"] and callers["eventID"] != across["eventID"]
    assert (across["recipientAccountId"], callers["recipientAccountId"]) == (own["recipientAccountId"], OTHER_ACCOUNT)
    stranger.clean()


def test_parameters_are_held_to_the_model(server, identities, user, role):
    sts = identities.client("sts", user, config=Config(parameter_validation=False))

    def assume(**options):
        return sts.assume_role(**({"RoleArn": role["Arn"], "RoleSessionName": SESSION} | options))

    text = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    with refused("InvalidParameterValue", 400, text):
        assume(Tags=[{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}])
    one, failed = "1 validation error detected: ", "failed to satisfy constraint: Member must"
    for options, told in [
        ({"RoleArn": "nothing-valid-in-here"}, "nothing-valid-in-here is invalid"),
        ({"RoleArn": "x"}, f"{one}Value 'x' at 'roleArn' {failed} have length greater than or equal to 20"),
        ({"ExternalId": "x"}, f"{one}Value 'x' at 'externalId' {failed} have length greater than or equal to 2"),
        (
            {"RoleSessionName": "Session1:2"},
            rf"{one}Value 'Session1:2' at 'roleSessionName' {failed} satisfy regular expression pattern: [\w+=,.@-]*",
        ),
        (
            {"RoleSessionName": " "},
            rf"2 validation errors detected: Value ' ' at 'roleSessionName' {failed} have length greater than or equal to 2; "
            rf"Value ' ' at 'roleSessionName' {failed} satisfy regular expression pattern: [\w+=,.@-]*",
        ),
    ]:
        with refused("ValidationError", 400, told):
            assume(**options)


def test_presigned_urls_of_a_session(server, assume, bucket):
    own = by(server, assume(), "s3")
    own.put_object(Bucket=bucket, Key="k", Body=DATA)
    presigner = by(server, assume(), "s3", config=Config(signature_version="s3v4"))
    url = presigner.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert "X-Amz-Security-Token" in url
    assert server.curl(url, sign=False).stdout == DATA.decode()
    assert "<Code>InvalidAccessKeyId</Code>" in server.curl(url.replace("X-Amz-Security-Token", "x"), sign=False).stdout


def test_who_may_not(server, iam, identities, user, role, account):
    with refused("AccessDenied", 403, "Roles may not be assumed by root accounts."):
        server.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)
    stranger = identities.user()
    sts = identities.client("sts", stranger)
    text = f"User: {stranger.arn} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}"
    with refused("AccessDenied", 403, text):
        sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)
    iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=trust({"AWS": stranger.arn}))
    assert sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)["Credentials"], "named by the trust policy"
    with refused("AccessDenied", 403):
        identities.client("sts", user).assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)
    with refused("AccessDenied", 403):
        sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/nobody", RoleSessionName=SESSION)
    with refused("ValidationError", 400):
        sts.assume_role(RoleArn=role["Arn"], RoleSessionName="a b")
    with refused("ValidationError", 400):
        sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION, DurationSeconds=7200)


def test_a_role_is_told_by_its_tags_and_its_account(iam, identities, role, account):
    iam.tag_role(RoleName=role["RoleName"], Tags=[{"Key": "project", "Value": "pegasus"}])
    user = identities.user(Tags=[{"Key": "project", "Value": "pegasus"}])
    sts = identities.client("sts", user)
    assume = lambda: sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)

    def give(*statements):
        iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))

    for condition, wanted in [
        ({"aws:ResourceTag/project": "${aws:PrincipalTag/project}"}, True),
        ({"iam:ResourceTag/project": "pegasus"}, True),
        ({"aws:ResourceAccount": account}, True),
        ({"aws:ResourceTag/project": "unicorn"}, False),
        ({"aws:ResourceAccount": "999999999999"}, False),
    ]:
        give(allow("sts:AssumeRole", role["Arn"], Condition={"StringEquals": condition}))
        if wanted:
            assume()
        else:
            with refused("AccessDenied", 403):
                assume()
    tagged = {"StringEquals": {"aws:ResourceTag/project": "pegasus"}}
    give(allow("sts:AssumeRole", "*"), allow("sts:*", "*", Condition=tagged) | {"Effect": "Deny"})
    with refused("AccessDenied", 403):
        assume()


def test_nobody_is_trusted_by_exception(iam, role, account):
    for effect in ("Allow", "Deny"):
        statement = {"Effect": effect, "NotPrincipal": {"AWS": account}, "Action": "sts:AssumeRole"}
        with refused("MalformedPolicyDocument", 400, "Has prohibited field NotPrincipal"):
            iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=document(statement))


def test_an_external_id(identities, user, iam, role, account):
    only = trust({"AWS": account}, Condition={"StringEquals": {"sts:ExternalId": "secret-word"}})
    iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=only)
    sts = identities.client("sts", user)
    for options in ({}, {"ExternalId": "other"}):
        with refused("AccessDenied", 403):
            sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION, **options)
    assert sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION, ExternalId="secret-word")["Credentials"]


def test_session_policies_bound(server, assume, bucket):
    policy = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    own = by(server, assume(Policy=policy), "s3")
    with refused("AccessDenied", 403) as refusal:
        own.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert refusal.message.endswith("because no session policy allows the s3:PutObject action")
    by(server, assume(), "s3").put_object(Bucket=bucket, Key="k", Body=DATA)
    assert body_of(own.get_object(Bucket=bucket, Key="k")) == DATA
    arns = [{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]
    own = by(server, assume(PolicyArns=arns), "s3")
    assert body_of(own.get_object(Bucket=bucket, Key="k")) == DATA
    with refused("AccessDenied", 403):
        own.put_object(Bucket=bucket, Key="k", Body=DATA)
    with refused("MalformedPolicyDocument", 400):
        assume(Policy="{}")


def test_arns_that_are_no_roles(iam, identities, account):
    user = identities.user()
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(allow("sts:*", "*")))
    sts = identities.client("sts", user)
    for arn in ("nothing-valid-in-here", "arn:a:::something/test-role", f"arn:aws:iam::{account}x:role/r", f"arn:aws:s3::{account}:role/r"):
        with refused("ValidationError", 400) as refusal:
            sts.assume_role(RoleArn=arn, RoleSessionName="session")
        assert refusal.message == f"{arn} is invalid"
    with refused("ValidationError", 400) as refusal:
        sts.assume_role(RoleArn=f"arn:aws:iam::{account}:user/{user.name}", RoleSessionName="session")
    assert refusal.message == "Request ARN is invalid"
    # No account has such a number; AWS refuses it as any role that is not there.
    arn = "arn:aws:iam::123456789:role/non-existing-role"
    with refused("AccessDenied", 403, f"User: {user.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"):
        sts.assume_role(RoleArn=arn, RoleSessionName="session")


def test_transitive_tags_are_among_the_tags(assume):
    with refused("InvalidParameterValue", 400) as refusal:
        assume(Tags=[{"Key": "team", "Value": "blue"}], TransitiveTagKeys=["other"])
    assert refusal.message == "The specified transitive tag key must be included in the requested tags."


def test_session_tags_and_chains(server, iam, identities, role, assume, account, bucket):
    tagged = allow("s3:*", "*", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="s3", PolicyDocument=document(tagged, allow("sts:*", "*")))
    with refused("AccessDenied", 403):
        by(server, assume(), "s3").list_objects_v2(Bucket=bucket)
    tags = {"Tags": [{"Key": "team", "Value": "blue"}], "TransitiveTagKeys": ["team"]}
    first = assume(SourceIdentity="alice", **tags)
    by(server, first, "s3").list_objects_v2(Bucket=bucket)
    following = identities.role(trust({"AWS": account}, "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"))
    iam.put_role_policy(RoleName=following["RoleName"], PolicyName="s3", PolicyDocument=document(tagged))
    sts = by(server, first, "sts")
    answer = sts.assume_role(RoleArn=following["Arn"], RoleSessionName="second")
    assert answer["SourceIdentity"] == "alice"
    by(server, answer["Credentials"], "s3").list_objects_v2(Bucket=bucket)
    with refused("InvalidParameterValue", 400):
        sts.assume_role(RoleArn=following["Arn"], RoleSessionName="second", Tags=[{"Key": "team", "Value": "red"}])
    iam.update_role(RoleName=following["RoleName"], MaxSessionDuration=7200)
    with refused("ValidationError", 400):
        sts.assume_role(RoleArn=following["Arn"], RoleSessionName="second", DurationSeconds=7200)


def test_tokens_that_are_none(server, assume, identities, user, bucket, key):
    credentials = assume()
    token = credentials["SessionToken"]
    for bad in ("x", token[:-8] + "AAAAAAA=", assume()["SessionToken"]):
        wrong = credentials | {"SessionToken": bad}
        with refused("InvalidToken", 400):
            by(server, wrong, "s3").list_objects_v2(Bucket=bucket)
        with refused("UnrecognizedClientException", 400):
            by(server, wrong, "kms").list_keys()
        with refused("InvalidClientTokenId", 403):
            by(server, wrong, "sts").get_caller_identity()
    without = server.client(
        "s3",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
    )
    with refused("InvalidAccessKeyId", 403):
        without.list_objects_v2(Bucket=bucket)
    with refused("SignatureDoesNotMatch", 403):
        by(server, credentials | {"SecretAccessKey": "x"}, "s3").list_objects_v2(Bucket=bucket)
    long_term = {"AccessKeyId": user.key, "SecretAccessKey": user.secret, "SessionToken": token}
    with refused("InvalidToken", 400):
        by(server, long_term, "s3").list_objects_v2(Bucket=bucket)


@pytest.mark.skipif(clock.compiler() is None, reason="needs a C compiler")
def test_sessions_end(new_server, tmp_path):
    """Every service tells of it in its own way."""
    server = new_server()
    identities = Identities(server)
    admin = identities.user()
    identities.iam.attach_user_policy(UserName=admin.name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    account = server.client("sts").get_caller_identity()["Account"]
    role = identities.role(trust({"AWS": account}))
    name = {"RoleArn": role["Arn"], "RoleSessionName": SESSION}
    identities.iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    server.client("s3").create_bucket(Bucket="vault")
    server.client("s3").put_object(Bucket="vault", Key="k", Body=DATA)
    began = time.monotonic()
    of_role = identities.client("sts", admin).assume_role(DurationSeconds=900, **name)["Credentials"]
    of_user = identities.client("sts", admin).get_session_token(DurationSeconds=900)["Credentials"]
    of_root = server.client("sts").get_session_token(DurationSeconds=900)["Credentials"]
    longer = identities.client("sts", admin).assume_role(DurationSeconds=1200, **name)["Credentials"]
    for credentials in (of_role, of_user, of_root):
        by(server, credentials, "s3").head_bucket(Bucket="vault")

    assert server.stop() == 0
    # As far as signatures of the present time are taken.
    server.extra_environment |= clock.ahead(tmp_path, 890)
    server.start()
    time.sleep(max(0, began + 15 - time.monotonic()))
    for credentials in (of_role, of_user, of_root):
        with refused("ExpiredToken", 400, "The provided token has expired."):
            by(server, credentials, "s3").get_object(Bucket="vault", Key="k")
        with refused("ExpiredTokenException", 400, "The security token included in the request is expired"):
            by(server, credentials, "kms").list_keys()
        for service, call in (("sts", "get_caller_identity"), ("iam", "list_users")):
            with refused("ExpiredToken", 403, "The security token included in the request is expired"):
                getattr(by(server, credentials, service), call)()
    presigner = by(server, of_role, "s3", config=Config(signature_version="s3v4"))
    url = presigner.generate_presigned_url("get_object", Params={"Bucket": "vault", "Key": "k"}, ExpiresIn=7200)
    assert "<Code>ExpiredToken</Code>" in server.curl(url, sign=False).stdout
    assert body_of(by(server, longer, "s3").get_object(Bucket="vault", Key="k")) == DATA


def test_sessions_are_revoked(server, iam, identities, role, assume, bucket):
    """By denying what was issued before, and by deleting the role."""
    before = by(server, assume(), "s3")
    before.list_objects_v2(Bucket=bucket)
    time.sleep(1.1)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    revoke = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:TokenIssueTime": now}}}
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="revoke", PolicyDocument=document(revoke))
    with refused("AccessDenied", 403):
        before.list_objects_v2(Bucket=bucket)
    time.sleep(1.1)
    after = by(server, assume(), "s3")
    after.list_objects_v2(Bucket=bucket)
    name = role["RoleName"]
    for policy in ("revoke", "s3"):
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    with refused("AccessDenied", 403):
        after.list_objects_v2(Bucket=bucket)
    iam.delete_role(RoleName=name)
    with refused("InvalidToken", 400):
        after.list_objects_v2(Bucket=bucket)
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=role["AssumeRolePolicyDocument"] if isinstance(role["AssumeRolePolicyDocument"], str) else json.dumps(role["AssumeRolePolicyDocument"]))["Role"]
    assert made["RoleId"] != role["RoleId"]
    with refused("InvalidToken", 400):
        after.list_objects_v2(Bucket=bucket)


def test_another_account_assumes_by_trust(server, iam, role, account, bucket):
    theirs = Identities(server.other)
    try:
        user = theirs.user()
        sts = theirs.client("sts", user)
        with refused("AccessDenied", 403):
            sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)
        iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=trust({"AWS": OTHER_ACCOUNT}))
        with refused("AccessDenied", 403):
            sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)
        theirs.iam.put_user_policy(
            UserName=user.name, PolicyName="p", PolicyDocument=document(allow("sts:AssumeRole", role["Arn"]))
        )
        credentials = sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)["Credentials"]
        by(server, credentials, "s3").list_objects_v2(Bucket=bucket)
        assert by(server, credentials, "sts").get_caller_identity()["Account"] == account
        with refused("NoSuchEntity", 404):
            theirs.iam.get_role(RoleName=role["RoleName"])
    finally:
        theirs.clean()


def test_session_tokens_of_ones_own(server, identities, user, role, bucket):
    identities.iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    credentials = identities.client("sts", user).get_session_token(DurationSeconds=900)["Credentials"]
    sts = by(server, credentials, "sts")
    assert sts.get_caller_identity()["Arn"] == user.arn
    by(server, credentials, "s3").list_objects_v2(Bucket=bucket)
    assert sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION)["Credentials"]
    with refused("InvalidClientTokenId", 403):
        by(server, credentials, "iam").list_users()
    with refused("AccessDenied", 403, "Cannot call GetSessionToken with session credentials"):
        sts.get_session_token()
    root = server.client("sts").get_session_token()["Credentials"]
    assert by(server, root, "sts").get_caller_identity()["Arn"].endswith(":root")
    by(server, root, "s3").list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("given", [{"SerialNumber": "GAHT12345678"}, {"TokenCode": "123456"}, None])
def test_a_second_factor_is_never_right(identities, user, role, given):
    """Nobody has one, and none is taken for right: neither is ignored."""
    identities.iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    sts = identities.client("sts", user)
    text = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
    if given is None:
        given = {"SerialNumber": "arn:aws:iam::000000000000:mfa/me", "TokenCode": "123456"}
        text = "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and"
    for call in (
        lambda: sts.get_session_token(**given),
        lambda: sts.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION, **given),
    ):
        with refused("AccessDenied", 403) as refusal:
            call()
        assert refusal.message.startswith(text)
    with refused("ValidationError", 400):
        sts.get_session_token(SerialNumber="GAHT12345678", TokenCode="12345x")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_one_is_can_be_asked_by_url(server, account, method):
    """As boto3 presigns it by default, for POST."""
    url = server.client("sts").generate_presigned_url("get_caller_identity", HttpMethod=method)
    answer = server.curl(url, "--request", method, sign=False)
    assert f"<Arn>arn:aws:iam::{account}:root</Arn>" in answer.stdout
    tampered = server.curl(url.replace("GetCallerIdentity", "GetSessionToken"), "--request", method, sign=False)
    assert "<Code>SignatureDoesNotMatch</Code>" in tampered.stdout


def test_federated_users(server, identities, user, account, bucket):
    identities.iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    sts = identities.client("sts", user)
    answer = sts.get_federation_token(Name="bob", Policy=document(allow("s3:ListBucket", "*")))
    arn = f"arn:aws:sts::{account}:federated-user/bob"
    assert answer["FederatedUser"] == {"FederatedUserId": f"{account}:bob", "Arn": arn}
    own = by(server, answer["Credentials"], "s3")
    own.list_objects_v2(Bucket=bucket)
    with refused("AccessDenied", 403):
        own.put_object(Bucket=bucket, Key="k", Body=DATA)
    assert by(server, answer["Credentials"], "sts").get_caller_identity()["Arn"] == arn
    look = [{"AttributeKey": "AccessKeyId", "AttributeValue": answer["Credentials"]["AccessKeyId"]}]
    event = json.loads(server.client("cloudtrail").lookup_events(LookupAttributes=look)["Events"][0]["CloudTrailEvent"])
    assert event["userIdentity"]["sessionContext"]["sessionIssuer"]["principalId"] == user.id
    none = by(server, sts.get_federation_token(Name="bob")["Credentials"], "s3")
    with refused("AccessDenied", 403):
        none.list_objects_v2(Bucket=bucket)


def test_federated_users_have_tags(server, identities, account, bucket):
    """Those of the user who asks, under those that are given, which is a permission of its own."""
    user = identities.user(Tags=[{"Key": "Team", "Value": "blue"}])

    def let(*actions):
        text = document(allow([*actions, "sts:GetFederationToken"], "*"))
        identities.iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=text)

    let("s3:ListBucket")
    sts = identities.client("sts", user)
    bounds = document(allow("s3:ListBucket", "*", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}}))
    by(server, sts.get_federation_token(Name="bob", Policy=bounds)["Credentials"], "s3").list_objects_v2(Bucket=bucket)
    red = {"Name": "bob", "Policy": bounds, "Tags": [{"Key": "team", "Value": "red"}]}
    with refused("AccessDenied", 403) as refusal:
        sts.get_federation_token(**red)
    assert f"perform: sts:TagSession on resource: arn:aws:sts::{account}:federated-user/bob" in refusal.message
    let("s3:ListBucket", "sts:TagSession")
    with refused("AccessDenied", 403):
        by(server, sts.get_federation_token(**red)["Credentials"], "s3").list_objects_v2(Bucket=bucket)


def test_sessions_last_as_long_as_was_asked(identities, user, role):
    credentials = identities.client("sts", user).assume_role(
        RoleArn=role["Arn"], RoleSessionName=SESSION, DurationSeconds=900
    )["Credentials"]
    left = credentials["Expiration"] - datetime.datetime.now(datetime.UTC)
    assert left <= datetime.timedelta(seconds=900)
    lax = identities.client("sts", user, config=Config(parameter_validation=False))
    for seconds in (899, 43_201):
        with refused("ValidationError", 400):
            lax.assume_role(RoleArn=role["Arn"], RoleSessionName=SESSION, DurationSeconds=seconds)


def test_whose_a_key_is(server, identities, user, assume, account):
    sts, other = identities.client("sts", user), server.other.client("sts").get_session_token()["Credentials"]
    owners = {user.key: account, assume()["AccessKeyId"]: account, other["AccessKeyId"]: OTHER_ACCOUNT}
    for key, owner in owners.items():
        assert sts.get_access_key_info(AccessKeyId=key)["Account"] == owner, key
    for key in ("AKIAIOSFODNN7EXAMPLE", "ASIAQNZGKIQY56JQ7WML"):
        with refused("ValidationError", 400):
            sts.get_access_key_info(AccessKeyId=key)


def test_the_audit_names_the_role(server, assume, role, account, bucket, user):
    credentials = assume()
    by(server, credentials, "sts").get_caller_identity()
    look = [{"AttributeKey": "AccessKeyId", "AttributeValue": credentials["AccessKeyId"]}]
    events = server.client("cloudtrail").lookup_events(LookupAttributes=look)["Events"]
    identity = json.loads(events[0]["CloudTrailEvent"])["userIdentity"]
    assert identity["type"] == "AssumedRole" and identity["principalId"] == f"{role['RoleId']}:{SESSION}"
    issuer = identity["sessionContext"]["sessionIssuer"]
    assert (issuer["type"], issuer["arn"], issuer["userName"]) == ("Role", role["Arn"], role["RoleName"])
    assert identity["sessionContext"]["attributes"]["mfaAuthenticated"] == "false"
    log = server.log_text() + "".join(path.read_text(errors="replace") for path in (server.data / "audit").rglob("*.jsonl*"))
    assert credentials["SecretAccessKey"] not in log and credentials["SessionToken"] not in log


def test_the_command_line(server, user, role):
    environment = {"AWS_ACCESS_KEY_ID": user.key, "AWS_SECRET_ACCESS_KEY": user.secret}
    arguments = ["sts", "assume-role", "--role-arn", role["Arn"], "--role-session-name", SESSION]
    credentials = server.aws(*arguments, env=environment).json["Credentials"]
    environment = {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
    assert server.aws("sts", "get-caller-identity", env=environment).json["Arn"].endswith(f"/{SESSION}")
    server.aws("s3", "ls", env=environment)


@pytest.fixture
def provider(iam, issuer):
    made = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=[issuer.AUDIENCE])
    arn = made["OpenIDConnectProviderArn"]
    yield arn
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


@pytest.fixture
def web_role(identities, issuer, provider):
    host = issuer.url.removeprefix("https://")
    condition = {"StringEquals": {f"{host}:aud": issuer.AUDIENCE, f"{host}:sub": "alice"}}
    role = identities.role(
        trust({"Federated": provider}, "sts:AssumeRoleWithWebIdentity", "sts:TagSession", Condition=condition)
    )
    identities.iam.put_role_policy(
        RoleName=role["RoleName"], PolicyName="s3", PolicyDocument=document(allow("s3:*", "*"))
    )
    return role


@pytest.fixture
def with_token(server, web_role):
    """AssumeRoleWithWebIdentity, by a client without credentials."""
    sts = server.client("sts", config=Config(signature_version=UNSIGNED))

    def assume(token, **options):
        arguments = {"RoleArn": web_role["Arn"], "RoleSessionName": SESSION, "WebIdentityToken": token} | options
        return sts.assume_role_with_web_identity(**arguments)

    return assume


def test_a_web_identity_assumes_a_role(server, issuer, with_token, web_role, bucket):
    answer = with_token(issuer.token())
    assert (answer["SubjectFromWebIdentityToken"], answer["Audience"]) == ("alice", issuer.AUDIENCE)
    assert answer["Provider"] == issuer.url
    by(server, answer["Credentials"], "s3").put_object(Bucket=bucket, Key="k", Body=DATA)
    fetched = issuer.fetched
    with_token(issuer.token())
    assert issuer.fetched == fetched, "keys are kept"
    look = [{"AttributeKey": "AccessKeyId", "AttributeValue": answer["Credentials"]["AccessKeyId"]}]
    by(server, answer["Credentials"], "sts").get_caller_identity()
    event = json.loads(server.client("cloudtrail").lookup_events(LookupAttributes=look)["Events"][0]["CloudTrailEvent"])
    assert "federatedProvider" in event["userIdentity"]["sessionContext"]["webIdFederationData"]


def test_the_audit_names_the_web_identity(server, issuer, with_token, provider, web_role):
    """In the log of the role's account, refused or not. (CloudTrail user guide, "CloudTrail userIdentity element".)"""
    answer = with_token(issuer.token())
    with refused("AccessDenied", 403):
        with_token(issuer.token(sub="mallory"))
    with refused("InvalidIdentityToken", 400):
        with_token("not a token")
    look = [{"AttributeKey": "ResourceName", "AttributeValue": web_role["Arn"]}]
    found = server.client("cloudtrail").lookup_events(LookupAttributes=look)["Events"]
    told = [json.loads(event["CloudTrailEvent"]) for event in found]
    unproven, stranger, own = [event for event in told if event["eventName"] == "AssumeRoleWithWebIdentity"]
    for event, name in ((own, "alice"), (stranger, "mallory")):
        assert event["userIdentity"] == {
            "type": "WebIdentityUser",
            "principalId": f"{provider}:{issuer.AUDIENCE}:{name}",
            "userName": name,
            "identityProvider": provider,
        }
    assert own["responseElements"]["credentials"]["accessKeyId"] == answer["Credentials"]["AccessKeyId"]
    assert stranger["errorCode"] == "AccessDenied"
    assert (unproven["userIdentity"], unproven["errorCode"]) == ({"type": "WebIdentityUser"}, "InvalidIdentityToken")


def test_web_identities_that_are_refused(issuer, with_token, account):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = int(time.time())
    for token, code in [
        ("not a token", "InvalidIdentityToken"),
        (issuer.token(key=other), "InvalidIdentityToken"),
        (issuer.token(aud="somebody else"), "InvalidIdentityToken"),
        (issuer.token(iss="https://issuer.invalid"), "InvalidIdentityToken"),
        (issuer.token(nbf=now + 3600), "InvalidIdentityToken"),
        (issuer.token(alg="none"), "InvalidIdentityToken"),
        (issuer.token(exp=now - 10), "ExpiredTokenException"),
    ]:
        with refused(code, 400):
            with_token(token)
    text = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    with refused("AccessDenied", 403, text):
        with_token(issuer.token(sub="mallory"))
    with refused("AccessDenied", 403, text):
        with_token(issuer.token(), RoleArn=f"arn:aws:iam::{account}:role/nobody")


def test_session_tags_of_a_web_identity(server, issuer, with_token, iam, web_role, bucket):
    tagged = allow("s3:*", "*", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})
    iam.put_role_policy(RoleName=web_role["RoleName"], PolicyName="s3", PolicyDocument=document(tagged))
    with refused("AccessDenied", 403):
        by(server, with_token(issuer.token())["Credentials"], "s3").list_objects_v2(Bucket=bucket)
    token = issuer.token(**{"https://aws.amazon.com/tags": {"principal_tags": {"team": ["blue"]}}})
    by(server, with_token(token)["Credentials"], "s3").list_objects_v2(Bucket=bucket)


def test_an_issuer_is_named_exactly(issuer, with_token, iam):
    arn = iam.create_open_id_connect_provider(Url=f"{issuer.url}/A", ClientIDList=[issuer.AUDIENCE])[
        "OpenIDConnectProviderArn"
    ]
    with refused("InvalidIdentityToken", 400):
        with_token(issuer.token(iss=f"{issuer.url}/a"))
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_an_issuers_tags_are_tags(issuer, with_token):
    for more in (
        {"https://aws.amazon.com/tags": {"principal_tags": {"Team": ["blue"], "team": ["red"]}}},
        {"https://aws.amazon.com/tags": {"principal_tags": {"aws:team": ["blue"]}}},
        {"https://aws.amazon.com/tags": {"principal_tags": {"te*m": ["blue"]}}},
        {"https://aws.amazon.com/source_identity": "a b"},
        {"https://aws.amazon.com/source_identity": "x" * 65},
    ):
        with refused("IDPRejectedClaim", 403):
            with_token(issuer.token(**more))


def test_an_issuer_that_is_not_there(issuer, with_token, iam, server):
    url = "https://127.0.0.1:1"
    arn = iam.create_open_id_connect_provider(Url=url, ClientIDList=[issuer.AUDIENCE])["OpenIDConnectProviderArn"]
    with refused("IDPCommunicationError", 400):
        with_token(issuer.token(iss=url))
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    with refused("ValidationError", 400):
        iam.create_open_id_connect_provider(Url="http://127.0.0.1", ClientIDList=["x"])
