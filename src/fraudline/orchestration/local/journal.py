"""What lets a run go on after the last finished stage: who finished, from what, and with what.

Files count by their size and time of change. What the execution itself has written since is no change of what a
stage has read: DeployModel moves the champion that EvaluateModel was given.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import SUMMARY, Stage
from fraudline.orchestration.local.launchers import Finished

JOURNAL_FILE, LOCK_FILE = "journal.json", "lock"

Files = dict[str, list[int]]


@dataclass(frozen=True)
class Run:
    """One stage's run: its command, and the folders of its channels."""

    stage: Stage
    command: Sequence[str]
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]

    @property
    def own(self) -> list[Path]:
        """The outputs that other executions leave alone: the stage's prefix, and what is published."""
        published = {channel.name for channel in self.stage.writes if channel.published}
        return [path for name, path in self.outputs.items() if name in published or name == SUMMARY]


@dataclass
class _Entry:
    command: list[str]
    writes: list[str]
    read: dict[str, Files]
    written: dict[str, Files] = field(default_factory=dict)
    measured: dict[str, Any] | None = None


class Journal:
    """The journal of one execution, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        entries = json.loads(self._path.read_text()) if self._path.is_file() else {}
        self._entries = {name: _Entry(**entry) for name, entry in entries.items()}

    def finished(self, run: Run) -> Finished | None:
        """What the stage measured, if it finished with this very command, from what is there, and that is left."""
        entry = self._entries.get(run.stage.name)
        if entry is None or entry.measured is None or entry.command != list(run.command):
            return None
        if self._foreign(entry.read) != self._foreign(_stamps(run.inputs.values())) or entry.written != _stamps(
            run.own
        ):
            return None
        return Finished(**entry.measured, before=True)

    def begin(self, run: Run) -> None:
        """Note that a stage starts, and from what; whatever followed it is void."""
        names = list(self._entries)
        if run.stage.name in names:
            self._entries = {name: self._entries[name] for name in names[: names.index(run.stage.name)]}
        writes = [str(path) for path in run.outputs.values()]
        self._entries[run.stage.name] = _Entry(list(run.command), writes, _stamps(run.inputs.values()))
        self._save()

    def end(self, run: Run, finished: Finished) -> None:
        """Note that it finished, and what it left."""
        entry = self._entries[run.stage.name]
        entry.written = _stamps(run.own)
        entry.measured = {key: value for key, value in asdict(finished).items() if key != "before"}
        self._save()

    def _foreign(self, read: dict[str, Files]) -> dict[str, Files]:
        """Without what stages that have begun write: that is judged where it is written."""
        ours = {Path(path) for entry in self._entries.values() for path in entry.writes}
        return {
            place: {path: stamp for path, stamp in files.items() if ours.isdisjoint(Path(path).parents)}
            for place, files in read.items()
        }

    def _save(self) -> None:
        fresh = self._path.with_suffix(".partial")
        fresh.write_text(json.dumps({name: asdict(entry) for name, entry in self._entries.items()}, indent=1) + "\n")
        fresh.replace(self._path)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keep others from running the same execution; yields the open file whose copies hold the lock too."""
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"execution '{folder.name}' is being run already, or a stage of a run that was killed still is; "
                "wait until it has ended, or stop it"
            ) from None
        yield file.fileno()


def _stamps(folders: Iterable[Path]) -> dict[str, Files]:
    """Every file below some folders with its size in bytes and its time of change in nanoseconds."""
    return {str(folder): _files(folder) for folder in folders}


def _files(folder: Path) -> Files:
    stats = {str(path): path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}
