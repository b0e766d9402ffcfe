"""Drift: what has moved, and not what one day of a week is like."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraudline.model.histograms import histogram
from fraudline.monitor.drift import drift, verdict

RANDOM = np.random.default_rng(3)
DAYS = np.repeat(np.arange(28), 500)
AMOUNT = RANDOM.lognormal(3, 1, len(DAYS)).astype(np.float32)
AMOUNT[RANDOM.random(len(DAYS)) < 0.1] = np.nan
WEEKEND = (DAYS % 7 >= 5).astype(np.float32)
ONES = np.ones(len(DAYS), np.float32)
HISTOGRAMS = {"amount": histogram(AMOUNT, DAYS, ONES), "is_weekend": histogram(WEEKEND, DAYS, ONES)}


def measured(amount: np.ndarray, weekend: np.ndarray) -> dict[str, str]:
    table = drift(pl.DataFrame({"amount": amount, "is_weekend": weekend}), HISTOGRAMS)
    return {row["feature"]: verdict(row["psi"], row["usual"]) for row in table.iter_rows(named=True)}


def test_a_day_like_those_of_training_has_not_drifted():
    assert measured(AMOUNT[:500], WEEKEND[:500]) == {"amount": "stable", "is_weekend": "stable"}


def test_a_saturday_is_no_drift():
    """A day's every row is of one weekday; only training's own days tell how far that lies from the whole."""
    saturday = DAYS == 5
    assert measured(AMOUNT[saturday], WEEKEND[saturday])["is_weekend"] == "stable"


@pytest.mark.parametrize("moved", [AMOUNT[:500] * 3, np.full(500, np.nan, np.float32)], ids=["larger", "missing"])
def test_values_that_move_or_go_missing_are_drift(moved: np.ndarray):
    assert measured(moved, WEEKEND[:500])["amount"] == "shifted"


@pytest.mark.parametrize(
    ("psi", "usual", "word"),
    [
        (0.1, 0.0, "stable"),
        (0.11, 0.0, "watch"),
        (0.25, 0.0, "watch"),
        (0.26, 0.0, "shifted"),
        (0.26, 0.3, "stable"),
        (0.4, 0.3, "shifted"),
    ],
)
def test_drift_has_three_words_and_knows_what_is_usual(psi: float, usual: float, word: str):
    assert verdict(psi, usual) == word
