"""The root key: a passphrase that seals it, and another in its place while the server runs."""

import base64
import json
import os
import pty
import select
import shutil
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.calls import body_of, in_parallel
from support.data import content
from support.server import Endpoint, binary, clean_environment, free_port, read_credentials, two_accounts

PASSPHRASE = {"STRONGROOM_ROOT_KEY_PASSPHRASE": "correct horse battery staple"}
DATA = content(50_000, "root key")


def written(server):
    """Objects of every kind that depends on the root key."""
    s3, kms = server.client("s3"), server.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket="vault")
    s3.put_object(Bucket="vault", Key="s3", Body=DATA)
    s3.put_object(Bucket="vault", Key="kms", Body=DATA, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    s3.put_object(Bucket="vault", Key="managed", Body=DATA, ServerSideEncryption="aws:kms")
    kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")


def is_readable(server):
    s3 = server.client("s3")
    return all(body_of(s3.get_object(Bucket="vault", Key=name)) == DATA for name in ("s3", "kms", "managed"))


def root_file(server):
    return server.data / "root.key"


def test_another_root_key_while_the_server_runs(new_server):
    server = new_server()
    written(server)
    before = root_file(server).read_text()
    shown = server.strongroom("root-key", "show", "--json").json
    assert (shown["protection"], shown["rotating"]) == ("file", False)
    iam = server.client("iam")
    iam.create_user(UserName="ann")
    ann = iam.create_access_key(UserName="ann")["AccessKey"]

    session = Endpoint(server.url, ann["AccessKeyId"], ann["SecretAccessKey"], server.ca).client("sts").get_session_token()
    session = session["Credentials"]

    def is_ann():
        """By her access key, and by the session that it began."""
        theirs = Endpoint(server.url, ann["AccessKeyId"], ann["SecretAccessKey"], server.ca)
        names = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey", "aws_session_token": "SessionToken"}
        temporary = {name: session[of] for name, of in names.items()}
        clients = theirs.client("sts"), theirs.client("sts", **temporary)
        return all(client.get_caller_identity()["Arn"].endswith(":user/ann") for client in clients)

    report = server.strongroom("root-key", "rotate", "--json").json
    counts = {entry["what"]: entry["count"] for entry in report["resealed"]}
    assert counts.pop("access keys and the session token key") >= 1
    assert counts == {"KMS keys": 3, "server keys": 1, "audit signing keys": 1}
    assert is_ann()
    assert report["id"] != shown["id"]
    after = root_file(server).read_text()
    assert len(before.split()) == len(after.split()) == 1 and before != after
    assert is_readable(server)
    new = server.client("kms").create_key()["KeyMetadata"]["KeyId"]
    event = server.strongroom("audit", "search", "--event-name", "RotateRootKey", "--json").stdout
    assert json.loads(event)["responseElements"]["id"] == report["id"]

    # The new key is all that the server needs, and the old one is good for nothing any more.
    assert server.stop() == 0
    server.start()
    assert is_readable(server) and is_ann()
    server.client("kms").encrypt(KeyId=new, Plaintext=b"x")
    assert server.strongroom("audit", "verify").returncode == 0
    assert server.stop() == 0
    root_file(server).write_text(before)
    with pytest.raises(AssertionError):
        server.start()
    assert "the root key is not the one that sealed this store" in server.log_text()
    root_file(server).write_text(after)
    server.start()
    assert is_readable(server)
    people = server.strongroom("root-key", "rotate").stdout
    assert "KMS keys" in people and "The old key is needed for nothing" in people
    assert server.strongroom("root-key", "show").stdout.split()[1:] == ["kept", "by", "file"]


def test_under_load_and_killed_amid_it(new_server):
    """Whatever moment the power fails at: both keys are there as long as both are needed."""
    server = new_server()
    written(server)
    kms = server.client("kms")
    for _ in range(40):
        kms.create_key()
    for delay in (0.0, 0.01, 0.03, 0.08, 0.2):
        pool = ThreadPoolExecutor(2)
        rotating = pool.submit(lambda: server.strongroom("root-key", "rotate", check=False))
        making = pool.submit(lambda: in_parallel(lambda _: _quietly(server.client("kms").create_key), range(20), 4))
        time.sleep(0.3 + delay)
        server.kill()
        pool.shutdown()
        rotating.result(), making.result()
        server.start()
        assert len(root_file(server).read_text().split()) == 1, "an interrupted rotation is ended at the start"
        assert is_readable(server)
        kms = server.client("kms")
        for page in kms.get_paginator("list_keys").paginate():
            for key in page["Keys"]:
                metadata = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
                if metadata["KeySpec"] == "SYMMETRIC_DEFAULT" and metadata["KeyManager"] == "CUSTOMER":
                    kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    assert server.strongroom("root-key", "rotate", "--json").json["resealed"]
    assert is_readable(server)


def _quietly(call):
    try:
        call()
    except Exception:  # noqa: BLE001 - the server is killed amid it
        pass


def test_only_the_servers_own_account_may(tmp_path):
    server = two_accounts(tmp_path)
    try:
        server.extra_environment = {
            "STRONGROOM_ROOT_ACCESS_KEY_ID": server.other.access_key,
            "STRONGROOM_ROOT_SECRET_ACCESS_KEY": server.other.secret_key,
        }
        for command in ("show", "rotate"):
            done = server.strongroom("root-key", command, check=False)
            assert done.returncode == 1 and "AccessDenied" in done.stderr, done.stderr
    finally:
        server.destroy()


def test_a_key_of_the_environment(new_server):
    """It is the operator who changes it: the new one before the old one, then alone."""
    text = [base64.b64encode(os.urandom(32)).decode() for _ in range(2)]
    server = new_server(environment={"STRONGROOM_ROOT_KEY": text[0]})
    written(server)
    assert not root_file(server).exists()
    done = server.strongroom("root-key", "rotate", check=False)
    assert done.returncode == 1 and "RootKeyNotKept" in done.stderr
    for variable in (f"{text[1]} {text[0]}", text[1]):
        assert server.stop() == 0
        server.extra_environment["STRONGROOM_ROOT_KEY"] = variable
        server.start()
        assert is_readable(server)
        server.client("kms").create_key()


@pytest.mark.parametrize("source", ["variable", "file"])
def test_a_passphrase(new_server, tmp_path, source):
    config = tmp_path / "strongroom.toml"
    lines = ["[kms]", 'root_key_protection = "passphrase"']
    environment = {}
    if source == "file":
        (tmp_path / "passphrase").write_text(PASSPHRASE["STRONGROOM_ROOT_KEY_PASSPHRASE"] + "\n")
        lines.append(f'root_key_passphrase_file = "{tmp_path}/passphrase"')
    else:
        environment = dict(PASSPHRASE)
    config.write_text("\n".join(lines) + "\n")
    server = new_server(arguments=["--config", str(config)], environment=environment)
    written(server)
    sealed = server.data / "root.key.sealed"
    assert not root_file(server).exists()
    document = json.loads(sealed.read_text())
    assert document["protection"] == "passphrase"
    assert document["wrapped"]["argon2id"]["memoryKib"] == 64 * 1024
    assert server.strongroom("root-key", "show", "--config", config, "--json").json["protection"] == "passphrase"
    server.strongroom("root-key", "rotate", "--config", config)
    assert json.loads(sealed.read_text()) != document
    assert is_readable(server)
    server.kill()
    server.start()
    assert is_readable(server)
    assert server.stop() == 0

    def refuses(told, **change):
        server.extra_environment = environment | change
        began = len(server.log_text())
        with pytest.raises(AssertionError):
            server.start()
        assert told in server.log_text()[began:]

    if source == "variable":
        refuses("is not the one that the root key was sealed with", STRONGROOM_ROOT_KEY_PASSPHRASE="wrong horse battery")
        refuses("there is none: set STRONGROOM_ROOT_KEY_PASSPHRASE", STRONGROOM_ROOT_KEY_PASSPHRASE="")
        refuses("at least 8 characters", STRONGROOM_ROOT_KEY_PASSPHRASE="short")
        whole = sealed.read_text()
        sealed.write_text(whole.replace('"passes": 3', '"passes": 4'))
        refuses("is damaged: restore it")
        sealed.write_text(whole)
    log = server.log_text()
    assert PASSPHRASE["STRONGROOM_ROOT_KEY_PASSPHRASE"] not in log


def test_a_key_in_clear_is_sealed_when_it_is_to_be(new_server, tmp_path):
    server = new_server()
    written(server)
    assert server.stop() == 0
    in_clear = root_file(server).read_text().strip()
    config = tmp_path / "strongroom.toml"
    config.write_text('[kms]\nroot_key_protection = "passphrase"\n')
    server.arguments, server.extra_environment = ["--config", str(config)], dict(PASSPHRASE)
    server.start()
    assert is_readable(server)
    assert not root_file(server).exists() and in_clear not in (server.data / "root.key.sealed").read_text()
    assert "rotate the root key" in server.log_text()
    assert server.stop() == 0
    # Without the option it is not taken for a store without a key.
    server.arguments, server.extra_environment = [], {}
    with pytest.raises(AssertionError):
        server.start()
    assert "kms.root_key_protection says otherwise" in server.log_text()


def test_a_key_in_clear_where_a_sealed_one_should_be_is_called_that(new_server, tmp_path):
    server = new_server()
    written(server)
    assert server.stop() == 0
    kept = tmp_path / "root.key"
    kept.write_text(root_file(server).read_text())
    kept.chmod(0o600)
    config = tmp_path / "strongroom.toml"
    config.write_text(f'[kms]\nroot_key_protection = "passphrase"\nroot_key_file = "{kept}"\n')
    server.arguments, server.extra_environment = ["--config", str(config)], dict(PASSPHRASE)
    with pytest.raises(AssertionError):
        server.start()
    told = f"the root key in {kept} is in clear, and kms.root_key_protection wants it sealed: move it to {root_file(server)}"
    assert told in server.log_text() and "damaged" not in server.log_text()
    # As it says.
    kept.rename(root_file(server))
    server.start()
    assert is_readable(server) and json.loads(kept.read_text())["protection"] == "passphrase"


def test_a_backup_from_before_needs_the_old_key(new_server, tmp_path):
    server = new_server()
    written(server)
    assert server.stop() == 0
    shutil.copytree(server.data, tmp_path / "backup")
    server.start()
    server.strongroom("root-key", "rotate")
    old = new_server(directory=tmp_path / "old", start=False)
    shutil.copytree(tmp_path / "backup", old.data)
    old.start()
    assert is_readable(old)


def test_another_passphrase(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('[kms]\nroot_key_protection = "passphrase"\n')
    server = new_server(arguments=["--config", str(config)], environment=dict(PASSPHRASE))
    written(server)
    command = ["root-key", "passphrase", "--config", config]
    done = server.strongroom(*command, check=False)
    assert done.returncode == 1, "not of a running server"
    assert server.stop() == 0
    new = "another passphrase altogether"
    server.extra_environment = PASSPHRASE | {"STRONGROOM_NEW_ROOT_KEY_PASSPHRASE": new}
    assert "is sealed by the new passphrase" in server.strongroom(*command).stdout
    assert server.strongroom(*command, check=False).returncode == 1, "the old one is it no longer"
    with pytest.raises(AssertionError):
        server.start()
    server.extra_environment = {"STRONGROOM_ROOT_KEY_PASSPHRASE": new}
    server.start()
    assert is_readable(server)


def test_there_is_no_passphrase_of_a_key_in_clear(new_server):
    server = new_server()
    assert server.stop() == 0
    done = server.strongroom("root-key", "passphrase", check=False)
    told = 'root.key without a passphrase; set kms.root_key_protection = "passphrase" and start the server once'
    assert done.returncode == 2 and told in done.stderr, done.stderr


# --- asked for on a terminal -----------------------------------------------------------------------------------------


class Terminal:
    """A command on a terminal of its own, and who sits before it."""

    def __init__(self, command, environment, **redirected):
        self.leader, follower = pty.openpty()
        streams = {"stdin": follower, "stdout": follower, "stderr": follower} | redirected
        command = [str(part) for part in command]
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
        os.close(follower)
        self.shown = ""

    def read(self, seconds):
        if select.select([self.leader], [], [], seconds)[0]:
            try:
                self.shown += os.read(self.leader, 65536).decode(errors="replace")
                return True
            except OSError:  # The other side is closed.
                pass
        return False

    def answer(self, question, text):
        """Waits for the question, and types the answer when what is typed is not shown."""
        deadline = time.monotonic() + 60
        while question not in self.shown or termios.tcgetattr(self.leader)[3] & termios.ECHO:
            assert time.monotonic() < deadline and self.process.poll() is None, self.shown
            self.read(0.05)
        self.shown = self.shown.split(question, 1)[1]
        os.write(self.leader, text.encode() + b"\n")
        while "\n" not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self.read(0.05)
        assert text not in self.shown

    def end(self):
        """The exit code, and what was shown last."""
        code = self.process.wait(60)
        while self.read(0.2):
            pass
        os.close(self.leader)
        return code, self.shown


@pytest.fixture
def attended(new_server, tmp_path):
    """A server whose passphrase is asked for, not started; `run` has a command run on a terminal."""
    config = tmp_path / "strongroom.toml"
    config.write_text('[kms]\nroot_key_protection = "passphrase"\n')
    server = new_server(arguments=["--config", str(config)], start=False)
    port = free_port()
    server.url, server.ca = f"https://127.0.0.1:{port}", str(server.data / "tls" / "ca.pem")

    def run(*command, **redirected):
        command = command or ("serve", "--listen", f"127.0.0.1:{port}")
        environment = clean_environment() | {"STRONGROOM_REGION": server.region}
        return Terminal([binary(), *command, "--config", config, "--data-dir", server.data], environment, **redirected)

    server.run = run
    return server


def serving(server, terminal):
    server.process = terminal.process
    server._wait_until_ready(time.monotonic() + 60)
    server.access_key, server.secret_key = read_credentials(server.data / "credentials")


def test_the_passphrase_is_asked_for_on_a_terminal(attended):
    first, once_more, question = "correct horse battery", "The same once more: ", "Passphrase of the root key: "
    terminal = attended.run()
    terminal.answer(question, first)
    terminal.answer(once_more, "incorrect horse battery")
    code, shown = terminal.end()
    assert code == 1 and "the two differ" in shown
    assert not (attended.data / "root.key.sealed").exists(), "nothing is sealed by a passphrase that nobody knows"

    terminal = attended.run()
    terminal.answer(question, first)
    terminal.answer(once_more, first)
    serving(attended, terminal)
    written(attended)
    assert attended.stop() == 0
    assert first not in terminal.end()[1]

    # From now on once, and no other will do.
    terminal = attended.run()
    terminal.answer(question, "incorrect horse battery")
    code, shown = terminal.end()
    assert code == 1 and "the passphrase is not the one that the root key was sealed with" in shown
    terminal = attended.run()
    terminal.answer(question, first)
    serving(attended, terminal)
    assert is_readable(attended)
    assert attended.stop() == 0
    assert once_more not in terminal.end()[1]

    # Another one, and then the new one alone.
    terminal = attended.run("root-key", "passphrase")
    terminal.answer(question, first)
    terminal.answer("New passphrase of the root key: ", "another passphrase")
    terminal.answer(once_more, "another passphrase")
    assert terminal.end()[0] == 0
    terminal = attended.run()
    terminal.answer(question, "another passphrase")
    serving(attended, terminal)
    assert is_readable(attended)
    assert attended.stop() == 0
    terminal.end()


def test_nobody_is_asked_who_would_not_see_the_question(attended, tmp_path):
    with (tmp_path / "errors").open("w+") as errors:
        code, shown = attended.run(stderr=errors).end()
        errors.seek(0)
        assert code == 2 and shown == ""
        assert "there is none: set STRONGROOM_ROOT_KEY_PASSPHRASE or kms.root_key_passphrase_file" in errors.read()
