"""Replication of what is changed of a version after it was written: its tags, list, retention and legal hold; and of what is
changed of replicas (`ReplicaModifications`)."""

import base64
import datetime
import hashlib
import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

from support.calls import headers_of, refused
from support.identities import Identities, allow, document, replication_role
from support.replication import ACCOUNT, STATUS, make, replicate, rule, settle
from support.server import OTHER_ACCOUNT, Server, two_accounts

ORIGIN = "x-strongroom-replica-of"
MODIFICATIONS = {"SourceSelectionCriteria": {"ReplicaModifications": {"Status": "Enabled"}}}


def tags(**pairs):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in pairs.items()]}


def tag(client, bucket, key, version=None, **pairs):
    named = {"VersionId": version} if version else {}
    client.put_object_tagging(Bucket=bucket, Key=key, Tagging=tags(**pairs), **named)


def tags_of(client, bucket, key, version=None):
    named = {"VersionId": version} if version else {}
    listed = client.get_object_tagging(Bucket=bucket, Key=key, **named)["TagSet"]
    return {entry["Key"]: entry["Value"] for entry in listed}


def put(client, bucket, key, **options):
    """Puts an object and waits until it was replicated; its version."""
    version = client.put_object(Bucket=bucket, Key=key, Body=b"x", **options)["VersionId"]
    assert settle(client, bucket, key, version) == "COMPLETED"
    return version


def lock_pair(s3, name):
    """Two buckets with Object Lock, the one replicated to the other."""
    source, copy = f"{name}-locked", f"{name}-copy"
    for bucket in (source, copy):
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    return source, copy


def until(days):
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return now + datetime.timedelta(days=days)


def governed(days):
    return {"Mode": "GOVERNANCE", "RetainUntilDate": until(days)}


def eventually(look, wanted, wait=30):
    deadline = time.monotonic() + wait
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def test_tags_follow_their_version(pair):
    s3 = pair.s3
    replicate(s3, pair.source, rule(pair.copy))
    first = put(s3, pair.source, "k", Tagging="a=1&b=2")
    second = put(s3, pair.source, "k", Tagging="c=3")
    tag(s3, pair.source, "k", a="new", d="4")
    assert settle(s3, pair.source, "k") == "COMPLETED"
    assert tags_of(s3, pair.copy, "k", second) == {"a": "new", "d": "4"}
    assert tags_of(s3, pair.copy, "k", first) == {"a": "1", "b": "2"}, "the other version's are its own"
    tag(s3, pair.source, "k", first, old="1")
    assert settle(s3, pair.source, "k", first) == "COMPLETED"
    assert tags_of(s3, pair.copy, "k", first) == {"old": "1"}
    s3.delete_object_tagging(Bucket=pair.source, Key="k")
    assert settle(s3, pair.source, "k") == "COMPLETED"
    assert tags_of(s3, pair.copy, "k", second) == {}
    replica = s3.head_object(Bucket=pair.copy, Key="k")
    assert headers_of(replica)[STATUS] == "REPLICA" and replica["VersionId"] == second
    assert len(s3.list_object_versions(Bucket=pair.copy)["Versions"]) == 2, "no version was made"


def test_a_change_comes_after_the_write_that_it_follows(pair):
    s3 = pair.s3
    replicate(s3, pair.source, rule(pair.copy))

    def write(number):
        key = f"k{number}"
        s3.put_object(Bucket=pair.source, Key=key, Body=b"x", Tagging="state=written")
        for state in ("changed", "again", "last"):
            tag(s3, pair.source, key, state=state)
        return key

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(write, range(40)))
    for key in keys:
        assert settle(s3, pair.source, key) == "COMPLETED"
        assert tags_of(s3, pair.copy, key) == {"state": "last"}, "COMPLETED says that the last change is there"


