"""The end of the day: every score stored, alerts, and the report.

What may fail for the input's sake comes first, then what others see: scores, alerts and their marks, the report.
"""

from __future__ import annotations

import json
from datetime import date

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.risk import above
from fraudline.catalog.run import Run
from fraudline.catalog.schema import FEATURE_KEYS, HIGH_RISK, REJECTED, SCORES, TRANSACTIONS
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.model import artifact
from fraudline.monitor.drift import drift, furthest
from fraudline.monitor.past_days import live_metrics, past_days
from fraudline.runtime.channels import MANIFEST_FILE, Channels, content_hash, read_json
from fraudline.score import outbox
from fraudline.score.alerts import alerts_of, cases_of, messages_of
from fraudline.score.filter_high_risk import review_threshold
from fraudline.score.report import DailyReport, render
from fraudline.score.score_table import ScoreTable


def run(
    channels: Channels,
    run: Run,
    threshold: float,
    review_budget: int,
    label_delay_days: int,
    table: str,
    topic: str,
    investigation: str,
    retention_days: int,
) -> Summary:
    """Write ``results`` (alerts.jsonl), ``archive`` (the day's scores) and ``report``; store and send where told to.

    Raises:
        InputError: something is to be sent, and there is no table to remember it in.
        TemporaryError: another runner works on the day.
    """
    day = run.day
    if (topic or investigation) and not table:
        raise InputError("--table is missing: --topic and --investigation need it, to send nothing twice")
    store = ScoreTable(table, day, retention_days) if table else None
    scores, high_risk = channels.read("scores", SCORES), channels.read("high_risk", HIGH_RISK)
    alerts = list(alerts_of(high_risk, day))
    (channels.output("results") / "alerts.jsonl").write_text("".join(f"{json.dumps(alert)}\n" for alert in alerts))
    archived = _archive(channels, scores, day, run.execution)
    shifts = _drift(channels)
    report = f"fraud-daily-{day}.pdf"
    rendered = render(_report(channels, scores, high_risk, shifts, day, threshold, review_budget))
    (channels.output("report") / report).write_bytes(rendered)
    live = live_metrics(channels, day, threshold, label_delay_days)
    messages = list(messages_of(alerts, day)) if topic else []
    cases = list(cases_of(high_risk, day)) if investigation else []
    # A day that was scored otherwise before is told here, before anybody hears of it.
    channels.publish("archive", replace=run.replace)
    if store:
        with store.claimed(run.now):
            store.put(scores)
            outbox.publish(store, topic, messages, day)
            outbox.open_cases(store, investigation, cases)
    return {
        "alerts_sent": len(alerts),
        "messages": len(messages),
        "cases": len(cases),
        "records_stored": archived,
        "report_s3_path": f"{channels.destination('report').rstrip('/')}/{report}",
        "status": "Completed",
        "record_count": archived,
        WATCHED: {
            "scored": scores.height,
            "alert_rate": scores.select(above(pl.col("fraud_score"), threshold).mean()).item(),
            "drift": furthest(shifts),
            **live,
        },
    }


def _archive(channels: Channels, scores: pl.DataFrame, day: date, execution: str) -> int:
    stored = scores.sort("transaction_id")
    channels.write("archive", stored)
    content = content_hash(stored.select(pl.exclude("reasons")))
    channels.write_json("archive", MANIFEST_FILE, {"day": day.isoformat(), "execution": execution, "content": content})
    return stored.height


def _report(
    channels: Channels,
    scores: pl.DataFrame,
    alerts: pl.DataFrame,
    shifts: pl.DataFrame,
    day: date,
    threshold: float,
    review_budget: int,
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
        drift=shifts,
    )


def _drift(channels: Channels) -> pl.DataFrame:
    histograms = read_json(artifact.find(channels, "reference") / MANIFEST_FILE, "reference")["histograms"]
    names = list(histograms)
    features = channels.read("features", {**FEATURE_KEYS, **dict.fromkeys(names, pl.Float32)})
    return drift(features.select(names), histograms)
