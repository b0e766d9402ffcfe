"""The Spark engine: compile the features to Spark SQL, for more rows than one computer can process.

It produces the same bits as the NumPy engine, except for distances. Each formula keeps that engine's order of
operations. Real numbers end in D, because Spark would otherwise read them as decimals. No Python runs per row. Rows
are shuffled once by customer and once by merchant; the days of categories are few, so they are broadcast instead.
``spark.sql.ansi.enabled`` must be off: the formulas rely on x / 0 being null, and on sums that wrap around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from fraudline.catalog.days import DAY, HOUR
from fraudline.catalog.features import (
    EARTH_RADIUS,
    ENTITIES,
    FEATURES,
    Aggregate,
    Amount,
    Count,
    DistanceFromHome,
    DistanceFromPrevious,
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

_SECOND = "unix_seconds(timestamp)"
_HOUR = f"second % {DAY} div {HOUR}"
# Categories are few: a shuffle by category would be skewed, and their days are small enough for every executor.
_BROADCAST = ("merchant_category",)


def compute(rows: DataFrame, counts: DataFrame, frauds: DataFrame, delay: int) -> DataFrame:
    """Compute the features of transactions.

    Args:
        rows: the columns of TRANSACTIONS and any others; the rows see each other.
        counts: transactions by entity and day, the columns of COUNTS; they include the rows themselves.
        frauds: known frauds by entity, day and known_day, the columns of FRAUDS.
        delay: whole days before a label counts.

    Returns:
        The rows, in any order, followed by one float32 column per feature, null for no value.
    """
    customers, entities = Customers(), [Days(entity, delay) for entity in ENTITIES]
    sources: dict[str, Any] = {"transaction": None, "customer": customers}
    sources |= {days.entity: days for days in entities}
    # Compile the formulas first: that collects the columns that they need.
    formulas = {f.name: _FORMULAS[type(f.aggregate)](sources[f.entity], f) for f in FEATURES}
    joined = rows.selectExpr("*", f"{_SECOND} AS second", f"{_SECOND} div {DAY} AS day")
    for days in entities:
        joined = days.join(joined, counts, frauds)
    features = (f"float(double({formula})) AS {name}" for name, formula in formulas.items())
    return joined.selectExpr("*", *_aliased(customers.columns)).selectExpr(*rows.columns, *features)


def counts_of(rows: DataFrame) -> DataFrame:
    """Count transactions by entity and day (the columns of COUNTS)."""
    return _per_entity(rows, "transactions", "day")


def frauds_of(rows: DataFrame) -> DataFrame:
    """Count known frauds by entity, day and known_day (the columns of FRAUDS) in rows with is_fraud and known_day."""
    return _per_entity(rows.where("is_fraud = 1"), "frauds", "day", "known_day")


def events_of(rows: DataFrame) -> DataFrame:
    """Return the columns of transactions that later ones of a customer see (the columns of EVENTS)."""
    return rows.selectExpr("customer_id", f"{_SECOND} AS second", "cents", "merchant", "latitude", "longitude")


class Customers:
    """The other transactions of each row's customer in the ``window`` seconds before the row, as SQL.

    Attributes:
        columns: the columns that the returned expressions need, by name.
    """

    def __init__(self) -> None:
        self.columns: dict[str, str] = {}

    def count(self, window: int) -> str:
        """Return the number of transactions."""
        return self._within("count", "1", window)

    def sum(self, window: int) -> str:
        """Return the sum of cents."""
        return self._within("sum", "cents", window)

    def squares(self, window: int) -> str:
        """Return the sum of squared cents.

        A running total may overflow 2^63, but differences below 2^63 are still exact.
        """
        return self._within("squares", "cents * cents", window)

    def max(self, window: int) -> str:
        """Return the largest cents, null for an empty window."""
        frame = f"RANGE BETWEEN {window} PRECEDING AND 1 PRECEDING"
        return self._column(f"max_{window}", f"max(cents) OVER (PARTITION BY customer_id ORDER BY second {frame})")

    def previous(self, window: int, field: str) -> str:
        """Return a field of the previous transaction; if several share its second, of the north-easternmost.

        Args:
            window: in seconds.
            field: second, latitude or longitude.
        """
        # NaN is Spark's largest number, so unknown coordinates come last, as in the NumPy engine.
        axes = ", ".join(f"coalesce({axis}, double('NaN')) AS {axis}" for axis in ("latitude", "longitude"))
        latest = self._column("latest", f"max(struct(second, {axes})) OVER ({_earlier(0)})")
        return f"if(second - {latest}.second <= {window}, {latest}.{field}, NULL)"

    def is_first_at_merchant(self, window: int) -> str:
        """Return true where the customer has no transaction at the row's merchant in the window."""
        latest = self._column("latest_at_merchant", f"max(second) OVER ({_earlier(0, 'customer_id, merchant')})")
        return f"coalesce(second - {latest} > {window}, true)"

    def _within(self, name: str, value: str, window: int) -> str:
        """Return a window's total: a difference of two running totals, whose cost does not grow with the window."""
        now, then = (
            self._column(f"{name}_{back}", f"coalesce(sum({value}) OVER ({_earlier(back)}), 0)") for back in (0, window)
        )
        return f"({now} - {then})"

    def _column(self, name: str, expression: str) -> str:
        """Add a column that the rows must have, and return its name."""
        self.columns[name] = expression
        return name


