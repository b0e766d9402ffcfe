"""What the local engine can see of the past, as arrays: a customer's window, an entity's whole days.

Windows are differences of prefix sums over sorted keys: two binary searches a row, whatever their
length. Amounts are integer cents here, so no result depends on the order of rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.days import DAY
from fraudline.features import definitions
from fraudline.features.history import History

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EARTH_RADIUS = 6371.0088  # km, the mean radius of the IUGG


class Rows:
    """The transactions to compute, in their given order: second, cents, day and place of each."""

    def __init__(self, transactions: pl.DataFrame) -> None:
        self.table = transactions
        self.second: Ints = transactions.get_column("timestamp").dt.epoch("s").to_numpy()
        self.cents: Ints = transactions.get_column("cents").to_numpy()
        self.day: Ints = self.second // DAY

    def column(self, name: str) -> Floats:
        """A column of numbers, NaN where null."""
        return self.table.get_column(name).cast(pl.Float64).to_numpy()


class Customers:
    """The other transactions of each row's customer in the ``window`` seconds before it, the row outside."""

    def __init__(self, rows: Rows, events: pl.DataFrame) -> None:
        self.rows = rows
        code, row_code = _codes(events.get_column("customer_id"), rows.table.get_column("customer_id"))
        second: Ints = events.get_column("second").to_numpy()
        self._first = int(second.min(initial=np.iinfo(np.int64).max))
        # Wide enough that a window reaching below a customer's first event stays above the customer before.
        self._span = int(second.max(initial=self._first)) - self._first + 1 + definitions.CUSTOMER_TAIL
        key = self._key(code, second)
        place = [events.get_column(axis).cast(pl.Float64).to_numpy() for axis in ("latitude", "longitude")]
        located = not any(np.isnan(axis).all() for axis in place)
        order = np.lexsort((place[1], place[0], key)) if located else np.argsort(key, kind="stable")
        self._keys, self._row_key = key[order], self._key(row_code, rows.second)
        self._end = np.searchsorted(self._keys, self._row_key)
        self._starts: dict[int, Ints] = {}
        self._cents: Ints = events.get_column("cents").to_numpy()[order]
        self._second, self._latitude, self._longitude = second[order], place[0][order], place[1][order]
        self._unsorted = code, row_code, second, events.get_column("merchant")

    def count(self, window: int) -> Ints:
        """How many."""
        return self._end - self._start(window)

    def sum(self, window: int) -> Ints:
        """Sum of cents."""
        return self._sums[self._end] - self._sums[self._start(window)]

    def squares(self, window: int) -> Ints:
        """Sum of squared cents."""
        return self._squares[self._end] - self._squares[self._start(window)]

    def max(self, window: int) -> Ints:
        """Largest cents, 0 where there are none: the larger of two overlapping runs of a power of two."""
        start, length = self._start(window), self.count(window)
        level = np.frexp(np.maximum(length, 1).astype(np.float64))[1] - 1
        largest = np.zeros(len(start), np.int64)
        runs = self._cents
        for power in range(int(level.max(initial=0)) + 1):
            here = np.flatnonzero((level == power) & (length > 0))
            largest[here] = np.maximum(runs[start[here]], runs[self._end[here] - (1 << power)])
            runs = np.maximum(runs[: -(1 << power)], runs[1 << power :])
        return largest

    def since_previous(self, window: int) -> Floats:
        """Seconds since the latest, NaN where there is none."""
        latest = self._second[self._latest]
        return np.where(self.count(window) > 0, self.rows.second - latest, np.nan)

    def distance_from_previous(self, window: int) -> Floats:
        """Kilometres from the latest, NaN where there is none or a place is unknown."""
        here = self.rows.column("latitude"), self.rows.column("longitude")
        there = self._latitude[self._latest], self._longitude[self._latest]
        return np.where(self.count(window) > 0, distance(*here, *there), np.nan)

    def count_at_merchant(self, window: int) -> Ints:
        """How many at the row's own merchant."""
        code, row_code, second, merchants = self._unsorted
        merchant, row_merchant = _codes(merchants, self.rows.table.get_column("merchant"))
        stride = int(max(merchant.max(initial=0), row_merchant.max(initial=0))) + 1
        pairs = np.concatenate([code * stride + merchant, row_code * stride + row_merchant])
        # Dense again: customers x merchants x seconds would pass 2^63 at a large bank.
        dense = np.unique(pairs, return_inverse=True)[1]
        keys = np.sort(self._key(dense[: len(code)], second))
        row_key = self._key(dense[len(code) :], self.rows.second)
        return np.searchsorted(keys, row_key) - np.searchsorted(keys, row_key - window)

    def _key(self, code: Ints, second: Ints) -> Ints:
        return code * self._span + (second - self._first)

    def _start(self, window: int) -> Ints:
        if window not in self._starts:
            self._starts[window] = np.searchsorted(self._keys, self._row_key - window)
        return self._starts[window]

    @cached_property
    def _latest(self) -> Ints:
        return np.maximum(self._end - 1, 0)

    @cached_property
    def _sums(self) -> Ints:
        return _prefix(self._cents)

    @cached_property
    def _squares(self) -> Ints:
        # The prefix may wrap past 2^63; a difference that is itself below 2^63 comes out right all the same.
        return _prefix(self._cents * self._cents)


