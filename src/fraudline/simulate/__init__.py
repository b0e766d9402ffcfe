"""Simulate card transactions, for demonstrations and tests.

All customers, merchants, coordinates (in the open sea), amounts and frauds are invented. A model's quality on
them shows that the pipeline works, and says nothing about real cards.

Customers have a home, a daily rhythm, a level of spending, and merchants that they return to. Sometimes they
travel, spend far more than usual, or pay several times in a row. Four kinds of fraud, about 1 % of the
transactions, are hidden among that:

- ``stolen_card``: for a day or two, a burst of larger amounts where goods can be resold, often far away
- ``compromised_merchant``: for two or three weeks, a share of a merchant's transactions
- ``account_takeover``: for about two weeks, unusual categories at three to six times the usual amount
- ``card_testing``: many tiny amounts within minutes, then a large one

A fraud becomes known when it is reported: 2 hours to 25 days later, with a median of 3 days. Any other
transaction counts as genuine after 7 days. So a fraud that is reported later has no label until then, where a
real bank would have labeled it genuine.
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
from fraudline.simulate.behavior import Trips, genuine_transactions, round_prices
from fraudline.simulate.fraud import KINDS, MAX_CAMPAIGN_DAYS, FraudState
from fraudline.simulate.population import CATEGORIES, Population, populate
from fraudline.simulate.tables import PopulationTables, label_table

__all__ = ["FRAUD_KINDS", "Simulation", "simulate"]

FRAUD_KINDS = tuple(kind.name for kind in KINDS)
# Days simulated before the first one, so that campaigns of every age are running when it begins.
_WARM_UP = MAX_CAMPAIGN_DAYS


@dataclass(frozen=True)
class Simulation:
    """Counts of what was written.

    Attributes:
        days: how many days.
        transactions: how many transactions.
        frauds: how many frauds of each kind.
    """

    days: int
    transactions: int
    frauds: Mapping[str, int]

    @property
    def fraud_rate(self) -> float:
        """Return the share of transactions that are fraud, from 0 to 1."""
        return sum(self.frauds.values()) / max(self.transactions, 1)


def simulate(
    folder: Path, *, start: date, days: int, customers: int = 2000, merchants: int = 1000, seed: int = 7
) -> Simulation:
    """Write simulated transactions and labels in the layout that the pipeline reads.

    Equal arguments give equal tables, and a longer run begins with the days of a shorter one. Memory holds only
    the population and one day.

    Args:
        folder: gets ``raw/YYYY-MM-DD/transactions.parquet`` for each UTC day, and
            ``labeled/fraud_labels.parquet`` with one row per transaction.
        start: the first day.
        days: how many days.
        customers: how many customers.
        merchants: how many merchants, at least two for each category.
        seed: selects the random numbers.

    Raises:
        InputError: an argument is too small, or the folder has data already.
    """
    _check(folder, days, customers, merchants, seed)
    population = populate(seed, customers, merchants)
    tables, count, frauds = PopulationTables(population), 0, Counter(dict.fromkeys(FRAUD_KINDS, 0))
    folder.mkdir(parents=True, exist_ok=True)
    # Labels become one file, but only one day is in memory, so each day's are written aside first.
    with TemporaryDirectory(dir=folder, prefix=".labels-") as parts:
        for number, rows in enumerate(_simulate_days(population, start, days, seed)):
            day = start + timedelta(days=number)
            labels = label_table(rows, count, day, Stream.LABELS.generator(seed, number))
            _write(tables.transactions(rows, count, day), folder / "raw" / f"{day}" / "transactions.parquet")
            _write(labels, Path(parts) / f"{number:06}.parquet")
            count += len(rows)
            frauds.update(_count_kinds(rows))
        _merge(Path(parts), folder / "labeled" / "fraud_labels.parquet")
    return Simulation(days, count, dict(frauds))


def _check(folder: Path, days: int, customers: int, merchants: int, seed: int) -> None:
    limits = {"days": (days, 1), "customers": (customers, 1), "merchants": (merchants, 2 * len(CATEGORIES))}
    for name, (value, minimum) in {**limits, "seed": (seed, 0)}.items():
        if value < minimum:
            raise InputError(f"simulate: {name} must be at least {minimum}, got {value}")
    for name in ("raw", "labeled"):
        if (folder / name).exists():
            raise InputError(f"simulate: the folder already holds {name!r}; remove it, or choose another folder")


def _simulate_days(population: Population, start: date, days: int, seed: int) -> Iterator[Rows]:
    """Yield each day's rows, sorted by time."""
    trips, fraud = Trips.none(population), FraudState.none()
    for number in range(_WARM_UP + days):
        trips = trips.next_day(population, Stream.TRIPS.generator(seed, number))
        fraud = fraud.next_day(population, Stream.CAMPAIGNS.generator(seed, number))
        if number >= _WARM_UP:
            weekday = (start.weekday() + number - _WARM_UP) % 7
            rows = genuine_transactions(population, trips, weekday, Stream.GENUINE.generator(seed, number))
            rows = fraud.add_frauds(population, rows, Stream.FRAUD.generator(seed, number))
            yield round_prices(population, rows).sorted_by_time()


def _count_kinds(rows: Rows) -> dict[str, int]:
    counts = np.bincount(rows.kind, minlength=1 + len(KINDS))[1:]
    return dict(zip(FRAUD_KINDS, counts.tolist(), strict=True))


def _write(table: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def _merge(parts: Path, path: Path) -> None:
    """Write the parts as one file without loading all of them."""
    path.parent.mkdir(parents=True)
    pl.scan_parquet(parts / "*.parquet").sink_parquet(path, maintain_order=True)
