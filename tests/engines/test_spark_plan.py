"""What Spark will do with the definitions, read from its own plan: it decides how they grow."""

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
    """The lines of the plan for tables of which nobody knows that any is small."""
    from fraudline.features.spark_engine import compute  # noqa: PLC0415 - it has an environment of its own

    rows, counts, frauds = (spark.createDataFrame([], schema) for schema in (ROWS, COUNTS, FRAUDS))
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", -1)
    features = compute(rows, counts, frauds, 7)
    lines = features._jdf.queryExecution().executedPlan().treeString().splitlines()
    spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
    return [re.sub(r"#\d+L?", "", line) for line in lines]


def test_rows_are_shuffled_once_for_customers_and_once_for_merchants(plan: list[str]):
    """A shuffle moves every row between machines and is most of what a large job costs; a category would be skewed."""
    keys = [re.search(r"hashpartitioning\((.*), \d+\)", line) for line in _above_rows(plan)]
    assert [key and key[1] for key in keys] == ["customer_id", "merchant, day"]


def test_no_python_runs_row_by_row(plan: list[str]):
    assert not [line for line in plan if "Python" in line or "Pandas" in line]


def _above_rows(plan: list[str]) -> list[str]:
    """The exchanges that the rows themselves pass through: those above where they are read."""
    depth = [len(line) - len(line.lstrip(" :+-")) for line in plan]
    at = next(number for number, line in enumerate(plan) if "Scan" in line and "customer_latitude" in line)
    above, level = [], depth[at]
    for number in range(at, -1, -1):
        if depth[number] < level:
            level = depth[number]
            above.append(plan[number])
    return [line for line in reversed(above) if "Exchange" in line]
