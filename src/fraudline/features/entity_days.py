"""A merchant's or category's whole days as the local engine sees them: counts, and frauds once known."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog import features as definitions
from fraudline.catalog.days import DAY
from fraudline.features.windows import Floats, Ints, code, prefix


class KnownFrauds(NamedTuple):
    """Of one window: how many, and the days of the latest and the earliest, NaN where there are none."""

    frauds: Ints
    latest: Floats
    earliest: Floats


# What is looked up for every row is looked up in a table of all entities and days, up to this many cells of 4 bytes.
TABLE_CELLS = 1 << 25


class Positions:
    """How many of some distinct keys are smaller than a key from 0 to ``size``, as ``np.searchsorted`` tells."""

    def __init__(self, keys: Ints, size: int) -> None:
        self.keys = keys
        self._table: NDArray[np.int32] | None = None
        if size < TABLE_CELLS:
            # A search in no order misses the cache at each of its steps, this at most once.
            self._table = np.zeros(size + 1, np.int32)
            self._table[keys + 1] = 1
            np.cumsum(self._table, out=self._table)

    def __call__(self, keys: Ints) -> NDArray[np.integer[Any]]:
        """For each of these."""
        return np.searchsorted(self.keys, keys) if self._table is None else self._table[keys]


class EntityDays:
    """What is known of all entities of one kind, for rows of the days from ``first`` to ``last``.

    Args:
        entity: merchant or merchant_category.
        counts: transactions by entity and day, schema COUNTS.
        frauds: known frauds by entity, day and known_day, schema FRAUDS.
        delay: whole days before a label counts.
    """

    def __init__(
        self, entity: str, counts: pl.DataFrame, frauds: pl.DataFrame, delay: int, first: int, last: int
    ) -> None:
        self.delay = delay
        counts, frauds = (table.filter(pl.col("entity") == entity) for table in (counts, frauds))
        day: Ints = counts.get_column("day").to_numpy().astype(np.int64)
        # Wide enough that no window reaches into the days of another entity.
        self._first = min(int(day.min(initial=first)), first) - 2 * definitions.ENTITY_DAYS
        self._span = max(int(day.max(initial=last)), last) - self._first + 2 * definitions.ENTITY_DAYS
        # A type of its own, whose codes stay the same as long as a column of it is kept.
        self._type = pl.Categorical(pl.Categories.random())
        self._names = counts.get_column("key").cast(self._type)
        codes = code(self._names)
        known = frauds.with_columns(pl.Series("code", code(frauds.get_column("key").cast(self._type))))
        # One more, which all share of whom nothing is known.
        self._unknown = int(max(codes.max(initial=-1), known.get_column("code").max() or 0)) + 1
        key = self._key(codes, day)
        order = np.argsort(key)
        self.counts = prefix(counts.get_column("transactions").to_numpy()[order])
        self.positions = Positions(key[order], self._size)
        self.observed, self.frauds = self._by_observing_day(known, first, last)

    def key(self, names: pl.Series, day: Ints) -> Ints:
        """One integer for an entity and a day, in the order of both."""
        codes = code(names.cast(self._type))
        return self._key(np.where((codes < 0) | (codes > self._unknown), self._unknown, codes), day)

    def _key(self, codes: Ints, day: Ints) -> Ints:
        return codes * self._span + (day - self._first)

    @property
    def _size(self) -> int:
        return (self._unknown + 1) * self._span

    def _by_observing_day(
        self, frauds: pl.DataFrame, first: int, last: int
    ) -> tuple[Positions, dict[int, KnownFrauds]]:
        """Each entity and day on which any known fraud is visible, in their order, and by window these frauds."""
        # Frauds are rare: each is written out once for every day that sees it, late labels as they come.
        day, observed = pl.col("day"), pl.col("observed")
        visible = pl.max_horizontal(day + self.delay, pl.col("known_day")) + 1
        longest = definitions.ENTITY_WINDOWS[-1] // DAY
        seen = (
            frauds.with_columns(
                pl.max_horizontal(visible, pl.lit(first)).alias("from"),
                pl.min_horizontal(day + self.delay + longest, pl.lit(last)).alias("to"),
            )
            .filter(pl.col("from") <= pl.col("to"))
            .with_columns(pl.int_ranges("from", pl.col("to") + 1).alias("observed"))
            .explode("observed")
            .group_by("code", "observed")
            .agg(
                of_window.alias(f"{name}_{window}")
                for window in definitions.ENTITY_WINDOWS
                for within in [observed <= day + self.delay + window // DAY]
                for name, of_window in {
                    "frauds": pl.col("frauds").filter(within).sum(),
                    "latest": day.filter(within).max().cast(pl.Float64),
                    "earliest": day.filter(within).min().cast(pl.Float64),
                }.items()
            )
            .sort("code", "observed")
        )
        keys = self._key(*(seen.get_column(name).to_numpy().astype(np.int64) for name in ("code", "observed")))
        found = {
            window: KnownFrauds(*(seen.get_column(f"{name}_{window}").to_numpy() for name in KnownFrauds._fields))
            for window in definitions.ENTITY_WINDOWS
        }
        return Positions(keys, self._size), found


class SeenDays:
    """The whole days [day - delay - window, day - delay) of each row's entity, of which ``names`` has the names."""

    def __init__(self, known: EntityDays, names: pl.Series, day: Ints) -> None:
        self._known, self.day = known, day
        self.has_entity: NDArray[np.bool_] = names.is_not_null().to_numpy()
        self._keys = known.key(names, day)
        self._end = known.positions(self._keys - known.delay)
        self._counted: dict[int, Ints] = {}
        self._looked_up: dict[int, KnownFrauds] = {}

    def transactions(self, window: int) -> Ints:
        """How many, whatever their label."""
        if window not in self._counted:
            first = self._known.positions(self._keys - self._known.delay - window // DAY)
            self._counted[window] = self._known.counts[self._end] - self._known.counts[first]
        return self._counted[window]

    def frauds(self, window: int) -> Ints:
        """How many were known to be fraud before the row's day."""
        return self._frauds(window).frauds

    def latest_fraud(self, window: int) -> Floats:
        """Day of the latest of these, NaN where there is none."""
        return self._frauds(window).latest

    def earliest_fraud(self, window: int) -> Floats:
        """Day of the earliest of these, NaN where there is none."""
        return self._frauds(window).earliest

    def _frauds(self, window: int) -> KnownFrauds:
        if window not in self._looked_up:
            at, hit = self._visible
            size = len(self._keys)
            found = KnownFrauds(np.zeros(size, np.int64), np.full(size, np.nan), np.full(size, np.nan))
            for values, all_ in zip(found, self._known.frauds[window], strict=True):
                values[hit] = all_[at]
            self._looked_up[window] = found
        return self._looked_up[window]

    @cached_property
    def _visible(self) -> tuple[NDArray[np.integer[Any]], NDArray[np.intp]]:
        """Of the rows that see any known fraud where these stand, and which rows they are."""
        at = self._known.observed(self._keys)
        hit = np.flatnonzero(np.append(self._known.observed.keys, -1)[at] == self._keys)
        return at[hit], hit
