"""The alerts section: a table of the first 25 alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, Paragraph, Spacer, Table

from fraudline.catalog.risk import NORMAL, URGENT
from fraudline.score.alerts import mask
from fraudline.score.report.charts import MUTED, STRONG, hex_code
from fraudline.score.report.compute import DailyReport
from fraudline.score.report.layout import (
    BODY,
    CELL,
    HEAD,
    HEAD_NUMBER,
    HEADING,
    NOTE,
    NUMBER,
    RULED,
    WIDTH,
    section_gap,
)
from fraudline.score.report.wording import MAX_ID_LENGTH, format_value, markup, printable

ALERTS_SHOWN = 25
# The last characters of a masked customer id are enough to see which alerts belong together.
_CUSTOMER_SHOWN = 8


def alerts_section(report: DailyReport) -> list[Flowable]:
    """Return the heading, the table of the first alerts, and a note on the others."""
    heading = Paragraph("Alerts, most likely fraud first", ParagraphStyle("first", HEADING, spaceBefore=10))
    if report.alerts.is_empty():
        return [heading, Paragraph("No alerts.", BODY), section_gap()]
    shown = report.alerts.head(ALERTS_SHOWN)
    return [heading, _table(shown), Spacer(0, 4), Paragraph(_note(report, shown), NOTE), section_gap()]


def _note(report: DailyReport, shown: pl.DataFrame) -> str:
    sentences = ["Amounts are in the currency of the transactions."]
    more = report.alerts.height - shown.height
    if more:
        sentences.insert(0, f"<b>… and {more:,} more in alerts.jsonl.</b>")
    if any(map(_loses_characters, (*shown["transaction_id"], *shown["merchant"]))):
        sentences.append("A ? may stand for a character that this report's font lacks; alerts.jsonl has it.")
    return " ".join(sentences)


def _loses_characters(text: str) -> bool:
    return printable(text).count("?") > text.count("?")


def _table(alerts: pl.DataFrame) -> Table:
    columns = (
        ("#", 19, HEAD_NUMBER),
        ("Time (UTC)", 45, HEAD),
        ("Transaction, customer", 94, HEAD),
        ("Merchant", 86, HEAD),
        ("Amount", 54, HEAD_NUMBER),
        ("Score", 34, HEAD_NUMBER),
        ("Priority", 46, HEAD),
    )
    widths = [width for _, width, _ in columns]
    head = [Paragraph(name, style) for name, _, style in columns]
    head.append(Paragraph("Reasons, strongest first", HEAD))
    rows = [_row(rank, alert) for rank, alert in enumerate(alerts.iter_rows(named=True), start=1)]
    return Table([head, *rows], colWidths=[*widths, WIDTH - sum(widths)], style=RULED, repeatRows=1)


def _row(rank: int, alert: dict[str, Any]) -> list[Paragraph]:
    customer = markup(mask(alert["customer_id"])[-_CUSTOMER_SHOWN:])
    customer_line = f'<font color="{hex_code(MUTED)}">{customer}</font>'
    priority = NORMAL
    if alert["alert_priority"] == URGENT:
        priority = f'<font color="{hex_code(STRONG)}"><b>{URGENT}</b></font>'
    return [
        Paragraph(str(rank), NUMBER),
        Paragraph(f"{alert['timestamp']:%H:%M:%S}", CELL),
        Paragraph(f"{markup(alert['transaction_id'], MAX_ID_LENGTH)}<br/>{customer_line}", CELL),
        Paragraph(markup(alert["merchant"]), CELL),
        Paragraph(f"{alert['cents'] / 100:,.2f}", NUMBER),
        Paragraph(f"<b>{alert['fraud_score']:.3f}</b>", NUMBER),
        Paragraph(priority, CELL),
        Paragraph(_reasons(alert["reasons"]), CELL),
    ]


def _reasons(reasons: Sequence[dict[str, Any]] | None) -> str:
    # A no-break space keeps the separator with the reason before it, so that no line begins with a separator.
    return "\N{NO-BREAK SPACE}· ".join(_reason(reason) for reason in reasons or ())


def _reason(reason: dict[str, Any]) -> str:
    name = markup(reason["feature"].replace("_", " "))
    return f"{name} <b>{format_value(reason['value'])}</b>"
