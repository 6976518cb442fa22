#!/usr/bin/env python3
"""Measures the built server over HTTPS with SSE-KMS, and prints the tables of benches/README.md.

    python3 benches/measure.py SERVER S3LOAD [--seconds 5] [--dir DIR]

SERVER is the built `strongroom`, S3LOAD the built `benches/s3load`. Everything happens in a fresh data directory below DIR,
which must be on the disk that is to be measured. CPU-seconds and bytes written are the server process's own, from
/proc/PID/stat and /proc/PID/io; "written" is per byte of user data, with background work settled.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

ENDPOINT = "https://127.0.0.1:9750"
CELLS = [("4K", 1), ("4K", 16), ("4K", 64), ("64K", 16), ("1M", 1), ("1M", 16), ("8M", 16), ("100M", 1), ("100M", 4)]


class Server:
    def __init__(self, binary, data):
        self.data = data
        self.process = subprocess.Popen(
            [binary, "serve", "--data-dir", data, "--listen", ENDPOINT.removeprefix("https://")],
            stderr=subprocess.DEVNULL,
        )
        self.ca = data / "tls" / "ca.pem"
        for _ in range(100):
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                context = ssl.create_default_context(cafile=self.ca)
                with urllib.request.urlopen(f"{ENDPOINT}/_/health/ready", context=context):
                    break
        else:
            raise SystemExit("the server does not start")
        lines = (line.split("=", 1) for line in (data / "credentials").read_text().splitlines() if "=" in line)
        self.credentials = {key.strip().upper(): value.strip() for key, value in lines}

    def written(self):
        """Bytes that the process had the disk write."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["write_bytes"])

    def disk(self):
        """Bytes that the data directory takes on disk."""
        return sum(path.lstat().st_blocks * 512 for path in self.data.rglob("*") if path.is_file())

    def settle(self):
        """Waits until the process writes nothing more."""
        before = -1
        while before != (before := self.written()):
            time.sleep(1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            raise SystemExit("the server did not stop well")


class Load:
    def __init__(self, binary, server, seconds):
        self.binary, self.server, self.seconds = binary, server, seconds

    def run(self, operation, size, concurrency, prefix, *more, seconds=None):
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as out:
            command = [
                self.binary, "--endpoint", ENDPOINT, "--ca-file", self.server.ca, "--create-bucket", "--sse", "kms",
                "--payload", "streaming-unsigned", "--pid", str(self.server.process.pid), "--seconds", str(seconds or self.seconds),
                "--ops", operation, "--sizes", size, "--concurrency", str(concurrency), "--prefix", prefix,
                "--json", out.name, *more,
            ]  # fmt: skip
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | self.server.credentials)
            rows = [json.loads(line) for line in out.read().splitlines()]
        return next(row for row in rows if row["op"] == operation)


def cells(row):
    """The columns that every row has."""
    each = row["server_cpu_s_per_kop"] * 1000
    values = [row["ops_per_s"], row["mib_per_s"], row["p50_ms"], row["p99_ms"], row["server_cpu_s_per_gib"], each]
    digits = [0, 0, 1, 1, 2, 0]
    return [f"{value:.{places}f}" for value, places in zip(values, digits, strict=True)]


def table(title, columns, rows):
    print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


def peak(pid):
    """The process's peak resident memory in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("s3load")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--dir", default=".")
    options = parser.parse_args()
    data = pathlib.Path(tempfile.mkdtemp(prefix="strongroom-bench-", dir=options.dir))
    server = Server(options.server, data / "data")
    load = Load(options.s3load, server, options.seconds)
    common = ["requests/s", "MiB/s", "p50 ms", "p99 ms", "CPU-s/GiB", "CPU-µs each"]
    try:
        puts, gets = [], []
        for size, clients in CELLS:
            prefix, before = f"{size}x{clients}-", server.written()
            put = load.run("put", size, clients, prefix, "--warmup", "0", "--max-bytes", "2G")
            server.settle()
            written = (server.written() - before) / (put["ops"] * put["size"])
            puts.append([size, clients, *cells(put), f"{written:.3f}"])
            get = load.run("get", size, clients, prefix, "--existing", str(put["ops"]))
            gets.append([size, clients, *cells(get)])
        table("PUT", ["size", "clients", *common, "written"], puts)
        table("GET", ["size", "clients", *common], gets)

        stored = load.run("put", "8M", 8, "ranges-", "--max-bytes", "2G")["ops"]
        ranges = load.run("range", "8M", 16, "ranges-", "--existing", str(stored), "--range-size", "64K")
        table("GET of 64 KiB ranges of 8 MiB objects", ["clients", *common], [[16, *cells(ranges)]])

        stored = load.run("put", "1M", 16, "deletes-", "--max-ops", "2000", seconds=60)["ops"]
        server.settle()
        full, before, started = server.disk(), server.written(), time.monotonic()
        deletes = load.run("delete", "1M", 16, "deletes-", "--existing", str(stored), "--warmup", "0", seconds=60)
        deleted, freed = deletes["ops"] << 20, 0
        while freed < 0.95 * deleted and time.monotonic() - started < 60:
            time.sleep(0.1)
            freed, took = full - server.disk(), time.monotonic() - started
        back = f"{freed / deleted:.0%} in {took:.1f} s"
        written = f"{(server.written() - before) / deletes['ops'] / 1024:.1f}"
        requests, _, *latencies, _, each = cells(deletes)
        row = [deletes["ops"], requests, *latencies, each, back, written]
        columns = ["objects", "requests/s", "p50 ms", "p99 ms", "CPU-µs each", "space given back", "KiB written each"]
        table("DELETE of 1 MiB objects, 16 clients", columns, [row])
        print(f"\nPeak resident memory: {peak(server.process.pid)} MiB")
    finally:
        server.stop()
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
