"""The NumPy engine: compute the features on one computer. The Spark engine must produce the same bits.

Each formula fixes the order of its operations (+, -, x, / and sqrt) over integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.days import DAY, HOUR
from fraudline.catalog.features import (
    FEATURES,
    Aggregate,
    Amount,
    Count,
    DistanceFromHome,
    DistanceFromPrevious,
    Feature,
    FraudRecency,
    FraudRun,
    Frauds,
    HourOfDay,
    IsFirstAtMerchant,
    IsNight,
    IsWeekend,
    RatioToMax,
    RatioToMean,
    RecentMaxToMean,
    Risk,
    SincePrevious,
    SpeedFromPrevious,
    Sum,
    Volume,
    ZScore,
)
from fraudline.catalog.schema import TRANSACTIONS
from fraudline.features.entity_days import EntityDays, SeenDays
from fraudline.features.history import History, events_of
from fraudline.features.windows import Customers, Events, Floats, Ints, distance


class Rows:
    """The transactions to compute, sorted, with the columns that only their own features see.

    Args:
        transactions: schema TRANSACTIONS.
        events: the same rows, sorted.
        order: the index of each sorted row in ``transactions``.
    """

    def __init__(self, transactions: pl.DataFrame, events: Events, order: Ints) -> None:
        self._table, self._order = transactions, order
        self.cents, self.second = events.cents, events.second
        self.day: Ints = self.second // DAY
        self.coordinates = events.latitude, events.longitude

    def column(self, name: str) -> pl.Series:
        """Return a column in the order of the rows."""
        return self._table.get_column(name).gather(self._order)


def compute(transactions: pl.DataFrame, past: pl.DataFrame, entities: Mapping[str, EntityDays]) -> pl.DataFrame:
    """Compute the features of transactions.

    Args:
        transactions: rows to compute, schema TRANSACTIONS; they see each other.
        past: earlier transactions of their customers, schema EVENTS; those of other customers are ignored.
        entities: the days of merchants and of categories, covering the days of the rows.

    Returns:
        One float32 column per feature, in the order of the definitions, null where there is no value;
        one row per transaction, in the order of ``transactions``.
    """
    events = events_of(transactions)
    if past.height:
        own = pl.col("customer_id").is_in(transactions.get_column("customer_id").unique().implode())
        events = pl.concat([past.filter(own), events])
    customers = Customers(Events.of(events), transactions.height)
    rows = Rows(transactions, customers.rows, customers.order)
    sources: dict[str, Any] = {"transaction": rows, "customer": customers}
    for entity, days in entities.items():
        sources[entity] = SeenDays(days, rows.column(entity), rows.day)
    # Invert the sort: the position of each transaction's values.
    positions = np.empty(len(customers.order), np.int64)
    positions[customers.order] = np.arange(len(positions))
    columns = {feature.name: _values(feature, sources[feature.entity])[positions] for feature in FEATURES}
    return pl.DataFrame(columns, nan_to_null=True)


def features_of(transaction: Mapping[str, Any], history: History, delay: int) -> dict[str, float | None]:
    """Compute the features of one transaction; they equal those of a batch of its day.

    Args:
        transaction: a row of schema TRANSACTIONS.
        history: the transactions before it.
        delay: whole days before a label counts.

    Returns:
        The features by name.
    """
    table = pl.DataFrame([transaction], schema=dict(TRANSACTIONS))
    day = transaction["timestamp"].date()
    computed = compute(table, history.events, history.entity_days(delay, day, day))
    features: dict[str, float | None] = computed.row(0, named=True)
    return features


def _values(feature: Feature, source: Any) -> NDArray[np.float32]:
    """Return the values of a feature, NaN for rows without a value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values: NDArray[np.float32] = _FORMULAS[type(feature.aggregate)](source, feature).astype(np.float32)
    values[np.isinf(values)] = np.nan  # x / 0 is no value, like 0 / 0
    return values


def _hour(rows: Rows) -> Any:
    return rows.second % DAY // HOUR


def _is_weekend(rows: Rows) -> Any:
    return (rows.day + 3) % 7 >= 5  # 1970-01-01 was a Thursday


def _distance_from_home(rows: Rows) -> Floats:
    latitude, longitude = (rows.column(f"customer_{axis}").to_numpy() for axis in ("latitude", "longitude"))
    return distance(latitude, longitude, *rows.coordinates)


def _zscore(customers: Customers, window: int) -> Any:
    # Numerator and denominator are both multiplied by the count, which leaves a single division.
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


def _risk(days: SeenDays, window: int, risk: Risk) -> Floats:
    share = (days.frauds(window) + risk.share * risk.strength) / (days.transactions(window) + risk.strength)
    return _where_entity(days, share)


def _where_entity(days: SeenDays, values: Any) -> Floats:
    """Return values with NaN for rows without the entity."""
    return np.where(days.has_entity, values, np.nan)


# Each formula takes the source of its feature's entity (Rows, Customers or SeenDays) and the feature.
_FORMULAS: dict[type[Aggregate], Callable[[Any, Any], Any]] = {
    Amount: lambda rows, f: rows.cents / 100,
    HourOfDay: lambda rows, f: _hour(rows),
    IsWeekend: lambda rows, f: _is_weekend(rows),
    IsNight: lambda rows, f: _hour(rows) < f.aggregate.before,
    DistanceFromHome: lambda rows, f: _distance_from_home(rows),
    Count: lambda customers, f: customers.count(f.window),
    Sum: lambda customers, f: customers.sum(f.window) / 100,
    ZScore: lambda customers, f: _zscore(customers, f.window),
    RatioToMean: lambda customers, f: _ratio_to_mean(customers, f.window),
    RatioToMax: lambda customers, f: customers.rows.cents / customers.max(f.window),
    RecentMaxToMean: lambda customers, f: _recent_max_to_mean(customers, f.window, f.aggregate.recent),
    SincePrevious: lambda customers, f: customers.since_previous(f.window),
    IsFirstAtMerchant: lambda customers, f: customers.is_first_at_merchant(f.window),
    DistanceFromPrevious: lambda customers, f: customers.distance_from_previous(f.window),
    SpeedFromPrevious: lambda customers, f: _speed(customers, f.window),
    Volume: lambda days, f: _where_entity(days, days.transactions(f.window)),
    Risk: lambda days, f: _risk(days, f.window, f.aggregate),
    Frauds: lambda days, f: _where_entity(days, days.frauds(f.window)),
    FraudRecency: lambda days, f: days.day - days.latest_fraud(f.window),
    FraudRun: lambda days, f: days.latest_fraud(f.window) - days.earliest_fraud(f.window),
}
