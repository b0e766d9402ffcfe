"""Render the daily report as PDF: what to look at first, and whether the scores can be trusted."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.platypus import Flowable, KeepTogether, SimpleDocTemplate

from fraudline.score.report.activity import day_section, past_section
from fraudline.score.report.alert_table import alerts_section
from fraudline.score.report.charts import MUTED
from fraudline.score.report.compute import DailyReport
from fraudline.score.report.headline import headline
from fraudline.score.report.layout import FOOT, MARGIN
from fraudline.score.report.quality import quality_section
from fraudline.score.report.wording import format_threshold, printable

# reportlab pads the frame of a page by this much on every side.
_PADDING = 6.0


def render(report: DailyReport) -> bytes:
    """Render the report as PDF. Equal reports give equal bytes."""
    # Built twice, because "Page 1 of 3" needs the number of pages, which is known only after a build.
    _, page_count = _build(report, page_count=0)
    pdf, _ = _build(report, page_count)
    return pdf


def _build(report: DailyReport, page_count: int) -> tuple[bytes, int]:
    """Return the PDF and its number of pages; ``page_count`` is the number that its footers show."""

    def footer(canvas: Any, document: Any) -> None:
        canvas.setFont("Helvetica", 7)
        canvas.setFillColor(MUTED)
        canvas.drawString(MARGIN, 24, _footer_text(report))
        canvas.drawRightString(A4[0] - MARGIN, 24, f"Page {document.page} of {page_count}")

    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer, pagesize=A4, topMargin=MARGIN, bottomMargin=FOOT,
        leftMargin=MARGIN - _PADDING, rightMargin=MARGIN - _PADDING,
        # invariant: reportlab would otherwise write the time and a random id.
        title=f"Daily fraud report {report.day}", author="Fraudline", lang="en", invariant=1,
    )  # fmt: skip
    document.build(_story(report), onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue(), document.page


def _footer_text(report: DailyReport) -> str:
    model, threshold = printable(report.model_version), format_threshold(report.threshold)
    return f"Fraudline · scores of {report.day} UTC · model {model} · alerts above {threshold}"


def _story(report: DailyReport) -> list[Flowable]:
    return [
        *headline(report),
        *alerts_section(report),
        KeepTogether(day_section(report)),
        KeepTogether(past_section(report)),
        KeepTogether(quality_section(report)),
    ]
