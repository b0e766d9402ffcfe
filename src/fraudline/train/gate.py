"""The gate: whether a challenger may replace the champion, by floors and a paired bootstrap by card.

Both models score the same test window. Cards are drawn with replacement, because the transactions of
one card are not independent; each draw weights both models, so their difference is paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.model.metrics import CardRanking, Floats, Labels, Ranking

CARDS = 100  # that analysts review a day
# The gate's metrics, as evaluate-model's summary names them.
AVERAGE_PRECISION = "average_precision"
CARD_PRECISION = f"card_precision_at_{CARDS}"
# How much worse a challenger may be, to allow for chance.
MARGINS = {AVERAGE_PRECISION: 0.01, CARD_PRECISION: 0.02}


@dataclass(frozen=True)
class Comparison:
    """Challenger less champion, with the bounds that hold 95 % of the bootstrap's differences."""

    difference: float
    low: float
    high: float


Comparisons = dict[str, Comparison]


@dataclass(frozen=True)
class Verdict:
    """The decision whether to deploy, and its reasons, for people."""

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
        challenger: its margin of each row.
        champion: its margin of each row.
        samples: bootstrap samples.
        seed: of the draws.
    """
    cards = keys.get_column("customer_id").unique().sort()
    challenged, defended = _Judged(keys, labels, challenger, cards), _Judged(keys, labels, champion, cards)

    def measure(card_weights: Floats) -> NDArray[np.float64]:
        return challenged.metrics(card_weights) - defended.metrics(card_weights)

    random = np.random.default_rng(seed)
    draws = (random.multinomial(len(cards), np.full(len(cards), 1 / len(cards))) for _ in range(samples))
    differences = np.array([measure(draw.astype(float)) for draw in draws])
    low, high = np.nanquantile(differences, [0.025, 0.975], axis=0)
    whole = measure(np.ones(len(cards)))
    return {
        name: Comparison(float(whole[position]), float(low[position]), float(high[position]))
        for position, name in enumerate((AVERAGE_PRECISION, CARD_PRECISION))
    }


class _Judged:
    """One model's rankings, to be measured under weights of cards."""

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
        metrics: the challenger's.
        floors: the lowest value of each metric that may be deployed.
        comparison: with the champion; None if there is no champion yet, or the reason why it can't be compared.
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
    """Return why the challenger may be worse than the champion by more than a margin, or empty if it is not."""
    return [
        f"{name}: challenger less champion is {comparisons[name].difference:+.3f}, and may be as low as "
        f"{comparisons[name].low:+.3f}, below {-margin}"
        for name, margin in MARGINS.items()
        if not comparisons[name].low > -margin
    ]
