"""Spark's plan for the definitions, which decides how a job grows with its rows."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.spark

ROWS = (
    "transaction_id string, customer_id string, merchant string, cents long, timestamp timestamp, "
    "merchant_category string, latitude double, longitude double, customer_latitude double, customer_longitude double"
)
COUNTS = "entity string, key string, day int, transactions long"
FRAUDS = "entity string, key string, day int, known_day int, frauds long"


@pytest.fixture
def plan(spark: Any) -> list[str]:
    """Return the lines of the plan for tables whose sizes Spark does not know."""
    from fraudline.features.spark_engine import compute  # noqa: PLC0415 - pyspark has an environment of its own

    rows, counts, frauds = (spark.createDataFrame([], schema) for schema in (ROWS, COUNTS, FRAUDS))
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", -1)
    features = compute(rows, counts, frauds, 7)
    lines = features._jdf.queryExecution().executedPlan().treeString().splitlines()
    spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
    return [re.sub(r"#\d+L?", "", line) for line in lines]


def test_rows_are_shuffled_by_customer_and_by_merchant_only(plan: list[str]):
    """A shuffle moves every row and is most of the cost of a large job; one by category would be skewed."""
    keys = [re.search(r"hashpartitioning\((.*), \d+\)", line) for line in _above_rows(plan)]
    assert [key and key[1] for key in keys] == ["customer_id", "merchant, day"]


def test_no_python_runs_per_row(plan: list[str]):
    assert not [line for line in plan if "Python" in line or "Pandas" in line]


def _above_rows(plan: list[str]) -> list[str]:
    """Return the exchanges that the rows themselves pass through: those above their scan."""
    depth = [len(line) - len(line.lstrip(" :+-")) for line in plan]
    scan = next(number for number, line in enumerate(plan) if "Scan" in line and "customer_latitude" in line)
    above, level = [], depth[scan]
    for number in range(scan, -1, -1):
        if depth[number] < level:
            level = depth[number]
            above.append(plan[number])
    return [line for line in reversed(above) if "Exchange" in line]
