"""Kafka clusters, and what reaches them."""

import base64
import hashlib
import hmac
import json
import os
import queue
import secrets
import socketserver
import ssl
import struct
import threading
import time

import confluent_kafka


class Cluster:
    """Three brokers, in this process: the cluster that librdkafka has for tests, which speaks Kafka's protocol."""

    def __init__(self):
        self.client = confluent_kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3})
        brokers = self.client.list_topics(timeout=20).brokers.values()
        self.brokers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def create(self, topic):
        """Makes a topic, and tells how many partitions it has."""
        deadline = time.monotonic() + 20
        while not (partitions := self.client.list_topics(topic, timeout=20).topics[topic].partitions):
            assert time.monotonic() < deadline, topic
            time.sleep(0.1)
        return len(partitions)

    def consume(self, topic, count, wait=60):
        """The first `count` records of a topic: the key, the partition, the headers and the value of each, by partition."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": "test"})
        partitions = range(self.create(topic))
        beginning = confluent_kafka.OFFSET_BEGINNING
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, beginning) for partition in partitions])
        found, deadline = [], time.monotonic() + wait
        while len(found) < count and time.monotonic() < deadline:
            record = consumer.poll(0.5)
            if record is not None and record.error() is None:
                found.append((record.key(), record.partition(), dict(record.headers() or ()), record.value()))
        consumer.close()
        assert len(found) == count, found
        return sorted(found, key=lambda record: record[1])

    def partition_of(self, key):
        """The partition that another producer puts a key into, in a topic of as many."""
        chosen, topic = queue.Queue(), "chosen"
        self.create(topic)
        producer = confluent_kafka.Producer({"bootstrap.servers": self.brokers, "partitioner": "murmur2_random"})
        producer.produce(topic, b"x", key, on_delivery=lambda _error, record: chosen.put(record.partition()))
        producer.flush(20)
        return chosen.get(timeout=20)


class GuardedBroker:
    """A broker that takes records only over TLS, of one user, who proves the password by one mechanism: as much of Kafka's
    protocol as a producer needs. (https://kafka.apache.org/protocol)"""

    USER, PASSWORD, TOPIC = "strongroom", "kafka password", "events"

    def __init__(self, mechanism, certificate, key):
        self.mechanism, self.values = mechanism, queue.Queue()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        broker = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    with context.wrap_socket(self.request, server_side=True) as stream:
                        broker.serve(stream.makefile("rwb"))
                except (OSError, EOFError):
                    pass

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def serve(self, stream):
        proof, authenticated = self.prove(), False
        next(proof)
        while head := stream.read(4):
            request = stream.read(struct.unpack(">i", head)[0])
            api, version, correlation, length = struct.unpack(">hhih", request[:10])
            body = request[10 + max(length, 0) :]
            if api == 18:
                apis = [(0, 3, 7), (3, 1, 1), (17, 1, 1), (18, 0, 3), (36, 0, 0)]
                assert version == 3
                answer = struct.pack(">hB", 0, len(apis) + 1) + b"".join(struct.pack(">hhhB", *api, 0) for api in apis)
                answer += struct.pack(">iB", 0, 0)
            elif api == 17:
                answer = struct.pack(">hi", 0, 1) + text(self.mechanism)
            elif api == 36:
                try:
                    answer = proof.send(body[4:])
                    authenticated = self.mechanism == "PLAIN" or answer.startswith(b"v=")
                    answer = struct.pack(">hh", 0, -1) + struct.pack(">i", len(answer)) + answer
                except PermissionError as refused:
                    answer = struct.pack(">h", 58) + text(str(refused)) + struct.pack(">i", 0)
            elif not authenticated:
                return
            elif api == 3:
                answer = struct.pack(">ii", 1, 1) + text("127.0.0.1") + struct.pack(">ih", self.port, -1)
                answer += struct.pack(">iih", 1, 1, 0) + text(self.TOPIC) + struct.pack(">?i", False, 1)
                answer += struct.pack(">hiiiiii", 0, 0, 1, 1, 1, 1, 1)
            else:
                self.values.put(json.JSONDecoder().raw_decode(body[body.index(b'{"') :].decode("utf-8", "replace"))[0])
                answer = struct.pack(">i", 1) + text(self.TOPIC) + struct.pack(">iihqqqi", 1, 0, 0, 0, -1, 0, 0)
            stream.write(struct.pack(">ii", len(answer) + 4, correlation) + answer)
            stream.flush()

    def prove(self):
        """The server's side of SASL: is sent what the client says, yields what to answer. (RFC 4616, RFC 5802)"""
        said = (yield b"").decode()
        if self.mechanism == "PLAIN":
            if said != f"\0{self.USER}\0{self.PASSWORD}":
                raise PermissionError("Authentication failed")
            yield b""
            return
        digest = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[self.mechanism]
        bare = said.removeprefix("n,,")
        salt, nonce = os.urandom(16), bare.split("r=")[1] + secrets.token_hex(8)
        first = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
        final, _, given = (yield first.encode()).decode().rpartition(",p=")
        salted = hashlib.pbkdf2_hmac(digest, self.PASSWORD.encode(), salt, 4096)
        tag = lambda key, message: hmac.digest(key, message, digest)  # noqa: E731
        client, said_of_all = tag(salted, b"Client Key"), f"{bare},{first},{final}".encode()
        signature = tag(hashlib.new(digest, client).digest(), said_of_all)
        if base64.b64decode(given) != bytes(a ^ b for a, b in zip(client, signature)):
            raise PermissionError("Authentication failed")
        yield b"v=" + base64.b64encode(tag(tag(salted, b"Server Key"), said_of_all))


def text(string):
    """A string as Kafka's protocol has it."""
    return struct.pack(">h", len(string)) + string.encode()
