"""Message brokers, each with a directory and a port of its own, and what reaches them.

They are Debian's, unpacked by `.ci/brokers` into the directory that `STRONGROOM_BROKERS` names."""

import json
import os
import queue
import socket
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client
import pika

from support.server import clean_environment, free_port

UNPACKED = Path(os.environ.get("STRONGROOM_BROKERS", Path.home() / ".cache/strongroom/brokers"))


class Broker:
    """A broker's process. `stop` ends it; `start` begins it again, on the same port and with what it kept."""

    def __init__(self, directory):
        assert (UNPACKED / "complete").exists(), f"run .ci/brokers {UNPACKED}"
        self.directory = Path(directory)
        self.port = free_port()
        self.process = None
        self.start()

    def start(self, wait=60):
        libraries = UNPACKED / "usr/lib/x86_64-linux-gnu"
        libraries = libraries if libraries.exists() else next((UNPACKED / "usr/lib").glob("*-linux-gnu"))
        environment = clean_environment() | {"LD_LIBRARY_PATH": str(libraries)} | self.environment()
        with (self.directory / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in self.command()], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + wait
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.directory / "broker.log").read_text()[-4000:]
                assert time.monotonic() < deadline, (self.directory / "broker.log").read_text()[-4000:]
                time.sleep(0.1)

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait(60)

    def environment(self):
        return {}


class Nats(Broker):
    """NATS with JetStream."""

    def command(self):
        return [UNPACKED / "usr/sbin/nats-server", "-a", "127.0.0.1", "-p", self.port, "-js", "-sd", self.directory / "js"]

    def subscribe(self, subject):
        """A queue of the messages under `subject`, from now on."""
        return NatsConnection(self.port).subscribe(subject)

    def request(self, subject, payload):
        """The JSON that answers `payload`."""
        connection = NatsConnection(self.port)
        answers = connection.subscribe("answers")
        connection.publish(subject, json.dumps(payload).encode(), "answers")
        return json.loads(answers.get(timeout=10))


class NatsConnection:
    """NATS's text protocol, as far as tests need it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.socket.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')

    def subscribe(self, subject):
        messages = queue.Queue()
        self.socket.sendall(f"SUB {subject} 1\r\nPING\r\n".encode())
        assert self.file.readline().startswith(b"PONG")
        self.socket.settimeout(None)

        def read():
            while line := self.file.readline():
                if line.startswith(b"PING"):
                    self.socket.sendall(b"PONG\r\n")
                elif line.startswith(b"MSG"):
                    length = int(line.split()[-1])
                    messages.put(self.file.read(length + 2)[:length])

        threading.Thread(target=read, daemon=True).start()
        return messages

    def publish(self, subject, payload, reply):
        self.socket.sendall(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")


class Mosquitto(Broker):
    """An MQTT broker with one user."""

    USER, PASSWORD = "strongroom", "mqtt password"

    def command(self):
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {self.directory}/passwords\n"
            f"persistence true\npersistence_location {self.directory}/\nuser root\n"
        )
        passwords = self.directory / "passwords"
        if not passwords.exists():
            passwords.write_text(f"{self.USER}:{self.PASSWORD}\n")
            passwords.chmod(0o600)
            subprocess.run(
                [UNPACKED / "usr/bin/mosquitto_passwd", "-U", passwords],
                env=clean_environment() | {"LD_LIBRARY_PATH": str(next((UNPACKED / "usr/lib").glob("*-linux-gnu")))},
                check=True,
            )
        return [UNPACKED / "usr/sbin/mosquitto", "-c", configuration]

    def subscribe(self, topic):
        messages, ready = queue.Queue(), threading.Event()
        client = paho.mqtt.client.Client(paho.mqtt.client.CallbackAPIVersion.VERSION2)
        client.username_pw_set(self.USER, self.PASSWORD)
        client.on_message = lambda _client, _data, message: messages.put(message.payload)
        client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: ready.set()
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        assert ready.wait(20)
        return messages


class RabbitMQ(Broker):
    """An AMQP 0-9-1 broker."""

    def __init__(self, directory):
        self.ports = {"RABBITMQ_DIST_PORT": str(free_port()), "ERL_EPMD_PORT": str(free_port())}
        super().__init__(directory)

    def environment(self):
        directory = self.directory
        (directory / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        return self.ports | {
            "PATH": f"{UNPACKED}/usr/lib/erlang/bin:{os.environ['PATH']}",
            "HOME": str(directory),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia",
            "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_PID_FILE": f"{directory}/pid",
        }

    def command(self):
        (script,) = (UNPACKED / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server")
        return ["sh", script]

    def stop(self):
        super().stop()
        epmd = next((UNPACKED / "usr/lib/erlang").glob("erts-*/bin/epmd"))
        subprocess.run([epmd, "-port", self.ports["ERL_EPMD_PORT"], "-kill"], capture_output=True, check=False)

    def channel(self):
        parameters = pika.ConnectionParameters("127.0.0.1", self.port, blocked_connection_timeout=30)
        return pika.BlockingConnection(parameters).channel()

    def take(self, channel, name, wait=20):
        """The next message of the queue `name`: its properties and its body."""
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            method, properties, body = channel.basic_get(name, auto_ack=True)
            if method is not None:
                return properties, body
            time.sleep(0.05)
        raise TimeoutError(name)


