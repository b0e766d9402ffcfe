"""The 25 features, as data: engines compile this table, documents print it, the contract hashes it.

A feature of a transaction at second t of day T sees its customer's *other* transactions in
[t - window, t): half-open, so neither the row itself nor its same-second peers count. A feature of a
merchant or category sees whole days, [T - delay - window, T - delay), and only labels known before T.

Nothing but the standard library is imported here, so that every engine can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fraudline.catalog.days import DAY, HOUR, RISK_HISTORY_DAYS

Entity = Literal["transaction", "customer", "merchant", "merchant_category"]
# Those of which whole days are counted.
ENTITIES: tuple[Entity, ...] = ("merchant", "merchant_category")
EARTH_RADIUS = 6371.0088  # km, the mean radius of the IUGG


@dataclass(frozen=True)
class Aggregate:
    """What a feature computes over what it sees; null where it sees nothing to compute it from."""


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
    """(amount - mean) / standard deviation; null below two transactions or where all are equal.

    "All equal" is a variance below 1e-12 of the mean square: past 2^53 a smaller one is rounding.
    """


class RatioToMean(Aggregate):
    """amount / mean; null where the mean is zero."""


class RatioToMax(Aggregate):
    """amount / largest amount; null where that is zero."""


@dataclass(frozen=True)
class RecentMaxToMean(Aggregate):
    """Largest amount of the last ``recent`` seconds / mean; null where none is in them or the mean is zero."""

    recent: int


class SincePrevious(Aggregate):
    """Seconds since the latest transaction."""


class IsFirstAtMerchant(Aggregate):
    """1 where none was at this merchant, else 0."""


class DistanceFromPrevious(Aggregate):
    """Great-circle distance from the latest transaction (of same-second peers the north-easternmost)."""


class SpeedFromPrevious(Aggregate):
    """Distance from the latest transaction over the time since."""


class Volume(Aggregate):
    """Transactions of the entity."""


@dataclass(frozen=True)
class Risk(Aggregate):
    """Share of known frauds, smoothed: (frauds + share x strength) / (transactions + strength)."""

    share: float = 0.01
    strength: float = 20.0


class Frauds(Aggregate):
    """Known frauds of the entity."""


class FraudRecency(Aggregate):
    """Days from the latest known fraud to the transaction's day."""


class FraudRun(Aggregate):
    """Days from the earliest to the latest known fraud in the window."""


@dataclass(frozen=True)
class Feature:
    """One feature. ``window`` is in seconds for a customer and in whole days x 86,400 for other entities."""

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
        "how far the amount lies from this customer's mean of the 30 days before", 30 * DAY,
    ),
    Feature(
        "amount_ratio_7d", "customer", RatioToMean(), "ratio",
        "amount over this customer's mean of the 7 days before", 7 * DAY,
    ),
    Feature(
        "amount_ratio_30d", "customer", RatioToMean(), "ratio",
        "amount over this customer's mean of the 30 days before", 30 * DAY,
    ),
    Feature(
        "amount_max_ratio_30d", "customer", RatioToMax(), "ratio",
        "amount over this customer's largest of the 30 days before", 30 * DAY,
    ),
    Feature(
        "largest_ratio_7d", "customer", RecentMaxToMean(7 * DAY), "ratio",
        "this customer's largest amount of the 7 days before over their mean of the 30 days before", 30 * DAY,
    ),
    Feature("velocity_1h", "customer", Count(), "count", "transactions of this customer in the hour before", HOUR),
    Feature("velocity_24h", "customer", Count(), "count", "transactions of this customer in the 24 h before", DAY),
    Feature("velocity_7d", "customer", Count(), "count", "transactions of this customer in the 7 days before", 7 * DAY),
    Feature("spend_7d", "customer", Sum(), "currency", "amount spent by this customer in the 7 days before", 7 * DAY),
    Feature(
        "seconds_since_previous", "customer", SincePrevious(), "seconds",
        "time since this customer's previous transaction, within 30 days", 30 * DAY,
    ),
    Feature(
        "first_at_merchant", "customer", IsFirstAtMerchant(), "0 or 1",
        "this customer was not at this merchant in the 30 days before", 30 * DAY,
    ),
    Feature("hour_of_day", "transaction", HourOfDay(), "hour", "hour of the day, UTC"),
    Feature("is_weekend", "transaction", IsWeekend(), "0 or 1", "Saturday or Sunday, UTC"),
    Feature("is_night", "transaction", IsNight(6), "0 or 1", "before six in the morning, UTC"),
    Feature(
        "merchant_risk_score", "merchant", Risk(), "share",
        "smoothed share of known frauds at this merchant over 30 days, older than the label delay", 30 * DAY,
    ),
    Feature(
        "merchant_risk_7d", "merchant", Risk(), "share",
        "smoothed share of known frauds at this merchant over 7 days, older than the label delay", 7 * DAY,
    ),
    Feature(
        "merchant_frauds_30d", "merchant", Frauds(), "count",
        "known frauds at this merchant over 30 days, older than the label delay", 30 * DAY,
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
        "transactions at this merchant over 30 days, older than the label delay", 30 * DAY,
    ),
    Feature(
        "category_risk_score", "merchant_category", Risk(), "share",
        "smoothed share of known frauds in this category over 30 days, older than the label delay", 30 * DAY,
    ),
    Feature("distance_from_home", "transaction", DistanceFromHome(), "km", "distance from the customer's home"),
    Feature(
        "distance_from_previous", "customer", DistanceFromPrevious(), "km",
        "distance from this customer's previous transaction, within 30 days", 30 * DAY,
    ),
    Feature(
        "speed_from_previous", "customer", SpeedFromPrevious(), "km/h",
        "speed that the distance from the previous transaction takes", 30 * DAY,
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

# How much of the past a history must hold: seconds of a customer's transactions, days of an entity's counts.
CUSTOMER_TAIL = max(feature.window for feature in FEATURES if feature.entity == "customer")
ENTITY_DAYS = RISK_HISTORY_DAYS
ENTITY_WINDOWS = sorted({feature.window for feature in FEATURES if feature.entity in ENTITIES})
