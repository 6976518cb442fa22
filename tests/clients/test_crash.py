"""Power cuts: what was acknowledged is there, what was not is not half there, and the space comes back."""

import hashlib
import threading
import time
import zlib

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support.calls import body_of, completed, in_parallel, keys_of, refused
from support.data import content
from support.requests import UNSIGNED, Signer, head_bytes, raw_socket

MIB = 2**20
PREALLOCATED = 256 * MIB  # the segment that is being filled has its space reserved


def eventually(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.25)


class Writers:
    """Threads that write objects, overwrite them and delete them, and remember what was acknowledged."""

    SIZES = (0, 100, 20_000, 300_000, 3_000_000)

    def __init__(self, s3, bucket, cycle):
        self.s3, self.bucket, self.cycle = s3, bucket, cycle
        self.acknowledged = {}
        self.in_doubt = {}
        self.stopped = threading.Event()

    def body(self, key, version):
        size = self.SIZES[zlib.crc32(f"{key} {version}".encode()) % len(self.SIZES)]
        return content(size, f"{key} {version}")

    def run(self, worker):
        version = 0
        while not self.stopped.is_set():
            version += 1
            key = f"{self.cycle}/{worker}/{version % 40:02}"
            deleting = version % 7 == 0
            wanted = None if deleting else self.body(key, version)
            self.in_doubt[key] = wanted
            try:
                if deleting:
                    self.s3.delete_object(Bucket=self.bucket, Key=key)
                else:
                    sse = "aws:kms" if version % 2 else "AES256"
                    self.s3.put_object(Bucket=self.bucket, Key=key, Body=wanted, ServerSideEncryption=sse)
            except (BotoCoreError, ClientError, OSError):
                return
            self.acknowledged[key] = wanted
            del self.in_doubt[key]

    def work_until_the_server_dies(self, server, seconds, threads=12):
        workers = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(threads)]
        for worker in workers:
            worker.start()
        time.sleep(seconds)
        server.kill()
        self.stopped.set()
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive()

    def check(self, s3):
        """Every key is what was acknowledged last, or what was under way when the server died."""
        stored = set(keys_of(s3, self.bucket, Prefix=f"{self.cycle}/"))

        def check(key):
            allowed = [self.acknowledged.get(key)] + ([self.in_doubt[key]] if key in self.in_doubt else [])
            if key not in stored:
                assert None in allowed, f"{key} was acknowledged and is gone"
                with refused("NoSuchKey", 404):
                    s3.get_object(Bucket=self.bucket, Key=key)
            else:
                assert body_of(s3.get_object(Bucket=self.bucket, Key=key)) in allowed, key

        in_parallel(check, stored | set(self.acknowledged) | set(self.in_doubt))
        return len(self.acknowledged)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_during_writes(fresh_server):
    server = fresh_server
    server.client("s3").create_bucket(Bucket="crash")
    before = []
    for cycle in range(3):
        writers = Writers(server.client("s3"), "crash", cycle)
        writers.work_until_the_server_dies(server, seconds=2.5)
        server.start()
        s3 = server.client("s3")
        assert writers.check(s3) > 20, "too little was written for this to mean anything"
        before.append(writers)
        for earlier in before[:-1]:
            earlier.check(s3)
        assert server.client("s3").put_object(Bucket="crash", Key="alive", Body=b"x")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_uploads_that_are_cut_off_leave_nothing(fresh_server):
    """Connections that break in the middle of a PUT, and a server that dies with uploads under way."""
    server, size = fresh_server, 24 * MIB
    s3 = server.client("s3")
    s3.create_bucket(Bucket="cut")
    s3.put_object(Bucket="cut", Key="live", Body=content(4 * MIB))
    body = content(size - MIB, "cut off")

    def begin(number):
        path = f"/cut/never-{number}"
        headers = {"content-length": str(size), "x-amz-server-side-encryption": "aws:kms"}
        made = Signer.of(server).headers("PUT", path, headers=headers, payload=UNSIGNED)
        connection = raw_socket(server)
        connection.sendall(head_bytes("PUT", path, made))
        connection.sendall(body)
        return connection

    for connection in in_parallel(begin, range(20), workers=8):
        connection.close()
    assert keys_of(s3, "cut") == ["live"]
    bound = 4 * MIB * 1.1 + PREALLOCATED + 64 * MIB
    shown = lambda: f"{server.disk_usage() / MIB:.0f} MiB are used for 4 MiB of objects"  # noqa: E731
    eventually(lambda: server.disk_usage() < bound, 60, shown)

    under_way = in_parallel(begin, range(20, 40), workers=8)
    server.kill()
    for connection in under_way:
        connection.close()
    server.start()
    s3 = server.client("s3")
    assert keys_of(s3, "cut") == ["live"]
    eventually(lambda: server.disk_usage() < bound, 60, shown)
    assert body_of(s3.get_object(Bucket="cut", Key="live")) == content(4 * MIB)


