#!/usr/bin/env python3
"""Measures builds of the server beside each other, in turns in one run; prints a table for benches/README.md.

    python3 benches/beside.py S3LOAD before=SERVER after=SERVER [--rounds 5] [--seconds 1.5] [--cells 4K:64,8M:16] [--dir DIR]
    python3 benches/beside.py S3LOAD one=SERVER other=SERVER,CONFIG --objects 200 --reads 3 --cells 8M:16

Over HTTPS with SSE-KMS; a server may have a configuration file; a cell is a size and a number of clients. In each round every server
puts objects and reads some of them, and another one begins. With --objects exactly so many are put, and all of them read as often as
--reads says: those that the server no longer has in memory (store.recent_mib) come from the disk the first time. The figures are
medians, and the best.
"""

import argparse
import pathlib
import statistics

from load import SSE, Load, microseconds, table
from servers import Strongroom, stage


def cpu(rows, size):
    """The server's CPU, the median and the best: by the byte from a MiB on, else by the request."""
    if size.endswith("M"):
        values, form = [row["server_cpu_s_per_gib"] for row in rows], "{:.2f} s/GiB"
    else:
        values, form = [microseconds(row) for row in rows], "{:.0f} µs"
    return f"{form.format(statistics.median(values))} ({form.format(min(values))})"


def measure(load, options, size, clients, prefix):
    """What each operation of a cell was, with its figures."""
    kms, limits, seconds = SSE["SSE-KMS"], ["--warmup", 0.3], None
    if options.objects:
        limits, seconds = ["--warmup", 0, "--max-ops", options.objects], 600
    put = load.run("put", size, clients, prefix, "--create-bucket", *kms, *limits, seconds=seconds)
    yield "PUT", put
    for read in range(options.reads):
        get = load.run("get", size, clients, prefix, "--existing", put["ops"], *kms, *limits, seconds=seconds)
        yield "GET" if options.reads == 1 else f"GET, time {read + 1}", get


def start(directory, command):
    """A server that `SERVER[,CONFIG]` asks for."""
    binary, _, config = command.partition(",")
    return Strongroom(directory, binary, config=pathlib.Path(config).read_text() if config else "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("s3load")
    parser.add_argument("servers", nargs="+", metavar="NAME=SERVER[,CONFIG]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--cells", default="4K:64,8M:16")
    parser.add_argument("--objects", type=int)
    parser.add_argument("--reads", type=int, default=1)
    parser.add_argument("--dir", default=".")
    options = parser.parse_args()
    figures = {}
    with stage("beside", options.dir) as (directory, started):
        commands = dict(named.split("=", 1) for named in options.servers)
        names = list(commands)
        loads = {
            name: Load(options.s3load, started(start(directory / name, command)), options.seconds)
            for name, command in commands.items()
        }
        for turn in range(options.rounds):
            first = turn % len(names)
            for size, clients in (cell.split(":") for cell in options.cells.split(",")):
                for name in names[first:] + names[:first]:
                    for operation, row in measure(loads[name], options, size, clients, f"{size}x{clients}-{turn}-"):
                        figures.setdefault((operation, size, clients), {}).setdefault(name, []).append(row)
    rows = []
    for (operation, size, clients), of_server in figures.items():
        cells = []
        for name in names:
            rate, p99 = (statistics.median(row[column] for row in of_server[name]) for column in ("ops_per_s", "p99_ms"))
            cells += [cpu(of_server[name], size), f"{rate:.0f}", f"{p99:.1f}"]
        rows.append([f"{operation} {size}, {clients} clients", *cells])
    columns = [f"{name}: {column}" for name in names for column in ("CPU", "requests/s", "p99 ms")]
    table(f"### {' beside '.join(names)}, {options.rounds} rounds", ["", *columns], rows)


if __name__ == "__main__":
    main()
