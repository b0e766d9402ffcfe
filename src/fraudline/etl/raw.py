"""Raw transactions as they come: partitions by day, foreign column names, loose types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from fraudline.channel import Channels
from fraudline.errors import InputError

REQUIRED = ("transaction_id", "customer_id", "merchant", "amount", "timestamp")
OPTIONAL = ("merchant_category", "latitude", "longitude", "customer_latitude", "customer_longitude")

_NUMBERS = (pl.Float64, pl.Float32, pl.Decimal, *pl.datatypes.group.INTEGER_DTYPES)
_TEXT = (pl.String, pl.Categorical, pl.Enum, *pl.datatypes.group.INTEGER_DTYPES)


def read_days(channels: Channels, days: Sequence[date], columns: Mapping[str, str]) -> pl.LazyFrame:
    """The raw rows of some days, under our names and types.

    Args:
        channels: has ``raw``, with one folder a day, whose files may lie in any depth.
        days: which; those without a folder are passed over.
        columns: their name of a column, by ours.

    Returns:
        The columns REQUIRED and OPTIONAL (null where absent) and ``partition``, the folder's day.

    Raises:
        InputError: no day is there, or a column is missing or of a wrong type.
    """
    unknown = set(columns) - {*REQUIRED, *OPTIONAL}
    if unknown:
        raise InputError(
            f"--column: no column of ours is called {', '.join(sorted(unknown))}; "
            f"there are {', '.join((*REQUIRED, *OPTIONAL))}"
        )
    folder = channels.folder("raw", only=[day.isoformat() for day in days])
    files = [(day, path) for day in days for path in sorted((folder / day.isoformat()).rglob("*.parquet"))]
    if not files:
        raise InputError(
            f"channel 'raw': no YYYY-MM-DD/*.parquet from {days[0]} to {days[-1]} in '{channels.location('raw')}'; "
            "check --as-of, or that the day has arrived"
        )
    return pl.concat([_read_file(day, path, columns) for day, path in files])


def days_before(as_of: date, count: int) -> list[date]:
    """The days before a day, oldest first."""
    return [as_of - timedelta(days=back) for back in range(count, 0, -1)]


def _read_file(day: date, path: Path, columns: Mapping[str, str]) -> pl.LazyFrame:
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"channel 'raw': {day}/{path.name} is not readable Parquet ({type(error).__name__}); deliver it again"
        ) from error
    where = f"channel 'raw': {day}/{path.name}"
    return scan.select(
        *(_column(name, columns.get(name, name), schema, where) for name in (*REQUIRED, *OPTIONAL)),
        pl.lit(day).alias("partition"),
    )


def _column(name: str, theirs: str, schema: pl.Schema, where: str) -> pl.Expr:
    dtype = schema.get(theirs)
    if dtype is None:
        if name in REQUIRED:
            raise InputError(
                f"{where} has no column '{theirs}'; it has {', '.join(schema)}; "
                f"map the one that is meant with --column {name}=…"
            )
        return pl.lit(None, pl.String if name == "merchant_category" else pl.Float64).alias(name)
    column = pl.col(theirs)
    if name == "timestamp":
        if not isinstance(dtype, pl.Datetime):
            raise InputError(f"{where}: column '{theirs}' must be a timestamp, got {dtype}; write it as one")
        utc = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return utc.dt.cast_time_unit("us").alias(name)
    number = name in ("amount", *OPTIONAL[1:])
    if dtype.base_type() not in (_NUMBERS if number else _TEXT):
        expected = "a number" if number else "text"
        raise InputError(
            f"{where}: column '{theirs}' must be {expected}, got {dtype}; "
            f"write it so, or map another with --column {name}=…"
        )
    return column.cast(pl.Float64 if number else pl.String).alias(name)
