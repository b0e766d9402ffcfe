"""The section on data quality: rejected input, and drift since training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from reportlab.lib.colors import HexColor
from reportlab.platypus import Flowable, Paragraph, Spacer, Table

from fraudline.monitor.drift import PSI_SHIFTED, PSI_WATCH, Verdict, verdict
from fraudline.score.report.charts import STRONG
from fraudline.score.report.compute import DailyReport
from fraudline.score.report.layout import (
    CELL,
    HEAD,
    HEAD_NUMBER,
    HEADING,
    NOTE,
    NUMBER,
    RULED,
    SIDE_BY_SIDE,
    WIDTH,
    TableCommand,
)
from fraudline.score.report.wording import format_count, markup

FEATURES_SHOWN, REASONS_SHOWN = 10, 6
_LEFT = WIDTH * 0.38
_RIGHT = WIDTH - _LEFT
WATCH = HexColor("#f0c75e")
_FILLS: dict[Verdict, HexColor] = {"watch": WATCH, "shifted": STRONG}
# Only this column is shaded: shading would hide numbers in the others.
_VERDICT_COLUMN = 3


def quality_section(report: DailyReport) -> list[Flowable]:
    """Return the tables of rejected input and of drift, side by side."""
    tables = [
        [Paragraph("Rejected input", HEADING), *_rejected(report.rejected)],
        [Paragraph("Drift since training", HEADING), *_drift(report.drift)],
    ]
    return [Table([tables], colWidths=[_LEFT, _RIGHT], style=SIDE_BY_SIDE)]


def _rejected(rejected: dict[str, int]) -> list[Flowable]:
    if not rejected:
        return [Paragraph("No row was rejected.", NOTE)]
    ranked = sorted(rejected.items(), key=lambda reason_count: (-reason_count[1], reason_count[0]))
    head = [Paragraph("Reason", HEAD), Paragraph("Rows", HEAD_NUMBER)]
    rows = [[Paragraph(markup(reason), CELL), Paragraph(f"{count:,}", NUMBER)] for reason, count in ranked]
    note = "A row with several reasons counts under each."
    more = len(rows) - REASONS_SHOWN
    if more > 0:
        note = f"… and {format_count(more, 'more reason')}. {note}"
    table = Table([head, *rows[:REASONS_SHOWN]], colWidths=[_LEFT - 46, 46], style=RULED, repeatRows=1)
    return [table, Spacer(0, 3), Paragraph(note, NOTE)]


def _drift(measured: pl.DataFrame) -> list[Flowable]:
    features = measured.filter(pl.col("psi").is_finite())
    if features.is_empty():
        return [Paragraph("Not measured.", NOTE)]
    shown = list(features.head(FEATURES_SHOWN).iter_rows(named=True))
    verdicts = [verdict(row["psi"], row["usual"]) for row in shown]
    head = [
        Paragraph("Feature", HEAD),
        Paragraph("PSI", HEAD_NUMBER),
        Paragraph("Usual", HEAD_NUMBER),
        Paragraph("Verdict", HEAD),
        Paragraph("Missing", HEAD_NUMBER),
        Paragraph("in training", HEAD_NUMBER),
    ]
    rows = [_drift_row(row, word) for row, word in zip(shown, verdicts, strict=True)]
    widths = [32, 32, 42, 52, 46]
    table = Table([head, *rows], colWidths=[_RIGHT - 16 - sum(widths), *widths], style=[*RULED, *_shading(verdicts)])
    return [table, Spacer(0, 3), Paragraph(_drift_note(len(shown), features.height), NOTE)]


def _drift_row(row: dict[str, Any], word: Verdict) -> list[Paragraph]:
    # White on the dark fill. The word says the same as the color, which some printers lose.
    shown = f'<font color="white"><b>{word}</b></font>' if word == "shifted" else word
    return [
        Paragraph(markup(row["feature"].replace("_", " ")), CELL),
        Paragraph(f"{row['psi']:.3f}", NUMBER),
        Paragraph(f"{row['usual']:.3f}", NUMBER),
        Paragraph(shown, CELL),
        Paragraph(f"{row['missing']:.1%}", NUMBER),
        Paragraph(f"{row['missing_reference']:.1%}", NUMBER),
    ]


def _shading(verdicts: Sequence[Verdict]) -> list[TableCommand]:
    """Return the background colors of the verdict cells; row 0 is the head."""
    cells = [((_VERDICT_COLUMN, row), word) for row, word in enumerate(verdicts, start=1)]
    return [("BACKGROUND", cell, cell, _FILLS[word]) for cell, word in cells if word in _FILLS]


def _drift_note(shown: int, measured: int) -> str:
    return (
        "PSI: how much the day differs from training. Usual: 19 of 20 training days differed less. "
        f"Stable: up to {PSI_WATCH}. As usual: more, but not more than usual (a day is one weekday). "
        f"Watch: more than usual, up to {PSI_SHIFTED}. Shifted: more than both. "
        f"{shown} of {measured} features."
    )
