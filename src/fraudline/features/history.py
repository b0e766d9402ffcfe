"""What a day's features need of the past, and nothing more.

Three tables: the transactions of each customer's last 30 days, the daily counts of each merchant and
category, and their known frauds. It is published once per feature contract and day.
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

_DAYS = np.int64(1 << 32)  # more than there are
_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)


@dataclass(frozen=True)
class History:
    """The past as the engine sees it; each table's order is fixed by its content when it is published.

    ``origin`` is the manifest of the published history that it goes on from, empty where it was made from raw data.
    """

    events: pl.DataFrame
    counts: pl.DataFrame
    frauds: pl.DataFrame
    origin: Mapping[str, Any] = field(default_factory=dict)

    def with_events(self, events: pl.DataFrame) -> History:
        """With these events (schema EVENTS) instead of its own."""
        return replace(self, events=events)

    def first_day(self) -> date:
        """The first day on which any transaction was counted."""
        return from_day_number(int(self.counts.get_column("day").min()))  # type: ignore[arg-type]

    def extend(self, transactions: pl.DataFrame, labels: pl.DataFrame) -> History:
        """With transactions of later days behind it, and the labels that are known by now instead of its own.

        Args:
            transactions: schema TRANSACTIONS.
            labels: all that a later day can still see, schema LABELS.
        """
        return History(
            pl.concat([self.events, events_of(transactions)]),
            pl.concat([self.counts, counts_of(transactions.lazy())]),
            frauds_of(labels.lazy()),
            self.origin,
        )

    def entity_days(self, delay: int, first: date, last: date) -> dict[str, EntityDays]:
        """What is known of each kind of entity on the days from ``first`` to ``last``."""
        days = day_number(first), day_number(last)
        return {entity: EntityDays(entity, self.counts, self.frauds, delay, *days) for entity in ENTITIES}

    def publish(self, channels: Channels, day: date, delay: int, execution: str) -> dict[str, Any]:
        """Write what the features of ``day`` and later can still see into the output ``history``.

        Returns:
            Its manifest.
        """
        past = self.before(day)
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
            "origin": {key: self.origin[key] for key in ("before", "content") if self.origin},
        }
        channels.write_json("history", MANIFEST_FILE, manifest)
        return manifest

    def before(self, day: date) -> History:
        """Only what the features of ``day`` and later can still see of the days before it."""
        number = day_number(day)
        first_day = number - ENTITY_DAYS
        return replace(
            self,
            events=tail(self.events, day),
            counts=self.counts.filter(pl.col("day").is_between(first_day, number, "left")).select(*COUNTS),
            frauds=self.frauds.filter(pl.col("day") >= first_day, pl.col("known_day") < number).select(*FRAUDS),
        )


def read_history(channels: Channels, day: date, delay: int) -> History:
    """The input ``history``: the one before ``day``, of this contract and label delay, and not stale.

    Raises:
        InputError: there is none, or it is another one.
    """
    again = f"run the days before {day} in their order, or rebuild it: fraudline run backfill --as-of {day}"
    place = channels.location("history")
    if not channels.has("history"):
        raise InputError(f"channel 'history': there is none before {day} at '{place}', a gap in the days; {again}")
    manifest = channels.read_json("history", MANIFEST_FILE)
    if manifest["contract"] != contract():
        expected = {"contract": contract(), "definitions": definitions()}
        raise InputError(f"channel 'history': '{place}' has {difference(manifest, expected)}; {again}")
    for key, value in {"before": day.isoformat(), "label_delay_days": delay}.items():
        if manifest[key] != value:
            raise InputError(f"channel 'history': '{place}' has {key} {manifest[key]}, expected {value}; {again}")
    _check_origin(channels, manifest, again)
    events, counts, frauds = (channels.read("history", schema, f"{name}.parquet") for name, schema in SCHEMAS.items())
    return History(events, counts, frauds, manifest)


def _check_origin(channels: Channels, manifest: dict[str, Any], again: str) -> None:
    """A history is stale once one of those that it goes back to has been replaced by other content."""
    while origin := manifest["origin"]:
        older = channels.read_json_beside("history", f"before={origin['before']}", MANIFEST_FILE)
        if older is None:
            return  # expired: nobody can have replaced it since
        if older["content"] != origin["content"]:
            raise InputError(
                f"channel 'history': '{channels.location('history')}' is stale: it goes back to the history before "
                f"{origin['before']}, which execution '{older['execution']}' has replaced since; {again} with "
                "--set replace=true"
            )
        manifest = older


def known_of(dataset: pl.LazyFrame) -> History:
    """What is known of merchants and categories, without events yet.

    Args:
        dataset: schema DATASET.

    Raises:
        InputError: it has no rows.
    """
    counts = counts_of(dataset)
    if not counts.height:
        raise InputError("channel 'dataset': no rows; check the extraction's summary")
    return History(pl.DataFrame(schema=EVENTS), counts, frauds_of(dataset.with_columns(_DAY.alias("day"))))


def events_of(transactions: pl.DataFrame) -> pl.DataFrame:
    """Transactions (schema TRANSACTIONS) as what later ones of their customers see of them (schema EVENTS)."""
    return transactions.with_columns(pl.col("timestamp").dt.epoch("s").alias("second")).select(*EVENTS)


def counts_of(transactions: pl.LazyFrame) -> pl.DataFrame:
    """Transactions by entity and day (schema COUNTS)."""
    rows = transactions.select(*ENTITIES, _DAY.alias("day")).collect(engine="streaming")
    return pl.concat(_counts(rows, entity) for entity in ENTITIES)


def _counts(rows: pl.DataFrame, entity: str) -> pl.DataFrame:
    # Nearly every row is an entity and day of its own, and sorting integers is far cheaper than grouping texts.
    known = rows.select(pl.col(entity).cast(pl.Categorical(pl.Categories.random())), "day").drop_nulls()
    names = known.get_column(entity)
    keys = np.sort(names.to_physical().to_numpy() * _DAYS + known.get_column("day").to_numpy())
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    cells, transactions = keys[first], np.diff(np.append(first, len(keys)))
    columns = {
        "entity": pl.repeat(entity, len(cells), eager=True),
        "key": pl.Series(cells // _DAYS, dtype=pl.UInt32).cat.to(names.dtype),
        "day": cells % _DAYS,
        "transactions": transactions,
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in COUNTS.items())


def frauds_of(labels: pl.LazyFrame) -> pl.DataFrame:
    """Known frauds by entity, day and known_day (schema FRAUDS), of labels (schema LABELS)."""
    frauds = labels.filter(pl.col("is_fraud") == 1)
    counted = (
        frauds.filter(pl.col(entity).is_not_null())
        .group_by(pl.col(entity).alias("key"), "day", "known_day")
        .agg(pl.len().cast(pl.Int64).alias("frauds"))
        .select(pl.lit(entity).alias("entity"), pl.all())
        for entity in ENTITIES
    )
    return pl.concat(counted).collect(engine="streaming")


def tail(events: pl.DataFrame, day: date) -> pl.DataFrame:
    """The events before ``day`` that its features and later ones can still see."""
    return events.filter(pl.col("second").is_between(*tail_seconds(day), "left"))


def tail_seconds(day: date) -> tuple[int, int]:
    """The seconds [first, end) of these events."""
    end = day_number(day) * DAY
    return end - CUSTOMER_TAIL, end
