"""Fraud labels, and from which day on each was known."""

from __future__ import annotations

from datetime import date

import polars as pl

from fraudline.channel import Channels
from fraudline.days import day_number
from fraudline.errors import InputError

_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)


def read_labels(channels: Channels) -> pl.LazyFrame:
    """transaction_id, is_fraud (0 or 1) and labeled_at (null where the input has none).

    An id labelled more than once keeps its latest label.
    """
    labels = [_read_file(path, channels) for path in channels.files("labels")]
    table = pl.concat(labels)
    return table.sort("labeled_at", nulls_last=False).unique("transaction_id", keep="last", maintain_order=True)


def join_labels(transactions: pl.LazyFrame, labels: pl.LazyFrame, as_of: date, delay: int) -> pl.LazyFrame:
    """Add ``is_fraud`` and ``known_day`` where the label was known before as_of; null elsewhere.

    A label without ``labeled_at`` counts as known once ``delay`` whole days have passed after its
    transaction's day.
    """
    known_day = pl.coalesce(pl.col("labeled_at").dt.epoch("d").cast(pl.Int32), _DAY + delay)
    known = known_day < day_number(as_of)
    return transactions.join(labels, on="transaction_id", how="left", maintain_order="left").with_columns(
        pl.when(known & pl.col("is_fraud").is_not_null()).then(known_day).alias("known_day"),
        pl.when(known).then(pl.col("is_fraud")).alias("is_fraud"),
    )


def _read_file(path: object, channels: Channels) -> pl.LazyFrame:
    scan = pl.scan_parquet(str(path), glob=False)
    try:
        schema = scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"channel 'labels': {path} is not readable Parquet ({type(error).__name__}); deliver it again"
        ) from error
    for column in ("transaction_id", "is_fraud"):
        if column not in schema:
            raise InputError(f"channel 'labels': {path} has no column '{column}'; it has {', '.join(schema)}")
    if schema["is_fraud"].base_type() not in (pl.Boolean, *pl.datatypes.group.INTEGER_DTYPES):
        raise InputError(
            f"channel 'labels': {path}: column 'is_fraud' must be 0 or 1, got {schema['is_fraud']}; write it so"
        )
    labeled_at = pl.lit(None, pl.Datetime("us", "UTC"))
    if "labeled_at" in schema:
        if not isinstance(schema["labeled_at"], pl.Datetime):
            raise InputError(
                f"channel 'labels': {path}: column 'labeled_at' must be a timestamp, got {schema['labeled_at']}"
            )
        column_ = pl.col("labeled_at")
        zoned = (
            column_.dt.convert_time_zone("UTC")
            if schema["labeled_at"].time_zone
            else column_.dt.replace_time_zone("UTC")
        )
        labeled_at = zoned.dt.cast_time_unit("us")
    return scan.select(
        pl.col("transaction_id").cast(pl.String), pl.col("is_fraud").cast(pl.Int8), labeled_at.alias("labeled_at")
    )
