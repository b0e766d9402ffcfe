"""What a day's features need of the past, and nothing more.

Three tables: the transactions of each customer's last 30 days, the daily counts of each merchant and
category, and their known frauds. It is published once per feature contract and day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from fraudline.channel import MANIFEST_FILE, Channels, content_hash
from fraudline.days import DAY, day_number
from fraudline.errors import InputError
from fraudline.features import definitions
from fraudline.schema import Schema

EVENTS: Schema = {
    "customer_id": pl.String,
    "second": pl.Int64,
    "cents": pl.Int64,
    "merchant": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
}
COUNTS: Schema = {"entity": pl.String, "key": pl.String, "day": pl.Int32, "transactions": pl.Int64}
FRAUDS: Schema = {"entity": pl.String, "key": pl.String, "day": pl.Int32, "known_day": pl.Int32, "frauds": pl.Int64}

_ENTITIES = ("merchant", "merchant_category")
_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)


@dataclass(frozen=True)
class History:
    """The past as the engine sees it; each table's order is fixed by its content."""

    events: pl.DataFrame
    counts: pl.DataFrame
    frauds: pl.DataFrame

    def extend(self, transactions: pl.DataFrame) -> History:
        """With further transactions behind it (schema TRANSACTIONS)."""
        counts = pl.concat([self.counts, _counts(transactions)])
        return History(
            pl.concat([self.events, _events(transactions)]),
            counts.group_by("entity", "key", "day").agg(pl.col("transactions").sum()),
            self.frauds,
        )

    def learn(self, labels: pl.DataFrame) -> History:
        """With these known labels (schema LABELS, or a dataset with days) instead of its own."""
        return History(self.events, self.counts, _frauds(labels))

    def before(self, day: date) -> History:
        """Only what the features of ``day`` and later can still see."""
        midnight, number = day_number(day) * DAY, day_number(day)
        first_day = number - definitions.ENTITY_DAYS
        return History(
            self.events.filter(pl.col("second").is_between(midnight - definitions.CUSTOMER_TAIL, midnight, "left")),
            self.counts.filter(pl.col("day").is_between(first_day, number, "left")),
            self.frauds.filter(pl.col("day") >= first_day, pl.col("known_day") < number),
        )

    def publish(self, channels: Channels, day: date, delay: int, execution: str) -> dict[str, Any]:
        """Write it into the ``history`` output as the history before ``day``; returns its manifest."""
        tail = self.before(day)
        tables = {
            "events": tail.events.sort(list(EVENTS)),
            "counts": tail.counts.sort(list(COUNTS)),
            "frauds": tail.frauds.sort(list(FRAUDS)),
        }
        for name, table in tables.items():
            channels.write("history", table, f"{name}.parquet")
        manifest = {
            "contract": definitions.contract(),
            "before": day.isoformat(),
            "label_delay_days": delay,
            "execution": execution,
            "content": content_hash(*tables.values()),
            "rows": {name: table.height for name, table in tables.items()},
        }
        channels.write_json("history", MANIFEST_FILE, manifest)
        return manifest


def history_of(transactions: pl.DataFrame) -> History:
    """A history that holds all of some transactions (schema TRANSACTIONS) and knows no fraud yet."""
    return History(_events(transactions), _counts(transactions), pl.DataFrame(schema=FRAUDS))


def read_history(channels: Channels, day: date, delay: int) -> History:
    """The ``history`` input; it must be the one before ``day``, of this contract and label delay."""
    if not channels.has("history"):
        raise InputError(
            f"channel 'history': there is none before {day} at '{channels.location('history')}', a gap in the days; "
            f"run the days before {day} in their order, or a training as of {day}"
        )
    manifest = channels.read_json("history", MANIFEST_FILE)
    expected = {"contract": definitions.contract(), "before": day.isoformat(), "label_delay_days": delay}
    for key, value in expected.items():
        if manifest[key] != value:
            raise InputError(
                f"channel 'history': '{channels.location('history')}' has {key} {manifest[key]}, expected {value}; "
                f"run the day before, or a training as of {day}"
            )
    return History(
        channels.read("history", EVENTS, "events.parquet"),
        channels.read("history", COUNTS, "counts.parquet"),
        channels.read("history", FRAUDS, "frauds.parquet"),
    )


def _events(transactions: pl.DataFrame) -> pl.DataFrame:
    return transactions.with_columns(pl.col("timestamp").dt.epoch("s").alias("second")).select(*EVENTS)


def _counts(transactions: pl.DataFrame) -> pl.DataFrame:
    days = transactions.with_columns(_DAY.alias("day"))
    return pl.concat([_per_entity(days, entity, ["day"], "transactions") for entity in _ENTITIES]).select(*COUNTS)


def _frauds(labels: pl.DataFrame) -> pl.DataFrame:
    known = labels.filter(pl.col("is_fraud") == 1)
    return pl.concat([_per_entity(known, entity, ["day", "known_day"], "frauds") for entity in _ENTITIES]).select(
        *FRAUDS
    )


def _per_entity(rows: pl.DataFrame, entity: str, by: list[str], count: str) -> pl.DataFrame:
    named = rows.filter(pl.col(entity).is_not_null()).select(pl.col(entity).alias("key"), *by)
    grouped = named.group_by("key", *by).agg(pl.len().cast(pl.Int64).alias(count))
    return grouped.with_columns(pl.lit(entity).alias("entity"))
