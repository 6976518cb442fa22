"""Users, groups, roles and policies of a test's own."""

import json
import uuid


def allow(action, resource, **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource} | more


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(principal, *actions, **more):
    """A trust policy."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": list(actions) or "sts:AssumeRole"}
    return document(statement | more)


def replication_role(endpoint, name="replicate", statements=None):
    """The ARN of a role that S3 replicates by, made at `endpoint`; without `statements` it may do all that AWS's example says,
    everywhere. (S3 user guide, "Setting up permissions for live replication".)"""
    source = [
        "s3:GetReplicationConfiguration",
        "s3:ListBucket",
        "s3:GetObjectVersionForReplication",
        "s3:GetObjectVersionAcl",
        "s3:GetObjectVersionTagging",
        "s3:GetObjectRetention",
        "s3:GetObjectLegalHold",
    ]
    destination = ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags", "s3:ObjectOwnerOverrideToBucketOwner"]
    if statements is None:
        statements = [allow([*source, *destination, "kms:Decrypt", "kms:Encrypt"], "*")]
    iam = endpoint.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"Service": "s3.amazonaws.com"}))["Role"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="replicate", PolicyDocument=document(*statements))
    return role["Arn"]


class User:
    def __init__(self, made, key):
        self.name, self.arn, self.id = made["UserName"], made["Arn"], made["UserId"]
        self.key = key and key["AccessKeyId"]
        self.secret = key and key["SecretAccessKey"]


class Identities:
    """What a test makes at `endpoint`, to be cleaned up."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.iam = endpoint.client("iam")
        self.users, self.groups, self.roles, self.policies = [], [], [], []

    def name(self, prefix="t"):
        return f"{prefix}-{uuid.uuid4().hex[:10]}"

    def user(self, *, keys=True, **options):
        name = self.name("user")
        made = self.iam.create_user(UserName=name, **options)["User"]
        self.users.append(name)
        key = self.iam.create_access_key(UserName=name)["AccessKey"] if keys else None
        return User(made, key)

    def group(self):
        name = self.name("group")
        self.iam.create_group(GroupName=name)
        self.groups.append(name)
        return name

    def role(self, trusted, **options):
        name = self.name("role")
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted, **options)["Role"]
        self.roles.append(name)
        return made

    def policy(self, text):
        arn = self.iam.create_policy(PolicyName=self.name("policy"), PolicyDocument=text)["Policy"]["Arn"]
        self.policies.append(arn)
        return arn

    def client(self, service, user, **options):
        return self.endpoint.client(
            service, aws_access_key_id=user.key, aws_secret_access_key=user.secret, **options
        )

    def clean(self):
        iam = self.iam
        for name in self.users:
            for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
            for group in iam.list_groups_for_user(UserName=name)["Groups"]:
                iam.remove_user_from_group(UserName=name, GroupName=group["GroupName"])
            for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
                iam.delete_user_policy(UserName=name, PolicyName=policy)
            for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
                iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
            iam.delete_user(UserName=name)
        for name in self.groups:
            for policy in iam.list_attached_group_policies(GroupName=name)["AttachedPolicies"]:
                iam.detach_group_policy(GroupName=name, PolicyArn=policy["PolicyArn"])
            iam.delete_group(GroupName=name)
        for name in self.roles:
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
            iam.delete_role(RoleName=name)
        for arn in self.policies:
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.delete_policy(PolicyArn=arn)
