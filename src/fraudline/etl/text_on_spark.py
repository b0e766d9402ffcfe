"""Read CSV and JSON lines on Spark: executors convert each file to Parquet with the reader that the etl image uses.

Spark's readers treat quotes, numbers, time zones and broken lines differently, so they are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from fraudline.catalog.errors import InputError
from fraudline.etl.files import Delivery, File, naming_broken_files
from fraudline.runtime import s3


class TextFile(NamedTuple):
    """A text file; ``name`` is its path relative to ``root``, the folder or prefix of its channel."""

    channel: str
    root: str
    name: str


def read(
    spark: SparkSession, files: Sequence[TextFile], read_files: Callable[[Sequence[File]], Delivery], shared: str
) -> list[DataFrame]:
    """Read text files as one table; return a list of this table, or an empty list without files.

    Args:
        spark: the Spark session; each executor reads one file at a time.
        files: files of one channel.
        read_files: the reader of that channel that the etl image uses.
        shared: an empty folder or prefix for Parquet, which all executors can access.

    Raises:
        InputError: a file can't be parsed, or lacks a column.
    """
    if not files:
        return []
    # One task per file, because the reader needs the whole file; its number becomes the name of the Parquet file.
    numbered = spark.sparkContext.parallelize(list(enumerate(files)), len(files))
    faults = numbered.map(partial(_convert, read_files=read_files, shared=shared)).collect()
    for fault in filter(None, faults):
        raise InputError(fault)
    return [spark.read.parquet(shared)]


def _convert(numbered: tuple[int, TextFile], read_files: Callable[[Sequence[File]], Delivery], shared: str) -> str:
    """Write a file's rows into ``shared`` as Parquet.

    Returns:
        The error message of a broken file, or an empty string. Spark would retry a task that raises.
    """
    number, text = numbered
    with TemporaryDirectory(prefix="fraudline-") as scratch:
        folder, target = Path(text.root), Path(shared)
        if s3.is_uri(text.root):
            folder = Path(scratch, "input")
            s3.download(f"{text.root}/{text.name}", folder / text.name)
        if s3.is_uri(shared):
            target = Path(scratch, "output")
        target.mkdir(parents=True, exist_ok=True)
        try:
            delivery = read_files([File(folder / text.name, text.channel, text.name)])
            with naming_broken_files(delivery):
                delivery.rows.sink_parquet(target / f"{number:05}.parquet")
        except InputError as error:
            return str(error)
        if s3.is_uri(shared):
            s3.upload(target, shared, str)
    return ""
