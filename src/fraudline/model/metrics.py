"""How good a ranking is. Weights count a row so many times; bootstrap samples are weights."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


def average_precision(labels: Labels, margins: Floats) -> float:
    """Area under precision over recall by steps, tied rows as one, as in scikit-learn."""
    return Ranking(labels, margins).average_precision(np.ones(len(labels)))


class Ranking:
    """Rows sorted once by margin, to be weighed many times."""

    def __init__(self, labels: Labels, margins: Floats) -> None:
        self._order = np.argsort(-margins, kind="stable")
        ranked = margins[self._order]
        self._last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        self._labels = labels[self._order]

    def average_precision(self, weights: Floats) -> float:
        """With rows counted ``weights`` times; NaN where no fraud is."""
        if not len(weights):
            return float("nan")
        weighted = weights[self._order]
        frauds = np.cumsum(weighted * self._labels)[self._last_of_tie]
        rows = np.cumsum(weighted)[self._last_of_tie]
        if frauds[-1] == 0:
            return float("nan")
        precision = frauds / np.maximum(rows, 1e-300)
        return float(np.sum(np.diff(frauds, prepend=0.0) * precision) / frauds[-1])


class CardRanking:
    """Cards of each day, ranked by their highest margin; an analyst's budget is k cards a day."""

    def __init__(self, cards: pl.Series, days: pl.Series, labels: Labels, margins: Floats) -> None:
        table = pl.DataFrame({"card": cards, "day": days, "fraud": labels, "margin": margins})
        ranked = (
            table.group_by("day", "card")
            .agg(pl.col("margin").max(), pl.col("fraud").max())
            .sort(["day", "margin", "card"], descending=[False, True, False])
        )
        self.cards = ranked.get_column("card")
        self._frauds = ranked.get_column("fraud").to_numpy().astype(float)
        self._firsts = (
            ranked.with_row_index().group_by("day", maintain_order=True).first().get_column("index").to_numpy()
        )

    def precision(self, k: int, weights: Floats | None = None) -> float:
        """Mean over days of the share of compromised cards among the first k, each counted so many times."""
        weights = np.ones(len(self._frauds)) if weights is None else weights
        precisions = []
        for first, end in zip(self._firsts, [*self._firsts[1:], len(weights)], strict=True):
            seen = np.cumsum(weights[first:end])
            # The last card that fits counts for what is left of the budget.
            taken = np.clip(k - (seen - weights[first:end]), 0, weights[first:end])
            precisions.append(float(np.sum(taken * self._frauds[first:end]) / k))
        return float(np.mean(precisions))
