"""Read the log of a stage while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fraudline.catalog.stage import Stage
from fraudline.orchestration.local.launchers.launcher import Finished, StageError


def follow(stage: Stage, lines: Iterable[str], wait: Callable[[], int]) -> Finished:
    """Read a stage's log to its end and return what the stage measured.

    Args:
        stage: whose log it is.
        lines: of the log, one JSON object each, as they come.
        wait: waits for the stage's end and returns its exit code.

    Raises:
        StageError: the exit code is not 0; the text is the last error in the log.
    """
    measured: dict[str, Any] = {}
    errors: list[str] = []
    for line in lines:
        entry = _entry(line)
        if entry.get("event") == "finished":
            measured = entry
        # An entry without a level is a line of a library, or of Python itself: perhaps why the stage failed.
        if entry.get("level") in ("ERROR", "CRITICAL", None):
            errors.append("\n".join(filter(None, [entry.get("message"), entry.get("exception")])))
    code = wait()
    if code or not measured:
        message = errors[-1] if errors else f"ended with exit code {code} and logged no error"
        raise StageError(stage, message, code or 1)
    return Finished(measured["rows"], measured["seconds"], measured["cpu_seconds"], measured["peak_mb"])


def whole_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a log that comes in chunks, as Docker's engine sends it."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) else {"message": line.rstrip()}
