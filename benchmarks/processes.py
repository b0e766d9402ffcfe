"""A command measured as a whole process, by the operating system's own account."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Used(NamedTuple):
    """What a process used: CPU seconds (user and system), seconds, and its peak memory in MB."""

    cpu: float
    wall: float
    peak: float


def measure(command: Sequence[str]) -> Used:
    """Run it to its end, and fail with it."""
    # By a small process in between: a peak counts from the fork on, and this one may be larger than the command.
    reading, writing = os.pipe()
    with os.fdopen(reading) as told:
        process = subprocess.Popen([sys.executable, __file__, str(writing), *command], pass_fds=[writing])
        os.close(writing)
        text = told.read()
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
    return Used(*json.loads(text))


def interleaved(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, Used]:
    """The medians of some commands that are run in turn, so that a change of the machine's speed meets them all."""
    used: dict[str, list[Used]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            used[name].append(measure(command))
    return {name: Used(*(median(figures) for figures in zip(*times, strict=True))) for name, times in used.items()}


def _between(writing: int, command: Sequence[str]) -> int:
    started = time.monotonic()
    ended = subprocess.run(command, check=False)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.monotonic() - started
    os.write(writing, json.dumps([usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024]).encode())
    return ended.returncode


if __name__ == "__main__":
    sys.exit(_between(int(sys.argv[1]), sys.argv[2:]))