def test_locks_follow_and_are_weakened_only_by_who_may(here, pair):
    s3, iam = pair.s3, here.client("iam")
    source, copy = lock_pair(s3, pair.source)
    name = f"by-{source}"
    role = replication_role(here, name)
    replicate(s3, source, rule(copy), role=role)
    put(s3, source, "k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until(1))

    def change(**options):
        s3.put_object_retention(Bucket=source, Key="k", **options)
        return settle(s3, source, "k")

    def retention():
        return s3.get_object_retention(Bucket=copy, Key="k")["Retention"]

    longer = governed(days=5)
    assert change(Retention=longer) == "COMPLETED"
    assert retention() == longer
    for status in ("ON", "OFF"):
        s3.put_object_legal_hold(Bucket=source, Key="k", LegalHold={"Status": status})
        assert settle(s3, source, "k") == "COMPLETED"
        assert s3.get_object_legal_hold(Bucket=copy, Key="k")["LegalHold"] == {"Status": status}
    shorter = governed(days=2)
    assert change(Retention=shorter, BypassGovernanceRetention=True) == "FAILED"
    assert retention() == longer, "the role may not bypass what holds the replica"
    bypass = document(allow("s3:BypassGovernanceRetention", f"arn:aws:s3:::{copy}/*"))
    iam.put_role_policy(RoleName=name, PolicyName="bypass", PolicyDocument=bypass)
    # What was given up goes along with the next change.
    tag(s3, source, "k", a="1")
    assert settle(s3, source, "k", wanted=("COMPLETED",)) == "COMPLETED"
    assert retention() == shorter and tags_of(s3, copy, "k") == {"a": "1"}
    assert change(Retention={}, BypassGovernanceRetention=True) == "COMPLETED"
    with refused("NoSuchObjectLockConfiguration"):
        retention()
    # Nobody ends compliance early, replication neither: the replica's owner has set it.
    compliant = {"Mode": "COMPLIANCE", "RetainUntilDate": until(1)}
    s3.put_object_retention(Bucket=copy, Key="k", Retention=compliant)
    assert change(Retention=governed(days=3)) == "FAILED"
    assert retention() == compliant
    # A bucket without Object Lock takes no locks.
    with refused("InvalidRequest", 400):
        replicate(s3, source, rule(pair.copy), role=role)


def test_a_change_needs_the_permissions_of_what_was_changed(here, pair):
    s3, iam = pair.s3, here.client("iam")
    source, copy = lock_pair(s3, pair.source)
    name = f"by-{source}"
    role = replication_role(here, name, statements=[])
    replicate(s3, source, rule(copy), role=role)
    at_source, at_copy = f"arn:aws:s3:::{source}", f"arn:aws:s3:::{copy}/*"
    base = [
        allow("s3:GetReplicationConfiguration", at_source),
        allow(["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl"], f"{at_source}/*"),
        allow("s3:ReplicateObject", at_copy),
    ]

    def give(*statements):
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*base, *statements))

    def hold():
        s3.put_object_legal_hold(Bucket=source, Key="k", LegalHold={"Status": "ON"})
        return settle(s3, source, "k")

    give()
    put(s3, source, "k", Tagging="a=1")
    assert tags_of(s3, copy, "k") == {}, "tags that may not go along stay behind"
    assert hold() == "FAILED", "without s3:GetObjectLegalHold"
    give(allow("s3:GetObjectLegalHold", f"{at_source}/*"))
    assert hold() == "COMPLETED", "what stayed behind by permission does not hold up other changes"
    assert tags_of(s3, copy, "k") == {}
    reading, writing = allow("s3:GetObjectVersionTagging", f"{at_source}/*"), allow("s3:ReplicateTags", at_copy)
    for given in ((), (reading,), (writing,)):
        give(*given)
        tag(s3, source, "k", b="2")
        assert settle(s3, source, "k") == "FAILED", given
        assert tags_of(s3, copy, "k") == {}
    give(reading, writing)
    tag(s3, source, "k", b="2")
    assert settle(s3, source, "k", wanted=("COMPLETED",)) == "COMPLETED"
    assert tags_of(s3, copy, "k") == {"b": "2"}


