"""The history: the part of the past that the features of a day need, and nothing more.

It has three tables: the transactions of each customer's last 30 days, the daily counts of each merchant and category,
and their known frauds. A history is published once per feature contract and day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from fraudline.catalog.contract import contract, definitions, difference
from fraudline.catalog.days import DAY, day_number, from_day_number
from fraudline.catalog.errors import InputError
from fraudline.catalog.features import CUSTOMER_TAIL, ENTITIES, ENTITY_DAYS
from fraudline.catalog.schema import Schema
from fraudline.features.entity_days import EntityDays
from fraudline.runtime.channels import MANIFEST_FILE, Channels, content_hash

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
SCHEMAS = {"events": EVENTS, "counts": COUNTS, "frauds": FRAUDS}

_DAY_RANGE = np.int64(1 << 32)  # above every Int32 day number
_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)


@dataclass(frozen=True)
class History:
    """The past in the form that the engine reads.

    Attributes:
        events: transactions by customer, schema EVENTS.
        counts: transactions by entity and day, schema COUNTS.
        frauds: known frauds by entity, day and known_day, schema FRAUDS.
        origin: manifest of the published history that this one extends; empty if it was built from raw data.
    """

    events: pl.DataFrame
    counts: pl.DataFrame
    frauds: pl.DataFrame
    origin: Mapping[str, Any] = field(default_factory=dict)

    def with_events(self, events: pl.DataFrame) -> History:
        """Return this history with other events (schema EVENTS)."""
        return replace(self, events=events)

    def first_day(self) -> date:
        """Return the first day with a transaction."""
        return from_day_number(int(self.counts.get_column("day").min()))  # type: ignore[arg-type]

    def extend(self, transactions: pl.DataFrame, labels: pl.DataFrame) -> History:
        """Return this history with later transactions appended, and its frauds replaced by those of ``labels``.

        Args:
            transactions: schema TRANSACTIONS.
            labels: every label that a later day can still see, schema LABELS.
        """
        return History(
            pl.concat([self.events, events_of(transactions)]),
            pl.concat([self.counts, counts_of(transactions.lazy())]),
            frauds_of(labels.lazy()),
            self.origin,
        )

    def entity_days(self, delay: int, first: date, last: date) -> dict[str, EntityDays]:
        """Return the days that rows of the days ``first`` to ``last`` can see, by kind of entity."""
        days = day_number(first), day_number(last)
        return {entity: EntityDays(entity, self.counts, self.frauds, delay, *days) for entity in ENTITIES}

    def publish(self, channels: Channels, day: date, delay: int, execution: str) -> dict[str, Any]:
        """Write the history before ``day`` into the output ``history``, and return its manifest."""
        past = self.before(day)
        # Sorted by all columns, so that the same rows always give the same content hash.
        tables = {name: getattr(past, name).sort(list(schema)) for name, schema in SCHEMAS.items()}
        for name, table in tables.items():
            channels.write("history", table, f"{name}.parquet")
        manifest = {
            "contract": contract(),
            "definitions": definitions(),
            "before": day.isoformat(),
            "label_delay_days": delay,
            "execution": execution,
            "content": content_hash(*tables.values()),
            "rows": {name: table.height for name, table in tables.items()},
            "origin": {"before": self.origin["before"], "content": self.origin["content"]} if self.origin else {},
        }
        channels.write_json("history", MANIFEST_FILE, manifest)
        return manifest

    def before(self, day: date) -> History:
        """Return the rows before ``day`` that features of ``day`` and later can still see."""
        number = day_number(day)
        first_day = number - ENTITY_DAYS
        return replace(
            self,
            events=tail(self.events, day),
            counts=self.counts.filter(pl.col("day").is_between(first_day, number, "left")).select(*COUNTS),
            frauds=self.frauds.filter(pl.col("day") >= first_day, pl.col("known_day") < number).select(*FRAUDS),
        )


def read_history(channels: Channels, day: date, delay: int) -> History:
    """Read the input ``history``, and check that it is the one that the features of ``day`` need.

    Raises:
        InputError: it is missing or stale, or has another day, feature contract or label delay.
    """
    remedy = f"run the days before {day} in their order, or rebuild it: fraudline run backfill --as-of {day}"
    location = channels.location("history")
    if not channels.has("history"):
        raise InputError(f"channel 'history': there is none before {day} at '{location}', a gap in the days; {remedy}")
    manifest = channels.read_json("history", MANIFEST_FILE)
    if manifest["contract"] != contract():
        expected = {"contract": contract(), "definitions": definitions()}
        raise InputError(f"channel 'history': '{location}' has {difference(manifest, expected)}; {remedy}")
    for key, value in {"before": day.isoformat(), "label_delay_days": delay}.items():
        if manifest[key] != value:
            raise InputError(f"channel 'history': '{location}' has {key} {manifest[key]}, expected {value}; {remedy}")
    _check_origins(channels, manifest, remedy)
    events, counts, frauds = (channels.read("history", schema, f"{name}.parquet") for name, schema in SCHEMAS.items())
    return History(events, counts, frauds, manifest)


def _check_origins(channels: Channels, manifest: dict[str, Any], remedy: str) -> None:
    """Raise InputError if a history that this one extends, directly or indirectly, was replaced since."""
    while origin := manifest["origin"]:
        older = channels.read_json_beside("history", f"before={origin['before']}", MANIFEST_FILE)
        if older is None:
            return  # expired, so it cannot have been replaced
        if older["content"] != origin["content"]:
            raise InputError(
                f"channel 'history': '{channels.location('history')}' is stale: it extends the history before "
                f"{origin['before']}, which execution '{older['execution']}' has replaced since; {remedy} "
                "--set replace=true"
            )
        manifest = older


def entity_history(dataset: pl.LazyFrame) -> History:
    """Return a history without events: only the days of merchants and categories of a dataset (schema DATASET).

    Raises:
        InputError: the dataset has no rows.
    """
    counts = counts_of(dataset)
    if not counts.height:
        raise InputError("channel 'dataset': no rows; check the extraction's summary")
    return History(pl.DataFrame(schema=EVENTS), counts, frauds_of(dataset.with_columns(_DAY.alias("day"))))


def events_of(transactions: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of transactions (schema TRANSACTIONS) that later ones of a customer see (schema EVENTS)."""
    return transactions.with_columns(pl.col("timestamp").dt.epoch("s").alias("second")).select(*EVENTS)


