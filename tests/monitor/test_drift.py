"""Drift: features that moved are reported, and the ordinary differences of a single day are not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fraudline.model.histograms import histogram
from fraudline.monitor.drift import PSI_SHIFTED, largest_shift, measure, verdict

RANDOM = np.random.default_rng(3)
DAYS = np.repeat(np.arange(28), 500)
AMOUNT = RANDOM.lognormal(3, 1, len(DAYS)).astype(np.float32)
AMOUNT[RANDOM.random(len(DAYS)) < 0.1] = np.nan
WEEKEND = (DAYS % 7 >= 5).astype(np.float32)
ONES = np.ones(len(DAYS), np.float32)
HISTOGRAMS = {"amount": histogram(AMOUNT, DAYS, ONES), "is_weekend": histogram(WEEKEND, DAYS, ONES)}


def verdicts(amount: np.ndarray, weekend: np.ndarray) -> dict[str, str]:
    table = measure(np.column_stack([amount, weekend]), HISTOGRAMS)
    return {row["feature"]: verdict(row["psi"], row["usual"]) for row in table.iter_rows(named=True)}


def test_day_like_those_of_training_has_not_drifted():
    assert verdicts(AMOUNT[:500], WEEKEND[:500]) == {"amount": "stable", "is_weekend": "as usual"}


def test_saturday_is_no_drift():
    """Every row of a day has the same weekday; the usual PSI shows how far single days are from training."""
    saturday = DAYS == 5
    assert verdicts(AMOUNT[saturday], WEEKEND[saturday])["is_weekend"] == "as usual"


@pytest.mark.parametrize("amount", [AMOUNT[:500] * 3, np.full(500, np.nan, np.float32)], ids=["larger", "missing"])
def test_values_that_move_or_go_missing_are_drift(amount: np.ndarray):
    assert verdicts(amount, WEEKEND[:500])["amount"] == "shifted"


@pytest.mark.parametrize(
    ("psi", "usual", "word"),
    [
        (0.1, 0.0, "stable"),
        (0.11, 0.0, "watch"),
        (0.25, 0.0, "watch"),
        (0.26, 0.0, "shifted"),
        (0.1, 0.3, "stable"),
        (0.11, 0.3, "as usual"),
        (0.26, 0.3, "as usual"),
        (0.4, 0.3, "shifted"),
        (7.2, 7.2, "as usual"),
    ],
)
def test_verdict_depends_on_fixed_bounds_and_usual_psi(psi: float, usual: float, word: str):
    assert verdict(psi, usual) == word


@pytest.mark.parametrize(
    ("psi", "usual", "shift"), [(0.4, 0.3, 0.4), (7.2, 7.2, 0.0), (0.05, 0.1, 0.0), (0.2, 0.1, 0.2)]
)
def test_largest_shift_alarms_where_the_verdict_is_shifted(psi: float, usual: float, shift: float):
    measured = pl.DataFrame({"psi": [psi, 0.01], "usual": [usual, 0.05]})
    assert largest_shift(measured) == shift
    assert (shift > PSI_SHIFTED) == (verdict(psi, usual) == "shifted")
