#!/usr/bin/env python3
"""Measures what GETs cost beside the same bytes unencrypted on the loopback, and prints a table for benches/README.md.

    python3 benches/loopback.py SERVER S3LOAD [--seconds 3] [--rounds 3] [--clients 16] [--dir DIR]

Strongroom is asked over HTTPS with SSE-KMS and over plain HTTP with SSE-S3; nginx, in turns, for files of the same sizes,
over TLS and without. All that is asked for has been read once, so that nobody waits for the disk. Medians of the rounds.
"""

import os

from load import COLUMNS, SSE, Load, arguments, cells, table
from peers import median
from servers import Nginx, Strongroom, stage

#: Sizes, and how many objects there are of each.
CELLS = [("4K", 4096, 4000), ("64K", 64 << 10, 2000), ("1M", 1 << 20, 300), ("8M", 8 << 20, 60)]


def contestants(options, directory):
    """Servers, what is asked of them, and how a row calls them."""
    yield Strongroom(directory / "strongroom", options.server), SSE["SSE-KMS"], "Strongroom (HTTPS, SSE-KMS)"
    yield Nginx(directory / "nginx-tls", tls=True), SSE["none"], "nginx (HTTPS, not encrypted)"
    yield Strongroom(directory / "strongroom-http", options.server, tls=False), SSE["SSE-S3"], "Strongroom (HTTP, SSE-S3)"
    yield Nginx(directory / "nginx"), SSE["none"], "nginx (HTTP, not encrypted)"


def fill(load, server, sse, clients):
    """Stores the objects, and reads them all."""
    for size, length, count in CELLS:
        if isinstance(server, Nginx):
            for number in range(count):
                # The key that s3load gives it.
                server.store(f"loop/{length}/{number:08}", os.urandom(length))
        else:
            load.run("put", size, clients, "loop", "--create-bucket", "--max-ops", count, "--warmup", "0", *sse, seconds=600)
        load.run("get", size, clients, "loop", "--existing", count, *sse)


def main():
    parser = arguments()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with stage("loopback", options.dir) as (directory, started):
        running = []
        for server, sse, name in contestants(options, directory):
            running.append((started(server), sse, name))
        loads = {name: Load(options.s3load, server, options.seconds) for server, _, name in running}
        for server, sse, name in running:
            fill(loads[name], server, sse, options.clients)
        rows = []
        for size, _, count in CELLS:
            found = {name: [] for name in loads}
            for _ in range(options.rounds):
                for _, sse, name in running:
                    found[name].append(loads[name].run("get", size, options.clients, "loop", "--existing", count, *sse))
            rows += [[size, name, *cells(median(each))] for name, each in found.items()]
        table(f"### GET, {options.clients} clients", ["size", "server", *COLUMNS], rows)


if __name__ == "__main__":
    main()
