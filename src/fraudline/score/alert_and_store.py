"""The end of the day: alerts, every score at its own address, and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from fraudline.channel import MANIFEST_FILE, Channels, content_hash, read_json, scan_table
from fraudline.schema import FEATURE_KEYS, HIGH_RISK, LABELS, REJECTED, SCORES, TRANSACTIONS
from fraudline.score.drift import drift
from fraudline.score.filter_high_risk import review_threshold
from fraudline.score.report import DailyReport, render
from fraudline.score.wording import masked
from fraudline.stage import Summary
from fraudline.train import artifact

PAST_DAYS = 30


def run(
    channels: Channels,
    as_of: date,
    threshold: float,
    review_budget: int,
    execution: str,
    replace: bool,  # the host's, for the commit
) -> Summary:
    """Write ``results`` (alerts.jsonl), ``archive`` (the day's scores) and ``report``."""
    day = as_of - timedelta(days=1)
    scores, alerts = channels.read("scores", SCORES), channels.read("high_risk", HIGH_RISK)
    lines = [json.dumps(alert) for alert in alerts_of(alerts, day)]
    (channels.output("results") / "alerts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    archived = _archive(channels, scores, day, execution)
    report = f"fraud-daily-{day}.pdf"
    rendered = render(_report(channels, scores, alerts, day, threshold, review_budget))
    (channels.output("report") / report).write_bytes(rendered)
    return {
        "alerts_sent": len(lines),
        "records_stored": archived,
        "report_s3_path": f"{channels.destination('report').rstrip('/')}/{report}",
        "status": "Completed",
        "record_count": archived,
    }


def alerts_of(high_risk: pl.DataFrame, day: date) -> Iterator[dict[str, Any]]:
    """Alerts as they are published, the most urgent first.

    ``deduplication_id`` is the same whenever the day is run, so that a receiver can drop a repeat;
    the customer's identifier is masked.
    """
    for row in high_risk.iter_rows(named=True):
        yield {
            "deduplication_id": f"{day}/{row['transaction_id']}",
            "alert_priority": row["alert_priority"],
            "transaction_id": row["transaction_id"],
            "customer_id": masked(row["customer_id"]),
            "merchant": row["merchant"],
            "amount": row["cents"] / 100,
            "timestamp": row["timestamp"].isoformat(),
            "fraud_score": row["fraud_score"],
            "expected_loss": row["expected_loss"],
            "reasons": row["reasons"],
            "model_version": row["model_version"],
        }


def _archive(channels: Channels, scores: pl.DataFrame, day: date, execution: str) -> int:
    stored = scores.sort("transaction_id")
    channels.write("archive", stored)
    content = content_hash(stored.select(pl.exclude("reasons")))
    channels.write_json("archive", MANIFEST_FILE, {"day": day.isoformat(), "execution": execution, "content": content})
    return stored.height


def _report(
    channels: Channels, scores: pl.DataFrame, alerts: pl.DataFrame, day: date, threshold: float, review_budget: int
) -> DailyReport:
    transactions = channels.read("transactions", TRANSACTIONS)
    rejected = channels.read("rejected", REJECTED) if channels.has("rejected") else pl.DataFrame(schema=dict(REJECTED))
    reasons = (
        rejected.filter(pl.col("channel") == "raw").get_column("reasons").explode(empty_as_null=False).value_counts()
    )
    return DailyReport(
        day=day,
        model_version=str(scores.get_column("model_version").first()),
        threshold=threshold,
        scores=scores.join(transactions.select("transaction_id", "timestamp", "cents"), on="transaction_id"),
        alerts=alerts,
        rejected=dict(sorted(reasons.iter_rows())),
        review_threshold=review_threshold(scores, review_budget),
        review_budget=review_budget,
        past=past_days(channels, day, threshold),
        drift=_drift(channels),
    )


def _drift(channels: Channels) -> pl.DataFrame:
    histograms = read_json(artifact.find(channels, "reference") / MANIFEST_FILE, "reference")["histograms"]
    names = list(histograms)
    features = channels.read("features", {**FEATURE_KEYS, **dict.fromkeys(names, pl.Float32)})
    return drift(features.select(names), histograms)


def past_days(channels: Channels, day: date, threshold: float) -> pl.DataFrame:
    """What became of earlier days' alerts: day, scored, alerts, labelled, confirmed; the oldest first."""
    schema = dict.fromkeys(("scored", "alerts", "labelled", "confirmed"), pl.Int64)
    if not channels.has("past"):
        return pl.DataFrame(schema={"day": pl.Date, **schema})
    known = channels.read("labels", LABELS).select("transaction_id", "is_fraud")
    days = [day - timedelta(days=back) for back in range(PAST_DAYS, 0, -1)]
    folder = channels.folder("past", only=[f"date={past}" for past in days])
    rows = [
        _past_day(past, _read_day(path), known, threshold)
        for past in days
        if (path := folder / f"date={past}").is_dir()
    ]
    return pl.DataFrame(rows, schema={"day": pl.Date, **schema})


def _read_day(folder: Path) -> pl.DataFrame:
    return pl.concat([scan_table(path, SCORES, "past") for path in sorted(folder.glob("*.parquet"))]).collect()


def _past_day(day: date, scores: pl.DataFrame, known: pl.DataFrame, threshold: float) -> dict[str, Any]:
    alerts = scores.filter(pl.col("fraud_score") > threshold).join(known, on="transaction_id", how="left")
    return {
        "day": day,
        "scored": scores.height,
        "alerts": alerts.height,
        "labelled": alerts.get_column("is_fraud").count(),
        "confirmed": alerts.get_column("is_fraud").sum(),
    }
