"""A day by batch, and the same day's transactions as events: what the real-time path is held to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl


def events(root: Path, day: date) -> list[dict[str, Any]]:
    """The day's raw transactions as a bank's system would send them, in their order, through JSON."""
    raw = pl.read_parquet(root / "data" / "raw" / str(day) / "*.parquet").sort("timestamp", "transaction_id")
    rows = raw.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).to_dicts()
    return [json.loads(json.dumps({"transaction": row})) for row in rows]


def scored(root: Path, day: date) -> dict[str, dict[str, Any]]:
    """Features and scores that the batch gave each of the day's transactions, by its id."""
    features = pl.read_parquet(_execution(root, day) / "Features" / "features" / "*.parquet")
    scores = pl.read_parquet(_execution(root, day) / "Scores" / "scores" / "*.parquet")
    return {row["transaction_id"]: row for row in features.join(scores, on="transaction_id").iter_rows(named=True)}


def alerts(root: Path, day: date, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The batch's alerts of some of the day's transactions, by their deduplication id."""
    lines = (_execution(root, day) / "Results" / "results" / "alerts.jsonl").read_text().splitlines()
    asked = set(ids)
    return {alert["deduplication_id"]: alert for alert in map(json.loads, lines) if alert["transaction_id"] in asked}


def _execution(root: Path, day: date) -> Path:
    return root / "executions" / f"daily-{day + timedelta(days=1)}"
