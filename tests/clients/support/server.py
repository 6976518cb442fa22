"""A strongroom process on a data directory of its own, and the clients that talk to it."""

import configparser
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config

REPOSITORY = Path(__file__).resolve().parents[3]
REGION = "us-east-1"
#: AWS's models of its services, which take longer to read than most tests take.
MODELS = botocore.loaders.Loader()


def binary():
    """The server's executable: STRONGROOM_BINARY, else the release build."""
    if given := os.environ.get("STRONGROOM_BINARY"):
        return Path(given)
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    path = target / "release" / "strongroom"
    assert path.exists(), f"{path} is not there: build it (cargo build --release) or set STRONGROOM_BINARY"
    return path


def tool(name):
    """The path of a command: beside this interpreter, else on PATH; None if there is none."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment():
    """This process's environment without what would steer the server or a client."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "STRONGROOM_"))}


class Endpoint:
    """Somewhere S3 and KMS are served, and the credentials for it."""

    def __init__(self, url, access_key, secret_key, ca=None, region=REGION):
        self.url = url
        self.access_key = access_key
        self.secret_key = secret_key
        self.ca = ca
        self.region = region

    @property
    def tls(self):
        return self.url.startswith("https:")

    @property
    def address(self):
        host, port = self.url.split("//")[1].split(":")
        return host, int(port)

    @property
    def host(self):
        return self.url.split("//")[1]

    def keys(self):
        """Where keys are made that objects can be under."""
        return self.client("kms")

    def tls_context(self):
        return ssl.create_default_context(cafile=self.ca)

    def client(self, service, *, endpoint_url=None, checksums="when_supported", **options):
        """A boto3 client that tries once and waits no longer than the tests do."""
        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=80,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            s3={"addressing_style": "path"},
        )
        if extra := options.pop("config", None):
            config = config.merge(extra)
        session = botocore.session.Session()
        session.register_component("data_loader", MODELS)
        session = boto3.session.Session(botocore_session=session)
        arguments = {
            "endpoint_url": endpoint_url or self.url,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": self.region,
            "verify": self.ca if self.ca else True,
            "config": config,
        }
        return session.client(service, **(arguments | options))

    def environment(self):
        """What makes the AWS command line use this endpoint."""
        environment = clean_environment() | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_CONFIG_FILE": str(Path(__file__).with_name("aws.config")),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }
        if self.ca:
            environment["AWS_CA_BUNDLE"] = str(self.ca)
        return environment

    def aws(self, *arguments, check=True, stdin=None, text=True, env=None):
        """Runs the AWS command line; its JSON output, if it is that, is `.json`."""
        done = subprocess.run(
            [tool("aws"), *map(str, arguments)],
            env=self.environment() | (env or {}),
            input=stdin,
            capture_output=True,
            text=text,
            timeout=150,
        )
        assert not check or done.returncode == 0, f"aws {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        done.json = None
        if text and done.stdout.lstrip().startswith(("{", "[")):
            done.json = json.loads(done.stdout)
        return done

    def curl(self, *arguments, sign=True, service="s3", secret_key=None, check=False, text=True):
        """Runs curl, by default signing as `--aws-sigv4` does.

        Curl before 8 sends no x-amz-content-sha256 by itself, which S3 wants."""
        command = ["curl", "--silent", "--show-error", "--max-time", "60"]
        if self.ca:
            command += ["--cacert", str(self.ca)]
        if sign:
            command += [
                "--aws-sigv4",
                f"aws:amz:{self.region}:{service}",
                "--user",
                f"{self.access_key}:{secret_key or self.secret_key}",
            ]
            if service == "s3":
                command += ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
        done = subprocess.run(
            [*command, *map(str, arguments)], env=clean_environment(), capture_output=True, text=text, timeout=90
        )
        assert not check or done.returncode == 0, f"curl {arguments}: {done.returncode}\n{done.stderr}"
        return done