class Days:
    """The whole days [day - delay - window, day - delay) of each row's merchant or category, as SQL."""

    def __init__(self, entity: str, delay: int) -> None:
        self.entity, self.delay = entity, delay
        self._count_columns: dict[str, str] = {}
        self._fraud_columns: dict[str, str] = {}

    def transactions(self, window: int) -> str:
        """Return the number of transactions, whatever their labels; null for a row without the entity."""
        frame = f"RANGE BETWEEN {self.delay + window // DAY} PRECEDING AND {self.delay + 1} PRECEDING"
        total = f"sum(transactions) OVER (PARTITION BY key ORDER BY day {frame})"
        return self._column(self._count_columns, f"transactions_{window}", f"coalesce({total}, 0)")

    def frauds(self, window: int) -> str:
        """Return the number of frauds that were known before the row's day; null for a row without the entity."""
        frauds = self._column(self._fraud_columns, f"frauds_{window}", f"sum(if({self._within(window)}, frauds, 0))")
        return f"if({self.entity}_key IS NULL, NULL, coalesce({frauds}, 0))"

    def latest_fraud(self, window: int) -> str:
        """Return the day of the latest of these frauds, null where there is none."""
        return self._column(self._fraud_columns, f"latest_{window}", f"max(if({self._within(window)}, day, NULL))")

    def earliest_fraud(self, window: int) -> str:
        """Return the day of the earliest of these frauds, null where there is none."""
        return self._column(self._fraud_columns, f"earliest_{window}", f"min(if({self._within(window)}, day, NULL))")

    def join(self, rows: DataFrame, counts: DataFrame, frauds: DataFrame) -> DataFrame:
        """Add every column that the compiled expressions need to rows, which have ``second`` and ``day``."""
        counts, frauds = (table.where(f"entity = '{self.entity}'") for table in (counts, frauds))
        days = counts.selectExpr("key", "day", *_aliased(self._count_columns))
        days = days.join(self._by_observing_day(frauds), ["key", "day"], "left")
        days = days.withColumnsRenamed({"key": f"{self.entity}_key", "day": f"{self.entity}_day"})
        same = f"{self.entity} = {self.entity}_key AND day = {self.entity}_day"
        return rows.join(F.broadcast(days) if self.entity in _BROADCAST else days, F.expr(same), "left")

    def _by_observing_day(self, frauds: DataFrame) -> DataFrame:
        """Return the known frauds that each key and day sees, aggregated."""
        # Frauds are rare, so each can be repeated for every day that sees it; a late label is seen later.
        longest = max(feature.window for feature in FEATURES if feature.entity == self.entity) // DAY
        first, last = f"greatest(day + {self.delay}, known_day) + 1", f"day + {self.delay + longest}"
        seen = frauds.where(f"{first} <= {last}").selectExpr("*", f"explode(sequence({first}, {last})) AS observed")
        columns = (F.expr(column) for column in _aliased(self._fraud_columns))
        return seen.groupBy("key", "observed").agg(*columns).withColumnRenamed("observed", "day")

    def _within(self, window: int) -> str:
        return f"observed <= day + {self.delay + window // DAY}"

    def _column(self, columns: dict[str, str], name: str, expression: str) -> str:
        """Add a column that the rows must have, and return its name."""
        columns[f"{self.entity}_{name}"] = expression
        return f"{self.entity}_{name}"


def _aliased(columns: Mapping[str, str]) -> list[str]:
    return [f"{expression} AS {name}" for name, expression in columns.items()]


