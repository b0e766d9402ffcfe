"""Read the tables of channels with Spark, and bring small results to the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from pyspark.sql import DataFrame, SparkSession

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import Schema
from fraudline.catalog.stage import SUMMARY
from fraudline.runtime import s3
from fraudline.runtime.channels import Channels, scan_table

# Spark's names for the types in our schemas.
TYPES = {
    pl.String(): "string",
    pl.Int64(): "bigint",
    pl.Int32(): "int",
    pl.Int8(): "tinyint",
    pl.Float64(): "double",
    pl.Float32(): "float",
    pl.Datetime("us", "UTC"): "timestamp",
}


def read_table(spark: SparkSession, channels: Channels, name: str, schema: Schema) -> DataFrame:
    """Read an input's Parquet files, at any depth, as one table with the schema's columns.

    Raises:
        InputError: a column is missing or has another type.
    """
    table = spark.read.parquet(channels.required_location(name), recursiveFileLookup=True, pathGlobFilter="*.parquet")
    actual = dict(table.dtypes)
    for column, dtype in pl.Schema(schema).items():
        if actual.get(column) != TYPES[dtype]:
            raise InputError(
                f"channel '{name}': column '{column}' must be {TYPES[dtype]}, got {actual.get(column, 'none')}; "
                "run the stage that writes this channel again"
            )
    return table.select(*schema)


def collect_table(channels: Channels, table: DataFrame, schema: Schema) -> pl.DataFrame:
    """Collect a table that fits into the driver's memory.

    It passes through Parquet files, because Spark's own collect would create a Python object for every value.
    """
    with shared_folder(channels, "collected") as uri:
        table.write.parquet(uri, mode="overwrite")
        folder = Path(uri)
        if s3.is_uri(uri):
            folder = channels.scratch("fetched")
            s3.fetch(uri, folder)
        return pl.concat([scan_table(path, schema, "collected") for path in folder.rglob("*.parquet")]).collect()


@contextmanager
def shared_folder(channels: Channels, name: str) -> Iterator[str]:
    """Yield an empty folder or s3:// prefix that the driver and all executors can access, and remove it afterwards.

    On S3 it is below the prefix of the summary, where the job has permission to write.
    """
    empty, destination = channels.scratch(name), channels.destination(SUMMARY)
    if not s3.is_uri(destination):
        yield str(empty)
        return
    uri = f"{destination.rstrip('/')}/shared/{name}"
    s3.prune(empty, uri)  # an interrupted run may have left files
    try:
        yield uri
    finally:
        s3.prune(empty, uri)
