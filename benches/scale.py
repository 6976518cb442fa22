#!/usr/bin/env python3
"""Measures what changes with size, and prints tables (and draws charts) for benches/README.md.

    python3 benches/scale.py SERVER S3LOAD [--objects 1000000] [--steps 5] [--only PART ...] [--dir DIR] [--charts benches/charts]

* throughput with one core and with two;
* the latency of requests beside 10 000 open idle connections, and the memory these take;
* the memory that 1 000 concurrent slow uploads take;
* how long a start takes with up to a million objects;
* a bucket that grows to OBJECTS objects of 1 KiB: PUT, GET (at once, and when what was put is compacted), LIST and DELETE at
  each of STEPS sizes, and how long a start takes then.

PART is one of cores, idle, uploads, starts, growth.
"""

import contextlib
import os
import pathlib
import socket
import ssl
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "clients")]

from load import SSE, Load, arguments, table  # noqa: E402
from plots import chart, lines  # noqa: E402
from servers import Strongroom, stage  # noqa: E402
from support.requests import UNSIGNED, Signer  # noqa: E402

KMS = SSE["SSE-KMS"]


def resident_mib(server):
    status = pathlib.Path(f"/proc/{server.pids()[0]}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def connect(server, context):
    host, port = server.https.removeprefix("https://").split(":")
    return context.wrap_socket(socket.create_connection((host, int(port))), server_hostname="localhost")


def trusting(server):
    return ssl.create_default_context(cafile=server.ca)


def spaced(number):
    return f"{number:,}".replace(",", " ")


def cores(load, server, charts):
    """The same work with the server bound to one core, and to all."""
    rows = []
    everything = os.sched_getaffinity(0)
    for operation, size in (("put", "4K"), ("get", "4K"), ("put", "8M"), ("get", "8M")):
        found = []
        for bound in ({min(everything)}, everything):
            for task in pathlib.Path(f"/proc/{server.pids()[0]}/task").iterdir():
                os.sched_setaffinity(int(task.name), bound)
            prefix = f"cores-{size}-{len(bound)}-"
            if operation == "put":
                row = load.run("put", size, 16, prefix, "--create-bucket", "--max-bytes", "2G", *KMS)
            else:
                row = load.run("get", size, 16, f"cores-{size}-{len(everything)}-", "--existing", stored[size], *KMS)
            found.append(row)
        if operation == "put":
            stored = (stored if "stored" in locals() else {}) | {size: found[-1]["ops"]}
        one, all_of_them = (row["ops_per_s"] for row in found)
        rows.append([operation.upper(), size, f"{one:.0f}", f"{all_of_them:.0f}", f"{all_of_them / one:.2f}"])
    title = f"### The server on one core and on {len(everything)}, requests/s, 16 clients on the same cores"
    table(title, ["", "size", "one", "all", "ratio"], rows)
    if charts:
        with chart(charts / "cores.svg") as axis:
            for index, name in enumerate(("one core", f"{len(everything)} cores")):
                axis.bar([at + index * 0.4 for at in range(len(rows))], [float(row[2 + index]) for row in rows], 0.4, label=name)
            axis.set_xticks([at + 0.2 for at in range(len(rows))], [f"{row[0]} {row[1]}" for row in rows])
            axis.set_yscale("log")
            axis.set_ylabel("requests/s")
            axis.legend()


def idle(load, server, charts, counts=(0, 1_000, 2_500, 5_000, 10_000)):
    """GETs of 4 KiB beside so many idle connections."""
    stored = load.run("put", "4K", 16, "idle-", "--create-bucket", *KMS)["ops"]
    before, context = resident_mib(server), trusting(server)
    held, found, opening = [], [], 0.0
    for count in counts:
        began = time.monotonic()
        held += [connect(server, context) for _ in range(count - len(held))]
        opening += time.monotonic() - began
        memory = resident_mib(server) - before
        found.append(load.run("get", "4K", 16, "idle-", "--existing", stored, *KMS))
    rows = [
        [spaced(count), f"{row['ops_per_s']:.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}"]
        for count, row in zip(counts, found, strict=True)
    ]
    table("### GET of 4 KiB, 16 clients, beside idle connections", ["idle", "requests/s", "p50 ms", "p99 ms"], rows)
    print(f"\nThey took {memory * 1024 / len(held):.1f} KiB of memory each, {len(held) / opening:.0f} handshakes a second.")
    for connection in held:
        connection.close()
    if charts:
        heights = {name: [row[f"{name}_ms"] for row in found] for name in ("p50", "p99")}
        lines(charts / "idle.svg", "idle connections", "GET of 4 KiB, ms", counts, heights)


def slow_uploads(load, server, charts, uploads=1_000, step=200, size=8 << 20):
    """Uploads of 8 MiB that have sent some and wait."""
    load.run("put", "4K", 1, "slow-", "--create-bucket", *KMS)
    context, before = trusting(server), resident_mib(server)
    host = server.https.removeprefix("https://")
    signer = Signer(server.access_key, server.secret_key, host)
    held, counts, memory = [], [0], [0.0]
    for number in range(uploads):
        path = f"/bench/slow-{number}"
        headers = signer.headers("PUT", path, (), {"content-length": str(size)}, UNSIGNED)
        connection = connect(server, context)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"PUT {path} HTTP/1.1\r\n{head}\r\n".encode() + bytes(300_000))
        held.append(connection)
        if len(held) % step == 0:
            time.sleep(2)
            counts.append(len(held))
            memory.append(resident_mib(server) - before)
    for connection in held:
        connection.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            raise SystemExit(f"an upload was not waited for: {connection.recv(100)}")
    rows = [
        [spaced(count), f"{mib:.0f}", f"{mib * 1024 / count:.0f}"]
        for count, mib in zip(counts[1:], memory[1:], strict=True)
    ]
    table("### Uploads under way, 300 KB sent of each", ["uploads", "MiB", "KiB each"], rows)
    for connection in held:
        connection.close()
    if charts:
        lines(charts / "uploads.svg", "uploads under way", "MiB resident", counts, {"memory": memory})


