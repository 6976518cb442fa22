"""Small file systems, to be filled."""

import contextlib
import subprocess
import time

import pytest

MIB = 2**20


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@contextlib.contextmanager
def mounted(kind, directory, megabytes):
    """A small file system of its own at `directory`/mount."""
    point = directory / "mount"
    point.mkdir()
    if kind == "tmpfs":
        done = run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", point)
    else:
        image = directory / "image"
        with image.open("wb") as file:
            file.truncate(megabytes * MIB)
        made = run("mkfs.ext4", "-q", "-m", "0", image)
        done = made if made.returncode else run("mount", "-o", "loop", image, point)
    if done.returncode:
        pytest.skip(f"a small {kind} cannot be mounted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        for _ in range(20):
            if run("umount", point).returncode == 0:
                break
            time.sleep(0.25)
