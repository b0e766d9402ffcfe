"""The laws of every engine: it agrees with the oracle, and it sees nothing that was not known at the time."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraudline.catalog.features import FEATURES, DistanceFromHome, DistanceFromPrevious, SpeedFromPrevious

from .conftest import DAY, DELAY, Engine, Row, cases, some_rows
from .oracle import feature

# sin and cos of two libraries may differ in the last bit.
INEXACT = (DistanceFromHome, DistanceFromPrevious, SpeedFromPrevious)


@cases(400)
@given(rows=some_rows)
def test_engine_agrees_with_the_oracle(engine: Engine, rows: list[Row]):
    computed = engine(rows)
    for definition in FEATURES:
        answers = [feature(definition, row, rows, DELAY) for row in rows]
        expected = np.array([np.nan if answer is None else answer for answer in answers], np.float32)
        actual = computed.get_column(definition.name).to_numpy()
        tolerance = 2e-7 if isinstance(definition.aggregate, INEXACT) else 6e-8
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-6, err_msg=definition.name)


@cases(150)
@given(rows=some_rows, cut=st.integers(0, 24))
def test_later_row_never_changes_an_earlier_feature(engine: Engine, rows: list[Row], cut: int):
    """A feature sees only what was known at the time of its row."""
    ordered = sorted(rows, key=lambda row: row["second"])
    second = ordered[min(cut, len(ordered) - 1)]["second"]
    earlier = [row for row in rows if row["second"] <= second]
    assert_frame_equal(engine(earlier), _of(engine(rows), earlier))


@cases(150)
@given(rows=some_rows, today=st.integers(0, 70))
def test_label_within_the_delay_never_changes_a_feature(engine: Engine, rows: list[Row], today: int):
    """Labels come late: what an investigation finds next week is not known today."""
    day = min(row["second"] for row in rows) // DAY + today
    past = [row for row in rows if row["second"] // DAY <= day]
    if not past:
        return
    flipped = [_flipped(row) if row["second"] // DAY >= day - DELAY else row for row in past]
    of_day = [row for row in past if row["second"] // DAY == day]
    assert_frame_equal(_of(engine(past), of_day), _of(engine(flipped), of_day))


@cases(150)
@given(rows=some_rows)
def test_label_not_yet_known_never_changes_a_feature(engine: Engine, rows: list[Row]):
    """A label counts from the day after it became known, however old its transaction is."""
    last = max(row["second"] for row in rows) // DAY
    flipped = [_flipped(row) if row["known_day"] >= last else row for row in rows]
    of_day = [row for row in rows if row["second"] // DAY == last]
    assert_frame_equal(_of(engine(rows), of_day), _of(engine(flipped), of_day))


@cases(100)
@given(rows=some_rows, seed=st.integers(0, 99))
def test_order_of_rows_changes_nothing(engine: Engine, rows: list[Row], seed: int):
    """Files arrive in any order."""
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    assert_frame_equal(engine(rows), engine(shuffled))


@cases(100)
@given(rows=some_rows)
def test_other_customers_change_no_customer_feature(engine: Engine, rows: list[Row]):
    """A customer's features see that customer's transactions alone."""
    names = [definition.name for definition in FEATURES if definition.entity in ("transaction", "customer")]
    alone = [row for row in rows if row["customer_id"] == rows[0]["customer_id"]]
    columns = ["transaction_id", *names]
    assert_frame_equal(engine(alone).select(columns), _of(engine(rows), alone).select(columns))


def _flipped(row: Row) -> Row:
    return row | {"is_fraud": 1 - row["is_fraud"]}


def _of(features: pl.DataFrame, rows: list[Row]) -> pl.DataFrame:
    return features.filter(pl.col("transaction_id").is_in([row["transaction_id"] for row in rows]))
