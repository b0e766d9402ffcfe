"""Measure the scores of recent days whose labels are mature."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from fraudline.catalog.risk import above
from fraudline.model.metrics import average_precision
from fraudline.monitor.archive import labeled_scores
from fraudline.runtime.channels import Channels

MATURE_DAYS = 7
METRICS = ("accuracy", "precision", "recall", "average_precision")


def live_metrics(channels: Channels, day: date, threshold: float, label_delay: int) -> dict[str, float | None]:
    """Measure the archived scores of the last 7 days that are at least ``label_delay`` days old.

    Only labeled transactions count. More recent days are left out: their frauds are labeled first, which would bias
    the metrics.

    Args:
        channels: the stage's channels; this reads ``past`` and ``labels``.
        day: the scored day, which is not measured.
        threshold: scores above it are alerts.
        label_delay: days until the labels of a day are complete.

    Returns:
        The values of METRICS; a metric is None if it is undefined for lack of labels, frauds or alerts.
    """
    scores = _mature_scores(channels, _mature_days(day, label_delay))
    if scores.is_empty():
        return dict.fromkeys(METRICS)
    frauds = scores.get_column("is_fraud").to_numpy() == 1
    alerts = above(scores.get_column("fraud_score").to_numpy(), threshold)
    caught = int(np.sum(alerts & frauds))
    # An undefined metric is None, not 0, which would raise an alarm.
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    metrics["accuracy"] = float(np.mean(alerts == frauds))
    if alerts.any():
        metrics["precision"] = caught / int(alerts.sum())
    if frauds.any():
        metrics["recall"] = caught / int(frauds.sum())
        metrics["average_precision"] = average_precision(
            scores.get_column("is_fraud").to_numpy(), scores.get_column("margin").to_numpy()
        )
    return metrics


def _mature_days(day: date, label_delay: int) -> list[date]:
    last = day - timedelta(days=label_delay)
    days = [last - timedelta(days=back) for back in range(MATURE_DAYS - 1, -1, -1)]
    return [mature for mature in days if mature < day]


def _mature_scores(channels: Channels, days: Sequence[date]) -> pl.DataFrame:
    labeled = pl.col("is_fraud").is_not_null()
    columns = ("margin", "fraud_score", "is_fraud")
    tables = [scores.filter(labeled).select(columns) for _, scores in labeled_scores(channels, days)]
    return pl.concat(tables).collect() if tables else pl.DataFrame()
