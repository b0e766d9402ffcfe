"""Find the files of a delivery in any supported format, scan them lazily, and report broken ones by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fraudline.catalog.errors import InputError

FORMATS = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".csv.gz": "CSV",
    ".jsonl": "JSON lines",
    ".jsonl.gz": "JSON lines",
    ".ndjson": "JSON lines",
    ".ndjson.gz": "JSON lines",
}
PATTERNS = ", ".join(f"*{suffix}" for suffix in FORMATS)
# The column for the path of each row's file; its name must not occur in deliveries.
PATH_COLUMN = "__file__"
# The number of JSON lines that are read to find the columns of a file.
_JSON_ROWS = 100

PARSE_ERRORS = (pl.exceptions.PolarsError, OSError)


@dataclass(frozen=True)
class File:
    """One file of a channel.

    Attributes:
        path: its path on this computer.
        channel: the input that it belongs to.
        name: its path relative to the channel, for errors.
    """

    path: Path
    channel: str
    name: str

    @property
    def format(self) -> str:
        """Return Parquet, CSV or JSON lines."""
        return next(name for suffix, name in FORMATS.items() if self.path.name.endswith(suffix))

    @property
    def where(self) -> str:
        """Return the start of an error message about this file."""
        return f"channel '{self.channel}': {self.name}"

    def schema(self, columns: Mapping[str, bool]) -> pl.Schema:
        """Return the file's columns; in CSV and JSON lines all are text, so that no digit is lost.

        Args:
            columns: the columns to read, each with True if it is required.

        Raises:
            InputError: the file is not of its format.
        """
        try:
            return self._schema(columns)
        except PARSE_ERRORS as error:
            raise self.parse_error(error) from error

    def _schema(self, columns: Mapping[str, bool]) -> pl.Schema:
        if self.format == "Parquet":
            return pl.scan_parquet(self.path, glob=False).collect_schema()
        if self.format == "CSV":
            table = pl.scan_csv(self.path, infer_schema=False, glob=False)
            # polars reports a line with too many fields (its values are shifted) only when it reads all columns.
            table.select(pl.all().count()).collect(engine="streaming")
            return table.collect_schema()
        if not self.path.stat().st_size:
            return pl.Schema(dict.fromkeys(columns, pl.String))
        names = list(pl.scan_ndjson(self.path, infer_schema_length=_JSON_ROWS).collect_schema())
        # A JSON line contains only columns that have a value, so an optional column may first occur in a later line.
        names += [name for name, required in columns.items() if not required and name not in names]
        return pl.Schema(dict.fromkeys(names, pl.String))

    def parse_error(self, error: Exception) -> InputError:
        """Return the error for a file that can't be parsed."""
        return InputError(f"{self.where} is not readable {self.format} ({type(error).__name__}); deliver it again")


@dataclass(frozen=True)
class Batch:
    """Files of one format and with equal columns, scanned together."""

    files: Sequence[File]
    schema: pl.Schema

    @property
    def is_text(self) -> bool:
        """Return True if all values are text."""
        return self.files[0].format != "Parquet"

    def scan(self) -> pl.LazyFrame:
        """Return the rows as a lazy frame, with the path of each row's file in PATH_COLUMN."""
        paths = [file.path for file in self.files]
        if self.files[0].format == "Parquet":
            return pl.scan_parquet(paths, glob=False, hive_partitioning=False, include_file_paths=PATH_COLUMN)
        if self.files[0].format == "CSV":
            return pl.scan_csv(paths, infer_schema=False, glob=False, include_file_paths=PATH_COLUMN)
        return pl.scan_ndjson(paths, schema=self.schema, include_file_paths=PATH_COLUMN)


@dataclass(frozen=True)
class Delivery:
    """The rows of a channel as a lazy frame, and the batches of files that they come from."""

    rows: pl.LazyFrame
    batches: Sequence[Batch]


def find_files(folder: Path, channel: str, root: Path) -> list[File]:
    """Return the files in a folder at any depth, sorted by name.

    Args:
        folder: the folder to search.
        channel: the input that the files belong to.
        root: the folder of the channel; names of files are relative to it.
    """
    paths = sorted(path for path in folder.rglob("*") if path.name.endswith(tuple(FORMATS)))
    return [File(path, channel, path.relative_to(root).as_posix()) for path in paths]


def group_files(files: Sequence[File], columns: Mapping[str, bool]) -> list[Batch]:
    """Group files by format and columns, because one scan of many files is cheaper than many scans.

    Args:
        files: files of one channel.
        columns: the columns to read, each with True if it is required.

    Raises:
        InputError: a file is not of its format.
    """
    groups: dict[tuple[object, ...], list[File]] = {}
    schemas: dict[tuple[object, ...], pl.Schema] = {}
    for file in files:
        schema = file.schema(columns)
        key = (file.format, *schema.items())
        groups.setdefault(key, []).append(file)
        schemas[key] = schema
    return [Batch(members, schemas[key]) for key, members in groups.items()]


@contextmanager
def naming_broken_files(*deliveries: Delivery) -> Iterator[None]:
    """Raise InputError that names the broken file when rows can't be read within the context.

    polars reports that one of the files is broken, but not always which one, so each is read again on its own.
    """
    try:
        yield
    except PARSE_ERRORS:
        for delivery in deliveries:
            for batch in delivery.batches:
                _read_files_alone(batch)
        raise


def _read_files_alone(batch: Batch) -> None:
    for file in batch.files:
        try:
            Batch([file], batch.schema).scan().select(pl.all().count()).collect(engine="streaming")
        except PARSE_ERRORS as error:
            raise file.parse_error(error) from error
