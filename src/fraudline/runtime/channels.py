"""Read and write one channel: a folder, or an s3:// prefix.

Inputs under s3:// are fetched into a scratch folder when first asked for; outputs are written aside
and put in place only when the stage has succeeded, the summary last. A prefix counts once its
``summary.json`` exists.
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
    """The channels of one run of a stage, by name; a context in which outputs appear at the end.

    Args:
        stage: whose channels these are.
        inputs: a folder or an s3:// prefix for each channel read.
        outputs: the same for each channel written, and for ``summary``.
        checkpoints: a folder that outlives the machine, where the host has one.
    """

    def __init__(
        self, stage: Stage, inputs: Mapping[str, str], outputs: Mapping[str, str], checkpoints: Path | None = None
    ) -> None:
        self.checkpoints = checkpoints
        self._reads = {channel.name: channel for channel in stage.reads}
        self._writes = {channel.name: channel for channel in stage.writes}
        self._inputs, self._outputs = inputs, outputs
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._staged: dict[str, Path] = {}
        self._direct: set[str] = set()
        self._published: set[str] = set()

    def __enter__(self) -> Channels:
        for name in self._writes:
            if self.destination(name):
                self.output(name)  # one that can't be written is told before hours of work, not after
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._staged.values():
            shutil.rmtree(folder, ignore_errors=True)
        if self._scratch:
            self._scratch.cleanup()

    # Inputs

    def location(self, name: str) -> str:
        """The folder or prefix of an input, as it was given; empty if it was not."""
        return self._inputs.get(name, "")

    def has(self, name: str) -> bool:
        """Whether an input holds anything at all."""
        location = self.location(name)
        if s3.is_uri(location):
            return s3.exists(location)
        return bool(location) and _has_files(Path(location))

    def place(self, name: str) -> str:
        """The folder or prefix of an input that holds something, for what reads it without fetching it."""
        if not self.has(name):
            raise InputError(
                f"channel '{name}': nothing at '{self.location(name)}'; expected {self._reads[name].description}; "
                f"mount it, or name its place with --input {name}=…"
            )
        return self.location(name)

    def folder(self, name: str, only: Iterable[str] | None = None) -> Path:
        """An input as a local folder; of an s3:// prefix only the named sub-folders are fetched."""
        location = self.place(name)
        if not s3.is_uri(location):
            return Path(location)
        local = self._scratch_folder() / "input" / name
        s3.fetch(location, local, only)
        return local

    def files(self, name: str, pattern: str = "*.parquet") -> list[Path]:
        """An input's files in any depth, in the order of their names."""
        files = sorted(path for path in self.folder(name).rglob(pattern) if _PARTIAL not in path.parts)
        if not files:
            raise InputError(f"channel '{name}': no {pattern} in '{self.location(name)}'; check what wrote it")
        return files

    def read(self, name: str, schema: Schema, pattern: str = "*.parquet") -> pl.DataFrame:
        """An input's Parquet files as one table of exactly the schema's columns."""
        return pl.concat([scan_table(path, schema, name) for path in self.files(name, pattern)]).collect()

    def parts(self, name: str, schema: Schema) -> list[pl.LazyFrame]:
        """An input's tables as ``read`` gives them, lazily: one a sub-folder, or one in all where there are none."""
        root = self.folder(name)
        groups: dict[str, list[pl.LazyFrame]] = {}
        for path in self.files(name):
            part = path.relative_to(root).parts[0] if path.parent != root else ""
            groups.setdefault(part, []).append(scan_table(path, schema, name))
        return [pl.concat(groups[part]) for part in sorted(groups)]

    def read_json(self, name: str, file: str) -> Any:
        """One JSON file of an input."""
        return read_json(self.folder(name) / file, name)

    def read_json_beside(self, name: str, sibling: str, file: str) -> Any | None:
        """One JSON file of a folder that lies beside an input's, None where it is not there."""
        parent = self.location(name).rstrip("/").rpartition("/")[0]
        text = _text(parent, f"{sibling}/{file}")
        return None if text is None else json.loads(text)

    def scratch(self, name: str) -> Path:
        """An empty folder that goes with this run."""
        folder = self._scratch_folder() / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _scratch_folder(self) -> Path:
        # Only where it is needed: a stage on folders runs with a read-only root.
        self._scratch = self._scratch or tempfile.TemporaryDirectory(prefix="fraudline-", ignore_cleanup_errors=True)
        return Path(self._scratch.name)

    # Outputs

    def destination(self, name: str) -> str:
        """The folder or prefix of an output, as it was given; empty if it was not."""
        return self._outputs.get(name, "")

    def output(self, name: str) -> Path:
        """The folder to write an output into; it takes its place on commit."""
        if name not in self._staged:
            if name != SUMMARY and name not in self._writes:
                raise KeyError(f"no output channel '{name}'")
            location = self.destination(name)
            if not location:
                raise InputError(f"channel '{name}': no place to write to; name one with --output {name}=…")
            parent = self._scratch_folder() / "output" / name if s3.is_uri(location) else Path(location)
            staged = parent / _PARTIAL
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
            self._staged[name] = staged
        return self._staged[name]

    def held(self, name: str, file: str) -> Any | None:
        """One JSON file that an output holds already, None where it is not there."""
        text = _text(self.destination(name), file)
        return None if text is None else json.loads(text)

    def direct(self, name: str) -> str:
        """Where several machines write an output themselves: into the staged folder, or below its own prefix.

        Nothing below a prefix counts from then on, until the commit writes the summary.
        """
        location = self.destination(name)
        if not s3.is_uri(location):
            return str(self.output(name))
        self._withdraw_summary()
        self._direct.add(name)
        return location

    def write(self, name: str, table: pl.DataFrame, file: str = "part-0.parquet") -> None:
        """Write a table into an output as Parquet."""
        path = self.output(name) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path, compression="zstd", compression_level=1)

    def write_json(self, name: str, file: str, content: Any) -> None:
        """Write one JSON file into an output."""
        (self.output(name) / file).write_text(json.dumps(content, indent=2) + "\n")

    def publish(self, name: str, *, replace: bool = False) -> None:
        """Put a published output in place before the commit, for what needs it there.

        Raises:
            InputError: it holds something else already, and may not be replaced.
        """
        if not self._stays(name, replace):
            self._place(name, self._staged[name])
        self._published.add(name)

    def commit(self, summary: Summary, *, replace: bool = False) -> None:
        """Put every output in place, the summary last.

        Args:
            summary: becomes ``summary.json``.
            replace: let a published channel change what it holds.

        Raises:
            InputError: a published channel holds something else already.
        """
        for name in self._writes:
            self.output(name)  # an output without rows is an empty folder, not a missing one
        if self.destination(SUMMARY):
            self.write_json(SUMMARY, SUMMARY_FILE, summary)
        published = [name for name, channel in self._writes.items() if channel.published]
        unchanged = [name for name in published if name in self._published or self._stays(name, replace)]
        if self.destination(SUMMARY):
            self._withdraw_summary()
        for name, staged in self._staged.items():
            if name not in unchanged:
                self._place(name, staged)

    def _stays(self, name: str, replace: bool) -> bool:
        """Whether a published channel keeps what it holds: it was given nothing, or the same."""
        return not (self._staged[name] / MANIFEST_FILE).is_file() or (not replace and self._is_published(name))

    def _is_published(self, name: str) -> bool:
        location = self.destination(name)
        text = _text(location, MANIFEST_FILE)
        if text is None:
            return False
        old, new = json.loads(text), json.loads((self._staged[name] / MANIFEST_FILE).read_text())
        if old["content"] == new["content"]:
            return True
        raise InputError(
            f"channel '{name}': '{location}' was published by execution '{old['execution']}' and execution "
            f"'{new['execution']}' brings other content; find out why, or give --replace true to overwrite it"
        )

    def _withdraw_summary(self) -> None:
        location = self.destination(SUMMARY)
        if s3.is_uri(location):
            s3.delete(location, SUMMARY_FILE)
        else:
            Path(location, SUMMARY_FILE).unlink(missing_ok=True)

    def _place(self, name: str, staged: Path) -> None:
        location = self.destination(name)
        if s3.is_uri(location):
            s3.upload(staged, location, _comes_last)
            if name != SUMMARY and name not in self._direct:  # the channels' prefixes may lie below the summary's
                s3.prune(staged, location)
            return
        # Inside the folder, not instead of it: it may be a mount, which nothing can rename.
        folder = Path(location)
        fresh = sorted((path.name for path in staged.iterdir()), key=_comes_last)
        for file in fresh:
            if (folder / file).is_dir():
                shutil.rmtree(folder / file)
            (staged / file).replace(folder / file)
        staged.rmdir()
        for path in folder.iterdir() if name != SUMMARY else ():
            if path.name not in fresh:
                _remove(path)


