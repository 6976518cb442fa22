"""The promise on memory: it does not grow with the size of objects, nor much with their number."""

import hashlib
import threading

import pytest

from support.data import content
from support.requests import UNSIGNED, Signer, connect

MIB = 2**20
SIZE, CLIENTS = 16 * 10**6, 64
PROMISE = 300 * MIB


def all_at_once(function):
    """Runs `function(n, barrier)` on as many threads as there are clients; what failed is raised."""
    barrier, failures = threading.Barrier(CLIENTS, timeout=120), []

    def run(number):
        try:
            function(number, barrier)
        except BaseException as failure:  # noqa: BLE001 - raised again below
            barrier.abort()
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sse", ["aws:kms", "AES256"])
def test_64_uploads_and_downloads_of_16_mb(fresh_server, sse):
    server, data = fresh_server, content(SIZE)
    digest = hashlib.sha256(data).digest()
    server.client("s3").create_bucket(Bucket="memory")

    def upload(number, barrier):
        headers = {"content-length": str(SIZE), "x-amz-server-side-encryption": sse}
        path = f"/memory/k{number}"
        connection = connect(server, timeout=120)
        connection.putrequest("PUT", path, skip_host=True, skip_accept_encoding=True)
        for name, value in Signer.of(server).headers("PUT", path, headers=headers, payload=UNSIGNED).items():
            connection.putheader(name, value)
        connection.endheaders()
        for start in range(0, SIZE, 250_000):
            if start == SIZE // 2:
                barrier.wait()  # All of them are half-way at the same moment.
            connection.send(data[start : start + 250_000])
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        connection.close()

    def download(number, barrier):
        path, hashed = f"/memory/k{number}", hashlib.sha256()
        connection = connect(server, timeout=120)
        connection.request("GET", path, headers=Signer.of(server).headers("GET", path))
        answer = connection.getresponse()
        assert answer.status == 200
        hashed.update(answer.read(1_000_000))
        barrier.wait()
        while block := answer.read(250_000):
            hashed.update(block)
        assert hashed.digest() == digest
        connection.close()

    all_at_once(upload)
    after_uploads = server.status("VmHWM")
    all_at_once(download)
    peak = server.status("VmHWM")
    print(f"peak resident: {after_uploads / MIB:.0f} MiB after the uploads, {peak / MIB:.0f} MiB after the downloads")
    assert peak < PROMISE, f"{peak / MIB:.0f} MiB"


@pytest.mark.slow
def test_one_large_object_costs_no_more_than_a_small_one(fresh_server):
    server = fresh_server
    server.client("s3").create_bucket(Bucket="memory")
    size, block = 400 * MIB, content(4 * MIB)
    path = "/memory/large"
    headers = {"content-length": str(size), "x-amz-server-side-encryption": "aws:kms"}
    before = server.status("VmRSS")
    connection = connect(server, timeout=120)
    connection.putrequest("PUT", path, skip_host=True, skip_accept_encoding=True)
    for name, value in Signer.of(server).headers("PUT", path, headers=headers, payload=UNSIGNED).items():
        connection.putheader(name, value)
    connection.endheaders()
    for _ in range(size // len(block)):
        connection.send(block)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
    connection.request("GET", path, headers=Signer.of(server).headers("GET", path))
    answer, received = connection.getresponse(), 0
    while data := answer.read(len(block)):
        assert data == block[: len(data)] or received % len(block)
        received += len(data)
    assert received == size
    connection.close()
    assert server.status("VmHWM") - before < 100 * MIB
