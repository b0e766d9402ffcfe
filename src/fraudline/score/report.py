"""The daily report for a fraud analyst, as PDF: what to look at first, and whether to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import polars as pl
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from fraudline.catalog.risk import BOUNDS, HIGH, MEDIUM, NORMAL, URGENT
from fraudline.monitor.drift import PSI_SHIFTED, PSI_WATCH, verdict
from fraudline.score.charts import INK, MUTED, RULE, STRONG, by_day, by_hour, by_score, past_legend
from fraudline.score.wording import LONGEST_ID, counted, masked, plain, text, threshold_of, value_of

ALERTS_SHOWN, FEATURES_SHOWN, REASONS_SHOWN, DAYS_SHOWN = 25, 10, 6, 30
_MARGIN, _FOOT = 34.0, 40.0
# Platypus pads its frame by this much on every side.
_PADDING = 6.0
_WIDTH = A4[0] - 2 * _MARGIN
_HALF = _WIDTH / 2 - 8
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WATCH = HexColor("#f0c75e")

_TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=17, leading=20, textColor=INK)
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12.5, textColor=INK)
_RIGHT = ParagraphStyle("right", _BODY, alignment=TA_RIGHT)
_NOTE = ParagraphStyle("note", _BODY, fontSize=7.5, leading=10, textColor=MUTED)
_HEADING = ParagraphStyle("heading", _BODY, fontName="Helvetica-Bold", fontSize=10.5, leading=14, spaceAfter=3)
_CELL = ParagraphStyle("cell", _BODY, fontSize=7, leading=8.4)
_NUMBER = ParagraphStyle("number", _CELL, alignment=TA_RIGHT)
_HEAD = ParagraphStyle("head", _CELL, fontName="Helvetica-Bold", textColor=MUTED)
_HEAD_NUMBER = ParagraphStyle("head number", _HEAD, alignment=TA_RIGHT)
_TIGHT = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]
_RULED = [
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, MUTED),
    ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 3),
    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ("TOPPADDING", (0, 0), (-1, -1), 1.8),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
]


@dataclass(frozen=True)
class DailyReport:
    """What the report says, all of it; nothing else is read, no clock either.

    Attributes:
        day: the scored day (UTC).
        model_version: of the model that scored it.
        threshold: scores above it are alerts.
        scores: every scored row of the day: schema SCORES, timestamp, cents.
        alerts: schema HIGH_RISK, the best first; may be empty.
        rejected: how many rows each reason rejected; a row with two reasons counts under both.
        review_threshold: the threshold that would fill the review budget, if the day has as many rows.
        review_budget: alerts that analysts can review in a day.
        past: earlier days, the oldest first: day, scored, alerts, labelled (alerts whose label is known
            by now), confirmed (those that were fraud); may be empty.
        drift: feature, psi, missing, missing_reference (shares), the largest psi first.
    """

    day: date
    model_version: str
    threshold: float
    scores: pl.DataFrame
    alerts: pl.DataFrame
    rejected: dict[str, int]
    review_threshold: float | None
    review_budget: int
    past: pl.DataFrame
    drift: pl.DataFrame


def render(report: DailyReport) -> bytes:
    """The report as PDF. The same report gives the same bytes."""
    _, pages = _build(report, pages=0)
    return _build(report, pages)[0]


def _build(report: DailyReport, pages: int) -> tuple[bytes, int]:
    def foot(canvas: Any, document: Any) -> None:
        canvas.setFont("Helvetica", 7)
        canvas.setFillColor(MUTED)
        made = f"Fraudline · scores of {report.day} UTC · model {plain(report.model_version)}"
        canvas.drawString(_MARGIN, 24, f"{made} · alerts above {threshold_of(report.threshold)}")
        canvas.drawRightString(A4[0] - _MARGIN, 24, f"Page {document.page} of {pages}")

    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer, pagesize=A4, topMargin=_MARGIN, bottomMargin=_FOOT,
        leftMargin=_MARGIN - _PADDING, rightMargin=_MARGIN - _PADDING,
        title=f"Daily fraud report {report.day}", author="Fraudline", lang="en", invariant=1,
    )  # fmt: skip
    document.build(_story(report), onFirstPage=foot, onLaterPages=foot)
    return buffer.getvalue(), document.page


def _story(report: DailyReport) -> list[Flowable]:
    return [
        _title(report),
        _figures(report),
        Spacer(0, 7),
        Paragraph(_verdict(report), _BODY),
        *_alerts(report),
        KeepTogether(_the_day(report)),
        KeepTogether(_the_past(report)),
        KeepTogether(_quality(report)),
    ]


def _title(report: DailyReport) -> Table:
    day = f"{_WEEKDAYS[report.day.weekday()]} <b>{report.day}</b>, UTC<br/>model <b>{text(report.model_version)}</b>"
    row = [Paragraph("Daily fraud report", _TITLE), Paragraph(day, _RIGHT)]
    below = [("LINEBELOW", (0, 0), (-1, -1), 1.5, INK), ("BOTTOMPADDING", (0, 0), (-1, -1), 6)]
    return Table([row], colWidths=[_WIDTH / 2] * 2, style=[*_TIGHT, *below], spaceAfter=8)


def _figures(report: DailyReport) -> Table:
    alerts, past = report.alerts, report.past
    medium = report.scores.filter(pl.col("risk_level") == MEDIUM).height
    urgent = alerts.filter(pl.col("alert_priority") == URGENT).height
    cents, loss = int(alerts.get_column("cents").sum()), float(alerts.get_column("expected_loss").sum())
    name = "Alerts (HIGH)" if report.threshold == BOUNDS[HIGH] else "Alerts"
    usual = _usually(past, "alerts") or f"above {threshold_of(report.threshold)}"
    figures = [
        ("Scored", f"{report.scores.height:,}", _usually(past, "scored")),
        (name, f"{alerts.height:,}", usual),
        ("URGENT of these", f"{urgent:,}", "look here first"),
        ("MEDIUM", f"{medium:,}", f"above {BOUNDS[MEDIUM]:.2f}"),
        ("Amount at risk", f"{cents / 100:,.0f}", "sum of the alerts"),
        ("Expected loss", f"{loss:,.0f}", "score by amount"),
        ("Rejections", f"{sum(report.rejected.values()):,}", "broken input rows"),
    ]
    width = _WIDTH / len(figures)
    cells = [_figure(*figure, width=width - 10) for figure in figures]
    rules = [("LINEBEFORE", (1, 0), (-1, -1), 0.5, RULE), ("LEFTPADDING", (1, 0), (-1, -1), 7)]
    return Table([cells], colWidths=[width] * len(figures), style=[*_TIGHT, *rules])


def _usually(past: pl.DataFrame, column: str) -> str:
    return f"usually {past.select(pl.col(column).median()).item():,.0f}" if past.height else ""


def _figure(name: str, value: str, note: str, width: float) -> list[Paragraph]:
    size = min(15.0, 15 * width / stringWidth(value, "Helvetica-Bold", 15))
    large = ParagraphStyle("figure", _BODY, fontName="Helvetica-Bold", fontSize=size, leading=19)
    return [Paragraph(name, _HEAD), Paragraph(value, large), Paragraph(note, _NOTE)]


def _verdict(report: DailyReport) -> str:
    scored, alerts, budget = report.scores.height, report.alerts.height, report.review_budget
    if not scored:
        return "<b>No transaction was scored for this day.</b> Check that its data arrived."
    above = f"of {counted(scored, 'transaction')} scored above {threshold_of(report.threshold)}"
    if alerts >= budget:
        return f"<b>{alerts:,}</b> {above}; the review budget is {budget:,}. {_offer(report)}"
    few = "<b>None</b>" if not alerts else f"<b>Only {alerts:,}</b>"
    return f"{few} {above}, fewer than the review budget of {budget:,}. {_offer(report)}"


def _offer(report: DailyReport) -> str:
    if report.review_threshold is None:
        return "The whole day has fewer transactions than the budget."
    offered = f"A threshold of <b>{report.review_threshold:.4f}</b> would fill the budget"
    lower = report.review_threshold < report.threshold
    return f"{offered}; scores are probabilities, so expect more false alarms there." if lower else f"{offered}."


def _alerts(report: DailyReport) -> list[Flowable]:
    heading = Paragraph("Alerts, the likeliest fraud first", ParagraphStyle("first", _HEADING, spaceBefore=10))
    if report.alerts.is_empty():
        return [heading, Paragraph("No alerts.", _BODY), _gap()]
    shown = report.alerts.head(ALERTS_SHOWN)
    return [heading, _alert_table(shown), Spacer(0, 4), Paragraph(_remark(report, shown), _NOTE), _gap()]


def _remark(report: DailyReport, shown: pl.DataFrame) -> str:
    remarks = ["Amounts are in the currency of the transactions."]
    if more := report.alerts.height - shown.height:
        remarks.insert(0, f"<b>… and {more:,} more in alerts.jsonl.</b>")
    if any(plain(text).count("?") > text.count("?") for text in (*shown["transaction_id"], *shown["merchant"])):
        remarks.append("A ? may stand for a character that this report's font lacks; alerts.jsonl has it.")
    return " ".join(remarks)


def _alert_table(alerts: pl.DataFrame) -> Table:
    names = (
        "#",
        "Time (UTC)",
        "Transaction, customer",
        "Merchant",
        "Amount",
        "Score",
        "Priority",
        "Reasons, the strongest first",
    )
    numbers = {0, 4, 5}
    head = [Paragraph(name, _HEAD_NUMBER if column in numbers else _HEAD) for column, name in enumerate(names)]
    rows = [_alert_row(rank, alert) for rank, alert in enumerate(alerts.iter_rows(named=True), start=1)]
    widths = [19, 45, 94, 86, 54, 34, 46]
    return Table([head, *rows], colWidths=[*widths, _WIDTH - sum(widths)], style=_RULED, repeatRows=1)


def _alert_row(rank: int, alert: dict[str, Any]) -> list[Paragraph]:
    urgent = alert["alert_priority"] == URGENT
    grey = f'<font color="{_hex(MUTED)}">{text(masked(alert["customer_id"])[-8:])}</font>'
    return [
        Paragraph(str(rank), _NUMBER),
        Paragraph(f"{alert['timestamp']:%H:%M:%S}", _CELL),
        Paragraph(f"{text(alert['transaction_id'], LONGEST_ID)}<br/>{grey}", _CELL),
        Paragraph(text(alert["merchant"]), _CELL),
        Paragraph(f"{alert['cents'] / 100:,.2f}", _NUMBER),
        Paragraph(f"<b>{alert['fraud_score']:.3f}</b>", _NUMBER),
        Paragraph(f'<font color="{_hex(STRONG)}"><b>{URGENT}</b></font>' if urgent else NORMAL, _CELL),
        Paragraph(_reasons(alert["reasons"]), _CELL),
    ]


def _reasons(reasons: Sequence[dict[str, Any]] | None) -> str:
    return "\N{NO-BREAK SPACE}· ".join(
        f"{text(reason['feature'].replace('_', ' '))} <b>{value_of(reason['value'])}</b>" for reason in reasons or ()
    )


def _the_day(report: DailyReport) -> list[Flowable]:
    hours = Paragraph("No alerts.", _NOTE) if report.alerts.is_empty() else by_hour(report.alerts, _HALF)
    pair = [
        [Paragraph("Alerts by hour of the day, UTC (dark: URGENT)", _HEADING), hours],
        [Paragraph("Transactions by score, logarithmic", _HEADING), by_score(report.scores, report.threshold, _HALF)],
    ]
    gap = [("LEFTPADDING", (1, 0), (1, 0), 16)]
    return [Table([pair], colWidths=[_HALF, _HALF + 16], style=[*_TIGHT, *gap]), Spacer(0, 8)]


def _the_past(report: DailyReport) -> list[Flowable]:
    heading = Paragraph(f"Alerts of the last {DAYS_SHOWN} days and today", _HEADING)
    first = report.day - timedelta(days=DAYS_SHOWN)
    past = report.past.filter(pl.col("day").is_between(first, report.day, closed="left"))
    if past.is_empty():
        return [heading, Paragraph("No earlier day is stored yet; they appear here as they are scored.", _NOTE), _gap()]
    chart = by_day(past, report.day, report.alerts.height, DAYS_SHOWN, _WIDTH)
    gaps = "" if past.height == (report.day - past.item(0, "day")).days else " A dash: no scores of that day."
    return [heading, Paragraph(_confirmed(past) + gaps, _NOTE), chart, past_legend(_WIDTH), _gap()]


def _confirmed(past: pl.DataFrame) -> str:
    alerts, labelled, confirmed = (int(past.get_column(name).sum()) for name in ("alerts", "labelled", "confirmed"))
    if not labelled:
        return f"Of {counted(alerts, 'earlier alert')}, no label is known yet."
    share = f"{confirmed:,} were fraud (<b>{confirmed / labelled:.0%}</b>)"
    return f"Of {counted(alerts, 'earlier alert')}, labels are known for {labelled:,}: {share}."


def _gap() -> Spacer:
    return Spacer(0, 12)


def _quality(report: DailyReport) -> list[Flowable]:
    pair = [
        [Paragraph("Rejected input", _HEADING), *_rejected(report.rejected)],
        [Paragraph("Drift since training", _HEADING), *_drift(report.drift)],
    ]
    left = _WIDTH * 0.38
    gap = [("LEFTPADDING", (1, 0), (1, 0), 16)]
    return [Table([pair], colWidths=[left, _WIDTH - left], style=[*_TIGHT, *gap])]


def _rejected(rejected: dict[str, int]) -> list[Flowable]:
    if not rejected:
        return [Paragraph("No row was rejected.", _NOTE)]
    ranked = sorted(rejected.items(), key=lambda pair: (-pair[1], pair[0]))
    head = [Paragraph("Reason", _HEAD), Paragraph("Rows", _HEAD_NUMBER)]
    rows = [
        [Paragraph(text(reason), _CELL), Paragraph(f"{count:,}", _NUMBER)] for reason, count in ranked[:REASONS_SHOWN]
    ]
    more = len(ranked) - REASONS_SHOWN
    also = f"… and {counted(more, 'more reason')}. " if more > 0 else ""
    left = _WIDTH * 0.38
    table = Table([head, *rows], colWidths=[left - 46, 46], style=_RULED, repeatRows=1)
    return [table, Spacer(0, 3), Paragraph(f"{also}A row with several reasons counts under each.", _NOTE)]


def _drift(measured: pl.DataFrame) -> list[Flowable]:
    drift = measured.filter(pl.col("psi").is_finite())
    if drift.is_empty():
        return [Paragraph("Not measured.", _NOTE)]
    names = ("Feature", "PSI", "usual", "Verdict", "Missing", "in training")
    head = [Paragraph(name, _HEAD if name in ("Feature", "Verdict") else _HEAD_NUMBER) for name in names]
    top = drift.head(FEATURES_SHOWN)
    rows = [_drift_row(row) for row in top.iter_rows(named=True)]
    widths = [_WIDTH * 0.62 - 16 - 204, 32, 32, 42, 52, 46]
    words = [verdict(psi, usual) for psi, usual in top.select("psi", "usual").iter_rows()]
    style = [*_RULED, *(command for at, word in enumerate(words, 1) for command in _shade(at, word))]
    bounds = f"up to {PSI_WATCH} or usual stable, up to {PSI_SHIFTED} watch, above shifted"
    note = f"PSI: {bounds}; 19 of 20 training days were usual. {top.height} of {drift.height} features."
    return [Table([head, *rows], colWidths=widths, style=style), Spacer(0, 3), Paragraph(note, _NOTE)]


def _drift_row(row: dict[str, Any]) -> list[Paragraph]:
    word = verdict(row["psi"], row["usual"])
    shown = f'<font color="white"><b>{word}</b></font>' if word == "shifted" else word
    return [
        Paragraph(text(row["feature"].replace("_", " ")), _CELL),
        Paragraph(f"{row['psi']:.3f}", _NUMBER),
        Paragraph(f"{row['usual']:.3f}", _NUMBER),
        Paragraph(shown, _CELL),
        Paragraph(f"{row['missing']:.1%}", _NUMBER),
        Paragraph(f"{row['missing_reference']:.1%}", _NUMBER),
    ]


def _shade(row: int, word: str) -> list[tuple[Any, ...]]:
    fill = {"stable": None, "watch": _WATCH, "shifted": STRONG}[word]
    return [("BACKGROUND", (2, row), (2, row), fill)] if fill else []


def _hex(colour: HexColor) -> str:
    return f"#{colour.hexval()[2:]}"
