"""Read raw transactions and labels on Spark: Parquet directly, and text converted to Parquet first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from functools import partial, reduce
from pathlib import Path
from typing import NamedTuple

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from fraudline.catalog.errors import InputError
from fraudline.etl import labels, raw, text_on_spark
from fraudline.etl.files import FORMATS, File
from fraudline.etl.text_on_spark import TextFile
from fraudline.runtime import s3
from fraudline.runtime.channels import Channels

# Spark reads an unsigned 64-bit integer as decimal(20,0).
_INTEGERS = ("tinyint", "smallint", "int", "bigint", "decimal(20,0)")
# The source types that each kind of value may have, and their name in errors.
_KINDS = {
    "string": (("string", *_INTEGERS), "text"),
    "double": (("double", "float", *_INTEGERS), "a number"),
    "timestamp": (("timestamp", "timestamp_ntz"), "a timestamp"),
    "boolean": (("boolean", *_INTEGERS), "0 or 1"),
}
_PARQUET = ".parquet"
# The columns of labels, as ``etl.labels.unreadable_file`` returns them.
_LABELS = (
    "transaction_id string, is_fraud bigint, labeled_at timestamp, unreadable_labeled_at boolean, "
    "unreadable_file boolean"
)
_SPARK_ERRORS = (PySparkException, Py4JError)
_FILES_AT_ONCE = 16


class Group(NamedTuple):
    """Parquet files with equal columns and types, read together.

    Attributes:
        channel: the input that they belong to.
        root: the folder or prefix of the channel.
        paths: the files.
        types: Spark's type of each column.
    """

    channel: str
    root: str
    paths: list[str]
    types: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the path of the first file, relative to its channel; errors show it."""
        return _below(self.paths[0], self.root)

    def column_type(self, source: str, kind: str, *, required: bool, canonical: str = "") -> str:
        """Return the type of a source column, or empty if an optional one is absent.

        Args:
            source: the column's name in the files.
            kind: one of ``_KINDS``.
            required: True if the column must exist.
            canonical: the canonical column, if ``--column`` can map another source column to it.

        Raises:
            InputError: the column is missing, or of another type.
        """
        where, type_ = f"channel '{self.channel}': {self.name}", self.types.get(source, "")
        allowed, expected = _KINDS[kind]
        if not type_ and required:
            advice = f"map the column that holds it with --column {canonical}=…"
            raise InputError(
                f"{where} has no column '{source}'; it has {', '.join(self.types)}; "
                f"{advice if canonical else 'rename the column that holds it'}"
            )
        # Some writers use the type void for a column without values.
        if not type_ or (type_ == "void" and not required):
            return ""
        if type_ not in allowed and not (type_.startswith("decimal") and kind == "double"):
            advice = f", or map another column with --column {canonical}=…" if canonical else ""
            raise InputError(
                f"{where}: column '{source}' must be {expected}, got {type_}; write it as {expected}{advice}"
            )
        return type_


class Delivery(NamedTuple):
    """The rows of a channel as a Spark table, and the groups of Parquet files that they come from."""

    rows: DataFrame
    groups: Sequence[Group]


def read_days(
    spark: SparkSession, channels: Channels, days: Sequence[date], mapping: Mapping[str, str], shared: str
) -> Delivery:
    """Read the raw rows of the given days, with the canonical names and types of ``etl.raw.read_days``.

    Args:
        spark: the Spark session.
        channels: the stage's channels, with ``raw``.
        days: the days to read; those without a folder are skipped.
        mapping: source columns by canonical column, for those whose names differ.
        shared: an empty folder or prefix for converted text files, which all executors can access.

    Raises:
        InputError: no day has files, a file is broken, or a column is missing or of a wrong type.
    """
    sources, root = raw.source_columns(mapping), _root(channels, "raw")
    files = [file for day in days for file in _find_files(f"{root}/{day}")]
    if not files:
        raise raw.no_days_error(days, channels)
    # Find the day's folder by its depth: input_file_name() escapes characters of the path, but never its slashes.
    partition = f"to_date(split(input_file_name(), '/')[{len(_uri(root).split('/'))}])"
    groups = _group_files(spark, "raw", files, root)
    texts = text_on_spark.read(spark, _text_files("raw", files, root), partial(raw.read_files, sources=sources), shared)
    tables = [*(_read_transactions(spark, group, sources, partition) for group in groups), *texts]
    return Delivery(reduce(DataFrame.unionByName, tables), groups)


def read_labels(spark: SparkSession, channels: Channels, shared: str) -> Delivery:
    """Read all labels, with the columns of ``etl.labels.read_labels``.

    Args:
        spark: the Spark session.
        channels: the stage's channels, with ``labels``.
        shared: an empty folder or prefix for converted text files, which all executors can access.

    Raises:
        InputError: there is no file.
    """
    root = _root(channels, "labels")
    files = _find_files(root)
    if not files:
        raise labels.no_labels_error(channels)
    errors = _unreadable_labels(spark, [path for path in files if path.endswith(_PARQUET)], root)
    readable = [path for path in files if path not in errors]
    groups = _group_files(spark, "labels", readable, root)
    texts = text_on_spark.read(spark, _text_files("labels", files, root), labels.read_files, shared)
    tables = [*(_read_labels(spark, group) for group in groups), *texts]
    if errors:
        rows = [labels.unreadable_file(_below(path, root)) for path in errors]
        tables.append(spark.createDataFrame([tuple(row.values()) for row in rows], _LABELS))
    return Delivery(reduce(DataFrame.unionByName, tables), groups)


