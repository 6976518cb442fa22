#!/usr/bin/env python3
"""Says how many PUTs share an fdatasync, and how that compares with what the disk can do; prints a table for benches/README.md.

    python3 benches/syncs.py SERVER S3LOAD [--seconds 3] [--dir DIR]

Needs `perf` (Debian's linux-perf), and the right to count system calls. PUTs of 4 KiB over HTTPS with SSE-KMS, each answered when
it is on stable storage. What the disk can do is how often one thread can write 4 KiB over the same place and sync them.
"""

import os
import re
import subprocess
import time

from load import SSE, Load, arguments, table
from servers import Strongroom, stage

CLIENTS = (1, 4, 16, 64)


def disk_rate(directory, seconds):
    """fdatasyncs a second of 4 KiB each, by one thread."""
    descriptor = os.open(directory / "probe", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.write(descriptor, bytes(1 << 20))
        os.fsync(descriptor)
        block, synced, began = os.urandom(4096), 0, time.monotonic()
        while (took := time.monotonic() - began) < seconds:
            os.pwrite(descriptor, block, synced % 256 * 4096)
            os.fdatasync(descriptor)
            synced += 1
        return synced / took
    finally:
        os.close(descriptor)


def syncs_during(pid, seconds, run):
    """What `run` gives, and the fdatasyncs a second of the process meanwhile."""
    event = "syscalls:sys_enter_fdatasync"
    # It begins behind the warm-up, and ends before the load does.
    command = ["perf", "stat", "-x,", "-e", event, "-p", str(pid), "--", "sleep", str(seconds)]
    perf = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    row = run()
    counted = re.search(rf"^(\d+),.*{event}", perf.communicate()[1], re.M)
    return row, int(counted[1]) / seconds


def main():
    options = arguments().parse_args()
    with stage("syncs", options.dir) as (directory, started):
        server = started(Strongroom(directory / "strongroom", options.server))
        load = Load(options.s3load, server, options.seconds)
        rate, rows = disk_rate(directory, 2), []
        for clients in CLIENTS:
            prefix = f"syncs-{clients}"
            put = lambda: load.run("put", "4K", clients, prefix, "--create-bucket", "--warmup", "0", *SSE["SSE-KMS"])  # noqa: B023, E731
            row, syncs = syncs_during(server.pids()[0], options.seconds, put)
            each = row["ops_per_s"] / syncs
            rows.append([clients, f"{row['ops_per_s']:.0f}", f"{syncs:.0f}", f"{each:.1f}", f"{row['ops_per_s'] / rate:.1f}"])
        columns = ["clients", "PUT/s", "fdatasyncs/s", "PUTs per fdatasync", "PUT/s by the disk's fdatasyncs/s"]
        table(f"### PUT of 4 KiB on a disk of {rate:.0f} fdatasyncs a second", columns, rows)


if __name__ == "__main__":
    main()
