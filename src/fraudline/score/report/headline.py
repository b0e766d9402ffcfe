"""The head of the report: its title, the day's figures, and a sentence on the review budget."""

from __future__ import annotations

import polars as pl
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, Paragraph, Spacer, Table

from fraudline.catalog.risk import BOUNDS, HIGH, MEDIUM, URGENT
from fraudline.score.report.charts import INK, RULE
from fraudline.score.report.compute import DailyReport
from fraudline.score.report.layout import BODY, HEAD, NOTE, RIGHT, TITLE, UNPADDED, WIDTH
from fraudline.score.report.wording import format_count, format_threshold, markup

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FIGURE_SIZE = 15.0


def headline(report: DailyReport) -> list[Flowable]:
    """Return the head of the first page."""
    return [_title(report), _figures(report), Spacer(0, 7), Paragraph(_budget_sentence(report), BODY)]


def _title(report: DailyReport) -> Table:
    weekday = _WEEKDAYS[report.day.weekday()]
    day = f"{weekday} <b>{report.day}</b>, UTC<br/>model <b>{markup(report.model_version)}</b>"
    row = [Paragraph("Daily fraud report", TITLE), Paragraph(day, RIGHT)]
    below = [("LINEBELOW", (0, 0), (-1, -1), 1.5, INK), ("BOTTOMPADDING", (0, 0), (-1, -1), 6)]
    return Table([row], colWidths=[WIDTH / 2] * 2, style=[*UNPADDED, *below], spaceAfter=8)


def _figures(report: DailyReport) -> Table:
    alerts, past = report.alerts, report.past
    medium = report.scores.filter(pl.col("risk_level") == MEDIUM).height
    urgent = alerts.filter(pl.col("alert_priority") == URGENT).height
    cents, loss = int(alerts.get_column("cents").sum()), float(alerts.get_column("expected_loss").sum())
    # Alerts are the HIGH scores only if the threshold is the bound of HIGH.
    alerts_name = "Alerts (HIGH)" if report.threshold == BOUNDS[HIGH] else "Alerts"
    alerts_note = _usually(past, "alerts") or f"above {format_threshold(report.threshold)}"
    figures = [
        ("Scored", f"{report.scores.height:,}", _usually(past, "scored")),
        (alerts_name, f"{alerts.height:,}", alerts_note),
        ("URGENT of these", f"{urgent:,}", "look here first"),
        ("MEDIUM", f"{medium:,}", f"above {BOUNDS[MEDIUM]:.2f}"),
        ("Amount at risk", f"{cents / 100:,.0f}", "sum of the alerts"),
        ("Expected loss", f"{loss:,.0f}", "score by amount"),
        ("Rejections", f"{sum(report.rejected.values()):,}", "broken input rows"),
    ]
    width = WIDTH / len(figures)
    cells = [_figure(name, value, note, width - 10) for name, value, note in figures]
    rules = [("LINEBEFORE", (1, 0), (-1, -1), 0.5, RULE), ("LEFTPADDING", (1, 0), (-1, -1), 7)]
    return Table([cells], colWidths=[width] * len(figures), style=[*UNPADDED, *rules])


def _usually(past: pl.DataFrame, column: str) -> str:
    return f"usually {past.select(pl.col(column).median()).item():,.0f}" if past.height else ""


def _figure(name: str, value: str, note: str, width: float) -> list[Paragraph]:
    # A value that is too wide is set smaller, since a wrapped or cut number would be misread.
    size = min(_FIGURE_SIZE, _FIGURE_SIZE * width / stringWidth(value, "Helvetica-Bold", _FIGURE_SIZE))
    style = ParagraphStyle("figure", BODY, fontName="Helvetica-Bold", fontSize=size, leading=19)
    return [Paragraph(name, HEAD), Paragraph(value, style), Paragraph(note, NOTE)]


def _budget_sentence(report: DailyReport) -> str:
    scored, alerts, budget = report.scores.height, report.alerts.height, report.review_budget
    if not scored:
        return "<b>No transaction was scored for this day.</b> Check that its data arrived."
    above = f"of {format_count(scored, 'transaction')} scored above {format_threshold(report.threshold)}"
    if alerts >= budget:
        return f"<b>{alerts:,}</b> {above}; the review budget is {budget:,}. {_threshold_offer(report)}"
    few = f"<b>Only {alerts:,}</b>" if alerts else "<b>None</b>"
    return f"{few} {above}, fewer than the review budget of {budget:,}. {_threshold_offer(report)}"


def _threshold_offer(report: DailyReport) -> str:
    if report.review_threshold is None:
        return "The whole day has fewer transactions than the budget."
    offer = f"A threshold of <b>{report.review_threshold:.4f}</b> would fill the budget"
    if report.review_threshold < report.threshold:
        return f"{offer}; scores are probabilities, so expect more false alarms there."
    return f"{offer}."
