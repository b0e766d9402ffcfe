"""A command measured as a whole process, by the operating system's own account."""

from __future__ import annotations

import os
import subprocess
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
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Used(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def interleaved(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, Used]:
    """The medians of some commands that are run in turn, so that a change of the machine's speed meets them all."""
    used: dict[str, list[Used]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            used[name].append(measure(command))
    return {name: Used(*(median(figures) for figures in zip(*times, strict=True))) for name, times in used.items()}
