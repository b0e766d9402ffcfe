"""Read CSV and JSON lines on Spark: an executor converts each file to Parquet with the etl image's own reader.

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
    """A file of text; ``name`` is its path below ``root``, the folder or prefix of its channel."""

    channel: str
    root: str
    name: str


def read(
    spark: SparkSession, files: Sequence[TextFile], read_files: Callable[[Sequence[File]], Delivery], shared: str
) -> list[DataFrame]:
    """Read some files as one table; return no table where there are no files.

    Args:
        spark: its executors read one file at a time each.
        files: of one channel.
        read_files: the etl image's reader of that channel.
        shared: an empty folder or prefix for Parquet, which all executors reach.

    Raises:
        InputError: a file can't be parsed, or lacks a column.
    """
    if not files:
        return []
    # One task per file, because an executor reads a whole file; the number names its Parquet.
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
