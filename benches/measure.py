#!/usr/bin/env python3
"""Measures the built server and prints tables for benches/README.md.

    python3 benches/measure.py SERVER S3LOAD [--seconds 3] [--dir DIR] [--quick]

SERVER is the built `strongroom`, S3LOAD the built `benches/s3load`. Everything happens in a fresh data directory below DIR,
which must be on the disk that is to be measured. CPU-seconds and bytes written are the server process's own, from
/proc/PID/stat and /proc/PID/io; "written" is per byte of user data, with background work settled.
"""

import time

from load import COLUMNS, LIMITS, SSE, Load, arguments, cells, table
from servers import Strongroom, stage

SIZES = ["1K", "4K", "64K", "1M", "8M"]
CLIENTS = [1, 16, 64]
#: What --quick measures: the cells whose figures are promised.
PROMISED = [("4K", 16), ("4K", 64), ("1M", 16), ("8M", 16)]


def bytes_of(size):
    return int(size[:-1]) << {"K": 10, "M": 20}[size[-1]]


def matrix(load, server, tls, kind, quick):
    """PUT, then GET, of every size by every number of clients."""
    endpoint = server.https if tls else server.http
    wanted = PROMISED if quick else [(size, clients) for size in SIZES for clients in CLIENTS]
    puts, gets = [], []
    for size, clients in wanted:
        more, prefix = ("--create-bucket", *SSE[kind]), f"{kind[:7]}{tls}{size}x{clients}{'b' if 'bucket' in kind else ''}-"
        before, calls = server.written(), server.kms_requests()
        put = load.run("put", size, clients, prefix, "--warmup", "0", "--max-bytes", "2G", *more, endpoint=endpoint)
        calls_of_put = (server.kms_requests() - calls) / max(put["ops"], 1)
        server.settle()
        written = (server.written() - before) / (put["ops"] * put["size"])
        calls = server.kms_requests()
        get = load.run("get", size, clients, prefix, "--existing", put["ops"], "--warmup", "0", *more, endpoint=endpoint)
        calls_of_get = (server.kms_requests() - calls) / max(get["ops"], 1)
        # Of small objects the bytes are not what costs.
        limit = lambda op: f"{LIMITS[op, tls]:.2f}" if bytes_of(size) >= 1 << 20 else "-"
        puts.append([size, clients, *cells(put), limit("put"), f"{written:.3f}", f"{calls_of_put:.3f}"])
        gets.append([size, clients, *cells(get), limit("get"), f"{calls_of_get:.3f}"])
    how = f"{kind}, {'HTTPS' if tls else 'HTTP'}"
    columns = ["size", "clients", *COLUMNS, "limit"]
    table(f"### PUT, {how}", [*columns, "written", "KMS calls each"], puts)
    table(f"### GET, {how}", [*columns, "KMS calls each"], gets)


def multipart(load, server):
    rows = []
    for clients in (1, 4):
        prefix = f"parts-{clients}-"
        put = load.run("mput", "100M", clients, prefix, "--max-bytes", "4G", "--warmup", "0", *SSE["SSE-KMS"])
        get = load.run("get", "100M", clients, prefix, "--existing", put["ops"])
        rows += [["PUT in parts of 8 MiB", clients, *cells(put)], ["GET", clients, *cells(get)]]
    table("### Objects of 100 MiB, SSE-KMS, HTTPS", ["", "clients", *COLUMNS], rows)


def ranges(load):
    stored = load.run("put", "8M", 8, "ranges-", "--max-bytes", "2G", *SSE["SSE-KMS"])["ops"]
    row = load.run("range", "8M", 16, "ranges-", "--existing", stored, "--range-size", "64K")
    table("### GET of 64 KiB ranges of 8 MiB objects", ["clients", *COLUMNS], [[16, *cells(row)]])


def deletes(load, server):
    stored = load.run("put", "1M", 16, "deletes-", "--max-ops", "2000", *SSE["SSE-KMS"], seconds=60)["ops"]
    server.settle()
    full, before, started = server.disk(), server.written(), time.monotonic()
    row = load.run("delete", "1M", 16, "deletes-", "--existing", stored, "--warmup", "0", seconds=60)
    deleted, freed, took = row["ops"] << 20, 0, 0.0
    while freed < 0.95 * deleted and time.monotonic() - started < 60:
        time.sleep(0.1)
        freed, took = full - server.disk(), time.monotonic() - started
    back = f"{freed / deleted:.0%} in {took:.1f} s"
    written = f"{(server.written() - before) / row['ops'] / 1024:.1f}"
    requests, _, *latencies, _, each = cells(row)
    columns = ["objects", "requests/s", "p50 ms", "p99 ms", "CPU-µs each", "space given back", "KiB written each"]
    table("### DELETE of 1 MiB objects, 16 clients", columns, [[row["ops"], requests, *latencies, each, back, written]])


def main():
    parser = arguments()
    parser.add_argument("--quick", action="store_true", help="HTTPS and SSE-KMS alone, the cells whose figures are promised")
    options = parser.parse_args()
    with stage("bench", options.dir) as (directory, started):
        server = started(Strongroom(directory / "strongroom", options.server))
        load = Load(options.s3load, server, options.seconds)
        kinds = ["SSE-KMS"] if options.quick else ["SSE-KMS", "SSE-KMS, bucket key", "SSE-S3"]
        for kind in kinds:
            matrix(load, server, True, kind, options.quick)
        if not options.quick:
            # SSE-KMS is never served over plain HTTP.
            matrix(load, server, False, "SSE-S3", options.quick)
            multipart(load, server)
            ranges(load)
            deletes(load, server)
        print(f"\nPeak resident memory: {server.peak_mib()} MiB")


if __name__ == "__main__":
    main()
