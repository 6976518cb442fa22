"""An OpenID Connect issuer of one's own."""

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID


class Issuer:
    """A discovery document, a key set, and tokens."""

    AUDIENCE = "strongroom-tests"

    def __init__(self, directory):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = "one"
        self.fetched = 0
        self.certificate = directory / "authority.pem"
        chain, key_file = directory / "issuer.pem", directory / "issuer.key"
        self._make_certificate(chain, key_file)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                document = issuer.documents().get(self.path)
                issuer.fetched += self.path == "/keys"
                body = json.dumps(document or {}).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key_file)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def _make_certificate(self, chain, key_file):
        """An authority, which the server is to trust, and a certificate by it."""
        now = datetime.datetime.now(datetime.UTC)
        authority_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])

        def certify(name, public_key, extension):
            builder = x509.CertificateBuilder().subject_name(name).issuer_name(authority).public_key(public_key)
            builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(extension, False)
            made = builder.sign(authority_key, hashes.SHA256())
            return made.public_bytes(serialization.Encoding.PEM)

        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate.write_bytes(certify(authority, authority_key.public_key(), constraints))
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        chain.write_bytes(certify(name, self.key.public_key(), address))
        key_file.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def documents(self):
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": self.kid, "alg": "RS256", "use": "sig", "n": number(numbers.n), "e": number(numbers.e)}
        return {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [key]},
        }

    def token(self, *, key=None, kid=None, alg="RS256", **claims):
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600} | claims
        parts = [{"alg": alg, "kid": kid or self.kid, "typ": "JWT"}, claims]
        text = ".".join(unpadded(json.dumps(part).encode()) for part in parts)
        signature = (key or self.key).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{unpadded(signature)}"

    def close(self):
        self.http.shutdown()


def unpadded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value):
    return unpadded(value.to_bytes((value.bit_length() + 7) // 8, "big"))
