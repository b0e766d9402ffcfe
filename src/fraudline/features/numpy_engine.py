"""Compiles the feature definitions for one machine, in NumPy; another engine must repeat its bits.

Each formula stands in one written order of + - x / and sqrt over integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from fraudline.catalog import features as d
from fraudline.catalog.days import DAY, HOUR
from fraudline.catalog.schema import TRANSACTIONS
from fraudline.features.entity_days import EntityDays, SeenDays
from fraudline.features.history import History, events_of
from fraudline.features.windows import Customers, Events, Floats, Ints, distance


class Rows:
    """The transactions to compute in one order, with what nobody but themselves can see."""

    def __init__(self, transactions: pl.DataFrame, events: Events, order: Ints) -> None:
        self._table, self._order = transactions, order
        self.cents, self.second = events.cents, events.second
        self.day: Ints = self.second // DAY
        self.place = events.latitude, events.longitude

    def column(self, name: str) -> pl.Series:
        """A column in the order of the rows."""
        return self._table.get_column(name).gather(self._order)


def compute(transactions: pl.DataFrame, past: pl.DataFrame, entities: Mapping[str, EntityDays]) -> pl.DataFrame:
    """The features of some transactions.

    Args:
        transactions: rows to compute, schema TRANSACTIONS; they see each other.
        past: their customers' earlier transactions, and maybe others', schema EVENTS.
        entities: what is known of merchants and of categories on the days of the rows.

    Returns:
        One float32 column a feature, in the order of the definitions, null where there is no value;
        one row a transaction, in the given order.
    """
    events = events_of(transactions)
    if past.height:
        own = pl.col("customer_id").is_in(transactions.get_column("customer_id").unique().implode())
        events = pl.concat([past.filter(own), events])
    customers = Customers(Events.of(events), transactions.height)
    rows = Rows(transactions, customers.rows, customers.order)
    sources: dict[str, Any] = {"transaction": rows, "customer": customers}
    for entity, known in entities.items():
        sources[entity] = SeenDays(known, rows.column(entity), rows.day)
    given = np.empty(len(customers.order), np.int64)
    given[customers.order] = np.arange(len(given))
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            feature.name: _COMPILERS[type(feature.aggregate)](sources[feature.entity], feature).astype(np.float32)[
                given
            ]
            for feature in d.FEATURES
        }
    for values in columns.values():
        values[np.isinf(values)] = np.nan  # x / 0 is no value, as 0 / 0 is
    return pl.DataFrame(columns, nan_to_null=True)


def features_of(transaction: Mapping[str, Any], history: History, delay: int) -> dict[str, float | None]:
    """The features of one transaction, by name, as they would be in a batch of its day.

    Args:
        transaction: a row of schema TRANSACTIONS.
        history: what came before it.
        delay: whole days before a label counts.
    """
    table = pl.DataFrame([transaction], schema=dict(TRANSACTIONS))
    day = transaction["timestamp"].date()
    features: dict[str, float | None] = compute(table, history.events, history.entity_days(delay, day, day)).row(
        0, named=True
    )
    return features


def _hour(rows: Rows) -> Any:
    return rows.second % DAY // HOUR


def _is_weekend(rows: Rows) -> Any:
    return (rows.day + 3) % 7 >= 5  # 1970-01-01 was a Thursday


def _distance_from_home(rows: Rows) -> Floats:
    latitude, longitude = (rows.column(f"customer_{axis}").to_numpy() for axis in ("latitude", "longitude"))
    return distance(latitude, longitude, *rows.place)


def _zscore(customers: Customers, window: int) -> Any:
    count, total = customers.count(window).astype(float), customers.sum(window).astype(float)
    mean_square = count * customers.squares(window)
    variance = mean_square - total * total
    spread = np.where((count > 1) & (variance > 1e-12 * mean_square), variance, np.nan)
    return (count * customers.rows.cents - total) / np.sqrt(spread)


def _ratio_to_mean(customers: Customers, window: int) -> Floats:
    return (customers.rows.cents * customers.count(window)) / customers.sum(window)


def _recent_max_to_mean(customers: Customers, window: int, recent: int) -> Floats:
    largest = np.where(customers.count(recent) > 0, customers.max(recent), np.nan)
    return (largest * customers.count(window)) / customers.sum(window)


def _speed(customers: Customers, window: int) -> Floats:
    return customers.distance_from_previous(window) / (customers.since_previous(window) / HOUR)


def _risk(days: SeenDays, window: int, risk: d.Risk) -> Floats:
    share = (days.frauds(window) + risk.share * risk.strength) / (days.transactions(window) + risk.strength)
    return np.where(days.has_entity, share, np.nan)


def _of_known(days: SeenDays, values: Any) -> Floats:
    return np.where(days.has_entity, values, np.nan)


_COMPILERS: dict[type[d.Aggregate], Callable[[Any, Any], Any]] = {
    d.Amount: lambda rows, f: rows.cents / 100,
    d.HourOfDay: lambda rows, f: _hour(rows),
    d.IsWeekend: lambda rows, f: _is_weekend(rows),
    d.IsNight: lambda rows, f: _hour(rows) < f.aggregate.before,
    d.DistanceFromHome: lambda rows, f: _distance_from_home(rows),
    d.Count: lambda customers, f: customers.count(f.window),
    d.Sum: lambda customers, f: customers.sum(f.window) / 100,
    d.ZScore: lambda customers, f: _zscore(customers, f.window),
    d.RatioToMean: lambda customers, f: _ratio_to_mean(customers, f.window),
    d.RatioToMax: lambda customers, f: customers.rows.cents / customers.max(f.window),
    d.RecentMaxToMean: lambda customers, f: _recent_max_to_mean(customers, f.window, f.aggregate.recent),
    d.SincePrevious: lambda customers, f: customers.since_previous(f.window),
    d.IsFirstAtMerchant: lambda customers, f: customers.is_first_at_merchant(f.window),
    d.DistanceFromPrevious: lambda customers, f: customers.distance_from_previous(f.window),
    d.SpeedFromPrevious: lambda customers, f: _speed(customers, f.window),
    d.Volume: lambda days, f: _of_known(days, days.transactions(f.window)),
    d.Risk: lambda days, f: _risk(days, f.window, f.aggregate),
    d.Frauds: lambda days, f: _of_known(days, days.frauds(f.window)),
    d.FraudRecency: lambda days, f: days.day - days.latest_fraud(f.window),
    d.FraudRun: lambda days, f: days.latest_fraud(f.window) - days.earliest_fraud(f.window),
}
