"""Compiles the feature definitions for Spark, where one machine ends: the local engine's bits, but for distances.

Each formula is Spark SQL, in the local engine's written order; a real number in it bears a D, or it would be a
decimal. There is no Python in the hot path. Rows move between machines once for customers and once for merchants; a
category's days are few and go to the rows instead. Arithmetic is Spark's usual one (``spark.sql.ansi.enabled`` off):
x / 0 is null, and totals may wrap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from fraudline.catalog import features as d
from fraudline.catalog.days import DAY, HOUR

_SECOND = "unix_seconds(timestamp)"
_HOUR = f"second % {DAY} div {HOUR}"


def compute(rows: DataFrame, counts: DataFrame, frauds: DataFrame, delay: int) -> DataFrame:
    """The features of some transactions.

    Args:
        rows: the columns of TRANSACTIONS, and any others; they see each other.
        counts: transactions by entity and day, the columns of COUNTS; the rows' own are among them.
        frauds: known frauds by entity, day and known_day, the columns of FRAUDS.
        delay: whole days before a label counts.

    Returns:
        The rows with one float32 column a feature behind them, null where there is no value; in any order.
    """
    customers, days = Customers(), [Days(entity, delay) for entity in d.ENTITIES]
    sources: dict[str, Any] = {"transaction": None, "customer": customers} | {known.entity: known for known in days}
    formulas = {f.name: _COMPILERS[type(f.aggregate)](sources[f.entity], f) for f in d.FEATURES}
    seen = rows.selectExpr("*", f"{_SECOND} AS second", f"{_SECOND} div {DAY} AS day")
    for known in days:
        seen = known.join(seen, counts, frauds)
    features = (f"float(double({formula})) AS {name}" for name, formula in formulas.items())
    return seen.selectExpr("*", *_named(customers.asked)).selectExpr(*rows.columns, *features)


def counts_of(rows: DataFrame) -> DataFrame:
    """Transactions by entity and day (the columns of COUNTS)."""
    return _per_entity(rows, "transactions", "day")


def frauds_of(rows: DataFrame) -> DataFrame:
    """Known frauds by entity, day and known_day (the columns of FRAUDS), of rows with is_fraud and known_day."""
    return _per_entity(rows.where("is_fraud = 1"), "frauds", "day", "known_day")


def events_of(rows: DataFrame) -> DataFrame:
    """Transactions as what later ones of their customers see of them (the columns of EVENTS)."""
    return rows.selectExpr("customer_id", f"{_SECOND} AS second", "cents", "merchant", "latitude", "longitude")


class Customers:
    """The other transactions of each row's customer in the ``window`` seconds before it, as SQL.

    ``asked`` holds, by name, the columns that the rows must have for it.
    """

    def __init__(self) -> None:
        self.asked: dict[str, str] = {}

    def count(self, window: int) -> str:
        """How many."""
        return self._within("count", "1", window)

    def sum(self, window: int) -> str:
        """Sum of cents."""
        return self._within("sum", "cents", window)

    def squares(self, window: int) -> str:
        """Sum of squared cents; a total may wrap past 2^63, a difference below it comes out right all the same."""
        return self._within("squares", "cents * cents", window)

    def max(self, window: int) -> str:
        """Largest cents, null where there are none."""
        frame = f"RANGE BETWEEN {window} PRECEDING AND 1 PRECEDING"
        return self._ask(f"max_{window}", f"max(cents) OVER (PARTITION BY customer_id ORDER BY second {frame})")

    def latest(self, window: int, field: str) -> str:
        """Second, latitude or longitude of the latest; of peers of a second the north-easternmost."""
        # A place unknown lies behind all others: NaN is the largest number here.
        place = ", ".join(f"coalesce({axis}, double('NaN')) AS {axis}" for axis in ("latitude", "longitude"))
        latest = self._ask("latest", f"max(struct(second, {place})) OVER ({_before(0)})")
        return f"if(second - {latest}.second <= {window}, {latest}.{field}, NULL)"

    def is_first_at_merchant(self, window: int) -> str:
        """Whether none was at the row's own merchant."""
        there = self._ask("there", f"max(second) OVER ({_before(0, 'customer_id, merchant')})")
        return f"coalesce(second - {there} > {window}, true)"

    def _within(self, name: str, value: str, window: int) -> str:
        """The difference of two running totals: its cost does not grow with the window."""
        now, then = (
            self._ask(f"{name}_{back}", f"coalesce(sum({value}) OVER ({_before(back)}), 0)") for back in (0, window)
        )
        return f"({now} - {then})"

    def _ask(self, name: str, column: str) -> str:
        self.asked[name] = column
        return name


