"""Made-up card transactions, for demonstration and tests.

Everything here is invented: customers, merchants, places (in the open sea), amounts and frauds. What a
model reaches on them says that the pipeline works, and nothing about how well it would do on real cards.

Customers have a home, a rhythm, a purse, and merchants they return to; now and then they travel, splurge,
or pay several times in a row. Four kinds of fraud, about 1 % of the transactions, hide among that:

- ``stolen_card``: for a day or two, a burst of larger amounts where goods can be sold on, often far away
- ``compromised_merchant``: for two or three weeks, a share of a merchant's transactions
- ``account_takeover``: for about two weeks, unusual categories at three to six times the usual amount
- ``card_testing``: many tiny amounts within minutes, then a large one

A fraud becomes known when it is reported: 2 hours to 25 days later, 3 days in the median. Any other
transaction counts as genuine 7 days after it was made. So a fraud reported later than that is unknown until
then, where a real bank would have taken it for genuine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.simulate.arrays import Rows, Stream
from fraudline.simulate.behavior import Trips, genuine, priced
from fraudline.simulate.fraud import KINDS, LONGEST, Underworld
from fraudline.simulate.population import CATEGORIES, Population, populate
from fraudline.simulate.tables import Names, labels

__all__ = ["FRAUD_KINDS", "Simulation", "simulate"]

FRAUD_KINDS = tuple(kind.name for kind in KINDS)
_WARM_UP = LONGEST  # days lived through before the first one, so that it is a day like any other


@dataclass(frozen=True)
class Simulation:
    """What was written: counts of days, transactions, and frauds by kind."""

    days: int
    transactions: int
    frauds: Mapping[str, int]

    @property
    def fraud_rate(self) -> float:
        """The share of the transactions that is fraud, from 0 to 1."""
        return sum(self.frauds.values()) / max(self.transactions, 1)


def simulate(
    folder: Path, *, start: date, days: int, customers: int = 2000, merchants: int = 1000, seed: int = 7
) -> Simulation:
    """Write made-up transactions from start on, in the layout that the pipeline reads.

    That is ``raw/YYYY-MM-DD/transactions.parquet`` for each day (UTC), and ``labeled/fraud_labels.parquet``
    with one row per transaction. The same arguments give the same tables, and the first days of a longer
    run are those of a shorter one. Memory holds the population and one day, whatever the number of days.
    """
    _check(folder, days, customers, merchants, seed)
    population = populate(seed, customers, merchants)
    names, count, frauds = Names(population), 0, Counter(dict.fromkeys(FRAUD_KINDS, 0))
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".labels-") as parts:
        for number, rows in enumerate(_live(population, start, days, seed)):
            day = start + timedelta(days=number)
            known = labels(rows, count, day, Stream.LABELS.generator(seed, number))
            _write(names.transactions(rows, count, day), folder / "raw" / f"{day}" / "transactions.parquet")
            _write(known, Path(parts) / f"{number:06}.parquet")
            count += len(rows)
            frauds.update(_kinds(rows))
        _join(Path(parts), folder / "labeled" / "fraud_labels.parquet")
    return Simulation(days, count, dict(frauds))


def _check(folder: Path, days: int, customers: int, merchants: int, seed: int) -> None:
    least = {"days": (days, 1), "customers": (customers, 1), "merchants": (merchants, 2 * len(CATEGORIES))}
    for name, (value, minimum) in {**least, "seed": (seed, 0)}.items():
        if value < minimum:
            raise InputError(f"simulate: {name} must be at least {minimum}, got {value}")
    for name in ("raw", "labeled"):
        if (folder / name).exists():
            raise InputError(f"simulate: the folder already holds {name!r}; remove it or give another one")


def _live(population: Population, start: date, days: int, seed: int) -> Iterator[Rows]:
    """Yield each day's rows in order of time."""
    trips, underworld = Trips.none(population), Underworld.quiet()
    for number in range(_WARM_UP + days):
        trips = trips.next_day(population, Stream.TRIPS.generator(seed, number))
        underworld = underworld.next_day(population, Stream.CAMPAIGNS.generator(seed, number))
        if number >= _WARM_UP:
            weekday = (start.weekday() + number - _WARM_UP) % 7
            rows = genuine(population, trips, weekday, Stream.GENUINE.generator(seed, number))
            rows = underworld.strike(population, rows, Stream.FRAUD.generator(seed, number))
            yield priced(population, rows).in_time_order()


def _kinds(rows: Rows) -> dict[str, int]:
    counts = np.bincount(rows.kind, minlength=1 + len(KINDS))[1:]
    return dict(zip(FRAUD_KINDS, counts.tolist(), strict=True))


def _write(table: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def _join(parts: Path, path: Path) -> None:
    """Write the parts as one file without holding them all."""
    path.parent.mkdir(parents=True)
    pl.scan_parquet(parts / "*.parquet").sink_parquet(path, maintain_order=True)
