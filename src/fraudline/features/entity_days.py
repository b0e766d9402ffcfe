"""Counts of whole days by merchant and category, for the NumPy engine: transactions, and known frauds."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.days import DAY
from fraudline.catalog.features import ENTITY_DAYS, ENTITY_WINDOWS
from fraudline.features.windows import Floats, Ints, codes_of, prefix_sums

# A table of positions has at most this many cells, of 4 bytes each.
TABLE_CELLS = 1 << 25


class KnownFrauds(NamedTuple):
    """Known frauds in one window: their number, and the days of the latest and the earliest, NaN if there is none."""

    frauds: Ints
    latest: Floats
    earliest: Floats


class Positions:
    """A function that finds the positions of keys in a sorted array, like ``np.searchsorted``, from a table if it fits.

    Args:
        keys: the sorted array: distinct keys from 0 to ``size`` - 1.
        size: the largest key that may be looked up.
    """

    def __init__(self, keys: Ints, size: int) -> None:
        self.keys = keys
        self._table: NDArray[np.int32] | None = None
        if size < TABLE_CELLS:
            # For keys in random order, a binary search misses the cache at every step, a table lookup at most once.
            self._table = np.zeros(size + 1, np.int32)
            self._table[keys + 1] = 1
            np.cumsum(self._table, out=self._table)

    def __call__(self, keys: Ints) -> NDArray[np.integer[Any]]:
        """Return how many of the sorted keys are smaller than each key."""
        return np.searchsorted(self.keys, keys) if self._table is None else self._table[keys]


class EntityDays:
    """The days of all merchants, or of all categories, that rows of the days ``first`` to ``last`` can see.

    Args:
        entity: merchant or merchant_category.
        counts: transactions by entity and day, schema COUNTS.
        frauds: known frauds by entity, day and known_day, schema FRAUDS.
        delay: whole days before a label counts.
        first: day number of the first day.
        last: day number of the last day.
    """

    def __init__(
        self, entity: str, counts: pl.DataFrame, frauds: pl.DataFrame, delay: int, first: int, last: int
    ) -> None:
        self.delay = delay
        counts, frauds = (table.filter(pl.col("entity") == entity) for table in (counts, frauds))
        day: Ints = counts.get_column("day").to_numpy().astype(np.int64)
        # Wide enough that no window reaches into the days of another entity.
        self._first = min(int(day.min(initial=first)), first) - 2 * ENTITY_DAYS
        self._span = max(int(day.max(initial=last)), last) - self._first + 2 * ENTITY_DAYS
        # Polars keeps the codes of a set of categories only while a column with them exists, here _names.
        self._type = pl.Categorical(pl.Categories.random())
        self._names = counts.get_column("key").cast(self._type)
        codes = codes_of(self._names)
        coded_frauds = frauds.with_columns(pl.Series("code", codes_of(frauds.get_column("key").cast(self._type))))
        # One extra code for all entities without counts and frauds.
        self._unknown = int(max(codes.max(initial=-1), coded_frauds.get_column("code").max() or 0)) + 1
        keys = self._keys(codes, day)
        order = np.argsort(keys)
        self.counts = prefix_sums(counts.get_column("transactions").to_numpy()[order])
        self.positions = Positions(keys[order], self._size)
        self.observed, self.frauds = self._by_observing_day(coded_frauds, first, last)

    def keys(self, names: pl.Series, day: Ints) -> Ints:
        """Return one integer for each entity and day, ordered by entity, then by day."""
        codes = codes_of(names.cast(self._type))
        return self._keys(np.where((codes < 0) | (codes > self._unknown), self._unknown, codes), day)

    def _keys(self, codes: Ints, day: Ints) -> Ints:
        return codes * self._span + (day - self._first)

    @property
    def _size(self) -> int:
        return (self._unknown + 1) * self._span

    def _by_observing_day(
        self, frauds: pl.DataFrame, first: int, last: int
    ) -> tuple[Positions, dict[int, KnownFrauds]]:
        """Group known frauds by entity and observing day, a day whose rows see them.

        Returns:
            The positions of the entities and observing days, and the frauds that they see, by window.
        """
        # Frauds are rare, so each can be repeated for every day that sees it; a late label is seen later.
        visible = pl.max_horizontal(pl.col("day") + self.delay, pl.col("known_day")) + 1
        seen = (
            frauds.with_columns(
                pl.max_horizontal(visible, pl.lit(first)).alias("from"),
                pl.min_horizontal(self._last_observing_day(ENTITY_WINDOWS[-1]), pl.lit(last)).alias("to"),
            )
            .filter(pl.col("from") <= pl.col("to"))
            .with_columns(pl.int_ranges("from", pl.col("to") + 1).alias("observed"))
            .explode("observed")
            .group_by("code", "observed")
            .agg(column for window in ENTITY_WINDOWS for column in self._frauds_within(window))
            .sort("code", "observed")
        )
        codes, days = (seen.get_column(name).to_numpy().astype(np.int64) for name in ("code", "observed"))
        by_window = {window: _frauds_of(seen, window) for window in ENTITY_WINDOWS}
        return Positions(self._keys(codes, days), self._size), by_window

    def _last_observing_day(self, window: int) -> pl.Expr:
        return pl.col("day") + self.delay + window // DAY

    def _frauds_within(self, window: int) -> list[pl.Expr]:
        """Return the fields of KnownFrauds, aggregated over the frauds in the observing day's window."""
        within = pl.col("observed") <= self._last_observing_day(window)
        frauds, day = pl.col("frauds").filter(within), pl.col("day").filter(within)
        columns = {"frauds": frauds.sum(), "latest": day.max().cast(pl.Float64), "earliest": day.min().cast(pl.Float64)}
        return [column.alias(f"{name}_{window}") for name, column in columns.items()]