class Days:
    """The whole days [day - delay - window, day - delay) of each row's merchant or category, as SQL."""

    def __init__(self, entity: str, delay: int) -> None:
        self.entity, self.delay = entity, delay
        self._counted: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def transactions(self, window: int) -> str:
        """How many, whatever their label; null for a row without the entity."""
        frame = f"RANGE BETWEEN {self.delay + window // DAY} PRECEDING AND {self.delay + 1} PRECEDING"
        total = f"sum(transactions) OVER (PARTITION BY key ORDER BY day {frame})"
        return self._ask(self._counted, f"transactions_{window}", f"coalesce({total}, 0)")

    def frauds(self, window: int) -> str:
        """How many were known to be fraud before the row's day; null for a row without the entity."""
        known = self._ask(self._known, f"frauds_{window}", f"sum(if({self._in(window)}, frauds, 0))")
        return f"if({self.entity}_key IS NULL, NULL, coalesce({known}, 0))"

    def latest_fraud(self, window: int) -> str:
        """Day of the latest of these, null where there is none."""
        return self._ask(self._known, f"latest_{window}", f"max(if({self._in(window)}, day, NULL))")

    def earliest_fraud(self, window: int) -> str:
        """Day of the earliest of these, null where there is none."""
        return self._ask(self._known, f"earliest_{window}", f"min(if({self._in(window)}, day, NULL))")

    def join(self, rows: DataFrame, counts: DataFrame, frauds: DataFrame) -> DataFrame:
        """Rows with ``second`` and ``day``, and behind them all columns that were asked for."""
        counts, frauds = (table.where(f"entity = '{self.entity}'") for table in (counts, frauds))
        # Frauds are rare: each is written out once for every day that sees it, late labels as they come.
        longest = max(feature.window for feature in d.FEATURES if feature.entity == self.entity) // DAY
        first, last = f"greatest(day + {self.delay}, known_day) + 1", f"day + {self.delay + longest}"
        seen = frauds.where(f"{first} <= {last}").selectExpr("*", f"explode(sequence({first}, {last})) AS observed")
        known = seen.groupBy("key", "observed").agg(*(F.expr(column) for column in _named(self._known)))
        days = counts.selectExpr("key", "day", *_named(self._counted))
        days = days.join(known.withColumnRenamed("observed", "day"), ["key", "day"], "left")
        days = days.withColumnsRenamed({"key": f"{self.entity}_key", "day": f"{self.entity}_day"})
        same = f"{self.entity} = {self.entity}_key AND day = {self.entity}_day"
        few = self.entity == "merchant_category"
        return rows.join(F.broadcast(days) if few else days, F.expr(same), "left")

    def _in(self, window: int) -> str:
        return f"observed <= day + {self.delay + window // DAY}"

    def _ask(self, asked: dict[str, str], name: str, column: str) -> str:
        asked[f"{self.entity}_{name}"] = column
        return f"{self.entity}_{name}"


def _named(columns: Mapping[str, str]) -> list[str]:
    return [f"{column} AS {name}" for name, column in columns.items()]


def _per_entity(rows: DataFrame, count: str, *by: str) -> DataFrame:
    days = rows.withColumn("day", F.expr(f"int({_SECOND} div {DAY})"))
    merchants, categories = (
        days.where(f"{entity} IS NOT NULL")
        .groupBy(F.expr(f"'{entity}' AS entity"), F.expr(f"{entity} AS key"), *by)
        .agg(F.expr(f"count(1) AS {count}"))
        for entity in d.ENTITIES
    )
    return merchants.unionByName(categories)


