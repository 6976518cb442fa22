#!/usr/bin/env python3
"""Measures what a page of a listing costs in a large bucket, and prints the table of benches/README.md.

    python3 benches/listing.py SERVER S3LOAD [--objects 1000000] [--uploads 20000] [--dir DIR]

SERVER is the built `strongroom`, S3LOAD the built `benches/s3load`. The objects are put through the server, below ten prefixes
of equal size; pages are then asked for over HTTPS on one connection, at random depths, so that few of them are warm. The time
is the client's, from sending the request to the last byte of the answer.
"""

import argparse
import concurrent.futures
import http.client
import pathlib
import random
import ssl
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "clients")]

from servers import Strongroom, stage  # noqa: E402
from support.requests import Signer, target  # noqa: E402

BUCKET = "bench"
PREFIXES = 10
# Keys of each directory below a prefix.
PER_DIRECTORY = 100
REQUESTS = 200


class Client:
    """One connection."""

    def __init__(self, server):
        self.host = server.endpoint.removeprefix("https://")
        context = ssl.create_default_context(cafile=server.ca)
        self.connection = http.client.HTTPSConnection(self.host, context=context)
        self.keys = server.access_key, server.secret_key

    def send(self, method, path, query=()):
        """The answer's body, and the seconds it took."""
        headers = Signer(*self.keys, self.host).headers(method, path, query)
        began = time.perf_counter()
        self.connection.request(method, target(path, query), headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        if answer.status == 501:
            return None, took
        if answer.status != 200:
            raise SystemExit(f"{method} {path} {query}: {answer.status} {body[:500]}")
        return body, took


def load(s3load, server, prefix, objects):
    """Puts `objects` objects of a byte each, `prefix/1/000000/000000` and so on."""
    command = [
        s3load, "--endpoint", server.endpoint, "--ca-file", server.ca, "--create-bucket", "--bucket", BUCKET, "--ops", "put",
        "--sizes", "1", "--concurrency", "64", "--prefix", prefix, "--seconds", "3600", "--warmup", "0",
        "--max-ops", str(objects), "--per-directory", str(PER_DIRECTORY), "--access-key", server.access_key,
        "--secret-key", server.secret_key,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def open_uploads(server, uploads):
    """Opens uploads of keys spread over the prefixes."""

    def lane(numbers):
        client = Client(server)
        for number in numbers:
            client.send("POST", f"/{BUCKET}/p{number % PREFIXES}/u/{number:08}", [("uploads", "")])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lane, [range(n, uploads, 16) for n in range(16)]))


def measure(server, name, entries, make):
    """Asks for `make(random)` many times; prints the row. `entries` is how many entries a page must have."""
    client, chance, times = Client(server), random.Random(1), []
    for _ in range(REQUESTS):
        body, took = client.send("GET", f"/{BUCKET}", make(chance))
        if body is None:
            return
        count = sum(body.count(tag) for tag in (b"<Contents>", b"<CommonPrefixes>", b"<Upload>", b"<Version>"))
        if count != entries:
            raise SystemExit(f"{name}: {count} entries instead of {entries}")
        times.append(took * 1000)
    times.sort()
    at = [times[len(times) * part // 100] for part in (50, 99)]
    print(f"| {name} | {entries} | {at[0]:.1f} | {at[1]:.1f} | {times[-1]:.1f} |", flush=True)


def key(chance, each):
    """A key that leaves a whole page behind it in its prefix."""
    directory, number = divmod(chance.randrange(each - 1001), PER_DIRECTORY)
    return f"p{chance.randrange(PREFIXES)}/1/{directory:06}/{number:06}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("s3load")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--uploads", type=int, default=20_000)
    parser.add_argument("--dir", default=".")
    arguments = parser.parse_args()
    each = arguments.objects // PREFIXES
    v2 = ("list-type", "2")
    with stage("listing", arguments.dir) as (directory, started):
        server = started(Strongroom(directory / "server", arguments.server))
        print("| page | entries | p50 ms | p99 ms | worst ms |\n|---|---|---|---|---|", flush=True)
        load(arguments.s3load, server, "p0", min(2_000, each))
        measure(server, "2 000 objects: keys, first page", 1000, lambda _: [v2])
        began = time.monotonic()
        for n in range(PREFIXES):
            load(arguments.s3load, server, f"p{n}", each)
        loaded = time.monotonic() - began
        size = f"{arguments.objects:,}".replace(",", " ")
        measure(server, f"{size} objects: keys, first page", 1000, lambda _: [v2])
        measure(server, "keys, at any depth", 1000, lambda c: [v2, ("start-after", key(c, each))])
        measure(server, "keys of a prefix, at any depth", 1000, lambda c: [v2, ("prefix", (k := key(c, each))[:5]), ("start-after", k)])
        measure(server, "ListObjects, at any depth", 1000, lambda c: [("marker", key(c, each))])
        measure(server, f"common prefixes of {each:,} keys each".replace(",", " "), PREFIXES, lambda _: [v2, ("delimiter", "/")])
        directories = min(1000, each // PER_DIRECTORY)
        measure(server, f"common prefixes of {PER_DIRECTORY} keys each", directories, lambda c: [v2, ("delimiter", "/"), ("prefix", f"p{c.randrange(PREFIXES)}/1/")])
        measure(server, "versions, at any depth", 1000, lambda c: [("versions", ""), ("key-marker", key(c, each))])
        open_uploads(server, arguments.uploads)
        lower = arguments.uploads // PREFIXES - 1001
        measure(server, f"{arguments.uploads:,} uploads, at any depth".replace(",", " "), 1000, lambda c: [("uploads", ""), ("key-marker", f"p{c.randrange(PREFIXES)}/u/{c.randrange(max(1, lower * PREFIXES)):08}")])
        measure(server, "common prefixes of uploads", PREFIXES, lambda _: [("uploads", ""), ("delimiter", "/")])
        print(f"\n{arguments.objects} objects were put in {loaded:.0f} s. A start takes {server.restart():.2f} s until it is ready.")


if __name__ == "__main__":
    main()
