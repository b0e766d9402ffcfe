"""The daily line's first stage: one day's transactions, and the labels that are known by now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from fraudline.channel import Channels
from fraudline.days import RISK_HISTORY_DAYS
from fraudline.errors import InputError
from fraudline.etl.data_extraction import first_records
from fraudline.etl.labels import join_labels, read_labels
from fraudline.etl.raw import days_before, read_days
from fraudline.etl.rejected import summarise_rejected, write_rejected
from fraudline.etl.rules import judge
from fraudline.schema import LABELS
from fraudline.stage import Summary


def run(
    channels: Channels, as_of: date, label_delay_days: int, column: Sequence[tuple[str, str]], max_rejected: float
) -> Summary:
    """Write the day's ``transactions``, its ``rejected`` rows, and the ``labels`` known by as_of."""
    day = as_of - timedelta(days=1)
    # The earlier days pass the same rules again: what was rejected then must not lend its label now.
    tail = judge(read_days(channels, days_before(as_of, RISK_HISTORY_DAYS), dict(column)))
    judged = tail.of_day(day)
    judged.check(max_rejected)
    if not judged.valid.height:
        raise InputError(f"channel 'raw': {day} has no valid transaction; check that the day was delivered whole")
    channels.write("transactions", judged.valid)
    labels = read_labels(channels, max_rejected)
    write_rejected(channels, judged, labels)
    known = _known_labels(tail.valid, labels.valid, as_of, label_delay_days)
    channels.write("labels", known)
    return {
        "transactions": first_records(judged.valid),
        "date": day.isoformat(),
        "record_count": judged.valid.height,
        **summarise_rejected(judged, labels),
        "labels_known": known.height,
    }


def _known_labels(transactions: pl.DataFrame, labels: pl.DataFrame, as_of: date, delay: int) -> pl.DataFrame:
    joined = join_labels(transactions.lazy(), labels, as_of, delay)
    return (
        joined.filter(pl.col("known_day").is_not_null())
        .with_columns(pl.col("timestamp").dt.epoch("d").cast(pl.Int32).alias("day"))
        .select(*LABELS)
        .collect()
    )