def test_a_pass_over_what_is_there_brings_what_was_given_up(here, pair):
    s3, iam = pair.s3, here.client("iam")
    name = f"by-{pair.source}"
    role = replication_role(here, name)
    existing = rule(pair.copy, ExistingObjectReplication={"Status": "Enabled"})
    replicate(s3, pair.source, existing, role=role)
    put(s3, pair.source, "k", Tagging="a=1")
    denial = allow("s3:ReplicateTags", "*") | {"Effect": "Deny"}
    iam.put_role_policy(RoleName=name, PolicyName="no", PolicyDocument=document(denial))
    tag(s3, pair.source, "k", a="2")
    assert settle(s3, pair.source, "k") == "FAILED"
    iam.delete_role_policy(RoleName=name, PolicyName="no")
    replicate(s3, pair.source, existing, role=role)
    assert settle(s3, pair.source, "k", wanted=("COMPLETED",)) == "COMPLETED"
    assert tags_of(s3, pair.copy, "k") == {"a": "2"}
    assert len(s3.list_object_versions(Bucket=pair.copy)["Versions"]) == 1


def test_who_was_replicated_is_followed_and_nobody_else(pair):
    s3 = pair.s3
    tagged = rule(pair.copy) | {"Filter": {"Tag": {"Key": "go", "Value": "yes"}}}
    replicate(s3, pair.source, tagged)
    s3.put_object(Bucket=pair.source, Key="stays", Body=b"x")
    version = put(s3, pair.source, "goes", Tagging="go=yes")
    # Tags of filters are asked for when a version is written, and not again.
    tag(s3, pair.source, "stays", go="yes")
    tag(s3, pair.source, "goes", go="no")
    assert settle(s3, pair.source, "goes") == "COMPLETED"
    assert tags_of(s3, pair.copy, "goes") == {"go": "no"}
    assert STATUS not in headers_of(s3.head_object(Bucket=pair.source, Key="stays"))
    # A replica that is gone is not made again.
    s3.delete_object(Bucket=pair.copy, Key="goes", VersionId=version)
    tag(s3, pair.source, "goes", go="on")
    assert settle(s3, pair.source, "goes") == "FAILED"
    assert "Versions" not in s3.list_object_versions(Bucket=pair.copy)
    # Without a rule nothing waits.
    put(s3, pair.source, "done", Tagging="go=yes")
    s3.delete_bucket_replication(Bucket=pair.source)
    tag(s3, pair.source, "done", go="anywhere")
    assert settle(s3, pair.source, "done") == "COMPLETED"
    time.sleep(0.5)
    assert tags_of(s3, pair.copy, "done") == {"go": "yes"}


