"""The data of the daily report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from fraudline.catalog.schema import REJECTED, TRANSACTIONS
from fraudline.runtime.channels import Channels
from fraudline.score.filter_high_risk import review_threshold


@dataclass(frozen=True)
class DailyReport:
    """All that the report shows; rendering reads nothing else, not even the clock.

    Attributes:
        day: the scored day (UTC).
        model_version: the version of the model that scored it.
        threshold: scores above it are alerts.
        scores: every scored row of the day: schema SCORES, timestamp, cents.
        alerts: schema HIGH_RISK, the highest margin first; may be empty.
        rejected: rows by reason of rejection; a row with two reasons counts under both.
        review_threshold: the threshold that would fill the review budget, None if the day has fewer rows.
        review_budget: alerts that analysts can review in a day.
        past: earlier days, the oldest first: day, scored, alerts, labeled (alerts whose label is known
            by now), confirmed (alerts that were fraud); may be empty.
        drift: feature, psi, usual, missing, missing_reference (shares), sorted by how far the PSI is above usual.
    """

    day: date
    model_version: str
    threshold: float
    scores: pl.DataFrame
    alerts: pl.DataFrame
    rejected: dict[str, int]
    review_threshold: float | None
    review_budget: int
    past: pl.DataFrame
    drift: pl.DataFrame


def compute(
    channels: Channels,
    day: date,
    scores: pl.DataFrame,
    alerts: pl.DataFrame,
    drift: pl.DataFrame,
    past: pl.DataFrame,
    threshold: float,
    review_budget: int,
) -> DailyReport:
    """Return the report's data, also read from the inputs ``transactions`` and ``rejected``."""
    # Every score has its transaction: filter-high-risk fails otherwise.
    transactions = channels.read("transactions", TRANSACTIONS).select("transaction_id", "timestamp", "cents")
    return DailyReport(
        day=day,
        model_version=str(scores.get_column("model_version").first()),
        threshold=threshold,
        scores=scores.join(transactions, on="transaction_id"),
        alerts=alerts,
        rejected=_rejected(channels),
        review_threshold=review_threshold(scores, review_budget),
        review_budget=review_budget,
        past=past,
        drift=drift,
    )


def _rejected(channels: Channels) -> dict[str, int]:
    """Count the rejected transactions by reason; rejected labels are not part of the day."""
    if not channels.has("rejected"):
        return {}
    transactions = channels.read("rejected", REJECTED).filter(pl.col("channel") == "raw")
    reasons = transactions.get_column("reasons").explode(empty_as_null=False)
    return dict(sorted(reasons.value_counts().iter_rows()))
