"""CSV and JSON lines on Spark: the image's own reader turns each file into Parquet, on whichever machine is free.

Spark's readers have other ideas of a quote, a number, a zone, and of what is wrong with one line or with the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from fraudline.catalog.errors import InputError
from fraudline.etl.files import Delivery, File, broken_files_named
from fraudline.runtime import s3


class Text(NamedTuple):
    """A file of text, below the folder or prefix of its channel."""

    channel: str
    root: str
    name: str


def read(
    spark: SparkSession, files: Sequence[Text], rows_of: Callable[[Sequence[File]], Delivery], passing: str
) -> list[DataFrame]:
    """The rows that the image reads in some files, as one table; none where there are no files.

    Args:
        spark: whose machines read them, each a file at a time.
        files: of one channel.
        rows_of: the image's reader of that channel.
        passing: a folder or prefix for their Parquet, which all machines reach.

    Raises:
        InputError: one can't be parsed, or lacks a column.
    """
    if not files:
        return []
    numbered = spark.sparkContext.parallelize(list(enumerate(files)), len(files))
    faults = numbered.map(partial(_pass_on, rows_of=rows_of, passing=passing)).collect()
    for fault in filter(None, faults):
        raise InputError(fault)
    return [spark.read.parquet(passing)]


def _pass_on(numbered: tuple[int, Text], rows_of: Callable[[Sequence[File]], Delivery], passing: str) -> str:
    """Write a file's rows into ``passing``; what is wrong with it, or nothing.

    What is wrong is no error to Spark, which would try again.
    """
    number, text = numbered
    with TemporaryDirectory(prefix="fraudline-") as scratch:
        folder, target = Path(text.root), Path(passing)
        if s3.is_uri(text.root):
            folder = Path(scratch, "read")
            s3.download(f"{text.root}/{text.name}", folder / text.name)
        if s3.is_uri(passing):
            target = Path(scratch, "written")
        target.mkdir(parents=True, exist_ok=True)
        try:
            delivery = rows_of([File(folder / text.name, text.channel, text.name)])
            with broken_files_named(delivery):
                delivery.rows.sink_parquet(target / f"{number:05}.parquet")
        except InputError as error:
            return str(error)
        if s3.is_uri(passing):
            s3.upload(target, passing, str)
    return ""
