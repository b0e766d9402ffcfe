"""Training's second stage: features of every transaction, split by time, and the next day's history."""

from __future__ import annotations

from datetime import date

import polars as pl

from fraudline.channel import Channels
from fraudline.days import midnight
from fraudline.errors import InputError
from fraudline.features import definitions
from fraudline.features.history import history_of
from fraudline.features.numpy_engine import compute
from fraudline.features.split import Period, split
from fraudline.features.tables import with_keys, write_features
from fraudline.schema import DATASET, TRANSACTIONS
from fraudline.stage import Summary


def run(
    channels: Channels,
    as_of: date,
    label_delay_days: int,
    warmup_days: int,
    test_days: int,
    validation_share: float,
    execution: str,
    replace: bool,  # the host's, for the commit
) -> Summary:
    """Write ``train``, ``validation``, ``test`` (keys, features, is_fraud) and publish ``history``."""
    dataset = channels.read("dataset", DATASET)
    if not dataset.height:
        raise InputError("channel 'dataset': no rows; check the extraction's summary")
    first = dataset.get_column("timestamp").min().date()  # type: ignore[union-attr]
    periods = split(
        first, as_of, delay=label_delay_days, warmup=warmup_days, test=test_days, validation_share=validation_share
    )
    transactions = dataset.select(*TRANSACTIONS)
    labels = dataset.with_columns(pl.col("timestamp").dt.epoch("d").cast(pl.Int32).alias("day"))
    history = history_of(transactions).learn(labels)
    features = compute(transactions, history, label_delay_days)
    labelled = pl.concat([with_keys(transactions, features), dataset.select("is_fraud", "weight")], how="horizontal")
    counts = {}
    for name in ("train", "validation", "test"):
        period: Period = getattr(periods, name)
        rows = _labelled_in(labelled, period)
        if not rows.get_column("is_fraud").sum():
            raise InputError(
                f"channel 'dataset': no known fraud from {period.first} to {period.end}, the {name} period; "
                "check the labels, or deliver more days"
            )
        write_features(channels, name, rows, {"first": period.first.isoformat(), "end": period.end.isoformat()})
        counts[name] = {"first": period.first.isoformat(), "end": period.end.isoformat(), "rows": rows.height}
    manifest = history.publish(channels, as_of, label_delay_days, execution)
    return {
        "features": list(definitions.NAMES),
        "feature_count": len(definitions.NAMES),
        "record_count": features.height,
        "periods": counts,
        "history": manifest,
    }


def _labelled_in(rows: pl.DataFrame, period: Period) -> pl.DataFrame:
    within = pl.col("timestamp").is_between(midnight(period.first), midnight(period.end), "left")
    return rows.filter(within, pl.col("is_fraud").is_not_null())
