"""Raw transactions and labels on Spark: Parquet of any columns and types that mean the same, and text made Parquet."""

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
from fraudline.etl.labels import nothing_in
from fraudline.etl.raw import PLACES, REQUIRED, names_of, nothing_from
from fraudline.etl.text_on_spark import Text
from fraudline.runtime import s3
from fraudline.runtime.channels import Channels

_INTEGERS = ("tinyint", "smallint", "int", "bigint", "decimal(20,0)")  # the last is an unsigned one of 64 bits
# What stands for a kind of value, and how an error calls it.
_KINDS = {
    "string": (("string", *_INTEGERS), "text"),
    "double": (("double", "float", *_INTEGERS), "a number"),
    "timestamp": (("timestamp", "timestamp_ntz"), "a timestamp"),
    "boolean": (("boolean", *_INTEGERS), "0 or 1"),
}
_PARQUET = ".parquet"
_FAILED = (PySparkException, Py4JError)
_FILES_AT_ONCE = 16


class Group(NamedTuple):
    """Files of Parquet with equal columns and types, read as one."""

    channel: str
    root: str
    paths: list[str]
    types: Mapping[str, str]

    @property
    def name(self) -> str:
        """The first file below its channel."""
        return _below(self.paths[0], self.root)

    def type(self, column: str, kind: str, *, must: bool, ours: str = "") -> str:
        """The type in which a column comes, empty where one that need not be there does not.

        ``ours`` is its name here, where it may have another there.

        Raises:
            InputError: it is missing or of another type.
        """
        where, found = f"channel '{self.channel}': {self.name}", self.types.get(column, "")
        allowed, expected = _KINDS[kind]
        meant, other = (
            f"{what} with --column {ours}=…" if ours else ""
            for what in ("; map the one that is meant", ", or map another")
        )
        if not found and must:
            raise InputError(f"{where} has no column '{column}'; it has {', '.join(self.types)}{meant}")
        if not found or (found == "void" and not must):
            return ""
        if found not in allowed and not (found.startswith("decimal") and kind == "double"):
            raise InputError(f"{where}: column '{column}' must be {expected}, got {found}; write it so{other}")
        return found


class Delivery(NamedTuple):
    """The rows of a channel, not read yet, and the files of Parquet that hold them."""

    rows: DataFrame
    groups: Sequence[Group]


def read_days(
    spark: SparkSession, channels: Channels, days: Sequence[date], columns: Mapping[str, str], passing: str
) -> Delivery:
    """The raw rows of some days under our names and types, as etl.raw has them; text goes by way of ``passing``."""
    theirs, root = names_of(columns), _root(channels, "raw")
    files = [file for day in days for file in _files(f"{root}/{day}")]
    if not files:
        raise nothing_from(days, channels)
    # The folder's day by its depth: a path may be written with escapes, which leave its slashes alone.
    day = f"to_date(split(input_file_name(), '/')[{len(_uri(root).split('/'))}])"
    groups = _groups(spark, "raw", files, root)
    text = text_on_spark.read(spark, _text("raw", files, root), partial(raw.rows_of, theirs=theirs), passing)
    tables = [*(_transactions(spark, group, theirs, day) for group in groups), *text]
    return Delivery(reduce(DataFrame.unionByName, tables), groups)


def read_labels(spark: SparkSession, channels: Channels, passing: str) -> Delivery:
    """All labels there are, as etl.labels has them; text goes by way of ``passing``."""
    root = _root(channels, "labels")
    files = _files(root)
    if not files:
        raise nothing_in(channels)
    groups = _groups(spark, "labels", files, root)
    text = text_on_spark.read(spark, _text("labels", files, root), labels.rows_of, passing)
    tables = [*(_labels(spark, group) for group in groups), *text]
    return Delivery(reduce(DataFrame.unionByName, tables), groups)


