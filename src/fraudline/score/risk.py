"""The columns derived from a score: confidence, risk level, alert priority and reason codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.risk import BOUNDS, HIGH, LOW, MEDIUM, NORMAL, URGENT, above
from fraudline.catalog.schema import SCORES

if TYPE_CHECKING:  # filter-high-risk imports this module, and need not import XGBoost
    from fraudline.model.model import Model

REASONS = 3

ReasonCode = dict[str, Any]


def score(model: Model, ids: Sequence[str] | pl.Series, rows: NDArray[np.float32]) -> pl.DataFrame:
    """Score rows with a model.

    Args:
        model: the model that scores and explains.
        ids: transaction ids of the rows.
        rows: rows x features, NaN where a value is missing.

    Returns:
        A table of schema SCORES, in the order of the rows; ``reasons`` is null at level LOW.
    """
    margins = model.margins(rows)
    scores = model.scores(margins)
    # SHAP values take far longer than scores, and nobody reads the reasons of a low score.
    explained = np.flatnonzero(above(scores, BOUNDS[MEDIUM]))
    reasons: list[list[ReasonCode] | None] = [None] * len(rows)
    for row, codes in zip(explained, reason_codes(model, rows[explained]), strict=True):
        reasons[row] = codes
    table = pl.DataFrame({"transaction_id": ids, "margin": margins, "fraud_score": scores}).with_columns(
        confidence=pl.max_horizontal("fraud_score", 1 - pl.col("fraud_score")),
        risk_level=risk_level(pl.col("fraud_score")),
        reasons=pl.Series(reasons, dtype=SCORES["reasons"]),
        model_version=pl.lit(model.version),
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in SCORES.items())


def risk_level(fraud_score: pl.Expr) -> pl.Expr:
    """Return HIGH for scores above 0.8, MEDIUM above 0.5, else LOW."""
    return (
        pl.when(above(fraud_score, BOUNDS[HIGH]))
        .then(pl.lit(HIGH))
        .when(above(fraud_score, BOUNDS[MEDIUM]))
        .then(pl.lit(MEDIUM))
        .otherwise(pl.lit(LOW))
    )


def alert_priority(expected_loss: pl.Expr, urgent_loss: float) -> pl.Expr:
    """Return URGENT where the expected loss (score x amount) reaches ``urgent_loss``, else NORMAL."""
    return pl.when(expected_loss >= urgent_loss).then(pl.lit(URGENT)).otherwise(pl.lit(NORMAL))


def reason_codes(model: Model, rows: NDArray[np.float32]) -> list[list[ReasonCode]]:
    """Return for each row up to three features that raise its margin most, the strongest first.

    Args:
        model: the model that explains.
        rows: rows x features, NaN where a value is missing.

    Returns:
        For each row, a list with ``feature``, ``value`` (None if missing) and ``contribution`` (SHAP value, log-odds).
    """
    if not len(rows):
        return []
    contributions = model.contributions(rows)[:, :-1]  # the last column is the bias
    largest = np.argsort(-contributions, axis=1, kind="stable")[:, :REASONS]
    return [
        [
            _reason(name=model.features[column], value=row[column], contribution=of_row[column])
            for column in columns
            if of_row[column] > 0
        ]
        for row, of_row, columns in zip(rows, contributions, largest, strict=True)
    ]


def _reason(name: str, value: np.float32, contribution: np.float32) -> ReasonCode:
    return {"feature": name, "value": None if np.isnan(value) else float(value), "contribution": float(contribution)}
