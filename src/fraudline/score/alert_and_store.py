"""The last stage of the day: monitor the scores, write the report, and deliver both.

Everything that can fail because of the input comes first. Only then come the effects that others see: the
archive, the score table, alerts, cases.
"""

from __future__ import annotations

from dataclasses import asdict

import polars as pl

from fraudline.catalog.risk import above
from fraudline.catalog.run import Run
from fraudline.catalog.schema import HIGH_RISK, SCORES
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.monitor.drift import drift, largest_shift
from fraudline.monitor.live_metrics import live_metrics
from fraudline.monitor.past_days import past_days
from fraudline.runtime.channels import Channels
from fraudline.score import deliver
from fraudline.score.alerts import alerts_of
from fraudline.score.report.compute import DailyReport, compute
from fraudline.score.report.render import render


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
    """Write ``results`` (alerts.jsonl), ``archive`` (the day's scores) and ``report``; deliver to the receivers.

    Raises:
        InputError: a topic or a state machine is set without a table, which records what was sent; or
            the day was archived with other scores.
        TemporaryError: another runner has claimed the day.
    """
    day = run.day
    receivers = deliver.Receivers(table, topic, investigation, retention_days)
    score_table = receivers.score_table(day)
    scores, high_risk = channels.read("scores", SCORES), channels.read("high_risk", HIGH_RISK)

    alerts = list(alerts_of(high_risk, day))
    deliver.write_alerts(channels, alerts)
    archived = deliver.write_archive(channels, scores, day, run.execution)

    shifts = drift(channels)
    past = past_days(channels, day, threshold)
    live = live_metrics(channels, day, threshold, label_delay_days)

    report = compute(channels, day, scores, high_risk, shifts, past, threshold, review_budget)
    report_uri = _write_report(channels, report)

    outgoing = deliver.prepare(receivers, scores, alerts, high_risk, day)
    # Before anything is sent, because it fails if the day was archived with other scores.
    channels.publish("archive", replace=run.replace)
    delivery = deliver.deliver(score_table, receivers, outgoing, day, run.now)

    return {
        **asdict(delivery),
        "alerts": len(alerts),
        "archived": archived,
        "report_s3_path": report_uri,
        "status": "Completed",
        "record_count": archived,
        WATCHED: {
            "scored": scores.height,
            "alert_rate": scores.select(above(pl.col("fraud_score"), threshold).mean()).item(),
            "drift": largest_shift(shifts),
            **live,
        },
    }


def _write_report(channels: Channels, report: DailyReport) -> str:
    """Write ``report``, and return the URI that the PDF will have."""
    file = f"fraud-daily-{report.day}.pdf"
    (channels.output("report") / file).write_bytes(render(report))
    return f"{channels.destination('report').rstrip('/')}/{file}"
