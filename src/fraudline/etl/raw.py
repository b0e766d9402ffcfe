"""Raw transactions as they come: folders by day, foreign column names, loose types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from fraudline.channel import Channels
from fraudline.errors import InputError
from fraudline.etl import values
from fraudline.etl.files import FILE, PATTERNS, Batch, Delivery, batches, find

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
    found = batches(files, {theirs[name]: name in REQUIRED for name in theirs})
    return Delivery(pl.concat([_rows(batch, theirs, folder) for batch in found]), found)


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


def _rows(batch: Batch, theirs: Mapping[str, str], folder: Path) -> pl.LazyFrame:
    types = {name: dtype for name in theirs if (dtype := _type(name, theirs[name], batch))}
    places = {name: values.number(pl.col(theirs[name]), types[name]) for name in PLACES if name in types}
    unreadable = [pl.col(theirs[name]).is_not_null() & place.is_null() for name, place in places.items()]
    amount, at = pl.col(theirs["amount"]), pl.col(theirs["timestamp"])
    texts = ("transaction_id", "customer_id", "merchant", "merchant_category")
    day = pl.col(FILE).str.slice(len(str(folder / "-")) - 1, len("YYYY-MM-DD"))
    return batch.scan().select(
        *((pl.col(theirs[name]) if name in types else pl.lit(None)).cast(pl.String).alias(name) for name in texts),
        values.number(amount, types["amount"]).alias("amount"),
        values.cents(amount, types["amount"]).alias("cents"),
        values.instant(at, types["timestamp"]).alias("timestamp"),
        *(places.get(name, pl.lit(None, pl.Float64)).alias(name) for name in PLACES),
        day.str.to_date("%Y-%m-%d").alias("partition"),
        # A number of Parquet is one; only text may be none.
        (pl.any_horizontal(unreadable) if batch.is_text and unreadable else pl.lit(False)).alias("unreadable_place"),
    )


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
