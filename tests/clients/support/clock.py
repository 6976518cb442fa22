"""A server whose clock goes ahead: a small library between it and the machine's, for what takes hours to happen."""

import shutil
import subprocess

SOURCE = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = (int)syscall(SYS_clock_gettime, id, at);
    const char *ahead = getenv("SECONDS_AHEAD");
    if (result == 0 && id == CLOCK_REALTIME && ahead) at->tv_sec += atol(ahead);
    return result;
}
"""


def compiler():
    """The C compiler, if there is one."""
    return shutil.which("cc")


def ahead(directory, seconds):
    """The environment of a process whose wall clock is so many seconds ahead."""
    source, library = directory / "ahead.c", directory / "ahead.so"
    if not library.exists():
        source.write_text(SOURCE)
        subprocess.run([compiler(), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return {"LD_PRELOAD": str(library), "SECONDS_AHEAD": str(seconds)}
