"""The features as data: the engines compile this table, the documents print it, the contract hashes it.

A feature of a transaction at second t of day T sees its customer's *other* transactions with event times in
[t - window, t): half-open, so it sees neither the row itself nor transactions of the same second. A feature of a
merchant or a category sees whole days, [T - delay - window, T - delay), and only labels known before T.

This module imports only the standard library, so that every engine can import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fraudline.catalog.days import DAY, HOUR, RISK_HISTORY_DAYS

Entity = Literal["transaction", "customer", "merchant", "merchant_category"]
# The entities whose transactions and frauds are counted by whole days.
ENTITIES: tuple[Entity, ...] = ("merchant", "merchant_category")
EARTH_RADIUS = 6371.0088  # km, the mean radius of the IUGG


@dataclass(frozen=True)
class Aggregate:
    """The function that a feature applies to what it sees; null if there is nothing to compute it from."""


class Amount(Aggregate):
    """The transaction's own amount."""


class HourOfDay(Aggregate):
    """Hour of the timestamp, 0 to 23."""


class IsWeekend(Aggregate):
    """1 on Saturday and Sunday, else 0."""


@dataclass(frozen=True)
class IsNight(Aggregate):
    """1 before an hour of the day, else 0."""

    before: int


class DistanceFromHome(Aggregate):
    """Great-circle distance between the customer's home and the transaction."""


class Count(Aggregate):
    """Number of transactions."""


class Sum(Aggregate):
    """Sum of amounts."""


class ZScore(Aggregate):
    """(amount - mean) / standard deviation; null for fewer than two transactions, or if all amounts are equal.

    Amounts count as equal if the variance is at most 1e-12 of the mean square: past 2^53 the rest is rounding.
    """


class RatioToMean(Aggregate):
    """amount / mean; null if the mean is zero."""


class RatioToMax(Aggregate):
    """amount / largest amount; null if that is zero."""


@dataclass(frozen=True)
class RecentMaxToMean(Aggregate):
    """Largest amount of the last ``recent`` seconds / mean; null if there is none or the mean is zero."""

    recent: int


class SincePrevious(Aggregate):
    """Seconds since the previous transaction."""


class IsFirstAtMerchant(Aggregate):
    """1 if no transaction in the window was at the row's own merchant, else 0."""


class DistanceFromPrevious(Aggregate):
    """Great-circle distance from the previous transaction (of several in one second, the north-easternmost)."""


class SpeedFromPrevious(Aggregate):
    """Distance from the previous transaction / time since it."""


class Volume(Aggregate):
    """Number of the entity's transactions, whatever their labels."""


@dataclass(frozen=True)
class Risk(Aggregate):
    """Share of known frauds, smoothed: (frauds + share x strength) / (transactions + strength)."""

    share: float = 0.01
    strength: float = 20.0


class Frauds(Aggregate):
    """Number of the entity's known frauds."""


class FraudRecency(Aggregate):
    """Days from the entity's latest known fraud to the transaction's day."""


class FraudRun(Aggregate):
    """Days from the entity's earliest to its latest known fraud in the window."""


@dataclass(frozen=True)
class Feature:
    """A feature's definition.

    Attributes:
        name: the name of its column.
        entity: the entity whose transactions it sees.
        aggregate: the function that it computes over them.
        unit: the unit of its values.
        description: a phrase for documents.
        window: how far back it sees, in seconds; whole days for merchants and categories.
    """

    name: str
    entity: Entity
    aggregate: Aggregate
    unit: str
    description: str
    window: int = 0


