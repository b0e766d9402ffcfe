"""Windows of customers for the NumPy engine: arrays sorted by customer and second.

A sum over a window is the difference of two prefix sums, found by two binary searches, so its cost does not depend on
the window's length. Amounts are integer cents, so no sum depends on the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.features import CUSTOMER_TAIL, EARTH_RADIUS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_RADIX_BITS = 16  # NumPy sorts integers of 16 bits in linear time


@dataclass(frozen=True)
class Events:
    """The columns of transactions that later transactions see, as arrays with one element per transaction.

    Attributes:
        customer: code of the customer.
        merchant: code of the merchant.
        second: seconds since 1970-01-01 00:00 UTC.
        cents: the amount.
        latitude: in degrees, NaN where unknown.
        longitude: in degrees, NaN where unknown.
    """

    customer: Ints
    merchant: Ints
    second: Ints
    cents: Ints
    latitude: Floats
    longitude: Floats

    @classmethod
    def of(cls, table: pl.DataFrame) -> Events:
        """Return the events of a table of schema EVENTS."""
        return cls(
            codes_of(table.get_column("customer_id").cast(pl.Categorical)),
            codes_of(table.get_column("merchant").cast(pl.Categorical)),
            *(table.get_column(name).to_numpy() for name in ("second", "cents")),
            *(table.get_column(name).to_numpy() for name in ("latitude", "longitude")),
        )

    def take(self, indices: NDArray[np.generic]) -> Events:
        """Return the events at the given indices, or where a mask is True."""
        return Events(*(getattr(self, field.name)[indices] for field in fields(self)))


class Customers:
    """The other transactions of each row's customer in the ``window`` seconds before the row.

    Every result has one element per row, sorted by customer and second.

    Args:
        events: earlier transactions, followed by the rows to compute, which see each other.
        rows: the number of rows to compute.

    Attributes:
        order: for each element of a result, the index of its row among the rows to compute.
        rows: the rows to compute, sorted.
    """

    def __init__(self, events: Events, rows: int) -> None:
        self._first = int(events.second.min(initial=np.iinfo(np.int64).max))
        # Wide enough that no window of a customer reaches events of another one, whose keys come before.
        self._span = int(events.second.max(initial=self._first)) - self._first + 1 + CUSTOMER_TAIL
        keys = events.customer * self._span + (events.second - self._first)
        order = _north_easternmost_last(np.argsort(keys), keys, events)
        self._events, self._order, self._keys = events, order, keys[order]
        past = len(keys) - rows
        self._positions: Ints = np.flatnonzero(order >= past)  # positions of the rows among the sorted events
        self.order: Ints = order[self._positions] - past
        self.rows = events.take(order[self._positions])
        self._row_keys = self._keys[self._positions]
        self._end = np.searchsorted(self._keys, self._row_keys)
        self._starts: dict[int, Ints] = {}

    def count(self, window: int) -> Ints:
        """Return the number of transactions."""
        return self._end - self._start(window)

    def sum(self, window: int) -> Ints:
        """Return the sum of cents."""
        return self._sums[self._end] - self._sums[self._start(window)]

    def squares(self, window: int) -> Ints:
        """Return the sum of squared cents."""
        return self._squares[self._end] - self._squares[self._start(window)]

    def max(self, window: int) -> Ints:
        """Return the largest cents, 0 for an empty window.

        By a sparse table: two overlapping runs whose length is a power of 2 cover a window, and the larger of their
        maxima is the window's.
        """
        start, length = self._start(window), self.count(window)
        level = np.frexp(np.maximum(length, 1).astype(np.float64))[1] - 1
        largest = np.zeros(len(start), np.int64)
        runs = self._cents
        for power in range(int(level.max(initial=0)) + 1):
            rows = np.flatnonzero((level == power) & (length > 0))
            largest[rows] = np.maximum(runs[start[rows]], runs[self._end[rows] - (1 << power)])
            runs = np.maximum(runs[: -(1 << power)], runs[1 << power :])
        return largest

    def since_previous(self, window: int) -> Floats:
        """Return the seconds since the previous transaction, NaN where there is none."""
        return np.where(self.count(window) > 0, self.rows.second - self._events.second[self._previous], np.nan)

    def distance_from_previous(self, window: int) -> Floats:
        """Return the kilometers from the previous transaction, NaN where there is none or coordinates are unknown."""
        return np.where(self.count(window) > 0, self._distance, np.nan)

    def is_first_at_merchant(self, window: int) -> NDArray[np.bool_]:
        """Return True where the customer has no transaction at the row's merchant in the window."""
        return ~(self._since_same_merchant[self._positions] <= window)

    def _start(self, window: int) -> Ints:
        if window not in self._starts:
            self._starts[window] = np.searchsorted(self._keys, self._row_keys - window)
        return self._starts[window]

    @cached_property
    def _previous(self) -> Ints:
        """Return the index of the latest event before each row, and an arbitrary index if there is none."""
        return self._order[np.maximum(self._end - 1, 0)]

    @cached_property
    def _cents(self) -> Ints:
        return self._events.cents[self._order]

    @cached_property
    def _sums(self) -> Ints:
        return prefix_sums(self._cents)

    @cached_property
    def _squares(self) -> Ints:
        # A prefix sum may overflow 2^63, but differences below 2^63 are still exact.
        return prefix_sums(self._cents * self._cents)

    @cached_property
    def _distance(self) -> Floats:
        latitude, longitude = self._events.latitude[self._previous], self._events.longitude[self._previous]
        return distance(self.rows.latitude, self.rows.longitude, latitude, longitude)

    @cached_property
    def _since_same_merchant(self) -> Floats:
        """Return each event's seconds since the customer's previous visit to the merchant, NaN for the first."""
        merchant = self._events.merchant[self._order]
        order = _stable_order(merchant)  # stable, so events of a merchant stay sorted by customer and second
        keys, merchant = self._keys[order], merchant[order]
        new_second = np.ones(len(order), bool)
        new_second[1:] = (keys[1:] != keys[:-1]) | (merchant[1:] != merchant[:-1])
        # Skip the events of the same second: transactions of one second do not see each other.
        previous = np.maximum.accumulate(np.where(new_second, np.arange(len(order)), 0)) - 1
        seconds = keys - keys[previous]
        seen = (previous >= 0) & (merchant[previous] == merchant) & (seconds <= CUSTOMER_TAIL)
        since = np.empty(len(order))
        since[order] = np.where(seen, seconds, np.nan)
        return since


