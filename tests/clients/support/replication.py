"""Replication: rules, and the buckets and servers that tests replicate between."""

import time

from support.calls import headers_of
from support.identities import replication_role
from support.receiver import Receiver
from support.server import Server

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/replicate"
STATUS = "x-amz-replication-status"


def rule(destination, *, id="r", priority=1, prefix="", markers=False, kms=None, opt_in=None, **more):
    """A V2 rule. `kms` is the replicas' key; with it the rule opts in, unless `opt_in` says otherwise."""
    to = {"Bucket": f"arn:aws:s3:::{destination}"} | more.pop("to", {})
    made = {
        "ID": id,
        "Priority": priority,
        "Filter": {"Prefix": prefix},
        "Status": "Enabled",
        "DeleteMarkerReplication": {"Status": "Enabled" if markers else "Disabled"},
    }
    if kms:
        to["EncryptionConfiguration"] = {"ReplicaKmsKeyID": kms}
    if kms or opt_in is not None:
        status = "Enabled" if (opt_in is None or opt_in) else "Disabled"
        made["SourceSelectionCriteria"] = {"SseKmsEncryptedObjects": {"Status": status}}
    return made | {"Destination": to} | more


def make(client, name, status="Enabled"):
    client.create_bucket(Bucket=name)
    if status:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
    return name


def replicate(client, bucket, *rules, role=ROLE):
    client.put_bucket_replication(Bucket=bucket, ReplicationConfiguration={"Role": role, "Rules": list(rules)})


def settle(client, bucket, key, version=None, wait=40, wanted=("COMPLETED", "FAILED")):
    """Waits until the object's replication has ended; its status."""
    named = {"VersionId": version} if version else {}
    deadline = time.monotonic() + wait
    while True:
        status = headers_of(client.head_object(Bucket=bucket, Key=key, **named)).get(STATUS)
        if status in wanted:
            return status
        assert time.monotonic() < deadline, f"{bucket}/{key} is {status}"
        time.sleep(0.05)


class Pair:
    def __init__(self, server, number):
        self.s3, self.kms = server.client("s3"), server.client("kms")
        self.source, self.copy = make(self.s3, f"source-{number}"), make(self.s3, f"copy-{number}")


class TwoServers:
    """A server and the one that it replicates to."""

    def __init__(self, directory, more=""):
        for name in ("here", "there"):
            (directory / name).mkdir()
        self.there = Server(directory / "there").start()
        self.receiver = Receiver(directory)
        self.topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:failures"
        self.config = directory / "strongroom.toml"
        # The other server gets a new port at each start.
        self.more, self.part_mib = more, 5
        self.here = Server(directory / "here", arguments=["--config", str(self.config)])
        self.point()
        self.here.start()
        replication_role(self.here)
        self.connect()
        self.far.create_bucket(Bucket="offsite")
        self.far.put_bucket_versioning(Bucket="offsite", VersioningConfiguration={"Status": "Enabled"})
        make(self.near, "box")

    def point(self):
        self.config.write_text(
            f"[replication]\npart_mib = {self.part_mib}\n{self.more}\n[[replication.destinations]]\n"
            f'bucket = "arn:aws:s3:::off*"\nendpoint = "{self.there.url}"\nca = "{self.there.ca}"\n'
            f'access_key_id = "{self.there.access_key}"\nsecret_access_key = "{self.there.secret_key}"\n'
            f'[[notifications.targets]]\narn = "{self.topic}"\nurl = "{self.receiver.url}"\nca = "{self.receiver.pem}"\n'
        )

    def connect(self):
        self.near, self.far = self.here.client("s3"), self.there.client("s3")

    def uploads(self):
        """The multipart uploads that are open at the other server."""
        return self.far.list_multipart_uploads(Bucket="offsite").get("Uploads", [])

    def wait_for_a_part(self, key, wait=30):
        """Waits until the first part of the object is there."""
        deadline = time.monotonic() + wait
        while not (begun := self.uploads()) or not self.far.list_parts(
            Bucket="offsite", Key=key, UploadId=begun[0]["UploadId"]
        ).get("Parts"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def destroy(self):
        self.here.destroy()
        self.there.destroy()
        self.receiver.close()
