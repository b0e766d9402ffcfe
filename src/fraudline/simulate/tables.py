"""A simulated day as tables: transactions, and when the truth about each of them became known."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from numpy.random import Generator

from fraudline.simulate.arrays import DAY_SECONDS, Ints, Rows
from fraudline.simulate.population import CATEGORIES, Population

COLUMNS = (
    "transaction_id",
    "customer_id",
    "merchant",
    "amount",
    "timestamp",
    "merchant_category",
    "latitude",
    "longitude",
    "customer_latitude",
    "customer_longitude",
)

SECOND = 1_000_000  # microseconds
SETTLED = 7 * DAY_SECONDS  # seconds after which a transaction that nobody disputed counts as genuine
REPORT_MEDIAN, REPORT_SPREAD = 3.0 * DAY_SECONDS, 0.9  # seconds, and the deviation of the logarithm
REPORT_FIRST, REPORT_LAST = 2 * 3_600, 25 * DAY_SECONDS  # seconds


class Names:
    """The names of a population as polars columns, so that a day only has to gather them."""

    def __init__(self, population: Population) -> None:
        """Name each customer and merchant by its number."""
        homes, there = population.customers.homes, population.merchants.places
        categories = pl.Series([category.name for category in CATEGORIES])
        self._customers = pl.DataFrame(
            {
                "customer_id": _numbered("c", 0, len(homes.city), 7),
                "customer_latitude": homes.latitude,
                "customer_longitude": homes.longitude,
            }
        )
        self._merchants = pl.DataFrame(
            {
                "merchant": _numbered("m", 0, len(there.city), 6),
                "merchant_category": categories.gather(population.merchants.category),
                "latitude": there.latitude,
                "longitude": there.longitude,
            }
        )

    def transactions(self, rows: Rows, first: int, day: date) -> pl.DataFrame:
        """Return a day's transactions, numbered from first."""
        return pl.concat(
            [
                pl.DataFrame(
                    {
                        "transaction_id": transaction_ids(first, len(rows)),
                        "amount": rows.cents / 100,
                        "timestamp": _instants(day, rows.second),
                    }
                ),
                self._customers[rows.customer],
                self._merchants[rows.merchant],
            ],
            how="horizontal",
        ).select(COLUMNS)


def labels(rows: Rows, first: int, day: date, rng: Generator) -> pl.DataFrame:
    """Return a day's labels: frauds when they were reported, the others when they count as settled."""
    is_fraud = rows.kind > 0
    reported = np.exp(np.log(REPORT_MEDIAN) + REPORT_SPREAD * rng.standard_normal(len(rows)))
    reported = np.clip(reported, REPORT_FIRST, REPORT_LAST).astype(np.int64)
    return pl.DataFrame(
        {
            "transaction_id": transaction_ids(first, len(rows)),
            "is_fraud": is_fraud.astype(np.int8),
            "labeled_at": _instants(day, rows.second + np.where(is_fraud, reported, SETTLED)),
        }
    )


def transaction_ids(first: int, count: int) -> pl.Series:
    """Return ids that sort as their numbers do."""
    return _numbered("t", first, count, 10)


def _numbered(letter: str, first: int, count: int, digits: int) -> pl.Series:
    numbers = pl.int_range(first, first + count, eager=True)
    return letter + numbers.cast(pl.String).str.zfill(digits)


def _instants(day: date, second: Ints) -> pl.Series:
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return pl.Series((midnight + second) * SECOND).cast(pl.Datetime("us", "UTC"))
