"""Fraud labels, and from which day on each was known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from fraudline.channel import Channels
from fraudline.days import day_number
from fraudline.errors import InputError
from fraudline.etl.rules import Rule, check_share, count_reasons, reasons_of

_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)


RULES = (
    Rule("no-transaction-id", pl.col("transaction_id").is_null(), "transaction_id is missing"),
    Rule("no-label", pl.col("is_fraud").is_null(), "is_fraud is missing"),
    Rule("label-not-0-or-1", ~pl.col("is_fraud").is_in([0, 1]), "is_fraud is neither 0 nor 1"),
)


@dataclass(frozen=True)
class Labels:
    """Valid labels, one an id (transaction_id, is_fraud, labeled_at or null), and broken ones with their reasons."""

    valid: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def reasons(self) -> dict[str, int]:
        """How many labels each rule broke."""
        return count_reasons(self.rejected)


def read_labels(channels: Channels, max_rejected: float) -> Labels:
    """All labels there are; an id labelled more than once keeps its latest label, and of two at once fraud.

    Raises:
        InputError: a file is not what it should be, or too large a share of the labels is broken.
    """
    table = pl.concat([_read_file(path, channels) for path in channels.files("labels")]).collect()
    broken = pl.col("reasons").list.len() > 0
    judged = table.with_columns(reasons_of(RULES))
    valid = judged.filter(~broken).with_columns(pl.col("is_fraud").cast(pl.Int8)).drop("reasons")
    latest = valid.sort("labeled_at", "is_fraud", nulls_last=False)
    labels = Labels(latest.unique("transaction_id", keep="last", maintain_order=True), judged.filter(broken))
    check_share("labels", table.height, labels.rejected, max_rejected)
    return labels


def join_labels(transactions: pl.LazyFrame, labels: pl.DataFrame, as_of: date, delay: int) -> pl.LazyFrame:
    """Add ``is_fraud`` and ``known_day`` where the label was known before as_of; null elsewhere.

    A label without ``labeled_at`` counts as known once ``delay`` whole days have passed after its
    transaction's day.
    """
    known_day = pl.coalesce(pl.col("labeled_at").dt.epoch("d").cast(pl.Int32), _DAY + delay)
    known = known_day < day_number(as_of)
    return transactions.join(labels.lazy(), on="transaction_id", how="left", maintain_order="left").with_columns(
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
        pl.col("transaction_id").cast(pl.String), pl.col("is_fraud").cast(pl.Int64), labeled_at.alias("labeled_at")
    )
