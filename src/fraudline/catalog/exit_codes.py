"""The exit codes by which a command reports its outcome."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. The numbers are a contract: orchestrators decide by them whether to run a stage again."""

    OK = 0
    INTERNAL_ERROR = 1  # another attempt may succeed, or the code has a defect
    INVALID_INPUT = 2  # another attempt fails too, until the input or a parameter is fixed
    INCONSISTENT = 3  # the stage finished, and what it compared differs
