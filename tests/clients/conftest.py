"""Fixtures: a server for the whole run, servers of one's own, and the clients of each.

`STRONGROOM_BINARY` names the executable (else the release build is taken). `STRONGROOM_TEST_ENDPOINT` (with
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for TLS, `AWS_CA_BUNDLE`) runs the tests that need no process of their
own against another S3, to learn what that does.
"""

import itertools
import os
import uuid

import pytest

from support.calls import empty
from support.identities import Identities, document, replication_role
from support.peers import KeyServices
from support.replication import ROLE, Pair, TwoServers
from support.server import Endpoint, Server, two_accounts


def pytest_generate_tests(metafunc):
    """A test marked `key_services("transit", "aws")` runs on servers with each of these, beside the embedded one."""
    if marker := metafunc.definition.get_closest_marker("key_services"):
        metafunc.parametrize("key_service", ["embedded", *marker.args], indirect=True, scope="session")


@pytest.fixture(scope="session")
def key_services():
    """Peers that keep keys, started when they are first needed."""
    services = KeyServices()
    yield services
    services.stop()


@pytest.fixture(scope="session")
def key_service(request):
    """The key service that SSE-KMS uses."""
    return getattr(request, "param", "embedded")


@pytest.fixture(scope="session")
def shared_servers(key_services):
    """Servers by their key service, started when they are first needed."""
    servers = {}

    def obtain(key_service):
        if key_service not in servers:
            servers[key_service] = key_services.server(key_service, http=True).start()
        return servers[key_service]

    yield obtain
    for server in servers.values():
        if server.process is not None:
            assert server.stop() == 0, server.log_text()[-4000:]
        server.destroy()


@pytest.fixture(scope="session")
def server(request, key_service):
    """The server that most tests share, with a plain HTTP listener beside TLS."""
    if url := os.environ.get("STRONGROOM_TEST_ENDPOINT"):
        if key_service != "embedded":
            pytest.skip("the endpoint's key service is its own affair")
        endpoint = Endpoint(
            url,
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            os.environ.get("AWS_CA_BUNDLE"),
        )
        endpoint.http_url = url if not endpoint.tls else None
        return endpoint
    return request.getfixturevalue("shared_servers")(key_service)


@pytest.fixture
def new_server():
    """Makes servers that the test may stop, kill and start again; `new_server(...)` takes `Server`'s arguments."""
    made = []

    def make(*arguments, start=True, **options):
        server = Server(*arguments, **options)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        server.destroy()


@pytest.fixture(scope="module")
def two_account_server(tmp_path_factory):
    """Makes servers with a second account for a module of tests; takes what `two_accounts` does behind the directory."""
    made = []

    def make(**options):
        made.append(two_accounts(tmp_path_factory.mktemp("accounts"), **options))
        return made[-1]

    yield make
    for server in made:
        assert server.stop() == 0, server.log_text()[-4000:]
        server.destroy()


@pytest.fixture(scope="module")
def here():
    """A server that replicates among its own buckets, for a module of tests."""
    server = Server().start()
    assert replication_role(server) == ROLE
    yield server
    server.destroy()


@pytest.fixture
def pair(here):
    """Two buckets of it, of which one is replicated to the other."""
    here.pairs = getattr(here, "pairs", 0) + 1
    return Pair(here, here.pairs)


@pytest.fixture
def servers(tmp_path):
    """Two servers, of which one replicates to the other."""
    servers = TwoServers(tmp_path)
    yield servers
    servers.destroy()


@pytest.fixture
def fresh_server(request, key_service, new_server):
    """A server of the test's own, on an empty data directory."""
    if key_service == "embedded":
        yield new_server()
        return
    server = request.getfixturevalue("key_services").server(key_service).start()
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def s3(server):
    """boto3's S3 client with its defaults: CRC32 in a trailer on every upload."""
    return server.client("s3")


@pytest.fixture(scope="session")
def plain_s3(server):
    """The same without the checksums that newer SDKs add by themselves."""
    return server.client("s3", checksums="when_required")


@pytest.fixture(scope="session")
def kms(server):
    """Where the keys are made that the server's objects are under."""
    return server.keys()


@pytest.fixture(scope="session")
def aws(server):
    return server.aws


@pytest.fixture(scope="session")
def curl(server):
    return server.curl


@pytest.fixture(scope="session")
def bucket_names():
    run = uuid.uuid4().hex[:8]
    return (f"test-{run}-{number}" for number in itertools.count())


@pytest.fixture
def bucket(s3, bucket_names):
    """A bucket of the test's own."""
    name = next(bucket_names)
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def key(kms):
    """A customer managed KMS key of the test's own: its metadata."""
    metadata = kms.create_key(Description="test")["KeyMetadata"]
    yield metadata
    state = kms.describe_key(KeyId=metadata["KeyId"])["KeyMetadata"]["KeyState"]
    if state != "PendingDeletion":
        kms.schedule_key_deletion(KeyId=metadata["KeyId"], PendingWindowInDays=7)


@pytest.fixture(scope="session")
def shared_key(kms):
    """A customer managed KMS key that no test disables."""
    return kms.create_key(Description="shared")["KeyMetadata"]


@pytest.fixture(scope="module")
def account(server):
    """The id of the server's account."""
    return server.client("sts").get_caller_identity()["Account"]


@pytest.fixture
def identities(server):
    """Users, groups, roles and policies of the test's own; gone when it ends."""
    made = Identities(server)
    yield made
    made.clean()


@pytest.fixture
def user_with(identities):
    """user_with(statement, ...): a maker of clients, by service, of a user with this policy."""

    def make(*statements):
        user = identities.user()
        identities.iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(*statements))
        return lambda service: identities.client(service, user)

    return make
