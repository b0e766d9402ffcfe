"""Metrics: the field's own definitions, and weights that stand for repeated rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fraudline.model.metrics import CardRanking, Ranking, average_precision

rows = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])), min_size=1, max_size=30)


@given(rows=rows.filter(lambda rows: any(label for label, _ in rows)))
def test_average_precision_equals_scikit_learns(rows: list[tuple[int, float]]):
    labels, margins = (np.array(column) for column in zip(*rows, strict=True))
    assert average_precision(labels, margins) == pytest.approx(average_precision_score(labels, margins))


@given(rows=rows.filter(lambda rows: any(label for label, _ in rows)), data=st.data())
def test_weight_counts_a_row_that_many_times(rows: list[tuple[int, float]], data: st.DataObject):
    """Otherwise weights could not stand for a bootstrap sample."""
    weights = np.array([data.draw(st.integers(0, 3)) for _ in rows], float)
    labels, margins = (np.array(column) for column in zip(*rows, strict=True))
    repeated = [np.repeat(column, weights.astype(int)) for column in (labels, margins)]
    weighted = Ranking(labels, margins).average_precision(weights)
    assert weighted == pytest.approx(average_precision(*repeated), nan_ok=True)


def test_cards_of_a_day_rank_by_their_highest_margin():
    cards = pl.Series(["a", "a", "b", "c", "a", "b"])
    days = pl.Series([1, 1, 1, 1, 2, 2])
    labels = np.array([0, 1, 0, 1, 0, 1])
    margins = np.array([0.1, 0.9, 0.8, 0.2, 0.7, 0.6])
    ranking = CardRanking(cards, days, labels, margins)
    assert ranking.precision(1) == pytest.approx((1 + 0) / 2)
    assert ranking.precision(2) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_card_counted_twice_uses_the_budget_twice():
    ranking = CardRanking(pl.Series(["a", "b"]), pl.Series([1, 1]), np.array([1, 0]), np.array([0.9, 0.1]))
    weights = np.where(ranking.cards.to_numpy() == "a", 3.0, 1.0)
    assert ranking.precision(2, weights) == 1.0
