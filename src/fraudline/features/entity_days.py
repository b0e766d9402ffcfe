"""A merchant's or category's whole days as the local engine sees them: counts, and frauds once known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.days import DAY
from fraudline.features import definitions
from fraudline.features.windows import Floats, Ints, code, prefix


class KnownFrauds(NamedTuple):
    """Of one window: how many, and the days of the latest and the earliest, NaN where there are none."""

    frauds: Ints
    latest: Floats
    earliest: Floats


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
        key = self.key(code(self._names), day)
        order = np.argsort(key)
        self.keys, self.counts = key[order], prefix(counts.get_column("transactions").to_numpy()[order])
        known = frauds.with_columns(pl.Series("code", self.code(frauds.get_column("key"))))
        windows = {feature.window for feature in definitions.FEATURES if feature.entity == entity}
        self.frauds = {window: self._by_observing_day(known, window // DAY, first, last) for window in windows}

    def code(self, names: pl.Series) -> Ints:
        """One integer an entity, -1 for none."""
        return code(names.cast(self._type))

    def key(self, code: Ints, day: Ints) -> Ints:
        """One integer for an entity and a day, in the order of both."""
        return code * self._span + (day - self._first)

    def _by_observing_day(self, frauds: pl.DataFrame, window: int, first: int, last: int) -> tuple[Ints, KnownFrauds]:
        """The keys of each entity and day on which any known fraud is visible, sorted, and these frauds."""
        # Frauds are rare: each is written out once for every day that sees it, late labels as they come.
        day, visible = pl.col("day"), pl.max_horizontal(pl.col("day") + self.delay, pl.col("known_day")) + 1
        seen = (
            frauds.with_columns(
                pl.max_horizontal(visible, pl.lit(first)).alias("from"),
                pl.min_horizontal(day + self.delay + window, pl.lit(last)).alias("to"),
            )
            .filter(pl.col("from") <= pl.col("to"))
            .with_columns(pl.int_ranges("from", pl.col("to") + 1).alias("observed"))
            .explode("observed")
            .group_by("code", "observed")
            .agg(pl.col("frauds").sum(), day.max().alias("latest"), day.min().alias("earliest"))
            .sort("code", "observed")
        )
        code, observed, count = (seen.get_column(name).to_numpy() for name in ("code", "observed", "frauds"))
        latest, earliest = (seen.get_column(name).cast(pl.Float64).to_numpy() for name in ("latest", "earliest"))
        return self.key(code, observed.astype(np.int64)), KnownFrauds(count, latest, earliest)


class SeenDays:
    """The whole days [day - delay - window, day - delay) of each row's entity, of which ``names`` has the names."""

    def __init__(self, known: EntityDays, names: pl.Series, day: Ints) -> None:
        self._known, self.day = known, day
        self.has_entity: NDArray[np.bool_] = names.is_not_null().to_numpy()
        # Rows of one entity and day see the same, so it is looked up once, in the order in which it lies.
        keys = known.key(known.code(names), day)
        if len(known.keys):
            self._keys, self._inverse = np.unique(keys, return_inverse=True)
        else:  # nor can any row see more than another where nothing is known
            self._keys, self._inverse = keys[:1], np.zeros(len(keys), np.int64)
        self._end = np.searchsorted(known.keys, self._keys - known.delay)
        self._counted: dict[int, Ints] = {}
        self._looked_up: dict[int, KnownFrauds] = {}

    def transactions(self, window: int) -> Ints:
        """How many, whatever their label."""
        if window not in self._counted:
            first = np.searchsorted(self._known.keys, self._keys - self._known.delay - window // DAY)
            self._counted[window] = (self._known.counts[self._end] - self._known.counts[first])[self._inverse]
        return self._counted[window]

    def frauds(self, window: int) -> Ints:
        """How many were known to be fraud before the row's day."""
        return self._frauds(window).frauds[self._inverse]

    def latest_fraud(self, window: int) -> Floats:
        """Day of the latest of these, NaN where there is none."""
        return self._frauds(window).latest[self._inverse]

    def earliest_fraud(self, window: int) -> Floats:
        """Day of the earliest of these, NaN where there is none."""
        return self._frauds(window).earliest[self._inverse]

    def _frauds(self, window: int) -> KnownFrauds:
        if window not in self._looked_up:
            keys, frauds = self._known.frauds[window]
            at = np.searchsorted(keys, self._keys)
            hit = np.append(keys, -1)[at] == self._keys
            size = len(hit)
            found = KnownFrauds(np.zeros(size, np.int64), np.full(size, np.nan), np.full(size, np.nan))
            for values, all_ in zip(found, frauds, strict=True):
                values[hit] = all_[at[hit]]
            self._looked_up[window] = found
        return self._looked_up[window]
