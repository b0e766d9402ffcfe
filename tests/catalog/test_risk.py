"""A score equal to a threshold is not above it, whatever holds the score."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraudline.catalog.risk import above

SCORES = (0.79, 0.8, 0.81)


@pytest.mark.parametrize(
    "compare",
    [
        lambda scores: [above(score, 0.8) for score in scores],
        lambda scores: above(np.array(scores), 0.8).tolist(),
        lambda scores: pl.DataFrame({"score": scores}).select(above(pl.col("score"), 0.8)).to_series().to_list(),
    ],
    ids=["floats", "arrays", "expressions"],
)
def test_score_equal_to_the_threshold_is_not_above(compare):
    assert compare(SCORES) == [False, False, True]
