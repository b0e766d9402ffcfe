"""The files of a delivery in any format that is read: found, opened lazily, and named when they are broken."""

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
FILE = "__file__"  # no column of a delivery is called so
_JSON_ROWS = 100  # of JSON lines, read to learn which columns there are


@dataclass(frozen=True)
class File:
    """One file of a channel."""

    path: Path
    channel: str
    name: str  # below the channel, for errors

    @property
    def format(self) -> str:
        """Parquet, CSV or JSON lines."""
        return next(name for suffix, name in FORMATS.items() if self.path.name.endswith(suffix))

    @property
    def where(self) -> str:
        """How an error begins that is about this file."""
        return f"channel '{self.channel}': {self.name}"

    def schema(self, wanted: Mapping[str, bool]) -> pl.Schema:
        """Its columns; those of CSV and JSON lines are all text, so that no digit is lost before we look at it.

        Args:
            wanted: the columns to be read, and whether each must be there.

        Raises:
            InputError: it is not of its format, or lacks a column.
        """
        try:
            schema = self._schema(wanted)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self.broken(error) from error
        return schema

    def _schema(self, wanted: Mapping[str, bool]) -> pl.Schema:
        if self.format == "Parquet":
            return pl.scan_parquet(self.path, glob=False).collect_schema()
        if self.format == "CSV":
            table = pl.scan_csv(self.path, infer_schema=False, glob=False)
            # The engine sees a line of too many fields, one whose values are shifted, only where it reads all columns.
            table.select(pl.all().count()).collect(engine="streaming")
            return table.collect_schema()
        # A line of JSON names only what it has: a column that need not be there may come after the first lines.
        found = list(wanted)
        if self.path.stat().st_size:
            seen = pl.scan_ndjson(self.path, infer_schema_length=_JSON_ROWS).collect_schema()
            found = [*seen, *(name for name, must in wanted.items() if not must and name not in seen)]
        return pl.Schema(dict.fromkeys(found, pl.String))

    def broken(self, error: Exception) -> InputError:
        """What to tell of a file that can't be parsed."""
        return InputError(f"{self.where} is not readable {self.format} ({type(error).__name__}); deliver it again")


@dataclass(frozen=True)
class Batch:
    """Files of one format and equal columns, read as one; the column FILE holds each row's path."""

    files: Sequence[File]
    schema: pl.Schema

    @property
    def is_text(self) -> bool:
        """Whether all values come as text."""
        return self.files[0].format != "Parquet"

    def scan(self) -> pl.LazyFrame:
        """Their rows, not read yet."""
        paths = [file.path for file in self.files]
        if self.files[0].format == "Parquet":
            return pl.scan_parquet(paths, glob=False, hive_partitioning=False, include_file_paths=FILE)
        if self.files[0].format == "CSV":
            return pl.scan_csv(paths, infer_schema=False, glob=False, include_file_paths=FILE)
        return pl.scan_ndjson(paths, schema=self.schema, include_file_paths=FILE)


@dataclass(frozen=True)
class Delivery:
    """The rows of a channel, not read yet, and the files that hold them."""

    rows: pl.LazyFrame
    batches: Sequence[Batch]


def find(folder: Path, channel: str, below: Path) -> list[File]:
    """The files in a folder in any depth, in the order of their names; ``below`` is the channel's own folder."""
    paths = sorted(path for path in folder.rglob("*") if path.name.endswith(tuple(FORMATS)))
    return [File(path, channel, path.relative_to(below).as_posix()) for path in paths]


def batches(files: Sequence[File], wanted: Mapping[str, bool]) -> list[Batch]:
    """Files by format and columns: one scan of many files costs less than many scans."""
    grouped: dict[tuple[object, ...], list[File]] = {}
    schemas: dict[tuple[object, ...], pl.Schema] = {}
    for file in files:
        schema = file.schema(wanted)
        key = (file.format, *schema.items())
        grouped.setdefault(key, []).append(file)
        schemas[key] = schema
    return [Batch(members, schemas[key]) for key, members in grouped.items()]


@contextmanager
def broken_files_named(*deliveries: Delivery) -> Iterator[None]:
    """While rows are read: the engine tells that some file is broken, not always which."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError):
        for batch in (batch for delivery in deliveries for batch in delivery.batches):
            for file in batch.files:
                try:
                    Batch([file], batch.schema).scan().select(pl.all().count()).collect(engine="streaming")
                except (pl.exceptions.PolarsError, OSError) as error:
                    raise file.broken(error) from error
        raise
