"""A customer's windows as the local engine sees them: arrays sorted by customer and second.

A window is a difference of prefix sums between two binary searches, whatever its length. Amounts are
integer cents here, so no result depends on the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog import features as definitions

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_RADIX_BITS = 16  # NumPy sorts integers of this size in linear time


@dataclass(frozen=True)
class Events:
    """Transactions as arrays, one element each: what a later one can see of them."""

    customer: Ints
    merchant: Ints
    second: Ints
    cents: Ints
    latitude: Floats
    longitude: Floats

    @classmethod
    def of(cls, table: pl.DataFrame) -> Events:
        """From a table of schema EVENTS."""
        return cls(
            code(table.get_column("customer_id").cast(pl.Categorical)),
            code(table.get_column("merchant").cast(pl.Categorical)),
            *(table.get_column(name).to_numpy() for name in ("second", "cents")),
            *(table.get_column(name).to_numpy() for name in ("latitude", "longitude")),
        )

    def take(self, where: NDArray[np.generic]) -> Events:
        """Those at some places, or where a mask is true."""
        return Events(*(getattr(self, field.name)[where] for field in fields(self)))


class Customers:
    """The other transactions of each row's customer in the ``window`` seconds before it, the row outside.

    Args:
        events: earlier transactions, and behind them the rows to compute, which see each other.
        rows: how many of the events these are. Every result is by customer and second; ``order`` tells
            which row stands where.
    """

    def __init__(self, events: Events, rows: int) -> None:
        self._first = int(events.second.min(initial=np.iinfo(np.int64).max))
        # Wide enough that a window reaching below a customer's first event stays above the customer before.
        self._span = int(events.second.max(initial=self._first)) - self._first + 1 + definitions.CUSTOMER_TAIL
        key = events.customer * self._span + (events.second - self._first)
        order = _north_east_last(np.argsort(key), key, events)
        self._events, self._order, self._keys = events, order, key[order]
        before = len(key) - rows
        self._at: Ints = np.flatnonzero(order >= before)
        self.order: Ints = order[self._at] - before
        self.rows = events.take(order[self._at])
        self._row_key = self._keys[self._at]
        self._end = np.searchsorted(self._keys, self._row_key)
        self._starts: dict[int, Ints] = {}

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
        return np.where(self.count(window) > 0, self.rows.second - self._events.second[self._latest], np.nan)

    def distance_from_previous(self, window: int) -> Floats:
        """Kilometres from the latest, NaN where there is none or a place is unknown."""
        return np.where(self.count(window) > 0, self._distance, np.nan)

    def is_first_at_merchant(self, window: int) -> NDArray[np.bool_]:
        """Whether none was at the row's own merchant."""
        return ~(self._since_same_merchant[self._at] <= window)

    def _start(self, window: int) -> Ints:
        if window not in self._starts:
            self._starts[window] = np.searchsorted(self._keys, self._row_key - window)
        return self._starts[window]

    @cached_property
    def _latest(self) -> Ints:
        """Which event is the latest before the row, any one where there is none."""
        return self._order[np.maximum(self._end - 1, 0)]

    @cached_property
    def _cents(self) -> Ints:
        return self._events.cents[self._order]

    @cached_property
    def _sums(self) -> Ints:
        return prefix(self._cents)

    @cached_property
    def _squares(self) -> Ints:
        # The prefix may wrap past 2^63; a difference that is itself below 2^63 comes out right all the same.
        return prefix(self._cents * self._cents)

    @cached_property
    def _distance(self) -> Floats:
        there = self._events.latitude[self._latest], self._events.longitude[self._latest]
        return distance(self.rows.latitude, self.rows.longitude, *there)

    @cached_property
    def _since_same_merchant(self) -> Floats:
        """For every event the seconds since its customer was at its merchant before, NaN for never."""
        merchant = self._events.merchant[self._order]
        order = _stable_order(merchant)  # and so, within a merchant, by customer and second
        key, merchant = self._keys[order], merchant[order]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (key[1:] != key[:-1]) | (merchant[1:] != merchant[:-1])
        # The event before the first of its own second: peers of a second do not see each other.
        before = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0)) - 1
        known = (before >= 0) & (merchant[before] == merchant) & (key - key[before] <= definitions.CUSTOMER_TAIL)
        since = np.empty(len(order))
        since[order] = np.where(known, key - key[before], np.nan)
        return since


def code(texts: pl.Series) -> Ints:
    """Integers below 2^32 for a categorical column, equal where it is; -1 for a null."""
    return texts.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def prefix(values: Ints) -> Ints:
    """Sums of the first 0, 1, 2, … values."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])


def distance(latitude: Floats, longitude: Floats, to_latitude: Floats, to_longitude: Floats) -> Floats:
    """Great-circle distance in km between places in degrees (haversine), NaN where one is unknown."""
    kilometres = np.full(len(latitude), np.nan)
    known = np.flatnonzero(~np.isnan(latitude + longitude + to_latitude + to_longitude))
    places = (degrees[known] for degrees in (latitude, longitude, to_latitude, to_longitude))
    latitude, longitude, to_latitude, to_longitude = places
    north, east = np.radians(to_latitude - latitude) / 2, np.radians(to_longitude - longitude) / 2
    cosines = np.cos(np.radians(latitude)) * np.cos(np.radians(to_latitude))
    chord = np.sin(north) ** 2 + cosines * np.sin(east) ** 2
    kilometres[known] = 2 * definitions.EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return kilometres


def _north_east_last(order: Ints, key: Ints, events: Events) -> Ints:
    """An order by key in which, of equal keys, the north-easternmost place comes last, an unknown one behind it."""
    same = key[order][1:] == key[order][:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    tied_events = order[tied]
    places = events.longitude[tied_events], events.latitude[tied_events]
    order[tied] = tied_events[np.lexsort((*places, key[tied_events]))]
    return order


def _stable_order(values: Ints) -> Ints:
    """Places by value, equal ones in their order: a radix sort of codes."""
    order = np.argsort(values.astype(np.uint16), kind="stable")
    if values.max(initial=0) >> _RADIX_BITS:
        order = order[np.argsort((values >> _RADIX_BITS).astype(np.uint16)[order], kind="stable")]
    return order
