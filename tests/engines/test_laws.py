"""What every engine owes: the definitions' own answer, and nothing that was not known at the moment."""

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

# sin and cos differ in the last bit from one library to another.
INEXACT = (DistanceFromHome, DistanceFromPrevious, SpeedFromPrevious)


@cases(400)
@given(rows=some_rows)
def test_an_engine_gives_what_the_definitions_say(engine: Engine, rows: list[Row]):
    computed = engine(rows)
    for definition in FEATURES:
        answers = [feature(definition, row, rows, DELAY) for row in rows]
        expected = np.array([np.nan if answer is None else answer for answer in answers], np.float32)
        got = computed.get_column(definition.name).to_numpy()
        tolerance = 2e-7 if isinstance(definition.aggregate, INEXACT) else 6e-8
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=1e-6, err_msg=definition.name)


@cases(150)
@given(rows=some_rows, cut=st.integers(0, 24))
def test_a_later_row_never_changes_an_earlier_feature(engine: Engine, rows: list[Row], cut: int):
    """A feature may only see what was known at its moment."""
    ordered = sorted(rows, key=lambda row: row["second"])
    moment = ordered[min(cut, len(ordered) - 1)]["second"]
    earlier = [row for row in rows if row["second"] <= moment]
    assert_frame_equal(engine(earlier), _of(engine(rows), earlier))


@cases(150)
@given(rows=some_rows, today=st.integers(0, 70))
def test_a_label_younger_than_the_delay_never_changes_a_feature(engine: Engine, rows: list[Row], today: int):
    """Labels come late; what an investigation finds next week is not known today."""
    day = min(row["second"] for row in rows) // DAY + today
    until = [row for row in rows if row["second"] // DAY <= day]
    if not until:
        return
    young = [row | {"is_fraud": 1 - row["is_fraud"]} if row["second"] // DAY >= day - DELAY else row for row in until]
    of_day = [row for row in until if row["second"] // DAY == day]
    assert_frame_equal(_of(engine(until), of_day), _of(engine(young), of_day))


@cases(150)
@given(rows=some_rows)
def test_a_label_not_yet_known_never_changes_a_feature(engine: Engine, rows: list[Row]):
    """A late label counts from the day after it became known, however old its transaction is."""
    last = max(row["second"] for row in rows) // DAY
    unknown = [row | {"is_fraud": 1 - row["is_fraud"]} if row["known_day"] >= last else row for row in rows]
    of_day = [row for row in rows if row["second"] // DAY == last]
    assert_frame_equal(_of(engine(rows), of_day), _of(engine(unknown), of_day))


@cases(100)
@given(rows=some_rows, seed=st.integers(0, 99))
def test_the_order_of_rows_changes_nothing(engine: Engine, rows: list[Row], seed: int):
    """Files arrive in any order."""
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    assert_frame_equal(engine(rows), engine(shuffled))


@cases(100)
@given(rows=some_rows)
def test_another_customer_changes_no_feature_of_a_customer(engine: Engine, rows: list[Row]):
    """One card's history is its own."""
    names = [definition.name for definition in FEATURES if definition.entity in ("transaction", "customer")]
    alone = [row for row in rows if row["customer_id"] == rows[0]["customer_id"]]
    columns = ["transaction_id", *names]
    assert_frame_equal(engine(alone).select(columns), _of(engine(rows), alone).select(columns))


def _of(features: pl.DataFrame, rows: list[Row]) -> pl.DataFrame:
    return features.filter(pl.col("transaction_id").is_in([row["transaction_id"] for row in rows]))
