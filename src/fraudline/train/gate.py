"""The gate: decide whether a challenger may replace the champion, by floors and a paired bootstrap by card.

Both models score the same test window. The bootstrap draws whole cards with replacement, because the
transactions of one card are not independent. Each draw weights both models alike, so the comparison is paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.model.metrics import CardRanking, Floats, Labels, Ranking

CARDS = 100  # cards that analysts review per day
# The gate's metrics, as evaluate-model's summary names them.
AVERAGE_PRECISION = "average_precision"
CARD_PRECISION = f"card_precision_at_{CARDS}"
# How much worse a challenger may be than the champion, to allow for chance.
MARGINS = {AVERAGE_PRECISION: 0.01, CARD_PRECISION: 0.02}


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion in one metric, with the interval of 95 % of the bootstrap's differences."""

    difference: float
    low: float
    high: float


Comparisons = dict[str, Comparison]


@dataclass(frozen=True)
class Verdict:
    """The decision whether to deploy, and its reasons in words."""

    deploy: bool
    reasons: tuple[str, ...]


def compare(
    keys: pl.DataFrame,
    labels: Labels,
    challenger: NDArray[np.float32],
    champion: NDArray[np.float32],
    *,
    samples: int,
    seed: int,
) -> Comparisons:
    """Compare two models' margins over the same rows, by average precision and card-precision@100.

    Args:
        keys: customer_id and timestamp of the rows.
        labels: 1 for fraud, else 0.
        challenger: the challenger's margin of each row.
        champion: the champion's margin of each row.
        samples: the number of bootstrap samples.
        seed: the seed of the draws.

    Returns:
        The comparison in each metric, by name.
    """
    cards = keys.get_column("customer_id").unique().sort()
    challenger_ranking = _WeightedRanking(keys, labels, challenger, cards)
    champion_ranking = _WeightedRanking(keys, labels, champion, cards)

    def measure(card_weights: Floats) -> NDArray[np.float64]:
        return challenger_ranking.metrics(card_weights) - champion_ranking.metrics(card_weights)

    random = np.random.default_rng(seed)
    draws = (random.multinomial(len(cards), np.full(len(cards), 1 / len(cards))) for _ in range(samples))
    differences = np.array([measure(draw.astype(float)) for draw in draws])
    low, high = np.nanquantile(differences, [0.025, 0.975], axis=0)
    whole = measure(np.ones(len(cards)))
    return {
        name: Comparison(float(whole[position]), float(low[position]), float(high[position]))
        for position, name in enumerate((AVERAGE_PRECISION, CARD_PRECISION))
    }


class _WeightedRanking:
    """The ranking of one model, measured with weights by card."""

    def __init__(self, keys: pl.DataFrame, labels: Labels, margins: NDArray[np.float32], cards: pl.Series) -> None:
        row_cards = keys.get_column("customer_id")
        self._ranking = Ranking(labels, margins)
        self._card_ranking = CardRanking(row_cards, keys.get_column("timestamp").dt.date(), labels, margins)
        self._row_positions = _positions(row_cards, cards)
        self._ranked_positions = _positions(self._card_ranking.cards, cards)

    def metrics(self, card_weights: Floats) -> NDArray[np.float64]:
        """Return average precision and card-precision@100, each card counted as often as it was drawn."""
        return np.array(
            [
                self._ranking.average_precision(card_weights[self._row_positions]),
                self._card_ranking.precision(CARDS, card_weights[self._ranked_positions]),
            ]
        )


def _positions(names: pl.Series, cards: pl.Series) -> NDArray[Any]:
    """Return the position of each name in the sorted cards."""
    return names.replace_strict(cards, np.arange(len(cards))).to_numpy()


def judge(metrics: dict[str, float], floors: dict[str, float], comparison: Comparisons | str | None) -> Verdict:
    """Return the verdict on a challenger.

    Args:
        metrics: the metrics of the challenger.
        floors: the lowest value of each metric with which a challenger may be deployed.
        comparison: the comparison with the champion, or the reason why the models can't be compared, or None if there
            is no champion yet.
    """
    reasons = [
        f"{name} {metrics[name]:.3f} is below the floor of {floor:.3f}"
        for name, floor in floors.items()
        if not metrics[name] >= floor  # NaN is below every floor
    ]
    if isinstance(comparison, str):
        reasons.append(f"incomparable: {comparison}; a person has to decide")
    elif comparison is not None:
        reasons += _worse(comparison)
    if reasons:
        return Verdict(False, tuple(reasons))
    reason = "there is no champion yet" if comparison is None else "not worse than the champion"
    return Verdict(True, (f"floors hold; {reason}",))


def _worse(comparisons: Comparisons) -> list[str]:
    """Return a reason for each metric in which the challenger may be worse by more than its margin."""
    return [
        f"{name}: challenger less champion is {comparisons[name].difference:+.3f}, and may be as low as "
        f"{comparisons[name].low:+.3f}, below {-margin}"
        for name, margin in MARGINS.items()
        if not comparisons[name].low > -margin
    ]
