#!/usr/bin/env python3
"""What reading small SSE-KMS objects costs on each kind of key service, and what the unwrap cache saves of it.

    tests/clients/.venv/bin/python benches/keys.py SERVER S3LOAD [--seconds 5] [--dir DIR]

SERVER is the built `strongroom`, S3LOAD the built `benches/s3load`; the interpreter is one that the client tests' requirements
are installed for: moto and OpenBao come from there, and run on the same machine. The CPU is the server's own, not the key
service's.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "clients"))

from load import Load, microseconds, table  # noqa: E402
from servers import Strongroom  # noqa: E402
from support.peers import AWS_ENVIRONMENT, Bao, Moto, aws_config, transit_config  # noqa: E402

SSE = ("--sse", "kms", "--create-bucket")
#: Few enough that each is read many times within the four seconds that a cache may hold what it cannot watch.
OBJECTS = 40
CACHE = "unwrap_cache_entries = 10000\nunwrap_cache_uses = 4294967295\n"


def services(directory):
    """The key services: a name, and a function from whether there is a cache to the configuration and the environment."""
    bao, moto = Bao(directory / "bao").start(), Moto(directory / "moto").start()

    def config(made, cached):
        return made.replace("[kms]\n", f"[kms]\n{CACHE if cached else ''}", 1)

    yield "embedded", lambda cached: (config("[kms]\n", cached), {})
    yield (
        "OpenBao transit",
        lambda cached: (config(transit_config(bao, unwrap_cache=cached), cached), {"BAO_TOKEN": bao.token}),
    )
    yield "AWS KMS (moto)", lambda cached: (config(aws_config(moto.url, unwrap_cache=cached), cached), AWS_ENVIRONMENT)
    bao.stop()
    moto.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("s3load")
    parser.add_argument("--seconds", default="5")
    parser.add_argument("--dir", default=".")
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.dir)).resolve()
    rows = []
    try:
        for name, configured in services(directory):
            for cached in (False, True):
                config, environment = configured(cached)
                server = Strongroom(directory / "server", arguments.server, config=config, environment=environment)
                load = Load(arguments.s3load, server, arguments.seconds)
                load.run("put", "4K", 16, "k-", "--warmup", "0", "--max-ops", OBJECTS, *SSE, seconds=60)
                for clients in (1, 16):
                    calls = server.kms_requests("Decrypt")
                    got = load.run("get", "4K", clients, "k-", "--existing", OBJECTS, "--warmup", "0", *SSE)
                    calls = (server.kms_requests("Decrypt") - calls) / got["ops"]
                    figures = [f"{got['ops_per_s']:.0f}", f"{got['p50_ms']:.2f}", f"{got['p99_ms']:.2f}"]
                    cache = "on" if cached else "off"
                    rows.append([name, cache, clients, *figures, f"{microseconds(got):.0f}", f"{calls:.3f}"])
                server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    columns = ["key service", "cache", "clients", "requests/s", "p50 ms", "p99 ms", "CPU-µs each", "Decrypt calls each"]
    table("### GET of 4 KiB under SSE-KMS, no bucket key, HTTPS", columns, rows)


if __name__ == "__main__":
    main()
