"""From a score to what a person reads: confidence, risk level, priority, reason codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.risk import BOUNDS, HIGH, LOW, MEDIUM, NORMAL, URGENT, above
from fraudline.catalog.schema import SCORES

if TYPE_CHECKING:  # to rank and to filter needs no XGBoost
    from fraudline.model.model import Model

REASONS = 3


def score(model: Model, ids: Sequence[str] | pl.Series, rows: NDArray[np.float32]) -> pl.DataFrame:
    """Score rows with a model (schema SCORES); reasons stand above LOW only.

    Args:
        model: scores and explains.
        ids: transaction ids of the rows.
        rows: rows x features, NaN where a value is missing.
    """
    margins = model.margins(rows)
    scores = model.scores(margins)
    explained = np.flatnonzero(above(scores, BOUNDS[MEDIUM]))
    reasons: list[list[dict[str, Any]] | None] = [None] * len(rows)
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


def reason_codes(model: Model, rows: NDArray[np.float32]) -> list[list[dict[str, Any]]]:
    """For each row the three features that raise its margin most: feature, value, contribution (log-odds)."""
    if not len(rows):
        return []
    contributions = model.contributions(rows)[:, :-1]
    largest = np.argsort(-contributions, axis=1, kind="stable")[:, :REASONS]
    return [
        [
            {
                "feature": model.features[column],
                "value": None if np.isnan(row[column]) else float(row[column]),
                "contribution": float(given[column]),
            }
            for column in columns
            if given[column] > 0
        ]
        for row, given, columns in zip(rows, contributions, largest, strict=True)
    ]
