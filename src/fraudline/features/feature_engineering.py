"""Compute the features of a training's transactions, split them by time, and publish the next day's history.

Each part of the dataset has all rows of its customers, so parts are computed one by one, and memory holds only one
per processor. The days of merchants and categories cover all parts.
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
from fraudline.features.history import EVENTS, entity_history, events_of, tail
from fraudline.features.numpy_engine import compute
from fraudline.features.split import Period, Split, split_days
from fraudline.features.tables import with_keys
from fraudline.runtime.channels import Channels
from fraudline.runtime.feature_contract import write_contract


class PartResult(NamedTuple):
    """The results of a part that stay in memory after its features are written.

    Attributes:
        computed: the number of its transactions.
        rows: the number of rows written, by channel.
        frauds: the number of frauds among them, by channel.
        events: the events that the next day's history needs, schema EVENTS.
    """

    computed: int
    rows: Counter[str]
    frauds: Counter[str]
    events: pl.DataFrame


def run(
    channels: Channels, run: Run, label_delay_days: int, warmup_days: int, test_days: int, validation_share: float
) -> Summary:
    """Write ``train``, ``validation``, ``test`` (keys, features, is_fraud, weight) and publish ``history``."""
    parts = channels.parts("dataset", DATASET)
    history = entity_history(pl.concat(parts))
    first = history.first_day()
    split = split_days(
        first, run.as_of, delay=label_delay_days, warmup=warmup_days, test=test_days, validation_share=validation_share
    )
    entities = history.entity_days(label_delay_days, first, run.day)
    engineer = partial(_engineer, channels, run.as_of, split, entities)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy and polars release the interpreter's lock
        results = list(threads.map(engineer, range(len(parts)), parts))
    rows, frauds = Counter[str](), Counter[str]()
    for result in results:
        rows.update(result.rows)
        frauds.update(result.frauds)
    written = write_contracts(channels, split, rows, frauds)
    history = history.with_events(pl.concat(result.events for result in results))
    return {
        "features": list(NAMES),
        "feature_count": len(NAMES),
        "record_count": sum(result.computed for result in results),
        "periods": written,
        "history": history.publish(channels, run.as_of, label_delay_days, run.execution),
    }


def write_contracts(
    channels: Channels, split: Split, rows: Mapping[str, int], frauds: Mapping[str, int]
) -> dict[str, Any]:
    """Write each table's contract, and return the days and rows of each for the summary.

    Args:
        channels: the stage's channels, with the outputs train, validation and test.
        split: the periods of these outputs.
        rows: number of rows by channel.
        frauds: number of frauds by channel.

    Raises:
        InputError: a period has no fraud.
    """
    written = {}
    for name, period in split.periods.items():
        if not frauds[name]:
            raise InputError(
                f"channel 'dataset': no known fraud from {period.first} to {period.end}, the {name} period; "
                "check the labels, or deliver more days"
            )
        write_contract(channels, name, period.first, period.end)
        written[name] = {"first": period.first.isoformat(), "end": period.end.isoformat(), "rows": rows[name]}
    return written


def _engineer(
    channels: Channels, as_of: date, split: Split, entities: Mapping[str, EntityDays], number: int, part: pl.LazyFrame
) -> PartResult:
    """Compute and write the features of one part."""
    dataset = part.collect().sort("timestamp", "transaction_id")
    features = compute(dataset, pl.DataFrame(schema=EVENTS), entities)
    table = pl.concat([with_keys(dataset, features), dataset.select("is_fraud", "weight")], how="horizontal")
    rows, frauds = Counter[str](), Counter[str]()
    for name, period in split.periods.items():
        labeled = _labeled_rows(table, period, sampled=name == "train")
        channels.write(name, labeled, f"part-{number:03}.parquet")
        rows[name], frauds[name] = labeled.height, int(labeled.get_column("is_fraud").sum())
    return PartResult(dataset.height, rows, frauds, tail(events_of(dataset), as_of))


def _labeled_rows(table: pl.DataFrame, period: Period, *, sampled: bool) -> pl.DataFrame:
    """Return the labeled rows of a period: the sampled ones with their weights, or all with weight 1."""
    within = pl.col("timestamp").is_between(midnight(period.first), midnight(period.end), "left")
    rows = table.filter(within, pl.col("is_fraud").is_not_null())
    return rows.filter(pl.col("weight") > 0) if sampled else rows.with_columns(weight=pl.lit(1.0, pl.Float32))
