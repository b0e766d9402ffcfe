"""Measure a command as a whole process, with the operating system's accounting."""

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


class Usage(NamedTuple):
    """What a process used.

    Attributes:
        cpu: CPU seconds, user and system.
        wall: elapsed seconds.
        peak: peak memory in MB.
    """

    cpu: float
    wall: float
    peak: float


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end.

    Raises:
        CalledProcessError: it failed.
    """
    # A small process in between starts the command: the peak counts from the fork on, and this process may be larger.
    reading, writing = os.pipe()
    with os.fdopen(reading) as figures:
        process = subprocess.Popen([sys.executable, __file__, str(writing), *command], pass_fds=[writing])
        os.close(writing)
        text = figures.read()
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
    return Usage(*json.loads(text))


def interleaved(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, Usage]:
    """Return the medians of commands that run in turn, so that a change of the computer's speed affects all of them."""
    usages: dict[str, list[Usage]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            usages[name].append(measure(command))
    return {name: _median(runs) for name, runs in usages.items()}


def _median(runs: Sequence[Usage]) -> Usage:
    return Usage(*(median(figures) for figures in zip(*runs, strict=True)))


def _run_child(writing: int, command: Sequence[str]) -> int:
    started = time.monotonic()
    process = subprocess.run(command, check=False)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.monotonic() - started
    os.write(writing, json.dumps([usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024]).encode())
    return process.returncode


if __name__ == "__main__":
    sys.exit(_run_child(int(sys.argv[1]), sys.argv[2:]))
