"""The sections with charts: the day's alerts and scores, and the alerts of the last 30 days."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from reportlab.platypus import Flowable, Paragraph, Spacer, Table

from fraudline.score.report.charts import alerts_by_day, alerts_by_hour, past_legend, transactions_by_score
from fraudline.score.report.compute import DailyReport
from fraudline.score.report.layout import HALF_WIDTH, HEADING, NOTE, SIDE_BY_SIDE, WIDTH, section_gap
from fraudline.score.report.wording import format_count

DAYS_SHOWN = 30


def day_section(report: DailyReport) -> list[Flowable]:
    """Return the charts of the day: alerts by hour, transactions by score."""
    hours: Flowable = Paragraph("No alerts.", NOTE)
    if not report.alerts.is_empty():
        hours = alerts_by_hour(report.alerts, HALF_WIDTH)
    charts = [
        [Paragraph("Alerts by hour of the day, UTC (dark: URGENT)", HEADING), hours],
        [
            Paragraph("Transactions by score, logarithmic", HEADING),
            transactions_by_score(report.scores, report.threshold, HALF_WIDTH),
        ],
    ]
    return [Table([charts], colWidths=[HALF_WIDTH, HALF_WIDTH + 16], style=SIDE_BY_SIDE), Spacer(0, 8)]


def past_section(report: DailyReport) -> list[Flowable]:
    """Return the chart of the alerts of the last days, and how many of them were fraud."""
    heading = Paragraph(f"Alerts of the last {DAYS_SHOWN} days and today", HEADING)
    first = report.day - timedelta(days=DAYS_SHOWN)
    # The sentence counts only the days that the chart shows.
    past = report.past.filter(pl.col("day").is_between(first, report.day, closed="left"))
    if past.is_empty():
        note = Paragraph("No earlier day is stored yet; days appear here as they are scored.", NOTE)
        return [heading, note, section_gap()]
    chart = alerts_by_day(past, report.day, report.alerts.height, DAYS_SHOWN, WIDTH)
    text = _confirmed_sentence(past)
    if past.height < (report.day - past.item(0, "day")).days:
        text += " A dash: no scores of that day."
    return [heading, Paragraph(text, NOTE), chart, past_legend(WIDTH), section_gap()]


def _confirmed_sentence(past: pl.DataFrame) -> str:
    alerts, labeled, confirmed = (int(past.get_column(name).sum()) for name in ("alerts", "labeled", "confirmed"))
    if not labeled:
        return f"Of {format_count(alerts, 'earlier alert')}, no label is known yet."
    share = f"{confirmed:,} were fraud (<b>{confirmed / labeled:.0%}</b>)"
    return f"Of {format_count(alerts, 'earlier alert')}, labels are known for {labeled:,}: {share}."