FEATURES: tuple[Feature, ...] = (
    Feature("amount", "transaction", Amount(), "currency", "amount of the transaction"),
    Feature(
        "amount_zscore", "customer", ZScore(), "deviations",
        "deviation of the amount from this customer's mean over the previous 30 days", 30 * DAY,
    ),
    Feature(
        "amount_ratio_7d", "customer", RatioToMean(), "ratio",
        "amount relative to this customer's mean over the previous 7 days", 7 * DAY,
    ),
    Feature(
        "amount_ratio_30d", "customer", RatioToMean(), "ratio",
        "amount relative to this customer's mean over the previous 30 days", 30 * DAY,
    ),
    Feature(
        "amount_max_ratio_30d", "customer", RatioToMax(), "ratio",
        "amount relative to this customer's largest of the previous 30 days", 30 * DAY,
    ),
    Feature(
        "largest_ratio_7d", "customer", RecentMaxToMean(7 * DAY), "ratio",
        "this customer's largest amount of the previous 7 days relative to the mean of the previous 30", 30 * DAY,
    ),
    Feature("velocity_1h", "customer", Count(), "count", "this customer's transactions in the previous hour", HOUR),
    Feature("velocity_24h", "customer", Count(), "count", "this customer's transactions in the previous 24 hours", DAY),
    Feature(
        "velocity_7d", "customer", Count(), "count",
        "this customer's transactions in the previous 7 days", 7 * DAY,
    ),
    Feature(
        "spend_7d", "customer", Sum(), "currency",
        "amount that this customer spent in the previous 7 days", 7 * DAY,
    ),
    Feature(
        "seconds_since_previous", "customer", SincePrevious(), "seconds",
        "time since this customer's previous transaction, within 30 days", 30 * DAY,
    ),
    Feature(
        "first_at_merchant", "customer", IsFirstAtMerchant(), "0 or 1",
        "whether it is this customer's first transaction at this merchant in 30 days", 30 * DAY,
    ),
    Feature("hour_of_day", "transaction", HourOfDay(), "hour", "hour of the day, UTC"),
    Feature("is_weekend", "transaction", IsWeekend(), "0 or 1", "whether it is Saturday or Sunday, UTC"),
    Feature("is_night", "transaction", IsNight(6), "0 or 1", "whether it is before 6:00, UTC"),
    Feature(
        "merchant_risk_score", "merchant", Risk(), "share",
        "smoothed share of known frauds at this merchant over the 30 days before the label delay", 30 * DAY,
    ),
    Feature(
        "merchant_risk_7d", "merchant", Risk(), "share",
        "smoothed share of known frauds at this merchant over the 7 days before the label delay", 7 * DAY,
    ),
    Feature(
        "merchant_frauds_30d", "merchant", Frauds(), "count",
        "known frauds at this merchant over the 30 days before the label delay", 30 * DAY,
    ),
    Feature(
        "merchant_fraud_recency", "merchant", FraudRecency(), "days",
        "days since the latest known fraud at this merchant, within 30 days before the label delay", 30 * DAY,
    ),
    Feature(
        "merchant_fraud_run", "merchant", FraudRun(), "days",
        "days from the earliest to the latest known fraud at this merchant, within the same 30 days", 30 * DAY,
    ),
    Feature(
        "merchant_volume_30d", "merchant", Volume(), "count",
        "transactions at this merchant over the 30 days before the label delay", 30 * DAY,
    ),
    Feature(
        "category_risk_score", "merchant_category", Risk(), "share",
        "smoothed share of known frauds in this category over the 30 days before the label delay", 30 * DAY,
    ),
    Feature("distance_from_home", "transaction", DistanceFromHome(), "km", "distance from the customer's home"),
    Feature(
        "distance_from_previous", "customer", DistanceFromPrevious(), "km",
        "distance from this customer's previous transaction, within 30 days", 30 * DAY,
    ),
    Feature(
        "speed_from_previous", "customer", SpeedFromPrevious(), "km/h",
        "speed needed to get here from this customer's previous transaction, within 30 days", 30 * DAY,
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

# How far back a history goes: CUSTOMER_TAIL in seconds for customers' transactions, ENTITY_DAYS in days for counts.
CUSTOMER_TAIL = max(feature.window for feature in FEATURES if feature.entity == "customer")
ENTITY_DAYS = RISK_HISTORY_DAYS
ENTITY_WINDOWS = sorted({feature.window for feature in FEATURES if feature.entity in ENTITIES})
