"""Read the archived scores of earlier days, joined with the labels that are known by now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from fraudline.catalog.schema import LABELS, SCORES
from fraudline.runtime.channels import Channels, scan_table

# Only the columns that are used: days that were archived before SCORES got a new column stay readable.
_SCORES = {name: SCORES[name] for name in ("transaction_id", "margin", "fraud_score")}
_LABELS = {name: LABELS[name] for name in ("transaction_id", "is_fraud")}


def labeled_scores(channels: Channels, days: Sequence[date]) -> Iterator[tuple[date, pl.LazyFrame]]:
    """Yield each archived day among the given days, with its scores.

    The columns are transaction_id, margin, fraud_score and is_fraud, null where the label is not known.
    """
    if not channels.has("past"):
        return
    labels = channels.read("labels", _LABELS).lazy()
    archive = channels.folder("past", only=[_folder_name(day) for day in days])
    for day in days:
        folder = archive / _folder_name(day)
        if folder.is_dir():
            yield day, _scan(folder).join(labels, on="transaction_id", how="left", maintain_order="left")


def _folder_name(day: date) -> str:
    return f"date={day}"


def _scan(folder: Path) -> pl.LazyFrame:
    return pl.concat([scan_table(path, _SCORES, "past") for path in sorted(folder.glob("*.parquet"))])
