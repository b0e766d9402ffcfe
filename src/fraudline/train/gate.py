"""Whether a challenger may replace the champion: floors, and a paired bootstrap by card.

Both score the same test window. Cards are drawn with replacement, because a card's transactions
stand and fall together; the same draw weighs both models, so their difference is paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.model.metrics import CardRanking, Labels, Ranking

AVERAGE_PRECISION_MARGIN = 0.01
CARD_PRECISION_MARGIN = 0.02
CARDS = 100


@dataclass(frozen=True)
class Comparison:
    """Challenger less champion, with the bounds that hold 95 % of the bootstrap's differences."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """Whether to deploy, and why, in words."""

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
) -> dict[str, Comparison]:
    """average_precision and card_precision_at_100 of two models' margins over the same rows.

    Args:
        keys: customer_id and timestamp of the rows.
        labels: 0 or 1.
        challenger: its margins.
        champion: its margins.
        samples: bootstrap samples.
        seed: of the draws.
    """
    cards = keys.get_column("customer_id")
    days = keys.get_column("timestamp").dt.date()
    names = cards.unique().sort()
    row_card = cards.replace_strict(names, np.arange(len(names))).to_numpy()
    rankings = [(Ranking(labels, m), CardRanking(cards, days, labels, m)) for m in (challenger, champion)]
    places = [by_card.cards.replace_strict(names, np.arange(len(names))).to_numpy() for _, by_card in rankings]

    def measure(card_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        (ours, ours_by_card), (theirs, theirs_by_card) = rankings
        rows = card_weights[row_card]
        return np.array(
            [
                ours.average_precision(rows) - theirs.average_precision(rows),
                ours_by_card.precision(CARDS, card_weights[places[0]])
                - theirs_by_card.precision(CARDS, card_weights[places[1]]),
            ]
        )

    random = np.random.default_rng(seed)
    draws = (random.multinomial(len(names), np.full(len(names), 1 / len(names))) for _ in range(samples))
    differences = np.array([measure(draw.astype(float)) for draw in draws])
    low, high = np.nanquantile(differences, [0.025, 0.975], axis=0)
    whole = measure(np.ones(len(names)))
    return {
        name: Comparison(float(whole[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(("average_precision", f"card_precision_at_{CARDS}"))
    }


def judge(
    metrics: dict[str, float], floors: dict[str, float], comparison: dict[str, Comparison] | str | None
) -> Verdict:
    """The verdict.

    Args:
        metrics: the challenger's.
        floors: the least that these metrics may be.
        comparison: with the champion; None where there is no champion yet, or why it can't be a judge.
    """
    reasons = [
        f"{name} {metrics[name]:.3f} is below the floor of {floor:.3f}"
        for name, floor in floors.items()
        if not metrics[name] >= floor
    ]
    if isinstance(comparison, str):
        reasons.append(f"incomparable: {comparison}; a person has to decide")
    elif comparison is not None:
        margins = {"average_precision": AVERAGE_PRECISION_MARGIN, f"card_precision_at_{CARDS}": CARD_PRECISION_MARGIN}
        reasons += [
            f"{name}: challenger less champion is {comparison[name].difference:+.3f}, and may be as low as "
            f"{comparison[name].low:+.3f}, below {-margin}"
            for name, margin in margins.items()
            if not comparison[name].low > -margin
        ]
    if reasons:
        return Verdict(False, tuple(reasons))
    held = "floors hold; " + ("there is no champion yet" if comparison is None else "not worse than the champion")
    return Verdict(True, (held,))
