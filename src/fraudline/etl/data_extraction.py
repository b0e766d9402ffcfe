"""Training's first stage: months of transactions, joined with the labels known by as_of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from fraudline.channel import Channels
from fraudline.errors import InputError
from fraudline.etl.labels import join_labels, read_labels
from fraudline.etl.raw import days_before, read_days
from fraudline.etl.rejected import summarise_rejected, write_rejected
from fraudline.etl.rules import judge
from fraudline.schema import DATASET
from fraudline.stage import Summary


def run(
    channels: Channels,
    as_of: date,
    months: int,
    label_delay_days: int,
    column: Sequence[tuple[str, str]],
    max_rejected: float,
) -> Summary:
    """Write ``dataset`` (schema DATASET, by time) and ``rejected``."""
    days = days_before(as_of, (as_of - months_before(as_of, months)).days)
    judged = judge(read_days(channels, days, dict(column)))
    judged.check(max_rejected)
    labels = read_labels(channels, max_rejected)
    matched = labels.valid.join(judged.valid, on="transaction_id", how="semi").height
    if labels.valid.height and not matched:
        raise InputError(
            f"channel 'labels': none of {labels.valid.height} labels belongs to a transaction from {days[0]} to "
            f"{days[-1]}; check that raw and labels use the same transaction_id"
        )
    dataset = join_labels(judged.valid.lazy(), labels.valid, as_of, label_delay_days).select(*DATASET).collect()
    channels.write("dataset", dataset)
    write_rejected(channels, judged, labels)
    return {
        **summarise(dataset),
        **summarise_rejected(judged, labels),
        "labels_without_transaction": labels.valid.height - matched,
    }


def months_before(day: date, months: int) -> date:
    """The same day so many calendar months earlier, or that month's last day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (following - date(year, month + 1, 1)).days
    return date(year, month + 1, min(day.day, last))


def summarise(dataset: pl.DataFrame) -> Summary:
    """Counts over the dataset; the fraud rate is a share of the labelled rows."""
    labelled = dataset.height - dataset.get_column("is_fraud").null_count()
    frauds = int(dataset.get_column("is_fraud").sum() or 0)
    return {
        "transactions": first_records(dataset),
        "record_count": dataset.height,
        "labelled_count": labelled,
        "fraud_count": frauds,
        "fraud_rate": frauds / labelled if labelled else None,
    }


def first_records(dataset: pl.DataFrame) -> list[dict[str, Any]]:
    """The first 20 transactions, as a summary shows them."""
    columns = [
        "transaction_id",
        (pl.col("cents") / 100).round(2).alias("amount"),
        "merchant",
        pl.col("timestamp").cast(pl.String),
    ]
    if "is_fraud" in dataset.columns:
        columns.append("is_fraud")
    return dataset.head(20).select(columns).to_dicts()