@contextmanager
def broken_files_named(spark: SparkSession, *deliveries: Delivery) -> Iterator[None]:
    """While rows are read: a file whose footer is whole may be broken further on."""
    try:
        yield
    except _FAILED:
        files = [(group, path) for delivery in deliveries for group in delivery.groups for path in group.paths]
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            list(threads.map(lambda file: _read_through(spark, *file), files))
        raise


def _read_through(spark: SparkSession, group: Group, path: str) -> None:
    try:
        spark.read.parquet(path).write.format("noop").mode("overwrite").save()
    except _FAILED as error:
        raise _broken(group.channel, _below(path, group.root), error) from error


def _transactions(spark: SparkSession, group: Group, theirs: Mapping[str, str], day: str) -> DataFrame:
    columns = {}
    for name, their in theirs.items():
        kind = "timestamp" if name == "timestamp" else "double" if name in ("amount", *PLACES) else "string"
        found = group.type(their, kind, must=name in REQUIRED, ours=name)
        columns[name] = f"CAST({f'`{their}`' if found else 'NULL'} AS {kind}) AS {name}"
    cents = _cents(f"`{theirs['amount']}`", group.types[theirs["amount"]])
    more = (f"{cents} AS cents", f"{day} AS partition", "false AS unreadable_place")
    return spark.read.parquet(*group.paths).selectExpr(*columns.values(), *more)


def _labels(spark: SparkSession, group: Group) -> DataFrame:
    group.type("transaction_id", "string", must=True)
    group.type("is_fraud", "boolean", must=True)
    at = group.type("labeled_at", "timestamp", must=False)
    return spark.read.parquet(*group.paths).selectExpr(
        "CAST(transaction_id AS string) AS transaction_id",
        "CAST(is_fraud AS bigint) AS is_fraud",
        f"CAST({'labeled_at' if at else 'NULL'} AS timestamp) AS labeled_at",
        "false AS unreadable_labeled_at",
    )


def _cents(amount: str, type_: str) -> str:
    """Amounts as whole cents, to the nearest, a half to the even one: as etl.values has them."""
    if type_ in ("double", "float"):
        # What is no number of cents is null there; a rule sets its row aside.
        cents = f"rint(double({amount}) * 100)"
        return f"if(abs({cents}) < 9223372036854775807D, bigint({cents}), NULL)"
    return f"CAST(bround({amount}, 2) * 100 AS bigint)"


def _groups(spark: SparkSession, channel: str, files: Sequence[str], root: str) -> list[Group]:
    def types(path: str) -> tuple[tuple[str, str], ...]:
        try:
            return tuple(spark.read.parquet(path).dtypes)
        except _FAILED as error:
            raise _broken(channel, _below(path, root), error) from error

    files = [path for path in files if path.endswith(_PARQUET)]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        found = list(threads.map(types, files))
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for path, schema in zip(files, found, strict=True):
        groups.setdefault(schema, []).append(path)
    return [Group(channel, root, paths, dict(schema)) for schema, paths in groups.items()]


def _broken(channel: str, name: str, error: Exception) -> InputError:
    return File(Path(name), channel, name).broken(error)


def _text(channel: str, files: Sequence[str], root: str) -> list[Text]:
    return [Text(channel, root, _below(path, root)) for path in files if not path.endswith(_PARQUET)]


def _files(folder: str) -> list[str]:
    """The files below a folder or prefix, in any depth, of any format that is read."""
    paths = s3.listed(folder) if s3.is_uri(folder) else sorted(str(path) for path in Path(folder).rglob("*"))
    return [path for path in paths if path.endswith(tuple(FORMATS))]


def _root(channels: Channels, name: str) -> str:
    place = channels.place(name).rstrip("/")
    return place if s3.is_uri(place) else os.path.abspath(place)  # noqa: PTH100 - Spark follows no links either


def _uri(root: str) -> str:
    return root if s3.is_uri(root) else f"file://{root}"


def _below(path: str, root: str) -> str:
    return path.removeprefix(f"{root}/")
