#!/usr/bin/env python3
"""Says where the server's CPU goes: the cells whose figures are promised, by what the processor was at.

    python3 benches/cpu.py SERVER S3LOAD [--seconds 5] [--dir DIR]

Needs `perf` (Debian's linux-perf), and the right to look into the kernel. The samples are sorted by the function that the processor
was in, and weighed with the CPU of the same run. HTTPS, SSE-KMS.
"""

import re
import shutil
import subprocess

from load import SSE, Load, arguments, microseconds, table
from servers import Strongroom, stage

CELLS = [("put", "8M", 16), ("get", "8M", 16), ("put", "4K", 64), ("get", "4K", 64)]

#: What a function belongs to, by the first pattern that its name has; `k` are the kernel's.
PLACES = [
    ("k", "copying to and from the kernel", r"copy_(to|from|page|user)|rep_movs|memcpy|check_object_size|clear_page"),
    ("k", "page cache and disk", r"filemap|ext4|jbd2|blk|bio|nvme|virtio|vring|virtqueue|gup|iomap|dio|folio|page|xas|write_iter|fsync|writeback"),
    ("k", "sockets and loopback", r"tcp|ip_|inet|sock|skb|sk_|net|dev_|napi|softirq|bh_|loopback|nf_|eth_|neigh|qdisc|raw_spin_unlock_irq"),
    ("k", "waking and waiting", r"futex|sched|wake|epoll|ep_|finish_task|switch|timer|ktime|eventfd|poll|idle"),
    ("k", "the rest of the kernel", r""),
    ("u", "AES-GCM", r"aes|gcm|ghash"),
    ("u", "checksums and hashes", r"crc|sha256|sha512|sha1|md5|Sha|hmac|HMAC|HKDF"),
    ("u", "moving memory", r"^__mem|memcpy|memmove|memset|bcmp|memchr"),
    ("u", "allocator", r"^_?rje|jemalloc|^je_|alloc|^free|^malloc|^sdall|tcache|arena|^extent|edata|^base_"),
    ("u", "RocksDB", r"rocksdb|LZ4|XXH"),
    ("u", "log, metrics and audit", r"tracing|audit|prometheus|telemetry|access_log"),
    ("u", "TLS", r"rustls|tls::"),
    ("u", "HTTP", r"hyper|http|httparse|h1::|axum|bytes::"),
    ("u", "signatures and policies", r"sigv4|policy|iam::"),
    ("u", "tasks", r"tokio|mio|std::sys|std::thread|parking"),
    ("u", "the rest of the server", r""),
]  # fmt: skip


def place_of(kind, symbol):
    return next(name for of, name, pattern in PLACES if of == kind and re.search(pattern, symbol))


def sampled(directory, pid, seconds, run):
    """What `run` gives, and the share of each place in the samples of the process meanwhile."""
    data = directory / "perf.data"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-p", str(pid), "-o", str(data), "--", "sleep", str(seconds)]
    perf = subprocess.Popen(record, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    row = run()
    perf.wait()
    report = ["perf", "report", "-q", "-i", str(data), "--no-children", "--no-inline", "-s", "symbol", "--stdio"]
    lines = subprocess.run(report, check=True, capture_output=True, text=True).stdout.splitlines()
    shares = {}
    for line in lines:
        if found := re.match(r"\s*([\d.]+)%\s+\[([k.])\]\s+(.*\S)", line):
            place = place_of("k" if found[2] == "k" else "u", found[3])
            shares[place] = shares.get(place, 0) + float(found[1])
    total = sum(shares.values())
    return row, {place: share / total for place, share in shares.items()}


def main():
    options = arguments(seconds=5).parse_args()
    if shutil.which("perf") is None:
        raise SystemExit("perf is not installed: apt install linux-perf")
    with stage("cpu", options.dir) as (directory, started):
        server = started(Strongroom(directory / "strongroom", options.server))
        load, sse = Load(options.s3load, server, options.seconds), SSE["SSE-KMS"]
        columns, found, totals = [], {}, []
        for operation, size, clients in CELLS:
            prefix = f"{size}x{clients}-"
            if operation == "get":
                more = ("--existing", stored[size], *sse)
            else:
                more = ("--create-bucket", "--max-bytes", "4G", *sse)
            run = lambda: load.run(operation, size, clients, prefix, "--warmup", "0", *more)  # noqa: B023
            row, shares = sampled(directory, server.pids()[0], options.seconds, run)
            if operation == "put":
                stored = (stored if "stored" in locals() else {}) | {size: row["ops"]}
            large = size.endswith("M")
            cost = row["server_cpu_s_per_gib"] if large else microseconds(row)
            columns.append(f"{operation.upper()} {size}, {clients} clients, {'CPU-s/GiB' if large else 'CPU-µs'}")
            totals.append(f"{cost:.2f}" if large else f"{cost:.0f}")
            for place, share in shares.items():
                found.setdefault(place, {})[len(columns)] = f"{cost * share:.2f}" if large else f"{cost * share:.0f}"
        rows = [
            [place, *(found[place].get(index + 1, "0") for index in range(len(columns)))] for _, place, _ in PLACES if place in found
        ]
        table("### Where the CPU goes", ["", *columns], [*rows, ["all", *totals]])


if __name__ == "__main__":
    main()
