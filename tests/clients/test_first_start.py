"""What the operator meets: the first start, the settings, health, metrics, and the end."""

import contextlib
import json
import re
import signal
import socket
import ssl
import stat
import subprocess
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.calls import body_of
from support.requests import Signer, head_bytes, raw_socket, send
from support.server import binary, clean_environment, free_port, read_credentials


PASSPHRASE_FILE = "kms.root_key_passphrase_file: "


def run_serve(*arguments, env=None):
    """Runs `strongroom serve` where it is expected to refuse."""
    return subprocess.run(
        [str(binary()), "serve", *map(str, arguments)],
        env=clean_environment() | (env or {}),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_first_start_makes_credentials_and_an_authority(fresh_server):
    credentials = fresh_server.data / "credentials"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    access_key, secret_key = read_credentials(credentials)
    assert re.fullmatch(r"AKIA[A-Z0-9]{16}", access_key)
    assert len(secret_key) >= 40
    authority = fresh_server.data / "tls" / "ca.pem"
    shown = subprocess.run(
        ["openssl", "x509", "-in", authority, "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    assert "CA:TRUE" in shown
    for secret in [p for p in (fresh_server.data / "tls").iterdir() if "PRIVATE KEY" in p.read_text()]:
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret
    assert stat.S_IMODE(fresh_server.data.stat().st_mode) == 0o700


def test_a_restart_keeps_credentials_authority_and_objects(fresh_server):
    before = (fresh_server.access_key, fresh_server.secret_key, (fresh_server.data / "tls/ca.pem").read_bytes())
    s3 = fresh_server.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="k", Body=b"durable", ServerSideEncryption="aws:kms")
    assert fresh_server.stop() == 0
    fresh_server.start()
    after = (fresh_server.access_key, fresh_server.secret_key, (fresh_server.data / "tls/ca.pem").read_bytes())
    assert before == after
    assert body_of(fresh_server.client("s3").get_object(Bucket="kept", Key="k")) == b"durable"


def test_health(server):
    for name in ("live", "ready"):
        assert server.get(f"/_/health/{name}").status == 200


def test_the_log_does_not_show_the_secret_key(server, s3):
    s3.list_buckets()
    assert server.secret_key not in server.log_text()


def test_the_log_shows_no_secret_of_a_query(server):
    for target in (
        "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=hidden-1",
        "/bucket/k?X-Amz-Server-Side-Encryption-Customer-Key=hidden-2&prefix=shown-in-the-log",
    ):
        send(server, "GET", target, {"host": server.host})
    deadline = time.monotonic() + 5
    while "shown-in-the-log" not in server.log_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    log = server.log_text()
    assert "shown-in-the-log" in log and "WebIdentityToken=REDACTED" in log
    assert "hidden-" not in log


def test_the_log_names_the_client_behind_a_proxy(tmp_path, new_server):
    config = tmp_path / "strongroom.toml"
    config.write_text('trusted_proxies = ["127.0.0.0/8"]\n')
    server = new_server(arguments=["--config", config])
    headers = {"host": server.host, "x-forwarded-for": "192.0.2.7:4711"}
    request_id = send(server, "GET", "/", headers).headers["x-amz-request-id"]
    deadline = time.monotonic() + 5
    while request_id not in server.log_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    lines = [line for line in server.log_text().splitlines() if request_id in line and '"peer"' in line]
    assert '"192.0.2.7"' in lines[-1] and "127.0.0.1:" in lines[-1], lines


@contextlib.contextmanager
def serving(log, *arguments):
    """A server from its first moment, whether or not it is ready."""
    with log.open("wb") as out:
        command = [str(binary()), "serve", *map(str, arguments)]
        process = subprocess.Popen(command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_hangup_before_the_server_is_ready_does_not_end_it(tmp_path):
    data, log = tmp_path / "data", tmp_path / "log"
    deadline = time.monotonic() + 60
    with serving(log, "--data-dir", data, "--listen", f"127.0.0.1:{free_port()}") as process:
        while not (data / "lock").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
        while '"serving"' not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        process.terminate()
        assert process.wait(60) == 0


def test_commands_find_the_server_by_its_variables(fresh_server):
    host, port = fresh_server.address
    environment = clean_environment() | {
        "STRONGROOM_DATA_DIR": str(fresh_server.data),
        "STRONGROOM_LISTEN": f"{host}:{port}",
    }
    command = [str(binary()), "keys", "list", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    del environment["STRONGROOM_LISTEN"]
    done = subprocess.run([*command, "--listen", f"{host}:{port}"], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_metrics_are_openmetrics_and_count_requests(server, s3):
    def requests():
        answer = server.get("/_/metrics")
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = list(text_string_to_metric_families(answer.read().decode()))
        assert families
        samples = [sample for family in families for sample in family.samples]
        return sum(s.value for s in samples if s.name.endswith("requests_total") and "ListBuckets" in s.labels.values())

    before = requests()
    for _ in range(3):
        s3.list_buckets()
    assert requests() - before == 3


def test_underscore_is_never_a_bucket(server):
    answer = send(server, "GET", "/_/nothing", {"host": server.host})
    assert answer.status == 404
    assert b"<Code>NoSuchBucket" not in answer.body
    answer = send(server, "PUT", "/_", {"host": server.host})
    assert answer.status in (404, 405)


def test_every_answer_names_itself(server):
    for path in ("/", "/no-such-bucket-here", "/_/health/live"):
        answer = send(server, "GET", path, {"host": server.host})
        assert answer.headers["x-amz-request-id"], path
        assert answer.headers["x-amz-id-2"], path
        assert answer.headers["Date"].endswith("GMT"), path
        assert answer.headers["Server"], path


def test_request_ids_differ_and_are_logged(server):
    answers = [send(server, "GET", "/", {"host": server.host}) for _ in range(3)]
    ids = {answer.headers["x-amz-request-id"] for answer in answers}
    assert len(ids) == 3
    deadline = time.monotonic() + 5
    while not all(i in server.log_text() for i in ids) and time.monotonic() < deadline:
        time.sleep(0.05)
    log = server.log_text()
    for request_id in ids:
        lines = [line for line in log.splitlines() if request_id in line]
        assert lines, f"{request_id} is in no access-log line"


def test_the_log_is_json_off_a_terminal(server):
    lines = server.log_text().splitlines()
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict)


def test_an_unknown_config_key_is_refused_with_its_place_and_the_nearest_key(tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('region = "us-east-1"\n\nlsiten = "127.0.0.1:9000"\n')
    refusal = run_serve("--config", config, "--data-dir", tmp_path / "data")
    assert refusal.returncode != 0
    assert f"{config}:3" in refusal.stderr
    assert "'lsiten'" in refusal.stderr
    assert "'listen'" in refusal.stderr
    assert not (tmp_path / "data").exists()


def test_a_wrong_value_is_refused_with_its_place(tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('[limits]\nstreams = "many"\n')
    refusal = run_serve("--config", config, "--data-dir", tmp_path / "data")
    assert refusal.returncode != 0
    assert f"{config}:2" in refusal.stderr
    assert "streams" in refusal.stderr


def test_an_address_is_no_host_name(tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('listen = "localhost:9000"\n')
    wanted = "expected an IP address (no host name) and a port, such as 127.0.0.1:9000"
    refusal = run_serve("--config", config)
    assert refusal.returncode == 2 and f"{config}:1: listen: {wanted}" in refusal.stderr
    refusal = run_serve("--listen", "localhost:9000")
    assert refusal.returncode == 2 and "--listen" in refusal.stderr and wanted in refusal.stderr


def test_an_empty_variable_counts_as_absent(tmp_path, new_server):
    names = ("CONFIG", "LISTEN", "HTTP_LISTEN", "ENDPOINT", "CA", "REGION", "ACCOUNT_ID")
    server = new_server(environment={f"STRONGROOM_{name}": "" for name in names})
    assert server.client("s3").list_buckets()["Buckets"] == []
    # As of the commands.
    empty = {"STRONGROOM_CONFIG": "", "STRONGROOM_ENDPOINT": "", "STRONGROOM_CA": "", "STRONGROOM_DATA_DIR": ""}
    asked = subprocess.run(
        [str(binary()), "keys", "list"], env=clean_environment() | empty, cwd=tmp_path, capture_output=True, text=True
    )
    assert asked.stderr.startswith("strongroom: strongroom-data/tls/ca.pem: No such file"), asked.stderr


def test_a_certificate_that_is_none_is_named(tmp_path, fresh_server):
    pem, none = tmp_path / "cert.pem", tmp_path / "none.pem"
    pem.write_text("nothing of the kind\n")
    key = fresh_server.data / "tls" / "ca.key"
    config = tmp_path / "strongroom.toml"
    for certificate, private, told in [
        (pem, key, f"{pem}: there is no certificate (-----BEGIN CERTIFICATE-----) in it"),
        (fresh_server.data / "tls" / "ca.pem", pem, f"{pem}: there is no private key"),
        (none, key, f"{none}: No such file"),
    ]:
        config.write_text(f'data_dir = "{tmp_path}/data"\n[tls]\ncertificate = "{certificate}"\nkey = "{private}"\n')
        refusal = run_serve("--config", config)
        assert refusal.returncode == 2 and f"tls.certificate, tls.key: {told}" in refusal.stderr, refusal.stderr
    asked = fresh_server.strongroom("keys", "list", "--ca", pem, check=False)
    assert asked.returncode == 1 and f"{pem}: there is no certificate" in asked.stderr


def test_a_wrong_configuration_that_shows_late_is_one_too(tmp_path):
    none = tmp_path / "none.pem"
    none.write_text("nothing of the kind\n")
    config = tmp_path / "strongroom.toml"
    for at, (options, told) in enumerate(
        [
            (f'[audit]\nwebhook = "https://127.0.0.1:1"\nwebhook_ca = "{none}"\n', "audit.webhook cannot be used"),
            (f'[audit]\nwebhook = "https://127.0.0.1:1"\nwebhook_ca = "{tmp_path}/x"\n', "audit.webhook_ca: "),
            (f'[audit]\ndir = "{none}/audit"\n', f"audit.dir: {none}/audit: "),
            (f'[kms]\nroot_key_protection = "passphrase"\nroot_key_passphrase_file = "{tmp_path}/x"\n', PASSPHRASE_FILE),
            ('[kms]\nroot_key_protection = "passphrase"\n', "and there is none: set STRONGROOM_ROOT_KEY_PASSPHRASE"),
            (f'[[kms.transit]]\nname = "bao"\naddress = "https://127.0.0.1:1"\nca_file = "{none}"\n', "'bao'"),
        ]
    ):
        config.write_text(options)
        refusal = run_serve("--config", config, "--data-dir", tmp_path / f"data-{at}")
        assert refusal.returncode == 2 and told in refusal.stderr, refusal.stderr
    for variable, told in [
        ({"STRONGROOM_ROOT_KEY": "zzz"}, "STRONGROOM_ROOT_KEY: expected base64 of 32 bytes"),
        ({"STRONGROOM_ROOT_KEY_PASSPHRASE": "short"}, "STRONGROOM_ROOT_KEY_PASSPHRASE: the passphrase must have at least 8"),
    ]:
        config.write_text('[kms]\nroot_key_protection = "passphrase"\n')
        refusal = run_serve("--config", config, "--data-dir", tmp_path / "data-by-variable", env=variable)
        assert refusal.returncode == 2 and told in refusal.stderr, refusal.stderr
    refusal = run_serve("--data-dir", none)
    assert refusal.returncode == 2 and f"{none} is not a directory" in refusal.stderr, refusal.stderr


def test_a_command_says_that_its_endpoint_is_none(tmp_path):
    command = [str(binary()), "keys", "list", "--data-dir", str(tmp_path), "--endpoint", "foo"]
    asked = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert asked.returncode == 2 and asked.stderr.startswith("strongroom: --endpoint: foo is not the URL"), asked.stderr


def test_the_certificate_of_an_authority_is_told_of(tmp_path):
    certificate, key, port = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    # Which is what this makes by default.
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    config = tmp_path / "strongroom.toml"
    data = tmp_path / "data"
    config.write_text(f'data_dir = "{data}"\nlisten = "127.0.0.1:{port}"\n[tls]\ncertificate = "{certificate}"\n')
    with config.open("a") as more:
        more.write(f'key = "{key}"\n')
    with serving(tmp_path / "log", "--config", config) as process:
        while '"serving"' not in (log := (tmp_path / "log").read_text()):
            assert process.poll() is None, log
            time.sleep(0.05)
        assert "marked as an authority's (CA:TRUE)" in log
        command = [str(binary()), "keys", "list", "--config", str(config)]
        asked = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert asked.returncode == 1 and "which no server's may be" in asked.stderr, asked.stderr


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path, new_server):
    unused = free_port()
    config = tmp_path / "strongroom.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/from-file"\nlisten = "127.0.0.1:{unused}"\nregion = "eu-west-3"\n'
        '[root]\naccount_id = "123456789012"\n'
    )
    server = new_server(
        arguments=["--config", config],
        environment={
            "STRONGROOM_DATA_DIR": f"{tmp_path}/from-environment",
            "STRONGROOM_ROOT_ACCESS_KEY_ID": "AKIAFROMENVIRONMENT0",
            "STRONGROOM_ROOT_SECRET_ACCESS_KEY": "from/the/environment/and/long/enough/xx0",
        },
        region="eu-west-3",
    )
    assert not (tmp_path / "from-file").exists()
    assert not (tmp_path / "from-environment").exists()
    assert not (server.data / "credentials").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", unused)) != 0
    arn = server.client("kms").create_key()["KeyMetadata"]["Arn"]
    assert arn.startswith("arn:aws:kms:eu-west-3:123456789012:key/")


def test_half_a_key_pair_is_refused(tmp_path):
    refusal = run_serve("--data-dir", tmp_path / "data", env={"STRONGROOM_ROOT_ACCESS_KEY_ID": "AKIAFROMENVIRONMENT0"})
    assert refusal.returncode != 0
    assert "together" in refusal.stderr


def test_a_second_server_on_the_same_directory_is_refused(fresh_server):
    refusal = run_serve("--data-dir", fresh_server.data, "--listen", f"127.0.0.1:{free_port()}")
    assert refusal.returncode != 0
    assert "in use" in refusal.stderr
    assert fresh_server.get("/_/health/ready").status == 200


def test_a_taken_port_is_refused(tmp_path, fresh_server):
    port = fresh_server.address[1]
    refusal = run_serve("--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{port}")
    assert refusal.returncode != 0
    assert str(port) in refusal.stderr


def test_sigterm_lets_requests_finish_and_exits_with_0(fresh_server):
    s3 = fresh_server.client("s3")
    s3.create_bucket(Bucket="drained")
    body = b"x" * 1_000_000
    head = head_bytes(
        "PUT",
        "/drained/k",
        Signer.of(fresh_server).headers(
            "PUT", "/drained/k", headers={"content-length": str(len(body))}, payload="UNSIGNED-PAYLOAD"
        ),
    )
    connection = raw_socket(fresh_server)
    connection.sendall(head + body[:500_000])
    time.sleep(0.3)
    fresh_server.process.terminate()
    time.sleep(0.5)
    connection.sendall(body[500_000:])
    answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    connection.close()
    assert fresh_server.process.wait(30) == 0
    fresh_server.process = None
    fresh_server.start()
    assert body_of(fresh_server.client("s3").get_object(Bucket="drained", Key="k")) == body


def test_old_tls_is_refused(server):
    context = server.tls_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(server.address, timeout=10) as plain, pytest.raises(OSError):
        context.wrap_socket(plain, server_hostname="127.0.0.1").do_handshake()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_both_http_versions(server, curl, version):
    done = curl(version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", f"{server.url}/")
    assert done.stdout.split() == ["1.1" if version == "--http1.1" else "2", "200"]


def test_a_head_that_is_too_large_is_refused(server):
    answer = b""
    with raw_socket(server) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx-big: " + b"a" * 200_000 + b"\r\n\r\n")
        answer = connection.recv(4096)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4",)), answer[:100]
    assert server.get("/_/health/ready").status == 200
