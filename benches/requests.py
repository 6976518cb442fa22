#!/usr/bin/env python3
"""Counts the instructions that the running server spends on a request, by valgrind's callgrind, and says where.

    python3 benches/requests.py SERVER S3LOAD [--write] [--least 4000] [--dir DIR]

On a machine whose clock says little, two runs of this differ by less than a hundredth. The requests are of 4 KiB, over HTTPS with
SSE-KMS, by 8 clients. The counts are held against those of the last time; exits with 1 if a request takes over 3 % more. SHA-256 is
left out of them: valgrind's processor has no instructions for it. The kernel's part is not in them either.
"""

import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys

from instructions import hold
from load import SSE, Load, arguments, table
from servers import Strongroom, stage

KEPT = pathlib.Path(__file__).parent / "requests.json"
#: How much more a request may take.
TOLERANCE = 0.03
#: Requests that are counted, and such as are made before them.
COUNTED, BEFORE = 1000, 100
SHA256 = re.compile(r"sha256.*compress|sha256_block")
#: Calls within calls that are followed.
DEPTH = 60


class Profile:
    """What callgrind wrote, by function: its own instructions, and those of what it called."""

    def __init__(self, path):
        self.own, self.calls, self.names = collections.Counter(), collections.defaultdict(collections.Counter), {}
        caller, callee, is_call = None, None, False
        for line in path.read_text().splitlines():
            if line.startswith("fn="):
                caller = self.name(line[3:])
            elif line.startswith("cfn="):
                callee = self.name(line[4:])
            elif line.startswith("calls="):
                is_call = True
            elif re.match(r"[\d+*-]\S* \d+$", line):
                cost = int(line.split()[1])
                if is_call:
                    self.calls[caller][callee] += cost
                else:
                    self.own[caller] += cost
                is_call = False

    def name(self, text):
        """A function's name: it is in full where it comes first."""
        number, name = re.match(r"(\(\d+\))(?: (.*))?$", text).groups()
        return self.names.setdefault(number, name)

    def inclusive(self):
        """Instructions of each function and all that it called, hashes left out."""
        functions = set(self.own) | set(self.calls)
        # What is left of a call's cost is the part that is left of its callee's, which takes several turns to find out from below.
        parts = {name: 0.0 if SHA256.search(name) else 1.0 for name in functions}
        for _ in range(DEPTH):
            parts = {name: self.part(name, parts) for name in functions}
        return collections.Counter({name: parts[name] * self.cost(name) for name in functions})

    def callees(self, name):
        return [(callee, cost) for callee, cost in self.calls[name].items() if callee != name]

    def cost(self, name):
        return self.own[name] + sum(cost for _, cost in self.callees(name))

    def part(self, name, parts):
        if SHA256.search(name) or not self.cost(name):
            return 0.0
        return (self.own[name] + sum(cost * parts[callee] for callee, cost in self.callees(name))) / self.cost(name)

    def without_hashes(self):
        return sum(cost for name, cost in self.own.items() if not SHA256.search(name))


def profile(options, operation):
    """The profile of as many requests as are counted."""
    with stage("requests", options.dir) as (directory, started):
        script, out = directory / "counted", directory / "out"
        valgrind = f"valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file={out}"
        script.write_text(f'#!/bin/sh\nexec {valgrind} "{pathlib.Path(options.server).resolve()}" "$@"\n')
        script.chmod(0o700)
        server = started(Strongroom(directory / "server", script))
        (pid,) = map(str, server.pids())

        def control(*command):
            subprocess.run(["callgrind_control", *command, pid], check=True, stdout=subprocess.DEVNULL)

        def run(operation, prefix, number, *more):
            limits = ("--max-ops", number, "--warmup", 0)
            load = Load(options.s3load, server, options.seconds)
            return load.run(operation, "4K", 8, prefix, *limits, *more, *SSE["SSE-KMS"], seconds=600)

        existing = ("--existing", BEFORE)
        run("put", "a", BEFORE, "--create-bucket")
        run("get", "a", BEFORE, *existing)
        control("-i", "on")
        run(operation, *(("a", COUNTED, *existing) if operation == "get" else ("b", COUNTED)))
        control("-i", "off")
        control("-d")
        return Profile(next(directory.glob("out.*")))


def main():
    parser = arguments()
    parser.add_argument("--write", action="store_true", help="keep the counts for the next time")
    parser.add_argument("--least", type=int, default=4000, help="the fewest instructions a request of functions that are shown")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    now = {}
    for operation in ("put", "get"):
        found = profile(options, operation)
        now[f"{operation.upper()} of 4 KiB"] = found.without_hashes() // COUNTED
        rows = [
            [name.replace("strongroom::", ""), f"{cost / COUNTED:,.0f}", f"{found.own[name] / COUNTED:,.0f}"]
            for name, cost in found.inclusive().most_common()
            if cost >= options.least * COUNTED
        ]
        table(f"### {operation.upper()}", ["function", "with what it calls", "its own"], rows)
    print()
    hold(now, KEPT, TOLERANCE, write=options.write)


if __name__ == "__main__":
    main()
