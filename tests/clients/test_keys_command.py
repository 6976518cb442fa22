"""`strongroom keys`: keys as their operator sees and changes them."""

import json
import uuid

import pytest


@pytest.fixture(scope="module")
def keys(server):
    if not hasattr(server, "strongroom"):
        pytest.skip("the command asks a server of its own")

    def run(*arguments, **options):
        return server.strongroom("keys", *arguments, **options)

    return run


def test_a_keys_life(keys, server):
    alias = f"alias/{uuid.uuid4().hex}"
    made = keys("create", "--description", "pay roll", "--alias", alias, "--rotate-every", "100", "--json").json
    assert made["KeyState"] == "Enabled" and made["Description"] == "pay roll"
    shown = keys("describe", alias, "--json").json
    assert shown["Arn"] == made["Arn"] and shown["Aliases"] == [alias]
    assert shown["Rotation"]["RotationPeriodInDays"] == 100
    people = keys("describe", made["KeyId"]).stdout
    assert "every 100 days" in people and alias in people and "pay roll" in people

    assert keys("disable", alias).stdout.strip() == f"{made['Arn']} is Disabled"
    assert server.client("kms").describe_key(KeyId=alias)["KeyMetadata"]["KeyState"] == "Disabled"
    assert keys("enable", made["Arn"], "--json").json["KeyState"] == "Enabled"

    assert keys("rotate", alias).stdout.strip() == f"{made['Arn']} has new key material"
    rotations = server.client("kms").list_key_rotations(KeyId=made["KeyId"])["Rotations"]
    assert [rotation["RotationType"] for rotation in rotations] == ["ON_DEMAND"]

    listed = {key["KeyId"]: key for key in keys("list", "--json").json}
    assert listed[made["KeyId"]]["Aliases"] == [alias]
    [row] = [line for line in keys("list").stdout.splitlines() if made["KeyId"] in line]
    assert row.split()[:5] == [made["KeyId"], "SYMMETRIC_DEFAULT", "Enabled", "CUSTOMER", alias]


def test_other_kinds_of_keys(keys):
    made = keys("create", "--spec", "ECC_NIST_P256", "--usage", "SIGN_VERIFY").stdout.strip()
    assert keys("describe", made, "--json").json["KeyUsage"] == "SIGN_VERIFY"
    people = keys("describe", made).stdout.splitlines()
    assert "rotated     never by itself" in people and "description -" in people


def test_a_policy_is_shown_and_replaced(keys, server, tmp_path):
    made = keys("create").stdout.strip()
    policy = json.loads(keys("policy", made).stdout)
    assert policy["Statement"][0]["Effect"] == "Allow"
    policy["Statement"][0]["Sid"] = "Mine"
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    assert json.loads(keys("policy", made, "--set", file).stdout)["Statement"][0]["Sid"] == "Mine"
    kept = server.client("kms").get_key_policy(KeyId=made)["Policy"]
    assert json.loads(kept)["Statement"][0]["Sid"] == "Mine"


def test_what_the_server_refuses_is_told(keys, tmp_path):
    done = keys("describe", "alias/there-is-none", check=False)
    assert done.returncode == 1 and "NotFoundException" in done.stderr
    done = keys("create", "--spec", "SYMMETRIC_MAYBE", check=False)
    assert done.returncode == 1 and "ValidationException" in done.stderr
    made = keys("create").stdout.strip()
    done = keys("policy", made, "--set", tmp_path / "none", check=False)
    assert done.returncode == 1 and str(tmp_path / "none") in done.stderr


def test_a_key_that_cannot_have_what_it_shall_is_not_made(keys, server):
    def ids():
        return {key["KeyId"] for key in server.client("kms").list_keys(Limit=1000)["Keys"]}

    taken = f"alias/{uuid.uuid4().hex}"
    keys("create", "--alias", taken)
    before = ids()
    for refused in [
        ("--alias", taken),
        ("--alias", "alias/aws/mine"),
        ("--alias", "payroll"),
        ("--rotate-every", "20"),
        ("--spec", "RSA_2048", "--usage", "SIGN_VERIFY", "--rotate-every", "100"),
    ]:
        done = keys("create", *refused, check=False)
        assert done.returncode == 2 and refused[-2] in done.stderr, done.stderr
        assert done.stdout == ""
    assert ids() == before


def test_tables_begin_at_the_margin(keys):
    keys("create")
    lines = keys("list").stdout.splitlines()
    assert lines[0].split() == ["KEY", "SPEC", "STATE", "MANAGER", "ALIASES", "DESCRIPTION"]
    assert all(line == line.strip() for line in lines)
