"""Counts the instructions of one call of each path of `hot_paths.rs`, by valgrind's callgrind, and holds them against those
of the last time: unlike times, they are the same on a busy machine.

    python3 benches/instructions.py [--write]

Exits with 1 if a path takes over 5 % more. The counts are of the instructions that valgrind's processor has, which knows
AES-NI but neither VAES nor AVX-512."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
KEPT = HERE / "instructions.json"
#: How much more a path may take.
TOLERANCE = 0.05


def build():
    """The benchmark, compiled as the server is."""
    command = ["cargo", "bench", "--locked", "--bench", "hot_paths", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    made = [json.loads(line) for line in lines if line.startswith("{")]
    return next(m["executable"] for m in made if m.get("target", {}).get("name") == "hot_paths" and m.get("executable"))


def count(binary, name):
    """The instructions of one call of the path `name`."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted*"]
        out = f"--callgrind-out-file={directory}/out"
        ran = subprocess.run([*command, out, binary, "--count", name], check=True, capture_output=True, text=True)
    return int(re.search(r"Collected : (\d+)", ran.stderr)[1])


def hold(now, kept, tolerance, write):
    """Prints counts beside those of the last time, in `kept`, and exits with 1 if one has grown more than is tolerated; or keeps
    them, if that is asked for."""
    before = json.loads(kept.read_text()) if kept.exists() else {}
    slower = []
    print("| path | instructions | before | |\n|---|---|---|---|")
    for name, instructions in now.items():
        change = instructions / before[name] - 1 if name in before else 0
        print(f"| {name} | {instructions:,} | {before.get(name, 0):,} | {change:+.1%} |")
        if change > tolerance:
            slower.append(name)
    if write:
        kept.write_text(json.dumps(now, indent=2) + "\n")
    elif slower:
        sys.exit(f"takes over {tolerance:.0%} more instructions: {', '.join(slower)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the counts for the next time")
    parser.add_argument("--binary", help="a benchmark that is compiled already")
    arguments = parser.parse_args()
    binary = arguments.binary or build()
    names = subprocess.run([binary, "--names"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    hold({name: count(binary, name) for name in names}, KEPT, TOLERANCE, write=arguments.write)


if __name__ == "__main__":
    main()