def _before(back: int, by: str = "customer_id") -> str:
    """All that is more than ``back`` seconds before the row, peers of its second outside."""
    return f"PARTITION BY {by} ORDER BY second RANGE BETWEEN UNBOUNDED PRECEDING AND {back + 1} PRECEDING"


def _distance(latitude: str, longitude: str, to_latitude: str, to_longitude: str) -> str:
    """Great-circle distance in km between places in degrees (haversine), null where one is unknown."""
    north, east = (
        f"sin(radians({to} - {start}) / 2)" for start, to in ((latitude, to_latitude), (longitude, to_longitude))
    )
    cosines = f"cos(radians({latitude})) * cos(radians({to_latitude}))"
    chord = f"{north} * {north} + {cosines} * {east} * {east}"
    # Not the smaller of the two: NaN is the largest number here.
    half = f"asin(sqrt(if({chord} > 1 AND NOT isnan({chord}), 1D, {chord})))"
    return f"nullif({2 * d.EARTH_RADIUS}D * {half}, double('NaN'))"


def _distance_from_previous(customers: Customers, window: int) -> str:
    there = (customers.latest(window, axis) for axis in ("latitude", "longitude"))
    return _distance("latitude", "longitude", *there)


def _since_previous(customers: Customers, window: int) -> str:
    return f"(second - {customers.latest(window, 'second')})"


def _zscore(customers: Customers, window: int) -> str:
    count, total = f"double{customers.count(window)}", f"double{customers.sum(window)}"
    mean_square = f"{count} * {customers.squares(window)}"
    variance = f"({mean_square} - {total} * {total})"
    spread = f"if({count} > 1 AND {variance} > 1e-12D * ({mean_square}), {variance}, NULL)"
    return f"({count} * cents - {total}) / sqrt({spread})"


def _recent_max_to_mean(customers: Customers, window: int, recent: int) -> str:
    return f"{customers.max(recent)} * {customers.count(window)} / {customers.sum(window)}"


def _risk(days: Days, window: int, risk: d.Risk) -> str:
    frauds, transactions = days.frauds(window), days.transactions(window)
    return f"({frauds} + {risk.share * risk.strength}D) / ({transactions} + {risk.strength}D)"


_COMPILERS: Mapping[type[d.Aggregate], Callable[[Any, Any], str]] = {
    d.Amount: lambda _, f: "cents / 100",
    d.HourOfDay: lambda _, f: _HOUR,
    d.IsWeekend: lambda _, f: "(day + 3) % 7 >= 5",  # 1970-01-01 was a Thursday
    d.IsNight: lambda _, f: f"{_HOUR} < {f.aggregate.before}",
    d.DistanceFromHome: lambda _, f: _distance("customer_latitude", "customer_longitude", "latitude", "longitude"),
    d.Count: lambda customers, f: customers.count(f.window),
    d.Sum: lambda customers, f: f"{customers.sum(f.window)} / 100",
    d.ZScore: lambda customers, f: _zscore(customers, f.window),
    d.RatioToMean: lambda customers, f: f"cents * {customers.count(f.window)} / {customers.sum(f.window)}",
    d.RatioToMax: lambda customers, f: f"cents / {customers.max(f.window)}",
    d.RecentMaxToMean: lambda customers, f: _recent_max_to_mean(customers, f.window, f.aggregate.recent),
    d.SincePrevious: lambda customers, f: _since_previous(customers, f.window),
    d.IsFirstAtMerchant: lambda customers, f: customers.is_first_at_merchant(f.window),
    d.DistanceFromPrevious: lambda customers, f: _distance_from_previous(customers, f.window),
    d.SpeedFromPrevious: lambda customers, f: (
        f"{_distance_from_previous(customers, f.window)} / ({_since_previous(customers, f.window)} / {HOUR})"
    ),
    d.Volume: lambda days, f: days.transactions(f.window),
    d.Risk: lambda days, f: _risk(days, f.window, f.aggregate),
    d.Frauds: lambda days, f: days.frauds(f.window),
    d.FraudRecency: lambda days, f: f"day - {days.latest_fraud(f.window)}",
    d.FraudRun: lambda days, f: f"{days.latest_fraud(f.window)} - {days.earliest_fraud(f.window)}",
}