def test_lists_follow_where_the_replica_keeps_its_owner(tmp_path):
    server = two_accounts(tmp_path)
    replication_role(server)
    try:
        s3, other = server.client("s3"), server.other.client("s3")
        writers = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        for client, bucket in ((s3, "mine"), (s3, "copies"), (other, "theirs")):
            make(client, bucket)
            client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=writers)
        actions = ["s3:ReplicateObject", "s3:ReplicateTags", "s3:ObjectOwnerOverrideToBucketOwner"]
        statement = allow(actions, "arn:aws:s3:::theirs/*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        other.put_bucket_policy(Bucket="theirs", Policy=json.dumps({"Statement": [statement]}))
        to = {"Account": OTHER_ACCOUNT, "AccessControlTranslation": {"Owner": "Destination"}}
        replicate(s3, "mine", rule("copies"), rule("theirs", id="over", priority=2, to=to))
        put(s3, "mine", "k")
        grants = lambda client, bucket: client.get_object_acl(Bucket=bucket, Key="k")["Grants"]
        before, handed_over = grants(s3, "mine"), grants(other, "theirs")
        reader = other.list_buckets()["Owner"]["ID"]
        s3.put_object_acl(Bucket="mine", Key="k", GrantRead=f"id={reader}", GrantReadACP=f"id={reader}")
        assert settle(s3, "mine", "k") == "COMPLETED"
        assert grants(s3, "mine") == grants(s3, "copies") != before
        assert [grant["Permission"] for grant in grants(s3, "copies")] == ["READ", "READ_ACP"]
        assert grants(other, "theirs") == handed_over, "it is its owner's affair"
        s3.put_object_acl(Bucket="mine", Key="k", ACL="private")
        assert settle(s3, "mine", "k") == "COMPLETED"
        assert grants(s3, "copies") == before
        tag(s3, "mine", "k", a="1")
        assert settle(s3, "mine", "k") == "COMPLETED"
        assert tags_of(other, "theirs", "k") == {"a": "1"}
    finally:
        server.destroy()


def test_replica_modifications_are_kept_and_judged(pair):
    s3 = pair.s3
    rules = [rule(pair.copy, **MODIFICATIONS)]
    replicate(s3, pair.source, *rules)
    assert s3.get_bucket_replication(Bucket=pair.source)["ReplicationConfiguration"]["Rules"] == rules
    first = {"ID": "r", "Prefix": "", "Status": "Enabled", "Destination": {"Bucket": f"arn:aws:s3:::{pair.copy}"}}
    with refused("MalformedXML", 400):
        replicate(s3, pair.source, first | MODIFICATIONS)


def test_changes_of_replicas_go_back_and_no_further(here, pair):
    s3 = pair.s3
    replicate(s3, pair.source, rule(pair.copy, **MODIFICATIONS))
    version = put(s3, pair.source, "k", Tagging="a=1")

    def status(bucket):
        return headers_of(s3.head_object(Bucket=bucket, Key="k"))[STATUS]

    # Without a rule that wants them, changes of a replica stay its own.
    replicate(s3, pair.copy, rule(pair.source))
    tag(s3, pair.copy, "k", a="own")
    time.sleep(0.5)
    assert status(pair.copy) == "REPLICA" and tags_of(s3, pair.source, "k") == {"a": "1"}
    replicate(s3, pair.copy, rule(pair.source, **MODIFICATIONS))

    def carried():
        metrics = here.get("/_/metrics").read().decode().splitlines()
        of_kind = [line for line in metrics if line.startswith('strongroom_outbox_carried_total{kind="replication"')]
        return sum(int(line.rsplit(" ", 1)[1]) for line in of_kind)

    before = carried()
    tag(s3, pair.copy, "k", a="back")
    assert settle(s3, pair.copy, "k", wanted=("REPLICA", "FAILED")) == "REPLICA"
    assert tags_of(s3, pair.source, "k", version) == {"a": "back"} and status(pair.source) == "COMPLETED"
    tag(s3, pair.source, "k", a="forth")
    assert settle(s3, pair.source, "k") == "COMPLETED"
    assert tags_of(s3, pair.copy, "k") == {"a": "forth"} and status(pair.copy) == "REPLICA"
    time.sleep(1)
    assert carried() == before + 2, "each change went one way, once"
    # New versions of either side go to the other, and replicas are not replicated.
    put(s3, pair.copy, "other", Tagging="b=1")
    tag(s3, pair.source, "other", b="2")
    assert settle(s3, pair.source, "other", wanted=("REPLICA", "FAILED")) == "REPLICA"
    assert tags_of(s3, pair.copy, "other") == {"b": "2"}
    # Whoever changes both at once has both alike in the end.
    with ThreadPoolExecutor(2) as pool:
        for turn in range(10):
            changes = [pool.submit(tag, s3, bucket, "k", a=f"{bucket}-{turn}") for bucket in (pair.source, pair.copy)]
            [change.result() for change in changes]
            assert settle(s3, pair.source, "k") == "COMPLETED"
            assert settle(s3, pair.copy, "k", wanted=("REPLICA", "FAILED")) == "REPLICA"
            source, copy = (tags_of(s3, bucket, "k") for bucket in (pair.source, pair.copy))
            assert source == copy, turn
    # Where the version isn't, there is nothing to be changed.
    s3.delete_object(Bucket=pair.source, Key="k", VersionId=version)
    tag(s3, pair.copy, "k", a="late")
    assert settle(s3, pair.copy, "k", wanted=("REPLICA", "FAILED")) == "FAILED"


def test_the_version_from_before_there_were_versions_is_followed_both_ways(pair):
    s3, bucket = pair.s3, make(pair.s3, f"{pair.source}-old", status=None)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    replicate(s3, bucket, rule(pair.copy, ExistingObjectReplication={"Status": "Enabled"}))
    replicate(s3, pair.copy, rule(bucket, **MODIFICATIONS))
    assert settle(s3, bucket, "k", wanted=("COMPLETED",)) == "COMPLETED"
    tag(s3, bucket, "k", "null", a="1")
    assert settle(s3, bucket, "k") == "COMPLETED"
    assert tags_of(s3, pair.copy, "k") == {"a": "1"}
    tag(s3, pair.copy, "k", a="2")
    assert settle(s3, pair.copy, "k", wanted=("REPLICA", "FAILED")) == "REPLICA"
    assert tags_of(s3, bucket, "k", "null") == {"a": "2"}


def test_who_says_that_it_replicates_must_be_let(here, pair):
    s3 = pair.s3
    replicate(s3, pair.source, rule(pair.copy))
    version = put(s3, pair.source, "k", Tagging="a=1")

    def saying(client):
        add = lambda request, **_: request.headers.add_header(ORIGIN, f"{version};1700000000000")
        client.meta.events.register("before-sign.s3.PutObjectTagging", add)
        return client

    identities = Identities(here)
    try:
        ivy = identities.user()

        def give(*actions):
            policy = document(allow(list(actions), [f"arn:aws:s3:::{pair.source}", f"arn:aws:s3:::{pair.source}/*"]))
            here.client("iam").put_user_policy(UserName=ivy.name, PolicyName="p", PolicyDocument=policy)

        client = saying(identities.client("s3", ivy))
        give("s3:PutObjectTagging", "s3:ReplicateObject")
        with refused("AccessDenied", 403) as refusal:
            tag(client, pair.source, "k", a="2")
        assert "s3:ReplicateTags" in refusal.message
        give("s3:PutObjectTagging", "s3:ReplicateTags")
        tag(client, pair.source, "k", a="2")
        # What came by replication goes no further.
        assert headers_of(s3.head_object(Bucket=pair.source, Key="k"))[STATUS] == "COMPLETED"
        time.sleep(0.5)
        assert tags_of(s3, pair.source, "k") == {"a": "2"} and tags_of(s3, pair.copy, "k") == {"a": "1"}
    finally:
        identities.clean()


def test_a_replica_has_a_time_and_an_order_that_there_can_be(pair):
    s3, said = pair.s3, []
    add = lambda request, **_: [request.headers.add_header(ORIGIN, text) for text in said]
    for operation in ("PutObject", "CreateMultipartUpload", "DeleteObject"):
        s3.meta.events.register(f"before-sign.s3.{operation}", add)

    def version_id(order):
        return base64.urlsafe_b64encode(order.to_bytes(8, "big") + b"g" * 16).decode().rstrip("=")

    now, day = int(time.time() * 1000), 86_400_000
    named = {"Bucket": pair.copy, "Key": "k"}
    impossible = [(1000, modified) for modified in (-(2**63), -1, now + 2 * day, 253402300800000, 2**63 - 1)]
    impossible += [(order, now) for order in ((now + 2 * day) * 1000, (2**64 - 1) >> 6)]
    for order, modified in impossible:
        said[:] = [f"{version_id(order)};{modified}"]
        for write in (lambda: s3.put_object(**named, Body=b"r"), lambda: s3.create_multipart_upload(**named)):
            with refused("InvalidArgument", 400):
                write()
        with refused("InvalidArgument", 400):
            s3.delete_object(**named)
    said[:] = [f"{version_id(1000)};0"]
    assert s3.put_object(**named, Body=b"r")["VersionId"] == version_id(1000)
    said.clear()
    put = s3.put_object(**named, Body=b"next")["VersionId"]
    assert s3.head_object(**named, VersionId=put)["ContentLength"] == 4
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=pair.copy)["Contents"]] == ["k"]
    assert len(s3.list_object_versions(Bucket=pair.copy)["Versions"]) == 2


