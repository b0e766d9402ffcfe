"""Count the alerts of earlier days, and how many of them were fraud."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from fraudline.catalog.risk import above
from fraudline.monitor.archive import labeled_scores
from fraudline.runtime.channels import Channels

SHOWN_DAYS = 30
PAST_DAYS = {"day": pl.Date, **dict.fromkeys(("scored", "alerts", "labeled", "confirmed"), pl.Int64)}


def past_days(channels: Channels, day: date, threshold: float) -> pl.DataFrame:
    """Count the scores and alerts of the archived days among the 30 before ``day``.

    Returns:
        One row per archived day (schema PAST_DAYS), the oldest first: scored, alerts (scores above
        the threshold), labeled (alerts whose label is known by now), confirmed (alerts that were fraud).
    """
    days = [day - timedelta(days=back) for back in range(SHOWN_DAYS, 0, -1)]
    rows = [_counts(past, scores.collect(), threshold) for past, scores in labeled_scores(channels, days)]
    return pl.DataFrame(rows, schema=PAST_DAYS)


def _counts(day: date, scores: pl.DataFrame, threshold: float) -> dict[str, Any]:
    alerts = scores.filter(above(pl.col("fraud_score"), threshold)).get_column("is_fraud")
    return {
        "day": day,
        "scored": scores.height,
        "alerts": alerts.len(),
        "labeled": alerts.count(),
        "confirmed": alerts.sum(),
    }
