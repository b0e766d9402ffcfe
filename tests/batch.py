"""A day's transactions as events, and the batch's features, scores and alerts, which the real-time path must equal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl


def events(root: Path, day: date) -> list[dict[str, Any]]:
    """Return the day's raw transactions in order, as a bank's system would send them in JSON."""
    raw = pl.read_parquet(root / "data" / "raw" / str(day) / "*.parquet").sort("timestamp", "transaction_id")
    rows = raw.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).to_dicts()
    return [json.loads(json.dumps({"transaction": row})) for row in rows]


def scores(root: Path, day: date) -> dict[str, dict[str, Any]]:
    """Return the batch's features and score of each of the day's transactions, by its id."""
    features = pl.read_parquet(_execution(root, day) / "Features" / "features" / "*.parquet")
    scores = pl.read_parquet(_execution(root, day) / "Scores" / "scores" / "*.parquet")
    table = features.join(scores, on="transaction_id")
    return {row["transaction_id"]: row for row in table.iter_rows(named=True)}


def alerts(root: Path, day: date, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the batch's alerts on some of the day's transactions, by deduplication id."""
    lines = (_execution(root, day) / "Results" / "results" / "alerts.jsonl").read_text().splitlines()
    selected = set(ids)
    return {alert["deduplication_id"]: alert for alert in map(json.loads, lines) if alert["transaction_id"] in selected}


def _execution(root: Path, day: date) -> Path:
    """Return the folder of the execution that scored the day, which runs on the next one."""
    return root / "executions" / f"daily-{day + timedelta(days=1)}"
