"""Read raw transactions from folders by day, and map source columns to canonical names and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.etl import values
from fraudline.etl.files import PATH_COLUMN, PATTERNS, Batch, Delivery, File, find_files, group_files
from fraudline.runtime.channels import Channels

REQUIRED = ("transaction_id", "customer_id", "merchant", "amount", "timestamp")
COORDINATES = ("latitude", "longitude", "customer_latitude", "customer_longitude")
OPTIONAL = ("merchant_category", *COORDINATES)
COLUMNS = (*REQUIRED, *OPTIONAL)
_TEXTS = ("transaction_id", "customer_id", "merchant", "merchant_category")


def read_days(channels: Channels, days: Sequence[date], mapping: Mapping[str, str]) -> Delivery:
    """Read the raw rows of the given days, with canonical names and types.

    Args:
        channels: the stage's channels; ``raw`` has one folder per day, with files at any depth.
        days: the days to read; those without a folder are skipped.
        mapping: source columns by canonical column, for those whose names differ.

    Returns:
        The columns REQUIRED and OPTIONAL (null where absent), ``cents``, ``partition`` (the folder's day), and
        ``unreadable_coordinates`` (True where a coordinate has a value that is not a number).

    Raises:
        InputError: no day has files, a file is broken, or a column is missing or of a wrong type.
    """
    sources = source_columns(mapping)
    folder = channels.folder("raw", only=[day.isoformat() for day in days])
    files = [file for day in days for file in find_files(folder / day.isoformat(), "raw", folder)]
    if not files:
        raise no_days_error(days, channels)
    return read_files(files, sources)


def read_files(files: Sequence[File], sources: Mapping[str, str]) -> Delivery:
    """Read the rows of files of ``raw``, with the columns of ``read_days``.

    Args:
        files: the files, each in the folder of its day.
        sources: the source column of every canonical column.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    batches = group_files(files, {source: canonical in REQUIRED for canonical, source in sources.items()})
    return Delivery(pl.concat([_read_batch(batch, sources) for batch in batches]), batches)


def source_columns(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the source column of every canonical column.

    Raises:
        InputError: the mapping has a name that is not a canonical column.
    """
    unknown = set(mapping) - set(COLUMNS)
    if unknown:
        raise InputError(
            f"--column: {', '.join(sorted(unknown))} is no canonical column; expected one of {', '.join(COLUMNS)}"
        )
    return {canonical: mapping.get(canonical, canonical) for canonical in COLUMNS}


def no_days_error(days: Sequence[date], channels: Channels) -> InputError:
    """Return the error to raise if none of the days has files."""
    return InputError(
        f"channel 'raw': no YYYY-MM-DD/ with {PATTERNS} from {days[0]} to {days[-1]} in "
        f"'{channels.location('raw')}'; check --as-of, and that these days were delivered"
    )


def days_before(as_of: date, count: int) -> list[date]:
    """Return the ``count`` days before a day, oldest first."""
    return [as_of - timedelta(days=back) for back in range(count, 0, -1)]


def read_one(transaction: Mapping[str, Any]) -> pl.LazyFrame:
    """Read a single transaction, with the columns of ``read_days``; its partition is the day of its timestamp.

    Args:
        transaction: values by canonical column, as parsed from JSON: text, numbers or null.

    Raises:
        InputError: a column is unknown, missing, or neither text nor a number.
    """
    missing = [name for name in REQUIRED if name not in transaction]
    if missing or not set(transaction) <= set(COLUMNS):
        raise InputError(
            f"the transaction has {', '.join(transaction)}; expected {', '.join(REQUIRED)}, "
            f"and optionally {', '.join(OPTIONAL)}"
        )
    wrong = [name for name, value in transaction.items() if type(value) not in (str, int, float, type(None))]
    if wrong:
        raise InputError(f"the transaction's {', '.join(wrong)} must be text or a number")
    # Converted to text, a number keeps the digits that were sent.
    texts = {name: [None if value is None else str(value)] for name, value in transaction.items()}
    columns = _canonical(dict.fromkeys(transaction, pl.String()), source_columns({}), is_text=True)
    day = pl.col("timestamp").dt.date().alias("partition")
    return pl.LazyFrame(texts, schema=dict.fromkeys(transaction, pl.String)).select(columns).with_columns(day)


def _read_batch(batch: Batch, sources: Mapping[str, str]) -> pl.LazyFrame:
    types = {}
    for canonical, source in sources.items():
        dtype = _column_type(canonical, source, batch)
        if dtype is not None:
            types[canonical] = dtype
    first = batch.files[0]
    # A file's name starts with the folder of its day, and all paths have the same root before it.
    day = pl.col(PATH_COLUMN).str.slice(len(str(first.path)) - len(first.name), len("YYYY-MM-DD"))
    columns = _canonical(types, sources, is_text=batch.is_text)
    return batch.scan().select(*columns, day.str.to_date("%Y-%m-%d").alias("partition"))


def _canonical(types: Mapping[str, pl.DataType], sources: Mapping[str, str], *, is_text: bool) -> list[pl.Expr]:
    """Return the raw columns under canonical names and types.

    Args:
        types: the source type of each canonical column that the source has.
        sources: the source column of every canonical column.
        is_text: True if all source values are text.
    """
    present = {name: pl.col(sources[name]) for name in types}
    coordinates = {name: values.number(present[name], types[name]) for name in COORDINATES if name in types}
    unreadable = [present[name].is_not_null() & coordinate.is_null() for name, coordinate in coordinates.items()]
    # Only text can fail to parse; numbers in Parquet are always valid.
    any_unreadable = pl.any_horizontal(unreadable) if is_text and unreadable else pl.lit(False)
    return [
        *(present.get(name, pl.lit(None)).cast(pl.String).alias(name) for name in _TEXTS),
        values.number(present["amount"], types["amount"]).alias("amount"),
        values.cents(present["amount"], types["amount"]).alias("cents"),
        values.instant(present["timestamp"], types["timestamp"]).alias("timestamp"),
        *(coordinates.get(name, pl.lit(None, pl.Float64)).alias(name) for name in COORDINATES),
        any_unreadable.alias("unreadable_coordinates"),
    ]


def _column_type(canonical: str, source: str, batch: Batch) -> pl.DataType | None:
    """Return the source type of a column, or None if an optional one is absent.

    Raises:
        InputError: a required column is missing, or a column is of a wrong type.
    """
    dtype, where = batch.schema.get(source), batch.files[0].where
    if dtype is None and canonical in REQUIRED:
        raise InputError(
            f"{where} has no column '{source}'; it has {', '.join(batch.schema)}; "
            f"map the column that holds it with --column {canonical}=…"
        )
    # Some writers use the type Null for a column without values.
    if dtype is None or (dtype == pl.Null and canonical in OPTIONAL):
        return None
    if batch.is_text:
        return dtype
    allowed, expected = _allowed_types(canonical)
    if dtype.base_type() not in allowed:
        raise InputError(
            f"{where}: column '{source}' must be {expected}, got {dtype}; "
            f"write it as {expected}, or map another column with --column {canonical}=…"
        )
    return dtype


def _allowed_types(canonical: str) -> tuple[tuple[Any, ...], str]:
    """Return the types that a source column may have, and their name in errors."""
    if canonical == "timestamp":
        return (pl.Datetime,), "a timestamp"
    if canonical in ("amount", *COORDINATES):
        return values.NUMBERS, "a number"
    return values.IDENTIFIERS, "text"
