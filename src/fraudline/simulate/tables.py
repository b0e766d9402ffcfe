"""Convert a simulated day to tables: transactions, and their labels with the time at which each became known."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numpy.random import Generator

from fraudline.catalog.days import DAY, HOUR, midnight
from fraudline.simulate.arrays import Ints, Rows
from fraudline.simulate.population import CATEGORIES, Population

# In the order of the documented input, under canonical names.
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

MICROSECONDS = 1_000_000  # in a second
GENUINE_DELAY = 7 * DAY  # seconds after which an undisputed transaction is labeled genuine
# The log-normal delay of fraud reports: median in seconds, standard deviation of its logarithm, limits in seconds.
REPORT_MEDIAN, REPORT_SPREAD = 3.0 * DAY, 0.9
REPORT_MIN, REPORT_MAX = 2 * HOUR, 25 * DAY


class PopulationTables:
    """A population as polars tables, built once, so that each day only selects rows from them."""

    def __init__(self, population: Population) -> None:
        """Build the tables; an id is the number of its customer or merchant."""
        homes, shops = population.customers.homes, population.merchants.coordinates
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
                "merchant": _numbered("m", 0, len(shops.city), 6),
                "merchant_category": categories.gather(population.merchants.category),
                "latitude": shops.latitude,
                "longitude": shops.longitude,
            }
        )

    def transactions(self, rows: Rows, first: int, day: date) -> pl.DataFrame:
        """Return a day's transactions, with ids numbered from ``first``."""
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


def label_table(rows: Rows, first: int, day: date, rng: Generator) -> pl.DataFrame:
    """Return a day's labels, of frauds when they are reported, of other transactions after GENUINE_DELAY."""
    is_fraud = rows.kind > 0
    delay = np.exp(np.log(REPORT_MEDIAN) + REPORT_SPREAD * rng.standard_normal(len(rows)))
    report_delay = np.clip(delay, REPORT_MIN, REPORT_MAX).astype(np.int64)
    return pl.DataFrame(
        {
            "transaction_id": transaction_ids(first, len(rows)),
            "is_fraud": is_fraud.astype(np.int8),
            "labeled_at": _instants(day, rows.second + np.where(is_fraud, report_delay, GENUINE_DELAY)),
        }
    )


def transaction_ids(first: int, count: int) -> pl.Series:
    """Return ids that sort like their numbers."""
    return _numbered("t", first, count, 10)


def _numbered(letter: str, first: int, count: int, digits: int) -> pl.Series:
    numbers = pl.int_range(first, first + count, eager=True)
    return letter + numbers.cast(pl.String).str.zfill(digits)


def _instants(day: date, second: Ints) -> pl.Series:
    start = int(midnight(day).timestamp())
    return pl.Series((start + second) * MICROSECONDS).cast(pl.Datetime("us", "UTC"))
