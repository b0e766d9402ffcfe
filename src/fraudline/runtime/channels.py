"""Read and write the channels of a stage: folders, or s3:// prefixes.

An input under s3:// is downloaded into a scratch folder when it is first read. Outputs are staged, and moved into place
only after the stage has succeeded, the summary last. A prefix counts once its ``summary.json`` exists.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import Schema
from fraudline.catalog.stage import POINTER_FILE, SUMMARY, SUMMARY_FILE, Stage, Summary
from fraudline.runtime import s3

MANIFEST_FILE = "manifest.json"
_PARTIAL = ".partial"


class Channels:
    """The channels of one run of a stage, by name; a context manager that removes uncommitted outputs.

    Args:
        stage: the stage whose channels these are.
        inputs: a folder or an s3:// prefix for each channel that is read.
        outputs: the same for each channel that is written, and for ``summary``.
        checkpoints: a folder that outlives the instance, if the platform has one.
        mounts: the folder below which the platform mounts channels, if it does.
        uploads: the s3:// prefix of each output that the platform uploads after the stage. An upload only adds, so the
            stage deletes what an earlier run left there.
    """

    def __init__(
        self,
        stage: Stage,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        checkpoints: Path | None = None,
        mounts: Path | None = None,
        uploads: Mapping[str, str] | None = None,
    ) -> None:
        self.checkpoints = checkpoints
        self._mounts = mounts
        self._uploads = uploads or {}
        self._reads = {channel.name: channel for channel in stage.reads}
        self._writes = {channel.name: channel for channel in stage.writes}
        self._inputs, self._outputs = inputs, outputs
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._staged: dict[str, Path] = {}
        self._direct: set[str] = set()
        self._published: set[str] = set()
        self._withdrawn: dict[str, str] = {}

    def __enter__(self) -> Channels:
        try:
            for name in self._writes:
                if self.destination(name):
                    self.output(name)  # so that an unwritable output fails before hours of work, not afterwards
            self._withdraw_summary()  # an earlier run's must not stand for what this run is about to replace
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._restore_summary()
        for folder in self._staged.values():
            shutil.rmtree(folder, ignore_errors=True)
        if self._scratch:
            self._scratch.cleanup()

    # Inputs

    def location(self, name: str) -> str:
        """Return an input's folder or prefix as it was passed, or an empty string if it was not."""
        return self._inputs.get(name, "")

    def has(self, name: str) -> bool:
        """Return True if an input has any file."""
        location = self.location(name)
        if s3.is_uri(location):
            return s3.exists(location)
        return bool(location) and _has_files(Path(location))

    def required_location(self, name: str) -> str:
        """Return an input's folder or prefix, for readers that do not download it.

        Raises:
            InputError: the input has no file.
        """
        location = self.location(name)
        if not self.has(name):
            todo = "check that the data was delivered there"
            if not location:
                todo = f"pass its location with --input {name}=URI"
            elif self._mounts and Path(location).is_relative_to(self._mounts):
                todo = f"mount the data there, or pass its location with --input {name}=URI"
            raise InputError(
                f"channel '{name}': nothing at '{location}'; expected {self._reads[name].description}; {todo}"
            )
        return location

    def folder(self, name: str, only: Iterable[str] | None = None) -> Path:
        """Return an input as a local folder, downloaded if it is on S3.

        Args:
            name: the input.
            only: the sub-folders to download from an s3:// prefix; all by default.
        """
        location = self.required_location(name)
        if not s3.is_uri(location):
            return Path(location)
        local = self._scratch_folder() / "input" / name
        s3.fetch(location, local, only)
        return local

    def files(self, name: str, pattern: str = "*.parquet") -> list[Path]:
        """Return an input's files at any depth, sorted by path."""
        files = sorted(path for path in self.folder(name).rglob(pattern) if _PARTIAL not in path.parts)
        if not files:
            raise InputError(f"channel '{name}': no {pattern} in '{self.location(name)}'; check what wrote it")
        return files

    def read(self, name: str, schema: Schema, pattern: str = "*.parquet") -> pl.DataFrame:
        """Read an input's Parquet files as one table of exactly the schema's columns."""
        return pl.concat([scan_table(path, schema, name) for path in self.files(name, pattern)]).collect()

    def parts(self, name: str, schema: Schema) -> list[pl.LazyFrame]:
        """Return an input as lazy tables, one per sub-folder, or a single one without sub-folders."""
        root = self.folder(name)
        groups: dict[str, list[pl.LazyFrame]] = {}
        for path in self.files(name):
            part = path.relative_to(root).parts[0] if path.parent != root else ""
            groups.setdefault(part, []).append(scan_table(path, schema, name))
        return [pl.concat(groups[part]) for part in sorted(groups)]

    def read_json(self, name: str, file: str) -> Any:
        """Read a JSON file of an input."""
        return read_json(self.folder(name) / file, name)

    def read_json_beside(self, name: str, sibling: str, file: str) -> Any | None:
        """Read a JSON file in a folder beside the input's; return None if the file does not exist."""
        parent = self.location(name).rstrip("/").rpartition("/")[0]
        text = _read_text(parent, f"{sibling}/{file}")
        return None if text is None else json.loads(text)

    def scratch(self, name: str) -> Path:
        """Create an empty folder that is removed after this run."""
        folder = self._scratch_folder() / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _scratch_folder(self) -> Path:
        # Created only when needed, so that a stage over folders can run on a read-only file system.
        self._scratch = self._scratch or tempfile.TemporaryDirectory(prefix="fraudline-", ignore_cleanup_errors=True)
        return Path(self._scratch.name)

    # Outputs

    def destination(self, name: str) -> str:
        """Return an output's folder or prefix as it was passed, or an empty string if it was not."""
        return self._outputs.get(name, "")

    def output(self, name: str) -> Path:
        """Return the folder to write an output into; ``commit`` moves its files into place."""
        if name not in self._staged:
            if name != SUMMARY and name not in self._writes:
                raise KeyError(f"no output channel '{name}'")
            location = self.destination(name)
            if not location:
                raise InputError(f"channel '{name}': it has no location to write to; pass one with --output {name}=URI")
            # In the same file system as the files that it replaces, so that each file moves by one rename.
            parent = self._scratch_folder() / "output" / name if s3.is_uri(location) else Path(location)
            staged = parent / _PARTIAL
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
            self._staged[name] = staged
        return self._staged[name]

    def existing_json(self, name: str, file: str) -> Any | None:
        """Read a JSON file that an earlier run left in an output; return None if it does not exist."""
        text = _read_text(self.destination(name), file)
        return None if text is None else json.loads(text)

    def direct_output(self, name: str) -> str:
        """Return the location to which instances write an output directly: the staged folder, or the s3:// prefix.

        The earlier summary stays withdrawn, so that a prefix does not count until ``commit`` writes a new one.
        """
        location = self.destination(name)
        if not s3.is_uri(location):
            return str(self.output(name))
        self._withdrawn.clear()
        self._direct.add(name)
        return location

    def write(self, name: str, table: pl.DataFrame, file: str = "part-0.parquet") -> None:
        """Write a table into an output as Parquet."""
        path = self.output(name) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path, compression="zstd", compression_level=1)

    def write_json(self, name: str, file: str, content: Any) -> None:
        """Write a JSON file into an output."""
        (self.output(name) / file).write_text(json.dumps(content, indent=2) + "\n")

    def publish(self, name: str, *, replace: bool = False) -> None:
        """Move a published output into place before ``commit``, so that others can read it.

        Raises:
            InputError: it already has other content, and ``replace`` is False.
        """
        if not self._is_unchanged(name, replace):
            self._move_into_place(name, self._staged[name])
        self._published.add(name)

    def commit(self, summary: Summary, *, replace: bool = False) -> None:
        """Move every output into place, the summary last.

        Args:
            summary: content of ``summary.json``.
            replace: let a published channel change its content.

        Raises:
            InputError: a published channel already has other content; no output was changed.
        """
        for name in self._writes:
            self.output(name)  # an output without rows is an empty folder, not a missing one
        if self.destination(SUMMARY):
            self.write_json(SUMMARY, SUMMARY_FILE, summary)
        # All published channels are checked before any output changes.
        published = [name for name, channel in self._writes.items() if channel.published]
        unchanged = [name for name in published if name in self._published or self._is_unchanged(name, replace)]
        self._withdrawn.clear()
        for name, staged in self._staged.items():
            if name not in unchanged:
                self._move_into_place(name, staged)
                self._prune_upload(name)

    def _is_unchanged(self, name: str, replace: bool) -> bool:
        """Return True if a published channel keeps its content, because nothing or the same was written."""
        if not (self._staged[name] / MANIFEST_FILE).is_file():
            return True
        return not replace and self._holds_same(name)

    def _holds_same(self, name: str) -> bool:
        """Return True if a published channel has the staged content, False if empty; otherwise raise InputError."""
        location = self._uploads.get(name, self.destination(name))
        text = _read_text(location, MANIFEST_FILE)
        if text is None:
            return False
        old, new = json.loads(text), json.loads((self._staged[name] / MANIFEST_FILE).read_text())
        if old["content"] == new["content"]:
            return True
        raise InputError(
            f"channel '{name}': '{location}' was published by execution '{old['execution']}' and execution "
            f"'{new['execution']}' has other content; find out why, or overwrite it with --replace true"
        )

    def _withdraw_summary(self) -> None:
        """Remove the summary of an earlier run, also where the platform will upload the next one."""
        for location in filter(None, (self.destination(SUMMARY), self._uploads.get(SUMMARY))):
            text = s3.pop(location, SUMMARY_FILE) if s3.is_uri(location) else _pop(Path(location, SUMMARY_FILE))
            if text is not None:
                self._withdrawn[location] = text

    def _restore_summary(self) -> None:
        """Put the withdrawn summary back: this run has failed before it changed any output that it describes."""
        for location, text in self._withdrawn.items():
            if s3.is_uri(location):
                s3.write(location, SUMMARY_FILE, text)
            else:
                Path(location, SUMMARY_FILE).write_text(text)

    def _prune_upload(self, name: str) -> None:
        """Delete what an earlier run left where the platform will upload an output; an upload only adds."""
        if name != SUMMARY and name in self._uploads:  # the summary's prefix contains those of the channels
            s3.prune(Path(self.destination(name)), self._uploads[name])

    def _move_into_place(self, name: str, staged: Path) -> None:
        location = self.destination(name)
        # The folder or prefix of the summary may contain those of the channels, so nothing is removed there.
        keeps_others = name == SUMMARY
        if s3.is_uri(location):
            s3.upload(staged, location, _referring_files_last)
            if not keeps_others and name not in self._direct:
                s3.prune(staged, location)
        else:
            _replace_content(Path(location), staged, keeps_others=keeps_others)