def test_another_server_gets_changes_too(servers):
    near, far = servers.near, servers.far
    far.create_bucket(Bucket="off-locked", ObjectLockEnabledForBucket=True)
    near.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    replicate(near, "locked", rule("off-locked"))
    key = "a b/ü"
    version = put(near, "locked", key, Tagging="a=1")
    tag(near, "locked", key, a="2", b="x+y=z:/@ ü")
    assert settle(near, "locked", key) == "COMPLETED"
    assert tags_of(far, "off-locked", key, version) == {"a": "2", "b": "x+y=z:/@ ü"}
    near.delete_object_tagging(Bucket="locked", Key=key)
    assert settle(near, "locked", key) == "COMPLETED"
    assert tags_of(far, "off-locked", key) == {}
    longer, shorter = governed(days=5), governed(days=2)
    near.put_object_retention(Bucket="locked", Key=key, Retention=longer)
    assert settle(near, "locked", key) == "COMPLETED"
    assert far.get_object_retention(Bucket="off-locked", Key=key)["Retention"] == longer
    # The credentials there are a root's, who may bypass governance.
    near.put_object_retention(Bucket="locked", Key=key, Retention=shorter, BypassGovernanceRetention=True)
    assert settle(near, "locked", key) == "COMPLETED"
    assert far.get_object_retention(Bucket="off-locked", Key=key)["Retention"] == shorter
    near.put_object_retention(Bucket="locked", Key=key, Retention={}, BypassGovernanceRetention=True)
    assert settle(near, "locked", key) == "COMPLETED"
    with refused("NoSuchObjectLockConfiguration"):
        far.get_object_retention(Bucket="off-locked", Key=key)
    for status in ("ON", "OFF"):
        near.put_object_legal_hold(Bucket="locked", Key=key, LegalHold={"Status": status})
        assert settle(near, "locked", key) == "COMPLETED"
        assert far.get_object_legal_hold(Bucket="off-locked", Key=key)["LegalHold"] == {"Status": status}
    replica = far.head_object(Bucket="off-locked", Key=key)
    assert headers_of(replica)[STATUS] == "REPLICA" and replica["VersionId"] == version
    # The other server's own rules do not carry on what came by replication.
    far.create_bucket(Bucket="further", ObjectLockEnabledForBucket=True)
    role = replication_role(servers.there)
    far.put_bucket_replication(
        Bucket="off-locked",
        ReplicationConfiguration={"Role": role, "Rules": [rule("further", **MODIFICATIONS)]},
    )
    tag(near, "locked", key, a="3")
    assert settle(near, "locked", key) == "COMPLETED"
    assert headers_of(far.head_object(Bucket="off-locked", Key=key))[STATUS] == "REPLICA"
    tag(far, "off-locked", key, a="4")
    assert settle(far, "off-locked", key, wanted=("REPLICA", "FAILED")) == "FAILED", "there is none further on"