def _per_entity(rows: DataFrame, count: str, *by: str) -> DataFrame:
    days = rows.withColumn("day", F.expr(f"int({_SECOND} div {DAY})"))
    merchants, categories = (
        days.where(f"{entity} IS NOT NULL")
        .groupBy(F.expr(f"'{entity}' AS entity"), F.expr(f"{entity} AS key"), *by)
        .agg(F.expr(f"count(1) AS {count}"))
        for entity in ENTITIES
    )
    return merchants.unionByName(categories)


def _earlier(back: int, by: str = "customer_id") -> str:
    """Return the window of all rows more than ``back`` seconds earlier; rows of the same second are excluded."""
    return f"PARTITION BY {by} ORDER BY second RANGE BETWEEN UNBOUNDED PRECEDING AND {back + 1} PRECEDING"


def _distance(latitude: str, longitude: str, to_latitude: str, to_longitude: str) -> str:
    """Return the great-circle distance in km between coordinates in degrees (haversine), null if one is unknown."""
    north = f"sin(radians({to_latitude} - {latitude}) / 2)"
    east = f"sin(radians({to_longitude} - {longitude}) / 2)"
    cosines = f"cos(radians({latitude})) * cos(radians({to_latitude}))"
    chord = f"{north} * {north} + {cosines} * {east} * {east}"
    # Not least(chord, 1): it would turn NaN, which is Spark's largest number, into 1.
    half = f"asin(sqrt(if({chord} > 1 AND NOT isnan({chord}), 1D, {chord})))"
    return f"nullif({2 * EARTH_RADIUS}D * {half}, double('NaN'))"


def _distance_from_previous(customers: Customers, window: int) -> str:
    coordinates = (customers.previous(window, axis) for axis in ("latitude", "longitude"))
    return _distance("latitude", "longitude", *coordinates)


def _since_previous(customers: Customers, window: int) -> str:
    return f"(second - {customers.previous(window, 'second')})"


def _zscore(customers: Customers, window: int) -> str:
    count, total = f"double{customers.count(window)}", f"double{customers.sum(window)}"
    mean_square = f"{count} * {customers.squares(window)}"
    variance = f"({mean_square} - {total} * {total})"
    spread = f"if({count} > 1 AND {variance} > 1e-12D * ({mean_square}), {variance}, NULL)"
    return f"({count} * cents - {total}) / sqrt({spread})"


def _recent_max_to_mean(customers: Customers, window: int, recent: int) -> str:
    return f"{customers.max(recent)} * {customers.count(window)} / {customers.sum(window)}"


def _risk(days: Days, window: int, risk: Risk) -> str:
    frauds, transactions = days.frauds(window), days.transactions(window)
    return f"({frauds} + {risk.share * risk.strength}D) / ({transactions} + {risk.strength}D)"


# Each formula takes the source of its feature's entity (None, Customers or Days) and the feature.
_FORMULAS: Mapping[type[Aggregate], Callable[[Any, Any], str]] = {
    Amount: lambda _, f: "cents / 100",
    HourOfDay: lambda _, f: _HOUR,
    IsWeekend: lambda _, f: "(day + 3) % 7 >= 5",  # 1970-01-01 was a Thursday
    IsNight: lambda _, f: f"{_HOUR} < {f.aggregate.before}",
    DistanceFromHome: lambda _, f: _distance("customer_latitude", "customer_longitude", "latitude", "longitude"),
    Count: lambda customers, f: customers.count(f.window),
    Sum: lambda customers, f: f"{customers.sum(f.window)} / 100",
    ZScore: lambda customers, f: _zscore(customers, f.window),
    RatioToMean: lambda customers, f: f"cents * {customers.count(f.window)} / {customers.sum(f.window)}",
    RatioToMax: lambda customers, f: f"cents / {customers.max(f.window)}",
    RecentMaxToMean: lambda customers, f: _recent_max_to_mean(customers, f.window, f.aggregate.recent),
    SincePrevious: lambda customers, f: _since_previous(customers, f.window),
    IsFirstAtMerchant: lambda customers, f: customers.is_first_at_merchant(f.window),
    DistanceFromPrevious: lambda customers, f: _distance_from_previous(customers, f.window),
    SpeedFromPrevious: lambda customers, f: (
        f"{_distance_from_previous(customers, f.window)} / ({_since_previous(customers, f.window)} / {HOUR})"
    ),
    Volume: lambda days, f: days.transactions(f.window),
    Risk: lambda days, f: _risk(days, f.window, f.aggregate),
    Frauds: lambda days, f: days.frauds(f.window),
    FraudRecency: lambda days, f: f"day - {days.latest_fraud(f.window)}",
    FraudRun: lambda days, f: f"{days.latest_fraud(f.window)} - {days.earliest_fraud(f.window)}",
}