class EntityDays:
    """The whole days [day - delay - window, day - delay) of each row's merchant or category."""

    def __init__(self, rows: Rows, history: History, entity: str, delay: int) -> None:
        counts = history.counts.filter(pl.col("entity") == entity)
        self._frauds = history.frauds.filter(pl.col("entity") == entity)
        keys = rows.table.get_column(entity)
        self._code, self._row_code = _codes(counts.get_column("key"), keys)
        self._fraud_code, self._row_fraud_code = _codes(self._frauds.get_column("key"), keys)
        self.day, self._delay = rows.day, delay
        self.known = keys.is_not_null().to_numpy()
        days = np.concatenate([counts.get_column("day").to_numpy(), rows.day]).astype(np.int64)
        self._first = int(days.min(initial=0)) - 2 * definitions.ENTITY_DAYS
        self._span = int(days.max(initial=0)) - self._first + 2 * definitions.ENTITY_DAYS
        key = self._key(self._code, counts.get_column("day").to_numpy().astype(np.int64))
        order = np.argsort(key, kind="stable")
        self._keys, self._counts = key[order], _prefix(counts.get_column("transactions").to_numpy()[order])
        self._seen: dict[int, tuple[Ints, Floats, Floats]] = {}

    def transactions(self, window: int) -> Ints:
        """How many, whatever their label."""
        last = self._key(self._row_code, self.day - self._delay)
        start, end = np.searchsorted(self._keys, last - window // DAY), np.searchsorted(self._keys, last)
        return self._counts[end] - self._counts[start]

    def frauds(self, window: int) -> Ints:
        """How many were known to be fraud before the row's day."""
        return self._known_frauds(window)[0]

    def latest_fraud(self, window: int) -> Floats:
        """Day of the latest of these, NaN where there is none."""
        return self._known_frauds(window)[1]

    def earliest_fraud(self, window: int) -> Floats:
        """Day of the earliest of these, NaN where there is none."""
        return self._known_frauds(window)[2]

    def _known_frauds(self, window: int) -> tuple[Ints, Floats, Floats]:
        if window not in self._seen:
            seen = self._by_observing_day(window // DAY)
            keys = self._key(seen["code"], seen["observed"])
            wanted = self._key(self._row_fraud_code, self.day)
            at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
            hit = keys[at] == wanted if len(keys) else np.zeros(len(wanted), bool)
            at = at[hit]
            count, latest, earliest = np.zeros(len(wanted), np.int64), *np.full((2, len(wanted)), np.nan)
            count[hit], latest[hit], earliest[hit] = seen["frauds"][at], seen["latest"][at], seen["earliest"][at]
            self._seen[window] = count, latest, earliest
        return self._seen[window]

    def _by_observing_day(self, window: int) -> dict[str, Any]:
        """Each (entity, day on which it is looked at) from which any known fraud is visible, sorted."""
        # Frauds are rare: each is written out once for every day that sees it, late labels as they come.
        day, first = pl.col("day"), pl.max_horizontal(pl.col("day") + self._delay, pl.col("known_day")) + 1
        looked_at = (int(self.day.min(initial=0)), int(self.day.max(initial=0)))
        seen = (
            self._frauds.with_columns(pl.Series("code", self._fraud_code))
            .with_columns(
                pl.max_horizontal(first, pl.lit(looked_at[0])).alias("from"),
                pl.min_horizontal(day + self._delay + window, pl.lit(looked_at[1])).alias("to"),
            )
            .filter(pl.col("from") <= pl.col("to"))
            .with_columns(pl.int_ranges("from", pl.col("to") + 1).alias("observed"))
            .explode("observed")
            .group_by("code", "observed")
            .agg(pl.col("frauds").sum(), day.max().alias("latest"), day.min().alias("earliest"))
            .sort("code", "observed")
        )
        return {name: seen.get_column(name).to_numpy().astype(np.int64) for name in seen.columns}

    def _key(self, code: Ints, day: Ints) -> Ints:
        return code * self._span + (day - self._first)


def distance(latitude: Floats, longitude: Floats, to_latitude: Floats, to_longitude: Floats) -> Floats:
    """Great-circle distance in km between places in degrees (haversine), NaN where one is unknown."""
    north, east = np.radians(to_latitude - latitude) / 2, np.radians(to_longitude - longitude) / 2
    cosines = np.cos(np.radians(latitude)) * np.cos(np.radians(to_latitude))
    chord = np.sin(north) ** 2 + cosines * np.sin(east) ** 2
    kilometres: Floats = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return kilometres


def _prefix(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])


def _codes(known: pl.Series, wanted: pl.Series) -> tuple[Ints, Ints]:
    """Integers for the strings of two columns, equal where they are; -1 for a null."""
    both = pl.concat([known, wanted]).cast(pl.Categorical)
    codes = both.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    return codes[: len(known)], codes[len(known) :]
