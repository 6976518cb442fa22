"""What is read soon after it was written."""

from pathlib import Path

import pytest
from support.calls import body_of
from support.data import content
from support.metrics import samples

MIB = 2**20
DATA = content(12 * MIB)


def disk_reads(server):
    """Bytes that the server had the disk read."""
    lines = Path(f"/proc/{server.process.pid}/io").read_text().splitlines()
    return next(int(line.split(": ")[1]) for line in lines if line.startswith("read_bytes: "))


def kept(server):
    """Bytes of memory that recent writes take, as the metrics have it."""
    (value,) = (sample.value for sample in samples(server) if sample.name == "strongroom_store_recent_bytes")
    return value


def is_direct(server):
    return '"direct_io":true' in server.log_text()


def put_and_get(new_server, directory, option):
    """A server with that option of the store, and the bytes that the first GET of an object had the disk read."""
    config = directory / "strongroom.toml"
    config.write_text(f"[store]\n{option}\n")
    server = new_server(arguments=["--config", config])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="fresh")
    s3.put_object(Bucket="fresh", Key="k", Body=DATA)
    before = disk_reads(server)
    assert body_of(s3.get_object(Bucket="fresh", Key="k")) == DATA
    return server, disk_reads(server) - before


@pytest.mark.parametrize("option", ["recent_mib = 32", "direct_io = false"])
def test_what_was_just_written_is_in_memory(new_server, tmp_path, option):
    server, from_disk = put_and_get(new_server, tmp_path, option)
    assert from_disk < MIB
    assert (kept(server) >= len(DATA)) == is_direct(server)
    server.kill()
    server.start()
    assert body_of(server.client("s3").get_object(Bucket="fresh", Key="k")) == DATA


def test_operators_can_save_that_memory(new_server, tmp_path):
    server, from_disk = put_and_get(new_server, tmp_path, "recent_mib = 0")
    assert kept(server) == 0
    if is_direct(server):
        assert from_disk > 10 * MIB