def _replace_content(folder: Path, staged: Path, *, keeps_others: bool) -> None:
    """Move staged files into their folder and remove the others.

    The folder itself stays: it may be a mount, which can't be renamed.
    """
    names = sorted((path.name for path in staged.iterdir()), key=_referring_files_last)
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (staged / name).replace(folder / name)
    staged.rmdir()
    if keeps_others:
        return
    for path in folder.iterdir():
        if path.name not in names:
            _remove(path)


def scan_table(path: Path, schema: Schema, channel: str) -> pl.LazyFrame:
    """Return a Parquet file as a lazy table with exactly the schema's columns.

    Raises:
        InputError: the file is broken, a column is missing, or a column has another type.
    """
    table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    try:
        columns = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"channel '{channel}': {path.name} is not readable Parquet ({type(error).__name__}); write it again"
        ) from error
    for column, dtype in schema.items():
        if column not in columns:
            raise InputError(
                f"channel '{channel}': {path.name} has no column '{column}' ({dtype}); "
                f"it has {', '.join(columns)}; run the stage that writes this channel again"
            )
        if columns[column] not in (dtype, pl.Null):
            raise InputError(
                f"channel '{channel}': {path.name}: column '{column}' must be {dtype}, "
                f"got {columns[column]}; run the stage that writes this channel again"
            )
    return table.select(pl.col(column).cast(dtype) for column, dtype in schema.items())