def codes_of(names: pl.Series) -> Ints:
    """Return the codes of a categorical column: integers below 2^32, and -1 for null."""
    return names.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def prefix_sums(values: Ints) -> Ints:
    """Return the sums of the first 0, 1, 2, … values, one element more than there are values."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])


def distance(latitude: Floats, longitude: Floats, to_latitude: Floats, to_longitude: Floats) -> Floats:
    """Return the great-circle distance between coordinates in degrees, by the haversine formula.

    Returns:
        Kilometers, NaN where a coordinate is NaN.
    """
    kilometers = np.full(len(latitude), np.nan)
    known = np.flatnonzero(~np.isnan(latitude + longitude + to_latitude + to_longitude))
    coordinates = (degrees[known] for degrees in (latitude, longitude, to_latitude, to_longitude))
    latitude, longitude, to_latitude, to_longitude = coordinates
    north, east = np.radians(to_latitude - latitude) / 2, np.radians(to_longitude - longitude) / 2
    cosines = np.cos(np.radians(latitude)) * np.cos(np.radians(to_latitude))
    chord = np.sin(north) ** 2 + cosines * np.sin(east) ** 2
    # For antipodes, rounding may push the chord above 1, for which arcsin is undefined.
    kilometers[known] = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return kilometers


def _north_easternmost_last(order: Ints, keys: Ints, events: Events) -> Ints:
    """Refine ``order``, which sorts events by key: sort equal keys by latitude, then longitude, unknown ones last.

    This makes the previous transaction independent of the order of files.
    """
    same = keys[order][1:] == keys[order][:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    tied_events = order[tied]
    coordinates = events.longitude[tied_events], events.latitude[tied_events]
    order[tied] = tied_events[np.lexsort((*coordinates, keys[tied_events]))]
    return order


def _stable_order(values: Ints) -> Ints:
    """Return the indices that sort codes stably, by a radix sort."""
    order = np.argsort(values.astype(np.uint16), kind="stable")
    if values.max(initial=0) >> _RADIX_BITS:
        order = order[np.argsort((values >> _RADIX_BITS).astype(np.uint16)[order], kind="stable")]
    return order
