"""The engines, each as a function of plain rows, and Hypothesis strategies for such rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from fraudline.catalog.days import from_day_number
from fraudline.catalog.schema import LABELS, TRANSACTIONS
from fraudline.features.history import EVENTS, History, counts_of, frauds_of
from fraudline.features.numpy_engine import compute

DAY = 86_400
MONDAY = 1_704_067_200  # 2024-01-01 00:00 UTC
DELAY = 7

# make verify multiplies the number of cases by ten with it.
CASES_VARIABLE = "FRAUDLINE_CASES"

Row = dict[str, Any]
Engine = Callable[[list[Row]], pl.DataFrame]


def cases(count: int) -> settings:
    """Return Hypothesis settings for ``count`` worlds of rows."""
    return settings(max_examples=count * int(os.environ.get(CASES_VARIABLE, "1")))


def transactions_of(rows: list[Row]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema_overrides={"second": pl.Int64}, infer_schema_length=None)
    stamped = table.with_columns(pl.from_epoch(pl.col("second")).dt.replace_time_zone("UTC").alias("timestamp"))
    return stamped.select(pl.col(name).cast(dtype) for name, dtype in TRANSACTIONS.items())


def labels_of(rows: list[Row]) -> pl.DataFrame:
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns((pl.col("second") // DAY).alias("day"))
    labeled = table.filter(pl.col("known_day").is_not_null())
    return labeled.select(pl.col(name).cast(dtype) for name, dtype in LABELS.items())


def _local(rows: list[Row]) -> pl.DataFrame:
    transactions = transactions_of(rows)
    no_events = pl.DataFrame(schema=EVENTS)
    history = History(no_events, counts_of(transactions.lazy()), frauds_of(labels_of(rows).lazy()))
    days = [from_day_number(row["second"] // DAY) for row in rows]
    features = compute(transactions, no_events, history.entity_days(DELAY, min(days), max(days)))
    return features.with_columns(transactions.get_column("transaction_id")).sort("transaction_id")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "local":
        return _local
    from .spark import SparkEngine  # noqa: PLC0415 - pyspark has an environment of its own

    return SparkEngine(request.getfixturevalue("spark"), request.getfixturevalue("tmp_path_factory"), _local)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let an engine that computes many worlds in one job prepare all those of a law."""
    if prepare := getattr(pyfuncitem.funcargs.get("engine"), "prepare", None):
        prepare(pyfuncitem.obj)


@st.composite
def _rows(draw: st.DrawFn) -> list[Row]:
    """Draw rows of few customers and merchants over seventy days, so that ties, gaps and extremes are common."""
    seconds = st.one_of(st.integers(0, 70 * DAY - 1), st.sampled_from([0, 3599, 3600, DAY - 1, DAY, 7 * DAY, 37 * DAY]))
    coordinate = st.one_of(st.none(), st.sampled_from([0.0, 51.5, -33.9, 89.9]))
    rows = []
    for number in range(draw(st.integers(1, 25))):
        second = MONDAY + draw(seconds)
        day = second // DAY
        rows.append(
            {
                "transaction_id": f"t{number:03}",
                "customer_id": draw(st.sampled_from("ABC")),
                "merchant": draw(st.sampled_from("MN")),
                "merchant_category": draw(st.sampled_from(["food", None])),
                "second": second,
                "cents": draw(st.one_of(st.sampled_from([0, 1, 999, 10_000_000]), st.integers(0, 50_000))),
                "latitude": draw(coordinate),
                "longitude": draw(coordinate),
                "customer_latitude": draw(coordinate),
                "customer_longitude": draw(coordinate),
                "is_fraud": draw(st.sampled_from([0, 1, 1])),
                "known_day": day + draw(st.sampled_from([0, 3, DELAY, DELAY + 1, 20, 40])),
            }
        )
    return rows


some_rows = _rows()