def read_json(path: Path, channel: str) -> Any:
    """Read a JSON file of a channel.

    Raises:
        InputError: it is missing or is not JSON.
    """
    if not path.is_file():
        raise InputError(f"channel '{channel}': {path.name} is missing; run the stage that writes it again")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"channel '{channel}': {path.name} is not JSON ({error}); write it again") from error


class _Digest(io.BytesIO):
    """A file object that only hashes what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)


def content_hash(*tables: pl.DataFrame) -> str:
    """Return a hash of the values of tables, which does not depend on the encoding of their files."""
    digest = _Digest()
    for table in tables:
        table.write_csv(digest)
    return digest.sha256.hexdigest()


def _referring_files_last(name: str) -> tuple[bool, str]:
    """Return a sort key that puts files after the ones that they refer to."""
    return name in (MANIFEST_FILE, POINTER_FILE), name


def _read_text(location: str, file: str) -> str | None:
    """Return the text of a file below a folder or an s3:// prefix, or None if it does not exist."""
    if s3.is_uri(location):
        return s3.read(location, file)
    path = Path(location, file)
    return path.read_text() if path.is_file() else None


def _pop(path: Path) -> str | None:
    """Return a file's text and remove it, or None if it does not exist."""
    if not path.is_file():
        return None
    text = path.read_text()
    path.unlink()
    return text


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and _PARTIAL not in path.parts for path in folder.rglob("*"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