def _unreadable_labels(spark: SparkSession, files: Sequence[str], root: str) -> dict[str, InputError]:
    """Return the error of each Parquet file that can't be read as labels."""

    def error(path: str) -> InputError | None:
        try:
            (group,) = _group_files(spark, "labels", [path], root)
            _read_labels(spark, group)
            _read_file_alone(spark, group, path)
        except InputError as fault:
            labels.warn_unreadable(fault)
            return fault
        return None

    try:  # all at once, because few deliveries have a broken file
        for group in _group_files(spark, "labels", files, root):
            _read_labels(spark, group).write.format("noop").mode("overwrite").save()
    except (InputError, *_SPARK_ERRORS):
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            faults = dict(zip(files, threads.map(error, files), strict=True))
        return {path: fault for path, fault in faults.items() if fault}
    return {}


@contextmanager
def naming_broken_files(spark: SparkSession, *deliveries: Delivery) -> Iterator[None]:
    """Raise InputError that names the broken file when Spark can't read rows within the context.

    A file with an intact footer may still be broken elsewhere, and Spark's error does not always name it.
    """
    try:
        yield
    except _SPARK_ERRORS:
        files = [(group, path) for delivery in deliveries for group in delivery.groups for path in group.paths]
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            list(threads.map(lambda file: _read_file_alone(spark, *file), files))
        raise


def _read_file_alone(spark: SparkSession, group: Group, path: str) -> None:
    try:
        spark.read.parquet(path).write.format("noop").mode("overwrite").save()
    except _SPARK_ERRORS as error:
        raise _parse_error(group.channel, _below(path, group.root), error) from error


def _read_transactions(spark: SparkSession, group: Group, sources: Mapping[str, str], partition: str) -> DataFrame:
    columns = []
    for canonical, source in sources.items():
        kind = _kind(canonical)
        type_ = group.column_type(source, kind, required=canonical in raw.REQUIRED, canonical=canonical)
        columns.append(f"CAST({f'`{source}`' if type_ else 'NULL'} AS {kind}) AS {canonical}")
    cents = _cents(f"`{sources['amount']}`", group.types[sources["amount"]])
    derived = (f"{cents} AS cents", f"{partition} AS partition", "false AS unreadable_coordinates")
    return spark.read.parquet(*group.paths).selectExpr(*columns, *derived)


def _kind(canonical: str) -> str:
    if canonical == "timestamp":
        return "timestamp"
    return "double" if canonical in ("amount", *raw.COORDINATES) else "string"


def _read_labels(spark: SparkSession, group: Group) -> DataFrame:
    group.column_type("transaction_id", "string", required=True)
    group.column_type("is_fraud", "boolean", required=True)
    has_time = group.column_type("labeled_at", "timestamp", required=False)
    return spark.read.parquet(*group.paths).selectExpr(
        "CAST(transaction_id AS string) AS transaction_id",
        "CAST(is_fraud AS bigint) AS is_fraud",
        f"CAST({'labeled_at' if has_time else 'NULL'} AS timestamp) AS labeled_at",
        "false AS unreadable_labeled_at",
        "false AS unreadable_file",
    )


def _cents(amount: str, type_: str) -> str:
    """Return SQL for amounts as whole cents, rounded half to even, equal to ``etl.values.cents``."""
    if type_ in ("double", "float"):
        # NaN, and values that overflow a bigint, become null; a rule rejects their rows.
        cents = f"rint(double({amount}) * 100)"
        return f"if(abs({cents}) < 9223372036854775807D, bigint({cents}), NULL)"
    return f"CAST(bround({amount}, 2) * 100 AS bigint)"


def _group_files(spark: SparkSession, channel: str, files: Sequence[str], root: str) -> list[Group]:
    """Group the Parquet files by their columns and types."""

    def read_types(path: str) -> tuple[tuple[str, str], ...]:
        try:
            return tuple(spark.read.parquet(path).dtypes)
        except _SPARK_ERRORS as error:
            raise _parse_error(channel, _below(path, root), error) from error

    files = [path for path in files if path.endswith(_PARQUET)]
    # Each footer costs a round trip to S3, so several are read at a time.
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        types = list(threads.map(read_types, files))
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for path, schema in zip(files, types, strict=True):
        groups.setdefault(schema, []).append(path)
    return [Group(channel, root, paths, dict(schema)) for schema, paths in groups.items()]


def _parse_error(channel: str, name: str, error: Exception) -> InputError:
    return File(Path(name), channel, name).parse_error(error)


def _text_files(channel: str, files: Sequence[str], root: str) -> list[TextFile]:
    return [TextFile(channel, root, _below(path, root)) for path in files if not path.endswith(_PARQUET)]


def _find_files(folder: str) -> list[str]:
    """Return the files of supported formats in a folder or prefix, at any depth."""
    paths = s3.list_objects(folder) if s3.is_uri(folder) else sorted(str(path) for path in Path(folder).rglob("*"))
    return [path for path in paths if path.endswith(tuple(FORMATS))]


def _root(channels: Channels, name: str) -> str:
    location = channels.required_location(name).rstrip("/")
    return location if s3.is_uri(location) else os.path.abspath(location)  # noqa: PTH100 - keeps links, like Spark


def _uri(root: str) -> str:
    return root if s3.is_uri(root) else f"file://{root}"


def _below(path: str, root: str) -> str:
    return path.removeprefix(f"{root}/")
