"""What every launcher is and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fraudline.catalog.stage import Stage


class StageError(Exception):
    """A stage that ended with another exit ``code`` than 0; the text is the stage's own message."""

    def __init__(self, stage: Stage, message: str, code: int) -> None:
        super().__init__(message)
        self.stage = stage
        self.code = code


@dataclass(frozen=True)
class Finished:
    """What a finished stage measured of itself.

    Attributes:
        rows: rows that it wrote or judged, None where it counts none.
        seconds: wall time.
        cpu_seconds: of all its threads.
        peak_mb: most memory that it held, in MiB.
        skipped: an earlier run finished it, and this run left it alone.
    """

    rows: int | None
    seconds: float
    cpu_seconds: float
    peak_mb: int
    skipped: bool = False


class Launcher(Protocol):
    """Starts a stage over folders, and waits for its end."""

    def version(self, stage: Stage) -> str:
        """Return a text that changes whenever the code of a stage does."""

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        """Run a stage to its end.

        Args:
            stage: what to run.
            inputs: a folder for each channel that it reads; one that is optional may not exist.
            outputs: a folder for each channel that it writes, and for the summary; they exist.
            arguments: its parameters as command line options.
            lock: file descriptor of the execution's lock, to keep open for as long as the stage runs.

        Raises:
            StageError: the stage failed.
        """
