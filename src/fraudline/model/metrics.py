"""Metrics of a ranking. A weight says how many times a row counts, so a bootstrap sample is a set of weights."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


def average_precision(labels: Labels, margins: Floats) -> float:
    """Return the area under the steps of precision over recall, as scikit-learn defines it; ties rank as one."""
    return Ranking(labels, margins).average_precision(np.ones(len(labels)))


class Ranking:
    """Rows sorted by margin once, and then measured with many sets of weights."""

    def __init__(self, labels: Labels, margins: Floats) -> None:
        self._order = np.argsort(-margins, kind="stable")
        ranked = margins[self._order]
        self._last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        self._labels = labels[self._order]

    def average_precision(self, weights: Floats) -> float:
        """Return the average precision of the weighted rows, NaN if none of them is fraud."""
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
    """The cards of each day, ranked by their highest margin; analysts review k cards a day.

    Attributes:
        cards: the card of each entry; the weights of ``precision`` are in the same order.
    """

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
        """Return card-precision@k: the share of compromised cards among a day's first k, averaged over the days.

        Args:
            k: cards reviewed a day.
            weights: the number of times that each entry of ``cards`` counts; once by default.
        """
        weights = np.ones(len(self._frauds)) if weights is None else weights
        precisions = []
        for first, end in zip(self._firsts, [*self._firsts[1:], len(weights)], strict=True):
            counted = np.cumsum(weights[first:end])
            # The card that exceeds the budget counts only as often as the rest of the budget allows.
            reviewed = np.clip(k - (counted - weights[first:end]), 0, weights[first:end])
            precisions.append(float(np.sum(reviewed * self._frauds[first:end]) / k))
        return float(np.mean(precisions))
