"""A full disk: refusals that say so, nothing lost, and work again once there is room."""

import os
import time

import pytest
from botocore.exceptions import ClientError

from support.calls import body_of, in_parallel, keys_of, status_of
from support.data import content
from support.disk import mounted

MIB = 2**20


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk(new_server, tmp_path, kind):
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    with mounted(kind, tmp_path, 700) as point:
        server = new_server(point)
        try:
            fill_and_recover(server)
        finally:
            server.destroy()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_replaces_records_is_taken_below_the_reserve(new_server, tmp_path):
    """Keys are taken out of use, access is closed, what is due goes and jobs end although nothing new is taken."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    config = tmp_path / "strongroom.toml"
    config.write_text("[lifecycle]\nday_seconds = 3\ninterval_seconds = 1\n")
    with mounted("ext4", tmp_path, 1000) as point:
        server = new_server(point, arguments=["--config", str(config)])
        try:
            work_below_the_reserve(server, point)
        finally:
            server.destroy()


def work_below_the_reserve(server, point):
    s3, kms, iam = (server.client(service) for service in ("s3", "kms", "iam"))
    s3.create_bucket(Bucket="full")
    old, new = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    iam.create_user(UserName="ann")
    access_key = iam.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]
    s3.delete_public_access_block(Bucket="full")
    deep = "a-directory-with-a-long-name/" * 5
    in_parallel(lambda n: s3.put_object(Bucket="full", Key=f"due/{deep}{n}", Body=b"x"), range(100), workers=8)
    in_parallel(
        lambda n: s3.put_object(
            Bucket="full", Key=f"kept/{n}", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=old
        ),
        range(100),
        workers=8,
    )
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "due/"}, "Expiration": {"Days": 4}}
    s3.put_bucket_lifecycle_configuration(Bucket="full", LifecycleConfiguration={"Rules": [rule]})

    rewrap = ("rewrap", "--bucket", "full", "--prefix", "kept/", "--from", old, "--to", new)
    server.strongroom(*rewrap, "--rate", "20", "--detach")

    # Others take what there is, down to less than the store keeps for itself.
    free = os.statvfs(point)
    with (point / "others").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 128 * MIB)
    with pytest.raises(ClientError) as refusal:
        s3.put_object(Bucket="full", Key="more", Body=content(2 * MIB, "more"))
    assert status_of(refusal.value.response) in (503, 507)

    deadline = time.monotonic() + 60
    while (job := server.strongroom("jobs", "list", "--json").json[0])["state"] == "running":
        assert time.monotonic() < deadline, f"the job does not end: {job}"
        time.sleep(0.5)
    assert job["state"] == "completed", job
    assert s3.head_object(Bucket="full", Key="kept/99")["SSEKMSKeyId"] == new
    kms.disable_key(KeyId=old)
    kms.schedule_key_deletion(KeyId=old, PendingWindowInDays=7)
    assert kms.describe_key(KeyId=old)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    iam.update_access_key(UserName="ann", AccessKeyId=access_key, Status="Inactive")
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket="full", PublicAccessBlockConfiguration=block)
    server.strongroom("root-key", "rotate")
    assert server.strongroom("root-key", "show", "--json").json["rotating"] is False
    deadline = time.monotonic() + 60
    while any(key.startswith("due/") for key in keys_of(s3, "full")):
        assert time.monotonic() < deadline, "what is due does not go"
        time.sleep(0.5)
    assert server.stop() == 0
    server.start()
    assert body_of(server.client("s3").get_object(Bucket="full", Key="kept/1")) == b"x"


def fill_and_recover(server):
    s3 = server.client("s3")
    s3.create_bucket(Bucket="full")
    stored, refusals = {}, []

    def put(key, size):
        try:
            answer = s3.put_object(Bucket="full", Key=key, Body=content(size, key), ServerSideEncryption="aws:kms")
        except ClientError as error:
            refusals.append(error.response)
        else:
            assert status_of(answer) == 200
            stored[key] = size

    for round_ in range(12):
        in_parallel(lambda n, r=round_: put(f"large-{r:02}-{n}", 20 * MIB), range(4), workers=4)
        if len(refusals) >= 4:
            break
    assert refusals, "the disk did not fill up"
    assert stored
    for _ in range(3):
        in_parallel(lambda n: put(f"small-{n:04}", 30_000), range(100), workers=8)
    for response in refusals:
        assert status_of(response) in (503, 507), response
        assert response["Error"]["Code"] not in ("InternalError", ""), response

    def check(key):
        assert body_of(s3.get_object(Bucket="full", Key=key)) == content(stored[key], key), key

    assert set(keys_of(s3, "full")) == set(stored)
    in_parallel(check, stored, workers=4)
    assert server.get("/_/health/live").status == 200

    # What was there survives a restart on the full disk.
    assert server.stop() == 0
    server.start()
    s3 = server.client("s3")
    assert set(keys_of(s3, "full")) == set(stored)
    in_parallel(check, list(stored)[:5], workers=4)

    # Deleting works on a full disk, and makes room.
    gone = [key for key in stored if key.startswith("large")][::2]
    for key in gone:
        s3.delete_object(Bucket="full", Key=key)
        del stored[key]
    deadline = time.monotonic() + 60
    while True:
        refusals.clear()
        put("again", 20 * MIB)
        if not refusals:
            break
        assert time.monotonic() < deadline, f"no room came back: {refusals[0]['Error']}"
        time.sleep(0.5)
    assert set(keys_of(s3, "full")) == set(stored)
    in_parallel(check, stored, workers=4)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_start_on_a_disk_that_others_have_filled(new_server, tmp_path, kind):
    """Not a byte is left; the server has its ballast to start with, and to delete."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    with mounted(kind, tmp_path, 700) as point:
        server = new_server(point, start=False)
        server.log = tmp_path / "log"
        try:
            server.start()
            start_without_space(server, point / "others")
        finally:
            server.destroy()


def start_without_space(server, others):
    s3 = server.client("s3")
    s3.create_bucket(Bucket="full")
    stored = {f"k{number}": 3 * MIB for number in range(8)}
    for key, size in stored.items():
        s3.put_object(Bucket="full", Key=key, Body=content(size, key))
    ballast = server.data / "store" / "ballast"
    deadline = time.monotonic() + 60
    while ballast.stat().st_size == 0:
        assert time.monotonic() < deadline, "no ballast was taken in"
        time.sleep(0.2)
    server.kill()
    with others.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    server.start()
    s3 = server.client("s3")
    for key, size in stored.items():
        assert body_of(s3.get_object(Bucket="full", Key=key)) == content(size, key)
    # Deletes may have to wait for RocksDB to see that there is space again.
    deadline = time.monotonic() + 60
    for key in stored:
        while True:
            try:
                s3.delete_object(Bucket="full", Key=key)
                break
            except ClientError as error:
                assert time.monotonic() < deadline, error
                time.sleep(0.5)
    assert keys_of(s3, "full") == []
    others.unlink()
    s3.put_object(Bucket="full", Key="again", Body=content(3 * MIB, "again"))
    assert server.stop() == 0
