"""Requests that no SDK sends: signed by hand, with every part open to the test."""

import hashlib
import hmac
import http.client
import socket
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from datetime import datetime, timezone

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def quote(text, safe="-_.~"):
    """Percent-encodes as SigV4 does."""
    return urllib.parse.quote(text, safe=safe)


@dataclass
class Response:
    """What came back, read whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def error(self):
        """The elements of an XML error by name."""
        root = ElementTree.fromstring(self.body)
        assert root.tag == "Error", self.body
        return {child.tag: child.text or "" for child in root}

    @property
    def code(self):
        return self.error["Code"]


def canonical_query(query):
    """The canonical form of a list of (name, value) pairs, in clear."""
    return "&".join(f"{n}={v}" for n, v in sorted((quote(n), quote(v)) for n, v in query))


@dataclass
class Signer:
    """SigV4 by the book. Every input can be set wrong."""

    access_key: str
    secret_key: str
    host: str
    region: str = "us-east-1"
    service: str = "s3"
    when: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @classmethod
    def of(cls, endpoint, **options):
        return cls(endpoint.access_key, endpoint.secret_key, endpoint.host, **options)

    @property
    def timestamp(self):
        return self.when.strftime("%Y%m%dT%H%M%SZ")

    @property
    def scope(self):
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/aws4_request"

    def key(self):
        key = ("AWS4" + self.secret_key).encode()
        for part in self.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key

    def sign(self, text):
        return hmac.new(self.key(), text.encode(), hashlib.sha256).hexdigest()

    def canonical_request(self, method, path, query, headers, payload):
        names = sorted(headers)
        lines = [method, path, canonical_query(query)]
        lines += [f"{name}:{' '.join(headers[name].split())}" for name in names]
        return "\n".join([*lines, "", ";".join(names), payload])

    def string_to_sign(self, canonical_request):
        digest = hashlib.sha256(canonical_request.encode()).hexdigest()
        return f"AWS4-HMAC-SHA256\n{self.timestamp}\n{self.scope}\n{digest}"

    def headers(self, method, path, query=(), headers=None, payload=EMPTY, unsigned=None):
        """The headers to send, Authorization among them. `unsigned` ones go along without being signed."""
        signed = {k.lower(): v for k, v in (headers or {}).items()}
        signed |= {"host": signed.get("host", self.host), "x-amz-date": self.timestamp}
        if payload is not None:
            signed["x-amz-content-sha256"] = payload
        canonical = self.canonical_request(method, path, query, signed, payload if payload is not None else EMPTY)
        signature = self.sign(self.string_to_sign(canonical))
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{self.scope}, "
            f"SignedHeaders={';'.join(sorted(signed))}, Signature={signature}"
        )
        return signed | (unsigned or {})

    def presign(self, method, path, query=(), headers=None, expires=300):
        """The target (path and query) of a presigned URL; `headers` must be sent along as they are."""
        signed = {k.lower(): v for k, v in (headers or {}).items()} | {"host": self.host}
        query = [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self.access_key}/{self.scope}"),
            ("X-Amz-Date", self.timestamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", ";".join(sorted(signed))),
        ]
        canonical = self.canonical_request(method, path, query, signed, UNSIGNED)
        signature = self.sign(self.string_to_sign(canonical))
        return f"{path}?{canonical_query(query)}&X-Amz-Signature={signature}"

    def chunks(self, seed, pieces):
        """The body of STREAMING-AWS4-HMAC-SHA256-PAYLOAD, and its last chunk's signature."""
        body, previous = b"", seed
        for piece in [*pieces, b""]:
            text = "\n".join(
                [
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    self.timestamp,
                    self.scope,
                    previous,
                    EMPTY,
                    hashlib.sha256(piece).hexdigest(),
                ]
            )
            previous = self.sign(text)
            body += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + b"\r\n"
        return body, previous

    def trailer_signature(self, previous, trailer):
        digest = hashlib.sha256(trailer).hexdigest()
        return self.sign("\n".join(["AWS4-HMAC-SHA256-TRAILER", self.timestamp, self.scope, previous, digest]))


def seed_signature(headers):
    """The signature that an Authorization header ends with."""
    return headers["authorization"].rsplit("Signature=", 1)[1]


def target(path, query=()):
    """A request target from a path, already encoded, and (name, value) pairs."""
    text = canonical_query(query)
    return f"{path}?{text}" if text else path


def connect(endpoint, url=None, timeout=60):
    """An HTTP connection to `url`, else to the endpoint's own."""
    url = url or endpoint.url
    host, port = url.split("//")[1].split(":")
    if url.startswith("https:"):
        return http.client.HTTPSConnection(host, int(port), context=endpoint.tls_context(), timeout=timeout)
    return http.client.HTTPConnection(host, int(port), timeout=timeout)


def send(endpoint, method, request_target, headers, body=b"", url=None):
    """Sends exactly these headers (a dict, or pairs), adding only a Content-Length that is missing."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    connection = connect(endpoint, url)
    try:
        connection.putrequest(method, request_target, skip_host=True, skip_accept_encoding=True)
        names = {name.lower() for name, _ in pairs}
        if (body or method in ("PUT", "POST")) and not names & {"content-length", "transfer-encoding"}:
            pairs.append(("content-length", str(len(body))))
        for name, value in pairs:
            connection.putheader(name, value)
        connection.endheaders()
        try:
            if body:
                connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The server may answer, and close, before it has read all.
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def signed(
    endpoint, method, path, query=(), headers=None, body=b"", payload=None, signer=None, unsigned=None, url=None
):
    """Signs and sends; the payload's hash is computed unless `payload` says otherwise."""
    signer = signer or Signer.of(endpoint)
    if url:
        signer.host = url.split("//")[1]
    payload = payload if payload is not None else hashlib.sha256(body).hexdigest()
    made = signer.headers(method, path, query, headers, payload, unsigned)
    return send(endpoint, method, target(path, query), made, body, url)


def raw_socket(endpoint, timeout=30):
    """A TLS (or plain) socket to the endpoint, for bytes that are not HTTP as it should be."""
    plain = socket.create_connection(endpoint.address, timeout=timeout)
    if not endpoint.tls:
        return plain
    return endpoint.tls_context().wrap_socket(plain, server_hostname=endpoint.address[0])


def head_bytes(method, request_target, headers):
    """The bytes of a request's head."""
    lines = [f"{method} {request_target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
