"""A webhook receiver over HTTPS, with a certificate of its own."""

import datetime
import http.server
import ipaddress
import json
import queue
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def signed(name, public_key, issuer, issuer_key, is_authority):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), True)
    )
    if not is_authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def certificate(directory, name="receiver"):
    """Makes an authority and its certificate for 127.0.0.1: the paths of the authority, the certificate and its key."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = signed(f"{name} authority", authority_key.public_key(), f"{name} authority", authority_key, True)
    leaf = signed(name, key.public_key(), f"{name} authority", authority_key, False)
    paths = [directory / f"{name}{suffix}" for suffix in ("-ca.pem", ".pem", ".key")]
    paths[0].write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class Receiver:
    """Takes POSTs and keeps them, in the order in which they came; while `failing`, it answers 503 instead."""

    def __init__(self, directory, name="receiver"):
        self.pem, chain, key = certificate(directory, name)
        self.requests = queue.Queue()
        self.failing = False
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = 503 if receiver.failing else 204
                if status == 204:
                    receiver.requests.put((self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.http.server_address[1]}/hook"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def next(self, wait=20):
        """The next message, as (path, headers, body)."""
        return self.requests.get(timeout=wait)

    def message(self, wait=20):
        """The next message's JSON."""
        return json.loads(self.next(wait)[2])

    def record(self, wait=20):
        """The one record of the next message."""
        (record,) = self.message(wait)["Records"]
        return record

    def records(self, count, wait=30):
        """The next `count` records."""
        deadline, seen = time.monotonic() + wait, []
        try:
            while len(seen) < count:
                seen.append(self.record(max(deadline - time.monotonic(), 0.1)))
        except queue.Empty:
            raise AssertionError(f"{len(seen)} of {count}: {[record['eventName'] for record in seen]}") from None
        return seen

    def is_silent(self, seconds=1.0):
        """Whether nothing comes for so long."""
        try:
            self.requests.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self):
        self.http.shutdown()
        self.http.server_close()