@pytest.mark.slow
def test_deleted_objects_give_their_space_back(fresh_server):
    server = fresh_server
    s3 = server.client("s3")
    s3.create_bucket(Bucket="space")
    data = content(16 * MIB)
    in_parallel(lambda n: s3.put_object(Bucket="space", Key=f"k{n:02}", Body=data), range(40), workers=4)
    full = server.disk_usage()
    assert full > 640 * MIB
    objects = [{"Key": f"k{n:02}"} for n in range(40) if n % 4]
    s3.delete_objects(Bucket="space", Delete={"Objects": objects})
    bound = 160 * MIB * 1.1 + PREALLOCATED + 64 * MIB
    eventually(
        lambda: server.disk_usage() < bound,
        60,
        lambda: f"{server.disk_usage() / MIB:.0f} of {full / MIB:.0f} MiB are still used for 160 MiB",
    )
    for n in range(0, 40, 4):
        assert (
            hashlib.sha256(body_of(s3.get_object(Bucket="space", Key=f"k{n:02}"))).digest()
            == hashlib.sha256(data).digest()
        )


def test_uploads_survive_a_kill(fresh_server):
    """A multipart upload goes on after a crash, with the parts that were acknowledged."""
    server, parts = fresh_server, [content(5 * MIB, 1), content(100, 2)]
    s3 = server.client("s3")
    s3.create_bucket(Bucket="crash")
    upload = s3.create_multipart_upload(Bucket="crash", Key="k", ServerSideEncryption="aws:kms")["UploadId"]
    name = {"Bucket": "crash", "Key": "k", "UploadId": upload}
    one = s3.upload_part(PartNumber=1, Body=parts[0], **name)
    server.kill()
    s3 = server.start().client("s3")
    assert [part["ETag"] for part in s3.list_parts(**name)["Parts"]] == [one["ETag"]]
    two = s3.upload_part(PartNumber=2, Body=parts[1], **name)
    done = [completed(1, one), completed(2, two)]
    s3.complete_multipart_upload(MultipartUpload={"Parts": done}, **name)
    server.kill()
    s3 = server.start().client("s3")
    assert body_of(s3.get_object(Bucket="crash", Key="k")) == b"".join(parts)
    assert keys_of(s3, "crash") == ["k"]


def test_a_damaged_log_is_not_passed_off_as_whole(fresh_server):
    """A byte of the index's log is flipped: without it all that was acknowledged later would be gone without a word."""
    server = fresh_server
    s3 = server.client("s3")
    s3.create_bucket(Bucket="log")
    keys = [f"{number:03}" for number in range(100)]
    for key in keys:
        s3.put_object(Bucket="log", Key=key, Body=content(2000, key))
    time.sleep(2.5)  # what was synced is noted down once a second
    server.kill()
    log = max((server.data / "store" / "index").glob("*.log"), key=lambda path: path.stat().st_size)

    def flip():
        with log.open("r+b") as file:
            file.seek(log.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 0x10]))

    flip()
    done = server.strongroom("verify", check=False)
    assert done.returncode == 3 and "damaged, cut or gone" in done.stderr
    with pytest.raises(AssertionError, match="the server ended with 1"):
        server.start()
    assert "damaged, cut or gone" in server.log_text()
    # Nothing was touched: mended, all is there, the objects' bytes too.
    flip()
    assert server.strongroom("verify", check=False).returncode == 0
    server.start()
    s3 = server.client("s3")
    assert keys_of(s3, "log") == keys
    for key in keys:
        assert body_of(s3.get_object(Bucket="log", Key=key)) == content(2000, key)
    assert server.stop() == 0
    # Closed in order, the index needs its log no more.
    for log in (server.data / "store" / "index").glob("*.log"):
        log.unlink()
    assert server.strongroom("verify").returncode == 0
