"""S3 on the transit engine of a real OpenBao server: its keys, its absence, its seal, its tokens, and moving there and back."""

import base64
import json
import threading
import time

import pytest

from support.calls import body_of, headers_of, in_parallel, keys_of, refused
from support.data import content
from support.peers import Bao, Stub, TransitKeys, server_with, table, transit_config
from support.server import OTHER_ACCOUNT, Endpoint

SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
DATA = content(100_000, "transit")
AWAY = "The key management service is not available. Please try again."
QUICK = table("[kms.remote]", {"attempt_ms": 1000, "attempts": 2, "breaker_failures": 3, "breaker_seconds": 1})


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """An OpenBao server that tests seal, stop and start again."""
    bao = Bao(tmp_path_factory.mktemp("bao")).start()
    yield bao
    bao.stop()


@pytest.fixture
def bao(engine):
    """The same, as it is when all is well."""
    if engine.process is None:
        engine.start()
    engine.unseal()
    return engine


@pytest.fixture
def serve(request):
    """Makes running servers of one configuration each."""

    def make(config, **options):
        server = server_with(config, **options)
        request.addfinalizer(server.destroy)
        return server.start()

    return make


class Own:
    """A server on `bao`: its clients, a bucket and a key."""

    def __init__(self, server, bao):
        self.server, self.bao, self.keys = server, bao, TransitKeys(bao)
        self.s3 = server.client("s3")
        self.s3.create_bucket(Bucket="box")
        self.key = self.keys.create_key()["KeyMetadata"]

    def put(self, key="k", arn=None, client=None, **more):
        options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn or self.key["Arn"]} | more
        return (client or self.s3).put_object(Bucket="box", Key=key, Body=DATA, **options)

    def get(self, key="k"):
        return body_of(self.s3.get_object(Bucket="box", Key=key))

    def recovers(self, seconds=20):
        """Waits until objects can be read again."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.get() == DATA
            except self.s3.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == "ServiceUnavailable", error.response
                assert time.monotonic() < deadline, "it does not recover"
                time.sleep(0.2)

    def metric(self, name, **labels):
        for line in self.server.get("/_/metrics").read().decode().splitlines():
            if line.startswith(f"strongroom_{name}{{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.split()[-1])
        return None


@pytest.fixture
def own(bao, serve):
    return Own(serve(QUICK + transit_config(bao), environment={"BAO_TOKEN": bao.token}), bao)


def test_each_form_of_a_keys_name(own):
    arn, name = own.key["Arn"], own.key["KeyId"].split("/")[1]
    for form in (arn, f"bao/{name}", name):
        assert own.put(arn=form)["SSEKMSKeyId"] == arn
        assert headers_of(own.s3.head_object(Bucket="box", Key="k"))[KEY_ID] == arn
        assert own.get() == DATA
    managed = own.s3.put_object(Bucket="box", Key="d", Body=DATA, ServerSideEncryption="aws:kms")["SSEKMSKeyId"]
    assert managed.endswith(":key/bao/strongroom")
    assert own.put(arn="alias/aws/s3")["SSEKMSKeyId"] == managed
    for unknown, text in (
        ("missing", "Key 'arn:aws:kms:us-east-1:000000000000:key/bao/missing' does not exist"),
        ("bao/../sys", "Invalid keyId '../sys'"),
        ("alias/x", "Alias arn:aws:kms:us-east-1:000000000000:alias/x is not found."),
        (
            arn.replace("/bao/", "/other/"),
            f"Key '{arn.replace('/bao/', '/other/')}' is of the key service 'other', which is not configured",
        ),
    ):
        with refused("KMS.NotFoundException", 400, text):
            own.put(key="none", arn=unknown)
    assert keys_of(own.s3, "box") == ["d", "k"]


def is_away(own):
    """What must not work while the KMS is away, and what must."""
    for call in (
        own.get,
        lambda: own.put("new"),
        lambda: own.put("new", BucketKeyEnabled=True),
        lambda: own.s3.create_multipart_upload(
            Bucket="box", Key="m", ServerSideEncryption="aws:kms", SSEKMSKeyId=own.key["Arn"]
        ),
        lambda: own.s3.copy_object(Bucket="box", Key="c", CopySource="box/k"),
    ):
        began = time.monotonic()
        with refused("ServiceUnavailable", 503, AWAY):
            call()
        assert time.monotonic() - began < 5
    head = own.s3.head_object(Bucket="box", Key="k")
    assert (head["SSEKMSKeyId"], head["ContentLength"]) == (own.key["Arn"], len(DATA))
    assert keys_of(own.s3, "box") == ["k", "plain"]
    assert body_of(own.s3.get_object(Bucket="box", Key="plain")) == b"plain"
    own.s3.put_object(Bucket="box", Key="plain", Body=b"plain")
    own.s3.list_buckets()


@pytest.fixture
def filled(own):
    own.put()
    own.s3.put_object(Bucket="box", Key="plain", Body=b"plain")
    return own


def test_a_sealed_engine_takes_kms_objects_away_and_nothing_else(filled):
    filled.bao.seal()
    is_away(filled)
    filled.bao.unseal()
    assert filled.recovers()
    filled.put("new")
    assert filled.get("new") == DATA


def test_an_engine_that_stops_and_starts_again(filled):
    filled.bao.stop()
    is_away(filled)
    assert filled.metric("kms_service_breaker", service="bao") in (1, 2)
    assert filled.metric("kms_service_breaker_openings_total", service="bao") >= 1
    filled.bao.start(unseal=False)
    is_away(filled)
    filled.bao.unseal()
    assert filled.recovers()
    assert filled.get() == DATA
    assert filled.metric("kms_service_breaker", service="bao") == 0
    assert filled.metric("kms_service_calls_total", service="bao", operation="Decrypt", outcome="ok") >= 2
    assert filled.metric("kms_service_calls_total", service="bao", operation="Decrypt", outcome="KeyUnavailableException")
    assert filled.metric("kms_service_duration_seconds_count", service="bao", operation="Decrypt") >= 2


def test_a_server_starts_while_its_engine_is_away(filled):
    filled.server.stop()
    filled.bao.stop()
    filled.server.start()
    filled.s3 = filled.server.client("s3")
    is_away(filled)
    filled.bao.start()
    assert filled.recovers()


def test_a_revoked_token_and_its_successor(bao, serve, tmp_path):
    bao.allow("strongroom")
    file = tmp_path / "token"
    file.write_text(bao.fresh_token("strongroom"))
    config = transit_config(bao, token_file=file, create_default_key=False)
    own = Own(serve(QUICK + config), bao)
    own.put()
    own.s3.put_object(Bucket="box", Key="plain", Body=b"plain")
    bao.api("POST", "auth/token/revoke", {"token": file.read_text()})
    is_away(own)
    file.write_text(bao.fresh_token("strongroom"))
    assert own.recovers()
    assert file.read_text() not in own.server.log_text()


def test_an_approle_logs_in_again_by_itself(bao, serve, tmp_path):
    bao.allow("strongroom")
    try:
        bao.api("POST", "sys/auth/approle", {"type": "approle"})
    except OSError:
        pass
    bao.api("POST", "auth/approle/role/strongroom", {"token_policies": ["strongroom"], "token_ttl": "20s"})
    role = bao.api("GET", "auth/approle/role/strongroom/role-id")["data"]["role_id"]
    secret = bao.api("POST", "auth/approle/role/strongroom/secret-id")["data"]["secret_id"]
    (tmp_path / "secret").write_text(secret)
    login = {"login": "approle", "role": role, "secret_id_file": tmp_path / "secret", "create_default_key": False}
    own = Own(serve(QUICK + transit_config(bao, **login)), bao)
    own.put()
    bao.api("POST", "sys/leases/revoke-prefix/auth/approle/login", {})
    assert own.get() == DATA
    assert secret not in own.server.log_text()


def test_the_service_account_of_a_pod(bao, serve, tmp_path, request):
    """The real Kubernetes login, with a stand-in for the cluster that reviews tokens."""
    account = "kubernetes.io/serviceaccount"
    user = {"username": "system:serviceaccount:default:strongroom", "uid": "u1", "groups": []}
    cluster = Stub(201, {"kind": "TokenReview", "status": {"authenticated": True, "user": user}})
    request.addfinalizer(cluster.stop)
    claims = {
        "iss": account,
        "sub": user["username"],
        f"{account}/namespace": "default",
        f"{account}/service-account.name": "strongroom",
        f"{account}/service-account.uid": "u1",
        "iat": int(time.time()) - 60,
        "nbf": int(time.time()) - 60,
        "exp": int(time.time()) + 3600,
    }
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    jwt = ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2ln"])
    (tmp_path / "jwt").write_text(jwt)
    bao.allow("strongroom")
    bao.api("POST", "sys/auth/cluster", {"type": "kubernetes"})
    ca = bao.ca.read_text()
    bao.api(
        "POST",
        "auth/cluster/config",
        {"kubernetes_host": cluster.url, "token_reviewer_jwt": jwt, "kubernetes_ca_cert": ca},
    )
    bound = {"bound_service_account_names": ["strongroom"], "bound_service_account_namespaces": ["default"]}
    bao.api("POST", "auth/cluster/role/strongroom", bound | {"token_policies": ["strongroom"]})
    login = {"login": "kubernetes", "login_mount": "cluster", "role": "strongroom", "jwt_file": tmp_path / "jwt"}
    own = Own(serve(QUICK + transit_config(bao, create_default_key=False, **login)), bao)
    own.put()
    assert own.get() == DATA
    assert cluster.calls == 1
    assert jwt not in own.server.log_text()


def test_what_the_token_may_not_do(bao, serve):
    bao.allow("only-other", mount="other")
    own = Own(serve(QUICK + transit_config(bao), environment={"BAO_TOKEN": bao.fresh_token("only-other")}), bao)
    with refused("AccessDenied", 403) as refusal:
        own.put()
    assert f"is not authorized to perform: kms:GenerateDataKey on resource: {own.key['Arn']}" in refusal.message
    assert keys_of(own.s3, "box") == []


def test_a_rotated_key_still_opens_what_it_had_wrapped(own):
    own.put()
    own.keys.rotate_key_on_demand(own.key["KeyId"])
    own.put("new")
    assert own.get() == own.get("new") == DATA


def test_a_soft_deleted_key_bites_on_the_next_request(own):
    own.put()
    own.keys.disable_key(own.key["KeyId"])
    text = f"{own.key['Arn']} is pending deletion."
    with refused("KMS.KMSInvalidStateException", 400, text):
        own.get()
    with refused("KMS.KMSInvalidStateException", 400, text):
        own.put("new")
    assert headers_of(own.s3.head_object(Bucket="box", Key="k"))[KEY_ID] == own.key["Arn"]
    own.keys.enable_key(own.key["KeyId"])
    assert own.get() == DATA


def test_a_bucket_key_spares_the_engine_and_bites_within_five_seconds(own):
    began = time.monotonic()
    in_parallel(lambda n: own.put(str(n), BucketKeyEnabled=True), range(300))
    lifetimes = 2 + (time.monotonic() - began) // 4
    assert own.metric("kms_service_calls_total", service="bao", operation="GenerateDataKey", outcome="ok") <= lifetimes
    own.keys.disable_key(own.key["KeyId"])
    deleted = time.monotonic()
    while True:
        try:
            own.put("0", BucketKeyEnabled=True)
        except own.s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "KMS.KMSInvalidStateException"
            break
        assert time.monotonic() - deleted < 5.5
        time.sleep(0.2)


def test_keys_that_cannot_bind_a_context_are_refused(own):
    for name, more in (("rsa", {"type": "rsa-2048"}), ("derived", {"derived": True})):
        own.bao.api("POST", f"transit/keys/{name}", more)
        with refused("KMS.InvalidKeyUsageException", 400):
            own.put(arn=f"bao/{name}")
    with refused("KMS.NotFoundException", 400):
        own.put(arn="bao/not-made-by-asking")
    assert "not-made-by-asking" not in own.bao.api("LIST", "transit/keys")["data"]["keys"]


def test_other_accounts_by_the_services_policy(bao, serve, tmp_path):
    key, secret = "AKIAOTHEROTHEROTHER1", "other" * 8
    account = table("[[accounts]]", {"id": OTHER_ACCOUNT, "access_key_id": key, "secret_access_key": secret})

    def other(**more):
        server = serve(QUICK + account + transit_config(bao, **more), environment={"BAO_TOKEN": bao.token})
        own = Own(server, bao)
        client = Endpoint(server.url, key, secret, server.ca).client("s3")
        client.create_bucket(Bucket="theirs")
        options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": own.key["Arn"]}
        return lambda: client.put_object(Bucket="theirs", Key="k", Body=DATA, **options)

    with refused("AccessDenied", 403) as refusal:
        other()()
    assert "kms:GenerateDataKey" in refusal.message
    policy = tmp_path / "policy.json"
    principals = [f"arn:aws:iam::{account}:root" for account in ("000000000000", OTHER_ACCOUNT)]
    allow = {"Effect": "Allow", "Principal": {"AWS": principals}, "Action": "kms:*", "Resource": "*"}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    assert other(policy_file=policy)()["SSEKMSKeyId"]


def test_what_the_engine_refuses_neither_shuts_it_nor_tells_strangers_anything(serve, request):
    engine = Stub(403, {"errors": ["permission denied"]})
    request.addfinalizer(engine.stop)
    engine.ca = ""
    key, secret = "AKIAOTHEROTHEROTHER1", "other" * 8
    account = table("[[accounts]]", {"id": OTHER_ACCOUNT, "access_key_id": key, "secret_access_key": secret})
    config = transit_config(engine, create_default_key=False).replace('ca_file = ""\n', "")
    server = serve(QUICK + account + config, environment={"BAO_TOKEN": "x"})
    stranger = Endpoint(server.url, key, secret, server.ca).client("s3")
    stranger.create_bucket(Bucket="theirs")

    def put(client, bucket, name):
        with refused("AccessDenied", 403) as refusal:
            client.put_object(Bucket=bucket, Key="k", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=name)
        return refusal.message

    names = ("bao/one", "bao/other", "one", "alias/aws/s3", "alias/none", "bao/../sys")
    (told,) = {put(stranger, "theirs", name) for name in names}
    assert "the resource does not exist in this Region" in told
    assert engine.calls == 0
    owner = server.client("s3")
    owner.create_bucket(Bucket="box")
    for _ in range(5):
        assert "key/bao/one" in put(owner, "box", "bao/one"), "the breaker does not open"
    assert engine.calls > 0


# --- beside the embedded service, and from one to the other ----------------------------------------------------------


@pytest.fixture
def beside(bao, serve):
    """A server whose default is the embedded key service, and which has the engine as well."""
    return Own(serve(QUICK + transit_config(bao, default=False), environment={"BAO_TOKEN": bao.token}), bao)


def test_two_services_side_by_side(beside):
    embedded = beside.server.client("kms").create_key()["KeyMetadata"]
    assert beside.put("here", arn=embedded["KeyId"])["SSEKMSKeyId"] == embedded["Arn"]
    assert beside.put("named", arn=f"embedded/{embedded['KeyId']}")["SSEKMSKeyId"] == embedded["Arn"]
    assert beside.put("there")["SSEKMSKeyId"] == beside.key["Arn"]
    rows = beside.server.strongroom("keys", "usage", "--json").json
    assert {row["key"]: row["service"] for row in rows} == {embedded["Arn"]: "embedded", beside.key["Arn"]: "bao"}
    lines = [line.split() for line in beside.server.strongroom("keys", "usage").stdout.splitlines()]
    assert lines[0][:4] == ["ENCRYPTION", "KEY", "SERVICE", "BUCKET"]
    beside.bao.stop()
    assert beside.get("here") == DATA
    with refused("ServiceUnavailable", 503):
        beside.get("there")
    beside.server.stop()
    done = beside.server.strongroom("verify", "--config", beside.server.directory / "strongroom.toml", "--json", check=False)
    assert done.returncode == 4, done.stderr
    protections = {row["key"]: row for row in done.json["buckets"][0]["protections"]}
    there, here = protections[beside.key["Arn"]], protections[embedded["Arn"]]
    assert (there["service"], there["checked"], here["service"], here["opened"]) == ("bao", 1, "embedded", 2)
    beside.bao.start()
    done = beside.server.strongroom("verify", "--config", beside.server.directory / "strongroom.toml", "--json")
    assert {row["checked"] for row in done.json["buckets"][0]["protections"]} == {0}


def test_objects_move_from_one_service_to_another_while_they_are_read(beside):
    old = beside.server.client("kms").create_key()["KeyMetadata"]["Arn"]
    for n in range(60):
        beside.put(str(n), arn=old, BucketKeyEnabled=n % 3 == 0)
    beside.put("two-layers", arn=old, ServerSideEncryption="aws:kms:dsse")
    etag = beside.s3.head_object(Bucket="box", Key="7")["ETag"]
    rewrap = ("rewrap", "--bucket", "box", "--from", old, "--to", beside.key["Arn"])
    job = beside.server.strongroom(*rewrap, "--rate", "60", "--detach").stdout.strip()
    seen = set()
    while beside.server.strongroom("jobs", "show", job, "--json").json["state"] == "running":
        seen |= set(in_parallel(lambda n: beside.get(str(n)), range(0, 60, 5)))
    assert seen == {DATA}
    report = beside.server.strongroom("jobs", "show", job, "--json").json
    assert (report["state"], report["rewrapped"], report["failed"]) == ("completed", 61, 0)
    beside.server.client("kms").disable_key(KeyId=old)
    assert beside.get("3") == beside.get("4") == beside.get("two-layers") == DATA
    head = beside.s3.head_object(Bucket="box", Key="7")
    assert (head["ETag"], head["SSEKMSKeyId"]) == (etag, beside.key["Arn"])
    new = beside.server.client("kms").create_key()["KeyMetadata"]["Arn"]
    beside.server.strongroom("rewrap", "--bucket", "box", "--from", beside.key["Arn"], "--to", new)
    beside.bao.stop()
    assert beside.get("3") == beside.get("4") == beside.get("two-layers") == DATA


# --- the unwrap cache ------------------------------------------------------------------------------------------------


def test_the_unwrap_cache_answers_for_the_engine_where_its_operator_wants_that(bao, serve, tmp_path):
    policy = tmp_path / "policy.json"
    allow = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"}
    deny = {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/ann"}, "Action": "kms:Decrypt", "Resource": "*"}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]}))
    entries = table("[kms]", {"unwrap_cache_entries": 100})
    environment = {"BAO_TOKEN": bao.token}

    def asked(own):
        return own.metric("kms_service_calls_total", service="bao", operation="Decrypt", outcome="ok") or 0

    # By default it sees every use.
    seen = Own(serve(entries + QUICK + transit_config(bao, default=False), environment=environment), bao)
    seen.put()
    before = asked(seen)
    assert [seen.get() for _ in range(3)] == [DATA] * 3
    assert asked(seen) - before == 3

    config = transit_config(bao, default=False, unwrap_cache=True, policy_file=policy)
    own = Own(serve(entries + QUICK + config, environment=environment), bao)
    own.put()
    before = asked(own)
    assert own.get() == DATA
    assert [own.get() for _ in range(3)] == [DATA] * 3
    assert asked(own) - before <= 2, "a slow machine may take longer than the key is held"
    assert own.metric("kms_unwrap_cache_hits_total", service="bao") >= 2
    # The gate judges each use all the same.
    iam = own.server.client("iam")
    iam.create_user(UserName="ann")
    iam.put_user_policy(
        UserName="ann",
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}),
    )
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = Endpoint(own.server.url, key["AccessKeyId"], key["SecretAccessKey"], own.server.ca).client("s3")
    with refused("AccessDenied", 403):
        ann.get_object(Bucket="box", Key="k")
    # The policy that judges is the one that is explained.
    explain = ("policy", "explain", "--action", "kms:Decrypt", "--resource", own.key["Arn"], "--json", "--principal")
    told = own.server.strongroom(*explain, "arn:aws:iam::000000000000:user/ann", check=False)
    assert (told.returncode, told.json["decision"]) == (1, "explicitDeny"), told.stderr
    assert own.server.strongroom(*explain, "arn:aws:iam::000000000000:root").json["decision"] == "allowed"
    # It cannot tell of changes: what is held is let go within five seconds.
    own.keys.disable_key(own.key["KeyId"])
    time.sleep(5)
    with refused("KMS.KMSInvalidStateException", 400):
        own.get()
    assert own.metric("kms_unwrap_cache_entries", service="bao") == 0


# --- the root key, sealed by the engine ------------------------------------------------------------------------------


def unsealing(bao, *, wait=60, key="bao/strongroom-root", **more):
    root = {"root_key_protection": "kms", "root_key_kms_key": key, "root_key_kms_wait_seconds": wait}
    return table("[kms]", root) + QUICK + transit_config(bao, default=False, **more)


def reconfigure(server, config):
    (server.directory / "strongroom.toml").write_text(config)


def sealed(server):
    return json.loads((server.data / "root.key.sealed").read_text())


def does_not_start(server, *told):
    began = len(server.log_text())
    with pytest.raises(AssertionError, match="the server ended with"):
        server.start()
    log = server.log_text()[began:]
    for text in told:
        assert text in log, log
    return log


@pytest.fixture
def unsealed(bao, serve):
    """A server that unseals itself, with an object."""
    bao.api("POST", "transit/keys/strongroom-root", {})
    own = Own(serve(unsealing(bao), environment={"BAO_TOKEN": bao.token}), bao)
    own.s3.put_object(Bucket="box", Key="plain", Body=DATA)
    own.readable = lambda: body_of(own.server.client("s3").get_object(Bucket="box", Key="plain")) == DATA
    return own


def test_a_server_unseals_itself(unsealed):
    server, bao = unsealed.server, unsealed.bao
    assert sealed(server)["protection"] == "kms"
    assert sealed(server)["wrapped"]["by"] == "bao/strongroom-root"
    assert sealed(server)["wrapped"]["key"].endswith(":key/bao/strongroom-root")
    assert not (server.data / "root.key").exists()
    bao.api("POST", "transit/keys/strongroom-root/rotate")
    server.stop()
    # Both are started at once: the server waits for the engine.
    bao.stop()
    threading.Timer(3, bao.start).start()
    server.start()
    assert unsealed.readable()
    assert "cannot be unsealed yet" in server.log_text()
    assert bao.token not in server.log_text()
    server.kill()
    server.start()
    assert unsealed.readable()


def test_the_root_key_is_rotated_under_the_engines(unsealed):
    server, bao = unsealed.server, unsealed.bao
    config = server.directory / "strongroom.toml"
    shown = server.strongroom("root-key", "show", "--config", config, "--json").json
    assert shown["protection"] == "kms"
    before = sealed(server)
    report = server.strongroom("root-key", "rotate", "--config", config, "--json").json
    assert report["id"] != shown["id"] and sealed(server) != before
    assert unsealed.readable()
    # Where the engine is away nothing changes, and nobody waits.
    after = sealed(server)
    bao.stop()
    began = time.monotonic()
    done = server.strongroom("root-key", "rotate", "--config", config, check=False)
    assert done.returncode == 1 and time.monotonic() - began < 20, done.stderr
    assert "cannot be sealed or unsealed by kms" in done.stderr, done.stderr
    assert sealed(server) == after and unsealed.readable()
    assert server.strongroom("root-key", "show", "--config", config, "--json").json == shown | {"id": report["id"]}
    bao.start()
    server.kill()
    server.start()
    assert unsealed.readable()
    (server.data / "root.key.sealed").write_text(json.dumps(before))
    server.stop()
    does_not_start(server, "the root key is not the one that sealed this store")


def test_what_keeps_a_server_sealed(unsealed):
    server, bao = unsealed.server, unsealed.bao
    server.stop()
    reconfigure(server, unsealing(bao, wait=2))
    file = server.data / "root.key.sealed"
    whole = file.read_text()

    # A damaged file, and one that another key has sealed.
    file.write_text(whole.replace('"by": "bao/', '"by": "b/'))
    does_not_start(server, "root.key.sealed is damaged: restore it")
    file.write_text(whole)
    bao.api("POST", "transit/keys/strongroom-root/config", {"deletion_allowed": True})
    bao.api("DELETE", "transit/keys/strongroom-root/soft-delete")
    does_not_start(server, "cannot be sealed or unsealed by kms: bao/strongroom-root: KMSInvalidStateException")
    bao.api("POST", "transit/keys/strongroom-root/soft-delete-restore")

    # A token that may not decrypt: it is said whose permission is missing, and not waited for.
    bao.api("POST", "sys/policies/acl/nothing", {"policy": 'path "transit/keys/+" { capabilities = ["read"] }'})
    server.extra_environment = {"BAO_TOKEN": bao.fresh_token("nothing")}
    began = time.monotonic()
    log = does_not_start(server, "AccessDeniedException", "kms:Decrypt", "Strongroom, for its root key", "permission denied")
    assert "cannot be unsealed yet" not in log and time.monotonic() - began < 30
    server.extra_environment = {"BAO_TOKEN": bao.token}

    # The engine is away for longer than the server waits.
    bao.stop()
    does_not_start(server, "cannot be unsealed yet", "cannot be sealed or unsealed by kms: bao/strongroom-root: KeyUnavailableException")
    done = server.strongroom("verify", "--config", server.directory / "strongroom.toml", check=False)
    assert done.returncode == 4 and "cannot be sealed or unsealed by kms" in done.stderr, done.stderr
    bao.start()

    # The service is called something else by now.
    reconfigure(server, unsealing(bao, name="safe", key="safe/strongroom-root", wait=2))
    does_not_start(server, "it is sealed by bao/strongroom-root, and no key service of that name is configured")
    # Not without saying so.
    reconfigure(server, QUICK + transit_config(bao, default=False))
    does_not_start(server, "kms.root_key_protection says otherwise")
    for wrong, told in (
        ("embedded/k", "there is no key service 'embedded' across the network"),
        ("other/k", "there is no key service 'other' across the network"),
        ("strongroom-root", "needs root_key_kms_key, as SERVICE/KEY"),
    ):
        reconfigure(server, unsealing(bao, key=wrong))
        does_not_start(server, told)
    assert file.read_text() == whole, "nothing of this has touched it"
    reconfigure(server, unsealing(bao))
    server.start()
    assert unsealed.readable()

    # A key of the same name that did not seal it: lost, and made anew.
    server.stop()
    bao.api("DELETE", "transit/keys/strongroom-root")
    does_not_start(server, "Key 'arn:aws:kms:us-east-1:000000000000:key/bao/strongroom-root' does not exist")
    bao.api("POST", "transit/keys/strongroom-root", {})
    does_not_start(server, "the key of the key service is not the one that the root key was sealed with")


def test_a_root_key_in_clear_is_sealed_at_the_next_start_and_moves_to_another_key(bao, new_server):
    bao.api("POST", "transit/keys/strongroom-root", {})
    bao.api("POST", "transit/keys/another", {})
    server = new_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="box")
    s3.put_object(Bucket="box", Key="plain", Body=DATA)
    server.stop()
    assert (server.data / "root.key").exists()
    path = server.directory / "strongroom.toml"
    path.write_text(unsealing(bao))
    server.arguments, server.extra_environment = ["--config", str(path)], {"BAO_TOKEN": bao.token}
    server.start()
    assert body_of(server.client("s3").get_object(Bucket="box", Key="plain")) == DATA
    assert not (server.data / "root.key").exists()
    assert sealed(server)["wrapped"]["by"] == "bao/strongroom-root"
    server.stop()
    # The configuration names another key: it seals the file from now on.
    reconfigure(server, unsealing(bao, key="bao/another"))
    server.start()
    assert sealed(server)["wrapped"]["by"] == "bao/another"
    bao.api("DELETE", "transit/keys/strongroom-root/soft-delete")
    server.kill()
    server.start()
    bao.api("POST", "transit/keys/strongroom-root/soft-delete-restore")
    assert body_of(server.client("s3").get_object(Bucket="box", Key="plain")) == DATA


def test_from_a_passphrase_to_the_engine_and_back(bao, new_server, tmp_path):
    bao.api("POST", "transit/keys/strongroom-root", {})
    passphrase = {"STRONGROOM_ROOT_KEY_PASSPHRASE": "correct horse battery"}
    engine = {"BAO_TOKEN": bao.token}
    by_passphrase = table("[kms]", {"root_key_protection": "passphrase"}) + QUICK
    path = tmp_path / "strongroom.toml"
    path.write_text(by_passphrase)
    server = new_server(arguments=["--config", str(path)], environment=passphrase)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="box")
    s3.put_object(Bucket="box", Key="plain", Body=DATA)

    def starts_as(config, environment, protection):
        assert server.stop() == 0
        path.write_text(config)
        server.extra_environment = environment
        server.start()
        assert sealed(server)["protection"] == protection
        assert body_of(server.client("s3").get_object(Bucket="box", Key="plain")) == DATA

    # Without the former means nothing is done.
    server.stop()
    path.write_text(unsealing(bao))
    before = sealed(server)
    for environment, told in (
        (engine, "there is none: set STRONGROOM_ROOT_KEY_PASSPHRASE"),
        (engine | {"STRONGROOM_ROOT_KEY_PASSPHRASE": "wrong horse battery"}, "is not the one that the root key was sealed with"),
    ):
        server.extra_environment = environment
        does_not_start(server, told)
        assert sealed(server) == before
    server.extra_environment = engine | passphrase
    server.start()
    assert "is now sealed in another way" in server.log_text()
    starts_as(unsealing(bao), engine, "kms")
    back = by_passphrase + transit_config(bao, default=False)
    starts_as(back, engine | {"STRONGROOM_ROOT_KEY_PASSPHRASE": "another passphrase"}, "passphrase")
    starts_as(by_passphrase, {"STRONGROOM_ROOT_KEY_PASSPHRASE": "another passphrase"}, "passphrase")