def starts(options, server, counts=(0, 250_000, 500_000, 750_000, 1_000_000)):
    """How long a start takes with so many objects of 1 KiB, and no others."""
    load, seconds, stored = Load(options.s3load, server, options.seconds), [], 0
    for count in counts:
        if count > stored:
            more = ("--create-bucket", "--max-ops", count - stored, "--warmup", "0", *KMS)
            stored += load.run("put", "1K", 64, f"start-{count}-", *more, seconds=3600)["ops"]
        seconds.append(server.restart())
    rows = [[spaced(count), f"{taken:.2f}"] for count, taken in zip(counts, seconds, strict=True)]
    table("### A start, until it is ready", ["objects", "seconds"], rows)
    if options.charts:
        lines(options.charts / "starts.svg", "objects", "seconds until ready", counts, {"start": seconds})


def growth(options, load, server):
    """The operations at each size of the bucket; then how long a start takes."""
    rows, step, host = [], options.objects // options.steps, server.https.removeprefix("https://")
    for number in range(options.steps):
        prefix = f"grow-{number}-"
        put = load.run("put", "1K", 64, prefix, "--create-bucket", "--max-ops", step, "--warmup", "0", *KMS, seconds=3600)
        read = ("get", "1K", 64, prefix, "--existing", put["ops"], *KMS)
        get = load.run(*read)
        server.settle()
        rested = load.run(*read)
        doomed = load.run("put", "1K", 64, f"doomed-{number}-", "--max-ops", "5000", "--warmup", "0", *KMS, seconds=60)
        gone = load.run(
            "delete", "1K", 64, f"doomed-{number}-", "--existing", doomed["ops"], "--warmup", "0", *KMS, seconds=60
        )
        rows.append(
            [
                spaced((number + 1) * step),
                f"{put['ops_per_s']:.0f}", f"{put['p99_ms']:.1f}", f"{get['ops_per_s']:.0f}", f"{get['p99_ms']:.1f}",
                f"{rested['ops_per_s']:.0f}", f"{rested['p99_ms']:.1f}",
                f"{gone['ops_per_s']:.0f}", f"{page_ms(server, host):.1f}", f"{resident_mib(server):.0f}",
            ]  # fmt: skip
        )
        print(rows[-1], file=sys.stderr, flush=True)
    columns = ["objects", "PUT/s", "p99 ms", "GET/s", "p99 ms", "at rest", "p99 ms", "DELETE/s", "page of 1 000, ms", "resident MiB"]
    table("### A bucket of 1 KiB objects that grows, 64 clients", columns, rows)
    print(f"\nA start with {options.objects} objects takes {server.restart():.2f} s until it is ready.")
    if options.charts:
        sizes = [(number + 1) * step for number in range(options.steps)]
        columns = {"PUT": 1, "GET": 3, "GET, at rest": 5, "DELETE": 7}
        rates = {name: [float(row[at]) for row in rows] for name, at in columns.items()}
        lines(options.charts / "growth.svg", "objects in the bucket", "requests/s", sizes, rates)


def page_ms(server, host):
    """The median time of a page of the listing, of fifty."""
    import http.client

    connection = http.client.HTTPSConnection(host, context=trusting(server))
    signer = Signer(server.access_key, server.secret_key, host)
    times = []
    for _ in range(50):
        headers = signer.headers("GET", "/bench", [("list-type", "2")])
        began = time.perf_counter()
        connection.request("GET", "/bench?list-type=2", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1000


def main():
    parser = arguments()
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=["cores", "idle", "uploads", "starts", "growth"])
    parser.add_argument("--charts", type=pathlib.Path)
    options = parser.parse_args()
    with stage("scale", options.dir) as (directory, started):
        server = started(Strongroom(directory / "strongroom", options.server))
        load = Load(options.s3load, server, options.seconds)
        parts = {
            "cores": lambda: cores(load, server, options.charts),
            "idle": lambda: idle(load, server, options.charts),
            "uploads": lambda: slow_uploads(load, server, options.charts),
            "starts": lambda: starts(options, started(Strongroom(directory / "starts", options.server))),
            "growth": lambda: growth(options, load, server),
        }
        for part in options.only or parts:
            parts[part]()


if __name__ == "__main__":
    main()
