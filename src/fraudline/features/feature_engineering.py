"""Training's second stage: features of every transaction, split by time, and the next day's history.

The dataset comes in parts that hold whole customers, so that memory holds as many of them as there are
processors, whatever the number of rows. What is known of merchants and categories spans all parts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from fraudline.catalog.days import midnight
from fraudline.catalog.errors import InputError
from fraudline.catalog.features import NAMES
from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET
from fraudline.catalog.stage import Summary
from fraudline.features.entity_days import EntityDays
from fraudline.features.history import EVENTS, events_of, known_of, tail
from fraudline.features.numpy_engine import compute
from fraudline.features.split import Period, Split, split
from fraudline.features.tables import with_keys
from fraudline.runtime.channels import Channels
from fraudline.runtime.feature_contract import write_contract

SPLIT = ("train", "validation", "test")


class Part(NamedTuple):
    """What is left of a part once its features are written: counts by table, and what the history needs."""

    computed: int
    rows: Counter[str]
    frauds: Counter[str]
    events: pl.DataFrame


def run(
    channels: Channels, run: Run, label_delay_days: int, warmup_days: int, test_days: int, validation_share: float
) -> Summary:
    """Write ``train``, ``validation``, ``test`` (keys, features, is_fraud, weight) and publish ``history``."""
    parts = channels.parts("dataset", DATASET)
    known = known_of(pl.concat(parts))
    first = known.first_day()
    periods = split(
        first, run.as_of, delay=label_delay_days, warmup=warmup_days, test=test_days, validation_share=validation_share
    )
    entities = known.entity_days(label_delay_days, first, run.day)
    engineer = partial(_engineer, channels, run.as_of, periods, entities)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy and polars leave the interpreter's lock alone
        done = list(threads.map(engineer, range(len(parts)), parts))
    rows, frauds = (sum((getattr(part, name) for part in done), Counter[str]()) for name in ("rows", "frauds"))
    told = tell_periods(channels, periods, rows, frauds)
    history = known.with_events(pl.concat(part.events for part in done))
    return {
        "features": list(NAMES),
        "feature_count": len(NAMES),
        "record_count": sum(part.computed for part in done),
        "periods": told,
        "history": history.publish(channels, run.as_of, label_delay_days, run.execution),
    }


def tell_periods(
    channels: Channels, periods: Split, rows: Mapping[str, int], frauds: Mapping[str, int]
) -> dict[str, Any]:
    """Write each table's contract; the days and the rows of each.

    Raises:
        InputError: one has no fraud.
    """
    told = {}
    for name in SPLIT:
        period: Period = getattr(periods, name)
        if not frauds[name]:
            raise InputError(
                f"channel 'dataset': no known fraud from {period.first} to {period.end}, the {name} period; "
                "check the labels, or deliver more days"
            )
        write_contract(channels, name, period.first, period.end)
        told[name] = {"first": period.first.isoformat(), "end": period.end.isoformat(), "rows": rows[name]}
    return told


def _engineer(
    channels: Channels, as_of: date, periods: Split, entities: Mapping[str, EntityDays], number: int, part: pl.LazyFrame
) -> Part:
    """Compute and write one part."""
    dataset = part.collect().sort("timestamp", "transaction_id")
    features = compute(dataset, pl.DataFrame(schema=EVENTS), entities)
    table = pl.concat([with_keys(dataset, features), dataset.select("is_fraud", "weight")], how="horizontal")
    rows, frauds = Counter[str](), Counter[str]()
    for name in SPLIT:
        chosen = _labelled_in(table, getattr(periods, name), drawn=name == "train")
        channels.write(name, chosen, f"part-{number:03}.parquet")
        rows[name], frauds[name] = chosen.height, int(chosen.get_column("is_fraud").sum())
    return Part(dataset.height, rows, frauds, tail(events_of(dataset), as_of))


def _labelled_in(table: pl.DataFrame, period: Period, *, drawn: bool) -> pl.DataFrame:
    """The labelled rows of a period; ``drawn`` ones with their weights, or all, each for itself."""
    within = pl.col("timestamp").is_between(midnight(period.first), midnight(period.end), "left")
    rows = table.filter(within, pl.col("is_fraud").is_not_null())
    return rows.filter(pl.col("weight") > 0) if drawn else rows.with_columns(weight=pl.lit(1.0, pl.Float32))