def scan_table(path: Path, schema: Schema, channel: str) -> pl.LazyFrame:
    """One Parquet file as a table of exactly the schema's columns, not read yet."""
    table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    try:
        found = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"channel '{channel}': {path.name} is not readable Parquet ({type(error).__name__}); write it again"
        ) from error
    for column, dtype in schema.items():
        if column not in found:
            raise InputError(
                f"channel '{channel}': {path.name} has no column '{column}' ({dtype}); "
                f"it has {', '.join(found)}; run the stage that writes this channel again"
            )
        if found[column] not in (dtype, pl.Null):
            raise InputError(
                f"channel '{channel}': {path.name}: column '{column}' must be {dtype}, "
                f"got {found[column]}; run the stage that writes this channel again"
            )
    return table.select(pl.col(column).cast(dtype) for column, dtype in schema.items())


def read_json(path: Path, channel: str) -> Any:
    """One JSON file."""
    text = path.read_text() if path.is_file() else None
    if text is None:
        raise InputError(f"channel '{channel}': {path.name} is missing; run the stage that writes it again")
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"channel '{channel}': {path.name} is not JSON ({error}); write it again") from error


class _Digest(io.BytesIO):
    """A file that only keeps the hash of what is written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)


def content_hash(*tables: pl.DataFrame) -> str:
    """A hash of what tables hold, whatever the version that wrote their files."""
    digest = _Digest()
    for table in tables:
        table.write_csv(digest)
    return digest.sha256.hexdigest()


def _comes_last(name: str) -> tuple[bool, str]:
    """Orders files so that what names the others is in place after them."""
    return name in (MANIFEST_FILE, POINTER_FILE), name


def _text(location: str, file: str) -> str | None:
    """A file below a folder or an s3:// prefix, None where it is not there."""
    if s3.is_uri(location):
        return s3.read(location, file)
    path = Path(location, file)
    return path.read_text() if path.is_file() else None


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and _PARTIAL not in path.parts for path in folder.rglob("*"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