class SeenDays:
    """The whole days [day - delay - window, day - delay) of each row's entity.

    Args:
        entity_days: the days of all entities.
        names: the entity of each row, null if it has none.
        day: the day number of each row.
    """

    def __init__(self, entity_days: EntityDays, names: pl.Series, day: Ints) -> None:
        self._entity_days, self.day = entity_days, day
        self.has_entity: NDArray[np.bool_] = names.is_not_null().to_numpy()
        self._keys = entity_days.keys(names, day)
        self._end = entity_days.positions(self._keys - entity_days.delay)
        self._counted: dict[int, Ints] = {}
        self._looked_up: dict[int, KnownFrauds] = {}

    def transactions(self, window: int) -> Ints:
        """Return the number of transactions, whatever their labels."""
        if window not in self._counted:
            entity_days = self._entity_days
            start = entity_days.positions(self._keys - entity_days.delay - window // DAY)
            self._counted[window] = entity_days.counts[self._end] - entity_days.counts[start]
        return self._counted[window]

    def frauds(self, window: int) -> Ints:
        """Return the number of frauds that were known before the row's day."""
        return self._frauds(window).frauds

    def latest_fraud(self, window: int) -> Floats:
        """Return the day of the latest of these frauds, NaN where there is none."""
        return self._frauds(window).latest

    def earliest_fraud(self, window: int) -> Floats:
        """Return the day of the earliest of these frauds, NaN where there is none."""
        return self._frauds(window).earliest

    def _frauds(self, window: int) -> KnownFrauds:
        if window not in self._looked_up:
            positions, rows = self._observed
            size = len(self._keys)
            seen = KnownFrauds(np.zeros(size, np.int64), np.full(size, np.nan), np.full(size, np.nan))
            for of_rows, of_positions in zip(seen, self._entity_days.frauds[window], strict=True):
                of_rows[rows] = of_positions[positions]
            self._looked_up[window] = seen
        return self._looked_up[window]

    @cached_property
    def _observed(self) -> tuple[NDArray[np.integer[Any]], NDArray[np.intp]]:
        """Return the positions of the known frauds that rows see, and the indices of those rows."""
        observed = self._entity_days.observed
        positions = observed(self._keys)
        # The appended -1 is no row's key, so a position past the end matches nothing.
        rows = np.flatnonzero(np.append(observed.keys, -1)[positions] == self._keys)
        return positions[rows], rows


def _frauds_of(seen: pl.DataFrame, window: int) -> KnownFrauds:
    return KnownFrauds(*(seen.get_column(f"{name}_{window}").to_numpy() for name in KnownFrauds._fields))
