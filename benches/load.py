"""Runs s3load against a server, and lays its figures out."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

#: What s3load sends for each kind of encryption.
SSE = {
    "SSE-S3": ("--sse", "s3"),
    "SSE-KMS": ("--sse", "kms"),
    "SSE-KMS, bucket key": ("--sse", "kms", "--bucket-key"),
    "none": ("--sse", "none"),
}

#: What no server can do without, in CPU-seconds per GiB on two cores of an AMD EPYC with VAES: a TCP socket on loopback, the TLS
#: and the object's cipher, the checksum, and direct writes or reads of the page cache.
LIMITS = {
    ("put", True): 0.22 + 0.10 + 0.10 + 0.02 + 0.10,
    ("put", False): 0.22 + 0.10 + 0.02 + 0.10,
    ("get", True): 0.13 + 0.10 + 0.10 + 0.12,
    ("get", False): 0.13 + 0.10 + 0.12,
}


def arguments(seconds=3):
    """A parser of what every measurement is told; by default a cell takes so many seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("s3load")
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--dir", default=".")
    return parser


class Load:
    """A load generator that drives one server."""

    def __init__(self, binary, server, seconds):
        self.binary, self.server, self.seconds = binary, server, seconds

    def run(self, operation, size, concurrency, prefix, *more, seconds=None, endpoint=None):
        """The figures of one cell."""
        server = self.server
        endpoint = endpoint or server.endpoint
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as out:
            command = [
                self.binary, "--endpoint", endpoint, "--payload", server.payload,
                "--pid", ",".join(map(str, server.pids())), "--seconds", seconds or self.seconds, "--ops", operation,
                "--sizes", size, "--concurrency", concurrency, "--prefix", prefix, "--json", out.name,
                *server.options, *more,
            ]  # fmt: skip
            if endpoint.startswith("https:"):
                command += ["--ca-file", server.ca]
            environment = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
            subprocess.run(
                [str(part) for part in command], check=True, stdout=subprocess.DEVNULL, env=os.environ | environment
            )
            rows = [json.loads(line) for line in out.read().splitlines()]
        return next(row for row in rows if row["op"] == operation)


def microseconds(row):
    """CPU-microseconds of the server for each request."""
    return row["server_cpu_s_per_kop"] * 1000


def cells(row):
    """The columns that every row has."""
    values = [row["ops_per_s"], row["mib_per_s"], row["p50_ms"], row["p99_ms"], row["server_cpu_s_per_gib"]]
    digits = [0, 0, 2, 2, 2, 0]
    return [f"{value:.{places}f}" for value, places in zip([*values, microseconds(row)], digits, strict=True)]


COLUMNS = ["requests/s", "MiB/s", "p50 ms", "p99 ms", "CPU-s/GiB", "CPU-µs each"]


def table(title, columns, rows, out=sys.stdout):
    """Prints a Markdown table."""
    print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns), file=out)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", file=out)
    out.flush()
