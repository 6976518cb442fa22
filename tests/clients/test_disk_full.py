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