def counts_of(transactions: pl.LazyFrame) -> pl.DataFrame:
    """Count transactions by entity and day (schema COUNTS)."""
    rows = transactions.select(*ENTITIES, _DAY.alias("day")).collect(engine="streaming")
    return pl.concat(_entity_counts(rows, entity) for entity in ENTITIES)


def _entity_counts(rows: pl.DataFrame, entity: str) -> pl.DataFrame:
    # Nearly every row has its own entity and day, so sorting integers is far cheaper than grouping strings.
    named = rows.select(pl.col(entity).cast(pl.Categorical(pl.Categories.random())), "day").drop_nulls()
    names = named.get_column(entity)
    keys = np.sort(names.to_physical().to_numpy() * _DAY_RANGE + named.get_column("day").to_numpy())
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    distinct, transactions = keys[first], np.diff(np.append(first, len(keys)))
    columns = {
        "entity": pl.repeat(entity, len(distinct), eager=True),
        "key": pl.Series(distinct // _DAY_RANGE, dtype=pl.UInt32).cat.to(names.dtype),
        "day": distinct % _DAY_RANGE,
        "transactions": transactions,
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in COUNTS.items())


def frauds_of(labels: pl.LazyFrame) -> pl.DataFrame:
    """Count known frauds by entity, day and known_day (schema FRAUDS) in labels (schema LABELS)."""
    frauds = labels.filter(pl.col("is_fraud") == 1)
    return pl.concat(_entity_frauds(frauds, entity) for entity in ENTITIES).collect(engine="streaming")


def _entity_frauds(frauds: pl.LazyFrame, entity: str) -> pl.LazyFrame:
    return (
        frauds.filter(pl.col(entity).is_not_null())
        .group_by(pl.col(entity).alias("key"), "day", "known_day")
        .agg(pl.len().cast(pl.Int64).alias("frauds"))
        .select(pl.lit(entity).alias("entity"), pl.all())
    )


def tail(events: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return the events before ``day`` that features of ``day`` and later can still see."""
    return events.filter(pl.col("second").is_between(*tail_seconds(day), "left"))


def tail_seconds(day: date) -> tuple[int, int]:
    """Return the seconds [first, end) of the events that ``tail`` keeps."""
    end = day_number(day) * DAY
    return end - CUSTOMER_TAIL, end
