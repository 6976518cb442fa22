"""Where the audit's events are sent: syslog over UDP, TCP and a local socket, and a web hook over TLS; at least once, over
failures and restarts."""

import datetime
import http.server
import ipaddress
import json
import re
import socket
import socketserver
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.metrics import samples

HEADER = re.compile(r"<(\d+)>1 (\S+) (\S+) strongroom (\d+) (\S+) \[meta sequenceId=\"(\d+)\"\] (\{.*\})", re.DOTALL)


def eventually(check, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return value


def configured(tmp_path, *lines):
    config = tmp_path / "strongroom.toml"
    config.write_text("\n".join(["[audit]", *lines]) + "\n")
    return ["--config", str(config)]


def gauge(server, name, sink):
    for sample in samples(server):
        if sample.name == f"strongroom_{name}" and sample.labels.get("sink") == sink:
            return sample.value
    return None


def log_lines(server):
    """The log as it is kept: the sequence number of each line, and its event."""
    lines = []
    for path in sorted((server.data / "audit").glob("events-*.jsonl")):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return {line["sequence"]: line["event"] for line in lines}


# --- syslog ----------------------------------------------------------------------------------------------------------------


class Messages:
    """A receiver of syslog messages by one kind of socket."""

    def __init__(self, kind, tmp_path):
        self.received, self.kind, self.path = [], kind, tmp_path / "log.sock"
        self.open()

    def open(self, port=0):
        self.closing = False
        if self.kind == "unix":
            self.path.unlink(missing_ok=True)
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.socket.bind(str(self.path))
            self.address = f"unix://{self.path}"
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if self.kind == "udp" else socket.SOCK_STREAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("127.0.0.1", port))
            self.address = f"{self.kind}://127.0.0.1:{self.socket.getsockname()[1]}"
            if self.kind == "tcp":
                self.socket.listen()
        self.streams = []
        self.thread = threading.Thread(target=self.receive, daemon=True)
        self.thread.start()

    def receive(self):
        try:
            while True:
                if self.kind == "tcp":
                    stream, _ = self.socket.accept()
                    self.streams.append(stream)
                    threading.Thread(target=self.read_stream, args=[stream], daemon=True).start()
                else:
                    self.received.append(self.socket.recv(65536).decode())
        except OSError:
            pass

    def read_stream(self, stream):
        buffer = b""
        try:
            while chunk := stream.recv(65536):
                buffer += chunk
                while match := re.match(rb"(\d+) ", buffer):
                    end = match.end() + int(match[1])
                    if len(buffer) < end:
                        break
                    self.received.append(buffer[match.end() : end].decode())
                    buffer = buffer[end:]
        except OSError:
            pass

    def close(self):
        port = self.socket.getsockname()[1] if self.kind != "unix" else 0
        for one in [self.socket, *self.streams]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        self.path.unlink(missing_ok=True)
        return port

    def sequences(self):
        return [int(HEADER.fullmatch(message)[6]) for message in list(self.received)]


@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
def test_syslog(new_server, tmp_path, kind):
    messages = Messages(kind, tmp_path)
    server = new_server(arguments=configured(tmp_path, f'syslog = "{messages.address}"', "syslog_facility = 10"))
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    with pytest.raises(kms.exceptions.NotFoundException):
        kms.describe_key(KeyId="12345678-1234-1234-1234-123456789012")
    eventually(lambda: len(messages.received) >= 2)
    headers = [HEADER.fullmatch(message) for message in messages.received]
    assert all(headers), messages.received
    assert [(h[1], h[5], h[6]) for h in headers] == [("86", "CreateKey", "1"), ("84", "DescribeKey", "2")]
    line = json.loads(headers[0][7])
    assert line["sequence"] == 1 and line["event"]["responseElements"]["keyMetadata"]["keyId"] == key
    assert line["event"] == log_lines(server)[1]
    assert headers[0][2] == line["event"]["eventTime"]
    eventually(lambda: gauge(server, "audit_sink_events_delivered_total", "syslog") == 2)
    assert gauge(server, "audit_sink_events_behind", "syslog") == 0

    if kind == "udp":
        return  # which never tells whether anybody listens
    # The receiver goes away; nothing is lost for it, over a crash of the server too.
    port = messages.close()
    for _ in range(3):
        kms.list_keys()
        time.sleep(0.3)
    eventually(lambda: gauge(server, "audit_sink_failing", "syslog") == 1)
    server.kill()
    messages.received.clear()
    server.start()
    kms = server.client("kms")
    kms.list_keys()
    messages.open(port)
    last = max(log_lines(server))
    eventually(lambda: last in messages.sequences(), 40)
    came = messages.sequences()
    # What was in the sockets when the receiver went may be the receiver's loss; what was not delivered is delivered.
    assert set(range(last - 1, last + 1)) <= set(came), came
    assert len(came) == len(set(came)), "in one run nothing comes twice"


