"""What is read soon after it was written."""

from pathlib import Path

from support.calls import body_of
from support.data import content

MIB = 2**20
DATA = content(12 * MIB)


def disk_reads(server):
    """Bytes that the server had the disk read."""
    lines = Path(f"/proc/{server.process.pid}/io").read_text().splitlines()
    return next(int(line.split(": ")[1]) for line in lines if line.startswith("read_bytes: "))


def test_operators_can_have_writes_stay_in_the_page_cache(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text("[store]\ndirect_io = false\n")
    server = new_server(arguments=["--config", config])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="fresh")
    s3.put_object(Bucket="fresh", Key="k", Body=DATA)
    before = disk_reads(server)
    assert body_of(s3.get_object(Bucket="fresh", Key="k")) == DATA
    assert disk_reads(server) - before < MIB
    server.kill()
    server.start()
    assert body_of(server.client("s3").get_object(Bucket="fresh", Key="k")) == DATA