def test_changes_wait_for_a_server_that_is_down_and_keep_their_order(servers):
    near = servers.near
    replicate(near, "box", rule("offsite"))
    put(near, "box", "there", Tagging="a=1")
    servers.there.kill()
    tag(near, "box", "there", a="2")
    near.put_object(Bucket="box", Key="late", Body=b"late", Tagging="a=1")
    tag(near, "box", "late", a="2")
    tag(near, "box", "late", a="3")
    time.sleep(1)
    for key in ("there", "late"):
        assert headers_of(near.head_object(Bucket="box", Key=key))[STATUS] == "PENDING"
    servers.here.kill()
    servers.there.start()
    servers.point()
    servers.here.start()
    servers.connect()
    for key, last in (("there", "2"), ("late", "3")):
        assert settle(servers.near, "box", key, wait=60) == "COMPLETED"
        assert tags_of(servers.far, "offsite", key) == {"a": last}


def test_a_change_that_fails_is_told_of(servers):
    near, far = servers.near, servers.far
    events = ["s3:Replication:*", "s3:ObjectCreated:*", "s3:ObjectTagging:*"]
    topics = [{"Id": "f", "TopicArn": servers.topic, "Events": events}]
    near.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    replicate(near, "locked", rule("offsite", to={"Metrics": {"Status": "Enabled"}}))
    version = put(near, "locked", "k")
    near.put_bucket_notification_configuration(Bucket="locked", NotificationConfiguration={"TopicConfigurations": topics})
    assert servers.receiver.message()["Event"] == "s3:TestEvent"
    far.delete_object(Bucket="offsite", Key="k", VersionId=version)
    # A legal hold has no event of its own, and is no object that is created.
    near.put_object_legal_hold(Bucket="locked", Key="k", LegalHold={"Status": "OFF"})
    assert settle(near, "locked", "k") == "FAILED"
    record = servers.receiver.record()
    assert record["eventName"] == "Replication:OperationFailedReplication"
    facts = record["replicationEventData"]
    assert (facts["s3Operation"], facts["replicationRuleId"]) == ("OBJECT_LEGAL_HOLD_PUT", "r")
    assert facts["failureReason"] == "DstBucketObjectLockConfigMissing"
    tag(near, "locked", "k", a="1")
    names = [servers.receiver.record() for _ in range(2)]
    assert {record["eventName"] for record in names} == {"ObjectTagging:Put", "Replication:OperationFailedReplication"}
    failed = next(record for record in names if "replicationEventData" in record)
    assert failed["s3"]["object"]["versionId"] == version
    facts = failed["replicationEventData"]
    assert (facts["s3Operation"], facts["failureReason"]) == ("OBJECT_TAGGING_PUT", "DstVersionNotFound")
    assert settle(near, "locked", "k") == "FAILED"


