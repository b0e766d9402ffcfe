"""Tables of a channel as Spark reads them, and small ones of Spark's brought to this machine."""

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

TYPES = {
    pl.String(): "string",
    pl.Int64(): "bigint",
    pl.Int32(): "int",
    pl.Int8(): "tinyint",
    pl.Float64(): "double",
    pl.Float32(): "float",
    pl.Datetime("us", "UTC"): "timestamp",
}


def read(spark: SparkSession, channels: Channels, name: str, schema: Schema) -> DataFrame:
    """An input's Parquet files, in folders of any depth, as one table of exactly the schema's columns.

    Raises:
        InputError: a column is missing or of another type.
    """
    table = spark.read.parquet(channels.place(name), recursiveFileLookup=True, pathGlobFilter="*.parquet")
    found = dict(table.dtypes)
    for column, dtype in pl.Schema(schema).items():
        if found.get(column) != TYPES[dtype]:
            raise InputError(
                f"channel '{name}': column '{column}' must be {TYPES[dtype]}, got {found.get(column, 'none')}; "
                "run the stage that writes this channel again"
            )
    return table.select(*schema)


def brought(channels: Channels, table: DataFrame, schema: Schema) -> pl.DataFrame:
    """A table small enough for one machine, brought here by way of files that all machines reach."""
    with passing(channels, "brought") as place:
        table.write.parquet(place, mode="overwrite")
        here = Path(place)
        if s3.is_uri(place):
            here = channels.scratch("fetched")
            s3.fetch(place, here)
        return pl.concat([scan_table(path, schema, "brought") for path in here.rglob("*.parquet")]).collect()


@contextmanager
def passing(channels: Channels, name: str) -> Iterator[str]:
    """An empty folder or prefix that all machines reach, for what passes from one to another; it goes again."""
    here, place = channels.scratch(name), channels.destination(SUMMARY)
    if not s3.is_uri(place):
        yield str(here)
        return
    there = f"{place.rstrip('/')}/passing/{name}"
    s3.prune(here, there)  # a run that was killed leaves some
    try:
        yield there
    finally:
        s3.prune(here, there)
