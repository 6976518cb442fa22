"""Connections: kept alive, refused early, left idle, and held open by those who mean no good."""

import socket
import time

import pytest

from support.calls import keys_of
from support.data import content
from support.requests import UNSIGNED, Response, Signer, connect, head_bytes, raw_socket, send, signed

DATA = content(100_000, "connections")


@pytest.fixture
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=DATA)
    return f"/{bucket}/k"


def ask(server, connection, method, path, body=b"", headers=None):
    """One request on a connection that is open already."""
    made = Signer.of(server).headers(method, path, headers=headers, payload=UNSIGNED)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    if method == "PUT":
        made["content-length"] = str(len(body))
    for name, value in made.items():
        connection.putheader(name, value)
    connection.endheaders(body or None)
    answer = connection.getresponse()
    return Response(answer.status, answer.headers, answer.read())


def test_many_requests_on_one_connection(server, bucket, stored):
    connection = connect(server)
    for _ in range(5):
        assert ask(server, connection, "GET", stored).body == DATA
        assert ask(server, connection, "HEAD", stored).headers["Content-Length"] == str(len(DATA))
        assert ask(server, connection, "GET", f"/{bucket}/none").status == 404
        assert ask(server, connection, "HEAD", f"/{bucket}/none").status == 404
        assert ask(server, connection, "PUT", f"/{bucket}/p", DATA).status == 200
        assert ask(server, connection, "GET", stored, headers={"if-none-match": "*"}).status == 304
        assert ask(server, connection, "DELETE", f"/{bucket}/p").status == 204
    connection.close()


def test_names_of_headers_are_spelled_as_aws_spells_them(server, bucket, stored):
    """Over HTTP/1.1: htslib, xbcloud and fluent-bit look for `ETag: ` as it stands."""
    connection = connect(server)
    put = ask(server, connection, "PUT", f"/{bucket}/p", DATA)
    read = ask(server, connection, "GET", stored, headers={"range": "bytes=0-9"})
    failed = ask(server, connection, "GET", f"/{bucket}/none")
    listed = send(server, "POST", "/", {"host": server.host, "x-amz-target": "TrentService.ListKeys"}, b"{}")
    common = {"Date", "Server", "x-amz-id-2", "x-amz-request-id"}
    encryption = {"x-amz-server-side-encryption"}
    shown = {"Accept-Ranges", "Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified"}
    assert {"Content-Length", "ETag"} | common | encryption <= set(put.headers)
    assert shown | common | encryption <= set(read.headers)
    assert {"Content-Type"} | common <= set(failed.headers)
    assert {"Content-Length", "Content-Type", "Date", "x-amzn-RequestId"} <= set(listed.headers)
    connection.close()


def test_pipelined_requests(server, stored):
    signer = Signer.of(server)
    head = head_bytes("GET", stored, signer.headers("GET", stored, headers={"range": "bytes=0-9"}))
    with raw_socket(server) as connection:
        connection.sendall(head * 3)
        received, deadline = b"", time.monotonic() + 10
        while received.count(DATA[:10]) < 3 and time.monotonic() < deadline:
            received += connection.recv(65_536)
    assert received.count(b"HTTP/1.1 206") == 3


def refusals(server, path):
    """(name, headers of a PUT that is refused by its head alone, status)."""
    signer = Signer.of(server)
    length = {"content-length": "50000"}
    forged = Signer.of(server)
    forged.secret_key += "x"
    make = lambda by, **more: by.headers("PUT", path, headers=length | more, payload=UNSIGNED)  # noqa: E731
    return [
        ("condition", make(signer, **{"if-none-match": "*"}), 412),
        ("signature", make(forged), 403),
        ("key", make(signer, **{"x-amz-server-side-encryption-aws-kms-key-id": "x"}), 400),
        ("anonymous", length | {"host": server.host}, 403),
    ]


