"""The arrays that a simulated day is made of, and where its random numbers come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAY_SECONDS = 86_400


class Stream(IntEnum):
    """What random numbers are for; each has its own stream, so that one never shifts another."""

    POPULATION = 0
    TRIPS = 1
    GENUINE = 2
    CAMPAIGNS = 3
    FRAUD = 4
    LABELS = 5

    def generator(self, seed: int, day: int = 0) -> Generator:
        """Return the generator of one day; it depends on nothing that happened on another day."""
        return np.random.default_rng([seed, self.value, day])


@dataclass(frozen=True)
class Rows:
    """Transactions of one day, as arrays of one length.

    ``customer`` and ``merchant`` are positions in the population, ``second`` counts from midnight UTC,
    ``kind`` is 0 for a genuine transaction and otherwise 1 + the position of the kind of fraud.
    """

    customer: Ints
    merchant: Ints
    cents: Ints
    second: Ints
    kind: Ints

    def __len__(self) -> int:
        return len(self.customer)

    def take(self, where: Ints | NDArray[np.bool_]) -> Rows:
        """Return the rows at these positions, or where a mask is true."""
        return Rows(*(column[where] for column in self._columns()))

    def joined(self, other: Rows) -> Rows:
        """Return these rows and then the other ones."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        return Rows(*(np.concatenate(pair) for pair in pairs))

    def in_time_order(self) -> Rows:
        """Return the rows by second; rows of one second keep their order."""
        return self.take(np.argsort(self.second, kind="stable"))

    def _columns(self) -> tuple[Ints, ...]:
        return self.customer, self.merchant, self.cents, self.second, self.kind


def to_cents(amount: Floats | Ints, step: Ints | int = 1) -> Ints:
    """Round amounts in cents to whole steps of cents, at least one step."""
    return (np.maximum(np.rint(amount / step), 1) * step).astype(np.int64)
