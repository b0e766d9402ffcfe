"""The arrays that represent a simulated day, and the random streams that fill them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Stream(IntEnum):
    """The uses of random numbers; each has its own stream, so that a change of one leaves the others alone."""

    POPULATION = 0
    TRIPS = 1
    GENUINE = 2
    CAMPAIGNS = 3
    FRAUD = 4
    LABELS = 5

    def generator(self, seed: int, day: int = 0) -> Generator:
        """Return the generator of one day, independent of all other days."""
        return np.random.default_rng([seed, self.value, day])


@dataclass(frozen=True)
class Rows:
    """Transactions of one day, as arrays of equal length.

    Attributes:
        customer: index into the population's customers.
        merchant: index into the population's merchants.
        cents: the amount.
        second: seconds since midnight UTC.
        kind: 0 for a genuine transaction, otherwise 1 + the index of the kind of fraud.
    """

    customer: Ints
    merchant: Ints
    cents: Ints
    second: Ints
    kind: Ints

    def __len__(self) -> int:
        return len(self.customer)

    def take(self, selection: Ints | NDArray[np.bool_]) -> Rows:
        """Return the rows at these indices, or where a mask is True."""
        return Rows(*(column[selection] for column in self._columns()))

    def concat(self, other: Rows) -> Rows:
        """Return these rows followed by the other ones."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        return Rows(*(np.concatenate(pair) for pair in pairs))

    def sorted_by_time(self) -> Rows:
        """Return the rows by second; rows of the same second keep their order."""
        return self.take(np.argsort(self.second, kind="stable"))

    def _columns(self) -> tuple[Ints, ...]:
        return self.customer, self.merchant, self.cents, self.second, self.kind


def to_cents(amount: Floats | Ints, step: Ints | int = 1) -> Ints:
    """Round amounts in cents to multiples of a step, which is in cents, too; the result is at least one step."""
    return (np.maximum(np.rint(amount / step), 1) * step).astype(np.int64)
