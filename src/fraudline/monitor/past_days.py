"""What became of earlier days' scores, as far as their labels are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudline.catalog.risk import above
from fraudline.catalog.schema import LABELS, SCORES
from fraudline.model.metrics import average_precision
from fraudline.runtime.channels import Channels, scan_table

SHOWN_DAYS, MATURED_DAYS = 30, 7
_COUNTS = dict.fromkeys(("scored", "alerts", "labelled", "confirmed"), pl.Int64)


def past_days(channels: Channels, day: date, threshold: float) -> pl.DataFrame:
    """What became of earlier days' alerts: day, scored, alerts, labelled, confirmed; the oldest first."""
    days = [day - timedelta(days=back) for back in range(SHOWN_DAYS, 0, -1)]
    rows = [_past_day(past, scored.collect(), threshold) for past, scored in _labelled(channels, days)]
    return pl.DataFrame(rows, schema={"day": pl.Date, **_COUNTS})


def live_metrics(channels: Channels, day: date, threshold: float, label_delay: int) -> dict[str, float | None]:
    """How good the scores of the last days with mature labels were: accuracy, precision, recall, average_precision.

    Only labelled transactions count. None where there is nothing to compute from: no labels, frauds or alerts.
    """
    last = day - timedelta(days=label_delay)
    days = [
        last - timedelta(days=back) for back in range(MATURED_DAYS - 1, -1, -1) if last - timedelta(days=back) < day
    ]
    known = pl.col("is_fraud").is_not_null()
    scored = [table.filter(known).select("margin", "fraud_score", "is_fraud") for _, table in _labelled(channels, days)]
    table = pl.concat(scored).collect() if scored else pl.DataFrame(schema={"fraud_score": pl.Float64})
    if not table.height:
        return dict.fromkeys(("accuracy", "precision", "recall", "average_precision"))
    frauds = table.get_column("is_fraud").to_numpy()
    flagged = above(table.get_column("fraud_score").to_numpy(), threshold)
    caught = int(np.sum(flagged & (frauds == 1)))
    return {
        "accuracy": float(np.mean(flagged == (frauds == 1))),
        "precision": caught / int(flagged.sum()) if flagged.any() else None,
        "recall": caught / int(frauds.sum()) if frauds.any() else None,
        "average_precision": average_precision(frauds, table.get_column("margin").to_numpy()) if frauds.any() else None,
    }


def _labelled(channels: Channels, days: Sequence[date]) -> Iterator[tuple[date, pl.LazyFrame]]:
    """The scores of those of some days that are there, with is_fraud, null where it is not known."""
    if not channels.has("past"):
        return
    known = channels.read("labels", LABELS).lazy().select("transaction_id", "is_fraud")
    folder = channels.folder("past", only=[f"date={past}" for past in days])
    for past in days:
        if (path := folder / f"date={past}").is_dir():
            yield past, _scan_day(path).join(known, on="transaction_id", how="left", maintain_order="left")


def _scan_day(folder: Path) -> pl.LazyFrame:
    return pl.concat([scan_table(path, SCORES, "past") for path in sorted(folder.glob("*.parquet"))])


def _past_day(day: date, scored: pl.DataFrame, threshold: float) -> dict[str, Any]:
    alerts = scored.filter(above(pl.col("fraud_score"), threshold)).get_column("is_fraud")
    return {
        "day": day,
        "scored": scored.height,
        "alerts": alerts.len(),
        "labelled": alerts.count(),
        "confirmed": alerts.sum(),
    }
