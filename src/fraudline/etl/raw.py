"""Raw transactions as they come: folders by day, foreign column names, loose types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.etl import values
from fraudline.etl.files import FILE, PATTERNS, Batch, Delivery, File, batches, find
from fraudline.runtime.channels import Channels

REQUIRED = ("transaction_id", "customer_id", "merchant", "amount", "timestamp")
PLACES = ("latitude", "longitude", "customer_latitude", "customer_longitude")
OPTIONAL = ("merchant_category", *PLACES)


def read_days(channels: Channels, days: Sequence[date], columns: Mapping[str, str]) -> Delivery:
    """The raw rows of some days, under our names and types.

    Args:
        channels: has ``raw``, with one folder a day, whose files may lie in any depth.
        days: which; those without a folder are passed over.
        columns: their name of a column, by ours.

    Returns:
        The columns REQUIRED and OPTIONAL (null where absent), ``cents``, ``partition``, the folder's day, and
        ``unreadable_place``, whether a coordinate is there that is no number.

    Raises:
        InputError: no day is there, a file is broken, or a column is missing or of a wrong type.
    """
    theirs = names_of(columns)
    folder = channels.folder("raw", only=[day.isoformat() for day in days])
    files = [file for day in days for file in find(folder / day.isoformat(), "raw", folder)]
    if not files:
        raise nothing_from(days, channels)
    return rows_of(files, theirs)


def rows_of(files: Sequence[File], theirs: Mapping[str, str]) -> Delivery:
    """The rows of some files of ``raw``, with the columns that read_days gives.

    Args:
        files: each below the folder of its day.
        theirs: the names_of all columns.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    found = batches(files, {theirs[name]: name in REQUIRED for name in theirs})
    return Delivery(pl.concat([_rows(batch, theirs) for batch in found]), found)


def names_of(columns: Mapping[str, str]) -> dict[str, str]:
    """Their name of every column, by ours.

    Raises:
        InputError: one is named that is none of ours.
    """
    unknown = set(columns) - {*REQUIRED, *OPTIONAL}
    if unknown:
        raise InputError(
            f"--column: no column of ours is called {', '.join(sorted(unknown))}; "
            f"there are {', '.join((*REQUIRED, *OPTIONAL))}"
        )
    return {name: columns.get(name, name) for name in (*REQUIRED, *OPTIONAL)}


def nothing_from(days: Sequence[date], channels: Channels) -> InputError:
    """What to tell where no file of any of the days is there."""
    return InputError(
        f"channel 'raw': no YYYY-MM-DD/ with {PATTERNS} from {days[0]} to {days[-1]} in "
        f"'{channels.location('raw')}'; check --as-of, or that the day has arrived"
    )


def days_before(as_of: date, count: int) -> list[date]:
    """The days before a day, oldest first."""
    return [as_of - timedelta(days=back) for back in range(count, 0, -1)]


def read_one(given: Mapping[str, Any]) -> pl.LazyFrame:
    """One raw transaction, as it comes alone, in the columns of ``read_days``; its day is that of its timestamp.

    Args:
        given: its values by our names, texts or numbers as JSON has them.

    Raises:
        InputError: a column is unknown, missing, or neither text nor a number.
    """
    known = (*REQUIRED, *OPTIONAL)
    missing = [name for name in REQUIRED if name not in given]
    if missing or not set(given) <= set(known):
        raise InputError(
            f"the transaction has {', '.join(given)}; expected {', '.join(REQUIRED)}, and maybe {', '.join(OPTIONAL)}"
        )
    wrong = [name for name, value in given.items() if type(value) not in (str, int, float, type(None))]
    if wrong:
        raise InputError(f"the transaction's {', '.join(wrong)} must be text or a number")
    # As text a number keeps the digits that were sent.
    texts = {name: [None if value is None else str(value)] for name, value in given.items()}
    columns = _columns(dict.fromkeys(given, pl.String()), {name: name for name in known}, is_text=True)
    day = pl.col("timestamp").dt.date().alias("partition")
    return pl.LazyFrame(texts, schema=dict.fromkeys(given, pl.String)).select(columns).with_columns(day)


def _rows(batch: Batch, theirs: Mapping[str, str]) -> pl.LazyFrame:
    types = {name: dtype for name in theirs if (dtype := _type(name, theirs[name], batch))}
    first = batch.files[0]
    day = pl.col(FILE).str.slice(len(str(first.path)) - len(first.name), len("YYYY-MM-DD"))
    columns = _columns(types, theirs, is_text=batch.is_text)
    return batch.scan().select(*columns, day.str.to_date("%Y-%m-%d").alias("partition"))


def _columns(types: Mapping[str, pl.DataType], theirs: Mapping[str, str], *, is_text: bool) -> list[pl.Expr]:
    """Raw columns under our names and types; ``types`` has those that are there."""
    places = {name: values.number(pl.col(theirs[name]), types[name]) for name in PLACES if name in types}
    unreadable = [pl.col(theirs[name]).is_not_null() & place.is_null() for name, place in places.items()]
    amount, at = pl.col(theirs["amount"]), pl.col(theirs["timestamp"])
    texts = ("transaction_id", "customer_id", "merchant", "merchant_category")
    return [
        *((pl.col(theirs[name]) if name in types else pl.lit(None)).cast(pl.String).alias(name) for name in texts),
        values.number(amount, types["amount"]).alias("amount"),
        values.cents(amount, types["amount"]).alias("cents"),
        values.instant(at, types["timestamp"]).alias("timestamp"),
        *(places.get(name, pl.lit(None, pl.Float64)).alias(name) for name in PLACES),
        # A number of Parquet is one; only text may be none.
        (pl.any_horizontal(unreadable) if is_text and unreadable else pl.lit(False)).alias("unreadable_place"),
    ]


def _type(name: str, theirs: str, batch: Batch) -> pl.DataType | None:
    """The type in which a column comes; None where an optional one does not."""
    dtype, where = batch.schema.get(theirs), batch.files[0].where
    if dtype == pl.Null and name in OPTIONAL:
        return None  # as some writers leave a column without any value
    if dtype is None:
        if name in REQUIRED:
            raise InputError(
                f"{where} has no column '{theirs}'; it has {', '.join(batch.schema)}; "
                f"map the one that is meant with --column {name}=…"
            )
        return None
    if batch.is_text:
        return dtype
    if name == "timestamp":
        if not isinstance(dtype, pl.Datetime):
            raise InputError(f"{where}: column '{theirs}' must be a timestamp, got {dtype}; write it as one")
        return dtype
    number = name in ("amount", *PLACES)
    if dtype.base_type() not in (values.NUMBERS if number else values.IDENTIFIERS):
        expected = "a number" if number else "text"
        raise InputError(
            f"{where}: column '{theirs}' must be {expected}, got {dtype}; "
            f"write it so, or map another with --column {name}=…"
        )
    return dtype