# --- web hook --------------------------------------------------------------------------------------------------------------


def authority(directory):
    """A certificate for 127.0.0.1 that vouches for itself: the paths of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "siem")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / "siem.pem", directory / "siem.key"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_path.write_bytes(key.private_bytes(*encoding))
    return cert_path, key_path


class Hook:
    """An HTTPS receiver: what it was sent, and how it answers."""

    def __init__(self, directory, port=0):
        self.requests, self.answers = [], []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = hook.answers.pop(0) if hook.answers else 200
                if status == 200:
                    hook.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                # So that nobody is answered once the receiver is closed.
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True

            def log_message(self, *_):
                pass

        cert, key = directory / "siem.pem", directory / "siem.key"
        if not cert.exists():
            authority(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
        self.server.allow_reuse_address, self.server.daemon_threads = True, True
        self.server.server_bind()
        self.server.server_activate()
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self):
        return [event for _, _, body in list(self.requests) for event in body["Records"]]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        return self.port


def test_a_web_hook(new_server, tmp_path):
    hook = Hook(tmp_path)
    arguments = configured(
        tmp_path,
        f'webhook = "https://127.0.0.1:{hook.port}/in"',
        'webhook_authorization = "Bearer t0ken-of-the-siem"',
        f'webhook_ca = "{tmp_path}/siem.pem"',
    )
    server = new_server(arguments=arguments)
    kms = server.client("kms")
    hook.answers = [500, 429]
    kms.create_key()
    eventually(lambda: len(hook.events()) == 1)
    path, headers, body = hook.requests[0]
    assert path == "/in" and headers["authorization"] == "Bearer t0ken-of-the-siem"
    assert headers["x-strongroom-sequence"] == "1-1" and headers["content-type"] == "application/json"
    assert body["Records"][0] == log_lines(server)[1]
    assert gauge(server, "audit_sink_failures_total", "webhook") == 2

    # Away for a while, and the server killed meanwhile.
    port = hook.close()
    for _ in range(5):
        kms.list_keys()
    eventually(lambda: gauge(server, "audit_sink_failing", "webhook") == 1)
    server.kill()
    server.start()
    kms = server.client("kms")
    for _ in range(5):
        kms.list_keys()
    again = Hook(tmp_path, port)
    log = log_lines(server)
    eventually(lambda: len(again.events()) >= len(log) - 1, 60)
    assert again.events() == [event for number, event in sorted(log.items()) if number > 1]
    # Stopped well, and started anew: nothing is sent twice.
    assert server.stop() == 0
    again.requests.clear()
    server.start()
    server.client("kms").list_keys()
    eventually(lambda: again.events())
    assert [event["eventName"] for event in again.events()] == ["ListKeys"]
    assert "t0ken-of-the-siem" not in server.log_text()
    again.close()


def test_a_hook_that_nobody_vouches_for_gets_nothing(new_server, tmp_path):
    hook = Hook(tmp_path)
    server = new_server(arguments=configured(tmp_path, f'webhook = "https://127.0.0.1:{hook.port}/in?token=secret"'))
    server.client("kms").list_keys()
    eventually(lambda: gauge(server, "audit_sink_failing", "webhook") == 1)
    assert hook.requests == []
    # It does not hold up the end, and the log does not tell the secret.
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 20
    assert "token=secret" not in server.log_text()
    hook.close()


def test_addresses_that_are_none(tmp_path, new_server):
    for line in ('syslog = "logs.example.com"', 'webhook = "http://siem.example.com/in"', "syslog_facility = 24"):
        server = new_server(arguments=configured(tmp_path, line), start=False)
        with pytest.raises(AssertionError, match="ended with 2"):
            server.start()