class Foreign:
    """Another kind of server: it gives versions ids of its own, and knows no others."""

    def __init__(self):
        self.tags, self.asked = {}, []
        foreign = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parts = urlsplit(self.path)
                query = parse_qs(parts.query, keep_blank_values=True)
                foreign.asked.append((parts.path, query, dict(self.headers), body))
                if "tagging" not in query:
                    version = f"foreign-{len(foreign.tags)}"
                    foreign.tags[version] = None
                    return self.answer(200, version=version)
                [version] = query["versionId"]
                if version not in foreign.tags:
                    return self.answer(404, b"<Error><Code>NoSuchVersion</Code></Error>")
                foreign.tags[version] = body
                return self.answer(200)

            def answer(self, status, body=b"", version=None):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if version:
                    self.send_header("x-amz-version-id", version)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_the_id_that_another_servers_replica_has_is_kept(tmp_path):
    foreign = Foreign()
    config = tmp_path / "strongroom.toml"
    config.write_text(
        f'[[replication.destinations]]\nbucket = "arn:aws:s3:::foreign"\nendpoint = "{foreign.url}"\n'
        f'access_key_id = "AKIAFOREIGNFOREIGN00"\nsecret_access_key = "{"s" * 40}"\n'
    )
    server = Server(arguments=["--config", str(config)]).start()
    replication_role(server)
    try:
        s3 = server.client("s3")
        make(s3, "box")
        replicate(s3, "box", rule("foreign"))
        for turn in range(2):
            put(s3, "box", "k")
            tag(s3, "box", "k", a="1", turn=str(turn))
            assert settle(s3, "box", "k") == "COMPLETED"
            path, query, headers, body = foreign.asked[-1]
            assert (path, query) == ("/foreign/k", {"tagging": [""], "versionId": [f"foreign-{turn}"]})
            assert f"<Value>{turn}</Value>".encode() in body == foreign.tags[f"foreign-{turn}"]
            digest = next(value for name, value in headers.items() if name.lower() == "content-md5")
            assert digest == base64.b64encode(hashlib.md5(body).digest()).decode()
        # A version that isn't there any more is not made again.
        foreign.tags.clear()
        asked = len(foreign.asked)
        tag(s3, "box", "k", a="2")
        assert settle(s3, "box", "k") == "FAILED"
        assert len(foreign.asked) == asked + 1
    finally:
        server.destroy()
        foreign.close()
