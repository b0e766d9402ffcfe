"""The journal of an execution: which stages finished, from which inputs, and with which command.

It lets a run continue after the last finished stage. Files are compared by size and time of change, because reading
months of data again would cost more than the stages that are skipped.
"""

from __future__ import annotations

import fcntl
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import Stage
from fraudline.orchestration.local.launchers import Finished

JOURNAL_FILE, LOCK_FILE = "journal.json", "lock"

# Size in bytes and time of change in nanoseconds, by path.
Files = dict[str, list[int]]


@dataclass(frozen=True)
class StageRun:
    """One stage of one execution: its command, and the folders of its channels."""

    stage: Stage
    command: Sequence[str]
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]


@dataclass
class _Entry:
    """One stage in the journal.

    Attributes:
        command: the launcher's version of the stage, and the arguments.
        writes: the folders of its outputs.
        read: the files of each input when it started.
        written: the files of each output when it had finished.
        measured: the fields of Finished, None until it has finished.
    """

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

    def finished(self, run: StageRun) -> Finished | None:
        """Return what a stage measured if its command, inputs and outputs are unchanged since, else None."""
        entry = self._entries.get(run.stage.name)
        if entry is None or entry.measured is None or entry.command != list(run.command):
            return None
        if self._foreign(entry.read) != self._foreign(_files_of(run.inputs.values())):
            return None
        if entry.written != _files_of(self._lasting(run)):
            return None
        return Finished(**entry.measured, skipped=True)

    def begin(self, run: StageRun) -> None:
        """Record that a stage starts, and from which files; forget the stages after it, which will run again."""
        names = list(self._entries)
        if run.stage.name in names:
            self._entries = {name: self._entries[name] for name in names[: names.index(run.stage.name)]}
        writes = [_key(path) for path in run.outputs.values()]
        self._entries[run.stage.name] = _Entry(list(run.command), writes, _files_of(run.inputs.values()))
        self._save()

    def end(self, run: StageRun, finished: Finished) -> None:
        """Record that a stage has finished, and which files it left."""
        entry = self._entries[run.stage.name]
        entry.written = _files_of(self._lasting(run))
        entry.measured = {name: value for name, value in asdict(finished).items() if name != "skipped"}
        self._save()

    def _lasting(self, run: StageRun) -> list[Path]:
        """Return the outputs that must stay as the stage left them.

        That is all of them but one that an earlier stage of the execution has read. So a deployment counts as finished
        only while the champion is the one that it deployed. A training has judged the champion before it replaced it:
        it stays finished when another execution moves the champion later.
        """
        earlier = itertools.takewhile(lambda name: name != run.stage.name, self._entries)
        judged = {folder for name in earlier for folder in self._entries[name].read}
        return [path for path in run.outputs.values() if _key(path) not in judged]

    def _foreign(self, read: dict[str, Files]) -> dict[str, Files]:
        """Return files without those that stages of this execution write, which are compared as outputs."""
        written = {Path(path) for entry in self._entries.values() for path in entry.writes}
        return {
            folder: {path: stamp for path, stamp in files.items() if written.isdisjoint(Path(path).parents)}
            for folder, files in read.items()
        }

    def _save(self) -> None:
        fresh = self._path.with_suffix(".partial")
        fresh.write_text(json.dumps({name: asdict(entry) for name, entry in self._entries.items()}, indent=1) + "\n")
        fresh.replace(self._path)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keep others from running the same execution.

    Yields:
        The descriptor of the lock file. A process that inherits it holds the lock too.
    """
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"execution '{folder.name}' is running already, or a stage of a killed run still is; "
                "wait until it has ended, or stop it"
            ) from None
        yield file.fileno()


def _key(folder: Path) -> str:
    # A run from another working directory is of the same files.
    return str(folder.absolute())


def _files_of(folders: Iterable[Path]) -> dict[str, Files]:
    return {_key(folder): _files(folder.absolute()) for folder in folders}


def _files(folder: Path) -> Files:
    stats = {str(path): path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}