@pytest.mark.parametrize("number", range(4))
def test_an_early_refusal_does_not_surprise_the_next_request(server, stored, number):
    """Either the answer says that the connection closes, or the connection goes on once the body has come."""
    name, headers, status = refusals(server, stored)[number]
    get = head_bytes("GET", stored, Signer.of(server).headers("GET", stored, headers={"range": "bytes=0-9"}))
    with raw_socket(server) as connection:
        connection.sendall(head_bytes("PUT", stored, headers))
        answer = connection.recv(65_536)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (name, answer[:200])
        if b"connection: close" in answer.lower():
            return
        time.sleep(0.3)
        connection.sendall(bytes(50_000) + get)
        received, deadline = b"", time.monotonic() + 10
        while DATA[:10] not in received and time.monotonic() < deadline:
            block = connection.recv(65_536)
            assert block, f"{name}: closed without a word"
            received += block
        assert b"HTTP/1.1 206" in received, name


def test_a_refusal_reaches_a_client_that_is_still_sending(server, s3, bucket):
    """Without Expect the body is on its way when the head is refused: the answer must not be lost in a reset."""
    forged, body = Signer.of(server), bytes(4 * 2**20)
    forged.secret_key += "x"
    for _ in range(10):
        answer = signed(server, "PUT", f"/{bucket}/k", body=body, payload=UNSIGNED, signer=forged)
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert keys_of(s3, bucket) == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /b/k?a=%zz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
    ],
)
def test_requests_that_are_none(server, head):
    with raw_socket(server, timeout=10) as connection:
        connection.sendall(head)
        connection.settimeout(3)
        try:
            answer = connection.recv(65_536)
        except (TimeoutError, ConnectionError):
            answer = b""
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) or answer.startswith(b"HTTP/1.0 4"), answer
    assert not answer.startswith(b"HTTP/1.1 500"), answer
    assert server.get("/_/health/ready").status == 200


def test_what_cannot_be_read_is_logged(new_server):
    """It has no record of a request, as it is none."""
    server = new_server()
    for head in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nname : value\r\n\r\n"):
        before = server.log_text().count("no request could be read")
        with raw_socket(server, timeout=10) as connection:
            connection.sendall(head)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400")
        deadline = time.monotonic() + 10
        while server.log_text().count("no request could be read") == before:
            assert time.monotonic() < deadline, server.log_text()[-2000:]
            time.sleep(0.05)


def test_plain_http_on_the_tls_port(server):
    if not server.tls:
        pytest.skip("the endpoint has no TLS")
    with socket.create_connection(server.address, timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            plain.recv(1024)
        except ConnectionError:
            pass
    assert server.get("/_/health/ready").status == 200


def closed_within(connection, seconds):
    """Whether the other side ends the connection in time; what it says before does not matter."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_nobody_holds_a_connection_for_nothing(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text(
        "[limits]\nhandshake_seconds = 1\nheader_seconds = 1\nidle_seconds = 1\nstall_seconds = 1\nconnections = 40\n"
    )
    server = new_server(arguments=["--config", config])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="held")

    with socket.create_connection(server.address) as silent:
        assert closed_within(silent, 5), "a handshake that never comes"
    with raw_socket(server) as idle:
        assert closed_within(idle, 5), "a connection without a request"
    with raw_socket(server) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ")
        assert closed_within(slow, 5), "a head that never ends"
    made = Signer.of(server).headers("PUT", "/held/k", headers={"content-length": "1000"}, payload=UNSIGNED)
    with raw_socket(server) as stalled:
        stalled.sendall(head_bytes("PUT", "/held/k", made) + b"x" * 10)
        answer = stalled.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 400") and b"<Code>RequestTimeout</Code>" in answer
        assert closed_within(stalled, 5), "a body that does not go on"
    assert keys_of(s3, "held") == []

    # More connections than are served at once wait their turn; nobody is turned away.
    crowd = [socket.create_connection(server.address) for _ in range(60)]
    assert signed(server, "GET", "/held", [("list-type", "2")]).status == 200
    for connection in crowd:
        connection.close()
    assert send(server, "GET", "/_/health/live", {"host": server.host}).status == 200