class Server(Endpoint):
    """A server process. `stop` ends it as an operator would, `kill` as a power cut would; `start` begins it again."""

    def __init__(self, directory=None, *, http=False, arguments=(), environment=None, region=REGION):
        self.owned = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="strongroom-"))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.arguments = list(arguments)
        self.extra_environment = dict(environment or {})
        self.with_http = http
        self.http_url = None
        self.process = None
        super().__init__(None, None, None, region=region)

    def start(self, wait=60):
        """Starts the process on new ports and waits until it is ready."""
        assert self.process is None
        port, http_port = free_port(), free_port()
        command = [binary(), "serve", "--data-dir", self.data, "--listen", f"127.0.0.1:{port}", *self.arguments]
        if self.with_http:
            command += ["--http-listen", f"127.0.0.1:{http_port}"]
            self.http_url = f"http://127.0.0.1:{http_port}"
        environment = clean_environment() | {"STRONGROOM_REGION": self.region} | self.extra_environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.url = f"https://127.0.0.1:{port}"
        self.ca = str(self.data / "tls" / "ca.pem")
        self._wait_until_ready(time.monotonic() + wait)
        if "STRONGROOM_ROOT_ACCESS_KEY_ID" in environment:
            self.access_key = environment["STRONGROOM_ROOT_ACCESS_KEY_ID"]
            self.secret_key = environment["STRONGROOM_ROOT_SECRET_ACCESS_KEY"]
        else:
            self.access_key, self.secret_key = read_credentials(self.data / "credentials")
        return self

    def _wait_until_ready(self, deadline):
        while True:
            try:
                if self.get("/_/health/ready").status == 200:
                    return
            except (OSError, ssl.SSLError):
                pass
            if (code := self.process.poll()) is not None:
                self.process = None
                raise AssertionError(f"the server ended with {code}:\n{self.log_text()[-4000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not get ready:\n{self.log_text()[-4000:]}")
            time.sleep(0.05)

    def get(self, path):
        """An unsigned GET that trusts the server's own authority."""
        return urllib.request.urlopen(self.url + path, context=self.tls_context(), timeout=5)

    def strongroom(self, *arguments, check=True):
        """Runs a command that asks this server, as its operator would; its JSON output, if it is that, is `.json`."""
        environment = clean_environment() | {"STRONGROOM_REGION": self.region} | self.extra_environment
        environment |= {"STRONGROOM_DATA_DIR": str(self.data), "STRONGROOM_ENDPOINT": self.url}
        command = [str(binary()), *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        try:
            done.json = json.loads(done.stdout)
        except ValueError:
            done.json = None
        return done

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, wait=60):
        """Sends SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the server:\n{self.log_text()[-4000:]}") from None
        finally:
            self.process = None

    def kill(self):
        """kill -9: nothing is flushed, nothing is said."""
        process, self.process = self.process, None
        process.kill()
        process.wait(30)

    def destroy(self):
        """Ends the process, if it runs, and removes what it stored."""
        if self.process is not None:
            self.kill()
        if self.owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def status(self, field):
        """A field of /proc/PID/status in bytes, such as VmHWM."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def disk_usage(self):
        """Bytes that the data directory takes of the disk; holes take none."""
        total = 0
        for path in self.files():
            try:
                total += path.stat().st_blocks * 512
            except FileNotFoundError:
                pass
        return total

    def files(self):
        """Every regular file of the data directory."""
        return [path for path in self.data.rglob("*") if path.is_file()]


OTHER_ACCOUNT = "444455556666"
OTHER_EMAIL = "other@example.com"


def two_accounts(directory, more="", **options):
    """A running server with a second account, whose endpoint is `.other`. The config file, which says `more`, goes below
    `directory`."""
    key, secret = "AKIAOTHEROTHEROTHER1", "other" * 8
    config = Path(directory) / "strongroom.toml"
    config.write_text(
        f'[[accounts]]\nid = "{OTHER_ACCOUNT}"\ndisplay_name = "other"\nemail = "{OTHER_EMAIL}"\naccess_key_id = "{key}"\n'
        f'secret_access_key = "{secret}"\n{more}'
    )
    server = Server(arguments=["--config", str(config)], **options).start()
    server.other = Endpoint(server.url, key, secret, server.ca)
    return server


def read_credentials(path, profile="default"):
    """The key pair in a file of AWS's shared-credentials format."""
    parser = configparser.ConfigParser()
    parser.read_string(Path(path).read_text())
    return parser[profile]["aws_access_key_id"], parser[profile]["aws_secret_access_key"]
